/* The verbs that only look: status, jobs, show, explain, errors, workers. */
#include "bin/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "bin/table.h"
#include "io/db.h"
#include "io/fetch.h"
#include "io/spool.h"
#include "queue/registry.h"

enum { PATIENCE_MS = 1000 };

/* ---- jobs ---- */

static const struct table_col job_cols[] = {
    { "id", "JOB", CELL_NUMBER },
    { "uid", NULL, CELL_TEXT },
    { "pipeline", "PIPELINE", CELL_TEXT },
    { "state", "STATE", CELL_TEXT },
    { "priority", NULL, CELL_NUMBER },
    { "attempts", "TRIES", CELL_NUMBER },
    { "created", "CREATED", CELL_TIME },
    { "run_at", NULL, CELL_TIME },
    { "started", NULL, CELL_TIME },
    { "finished", "FINISHED", CELL_TIME },
    { "undone", NULL, CELL_TIME },
    { "rows_read", NULL, CELL_NUMBER },
    { "rows_staged", "STAGED", CELL_NUMBER },
    { "rows_rejected", "REJECTED", CELL_NUMBER },
    { "rows_filtered", NULL, CELL_NUMBER },
    { "rows_added", NULL, CELL_NUMBER },
    { "rows_loaded", "LOADED", CELL_NUMBER },
    { "rows_inserted", NULL, CELL_NUMBER },
    { "rows_updated", NULL, CELL_NUMBER },
    { "rows_unchanged", NULL, CELL_NUMBER },
    { "rows_deleted", NULL, CELL_NUMBER },
    { "rows_removed", NULL, CELL_NUMBER },
    { "bytes_in", "FETCHED", CELL_SIZE },
    { "bytes_out", NULL, CELL_SIZE },
    { "worker", NULL, CELL_TEXT },
    { "error_code", "ERROR", CELL_TEXT },
    { "error", NULL, CELL_TEXT },
};

/* What went wrong in an earlier try is no trouble of its any more; errors still lists it. */
static bool is_done(const struct job_row *r)
{
    return !strcmp(r->state, job_state_name(JOB_LOADED)) || !strcmp(r->state, job_state_name(JOB_SUPERSEDED));
}

static int job_cells(void *arg, const struct job_row *r)
{
    struct table *t = arg;
    table_int(t, r->id);
    table_text(t, r->uid);
    table_text(t, r->pipeline);
    table_text(t, r->undone && !t->json ? "undone" : r->state); /* in JSON a state is one of the eight */
    table_int(t, r->priority);
    table_int(t, r->attempts);
    table_int(t, r->created);
    table_int(t, r->run_at);
    table_int(t, r->started);
    table_int(t, r->finished);
    table_int(t, r->undone);
    table_int(t, r->rows_read);
    table_int(t, r->rows_staged);
    table_int(t, r->rows_rejected);
    table_int(t, r->rows_filtered);
    table_int(t, r->rows_added);
    table_int(t, r->undone && !t->json ? 0 : r->rows_loaded); /* JSON has what the commit did, and when it was undone */
    table_int(t, r->counts.inserted);
    table_int(t, r->counts.updated);
    table_int(t, r->counts.unchanged);
    table_int(t, r->counts.deleted);
    table_int(t, r->counts.removed);
    table_int(t, r->bytes_in);
    table_int(t, r->bytes_out);
    table_text(t, r->worker);
    table_text(t, t->json || !is_done(r) ? r->error_code : NULL);
    table_text(t, r->error);
    return 0;
}

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
    table_init(&t, c->json, job_cols, COUNT_OF(job_cols));
    if (job_list(c->queue, &f, job_cells, &t, &c->err) < 0)
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
    table_init(&t, c->json, error_cols, COUNT_OF(error_cols));
    if (job_errors(c->queue, &f, error_cells, &t, &c->err) < 0)
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

static int workers_table(struct ctl *c, struct table *t, bool all)
{
    table_init(t, c->json, worker_cols, COUNT_OF(worker_cols));
    return registry_list(c->queue, all, worker_cells, t, &c->err);
}

