/*
 * Claims and what becomes of their leases: from which run of ready jobs the next one comes is
 * gate.h's business; here its first jobs are read and taken, inside a transaction of
 * job_finish_claim(), or one job in its own; renewed and looked at. If power fails a claim or a
 * renewal may be forgotten; then the job is ready again.
 */
#include "queue/claim.h"

#include <stdlib.h>

#include "base/json.h"
#include "io/db.h"
#include "queue/change.h"
#include "queue/gate.h"

struct claim {
    struct queue *q;
    struct runs runs;
    int64_t worker, now, until;
    struct lease *leases;
    int n, max;
};

void job_lease_clear(struct lease *l)
{
    free(l->pipeline);
    free(l->objects);
    free(l->params);
    *l = (struct lease){ 0 };
}

void claim_forget(struct lease *leases, int n)
{
    for (int i = 0; i < n; i++)
        job_lease_clear(&leases[i]);
}

/* A row of run_jobs or claim_one. */
static int lease_read(struct claim *c, const struct run *r, sqlite3_stmt *st, struct err *err)
{
    struct lease *l = &c->leases[c->n++];
    *l = (struct lease){
        .id = sqlite3_column_int64(st, 0),
        .token = sqlite3_column_int64(st, 2),
        .attempt = sqlite3_column_int64(st, 3),
        .attempts_max = sqlite3_column_int64(st, 4),
        .crashes = sqlite3_column_int64(st, 5),
        .until = c->until,
        .pipeline = strdup(r->pipeline),
    };
    memcpy(l->uid, db_text(st, 1), sizeof l->uid); /* 26 characters: the schema checks it */
    return l->pipeline && column_dup(st, 8, &l->objects) && column_dup(st, 9, &l->params)
               ? 0
               : err_nomem(err);
}

