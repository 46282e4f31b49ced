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