int ctl_workers(struct ctl *c, int argc, char **argv)
{
    bool all = argc > 1 && !strcmp(argv[1], "--all");
    struct table t;
    if (ctl_no_args(c, argc, argv, all) < 0 || ctl_queue(c, 0) < 0 || workers_table(c, &t, all) < 0)
        return -1;
    table_print(&t, "workers", "no workers; start one with: qetl worker");
    return 0;
}

/* ---- status ---- */

static const struct table_col status_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT },
    { "paused", NULL, CELL_BOOL },
    { "ready", "READY", CELL_NUMBER },
    { "waiting", "WAITING", CELL_NUMBER },
    { "running", "RUNNING", CELL_NUMBER },
    { "staged", "STAGED", CELL_NUMBER },
    { "loading", "LOADING", CELL_NUMBER },
    { "loaded", "LOADED", CELL_NUMBER },
    { "superseded", NULL, CELL_NUMBER },
    { "dead", "DEAD", CELL_NUMBER },
    { "cancelled", NULL, CELL_NUMBER },
    { "rows_loaded", "ROWS", CELL_NUMBER },
    { "oldest_ready", "OLDEST READY", CELL_TIME },
    { "note", "", CELL_TEXT },
};

struct status_of {
    struct table *table;
    int64_t open; /* jobs that need no time of day and nobody's word to go on */
};

static int status_cells(void *arg, const struct status_row *r)
{
    struct status_of *s = arg;
    struct table *t = s->table;
    s->open += (r->paused ? 0 : r->count[JOB_READY] - r->waiting) + r->count[JOB_RUNNING] + r->count[JOB_STAGED] + r->count[JOB_LOADING];
    table_text(t, r->pipeline);
    table_int(t, r->paused);
    table_int(t, r->count[JOB_READY] - r->waiting);
    table_int(t, r->waiting);
    table_int(t, r->count[JOB_RUNNING]);
    table_int(t, r->count[JOB_STAGED]);
    table_int(t, r->count[JOB_LOADING]);
    table_int(t, r->count[JOB_LOADED]);
    table_int(t, r->count[JOB_SUPERSEDED]);
    table_int(t, r->count[JOB_DEAD]);
    table_int(t, r->count[JOB_CANCELLED]);
    table_int(t, r->rows_loaded);
    table_int(t, r->oldest_ready);
    table_text(t, r->paused ? "paused" : t->json ? NULL : "");
    return 0;
}

static int count_alive(void *arg, const struct worker_row *r)
{
    static const char *const counted[] = { "worker", "loader", "scanner" };
    int *n = arg;
    for (size_t i = 0; i < COUNT_OF(counted); i++)
        n[i] += r->alive && !strcmp(r->role, counted[i]);
    return 0;
}

static const struct table_col away_cols[] = {
    { "target", "TARGET AWAY", CELL_TEXT }, { "since", "SINCE", CELL_TIME }, { "again", "TRIED AGAIN", CELL_TIME },
    { "staged", "JOBS WAITING", CELL_NUMBER }, { "code", "CODE", CELL_TEXT }, { "message", "WHY", CELL_TEXT },
};

static int away_cells(void *arg, const struct target_away_row *r)
{
    struct table *t = arg;
    table_text(t, r->name);
    table_int(t, r->since);
    table_int(t, r->again);
    table_int(t, r->staged);
    table_text(t, r->code);
    table_text(t, r->message);
    return 0;
}

static const struct table_col remote_cols[] = {
    { "remote", "REMOTE", CELL_TEXT },          { "running", "RUNNING", CELL_NUMBER }, { "connections", "CONNECTIONS", CELL_NUMBER },
    { "held_until", "HELD UNTIL", CELL_TIME }, { "message", "WHY", CELL_TEXT },
};

static int remote_cells(void *arg, const struct remote_row *r)
{
    struct table *t = arg;
    bool held = r->held_until > sys_now_ms();
    table_text(t, r->name);
    table_int(t, r->running);
    table_int(t, r->connections);
    table_int(t, held ? r->held_until : 0);
    table_text(t, held ? r->held_why : t->json ? NULL : "");
    return 0;
}

