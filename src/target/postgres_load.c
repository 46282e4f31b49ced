/*
 * The PostgreSQL target: its loader. The way of a job is that of every server: server.h.
 *
 * Invariants
 *   - A savepoint is released together with the statement that comes next, which saves a round trip a job.
 *   - Nothing is cached across a rollback.
 *   - What would be found at COMMIT is found behind each job (settle), so that no job is held against another one.
 *   - What after_load makes of the session ends with it.
 *   - Nothing that a transaction needs is kept in the session: settings, temporary tables and locks are those of the transaction, so that
 *     a pooler may give each one another connection of the server.
 *
 * If the server or the network dies in the middle, the server rolls everything back. If that happens while COMMIT is under way,
 * nobody knows: the loader asks the ledger, and a commit that is still in the server's hands then makes the next try wait at
 * the ledger's key.
 */
#include "target/postgres.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "io/sql_text.h"
#include "target/postgres_conn.h"
#include "target/postgres_fault.h"
#include "target/postgres_table.h"
#include "target/postgres_undo.h"
#include "target/server.h"
#include "target/staged.h"
#include "target/undo.h"

enum { PRUNE_MS = 3600000 };
static const struct server pg_server; /* at the end of the load */

struct target_conn {
    PGconn *pg;
    PGcancel *cancel; /* for postgres_interrupt(), which must not look into pg; NULL: there was no memory */
    char *name;
    bool job_open; /* a savepoint waits for its release */
    int64_t lock_wait_ms; /* of this transaction; 0: as PG_SETTINGS has it */
    struct pg_tables tables;
    struct pg_watch watch;
    int64_t prune_mono_ms;
    struct buf deferred; /* SQL: looks at constraints that wait for COMMIT, which wait again then; empty: there are none */
    bool deferred_known;
    struct err no_ledger; /* of a rehearsal: why it could not make it, or ERR_NONE */
};

#define LEDGER_FIRST PG_SETTINGS PG_ALONE("qetl_load")
static const char ledger_sql[] =
    LEDGER_FIRST
    "CREATE TABLE IF NOT EXISTS qetl_load (uid text PRIMARY KEY, job bigint NOT NULL, pipeline text NOT NULL, objects text NOT NULL,"
    " rows bigint NOT NULL, inserted bigint NOT NULL, updated bigint NOT NULL, unchanged bigint NOT NULL, deleted bigint NOT NULL,"
    " removed bigint NOT NULL, loaded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(), undone_at timestamp with time zone)";
static const char ledger_update_sql[] = LEDGER_FIRST "ALTER TABLE qetl_load ADD COLUMN IF NOT EXISTS undone_at timestamp with time zone";

/* ---- open ---- */

/* Is there a ledger? *update: one of an earlier version, without undone_at. -1. */
static int find_ledger(PGconn *pg, bool *update, struct err *err)
{
    AUTO(result_clearp) PGresult *r = pg_exec(pg,
                                              "SELECT count(*), count(*) FILTER (WHERE attname = 'undone_at') FROM pg_attribute"
                                              " WHERE attrelid = to_regclass('qetl_load')",
                                              "look for the ledger", err);
    if (!r)
        return -1;
    *update = !pg_number(r, 1);
    return pg_number(r, 0) > 0;
}

static int make_ledger(PGconn *pg, struct schema_diff *diff, struct err *err)
{
    static const char what[] = "make the ledger qetl_load";
    bool update;
    int there = find_ledger(pg, &update, err);
    if (there < 0 || (there && !update))
        return there < 0 ? -1 : 0;
    const char *sql = there ? ledger_update_sql : ledger_sql;
    if (pg_run(pg, sql, what, err) == 0) {
        schema_diff_own(diff, "qetl_load", sql + strlen(LEDGER_FIRST));
        return 0;
    }
    if (!diff)
        err->code = ERR_TARGET;
    return -1;
}

int postgres_open(struct target_conn **out, const struct config *config, const struct target_config *cfg, bool create,
                  struct err *err)
{
    struct target_conn *c = calloc(1, sizeof *c);
    if (!c || !(c->name = strdup(cfg->name))) {
        free(c);
        return err_nomem(err);
    }
    int rc = pg_connect(&c->pg, config, cfg, err);
    if (rc == 0 && create && make_ledger(c->pg, NULL, err) < 0)
        rc = err_in(err, "target '%s'", cfg->name);
    if (rc < 0) {
        postgres_close(c);
        return -1;
    }
    c->cancel = PQgetCancel(c->pg);
    *out = c;
    return 0;
}

