/*
 * The rows of one staged output into a table.
 *
 * Staged files are attached read-only and immutable and copied by INSERT ... SELECT *, which moves
 * whole records where SQLite allows it ("record transfer": insert.c of SQLite, xferOptimization).
 * Inline outputs go through a prepared INSERT. Before a file is trusted its checksum is compared,
 * because the transfer checks neither types nor NOT NULL.
 *
 * What is attached is never written: with immutable=1 SQLite holds no lock on it, so a commit needs
 * no super-journal.
 */
#include "target/sqlite_output.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

#include "io/db.h"
#include "target/sqlite.h"
#include "target/sqlite_pages.h"
#include "target/sqlite_record.h"

enum {
    /* VM steps a row: 4 or 5 by record transfer, + 3 an index; 14 + columns without */
    STEPS_TRANSFER = 6,
    STEPS_INDEX = 3,
    STEPS_ONCE = 200, /* of a statement, whatever its rows */
};

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
static int check_staged(struct warehouse *w, sqlite3 *db, const char *schema, const struct table *t,
                        const char *path, struct err *err)
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
                       w->path);
    return 0;
}

static int attach(struct warehouse *w, const struct table *t, const char *path, char schema[8],
                  struct err *err)
{
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf uri = { 0 };
    staged_uri(&uri, path);
    if (uri.failed)
        return err_nomem(err);
    snprintf(schema, 8, "s%d", w->attached);
    if (warehouse_prepare(w, "ATTACH ?1 AS ?2", &st, "attach", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, uri.p, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, schema, -1, SQLITE_STATIC);
    int rc = warehouse_step(w, st, "attach the staged file", err);
    sqlite3_finalize(st);
    if (rc < 0)
        return err_in(err, "'%s'", path);
    w->attached++;
    return check_staged(w, w->db, schema, t, path, err);
}

/* After the transaction; inside of it SQLite still holds what was read. */
void output_detach(struct warehouse *w)
{
    while (w->attached > 0) {
        char sql[32];
        snprintf(sql, sizeof sql, "DETACH s%d", w->attached - 1);
        if (sqlite3_exec(w->db, sql, NULL, NULL, NULL) != SQLITE_OK)
            break;
        w->attached--;
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
static void name_the_row(struct warehouse *w, const struct table *t, const char *schema,
                         int64_t rows, struct err *err)
{
    sqlite3_stmt *st;
    struct err e;
    char where[40];
    AUTO(buf_clear) struct buf sql = { 0 };
    snprintf(where, sizeof where, " AND %s = ?1", t->order);
    transfer_sql(&sql, t, schema, where);
    if (sql.failed || warehouse_prepare(w, sql.p, &st, "look for the row", &e) < 0)
        return;
    for (int64_t row = 1; row <= rows; row++) {
        sqlite3_bind_int64(st, 1, row);
        if (warehouse_step(w, st, "insert", &e) < 0) {
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
static void count_slow(const struct table *t, sqlite3_stmt *st, int64_t rows, int64_t *slow)
{
    int64_t steps = sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 1);
    if (!t->key.n && steps > STEPS_ONCE + rows * (STEPS_TRANSFER + STEPS_INDEX * t->indexes))
        *slow += rows;
}

static int load_attached(struct warehouse *w, const struct table *t, const struct load_output *o,
                         int64_t *slow, struct err *err)
{
    char schema[8];
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf sql = { 0 };
    if (attach(w, t, o->path, schema, err) < 0)
        return -1;
    transfer_sql(&sql, t, schema, "");
    if (sql.failed)
        return err_nomem(err);
    if (warehouse_prepare(w, sql.p, &st, "insert", err) < 0)
        return -1;
    int rc = warehouse_step(w, st, "insert", err);
    if (rc == 0) {
        count_slow(t, st, o->output->rows, slow);
        rc = count_rows(t, sqlite3_changes(w->db), o->output->rows, err);
    } else if ((err->sys & 0xff) == SQLITE_CONSTRAINT) {
        name_the_row(w, t, schema, o->output->rows, err);
    }
    sqlite3_finalize(st);
    return rc;
}

/* A job with more files than can be attached: the rest is read through a connection of its own, row
 * by row. */
static int load_apart(struct warehouse *w, const struct table *t, const struct load_output *o,
                      int64_t *slow, struct err *err)
{
    AUTO(db_close) sqlite3 *db = NULL;
    AUTO(buf_clear) struct buf uri = { 0 };
    sqlite3_stmt *st = NULL;
    staged_uri(&uri, o->path);
    if (uri.failed)
        return err_nomem(err);
    if (sqlite3_open_v2(uri.p, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
        return err_set(err, ERR_TARGET, "open '%s': %s", o->path, sqlite3_errmsg(db));
    if (check_staged(w, db, "main", t, o->path, err) < 0)
        return -1;
    int rc = sqlite3_prepare_v2(db, "SELECT * FROM " STAGED_TABLE, -1, &st, NULL), changes = 0;
    int64_t row = 0;
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(st); i++)
            sqlite3_bind_value(t->insert, i + 1, sqlite3_column_value(st, i));
        row++;
        if (warehouse_step(w, t->insert, "insert", err) < 0) {
            sqlite3_finalize(st);
            return err_in(err, "row %" PRId64 " of %" PRId64, row, o->output->rows);
        }
        changes += sqlite3_changes(w->db);
        rc = SQLITE_OK;
    }
    sqlite3_clear_bindings(t->insert);
    sqlite3_finalize(st);
    if (rc != SQLITE_DONE)
        return err_set(err, ERR_STAGED_DAMAGED, "read '%s': %s", o->path, sqlite3_errmsg(db));
    *slow += t->key.n ? 0 : o->output->rows;
    return count_rows(t, changes, o->output->rows, err);
}

static int load_file(struct warehouse *w, const struct table *t, const struct load_output *o,
                     int64_t *slow, struct err *err)
{
    if (pages_verify(o->path, o->output->bytes, o->output->checksum, err) < 0)
        return -1;
    return w->attached < SQLITE_FILES ? load_attached(w, t, o, slow, err)
                                      : load_apart(w, t, o, slow, err);
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

static int load_record(struct warehouse *w, const struct table *t, const struct columns *columns,
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
    return warehouse_step(w, t->insert, "insert", err);
}

static int load_inline(struct warehouse *w, const struct table *t, const struct load_output *o,
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
        rc = load_record(w, t, o->spec.columns, (struct str){ (const char *)p + head, n }, err);
        if (rc < 0)
            err_in(err, "row %" PRId64 " of %" PRId64, rows, o->output->rows);
        changes += sqlite3_changes(w->db);
        p += head + n;
    }
    sqlite3_clear_bindings(t->insert);
    if (rc == 0 && rows != o->output->rows)
        return damaged(err, "has another number of rows than was staged");
    return rc < 0 ? -1 : count_rows(t, changes, rows, err);
}

int output_load(struct warehouse *w, const struct table *t, const struct load_output *o,
                int64_t *slow, struct err *err)
{
    return o->output->in_file ? load_file(w, t, o, slow, err) : load_inline(w, t, o, err);
}
