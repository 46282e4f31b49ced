/* An attempt, and the load of what it staged, for one job that nobody has. See rehearsal.h. */
#include "role/rehearsal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "io/fetch.h"
#include "queue/event.h"
#include "queue/queue.h"
#include "role/attempt.h"
#include "role/enrich.h"
#include "role/feed.h"
#include "role/prepared.h"
#include "role/submission.h"
#include "target/target.h"

enum {
    TOKEN = 1,    /* of the claim that nobody made */
    NO_JOB = -1,  /* no job of a queue has this number */
    TRIES = 10,   /* to make a folder that nobody takes away */
};

struct run {
    struct rehearsal *r;
    const struct config *config;
    const struct job_new *job;
    struct reader_child *reader;
    struct queue *queue; /* only to look into; NULL: there is none yet */
    struct fetch *fetch;
    struct mounted *mounted;
    struct enrich *enrich;
    struct arena arena;
    struct feed feed;
    struct attempt attempt;
    struct staged_job staged; /* what a struct prepared borrows from */
    int64_t since; /* where the last window of after_load ended (queue/event.h) */
};

static int tick(void *arg, struct err *err)
{
    (void)arg;
    return sys_stop_requested() ? err_set(err, ERR_CANCELLED, "the rehearsal was stopped; nothing of it is left") : 0;
}

/* ---- the folder ---- */

#define FOLDER "qetl-rehearsal-"

/* It is ours, and still there under a lock that is ours: *lock. 0: it is somebody's, or going. */
static bool lock_folder(const char *path, int *lock)
{
    struct stat st;
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*lock >= 0 && fstat(*lock, &st) == 0 && st.st_uid == geteuid() && flock(*lock, LOCK_EX | LOCK_NB) == 0 && fstat(*lock, &st) == 0) {
        if (st.st_nlink > 0)
            return true;
        errno = ENOENT;
    }
    int why = errno;
    fd_closep(lock);
    errno = why;
    return false;
}

/* Why lock_folder() could not: somebody else has it, or removed it. */
static bool folder_is_taken(void) { return errno == EWOULDBLOCK || errno == ENOENT; }

/* What a rehearsal that was killed left: nobody holds it. */
static void sweep(const char *tmp)
{
    DIR *dir = opendir(tmp);
    struct err ignored; /* who comes next tries again */
    for (struct dirent *e; dir && (e = readdir(dir));) {
        AUTO(buf_clear) struct buf path = { 0 };
        AUTO(fd_closep) int lock = -1;
        buf_addf(&path, "%s/%s", tmp, e->d_name);
        if (!strncmp(e->d_name, FOLDER, sizeof FOLDER - 1) && !path.failed && lock_folder(path.p, &lock))
            (void)sys_remove_tree(AT_FDCWD, path.p, &ignored);
    }
    if (dir)
        closedir(dir);
}

static int make_one(struct rehearsal *r, const char *tmp, struct err *err)
{
    free_charp(&r->folder);
    if (asprintf(&r->folder, "%s/" FOLDER "XXXXXX", tmp) < 0) {
        r->folder = NULL;
        return err_nomem(err);
    }
    if (mkdtemp(r->folder))
        return 0;
    err_sys(err, "make the folder '%s'", r->folder);
    free_charp(&r->folder);
    return -1;
}

/* Once more where one that sweeps took it before its lock. Where there are no locks nobody sweeps it. */
static int make_folder(struct rehearsal *r, struct err *err)
{
    const char *tmp = getenv("TMPDIR");
    tmp = tmp && *tmp ? tmp : "/tmp";
    sweep(tmp);
    for (int i = 0; i < TRIES && r->lock < 0; i++)
        if (make_one(r, tmp, err) < 0 || (!lock_folder(r->folder, &r->lock) && !folder_is_taken()))
            break;
    return r->folder ? spool_open(&r->spool, r->folder, true, err) : -1;
}

static int ask_queue(struct run *k, struct err *err)
{
    const struct pipeline *p = k->r->pipeline;
    if (queue_open(&k->queue, k->config->database, QUEUE_READONLY, err) < 0)
        return err->code == ERR_DATABASE_MISSING ? 0 : -1;
    if (pipeline_has_events(p) && event_watermark(k->queue, p->name, &k->feed.watermark, &k->since, err) < 0)
        return -1;
    return attempt_ask(&k->attempt, k->queue, err);
}

