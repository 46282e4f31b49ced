#include "base/simd.h"
#include "base/text.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <sys/stat.h>
#include <time.h>

#include "test.h"

static uint64_t seed = 88172645463325252ull;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* A text of up to `most` bytes that is nearly a number. */
static struct str random_number(char *out, size_t most)
{
    static const char bytes[] = "0123456789012345678901234567890123456789.....--+eE,/:\0";
    size_t n = next_random() % (most + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = bytes[next_random() % (sizeof bytes - 1)];
    if (next_random() % 2) /* more often one */
        for (size_t i = 0, points = 0; i < n; i++)
            if (!(out[i] >= '0' && out[i] <= '9') && !(out[i] == '.' && points++ == 0))
                out[i] = (char)('0' + i % 10);
    return (struct str){ out, n };
}

/* ---- numbers ---- */

TEST(text, shown_times_are_http_or_rfc3339)
{
    CHECK_EQ(text_shown_ms(STR("Sat, 21 Nov 2026 12:01:02 GMT")), 1795262462000);
    CHECK_EQ(text_shown_ms(STR("2026-11-21T12:01:02.5Z")), 1795262462500);
    CHECK_EQ(text_shown_ms(STR("yesterday")), 0);
}

TEST(text, dots_in_paths_are_found)
{
    CHECK(text_has_dots(STR("..")) && text_has_dots(STR("a/../b")) && text_has_dots(STR("./a")) && text_has_dots(STR("a/.")));
    CHECK(!text_has_dots(STR("")) && !text_has_dots(STR("/a//b/")) && !text_has_dots(STR("...")) && !text_has_dots(STR(".a/b..")));
}

TEST(text, integers_are_taken_whole_or_not_at_all)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } cases[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "+7", true, 7 },
        { "12345678", true, 12345678 },
        { "123456789", true, 123456789 },
        { "-1234567890123456", true, -1234567890123456 },
        { "12345678901234567", true, 12345678901234567 },
        { "000000000000000000000000000042", true, 42 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "99999999999999999999", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { "+", false, 0 },
        { "--1", false, 0 },
        { "+-1", false, 0 },
        { " 1", false, 0 },
        { "1 ", false, 0 },
        { "1.0", false, 0 },
        { "1e3", false, 0 },
        { "0x10", false, 0 },
        { "1_000", false, 0 },
        { "\xd9\xa1", false, 0 }, /* an Arabic-Indic one */
        { "1234567:", false, 0 },
        { "/2345678", false, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t v = -77, plain = -77;
        if (text_int(str_of(cases[i].text), &v) != cases[i].ok ||
            (cases[i].ok && v != cases[i].want))
            fail_msg("'%s' gives %lld", cases[i].text, (long long)v);
        CHECK_EQ(text_int_plain(str_of(cases[i].text), &plain), cases[i].ok);
        CHECK_EQ(v, plain);
    }
}

TEST(text, the_fast_ways_of_numbers_give_what_the_plain_ones_give)
{
    char text[40], copy[40];
    for (int i = 0; i < 300000; i++) {
        struct str s = random_number(text, i % 4 ? 12 : 36);
        char *exact = memcpy(copy + sizeof copy - s.n, s.p, s.n); /* ends where the memory ends */
        s.p = exact;
        int64_t a = 0, b = 0;
        double x = 0, y = 0;
        if (text_int(s, &a) != text_int_plain(s, &b) || a != b)
            fail_msg("integer '%.*s': %lld and %lld", (int)s.n, s.p, (long long)a, (long long)b);
        if (text_real(s, &x) != text_real_plain(s, &y) || memcmp(&x, &y, sizeof x))
            fail_msg("real '%.*s': %.17g and %.17g", (int)s.n, s.p, x, y);
        for (int scale = 0; scale <= 18; scale += 3) {
            a = b = 0;
            if (text_decimal(s, scale, '.', &a) != text_decimal_plain(s, scale, '.', &b) || a != b)
                fail_msg("decimal(%d) '%.*s': %lld and %lld", scale, (int)s.n, s.p, (long long)a,
                         (long long)b);
        }
    }
}

