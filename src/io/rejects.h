/*
 * The refused rows of one job: a sink that counts them, keeps them as JSON lines, and says when the limit is passed; and the
 * way back from those lines.
 *
 * A row, the keys always in this order:
 *     {"table":…,"reason":"not-integer","message":…,"column":"id","value":"x1","object":URI,"member":…,"line":17,"offset":5120,
 *      "row":"x1,…"}
 * What is not known is null ("value" is then empty). value is its first 200 bytes. row is the whole row, so that it can be read
 * again; bytes in it that are not UTF-8 are U+FFFD there, and then "hex" has all of the row's bytes. A row that is not there
 * whole (it was too long to be read, or the job died of its rejects) is its first 2,000 bytes, and "cut":true.
 *
 * Before the first refused row of a member stands what else is needed to read rows of it again:
 *     {"context":{"part":"orders","format":"csv","encoding":"latin1","delimiter":";","header":"id;name","refresh":false}}
 * It holds until the next such line; {"context":null} stands before rows that cannot be read again, for no format gave them. So it
 * is with a row that a step made: it has no object, or no member.
 * With encoding other than utf-8 the rows (and the header) were decoded, and are UTF-8.
 *
 * The lines stay in memory up to inline_max, then go to a file.
 */
#ifndef QETL_IO_REJECTS_H
#define QETL_IO_REJECTS_H

#include "io/input.h"
#include "io/row.h"
#include "io/stage.h"

struct reject_limit {
    int64_t count; /* more rejects than this fail the job; -1: no limit */
    double share;  /* more than this share of the rows read fails the job at its end; 0 to 1, or -1:
                      none */
};

/* What must be known of a member to read one of its rows alone. */
struct reject_context {
    const char *part;     /* name of the recipe: NAME or NAME.PART */
    const char *format;   /* "csv"; "jsonl": a row is a line; "json": a row is an element of an array */
    const char *encoding; /* that of the member, as encoding= has it */
    char delimiter;       /* csv; 0: none */
    bool has_header;      /* csv */
    struct str header;    /* the row with the names, as it stands there */
    bool refresh;         /* the rows took the place of the table's */
};

struct rejects {
    const struct stage *stage; /* borrowed */
    int output;                /* its number among the job's outputs */
    struct reject_limit limit;
    int64_t count;
    int64_t by_reason[REJECT_REASONS];
    struct output out;  /* inline bytes so far, or the file */
    struct output head; /* for rejects_head(): the first lines, with short rows */
    int fd;             /* -1 while inline */
    /* where we are, borrowed, set by rejects_at() */
    const char *table, *object, *member;
    const struct reject_context *context; /* borrowed; NULL: rows that come now cannot be read again */
    bool told;                            /* the lines have it */
    char first[400]; /* the first reject in words, for the error message */
};

void rejects_init(struct rejects *r, const struct stage *stage, int output,
                  struct reject_limit limit);
/* What is refused from now on comes from there, and nothing is known of its member yet (context NULL). All are borrowed. */
void rejects_at(struct rejects *r, const char *table, const char *object, const char *member);
/* Its reader is open and knows: so rows of it are read alone. Borrowed until the next rejects_at(). */
void rejects_know(struct rejects *r, const struct reject_context *context);
/* What is refused from now on cannot be read again, though it has a place, until rejects_know(). */
void rejects_forget(struct rejects *r);
/* Add one. `column` is NULL when the whole row is at fault. -1: ERR_REJECTS (limit.count passed),
 * or disk trouble. */
int rejects_add(struct rejects *r, enum reject_reason reason, const char *column, struct str value,
                const struct place *place, struct err *err);
/* The same for a row that the format refused; its message tells of `found` and `expected`, or is `detail`. */
int rejects_add_bad(struct rejects *r, const struct bad_row *bad, const char *column,
                    struct err *err);
struct reject_line;
/* Add one that was refused before, and cannot be read again, as it stands there. */
int rejects_again(struct rejects *r, const struct reject_line *l, struct err *err);
/* The end of the job: checks limit.share against rows_read; on 0 *out holds the output (kind
 * OUTPUT_REJECTS), its bytes and spec are the caller's (output_clear), and the file is written but not
 * synced. spec: {"first": "line 17, …", "reasons": [{"reason": "not-integer", "rows": 2}, …]}. Fault point: rejects-write. */
int rejects_finish(struct rejects *r, uint64_t rows_read, struct output *out, struct err *err);
/* What can be shown of the rejects of a job that fails: the first of them, inline, about inline_max bytes, rows cut to 2,000
 * bytes; and a spec. *out is the caller's (output_clear); its rows may be fewer than count. */
void rejects_head(struct rejects *r, struct output *out);
void rejects_clear(struct rejects *r);

/* ---- the way back ---- */

struct reject_line {
    struct str line;      /* as it stands there, without its newline */
    const struct reject_context *context; /* of the row; NULL: it cannot be read again */
    bool new_context;     /* it came right before this row */
    char *table, *reason, *message, *column, *object, *member; /* column, member: may be NULL */
    struct str value, row; /* row: its exact bytes */
    bool cut;              /* row is only its beginning */
    int64_t row_line, row_offset; /* in the member */
};

struct rejects_in;

/* in is borrowed until close. A line may be as long as a row of row_bytes asks for. */
int rejects_open(struct rejects_in **out, struct input *in, int64_t row_bytes, struct err *err);
/* The next row: 1, and *l is valid until the next call; 0 the end; -1: format (what is there was not written here, or is damaged),
 * or the input's own. */
int rejects_next(struct rejects_in *r, struct reject_line *l, struct err *err);
void rejects_close(struct rejects_in *r); /* NULL is fine */

#endif
