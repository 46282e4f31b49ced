/*
 * One row as a SQLite record, and back.
 *
 * The record format: https://www.sqlite.org/fileformat2.html#record_format. What is made here is
 * byte for byte what SQLite itself would store for the same row in a table of our declared types
 * (sqlite_table_sql), so that it may be copied into a table without being looked at again. Hence
 * the encoder is the guard: of NOT NULL, of types, and of numbers that the column could not hold
 * exactly.
 *
 *   type       declared         stored
 *   text       TEXT             text
 *   integer    INTEGER          integer, as few bytes as hold it; 0 and 1 take none
 *   decimal(n) DECIMAL(18,n)    integer when it is one, else real; at most 15 significant digits
 * then real       REAL             real; a small integral value as an integer, as SQLite does
 *   boolean    BOOLEAN          0 or 1
 *   date       DATE             text YYYY-MM-DD
 *   timestamp  TIMESTAMP        text YYYY-MM-DD HH:MM:SS[.ffffff], UTC
 *   json       JSON TEXT        text (plain JSON would have numeric affinity, and turn the text 1e2
 * into 100)
 */
#ifndef QETL_TARGET_SQLITE_RECORD_H
#define QETL_TARGET_SQLITE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "io/row.h"
#include "target/staged.h"

/* Longest record that SQLite takes: SQLITE_MAX_LENGTH as every distribution leaves it,
 * https://www.sqlite.org/limits.html */
enum { RECORD_MAX = 1000000000 };

enum { VARINT_MAX = 9 };
/* SQLite's varint (big-endian, 7 bits a byte, 8 in the ninth). out has room for VARINT_MAX; returns
 * the length. */
int varint_put_long(uint8_t *out, uint64_t v); /* v of 0x80 and above */
static inline int varint_put(uint8_t *out, uint64_t v)
{
    if (v >= 0x80)
        return varint_put_long(out, v);
    out[0] = (uint8_t)v;
    return 1;
}
/* Length of the varint at p, or 0 when it does not end before `end`. */
int varint_get(const uint8_t *p, const uint8_t *end, uint64_t *v);

/* What the encoder must know of a column. */
struct record_column {
    enum type type;
    int scale;     /* decimal */
    bool not_null; /* required, or part of the key */
};

struct record_buf { /* {0} is an empty one */
    uint8_t *p;
    size_t cap;
};

enum record_result { RECORD_DONE, RECORD_REFUSED, RECORD_NO_MEMORY };

/* The record of a row of n values, into b; *out points into b until the next call. RECORD_REFUSED
 * fills *fault: a null where none may be (REJECT_NULL), or a value that the column cannot hold
 * exactly (REJECT_TARGET_RANGE). */
enum record_result record_encode(struct record_buf *b, const struct record_column *columns, int n,
                                 const struct value *row, struct str *out,
                                 struct row_fault *fault);
void record_buf_clear(struct record_buf *b);

enum record_kind { RECORD_NULL, RECORD_INTEGER, RECORD_REAL, RECORD_TEXT, RECORD_BLOB };
struct record_value {
    enum record_kind kind;
    union {
        int64_t i;
        double r;
        struct str s; /* text and blob: a slice of the record */
    };
};
struct record_reader {
    const uint8_t *type, *types_end, *body, *end;
};
/* Read a record that may be damaged; no byte outside is looked at. False: the header is not one. */
bool record_open(struct record_reader *r, struct str record);
/* 1: the next value; 0: no more; -1: damaged. */
int record_next(struct record_reader *r, struct record_value *v);

#endif
