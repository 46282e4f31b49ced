/*
 * The rows of one staged output into a table of the warehouse.
 */
#ifndef QETL_TARGET_SQLITE_OUTPUT_H
#define QETL_TARGET_SQLITE_OUTPUT_H

#include <stdint.h>

#include "base/err.h"
#include "target/sqlite_table.h"
#include "target/target.h"

/* Inside a transaction and a savepoint. uid: of the job; now: of the load, as a timestamp. Adds to *counts, and to
 * *slow the rows that went the slow way though the table could have taken them by record transfer. Errors: staged-damaged, target-refused (with the
 * row), target, disk-full; then rows may be in: the caller goes back to its savepoint. */
int output_load(struct warehouse *w, struct table *t, const struct load_output *o,
                const char *uid, const char *now, struct load_counts *counts, int64_t *slow, struct err *err);
/* Let go of the staged files; after the transaction, for inside of it SQLite still holds what was
 * read. */
void output_detach(struct warehouse *w);

#endif
