/*
 * The life of a job from `staged` to its end, as the loader sees it: claim in the order of lanes,
 * and record what the target said.
 *
 * Invariants. A lane is the name of a table where order counts. (1) No two loaders load jobs of one
 * lane at a time, so that what job_load_claim() says about being overtaken stays true until
 * job_load_finish(). (2) A job that adds to a table (upsert) is not claimed before all older ones
 * of its lanes, a job that replaces the table may overtake: the older ones that come later are
 * superseded. Dead and cancelled jobs have left their lanes; a retry brings them back to their old
 * place. (3) A job that took a process down is claimed alone, so that no other job pays for the next
 * crash. If power fails: what `loaded` forgets, the ledger of the target remembers; the job is
 * claimed again and the ledger asked first.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/db.h"
#include "queue/change.h"
#include "queue/event.h"

void job_staged_clear(struct staged_job *j)
{
    for (int i = 0; i < j->noutputs; i++)
        output_clear(&j->outputs[i]);
    free(j->outputs);
    free(j->pipeline);
    free(j->objects);
    *j = (struct staged_job){ 0 };
}

static void jobs_clear(struct staged_job *jobs, int n)
{
    for (int i = 0; i < n; i++)
        job_staged_clear(&jobs[i]);
}

/* ---- order ---- */

struct candidate {
    int64_t id, seq;
    bool replace;
    char *lanes; /* owned, or NULL */
};

/* The jobs that this call takes, in order. */
struct taken {
    struct candidate *v;
    int n;
};

static const struct candidate *taken_find(const struct taken *t, int64_t id)
{
    for (int i = t->n - 1; i >= 0; i--)
        if (t->v[i].id == id)
            return &t->v[i];
    return NULL;
}

/* The lanes that others load into while this call chooses. */
struct busy {
    char **lane;
    int n;
};

static void busy_clear(struct busy *b)
{
    for (int i = 0; i < b->n; i++)
        free(b->lane[i]);
    free(b->lane);
    *b = (struct busy){ 0 };
}

static int busy_read(struct queue *q, const char *target, struct busy *b, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LANES_LOADING);
    db_bind(st, ":target", target);
    int rc;
    while ((rc = db_step(st, err)) == 1) {
        char **more = realloc(b->lane, mem_product((size_t)b->n + 1, sizeof *more));
        if (more)
            b->lane = more;
        if (!more || !column_dup(st, 0, &b->lane[b->n])) {
            sqlite3_reset(st);
            return err_nomem(err);
        }
        b->n++;
    }
    return rc;
}

static bool busy_has(const struct busy *b, const char *lane)
{
    for (int i = 0; i < b->n; i++)
        if (!strcmp(b->lane[i], lane))
            return true;
    return false;
}

/* Walk down one lane: free when nobody older is there but jobs taken before it, down to one that
 * waited itself. */
static int lane_waits(struct queue *q, const char *lane, int64_t seq, const struct taken *t,
                      struct err *err)
{
    for (;;) {
        sqlite3_stmt *st = queue_stmt(q, SQL_LANE_BEFORE);
        db_bind(st, ":lane", lane);
        db_bind(st, ":seq", seq);
        int rc = db_step(st, err);
        if (rc <= 0)
            return rc;
        seq = sqlite3_column_int64(st, 0);
        const struct candidate *older = taken_find(t, sqlite3_column_int64(st, 1));
        sqlite3_reset(st);
        if (!older)
            return 1;
        if (!older->replace)
            return 0;
    }
}

/* Must the job wait for another one? 1, 0, -1. */
static int blocked(struct queue *q, const struct candidate *c, const struct busy *busy,
                   const struct taken *t, struct err *err)
{
    if (!c->lanes)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_LANE_NAMES);
    db_bind(st, ":lanes", (const char *)c->lanes);
    int rc;
    while ((rc = db_step(st, err)) == 1) {
        const char *lane = db_text(st, 0);
        rc = busy_has(busy, lane) ? 1 : c->replace ? 0 : lane_waits(q, lane, c->seq, t, err);
        if (rc != 0)
            break;
    }
    sqlite3_reset(st);
    return rc;
}

