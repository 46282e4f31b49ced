/*
 * A table of a PostgreSQL warehouse as outputs meet it: made, matched by name, or refused; and the SQL that puts rows into it.
 *
 * Rows go straight into the table (COPY) when its mode is append or replace and each column takes the binary form that was
 * staged. Else they go into a temporary table with the types of postgres_type() and a column STAGED_ORDER that counts them, and
 * from there by one or a few statements ("merge") into the table. It lasts as long as the transaction.
 */
#ifndef QETL_TARGET_POSTGRES_TABLE_H
#define QETL_TARGET_POSTGRES_TABLE_H

#include "target/postgres_conn.h"
#include "target/schema_diff.h"
#include "target/server.h"

struct pg_table {
    struct buf name;       /* "schema"."table", or "table" where people named no schema */
    struct buf noted;      /* "schema"."table" in every case: what undo knows it as */
    struct buf rows;       /* the same where its rows are read or changed: ONLY it, for tables that inherit from it are others; but all partitions */
    struct buf copy;       /* COPY ... FROM STDIN (FORMAT binary) */
    bool staged;           /* the rows go by the temporary table: */
    struct buf make_stage, empty_stage; /* CREATE, TRUNCATE of it */
    int64_t staged_in;     /* the transaction that has it; 0: none yet */
    struct buf before;     /* upsert into a partitioned table: counts keys that are new; or empty */
    struct buf merge;      /* gives three counts: inserted, updated, deleted. :now stands for the time of the load */
    struct buf add_unique; /* what mends a table without a unique index on the key */
    struct buf missing;    /* missing = delete; or empty */
    struct buf undo_before, undo_after; /* of a table with undo=, see postgres_undo.h; or empty */
    char **key_names;      /* as the table has them */
    int nkey;
    enum load_mode mode;
};

struct pg_tables {
    struct server_tables known;
    int64_t transaction; /* counts them, from 1 */
    int made;            /* temporary tables so far, for their names */
    struct schema_diff *diff; /* of a rehearsal, or NULL */
};

#define STAGED_ORDER "qetl_order"

/* The table for an output: known already, or looked at (and made when missing) now. Inside a transaction. Valid until
 * pg_tables_forget(). NULL: target-refused with what to do, or trouble. */
struct pg_table *pg_table_get(struct pg_tables *tables, PGconn *pg, const struct table_spec *spec, struct err *err);
/* ON CONFLICT refuses rows by a unique constraint that is deferrable, which no plan tells: target-refused. */
int pg_table_check_key(PGconn *pg, const struct pg_table *t, struct err *err);
/* After a rollback: what was made is gone. */
void pg_tables_forget(struct pg_tables *tables);

/*
 * What it takes to put an output's rows a second time into a temporary table, PG_PROBE_ROWS, and from there into one with the types of
 * the table's columns and nothing else of it, PG_PROBE_TYPES (postgres_fault.h).
 */
#define PG_PROBE_ROWS "qetl_probe_rows"
#define PG_PROBE_TYPES "qetl_probe_types"
enum { PG_PROBE_SHOWN = 60 }; /* columns; a function of the server takes a hundred values at most */
struct pg_probe {
    struct buf make, copy;
    struct pg_probe_column {
        const char *name, *cast; /* with quotes; the staged value (of s) as the table's type, as the merge casts it */
    } *column;                   /* of each column of the output */
    struct arena arena;
};
/* -1: the table is not what it was, or trouble. The caller's to clear in every case. */
int pg_probe_write(PGconn *pg, const struct table_spec *spec, struct pg_probe *p, struct err *err);
void pg_probe_clear(struct pg_probe *p);

#endif
