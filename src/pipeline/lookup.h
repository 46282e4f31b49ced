/*
 * Look-ups: a file of the ini ([lookup NAME]) as a table that SQL can join with. It is read by the formats of the
 * pipelines, each job anew, when a statement of the job names it; a row that does not fit its columns is an error of
 * the job, since a look-up with holes gives wrong rows.
 */
#ifndef QETL_PIPELINE_LOOKUP_H
#define QETL_PIPELINE_LOOKUP_H

#include <sqlite3.h>

#include "io/config.h"
#include "io/stage.h"

/* The empty table, with an index that allows no key twice where the look-up has a key. Errors: sql. */
int lookup_table(sqlite3 *db, const struct lookup *l, struct err *err);
/* Its rows, from the file that `stage` opens. Errors: lookup (a row that does not fit, or a key that is there
 * twice; with its line; no bytes), limit (it takes more than half of [limits] memory), header (a column that is not optional is nowhere), and those of unpack and of the formats. */
int lookup_load(sqlite3 *db, const struct config *config, int number, const struct stage *stage, struct err *err);

#endif
