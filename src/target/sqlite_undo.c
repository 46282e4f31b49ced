/* Undo on SQLite; see the header. */
#include "target/sqlite_undo.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/db.h"
#include "target/sqlite_merge.h"
#include "target/undo.h"

static const char notes_sql[] =
    "CREATE TABLE IF NOT EXISTS main.qetl_undo (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT "
    "NULL,"
    " table_name TEXT NOT NULL COLLATE NOCASE, mode TEXT NOT NULL, key_columns TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('kept', 'none', 'expired')), kept_until TIMESTAMP "
    "NOT NULL);"
    "CREATE INDEX IF NOT EXISTS main.qetl_undo_table ON qetl_undo (table_name, state, kept_until);"
    "CREATE INDEX IF NOT EXISTS main.qetl_undo_uid ON qetl_undo (uid)";

/* ---- SQL with texts as parameters ---- */

enum { PARAMS = 4 };
struct sql_params {
    const char *v[PARAMS];
};
#define WITH(...) (&(struct sql_params){ { __VA_ARGS__ } })

/* Run one statement whose parameters, in the order in which they come first, are texts. *first (may
 * be NULL): the first column of its first row. 1 a row, 0 none, -1. */
static int ask(struct warehouse *w, const struct buf *sql, const struct sql_params *p,
               const char *what, struct buf *first, struct err *err)
{
    sqlite3_stmt *st;
    if (sql->failed)
        return err_nomem(err);
    if (warehouse_prepare(w, sql->p, &st, what, err) < 0)
        return -1;
    for (int i = 0; i < PARAMS && i < sqlite3_bind_parameter_count(st); i++)
        sqlite3_bind_text(st, i + 1, p->v[i], -1, SQLITE_STATIC);
    int rc = warehouse_step(w, st, what, err);
    if (rc == 1 && first) {
        buf_reset(first);
        buf_adds(first, db_text(st, 0));
    }
    sqlite3_finalize(st);
    return rc == 1 && first && first->failed ? err_nomem(err) : rc;
}

static int ask_plain(struct warehouse *w, const char *sql, const struct sql_params *p,
                     const char *what, struct buf *first, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, sql);
    return ask(w, &text, p, what, first, err);
}

static const char *plain_name(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot ? dot + 1 : name;
}

/* ---- notes ---- */

static int notes_there(struct warehouse *w, struct err *err)
{
    bool view;
    return warehouse_find(w, "qetl_undo", &view, err);
}

/* Is anything kept of a job that was loaded into the table? Then this one must be known to it. */
static int is_watched(struct warehouse *w, const char *name, struct err *err)
{
    int there = notes_there(w, err);
    if (there <= 0)
        return there;
    return ask_plain(w, "SELECT 1 FROM main.qetl_undo WHERE table_name = ?1 AND state = 'kept'",
                     WITH(name), "look for undo", NULL, err);
}

static void images_name(struct buf *out, const char *table)
{
    AUTO(buf_clear) struct buf name = { 0 };
    buf_addf(&name, "qetl_undo_%s", table);
    buf_adds(out, "main.");
    db_quote(out, name.failed ? "" : name.p);
    out->failed |= name.failed;
}

/* What could be undone until now cannot be any more. */
static int expire(struct warehouse *w, const char *name, const char *now, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, own = { 0 };
    bool view;
    buf_addf(&own, "qetl_undo_%s", name);
    int there = own.failed ? err_nomem(err) : warehouse_find(w, own.p, &view, err);
    if (there < 0)
        return -1;
    if (there) {
        buf_adds(&sql, "DELETE FROM ");
        images_name(&sql, name);
        buf_adds(&sql, " WHERE qetl_job IN (SELECT uid FROM main.qetl_undo WHERE table_name = ?1 "
                       "AND state = 'kept'"
                       " AND kept_until < ?2)");
        if (ask(w, &sql, WITH(name, now), "prune what was kept for undo", NULL, err) < 0)
            return -1;
    }
    if (ask_plain(w,
                  "UPDATE main.qetl_undo SET state = 'expired' WHERE table_name = ?1 AND state "
                  "= 'kept' AND kept_until < ?2",
                  WITH(name, now), "prune what was kept for undo", NULL, err) < 0)
        return -1;
    return ask_plain(w, undo_forget_sql, WITH(name), "prune the notes for undo", NULL, err);
}

