/*
 * Group commit into the targets. See loader.h.
 *
 * The order that makes it exactly once: (1) claim with a token, (2) ledger row and rows in one target transaction, (3) commit,
 * (4) keep the rejects, (5) record "loaded", (6) remove the staged files. Killed before 3: nothing happened, the lease runs out and
 * the job is loaded again. Killed after 3: the ledger says so, and the next loader goes on at 4. Files left after 5 are swept.
 */
#include "role/loader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/spool.h"
#include "queue/drift.h"
#include "queue/job.h"
#include "queue/queue.h"
#include "queue/registry.h"
#include "role/keeper.h"
#include "role/locked.h"
#include "role/outputs.h"
#include "role/prepared.h"
#include "target/target.h"

enum {
    GROUP_MAX = 256,
    AWAY_MS = 1000,          /* first pause when a target is away; doubles up to: */
    AWAY_MAX_MS = 60000,
    LOCKED_MS = 30000,       /* pause of the jobs of a table that somebody has locked */
    LOCK_WAIT_MS = 10000,    /* a lock is waited for, by the whole group; and where the table was locked before: */
    LOCK_WAIT_AGAIN_MS = 1000,
    SWEEP_MS = 3600000,
    PRUNE_MS = 600000,
    PRUNE_MAX = 200,         /* in one round; more than that are left: the next one a second later */
    REGISTRY_AGE_MS = 7 * 86400000, /* so long a worker that ended stays listed */
    CHORES_MS = 1000,
    DRAIN_POLL_MS = 100,
    SWEEP_AGE_MS = 600000,   /* younger files may belong to a worker that has not said so yet */
};

/* A target that it serves. */
struct served {
    const struct target_config *config;
    const struct target *target;
    struct target_conn *conn;
    int64_t away_until_mono_ms, away_ms;
    struct err why; /* it is away */
    bool noted;     /* the queue knows that it is not away */
    struct locked locked;
};

struct loader {
    struct role role;
    const struct config *config;
    struct spool spool;
    struct queue *queue;
    struct keeper *keeper;
    int64_t id;
    int64_t only; /* the one job to load, or 0 */
    struct served *targets; /* those it serves */
    int ntargets;
    int64_t beat_mono_ms, sweep_mono_ms, prune_mono_ms, chores_mono_ms;
    bool blocked; /* draining: nothing but staged jobs was left when we looked last */
};

struct group {
    struct staged_job *jobs;
    struct load_finish *finishes;
    int n;
    struct event_window *windows; /* of its jobs with after_load and event_time, in their order */
    int nwindows;                 /* -1: they are not fixed yet */
    bool unsure;                  /* nobody knows whether the target committed it */
};

/* ---- a group ---- */

static int files_of(const struct staged_job *job)
{
    int n = 0;
    for (int i = 0; i < job->noutputs; i++)
        n += job->outputs[i].kind == OUTPUT_ROWS && job->outputs[i].in_file;
    return n;
}

/* Overtaken, out of its turn, or poison. */
static bool must_not_load(struct loader *l, const struct staged_job *job)
{
    return job->overtaken || job->behind || job->crashes >= l->config->limits.crashes;
}

/* One that was submitted before its pipeline had both keys takes no turns, and has no window: the next one begins where it would have. */
static bool has_window(struct loader *l, const struct staged_job *job)
{
    for (int i = 0; job->event_lane && !must_not_load(l, job) && i < job->noutputs; i++)
        if (output_has_window(&job->outputs[i]))
            return true;
    return false;
}

static int fix_windows(struct loader *l, struct group *g, struct err *err)
{
    g->nwindows = 0;
    for (int i = 0; i < g->n; i++)
        if (has_window(l, &g->jobs[i]))
            g->windows[g->nwindows++] =
                (struct event_window){ .job = g->jobs[i].id, .seq = g->jobs[i].seq, .pipeline = g->jobs[i].pipeline };
    return event_windows(l->queue, g->windows, g->nwindows, err);
}

/* What after_load of the job works on. The jobs of its pipeline are loaded one behind the other (submission.c): those of this group
 * before it are as good as recorded. */
static int give_window(struct loader *l, struct prepared *p, struct group *g, int at, struct err *err)
{
    if (!has_window(l, &g->jobs[at]))
        return 0;
    if (g->nwindows < 0 && fix_windows(l, g, err) < 0)
        return -1;
    for (int i = 0; i < g->nwindows; i++)
        if (g->windows[i].job == g->jobs[at].id)
            prepared_watermarks(p, g->windows[i].since, g->windows[i].upto);
    return 0;
}

