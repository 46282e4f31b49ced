/* Undo of appended rows on MariaDB and MySQL; see the header. */
#include "target/mysql_undo.h"

#include <inttypes.h>
#include <mysqld_error.h>

#include "base/sys.h"
#include "base/text.h"
#include "target/undo.h"

enum { PRUNE_MS = 3600000 };

static const char notes_sql[] =
    "CREATE TABLE IF NOT EXISTS qetl_undo (id BIGINT AUTO_INCREMENT PRIMARY KEY, uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin"
    " NOT NULL, table_name VARCHAR(160) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, mode VARCHAR(16) NOT NULL, inserted BIGINT"
    " NOT NULL, state VARCHAR(8) NOT NULL CHECK (state IN ('kept', 'none', 'expired')), kept_until DATETIME(6) NOT NULL,"
    " UNIQUE (uid, table_name), KEY (table_name, state)) ENGINE=InnoDB";

/* ---- keeping ---- */

static int prune(MYSQL *my, struct err *err)
{
    /* undo_forget_sql for a server that does not take the table that it deletes from in a subquery */
    static const char forget_sql[] =
        "DELETE n FROM qetl_undo n LEFT JOIN qetl_undo k ON k.table_name = n.table_name AND k.state = 'kept' AND k.id < n.id"
        " LEFT JOIN qetl_undo o ON o.uid = n.uid AND o.state = 'kept' WHERE n.state <> 'kept' AND k.id IS NULL AND o.id IS NULL";
    static const char what[] = "forget what is too old for undo";
    return my_run(my, "UPDATE qetl_undo SET state = 'expired' WHERE state = 'kept' AND kept_until < now(6)", what, err) < 0
               ? -1
               : my_run(my, forget_sql, what, err);
}

int my_undo_begin(MYSQL *my, struct my_undo *u, struct err *err)
{
    int64_t one, now = sys_mono_ms();
    int rc = my_numbers(my, "SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = 'qetl_undo'",
                        "look for undo", 1, &one, err);
    if (rc < 0)
        return -1;
    u->there = rc == 1;
    if (!u->there || now < u->prune_mono_ms)
        return 0;
    u->prune_mono_ms = now + PRUNE_MS;
    return prune(my, err);
}

