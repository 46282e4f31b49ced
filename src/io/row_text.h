/*
 * Typed values as the text that qetl writes wherever it writes rows for others: dates as 2026-11-21, timestamps as
 * 2026-11-21T08:15:00Z (with as many digits of a second as there are), decimals with all their digits, booleans as true and false.
 */
#ifndef QETL_IO_ROW_TEXT_H
#define QETL_IO_ROW_TEXT_H

#include "base/mem.h"
#include "io/row.h"

/* Behind out: a value that is not null and neither text nor json, without quotes. False: it has no text (it is not finite). */
bool row_put_plain(struct buf *out, const struct column *c, const struct value *v);
/* The same for others who want it another way. */
struct row_plain {
    const char *yes, *no; /* boolean */
    char between;         /* date and time of a timestamp */
    const char *zone;     /* behind it */
};
bool row_put_plain_as(struct buf *out, const struct column *c, const struct value *v, const struct row_plain *form);
/* Behind out: any value that is not null, as JSON on one line. */
bool row_put_json(struct buf *out, const struct column *c, const struct value *v);
void row_put_json_text(struct buf *out, struct str s);
/* Behind out: any value that is not null, as a field of CSV with commas. An empty text is "" in quotes, so that nothing at all can be a
 * null. False: it has no text. */
bool row_put_csv(struct buf *out, const struct column *c, const struct value *v);
void row_put_csv_text(struct buf *out, struct str s);

#endif