int undo_note(struct warehouse *w, const struct load_job *job, int at, const struct table *t,
              const char *now, struct err *err)
{
    const struct table_spec *spec = &job->outputs[at].spec;
    const char *name = plain_name(spec->name);
    for (int i = 0; i < at; i++)
        if (!strcasecmp(plain_name(job->outputs[i].spec.name), name))
            return 0;
    int watched = undo_wanted(job) ? 1 : is_watched(w, name, err);
    if (watched <= 0)
        return watched;
    char until[32];
    until[text_put_timestamp(until, (sys_now_ms() + spec->undo_ms) * 1000, ' ')] = '\0';
    AUTO(buf_clear) struct buf sql = { 0 };
    char mode[UNDO_MODE];
    undo_mode_text(mode, spec);
    buf_addf(&sql,
             "INSERT INTO main.qetl_undo (uid, table_name, mode, key_columns, state, kept_until)"
             " VALUES (?1, ?2, '%s', ?3, '%s', ?4)",
             mode, spec->undo_ms ? "kept" : "none");
    if (warehouse_note_own(w, "qetl_undo", notes_sql, err) < 0 || warehouse_exec(w, notes_sql, "make the table of undo", err) < 0 ||
        expire(w, name, now, err) < 0)
        return -1;
    return ask(w, &sql, WITH(job->uid, name, t->key.n ? t->key.p : "", until),
               "note the job for undo", NULL, err);
}

/* ---- images ---- */

