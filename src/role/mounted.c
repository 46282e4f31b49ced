/* The helper at mounts, and who waits for it. See mounted.h. */
#include "role/mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mount.h"
#include "base/sys.h"
#include "base/text.h"
#include "source/source.h"

enum {
    CHUNK = 64 * 1024,
    URI_MAX = 64 * 1024,
    HUNG_MAX = 16,
    WAIT_MS = 100,
    TICK_CHUNKS = 16,   /* so many between two ticks, when none is waited for */
    DYING_MS = 1000,    /* a killed process that nothing holds is gone long before */
    ALIVE_MS = 200,
    FIRST_FD = 3,
};

/* What is asked, and what is answered: whole, one a message; of the texts only their used part goes. */
enum op { GET, STAT, ARCHIVE };
struct request {
    enum op op;
    int pipeline, number; /* ARCHIVE, with the descriptor of the bytes */
    int64_t bytes;
    char uid[SYS_UID_LEN + 1];
    char uri[URI_MAX];
};
enum kind { ALIVE, HEAD, BYTES, END, FAULT };
struct packet {
    int64_t kind;
    union {
        struct {
            int64_t size, mtime_ms;
        } head;
        char bytes[CHUNK];
        struct err err;
    };
};
enum { PACKET_FRONT = offsetof(struct packet, bytes) };

struct mounted {
    const struct config *config;
    struct mount_table table;
    struct buf point; /* the mount of the file in hand */
    pid_t pid;        /* of the helper; 0: there is none */
    int fd;
    struct hung { /* killed, and not gone when it was looked at last */
        pid_t pid;
        uint64_t mount;
        int64_t killed_mono_ms;
    } hung[HUNG_MAX];
    int nhung;
    struct packet packet; /* the last one */
};

/* ---- the helper ---- */

static void answer(int fd, const struct packet *p, size_t n)
{
    ssize_t rc;
    do
        rc = send(fd, p, PACKET_FRONT + n, MSG_NOSIGNAL);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        _exit(0); /* nobody is there to hear it */
}

static void answer_end(int fd, int rc, const struct err *err)
{
    struct packet p;
    memset(&p, 0, sizeof p.kind + sizeof p.err);
    p.kind = rc < 0 ? FAULT : END;
    if (rc < 0)
        p.err = *err;
    answer(fd, &p, sizeof p.err);
}

static void answer_head(int fd, int64_t size, int64_t mtime_ms)
{
    struct packet p;
    p.kind = HEAD;
    p.head.size = size;
    p.head.mtime_ms = mtime_ms;
    answer(fd, &p, sizeof p.head);
}

static void serve_get(int fd, const char *uri)
{
    static struct packet p;
    AUTO(fd_closep) int file = -1; /* after the answer: a close may be held, too */
    int64_t size, mtime_ms, at = 0;
    struct err err;
    if (source_open_local(uri, &file, &size, &mtime_ms, &err) < 0) {
        answer_end(fd, -1, &err);
        return;
    }
    answer_head(fd, size, mtime_ms);
    p.kind = BYTES;
    for (ssize_t n; (n = pread(file, p.bytes, sizeof p.bytes, at)) != 0; at += n > 0 ? n : 0) {
        if (n < 0 && errno != EINTR) {
            answer_end(fd, err_sys(&err, "read '%s'", uri), &err);
            return;
        }
        if (n > 0)
            answer(fd, &p, (size_t)n);
    }
    answer_end(fd, 0, NULL);
}

static void serve_stat(int fd, const char *uri)
{
    int64_t size, mtime_ms;
    struct err err;
    if (source_stat_local(uri, &size, &mtime_ms, &err) < 0)
        answer_end(fd, -1, &err);
    else
        answer_head(fd, size, mtime_ms);
}

struct putting {
    int fd;
    int64_t alive_mono_ms;
};

static int putting_tick(void *arg, struct err *err)
{
    struct putting *p = arg;
    struct packet alive = { .kind = ALIVE };
    int64_t now = sys_mono_ms();
    (void)err;
    if (now - p->alive_mono_ms >= ALIVE_MS) {
        p->alive_mono_ms = now;
        answer(p->fd, &alive, 0);
    }
    return 0;
}

