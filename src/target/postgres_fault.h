/*
 * Which value was it? PostgreSQL says that a value is too long, and neither of which column nor of which row: rows go from a temporary
 * table into the table by one statement. So when a job dies of a value, its rows are put once more into a temporary table, and from
 * there, by halves, into one that has the types of the table's columns and nothing else of it, until the first row is left that does
 * not fit, and of it the first column.
 *
 * All of it happens in the job's savepoint, which is rolled back before and behind; a job that is loaded pays nothing for it.
 */
#ifndef QETL_TARGET_POSTGRES_FAULT_H
#define QETL_TARGET_POSTGRES_FAULT_H

#include "target/postgres_table.h"

struct pg_fault {
    PGconn *pg;
    const struct table_spec *spec;
    int64_t rows; /* of the output */
    int (*copy)(void *arg, const char *sql, struct err *err); /* the staged rows by that COPY */
    void *arg;
};

/* In the job's savepoint, which is as new. 1: *err names row and column; 0: *err is as it was: all values fit (something else is to blame), or
 * it could not be found out. */
int pg_fault_find(const struct pg_fault *f, struct err *err);

#endif
