/*
 * The reader child: a loop over jobs. Each job pulls: the pipeline asks for rows, which ask for
 * bytes, which come from the ring or from a file that may still grow. A wait for bytes is a wait
 * for the worker's messages too, so the end of an object and the worker's death are seen at once.
 *
 * A large compressed object is pulled by a second thread (read/ahead.h). Then, while the object is
 * open, its struct feed, the ring and what comes by the control socket are that thread's, and what
 * is sent by it and all of `reply` the main thread's. The main thread cancels a wait for bytes that
 * it does not want any more.
 *
 * A big staged file is written by a third one (io/behind.h), which shares its runs of bytes only.
 *
 * If it dies at any point, the worker has no RESULT and takes the job for failed; files it was
 * writing are .part files that nobody publishes. Files are on the disk (fdatasync) before RESULT is
 * sent.
 */
#include "role/reader_child.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "io/behind.h"
#include "pipeline/pipeline.h"
#include "read/ahead.h"
#include "read/infer.h"
#include "read/unpack.h"
#include "role/channel.h"
#include "role/sandbox.h"
#include "source/source.h"

enum { OUTPUTS_MAX = PIPELINE_PARTS_MAX + 1, SAMPLE_BYTES = 1 << 20 };

struct child {
    const struct config *config;
    struct channel control, reply;
    struct ring ring;
    struct reader_shared *shared;
    int staged[OUTPUTS_MAX]; /* our own copies of the outputs' descriptors, to sync them; -1: none */
    /* the job */
    const struct pipeline *pipeline;
    struct pipeline_run *run; /* NULL: inference */
    struct feed *feed; /* of the open object, or NULL */
    struct stage stage;
    char uid[SYS_UID_LEN + 1];
    char *params;
    int64_t watermark;
    bool sample;                        /* the first rows are asked for */
    struct part_known known[PIPELINE_PARTS_MAX]; /* given */
    struct part_found found[PIPELINE_PARTS_MAX]; /* by the run */
    struct buf drift, tally;            /* its findings, and what became of its enrichments */
    char *inferred[PIPELINE_PARTS_MAX]; /* found */
    struct infer_notes notes;          /* found beside those of part 0 */
};

/* The bytes of one object. */
struct feed {
    struct input input;
    struct child *child;
    int fd;          /* -1: the ring */
    uint64_t number; /* of the object */
    int64_t at;      /* in the file */
    _Atomic bool cancelled; /* no more bytes are wanted */
    bool end_known;
    uint64_t end; /* ring position, or size of the file */
};

/* The worker is gone: nobody is there to tell. */
static void __attribute__((noreturn)) leave(void)
{
    _exit(0);
}

/* ---- input ---- */

/* While an object is open, its end is the only message that may come. */
static int feed_end(struct feed *f, struct err *err)
{
    struct message m;
    if (channel_recv(&f->child->control, &m, true) != CHANNEL_MESSAGE)
        leave();
    fd_closep(&m.fd);
    if (m.type != READER_OBJECT_END)
        return err_set(err, ERR_INTERNAL, "message %u came inside an object", m.type);
    f->end = m.a;
    f->end_known = true;
    return 0;
}

/* Wait for bytes, the end, or feed_cancel. The ring has been told that we wait. */
static int feed_wait(struct feed *f, struct err *err)
{
    struct pollfd p[2] = { { f->child->ring.data_event, POLLIN, 0 },
                           { f->child->control.fd, POLLIN, 0 } };
    int rc = poll(p, 2, -1);
    ring_awake(&f->child->ring);
    if (rc < 0 && errno != EINTR)
        return err_sys(err, "wait for bytes");
    if (atomic_load(&f->cancelled))
        return err_set(err, ERR_CANCELLED, "no more bytes are wanted");
    return rc > 0 && p[1].revents ? feed_end(f, err) : 0;
}

/* From the main thread, when the other one may wait for bytes. */
static void feed_cancel(void *arg)
{
    struct child *c = arg;
    if (!c->feed)
        return; /* a look-up is read, which waits for nobody */
    atomic_store(&c->feed->cancelled, true);
    ring_interrupt(&c->ring);
}

