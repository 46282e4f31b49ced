/*
 * A stream of bytes between two processes: a ring in shared memory, one writer, one reader. The
 * memory is mapped twice in a row, so that what is there is always one slice. Made before a fork;
 * both sides then use the same struct.
 *
 * A side that must wait says so in the shared part, looks again, and polls its eventfd (together
 * with whatever tells it that the other side died); the other side writes the eventfd only then, so
 * a busy ring makes no system calls. Positions are absolute (bytes since the beginning). Each side
 * keeps its own position in its own memory and checks the other's: a side that lies can stop the
 * stream, and nothing else.
 */
#ifndef QETL_IO_RING_H
#define QETL_IO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct ring_shared;

struct ring {
    char *bytes; /* `size` bytes, and the same again behind them */
    size_t size;
    struct ring_shared *shared;
    uint64_t head, tail;        /* own position: head the writer's, tail the reader's */
    int data_event, room_event; /* eventfds: bytes came (the reader polls it), room came (the writer
                                   polls it) */
};

/* size: a power of two, a multiple of the page size. */
int ring_init(struct ring *r, size_t size, struct err *err);
void ring_clear(struct ring *r); /* this process' side; {0}-like rings with events -1 are fine */

/* ---- the writer ---- */
/* All n bytes are in: true. No room for all of them: false, and room_event becomes readable once
 * there is. n at most size. */
bool ring_write(struct ring *r, const void *p, size_t n);
/* The other side's position is impossible: stop using this ring. */
bool ring_broken(const struct ring *r);
/* Wake a reader that waits for something else than bytes, told by other shared memory. */
void ring_nudge(struct ring *r);
void ring_room_seen(struct ring *r); /* after poll: makes room_event unreadable again */

/* ---- the reader ---- */
struct str ring_data(struct ring *r); /* what is there now; valid until ring_consume */
void ring_consume(struct ring *r, size_t n);
/* Go to an absolute position at or behind our own: what lies between is thrown away. The writer has
 * been there. */
void ring_skip_to(struct ring *r, uint64_t position);
/* About to wait. true: nothing is there, poll data_event now; false: look again first. Call
 * ring_awake after the wait. */
bool ring_will_wait(struct ring *r);
void ring_will_wait_nudge(
    struct ring *r); /* the same without a look at the bytes: only a nudge is waited for */
void ring_awake(struct ring *r);
/* From another thread of the reader: its wait, or its next one, ends at once. */
void ring_interrupt(struct ring *r);

#endif
