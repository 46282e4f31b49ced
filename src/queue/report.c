/* Reading the queue for people and monitors: no lock is taken, nothing is written. Rows are handed
 * out one at a time. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "io/db.h"
#include "queue/change.h"
#include "queue/gate.h"
#include "queue/registry.h"

enum { LIST_CHUNK = 500 };

/* NULL where the column is NULL; valid until the next step */
static const char *text_or_null(sqlite3_stmt *st, int col)
{
    return (const char *)sqlite3_column_text(st, col);
}

/* Hand each row to row() by one(); a return of row() other than 0 ends the walk. */
static int walk(sqlite3_stmt *st, int (*one)(sqlite3_stmt *st, void *to), void *to, struct err *err)
{
    int rc;
    while ((rc = db_step(st, err)) == 1)
        if (one(st, to)) {
            rc = 0;
            break;
        }
    sqlite3_reset(st);
    return rc;
}

/* ---- jobs ---- */

struct job_sink {
    int (*row)(void *arg, const struct job_row *r);
    void *arg;
};

static int list_one(sqlite3_stmt *st, void *to)
{
    const struct job_sink *sink = to;
    struct job_row r = {
        .id = sqlite3_column_int64(st, 0),
        .seq = sqlite3_column_int64(st, 1),
        .priority = sqlite3_column_int64(st, 2),
        .run_at = sqlite3_column_int64(st, 3),
        .created = sqlite3_column_int64(st, 4),
        .started = sqlite3_column_int64(st, 5),
        .finished = sqlite3_column_int64(st, 6),
        .attempts = sqlite3_column_int64(st, 7),
        .attempts_max = sqlite3_column_int64(st, 8),
        .crashes = sqlite3_column_int64(st, 9),
        .due = sqlite3_column_int(st, 10),
        .paused = sqlite3_column_int(st, 11),
        .rows_read = sqlite3_column_int64(st, 12),
        .rows_staged = sqlite3_column_int64(st, 13),
        .rows_rejected = sqlite3_column_int64(st, 14),
        .rows_filtered = sqlite3_column_int64(st, 15),
        .rows_loaded = sqlite3_column_int64(st, 16),
        .bytes_in = sqlite3_column_int64(st, 17),
        .bytes_out = sqlite3_column_int64(st, 18),
        .lease_until = sqlite3_column_int64(st, 19),
        .uid = text_or_null(st, 20),
        .pipeline = text_or_null(st, 21),
        .state = text_or_null(st, 22),
        .target = text_or_null(st, 23),
        .objects = text_or_null(st, 24),
        .params = text_or_null(st, 25),
        .unique = text_or_null(st, 26),
        .worker = text_or_null(st, 27),
        .error_code = text_or_null(st, 28),
        .error = text_or_null(st, 29),
        .counts = { .inserted = sqlite3_column_int64(st, 30),
                    .updated = sqlite3_column_int64(st, 31),
                    .unchanged = sqlite3_column_int64(st, 32),
                    .deleted = sqlite3_column_int64(st, 33),
                    .removed = sqlite3_column_int64(st, 34) },
        .undone = sqlite3_column_int64(st, 35),
        .rows_added = sqlite3_column_int64(st, 36),
        .leaves = sqlite3_column_int(st, 37),
    };
    return sink->row(sink->arg, &r);
}

