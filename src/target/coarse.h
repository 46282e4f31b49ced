/*
 * Columns of people's own tables that keep less of a value than the rows have: a server that rounds into them says nothing, and a
 * rounded version lets an older row overwrite a newer one. So the type of the column decides, before a row is loaded, and all such columns
 * are told at once, for a person mends the table once. What a server refuses row by row (a text that is too long, a number out of
 * range) is no business of this.
 *
 * It knows no database: each target tells what a column keeps, and how its type is changed.
 */
#ifndef QETL_TARGET_COARSE_H
#define QETL_TARGET_COARSE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/row.h"
#include "target/target.h"

enum keeps {
    KEEPS_ANY, /* whatever comes, or the server refuses it */
    KEEPS_TEXT,
    KEEPS_WORDS,   /* text, but what of it is a number becomes one */
    KEEPS_STARTS,  /* of a text so many bytes */
    KEEPS_NUMBERS, /* exact ones, of so many digits behind the point */
    KEEPS_FLOATS,  /* 24 bits, or some other rounding */
    KEEPS_DOUBLES, /* 53 bits */
    KEEPS_BITS,    /* text that is taken as bytes */
    KEEPS_CHOICES, /* texts of a list, in its order; of numbers those at their places */
    KEEPS_YEARS,   /* of two digits one of this century or the last */
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

/* One table. table, quoted and alter are the caller's; all else is 0 at first. */
struct coarse {
    const char *table, *quoted; /* as people know it, and as SQL has it */
    /* Writes behind ALTER TABLE what makes the column one for what `as` has. NULL: the database has no such statement. */
    void (*alter)(struct buf *out, const void *arg, const struct column *as);
    int found, unnamed; /* columns that do not keep what they get, and those of them that are not in the list */
    struct buf list;
    struct coarse_way {
        struct buf types, changes; /* for columns=, and for ALTER TABLE */
    } ways[4];
};
/* What the values of a column are for: the version of the rows has to keep its order, and of keys no two may become one; a moment, which has
 * to keep all of itself, is qetl's own: nobody declares it. */
enum coarse_use { COARSE_VALUE, COARSE_VERSION, COARSE_KEY, COARSE_MOMENT };
struct coarse_column {
    const char *type; /* as people know it */
    struct kept kept;
    const void *arg; /* of alter() */
};

/* What column i of a table is for. */
enum coarse_use coarse_use_of(const struct table_spec *spec, int i);
/* Does the table's column keep each value of c as it is, and as its use needs it? */
void coarse_look(struct coarse *t, const struct column *c, enum coarse_use use, const struct coarse_column *k);
/* The same for a column of moments that only qetl fills, VALID_FROM or VALID_TO. */
void coarse_look_moment(struct coarse *t, const char *name, const struct coarse_column *k);
/* 0: all that were looked at do. -1: target-refused, with the names of those that do not, of very many the first, and how many more; and with
 * the types for columns= that make the loss wanted and the statement that mends the table, as far as there are such and there is room. */
int coarse_refuse(const struct coarse *t, struct err *err);
void coarse_clear(struct coarse *t);

#endif
