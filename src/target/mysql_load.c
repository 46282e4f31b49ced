/*
 * The MariaDB and MySQL target: its loader. The way of a job is that of every server: server.h.
 *
 * Invariants
 *   - Nothing inside of the transaction ends it: no DDL but of temporary tables, no TRUNCATE.
 *   - LOAD DATA LOCAL changes what does not fit and goes on, whatever sql_mode says, for it cannot stop the client. It tells by
 *     warnings; a single one undoes the job.
 *   - What after_load sets in the session is set back behind it as far as jobs depend on it, the rest before the next transaction.
 *
 * If the server or the network dies in the middle, the server rolls everything back (but tables that were made stay, empty). If
 * that happens while COMMIT is under way, nobody knows: the loader asks the ledger, and a commit that is still in the server's
 * hands then makes the next try wait at the ledger's key.
 */
#include <inttypes.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"
#include "target/mysql.h"
#include "target/mysql_conn.h"
#include "target/mysql_table.h"
#include "target/mysql_undo.h"
#include "target/server.h"
#include "target/staged.h"
#include "target/undo.h"

struct target_conn {
    MYSQL *my;
    unsigned long session; /* the server's number of the one that was opened: for mysql_target_interrupt(), which must not look into my */
    struct my_tables tables;
    struct my_undo undo;
    bool no_ledger; /* a rehearsal would have to make it */
    int64_t lock_wait_ms; /* of the session; 0: as my_set_session() has it */
    bool strange; /* SQL of people ran in the session since it was as new */
};

static const struct server my_server; /* at the end of the load */

static const char ledger_sql[] =
    "CREATE TABLE IF NOT EXISTS qetl_load (uid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, job BIGINT NOT NULL,"
    " pipeline TEXT NOT NULL, objects LONGTEXT NOT NULL, `rows` BIGINT NOT NULL, inserted BIGINT NOT NULL, updated BIGINT NOT NULL,"
    " unchanged BIGINT NOT NULL, deleted BIGINT NOT NULL, removed BIGINT NOT NULL, loaded_at DATETIME(6) NOT NULL,"
    " undone_at DATETIME(6))"
    " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4";
static const char ledger_update_sql[] = "ALTER TABLE qetl_load ADD COLUMN undone_at DATETIME(6)";

/* ---- open ---- */

/* Is there a ledger, as far as the user sees? *update: one of an earlier version, without undone_at. -1. */
static int find_ledger(MYSQL *my, bool *update, struct err *err)
{
    int64_t n[2];
    if (my_numbers(my, "SELECT count(*), sum(column_name = 'undone_at') FROM information_schema.columns WHERE table_schema = database()"
                       " AND table_name = 'qetl_load'", "look for the ledger", COUNT_OF(n), n, err) < 0)
        return -1;
    *update = !n[1];
    return n[0] > 0;
}

static int make_ledger(MYSQL *my, struct err *err)
{
    bool update;
    int there = find_ledger(my, &update, err), rc = there;
    if (there >= 0 && (!there || update))
        rc = my_run(my, there ? ledger_update_sql : ledger_sql, "make the ledger qetl_load", err);
    if (rc < 0)
        err->code = ERR_TARGET;
    return rc < 0 ? -1 : 0;
}

/* Does the server take LOAD DATA LOCAL? MySQL does not until somebody says so: better to hear it now than with the first job. */
static int takes_rows(MYSQL *my, struct err *err)
{
    int64_t on = 0;
    if (my_numbers(my, "SELECT @@GLOBAL.local_infile", "look at local_infile", 1, &on, err) < 0)
        return -1;
    return on ? 0 : err_set(err, ERR_TARGET, "the server's local_infile is off, so that it takes no rows; " MY_LOCAL_INFILE);
}

int mysql_target_open(struct target_conn **out, const struct config *config, const struct target_config *cfg, bool create,
                      struct err *err)
{
    struct target_conn *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    c->tables = (struct my_tables){ .config = config, .cfg = cfg };
    int rc = my_connect(&c->my, config, cfg, true, err);
    if (rc == 0 && create && (make_ledger(c->my, err) < 0 || takes_rows(c->my, err) < 0))
        rc = err_in(err, "target '%s'", cfg->name);
    if (rc < 0) {
        mysql_target_close(c);
        return -1;
    }
    c->session = mysql_thread_id(c->my);
    *out = c;
    return 0;
}

