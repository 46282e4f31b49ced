/* Undo on PostgreSQL; see the header. */
#include "target/postgres_undo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "target/undo.h"

/* What stands for the words of a step of SQL: :job (its uid), :name (the table's name) and :note (the id of its note) as literals,
 * :table the table, :rows the same where its rows are read or taken out, :image a row t of it as it is kept. */
struct places {
    struct buf job, name, table, image;
    bool only; /* tables that inherit from it are others */
    const char *note;
};

static void places_clear(struct places *p)
{
    buf_clear(&p->job);
    buf_clear(&p->name);
    buf_clear(&p->table);
    buf_clear(&p->image);
}

static int places_init(struct places *p, PGconn *pg, const char *uid, const char *table, struct err *err)
{
    *p = (struct places){ 0 };
    pg_literal(&p->job, pg, uid);
    pg_literal(&p->name, pg, table);
    buf_adds(&p->table, table);
    if (!p->job.failed && !p->name.failed && !p->table.failed)
        return 0;
    places_clear(p);
    return err_nomem(err);
}

static void fill(struct buf *out, const char *sql, const struct places *p)
{
    AUTO(buf_clear) struct buf rows = { 0 };
    buf_addf(&rows, "%s%s", p->only ? "ONLY " : "", p->table.p);
    const char *const words[][2] = {
        { ":job", p->job.p }, { ":name", p->name.p }, { ":note", p->note ? p->note : "0" }, { ":table", p->table.p },
        { ":rows", rows.p },
        { ":image", p->image.n ? p->image.p : "NULL" }
    };
    AUTO(buf_clear) struct buf last = { 0 };
    buf_adds(out, sql);
    for (size_t i = 0; i < COUNT_OF(words) && !out->failed && !last.failed; i++) {
        struct buf text = *out;
        *out = last;
        last = text;
        buf_reset(out);
        sql_fill(out, last.p, words[i][0], words[i][1]);
    }
    out->failed |= last.failed || rows.failed;
}

static PGresult *step(PGconn *pg, const char *sql, const struct places *p, const char *what, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    fill(&text, sql, p);
    if (!text.failed)
        return pg_exec(pg, text.p, what, err);
    (void)err_nomem(err);
    return NULL;
}

static int run_step(PGconn *pg, const char *sql, const struct places *p, const char *what, struct err *err)
{
    AUTO(result_clearp) PGresult *r = step(pg, sql, p, what, err);
    return r ? 0 : -1;
}

/*
 * :image, of the columns that the table has now: each by its name with its value as text, which every type reads back as it was (as
 * JSON, a null of json would be none, and -0 would be 0). No name of a column can stand for another thing in it.
 */
static int find_image(PGconn *pg, struct places *p, struct err *err)
{
    AUTO(result_clearp) PGresult *r =
        step(pg, "SELECT 1 FROM :table LIMIT 0;" /* nobody adds a column from here on */
                 "SELECT format('jsonb_object(ARRAY[%s], ARRAY[%s])', string_agg(quote_literal(attname), ', ' ORDER BY attnum),"
                 " string_agg(format('t.%I::text', attname), ', ' ORDER BY attnum)) FROM pg_attribute"
                 " WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped",
             p, "look at the table", err);
    if (!r)
        return -1;
    buf_adds(&p->image, PQgetvalue(r, 0, 0));
    return p->image.failed ? err_nomem(err) : 0;
}

/* ---- keeping ---- */

void pg_watch_clear(struct pg_watch *w)
{
    PQclear(w->tables);
    *w = (struct pg_watch){ 0 };
}

bool pg_is_watched(const struct pg_watch *w, const char *table)
{
    for (int i = 0; w->tables && i < PQntuples(w->tables); i++)
        if (!strcmp(PQgetvalue(w->tables, i, 0), table))
            return true;
    return w->all;
}

int pg_undo_begin(PGconn *pg, struct pg_watch *w, struct err *err)
{
    pg_watch_clear(w);
    AUTO(result_clearp) PGresult *r = pg_exec(pg, "BEGIN; " PG_SETTINGS "SELECT to_regclass('qetl_undo') IS NOT NULL", "begin", err);
    if (!r)
        return -1;
    w->there = *PQgetvalue(r, 0, 0) == 't';
    if (!w->there)
        return 0;
    w->tables = pg_exec(pg, "SELECT DISTINCT table_name FROM qetl_undo WHERE state = 'kept'", "look for undo", err);
    return w->tables ? 0 : -1;
}

