/* The guard of a program. See guard.h. */
#include "role/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

struct guard {
    int socket, talk, signals, failed; /* failed: the program's word that it could not be started */
    int in; /* of a program that must read it to its end, until the program is over: our hold on the pipe, to look into it; or -1 */
    pid_t program;
    int status; /* of the program */
    bool over, reported;
    int64_t deadline_mono_ms;
    char ring[GUARD_TALK_MAX]; /* the last of standard error: byte i of it stands at i % size */
    uint64_t heard;
};

/* What kept the program from being started. */
struct failure {
    int sys;
    char step[24];
};

/* ---- the program, before it is one ---- */

static void __attribute__((noreturn)) give_up(int failed, const char *step)
{
    struct failure f = { .sys = errno };
    strncpy(f.step, step, sizeof f.step - 1);
    ssize_t ignored = write(failed, &f, sizeof f); /* the exit status is left to say it */
    (void)ignored;
    _exit(127);
}

static int limit(int what, rlim_t value)
{
    struct rlimit r;
    if (getrlimit(what, &r) < 0)
        return -1;
    r.rlim_max = r.rlim_max < value ? r.rlim_max : value;
    r.rlim_cur = r.rlim_max;
    return setrlimit(what, &r);
}

static void signals_plain(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int only_std(const struct guard_launch *l, int failed)
{
    if (dup2(l->in, STDIN_FILENO) < 0 || dup2(l->out, STDOUT_FILENO) < 0 || dup2(l->err, STDERR_FILENO) < 0)
        return -1;
    if (failed > STDERR_FILENO + 1 && close_range(STDERR_FILENO + 1, (unsigned)failed - 1, 0) < 0)
        return -1;
    return close_range((unsigned)failed + 1, ~0u, 0); /* failed itself is closed by exec */
}

static int switch_user(const struct guard_launch *l)
{
    if (!l->switch_user)
        return 0;
    return setgroups((size_t)l->ngroups, l->groups) < 0 || setresgid(l->gid, l->gid, l->gid) < 0 ? -1
                                                                                                : setresuid(l->uid, l->uid, l->uid);
}

static void __attribute__((noreturn)) become_program(const struct guard_launch *l, int failed, pid_t guard)
{
    signals_plain();
    if (setsid() < 0)
        give_up(failed, "a session");
    if (only_std(l, failed) < 0)
        give_up(failed, "descriptors");
    if (limit(RLIMIT_CORE, 0) < 0 || (l->memory && limit(RLIMIT_DATA, (rlim_t)l->memory) < 0))
        give_up(failed, "limits");
    if (switch_user(l) < 0)
        give_up(failed, "command_user");
    if (chdir(l->folder) < 0)
        give_up(failed, "the folder");
    umask(077);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        give_up(failed, "prctl");
    if (getppid() != guard)
        _exit(127);
    execvpe(l->argv[0], l->argv, l->envp);
    give_up(failed, "exec");
}

/* ---- the guard ---- */

/* Bury whoever is dead; true: nobody is left. */
static bool reap(struct guard *g)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == g->program) {
            g->over = true;
            g->status = status;
        }
    return pid < 0 && errno == ECHILD;
}

/* The parent of a process by its stat file (proc(5)): the second field behind the name, which ends at the last ')'. */
static pid_t parent_of(int proc, const char *number)
{
    char path[32], text[512];
    size_t len = strlen(number);
    if (len + sizeof "/stat" > sizeof path)
        return -1;
    memcpy(path, number, len);
    memcpy(path + len, "/stat", sizeof "/stat");
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : -1;
}

/* Kill our children, which are those of the program's descendants, too, whose parents are dead. */
static void kill_children(void)
{
    char entries[4096] __attribute__((aligned(8)));
    pid_t self = getpid();
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (long n; proc >= 0 && (n = syscall(SYS_getdents64, proc, entries, sizeof entries)) > 0;)
        for (long at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(const void *)(entries + at);
            at += d->d_reclen;
            pid_t pid = d->d_name[0] >= '1' && d->d_name[0] <= '9' ? (pid_t)strtol(d->d_name, NULL, 10) : 0;
            if (pid > 0 && parent_of(proc, d->d_name) == self)
                (void)kill(pid, SIGKILL);
        }
    if (proc >= 0)
        (void)close(proc);
}

/* Until nobody is left: the children of one who was killed come to us, and are next. */
static void kill_all(struct guard *g)
{
    for (int pause_ms = 1; !reap(g);) {
        if (!g->over)
            (void)kill(-g->program, SIGKILL);
        kill_children();
        (void)poll(NULL, 0, pause_ms);
        pause_ms = pause_ms < 100 ? pause_ms * 2 : pause_ms;
    }
}

static void listen_in(struct guard *g)
{
    char block[16 * 1024];
    ssize_t n = 1;
    for (int i = 0; i < 64 && g->talk >= 0 && n > 0; i++) { /* not for ever: there are other duties */
        n = read(g->talk, block, sizeof block);
        for (ssize_t k = 0; k < n; k++)
            g->ring[g->heard++ % GUARD_TALK_MAX] = block[k];
    }
    if (n == 0) {
        (void)close(g->talk);
        g->talk = -1;
    }
}

