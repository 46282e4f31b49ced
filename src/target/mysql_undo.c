/* Undo on MariaDB and MySQL; see the header. */
#include "target/mysql_undo.h"

#include <inttypes.h>
#include <mysqld_error.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"
#include "target/mysql_image.h"
#include "target/undo.h"

enum { PRUNE_MS = 3600000 };
#define KEPT_KEYS "qetl_undo_key" /* keys of the rows that are kept, as the table has them, and the id of each; temporary */

static const char notes_sql[] =
    "CREATE TABLE IF NOT EXISTS qetl_undo (id BIGINT AUTO_INCREMENT PRIMARY KEY, uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin"
    " NOT NULL, table_name VARCHAR(160) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, mode VARCHAR(16) NOT NULL, inserted BIGINT"
    " NOT NULL, state VARCHAR(8) NOT NULL CHECK (state IN ('kept', 'none', 'expired')), kept_until DATETIME(6) NOT NULL,"
    " key_columns LONGTEXT CHARACTER SET utf8mb4, kept_columns LONGTEXT CHARACTER SET utf8mb4, kept_forms TEXT CHARACTER SET ascii, digest_after DECIMAL(40),"
    " UNIQUE (uid, table_name), KEY (table_name, state)) ENGINE=InnoDB";
static const char notes_update_sql[] =
    "ALTER TABLE qetl_undo ADD COLUMN key_columns LONGTEXT CHARACTER SET utf8mb4, ADD COLUMN kept_columns LONGTEXT CHARACTER SET utf8mb4,"
    " ADD COLUMN kept_forms TEXT CHARACTER SET ascii, ADD COLUMN digest_after DECIMAL(40)";
static const char rows_sql[] =
    "CREATE TABLE IF NOT EXISTS qetl_undo_row (id BIGINT AUTO_INCREMENT PRIMARY KEY, uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin"
    " NOT NULL, table_name VARCHAR(160) NOT NULL, row_key LONGTEXT, row_before LONGTEXT, row_after LONGTEXT,"
    " key_hash BINARY(32) AS (UNHEX(SHA2(row_key, 256))) STORED, KEY (uid, table_name, key_hash)) ENGINE=InnoDB"
    " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/* ---- SQL of one table of a job ---- */

/* One table that the job put rows into. Texts of a note are those of the result that it was read from. */
struct kept {
    const char *uid, *table;                           /* `schema`.`table` */
    const char *id, *state, *until;
    enum load_mode mode;
    const char *key_columns, *kept_columns, *forms; /* for my_image_pick(); NULL: none */
    const char *digest;
    int64_t inserted;
    struct my_image row, key; /* the columns that are kept, and of them those of the key */
};

static void kept_clear(struct kept *k)
{
    my_image_clear(&k->row);
    my_image_clear(&k->key);
}

static void word_of(struct buf *out, MYSQL *my, const struct kept *k, const char *word)
{
    if (!strcmp(word, ":row"))
        my_image_sql(out, &k->row, "t.");
    else if (!strcmp(word, ":key"))
        my_image_sql(out, &k->key, "t.");
    else if (!strcmp(word, ":staged_key"))
        my_image_sql(out, &k->key, "m.");
    else if (!strcmp(word, ":note"))
        buf_adds(out, k->id ? k->id : "0");
    else if (!strcmp(word, ":table"))
        buf_adds(out, k->table ? k->table : "");
    else
        my_literal(out, my, !strcmp(word, ":job") ? k->uid : k->table ? k->table : "");
}

/* SQL with its words filled in; NULL: *err. The caller clears the buf. :name comes last: sql_fill() knows no backslash in quotes. */
static const char *filled(struct buf *out, MYSQL *my, const char *sql, const struct kept *k, struct err *err)
{
    static const char *const words[] = { ":row", ":key", ":staged_key", ":note", ":table", ":job", ":name" };
    AUTO(buf_clear) struct buf last = { 0 };
    bool failed = false;
    buf_adds(out, sql);
    for (size_t i = 0; i < COUNT_OF(words) && !out->failed && !failed; i++) {
        AUTO(buf_clear) struct buf is = { 0 };
        word_of(&is, my, k, words[i]);
        buf_clear(&last);
        last = *out;
        *out = (struct buf){ 0 };
        failed = is.failed;
        if (!failed)
            sql_fill(out, last.p, words[i], is.n ? is.p : "");
    }
    if (!failed && !out->failed)
        return out->p;
    (void)err_nomem(err);
    return NULL;
}

