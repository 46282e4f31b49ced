/*
 * The structural scan of CSV, twice: byte by byte (the definition, the fallback and the test of the
 * other), and with SSE2, which every amd64 machine has. AVX2 was tried twice, the second time with
 * positions written eight at a time: splitting gained 4 % where every field is quoted, else nothing
 * or less, because writing the positions down is what takes the time.
 * Holds no state and touches no disk.
 */
#include "read/csv_scan.h"

#include <assert.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

void csv_set_init(struct csv_set *set, const unsigned char *bytes, int n)
{
    assert(n >= 1 && n <= CSV_SET_MAX);
    set->n = n;
    for (int i = 0; i < CSV_SET_MAX; i++)
        set->c[i] = bytes[i < n ? i : 0];
}

static size_t scan_plain(const struct csv_set *set, const char *p, size_t n, uint32_t at,
                         uint32_t *out, bool *high)
{
    bool special[256] = { false };
    for (int i = 0; i < set->n; i++)
        special[set->c[i]] = true;
    uint32_t *start = out;
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        all |= c;
        if (special[c])
            *out++ = at + (uint32_t)i;
    }
    *high = all >= 0x80;
    return (size_t)(out - start);
}

#ifdef __SSE2__

enum { BLOCK = 64 };

static inline uint64_t block_sse2(const __m128i *want, int n, const char *p, __m128i *all)
{
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        __m128i hit = _mm_cmpeq_epi8(v, want[0]);
        for (int k = 1; k < n; k++)
            hit = _mm_or_si128(hit, _mm_cmpeq_epi8(v, want[k]));
        *all = _mm_or_si128(*all, v);
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(hit) << (16 * i);
    }
    return mask;
}

static inline uint32_t *put_each(uint64_t mask, uint32_t at, uint32_t *out)
{
    for (; mask; mask &= mask - 1)
        *out++ = at + (uint32_t)__builtin_ctzll(mask);
    return out;
}

/* n is a constant at each call, so that the loop over the bytes unrolls. */
static inline __attribute__((always_inline)) size_t sse2_of(int n, const struct csv_set *set,
                                                            const char *p, size_t len, uint32_t at,
                                                            uint32_t *out, bool *high)
{
    uint32_t *start = out;
    __m128i want[CSV_SET_MAX], all = _mm_setzero_si128();
    for (int k = 0; k < n; k++)
        want[k] = _mm_set1_epi8((char)set->c[k]);
    size_t i = 0;
    for (; i + BLOCK <= len; i += BLOCK)
        out = put_each(block_sse2(want, n, p + i, &all), at + (uint32_t)i, out);
    if (i < len) {
        char tail[BLOCK] = { 0 };
        memcpy(tail, p + i, len - i);
        uint64_t mask = block_sse2(want, n, tail, &all) & (UINT64_MAX >> (BLOCK - (len - i)));
        out = put_each(mask, at + (uint32_t)i, out);
    }
    *high = _mm_movemask_epi8(all) != 0;
    return (size_t)(out - start);
}

static size_t scan_sse2(const struct csv_set *set, const char *p, size_t n, uint32_t at,
                        uint32_t *out, bool *high)
{
    return set->n <= 3 ? sse2_of(3, set, p, n, at, out, high)
                       : sse2_of(CSV_SET_MAX, set, p, n, at, out, high);
}

#endif

csv_scan_fn *csv_scan_get(enum simd kind)
{
#ifdef __SSE2__
    static csv_scan_fn *const scans[SIMD_KINDS] = { scan_plain, scan_sse2 };
#else
    static csv_scan_fn *const scans[SIMD_KINDS] = { scan_plain };
#endif
    return kind <= simd_best() ? scans[kind] : NULL;
}

csv_scan_fn *csv_scan_best(void)
{
    csv_scan_fn *fast = csv_scan_get(SIMD_SSE2);
    return fast ? fast : scan_plain;
}
