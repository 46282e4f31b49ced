/*
 * transform=: one SELECT over all rows of a job, as they stream. SQLite pulls (its table `input` asks for the next batch in
 * the middle of sqlite3_step) and the pipeline pushes; so the statement runs on a stack of its own (base/fiber.h), which
 * goes on when a batch came, and stops when it wants another one, or has a batch of results to give.
 *
 * Rows of the result are of no member: what is refused of them is kept with the object "transform:NAME", of the pipeline or
 * part, and the number of the row in the result as its line.
 */
#include "pipeline/step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fiber.h"
#include "base/json.h"
#include "pipeline/sql.h"
#include "pipeline/sql_value.h"

enum {
    STACK = 2 << 20,         /* json functions go 2,000 deep into a text */
    GIVE_BYTES = 4 << 20,    /* of texts in a batch of results */
    ROWS_FREE = 1000000,     /* of the result, whatever went in; beyond, [limits] ratio counts */
};

struct transform {
    struct step step;
    struct sql sql;
    sqlite3_stmt *st;
    struct fiber *fiber;
    bool begun, end, stop;   /* end: no more rows come; stop: nobody wants the rest */
    bool failed;
    struct err err;          /* when it failed */
    uint64_t in, out;        /* rows */
    char *object;            /* of those that are refused */
    /* the result */
    struct columns own;      /* where output= is not given */
    int *from;               /* of each column that is given, the column of the statement */
    struct cast *cast;
    struct rows give;
    struct place *place;     /* of each row of it */
    struct arena arena;      /* of its texts */
    size_t bytes;            /* of these */
};

static bool transform_wanted(const struct recipe *recipe)
{
    return recipe->transform.text;
}

/* ---- columns of the result ---- */

/* A column of a part that is read, or of a look-up, of that name; NULL: none. */
static const struct column *looked_up(const struct step_part *part, const char *name)
{
    int c;
    for (int i = 0; i < part->pipeline->nparts; i++)
        if (part->recipe->reads >> i & 1 && (c = columns_find(part->tables[i].columns, str_of(name))) >= 0)
            return &part->tables[i].columns->v[c];
    for (int i = 0; i < part->config->nlookups; i++)
        if ((c = columns_find(&part->config->lookups[i].recipe.columns, str_of(name))) >= 0)
            return &part->config->lookups[i].recipe.columns.v[c];
    return NULL;
}

/* The column of the result has the type of that of input, or of another table, that has its name. Of another it may be null, whatever is
 * said there: a LEFT JOIN finds nothing. */
static int column_inherited(struct transform *t, const struct step_part *part, const struct columns *in, const char *name, struct err *err)
{
    int at = columns_find(in, str_of(name));
    const struct column *c = at >= 0 ? &in->v[at] : looked_up(part, name);
    if (!c)
        return err_set(err, ERR_SQL, "column '%s' of the result has no type: no column of input has that name; name it by AS, or "
                       "give the types of all by output=", name);
    struct column like = *c;
    like.required &= at >= 0;
    return columns_add_like(&t->own, &like, name, err);
}

static int names_check(const struct transform *t, struct err *err)
{
    int n = sqlite3_column_count(t->st);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (!sqlite3_stricmp(sqlite3_column_name(t->st, i), sqlite3_column_name(t->st, j)))
                return err_set(err, ERR_SQL, "columns %d and %d of the result have the same name '%s'; name one by AS", j + 1, i + 1,
                               sqlite3_column_name(t->st, i));
    return 0;
}

/* By output=: each of its columns is one of the result, and there are no others. */
static int columns_given(struct transform *t, const struct columns *output, struct err *err)
{
    int n = sqlite3_column_count(t->st);
    for (int i = 0; i < output->n; i++) {
        t->from[i] = -1;
        for (int j = 0; j < n; j++)
            if (!sqlite3_stricmp(sqlite3_column_name(t->st, j), output->v[i].name))
                t->from[i] = j;
        if (t->from[i] < 0)
            return err_set(err, ERR_SQL, "output= has column '%s', and the result has none of that name", output->v[i].name);
    }
    for (int j = 0; j < n; j++)
        if (columns_find(output, str_of(sqlite3_column_name(t->st, j))) < 0)
            return err_set(err, ERR_SQL, "output= lacks column '%s' of the result", sqlite3_column_name(t->st, j));
    t->step.columns = output;
    return 0;
}

static int columns_inherited(struct transform *t, const struct step_part *part, const struct columns *in, struct err *err)
{
    int n = sqlite3_column_count(t->st);
    for (int i = 0; i < n; i++) {
        if (column_inherited(t, part, in, sqlite3_column_name(t->st, i), err) < 0)
            return -1;
        t->from[i] = i;
    }
    t->step.columns = &t->own;
    return 0;
}

