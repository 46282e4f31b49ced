/*
 * One job from open inputs to finished outputs: unpack ▸ format ▸ cast, pulled from the right, then ▸ steps ▸ encode a batch at a time.
 *
 * Every member goes to the first part whose globs match it. The books are closed before anything is published:
 * rows read + added = staged + rejected + filtered, or the job fails with `counts`. Nothing here survives a crash, and nothing
 * needs to: outputs are .part files until the worker publishes them.
 */
#include "pipeline/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/rejects.h"
#include "io/row_text.h"
#include "pipeline/drift.h"
#include "pipeline/enrich_tally.h"
#include "pipeline/hold.h"
#include "pipeline/replay.h"
#include "pipeline/step.h"
#include "read/cast.h"
#include "read/infer.h"
#include "read/member.h"
#include "read/message.h"
#include "read/unpack.h"
#include "source/source.h"
#include "target/target.h"

enum {
    SAMPLE_BYTES = 256 * 1024, /* of a member, to tell types of new columns by */
    SAMPLE_ROWS = 5,
    SAMPLE_TEXT = 200, /* bytes of a text in it */
};

struct part {
    struct step stager;            /* the last step */
    struct step_part view;         /* what the steps see of this */
    struct step *steps;            /* NULL: not opened */
    const struct recipe *recipe;
    struct columns own;            /* from the override; empty when the recipe has columns */
    const struct columns *columns; /* that are read */
    const struct target *target;
    const struct columns *through; /* of the rows that come to the last step */
    struct columns marked;         /* those that are staged, with JOB_COLUMN, where the rows get it */
    struct value *marked_values;   /* of a batch, with it */
    struct table_spec spec;
    int *key;
    struct encoder *encoder;
    struct cast *cast;
    struct batch batch;
    struct field *builtins;        /* of each column, its parameter's; NULL: no column is a builtin one */
    struct arena arena;            /* of the parameters' texts */
    struct drift *drift;
    struct buf profile;            /* made by its step */
    struct enrich_tally *tallies;      /* of each [enrich] */
    struct buf sample;             /* on_new_column = add: the beginning of the member at hand */
    int64_t members;
    uint64_t read, staged;         /* rows */
    bool followed;                 /* other parts get its rows, too (from=) */
    struct hold *held;             /* its rows, until those of the parts that its SQL reads are there; NULL: it reads none */
    const struct part_table *table; /* its rows for the SQL of others; NULL: none reads them */
    struct value *copied;          /* of a part that follows: a batch of the other one, that its steps may change */
    const struct place **copied_places;
    int shown_left;               /* rows that are to be kept in the sample */
    struct buf shown;              /* "{…},{…}" */
    bool refresh;                  /* a message says that its rows take the place of the table's */
};

struct pipeline_run {
    const struct config *config;
    const struct pipeline *pipeline;
    struct part parts[PIPELINE_PARTS_MAX];
    int nparts;
    int order[PIPELINE_PARTS_MAX];  /* in which they are opened and finished */
    struct part_table tables[PIPELINE_PARTS_MAX]; /* of the parts that SQL of others reads */
    struct rejects rejects;
    const char *uid, *params;
    struct pipeline_counts counts;
    struct asker asker;
    bool adds;       /* went through to find all columns that are to be added */
    char *first_uri; /* for the error about no rows */
    struct buf seen; /* names of members nobody wanted, for the error */
    bool replay;     /* its object is the rejects of another job */
    struct reject_context context; /* of the member at hand */
};

/* The uid of the job behind each row. */
static void mark_rows(struct part *part, struct rows *rows)
{
    uint32_t cols = rows->cols + 1;
    struct value job = { .p = part->view.uid, .n = (uint32_t)strlen(part->view.uid) };
    for (uint32_t i = 0; i < rows->n; i++) {
        memcpy(part->marked_values + (size_t)i * cols, rows->values + (size_t)i * rows->cols, rows->cols * sizeof *rows->values);
        part->marked_values[(size_t)i * cols + rows->cols] = job;
    }
    rows->values = part->marked_values;
    rows->cols = cols;
}

/* A value as JSON; of a long one its beginning, as a text. */
static void sample_value(struct buf *out, const struct column *c, const struct value *v)
{
    struct value cut = *v;
    struct column text = *c;
    bool is_text = c->type == TYPE_TEXT || c->type == TYPE_JSON;
    if (!v->null && is_text && v->n > SAMPLE_TEXT) {
        text.type = TYPE_TEXT;
        cut.n = SAMPLE_TEXT;
        while (cut.n && ((unsigned char)cut.p[cut.n] & 0xc0) == 0x80)
            cut.n--;
    }
    if (v->null || !row_put_json(out, &text, &cut))
        buf_adds(out, "null");
}

static void sample_row(struct part *part, const struct rows *rows, uint32_t row)
{
    const struct columns *columns = part->spec.columns;
    struct json_out name;
    buf_adds(&part->shown, part->shown.n ? ",{" : "{");
    for (uint32_t i = 0; i < rows->cols; i++) {
        if (i)
            buf_addc(&part->shown, ',');
        json_start(&name, &part->shown);
        json_text(&name, str_of(columns->v[i].name));
        buf_addc(&part->shown, ':');
        sample_value(&part->shown, &columns->v[i], &rows->values[(size_t)row * rows->cols + i]);
    }
    buf_addc(&part->shown, '}');
}

