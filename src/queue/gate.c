/* Gates and turns: see gate.h. */
#include "queue/gate.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "io/db.h"
#include "queue/change.h"

enum {
    PASS_STRIDE = 1 << 20,
    PASS_LAG = 8 * PASS_STRIDE, /* who was away gets so much more than its share when it is back */
    NEED_UNKNOWN = 64 << 20,    /* bytes of the spool for a job of a pipeline that had none yet */
    PROBE_MS = 10000,           /* for so long the others wait for a job that tries */
};

void runs_clear(struct runs *runs)
{
    for (int i = 0; i < runs->n; i++) {
        free(runs->v[i].pipeline);
        free(runs->v[i].remote);
    }
    free(runs->v);
    *runs = (struct runs){ 0 };
}

/* Does a listing have one of the connections? */
static bool is_listed(int64_t until) { return until && until > sys_now_ms(); }

/* Until when what its pipeline asks is held; 0: it is not. */
static int read_hold(struct queue *q, struct run *r, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_HOLD_OF);
    db_bind(st, ":pipeline", (const char *)r->pipeline);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_step(st, err);
    r->enrich_until = rc == 1 ? sqlite3_column_int64(st, 1) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static int run_add(struct queue *q, struct runs *runs, sqlite3_stmt *st, struct err *err)
{
    if (runs->n == runs->cap) {
        int cap = runs->cap ? runs->cap * 2 : 4;
        struct run *more = realloc(runs->v, mem_product((size_t)cap, sizeof *more));
        if (!more)
            return err_nomem(err);
        runs->v = more;
        runs->cap = cap;
    }
    struct run *r = &runs->v[runs->n];
    *r = (struct run){
        .priority = sqlite3_column_int64(st, 2),
        .seq = sqlite3_column_int64(st, 3),
        .paused = sqlite3_column_int(st, 4),
        .weight = sqlite3_column_int64(st, 5),
        .pass = sqlite3_column_int64(st, 6),
        .need = sqlite3_column_int64(st, 7),
        .connections = sqlite3_column_int64(st, 8),
        .interval = sqlite3_column_int64(st, 9),
        .next_at = sqlite3_column_int64(st, 10),
        .held_until = sqlite3_column_int64(st, 11),
        .busy = sqlite3_column_int64(st, 12) + is_listed(sqlite3_column_int64(st, 13)),
    };
    if (r->need == 0)
        r->need = NEED_UNKNOWN;
    bool ok = column_dup(st, 0, &r->pipeline) && column_dup(st, 1, &r->remote);
    runs->n++;
    if (!ok)
        return err_nomem(err);
    return sqlite3_column_int(st, 14) ? read_hold(q, r, err) : 0;
}

static int spool_taken(struct queue *q, int64_t *bytes, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SPOOL_TAKEN);
    int rc = db_step(st, err);
    *bytes = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int runs_read(struct queue *q, struct runs *runs, struct err *err)
{
    const char *pipeline = "", *remote = "";
    runs->spool = *queue_spool(q);
    if (runs->spool.quota && spool_taken(q, &runs->taken, err) < 0)
        return -1;
    for (;;) {
        sqlite3_stmt *st = queue_stmt(q, SQL_RUN_NEXT);
        db_bind(st, ":pipeline", pipeline);
        db_bind(st, ":remote", remote);
        int rc = db_step(st, err);
        if (rc == 1 && run_add(q, runs, st, err) < 0)
            rc = -1;
        sqlite3_reset(st);
        if (rc <= 0)
            return rc;
        pipeline = runs->v[runs->n - 1].pipeline;
        remote = runs->v[runs->n - 1].remote;
    }
}