/* The states that have an index of their own are found by it, however many jobs are over. */
static sqlite3_stmt *list_statement(struct queue *q, const struct job_filter *f)
{
    static const struct {
        enum job_state state;
        enum queue_sql sql;
    } table[] = {
        { JOB_RUNNING, SQL_LIST_RUNNING },
        { JOB_STAGED, SQL_LIST_STAGED },
        { JOB_LOADING, SQL_LIST_LOADING },
        { JOB_DEAD, SQL_LIST_DEAD },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (f->state && !strcmp(f->state, job_state_name(table[i].state)))
            return queue_stmt(q, table[i].sql);
    sqlite3_stmt *st = queue_stmt(q, SQL_LIST_ALL);
    db_bind(st, ":state", f->state);
    return st;
}

static int list_row(struct queue *q, int64_t id, struct job_sink *sink, int *stop, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LIST_ROW);
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    *stop = rc == 1 ? list_one(st, sink) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int job_list(struct queue *q, const struct job_filter *f,
             int (*row)(void *arg, const struct job_row *r), void *arg, struct err *err)
{
    AUTO(ids_clear) struct ids ids = { 0 };
    struct job_sink sink = { row, arg };
    int64_t before = f->before_id ? f->before_id : INT64_MAX,
            left = f->limit > 0 ? f->limit : INT64_MAX;
    int stop = 0;
    if (f->id)
        return list_row(q, f->id, &sink, &stop, err);
    for (bool more = true; more && left > 0;) {
        int64_t max = left < LIST_CHUNK ? left : LIST_CHUNK;
        sqlite3_stmt *st = list_statement(q, f);
        db_bind(st, ":before", before);
        db_bind(st, ":pipeline", f->pipeline);
        db_bind(st, ":max", max);
        if (ids_collect(&ids, st, err) < 0)
            return -1;
        for (int i = 0; i < ids.n && !stop; i++)
            if (list_row(q, ids.v[i], &sink, &stop, err) < 0)
                return -1;
        more = ids.n == max && !stop;
        left -= ids.n;
        before = ids.n ? ids.v[ids.n - 1] : 0;
    }
    return 0;
}

/* ---- what belongs to a job ---- */

struct attempt_sink {
    int (*row)(void *arg, const struct attempt_row *r);
    void *arg;
};

static int attempt_one(sqlite3_stmt *st, void *to)
{
    const struct attempt_sink *sink = to;
    struct attempt_row r = {
        .number = sqlite3_column_int64(st, 1),
        .started = sqlite3_column_int64(st, 2),
        .finished = sqlite3_column_int64(st, 3),
        .peak_rss = sqlite3_column_int64(st, 4),
        .signal = sqlite3_column_int64(st, 5),
        .worker = text_or_null(st, 6),
        .outcome = text_or_null(st, 7),
        .kind = text_or_null(st, 8),
    };
    return sink->row(sink->arg, &r);
}

int job_attempts(struct queue *q, int64_t id, int (*row)(void *arg, const struct attempt_row *r),
                 void *arg, struct err *err)
{
    struct attempt_sink sink = { row, arg };
    sqlite3_stmt *st = queue_stmt(q, SQL_ATTEMPTS);
    db_bind(st, ":job", id);
    return walk(st, attempt_one, &sink, err);
}

struct error_sink {
    int (*row)(void *arg, const struct error_row *r);
    void *arg;
};

static int error_one(sqlite3_stmt *st, void *to)
{
    const struct error_sink *sink = to;
    struct error_row r = {
        .id = sqlite3_column_int64(st, 0),
        .at = sqlite3_column_int64(st, 1),
        .job = sqlite3_column_int64(st, 2),
        .attempt = sqlite3_column_int64(st, 3),
        .uid = text_or_null(st, 4),
        .pipeline = text_or_null(st, 5),
        .stage = text_or_null(st, 6),
        .class = text_or_null(st, 7),
        .code = text_or_null(st, 8),
        .message = text_or_null(st, 9),
        .detail = text_or_null(st, 10),
    };
    return sink->row(sink->arg, &r);
}

int job_errors(struct queue *q, const struct error_filter *f,
               int (*row)(void *arg, const struct error_row *r), void *arg, struct err *err)
{
    struct error_sink sink = { row, arg };
    sqlite3_stmt *st = queue_stmt(q, f->job ? SQL_ERRORS_OF_JOB : SQL_ERRORS);
    if (f->job)
        db_bind(st, ":job", f->job);
    db_bind(st, ":before", f->before_id ? f->before_id : INT64_MAX);
    db_bind(st, ":since", f->since);
    db_bind(st, ":code", f->code);
    db_bind(st, ":pipeline", f->pipeline);
    db_bind(st, ":max", f->limit > 0 ? f->limit : INT64_MAX);
    return walk(st, error_one, &sink, err);
}

struct object_sink {
    int (*row)(void *arg, const struct object_row *r);
    void *arg;
};

static int object_one(sqlite3_stmt *st, void *to)
{
    const struct object_sink *sink = to;
    struct object_row r = {
        .uri = text_or_null(st, 0),
        .size = sqlite3_column_int64(st, 1),
        .etag = text_or_null(st, 2),
        .modified = text_or_null(st, 3),
        .same_as = sqlite3_column_int64(st, 4),
        .to_finish = sqlite3_column_int(st, 5),
    };
    return sink->row(sink->arg, &r);
}

int job_objects(struct queue *q, int64_t id, int (*row)(void *arg, const struct object_row *r),
                void *arg, struct err *err)
{
    struct object_sink sink = { row, arg };
    sqlite3_stmt *st = queue_stmt(q, SQL_OBJECTS);
    db_bind(st, ":job", id);
    return walk(st, object_one, &sink, err);
}

int job_outputs(struct queue *q, int64_t id, int (*row)(void *arg, const struct output *o),
                void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_OUTPUTS);
    db_bind(st, ":job", id);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct output o;
        if (output_read(st, &o) < 0) {
            output_clear(&o);
            rc = err_nomem(err);
            break;
        }
        stop = row(arg, &o);
        output_clear(&o);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

struct rejects_sink {
    int (*row)(void *arg, const struct rejects_row *r);
    void *arg;
};

static int rejects_one(sqlite3_stmt *st, void *to)
{
    const struct rejects_sink *sink = to;
    struct rejects_row r = {
        .id = sqlite3_column_int64(st, 0),
        .finished = sqlite3_column_int64(st, 1),
        .undone = sqlite3_column_int64(st, 2),
        .rows = sqlite3_column_int64(st, 3),
        .kept = sqlite3_column_int64(st, 4),
        .bytes = sqlite3_column_int64(st, 5),
        .in_file = sqlite3_column_int(st, 6),
        .token = sqlite3_column_int64(st, 7),
        .uid = text_or_null(st, 8),
        .pipeline = text_or_null(st, 9),
        .state = text_or_null(st, 10),
        .spec = text_or_null(st, 11),
        .replay = sqlite3_column_int64(st, 12),
        .replay_state = text_or_null(st, 13),
        .replay_of = sqlite3_column_int64(st, 14),
    };
    return sink->row(sink->arg, &r);
}

int job_rejects(struct queue *q, const struct rejects_filter *f, int (*row)(void *arg, const struct rejects_row *r), void *arg,
                struct err *err)
{
    struct rejects_sink sink = { row, arg };
    sqlite3_stmt *st = queue_stmt(q, SQL_REJECTS_LIST);
    if (f->id)
        db_bind(st, ":job", f->id);
    db_bind(st, ":pipeline", f->pipeline);
    db_bind(st, ":since", f->since);
    db_bind(st, ":max", f->limit > 0 ? f->limit : INT64_MAX);
    return walk(st, rejects_one, &sink, err);
}

/* ---- pipelines ---- */

/* What the tally cannot know, by pipeline. */
struct waiting {
    char *pipeline;
    int64_t waiting, oldest;
};
struct waitings {
    struct waiting *v;
    int n;
};

static void waitings_clear(struct waitings *w)
{
    for (int i = 0; i < w->n; i++)
        free(w->v[i].pipeline);
    free(w->v);
    *w = (struct waitings){ 0 };
}

/* Rows of pipeline and a number, the number into waiting or oldest. */
static int waitings_read(struct queue *q, enum queue_sql which, struct waitings *w, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, which);
    int rc;
    while ((rc = db_step(st, err)) == 1) {
        struct waiting *more = realloc(w->v, mem_product((size_t)w->n + 1, sizeof *more));
        if (more)
            w->v = more;
        struct waiting one = { 0 };
        *(which == SQL_STATUS_OLDEST ? &one.oldest : &one.waiting) = sqlite3_column_int64(st, 1);
        if (!more || !column_dup(st, 0, &one.pipeline)) {
            sqlite3_reset(st);
            return err_nomem(err);
        }
        w->v[w->n++] = one;
    }
    return rc;
}

