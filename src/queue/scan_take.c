/* Objects that are whole become jobs, one by one or in groups, or go to the jobs that they were of already. See scan.h. */
#include "queue/scan_change.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/db.h"

enum { READS_AGAIN_MS = 1000 /* a job reads it: look again so soon */ };

/* ---- jobs ---- */

struct ready {
    const char *uri, *params, *etag; /* params: NULL, none */
    int64_t size, mtime_ms;
};

/* The first columns of seen_ready and seen_group. */
static int ready_row(sqlite3_stmt *st, struct arena *arena, struct ready *out, struct err *err)
{
    bool has = sqlite3_column_type(st, 1) != SQLITE_NULL;
    *out = (struct ready){
        .uri = arena_dup(arena, str_of(db_text(st, 0))),
        .params = has ? arena_dup(arena, str_of(db_text(st, 1))) : NULL,
        .size = sqlite3_column_int64(st, 2),
        .mtime_ms = sqlite3_column_int64(st, 3),
        .etag = arena_dup(arena, str_of(db_text(st, 4))),
    };
    return out->uri && out->etag && (!has || out->params) ? 0 : err_nomem(err);
}

/* The oldest ones, up to `most`. Gives their number. */
static int ready_read(struct queue *q, int64_t scan, int most, struct arena *arena, struct ready *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_READY);
    db_bind(st, ":scan", scan);
    db_bind(st, ":max", most);
    int n = 0, rc = 0;
    while (n < most && (rc = db_step(st, err)) == 1)
        if (ready_row(st, arena, &out[n++], err) < 0) {
            sqlite3_reset(st);
            return -1;
        }
    sqlite3_reset(st);
    return rc < 0 ? -1 : n;
}

static int take_seen(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const char *uri, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_TAKE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    db_bind(st, ":job", job);
    db_bind(st, ":after", rules->after);
    return db_run(st, err);
}

/* The row of an object of a job, of which `st` sets the version: what it says until a worker has read it. */
static int write_object(sqlite3_stmt *st, const struct ready *r, int64_t job, struct err *err)
{
    db_bind(st, ":job", job);
    db_bind(st, ":uri", r->uri);
    db_bind(st, ":size", r->size);
    if (*r->etag)
        db_bind(st, ":etag", r->etag);
    if (r->mtime_ms)
        db_bind(st, ":modified_at", r->mtime_ms);
    return db_run(st, err);
}

