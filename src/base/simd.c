/* The kinds of vector instructions; see the header. */
#include "base/simd.h"

static enum simd limit = SIMD_AVX2;

const char *simd_name(enum simd kind)
{
    static const char *const names[SIMD_KINDS] = { "plain", "sse2", "avx2" };
    return names[kind];
}

static enum simd of_machine(void)
{
#ifdef __SSE2__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        return SIMD_AVX2;
    return SIMD_SSE2;
#else
    return SIMD_PLAIN;
#endif
}

enum simd simd_best(void)
{
    enum simd here = of_machine();
    return here < limit ? here : limit;
}

void simd_limit(enum simd most)
{
    limit = most;
}
