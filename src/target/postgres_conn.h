/*
 * A connection to a PostgreSQL server: opened with the credentials of its [remote], errors as values.
 *
 * Not for others: the loader (postgres_load.c) and its tables (postgres_table.h).
 */
#ifndef QETL_TARGET_POSTGRES_CONN_H
#define QETL_TARGET_POSTGRES_CONN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/target.h"

static inline void result_clearp(PGresult **r)
{
    PQclear(*r); /* NULL is fine */
    *r = NULL;
}

/* options: settings for the session as `-c name=value ...`. Errors: target, config. */
int pg_connect(PGconn **out, const struct config *config, const struct target_config *cfg, const char *options, struct err *err);
/*
 * The error of a result (NULL: of the connection) as a value. What the data or the table is to blame for is refused for good
 * (target-refused); a server that is away, full, stopping or in a deadlock is passing (target); what the role may not do is
 * target-denied. Gives -1.
 */
int pg_error(PGconn *pg, const PGresult *r, const char *what, struct err *err);
/* One or more statements without parameters. NULL with *err. The caller clears the result, which is that of the last one. */
PGresult *pg_exec(PGconn *pg, const char *sql, const char *what, struct err *err);
/* The same where nobody wants the result. */
int pg_run(PGconn *pg, const char *sql, const char *what, struct err *err);
/* A number in the first row of a result. */
int64_t pg_number(const PGresult *r, int column);
/* How many rows the statement changed. */
int64_t pg_changed(PGresult *r);
/* 'text' with quotes, behind out. */
void pg_literal(struct buf *out, PGconn *pg, const char *text);

#endif
