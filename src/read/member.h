/*
 * One member as batches of fields: its bytes decoded, the format found by its recipe or from the first of them, and the
 * format's rows.
 */
#ifndef QETL_READ_MEMBER_H
#define QETL_READ_MEMBER_H

#include "read/format.h"

struct member_rows {
    struct input peek; /* gives the first bytes out again */
    struct input *decoded, *closed; /* closed: without the closing line; NULL: none is asked for */
    char *head; /* the first bytes: in own, or in the caller's sample */
    size_t cap, n, at; /* of head */
    bool ends;         /* its CSV must end with a line end */
    char last;         /* byte that was given out */
    char own[4096];
    const struct format *format;
    struct reader *reader;
};

/* 1: member_next gives its rows; 0: it has no bytes, so neither rows nor header; -1: as decode_open, closing_open, format_pick and
 * format->open say. m stays where it is until member_close, whatever this gave; recipe, columns and in are borrowed. */
int member_open(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                int64_t row_bytes_max, struct err *err);
/* The same, with as many of the first bytes in rows->head as there is room in `sample` (borrowed; its own 4096 bytes where there is none). */
int member_open_sample(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                       int64_t row_bytes_max, const struct buf *sample, struct err *err);
/* The same for what a program wrote, with nothing around it: CSV whose last line is not ended is program-cut, by member_next or here. */
int member_open_written(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                        int64_t row_bytes_max, const struct buf *sample, struct err *err);
/* As format->next. */
static inline int member_next(struct member_rows *m, struct batch *b, struct err *err)
{
    return m->format->next(m->reader, b, err);
}
void member_close(struct member_rows *m);

#endif