static int status_give(struct status_row *r, const struct waitings *w,
                       int (*row)(void *arg, const struct status_row *r), void *arg)
{
    for (int i = 0; i < w->n; i++)
        if (!strcmp(w->v[i].pipeline, r->pipeline)) {
            r->waiting += w->v[i].waiting;
            r->oldest_ready += w->v[i].oldest;
        }
    return row(arg, r);
}

int job_status(struct queue *q, int (*row)(void *arg, const struct status_row *r), void *arg,
               struct err *err)
{
    AUTO(waitings_clear) struct waitings w = { 0 };
    AUTO(free_charp) char *name = NULL;
    struct status_row r = { 0 };
    if (waitings_read(q, SQL_STATUS_WAITING, &w, err) < 0 ||
        waitings_read(q, SQL_STATUS_OLDEST, &w, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_STATUS_TALLY);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        if (!name || strcmp(name, db_text(st, 0))) {
            stop = name ? status_give(&r, &w, row, arg) : 0;
            free(name);
            if (!column_dup(st, 0, &name)) {
                rc = err_nomem(err);
                break;
            }
            r = (struct status_row){ .pipeline = name, .paused = sqlite3_column_int(st, 1) };
        }
        int state = job_state_by_name(db_text(st, 2));
        if (state >= 0)
            r.count[state] = sqlite3_column_int64(st, 3);
        r.rows_loaded += sqlite3_column_int64(st, 4);
    }
    sqlite3_reset(st);
    if (rc == 0 && name && !stop)
        (void)status_give(&r, &w, row, arg);
    return rc < 0 ? -1 : 0;
}

