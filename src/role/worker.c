/* One job slot: claim ▸ fetch into the reader child ▸ publish ▸ record. See worker.h. */
#include "role/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/fetch.h"
#include "io/spool.h"
#include "queue/job.h"
#include "queue/queue.h"
#include "queue/registry.h"
#include "queue/scan.h"
#include "pipeline/replay.h"
#include "role/attempt.h"
#include "role/feed.h"
#include "role/reader.h"
#include "role/submission.h"
#include "source/source.h"

enum {
    CLAIM_MAX = 64,
    REPORT_AFTER_MS = 100,         /* when a job takes longer, the others of its claim are reported or handed back */
    SETTLE_AGAIN_MS = 1000,
    STILL_OURS_MS = 1000,
    CHORES_MS = 1000,
    DRAIN_POLL_MS = 100,
    DRIFT_LINES = 20,              /* of a job in the log */
    SHORT_JOB_MS = 20,             /* jobs shorter than this are claimed several at once */
};

/* A claimed job until its outcome is in the queue; lease.id is 0 when there is none in this place. */
struct done {
    struct lease lease;
    bool worked;
    struct feed feed; /* what came of it */
    struct job_part parts[PIPELINE_PARTS_MAX];
    int nparts;
    bool first;       /* of a part that had no header before: it differs from columns= only */
    char held_why[300]; /* of finish.hold */
    struct job_event event; /* of a pipeline with event_time: greatest is EVENT_NONE before it is staged */
};

struct worker {
    struct role role;
    const struct config *config;
    struct reader_child *reader;
    struct spool spool;
    struct queue *queue;
    struct fetch *fetch;
    struct enrich *enrich;
    struct archive *archive;
    struct mounted *mounted;
    int64_t id; /* in the registry */
    int64_t only; /* the one job to work on, or 0 */
    struct done done[CLAIM_MAX];
    struct finish finishes[CLAIM_MAX];
    int ndone;
    struct arena arena; /* of the job in hand */
    int64_t beat_mono_ms, chores_mono_ms, promote_mono_ms, next_due;
    int64_t job_ms; /* moving average of a job's time */
    struct queue_spool disk; /* what the queue knows of the spool */
};

/* ---- one job ---- */

struct work {
    struct worker *w;
    struct done *done;
    const char *stage; /* what we are at, for the error log */
    int64_t renew_mono_ms, look_mono_ms, settle_mono_ms;
};

static int settle(struct worker *w, const struct done *except, struct lease *leases, int max, struct err *err);

/* A sign of life for the registry. What keeps it from being written is told by whoever cannot go on without the database. */
static void beat(struct worker *w, int64_t now)
{
    struct err ignored;
    if (now < w->beat_mono_ms)
        return;
    w->beat_mono_ms = now + w->config->heartbeat_ms;
    (void)registry_beat(w->queue, w->id, &ignored);
}

/* Why we have it no more. */
static int not_ours(const struct lease *l, int state, struct err *err)
{
    return state == LEASE_CANCELLED ? err_set(err, ERR_CANCELLED, "job %" PRId64 " was cancelled", l->id)
                                  : err_set(err, ERR_LEASE_LOST, "the lease of job %" PRId64 " was lost", l->id);
}

/* Keep the lease, and learn whether it is still ours. */
static int keep_lease(struct work *k, int64_t now, struct err *err)
{
    struct worker *w = k->w;
    const struct lease *l = &k->done->lease;
    if (now >= k->renew_mono_ms) {
        int rc = job_renew(w->queue, l, sys_now_ms() + w->config->lease_ms, err);
        if (rc > 0)
            k->renew_mono_ms = now + w->config->lease_ms / 3;
        else if (rc == 0)
            k->look_mono_ms = now; /* which says why */
        else if (now > k->renew_mono_ms + w->config->lease_ms / 3)
            return -1; /* the database has been away for too long: the lease may be gone */
    }
    if (now >= k->look_mono_ms) {
        k->look_mono_ms = now + STILL_OURS_MS;
        int state = job_lease_state(w->queue, l, err);
        if (state == LEASE_LOST || state == LEASE_CANCELLED)
            return not_ours(l, state, err);
    }
    return 0;
}

