/*
 * The worker's side of the reader child: start it, feed it, serve it, notice its death, replace it.
 *
 * Nothing here waits for the child, with two exceptions: its first word after the fork (10 s at
 * most), and the socket when very many objects with descriptors are ahead of it; both end when it
 * dies. What it says is checked like any foreign input; a child that says what cannot be is killed.
 * A job has exactly one result, whatever happens to the child: its own, or one made here from the
 * way it died.
 *
 * If the worker dies, the kernel kills the child (PR_SET_PDEATHSIG), and its sockets close.
 */
#include "role/reader.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/ring.h"
#include "pipeline/drift.h"
#include "pipeline/enrich_tally.h"
#include "role/channel.h"
#include "role/reader_child.h"

enum {
    RING_BYTES = 2 << 20,
    JOBS_MAX = 1000,        /* a child serves so many, then it is replaced */
    GROWTH_MAX = 128 << 20, /* or when its peak has grown by so many bytes */
    AHEAD_MAX = 512,        /* messages that may wait for a full socket */
    HELLO_MS = 10000,
    RESULT_OUTPUTS_MAX = PIPELINE_PARTS_MAX + 1,
};

struct reader_child {
    const struct config *config;
    pid_t pid;                /* 0: dead and reaped */
    int status;               /* of the dead one */
    int64_t first_peak, peak; /* resident set, bytes */
    struct channel control;
    int reply;
    struct ring ring;
    struct reader_shared *shared;
    int jobs;
    bool busy;  /* a job was begun, its result is not there yet */
    bool early; /* ... it is, in early_result, and nobody has asked for it yet */
    struct reader_result early_result;
    bool sample; /* reader_sample() */
    const char *wrong; /* why we killed it, or NULL */
    struct enrich *enrich; /* answers its questions; NULL: nobody does */
    struct spool *spool;
    char uid[64];
    int64_t token;
    const struct pipeline *pipeline;
    const struct reader_programs *programs;
    uint64_t objects;
    bool streaming;      /* the open object comes by the ring */
    bool complete;       /* ... is a file that is all there: its end needs no message */
    int64_t object_size; /* of the open file, as far as it is there */
    uint64_t whole_bytes; /* of the job's complete files */
};

/* ---- birth and death ---- */

static void child_forget(struct reader_child *c)
{
    if (c->enrich)
        enrich_abandon(c->enrich);
    channel_clear(&c->control);
    fd_closep(&c->reply);
    ring_clear(&c->ring);
    if (c->shared)
        munmap(c->shared, sizeof *c->shared);
    c->shared = NULL;
}

/* Kill (if it lives) and reap. SIGKILL cannot be put off, so the wait is short. */
static void child_end(struct reader_child *c)
{
    struct rusage usage = { 0 };
    if (c->pid > 0) {
        pid_t rc = wait4(c->pid, &c->status, WNOHANG, &usage);
        if (rc == 0) {
            kill(c->pid, SIGKILL);
            do
                rc = wait4(c->pid, &c->status, 0, &usage);
            while (rc < 0 && errno == EINTR);
        }
        if (rc == c->pid && usage.ru_maxrss * INT64_C(1024) > c->peak)
            c->peak = usage.ru_maxrss * INT64_C(1024);
        c->pid = 0;
    }
    child_forget(c);
}

/* It closed its sockets, so it is about to be dead by itself: give it the time to say of what. */
static void child_gone(struct reader_child *c)
{
    for (int i = 0; i < 200 && c->pid > 0; i++) {
        siginfo_t info = { 0 };
        if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == c->pid)
            break;
        (void)poll(NULL, 0, 1);
    }
    child_end(c);
}

static int hello(struct reader_child *c, struct err *err)
{
    struct pollfd p = { c->control.fd, POLLIN, 0 };
    struct message m;
    int rc;
    do
        rc = poll(&p, 1, HELLO_MS);
    while (rc < 0 && errno == EINTR);
    if (rc <= 0 || channel_recv(&c->control, &m, false) != CHANNEL_MESSAGE ||
        m.type != READER_HELLO) {
        child_gone(c);
        return err_set(err, ERR_READER_CRASHED, "the reader did not start%s%s",
                       WIFSIGNALED(c->status) ? ": it died of signal " : "",
                       WIFSIGNALED(c->status) ? strsignal(WTERMSIG(c->status)) : "");
    }
    fd_closep(&m.fd);
    c->first_peak = c->peak = (int64_t)m.a;
    struct unpacker u = { m.body, false };
    struct err why;
    take_err(&u, &why);
    if (why.code == ERR_NONE && !u.bad)
        return 0;
    *err = why;
    child_end(c);
    return err_in(err, "sandbox the reader");
}

