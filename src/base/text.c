/*
 * Numbers, sizes, globs. UTF-8 is in utf8.c, dates and times in text_time.c, zones in zone.c.
 *
 * These are the hot loops of typing, so most have a fast way beside the plain one that defines them
 * (text_*_plain): tests/test_text.c and tests/fuzz_text.c hold the two against each other.
 *
 * Eight digits at a time in one 64-bit word: the first digit lies in the lowest byte; one
 * multiplication makes pairs of them, and two side by side add the four pairs up ("SIMD within a
 * register"; little-endian).
 * Shorter runs are moved to the high end and filled with '0'.
 */
#include "base/text.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const uint64_t ten_to[20] = {
    1ull,
    10ull,
    100ull,
    1000ull,
    10000ull,
    100000ull,
    1000000ull,
    10000000ull,
    100000000ull,
    1000000000ull,
    10000000000ull,
    100000000000ull,
    1000000000000ull,
    10000000000000ull,
    100000000000000ull,
    1000000000000000ull,
    10000000000000000ull,
    100000000000000000ull,
    1000000000000000000ull,
    10000000000000000000ull,
};
static const uint64_t decimal_end = 1000000000000000000ull; /* the first number with 19 digits */

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* Takes a sign off; true for '-'. */
static inline bool take_sign(struct str *s)
{
    if (!s->n || (s->p[0] != '-' && s->p[0] != '+'))
        return false;
    bool minus = s->p[0] == '-';
    s->p++;
    s->n--;
    return minus;
}

/* ---- eight digits at once ---- */

#define EIGHT(byte) (0x0101010101010101ull * (uint64_t)(byte))

/* The n bytes (1 to 8) at p, the last one in the highest byte, '0' below the first. Reads nothing
 * beyond them. */
