/*
 * Taking what a job did out of MariaDB and MySQL again, for pipelines with undo=.
 *
 * Rows of append and insert_ignore have their job's uid in column JOB_COLUMN. Rows that replace and upsert change are kept in
 * qetl_undo_row before and after, as texts (mysql_image.h); of a replace, whose rows after it are all of the table, only the rows before, and
 * what those after it came to (a sum of digests). The tables are made beside the transaction, which DDL would end.
 *
 * Nothing locks the whole table. The rows are locked or taken out first, which waits for whoever changes them, and only then it is
 * looked for later jobs, whose notes are there with their rows.
 */
#ifndef QETL_TARGET_MYSQL_UNDO_H
#define QETL_TARGET_MYSQL_UNDO_H

#include "target/mysql_table.h"

struct my_undo {
    bool there, row_there; /* qetl_undo and qetl_undo_row, when the transaction began or by a job in it */
    bool old;              /* qetl_undo is that of an earlier version */
    bool rows;             /* rows can be kept in them: both are there, and qetl_undo is not old */
    int64_t prune_mono_ms; /* 0 before the first transaction */
};

/* Before a transaction: looks for the tables, and from time to time forgets what is older than its undo=. */
int my_undo_begin(MYSQL *my, struct my_undo *u, struct err *err);
/* At the begin of a job: makes the tables when the job wants them and they are missing; they stay when the job is rolled back. */
int my_undo_prepare(const struct my_tables *tables, struct my_undo *u, const struct load_job *job, struct err *err);
/* Before rows of the table are changed: keeps them, where the table's t->keep says how. *kept, which may be NULL: how many of t->keep. */
int my_undo_keep(MYSQL *my, const char *uid, const struct my_table *t, const struct table_spec *spec, int64_t *kept, struct err *err);
/* Behind the rows of an output: that so many were inserted, where one needs to know, and what became of the rows that were kept. */
int my_undo_note(MYSQL *my, const struct my_undo *u, const struct load_job *job, const struct my_table *t, const struct table_spec *spec,
                 int64_t inserted, struct err *err);
/* See undo in target.h. */
int my_undo(MYSQL *my, const struct my_undo *u, const char *uid, struct load_counts *counts, struct err *err);

#endif