static void zones_load(const struct config *config)
{
    for (int i = 0; i < config->npipelines; i++)
        for (int j = 0; j < config->pipelines[i].nparts; j++)
            if (config->pipelines[i].parts[j].zone)
                (void)zone_preload(
                    config->pipelines[i].parts[j].zone); /* an unknown one is an error of the job */
}

static int child_start(struct reader_child *c, struct err *err)
{
    int control[2] = { -1, -1 }, reply[2] = { -1, -1 };
    c->jobs = 0;
    c->wrong = NULL;
    c->status = 0;
    zones_load(c->config);
    void *shared =
        mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    c->shared = shared == MAP_FAILED ? NULL : shared;
    if (!c->shared || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, reply) < 0) {
        err_sys(err, "make the sockets of a reader");
        goto fail;
    }
    if (ring_init(&c->ring, RING_BYTES, err) < 0)
        goto fail;
    pid_t parent = getpid();
    if ((c->pid = fork()) < 0) {
        err_sys(err, "fork a reader");
        goto fail;
    }
    if (c->pid == 0)
        reader_child_run(
            &(struct reader_side){ c->config, control[1], reply[1], c->ring, c->shared, parent });
    close(control[1]);
    close(reply[1]);
    channel_init(&c->control, control[0]);
    c->reply = reply[0];
    return hello(c, err);
fail:
    for (int i = 0; i < 2; i++) {
        fd_closep(&control[i]);
        fd_closep(&reply[i]);
    }
    c->pid = 0;
    child_forget(c);
    return -1;
}

