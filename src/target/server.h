/*
 * What targets that are servers with SQL (PostgreSQL, MariaDB and MySQL) have in common: how a job is loaded inside of the
 * transaction. Each gives what it does its own way as a struct server; it knows no library of any of them.
 *
 * A job lives in a savepoint. Its ledger row is written first, as if all its rows were new: two loaders that hold the same job meet
 * at the ledger's key, where the second waits for the first and then finds the job there. Counts that are known only later are put in
 * at the end. If the server or the network dies in the middle, the server rolls all of it back.
 *
 * A right that is missing is the target's fault where it is the ledger's: all jobs wait, and go on when it is given. Where it is one
 * to a table of the job, or for its after_load, it is the job's alone (target-denied), so that one GRANT that somebody forgot does not
 * hold up the tables that have theirs.
 */
#ifndef QETL_TARGET_SERVER_H
#define QETL_TARGET_SERVER_H

#include "base/err.h"
#include "base/mem.h"
#include "target/target.h"

struct server {
    const char *rollback; /* SQL: back to the job's savepoint */
    void (*literal)(struct target_conn *c, struct buf *out, const char *text); /* 'text' with quotes, behind out */
    /* One statement; *rows, which may be NULL: that it changed. */
    int (*run)(struct target_conn *c, const char *sql, const char *what, int64_t *rows, struct err *err);
    /* Opens the job's savepoint and writes its ledger row (server_ledger_values). 1: it is there already; 0; -1. */
    int (*enter)(struct target_conn *c, const struct load_job *job, struct err *err);
    int (*loaded)(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);
    int (*prepare)(struct target_conn *c, const struct load_job *job, struct err *err); /* before its rows; NULL: nothing to do */
    int (*load_output)(struct target_conn *c, struct load_job *job, int at, struct err *err);
    const char *const *param_reads; /* SQL that reads each of load_params, where it stands in after_load */
    int (*set_params)(struct target_conn *c, const struct load_job *job, struct err *err); /* what that SQL reads */
    int (*after_load)(struct target_conn *c, const char *sql, struct err *err); /* with param_reads filled in */
    /* Behind rows and after_load, inside the savepoint: the session is again as before after_load, and what the commit would find is found. */
    int (*settle)(struct target_conn *c, const struct load_job *job, struct err *err);
    bool (*lost)(struct target_conn *c); /* is the connection gone? */
    void (*forget)(struct target_conn *c); /* what the job made is gone */
};

/* probe of struct target, once it is known whether the ledger is there. */
int server_probe(const struct server *s, struct target_conn *c, bool there, struct err *err);
/* A right that every job needs (to the ledger, to what is kept for undo) is missing, or it is locked: the target is held, not the job refused. Gives -1. */
int server_held(struct err *err);
/* load_job of struct target. */
int server_load_job(const struct server *s, struct target_conn *c, struct load_job *job, struct err *err);
/* The first columns of the job's ledger row, from uid to removed, in the order of struct load_counts: `'uid', 7, ..., 0`. */
void server_ledger_values(const struct server *s, struct target_conn *c, struct buf *sql, const struct load_job *job);
/* mode = replace: empties the table, whose name has its quotes, and counts the rows. */
int server_empty_table(const struct server *s, struct target_conn *c, const char *table, struct load_job *job, struct err *err);

/* A row of those that were staged which the table does not take: said is what the server said of it, column may be NULL; row, from 1, is
 * one of `rows`; values: of its columns, as people read them, shown as far as there is room. Fills *err (target-refused), gives -1. */
int server_refuse_row(struct err *err, const char *said, const char *column, int64_t row, int64_t rows, struct str values);

/* What a target knows of the tables that outputs were for: each has `bytes`, filled by look() (on an error what it filled is cleared,
 * too), and emptied by clear(). */
struct server_tables {
    size_t bytes;
    void (*clear)(void *table);
    struct server_known {
        char *id;
        void *table;
    } *v;
    int n;
};
/* The table for outputs of that spec: known already, or looked at now. Valid until server_tables_forget(). NULL with *err. */
void *server_table(struct server_tables *t, const struct table_spec *spec,
                   int (*look)(void *arg, void *table, const struct table_spec *spec, struct err *err), void *arg, struct err *err);
void server_tables_forget(struct server_tables *t);

/* The time of now in UTC as SQL: '2026-11-21 14:00:00' with `behind` after its last digit, as "'". */
enum { SERVER_NOW = 64 };
void server_now(char out[SERVER_NOW], const char *behind);
/* "schema.table" or "table" as people write it, each part quoted by `quote`, behind out. */
void server_table_name(struct buf *out, const char *name, void (*quote)(struct buf *out, const char *name));
/* Is a name that the ini gives, of n bytes, one that the server keeps whole? `what` it names is for the message. */
typedef int server_name_fits(const char *what, const char *name, size_t n, struct err *err);
/* That of the table, and of its `outer` (schema, database) if it has one; and those of the columns. */
int server_table_fits(const struct table_spec *spec, const char *outer, server_name_fits *fits, struct err *err);
int server_columns_fit(const struct table_spec *spec, server_name_fits *fits, struct err *err);

#endif
