/*
 * SQL over rows as they stream: a SQLite database in memory that has the table `input` (sql_input.h), the look-ups of
 * the ini and the other parts that lookup_parts= names as tables, the function regexp, and nothing else. Its statements can
 * read and compute; all else (ATTACH, PRAGMA, writing, loading of extensions) is refused when they are prepared.
 *
 * The rows of another part are copied into a temporary table as they are staged (sql_parts.c); the pipeline runs the
 * statements when they are all there.
 *
 * Memory is bounded: what is sorted or kept beyond SQLite's caches, temporary tables among it, goes to scratch files
 * (sql_scratch.h), the look-ups take at most half of [limits] memory, a value is at most [limits] row long.
 */
#ifndef QETL_PIPELINE_SQL_H
#define QETL_PIPELINE_SQL_H

#include <sqlite3.h>

#include "io/config.h"
#include "io/stage.h"
#include "pipeline/sql_input.h"
#include "pipeline/sql_scratch.h"
#include "pipeline/step.h"

struct sql;
/* Another part's rows, in the database of one step that reads them. */
struct sql_copy {
    struct part_reader reader; /* first */
    struct sql *sql;
    struct part_table *table;
    sqlite3_stmt *insert;
    bool wanted;               /* a statement reads it */
    bool *asked;               /* of each column: a statement reads it, or its index */
};

struct sql {
    sqlite3 *db;
    const struct step_part *part;
    const struct config *config;
    const struct stage *stage;  /* NULL: only to check; nothing is opened */
    struct sql_input input;
    struct scratch scratch;
    bool set_up, reads_input;   /* by the authorizer: it says what is allowed and notes what is read */
    bool joins_by_name;         /* USING or NATURAL may be there: columns are read that it is not told of */
    bool *looked_up;            /* of each look-up */
    struct sql_copy copies[CONFIG_PARTS_MAX];
    int ncopies;
    uint64_t moves, moved;      /* batches in, rows out: the owner counts; with input.passed at our last look */
    int64_t since_ms, timeout_ms;
    bool late;
};

/*
 * Open it for a step of that part, and input of those columns. s stays where it is until sql_close. A statement that moves no row
 * for the transform_timeout of the part is broken off. Errors: sql (a look-up has the name of another), no-memory.
 */
int sql_open(struct sql *s, const struct step_part *part, const struct columns *columns, struct err *err);
void sql_close(struct sql *s); /* all statements are finalized; one that is all zero is fine */

/*
 * Prepare one statement that reads. `front` and `behind` are put around the text of the ini, and places in messages are
 * places in that text. Errors: sql, with line and column where SQLite knows them; also for a constant regular expression that is none,
 * and for input by its name in two places, which is found in the plan.
 */
int sql_prepare(struct sql *s, sqlite3_stmt **st, const char *front, const char *text, const char *behind, struct err *err);
/* Read the look-ups that the statements use, and let rows of the parts that they read come. Before the first step. Errors: see lookup.h. */
int sql_load(struct sql *s, struct err *err);
/* ---- inside: sql_parts.c, for sql.c ---- */

int sql_parts_make(struct sql *s, struct err *err); /* the empty tables; before the authorizer */
int sql_parts_load(struct sql *s, struct err *err); /* see sql_load */
void sql_parts_note(struct sql_copy *c, const char *column); /* a statement reads it; "": it reads none of it, only counts rows */
void sql_parts_close(struct sql *s);

/* Refuse a row of input for its value in that column (sql_fits). -1: see rejects_add. */
int sql_refuse(const struct sql *s, const struct rows *rows, uint32_t row, int column, struct err *err);
/* Who asks is told that a fault lies there. */
void sql_blame(const struct step_part *part, const struct sql_text *text, const char *key);
/* What sqlite3_step gave, when that was neither a row nor the end, as an error. -1 */
int sql_failed(struct sql *s, struct err *err);

#endif