TEST(text, decimals_are_exact)
{
    static const struct {
        const char *text;
        int scale;
        char point;
        enum text_decimal rc;
        int64_t want;
    } cases[] = {
        { "12.34", 2, '.', DECIMAL_OK, 1234 },
        { "-12.3", 2, '.', DECIMAL_OK, -1230 },
        { "+12", 2, '.', DECIMAL_OK, 1200 },
        { "12,34", 2, ',', DECIMAL_OK, 1234 },
        { "12.34", 2, ',', DECIMAL_SYNTAX, 0 },
        { ".5", 1, '.', DECIMAL_OK, 5 },
        { "5.", 1, '.', DECIMAL_OK, 50 },
        { ".", 1, '.', DECIMAL_SYNTAX, 0 },
        { "", 1, '.', DECIMAL_SYNTAX, 0 },
        { "-", 1, '.', DECIMAL_SYNTAX, 0 },
        { "1.2.3", 2, '.', DECIMAL_SYNTAX, 0 },
        { "1e3", 2, '.', DECIMAL_SYNTAX, 0 },
        { "1,000.00", 2, '.', DECIMAL_SYNTAX, 0 },
        { "12.3400000000000000000000000", 2, '.', DECIMAL_OK, 1234 },
        { "00000000000000000000012.34", 2, '.', DECIMAL_OK, 1234 },
        { "12.345", 2, '.', DECIMAL_SCALE, 0 },
        { "0.00000000000000000000000001", 18, '.', DECIMAL_SCALE, 0 },
        { "0.000000000000000001", 18, '.', DECIMAL_OK, 1 },
        { "999999999999999999", 0, '.', DECIMAL_OK, 999999999999999999 },
        { "-999999999999999999", 0, '.', DECIMAL_OK, -999999999999999999 },
        { "1000000000000000000", 0, '.', DECIMAL_RANGE, 0 },
        { "9999999999.99999999", 8, '.', DECIMAL_OK, 999999999999999999 },
        { "1", 18, '.', DECIMAL_RANGE, 0 },
        { "0", 18, '.', DECIMAL_OK, 0 },
        { "123456789012345678901234567890", 0, '.', DECIMAL_RANGE, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t v = 0;
        enum text_decimal rc =
            text_decimal(str_of(cases[i].text), cases[i].scale, cases[i].point, &v);
        if (rc != cases[i].rc || v != cases[i].want)
            fail_msg("'%s' gives %d, %lld", cases[i].text, rc, (long long)v);
    }
}

TEST(text, numbers_with_exponents_are_exact_integers_or_refused)
{
    static const struct {
        const char *text;
        int scale;
        enum text_decimal rc;
        int64_t want;
    } cases[] = {
        { "1.0", 0, DECIMAL_OK, 1 },
        { "1e3", 0, DECIMAL_OK, 1000 },
        { "12.50E+1", 0, DECIMAL_OK, 125 },
        { "1500e-3", 1, DECIMAL_OK, 15 },
        { "9223372036854775807", 0, DECIMAL_OK, INT64_MAX },
        { "-9223372036854775808", 0, DECIMAL_OK, INT64_MIN },
        { "9223372036854775808", 0, DECIMAL_RANGE, 0 },
        { "1e19", 0, DECIMAL_RANGE, 0 },
        { "1e99999999999999999999999", 0, DECIMAL_RANGE, 0 },
        { "1e-99999999999999999999999", 0, DECIMAL_SCALE, 0 },
        { "0e99999999999999999999999", 0, DECIMAL_OK, 0 },
        { "1.5", 0, DECIMAL_SCALE, 0 },
        { "1e", 0, DECIMAL_SYNTAX, 0 },
        { "1e+", 0, DECIMAL_SYNTAX, 0 },
        { "e1", 0, DECIMAL_SYNTAX, 0 },
        { "1e1.0", 0, DECIMAL_SYNTAX, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t v = 0;
        enum text_decimal rc = text_number(str_of(cases[i].text), cases[i].scale, '.', &v);
        if (rc != cases[i].rc || v != cases[i].want)
            fail_msg("'%s' gives %d, %lld", cases[i].text, rc, (long long)v);
    }
}

static void same_as_strtod(const char *text)
{
    double v = 0, want = strtod(text, NULL);
    if (!text_real(str_of(text), &v) || memcmp(&v, &want, sizeof v))
        fail_msg("'%s': %.17g, strtod says %.17g", text, v, want);
}

TEST(text, reals_are_rounded_as_strtod_rounds_them)
{
    static const char *const hard[] = {
        "0",
        "-0.0",
        "1e22",
        "1e23",
        "9007199254740993",
        "9007199254740992.5",
        "9007199254740993.0000001",
        "0.1",
        "0.30000000000000004",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "4.9e-324",
        "2.4703282292062328e-324",
        "1e-400",
        "18446744073709551615",
        "18446744073709551616",
        "9999999999999999999",
        "0.9999999999999999999",
        "123456789012345678901234567890.5e-10",
        "7.2057594037927933e16",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "8.5e-19",
        "1152921504606846976.5",
        "4503599627370497.5",
        "4503599627370498.5",
        "00000000000000000000000000001.5",
    };
    for (size_t i = 0; i < COUNT_OF(hard); i++)
        same_as_strtod(hard[i]);
    char text[64];
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = next_random();
        double d;
        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d))
            continue;
        snprintf(text, sizeof text, "%.*g", (int)(bits % 19) + 1, d);
        if (isfinite(strtod(text, NULL)))
            same_as_strtod(text);
        snprintf(text, sizeof text, "%.*f", (int)(bits % 20),
                 ldexp((double)(int64_t)bits, -(int)(bits % 64)));
        same_as_strtod(text);
        uint64_t m = next_random() >> (bits % 64); /* near the middle of two doubles */
        snprintf(text, sizeof text, "%llue%d", (unsigned long long)m, (int)(bits % 45) - 22);
        same_as_strtod(text);
    }
}

TEST(text, a_real_of_any_length_is_rounded_right)
{
    char text[3000];
    memset(text, '0', sizeof text);
    memcpy(text, "1.", 2);
    text[2500] = '\0';
    same_as_strtod(text);
    memcpy(text, "9007199254740993.",
           17); /* the middle of two doubles, and then a bit more, far behind */
    same_as_strtod(text);
    text[2499] = '1';
    same_as_strtod(text);
    CHECK(strtod(text, NULL) == 9007199254740994.0);
    memset(text, '1', 2499);
    memcpy(text + 2495, "e-99", 4);
    double v;
    CHECK(!text_real((struct str){ text, 2495 }, &v)); /* 1e2494 */
    memcpy(text + 2490, "e-2400", 6);
    text[2496] = '\0';
    same_as_strtod(text);
}

TEST(text, what_is_no_number_is_no_real)
{
    static const char *const bad[] = { "",    "-",     ".",     "-.",    "e5",     "1e",  "1e+",
                                       "inf", "nan",   "0x1p3", "1.5f",  " 1",     "1 ",  "1.2.3",
                                       "1,5", "1e5.0", "--1",   "1e400", "-1e400", "1d5", "1_0" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        double v;
        if (text_real(str_of(bad[i]), &v) || text_real_plain(str_of(bad[i]), &v))
            fail_msg("'%s' was taken", bad[i]);
    }
    double v = 1;
    CHECK(text_real(STR("1e-400"), &v) && v == 0);
    CHECK(text_real_point(STR("-1,25"), ',', &v) && v == -1.25);
    CHECK(!text_real_point(STR("-1.25"), ',', &v));
}

TEST(text, the_shortest_text_of_a_real_reads_back)
{
    static const struct {
        double v;
        const char *want;
    } cases[] = { { 0.1, "0.1" },
                  { 0.1 + 0.2, "0.30000000000000004" },
                  { 5e-324, "5e-324" },
                  { -0.0, "-0" },
                  { 1e22, "1e+22" },
                  { 100, "100" },
                  { DBL_MAX, "1.7976931348623157e+308" },
                  { -DBL_MIN, "-2.2250738585072014e-308" } };
    char text[24];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int n = text_put_real(text, cases[i].v);
        CHECK(str_eq((struct str){ text, (size_t)n }, str_of(cases[i].want)));
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = next_random();
        double d, back;
        memcpy(&d, &bits, sizeof d);
        if (!isfinite(d))
            continue;
        int n = text_put_real(text, d);
        CHECK(n <= 24);
        CHECK(text_real((struct str){ text, (size_t)n }, &back));
        CHECK(!memcmp(&d, &back, sizeof d));
    }
}

