/* submit --dry-run: what would become of a job, in words or as one JSON document, whatever its end. */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "bin/table.h"
#include "io/rejects.h"
#include "role/rehearsal.h"
#include "role/submission.h"

enum { REJECTS_SHOWN = 10 };

/* ---- rejects ---- */

/* The kept rejects of a rehearsal as bytes. */
struct rehearsed {
    struct input input;
    struct str left;
    int fd; /* or -1 */
};

static ssize_t rehearsed_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct rehearsed *k = (struct rehearsed *)in;
    if (k->fd >= 0) {
        ssize_t n = read(k->fd, buf, cap);
        return n < 0 ? err_sys(err, "read the rejects") : n;
    }
    size_t n = k->left.n < cap ? k->left.n : cap;
    if (n)
        memcpy(buf, k->left.p, n);
    k->left = (struct str){ k->left.p + n, k->left.n - n };
    return (ssize_t)n;
}

/* The first rejects: as the elements of a JSON list to `to`, or, where that is NULL, as a table. */
static int put_rejects(struct ctl *c, const struct rehearsal *r, FILE *to)
{
    const struct output *out = NULL;
    struct rejects_in *in;
    int64_t n;
    for (int i = 0; i < r->result.noutputs; i++)
        if (r->result.outputs[i].kind == OUTPUT_REJECTS)
            out = &r->result.outputs[i];
    if (!out)
        return 0;
    struct rehearsed k = { .input = { rehearsed_read, NULL, -1 }, .left = buf_str(&out->inlined), .fd = -1 };
    if (out->in_file && (k.fd = rehearsal_rejects(r, out, &c->err)) < 0)
        return -1;
    int rc = rejects_open(&in, &k.input, c->config->limits.row_bytes, &c->err);
    if (rc == 0) {
        rc = to ? ctl_rejects_json(c, in, to, REJECTS_SHOWN, &n) : ctl_rejects_table(c, in, REJECTS_SHOWN, &n);
        rejects_close(in);
    }
    fd_closep(&k.fd);
    return rc;
}

/* What becomes of the table of an output, by its place among those of rows; NULL: nobody asked. */
static const struct schema_table *schema_of(const struct rehearsal *r, int at) { return at < r->schema.n ? &r->schema.tables[at] : NULL; }

/* ---- JSON ---- */

/* Why it would not be loaded, or why there was no rehearsal; nulls without. */
static void error_json(struct json_out *o, const struct rehearsal *r, const struct err *err)
{
    bool any = err->code != ERR_NONE;
    const char *hint = any ? err_hint_without_job(err->code) : "";
    json_put_text(o, "error_code", any ? err_name(err->code) : NULL);
    json_put_text(o, "error", any ? err->msg : NULL);
    json_put_text(o, "error_class", any ? err_class_name(err_class(err->code)) : NULL);
    json_put_text(o, "stage", any ? r->stage : NULL);
    json_put_text(o, "detail", r->talk);
    json_put_text(o, "said", r->said);
    json_put_text(o, "hint", *hint ? hint : NULL);
}

static void counts_json(struct json_out *o, const struct rehearsal *r)
{
    const struct pipeline_counts *n = &r->result.counts;
    json_put_int(o, "rows_read", (int64_t)n->read);
    json_put_int(o, "rows_added", (int64_t)n->added);
    json_put_int(o, "rows_staged", (int64_t)n->staged);
    json_put_int(o, "rows_rejected", (int64_t)n->rejected);
    json_put_int(o, "rows_filtered", (int64_t)n->filtered);
    json_put_int(o, "bytes_in", (int64_t)n->bytes_in);
    json_put_int(o, "bytes_out", (int64_t)n->bytes_out);
    json_put_int(o, "objects_left_out", r->left_out);
}

static void would_json(struct json_out *o, const struct load_counts *n)
{
    json_object(o);
    json_put_int(o, "inserted", n->inserted);
    json_put_int(o, "updated", n->updated);
    json_put_int(o, "unchanged", n->unchanged);
    json_put_int(o, "deleted", n->deleted);
    json_put_int(o, "removed", n->removed);
    json_object_end(o);
}

static void columns_json(struct json_out *o, const struct schema_table *t)
{
    json_key(o, "columns");
    json_array(o);
    for (int i = 0; i < t->ncolumns; i++) {
        json_object(o);
        json_put_text(o, "column", t->columns[i].name);
        json_put_text(o, "type", t->columns[i].type);
        json_put_bool(o, "not_null", t->columns[i].not_null);
        json_put_bool(o, "key", t->columns[i].key);
        json_object_end(o);
    }
    json_array_end(o);
}

static void objects_json(struct json_out *o, const struct schema_table *t)
{
    json_key(o, "objects");
    json_array(o);
    for (int i = 0; i < t->nobjects; i++) {
        json_object(o);
        json_put_text(o, "object", t->objects[i].name);
        json_put_int(o, "rows", t->objects[i].rows);
        json_put_int(o, "bytes", t->objects[i].bytes);
        json_object_end(o);
    }
    json_array_end(o);
}