/* The job takes long: its neighbours of the same claim do not wait for it. */
static void let_others_go(struct work *k, int64_t now)
{
    struct err err;
    if (!k->settle_mono_ms || now < k->settle_mono_ms)
        return;
    k->settle_mono_ms = 0;
    if (settle(k->w, k->done, NULL, 0, &err) == 0)
        return;
    log_error("outcomes not recorded yet; trying again", &err, NULL, NULL);
    k->settle_mono_ms = now + SETTLE_AGAIN_MS;
}

/* The lease holds, nobody cancelled, no shutdown: go on. */
static int work_tick(void *arg, struct err *err)
{
    struct work *k = arg;
    struct worker *w = k->w;
    int64_t now = sys_mono_ms();
    role_alive(&w->role);
    if (role_grace(&w->role) == 0)
        return err_set(err, ERR_SHUTDOWN, "the worker was told to stop");
    beat(w, now);
    if (keep_lease(k, now, err) < 0)
        return -1;
    let_others_go(k, now);
    return 0;
}

/* The outputs into their places, if the lease still holds. */
static int publish(struct work *k, struct attempt *a, struct err *err)
{
    const struct lease *l = &k->done->lease;
    struct spool_file files[PIPELINE_PARTS_MAX + 1];
    k->stage = "stage";
    int n = attempt_outputs(a, files, err);
    if (n <= 0)
        return n;
    /* saves the syncs of an overtaken attempt; what keeps its files apart from the next owner's is the token in their folder */
    int state = job_lease_state(k->w->queue, l, err);
    if (state != LEASE_OURS)
        return state < 0 ? -1 : not_ours(l, state, err);
    return spool_publish(&k->w->spool, l->uid, l->token, files, n, err);
}

/* What is kept with the job, and for the next one. */
static void keep_found(struct done *d, const struct part_known *known)
{
    struct feed *f = &d->feed;
    for (int i = 0; i < f->pipeline->nparts; i++) {
        const struct part_found *found = &f->result.found[i];
        bool same = f->rejects || (known[i].header && found->header && !strcmp(known[i].header, found->header));
        d->parts[i] = (struct job_part){ f->pipeline->parts[i].name, same ? NULL : found->header, found->profile };
        d->first |= found->header && !known[i].header && !f->rejects; /* whose headers are those of the first time */
    }
    d->nparts = f->pipeline->nparts;
}

/* ---- the rejects of another job ---- */

struct rejects_source {
    struct worker *w;
    char uid[SYS_UID_LEN + 1];
    struct feed_rejects rejects; /* fd -1: not found */
    struct err *err;
};

static void rejects_source_clear(struct rejects_source *s) { fd_closep(&s->rejects.fd); }

