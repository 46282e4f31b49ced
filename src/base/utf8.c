/*
 * Is it UTF-8? Sequence by sequence is the definition (Unicode 15, table 3-7) and says where text
 * goes wrong. With AVX2, 32 bytes at a time say first whether it does at all:
 *
 * J. Keiser, D. Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte", Software: Practice
 * and Experience 51 (5), 2021. Whatever can be wrong with two neighbouring bytes shows in three
 * halves of them: both of the first byte and the high one of the second. Each half chooses from a
 * table of 16 the faults that it allows, one bit a fault; a fault that all three allow is there.
 * What is left are third and fourth bytes: they must be continuations where, and only where, the
 * byte two or three places before them begins a long sequence.
 */
#include "base/text.h"

#include "base/simd.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

size_t text_utf8_one(const unsigned char *p, size_t n)
{
#define NEXT(i, low, high) (n > (i) && p[i] >= (low) && p[i] <= (high))
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2)
        return 0;
    if (p[0] < 0xe0)
        return NEXT(1, 0x80, 0xbf) ? 2 : 0;
    if (p[0] < 0xf0)
        return NEXT(1, p[0] == 0xe0 ? 0xa0 : 0x80, p[0] == 0xed ? 0x9f : 0xbf) &&
                       NEXT(2, 0x80, 0xbf)
                   ? 3
                   : 0;
    if (p[0] < 0xf5)
        return NEXT(1, p[0] == 0xf0 ? 0x90 : 0x80, p[0] == 0xf4 ? 0x8f : 0xbf) &&
                       NEXT(2, 0x80, 0xbf) && NEXT(3, 0x80, 0xbf)
                   ? 4
                   : 0;
    return 0;
#undef NEXT
}

size_t text_utf8_valid_plain(struct str s)
{
    size_t i = 0;
    while (i < s.n) {
        size_t n = text_utf8_one((const unsigned char *)s.p + i, s.n - i);
        if (!n)
            break;
        i += n;
    }
    return i;
}

/* As the plain one, but over ASCII in strides. */
static size_t valid_in_strides(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;
    while (i < s.n) {
#ifdef __SSE2__
        while (s.n - i >= 16) {
            int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + i)));
            if (high) {
                i += (size_t)__builtin_ctz((unsigned)high);
                break;
            }
            i += 16;
        }
#endif
        uint64_t w;
        while (s.n - i >= 8) {
            memcpy(&w, p + i, 8);
            if (w & 0x8080808080808080ull)
                break;
            i += 8;
        }
        while (i < s.n && p[i] < 0x80)
            i++;
        while (i < s.n && p[i] >= 0x80) { /* text in one script goes on like this */
            size_t n = text_utf8_one(p + i, s.n - i);
            if (!n)
                return i;
            i += n;
        }
    }
    return i;
}

#ifdef __SSE2__

#define AVX2 __attribute__((target("avx2")))

enum {
    SHORT = 1 << 0,       /* a sequence that ends too early */
    STRAY = 1 << 1,       /* a continuation behind ASCII */
    OVERLONG3 = 1 << 2,   /* E0 80..9F */
    TOO_GREAT = 1 << 3,   /* F4 90..BF, F5 and above */
    SURROGATE = 1 << 4,   /* ED A0..BF */
    OVERLONG2 = 1 << 5,   /* C0, C1 */
    OVERLONG4 = 1 << 6,   /* F0 80..8F; F5 and above with 80..8F, too */
    CONTINUED = 1 << 7,   /* two continuations: right in a long sequence, and nowhere else */
    ANY = SHORT | STRAY | CONTINUED, /* do not depend on the low half of the first byte */
};

