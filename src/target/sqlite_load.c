/*
 * The SQLite target: its loader. What puts the rows of an output into a table is sqlite_output.c.
 *
 * Invariants
 *   - The ledger row of a job is written inside the job's savepoint, after its rows.
 *   - Only one loader writes at a time: the lock "<path>-lock" is held from begin to commit or
 * rollback.
 *   - In WAL mode the checkpoint runs under it too (sqlite.org/wal.html, "The WAL-reset bug").
 *
 * If power fails in the middle, SQLite's journal takes the whole transaction back at the next open,
 * rows and ledger alike. If it fails after COMMIT returned, both are there (synchronous=FULL).
 */
#include "target/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/db.h"
#include "io/sql_text.h"
#include "target/sqlite_after.h"
#include "target/sqlite_merge.h"
#include "target/sqlite_output.h"
#include "target/sqlite_pages.h"
#include "target/sqlite_table.h"
#include "target/sqlite_undo.h"
#include "target/undo.h"

enum {
    CACHE_KIB = 16384, /* 32 and 64 MiB loaded and upserted no faster; a sort takes as much again */
    WAL_PAGES = 1000,  /* checkpoint above it */
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
    [SQL_MAKE] = ("CREATE TABLE IF NOT EXISTS main.qetl_load"
                  " (uid TEXT PRIMARY KEY NOT NULL, job INTEGER NOT NULL, pipeline TEXT NOT NULL,"
                  " objects TEXT NOT NULL, rows INTEGER NOT NULL, inserted INTEGER NOT NULL,"
                  " updated INTEGER NOT NULL, unchanged INTEGER NOT NULL, deleted INTEGER NOT NULL,"
                  " removed INTEGER NOT NULL, loaded_at TIMESTAMP NOT NULL,"
                  " undone_at TIMESTAMP)"
                  " WITHOUT ROWID"),
    [SQL_FIND] = "SELECT inserted, updated, unchanged, deleted, removed, undone_at FROM main.qetl_load"
                 " WHERE uid = :uid",
    [SQL_ADD] = "INSERT INTO main.qetl_load (uid, job, pipeline, objects, rows, inserted, updated,"
                " unchanged, deleted, removed, loaded_at) VALUES (:uid, :job, :pipeline, :objects,"
                " :rows, :inserted, :updated, :unchanged, :deleted, :removed, :loaded_at)",
};

struct target_conn {
    struct warehouse w;
    int lock; /* descriptor of "<path>-lock" */
    bool wal, locked;
    atomic_bool stopped; /* nothing is waited for any more */
    sqlite3_stmt *st[SQLS];
};

static sqlite3_stmt *own_stmt(struct target_conn *c, enum ledger_sql n, struct err *err)
{
    if (!c->st[n] && warehouse_prepare(&c->w, ledger_sql[n], &c->st[n], ledger_sql[n], err) < 0)
        return NULL;
    return c->st[n];
}

static int run(struct target_conn *c, enum ledger_sql n, struct err *err)
{
    sqlite3_stmt *st = own_stmt(c, n, err);
    return st ? warehouse_step(&c->w, st, ledger_sql[n], err) : -1;
}

/* ---- jobs ---- */

/* replace: empty the table, but once a job. */
static int empty_table(struct target_conn *c, const struct table *t, struct load_job *job, int at,
                       struct err *err)
{
    if (!load_begins_table(job, at, strcasecmp))
        return 0;
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "DELETE FROM main.%s", t->quoted.p);
    if (sql.failed)
        return err_nomem(err);
    const struct table_spec *spec = &job->outputs[at].spec;
    if (spec->undo_ms && undo_keep(&c->w, t, spec, NULL, job->uid, err) < 0)
        return -1;
    if (warehouse_exec(&c->w, sql.p, "empty the table", err) < 0)
        return -1;
    job->counts.removed += sqlite3_changes64(c->w.db);
    return 0;
}

static int load_output(struct target_conn *c, struct load_job *job, int at, const char *now,
                       struct err *err)
{
    const struct load_output *o = &job->outputs[at];
    struct table *t = warehouse_table(&c->w, &o->spec, err);
    if (!t || undo_note(&c->w, job, at, t, now, err) < 0 ||
        (t->mode == MODE_REPLACE && empty_table(c, t, job, at, err) < 0))
        return -1;
    if (output_load(&c->w, t, o, job->uid, now, &job->counts, &job->slow_rows, err) < 0)
        return err_in(err, "table '%s'", o->spec.name);
    return 0;
}

