/*
 * Columns from data: names from the header (or the keys of JSON objects, nested objects as a.b), types from all values that were
 * seen: the narrowest of boolean, integer, decimal, real, date, timestamp, json, text that holds every one of them. An integer with a
 * leading zero ("007") is text. Required only when never null in at least 1 row.
 */
#ifndef QETL_READ_INFER_H
#define QETL_READ_INFER_H

#include "base/err.h"
#include "io/config.h"
#include "io/input.h"

struct inferred {
    char *columns;     /* text for columns_parse; malloc'ed */
    char format[16];   /* csv, tsv, jsonl, json */
    char delimiter;    /* csv */
    bool header;
    int64_t rows;      /* looked at */
    int64_t bytes;
    bool whole;        /* the whole member was read; false: a sample */
};
void inferred_clear(struct inferred *i);

/* Look at a member. recipe gives what is already known (format, delimiter, header, nulls...). max_bytes: 0 the whole member. */
int infer_member(struct inferred *out, const struct recipe *recipe, struct input *in, int64_t max_bytes, struct err *err);

#endif