static int result_open(struct transform *t, const struct step_part *part, const struct columns *in, struct err *err)
{
    size_t n = (size_t)sqlite3_column_count(t->st), given = part->recipe->output_text ? (size_t)part->recipe->output.n : 0;
    if (names_check(t, err) < 0)
        return -1;
    if (!(t->from = calloc(n > given ? n : given, sizeof *t->from)))
        return err_nomem(err);
    if ((given ? columns_given(t, &part->recipe->output, err) : columns_inherited(t, part, in, err)) < 0)
        return -1;
    t->give.cols = (uint32_t)t->step.columns->n;
    t->give.values = calloc(BATCH_ROWS, mem_product(t->give.cols, sizeof *t->give.values));
    t->give.places = calloc(BATCH_ROWS, sizeof *t->give.places);
    t->place = calloc(BATCH_ROWS, sizeof *t->place);
    if (!t->give.values || !t->give.places || !t->place)
        return err_nomem(err);
    return sql_cast(&t->cast, t->step.columns, err);
}

/* ---- inside the fiber ---- */

/* The row as the statement gave it, for the rejects. */
static struct str row_text(struct transform *t, struct buf *text)
{
    struct json_out o;
    json_start(&o, text);
    json_object(&o);
    for (int i = 0; i < sqlite3_column_count(t->st); i++) {
        int type = sqlite3_column_type(t->st, i);
        json_key(&o, sqlite3_column_name(t->st, i));
        if (type == SQLITE_INTEGER)
            json_int(&o, sqlite3_column_int64(t->st, i));
        else if (type == SQLITE_FLOAT)
            json_real(&o, sqlite3_column_double(t->st, i));
        else if (type == SQLITE_NULL)
            json_null(&o);
        else
            json_text(&o, (struct str){ sqlite3_column_blob(t->st, i), (size_t)sqlite3_column_bytes(t->st, i) });
    }
    json_object_end(&o);
    return buf_str(text);
}

static int refuse(struct transform *t, enum reject_reason why, int column, struct str shown)
{
    AUTO(buf_clear) struct buf text = { 0 };
    struct place place = { .line = t->out, .raw = row_text(t, &text) };
    return rejects_add(t->step.part->rejects, why, t->step.columns->v[column].name, shown, &place, &t->err);
}

/* More than a mistake in a join would make? */
static int count_row(struct transform *t)
{
    uint64_t ratio = (uint64_t)t->step.part->config->limits.ratio;
    t->sql.moves++;
    if (++t->out <= ROWS_FREE || t->out / ratio <= t->in)
        return 0;
    return err_set(&t->err, ERR_LIMIT, "it gave %" PRIu64 " rows for %" PRIu64 " that it took, more than %" PRIu64
                   " for each ([limits] ratio)", t->out, t->in, ratio);
}

static int take_row(struct transform *t)
{
    struct value *row = t->give.values + (size_t)t->give.n * t->give.cols;
    if (count_row(t) < 0)
        return -1;
    for (uint32_t i = 0; i < t->give.cols; i++) {
        struct str shown;
        bool failed = false;
        enum reject_reason why = sql_take(t->cast, &t->step.columns->v[i], i, t->st, t->from[i], &row[i], &t->arena,
                                          &shown, &failed);
        if (failed)
            return err_nomem(&t->err);
        if (why != REJECT_REASONS)
            return refuse(t, why, (int)i, shown);
        t->bytes += shown.n;
    }
    t->place[t->give.n] = (struct place){ .line = t->out };
    t->give.places[t->give.n] = &t->place[t->give.n];
    t->give.n++;
    return 0;
}

static int sql_error(struct transform *t)
{
    const struct sql_input *in = &t->sql.input;
    sql_failed(&t->sql, &t->err);
    if (in->rows && in->at < in->rows->n && in->rows->places)
        return err_in(&t->err, "at line %" PRIu64, in->rows->places[in->at]->line);
    return err_in(&t->err, "behind the last row, at row %" PRIu64 " of the result", t->out + 1);
}

static void run(void *arg)
{
    struct transform *t = arg;
    int rc = SQLITE_ROW;
    while (!t->stop && !t->failed && (rc = sqlite3_step(t->st)) == SQLITE_ROW) {
        t->failed = take_row(t) < 0;
        if (t->give.n == BATCH_ROWS || t->bytes >= GIVE_BYTES)
            fiber_pause(t->fiber);
    }
    if (!t->stop && !t->failed && rc != SQLITE_DONE) {
        sql_error(t);
        t->failed = true;
    }
    (void)sqlite3_reset(t->st);
}

/* From inside sqlite3_step: what comes next? */
static int more(struct sql_input *in)
{
    struct transform *t = (struct transform *)((char *)in - offsetof(struct transform, sql.input));
    in->rows = NULL;
    if (!t->end)
        fiber_pause(t->fiber);
    return t->stop ? -1 : in->rows != NULL;
}

/* ---- outside of it ---- */

static int give(struct transform *t, struct err *err)
{
    struct rows rows = t->give;
    t->give.n = 0;
    t->bytes = 0;
    int rc = rows.n ? step_give(&t->step, &rows, err) : 0;
    arena_reset(&t->arena);
    return rc;
}

