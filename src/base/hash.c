/* XXH64 by its specification; see the header. */
#include "base/hash.h"

#include <endian.h>
#include <string.h>

static const uint64_t PRIME1 = 0x9E3779B185EBCA87, PRIME2 = 0xC2B2AE3D27D4EB4F, PRIME3 = 0x165667B19E3779F9,
                      PRIME4 = 0x85EBCA77C2B2AE63, PRIME5 = 0x27D4EB2F165667C5;

static inline uint64_t rotate(uint64_t v, int by) { return v << by | v >> (64 - by); }
static inline uint64_t hash_round(uint64_t lane, uint64_t in) { return rotate(lane + in * PRIME2, 31) * PRIME1; }

void hash_init(struct hash *h)
{
    *h = (struct hash){ .lane = { PRIME1 + PRIME2, PRIME2, 0, -PRIME1 } };
}

/* n is a multiple of 32. */
static void add_blocks(struct hash *h, const uint8_t *p, size_t n)
{
    uint64_t a = h->lane[0], b = h->lane[1], c = h->lane[2], d = h->lane[3];
    for (const uint8_t *end = p + n; p < end; p += 32) {
        uint64_t in[4];
        memcpy(in, p, sizeof in);
        a = hash_round(a, le64toh(in[0]));
        b = hash_round(b, le64toh(in[1]));
        c = hash_round(c, le64toh(in[2]));
        d = hash_round(d, le64toh(in[3]));
    }
    h->lane[0] = a;
    h->lane[1] = b;
    h->lane[2] = c;
    h->lane[3] = d;
}

void hash_add(struct hash *h, const void *from, size_t n)
{
    const uint8_t *p = from;
    size_t have = h->bytes % 32;
    h->bytes += n;
    if (have) {
        size_t take = n < 32 - have ? n : 32 - have;
        memcpy(h->rest + have, p, take);
        if (have + take < 32)
            return;
        add_blocks(h, h->rest, 32);
        p += take;
        n -= take;
    }
    add_blocks(h, p, n & ~(size_t)31);
    if (n % 32)
        memcpy(h->rest, p + (n & ~(size_t)31), n % 32);
}

/* The bytes that fill no block of 32. */
static uint64_t end_rest(uint64_t v, const uint8_t *p, size_t n)
{
    uint64_t in8;
    uint32_t in4;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&in8, p, sizeof in8);
        v = rotate(v ^ hash_round(0, le64toh(in8)), 27) * PRIME1 + PRIME4;
    }
    if (n >= 4) {
        memcpy(&in4, p, sizeof in4);
        v = rotate(v ^ le32toh(in4) * PRIME1, 23) * PRIME2 + PRIME3;
        p += 4;
        n -= 4;
    }
    for (; n; p++, n--)
        v = rotate(v ^ *p * PRIME5, 11) * PRIME1;
    return v;
}

uint64_t hash_end(const struct hash *h)
{
    uint64_t v = PRIME5;
    if (h->bytes >= 32) {
        v = rotate(h->lane[0], 1) + rotate(h->lane[1], 7) + rotate(h->lane[2], 12) + rotate(h->lane[3], 18);
        for (int i = 0; i < 4; i++)
            v = (v ^ hash_round(0, h->lane[i])) * PRIME1 + PRIME4;
    }
    v = end_rest(v + h->bytes, h->rest, h->bytes % 32);
    v = (v ^ v >> 33) * PRIME2;
    v = (v ^ v >> 29) * PRIME3;
    v ^= v >> 32;
    return v ? v : 1;
}

/* ---- SipHash-2-4 with 128 bits ---- */

static inline void sip_rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

struct hash_keyed hash_keyed(const uint64_t key[2], const void *bytes, size_t n)
{
    uint64_t v[4] = { 0x736f6d6570736575 ^ key[0], 0x646f72616e646f6d ^ key[1] ^ 0xee, 0x6c7967656e657261 ^ key[0],
                      0x7465646279746573 ^ key[1] };
    const uint8_t *p = bytes, *end = p + n / 8 * 8;
    uint64_t word, last = 0;
    for (; p < end; p += 8) {
        memcpy(&word, p, 8);
        sip_word(v, le64toh(word));
    }
    if (n % 8)
        memcpy(&last, p, n % 8);
    sip_word(v, le64toh(last) | (uint64_t)n << 56);
    v[2] ^= 0xee;
    sip_rounds(v, 4);
    struct hash_keyed h = { .a = v[0] ^ v[1] ^ v[2] ^ v[3] };
    v[1] ^= 0xdd;
    sip_rounds(v, 4);
    h.b = v[0] ^ v[1] ^ v[2] ^ v[3];
    return h;
}