enum gate gate_of(const struct runs *runs, const struct run *r, int64_t now, int64_t *opens)
{
    *opens = 0;
    if (r->paused)
        return GATE_PAUSED;
    if (r->held_until > now) {
        *opens = r->held_until;
        return GATE_HELD;
    }
    if (r->enrich_until > now) {
        *opens = r->enrich_until;
        return GATE_ENRICH;
    }
    if (r->connections && r->busy >= r->connections)
        return GATE_CONNECTIONS;
    if (r->interval && r->next_at > now) {
        *opens = r->next_at;
        return GATE_INTERVAL;
    }
    if (runs->spool.free < runs->spool.keep)
        return GATE_DISK;
    /* one job always may, however great it is */
    if (runs->spool.quota && runs->taken && runs->taken + r->need > runs->spool.quota)
        return GATE_SPOOL;
    return GATE_OPEN;
}

static bool is_open(const struct runs *runs, const struct run *r, int64_t now)
{
    int64_t opens;
    return !r->empty && gate_of(runs, r, now, &opens) == GATE_OPEN;
}

/* The pass of its pipeline, as if it had not been away for long. */
static int64_t turn(const struct run *r, int64_t latest)
{
    return r->pass > latest - PASS_LAG ? r->pass : latest - PASS_LAG;
}

static bool goes_before(const struct run *a, const struct run *b, int64_t latest)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    int64_t ours = turn(a, latest), theirs = turn(b, latest);
    return ours != theirs ? ours < theirs : a->seq < b->seq;
}

/* The latest pass of the pipelines that may go; how many runs those are; and whether they are of
 * several pipelines. */
static int64_t latest_pass(struct runs *runs, int64_t now, int *open)
{
    const struct run *first = NULL;
    int64_t latest = INT64_MIN + PASS_LAG;
    *open = 0;
    for (int i = 0; i < runs->n; i++) {
        const struct run *r = &runs->v[i];
        if (!is_open(runs, r, now))
            continue;
        ++*open;
        if (r->pass > latest)
            latest = r->pass;
        if (!first)
            first = r;
        runs->compete |= strcmp(first->pipeline, r->pipeline) != 0;
    }
    return latest;
}

struct run *runs_choose(struct runs *runs, int64_t now, int64_t *most)
{
    struct run *best = NULL;
    int open;
    int64_t latest = latest_pass(runs, now, &open);
    for (int i = 0; i < runs->n; i++)
        if (is_open(runs, &runs->v[i], now) && (!best || goes_before(&runs->v[i], best, latest)))
            best = &runs->v[i];
    if (!best)
        return NULL;
    best->pass = turn(best, latest);
    *most = open > 1 || best->connections || best->interval || best->enrich_until || runs->spool.quota ? 1 : INT64_MAX;
    return best;
}

void runs_took(struct runs *runs, struct run *r, int64_t requests, int64_t now)
{
    int64_t pass = r->pass + PASS_STRIDE / r->weight;
    int64_t next_at = (r->next_at > now ? r->next_at : now) + r->interval * requests;
    runs->taken += r->need;
    for (int i = 0; i < runs->n; i++) {
        struct run *other = &runs->v[i];
        if (!strcmp(other->pipeline, r->pipeline)) {
            other->pass = pass;
            other->taken = true;
        }
        if (*r->remote && !strcmp(other->remote, r->remote)) {
            other->busy++;
            other->next_at = next_at;
        }
    }
}

int run_probes(struct queue *q, struct runs *runs, const struct run *r, int64_t now, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_PROBE);
    db_bind(st, ":pipeline", (const char *)r->pipeline);
    db_bind(st, ":now", now);
    db_bind(st, ":until", now + PROBE_MS);
    if (db_run(st, err) < 0)
        return -1;
    for (int i = 0; i < runs->n; i++) /* others may ask the same */
        if (runs->v[i].enrich_until)
            runs->v[i].enrich_until = now + PROBE_MS;
    return 0;
}

int run_probed(struct queue *q, const char *pipeline, bool staged, const char *still, int64_t now, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, staged ? SQL_ENRICH_PROBED : SQL_ENRICH_UNPROBED);
    db_bind(st, ":pipeline", pipeline);
    if (!staged) {
        db_bind(st, ":now", now);
        db_bind(st, ":but", still);
    }
    return db_run(st, err);
}

