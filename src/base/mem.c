/* Slices, buffers and arenas. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static inline char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c; }

/* The same of eight bytes at once: 0x20 is added where a byte is at least 'A' and not above 'Z'. */
static inline uint64_t lower8(uint64_t v)
{
    static const uint64_t each = 0x0101010101010101;
    uint64_t low = v & 0x7f * each, from_a = low + (0x80 - 'A') * each, above_z = low + (0x7f - 'Z') * each;
    return v | ((from_a ^ above_z) & ~v & 0x80 * each) >> 2;
}

bool str_eq_nocase(struct str a, struct str b)
{
    uint64_t x, y;
    size_t i = 0;
    if (a.n != b.n)
        return false;
    for (; i + 8 <= a.n; i += 8) { /* thousands of names can begin with the same thousand bytes */
        memcpy(&x, a.p + i, 8);
        memcpy(&y, b.p + i, 8);
        if (x != y && lower8(x) != lower8(y))
            return false;
    }
    for (; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

void buf_clear(struct buf *b)
{
    free(b->p);
    *b = (struct buf){ 0 };
}

bool buf_reserve(struct buf *b, size_t more)
{
    size_t need;
    if (b->failed || __builtin_add_overflow(b->n, more, &need) || need >= SIZE_MAX / 2) {
        b->failed = true;
        return false;
    }
    if (need < b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap <= need)
        cap *= 2;
    char *p = realloc(b->p, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_reserve(b, n))
        return;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_adds(struct buf *b, const char *s) { buf_add(b, s, strlen(s)); }

void buf_addc(struct buf *b, char c) { buf_add(b, &c, 1); }

void buf_add_hex(struct buf *b, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";
    if (!buf_reserve(b, mem_product(bytes.n, 2)))
        return;
    for (size_t i = 0; i < bytes.n; i++) {
        b->p[b->n++] = digits[(unsigned char)bytes.p[i] >> 4];
        b->p[b->n++] = digits[(unsigned char)bytes.p[i] & 15];
    }
    b->p[b->n] = '\0';
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && buf_reserve(b, (size_t)n + 1)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
}

enum { ARENA_BLOCK = 64 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    _Alignas(16) char data[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + 15) & ~(size_t)15;
    while (a->now && a->now->size - a->used < n && a->now->next) {
        a->now = a->now->next;
        a->used = 0;
    }
    if (!a->now || a->now->size - a->used < n) {
        size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;
        struct arena_block *block = malloc(sizeof *block + size);
        if (!block)
            return NULL;
        block->next = NULL;
        block->size = size;
        if (a->now)
            a->now->next = block;
        else
            a->first = block;
        a->now = block;
        a->used = 0;
        a->total += size;
    }
    void *p = a->now->data + a->used;
    a->used += n;
    return p;
}

char *arena_dup(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

void arena_reset(struct arena *a)
{
    a->now = a->first;
    a->used = 0;
}

void arena_clear(struct arena *a)
{
    for (struct arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){ 0 };
}

void free_charp(char **p)
{
    free(*p);
    *p = NULL;
}