int reader_spawn(struct reader_child **out, const struct config *config, struct err *err)
{
    struct reader_child *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    c->config = config;
    c->reply = -1;
    channel_init(&c->control, -1);
    c->ring = (struct ring){ .data_event = -1, .room_event = -1 };
    if (child_start(c, err) < 0) {
        free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void reader_free(struct reader_child *c)
{
    if (!c)
        return;
    child_end(c);
    if (c->early)
        reader_result_clear(&c->early_result);
    free(c);
}

void reader_enrich(struct reader_child *c, struct enrich *enrich) { c->enrich = enrich; }

bool reader_alive(struct reader_child *c)
{
    siginfo_t info = { 0 };
    if (!c || c->pid <= 0)
        return false;
    return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

pid_t reader_pid(const struct reader_child *c)
{
    return c->pid;
}

/* ---- results ---- */

static void take_notes(struct unpacker *u, struct infer_notes *n)
{
    n->records = take_text(u);
    n->unread = (int64_t)take_u64(u);
    n->first_unread = take_text(u);
    n->hints = take_text(u);
    u->bad |= n->unread < 0;
}

void reader_result_clear(struct reader_result *r)
{
    for (int i = 0; i < r->noutputs; i++)
        output_clear(&r->outputs[i]);
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        free(r->inferred[i]);
        part_found_clear(&r->found[i]);
    }
    free(r->drift);
    free(r->tally);
    infer_notes_clear(&r->notes);
    *r = (struct reader_result){ 0 };
}

static void early_drop(struct reader_child *c)
{
    if (c->early)
        reader_result_clear(&c->early_result);
    c->early = false;
}

static void take_output(struct unpacker *u, struct output *o)
{
    uint64_t kind = take_u64(u), number = take_u64(u);
    take_field(u, o->table, sizeof o->table);
    take_field(u, o->ext, sizeof o->ext);
    o->rows = (int64_t)take_u64(u);
    o->bytes = (int64_t)take_u64(u);
    o->in_file = take_u64(u) != 0;
    o->refresh = take_u64(u) != 0;
    o->checksum = take_u64(u);
    struct str inlined = take_bytes(u);
    o->columns = take_text(u);
    o->spec = take_text(u);
    o->sample = take_text(u);
    u->bad |= (kind == OUTPUT_ROWS && !o->columns) || kind > OUTPUT_REJECTS || number >= RESULT_OUTPUTS_MAX || o->rows < 0 || o->bytes < 0;
    u->bad |= strspn(o->ext, "abcdefghijklmnopqrstuvwxyz0123456789") !=
              strlen(o->ext); /* part of a file name */
    o->kind = u->bad ? OUTPUT_ROWS : (enum output_kind)kind;
    o->number = u->bad ? 0 : (int)number;
    buf_add(&o->inlined, inlined.p, inlined.n);
    u->bad |= o->inlined.failed;
}

/* A text that is to be a JSON object, or NULL. */
static char *take_object(struct unpacker *u)
{
    struct json_value v;
    struct json_fault fault;
    char *text = take_text(u);
    u->bad |= text && (!json_check(str_of(text), &v, &fault) || v.kind != JSON_OBJECT);
    return text;
}

static void take_found(struct unpacker *u, struct part_found *f)
{
    f->added = take_text(u);
    f->header = take_object(u);
    f->profile = take_object(u);
}

static void take_counts(struct unpacker *u, struct pipeline_counts *counts)
{
    static const int64_t year_1_us = INT64_C(-62135596800000000);
    struct str bytes = take_bytes(u);
    u->bad |= bytes.n != sizeof *counts;
    if (u->bad)
        return;
    memcpy(counts, bytes.p, sizeof *counts);
    int64_t now = sys_now_ms() * 1000;
    if (counts->greatest != EVENT_NONE)
        counts->greatest = counts->greatest > now ? now : counts->greatest < year_1_us ? year_1_us : counts->greatest;
}

static bool result_take(struct reader_child *c, struct str body, struct reader_result *r)
{
    struct unpacker u = { body, false };
    *r = (struct reader_result){ 0 };
    r->peak_rss = (int64_t)take_u64(&u);
    r->rc = take_u64(&u) ? -1 : 0;
    take_err(&u, &r->err);
    take_counts(&u, &r->counts);
    u.bad |= r->rc < 0 && r->err.code == ERR_NONE;
    uint64_t n = take_u64(&u);
    u.bad |= n > RESULT_OUTPUTS_MAX;
    while (!u.bad && (uint64_t)r->noutputs < n)
        take_output(&u, &r->outputs[r->noutputs++]);
    for (int i = 0; i < PIPELINE_PARTS_MAX && !u.bad; i++)
        r->inferred[i] = take_text(&u);
    for (int i = 0; i < PIPELINE_PARTS_MAX && !u.bad; i++)
        take_found(&u, &r->found[i]);
    if (!u.bad && (r->drift = take_text(&u)))
        u.bad |= !drift_is_findings(r->drift);
    if (!u.bad && (r->tally = take_text(&u)))
        u.bad |= !enrich_tally_is(r->tally, c->pipeline);
    if (!u.bad)
        take_notes(&u, &r->notes);
    c->wrong = u.bad ? "it sent a result that cannot be read" : reader_result_fault(r, c->pipeline);
    if (c->wrong)
        reader_result_clear(r);
    return !c->wrong;
}

/* The job's result when the child is dead. */
static void result_of_death(struct reader_child *c, struct reader_result *r)
{
    int sig = WIFSIGNALED(c->status) ? WTERMSIG(c->status) : 0;
    long long mib = (long long)(c->peak >> 20), limit = (long long)(c->config->limits.memory >> 20);
    *r = (struct reader_result){ .rc = -1, .signal = sig, .peak_rss = c->peak };
    if (c->wrong)
        err_set(&r->err, ERR_READER_CRASHED, "the reader was stopped: %s", c->wrong);
    else if (sig == SIGSYS)
        err_set(&r->err, ERR_READER_CRASHED,
                "the reader made a system call that its sandbox forbids (SIGSYS), at a peak of "
                "%lld MiB",
                mib);
    else if (sig == SIGKILL && mib > limit * 3 / 4)
        err_set(&r->err, ERR_READER_MEMORY,
                "the reader was killed at a peak of %lld MiB ([limits] memory is %lld MiB)", mib,
                limit);
    else if (sig)
        err_set(&r->err, ERR_READER_CRASHED,
                "the reader died of signal %d (%s), at a peak of %lld MiB", sig, strsignal(sig),
                mib);
    else
        err_set(&r->err, ERR_READER_CRASHED,
                "the reader ended by itself with status %d, at a peak of %lld MiB",
                WEXITSTATUS(c->status), mib);
    c->busy = false;
}

/* ---- a job ---- */

static int post(struct reader_child *c, const struct message *m, struct err *err)
{
    return c->busy && c->pid > 0 ? channel_post(&c->control, m, err)
                                 : 0; /* the result tells what happened */
}

void reader_sample(struct reader_child *c, bool on) { c->sample = on; }

int reader_begin(struct reader_child *c, const struct pipeline *p, const struct part_known *known,
                 const char *params, struct spool *spool, const char *uid, int64_t token, int64_t watermark, bool infer,
                 struct err *err)
{
    struct message m = {
        .type = READER_BEGIN, .a = (uint64_t)(p - c->config->pipelines), .b = infer, .c = c->sample, .fd = -1
    };
    struct buf body = { 0 };
    if (m.a >= (uint64_t)c->config->npipelines)
        return err_set(err, ERR_INTERNAL, "the reader was started with another configuration");
    bool worn = c->jobs >= JOBS_MAX || c->peak > c->first_peak + GROWTH_MAX;
    if (c->busy || worn || !reader_alive(c)) {
        early_drop(c);
        child_end(c);
        if (child_start(c, err) < 0)
            return -1;
    }
    pack_bytes(&body, uid, strlen(uid));
    pack_u64(&body, (uint64_t)watermark);
    pack_text(&body, params);
    for (int i = 0; i < p->nparts; i++) {
        pack_text(&body, known ? known[i].columns : NULL);
        pack_text(&body, known ? known[i].added : NULL);
        pack_text(&body, known ? known[i].header : NULL);
    }
    if (body.failed) {
        buf_clear(&body);
        return err_nomem(err);
    }
    c->jobs++;
    c->busy = true;
    c->spool = spool;
    c->pipeline = p;
    c->objects = c->whole_bytes = 0;
    atomic_store(&c->shared->taken, 0);
    snprintf(c->uid, sizeof c->uid, "%s", uid);
    c->token = token;
    m.body = buf_str(&body);
    int rc = post(c, &m, err);
    buf_clear(&body);
    return rc;
}

bool reader_full(const struct reader_child *c)
{
    return c->busy && !c->early && c->pid > 0 && c->control.waiting >= AHEAD_MAX;
}

int64_t reader_ahead_bytes(const struct reader_child *c)
{
    uint64_t taken = c->shared ? atomic_load(&c->shared->taken) : c->whole_bytes;
    return taken < c->whole_bytes ? (int64_t)(c->whole_bytes - taken) : 0;
}

/* Serve the child while very many objects are ahead of it. A result that comes meanwhile is kept
 * for reader_tick. */
static int wait_ahead(struct reader_child *c, struct err *err)
{
    while (reader_full(c)) {
        struct pollfd fds[READER_FDS];
        reader_pollfds(c, fds);
        (void)poll(fds, READER_FDS, 100);
        int rc = reader_tick(c, &c->early_result, err);
        if (rc < 0)
            return -1;
        if (rc == 1)
            c->early = c->busy = true;
    }
    return 0;
}

static int object_begin(struct reader_child *c, struct message *m, const char *uri, struct err *err)
{
    m->body = str_of(uri);
    m->c = c->objects++;
    return wait_ahead(c, err) < 0 ? -1 : post(c, m, err);
}

int reader_object_stream(struct reader_child *c, const char *uri, int64_t size, struct err *err)
{
    struct message m = { .type = READER_STREAM, .a = c->ring.head, .b = (uint64_t)size, .fd = -1 };
    c->streaming = true;
    c->complete = false;
    if (c->shared)
        atomic_store(&c->shared->streaming, c->objects);
    return object_begin(c, &m, uri, err);
}

int reader_object_file(struct reader_child *c, const char *uri, int fd, int64_t size, bool complete,
                       struct err *err)
{
    struct message m = { .type = READER_FILE, .a = (uint64_t)size, .b = complete, .fd = fd };
    c->streaming = false;
    c->complete = complete;
    c->object_size = complete ? size : 0;
    c->whole_bytes += complete ? (uint64_t)size : 0;
    if (c->shared)
        atomic_store(&c->shared->grown, READER_GROWN(c->objects, 0));
    return object_begin(c, &m, uri, err);
}

ssize_t reader_write(struct reader_child *c, const void *p, size_t n, struct err *err)
{
    if (n > READER_CHUNK_MAX)
        return err_set(err, ERR_INTERNAL, "%zu bytes at once are too many for the ring", n);
    if (!c->busy)
        return (ssize_t)n; /* of a job that has its result */
    return c->pid > 0 && ring_write(&c->ring, p, n) ? (ssize_t)n : 0;
}

void reader_file_grew(struct reader_child *c, int64_t bytes)
{
    c->object_size = bytes;
    if (!c->shared)
        return;
    atomic_store(&c->shared->grown, READER_GROWN(c->objects - 1, bytes));
    ring_nudge(&c->ring);
}

int reader_object_end(struct reader_child *c, struct err *err)
{
    struct message m = { .type = READER_OBJECT_END,
                         .a = c->streaming ? c->ring.head : (uint64_t)c->object_size,
                         .fd = -1 };
    return c->complete ? 0 : post(c, &m, err);
}

int reader_end(struct reader_child *c, struct err *err)
{
    struct message m = { .type = READER_FINISH, .fd = -1 };
    return post(c, &m, err);
}

int reader_abort(struct reader_child *c, struct err *err)
{
    (void)err;
    if (c->busy)
        child_end(c);
    early_drop(c);
    c->busy = false;
    return 0;
}

void reader_pollfds(struct reader_child *c, struct pollfd fds[READER_FDS])
{
    fds[0] = (struct pollfd){ c->control.fd, POLLIN, 0 };
    if (c->control.first)
        fds[0].events |= POLLOUT;
    fds[1] = (struct pollfd){ c->ring.room_event, POLLIN, 0 };
    fds[2] = (struct pollfd){ c->enrich ? enrich_fd(c->enrich) : -1, POLLIN, 0 };
}

/* ---- serving the child ---- */

/* What it waits for: a descriptor, or `why` there is none. */
static int reply(struct reader_child *c, struct message *answer, const struct err *why, struct err *err)
{
    AUTO(buf_clear) struct buf body = { 0 };
    if (answer->fd < 0)
        pack_err(&body, why);
    answer->body = buf_str(&body);
    struct channel reply;
    channel_init(&reply, c->reply);
    int rc = body.failed ? err_nomem(err) : channel_post(&reply, answer, err);
    if (reply.first && rc == 0)
        c->wrong = "it did not take the files it asked for";
    reply.fd = -1;
    channel_clear(&reply);
    return rc;
}

/* Does the SQL have that word, in letters of either case? As an identifier it can be written in no other way. */
static bool has_word(const char *sql, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = sql; at && (at = strcasestr(at, word)); at++) {
        bool begins = at == sql || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');
        if (begins && !isalnum((unsigned char)at[n]) && at[n] != '_')
            return true;
    }
    return false;
}

static bool may_look_up(const struct pipeline *p, const char *name)
{
    for (int i = 0; i < p->nparts; i++) {
        const struct recipe *r = &p->parts[i];
        if (has_word(r->where.text, name) || has_word(r->compute.text, name) || has_word(r->transform.text, name))
            return true;
    }
    return false;
}

static bool may_ask(const struct pipeline *p, const char *name)
{
    for (int i = 0; i < p->nparts; i++)
        for (int k = 0; k < p->parts[i].nenrich; k++)
            if (!strcmp(p->parts[i].enrich[k], name))
                return true;
    return false;
}

/* A look-up that the pipeline of the job may have, for reading. */
static int lookup_open(const struct reader_child *c, uint64_t number, struct err *err)
{
    if (number >= (uint64_t)c->config->nlookups || !may_look_up(c->pipeline, c->config->lookups[number].name))
        return err_set(err, ERR_INTERNAL, "look-up %" PRIu64 " is none of the pipeline's", number);
    const char *path = c->config->lookups[number].file;
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would make us wait */
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        int why = errno;
        err_sys(err, "open '%s'", path);
        if (why == ENOENT || why == EACCES)
            err->code = why == ENOENT ? ERR_FETCH_MISSING : ERR_FETCH_DENIED;
        return -1;
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_NOT_A_FILE, "'%s' is no regular file", path);
    return fd_steal(&fd);
}