int job_pace(struct queue *q, double *per_s, struct err *err)
{
    enum { LATELY_MS = 10 * 60 * 1000, FEWEST = 10 };
    sqlite3_stmt *st = queue_stmt(q, SQL_PACE);
    db_bind(st, ":since", sys_now_ms() - LATELY_MS);
    int rc = db_step(st, err);
    int64_t jobs = rc == 1 ? sqlite3_column_int64(st, 0) : 0, ms = rc == 1 ? sqlite3_column_int64(st, 2) - sqlite3_column_int64(st, 1) : 0;
    sqlite3_reset(st);
    *per_s = jobs >= FEWEST && ms > 0 ? (double)(jobs - 1) * 1000 / (double)ms : 0;
    return rc < 0 ? -1 : 0;
}

/* ---- explain ---- */

struct explain {
    enum job_state state;
    bool due, replace;
    int64_t id, priority, run_at, seq, lease_until, attempts, attempts_max, holder;
    int64_t workers, loaders; /* that are alive */
    bool held;                /* who has its lease is */
    bool leaves;              /* something of it may be in its target, and is to be taken out */
    bool unsettled;           /* it waits for the scanner to see its objects whole */
    const char *pipeline, *remote, *target, *lanes, *worker, *code, *why, *away; /* of the statement */
};