int runs_write(struct queue *q, const struct runs *runs, struct err *err)
{
    const char *last = "";
    for (int i = 0; runs->compete && i < runs->n; i++) {
        const struct run *r = &runs->v[i];
        if (!r->taken || !strcmp(r->pipeline, last))
            continue;
        last = r->pipeline;
        sqlite3_stmt *st = queue_stmt(q, SQL_PIPELINE_PASSED);
        db_bind(st, ":pipeline", last);
        db_bind(st, ":pass", r->pass);
        if (db_run(st, err) < 0)
            return -1;
    }
    return 0;
}

int job_held(struct queue *q, int64_t id, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_HELD);
    db_bind(st, ":job", id);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

/* ---- listings ---- */

/* When the remote may be asked, by its row; 0: now. */
static int64_t remote_opens(sqlite3_stmt *st, int64_t now, char why[REMOTE_WHY])
{
    int64_t connections = sqlite3_column_int64(st, 0), busy = sqlite3_column_int64(st, 5);
    int64_t next_at = sqlite3_column_int64(st, 1) ? sqlite3_column_int64(st, 2) : 0, held_until = sqlite3_column_int64(st, 3);
    if (held_until > now) {
        snprintf(why, REMOTE_WHY, "it asked to be left alone: %s", db_text(st, 4));
        return held_until;
    }
    if (connections && busy >= connections) {
        snprintf(why, REMOTE_WHY, "%lld of %lld jobs that it may have at the same time (connections=) run", (long long)busy,
                 (long long)connections);
        return now + REMOTE_BUSY_MS;
    }
    snprintf(why, REMOTE_WHY, "it is not asked more often than interval= says");
    return next_at > now ? next_at : 0;
}

static int remote_take(struct queue *q, const char *name, int64_t lease_ms, int64_t *opens, char why[REMOTE_WHY], struct err *err)
{
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_READ);
    db_bind(st, ":name", name);
    int rc = db_step(st, err);
    *opens = rc == 1 ? remote_opens(st, now, why) : 0;
    sqlite3_reset(st);
    if (rc <= 0)
        return rc;
    st = queue_stmt(q, SQL_REMOTE_LISTING);
    db_bind(st, ":name", name);
    db_bind(st, ":until", now + lease_ms);
    return db_run(st, err);
}

int remote_list_begin(struct queue *q, const char *name, int64_t lease_ms, int64_t *opens, char why[REMOTE_WHY], struct err *err)
{
    *opens = 0;
    if (queue_begin(q, err) < 0)
        return -1;
    if (remote_take(q, name, lease_ms, opens, why, err) < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_LATER, err);
}

static int remote_give(struct queue *q, const char *name, int64_t requests, const struct err *failed, struct err *err)
{
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_LISTING);
    db_bind(st, ":name", name);
    db_bind(st, ":until", 0);
    if (db_run(st, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_REMOTE_ASKED);
    db_bind(st, ":remote", name);
    db_bind(st, ":now", now);
    db_bind(st, ":requests", requests);
    if (db_run(st, err) < 0 || failed->retry_after_ms <= 0)
        return failed->retry_after_ms > 0 ? -1 : 0;
    st = queue_stmt(q, SQL_REMOTE_HOLD_NAMED);
    db_bind(st, ":name", name);
    db_bind(st, ":until", now + (int64_t)failed->retry_after_ms);
    db_bind(st, ":why", (const char *)failed->msg);
    return db_run(st, err);
}

int remote_list_end(struct queue *q, const char *name, int64_t requests, const struct err *failed, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (remote_give(q, name, requests, failed, err) < 0) {
        queue_rollback(q);
        return err_in(err, "remote '%s'", name);
    }
    queue_ring(q, BELL_READY, 1); /* a job may have its connection again */
    return queue_commit(q, QUEUE_LATER, err);
}