static int rejects_in_memory(struct rejects_source *s, struct str bytes)
{
    int fd = memfd_create("rejects", MFD_CLOEXEC);
    if (fd < 0)
        return err_sys(s->err, "memory for the rejects");
    if (sys_write_all(fd, bytes.p, bytes.n, "the rejects in memory", s->err) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int find_rejects(void *arg, const struct output *o)
{
    struct rejects_source *s = arg;
    if (o->kind != OUTPUT_REJECTS)
        return 0;
    s->rejects.fd = o->in_file ? spool_open_rejects(&s->w->spool, s->uid, s->err) : rejects_in_memory(s, buf_str(&o->inlined));
    s->rejects.size = o->bytes;
    return 1;
}

/* Does the job read the rejects of another one? 1: *s has them, 0, -1. */
static int open_rejects(struct work *k, struct rejects_source *s, struct err *err)
{
    static const char begins[] = "[\"" REPLAY_SCHEME;
    const struct lease *l = &k->done->lease;
    int64_t refused;
    *s = (struct rejects_source){ .w = k->w, .rejects = { .fd = -1 }, .err = err };
    if (!l->objects || strncmp(l->objects, begins, sizeof begins - 1) != 0)
        return 0;
    int rc = job_replay_of(k->w->queue, l->id, &refused, s->uid, err);
    if (rc <= 0)
        return rc; /* somebody wrote such a URI by hand: it is no source */
    err_set(err, ERR_STATE, "job %" PRId64 " has no rejects any more", refused);
    if (job_outputs(k->w->queue, refused, find_rejects, s, err) < 0 || s->rejects.fd < 0)
        return -1;
    k->done->feed.rejects = &s->rejects;
    return 1;
}

/* Objects of the job that are another's by now. */
struct taken {
    char **uris;
    int64_t *jobs;
    int n;
};

/* The versions of the objects that a scan gave the job. */
static int know_listed(struct work *k, char **uris, int n, struct arena *arena, struct err *err)
{
    const struct lease *l = &k->done->lease;
    struct feed *f = &k->done->feed;
    bool manifest = pipeline_is_scanned(f->pipeline) && f->pipeline->source && !strncasecmp(f->pipeline->source, "manifest+", 9);
    struct feed_listed *listed = arena_alloc(arena, ((size_t)n + 1) * sizeof *listed);
    if (!listed)
        return err_nomem(err);
    f->listed = listed;
    for (int i = 0; pipeline_is_scanned(f->pipeline) && i < n; i++) {
        struct scan_listed v;
        int rc = scan_listed(k->w->queue, l->pipeline, l->id, uris[i], &v, err);
        if (rc == 0)
            continue;
        const char *etag = rc == 1 ? arena_dup(arena, str_of(v.etag)) : NULL;
        if (rc == 1)
            free(v.etag);
        if (!etag)
            return rc < 0 ? -1 : err_nomem(err);
        struct feed_listed *one = &listed[f->nlisted++];
        *one = (struct feed_listed){ .uri = uris[i], .version = { v.size, v.mtime_ms, etag }, .whole = v.whole };
        if (manifest) { /* whose times and tags need not be those of the place */
            one->version = (struct list_version){ v.size, 0, "" };
            one->sum = version_sum(etag, &one->sum_kind);
        }
    }
    return 0;
}

/* Those objects of a group that a later job has taken since, behind the others: they are not read. Gives how many are left. */
static int without_taken(struct work *k, char **uris, int n, struct taken *taken, struct arena *arena, struct err *err)
{
    const struct lease *l = &k->done->lease;
    const struct feed *f = &k->done->feed;
    int left = 0;
    if (!pipeline_is_scanned(f->pipeline) || f->nlisted == n)
        return n; /* all are its own */
    if (!(taken->uris = arena_alloc(arena, (size_t)n * sizeof *taken->uris)) || !(taken->jobs = arena_alloc(arena, (size_t)n * sizeof *taken->jobs)))
        return err_nomem(err);
    for (int i = 0; i < n; i++) {
        int64_t other;
        int rc = scan_other(k->w->queue, l->pipeline, l->id, uris[i], &other, err);
        if (rc < 0)
            return -1;
        if (rc == 0) {
            uris[left++] = uris[i];
            continue;
        }
        taken->uris[taken->n] = uris[i];
        taken->jobs[taken->n++] = other;
    }
    if (left == 0)
        return err_set(err, ERR_STATE, "what the job was to read is that of a later job by now, which loads it");
    return left;
}

static int work_job(struct work *k, struct arena *arena, struct err *err)
{
    const struct lease *l = &k->done->lease;
    struct feed *f = &k->done->feed;
    AUTO(attempt_clear) struct attempt a = { .feed = f, .queue = k->w->queue, .job = l->id };
    char **uris;
    int n;
    if (!(f->pipeline = config_pipeline(k->w->config, l->pipeline)))
        return config_no_pipeline(k->w->config, l->pipeline, err);
    AUTO(rejects_source_clear) struct rejects_source rejects;
    int replay = open_rejects(k, &rejects, err);
    f->sum = f->pipeline->dedupe && !replay;
    if (pipeline_has_events(f->pipeline) && event_begin(k->w->queue, l->id, l->token, l->pipeline, &f->watermark, err) < 0)
        return -1;
    if (replay < 0 || submission_uris(l->objects, l->params, f->pipeline, replay, arena, &uris, &n, err) < 0)
        return -1;
    struct taken taken = { 0 };
    if (!replay && (know_listed(k, uris, n, arena, err) < 0 || (n = without_taken(k, uris, n, &taken, arena, err)) < 0))
        return -1;
    k->stage = NULL; /* the feed knows better */
    int rc = attempt_ask(&a, k->w->queue, err);
    if (rc == 0)
        rc = attempt_columns(&a, uris, err);
    if (rc == 0)
        rc = attempt_read(&a, uris, n, err);
    if (rc == 0 && f->sum)
        rc = attempt_leave_out(&a, k->w->queue, uris, n, err);
    if (rc == 0)
        rc = attempt_note_taken(&a, taken.uris, taken.jobs, taken.n, err);
    if (rc == 0)
        rc = publish(k, &a, err);
    keep_found(k->done, a.known);
    f->rejects = NULL; /* they go out of scope */
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

/* What holds all jobs that ask the same [enrich], if this one met with something that does. */
static struct job_hold hold_of(const struct work *k, struct done *d)
{
    struct job_hold hold;
    if (!enrich_held(k->w->enrich, &hold))
        return hold;
    snprintf(d->held_why, sizeof d->held_why, "%.*s", (int)sizeof d->held_why - 1, hold.why);
    hold.why = d->held_why;
    return hold;
}

static bool is_wait(const struct err *err)
{
    return err->code == ERR_ENRICH_QUOTA || err->code == ERR_ENRICH_BUSY || err->code == ERR_ENRICH_DOWN;
}

static void finish_fill(struct finish *f, struct done *d, const struct work *k, int rc, const struct err *err)
{
    const struct reader_result *r = &d->feed.result;
    struct job_hold hold = hold_of(k, d);
    bool has_outputs = rc == 0 || err->code == ERR_REJECTS; /* the rejects of a job that dies of them can be looked at */
    *f = (struct finish){
        .lease = &d->lease,
        .outcome = rc == 0                        ? OUT_STAGED
                   : err->code == ERR_SHUTDOWN    ? OUT_HANDED_BACK
                   : hold.name && is_wait(err)    ? OUT_WAITS
                                                  : OUT_FAILED,
        .outputs = has_outputs ? r->outputs : NULL,
        .noutputs = has_outputs ? r->noutputs : 0,
        .rows_read = (int64_t)r->counts.read,
        .rows_staged = (int64_t)r->counts.staged,
        .rows_rejected = (int64_t)r->counts.rejected,
        .rows_filtered = (int64_t)r->counts.filtered,
        .rows_added = (int64_t)r->counts.added,
        .bytes_in = (int64_t)r->counts.bytes_in,
        .bytes_out = (int64_t)r->counts.bytes_out,
        .stage = k->stage ? k->stage : d->feed.stage ? d->feed.stage : "read",
        .detail = d->feed.talk,
        .said = d->feed.said,
        .peak_rss = r->peak_rss,
        .spooled = d->feed.spooled_bytes,
        .signal = r->signal,
        .objects = d->feed.objects,
        .nobjects = d->feed.nobjects,
        .drift = r->drift,
        .tally = r->tally,
        .parts = d->parts,
        .nparts = rc == 0 ? d->nparts : 0,
    };
    if (rc == 0)
        f->backoff_ms = d->feed.pipeline->backoff_ms;
    if (rc == 0 && pipeline_has_events(d->feed.pipeline)) {
        d->event = attempt_event(&d->feed);
        f->event = &d->event;
    }
    if (rc < 0) {
        f->err = *err;
        f->hold = hold;
        f->backoff_ms = backoff_ms(d->feed.pipeline, &d->lease, err);
        f->person = d->feed.pipeline && d->feed.pipeline->scan.on_change == ON_CHANGE_FAIL;
        f->changed = d->feed.pipeline && pipeline_is_scanned(d->feed.pipeline) ? d->feed.changed : NULL;
        if (d->feed.pipeline && pipeline_is_scanned(d->feed.pipeline) && d->feed.pipeline->scan.whole == WHOLE_TRAILER)
            f->whole_wait_ms = d->feed.pipeline->scan.whole_wait_ms;
    }
}

static void log_cancelled(const struct done *d)
{
    log_event(LOG_INFO, "job cancelled", "job", d->lease.uid, "pipeline", d->lease.pipeline, NULL);
}

/* Nothing of it was recorded. What was told when the job was given up is not told again. */
static void log_lost(const struct done *d, const struct finish *f)
{
    if (!f->cancelled)
        log_event(LOG_WARN, "the lease was lost; the outcome was not recorded", "job", d->lease.uid, NULL);
    else if (f->err.code != ERR_CANCELLED)
        log_cancelled(d);
}

static void log_outcome(const struct done *d, const struct finish *f, int64_t ms)
{
    if (f->outcome == OUT_STAGED)
        log_event(LOG_INFO, "job staged", "job", d->lease.uid, "pipeline", d->lease.pipeline, "rows",
                  log_num(f->rows_staged), "rejects", log_num(f->rows_rejected), "bytes", log_num(f->bytes_in), "ms",
                  log_num(ms), NULL);
    else if (f->outcome == OUT_HANDED_BACK)
        log_event(LOG_INFO, "job handed back", "job", d->lease.uid, "pipeline", d->lease.pipeline, NULL);
    else if (f->outcome == OUT_WAITS)
        log_event(LOG_WARN, "job waits", "job", d->lease.uid, "pipeline", d->lease.pipeline, "why", f->err.msg, "ms",
                  log_num(f->err.retry_after_ms), NULL);
    else if (f->err.code == ERR_CANCELLED)
        log_cancelled(d);
    else if (f->err.code == ERR_LEASE_LOST)
        log_event(LOG_WARN, "job given up", "job", d->lease.uid, "why", f->err.msg, NULL);
    else
        log_error("job failed", &f->err, "job", d->lease.uid);
}

/* A member as it may be shown: a text without its quotes; "": it is not there, or null. */
static const char *shown(const struct json_value *object, const char *name, struct arena *arena)
{
    struct json_value v;
    struct str text;
    if (object->kind != JSON_OBJECT || json_member(object, name, &v) != 1 || v.kind == JSON_NULL)
        return "";
    text = v.raw;
    const char *copy = v.kind == JSON_TEXT && !json_unescape(&v, arena, &text) ? NULL : arena_dup(arena, text);
    return copy ? copy : "";
}

/* A line for each finding. What the first job has that the ini does not want is no surprise. */
static void log_drift(const struct done *d)
{
    struct json_value list, finding;
    struct json_fault fault;
    struct str none;
    struct arena arena = { 0 };
    if (!d->feed.result.drift || !json_check(str_of(d->feed.result.drift), &list, &fault))
        return;
    for (size_t at = 0, lines = 0; json_next(&list, &at, &none, &finding) && lines < DRIFT_LINES; lines++) {
        log_event(d->first ? LOG_INFO : LOG_WARN, "columns drift", "job", d->lease.uid, "pipeline", shown(&finding, "pipeline", &arena), "kind",
                  shown(&finding, "kind", &arena), "column", shown(&finding, "column", &arena), "member", shown(&finding, "member", &arena),
                  "detail", shown(&finding, "detail", &arena), NULL);
    }
    arena_clear(&arena);
}

/* What somebody has to look at: failures that the rows do without, and answers that nothing is found in. */
static void log_tally(const struct done *d)
{
    struct json_value list, one;
    struct json_fault fault;
    struct str none;
    struct arena arena = { 0 };
    if (!d->feed.result.tally || !json_check(str_of(d->feed.result.tally), &list, &fault))
        return;
    for (size_t at = 0; json_next(&list, &at, &none, &one);) {
        const char *enrich = shown(&one, "enrich", &arena), *why = shown(&one, "error", &arena), *note = shown(&one, "note", &arena);
        if (*why)
            log_event(LOG_WARN, "enrichments failed", "job", d->lease.uid, "enrich", enrich, "keys", shown(&one, "keys", &arena), "failed",
                      shown(&one, "failed", &arena), "error", why, NULL);
        if (*note)
            log_event(LOG_WARN, "enrichments find nothing", "job", d->lease.uid, "enrich", enrich, "note", note, NULL);
    }
    arena_clear(&arena);
}

static void log_said(const struct done *d)
{
    if (d->feed.said)
        log_event(LOG_INFO, "programs wrote to standard error", "job", d->lease.uid, "pipeline", d->lease.pipeline, "text", d->feed.said, NULL);
}

static void done_clear(struct done *d)
{
    feed_clear(&d->feed);
    job_lease_clear(&d->lease);
    *d = (struct done){ 0 };
}

static void work_one(struct worker *w, int i)
{
    struct done *d = &w->done[i];
    struct err err = { 0 };
    int64_t started = sys_mono_ms();
    struct work k = {
        .w = w,
        .done = d,
        .stage = "config",
        .renew_mono_ms = started + w->config->lease_ms / 3,
        .look_mono_ms = started + STILL_OURS_MS,
        .settle_mono_ms = w->ndone > 1 ? started + REPORT_AFTER_MS : 0,
    };
    d->feed = (struct feed){
        .config = w->config,
        .reader = &w->reader,
        .spool = &w->spool,
        .fetch = w->fetch,
        .enrich = w->enrich,
        .uid = d->lease.uid,
        .params = d->lease.params,
        .token = d->lease.token,
        .watermark = EVENT_NONE,
        .archive = w->archive,
        .mounted = w->mounted,
        .attempt = d->lease.attempt,
        .resume = d->lease.token > 1, /* not the first claim; tries may have been counted anew */
        .tick = work_tick,
        .arg = &k,
    };
    arena_reset(&w->arena);
    int rc = work_job(&k, &w->arena, &err);
    if (rc < 0)
        attempt_discard(&d->feed);
    finish_fill(&w->finishes[i], d, &k, rc, &err);
    d->worked = true;
    int64_t ms = sys_mono_ms() - started;
    w->job_ms = (w->job_ms * 7 + ms) / 8;
    log_outcome(d, &w->finishes[i], ms);
    log_drift(d);
    log_tally(d);
    log_said(d);
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
            log_lost(of[i], &list[i]);
        else if (list[i].outcome == OUT_STAGED && of[i]->feed.spooled &&
                 spool_object_discard(&w->spool, of[i]->lease.uid, &e) < 0)
            log_error("a file stays in the spool until the next sweep", &e, "job", of[i]->lease.uid);
        if (list[i].held_by_twin) {
            log_event(LOG_INFO, "another job has the same content under way; waiting for it", "job", of[i]->lease.uid, NULL);
            attempt_discard(&of[i]->feed);
        }
        done_clear(of[i]);
    }
    return claimed;
}

/* Jobs of the dead: at once those of this host, the others when their leases have run out. */
static int take_back(struct worker *w, struct err *err)
{
    int64_t buried, rescued;
    if (registry_bury(w->queue, &buried, err) < 0 || job_rescue(w->queue, w->config->limits.crashes, &rescued, err) < 0)
        return -1;
    if (rescued)
        log_event(LOG_WARN, "jobs of dead workers taken back", "jobs", log_num(rescued), NULL);
    return 0;
}

/* With too little room on the disk no job is begun: those under way, and the loader, need what there is. */
static int look_at_disk(struct worker *w, struct err *err)
{
    struct queue_spool d;
    if (role_look_at_spool(w->queue, w->config, &d, err) < 0)
        return -1;
    bool full = d.free < d.keep, was_full = w->disk.free < w->disk.keep;
    if (full && !was_full)
        log_event(LOG_WARN, "the spool's file system is nearly full; no job is begun until there is room", "free", log_num(d.free),
                  "spool_free", log_num(d.keep), NULL);
    else if (!full && was_full)
        log_event(LOG_INFO, "the spool's file system has room again", "free", log_num(d.free), NULL);
    w->disk = d;
    if (w->only) { /* somebody waits for it, and is told at once that the disk is full */
        d.keep = 0;
        queue_spool_set(w->queue, &d);
    }
    return 0;
}

/* Chores that any worker does: sign of life, due jobs, dead workers' jobs. */
static int chores(struct worker *w, struct err *err)
{
    int64_t now = sys_mono_ms(), promoted = 0;
    role_alive(&w->role);
    beat(w, now);
    if (now >= w->chores_mono_ms) {
        w->chores_mono_ms = now + CHORES_MS;
        if (take_back(w, err) < 0 || look_at_disk(w, err) < 0)
            return -1;
    }
    if (now >= w->promote_mono_ms || (w->next_due && sys_now_ms() >= w->next_due)) {
        w->promote_mono_ms = now + w->config->poll_ms;
        if (job_promote(w->queue, &promoted, &w->next_due, err) < 0)
            return -1;
    }
    return 0;
}

/* The ini's limits that bind all workers together. */
static int tell_limits(struct worker *w, struct err *err)
{
    const struct config *c = w->config;
    size_t nr = (size_t)c->nremotes, np = (size_t)c->npipelines;
    struct remote_limits *remotes = arena_alloc(&w->arena, (nr + 1) * sizeof *remotes);
    struct pipeline_weight *weights = arena_alloc(&w->arena, (np + 1) * sizeof *weights);
    if (!remotes || !weights)
        return err_nomem(err);
    for (size_t i = 0; i < nr; i++)
        remotes[i] = (struct remote_limits){ c->remotes[i].name, c->remotes[i].connections, c->remotes[i].interval_ms };
    for (size_t i = 0; i < np; i++)
        weights[i] = (struct pipeline_weight){ c->pipelines[i].name, c->pipelines[i].weight };
    return job_limits_set(w->queue, remotes, (int)nr, weights, (int)np, err);
}

int worker_open(struct worker **out, const struct role *role, struct err *err)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return err_nomem(err);
    w->role = *role;
    w->config = role->config;
    w->job_ms = SHORT_JOB_MS + 1; /* one at a time until we know better */
    w->spool = SPOOL_CLOSED;
    if (!(w->archive = archive_new(w->config)) || !(w->mounted = mounted_new(w->config))) {
        worker_close(w);
        return err_nomem(err);
    }
    if (reader_spawn(&w->reader, w->config, err) < 0 || spool_open(&w->spool, w->config->spool, true, err) < 0 ||
        queue_open(&w->queue, w->config->database, QUEUE_CREATE, err) < 0 ||
        fetch_open(&w->fetch, &w->config->limits, err) < 0 || enrich_open(&w->enrich, w->config, err) < 0 ||
        tell_limits(w, err) < 0 || role_tell_enriched(w->queue, w->config, err) < 0 || registry_join(w->queue, "worker", role->name, &w->id, err) < 0) {
        worker_close(w);
        return -1;
    }
    *out = w;
    return 0;
}

void worker_only(struct worker *w, int64_t job) { w->only = job; }

/* Report what is done, claim what is next; the number claimed. */
static int claim(struct worker *w, struct lease *leases, int max, struct err *err)
{
    if (!w->only)
        return settle(w, NULL, leases, max, err);
    if (settle(w, NULL, NULL, 0, err) < 0)
        return -1;
    return job_claim_one(w->queue, w->only, w->id, w->config->lease_ms, leases, err);
}

/* May that job of the claim begin? The first was let through by its gate; before the others a server may have asked to be left alone. What
 * keeps the queue from telling is told by whoever cannot go on without it. */
static bool may_begin(struct worker *w, int i)
{
    const struct lease *l = &w->done[i].lease;
    struct err ignored;
    return i == 0 || !l->objects || !strstr(l->objects, "://") || job_held(w->queue, l->id, &ignored) != 1;
}

/* Would the others of the claim meet with the same? Then they are handed back, behind the gate that its outcome closes. */
static bool closes_gate(const struct finish *f)
{
    return f->outcome == OUT_WAITS || (f->outcome == OUT_FAILED && f->err.retry_after_ms > 0);
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
    fetch_rest(w->fetch); /* what the jobs that are over had */
    int n = claim(w, leases, max, err);
    if (n < 0)
        return -1;
    w->ndone = n;
    for (int i = 0; i < n; i++)
        w->done[i] = (struct done){ .lease = leases[i] };
    for (int i = 0; i < n && role_grace(&w->role) < 0; i++)
        if (w->done[i].lease.id && may_begin(w, i)) { /* the others are handed back */
            work_one(w, i);
            ++*did;
            if (closes_gate(&w->finishes[i]))
                break;
        }
    return 0;
}

/* Draining, is there anything left that this process could still do? */
static int work_left(struct worker *w, struct err *err)
{
    struct job_left left;
    if (job_left(w->queue, sys_now_ms() + w->role.drain_wait_ms, &left, err) < 0)
        return -1;
    return left.ready || left.running || (left.no_room && (left.staged || left.loading)); /* the loader makes room */
}

/* How long to sleep when there is nothing to do: until a job becomes due, a gate opens, or a chore. */
static int64_t idle_ms(struct worker *w)
{
    struct err ignored;
    int64_t most = w->config->poll_ms < CHORES_MS ? w->config->poll_ms : CHORES_MS, opens = 0;
    (void)job_claimable(w->queue, &opens, &ignored); /* the next claim tells what is wrong */
    int64_t next = w->next_due && (!opens || w->next_due < opens) ? w->next_due : opens;
    int64_t wait = next ? next - sys_now_ms() : most;
    if (w->role.drain && most > DRAIN_POLL_MS)
        most = DRAIN_POLL_MS;
    return wait < 0 ? 0 : wait > most ? most : wait;
}

int worker_run(const struct role *role, struct err *err)
{
    struct worker *w;
    if (worker_open(&w, role, err) < 0)
        return -1;
    sys_signals_init(queue_bell_word(w->queue, BELL_READY));
    int rc = 0, did;
    while (rc == 0 && role_goes_on(role)) {
        uint32_t bell = queue_bell(w->queue, BELL_READY);
        (void)sys_fault("worker-loop");
        if ((rc = worker_step(w, &did, err)) < 0 || did)
            continue;
        if (role->drain && (rc = work_left(w, err)) <= 0)
            break;
        rc = 0;
        queue_sleep(w->queue, BELL_READY, bell, idle_ms(w));
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
    arena_clear(&w->arena);
    mounted_free(w->mounted);
    archive_free(w->archive);
    fetch_close(w->fetch);
    queue_close(w->queue);
    spool_close(&w->spool);
    reader_free(w->reader);
    enrich_close(w->enrich);
    free(w);
}

static int infer_tick(void *arg, struct err *err)
{
    (void)arg, (void)err;
    return 0;
}

int worker_infer(const struct config *config, const char *name, const char *uri, char **columns, struct infer_notes *notes,
                 struct err *err)
{
    struct reader_child *reader = NULL;
    struct spool spool = SPOOL_CLOSED;
    struct fetch *fetch = NULL;
    struct mounted *mounted = mounted_new(config);
    char uid[SYS_UID_LEN + 1], *uris[] = { (char *)uri };
    sys_uid(uid);
    int rc = mounted ? -1 : err_nomem(err);
    if (mounted && reader_spawn(&reader, config, err) == 0 && spool_open(&spool, config->spool, true, err) == 0 &&
        fetch_open(&fetch, &config->limits, err) == 0) {
        struct feed f = { .config = config, .reader = &reader, .spool = &spool, .fetch = fetch, .mounted = mounted, .uid = uid, .tick = infer_tick, .watermark = EVENT_NONE,
                          .pipeline = config_pipeline(config, name) };
        rc = feed_run(&f, uris, 1, NULL, true, err);
        if (rc == 0 && !(*columns = f.result.inferred[0]))
            rc = err_set(err, ERR_INFER, "no member to take columns from");
        if (rc == 0) {
            *notes = f.result.notes;
            f.result.notes = (struct infer_notes){ 0 };
            f.result.inferred[0] = NULL;
        }
        feed_clear(&f);
    }
    mounted_free(mounted);
    fetch_close(fetch);
    spool_close(&spool);
    reader_free(reader);
    return rc;
}
