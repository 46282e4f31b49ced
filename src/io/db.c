/*
 * SQLite with qetl's rules, in one place, so that no connection can forget one. A connection is
 * used by one thread of one process: never across fork().
 *
 * Why no automatic checkpoint: SQLite before 3.51.3 can lose committed pages when a checkpoint runs
 * beside a commit that resets the WAL (sqlite.org/wal.html, "The WAL-reset bug"); whoever uses WAL
 * here checkpoints under a lock of its own. Power loss: nothing is kept here; what a commit
 * promises is the business of the caller's `synchronous` and journal mode.
 */
#include "io/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"

enum {
    BUSY_TIMEOUT_MS = 10000
}; /* a belt, for programs that are not ours: our own writers queue at a lock */

int db_error(sqlite3 *db, const char *what, struct err *err)
{
    static const struct {
        int primary;
        enum err_code code;
    } table[] = {
        { SQLITE_FULL, ERR_DISK_FULL },
        { SQLITE_NOMEM, ERR_NO_MEMORY },
        { SQLITE_CONSTRAINT, ERR_TARGET_REFUSED },
        { SQLITE_MISUSE, ERR_INTERNAL },
    };
    int rc = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    int sys = db ? sqlite3_system_errno(db) : ENOMEM;
    enum err_code code = ERR_DATABASE;
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if ((rc & 0xff) == table[i].primary)
            code = table[i].code;
    bool io = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
    if (io && (sys == ENOSPC || sys == EDQUOT))
        code = ERR_DISK_FULL;
    err_set(err, code, "%s: %s%s%s", what, db ? sqlite3_errmsg(db) : "out of memory",
            io && sys ? ": " : "", io && sys ? strerror(sys) : "");
    err->sys = rc;
    return -1;
}

