/*
 * What every change of what was seen is made of, for the files of scan: scan.c the right to scan, the state of a scan and the end of a
 * listing, scan_look.c what a listing shows, scan_accept.c what a person decides, scan_take.c jobs, scan_after.c what is left to do behind
 * the load, scan_slot.c schedules and the inbox.
 */
#ifndef QETL_QUEUE_SCAN_CHANGE_H
#define QETL_QUEUE_SCAN_CHANGE_H

#include "queue/scan.h"

/* A transaction that holds the lease: every change that needs it is framed by these two. -1: lease-lost, database; nothing is open then.
 * end: rc < 0 rolls back, and is given back. */
int scan_change_begin(struct queue *q, const struct scan_lease *l, struct err *err);
int scan_change_end(struct queue *q, int rc, struct err *err);

/* Has the job that was made of an object read it? As statements say it. */
enum reads { READS_OVER, READS_YET, READS_NOW };

/* What waits can be whole in so long. */
void scan_again_in(struct scan_count *count, int64_t ms);
/* A job that waited for its object to settle goes on. */
int scan_let_go(struct queue *q, int64_t job, struct err *err);
/* After a whole listing, in the transaction: what waited and was not there is forgotten. */
int scan_forget_gone(struct queue *q, const struct scan_row *s, struct scan_count *count, struct err *err);

#endif
