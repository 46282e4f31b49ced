/*
 * Foreign encodings to UTF-8. Pure bytes in, bytes out: nothing here touches a disk, and a reader
 * that dies leaves nothing behind.
 *
 * Invariant: what is served is, in this order, the rest of a character that did not fit, and what
 * is decoded from raw. UTF-8 is not copied: once the BOM is dealt with, reads go straight to the
 * source.
 */
#include "read/decode.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { RAW = 32 * 1024, WORST = 4, INVALID = 0xFF };

struct decode {
    struct input in;
    struct input *src;
    enum encoding enc;
    bool started, src_end;
    unsigned char raw[RAW];
    size_t raw_at, raw_n;
    char spill[WORST]; /* a character larger than what the caller had room for */
    size_t spill_at, spill_n;
};

/* Have at least `want` raw bytes, or the source's end. */
static int raw_fill(struct decode *d, size_t want, struct err *err)
{
    if (d->raw_n - d->raw_at >= want || d->src_end)
        return 0;
    memmove(d->raw, d->raw + d->raw_at, d->raw_n - d->raw_at);
    d->raw_n -= d->raw_at;
    d->raw_at = 0;
    while (d->raw_n < want && !d->src_end) {
        ssize_t n = d->src->read(d->src, d->raw + d->raw_n, RAW - d->raw_n, err);
        if (n < 0)
            return -1;
        d->src_end = n == 0;
        d->raw_n += (size_t)n;
    }
    return 0;
}

static bool raw_begins(const struct decode *d, struct str bom)
{
    return d->raw_n >= bom.n && memcmp(d->raw, bom.p, bom.n) == 0;
}

static void start_utf16(struct decode *d, bool little, bool big)
{
    if (d->enc == ENC_UTF16)
        d->enc = big || (!little && d->raw_n >= 2 && !d->raw[0] && d->raw[1]) ? ENC_UTF16BE
                                                                              : ENC_UTF16LE;
    if ((d->enc == ENC_UTF16LE && little) || (d->enc == ENC_UTF16BE && big))
        d->raw_at = 2;
}

/* Look for a BOM (Unicode 15, table 2-4). */
static int start(struct decode *d, struct err *err)
{
    if (raw_fill(d, 3, err) < 0)
        return -1;
    d->started = true;
    bool little = raw_begins(d, STR("\xFF\xFE")), big = raw_begins(d, STR("\xFE\xFF"));
    switch (d->enc) {
    case ENC_UTF8:
    case ENC_UTF8_REPLACE:
        if (little || big)
            return err_set(err, ERR_ENCODING,
                           "the text begins with the mark of utf-16, not of utf-8");
        if (raw_begins(d, STR("\xEF\xBB\xBF")))
            d->raw_at = 3;
        break;
    case ENC_LATIN1:
        break;
    default:
        start_utf16(d, little, big);
    }
    return 0;
}

/* One code point below 0x110000, or INVALID for what is none; returns the bytes put. */
static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[n] | c);
    return n;
}

static uint32_t unit_at(const struct decode *d, size_t at)
{
    const unsigned char *p = d->raw + at;
    return d->enc == ENC_UTF16LE ? p[0] | (uint32_t)p[1] << 8 : p[1] | (uint32_t)p[0] << 8;
}

/* The next character of utf-16; raw holds 4 bytes, or less at the end. Returns the bytes put. */
static size_t next_utf16(struct decode *d, char *out)
{
    size_t have = d->raw_n - d->raw_at;
    uint32_t c = have < 2 ? 0xD800 : unit_at(d, d->raw_at);
    d->raw_at += have < 2 ? have : 2;
    if (c < 0xD800 || c > 0xDFFF)
        return put_utf8(out, c);
    uint32_t low = have < 4 ? 0 : unit_at(d, d->raw_at);
    if (c > 0xDBFF || low < 0xDC00 || low > 0xDFFF) {
        out[0] = (char)INVALID;
        return 1;
    }
    d->raw_at += 2;
    return put_utf8(out, 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00));
}

/* The next character of text that should be UTF-8: a byte that begins none becomes U+FFFD. */
static size_t next_replaced(struct decode *d, char *out)
{
    const char *p = (const char *)d->raw + d->raw_at;
    size_t have = d->raw_n - d->raw_at;
    for (size_t n = 1; n <= have && n <= WORST; n++)
        if (text_utf8_valid((struct str){ p, n }) == n) {
            memcpy(out, p, n);
            d->raw_at += n;
            return n;
        }
    d->raw_at++;
    return put_utf8(out, 0xFFFD);
}

/* The next character; raw holds all of it. Returns the bytes put. */
static size_t next_char(struct decode *d, char *out)
{
    switch (d->enc) {
    case ENC_LATIN1:
        return put_utf8(out, d->raw[d->raw_at++]);
    case ENC_UTF8_REPLACE:
        return next_replaced(d, out);
    default:
        return next_utf16(d, out);
    }
}

static size_t serve(char *buf, size_t cap, const char *from, size_t *at, size_t n)
{
    size_t take = n - *at < cap ? n - *at : cap;
    memcpy(buf, from + *at, take);
    *at += take;
    return take;
}

static ssize_t read_utf8(struct decode *d, char *buf, size_t cap, struct err *err)
{
    if (d->raw_at < d->raw_n)
        return (ssize_t)serve(buf, cap, (char *)d->raw, &d->raw_at, d->raw_n);
    return d->src_end ? 0 : d->src->read(d->src, buf, cap, err);
}

static ssize_t read_decoded(struct decode *d, char *buf, size_t cap, struct err *err)
{
    const size_t unit = d->enc == ENC_LATIN1 ? 1 : 4;
    size_t n = serve(buf, cap, d->spill, &d->spill_at, d->spill_n);
    while (n < cap) {
        if (d->raw_n - d->raw_at < unit) {
            if (n && !d->src_end)
                break; /* give what there is before waiting for more */
            if (raw_fill(d, unit, err) < 0)
                return -1;
        }
        if (d->raw_at == d->raw_n)
            break;
        if (cap - n >= WORST) {
            n += next_char(d, buf + n);
        } else {
            d->spill_at = 0;
            d->spill_n = next_char(d, d->spill);
            n += serve(buf + n, cap - n, d->spill, &d->spill_at, d->spill_n);
        }
    }
    return (ssize_t)n;
}

static ssize_t decode_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct decode *d = (struct decode *)in;
    if (!d->started && start(d, err) < 0)
        return -1;
    return d->enc == ENC_UTF8 ? read_utf8(d, buf, cap, err) : read_decoded(d, buf, cap, err);
}

struct input *decode_open(struct input *in, enum encoding enc, struct err *err)
{
    struct decode *d = malloc(sizeof *d);
    if (!d) {
        (void)err_nomem(err);
        return NULL;
    }
    memset(d, 0, offsetof(struct decode, raw));
    d->raw_at = d->raw_n = d->spill_at = d->spill_n = 0;
    d->in = (struct input){ .read = decode_read, .size = -1 };
    d->src = in;
    d->enc = enc;
    return &d->in;
}

void decode_close(struct input *in)
{
    free(in); /* the first member of what decode_open made */
}