/* Was one before it in the group refused, where its window would begin? Then it waits until that is recorded. */
static bool must_wait(struct loader *l, const struct group *g, int at)
{
    if (!has_window(l, &g->jobs[at]))
        return false;
    for (int i = at - 1; i >= 0; i--)
        if (g->finishes[i].outcome != LOAD_LOADED && has_window(l, &g->jobs[i]) && !strcmp(g->jobs[i].pipeline, g->jobs[at].pipeline))
            return true;
    return false;
}

static void outcome(struct load_finish *f, enum load_outcome o, const struct err *err)
{
    f->outcome = o;
    if (err)
        f->err = *err;
}

/* Would superseding it drop rows that no newer job has replaced? Those of tables in mode append. */
static bool drops_rows(struct loader *l, const struct staged_job *job)
{
    struct prepared p;
    struct err err;
    bool drops = prepared_make(&p, &l->spool, job, &err) < 0;
    for (int i = 0; i < p.job.noutputs; i++)
        drops |= p.outputs[i].spec.mode == MODE_APPEND && p.outputs[i].output->rows > 0;
    prepared_clear(&p);
    return drops;
}

/* One that must not be loaded, unless it was: a loader may have died between its commit and its record. */
static int settle_unloaded(struct loader *l, struct served *t, const struct staged_job *job, struct load_finish *f,
                           struct err *err)
{
    struct err e;
    int there = t->target->loaded(t->conn, job->uid, &f->counts, err);
    if (there < 0 && err->code != ERR_UNDONE)
        return -1;
    if (there < 0) {
        outcome(f, LOAD_REFUSED, err);
    } else if (there) {
        for (int i = 0; i < job->noutputs; i++)
            f->rows += job->outputs[i].kind == OUTPUT_ROWS ? job->outputs[i].rows : 0;
        outcome(f, LOAD_LOADED, NULL);
    } else if (job->behind) {
        outcome(f, LOAD_WAITS, NULL);
    } else if (job->overtaken_by_replace && !drops_rows(l, job)) {
        outcome(f, LOAD_SUPERSEDED, NULL);
    } else if (job->overtaken) {
        err_set(&e, ERR_OVERTAKEN, "a newer job has been loaded into the same table");
        outcome(f, LOAD_REFUSED, &e);
    } else {
        err_set(&e, ERR_CRASHED, "given up: %" PRId64 " processes, connections or transactions ended with this job", job->crashes);
        outcome(f, LOAD_REFUSED, &e);
    }
    return 0;
}

static int64_t lock_wait_ms(const struct served *t, const struct staged_job *job)
{
    return locked_known(&t->locked, job) ? LOCK_WAIT_AGAIN_MS : LOCK_WAIT_MS;
}

/* The target says that a newer job has replaced the table: one that its loader loaded, and died before its record? 1, 0, -1. */
static int is_replaced(struct loader *l, struct served *t, const struct staged_job *job, struct err *err)
{
    char uid[SYS_UID_LEN + 1];
    struct load_counts counts;
    int64_t below = INT64_MAX;
    int rc;
    while ((rc = job_replaced_later(l->queue, job->id, &below, uid, err)) == 1) {
        int there = t->target->loaded(t->conn, uid, &counts, err);
        if (there != 0)
            return there > 0 || err->code == ERR_UNDONE ? 1 : -1;
    }
    return rc;
}

static int load_one(struct loader *l, struct served *t, struct group *g, int at, struct err *err)
{
    const struct staged_job *job = &g->jobs[at];
    struct load_finish *f = &g->finishes[at];
    if (must_not_load(l, job))
        return settle_unloaded(l, t, job, f, err);
    if (must_wait(l, g, at)) {
        outcome(f, LOAD_WAITS, NULL);
        return 0;
    }
    struct prepared p;
    struct err e = { 0 };
    int rc = prepared_make(&p, &l->spool, job, &e);
    if (rc == 0)
        rc = give_window(l, &p, g, at, &e);
    p.job.lock_wait_ms = lock_wait_ms(t, job);
    if (rc == 0)
        rc = sys_fault("loader-locked") ? err_set(&e, ERR_TARGET_LOCKED, "load: fault injected") : t->target->load_job(t->conn, &p.job, &e);
    f->crashed = p.job.took_down;
    f->rows = rc == 0 ? load_rows(&p.job) : 0;
    f->counts = rc == 0 ? p.job.counts : (struct load_counts){ 0 };
    if (rc == 0 && p.job.slow_rows)
        log_event(LOG_WARN, "rows took the slow path into the table", "job", job->uid, "rows", log_num(p.job.slow_rows), NULL);
    prepared_clear(&p);
    int replaced = rc < 0 && e.code == ERR_OVERTAKEN && !drops_rows(l, job) ? is_replaced(l, t, job, err) : 0;
    if (replaced < 0)
        return -1;
    if (rc == 0) {
        outcome(f, LOAD_LOADED, NULL);
        locked_forget(&t->locked, job);
    } else if (replaced) {
        outcome(f, LOAD_SUPERSEDED, NULL);
    } else if (err_class(e.code) != ERR_TRANSIENT) {
        outcome(f, LOAD_REFUSED, &e);
    } else {
        *err = e;
        return -1;
    }
    return 0;
}