static int stage_rows(struct part *part, struct rows *rows, struct err *err)
{
    uint64_t staged = 0;
    if (part->marked_values)
        mark_rows(part, rows);
    for (uint32_t i = 0; i < rows->n && part->shown_left > 0; i++, part->shown_left--)
        sample_row(part, rows, i);
    if (part->target->encode_rows(part->encoder, rows, part->view.rejects, &staged, err) < 0)
        return -1;
    part->view.counts->staged += staged;
    part->staged += staged;
    return 0;
}

static int give_readers(const struct part *part, const struct value *row, struct err *err)
{
    for (struct part_reader *reader = part->table->readers; reader; reader = reader->next)
        if (reader->row(reader, row, err) < 0)
            return -1;
    return 0;
}

/* One by one: a row that the target refuses is in no table that others read either. */
static int stage_read_rows(struct part *part, const struct rows *rows, struct err *err)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct value *row = rows->values + (size_t)i * rows->cols;
        struct rows one = { 1, rows->cols, rows->values + (size_t)i * rows->cols, rows->places + i };
        uint64_t before = part->view.counts->staged;
        if (stage_rows(part, &one, err) < 0 || (part->view.counts->staged > before && give_readers(part, row, err) < 0))
            return -1;
    }
    return 0;
}

static int stager_rows(struct step *step, struct rows *rows, struct err *err)
{
    struct part *part = (struct part *)step; /* its first member */
    return part->table && part->table->readers ? stage_read_rows(part, rows, err) : stage_rows(part, rows, err);
}

static void stager_close(struct step *step) { (void)step; } /* part_close() does */

static const struct step_kind stager_kind = { .name = "stage", .rows = stager_rows, .close = stager_close };

/* A parameter of the job: a text as it is, a number or boolean as written; null and none at all are null. */
static int param_field(struct part *part, const char *params, const char *name, struct field *f, struct err *err)
{
    struct json_value doc, v;
    struct json_fault fault;
    struct str key, text;
    *f = (struct field){ .kind = FIELD_ABSENT };
    if (!params || !json_check(str_of(params), &doc, &fault) || doc.kind != JSON_OBJECT)
        return 0;
    for (size_t at = 0; json_next(&doc, &at, &key, &v);) {
        struct json_value quoted = { JSON_TEXT, key };
        if (!json_unescape(&quoted, &part->arena, &text))
            return err_nomem(err);
        if (!str_eq(text, str_of(name)) || v.kind == JSON_NULL)
            continue;
        text = v.raw;
        if (v.kind == JSON_TEXT && !json_unescape(&v, &part->arena, &text))
            return err_nomem(err);
        *f = (struct field){ text.p, (uint32_t)text.n, FIELD_NUMBER };
    }
    return 0;
}

static int builtins_open(const struct pipeline_run *r, struct part *part, struct err *err)
{
    bool any = false;
    for (int i = 0; i < part->columns->n; i++)
        any |= part->columns->v[i].builtin != BUILTIN_NONE;
    if (!any)
        return 0;
    if (!(part->builtins = calloc((size_t)part->columns->n, sizeof *part->builtins)))
        return err_nomem(err);
    for (int i = 0; i < part->columns->n; i++)
        if (part->columns->v[i].param && param_field(part, r->params, part->columns->v[i].param, &part->builtins[i], err) < 0)
            return -1;
    return 0;
}

void part_known_clear(struct part_known *k)
{
    free(k->columns);
    free(k->added);
    free(k->header);
    *k = (struct part_known){ 0 };
}

void part_found_clear(struct part_found *f)
{
    free(f->added);
    free(f->header);
    free(f->profile);
    *f = (struct part_found){ 0 };
}

int part_columns(struct columns *out, const struct recipe *recipe, const struct part_known *known, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    if (!recipe->columns.n && !known->columns)
        return err_set(err, ERR_INTERNAL, "pipeline '%s' has neither columns nor inferred ones", recipe->name);
    if (recipe->columns.n)
        columns_print(&recipe->columns, &text);
    else
        buf_adds(&text, known->columns);
    if (text.failed)
        return err_nomem(err);
    if (columns_parse(out, text.p, err) < 0)
        return err_in(err, "columns of '%s'", recipe->name);
    if (columns_extend(out, known->added, err) == 0)
        return 0;
    columns_clear(out);
    return err_in(err, "columns of '%s'", recipe->name);
}

