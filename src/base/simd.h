/*
 * Which vector instructions the hot loops use, found out when the program runs. A loop that has
 * several kinds defines by the plain one what all of them give; another processor than amd64 has
 * the plain kind alone.
 */
#ifndef QETL_BASE_SIMD_H
#define QETL_BASE_SIMD_H

/* amd64 without more has SSE2; AVX2 stands for BMI1 as well. In order: each machine can run those
 * below its best. */
enum simd { SIMD_PLAIN, SIMD_SSE2, SIMD_AVX2, SIMD_KINDS };

const char *simd_name(enum simd kind);
/* The best kind that this machine has, but none above what simd_limit() allows. */
enum simd simd_best(void);
/* For tests: use nothing above `most`, from now on and in all threads. SIMD_AVX2 allows all. */
void simd_limit(enum simd most);

#endif
