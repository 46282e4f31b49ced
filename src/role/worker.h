/*
 * The worker: claims jobs, fetches their objects, has the reader child turn them into staged outputs, records the outcome. It
 * holds the network, the lease and the database; it never looks into foreign bytes beyond the first few that say whether a
 * format must seek.
 *
 * One process is one job slot. If power fails: the lease runs out and another attempt starts from the spool's .part of a big
 * object, or from nothing; a published output whose job was not recorded as staged is swept.
 */
#ifndef QETL_ROLE_WORKER_H
#define QETL_ROLE_WORKER_H

#include "read/infer.h"
#include "role/role.h"

struct worker;

/* Forks the reader child first, while this process is small; then opens spool, queue and network, and joins the registry. */
int worker_open(struct worker **out, const struct role *role, struct err *err);
/* From now on it claims this job and no other; its chores stay those of all. */
void worker_only(struct worker *w, int64_t job);
/* Record what is done, claim, work. *did: number of jobs worked. -1: the queue or spool cannot be used. */
int worker_step(struct worker *w, int *did, struct err *err);
/* Hand back what was claimed and not begun, leave the registry. NULL is fine. */
void worker_close(struct worker *w);
/* Step and sleep until a stop is asked for (or, draining, nothing is left). */
int worker_run(const struct role *role, struct err *err);
/* Look at an object without a queue: the columns of pipeline `name` (which gives none) as a text; malloc'ed. *notes is the caller's
 * (infer_notes_clear). config's spool is used for what must seek. */
int worker_infer(const struct config *config, const char *name, const char *uri, char **columns, struct infer_notes *notes,
                 struct err *err);

#endif