static inline uint64_t word_of(const char *p, size_t n)
{
    uint64_t w = 0;
    if (n == 8) {
        memcpy(&w, p, 8);
        return w;
    }
    if (n >= 4) {
        uint32_t head, tail; /* they overlap in equal bytes */
        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        w = head | (uint64_t)tail << (8 * (n - 4));
    } else {
        w = (uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << (8 * (n / 2)) |
            (uint64_t)(uint8_t)p[n - 1] << (8 * (n - 1));
    }
    return w << (64 - 8 * n) | EIGHT('0') >> (8 * n);
}

static inline bool word_is_digits(uint64_t w)
{
    /* below '0' the difference, above '9' the sum has its high bit set; a borrow or carry comes from such a byte only */
    return !(((w - EIGHT('0')) | (w + EIGHT(0x7f - '9'))) & EIGHT(0x80));
}

static inline uint64_t word_value(uint64_t w)
{
    w -= EIGHT('0');
    w = w * 10 + (w >> 8); /* each second byte: a pair */
    uint64_t first = w & 0x000000ff000000ffull, second = w >> 16 & 0x000000ff000000ffull;
    return (first * (1000000ull << 32 | 100) + second * (10000ull << 32 | 1)) >> 32;
}

/* 1 to 19 digits. */
static inline bool digits_value(const char *p, size_t n, uint64_t *out)
{
    size_t head = (n - 1) % 8 + 1;
    uint64_t w = word_of(p, head);
    bool ok = word_is_digits(w);
    uint64_t v = word_value(w);
    for (size_t i = head; i < n; i += 8) {
        memcpy(&w, p + i, 8);
        ok &= word_is_digits(w);
        v = v * 100000000 + word_value(w);
    }
    *out = v;
    return ok;
}

/* ---- integers ---- */

bool text_int_plain(struct str s, int64_t *out)
{
    bool minus = take_sign(&s);
    uint64_t v = 0, most = minus ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    if (!s.n)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]) || v > most / 10)
            return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
        if (v > most)
            return false;
    }
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool text_int(struct str s, int64_t *out)
{
    struct str d = s;
    bool minus = take_sign(&d);
    uint64_t v;
    if (d.n - 1 > 17) /* none, or so many that they may not fit */
        return text_int_plain(s, out);
    if (d.n <= 8) {
        uint64_t w = word_of(d.p, d.n);
        if (!word_is_digits(w))
            return false;
        v = word_value(w);
    } else if (!digits_value(d.p, d.n, &v)) {
        return false;
    }
    *out = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

/* ---- digits with a point ---- */

/* A number in pieces: value = digits * 10^exponent, when `exact`; else more digits than fit were
 * there. */
struct pieces {
    uint64_t digits;
    int64_t exponent;
    bool exact;
};

/* digits[.digits] or .digits, and an exponent when allowed; takes all of s. */
static bool pieces_of(struct str s, char point, bool may_have_exponent, struct pieces *out)
{
    struct pieces r = { 0, 0, true };
    size_t i = 0, seen = 0;
    bool behind = false;
    for (; i < s.n; i++) {
        if (s.p[i] == point && !behind) {
            behind = true;
            continue;
        }
        if (!is_digit(s.p[i]))
            break;
        seen++;
        if (r.digits >= ten_to[18] && !(s.p[i] == '0' && behind))
            r.exact = false;
        else if (r.digits < ten_to[18]) {
            r.digits = r.digits * 10 + (uint64_t)(s.p[i] - '0');
            r.exponent -= behind;
        }
    }
    if (!seen)
        return false;
    if (i < s.n) {
        if (!may_have_exponent || (s.p[i] != 'e' && s.p[i] != 'E'))
            return false;
        struct str e = { s.p + i + 1, s.n - i - 1 };
        bool minus = take_sign(&e);
        int64_t v = 0;
        if (!e.n)
            return false;
        for (i = 0; i < e.n; i++) {
            if (!is_digit(e.p[i]))
                return false;
            if (v < 1000000000000) /* beyond it any exponent means zero or overflow */
                v = v * 10 + (e.p[i] - '0');
        }
        r.exponent += minus ? -v : v;
    }
    *out = r;
    return true;
}

/*
 * The same for up to 19 digits with at most one point and no exponent. false: not of that form; the
 * plain way decides. Up to 8 bytes the point's byte is taken out of the word, then all is digits.
 */
static inline bool pieces_fast(struct str s, char point, uint64_t *digits, unsigned *behind)
{
    if (s.n - 1 > 19)
        return false;
    if (s.n > 8) {
        const char *dot = memchr(s.p, point, s.n);
        *behind = dot ? (unsigned)(s.p + s.n - dot - 1) : 0;
        if (!dot)
            return s.n < 20 && digits_value(s.p, s.n, digits);
        size_t before = (size_t)(dot - s.p);
        uint64_t a = 0, b = 0;
        bool ok = (!before || digits_value(s.p, before, &a)) &&
                  (!*behind || digits_value(dot + 1, *behind, &b));
        *digits = a * ten_to[*behind] + b;
        return ok;
    }
    uint64_t w = word_of(s.p, s.n);
    uint64_t x = w ^ EIGHT((uint8_t)point);
    uint64_t hit = (x - EIGHT(1)) & ~x & EIGHT(0x80); /* the lowest one set is the first point */
    if (hit) {
        if (s.n == 1)
            return false;
        unsigned at = (unsigned)__builtin_ctzll(hit) / 8; /* byte of the point, 0 to 7 */
        *behind = 7 - at;
        uint64_t below = (1ull << (8 * at)) - 1;
        w = (w & ~below & ~(0xffull << (8 * at))) | (w & below) << 8 | '0';
    } else {
        *behind = 0;
    }
    if (!word_is_digits(w))
        return false;
    *digits = word_value(w);
    return true;
}

/* digits * 10^exponent times 10^scale. */
static enum text_decimal scaled(const struct pieces *p, int scale, uint64_t *out)
{
    int64_t shift = p->exponent + scale;
    uint64_t v = p->digits;
    if (!v && p->exact) {
        *out = 0;
        return DECIMAL_OK;
    }
    if (!p->exact)
        return shift < 0 ? DECIMAL_SCALE : DECIMAL_RANGE;
    for (; shift < 0; shift++, v /= 10)
        if (v % 10)
            return DECIMAL_SCALE;
    if (shift > 19 || __builtin_mul_overflow(v, ten_to[shift], out))
        return DECIMAL_RANGE;
    return DECIMAL_OK;
}

enum text_decimal text_decimal_plain(struct str s, int scale, char point, int64_t *out)
{
    bool minus = take_sign(&s);
    struct pieces p;
    uint64_t v;
    if (!pieces_of(s, point, false, &p))
        return DECIMAL_SYNTAX;
    enum text_decimal rc = scaled(&p, scale, &v);
    if (rc != DECIMAL_OK)
        return rc;
    if (v >= decimal_end)
        return DECIMAL_RANGE;
    *out = minus ? -(int64_t)v : (int64_t)v;
    return DECIMAL_OK;
}

enum text_decimal text_decimal(struct str s, int scale, char point, int64_t *out)
{
    struct str d = s;
    bool minus = take_sign(&d);
    uint64_t v;
    unsigned behind;
    if (!pieces_fast(d, point, &v, &behind) || behind > (unsigned)scale ||
        __builtin_mul_overflow(v, ten_to[(unsigned)scale - behind], &v) || v >= decimal_end)
        return text_decimal_plain(s, scale, point, out);
    *out = minus ? -(int64_t)v : (int64_t)v;
    return DECIMAL_OK;
}

enum text_decimal text_number(struct str s, int scale, char point, int64_t *out)
{
    bool minus = take_sign(&s);
    struct pieces p;
    uint64_t v;
    if (!pieces_of(s, point, true, &p))
        return DECIMAL_SYNTAX;
    enum text_decimal rc = scaled(&p, scale, &v);
    if (rc != DECIMAL_OK)
        return rc;
    if (v > (uint64_t)INT64_MAX + minus)
        return DECIMAL_RANGE;
    *out = minus ? (int64_t)(0 - v) : (int64_t)v;
    return DECIMAL_OK;
}

/* ---- reals ---- */

static locale_t c_locale;
static void c_locale_init(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* strtod(3) rounds right; with our own locale a program's setlocale() does not matter. */
static double c_strtod(const char *text)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, c_locale_init);
    return c_locale ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
}

