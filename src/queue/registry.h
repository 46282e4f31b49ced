/* The worker registry: who works, since when, on what, and which targets cannot be reached. Heartbeats are rare writes; counters are added by the finishes in job_finish.c. */
#ifndef QETL_QUEUE_REGISTRY_H
#define QETL_QUEUE_REGISTRY_H

#include <stdint.h>

#include "queue/queue.h"

/* role: "worker", "loader", ...; name: "worker-2". Gives the row's id. */
int registry_join(struct queue *q, const char *role, const char *name, int64_t *id, struct err *err);
int registry_beat(struct queue *q, int64_t id, struct err *err);
int registry_leave(struct queue *q, int64_t id, struct err *err); /* stays listed with its end */
struct worker_row {
    int64_t id, pid, started, ended, beat, processed, succeeded, failed, rows, bytes, current_job;
    const char *role, *name, *host, *ip, *version, *current_uid;
    int alive; /* no end, and on this host the process is there; on others the beat is young */
};
int registry_list(struct queue *q, bool all, int (*row)(void *arg, const struct worker_row *r), void *arg, struct err *err);
/* The leases of processes of this host (and this namespace of process numbers) that are gone run out now, so that job_rescue() and
 * job_load_expired() take their jobs back without waiting. Tokens stay what they are. Takes no lock when nobody is gone. *buried: how
 * many processes. Never touches who works on another host: there a silent one may live. */
int registry_bury(struct queue *q, int64_t *buried, struct err *err);
/* A loader could not use the target, since now or longer, and tries again at that time (ms since 1970). */
int registry_target_away(struct queue *q, const char *name, int64_t again, const struct err *why, struct err *err);
int registry_target_back(struct queue *q, const char *name, struct err *err);
struct target_away_row { const char *name, *code, *message; int64_t since, again, staged; /* staged: jobs that wait for it */ };
int registry_targets_away(struct queue *q, int (*row)(void *arg, const struct target_away_row *r), void *arg, struct err *err);
/* Rows of workers that ended (or vanished) more than a day ago are removed. */
int registry_sweep(struct queue *q, int64_t before, struct err *err);

#endif
