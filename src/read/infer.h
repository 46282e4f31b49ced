/*
 * Columns from data: names from the header (or the keys of JSON objects, nested objects as a.b),
 * types from all values that were seen: the narrowest of boolean, integer, decimal, real, date,
 * timestamp, json, text that holds every one of them. What would lose digits is text: a leading
 * zero ("007"), a sign +, more digits than int64, decimal(18) or a double keep. 0 and 1 are
 * integers; yes, no, y, n, t, f are booleans only where both sides were seen. JSON strings are
 * dates, timestamps or text, never numbers; arrays, and keys that are now an object, now something
 * else, are json. Required: at least 1 row, never null, and the whole member was read.
 *
 * Loading the same member with the result rejects no row but those that no columns could load (bad
 * grammar or encoding, a wrong number of fields, a NUL byte in a text).
 */
#ifndef QETL_READ_INFER_H
#define QETL_READ_INFER_H

#include "base/err.h"
#include "io/config.h"
#include "io/input.h"

/* What a person wants to know beside the columns. Texts are malloc'ed, or NULL where there is nothing to say. */
struct infer_notes {
    char *records;      /* the member is one JSON object around an array of objects: the way there, for records = */
    int64_t unread;     /* rows that no columns could load; not those that the end of a sample may have cut */
    char *first_unread; /* the first of them, "line 3: REASON (what may help)" */
    char *hints;        /* what would give a column of text another type: lines, each ended by \n */
};
void infer_notes_clear(struct infer_notes *n);

struct inferred {
    char *columns;   /* text for columns_parse; malloc'ed */
    char format[16]; /* csv, tsv, jsonl, json */
    char delimiter;  /* csv */
    bool header;
    int64_t rows; /* looked at */
    int64_t bytes;
    bool whole; /* the whole member was read; false: a sample */
    struct infer_notes notes;
};
void inferred_clear(struct inferred *i);

/*
 * Look at a member, as it was unpacked (it is decoded here). recipe gives what is already known
 * (format, delimiter, header, nulls...). max_bytes: 0 the whole member; a row that the end of the
 * sample cuts does not count. out is filled on 0 only. Errors: infer (nothing to learn from, more
 * than 2000 columns, names that cannot be used, header = yes and a first row that fits the types of
 * the columns below it), and those of the format and of the input.
 */
int infer_member(struct inferred *out, const struct recipe *recipe, struct input *in,
                 int64_t max_bytes, struct err *err);

/* The same, for columns that nobody will look at before the next files come: numbers with a fraction are real, whatever digits the next
 * ones have; decimal only where a double would lose some of those that were seen. */
int infer_new(struct inferred *out, const struct recipe *recipe, struct input *in, int64_t max_bytes, struct err *err);

/* A name for a column of a table that has those two lists of columns: letters, digits, _ and all that is not ASCII of `from`; other
 * bytes are one _ between those. What would be the name of one of qetl's own values loses the _ before it. *out is malloc'ed. -1: no-memory. */
int infer_name(char **out, const struct columns *taken, const struct columns *taken_too, struct str from, struct err *err);

#endif
