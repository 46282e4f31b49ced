/*
 * Two hashes. A fast checksum of many bytes, against damage, not against malice: XXH64 with seed 0,
 * https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 * And one of 128 bits that nobody who does not know the key can make collide: SipHash-2-4, https://eprint.iacr.org/2012/351
 */
#ifndef QETL_BASE_HASH_H
#define QETL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash {
    uint64_t lane[4];
    uint64_t bytes;
    uint8_t rest[32]; /* bytes % 32 of them: not in the lanes yet */
};

void hash_init(struct hash *h);
/* In any pieces; whole blocks of 32 bytes at an offset that is a multiple of 32 are taken without a copy. */
void hash_add(struct hash *h, const void *p, size_t n);
/* Never 0, which means "not taken": a 0 is given as 1. */
uint64_t hash_end(const struct hash *h);

struct hash_keyed {
    uint64_t a, b;
};
struct hash_keyed hash_keyed(const uint64_t key[2], const void *bytes, size_t n);

#endif
