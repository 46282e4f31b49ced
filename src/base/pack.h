/*
 * Numbers, bytes and errors one behind the other in a buffer, for what two processes of one qetl say to each other. Numbers are in
 * the machine's own form: nothing of it is kept on disk. What comes from the other side is not trusted: unpacking checks every length.
 */
#ifndef QETL_BASE_PACK_H
#define QETL_BASE_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

void pack_u64(struct buf *b, uint64_t v);
void pack_bytes(struct buf *b, const void *p, size_t n);
void pack_text(struct buf *b, const char *s); /* NULL stays NULL */

struct unpacker {
    struct str rest;
    bool bad; /* something was missing or too long; stays */
};
uint64_t take_u64(struct unpacker *u);
struct str take_bytes(struct unpacker *u);
/* Into a field of `cap` bytes with a NUL; bad when it does not fit, or holds a NUL. */
void take_field(struct unpacker *u, char *out, size_t cap);
char *take_text(struct unpacker *u); /* malloc'ed; NULL for NULL, and when bad */

void pack_err(struct buf *b, const struct err *err);
void take_err(struct unpacker *u, struct err *err);

#endif