static int take_object(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct ready *r, int64_t job,
                       int number, struct err *err)
{
    if (take_seen(q, s, rules, r->uri, job, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_OBJECT);
    db_bind(st, ":number", number);
    return write_object(st, r, job, err);
}

/* One job of n objects, in the transaction. */
static int take_job(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct ready *v, int n,
                    struct job_new job, struct err *err)
{
    AUTO(buf_clear) struct buf objects = { 0 };
    struct json_out o;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    json_start(&o, &objects);
    json_array(&o);
    for (int i = 0; i < n; i++)
        json_text(&o, str_of(v[i].uri));
    json_array_end(&o);
    if (objects.failed)
        return err_nomem(err);
    job.objects = buf_str(&objects);
    job.params = str_of(v->params);
    job.unique = NULL;
    job.scanned = true;
    if (job_submit(q, &job, &id, uid, &made, err) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (take_object(q, s, rules, &v[i], id, i, err) < 0)
            return -1;
    return 0;
}

/* ---- objects of jobs that are there already ---- */

struct again {
    struct ready object;
    int64_t job;
    enum reads reads;
};

/* Those that are whole, behind `after`. Gives their number. */
static int again_read(struct queue *q, int64_t scan, const struct scan_rules *rules, const char *after, struct arena *arena, struct again out[SCAN_TAKE], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_AGAIN);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", after);
    db_bind(st, ":all", rules->on_change != ON_CHANGE_RELOAD); /* which makes new jobs of those whose job is over */
    db_bind(st, ":max", SCAN_TAKE);
    int n = 0, rc;
    while ((rc = db_step(st, err)) == 1) {
        struct again *a = &out[n++];
        *a = (struct again){ { .uri = arena_dup(arena, str_of(db_text(st, 0))), .size = sqlite3_column_int64(st, 1), .mtime_ms = sqlite3_column_int64(st, 2),
                               .etag = arena_dup(arena, str_of(db_text(st, 3))) },
                             sqlite3_column_int64(st, 4), (enum reads)sqlite3_column_int(st, 5) };
        if (!a->object.uri || !a->object.etag) {
            rc = err_nomem(err);
            break;
        }
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : n;
}

/* 1 the job goes on with it, 0 not, -1. */
static int take_again(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct again *a, struct scan_count *count,
                      struct err *err)
{
    sqlite3_stmt *st;
    switch (a->reads) {
    case READS_YET:
        st = queue_stmt(q, SQL_OBJECT_LISTED);
        return take_seen(q, s, rules, a->object.uri, a->job, err) < 0 || write_object(st, &a->object, a->job, err) < 0 ||
                       scan_let_go(q, a->job, err) < 0
                   ? -1
                   : 1;
    case READS_NOW: /* the next listing knows what came of it */
        count->waiting++;
        scan_again_in(count, READS_AGAIN_MS);
        return 0;
    case READS_OVER: /* somebody cancelled that job meanwhile, say */
        st = queue_stmt(q, SQL_SEEN_KEEP);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":uri", a->object.uri);
        return db_run(st, err) < 0 ? -1 : 0;
    }
    return 0;
}

int scan_take_again(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules, struct scan_count *count,
                    struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct again again[SCAN_TAKE];
    const char *after = "";
    int given = 0, n;
    while ((n = again_read(q, s->id, rules, after, &arena, again, err)) > 0) {
        if (scan_change_begin(q, l, err) < 0)
            return -1;
        int rc = 0;
        for (int i = 0; rc >= 0 && i < n; i++) {
            rc = take_again(q, s, rules, &again[i], count, err);
            given += rc > 0;
        }
        if (scan_change_end(q, rc, err) < 0)
            return err_in(err, "give objects that changed to their jobs");
        after = again[n - 1].object.uri;
    }
    return n < 0 ? -1 : given;
}

int scan_listed(struct queue *q, const char *pipeline, int64_t job, const char *uri, struct scan_listed *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LISTED);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":job", job);
    db_bind(st, ":uri", uri);
    int rc = db_step(st, err);
    if (rc == 1) {
        *out = (struct scan_listed){ sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), strdup(db_text(st, 2)), sqlite3_column_int(st, 3) };
        rc = out->etag ? 1 : err_nomem(err);
    }
    sqlite3_reset(st);
    return rc;
}

int scan_other(struct queue *q, const char *pipeline, int64_t job, const char *uri, int64_t *other, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LISTED_OTHER);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":job", job);
    db_bind(st, ":uri", uri);
    int rc = db_step(st, err);
    if (rc == 1)
        *other = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return rc;
}

int scan_take(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
              const struct job_new *job, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct ready ready[SCAN_TAKE];
    int n = ready_read(q, s->id, 1, &arena, ready, err); /* where there is none no lock is taken */
    if (n <= 0)
        return n;
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    arena_reset(&arena);
    n = ready_read(q, s->id, SCAN_TAKE, &arena, ready, err); /* under it: a retry may give one of them to its job again */
    int rc = n < 0 ? -1 : 0;
    for (int i = 0; rc >= 0 && i < n; i++)
        rc = take_job(q, s, rules, &ready[i], 1, *job, err);
    return scan_change_end(q, rc, err) < 0 ? err_in(err, "make jobs of what was found") : n;
}

/* ---- groups ---- */