/*
 * Any well-formed number, of any length, by strtod: no double needs more than 767 digits to be told
 * from its neighbours (53 bits, exponents to -1074), so that what lies behind them only says "a bit
 * more", which one '1' says too.
 */
static bool real_by_libc(struct str s, char point, double *out)
{
    enum { DIGITS = 800 };
    char text[DIGITS + 48];
    size_t n = 0, i = 0;
    int64_t exponent = 0;
    bool behind = false, more = false;
    for (; i < s.n && (is_digit(s.p[i]) || s.p[i] == point); i++) {
        if (s.p[i] == point) {
            behind = true;
        } else if (n < DIGITS) {
            exponent -= behind;
            if (n || s.p[i] != '0')
                text[n++] = s.p[i];
        } else {
            exponent += !behind;
            more |= s.p[i] != '0';
        }
    }
    if (more) {
        text[n++] = '1';
        exponent--;
    }
    if (i < s.n) {
        struct str e = { s.p + i + 1, s.n - i - 1 };
        bool minus = take_sign(&e);
        int64_t v = 0;
        for (size_t k = 0; k < e.n; k++)
            v = v < 1000000000000 ? v * 10 + (e.p[k] - '0') : v;
        exponent += minus ? -v : v;
    }
    if (!n)
        text[n++] = '0';
    snprintf(text + n, sizeof text - n, "e%lld", (long long)exponent);
    *out = c_strtod(text);
    return isfinite(*out);
}

bool text_real_plain(struct str s, double *out)
{
    bool minus = take_sign(&s);
    struct pieces p;
    double v;
    if (!pieces_of(s, '.', true, &p) || !real_by_libc(s, '.', &v))
        return false;
    *out = minus ? -v : v;
    return true;
}

/* v * 2^exponent rounded to nearest, ties to even; `more`: the true value lies a little above v. v
 * >= 2^62. */
