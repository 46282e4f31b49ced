/*
 * Memory: slices, growable buffers and arenas. malloc failure is an error value, never an abort.
 */
#ifndef QETL_BASE_MEM_H
#define QETL_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define AUTO(fn) __attribute__((cleanup(fn)))
#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

/* Bytes owned by somebody else; may hold NUL, does not end in one. */
struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){ literal, sizeof(literal) - 1 })
static inline struct str str_of(const char *s) { return (struct str){ s, s ? strlen(s) : 0 }; }
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
bool str_eq_nocase(struct str a, struct str b); /* ASCII letters only */
struct str str_trim(struct str s);              /* without spaces and tabs at both ends */

/* A growable buffer. {0} is an empty one. When an append runs out of memory, `failed` is set and
 * stays; the caller checks once at the end. p ends in a NUL that n does not count. */
struct buf {
    char *p;
    size_t n, cap;
    bool failed;
};

void buf_clear(struct buf *b); /* frees; {0} afterwards */
static inline void buf_reset(struct buf *b) { b->n = 0; }
static inline void buf_renew(struct buf *b) { b->n = 0, b->failed = false; } /* as buf_reset, and a failure is forgotten */
bool buf_reserve(struct buf *b, size_t more); /* room for `more` bytes behind n; false: no memory */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_add_hex(struct buf *b, struct str bytes); /* two digits a byte, 0-9a-f */
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline struct str buf_str(const struct buf *b) { return (struct str){ b->p, b->n }; }

/* An arena: memory that is released as a whole. {0} is an empty one. Blocks are kept by arena_reset
 * for the next batch. */
struct arena {
    struct arena_block *first, *now;
    size_t used, total; /* used: in block `now`; total: bytes of all blocks */
};

void *arena_alloc(struct arena *a, size_t n); /* 16-byte aligned, not zeroed; NULL: no memory */
char *arena_dup(struct arena *a, struct str s); /* with a NUL behind it; NULL: no memory */
void arena_reset(struct arena *a);
void arena_clear(struct arena *a);

/* n * size, or SIZE_MAX on overflow (which no allocation can give) */
static inline size_t mem_product(size_t n, size_t size)
{
    size_t r;
    return __builtin_mul_overflow(n, size, &r) ? SIZE_MAX : r;
}

static inline void fd_closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}
static inline int fd_steal(int *fd)
{
    int f = *fd;
    *fd = -1;
    return f;
}
void free_charp(char **p); /* for AUTO on a char * that malloc gave */

#endif
