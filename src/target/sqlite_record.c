/* One row as a SQLite record, and back; see the header for what is stored as what. */
#include "target/sqlite_record.h"

#include <assert.h>
#include <endian.h>
#include <math.h>
#include <stdlib.h>

#include "base/text.h"

int varint_put_long(uint8_t *out, uint64_t v)
{
    if (v >> 56) { /* nine bytes: the last one holds 8 bits */
        out[8] = (uint8_t)v;
        v >>= 8;
        for (int i = 7; i >= 0; i--, v >>= 7)
            out[i] = (uint8_t)(v | 0x80);
        return 9;
    }
    int n = (63 - __builtin_clzll(v)) / 7 + 1;
    for (int i = n - 1; i >= 0; i--, v >>= 7)
        out[i] = (uint8_t)((v & 0x7f) | (i == n - 1 ? 0 : 0x80));
    return n;
}

int varint_get(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
    uint64_t x = 0;
    for (int i = 0; i < VARINT_MAX; i++) {
        if (p + i >= end)
            return 0;
        if (i == VARINT_MAX - 1) {
            *v = x << 8 | p[i];
            return VARINT_MAX;
        }
        x = x << 7 | (p[i] & 0x7f);
        if (!(p[i] & 0x80)) {
            *v = x;
            return i + 1;
        }
    }
    return 0;
}

/* ---- encode ---- */

/* Serial types, https://www.sqlite.org/fileformat2.html#record_format */
enum {
    SERIAL_NULL,
    SERIAL_I8,
    SERIAL_I16,
    SERIAL_I24,
    SERIAL_I32,
    SERIAL_I48,
    SERIAL_I64,
    SERIAL_REAL,
    SERIAL_ZERO,
    SERIAL_ONE,
    SERIAL_BLOB = 12,
    SERIAL_TEXT = 13
};
static const uint8_t serial_size[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };
static const int64_t I48_MAX = 0x7fffffffffff;

/* The header grows behind `head`, the body behind `body`; both have room, see record_room(). */
struct writer {
    uint8_t *head, *body;
};

static void put_big_endian(struct writer *w, uint64_t v, int n)
{
    v = htobe64(v << (64 - 8 * n));
    memcpy(w->body, &v, sizeof v); /* always 8 bytes: there is room for them, and only n count */
    w->body += n;
}

static void put_integer(struct writer *w, int64_t v)
{
    if (v == 0 || v == 1) {
        *w->head++ = (uint8_t)(SERIAL_ZERO + v);
        return;
    }
    uint64_t magnitude = (uint64_t)(v < 0 ? ~v : v);
    int type = magnitude <= 0x7f                ? SERIAL_I8
               : magnitude <= 0x7fff            ? SERIAL_I16
               : magnitude <= 0x7fffff          ? SERIAL_I24
               : magnitude <= 0x7fffffff        ? SERIAL_I32
               : magnitude <= (uint64_t)I48_MAX ? SERIAL_I48
                                                : SERIAL_I64;
    *w->head++ = (uint8_t)type;
    put_big_endian(w, (uint64_t)v, serial_size[type]);
}

static void put_real(struct writer *w, double r)
{
    uint64_t bits;
    memcpy(&bits, &r, sizeof bits);
    *w->head++ = SERIAL_REAL;
    put_big_endian(w, bits, 8);
}

static void put_text(struct writer *w, const char *p, size_t n)
{
    w->head += varint_put(w->head, SERIAL_TEXT + 2 * (uint64_t)n);
    if (n) /* p may be NULL then */
        memcpy(w->body, p, n);
    w->body += n;
}

/* A REAL column keeps an integral value of at most 6 bytes as an integer ("Storage Of REAL" in
 * fileformat2, section 2.1; the limit is that of OP_MakeRecord in vdbe.c). So -0.0 becomes 0 there
 * too. */