static int count_before(sqlite3_stmt *st, int64_t *n, struct err *err)
{
    int rc = db_step(st, err);
    *n = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static void seconds(struct buf *out, int64_t ms)
{
    buf_addf(out, "%" PRId64 ".%" PRId64 " s", ms / 1000, ms % 1000 / 100);
}

static void size_print(struct buf *out, int64_t bytes)
{
    char text[32];
    text_put_size(text, sizeof text, bytes);
    buf_adds(out, text);
}

/* enrich_why: what holds what it asks, if it does; enrich: its name, where a person may end that, else "". */
static void gate_print(const struct runs *runs, const struct run *r, const char *enrich_why, const char *enrich, struct buf *out)
{
    int64_t opens, now = sys_now_ms();
    switch (gate_of(runs, r, now, &opens)) {
    case GATE_OPEN:
        break;
    case GATE_PAUSED:
        buf_adds(out, "Its pipeline is paused: qetlctl resume lets it go on.");
        break;
    case GATE_HELD:
        buf_addf(out, "'%s' asked to be left alone; it will be asked again in ", r->remote);
        seconds(out, opens - now);
        buf_addf(out, "; qetlctl resume --remote '%s' ends that.", r->remote);
        break;
    case GATE_ENRICH:
        buf_addf(out, "%s; it goes on in ", enrich_why);
        seconds(out, opens - now);
        if (*enrich)
            buf_addf(out, "; qetlctl resume --enrich '%s' ends that", enrich);
        buf_addc(out, '.');
        break;
    case GATE_CONNECTIONS:
        buf_addf(out, "%" PRId64 " of %" PRId64 " jobs that '%s' may have at the same time (connections=) run.",
                 r->busy, r->connections, r->remote);
        break;
    case GATE_INTERVAL:
        buf_addf(out, "'%s' is not asked more often than interval= says; its turn is in ", r->remote);
        seconds(out, opens - now);
        buf_addc(out, '.');
        break;
    case GATE_SPOOL:
        buf_adds(out, "The spool has no room: ");
        size_print(out, runs->taken);
        buf_adds(out, " of ");
        size_print(out, runs->spool.quota);
        buf_adds(out, " ([limits] spool) are taken, and a job of its pipeline may need ");
        size_print(out, r->need);
        buf_adds(out, "; it goes on when the loader has made room.");
        break;
    case GATE_DISK:
        buf_adds(out, "The spool's file system has ");
        size_print(out, runs->spool.free);
        buf_adds(out, " free; below ");
        size_print(out, runs->spool.keep);
        buf_adds(out, " ([limits] spool_free) no job is begun.");
        break;
    }
}

/* The gate that holds a ready job: 1, 0 none, -1. */
static int explain_gate(struct queue *q, const struct explain *e, struct buf *out, struct err *err)
{
    AUTO(runs_clear) struct runs runs = { 0 };
    size_t before = out->n;
    if (runs_read(q, &runs, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_HOLD_OF);
    db_bind(st, ":pipeline", e->pipeline);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_step(st, err);
    for (int i = 0; rc >= 0 && i < runs.n; i++)
        if (!strcmp(runs.v[i].pipeline, e->pipeline) && !strcmp(runs.v[i].remote, e->remote))
            gate_print(&runs, &runs.v[i], rc == 1 ? db_text(st, 0) : "", rc == 1 ? db_text(st, 2) : "", out);
    sqlite3_reset(st);
    return rc < 0 ? -1 : out->n > before;
}

/* How many jobs of other runs go first by their priority: of runs whose gates are open, 1000 of each at most. */
static int count_higher(struct queue *q, const struct explain *e, int64_t *n, struct err *err)
{
    AUTO(runs_clear) struct runs runs = { 0 };
    int64_t opens, now = sys_now_ms();
    int rc = runs_read(q, &runs, err);
    *n = 0;
    for (int i = 0; rc >= 0 && i < runs.n; i++) {
        const struct run *r = &runs.v[i];
        bool own = !strcmp(r->pipeline, e->pipeline) && !strcmp(r->remote, e->remote);
        int64_t some = 0;
        if (own || r->priority <= e->priority || gate_of(&runs, r, now, &opens) != GATE_OPEN)
            continue;
        sqlite3_stmt *st = queue_stmt(q, SQL_READY_BEFORE);
        db_bind(st, ":pipeline", (const char *)r->pipeline);
        db_bind(st, ":remote", (const char *)r->remote);
        db_bind(st, ":priority", e->priority);
        db_bind(st, ":seq", (int64_t)0); /* none of the same priority */
        rc = count_before(st, &some, err);
        *n += some;
    }
    return rc < 0 ? -1 : 0;
}

static int explain_ready(struct queue *q, const struct explain *e, struct buf *out, struct err *err)
{
    int64_t now = sys_now_ms(), before, higher;
    if (!e->due && e->unsettled) {
        buf_adds(out, "Its object, or one of them, changed after it was listed: it waits until a listing shows it settled again");
        if (!strcmp(e->code, err_name(ERR_CHANGED)))
            buf_addf(out, " (%s)", e->why);
        buf_addc(out, '.');
        return 0;
    }
    if (!e->due && !strcmp(e->code, err_name(ERR_TRUNCATED))) {
        buf_adds(out, "Its object is cut off: it waits until the source shows another version of it, or ");
        seconds(out, e->run_at > now ? e->run_at - now : 0);
        buf_adds(out, " from now.");
        return 0;
    }
    if (!e->due) {
        buf_adds(out, "It waits for its time, ");
        seconds(out, e->run_at > now ? e->run_at - now : 0);
        buf_adds(out, " from now");
        if (e->attempts)
            buf_addf(out, ", after attempt %" PRId64 " of %" PRId64 " failed with %s", e->attempts,
                     e->attempts_max, e->code);
        buf_adds(out, ".");
        return 0;
    }
    int rc = explain_gate(q, e, out, err);
    if (rc)
        return rc < 0 ? -1 : 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_READY_BEFORE);
    db_bind(st, ":pipeline", e->pipeline);
    db_bind(st, ":remote", e->remote);
    db_bind(st, ":priority", e->priority);
    db_bind(st, ":seq", e->seq);
    if (count_before(st, &before, err) < 0 || count_higher(q, e, &higher, err) < 0)
        return -1;
    if (e->workers == 0)
        buf_adds(out, "No worker is running: start qetl worker.");
    else if (before == 0)
        buf_adds(out, "It is the next of its pipeline that a worker takes.");
    else
        buf_addf(out, "%s%" PRId64 " %s of its pipeline %s before it.", before == 1000 ? "At least " : "",
                 before, before == 1 ? "job" : "jobs", before == 1 ? "is" : "are");
    if (e->workers && higher)
        buf_addf(out, " %s%" PRId64 " %s of a greater priority, of other pipelines or hosts, %s first.", higher >= 1000 ? "At least " : "",
                 higher, higher == 1 ? "job" : "jobs", higher == 1 ? "goes" : "go");
    return 0;
}

/* The older job of a lane that it waits for: 1, 0, -1. */
static int explain_lane(struct queue *q, const struct explain *e, struct buf *out, struct err *err)
{
    sqlite3_stmt *names = queue_stmt(q, SQL_LANE_NAMES);
    db_bind(names, ":lanes", e->lanes);
    int rc;
    while ((rc = db_step(names, err)) == 1) {
        sqlite3_stmt *st = queue_stmt(q, SQL_LANE_BEFORE);
        db_bind(st, ":lane", db_text(names, 0));
        db_bind(st, ":seq", e->seq);
        if ((rc = db_step(st, err)) == 1)
            buf_addf(out, "The older job %" PRId64 " must be loaded into '%s' first.",
                     (int64_t)sqlite3_column_int64(st, 1), db_text(names, 0));
        sqlite3_reset(st);
        if (rc)
            break;
    }
    sqlite3_reset(names);
    return rc;
}

static int explain_staged(struct queue *q, const struct explain *e, struct buf *out,
                          struct err *err)
{
    int64_t now = sys_now_ms(), before;
    if (e->loaders == 0) {
        buf_adds(out, "No loader is running: start qetl loader.");
        return 0;
    }
    if (e->run_at > now) {
        bool own = !e->away && *e->why; /* what only this job met there, such as a lock */
        if (own)
            buf_addf(out, "Target '%s' could not take it; the loader tries again in ", e->target);
        else
            buf_addf(out, "Its target '%s' is away; the loader tries again in ", e->target);
        seconds(out, e->run_at - now);
        buf_addf(out, own || e->away ? ": %s." : ".", own ? e->why : e->away);
        return 0;
    }
    int rc = e->lanes && !e->replace ? explain_lane(q, e, out, err) : 0;
    if (rc)
        return rc < 0 ? -1 : 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_STAGED_BEFORE);
    db_bind(st, ":target", e->target);
    db_bind(st, ":seq", e->seq);
    db_bind(st, ":now", now);
    if (count_before(st, &before, err) < 0)
        return -1;
    buf_addf(out, "It waits for the loader of '%s'; %s%" PRId64 " staged before it.", e->target,
             before == 1000 ? "at least " : "", before);
    return 0;
}