static void serve_archive(const struct mounted *m, int fd, const struct request *r, int bytes)
{
    struct putting p = { .fd = fd };
    struct archive *a = archive_new(m->config);
    struct archive_object o = { r->uid, r->number, r->uri, bytes, r->bytes, putting_tick, &p };
    struct err err;
    int rc = a ? archive_put(a, &m->config->pipelines[r->pipeline], &o, &err) : err_nomem(&err);
    answer_end(fd, rc, &err);
    archive_free(a);
}

/* The next request: its length, 0 the owner is gone; *file: what came with it, or -1. */
static ssize_t receive(int fd, struct request *r, int *file)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = { r, sizeof *r };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t n;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    *file = -1;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(file, CMSG_DATA(c), sizeof *file);
    return n < 0 ? 0 : n;
}

/* Nothing of the owner's but the socket: what it holds open must not stay open for as long as we are held. */
static void only_socket(int fd)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(fd, FIRST_FD) < 0)
        _exit(1);
    for (int i = 0; i < FIRST_FD; i++)
        (void)dup2(null, i);
    (void)close_range(FIRST_FD + 1, ~0u, 0);
}

static void __attribute__((noreturn)) helper_main(const struct mounted *m, int socket, pid_t owner)
{
    static struct request r;
    int file;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_NAME, "qetl-mounted");
    if (getppid() != owner) /* it died before that */
        _exit(0);
    signal(SIGTERM, SIG_IGN); /* the owner tells us, by its end of the socket */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    only_socket(socket);
    while (receive(FIRST_FD, &r, &file) > 0) {
        if (r.op == GET)
            serve_get(FIRST_FD, r.uri);
        else if (r.op == STAT)
            serve_stat(FIRST_FD, r.uri);
        else
            serve_archive(m, FIRST_FD, &r, file);
        fd_closep(&file);
    }
    _exit(0);
}

/* ---- its owner ---- */

static uint64_t mount_id(const struct mounted *m)
{
    struct hash h;
    hash_init(&h);
    hash_add(&h, m->point.p, m->point.n);
    return hash_end(&h);
}

static bool is_gone(pid_t pid) { return waitpid(pid, NULL, WNOHANG) != 0; }

/* The helper is in the middle of something, and nobody waits for that any more. There is room: is_hung() was asked before it. */
static void leave_behind(struct mounted *m)
{
    if (!m->pid)
        return;
    kill(m->pid, SIGKILL);
    fd_closep(&m->fd);
    if (!is_gone(m->pid))
        m->hung[m->nhung++] = (struct hung){ m->pid, mount_id(m), sys_mono_ms() };
    m->pid = 0;
}

/* Does the kernel hold a helper of ours at the mount in hand still, or as many as we bear? */
static bool is_hung(struct mounted *m)
{
    uint64_t mount = mount_id(m);
    bool hung = false;
    for (int i = m->nhung - 1; i >= 0; i--) {
        struct hung *h = &m->hung[i];
        bool gone = is_gone(h->pid);
        for (; !gone && sys_mono_ms() - h->killed_mono_ms < DYING_MS; gone = is_gone(h->pid))
            (void)poll(NULL, 0, 1);
        if (gone)
            *h = m->hung[--m->nhung];
        else
            hung |= h->mount == mount;
    }
    return hung || m->nhung == HUNG_MAX;
}

static int start(struct mounted *m, struct err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return err_sys(err, "make the sockets of a helper");
    pid_t self = getpid();
    m->pid = fork();
    if (m->pid == 0)
        helper_main(m, ends[1], self);
    close(ends[1]);
    if (m->pid < 0) {
        m->pid = 0;
        close(ends[0]);
        return err_sys(err, "fork a helper");
    }
    m->fd = ends[0];
    return 0;
}

