/*
 * Other parts of the job as tables for SQL (lookup_parts=). See sql.h.
 *
 * Such a table is a temporary one of the step's own database, so that its pages go to scratch files beyond a cache; each step that
 * reads a part has its own copy, and a part that no statement names is not copied. It has what the table in the target is to
 * have of the job: with key= an index, and in modes that name rows by it one row of each key, the one that counts.
 *
 * All rows go in by one transaction that is never ended: nothing is journaled, for the pages are new, and all goes with the job.
 */
#include "pipeline/sql.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/db.h"
#include "pipeline/sql_value.h"

enum { CACHE_SHARE = 8 }; /* of [limits] memory, for the pages of the temporary tables of all steps of a job */

/* ("a", "b") */
static void put_key(struct buf *sql, const struct recipe *r)
{
    for (int i = 0; i < r->nkey; i++) {
        buf_adds(sql, i ? ", " : "(");
        db_quote(sql, r->key[i]);
    }
    buf_addc(sql, ')');
}

/* Rows of a key lie in its order, in one tree, and an integer is the place itself: looking up is then as fast as it can be. No target
 * stages a row with a null in its key. */
static void put_unique(struct buf *sql, const struct part_table *t)
{
    int first = columns_find(t->columns, str_of(t->recipe->key[0]));
    bool place = t->recipe->nkey == 1 && first >= 0 && t->columns->v[first].type == TYPE_INTEGER;
    buf_adds(sql, ", PRIMARY KEY ");
    put_key(sql, t->recipe);
    buf_adds(sql, place ? ");" : ") WITHOUT ROWID;");
}

static void put_table(struct buf *sql, const struct part_table *t)
{
    buf_adds(sql, "CREATE TEMP TABLE ");
    db_quote(sql, t->name);
    for (int i = 0; i < t->columns->n; i++) {
        buf_adds(sql, i ? ", " : " (");
        db_quote(sql, t->columns->v[i].name);
        buf_addf(sql, " %s", sql_type(&t->columns->v[i]));
    }
    if (mode_has_key(t->recipe->mode)) {
        put_unique(sql, t);
        return;
    }
    buf_adds(sql, ");");
    if (t->recipe->nkey) {
        AUTO(buf_clear) struct buf name = { 0 };
        buf_addf(&name, "key of %s", t->name);
        buf_adds(sql, "CREATE INDEX temp.");
        db_quote(sql, name.failed ? "" : name.p);
        buf_adds(sql, " ON ");
        db_quote(sql, t->name);
        put_key(sql, t->recipe);
    }
}

static int make(struct sql *s, struct part_table *t, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    put_table(&sql, t);
    if (sql.failed)
        return err_nomem(err);
    if (sqlite3_exec(s->db, sql.p, NULL, NULL, NULL) != SQLITE_OK) {
        sql_failed(s, err);
        return err_in(err, "the table of part '%s'", t->name);
    }
    bool *asked = calloc((size_t)t->columns->n + 1, sizeof *asked);
    if (!asked)
        return err_nomem(err);
    s->copies[s->ncopies++] = (struct sql_copy){ .sql = s, .table = t, .asked = asked };
    return 0;
}

void sql_parts_note(struct sql_copy *c, const char *column)
{
    int at = columns_find(c->table->columns, str_of(column));
    c->wanted = true;
    if (at >= 0)
        c->asked[at] = true;
}

/* What one step may take. */
static int64_t cache_bytes(const struct sql *s)
{
    const struct pipeline *p = s->part->pipeline;
    int steps = 0;
    for (int i = 0; i < p->nparts; i++)
        if (p->parts[i].reads)
            steps += step_where.wanted(&p->parts[i]) + step_transform.wanted(&p->parts[i]);
    return s->config->limits.memory / CACHE_SHARE / steps;
}

int sql_parts_make(struct sql *s, struct err *err)
{
    char text[64];
    for (int i = 0; i < s->part->pipeline->nparts; i++)
        if (s->part->recipe->reads >> i & 1 && make(s, &s->part->tables[i], err) < 0)
            return -1;
    if (!s->ncopies)
        return 0;
    snprintf(text, sizeof text, "PRAGMA temp.cache_size = -%lld", (long long)(cache_bytes(s) / 1024));
    return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : sql_failed(s, err);
}