/* ---- claim ---- */

struct quota {
    int64_t jobs, files, bytes;
};

/* Does the job fit into what is left? The first one always does; one that took a process down fits
 * beside no other. 1, 0, -1. */
static int fits(struct queue *q, int64_t id, struct quota *left, const struct taken *t,
                struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_SIZE);
    db_bind(st, ":job", id);
    if (db_step(st, err) != 1)
        return -1;
    int64_t files = sqlite3_column_int64(st, 0), bytes = sqlite3_column_int64(st, 1);
    bool alone = sqlite3_column_int64(st, 2) > 0;
    sqlite3_reset(st);
    if (t->n > 0 && (alone || left->jobs < 1 || files > left->files || bytes > left->bytes))
        return 0;
    left->jobs = alone ? 0 : left->jobs - 1;
    left->files -= files;
    left->bytes -= bytes;
    return 1;
}

static void taken_clear(struct taken *t)
{
    for (int i = 0; i < t->n; i++)
        free(t->v[i].lanes);
    free(t->v);
    *t = (struct taken){ 0 };
}

/* Choose without the lock: what waits may be much, and nobody shall wait for us meanwhile. only: 0, or the one job
 * to look at. */
static int choose(struct queue *q, int64_t only, const char *target, int64_t now, struct quota left,
                  struct taken *t, struct err *err)
{
    AUTO(busy_clear) struct busy busy = { 0 };
    if (busy_read(q, target, &busy, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, only ? SQL_LOAD_CANDIDATE : SQL_LOAD_CANDIDATES);
    if (only)
        db_bind(st, ":id", only);
    db_bind(st, ":target", target);
    db_bind(st, ":now", now);
    int rc = 0, room = (int)left.jobs;
    while (t->n < room && (rc = db_step(st, err)) == 1) {
        struct candidate *c = &t->v[t->n];
        *c = (struct candidate){
            .id = sqlite3_column_int64(st, 0),
            .seq = sqlite3_column_int64(st, 1),
            .replace = sqlite3_column_int(st, 3),
        };
        int wait = column_dup(st, 2, &c->lanes) ? blocked(q, c, &busy, t, err) : err_nomem(err);
        int fit = wait == 0 ? fits(q, c->id, &left, t, err) : 0;
        if (fit == 1) {
            t->n++;
            continue;
        }
        free(c->lanes);
        if (wait < 0 || fit < 0)
            rc = -1;
        if (wait <= 0)
            break;
    }
    sqlite3_reset(st);
    return t->n < room && rc < 0 ? -1 : 0;
}

static int overtaken(struct queue *q, struct staged_job *j, const char *lanes, struct err *err)
{
    if (!lanes)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_LANE_OVERTAKEN);
    db_bind(st, ":seq", j->seq);
    db_bind(st, ":lanes", lanes);
    if (db_step(st, err) != 1)
        return -1;
    j->overtaken = sqlite3_column_int(st, 0) == 1;
    j->overtaken_by_replace = sqlite3_column_int(st, 1) == 1;
    sqlite3_reset(st);
    return 0;
}

/* st takes the job and returns its row: 1 ours now, 0 somebody was quicker, -1. */
static int take(struct queue *q, sqlite3_stmt *st, int64_t id, struct staged_job *j,
                struct err *err)
{
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    if (rc <= 0)
        return rc;
    AUTO(free_charp) char *lanes = NULL;
    *j = (struct staged_job){ .id = id,
                              .token = sqlite3_column_int64(st, 0),
                              .seq = sqlite3_column_int64(st, 3),
                              .order = queue_order(q, sqlite3_column_int64(st, 3)),
                              .crashes = sqlite3_column_int64(st, 6) };
    j->event_lane = strstr(db_text(st, 4), "\"events of ");
    memcpy(j->uid, db_text(st, 1), sizeof j->uid);
    bool ok = column_dup(st, 2, &j->pipeline) && column_dup(st, 4, &lanes) &&
              column_dup(st, 5, &j->objects);
    if (!ok)
        err_nomem(err);
    if (db_run(st, err) < 0 || !ok || overtaken(q, j, lanes, err) < 0) {
        job_staged_clear(j);
        return -1;
    }
    return 1;
}

