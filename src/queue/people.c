/*
 * What people do to jobs: find, cancel, retry, pause, prune. Long work goes in batches of a few ms,
 * so that workers never wait for a person; a person who interrupts it finds a part done, and the
 * same call again does the rest. If power fails: what was told is on disk, but for pruning, which
 * is simply done again.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include "io/db.h"
#include "queue/change.h"
#include "queue/event.h"

/* Commit, or roll back when rc < 0. */
static int settle(struct queue *q, int rc, enum queue_durability d, struct err *err)
{
    if (rc >= 0)
        return queue_commit(q, d, err);
    queue_rollback(q);
    return -1;
}

/* ---- find ---- */

enum { UID_PREFIX_MIN = 4 };

static int find_number(struct queue *q, const char *text, int64_t *id, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_FIND_ID);
    db_bind(
        st, ":id",
        (int64_t)strtoll(text, NULL, 10)); /* too great a number is INT64_MAX, which no job has */
    int rc = db_step(st, err);
    if (rc == 1)
        *id = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return rc;
}

/* The number of jobs that begin so, 2 for many. */
static int find_prefix(struct queue *q, const char *text, int64_t *id, struct err *err)
{
    char prefix[SYS_UID_LEN + 1] = "";
    for (int i = 0; text[i]; i++)
        prefix[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i]);
    sqlite3_stmt *st = queue_stmt(q, SQL_FIND_UID);
    db_bind(st, ":prefix", (const char *)prefix);
    int n = 0, rc;
    while ((rc = db_step(st, err)) == 1) {
        *id = sqlite3_column_int64(st, 0);
        n++;
    }
    return rc < 0 ? -1 : n;
}

int job_find(struct queue *q, const char *id_or_uid, int64_t *id, struct err *err)
{
    size_t n = strlen(id_or_uid), digits = strspn(id_or_uid, "0123456789");
    int rc = 0;
    int64_t found = 0;
    if (n > 0 && digits == n && *id_or_uid != '0') /* a uid begins with 0 until the year 3000 */
        rc = find_number(q, id_or_uid, &found, err);
    else if (n > SYS_UID_LEN ||
             strspn(id_or_uid, "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz") != n)
        return err_set(err, ERR_NOT_FOUND, "'%.60s' is neither a job's number nor its uid",
                       id_or_uid);
    else if (n < UID_PREFIX_MIN)
        return err_set(
            err, ERR_NOT_FOUND,
            "'%s' is too short for a job: give its number, or at least %d characters of its uid",
            id_or_uid, UID_PREFIX_MIN);
    else
        rc = find_prefix(q, id_or_uid, &found, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job '%s'", id_or_uid);
    if (rc > 1)
        return err_set(err, ERR_NOT_FOUND,
                       "more than one job begins with '%s': give more of the uid", id_or_uid);
    *id = found;
    return 0;
}

/* ---- cancel and retry ---- */

static int no_job(int64_t id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no job %" PRId64, id);
}

/* May tries to load it have left something in its target? */
static int load_begun(struct queue *q, int64_t id, bool *begun, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LOAD_BEGUN);
    db_bind(st, ":job", id);
    int rc = db_step(st, err);
    *begun = rc == 1 && sqlite3_column_int(st, 0);
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static int cancel_inside(struct queue *q, int64_t id, struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, id, &c, err);
    if (rc <= 0)
        return rc < 0 ? -1 : no_job(id, err);
    if (c.state == JOB_LOADING)
        return err_set(err, ERR_STATE,
                       "job %" PRId64 " is being loaded: it is too late to cancel it", id);
    if (c.state == JOB_STAGED && c.unsure)
        return err_set(err, ERR_STATE, "job %" PRId64 " may be in its target already, which could not be asked: cancel it when that is back", id);
    if (!job_may(c.state, JOB_CANCELLED))
        return err_set(err, ERR_STATE, "job %" PRId64 " is %s: there is nothing to cancel", id,
                       job_state_name(c.state));
    if (c.state == JOB_STAGED && load_begun(q, id, &c.forsake, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_CANCEL);
    db_bind(st, ":forsake", c.forsake);
    db_bind(st, ":id", id);
    db_bind(st, ":now", sys_now_ms());
    if (db_run(st, err) < 0 || change_lanes(q, SQL_LANE_LEAVE, &c, err) < 0 ||
        change_outputs_end(q, &c, err) < 0 || event_forget(q, id, err) < 0)
        return -1;
    change_tally(q, &c, JOB_CANCELLED, 0);
    return c.state == JOB_RUNNING ? change_attempt(q, &c, "work", "cancelled", 0, 0, err) : 0;
}

int job_cancel(struct queue *q, int64_t id, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (settle(q, cancel_inside(q, id, err), QUEUE_NOW, err) < 0)
        return -1;
    queue_ring(q, BELL_DONE, INT_MAX);
    queue_ring(q, BELL_STAGED, INT_MAX); /* who waited behind it in a lane */
    return 0;
}

static int undone_inside(struct queue *q, int64_t id, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_JOB_UNDONE);
    db_bind(st, ":id", id);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_step(st, err);
    if (rc == 1)
        queue_tally(q, db_text(st, 0), job_state_name(JOB_LOADED), 0, -sqlite3_column_int64(st, 1));
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int job_undone(struct queue *q, int64_t id, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    return settle(q, undone_inside(q, id, err), QUEUE_NOW, err);
}

/* May it read its objects again? 0; -1: state, or database. */
static int retry_objects(struct queue *q, const struct change *c, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_RETRY_OBJECTS);
    db_bind(st, ":id", c->id);
    int rc = db_step(st, err);
    if (rc != 1)
        return -1;
    int64_t n = sqlite3_column_int64(st, 0), others = sqlite3_column_int64(st, 1), by = sqlite3_column_int64(st, 2);
    if (sqlite3_column_int64(st, 4))
        rc = err_set(err, ERR_STATE, "job %" PRId64 ": %s changed since it was taken, and on_change = fail leaves that to a person: qetlctl scan %s --reload "
                     "makes a new job of it, --accept takes it as known", c->id, db_text(st, 5), c->pipeline);
    else if (n && others == n && by)
        rc = err_set(err, ERR_STATE, "job %" PRId64 ": job %" PRId64 " has taken %s since, and would load the same rows; qetlctl cancel %" PRId64
                     " puts this one away", c->id, by, db_text(st, 3), c->id);
    else if (n && others == n)
        rc = err_set(err, ERR_STATE, "job %" PRId64 ": the next scan makes a new job of %s, which would load the same rows; qetlctl cancel %" PRId64
                     " puts this one away", c->id, db_text(st, 3), c->id);
    else
        rc = 0;
    sqlite3_reset(st);
    return rc;
}