static const struct table_col held_cols[] = {
    { "enrich", "ENRICH HELD", CELL_TEXT }, { "until", "UNTIL", CELL_TIME }, { "jobs", "JOBS WAITING", CELL_NUMBER }, { "message", "WHY", CELL_TEXT },
};

static int held_cells(void *arg, const struct enrich_hold_row *r)
{
    struct table *t = arg;
    table_text(t, r->enrich);
    table_int(t, r->until);
    table_int(t, r->jobs);
    table_text(t, r->why);
    return 0;
}

static const struct table_col watermark_cols[] = {
    { "pipeline", "EVENTS OF", CELL_TEXT },
    { "watermark", "WATERMARK", CELL_TIME },
    { "late", "LATE ROWS", CELL_NUMBER },
    { "job", "MOVED BY JOB", CELL_JOB },
};

static int watermark_cells(void *arg, const struct watermark_row *r)
{
    struct table *t = arg;
    table_text(t, r->pipeline);
    table_int(t, r->at / 1000);
    table_int(t, r->late);
    table_int(t, r->job);
    return 0;
}

/* Why no job is begun, when the disk is full. */
static void say_disk(const struct queue_spool *s)
{
    char have[32], keep[32];
    text_put_size(have, sizeof have, s->free);
    text_put_size(keep, sizeof keep, s->keep);
    if (s->free < s->keep)
        printf("\nthe spool's file system has %s free; below %s ([limits] spool_free) no job is begun\n", have, keep);
}

/* Why no job is begun, when what is not loaded yet takes all room. */
static void say_spool(const struct spool_row *s)
{
    char held[32], quota[32];
    text_put_size(held, sizeof held, s->held);
    text_put_size(quota, sizeof quota, s->quota);
    if (s->full)
        printf("\nthe spool is full: jobs that are not loaded yet hold %s of %s ([limits] spool), and no job is begun that needs more\n"
               "it goes on when the loader has loaded some: see that one runs and that no target is away, or raise [limits] spool\n",
               held, quota);
}

static void say_backlog(int64_t open, double per_s)
{
    char text[32];
    if (!open)
        return;
    printf("\n%" PRId64 " job%s to do", open, ctl_s(open));
    if (per_s > 0) {
        text_put_duration(text, sizeof text, (int64_t)((double)open / per_s) * 1000);
        printf(", about %s at the %.*f jobs/s of the last ones", text, per_s < 10, per_s);
    }
    puts("");
}