static int take_staged(struct queue *q, const char *target, int64_t worker, int64_t lease_ms,
                       const struct taken *chosen, struct staged_job *jobs, struct err *err)
{
    int64_t now = sys_now_ms();
    int n = 0, rc = 0;
    AUTO(busy_clear) struct busy busy = { 0 };
    struct taken t = { .v = calloc((size_t)chosen->n, sizeof *t.v) };
    if (!t.v)
        return err_nomem(err);
    rc = busy_read(q, target, &busy, err);
    for (int i = 0; i < chosen->n && rc >= 0; i++) {
        if ((rc = blocked(q, &chosen->v[i], &busy, &t, err)) < 0)
            break;
        if (rc == 1)
            continue;
        sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_TAKE);
        db_bind(st, ":worker", worker);
        db_bind(st, ":until", now + lease_ms);
        db_bind(st, ":now", now);
        if ((rc = take(q, st, chosen->v[i].id, &jobs[n], err)) < 0)
            break;
        if (rc == 0)
            continue;
        struct change c = { .state = JOB_STAGED, .pipeline = jobs[n].pipeline };
        change_tally(q, &c, JOB_LOADING, 0);
        t.v[t.n++] = chosen->v[i];
        n++;
    }
    free(t.v);
    if (rc >= 0)
        return n;
    jobs_clear(jobs, n);
    return -1;
}

int output_read(sqlite3_stmt *st, struct output *o)
{
    *o = (struct output){
        .number = sqlite3_column_int(st, 0),
        .kind = !strcmp(db_text(st, 1), "rejects") ? OUTPUT_REJECTS : OUTPUT_ROWS,
        .rows = sqlite3_column_int64(st, 4),
        .bytes = sqlite3_column_int64(st, 5),
        .in_file = sqlite3_column_int(st, 6),
        .checksum = (uint64_t)sqlite3_column_int64(st, 7),
        .token = sqlite3_column_int64(st, 10),
    };
    snprintf(o->table, sizeof o->table, "%s", db_text(st, 2));
    snprintf(o->ext, sizeof o->ext, "%s", db_text(st, 3));
    if (!o->in_file) {
        const void *p = sqlite3_column_blob(st, 9);
        buf_add(&o->inlined, p ? p : "", (size_t)sqlite3_column_bytes(st, 9));
    }
    return column_dup(st, 8, &o->spec) && !o->inlined.failed ? 0 : -1;
}

static int outputs_read(struct queue *q, struct staged_job *j, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_OUTPUTS);
    db_bind(st, ":job", j->id);
    int rc;
    while ((rc = db_step(st, err)) == 1) {
        struct output *more =
            realloc(j->outputs, mem_product((size_t)j->noutputs + 1, sizeof *more));
        if (more)
            j->outputs = more;
        if (!more || output_read(st, &j->outputs[j->noutputs++]) < 0) {
            sqlite3_reset(st);
            return err_nomem(err);
        }
    }
    return rc;
}

/* The commit of a claim, and then, with the leases ours and no lock held, the outputs. */
static int taken_commit(struct queue *q, struct staged_job *jobs, int n, struct err *err)
{
    int rc = 0;
    if (n < 0)
        queue_rollback(q);
    else if (queue_commit(q, QUEUE_LATER, err) < 0)
        rc = -1;
    for (int i = 0; i < n && rc == 0; i++)
        rc = outputs_read(q, &jobs[i], err);
    if (rc < 0)
        jobs_clear(jobs, n);
    return rc < 0 ? -1 : n;
}