static int retry_inside(struct queue *q, int64_t id, struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, id, &c, err);
    if (rc <= 0)
        return rc < 0 ? -1 : no_job(id, err);
    if (c.state != JOB_DEAD)
        return err_set(err, ERR_STATE,
                       "job %" PRId64 " is %s: only a dead job can be tried again%s", id,
                       job_state_name(c.state),
                       c.state == JOB_LOADED ? "; to load its objects anew, submit them again" : "");
    if (retry_objects(q, &c, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_RETRY), *told = queue_stmt(q, SQL_RETRY_TOLD);
    db_bind(st, ":id", id);
    db_bind(st, ":now", sys_now_ms());
    db_bind(told, ":id", id);
    if (db_run(st, err) < 0 || db_run(told, err) < 0 || change_lanes(q, SQL_LANE_ENTER, &c, err) < 0 ||
        change_outputs_forget(q, id, true, err) < 0) /* the rejects that it died of */
        return -1;
    change_tally(q, &c, JOB_READY, 0);
    return 0;
}

int job_retry(struct queue *q, int64_t id, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (settle(q, retry_inside(q, id, err), QUEUE_NOW, err) < 0)
        return -1;
    queue_ring(q, BELL_READY, 1);
    return 0;
}

/* Jobs that were passed over in one transaction: told when it is over, as nobody knows how long that takes. */
struct passed {
    struct {
        int64_t id;
        struct err why;
    } v[CHANGE_BATCH];
    int n;
};

static int retry_batch(struct queue *q, const char *pipeline, const char *code, int64_t after,
                       struct ids *ids, struct passed *passed, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_DEAD_IDS);
    db_bind(st, ":after", after);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":code", code);
    db_bind(st, ":max", CHANGE_BATCH);
    passed->n = 0;
    if (ids_collect(ids, st, err) < 0)
        return -1;
    for (int i = 0; i < ids->n; i++) {
        if (retry_inside(q, ids->v[i], err) == 0)
            continue;
        if (err->code != ERR_STATE) /* which comes before anything is written */
            return -1;
        passed->v[passed->n].id = ids->v[i];
        passed->v[passed->n++].why = *err;
    }
    return 0;
}

static int retry_batches(struct queue *q, const char *pipeline, const char *code, int64_t *n,
                         void (*tell)(void *arg, int64_t id, const struct err *why), void *arg, struct passed *passed, struct err *err)
{
    AUTO(ids_clear) struct ids ids = { 0 };
    int64_t after = 0;
    do {
        if (queue_begin(q, err) < 0)
            return -1;
        if (settle(q, retry_batch(q, pipeline, code, after, &ids, passed, err), QUEUE_NOW, err) < 0)
            return -1;
        *n += ids.n - passed->n;
        if (ids.n) {
            after = ids.v[ids.n - 1]; /* one that dies again at once is not taken twice */
            if (ids.n > passed->n)
                queue_ring(q, BELL_READY, ids.n - passed->n);
        }
        for (int i = 0; i < passed->n; i++)
            tell(arg, passed->v[i].id, &passed->v[i].why);
    } while (ids.n == CHANGE_BATCH);
    return 0;
}

