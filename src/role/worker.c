/* One job slot: claim ▸ fetch into the reader child ▸ publish ▸ record. See worker.h. */
#include "role/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/fetch.h"
#include "io/spool.h"
#include "queue/job.h"
#include "queue/queue.h"
#include "queue/registry.h"
#include "read/unpack.h"
#include "role/outputs.h"
#include "role/reader.h"
#include "source/source.h"

enum {
    CLAIM_MAX = 64,
    OBJECTS_MAX = 10000,
    HEAD_BYTES = 512,              /* enough to know a format that must seek */
    MEMORY_OBJECT = 8 * 1024 * 1024, /* seekable objects up to this size stay in memory */
    REPORT_AFTER_MS = 100,         /* when a job takes longer, the others of its claim are reported or handed back */
    STILL_OURS_MS = 1000,
    SHORT_JOB_MS = 20,             /* jobs shorter than this are claimed several at once */
};

/* A claimed job until its outcome is in the queue; lease.id is 0 when there is none in this place. */
struct done {
    struct lease lease;
    bool worked;
    struct reader_result result;
    struct job_object *objects;
    int nobjects;
};

struct worker {
    struct role role;
    const struct config *config;
    struct reader_child *reader;
    struct spool spool;
    struct queue *queue;
    struct fetch *fetch;
    int64_t id; /* in the registry */
    struct done done[CLAIM_MAX];
    struct finish finishes[CLAIM_MAX];
    int ndone;
    int64_t beat_mono_ms, chores_mono_ms, next_due;
    int64_t job_ms; /* moving average of a job's time */
};

/* ---- one job ---- */

/* How the object in hand travels to the reader. */
enum transport { NOT_YET, STREAM, IN_MEMORY, IN_SPOOL };

struct work {
    struct worker *w;
    struct done *done;
    const struct pipeline *pipeline;
    const char *stage;   /* what we are at, for the error log */
    bool infer;
    struct reader_result *result;
    bool has_result;
    int64_t renew_mono_ms, look_mono_ms, settle_mono_ms;
    /* the object in hand */
    const char *uri;
    int number;
    enum transport transport;
    struct fetch_head head;
    char first[HEAD_BYTES];
    size_t nfirst;
    int fd; /* IN_MEMORY or IN_SPOOL */
    int64_t written;
};

static int settle(struct worker *w, const struct done *except, struct lease *leases, int max, struct err *err);

/* The lease holds, nobody cancelled, no shutdown: go on. Serves the reader too. */
static int work_tick(struct work *k, struct err *err)
{
    struct worker *w = k->w;
    struct lease *l = &k->done->lease;
    int64_t now = sys_mono_ms();
    role_alive(&w->role);
    if (role_grace(&w->role) == 0)
        return err_set(err, ERR_SHUTDOWN, "the worker was told to stop");
    if (l->id && now >= k->renew_mono_ms) {
        int rc = job_renew(w->queue, l, sys_now_ms() + w->config->lease_ms, err);
        if (rc == 0)
            return err_set(err, ERR_LEASE_LOST, "the lease of job %" PRId64 " was lost", l->id);
        if (rc > 0)
            k->renew_mono_ms = now + w->config->lease_ms / 3;
        else if (now > k->renew_mono_ms + w->config->lease_ms / 3)
            return -1; /* the database has been away for too long: the lease may be gone */
    }
    if (l->id && now >= k->look_mono_ms) {
        k->look_mono_ms = now + STILL_OURS_MS;
        if (job_still_ours(w->queue, l, err) == 0)
            return err_set(err, ERR_LEASE_LOST, "job %" PRId64 " was cancelled or taken over", l->id);
    }
    if (k->settle_mono_ms && now >= k->settle_mono_ms) {
        if (settle(w, k->done, NULL, 0, err) < 0)
            return -1;
        k->settle_mono_ms = 0;
    }
    if (!k->has_result) {
        int rc = reader_tick(w->reader, k->result, err);
        if (rc < 0)
            return -1;
        k->has_result = rc == 1;
    }
    return 0;
}