void mysql_target_close(struct target_conn *c)
{
    if (!c)
        return;
    my_tables_forget(&c->tables);
    buf_clear(&c->tables.made);
    if (c->my)
        mysql_close(c->my);
    free(c);
}

/* ---- transactions ---- */

/* In the place of a connection that was lost. */
static int connect_again(struct target_conn *c, struct err *err)
{
    MYSQL *my;
    my_tables_forget(&c->tables);
    if (my_connect(&my, c->tables.config, c->tables.cfg, true, err) < 0)
        return -1;
    mysql_close(c->my);
    c->my = my;
    c->lock_wait_ms = 0;
    c->strange = false;
    return 0;
}

/* The one that names are of, where SQL of people may have chosen another. */
static int database_back(struct target_conn *c, struct err *err)
{
    struct mysql_url url;
    if (mysql_url_parse(&url, c->tables.cfg, err) < 0)
        return -1;
    int rc = mysql_select_db(c->my, url.database) == 0 ? 0 : my_error(c->my, "put the session back", err);
    mysql_url_clear(&url);
    return rc;
}

/* The settings, too. */
static int session_back(struct target_conn *c, struct err *err)
{
    c->lock_wait_ms = 0;
    return database_back(c, err) < 0 ? -1 : my_set_session(c->my, err);
}

/* Temporary tables, variables and locks too, outside of a transaction, which it would roll back. */
static int session_anew(struct target_conn *c, struct err *err)
{
    if (mysql_reset_connection(c->my) != 0)
        return my_error(c->my, "reset the session", err);
    c->strange = false;
    return session_back(c, err);
}

static int begin(struct target_conn *c, struct err *err)
{
    if (c->strange && session_anew(c, err) < 0)
        return -1;
    return my_undo_begin(c->my, &c->undo, err) < 0 ? -1 : my_run(c->my, "START TRANSACTION", "begin", err);
}

int mysql_target_begin(struct target_conn *c, struct err *err)
{
    int rc = begin(c, err);
    if (rc < 0 && my_lost(c->my) && (rc = connect_again(c, err)) == 0) /* the server was started again since */
        rc = begin(c, err);
    if (rc == 0)
        return 0;
    (void)server_held(err);
    return err_in(err, "target '%s'", c->tables.cfg->name);
}

/* The session, and not its statement alone: SLEEP() that is broken off is no error to whoever called it. A user may end their own. */
void mysql_target_interrupt(struct target_conn *c)
{
    struct err ignored; /* it is over already, or the server is away, which the other thread sees */
    char sql[40];
    MYSQL *my;
    if (my_connect(&my, c->tables.config, c->tables.cfg, false, &ignored) < 0)
        return;
    snprintf(sql, sizeof sql, "KILL %lu", c->session);
    (void)my_run(my, sql, "end the session", &ignored);
    mysql_close(my);
}

/* DDL would end the transaction: only what is there can be rehearsed. What load_job() would find missing it tells. */
int mysql_target_rehearse(struct target_conn *c, struct schema_diff *diff, struct err *err)
{
    bool update;
    c->tables.diff = diff;
    c->undo.prune_mono_ms = INT64_MAX; /* what is expired stays for a loader */
    int there = find_ledger(c->my, &update, err);
    if (there < 0)
        return err_in(err, "target '%s'", c->tables.cfg->name);
    c->no_ledger = !there || update;
    if (c->no_ledger)
        schema_diff_own(diff, "qetl_load", there ? ledger_update_sql : ledger_sql);
    return mysql_target_begin(c, err);
}

static int look_at(void *arg, const struct load_output *output, struct err *err)
{
    struct target_conn *c = arg;
    return my_table_get(&c->tables, c->my, &output->spec, err) ? 0 : -1;
}

int mysql_target_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err)
{
    return schema_diff_look(diff, job, look_at, c, err);
}

/* Whole seconds: that is what the server has. */
static int wait_for_locks(struct target_conn *c, const struct load_job *job, struct err *err)
{
    char sql[120];
    if (job->lock_wait_ms == c->lock_wait_ms || !job->lock_wait_ms)
        return 0;
    int64_t s = (job->lock_wait_ms + 999) / 1000;
    snprintf(sql, sizeof sql, "SET SESSION innodb_lock_wait_timeout = %" PRId64 ", lock_wait_timeout = %" PRId64, s, s);
    c->lock_wait_ms = job->lock_wait_ms;
    return my_run(c->my, sql, "set up the session", err);
}

