/* qetlctl report: what jobs did by pipeline, and the profile of one job. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "bin/table.h"
#include "queue/drift.h"

enum { EXACT_DISTINCT = 64 };

/* ---- profile ---- */

static const struct table_col profile_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT }, { "column", "COLUMN", CELL_TEXT },     { "type", "TYPE", CELL_TEXT },
    { "nulls", "NULLS", CELL_NUMBER },     { "distinct", "DISTINCT", CELL_TEXT }, { "min", "SMALLEST", CELL_TEXT },
    { "max", "GREATEST", CELL_TEXT },      { "longest", "LONGEST", CELL_TEXT },   { "top", "MOST FREQUENT", CELL_TEXT },
};

static void top_shown(const struct json_value *column, struct arena *arena, struct buf *out)
{
    struct json_value list, one;
    struct str none;
    if (json_member(column, "top", &list) != 1)
        return;
    for (size_t at = 0; json_next(&list, &at, &none, &one);) {
        const char *value = ctl_member(&one, "value", arena), *count = ctl_member(&one, "count", arena);
        buf_addf(out, "%s%s (%s)", out->n ? ", " : "", value ? value : "", count ? count : "");
    }
}

static void column_cells(struct table *t, const char *pipeline, const struct json_value *column)
{
    static const char *const names[] = { "column", "type", "nulls", "distinct", "min", "max", "longest" };
    AUTO(arena_clear) struct arena arena = { 0 };
    AUTO(buf_clear) struct buf text = { 0 };
    int64_t n = 0;
    table_text(t, pipeline);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *said = ctl_member(column, names[i], &arena);
        if (said && !strcmp(names[i], "distinct") && text_int(str_of(said), &n) && n > EXACT_DISTINCT) {
            buf_addf(&text, "~%s", said);
            said = text.p;
        }
        table_text(t, said);
    }
    buf_reset(&text);
    top_shown(column, &arena, &text);
    table_text(t, text.n ? text.p : NULL);
}

static int profile_rows(void *arg, const struct profile_row *r)
{
    struct json_value doc, list, column;
    struct json_fault fault;
    struct str none;
    if (!json_check(str_of(r->document), &doc, &fault) || json_member(&doc, "columns", &list) != 1)
        return 0;
    for (size_t at = 0; json_next(&list, &at, &none, &column);)
        column_cells(arg, r->pipeline, &column);
    return 0;
}

/* The document with the name of its pipeline in front. */
static int profile_json(void *arg, const struct profile_row *r)
{
    struct buf *doc = arg;
    struct json_out o;
    buf_adds(doc, doc->p[doc->n - 1] == '[' ? "{\"pipeline\":" : ",{\"pipeline\":");
    json_start(&o, doc);
    json_text(&o, str_of(r->pipeline));
    buf_addf(doc, ",%s", r->document + 1);
    return 0;
}

/* ---- of one job ---- */

static int report_job(struct ctl *c, const char *name)
{
    struct table drift, tally, profile;
    int64_t id;
    if (ctl_job(c, name, &id) < 0 || ctl_drift(c, id, &drift) < 0 || ctl_tally(c, id, &tally) < 0)
        return -1;
    if (!c->json) {
        table_init(&profile, false, profile_cols, COUNT_OF(profile_cols));
        if (job_profiles(c->queue, id, profile_rows, &profile, &c->err) < 0 || ctl_job_lines(c, id) < 0)
            return -1;
        puts("");
        table_print(&drift, "drift", "no drift");
        if (tally.rows) {
            puts("");
            table_print(&tally, "enriched", "");
        }
        puts("");
        table_print(&profile, "profile", "no profile: set profile = yes in its pipeline");
        return 0;
    }
    AUTO(buf_clear) struct buf doc = { 0 };
    buf_adds(&doc, "{\"job\":");
    if (ctl_job_json(c, id, &doc) < 0)
        return -1;
    buf_adds(&doc, ",\"drift\":");
    table_json(&drift, &doc);
    buf_adds(&doc, ",\"enriched\":");
    table_json(&tally, &doc);
    buf_adds(&doc, ",\"profile\":[");
    if (job_profiles(c->queue, id, profile_json, &doc, &c->err) < 0)
        return -1;
    if (doc.failed)
        return err_nomem(&c->err);
    printf("%s]}\n", doc.p);
    return 0;
}