int remote_held(struct queue *q, const char *name, int64_t *until, char why[REMOTE_WHY], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_READ);
    db_bind(st, ":name", name);
    int rc = db_step(st, err);
    *until = rc == 1 ? sqlite3_column_int64(st, 3) : 0;
    if (rc == 1)
        snprintf(why, REMOTE_WHY, "%s", db_text(st, 4));
    sqlite3_reset(st);
    return rc < 0 ? -1 : *until > sys_now_ms();
}

/* Rows that were held; -1. */
static int release_remote(struct queue *q, const char *name, struct err *err)
{
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_RELEASE);
    db_bind(st, ":name", name);
    db_bind(st, ":now", now);
    if (db_run(st, err) < 0)
        return -1;
    int held = sqlite3_changes(queue_db(q));
    st = queue_stmt(q, SQL_SCAN_HOLD_VOID);
    db_bind(st, ":now", now);
    return held && db_run(st, err) < 0 ? -1 : held;
}

static int release_enrich(struct queue *q, const char *name, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_RELEASE);
    db_bind(st, ":enrich", name);
    db_bind(st, ":now", sys_now_ms());
    return db_run(st, err) < 0 ? -1 : sqlite3_changes(queue_db(q));
}

static int release(struct queue *q, int (*how)(struct queue *q, const char *name, struct err *err), const char *name, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    int held = how(q, name, err);
    if (held < 0) {
        queue_rollback(q);
        return err_in(err, "'%s'", name);
    }
    if (queue_commit(q, QUEUE_NOW, err) < 0)
        return -1;
    queue_ring(q, BELL_READY, INT_MAX);
    return held;
}

int remote_release(struct queue *q, const char *name, struct err *err) { return release(q, release_remote, name, err); }
int enrich_release(struct queue *q, const char *name, struct err *err) { return release(q, release_enrich, name, err); }

/* ---- limits of the ini ---- */

struct limits {
    const struct remote_limits *remotes;
    int nremotes;
    const struct pipeline_weight *weights;
    int nweights;
};

static bool limited(const struct remote_limits *r)
{
    return r->connections || r->interval_ms;
}

static bool has_remote(const struct limits *l, const struct remote_limits *row)
{
    for (int i = 0; i < l->nremotes; i++)
        if (!strcmp(l->remotes[i].name, row->name))
            return l->remotes[i].connections == row->connections &&
                   l->remotes[i].interval_ms == row->interval_ms;
    return false;
}

static bool has_weight(const struct limits *l, const char *name, int64_t weight)
{
    for (int i = 0; i < l->nweights; i++)
        if (!strcmp(l->weights[i].name, name))
            return l->weights[i].weight == weight;
    return false;
}

/* How many limits there are and have to be, and how many of them are the same. */
struct compared {
    int are, must, same;
};

static int compare_remotes(struct queue *q, const struct limits *l, struct compared *c, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_LIST);
    int rc;
    for (int i = 0; i < l->nremotes; i++)
        c->must += limited(&l->remotes[i]);
    while ((rc = db_step(st, err)) == 1) {
        struct remote_limits row = { db_text(st, 0), sqlite3_column_int64(st, 1),
                                     sqlite3_column_int64(st, 2) };
        c->are += limited(&row);
        c->same += limited(&row) && has_remote(l, &row);
    }
    return rc;
}

static int compare_weights(struct queue *q, const struct limits *l, struct compared *c, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_WEIGHT_LIST);
    int rc;
    for (int i = 0; i < l->nweights; i++)
        c->must += l->weights[i].weight != 1;
    while ((rc = db_step(st, err)) == 1) {
        c->are++;
        c->same += has_weight(l, db_text(st, 0), sqlite3_column_int64(st, 1));
    }
    return rc;
}