int mysql_target_add_columns(struct target_conn *c, const struct load_job *job, struct err *err)
{
    if (wait_for_locks(c, job, err) < 0)
        return err_in(err, "target '%s'", c->tables.cfg->name);
    for (int i = 0; i < job->noutputs; i++)
        if (my_table_add_columns(c->my, &job->outputs[i].spec, err) < 0)
            return err_in(err, "target '%s'", c->tables.cfg->name);
    return 0;
}

void mysql_target_rollback(struct target_conn *c)
{
    struct err err;
    my_tables_forget(&c->tables);
    if (!my_lost(c->my))
        (void)my_run(c->my, "ROLLBACK", "roll back", &err);
}

int mysql_target_commit(struct target_conn *c, struct err *err)
{
    if (sys_fault("target-before-commit"))
        return err_set(err, ERR_TARGET, "commit: fault injected");
    if (!my_in_transaction(c->my)) /* it would commit nothing */
        return err_set(err, ERR_TARGET, "target '%s': commit: the server has ended the transaction", c->tables.cfg->name);
    if (my_run(c->my, "COMMIT", "commit", err) < 0)
        return err_in(err, "target '%s'", c->tables.cfg->name);
    return sys_fault("target-after-commit") ? err_set(err, ERR_TARGET, "commit: fault injected") : 0;
}

/* ---- the ledger ---- */

int mysql_target_loaded(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    int64_t n[5] = { 0 };
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "SELECT inserted, updated, unchanged, deleted, removed, undone_at FROM qetl_load WHERE uid = ");
    my_literal(&sql, c->my, uid);
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) MYSQL_RES *r = my_select(c->my, sql.p, "ask the ledger", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    if (!r)
        err->code = ERR_TARGET;
    if (!row)
        return r ? 0 : -1;
    for (size_t i = 0; i < COUNT_OF(n); i++)
        (void)text_int_plain(str_of(row[i]), &n[i]);
    *counts = (struct load_counts){ n[0], n[1], n[2], n[3], n[4] };
    return row[5] ? undo_refuse_load(err, row[5]) : 1;
}

/* Opens the job's savepoint and writes its ledger row, as if all its rows were new. 1: it is there already; 0; -1. */
static int enter(struct target_conn *c, const struct load_job *job, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "INSERT IGNORE INTO qetl_load (uid, job, pipeline, objects, `rows`, inserted, updated, unchanged, deleted, removed,"
                   " loaded_at) VALUES (");
    server_ledger_values(&my_server, c, &sql, job);
    buf_adds(&sql, ", now(6))");
    if (sql.failed)
        return err_nomem(err);
    if (wait_for_locks(c, job, err) < 0 || my_run(c->my, "SAVEPOINT qetl_job", "begin the job", err) < 0 ||
        my_run(c->my, sql.p, "write the ledger", err) < 0)
        return -1;
    return mysql_affected_rows(c->my) == 0;
}

/* ---- rows ---- */

/* What the server gets when it asks for the file of LOAD DATA. */
struct feed {
    struct staged_reader reader;
    struct str rest;
    bool failed;
    struct err err;
};

static int feed_read(void *arg, char *out, unsigned int room)
{
    struct feed *f = arg;
    if (f->rest.n == 0) {
        int more = staged_next(&f->reader, &f->rest, &f->err);
        f->failed |= more < 0;
        if (more <= 0)
            return more;
    }
    size_t n = f->rest.n < room ? f->rest.n : room;
    memcpy(out, f->rest.p, n);
    f->rest = (struct str){ f->rest.p + n, f->rest.n - n };
    return (int)n;
}

/* Of "... for column 'name' at row 2", in whatever language: where its number begins; the end: there is none. */
static size_t last_number(const char *text)
{
    size_t at = strlen(text);
    while (at && text[at - 1] >= '0' && text[at - 1] <= '9')
        at--;
    return at;
}

