/*
 * The tables of a SQLite warehouse; see the header. A table that is missing is made; one that is
 * there is the user's own and is never changed, but for columns that on_new_column = add brings: what
 * does not fit is refused, with the statement that would mend it.
 *
 * If power fails after a table was made or got a column, the transaction that did it is taken back.
 */
#include "target/sqlite_table.h"

#include <stdlib.h>
#include <strings.h>

#include "io/db.h"
#include "target/coarse.h"
#include "target/lacking.h"
#include "target/sqlite.h"
#include "target/undo.h"

/*
 * SQLite's error as a value. What the data or the tables are to blame for is refused for good; a
 * machine or another program in the way is passing.
 */
int warehouse_error(struct warehouse *w, struct err *err, const char *what)
{
    static const struct {
        int rc;
        enum err_code code;
    } codes[] = {
        { SQLITE_CONSTRAINT, ERR_TARGET_REFUSED }, { SQLITE_MISMATCH, ERR_TARGET_REFUSED },
        { SQLITE_TOOBIG, ERR_TARGET_REFUSED },     { SQLITE_ERROR, ERR_TARGET_REFUSED },
        { SQLITE_AUTH, ERR_TARGET_REFUSED },       { SQLITE_FULL, ERR_DISK_FULL },
        { SQLITE_NOMEM, ERR_NO_MEMORY },
    };
    int rc = sqlite3_errcode(w->db) & 0xff;
    enum err_code code = ERR_TARGET;
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (codes[i].rc == rc)
            code = codes[i].code;
    if (rc == SQLITE_BUSY)
        return err_set(err, code, "%s: another program has held '%s' for more than %d s", what,
                       w->path, WAREHOUSE_BUSY_MS / 1000);
    err_set(err, code, "%s: %s", what, sqlite3_errmsg(w->db));
    err->sys = sqlite3_extended_errcode(w->db);
    return -1;
}