/* All that the job needs; the reader first, which is forked while this process is small. */
static int prepare(struct run *k, struct err *err)
{
    struct rehearsal *r = k->r;
    if (reader_spawn(&k->reader, k->config, err) < 0 || make_folder(r, err) < 0 || fetch_open(&k->fetch, &k->config->limits, err) < 0 ||
        enrich_open(&k->enrich, k->config, err) < 0)
        return -1;
    if (!(k->mounted = mounted_new(k->config)))
        return err_nomem(err);
    k->feed = (struct feed){
        .config = k->config,
        .reader = &k->reader,
        .spool = &r->spool,
        .fetch = k->fetch,
        .mounted = k->mounted,
        .enrich = k->enrich,
        .pipeline = r->pipeline,
        .uid = r->uid,
        .params = k->job->params.p,
        .token = TOKEN,
        .watermark = EVENT_NONE,
        .sum = r->pipeline->dedupe,
        .sample = true,
        .attempt = 1,
        .tick = tick,
    };
    k->attempt = (struct attempt){ .feed = &k->feed, .job = NO_JOB };
    return ask_queue(k, err);
}

/* What a worker does. */
static int stage(struct run *k, struct err *err)
{
    struct rehearsal *r = k->r;
    struct attempt *a = &k->attempt;
    struct spool_file files[PIPELINE_PARTS_MAX + 1];
    char **uris;
    int n;
    if (submission_uris(k->job->objects.p, k->job->params.p, r->pipeline, false, &k->arena, &uris, &n, err) < 0)
        return -1;
    r->stage = NULL; /* the feed knows better */
    if (attempt_columns(a, uris, err) < 0 || attempt_read(a, uris, n, err) < 0 ||
        (k->feed.sum && attempt_leave_out(a, k->queue, uris, n, err) < 0))
        return -1;
    r->stage = "stage";
    if ((n = attempt_outputs(a, files, err)) < 0)
        return -1;
    return n ? spool_publish(&r->spool, r->uid, TOKEN, files, n, err) : 0;
}

/* ---- what a loader does ---- */

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

/* The job as a loader would find it, were it in the queue. */
static struct staged_job staged_job(struct run *k)
{
    struct reader_result *result = &k->feed.result;
    struct staged_job job = { .token = TOKEN, .pipeline = k->r->pipeline->name, .outputs = result->outputs, .noutputs = result->noutputs };
    memcpy(job.uid, k->r->uid, sizeof job.uid);
    for (int i = 0; i < job.noutputs; i++)
        job.outputs[i].token = TOKEN;
    return job;
}

/* What look() and load_job() get; prepared_clear() in either case. */
static int prepare_job(struct run *k, struct prepared *p, struct err *err)
{
    struct rehearsal *r = k->r;
    k->staged = staged_job(k);
    if (prepared_make(p, &r->spool, &k->staged, err) < 0)
        return -1;
    if (pipeline_has_events(r->pipeline)) {
        struct job_event e = attempt_event(&k->feed);
        prepared_watermarks(p, k->since, e.reaches > e.watermark ? e.reaches : e.watermark);
    }
    return 0;
}

/* Of a load that comes to no end here: what would end the job, where a table is refused. */
static int refused(const struct rehearsal *r, struct err *err)
{
    const struct err *why = schema_diff_refused(&r->schema);
    if (why)
        *err = *why;
    return why ? -1 : 0;
}

/* ---- told to stop while the target is asked ---- */

/* The thread that breaks off what the target is asked, when this process is told to stop. */
struct breaker {
    const struct target *t;
    struct target_conn *conn;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool over; /* under mutex */
};

static void *breaker_main(void *arg)
{
    enum { LOOK_MS = 100 };
    struct breaker *b = arg;
    pthread_mutex_lock(&b->mutex);
    while (!b->over) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&b->changed, &b->mutex, &until);
        if (b->over || !sys_stop_requested())
            continue;
        pthread_mutex_unlock(&b->mutex);
        b->t->interrupt(b->conn);
        pthread_mutex_lock(&b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

static void breaker_clear(struct breaker *b)
{
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->mutex);
}