static int run(MYSQL *my, const char *sql, const struct kept *k, const char *what, int64_t *changed, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    const char *p = filled(&text, my, sql, k, err);
    if (!p || my_run(my, p, what, err) < 0)
        return -1;
    if (changed)
        *changed = (int64_t)mysql_affected_rows(my);
    return 0;
}

static MYSQL_RES *ask(MYSQL *my, const char *sql, const struct kept *k, const char *what, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    const char *p = filled(&text, my, sql, k, err);
    return p ? my_select(my, p, what, err) : NULL;
}

/* ---- keeping ---- */

static int prune(MYSQL *my, bool rows, struct err *err)
{
    static const char rows_old_sql[] = "DELETE r FROM qetl_undo n JOIN qetl_undo_row r ON r.uid = n.uid AND r.table_name = n.table_name WHERE n.state <> 'kept'";
    /* undo_forget_sql for a server that does not take the table that it deletes from in a subquery */
    static const char forget_sql[] =
        "DELETE n FROM qetl_undo n LEFT JOIN qetl_undo k ON k.table_name = n.table_name AND k.state = 'kept' AND k.id < n.id"
        " LEFT JOIN qetl_undo o ON o.uid = n.uid AND o.state = 'kept' WHERE n.state <> 'kept' AND k.id IS NULL AND o.id IS NULL";
    static const char what[] = "forget what is too old for undo";
    return my_run(my, "UPDATE qetl_undo SET state = 'expired' WHERE state = 'kept' AND kept_until < now(6)", what, err) < 0 ||
                   (rows && my_run(my, rows_old_sql, what, err) < 0)
               ? -1
               : my_run(my, forget_sql, what, err);
}

static void take_stock(struct my_undo *u, bool there, bool old, bool row_there)
{
    u->there = there;
    u->old = there && old;
    u->row_there = row_there;
    u->rows = there && !u->old && row_there;
}

/* DDL is done statement by statement: each is run when it is wanted. Where the user may not, jobs that want to keep rows say what to do. */
static void bring_up(MYSQL *my, struct my_undo *u)
{
    struct err said;
    static const char what[] = "bring the notes for undo up to date";
    bool row_there = u->row_there || my_run(my, rows_sql, what, &said) == 0, old = u->old && my_run(my, notes_update_sql, what, &said) < 0;
    take_stock(u, u->there, old, row_there);
}

int my_undo_begin(MYSQL *my, struct my_undo *u, struct err *err)
{
    int64_t n[3], now = sys_mono_ms();
    if (my_numbers(my, "SELECT sum(table_name = 'qetl_undo' AND column_name = 'id'), sum(table_name = 'qetl_undo' AND column_name = 'digest_after'),"
                       " sum(table_name = 'qetl_undo_row' AND column_name = 'id') FROM information_schema.columns"
                       " WHERE table_schema = database() AND table_name IN ('qetl_undo', 'qetl_undo_row')",
                   "look for undo", COUNT_OF(n), n, err) < 0)
        return -1;
    take_stock(u, n[0], !n[1], n[2]);
    if (!u->there || now < u->prune_mono_ms)
        return 0;
    u->prune_mono_ms = now + PRUNE_MS;
    if (!u->rows)
        bring_up(my, u);
    return prune(my, u->rows, err);
}

int my_undo_prepare(const struct my_tables *tables, struct my_undo *u, const struct load_job *job, struct err *err)
{
    static const char what[] = "make the tables for undo";
    if (u->rows || !undo_wanted(job))
        return 0;
    if (u->old)
        return err_set(err, ERR_TARGET, "qetl_undo is that of an earlier version, and could not be altered; run: %s", notes_update_sql);
    if (!u->there)
        schema_diff_own(tables->diff, "qetl_undo", notes_sql);
    if (!u->row_there)
        schema_diff_own(tables->diff, "qetl_undo_row", rows_sql);
    if ((!u->row_there && my_make(tables, rows_sql, what, err) < 0) || (!u->there && my_make(tables, notes_sql, what, err) < 0))
        return -1;
    take_stock(u, true, false, true);
    return 0;
}

/* `schema`.`table`, whether people named the schema or not. */
static void noted_name(struct buf *out, MYSQL *my, const char *name)
{
    if (!strchr(name, '.') && my->db) {
        my_name(out, my->db);
        buf_addc(out, '.');
    }
    server_table_name(out, name, my_name);
}