/* Line `row` of what was staged, as people read it: tabs between columns are ", ". */
static int staged_line(const struct load_output *o, int64_t row, struct buf *line, struct err *err)
{
    struct staged_reader r;
    struct str bytes;
    int64_t at = 1;
    int more;
    if (staged_open(&r, o, err) < 0)
        return -1;
    while ((more = staged_next(&r, &bytes, err)) == 1 && at <= row)
        for (size_t i = 0; i < bytes.n && at <= row; i++) {
            if (at == row && bytes.p[i] == '\t')
                buf_adds(line, ", ");
            else if (at == row && bytes.p[i] != '\n')
                buf_addc(line, bytes.p[i]);
            at += bytes.p[i] == '\n';
        }
    staged_close(&r);
    return more < 0 ? -1 : line->failed ? err_nomem(err) : 0;
}

/* The server names the column, and the row by its number among those that it was sent. */
static int refuse_line(const struct load_output *o, const char *text, const char *advice, struct err *err)
{
    AUTO(buf_clear) struct buf line = { 0 }, said = { 0 };
    struct err unread;
    int64_t row = 0;
    buf_addf(&said, "load: %s%s", text, advice);
    if (!text_int_plain(str_of(text + last_number(text)), &row) || row < 1 || row > o->output->rows || said.failed ||
        staged_line(o, row, &line, &unread) < 0)
        return err_set(err, ERR_TARGET_REFUSED, "load: %s%s", text, advice);
    return server_refuse_row(err, said.p, NULL, row, o->output->rows, buf_str(&line));
}

/* What LOAD DATA could not keep as it was is refused, with the first row of it. */
static int refuse_warnings(struct target_conn *c, const struct load_output *o, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r = my_select(c->my, "SHOW WARNINGS", "look at the warnings", err);
    const char *text = "", *advice = "";
    if (!r)
        return -1;
    bool note = true;
    for (MYSQL_ROW row; note && (row = mysql_fetch_row(r));) {
        note = !strcmp(row[0], "Note");
        if (!*text || !note) {
            text = row[2];
            advice = my_advice((unsigned)strtoul(row[1], NULL, 10));
        }
    }
    return refuse_line(o, text, advice, err);
}

static int load_text(struct target_conn *c, const struct my_table *t, const struct load_output *o, struct err *err)
{
    struct feed feed = { 0 };
    struct my_serving serving = { feed_read, &feed };
    if (staged_open(&feed.reader, o, err) < 0)
        return -1;
    my_serve(c->my, &serving);
    int rc = my_run(c->my, t->load.p, "load", err);
    my_serve(c->my, NULL);
    staged_close(&feed.reader);
    if (rc < 0 && feed.failed)
        *err = feed.err;
    if (rc < 0)
        return -1;
    int64_t rows = (int64_t)mysql_affected_rows(c->my);
    if (mysql_warning_count(c->my))
        return refuse_warnings(c, o, err);
    return rows == o->output->rows ? 0
                                   : err_set(err, ERR_TARGET_REFUSED, "%" PRId64 " of %" PRId64 " rows went in", rows, o->output->rows);
}

/* SQL of the table with the time of the load in it. *changed, which may be NULL: rows. */
static int run_at(struct target_conn *c, const struct buf *sql, const char *now, const char *what, int64_t *changed, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    sql_fill(&text, sql->p, ":now", now);
    if (text.failed)
        return err_nomem(err);
    if (my_run(c->my, text.p, what, err) < 0)
        return -1;
    if (changed)
        *changed = (int64_t)mysql_affected_rows(c->my);
    return 0;
}

static int run_steps(struct target_conn *c, const struct my_step *steps, const char *now, struct err *err)
{
    for (int i = 0; i < MY_STEPS && steps[i].what; i++)
        if (run_at(c, &steps[i].sql, now, steps[i].what, NULL, err) < 0)
            return -1;
    return 0;
}

/* Of "Records: 3  Duplicates: 2  Warnings: 0", in whatever language; -1: there is none. */
static int64_t second_number(const char *text)
{
    static const char digits[] = "0123456789";
    const char *p = text ? text + strcspn(text, digits) : "";
    p += strspn(p, digits);
    p += strcspn(p, digits);
    return *p ? strtoll(p, NULL, 10) : -1;
}

/* Inserted, updated and deleted by a merge in one statement. A row that is inserted counts 1 of those affected, one that changes
 * another 2 and is a duplicate, one that changes nothing 0: https://mariadb.com/kb/en/mysql_affected_rows/, mysql_info. */