static int whole_status(struct ctl *c)
{
    double per_s;
    struct ctl_open open;
    struct spool_row spool;
    struct table pipelines, away, remotes, held, scans, after, watermarks;
    int alive[3] = { 0 };
    table_init(&pipelines, c->json, status_cols, COUNT_OF(status_cols));
    table_init(&away, c->json, away_cols, COUNT_OF(away_cols));
    table_init(&remotes, c->json, remote_cols, COUNT_OF(remote_cols));
    table_init(&held, c->json, held_cols, COUNT_OF(held_cols));
    table_init(&watermarks, c->json, watermark_cols, COUNT_OF(watermark_cols));
    struct status_of of = { .table = &pipelines };
    if (job_status(c->queue, status_cells, &of, &c->err) < 0 || job_pace(c->queue, &per_s, &c->err) < 0 || event_rows(c->queue, watermark_cells, &watermarks, &c->err) < 0 ||
        registry_list(c->queue, false, count_alive, alive, &c->err) < 0 ||
        registry_targets_away(c->queue, away_cells, &away, &c->err) < 0 ||
        job_remotes(c->queue, remote_cells, &remotes, &c->err) < 0 || job_spool(c->queue, &spool, &c->err) < 0 ||
        job_enrich_holds(c->queue, held_cells, &held, &c->err) < 0 || ctl_scans(c, &scans, &open) < 0 ||
        ctl_unfinished(c, NULL, &after) < 0)
        return -1;
    if (!c->json) {
        table_print(&pipelines, "pipelines", "no jobs yet");
        say_backlog(of.open, per_s);
        if (away.rows) {
            puts("");
            table_print(&away, "targets_away", "");
        }
        if (remotes.rows) {
            puts("");
            table_print(&remotes, "remotes", "");
        }
        if (held.rows) {
            puts("");
            table_print(&held, "enrich_held", "");
        }
        if (watermarks.rows) {
            puts("");
            table_print(&watermarks, "watermarks", "");
        }
        say_disk(queue_spool(c->queue));
        say_spool(&spool);
        bool scanned = scans.rows;
        if (scanned) {
            puts("");
            table_print(&scans, "scans", "");
            ctl_say_open(&open);
        }
        if (after.rows) {
            puts("");
            table_print(&after, "after", "");
        }
        printf("\n%d worker%s, %d loader%s", alive[0], ctl_s(alive[0]), alive[1], ctl_s(alive[1]));
        if (scanned)
            printf(", %d scanner%s", alive[2], ctl_s(alive[2]));
        puts(scanned && !alive[2] && alive[0] && alive[1] ? "\nnobody scans: qetl scanner" : "");
        if (!alive[0] || !alive[1])
            printf("start what is missing: qetl %s\n", alive[0] ? "loader" : alive[1] ? "worker" : "all");
        return 0;
    }
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    buf_adds(&doc, "{\"pipelines\":");
    table_json(&pipelines, &doc);
    buf_adds(&doc, ",\"targets_away\":");
    table_json(&away, &doc);
    buf_adds(&doc, ",\"remotes\":");
    table_json(&remotes, &doc);
    buf_adds(&doc, ",\"enrich_held\":");
    table_json(&held, &doc);
    buf_adds(&doc, ",\"scans\":");
    table_json(&scans, &doc);
    buf_adds(&doc, ",\"after\":");
    table_json(&after, &doc);
    buf_adds(&doc, ",\"watermarks\":");
    table_json(&watermarks, &doc);
    buf_adds(&doc, ",\"backlog\":");
    json_start(&o, &doc);
    json_object(&o);
    json_put_int(&o, "jobs", of.open);
    json_key(&o, "jobs_per_second");
    json_real(&o, per_s > 0 ? per_s : (double)NAN);
    json_key(&o, "seconds");
    json_real(&o, per_s > 0 ? (double)of.open / per_s : (double)NAN);
    json_object_end(&o);
    buf_adds(&doc, ",\"queue\":");
    json_start(&o, &doc);
    json_object(&o);
    json_put_text(&o, "database", c->config->database);
    json_put_int(&o, "wal_bytes", queue_wal_bytes(c->queue));
    json_put_int(&o, "spool_free_bytes", queue_spool(c->queue)->free);
    json_put_bool(&o, "spool_full", queue_spool(c->queue)->free < queue_spool(c->queue)->keep);
    json_put_int(&o, "spool_held_bytes", spool.held);
    json_put_int(&o, "spool_quota_bytes", spool.quota);
    json_put_bool(&o, "spool_quota_full", spool.full);
    json_put_int(&o, "workers", alive[0]);
    json_put_int(&o, "loaders", alive[1]);
    json_put_int(&o, "scanners", alive[2]);
    json_put_text(&o, "sqlite", sqlite3_libversion());
    json_put_bool(&o, "sqlite_wal_reset_bug", db_wal_reset_bug());
    json_object_end(&o);
    printf("%s}\n", doc.p);
    return 0;
}

int ctl_status(struct ctl *c, int argc, char **argv)
{
    if (argc > 1)
        return ctl_show(c, argc, argv);
    return ctl_queue(c, 0) < 0 ? -1 : whole_status(c);
}

/* ---- show ---- */

static const struct table_col attempt_cols[] = {
    { "attempt", "TRY", CELL_NUMBER },      { "kind", "KIND", CELL_TEXT },         { "worker", "WORKER", CELL_TEXT },
    { "started", "STARTED", CELL_TIME },    { "finished", "FINISHED", CELL_TIME }, { "outcome", "OUTCOME", CELL_TEXT },
    { "signal", NULL, CELL_NUMBER },        { "peak_rss", "PEAK RSS", CELL_PEAK },
};