/* ---- by pipeline ---- */

static const struct table_col report_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT },
    { "jobs", "JOBS", CELL_NUMBER },
    { "loaded", "LOADED", CELL_NUMBER },
    { "superseded", NULL, CELL_NUMBER },
    { "dead", "DEAD", CELL_NUMBER },
    { "cancelled", NULL, CELL_NUMBER },
    { "rows_read", "ROWS READ", CELL_NUMBER },
    { "rows_loaded", "ROWS LOADED", CELL_NUMBER },
    { "rows_rejected", "REJECTED", CELL_NUMBER },
    { "rows_filtered", "FILTERED", CELL_NUMBER },
    { "rows_added", NULL, CELL_NUMBER },
    { "bytes_in", "FETCHED", CELL_SIZE },
    { "bytes_out", NULL, CELL_SIZE },
    { "errors", "ERRORS", CELL_NUMBER },
    { "drift", "DRIFT", CELL_NUMBER },
    { "seconds_mean", "SECONDS, MEAN", CELL_JSON },
    { "seconds_max", "LONGEST", CELL_JSON },
};

static void seconds_cell(struct table *t, bool any, int64_t ms)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
    table_text(t, any ? text : NULL);
}

static int report_cells(void *arg, const struct report_row *r)
{
    struct table *t = arg;
    table_text(t, r->pipeline);
    table_int(t, r->jobs);
    table_int(t, r->loaded);
    table_int(t, r->superseded);
    table_int(t, r->dead);
    table_int(t, r->cancelled);
    table_int(t, r->rows_read);
    table_int(t, r->rows_loaded);
    table_int(t, r->rows_rejected);
    table_int(t, r->rows_filtered);
    table_int(t, r->rows_added);
    table_int(t, r->bytes_in);
    table_int(t, r->bytes_out);
    table_int(t, r->errors);
    table_int(t, r->drift);
    seconds_cell(t, r->took > 0, r->took ? r->took_ms / r->took : 0);
    seconds_cell(t, r->took > 0, r->took_max_ms);
    return 0;
}

static int report_many(struct ctl *c, const struct report_of *of)
{
    struct table pipelines, tally, drift;
    table_init(&pipelines, c->json, report_cols, COUNT_OF(report_cols));
    if (job_report(c->queue, of, report_cells, &pipelines, &c->err) < 0 || ctl_tally_report(c, of, &tally) < 0 ||
        ctl_drift_report(c, of, &drift) < 0)
        return -1;
    if (!c->json) {
        table_print(&pipelines, "pipelines", "no jobs");
        if (tally.rows) {
            puts("");
            table_print(&tally, "enriched", "");
        }
        if (drift.rows) {
            puts("");
            table_print(&drift, "drift", "");
        }
        return 0;
    }
    AUTO(buf_clear) struct buf doc = { 0 };
    buf_adds(&doc, "{\"pipelines\":");
    table_json(&pipelines, &doc);
    buf_adds(&doc, ",\"enriched\":");
    table_json(&tally, &doc);
    buf_adds(&doc, ",\"drift\":");
    table_json(&drift, &doc);
    if (doc.failed)
        return err_nomem(&c->err);
    printf("%s}\n", doc.p);
    return 0;
}

int ctl_report(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "pipeline", required_argument, NULL, 'l' },
                                           { "since", required_argument, NULL, 's' },
                                           { NULL, 0, NULL, 0 } };
    struct report_of of = { 0 };
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == 'l')
            of.pipeline = optarg;
        else if (o != 's' || ctl_since(c, optarg, &of.since) < 0)
            return -1; /* which has said it */
    }
    bool one = optind < argc;
    if (argc - optind > 1 || (one && (of.pipeline || of.since)))
        return ctl_usage(c, "report wants one job, or --pipeline and --since");
    if (ctl_queue(c, 0) < 0 || ctl_known_pipeline(c, of.pipeline) < 0)
        return -1;
    return one ? report_job(c, argv[optind]) : report_many(c, &of);
}
