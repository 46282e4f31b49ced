/*
 * The SQLite target: its loader.
 *
 * Staged files are attached read-only and immutable and copied by INSERT ... SELECT *, which moves
 * whole records where SQLite allows it ("record transfer": insert.c of SQLite, xferOptimization).
 * Inline outputs go through a prepared INSERT. Before a file is trusted its checksum is compared,
 * because the transfer checks neither types nor NOT NULL.
 *
 * Invariants
 *   - The ledger row of a job is written inside the job's savepoint, after its rows.
 *   - What is attached is never written: with immutable=1 SQLite holds no lock on it, so a commit
 * needs no super-journal.
 *   - Only one loader writes at a time: the fair lock "<path>-lock" is held from begin to commit or
 * rollback. In WAL mode the checkpoint runs under it too (sqlite.org, "The WAL-reset bug").
 *
 * If power fails in the middle, SQLite's journal takes the whole transaction back at the next open,
 * rows and ledger alike. If it fails after COMMIT returned, both are there (synchronous=FULL).
 */
#include "target/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/db.h"
#include "target/sqlite_pages.h"
#include "target/sqlite_record.h"

enum {
    BUSY_MS = 10000, /* so long another program may hold the database, or another loader the lock */
    CACHE_KIB =
        16384, /* 16 MiB; 32 and 64 loaded and upserted no faster, and a sort takes as much again */
    WAL_PAGES = 1000, /* checkpoint above it */
    STEPS_TRANSFER =
        6, /* VM steps a row: 4 or 5 by record transfer, + 3 an index; 14 + columns without */
    STEPS_INDEX = 3,
    STEPS_ONCE = 200, /* of a statement, whatever its rows */
};

/* ---- the connection ---- */

enum ledger_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SAVEPOINT,
    SQL_ROLLBACK_TO,
    SQL_RELEASE,
    SQL_MAKE,
    SQL_FIND,
    SQL_ADD,
    SQLS
};
static const char *const ledger_sql[SQLS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVEPOINT] = "SAVEPOINT job",
    [SQL_ROLLBACK_TO] = "ROLLBACK TO job",
    [SQL_RELEASE] = "RELEASE job",
    [SQL_MAKE] = "CREATE TABLE IF NOT EXISTS main.qetl_load (uid TEXT PRIMARY KEY NOT NULL, job "
                 "INTEGER NOT NULL,"
                 " pipeline TEXT NOT NULL, objects TEXT NOT NULL, rows INTEGER NOT NULL, loaded_at "
                 "TIMESTAMP NOT NULL)"
                 " WITHOUT ROWID",
    [SQL_FIND] = "SELECT 1 FROM main.qetl_load WHERE uid = :uid",
    [SQL_ADD] = "INSERT INTO main.qetl_load (uid, job, pipeline, objects, rows, loaded_at)"
                " VALUES (:uid, :job, :pipeline, :objects, :rows, :loaded_at)",
};

/* A table of the warehouse as one kind of output is put into it. */
struct table {
    char *id;            /* what outputs are known by: name, mode, key and staged columns */
    struct buf staged;   /* CREATE TABLE of the staged table */
    struct buf quoted;   /* "name" */
    struct buf columns;  /* "a", "b" */
    struct buf key;      /* "a", "b" */
    struct buf conflict; /* ON CONFLICT ..., or empty */
    const char *order;   /* name of the staged rowid that no column has */
    bool whole;          /* the table's columns are the staged ones, in their order */
    bool all_count;      /* every row counts as a change */
    int indexes;
    enum load_mode mode;
    sqlite3_stmt *insert; /* one row of bound values */
};

struct target_conn {
    sqlite3 *db;
    char *path;
    int lock; /* descriptor of "<path>-lock" */
    bool wal, locked;
    sqlite3_stmt *st[SQLS];
    int64_t schema; /* version that the tables were read at */
    struct table *tables;
    int ntables, attached;
};

/*
 * SQLite's error as a value. What the data or the tables are to blame for is refused for good; a
 * machine or another program in the way is passing.
 */
static int failed(struct target_conn *c, struct err *err, const char *what)
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
    int rc = sqlite3_errcode(c->db) & 0xff;
    enum err_code code = ERR_TARGET;
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (codes[i].rc == rc)
            code = codes[i].code;
    if (rc == SQLITE_BUSY)
        return err_set(err, code, "%s: another program has held '%s' for more than %d s", what,
                       c->path, BUSY_MS / 1000);
    err_set(err, code, "%s: %s", what, sqlite3_errmsg(c->db));
    err->sys = sqlite3_extended_errcode(c->db);
    return -1;
}

static int prepare(struct target_conn *c, const char *sql, sqlite3_stmt **st, const char *what,
                   struct err *err)
{
    if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
        return failed(c, err, what);
    return 0;
}