static double rounded(uint64_t v, bool more, int exponent)
{
    int drop = v >> 63 ? 11 : 10; /* leaves 53 bits */
    uint64_t low = v & ((1ull << drop) - 1), half = 1ull << (drop - 1);
    v >>= drop;
    v += low > half || (low == half && (more || (v & 1)));
    uint64_t power = (uint64_t)(1023 + exponent + drop) << 52; /* the bits of 2^(exponent + drop) */
    double by;
    memcpy(&by, &power, sizeof by);
    return (double)v * by;
}

/*
 * digits * 10^exponent, rounded right, for exponents of -19 to 19. Small ones by one IEEE operation
 * on exact operands (Clinger, "How to read floating point numbers accurately"); others by exact
 * 128-bit integers: the quotient has 63 bits or more, and the remainder tells which side of the
 * middle it lies.
 */
static inline double real_of(uint64_t digits, int exponent)
{
    static const double exact[20] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                      1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19 };
    if (digits <= 1ull << 53)
        return exponent < 0 ? (double)digits / exact[-exponent] : (double)digits * exact[exponent];
    int up = __builtin_clzll(digits);
    unsigned __int128 wide = (unsigned __int128)(digits << up);
    if (exponent < 0) {
        uint64_t by = ten_to[-exponent];
        int by_up = __builtin_clzll(by);
        by <<= by_up;
        wide <<= 63;
        uint64_t quotient = (uint64_t)(wide / by);
        return rounded(quotient, wide != (unsigned __int128)quotient * by, by_up - up - 63);
    }
    wide *= ten_to[exponent];
    uint64_t high = (uint64_t)(wide >> 64);
    if (!high)
        return rounded((uint64_t)wide, false, -up);
    int room = __builtin_clzll(high);
    wide <<= room;
    return rounded((uint64_t)(wide >> 64), (uint64_t)wide != 0, 64 - up - room);
}

bool text_real_point(struct str s, char point, double *out)
{
    struct str d = s;
    bool minus = take_sign(&d);
    uint64_t digits;
    unsigned behind;
    double v;
    if (pieces_fast(d, point, &digits, &behind)) {
        v = real_of(digits, -(int)behind);
    } else {
        struct pieces p;
        if (!pieces_of(d, point, true, &p))
            return false;
        if (p.exact && p.exponent >= -19 && p.exponent <= 19)
            v = real_of(p.digits, (int)p.exponent);
        else if (!real_by_libc(d, point, &v))
            return false;
    }
    *out = minus ? -v : v;
    return true;
}

bool text_real(struct str s, double *out)
{
    return text_real_point(s, '.', out);
}

/* ---- numbers to text ---- */

int text_put_int(char *out, int64_t v)
{
    char digits[20];
    int n = 0, at = 0;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        digits[n++] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        out[at++] = '-';
    while (n)
        out[at++] = digits[--n];
    return at;
}

int text_put_decimal(char *out, int64_t v, int scale)
{
    assert(scale >= 0 && scale <= 18);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    int n = 0;
    if (v < 0)
        out[n++] = '-';
    uint64_t behind = u % ten_to[scale];
    char whole[20];
    uint64_t before = u / ten_to[scale];
    int w = 0;
    do {
        whole[w++] = (char)('0' + before % 10);
        before /= 10;
    } while (before);
    while (w)
        out[n++] = whole[--w];
    if (!scale)
        return n;
    out[n++] = '.';
    for (int i = scale - 1; i >= 0; i--, behind /= 10)
        out[n + i] = (char)('0' + behind % 10);
    return n + scale;
}

int text_put_real(char *out, double v)
{
    /* 15 digits that read back are the shortest already (%g drops zeros), but for subnormal numbers
     */
    char text[40];
    int n = 0;
    for (int digits = isnormal(v) || v == 0 ? 15 : 1; digits <= 17; digits++) {
        n = snprintf(text, sizeof text, "%.*g", digits, v);
        for (int i = 0; i < n; i++)
            if (text[i] == ',')
                text[i] = '.';
        if (c_strtod(text) == v)
            break;
    }
    memcpy(out, text, (size_t)n);
    return n;
}

/* ---- durations and sizes ---- */

/* Digits at the front of s; 0 when there are none or too many. */
static size_t take_number(struct str *s, int64_t *out)
{
    size_t n = 0;
    while (n < s->n && is_digit(s->p[n]))
        n++;
    if (!n || !text_int((struct str){ s->p, n }, out))
        return 0;
    s->p += n;
    s->n -= n;
    return n;
}

