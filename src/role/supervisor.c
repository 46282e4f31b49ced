/* Processes of roles: start, watch, restart, stop. See supervisor.h. */
#include "role/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "queue/queue.h"
#include "role/checked.h"
#include "role/loader.h"
#include "role/scanner.h"
#include "role/worker.h"

enum {
    CHILDREN_MAX = 256,
    PAUSE_MS = 200,         /* before a dead child is started again; doubles while it dies young */
    PAUSE_MAX_MS = 10000,
    OLD_MS = 10000,         /* a child that lived so long did not die young */
    TICK_MS = 200,          /* while stopping */
    SILENT_MS = 20000,      /* a child without a sign of life for so long hangs */
    WATCH_MS = 1000,
    DRAIN_AGAIN_MS = 500,   /* who found nothing left to do looks again, while a loader of the drain is at work */
    KILL_MS = 2000,         /* after a second request to stop: so long until SIGKILL. What is killed comes back by its lease */
    LATE_MS = 5000,         /* the same after shutdown_timeout */
};

struct child {
    int (*run)(const struct role *role, struct err *err);
    char target[64]; /* a loader's; "" of a worker */
    int64_t number;  /* among those of the same role and target, from 1 */
    char name[160];
    pid_t pid; /* 0: not running */
    int64_t started_mono_ms, start_at_mono_ms, pause_ms;
    bool finished; /* not to be started again: drained, stopped or retired */
    bool drained;  /* found nothing left to do when it ended */
    bool again;    /* was started once more after it had drained */
    bool renewed;  /* was told to end, to be started again with a new ini */
    bool retired;  /* the new ini has no place for it */
};

struct supervisor {
    const struct supervise *s;
    struct config *config;
    struct child children[CHILDREN_MAX];
    int n;
    int64_t *beats; /* shared memory, one a child */
    bool stopping;
    sigset_t mask; /* of signals, outside of supervise() */
    int signals_sent;
    int64_t kill_at_mono_ms; /* stopping: whoever is still there then is killed */
    int64_t watch_mono_ms, notify_mono_ms;
    int worst; /* exit status of a child that could not run at all */
    struct err fatal;
    int errors; /* pipe from the children: the error that ended one */
    int error_out;
};

static void child_main(struct supervisor *v, int i, pid_t supervisor)
{
    struct child *c = &v->children[i];
    struct role role = {
        .config = v->config,
        .name = c->name,
        .target = *c->target ? c->target : NULL,
        .beat = &v->beats[i],
        .drain = v->s->drain,
        .drain_wait_ms = v->s->drain_wait_ms,
    };
    struct err err = { 0 };
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &v->mask, NULL);
    if (getppid() != supervisor) /* it died before that */
        _exit(0);
    setpgid(0, 0); /* what a terminal sends reaches the supervisor only, which says it to each child once */
    unsetenv("NOTIFY_SOCKET"); /* the supervisor speaks for all */
    close(v->errors);
    log_init((enum log_level)log_level_by_name(v->config->log_level),
             strcmp(v->config->log_form, "json") ? LOG_TEXT : LOG_JSON, c->name);
    if (c->run(&role, &err) == 0)
        _exit(0);
    log_error("the role ended", &err, NULL, NULL);
    struct err ignored; /* the supervisor has the exit status at least */
    (void)sys_write_all(v->error_out, &err, sizeof err, "pipe", &ignored);
    _exit(err_exit_status(err.code) ? err_exit_status(err.code) : 1);
}

static void pause_longer(struct child *c, int64_t now)
{
    if (now - c->started_mono_ms > OLD_MS || !c->pause_ms)
        c->pause_ms = PAUSE_MS;
    else if ((c->pause_ms *= 2) > PAUSE_MAX_MS)
        c->pause_ms = PAUSE_MAX_MS;
    c->start_at_mono_ms = now + c->pause_ms;
}

static void child_start(struct supervisor *v, int i)
{
    struct child *c = &v->children[i];
    pid_t self = getpid();
    v->beats[i] = c->started_mono_ms = sys_mono_ms();
    c->again |= c->drained;
    c->drained = false;
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0)
        child_main(v, i, self);
    if (c->pid < 0) {
        struct err err;
        err_sys(&err, "start %s", c->name);
        log_error("a process could not be started; trying again", &err, "process", c->name);
        c->pid = 0;
        pause_longer(c, c->started_mono_ms);
    }
}