static int breaker_start(struct breaker *b, const struct target *t, struct target_conn *conn, struct err *err)
{
    pthread_condattr_t attr;
    *b = (struct breaker){ .t = t, .conn = conn };
    pthread_mutex_init(&b->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (sys_thread(&b->thread, 0, breaker_main, b, err) == 0)
        return 0;
    breaker_clear(b);
    return -1;
}

static void breaker_stop(struct breaker *b)
{
    pthread_mutex_lock(&b->mutex);
    b->over = true;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    pthread_join(b->thread, NULL);
    breaker_clear(b);
}

static int load(struct run *k, const struct target *t, struct target_conn *conn, struct err *err)
{
    struct rehearsal *r = k->r;
    struct prepared p;
    if (t->rehearse(conn, &r->schema, err) < 0)
        return -1;
    int rc = prepare_job(k, &p, err);
    if (rc == 0)
        rc = t->look(conn, &p.job, &r->schema, err);
    if (rc == 0)
        rc = t->load_job(conn, &p.job, err);
    (void)sys_fault("load-rollback");
    t->rollback(conn);
    r->counts = p.job.counts;
    r->counted = rc == 0;
    prepared_clear(&p);
    if (rc < 0 && err->code == ERR_TARGET)
        (void)refused(r, err);
    return rc == 0 && r->schema.failed ? err_nomem(err) : rc;
}

static int load_or_stop(struct run *k, const struct target *t, struct target_conn *conn, struct err *err)
{
    struct breaker b;
    if (breaker_start(&b, t, conn, err) < 0)
        return -1;
    int rc = load(k, t, conn, err);
    breaker_stop(&b);
    return tick(NULL, err) < 0 ? -1 : rc; /* the error is then that of a call that was broken off */
}

/* Of a target that cannot take a load back: it is only read. One that is not made yet, or is away, is not asked. */
static int look(struct run *k, const struct target *t, const struct target_config *tc, struct err *err)
{
    struct prepared p;
    struct target_conn *conn = NULL;
    struct err no = { 0 };
    if (t->open(&conn, k->config, tc, false, &no) < 0 && err_class(no.code) != ERR_TRANSIENT) {
        *err = no;
        return -1;
    }
    if (!conn && no.sys != ENOENT)
        snprintf(k->r->why, sizeof k->r->why, "%s", no.msg);
    int rc = prepare_job(k, &p, err);
    if (rc == 0)
        rc = t->look(conn, &p.job, &k->r->schema, err);
    prepared_clear(&p);
    t->close(conn);
    return rc == 0 ? refused(k->r, err) : rc;
}

static int ask_target(struct run *k, struct err *err)
{
    struct rehearsal *r = k->r;
    const struct target_config *tc = config_target(k->config, r->pipeline->parts[0].target);
    const struct target *t = target_by_url(tc->url, err);
    struct target_config empty = { 0 };
    struct target_conn *conn;
    r->stage = "load";
    if (!t)
        return -1;
    if (!t->rehearse) {
        snprintf(r->why, sizeof r->why, "a target of the kind %s:// has no transaction that could be taken back", t->scheme);
        return look(k, t, tc, err);
    }
    int rc = t->open(&conn, k->config, tc, false, err);
    if (rc < 0 && err->code == ERR_TARGET && err->sys == ENOENT)
        rc = open_empty(k, t, tc, &empty, &conn, err);
    if (rc == 0) {
        rc = load_or_stop(k, t, conn, err);
        t->close(conn);
    }
    free(empty.url);
    if (rc < 0 && err_class(err->code) == ERR_TRANSIENT && err->code != ERR_SHUTDOWN) { /* a job would wait for it */
        snprintf(r->why, sizeof r->why, "%s", err->msg);
        return 0;
    }
    return rc;
}

/* ---- all of it ---- */

/* Would the job fail of it, too? Not of what is about this process and its folder. */
static bool is_of_job(enum err_code code)
{
    switch (code) {
    case ERR_SHUTDOWN:
    case ERR_CANCELLED:
    case ERR_DISK_FULL:
    case ERR_NO_MEMORY:
    case ERR_INTERNAL:
    case ERR_SPOOL:
    case ERR_DATABASE:
        return false;
    default:
        return true;
    }
}

static int run(struct run *k, struct err *err)
{
    struct rehearsal *r = k->r;
    if (prepare(k, err) < 0)
        return -1;
    r->stage = "config";
    if (stage(k, err) == 0 && ask_target(k, err) == 0)
        return 0;
    r->stage = r->stage ? r->stage : k->feed.stage;
    if (!is_of_job(err->code))
        return -1;
    r->died = *err;
    return 0;
}

/* What outlives the feed. */
static void take_result(struct rehearsal *r, struct feed *f)
{
    for (int i = 0; i < f->nobjects; i++)
        r->left_out += f->objects[i].same_as != 0;
    r->result = f->result;
    r->talk = f->talk;
    f->result = (struct reader_result){ 0 };
    r->said = f->said;
    f->talk = f->said = NULL;
}

int rehearse(struct rehearsal *r, const struct config *config, const struct job_new *job, struct err *err)
{
    struct run k = { .r = r, .config = config, .job = job, .since = EVENT_NONE };
    sys_uid(r->uid);
    if (!(r->pipeline = config_pipeline(config, job->pipeline)))
        return config_no_pipeline(config, job->pipeline, err);
    int rc = run(&k, err);
    take_result(r, &k.feed);
    attempt_clear(&k.attempt);
    feed_clear(&k.feed);
    arena_clear(&k.arena);
    reader_free(k.reader); /* asks the others until then */
    queue_close(k.queue);
    enrich_close(k.enrich);
    mounted_free(k.mounted);
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
    schema_diff_clear(&r->schema);
    spool_close(&r->spool);
    free_charp(&r->talk);
    free_charp(&r->said);
    if (r->folder)
        (void)sys_remove_tree(AT_FDCWD, r->folder, &ignored);
    free_charp(&r->folder);
    fd_closep(&r->lock);
}