/* The oldest objects of one set of parameters, up to a full group. */
struct group {
    struct arena arena;
    struct ready *v;
    int64_t n, bytes;
    int64_t quiet_ms; /* nothing came to it for so long */
    bool full;
    struct buf key; /* of its parameters */
};

static void group_clear(struct group *g)
{
    arena_clear(&g->arena);
    buf_clear(&g->key);
}

/* 1: the row is in the group; 0: the group ends before it. */
static int group_add(struct group *g, const struct scan_rules *r, sqlite3_stmt *st, struct err *err)
{
    const char *key = db_text(st, 7);
    int64_t size = sqlite3_column_int64(st, 2), now = sys_mono_ms(), since = sqlite3_column_int64(st, 5);
    bool same_boot = sqlite3_column_int64(st, 6) == sys_boot();
    if (size < 0)
        size = 0;
    if (g->n && !str_eq(buf_str(&g->key), str_of(key)))
        return 0;
    if (g->n && r->group_bytes && g->bytes + size > r->group_bytes) {
        g->full = true;
        return 0;
    }
    if (!g->n)
        buf_adds(&g->key, key);
    if (g->key.failed)
        return err_nomem(err);
    if (ready_row(st, &g->arena, &g->v[g->n++], err) < 0)
        return -1;
    g->bytes += size;
    int64_t quiet = same_boot && since <= now ? now - since : 0;
    if (g->n == 1 || quiet < g->quiet_ms)
        g->quiet_ms = quiet;
    g->full = g->n == r->group_files || (r->group_bytes && g->bytes >= r->group_bytes);
    return !g->full;
}

/* The first group whose parameters come behind `after`; n is 0 where there is none. */
static int group_read(struct queue *q, int64_t scan, const struct scan_rules *r, const struct buf *after, struct group *g, struct err *err)
{
    int rc;
    arena_reset(&g->arena);
    buf_reset(&g->key);
    g->n = g->bytes = g->quiet_ms = 0;
    g->full = false;
    if (!(g->v = arena_alloc(&g->arena, (size_t)r->group_files * sizeof *g->v)))
        return err_nomem(err);
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GROUP);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", buf_str(after));
    db_bind(st, ":max", r->group_files);
    while ((rc = db_step(st, err)) == 1 && (rc = group_add(g, r, st, err)) == 1)
        ;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

/* Take what is to be taken, in the transaction, until there is much of it. Gives the number of jobs. */
static int take_groups(struct queue *q, const struct scan_row *s, const struct scan_rules *r, const struct job_new *job,
                       struct scan_groups *walk, struct group *g, struct scan_count *count, struct err *err)
{
    int jobs = 0;
    for (int64_t looked = 0; looked < SCAN_BATCH && jobs < SCAN_TAKE; looked += g->n) {
        if (group_read(q, s->id, r, &walk->after, g, err) < 0)
            return -1;
        walk->end = g->n == 0;
        if (walk->end)
            break;
        if (g->full || g->quiet_ms >= r->group_wait_ms) {
            if (take_job(q, s, r, g->v, (int)g->n, *job, err) < 0)
                return -1;
            jobs++;
            continue; /* more of the same parameters may follow */
        }
        count->waiting += g->n;
        scan_again_in(count, r->group_wait_ms - g->quiet_ms);
        buf_reset(&walk->after);
        buf_add(&walk->after, g->key.p, g->key.n);
        if (walk->after.failed)
            return err_nomem(err);
    }
    return jobs;
}

int scan_take_groups(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
                     const struct job_new *job, struct scan_groups *walk, struct scan_count *count, struct err *err)
{
    AUTO(group_clear) struct group g = { 0 };
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    int jobs = walk->whole ? scan_forget_gone(q, s, count, err) : 0;
    if (jobs >= 0)
        jobs = take_groups(q, s, rules, job, walk, &g, count, err);
    if (scan_change_end(q, jobs, err) < 0)
        return err_in(err, "make jobs of groups");
    walk->whole = false;
    return jobs;
}
