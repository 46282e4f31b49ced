/*
 * Rows that wait: a part whose SQL reads other parts (lookup_parts=) begins when those are done, and until then what is read for it
 * is kept here, typed, with the place of each row.
 *
 * A few rows stay in memory, more go to a file without a name that the worker opens ([limits] scratch bounds it). Rows come back in
 * the batches in which they went in. If power fails, nothing of it was ever in a folder.
 */
#ifndef QETL_PIPELINE_HOLD_H
#define QETL_PIPELINE_HOLD_H

#include "io/row.h"
#include "io/stage.h"

struct hold;

/* For rows of those columns. stage and columns are borrowed. Errors: no-memory. */
int hold_open(struct hold **out, const struct columns *columns, const struct stage *stage, int64_t bytes_max, struct err *err);
/* Keep a batch of rows, at most BATCH_ROWS, of that member (NULL: none) of that object. Errors: limit, disk-full and the like. */
int hold_put(struct hold *h, const struct rows *rows, const char *object, const char *member, struct err *err);
/* When all are in: the next batch. 1: *rows, which may be changed, *object and *member live until the next call; 0: there are no more. */
int hold_take(struct hold *h, struct rows *rows, const char **object, const char **member, struct err *err);
void hold_close(struct hold *h); /* NULL is fine */

#endif