static int part_open(struct pipeline_run *r, struct part *part, const struct recipe *recipe, const struct part_known *known,
                     const struct stage *stage, int number, struct err *err)
{
    part->recipe = recipe;
    part->columns = &recipe->columns;
    if (!recipe->columns.n || known->added) {
        if (part_columns(&part->own, recipe, known, err) < 0)
            return -1;
        part->columns = &part->own;
    }
    if (drift_open(&part->drift, recipe, part->columns, known->header, err) < 0)
        return -1;
    if (recipe->on_new == ON_NEW_ADD && !buf_reserve(&part->sample, SAMPLE_BYTES))
        return err_nomem(err);
    const struct target_config *tc = config_target(r->config, recipe->target);
    if (!tc)
        return err_set(err, ERR_CONFIG, "pipeline '%s' names no target", recipe->name);
    if (!(part->target = target_by_url(tc->url, err)))
        return -1;
    if ((recipe->nkey && !(part->key = calloc((size_t)recipe->nkey, sizeof *part->key))) ||
        (recipe->nenrich && !(part->tallies = calloc((size_t)recipe->nenrich, sizeof *part->tallies))))
        return err_nomem(err);
    const struct columns *staged = part->columns;
    part->view = (struct step_part){ r->config, r->pipeline, recipe, r->uid, r->params, &r->rejects, &r->counts, &r->asker, stage, NULL, &part->profile,
                                     EVENT_NONE, NULL, part->tallies, r->tables };
    part->stager = (struct step){ .kind = &stager_kind, .part = &part->view };
    part->steps = &part->stager;
    part->view.aside = recipe->event_time && recipe->late == LATE_ASIDE ? &r->parts[recipe->late_part].stager : NULL;
    if (recipe->takes_late)
        staged = r->parts[recipe->late_part].through;
    else if (steps_open(&part->steps, &part->stager, &part->view, &staged, err) < 0)
        return -1;
    part->through = staged;
    if (part->table)
        r->tables[number].columns = staged;
    if (recipe->reads && hold_open(&part->held, part->columns, stage, r->config->limits.scratch, err) < 0)
        return -1;
    if (recipe_marks_rows(recipe)) {
        if (recipe_marked_columns(&part->marked, recipe, staged, err) < 0)
            return -1;
        if (!(part->marked_values = calloc(BATCH_ROWS, mem_product((size_t)part->marked.n, sizeof *part->marked_values))))
            return err_nomem(err);
        staged = &part->marked;
    }
    if (table_spec_of(&part->spec, recipe, staged, part->key, NULL, err) < 0 ||
        target_check(part->target, tc, &part->spec, err) < 0)
        return -1;
    if (recipe->from) {
        part->copied = calloc(BATCH_ROWS, mem_product((size_t)part->columns->n, sizeof *part->copied));
        part->copied_places = calloc(BATCH_ROWS, sizeof *part->copied_places);
        if (!part->copied || !part->copied_places)
            return err_nomem(err);
    } else if (builtins_open(r, part, err) < 0 || batch_init(&part->batch, (uint32_t)part->columns->n, err) < 0 ||
        cast_open(&part->cast, recipe, part->columns, err) < 0)
        return -1;
    return part->target->encode_open(&part->encoder, tc, &part->spec, stage, number, err);
}

static void part_close(struct part *part)
{
    if (part->target)
        part->target->encode_close(part->encoder);
    steps_close(part->steps);
    cast_close(part->cast);
    drift_free(part->drift);
    buf_clear(&part->profile);
    buf_clear(&part->sample);
    batch_clear(&part->batch);
    hold_close(part->held);
    columns_clear(&part->own);
    columns_clear(&part->marked);
    arena_clear(&part->arena);
    buf_clear(&part->shown);
    free(part->builtins);
    free(part->tallies);
    free(part->copied);
    free(part->copied_places);
    free(part->marked_values);
    free(part->key);
}

/* The parts that SQL of others reads. */
static void tables_name(struct pipeline_run *r)
{
    unsigned read = 0;
    for (int i = 0; i < r->nparts; i++)
        read |= r->pipeline->parts[i].reads;
    for (int i = 0; i < r->nparts; i++) {
        if (!(read >> i & 1))
            continue;
        r->tables[i] = (struct part_table){ .name = recipe_part(&r->pipeline->parts[i]), .recipe = &r->pipeline->parts[i] };
        r->parts[i].table = &r->tables[i];
    }
}

int pipeline_start(struct pipeline_run **out, const struct config *config, const struct pipeline *p, const char *uid,
                   const char *params, const struct part_known *known, const struct stage *stage, struct err *err)
{
    static const struct part_known nothing;
    struct pipeline_run *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->config = config;
    r->pipeline = p;
    r->uid = uid;
    r->params = params;
    r->counts.greatest = EVENT_NONE;
    rejects_init(&r->rejects, stage, p->nparts, p->parts[0].max_rejects);
    r->nparts = p->nparts;
    pipeline_order(p, r->order);
    tables_name(r);
    for (int k = 0; k < p->nparts; k++) {
        int i = r->order[k];
        if (part_open(r, &r->parts[i], &p->parts[i], known ? &known[i] : &nothing, stage, i, err) < 0) {
            pipeline_end(r);
            return -1;
        }
    }
    for (int i = 0; i < p->nparts; i++)
        if (p->parts[i].from)
            r->parts[p->parts[i].from_part].followed = true;
    pipeline_watermark(r, EVENT_NONE);
    *out = r;
    return 0;
}

void pipeline_asks(struct pipeline_run *r, struct asker asker) { r->asker = asker; }