static bool has_bytes(int pipe)
{
    int n = 0;
    return pipe >= 0 && ioctl(pipe, FIONREAD, &n) == 0 && n > 0;
}

static void report(struct guard *g, enum guard_end end, int value, bool unread)
{
    struct guard_report r = { .end = end, .value = value, .unread = unread };
    struct failure f;
    listen_in(g);
    if (read(g->failed, &f, sizeof f) == sizeof f) {
        r.end = GUARD_NOT_STARTED;
        r.value = f.sys;
        memcpy(r.step, f.step, sizeof r.step);
    }
    r.talk_cut = g->heard > GUARD_TALK_MAX;
    uint64_t from = r.talk_cut ? g->heard - GUARD_TALK_MAX : 0;
    for (uint64_t at = from; at < g->heard; at++)
        r.talk[r.ntalk++] = g->ring[at % GUARD_TALK_MAX];
    (void)send(g->socket, &r, sizeof r, MSG_NOSIGNAL); /* a worker that is gone is seen by its socket */
    if (g->in >= 0)
        (void)close(g->in); /* whoever writes there learns it only now that the report is there */
    g->in = -1;
    g->reported = true;
}

/* The program is over: say so, but of one that ended well only when it is known whether it had read all. */
static void program_over(struct guard *g, bool too_late)
{
    struct pollfd in = { g->in, POLLIN, 0 };
    if (WIFSIGNALED(g->status)) {
        report(g, GUARD_SIGNALED, WTERMSIG(g->status), false);
        return;
    }
    bool well = g->in >= 0 && WEXITSTATUS(g->status) == 0;
    if (well && poll(&in, 1, 0) == 0 && !too_late)
        return; /* nothing is there, but there may be more */
    /* the pipe may have been filled and closed after poll() looked for bytes, so that they are asked for behind it */
    report(g, GUARD_EXITED, WEXITSTATUS(g->status), well && (!(in.revents & POLLHUP) || has_bytes(g->in)));
}

static void watch(struct guard *g)
{
    struct pollfd p[4] = { { g->socket, POLLIN, 0 },
                           { g->signals, POLLIN, 0 },
                           { g->talk, POLLIN, 0 },
                           { g->over ? g->in : -1, POLLIN, 0 } }; /* more to read, or its end */
    struct signalfd_siginfo ignored;
    int64_t left = g->deadline_mono_ms - sys_mono_ms();
    int wait_ms = g->reported ? -1 : left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
    (void)poll(p, 4, wait_ms);
    if (p[0].revents) { /* the worker says nothing: it is gone, or does not want the program any more */
        kill_all(g);
        _exit(0);
    }
    if (p[2].revents)
        listen_in(g);
    if (p[1].revents) {
        while (read(g->signals, &ignored, sizeof ignored) > 0)
            ;
        (void)reap(g);
    }
    bool too_late = sys_mono_ms() >= g->deadline_mono_ms;
    if (g->over && !g->reported)
        program_over(g, too_late);
    if (!g->reported && too_late) {
        kill_all(g);
        report(g, GUARD_TIMEOUT, 0, false);
    }
}

static int guard_signals(void)
{
    sigset_t child;
    for (int i = 1; i < NSIG; i++) /* what a terminal or systemd says to all is for the worker to decide */
        if (i != SIGCHLD && i != SIGSEGV && i != SIGBUS && i != SIGFPE && i != SIGILL && i != SIGABRT)
            (void)signal(i, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &child, NULL);
    return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Nothing of the worker's but what the program gets and what we watch. */
static void only_ours(const struct guard *g, const struct guard_launch *l)
{
    const int keep[] = { g->socket, g->signals, g->failed, g->talk, l->in, l->out, l->err };
    for (unsigned first = 0;;) { /* the descriptors between two kept ones, from below */
        unsigned next = ~0u;
        for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
            if ((unsigned)keep[i] >= first && (unsigned)keep[i] < next)
                next = (unsigned)keep[i];
        if (next > first)
            (void)close_range(first, next == ~0u ? ~0u : next - 1, 0);
        if (next == ~0u)
            return;
        first = next + 1;
    }
}

void guard_run(const struct guard_launch *l, int socket)
{
    struct guard g = { .socket = socket, .in = -1, .talk = l->talk };
    int failed[2];
    g.signals = guard_signals();
    if (g.signals < 0 || pipe2(failed, O_CLOEXEC | O_NONBLOCK) < 0)
        _exit(1);
    g.failed = failed[0];
    (void)setsid();
    (void)prctl(PR_SET_NAME, "qetl-guard");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        _exit(1);
    g.deadline_mono_ms = sys_mono_ms() + l->timeout_ms;
    pid_t guard = getpid();
    if ((g.program = fork()) < 0)
        _exit(1);
    if (g.program == 0)
        become_program(l, failed[1], guard);
    (void)close(failed[1]);
    only_ours(&g, l);
    g.in = l->streams_in ? l->in : -1;
    if (!l->streams_in)
        (void)close(l->in);
    (void)close(l->out);
    (void)close(l->err);
    for (;;)
        watch(&g);
}