static ssize_t ring_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct feed *f = (struct feed *)in;
    struct ring *r = &f->child->ring;
    for (;;) {
        struct str data = ring_data(r);
        /* bytes of a later object may be among these: then the end of ours is in the socket */
        if (!f->end_known && atomic_load(&f->child->shared->streaming) != f->number &&
            feed_end(f, err) < 0)
            return -1;
        if (f->end_known && data.n > f->end - r->tail)
            data.n = (size_t)(f->end - r->tail);
        if (data.n) {
            size_t n = data.n < cap ? data.n : cap;
            memcpy(buf, data.p, n);
            ring_consume(r, n);
            f->at += (int64_t)n;
            return (ssize_t)n;
        }
        if (f->end_known)
            return 0;
        if (ring_will_wait(r) && feed_wait(f, err) < 0)
            return -1;
    }
}

static ssize_t file_pread(struct feed *f, void *buf, size_t cap, struct err *err)
{
    for (;;) {
        ssize_t n = pread(f->fd, buf, cap, f->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, "read the object");
        f->at += n;
        return n;
    }
}

static ssize_t file_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    return file_pread((struct feed *)in, buf, cap, err);
}

static int file_seek(struct input *in, int64_t offset, struct err *err)
{
    (void)err;
    ((struct feed *)in)->at = offset;
    return 0;
}

/* Bytes that are in a growing file beyond `at`. Once the worker counts for a later object, the end
 * of ours is in the socket. */
static int64_t file_ahead(struct feed *f, struct err *err)
{
    uint64_t grown = atomic_load(&f->child->shared->grown);
    if (!f->end_known && grown >> READER_GROWN_BITS != (f->number & 0xffff) && feed_end(f, err) < 0)
        return -1;
    uint64_t have = f->end_known ? f->end : grown & ((UINT64_C(1) << READER_GROWN_BITS) - 1);
    return have > (uint64_t)f->at ? (int64_t)(have - (uint64_t)f->at) : 0;
}

static ssize_t growing_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct feed *f = (struct feed *)in;
    for (;;) {
        int64_t ahead = file_ahead(f, err);
        if (ahead < 0)
            return -1;
        if (ahead > 0)
            return file_pread(f, buf, (int64_t)cap < ahead ? cap : (size_t)ahead, err);
        if (f->end_known)
            return 0;
        ring_will_wait_nudge(&f->child->ring);
        if ((ahead = file_ahead(f, err)) < 0)
            return -1;
        if (ahead == 0 && !f->end_known && feed_wait(f, err) < 0)
            return -1;
    }
}

/* The reader had enough before the end: nothing counts until the object is known to be whole. */
static int feed_rest(struct feed *f, struct err *err)
{
    char away[4096];
    ssize_t n = 0;
    atomic_store(&f->cancelled, false);
    while (f->fd < 0 && (n = ring_read(&f->input, away, sizeof away, err)) > 0)
        ;
    while (n == 0 && !f->end_known)
        n = feed_end(f, err);
    return n < 0 ? -1 : 0;
}

static void feed_open(struct feed *f, struct child *c, const struct message *m)
{
    *f = (struct feed){ .child = c, .fd = m->fd, .number = m->c };
    if (m->type == READER_STREAM) {
        f->input = (struct input){ ring_read, NULL, (int64_t)m->b };
        ring_skip_to(&c->ring, m->a);
    } else if (m->b) {
        f->input = (struct input){ file_read, file_seek, (int64_t)m->a };
        f->end_known = true;
        f->end = m->a;
    } else {
        f->input = (struct input){ growing_read, NULL, (int64_t)m->a };
    }
}

/* ---- staged files ---- */

/* The next descriptor that the worker gives us, or its error. */
static int opened(struct child *c, struct err *err)
{
    struct message m;
    if (channel_recv(&c->reply, &m, true) != CHANNEL_MESSAGE)
        leave();
    if (m.fd < 0) {
        struct unpacker u = { m.body, false };
        take_err(&u, err);
    }
    return m.fd;
}

