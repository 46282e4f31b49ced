/* The verb status: what is where, in numbers, and what holds it up. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "bin/table.h"
#include "io/db.h"
#include "queue/registry.h"

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

/* Of places or enrichments: what is held for their servers, which people may end. */
struct holds {
    struct table table;
    bool by_server;
};

static int remote_cells(void *arg, const struct remote_row *r)
{
    struct holds *h = arg;
    struct table *t = &h->table;
    bool held = r->held_until > sys_now_ms();
    h->by_server |= held;
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
    struct holds *h = arg;
    struct table *t = &h->table;
    h->by_server |= r->server;
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

static void print_holds(struct holds *h, const char *key, const char *kind)
{
    if (!h->table.rows)
        return;
    puts("");
    table_print(&h->table, key, "");
    if (h->by_server)
        printf("qetlctl resume --%s NAME asks one that is held at once\n", kind);
}

static int whole_status(struct ctl *c)
{
    double per_s;
    struct ctl_open open;
    struct spool_row spool;
    struct table pipelines, away, scans, after, watermarks;
    struct holds remotes = { 0 }, held = { 0 };
    int alive[3] = { 0 };
    table_init(&pipelines, c->json, status_cols, COUNT_OF(status_cols));
    table_init(&away, c->json, away_cols, COUNT_OF(away_cols));
    table_init(&remotes.table, c->json, remote_cols, COUNT_OF(remote_cols));
    table_init(&held.table, c->json, held_cols, COUNT_OF(held_cols));
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
        print_holds(&remotes, "remotes", "remote");
        print_holds(&held, "enrich_held", "enrich");
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
    table_json(&remotes.table, &doc);
    buf_adds(&doc, ",\"enrich_held\":");
    table_json(&held.table, &doc);
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
