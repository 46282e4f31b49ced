/*
 * A connection to a MariaDB or MySQL server: opened with the credentials of its [remote], errors as values.
 *
 * Not for others: the loader (mysql_load.c) and its tables (mysql_table.h).
 */
#ifndef QETL_TARGET_MYSQL_CONN_H
#define QETL_TARGET_MYSQL_CONN_H

#include <mysql.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/target.h"

static inline void result_clearp(MYSQL_RES **r)
{
    mysql_free_result(*r); /* NULL is fine */
    *r = NULL;
}

/* A session of ours: utf8mb4, strict, UTC, READ COMMITTED, with limits to waiting. `loads`: LOAD DATA LOCAL is possible, and reads
 * nothing until my_serve() says what. Errors: target, config. */
int my_connect(MYSQL **out, const struct config *config, const struct target_config *cfg, bool loads, struct err *err);

/* What my_connect() sets, once more: also inside of a transaction, which goes on. */
int my_set_session(MYSQL *my, struct err *err);

/* What to do about a server that takes no LOAD DATA LOCAL, which is how MySQL comes. */
#define MY_LOCAL_INFILE "run SET GLOBAL local_infile = ON there, and put local_infile = ON under [mysqld] in its my.cnf"

/* What the server may ask for while LOAD DATA runs: the bytes that `read` gives, whatever file it names. */
struct my_serving {
    int (*read)(void *arg, char *out, unsigned int room); /* gives bytes, 0 at the end, -1 */
    void *arg;
};
void my_serve(MYSQL *my, struct my_serving *s); /* borrowed until the next call; NULL: nothing is served */

/*
 * The error of the connection as a value. What the data or the table is to blame for is refused for good (target-refused); a
 * server that is away, full, stopping or in a deadlock is passing (target); what the user may not do is target-denied. err->sys is the
 * server's number. Gives -1.
 */
int my_error(MYSQL *my, const char *what, struct err *err);
/* What to do about an error of the server that leaves that open, to stand behind its words; or "". */
const char *my_advice(unsigned code);
/* Was the connection lost? Nothing that it did not commit is left. */
bool my_lost(MYSQL *my);
/* One statement whose result nobody wants. */
int my_run(MYSQL *my, const char *sql, const char *what, struct err *err);
/* One statement with rows, all in memory; the caller clears them. NULL with *err. */
MYSQL_RES *my_select(MYSQL *my, const char *sql, const char *what, struct err *err);
/* The first n columns of its first row as numbers. 1; 0: no row; -1. */
int my_numbers(MYSQL *my, const char *sql, const char *what, int n, int64_t *out, struct err *err);
/* Is the session inside of a transaction, as the server said last? */
bool my_in_transaction(MYSQL *my);

/* 'text' with quotes, and `name` with backticks, behind out. */
void my_literal(struct buf *out, MYSQL *my, const char *text);
void my_name(struct buf *out, const char *name);

#endif
