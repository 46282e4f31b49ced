/*
 * Jobs: the state table, and every change of a job. Nothing else may change a state. Times are ms since 1970 UTC.
 *
 *   ready ─▶ running ─▶ staged ─▶ loading ─▶ loaded
 *     ▲         │          ▲          ├─▶ superseded
 *     └─retry───┤          └──away────┤
 *     ▲         ▼                     ▼
 *     └─────── dead ◀─────────────────┘        ready, running, staged, dead ─▶ cancelled
 *
 * Superseded, dead and cancelled ones of which a loader left something in the target can still turn out to be loaded (job_forsake_claim()).
 *
 * A job that may not run yet (delay, back-off) is ready with due = 0 and run_at set; job_promote() makes it due; only due jobs
 * are in the claim's partial index. Each claim (also the loader's) adds 1 to the fencing token; every later change names it.
 */
#ifndef QETL_QUEUE_JOB_H
#define QETL_QUEUE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/stage.h"
#include "queue/event.h"
#include "queue/queue.h"

enum job_state { JOB_READY, JOB_RUNNING, JOB_STAGED, JOB_LOADING, JOB_LOADED, JOB_SUPERSEDED, JOB_DEAD, JOB_CANCELLED, JOB_STATES };
const char *job_state_name(enum job_state s);
int job_state_by_name(const char *name); /* -1: none */
bool job_is_over(enum job_state s); /* final, or dead */
bool job_may(enum job_state from, enum job_state to);

/* ---- submit ---- */
struct job_new {
    const char *pipeline;
    struct str objects;     /* JSON array of URIs, or empty */
    struct str params;      /* JSON object, or empty */
    bool scanned;           /* a scan gives it its objects: those that it gives to another job later are not this one's any more */
    const char *unique;     /* or NULL; a second job with the same key of the same pipeline that is not final is not made */
    int64_t priority;       /* greater first */
    int64_t run_at;         /* 0: now */
    const char *remote;     /* whose limits bind it (gate.h): name of a [remote], or scheme://host[:port]; NULL: this machine */
    const char *target;     /* name of the target its outputs go to: the loader claims by it */
    const char *const *lanes; /* "target.table" of each table in mode replace or upsert: jobs of a lane are loaded in order */
    int nlanes;
    bool lane_replace;      /* all its tables are in mode replace, so that it may overtake and be superseded without dropping rows */
    int64_t attempts_max;   /* tries in all; 0 counts as 1 */
};
/* Inside queue_begin/commit, many in one transaction. Gives id and uid. *made is false when unique found an open job (then id and uid are
 * that job's). Ring BELL_READY after the commit. */
int job_submit(struct queue *q, const struct job_new *n, int64_t *id, char uid[SYS_UID_LEN + 1], bool *made, struct err *err);

/* ---- work ---- */
struct lease {
    int64_t id, token, attempt; /* attempt: number of this try, from 1 */
    char uid[SYS_UID_LEN + 1];
    int64_t until;
    char *pipeline, *objects, *params; /* owned: job_lease_clear */
    int64_t crashes, attempts_max;
    bool probes; /* it goes first, behind what held an [enrich] of its pipeline */
};
void job_lease_clear(struct lease *l);

/* A job whose object changed waits for the scanner; where none comes it is tried once a day. */
enum { JOB_SETTLES_MS = 86400000 };

/* A wait that a server asks for (err.retry_after_ms) is one of all jobs of its remote (gate.h) and counts as no attempt, until they come to so
 * much for one job (short ones are summed up as JOB_WAITED_MIN_MS each); behind that each counts as one, so that a server that asks for ever
 * is given up at last. */
enum { JOB_WAITED_MAX_MS = 86400000, JOB_WAITED_MIN_MS = 10000 };

/* The outcome of an attempt, for job_finish_claim(). */
/* OUT_WAITS: it goes back until what `hold` says is over, which counts as no attempt, and err, in the error log, says why. Where no gate
 * keeps it from being claimed at once (it is over already, or somebody with another ini said what pipelines ask) it stays away until
 * hold.until itself, and for backoff_ms at least. */
enum outcome { OUT_STAGED, OUT_FAILED, OUT_HANDED_BACK, OUT_WAITS };
/* No job that asks the [enrich] of that name is to begin before `until` (ms since 1970). server: it asked for that or failed, so that
 * a person may end it; else it is a limit of the ini. */
