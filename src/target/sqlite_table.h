/*
 * A SQLite warehouse and its tables, as outputs meet them: made, matched by name, or refused.
 *
 * Not for others: the loader (sqlite_load.c) and what puts rows into a table (sqlite_output.h).
 */
#ifndef QETL_TARGET_SQLITE_TABLE_H
#define QETL_TARGET_SQLITE_TABLE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/schema_diff.h"
#include "target/target.h"

enum { WAREHOUSE_BUSY_MS = 10000 }; /* so long another program may hold the database */

/* A table of the warehouse as one kind of output is put into it. */
struct table {
    char *id;            /* what outputs are known by: name, mode, key and staged columns */
    struct buf staged;   /* CREATE TABLE of the staged table */
    struct buf quoted;   /* "name" */
    struct buf columns;  /* "a", "b" */
    struct buf key;      /* "a", "b" */
    struct buf collated; /* "a", "b" COLLATE "NOCASE" AS "b": staged columns as the table compares keys and versions; empty: by their bytes */
    struct buf conflict; /* ON CONFLICT ..., or empty */
    struct buf temp;     /* temp.staged_N, for rows that are merged and lie in no file; or empty */
    const char *order;   /* name of the staged rowid that no column has */
    bool whole;          /* the table's columns are the staged ones, in their order */
    bool direct;         /* a keyed mode whose rows may go in one by one in file order */
    bool updates;        /* a row may be put in the place of another: conflict asks qetl_met() */
    bool rowid;          /* it is not WITHOUT ROWID */
    int indexes;
    enum load_mode mode;
    sqlite3_stmt *insert; /* one row of bound values */
    sqlite3_stmt *fill;   /* the same into temp */
};

/* What the functions that the SQL of a merge calls have seen; see sqlite_merge.h. */
struct merge_tally {
    int64_t first[2];   /* [gone]: rows that count for their key */
    int64_t met[2][2];  /* [written][gone]: of those, rows whose key was in the table */
    struct buf key, last; /* of the row at hand, of the one before */
    int64_t last_integer; /* the same, where the key is one integer, or the rowid */
    const char *table;    /* that rows go into */
    bool any, was_integer; /* there is one before, and last_integer has it */
    int64_t again; /* rows that went in over one of the same statement; see merge_watch() */
};

struct warehouse {
    sqlite3 *db;
    char *path;
    int64_t schema; /* version that the tables were read at, or -1 */
    struct table *tables;
    int ntables;
    int attached; /* staged files: s0, s1, ... */
    int temps;    /* temporary tables so far, for their names */
    struct merge_tally tally;
    struct schema_diff *diff; /* of a rehearsal, or NULL */
};

/* The error of the last call as a value: what the data or a table is to blame for is refused for
 * good (target-refused); a machine or another program in the way is passing. Gives -1. */
int warehouse_error(struct warehouse *w, struct err *err, const char *what);
int warehouse_prepare(struct warehouse *w, const char *sql, sqlite3_stmt **st, const char *what,
                      struct err *err);
/* 1 a row, 0 done, -1 error; reset but after a row. */
int warehouse_step(struct warehouse *w, sqlite3_stmt *st, const char *what, struct err *err);
int warehouse_exec(struct warehouse *w, const char *sql, const char *what, struct err *err);

/* 1: there is a table or view of that name (ASCII case ignored), *view says which; 0: none. */
int warehouse_find(struct warehouse *w, const char *name, bool *view, struct err *err);
/* Before a table of our own is made: notes it, where it is not there. */
int warehouse_note_own(struct warehouse *w, const char *name, const char *sql, struct err *err);
/* The table for an output: known already, or looked at (and made when missing) now. Inside a
 * transaction. Valid until the next call, or until warehouse_forget(). NULL: target-refused with
 * what to do, or trouble. */
struct table *warehouse_table(struct warehouse *w, const struct table_spec *spec, struct err *err);
/* Nothing is known of the tables any more: after a rollback, or when another program changed the
 * schema. */
void warehouse_forget(struct warehouse *w);
/* At the begin of a transaction: forgets the tables when the schema is not what it was. */
int warehouse_check_schema(struct warehouse *w, struct err *err);

#endif