/* Let it run until it wants rows that are not there yet, or is done. */
static int drive(struct transform *t, struct err *err)
{
    do {
        t->begun = true;
        t->sql.moves++;
        fiber_resume(t->fiber);
        if (t->failed) {
            *err = t->err;
            return -1;
        }
        bool full = t->give.n == BATCH_ROWS || t->bytes >= GIVE_BYTES;
        if ((full || fiber_done(t->fiber)) && give(t, err) < 0)
            return -1;
    } while (!fiber_done(t->fiber) && (t->end || t->sql.input.rows));
    return 0;
}

/* Rows of the result are of no member. */
static int drive_apart(struct transform *t, struct err *err)
{
    struct rejects *r = t->step.part->rejects;
    const char *object = r->object, *member = r->member;
    if (fiber_done(t->fiber))
        return 0; /* it had enough: LIMIT */
    r->object = t->object;
    r->member = NULL;
    int rc = drive(t, err);
    r->object = object;
    r->member = member;
    return rc < 0 && err->code != ERR_REJECTS ? err_in(err, "transform") : rc;
}

static bool is_asked_decimal(const struct transform *t, int column)
{
    return t->sql.input.columns->v[column].type == TYPE_DECIMAL && sql_input_asked(&t->sql.input, column);
}

/* What the SELECT may ask for and cannot have goes to the rejects; a value that it never had makes nothing of the result wrong. */
static int refuse_unfit(struct transform *t, struct rows *rows, struct err *err)
{
    const struct columns *columns = t->sql.input.columns;
    bool keep[BATCH_ROWS], all = true;
    memset(keep, true, rows->n);
    for (int c = 0; c < columns->n; c++)
        for (uint32_t row = 0; is_asked_decimal(t, c) && row < rows->n; row++) {
            if (!keep[row] || sql_fits(&columns->v[c], &rows->values[(size_t)row * rows->cols + (size_t)c]))
                continue;
            all = keep[row] = false;
            if (sql_refuse(&t->sql, rows, row, c, err) < 0)
                return -1;
        }
    if (!all)
        rows_keep(rows, keep);
    return 0;
}

static int transform_rows(struct step *step, struct rows *rows, struct err *err)
{
    struct transform *t = (struct transform *)step;
    if (!fiber_done(t->fiber) && refuse_unfit(t, rows, err) < 0)
        return err->code == ERR_REJECTS ? -1 : err_in(err, "transform");
    t->in += rows->n;
    if (!rows->n)
        return 0;
    t->sql.input.rows = rows;
    t->sql.input.at = 0;
    int rc = drive_apart(t, err);
    t->sql.input.rows = NULL;
    return rc;
}

static int transform_finish(struct step *step, struct err *err)
{
    struct transform *t = (struct transform *)step;
    t->end = true;
    if (drive_apart(t, err) < 0)
        return -1;
    step->part->counts->added += t->out > t->in ? t->out - t->in : 0;
    step->part->counts->filtered += t->in > t->out ? t->in - t->out : 0;
    return 0;
}

static void transform_close(struct step *step)
{
    struct transform *t = (struct transform *)step;
    t->stop = true;
    if (t->begun && !fiber_done(t->fiber))
        fiber_resume(t->fiber); /* it lets go of what it holds, and ends */
    fiber_free(t->fiber);
    sqlite3_finalize(t->st);
    sql_close(&t->sql);
    cast_close(t->cast);
    columns_clear(&t->own);
    arena_clear(&t->arena);
    free(t->object);
    free(t->from);
    free(t->give.values);
    free(t->give.places);
    free(t->place);
    free(t);
}

static int statement(struct transform *t, const struct step_part *part, const struct columns *in, struct err *err)
{
    const struct sql_text *text = &part->recipe->transform;
    sql_blame(part, text, "transform");
    if (sql_prepare(&t->sql, &t->st, "", text->text, "", err) < 0)
        return text->file ? err_in(err, "'%s'", text->file) : -1;
    if (!t->sql.reads_input)
        return err_set(err, ERR_SQL, "it reads nothing of the table input, which has the rows");
    return result_open(t, part, in, err);
}

static int transform_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    struct transform *t = calloc(1, sizeof *t);
    if (!t)
        return err_nomem(err);
    t->step.part = part;
    if (asprintf(&t->object, "transform:%s", part->recipe->name) < 0) {
        t->object = NULL;
        transform_close(&t->step);
        return err_nomem(err);
    }
    if (sql_open(&t->sql, part, in, err) < 0 ||
        statement(t, part, in, err) < 0 || (part->stage && sql_load(&t->sql, err) < 0) ||
        fiber_new(&t->fiber, STACK, run, t, err) < 0) {
        transform_close(&t->step);
        return -1;
    }
    t->sql.input.more = more;
    *out = &t->step;
    return 0;
}

const struct step_kind step_transform = { .name = "transform",
                                          .wanted = transform_wanted,
                                          .open = transform_open,
                                          .rows = transform_rows,
                                          .finish = transform_finish,
                                          .close = transform_close };