/* ---- rows ---- */

/* A later row of a key takes the place of an earlier one, unless its version is older. */
static void put_version(struct buf *sql, const struct part_table *t)
{
    const struct recipe *r = t->recipe;
    buf_adds(sql, " ON CONFLICT ");
    put_key(sql, r);
    for (int i = 0; i < t->columns->n; i++) {
        buf_adds(sql, i ? ", " : " DO UPDATE SET ");
        db_quote(sql, t->columns->v[i].name);
        buf_adds(sql, " = excluded.");
        db_quote(sql, t->columns->v[i].name);
    }
    buf_adds(sql, " WHERE ");
    db_quote(sql, r->version);
    buf_adds(sql, " IS NULL OR excluded.");
    db_quote(sql, r->version);
    buf_adds(sql, " >= ");
    db_quote(sql, t->name);
    buf_addc(sql, '.');
    db_quote(sql, r->version);
}

static void put_insert(struct buf *sql, const struct part_table *t)
{
    const struct recipe *r = t->recipe;
    bool replaces = mode_has_key(r->mode) && r->mode != MODE_INSERT_IGNORE;
    buf_adds(sql, r->mode == MODE_INSERT_IGNORE ? "INSERT OR IGNORE INTO temp." :
                  replaces && !r->version ? "INSERT OR REPLACE INTO temp." : "INSERT INTO temp.");
    db_quote(sql, t->name);
    for (int i = 0; i < t->columns->n; i++)
        buf_addf(sql, "%s?%d", i ? ", " : " VALUES (", i + 1);
    buf_addc(sql, ')');
    if (replaces && r->version)
        put_version(sql, t);
}

/* Not of a column that nothing looks at: it is NULL then. */
static int fits(const struct sql_copy *c, const struct value *row, struct err *err)
{
    const struct columns *columns = c->table->columns;
    for (int i = 0; i < columns->n; i++)
        if ((c->asked[i] || c->sql->joins_by_name) && !sql_fits(&columns->v[i], &row[i]))
            return sql_unfit(&columns->v[i], err);
    return 0;
}

static int put_row(struct part_reader *reader, const struct value *row, struct err *err)
{
    struct sql_copy *c = (struct sql_copy *)reader;
    const struct columns *columns = c->table->columns;
    int rc = SQLITE_OK;
    c->sql->moves++;
    if (fits(c, row, err) < 0)
        return err_in(err, "rows of part '%s' for '%s'", c->table->name, c->sql->part->recipe->name);
    for (int i = 0; i < columns->n && rc == SQLITE_OK; i++)
        rc = sql_bind(c->insert, i + 1, &columns->v[i], &row[i]);
    if (rc == SQLITE_OK && (rc = sqlite3_step(c->insert)) == SQLITE_DONE)
        rc = sqlite3_reset(c->insert);
    if (rc == SQLITE_OK)
        return 0;
    sql_failed(c->sql, err);
    return err_in(err, "rows of part '%s' for '%s'", c->table->name, c->sql->part->recipe->name);
}

static int begin(struct sql_copy *c, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    const struct recipe *r = c->table->recipe;
    sqlite3 *db = c->sql->db;
    for (int i = 0; i < r->nkey; i++)
        sql_parts_note(c, r->key[i]);
    if (r->version)
        sql_parts_note(c, r->version);
    put_insert(&sql, c->table);
    if (sql.failed)
        return err_nomem(err);
    if ((sqlite3_get_autocommit(db) && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK) ||
        sqlite3_prepare_v3(db, sql.p, (int)sql.n, SQLITE_PREPARE_PERSISTENT, &c->insert, NULL) != SQLITE_OK)
        return sql_failed(c->sql, err);
    c->reader = (struct part_reader){ put_row, c->table->readers };
    c->table->readers = &c->reader;
    return 0;
}

int sql_parts_load(struct sql *s, struct err *err)
{
    for (int i = 0; i < s->ncopies; i++)
        if (s->copies[i].wanted && begin(&s->copies[i], err) < 0)
            return err_in(err, "part '%s'", s->copies[i].table->name);
    return 0;
}

void sql_parts_close(struct sql *s)
{
    for (int i = 0; i < s->ncopies; i++) {
        sqlite3_finalize(s->copies[i].insert);
        free(s->copies[i].asked);
    }
}
