/* What verbs say of one job: its lines and its JSON, what its columns reported, what became of its enrichments, and of itself. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "bin/table.h"
#include "io/fetch.h"
#include "queue/drift.h"

enum { FINDINGS_SHOWN = 100 };

/* ---- as cells ---- */

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

int ctl_jobs_table(struct ctl *c, const struct job_filter *f, struct table *t)
{
    table_init(t, c->json, job_cols, COUNT_OF(job_cols));
    return job_list(c->queue, f, job_cells, t, &c->err);
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

/* ---- as lines ---- */

void ctl_line(const char *name, const char *value)
{
    if (value && *value)
        printf("%-12s %s\n", name, value);
}

void ctl_time_line(const char *name, int64_t ms)
{
    char text[32];
    if (ms > 0) {
        text_put_rfc3339(text, ms);
        ctl_line(name, text);
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
        ctl_line(n ? "" : "objects", shown);
    }
}

static int print_job(void *arg, const struct job_row *r)
{
    (void)arg;
    printf("%-12s %" PRId64 " (%s)\n", "job", r->id, r->uid);
    ctl_line("pipeline", r->pipeline);
    ctl_line("state", r->state);
    objects_line(r->objects);
    ctl_line("params", r->params);
    ctl_line("unique", r->unique);
    ctl_time_line("created", r->created);
    if (!r->finished)
        ctl_time_line("run at", r->run_at);
    ctl_time_line("finished", r->finished);
    ctl_time_line("undone", r->undone);
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

int ctl_job_lines(struct ctl *c, int64_t id)
{
    struct job_filter f = { .id = id, .limit = 1 };
    return job_list(c->queue, &f, print_job, NULL, &c->err);
}

/* ---- what was found ---- */

const char *ctl_member(const struct json_value *object, const char *name, struct arena *arena)
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

/* A number of a list that was checked. */
static int64_t count(const struct json_value *object, const char *name)
{
    struct json_value v;
    int64_t n = 0;
    return json_member(object, name, &v) == 1 && text_int(v.raw, &n) ? n : 0;
}

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

int ctl_drift_report(struct ctl *c, const struct report_of *of, struct table *t)
{
    table_init(t, c->json, drift_of_many, COUNT_OF(drift_of_many));
    return job_report_drift(c->queue, of, FINDINGS_SHOWN, drift_cells, t, &c->err);
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
        (void)drift_cells(t, &(struct drift_row){ 0, ctl_member(&v, "kind", &arena), ctl_member(&v, "pipeline", &arena), ctl_member(&v, "column", &arena),
                                                  ctl_member(&v, "member", &arena), ctl_member(&v, "detail", &arena) });
}

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

int ctl_tally_report(struct ctl *c, const struct report_of *of, struct table *t)
{
    table_init(t, c->json, tally_cols, COUNT_OF(tally_cols));
    return job_report_tally(c->queue, of, tally_cells, t, &c->err);
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
        (void)tally_cells(t, &(struct tally_row){ .pipeline = ctl_member(&v, "pipeline", &arena),
                                                     .enrich = ctl_member(&v, "enrich", &arena),
                                                     .keys = count(&v, "keys"),
                                                     .cached = count(&v, "cached"),
                                                     .missed = count(&v, "missed"),
                                                     .failed = count(&v, "failed"),
                                                     .error = ctl_member(&v, "error", &arena),
                                                     .note = ctl_member(&v, "note", &arena) });
}

/* ---- what became of it ---- */

struct told {
    struct ctl *c;
    const char *waits; /* why it is not over, or NULL */
};

/* 0 it did its work, 1 it failed, or that it is not over yet. */
static int status_of(int state)
{
    if (state < 0 || !job_is_over((enum job_state)state))
        return CTL_NOT_OVER;
    return state == JOB_LOADED || state == JOB_SUPERSEDED ? 0 : 1;
}

static int print_outcome(void *arg, const struct job_row *r)
{
    const struct told *told = arg;
    struct ctl *c = told->c;
    c->status = status_of(job_state_by_name(r->state));
    if (c->status == CTL_NOT_OVER) {
        printf("job %" PRId64 " %s: %s\n", r->id, r->state, told->waits ? told->waits : "");
        return 0;
    }
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
    return 0;
}

void ctl_said(const char *said) { printf("\nstandard error of its programs, which ended well:\n%s\n", said); }

int ctl_said_of(struct ctl *c, int64_t id, struct buf *doc)
{
    AUTO(free_charp) char *said = NULL;
    struct json_out o;
    if (job_said(c->queue, id, &said, &c->err) < 0)
        return -1;
    if (doc) {
        buf_adds(doc, ",\"said\":");
        json_start(&o, doc);
        said ? json_text(&o, str_of(said)) : json_null(&o);
    } else if (said) {
        ctl_said(said);
    }
    return 0;
}

static int outcome_json(struct ctl *c, int64_t id, struct table *tally, int state, const char *waits)
{
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    buf_adds(&doc, "{\"job\":");
    if (ctl_job_json(c, id, &doc) < 0)
        return -1;
    buf_adds(&doc, ",\"waits\":");
    json_start(&o, &doc);
    waits ? json_text(&o, str_of(waits)) : json_null(&o);
    buf_adds(&doc, ",\"enriched\":");
    table_json(tally, &doc);
    if (ctl_said_of(c, id, &doc) < 0)
        return -1;
    if (doc.failed)
        return err_nomem(&c->err);
    printf("%s}\n", doc.p);
    c->status = status_of(state);
    return 0;
}

int ctl_outcome(struct ctl *c, int64_t id, const char *waits)
{
    struct job_filter f = { .id = id, .limit = 1 };
    struct table tally;
    AUTO(buf_clear) struct buf why = { 0 };
    int state;
    if (ctl_state(c, id, &state) < 0 || ctl_tally(c, id, &tally) < 0)
        return -1;
    bool over = status_of(state) != CTL_NOT_OVER;
    if (!over && !waits) {
        if (job_explain(c->queue, id, &why, &c->err) < 0)
            return -1;
        waits = why.p;
    }
    if (c->json)
        return outcome_json(c, id, &tally, state, over ? NULL : waits);
    if (job_list(c->queue, &f, print_outcome, &(struct told){ c, waits }, &c->err) < 0)
        return -1;
    if (tally.rows)
        table_print(&tally, "enriched", "");
    return ctl_said_of(c, id, NULL);
}