static const struct {
    struct str name;
    int64_t ms;
} time_units[] = {
    { STR("d"), 86400000 }, { STR("h"), 3600000 }, { STR("m"), 60000 },
    { STR("s"), 1000 },     { STR("ms"), 1 },
};

bool text_duration(struct str s, int64_t *ms)
{
    int64_t sum = 0, n;
    size_t unit = 0;
    if (!s.n)
        return false;
    for (bool first = true; s.n; first = false) {
        if (!take_number(&s, &n))
            return false;
        size_t letters = 0;
        while (letters < s.n && !is_digit(s.p[letters]))
            letters++;
        struct str word = { s.p, letters };
        if (first && !letters)
            word = STR("s");
        while (unit < COUNT_OF(time_units) && !str_eq(word, time_units[unit].name))
            unit++;
        if (unit == COUNT_OF(time_units) || __builtin_mul_overflow(n, time_units[unit].ms, &n) ||
            __builtin_add_overflow(sum, n, &sum))
            return false;
        unit++; /* each unit is smaller than the one before */
        s.p += letters;
        s.n -= letters;
    }
    *ms = sum;
    return true;
}

bool text_size(struct str s, int64_t *bytes)
{
    static const char units[] = "KMGTPE";
    int64_t n;
    if (!take_number(&s, &n))
        return false;
    if (s.n && (s.p[0] | 32) != 'b') {
        const char *u = strchr(units, s.p[0] & ~32);
        if (!u || !*u || __builtin_mul_overflow(n, (int64_t)1 << (10 * (u - units + 1)), &n))
            return false;
        s.p++;
        s.n--;
        if (s.n == 2 && (s.p[0] | 32) == 'i') {
            s.p++;
            s.n--;
        }
    }
    if (s.n && !(s.n == 1 && (s.p[0] | 32) == 'b'))
        return false;
    *bytes = n;
    return true;
}

void text_put_duration(char *out, size_t cap, int64_t ms)
{
    const char *sign = ms < 0 ? "-" : "";
    uint64_t u = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t unit = 0;
    while (unit < 4 && u < (uint64_t)time_units[unit].ms)
        unit++;
    if (unit == 4) {
        snprintf(out, cap, "%s%dms", sign, (int)u);
    } else if (unit == 3) {
        if (u < 10000 && u % 1000 >= 100)
            snprintf(out, cap, "%s%d.%ds", sign, (int)(u / 1000), (int)(u % 1000 / 100));
        else
            snprintf(out, cap, "%s%ds", sign, (int)(u / 1000));
    } else {
        uint64_t big = u / (uint64_t)time_units[unit].ms, rest = u % (uint64_t)time_units[unit].ms;
        uint64_t small = rest / (uint64_t)time_units[unit + 1].ms;
        int n =
            snprintf(out, cap, "%s%llu%s", sign, (unsigned long long)big, time_units[unit].name.p);
        if (small && n > 0 && (size_t)n < cap)
            snprintf(out + n, cap - (size_t)n, "%d%s", (int)small, time_units[unit + 1].name.p);
    }
}