static int attempt_cells(void *arg, const struct attempt_row *r)
{
    struct table *t = arg;
    table_int(t, r->number);
    table_text(t, r->kind);
    table_text(t, r->worker);
    table_int(t, r->started);
    table_int(t, r->finished);
    table_text(t, r->outcome);
    table_int(t, r->signal);
    table_int(t, r->peak_rss);
    return 0;
}

static const struct table_col object_cols[] = {
    { "uri", "OBJECT", CELL_TEXT },
    { "size", "SIZE", CELL_SIZE },
    { "etag", "ETAG", CELL_TEXT },
    { "modified", "MODIFIED", CELL_TEXT },
    { "same_as", "SAME AS JOB", CELL_JOB },
    { "after", "AFTER", CELL_TEXT },
};

struct objects {
    struct table table;
    const struct pipeline *pipeline; /* of the ini; NULL: it has none of that name */
    bool to_finish;                  /* after= is still to be done with one of them */
};

static int object_cells(void *arg, const struct object_row *r)
{
    struct objects *o = arg;
    struct table *t = &o->table;
    bool to_finish = r->to_finish && o->pipeline && o->pipeline->scan.after.what != AFTER_KEEP;
    o->to_finish |= to_finish;
    table_text(t, r->uri);
    table_int(t, r->size);
    table_text(t, r->etag);
    table_text(t, r->modified);
    table_int(t, r->same_as);
    table_text(t, to_finish ? "to do" : NULL);
    return 0;
}

static const struct table_col output_cols[] = {
    { "kind", "OUTPUT", CELL_TEXT },   { "table", "TABLE", CELL_TEXT },     { "rows", "ROWS", CELL_NUMBER },
    { "bytes", "BYTES", CELL_SIZE },   { "in_file", "FILE", CELL_BOOL },
};

static int output_cells(void *arg, const struct output *r)
{
    struct table *t = arg;
    table_text(t, r->kind == OUTPUT_ROWS ? "rows" : "rejects");
    table_text(t, r->table);
    table_int(t, r->rows);
    table_int(t, r->bytes);
    table_int(t, r->in_file);
    return 0;
}

static void line(const char *name, const char *value)
{
    if (value && *value)
        printf("%-12s %s\n", name, value);
}

static void time_line(const char *name, int64_t ms)
{
    char text[32];
    if (ms > 0) {
        text_put_rfc3339(text, ms);
        line(name, text);
    }
}

/* A JSON array of URIs, without the secrets that may stand in them. */
static void objects_line(const char *objects)
{
    struct json_value list, item;
    struct json_fault fault;
    struct str key, uri;
    AUTO(arena_clear) struct arena arena = { 0 };
    if (!objects || !json_check(str_of(objects), &list, &fault) || list.kind != JSON_ARRAY)
        return;
    for (size_t at = 0, n = 0; json_next(&list, &at, &key, &item); n++) {
        char *text, shown[2048];
        if (item.kind != JSON_TEXT || !json_unescape(&item, &arena, &uri) || !(text = arena_dup(&arena, uri)))
            return;
        fetch_redact(text, shown, sizeof shown);
        line(n ? "" : "objects", shown);
    }
}

