/* The verbs that list: jobs, errors, workers. */
#include "bin/ctl.h"

#include <string.h>

#include "bin/table.h"
#include "queue/registry.h"

/* ---- jobs ---- */

int ctl_jobs(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "state", required_argument, NULL, 's' },
                                           { "pipeline", required_argument, NULL, 'l' },
                                           { "limit", required_argument, NULL, 'n' },
                                           { NULL, 0, NULL, 0 } };
    struct job_filter f = { .limit = 50 };
    for (int o; (o = ctl_option(c, argc, argv, "n:", longs, NULL)) != -1;) {
        if (o == 's')
            f.state = optarg;
        else if (o == 'l')
            f.pipeline = optarg;
        else if (o != 'n')
            return -1; /* ctl_option() has said it */
        else if (ctl_limit(c, optarg, &f.limit) < 0)
            return -1;
    }
    if (optind < argc)
        return ctl_usage(c, "'%s' is no option of jobs; for one job: qetlctl show %s", argv[optind], argv[optind]);
    if (f.state && job_state_by_name(f.state) < 0)
        return ctl_usage(c, "'%s' is no state; see qetlctl help jobs", f.state);
    if (ctl_queue(c, 0) < 0 || ctl_known_pipeline(c, f.pipeline) < 0)
        return -1;
    struct table t;
    if (ctl_jobs_table(c, &f, &t) < 0)
        return -1;
    table_print(&t, "jobs", "no jobs");
    return 0;
}

/* ---- errors ---- */

static const struct table_col error_cols[] = {
    { "at", "TIME", CELL_TIME },        { "job", "JOB", CELL_NUMBER },      { "uid", NULL, CELL_TEXT },
    { "pipeline", "PIPELINE", CELL_TEXT }, { "attempt", "TRY", CELL_NUMBER }, { "stage", "STAGE", CELL_TEXT },
    { "class", "CLASS", CELL_TEXT },    { "code", "CODE", CELL_TEXT },      { "message", "MESSAGE", CELL_TEXT },
    { "detail", NULL, CELL_TEXT },
};

static int error_cells(void *arg, const struct error_row *r)
{
    struct table *t = arg;
    table_int(t, r->at);
    table_int(t, r->job);
    table_text(t, r->uid);
    table_text(t, r->pipeline);
    table_int(t, r->attempt);
    table_text(t, r->stage);
    table_text(t, r->class);
    table_text(t, r->code);
    table_text(t, r->message);
    table_text(t, r->detail);
    return 0;
}

int ctl_errors_table(struct ctl *c, const struct error_filter *f, struct table *t)
{
    table_init(t, c->json, error_cols, COUNT_OF(error_cols));
    return job_errors(c->queue, f, error_cells, t, &c->err);
}

int ctl_errors(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "code", required_argument, NULL, 'k' },
                                           { "pipeline", required_argument, NULL, 'l' },
                                           { "limit", required_argument, NULL, 'n' },
                                           { NULL, 0, NULL, 0 } };
    struct error_filter f = { .limit = 50 };
    for (int o; (o = ctl_option(c, argc, argv, "n:", longs, NULL)) != -1;) {
        if (o == 'k')
            f.code = optarg;
        else if (o == 'l')
            f.pipeline = optarg;
        else if (o != 'n')
            return -1; /* ctl_option() has said it */
        else if (ctl_limit(c, optarg, &f.limit) < 0)
            return -1;
    }
    if (argc - optind > 1)
        return ctl_usage(c, "errors takes one job at most");
    if (ctl_known_code(c, f.code) < 0 || ctl_queue(c, 0) < 0 || ctl_known_pipeline(c, f.pipeline) < 0 ||
        (optind < argc && ctl_job(c, argv[optind], &f.job) < 0))
        return -1;
    struct table t;
    if (ctl_errors_table(c, &f, &t) < 0)
        return -1;
    table_print(&t, "errors", "no errors");
    return 0;
}

/* ---- workers ---- */

static const struct table_col worker_cols[] = {
    { "id", "ID", CELL_NUMBER },
    { "name", "NAME", CELL_TEXT },
    { "role", "ROLE", CELL_TEXT },
    { "alive", "ALIVE", CELL_BOOL },
    { "host", "HOST", CELL_TEXT },
    { "ip", "IP", CELL_TEXT },
    { "pid", "PID", CELL_NUMBER },
    { "started", "STARTED", CELL_TIME },
    { "ended", NULL, CELL_TIME },
    { "heartbeat", NULL, CELL_TIME },
    { "processed", "PROCESSED", CELL_NUMBER },
    { "succeeded", "SUCCEEDED", CELL_NUMBER },
    { "failed", "FAILED", CELL_NUMBER },
    { "rows", "ROWS", CELL_NUMBER },
    { "bytes", "BYTES", CELL_SIZE },
    { "current_job", "JOB", CELL_JOB },
    { "version", NULL, CELL_TEXT },
};

static int worker_cells(void *arg, const struct worker_row *r)
{
    struct table *t = arg;
    table_int(t, r->id);
    table_text(t, r->name);
    table_text(t, r->role);
    table_int(t, r->alive);
    table_text(t, r->host);
    table_text(t, r->ip);
    table_int(t, r->pid);
    table_int(t, r->started);
    table_int(t, r->ended);
    table_int(t, r->beat);
    table_int(t, r->processed);
    table_int(t, r->succeeded);
    table_int(t, r->failed);
    table_int(t, r->rows);
    table_int(t, r->bytes);
    table_int(t, r->current_job);
    table_text(t, r->version);
    return 0;
}

int ctl_workers(struct ctl *c, int argc, char **argv)
{
    bool all = argc > 1 && !strcmp(argv[1], "--all");
    struct table t;
    if (ctl_no_args(c, argc, argv, all) < 0 || ctl_queue(c, 0) < 0)
        return -1;
    table_init(&t, c->json, worker_cols, COUNT_OF(worker_cols));
    if (registry_list(c->queue, all, worker_cells, &t, &c->err) < 0)
        return -1;
    table_print(&t, "workers", "no workers; start one with: qetl worker");
    return 0;
}