static void child_ended(struct supervisor *v, struct child *c, int status)
{
    int64_t now = sys_mono_ms();
    bool renewed = c->renewed;
    c->pid = 0;
    c->renewed = false;
    c->finished = v->stopping || c->retired;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        c->drained = v->s->drain && !renewed;
        c->start_at_mono_ms = renewed ? now : now + (c->drained ? DRAIN_AGAIN_MS : PAUSE_MS);
        return;
    }
    if (WIFEXITED(status)) { /* it said why: a setting, the database, the spool */
        struct pollfd p = { v->errors, POLLIN, 0 };
        if (poll(&p, 1, 0) != 1 || read(v->errors, &v->fatal, sizeof v->fatal) != sizeof v->fatal)
            err_set(&v->fatal, ERR_INTERNAL, "%s ended with status %d", c->name, WEXITSTATUS(status));
        if (v->s->drain || err_class(v->fatal.code) != ERR_TRANSIENT)
            v->worst = WEXITSTATUS(status);
    } else {
        log_event(LOG_ERROR, "a process died; it is started again", "process", c->name, "signal",
                  strsignal(WTERMSIG(status)), NULL);
    }
    pause_longer(c, now);
}

static void reap(struct supervisor *v)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int i = 0; i < v->n; i++)
            if (v->children[i].pid == pid)
                child_ended(v, &v->children[i], status);
}

static void signal_all(struct supervisor *v, int sig)
{
    for (int i = 0; i < v->n; i++)
        if (v->children[i].pid)
            kill(v->children[i].pid, sig);
}

static int running(const struct supervisor *v)
{
    int n = 0;
    for (int i = 0; i < v->n; i++)
        n += v->children[i].pid != 0;
    return n;
}

static void stop_on_request(struct supervisor *v)
{
    int asked = sys_stop_requested();
    int64_t now = sys_mono_ms();
    if (v->stopping && now >= v->kill_at_mono_ms && running(v)) {
        log_event(LOG_WARN, "processes that did not stop are killed", "processes", log_num(running(v)), NULL);
        signal_all(v, SIGKILL);
        v->kill_at_mono_ms = now + KILL_MS;
    }
    if (asked <= v->signals_sent && !(v->worst && !v->stopping))
        return;
    if (!v->stopping) {
        sys_notify("STOPPING=1\nSTATUS=finishing or handing back jobs");
        log_event(LOG_INFO, "stopping", "processes", log_num(running(v)), NULL);
    }
    v->stopping = true;
    v->kill_at_mono_ms = now + (asked > 1 ? KILL_MS : v->config->shutdown_timeout_ms + LATE_MS);
    for (; v->signals_sent < (asked ? asked : 1); v->signals_sent++)
        signal_all(v, SIGTERM);
}

struct seat {
    int (*run)(const struct role *role, struct err *err);
    const char *role, *target; /* target: "" for a worker */
    int64_t of;                /* so many of the same role and target */
    bool alone;                /* nobody else has this role: its name needs no more */
};

static void child_name(const struct supervisor *v, struct child *c, const struct seat *p)
{
    const char *name = v->s->name ? v->s->name : p->role;
    int n = snprintf(c->name, sizeof c->name, "%.60s", name);
    if (*p->target && !p->alone)
        n += snprintf(c->name + n, sizeof c->name - (size_t)n, ".%s", p->target);
    if (p->of > 1)
        snprintf(c->name + n, sizeof c->name - (size_t)n, ".%" PRId64, c->number);
}

static struct child *child_of(struct supervisor *v, const struct seat *p, int64_t number)
{
    for (int i = 0; i < v->n; i++) {
        struct child *c = &v->children[i];
        if (c->run == p->run && !strcmp(c->target, p->target) && c->number == number)
            return c;
    }
    if (v->n == CHILDREN_MAX)
        return NULL;
    struct child *c = &v->children[v->n++];
    *c = (struct child){ .run = p->run, .number = number };
    snprintf(c->target, sizeof c->target, "%s", p->target);
    return c;
}

