/* Ready jobs to leases, for job_finish.c. */
#ifndef QETL_QUEUE_CLAIM_H
#define QETL_QUEUE_CLAIM_H

#include "queue/job.h"

/* Take up to max ready jobs for `worker` until `until` (ms), inside queue_begin/commit. The number;
 * -1: none of the leases is filled, and the transaction must be rolled back. */
int claim_jobs(struct queue *q, int64_t worker, int64_t now, int64_t until, struct lease *leases,
               int max, struct err *err);
/* The same for one job, past all others but not past its gate. */
int claim_job(struct queue *q, int64_t id, int64_t worker, int64_t now, int64_t until,
              struct lease *lease, struct err *err);
void claim_forget(struct lease *leases, int n);
/* The enum lease_state of a lease, as this transaction sees it; or -1. */
int claim_state(struct queue *q, const struct lease *l, struct err *err);

#endif
