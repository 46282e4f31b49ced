/* The verbs about one job: show, explain. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "bin/table.h"

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
    ctl_time_line("watermark", watermark);
    ctl_time_line("events to", greatest);
    if (e.late)
        printf("%-12s %" PRId64 " before the watermark\n", "late rows", e.late);
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
    if (job_attempts(c->queue, id, attempt_cells, &attempts, &c->err) < 0 ||
        show_objects(c, id, &objects, &after) < 0 ||
        job_outputs(c->queue, id, output_cells, &outputs, &c->err) < 0 || ctl_drift(c, id, &drift) < 0 || ctl_tally(c, id, &tally) < 0 ||
        ctl_errors_table(c, &ef, &errors) < 0)
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
        if (ctl_said_of(c, id, NULL) < 0)
            return -1;
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
    if (ctl_said_of(c, id, &doc) < 0 || show_event(c, id, &doc) < 0)
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
