/* The starter of tasks, and their book. See far.h. */
#include "role/far.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
};

/* ---- the starter ---- */

struct starter {
    int fd; /* tasks come, reports go: whole, one a message */
    void (*serve)(const void *arg, struct far_report *report);
    const void *arg;
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
    s->serve(s->arg, &r);
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
    struct pollfd p = { s->fd, POLLIN, 0 };
    struct far_task task;
    bool ready = ppoll(&p, 1, NULL, &s->mask) == 1;
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
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP }, NULL);
    while (!is_over(s))
        ;
    kill_all(s, SIGTERM);
    for (int64_t until = sys_mono_ms() + STOP_MS, left; s->n && (left = until - sys_mono_ms()) > 0; reap(s, WNOHANG)) {
        struct timespec ts = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000 };
        (void)ppoll(NULL, 0, &ts, &s->mask);
    }
    kill_all(s, SIGKILL);
    _exit(0);
}

/* ---- the scanner's side ---- */

int far_open(struct far **out, void (*serve)(const void *arg, struct far_report *report), const void *arg, struct err *err)
{
    int fds[2];
    struct far *f = calloc(1, sizeof *f);
    if (!f)
        return err_nomem(err);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        free(f);
        return err_sys(err, "make a pair of sockets");
    }
    pid_t self = getpid();
    f->fd = fds[0];
    f->starter = fork();
    if (f->starter == 0) {
        struct starter s = { .fd = fds[1], .serve = serve, .arg = arg };
        close(fds[0]);
        starter_main(&s, self);
    }
    close(fds[1]);
    if (f->starter < 0) {
        err_sys(err, "start a process");
        close(fds[0]);
        free(f);
        return -1;
    }
    *out = f;
    return 0;
}

void far_close(struct far *f)
{
    if (!f)
        return;
    close(f->fd);
    while (waitpid(f->starter, NULL, 0) < 0 && errno == EINTR)
        ;
    free(f);
}

bool far_has_room(const struct far *f, uint64_t place)
{
    for (int i = 0; i < f->n; i++)
        if (f->running[i].place == place)
            return false;
    return f->n < FAR_MAX;
}

int far_start(struct far *f, const struct far_task *task, struct err *err)
{
    f->running[f->n] = *task;
    f->running[f->n].number = ++f->begun;
    if (send(f->fd, &f->running[f->n], sizeof *task, MSG_NOSIGNAL) < 0)
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
                return 1;
            }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n < 0 ? err_sys(err, "hear of listings") : err_set(err, ERR_IO, "the process that starts listings is gone");
}

int far_running(const struct far *f) { return f ? f->n : 0; }

int far_fd(const struct far *f) { return f ? f->fd : -1; }