/* The result came while the object was still being fed: only a failure does that, or an inference that has seen enough. */
static int result_early(const struct work *k, struct err *err)
{
    if (k->result->rc < 0)
        *err = k->result->err;
    else
        err_set(err, ERR_CANCELLED, "the reader needs no more bytes");
    return -1;
}

static int sink_tick(void *arg, struct err *err)
{
    struct work *k = arg;
    if (work_tick(k, err) < 0)
        return -1;
    return k->has_result ? result_early(k, err) : 0;
}

static int sink_head(void *arg, const struct fetch_head *head, struct err *err)
{
    struct work *k = arg;
    k->head = *head;
    if (k->transport != IN_SPOOL)
        return 0; /* decided by the first bytes */
    struct spool_object o = { .fd = k->fd, .have = head->offset, .size = head->size };
    snprintf(o.etag, sizeof o.etag, "%s", head->etag);
    snprintf(o.modified, sizeof o.modified, "%s", head->modified);
    k->written = head->offset;
    return spool_object_meta(&k->w->spool, k->done->lease.uid, k->number, k->uri, &o, err);
}

/* Keep the object in the spool, from byte `have` on; the reader follows behind. */
static int to_spool(struct work *k, struct spool_object *o, bool follow, struct err *err)
{
    struct worker *w = k->w;
    k->transport = IN_SPOOL;
    k->fd = o->fd;
    k->written = o->have;
    if (follow && reader_object_file(w->reader, k->uri, k->fd, k->head.size, false, err) < 0)
        return -1;
    return 0;
}

static int choose_transport(struct work *k, struct err *err)
{
    struct worker *w = k->w;
    bool seeks = unpack_wants_seek(k->first, k->nfirst);
    bool big = k->head.size > w->config->limits.big_object || w->config->limits.big_object == 0;
    if (seeks && k->head.size >= 0 && k->head.size <= MEMORY_OBJECT) {
        k->transport = IN_MEMORY;
        k->fd = memfd_create("object", MFD_CLOEXEC);
        return k->fd < 0 ? err_sys(err, "make a memory file") : 0;
    }
    if (!seeks && !big) {
        k->transport = STREAM;
        return reader_object_stream(w->reader, k->uri, k->head.size, err);
    }
    struct spool_object o;
    if (spool_object_open(&w->spool, k->done->lease.uid, k->number, k->uri, &o, err) < 0)
        return -1;
    if (to_spool(k, &o, !seeks, err) < 0)
        return -1;
    return sink_head(k, &k->head, err);
}

static ssize_t put_bytes(struct work *k, const void *p, size_t n, struct err *err)
{
    if (k->transport == STREAM)
        return reader_write(k->w->reader, p, n, err);
    const char *at = p;
    for (size_t left = n; left;) {
        ssize_t r = pwrite(k->fd, at, left, k->written);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_sys(err, "write the fetched object to the spool");
        at += r;
        left -= (size_t)r;
        k->written += r;
    }
    if (k->transport == IN_SPOOL)
        reader_file_grew(k->w->reader, k->written);
    return (ssize_t)n;
}

/* The first bytes are collected until they can be judged; then they go first. 1 all went, 0 no room yet, -1 error. */
static int put_first(struct work *k, struct err *err)
{
    if (k->transport == NOT_YET && choose_transport(k, err) < 0)
        return -1;
    if (k->nfirst == 0)
        return 1;
    ssize_t r = put_bytes(k, k->first, k->nfirst, err);
    if (r <= 0)
        return (int)r;
    k->nfirst = 0;
    return 1;
}

static ssize_t sink_write(void *arg, const void *p, size_t n, struct err *err)
{
    struct work *k = arg;
    if (k->has_result)
        return result_early(k, err);
    if (k->transport == NOT_YET && k->nfirst + n < HEAD_BYTES) {
        memcpy(k->first + k->nfirst, p, n);
        k->nfirst += n;
        return (ssize_t)n;
    }
    if (k->transport == NOT_YET && k->nfirst == 0) { /* the usual case: one chunk says it all, and is not copied */
        size_t look = n < HEAD_BYTES ? n : HEAD_BYTES;
        memcpy(k->first, p, look);
        k->nfirst = look;
        if (choose_transport(k, err) < 0)
            return -1;
        k->nfirst = 0;
    } else if (k->transport == NOT_YET || k->nfirst) {
        int rc = put_first(k, err);
        if (rc <= 0)
            return rc;
    }
    return put_bytes(k, p, n, err);
}

