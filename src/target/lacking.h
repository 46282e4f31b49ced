/*
 * Columns of the rows that a table of people's own does not have: all of them are told at once, with the SQL that adds them, for a
 * person mends the table once. It knows no database: each target tells how it declares a column.
 */
#ifndef QETL_TARGET_LACKING_H
#define QETL_TARGET_LACKING_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/row.h"

struct lacking {
    const char *table;  /* as people know it */
    const char *of;     /* the file that it lies in, or NULL */
    const char *quoted; /* as SQL has it */
    void (*declare)(struct buf *out, const struct column *c); /* name and type behind ADD COLUMN */
    bool one_alter;     /* an ALTER TABLE may have several ADD COLUMN */
};

/* 0: none lacks. -1: target-refused, with the names of those that do; of very many the first, and how many more. The SQL is there when
 * the message has room for all of it. */
int lacking_refuse(const struct lacking *l, const struct columns *columns, bool (*lacks)(const void *arg, int column), const void *arg,
                   struct err *err);

#endif