/* The worker opens it. An output's is kept, to be synced. */
static int staged_open(void *arg, int number, const char *ext, struct err *err)
{
    struct child *c = arg;
    struct message m = {
        .type = READER_OPEN, .a = (uint64_t)number, .body = str_of(ext), .fd = -1
    };
    if (number < 0 || (number >= OUTPUTS_MAX && number < STAGE_SCRATCH))
        return err_set(err, ERR_INTERNAL, "output %d is not among %d", number, OUTPUTS_MAX);
    if (channel_send(&c->control, &m, err) < 0)
        leave();
    AUTO(fd_closep) int fd = opened(c, err);
    if (fd < 0)
        return -1;
    if (number >= OUTPUTS_MAX)
        return fd_steal(&fd);
    fd_closep(&c->staged[number]);
    if ((c->staged[number] = dup(fd)) < 0)
        return err_sys(err, "keep the file of output %d", number);
    return fd_steal(&fd);
}

/* ---- filters ---- */

static int program_start(void *arg, int part, int ends[2], struct err *err)
{
    struct child *c = arg;
    struct message m = { .type = READER_PROGRAM, .a = (uint64_t)part, .fd = -1 };
    if (channel_send(&c->control, &m, err) < 0)
        leave();
    if ((ends[0] = opened(c, err)) < 0)
        return -1;
    if ((ends[1] = opened(c, err)) < 0)
        fd_closep(&ends[0]);
    return ends[1] < 0 ? -1 : 0;
}

/* ---- enrichment ---- */