void pipeline_watermark(struct pipeline_run *r, int64_t watermark)
{
    for (int i = 0; i < r->nparts; i++)
        r->parts[i].view.watermark = watermark;
}

void pipeline_end(struct pipeline_run *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->nparts; i++)
        part_close(&r->parts[i]);
    rejects_clear(&r->rejects);
    buf_clear(&r->seen);
    free(r->first_uri);
    free(r);
}

void pipeline_sample(struct pipeline_run *r)
{
    for (int i = 0; i < r->nparts; i++)
        r->parts[i].shown_left = SAMPLE_ROWS;
}

const struct pipeline_counts *pipeline_counts(const struct pipeline_run *r) { return &r->counts; }

/* The field of a column that has what no field of the file has. It is written as a number is: no token makes a null of it. */
static struct field builtin_field(const struct pipeline_run *r, const struct part *part, const struct column *c)
{
    const char *text = c->builtin == BUILTIN_SOURCE ? r->rejects.object : c->builtin == BUILTIN_MEMBER ? r->rejects.member : r->uid;
    if (c->builtin == BUILTIN_PARAM)
        return part->builtins[c - part->columns->v];
    return (struct field){ text, (uint32_t)strlen(text), FIELD_NUMBER };
}

static int put_lines(struct part *part, uint32_t col, struct err *err)
{
    struct batch *b = &part->batch;
    for (uint32_t row = 0; row < b->rows; row++) {
        char *text = arena_alloc(&b->arena, 24);
        if (!text)
            return err_nomem(err);
        int n = snprintf(text, 24, "%llu", (unsigned long long)b->places[row].line);
        b->fields[(size_t)row * b->cols + col] = (struct field){ text, (uint32_t)n, FIELD_NUMBER };
    }
    return 0;
}

static int put_builtins(const struct pipeline_run *r, struct part *part, struct err *err)
{
    struct batch *b = &part->batch;
    for (uint32_t col = 0; part->builtins && col < b->cols; col++) {
        const struct column *c = &part->columns->v[col];
        if (c->builtin == BUILTIN_LINE && put_lines(part, col, err) < 0)
            return -1;
        if (c->builtin == BUILTIN_NONE || c->builtin == BUILTIN_LINE)
            continue;
        struct field f = builtin_field(r, part, c);
        for (uint32_t row = 0; row < b->rows; row++)
            b->fields[(size_t)row * b->cols + col] = f;
    }
    return 0;
}

/* Rows of a part into its steps, or where they wait. */
static int part_give(struct pipeline_run *r, struct part *part, struct rows *rows, struct err *err)
{
    if (part->held)
        return hold_put(part->held, rows, r->rejects.object, r->rejects.member, err);
    return part->steps->kind->rows(part->steps, rows, err);
}

/* Parts with from= get a copy of each batch; their rows are counted as added. */
static int give_followers(struct pipeline_run *r, const struct part *part, const struct rows *rows, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < r->nparts && rc == 0; i++) {
        struct part *to = &r->parts[i];
        struct rows copy = { rows->n, rows->cols, to->copied, to->copied_places };
        if (!to->copied || &r->parts[to->recipe->from_part] != part)
            continue;
        memcpy(to->copied, rows->values, (size_t)rows->n * rows->cols * sizeof *rows->values);
        memcpy(to->copied_places, rows->places, rows->n * sizeof *rows->places);
        r->counts.added += rows->n;
        r->rejects.table = to->spec.table;
        rc = part_give(r, to, &copy, err);
    }
    r->rejects.table = part->spec.table;
    return rc;
}

static int part_batch(struct pipeline_run *r, struct part *part, struct err *err)
{
    struct rows rows;
    r->counts.read += batch_read(&part->batch);
    part->read += batch_read(&part->batch);
    if (put_builtins(r, part, err) < 0)
        return -1;
    if (cast_batch(part->cast, &part->batch, &rows, &r->rejects, err) < 0)
        return -1;
    if (part->followed)
        rejects_forget(&r->rejects); /* of the parts that get the rows, one may stage what another refuses */
    if (part->followed && rows.n && give_followers(r, part, &rows, err) < 0)
        return -1;
    if (part_give(r, part, &rows, err) < 0)
        return -1;
    r->counts.rejected = (uint64_t)r->rejects.count;
    return 0;
}

/* What a refused row of the member needs to be read alone, once the reader knows it. told: the rejects have it already. Alone, the row of
 * a part that reads others would find none of theirs: it cannot be read again. */
static void know_member(struct pipeline_run *r, const struct part *part, const struct recipe *recipe, const struct format *format,
                        const struct reader *reader, bool told)
{
    if (r->rejects.context || part->held)
        return;
    r->context = (struct reject_context){ .part = recipe->name, .encoding = encoding_names[recipe->encoding], .refresh = part->refresh };
    format->about(reader, &r->context);
    rejects_know(&r->rejects, &r->context);
    r->rejects.told = told;
}

/* ---- drift ---- */

struct memory {
    struct input input;
    struct str rest;
};

