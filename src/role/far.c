/* The starter of tasks, and their book. See far.h. */
#include "role/far.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

enum { STOP_MS = 2000 /* after SIGTERM, until SIGKILL */ };

struct far {
    pid_t starter;
    int fd;
    int64_t begun; /* tasks, ever: the number of the last one */
    int n;
    struct far_task running[FAR_MAX];
    bool told[FAR_MAX];  /* of the running ones: it was silent */
    int64_t *beats;      /* by slot; shared with the tasks */
};

/* ---- the starter ---- */

struct starter {
    int fd; /* tasks come, reports go: whole, one a message */
    int talk[2]; /* what tasks write to standard output and error */
    void (*serve)(const void *arg, struct far_report *report, int64_t *beat);
    const void *arg;
    int64_t *beats;
    sigset_t mask; /* outside of it */
    int n;
    struct started {
        pid_t pid;
        struct far_task task;
    } v[FAR_MAX];
};

static void report(const struct starter *s, const struct far_report *r)
{
    (void)!send(s->fd, r, sizeof *r, MSG_NOSIGNAL); /* who does not hear it is gone, and ends us */
}

/* A task may be held by the kernel long after we are gone: a pipe of ours must not stay open with it. */
static void talk_to_starter(const struct starter *s)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(s->talk[1], STDOUT_FILENO);
    (void)dup2(s->talk[1], STDERR_FILENO);
}

static void pass_on_talk(const struct starter *s)
{
    char text[PIPE_BUF];
    struct err ignored;
    for (ssize_t n; (n = read(s->talk[0], text, sizeof text)) > 0;)
        (void)sys_write_all(STDERR_FILENO, text, (size_t)n, "standard error", &ignored);
}

static void task_main(const struct starter *s, const struct far_task *task, pid_t starter)
{
    struct far_report r;
    memset(&r, 0, sizeof r);
    r.task = *task;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
    sys_signals_init(NULL);
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
    if (getppid() != starter) /* it died before that */
        _exit(1);
    talk_to_starter(s);
    s->serve(s->arg, &r, &s->beats[task->slot]);
    report(s, &r);
    _exit(0);
}

static void died(const struct starter *s, const struct far_task *task, int status)
{
    struct far_report r;
    memset(&r, 0, sizeof r);
    r.task = *task;
    r.how = FAR_DIED;
    err_set(&r.err, ERR_INTERNAL, "the process that asked the place died: %s",
            WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it did not say why");
    report(s, &r);
}

static void reap(struct starter *s, int flags)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, flags)) > 0; flags = WNOHANG)
        for (int i = 0; i < s->n; i++)
            if (s->v[i].pid == pid) {
                if (!WIFEXITED(status) || WEXITSTATUS(status))
                    died(s, &s->v[i].task, status);
                s->v[i] = s->v[--s->n];
                break;
            }
}

static void start(struct starter *s, const struct far_task *task)
{
    while (s->n == FAR_MAX) /* one of them has reported, and ends now */
        reap(s, 0);
    fflush(NULL);
    pid_t self = getpid(), pid = fork();
    if (pid == 0)
        task_main(s, task, self);
    if (pid > 0) {
        s->v[s->n++] = (struct started){ pid, *task };
        return;
    }
    struct far_report r;
    memset(&r, 0, sizeof r);
    r.task = *task;
    r.how = FAR_DIED;
    err_sys(&r.err, "start a process");
    report(s, &r);
}

static void kill_all(const struct starter *s, int sig)
{
    for (int i = 0; i < s->n; i++)
        kill(s->v[i].pid, sig);
}

/* Until a task comes, or the end of one, or (true) the scanner is gone. */
static bool is_over(struct starter *s)
{
    struct pollfd p[] = { { s->fd, POLLIN, 0 }, { s->talk[0], POLLIN, 0 } };
    struct far_task task;
    bool ready = ppoll(p, COUNT_OF(p), NULL, &s->mask) > 0 && p[0].revents;
    pass_on_talk(s);
    reap(s, WNOHANG);
    if (!ready)
        return false;
    ssize_t n = recv(s->fd, &task, sizeof task, MSG_DONTWAIT);
    if (n == sizeof task)
        start(s, &task);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_child(int sig)
{
    (void)sig; /* it ends the wait, that is all */
}

static void starter_main(struct starter *s, pid_t scanner)
{
    sigset_t child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != scanner)
        _exit(0);
    signal(SIGTERM, SIG_IGN); /* the scanner tells us, by its end of the socket */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &s->mask);
    if (pipe2(s->talk, O_CLOEXEC) < 0 || fcntl(s->talk[0], F_SETFL, O_NONBLOCK) < 0)
        _exit(1);
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP }, NULL);
    while (!is_over(s))
        ;
    kill_all(s, SIGTERM);
    for (int64_t until = sys_mono_ms() + STOP_MS, left; s->n && (left = until - sys_mono_ms()) > 0; reap(s, WNOHANG)) {
        struct timespec ts = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };
        (void)ppoll(NULL, 0, &ts, &s->mask);
    }
    kill_all(s, SIGKILL);
    pass_on_talk(s);
    _exit(0);
}

