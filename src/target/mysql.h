/*
 * What the halves of the MariaDB and MySQL target share.
 *
 * A staged output is text for LOAD DATA with its usual settings, https://mariadb.com/kb/en/load-data-infile/: a line a row, a tab
 * between columns, \N for null, and \t \n \\ \0 for these bytes inside of text. Columns of a table that qetl makes:
 *
 *   text       LONGTEXT; VARCHAR(255) in the key      integer    BIGINT        real   DOUBLE
 *   decimal(n) DECIMAL(19,n)      boolean BOOLEAN     date       DATE
 *   timestamp  DATETIME(6), UTC                       json       JSON
 */
#ifndef QETL_TARGET_MYSQL_H
#define QETL_TARGET_MYSQL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/row.h"
#include "target/target.h"

enum { MYSQL_KEY_CHARS = 255 }; /* of a text in the key: an index takes 3072 bytes, and a character may have four */

/* The SQL type of a column in a table that qetl makes, behind out. */
void mysql_type(struct buf *out, const struct column *c, bool in_key);

/* Names of table and columns, which may be those that were found in the data. -1: config, with the one that is too long. */
int mysql_names_fit(const struct table_spec *spec, struct err *err);

/* mysql://[user@]host[:port]/database[?socket=/path&ssl=off|required|verify] */
enum mysql_ssl { SSL_BY_CA /* not given: verify when there is a ca_file, else off */, SSL_OFF, SSL_REQUIRED, SSL_VERIFY };
struct mysql_url {
    char *user, *host, *database, *socket; /* user, socket: NULL when not given */
    unsigned port;
    enum mysql_ssl ssl;
};
/* -1: config, with what is wrong in it. */
int mysql_url_parse(struct mysql_url *out, const struct target_config *cfg, struct err *err);
void mysql_url_clear(struct mysql_url *u);

/* Can SQL of after_load run inside of a transaction? -1: after-load with the statement that would end it. What hides in a
 * procedure is not seen. */
int mysql_stays_inside(const char *sql, struct err *err);
/* The line in which the statement begins, both from 1; 0: there is a CALL, which answers as often as it likes, so that nobody can count by
 * answers; or no such statement. */
int mysql_line_of(const char *sql, int statement);
/* Is it one statement that only reads? -1: usage. */
int mysql_only_reads(const char *sql, struct err *err);

/* ---- the load half, mysql_load.c; see target.h ---- */
int mysql_target_open(struct target_conn **out, const struct config *config, const struct target_config *cfg, bool create,
                      struct err *err);
void mysql_target_close(struct target_conn *c);
int mysql_target_add_columns(struct target_conn *c, const struct load_job *job, struct err *err);
int mysql_target_begin(struct target_conn *c, struct err *err);
int mysql_target_rehearse(struct target_conn *c, struct schema_diff *diff, struct err *err);
void mysql_target_interrupt(struct target_conn *c);
int mysql_target_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err);
int mysql_target_load_job(struct target_conn *c, struct load_job *job, struct err *err);
int mysql_target_commit(struct target_conn *c, struct err *err);
void mysql_target_rollback(struct target_conn *c);
int mysql_target_loaded(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);
int mysql_target_run(struct target_conn *c, const char *sql, struct buf *first, struct err *err);
int mysql_target_probe(struct target_conn *c, struct err *err);
int mysql_target_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);
int mysql_target_query(const struct config *config, const struct target_config *cfg, const char *sql, const struct query_sink *sink,
                       struct err *err);

#endif