/* The target cannot be used now: leave it alone for a while, longer each time. */
static void target_away(struct loader *l, struct served *t, const struct err *why)
{
    struct err err;
    if (t->conn)
        t->target->close(t->conn);
    t->conn = NULL;
    t->away_ms = t->away_ms ? t->away_ms * 2 : AWAY_MS;
    if (t->away_ms > AWAY_MAX_MS)
        t->away_ms = AWAY_MAX_MS;
    t->away_until_mono_ms = sys_mono_ms() + t->away_ms;
    t->why = *why;
    if (registry_target_away(l->queue, t->config->name, sys_now_ms() + t->away_ms, why, &err) < 0)
        log_error("that a target is away could not be noted", &err, "target", t->config->name);
    log_error(err_class(why->code) == ERR_TRANSIENT ? "the target is away; its jobs wait" : "the target cannot be used", why, "target",
              t->config->name);
}

static void target_back(struct loader *l, struct served *t)
{
    struct err err;
    t->noted = true;
    t->away_ms = 0;
    if (registry_target_back(l->queue, t->config->name, &err) < 0)
        log_error("that a target is back could not be noted", &err, "target", t->config->name);
}

/* Jobs that were not committed wait for the target, also when it is a setting that is wrong: none of it is their fault. */
static void put_off(struct group *g, int64_t backoff_ms, const struct err *why)
{
    for (int i = 0; i < g->n; i++) {
        outcome(&g->finishes[i], LOAD_AWAY, why);
        g->finishes[i].backoff_ms = backoff_ms;
        g->finishes[i].unsure = g->unsure;
    }
}

/* The target committed some jobs of the group only: those that the ledger lacks wait for it. */
static void put_off_missing(struct loader *l, struct served *t, struct group *g, const bool *missing, const struct err *why)
{
    target_away(l, t, why);
    for (int i = 0; i < g->n; i++)
        if (missing[i]) {
            outcome(&g->finishes[i], LOAD_AWAY, why);
            g->finishes[i].backoff_ms = t->away_ms;
        }
}

/* The commit's answer was lost or bad: the ledger decides, job by job. 0: every finish has its outcome. */
static int ask_ledger(struct loader *l, struct served *t, struct group *g, const struct err *why)
{
    struct err err;
    bool lacks[GROUP_MAX] = { false };
    struct load_counts counts;
    int missing = 0;
    t->target->close(t->conn);
    t->conn = NULL;
    g->unsure = true;
    if (t->target->open(&t->conn, l->config, t->config, true, &err) < 0)
        return -1;
    for (int i = 0; i < g->n; i++) {
        if (g->finishes[i].outcome != LOAD_LOADED)
            continue;
        int there = t->target->loaded(t->conn, g->jobs[i].uid, &counts, &err);
        if (there < 0)
            return -1;
        lacks[i] = !there;
        missing += !there;
    }
    g->unsure = false;
    if (!missing)
        return 0;
    if (!t->target->one_by_one)
        return -1; /* a transaction: all of them or none */
    put_off_missing(l, t, g, lacks, why);
    return 0;
}

/* Nothing fences the target: right before the commit every lease must be ours, and fresh. */
static int still_held(struct loader *l, const struct group *g, struct err *err)
{
    int rc = sys_fault("loader-renew") ? err_sys(err, "renew the leases")
                                       : job_load_renew(l->queue, g->jobs, g->n, sys_now_ms() + l->config->lease_ms, err);
    if (rc == 1)
        return 0;
    if (rc == 0)
        return err_set(err, ERR_LEASE_LOST, "the lease of a job was lost before the commit");
    struct err why = *err;
    return err_set(err, ERR_LEASE_LOST, "the leases could not be renewed before the commit: %s", why.msg);
}