static bool hand_over(const struct mounted *m, const struct request *r, int file)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec part = { (void *)r, offsetof(struct request, uri) + strlen(r->uri) + 1 };
    struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };
    if (file >= 0) {
        control.head.cmsg_len = CMSG_LEN(sizeof file);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&control.head), &file, sizeof file);
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
    }
    return sendmsg(m->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

static int silent(const struct mounted *m, const char *what, int64_t waited_ms, struct err *err)
{
    if (waited_ms)
        return err_set(err, ERR_TIMEOUT, "'%s': its mount '%.*s' does not answer: nothing came for %lld s ([limits] connect_timeout, stall_timeout)", what,
                       (int)m->point.n, m->point.p, (long long)(waited_ms / 1000));
    return err_set(err, ERR_TIMEOUT, "'%s': its mount '%.*s' does not answer: a process that asked before is held there still", what, (int)m->point.n,
                   m->point.p);
}

/* A helper, and the request to it; one that died while it had nothing to do is replaced. */
static int ask(struct mounted *m, const struct request *r, int file, const char *what, struct err *err)
{
    if (is_hung(m))
        return silent(m, what, 0, err);
    for (int i = 0; i < 2; i++) {
        if (!m->pid && start(m, err) < 0)
            return -1;
        if (hand_over(m, r, file))
            return 0;
        err_sys(err, "ask a helper");
        leave_behind(m);
    }
    return -1;
}

/* How it is waited. */
struct waiting {
    const char *what; /* for errors: without secrets */
    int (*tick)(void *arg, struct err *err);
    void *arg;
    const struct pollfd *fds;
    int nfds;
    int64_t limit_ms;
    unsigned chunks;
};

/* tick() wants the end, or the helper is no use any more. */
static int give_up(struct mounted *m)
{
    leave_behind(m);
    return -1;
}

static void wait_some(const struct mounted *m, const struct waiting *w, bool for_helper)
{
    struct pollfd p[9];
    for (int i = 0; i < w->nfds; i++)
        p[i] = w->fds[i];
    p[w->nfds] = (struct pollfd){ for_helper ? m->fd : -1, POLLIN, 0 };
    (void)poll(p, (nfds_t)w->nfds + 1, WAIT_MS);
}

/* The next packet: the length of what stands in it, or -1. Then the helper is gone or left behind. */
static ssize_t next(struct mounted *m, struct waiting *w, struct err *err)
{
    for (int64_t began = sys_mono_ms();;) {
        ssize_t n = recv(m->fd, &m->packet, sizeof m->packet, MSG_DONTWAIT);
        if (n >= (ssize_t)PACKET_FRONT && m->packet.kind != ALIVE) {
            w->limit_ms = m->config->limits.stall_timeout_ms;
            if (++w->chunks % TICK_CHUNKS == 0 && w->tick(w->arg, err) < 0)
                return give_up(m);
            return n - PACKET_FRONT;
        }
        if (n > 0)
            began = sys_mono_ms();
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return err_set(err, ERR_IO, "'%s': the process that reads there died", w->what), give_up(m);
        int64_t waited = sys_mono_ms() - began;
        if (waited >= w->limit_ms)
            return silent(m, w->what, waited, err), give_up(m);
        wait_some(m, w, true);
        if (w->tick(w->arg, err) < 0)
            return give_up(m);
    }
}

static struct waiting waiting_for(const struct mounted *m, const char *what, int (*tick)(void *arg, struct err *err), void *arg)
{
    const struct limits *l = &m->config->limits;
    return (struct waiting){ .what = what, .tick = tick, .arg = arg, .limit_ms = l->connect_timeout_ms + l->stall_timeout_ms };
}

static int fault(const struct mounted *m, struct err *err)
{
    *err = m->packet.err;
    return -1;
}

/* All of a packet's bytes into the sink. */
static int give(struct mounted *m, const struct waiting *w, const struct fetch_sink *sink, size_t n, struct err *err)
{
    ssize_t rc;
    while ((rc = sink->write(sink->arg, m->packet.bytes, n, err)) == 0) {
        wait_some(m, w, false);
        if (sink->tick(sink->arg, err) < 0)
            return give_up(m);
    }
    return rc < 0 ? give_up(m) : 0;
}

static int take_head(struct mounted *m, const struct fetch_sink *sink, struct err *err)
{
    struct fetch_head head = { .size = m->packet.head.size };
    text_put_rfc3339(head.modified, m->packet.head.mtime_ms);
    return sink->head(sink->arg, &head, err) < 0 ? give_up(m) : 0;
}

/* ---- whose file is it? ---- */

static int find(struct mounted *m, const char *uri, struct err *err)
{
    char path[PATH_MAX];
    buf_renew(&m->point);
    return source_local_path(uri, path, err) < 0 ? -1 : mount_table_is_far(&m->table, path, &m->point, err);
}

int mounted_has(struct mounted *m, const char *uri, struct err *err) { return m ? find(m, uri, err) : 0; }

int mounted_has_archive(struct mounted *m, const struct pipeline *pipeline, struct err *err)
{
    const char *folder;
    const struct target_config *target = m ? config_archive(m->config, pipeline, &folder) : NULL;
    return target && !strncmp(target->url, "file:", 5) ? find(m, target->url, err) : 0;
}

struct mounted *mounted_new(const struct config *config)
{
    struct mounted *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->config = config;
    m->table = MOUNT_TABLE_UNREAD;
    m->fd = -1;
    return m;
}

void mounted_free(struct mounted *m)
{
    if (!m)
        return;
    leave_behind(m);
    (void)is_hung(m); /* those that are gone are collected */
    mount_table_clear(&m->table);
    buf_clear(&m->point);
    free(m);
}

/* ---- the questions ---- */

static int request(struct request **out, enum op op, const char *uri, struct err *err)
{
    size_t n = strlen(uri);
    if (n >= URI_MAX)
        return err_set(err, ERR_URI, "the URI is longer than %d bytes", URI_MAX - 1);
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->op = op;
    memcpy(r->uri, uri, n + 1);
    *out = r;
    return 0;
}

/* Send it; consumed. */
static int pose(struct mounted *m, struct request *r, int file, const struct waiting *w, struct err *err)
{
    int rc = ask(m, r, file, w->what, err);
    free(r);
    return rc;
}

int mounted_get(struct mounted *m, const char *uri, const struct fetch_sink *sink, struct err *err)
{
    struct waiting w = waiting_for(m, uri, sink->tick, sink->arg);
    struct request *r;
    ssize_t n;
    w.fds = sink->fds;
    w.nfds = sink->nfds;
    if (find(m, uri, err) < 0 || request(&r, GET, uri, err) < 0 || pose(m, r, -1, &w, err) < 0)
        return -1;
    while ((n = next(m, &w, err)) >= 0 && m->packet.kind != END)
        if (m->packet.kind == FAULT)
            return fault(m, err);
        else if (m->packet.kind == HEAD ? take_head(m, sink, err) < 0 : give(m, &w, sink, (size_t)n, err) < 0)
            return -1;
    return n < 0 ? -1 : 0;
}

int mounted_stat(struct mounted *m, const char *uri, int64_t *size, int64_t *mtime_ms, int (*tick)(void *arg, struct err *err), void *arg,
                 struct err *err)
{
    struct waiting w = waiting_for(m, uri, tick, arg);
    struct request *r;
    if (find(m, uri, err) < 0 || request(&r, STAT, uri, err) < 0 || pose(m, r, -1, &w, err) < 0 || next(m, &w, err) < 0)
        return -1;
    if (m->packet.kind == FAULT)
        return fault(m, err);
    *size = m->packet.head.size;
    *mtime_ms = m->packet.head.mtime_ms;
    return 0;
}

int mounted_archive(struct mounted *m, const struct pipeline *pipeline, const struct archive_object *object, struct err *err)
{
    struct waiting w = waiting_for(m, pipeline->archive, object->tick, object->arg);
    struct request *r;
    if (mounted_has_archive(m, pipeline, err) < 0 || request(&r, ARCHIVE, object->uri, err) < 0)
        return -1;
    r->pipeline = (int)(pipeline - m->config->pipelines);
    r->number = object->number;
    r->bytes = object->bytes;
    snprintf(r->uid, sizeof r->uid, "%s", object->uid);
    if (pose(m, r, object->fd, &w, err) < 0 || next(m, &w, err) < 0)
        return err->code == ERR_TIMEOUT ? err_in(err, "archive") : -1;
    return m->packet.kind == FAULT ? fault(m, err) : 0;
}