static const char notes_sql[] =
    "CREATE TABLE IF NOT EXISTS qetl_undo (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uid text NOT NULL,"
    " table_name text NOT NULL, mode text NOT NULL, key_columns jsonb NOT NULL, inserted bigint NOT NULL,"
    " state text NOT NULL CHECK (state IN ('kept', 'none', 'expired')), kept_until timestamp with time zone NOT NULL,"
    " UNIQUE (uid, table_name));"
    "CREATE INDEX IF NOT EXISTS qetl_undo_table ON qetl_undo (table_name, state)";
static const char rows_sql[] =
    "CREATE TABLE IF NOT EXISTS qetl_undo_row (uid text NOT NULL, table_name text NOT NULL, key jsonb, before jsonb, after jsonb);"
    "CREATE UNIQUE INDEX IF NOT EXISTS qetl_undo_row_key ON qetl_undo_row (uid, table_name, key)";

int pg_undo_prepare(PGconn *pg, struct pg_watch *w, bool wanted, struct schema_diff *diff, struct err *err)
{
    static const char what[] = "make the tables for undo";
    w->made = wanted && !w->there;
    w->all |= wanted;
    if (!w->made)
        return 0;
    schema_diff_own(diff, "qetl_undo", notes_sql);
    schema_diff_own(diff, "qetl_undo_row", rows_sql);
    w->there = pg_run(pg, PG_ALONE("qetl_undo"), what, err) == 0 && pg_run(pg, notes_sql, what, err) == 0 && pg_run(pg, rows_sql, what, err) == 0;
    return w->there ? 0 : -1;
}

void pg_undo_rolled_back(struct pg_watch *w)
{
    if (w->made)
        w->there = w->all = w->made = false;
}

/* An undo that is under way is over behind it, and of the rows that are kept, or removed, nobody changes any. Who only reads goes on. */
static const char lock_sql[] = "LOCK TABLE :table IN SHARE ROW EXCLUSIVE MODE";

int pg_undo_before(PGconn *pg, const char *uid, const struct pg_table *t, struct err *err)
{
    AUTO(places_clear) struct places p = { 0 };
    if (!t->undo_before.n)
        return 0;
    return places_init(&p, pg, uid, t->noted.p, err) < 0 || run_step(pg, lock_sql, &p, "lock the table", err) < 0 || find_image(pg, &p, err) < 0
               ? -1
               : run_step(pg, t->undo_before.p, &p, "keep rows for undo", err);
}

/* ["id", "day"] */
static void key_columns(struct buf *out, PGconn *pg, const struct pg_table *t, const struct table_spec *spec)
{
    buf_adds(out, "jsonb_build_array(");
    for (int k = 0; k < spec->nkey; k++) {
        buf_adds(out, k ? ", " : "");
        pg_literal(out, pg, t->key_names[k]);
        buf_adds(out, "::text");
    }
    buf_addc(out, ')');
}

int pg_undo_after(PGconn *pg, const char *uid, const struct pg_table *t, const struct table_spec *spec, int64_t inserted,
                  struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    AUTO(places_clear) struct places p = { 0 };
    char mode[UNDO_MODE];
    undo_mode_text(mode, spec);
    buf_addf(&sql, "INSERT INTO qetl_undo (uid, table_name, mode, key_columns, inserted, state, kept_until) VALUES (:job, :name, '%s', ", mode);
    key_columns(&sql, pg, t, spec);
    buf_addf(&sql, ", %" PRId64 ", '%s', clock_timestamp() + interval '%" PRId64 " milliseconds')", inserted,
             spec->undo_ms ? "kept" : "none", spec->undo_ms);
    buf_adds(&sql, " ON CONFLICT (uid, table_name) DO UPDATE SET inserted = qetl_undo.inserted + EXCLUDED.inserted;");
    buf_add(&sql, t->undo_after.p, t->undo_after.n);
    if (sql.failed)
        return err_nomem(err);
    return places_init(&p, pg, uid, t->noted.p, err) < 0 || (t->undo_after.n && find_image(pg, &p, err) < 0)
               ? -1
               : run_step(pg, sql.p, &p, "keep rows for undo", err);
}

