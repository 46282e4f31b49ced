/* qetlctl report: what jobs did by pipeline, and the profile of one job. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"
#include "bin/table.h"
#include "queue/drift.h"

enum { FINDINGS_SHOWN = 100, EXACT_DISTINCT = 64 };

/* ---- drift ---- */

static const struct table_col drift_cols[] = {
    { "job", NULL, CELL_JOB },        { "kind", "DRIFT", CELL_TEXT },    { "pipeline", "PIPELINE", CELL_TEXT },
    { "column", "COLUMN", CELL_TEXT }, { "member", "MEMBER", CELL_TEXT }, { "detail", "WHAT", CELL_TEXT },
};
static const struct table_col drift_of_many[] = {
    { "job", "JOB", CELL_JOB },       { "kind", "DRIFT", CELL_TEXT },    { "pipeline", "PIPELINE", CELL_TEXT },
    { "column", "COLUMN", CELL_TEXT }, { "member", "MEMBER", CELL_TEXT }, { "detail", "WHAT", CELL_TEXT },
};

/* Without the first column of a job that has no number. */
static int drift_cells(void *arg, const struct drift_row *r)
{
    struct table *t = arg;
    if (r->job)
        table_int(t, r->job);
    table_text(t, r->kind);
    table_text(t, r->pipeline);
    table_text(t, r->column);
    table_text(t, r->member);
    table_text(t, r->detail);
    return 0;
}

int ctl_drift(struct ctl *c, int64_t id, struct table *t)
{
    table_init(t, c->json, drift_cols, COUNT_OF(drift_cols));
    return job_drift(c->queue, id, drift_cells, t, &c->err);
}

/* ---- enrichments ---- */

static const struct table_col tally_cols[] = {
    { "enrich", "ENRICH", CELL_TEXT },     { "pipeline", "PIPELINE", CELL_TEXT },     { "keys", "KEYS", CELL_NUMBER },
    { "cached", "CACHED", CELL_NUMBER },   { "missed", "MISSED", CELL_NUMBER },       { "failed", "FAILED", CELL_NUMBER },
    { "error", "NEWEST FAILURE", CELL_TEXT }, { "note", "NOTE", CELL_TEXT },
};

static int tally_cells(void *arg, const struct tally_row *r)
{
    struct table *t = arg;
    table_text(t, r->enrich);
    table_text(t, r->pipeline);
    table_int(t, r->keys);
    table_int(t, r->cached);
    table_int(t, r->missed);
    table_int(t, r->failed);
    table_text(t, r->error);
    table_text(t, r->note);
    return 0;
}

int ctl_tally(struct ctl *c, int64_t id, struct table *t)
{
    table_init(t, c->json, tally_cols, COUNT_OF(tally_cols));
    return job_tally(c->queue, id, tally_cells, t, &c->err);
}

/* ---- profile ---- */

static const struct table_col profile_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT }, { "column", "COLUMN", CELL_TEXT },     { "type", "TYPE", CELL_TEXT },
    { "nulls", "NULLS", CELL_NUMBER },     { "distinct", "DISTINCT", CELL_TEXT }, { "min", "SMALLEST", CELL_TEXT },
    { "max", "GREATEST", CELL_TEXT },      { "longest", "LONGEST", CELL_TEXT },   { "top", "MOST FREQUENT", CELL_TEXT },
};

/* A member as people read it: texts without their quotes, null as a dash. */
static const char *shown(const struct json_value *object, const char *name, struct arena *arena)
{
    struct json_value v;
    struct str text;
    if (json_member(object, name, &v) != 1 || v.kind == JSON_NULL)
        return NULL;
    text = v.raw;
    if (v.kind == JSON_TEXT && !json_unescape(&v, arena, &text))
        return NULL;
    return arena_dup(arena, text);
}

static void top_shown(const struct json_value *column, struct arena *arena, struct buf *out)
{
    struct json_value list, one;
    struct str none;
    if (json_member(column, "top", &list) != 1)
        return;
    for (size_t at = 0; json_next(&list, &at, &none, &one);) {
        const char *value = shown(&one, "value", arena), *count = shown(&one, "count", arena);
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
        const char *said = shown(column, names[i], &arena);
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

/* ---- of jobs in no queue ---- */

/* A number of a list that was checked. */
static int64_t count(const struct json_value *object, const char *name)
{
    struct json_value v;
    int64_t n = 0;
    return json_member(object, name, &v) == 1 && text_int(v.raw, &n) ? n : 0;
}

void ctl_drift_of(struct ctl *c, const char *findings, struct table *t)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct json_value list, v;
    struct json_fault fault;
    struct str none;
    table_init(t, c->json, drift_cols + 1, COUNT_OF(drift_cols) - 1);
    if (!findings || !json_check(str_of(findings), &list, &fault))
        return;
    for (size_t at = 0; json_next(&list, &at, &none, &v);)
        (void)drift_cells(t, &(struct drift_row){ 0, shown(&v, "kind", &arena), shown(&v, "pipeline", &arena), shown(&v, "column", &arena),
                                                  shown(&v, "member", &arena), shown(&v, "detail", &arena) });
}

void ctl_tally_of(struct ctl *c, const char *tally, struct table *t)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct json_value list, v;
    struct json_fault fault;
    struct str none;
    table_init(t, c->json, tally_cols, COUNT_OF(tally_cols));
    if (!tally || !json_check(str_of(tally), &list, &fault))
        return;
    for (size_t at = 0; json_next(&list, &at, &none, &v);)
        (void)tally_cells(t, &(struct tally_row){ .pipeline = shown(&v, "pipeline", &arena),
                                                     .enrich = shown(&v, "enrich", &arena),
                                                     .keys = count(&v, "keys"),
                                                     .cached = count(&v, "cached"),
                                                     .missed = count(&v, "missed"),
                                                     .failed = count(&v, "failed"),
                                                     .error = shown(&v, "error", &arena),
                                                     .note = shown(&v, "note", &arena) });
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
    table_init(&tally, c->json, tally_cols, COUNT_OF(tally_cols));
    table_init(&drift, c->json, drift_of_many, COUNT_OF(drift_of_many));
    if (job_report(c->queue, of, report_cells, &pipelines, &c->err) < 0 || job_report_tally(c->queue, of, tally_cells, &tally, &c->err) < 0 ||
        job_report_drift(c->queue, of, FINDINGS_SHOWN, drift_cells, &drift, &c->err) < 0)
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
