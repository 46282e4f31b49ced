/*
 * The rows of one staged output into a table.
 *
 * Staged files are attached read-only and immutable and copied by INSERT ... SELECT *, which moves
 * whole records where SQLite allows it ("record transfer": insert.c of SQLite, xferOptimization).
 * Inline outputs go through a prepared INSERT. Rows that are merged (sqlite_merge.h) come from the
 * attached file, or from a temporary table. Before a file is trusted its checksum is compared,
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
#include "target/sqlite_merge.h"
#include "target/sqlite_pages.h"
#include "target/sqlite_record.h"
#include "target/sqlite_undo.h"
#include "target/undo.h"

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

enum { SOURCE_NAME = 32 };

/* source: "s0.staged" afterwards. */
static int attach(struct warehouse *w, const struct table *t, const char *path,
                  char source[SOURCE_NAME], struct err *err)
{
    char schema[8];
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf uri = { 0 };
    staged_uri(&uri, path);
    if (uri.failed)
        return err_nomem(err);
    snprintf(schema, sizeof schema, "s%d", w->attached);
    snprintf(source, SOURCE_NAME, "%s." STAGED_TABLE, schema);
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
static void transfer_sql(struct buf *sql, const struct table *t, const struct table_spec *spec,
                         const char *source, const char *where)
{
    if (t->conflict.n) {
        merge_sql(sql, t, spec, source, where);
        return;
    }
    if (t->whole && !t->key.n && !*where) {
        buf_addf(sql, "INSERT INTO main.%s SELECT * FROM %s", t->quoted.p, source);
        return;
    }
    buf_addf(sql, "INSERT INTO main.%s (%s) SELECT %s FROM %s%s", t->quoted.p, t->columns.p,
             t->columns.p, source, where);
    if (t->key.n && !*where) /* in the order of the table's b-tree */
        buf_addf(sql, " ORDER BY %s, %s", t->key.p, t->order);
}

/* Name the first row that the table refuses. What goes in before it goes away with the job's
 * savepoint. */
static void name_the_row(struct warehouse *w, const struct table *t, const struct table_spec *spec,
                         const char *source, int64_t rows, struct err *err)
{
    sqlite3_stmt *st;
    struct err e;
    char where[40];
    AUTO(buf_clear) struct buf sql = { 0 };
    snprintf(where, sizeof where, " WHERE %s = ?1", t->order);
    transfer_sql(&sql, t, spec, source, where);
    if (sql.failed || warehouse_prepare(w, sql.p, &st, "look for the row", &e) < 0)
        return;
    for (int64_t row = 1; row <= rows; row++) {
        sqlite3_bind_int64(st, 1, row);
        merge_tally_reset(&w->tally);
        if (warehouse_step(w, st, "insert", &e) < 0) {
            if (e.code == ERR_TARGET_REFUSED)
                (void)err_in(err, "row %" PRId64 " of %" PRId64, row, rows);
            break;
        }
    }
    sqlite3_finalize(st);
}

static int count_rows(int64_t changes, int64_t rows, struct err *err)
{
    if (changes != rows)
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
    char source[SOURCE_NAME];
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf sql = { 0 };
    if (attach(w, t, o->path, source, err) < 0)
        return -1;
    transfer_sql(&sql, t, &o->spec, source, "");
    if (sql.failed)
        return err_nomem(err);
    if (warehouse_prepare(w, sql.p, &st, "insert", err) < 0)
        return -1;
    int rc = warehouse_step(w, st, "insert", err);
    if (rc == 0) {
        count_slow(t, st, o->output->rows, slow);
        rc = count_rows(sqlite3_changes(w->db), o->output->rows, err);
    } else if ((err->sys & 0xff) == SQLITE_CONSTRAINT) {
        name_the_row(w, t, &o->spec, source, o->output->rows, err);
    }
    sqlite3_finalize(st);
    return rc;
}

/* A job with more files than can be attached: the rest is read through a connection of its own, row
 * by row into `insert`. */
static int load_apart(struct warehouse *w, const struct table *t, sqlite3_stmt *insert,
                      const struct load_output *o, struct err *err)
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
            sqlite3_bind_value(insert, i + 1, sqlite3_column_value(st, i));
        row++;
        if (warehouse_step(w, insert, "insert", err) < 0) {
            sqlite3_finalize(st);
            return err_in(err, "row %" PRId64 " of %" PRId64, row, o->output->rows);
        }
        changes += sqlite3_changes(w->db);
        rc = SQLITE_OK;
    }
    sqlite3_clear_bindings(insert);
    sqlite3_finalize(st);
    if (rc != SQLITE_DONE)
        return err_set(err, ERR_STAGED_DAMAGED, "read '%s': %s", o->path, sqlite3_errmsg(db));
    return count_rows(changes, o->output->rows, err);
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