static int answer_read(int fd, uint64_t bytes, struct buf *answer, struct err *err)
{
    if (bytes > SIZE_MAX / 2 || !buf_reserve(answer, (size_t)bytes))
        return err_nomem(err);
    while (answer->n < bytes) {
        ssize_t n = pread(fd, answer->p + answer->n, (size_t)bytes - answer->n, (off_t)answer->n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(err, ERR_INTERNAL, "the worker's answer ends too early");
        answer->n += (size_t)n;
    }
    return 0;
}

static int ask_worker(void *arg, int enrich, struct str question, struct buf *answer, struct err *err)
{
    struct child *c = arg;
    struct message m = { .type = READER_ASK, .a = (uint64_t)enrich, .body = question, .fd = -1 };
    if (channel_send(&c->control, &m, err) < 0 || channel_recv(&c->reply, &m, true) != CHANNEL_MESSAGE)
        leave();
    if (m.fd >= 0) {
        AUTO(fd_closep) int fd = m.fd;
        return answer_read(fd, m.a, answer, err);
    }
    struct unpacker u = { m.body, false };
    take_err(&u, err);
    return -1;
}

/* ---- the end of outputs ---- */

static int staged_sync(struct child *c, struct err *err)
{
    for (int i = 0; i < OUTPUTS_MAX; i++)
        if (c->staged[i] >= 0 && fdatasync(c->staged[i]) < 0)
            return err_sys(err, "sync output %d", i);
    return 0;
}

/* ---- inference ---- */

static const struct recipe *part_of(const struct pipeline *p, const char *member, int *number)
{
    for (int i = 0; i < p->nparts; i++)
        if (pipeline_wants(&p->parts[i], member)) {
            *number = i;
            return &p->parts[i];
        }
    return NULL;
}

/* A part that gives no columns, and for which none were found yet; or -1. */
static int part_missing(const struct child *c)
{
    for (int i = 0; i < c->pipeline->nparts; i++)
        if (c->pipeline->parts[i].columns.n == 0 && !c->inferred[i])
            return i;
    return -1;
}

static int infer_part(struct child *c, struct unpack *u, const struct recipe *recipe, int number,
                      struct err *err)
{
    struct inferred found = { 0 };
    if (infer_member(&found, recipe, unpack_member(u),
                     recipe->infer == INFER_SAMPLE ? SAMPLE_BYTES : 0, err) < 0)
        return -1;
    if (number == 0) {
        c->notes = found.notes;
        found.notes = (struct infer_notes){ 0 };
    }
    c->inferred[number] = found.columns;
    found.columns = NULL;
    inferred_clear(&found);
    return 0;
}

/* 1: all parts have their columns; 0: not yet. */
static int infer_object(struct child *c, struct feed *f, const char *uri, struct err *err)
{
    const struct limits *l = &c->config->limits;
    struct unpack_limits limits = { l->members, l->unpacked_bytes, l->ratio, c->pipeline->nested };
    struct unpack *u;
    struct member m;
    char name[512];
    int rc, number;
    source_basename(uri, name, sizeof name);
    if (unpack_open(&u, &f->input, name, &limits, err) < 0)
        return -1;
    while (part_missing(c) >= 0 && (rc = unpack_next(u, &m, err)) != 0) {
        const struct recipe *recipe = rc > 0 ? part_of(c->pipeline, m.name, &number) : NULL;
        if (recipe && recipe->columns.n == 0 && !c->inferred[number] &&
            infer_part(c, u, recipe, number, err) < 0)
            rc = err_in(err, "member '%s'", m.name);
        if (rc < 0) {
            unpack_close(u);
            return -1;
        }
    }
    unpack_close(u);
    return part_missing(c) < 0;
}

/* ---- a job ---- */

static int job_object(struct child *c, const struct message *m, bool *enough, struct err *err)
{
    struct feed f;
    int rc = -1;
    char *uri = malloc(m->body.n + 1);
    if (!uri)
        return err_nomem(err);
    memcpy(uri, m->body.p, m->body.n);
    uri[m->body.n] = '\0';
    feed_open(&f, c, m);
    c->feed = &f;
    if (c->run)
        rc = pipeline_object(c->run, &f.input, uri, err);
    else if ((rc = infer_object(c, &f, uri, err)) == 1)
        *enough = true;
    if (rc < 0)
        err_in(err, "%s", uri);
    else if (rc == 0)
        rc = feed_rest(&f, err);
    if (m->type == READER_FILE && m->b)
        atomic_fetch_add(&c->shared->taken, m->a);
    c->feed = NULL;
    free(uri);
    return rc < 0 ? -1 : 0;
}

static int job_objects(struct child *c, struct err *err)
{
    struct message m;
    bool enough = false;
    while (!enough) {
        if (channel_recv(&c->control, &m, true) != CHANNEL_MESSAGE)
            leave();
        int rc = 0;
        if (m.type == READER_STREAM || m.type == READER_FILE) {
            int fd = m.fd;
            rc = job_object(c, &m, &enough, err);
            fd_closep(&fd);
        } else if (m.type == READER_FINISH) {
            return 0;
        } else {
            fd_closep(&m.fd);
            rc = err_set(err, ERR_INTERNAL, "message %u came between objects", m.type);
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int job_pipeline(struct child *c, struct output *outputs, int *noutputs,
                        struct pipeline_counts *counts, struct err *err)
{
    if (pipeline_start(&c->run, c->config, c->pipeline, c->uid, c->params, c->known, &c->stage,
                       err) < 0)
        return -1;
    pipeline_asks(c->run, (struct asker){ .ask = ask_worker, .start_program = program_start, .arg = c });
    pipeline_watermark(c->run, c->watermark);
    if (c->sample)
        pipeline_sample(c->run);
    int rc = job_objects(c, err);
    if (rc == 0)
        rc = pipeline_finish(c->run, outputs, noutputs, err);
    if (rc < 0 && err->code == ERR_REJECTS)
        pipeline_refused(c->run, outputs, noutputs);
    *counts = *pipeline_counts(c->run);
    struct err later; /* the first error is the one to tell */
    if (pipeline_found(c->run, &c->drift, c->found, rc < 0 ? &later : err) < 0 ||
        pipeline_tally(c->run, &c->tally, rc < 0 ? &later : err) < 0)
        rc = -1;
    pipeline_end(c->run);
    c->run = NULL;
    return rc < 0 ? -1 : staged_sync(c, err);
}

static int job_infer(struct child *c, struct err *err)
{
    int missing;
    if (job_objects(c, err) < 0)
        return -1;
    if ((missing = part_missing(c)) < 0)
        return 0;
    const struct recipe *r = &c->pipeline->parts[missing];
    return err_set(
        err, ERR_NO_MEMBER,
        "no member matches member = %s of [pipeline %s], whose columns are to be inferred",
        r->member ? r->member : "*", r->name);
}

static void pack_output(struct buf *b, const struct output *o)
{
    pack_u64(b, o->kind);
    pack_u64(b, (uint64_t)o->number);
    pack_bytes(b, o->table, strlen(o->table));
    pack_bytes(b, o->ext, strlen(o->ext));
    pack_u64(b, (uint64_t)o->rows);
    pack_u64(b, (uint64_t)o->bytes);
    pack_u64(b, o->in_file);
    pack_u64(b, o->refresh);
    pack_u64(b, o->checksum);
    pack_bytes(b, o->inlined.p, o->inlined.n);
    pack_text(b, o->columns);
    pack_text(b, o->spec);
    pack_text(b, o->sample);
}

static void found_clear(struct child *c)
{
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        part_found_clear(&c->found[i]);
        free_charp(&c->inferred[i]);
    }
    buf_clear(&c->drift);
    buf_clear(&c->tally);
    infer_notes_clear(&c->notes);
}

/* What the run, or the look at the columns, found of the parts. */
static void pack_found(struct buf *b, const struct child *c)
{
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++)
        pack_text(b, c->inferred[i]);
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        pack_text(b, c->found[i].added);
        pack_text(b, c->found[i].header);
        pack_text(b, c->found[i].profile);
    }
    pack_text(b, c->drift.n ? c->drift.p : NULL);
    pack_text(b, c->tally.n ? c->tally.p : NULL);
    pack_text(b, c->notes.records);
    pack_u64(b, (uint64_t)c->notes.unread);
    pack_text(b, c->notes.first_unread);
    pack_text(b, c->notes.hints);
}

static void result_send(struct child *c, int rc, const struct err *job_err,
                        const struct pipeline_counts *counts, const struct output *outputs,
                        int noutputs)
{
    struct buf b = { 0 };
    struct err err;
    pack_u64(&b, (uint64_t)sys_peak_rss());
    pack_u64(&b, rc < 0);
    pack_err(&b, job_err);
    pack_bytes(&b, counts, sizeof *counts);
    pack_u64(&b, (uint64_t)noutputs);
    for (int i = 0; i < noutputs; i++)
        pack_output(&b, &outputs[i]);
    pack_found(&b, c);
    if (b.failed) {
        buf_clear(&b);
        if (rc < 0)
            leave(); /* not even room for an error: the worker sees us go */
        err_nomem(&err);
        err.code = ERR_READER_MEMORY;
        result_send(c, -1, &err, counts, NULL, 0);
        return;
    }
    if (b.n > CHANNEL_BODY_MAX) { /* of a job that failed before, its own error says more */
        if (rc == 0)
            err_set(&err, ERR_LIMIT, "what the job tells of its columns takes %zu bytes, and %d are the most that it may", b.n, CHANNEL_BODY_MAX);
        buf_clear(&b);
        found_clear(c);
        result_send(c, -1, rc < 0 ? job_err : &err, counts, NULL, 0);
        return;
    }
    struct message m = { .type = READER_RESULT, .body = buf_str(&b), .fd = -1 };
    if (channel_send(&c->control, &m, &err) < 0)
        leave();
    buf_clear(&b);
}

static void job_clear(struct child *c)
{
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++)
        part_known_clear(&c->known[i]);
    found_clear(c);
    free_charp(&c->params);
    for (int i = 0; i < OUTPUTS_MAX; i++)
        fd_closep(&c->staged[i]);
}