int job_retry_all(struct queue *q, const char *pipeline, const char *code, int64_t *n,
                  void (*passed)(void *arg, int64_t id, const struct err *why), void *arg, struct err *err)
{
    struct passed *list = malloc(sizeof *list);
    *n = 0;
    if (!list)
        return err_nomem(err);
    int rc = retry_batches(q, pipeline, code, n, passed, arg, list, err);
    free(list);
    return rc;
}

/* ---- replay ---- */

/* What the queue knows of the rejects of a job. */
struct replay {
    int64_t by; /* the job that reads them again, or 0 */
    enum job_state state, by_state;
    bool undone, any, by_known, by_undone;
};

static int replay_read(struct queue *q, int64_t refused, struct replay *r, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REPLAY_STATE);
    db_bind(st, ":id", refused);
    int rc = db_step(st, err);
    if (rc == 1) {
        int by_state = sqlite3_column_type(st, 4) == SQLITE_NULL ? -1 : job_state_by_name(db_text(st, 4));
        *r = (struct replay){
            .state = (enum job_state)job_state_by_name(db_text(st, 0)),
            .undone = sqlite3_column_int(st, 1),
            .any = sqlite3_column_int(st, 2),
            .by = sqlite3_column_int64(st, 3),
            .by_known = by_state >= 0,
            .by_state = (enum job_state)by_state,
            .by_undone = sqlite3_column_int(st, 5),
        };
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : rc == 0 ? no_job(refused, err) : 0;
}

static int replay_refused(int64_t refused, const struct replay *r, struct err *err)
{
    if (r->state == JOB_DEAD)
        return err_set(err, ERR_STATE, "job %" PRId64 " is dead, so that none of its rows were loaded: qetlctl retry %" PRId64
                       " reads all of them again", refused, refused);
    if (r->state != JOB_LOADED)
        return err_set(err, ERR_STATE, "job %" PRId64 " is %s: only rejects of a loaded job can be replayed", refused,
                       job_state_name(r->state));
    if (r->undone)
        return err_set(err, ERR_STATE, "job %" PRId64 " was undone: submit its objects again", refused);
    if (!r->any)
        return err_set(err, ERR_STATE, "job %" PRId64 " has no rejects", refused);
    if (!r->by || r->by_undone ||
        (r->by_known && (r->by_state == JOB_DEAD || r->by_state == JOB_CANCELLED || r->by_state == JOB_SUPERSEDED)))
        return 0;
    return err_set(err, ERR_STATE, "job %" PRId64 " replays the rejects of job %" PRId64 " already, and is %s", r->by, refused,
                   r->by_known ? job_state_name(r->by_state) : "loaded");
}

int job_may_undo(struct queue *q, int64_t id, struct err *err)
{
    struct replay r = { 0 };
    if (replay_read(q, id, &r, err) < 0)
        return -1;
    if (!r.by || r.by_undone || (r.by_known && (r.by_state == JOB_CANCELLED || r.by_state == JOB_SUPERSEDED)))
        return 0;
    return err_set(err, ERR_STATE, "its rejects were given to job %" PRId64 ", which is %s: their rows would stay, and come twice when the objects "
                   "are submitted again; undo or cancel that job first", r.by, r.by_known ? job_state_name(r.by_state) : "loaded");
}

static int replay_inside(struct queue *q, int64_t refused, const struct job_new *n, int64_t *id, char uid[SYS_UID_LEN + 1],
                         struct err *err)
{
    struct replay r = { 0 };
    bool made;
    if (replay_read(q, refused, &r, err) < 0 || replay_refused(refused, &r, err) < 0)
        return -1;
    if (r.by && r.by_known && r.by_state == JOB_DEAD && cancel_inside(q, r.by, err) < 0) /* nobody shall retry it beside this one */
        return -1;
    if (job_submit(q, n, id, uid, &made, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_REPLAY_PUT);
    db_bind(st, ":refused", refused);
    db_bind(st, ":job", *id);
    return db_run(st, err);
}

int job_replay(struct queue *q, int64_t refused, const struct job_new *n, int64_t *id, char uid[SYS_UID_LEN + 1], struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (settle(q, replay_inside(q, refused, n, id, uid, err), QUEUE_NOW, err) < 0)
        return -1;
    queue_ring(q, BELL_READY, 1);
    return 0;
}

int job_replay_of(struct queue *q, int64_t id, int64_t *refused, char uid[SYS_UID_LEN + 1], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REPLAY_OF);
    db_bind(st, ":job", id);
    int rc = db_step(st, err);
    if (rc == 1) {
        *refused = sqlite3_column_int64(st, 0);
        memcpy(uid, db_text(st, 1), SYS_UID_LEN + 1);
    }
    sqlite3_reset(st);
    return rc;
}