static int count_direct(struct target_conn *c, const struct my_table *t, int64_t rows, int64_t n[3], struct err *err)
{
    int64_t changed = second_number(mysql_info(c->my)), keys = rows;
    n[0] = (int64_t)mysql_affected_rows(c->my) - 2 * changed;
    n[1] = n[2] = 0;
    if (changed < 0)
        return err_set(err, ERR_TARGET, "merge the rows: the server does not say what became of them");
    if (!t->updates || n[0] == rows)
        return 0;
    if (my_numbers(c->my, t->counts.p, "count", 1, &keys, err) < 0)
        return -1;
    n[1] = keys - n[0];
    return 0;
}

static int merge_rows(struct target_conn *c, const char *uid, const struct my_table *t, const struct load_output *o, struct load_counts *counts,
                      struct err *err)
{
    char now[SERVER_NOW];
    int64_t n[3], removed = 0;
    server_now(now, "'");
    if (run_steps(c, t->before, now, err) < 0 || load_text(c, t, o, err) < 0 || run_steps(c, t->compare, now, err) < 0 ||
        my_undo_keep(c->my, uid, t, &o->spec, NULL, err) < 0 || run_steps(c, t->merge, now, err) < 0 ||
        (t->direct ? count_direct(c, t, o->output->rows, n, err) : my_numbers(c->my, t->counts.p, "count", COUNT_OF(n), n, err)) < 0 ||
        (t->missing.n && run_at(c, &t->missing, now, "remove what is missing", &removed, err) < 0) ||
        my_run(c->my, t->before[0].sql.p, t->before[0].what, err) < 0)
        return -1;
    counts->inserted += n[0];
    counts->updated += n[1];
    counts->deleted += n[2];
    counts->unchanged += o->output->rows - n[0] - n[1] - n[2];
    counts->removed += removed;
    return 0;
}

/* For a replace. Rows that others commit between the keeping and the emptying are removed, too: then both are done anew, by when they are locked. */
static int empty(struct target_conn *c, const struct my_table *t, const struct table_spec *spec, struct load_job *job, struct err *err)
{
    enum { TRIES = 5 };
    int64_t before = job->counts.removed, kept;
    if (!t->keep.n)
        return server_empty_table(&my_server, c, t->name.p, job, err);
    for (int i = 0; i < TRIES; i++) {
        if (my_run(c->my, "SAVEPOINT qetl_empty", "empty the table", err) < 0 || my_undo_keep(c->my, job->uid, t, spec, &kept, err) < 0 ||
            server_empty_table(&my_server, c, t->name.p, job, err) < 0)
            return -1;
        if (job->counts.removed - before == kept)
            return 0;
        job->counts.removed = before;
        if (my_run(c->my, "ROLLBACK TO SAVEPOINT qetl_empty", "empty the table", err) < 0)
            return -1;
    }
    return err_set(err, ERR_TARGET_LOCKED, "others put rows into the table '%s' again and again while it was emptied", spec->name);
}

static int put_output(struct target_conn *c, struct load_job *job, int at, struct err *err)
{
    const struct load_output *o = &job->outputs[at];
    struct my_table *t = my_table_get(&c->tables, c->my, &o->spec, err);
    if (!t || (t->mode == MODE_REPLACE && load_begins_table(job, at, strcmp) && empty(c, t, &o->spec, job, err) < 0))
        return -1;
    int64_t before = job->counts.inserted;
    int rc = t->staged ? merge_rows(c, job->uid, t, o, &job->counts, err) : load_text(c, t, o, err);
    if (rc == 0 && !t->staged)
        job->counts.inserted += o->output->rows;
    if (rc < 0)
        return err_in(err, "table '%s'", o->spec.name);
    return my_undo_note(c->my, &c->undo, job, t, &o->spec, job->counts.inserted - before, err);
}

static int load_output(struct target_conn *c, struct load_job *job, int at, struct err *err)
{
    int rc = put_output(c, job, at, err);
    if (rc < 0 && err->code == ERR_TARGET_DENIED)
        schema_diff_refuse(c->tables.diff, at, err);
    return rc;
}

/* ---- after_load ---- */