static void plan_seats(struct supervisor *v, const struct seat *p)
{
    for (int64_t number = 1; number <= p->of; number++) {
        struct child *c = child_of(v, p, number);
        if (!c)
            return;
        c->retired = false;
        child_name(v, c, p);
    }
}

/* A loader process, or several, for each target: one that is slow or away holds up nobody else's jobs. */
static void plan_loaders(struct supervisor *v)
{
    const struct config *c = v->config;
    bool alone = c->ntargets <= 1;
    if (c->ntargets == 0) /* it keeps the spool and the registry in order */
        plan_seats(v, &(struct seat){ loader_run, "loader", "", 1, true });
    for (int i = 0; i < c->ntargets; i++)
        plan_seats(v, &(struct seat){ loader_run, "loader", c->targets[i].name, c->targets[i].loaders, alone });
}

static bool anything_scanned(const struct config *c)
{
    for (int i = 0; i < c->npipelines; i++)
        if (pipeline_is_scanned(&c->pipelines[i]))
            return true;
    return c->inbox != NULL;
}

/* Who is to run by the ini. Whoever has no place there any more ends with what it has in hand. */
static void plan(struct supervisor *v)
{
    bool was_retired[CHILDREN_MAX];
    for (int i = 0; i < v->n; i++) {
        was_retired[i] = v->children[i].retired;
        v->children[i].retired = true;
    }
    int known = v->n;
    if (v->s->what & SUPERVISE_WORKERS)
        plan_seats(v, &(struct seat){ worker_run, "worker", "", v->config->worker_slots, true });
    if (v->s->what & SUPERVISE_LOADERS)
        plan_loaders(v);
    if (v->s->what & SUPERVISE_SCANNER || (v->s->what & SUPERVISE_SCANNER_IF && anything_scanned(v->config)))
        plan_seats(v, &(struct seat){ scanner_run, "scanner", "", 1, true });
    for (int i = 0; i < known; i++) {
        struct child *c = &v->children[i];
        if (c->retired && !c->pid)
            c->finished = true;
        else if (!c->retired && was_retired[i])
            c->finished = false;
    }
}

/* The ini again: running children finish what they do and are started anew with it. A faulty ini changes nothing. */
static void reload(struct supervisor *v)
{
    struct config *fresh;
    struct err err;
    sys_notify("RELOADING=1");
    if (checked_load(&fresh, v->s->config_file, NULL, &err) < 0) {
        log_error("the ini was not taken; the old one stays", &err, NULL, NULL);
    } else {
        config_free(v->config);
        v->config = fresh;
        plan(v);
        for (int i = 0; i < v->n; i++)
            v->children[i].renewed = v->children[i].pid != 0;
        signal_all(v, SIGHUP);
        log_event(LOG_INFO, "the ini was read again", NULL);
    }
    sys_notify("READY=1");
}

static void watch(struct supervisor *v, int64_t watchdog_ms)
{
    int64_t now = sys_mono_ms();
    if (now >= v->watch_mono_ms) {
        bool slept = now > v->watch_mono_ms + SILENT_MS / 2; /* we were stopped ourselves, and so were the children */
        v->watch_mono_ms = now + WATCH_MS;
        for (int i = 0; i < v->n && !slept; i++)
            if (v->children[i].pid && now - __atomic_load_n(&v->beats[i], __ATOMIC_RELAXED) > SILENT_MS) {
                log_event(LOG_ERROR, "a process hangs", "process", v->children[i].name, NULL);
                kill(v->children[i].pid, SIGKILL);
            }
    }
    if (watchdog_ms && now >= v->notify_mono_ms) {
        v->notify_mono_ms = now + watchdog_ms / 2;
        sys_notify("WATCHDOG=1\nSTATUS=%d of %d processes running", running(v), v->n);
    }
}

/* A loader that has not drained yet; one that only looks again counts when that takes its time. */
static bool is_loading(const struct child *c)
{
    bool looks = c->again && c->pid && sys_mono_ms() - c->started_mono_ms < DRAIN_AGAIN_MS;
    return c->run == loader_run && !c->finished && !c->drained && !looks;
}