static int file_open(struct reader_child *c, uint64_t number, struct err *err)
{
    if (number < RESULT_OUTPUTS_MAX)
        return spool_create(c->spool, c->uid, c->token, (int)number, err);
    if (number == STAGE_SCRATCH)
        return spool_scratch(c->spool, err);
    if (number >= STAGE_LOOKUP)
        return lookup_open(c, number - STAGE_LOOKUP, err);
    return err_set(err, ERR_INTERNAL, "output %" PRIu64 " is not among %d", number, RESULT_OUTPUTS_MAX);
}

static int serve_open(struct reader_child *c, const struct message *m, struct err *err)
{
    struct message answer = { .type = READER_OPENED, .fd = -1 };
    struct err why = { 0 };
    AUTO(fd_closep) int fd = file_open(c, m->a, &why);
    answer.fd = fd;
    return reply(c, &answer, &why, err);
}

/* A question of the job's pipeline: the answer may take its time. */
static int serve_ask(struct reader_child *c, const struct message *m, struct err *err)
{
    struct message answer = { .type = READER_ANSWER, .fd = -1 };
    struct err why;
    if (!c->enrich)
        err_set(&why, ERR_INTERNAL, "nobody is here to ask");
    else if (m->a >= (uint64_t)c->config->nenriches || !may_ask(c->pipeline, c->config->enriches[m->a].name))
        err_set(&why, ERR_INTERNAL, "[enrich] %" PRIu64 " is none of the pipeline's", m->a);
    else if (enrich_ask(c->enrich, m->a, m->body, &why) == 0)
        return 0;
    return reply(c, &answer, &why, err);
}