int warehouse_prepare(struct warehouse *w, const char *sql, sqlite3_stmt **st, const char *what,
                      struct err *err)
{
    if (sqlite3_prepare_v3(w->db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
        return warehouse_error(w, err, what);
    return 0;
}

/* 1 a row, 0 done, -1 error; reset but after a row. */
int warehouse_step(struct warehouse *w, sqlite3_stmt *st, const char *what, struct err *err)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    rc = rc == SQLITE_DONE ? 0 : warehouse_error(w, err, what);
    sqlite3_reset(st);
    return rc;
}

int warehouse_exec(struct warehouse *w, const char *sql, const char *what, struct err *err)
{
    if (sqlite3_exec(w->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return warehouse_error(w, err, what);
    return 0;
}

/* ---- tables ---- */

/* What was read of the tables holds as long as the schema does; nobody else can change it inside
 * our transaction. */
static int read_schema_version(struct warehouse *w, struct err *err)
{
    sqlite3_stmt *st;
    if (warehouse_prepare(w, "PRAGMA main.schema_version", &st, "read the schema", err) < 0)
        return -1;
    int rc = warehouse_step(w, st, "read the schema", err);
    if (rc == 1)
        w->schema = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc < 0 ? -1 : 0;
}

static void table_clear(struct table *t)
{
    sqlite3_finalize(t->insert);
    sqlite3_finalize(t->fill);
    buf_clear(&t->temp);
    buf_clear(&t->staged);
    buf_clear(&t->quoted);
    buf_clear(&t->columns);
    buf_clear(&t->key);
    buf_clear(&t->collated);
    buf_clear(&t->conflict);
    free(t->id);
    *t = (struct table){ 0 };
}

/* The schema may have changed: nothing is known of the tables any more. */
void warehouse_forget(struct warehouse *w)
{
    for (int i = 0; i < w->ntables; i++) {
        struct table *t = &w->tables[i];
        AUTO(buf_clear) struct buf drop = { 0 };
        if (t->temp.n)
            buf_addf(&drop, "DROP TABLE IF EXISTS %s", t->temp.p);
        table_clear(t);
        if (drop.n && !drop.failed)
            (void)sqlite3_exec(w->db, drop.p, NULL, NULL, NULL);
    }
    w->ntables = 0;
    w->schema = -1;
}

static int name_of(struct warehouse *w, const struct table_spec *spec, const char **name,
                   struct err *err)
{
    const char *dot = strchr(spec->name, '.');
    *name = dot ? dot + 1 : spec->name;
    if (dot && (dot - spec->name != 4 || strncasecmp(spec->name, "main", 4)))
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s': a SQLite warehouse has no schemas; name it without one",
                       spec->table);
    if (!strcasecmp(*name, "qetl_load"))
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s' is the ledger of '%s'; choose another name", *name, w->path);
    return 0;
}

static const char *free_rowid(const struct columns *columns)
{
    static const char *const names[] = { "rowid", "_rowid_", "oid" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (columns_find(columns, str_of(names[i])) < 0)
            return names[i];
    return NULL;
}

static void named(struct buf *out, const char *before, const struct table_spec *spec, int column)
{
    buf_adds(out, before);
    db_quote(out, spec->columns->v[column].name);
}

/* SET "a" = excluded."a", ...: a row that says it is deleted leaves all but version and mark as
 * they were. False: the table has no column but its key. */
static bool set_list(struct buf *out, const struct table_spec *spec)
{
    bool any = false;
    for (int i = 0; i < spec->columns->n; i++) {
        if (in_key(spec, i))
            continue;
        named(out, any ? ", " : "UPDATE SET ", spec, i);
        if (spec->deleted >= 0 && i != spec->deleted && i != spec->version) {
            named(out, " = CASE WHEN excluded.", spec, spec->deleted);
            named(out, " THEN qetl_t.", spec, i);
            named(out, " ELSE excluded.", spec, i);
            buf_adds(out, " END");
        } else {
            named(out, " = excluded.", spec, i);
        }
        any = true;
    }
    return any;
}

/* May the row there be overwritten by the one that comes? */
static void may_update(struct buf *out, const struct table_spec *spec)
{
    const char *word = " AND NOT (";
    buf_addc(out, '1');
    if (spec->version >= 0) {
        named(out, " AND (qetl_t.", spec, spec->version);
        named(out, " IS NULL OR excluded.", spec, spec->version);
        named(out, " >= qetl_t.", spec, spec->version);
        buf_addc(out, ')');
    }
    if (!spec->only_if_changed)
        return;
    if (spec->deleted >= 0) {
        named(out, " AND CASE WHEN excluded.", spec, spec->deleted);
        named(out, " THEN qetl_t.", spec, spec->deleted);
        buf_adds(out, " IS NOT TRUE");
        if (spec->version >= 0) { /* a later delete of a deleted row is newer than what came between */
            named(out, " OR qetl_t.", spec, spec->version);
            named(out, " IS NOT excluded.", spec, spec->version);
        }
        buf_adds(out, " ELSE");
        word = " NOT (";
    }
    for (int i = 0; i < spec->columns->n; i++) {
        if (in_key(spec, i))
            continue;
        buf_adds(out, word);
        named(out, "qetl_t.", spec, i);
        named(out, " IS excluded.", spec, i);
        buf_adds(out, " COLLATE BINARY"); /* each change is one, also where the column takes both for equal */
        word = " AND ";
    }
    buf_adds(out, spec->deleted >= 0 ? ") END" : ")");
}

static void write_conflict(struct table *t, const struct table_spec *spec)
{
    AUTO(buf_clear) struct buf set = { 0 };
    t->updates = t->mode == MODE_UPSERT && set_list(&set, spec);
    buf_addf(&t->conflict, " ON CONFLICT (%s) DO ", t->key.p);
    if (!t->updates) {
        buf_adds(&t->conflict, "NOTHING");
        return;
    }
    buf_addf(&t->conflict, "%s WHERE qetl_met(", set.p);
    may_update(&t->conflict, spec);
    if (spec->deleted >= 0)
        named(&t->conflict, ", excluded.", spec, spec->deleted);
    buf_adds(&t->conflict, spec->deleted >= 0 ? " IS TRUE)" : ", 0)");
    t->conflict.failed |= set.failed;
}

static void write_texts(struct table *t, const struct table_spec *spec, const char *name)
{
    const struct columns *columns = spec->columns;
    db_quote(&t->quoted, name);
    for (int i = 0; i < columns->n; i++)
        named(&t->columns, i ? ", " : "", spec, i);
    for (int k = 0; k < spec->nkey; k++)
        named(&t->key, k ? ", " : "", spec, spec->key[k]);
    if (t->mode == MODE_UPSERT || t->mode == MODE_INSERT_IGNORE)
        write_conflict(t, spec);
    t->direct = t->conflict.n && !spec->only_if_changed && spec->version < 0 && spec->deleted < 0 &&
                spec->missing == MISSING_KEEP && !undo_keeps_rows(spec);
}

/* "table" or "view" into *view; 1 found, 0 none. */
int warehouse_find(struct warehouse *w, const char *name, bool *view, struct err *err)
{
    sqlite3_stmt *st;
    if (warehouse_prepare(
            w,
            "SELECT type = 'view' FROM main.sqlite_schema WHERE type IN ('table', 'view') AND "
            "lower(name) = lower(?1)",
            &st, "look for the table", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = warehouse_step(w, st, "look for the table", err);
    if (rc == 1)
        *view = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc;
}

int warehouse_note_own(struct warehouse *w, const char *name, const char *sql, struct err *err)
{
    bool view;
    int there = w->diff ? warehouse_find(w, name, &view, err) : 1;
    if (there == 0)
        schema_diff_own(w->diff, name, sql);
    return there < 0 ? -1 : 0;
}

static void type_of(struct buf *out, const struct table_spec *spec, int column) { sqlite_type(out, &spec->columns->v[column]); }

static bool lacks(const void *found, int column) { return !((const bool *)found)[column]; }

/* on_new_column = add: columns of the output that the table lacks, and is to get. What is known of the table besides is not so any more. */
static int add_columns(struct warehouse *w, const struct table *t, const struct table_spec *spec, const char *name, struct err *err)
{
    bool any = false;
    for (int i = 0; i < spec->columns->n; i++) {
        const struct column *c = &spec->columns->v[i];
        AUTO(buf_clear) struct buf sql = { 0 };
        if (!c->added ||
            sqlite3_table_column_metadata(w->db, "main", name, c->name, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK)
            continue;
        buf_addf(&sql, "ALTER TABLE main.%s ADD COLUMN ", t->quoted.p);
        sqlite_column_sql(&sql, c);
        if (sql.failed)
            return err_nomem(err);
        schema_diff_add(w->diff, spec, i, sql.p, type_of);
        if (warehouse_exec(w, sql.p, "add a column", err) < 0)
            return err_in(err, "table '%s'", name);
        any = true;
    }
    for (int i = 0; any && i < w->ntables; i++)
        if (!strcasecmp(w->tables[i].quoted.p, t->quoted.p))
            w->tables[i].whole = false;
    return any ? read_schema_version(w, err) : 0;
}

static const char *const history_columns[] = { VALID_FROM, VALID_TO, IS_CURRENT };

/* Which of the columns that only history has is it? -1: none. */
static int history_column(const struct table_spec *spec, const char *name)
{
    for (int i = 0; spec->mode == MODE_HISTORY && i < (int)COUNT_OF(history_columns); i++)
        if (!strcasecmp(history_columns[i], name))
            return i;
    return -1;
}

/* Does the declared type have one of these words, of ASCII, in it? */
static bool type_has(const char *type, const char *const words[4])
{
    for (int i = 0; i < 4 && words[i]; i++)
        if (strcasestr(type, words[i]))
            return true;
    return false;
}

/* Of a text, JSON too, what is a number becomes one, and sorts as such. What a column is called is told by the type that it wants; of one that is
 * called after neither numbers, times nor JSON nobody wants numbers. */
static struct kept kept_of_text(const char *type)
{
    static const char *const integer[4] = { "INT" }, *const kept[4] = { "CHAR", "CLOB", "TEXT", "BLOB" };
    static const char *const real[4] = { "REAL", "FLOA", "DOUB" }, *const times[4] = { "TIME" }, *const dates[4] = { "DATE" };
    static const char *const numeric[4] = { "NUM", "DEC", "BOOL", "JSON" };
    if (type_has(type, integer))
        return (struct kept){ KEEPS_NUMBERS, 0 };
    if (!*type || !strcasecmp(type, "ANY") || type_has(type, kept))
        return (struct kept){ .keeps = KEEPS_ANY };
    if (type_has(type, real))
        return (struct kept){ .keeps = KEEPS_DOUBLES };
    if (type_has(type, times))
        return (struct kept){ KEEPS_TIMESTAMPS, SECOND_DIGITS };
    if (type_has(type, dates))
        return (struct kept){ .keeps = KEEPS_DATES };
    return type_has(type, numeric) ? (struct kept){ KEEPS_NUMBERS, -1 } : (struct kept){ .keeps = KEEPS_WORDS };
}

/* What a column keeps, by its affinity: https://www.sqlite.org/datatype3.html part 3.1. A number becomes text of 15 digits; times are
 * text anyway. */
static struct kept kept_of(const char *type, const struct column *c)
{
    static const char *const integer[4] = { "INT" }, *const text[4] = { "CHAR", "CLOB", "TEXT" }, *const real[4] = { "REAL", "FLOA", "DOUB" }, *const json[4] = { "JSON" };
    struct kept k = { .keeps = KEEPS_ANY };
    if (c->type == TYPE_TEXT || (c->type == TYPE_JSON && !type_has(type, json)))
        return kept_of_text(type);
    if (c->type != TYPE_INTEGER && c->type != TYPE_DECIMAL && c->type != TYPE_REAL)
        return k;
    if (type_has(type, integer))
        return k;
    if (type_has(type, text))
        k.keeps = c->type == TYPE_REAL ? KEEPS_FLOATS : KEEPS_TEXT;
    else if (type_has(type, real))
        k.keeps = KEEPS_DOUBLES;
    return k;
}

/* One row of pragma_table_xinfo: name, notnull, dflt_value, pk, hidden, type. *at counts the columns that
 * SELECT * gives. */
static int match_column(sqlite3_stmt *st, struct table *t, const struct table_spec *spec,
                        const char *name, bool *found, int *at, struct coarse *coarse, struct err *err)
{
    const char *column = db_text(st, 0);
    int i = columns_find(spec->columns, str_of(column));
    bool hidden = sqlite3_column_int(st, 4);
    int of_history = history_column(spec, column);
    if (i >= 0 && hidden)
        return err_set(err, ERR_TARGET_REFUSED,
                       "column '%s' of table '%s' is generated: it takes no values", column, name);
    if (i >= 0) {
        const char *type = db_text(st, 5);
        const struct column *c = &spec->columns->v[i];
        coarse_look(coarse, c, coarse_use_of(spec, i), &(struct coarse_column){ .type = type, .kept = kept_of(type, c) });
    }
    if (of_history >= 0) {
        found[spec->columns->n + of_history] = true;
    } else if (i >= 0) {
        found[i] = true;
        t->whole &= i == *at;
    } else if (!hidden) {
        t->whole = false;
        if (sqlite3_column_int(st, 1) && sqlite3_column_type(st, 2) == SQLITE_NULL &&
            !sqlite3_column_int(st, 3))
            return err_set(err, ERR_TARGET_REFUSED,
                           "column '%s' of table '%s' is NOT NULL without a default, and the "
                           "pipeline does not fill it",
                           column, name);
    }
    *at += !hidden;
    return 0;
}

/* found: which of history_columns it has. What is there already is current, from the first day on. */
static int match_history(struct warehouse *w, const struct table *t, const char *name, const bool *found, struct err *err)
{
    static const char *const types[COUNT_OF(history_columns)] = { " TIMESTAMP NOT NULL DEFAULT '0001-01-01 00:00:00'", " TIMESTAMP",
                                                                  " BOOLEAN NOT NULL DEFAULT 1" };
    AUTO(buf_clear) struct buf add = { 0 };
    for (size_t i = 0; i < COUNT_OF(history_columns); i++)
        if (!found[i])
            buf_addf(&add, "%sALTER TABLE %s ADD COLUMN %s%s", add.n ? "; " : "", t->quoted.p, history_columns[i], types[i]);
    if (add.failed)
        return err_nomem(err);
    return add.n ? err_set(err, ERR_TARGET_REFUSED, "table '%s' of '%s' has no history; run: %s", name, w->path, add.p) : 0;
}

/* The user's own table: every column of ours is in it, and what else it has may stay empty. */
static int match_table(struct warehouse *w, struct table *t, const struct table_spec *spec,
                       const char *name, struct err *err)
{
    sqlite3_stmt *st;
    AUTO(coarse_clear) struct coarse coarse = { .table = name };
    bool *found = calloc((size_t)spec->columns->n + COUNT_OF(history_columns), sizeof *found);
    if (!found)
        return err_nomem(err);
    int rc = warehouse_prepare(
        w, "SELECT name, \"notnull\", dflt_value, pk, hidden, type FROM pragma_table_xinfo(?1, 'main')",
        &st, "read the table's columns", err);
    if (rc == 0) {
        int at = 0;
        sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
        t->whole = true;
        while ((rc = warehouse_step(w, st, "read the table's columns", err)) == 1 &&
               (rc = match_column(st, t, spec, name, found, &at, &coarse, err)) == 0)
            ;
        sqlite3_finalize(st);
    }
    const struct lacking l = { .table = name, .of = w->path, .quoted = t->quoted.p, .declare = sqlite_column_sql };
    if (rc == 0)
        rc = lacking_refuse(&l, spec->columns, lacks, found, err);
    if (rc == 0)
        rc = coarse_refuse(&coarse, err);
    if (rc == 0 && spec->mode == MODE_HISTORY)
        rc = match_history(w, t, name, found + spec->columns->n, err);
    free(found);
    return rc;
}

/* Where the table compares keys or versions otherwise than by their bytes, the staged rows are compared in the same way. */
static int read_collations(struct warehouse *w, struct table *t, const struct table_spec *spec, const char *name, struct err *err)
{
    AUTO(buf_clear) struct buf columns = { 0 };
    bool other = false;
    for (int i = 0; i < spec->columns->n; i++) {
        const char *collation;
        named(&columns, i ? ", " : "", spec, i);
        if (!in_key(spec, i) && i != spec->version)
            continue;
        if (sqlite3_table_column_metadata(w->db, "main", name, spec->columns->v[i].name, NULL, &collation, NULL, NULL, NULL) != SQLITE_OK)
            return warehouse_error(w, err, "look at the table");
        if (!strcasecmp(collation, "BINARY"))
            continue;
        if (!strcasecmp(collation, "RTRIM") && spec->mode == MODE_HISTORY)
            return err_set(err, ERR_TARGET_REFUSED,
                           "column '%s' of table '%s' is COLLATE RTRIM, with which SQLite may miss rows of a key that has no index; make it BINARY or"
                           " NOCASE",
                           spec->columns->v[i].name, name);
        buf_adds(&columns, " COLLATE ");
        db_quote(&columns, collation);
        named(&columns, " AS ", spec, i);
        other = true;
    }
    if (columns.failed)
        return err_nomem(err);
    if (other) {
        t->collated = columns;
        columns = (struct buf){ 0 };
        t->direct = false;
    }
    return 0;
}

static int count_indexes(struct warehouse *w, struct table *t, const char *name, struct err *err)
{
    sqlite3_stmt *st;
    if (warehouse_prepare(w, "SELECT count(*) FROM pragma_index_list(?1, 'main')", &st,
                          "count the indexes", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = warehouse_step(w, st, "count the indexes", err);
    if (rc == 1)
        t->indexes = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc < 0 ? -1 : 0;
}

/* A WITHOUT ROWID table may have a column of one of these names, but not of all. */
static bool has_rowid(struct warehouse *w, const struct table *t)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    sqlite3_stmt *st = NULL;
    buf_addf(&sql, "SELECT rowid, _rowid_, oid FROM main.%s", t->quoted.p);
    bool has = !sql.failed && sqlite3_prepare_v2(w->db, sql.p, -1, &st, NULL) == SQLITE_OK;
    sqlite3_finalize(st);
    return has;
}

/* The name of an index of ours on that table, with its quotes. */
static void quote_index(struct buf *out, const char *name, const char *suffix)
{
    AUTO(buf_clear) struct buf index = { 0 };
    buf_addf(&index, "%s%s", name, suffix);
    out->failed |= index.failed;
    if (!index.failed)
        db_quote(out, index.p);
}

/* INSERT of one bound row. Here it shows whether the table has a unique index on the key. */
static int prepare_insert(struct warehouse *w, struct table *t, const struct table_spec *spec,
                          const char *name, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "INSERT INTO main.%s AS qetl_t (%s) VALUES (", t->quoted.p, t->columns.p);
    for (int i = 0; i < spec->columns->n; i++)
        buf_adds(&sql, i ? ", ?" : "?");
    buf_addf(&sql, ")%s", t->conflict.n ? t->conflict.p : "");
    if (sql.failed)
        return err_nomem(err);
    if (warehouse_prepare(w, sql.p, &t->insert, name, err) == 0)
        return 0;
    if (!strstr(err->msg, "ON CONFLICT clause does not match"))
        return err_in(err, "table");
    AUTO(buf_clear) struct buf index = { 0 };
    quote_index(&index, name, "_key");
    if (index.failed)
        return err_nomem(err);
    return err_set(err, ERR_TARGET_REFUSED,
                   "table '%s' of '%s' has no unique index on the key (%s), which %s needs; "
                   "run: CREATE UNIQUE INDEX %s ON %s (%s)",
                   name, w->path, t->key.p, load_mode_names[t->mode], index.p, t->quoted.p,
                   t->key.p);
}

static int table_open(struct warehouse *w, struct table *t, const struct table_spec *spec,
                      struct err *err)
{
    const char *name;
    if (name_of(w, spec, &name, err) < 0)
        return -1;
    if (mode_has_key(spec->mode) && !spec->nkey)
        return err_set(err, ERR_TARGET_REFUSED, "table '%s': mode = %s needs key =", spec->table,
                       load_mode_names[spec->mode]);
    t->mode = spec->mode;
    if (!(t->order = free_rowid(spec->columns)))
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s': the columns rowid, _rowid_ and oid cannot all be used", name);
    write_texts(t, spec, name);
    if (t->quoted.failed || t->columns.failed || t->key.failed || t->conflict.failed)
        return err_nomem(err);
    bool view = false;
    int there = warehouse_find(w, name, &view, err);
    if (there < 0)
        return -1;
    if (view)
        return err_set(err, ERR_TARGET_REFUSED, "'%s' of '%s' is a view, not a table", name,
                       w->path);
    if (!there) {
        AUTO(buf_clear) struct buf sql = { 0 };
        sqlite_table_sql(&sql, t->quoted.p, spec);
        if (spec->mode == MODE_HISTORY) {
            buf_adds(&sql, "; CREATE UNIQUE INDEX main.");
            quote_index(&sql, name, "_current_key");
            buf_addf(&sql, " ON %s (%s) WHERE " IS_CURRENT, t->quoted.p, t->key.p);
        }
        if (sql.failed)
            return err_nomem(err);
        schema_diff_make(w->diff, spec, sql.p, type_of);
        if (warehouse_exec(w, sql.p, "make the table", err) < 0 || read_schema_version(w, err) < 0)
            return err_in(err, "table '%s'", name);
    }
    if (add_columns(w, t, spec, name, err) < 0 || match_table(w, t, spec, name, err) < 0 || count_indexes(w, t, name, err) < 0 ||
        (mode_has_key(spec->mode) && read_collations(w, t, spec, name, err) < 0))
        return -1;
    t->rowid = has_rowid(w, t);
    return prepare_insert(w, t, spec, name, err);
}

/* The table for an output, from those known or opened (and made) now. NULL on error. */
struct table *warehouse_table(struct warehouse *w, const struct table_spec *spec, struct err *err)
{
    AUTO(buf_clear) struct buf id = { 0 };
    table_spec_id(&id, spec);
    size_t staged_at = id.n;
    sqlite_staged_sql(&id, spec);
    for (int i = 0; i < w->ntables && !id.failed; i++)
        if (!strcmp(w->tables[i].id, id.p))
            return &w->tables[i];
    struct table *more =
        id.failed ? NULL : realloc(w->tables, (size_t)(w->ntables + 1) * sizeof *more);
    if (!more) {
        (void)err_nomem(err);
        return NULL;
    }
    w->tables = more;
    struct table *t = &w->tables[w->ntables];
    *t = (struct table){ 0 };
    buf_adds(&t->staged, id.p + staged_at);
    if (t->staged.failed || table_open(w, t, spec, err) < 0) {
        if (t->staged.failed)
            (void)err_nomem(err);
        table_clear(t);
        return NULL;
    }
    t->id = id.p;
    id = (struct buf){ 0 };
    w->ntables++;
    return t;
}

int warehouse_check_schema(struct warehouse *w, struct err *err)
{
    int64_t known = w->schema;
    if (read_schema_version(w, err) < 0)
        return -1;
    int64_t now = w->schema;
    if (now != known)
        warehouse_forget(w);
    w->schema = now;
    return 0;
}