static const uint8_t first_high[16] = {
    STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, STRAY, /* ASCII */
    CONTINUED, CONTINUED, CONTINUED, CONTINUED,             /* 80..BF */
    SHORT | OVERLONG2, SHORT, SHORT | OVERLONG3 | SURROGATE,
    SHORT | TOO_GREAT | OVERLONG4,
};
static const uint8_t first_low[16] = {
    ANY | OVERLONG2 | OVERLONG3 | OVERLONG4,
    ANY | OVERLONG2,
    ANY,
    ANY,
    ANY | TOO_GREAT,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4 | SURROGATE,
    ANY | TOO_GREAT | OVERLONG4,
    ANY | TOO_GREAT | OVERLONG4,
};
static const uint8_t second_high[16] = {
    SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, /* ASCII */
    STRAY | CONTINUED | OVERLONG2 | OVERLONG3 | OVERLONG4,  /* 80..8F */
    STRAY | CONTINUED | OVERLONG2 | OVERLONG3 | TOO_GREAT,  /* 90..9F */
    STRAY | CONTINUED | OVERLONG2 | SURROGATE | TOO_GREAT,  /* A0..BF */
    STRAY | CONTINUED | OVERLONG2 | SURROGATE | TOO_GREAT,
    SHORT, SHORT, SHORT, SHORT, /* the next sequence begins */
};

struct tables {
    __m256i first_high, first_low, second_high;
};

AVX2 static inline __m256i table(const uint8_t t[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)t));
}

AVX2 static inline __m256i high_half(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
}

/* v moved up by n bytes; the last n of `before` come in. */
#define AFTER(before, v, n)                                                                        \
    _mm256_alignr_epi8(v, _mm256_permute2x128_si256(before, v, 0x21), 16 - (n))

/* Not zero where the bytes of v, which follow those of `before`, are wrong. */
AVX2 static inline __m256i faults(const struct tables *t, __m256i before, __m256i v)
{
    __m256i first = AFTER(before, v, 1);
    __m256i pair = _mm256_and_si256(
        _mm256_and_si256(_mm256_shuffle_epi8(t->first_high, high_half(first)),
                         _mm256_shuffle_epi8(t->first_low,
                                             _mm256_and_si256(first, _mm256_set1_epi8(0x0f)))),
        _mm256_shuffle_epi8(t->second_high, high_half(v)));
    __m256i third = _mm256_subs_epu8(AFTER(before, v, 2), _mm256_set1_epi8(0xe0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(AFTER(before, v, 3), _mm256_set1_epi8((char)(0xf0 - 0x80)));
    __m256i must = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(must, pair);
}

/* Not zero where the block ends within a sequence. */
AVX2 static inline __m256i open_end(__m256i v)
{
    const __m256i most = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                          -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                          (char)0xef, (char)0xdf, (char)0xbf);
    return _mm256_subs_epu8(v, most);
}

/* All of s? */
AVX2 static bool all_valid(struct str s)
{
    const struct tables t = { table(first_high), table(first_low), table(second_high) };
    __m256i wrong = _mm256_setzero_si256(), before = wrong, v;
    size_t i = 0;
    for (; i + 32 <= s.n; i += 32) {
        v = _mm256_loadu_si256((const __m256i *)(const void *)(s.p + i));
        __m256i here = _mm256_movemask_epi8(v) ? faults(&t, before, v) : open_end(before);
        wrong = _mm256_or_si256(wrong, here);
        before = v;
    }
    char tail[32] = { 0 }; /* ASCII behind the end, so that an open sequence is a short one */
    if (i < s.n)
        memcpy(tail, s.p + i, s.n - i);
    v = _mm256_loadu_si256((const __m256i *)(const void *)tail);
    wrong = _mm256_or_si256(wrong, faults(&t, before, v));
    return _mm256_testz_si256(wrong, wrong);
}

size_t text_utf8_valid(struct str s)
{
    enum { WORTH_IT = 48 };
    if (s.n >= WORTH_IT && simd_best() >= SIMD_AVX2 && all_valid(s))
        return s.n;
    return valid_in_strides(s);
}

#else

size_t text_utf8_valid(struct str s)
{
    return valid_in_strides(s);
}

#endif