static ssize_t memory_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct memory *m = (struct memory *)in;
    size_t n = m->rest.n < cap ? m->rest.n : cap;
    (void)err;
    memcpy(buf, m->rest.p, n);
    m->rest = (struct str){ m->rest.p + n, m->rest.n - n };
    return (ssize_t)n;
}

/* Types of new columns, from the beginning of the member. A sample that tells nothing leaves them as they are. */
static int learn_types(struct part *part, const struct member_rows *rows, struct err *err)
{
    AUTO(columns_clear) struct columns found = { 0 };
    struct recipe recipe = *part->recipe;
    struct memory sample = { { memory_read, NULL, -1 }, { rows->head, rows->n } };
    struct inferred inferred = { 0 };
    struct err none;
    int64_t most = rows->n < rows->cap ? 0 : (int64_t)rows->n - 1; /* so that its last row, which is cut, does not count */
    recipe.encoding = ENC_UTF8;
    recipe.closing_line = NULL;
    bool learnt = infer_new(&inferred, &recipe, &sample.input, most, &none) == 0 && columns_parse(&found, inferred.columns, &none) == 0;
    inferred_clear(&inferred);
    return drift_types(part->drift, learnt ? &found : NULL, err);
}

/* Hold the names of the member against what was wanted. 1: it may have more of them later; 0; -1. */
static int part_names(struct pipeline_run *r, struct part *part, struct member_rows *rows, bool whole, struct err *err)
{
    struct format_names names;
    int rc = rows->format->names(rows->reader, &names, err);
    if (rc <= 0)
        return rc;
    if (drift_names(part->drift, &names, r->rejects.member, whole || names.ordered, err) < 0 ||
        (drift_wants_types(part->drift) && learn_types(part, rows, err) < 0))
        return -1;
    return names.grows;
}

/* The rows of a member. Once there are columns to be added the job has to run again, and rows of now are of no use. */
static int part_rows(struct pipeline_run *r, struct part *part, struct member_rows *rows, struct err *err)
{
    bool early = part->recipe->on_new != ON_NEW_IGNORE;
    int grows = part_names(r, part, rows, false, err), rc;
    if (grows < 0 || (!grows && drift_adds(part->drift)))
        return grows;
    while ((rc = member_next(rows, &part->batch, err)) == 1) {
        know_member(r, part, part->recipe, rows->format, rows->reader, false);
        if (grows && early && part_names(r, part, rows, false, err) < 0)
            return -1;
        if (!drift_adds(part->drift) && part_batch(r, part, err) < 0)
            return -1;
    }
    return rc < 0 || (grows && part_names(r, part, rows, true, err) < 0) ? -1 : 0;
}

/* Columns whose values of this member were refused by their type. */
static int part_refused(struct pipeline_run *r, struct part *part, uint64_t rows, struct err *err)
{
    for (int i = 0; i < part->columns->n; i++)
        if (drift_refused(part->drift, i, cast_misfits(part->cast, i), rows, r->rejects.member, err) < 0)
            return -1;
    return 0;
}

/* plain: nothing around it tells whether it is whole */
static int part_member(struct pipeline_run *r, struct part *part, struct input *member, bool plain, struct err *err)
{
    AUTO(member_close) struct member_rows rows;
    int rc = (plain && part->recipe->by_program ? member_open_written : member_open_sample)(
        &rows, part->recipe, part->columns, member, r->config->limits.row_bytes, &part->sample, err);
    if (rc <= 0)
        return rc; /* an empty member has no rows and no header */
    uint64_t before = r->counts.read;
    struct err later; /* the first error is the one to tell */
    rc = part_rows(r, part, &rows, err);
    return part_refused(r, part, r->counts.read - before, rc < 0 ? &later : err) < 0 ? -1 : rc;
}

int pipeline_found(struct pipeline_run *r, struct buf *drift, struct part_found *parts, struct err *err)
{
    struct json_out o;
    json_start(&o, drift);
    json_array(&o);
    for (int i = 0; i < r->nparts; i++) {
        struct part *p = &r->parts[i];
        AUTO(buf_clear) struct buf header = { 0 };
        AUTO(buf_clear) struct buf added = { 0 };
        if (!p->drift)
            continue;
        drift_json(p->drift, &o);
        drift_header(p->drift, &header);
        if (r->adds)
            drift_added(p->drift, &added);
        if (header.failed || added.failed || p->profile.failed)
            return err_nomem(err);
        parts[i] = (struct part_found){ added.p, header.p, p->profile.p };
        header = added = p->profile = (struct buf){ 0 };
    }
    json_array_end(&o);
    if (!drift->failed && drift->n == 2) /* [] */
        buf_reset(drift);
    return drift->failed ? err_nomem(err) : 0;
}

int pipeline_tally(const struct pipeline_run *r, struct buf *out, struct err *err)
{
    struct json_out o;
    json_start(&o, out);
    json_array(&o);
    for (int i = 0; i < r->nparts; i++) {
        const struct part *p = &r->parts[i];
        for (int k = 0; p->tallies && k < p->recipe->nenrich; k++)
            enrich_tally_json(&p->tallies[k], config_enrich(r->config, p->recipe->enrich[k]), p->recipe->name, &o);
    }
    json_array_end(&o);
    if (!out->failed && out->n == 2) /* [] */
        buf_reset(out);
    return out->failed ? err_nomem(err) : 0;
}