/* ---- pause ---- */

int job_pause(struct queue *q, const char *pipeline, bool on, int64_t *held, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_PAUSE_SET);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":on", on);
    if (settle(q, db_run(st, err), QUEUE_NOW, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_PAUSE_HELD);
    db_bind(st, ":pipeline", pipeline);
    if (db_step(st, err) != 1)
        return -1;
    *held = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    if (!on && *held)
        queue_ring(q, BELL_READY, INT_MAX);
    return 0;
}

/* ---- prune ---- */

enum { PRUNE_BATCH = 50 }; /* 2 to 4 ms */

static int prune_one(struct queue *q, int64_t id, struct err *err)
{
    static const enum queue_sql parts[] = { SQL_PRUNE_CONTENT, SQL_PRUNE_REPLAY, SQL_PRUNE_TEXT, SQL_PRUNE_ATTEMPTS, SQL_PRUNE_ERRORS,
                                            SQL_PRUNE_EVENT,   SQL_PRUNE_DRIFT,   SQL_PRUNE_TALLY, SQL_PRUNE_PROFILE,
                                            SQL_PRUNE_SAID,
                                            SQL_PRUNE_JOB };
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, id, &c, err);
    if (rc <= 0)
        return rc;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        sqlite3_stmt *st = queue_stmt(q, parts[i]);
        db_bind(st, ":id", id);
        if (db_run(st, err) < 0)
            return -1;
    }
    sqlite3_stmt *st = queue_stmt(q, SQL_OBJECTS_FORGET);
    db_bind(st, ":job", id);
    if (db_run(st, err) < 0 || change_outputs_forget(q, id, true, err) < 0)
        return -1;
    queue_tally(q, c.pipeline, job_state_name(c.state), -1, 0);
    return 1;
}

/* Jobs with this number and above stay, by `keep`. */
static int prune_border(struct queue *q, int64_t keep, int64_t *border, struct err *err)
{
    *border = INT64_MAX;
    if (keep == 0)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_PRUNE_BORDER);
    db_bind(st, ":others", keep - 1);
    int rc = db_step(st, err);
    *border = rc == 1 ? sqlite3_column_int64(st, 0) : 0; /* fewer than that are over */
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

/* The next jobs that may go, looked up without the lock: what is final stays so. */
static int prune_find(struct queue *q, const struct prune *what, int64_t border, int64_t after,
                      int64_t ids[PRUNE_BATCH], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_PRUNE_WALK);
    db_bind(st, ":before", what->before);
    db_bind(st, ":after", after);
    db_bind(st, ":border", border);
    int n = 0, rc = 0;
    while (n < PRUNE_BATCH && (rc = db_step(st, err)) == 1 && !sqlite3_column_int(st, 2))
        if (sqlite3_column_int(st, 1))
            ids[n++] = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return rc < 0 ? -1 : n;
}

static int prune_batch(struct queue *q, const int64_t *ids, int n, int64_t *gone, struct err *err)
{
    for (int i = 0; i < n; i++) {
        int rc = prune_one(q, ids[i], err);
        if (rc < 0)
            return -1;
        *gone += rc;
    }
    return 0;
}

/* The lock is not fair enough for one that always wants it: after each batch the workers have it
 * for as long as the batch took. */
static int prune_batch_and_rest(struct queue *q, const int64_t *ids, int n, int64_t *gone,
                                struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    int64_t start = sys_mono_us();
    if (settle(q, prune_batch(q, ids, n, gone, err), QUEUE_LATER, err) < 0)
        return err_in(err, "prune");
    int64_t took = sys_mono_us() - start;
    struct timespec rest = { .tv_sec = took / 1000000, .tv_nsec = took % 1000000 * 1000 };
    (void)nanosleep(&rest, NULL); /* a signal may cut it short */
    return 0;
}

int job_prune(struct queue *q, const struct prune *what, int64_t *n, struct err *err)
{
    int64_t ids[PRUNE_BATCH], after = 0, border;
    int found;
    *n = 0;
    if (prune_border(q, what->keep, &border, err) < 0)
        return -1;
    while ((found = prune_find(q, what, border, after, ids, err)) > 0) {
        if (what->max && found > what->max - *n)
            found = (int)(what->max - *n);
        if (what->dry)
            *n += found;
        else if (prune_batch_and_rest(q, ids, found, n, err) < 0)
            return -1;
        if (what->max && *n >= what->max)
            return 0;
        after = ids[found - 1];
    }
    return found;
}
