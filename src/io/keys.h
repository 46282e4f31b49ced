/*
 * The table of the ini's keys: which member of which struct a key fills, how its value is read, and
 * what the manual says about it. Only config.c needs this; one row here is all that a new key
 * takes.
 */
#ifndef QETL_IO_KEYS_H
#define QETL_IO_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* Where a key stands, which is also the struct that it fills. [pipeline] holds keys of two structs.
 */
enum scope {
    AT_QETL,
    AT_WORKER,
    AT_LOADER,
    AT_SCANNER,
    AT_LIMITS,
    AT_REMOTE,
    AT_TARGET,
    AT_ENRICH,
    AT_LOOKUP,
    AT_PIPELINE,
    AT_RECIPE,
    SCOPES
};

struct section_def {
    const char *name;
    bool named;
    const char *help;
};
enum { SECTION_DEFS = AT_PIPELINE + 1 };
extern const struct section_def
    section_defs[SECTION_DEFS]; /* by scope; keys of AT_RECIPE stand in AT_PIPELINE */

enum key_type {
    KEY_TEXT,
    KEY_GLOBS,
    KEY_PATH,
    KEY_URL,
    KEY_SOURCE,
    KEY_SECRET,
    KEY_NUMBER,
    KEY_SIZE,
    KEY_DURATION,
    KEY_YES,
    KEY_WORD,
    KEY_NAME,
    KEY_CHAR,
    KEY_HEADER,
    KEY_COLUMNS,
    KEY_LIST,
    KEY_ZONE,
    KEY_TABLE,
    KEY_REJECTS,
    KEY_SQL,
    KEY_SQL_TEXT,
    KEY_CRON,
    KEY_AFTER,
    KEY_COMMAND,
    KEY_ENV,
    KEY_QUOTA,
    KEY_TEMPLATE,
    KEY_LATE,
    KEY_SAYS,
    KEY_TYPES
};

enum {
    LINES = 1 /* may take several lines */,
    NEEDED = 2,
    WHOLE = 4 /* not in a part */,
    EMPTY = 8 /* may have no value */,
    FOR_SQLITE = 16 /* these three: only for such targets; a key without any of them is for all */,
    FOR_SQL = 32,
    FOR_OBJECTS = 64,
    VERBATIM = 128 /* a semicolon in its value is one, and begins no comment */
};

struct key {
    enum scope scope;
    const char *name;
    enum key_type type;
    size_t at;
    const char *def; /* NULL: none */
    int64_t min,
        max; /* of numbers, sizes (bytes) and durations (ms); KEY_CHAR: min 1 refuses "none" */
    const char *const *words;
    unsigned flags;
    const char *help;
};

/* What parsers need and give besides the value. */
struct key_reader {
    struct arena *arena; /* for texts and lists */
    const char *folder;  /* that relative paths are taken from */
    char want[400];      /* after false: what was expected, as "expected %s" */
    bool failed;         /* out of memory */
};

/* The key of that name in sections of def, or NULL. */
const struct key *key_find(const struct section_def *def, const char *name);
/* The section whose key is called so, or NULL: for "it belongs in". */
const struct section_def *key_section(const char *name);
/* Is there a key of that name whose value is VERBATIM? */
bool key_is_verbatim(const char *name);
/* The n-th key of sections of def (a struct section_def), and its name; NULL behind the last. */
const struct key *key_at(const struct section_def *def, int n);
const char *key_name_at(const void *def, int n);
/* Put the value into the struct at base. false: kr->want, and nothing has changed. */
bool key_read(struct key_reader *kr, const struct key *k, const char *text, void *base);
/* What its type is called in the manual, and its range or words: "1 to 256", "text or json", or nothing. */
const char *key_type_name(const struct key *k);
void key_print_range(const struct key *k, struct buf *out);
/* All keys of a scope as they are when they are not given. */
void key_defaults(struct key_reader *kr, enum scope scope, void *base);
/* May the value stand in a message? */
bool key_is_private(const struct key *k);

/* The end of "scheme://" in a URI, or NULL. */
const char *uri_behind_scheme(const char *uri);
/* The "user:password@" of what stands behind the scheme: 0 none, 1 a user, 2 a user with a
 * password; *host is what follows. */
int uri_userinfo(const char *authority, const char **host);

/* "; did you mean 'x'?" for the nearest of the words, or "". next(list, i) gives NULL behind the
 * last. */
void nearest(char *out, size_t cap, const char *word, const char *(*next)(const void *, int),
             const void *list);

#endif
