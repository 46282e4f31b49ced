/*
 * Blocks of an object: each a whole gzip member (RFC 1952) or zstd frame (RFC 8878) of its own, so that
 * blocks put one behind the other are a valid .gz or .zst of their contents in order.
 */
#ifndef QETL_TARGET_OBJECT_PACK_H
#define QETL_TARGET_OBJECT_PACK_H

#include "base/err.h"
#include "base/mem.h"

struct pack;
/* name: "none", "gz" or "zst". Errors: config (this build has no zstd). */
int pack_open(struct pack **out, const char *name, struct err *err);
void pack_close(struct pack *p);
/* The bytes as one block behind out. Errors: no-memory, internal. */
int pack_block(struct pack *p, struct buf *out, struct str bytes, struct err *err);
/* Has this build that compression? */
bool pack_known(const char *name);

#endif
