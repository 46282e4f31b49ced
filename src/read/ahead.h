/*
 * A second thread that pulls a stream while its blocks are used: decompression beside parsing, on
 * two cores.
 *
 * A process has at most one such thread. It is parked until a stream has given enough bytes to be
 * worth it, serves one stream at a time, and shares nothing with the consumer but a ring of blocks
 * (1 MiB in all, allocated at first use). With it or without it a consumer sees the same bytes, the
 * same errors in the same places, and the same budget.
 */
#ifndef QETL_READ_AHEAD_H
#define QETL_READ_AHEAD_H

#include "read/stream.h"

enum { AHEAD_AFTER = 2 << 20 }; /* starting for less does not pay */

/* Start the thread; it runs when this returns, so that a sandbox may forbid clone afterwards.
 * Streams with less than `after` bytes do without. cancel(arg), or NULL: a read below that waits in
 * the thread shall end soon, with any result: its stream is being closed. -1: no-memory. Not while a
 * stream is open. */
int ahead_start(size_t after, void (*cancel)(void *arg), void *arg, struct err *err);
void ahead_stop(void); /* not while a stream is open; nothing happens when it was not started */
bool ahead_started(void);

/*
 * A stream of the same blocks as `below`, which is consumed, also on error (NULL). All layers below
 * charge `lower`; while this stream is open `upper` sees their charges, and the bytes they had read,
 * only as far as their blocks were taken.
 */
struct stream *ahead_open(struct stream *below, const struct budget *lower, struct budget *upper,
                          struct err *err);

#endif