static int claim(struct queue *q, int64_t only, const char *target, int64_t worker,
                 int64_t lease_ms, struct quota left, struct staged_job *jobs, struct err *err)
{
    AUTO(taken_clear) struct taken t = { .v = calloc((size_t)left.jobs, sizeof *t.v) };
    if (!t.v)
        return err_nomem(err);
    if (choose(q, only, target, sys_now_ms(), left, &t, err) < 0)
        return err_in(err, "choose what to load into '%s'", target);
    if (t.n == 0)
        return 0;
    if (queue_begin(q, err) < 0)
        return -1;
    return taken_commit(q, jobs, take_staged(q, target, worker, lease_ms, &t, jobs, err), err);
}

int job_load_claim(struct queue *q, const char *target, int64_t worker, int64_t lease_ms,
                   int max_jobs, int max_files, int64_t max_bytes, struct staged_job *jobs,
                   struct err *err)
{
    struct quota left = { max_jobs, max_files, max_bytes };
    return claim(q, 0, target, worker, lease_ms, left, jobs, err);
}

/* ---- a loader that died ---- */

/* Was an older one of its lanes put back, while it was being loaded? */
static int behind(struct queue *q, const struct change *c, bool *is, struct err *err)
{
    *is = false;
    if (!c->lanes || c->replace)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_LANE_BEHIND);
    db_bind(st, ":lanes", (const char *)c->lanes);
    db_bind(st, ":seq", c->seq);
    int rc = db_step(st, err);
    *is = rc == 1 && sqlite3_column_int(st, 0);
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static int take_over_one(struct queue *q, int64_t id, int64_t worker, int64_t until,
                         struct staged_job *j, struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, id, &c, err);
    if (rc <= 0)
        return rc;
    struct err why;
    if (change_crashed(q, id, &why, err) < 0 || change_attempt(q, &c, "load", "crashed", 0, 0, err) < 0 ||
        change_error(q, &c, "load", &why, NULL, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_TAKE_OVER);
    db_bind(st, ":token", c.token);
    db_bind(st, ":worker", worker);
    db_bind(st, ":until", until);
    db_bind(st, ":now", sys_now_ms());
    rc = take(q, st, id, j, err);
    if (rc == 1 && behind(q, &c, &j->behind, err) < 0) {
        job_staged_clear(j);
        return -1;
    }
    return rc;
}

static int take_expired(struct queue *q, int64_t only, const char *target, int64_t worker,
                        int64_t lease_ms, struct staged_job *job, struct err *err)
{
    AUTO(ids_clear) struct ids ids = { 0 };
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_EXPIRED_ANY);
    db_bind(st, ":target", target);
    db_bind(st, ":now", now);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    if (rc <= 0)
        return rc;
    if (queue_begin(q, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_LOAD_EXPIRED);
    db_bind(st, ":only", only);
    db_bind(st, ":target", target);
    db_bind(st, ":now", now);
    rc = ids_collect(&ids, st, err);
    if (rc >= 0 && ids.n > 0)
        rc = take_over_one(q, ids.v[0], worker, now + lease_ms, job, err);
    return taken_commit(q, job, rc, err);
}

int job_load_expired(struct queue *q, const char *target, int64_t worker, int64_t lease_ms,
                     struct staged_job *job, struct err *err)
{
    return take_expired(q, 0, target, worker, lease_ms, job, err);
}

int job_load_claim_one(struct queue *q, int64_t id, const char *target, int64_t worker,
                       int64_t lease_ms, struct staged_job *job, struct err *err)
{
    struct quota one = { 1, INT_MAX, INT64_MAX };
    int n = take_expired(q, id, target, worker, lease_ms, job, err);
    return n ? n : claim(q, id, target, worker, lease_ms, one, job, err);
}

