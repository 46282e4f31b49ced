/* The right to scan, the state of a scan, and how a listing ends. See scan.h. */
#include "queue/scan_change.h"

#include <stdio.h>
#include <string.h>

#include "io/db.h"

/* ---- the right to scan ---- */

/* Is whoever has the lease gone for sure? The row of SQL_SCAN_LEASE_READ. */
static bool holder_gone(sqlite3_stmt *st)
{
    char host[256];
    sys_host(host, sizeof host, NULL, 0);
    if (!sqlite3_column_int(st, 6) || !*db_text(st, 2))
        return true;
    return !strcmp(db_text(st, 2), host) && sqlite3_column_int64(st, 5) == sys_process_namespace() &&
           !sys_process_there(sqlite3_column_int64(st, 3), sqlite3_column_int64(st, 4));
}

static int lease_take(struct queue *q, int64_t worker, int64_t lease_ms, struct scan_lease *out, char holder[64], struct err *err)
{
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_LEASE_READ);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc < 0 ? -1 : err_set(err, ERR_DATABASE, "the table scan_lease has no row");
    int64_t token = sqlite3_column_int64(st, 0), until = sqlite3_column_int64(st, 1);
    /* an end that is further away than any lease lasts was written by a clock that has been set back since */
    bool held = until >= now && until <= now + 10 * lease_ms && !holder_gone(st);
    snprintf(holder, 64, "%s", db_text(st, 7));
    sqlite3_reset(st);
    if (held)
        return 0;
    st = queue_stmt(q, SQL_SCAN_LEASE_TAKE);
    db_bind(st, ":worker", worker);
    db_bind(st, ":until", now + lease_ms);
    db_bind(st, ":token", token);
    if (db_step(st, err) != 1)
        return -1;
    *out = (struct scan_lease){ sqlite3_column_int64(st, 0), lease_ms };
    return db_run(st, err) < 0 ? -1 : 1;
}

int scan_lease_take(struct queue *q, int64_t worker, int64_t lease_ms, struct scan_lease *out, char holder[64], struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    int rc = lease_take(q, worker, lease_ms, out, holder, err);
    if (rc <= 0)
        queue_rollback(q);
    else if (queue_commit(q, QUEUE_LATER, err) < 0)
        rc = -1;
    return rc < 0 ? err_in(err, "take the right to scan") : rc;
}

/* Inside a transaction. */
static int lease_renew(struct queue *q, const struct scan_lease *l, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_LEASE_KEEP);
    db_bind(st, ":token", l->token);
    db_bind(st, ":until", sys_now_ms() + l->ms);
    if (db_run(st, err) < 0)
        return -1;
    return sqlite3_changes(queue_db(q)) ? 0 : err_set(err, ERR_LEASE_LOST, "another scanner has the right to scan");
}

int scan_change_begin(struct queue *q, const struct scan_lease *l, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (lease_renew(q, l, err) == 0)
        return 0;
    queue_rollback(q);
    return -1;
}

int scan_change_end(struct queue *q, int rc, struct err *err)
{
    if (rc < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_LATER, err);
}

int scan_lease_keep(struct queue *q, const struct scan_lease *l, struct err *err)
{
    return scan_change_begin(q, l, err) < 0 ? -1 : scan_change_end(q, 0, err);
}

int scan_lease_drop(struct queue *q, const struct scan_lease *l, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_LEASE_DROP);
    db_bind(st, ":token", l->token);
    return scan_change_end(q, db_run(st, err), err);
}

/* ---- the state of a scan ---- */