static int add_to_ledger(struct target_conn *c, const struct load_job *job, const char *now,
                         struct err *err)
{
    sqlite3_stmt *st = own_stmt(c, SQL_ADD, err);
    if (!st)
        return -1;
    db_bind(st, ":uid", job->uid);
    db_bind(st, ":job", job->id);
    db_bind(st, ":pipeline", job->pipeline);
    db_bind(st, ":objects", job->objects ? job->objects : "[]");
    db_bind(st, ":rows", load_rows(job));
    db_bind(st, ":inserted", job->counts.inserted);
    db_bind(st, ":updated", job->counts.updated);
    db_bind(st, ":unchanged", job->counts.unchanged);
    db_bind(st, ":deleted", job->counts.deleted);
    db_bind(st, ":removed", job->counts.removed);
    db_bind(st, ":loaded_at", now);
    int rc = warehouse_step(&c->w, st, "write the ledger", err);
    sqlite3_clear_bindings(st);
    return rc;
}

static int load_outputs(struct target_conn *c, struct load_job *job, struct err *err)
{
    char now[32];
    now[text_put_timestamp(now, sys_now_ms() * 1000, ' ')] = '\0';
    for (int i = 0; i < job->noutputs; i++)
        if (load_output(c, job, i, now, err) < 0)
            return -1;
    if (job->after_load && (after_run(&c->w, job, err) < 0 || warehouse_check_schema(&c->w, err) < 0))
        return -1;
    return add_to_ledger(c, job, now, err);
}

int sqlite_load_job(struct target_conn *c, struct load_job *job, struct err *err)
{
    job->counts = (struct load_counts){ 0 };
    job->slow_rows = 0;
    int there = sqlite_loaded(c, job->uid, &job->counts, err);
    job->was_there = there == 1;
    if (there != 0)
        return there < 0 ? -1 : 0;
    if (run(c, SQL_SAVEPOINT, err) < 0)
        return -1;
    if (load_outputs(c, job, err) == 0)
        return run(c, SQL_RELEASE, err);
    job->counts = (struct load_counts){ 0 };
    job->slow_rows = 0;
    if (err_class(err->code) == ERR_TRANSIENT)
        return -1;
    struct err undo;
    warehouse_forget(&c->w); /* those that the job made are gone */
    if (sqlite3_get_autocommit(c->w.db) || run(c, SQL_ROLLBACK_TO, &undo) < 0 ||
        run(c, SQL_RELEASE, &undo) < 0)
        return err_set(err, ERR_TARGET, "SQLite gave up the whole transaction");
    return -1;
}

int sqlite_loaded(struct target_conn *c, const char *uid, struct load_counts *counts,
                  struct err *err)
{
    bool view;
    if (sqlite3_get_autocommit(
            c->w.db)) { /* begin makes the ledger; before the first one there is none */
        int there = warehouse_find(&c->w, "qetl_load", &view, err);
        if (there <= 0)
            return there;
    }
    sqlite3_stmt *st = own_stmt(c, SQL_FIND, err);
    if (!st)
        return -1;
    db_bind(st, ":uid", uid);
    int rc = warehouse_step(&c->w, st, "ask the ledger", err);
    if (rc == 1)
        *counts = (struct load_counts){ .inserted = sqlite3_column_int64(st, 0),
                                        .updated = sqlite3_column_int64(st, 1),
                                        .unchanged = sqlite3_column_int64(st, 2),
                                        .deleted = sqlite3_column_int64(st, 3),
                                        .removed = sqlite3_column_int64(st, 4) };
    if (rc == 1 && sqlite3_column_type(st, 5) != SQLITE_NULL)
        rc = undo_refuse_load(err, db_text(st, 5));
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return rc;
}

int sqlite_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    char now[32];
    now[text_put_timestamp(now, sys_now_ms() * 1000, ' ')] = '\0';
    if (run(c, SQL_SAVEPOINT, err) < 0)
        return -1;
    int rc = undo_job(&c->w, uid, now, counts, err);
    struct err ignored;
    if (rc < 0 && err_class(err->code) != ERR_TRANSIENT && !sqlite3_get_autocommit(c->w.db))
        (void)run(c, SQL_ROLLBACK_TO, &ignored);
    return rc < 0 ? -1 : run(c, SQL_RELEASE, err) < 0 ? -1 : rc;
}

