/*
 * What the halves of the SQLite target share, so that the staged form and its loading never drift.
 *
 * A staged output of a table is its rows as SQLite records in file order, either
 *
 *   inline   12 bytes (INLINE_MAGIC, then sqlite_staged_id, little-endian) and then each record
 *            behind its length as a varint; or
 *   a file   a SQLite database (sqlite_pages.h) with the one table STAGED_TABLE, without a key.
 *
 * Both say which columns they were made for, so that an output staged under another `columns =`
 * is refused, not guessed at.
 */
#ifndef QETL_TARGET_SQLITE_H
#define QETL_TARGET_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/target.h"

#define STAGED_TABLE "staged"
#define INLINE_MAGIC "qsr1"
enum { INLINE_HEAD = 12 };

/* The key is one integer column: it is the table's rowid (INTEGER PRIMARY KEY), which loads 1.3
 * times as fast as any other. */
bool sqlite_rowid_key(const struct table_spec *spec);
void sqlite_type(struct buf *out, const struct column *c);
/* `"name" TYPE`, as in CREATE TABLE and ALTER TABLE ADD COLUMN. */
void sqlite_column_sql(struct buf *out, const struct column *c);
/* CREATE TABLE of the table that qetl makes in the warehouse; `name` is quoted already. */
void sqlite_table_sql(struct buf *out, const char *name, const struct table_spec *spec);
/* CREATE TABLE of the staged table. For a table without key it differs from the above in its name
 * only, which is what lets SQLite move the records as they are. */
void sqlite_staged_sql(struct buf *out, const struct table_spec *spec);
/* FNV-1a of that text: http://www.isthe.com/chongo/tech/comp/fnv/ */
uint64_t sqlite_staged_id(struct str staged_sql);

/* ---- the load half, sqlite_load.c; see target.h ---- */
int sqlite_open(struct target_conn **out, const struct config *config,
                const struct target_config *cfg, bool create, struct err *err);
void sqlite_close(struct target_conn *c);
int sqlite_begin(struct target_conn *c, struct err *err);
int sqlite_rehearse(struct target_conn *c, struct schema_diff *diff, struct err *err);
void sqlite_interrupt(struct target_conn *c);
int sqlite_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err);
int sqlite_load_job(struct target_conn *c, struct load_job *job, struct err *err);
int sqlite_commit(struct target_conn *c, struct err *err);
void sqlite_rollback(struct target_conn *c);
int sqlite_loaded(struct target_conn *c, const char *uid, struct load_counts *counts,
                  struct err *err);
int sqlite_run(struct target_conn *c, const char *sql, struct buf *first, struct err *err);
int sqlite_undo(struct target_conn *c, const char *uid, struct load_counts *counts,
                struct err *err);
/* The path of sqlite:///path or sqlite:path, percent escapes taken out; malloc'ed. NULL: no memory,
 * or not such a URL. */
char *sqlite_path(const char *url, struct err *err);
/* sqlite_after.c: prepares it in a database without tables, which are no fault then. */
int sqlite_check_after(const char *sql, struct err *err);
/* By people, sqlite_query.c. */
int sqlite_query(const struct config *config, const struct target_config *cfg, const char *sql,
                 const struct query_sink *sink, struct err *err);
enum { SQLITE_FILES = 10 }; /* SQLITE_MAX_ATTACHED as every distribution leaves it */

#endif
