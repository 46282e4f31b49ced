/*
 * Why this stands between inih and config: see ini.h. Only reads; power may fail at any time.
 *
 * Invariant: what inih takes for a new key, a continuation or a section is what we take it for. It
 * holds because headings reach it as "[N]", blank lines and comments do not reach it, a new key
 * begins in column 0 of its first piece, and every other piece begins with a space behind an open
 * key.
 */
#include "io/ini.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/text.h"

struct source {
    struct ini *ini;
    FILE *f;
    int file, line; /* line: the physical one, from 1 */
    char *text;     /* of that line, from getline */
    size_t cap;
    struct str rest;  /* what of it inih has not had yet */
    int section;      /* index of the section we are in */
    bool key_open;    /* a continuation would belong to the last entry */
    bool begun;       /* the piece handed out last was not the first of its line */
    bool waiting;     /* inih has not called back for the piece handed out last */
    struct buf value; /* of the last entry, as far as it is known */
    int sys;          /* errno of a read that failed */
};

/* Stands for a semicolon on its way through inih, where that begins a comment; no line of ours has it. */
enum { SEMICOLON = '\x01' };

static bool blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Room for one more in an array of n that grows by doubling. NULL: no memory, and nothing has
 * changed. */
static void *grow(struct ini *ini, void *array, int n, size_t size)
{
    if (n & (n - 1))
        return array;
    void *bigger = realloc(array, mem_product((size_t)(n ? n * 2 : 1), size));
    if (!bigger)
        ini->failed = true;
    return bigger;
}

