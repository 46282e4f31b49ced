/* The chain of a worker and a loader for one job that nobody has. See rehearsal.h. */
#include "role/rehearsal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/sys.h"
#include "io/fetch.h"
#include "queue/drift.h"
#include "queue/event.h"
#include "queue/queue.h"
#include "role/enrich.h"
#include "role/feed.h"
#include "role/loader.h"
#include "role/outputs.h"
#include "role/submission.h"
#include "target/target.h"

enum {
    TOKEN = 1, /* of the claim that nobody made */
    ADD_TRIES = 3,
};

struct run {
    struct rehearsal *r;
    const struct config *config;
    const struct job_new *job;
    struct reader_child *reader;
    struct fetch *fetch;
    struct enrich *enrich;
    struct arena arena;
    char **uris;
    int nuris;
    struct part_known known[PIPELINE_PARTS_MAX];
    int64_t watermark; /* of the pipeline as it is now */
};

static int tick(void *arg, struct err *err)
{
    (void)arg;
    return sys_stop_requested() ? err_set(err, ERR_SHUTDOWN, "stopped") : 0;
}

static int make_folder(struct rehearsal *r, struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    if (asprintf(&r->folder, "%s/qetl-rehearsal-XXXXXX", tmp && *tmp ? tmp : "/tmp") < 0) {
        r->folder = NULL;
        return err_nomem(err);
    }
    if (!mkdtemp(r->folder)) {
        err_sys(err, "make the folder '%s'", r->folder);
        free(r->folder);
        r->folder = NULL;
        return -1;
    }
    return spool_open(&r->spool, r->folder, true, err);
}

static int feed(struct run *k, bool infer, struct err *err)
{
    struct rehearsal *r = k->r;
    struct feed f = { .config = k->config, .reader = &k->reader, .spool = &r->spool, .fetch = k->fetch, .enrich = k->enrich, .pipeline = r->pipeline,
                      .uid = r->uid, .params = k->job->params.p, .token = TOKEN, .watermark = k->watermark, .sample = true, .attempt = 1, .tick = tick };
    int rc = feed_run(&f, k->uris, infer ? 1 : k->nuris, infer ? NULL : k->known, infer, err);
    if (rc == 0 && !infer)
        rc = feed_unchanged(&f, k->uris, err);
    reader_result_clear(&r->result);
    r->result = f.result;
    f.result = (struct reader_result){ 0 };
    feed_clear(&f);
    return rc;
}

/* What the queue knows of the parts, where there is one. */
static int ask_queue(struct run *k, struct err *err)
{
    const struct pipeline *p = k->r->pipeline;
    struct queue *q;
    if (queue_open(&q, k->config->database, QUEUE_READONLY, err) < 0)
        return err->code == ERR_DATABASE_MISSING ? 0 : -1;
    int rc = 0;
    if (pipeline_has_events(p))
        rc = event_watermark(q, p->name, &k->watermark, err);
    for (int i = 0; i < p->nparts && rc >= 0; i++) {
        const struct recipe *recipe = &p->parts[i];
        rc = recipe->columns.n ? 0 : job_columns_get(q, recipe->name, &k->known[i].columns, err);
        if (rc >= 0)
            rc = job_header_get(q, recipe->name, &k->known[i].header, err);
        if (rc >= 0 && recipe->on_new == ON_NEW_ADD)
            rc = job_added_get(q, recipe->name, &k->known[i].added, err);
    }
    queue_close(q);
    return rc < 0 ? -1 : 0;
}