/* What rows of an inline output go into, one by one. */
struct row_sink {
    sqlite3_stmt *insert;
    const struct columns *columns;
    const struct table_spec
        *keyed; /* upsert: the keys of the output are kept to count rows; or NULL */
    struct key_set keys;
    struct buf key;
};

static void key_add_value(struct buf *key, const struct record_value *v)
{
    buf_addc(key, (char)v->kind);
    if (v->kind == RECORD_TEXT || v->kind == RECORD_BLOB) {
        uint32_t n = (uint32_t)v->s.n;
        buf_add(key, &n, sizeof n);
        buf_add(key, v->s.p, v->s.n);
    } else {
        buf_add(key, &v->i, sizeof v->i);
    }
}

static int load_record(struct warehouse *w, struct row_sink *sink, struct str record,
                       struct err *err)
{
    struct record_reader r;
    struct record_value v;
    if (!record_open(&r, record))
        return damaged(err, "holds a row that is none");
    int n = 0, rc;
    buf_reset(&sink->key);
    while ((rc = record_next(&r, &v)) == 1 && n < sink->columns->n) {
        bind_value(sink->insert, n + 1, &v, sink->columns->v[n].type);
        if (sink->keyed && in_key(sink->keyed, n))
            key_add_value(&sink->key, &v);
        n++;
    }
    if (rc != 0 || n != sink->columns->n)
        return damaged(err, "holds a row that does not fit its columns");
    return warehouse_step(w, sink->insert, "insert", err);
}

/* The row that went in right now: a later row of the same key takes the place of an earlier one in
 * the counts, too. */
static int count_upserted(struct warehouse *w, struct row_sink *sink, struct load_counts *counts,
                          struct err *err)
{
    int known = sink->key.failed ? -1 : key_set_add(&sink->keys, buf_str(&sink->key));
    if (known < 0)
        return err_nomem(err);
    if (known)
        counts->unchanged++;
    else if (w->tally.met[1][0])
        counts->updated++;
    else
        counts->inserted++;
    w->tally.met[1][0] = 0;
    return 0;
}

static int inline_rows(struct warehouse *w, const struct table *t, const struct load_output *o,
                       struct row_sink *sink, struct load_counts *counts, int64_t *changes,
                       struct err *err)
{
    struct str in = buf_str(&o->output->inlined);
    uint64_t id = htole64(sqlite_staged_id(buf_str(&t->staged)));
    if ((int64_t)in.n != o->output->bytes || in.n < INLINE_HEAD || memcmp(in.p, INLINE_MAGIC, 4))
        return damaged(err, "is cut or of another version");
    if (memcmp(in.p + 4, &id, sizeof id))
        return damaged(err, "was staged for other columns");
    const uint8_t *p = (const uint8_t *)in.p + INLINE_HEAD, *end = (const uint8_t *)in.p + in.n;
    int64_t rows = 0;
    while (p < end) {
        uint64_t n;
        int head = varint_get(p, end, &n);
        if (!head || n > (uint64_t)(end - p - head))
            return damaged(err, "is cut");
        rows++;
        if (load_record(w, sink, (struct str){ (const char *)p + head, n }, err) < 0)
            return err_in(err, "row %" PRId64 " of %" PRId64, rows, o->output->rows);
        *changes += sqlite3_changes(w->db);
        if (sink->keyed && count_upserted(w, sink, counts, err) < 0)
            return -1;
        p += head + n;
    }
    return rows == o->output->rows ? 0 : damaged(err, "has another number of rows than was staged");
}

