/*
 * Formats: bytes of one member in, batches of fields out. A format knows nothing of jobs or targets. One row in the
 * table of format.c a format.
 */
#ifndef QETL_READ_FORMAT_H
#define QETL_READ_FORMAT_H

#include "base/err.h"
#include "io/config.h"
#include "io/input.h"
#include "io/rejects.h"
#include "io/row.h"
#include "read/decode.h" /* decode_open: what a format reads */

struct reader; /* each format has its own inside */

/* What a member calls its fields. */
struct format_name {
    struct str name; /* of the header as written; JSON: the path, as columns= has it */
    bool taken;      /* by a column */
    bool filled;     /* CSV: the name is empty, and a row so far has a value there */
    char first;      /* JSON: the first byte of the first value that was seen; else 0 */
};
struct format_names {
    const struct format_name *v; /* CSV: all of the header. JSON: keys so far that no column takes (json_row.h says which) */
    int n;
    bool ordered;        /* it is a header: its order means something, and no name comes later */
    bool grows;          /* rows to come may change what is told here */
    const bool *present; /* of each column: the member has it, so far */
};

struct format {
    const char *name;
    /* How sure, 0 to 100, that this is ours, from the first bytes of the member (after decoding to UTF-8). */
    int (*bid)(struct str head);
    /*
     * Start on a member. recipe and columns are borrowed until close. The fields of the batches are in the order of
     * columns; of one that the member does not have they are absent (names() tells). -1: ERR_HEADER (a wanted column is there
     * twice, or the header cannot be read), ERR_ENCODING, ERR_EMPTY never: no rows is 0 rows.
     */
    int (*open)(struct reader **out, const struct recipe *recipe, const struct columns *columns, struct input *in,
                int64_t row_bytes_max, struct err *err);
    /* 1: the batch has rows or bad rows; 0: the end; -1 error. Resets the batch first; its slices live until the next call. */
    int (*next)(struct reader *r, struct batch *b, struct err *err);
    void (*close)(struct reader *r); /* NULL is fine; also of a reader that failed half-way */
    /* The names of the member: 1, 0 it has none (CSV without a header, or without any row), -1 no-memory. They live until the next call. */
    int (*names)(struct reader *r, struct format_names *out, struct err *err);
    /* Format, delimiter and header into *c: what must be known to read a row of the member alone. Known from the first next() on;
     * borrowed from r. */
    void (*about)(const struct reader *r, struct reject_context *c);
    /* Column names (and types) of a member for inference: fields of the header, or keys found in the sample. See infer.h */
};

extern const struct format format_csv;   /* csv and tsv */
extern const struct format format_jsonl; /* JSON lines, and arrays of objects (records = path) */

/* By recipe->format; for "auto" (and NULL) by bidding on head. NULL with *err: format when nobody bids. */
const struct format *format_pick(const struct recipe *recipe, struct str head, struct err *err);

#endif
