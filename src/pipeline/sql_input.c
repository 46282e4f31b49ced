/* The virtual table `input`; sqlite.org/vtab.html says what each method must do. See sql_input.h. */
#include "pipeline/sql_input.h"

#include "base/mem.h"
#include "io/db.h"
#include "pipeline/sql_value.h"

struct table {
    sqlite3_vtab base;
    struct sql_input *in;
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct sql_input *in;
    bool end;
};

static int table_connect(sqlite3 *db, void *arg, int argc, const char *const *argv, sqlite3_vtab **out, char **why)
{
    (void)argc, (void)argv, (void)why;
    struct sql_input *in = arg;
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "CREATE TABLE input(");
    for (int i = 0; i < in->columns->n; i++) {
        buf_adds(&text, i ? ", " : "");
        db_quote(&text, in->columns->v[i].name);
        buf_addf(&text, " %s", sql_type(&in->columns->v[i]));
    }
    buf_addc(&text, ')');
    struct table *t = sqlite3_malloc(sizeof *t);
    int rc = !t || text.failed ? SQLITE_NOMEM : sqlite3_declare_vtab(db, text.p);
    if (rc != SQLITE_OK) {
        sqlite3_free(t);
        return rc;
    }
    *t = (struct table){ .in = in };
    *out = &t->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

/* So large that a plan reads it first and once, and looks up in the others what belongs to each of its rows. */
static int table_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    static char plan[] = SQL_INPUT_PLAN; /* SQLite reads it alone, and does not free it */
    ((struct table *)table)->in->asked |= info->colUsed;
    info->idxStr = plan;
    info->estimatedRows = 1000000000;
    info->estimatedCost = 1e12;
    return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    struct cursor *c = sqlite3_malloc(sizeof *c);
    if (!c)
        return SQLITE_NOMEM;
    *c = (struct cursor){ .in = ((struct table *)table)->in };
    *out = &c->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

/* Is the cursor at a row, or is there another batch? */
static int cursor_settle(struct cursor *c)
{
    struct sql_input *in = c->in;
    if (in->rows && in->at < in->rows->n)
        return SQLITE_OK;
    int rc = in->more ? in->more(in) : 0;
    c->end = rc <= 0;
    return rc < 0 ? SQLITE_ABORT : SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *cursor, int index, const char *text, int argc, sqlite3_value **argv)
{
    (void)index, (void)text, (void)argc, (void)argv;
    struct cursor *c = (struct cursor *)cursor;
    if (c->in->read) {
        cursor->pVtab->zErrMsg = sqlite3_mprintf("%s", SQL_INPUT_TWICE "; in a join let input come first, by CROSS JOIN");
        return SQLITE_ERROR;
    }
    c->in->read = true;
    return cursor_settle(c);
}

static int cursor_next(sqlite3_vtab_cursor *cursor)
{
    struct cursor *c = (struct cursor *)cursor;
    if (c->in->unfit_column >= 0 && (!c->in->unfit || c->in->unfit(c->in) < 0))
        return SQLITE_ABORT;
    c->in->unfit_column = -1;
    c->in->at++;
    c->in->passed++;
    return cursor_settle(c);
}

static int cursor_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct cursor *)cursor)->end;
}

static int cursor_column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int i)
{
    struct sql_input *in = ((struct cursor *)cursor)->in;
    const struct value *row = in->rows->values + (size_t)in->at * in->rows->cols;
    if (!sql_fits(&in->columns->v[i], &row[i])) {
        in->unfit_column = i;
        sqlite3_result_null(ctx);
        return SQLITE_OK;
    }
    /* where there are more batches, a statement can hold a value when its batch is gone */
    sql_result(ctx, &in->columns->v[i], &row[i], in->more != NULL);
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *out)
{
    *out = ((struct cursor *)cursor)->in->at;
    return SQLITE_OK;
}

/* Without xCreate it can be used by its name and not be made (an eponymous-only table). */
static const sqlite3_module module = {
    .iVersion = 1,
    .xConnect = table_connect,
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

int sql_input_declare(sqlite3 *db, struct sql_input *in)
{
    return sqlite3_create_module_v2(db, "input", &module, in, NULL);
}
