/*
 * The scanner: looks through the sources of all pipelines that have every= or cron=, on time; what is new becomes jobs.
 *
 * One a database works, by a lease; others wait until it is free. Time comes from three sides: intervals, slots of cron (each
 * accounted for once, those that were missed by the policy of the pipeline), and inotify for local folders. What is left to
 * do with a file after its commit (after=) is done here, too. Whatever dies, at whatever instant: what was seen, its jobs and
 * its slots are in queue.db together or not at all.
 */
#ifndef QETL_ROLE_SCANNER_H
#define QETL_ROLE_SCANNER_H

#include "queue/scan.h"
#include "role/role.h"

struct scanner;

/* Opens the queue and joins the registry. */
int scanner_open(struct scanner **out, const struct role *role, struct err *err);
/* Take the right to scan, or keep it. 1; 0: another one has it (its name in holder). */
int scanner_lead(struct scanner *s, char holder[64], struct err *err);
/* That pipeline (NULL: the inbox) is left out of all that follows. */
void scanner_leave_out(struct scanner *s, const struct pipeline *p);
/* What is due now, of the pipeline `only` or of all (NULL); `force`: due or not. *next_ms: so long until something will be. */
int scanner_step(struct scanner *s, const char *only, bool force, int64_t *next_ms, struct err *err);
/* What is left to do with files whose rows are committed, but for other places where this scanner has processes for them. */
int scanner_after(struct scanner *s, struct err *err);
void scanner_close(struct scanner *s); /* NULL is fine */
/* Step and sleep until a stop is asked for. */
int scanner_run(const struct role *role, struct err *err);
/* For drain: look through everything once, and again for what has to settle within wait_ms; where another scanner works, ask it. */
int scanner_drain(const struct role *role, int64_t wait_ms, struct err *err);
/* Behind a drain: what is left to do with files whose rows are committed, in all places; another scanner that works does it itself. */
int scanner_finish(const struct role *role, struct err *err);

/* A slot is missed when nobody was there within half of the time to the next, an hour at most. */
enum { SLOT_LATE_MAX_MS = 3600000 };
/* Decide on the slots of a pipeline from the last one that is accounted for up to now: fills at most max of them, oldest first, and
 * gives their number; the reasons are constant texts. */
int scanner_slots(const struct pipeline *p, const struct zone *zone, int64_t last, int64_t now, struct scan_slot *out, int max);

#endif
