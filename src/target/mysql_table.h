/*
 * A table of a MariaDB or MySQL warehouse as outputs meet it: made, matched by name, or refused; and the SQL that puts rows into it.
 *
 * append and replace load straight into the table: LOAD DATA turns text into whatever type a column has, and says by a warning
 * what it could not keep. Modes with a key load into a temporary table whose columns have the types and collations of the table's,
 * so that keys are the same there and here. Where each row simply takes the place of the one that is there, or leaves it be, one
 * statement merges them; else a second temporary table holds one row of each key and what is to become of it.
 *
 * DDL ends a transaction here: tables are made on a connection of their own. Temporary ones do not end it.
 */
#ifndef QETL_TARGET_MYSQL_TABLE_H
#define QETL_TARGET_MYSQL_TABLE_H

#include "target/mysql_conn.h"
#include "target/schema_diff.h"
#include "target/server.h"

/* One statement; :now in it stands for the time of the load. */
struct my_step {
    const char *what;
    struct buf sql;
};
enum { MY_STEPS = 8 };

struct my_table {
    struct buf name; /* `schema`.`table` */
    struct buf load; /* LOAD DATA */
    bool staged;     /* the rows go by temporary tables: */
    struct my_step before[MY_STEPS], compare[MY_STEPS], merge[MY_STEPS]; /* before and behind LOAD DATA; those that are not needed are empty */
    struct buf counts;  /* SELECT inserted, updated, deleted, behind the merge; direct: SELECT how many keys were staged */
    bool direct;        /* the merge is one INSERT ... ON DUPLICATE KEY UPDATE of all that was staged, in the order of the key, */
    bool updates;       /* which changes rows that are there */
    struct buf missing; /* missing = delete; or empty */
    struct buf keep, keep_missing; /* undo=: before replace empties the table, or between compare and merge; see my_undo_keep(). Or empty */
    enum load_mode mode;
};

struct my_tables {
    const struct config *config; /* borrowed: for the connection that makes tables */
    const struct target_config *cfg;
    struct server_tables known;
    struct buf made;             /* names of tables that this job's load made, with commas between */
    struct schema_diff *diff; /* of a rehearsal: nothing is made; what would have to be is noted, and trouble (target), no fault of the job. Or NULL */
};

/* on_new_column = add: the table of the output gets the columns that it lacks. Outside of a transaction, because DDL ends one. What the
 * server refuses for good is no error here: who looks at the table tells. */
int my_table_add_columns(MYSQL *my, const struct table_spec *spec, struct err *err);
/* The table for an output: known already, or looked at (and made when missing) now. Valid until my_tables_forget(). NULL: target-refused with what to do, or trouble. */
struct my_table *my_table_get(struct my_tables *tables, MYSQL *my, const struct table_spec *spec, struct err *err);
/* One statement that would end the transaction, on a connection of its own. */
int my_make(const struct my_tables *tables, const char *sql, const char *what, struct err *err);
void my_tables_forget(struct my_tables *tables);

#endif