/* Does one of the globs match the member's whole name or its last part? */
bool pipeline_wants(const struct recipe *recipe, const char *name)
{
    if (recipe->from)
        return false;
    if (!recipe->member)
        return true;
    const char *slash = strrchr(name, '/');
    struct str whole = str_of(name), last = slash ? str_of(slash + 1) : whole;
    const char *list = recipe->member;
    for (struct str g; text_globs_next(&list, &g);) {
        char glob[TEXT_GLOB_MAX]; /* the ini takes no longer one */
        if (!g.n || g.n >= sizeof glob)
            continue;
        memcpy(glob, g.p, g.n);
        glob[g.n] = '\0';
        if (text_glob(glob, whole) || text_glob(glob, last))
            return true;
    }
    return false;
}

static struct part *part_for(struct pipeline_run *r, const char *member)
{
    for (int i = 0; i < r->nparts; i++)
        if (!r->parts[i].recipe->takes_late && pipeline_wants(r->parts[i].recipe, member))
            return &r->parts[i];
    return NULL;
}

/* The part whose table a message names, as TABLE or TARGET.TABLE. */
static struct part *part_of_table(struct pipeline_run *r, const char *table, struct err *err)
{
    AUTO(buf_clear) struct buf known = { 0 };
    for (int i = 0; i < r->nparts; i++) {
        const struct recipe *recipe = r->parts[i].recipe;
        if (recipe->takes_late)
            continue;
        if (!strcmp(table, recipe->table_name) || !strcmp(table, recipe->table))
            return &r->parts[i];
        buf_addf(&known, "%s%s", i ? ", " : "", recipe->table_name);
    }
    err_set(err, ERR_FORMAT, "the message has rows for table '%.100s', and pipeline '%s' has none of that name; it has %s", table,
            r->pipeline->name, known.failed ? "others" : known.p);
    return NULL;
}

/* What the message says of the table, held against the mode of the ini and what it said before. */
static int part_refresh(struct part *part, const struct message_table *t, struct err *err)
{
    enum load_mode mode = part->recipe->mode;
    if (t->has_refresh && !t->refresh && mode == MODE_REPLACE)
        return err_set(err, ERR_FORMAT, "table '%s' has mode = replace, and the message says \"refresh\": false; set mode = append, and "
                       "refresh decides", t->table);
    if (t->refresh && mode != MODE_REPLACE && mode != MODE_APPEND)
        return err_set(err, ERR_FORMAT, "table '%s' has mode = %s, and the message says \"refresh\": true, which is for append and replace",
                       t->table, load_mode_names[mode]);
    if (t->refresh && part->members)
        return err_set(err, ERR_FORMAT, "the message refreshes table '%s' after it had rows for it", t->table);
    part->refresh |= t->refresh;
    return 0;
}

/* A message: each of its tables as a member for the part of that name. */
static int message_tables(struct pipeline_run *r, struct message *m, const char *uri, struct err *err)
{
    struct message_table t;
    struct part *part;
    int rc;
    while ((rc = message_next(m, &t, err)) == 1) {
        if (!(part = part_of_table(r, t.table, err)) || part_refresh(part, &t, err) < 0)
            return -1;
        part->members++;
        rejects_at(&r->rejects, part->spec.table, uri, t.table);
        if (part_member(r, part, message_data(m), false, err) < 0)
            return err_in(err, "table '%s'", t.table);
    }
    return rc;
}

static int member_message(struct pipeline_run *r, struct input *member, const char *uri, struct err *err)
{
    struct message *m;
    if (message_open(&m, member, err) < 0)
        return -1;
    int rc = message_tables(r, m, uri, err);
    message_close(m);
    return rc;
}

static int object_members(struct pipeline_run *r, struct unpack *u, const char *uri, struct err *err)
{
    struct member m;
    int rc, wanted = 0;
    buf_reset(&r->seen);
    while ((rc = unpack_next(u, &m, err)) == 1) {
        struct part *part = part_for(r, m.name);
        if (!part) {
            if (r->seen.n < 200)
                buf_addf(&r->seen, "%s'%s'", r->seen.n ? ", " : "", m.name);
            continue;
        }
        wanted++;
        r->counts.members++;
        if (recipe_is_message(part->recipe)) {
            if (member_message(r, unpack_member(u), uri, err) < 0)
                return err_in(err, "member '%s'", m.name);
            continue;
        }
        part->members++;
        rejects_at(&r->rejects, part->spec.table, uri, m.name);
        if (part_member(r, part, unpack_member(u), m.plain, err) < 0)
            return err_in(err, "member '%s'", m.name);
    }
    if (rc < 0)
        return -1;
    if (!wanted)
        return err_set(err, ERR_NO_MEMBER, "no member matches member = %s; the object has %s%s",
                       r->pipeline->parts[0].member ? r->pipeline->parts[0].member : "*", r->seen.n ? r->seen.p : "none",
                       r->seen.n >= 200 ? ", ..." : "");
    return 0;
}

