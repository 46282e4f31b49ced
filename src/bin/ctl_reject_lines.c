/* Rejects as people and programs see them: the jobs that have some, and the rows. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "bin/table.h"
#include "io/rejects.h"

enum { VALUE_SHOWN = 40 };

/* ---- jobs ---- */

static const struct table_col list_cols[] = {
    { "job", "JOB", CELL_NUMBER },
    { "uid", NULL, CELL_TEXT },
    { "pipeline", "PIPELINE", CELL_TEXT },
    { "state", "STATE", CELL_TEXT },
    { "finished", "FINISHED", CELL_TIME },
    { "rejects", "REJECTS", CELL_NUMBER },
    { "kept", NULL, CELL_NUMBER },
    { "bytes", NULL, CELL_SIZE },
    { "reasons", "REASONS", CELL_JSON },
    { "first", "FIRST", CELL_TEXT },
    { "replay", "REPLAY", CELL_JOB },
    { "replay_state", "", CELL_TEXT },
    { "replay_of", NULL, CELL_JOB },
};

/* [{"reason":"not-integer","rows":2},{"reason":"null","rows":1}] to "not-integer 2, null 1". */
static void reasons_in_words(const struct json_value *reasons, struct buf *out)
{
    struct str none;
    struct json_value one, reason, rows;
    for (size_t at = 0; json_next(reasons, &at, &none, &one);)
        if (one.kind == JSON_OBJECT && json_member(&one, "reason", &reason) == 1 && json_member(&one, "rows", &rows) == 1 &&
            reason.kind == JSON_TEXT)
            buf_addf(out, "%s%.*s %.*s", out->n ? ", " : "", (int)reason.raw.n - 2, reason.raw.p + 1, (int)rows.raw.n, rows.raw.p);
}

struct summary {
    struct buf reasons; /* as they are shown */
    char *first;
    struct arena arena;
};

static void summary_clear(struct summary *s)
{
    buf_clear(&s->reasons);
    arena_clear(&s->arena);
}

static void summary_of(const char *spec, bool json, struct summary *s)
{
    struct json_value doc, v;
    struct json_fault fault;
    struct str text;
    if (!spec || !json_check(str_of(spec), &doc, &fault) || doc.kind != JSON_OBJECT)
        return;
    if (json_member(&doc, "reasons", &v) == 1 && v.kind == JSON_ARRAY) {
        if (json)
            buf_add(&s->reasons, v.raw.p, v.raw.n);
        else
            reasons_in_words(&v, &s->reasons);
    }
    if (json_member(&doc, "first", &v) == 1 && v.kind == JSON_TEXT && json_unescape(&v, &s->arena, &text))
        s->first = arena_dup(&s->arena, text);
}

static int list_cells(void *arg, const struct rejects_row *r)
{
    struct table *t = arg;
    AUTO(summary_clear) struct summary s = { 0 };
    summary_of(r->spec, t->json, &s);
    table_int(t, r->id);
    table_text(t, r->uid);
    table_text(t, r->pipeline);
    table_text(t, r->undone && !t->json ? "undone" : r->state);
    table_int(t, r->finished);
    table_int(t, r->rows);
    table_int(t, r->kept);
    table_int(t, r->bytes);
    table_text(t, s.reasons.p);
    table_text(t, s.first);
    table_int(t, r->replay);
    table_text(t, !r->replay ? NULL : r->replay_state ? r->replay_state : job_state_name(JOB_LOADED));
    table_int(t, r->replay_of);
    return 0;
}

