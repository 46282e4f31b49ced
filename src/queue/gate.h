/*
 * What keeps ready jobs from being claimed, and whose turn it is. Ready jobs stand in runs, one for
 * each pipeline and remote; a gate closes or opens for a whole run, and one function decides, for
 * the claim as for whoever asks why a job waits:
 *
 *   its pipeline is paused; a server asked to be left alone (Retry-After); an [enrich] of its pipeline
 *   may not be asked (its quota or interval, a server that is busy or down); its remote has as many
 *   jobs as it may have at a time (connections=); its remote was asked just now (interval=); the
 *   spool has no room for what its pipeline's jobs take ([limits] spool); its file system is nearly
 *   full (spool_free).
 *
 * The remotes' limits stand in queue.db, so that they bind all workers together. Of the runs whose
 * gate is open the greatest priority goes first; between pipelines of the same priority those with
 * the least `pass` (stride scheduling, Waldspurger and Weihl 1995: each job taken adds
 * PASS_STRIDE / weight), so that a million jobs of one pipeline do not starve the others; then the
 * oldest job.
 *
 * Behind what an [enrich] is held by one job goes first, alone: the others follow when it is staged, or one of them
 * after PROBE_MS.
 *
 * If power fails a pass or a place in the interval is forgotten: a turn too many.
 */
#ifndef QETL_QUEUE_GATE_H
#define QETL_QUEUE_GATE_H

#include "queue/job.h"

enum gate { GATE_OPEN, GATE_PAUSED, GATE_HELD, GATE_ENRICH, GATE_CONNECTIONS, GATE_INTERVAL, GATE_SPOOL, GATE_DISK };

/* The ready jobs of a pipeline at a remote. */
struct run {
    char *pipeline, *remote;           /* owned */
    int64_t priority, seq;             /* of its first job */
    int64_t weight, pass;              /* of its pipeline */
    int64_t need;                      /* bytes of the spool that a job of it may take */
    int64_t connections, busy;         /* most and current jobs of its remote; 0: any number */
    int64_t interval, next_at, held_until; /* of its remote */
    int64_t enrich_until;              /* of what its pipeline asks; in the past: nobody tried since; 0: nothing is held */
    bool paused;
    bool empty; /* all its jobs are taken */
    bool taken; /* jobs of its pipeline were */
};
/* In the order of pipelines and remotes. */
struct runs {
    struct run *v;
    int n, cap;
    bool compete; /* pipelines had to take turns */
    struct queue_spool spool;
    int64_t taken; /* bytes of the spool that jobs have; only with a quota */
};
int runs_read(struct queue *q, struct runs *runs, struct err *err);
void runs_clear(struct runs *runs);

/* What holds the run now. *opens: when that passes, if time alone does it; else 0. */
enum gate gate_of(const struct runs *runs, const struct run *r, int64_t now, int64_t *opens);
/* The run that a claim takes from next, or NULL. *most: how many jobs may be taken before another
 * run could have its turn. */
struct run *runs_choose(struct runs *runs, int64_t now, int64_t *most);
/* A job of the run was claimed that makes so many requests; what that changes for the other runs. */
void runs_took(struct runs *runs, struct run *r, int64_t requests, int64_t now);
/* A job of the run was claimed alone, to try whether what held its [enrich] is over. */
int run_probes(struct queue *q, struct runs *runs, const struct run *r, int64_t now, struct err *err);
/* The job ended: what held is over (it was staged), or `still` holds (a name, or NULL) and the rest is to be tried by another one. */
int run_probed(struct queue *q, const char *pipeline, bool staged, const char *still, int64_t now, struct err *err);
/* Write what the claims changed: the passes, where pipelines compete. */
int runs_write(struct queue *q, const struct runs *runs, struct err *err);

/* ---- listings ---- */

enum {
    REMOTE_WHY = 300,
    REMOTE_BUSY_MS = 1000, /* until a listing that waits for a connection asks again */
};
/*
 * May a listing ask the remote now? *opens is 0 then, and one of its connections counts as taken for lease_ms; call again to keep
 * it. Else *opens is when to ask again, and `why` says what holds it; a listing that waits for a connection gets the
 * next one that is free, before any job.
 */
int remote_list_begin(struct queue *q, const char *name, int64_t lease_ms, int64_t *opens, char why[REMOTE_WHY], struct err *err);
/* It made so many requests; what the server asked for when it `failed` binds all jobs of the remote. */
int remote_list_end(struct queue *q, const char *name, int64_t requests, const struct err *failed, struct err *err);
/* Did its server ask to be left alone? 1: until then, and why; 0; -1. */
int remote_held(struct queue *q, const char *name, int64_t *until, char why[REMOTE_WHY], struct err *err);
/* A person knows better: jobs and listings may ask it at once. 1; 0: nothing holds it; -1. Until it asks again, of course. */
int remote_release(struct queue *q, const char *name, struct err *err);
/* The same for what holds the jobs that ask an [enrich]: one of them goes first. */
int enrich_release(struct queue *q, const char *name, struct err *err);

#endif