/* ---- the rejects of another job ---- */

static struct part *part_named(struct pipeline_run *r, const char *name, struct err *err)
{
    for (int i = 0; i < r->nparts; i++)
        if (!strcmp(r->parts[i].recipe->name, name))
            return &r->parts[i];
    err_set(err, ERR_STATE, "the rows were read by [pipeline %s], which the ini does not have any more", name);
    return NULL;
}

struct format_reader {
    const struct format *format;
    struct reader *reader;
};
static void reader_closep(struct format_reader *f)
{
    if (f->format)
        f->format->close(f->reader);
}
static void decode_closep(struct input **in)
{
    if (*in)
        decode_close(*in);
}

/* told: the rejects have what is known of the member. */
static int replay_read(struct pipeline_run *r, struct part *part, const struct replay *p, struct input *in, const struct reject_line *l,
                       bool told, struct err *err)
{
    AUTO(reader_closep) struct format_reader f = { .format = format_pick(&p->recipe, l->row, err) };
    int rc;
    if (!f.format || f.format->open(&f.reader, &p->recipe, part->columns, in, r->config->limits.row_bytes, err) < 0)
        return -1;
    while ((rc = f.format->next(f.reader, &part->batch, err)) == 1) {
        replay_places(p, l, &part->batch);
        know_member(r, part, &p->recipe, f.format, f.reader, told);
        if (part_batch(r, part, err) < 0)
            return -1;
    }
    return rc;
}

/* One that is not there whole stays refused. */
static int replay_again(struct pipeline_run *r, const struct reject_line *l, struct err *err)
{
    rejects_at(&r->rejects, NULL, NULL, NULL);
    r->counts.read++;
    int rc = rejects_again(&r->rejects, l, err);
    r->counts.rejected = (uint64_t)r->rejects.count;
    return rc;
}

static int replay_row(struct pipeline_run *r, const struct reject_line *l, struct err *err)
{
    struct part *part = part_named(r, l->context->part, err);
    AUTO(replay_close) struct replay p = { 0 };
    if (part && part->held)
        return replay_again(r, l, err); /* it did not read others when the row was refused */
    if (!part || replay_open(&p, part->recipe, l, err) < 0)
        return -1;
    r->counts.late_told += !strcmp(l->reason, reject_name(REJECT_LATE));
    AUTO(decode_closep) struct input *decoded = p.decode ? decode_open(&p.input, p.recipe.encoding, err) : NULL;
    if (p.decode && !decoded)
        return -1;
    part->members++;
    bool told = r->rejects.told && r->rejects.context && !l->new_context; /* the same member as that of the row before */
    rejects_at(&r->rejects, part->spec.table, l->object, l->member);
    if (!p.decode)
        rejects_know(&r->rejects, l->context);
    r->rejects.told = told;
    return replay_read(r, part, &p, p.decode ? decoded : &p.input, l, told, err);
}

static int replay_rows(struct pipeline_run *r, struct input *in, struct err *err)
{
    struct rejects_in *lines;
    struct reject_line l;
    int rc;
    r->replay = true;
    r->rejects.limit.share = -1; /* of so few rows it says nothing */
    if (rejects_open(&lines, in, r->config->limits.row_bytes, err) < 0)
        return -1;
    while ((rc = rejects_next(lines, &l, err)) == 1) {
        rc = l.context ? replay_row(r, &l, err) : replay_again(r, &l, err);
        if (rc < 0)
            break;
    }
    rejects_at(&r->rejects, NULL, NULL, NULL);
    rejects_close(lines);
    return rc < 0 ? -1 : 0;
}

int pipeline_object(struct pipeline_run *r, struct input *in, const char *uri, struct err *err)
{
    const struct limits *l = &r->config->limits;
    struct unpack_limits limits = { l->members, l->unpacked_bytes, l->ratio, r->pipeline->nested };
    struct pipeline_counts before = r->counts;
    char name[512];
    if (!r->first_uri && !(r->first_uri = strdup(uri)))
        return err_nomem(err);
    if (!strncmp(uri, REPLAY_SCHEME, strlen(REPLAY_SCHEME)))
        return replay_rows(r, in, err);
    source_basename(uri, name, sizeof name);
    struct unpack *u;
    if (unpack_open(&u, in, name, &limits, err) < 0)
        return -1;
    int rc = object_members(r, u, uri, err);
    r->counts.bytes_in = before.bytes_in + (uint64_t)unpack_bytes_in(u);
    r->counts.bytes_out = before.bytes_out + (uint64_t)unpack_bytes_out(u);
    unpack_close(u);
    return rc;
}

/* The rows of a part that waited: the parts that it reads are done. */
static int give_held(struct pipeline_run *r, struct part *part, struct err *err)
{
    struct rows rows;
    const char *object, *member;
    int rc;
    while ((rc = hold_take(part->held, &rows, &object, &member, err)) == 1) {
        rejects_at(&r->rejects, part->spec.table, object, member);
        if (part->steps->kind->rows(part->steps, &rows, err) < 0)
            return err_in(err, "%s: member '%s'", object, member);
    }
    return rc;
}