struct job_hold {
    const char *name, *why;
    int64_t until;
    bool server;
};
struct finish {
    struct lease *lease;
    enum outcome outcome;
    const struct output *outputs; /* staged; failed for good: rejects to look at, all inline, and rows_read, rows_rejected */
    int noutputs;
    int64_t rows_read, rows_staged, rows_rejected, rows_filtered, rows_added, bytes_in, bytes_out;
    struct err err;               /* failed */
    const char *stage;            /* "fetch", "program", "unpack", "read", "stage": for the error log; failed */
    const char *detail;           /* the same: what a program wrote to standard error, or NULL */
    struct job_hold hold;         /* failed, waits: what it met with; name NULL: nothing */
    const struct job_event *event; /* staged, of a pipeline with event_time; else NULL */
    int64_t backoff_ms;           /* failed, transient; waits: pause before the next try */
    int64_t whole_wait_ms;        /* failed, truncated, and of a scan: the object may not be whole yet. The job waits until so long after it
                                   * was made, or until a listing shows a change (scan.h), and that counts as no try; 0: it is dead */
    const char *changed;          /* failed, changed: this object, if a scan gave it, is another one than it listed. The job waits until the scanner saw it
                                   * whole again (scan.h), which counts as no try; NULL: none is */
    bool person;                  /* with changed: of on_change = fail. A job that was retried goes on with no other version: it is dead, so that the
                                   * next listing tells a person of it */
    int64_t peak_rss;
    int64_t spooled;              /* bytes of objects that were fetched into the spool */
    int signal;
    const struct job_object *objects; /* what was fetched, for table object */
    int nobjects;
    const char *drift;            /* how its columns differ: elements of a JSON array (pipeline/drift.h), checked; or NULL */
    const char *tally;            /* what became of its enrichments: a JSON array (pipeline/enrich_tally.h), checked; or NULL */
    const char *said;             /* what programs that ended well wrote to standard error, or NULL */
    const struct job_part *parts; /* staged; what is kept of its recipes */
    int nparts;
    int lost;                     /* out: the lease was lost, nothing was written */
    bool cancelled;               /* out: lost, because somebody cancelled the job */
    bool held_by_twin;            /* out: staged, but another job has the same content under way: this one goes back, and waits backoff_ms */
};
struct job_part {
    const char *recipe;
    const char *header;  /* for the drift of the next job; or NULL */
    const char *profile; /* of its rows; or NULL */
};
struct job_object {
    const char *uri;
    int64_t size;
    const char *etag, *modified;
    char sha256[65];              /* of its bytes, or "": not asked for */
    int64_t same_as;              /* the job that loaded the same content before (this one: an object before it), or that took the object
                                   * since, so that nothing of it is in the outputs; 0: none */
};
/* Which other job of the pipeline has that content? 0 none that counts; 1 it is loaded by *job; 2 it is staged or being loaded. Whoever
 * comes to be staged first has it, and no other is staged with it until that one is over (job_finish_claim()). */
int job_content(struct queue *q, const char *pipeline, const char *sha256, int64_t self, int64_t *job, struct err *err);

/*
 * One transaction: write the finishes (each fenced by its token), then claim up to `max` due jobs for `worker` until now + lease_ms.
 * leases: room for max. Returns the number claimed, or -1: then nothing happened, unless the fdatasync failed; in that case the
 * finishes stand and what was claimed comes back when its lease runs out. With nothing to finish and nothing to claim it takes no lock.
 * Durability: QUEUE_NOW when a finish is staged (a result must be on disk before a loader acts on it), else later. Rings BELL_STAGED,
 * BELL_READY for jobs that can be claimed at once, BELL_DONE for dead ones.
 * Transient failures become ready again with run_at (or dead when attempts are used up); permanent ones dead; ERR_READER_CRASHED counts a crash:
 * dead with class poison from crashes_max on, else ready again.
 */
int job_finish_claim(struct queue *q, struct finish *finishes, int nfinishes, int64_t worker, int64_t lease_ms, int64_t crashes_max,
                     struct lease *leases, int max, struct err *err);
/* Claim this job and no other: 1, 0 it is not to be had now, -1. */
int job_claim_one(struct queue *q, int64_t id, int64_t worker, int64_t lease_ms, struct lease *lease, struct err *err);
/* Is there a job to claim now? 1, 0, -1. Takes no lock. *opens: when the next of the gates that hold ready jobs back opens by itself, or 0. */
int job_claimable(struct queue *q, int64_t *opens, struct err *err);
/* Did a server ask meanwhile for the remote of a claimed job to be left alone? 1, 0, -1. Takes no lock. */
int job_held(struct queue *q, int64_t id, struct err *err);
/* 1 renewed, 0 lost, -1 database. */
int job_renew(struct queue *q, const struct lease *l, int64_t until, struct err *err);
/* Does the lease hold? But for LEASE_OURS: stop working. -1: database. Reader; cheap. */
enum lease_state { LEASE_LOST, LEASE_OURS, LEASE_CANCELLED };
int job_lease_state(struct queue *q, const struct lease *l, struct err *err);