static int wait_room(struct work *k, struct err *err)
{
    struct pollfd fds[2];
    reader_pollfds(k->w->reader, fds);
    (void)poll(fds, 2, 100);
    return sink_tick(k, err);
}

static void object_note(struct work *k, int64_t size, const char *etag, const char *modified)
{
    struct job_object *o = &k->done->objects[k->done->nobjects++];
    o->uri = k->uri;
    o->size = size;
    o->etag = *etag ? strdup(etag) : NULL;
    o->modified = *modified ? strdup(modified) : NULL;
}

static int local_object(struct work *k, struct err *err)
{
    int64_t size, mtime;
    AUTO(fd_closep) int fd = -1;
    if (source_open_local(k->uri, &fd, &size, &mtime, err) < 0 ||
        reader_object_file(k->w->reader, k->uri, fd, size, true, err) < 0 ||
        reader_object_end(k->w->reader, err) < 0)
        return -1;
    char when[32];
    text_put_rfc3339(when, mtime);
    object_note(k, size, "", when);
    return 0;
}

/* An object that an earlier attempt left in the spool: go on from there. 1 there is one. */
static int resume_point(struct work *k, struct fetch_head *resume, struct err *err)
{
    const struct lease *l = &k->done->lease;
    if (k->infer || (l->attempt <= 1 && l->crashes == 0))
        return 0;
    struct spool_object o;
    if (spool_object_open(&k->w->spool, l->uid, k->number, k->uri, &o, err) < 0)
        return -1;
    if (o.have == 0 || (!*o.etag && !*o.modified)) {
        close(o.fd);
        return 0;
    }
    /* of a whole one the last byte is fetched again: the answer says whether it is still the same version */
    *resume = (struct fetch_head){ .size = o.size, .offset = o.have == o.size ? o.have - 1 : o.have };
    snprintf(resume->etag, sizeof resume->etag, "%s", o.etag);
    snprintf(resume->modified, sizeof resume->modified, "%s", o.modified);
    char first[HEAD_BYTES];
    ssize_t n = pread(o.fd, first, sizeof first, 0);
    k->head = *resume;
    o.have = resume->offset;
    return to_spool(k, &o, n > 0 && !unpack_wants_seek(first, (size_t)n), err) < 0 ? -1 : 1;
}

/* All bytes are here: hand over what the reader did not follow. */
static int object_whole(struct work *k, struct err *err)
{
    struct worker *w = k->w;
    for (int rc = 0; k->transport == NOT_YET || k->nfirst;) {
        if ((rc = put_first(k, err)) < 0 || (rc == 0 && wait_room(k, err) < 0))
            return -1;
    }
    if (k->transport != STREAM) {
        char first[HEAD_BYTES];
        ssize_t n = pread(k->fd, first, sizeof first, 0);
        bool followed = k->transport == IN_SPOOL && !unpack_wants_seek(first, n > 0 ? (size_t)n : 0);
        if (!followed && reader_object_file(w->reader, k->uri, k->fd, k->written, true, err) < 0)
            return -1;
    }
    return reader_object_end(w->reader, err);
}