/* ---- the scanner's side ---- */

static void far_free(struct far *f)
{
    if (f->beats)
        munmap(f->beats, FAR_MAX * sizeof *f->beats);
    fd_closep(&f->fd);
    free(f);
}

static int fork_starter(struct far *f, struct starter *s, struct err *err)
{
    int fds[2];
    void *beats = mmap(NULL, FAR_MAX * sizeof *f->beats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (beats == MAP_FAILED)
        return err_sys(err, "share memory");
    s->beats = f->beats = beats;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return err_sys(err, "make a pair of sockets");
    f->fd = fds[0];
    s->fd = fds[1];
    pid_t self = getpid();
    f->starter = fork();
    if (f->starter == 0) {
        close(fds[0]);
        starter_main(s, self);
    }
    close(fds[1]);
    return f->starter < 0 ? err_sys(err, "start a process") : 0;
}

int far_open(struct far **out, void (*serve)(const void *arg, struct far_report *report, int64_t *beat), const void *arg, struct err *err)
{
    struct starter s = { .serve = serve, .arg = arg };
    struct far *f = calloc(1, sizeof *f);
    if (!f)
        return err_nomem(err);
    f->fd = -1;
    if (fork_starter(f, &s, err) < 0) {
        far_free(f);
        return -1;
    }
    *out = f;
    return 0;
}

void far_close(struct far *f)
{
    if (!f)
        return;
    fd_closep(&f->fd);
    while (waitpid(f->starter, NULL, 0) < 0 && errno == EINTR)
        ;
    far_free(f);
}

bool far_has_room(const struct far *f, uint64_t place)
{
    for (int i = 0; i < f->n; i++)
        if (f->running[i].place == place)
            return false;
    return f->n < FAR_MAX;
}

/* One that no running task has. */
static int free_slot(const struct far *f)
{
    int slot = 0;
    for (int i = 0; i < f->n; i++)
        if (f->running[i].slot == slot) {
            slot++;
            i = -1;
        }
    return slot;
}

int far_start(struct far *f, const struct far_task *task, struct err *err)
{
    struct far_task *t = &f->running[f->n];
    *t = *task;
    t->slot = free_slot(f);
    t->number = ++f->begun;
    f->told[f->n] = false;
    __atomic_store_n(&f->beats[t->slot], sys_mono_ms(), __ATOMIC_RELAXED);
    if (send(f->fd, t, sizeof *t, MSG_NOSIGNAL) < 0)
        return err_sys(err, "hand a source to the process that starts listings");
    f->n++;
    return 0;
}

int far_ended(struct far *f, struct far_report *out, struct err *err)
{
    ssize_t n;
    while ((n = recv(f->fd, out, sizeof *out, MSG_DONTWAIT)) == sizeof *out)
        for (int i = 0; i < f->n; i++) /* a process may be killed behind its report: only the first one counts */
            if (f->running[i].number == out->task.number) {
                f->running[i] = f->running[--f->n];
                f->told[i] = f->told[f->n];
                return 1;
            }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n < 0 ? err_sys(err, "hear of listings") : err_set(err, ERR_IO, "the process that starts listings is gone");
}

const struct far_task *far_silent(struct far *f, int64_t silent_ms)
{
    int64_t now = sys_mono_ms();
    for (int i = 0; i < f->n; i++)
        if (f->running[i].mount && !f->told[i] && now - __atomic_load_n(&f->beats[f->running[i].slot], __ATOMIC_RELAXED) >= silent_ms) {
            f->told[i] = true;
            return &f->running[i];
        }
    return NULL;
}

int far_awaited(const struct far *f)
{
    int n = 0;
    for (int i = 0; f && i < f->n; i++)
        n += !f->told[i];
    return n;
}

int far_fd(const struct far *f) { return f ? f->fd : -1; }