/* The columns of parts that give none: those that the queue knows, or those of the first object. */
static int columns(struct run *k, struct err *err)
{
    const struct pipeline *p = k->r->pipeline;
    bool missing = false;
    if (ask_queue(k, err) < 0)
        return -1;
    for (int i = 0; i < p->nparts; i++)
        missing |= !p->parts[i].columns.n && !k->known[i].columns;
    if (missing && feed(k, true, err) < 0)
        return -1;
    for (int i = 0; i < p->nparts && missing; i++) {
        if (p->parts[i].columns.n || k->known[i].columns)
            continue;
        k->known[i].columns = k->r->result.inferred[i];
        k->r->result.inferred[i] = NULL;
        if (!k->known[i].columns)
            return err_set(err, ERR_INFER, "the first object has no member for '%s' to take columns from", p->parts[i].name);
    }
    return 0;
}

/* on_new_column = add: those that a run found, behind those that there are. 1: there are some; 0; -1. */
static int add_columns(struct run *k, struct err *err)
{
    int any = 0;
    for (int i = 0; i < k->r->pipeline->nparts; i++) {
        const char *found = k->r->result.found[i].added, *before = k->known[i].added;
        char *all;
        if (!found)
            continue;
        if (asprintf(&all, "%s%s%s", before ? before : "", before ? ", " : "", found) < 0)
            return err_nomem(err);
        free(k->known[i].added);
        k->known[i].added = all;
        any = 1;
    }
    return any;
}

/* Once, and again with columns that are to be added. */
static int read_all(struct run *k, struct err *err)
{
    int rc = feed(k, false, err);
    for (int again = 0; rc < 0 && err->code == ERR_DRIFT && again < ADD_TRIES; again++) {
        struct err why = *err;
        int added = add_columns(k, err);
        if (added <= 0) {
            *err = added < 0 ? *err : why;
            return -1;
        }
        rc = feed(k, false, err);
    }
    return rc;
}

static int publish(struct run *k, struct err *err)
{
    struct reader_result *result = &k->r->result;
    struct spool_file files[PIPELINE_PARTS_MAX + 1];
    int n = 0;
    for (int i = 0; i < result->noutputs; i++) {
        struct output *o = &result->outputs[i];
        o->token = TOKEN;
        if (o->in_file)
            files[n++] = (struct spool_file){ o->number, -1, o->ext };
        if (o->kind != OUTPUT_ROWS)
            continue;
        if (o->number >= k->r->pipeline->nparts)
            return err_set(err, ERR_READER_CRASHED, "the reader made output %d of %d parts", o->number, k->r->pipeline->nparts);
        const struct recipe *recipe = &k->r->pipeline->parts[o->number];
        if (output_spec_set(o, recipe, k->known[recipe->takes_late ? recipe->late_part : o->number].added, err) < 0)
            return -1;
    }
    return n ? spool_publish(&k->r->spool, k->r->uid, TOKEN, files, n, err) : 0;
}

/* ---- the target ---- */

/* A warehouse that is not made yet: an empty one in the folder. */
static int open_empty(struct run *k, const struct target *t, const struct target_config *tc, struct target_config *empty,
                      struct target_conn **conn, struct err *err)
{
    *empty = *tc;
    if (asprintf(&empty->url, "sqlite:%s/warehouse.db", k->r->folder) < 0) {
        empty->url = NULL;
        return err_nomem(err);
    }
    return t->open(conn, k->config, empty, true, err);
}

/* What after_load may know of event time. */
static void watermarks(const struct run *k, struct prepared *p)
{
    const struct pipeline *pipeline = k->r->pipeline;
    int64_t after = k->watermark, greatest = k->r->result.counts.greatest;
    if (!pipeline_has_events(pipeline))
        return;
    if (greatest != EVENT_NONE && greatest - pipeline->parts[0].allowed_lateness_ms * 1000 > after)
        after = greatest - pipeline->parts[0].allowed_lateness_ms * 1000;
    p->job.previous_watermark = loader_time_text(p->previous, k->watermark);
    p->job.watermark = loader_time_text(p->watermark, after);
}

