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

/*
 * What holds in a transaction of ours, for the head of its statements: a commit that was reported must last, a loader that hangs must not
 * hold its locks for ever, times are UTC, and values as text are exact and in one form. Each statement sees what was committed before it:
 * behind a lock that was waited for, with a snapshot of the transaction, undo would not see what the one before it did. A session keeps
 * nothing: behind a pooler (pgbouncer, pool_mode = transaction) the next transaction is on another connection of the server. The first
 * one is refused behind a query, but where the level is that one already.
 */
#define PG_SETTINGS                                                                                                                         \
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"                                                                                       \
    " SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '10min';"          \
    " SET LOCAL standard_conforming_strings = on; SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 3;"                            \
    " SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; "

/* In front of SQL that makes a table of qetl's own, in its transaction: of two that make it the second waits, and then finds it. IF NOT EXISTS does
 * not stand two at once. */
#define PG_ALONE(table) "SELECT pg_advisory_xact_lock(hashtextextended('qetl makes " table "', 0)); "

/* Errors: target (also of a server that is too old), config. */
int pg_connect(PGconn **out, const struct config *config, const struct target_config *cfg, struct err *err);
/*
 * The error of a result (NULL: of the connection) as a value. What the data or the table is to blame for is refused for good
 * (target-refused); a server that is away, full, stopping or in a deadlock is passing (target); what the role may not do is
 * target-denied. err->sys is PG_OF_VALUE where a value is to blame: data_exception, class 22 of SQLSTATE, or what
 * a domain does not take. Gives -1.
 */
enum { PG_OF_VALUE = 22 };
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