static int fetched_object(struct work *k, struct err *err)
{
    struct worker *w = k->w;
    struct pollfd fds[2];
    reader_pollfds(w->reader, fds);
    struct fetch_sink sink = { k, sink_head, sink_write, sink_tick, fds, 2 };
    struct fetch_head resume;
    int64_t got = 0;
    int resuming = resume_point(k, &resume, err);
    if (resuming < 0)
        return -1;
    if (fetch_get(w->fetch, k->uri, config_remote(w->config, k->uri), resuming ? &resume : NULL, &sink, &got, err) < 0) {
        if (err->code == ERR_CHANGED || err->code == ERR_LIMIT) {
            struct err ignored; /* the retry starts from nothing either way */
            (void)spool_object_discard(&w->spool, k->done->lease.uid, &ignored);
        }
        return -1;
    }
    object_note(k, k->transport == IN_SPOOL ? k->written : got, k->head.etag, k->head.modified);
    return object_whole(k, err);
}

static int one_object(struct work *k, const char *uri, int number, struct err *err)
{
    enum source_kind kind;
    char shown[300];
    k->uri = uri;
    k->number = number;
    k->transport = NOT_YET;
    k->head = (struct fetch_head){ .size = -1 };
    k->nfirst = 0;
    k->fd = -1;
    k->written = 0;
    k->stage = "fetch";
    if (source_kind(uri, &kind, err) < 0)
        return -1;
    int rc = kind == SOURCE_LOCAL ? local_object(k, err) : fetched_object(k, err);
    if (k->fd >= 0)
        close(k->fd);
    if (rc < 0 && !k->has_result) {
        fetch_redact(uri, shown, sizeof shown);
        return strstr(err->msg, shown) ? -1 : err_in(err, "%s", shown);
    }
    return rc;
}

/* Wait for the reader's last word. */
static int await_result(struct work *k, struct err *err)
{
    k->stage = "read";
    while (!k->has_result) {
        struct pollfd fds[2];
        reader_pollfds(k->w->reader, fds);
        if (work_tick(k, err) < 0)
            return -1;
        if (!k->has_result)
            (void)poll(fds, 2, 100);
    }
    if (k->result->rc < 0) {
        *err = k->result->err;
        return -1;
    }
    return 0;
}