static struct scan_row row_read(sqlite3_stmt *st)
{
    return (struct scan_row){
        .id = sqlite3_column_int64(st, 0),
        .pipeline = db_text(st, 1),
        .source = db_text(st, 2),
        .number = sqlite3_column_int64(st, 3),
        .wanted = sqlite3_column_int64(st, 4),
        .next_at = sqlite3_column_int64(st, 5),
        .again_at = sqlite3_column_int64(st, 6),
        .slot = sqlite3_column_int64(st, 7),
        .covered = sqlite3_column_int64(st, 8),
        .started = sqlite3_column_int64(st, 9),
        .finished = sqlite3_column_int64(st, 10),
        .listed = sqlite3_column_int64(st, 11),
        .found = sqlite3_column_int64(st, 12),
        .changed = sqlite3_column_int64(st, 13),
        .waiting = sqlite3_column_int64(st, 14),
        .taken = sqlite3_column_int64(st, 15),
        .failures = sqlite3_column_int64(st, 16),
        .code = db_text(st, 17),
        .message = db_text(st, 18),
        .era = sqlite3_column_int64(st, 19),
        .cursor_glob = sqlite3_column_int64(st, 20),
        .cursor = db_text(st, 21),
        .failed_since = sqlite3_column_int64(st, 22),
        .after_failures = sqlite3_column_int64(st, 23),
        .after_code = db_text(st, 24),
        .after_message = db_text(st, 25),
        .breaks = sqlite3_column_int64(st, 26),
        .asks = sqlite3_column_int64(st, 27),
    };
}

int scan_rows(struct queue *q, int (*row)(void *arg, const struct scan_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ROWS);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct scan_row r = row_read(st);
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

/* 1 and the row without its texts; *same: is the source still that one? */
static int row_of(struct queue *q, const char *pipeline, const char *source, struct scan_row *out, bool *same, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ROWS);
    db_bind(st, ":pipeline", pipeline);
    int rc = db_step(st, err);
    if (rc == 1) {
        *out = row_read(st);
        *same = !strcmp(out->source, source);
        out->pipeline = out->source = out->code = out->message = out->cursor = out->after_code = out->after_message = NULL;
        sqlite3_reset(st);
    }
    return rc;
}

int scan_get(struct queue *q, const struct scan_lease *l, const char *pipeline, const char *source, bool wanted, struct scan_row *out,
             struct err *err)
{
    bool same;
    int rc = row_of(q, pipeline, source, out, &same, err);
    if (rc < 0 || (rc == 1 && same))
        return rc < 0 ? -1 : 0;
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_VOID);
    db_bind(st, ":pipeline", pipeline);
    if ((rc = db_run(st, err)) >= 0) {
        st = queue_stmt(q, SQL_SCAN_MAKE);
        db_bind(st, ":pipeline", pipeline);
        db_bind(st, ":source", source);
        db_bind(st, ":now", sys_now_ms());
        db_bind(st, ":wanted", wanted ? sys_now_ms() : 0);
        rc = db_run(st, err);
    }
    if (rc >= 0 && (rc = row_of(q, pipeline, source, out, &same, err)) == 0)
        rc = err_set(err, ERR_DATABASE, "the row of its scan is not there");
    return scan_change_end(q, rc, err) < 0 ? err_in(err, "scan of '%s'", pipeline) : 0;
}

int scan_begin(struct queue *q, const struct scan_lease *l, struct scan_row *s, int64_t at, struct err *err)
{
    if (s->covered)
        return 0;
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_BEGIN);
    db_bind(st, ":id", s->id);
    db_bind(st, ":at", at);
    if (scan_change_end(q, db_run(st, err), err) < 0)
        return -1;
    s->covered = at;
    return 0;
}

int scan_find(struct queue *q, const char *pipeline, struct scan_row *out, struct err *err)
{
    bool same;
    return row_of(q, pipeline, "", out, &same, err);
}

int scan_want(struct queue *q, const char *pipeline, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_WANT);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_run(st, err), there = sqlite3_changes(queue_db(q));
    return scan_change_end(q, rc, err) < 0 ? -1 : there;
}

/* ---- pages ---- */

int scan_open(struct queue *q, const struct scan_row *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_OPEN);
    db_bind(st, ":scan", s->id);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