TEST(text, integers_and_decimals_are_written_as_they_are_read)
{
    char text[24];
    static const int64_t ints[] = { 0, 7, -7, 1234567890123, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < COUNT_OF(ints); i++) {
        int64_t back = 1;
        int n = text_put_int(text, ints[i]);
        CHECK(n <= 20);
        CHECK(text_int((struct str){ text, (size_t)n }, &back));
        CHECK_EQ(back, ints[i]);
    }
    static const struct {
        int64_t v;
        int scale;
        const char *want;
    } decimals[] = { { 1234, 2, "12.34" }, { -5, 2, "-0.05" },
                     { 5, 0, "5" },        { 0, 3, "0.000" },
                     { -100, 2, "-1.00" }, { 999999999999999999, 18, "0.999999999999999999" } };
    for (size_t i = 0; i < COUNT_OF(decimals); i++) {
        int n = text_put_decimal(text, decimals[i].v, decimals[i].scale);
        CHECK(str_eq((struct str){ text, (size_t)n }, str_of(decimals[i].want)));
    }
}

/* ---- dates and times ---- */

static const char *stamp(int64_t us)
{
    static char text[32];
    text[text_put_timestamp(text, us, ' ')] = '\0';
    return text;
}

TEST(text, every_day_of_ten_thousand_years_has_its_number)
{
    int64_t days = text_days(1, 1, 1);
    CHECK_EQ(text_days(1970, 1, 1), 0);
    CHECK_EQ(days, -719162);
    for (int year = 1; year <= 9999; year++)
        for (int month = 1; month <= 12; month++) {
            static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
            int length = lengths[month - 1] +
                         (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
            for (int day = 1; day <= length; day++, days++) {
                int y, m, d;
                int64_t back = 0;
                char text[10];
                text_civil(days, &y, &m, &d);
                if (text_days(year, month, day) != days || y != year || m != month || d != day)
                    fail_msg("%d-%d-%d is day %lld", year, month, day, (long long)days);
                if (text_put_date(text, days) != 10 ||
                    !text_date((struct str){ text, 10 }, &back) || back != days)
                    fail_msg("%.10s is read as day %lld", text, (long long)back);
            }
        }
}

/* By its places, one after the other. */
static bool is_timestamp(const char *p)
{
    static const char form[] = "0000-00-00 00:00:00";
    for (int i = 0; i < 19; i++)
        if (form[i] == '0' ? p[i] < '0' || p[i] > '9' : form[i] != (i == 10 && (p[i] | 32) == 't' ? ' ' : p[i]))
            return false;
    int month = atoi(p + 5), day = atoi(p + 8);
    return month >= 1 && month <= 12 && day >= 1 && day <= (month == 2 ? 28 : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31) &&
           atoi(p + 11) < 24 && atoi(p + 14) < 60 && atoi(p + 17) < 60 && atoi(p) > 0;
}

TEST(text, each_byte_of_a_timestamp_counts)
{
    for (int at = 0; at < 19; at++)
        for (int byte = 0; byte < 256; byte++) {
            char text[] = "2026-11-21 10:20:30";
            int64_t us;
            text[at] = (char)byte;
            if (text_timestamp((struct str){ text, 19 }, NULL, &us) != is_timestamp(text))
                fail_msg("byte %d is %d", at, byte);
        }
}

TEST(text, days_far_away_are_found_too)
{
    static const int years[] = { -2000000, -401, -400, -1, 0, 10000, 2939746, 2940146, 5000000 };
    for (size_t i = 0; i < COUNT_OF(years); i++)
        for (int64_t day = -400; day < 800; day++) {
            int y, m, d;
            int64_t days = text_days(years[i], 1, 1) + day;
            text_civil(days, &y, &m, &d);
            if (text_days(y, m, d) != days || m < 1 || m > 12 || d < 1 || d > 31)
                fail_msg("day %lld is %d-%d-%d", (long long)days, y, m, d);
        }
}

TEST(text, days_that_do_not_exist_are_no_dates)
{
    static const char *const bad[] = {
        "2023-02-29",  "1900-02-29",  "2023-04-31", "2023-00-10", "2023-13-10",  "2023-10-00",
        "2023-10-32",  "0000-01-01",  "2023-1-01",  "2023-01-1",  "23-01-01",    "2023/01/01",
        "2023-01-01 ", " 2023-01-01", "20230101",   "2023-01-0x", "2023-01-011", "",
        "-023-01-01",  "2023-01-:1"
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t days;
        if (text_date(str_of(bad[i]), &days))
            fail_msg("'%s' was taken", bad[i]);
    }
    int64_t days;
    CHECK(text_date(STR("2000-02-29"), &days));
    CHECK_EQ(days, 11016);
}

TEST(text, timestamps_are_read_in_their_iso_forms)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {
        { "2024-02-29T12:34:56Z", "2024-02-29 12:34:56" },
        { "2024-02-29t12:34:56z", "2024-02-29 12:34:56" },
        { "2024-02-29 12:34:56", "2024-02-29 12:34:56" },
        { "2024-02-29 12:34", "2024-02-29 12:34:00" },
        { "2024-02-29", "2024-02-29 00:00:00" },
        { "2024-02-29 12:34:56.5", "2024-02-29 12:34:56.5" },
        { "2024-02-29 12:34:56.123456", "2024-02-29 12:34:56.123456" },
        { "2024-02-29 12:34:56.123456000", "2024-02-29 12:34:56.123456" },
        { "2024-02-29 12:34:56.1234561", NULL },
        { "2024-02-29 12:34:56.1234560000", NULL },
        { "2024-02-29 12:34:56.", NULL },
        { "2024-02-29 12:34:56.Z", NULL },
        { "2024-02-29 12:34.5", NULL },
        { "2024-02-29T12:34:56+02:00", "2024-02-29 10:34:56" },
        { "2024-02-29T12:34:56-0230", "2024-02-29 15:04:56" },
        { "2024-02-29T12:34+02", "2024-02-29 10:34:00" },
        { "2024-02-29T12:34Z", "2024-02-29 12:34:00" },
        { "2024-02-29 12:34:56.250+00:30", "2024-02-29 12:04:56.25" },
        { "2024-02-29T12:34:56+2", NULL },
        { "2024-02-29T12:34:56+24:00", NULL },
        { "2024-02-29T12:34:56+02:60", NULL },
        { "2024-02-29T12:34:56+02:0", NULL },
        { "2024-02-29T12:34:56 Z", NULL },
        { "2024-02-29T12:34:56ZZ", NULL },
        { "2024-02-29T24:00:00", NULL },
        { "2024-02-29T23:59:60Z", NULL },
        { "2024-02-29T23:60:00", NULL },
        { "2024-02-29T2:34:56", NULL },
        { "2024-02-29X12:34:56", NULL },
        { "2024-02-29T", NULL },
        { "2024-02-29T12", NULL },
        { "2024-02-29T12:3", NULL },
        { "2024-02-29T12:34:5", NULL },
        { "2024-02-29T12:34:", NULL },
        { "2024-02-29Z", NULL },
        { "2024-02-30T12:34:56Z", NULL },
        { "1969-12-31T23:59:59.999999Z", "1969-12-31 23:59:59.999999" },
        { "0001-01-01T00:00:00Z", "0001-01-01 00:00:00" },
        { "9999-12-31T23:59:59.999999Z", "9999-12-31 23:59:59.999999" },
        { "0001-01-01T00:00:00+01:00", NULL },
        { "9999-12-31T23:59:59-01:00", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t us = 0;
        bool ok = text_timestamp(str_of(cases[i].text), NULL, &us);
        if (ok != (cases[i].want != NULL) || (ok && strcmp(stamp(us), cases[i].want) != 0))
            fail_msg("'%s' gives %d, %s", cases[i].text, ok, stamp(us));
    }
}

TEST(text, timestamps_are_read_by_a_format)
{
    static const struct {
        const char *fmt, *text, *want;
    } cases[] = {
        { "%d.%m.%Y %H:%M:%S", "29.02.2024 12:34:56", "2024-02-29 12:34:56" },
        { "%d.%m.%Y", "9.2.2024", "2024-02-09 00:00:00" },
        { "%Y%m%d%H%M%S", "20240229123456", "2024-02-29 12:34:56" },
        { "%Y%m%d", "2024022", "2024-02-02 00:00:00" },
        { "%Y", "24", NULL },
        { "%y-%m", "68-03", "2068-03-01 00:00:00" },
        { "%y-%m", "69-03", "1969-03-01 00:00:00" },
        { "%d %b %Y", "29 feb 2024", "2024-02-29 00:00:00" },
        { "%d %B %Y", "01 May 2024", "2024-05-01 00:00:00" },
        { "%b %d, %Y", "September 1, 2024", "2024-09-01 00:00:00" },
        { "%a, %d %b %Y %H:%M:%S %Z", "Thu, 29 Feb 2024 12:00:00 GMT", "2024-02-29 12:00:00" },
        { "%A %e %b %Y", "Thursday  1 Feb 2024", "2024-02-01 00:00:00" },
        { "%e %b %Y", "11 Feb 2024", "2024-02-11 00:00:00" },
        { "%m/%d/%Y %I:%M %p", "02/29/2024 12:05 AM", "2024-02-29 00:05:00" },
        { "%m/%d/%Y %I:%M %p", "02/29/2024 12:05 pm", "2024-02-29 12:05:00" },
        { "%m/%d/%Y %I:%M%p", "02/29/2024 1:05PM", "2024-02-29 13:05:00" },
        { "%m/%d/%Y %I:%M %p", "02/29/2024 13:05 PM", NULL },
        { "%m/%d/%Y %I:%M %p", "02/29/2024 1:05 XM", NULL },
        { "%Y-%j", "2024-366", "2024-12-31 00:00:00" },
        { "%Y-%j", "2023-366", NULL },
        { "%d/%b/%Y:%H:%M:%S %z", "29/Feb/2024:12:34:56 +0200", "2024-02-29 10:34:56" },
        { "%Y-%m-%dT%H:%M:%S.%f%z", "2024-02-29T12:34:56.5Z", "2024-02-29 12:34:56.5" },
        { "%Y-%m-%d%n%H:%M", "2024-02-29 \t 12:34", "2024-02-29 12:34:00" },
        { "%Y-%m-%d%n%H:%M", "2024-02-2912:34", "2024-02-29 12:34:00" },
        { "%s", "-1", "1969-12-31 23:59:59" },
        { "%s", "1709210096", "2024-02-29 12:34:56" },
        { "%s.%f", "1709210096.25", "2024-02-29 12:34:56.25" },
        { "%Q", "-1", "1969-12-31 23:59:59.999" },
        { "%Q", "1709210096250", "2024-02-29 12:34:56.25" },
        { "%s", "999999999999999999", NULL },
        { "%s", "", NULL },
        { "100%% %Y", "100% 2024", "2024-01-01 00:00:00" },
        { "%Y-%m-%d", "2024-02-30", NULL },
        { "%Y-%m-%d", "2024-02-29 ", NULL },
        { "%Y-%m-%d ", "2024-02-29", NULL },
        { "%Y-%m-%d %H", "2024-02-29 24", NULL },
        { "%Y-%m-%d %S", "2024-02-29 60", NULL },
        { "%d %b %Y", "29 Foo 2024", NULL },
        { "%d %b %Y", "29 Fe", NULL },
        { "%Y-%m-%d %Z", "2024-02-29 CET", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t us = 0;
        const char *bad;
        CHECK(text_fmt_valid(cases[i].fmt, &bad));
        bool ok = text_timestamp_fmt(str_of(cases[i].text), cases[i].fmt, NULL, &us);
        if (ok != (cases[i].want != NULL) || (ok && strcmp(stamp(us), cases[i].want) != 0))
            fail_msg("'%s' by '%s' gives %d, %s", cases[i].text, cases[i].fmt, ok, stamp(us));
    }
}

TEST(text, a_date_by_a_format_is_the_day_as_written)
{
    int64_t days = 0;
    CHECK(text_date_fmt(STR("02.01.1970 23:30 -0200"), "%d.%m.%Y %H:%M %z", &days));
    CHECK_EQ(days, 1);
    CHECK(text_date_fmt(STR("-1"), "%s", &days));
    CHECK_EQ(days, -1);
    CHECK(!text_date_fmt(STR("999999999999999"), "%s", &days));
    CHECK(!text_date_fmt(STR("31.02.1970"), "%d.%m.%Y", &days));
}

TEST(text, a_format_must_name_known_parts_and_a_year)
{
    static const struct {
        const char *fmt, *bad; /* NULL: valid */
    } cases[] = {
        { "%Y-%m-%d", NULL }, { "%s", NULL },    { "%Q", NULL },       { "%y%%", NULL },
        { "%I%p %Y", NULL },  { "%Y %K", "%K" }, { "%Y %", "%" },      { "%d.%m", "" },
        { "", "" },           { "%Y %I", "%I" }, { "%Y %H %p", "%p" }, { "%Y\xc3\xa4%E", "%E" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *bad = NULL;
        bool ok = text_fmt_valid(cases[i].fmt, &bad);
        if (ok != !cases[i].bad || (!ok && strcmp(bad, cases[i].bad) != 0))
            fail_msg("'%s' gives %d, '%s'", cases[i].fmt, ok, bad);
    }
}

TEST(text, rfc3339_goes_both_ways)
{
    char text[32];
    CHECK_EQ(text_put_rfc3339(text, 1795237800123), 24);
    CHECK_STR(text, "2026-11-21T05:10:00.123Z");
    CHECK_EQ(text_rfc3339_ms(str_of(text)), 1795237800123);
    text_put_rfc3339(text, -1);
    CHECK_STR(text, "1969-12-31T23:59:59.999Z");
    CHECK_EQ(text_rfc3339_ms(str_of(text)), -1);
    CHECK_EQ(text_rfc3339_ms(STR("2026-11-21T06:10:00+01:00")), 1795237800000);
    static const char *const bad[] = { "2026-11-21",
                                       "2026-11-21T05:10:00",
                                       "2026-11-21T05:10Z",
                                       "2026-11-21T05:10:00+01",
                                       "2026-11-21T05:10:00+0100",
                                       "",
                                       "2026-11-21T05:10:00.",
                                       "now" };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(text_rfc3339_ms(str_of(bad[i])) == INT64_MIN);
}

/* ---- zones ---- */

static int64_t local_of(const char *text)
{
    int64_t us;
    CHECK(text_timestamp(str_of(text), NULL, &us));
    return us / 1000000;
}

TEST(text, a_skipped_time_is_refused_and_a_doubled_one_takes_the_first)
{
    static const struct {
        const char *zone, *local, *utc; /* NULL: skipped */
    } cases[] = {
        { "Europe/Berlin", "2024-03-31 01:59:59", "2024-03-31 00:59:59" },
        { "Europe/Berlin", "2024-03-31 02:00:00", NULL },
        { "Europe/Berlin", "2024-03-31 02:59:59", NULL },
        { "Europe/Berlin", "2024-03-31 03:00:00", "2024-03-31 01:00:00" },
        { "Europe/Berlin", "2024-10-27 02:00:00", "2024-10-27 00:00:00" },
        { "Europe/Berlin", "2024-10-27 02:59:59", "2024-10-27 00:59:59" },
        { "Europe/Berlin", "2024-10-27 03:00:00", "2024-10-27 02:00:00" },
        { "Europe/Berlin", "2090-07-01 00:00:00", "2090-06-30 22:00:00" },
        { "Europe/Berlin", "9999-07-01 00:00:00", "9999-06-30 22:00:00" },
        { "Australia/Lord_Howe", "2024-10-06 02:15:00", NULL }, /* half an hour */
        { "Australia/Lord_Howe", "2024-04-07 01:45:00", "2024-04-06 14:45:00" },
        { "America/New_York", "2024-03-10 02:30:00", NULL },
        { "America/New_York", "2024-11-03 01:30:00", "2024-11-03 05:30:00" },
        { "Pacific/Apia", "2011-12-30 12:00:00", NULL }, /* a whole day */
        { "Pacific/Apia", "2011-12-31 00:00:00", "2011-12-30 10:00:00" },
        { "Asia/Kolkata", "2024-01-01 05:30:00", "2024-01-01 00:00:00" },
        { "UTC", "2024-01-01 00:00:00", "2024-01-01 00:00:00" },
        { "Z", "2024-01-01 00:00:00", "2024-01-01 00:00:00" },
        { "+02:00", "2024-01-01 02:00:00", "2024-01-01 00:00:00" },
        { "-0330", "2024-01-01 00:00:00", "2024-01-01 03:30:00" },
        { "+14", "2024-01-01 14:00:00", "2024-01-01 00:00:00" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct zone *z = zone_open(cases[i].zone);
        if (!z)
            fail_msg("no zone '%s'", cases[i].zone);
        int64_t utc = 0;
        bool ok = zone_to_utc(z, local_of(cases[i].local), &utc);
        if (ok != (cases[i].utc != NULL) || (ok && utc != local_of(cases[i].utc)))
            fail_msg("%s in %s gives %d, %s", cases[i].local, cases[i].zone, ok,
                     stamp(utc * 1000000));
        zone_close(z);
    }
}

/* Seconds east of UTC in the zone that TZ names, as libc knows it. */
static int64_t libc_local(int64_t utc)
{
    time_t t = (time_t)utc;
    struct tm tm;
    CHECK(localtime_r(&t, &tm));
    return utc + tm.tm_gmtoff;
}

TEST(text, zones_agree_with_libc)
{
    static const char *const names[] = {
        "Europe/Berlin",     "America/New_York", "America/Sao_Paulo", "Australia/Sydney",
        "Africa/Casablanca", "Asia/Tehran",      "Asia/Tokyo",        "America/St_Johns",
        "Europe/Dublin",     "America/Santiago", "Pacific/Kiritimati"
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct zone *z = zone_open(names[i]);
        CHECK(z);
        setenv("TZ", names[i], 1);
        tzset();
        for (int k = 0; k < 3000; k++) {
            /* 1850 to 2450; beyond, both only repeat */
            int64_t utc = (int64_t)(next_random() % 18934128000ull) - 3786912000, got = 0;
            int64_t local = libc_local(utc);
            if (!zone_to_utc(z, local, &got) || got > utc || libc_local(got) != local)
                fail_msg("%s: %lld (local %lld) gives %lld", names[i], (long long)utc,
                         (long long)local, (long long)got);
        }
        zone_close(z);
    }
    unsetenv("TZ");
    tzset();
}

TEST(text, names_that_are_no_zones_are_refused)
{
    static const char *const bad[] = {
        "",        "Europe/Berlim",   "../../etc/passwd", "/usr/share/zoneinfo/UTC", "Europe",
        "+2",      "+25:00",          "CET-1CEST",        "Europe/../UTC",           "zone.tab",
        "+02:00x", "Europe/Berlin\n", "right/UTC"
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct zone *z = zone_open(bad[i]);
        if (z && strcmp(bad[i], "right/UTC") != 0)
            fail_msg("'%s' was taken", bad[i]);
        CHECK(!z);
        CHECK(!zone_preload(bad[i]));
    }
    zone_close(NULL);
}

TEST(text, a_preloaded_zone_needs_no_file)
{
    CHECK(zone_preload("America/Chicago"));
    CHECK(zone_preload("America/Chicago"));
    setenv("TZDIR", test_dir(), 1);
    struct zone *z = zone_open("America/Chicago"), *again = zone_open("America/Chicago");
    CHECK(z && z == again);
    CHECK(!zone_open("America/Denver"));
    int64_t utc;
    CHECK(zone_to_utc(z, local_of("2024-01-01 00:00"), &utc));
    zone_close(z);
    CHECK(zone_to_utc(again, local_of("2024-07-01 00:00"), &utc));
    CHECK_EQ(utc, local_of("2024-07-01 05:00"));
    zone_close(again);
    unsetenv("TZDIR");
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "w");
    CHECK(f);
    CHECK_EQ(fwrite(bytes, 1, n, f), n);
    CHECK_EQ(fclose(f), 0);
}

/* A version 2 file without transitions: the POSIX rule alone. */
static size_t make_tzif(unsigned char *out, const char *rule)
{
    memset(out, 0, 512);
    size_t n = 0;
    for (int block = 0; block < 2; block++) {
        memcpy(out + n, "TZif2", 5);
        out[n + 20 + 4 * 4 + 3] = 1; /* one type */
        out[n + 20 + 5 * 4 + 3] = 4; /* "LMT" */
        memcpy(out + n + 44 + 6, "LMT", 4);
        n += 44 + 6 + 4;
    }
    return n + (size_t)sprintf((char *)out + n, "\n%s\n", rule);
}

TEST(text, rules_of_posix_are_understood)
{
    static const struct {
        const char *rule, *local, *utc; /* local NULL: damaged rule */
    } cases[] = {
        { "EST5EDT,M3.2.0,M11.1.0", "2024-07-01 00:00:00", "2024-07-01 04:00:00" },
        { "EST5EDT,M3.2.0,M11.1.0", "2024-03-10 02:30:00", NULL },
        { "<+0330>-3:30", "2024-07-01 03:30:00", "2024-07-01 00:00:00" },
        { "AAA3BBB,J60/0,J300/0", "2024-03-01 00:30:00",
          NULL }, /* J60 is March 1 in leap years too */
        { "AAA3BBB,J60/0,J300/0", "2024-02-29 23:30:00", "2024-03-01 02:30:00" },
        { "AAA3BBB,59/0,300/0", "2024-02-29 00:30:00", NULL },
        { "AAA3BBB,59/0,300/0", "2023-03-01 00:30:00", NULL },
        { "AAA0BBB-2,M3.5.0/-1,M10.5.0/26:30:15", "2024-03-30 23:30:00", NULL },
        { "AAA0BBB-2,M3.5.0/-1,M10.5.0/26:30:15", "2024-10-28 02:00:00", "2024-10-28 00:00:00" },
        { "IST-1GMT0,M10.5.0,M3.5.0/1", "2024-01-01 00:00:00",
          "2024-01-01 00:00:00" }, /* winter is the exception */
        { "IST-1GMT0,M10.5.0,M3.5.0/1", "2024-07-01 00:00:00", "2024-06-30 23:00:00" },
        { "EST5EDT", NULL, NULL },
        { "EST5EDT,M13.2.0,M11.1.0", NULL, NULL },
        { "EST5EDT,M3.6.0,M11.1.0", NULL, NULL },
        { "EST5EDT,M3.2.7,M11.1.0", NULL, NULL },
        { "EST5EDT,M3.2.0", NULL, NULL },
        { "EST5EDT,M3.2.0,M11.1.0x", NULL, NULL },
        { "E5", NULL, NULL },
        { "<+03", NULL, NULL },
        { "EST", NULL, NULL },
        { "EST999", NULL, NULL },
    };
    unsigned char bytes[512];
    setenv("TZDIR", test_dir(), 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_file(test_file("rule"), bytes, make_tzif(bytes, cases[i].rule));
        struct zone *z = zone_open("rule");
        if (!z != !cases[i].local)
            fail_msg("'%s': %s", cases[i].rule, z ? "taken" : "refused");
        if (!z)
            continue;
        int64_t utc = 0;
        bool ok = zone_to_utc(z, local_of(cases[i].local), &utc);
        if (ok != (cases[i].utc != NULL) || (ok && utc != local_of(cases[i].utc)))
            fail_msg("%s by %s gives %d, %s", cases[i].local, cases[i].rule, ok,
                     stamp(utc * 1000000));
        zone_close(z);
    }
    unsetenv("TZDIR");
}

TEST(text, a_damaged_zone_file_is_refused_or_harmless)
{
    unsigned char whole[8192], bytes[8192];
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "r");
    CHECK(f);
    size_t n = fread(whole, 1, sizeof whole, f);
    fclose(f);
    setenv("TZDIR", test_dir(), 1);
    for (size_t cut = 0; cut < n; cut += cut < 100 ? 1 : 13) {
        write_file(test_file("cut"), whole, cut);
        CHECK(!zone_open("cut"));
    }
    for (int i = 0; i < 2000; i++) {
        memcpy(bytes, whole, n);
        for (int k = 0; k < 3; k++)
            bytes[next_random() % (k ? n : 120)] = (unsigned char)next_random();
        write_file(test_file("hurt"), bytes, n);
        struct zone *z = zone_open("hurt");
        int64_t utc;
        for (int64_t local = -10000000000; z && local < 300000000000; local += 7777777777)
            (void)zone_to_utc(z, local, &utc);
        zone_close(z);
    }
    unsetenv("TZDIR");
}

/* ---- durations and sizes ---- */

TEST(text, durations_are_read)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = { { "10", 10000 },
                  { "10s", 10000 },
                  { "0", 0 },
                  { "5m", 300000 },
                  { "2h", 7200000 },
                  { "1d", 86400000 },
                  { "250ms", 250 },
                  { "1m30s", 90000 },
                  { "1d2h3m4s5ms", 93784005 },
                  { "1m30", -1 },
                  { "30s1m", -1 },
                  { "1m1m", -1 },
                  { "", -1 },
                  { "s", -1 },
                  { "-1s", -1 },
                  { "1.5h", -1 },
                  { "1w", -1 },
                  { "1 s", -1 },
                  { "10S", -1 },
                  { "106751991168d", -1 },
                  { "99999999999999999999", -1 },
                  { "1h99999999999999999m", -1 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t ms = -1;
        bool ok = text_duration(str_of(cases[i].text), &ms);
        if (ok != (cases[i].want >= 0) || ms != cases[i].want)
            fail_msg("'%s' gives %d, %lld", cases[i].text, ok, (long long)ms);
    }
}

TEST(text, sizes_are_read)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = { { "0", 0 },
                  { "512", 512 },
                  { "512B", 512 },
                  { "64K", 65536 },
                  { "64kb", 65536 },
                  { "64KiB", 65536 },
                  { "10M", 10485760 },
                  { "2G", 2147483648 },
                  { "1T", 1099511627776 },
                  { "7E", 8070450532247928832 },
                  { "8E", -1 },
                  { "", -1 },
                  { "K", -1 },
                  { "1X", -1 },
                  { "1Ki", -1 },
                  { "1KBB", -1 },
                  { "-1", -1 },
                  { "1.5G", -1 },
                  { "1 K", -1 },
                  { "1BB", -1 },
                  { "1iB", -1 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t bytes = -1;
        bool ok = text_size(str_of(cases[i].text), &bytes);
        if (ok != (cases[i].want >= 0) || bytes != cases[i].want)
            fail_msg("'%s' gives %d, %lld", cases[i].text, ok, (long long)bytes);
    }
    int64_t bytes;
    CHECK(!text_size(STR("1\0"), &bytes));
}

TEST(text, durations_and_sizes_are_shown_to_people)
{
    static const struct {
        int64_t v;
        const char *duration, *size;
    } cases[] = { { 0, "0ms", "0 B" },
                  { 999, "999ms", "999 B" },
                  { 1500, "1.5s", "1.5 KiB" },
                  { 90000, "1m30s", "87.9 KiB" },
                  { 12345, "12s", "12.1 KiB" },
                  { 3600000, "1h", "3.4 MiB" },
                  { 90061000, "1d1h", "85.9 MiB" },
                  { -1500, "-1.5s", "-1.5 KiB" },
                  { 1023, "1s", "1023 B" },
                  { 1024, "1s", "1.0 KiB" },
                  { 1048575, "17m28s", "1.0 MiB" },
                  { 104857600, "1d5h", "100 MiB" } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[32];
        text_put_duration(text, sizeof text, cases[i].v);
        CHECK_STR(text, cases[i].duration);
        text_put_size(text, sizeof text, cases[i].v);
        CHECK_STR(text, cases[i].size);
    }
    char tiny[4];
    text_put_duration(tiny, sizeof tiny, 90061000);
    CHECK_STR(tiny, "1d1");
    char most[32];
    text_put_duration(most, sizeof most, INT64_MIN);
    CHECK_STR(most, "-106751991167d7h");
    text_put_size(most, sizeof most, INT64_MAX);
    CHECK_STR(most, "8.0 EiB");
}

/* ---- UTF-8 ---- */

TEST(text, utf8_is_taken_by_table_3_7_and_nothing_else)
{
    static const struct {
        struct str text;
        size_t want;
    } cases[] = {
        { STR(""), 0 },
        { STR("abc"), 3 },
        { STR("a\0b"), 3 },
        { STR("\xc2\x80\xdf\xbf"), 4 },
        { STR("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"), 12 },
        { STR("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), 8 },
        { STR("a\xc0\xaf"), 1 }, /* overlong */
        { STR("a\xc1\xbf"), 1 },
        { STR("a\xe0\x9f\xbf"), 1 },
        { STR("a\xf0\x8f\xbf\xbf"), 1 },
        { STR("a\xed\xa0\x80"), 1 },     /* surrogate */
        { STR("a\xf4\x90\x80\x80"), 1 }, /* above U+10FFFF */
        { STR("a\xf5\x80\x80\x80"), 1 },
        { STR("a\x80"), 1 },
        { STR("a\xff"), 1 },
        { STR("ab\xc3"), 2 }, /* cut off */
        { STR("ab\xe2\x82"), 2 },
        { STR("ab\xf0\x9f\x98"), 2 },
        { STR("ab\xc3(x"), 2 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(text_utf8_valid(cases[i].text), cases[i].want);
        CHECK_EQ(text_utf8_valid_plain(cases[i].text), cases[i].want);
    }
}

/* All kinds that this machine has say of s what the plain one says. */
static void check_utf8(struct str s, const char *what, unsigned number)
{
    size_t want = text_utf8_valid_plain(s);
    for (int kind = SIMD_PLAIN; kind < SIMD_KINDS; kind++) {
        simd_limit((enum simd)kind);
        size_t got = text_utf8_valid(s);
        simd_limit(SIMD_AVX2);
        if (got != want)
            fail_msg("%s %u, %zu bytes, %s: %zu, not %zu", what, number, s.n, simd_name((enum simd)kind), got, want);
    }
}

TEST(text, utf8_is_the_same_for_every_kind_on_any_text)
{
    static const char *const pieces[] = { "a", "0123456789", "0123456789abcdef0", "\xc3\xa4", "\xe2\x82\xac",
                                          "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\x80", "\xff", "\xc3",
                                          "\xe2\x82", "\xf0\x9f\x98" };
    char text[512];
    for (unsigned i = 0; i < 100000; i++) {
        size_t n = 0, parts = next_random() % 30;
        for (size_t k = 0; k < parts; k++) {
            const char *p = pieces[next_random() % (next_random() % 8 ? 6 : COUNT_OF(pieces))];
            memcpy(text + n, p, strlen(p));
            n += strlen(p);
        }
        memmove(text + sizeof text - n, text, n); /* at the end of the memory, at any alignment */
        check_utf8((struct str){ text + sizeof text - n, n }, "text", i);
    }
}

/* Each of the bytes at which table 3-7 changes its mind, four in a row, over the edge of a block of 32. */
TEST(text, utf8_is_the_same_for_every_kind_on_all_sequences)
{
    static const unsigned char edges[] = { 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                                           0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
    enum { N = sizeof edges };
    char text[96];
    for (unsigned i = 0; i < N * N * N * N; i++) {
        size_t at = 28 + i % 8, n = i % 5 ? sizeof text : at + 4; /* now and then it is the end */
        if (n < 48)
            at += 48 - n, n = 48;
        memset(text, 'x', sizeof text);
        for (unsigned k = 0, rest = i; k < 4; k++, rest /= N)
            text[at + k] = (char)edges[rest % N];
        check_utf8((struct str){ text, n }, "sequence", i);
    }
}

/* ---- globs ---- */

TEST(text, globs_match_what_they_say)
{
    static const struct {
        const char *glob, *name;
        bool want;
    } cases[] = {
        { "", "", true },
        { "", "a", false },
        { "a", "", false },
        { "abc", "abc", true },
        { "abc", "abd", false },
        { "*", "", true },
        { "*", "abc", true },
        { "*", "a/b", false },
        { "*.csv", "a.csv", true },
        { "*.csv", ".csv", true },
        { "*.csv", "a.csvx", false },
        { "*.csv", "d/a.csv", false },
        { "**", "a/b/c", true },
        { "**.csv", "d/a.csv", true },
        { "**/*.csv", "a.csv", true },
        { "**/*.csv", "x/y/a.csv", true },
        { "d/**/x", "d/x", true },
        { "d/**/x", "d/a/b/x", true },
        { "d/**/x", "dx", false },
        { "a**/x", "a/x", true },
        { "a**/x", "ax", false },
        { "?", "a", true },
        { "?", "", false },
        { "?", "/", false },
        { "?", "\xc3\xa4", true },
        { "??", "\xc3\xa4", false },
        { "?", "\xff", true },
        { "[a-c]x", "bx", true },
        { "[a-c]x", "dx", false },
        { "[!a-c]x", "dx", true },
        { "[!a-c]x", "ax", false },
        { "[^a]", "b", true },
        { "[!a]", "/", false },
        { "[]]", "]", true },
        { "[]a]", "a", true },
        { "[a-]", "-", true },
        { "[-a]", "-", true },
        { "[\xc3\xa4-\xc3\xbc]", "\xc3\xb6", true },
        { "[\xc3\xa4-\xc3\xbc]", "z", false },
        { "[abc", "[abc", true },
        { "[\\]]", "]", true },
        { "[a\\-c]", "b", false },
        { "[a\\-c]", "-", true },
        { "{a,b}", "a", true },
        { "{a,b}", "b", true },
        { "{a,b}", "a,b", false },
        { "x{a,b{c,d}}y", "xbdy", true },
        { "x{a,b{c,d}}y", "xby", false },
        { "{,a}b", "b", true },
        { "{,a}b", "ab", true },
        { "{a}", "a", true },
        { "{}", "", true },
        { "{a,b", "{a,b", true },
        { "a,b}", "a,b}", true },
        { "{a,{b,c}", "{a,b", true },
        { "{*.csv,*.tsv}", "x.tsv", true },
        { "{[,],x}", ",", true },
        { "{\\,,x}", ",", true },
        { "*{a,b}*", "xxbxx", true },
        { "\\*", "*", true },
        { "\\*", "a", false },
        { "\\\\", "\\", true },
        { "a\\", "a\\", true },
        { "a*b*c", "aXbYbZc", true },
        { "a*b*c", "aXbYbZ", false },
        { "***", "a/b", true },
        { "A", "a", false },
        { "*\xc3\xa4*", "x\xc3\xa4y", true },
        { "\xc3\xa4", "\xc3\xa4", true },
        { "\xff", "\xff", true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (text_glob(cases[i].glob, str_of(cases[i].name)) != cases[i].want)
            fail_msg("'%s' against '%s'", cases[i].glob, cases[i].name);
    CHECK(text_glob("a*", STR("a\0b")));
    CHECK(!text_glob("a", STR("a\0")));
}

TEST(text, no_glob_blows_up)
{
    char glob[4000], name[4000], deep[300];
    for (size_t i = 0; i < sizeof glob - 1;
         i++) /* "a*a*a*..." against "aaa...": 2^n ways to go back */
        glob[i] = i % 2 ? '*' : 'a';
    glob[sizeof glob - 1] = '\0';
    glob[sizeof glob - 2] = '*';
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 'b';
    CHECK(text_glob(glob, (struct str){ name, sizeof name }));
    glob[sizeof glob - 2] = 'c';
    CHECK(!text_glob(glob, (struct str){ name, sizeof name }));
    memset(deep, '{', 150);
    deep[150] = 'a';
    memset(deep + 151, '}', 148);
    deep[299] = '\0';
    (void)text_glob(deep, STR("a"));
    char *huge = malloc(5001);
    CHECK(huge);
    memset(huge, '*', 5000);
    huge[5000] = '\0';
    CHECK(!text_glob(huge, STR("a")));
    free(huge);
}

TEST(text, the_distance_of_words_counts_steps)
{
    CHECK_EQ(text_distance("", "", 5), 0);
    CHECK_EQ(text_distance("integer", "integer", 5), 0);
    CHECK_EQ(text_distance("interger", "integer", 5), 1);
    CHECK_EQ(text_distance("intgeer", "integer", 5), 1);
    CHECK_EQ(text_distance("kitten", "sitting", 9), 3);
    CHECK_EQ(text_distance("abc", "", 9), 3);
    CHECK_EQ(text_distance("abc", "xyz", 2), 2);
    CHECK_EQ(text_distance("a", "abcdefgh", 3), 3);
    char a[100], b[100];
    memset(a, 'a', 99);
    memset(b, 'a', 99);
    a[99] = b[99] = '\0';
    CHECK_EQ(text_distance(a, b, 3), 3); /* too long to be looked at */
}

TEST(text, numbers_do_not_depend_on_the_locale)
{
    static const char *const locales[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" };
    for (size_t i = 0; i < COUNT_OF(locales); i++)
        if (setlocale(LC_ALL, locales[i]))
            break;
    double v;
    char text[24];
    CHECK(text_real(STR("1.2345678901234567890123e-5"), &v) && v == 1.2345678901234567890123e-5);
    int n = text_put_real(text, 0.5);
    CHECK_SLICE(((struct str){ text, (size_t)n }), "0.5");
    setlocale(LC_ALL, "C");
}

TEST(text, percent_escapes_are_undone_and_what_is_none_stands)
{
    static const char *const pairs[][2] = { { "a%20b%2fc%2Fd", "a b/c/d" }, { "%", "%" }, { "%4", "%4" }, { "%4g%zz%C3%a4", "%4g%zzä" }, { "100%25", "100%" }, { "", "" } };
    char out[40];
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        CHECK_EQ(text_percent_decode(str_of(pairs[i][0]), out), strlen(pairs[i][1]));
        CHECK_STR(out, pairs[i][1]);
    }
}