int job_load_renew(struct queue *q, const struct staged_job *jobs, int n, int64_t until,
                   struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    int held = 0;
    for (int i = 0; i < n; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_RENEW);
        db_bind(st, ":until", until);
        db_bind(st, ":id", jobs[i].id);
        db_bind(st, ":token", jobs[i].token);
        int rc = change_run(q, st, err);
        if (rc < 0) {
            queue_rollback(q);
            return err_in(err, "renew job %s", jobs[i].uid);
        }
        held += rc;
    }
    return queue_commit(q, QUEUE_LATER, err) < 0 ? -1 : held == n;
}

int job_replaced_later(struct queue *q, int64_t id, int64_t *below, char uid[SYS_UID_LEN + 1], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LANE_REPLACES_LATER);
    db_bind(st, ":id", id);
    db_bind(st, ":below", *below);
    int rc = db_step(st, err);
    if (rc == 1) {
        *below = sqlite3_column_int64(st, 0);
        snprintf(uid, SYS_UID_LEN + 1, "%s", db_text(st, 1));
        sqlite3_reset(st);
    }
    return rc;
}

/* ---- finish ---- */

static const struct {
    const char *outcome; /* of the attempt */
    enum job_state to;
    bool failed;
} load_ends[] = {
    [LOAD_LOADED] = { "loaded", JOB_LOADED, false },
    [LOAD_SUPERSEDED] = { "superseded", JOB_SUPERSEDED, false },
    [LOAD_AWAY] = { "away", JOB_STAGED, true },
    [LOAD_WAITS] = { "waits", JOB_STAGED, false },
    [LOAD_REFUSED] = { "refused", JOB_DEAD, true },
};

static int end_final(struct queue *q, const struct change *c, const struct load_finish *f,
                     int64_t now, struct err *err)
{
    bool loaded = f->outcome == LOAD_LOADED;
    sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_END);
    db_bind(st, ":id", c->id);
    db_bind(st, ":token", c->token);
    db_bind(st, ":state", job_state_name(load_ends[f->outcome].to));
    db_bind(st, ":forsake", c->forsake);
    db_bind(st, ":rows", loaded ? f->rows : 0);
    db_bind(st, ":inserted", f->counts.inserted);
    db_bind(st, ":updated", f->counts.updated);
    db_bind(st, ":unchanged", f->counts.unchanged);
    db_bind(st, ":deleted", f->counts.deleted);
    db_bind(st, ":removed", f->counts.removed);
    db_bind(st, ":now", now);
    if (db_run(st, err) < 0 || change_lanes(q, SQL_LANE_LEAVE, c, err) < 0 ||
        (loaded ? change_outputs_forget(q, c->id, false, err) : change_outputs_end(q, c, err)) < 0)
        return -1;
    if (loaded && c->lanes) {
        st = queue_stmt(q, SQL_LANE_DONE);
        db_bind(st, ":lanes", c->lanes);
        db_bind(st, ":seq", c->seq);
        db_bind(st, ":replace", c->replace);
        if (db_run(st, err) < 0)
            return -1;
    }
    if (loaded) { /* after= of its object is due */
        st = queue_stmt(q, SQL_SEEN_LOADED);
        db_bind(st, ":job", c->id);
        db_bind(st, ":now", now);
        if (db_run(st, err) < 0)
            return -1;
    }
    if ((loaded ? event_loaded(q, c->id, c->pipeline, err) : event_forget(q, c->id, err)) < 0)
        return -1;
    change_tally(q, c, load_ends[f->outcome].to, loaded ? f->rows : 0);
    return 0;
}

/* It stays staged. */
static int end_away(struct queue *q, const struct change *c, const struct load_finish *f,
                    int64_t now, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_AWAY);
    db_bind(st, ":id", c->id);
    db_bind(st, ":token", c->token);
    db_bind(st, ":run_at", now + f->backoff_ms);
    db_bind(st, ":unsure", f->unsure);
    db_bind(st, ":crashed", f->crashed);
    if (db_run(st, err) < 0)
        return -1;
    change_tally(q, c, JOB_STAGED, 0);
    return 0;
}

struct loaded {
    int64_t worker, now;
    struct work_count count;
    bool lane_free, ended;
};

