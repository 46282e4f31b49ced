/*
 * SQLite as qetl uses it, for queue.db and for the SQLite target: open with the right pragmas, statements by number,
 * errors as values. Every connection of ours has wal_autocheckpoint=0, NO_CKPT_ON_CLOSE, mmap_size=0, secure_delete=OFF,
 * no extensions, trusted_schema off.
 */
#ifndef QETL_IO_DB_H
#define QETL_IO_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* DB_URI: `file:` URIs are understood, in path and in ATTACH. */
enum db_flags { DB_CREATE = 1, DB_READONLY = 2, DB_URI = 4 };

int db_open(sqlite3 **out, const char *path, int flags, struct err *err);
void db_close(sqlite3 **db);
/* The error of the last call on db as a value. SQLITE_FULL: disk-full; CORRUPT, NOTADB: database with a hint; CONSTRAINT:
 * target-refused. Gives -1. `what` says what was tried. */
int db_error(sqlite3 *db, const char *what, struct err *err);
int db_exec(sqlite3 *db, const char *sql, struct err *err);
int db_prepare(sqlite3 *db, sqlite3_stmt **st, const char *sql, struct err *err); /* persistent statement */
/* 1 a row, 0 done (statement reset), -1 error (statement reset). */
int db_step(sqlite3_stmt *st, struct err *err);
/* Run to its end, rows thrown away; reset and bindings cleared in every case. */
int db_run(sqlite3_stmt *st, struct err *err);
/* One integer; 1 found, 0 no row, -1 error. */
int db_int(sqlite3 *db, const char *sql, int64_t *out, struct err *err);

void db_bind_int(sqlite3_stmt *st, const char *name, int64_t v);
void db_bind_text(sqlite3_stmt *st, const char *name, const char *v); /* NULL binds NULL; not copied: must live until the step */
void db_bind_str(sqlite3_stmt *st, const char *name, struct str v);
void db_bind_blob(sqlite3_stmt *st, const char *name, const void *p, size_t n);
void db_bind_null(sqlite3_stmt *st, const char *name);
#define db_bind(st, name, v)                                                                      \
    _Generic((v), int: db_bind_int, int64_t: db_bind_int, uint32_t: db_bind_int, bool: db_bind_int, \
        char *: db_bind_text, const char *: db_bind_text, struct str: db_bind_str)(st, name, v)
const char *db_text(sqlite3_stmt *st, int col); /* "" for NULL; valid until the next step */

/*
 * Bring the schema of db (opened from `path`) to `version` (PRAGMA user_version), in one transaction: an empty database gets
 * `fresh`; one of version v gets steps[v], steps[v + 1], … (steps[0] is not used), after an online backup, whole and on
 * disk, as "<path>.v<v>.bak". The caller keeps other writers away. Errors: database-newer (nothing is touched), database
 * (version 0, but with tables: another program's), and what SQL and disk give; then everything is as it was.
 */
int db_migrate(sqlite3 *db, const char *path, const char *fresh, const char *const *steps, int version, struct err *err);

/* Is this SQLite one with the WAL-reset race (before 3.51.3, but for 3.50.7 and 3.44.6)? sqlite.org, "The WAL-reset bug". */
bool db_wal_reset_bug(void);
/* "name" with its quotes doubled and quotes around, into out. */
void db_quote(struct buf *out, const char *name);

#endif
