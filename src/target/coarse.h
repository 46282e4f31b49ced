/*
 * Columns of people's own tables that keep less of a value than the rows have: a server that rounds into them says nothing, and a
 * rounded version lets an older row overwrite a newer one. So the type of the column decides, before a row is loaded. What a server
 * refuses row by row (a text that is too long, a number out of range) is no business of this.
 *
 * It knows no database: each target tells what a column keeps, and how its type is changed.
 */
#ifndef QETL_TARGET_COARSE_H
#define QETL_TARGET_COARSE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/row.h"

enum keeps {
    KEEPS_ANY, /* whatever comes, or the server refuses it */
    KEEPS_TEXT,
    KEEPS_STARTS,  /* of a text so many bytes */
    KEEPS_NUMBERS, /* exact ones, of so many digits behind the point */
    KEEPS_FLOATS,  /* 24 bits, or some other rounding */
    KEEPS_DOUBLES, /* 53 bits */
    KEEPS_BITS,    /* text that is taken as bytes */
    KEEPS_DATES,
    KEEPS_TIMES,      /* of a day */
    KEEPS_TIMESTAMPS, /* of so many digits of a second */
    KEEPS_KINDS
};
enum { DIGITS_ALL = 1000 }; /* digits without an end */

struct kept {
    enum keeps keeps;
    int digits;
};

struct coarse {
    const char *table, *type; /* as people know them */
    struct kept kept;
    /* Writes the statement that makes the column one for what `as` has. */
    void (*alter)(struct buf *out, const void *arg, const struct column *as);
    const void *arg;
};

/* 0: the table's column keeps each value of c as it is and, where c is the version of the rows, in its order. -1: target-refused, with
 * the type for columns= that makes the loss wanted and the statement that mends the table, as far as there are such. */
int coarse_check(const struct column *c, bool is_version, const struct coarse *t, struct err *err);
/* The same for a column of moments that only qetl fills, VALID_FROM or VALID_TO. */
int coarse_check_moment(const char *name, const struct coarse *t, struct err *err);

#endif
