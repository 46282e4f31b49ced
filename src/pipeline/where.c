/*
 * where= and compute=: a statement over the rows of one batch, run again for each batch. It gives a row for each that is
 * kept, with the computed values; which one that is says where the table `input` stands at that moment, since nothing in
 * such a statement (expressions, no aggregates, no order) makes SQLite keep rows back.
 */
#include "pipeline/step.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/db.h"
#include "pipeline/sql.h"
#include "pipeline/sql_value.h"

struct where {
    struct step step;
    struct sql sql;
    sqlite3_stmt *st;
    uint32_t cols;          /* of the rows that come */
    struct columns columns; /* of those that go, where some are computed */
    struct cast *cast;      /* of the computed ones */
    struct value *values;   /* of the rows that go; NULL: nothing is computed, and rows move in their place */
    struct arena arena;
    uint32_t refused;       /* rows of the batch at hand */
    bool failed;            /* with err, from inside sqlite3_step */
    struct err err;
    const char *name;       /* for messages: the keys that are given */
};

static bool where_wanted(const struct recipe *recipe)
{
    return recipe->where.text || recipe->compute.text;
}

/* ---- the statement ---- */

/* Errors of an expression are told by its own place; aggregates are refused, which a WHERE does. */
static int expressions_check(struct where *w, const struct step_part *part, struct err *err)
{
    const struct recipe *r = part->recipe;
    sqlite3_stmt *st;
    for (int i = 0; i < r->computed.n; i++) {
        if (sql_prepare(&w->sql, &st, "SELECT 1 FROM input WHERE (\n", r->computed_sql[i], "\n) IS NULL", err) < 0) {
            sql_blame(part, &r->compute, "compute");
            return err_in(err, "'%s'", r->computed.v[i].name);
        }
        sqlite3_finalize(st);
    }
    return 0;
}

static void front_of(struct buf *sql, const struct recipe *r)
{
    buf_adds(sql, "SELECT ");
    for (int i = 0; i < r->computed.n; i++) {
        buf_adds(sql, i ? ", " : "");
        db_quote(sql, r->computed.v[i].name);
    }
    buf_adds(sql, r->computed.n ? " FROM (SELECT *" : "1 FROM (SELECT *");
    for (int i = 0; i < r->computed.n; i++) {
        buf_addf(sql, ", (\n%s\n) AS ", r->computed_sql[i]);
        db_quote(sql, r->computed.v[i].name);
    }
    buf_adds(sql, " FROM input) AS input WHERE (\n");
}

static int statement(struct where *w, const struct step_part *part, struct err *err)
{
    AUTO(buf_clear) struct buf front = { 0 };
    const struct recipe *r = part->recipe;
    if (expressions_check(w, part, err) < 0)
        return -1;
    front_of(&front, r);
    if (front.failed)
        return err_nomem(err);
    if (sql_prepare(&w->sql, &w->st, front.p, r->where.text ? r->where.text : "1", "\n)", err) == 0)
        return 0;
    sql_blame(part, &r->where, "where");
    return r->where.file ? err_in(err, "'%s'", r->where.file) : -1;
}

/* ---- columns ---- */

static int columns_open(struct where *w, const struct recipe *r, const struct columns *in, struct err *err)
{
    w->cols = (uint32_t)in->n;
    w->step.columns = in;
    if (!r->computed.n)
        return 0;
    if (columns_join(&w->columns, in, &r->computed, err) < 0)
        return -1;
    w->step.columns = &w->columns;
    if (!(w->values = calloc(BATCH_ROWS, mem_product((size_t)w->columns.n, sizeof *w->values))))
        return err_nomem(err);
    return sql_cast(&w->cast, &r->computed, err);
}

/* From inside sqlite3_step: it goes past a row that it cannot have judged. */
static int unfit(struct sql_input *in)
{
    struct where *w = (struct where *)((char *)in - offsetof(struct where, sql.input));
    w->refused++;
    w->failed = sql_refuse(&w->sql, in->rows, in->at, in->unfit_column, &w->err) < 0;
    return w->failed ? -1 : 0;
}

static void where_close(struct step *step)
{
    struct where *w = (struct where *)step;
    sqlite3_finalize(w->st);
    sql_close(&w->sql);
    cast_close(w->cast);
    columns_clear(&w->columns);
    arena_clear(&w->arena);
    free(w->values);
    free(w);
}

static int where_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    const struct recipe *r = part->recipe;
    struct where *w = calloc(1, sizeof *w);
    if (!w)
        return err_nomem(err);
    w->name = !r->where.text ? "compute" : !r->compute.text ? "where" : "where, compute";
    if (columns_open(w, r, in, err) < 0 ||
        sql_open(&w->sql, part, in, err) < 0 || statement(w, part, err) < 0 ||
        (part->stage && sql_load(&w->sql, err) < 0)) {
        where_close(&w->step);
        return -1;
    }
    w->sql.input.unfit = unfit;
    *out = &w->step;
    return 0;
}