/* 1 a row, 0 done, -1 error; reset but after a row. */
static int step(struct target_conn *c, sqlite3_stmt *st, const char *what, struct err *err)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    rc = rc == SQLITE_DONE ? 0 : failed(c, err, what);
    sqlite3_reset(st);
    return rc;
}

static sqlite3_stmt *own_stmt(struct target_conn *c, enum ledger_sql n, struct err *err)
{
    if (!c->st[n] && prepare(c, ledger_sql[n], &c->st[n], ledger_sql[n], err) < 0)
        return NULL;
    return c->st[n];
}

static int run(struct target_conn *c, enum ledger_sql n, struct err *err)
{
    sqlite3_stmt *st = own_stmt(c, n, err);
    return st ? step(c, st, ledger_sql[n], err) : -1;
}

static int exec(struct target_conn *c, const char *sql, const char *what, struct err *err)
{
    if (sqlite3_exec(c->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(c, err, what);
    return 0;
}

/* ---- tables ---- */

/* What was read of the tables holds as long as the schema does; nobody else can change it inside
 * our transaction. */
static int read_schema_version(struct target_conn *c, struct err *err)
{
    sqlite3_stmt *st;
    if (prepare(c, "PRAGMA main.schema_version", &st, "read the schema", err) < 0)
        return -1;
    int rc = step(c, st, "read the schema", err);
    if (rc == 1)
        c->schema = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc < 0 ? -1 : 0;
}

static void table_clear(struct table *t)
{
    sqlite3_finalize(t->insert);
    buf_clear(&t->staged);
    buf_clear(&t->quoted);
    buf_clear(&t->columns);
    buf_clear(&t->key);
    buf_clear(&t->conflict);
    free(t->id);
    *t = (struct table){ 0 };
}

/* The schema may have changed: nothing is known of the tables any more. */
static void forget_tables(struct target_conn *c)
{
    for (int i = 0; i < c->ntables; i++)
        table_clear(&c->tables[i]);
    c->ntables = 0;
    c->schema = -1;
}

static int name_of(struct target_conn *c, const struct table_spec *spec, const char **name,
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
                       "table '%s' is the ledger of '%s'; choose another name", *name, c->path);
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

static void write_texts(struct table *t, const struct table_spec *spec, const char *name)
{
    const struct columns *columns = spec->columns;
    db_quote(&t->quoted, name);
    for (int i = 0; i < columns->n; i++) {
        buf_adds(&t->columns, i ? ", " : "");
        db_quote(&t->columns, columns->v[i].name);
    }
    for (int k = 0; k < spec->nkey; k++) {
        buf_adds(&t->key, k ? ", " : "");
        db_quote(&t->key, columns->v[spec->key[k]].name);
    }
    if (spec->mode != MODE_UPSERT)
        return;
    buf_addf(&t->conflict, " ON CONFLICT (%s) DO ", t->key.p);
    bool any = false;
    for (int i = 0; i < columns->n; i++) {
        bool in_key = false;
        for (int k = 0; k < spec->nkey; k++)
            in_key |= spec->key[k] == i;
        if (in_key)
            continue;
        buf_adds(&t->conflict, any ? ", " : "UPDATE SET ");
        db_quote(&t->conflict, columns->v[i].name);
        buf_adds(&t->conflict, " = excluded.");
        db_quote(&t->conflict, columns->v[i].name);
        any = true;
    }
    if (!any)
        buf_adds(&t->conflict, "NOTHING");
    t->all_count = any;
}

/* "table" or "view" into *view; 1 found, 0 none. */
static int find_table(struct target_conn *c, const char *name, bool *view, struct err *err)
{
    sqlite3_stmt *st;
    if (prepare(c,
                "SELECT type = 'view' FROM main.sqlite_schema WHERE type IN ('table', 'view') AND "
                "lower(name) = lower(?1)",
                &st, "look for the table", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = step(c, st, "look for the table", err);
    if (rc == 1)
        *view = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc;
}

static int lacks_column(struct target_conn *c, const char *name, const struct table *t,
                        const struct column *column, struct err *err)
{
    AUTO(buf_clear) struct buf add = { 0 };
    sqlite_column_sql(&add, column);
    return err_set(err, ERR_TARGET_REFUSED,
                   "table '%s' of '%s' has no column '%s'; run: ALTER TABLE %s ADD COLUMN %s", name,
                   c->path, column->name, t->quoted.p, add.failed ? "" : add.p);
}

/* One row of pragma_table_xinfo: name, notnull, dflt_value, pk, hidden. *at counts the columns that
 * SELECT * gives. */
static int match_column(sqlite3_stmt *st, struct table *t, const struct table_spec *spec,
                        const char *name, bool *found, int *at, struct err *err)
{
    const char *column = db_text(st, 0);
    int i = columns_find(spec->columns, str_of(column));
    bool hidden = sqlite3_column_int(st, 4);
    if (i >= 0 && hidden)
        return err_set(err, ERR_TARGET_REFUSED,
                       "column '%s' of table '%s' is generated: it takes no values", column, name);
    if (i >= 0) {
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

/* The user's own table: every column of ours is in it, and what else it has may stay empty. */
static int match_table(struct target_conn *c, struct table *t, const struct table_spec *spec,
                       const char *name, struct err *err)
{
    sqlite3_stmt *st;
    bool *found = calloc((size_t)spec->columns->n, sizeof *found);
    if (!found)
        return err_nomem(err);
    int rc = prepare(
        c, "SELECT name, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1, 'main')",
        &st, "read the table's columns", err);
    if (rc == 0) {
        int at = 0;
        sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
        t->whole = true;
        while ((rc = step(c, st, "read the table's columns", err)) == 1 &&
               (rc = match_column(st, t, spec, name, found, &at, err)) == 0)
            ;
        sqlite3_finalize(st);
    }
    for (int i = 0; rc == 0 && i < spec->columns->n; i++)
        if (!found[i])
            rc = lacks_column(c, name, t, &spec->columns->v[i], err);
    free(found);
    return rc;
}

static int count_indexes(struct target_conn *c, struct table *t, const char *name, struct err *err)
{
    sqlite3_stmt *st;
    if (prepare(c, "SELECT count(*) FROM pragma_index_list(?1, 'main')", &st, "count the indexes",
                err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = step(c, st, "count the indexes", err);
    if (rc == 1)
        t->indexes = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return rc < 0 ? -1 : 0;
}

/* INSERT of one bound row. Here it shows whether the table has a unique index on the key. */
static int prepare_insert(struct target_conn *c, struct table *t, const struct table_spec *spec,
                          const char *name, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "INSERT INTO main.%s (%s) VALUES (", t->quoted.p, t->columns.p);
    for (int i = 0; i < spec->columns->n; i++)
        buf_adds(&sql, i ? ", ?" : "?");
    buf_addf(&sql, ")%s", t->conflict.n ? t->conflict.p : "");
    if (sql.failed)
        return err_nomem(err);
    if (prepare(c, sql.p, &t->insert, name, err) == 0)
        return 0;
    if (!strstr(err->msg, "ON CONFLICT clause does not match"))
        return err_in(err, "table");
    return err_set(err, ERR_TARGET_REFUSED,
                   "table '%s' of '%s' has no unique index on the key (%s), which upsert needs; "
                   "run: CREATE UNIQUE INDEX \"%s_key\""
                   " ON %s (%s)",
                   name, c->path, t->key.p, name, t->quoted.p, t->key.p);
}

static int table_open(struct target_conn *c, struct table *t, const struct table_spec *spec,
                      struct err *err)
{
    const char *name;
    if (name_of(c, spec, &name, err) < 0)
        return -1;
    if (spec->mode == MODE_UPSERT && !spec->nkey)
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s': mode = upsert needs key =", spec->table);
    t->mode = spec->mode;
    t->all_count = true;
    if (!(t->order = free_rowid(spec->columns)))
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s': the columns rowid, _rowid_ and oid cannot all be used", name);
    write_texts(t, spec, name);
    if (t->quoted.failed || t->columns.failed || t->key.failed || t->conflict.failed)
        return err_nomem(err);
    bool view = false;
    int there = find_table(c, name, &view, err);
    if (there < 0)
        return -1;
    if (view)
        return err_set(err, ERR_TARGET_REFUSED, "'%s' of '%s' is a view, not a table", name,
                       c->path);
    if (!there) {
        AUTO(buf_clear) struct buf sql = { 0 };
        sqlite_table_sql(&sql, t->quoted.p, spec);
        if (sql.failed)
            return err_nomem(err);
        if (exec(c, sql.p, "make the table", err) < 0 || read_schema_version(c, err) < 0)
            return err_in(err, "table '%s'", name);
    }
    if (match_table(c, t, spec, name, err) < 0 || count_indexes(c, t, name, err) < 0)
        return -1;
    return prepare_insert(c, t, spec, name, err);
}

/* The table for an output, from those known or opened (and made) now. NULL on error. */
static struct table *table_get(struct target_conn *c, const struct table_spec *spec,
                               struct err *err)
{
    AUTO(buf_clear) struct buf id = { 0 };
    buf_addf(&id, "%s %d", spec->name, (int)spec->mode);
    for (int k = 0; k < spec->nkey; k++)
        buf_addf(&id, " %d", spec->key[k]);
    buf_addc(&id, '\n');
    size_t staged_at = id.n;
    sqlite_staged_sql(&id, spec);
    for (int i = 0; i < c->ntables && !id.failed; i++)
        if (!strcmp(c->tables[i].id, id.p))
            return &c->tables[i];
    struct table *more =
        id.failed ? NULL : realloc(c->tables, (size_t)(c->ntables + 1) * sizeof *more);
    if (!more) {
        (void)err_nomem(err);
        return NULL;
    }
    c->tables = more;
    struct table *t = &c->tables[c->ntables];
    *t = (struct table){ 0 };
    buf_adds(&t->staged, id.p + staged_at);
    if (t->staged.failed || table_open(c, t, spec, err) < 0) {
        if (t->staged.failed)
            (void)err_nomem(err);
        table_clear(t);
        return NULL;
    }
    t->id = id.p;
    id = (struct buf){ 0 };
    c->ntables++;
    return t;
}

/* ---- staged files ---- */

/* The URI of a staged file: https://www.sqlite.org/uri.html; all but the plainest bytes are
 * escaped. */
static void staged_uri(struct buf *out, const char *path)
{
    buf_adds(out, "file:");
    for (const char *p = path; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("/._-", *p);
        if (plain)
            buf_addc(out, *p);
        else
            buf_addf(out, "%%%02X", (unsigned char)*p);
    }
    buf_adds(out, "?mode=ro&immutable=1");
}

/* The only table of `schema` in db is what `sql` makes. */
static int check_staged(struct target_conn *c, sqlite3 *db, const char *schema,
                        const struct table *t, const char *path, struct err *err)
{
    char sql[64];
    sqlite3_stmt *st = NULL;
    snprintf(sql, sizeof sql, "SELECT sql FROM %s.sqlite_schema", schema);
    bool good = sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
                sqlite3_step(st) == SQLITE_ROW && !strcmp(db_text(st, 0), t->staged.p) &&
                sqlite3_step(st) == SQLITE_DONE;
    sqlite3_finalize(st);
    if (!good)
        return err_set(err, ERR_STAGED_DAMAGED, "'%s' was not staged for the table of '%s'", path,
                       c->path);
    return 0;
}

static int attach(struct target_conn *c, const struct table *t, const char *path, char schema[8],
                  struct err *err)
{
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf uri = { 0 };
    staged_uri(&uri, path);
    if (uri.failed)
        return err_nomem(err);
    snprintf(schema, 8, "s%d", c->attached);
    if (prepare(c, "ATTACH ?1 AS ?2", &st, "attach", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, uri.p, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, schema, -1, SQLITE_STATIC);
    int rc = step(c, st, "attach the staged file", err);
    sqlite3_finalize(st);
    if (rc < 0)
        return err_in(err, "'%s'", path);
    c->attached++;
    return check_staged(c, c->db, schema, t, path, err);
}

/* After the transaction; inside of it SQLite still holds what was read. */
static void detach_all(struct target_conn *c)
{
    while (c->attached > 0) {
        char sql[32];
        snprintf(sql, sizeof sql, "DETACH s%d", c->attached - 1);
        if (sqlite3_exec(c->db, sql, NULL, NULL, NULL) != SQLITE_OK)
            break;
        c->attached--;
    }
}

/* INSERT ... SELECT of the staged rows; only the one that `where` names, when it is not "". */
static void transfer_sql(struct buf *sql, const struct table *t, const char *schema,
                         const char *where)
{
    if (t->whole && !t->key.n && !*where) {
        buf_addf(sql, "INSERT INTO main.%s SELECT * FROM %s." STAGED_TABLE, t->quoted.p, schema);
        return;
    }
    buf_addf(sql, "INSERT INTO main.%s (%s) SELECT %s FROM %s." STAGED_TABLE " WHERE true%s",
             t->quoted.p, t->columns.p, t->columns.p, schema, where);
    if (t->key.n && !*where) /* in the order of the table's b-tree; of one key the last row in file
                                order comes last */
        buf_addf(sql, " ORDER BY %s, %s", t->key.p, t->order);
    if (t->conflict.n)
        buf_adds(sql, t->conflict.p);
}

/* Name the first row that the table refuses. What goes in before it goes away with the job's
 * savepoint. */
static void name_the_row(struct target_conn *c, const struct table *t, const char *schema,
                         int64_t rows, struct err *err)
{
    sqlite3_stmt *st;
    struct err e;
    char where[40];
    AUTO(buf_clear) struct buf sql = { 0 };
    snprintf(where, sizeof where, " AND %s = ?1", t->order);
    transfer_sql(&sql, t, schema, where);
    if (sql.failed || prepare(c, sql.p, &st, "look for the row", &e) < 0)
        return;
    for (int64_t row = 1; row <= rows; row++) {
        sqlite3_bind_int64(st, 1, row);
        if (step(c, st, "insert", &e) < 0) {
            if (e.code == ERR_TARGET_REFUSED)
                (void)err_in(err, "row %" PRId64 " of %" PRId64, row, rows);
            break;
        }
    }
    sqlite3_finalize(st);
}

static int count_rows(const struct table *t, int64_t changes, int64_t rows, struct err *err)
{
    if (t->all_count && changes != rows)
        return err_set(err, ERR_TARGET_REFUSED,
                       "%" PRId64 " of %" PRId64
                       " rows went in: has the table a trigger that leaves rows out?",
                       changes, rows);
    return 0;
}

/* Did the rows go by record transfer? Only a table without key can take them so, and a slow one of
 * it is worth a word. */
static void count_slow(const struct table *t, sqlite3_stmt *st, int64_t rows, struct load_job *job)
{
    int64_t steps = sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 1);
    if (!t->key.n && steps > STEPS_ONCE + rows * (STEPS_TRANSFER + STEPS_INDEX * t->indexes))
        job->slow_rows += rows;
}

static int load_attached(struct target_conn *c, const struct table *t, const struct load_output *o,
                         struct load_job *job, struct err *err)
{
    char schema[8];
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf sql = { 0 };
    if (attach(c, t, o->path, schema, err) < 0)
        return -1;
    transfer_sql(&sql, t, schema, "");
    if (sql.failed)
        return err_nomem(err);
    if (prepare(c, sql.p, &st, "insert", err) < 0)
        return -1;
    int rc = step(c, st, "insert", err);
    if (rc == 0) {
        count_slow(t, st, o->output->rows, job);
        rc = count_rows(t, sqlite3_changes(c->db), o->output->rows, err);
    } else if ((err->sys & 0xff) == SQLITE_CONSTRAINT) {
        name_the_row(c, t, schema, o->output->rows, err);
    }
    sqlite3_finalize(st);
    return rc;
}

/* A job with more files than can be attached: the rest is read through a connection of its own, row
 * by row. */
static int load_apart(struct target_conn *c, const struct table *t, const struct load_output *o,
                      struct load_job *job, struct err *err)
{
    AUTO(db_close) sqlite3 *db = NULL;
    AUTO(buf_clear) struct buf uri = { 0 };
    sqlite3_stmt *st = NULL;
    staged_uri(&uri, o->path);
    if (uri.failed)
        return err_nomem(err);
    if (sqlite3_open_v2(uri.p, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
        return err_set(err, ERR_TARGET, "open '%s': %s", o->path, sqlite3_errmsg(db));
    if (check_staged(c, db, "main", t, o->path, err) < 0)
        return -1;
    int rc = sqlite3_prepare_v2(db, "SELECT * FROM " STAGED_TABLE, -1, &st, NULL), changes = 0;
    int64_t row = 0;
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(st); i++)
            sqlite3_bind_value(t->insert, i + 1, sqlite3_column_value(st, i));
        row++;
        if (step(c, t->insert, "insert", err) < 0) {
            sqlite3_finalize(st);
            return err_in(err, "row %" PRId64 " of %" PRId64, row, o->output->rows);
        }
        changes += sqlite3_changes(c->db);
        rc = SQLITE_OK;
    }
    sqlite3_clear_bindings(t->insert);
    sqlite3_finalize(st);
    if (rc != SQLITE_DONE)
        return err_set(err, ERR_STAGED_DAMAGED, "read '%s': %s", o->path, sqlite3_errmsg(db));
    job->slow_rows += t->key.n ? 0 : o->output->rows;
    return count_rows(t, changes, o->output->rows, err);
}

static int load_file(struct target_conn *c, const struct table *t, const struct load_output *o,
                     struct load_job *job, struct err *err)
{
    if (pages_verify(o->path, o->output->bytes, o->output->checksum, err) < 0)
        return -1;
    return c->attached < SQLITE_FILES ? load_attached(c, t, o, job, err)
                                      : load_apart(c, t, o, job, err);
}

/* ---- inline outputs ---- */

static int damaged(struct err *err, const char *what)
{
    return err_set(err, ERR_STAGED_DAMAGED, "the inline output %s", what);
}

/* An integer in a REAL column is a real that was stored short. */
static void bind_value(sqlite3_stmt *st, int at, const struct record_value *v, enum type type)
{
    switch (v->kind) {
    case RECORD_NULL:
        sqlite3_bind_null(st, at);
        break;
    case RECORD_INTEGER:
        if (type == TYPE_REAL)
            sqlite3_bind_double(st, at, (double)v->i);
        else
            sqlite3_bind_int64(st, at, v->i);
        break;
    case RECORD_REAL:
        sqlite3_bind_double(st, at, v->r);
        break;
    case RECORD_TEXT:
        sqlite3_bind_text64(st, at, v->s.p, v->s.n, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case RECORD_BLOB: /* the encoder makes none */
        sqlite3_bind_blob64(st, at, v->s.p, v->s.n, SQLITE_STATIC);
        break;
    }
}

static int load_record(struct target_conn *c, const struct table *t, const struct columns *columns,
                       struct str record, struct err *err)
{
    struct record_reader r;
    struct record_value v;
    if (!record_open(&r, record))
        return damaged(err, "holds a row that is none");
    int n = 0, rc;
    while ((rc = record_next(&r, &v)) == 1 && n < columns->n) {
        bind_value(t->insert, n + 1, &v, columns->v[n].type);
        n++;
    }
    if (rc != 0 || n != columns->n)
        return damaged(err, "holds a row that does not fit its columns");
    return step(c, t->insert, "insert", err);
}

static int load_inline(struct target_conn *c, const struct table *t, const struct load_output *o,
                       struct err *err)
{
    struct str in = buf_str(&o->output->inlined);
    uint64_t id = htole64(sqlite_staged_id(buf_str(&t->staged)));
    if ((int64_t)in.n != o->output->bytes || in.n < INLINE_HEAD || memcmp(in.p, INLINE_MAGIC, 4))
        return damaged(err, "is cut or of another version");
    if (memcmp(in.p + 4, &id, sizeof id))
        return damaged(err, "was staged for other columns");
    const uint8_t *p = (const uint8_t *)in.p + INLINE_HEAD, *end = (const uint8_t *)in.p + in.n;
    int64_t rows = 0, changes = 0;
    int rc = 0;
    while (rc == 0 && p < end) {
        uint64_t n;
        int head = varint_get(p, end, &n);
        if (!head || n > (uint64_t)(end - p - head)) {
            rc = damaged(err, "is cut");
            break;
        }
        rows++;
        rc = load_record(c, t, o->spec.columns, (struct str){ (const char *)p + head, n }, err);
        if (rc < 0)
            err_in(err, "row %" PRId64 " of %" PRId64, rows, o->output->rows);
        changes += sqlite3_changes(c->db);
        p += head + n;
    }
    sqlite3_clear_bindings(t->insert);
    if (rc == 0 && rows != o->output->rows)
        return damaged(err, "has another number of rows than was staged");
    return rc < 0 ? -1 : count_rows(t, changes, rows, err);
}

/* ---- jobs ---- */

/* replace: empty the table, but once a job. */
static int empty_table(struct target_conn *c, const struct table *t, const struct load_job *job,
                       int at, struct err *err)
{
    for (int i = 0; i < at; i++)
        if (!strcasecmp(job->outputs[i].spec.name, job->outputs[at].spec.name))
            return 0;
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "DELETE FROM main.%s", t->quoted.p);
    return sql.failed ? err_nomem(err) : exec(c, sql.p, "empty the table", err);
}

static int load_output(struct target_conn *c, struct load_job *job, int at, struct err *err)
{
    const struct load_output *o = &job->outputs[at];
    struct table *t = table_get(c, &o->spec, err);
    if (!t || (t->mode == MODE_REPLACE && empty_table(c, t, job, at, err) < 0))
        return -1;
    if ((o->output->in_file ? load_file(c, t, o, job, err) : load_inline(c, t, o, err)) < 0)
        return err_in(err, "table '%s'", o->spec.name);
    job->rows += o->output->rows;
    return 0;
}

static int add_to_ledger(struct target_conn *c, const struct load_job *job, struct err *err)
{
    char now[32];
    now[text_put_timestamp(now, sys_now_ms() * 1000, ' ')] = '\0';
    sqlite3_stmt *st = own_stmt(c, SQL_ADD, err);
    if (!st)
        return -1;
    db_bind(st, ":uid", job->uid);
    db_bind(st, ":job", job->id);
    db_bind(st, ":pipeline", job->pipeline);
    db_bind(st, ":objects", job->objects ? job->objects : "[]");
    db_bind(st, ":rows", job->rows);
    db_bind(st, ":loaded_at", (const char *)now);
    int rc = step(c, st, "write the ledger", err);
    sqlite3_clear_bindings(st);
    return rc;
}

static int load_outputs(struct target_conn *c, struct load_job *job, struct err *err)
{
    for (int i = 0; i < job->noutputs; i++)
        if (load_output(c, job, i, err) < 0)
            return -1;
    return add_to_ledger(c, job, err);
}

int sqlite_load_job(struct target_conn *c, struct load_job *job, struct err *err)
{
    job->rows = job->slow_rows = 0;
    int there = sqlite_loaded(c, job->uid, err);
    job->was_there = there == 1;
    if (there != 0)
        return there < 0 ? -1 : 0;
    if (run(c, SQL_SAVEPOINT, err) < 0)
        return -1;
    if (load_outputs(c, job, err) == 0)
        return run(c, SQL_RELEASE, err);
    job->rows = job->slow_rows = 0;
    if (err_class(err->code) == ERR_TRANSIENT)
        return -1;
    struct err undo;
    forget_tables(c); /* those that the job made are gone */
    if (sqlite3_get_autocommit(c->db) || run(c, SQL_ROLLBACK_TO, &undo) < 0 ||
        run(c, SQL_RELEASE, &undo) < 0)
        return err_set(err, ERR_TARGET, "SQLite gave up the whole transaction");
    return -1;
}

int sqlite_loaded(struct target_conn *c, const char *uid, struct err *err)
{
    bool view;
    if (sqlite3_get_autocommit(
            c->db)) { /* begin makes the ledger; before the first one there is none */
        int there = find_table(c, "qetl_load", &view, err);
        if (there <= 0)
            return there;
    }
    sqlite3_stmt *st = own_stmt(c, SQL_FIND, err);
    if (!st)
        return -1;
    db_bind(st, ":uid", uid);
    int rc = step(c, st, "ask the ledger", err);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return rc;
}

/* ---- transactions ---- */

static void unlock(struct target_conn *c)
{
    if (c->locked)
        (void)flock(c->lock, LOCK_UN);
    c->locked = false;
}

static int lock(struct target_conn *c, struct err *err)
{
    for (int64_t until = sys_mono_us() + BUSY_MS * 1000; flock(c->lock, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_sys(err, "lock '%s-lock'", c->path);
        if (sys_mono_us() > until)
            return err_set(err, ERR_TARGET, "another loader has held '%s' for more than %d s",
                           c->path, BUSY_MS / 1000);
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    c->locked = true;
    return 0;
}

/* The file that was opened is still the one under its name. */
static int check_moved(struct target_conn *c, struct err *err)
{
    int moved = 0;
    if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
        return err_set(err, ERR_TARGET, "'%s' was removed or replaced while it was open", c->path);
    return 0;
}

static int check_schema(struct target_conn *c, struct err *err)
{
    int64_t known = c->schema;
    if (read_schema_version(c, err) < 0)
        return -1;
    int64_t now = c->schema;
    if (now != known)
        forget_tables(c);
    c->schema = now;
    return 0;
}

int sqlite_begin(struct target_conn *c, struct err *err)
{
    if (lock(c, err) < 0)
        return -1;
    if (check_moved(c, err) == 0 && run(c, SQL_BEGIN, err) == 0) {
        if (run(c, SQL_MAKE, err) == 0 && check_schema(c, err) == 0)
            return 0;
        sqlite_rollback(c);
    }
    unlock(c);
    return -1;
}

/* Under our lock, so that no writer of ours can reset the WAL meanwhile. A reader in the way only
 * makes it do less. */
static void checkpoint(struct target_conn *c, int mode)
{
    int frames = 0, done;
    if (!c->wal)
        return;
    if (mode == SQLITE_CHECKPOINT_PASSIVE) {
        struct stat st;
        AUTO(buf_clear) struct buf wal = { 0 };
        buf_addf(&wal, "%s-wal", c->path);
        if (wal.failed || stat(wal.p, &st) < 0 || st.st_size < (off_t)WAL_PAGES * PAGE_SIZE)
            return;
    }
    (void)sqlite3_wal_checkpoint_v2(c->db, "main", mode, &frames, &done);
}

int sqlite_commit(struct target_conn *c, struct err *err)
{
    if (sys_fault("target-before-commit"))
        return err_set(err, ERR_TARGET, "commit: fault injected");
    if (run(c, SQL_COMMIT, err) < 0) /* busy: the transaction is still open, and rollback ends it */
        return err_in(err, "'%s'", c->path);
    detach_all(c);
    bool fault = sys_fault("target-after-commit");
    checkpoint(c, SQLITE_CHECKPOINT_PASSIVE);
    unlock(c);
    return fault ? err_set(err, ERR_TARGET, "commit: fault injected") : 0;
}

void sqlite_rollback(struct target_conn *c)
{
    struct err err;
    forget_tables(c);
    if (!sqlite3_get_autocommit(c->db))
        (void)run(c, SQL_ROLLBACK, &err);
    detach_all(c);
    unlock(c);
}

/* ---- open ---- */

/* The path of sqlite:///path or sqlite:path, percent escapes taken out; NULL: no memory, or not
 * such a URL. */
static char *path_of(const char *url, struct err *err)
{
    const char *p = url + strlen("sqlite:");
    if (!strncmp(p, "//", 2) && p[2] != '/') {
        (void)err_set(err, ERR_CONFIG,
                      "'%s': expected sqlite:///absolute/path or sqlite:relative/path", url);
        return NULL;
    }
    if (!strncmp(p, "//", 2))
        p += 2;
    char *path = malloc(strlen(p) + 1), *out = path;
    if (!path) {
        (void)err_nomem(err);
        return NULL;
    }
    while (*p) {
        unsigned hex;
        if (*p == '%' && p[1] && p[2] && sscanf((char[]){ p[1], p[2], '\0' }, "%2x", &hex) == 1) {
            *out++ = (char)hex;
            p += 3;
        } else {
            *out++ = *p++;
        }
    }
    *out = '\0';
    if (!*path) {
        (void)err_set(err, ERR_CONFIG,
                      "'%s': expected sqlite:///absolute/path or sqlite:relative/path", url);
        free(path);
        return NULL;
    }
    return path;
}

static int check_folder(const char *path, struct err *err)
{
    char *copy = strdup(path);
    if (!copy)
        return err_nomem(err);
    const char *folder = dirname(copy), *fs;
    int network = sys_network_fs(folder, &fs, err);
    if (network == 1)
        err_set(err, ERR_NETWORK_FS,
                "'%s' lies on a network file system (%s), where SQLite's locks do not hold", path,
                fs);
    else if (network == 0 && access(folder, W_OK | X_OK) < 0)
        err_set(err, ERR_TARGET,
                "the folder '%s' cannot be written, and SQLite needs its journal there: %s", folder,
                strerror(errno));
    else if (network == 0) {
        free(copy);
        return 0;
    }
    free(copy);
    return -1;
}

/* A regular, writable SQLite database, or nothing yet. Said before SQLite says it worse. */
static int check_file(const char *path, bool create, struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        if (errno != ENOENT)
            return err_set(err, ERR_TARGET, "open '%s': %s", path, strerror(errno));
        return create ? 0 : err_set(err, ERR_TARGET, "'%s' does not exist", path);
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_TARGET, "'%s' is %s, not a database file", path,
                       S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    if (access(path, R_OK | W_OK) < 0 || !(st.st_mode & 0222))
        return err_set(err, ERR_TARGET, "'%s' is read-only", path);
    return 0;
}

static int open_lock(struct target_conn *c, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 };
    buf_addf(&name, "%s-lock", c->path);
    if (name.failed)
        return err_nomem(err);
    if ((c->lock = open(name.p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640)) < 0)
        return err_sys(err, "open '%s'", name.p);
    return 0;
}

/* A warehouse that its owner put into WAL mode stays there. */
static int set_journal(struct target_conn *c, bool many_readers, struct err *err)
{
    sqlite3_stmt *st;
    if (prepare(c, "PRAGMA main.journal_mode", &st, "read the journal mode", err) < 0)
        return -1;
    int rc = step(c, st, "read the journal mode", err);
    c->wal = many_readers || (rc == 1 && !strcmp(db_text(st, 0), "wal"));
    sqlite3_finalize(st);
    if (rc < 0)
        return -1;
    char sql[256];
    snprintf(
        sql, sizeof sql,
        "PRAGMA main.journal_mode=%s; PRAGMA main.synchronous=FULL; PRAGMA main.cache_size=-%d;"
        "PRAGMA main.journal_size_limit=%d",
        c->wal ? "WAL" : "TRUNCATE", CACHE_KIB, 64 << 20);
    return exec(c, sql, "set the journal mode", err);
}

int sqlite_open(struct target_conn **out, const struct target_config *cfg, bool create,
                struct err *err)
{
    struct target_conn *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    c->lock = -1;
    c->schema = -1;
    if (!(c->path = path_of(cfg->url, err)) || check_folder(c->path, err) < 0 ||
        check_file(c->path, create, err) < 0)
        goto fail;
    if (db_open(&c->db, c->path, DB_URI | (create ? DB_CREATE : 0), err) < 0) {
        err->code =
            err->code == ERR_NO_MEMORY || err->code == ERR_DISK_FULL ? err->code : ERR_TARGET;
        goto fail;
    }
    sqlite3_busy_timeout(c->db, BUSY_MS);
    if (open_lock(c, err) < 0 || set_journal(c, cfg->many_readers, err) < 0) {
        err_in(err, "'%s'", c->path);
        goto fail;
    }
    *out = c;
    return 0;
fail:
    sqlite_close(c);
    return err_in(err, "target '%s'", cfg->name);
}

void sqlite_close(struct target_conn *c)
{
    struct err err;
    if (!c)
        return;
    if (c->db) {
        sqlite_rollback(c);
        if (c->wal && lock(c, &err) == 0)
            checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE);
        unlock(c);
    }
    for (int i = 0; i < SQLS; i++)
        sqlite3_finalize(c->st[i]);
    free(c->tables);
    db_close(&c->db);
    fd_closep(&c->lock);
    free(c->path);
    free(c);
}