void postgres_close(struct target_conn *c)
{
    if (!c)
        return;
    pg_tables_forget(&c->tables);
    pg_watch_clear(&c->watch);
    buf_clear(&c->deferred);
    PQfreeCancel(c->cancel);
    PQfinish(c->pg);
    free(c->name);
    free(c);
}

/* ---- transactions ---- */

/*
 * Asked once a connection: one that is made later fails a COMMIT, which ends the connection. A name that somebody gave to a constraint
 * of another kind too, or in a schema that the role may not use, cannot be deferred again by its name: it is looked at right away from
 * the first job of a transaction on.
 */
static int find_deferred(struct target_conn *c, struct err *err)
{
    if (c->deferred_known)
        return 0;
    AUTO(result_clearp) PGresult *r =
        pg_exec(c->pg,
                "SELECT count(*), string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ') FILTER (WHERE"
                " has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS (SELECT 1 FROM pg_constraint o WHERE o.conname = c.conname"
                " AND o.connamespace = c.connamespace AND NOT o.condeferrable))"
                " FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.condeferred AND n.nspname !~ '^pg_'",
                "look for deferred constraints", err);
    if (!r)
        return -1;
    buf_reset(&c->deferred);
    if (pg_number(r, 0))
        buf_adds(&c->deferred, "SET CONSTRAINTS ALL IMMEDIATE; ");
    if (pg_number(r, 0) && !PQgetisnull(r, 0, 1))
        buf_addf(&c->deferred, "SET CONSTRAINTS %s DEFERRED; ", PQgetvalue(r, 0, 1));
    c->deferred_known = !c->deferred.failed;
    return c->deferred_known ? 0 : err_nomem(err);
}

int postgres_begin(struct target_conn *c, struct err *err)
{
    if (PQstatus(c->pg) != CONNECTION_OK) { /* the server was started again since */
        pg_tables_forget(&c->tables);
        c->deferred_known = false;
        PQreset(c->pg);
    }
    c->job_open = false;
    c->lock_wait_ms = 0;
    c->tables.transaction++;
    int64_t now = sys_mono_ms();
    bool prune = now >= c->prune_mono_ms;
    c->prune_mono_ms = prune ? now + PRUNE_MS : c->prune_mono_ms;
    if ((prune && pg_undo_prune(c->pg, err) < 0) || pg_undo_begin(c->pg, &c->watch, err) < 0 || find_deferred(c, err) < 0) {
        (void)server_held(err);
        return err_in(err, "target '%s'", c->name);
    }
    return 0;
}

/* Inside of the transaction. Where the role may not make it there is none, and what becomes of the tables is seen all the same. */
static int rehearse_ledger(struct target_conn *c, struct schema_diff *diff, struct err *err)
{
    if (pg_run(c->pg, "SAVEPOINT ledger", "begin", err) < 0)
        return -1;
    if (make_ledger(c->pg, diff, err) == 0)
        return pg_run(c->pg, "RELEASE SAVEPOINT ledger", "begin", err);
    if (err->code != ERR_TARGET_DENIED)
        return server_held(err);
    c->no_ledger = *err;
    err_in(&c->no_ledger, "target '%s'", c->name);
    return pg_run(c->pg, "ROLLBACK TO SAVEPOINT ledger; RELEASE SAVEPOINT ledger", "begin", err);
}

/* What is expired of undo stays for a loader. */
int postgres_rehearse(struct target_conn *c, struct schema_diff *diff, struct err *err)
{
    c->tables.diff = diff;
    c->job_open = false;
    c->lock_wait_ms = 0;
    c->tables.transaction++;
    if (pg_undo_begin(c->pg, &c->watch, err) < 0 || rehearse_ledger(c, diff, err) < 0 || find_deferred(c, err) < 0)
        return err_in(err, "target '%s'", c->name);
    return 0;
}

