/*
 * Any bytes as an object: no crash, no member beyond the limits, no name that is not printable
 * UTF-8; and the same members, bytes and end whatever the pieces that the object comes in.
 *
 * The first byte of the input says in which pieces the second reading comes, and whether it can
 * seek.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "read/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* A dictionary of gigabytes is refused, as it is in the reader child by its limit of memory. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=256";
}

enum { MEMBERS = 50, BYTES = 4 << 20 };

struct bytes {
    struct input input;
    const uint8_t *p;
    size_t n, at, piece;
};

static ssize_t bytes_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct bytes *b = (struct bytes *)in;
    (void)err;
    size_t n = b->n - b->at < cap ? b->n - b->at : cap;
    if (b->piece && n > b->piece)
        n = b->piece;
    if (n)
        memcpy(buf, b->p + b->at, n);
    b->at += n;
    return (ssize_t)n;
}

static int bytes_seek(struct input *in, int64_t offset, struct err *err)
{
    (void)err;
    ((struct bytes *)in)->at = (size_t)offset;
    return 0;
}

static void name_check(const char *name)
{
    size_t n = strlen(name);
    assert(text_utf8_valid((struct str){ name, n }) == n);
    for (size_t i = 0; i < n; i++)
        assert((uint8_t)name[i] >= 0x20 && name[i] != 0x7f);
}

struct sum {
    uint64_t hash;
    int64_t members, bytes;
    enum err_code end;
};

static void sum_add(struct sum *s, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->hash = (s->hash ^ ((const uint8_t *)p)[i]) * 1099511628211u;
}

static struct sum unpack_all(struct bytes *in)
{
    struct unpack_limits limits = { MEMBERS, BYTES, 0, 2 };
    struct sum s = { 0 };
    struct err err = { 0 };
    struct unpack *u;
    struct member m;
    char part[4096];
    ssize_t n = 0;
    int rc = unpack_open(&u, &in->input, "object", &limits, &err);
    if (rc < 0) {
        s.end = err.code;
        return s;
    }
    while (n >= 0 && (rc = unpack_next(u, &m, &err)) == 1) {
        name_check(m.name);
        sum_add(&s, m.name, strlen(m.name) + 1);
        s.members++;
        while ((n = unpack_member(u)->read(unpack_member(u), part, sizeof part, &err)) > 0) {
            sum_add(&s, part, (size_t)n);
            s.bytes += n;
        }
    }
    assert(s.members <= MEMBERS && s.bytes <= BYTES);
    s.end = rc < 0 || n < 0 ? err.code : ERR_NONE;
    unpack_close(u);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool seeks = data[0] & 1;
    struct bytes whole = { { bytes_read, NULL, -1 }, data + 1, size - 1, 0, 0 };
    struct bytes pieces = whole;
    pieces.piece = data[0] / 2 + 1;
    if (seeks) {
        whole.input = pieces.input = (struct input){ bytes_read, bytes_seek, (int64_t)size - 1 };
    }
    struct sum a = unpack_all(&whole), b = unpack_all(&pieces);
    assert((a.end == ERR_NONE) ==
           (b.end == ERR_NONE)); /* which error may depend on what was seen first */
    assert(a.end != ERR_NONE || (a.hash == b.hash && a.members == b.members && a.bytes == b.bytes));
    return 0;
}
