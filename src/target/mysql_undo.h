/*
 * Taking what a job appended out of MariaDB and MySQL again, for pipelines with undo= and mode append or insert_ignore.
 *
 * The rows have their job's uid in column JOB_COLUMN; beside the ledger there is only the table of notes, qetl_undo (target/undo.h).
 * Rows that a job changes or removes are not kept here: the server has no value that holds a row of any table, as PostgreSQL's jsonb
 * does, and making a table to keep them in would end the transaction.
 *
 * Nothing locks the whole table. The rows are taken out first, which waits for whoever changes them, and only then it is looked for
 * later jobs, whose notes are there with their rows.
 */
#ifndef QETL_TARGET_MYSQL_UNDO_H
#define QETL_TARGET_MYSQL_UNDO_H

#include "target/mysql_table.h"

struct my_undo {
    bool there;            /* qetl_undo, when the transaction began or by a job in it */
    int64_t prune_mono_ms; /* 0 before the first transaction */
};

/* Before a transaction: looks for the notes, and forgets from time to time those that are older than their undo=. */
int my_undo_begin(MYSQL *my, struct my_undo *u, struct err *err);
/* At the begin of a job: makes qetl_undo when the job wants it and it is missing; it stays when the job is rolled back. */
int my_undo_prepare(const struct my_tables *tables, struct my_undo *u, const struct load_job *job, struct err *err);
/* Behind the rows of an output: that so many were inserted into `table`, where one needs to know. */
int my_undo_note(MYSQL *my, const struct my_undo *u, const struct load_job *job, const struct table_spec *spec, int64_t inserted,
                 struct err *err);
/* See undo in target.h. */
int my_undo(MYSQL *my, const struct my_undo *u, const char *uid, struct load_counts *counts, struct err *err);

#endif