static void job_run(struct child *c, const struct message *m)
{
    struct output outputs[OUTPUTS_MAX] = { 0 };
    struct pipeline_counts counts = { 0 };
    struct err err = { 0 };
    struct unpacker u = { m->body, false };
    int noutputs = 0;
    c->pipeline = &c->config->pipelines[m->a];
    take_field(&u, c->uid, sizeof c->uid);
    c->watermark = (int64_t)take_u64(&u);
    c->params = take_text(&u);
    c->sample = m->c;
    for (int i = 0; i < c->pipeline->nparts; i++) {
        c->known[i].columns = take_text(&u);
        c->known[i].added = take_text(&u);
        c->known[i].header = take_text(&u);
    }
    int rc = m->b ? job_infer(c, &err) : job_pipeline(c, outputs, &noutputs, &counts, &err);
    counts.read += sys_fault("reader-miscounts");
    if (rc < 0 && err.code == ERR_NO_MEMORY) {
        err.code = ERR_READER_MEMORY;
        err_in(&err, "the reader may use %lld MiB ([limits] memory)",
               (long long)(c->config->limits.memory >> 20));
    }
    result_send(c, rc, &err, &counts, outputs, noutputs);
    for (int i = 0; i < noutputs; i++)
        output_clear(&outputs[i]);
    job_clear(c);
}