/* Steps hold rows back until their finish: those that they give then, and refuse, are of no member. */
static int finish_steps(struct pipeline_run *r, struct err *err)
{
    for (int k = 0; k < r->nparts; k++) {
        struct part *part = &r->parts[r->order[k]];
        if (part->held && give_held(r, part, err) < 0)
            return -1;
        rejects_at(&r->rejects, part->spec.table, NULL, NULL);
        if (steps_finish(part->steps, err) < 0)
            return -1;
    }
    r->counts.rejected = (uint64_t)r->rejects.count;
    return 0;
}

/* Does the output take the place of all rows of the table? */
static bool is_whole(const struct part *part)
{
    return part->recipe->mode == MODE_REPLACE || part->recipe->missing == MISSING_DELETE || part->refresh;
}

static const char *whole_by(const struct part *part)
{
    return part->refresh ? "\"refresh\": true" : part->recipe->missing == MISSING_DELETE ? "missing = delete" : "mode = replace";
}

/* A table that is replaced by nothing would be empty: mostly a source at fault, or a condition. */
static int check_emptied(const struct pipeline_run *r, const struct part *part, struct err *err)
{
    const struct recipe *recipe = part->recipe;
    if (part->staged || !is_whole(part) || recipe->empty_ok || r->replay)
        return 0;
    return err_set(err, ERR_EMPTY, "table %s (%s) would be left without any row: of %" PRIu64 " that were read of the job %" PRIu64
                   " were filtered and %" PRIu64 " refused, and none is for it", recipe->table, whole_by(part), r->counts.read, r->counts.filtered,
                   r->counts.rejected);
}

static int close_books(const struct pipeline_run *r, const struct output *outputs, int n, struct err *err)
{
    const struct pipeline_counts *c = &r->counts;
    uint64_t rows = 0;
    for (int i = 0; i < n; i++)
        if (outputs[i].kind == OUTPUT_ROWS)
            rows += (uint64_t)outputs[i].rows;
    if (c->read + c->added != c->staged + c->rejected + c->filtered || rows != c->staged)
        return err_set(err, ERR_COUNTS, "%llu rows read and %llu added, but %llu staged (%llu in outputs), %llu rejected, %llu filtered",
                       (unsigned long long)c->read, (unsigned long long)c->added, (unsigned long long)c->staged, (unsigned long long)rows,
                       (unsigned long long)c->rejected, (unsigned long long)c->filtered);
    return 0;
}

/* The sample, where there is one, goes with the output. */
static int sample_take(const struct part *part, struct output *out, struct err *err)
{
    struct buf all = { 0 };
    if (!part->shown.n)
        return 0;
    buf_addf(&all, "[%s]", part->shown.p);
    out->sample = all.p;
    return all.failed || part->shown.failed ? err_nomem(err) : 0;
}

int pipeline_finish(struct pipeline_run *r, struct output *outputs, int *noutputs, struct err *err)
{
    int n = 0;
    for (int i = 0; i < r->nparts; i++)
        r->adds |= drift_adds(r->parts[i].drift);
    if (r->adds)
        return err_set(err, ERR_DRIFT, "there are columns to be added");
    if (r->counts.read == 0 && !r->parts[0].recipe->empty_ok && !r->replay)
        return err_set(err, ERR_EMPTY, "%s: no rows", r->first_uri ? r->first_uri : "no object");
    if (finish_steps(r, err) < 0)
        return -1;
    for (int i = 0; i < r->nparts; i++) {
        if (recipe_is_message(r->parts[i].recipe) && !r->parts[i].members && !r->parts[i].recipe->takes_late)
            continue; /* a message is not about tables that it does not name */
        if (check_emptied(r, &r->parts[i], err) < 0)
            goto fail;
        outputs[n] = (struct output){ .kind = OUTPUT_ROWS, .number = i };
        struct output *out = &outputs[n++];
        if (r->parts[i].target->encode_finish(r->parts[i].encoder, out, err) < 0)
            goto fail;
        out->refresh = r->parts[i].refresh;
        if (sample_take(&r->parts[i], out, err) < 0)
            goto fail;
        struct buf columns = { 0 };
        columns_print(r->parts[i].spec.columns, &columns);
        out->columns = columns.p;
        if (columns.failed) {
            err_nomem(err);
            goto fail;
        }
    }
    outputs[n] = (struct output){ .kind = OUTPUT_REJECTS, .number = r->nparts };
    if (rejects_finish(&r->rejects, r->counts.read, &outputs[n], err) < 0)
        goto fail;
    if (r->rejects.count > 0)
        n++;
    else
        output_clear(&outputs[n]);
    if (close_books(r, outputs, n, err) < 0)
        goto fail;
    *noutputs = n;
    return 0;
fail:
    for (int i = 0; i < n; i++)
        output_clear(&outputs[i]);
    return -1;
}

void pipeline_refused(struct pipeline_run *r, struct output *outputs, int *noutputs)
{
    r->counts.rejected = (uint64_t)r->rejects.count; /* of the batch in hand too */
    rejects_head(&r->rejects, &outputs[0]);
    *noutputs = 1;
}
