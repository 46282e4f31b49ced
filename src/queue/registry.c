/*
 * Who works. A row is made at the start of a role, says "alive" now and then, and gets an end; one
 * that got none is told from a living one by its process, or, on another host, by the age of its
 * last sign. If power fails, rows without an end stay and show as gone.
 */
#include "queue/registry.h"

#include <stdlib.h>

#include "base/sys.h"
#include "config.h"
#include "io/db.h"

enum { BEAT_OLD_MS = 120000 };

static int one_row(struct queue *q, sqlite3_stmt *st, struct err *err)
{
    int rc = db_run(st, err);
    if (rc < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_LATER, err);
}

int registry_join(struct queue *q, const char *role, const char *name, int64_t *id, struct err *err)
{
    char host[256], ip[64];
    sys_host(host, sizeof host, ip, sizeof ip);
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_WORKER_JOIN);
    db_bind(st, ":role", role);
    db_bind(st, ":name", name);
    db_bind(st, ":host", (const char *)host);
    db_bind(st, ":ip", (const char *)ip);
    db_bind(st, ":pid", (int64_t)getpid());
    db_bind(st, ":pid_start", sys_process_start(getpid()));
    db_bind(st, ":pid_ns", sys_process_namespace());
    db_bind(st, ":version", PACKAGE_VERSION);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_step(st, err);
    int64_t made = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    if (rc < 0 || one_row(q, st, err) < 0) {
        if (rc < 0)
            queue_rollback(q);
        return err_in(err, "enter '%s' into the registry", name);
    }
    *id = made;
    return 0;
}

static int write_row(struct queue *q, enum queue_sql which, int64_t id, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, which);
    db_bind(st, ":id", id);
    db_bind(st, ":now", sys_now_ms());
    return one_row(q, st, err);
}

int registry_beat(struct queue *q, int64_t id, struct err *err)
{
    return write_row(q, SQL_WORKER_BEAT, id, err);
}

int registry_leave(struct queue *q, int64_t id, struct err *err)
{
    return write_row(q, SQL_WORKER_LEAVE, id, err);
}

static int alive(const struct worker_row *r, int64_t pid_start, const char *host)
{
    if (r->ended)
        return 0;
    return strcmp(r->host, host) ? sys_now_ms() - r->beat < BEAT_OLD_MS : sys_process_there(r->pid, pid_start);
}

int registry_list(struct queue *q, bool all, int (*row)(void *arg, const struct worker_row *r),
                  void *arg, struct err *err)
{
    char host[256];
    sys_host(host, sizeof host, NULL, 0);
    sqlite3_stmt *st = queue_stmt(q, SQL_WORKER_LIST);
    db_bind(st, ":all", all);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct worker_row r = {
            .id = sqlite3_column_int64(st, 0),
            .pid = sqlite3_column_int64(st, 1),
            .started = sqlite3_column_int64(st, 2),
            .ended = sqlite3_column_int64(st, 3),
            .beat = sqlite3_column_int64(st, 4),
            .processed = sqlite3_column_int64(st, 5),
            .succeeded = sqlite3_column_int64(st, 6),
            .failed = sqlite3_column_int64(st, 7),
            .rows = sqlite3_column_int64(st, 8),
            .bytes = sqlite3_column_int64(st, 9),
            .current_job = sqlite3_column_int64(st, 10),
            .role = db_text(st, 11),
            .name = db_text(st, 12),
            .host = db_text(st, 13),
            .ip = db_text(st, 14),
            .version = db_text(st, 15),
            .current_uid = db_text(st, 16),
        };
        r.alive = alive(&r, sqlite3_column_int64(st, 17), host);
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

int registry_sweep(struct queue *q, int64_t before, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_WORKER_SWEEP);
    db_bind(st, ":before", before);
    return one_row(q, st, err);
}

/* ---- targets that are away ---- */

int registry_target_away(struct queue *q, const char *name, int64_t again, const struct err *why, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_TARGET_AWAY);
    db_bind(st, ":name", name);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":again", again);
    db_bind(st, ":code", err_name(why->code));
    db_bind(st, ":message", (const char *)why->msg);
    return one_row(q, st, err);
}

int registry_target_back(struct queue *q, const char *name, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_TARGET_BACK);
    db_bind(st, ":name", name);
    return one_row(q, st, err);
}

int registry_targets_away(struct queue *q, int (*row)(void *arg, const struct target_away_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_TARGET_LIST);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct target_away_row r = {
            .name = db_text(st, 0),
            .since = sqlite3_column_int64(st, 1),
            .again = sqlite3_column_int64(st, 2),
            .code = db_text(st, 3),
            .message = db_text(st, 4),
            .staged = sqlite3_column_int64(st, 5),
        };
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

/* ---- processes that are gone ---- */

static int bury(struct queue *q, int64_t id, struct err *err)
{
    static const enum queue_sql steps[] = { SQL_WORKER_GONE, SQL_LEASE_END_RUNNING, SQL_LEASE_END_LOADING };
    if (queue_begin(q, err) < 0)
        return -1;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        sqlite3_stmt *st = queue_stmt(q, steps[i]);
        db_bind(st, ":id", id);
        if (steps[i] == SQL_WORKER_GONE)
            db_bind(st, ":now", sys_now_ms());
        if (db_run(st, err) < 0) {
            queue_rollback(q);
            return err_in(err, "end the leases of worker %lld", (long long)id);
        }
    }
    return queue_commit(q, QUEUE_LATER, err);
}

int registry_bury(struct queue *q, int64_t *buried, struct err *err)
{
    enum { AT_ONCE = 64 }; /* more wait for the next call */
    char host[256];
    int64_t gone[AT_ONCE];
    int n = 0, rc;
    *buried = 0;
    sys_host(host, sizeof host, NULL, 0);
    sqlite3_stmt *st = queue_stmt(q, SQL_LEASE_HOLDERS);
    db_bind(st, ":host", (const char *)host);
    db_bind(st, ":pid_ns", sys_process_namespace());
    while ((rc = db_step(st, err)) == 1 && n < AT_ONCE)
        if (!sys_process_there(sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2)))
            gone[n++] = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    for (int i = 0; i < n && rc >= 0; i++, ++*buried)
        rc = bury(q, gone[i], err);
    return rc < 0 ? -1 : 0;
}