/* https://www.postgresql.org/docs/15/libpq-cancel.html: safe beside the thread that waits, and whether it helps that one sees. */
void postgres_interrupt(struct target_conn *c)
{
    char ignored[256];
    if (c->cancel)
        (void)PQcancel(c->cancel, ignored, sizeof ignored);
}

void postgres_rollback(struct target_conn *c)
{
    struct err err;
    pg_tables_forget(&c->tables);
    c->job_open = false;
    if (PQstatus(c->pg) == CONNECTION_OK && PQtransactionStatus(c->pg) != PQTRANS_IDLE)
        (void)pg_run(c->pg, "ROLLBACK", "roll back", &err);
}

int postgres_commit(struct target_conn *c, struct err *err)
{
    if (sys_fault("target-before-commit"))
        return err_set(err, ERR_TARGET, "commit: fault injected");
    AUTO(result_clearp) PGresult *r = pg_exec(c->pg, "COMMIT", "commit", err);
    c->job_open = false;
    if (!r)
        return err_in(err, "target '%s'", c->name);
    if (strcmp(PQcmdStatus(r), "COMMIT")) /* "ROLLBACK": something in it had failed */
        return err_set(err, ERR_TARGET, "target '%s': commit: the server rolled back", c->name);
    return sys_fault("target-after-commit") ? err_set(err, ERR_TARGET, "commit: fault injected") : 0;
}

/* ---- the ledger ---- */

static void take_counts(const PGresult *r, struct load_counts *counts)
{
    *counts = (struct load_counts){ pg_number(r, 0), pg_number(r, 1), pg_number(r, 2), pg_number(r, 3), pg_number(r, 4) };
}

int postgres_loaded(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    const char *const values[] = { uid };
    AUTO(result_clearp) PGresult *r =
        PQexecParams(c->pg, "SELECT inserted, updated, unchanged, deleted, removed, date_trunc('second', undone_at AT TIME ZONE 'UTC')"
                     " FROM qetl_load WHERE uid = $1", 1, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(r) != PGRES_TUPLES_OK) {
        (void)pg_error(c->pg, r, "ask the ledger", err);
        err->code = ERR_TARGET;
        return -1;
    }
    if (PQntuples(r) == 0)
        return 0;
    take_counts(r, counts);
    return PQgetisnull(r, 0, 5) ? 1 : undo_refuse_load(err, PQgetvalue(r, 0, 5));
}

/* Opens the job's savepoint and writes its ledger row, as if all its rows were new. 1: it is there already; 0; -1. */
static int enter(struct target_conn *c, const struct load_job *job, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, c->job_open ? "RELEASE SAVEPOINT job; " : "");
    if (job->lock_wait_ms != c->lock_wait_ms && job->lock_wait_ms)
        buf_addf(&sql, "SET LOCAL lock_timeout = %" PRId64 "; ", job->lock_wait_ms);
    buf_adds(&sql, "SAVEPOINT job; ");
    buf_adds(&sql, "INSERT INTO qetl_load (uid, job, pipeline, objects, rows, inserted, updated, unchanged, deleted, removed, loaded_at)"
                   " VALUES (");
    server_ledger_values(&pg_server, c, &sql, job);
    buf_adds(&sql, ", clock_timestamp()) ON CONFLICT (uid) DO NOTHING");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = pg_exec(c->pg, sql.p, "write the ledger", err);
    if (!r)
        return -1;
    c->job_open = true;
    c->lock_wait_ms = job->lock_wait_ms;
    return strcmp(PQcmdTuples(r), "0") == 0;
}

/* ---- rows ---- */

static int put(struct target_conn *c, const void *p, size_t n, struct err *err)
{
    return PQputCopyData(c->pg, p, (int)n) == 1 ? 0 : pg_error(c->pg, NULL, "copy", err);
}

/* File header and trailer of COPY BINARY around the staged tuples. */
static int send_rows(struct target_conn *c, const struct load_output *o, struct err *err)
{
    static const char head[19] = "PGCOPY\n\377\r\n\0"; /* then flags and the length of an extension: none */
    struct staged_reader r;
    struct str bytes;
    if (staged_open(&r, o, err) < 0)
        return -1;
    int rc = put(c, head, sizeof head, err), more = 1;
    while (rc == 0 && (more = staged_next(&r, &bytes, err)) == 1)
        rc = put(c, bytes.p, bytes.n, err);
    staged_close(&r);
    return rc < 0 || more < 0 ? -1 : put(c, &(uint16_t){ 0xffff }, 2, err);
}