static int load_finish_one(struct queue *q, struct load_finish *f, struct loaded *l,
                           struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, f->job->id, &c, err);
    if (rc < 0)
        return -1;
    f->lost = rc == 0 || c.state != JOB_LOADING || c.token != f->job->token;
    if (f->lost)
        return 0;
    bool failed = load_ends[f->outcome].failed, away = load_ends[f->outcome].to == JOB_STAGED;
    if (change_attempt(q, &c, "load", load_ends[f->outcome].outcome, 0, 0, err) < 0 ||
        (failed && change_error(q, &c, "load", &f->err, NULL, err) < 0))
        return -1;
    c.forsake = f->leaves;
    rc = away     ? end_away(q, &c, f, l->now, err)
         : failed ? change_dead(q, &c, err)
                  : end_final(q, &c, f, l->now, err);
    if (rc < 0)
        return -1;
    l->worker = c.worker;
    l->count.processed += !away;
    l->count.succeeded += !failed;
    l->count.failed += failed && !away;
    l->count.rows += f->outcome == LOAD_LOADED ? f->rows : 0;
    l->lane_free |= c.lanes != NULL;
    l->ended |= !away;
    return 0;
}

int job_load_finish(struct queue *q, struct load_finish *f, int n, struct err *err)
{
    struct loaded l = { .now = sys_now_ms() };
    if (queue_begin(q, err) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (load_finish_one(q, &f[i], &l, err) < 0) {
            queue_rollback(q);
            return err_in(err, "record the load of job %s", f[i].job->uid);
        }
    if (change_worker(q, l.worker, &l.count, err) < 0) {
        queue_rollback(q);
        return -1;
    }
    /* not durable yet: if it is forgotten, the ledger knows */
    if (queue_commit(q, QUEUE_LATER, err) < 0)
        return -1;
    if (l.ended)
        queue_ring(q, BELL_DONE, INT_MAX);
    if (l.lane_free)
        queue_ring(q, BELL_STAGED, INT_MAX);
    return 0;
}

/* ---- what a job that is not loaded may have left ---- */

static int forsake_take(struct queue *q, int64_t id, int64_t until, struct staged_job *job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_FORSAKE_TAKE);
    db_bind(st, ":until", until);
    db_bind(st, ":now", sys_now_ms());
    return take(q, st, id, job, err);
}

int job_forsake_claim(struct queue *q, const char *target, int64_t lease_ms, struct staged_job *job, struct err *err)
{
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_FORSAKE_NEXT);
    db_bind(st, ":now", now);
    db_bind(st, ":target", target);
    int rc = db_step(st, err);
    int64_t id = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    if (rc <= 0)
        return rc;
    if (queue_begin(q, err) < 0)
        return -1;
    return taken_commit(q, job, forsake_take(q, id, now + lease_ms, job, err), err);
}

static int forsake_end(struct queue *q, struct load_finish *f, struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, f->job->id, &c, err);
    if (rc < 0)
        return -1;
    f->lost = rc == 0 || !c.forsake || c.token != f->job->token;
    if (f->lost)
        return 0;
    c.forsake = false;
    if (f->outcome == LOAD_LOADED)
        return end_final(q, &c, f, sys_now_ms(), err);
    sqlite3_stmt *st = queue_stmt(q, f->leaves ? SQL_FORSAKE_AGAIN : SQL_FORSAKE_DONE);
    db_bind(st, ":id", c.id);
    db_bind(st, ":token", c.token);
    if (f->leaves)
        db_bind(st, ":now", sys_now_ms());
    return db_run(st, err) < 0 || (!f->leaves && change_outputs_forget(q, c.id, true, err) < 0) ? -1 : 0;
}

int job_forsake_finish(struct queue *q, struct load_finish *f, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (forsake_end(q, f, err) < 0) {
        queue_rollback(q);
        return err_in(err, "record what became of job %s", f->job->uid);
    }
    return queue_commit(q, QUEUE_LATER, err);
}
