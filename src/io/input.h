/*
 * A source of bytes that is pulled: the ring from the worker, a file, a member of an archive. A plain struct of
 * functions; whoever makes one embeds it as first member.
 */
#ifndef QETL_IO_INPUT_H
#define QETL_IO_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct input {
    /* Up to cap bytes into buf: > 0 that many, 0 the end, -1 error. Waits where it must. */
    ssize_t (*read)(struct input *in, void *buf, size_t cap, struct err *err);
    /* Move to an absolute offset; NULL where that cannot be done. Returns 0 or -1. */
    int (*seek)(struct input *in, int64_t offset, struct err *err);
    int64_t size; /* in bytes, or -1 when not known */
};

#endif
