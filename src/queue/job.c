/*
 * Jobs that are made, and jobs that wait: submit, the moment at which a later one is due, what is
 * left to do, and the columns that were inferred once for all jobs of a recipe.
 *
 * Invariant: a job, its text, its place in its lanes and the counters are one transaction. If power
 * fails a submit that returned is on disk.
 */
#include "queue/job.h"

#include <stdlib.h>

#include "base/json.h"
#include "io/db.h"
#include "queue/change.h"
#include "queue/gate.h"

/* ---- submit ---- */

static int submit_twin(struct queue *q, const struct job_new *n, int64_t *id,
                       char uid[SYS_UID_LEN + 1], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SUBMIT_OPEN_TWIN);
    db_bind(st, ":pipeline", n->pipeline);
    db_bind(st, ":key", n->unique);
    int rc = db_step(st, err);
    if (rc == 1) {
        *id = sqlite3_column_int64(st, 0);
        memcpy(uid, db_text(st, 1), SYS_UID_LEN + 1);
        sqlite3_reset(st);
    }
    return rc;
}

static void lanes_print(const struct job_new *n, struct buf *out)
{
    struct json_out o;
    json_start(&o, out);
    json_array(&o);
    for (int i = 0; i < n->nlanes; i++)
        json_text(&o, str_of(n->lanes[i]));
    json_array_end(&o);
}

static int submit_text(struct queue *q, const struct job_new *n, int64_t id, struct err *err)
{
    if (n->objects.n == 0 && n->params.n == 0)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_SUBMIT_TEXT);
    db_bind(st, ":job", id);
    if (n->objects.n)
        db_bind(st, ":objects", n->objects);
    if (n->params.n)
        db_bind(st, ":params", n->params);
    db_bind(st, ":scanned", n->scanned);
    return db_run(st, err);
}

int job_submit(struct queue *q, const struct job_new *n, int64_t *id, char uid[SYS_UID_LEN + 1],
               bool *made, struct err *err)
{
    *made = false;
    int rc = n->unique ? submit_twin(q, n, id, uid, err) : 0;
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    AUTO(buf_clear) struct buf lanes = { 0 };
    if (n->nlanes)
        lanes_print(n, &lanes);
    if (lanes.failed)
        return err_nomem(err);
    int64_t now = sys_now_ms();
    bool due = n->run_at <= now;
    sys_uid(uid);
    sqlite3_stmt *st = queue_stmt(q, SQL_SUBMIT);
    db_bind(st, ":uid", (const char *)uid);
    db_bind(st, ":pipeline", n->pipeline);
    db_bind(st, ":target", n->target ? n->target : "");
    db_bind(st, ":remote", n->remote ? n->remote : "");
    db_bind(st, ":due", due);
    db_bind(st, ":priority", n->priority);
    db_bind(st, ":run_at", n->run_at ? n->run_at : now);
    db_bind(st, ":attempts_max", n->attempts_max ? n->attempts_max : 1);
    db_bind(st, ":now", now);
    db_bind(st, ":key", n->unique);
    db_bind(st, ":lanes", (const char *)lanes.p);
    db_bind(st, ":lane_replace", n->lane_replace);
    if (db_run(st, err) < 0)
        return err_in(err, "submit to pipeline '%s'", n->pipeline);
    struct change c = { .id = sqlite3_last_insert_rowid(queue_db(q)), .lanes = lanes.p };
    c.seq = c.id;
    if (submit_text(q, n, c.id, err) < 0 || (due && change_lanes(q, SQL_LANE_ENTER, &c, err) < 0))
        return err_in(err, "submit to pipeline '%s'", n->pipeline);
    queue_tally(q, n->pipeline, job_state_name(JOB_READY), 1, 0);
    *id = c.id;
    *made = true;
    return 0;
}

/* ---- jobs that wait ---- */

static int promote_one(struct queue *q, int64_t id, struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, id, &c, err);
    if (rc <= 0)
        return rc;
    bool first = c.seq == 0;
    if (first) {
        sqlite3_stmt *draw = queue_stmt(q, SQL_PLACE_DRAW);
        if (db_step(draw, err) != 1)
            return -1;
        c.seq = sqlite3_column_int64(draw, 0);
        if (db_run(draw, err) < 0)
            return -1;
    }
    sqlite3_stmt *st = queue_stmt(q, SQL_LATER_PROMOTE);
    db_bind(st, ":id", id);
    db_bind(st, ":seq", c.seq);
    if (db_run(st, err) < 0)
        return -1;
    return first ? change_lanes(q, SQL_LANE_ENTER, &c, err) : 0;
}