static void put_real_column(struct writer *w, double r)
{
    if (r >= (double)(-I48_MAX - 1) && r <= (double)I48_MAX && r == (double)(int64_t)r)
        put_integer(w, (int64_t)r);
    else
        put_real(w, r);
}

/* A DECIMAL column has numeric affinity. A double gives back a decimal number of up to 15 digits
 * (IEEE 754, DBL_DIG), and the quotient of two exact numbers is the double nearest to it. */
static bool put_decimal(struct writer *w, int64_t v, int scale)
{
    static const int64_t power[] = {
        1,
        10,
        100,
        1000,
        10000,
        100000,
        1000000,
        10000000,
        100000000,
        1000000000,
        10000000000,
        100000000000,
        1000000000000,
        10000000000000,
        100000000000000,
        1000000000000000,
        10000000000000000,
        100000000000000000,
        1000000000000000000,
    };
    assert(scale >= 0 && scale < (int)COUNT_OF(power));
    if (v % power[scale] == 0) {
        put_integer(w, v / power[scale]);
        return true;
    }
    while (v % 10 == 0) {
        v /= 10;
        scale--;
    }
    if (v >= power[15] || v <= -power[15])
        return false;
    put_real(w, (double)v / (double)power[scale]);
    return true;
}

enum { DAY_MIN = -719162, DAY_MAX = 2932896 }; /* 0001-01-01 and 9999-12-31, in days since 1970 */
static const int64_t DAY_US = 86400000000;

static bool put_date(struct writer *w, int64_t days)
{
    if (days < DAY_MIN || days > DAY_MAX)
        return false;
    int n = text_put_date((char *)w->body, days);
    *w->head++ = (uint8_t)(SERIAL_TEXT + 2 * n);
    w->body += n;
    return true;
}

static bool put_timestamp(struct writer *w, int64_t us)
{
    if (us < DAY_MIN * DAY_US || us >= (DAY_MAX + 1) * DAY_US)
        return false;
    int n = text_put_timestamp((char *)w->body, us, ' ');
    *w->head++ = (uint8_t)(SERIAL_TEXT + 2 * n);
    w->body += n;
    return true;
}

static bool put_value(struct writer *w, const struct record_column *c, const struct value *v)
{
    switch (c->type) {
    case TYPE_TEXT:
    case TYPE_JSON:
        put_text(w, v->p, v->n);
        return true;
    case TYPE_INTEGER:
        put_integer(w, v->i);
        return true;
    case TYPE_BOOLEAN:
        *w->head++ = (uint8_t)(SERIAL_ZERO + (v->i != 0));
        return true;
    case TYPE_DECIMAL:
        return put_decimal(w, v->i, c->scale);
    case TYPE_REAL:
        if (isnan(v->r)) /* SQLite would store NULL */
            return false;
        put_real_column(w, v->r);
        return true;
    case TYPE_DATE:
        return put_date(w, v->i);
    case TYPE_TIMESTAMP:
        return put_timestamp(w, v->i);
    case TYPES:
        break;
    }
    return false;
}

/* Most that a value other than text takes in the body: a timestamp (26), and what put_big_endian
 * writes too much. */
enum { FIXED_MAX = 32 };

static bool is_text(const struct record_column *c)
{
    return c->type == TYPE_TEXT || c->type == TYPE_JSON;
}

/* Room for the header (at most `head` bytes) and the body of any row with these text lengths; 0:
 * too long for SQLite. */
static size_t record_room(const struct record_column *columns, int n, const struct value *row,
                          size_t head)
{
    size_t room = head + FIXED_MAX;
    for (int i = 0; i < n; i++) {
        room += is_text(&columns[i]) && !row[i].null ? row[i].n : FIXED_MAX;
        if (room > RECORD_MAX)
            return 0;
    }
    return room;
}