/* The columns that the table has now, and the names of its key as JSON. The table's name stays the caller's. */
static int kept_now(struct kept *k, MYSQL *my, const char *uid, const char *table, const struct table_spec *spec, struct err *err)
{
    AUTO(buf_clear) struct buf names = { 0 }, lost = { 0 };
    struct json_out json;
    *k = (struct kept){ .uid = uid, .table = table };
    json_start(&json, &names);
    json_array(&json);
    for (int i = 0; i < spec->nkey; i++)
        json_text(&json, str_of(spec->columns->v[spec->key[i]].name));
    json_array_end(&json);
    return names.failed ? err_nomem(err)
           : my_image_look(my, table, &k->row, err) < 0 ? -1 : my_image_pick(&k->key, &k->row, names.p, NULL, &lost, err);
}

int my_undo_keep(MYSQL *my, const char *uid, const struct my_table *t, const struct table_spec *spec, int64_t *kept, struct err *err)
{
    AUTO(kept_clear) struct kept k = { 0 };
    AUTO(buf_clear) struct buf table = { 0 };
    static const char what[] = "keep rows for undo";
    if (kept)
        *kept = 0;
    if (!t->keep.n)
        return 0;
    noted_name(&table, my, spec->name);
    if (table.failed)
        return err_nomem(err);
    if (kept_now(&k, my, uid, table.p, spec, err) < 0 || run(my, t->keep.p, &k, what, kept, err) < 0)
        return -1;
    return t->keep_missing.n ? run(my, t->keep_missing.p, &k, what, NULL, err) : 0;
}

/* t.`id` = k.`id` AND ... */
static void same_key(struct buf *out, const struct kept *k)
{
    for (int i = 0; i < k->key.n; i++) {
        buf_adds(out, i ? " AND t." : "t.");
        my_name(out, k->key.v[i].name);
        buf_adds(out, " = k.");
        my_name(out, k->key.v[i].name);
    }
}

/* KEPT_KEYS, of what is kept of the job's rows. */
static int find_keys(MYSQL *my, const struct kept *k, struct err *err)
{
    AUTO(buf_clear) struct buf make = { 0 }, fill = { 0 }, names = { 0 };
    static const char what[] = "look at the keys that are kept";
    for (int i = 0; i < k->key.n; i++) {
        buf_adds(&names, ", ");
        my_name(&names, k->key.v[i].name);
    }
    buf_addf(&make, "CREATE TEMPORARY TABLE " KEPT_KEYS " (qetl_id BIGINT NOT NULL PRIMARY KEY) ENGINE=InnoDB"
                    " SELECT 0 AS qetl_id%s FROM :table LIMIT 0", names.failed ? "" : names.p);
    buf_addf(&fill, "INSERT INTO " KEPT_KEYS " (qetl_id%s) SELECT id", names.failed ? "" : names.p);
    for (int i = 0; i < k->key.n; i++) {
        buf_adds(&fill, ", ");
        my_image_value(&fill, &k->key, i, "row_key");
    }
    buf_adds(&fill, " FROM qetl_undo_row WHERE uid = :job AND table_name = :name");
    if (make.failed || fill.failed || names.failed)
        return err_nomem(err);
    return my_run(my, "DROP TEMPORARY TABLE IF EXISTS " KEPT_KEYS, what, err) < 0 || run(my, make.p, k, what, NULL, err) < 0 ||
                   run(my, fill.p, k, what, NULL, err) < 0
               ? -1
               : 0;
}

/* What an upsert made of the rows that were kept. */
static int keep_after(MYSQL *my, const struct kept *k, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "UPDATE qetl_undo_row u JOIN " KEPT_KEYS " k ON k.qetl_id = u.id JOIN :table t ON ");
    same_key(&sql, k);
    buf_adds(&sql, " SET u.row_after = :row");
    return sql.failed ? err_nomem(err)
           : find_keys(my, k, err) < 0 || run(my, sql.p, k, "keep rows for undo", NULL, err) < 0
               ? -1
               : my_run(my, "DROP TEMPORARY TABLE " KEPT_KEYS, "drop the temporary tables", err);
}

/* SQL: a sum of what rows are, by their texts. */
#define DIGEST_OF(text) "coalesce(sum(CAST(CONV(LEFT(MD5(" text "), 15), 16, 10) AS UNSIGNED)), 0)"
#define DIGEST DIGEST_OF(":row")