static int run_reader(struct work *k, char **uris, int n, const char *const *columns, struct err *err)
{
    struct worker *w = k->w;
    k->has_result = false;
    k->done->nobjects = 0;
    reader_result_clear(k->result);
    if (!reader_alive(w->reader)) {
        reader_free(w->reader);
        w->reader = NULL;
        if (reader_spawn(&w->reader, w->config, err) < 0)
            return -1;
    }
    if (reader_begin(w->reader, k->pipeline, columns, &w->spool, k->done->lease.uid, k->infer, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; i < n && rc == 0 && !k->has_result; i++)
        rc = one_object(k, uris[i], i, err);
    if (rc == 0 && !k->has_result)
        rc = reader_end(w->reader, err);
    if (rc == 0 || (k->has_result && k->result->rc == 0))
        rc = await_result(k, err);
    else if (k->has_result)
        k->stage = "read";
    if (rc < 0 && !k->has_result) {
        struct err ignored; /* the first error is the one to tell */
        (void)reader_abort(w->reader, &ignored);
    }
    return rc;
}

/* The columns of parts that give none: those of the queue, or found out now from the whole first member and kept. */
static int job_columns(struct work *k, char **uris, int n, char **columns, struct err *err)
{
    struct queue *q = k->w->queue;
    bool missing = false;
    for (int i = 0; i < k->pipeline->nparts; i++) {
        const struct recipe *r = &k->pipeline->parts[i];
        if (r->columns.n)
            continue;
        int rc = job_columns_get(q, r->name, &columns[i], err);
        if (rc < 0)
            return -1;
        missing |= rc == 0;
    }
    if (!missing)
        return 0;
    k->infer = true;
    int rc = run_reader(k, uris, n ? 1 : 0, NULL, err);
    k->infer = false;
    for (int i = 0; i < k->pipeline->nparts && rc == 0; i++) {
        const struct recipe *r = &k->pipeline->parts[i];
        if (r->columns.n || columns[i])
            continue;
        if (!k->result->inferred[i])
            return err_set(err, ERR_INFER, "the first object has no member for '%s' to take columns from", r->name);
        log_event(LOG_INFO, "columns inferred", "pipeline", r->name, "from",
                  r->infer == INFER_SAMPLE ? "a sample of the first member" : "the whole first member", "columns",
                  k->result->inferred[i], NULL);
        if ((rc = job_columns_set(q, r->name, k->result->inferred[i], uris[0], err)) == 0 &&
            (rc = job_columns_get(q, r->name, &columns[i], err)) == 1)
            rc = 0;
    }
    return rc;
}

static int publish(struct work *k, const char *const *columns, struct err *err)
{
    struct reader_result *r = k->result;
    struct spool_file files[PIPELINE_PARTS_MAX + 1];
    int n = 0;
    k->stage = "stage";
    for (int i = 0; i < r->noutputs; i++) {
        if (r->outputs[i].in_file)
            files[n++] = (struct spool_file){ r->outputs[i].number, -1, r->outputs[i].ext };
        if (r->outputs[i].kind == OUTPUT_ROWS &&
            output_spec_set(&r->outputs[i], &k->pipeline->parts[r->outputs[i].number],
                            columns[r->outputs[i].number], err) < 0)
            return -1;
    }
    return n ? spool_publish(&k->w->spool, k->done->lease.uid, files, n, err) : 0;
}

/* The job's URIs: as submitted, or the pipeline's source with the parameters put in. */
static int job_uris(const struct lease *l, const struct pipeline *p, struct arena *arena, char ***uris, int *n,
                    struct err *err)
{
    *n = 0;
    if (!(*uris = arena_alloc(arena, OBJECTS_MAX * sizeof **uris)))
        return err_nomem(err);
    struct json_value list, item;
    struct json_fault fault;
    struct str key, text;
    if (l->objects && *l->objects) {
        if (!json_check(str_of(l->objects), &list, &fault) || list.kind != JSON_ARRAY)
            return err_set(err, ERR_INTERNAL, "the job's objects are not a JSON array");
        for (size_t at = 0; json_next(&list, &at, &key, &item);) {
            if (*n == OBJECTS_MAX)
                return err_set(err, ERR_LIMIT, "more than %d objects in one job", OBJECTS_MAX);
            if (item.kind != JSON_TEXT || !json_unescape(&item, arena, &text) ||
                !((*uris)[(*n)++] = arena_dup(arena, text)))
                return err_set(err, ERR_INTERNAL, "an object of the job is not a text");
        }
    }
    if (*n)
        return 0;
    if (!p->source)
        return err_set(err, ERR_CONFIG, "the job names no object and pipeline '%s' has no source", p->name);
    AUTO(buf_clear) struct buf uri = { 0 };
    if (source_expand(p->source, str_of(l->params && *l->params ? l->params : "{}"), &uri, err) < 0)
        return err_in(err, "source of pipeline '%s'", p->name);
    if (!((*uris)[(*n)++] = arena_dup(arena, buf_str(&uri))))
        return err_nomem(err);
    return 0;
}

/* A local file that was written to while we read it is not trusted. */
static int objects_unchanged(const struct work *k, struct err *err)
{
    for (int i = 0; i < k->done->nobjects; i++) {
        const struct job_object *o = &k->done->objects[i];
        enum source_kind kind;
        int64_t size, mtime;
        AUTO(fd_closep) int fd = -1;
        if (source_kind(o->uri, &kind, err) < 0)
            return -1;
        if (kind != SOURCE_LOCAL)
            continue;
        if (source_open_local(o->uri, &fd, &size, &mtime, err) < 0)
            return -1;
        char when[32];
        text_put_rfc3339(when, mtime);
        if (size != o->size || strcmp(when, o->modified))
            return err_set(err, ERR_CHANGED, "%s: the file was written to while it was read", o->uri);
    }
    return 0;
}

static int work_job(struct work *k, struct arena *arena, struct err *err)
{
    const struct lease *l = &k->done->lease;
    char **uris, *columns[PIPELINE_PARTS_MAX] = { 0 };
    int n, rc;
    k->stage = "config";
    if (!(k->pipeline = config_pipeline(k->w->config, l->pipeline)))
        return config_no_pipeline(k->w->config, l->pipeline, err);
    if (job_uris(l, k->pipeline, arena, &uris, &n, err) < 0)
        return -1;
    if (!(k->done->objects = calloc((size_t)n, sizeof *k->done->objects)))
        return err_nomem(err);
    rc = job_columns(k, uris, n, columns, err);
    if (rc == 0)
        rc = run_reader(k, uris, n, (const char *const *)columns, err);
    if (rc == 0)
        rc = objects_unchanged(k, err);
    if (rc == 0)
        rc = publish(k, (const char *const *)columns, err);
    /* the URIs must outlive the arena: the finish names them */
    for (int i = 0; i < k->done->nobjects; i++) {
        char shown[2048];
        fetch_redact(k->done->objects[i].uri, shown, sizeof shown);
        k->done->objects[i].uri = strdup(shown);
    }
    for (int i = 0; i < k->pipeline->nparts; i++)
        free(columns[i]);
    return rc;
}

/* ---- outcomes ---- */

static int64_t backoff_ms(const struct pipeline *p, const struct lease *l, const struct err *e)
{
    int64_t ms = p ? p->backoff_ms : 5000, max = p ? p->backoff_max_ms : 3600000;
    for (int64_t i = 1; i < l->attempt && ms < max; i++)
        ms *= 2;
    if (ms > max)
        ms = max;
    ms = ms * 3 / 4 + (int64_t)(sys_random() % (uint64_t)(ms / 2 + 1)); /* a quarter up or down */
    return ms > e->retry_after_ms ? ms : e->retry_after_ms;
}

static void finish_fill(struct finish *f, struct done *d, const struct work *k, int rc, const struct err *err)
{
    const struct reader_result *r = &d->result;
    *f = (struct finish){
        .lease = &d->lease,
        .outcome = rc == 0 ? OUT_STAGED : err->code == ERR_SHUTDOWN ? OUT_HANDED_BACK : OUT_FAILED,
        .outputs = rc == 0 ? r->outputs : NULL,
        .noutputs = rc == 0 ? r->noutputs : 0,
        .rows_read = (int64_t)r->counts.read,
        .rows_staged = (int64_t)r->counts.staged,
        .rows_rejected = (int64_t)r->counts.rejected,
        .rows_filtered = (int64_t)r->counts.filtered,
        .bytes_in = (int64_t)r->counts.bytes_in,
        .bytes_out = (int64_t)r->counts.bytes_out,
        .stage = k->stage,
        .peak_rss = r->peak_rss,
        .signal = r->signal,
        .objects = d->objects,
        .nobjects = d->nobjects,
    };
    if (rc < 0) {
        f->err = *err;
        f->backoff_ms = backoff_ms(k->pipeline, &d->lease, err);
    }
}

static void log_outcome(const struct done *d, const struct finish *f, int64_t ms)
{
    if (f->outcome == OUT_STAGED)
        log_event(LOG_INFO, "job staged", "job", d->lease.uid, "pipeline", d->lease.pipeline, "rows",
                  log_num(f->rows_staged), "rejects", log_num(f->rows_rejected), "bytes", log_num(f->bytes_in), "ms",
                  log_num(ms), NULL);
    else if (f->outcome == OUT_HANDED_BACK)
        log_event(LOG_INFO, "job handed back", "job", d->lease.uid, "pipeline", d->lease.pipeline, NULL);
    else
        log_error("job failed", &f->err, "job", d->lease.uid);
}

static void done_clear(struct done *d)
{
    for (int i = 0; i < d->nobjects; i++) {
        free((char *)d->objects[i].uri);
        free((char *)d->objects[i].etag);
        free((char *)d->objects[i].modified);
    }
    free(d->objects);
    reader_result_clear(&d->result);
    job_lease_clear(&d->lease);
    *d = (struct done){ 0 };
}

static void work_one(struct worker *w, int i)
{
    struct done *d = &w->done[i];
    struct err err = { 0 };
    AUTO(arena_clear) struct arena arena = { 0 };
    int64_t started = sys_mono_ms();
    struct work k = {
        .w = w,
        .done = d,
        .stage = "config",
        .result = &d->result,
        .renew_mono_ms = started + w->config->lease_ms / 3,
        .look_mono_ms = started + STILL_OURS_MS,
        .settle_mono_ms = w->ndone > 1 ? started + REPORT_AFTER_MS : 0,
        .fd = -1,
    };
    int rc = work_job(&k, &arena, &err);
    finish_fill(&w->finishes[i], d, &k, rc, &err);
    d->worked = true;
    int64_t ms = sys_mono_ms() - started;
    w->job_ms = (w->job_ms * 7 + ms) / 8;
    log_outcome(d, &w->finishes[i], ms);
    if (sys_fault("worker-after-job"))
        log_event(LOG_WARN, "a fault was injected", "point", "worker-after-job", NULL);
}

/*
 * Write the outcomes of all claimed jobs but `except` (those not begun are handed back), and claim up to max more. Gives the
 * number claimed.
 */
static int settle(struct worker *w, const struct done *except, struct lease *leases, int max, struct err *err)
{
    struct finish list[CLAIM_MAX];
    struct done *of[CLAIM_MAX];
    int n = 0;
    for (int i = 0; i < w->ndone; i++) {
        struct done *d = &w->done[i];
        if (d == except || !d->lease.id)
            continue;
        of[n] = d;
        list[n++] = d->worked ? w->finishes[i] : (struct finish){ .lease = &d->lease, .outcome = OUT_HANDED_BACK };
    }
    if (n == 0 && max == 0)
        return 0;
    int claimed = job_finish_claim(w->queue, list, n, w->id, w->config->lease_ms, w->config->limits.crashes, leases, max, err);
    if (claimed < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        struct err e;
        if (list[i].lost)
            log_event(LOG_WARN, "the lease was lost; the outcome was not recorded", "job", of[i]->lease.uid, NULL);
        else if (list[i].outcome == OUT_STAGED ? spool_object_discard(&w->spool, of[i]->lease.uid, &e) < 0
                                               : spool_discard(&w->spool, of[i]->lease.uid, &e) < 0)
            log_error("a file stays in the spool until the next sweep", &e, "job", of[i]->lease.uid);
        done_clear(of[i]);
    }
    return claimed;
}

/* Chores that any worker does, rarely: sign of life, due jobs, dead workers' jobs. */
static int chores(struct worker *w, struct err *err)
{
    int64_t now = sys_mono_ms(), promoted = 0, rescued = 0;
    role_alive(&w->role);
    if (now >= w->beat_mono_ms) {
        w->beat_mono_ms = now + w->config->heartbeat_ms;
        if (registry_beat(w->queue, w->id, err) < 0 || job_rescue(w->queue, w->config->limits.crashes, &rescued, err) < 0)
            return -1;
        if (rescued)
            log_event(LOG_WARN, "jobs of dead workers taken back", "jobs", log_num(rescued), NULL);
    }
    if (now >= w->chores_mono_ms || (w->next_due && sys_now_ms() >= w->next_due)) {
        w->chores_mono_ms = now + w->config->poll_ms;
        if (job_promote(w->queue, &promoted, &w->next_due, err) < 0)
            return -1;
    }
    return 0;
}

int worker_open(struct worker **out, const struct role *role, struct err *err)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return err_nomem(err);
    w->role = *role;
    w->config = role->config;
    w->job_ms = SHORT_JOB_MS + 1; /* one at a time until we know better */
    w->spool.dirfd = -1;
    if (reader_spawn(&w->reader, w->config, err) < 0 || spool_open(&w->spool, w->config->spool, true, err) < 0 ||
        queue_open(&w->queue, w->config->database, QUEUE_CREATE, err) < 0 ||
        fetch_open(&w->fetch, &w->config->limits, err) < 0 ||
        registry_join(w->queue, "worker", role->name, &w->id, err) < 0) {
        worker_close(w);
        return -1;
    }
    *out = w;
    return 0;
}