int pg_undo_prune(PGconn *pg, struct err *err)
{
    AUTO(result_clearp) PGresult *r = pg_exec(pg, "SELECT to_regclass('qetl_undo') IS NOT NULL", "look for undo", err);
    if (!r)
        return -1;
    if (*PQgetvalue(r, 0, 0) != 't')
        return 0;
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, PG_SETTINGS);
    sql_fill(&sql, undo_forget_sql, ":name", "table_name"); /* of all tables */
    if (sql.failed)
        return err_nomem(err);
    if (pg_run(pg,
               PG_SETTINGS
               "WITH old AS (UPDATE qetl_undo SET state = 'expired' WHERE state = 'kept' AND kept_until < clock_timestamp()"
               " RETURNING uid, table_name)"
               " DELETE FROM qetl_undo_row u USING old WHERE u.uid = old.uid AND u.table_name = old.table_name",
               "forget what is too old for undo", err) < 0)
        return -1;
    return pg_run(pg, sql.p, "forget what is too old for undo", err);
}

/* ---- taking back ---- */

/* One table that the job put rows into, as it was noted. */
struct kept {
    struct places p;
    enum load_mode mode;
    const char *keys; /* JSON array */
    int64_t inserted;
    struct buf columns; /* of the rows that are kept: a literal, JSON array of the names */
    bool more;          /* the table has others, too */
};

static void kept_clear(struct kept *k)
{
    places_clear(&k->p);
    buf_clear(&k->columns);
}

/*
 * What wrote the rows that the job left: its own savepoint, which its row in the ledger is of as well, and each undo, which put back what
 * later jobs had changed. Whatever else writes a row gives it another xmin; freezing, VACUUM FULL and CLUSTER do not.
 */
#define WRITERS "(SELECT xmin FROM qetl_load WHERE uid = :job OR undone_at IS NOT NULL)"

static int refuse(const struct kept *k, struct err *err, const char *why)
{
    return err_set(err, ERR_STATE, "table '%s' %s", k->p.table.p, why);
}

static int refuse_later(PGconn *pg, const struct kept *k, const char *which, const char *why, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    undo_later_sql(&sql, which, "text");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = step(pg, sql.p, &k->p, "look for later jobs", err);
    if (!r)
        return -1;
    return PQntuples(r) ? undo_refuse_later(err, PQgetvalue(r, 0, 0), k->p.table.p, why) : 0;
}

static int check_later(PGconn *pg, const struct kept *k, struct err *err)
{
    static const char marked[] = "EXISTS (SELECT 1 FROM qetl_undo_row AS r WHERE r.uid = n.uid AND r.table_name = n.table_name"
                                 " AND r.before ->> '" JOB_COLUMN "' = :job)";
    for (const struct undo_rule *r = undo_rules; r < undo_rules + UNDO_RULES; r++)
        if ((r->of >> k->mode & 1) && refuse_later(pg, k, r->which, r->why, err) < 0)
            return -1;
    return k->mode == MODE_REPLACE ? 0 : refuse_later(pg, k, marked, undo_touched, err);
}

/* SQL that counts the job's rows that are not as it left them. */
static int check_changed(PGconn *pg, const struct kept *k, const char *sql, struct err *err)
{
    AUTO(result_clearp) PGresult *r = step(pg, sql, &k->p, "compare the rows", err);
    if (!r)
        return -1;
    return pg_number(r, 0) ? err_set(err, ERR_STATE, "table '%s': %" PRId64 " rows that the job wrote were changed since, or written anew",
                                     k->p.table.p, pg_number(r, 0))
                           : 0;
}

static int undo_append(PGconn *pg, const struct kept *k, struct load_counts *counts, struct err *err)
{
    if (check_changed(pg, k, "SELECT count(*) FROM :rows WHERE " JOB_COLUMN " = :job AND xmin NOT IN " WRITERS, err) < 0)
        return -1;
    AUTO(result_clearp) PGresult *r = step(pg, "DELETE FROM :rows WHERE " JOB_COLUMN " = :job", &k->p, "take the rows out", err);
    if (!r)
        return -1;
    if (pg_changed(r) != k->inserted)
        return undo_refuse_fewer(err, k->p.table.p, pg_changed(r), k->inserted);
    counts->removed += k->inserted;
    return 0;
}