/* ---- rows ---- */

/* The row at `from` becomes the row at `to` of those that go. 1; 0: a computed value does not fit, and it went to the rejects. */
static int take_row(struct where *w, struct rows *rows, uint32_t from, uint32_t to, struct err *err)
{
    const struct columns *computed = &w->step.part->recipe->computed;
    struct value *row = rows->values + (size_t)from * rows->cols;
    if (!w->values) {
        if (from != to)
            memcpy(rows->values + (size_t)to * rows->cols, row, rows->cols * sizeof *row);
        return 1;
    }
    struct value *go = w->values + (size_t)to * (size_t)w->columns.n;
    memcpy(go, row, rows->cols * sizeof *row);
    for (int i = 0; i < computed->n; i++) {
        struct str shown;
        bool failed = false;
        enum reject_reason why = sql_take(w->cast, &computed->v[i], (uint32_t)i, w->st, i, &go[w->cols + (uint32_t)i],
                                          &w->arena, &shown, &failed);
        if (failed)
            return err_nomem(err);
        if (why != REJECT_REASONS)
            return rejects_add(w->step.part->rejects, why, computed->v[i].name, shown, rows->places[from], err);
    }
    return 1;
}

/* Does the expression fail on the row that the input is at? */
static bool fails_here(struct where *w, const char *expression)
{
    struct err err;
    sqlite3_stmt *st;
    if (sql_prepare(&w->sql, &st, "SELECT (\n", expression, "\n) FROM input", &err) < 0)
        return false;
    w->sql.input.read = false;
    int rc = sqlite3_step(st);
    sqlite3_finalize(st);
    return rc != SQLITE_ROW && rc != SQLITE_DONE;
}

/* Which of several expressions it was: SQLite does not tell, but each can be tried on the row alone. */
static void blame(struct where *w, struct err *err)
{
    const struct recipe *r = w->step.part->recipe;
    for (int i = 0; i < r->computed.n; i++)
        if (fails_here(w, r->computed_sql[i])) {
            err_in(err, "compute '%s'", r->computed.v[i].name);
            return;
        }
    err_in(err, "%s", r->where.text ? "where" : "compute");
}

static int failed_at(struct where *w, const struct rows *rows, struct err *err)
{
    uint32_t at = w->sql.input.at;
    if (at >= rows->n)
        return err_in(err, "%s", w->name);
    err_in(err, "line %" PRIu64, rows->places[at]->line);
    (void)sqlite3_reset(w->st);
    blame(w, err);
    return -1;
}

static int step_all(struct where *w, struct rows *rows, uint32_t *kept, struct err *err)
{
    struct sql_input *in = &w->sql.input;
    uint32_t next = 0;
    int rc;
    while ((rc = sqlite3_step(w->st)) == SQLITE_ROW) {
        if (in->at < next || in->at >= rows->n)
            return err_set(err, ERR_SQL, "this is no expression over one row");
        next = in->at + 1;
        if (in->unfit_column >= 0)
            continue;
        if ((rc = take_row(w, rows, in->at, *kept, err)) < 0)
            return -1;
        rows->places[*kept] = rows->places[in->at];
        *kept += (uint32_t)rc;
        w->refused += !rc;
    }
    if (w->failed)
        *err = w->err;
    return rc == SQLITE_DONE ? 0 : w->failed ? -1 : sql_failed(&w->sql, err);
}

static int where_rows(struct step *step, struct rows *rows, struct err *err)
{
    struct where *w = (struct where *)step;
    uint32_t kept = 0;
    arena_reset(&w->arena);
    w->sql.input.rows = rows;
    w->sql.input.at = 0;
    w->sql.input.read = false;
    w->sql.input.unfit_column = -1;
    w->sql.moves++;
    w->refused = 0;
    int rc = step_all(w, rows, &kept, err);
    if (rc < 0 && err->code != ERR_REJECTS)
        failed_at(w, rows, err);
    (void)sqlite3_reset(w->st);
    if (rc < 0)
        return -1;
    step->part->counts->filtered += rows->n - kept - w->refused;
    rows->n = kept;
    if (w->values) {
        rows->values = w->values;
        rows->cols = (uint32_t)w->columns.n;
    }
    return kept ? step_give(step, rows, err) : 0;
}

const struct step_kind step_where = {
    .name = "where", .wanted = where_wanted, .open = where_open, .rows = where_rows, .close = where_close
};