void ini_fault(struct ini *ini, int file, int line, const char *fmt, ...)
{
    char text[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (int i = 0; i < ini->nfaults; i++)
        if (ini->faults[i].file == file && ini->faults[i].line == line &&
            strcmp(ini->faults[i].text, text) == 0)
            return;
    char *copy = arena_dup(&ini->arena, str_of(text));
    struct ini_fault *all = grow(ini, ini->faults, ini->nfaults, sizeof *all);
    if (all)
        ini->faults = all;
    if (!copy || !all) {
        ini->failed = true;
        return;
    }
    ini->faults[ini->nfaults++] = (struct ini_fault){ file, line, copy };
}

static int fault_order(const void *a, const void *b)
{
    const struct ini_fault *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

void ini_sort_faults(struct ini *ini)
{
    if (ini->nfaults)
        qsort(ini->faults, (size_t)ini->nfaults, sizeof *ini->faults, fault_order);
}

static void section_add(struct source *s, char *text)
{
    struct ini *ini = s->ini;
    struct ini_section *all = grow(ini, ini->sections, ini->nsections, sizeof *all);
    if (!all)
        return;
    ini->sections = all;
    s->section = ini->nsections;
    ini->sections[ini->nsections++] = (struct ini_section){ s->file, s->line, text };
    s->key_open = false;
}

/* The value of the last entry is complete. */
static void entry_end(struct source *s)
{
    if (!s->key_open)
        return;
    struct ini *ini = s->ini;
    if (s->value.failed ||
        !(ini->entries[ini->nentries - 1].value = arena_dup(&ini->arena, buf_str(&s->value))))
        ini->failed = true;
}

static void entry_begin(struct source *s, const char *name)
{
    struct ini *ini = s->ini;
    entry_end(s);
    s->key_open = false;
    buf_reset(&s->value);
    char *copy = arena_dup(&ini->arena, str_of(name));
    struct ini_entry *all = grow(ini, ini->entries, ini->nentries, sizeof *all);
    if (all)
        ini->entries = all;
    if (!copy || !all) {
        ini->failed = true;
        return;
    }
    ini->entries[ini->nentries++] = (struct ini_entry){ s->file, s->line, s->section, copy, NULL };
    s->key_open = true;
}

/* inih has found `name = value`, or a piece more of the value before. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct source *s = user;
    (void)section;
    bool goes_on = s->begun || (s->key_open && blank(s->text[0]));
    s->waiting = false;
    if (!*name) {
        ini_fault(s->ini, s->file, s->line, "a key is missing before '%c'", '=');
        entry_end(s);
        s->key_open = false;
        s->rest.n = 0;
        return 1;
    }
    if (!goes_on)
        entry_begin(s, name);
    else if (!s->begun)
        buf_addc(&s->value, '\n');
    size_t at = s->value.n;
    buf_adds(&s->value, value);
    for (; at < s->value.n; at++)
        if (s->value.p[at] == SEMICOLON)
            s->value.p[at] = ';';
    return 1;
}

/* Is the line of n bytes (one of) a value that is taken as it stands? */
static bool is_verbatim(const struct source *s, size_t n)
{
    char name[64];
    const struct ini *ini = s->ini;
    if (!ini->verbatim || !n)
        return false;
    if (blank(s->text[0]) && s->key_open)
        return ini->verbatim(ini->entries[ini->nentries - 1].name);
    size_t end = 0;
    while (end < n && s->text[end] != '=' && s->text[end] != ':')
        end++;
    struct str key = str_trim((struct str){ s->text, end });
    if (end == n || key.n >= sizeof name)
        return false;
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    return ini->verbatim(name);
}

/* The line without newline, comment and white space at its end; n == 0: nothing is left. */
static struct str line_body(struct source *s, size_t n)
{
    const char *p = s->text;
    size_t first = 0;
    while (first < n && blank(p[first]))
        first++;
    if (is_verbatim(s, n))
        for (char *c = s->text; c < s->text + n; c++)
            *c = *c == ';' ? SEMICOLON : *c;
    if (first == n || p[first] == ';' || p[first] == '#')
        return (struct str){ p, 0 };
    for (size_t i = first + 1; i < n; i++)
        if (p[i] == ';' && blank(p[i - 1]))
            n = i;
    while (n && blank(p[n - 1]))
        n--;
    return (struct str){ p, n };
}

static void heading(struct source *s, struct str line)
{
    entry_end(s);
    struct str t = str_trim(line);
    char *text = NULL;
    if (t.p[t.n - 1] != ']')
        ini_fault(s->ini, s->file, s->line, "a section heading needs a ']' at its end");
    else if (!(text = arena_dup(&s->ini->arena, str_trim((struct str){ t.p + 1, t.n - 2 }))))
        s->ini->failed = true;
    section_add(s, text);
}

/* The next line that holds something; false: the end of the file. */
static bool next_line(struct source *s)
{
    for (;;) {
        ssize_t n = getline(&s->text, &s->cap, s->f);
        if (n < 0) {
            s->sys = ferror(s->f) ? errno : 0;
            return false;
        }
        s->line++;
        if (s->line == 1 && n >= 3 && memcmp(s->text, "\xEF\xBB\xBF", 3) == 0)
            memmove(s->text, s->text + 3, (size_t)(n -= 3) + 1);
        if (memchr(s->text, 0, (size_t)n) || memchr(s->text, SEMICOLON, (size_t)n) ||
            text_utf8_valid((struct str){ s->text, (size_t)n }) != (size_t)n) {
            ini_fault(s->ini, s->file, s->line, "the line is not UTF-8 text");
            continue;
        }
        s->rest = line_body(s, (size_t)n);
        s->begun = false;
        if (s->rest.n)
            return true;
    }
}

/* Where to cut the rest so that at most `room` bytes stand before; 0: nowhere. */
static size_t cut(const struct source *s, size_t room)
{
    if (s->rest.n <= room)
        return s->rest.n;
    const char *p = s->rest.p;
    for (size_t i = room; i > 0; i--)
        if (!blank(p[i - 1]) && !blank(p[i]) && p[i] != ';' && p[i] != '#')
            return i;
    return 0;
}

/* A new key must come with its '=' in the first piece: inih would take the second for the value of
 * the key before. */
static bool key_in(struct str piece)
{
    return memchr(piece.p, '=', piece.n) || memchr(piece.p, ':', piece.n);
}

/* The next piece of the line into out; false: the line is faulty, and passed over. */
static bool hand_out(struct source *s, char *out, size_t room)
{
    bool goes_on = s->begun || (s->key_open && blank(s->rest.p[0]));
    size_t n = cut(s, room - 2);
    struct str piece = { s->rest.p, n };
    if (!n || (!goes_on && !key_in(piece))) {
        ini_fault(s->ini, s->file, s->line,
                  n ? "expected [section], key = value, or a comment that begins with #"
                    : "too much white space in a row, or too many # or ; signs");
        s->rest.n = 0;
        return false;
    }
    size_t at = 0;
    if (s->begun)
        out[at++] = ' ';
    memcpy(out + at, piece.p, n);
    out[at + n] = 0;
    s->rest = (struct str){ s->rest.p + n, s->rest.n - n };
    s->waiting = true;
    return true;
}

/* fgets for inih: num is the size of its buffer. */
static char *on_read(char *out, int num, void *stream)
{
    struct source *s = stream;
    for (;;) {
        if (s->waiting)
            ini_fault(s->ini, s->file, s->line,
                      "expected [section], key = value, or a comment that begins with #");
        s->waiting = false;
        if (s->rest.n) {
            s->begun = true;
        } else if (!next_line(s)) {
            return NULL;
        } else {
            struct str t = str_trim(s->rest);
            if (t.p[0] == '[' && (t.p == s->text || !s->key_open)) {
                heading(s, s->rest);
                s->rest.n = 0;
                snprintf(out, (size_t)num, "[%d]", s->section);
                return out;
            }
        }
        if (hand_out(s, out, (size_t)num))
            return out;
    }
}

static void read_all(struct source *s)
{
    section_add(s, arena_dup(&s->ini->arena, STR("")));
    (void)ini_parse_stream((ini_reader)on_read, s, on_key,
                           s); /* its faults are ours: on_read() has told them by line */
    entry_end(s);
}

static bool is_name(char c, bool first)
{
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (!first && c >= '0' && c <= '9');
}

/* What stands behind "${" at p: adds its value to out, gives the first byte behind the "}"; NULL: a
 * fault was told. */
static const char *variable(struct ini *ini, const struct ini_entry *e, const char *p,
                            struct buf *out)
{
    const char *name = p, *end;
    while (is_name(*p, p == name))
        p++;
    size_t n = (size_t)(p - name);
    bool has_default = p[0] == ':' && p[1] == '-';
    end = has_default ? strchr(p + 2, '}') : p;
    if (!n || !end || *end != '}') {
        ini_fault(ini, e->file, e->line,
                  "%s: expected ${NAME} or ${NAME:-text}; a dollar sign itself is $$", e->name);
        return NULL;
    }
    char *copy = arena_dup(&ini->arena, (struct str){ name, n });
    const char *value = copy ? getenv(copy) : NULL;
    if (has_default && (!value || !*value))
        buf_add(out, p + 2, (size_t)(end - p - 2));
    else if (value)
        buf_adds(out, value);
    else if (copy)
        ini_fault(ini, e->file, e->line,
                  "%s: the environment variable %s is not set; ${%s:-text} would give a default",
                  e->name, copy, copy);
    return end + 1;
}

static void expand(struct ini *ini, struct ini_entry *e)
{
    if (!e->value || !strchr(e->value, '$'))
        return;
    struct buf out = { 0 };
    for (const char *p = e->value; p && *p;) {
        if (p[0] == '$' && p[1] == '{') {
            p = variable(ini, e, p + 2, &out);
        } else {
            p += p[0] == '$' && p[1] == '$';
            buf_addc(&out, *p++);
        }
    }
    e->value = out.failed ? NULL : arena_dup(&ini->arena, buf_str(&out));
    if (!e->value)
        ini->failed = true;
    buf_clear(&out);
}

int ini_read(struct ini *ini, const char *file, struct err *err)
{
    FILE *f = fopen(file, "re");
    if (!f) {
        if (errno == ENOENT)
            return err_set(err, ERR_CONFIG_MISSING, "there is no ini '%s'", file);
        err_sys(err, "read the ini '%s'", file);
        err->code = ERR_CONFIG;
        return -1;
    }
    char *name = arena_dup(&ini->arena, str_of(file));
    char **all = grow(ini, ini->files, ini->nfiles, sizeof *all);
    if (all)
        ini->files = all;
    if (!name || !all) {
        (void)fclose(f);
        return err_nomem(err);
    }
    struct source s = { .ini = ini, .f = f, .file = ini->nfiles };
    ini->files[ini->nfiles++] = name;
    int first = ini->nentries;
    read_all(&s);
    int rc = 0;
    if (s.sys) {
        errno = s.sys;
        rc = err_sys(err, "read the ini '%s'", file);
        err->code = ERR_CONFIG;
    }
    (void)fclose(f);
    free(s.text);
    buf_clear(&s.value);
    for (int i = first; i < ini->nentries; i++)
        expand(ini, &ini->entries[i]);
    return rc == 0 && ini->failed ? err_nomem(err) : rc;
}

void ini_clear(struct ini *ini)
{
    free(ini->files);
    free(ini->sections);
    free(ini->entries);
    free(ini->faults);
    arena_clear(&ini->arena);
    *ini = (struct ini){ 0 };
}