static int first_value(struct target_conn *c, const char *sql, struct buf *first, struct err *err)
{
    sqlite3_stmt *st;
    if (warehouse_prepare(&c->w, sql, &st, "SQL", err) < 0)
        return -1;
    int rc = warehouse_step(&c->w, st, "SQL", err);
    if (rc == 1)
        buf_adds(first, db_text(st, 0));
    sqlite3_finalize(st);
    return rc < 0 ? -1 : first->failed ? err_nomem(err) : 0;
}

/* "SQL: statement 2, line 3: WHAT" of the statement at `at`, which could not be prepared or not be run. */
static int statement_error(struct target_conn *c, const char *sql, const char *at, int statement, bool prepared, struct err *err)
{
    struct sql_fault fault = { 0 };
    char where[80];
    int line, column;
    if (!prepared)
        sql_fault_of(&fault, c->w.db, 0, at);
    sql_text_place(sql, (size_t)(at - sql) + (fault.placed ? fault.at : 0), &line, &column);
    snprintf(where, sizeof where, "SQL: statement %d, line %d", statement, line);
    return warehouse_error(&c->w, err, where);
}

static int run_all(struct target_conn *c, const char *sql, struct err *err)
{
    int statement = 1;
    for (const char *at = sql, *next; *(at = sql_text_statement(at)); at = next, statement++) {
        sqlite3_stmt *st = NULL;
        bool prepared = sqlite3_prepare_v2(c->w.db, at, -1, &st, &next) == SQLITE_OK;
        int step = prepared ? SQLITE_DONE : SQLITE_ERROR;
        while (st && (step = sqlite3_step(st)) == SQLITE_ROW)
            ;
        int rc = step == SQLITE_DONE ? 0 : statement_error(c, sql, at, statement, prepared, err);
        sqlite3_finalize(st);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int sqlite_run(struct target_conn *c, const char *sql, struct buf *first, struct err *err)
{
    if ((first ? first_value(c, sql, first, err) : run_all(c, sql, err)) < 0)
        return -1;
    return sqlite3_get_autocommit(c->w.db) ? err_set(err, ERR_TARGET_REFUSED, "it ended the transaction") : 0;
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
    for (int64_t until = sys_mono_us() + WAREHOUSE_BUSY_MS * 1000;
         flock(c->lock, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_sys(err, "lock '%s-lock'", c->w.path);
        if (c->stopped)
            return err_set(err, ERR_TARGET, "waiting for '%s' was broken off", c->w.path);
        if (sys_mono_us() > until)
            return err_set(err, ERR_TARGET, "another loader has held '%s' for more than %d s",
                           c->w.path, WAREHOUSE_BUSY_MS / 1000);
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    c->locked = true;
    return 0;
}

/* Another program has the database: so often it is asked for. */
static int wait_busy(void *arg, int asked)
{
    enum { WAIT_MS = 5 };
    struct target_conn *c = arg;
    if (c->stopped || asked >= WAREHOUSE_BUSY_MS / WAIT_MS)
        return 0;
    nanosleep(&(struct timespec){ .tv_nsec = WAIT_MS * 1000000 }, NULL);
    return 1;
}

void sqlite_interrupt(struct target_conn *c)
{
    c->stopped = true;
    sqlite3_interrupt(c->w.db);
}

/* The file that was opened is still the one under its name. */
static int check_moved(struct target_conn *c, struct err *err)
{
    int moved = 0;
    if (sqlite3_file_control(c->w.db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
        return err_set(err, ERR_TARGET, "'%s' was removed or replaced while it was open",
                       c->w.path);
    return 0;
}

/* Warehouses of earlier versions have a ledger without undone_at. */
static int make_ledger(struct target_conn *c, struct err *err)
{
    static const char update[] = "ALTER TABLE main.qetl_load ADD COLUMN undone_at TIMESTAMP";
    if (warehouse_note_own(&c->w, "qetl_load", ledger_sql[SQL_MAKE], err) < 0 || run(c, SQL_MAKE, err) < 0)
        return -1;
    if (sqlite3_table_column_metadata(c->w.db, "main", "qetl_load", "undone_at", NULL, NULL, NULL,
                                      NULL, NULL) == SQLITE_OK)
        return 0;
    schema_diff_own(c->w.diff, "qetl_load", update);
    return warehouse_exec(&c->w, update, "bring the ledger up to date", err);
}

int sqlite_begin(struct target_conn *c, struct err *err)
{
    if (lock(c, err) < 0)
        return -1;
    if (check_moved(c, err) == 0 && run(c, SQL_BEGIN, err) == 0) {
        if (make_ledger(c, err) == 0 && warehouse_check_schema(&c->w, err) == 0)
            return 0;
        sqlite_rollback(c);
    }
    unlock(c);
    return -1;
}

/* It makes the ledger inside of the transaction as it is. */
int sqlite_rehearse(struct target_conn *c, struct schema_diff *diff, struct err *err)
{
    c->w.diff = diff;
    return sqlite_begin(c, err);
}

static int look_at(void *arg, const struct load_output *output, struct err *err)
{
    struct target_conn *c = arg;
    return warehouse_table(&c->w, &output->spec, err) ? 0 : -1;
}

int sqlite_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err)
{
    return schema_diff_look(diff, job, look_at, c, err);
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
        buf_addf(&wal, "%s-wal", c->w.path);
        if (wal.failed || stat(wal.p, &st) < 0 || st.st_size < (off_t)WAL_PAGES * PAGE_SIZE)
            return;
    }
    (void)sqlite3_wal_checkpoint_v2(c->w.db, "main", mode, &frames, &done);
}

int sqlite_commit(struct target_conn *c, struct err *err)
{
    if (sys_fault("target-before-commit"))
        return err_set(err, ERR_TARGET, "commit: fault injected");
    if (run(c, SQL_COMMIT, err) < 0) /* busy: the transaction is still open, and rollback ends it */
        return err_in(err, "'%s'", c->w.path);
    output_detach(&c->w);
    bool fault = sys_fault("target-after-commit");
    checkpoint(c, SQLITE_CHECKPOINT_PASSIVE);
    unlock(c);
    return fault ? err_set(err, ERR_TARGET, "commit: fault injected") : 0;
}

void sqlite_rollback(struct target_conn *c)
{
    struct err err;
    warehouse_forget(&c->w);
    if (!sqlite3_get_autocommit(c->w.db))
        (void)run(c, SQL_ROLLBACK, &err);
    output_detach(&c->w);
    unlock(c);
}

/* ---- open ---- */

char *sqlite_path(const char *url, struct err *err)
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
    bool missing = access(folder, F_OK) < 0 && errno == ENOENT;
    int network = missing ? -1 : sys_network_fs(folder, &fs, err);
    if (missing)
        err_set(err, ERR_TARGET, "there is no folder '%s' for the database", folder);
    else if (network == 1)
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
        if (create)
            return 0;
        err_set(err, ERR_TARGET, "'%s' does not exist", path);
        err->sys = ENOENT;
        return -1;
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
    buf_addf(&name, "%s-lock", c->w.path);
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
    if (warehouse_prepare(&c->w, "PRAGMA main.journal_mode", &st, "read the journal mode", err) < 0)
        return -1;
    int rc = warehouse_step(&c->w, st, "read the journal mode", err);
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
    return warehouse_exec(&c->w, sql, "set the journal mode", err);
}

int sqlite_open(struct target_conn **out, const struct config *config,
                const struct target_config *cfg, bool create, struct err *err)
{
    (void)config; /* a file needs no credentials */
    struct target_conn *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    c->lock = -1;
    c->w.schema = -1;
    if (!(c->w.path = sqlite_path(cfg->url, err)) || check_folder(c->w.path, err) < 0 ||
        check_file(c->w.path, create, err) < 0)
        goto fail;
    if (db_open(&c->w.db, c->w.path, DB_URI | (create ? DB_CREATE : 0), err) < 0) {
        err->code =
            err->code == ERR_NO_MEMORY || err->code == ERR_DISK_FULL ? err->code : ERR_TARGET;
        goto fail;
    }
    sqlite3_busy_handler(c->w.db, wait_busy, c);
    if (open_lock(c, err) < 0 || set_journal(c, cfg->many_readers, err) < 0 ||
        merge_functions(&c->w, err) < 0) {
        err_in(err, "'%s'", c->w.path);
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
    if (c->w.db) {
        sqlite_rollback(c);
        if (c->wal && lock(c, &err) == 0)
            checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE);
        unlock(c);
    }
    for (int i = 0; i < SQLS; i++)
        sqlite3_finalize(c->st[i]);
    free(c->w.tables);
    merge_clear(&c->w);
    db_close(&c->w.db);
    fd_closep(&c->lock);
    free(c->w.path);
    free(c);
}