/* The answer to what was copied; *rows of them. */
static int copied(struct target_conn *c, int64_t *rows, struct err *err)
{
    int rc = 0;
    for (PGresult *r; (r = PQgetResult(c->pg)); PQclear(r)) {
        if (PQresultStatus(r) == PGRES_COMMAND_OK)
            *rows = pg_changed(r);
        else if (rc == 0)
            rc = pg_error(c->pg, r, "copy", err);
    }
    return rc;
}

static int copy_rows(struct target_conn *c, const char *sql, const struct load_output *o, struct err *err)
{
    AUTO(result_clearp) PGresult *start = pg_exec(c->pg, sql, "copy", err);
    if (!start)
        return -1;
    struct err server;
    int64_t rows = 0;
    bool sent = send_rows(c, o, err) == 0;
    if (PQputCopyEnd(c->pg, sent ? NULL : "the staged rows cannot be read") != 1)
        return pg_error(c->pg, NULL, "copy", err);
    int rc = copied(c, &rows, sent ? err : &server);
    if (!sent || rc < 0)
        return -1;
    /* a trigger or a rule may leave rows out */
    return rows == o->output->rows ? 0
                                   : err_set(err, ERR_TARGET_REFUSED, "%" PRId64 " of %" PRId64 " rows went in: has the table a trigger?",
                                             rows, o->output->rows);
}

/* The table's SQL with the time of the load in it. */
static PGresult *run_at(struct target_conn *c, const struct buf *sql, const char *now, const char *what, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    sql_fill(&text, sql->p, ":now", now);
    if (text.failed) {
        (void)err_nomem(err);
        return NULL;
    }
    return pg_exec(c->pg, text.p, what, err);
}

/* object_not_in_prerequisite_state: is it the constraint on the key? What the job did is given up for the look at it. */
static void tell_key(struct target_conn *c, const struct pg_table *t, struct err *err)
{
    struct err ignored, why;
    if (pg_run(c->pg, pg_server.rollback, "roll back", &ignored) == 0 && pg_table_check_key(c->pg, t, &why) < 0 && why.code == ERR_TARGET_REFUSED)
        *err = why;
}

/* The merge, or with `explain` only its plan. Whether there is a unique index on the key the server tells: 42P10, invalid_column_reference. */
static PGresult *run_merge(struct target_conn *c, const struct pg_table *t, const char *explain, const char *now, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, explain);
    sql_fill(&text, t->merge.p, ":now", now);
    if (text.failed) {
        (void)err_nomem(err);
        return NULL;
    }
    PGresult *r = PQexec(c->pg, text.p);
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    (void)pg_error(c->pg, r, "merge the rows", err);
    if (state && !strcmp(state, "42P10"))
        err_set(err, ERR_TARGET_REFUSED, "there is no unique index on the key; run: %s", t->add_unique.p);
    if (state && !strcmp(state, "55000"))
        tell_key(c, t, err);
    PQclear(r);
    return NULL;
}

/* The temporary table of this transaction, empty. */
static int ready_stage(struct target_conn *c, struct pg_table *t, struct err *err)
{
    bool there = t->staged_in == c->tables.transaction;
    t->staged_in = c->tables.transaction;
    return there ? pg_run(c->pg, t->empty_stage.p, "empty the temporary table", err)
                 : pg_run(c->pg, t->make_stage.p, "make the temporary table", err);
}

static int merge_rows(struct target_conn *c, const char *uid, struct pg_table *t, const struct load_output *o,
                      struct load_counts *counts, struct err *err)
{
    char now[SERVER_NOW];
    server_now(now, "+00'::timestamp with time zone");
    if (ready_stage(c, t, err) < 0 || copy_rows(c, t->copy.p, o, err) < 0 ||
        (t->mode == MODE_UPSERT && pg_undo_before(c->pg, uid, t, err) < 0))
        return -1;
    AUTO(result_clearp) PGresult *before = t->before.n ? pg_exec(c->pg, t->before.p, "count new rows", err) : NULL;
    if (t->before.n && !before)
        return -1;
    AUTO(result_clearp) PGresult *merged = run_merge(c, t, "", now, err);
    if (!merged)
        return -1;
    int64_t fresh = before ? pg_number(before, 0) : 0, inserted = pg_number(merged, 0) + fresh, updated = pg_number(merged, 1) - fresh,
            deleted = pg_number(merged, 2);
    counts->inserted += inserted;
    counts->updated += updated;
    counts->deleted += deleted;
    counts->unchanged += o->output->rows - inserted - updated - deleted;
    if (!t->missing.n)
        return 0;
    AUTO(result_clearp) PGresult *gone = run_at(c, &t->missing, now, "remove what is missing", err);
    if (!gone)
        return -1;
    counts->removed += pg_changed(gone);
    return 0;
}

