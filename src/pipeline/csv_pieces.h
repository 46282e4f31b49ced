/*
 * CSV that comes in pieces: the CSV reader pulls its bytes, and where none are there yet whoever waits for them goes on with
 * something else. So the reader runs on a stack of its own (base/fiber.h), which stops when it wants what is not there.
 */
#ifndef QETL_PIPELINE_CSV_PIECES_H
#define QETL_PIPELINE_CSV_PIECES_H

#include <sys/types.h>

#include "io/config.h"
#include "io/row.h"

struct csv_pieces;

enum { PIECES_WAIT = -2 };

/*
 * recipe: how it is read; columns by the names of its header, which is a must, and lacks none of them that is not optional (header). Both
 * are borrowed until close.
 * read: puts at most cap bytes into buf; 0 is the end, PIECES_WAIT: nothing is there now, -1 with *err.
 */
int csv_pieces_open(struct csv_pieces **out, const struct recipe *recipe, const struct columns *columns, int64_t row_max,
                    ssize_t (*read)(void *arg, void *buf, size_t cap, struct err *err), void *arg, struct err *err);
/* 1: the batch, made for those columns, has rows, or bad rows, until the next call; 0: there are none now; -1: as the CSV reader says, or
 * read(), or program-cut: the last line is not ended. At the end of the bytes it is 0 for ever. */
int csv_pieces_next(struct csv_pieces *p, struct batch *batch, struct err *err);
void csv_pieces_close(struct csv_pieces *p); /* NULL is fine */

#endif