/* The answer, when it is there. */
static int serve_answer(struct reader_child *c, struct err *err)
{
    struct message answer = { .type = READER_ANSWER, .fd = -1 };
    struct err why = { 0 };
    if (!c->enrich)
        return 0;
    int rc = enrich_tick(c->enrich, &answer.fd, &answer.a, &why);
    if (rc == 0)
        return 0;
    rc = reply(c, &answer, &why, err);
    fd_closep(&answer.fd);
    return rc;
}

static int serve_program(struct reader_child *c, const struct message *m, struct err *err)
{
    struct err why = { 0 };
    int ends[2] = { -1, -1 }, part = m->a < PIPELINE_PARTS_MAX ? (int)m->a : -1;
    if (!c->programs)
        err_set(&why, ERR_INTERNAL, "nobody starts programs for this job");
    else if (c->programs->start(c->programs->arg, part, ends, &why) < 0)
        ends[0] = -1;
    struct message to = { .type = READER_OPENED, .fd = ends[0] }, from = { .type = READER_OPENED, .fd = ends[1] };
    if (reply(c, &to, &why, err) < 0 || (ends[0] >= 0 && reply(c, &from, &why, err) < 0))
        return -1;
    if (ends[0] >= 0)
        c->programs->handed(c->programs->arg, part);
    return 0;
}

