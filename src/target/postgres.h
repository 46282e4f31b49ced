/*
 * What the halves of the PostgreSQL target share.
 *
 * A staged output is the tuples of COPY ... (FORMAT binary), https://www.postgresql.org/docs/15/sql-copy.html#id-1.9.3.55.9.4,
 * without the file's header and trailer, so that many of them could travel in one COPY. Each column has one binary form, that
 * of the type that qetl gives it in a table of its own:
 *
 *   text       text                 integer    bigint             real       double precision
 *   decimal(n) numeric(18,n)        boolean    boolean            date       date
 *   timestamp  timestamp with time zone        json       jsonb
 *
 * A table that somebody made with other types is loaded through a temporary table of these and a cast (postgres_table.h).
 */
#ifndef QETL_TARGET_POSTGRES_H
#define QETL_TARGET_POSTGRES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/row.h"
#include "target/target.h"

/* The SQL type of a column in a table that qetl makes, behind out. */
void postgres_type(struct buf *out, const struct column *c);

/* A question begins as one: a read-only transaction alone lets a superuser's COPY ... TO PROGRAM or DO by. That it is one
 * statement only, and changes no table, is the server's to see. -1: usage. */
int postgres_only_reads(const char *sql, struct err *err);

/* Would the server keep the names of table and columns as they are? -1: config, with the first that it would cut. */
int postgres_names_fit(const struct table_spec *spec, struct err *err);

/* ---- the load half, postgres_load.c; see target.h ---- */
int postgres_open(struct target_conn **out, const struct config *config, const struct target_config *cfg, bool create,
                  struct err *err);
void postgres_close(struct target_conn *c);
int postgres_begin(struct target_conn *c, struct err *err);
int postgres_rehearse(struct target_conn *c, struct schema_diff *diff, struct err *err);
void postgres_interrupt(struct target_conn *c);
int postgres_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err);
int postgres_load_job(struct target_conn *c, struct load_job *job, struct err *err);
int postgres_commit(struct target_conn *c, struct err *err);
void postgres_rollback(struct target_conn *c);
int postgres_loaded(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);
int postgres_run(struct target_conn *c, const char *sql, struct buf *first, struct err *err);
int postgres_probe(struct target_conn *c, struct err *err);
int postgres_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);
int postgres_query(const struct config *config, const struct target_config *cfg, const char *sql, const struct query_sink *sink,
                   struct err *err);

#endif