static bool record_reserve(struct record_buf *b, size_t room)
{
    if (room <= b->cap)
        return true;
    size_t cap = room < 4096 ? 4096 : room + room / 4;
    uint8_t *p = realloc(b->p, cap);
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

static int longest_text(const struct record_column *columns, int n, const struct value *row)
{
    int longest = 0;
    size_t most = 0;
    for (int i = 0; i < n; i++)
        if (is_text(&columns[i]) && !row[i].null && row[i].n > most) {
            longest = i;
            most = row[i].n;
        }
    return longest;
}

enum record_result record_encode(struct record_buf *b, const struct record_column *columns, int n,
                                 const struct value *row, struct str *out,
                                 struct row_fault *fault)
{
    /* a serial type of a text below RECORD_MAX takes at most 5 bytes; the header's own length
     * stands in front */
    size_t head = VARINT_MAX + 5 * (size_t)n;
    size_t room = record_room(columns, n, row, head);
    if (!room) {
        *fault = (struct row_fault){ longest_text(columns, n, row), REJECT_TARGET_RANGE };
        return RECORD_REFUSED;
    }
    if (!record_reserve(b, room))
        return RECORD_NO_MEMORY;
    uint8_t *types = b->p + VARINT_MAX, *body = b->p + head;
    struct writer w = { types, body };
    for (int i = 0; i < n; i++) {
        if (row[i].null && !columns[i].not_null) {
            *w.head++ = SERIAL_NULL;
        } else if (row[i].null || !put_value(&w, &columns[i], &row[i])) {
            *fault = (struct row_fault){ i, row[i].null ? REJECT_NULL : REJECT_TARGET_RANGE };
            return RECORD_REFUSED;
        }
    }
    /* the header counts itself: one byte up to 127, two up to 16383 */
    size_t ntypes = (size_t)(w.head - types), own = ntypes + 1 <= 0x7f     ? 1
                                                    : ntypes + 2 <= 0x3fff ? 2
                                                                           : 3;
    uint8_t *start = body - ntypes - own;
    memmove(body - ntypes, types, ntypes);
    varint_put(start, own + ntypes);
    *out = (struct str){ (const char *)start, (size_t)(w.body - start) };
    return RECORD_DONE;
}

void record_buf_clear(struct record_buf *b)
{
    free(b->p);
    *b = (struct record_buf){ 0 };
}

/* ---- decode ---- */

bool record_open(struct record_reader *r, struct str record)
{
    const uint8_t *p = (const uint8_t *)record.p, *end = p + record.n;
    uint64_t header;
    int own = varint_get(p, end, &header);
    if (!own || header < (uint64_t)own || header > record.n)
        return false;
    *r = (struct record_reader){ p + own, p + header, p + header, end };
    return true;
}

static int64_t get_big_endian(const uint8_t *p, int n)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

int record_next(struct record_reader *r, struct record_value *v)
{
    uint64_t type;
    if (r->type == r->types_end)
        return r->body == r->end ? 0 : -1;
    int n = varint_get(r->type, r->types_end, &type);
    if (!n || type == 10 || type == 11) /* these two are reserved */
        return -1;
    r->type += n;
    uint64_t size = type >= SERIAL_BLOB ? (type - SERIAL_BLOB) / 2 : serial_size[type];
    if (size > (uint64_t)(r->end - r->body))
        return -1;
    if (type >= SERIAL_BLOB) {
        v->kind = type & 1 ? RECORD_TEXT : RECORD_BLOB;
        v->s = (struct str){ (const char *)r->body, (size_t)size };
    } else if (type == SERIAL_NULL) {
        v->kind = RECORD_NULL;
    } else if (type == SERIAL_REAL) {
        v->kind = RECORD_REAL;
        uint64_t bits = (uint64_t)get_big_endian(r->body, 8);
        memcpy(&v->r, &bits, sizeof bits);
    } else {
        v->kind = RECORD_INTEGER;
        v->i =
            type >= SERIAL_ZERO ? (int64_t)type - SERIAL_ZERO : get_big_endian(r->body, (int)size);
    }
    r->body += size;
    return 1;
}