/* With the number of the statement and the line where it begins. */
static int statement_error(struct target_conn *c, const char *sql, const char *what, int statement, struct err *err)
{
    char where[80];
    int line = mysql_line_of(sql, statement);
    if (line)
        snprintf(where, sizeof where, "%s: statement %d, line %d", what, statement, line);
    return my_error(c->my, line ? where : what, err);
}

/* All statements of `sql`, their rows thrown away but for the first value of the first, behind *first. `inside`: of the transaction, which
 * they must not end. */
static int run_many(struct target_conn *c, const char *sql, const char *what, bool inside, struct buf *first, struct err *err)
{
    int statement = 1, more = mysql_real_query(c->my, sql, strlen(sql)) == 0 ? 0 : 1;
    while (more == 0) {
        AUTO(result_clearp) MYSQL_RES *r = mysql_store_result(c->my);
        MYSQL_ROW row = r && first ? mysql_fetch_row(r) : NULL;
        if (row && row[0] && !first->n)
            buf_adds(first, row[0]);
        if (mysql_errno(c->my))
            break;
        if (inside && !my_in_transaction(c->my))
            return err_set(err, ERR_TARGET_REFUSED, "%s ended the transaction", what);
        more = mysql_next_result(c->my);
        statement++;
    }
    return more == -1 ? 0 : statement_error(c, sql, what, statement, err);
}

/* The same, as one text that may have several. */
static int run_text(struct target_conn *c, const char *sql, const char *what, bool inside, struct buf *first, struct err *err)
{
    if (mysql_set_server_option(c->my, MYSQL_OPTION_MULTI_STATEMENTS_ON) != 0)
        return my_error(c->my, what, err);
    int rc = run_many(c, sql, what, inside, first, err);
    while (mysql_more_results(c->my) && mysql_next_result(c->my) == 0)
        mysql_free_result(mysql_store_result(c->my));
    if (mysql_set_server_option(c->my, MYSQL_OPTION_MULTI_STATEMENTS_OFF) != 0 && rc == 0)
        return my_error(c->my, what, err);
    return rc;
}

int mysql_target_run(struct target_conn *c, const char *sql, struct buf *first, struct err *err)
{
    int rc = run_text(c, sql, "SQL", false, first, err);
    if (rc == 0)
        rc = session_back(c, err);
    return rc == 0 && first && first->failed ? err_nomem(err) : rc;
}

/*
 * The parameters of after_load are variables of the session, bound by a prepared statement; in the SQL, whose statements go in one
 * call, stand expressions that read them. In ASCII they compare with texts of any collation.
 */
static const char *const param_reads[LOAD_PARAMS] = {
    [LOAD_PARAM_JOB] = "@qetl_job",
    [LOAD_PARAM_PIPELINE] = "@qetl_pipeline",
    [LOAD_PARAM_WATERMARK] = "CAST(@qetl_watermark AS DATETIME(6))",
    [LOAD_PARAM_PREVIOUS_WATERMARK] = "CAST(@qetl_previous_watermark AS DATETIME(6))",
};

static int set_params(struct target_conn *c, const struct load_job *job, struct err *err)
{
    static const char sql[] = "SET @qetl_job = CONVERT(? USING ascii), @qetl_pipeline = CONVERT(? USING ascii),"
                              " @qetl_watermark = CONVERT(? USING ascii), @qetl_previous_watermark = CONVERT(? USING ascii)";
    MYSQL_BIND binds[LOAD_PARAMS] = { 0 };
    MYSQL_STMT *st = mysql_stmt_init(c->my);
    if (!st)
        return err_nomem(err);
    for (int i = 0; i < LOAD_PARAMS; i++) {
        const char *v = load_param(job, i);
        binds[i] = (MYSQL_BIND){ .buffer_type = v ? MYSQL_TYPE_STRING : MYSQL_TYPE_NULL, .buffer = (void *)v,
                                 .buffer_length = v ? strlen(v) : 0 };
    }
    bool done = mysql_stmt_prepare(st, sql, sizeof sql - 1) == 0 && mysql_stmt_bind_param(st, binds) == 0 && mysql_stmt_execute(st) == 0;
    int rc = done ? 0 : my_error(c->my, "parameters of after_load", err);
    mysql_stmt_close(st);
    return rc;
}