struct again {
    struct target_conn *c;
    const struct load_output *o;
};

static int copy_again(void *arg, const char *sql, struct err *err)
{
    const struct again *a = arg;
    return copy_rows(a->c, sql, a->o, err);
}

/* The job dies of a value: say of which. */
static void name_value(struct target_conn *c, const struct load_output *o, struct err *err)
{
    struct again again = { c, o };
    struct pg_fault f = { .pg = c->pg, .spec = &o->spec, .rows = o->output->rows, .copy = copy_again, .arg = &again };
    struct err back;
    if (pg_run(c->pg, pg_server.rollback, "roll back", &back) == 0)
        (void)pg_fault_find(&f, err);
}

static int put_output(struct target_conn *c, struct load_job *job, int at, struct err *err)
{
    const struct load_output *o = &job->outputs[at];
    struct pg_table *t = pg_table_get(&c->tables, c->pg, &o->spec, err);
    int64_t before = job->counts.inserted;
    if (!t || (t->mode == MODE_REPLACE && load_begins_table(job, at, strcmp) &&
               (pg_undo_before(c->pg, job->uid, t, err) < 0 || server_empty_table(&pg_server, c, t->rows.p, job, err) < 0)))
        return -1;
    int rc = t->staged ? merge_rows(c, job->uid, t, o, &job->counts, err) : copy_rows(c, t->copy.p, o, err);
    if (rc < 0 && err->sys == PG_OF_VALUE)
        name_value(c, o, err);
    if (rc < 0)
        return err_in(err, "table '%s'", o->spec.name);
    if (!t->staged)
        job->counts.inserted += o->output->rows;
    else if (!mode_has_key(t->mode))
        job->slow_rows += o->output->rows;
    if (!undo_wanted(job) && !pg_is_watched(&c->watch, t->noted.p))
        return 0;
    return pg_undo_after(c->pg, job->uid, t, &o->spec, job->counts.inserted - before, err);
}

static int load_output(struct target_conn *c, struct load_job *job, int at, struct err *err)
{
    int rc = put_output(c, job, at, err);
    if (rc < 0 && err->code == ERR_TARGET_DENIED)
        schema_diff_refuse(c->tables.diff, at, err);
    return rc;
}

/* ---- a rehearsal ---- */

/* Whether there is a unique index on the key, and a cast to each column, the server tells when it plans the merge. That of history is
 * several statements. */
static int plan_merge(struct target_conn *c, struct pg_table *t, struct err *err)
{
    char now[SERVER_NOW];
    if (!t->staged || t->mode == MODE_HISTORY)
        return 0;
    server_now(now, "+00'::timestamp with time zone");
    if (pg_table_check_key(c->pg, t, err) < 0 || ready_stage(c, t, err) < 0)
        return -1;
    AUTO(result_clearp) PGresult *r = run_merge(c, t, "EXPLAIN ", now, err);
    return r ? 0 : -1;
}

/* In a savepoint of its own: what the server refuses ends no more than that. */
static int look_at(void *arg, const struct load_output *output, struct err *err)
{
    struct target_conn *c = arg;
    struct err undo;
    if (pg_run(c->pg, "SAVEPOINT look", "look at the table", err) < 0)
        return -1;
    struct pg_table *t = pg_table_get(&c->tables, c->pg, &output->spec, err);
    if (t && plan_merge(c, t, err) == 0)
        return pg_run(c->pg, "RELEASE SAVEPOINT look", "look at the table", err);
    pg_tables_forget(&c->tables); /* temporary tables are gone with it */
    (void)pg_run(c->pg, "ROLLBACK TO SAVEPOINT look; RELEASE SAVEPOINT look", "look at the table", &undo);
    return t ? err_in(err, "table '%s'", output->spec.name) : -1;
}