/* Which columns are kept? All are still there, or it is refused: what stood in them would be lost. */
static int find_columns(PGconn *pg, struct kept *k, struct err *err)
{
    static const char append[] = "SELECT '" JOB_COLUMN "'::text AS name";
    static const char one[] = "SELECT jsonb_object_keys(before) AS name FROM (SELECT before FROM qetl_undo_row WHERE uid = :job"
                              " AND table_name = :name LIMIT 1) r"; /* one statement kept them all */
    static const char all[] = "SELECT jsonb_object_keys(before) AS name FROM qetl_undo_row WHERE uid = :job AND table_name = :name"
                              " UNION SELECT jsonb_object_keys(after) FROM qetl_undo_row WHERE uid = :job AND table_name = :name";
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "WITH k AS (%s), c AS (SELECT attname::text AS name FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0"
                   " AND NOT attisdropped AND (attgenerated = '' OR attname::text IN (SELECT name FROM k)))"
                   " SELECT (SELECT string_agg(quote_ident(name), ', ' ORDER BY name) FROM k WHERE name NOT IN (SELECT name FROM c)),"
                   " (SELECT coalesce(jsonb_agg(name), '[]') FROM k), EXISTS (SELECT 1 FROM c WHERE name NOT IN (SELECT name FROM k))",
             k->mode == MODE_REPLACE ? one : k->mode == MODE_UPSERT ? all : append);
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = step(pg, sql.p, &k->p, "look at the table", err);
    if (!r)
        return -1;
    if (!PQgetisnull(r, 0, 0))
        return undo_refuse_lost(err, k->p.table.p, PQgetvalue(r, 0, 0));
    k->more = *PQgetvalue(r, 0, 2) == 't';
    pg_literal(&k->columns, pg, PQgetvalue(r, 0, 1));
    return k->columns.failed ? err_nomem(err) : 0;
}

/* Puts back what was there. Columns that are generated come by themselves, and so do the defaults of those that came since; values
 * become the type that the column has. */
static int put_back(PGconn *pg, const struct kept *k, int64_t *rows, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, which = { 0 };
    buf_addf(&which, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),"
                     " string_agg(format('CAST(before->>%%L AS %%s)', attname, format_type(atttypid, -1)), ', ' ORDER BY attnum) FROM pg_attribute"
                     " WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
                     " AND %s::jsonb ? attname::text",
             k->columns.p);
    if (which.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *columns = step(pg, which.p, &k->p, "look at the table", err);
    if (!columns)
        return -1;
    if (PQgetisnull(columns, 0, 0)) /* nothing was there */
        return 0;
    buf_addf(&sql, "INSERT INTO :table (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM qetl_undo_row WHERE uid = :job AND table_name = :name"
                   " AND before IS NOT NULL AND before IS DISTINCT FROM after",
             PQgetvalue(columns, 0, 0), PQgetvalue(columns, 0, 1));
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = step(pg, sql.p, &k->p, "put the rows back", err);
    if (!r)
        return -1;
    *rows += pg_changed(r);
    return 0;
}

static int undo_replace(PGconn *pg, const struct kept *k, struct load_counts *counts, struct err *err)
{
    if (check_changed(pg, k, "SELECT count(*) FROM :rows WHERE xmin NOT IN " WRITERS, err) < 0)
        return -1;
    AUTO(result_clearp) PGresult *r = step(pg, "DELETE FROM :rows", &k->p, "take the rows out", err);
    if (!r)
        return -1;
    if (pg_changed(r) != k->inserted)
        return refuse(k, err, "has not the rows that the job left: it was changed since");
    counts->removed += pg_changed(r);
    return put_back(pg, k, &counts->inserted, err);
}

/* How a column of the key is reached, for format(): %1$I is its name, %2$s its place in the key, %3$s its type, %4$L its name as text, %5$s
 * " COLLATE ..." where the column has another collation than its type. */
static const char key_in_table[] = "t.%1$I = CAST(u.key->>%2$s AS %3$s)",
                  key_in_image[] = "CAST(i.image->>%4$L AS %3$s)%5$s = CAST(u.key->>%2$s AS %3$s)%5$s";

