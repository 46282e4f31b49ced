/* What makes jobs without a listing: slots of a schedule, and messages of the inbox. See scan.h. */
#include "queue/scan_change.h"

#include <string.h>

#include "io/db.h"

/* ---- slots ---- */

static int slot_job(struct queue *q, const struct scan_row *s, const struct scan_slot *slot, struct job_new *job, struct err *err)
{
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    if (job_submit(q, job, &id, uid, &made, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_JOB);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":at", slot->at);
    db_bind(st, ":job", id);
    return db_run(st, err);
}

int scan_slots(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_slot *slots, int n,
               struct job_new *job, int (*fill)(void *arg, const struct scan_slot *slot, struct job_new *job, struct err *err),
               void *arg, int *ran, struct err *err)
{
    *ran = 0;
    if (!n)
        return 0;
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    int rc = 0, count = 0;
    int64_t first = 0;
    for (int i = 0; rc >= 0 && i < n; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_ADD);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":at", slots[i].at);
        db_bind(st, ":outcome", !slots[i].ran ? "skipped" : job ? "ran" : "due");
        db_bind(st, ":reason", slots[i].reason);
        db_bind(st, ":now", sys_now_ms());
        rc = db_run(st, err);
        bool added = rc >= 0 && sqlite3_changes(queue_db(q)), runs = added && slots[i].ran;
        if (added && slots[i].good && !first && !job)
            first = slots[i].at;
        count += runs;
        if (runs && job && (rc = fill(arg, &slots[i], job, err)) >= 0)
            rc = slot_job(q, s, &slots[i], job, err);
    }
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_WANTED);
    db_bind(st, ":id", s->id);
    db_bind(st, ":slot", slots[n - 1].at);
    db_bind(st, ":wanted", count && !job ? sys_now_ms() : 0);
    db_bind(st, ":first", first);
    if (rc >= 0)
        rc = db_run(st, err);
    if (scan_change_end(q, rc, err) < 0)
        return err_in(err, "account for slots");
    *ran = count;
    return 0;
}

int scan_slot_rows(struct queue *q, int64_t scan, int64_t max, int (*row)(void *arg, const struct scan_slot *slot), void *arg,
                   struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_ROWS);
    int rc, stop = 0;
    db_bind(st, ":scan", scan);
    db_bind(st, ":max", max);
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct scan_slot r = {
            .at = sqlite3_column_int64(st, 0),
            .outcome = db_text(st, 1),
            .open = sqlite3_column_int(st, 5),
            .reason = db_text(st, 2),
            .job = sqlite3_column_int64(st, 3),
            .decided = sqlite3_column_int64(st, 4),
        };
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

int scan_slots_sweep(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t before, struct err *err)
{
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_SWEEP);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":before", before);
    return scan_change_end(q, db_run(st, err), err);
}

/* ---- the inbox ---- */

int scan_inbox_known(struct queue *q, const char *name, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, name ? SQL_INBOX_KNOWN : SQL_INBOX_ANY);
    if (name)
        db_bind(st, ":name", name);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

static int inbox_name(struct queue *q, enum queue_sql sql, const char *name, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, sql);
    db_bind(st, ":name", name);
    return db_run(st, err);
}

int scan_inbox(struct queue *q, const struct scan_lease *l, const char *const *names, int n,
               int (*submit)(void *arg, int i, struct err *err), void *arg, struct err *err)
{
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < n; i++) {
        rc = inbox_name(q, SQL_INBOX_ADD, names[i], err);
        if (rc >= 0)
            rc = submit(arg, i, err);
    }
    if (rc < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_NOW, err);
}

int scan_inbox_forget(struct queue *q, const struct scan_lease *l, const char *const *names, int n, struct err *err)
{
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    int rc = names ? 0 : db_run(queue_stmt(q, SQL_INBOX_FORGET_ALL), err);
    for (int i = 0; rc >= 0 && names && i < n; i++)
        rc = inbox_name(q, SQL_INBOX_FORGET, names[i], err);
    return scan_change_end(q, rc, err);
}
