/*
 * The dialect of one CSV member: what its recipe says, and for the rest what its first bytes show.
 */
#ifndef QETL_READ_CSV_DIALECT_H
#define QETL_READ_CSV_DIALECT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

enum { CSV_NONE = -1 };

struct csv_dialect {
    int delimiter, quote, escape, comment; /* bytes, or CSV_NONE */
    bool trim;                             /* blanks around fields */
    bool cr;                               /* a lone CR ends a line too */
    bool fill;                             /* RAGGED_FILL */
    bool sep_line;                         /* the first line behind skip_lines is "sep=;", no row */
};

/* head: the first bytes, all of a small member. -1: config, the delimiter is also quote, escape or
 * line end. */
int csv_dialect_find(struct csv_dialect *d, const struct recipe *recipe, struct str head,
                     struct err *err);

/* Which of , ; tab | divides these lines (complete lines but the last, which may be cut): the one
 * that gives most rows as many fields as the first, more than one; 0: none of them. Of two that are
 * equal there a tab, then the one that gives more fields; but a comma not where the first line has one
 * between digits (a decimal comma) or before a blank (prose). *share (may be
 * NULL): how many of the rows agree, 0 to 1. */
char csv_sniff(struct str head, const struct recipe *recipe, double *share);

#endif