/* What a replace left, or a part of the job that added to that. */
static int digest_after(MYSQL *my, const struct kept *k, struct err *err)
{
    static const char what[] = "keep what the rows come to";
    AUTO(result_clearp) MYSQL_RES *replaced =
        ask(my, "SELECT 1 FROM qetl_undo WHERE uid = :job AND table_name = :name AND mode = 'replace'", k, what, err);
    if (!replaced || mysql_num_rows(replaced) == 0)
        return replaced ? 0 : -1;
    return run(my, "UPDATE qetl_undo u, (SELECT " DIGEST " AS digest FROM :table t) a SET u.digest_after = a.digest"
                   " WHERE u.uid = :job AND u.table_name = :name", k, what, NULL, err);
}

static int note(MYSQL *my, const struct load_job *job, const struct kept *k, const struct table_spec *spec, int64_t inserted, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    bool keeps = k->row.n;
    char mode[UNDO_MODE];
    undo_mode_text(mode, spec);
    buf_addf(&sql, "INSERT INTO qetl_undo (uid, table_name, mode, inserted, state, kept_until%s) SELECT :job, :name, '%s', %" PRId64
                   ", '%s', now(6) + INTERVAL %" PRId64 " MICROSECOND",
             keeps ? ", key_columns, kept_columns, kept_forms" : "", mode, inserted, spec->undo_ms ? "kept" : "none",
             spec->undo_ms * 1000);
    if (keeps) {
        buf_adds(&sql, ", ");
        my_image_names(&sql, &k->key);
        buf_adds(&sql, ", ");
        my_image_names(&sql, &k->row);
        buf_adds(&sql, ", ");
        my_image_forms(&sql, &k->row);
    }
    buf_adds(&sql, " FROM (SELECT 1) one");
    if (!undo_wanted(job)) /* but one that comes behind rows that can still be undone must be known to them */
        buf_adds(&sql, " WHERE EXISTS (SELECT 1 FROM qetl_undo k WHERE k.table_name = :name AND k.state = 'kept')");
    buf_adds(&sql, " ON DUPLICATE KEY UPDATE qetl_undo.inserted = qetl_undo.inserted + VALUES(inserted)");
    return sql.failed ? err_nomem(err) : run(my, sql.p, k, "note the rows for undo", NULL, err);
}

int my_undo_note(MYSQL *my, const struct my_undo *u, const struct load_job *job, const struct my_table *t, const struct table_spec *spec,
                 int64_t inserted, struct err *err)
{
    AUTO(kept_clear) struct kept k = { 0 };
    AUTO(buf_clear) struct buf table = { 0 };
    bool may_add_to_replaced = job->noutputs > 1 && spec->undo_ms && spec->mode != MODE_UPSERT;
    if (!u->there)
        return 0;
    noted_name(&table, my, spec->name);
    if (table.failed)
        return err_nomem(err);
    k = (struct kept){ .uid = job->uid, .table = table.p };
    if ((t->keep.n || may_add_to_replaced) && kept_now(&k, my, job->uid, table.p, spec, err) < 0)
        return -1;
    if (note(my, job, &k, spec, inserted, err) < 0 || (t->keep.n && spec->mode == MODE_UPSERT && keep_after(my, &k, err) < 0))
        return -1;
    return k.row.n && spec->mode != MODE_UPSERT ? digest_after(my, &k, err) : 0;
}

/* ---- taking back ---- */

static int refuse_changed(const struct kept *k, int64_t rows, struct err *err)
{
    return err_set(err, ERR_STATE, "table '%s': %" PRId64 " rows that the job wrote were changed since", k->table, rows);
}

static int refuse_later(MYSQL *my, const struct kept *k, const char *which, const char *why, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    undo_later_sql(&sql, which, "char");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) MYSQL_RES *r = ask(my, sql.p, k, "look for later jobs", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    return !r ? -1 : row ? undo_refuse_later(err, row[0], k->table, why) : 0;
}

