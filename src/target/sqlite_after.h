/*
 * after_load on SQLite: SQL of people inside of a job's savepoint, which it must not end; and what can be known of it before there is a
 * job.
 */
#ifndef QETL_TARGET_SQLITE_AFTER_H
#define QETL_TARGET_SQLITE_AFTER_H

#include "target/sqlite_table.h"

/* Runs it, one statement after the other, their rows thrown away. Errors: after-load with the number of the statement, its line and
 * column; those of warehouse_error() that pass by themselves. */
int after_run(struct warehouse *w, const struct load_job *job, struct err *err);

#endif