static int after_load(struct target_conn *c, const char *sql, struct err *err)
{
    c->strange = true;
    if (mysql_stays_inside(sql, err) < 0)
        return -1;
    int rc = run_text(c, sql, "after_load", true, NULL, err);
    if (rc < 0 && (err->sys == ER_QUERY_INTERRUPTED || err->sys == ER_STATEMENT_TIMEOUT)) /* by itself, or by somebody who found it too long */
        err->code = ERR_TARGET_REFUSED;
    return rc;
}

/* Where a procedure that after_load called ended the transaction and began another one, the job's row in the ledger is gone with the rest. The
 * settings are put back only then, for that would commit what it began without a START TRANSACTION. */
static int settle(struct target_conn *c, const struct load_job *job, struct err *err)
{
    struct load_counts counts;
    if (!job->after_load)
        return 0;
    if (database_back(c, err) < 0)
        return -1;
    int there = mysql_target_loaded(c, job->uid, &counts, err);
    return there < 0 ? -1 : there ? session_back(c, err) : err_set(err, ERR_AFTER_LOAD, "after_load ended the transaction");
}

static bool lost(struct target_conn *c) { return my_lost(c->my) || mysql_ping(c->my) != 0; }

/* ---- jobs ---- */

static void literal(struct target_conn *c, struct buf *out, const char *text) { my_literal(out, c->my, text); }

static int run(struct target_conn *c, const char *sql, const char *what, int64_t *rows, struct err *err)
{
    int rc = my_run(c->my, sql, what, err);
    if (rc == 0 && rows)
        *rows = (int64_t)mysql_affected_rows(c->my);
    return rc;
}

static int prepare(struct target_conn *c, const struct load_job *job, struct err *err)
{
    return my_undo_prepare(&c->tables, &c->undo, job, err);
}

static void forget(struct target_conn *c) { my_tables_forget(&c->tables); }

static const struct server my_server = {
    .rollback = "ROLLBACK TO SAVEPOINT qetl_job",
    .literal = literal,
    .run = run,
    .enter = enter,
    .loaded = mysql_target_loaded,
    .prepare = prepare,
    .load_output = load_output,
    .param_reads = param_reads,
    .set_params = set_params,
    .after_load = after_load,
    .settle = settle,
    .lost = lost,
    .forget = forget,
};

static int can_rehearse(const struct target_conn *c, const struct load_job *job, struct err *err)
{
    if (c->no_ledger)
        return err_set(err, ERR_TARGET, "it would make the ledger qetl_load, which this server cannot take back");
    if (job->after_load) /* a procedure in it could end the transaction */
        return err_set(err, ERR_TARGET, "what after_load does cannot be taken back for sure on this server");
    return 0;
}

/* A table that was made stays: others may already know that it is there, and die if it went. */
static int tell_made(const struct target_conn *c, struct err *err)
{
    struct err was = *err;
    if (err_class(err->code) == ERR_TRANSIENT || c->tables.made.failed)
        return -1;
    return err_set(err, was.code, "%s; what it made stays, without its rows: table %s", was.msg, c->tables.made.p);
}

int mysql_target_load_job(struct target_conn *c, struct load_job *job, struct err *err)
{
    if (c->tables.diff && can_rehearse(c, job, err) < 0)
        return -1;
    buf_reset(&c->tables.made);
    int rc = server_load_job(&my_server, c, job, err);
    return rc < 0 && c->tables.made.n ? tell_made(c, err) : rc;
}

int mysql_target_probe(struct target_conn *c, struct err *err)
{
    bool update;
    int there = find_ledger(c->my, &update, err);
    int rc = there < 0 || takes_rows(c->my, err) < 0 ? -1 : server_probe(&my_server, c, there, err);
    return rc < 0 ? err_in(err, "target '%s'", c->tables.cfg->name) : 0;
}

int mysql_target_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    int rc = my_undo(c->my, &c->undo, uid, counts, err);
    if (rc < 0 && err_class(err->code) != ERR_TRANSIENT)
        err->code = ERR_STATE;
    return rc;
}

/* ---- queries ---- */

static bool is_number(const MYSQL_FIELD *f)
{
    return IS_NUM(f->type) && f->type != MYSQL_TYPE_TIMESTAMP && f->type != MYSQL_TYPE_YEAR && !(f->flags & ZEROFILL_FLAG);
}

