/*
 * The loader: claims staged jobs, puts them in groups into their target, one transaction a group, and records what became of
 * them. The ledger in the target is the truth: whatever dies, at whatever instant, the next loader asks it first.
 */
#ifndef QETL_ROLE_LOADER_H
#define QETL_ROLE_LOADER_H

#include "role/role.h"

struct loader;

/* Opens spool and queue, joins the registry, sweeps the spool. Targets are opened when they have jobs. */
int loader_open(struct loader **out, const struct role *role, struct err *err);
/* From now on it claims this job and no other; its chores stay those of all. */
void loader_only(struct loader *l, int64_t job);
/* One group for each target. *did: jobs settled. -1: the queue or the spool cannot be used. */
int loader_step(struct loader *l, int *did, struct err *err);
void loader_close(struct loader *l); /* NULL is fine */
/* Step and sleep until a stop is asked for (or, draining, nothing is left). */
int loader_run(const struct role *role, struct err *err);

#endif
