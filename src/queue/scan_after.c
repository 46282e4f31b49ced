/* What is left to do with objects whose job is loaded. See scan.h. */
#include "queue/scan_change.h"

#include "io/db.h"

/* The next one behind `uri`, in memory of the arena. 1, 0, -1. */
static int after_next(struct queue *q, int64_t scan, const char *uri, struct arena *arena, struct scan_after *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_AFTER);
    db_bind(st, ":scan", scan);
    db_bind(st, ":uri", uri);
    db_bind(st, ":max", 1);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc;
    arena_reset(arena);
    *out = (struct scan_after){
        .uri = arena_dup(arena, str_of(db_text(st, 0))),
        .size = sqlite3_column_int64(st, 1),
        .mtime_ms = sqlite3_column_int64(st, 2),
        .etag = arena_dup(arena, str_of(db_text(st, 3))),
        .job = sqlite3_column_int64(st, 4),
    };
    sqlite3_reset(st);
    return out->uri && out->etag ? 1 : err_nomem(err);
}

int scan_after(struct queue *q, const struct scan_lease *l, const struct scan_row *s,
               int (*act)(void *arg, const struct scan_after *a, struct err *err), void *arg, struct err *err)
{
    AUTO(arena_clear) struct arena one = { 0 };
    AUTO(arena_clear) struct arena other = { 0 }; /* the one before stays until the next is found */
    struct scan_after a = { .uri = "" };
    int rc;
    for (int i = 0; (rc = after_next(q, s->id, a.uri, i & 1 ? &one : &other, &a, err)) == 1; i++) {
        int done = act(arg, &a, err);
        if (done < 0)
            return -1;
        if (!done)
            continue;
        if (scan_change_begin(q, l, err) < 0)
            return -1;
        sqlite3_stmt *st = queue_stmt(q, done == SCAN_AFTER_GONE ? SQL_SEEN_FORGET : SQL_SEEN_AFTER_DONE);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":uri", a.uri);
        if (scan_change_end(q, db_run(st, err), err) < 0)
            return -1;
    }
    return rc;
}

int scan_after_left(struct queue *q, const struct scan_row *s, int64_t *objects, int64_t *since, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_AFTER_LEFT);
    db_bind(st, ":scan", s->id);
    int rc = db_step(st, err);
    *objects = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    *since = rc == 1 ? sqlite3_column_int64(st, 1) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int scan_after_tried(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct err *why, struct err *err)
{
    if (!why && !s->after_failures)
        return 0;
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_AFTER_TRIED);
    db_bind(st, ":id", s->id);
    db_bind(st, ":code", why ? err_name(why->code) : NULL);
    db_bind(st, ":message", why ? why->msg : NULL);
    return scan_change_end(q, db_run(st, err), err);
}

int scan_after_waits(struct queue *q, const struct scan_row *s, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct scan_after a;
    return after_next(q, s->id, "", &arena, &a, err);
}