int my_undo_prepare(const struct my_tables *tables, struct my_undo *u, const struct load_job *job, struct err *err)
{
    if (u->there || !undo_wanted(job))
        return 0;
    schema_diff_own(tables->diff, "qetl_undo", notes_sql);
    if (my_make(tables, notes_sql, "make the table for undo", err) < 0)
        return -1;
    u->there = true;
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

int my_undo_note(MYSQL *my, const struct my_undo *u, const struct load_job *job, const struct table_spec *spec, int64_t inserted,
                 struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, name = { 0 }, table = { 0 };
    if (!u->there)
        return 0;
    noted_name(&name, my, spec->name);
    if (name.failed)
        return err_nomem(err);
    my_literal(&table, my, name.p);
    buf_adds(&sql, "INSERT INTO qetl_undo (uid, table_name, mode, inserted, state, kept_until) SELECT ");
    my_literal(&sql, my, job->uid);
    buf_addf(&sql, ", %s, '%s', %" PRId64 ", '%s', now(6) + INTERVAL %" PRId64 " MICROSECOND FROM (SELECT 1) one", table.failed ? "" : table.p,
             load_mode_names[spec->mode], inserted, spec->undo_ms ? "kept" : "none", spec->undo_ms * 1000);
    if (!undo_wanted(job)) /* but one that comes behind rows that can still be undone must be known to them */
        buf_addf(&sql, " WHERE EXISTS (SELECT 1 FROM qetl_undo k WHERE k.table_name = %s AND k.state = 'kept')", table.failed ? "" : table.p);
    buf_adds(&sql, " ON DUPLICATE KEY UPDATE qetl_undo.inserted = qetl_undo.inserted + VALUES(inserted)");
    return sql.failed || table.failed ? err_nomem(err) : my_run(my, sql.p, "note the rows for undo", err);
}

/* ---- taking back ---- */

/* One table that the job put rows into, as it was noted; texts are the result's. */
struct kept {
    const char *table, *state, *until, *id;
    int64_t inserted;
};

/* SQL with :job, :name (both in quotes), :note and :table filled in; NULL: *err. The caller clears the buf. */
static const char *filled(struct buf *out, MYSQL *my, const char *sql, const char *uid, const struct kept *k, struct err *err)
{
    AUTO(buf_clear) struct buf job = { 0 }, name = { 0 }, last = { 0 };
    my_literal(&job, my, uid);
    my_literal(&name, my, k ? k->table : "");
    const char *const words[][2] = { { ":job", job.failed ? "" : job.p },
                                     { ":note", k ? k->id : "" },
                                     { ":table", k ? k->table : "" },
                                     { ":name", name.failed ? "" : name.p } /* last: sql_fill() knows no backslash in quotes */ };
    buf_adds(out, sql);
    for (size_t i = 0; i < COUNT_OF(words) && !out->failed; i++) {
        buf_clear(&last);
        last = *out;
        *out = (struct buf){ 0 };
        sql_fill(out, last.p, words[i][0], words[i][1]);
    }
    if (!job.failed && !name.failed && !out->failed)
        return out->p;
    (void)err_nomem(err);
    return NULL;
}

static int run(MYSQL *my, const char *sql, const char *uid, const struct kept *k, const char *what, int64_t *changed, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    const char *p = filled(&text, my, sql, uid, k, err);
    if (!p || my_run(my, p, what, err) < 0)
        return -1;
    if (changed)
        *changed = (int64_t)mysql_affected_rows(my);
    return 0;
}

static MYSQL_RES *ask(MYSQL *my, const char *sql, const char *uid, const struct kept *k, const char *what, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    const char *p = filled(&text, my, sql, uid, k, err);
    return p ? my_select(my, p, what, err) : NULL;
}

static int refuse_later(MYSQL *my, const char *uid, const struct kept *k, const struct undo_rule *rule, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    undo_later_sql(&sql, rule->which, "char");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) MYSQL_RES *r = ask(my, sql.p, uid, k, "look for later jobs", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    return !r ? -1 : row ? undo_refuse_later(err, row[0], k->table, rule->why) : 0;
}

/* The rows could not be taken out, as *err has it: is it for what the table was? Else (a trigger of its own may say the same) as it is. */
static int refuse_table(MYSQL *my, const char *uid, const struct kept *k, struct err *err)
{
    struct err said;
    if (err->code != ERR_TARGET_REFUSED || run(my, "SELECT " JOB_COLUMN " FROM :table LIMIT 0", uid, k, "look at the table", NULL, &said) == 0)
        return -1;
    switch (mysql_errno(my)) {
    case ER_NO_SUCH_TABLE:
    case ER_BAD_DB_ERROR:
        return undo_refuse_gone(err, k->table);
    case ER_BAD_FIELD_ERROR:
        return undo_refuse_lost(err, k->table, JOB_COLUMN);
    default:
        return -1;
    }
}

static int undo_table(MYSQL *my, const char *uid, const struct kept *k, struct load_counts *counts, struct err *err)
{
    int64_t gone = 0;
    if (!strcmp(k->state, "none"))
        return undo_refuse_unkept(err, k->table);
    if (!strcmp(k->state, "expired"))
        return undo_refuse_late(err, k->table, k->until);
    if (run(my, "DELETE FROM :table WHERE " JOB_COLUMN " = :job", uid, k, "take the rows out", &gone, err) < 0)
        return refuse_table(my, uid, k, err);
    for (const struct undo_rule *r = undo_rules; r < undo_rules + UNDO_RULES; r++)
        if (!r->replaced && refuse_later(my, uid, k, r, err) < 0)
            return -1;
    if (gone != k->inserted)
        return undo_refuse_fewer(err, k->table, gone, k->inserted);
    counts->removed += gone;
    return 0;
}

/* What the ledger says: 1 it is in, 0 it is undone or (*known is false) not known. */
static int ask_ledger(MYSQL *my, const char *uid, bool *known, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r = ask(my, "SELECT undone_at FROM qetl_load WHERE uid = :job FOR UPDATE", uid, NULL, "ask the ledger", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    *known = row != NULL;
    return !r ? -1 : row && !row[0];
}

static int undo_noted(MYSQL *my, const char *uid, struct load_counts *counts, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *notes =
        ask(my, "SELECT table_name, CASE WHEN state = 'kept' AND kept_until < now(6) THEN 'expired' ELSE state END,"
                " CAST(kept_until AS DATETIME), id, inserted FROM qetl_undo WHERE uid = :job ORDER BY id DESC",
            uid, NULL, "look for what was kept", err);
    if (!notes)
        return -1;
    if (mysql_num_rows(notes) == 0)
        return undo_refuse_unkept(err, NULL);
    for (MYSQL_ROW row; (row = mysql_fetch_row(notes));) {
        struct kept k = { .table = row[0], .state = row[1], .until = row[2], .id = row[3] };
        (void)text_int_plain(str_of(row[4]), &k.inserted);
        if (undo_table(my, uid, &k, counts, err) < 0)
            return -1;
    }
    return 0;
}

int my_undo(MYSQL *my, const struct my_undo *u, const char *uid, struct load_counts *counts, struct err *err)
{
    bool known = false;
    *counts = (struct load_counts){ 0 };
    int in = ask_ledger(my, uid, &known, err);
    if (in <= 0)
        return in < 0 ? -1 : known;
    if (!u->there)
        return undo_refuse_unkept(err, NULL);
    if (undo_noted(my, uid, counts, err) < 0 ||
        run(my, "UPDATE qetl_load SET undone_at = now(6) WHERE uid = :job", uid, NULL, "write the ledger", NULL, err) < 0 ||
        run(my, "DELETE FROM qetl_undo WHERE uid = :job", uid, NULL, "forget what was kept", NULL, err) < 0)
        return -1;
    return 1;
}
