/*
 * A second thread that writes what was made while more is made: of a big staged file, the copy into the page cache costs more than
 * making it.
 *
 * A process has at most one such thread, and it holds one run of bytes at a time. Who has more to write while it is busy for another
 * file writes it himself; so does everybody where it was not started. The file is the same either way; an error of a run may be told
 * one call later.
 */
#ifndef QETL_IO_BEHIND_H
#define QETL_IO_BEHIND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/hash.h"

/* Start the thread; it runs when this returns, so that a sandbox may forbid clone afterwards. -1: no-memory. */
int behind_start(struct err *err);
void behind_stop(void); /* while no file is open; nothing happens when it was not started */

/* A file that is written from `at` on, run after run. */
struct behind {
    int fd;           /* borrowed */
    off_t at;         /* where the next run goes */
    struct hash hash; /* of all runs; valid after behind_wait() */
    const char *what; /* for errors, such as "the staged file" */
    /* inside */
    struct run {
        const uint8_t *p;
        size_t n;
        off_t at;
    } run;
    bool pending;
    int sys; /* errno of a run that failed, or 0 */
};

void behind_init(struct behind *b, int fd, off_t at, const char *what);
/* Write a run, now or soon: its bytes may not be touched before the next call for this file has returned. -1: disk-full, io, of this
 * run or the one before. */
int behind_write(struct behind *b, const void *p, size_t n, struct err *err);
/* The same, done when this returns: for what is too little for two. */
int behind_write_now(struct behind *b, const void *p, size_t n, struct err *err);
/* All runs are written, but not on the disk. */
int behind_wait(struct behind *b, struct err *err);

#endif