int ctl_rejects_list(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "pipeline", required_argument, NULL, 'l' },
                                           { "since", required_argument, NULL, 's' },
                                           { "limit", required_argument, NULL, 'n' },
                                           { NULL, 0, NULL, 0 } };
    struct rejects_filter f = { .limit = CTL_SHOWN };
    for (int o; (o = ctl_option(c, argc, argv, "n:", longs, NULL)) != -1;) {
        int rc = 0;
        if (o == 'l')
            f.pipeline = optarg;
        else if (o == 's')
            rc = ctl_since(c, optarg, &f.since);
        else
            rc = o == 'n' ? ctl_limit(c, optarg, &f.limit) : -1; /* ctl_option() has said it */
        if (rc < 0)
            return -1;
    }
    if (optind < argc)
        return ctl_usage(c, "'%s' is no option of rejects list; for one job: qetlctl rejects show %s", argv[optind], argv[optind]);
    if (ctl_queue(c, 0) < 0 || ctl_known_pipeline(c, f.pipeline) < 0)
        return -1;
    struct table t;
    table_init(&t, c->json, list_cols, COUNT_OF(list_cols));
    if (job_rejects(c->queue, &f, list_cells, &t, &c->err) < 0)
        return -1;
    table_print(&t, "jobs", "no rejects");
    return 0;
}

static int line_of_job(void *arg, const struct rejects_row *r)
{
    (void)arg;
    AUTO(summary_clear) struct summary s = { 0 };
    summary_of(r->spec, false, &s);
    printf("%-12s %" PRId64 " (%s)", "rejects", r->rows, s.reasons.p ? s.reasons.p : "");
    if (r->replay)
        printf(", replayed by job %" PRId64 ", which is %s", r->replay, r->replay_state ? r->replay_state : job_state_name(JOB_LOADED));
    puts("");
    if (r->replay_of)
        printf("%-12s of job %" PRId64 "\n", "replay", r->replay_of);
    return 0;
}

int ctl_rejects_of(struct ctl *c, int64_t id)
{
    struct rejects_filter f = { .id = id };
    return job_rejects(c->queue, &f, line_of_job, NULL, &c->err);
}

/* ---- rows ---- */

static const struct table_col show_cols[] = {
    { "line", "LINE", CELL_NUMBER },   { "reason", "REASON", CELL_TEXT }, { "column", "COLUMN", CELL_TEXT },
    { "value", "VALUE", CELL_TEXT },   { "message", "WHY", CELL_TEXT },   { "member", "MEMBER", CELL_TEXT },
    { "object", "OBJECT", CELL_TEXT },
};

/* A value in so many characters. */
static void short_text(struct table *t, struct str s)
{
    char text[VALUE_SHOWN * 4 + 4];
    size_t n = 0, shown = 0;
    for (; n < s.n && shown < VALUE_SHOWN; shown++) {
        size_t one = text_utf8_one((const unsigned char *)s.p + n, s.n - n);
        n += one ? one : 1;
    }
    snprintf(text, sizeof text, "%.*s%s", (int)n, s.n ? s.p : "", n < s.n ? "..." : "");
    table_text(t, text);
}

int ctl_rejects_table(struct ctl *c, struct rejects_in *in, int64_t limit, int64_t *n)
{
    struct table t;
    struct reject_line l;
    int rc = 1;
    table_init(&t, false, show_cols, COUNT_OF(show_cols));
    for (*n = 0; (!limit || *n < limit) && (rc = rejects_next(in, &l, &c->err)) == 1; ++*n) {
        table_int(&t, l.row_line);
        table_text(&t, l.reason);
        table_text(&t, l.column);
        short_text(&t, l.value);
        table_text(&t, l.message);
        table_text(&t, l.member);
        table_text(&t, l.object);
    }
    if (rc < 0)
        return -1;
    table_print(&t, "rejects", "no rejects");
    return 0;
}

int ctl_rejects_json(struct ctl *c, struct rejects_in *in, FILE *to, int64_t limit, int64_t *n)
{
    struct reject_line l;
    int rc = 1;
    for (*n = 0; (!limit || *n < limit) && (rc = rejects_next(in, &l, &c->err)) == 1; ++*n)
        fprintf(to, "%s%.*s", *n ? "," : "", (int)l.line.n, l.line.p);
    return rc < 0 ? -1 : 0;
}