int scan_page_get(struct queue *q, const struct scan_row *s, int64_t rules, const char *uri, char etag[SCAN_ETAG], char modified[SCAN_MODIFIED],
                  int64_t *objects, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_PAGE_GET);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    db_bind(st, ":era", s->era);
    db_bind(st, ":rules", rules);
    int rc = db_step(st, err);
    if (rc == 1) {
        snprintf(etag, SCAN_ETAG, "%s", db_text(st, 0));
        snprintf(modified, SCAN_MODIFIED, "%s", db_text(st, 1));
        *objects = sqlite3_column_int64(st, 2);
        sqlite3_reset(st);
    }
    return rc;
}

int scan_page_put(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t rules, const struct scan_read *pages, int n,
                  struct err *err)
{
    if (!n)
        return 0;
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < n; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_PAGE_PUT);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":uri", pages[i].uri);
        db_bind(st, ":etag", pages[i].etag);
        db_bind(st, ":modified", pages[i].modified);
        db_bind(st, ":objects", pages[i].objects);
        db_bind(st, ":era", s->era);
        db_bind(st, ":rules", rules);
        rc = db_run(st, err);
    }
    return scan_change_end(q, rc, err);
}

static int forget_pages(struct queue *q, const struct scan_row *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_PAGE_SWEEP);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":era", s->era);
    return db_run(st, err);
}

/* ---- the end of a listing ---- */

void scan_again_in(struct scan_count *count, int64_t ms)
{
    if (ms < 1)
        ms = 1;
    if (!count->again_ms || ms < count->again_ms)
        count->again_ms = ms;
}

int scan_let_go(struct queue *q, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_LET_GO);
    db_bind(st, ":job", job);
    db_bind(st, ":now", sys_now_ms());
    return db_run(st, err);
}

/* What a job was to read and is not there any more: that job finds it out. */
static int let_go_gone(struct queue *q, const struct scan_row *s, struct scan_count *count, struct err *err)
{
    int rc, bad = 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GONE_AGAIN);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":number", s->number);
    while (!bad && (rc = db_step(st, err)) == 1) {
        bad = scan_let_go(q, sqlite3_column_int64(st, 0), err) < 0;
        count->gone++;
    }
    sqlite3_reset(st);
    return bad ? -1 : rc;
}

int scan_forget_gone(struct queue *q, const struct scan_row *s, struct scan_count *count, struct err *err)
{
    if (let_go_gone(q, s, count, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GONE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":number", s->number);
    if (db_run(st, err) < 0)
        return -1;
    count->gone += sqlite3_changes(queue_db(q));
    return 0;
}

static int forget_changed(struct queue *q, const struct scan_row *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CHANGED_GONE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":number", s->number);
    return db_run(st, err);
}

static int next_era(struct queue *q, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ERA);
    db_bind(st, ":id", s->id);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":length", e->forget_ms / SCAN_ERAS);
    return e->forget_ms ? db_run(st, err) : 0;
}

/* The slots that had asked for it when it began; one that came meanwhile waits for the next listing. */
static int end_slots(struct queue *q, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    if (!s->asks)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, e->broke ? SQL_SLOT_FAILED : SQL_SLOT_RAN);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":asks", s->asks);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":code", e->why ? err_name(e->why->code) : NULL);
    db_bind(st, ":message", e->why ? e->why->msg : NULL);
    return db_run(st, err);
}