void text_put_size(char *out, size_t cap, int64_t bytes)
{
    static const char units[] = "KMGTPE";
    double v = (double)bytes;
    int unit = -1;
    while (fabs(v) >= 1023.95 && unit < 5) {
        v /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(out, cap, "%d B", (int)bytes);
    else
        snprintf(out, cap, fabs(v) < 99.95 ? "%.1f %ciB" : "%.0f %ciB", v, units[unit]);
}

/* ---- globs ---- */

/*
 * All places in the pattern that the name can have reached are walked at once (Thompson's
 * construction, without a compiled form), so that the time is at most length of the pattern times
 * length of the name.
 */
struct glob {
    const char *text;
    /* of a { or a , inside braces: the next , of that level, 0: none. Of a , or } inside braces:
     * behind that } */
    uint16_t next[TEXT_GLOB_MAX + 1], end[TEXT_GLOB_MAX + 1];
};

/* The places reached so far: each once, `todo` of the list not looked at yet. */
struct places {
    uint8_t in[TEXT_GLOB_MAX + 1];
    uint16_t list[TEXT_GLOB_MAX + 1];
    size_t n;
};

static void places_add(struct places *set, size_t at)
{
    if (!set->in[at]) {
        set->in[at] = 1;
        set->list[set->n++] = (uint16_t)at;
    }
}

static void places_empty(struct places *set)
{
    for (size_t i = 0; i < set->n; i++)
        set->in[set->list[i]] = 0;
    set->n = 0;
}

/* One character: well-formed UTF-8, else a single byte. */
static size_t char_length(const char *p, size_t n)
{
    size_t length = text_utf8_one((const unsigned char *)p, n);
    return length ? length : 1;
}

static uint32_t char_code(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    switch (char_length(p, n)) {
    case 2:
        return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    case 3:
        return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    case 4:
        return (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3f) << 12 |
               (uint32_t)(u[2] & 0x3f) << 6 | (u[3] & 0x3f);
    }
    return u[0] < 0x80 ? u[0] : 0x110000u + u[0]; /* a stray byte is a character of its own */
}

/* Length of [...] at g, or 0 when it is never closed (then '[' stands for itself). */
static size_t class_length(const char *g)
{
    size_t i = 1;
    i += g[i] == '!' || g[i] == '^';
    i += g[i] == ']'; /* first of all it stands for itself */
    while (g[i] && g[i] != ']')
        i += g[i] == '\\' && g[i + 1] ? 2 : 1;
    return g[i] ? i + 1 : 0;
}

static bool class_has(const char *g, size_t length, uint32_t code)
{
    const char *end = g + length - 1;
    bool negated = g[1] == '!' || g[1] == '^', found = false;
    for (const char *c = g + 1 + negated; c < end;) {
        uint32_t bound[2];
        for (int i = 0;; i++) {
            c += *c == '\\';
            bound[i] = char_code(c, (size_t)(end - c));
            c += char_length(c, (size_t)(end - c));
            if (i == 1 || end - c < 2 || *c != '-') {
                bound[1] = bound[i];
                break;
            }
            c++;
        }
        found |= code >= bound[0] && code <= bound[1];
    }
    return found != negated;
}

/* Length of the element at g: a class, an escaped character, a character. */
static size_t element_length(const char *g)
{
    if (g[0] == '[' && class_length(g))
        return class_length(g);
    size_t escape = g[0] == '\\' && g[1];
    return escape + char_length(g + escape, strlen(g + escape));
}

/* Find out which braces belong together. */
static void glob_braces(struct glob *g)
{
    uint16_t open[64], last[64]; /* deeper ones stand for themselves */
    int depth = 0;
    for (size_t at = 0; g->text[at]; at += element_length(g->text + at)) {
        char c = g->text[at];
        g->next[at] = g->end[at] = 0;
        if (c == '{' && depth < 64) {
            open[depth] = last[depth] = (uint16_t)at;
            depth++;
        } else if (c == ',' && depth) {
            g->next[last[depth - 1]] = (uint16_t)at;
            last[depth - 1] = (uint16_t)at;
        } else if (c == '}' && depth) {
            depth--;
            for (uint16_t i = open[depth];; i = g->next[i]) {
                g->end[i] = (uint16_t)(at + 1);
                if (!g->next[i])
                    break;
            }
            g->end[at] = (uint16_t)(at + 1);
        }
    }
    while (depth--) /* never closed: its commas are plain ones */
        for (uint16_t i = open[depth], n; g->next[i]; i = n) {
            n = g->next[i];
            g->next[i] = 0;
        }
}

/* Add all places that are reached from those in the set without taking a character. */
static void glob_spread(const struct glob *g, struct places *set)
{
    for (size_t i = 0; i < set->n; i++) {
        size_t at = set->list[i];
        const char *p = g->text + at;
        if (*p == '*') {
            bool two = p[1] == '*', at_start = at == 0 || p[-1] == '/';
            places_add(set, at + 1 + two);
            if (two && at_start && p[2] == '/')
                places_add(set, at + 3); /* no folder at all */
        } else if (*p == '{' && g->end[at]) {
            places_add(set, at + 1);
            for (size_t comma = g->next[at]; comma; comma = g->next[comma])
                places_add(set, comma + 1);
        } else if ((*p == ',' || *p == '}') && g->end[at]) {
            places_add(set, g->end[at]);
        }
    }
}

/* The place behind one character `code` taken at `at`; SIZE_MAX: it does not fit. */
static size_t glob_take(const struct glob *g, size_t at, uint32_t code)
{
    const char *p = g->text + at;
    size_t length = element_length(p);
    if (*p == '*')
        return code != '/' || p[1] == '*' ? at : SIZE_MAX;
    if (*p == '?')
        return code != '/' ? at + 1 : SIZE_MAX;
    if (*p == '[' && class_length(p))
        return code != '/' && class_has(p, length, code) ? at + length : SIZE_MAX;
    if (!*p || (strchr("{,}", *p) && g->end[at]))
        return SIZE_MAX;
    p += *p == '\\' && p[1];
    return char_code(p, strlen(p)) == code ? at + length : SIZE_MAX;
}

bool text_glob(const char *glob, struct str name)
{
    size_t length = strlen(glob);
    if (length >= TEXT_GLOB_MAX)
        return false;
    struct glob g = { .text = glob };
    struct places sets[2], *now = &sets[0], *then = &sets[1];
    memset(sets, 0, sizeof sets);
    glob_braces(&g);
    places_add(now, 0);
    glob_spread(&g, now);
    for (size_t i = 0; i < name.n && now->n;) {
        uint32_t code = char_code(name.p + i, name.n - i);
        i += char_length(name.p + i, name.n - i);
        for (size_t k = 0; k < now->n; k++) {
            size_t to = glob_take(&g, now->list[k], code);
            if (to != SIZE_MAX)
                places_add(then, to);
        }
        glob_spread(&g, then);
        places_empty(now);
        struct places *old = now;
        now = then;
        then = old;
    }
    return now->in[length];
}

bool text_same_but_numbers(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "0123456789");
        b += strspn(b, "0123456789");
        if (*a != *b || !*a)
            return *a == *b;
    }
}