/* ---- load ---- */
struct staged_job {
    int64_t id, token, seq;
    int64_t order; /* of seq, see queue_order() */
    char uid[SYS_UID_LEN + 1];
    char *pipeline, *objects;
    struct output *outputs; /* inline bytes loaded; rejects among them */
    int noutputs;
    bool event_lane; /* the jobs with event time of its pipeline are loaded one behind the other */
    bool behind;     /* taken over; an older one of its lanes is to come: if its target has not got it, it waits for that one */
    bool overtaken; /* a newer job of one of its lanes was loaded already */
    bool overtaken_by_replace; /* each of its lanes was replaced by a newer job */
    int64_t crashes; /* processes that it took down, loaders too */
};
void job_staged_clear(struct staged_job *j);
/*
 * Claim staged jobs of one target in seq order, up to max_jobs, max_files outputs in files, max_bytes (but at least one job).
 * No job is claimed while another one of its lanes is being loaded by somebody else. A job that does not replace its tables waits,
 * too, while an older unfinished job that has been due is in one of its lanes, unless that one is claimed in the same call before it, or
 * a replace younger than that one was loaded (the older one will be superseded). A job with crashes is claimed alone. Takes no lock when there is nothing. Returns the number.
 */
int job_load_claim(struct queue *q, const char *target, int64_t worker, int64_t lease_ms, int max_jobs, int max_files,
                   int64_t max_bytes, struct staged_job *jobs, struct err *err);
/* The same for this job and no other, staged or of a loader whose lease ran out: 1, 0 it is not to be had now, -1. */
int job_load_claim_one(struct queue *q, int64_t id, const char *target, int64_t worker, int64_t lease_ms, struct staged_job *job,
                       struct err *err);
enum load_outcome {
    LOAD_LOADED,
    LOAD_SUPERSEDED,
    LOAD_AWAY,  /* its target cannot take it now */
    LOAD_WAITS, /* for the end of one before it */
    LOAD_REFUSED,
};
struct load_finish {
    const struct staged_job *job;
    enum load_outcome outcome;
    int64_t rows;       /* loaded: of its outputs, and what became of them: */
    struct load_counts counts;
    struct err err;
    int64_t backoff_ms; /* away */
    bool crashed;       /* away: it took its connection to the target down, which counts as a crash */
    bool unsure;        /* away: its target may have committed it, and cannot be asked */
    bool leaves;        /* superseded, refused: its target may have what its tries left */
    int lost;           /* out */
};
/* One transaction for all. Outputs of loaded jobs are forgotten (their inline bytes too), but for rejects; those of superseded and
 * refused jobs too, with their rejects, unless it leaves something; those of an away target stay. Rings BELL_DONE (and, for the lanes it made free, BELL_STAGED). */
int job_load_finish(struct queue *q, struct load_finish *f, int n, struct err *err);
int job_load_renew(struct queue *q, const struct staged_job *jobs, int n, int64_t until, struct err *err); /* 1 all, 0 some lost */
/* The oldest job in `loading` whose lease ran out becomes ours, with one crash more: 1, 0 none, -1. One at a time: those that the dead
 * loader held beside it shall not pay for it again; and none that shares a lane with a job that is being loaded. The caller asks the ledger first; what is not there and has crashed too often is poison. */
int job_load_expired(struct queue *q, const char *target, int64_t worker, int64_t lease_ms, struct staged_job *job, struct err *err);

/* The newest job with a place below *below (at first INT64_MAX; out: its own) that is staged or being loaded, is newer than job `id` and replaces
 * one of its tables: 1, 0 none, -1. */
int job_replaced_later(struct queue *q, int64_t id, int64_t *below, char uid[SYS_UID_LEN + 1], struct err *err);

/*
 * A job that ended without being loaded, of that target, whose tries may have left something there: for lease_ms it is the caller's to take
 * that out, or to find that the target has the job after all. 1, 0 there is none now, -1. The job keeps its state meanwhile, and a retry ends it.
 */
int job_forsake_claim(struct queue *q, const char *target, int64_t lease_ms, struct staged_job *job, struct err *err);
/* f->outcome LOAD_LOADED: the target has it, and so the job is loaded. Else nothing is left, and its outputs are forgotten; or leaves: look
 * again later. f->lost: it was retried meanwhile, and nothing is done. */
