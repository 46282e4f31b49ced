/* An input over bytes in memory that hands them out in small pieces, for tests and fuzzers. */
#ifndef QETL_TESTS_CUT_INPUT_H
#define QETL_TESTS_CUT_INPUT_H

#include <string.h>

#include "base/mem.h"
#include "io/input.h"

/* Serves its bytes at most `cut` at a time; 0: as many as are asked for. */
struct cut_input {
    struct input in;
    struct str s;
    size_t at, cut;
};

static ssize_t cut_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct cut_input *c = (struct cut_input *)in;
    size_t n = c->s.n - c->at;
    (void)err;
    if (n > cap)
        n = cap;
    if (c->cut && n > c->cut)
        n = c->cut;
    if (n)
        memcpy(buf, c->s.p + c->at, n);
    c->at += n;
    return (ssize_t)n;
}

static struct cut_input cut_of(struct str s, size_t cut)
{
    return (struct cut_input){ .in = { cut_read, NULL, -1 }, .s = s, .cut = cut };
}

#endif
