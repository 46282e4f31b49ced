/*
 * Keeps the leases of the group that is being loaded: a thread with a queue connection of its own, because a target's transaction
 * may take longer than a lease. It also gives the signs of life meanwhile.
 */
#ifndef QETL_ROLE_KEEPER_H
#define QETL_ROLE_KEEPER_H

#include "queue/job.h"
#include "role/role.h"

struct keeper;

int keeper_start(struct keeper **out, const struct role *role, struct err *err);
/* Keep these from now on (borrowed until the next call); n = 0: nothing to keep. */
void keeper_hold(struct keeper *k, const struct staged_job *jobs, int n);
void keeper_stop(struct keeper *k); /* NULL is fine */

#endif
