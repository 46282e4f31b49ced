/* Values into SQL and out of it. See sql_value.h. */
#include "pipeline/sql_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { REAL_DIGITS = 15, TEXT_MAX = 40 };
static const int64_t real_end = 1000000000000000; /* the first number of 16 digits */

const char *sql_type(const struct column *c)
{
    static const char *const types[TYPES] = {
        [TYPE_TEXT] = "TEXT",       [TYPE_INTEGER] = "INTEGER", [TYPE_DECIMAL] = "NUMERIC", [TYPE_REAL] = "REAL",
        [TYPE_BOOLEAN] = "INTEGER", [TYPE_DATE] = "TEXT",       [TYPE_TIMESTAMP] = "TEXT",  [TYPE_JSON] = "TEXT",
    };
    return types[c->type];
}

/* ---- into SQL ---- */

struct cell {
    int type; /* SQLITE_INTEGER, _FLOAT, _TEXT, _NULL */
    int64_t i;
    double r;
    struct str text;
    bool own; /* the text lies in `put` */
    char put[TEXT_MAX];
};

static void cell_text(struct cell *cell, int n)
{
    cell->type = SQLITE_TEXT;
    cell->text = (struct str){ cell->put, (size_t)n };
    cell->own = true;
}

static bool is_long(int64_t v)
{
    return v >= real_end || v <= -real_end;
}

/* Take zeros off the end while it is long; gives how many. */
static int shorten(int64_t *v)
{
    int zeros = 0;
    for (; is_long(*v) && *v % 10 == 0; *v /= 10)
        zeros++;
    return zeros;
}

bool sql_fits(const struct column *c, const struct value *v)
{
    if (c->type != TYPE_DECIMAL || !c->scale || v->null || !is_long(v->i))
        return true;
    int64_t digits = v->i;
    (void)shorten(&digits);
    return !is_long(digits);
}

int sql_unfit(const struct column *c, struct err *err)
{
    return err_set(err, ERR_FORMAT, "column '%s': SQL has decimals of 15 digits, and this one has more: make the column text", c->name);
}

static void cell_decimal(struct cell *cell, const struct column *c, int64_t v)
{
    static const double tens[] = { 1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                   1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18 };
    cell->type = c->scale ? SQLITE_FLOAT : SQLITE_INTEGER;
    cell->i = v;
    if (!c->scale)
        return;
    /* both are exact, so that the quotient or product is the nearest double of the decimal */
    int scale = c->scale - shorten(&v);
    cell->r = scale >= 0 ? (double)v / tens[scale] : (double)v * tens[-scale];
}

static inline void cell_fill(struct cell *cell, const struct column *c, const struct value *v)
{
    cell->own = false;
    cell->text = (struct str){ NULL, 0 };
    if (v->null) {
        cell->type = SQLITE_NULL;
        return;
    }
    switch (c->type) {
    case TYPE_INTEGER:
    case TYPE_BOOLEAN:
        cell->type = SQLITE_INTEGER;
        cell->i = v->i;
        return;
    case TYPE_REAL:
        cell->type = SQLITE_FLOAT;
        cell->r = v->r;
        return;
    case TYPE_DECIMAL:
        cell_decimal(cell, c, v->i);
        return;
    case TYPE_DATE:
        cell_text(cell, text_put_date(cell->put, v->i));
        return;
    case TYPE_TIMESTAMP:
        cell_text(cell, text_put_timestamp(cell->put, v->i, ' '));
        return;
    default:
        cell->type = SQLITE_TEXT;
        cell->text = (struct str){ v->p, v->n };
    }
}

void sql_result(sqlite3_context *ctx, const struct column *c, const struct value *v, bool kept)
{
    struct cell cell;
    cell_fill(&cell, c, v);
    if (cell.type == SQLITE_INTEGER)
        sqlite3_result_int64(ctx, cell.i);
    else if (cell.type == SQLITE_FLOAT)
        sqlite3_result_double(ctx, cell.r);
    else if (cell.type == SQLITE_TEXT)
        sqlite3_result_text(ctx, cell.text.p ? cell.text.p : "", (int)cell.text.n, kept || cell.own ? SQLITE_TRANSIENT : SQLITE_STATIC);
    else
        sqlite3_result_null(ctx);
}

int sql_bind(sqlite3_stmt *st, int param, const struct column *c, const struct value *v)
{
    struct cell cell;
    if (!sql_fits(c, v))
        return sqlite3_bind_null(st, param);
    cell_fill(&cell, c, v);
    switch (cell.type) {
    case SQLITE_INTEGER:
        return sqlite3_bind_int64(st, param, cell.i);
    case SQLITE_FLOAT:
        return sqlite3_bind_double(st, param, cell.r);
    case SQLITE_TEXT:
        return sqlite3_bind_text(st, param, cell.text.p ? cell.text.p : "", (int)cell.text.n, SQLITE_TRANSIENT);
    default:
        return sqlite3_bind_null(st, param);
    }
}