static int end_write(struct queue *q, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    if (e->whole && (scan_forget_gone(q, s, e->count, err) < 0 || forget_pages(q, s, err) < 0 || forget_changed(q, s, err) < 0 || next_era(q, s, e, err) < 0))
        return -1;
    if (end_slots(q, s, e, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_END);
    db_bind(st, ":resumes", e->resumes);
    db_bind(st, ":broke", e->broke);
    db_bind(st, ":id", s->id);
    db_bind(st, ":wanted", s->wanted);
    db_bind(st, ":asks", s->asks);
    db_bind(st, ":started", e->started);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":next_at", e->next_at);
    db_bind(st, ":again_at", e->again_at);
    db_bind(st, ":covered", e->covered);
    db_bind(st, ":listed", e->count->listed);
    db_bind(st, ":found", e->count->found);
    db_bind(st, ":changed", e->count->changed);
    db_bind(st, ":taken", e->count->taken);
    db_bind(st, ":code", e->why ? err_name(e->why->code) : NULL);
    db_bind(st, ":message", e->why ? e->why->msg : NULL);
    return db_run(st, err);
}

int scan_end(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    return scan_change_begin(q, l, err) < 0 ? -1 : scan_change_end(q, end_write(q, s, e, err), err);
}

int scan_cursor(struct queue *q, const char *pipeline, char **cursor, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ROWS);
    db_bind(st, ":pipeline", pipeline);
    int rc = db_step(st, err);
    bool has = rc == 1 && *db_text(st, 21);
    *cursor = has ? strdup(db_text(st, 21)) : NULL;
    sqlite3_reset(st);
    return rc < 0 ? -1 : has && !*cursor ? err_nomem(err) : 0;
}

int scan_held(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t again_at, const struct err *why, struct err *err)
{
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_HELD);
    db_bind(st, ":id", s->id);
    db_bind(st, ":again_at", again_at);
    db_bind(st, ":code", err_name(why->code));
    db_bind(st, ":message", (const char *)why->msg);
    return scan_change_end(q, db_run(st, err), err);
}

/* ---- what is not there any more ---- */

enum { PRUNE_PIECE = 5000 /* rows that are looked at in one go */ };

/* The last URI of the piece behind `last`, which it becomes. 1, 0 there is none, -1. */
static int next_piece(struct queue *q, int64_t scan, struct buf *last, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_PIECE);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", buf_str(last));
    db_bind(st, ":max", PRUNE_PIECE);
    int rc = db_step(st, err);
    bool any = rc == 1 && sqlite3_column_type(st, 0) != SQLITE_NULL;
    buf_reset(last);
    if (any)
        buf_adds(last, db_text(st, 0));
    sqlite3_reset(st);
    return rc < 0 ? -1 : last->failed ? err_nomem(err) : any;
}

/* Rows of the piece that are to be forgotten: counted, or (dry) only that. */
static int prune_piece(struct queue *q, const struct scan_row *s, struct str after, struct str last, bool dry, int64_t *n, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_OLD);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":after", after);
    db_bind(st, ":last", last);
    db_bind(st, ":era", s->era - SCAN_ERAS);
    int rc = db_step(st, err);
    int64_t old = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    *n += dry ? old : 0;
    if (rc < 0 || dry || !old)
        return rc < 0 ? -1 : 0;
    if (queue_begin(q, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_SEEN_PRUNE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":after", after);
    db_bind(st, ":last", last);
    db_bind(st, ":era", s->era - SCAN_ERAS);
    rc = db_run(st, err);
    int changes = sqlite3_changes(queue_db(q));
    if (scan_change_end(q, rc, err) < 0)
        return -1;
    *n += changes;
    return 0;
}

int scan_prune(struct queue *q, const struct scan_row *s, bool dry, int64_t *n, struct err *err)
{
    AUTO(buf_clear) struct buf last = { 0 };
    AUTO(buf_clear) struct buf after = { 0 };
    int rc = 0;
    buf_adds(&last, "");
    while (s->era > SCAN_ERAS && (rc = next_piece(q, s->id, &last, err)) == 1) {
        if (prune_piece(q, s, buf_str(&after), buf_str(&last), dry, n, err) < 0)
            return err_in(err, "forget objects");
        buf_reset(&after);
        buf_add(&after, last.p, last.n);
        if (after.failed)
            return err_nomem(err);
    }
    return rc;
}
