/* A member put together: decode, take the closing line off, peek, pick, open. See member.h. */
#include "read/member.h"

#include <string.h>

#include "read/closing.h"
#include "read/csv.h"

/* What is behind the head. */
static ssize_t read_on(struct member_rows *m, void *buf, size_t cap, struct err *err)
{
    struct input *from = m->closed ? m->closed : m->decoded;
    ssize_t n = from->read(from, buf, cap, err);
    if (n > 0)
        m->last = ((const char *)buf)[n - 1];
    return n == 0 && m->ends && m->format == &format_csv && csv_ended(m->last, err) < 0 ? -1 : n;
}

static ssize_t peek_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct member_rows *m = (struct member_rows *)in; /* its first member */
    if (m->at == m->n)
        return read_on(m, buf, cap, err);
    size_t n = m->n - m->at < cap ? m->n - m->at : cap;
    memcpy(buf, m->head + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static int peek_open(struct member_rows *m, struct err *err)
{
    struct input *from = m->closed ? m->closed : m->decoded;
    m->peek = (struct input){ .read = peek_read, .size = from->size };
    for (ssize_t n = 1; n && m->n < m->cap; m->n += (size_t)n)
        if ((n = read_on(m, m->head + m->n, m->cap - m->n, err)) < 0)
            return -1;
    return 0;
}

static int open_rows(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                     int64_t row_bytes_max, const struct buf *sample, struct err *err)
{
    m->head = sample->cap ? sample->p : m->own;
    m->cap = sample->cap ? sample->cap : sizeof m->own;
    m->closed = NULL;
    m->format = NULL;
    m->reader = NULL;
    m->n = m->at = 0;
    if (!(m->decoded = decode_open(in, recipe->encoding, err)))
        return -1;
    if (recipe->closing_line && !(m->closed = closing_open(m->decoded, recipe->closing_line, err)))
        return -1;
    if (peek_open(m, err) < 0)
        return -1;
    if (m->n == 0)
        return 0;
    if (!(m->format = format_pick(recipe, (struct str){ m->head, m->n }, err)))
        return -1;
    return m->format->open(&m->reader, recipe, columns, &m->peek, row_bytes_max, err) < 0 ? -1 : 1;
}

int member_open(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                int64_t row_bytes_max, struct err *err)
{
    static const struct buf none;
    return member_open_sample(m, recipe, columns, in, row_bytes_max, &none, err);
}

int member_open_sample(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                       int64_t row_bytes_max, const struct buf *sample, struct err *err)
{
    m->ends = false;
    return open_rows(m, recipe, columns, in, row_bytes_max, sample, err);
}

int member_open_written(struct member_rows *m, const struct recipe *recipe, const struct columns *columns, struct input *in,
                        int64_t row_bytes_max, const struct buf *sample, struct err *err)
{
    m->ends = true;
    return open_rows(m, recipe, columns, in, row_bytes_max, sample, err);
}

void member_close(struct member_rows *m)
{
    if (m->format)
        m->format->close(m->reader);
    closing_close(m->closed);
    if (m->decoded)
        decode_close(m->decoded);
}