/* Which newer job came first: by its number, where it is still known. */
static int explain_overtaken(struct queue *q, const struct explain *e, bool replaced,
                             struct buf *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LANE_OVERTAKER);
    db_bind(st, ":lanes", e->lanes);
    db_bind(st, ":replace", replaced);
    db_bind(st, ":seq", e->seq);
    int rc = db_step(st, err);
    int64_t by = rc == 1 ? sqlite3_column_int64(st, 1) : 0;
    buf_adds(out, by ? "The newer job " : "A newer job ");
    if (by)
        buf_addf(out, "%" PRId64 " ", by);
    buf_adds(out, replaced ? "replaced " : "was loaded into ");
    buf_addf(out, "'%s'", rc == 1 ? db_text(st, 0) : e->target);
    buf_adds(out, replaced ? " before it: it is superseded, and its rows are not there."
                           : " before it: it is dead by overtaken, and its rows are not there. "
                             "Submit it again to load it as the newest.");
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

/* A job whose lease somebody has: works on it, gave no sign of life in time, or is gone. */
static void explain_held(const struct explain *e, struct buf *out)
{
    const char *role = e->state == JOB_RUNNING ? "worker" : "loader", *who = *e->worker ? e->worker : role;
    int64_t left = e->lease_until - sys_now_ms();
    if (left > 0 && e->held) {
        buf_addf(out, "%s works on it; its lease ends in ", who);
        seconds(out, left);
        buf_addc(out, '.');
        return;
    }
    buf_addf(out, "%s had it, and %s; ", who, e->held ? "gave no sign of life until its lease ran out" : "is gone");
    if (e->state == JOB_RUNNING ? e->workers : e->loaders)
        buf_addf(out, "the next %s that looks takes it over.", role);
    else
        buf_addf(out, "no %s is running that could take it over: start qetl %s.", role, role);
}