bool text_globs_next(const char **list, struct str *glob)
{
    int depth = 0; /* commas inside {a,b} belong to the glob */
    const char *at = *list;
    if (!*at)
        return false;
    for (; *at && (*at != ',' || depth > 0); at++)
        depth += *at == '{' ? 1 : *at == '}' ? -1 : 0;
    *glob = str_trim((struct str){ *list, (size_t)(at - *list) });
    *list = at + (*at == ',');
    return true;
}

/* ---- did you mean ---- */

int text_distance(const char *a, const char *b, int cap)
{
    enum { MOST = 64 }; /* names are shorter; longer ones are not alike */
    size_t n = strlen(a), m = strlen(b);
    size_t apart = n > m ? n - m : m - n;
    if (n > MOST || m > MOST || apart >= (size_t)cap)
        return cap;
    int rows[3][MOST + 1]; /* optimal string alignment: two swapped letters count once */
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *row = rows[i % 3], *up = rows[(i - 1) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m] < cap ? rows[n % 3][m] : cap;
}

/* ---- paths ---- */

bool text_has_dots(struct str path)
{
    for (size_t i = 0, n; i < path.n; i += n + 1) {
        const char *slash = memchr(path.p + i, '/', path.n - i);
        n = slash ? (size_t)(slash - path.p) - i : path.n - i;
        if ((n == 1 && path.p[i] == '.') || (n == 2 && path.p[i] == '.' && path.p[i + 1] == '.'))
            return true;
    }
    return false;
}

/* ---- hexadecimal digits ---- */

int text_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t text_percent_decode(struct str s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool coded = s.p[i] == '%' && s.n - i > 2 && text_hex(s.p[i + 1]) >= 0 && text_hex(s.p[i + 2]) >= 0;
        out[n++] = (char)(coded ? text_hex(s.p[i + 1]) * 16 + text_hex(s.p[i + 2]) : s.p[i]);
        i += coded ? 2 : 0;
    }
    out[n] = '\0';
    return n;
}