static int limits_write(struct queue *q, const struct limits *l, struct err *err)
{
    if (db_run(queue_stmt(q, SQL_REMOTE_LIMITS_FORGET), err) < 0 ||
        db_run(queue_stmt(q, SQL_WEIGHT_FORGET), err) < 0)
        return -1;
    for (int i = 0; i < l->nremotes; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_SET);
        db_bind(st, ":name", l->remotes[i].name);
        db_bind(st, ":connections", l->remotes[i].connections);
        db_bind(st, ":interval", l->remotes[i].interval_ms);
        if (limited(&l->remotes[i]) && db_run(st, err) < 0)
            return -1;
    }
    for (int i = 0; i < l->nweights; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_WEIGHT_SET);
        db_bind(st, ":name", l->weights[i].name);
        db_bind(st, ":weight", l->weights[i].weight);
        if (l->weights[i].weight != 1 && db_run(st, err) < 0)
            return -1;
    }
    sqlite3_stmt *sweep = queue_stmt(q, SQL_REMOTE_SWEEP);
    db_bind(sweep, ":now", sys_now_ms());
    return db_run(sweep, err);
}

int job_limits_set(struct queue *q, const struct remote_limits *remotes, int nremotes,
                   const struct pipeline_weight *weights, int nweights, struct err *err)
{
    struct limits l = { remotes, nremotes, weights, nweights };
    struct compared c = { 0 };
    if (compare_remotes(q, &l, &c, err) < 0 || compare_weights(q, &l, &c, err) < 0)
        return -1;
    if (c.are == c.must && c.same == c.must)
        return 0;
    if (queue_begin(q, err) < 0)
        return -1;
    if (limits_write(q, &l, err) < 0) {
        queue_rollback(q);
        return err_in(err, "limits of remotes and pipelines");
    }
    if (queue_commit(q, QUEUE_LATER, err) < 0)
        return -1;
    queue_ring(q, BELL_READY, INT_MAX);
    return 0;
}

/* ---- what pipelines ask ---- */

static int enriched_is(struct queue *q, const char *list, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICHED_SAME);
    db_bind(st, ":list", list);
    int rc = db_step(st, err);
    int same = rc == 1 ? sqlite3_column_int(st, 0) : -1;
    sqlite3_reset(st);
    return same;
}

static int enriched_write(struct queue *q, const char *list, struct err *err)
{
    sqlite3_stmt *hold = queue_stmt(q, SQL_ENRICH_HOLD_VOID), *put = queue_stmt(q, SQL_ENRICHED_PUT);
    db_bind(hold, ":list", list);
    db_bind(put, ":list", list);
    return db_run(hold, err) < 0 || db_run(queue_stmt(q, SQL_ENRICHED_FORGET), err) < 0 ? -1 : db_run(put, err);
}

static void enriched_print(const struct enriched *v, int n, struct buf *out)
{
    struct json_out o;
    char rule[24];
    json_start(&o, out);
    json_array(&o);
    for (int i = 0; i < n; i++) {
        snprintf(rule, sizeof rule, "%016llx", (unsigned long long)v[i].rule);
        json_array(&o);
        json_text(&o, str_of(v[i].pipeline));
        json_text(&o, str_of(v[i].enrich));
        json_text(&o, str_of(rule));
        json_array_end(&o);
    }
    json_array_end(&o);
}

int job_enriched_set(struct queue *q, const struct enriched *v, int n, struct err *err)
{
    AUTO(buf_clear) struct buf list = { 0 };
    enriched_print(v, n, &list);
    if (list.failed)
        return err_nomem(err);
    int same = enriched_is(q, list.p, err);
    if (same)
        return same < 0 ? -1 : 0;
    if (queue_begin(q, err) < 0)
        return -1;
    if (enriched_write(q, list.p, err) < 0) {
        queue_rollback(q);
        return err_in(err, "what pipelines ask");
    }
    if (queue_commit(q, QUEUE_LATER, err) < 0)
        return -1;
    queue_ring(q, BELL_READY, INT_MAX);
    return 0;
}
