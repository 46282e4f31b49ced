/*
 * One list, two faces: an aligned table for people, or JSON with stable keys. The columns are declared once.
 */
#ifndef QETL_BIN_TABLE_H
#define QETL_BIN_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

enum cell {
    CELL_TEXT,
    CELL_NUMBER,
    CELL_JOB,  /* number of a job; 0 is none */
    CELL_TIME,
    CELL_SIZE,
    CELL_PEAK, /* bytes; 0 was not measured */
    CELL_BOOL,
    CELL_JSON
};
enum { TABLE_COLS = 32 };

struct table_col {
    const char *key;    /* in JSON */
    const char *head;   /* of the table; NULL: only in JSON */
    enum cell kind;
};

struct table {
    const struct table_col *cols;
    int ncols;
    bool json;
    struct buf cells;   /* texts of the shown cells, each ended by NUL */
    struct buf doc;     /* JSON objects so far */
    int64_t rows;
    int at;             /* next column of the row */
    size_t width[TABLE_COLS];
};

void table_init(struct table *t, bool json, const struct table_col *cols, int ncols);
/* The cells of a row in the order of the columns. A NULL text and a time of 0 are nothing (null). */
void table_text(struct table *t, const char *v);
void table_int(struct table *t, int64_t v); /* NUMBER, JOB, TIME (ms since 1970), SIZE (bytes; -1: not known) and PEAK (bytes), BOOL */
/* Print {"<name>": [...]} or the table (`none` when there are no rows), and free. */
void table_print(struct table *t, const char *name, const char *none);
/* Append the rows as a JSON array to out, for a document of several lists, and free. */
void table_json(struct table *t, struct buf *out);

/* Columns that a text takes: of characters, not bytes. UTF-8 continuation bytes take no room. */
size_t table_width(const char *s);

#endif
