/* The parts of a change of state. Nothing here begins or ends a transaction: power failure is the
 * business of queue.c. */
#include "queue/change.h"
#include "queue/event.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/db.h"

bool column_dup(sqlite3_stmt *st, int col, char **out)
{
    const unsigned char *s = sqlite3_column_text(st, col);
    *out = s ? strdup((const char *)s) : NULL;
    return !s || *out;
}

int change_read(struct queue *q, int64_t id, struct change *c, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CHANGE_READ);
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc;
    int state = job_state_by_name(db_text(st, 1));
    *c = (struct change){
        .id = id,
        .token = sqlite3_column_int64(st, 0),
        .state = (enum job_state)state,
        .worker = sqlite3_column_int64(st, 2),
        .claimed = sqlite3_column_int64(st, 3),
        .attempts = sqlite3_column_int64(st, 4),
        .attempts_max = sqlite3_column_int64(st, 5),
        .crashes = sqlite3_column_int64(st, 6),
        .seq = sqlite3_column_int64(st, 7),
        .replace = sqlite3_column_int(st, 8),
        .unsure = sqlite3_column_int(st, 11),
        .forsake = sqlite3_column_int(st, 12),
    };
    bool ok = column_dup(st, 9, &c->lanes) && column_dup(st, 10, &c->pipeline);
    sqlite3_reset(st);
    if (ok && state >= 0)
        return 1;
    change_clear(c);
    return ok ? err_set(err, ERR_DATABASE, "job %lld is in a state that is none", (long long)id)
              : err_nomem(err);
}

void change_clear(struct change *c)
{
    free(c->lanes);
    free(c->pipeline);
    c->lanes = c->pipeline = NULL;
}

int change_run(struct queue *q, sqlite3_stmt *st, struct err *err)
{
    return db_run(st, err) < 0 ? -1 : sqlite3_changes(queue_db(q));
}

int change_any(sqlite3_stmt *st, struct err *err)
{
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

int change_attempt(struct queue *q, const struct change *c, const char *kind, const char *outcome,
                   int signal, int64_t peak_rss, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ATTEMPT);
    db_bind(st, ":job", c->id);
    db_bind(st, ":token", c->token);
    db_bind(st, ":number", c->attempts);
    db_bind(st, ":kind", kind);
    db_bind(st, ":worker", c->worker);
    db_bind(st, ":started", c->claimed);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":outcome", outcome);
    db_bind(st, ":signal", signal);
    db_bind(st, ":peak_rss", peak_rss);
    return db_run(st, err);
}

int change_error(struct queue *q, const struct change *c, const char *stage, const struct err *why,
                 const char *detail, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ERROR);
    db_bind(st, ":job", c->id);
    db_bind(st, ":attempt", c->attempts);
    db_bind(st, ":stage", stage ? stage : "work");
    db_bind(st, ":class", err_class_name(err_class(why->code)));
    db_bind(st, ":code", err_name(why->code));
    db_bind(st, ":message", why->msg);
    db_bind(st, ":detail", detail);
    db_bind(st, ":now", sys_now_ms());
    return db_run(st, err);
}

int change_crashed(struct queue *q, int64_t id, struct err *why, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LEASE_HOLDER);
    db_bind(st, ":id", id);
    if (db_step(st, err) != 1)
        return -1;
    bool gone = sqlite3_column_int(st, 0), known = sqlite3_column_type(st, 2) != SQLITE_NULL;
    char who[200] = "its worker";
    if (known)
        snprintf(who, sizeof who, "its %s '%s' (process %lld on %s)", db_text(st, 1), db_text(st, 2),
                 (long long)sqlite3_column_int64(st, 3), db_text(st, 4));
    sqlite3_reset(st);
    if (gone)
        err_set(why, ERR_CRASHED, "%s died with the job: it was killed, or crashed", who);
    else
        err_set(why, ERR_CRASHED, "%s was not heard of for longer than its lease", who);
    return 0;
}

int change_lanes(struct queue *q, enum queue_sql enter_or_leave, const struct change *c,
                 struct err *err)
{
    if (!c->lanes)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, enter_or_leave);
    db_bind(st, ":lanes", c->lanes);
    db_bind(st, ":seq", c->seq);
    if (enter_or_leave == SQL_LANE_ENTER)
        db_bind(st, ":job", c->id);
    return db_run(st, err);
}

int change_outputs_forget(struct queue *q, int64_t id, bool all, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_OUTPUTS_FORGET);
    db_bind(st, ":job", id);
    db_bind(st, ":all", all);
    return db_run(st, err);
}

int change_outputs_end(struct queue *q, const struct change *c, struct err *err)
{
    return c->forsake ? 0 : change_outputs_forget(q, c->id, true, err);
}

void change_tally(struct queue *q, const struct change *c, enum job_state to, int64_t rows)
{
    queue_tally(q, c->pipeline, job_state_name(c->state), -1, 0);
    queue_tally(q, c->pipeline, job_state_name(to), 1, rows);
}

int change_dead(struct queue *q, const struct change *c, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_FINISH_DEAD);
    db_bind(st, ":id", c->id);
    db_bind(st, ":token", c->token);
    db_bind(st, ":crashes", c->crashes);
    db_bind(st, ":forsake", c->forsake);
    db_bind(st, ":now", sys_now_ms());
    if (db_run(st, err) < 0 || change_lanes(q, SQL_LANE_LEAVE, c, err) < 0 ||
        change_outputs_end(q, c, err) < 0 || event_forget(q, c->id, err) < 0)
        return -1;
    change_tally(q, c, JOB_DEAD, 0);
    return 0;
}

int change_worker(struct queue *q, int64_t worker, const struct work_count *n, struct err *err)
{
    if (n->processed == 0)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_WORKER_COUNT);
    db_bind(st, ":id", worker);
    db_bind(st, ":processed", n->processed);
    db_bind(st, ":succeeded", n->succeeded);
    db_bind(st, ":failed", n->failed);
    db_bind(st, ":rows", n->rows);
    db_bind(st, ":bytes", n->bytes);
    return db_run(st, err);
}

int ids_collect(struct ids *ids, sqlite3_stmt *st, struct err *err)
{
    int rc;
    ids->n = 0;
    while ((rc = db_step(st, err)) == 1) {
        if (ids->n == ids->cap) {
            int cap = ids->cap ? ids->cap * 2 : 64;
            int64_t *more = realloc(ids->v, mem_product((size_t)cap, sizeof *more));
            if (!more) {
                sqlite3_reset(st);
                return err_nomem(err);
            }
            ids->v = more;
            ids->cap = cap;
        }
        ids->v[ids->n++] = sqlite3_column_int64(st, 0);
    }
    return rc;
}

void ids_clear(struct ids *ids)
{
    free(ids->v);
    *ids = (struct ids){ 0 };
}