/* The columns of a table that take values, in quotes. */
static int columns_of(struct warehouse *w, const char *table, int skip, struct buf *out,
                      struct err *err)
{
    sqlite3_stmt *st;
    int rc, n = 0;
    if (warehouse_prepare(
            w, "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0 AND cid >= ?2",
            &st, "read the table's columns", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, table, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 2, skip);
    while ((rc = warehouse_step(w, st, "read the table's columns", err)) == 1) {
        buf_adds(out, n++ ? ", " : "");
        db_quote(out, db_text(st, 0));
    }
    sqlite3_finalize(st);
    return rc < 0 ? -1 : out->failed ? err_nomem(err) : n;
}

enum { IMAGE_COLUMNS = 2 }; /* qetl_job and qetl_was stand in front */

/* The table got columns behind the n that its images have: they get them, too, with affinity and
 * default, which is what rows that were there have in them. */
static int add_columns(struct warehouse *w, const char *name, const char *images, int n,
                       struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    sqlite3_stmt *st;
    int rc;
    if (warehouse_prepare(
            w,
            "SELECT name, CASE WHEN type LIKE '%INT%' THEN 'INT'"
            " WHEN type LIKE '%CHAR%' OR type LIKE '%CLOB%' OR type LIKE '%TEXT%' THEN 'TEXT'"
            " WHEN type LIKE '%BLOB%' OR type = '' THEN ''"
            " WHEN type LIKE '%REAL%' OR type LIKE '%FLOA%' OR type LIKE '%DOUB%' THEN 'REAL'"
            " ELSE 'NUM' END, ' DEFAULT (' || dflt_value || ')'"
            " FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0 ORDER BY cid LIMIT -1 OFFSET ?2",
            &st, "read the table's columns", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 2, n);
    while ((rc = warehouse_step(w, st, "read the table's columns", err)) == 1) {
        buf_addf(&sql, "ALTER TABLE %s ADD COLUMN ", images);
        db_quote(&sql, db_text(st, 0));
        buf_addf(&sql, " %s%s;", db_text(st, 1), db_text(st, 2));
    }
    sqlite3_finalize(st);
    if (rc < 0)
        return -1;
    return sql.failed ? err_nomem(err) : warehouse_exec(w, sql.p, "add columns to the rows kept for undo", err);
}

/* The table of images, with the columns that the table has now. When it had others, and did not only
 * get more behind them (whose default is constant), what was kept does not fit any more. */
static int make_images(struct warehouse *w, const char *name, const struct buf *columns,
                       struct err *err)
{
    AUTO(buf_clear) struct buf own = { 0 }, index = { 0 }, images = { 0 }, there = { 0 }, sql = { 0 };
    buf_addf(&own, "qetl_undo_%s", name);
    images_name(&images, name);
    int n = own.failed || images.failed ? err_nomem(err)
                                        : columns_of(w, own.p, IMAGE_COLUMNS, &there, err);
    if (n < 0 || (n > 0 && !strcmp(there.p, columns->p)))
        return n < 0 ? -1 : 0;
    if (n > 0 && !strncmp(columns->p, there.p, there.n) && columns->p[there.n] == ',') {
        if (add_columns(w, name, images.p, n, err) == 0)
            return 0;
        if (err->code != ERR_TARGET_REFUSED)
            return -1;
    }
    if (n > 0 &&
        ask_plain(
            w,
            "UPDATE main.qetl_undo SET state = 'expired' WHERE table_name = ?1 AND state = 'kept'"
            " AND id < (SELECT max(id) FROM main.qetl_undo WHERE table_name = ?1)",
            WITH(name), "drop what was kept for undo", NULL, err) < 0)
        return -1;
    buf_addf(&sql,
             "DROP TABLE IF EXISTS %s; CREATE TABLE %s AS SELECT '' AS qetl_job, 0 AS qetl_was, %s "
             "FROM main.",
             images.p, images.p, columns->p);
    db_quote(&sql, name);
    buf_adds(&sql, " WHERE 0; CREATE INDEX main.");
    buf_addf(&index, "%s_job", own.p);
    db_quote(&sql, index.failed ? "" : index.p);
    buf_addf(&sql, " ON %s (qetl_job)", images.p + strlen("main."));
    if (sql.failed || index.failed)
        return err_nomem(err);
    schema_diff_own(w->diff, own.p, sql.p);
    return warehouse_exec(w, sql.p, "make the table of rows kept for undo", err);
}

/* All rows of the keys that the job has, and of those that it misses. */
static void touched(struct buf *sql, const struct table *t, const struct table_spec *spec,
                    const char *source)
{
    buf_addf(sql, " WHERE (%s) IN (SELECT %s FROM %s)", t->key.p, t->key.p, source);
    if (spec->missing != MISSING_DELETE)
        return;
    buf_addf(sql, " OR (%s) IN (SELECT %s FROM main.%s WHERE ", t->key.p, t->key.p, t->quoted.p);
    merge_missing(sql, t, spec, source);
    buf_addc(sql, ')');
}

int undo_keep(struct warehouse *w, const struct table *t, const struct table_spec *spec,
              const char *source, const char *uid, struct err *err)
{
    const char *name = plain_name(spec->name);
    AUTO(buf_clear) struct buf columns = { 0 }, images = { 0 }, rows = { 0 }, fresh = { 0 };
    images_name(&images, name);
    if (columns_of(w, name, 0, &columns, err) < 0 || make_images(w, name, &columns, err) < 0)
        return -1;
    if (images.failed)
        return err_nomem(err);
    buf_addf(&rows, "INSERT INTO %s (qetl_job, qetl_was, %s) SELECT ?1, 1, %s FROM main.%s",
             images.p, columns.p, columns.p, t->quoted.p);
    if (source)
        touched(&rows, t, spec, source);
    if (ask(w, &rows, WITH(uid), "keep rows for undo", NULL, err) < 0)
        return -1;
    if (!source)
        return 0;
    buf_addf(&fresh,
             "INSERT INTO %s (qetl_job, qetl_was, %s) SELECT ?1, 0, * FROM (SELECT %s FROM %s "
             "EXCEPT SELECT %s"
             " FROM %s WHERE qetl_job = ?1)",
             images.p, t->key.p, t->key.p, source, t->key.p, images.p);
    return ask(w, &fresh, WITH(uid), "keep keys for undo", NULL, err);
}

/* ---- undo ---- */

struct note {
    char id[24];
    char *table, *key, *until, *state;
    enum load_mode mode;
};
struct notes {
    struct note *v;
    int n;
};

static void notes_clear(struct notes *notes)
{
    for (int i = 0; i < notes->n; i++) {
        free(notes->v[i].table);
        free(notes->v[i].key);
        free(notes->v[i].until);
        free(notes->v[i].state);
    }
    free(notes->v);
}

static bool note_read(sqlite3_stmt *st, struct note *n)
{
    *n = (struct note){ .table = strdup(db_text(st, 1)),
                        .key = strdup(db_text(st, 3)),
                        .state = strdup(db_text(st, 4)),
                        .until = strdup(db_text(st, 5)),
                        .mode = undo_mode_of(db_text(st, 2)) };
    snprintf(n->id, sizeof n->id, "%s", db_text(st, 0));
    return n->table && n->key && n->state && n->until && n->mode != MODES;
}

static int notes_read(struct warehouse *w, const char *uid, struct notes *notes, struct err *err)
{
    sqlite3_stmt *st;
    int rc = notes_there(w, err);
    if (rc <= 0)
        return rc;
    if (warehouse_prepare(w,
                          "SELECT id, table_name, mode, key_columns, state, kept_until FROM "
                          "main.qetl_undo WHERE uid = ?1"
                          " ORDER BY id",
                          &st, "read what was kept for undo", err) < 0)
        return -1;
    sqlite3_bind_text(st, 1, uid, -1, SQLITE_STATIC);
    while ((rc = warehouse_step(w, st, "read what was kept for undo", err)) == 1) {
        struct note *more = realloc(notes->v, (size_t)(notes->n + 1) * sizeof *more);
        if (more)
            notes->v = more;
        if (!more || !note_read(st, &notes->v[notes->n++])) {
            rc = err_nomem(err);
            break;
        }
    }
    sqlite3_finalize(st);
    return rc;
}

/* Later jobs of the table that fit `which`: refused, saying why. */
static int refuse_later(struct warehouse *w, const struct note *n, const char *uid,
                        const char *which, const char *why, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, job = { 0 };
    undo_later_sql(&sql, which, "text");
    int rc = ask(w, &sql, WITH(n->table, n->id, uid), "look for later jobs", &job, err);
    return rc == 1 ? undo_refuse_later(err, job.p, n->table, why) : rc;
}

/* Later jobs that kept rows for undo: did they touch what this one did? */
static int refuse_touched(struct warehouse *w, const struct note *n, const char *uid,
                          struct err *err)
{
    AUTO(buf_clear) struct buf which = { 0 }, own = { 0 };
    bool view;
    buf_addf(&own, "qetl_undo_%s", n->table);
    int there = own.failed ? err_nomem(err) : warehouse_find(w, own.p, &view, err);
    if (there <= 0)
        return there;
    buf_adds(&which, "EXISTS (SELECT 1 FROM ");
    images_name(&which, n->table);
    if (n->mode == MODE_APPEND || n->mode == MODE_INSERT_IGNORE) {
        buf_adds(&which,
                 " AS i WHERE i.qetl_job = n.uid AND i.qetl_was AND i." JOB_COLUMN " = :job)");
        AUTO(buf_clear) struct buf columns = { 0 };
        if (columns_of(w, own.p, IMAGE_COLUMNS, &columns, err) < 0)
            return -1;
        if (!strstr(columns.p, "\"" JOB_COLUMN "\"")) /* they were kept before the table had it */
            return 0;
    } else {
        buf_addf(&which, " AS i WHERE i.qetl_job = n.uid AND (%s) IN (SELECT %s FROM ", n->key,
                 n->key);
        images_name(&which, n->table);
        buf_adds(&which, " WHERE qetl_job = :job))");
    }
    if (which.failed)
        return err_nomem(err);
    return refuse_later(w, n, uid, which.p, undo_touched, err);
}

/* Columns that undo needs, and the table does not have any more. */
static int refuse_lost(struct warehouse *w, const struct note *n, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, own = { 0 }, lost = { 0 };
    buf_addf(&own, "qetl_undo_%s", n->table);
    buf_adds(&sql, "SELECT group_concat(k.name, ', ') FROM (");
    if (n->mode == MODE_APPEND || n->mode == MODE_INSERT_IGNORE)
        buf_adds(&sql, "SELECT '" JOB_COLUMN "' AS name");
    else
        buf_addf(&sql, "SELECT name FROM pragma_table_xinfo(?2, 'main') WHERE cid >= %d", IMAGE_COLUMNS);
    buf_adds(&sql, ") AS k WHERE NOT EXISTS (SELECT 1 FROM pragma_table_xinfo(?1, 'main') AS t WHERE t.hidden = 0"
                   " AND t.name = k.name COLLATE NOCASE)");
    if (own.failed || ask(w, &sql, WITH(n->table, own.p), "look at the table", &lost, err) < 0)
        return own.failed ? err_nomem(err) : -1;
    return lost.n ? undo_refuse_lost(err, n->table, lost.p) : 0;
}

/* Rows that an upsert of the job kept beside a part of another mode: a replace keeps no keys that were not there. */
static int refuse_mixed(struct warehouse *w, const struct note *n, const char *uid, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, own = { 0 };
    bool view;
    buf_addf(&own, "qetl_undo_%s", n->table);
    if (n->mode == MODE_UPSERT || n->mode == MODE_HISTORY)
        return 0;
    int there = own.failed ? err_nomem(err) : warehouse_find(w, own.p, &view, err);
    if (there <= 0)
        return there;
    buf_adds(&sql, "SELECT 1 FROM ");
    images_name(&sql, n->table);
    buf_adds(&sql, " WHERE qetl_job = ?1");
    buf_adds(&sql, n->mode == MODE_REPLACE ? " AND NOT qetl_was LIMIT 1" : " LIMIT 1");
    int rc = ask(w, &sql, WITH(uid), "look for parts", NULL, err);
    return rc == 1 ? undo_refuse_mixed(err, n->table) : rc;
}

static int check_note(struct warehouse *w, const struct note *n, const char *uid, const char *now,
                      struct err *err)
{
    if (!strcmp(n->state, "none"))
        return undo_refuse_unkept(err, n->table);
    if (strcmp(n->until, now) < 0)
        return undo_refuse_late(err, n->table, n->until);
    if (!strcmp(n->state, "expired"))
        return err_set(err, ERR_STATE,
                       "the columns of table '%s' were changed since, and a later job kept its rows "
                       "in their place: what was kept of this one did not fit any more",
                       n->table);
    bool view;
    int there = warehouse_find(w, n->table, &view, err);
    if (there <= 0)
        return there < 0 ? -1 : undo_refuse_gone(err, n->table);
    if (refuse_lost(w, n, err) < 0 || refuse_mixed(w, n, uid, err) < 0)
        return -1;
    for (const struct undo_rule *r = undo_rules; r < undo_rules + UNDO_RULES; r++)
        if ((r->of >> n->mode & 1) &&
            refuse_later(w, n, uid, r->which, r->why, err) < 0)
            return -1;
    if (n->mode == MODE_REPLACE)
        return 0;
    return refuse_touched(w, n, uid, err);
}

static int revert(struct warehouse *w, const struct note *n, const char *uid,
                  struct load_counts *counts, struct err *err)
{
    AUTO(buf_clear)
    struct buf take = { 0 },
               back = { 0 }, drop = { 0 }, columns = { 0 }, own = { 0 }, images = { 0 };
    bool marked = n->mode == MODE_APPEND || n->mode == MODE_INSERT_IGNORE;
    buf_adds(&take, "DELETE FROM main.");
    db_quote(&take, n->table);
    images_name(&images, n->table);
    if (marked)
        buf_adds(&take, " WHERE " JOB_COLUMN " = ?1");
    else if (n->mode != MODE_REPLACE)
        buf_addf(&take, " WHERE (%s) IN (SELECT %s FROM %s WHERE qetl_job = ?1)", n->key, n->key,
                 images.p);
    if (ask(w, &take, WITH(uid), "take the rows out", NULL, err) < 0)
        return err_in(err, "table '%s'", n->table);
    counts->removed += sqlite3_changes64(w->db);
    if (marked)
        return 0;
    buf_addf(&own, "qetl_undo_%s", n->table);
    if (own.failed || columns_of(w, own.p, IMAGE_COLUMNS, &columns, err) < 0)
        return own.failed ? err_nomem(err) : -1;
    buf_adds(&back, "INSERT INTO main.");
    db_quote(&back, n->table);
    buf_addf(&back, " (%s) SELECT %s FROM %s WHERE qetl_job = ?1 AND qetl_was ORDER BY rowid",
             columns.p, columns.p, images.p);
    if (ask(w, &back, WITH(uid), "put the rows back", NULL, err) < 0)
        return err_in(err, "table '%s'", n->table);
    counts->inserted += sqlite3_changes64(w->db);
    buf_addf(&drop, "DELETE FROM %s WHERE qetl_job = ?1", images.p);
    return ask(w, &drop, WITH(uid), "forget what was kept", NULL, err);
}

int undo_job(struct warehouse *w, const char *uid, const char *now, struct load_counts *counts,
             struct err *err)
{
    AUTO(notes_clear) struct notes notes = { 0 };
    AUTO(buf_clear) struct buf undone_at = { 0 };
    *counts = (struct load_counts){ 0 };
    int there = ask_plain(w, "SELECT undone_at FROM main.qetl_load WHERE uid = ?1", WITH(uid),
                          "ask the ledger", &undone_at, err);
    if (there <= 0 || undone_at.n)
        return there;
    if (notes_read(w, uid, &notes, err) < 0)
        return -1;
    if (!notes.n)
        return undo_refuse_unkept(err, NULL);
    for (int i = 0; i < notes.n; i++)
        if (check_note(w, &notes.v[i], uid, now, err) < 0)
            return -1;
    for (int i = notes.n - 1; i >= 0; i--)
        if (revert(w, &notes.v[i], uid, counts, err) < 0)
            return -1;
    if (ask_plain(w, "DELETE FROM main.qetl_undo WHERE uid = ?1", WITH(uid),
                  "forget what was kept", NULL, err) < 0 ||
        ask_plain(w, "UPDATE main.qetl_load SET undone_at = ?2 WHERE uid = ?1", WITH(uid, now),
                  "mark it in the ledger", NULL, err) < 0)
        return -1;
    return 1;
}