static int print_job(void *arg, const struct job_row *r)
{
    (void)arg;
    printf("%-12s %" PRId64 " (%s)\n", "job", r->id, r->uid);
    line("pipeline", r->pipeline);
    line("state", r->state);
    objects_line(r->objects);
    line("params", r->params);
    line("unique", r->unique);
    time_line("created", r->created);
    if (!r->finished)
        time_line("run at", r->run_at);
    time_line("finished", r->finished);
    time_line("undone", r->undone);
    printf("%-12s %" PRId64 " of at most %" PRId64 "\n", "tries", r->attempts, r->attempts_max);
    printf("%-12s read %" PRId64 ", ", "rows", r->rows_read);
    if (r->rows_added)
        printf("added %" PRId64 ", ", r->rows_added);
    printf("staged %" PRId64 ", rejected %" PRId64 ", filtered %" PRId64 ", loaded %" PRId64 "\n", r->rows_staged, r->rows_rejected,
           r->rows_filtered, r->rows_loaded);
    if (r->rows_loaded || r->counts.removed)
        printf("%-12s inserted %" PRId64 ", updated %" PRId64 ", unchanged %" PRId64 ", deleted %" PRId64
               ", removed from the table %" PRId64 "\n",
               "", r->counts.inserted, r->counts.updated, r->counts.unchanged, r->counts.deleted, r->counts.removed);
    if (r->error_code && *r->error_code && !is_done(r)) {
        printf("%-12s %s [%s]\n", "error", r->error, r->error_code);
        const char *hint = err_hint(err_by_name(r->error_code));
        if (*hint)
            printf("%-12s %s\n", "hint", hint);
    }
    return 0;
}

/* What the job has to do with event time: lines, or a member of the document; none without. */
static int show_event(struct ctl *c, int64_t id, struct buf *doc)
{
    struct job_event e;
    int rc = event_of_job(c->queue, id, &e, &c->err);
    if (rc <= 0)
        return rc;
    int64_t watermark = e.watermark == EVENT_NONE ? 0 : e.watermark / 1000, greatest = e.greatest == EVENT_NONE ? 0 : e.greatest / 1000;
    if (doc) {
        struct json_out o;
        buf_adds(doc, ",\"events\":");
        json_start(&o, doc);
        json_object(&o);
        json_put_time(&o, "watermark", watermark);
        json_put_time(&o, "greatest", greatest);
        json_put_int(&o, "late", e.late);
        json_object_end(&o);
        return doc->failed ? err_nomem(&c->err) : 0;
    }
    time_line("watermark", watermark);
    time_line("events to", greatest);
    if (e.late)
        printf("%-12s %" PRId64 " before the watermark\n", "late rows", e.late);
    return 0;
}

int ctl_job_lines(struct ctl *c, int64_t id)
{
    struct job_filter f = { .id = id, .limit = 1 };
    return job_list(c->queue, &f, print_job, NULL, &c->err);
}

/* The only element of the list of one. */
int ctl_job_json(struct ctl *c, int64_t id, struct buf *doc)
{
    struct table t;
    struct job_filter f = { .id = id, .limit = 1 };
    AUTO(buf_clear) struct buf list = { 0 };
    table_init(&t, true, job_cols, COUNT_OF(job_cols));
    if (job_list(c->queue, &f, job_cells, &t, &c->err) < 0)
        return -1;
    table_json(&t, &list);
    buf_add(doc, list.p + 1, list.n - 2);
    return 0;
}

/* What the program of the newest error wrote to standard error. */
static int print_detail(void *arg, const struct error_row *r)
{
    (void)arg;
    if (r->detail)
        printf("\nstandard error of attempt %" PRId64 ":\n%s\n", r->attempt, r->detail);
    return 0;
}

/* Where a table has no rows: why. */
struct nothing {
    const char *attempts, *objects, *outputs;
};

static int say_nothing(void *arg, const struct job_row *r)
{
    struct nothing *n = arg;
    int state = job_state_by_name(r->state);
    bool over = state >= 0 && job_is_over((enum job_state)state);
    *n = (struct nothing){ over ? "no attempt" : "no attempt yet", over ? "nothing fetched" : "nothing fetched yet", "nothing staged" };
    if (state == JOB_DEAD)
        n->objects = "not known: objects are noted when a job is staged";
    if (over && r->rows_staged)
        n->outputs = state == JOB_LOADED ? "what was staged is loaded, and removed from the spool" : "what was staged is removed";
    return 0;
}

struct in_ini {
    const struct config *config;
    const struct pipeline *pipeline;
};

static int find_pipeline(void *arg, const struct job_row *r)
{
    struct in_ini *in = arg;
    in->pipeline = config_pipeline(in->config, r->pipeline);
    return 0;
}