/* The first jobs of a run, and what stands behind them as its first one. */
static int run_jobs(struct claim *c, struct run *r, int want, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(c->q, SQL_RUN_JOBS);
    db_bind(st, ":pipeline", (const char *)r->pipeline);
    db_bind(st, ":remote", (const char *)r->remote);
    db_bind(st, ":max", (int64_t)want + 1);
    int rc;
    while ((rc = db_step(st, err)) == 1 && want-- > 0)
        if (lease_read(c, r, st, err) < 0) {
            rc = -1;
            break;
        }
    r->empty = rc == 0;
    if (rc == 1) {
        r->priority = sqlite3_column_int64(st, 6);
        r->seq = sqlite3_column_int64(st, 7);
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

static int take(struct claim *c, const struct run *r, const struct lease *l, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(c->q, SQL_CLAIM_TAKE);
    db_bind(st, ":id", l->id);
    db_bind(st, ":worker", c->worker);
    db_bind(st, ":until", l->until);
    db_bind(st, ":now", c->now);
    db_bind(st, ":spool", c->runs.spool.quota ? r->need : 0);
    if (db_run(st, err) < 0)
        return err_in(err, "claim job %s", l->uid);
    struct change change = { .state = JOB_READY, .pipeline = l->pipeline };
    change_tally(c->q, &change, JOB_RUNNING, 0);
    return 0;
}

/* How many objects the job asks its remote for. */
static int64_t requests(const struct lease *l)
{
    struct json_value list, item;
    struct json_fault fault;
    struct str key;
    int64_t n = 0;
    if (l->objects && json_check(str_of(l->objects), &list, &fault) && list.kind == JSON_ARRAY)
        for (size_t at = 0; json_next(&list, &at, &key, &item);)
            n++;
    return n > 0 ? n : 1;
}

/* Keep the interval of the job's remote. */
static int ask(struct claim *c, const struct run *r, int64_t n, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(c->q, SQL_REMOTE_ASKED);
    db_bind(st, ":remote", (const char *)r->remote);
    db_bind(st, ":now", c->now);
    db_bind(st, ":requests", n);
    return db_run(st, err);
}

static int take_all(struct claim *c, struct run *r, int from, struct err *err)
{
    for (int i = from; i < c->n; i++) {
        int64_t n = r->interval ? requests(&c->leases[i]) : 1;
        c->leases[i].probes = r->enrich_until != 0;
        if (take(c, r, &c->leases[i], err) < 0 || (r->interval && ask(c, r, n, err) < 0) ||
            (r->enrich_until && run_probes(c->q, &c->runs, r, c->now, err) < 0))
            return -1;
        runs_took(&c->runs, r, n, c->now);
    }
    return 0;
}

static int claim_some(struct claim *c, struct err *err)
{
    struct run *r;
    int64_t most;
    if (runs_read(c->q, &c->runs, err) < 0)
        return -1;
    while (c->n < c->max && (r = runs_choose(&c->runs, c->now, &most))) {
        int from = c->n, left = c->max - c->n;
        if (run_jobs(c, r, most < left ? (int)most : left, err) < 0 ||
            take_all(c, r, from, err) < 0)
            return -1;
    }
    return runs_write(c->q, &c->runs, err);
}

int claim_jobs(struct queue *q, int64_t worker, int64_t now, int64_t until, struct lease *leases,
               int max, struct err *err)
{
    struct claim c = {
        .q = q, .worker = worker, .now = now, .until = until, .leases = leases, .max = max
    };
    int rc = claim_some(&c, err);
    runs_clear(&c.runs);
    if (rc == 0)
        return c.n;
    claim_forget(leases, c.n);
    return -1;
}

/* The run of a job that is ready; r is NULL when it is not, or its gate is closed. */
static int run_of(struct claim *c, int64_t id, struct run **r, struct err *err)
{
    int64_t opens;
    *r = NULL;
    sqlite3_stmt *st = queue_stmt(c->q, SQL_CLAIM_ONE);
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    for (int i = 0; rc == 1 && i < c->runs.n; i++)
        if (!strcmp(c->runs.v[i].pipeline, db_text(st, 10)) &&
            !strcmp(c->runs.v[i].remote, db_text(st, 11)))
            *r = &c->runs.v[i];
    if (*r && gate_of(&c->runs, *r, c->now, &opens) != GATE_OPEN)
        *r = NULL;
    if (*r)
        rc = lease_read(c, *r, st, err);
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int claim_job(struct queue *q, int64_t id, int64_t worker, int64_t now, int64_t until,
              struct lease *lease, struct err *err)
{
    struct claim c = {
        .q = q, .worker = worker, .now = now, .until = until, .leases = lease, .max = 1
    };
    struct run *r;
    int rc = runs_read(q, &c.runs, err);
    if (rc == 0)
        rc = run_of(&c, id, &r, err);
    if (rc == 0 && r)
        rc = take_all(&c, r, 0, err);
    runs_clear(&c.runs);
    if (rc == 0)
        return c.n;
    claim_forget(lease, c.n);
    return -1;
}

int job_claimable(struct queue *q, int64_t *opens, struct err *err)
{
    struct runs runs = { 0 };
    int64_t now = sys_now_ms();
    int rc = runs_read(q, &runs, err), any = 0;
    *opens = 0;
    for (int i = 0; i < runs.n; i++) {
        int64_t at;
        any |= gate_of(&runs, &runs.v[i], now, &at) == GATE_OPEN;
        if (at && (!*opens || at < *opens))
            *opens = at;
    }
    runs_clear(&runs);
    return rc < 0 ? -1 : any;
}

/* ---- a lease in a transaction of its own ---- */

int claim_state(struct queue *q, const struct lease *l, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LEASE_STATE);
    db_bind(st, ":id", l->id);
    db_bind(st, ":token", l->token);
    int rc = db_step(st, err), state = rc == 0 ? LEASE_LOST : sqlite3_column_int(st, 0) ? LEASE_OURS : LEASE_CANCELLED;
    sqlite3_reset(st);
    return rc < 0 ? -1 : state;
}

int job_claim_one(struct queue *q, int64_t id, int64_t worker, int64_t lease_ms,
                  struct lease *lease, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CLAIM_ONE);
    db_bind(st, ":id", id);
    int n = change_any(st, err);
    if (n <= 0)
        return n; /* who waits for it takes no lock */
    if (queue_begin(q, err) < 0)
        return -1;
    int64_t now = sys_now_ms();
    n = claim_job(q, id, worker, now, now + lease_ms, lease, err);
    if (n < 0) {
        queue_rollback(q);
        return -1;
    }
    if (queue_commit(q, QUEUE_LATER, err) < 0) {
        claim_forget(lease, n);
        return -1;
    }
    return n;
}

/* One fenced statement in a transaction of its own: 1 changed, 0 not ours any more, -1. */
int job_renew(struct queue *q, const struct lease *l, int64_t until, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_RENEW);
    db_bind(st, ":until", until);
    db_bind(st, ":id", l->id);
    db_bind(st, ":token", l->token);
    int n = change_run(q, st, err);
    if (n < 0) {
        queue_rollback(q);
        return err_in(err, "renew job %s", l->uid);
    }
    return queue_commit(q, QUEUE_LATER, err) < 0 ? -1 : n;
}

int job_lease_state(struct queue *q, const struct lease *l, struct err *err)
{
    if (sys_fault("queue-lease"))
        return err_sys(err, "look at the lease");
    return claim_state(q, l, err);
}
