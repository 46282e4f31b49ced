/* What a person decides about objects that changed (on_change = fail). See scan.h. */
#include "queue/scan.h"

#include "io/db.h"

/* Up to SCAN_TAKE of them behind `after`, in memory of the arena, whether they match or not. Gives their number. */
static int changed_read(struct queue *q, int64_t scan, const char *after, struct arena *arena, struct scan_changed out[SCAN_TAKE], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CHANGED_READ);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", after);
    db_bind(st, ":max", SCAN_TAKE);
    int n = 0, rc;
    while ((rc = db_step(st, err)) == 1) {
        struct scan_changed *c = &out[n++];
        *c = (struct scan_changed){ arena_dup(arena, str_of(db_text(st, 0))), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
                                    sqlite3_column_int64(st, 3) };
        if (!c->uri) {
            rc = err_nomem(err);
            break;
        }
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : n;
}

static int decide(struct queue *q, const struct scan_row *s, const char *uri, bool known, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, known ? SQL_CHANGED_KNOWN : SQL_CHANGED_NEW);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    if (known)
        db_bind(st, ":now", sys_now_ms());
    if (db_run(st, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_CHANGED_DONE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    return db_run(st, err);
}

/* The next piece behind *after, which moves, in one transaction. Gives how many of it were decided; *end: it was the last. */
static int accept_piece(struct queue *q, const struct scan_row *s, bool known, bool (*meant)(void *arg, const char *uri), void *arg, struct arena *arena,
                        struct scan_changed piece[SCAN_TAKE], struct buf *after, bool *end_of, struct err *err)
{
    int decided = 0;
    arena_reset(arena);
    int n = changed_read(q, s->id, after->p, arena, piece, err), rc = n < 0 ? -1 : 0;
    *end_of = n < SCAN_TAKE;
    if (n > 0) {
        buf_reset(after);
        buf_adds(after, piece[n - 1].uri);
    }
    for (int i = 0; rc >= 0 && i < n; i++)
        if (meant(arg, piece[i].uri)) {
            piece[decided] = piece[i];
            rc = decide(q, s, piece[decided++].uri, known, err);
        }
    return rc < 0 ? -1 : after->failed ? err_nomem(err) : decided;
}

int64_t scan_accept(struct queue *q, const struct scan_row *s, bool known, bool (*meant)(void *arg, const char *uri),
                    void (*done)(void *arg, const struct scan_changed *c), void *arg, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    AUTO(buf_clear) struct buf after = { 0 };
    struct scan_changed piece[SCAN_TAKE];
    int64_t decided = 0;
    bool end_of = false;
    buf_adds(&after, "");
    while (!end_of) {
        if (queue_begin(q, err) < 0)
            return -1;
        int n = accept_piece(q, s, known, meant, arg, &arena, piece, &after, &end_of, err);
        if (n < 0) {
            queue_rollback(q);
            return err_in(err, "decide about objects that changed");
        }
        if (queue_commit(q, QUEUE_NOW, err) < 0)
            return -1;
        for (int i = 0; i < n; i++)
            done(arg, &piece[i]);
        decided += n;
    }
    return decided;
}