/* Its objects, and what is left to do with those of its pipeline if there are any of its own. */
static int show_objects(struct ctl *c, int64_t id, struct table *objects, struct table *after)
{
    struct job_filter of = { .id = id, .limit = 1 };
    struct in_ini in = { .config = c->config };
    if (job_list(c->queue, &of, find_pipeline, &in, &c->err) < 0)
        return -1;
    struct objects o = { .pipeline = in.pipeline };
    table_init(&o.table, c->json, object_cols, COUNT_OF(object_cols));
    int rc = job_objects(c->queue, id, object_cells, &o, &c->err);
    *objects = o.table;
    return rc < 0 ? -1 : ctl_unfinished(c, o.to_finish ? o.pipeline->name : "", after);
}

int ctl_show(struct ctl *c, int argc, char **argv)
{
    int64_t id;
    if (argc != 2)
        return ctl_usage(c, "%s wants one job", argv[0]);
    if (ctl_queue(c, 0) < 0 || ctl_job(c, argv[1], &id) < 0)
        return -1;
    struct table attempts, objects, after, outputs, drift, tally, errors;
    struct error_filter ef = { .job = id, .limit = 20 };
    table_init(&attempts, c->json, attempt_cols, COUNT_OF(attempt_cols));
    table_init(&outputs, c->json, output_cols, COUNT_OF(output_cols));
    table_init(&errors, c->json, error_cols, COUNT_OF(error_cols));
    if (job_attempts(c->queue, id, attempt_cells, &attempts, &c->err) < 0 ||
        show_objects(c, id, &objects, &after) < 0 ||
        job_outputs(c->queue, id, output_cells, &outputs, &c->err) < 0 || ctl_drift(c, id, &drift) < 0 || ctl_tally(c, id, &tally) < 0 ||
        job_errors(c->queue, &ef, error_cells, &errors, &c->err) < 0)
        return -1;
    if (!c->json) {
        struct job_filter of = { .id = id, .limit = 1 };
        struct nothing none = { 0 };
        if (ctl_job_lines(c, id) < 0 || show_event(c, id, NULL) < 0 || ctl_rejects_of(c, id) < 0 ||
            job_list(c->queue, &of, say_nothing, &none, &c->err) < 0)
            return -1;
        puts("");
        table_print(&attempts, "attempts", none.attempts);
        puts("");
        table_print(&objects, "objects", none.objects);
        if (after.rows) {
            puts("");
            table_print(&after, "after", "");
        }
        puts("");
        table_print(&outputs, "outputs", none.outputs);
        puts("");
        table_print(&drift, "drift", "no drift");
        if (tally.rows) {
            puts("");
            table_print(&tally, "enriched", "");
        }
        puts("");
        table_print(&errors, "errors", "no errors");
        ef.limit = 1;
        return job_errors(c->queue, &ef, print_detail, NULL, &c->err);
    }
    AUTO(buf_clear) struct buf doc = { 0 };
    buf_adds(&doc, "{\"job\":");
    if (ctl_job_json(c, id, &doc) < 0)
        return -1;
    buf_adds(&doc, ",\"attempts\":");
    table_json(&attempts, &doc);
    buf_adds(&doc, ",\"objects\":");
    table_json(&objects, &doc);
    buf_adds(&doc, ",\"after\":");
    table_json(&after, &doc);
    buf_adds(&doc, ",\"outputs\":");
    table_json(&outputs, &doc);
    buf_adds(&doc, ",\"drift\":");
    table_json(&drift, &doc);
    buf_adds(&doc, ",\"enriched\":");
    table_json(&tally, &doc);
    buf_adds(&doc, ",\"errors\":");
    table_json(&errors, &doc);
    if (show_event(c, id, &doc) < 0)
        return -1;
    printf("%s}\n", doc.p);
    return 0;
}

int ctl_explain(struct ctl *c, int argc, char **argv)
{
    int64_t id;
    AUTO(buf_clear) struct buf why = { 0 };
    if (argc != 2)
        return ctl_usage(c, "explain wants one job");
    if (ctl_queue(c, 0) < 0 || ctl_job(c, argv[1], &id) < 0 || job_explain(c->queue, id, &why, &c->err) < 0)
        return -1;
    if (!c->json) {
        puts(why.p);
        return 0;
    }
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    json_start(&o, &doc);
    json_object(&o);
    json_put_int(&o, "id", id);
    json_put_text(&o, "explanation", why.p);
    json_object_end(&o);
    puts(doc.p);
    return 0;
}

