/*
 * The table `input` of a statement: the rows of a batch, as a virtual table of SQLite's. Nothing is copied: a column is
 * asked for by the row when the statement needs it.
 *
 * It can be read once from its first row to its last, since its rows stream by. A statement that would read it again (as
 * the inner table of a join, or by its name in two places) fails with words that say what to do; by its name in two
 * places, before there is a row (sql_prepare).
 */
#ifndef QETL_PIPELINE_SQL_INPUT_H
#define QETL_PIPELINE_SQL_INPUT_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/row.h"

/* Stands in the plan of a statement (EXPLAIN QUERY PLAN) once for each place where it reads input. */
#define SQL_INPUT_PLAN "the rows that stream by"
#define SQL_INPUT_TWICE \
    "input would be read more than once, but its rows stream by: keep a copy of what is needed of them, by " \
    "WITH kept AS MATERIALIZED (SELECT ... FROM input), and read that"

struct sql_input {
    const struct columns *columns;
    const struct rows *rows; /* in hand; NULL: none yet */
    uint32_t at;             /* the row of these that the statement is at */
    uint64_t passed;         /* rows that statements have gone past, of all batches */
    /* At the end of rows: put the next ones there (at least one row, at = 0) and give 1; 0: there are none; -1: stop. NULL: there are none. */
    int (*more)(struct sql_input *in);
    uint64_t asked;          /* columns that statements may ask for: a bit each; the last one is of the 64th and all behind it */
    bool read;               /* it was begun; reset it before the statement is run again */
    /* The statement asked for this column of the row at hand, and SQL cannot have its value (sql_fits): it got NULL. -1: of none.
     * unfit is told when it goes past that row; what the statement made of it is not to be used. -1: stop. */
    int unfit_column;
    int (*unfit)(struct sql_input *in);
};

static inline bool sql_input_asked(const struct sql_input *in, int column)
{
    return in->asked >> (column < 63 ? column : 63) & 1;
}
/* Table `input` in db. `in` must live as long as db. SQLite's code. */
int sql_input_declare(sqlite3 *db, struct sql_input *in);

#endif