/* ---- out of SQL ---- */

int sql_cast(struct cast **out, const struct columns *columns, struct err *err)
{
    struct recipe plain = { .decimal_point = '.' };
    return cast_open(out, &plain, columns, err);
}

static struct str keep(const char *p, size_t n, struct arena *arena, bool *failed)
{
    char *copy = arena_dup(arena, (struct str){ p, n });
    *failed |= !copy;
    return (struct str){ copy, copy ? n : 0 };
}

/* A number as a JSON number has it. */
static struct str number_text(const struct column *c, sqlite3_value *from, struct arena *arena, bool *failed)
{
    char text[TEXT_MAX];
    double r = sqlite3_value_double(from);
    int n;
    if (sqlite3_value_type(from) == SQLITE_INTEGER)
        n = text_put_int(text, sqlite3_value_int64(from));
    else if (!isfinite(r) || c->type == TYPE_DECIMAL)
        n = snprintf(text, sizeof text, "%.*g", REAL_DIGITS, r);
    else
        n = text_put_real(text, r);
    return keep(text, (size_t)n, arena, failed);
}

/* Is that column of the result a decimal column of a table, as it stands there? SQLite says so by the first SELECT of a UNION
 * and the first row of VALUES alone; with them nothing is known. */
static bool is_as_it_was(sqlite3_stmt *st, int from)
{
    static const struct column decimal = { .type = TYPE_DECIMAL };
    const char *type = sqlite3_column_decltype(st, from), *sql = sqlite3_sql(st);
    return type && !strcmp(type, sql_type(&decimal)) && !strcasestr(sql, "union") && !strcasestr(sql, "values");
}

/* An integer of 18 digits is a decimal. A real with more than 15 may be another one than was meant, unless it came from a
 * decimal: that had 15 at most, and zeros (sql_fits). */
static bool digits_lost(const struct column *c, sqlite3_stmt *st, int from, const char *shown, const struct value *v)
{
    if (c->type != TYPE_DECIMAL || !is_long(v->i))
        return false;
    return !is_as_it_was(st, from) || strtod(shown, NULL) != sqlite3_column_double(st, from);
}

static enum reject_reason take_number(const struct cast *cast, const struct column *c, uint32_t to, sqlite3_stmt *st, int column,
                                      struct value *v, struct arena *arena, struct str *shown, bool *failed)
{
    sqlite3_value *from = sqlite3_column_value(st, column);
    bool real = sqlite3_value_type(from) == SQLITE_FLOAT;
    *shown = number_text(c, from, arena, failed);
    if (*failed || (real && !isfinite(sqlite3_value_double(from))))
        return REJECT_RANGE;
    struct field f = { shown->p, (uint32_t)shown->n, FIELD_NUMBER };
    enum reject_reason why = cast_value(cast, to, &f, v);
    return why == REJECT_REASONS && real && digits_lost(c, st, column, shown->p, v) ? REJECT_RANGE : why;
}

static enum reject_reason take_text(const struct cast *cast, uint32_t to, sqlite3_value *from, struct value *v,
                                    struct arena *arena, struct str *shown, bool *failed)
{
    /* of a TEXT this gives the same bytes as sqlite3_value_text, but makes no room for a NUL behind them, which is a realloc */
    const char *p = sqlite3_value_blob(from);
    size_t n = (size_t)sqlite3_value_bytes(from);
    *shown = keep(p ? p : "", n, arena, failed);
    if (*failed)
        return REJECT_NOT_TEXT;
    if (text_utf8_valid(*shown) < n) /* CAST, substr of a blob and the like can give anything */
        return REJECT_ENCODING;
    struct field f = { shown->p, (uint32_t)n, FIELD_QUOTED };
    return cast_value(cast, to, &f, v);
}

enum reject_reason sql_take(const struct cast *cast, const struct column *c, uint32_t to, sqlite3_stmt *st, int column,
                            struct value *v, struct arena *arena, struct str *shown, bool *failed)
{
    sqlite3_value *from = sqlite3_column_value(st, column);
    *v = (struct value){ .i = 0 };
    *shown = (struct str){ "", 0 };
    switch (sqlite3_value_type(from)) {
    case SQLITE_NULL:
        v->null = true;
        return c->required ? REJECT_NULL : REJECT_REASONS;
    case SQLITE_INTEGER:
        if (c->type != TYPE_INTEGER)
            return take_number(cast, c, to, st, column, v, arena, shown, failed);
        v->i = sqlite3_value_int64(from);
        return REJECT_REASONS;
    case SQLITE_FLOAT:
        if (c->type != TYPE_REAL || !isfinite(sqlite3_value_double(from)))
            return take_number(cast, c, to, st, column, v, arena, shown, failed);
        v->r = sqlite3_value_double(from);
        return REJECT_REASONS;
    case SQLITE_TEXT:
        return take_text(cast, to, from, v, arena, shown, failed);
    default:
        *shown = STR("a blob");
        return REJECT_NOT_TEXT;
    }
}