static int explain_state(struct queue *q, const struct explain *e, struct buf *out, struct err *err)
{
    switch (e->state) {
    case JOB_READY:
        return explain_ready(q, e, out, err);
    case JOB_STAGED:
        return explain_staged(q, e, out, err);
    case JOB_RUNNING:
    case JOB_LOADING:
        explain_held(e, out);
        return 0;
    case JOB_DEAD:
        if (!strcmp(e->code, err_name(ERR_OVERTAKEN)))
            return explain_overtaken(q, e, false, out, err);
        buf_addf(out, "It is dead by %s: qetlctl errors shows why, qetlctl retry tries again.",
                 e->code);
        return 0;
    case JOB_LOADED:
        buf_adds(out, "It is loaded.");
        return 0;
    case JOB_SUPERSEDED:
        return explain_overtaken(q, e, true, out, err);
    case JOB_CANCELLED:
        buf_adds(out, "It was cancelled.");
        return 0;
    case JOB_STATES:
        break;
    }
    return err_set(err, ERR_DATABASE, "job %" PRId64 " is in a state that is none", e->id);
}

/* Where it came from, if the scanner made it. */
static int explain_origin(struct queue *q, int64_t id, struct buf *out, struct err *err)
{
    char at[40];
    sqlite3_stmt *st = queue_stmt(q, SQL_EXPLAIN_ORIGIN);
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    if (rc == 1 && sqlite3_column_int64(st, 1)) {
        text_put_rfc3339(at, sqlite3_column_int64(st, 1));
        buf_addf(out, " It was made for the time %s of cron=.", at);
    } else if (rc == 1) {
        buf_addf(out, " A scan of %s made it.", db_text(st, 0));
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static int explain_who(void *arg, const struct worker_row *r)
{
    struct explain *e = arg;
    e->workers += r->alive && !strcmp(r->role, "worker");
    e->loaders += r->alive && !strcmp(r->role, "loader");
    e->held |= r->alive && r->id == e->holder;
    return 0;
}

int job_explain(struct queue *q, int64_t id, struct buf *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EXPLAIN_ROW);
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    if (rc <= 0)
        return rc < 0 ? -1 : err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64, id);
    int state = job_state_by_name(db_text(st, 0));
    struct explain e = {
        .state = state < 0 ? JOB_STATES : (enum job_state)state,
        .due = sqlite3_column_int(st, 1),
        .pipeline = db_text(st, 2),
        .remote = db_text(st, 3),
        .priority = sqlite3_column_int64(st, 4),
        .run_at = sqlite3_column_int64(st, 5),
        .seq = sqlite3_column_int64(st, 6),
        .target = db_text(st, 7),
        .lanes = text_or_null(st, 8),
        .replace = sqlite3_column_int(st, 9),
        .lease_until = sqlite3_column_int64(st, 11),
        .attempts = sqlite3_column_int64(st, 12),
        .attempts_max = sqlite3_column_int64(st, 13),
        .worker = db_text(st, 14),
        .code = db_text(st, 15),
        .holder = sqlite3_column_int64(st, 16),
        .away = text_or_null(st, 17),
        .why = db_text(st, 18),
        .unsettled = sqlite3_column_int(st, 19),
        .leaves = sqlite3_column_int(st, 20),
        .id = id,
    };
    rc = registry_list(q, false, explain_who, &e, err) < 0 ? -1 : explain_state(q, &e, out, err);
    if (rc == 0 && e.leaves)
        buf_addf(out, " What tries to load it may have left in its target '%s' is not taken out yet: a loader does that.", e.target);
    sqlite3_reset(st);
    if (rc == 0)
        rc = explain_origin(q, id, out, err);
    return rc < 0 ? -1 : out->failed ? err_nomem(err) : 0;
}

