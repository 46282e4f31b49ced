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
#include "role/loader.h"
#include "role/worker.h"

enum {
    CHILDREN_MAX = 256,
    PAUSE_MS = 200,         /* before a dead child is started again; doubles while it dies young */
    PAUSE_MAX_MS = 10000,
    OLD_MS = 10000,         /* a child that lived so long did not die young */
    TICK_MS = 200,
    SILENT_MS = 20000,      /* a child without a sign of life for so long hangs */
};

struct child {
    int (*run)(const struct role *role, struct err *err);
    char name[80];
    pid_t pid; /* 0: not running */
    int64_t started_mono_ms, start_at_mono_ms, pause_ms;
    bool finished; /* drained, or ended by itself with 0 */
};

struct supervisor {
    const struct supervise *s;
    struct config *config;
    struct child children[CHILDREN_MAX];
    int n;
    int64_t *beats; /* shared memory, one a child */
    bool stopping;
    int signals_sent;
    int worst; /* exit status of a child that could not run at all */
    struct err fatal;
    int errors; /* pipe from the children: the error that ended one */
    int error_out;
};

static void child_main(struct supervisor *v, int i)
{
    struct child *c = &v->children[i];
    struct role role = {
        .config = v->config,
        .name = c->name,
        .beat = &v->beats[i],
        .drain = v->s->drain,
        .drain_wait_ms = v->s->drain_wait_ms,
    };
    struct err err = { 0 };
    prctl(PR_SET_PDEATHSIG, SIGTERM);
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

static int child_start(struct supervisor *v, int i, struct err *err)
{
    struct child *c = &v->children[i];
    v->beats[i] = c->started_mono_ms = sys_mono_ms();
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0)
        child_main(v, i);
    if (c->pid < 0) {
        c->pid = 0;
        return err_sys(err, "start %s", c->name);
    }
    return 0;
}

static void child_ended(struct supervisor *v, struct child *c, int status)
{
    int64_t now = sys_mono_ms();
    c->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        c->finished = v->s->drain || v->stopping;
        c->start_at_mono_ms = now + PAUSE_MS;
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
    if (now - c->started_mono_ms > OLD_MS || !c->pause_ms)
        c->pause_ms = PAUSE_MS;
    else if ((c->pause_ms *= 2) > PAUSE_MAX_MS)
        c->pause_ms = PAUSE_MAX_MS;
    c->start_at_mono_ms = now + c->pause_ms;
    c->finished = v->stopping;
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
    if (asked <= v->signals_sent && !(v->worst && !v->stopping))
        return;
    if (!v->stopping) {
        sys_notify("STOPPING=1\nSTATUS=finishing or handing back jobs");
        log_event(LOG_INFO, "stopping", "processes", log_num(running(v)), NULL);
    }
    v->stopping = true;
    for (; v->signals_sent < (asked ? asked : 1); v->signals_sent++)
        signal_all(v, SIGTERM);
}

static void add(struct supervisor *v, int (*run)(const struct role *, struct err *), const char *role, int64_t slots)
{
    for (int64_t k = 1; k <= slots && v->n < CHILDREN_MAX; k++) {
        struct child *c = &v->children[v->n++];
        *c = (struct child){ .run = run };
        const char *name = v->s->name ? v->s->name : role;
        if (slots == 1)
            snprintf(c->name, sizeof c->name, "%s", name);
        else
            snprintf(c->name, sizeof c->name, "%.50s.%" PRId64, name, k);
    }
}

/* The ini again: running children finish what they do and are started anew with it. A faulty ini changes nothing. */
static void reload(struct supervisor *v)
{
    struct config *fresh;
    struct err err;
    sys_notify("RELOADING=1");
    if (config_load(&fresh, v->s->config_file, NULL, &err) < 0) {
        log_error("the ini was not taken; the old one stays", &err, NULL, NULL);
    } else {
        config_free(v->config);
        v->config = fresh;
        signal_all(v, SIGTERM);
        log_event(LOG_INFO, "the ini was read again", NULL);
    }
    sys_notify("READY=1");
}

static void watch(struct supervisor *v, int64_t watchdog_ms, int64_t *next)
{
    int64_t now = sys_mono_ms();
    if (!watchdog_ms || now < *next)
        return;
    *next = now + watchdog_ms / 2;
    for (int i = 0; i < v->n; i++)
        if (v->children[i].pid && now - __atomic_load_n(&v->beats[i], __ATOMIC_RELAXED) > SILENT_MS) {
            log_event(LOG_ERROR, "a process hangs", "process", v->children[i].name, NULL);
            kill(v->children[i].pid, SIGKILL);
        }
    sys_notify("WATCHDOG=1\nSTATUS=%d of %d processes running", running(v), v->n);
}

static bool all_finished(const struct supervisor *v)
{
    for (int i = 0; i < v->n; i++)
        if (v->children[i].pid || !v->children[i].finished)
            return false;
    return true;
}

static int supervise(struct supervisor *v, struct err *err)
{
    int64_t watchdog_ms = sys_watchdog_ms(), next_watch = 0;
    while (!(v->stopping ? running(v) == 0 : all_finished(v))) {
        for (int i = 0; i < v->n && !v->stopping; i++) {
            struct child *c = &v->children[i];
            if (!c->pid && !c->finished && sys_mono_ms() >= c->start_at_mono_ms && child_start(v, i, err) < 0)
                return -1;
        }
        watch(v, watchdog_ms, &next_watch);
        (void)poll(NULL, 0, v->s->drain ? 10 : TICK_MS); /* a signal ends it */
        reap(v);
        if (sys_reload_requested())
            reload(v);
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
        if (s->what & SUPERVISE_WORKERS)
            add(v, worker_run, "worker", config->worker_slots);
        if (s->what & SUPERVISE_LOADERS)
            add(v, loader_run, "loader", 1);
        sys_signals_init(NULL);
        sys_notify("READY=1\nSTATUS=%d processes", v->n);
        rc = supervise(v, err);
        close(pipes[0]);
        close(pipes[1]);
    }
    config_free(v->config);
    free(v);
    return rc;
}