/* ---- outcomes ---- */

struct of_job {
    char state[16];
};

static int take_job(void *arg, const struct job_row *r)
{
    struct of_job *j = arg;
    snprintf(j->state, sizeof j->state, "%s", r->state);
    return 0;
}

static int job_of(struct ctl *c, int64_t id, struct of_job *j)
{
    struct job_filter f = { .id = id, .limit = 1 };
    return job_list(c->queue, &f, take_job, j, &c->err);
}

int ctl_over(struct ctl *c, int64_t id)
{
    struct of_job j = { 0 };
    if (job_of(c, id, &j) < 0)
        return -1;
    int s = job_state_by_name(j.state);
    return s >= 0 && job_is_over((enum job_state)s);
}

int ctl_waits(struct ctl *c, struct ctl_patience *p, int64_t id)
{
    AUTO(buf_clear) struct buf why = { 0 };
    int64_t now = sys_mono_ms();
    if (!p->since_mono_ms)
        p->since_mono_ms = now;
    if (now - p->since_mono_ms < PATIENCE_MS)
        return 0;
    if (job_explain(c->queue, id, &why, &c->err) < 0)
        return -1;
    char reason[sizeof p->said];
    snprintf(reason, sizeof reason, "%s", why.p);
    if (text_same_but_numbers(reason, p->said)) /* the same gate, whatever the seconds that are left */
        return 0;
    memcpy(p->said, reason, sizeof reason);
    fprintf(stderr, "qetlctl: job %" PRId64 " waits: %s\n", id, p->said);
    return 0;
}

static int print_outcome(void *arg, const struct job_row *r)
{
    struct ctl *c = arg;
    bool dead = !strcmp(r->state, job_state_name(JOB_DEAD));
    printf("job %" PRId64 " %s", r->id, r->state);
    if (!dead)
        printf(": %" PRId64 " row%s read, %" PRId64 " loaded, %" PRId64 " rejected", r->rows_read, ctl_s(r->rows_read),
               r->rows_loaded, r->rows_rejected);
    if (!dead && r->rows_filtered)
        printf(", %" PRId64 " filtered", r->rows_filtered);
    if (!dead && r->rows_added)
        printf(", %" PRId64 " added", r->rows_added);
    putchar('\n');
    if (dead) {
        fprintf(stderr, "qetlctl: %s [%s]\n", r->error ? r->error : "", r->error_code ? r->error_code : "");
        const char *hint = r->error_code ? err_hint(err_by_name(r->error_code)) : "";
        if (*hint)
            fprintf(stderr, "hint: %s\n", hint);
    }
    c->status = strcmp(r->state, job_state_name(JOB_LOADED)) && strcmp(r->state, job_state_name(JOB_SUPERSEDED)) ? 1 : 0;
    return 0;
}

int ctl_outcome(struct ctl *c, int64_t id)
{
    struct job_filter f = { .id = id, .limit = 1 };
    struct table tally;
    if (ctl_tally(c, id, &tally) < 0)
        return -1;
    if (!c->json) {
        if (job_list(c->queue, &f, print_outcome, c, &c->err) < 0)
            return -1;
        if (tally.rows)
            table_print(&tally, "enriched", "");
        return 0;
    }
    AUTO(buf_clear) struct buf doc = { 0 };
    struct of_job j = { 0 };
    buf_adds(&doc, "{\"job\":");
    if (ctl_job_json(c, id, &doc) < 0 || job_of(c, id, &j) < 0)
        return -1;
    buf_adds(&doc, ",\"enriched\":");
    table_json(&tally, &doc);
    printf("%s}\n", doc.p);
    int s = job_state_by_name(j.state);
    c->status = s == JOB_LOADED || s == JOB_SUPERSEDED ? 0 : 1;
    return 0;
}