int job_forsake_finish(struct queue *q, struct load_finish *f, struct err *err);

/* ---- by people ---- */
int job_find(struct queue *q, const char *id_or_uid, int64_t *id, struct err *err); /* number, uid or a unique prefix of one (>= 4); 0 or -1 not-found */
/* At once, also of a running job: its worker has lost the lease and learns by job_lease_state(). What a loader left of it in its target is
 * taken out by the next one (job_forsake_claim()). -1: state, with the reason. */
int job_cancel(struct queue *q, int64_t id, struct err *err);
/* May the rows of a loaded job be taken out of the target? -1: state: its rejects were loaded, or may be, by another job (job_replay()). */
int job_may_undo(struct queue *q, int64_t id, struct err *err);
/* Its rows were taken out of the target. The state stays loaded; noted before is no error. */
int job_undone(struct queue *q, int64_t id, struct err *err);
/*
 * A new job, *n, that reads the rejects of the loaded job `refused` again; its objects say so (job_replay_of). -1: state: that job
 * has none to read, or another one does so or did. A dead one of those is cancelled and this one takes its place; one that was
 * cancelled, superseded or undone is no hindrance.
 */
int job_replay(struct queue *q, int64_t refused, const struct job_new *n, int64_t *id, char uid[SYS_UID_LEN + 1], struct err *err);
/* Does this job read the rejects of another one again? 1: of which; 0, -1. */
int job_replay_of(struct queue *q, int64_t id, int64_t *refused, char uid[SYS_UID_LEN + 1], struct err *err);
/*
 * A dead job is ready again, with all its tries, at its old place in the order. -1: state, with the reason: also where a scan gave it its
 * objects, and has given all of them to later jobs since (those of a group it leaves out, see scan_other()); or where one of them
 * changed under on_change = fail, which is for a person to decide (scan_accept()).
 */
int job_retry(struct queue *q, int64_t id, struct err *err);
/* All dead jobs that match (NULL: any). *n counts; passed(): those that job_retry() refuses, and why, outside of any transaction. */
int job_retry_all(struct queue *q, const char *pipeline, const char *code, int64_t *n,
                  void (*passed)(void *arg, int64_t id, const struct err *why), void *arg, struct err *err);
int job_pause(struct queue *q, const char *pipeline, bool on, int64_t *held, struct err *err); /* *held: jobs that are due, which it holds or lets go */
/* Which final jobs go: those finished before that time (ms), but for the newest `keep` of all final ones. */
struct prune {
    int64_t before, keep;
    int64_t max; /* at most so many in this call; 0: all */
    bool dry;    /* only count them */
};
/* Loaded, superseded and cancelled jobs with all that the queue has of them (attempts, errors, objects, outputs, text), oldest first, in batches of a
 * few ms with a rest of the same length after each. What was loaded stays counted; lanes and ledgers stay. Other jobs are never touched.
 * Freed pages are used again by later jobs; the file does not shrink. *n counts. */
int job_prune(struct queue *q, const struct prune *what, int64_t *n, struct err *err);

/* ---- housekeeping, by any role, cheap when there is nothing to do ---- */
/* Jobs whose run_at has come become due. *next: the earliest run_at left, or 0. */
int job_promote(struct queue *q, int64_t *promoted, int64_t *next, struct err *err);
/* Leases of running jobs that ran out: outcome crashed, ready again or dead as poison. */
int job_rescue(struct queue *q, int64_t crashes_max, int64_t *rescued, struct err *err);

/* What is left to do, for a drain: jobs that are ready and due before `until` (not paused), that run, that are staged (due before
 * until) or being loaded; and all others that are not final or dead. staged_soon: those of `staged` that are not due yet; no_room: those of `later` that the spool has
 * no room for now. */
struct job_left { int64_t ready, running, staged, loading, later, staged_soon, no_room; };
int job_left(struct queue *q, int64_t until, struct job_left *out, struct err *err);

/* ---- columns inferred once a pipeline (part) ---- */
int job_columns_get(struct queue *q, const char *recipe, char **columns, struct err *err); /* 1 malloc'ed, 0 none */
int job_columns_set(struct queue *q, const char *recipe, const char *columns, const char *from, struct err *err); /* first one wins */

