/*
 * Which field of a CSV file goes to which column: by the names of its header, or by position.
 */
#ifndef QETL_READ_CSV_MAP_H
#define QETL_READ_CSV_MAP_H

#include "base/err.h"
#include "base/mem.h"
#include "io/row.h"
#include "read/format.h"

/* What takes a field of the file: a column of the batch from 0 on, or one of these. UNNAMED: nothing, and its name is empty; FILLED: that,
 * and a row had a value in it. */
enum { CSV_UNWANTED = -1, CSV_UNNAMED = -2, CSV_FILLED = -3 };
enum { CSV_FIELDS_MAX = 65536 }; /* of a header; more is no header but an attack on memory */

struct csv_copy {
    int from, to;
};

/* {0} is an empty one: every row has fields that nobody wants. */
struct csv_map {
    int width;     /* fields that a row should have */
    int width_min; /* fields that it must have whatever ragged= says */
    int cols;      /* of the batch */
    int *slot;     /* column of the batch for each field of the file, or one of the above */
    struct csv_copy
        *copies; /* columns of the batch that take a field which went to another already */
    int ncopies;
    int *absent; /* columns of the batch that the header lacks */
    int nabsent;
    struct str *names; /* of the header */
    int nnames;
    struct format_name *report;
    bool *present;
    struct arena arena; /* holds the names and the report */
};

/* Field i goes to column i, not counting the builtin ones. columns (NULL: none) may end in optional
 * ones: rows may be so much shorter. */
int csv_map_positions(struct csv_map *m, int width, const struct columns *columns, struct err *err);
/* Keep the names of a header: width fields. */
int csv_map_keep_names(struct csv_map *m, const struct field *names, struct err *err);
/*
 * Columns go by these names: exactly, else without regard to ASCII case and blanks around them; one that is not among them is
 * absent. -1: header, where one that is wanted is there twice.
 */
int csv_map_names(struct csv_map *m, const struct columns *columns, struct err *err);
/* The names with what became of them until now; the arrays are the map's. -1: no-memory. */
int csv_map_report(struct csv_map *m, struct format_names *out, struct err *err);
void csv_map_clear(struct csv_map *m);

#endif