/* What becomes of the table of an output; null: nobody asked. */
static void schema_json(struct json_out *o, const struct schema_table *t)
{
    json_key(o, "schema");
    if (!t) {
        json_null(o);
        return;
    }
    bool refused = t->state == SCHEMA_REFUSED;
    json_object(o);
    json_put_text(o, "state", schema_state_names[t->state]);
    columns_json(o, t);
    json_key(o, "sql");
    json_array(o);
    for (int i = 0; i < t->nsql; i++)
        json_text(o, str_of(t->sql[i]));
    json_array_end(o);
    objects_json(o, t);
    json_put_int(o, "replaced_objects", t->replaced_objects);
    json_put_int(o, "replaced_rows", t->replaced_rows);
    json_put_text(o, "error_code", refused ? err_name(t->refused.code) : NULL);
    json_put_text(o, "error", refused ? t->refused.msg : NULL);
    json_object_end(o);
}

static void own_json(struct json_out *o, const struct schema_diff *d)
{
    json_key(o, "own_tables");
    json_array(o);
    for (int i = 0; i < d->nown; i++) {
        json_object(o);
        json_put_text(o, "table", d->own[i].name);
        json_put_text(o, "sql", d->own[i].sql);
        json_object_end(o);
    }
    json_array_end(o);
}

static void tables_json(struct json_out *o, const struct rehearsal *r)
{
    const struct reader_result *result = &r->result;
    int at = 0;
    json_key(o, "tables");
    json_array(o);
    for (int i = 0; i < result->noutputs; i++) {
        const struct output *out = &result->outputs[i];
        if (out->kind != OUTPUT_ROWS)
            continue;
        json_object(o);
        json_put_text(o, "table", out->table);
        json_put_int(o, "rows", out->rows);
        json_key(o, "sample");
        json_raw(o, out->sample ? str_of(out->sample) : STR("[]"));
        schema_json(o, schema_of(r, at++));
        json_object_end(o);
    }
    json_array_end(o);
}

/* ok: it would be loaded; else by *err it would not. rejects: the elements of a list. */
static int print_json(struct ctl *c, const struct rehearsal *r, const char *pipeline, const struct err *err, const char *rejects)
{
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    json_start(&o, &doc);
    json_object(&o);
    struct table drift, tally;
    json_put_text(&o, "pipeline", pipeline);
    json_put_bool(&o, "ok", err->code == ERR_NONE);
    error_json(&o, r, err);
    counts_json(&o, r);
    json_key(&o, "would");
    r->counted ? would_json(&o, &r->counts) : json_null(&o);
    json_put_text(&o, "why_not", *r->why ? r->why : NULL);
    tables_json(&o, r);
    own_json(&o, &r->schema);
    ctl_tally_of(c, r->result.tally, &tally);
    buf_adds(&doc, ",\"enriched\":");
    table_json(&tally, &doc);
    ctl_drift_of(c, r->result.drift, &drift);
    buf_adds(&doc, ",\"drift\":");
    table_json(&drift, &doc);
    if (doc.failed)
        return err_nomem(&c->err);
    printf("%s,\"rejects\":[%s]}\n", doc.p, rejects);
    return 0;
}

/* The rejects first: when they cannot be read the document is about that. */
static int rehearsal_json(struct ctl *c, const struct rehearsal *r, int rc, const char *pipeline)
{
    AUTO(free_charp) char *rejects = NULL;
    size_t n;
    FILE *to = open_memstream(&rejects, &n);
    if (!to)
        return err_nomem(&c->err);
    if (rc == 0)
        rc = put_rejects(c, r, to);
    if (fclose(to) != 0)
        return err_nomem(&c->err);
    const struct err *why = rc < 0 ? &c->err : &r->died;
    c->status = rc < 0 ? err_exit_status(why->code) : why->code != ERR_NONE;
    return print_json(c, r, pipeline, why, rc < 0 ? "" : rejects);
}

/* ---- words ---- */

/* [{…},{…}], a row a line. */
static void print_sample(const char *sample)
{
    struct json_value list, row;
    struct json_fault fault;
    struct str none;
    if (!sample || !json_check(str_of(sample), &list, &fault))
        return;
    for (size_t at = 0; json_next(&list, &at, &none, &row);)
        printf("    %.*s\n", (int)row.raw.n, row.raw.p);
}