/* Later upserts that kept rows of this one: met its keys, or found its rows in the table. */
static int refuse_touched(MYSQL *my, const struct kept *k, struct err *err)
{
    static const char met[] = "EXISTS (SELECT 1 FROM qetl_undo_row u JOIN qetl_undo_row r ON r.key_hash = u.key_hash WHERE"
                              " u.uid = :job AND u.table_name = :name AND r.uid = n.uid AND r.table_name = :name)";
    static const char found[] = "EXISTS (SELECT 1 FROM qetl_undo_row r WHERE r.uid = n.uid AND r.table_name = :name AND"
                                " JSON_UNQUOTE(JSON_EXTRACT(r.row_before, JSON_UNQUOTE(JSON_SEARCH(n.kept_columns, 'one', '|" JOB_COLUMN "', '|')))) = :job)";
    return refuse_later(my, k, k->mode == MODE_UPSERT ? met : found, undo_touched, err);
}

static int check_later(MYSQL *my, const struct my_undo *u, const struct kept *k, struct err *err)
{
    for (const struct undo_rule *r = undo_rules; r < undo_rules + UNDO_RULES; r++)
        if ((r->of >> k->mode & 1) && refuse_later(my, k, r->which, r->why, err) < 0)
            return -1;
    return k->mode == MODE_REPLACE || !u->rows ? 0 : refuse_touched(my, k, err);
}

/* The statement on the table failed, as *err has it: for what the table is? Else (a trigger of its own may say the same) as it is. */
static int refuse_table(MYSQL *my, const struct kept *k, struct err *err)
{
    struct err said;
    if (err->code != ERR_TARGET_REFUSED || run(my, "SELECT " JOB_COLUMN " FROM :table LIMIT 0", k, "look at the table", NULL, &said) == 0)
        return -1;
    switch (mysql_errno(my)) {
    case ER_NO_SUCH_TABLE:
    case ER_BAD_DB_ERROR:
        return undo_refuse_gone(err, k->table);
    case ER_BAD_FIELD_ERROR:
        return k->mode == MODE_REPLACE || k->mode == MODE_UPSERT ? -1 : undo_refuse_lost(err, k->table, JOB_COLUMN);
    default:
        return -1;
    }
}

static int undo_append(MYSQL *my, const struct my_undo *u, const struct kept *k, struct load_counts *counts, struct err *err)
{
    int64_t gone = 0;
    if (run(my, "DELETE FROM :table WHERE " JOB_COLUMN " = :job", k, "take the rows out", &gone, err) < 0)
        return refuse_table(my, k, err);
    if (check_later(my, u, k, err) < 0)
        return -1;
    if (gone != k->inserted)
        return undo_refuse_fewer(err, k->table, gone, k->inserted);
    counts->removed += gone;
    return 0;
}

/* The columns that are kept: all are there, or it is refused, for what stood in them would be lost. */
static int find_columns(MYSQL *my, struct kept *k, struct err *err)
{
    AUTO(my_image_clear) struct my_image all = { 0 };
    AUTO(buf_clear) struct buf lost = { 0 };
    if (my_image_look(my, k->table, &all, err) < 0)
        return refuse_table(my, k, err);
    if (my_image_pick(&k->row, &all, k->kept_columns, NULL, &lost, err) < 0)
        return -1;
    if (lost.n)
        return undo_refuse_lost(err, k->table, lost.p);
    my_image_clear(&k->row);
    if (my_image_pick(&k->row, &all, k->kept_columns, k->forms, &lost, err) < 0)
        return -1;
    if (lost.n)
        return err_set(err, ERR_STATE, "table '%s': the types of columns were changed between texts, bytes and bits since: %s; change them back", k->table,
                       lost.p);
    if (my_image_pick(&k->key, &k->row, k->key_columns, NULL, &lost, err) < 0)
        return -1;
    return k->mode == MODE_UPSERT && !k->key.n ? undo_refuse_unknown(err, k->table) : 0;
}

/* INSERT of the rows before, of those for which `which` holds. */
static int put_back(MYSQL *my, const struct kept *k, const char *which, int64_t *rows, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    int64_t n = 0;
    buf_adds(&sql, "INSERT INTO :table (");
    for (int i = 0; i < k->row.n; i++) {
        buf_adds(&sql, i ? ", " : "");
        my_name(&sql, k->row.v[i].name);
    }
    buf_adds(&sql, ") SELECT ");
    for (int i = 0; i < k->row.n; i++) {
        buf_adds(&sql, i ? ", " : "");
        my_image_value(&sql, &k->row, i, "row_before");
    }
    buf_addf(&sql, " FROM qetl_undo_row WHERE uid = :job AND table_name = :name AND %s ORDER BY id", which);
    if (sql.failed)
        return err_nomem(err);
    if (run(my, sql.p, k, "put the rows back", &n, err) < 0)
        return -1;
    *rows += n;
    return 0;
}

