/*
 * What is kept in a SQLite warehouse so that a job can be taken out again, and taking it out.
 *
 *   qetl_undo          a row for each job and table, see target/undo.h
 *   qetl_undo_<table>  rows as they were before a job of mode replace, upsert or history: qetl_job,
 *                      qetl_was (1: this row; 0: there was none with this key), the table's columns
 *
 * Rows that were appended carry the job's uid in column JOB_COLUMN instead. All of it is written in
 * the transaction of the job, and taken back with it when power fails.
 */
#ifndef QETL_TARGET_SQLITE_UNDO_H
#define QETL_TARGET_SQLITE_UNDO_H

#include "base/err.h"
#include "target/sqlite_table.h"
#include "target/target.h"

/* Before the first rows of output `at` go into its table. */
int undo_note(struct warehouse *w, const struct load_job *job, int at, const struct table *t,
              const char *now, struct err *err);
/* Keep rows of t as they are now: all of them (source NULL), or those whose key is in `source` or
 * that it misses (missing = delete). */
int undo_keep(struct warehouse *w, const struct table *t, const struct table_spec *spec,
              const char *source, const char *uid, struct err *err);
/* Take the job out, inside a savepoint. 1 done (or done before), 0 the ledger knows no such job,
 * -1: refused (state), or trouble. *counts: removed, and inserted for rows that came back. */
int undo_job(struct warehouse *w, const char *uid, const char *now, struct load_counts *counts,
             struct err *err);

#endif
