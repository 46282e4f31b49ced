/*
 * Every parser of base/text on any bytes: none may read beyond them, and each fast way must give
 * what its plain way gives. What a parser takes is written and read again. Bytes with a NUL are a
 * format or glob and, behind it, the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void numbers(struct str s)
{
    int64_t a = 0, b = 0;
    double x = 0, y = 0;
    char text[32];
    bool ok = text_int(s, &a);
    must(ok == text_int_plain(s, &b) && a == b);
    if (ok)
        must(text_int((struct str){ text, (size_t)text_put_int(text, a) }, &b) && a == b);
    ok = text_real(s, &x);
    must(ok == text_real_plain(s, &y) && !memcmp(&x, &y, sizeof x));
    if (ok)
        must(text_real((struct str){ text, (size_t)text_put_real(text, x) }, &y) &&
             !memcmp(&x, &y, sizeof x));
    (void)text_real_point(s, ',', &x);
    for (int scale = 0; scale <= 18; scale += 6) {
        a = b = 0;
        enum text_decimal rc = text_decimal(s, scale, '.', &a);
        must(rc == text_decimal_plain(s, scale, '.', &b) && a == b);
        if (rc != DECIMAL_OK)
            continue;
        struct str put = { text, (size_t)text_put_decimal(text, a, scale) };
        must(text_decimal(put, scale, '.', &b) == DECIMAL_OK && a == b);
        must(text_number(s, scale, '.', &b) == DECIMAL_OK && a == b);
    }
}

static void times(struct str s)
{
    int64_t v, back, ms;
    char text[32];
    if (text_timestamp(s, NULL, &v))
        must(text_timestamp((struct str){ text, (size_t)text_put_timestamp(text, v, 'T') }, NULL,
                            &back) &&
             v == back);
    if (text_date(s, &v))
        must(text_date((struct str){ text, (size_t)text_put_date(text, v) }, &back) && v == back);
    if ((ms = text_rfc3339_ms(s)) != INT64_MIN) {
        text_put_rfc3339(text, ms);
        must(text_rfc3339_ms(str_of(text)) == ms);
    }
    (void)(text_duration(s, &v) && (text_put_duration(text, sizeof text, v), true));
    (void)(text_size(s, &v) && (text_put_size(text, sizeof text, v), true));
}

/* first is a NUL-terminated copy of the bytes before the first NUL, s what follows it. */
static void by_pattern(const char *first, struct str s)
{
    const char *bad;
    int64_t v;
    if (text_fmt_valid(first, &bad) && text_timestamp_fmt(s, first, NULL, &v))
        must(v >= -62135596800000000 && v <= 253402300799999999);
    (void)text_date_fmt(s, first, &v);
    (void)text_glob(first, s);
    (void)text_distance(first, "timestamp", 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1); /* so that one byte too far is seen */
    must(copy);
    memcpy(copy, data, size);
    struct str s = { copy, size };
    must(text_utf8_valid(s) == text_utf8_valid_plain(s));
    const char *nul = memchr(copy, 0, size);
    if (nul) {
        size_t n = size - (size_t)(nul + 1 - copy);
        char *rest = malloc(n ? n : 1);
        must(rest);
        memcpy(rest, nul + 1, n);
        by_pattern(copy, (struct str){ rest, n });
        free(rest);
    } else {
        char *exact = malloc(size ? size : 1);
        must(exact);
        memcpy(exact, copy, size);
        s.p = exact;
        numbers(s);
        times(s);
        free(exact);
    }
    free(copy);
    return 0;
}