static int sink_columns(const struct query_sink *sink, MYSQL_RES *r, struct err *err)
{
    unsigned n = mysql_num_fields(r);
    const char **names = calloc(n + 1, sizeof *names);
    if (!names)
        return err_nomem(err);
    for (unsigned i = 0; i < n; i++)
        names[i] = mysql_fetch_field_direct(r, i)->name;
    int rc = sink->columns(sink->arg, (int)n, names, err);
    free(names);
    return rc;
}

/* Bytes that are no text: BINARY, BLOB, BIT. Character set 63 is "binary"; numbers and times have it, too. */
static bool is_binary(const MYSQL_FIELD *f)
{
    enum { BINARY_CHARSET = 63 };
    return f->type == MYSQL_TYPE_BIT || f->type == MYSQL_TYPE_GEOMETRY ||
           (f->charsetnr == BINARY_CHARSET && (f->type == MYSQL_TYPE_STRING || f->type == MYSQL_TYPE_VAR_STRING ||
                                               (f->type >= MYSQL_TYPE_TINY_BLOB && f->type <= MYSQL_TYPE_BLOB)));
}

/* 0x and two digits a byte. out has room for them. */
static struct str put_hex(struct buf *out, const char *p, size_t n)
{
    size_t from = out->n;
    buf_adds(out, "0x");
    buf_add_hex(out, (struct str){ p, n });
    return (struct str){ out->p + from, out->n - from };
}

/* values: what stands in the row; hex holds those that are bytes. */
static int take_row(struct query_value *values, MYSQL_RES *r, MYSQL_ROW row, struct buf *hex, struct err *err)
{
    const unsigned long *lengths = mysql_fetch_lengths(r);
    unsigned n = mysql_num_fields(r);
    size_t room = 1;
    for (unsigned i = 0; i < n; i++)
        room += row[i] && is_binary(mysql_fetch_field_direct(r, i)) ? 2 * lengths[i] + 2 : 0;
    buf_reset(hex);
    if (!buf_reserve(hex, room)) /* nothing moves then */
        return err_nomem(err);
    for (unsigned i = 0; i < n; i++) {
        const MYSQL_FIELD *f = mysql_fetch_field_direct(r, i);
        values[i] = (struct query_value){ 0 };
        if (row[i] && is_binary(f))
            values[i].text = put_hex(hex, row[i], lengths[i]);
        else if (row[i])
            values[i] = (struct query_value){ { row[i], lengths[i] }, is_number(f) };
    }
    return 0;
}

/* In a transaction that we began to read only. */
static int query_error(MYSQL *my, struct err *err)
{
    if (mysql_errno(my) == ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION)
        return err_set(err, ERR_TARGET_REFUSED, "a query may only read");
    return my_error(my, "query", err);
}

static int sink_rows(const struct query_sink *sink, MYSQL *my, MYSQL_RES *r, struct err *err)
{
    unsigned n = mysql_num_fields(r);
    AUTO(buf_clear) struct buf hex = { 0 };
    struct query_value *values = calloc(n + 1, sizeof *values);
    int rc = values ? sink_columns(sink, r, err) : err_nomem(err);
    for (MYSQL_ROW row; rc == 0 && (row = mysql_fetch_row(r));) {
        rc = take_row(values, r, row, &hex, err);
        if (rc == 0)
            rc = sink->row(sink->arg, (int)n, values, err);
    }
    free(values);
    return rc == 0 && mysql_errno(my) ? query_error(my, err) : rc;
}

int mysql_target_query(const struct config *config, const struct target_config *cfg, const char *sql, const struct query_sink *sink,
                       struct err *err)
{
    MYSQL *my;
    if (mysql_only_reads(sql, err) < 0)
        return err_in(err, "target '%s'", cfg->name);
    if (my_connect(&my, config, cfg, false, err) < 0)
        return -1;
    int rc = my_run(my, "START TRANSACTION READ ONLY", "begin", err);
    if (rc == 0 && mysql_real_query(my, sql, strlen(sql)) != 0)
        rc = query_error(my, err);
    MYSQL_RES *r = rc == 0 ? mysql_use_result(my) : NULL;
    if (r)
        rc = sink_rows(sink, my, r, err);
    else if (rc == 0 && mysql_errno(my))
        rc = query_error(my, err);
    mysql_free_result(r); /* reads what is left of a query that was ended */
    mysql_close(my);
    return rc < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
}