static int db_config(sqlite3 *db)
{
    static const struct {
        int op, on;
    } table[] = {
        { SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
        { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
        { SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
        { SQLITE_DBCONFIG_DQS_DDL, 0 },
        { SQLITE_DBCONFIG_DQS_DML, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (sqlite3_db_config(db, table[i].op, table[i].on, NULL) != SQLITE_OK)
            return -1;
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    return sqlite3_wal_autocheckpoint(db, 0) == SQLITE_OK ? 0 : -1;
}

/* SQLite counts its memory under a mutex, at each allocation, for a figure that nobody asks for. */
static void no_statistics(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int db_open(sqlite3 **out, const char *path, int flags, struct err *err)
{
    int how = flags & DB_READONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (flags & DB_CREATE)
        how |= SQLITE_OPEN_CREATE;
    if (flags & DB_URI)
        how |= SQLITE_OPEN_URI;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, no_statistics);
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, how | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        db_config(db) < 0) {
        db_error(db, "open", err);
        err_in(err, "database '%s'", path);
        sqlite3_close(db);
        return -1;
    }
    if (db_exec(db, "PRAGMA mmap_size = 0; PRAGMA secure_delete = OFF", err) < 0) {
        sqlite3_close(db);
        return err_in(err, "database '%s'", path);
    }
    *out = db;
    return 0;
}

void db_close(sqlite3 **db)
{
    if (!*db)
        return;
    for (sqlite3_stmt *st; (st = sqlite3_next_stmt(*db, NULL));)
        sqlite3_finalize(st);
    int rc = sqlite3_close(*db);
    assert(rc == SQLITE_OK); /* an open blob or backup handle would be a fault of ours */
    (void)rc;
    *db = NULL;
}

/* "run 'the first words of the statement'" as the place of an error */
static int sql_error(sqlite3 *db, const char *verb, const char *sql, struct err *err)
{
    char what[96];
    sql += strspn(sql, " \t\n");
    snprintf(what, sizeof what, "%s '%.60s'", verb, sql);
    for (char *p = what; *p; p++)
        if (*p == '\n')
            *p = ' ';
    return db_error(db, what, err);
}

int db_exec(sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                : sql_error(db, "run", sql, err);
}

int db_prepare(sqlite3 *db, sqlite3_stmt **st, const char *sql, struct err *err)
{
    *st = NULL;
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
        return sql_error(db, "prepare", sql, err);
    return 0;
}

int db_step(sqlite3_stmt *st, struct err *err)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE)
        sql_error(sqlite3_db_handle(st), "run", sqlite3_sql(st),
                  err); /* before the reset, which may clear it */
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : -1;
}

int db_run(sqlite3_stmt *st, struct err *err)
{
    int rc;
    while ((rc = db_step(st, err)) == 1)
        ;
    sqlite3_clear_bindings(st);
    return rc;
}

int db_int(sqlite3 *db, const char *sql, int64_t *out, struct err *err)
{
    sqlite3_stmt *st;
    if (db_prepare(db, &st, sql, err) < 0)
        return -1;
    int rc = db_step(st, err);
    if (rc == 1)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc;
}

/* A name that the statement does not have is a fault in the program. */
static int at(sqlite3_stmt *st, const char *name)
{
    int i = sqlite3_bind_parameter_index(st, name);
    assert(i > 0);
    return i;
}

/* Bytes are bound in place (nothing is copied, so memory cannot run out here); beyond SQLite's
 * limit of 1 GB the parameter stays NULL, which a NOT NULL column refuses. */
void db_bind_int(sqlite3_stmt *st, const char *name, int64_t v)
{
    sqlite3_bind_int64(st, at(st, name), v);
}

void db_bind_text(sqlite3_stmt *st, const char *name, const char *v)
{
    sqlite3_bind_text(st, at(st, name), v, -1, SQLITE_STATIC);
}

void db_bind_str(sqlite3_stmt *st, const char *name, struct str v)
{
    sqlite3_bind_text64(st, at(st, name), v.p ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8);
}

void db_bind_blob(sqlite3_stmt *st, const char *name, const void *p, size_t n)
{
    sqlite3_bind_blob64(st, at(st, name), p ? p : "", n, SQLITE_STATIC);
}

void db_bind_null(sqlite3_stmt *st, const char *name)
{
    sqlite3_bind_null(st, at(st, name));
}

const char *db_text(sqlite3_stmt *st, int col)
{
    const char *s = (const char *)sqlite3_column_text(st, col);
    return s ? s : "";
}

/* ---- migrations ---- */

static int backup_pages(sqlite3 *db, const char *part, struct err *err)
{
    sqlite3 *copy = NULL;
    int rc = sqlite3_open(part, &copy);
    sqlite3_backup *b = rc == SQLITE_OK ? sqlite3_backup_init(copy, "main", db, "main") : NULL;
    if (b) {
        sqlite3_backup_step(b, -1);
        sqlite3_backup_finish(b); /* leaves its result as the error of copy */
    }
    if (sqlite3_errcode(copy) != SQLITE_OK)
        rc = db_error(copy, "write the backup", err);
    sqlite3_close(copy);
    return rc == SQLITE_OK ? 0 : -1;
}

/* The backup appears under its name only when it is whole and on disk. */
static int backup(sqlite3 *db, const char *path, int64_t version, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 }, part = { 0 };
    buf_addf(&name, "%s.v%lld.bak", path, (long long)version);
    buf_addf(&part, "%s.part", name.p);
    if (name.failed || part.failed)
        return err_nomem(err);
    if (unlink(part.p) < 0 && errno != ENOENT)
        return err_sys(err, "remove '%s'", part.p);
    if (backup_pages(db, part.p, err) < 0)
        return err_in(err, "'%s'", part.p);
    AUTO(fd_closep) int fd = open(part.p, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_sys(err, "fsync '%s'", part.p);
    if (rename(part.p, name.p) < 0)
        return err_sys(err, "rename '%s' to '%s'", part.p, name.p);
    char *slash = strrchr(name.p, '/');
    if (slash)
        slash[1] = '\0';
    AUTO(fd_closep) int dir = open(slash ? name.p : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? err_sys(err, "open the folder of '%s'", path) : sys_fsync_dir(dir, path, err);
}

static int migrate_steps(sqlite3 *db, int64_t from, const char *fresh, const char *const *steps,
                         int version, struct err *err)
{
    char set[64];
    snprintf(set, sizeof set, "PRAGMA user_version = %d", version);
    if (from == 0 && db_exec(db, fresh, err) < 0)
        return -1;
    for (; from > 0 && from < version; from++)
        if (db_exec(db, steps[from], err) < 0)
            return err_in(err, "version %lld to %lld", (long long)from, (long long)from + 1);
    return db_exec(db, set, err);
}

int db_migrate(sqlite3 *db, const char *path, const char *fresh, const char *const *steps,
               int version, struct err *err)
{
    int64_t from = 0, tables = 0;
    if (db_int(db, "PRAGMA user_version", &from, err) < 0 ||
        db_int(db, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
        return err_in(err, "database '%s'", path);
    if (from > version)
        return err_set(err, ERR_DATABASE_NEWER,
                       "database '%s' is of version %lld; this program knows versions up to %d",
                       path, (long long)from, version);
    if (from == version)
        return 0;
    if (from < 0 || (from == 0 && tables > 0))
        return err_set(err, ERR_DATABASE, "'%s' is another program's database", path);
    if (from > 0 && backup(db, path, from, err) < 0)
        return err_in(err, "back up '%s' before its schema changes", path);
    if (db_exec(db, "BEGIN IMMEDIATE", err) < 0)
        return err_in(err, "database '%s'", path);
    if (migrate_steps(db, from, fresh, steps, version, err) < 0 || db_exec(db, "COMMIT", err) < 0) {
        if (!sqlite3_get_autocommit(db))
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        return err_in(err, "migrate '%s'", path);
    }
    return 0;
}

bool db_wal_reset_bug(void)
{
    int v = sqlite3_libversion_number();
    bool patched = (v >= 3044006 && v < 3045000) || (v >= 3050007 && v < 3051000);
    return v < 3051003 && !patched;
}

void db_quote(struct buf *out, const char *name)
{
    buf_addc(out, '"');
    for (; *name; name++) {
        if (*name == '"')
            buf_addc(out, '"');
        buf_addc(out, *name);
    }
    buf_addc(out, '"');
}