int worker_step(struct worker *w, int *did, struct err *err)
{
    struct lease leases[CLAIM_MAX];
    int max = w->job_ms < SHORT_JOB_MS ? (int)w->config->claim_batch : 1;
    if (max > CLAIM_MAX)
        max = CLAIM_MAX;
    *did = 0;
    if (chores(w, err) < 0)
        return -1;
    int n = settle(w, NULL, leases, max, err);
    if (n < 0)
        return -1;
    w->ndone = n;
    for (int i = 0; i < n; i++)
        w->done[i] = (struct done){ .lease = leases[i] };
    for (int i = 0; i < n && role_grace(&w->role) < 0; i++)
        if (w->done[i].lease.id) {
            work_one(w, i);
            ++*did;
        }
    return 0;
}

/* Draining, is there anything left that this process could still do? */
static int work_left(struct worker *w, struct err *err)
{
    struct job_left left;
    if (job_left(w->queue, sys_now_ms() + w->role.drain_wait_ms, &left, err) < 0)
        return -1;
    return left.ready || left.running;
}

int worker_run(const struct role *role, struct err *err)
{
    struct worker *w;
    if (worker_open(&w, role, err) < 0)
        return -1;
    sys_signals_init(queue_bell_word(w->queue, BELL_READY));
    int rc = 0, did;
    while (rc == 0 && role_grace(role) < 0) {
        uint32_t bell = queue_bell(w->queue, BELL_READY);
        (void)sys_fault("worker-loop");
        if ((rc = worker_step(w, &did, err)) < 0 || did)
            continue;
        if (role->drain && (rc = work_left(w, err)) <= 0)
            break;
        rc = 0;
        int64_t wait = w->next_due ? w->next_due - sys_now_ms() : w->config->poll_ms;
        wait = wait < 0 ? 0 : wait > w->config->poll_ms ? w->config->poll_ms : wait;
        queue_sleep(w->queue, BELL_READY, bell, role->drain && wait > 100 ? 100 : wait);
    }
    sys_signals_init(NULL); /* a second signal must not ring a bell that is unmapped */
    worker_close(w);
    return rc < 0 ? -1 : 0;
}