/* counts: may be NULL, then the rows go into a temporary table. */
static int load_inline(struct warehouse *w, const struct table *t, const struct load_output *o,
                       sqlite3_stmt *insert, struct load_counts *counts, struct err *err)
{
    struct row_sink sink = { .insert = insert, .columns = o->spec.columns };
    int64_t changes = 0;
    sink.keyed = counts && t->updates ? &o->spec : NULL;
    merge_tally_reset(&w->tally);
    int rc = inline_rows(w, t, o, &sink, counts, &changes, err);
    sqlite3_clear_bindings(insert);
    key_set_clear(&sink.keys);
    buf_clear(&sink.key);
    if (rc < 0 || !counts || sink.keyed)
        return rc < 0 || !counts ? rc : count_rows(changes, o->output->rows, err);
    counts->inserted += changes;
    counts->unchanged += o->output->rows - changes;
    return t->conflict.n ? 0 : count_rows(changes, o->output->rows, err);
}

/* ---- merges ---- */

/* The temporary table for rows of t, empty, and t->fill. */
static int make_temp(struct warehouse *w, struct table *t, int columns, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    if (t->temp.n) {
        buf_addf(&sql, "DELETE FROM %s", t->temp.p);
        return sql.failed ? err_nomem(err)
                          : warehouse_exec(w, sql.p, "empty the temporary table", err);
    }
    buf_addf(&t->temp, "temp." STAGED_TABLE "_%d", ++w->temps);
    buf_addf(&sql, "CREATE TABLE %s%s", t->temp.p,
             t->staged.p + strlen("CREATE TABLE " STAGED_TABLE));
    if (t->temp.failed || sql.failed)
        return err_nomem(err);
    if (warehouse_exec(w, sql.p, "make the temporary table", err) < 0)
        return -1;
    buf_reset(&sql);
    buf_addf(&sql, "INSERT INTO %s VALUES (", t->temp.p);
    for (int i = 0; i < columns; i++)
        buf_adds(&sql, i ? ", ?" : "?");
    buf_addc(&sql, ')');
    return sql.failed ? err_nomem(err)
                      : warehouse_prepare(w, sql.p, &t->fill, "fill the temporary table", err);
}

/* Where the rows of an output that are merged lie. */
static int merge_source(struct warehouse *w, struct table *t, const struct load_output *o,
                        char source[SOURCE_NAME], struct err *err)
{
    if (o->output->in_file && w->attached < SQLITE_FILES)
        return attach(w, t, o->path, source, err);
    if (make_temp(w, t, o->spec.columns->n, err) < 0)
        return -1;
    snprintf(source, SOURCE_NAME, "%s", t->temp.p);
    return o->output->in_file ? load_apart(w, t, t->fill, o, err)
                              : load_inline(w, t, o, t->fill, NULL, err);
}

static int load_merged(struct warehouse *w, struct table *t, const struct load_output *o,
                       const char *uid, const char *now, struct load_counts *counts,
                       struct err *err)
{
    char source[SOURCE_NAME];
    if (merge_source(w, t, o, source, err) < 0)
        return -1;
    if (undo_keeps_rows(&o->spec) && undo_keep(w, t, &o->spec, source, uid, err) < 0)
        return -1;
    int rc = merge_rows(w, t, &o->spec, source, o->output->rows, now, counts, err);
    if (rc < 0 && (err->sys & 0xff) == SQLITE_CONSTRAINT && t->conflict.n)
        name_the_row(w, t, &o->spec, source, o->output->rows, err);
    return rc;
}

int output_load(struct warehouse *w, struct table *t, const struct load_output *o, const char *uid,
                const char *now, struct load_counts *counts, int64_t *slow, struct err *err)
{
    bool in_file = o->output->in_file;
    if (in_file && pages_verify(o->path, o->output->bytes, o->output->checksum, err) < 0)
        return -1;
    if (mode_has_key(t->mode) && (in_file || !t->direct))
        return load_merged(w, t, o, uid, now, counts, err);
    if (!in_file)
        return load_inline(w, t, o, t->insert, counts, err);
    bool apart = w->attached >= SQLITE_FILES;
    if ((apart ? load_apart(w, t, t->insert, o, err) : load_attached(w, t, o, slow, err)) < 0)
        return -1;
    *slow += apart && !t->key.n ? o->output->rows : 0;
    counts->inserted += o->output->rows;
    return 0;
}