/* One such condition a column, with AND between, from the names that were noted and the types that the table has. */
static int key_condition(PGconn *pg, const struct kept *k, const char *how, struct buf *out, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "SELECT string_agg(format('%s', n.name, n.ord - 1, format_type(a.atttypid, -1), n.name, (SELECT ' COLLATE ' || quote_ident(o.nspname)"
                   " || '.' || quote_ident(l.collname) FROM pg_collation l JOIN pg_namespace o ON o.oid = l.collnamespace WHERE l.oid = a.attcollation"
                   " AND l.oid <> y.typcollation)), ' AND ') FROM jsonb_array_elements_text(", how);
    pg_literal(&sql, pg, k->keys);
    buf_adds(&sql, ") WITH ORDINALITY AS n(name, ord) JOIN pg_attribute a ON a.attrelid = to_regclass(:name) AND a.attname = n.name"
                   " JOIN pg_type y ON y.oid = a.atttypid");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = step(pg, sql.p, &k->p, "look at the key", err);
    if (!r)
        return -1;
    if (PQgetisnull(r, 0, 0))
        return refuse(k, err, "has lost its key columns");
    buf_adds(out, PQgetvalue(r, 0, 0));
    return out->failed ? err_nomem(err) : 0;
}

/* Later jobs that met a key of this one, whether they changed its row or found it as they wanted it: without the row their own would be
 * lost. */
static int refuse_touched(PGconn *pg, const struct kept *k, struct err *err)
{
    AUTO(buf_clear) struct buf which = { 0 };
    buf_adds(&which, "EXISTS (SELECT 1 FROM qetl_undo_row AS u CROSS JOIN qetl_undo_row AS r CROSS JOIN LATERAL"
                     " (VALUES (r.before), (r.after)) AS i(image) WHERE u.uid = :job AND u.table_name = :name AND r.uid = n.uid"
                     " AND r.table_name = :name AND ");
    if (key_condition(pg, k, key_in_image, &which, err) < 0)
        return -1;
    buf_addc(&which, ')');
    return which.failed ? err_nomem(err) : refuse_later(pg, k, which.p, undo_touched, err);
}

static int undo_upsert(PGconn *pg, const struct kept *k, struct load_counts *counts, struct err *err)
{
    AUTO(buf_clear) struct buf key = { 0 }, check = { 0 }, take = { 0 };
    if (refuse_touched(pg, k, err) < 0 || key_condition(pg, k, key_in_table, &key, err) < 0)
        return -1;
    /* the values of columns that came since are not kept: rows that were written since may have some */
    buf_addf(&check, "SELECT count(*) FROM qetl_undo_row u LEFT JOIN :rows t ON %s WHERE u.uid = :job AND u.table_name = :name AND"
                     " CASE WHEN t.tableoid IS NULL THEN u.after IS NOT NULL ELSE %s END",
             key.p, k->more ? "(:image @> u.after) IS NOT TRUE OR (u.before IS DISTINCT FROM u.after AND t.xmin NOT IN " WRITERS ")"
                            : ":image IS DISTINCT FROM u.after");
    buf_addf(&take, "DELETE FROM :rows t USING qetl_undo_row u WHERE u.uid = :job AND u.table_name = :name AND"
                    " u.before IS DISTINCT FROM u.after AND %s", key.p);
    if (check.failed || take.failed)
        return err_nomem(err);
    if (check_changed(pg, k, check.p, err) < 0)
        return -1;
    AUTO(result_clearp) PGresult *r = step(pg, take.p, &k->p, "take the rows out", err);
    if (!r)
        return -1;
    int64_t back = 0;
    if (put_back(pg, k, &back, err) < 0)
        return -1;
    counts->inserted += back;
    counts->removed += pg_changed(r);
    return 0;
}

/* Rows that an upsert of the job kept beside a part of another mode. */
static int refuse_mixed(PGconn *pg, const struct kept *k, struct err *err)
{
    if (k->mode == MODE_UPSERT)
        return 0;
    AUTO(result_clearp) PGresult *r =
        step(pg, "SELECT 1 FROM qetl_undo_row WHERE uid = :job AND table_name = :name AND key IS NOT NULL LIMIT 1", &k->p, "look for parts", err);
    return !r ? -1 : PQntuples(r) ? undo_refuse_mixed(err, k->p.table.p) : 0;
}