void worker_close(struct worker *w)
{
    struct err err;
    if (!w)
        return;
    if (w->queue && settle(w, NULL, NULL, 0, &err) < 0)
        log_error("outcomes not recorded; the leases will run out", &err, NULL, NULL);
    if (w->id && registry_leave(w->queue, w->id, &err) < 0)
        log_error("the worker could not leave the registry", &err, NULL, NULL);
    for (int i = 0; i < w->ndone; i++)
        done_clear(&w->done[i]);
    fetch_close(w->fetch);
    queue_close(w->queue);
    spool_close(&w->spool);
    reader_free(w->reader);
    free(w);
}

int worker_infer(const struct config *config, const char *name, const char *uri, char **columns, struct err *err)
{
    struct worker w = { .role = { .config = config, .name = "infer" }, .config = config, .spool = { .dirfd = -1 } };
    struct done *d = calloc(1, sizeof *d);
    struct work k = { .w = &w, .done = d, .pipeline = config_pipeline(config, name), .infer = true, .fd = -1 };
    char *uris[] = { (char *)uri };
    int rc = -1;
    if (!d || !(d->objects = calloc(1, sizeof *d->objects))) {
        free(d);
        return err_nomem(err);
    }
    k.result = &d->result;
    sys_uid(d->lease.uid);
    if (reader_spawn(&w.reader, config, err) == 0 && spool_open(&w.spool, config->spool, true, err) == 0 &&
        fetch_open(&w.fetch, &config->limits, err) == 0)
        rc = run_reader(&k, uris, 1, NULL, err);
    if (rc == 0 && !(*columns = d->result.inferred[0]))
        rc = err_set(err, ERR_INFER, "no member to take columns from");
    d->result.inferred[0] = NULL;
    if (d->nobjects)
        d->objects[0].uri = NULL; /* the caller's */
    done_clear(d);
    free(d);
    fetch_close(w.fetch);
    spool_close(&w.spool);
    reader_free(w.reader);
    return rc;
}
