/* Packing and unpacking. See pack.h. Memory only: power may fail at any time. */
#include "base/pack.h"

#include <stdlib.h>

void pack_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, sizeof v);
}

void pack_bytes(struct buf *b, const void *p, size_t n)
{
    pack_u64(b, n);
    if (n)
        buf_add(b, p, n);
}

void pack_text(struct buf *b, const char *s)
{
    pack_u64(b, s != NULL);
    if (s)
        pack_bytes(b, s, strlen(s));
}

uint64_t take_u64(struct unpacker *u)
{
    uint64_t v = 0;
    if (u->bad || u->rest.n < sizeof v) {
        u->bad = true;
        return 0;
    }
    memcpy(&v, u->rest.p, sizeof v);
    u->rest = (struct str){ u->rest.p + sizeof v, u->rest.n - sizeof v };
    return v;
}

struct str take_bytes(struct unpacker *u)
{
    uint64_t n = take_u64(u);
    if (u->bad || n > u->rest.n) {
        u->bad = true;
        return (struct str){ "", 0 };
    }
    struct str s = { u->rest.p, (size_t)n };
    u->rest = (struct str){ u->rest.p + n, u->rest.n - (size_t)n };
    return s;
}

void take_field(struct unpacker *u, char *out, size_t cap)
{
    struct str s = take_bytes(u);
    if (s.n >= cap || memchr(s.p, 0, s.n)) {
        u->bad = true;
        s.n = 0;
    }
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

char *take_text(struct unpacker *u)
{
    if (!take_u64(u) || u->bad)
        return NULL;
    struct str s = take_bytes(u);
    char *text = u->bad ? NULL : malloc(s.n + 1);
    if (!text) {
        u->bad = true;
        return NULL;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return text;
}

void pack_err(struct buf *b, const struct err *err)
{
    pack_u64(b, err->code);
    pack_u64(b, (uint64_t)err->sys);
    pack_u64(b, (uint64_t)err->retry_after_ms);
    pack_bytes(b, err->msg, strlen(err->msg));
}

void take_err(struct unpacker *u, struct err *err)
{
    uint64_t code = take_u64(u);
    err->sys = (int)take_u64(u);
    err->retry_after_ms = (long long)take_u64(u);
    take_field(u, err->msg, sizeof err->msg);
    u->bad |= code >= ERR_CODES;
    err->code = u->bad ? ERR_INTERNAL : (enum err_code)code;
}