int postgres_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err)
{
    return schema_diff_look(diff, job, look_at, c, err);
}

/*
 * The parameters of after_load are settings of the transaction, bound to it as values; in the SQL, whose statements must go in one call
 * that takes no values, stand expressions that read them.
 */
static const char *const param_reads[LOAD_PARAMS] = {
    [LOAD_PARAM_JOB] = "current_setting('qetl.job')",
    [LOAD_PARAM_PIPELINE] = "current_setting('qetl.pipeline')",
    [LOAD_PARAM_WATERMARK] = "nullif(current_setting('qetl.watermark'), '')::timestamp with time zone",
    [LOAD_PARAM_PREVIOUS_WATERMARK] = "nullif(current_setting('qetl.previous_watermark'), '')::timestamp with time zone",
};

static int set_params(struct target_conn *c, const struct load_job *job, struct err *err)
{
    char times[LOAD_PARAMS][40] = { "" };
    const char *values[LOAD_PARAMS];
    for (int i = 0; i < LOAD_PARAMS; i++) {
        const char *v = load_param(job, i);
        bool time = i == LOAD_PARAM_WATERMARK || i == LOAD_PARAM_PREVIOUS_WATERMARK;
        if (time && v)
            snprintf(times[i], sizeof times[i], "%s+00", v);
        values[i] = time ? times[i] : v;
    }
    AUTO(result_clearp) PGresult *r = PQexecParams(c->pg, "SELECT set_config('qetl.job', $1, true), set_config('qetl.pipeline', $2, true),"
                                                   " set_config('qetl.watermark', $3, true), set_config('qetl.previous_watermark', $4, true)",
                                                   LOAD_PARAMS, NULL, values, NULL, NULL, 0);
    return PQresultStatus(r) == PGRES_TUPLES_OK ? 0 : pg_error(c->pg, r, "parameters of after_load", err);
}

/* What a job brings with it is at fault where the server gave an answer, but for locks, deadlocks and room that it lacks. */
static int their_error(struct target_conn *c, const PGresult *r, const char *what, struct err *err)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    (void)pg_error(c->pg, r, what, err);
    bool answered = state && PQstatus(c->pg) == CONNECTION_OK;
    if (err->code == ERR_TARGET && answered && strncmp(state, "40", 2) != 0 && strncmp(state, "53", 2) != 0 && strcmp(state, "55P03") != 0)
        err->code = ERR_TARGET_REFUSED;
    return -1;
}