void reader_programs(struct reader_child *c, const struct reader_programs *programs) { c->programs = programs; }

static int serve_request(struct reader_child *c, const struct message *m, struct err *err)
{
    switch (m->type) {
    case READER_OPEN:
        return serve_open(c, m, err);
    case READER_PROGRAM:
        return serve_program(c, m, err);
    case READER_ASK:
        return serve_ask(c, m, err);
    default:
        c->wrong = "it sent a message that cannot be";
        return 0;
    }
}

static int serve(struct reader_child *c, struct reader_result *result, struct err *err)
{
    struct message m;
    for (;;) {
        switch (channel_recv(&c->control, &m, false)) {
        case CHANNEL_NOTHING:
            return 0;
        case CHANNEL_GONE:
            child_gone(c);
            result_of_death(c, result);
            return 1;
        case CHANNEL_WRONG:
            c->wrong = "it sent what is no message";
            break;
        case CHANNEL_MESSAGE:
            fd_closep(&m.fd);
            if (m.type == READER_RESULT && result_take(c, m.body, result)) {
                c->peak = result->peak_rss;
                c->busy = false;
                if (result->err.code == ERR_READER_MEMORY) /* its heap is in pieces */
                    child_end(c);
                return 1;
            }
            if (!c->wrong && serve_request(c, &m, err) < 0)
                return -1;
        }
        if (c->wrong) {
            child_end(c);
            result_of_death(c, result);
            return 1;
        }
    }
}

int reader_tick(struct reader_child *c, struct reader_result *result, struct err *err)
{
    if (!c->busy)
        return 0;
    if (c->early) {
        *result = c->early_result;
        c->early = c->busy = false;
        return 1;
    }
    if (c->pid <= 0) {
        result_of_death(c, result);
        return 1;
    }
    channel_flush(&c->control);
    ring_room_seen(&c->ring);
    if (ring_broken(&c->ring)) {
        c->wrong = "its place in the ring is impossible";
        child_end(c);
        result_of_death(c, result);
        return 1;
    }
    int rc = serve(c, result, err);
    return rc ? rc : serve_answer(c, err);
}