/* SQL that counts rows that are not as they were. A trigger may have changed them on their way, or somebody else put some in. */
static int check_back(MYSQL *my, const struct kept *k, const char *sql, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r = ask(my, sql, k, "compare what was put back", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    return !row ? -1
           : strcmp(row[0], "0") != 0
               ? err_set(err, ERR_STATE, "table '%s' would not have the rows that it had: has it triggers that change them, or does somebody write into it?", k->table)
               : 0;
}

static int undo_replace(MYSQL *my, const struct my_undo *u, const struct kept *k, struct load_counts *counts, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r = ask(my, "SELECT count(*), " DIGEST " FROM :table t FOR UPDATE", k, "compare the rows", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    int64_t rows = 0, gone = 0;
    if (!row)
        return -1;
    (void)text_int_plain(str_of(row[0]), &rows);
    if (check_later(my, u, k, err) < 0)
        return -1;
    if (rows == k->inserted && (!k->digest || strcmp(row[1], k->digest) != 0))
        return err_set(err, ERR_STATE, "table '%s': rows that the job wrote were changed since", k->table);
    if (run(my, "DELETE FROM :table", k, "take the rows out", &gone, err) < 0)
        return -1;
    if (gone != k->inserted)
        return err_set(err, ERR_STATE, "table '%s' has not the rows that the job left: it was changed since", k->table);
    counts->removed += gone;
    if (put_back(my, k, "row_before IS NOT NULL", &counts->inserted, err) < 0)
        return -1;
    return check_back(my, k, "SELECT (SELECT " DIGEST " FROM :table t) <> (SELECT " DIGEST_OF("row_before") " FROM qetl_undo_row WHERE uid = :job AND"
                             " table_name = :name)", err);
}

/* SQL that counts rows that are not as `was`, row_before or row_after, has them. All of them are locked then: of those that a WHERE leaves out
 * READ COMMITTED would give the locks back. */
static void other_than(struct buf *out, const struct kept *k, const char *was)
{
    buf_addf(out, "SELECT coalesce(sum(NOT (CAST(u.%s AS BINARY) <=> CAST(IF(t.", was);
    my_name(out, k->key.v[0].name);
    buf_adds(out, " IS NULL, NULL, :row) AS BINARY))), 0) FROM " KEPT_KEYS " k JOIN qetl_undo_row u ON u.id = k.qetl_id LEFT JOIN :table t ON ");
    same_key(out, k);
    buf_adds(out, " FOR UPDATE");
}

static int count_changed(MYSQL *my, const struct kept *k, int64_t *changed, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    other_than(&sql, k, "row_after");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) MYSQL_RES *r = ask(my, sql.p, k, "compare the rows", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    return row && text_int_plain(str_of(row[0]), changed) ? 0 : -1;
}

/* Rows that were there before and after get their values back, so that what hangs on them stays; those that the job added go. */
static int revert(MYSQL *my, const struct kept *k, struct load_counts *counts, struct err *err)
{
    AUTO(buf_clear) struct buf of = { 0 }, take = { 0 }, give = { 0 };
    int64_t taken = 0, given = 0;
    buf_adds(&of, ":table t JOIN " KEPT_KEYS " k ON ");
    same_key(&of, k);
    buf_adds(&of, " JOIN qetl_undo_row u ON u.id = k.qetl_id");
    buf_addf(&take, "DELETE t FROM %s WHERE u.row_before IS NULL AND u.row_after IS NOT NULL", of.failed ? "" : of.p);
    buf_addf(&give, "UPDATE %s SET ", of.failed ? "" : of.p);
    for (int i = 0, n = 0; i < k->row.n; i++) {
        bool in_key = false;
        for (int j = 0; j < k->key.n; j++)
            in_key |= !strcasecmp(k->key.v[j].name, k->row.v[i].name);
        if (in_key)
            continue;
        buf_adds(&give, n++ ? ", t." : "t.");
        my_name(&give, k->row.v[i].name);
        buf_adds(&give, " = ");
        my_image_value(&give, &k->row, i, "u.row_before");
    }
    buf_adds(&give, " WHERE u.row_before <> u.row_after");
    if (of.failed || take.failed || give.failed)
        return err_nomem(err);
    if (run(my, take.p, k, "take the rows out", &taken, err) < 0 ||
        (k->row.n > k->key.n && run(my, give.p, k, "put the rows back", &given, err) < 0) ||
        put_back(my, k, "row_before IS NOT NULL AND row_after IS NULL", &counts->inserted, err) < 0)
        return -1;
    counts->removed += taken + given;
    counts->inserted += given;
    return 0;
}

static int undo_upsert(MYSQL *my, const struct my_undo *u, const struct kept *k, struct load_counts *counts, struct err *err)
{
    int64_t changed = 0;
    AUTO(buf_clear) struct buf check = { 0 };
    if (find_keys(my, k, err) < 0 || count_changed(my, k, &changed, err) < 0 || check_later(my, u, k, err) < 0)
        return -1;
    if (changed)
        return refuse_changed(k, changed, err);
    other_than(&check, k, "row_before");
    return check.failed ? err_nomem(err) : revert(my, k, counts, err) < 0 ? -1 : check_back(my, k, check.p, err);
}

static int undo_table(MYSQL *my, const struct my_undo *u, struct kept *k, struct load_counts *counts, struct err *err)
{
    if (!strcmp(k->state, "none"))
        return undo_refuse_unkept(err, k->table);
    if (!strcmp(k->state, "expired"))
        return undo_refuse_late(err, k->table, k->until);
    if (k->mode == MODES)
        return undo_refuse_unknown(err, k->table);
    if (k->mode != MODE_REPLACE && k->mode != MODE_UPSERT)
        return undo_append(my, u, k, counts, err);
    if (find_columns(my, k, err) < 0)
        return -1;
    return (k->mode == MODE_REPLACE ? undo_replace : undo_upsert)(my, u, k, counts, err);
}

/* What the ledger says: 1 it is in, 0 it is undone or (*known is false) not known. */
static int ask_ledger(MYSQL *my, const struct kept *k, bool *known, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r = ask(my, "SELECT undone_at FROM qetl_load WHERE uid = :job FOR UPDATE", k, "ask the ledger", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    *known = row != NULL;
    return !r ? -1 : row && !row[0];
}

static int undo_noted(MYSQL *my, const struct my_undo *u, const struct kept *job, struct load_counts *counts, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "SELECT table_name, CASE WHEN state = 'kept' AND kept_until < now(6) THEN 'expired' ELSE state END,"
                   " CAST(kept_until AS DATETIME), id, inserted, mode, %s FROM qetl_undo WHERE uid = :job ORDER BY id DESC",
             u->rows ? "key_columns, kept_columns, kept_forms, digest_after" : "NULL, NULL, NULL, NULL");
    AUTO(result_clearp) MYSQL_RES *notes = sql.failed ? NULL : ask(my, sql.p, job, "look for what was kept", err);
    if (!notes)
        return sql.failed ? err_nomem(err) : -1;
    if (mysql_num_rows(notes) == 0)
        return undo_refuse_unkept(err, NULL);
    for (MYSQL_ROW row; (row = mysql_fetch_row(notes));) {
        AUTO(kept_clear) struct kept k = { .uid = job->uid, .table = row[0], .state = row[1], .until = row[2], .id = row[3], .mode = undo_mode_of(row[5]),
                                           .key_columns = row[6], .kept_columns = row[7], .forms = row[8], .digest = row[9] };
        (void)text_int_plain(str_of(row[4]), &k.inserted);
        if (undo_table(my, u, &k, counts, err) < 0)
            return -1;
    }
    return 0;
}

int my_undo(MYSQL *my, const struct my_undo *u, const char *uid, struct load_counts *counts, struct err *err)
{
    const struct kept job = { .uid = uid };
    bool known = false;
    static const char what[] = "forget what was kept";
    *counts = (struct load_counts){ 0 };
    int in = ask_ledger(my, &job, &known, err);
    if (in <= 0)
        return in < 0 ? -1 : known;
    if (!u->there)
        return undo_refuse_unkept(err, NULL);
    if (undo_noted(my, u, &job, counts, err) < 0 ||
        run(my, "UPDATE qetl_load SET undone_at = now(6) WHERE uid = :job", &job, "write the ledger", NULL, err) < 0 ||
        (u->rows && run(my, "DELETE FROM qetl_undo_row WHERE uid = :job", &job, what, NULL, err) < 0) ||
        run(my, "DELETE FROM qetl_undo WHERE uid = :job", &job, what, NULL, err) < 0)
        return -1;
    return 1;
}
