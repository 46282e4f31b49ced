/*
 * Shared by test_csv.c and fuzz_csv.c: read a member by a recipe, through an input that cuts, and
 * write down all that came out. Two readings are equal when their texts are.
 */
#ifndef QETL_TESTS_CSV_DUMP_H
#define QETL_TESTS_CSV_DUMP_H

#include <stdio.h>
#include <string.h>

#include "cut_input.h"
#include "read/csv.h"

static void dump_bytes(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n')
            buf_adds(out, "\\n");
        else if (c == '\r')
            buf_adds(out, "\\r");
        else if (c < ' ' || c == 0x7F || c >= 0x80)
            buf_addf(out, "\\x%02X", c);
        else
            buf_addc(out, (char)c);
    }
}

static void dump_field(struct buf *out, const struct field *f)
{
    if (f->kind == FIELD_ABSENT) {
        buf_adds(out, "~");
        return;
    }
    if (f->kind == FIELD_QUOTED)
        buf_addc(out, '\'');
    dump_bytes(out, (struct str){ f->p, f->n });
    if (f->kind == FIELD_QUOTED)
        buf_addc(out, '\'');
}

static void dump_row(struct buf *out, const struct batch *b, uint32_t row)
{
    const struct place *p = &b->places[row];
    buf_addf(out, "%llu@%llu ", (unsigned long long)p->line, (unsigned long long)p->offset);
    for (uint32_t c = 0; c < b->cols; c++) {
        if (c)
            buf_addc(out, '|');
        dump_field(out, &b->fields[(size_t)row * b->cols + c]);
    }
    buf_addc(out, '\n');
}

static void dump_bad(struct buf *out, const struct bad_row *bad)
{
    buf_addf(out, "%llu@%llu !%s col=%d value=", (unsigned long long)bad->place.line,
             (unsigned long long)bad->place.offset, reject_name(bad->reason), bad->column);
    dump_bytes(out, bad->value);
    buf_adds(out, " row=");
    dump_bytes(out, bad->place.raw);
    buf_addc(out, '\n');
}

/* Rows and bad rows in the order of the file. */
static void dump_batch(struct buf *out, const struct batch *b)
{
    uint32_t i = 0, k = 0;
    while (i < b->rows || k < b->nbad)
        if (k == b->nbad || (i < b->rows && b->places[i].offset < b->bad[k].place.offset))
            dump_row(out, b, i++);
        else
            dump_bad(out, &b->bad[k++]);
}

/* All of a member as text: a line a row, "error NAME: message" at the end where there is one. */
static void dump_csv(struct buf *out, const struct recipe *recipe, const struct columns *columns,
                     struct input *in, int64_t row_max, const struct csv_tuning *tuning)
{
    struct err err = { 0 };
    struct reader *r = NULL;
    struct batch b = { 0 };
    int rc = csv_open(&r, recipe, columns, in, row_max, tuning, &err), width;
    if (rc == 0) {
        (void)csv_names(r, &width);
        rc = batch_init(&b, (uint32_t)(columns ? columns->n : width), &err);
    }
    while (rc >= 0 && (rc = format_csv.next(r, &b, &err)) > 0)
        dump_batch(out, &b);
    if (rc < 0)
        buf_addf(out, "error %s: %s\n", err_name(err.code), err.msg);
    batch_clear(&b);
    format_csv.close(r);
}

#endif
