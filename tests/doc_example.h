/* The examples of a page under doc/: blocks that begin with ```KIND, a line each. */
#ifndef QETL_TESTS_DOC_EXAMPLE_H
#define QETL_TESTS_DOC_EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct doc_example {
    char format[8], records[40], columns[400]; /* lines "format: …"; "" where there is none */
    bool lax;
    struct buf input;    /* the lines that are none of these */
    struct buf expected; /* the lines -> and !>, without their marks, each with a ';' behind it */
};

static inline bool doc_setting(const char *line, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0 || strncmp(line + n, ": ", 2) != 0)
        return false;
    snprintf(out, cap, "%.*s", (int)strcspn(line + n + 2, "\n"), line + n + 2);
    return true;
}

static inline void doc_line(struct doc_example *e, const char *line)
{
    char grammar[8];
    if (doc_setting(line, "format", e->format, sizeof e->format) ||
        doc_setting(line, "records", e->records, sizeof e->records) ||
        doc_setting(line, "columns", e->columns, sizeof e->columns))
        return;
    if (doc_setting(line, "grammar", grammar, sizeof grammar))
        e->lax = !strcmp(grammar, "lax");
    else if (!strncmp(line, "-> ", 3) || !strncmp(line, "!> ", 3))
        buf_addf(&e->expected, "%.*s;", (int)strcspn(line + 3, "\n"), line + 3);
    else
        buf_adds(&e->input, line);
}

/* The next block of that kind; false at the end of the page. */
static inline bool doc_next(FILE *page, const char *kind, struct doc_example *e)
{
    char line[1000], open[40];
    bool inside = false;
    *e = (struct doc_example){ 0 };
    snprintf(open, sizeof open, "```%s\n", kind);
    while (fgets(line, sizeof line, page)) {
        if (inside && !strcmp(line, "```\n"))
            return true;
        if (inside)
            doc_line(e, line);
        inside |= !strcmp(line, open);
    }
    return false;
}

static inline void doc_clear(struct doc_example *e)
{
    buf_clear(&e->input);
    buf_clear(&e->expected);
}

/* "doc/NAME" of the source tree; make check says where that is. */
static inline FILE *doc_open(const char *name)
{
    char path[600];
    const char *srcdir = getenv("srcdir");
    snprintf(path, sizeof path, "%s/doc/%s", srcdir ? srcdir : ".", name);
    return fopen(path, "re");
}

#endif