/* The byte of a text at which its character of that number, from 1, begins. */
static size_t byte_of(const char *text, int character)
{
    size_t at = 0;
    for (; text[at] && character > 1; character--)
        do
            at++;
        while (((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

/* In which statement the byte is. */
static int statement_of(const char *sql, size_t at)
{
    int n = 0;
    bool begins = true;
    for (const char *p = sql_text_space(sql); *p && p <= sql + at; p = sql_text_space(sql_text_token(p))) {
        n += begins && *p != ';';
        begins = *p == ';';
    }
    return n;
}

enum { WHERE = 80 };

/* "what: statement 2, line 3" in `out`, where the server has a place in sql: what fails while it runs has none. */
static const char *place_of(const PGresult *r, const char *what, int field, const char *sql, char out[WHERE])
{
    const char *position = PQresultErrorField(r, field);
    int line, column;
    if (!position)
        return what;
    size_t at = byte_of(sql, atoi(position));
    sql_text_place(sql, at, &line, &column);
    snprintf(out, WHERE, "%s: statement %d, line %d", what, statement_of(sql, at), line);
    return out;
}

/* Its line is that of the text with what stands for its parameters. */
static int after_load_error(struct target_conn *c, const PGresult *r, const char *sql, struct err *err)
{
    const char *query = PQresultErrorField(r, PG_DIAG_INTERNAL_QUERY), *what = "after_load";
    char where[WHERE];
    if (query && !strncmp(query, sql, strlen(sql)))
        what = place_of(r, what, PG_DIAG_INTERNAL_POSITION, sql, where);
    return their_error(c, r, what, err);
}

/* By EXECUTE of PL/pgSQL, which refuses whatever would end the transaction, also in a procedure: looked at afterwards it would be too
 * late. The statement at the end: it does not take SELECT ... INTO as the last one. */
static int after_load(struct target_conn *c, const char *sql, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 }, body = { 0 }, all = { 0 };
    buf_addf(&text, "%s\n; SELECT 1", sql);
    buf_adds(&body, "BEGIN EXECUTE ");
    if (!text.failed)
        pg_literal(&body, c->pg, text.p);
    buf_adds(&body, "; END");
    buf_adds(&all, "DO ");
    if (!body.failed)
        pg_literal(&all, c->pg, body.p);
    if (text.failed || body.failed || all.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = PQexec(c->pg, all.p);
    return PQresultStatus(r) == PGRES_COMMAND_OK ? 0 : after_load_error(c, r, sql, err);
}

/* The session as it was when it was opened, with the settings of our transaction. RESET ALL leaves roles alone. */
#define PG_SESSION_BACK                                                                                                                     \
    "CLOSE ALL; DEALLOCATE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD TEMP; " PG_SETTINGS

/* Behind the rows and after_load: what would be found at COMMIT is found now, and the next job finds the session as this one did. */
static int settle(struct target_conn *c, const struct load_job *job, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    if (!job->after_load && !c->deferred.n)
        return 0;
    buf_adds(&sql, c->deferred.n ? c->deferred.p : "SET CONSTRAINTS ALL IMMEDIATE; ");
    if (job->after_load)
        buf_adds(&sql, PG_SESSION_BACK);
    buf_adds(&sql, "SELECT current_setting('transaction_read_only')");
    if (sql.failed)
        return err_nomem(err);
    c->tables.transaction += job->after_load != NULL; /* temporary tables are gone */
    c->lock_wait_ms = job->after_load ? 0 : c->lock_wait_ms;
    AUTO(result_clearp) PGresult *r = PQexec(c->pg, sql.p);
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        return their_error(c, r, "what waits for the commit", err);
    return strcmp(PQgetvalue(r, 0, 0), "on") ? 0 : err_set(err, ERR_AFTER_LOAD, "after_load made the transaction read only");
}

static bool lost(struct target_conn *c) { return PQstatus(c->pg) != CONNECTION_OK; }

/* ---- jobs ---- */

static void literal(struct target_conn *c, struct buf *out, const char *text) { pg_literal(out, c->pg, text); }

static int run(struct target_conn *c, const char *sql, const char *what, int64_t *rows, struct err *err)
{
    AUTO(result_clearp) PGresult *r = pg_exec(c->pg, sql, what, err);
    if (r && rows)
        *rows = pg_changed(r);
    return r ? 0 : -1;
}

static int prepare(struct target_conn *c, const struct load_job *job, struct err *err)
{
    return pg_undo_prepare(c->pg, &c->watch, undo_wanted(job), c->tables.diff, err);
}

static void forget(struct target_conn *c)
{
    pg_tables_forget(&c->tables);
    pg_undo_rolled_back(&c->watch);
}

static const struct server pg_server = {
    .rollback = "ROLLBACK TO SAVEPOINT job",
    .literal = literal,
    .run = run,
    .enter = enter,
    .loaded = postgres_loaded,
    .prepare = prepare,
    .load_output = load_output,
    .param_reads = param_reads,
    .set_params = set_params,
    .after_load = after_load,
    .settle = settle,
    .lost = lost,
    .forget = forget,
};

int postgres_load_job(struct target_conn *c, struct load_job *job, struct err *err)
{
    c->watch.made = false;
    if (c->no_ledger.code) {
        *err = c->no_ledger;
        return -1;
    }
    return server_load_job(&pg_server, c, job, err);
}

int postgres_probe(struct target_conn *c, struct err *err)
{
    bool update;
    int there = find_ledger(c->pg, &update, err);
    return there < 0 || server_probe(&pg_server, c, there, err) < 0 ? err_in(err, "target '%s'", c->name) : 0;
}

int postgres_run(struct target_conn *c, const char *sql, struct buf *first, struct err *err)
{
    AUTO(result_clearp) PGresult *r = PQexec(c->pg, sql);
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        return pg_error(c->pg, r, place_of(r, "SQL", PG_DIAG_STATEMENT_POSITION, sql, (char[WHERE]){ "" }), err);
    if (PQtransactionStatus(c->pg) != PQTRANS_INTRANS)
        return err_set(err, ERR_TARGET_REFUSED, "it ended the transaction");
    if (first && PQntuples(r))
        buf_adds(first, PQgetvalue(r, 0, 0));
    if (first && first->failed)
        return err_nomem(err);
    return pg_run(c->pg, PG_SESSION_BACK, "put the session back", err); /* a dump sets search_path */
}

int postgres_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    int rc = pg_undo(c->pg, &c->watch, uid, counts, err);
    if (rc < 0 && err_class(err->code) != ERR_TRANSIENT)
        err->code = ERR_STATE;
    return rc;
}

/* ---- queries ---- */

static bool is_number(Oid type, const char *text)
{
    static const Oid numbers[] = { 20, 21, 23, 26, 700, 701, 1700 }; /* int8, int2, int4, oid, float4, float8, numeric */
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (numbers[i] == type)
            return (*text >= '0' && *text <= '9') || (*text == '-' && text[1] >= '0' && text[1] <= '9');
    return false;
}

static int sink_columns(const struct query_sink *sink, const PGresult *r, struct err *err)
{
    int n = PQnfields(r);
    const char **names = calloc((size_t)n + 1, sizeof *names);
    if (!names)
        return err_nomem(err);
    for (int i = 0; i < n; i++)
        names[i] = PQfname(r, i);
    int rc = sink->columns(sink->arg, n, names, err);
    free(names);
    return rc;
}

static int sink_row(const struct query_sink *sink, const PGresult *r, int row, struct query_value *values, struct err *err)
{
    int n = PQnfields(r);
    for (int i = 0; i < n; i++) {
        const char *text = PQgetvalue(r, row, i);
        values[i] = (struct query_value){ { text, (size_t)PQgetlength(r, row, i) }, is_number(PQftype(r, i), text) };
        if (PQgetisnull(r, row, i))
            values[i] = (struct query_value){ 0 };
        else if (PQftype(r, i) == 16) /* boolean */
            values[i] = (struct query_value){ *text == 't' ? STR("true") : STR("false"), true };
    }
    return sink->row(sink->arg, n, values, err);
}

static int sink_result(const struct query_sink *sink, const PGresult *r, bool *told, struct err *err)
{
    if (!*told && sink_columns(sink, r, err) < 0)
        return -1;
    *told = true;
    struct query_value *values = calloc((size_t)PQnfields(r) + 1, sizeof *values);
    int rc = values ? 0 : err_nomem(err);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++)
        rc = sink_row(sink, r, i, values, err);
    free(values);
    return rc;
}

/* In a transaction that we began to read only, 25006 (read_only_sql_transaction) is the question's fault, not a standby's. */
static int query_error(PGconn *pg, const PGresult *r, struct err *err)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (state && !strcmp(state, "25006"))
        return err_set(err, ERR_TARGET_REFUSED, "a query may only read");
    return pg_error(pg, r, "query", err);
}

int postgres_query(const struct config *config, const struct target_config *cfg, const char *sql, const struct query_sink *sink,
                   struct err *err)
{
    PGconn *pg;
    if (postgres_only_reads(sql, err) < 0)
        return err_in(err, "target '%s'", cfg->name);
    if (pg_connect(&pg, config, cfg, err) < 0)
        return -1;
    bool told = false;
    int rc = pg_run(pg, "BEGIN TRANSACTION READ ONLY; " PG_SETTINGS, "begin", err);
    /* by the extended protocol, which takes one statement: it cannot end the transaction and go on */
    if (rc == 0 && (!PQsendQueryParams(pg, sql, 0, NULL, NULL, NULL, NULL, 0) || !PQsetSingleRowMode(pg)))
        rc = pg_error(pg, NULL, "query", err);
    for (PGresult *r; rc == 0 && (r = PQgetResult(pg)); PQclear(r)) {
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE)
            rc = sink_result(sink, r, &told, err);
        else if (status != PGRES_COMMAND_OK)
            rc = query_error(pg, r, err);
    }
    PQfinish(pg);
    return rc < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
}
