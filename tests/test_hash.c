/* The checksum against the vectors of its specification's reference, in one piece and in all kinds of pieces. */
#include "test.h"

#include "base/hash.h"

static uint64_t hash_of(const void *p, size_t n)
{
    struct hash h;
    hash_init(&h);
    hash_add(&h, p, n);
    return hash_end(&h);
}

TEST(hash, is_xxh64_with_seed_0)
{
    static const struct {
        const char *text;
        uint64_t hash;
    } cases[] = {
        { "", 0xef46db3751d8e999 },
        { "a", 0xd24ec4f1a98c6e5b },
        { "abc", 0x44bc2cf5ad770999 },
        { "Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_EQ(hash_of(cases[i].text, strlen(cases[i].text)), cases[i].hash);
}

TEST(hash, does_not_depend_on_the_pieces)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 13);
    for (size_t n = 0; n <= sizeof bytes; n += 1 + n / 40)
        for (size_t piece = 1; piece <= 70; piece++) {
            struct hash h;
            hash_init(&h);
            for (size_t at = 0; at < n; at += piece)
                hash_add(&h, bytes + at, n - at < piece ? n - at : piece);
            CHECK_EQ(hash_end(&h), hash_of(bytes, n));
        }
}

TEST(hash, tells_every_changed_byte)
{
    uint8_t bytes[100] = { 0 };
    uint64_t was = hash_of(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        CHECK(hash_of(bytes, sizeof bytes) != was);
        bytes[i] ^= 1;
    }
}

/* The vectors of the reference implementation: key 00 01 ... 0f, bytes 00 01 ... */
TEST(hash, keyed_is_siphash_2_4_of_128_bits)
{
    static const struct {
        size_t n;
        uint8_t out[16];
    } cases[] = {
        { 0, { 0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93 } },
        { 1, { 0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45 } },
        { 8, { 0x3b, 0x62, 0xa9, 0xba, 0x62, 0x58, 0xf5, 0x61, 0x0f, 0x83, 0xe2, 0x64, 0xf3, 0x14, 0x97, 0xb4 } },
        { 15, { 0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97, 0xcf, 0xc3, 0xd9 } },
        { 63, { 0x51, 0x50, 0xd1, 0x77, 0x2f, 0x50, 0x83, 0x4a, 0x50, 0x3e, 0x06, 0x9a, 0x97, 0x3f, 0xbd, 0x7c } },
    };
    uint8_t bytes[64], key_bytes[16];
    uint64_t key[2];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    memcpy(key_bytes, bytes, sizeof key_bytes);
    memcpy(key, key_bytes, sizeof key);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct hash_keyed h = hash_keyed(key, bytes, cases[i].n);
        CHECK(!memcmp(&h, cases[i].out, sizeof h));
    }
}
