/*
 * Any bytes as a record, as an inline output has them: no slice lies outside, and what was read can
 * be read again. Then as rows for the encoder: what it takes is decoded to the same.
 */
#include <stdlib.h>

#include "target/sqlite_record.h"

static void need(bool good)
{
    if (!good)
        abort();
}

static void read_record(struct str record)
{
    struct record_reader r;
    struct record_value v;
    int rc = 0;
    if (!record_open(&r, record))
        return;
    while ((rc = record_next(&r, &v)) == 1)
        if (v.kind == RECORD_TEXT || v.kind == RECORD_BLOB)
            need(v.s.p >= record.p && v.s.n <= (size_t)(record.p + record.n - v.s.p));
    need(rc == 0 || rc == -1);
}

/* Integers of 8 bytes and texts of 1, by turns. */
static void write_record(const uint8_t *p, size_t n)
{
    enum { COLUMNS = 64 };
    struct record_column columns[COLUMNS] = { 0 };
    struct value row[COLUMNS] = { 0 };
    int cols = 0;
    for (; n >= 9 && cols < COLUMNS; p += 9, n -= 9, cols++) {
        columns[cols].type = p[0] & 1 ? TYPE_INTEGER : TYPE_TEXT;
        memcpy(&row[cols].i, p + 1, 8);
        if (!(p[0] & 1))
            row[cols] = (struct value){ .p = (const char *)p + 1, .n = p[0] >> 1 & 7 };
        row[cols].null = p[0] >> 7;
    }
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    struct row_fault fault;
    struct str record;
    struct record_reader r;
    struct record_value v;
    need(record_encode(&b, columns, cols, row, &record, &fault) == RECORD_DONE);
    need(record_open(&r, record));
    for (int i = 0; i < cols; i++) {
        need(record_next(&r, &v) == 1);
        if (row[i].null)
            need(v.kind == RECORD_NULL);
        else if (columns[i].type == TYPE_INTEGER)
            need(v.kind == RECORD_INTEGER && v.i == row[i].i);
        else
            need(v.kind == RECORD_TEXT && str_eq(v.s, (struct str){ row[i].p, row[i].n }));
    }
    need(record_next(&r, &v) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_record((struct str){ (const char *)data, size });
    write_record(data, size);
    return 0;
}