/* Who has drained looks again while a loader is at work: it waits for jobs that somebody submitted meanwhile. */
static void end_drained(struct supervisor *v)
{
    bool loading = false;
    for (int i = 0; i < v->n; i++)
        loading |= is_loading(&v->children[i]);
    for (int i = 0; i < v->n; i++) {
        struct child *c = &v->children[i];
        c->finished |= c->drained && !c->pid && !loading;
    }
}

static bool all_finished(const struct supervisor *v)
{
    for (int i = 0; i < v->n; i++)
        if (v->children[i].pid || !v->children[i].finished)
            return false;
    return true;
}

static void on_child(int sig)
{
    (void)sig; /* it ends the wait, that is all */
}

/* The signals that the supervisor acts on are let in only while it waits: none can come unseen between looking and waiting,
 * so it need not look often. */
static void hold_signals(struct supervisor *v)
{
    static const int held[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < COUNT_OF(held); i++)
        sigaddset(&set, held[i]);
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP }, NULL);
    sigprocmask(SIG_BLOCK, &set, &v->mask);
}

/* Until a signal, the next start of a child, or the next look at their signs of life. */
static void wait_for_change(const struct supervisor *v, int64_t watchdog_ms)
{
    int64_t now = sys_mono_ms(), most = v->stopping ? TICK_MS : WATCH_MS;
    if (watchdog_ms && v->notify_mono_ms - now < most)
        most = v->notify_mono_ms - now;
    for (int i = 0; i < v->n && !v->stopping; i++) {
        const struct child *c = &v->children[i];
        if (!c->pid && !c->finished && c->start_at_mono_ms - now < most)
            most = c->start_at_mono_ms - now;
    }
    if (most < 0)
        most = 0;
    struct timespec ts = { .tv_sec = most / 1000, .tv_nsec = most % 1000 * 1000000 };
    (void)ppoll(NULL, 0, &ts, &v->mask);
}

static int supervise(struct supervisor *v, struct err *err)
{
    int64_t watchdog_ms = sys_watchdog_ms();
    v->watch_mono_ms = sys_mono_ms() + WATCH_MS;
    while (!(v->stopping ? running(v) == 0 : all_finished(v))) {
        for (int i = 0; i < v->n && !v->stopping; i++) {
            const struct child *c = &v->children[i];
            if (!c->pid && !c->finished && sys_mono_ms() >= c->start_at_mono_ms)
                child_start(v, i);
        }
        watch(v, watchdog_ms);
        wait_for_change(v, watchdog_ms);
        if (sys_reload_requested()) /* before reap: who ends because of it has been told */
            reload(v);
        reap(v);
        end_drained(v);
        stop_on_request(v);
    }
    if (v->worst) {
        *err = v->fatal;
        return -1;
    }
    return 0;
}

/* Find out now, in one clear message, what would let every child fail. */
static int probe(const struct config *config, struct err *err)
{
    struct queue *q;
    if (queue_open(&q, config->database, QUEUE_CREATE, err) < 0)
        return -1;
    queue_close(q);
    return 0;
}

int supervisor_run(const struct supervise *s, struct config *config, struct err *err)
{
    struct supervisor *v = calloc(1, sizeof *v);
    int pipes[2];
    if (!v) {
        config_free(config);
        return err_nomem(err);
    }
    v->s = s;
    v->config = config;
    v->beats = mmap(NULL, CHILDREN_MAX * sizeof *v->beats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int rc = -1;
    if (v->beats == MAP_FAILED || pipe2(pipes, O_CLOEXEC) < 0) {
        err_sys(err, "prepare the supervisor");
    } else if (probe(config, err) == 0) {
        v->errors = pipes[0];
        v->error_out = pipes[1];
        plan(v);
        sys_signals_init(NULL);
        hold_signals(v);
        sys_notify("READY=1\nSTATUS=%d processes", v->n);
        rc = supervise(v, err);
        sigprocmask(SIG_SETMASK, &v->mask, NULL);
        close(pipes[0]);
        close(pipes[1]);
    }
    if (v->beats != MAP_FAILED)
        munmap(v->beats, CHILDREN_MAX * sizeof *v->beats);
    config_free(v->config);
    free(v);
    return rc;
}
