/*
 * The programs of filter= of one run of a job: the worker's side. The reader child, which cannot start anything, asks for them
 * and moves the rows itself; here they are started, looked at now and then, and judged when the reader is through.
 *
 * Nothing waits here. If the worker dies, the guards of the programs kill them.
 */
#ifndef QETL_ROLE_FILTERS_H
#define QETL_ROLE_FILTERS_H

#include <poll.h>

#include "base/err.h"
#include "pipeline/pipeline.h"
#include "role/program.h"

struct filters {
    struct program *of[PIPELINE_PARTS_MAX]; /* of each part; NULL: not started */
    struct program *failed; /* that one's end is the job's; or NULL */
};

/* Start that of a part; call has all but the command. The ends that the reader gets are the program's: until filters_handed(). */
int filters_start(struct filters *f, const struct program_call *call, int part, int ends[2], struct err *err);
void filters_handed(struct filters *f, int part);
/* While the reader works. -1: one is over, but something it left behind has held its output open for too long. */
int filters_look(struct filters *f, struct err *err);
/* The reader is through. 1: all of them ended well; 0: some run; -1: the error of one that failed. */
int filters_over(struct filters *f, struct err *err);
/* The reader failed with *err, which may come of a program that failed. 1: *err says so now, or it has nothing to do with them; 0: look
 * again, one is about to say what became of it. */
int filters_blame(struct filters *f, struct err *err);
/* Descriptors that can be read when one is over; at most PIPELINE_PARTS_MAX. Returns their number. */
int filters_pollfds(const struct filters *f, struct pollfd *fds);
/* What one that failed, or else the first that said something, wrote to standard error; malloc'ed, or NULL. */
char *filters_talk(struct filters *f);
/* All of them ended well: put the end of what each wrote there behind *said (malloc'ed, or NULL), under the name of its part where there
 * are several. Without memory for that *said stays: a note is not worth the job. */
void filters_said(struct filters *f, const struct pipeline *p, char **said);
void filters_clear(struct filters *f); /* kills those that run */

#endif