static int promote_batch(struct queue *q, struct ids *ids, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LATER_DUE);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":max", CHANGE_BATCH);
    if (ids_collect(ids, st, err) < 0)
        return -1;
    for (int i = 0; i < ids->n; i++)
        if (promote_one(q, ids->v[i], err) < 0)
            return err_in(err, "make job %lld due", (long long)ids->v[i]);
    return 0;
}

static int later_next(struct queue *q, int64_t *next, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LATER_NEXT);
    int rc = db_step(st, err);
    *next = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int job_promote(struct queue *q, int64_t *promoted, int64_t *next, struct err *err)
{
    AUTO(ids_clear) struct ids ids = { 0 };
    *promoted = 0;
    for (;;) {
        if (later_next(q, next, err) < 0)
            return -1;
        if (*next == 0 || *next > sys_now_ms())
            return 0;
        if (queue_begin(q, err) < 0)
            return -1;
        if (promote_batch(q, &ids, err) < 0) {
            queue_rollback(q);
            return -1;
        }
        if (queue_commit(q, QUEUE_LATER, err) < 0)
            return -1;
        *promoted += ids.n;
        if (ids.n)
            queue_ring(q, BELL_READY, ids.n);
    }
}

/* Jobs that are due: those that a worker can take before `until`, and those of closed gates. */
static int left_ready(struct queue *q, int64_t until, struct job_left *out, struct err *err)
{
    AUTO(runs_clear) struct runs runs = { 0 };
    if (runs_read(q, &runs, err) < 0)
        return -1;
    for (int i = 0; i < runs.n; i++) {
        int64_t opens;
        enum gate gate = gate_of(&runs, &runs.v[i], sys_now_ms(), &opens);
        sqlite3_stmt *st = queue_stmt(q, SQL_RUN_COUNT);
        db_bind(st, ":pipeline", (const char *)runs.v[i].pipeline);
        db_bind(st, ":remote", (const char *)runs.v[i].remote);
        if (db_step(st, err) != 1)
            return -1;
        int64_t n = sqlite3_column_int64(st, 0);
        sqlite3_reset(st);
        bool no_room = gate == GATE_SPOOL || gate == GATE_DISK;
        *(no_room || gate == GATE_PAUSED || opens >= until ? &out->later : &out->ready) += n;
        out->no_room += no_room ? n : 0;
    }
    return 0;
}

static int left_all(struct queue *q, int64_t until, struct job_left *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LEFT);
    db_bind(st, ":until", until);
    db_bind(st, ":now", sys_now_ms());
    if (db_step(st, err) != 1)
        return -1;
    *out = (struct job_left){
        .ready = sqlite3_column_int64(st, 0),
        .running = sqlite3_column_int64(st, 1),
        .staged = sqlite3_column_int64(st, 2),
        .loading = sqlite3_column_int64(st, 3),
        .later = sqlite3_column_int64(st, 4),
        .staged_soon = sqlite3_column_int64(st, 5),
    };
    sqlite3_reset(st);
    return left_ready(q, until, out, err);
}

/* All of one moment: a job that is claimed in the middle would be neither ready nor running. */
int job_left(struct queue *q, int64_t until, struct job_left *out, struct err *err)
{
    if (db_run(queue_stmt(q, SQL_READ_BEGIN), err) < 0)
        return -1;
    int rc = left_all(q, until, out, err);
    struct err ignored; /* nothing was written */
    (void)db_run(queue_stmt(q, SQL_COMMIT), rc < 0 ? &ignored : err);
    return rc;
}

/* ---- columns inferred once ---- */

int job_columns_get(struct queue *q, const char *recipe, char **columns, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_COLUMNS_GET);
    db_bind(st, ":recipe", recipe);
    int rc = db_step(st, err);
    if (rc == 1 && !column_dup(st, 0, columns))
        rc = err_nomem(err);
    sqlite3_reset(st);
    return rc;
}

int job_columns_set(struct queue *q, const char *recipe, const char *columns, const char *from,
                    struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_COLUMNS_SET);
    db_bind(st, ":recipe", recipe);
    db_bind(st, ":columns", columns);
    db_bind(st, ":from", from);
    db_bind(st, ":now", sys_now_ms());
    if (db_run(st, err) < 0) {
        queue_rollback(q);
        return err_in(err, "keep the columns of '%s'", recipe);
    }
    return queue_commit(q, QUEUE_LATER, err);
}