static int load(struct run *k, const struct target *t, struct target_conn *conn, struct err *err)
{
    struct rehearsal *r = k->r;
    struct staged_job job = { .pipeline = r->pipeline->name, .outputs = r->result.outputs, .noutputs = r->result.noutputs };
    struct prepared p;
    memcpy(job.uid, r->uid, sizeof job.uid);
    if (t->rehearse(conn, err) < 0)
        return -1;
    int rc = loader_prepare(&r->spool, &p, &job, err);
    watermarks(k, &p);
    if (rc == 0)
        rc = t->load_job(conn, &p.job, err);
    (void)sys_fault("load-rollback");
    t->rollback(conn);
    r->counts = p.job.counts;
    r->counted = rc == 0;
    loader_prepared_clear(&p);
    return rc;
}

static int ask_target(struct run *k, struct err *err)
{
    struct rehearsal *r = k->r;
    const struct target_config *tc = config_target(k->config, r->pipeline->parts[0].target);
    const struct target *t = target_by_url(tc->url, err);
    struct target_config empty = { 0 };
    struct target_conn *conn;
    if (!t)
        return -1;
    if (!t->rehearse) {
        snprintf(r->why, sizeof r->why, "a target of the kind %s:// has no transaction that could be taken back", t->scheme);
        return 0;
    }
    int rc = t->open(&conn, k->config, tc, false, err);
    if (rc < 0 && err->code == ERR_TARGET && err->sys == ENOENT)
        rc = open_empty(k, t, tc, &empty, &conn, err);
    if (rc == 0) {
        rc = load(k, t, conn, err);
        t->close(conn);
    }
    free(empty.url);
    if (rc < 0 && err_class(err->code) != ERR_TRANSIENT) {
        r->died = *err;
        return 0;
    }
    if (rc < 0 && err->code != ERR_SHUTDOWN) { /* a job would wait for it */
        snprintf(r->why, sizeof r->why, "%s", err->msg);
        return 0;
    }
    return rc;
}

static int run(struct run *k, struct err *err)
{
    struct rehearsal *r = k->r;
    if (reader_spawn(&k->reader, k->config, err) < 0 || make_folder(r, err) < 0 || fetch_open(&k->fetch, &k->config->limits, err) < 0 ||
        enrich_open(&k->enrich, k->config, err) < 0 ||
        submission_uris(k->job->objects.p, k->job->params.p, r->pipeline, false, &k->arena, &k->uris, &k->nuris, err) < 0 ||
        columns(k, err) < 0)
        return -1;
    if (read_all(k, err) < 0) {
        if (err->code != ERR_REJECTS)
            return -1;
        r->died = *err;
        return 0;
    }
    return publish(k, err) < 0 ? -1 : ask_target(k, err);
}

int rehearse(struct rehearsal *r, const struct config *config, const struct job_new *job, struct err *err)
{
    struct run k = { .r = r, .config = config, .job = job, .watermark = EVENT_NONE };
    *r = (struct rehearsal){ .spool = SPOOL_CLOSED };
    sys_uid(r->uid);
    if (!(r->pipeline = config_pipeline(config, job->pipeline)))
        return config_no_pipeline(config, job->pipeline, err);
    int rc = run(&k, err);
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++)
        part_known_clear(&k.known[i]);
    arena_clear(&k.arena);
    reader_free(k.reader); /* asks the others until then */
    enrich_close(k.enrich);
    fetch_close(k.fetch);
    return rc;
}

int rehearsal_rejects(const struct rehearsal *r, const struct output *out, struct err *err)
{
    char path[4096];
    spool_staged_path(&r->spool, r->uid, TOKEN, out->number, out->ext, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_sys(err, "open '%s'", path) : fd;
}

void rehearsal_clear(struct rehearsal *r)
{
    struct err ignored; /* what cannot be removed stays in the folder for what is temporary */
    reader_result_clear(&r->result);
    spool_close(&r->spool);
    if (r->folder)
        (void)sys_remove_tree(AT_FDCWD, r->folder, &ignored);
    free(r->folder);
    r->folder = NULL;
}