/* ---- what holds jobs ---- */

int job_enrich_holds(struct queue *q, int (*row)(void *arg, const struct enrich_hold_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_HOLDS);
    db_bind(st, ":now", sys_now_ms());
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1)
        stop = row(arg, &(struct enrich_hold_row){ .enrich = db_text(st, 0),
                                                   .until = sqlite3_column_int64(st, 1),
                                                   .why = db_text(st, 2),
                                                   .server = sqlite3_column_int(st, 3),
                                                   .jobs = sqlite3_column_int64(st, 4) });
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

/* ---- the spool ---- */

int job_spool(struct queue *q, struct spool_row *out, struct err *err)
{
    AUTO(runs_clear) struct runs runs = { 0 };
    int64_t opens, now = sys_now_ms();
    if (runs_read(q, &runs, err) < 0)
        return -1;
    *out = (struct spool_row){ runs.taken, runs.spool.quota, runs.spool.quota && runs.taken >= runs.spool.quota };
    for (int i = 0; i < runs.n; i++)
        out->full |= gate_of(&runs, &runs.v[i], now, &opens) == GATE_SPOOL;
    return 0;
}

/* ---- remotes ---- */

int job_remotes(struct queue *q, int (*row)(void *arg, const struct remote_row *r), void *arg,
                struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_LIST);
    int rc;
    while ((rc = db_step(st, err)) == 1) {
        struct remote_row r = {
            .name = db_text(st, 0),
            .connections = sqlite3_column_int64(st, 1),
            .held_until = sqlite3_column_int64(st, 3),
            .held_why = db_text(st, 4),
            .running = sqlite3_column_int64(st, 5),
        };
        if (row(arg, &r))
            break;
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}
