/* Watermarks. See event.h. If power fails: the two tables change in the transactions that they belong to. */
#include "queue/event.h"

#include <string.h>

#include "io/db.h"

static void bind_time(sqlite3_stmt *st, const char *name, int64_t us)
{
    if (us == EVENT_NONE)
        db_bind_null(st, name);
    else
        db_bind(st, name, us);
}

static int64_t time_of(sqlite3_stmt *st, int col)
{
    return sqlite3_column_type(st, col) == SQLITE_NULL ? EVENT_NONE : sqlite3_column_int64(st, col);
}

int event_of_job(struct queue *q, int64_t job, struct job_event *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EVENT_OF_JOB);
    db_bind(st, ":job", job);
    int rc = db_step(st, err);
    if (rc == 1)
        *out = (struct job_event){ time_of(st, 0), time_of(st, 1), time_of(st, 2), sqlite3_column_int64(st, 3), sqlite3_column_int64(st, 4) };
    sqlite3_reset(st);
    return rc;
}

static int fix(struct queue *q, int64_t job, int64_t token, const char *pipeline, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_EVENT_BEGIN);
    db_bind(st, ":job", job);
    db_bind(st, ":token", token);
    db_bind(st, ":pipeline", pipeline);
    if (db_run(st, err) < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_LATER, err);
}

int event_begin(struct queue *q, int64_t job, int64_t token, const char *pipeline, int64_t *watermark, struct err *err)
{
    struct job_event e;
    int rc = event_of_job(q, job, &e, err);
    if (rc == 0 && (rc = fix(q, job, token, pipeline, err)) == 0)
        rc = event_of_job(q, job, &e, err);
    if (rc == 1)
        *watermark = e.watermark;
    else if (rc == 0)
        rc = err_set(err, ERR_LEASE_LOST, "the job was taken over before it began");
    return rc < 0 ? err_in(err, "fix the watermark of the job") : 0;
}

int event_watermark(struct queue *q, const char *pipeline, int64_t *at, int64_t *upto, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_WATERMARKS);
    db_bind(st, ":pipeline", pipeline);
    int rc = db_step(st, err);
    *at = rc == 1 ? sqlite3_column_int64(st, 1) : EVENT_NONE;
    *upto = rc == 1 ? time_of(st, 4) : EVENT_NONE;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int event_staged(struct queue *q, int64_t job, const struct job_event *e, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EVENT_STAGED);
    db_bind(st, ":job", job);
    bind_time(st, ":greatest", e->greatest);
    bind_time(st, ":reaches", e->reaches);
    db_bind(st, ":late", e->late);
    db_bind(st, ":told", e->late_told);
    return db_run(st, err);
}

/* A statement about the job and its pipeline. */
static int run(struct queue *q, enum queue_sql sql, int64_t job, const char *pipeline, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, sql);
    db_bind(st, ":job", job);
    if (pipeline)
        db_bind(st, ":pipeline", pipeline);
    return db_run(st, err);
}

int event_loaded(struct queue *q, int64_t job, const char *pipeline, struct err *err)
{
    if (run(q, SQL_EVENT_CLOSED, job, NULL, err) < 0)
        return -1;
    if (!sqlite3_changes(queue_db(q)))
        return 0;
    return run(q, SQL_EVENT_LOADED, job, pipeline, err) < 0 || run(q, SQL_EVENT_JOINED, job, pipeline, err) < 0 ? -1 : 0;
}

int event_forget(struct queue *q, int64_t job, struct err *err) { return run(q, SQL_EVENT_FORGET, job, NULL, err); }

/* ---- windows ---- */

/* EVENT_NONE is the least of all times. */
static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* Down to where may jobs that were begun, and are not loaded with it from `first` on, bring rows that are not late? INT64_MAX: there is none. */
static int bound(struct queue *q, const struct event_window *w, int64_t first, int64_t *at, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EVENT_BOUND);
    db_bind(st, ":pipeline", w->pipeline);
    db_bind(st, ":first", first);
    db_bind(st, ":seq", w->seq);
    int rc = db_step(st, err);
    *at = rc == 1 ? time_of(st, 0) : INT64_MAX;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static int window_write(struct queue *q, const struct event_window *w, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EVENT_FIX);
    db_bind(st, ":job", w->job);
    bind_time(st, ":since", w->since);
    bind_time(st, ":upto", w->upto);
    return db_run(st, err);
}

/* before: the job of its pipeline that is loaded right before it, or NULL when that one is recorded. */
static int window_fix(struct queue *q, struct event_window *w, const struct event_window *before, int64_t first, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EVENT_WINDOW);
    db_bind(st, ":job", w->job);
    db_bind(st, ":pipeline", w->pipeline);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc < 0 ? -1 : err_set(err, ERR_INTERNAL, "a job with event_time has no watermark");
    bool fixed = sqlite3_column_int(st, 0);
    int64_t since = time_of(st, 1), upto = time_of(st, 2), most;
    w->reached = later(time_of(st, 3), before ? before->reached : time_of(st, 4));
    w->since = before ? before->upto : time_of(st, 5);
    w->upto = upto;
    sqlite3_reset(st);
    if (fixed && since == w->since) /* else one before it died since, without which it was not committed */
        return 0;
    if (bound(q, w, first, &most, err) < 0)
        return -1;
    w->upto = later(w->since, most < w->reached ? most : w->reached);
    return window_write(q, w, err);
}

static int windows_fix(struct queue *q, struct event_window *v, int n, struct err *err)
{
    for (int i = 0; i < n; i++) {
        const struct event_window *before = NULL;
        int64_t first = v[i].seq;
        for (int k = i - 1; k >= 0; k--)
            if (strcmp(v[k].pipeline, v[i].pipeline) == 0) {
                before = before ? before : &v[k];
                first = v[k].seq;
            }
        if (window_fix(q, &v[i], before, first, err) < 0)
            return -1;
    }
    return 0;
}

int event_windows(struct queue *q, struct event_window *v, int n, struct err *err)
{
    if (n == 0)
        return 0;
    if (queue_begin(q, err) < 0)
        return -1;
    if (windows_fix(q, v, n, err) < 0) {
        queue_rollback(q);
        return err_in(err, "fix what after_load works on");
    }
    return queue_commit(q, QUEUE_NOW, err);
}

int event_rows(struct queue *q, int (*row)(void *arg, const struct watermark_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_WATERMARKS);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        const struct watermark_row r = { db_text(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
                                         sqlite3_column_int64(st, 3) };
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}
