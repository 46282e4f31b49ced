/*
 * The sink of refused rows of one job: counts them, keeps them as JSON lines, and says when the
 * limit is passed.
 *
 * One line, the keys always in this order:
 *     {"table":…,"reason":"not-integer","message":…,"column":"id","value":"x1","object":URI,"member":…,"line":17,"offset":5120,
 *      "row":"x1,…"}
 * What is not known is null ("value" is then empty). value is cut at 200 and row at 2,000 bytes,
 * between characters
 * ("cut":true is added); bytes that are not UTF-8 become U+FFFD. The lines stay in memory up to
 * inline_max, then go to a file.
 */
#ifndef QETL_IO_REJECTS_H
#define QETL_IO_REJECTS_H

#include "io/row.h"
#include "io/stage.h"

struct reject_limit {
    int64_t count; /* more rejects than this fail the job; -1: no limit */
    double share;  /* more than this share of the rows read fails the job at its end; 0 to 1, or -1:
                      none */
};

struct rejects {
    const struct stage *stage; /* borrowed */
    int output;                /* its number among the job's outputs */
    struct reject_limit limit;
    int64_t count;
    struct output out; /* inline bytes so far, or the file */
    struct output head; /* once there is a file: its first lines, for rejects_head() */
    int fd;            /* -1 while inline */
    /* where we are, borrowed, set by the pipeline */
    const char *table, *object, *member;
    char first[400]; /* the first reject in words, for the error message */
};

void rejects_init(struct rejects *r, const struct stage *stage, int output,
                  struct reject_limit limit);
/* Add one. `column` is NULL when the whole row is at fault. -1: ERR_REJECTS (limit.count passed),
 * or disk trouble. */
int rejects_add(struct rejects *r, enum reject_reason reason, const char *column, struct str value,
                const struct place *place, struct err *err);
/* The same for a row that the format refused; its message tells of `found` and `expected`. */
int rejects_add_bad(struct rejects *r, const struct bad_row *bad, const char *column,
                    struct err *err);
/* The end of the job: checks limit.share against rows_read; on 0 *out holds the output (kind
 * OUTPUT_REJECTS), its bytes are the caller's (output_clear), and the file is written but not
 * synced. Fault point: rejects-write. */
int rejects_finish(struct rejects *r, uint64_t rows_read, struct output *out, struct err *err);
/* What can be shown of the rejects of a job that fails: the first of them, whole lines inline, up to about inline_max bytes. *out
 * is the caller's (output_clear); its rows may be fewer than count. */
void rejects_head(struct rejects *r, struct output *out);
void rejects_clear(struct rejects *r);

#endif