/* ---- the process ---- */

/* Ctrl-C and systemd send their signals to all of a group; our end is the worker's decision. A
 * crash is a crash, without any handler that the worker may have. */
static void signals_reset(void)
{
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2 };
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS };
    for (size_t i = 0; i < COUNT_OF(ignored); i++)
        signal(ignored[i], SIG_IGN);
    for (size_t i = 0; i < COUNT_OF(crashes) && !SANDBOX_ASAN; i++)
        signal(crashes[i], SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
}

/* What the ini says in clear is no business of a process that reads foreign bytes. */
static void secrets_wipe(const struct config *config)
{
    for (int i = 0; i < config->nremotes; i++) {
        wipe(config->remotes[i].password);
        wipe(config->remotes[i].header);
        wipe(config->remotes[i].proxy);
    }
    for (int i = 0; i < config->nenriches; i++) {
        wipe(config->enriches[i].url_text);
        wipe(config->enriches[i].body_text);
        wipe(config->enriches[i].header);
    }
    for (int i = 0; i < config->npipelines; i++)
        wipe(config->pipelines[i].command_limits.env);
    extern char **environ;
    for (char **e = environ; e && *e; e++)
        wipe(*e);
    environ = NULL;
}

/* mktime(), which libarchive calls for the times in a zip, would look for /etc/localtime each time. */
static void zone_fix(void)
{
    (void)setenv("TZ", "UTC0", 1);
    tzset();
}

static void hello(struct child *c, const struct err *why)
{
    struct buf b = { 0 };
    struct err err;
    pack_err(&b, why);
    struct message m = {
        .type = READER_HELLO, .a = (uint64_t)sys_peak_rss(), .body = buf_str(&b), .fd = -1
    };
    if (b.failed || channel_send(&c->control, &m, &err) < 0 || why->code != ERR_NONE)
        leave();
    buf_clear(&b);
}

/* One arena: a second one would take 64 MiB of the address space. What a small job frees is kept for
 * the next one: giving it back and taking it again is a tenth of such a job. */
static void heap_tune(void)
{
    enum { KEPT = 16 << 20, MAPPED = 4 << 20 };
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED);
    (void)mallopt(M_TOP_PAD, 1 << 20);
}

static int threads_start(void *arg, struct err *err)
{
    return ahead_start(AHEAD_AFTER, feed_cancel, arg, err) < 0 ? -1 : behind_start(err);
}

void reader_child_run(const struct reader_side *side)
{
    struct child c = { .config = side->config, .ring = side->ring, .shared = side->shared };
    struct err err = { 0 };
    struct message m;
    signals_reset();
    secrets_wipe(side->config);
    zone_fix();
    heap_tune();
    channel_init(&c.control, side->control);
    channel_init(&c.reply, side->reply);
    c.stage = (struct stage){ staged_open, &c, STAGE_INLINE_MAX };
    for (int i = 0; i < OUTPUTS_MAX; i++)
        c.staged[i] = -1;
    int keep[] = { side->control, side->reply, side->ring.data_event, side->ring.room_event };
    struct sandbox box = { .keep = keep,
                           .nkeep = COUNT_OF(keep),
                           .memory = side->config->limits.memory,
                           .parent = side->parent,
                           .threads = threads_start,
                           .arg = &c };
    if (sandbox_enter(&box, &err) == 0)
        err.code = ERR_NONE;
    hello(&c, &err);
    while (channel_recv(&c.control, &m, true) == CHANNEL_MESSAGE) {
        if (m.type == READER_BEGIN)
            job_run(&c, &m);
        else
            fd_closep(&m.fd);
    }
    leave();
}