static int undo_table(PGconn *pg, struct kept *k, struct load_counts *counts, struct err *err)
{
    AUTO(result_clearp) PGresult *there = step(pg, "SELECT relkind FROM pg_class WHERE oid = to_regclass(:name)", &k->p, "look for the table", err);
    if (!there)
        return -1;
    if (PQntuples(there) == 0)
        return undo_refuse_gone(err, k->p.table.p);
    k->p.only = *PQgetvalue(there, 0, 0) != 'p';
    if (run_step(pg, lock_sql, &k->p, "lock the table", err) < 0 || check_later(pg, k, err) < 0 ||
        refuse_mixed(pg, k, err) < 0 ||
        find_columns(pg, k, err) < 0 || find_image(pg, &k->p, err) < 0)
        return -1;
    if (k->mode == MODE_REPLACE)
        return undo_replace(pg, k, counts, err);
    if (k->mode == MODE_UPSERT)
        return undo_upsert(pg, k, counts, err);
    return undo_append(pg, k, counts, err);
}

static int undo_noted(PGconn *pg, const char *uid, const PGresult *notes, int i, struct load_counts *counts, struct err *err)
{
    AUTO(kept_clear) struct kept k = { .mode = undo_mode_of(PQgetvalue(notes, i, 1)), .keys = PQgetvalue(notes, i, 2),
                                       .inserted = strtoll(PQgetvalue(notes, i, 3), NULL, 10) };
    const char *table = PQgetvalue(notes, i, 0), *state = PQgetvalue(notes, i, 4);
    if (!strcmp(state, "none"))
        return undo_refuse_unkept(err, table);
    if (!strcmp(state, "expired"))
        return undo_refuse_late(err, table, PQgetvalue(notes, i, 5));
    if (k.mode == MODES)
        return undo_refuse_unknown(err, table);
    if (places_init(&k.p, pg, uid, table, err) < 0)
        return -1;
    k.p.note = PQgetvalue(notes, i, 6);
    return undo_table(pg, &k, counts, err);
}

/* What the ledger says: 1 it is in, 0 it is undone or (*known is false) not known. */
static int ask_ledger(PGconn *pg, const struct places *p, bool *known, struct err *err)
{
    AUTO(result_clearp) PGresult *r =
        step(pg, "SELECT undone_at FROM :table WHERE uid = :job FOR UPDATE", p, "ask the ledger", err);
    if (!r)
        return -1;
    *known = PQntuples(r) > 0;
    return *known && PQgetisnull(r, 0, 0);
}

int pg_undo(PGconn *pg, const struct pg_watch *w, const char *uid, struct load_counts *counts, struct err *err)
{
    AUTO(places_clear) struct places p = { 0 };
    bool known = false;
    *counts = (struct load_counts){ 0 };
    if (places_init(&p, pg, uid, "qetl_load", err) < 0)
        return -1;
    int in = ask_ledger(pg, &p, &known, err);
    if (in <= 0)
        return in < 0 ? -1 : known;
    if (!w->there)
        return undo_refuse_unkept(err, NULL);
    AUTO(result_clearp) PGresult *notes =
        step(pg, "SELECT table_name, mode, key_columns, inserted, CASE WHEN state = 'kept' AND kept_until < clock_timestamp()"
                 " THEN 'expired' ELSE state END, date_trunc('second', kept_until), id FROM qetl_undo WHERE uid = :job ORDER BY id DESC",
             &p, "look for what was kept", err);
    if (!notes)
        return -1;
    if (PQntuples(notes) == 0)
        return undo_refuse_unkept(err, NULL);
    for (int i = 0; i < PQntuples(notes); i++)
        if (undo_noted(pg, uid, notes, i, counts, err) < 0)
            return -1;
    return run_step(pg,
                    "UPDATE qetl_load SET undone_at = clock_timestamp() WHERE uid = :job; DELETE FROM qetl_undo_row WHERE uid = :job;"
                    " DELETE FROM qetl_undo WHERE uid = :job",
                    &p, "forget what was kept", err) < 0 ? -1 : 1;
}