/* One line, whatever names a file brought. */
static void print_line(const char *text)
{
    for (; *text; text++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
    putchar('\n');
}

static void print_schema(const struct schema_table *t)
{
    static const char *const said[SCHEMA_STATES] = { [SCHEMA_FITS] = "the table is there, and fits",
                                                     [SCHEMA_NEW] = "the table is not there; it would be made:",
                                                     [SCHEMA_ALTERED] = "the table would be altered:",
                                                     [SCHEMA_REFUSED] = "the table does not fit:",
                                                     [SCHEMA_OBJECTS] = "would be written:" };
    printf("  %s%s", said[t->state], t->state == SCHEMA_REFUSED ? " " : "");
    print_line(t->state == SCHEMA_REFUSED ? t->refused.msg : "");
    for (int i = 0; i < t->nsql; i++) {
        fputs("    ", stdout);
        print_line(t->sql[i]);
    }
    for (int i = 0; i < t->nobjects; i++)
        printf("    %s: %" PRId64 " row%s, %" PRId64 " bytes\n", t->objects[i].name, t->objects[i].rows, ctl_s(t->objects[i].rows),
               t->objects[i].bytes);
    if (t->replaced_objects)
        printf("  in place of %" PRId64 " object%s with %" PRId64 " row%s\n", t->replaced_objects, ctl_s(t->replaced_objects), t->replaced_rows,
               ctl_s(t->replaced_rows));
}

static void print_table(const struct output *out, const struct schema_table *t)
{
    printf("\n%s: %" PRId64 " row%s\n", out->table, out->rows, ctl_s(out->rows));
    if (t)
        print_schema(t);
    if (out->rows)
        puts("  the first rows:");
    print_sample(out->sample);
}

static void print_tables(const struct rehearsal *r)
{
    int at = 0;
    for (int i = 0; i < r->result.noutputs; i++)
        if (r->result.outputs[i].kind == OUTPUT_ROWS)
            print_table(&r->result.outputs[i], schema_of(r, at++));
    if (r->schema.nown)
        puts("\nof its own qetl would make in the target:");
    for (int i = 0; i < r->schema.nown; i++)
        printf("  %s\n", r->schema.own[i].name);
}

static void print_death(const struct rehearsal *r)
{
    const char *hint = err_hint_without_job(r->died.code);
    bool again = err_class(r->died.code) == ERR_TRANSIENT;
    printf("%-10s %s [%s]\n", again ? "would fail" : "would die", r->died.msg, err_name(r->died.code));
    if (again)
        printf("%-10s and be tried again\n", "");
    if (*hint)
        printf("%-10s %s\n", "hint", hint);
    if (r->talk)
        printf("%-10s the last that the program wrote to standard error:\n%s\n", "", r->talk);
}

static void print_found(struct ctl *c, const struct reader_result *result)
{
    struct table drift, tally;
    ctl_drift_of(c, result->drift, &drift);
    ctl_tally_of(c, result->tally, &tally);
    if (drift.rows) {
        puts("");
        table_print(&drift, "drift", "");
    }
    if (tally.rows) {
        puts("");
        table_print(&tally, "enriched", "");
    }
}

static int rehearsal_words(struct ctl *c, const struct rehearsal *r)
{
    const struct pipeline_counts *n = &r->result.counts;
    const struct load_counts *w = &r->counts;
    printf("%-10s %s; nothing was loaded\n", "rehearsal", r->pipeline->name);
    printf("%-10s read %" PRIu64 ", added %" PRIu64 ", staged %" PRIu64 ", rejected %" PRIu64 ", filtered %" PRIu64 "\n", "rows", n->read, n->added,
           n->staged, n->rejected, n->filtered);
    if (r->left_out)
        printf("%-10s %d object%s left out: loaded before\n", "", r->left_out, ctl_s(r->left_out));
    if (r->died.code != ERR_NONE)
        print_death(r);
    else if (r->counted)
        printf("%-10s inserted %" PRId64 ", updated %" PRId64 ", unchanged %" PRId64 ", deleted %" PRId64 ", removed from the table %" PRId64 "\n",
               "would be", w->inserted, w->updated, w->unchanged, w->deleted, w->removed);
    else
        printf("%-10s nobody knows what the target would do: %s\n", "would be", r->why);
    print_tables(r);
    print_found(c, &r->result);
    if (r->said)
        ctl_said(r->said);
    if (n->rejected)
        printf("\n%" PRIu64 " reject%s; the first:\n", n->rejected, ctl_s((int64_t)n->rejected));
    c->status = r->died.code != ERR_NONE;
    return n->rejected ? put_rejects(c, r, NULL) : 0;
}

/* ---- the verb's option ---- */

static int rehearse_submission(struct ctl *c, const struct ctl_submission *s, struct rehearsal *r)
{
    AUTO(buf_clear) struct buf objects = { 0 };
    AUTO(submission_clear) struct submission sub = { .job = { .pipeline = s->pipeline, .params = str_of(s->params) } };
    for (int i = 0; i < s->nuris; i++)
        if (submission_object(&sub, &objects, s->uris[i], &c->err) < 0)
            return -1;
    if (ctl_checked(c) < 0 || submission_resolve(&sub, c->config, &c->err) < 0)
        return -1;
    log_init(LOG_NOTHING, LOG_TEXT, "qetlctl");
    sys_signals_init(NULL);
    return rehearse(r, c->config, &sub.job, &c->err);
}

int ctl_rehearse(struct ctl *c, const struct ctl_submission *s)
{
    struct rehearsal r = REHEARSAL_NONE;
    int rc = rehearse_submission(c, s, &r);
    if (c->json)
        rc = rehearsal_json(c, &r, rc, s->pipeline);
    else if (rc == 0)
        rc = rehearsal_words(c, &r);
    rehearsal_clear(&r);
    return rc;
}