/* ---- reading, for status and the like: one row at a time through a callback, in stable order ---- */
struct job_row {
    int64_t id, seq, priority, run_at, created, started, finished, undone, attempts, attempts_max, crashes;
    const char *uid, *pipeline, *state, *target, *objects, *params, *unique, *worker, *error_code, *error;
    bool due, paused;
    bool leaves; /* over and not loaded, and what its tries may have left in its target is not taken out yet */
    int64_t rows_read, rows_staged, rows_rejected, rows_filtered, rows_added, rows_loaded, bytes_in, bytes_out, lease_until;
    struct load_counts counts;
};
struct job_filter { const char *state, *pipeline; int64_t id, before_id, limit; }; /* 0, NULL: any; newest first */
int job_list(struct queue *q, const struct job_filter *f, int (*row)(void *arg, const struct job_row *r), void *arg, struct err *err);
struct attempt_row { int64_t number, started, finished, peak_rss, signal; const char *worker, *outcome, *kind; };
int job_attempts(struct queue *q, int64_t id, int (*row)(void *arg, const struct attempt_row *r), void *arg, struct err *err);
struct error_row { int64_t id, at, job, attempt; const char *uid, *pipeline, *stage, *class, *code, *message, *detail; };
struct error_filter { int64_t job, since, before_id, limit; const char *code, *pipeline; };
int job_errors(struct queue *q, const struct error_filter *f, int (*row)(void *arg, const struct error_row *r), void *arg, struct err *err);
struct object_row { const char *uri, *etag, *modified; int64_t size, same_as; bool to_finish; }; /* after= is still to be done with it */
int job_objects(struct queue *q, int64_t id, int (*row)(void *arg, const struct object_row *r), void *arg, struct err *err);
int job_outputs(struct queue *q, int64_t id, int (*row)(void *arg, const struct output *o), void *arg, struct err *err);
/* Rejects that can be looked at: of loaded jobs, and the first of those that a job died of. */
struct rejects_row {
    int64_t id, finished, undone, rows, kept, bytes, token; /* rows: that were refused; kept: of them */
    const char *uid, *pipeline, *state, *spec;              /* spec: see io/rejects.h */
    bool in_file;
    int64_t replay;           /* the job that reads them again, or 0; */
    const char *replay_state; /* NULL: it is forgotten, and was loaded */
    int64_t replay_of;        /* the job whose rejects this one read again, or 0 */
};
struct rejects_filter { int64_t id, since, limit; const char *pipeline; }; /* 0, NULL: any; newest first */
int job_rejects(struct queue *q, const struct rejects_filter *f, int (*row)(void *arg, const struct rejects_row *r), void *arg,
                struct err *err);
/* What the ini says of places and shares; written where it is not so yet, for all workers. Limits that are not named any more go. */
struct remote_limits { const char *name; int64_t connections, interval_ms; };
struct pipeline_weight { const char *name; int64_t weight; };
int job_limits_set(struct queue *q, const struct remote_limits *remotes, int nremotes, const struct pipeline_weight *weights, int nweights,
                   struct err *err);
/* Which [enrich] the pipelines ask by the ini, each pair once; a hold of one whose rule is another now is void. */
struct enriched { const char *pipeline, *enrich; uint64_t rule; };
int job_enriched_set(struct queue *q, const struct enriched *v, int n, struct err *err);
struct enrich_hold_row { const char *enrich, *why; int64_t until, jobs; bool server; }; /* jobs: that are due and wait for it */
int job_enrich_holds(struct queue *q, int (*row)(void *arg, const struct enrich_hold_row *r), void *arg, struct err *err);
struct remote_row { const char *name, *held_why; int64_t connections, held_until, running; };
int job_remotes(struct queue *q, int (*row)(void *arg, const struct remote_row *r), void *arg, struct err *err);
struct status_row { const char *pipeline; bool paused; int64_t count[JOB_STATES], waiting, oldest_ready, rows_loaded; };
int job_status(struct queue *q, int (*row)(void *arg, const struct status_row *r), void *arg, struct err *err);
/* How fast jobs were loaded in the last ten minutes, by the newest few thousand: jobs a second; 0: too few to tell. */
int job_pace(struct queue *q, double *per_s, struct err *err);
/* What jobs hold of the spool, in bytes: rows that are not loaded yet, and what was fetched. quota 0: it is not limited. full: a job
 * that is ready is not begun for want of room (GATE_SPOOL), or all of it is held. */
struct spool_row { int64_t held, quota; bool full; };
int job_spool(struct queue *q, struct spool_row *out, struct err *err);
/* Why does it wait, in one sentence with the one gate that holds it. */
int job_explain(struct queue *q, int64_t id, struct buf *out, struct err *err);

#endif