/* Columns that the tables are to get, of targets that can do it only outside of a transaction. -1: *at as of load_jobs(). */
static int add_columns(struct loader *l, struct served *t, const struct group *g, int *at, struct err *err)
{
    for (int i = 0; t->target->add_columns && i < g->n; i++) {
        struct prepared p;
        struct err why;
        bool wants = false;
        for (int k = 0; k < g->jobs[i].noutputs; k++)
            wants |= output_adds(&g->jobs[i].outputs[k]);
        if (!wants || g->finishes[i].outcome == LOAD_AWAY || must_not_load(l, &g->jobs[i]))
            continue;
        *at = i;
        int rc = prepared_make(&p, &l->spool, &g->jobs[i], &why);
        p.job.lock_wait_ms = lock_wait_ms(t, &g->jobs[i]);
        rc = rc < 0 ? 0 : t->target->add_columns(t->conn, &p.job, err); /* load_one() tells why not */
        prepared_clear(&p);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Jobs of a table keep their order: is one before it put off that shares a table with it? */
static bool behind_locked(const struct group *g, int at)
{
    const struct staged_job *job = &g->jobs[at];
    for (int i = 0; i < at; i++)
        for (int k = 0; g->finishes[i].outcome == LOAD_AWAY && k < g->jobs[i].noutputs; k++)
            for (int n = 0; n < job->noutputs; n++)
                if (g->jobs[i].outputs[k].kind == OUTPUT_ROWS && job->outputs[n].kind == OUTPUT_ROWS &&
                    !strcmp(g->jobs[i].outputs[k].table, job->outputs[n].table))
                    return true;
    return false;
}

/* Somebody else has locked a table of the job, or its target has no room for it: it waits with those behind it, and the others of the
 * group go on. */
static void put_off_one(struct group *g, int at, const struct err *why)
{
    log_error(why->code == ERR_TARGET_LOCKED ? "a table of the job is locked; the jobs of that table wait"
                                             : "the target has no room for the job; the jobs of its tables wait",
              why, "job", g->jobs[at].uid);
    for (int i = at; i < g->n; i++)
        if (i == at || behind_locked(g, i)) {
            outcome(&g->finishes[i], LOAD_AWAY, why);
            g->finishes[i].backoff_ms = LOCKED_MS;
        }
}

/* Those of tables that were locked a moment ago are not tried, nor those behind them. Gives how many are left. */
static int put_off_known(const struct served *t, struct group *g)
{
    int left = g->n;
    const struct err *why = NULL;
    int64_t wait_ms = 0, now = sys_mono_ms();
    for (int i = 0; i < g->n && t->locked.n; i++) {
        int64_t own_ms = locked_left_ms(&t->locked, &g->jobs[i], now, &why);
        if (!own_ms && !behind_locked(g, i))
            continue;
        wait_ms = own_ms ? own_ms : wait_ms;
        outcome(&g->finishes[i], LOAD_AWAY, why);
        g->finishes[i].backoff_ms = wait_ms;
        left--;
    }
    return left;
}

/* The next job of the group in the transaction; see load_together(). */
static int load_next(struct loader *l, struct served *t, struct group *g, int at, struct err *err)
{
    if (role_grace(&l->role) == 0)
        return err_set(err, ERR_SHUTDOWN, "the loader was told to stop");
    if (g->finishes[at].outcome == LOAD_AWAY) /* its table is locked */
        return 0;
    return load_one(l, t, g, at, err);
}

/* What tries of a job that ended without being loaded left in its target goes out, or it is still there: f->leaves. Or the target has it. */
static void forsake_job(struct loader *l, struct served *t, struct load_finish *f, struct err *err)
{
    struct prepared p;
    int rc = prepared_make(&p, &l->spool, f->job, err);
    if (rc == 0)
        rc = t->target->forsake ? t->target->forsake(t->conn, &p.job, err) : t->target->loaded(t->conn, f->job->uid, &p.job.counts, err);
    f->leaves = rc < 0 && err->code != ERR_STAGED_DAMAGED && err->code != ERR_UNDONE; /* nobody will ever know what, or nothing is */
    if (rc == 1) { /* a commit of a loader that died has come to its end since it was asked for */
        outcome(f, LOAD_LOADED, NULL);
        f->rows = load_rows(&p.job);
        f->counts = p.job.counts;
    }
    prepared_clear(&p);
}

/* The job is not loaded: what its tries left in a target without transactions goes out again, unless the ledger turns out to have it.
 * Nothing fences the target: as before a commit, the leases must be ours. */
static void forsake(struct loader *l, struct served *t, const struct group *g, int at)
{
    struct load_finish *f = &g->finishes[at];
    struct err err;
    if (!t->target->forsake)
        return;
    f->leaves = true;
    if (t->conn && still_held(l, g, &err) == 0) {
        forsake_job(l, t, f, &err);
        if (f->leaves)
            log_error("objects of a job that is not loaded may lie in its target", &err, "job", f->job->uid);
    }
}

static bool any_loaded(const struct group *g)
{
    for (int i = 0; i < g->n; i++)
        if (g->finishes[i].outcome == LOAD_LOADED)
            return true;
    return false;
}

/* All jobs of the group that are not put off. 0; -1: *err, and *at is the job that it is about, or g->n. */
static int load_jobs(struct loader *l, struct served *t, struct group *g, int *at, struct err *err)
{
    int rc = 0;
    struct err full = { 0 };
    *at = g->n;
    if (t->target->begin(t->conn, err) < 0)
        return -1;
    for (*at = 0; rc == 0 && *at < g->n; *at += rc == 0) {
        rc = load_next(l, t, g, *at, err);
        if (rc < 0 && err->code == ERR_DISK_FULL && t->target->one_by_one) { /* for a smaller one there may be room */
            forsake(l, t, g, *at);
            put_off_one(g, *at, err);
            full = *err;
            rc = 0;
        }
    }
    if (rc == 0 && full.code && !any_loaded(g)) {
        *err = full;
        rc = -1;
    }
    if (rc < 0)
        t->target->rollback(t->conn);
    return rc;
}

/* The jobs of the group in one transaction of the target. 0: every finish has its outcome; -1 *err holds for all of them. */
static int load_together(struct loader *l, struct served *t, struct group *g, struct err *err)
{
    int at;
    if (!t->conn && t->target->open(&t->conn, l->config, t->config, true, err) < 0)
        return -1;
    while (add_columns(l, t, g, &at, err) < 0 || load_jobs(l, t, g, &at, err) < 0) {
        if (err->code != ERR_TARGET_LOCKED || at == g->n)
            return -1;
        locked_note(&t->locked, &g->jobs[at], err, sys_mono_ms() + LOCKED_MS);
        put_off_one(g, at, err);
    }
    if (still_held(l, g, err) < 0) {
        t->target->rollback(t->conn);
        return -1;
    }
    return t->target->commit(t->conn, err) == 0 ? 0 : ask_ledger(l, t, g, err);
}

/* Every finish has an outcome afterwards. */
static void load_group(struct loader *l, struct served *t, struct group *g)
{
    struct err err = { 0 };
    int64_t away_ms = t->away_until_mono_ms - sys_mono_ms();
    if (away_ms > 0) { /* since the group before this one */
        put_off(g, away_ms, &t->why);
    } else if (put_off_known(t, g) == 0) {
        return;
    } else if (load_together(l, t, g, &err) == 0) {
        for (int i = 0; i < g->n; i++)
            if (g->finishes[i].outcome == LOAD_REFUSED || g->finishes[i].outcome == LOAD_SUPERSEDED)
                forsake(l, t, g, i);
        if (t->conn && (t->away_ms || !t->noted)) /* maybe by the loader before this one */
            target_back(l, t);
    } else if (err.code == ERR_SHUTDOWN || err.code == ERR_LEASE_LOST) { /* not the target's fault */
        put_off(g, 0, &err);
    } else {
        target_away(l, t, &err);
        put_off(g, t->away_ms, &err);
    }
}

/* Before the job is recorded as loaded: else they would go with what it staged. Who cannot keep them records nothing; the next
 * loader asks the ledger and tries again. */
static int keep_rejects(struct loader *l, const struct staged_job *job, struct err *err)
{
    for (int i = 0; i < job->noutputs; i++)
        if (job->outputs[i].kind == OUTPUT_REJECTS && job->outputs[i].in_file &&
            spool_keep_rejects(&l->spool, job->uid, job->outputs[i].token, job->outputs[i].number, err) < 0)
            return err_in(err, "keep the rejects of job %s", job->uid);
    return 0;
}

/* Columns that the tables of the job got stay columns of its pipeline. */
static int keep_added(struct loader *l, const struct staged_job *job, struct err *err)
{
    for (int i = 0; i < job->noutputs; i++) {
        struct output_spec s;
        if (job->outputs[i].kind != OUTPUT_ROWS || !output_adds(&job->outputs[i]))
            continue;
        if (output_spec_get(&s, &job->outputs[i], err) < 0)
            return -1;
        int rc = s.added_of ? job_added_loaded(l->queue, s.added_of, s.added, job->id, err) : 0;
        output_spec_clear(&s);
        if (rc < 0)
            return err_in(err, "columns that job %s added", job->uid);
    }
    return 0;
}

static void log_load(const struct load_finish *f)
{
    if (f->lost)
        log_event(LOG_WARN, "the lease was lost; the next loader asks the ledger", "job", f->job->uid, NULL);
    else if (f->outcome == LOAD_LOADED)
        log_event(LOG_INFO, "job loaded", "job", f->job->uid, "pipeline", f->job->pipeline, "rows", log_num(f->rows), NULL);
    else if (f->outcome == LOAD_SUPERSEDED)
        log_event(LOG_INFO, "job superseded by a newer one", "job", f->job->uid, "pipeline", f->job->pipeline, NULL);
    else if (f->outcome == LOAD_REFUSED)
        log_error("job refused by its target", &f->err, "job", f->job->uid);
}

/* The token of the last claim that may have left a folder in the spool; 0: none did, as most small jobs. */
static int64_t last_folder(const struct staged_job *job)
{
    int64_t token = 0;
    for (int i = 0; i < job->noutputs; i++)
        if (job->outputs[i].in_file || job->outputs[i].token > 1)
            token = job->outputs[i].token;
    return token;
}

static void discard(struct loader *l, const struct staged_job *job)
{
    struct err e;
    if (spool_discard(&l->spool, job->uid, 1, last_folder(job), &e) < 0)
        log_error("staged files stay in the spool until the next sweep", &e, "job", job->uid);
}

static int record_group(struct loader *l, struct group *g, struct err *err)
{
    for (int i = 0; i < g->n; i++)
        if (g->finishes[i].outcome == LOAD_LOADED && (keep_rejects(l, &g->jobs[i], err) < 0 || keep_added(l, &g->jobs[i], err) < 0))
            return -1;
    if (sys_fault("loader-before-record"))
        return err_sys(err, "record what was loaded");
    if (job_load_finish(l->queue, g->finishes, g->n, err) < 0)
        return -1;
    (void)sys_fault("loader-after-record");
    for (int i = 0; i < g->n; i++) {
        const struct load_finish *f = &g->finishes[i];
        log_load(f);
        if (!f->lost && f->outcome != LOAD_AWAY && !f->leaves)
            discard(l, f->job);
    }
    return 0;
}

/* The next jobs of a target; their number. */
static int claim(struct loader *l, const struct served *t, struct staged_job *jobs, struct err *err)
{
    const struct config *c = l->config;
    const char *target = t->config->name;
    if (l->only)
        return job_load_claim_one(l->queue, l->only, target, l->id, c->lease_ms, jobs, err);
    int n = job_load_expired(l->queue, target, l->id, c->lease_ms, jobs, err);
    if (n)
        return n;
    int most = c->group_jobs < GROUP_MAX ? (int)c->group_jobs : GROUP_MAX;
    return job_load_claim(l->queue, target, l->id, c->lease_ms, most, t->target->max_files, c->group_bytes, jobs, err);
}

/* One that was cancelled behind a try to load it, or that ended while its target could not be reached. */
static int settle_forsaken(struct loader *l, struct served *t, struct load_finish *f, struct err *err)
{
    struct err why;
    if (!t->conn && t->target->open(&t->conn, l->config, t->config, true, &why) < 0) {
        f->leaves = true;
        target_away(l, t, &why);
    } else {
        forsake_job(l, t, f, &why);
        if (f->leaves)
            log_error("objects of a job that is not loaded may still lie in its target", &why, "job", f->job->uid);
    }
    if (f->outcome == LOAD_LOADED && (keep_rejects(l, f->job, err) < 0 || keep_added(l, f->job, err) < 0))
        return -1;
    if (job_forsake_finish(l->queue, f, err) < 0)
        return -1;
    if (f->outcome == LOAD_LOADED && !f->lost)
        log_event(LOG_WARN, "a job that was over is loaded: its target has it", "job", f->job->uid, "pipeline", f->job->pipeline, NULL);
    if (!f->lost && !f->leaves)
        discard(l, f->job);
    return 1;
}

/* What jobs that are over left in the target, one at a time: 1 looked after one, 0 there is none, -1. */
static int forsake_next(struct loader *l, struct served *t, struct err *err)
{
    struct staged_job job;
    int rc = l->only ? 0 : job_forsake_claim(l->queue, t->config->name, l->config->lease_ms, &job, err);
    if (rc <= 0)
        return rc;
    struct load_finish f = { .job = &job, .outcome = LOAD_REFUSED };
    rc = settle_forsaken(l, t, &f, err);
    job_staged_clear(&job);
    return rc;
}

/* Claim and load once for one target. Gives the number of jobs settled, -1 when the queue cannot be used. */
static int target_round(struct loader *l, struct served *t, struct err *err)
{
    static struct staged_job jobs[GROUP_MAX];
    static struct load_finish finishes[GROUP_MAX];
    static struct event_window windows[GROUP_MAX];
    int n = claim(l, t, jobs, err);
    if (n <= 0)
        return n;
    keeper_hold(l->keeper, jobs, n);
    int rc = 0;
    for (int from = 0, to; from < n && rc == 0; from = to) {
        int files = 0;
        for (to = from; to < n && (to == from || files + files_of(&jobs[to]) <= t->target->max_files); to++)
            files += files_of(&jobs[to]);
        struct group g = { .jobs = jobs + from, .finishes = finishes + from, .n = to - from, .windows = windows, .nwindows = -1 };
        for (int i = 0; i < g.n; i++)
            g.finishes[i] = (struct load_finish){ .job = &g.jobs[i] };
        load_group(l, t, &g);
        rc = record_group(l, &g, err);
    }
    keeper_hold(l->keeper, NULL, 0);
    for (int i = 0; i < n; i++)
        job_staged_clear(&jobs[i]);
    return rc < 0 ? -1 : n;
}

/* ---- chores ---- */

static int row_state(void *arg, const struct job_row *r)
{
    *(int *)arg = r->leaves ? JOB_STAGED : job_state_by_name(r->state); /* its outputs say what that is */
    return 0;
}

/* May what lies in the spool for this uid stay? Only while its job may still need it. */
static int keep_uid(void *arg, enum spool_folder folder, const char *uid, struct err *err)
{
    struct loader *l = arg;
    int64_t id;
    role_alive(&l->role); /* a sweep of very many files takes its time */
    int state = -1;
    struct err e;
    if (job_find(l->queue, uid, &id, &e) < 0) {
        if (e.code == ERR_NOT_FOUND)
            return 0;
        *err = e;
        return -1;
    }
    struct job_filter f = { .id = id, .limit = 1 };
    if (job_list(l->queue, &f, row_state, &state, err) < 0)
        return -1;
    if (folder == SPOOL_REJECTS)
        return 1; /* as long as the queue knows the job: qetlctl prune ends that */
    return state == JOB_READY || state == JOB_RUNNING || state == JOB_STAGED || state == JOB_LOADING || state == JOB_DEAD;
}

static void sweep(struct loader *l)
{
    struct err err;
    int64_t removed = 0;
    if (spool_sweep(&l->spool, SWEEP_AGE_MS, keep_uid, l, &removed, &err) < 0)
        log_error("the spool could not be swept", &err, NULL, NULL);
    if (removed)
        log_event(LOG_INFO, "orphans removed from the spool", "files", log_num(removed), NULL);
    if (registry_sweep(l->queue, sys_now_ms() - REGISTRY_AGE_MS, &err) < 0)
        log_error("the registry could not be swept", &err, NULL, NULL);
}

static int prune(struct loader *l, int64_t now, struct err *err)
{
    struct prune what = { .before = sys_now_ms() - l->config->keep_jobs_ms, .max = PRUNE_MAX };
    int64_t n;
    if (job_prune(l->queue, &what, &n, err) < 0)
        return -1;
    l->prune_mono_ms = now + (n == PRUNE_MAX ? CHORES_MS : PRUNE_MS);
    return 0;
}

static int chores(struct loader *l, struct err *err)
{
    int64_t now = sys_mono_ms(), buried;
    role_alive(&l->role);
    if (now >= l->beat_mono_ms) {
        l->beat_mono_ms = now + l->config->heartbeat_ms;
        if (registry_beat(l->queue, l->id, err) < 0)
            return -1;
    }
    if (now >= l->chores_mono_ms) {
        l->chores_mono_ms = now + CHORES_MS;
        if (registry_bury(l->queue, &buried, err) < 0)
            return -1;
    }
    if (now >= l->sweep_mono_ms) {
        l->sweep_mono_ms = now + SWEEP_MS;
        sweep(l);
    }
    if (l->config->keep_jobs_ms && now >= l->prune_mono_ms && prune(l, now, err) < 0)
        return -1;
    return 0;
}

int loader_open(struct loader **out, const struct role *role, struct err *err)
{
    struct loader *l = calloc(1, sizeof *l);
    if (!l)
        return err_nomem(err);
    l->role = *role;
    l->config = role->config;
    l->spool = SPOOL_CLOSED;
    l->targets = calloc((size_t)role->config->ntargets + 1, sizeof *l->targets);
    int rc = l->targets ? 0 : err_nomem(err);
    for (int i = 0; rc == 0 && i < l->config->ntargets; i++) {
        const struct target_config *tc = &l->config->targets[i];
        if (role->target && strcmp(role->target, tc->name))
            continue;
        struct served *t = &l->targets[l->ntargets++];
        t->config = tc;
        t->target = target_by_url(tc->url, err);
        rc = t->target ? 0 : -1;
    }
    if (rc < 0 || spool_open(&l->spool, l->config->spool, true, err) < 0 ||
        queue_open(&l->queue, l->config->database, QUEUE_CREATE, err) < 0 || keeper_start(&l->keeper, &l->role, err) < 0 ||
        role_tell_enriched(l->queue, l->config, err) < 0 || registry_join(l->queue, "loader", role->name, &l->id, err) < 0) {
        loader_close(l);
        return -1;
    }
    *out = l;
    return 0;
}

void loader_only(struct loader *l, int64_t job) { l->only = job; }

int loader_step(struct loader *l, int *did, struct err *err)
{
    *did = 0;
    if (chores(l, err) < 0)
        return -1;
    for (int i = 0; i < l->ntargets && role_grace(&l->role) < 0; i++) {
        if (sys_mono_ms() < l->targets[i].away_until_mono_ms)
            continue;
        int left = forsake_next(l, &l->targets[i], err);
        bool away = sys_mono_ms() < l->targets[i].away_until_mono_ms; /* that was seen just now */
        int n = left < 0 ? -1 : away ? 0 : target_round(l, &l->targets[i], err);
        if (n < 0)
            return -1;
        *did += left + n;
    }
    return 0;
}

void loader_close(struct loader *l)
{
    struct err err;
    if (!l)
        return;
    keeper_stop(l->keeper);
    if (l->id && registry_leave(l->queue, l->id, &err) < 0)
        log_error("the loader could not leave the registry", &err, NULL, NULL);
    for (int i = 0; l->targets && i < l->ntargets; i++)
        if (l->targets[i].conn)
            l->targets[i].target->close(l->targets[i].conn);
    free(l->targets);
    queue_close(l->queue);
    spool_close(&l->spool);
    free(l);
}

/* Is a target away that is to be tried again within the time that a drain may wait? */
static bool away_for_now(const struct loader *l)
{
    for (int i = 0; i < l->ntargets; i++) {
        int64_t left = l->targets[i].away_until_mono_ms - sys_mono_ms();
        if (left > 0 && left <= l->role.drain_wait_ms)
            return true;
    }
    return false;
}

/*
 * Draining, after a step that found nothing to load: is there anything left to wait for? Staged jobs alone are not: when a step
 * that began after nothing else was left cannot claim them, they wait for jobs that will not run now, or for another loader's target.
 */
static int load_left(struct loader *l, struct err *err)
{
    struct job_left left;
    struct queue_spool spool;
    if (role_look_at_spool(l->queue, l->config, &spool, err) < 0 || job_left(l->queue, sys_now_ms() + l->role.drain_wait_ms, &left, err) < 0)
        return -1;
    bool was_blocked = l->blocked;
    l->blocked = !left.ready && !left.running && !left.loading && !left.staged_soon && !away_for_now(l);
    return !l->blocked || (left.staged && !was_blocked);
}

static int64_t idle_ms(const struct loader *l)
{
    int64_t most = l->role.drain ? DRAIN_POLL_MS : CHORES_MS;
    return l->config->poll_ms < most ? l->config->poll_ms : most;
}

int loader_run(const struct role *role, struct err *err)
{
    struct loader *l;
    if (loader_open(&l, role, err) < 0)
        return -1;
    sys_signals_init(queue_bell_word(l->queue, BELL_STAGED));
    int rc = 0, did;
    while (rc == 0 && role_goes_on(role)) {
        uint32_t bell = queue_bell(l->queue, BELL_STAGED);
        (void)sys_fault("loader-loop");
        if ((rc = loader_step(l, &did, err)) < 0)
            break;
        if (did) {
            l->blocked = false;
            continue;
        }
        if (role->drain && (rc = load_left(l, err)) <= 0)
            break;
        rc = 0;
        queue_sleep(l->queue, BELL_STAGED, bell, idle_ms(l));
    }
    sys_signals_init(NULL); /* a second signal must not ring a bell that is unmapped */
    loader_close(l);
    return rc < 0 ? -1 : 0;
}
