/*
 * Dates and timestamps: text to days and microseconds since 1970, and back. All calendars are the
 * proleptic Gregorian one; results lie in the years 0001 to 9999 (UTC), else the text is refused.
 */
#include "base/text.h"

#include <endian.h>
#include <limits.h>
#include <stdio.h>

enum { SECOND_US = 1000000, DAY_S = 86400 };
static const int64_t first_second = -62135596800,
                     last_second = 253402300799; /* 0001-01-01, 9999-12-31T23:59:59 */

static const uint16_t days_before[13] = {
    0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334
};
static const uint8_t month_days[13] = { 0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}
static inline bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int64_t text_days(int year, int month, int day)
{
    /* March-based years in eras of 400 years (Hinnant) */
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/*
 * C. Neri, L. Schneider, "Euclidean affine functions and their application to calendar algorithms",
 * Software: Practice and Experience 53 (4), 2023: quotient and remainder by one multiplication each,
 * in years that begin in March. Exact for days up to some 2^30; further ones are moved there by whole
 * eras of 400 years.
 */
void text_civil(int64_t days, int *year, int *month, int *day)
{
    enum { ERA_DAYS = 146097, FAR = 1 << 30 };
    int64_t from_march = days + 719468, eras = 0; /* since 0000-03-01 */
    if ((uint64_t)from_march >= FAR) {
        eras = (from_march >= 0 ? from_march : from_march - (ERA_DAYS - 1)) / ERA_DAYS;
        from_march -= eras * ERA_DAYS;
    }
    uint32_t quarters = 4 * (uint32_t)from_march + 3;
    uint32_t century = quarters / ERA_DAYS, of_century = quarters % ERA_DAYS | 3;
    uint64_t years = (uint64_t)2939745 * of_century; /* 2^32 / 1461 */
    uint32_t of_year = (uint32_t)years / 2939745 / 4;
    uint32_t months = 2141 * of_year + 197913; /* 2^16 / 30.6 */
    bool next = of_year >= 306;                /* January or February */
    *year = (int)(100 * century + (uint32_t)(years >> 32) + next + eras * 400);
    *month = (int)(months >> 16) - (next ? 12 : 0);
    *day = (int)((months & 0xffff) / 2141) + 1;
}

/* Days of a real date in the years 1 to 9999; false: no such day. */
static inline bool real_day(unsigned year, unsigned month, unsigned day, int64_t *out)
{
    if (year - 1 > 9998 || month - 1 > 11)
        return false;
    bool leap = is_leap((int)year);
    if (day - 1 >= (unsigned)month_days[month] + (month == 2 && leap))
        return false;
    unsigned y = year - 1;
    *out = (int64_t)(y * 365 + y / 4 - y / 100 + y / 400 + days_before[month] +
                     (month > 2 && leap) + day - 1) -
           719162;
    return true;
}

/* Two digits at p; a wrong byte makes *bad not 0. */
static inline unsigned two(const char *p, unsigned *bad)
{
    unsigned a = (unsigned char)p[0] - '0', b = (unsigned char)p[1] - '0';
    *bad |= (a > 9) | (b > 9);
    return a * 10 + b;
}

/*
 * Eight bytes of a form, "0000-00-" or "00:00:00", at once: byte k of the result, counted from the
 * lowest, is the number of the two digits at p[k]. `room` is what may be added to each byte's
 * distance from the form before it reaches 0x80: 0x76 for a digit, 0x7f for a sign. *bad is not 0
 * when a byte is further away.
 */
static inline uint64_t eight(const char *p, const char *form, const char *room, uint64_t *bad)
{
    uint64_t v, f, r;
    memcpy(&v, p, 8);
    memcpy(&f, form, 8);
    memcpy(&r, room, 8);
    v = le64toh(v ^ f);
    *bad |= ((v + le64toh(r)) | v) & 0x8080808080808080ull;
    return v * 10 + (v >> 8);
}

/* YYYY-MM-DD at p, 10 bytes. */
static inline bool date_at(const char *p, int64_t *days)
{
    uint64_t wrong = 0;
    uint64_t pairs = eight(p, "0000-00-", "\x76\x76\x76\x76\x7f\x76\x76\x7f", &wrong);
    unsigned bad = wrong != 0, day = two(p + 8, &bad);
    unsigned year = (pairs & 0xff) * 100 + (pairs >> 16 & 0xff), month = pairs >> 40 & 0xff;
    return !bad && real_day(year, month, day, days);
}

bool text_date(struct str s, int64_t *days)
{
    return s.n == 10 && date_at(s.p, days);
}

/* Z, +HH:MM, +HHMM or +HH, all of s, as seconds east. */
static bool offset_of(struct str s, int64_t *seconds)
{
    if (s.n == 1 && (s.p[0] | 32) == 'z') {
        *seconds = 0;
        return true;
    }
    if (s.n < 3 || (s.p[0] != '+' && s.p[0] != '-'))
        return false;
    unsigned bad = 0, hours = two(s.p + 1, &bad), minutes = 0;
    if (s.n == 6 && s.p[3] == ':')
        minutes = two(s.p + 4, &bad);
    else if (s.n == 5)
        minutes = two(s.p + 3, &bad);
    else if (s.n != 3)
        return false;
    if (bad || hours > 23 || minutes > 59)
        return false;
    *seconds = (int64_t)(hours * 3600 + minutes * 60) * (s.p[0] == '-' ? -1 : 1);
    return true;
}

/* Up to 9 digits behind a point at the front of s, taken off; digits behind the sixth must be 0. */
static bool take_fraction(struct str *s, int64_t *us)
{
    static const int unit[6] = { 100000, 10000, 1000, 100, 10, 1 };
    size_t n = 0;
    int64_t v = 0;
    for (; n < s->n && is_digit(s->p[n]); n++) {
        if (n < 6)
            v += (s->p[n] - '0') * unit[n];
        else if (n >= 9 || s->p[n] != '0')
            return false;
    }
    if (!n)
        return false;
    s->p += n;
    s->n -= n;
    *us = v;
    return true;
}

/* Local seconds (as if UTC) and what the text said of its offset, to microseconds UTC. */
static inline bool to_utc(int64_t local, bool has_offset, int64_t offset, const struct zone *zone,
                          int64_t fraction_us, int64_t *us)
{
    int64_t utc = local - offset;
    if (!has_offset && zone && !zone_to_utc(zone, local, &utc))
        return false;
    if (utc < first_second || utc > last_second)
        return false;
    *us = utc * SECOND_US + fraction_us;
    return true;
}

bool text_timestamp(struct str s, const struct zone *zone, int64_t *us)
{
    int64_t days, fraction = 0, offset = 0;
    if (s.n < 10 || !date_at(s.p, &days))
        return false;
    if (s.n == 10)
        return to_utc(days * DAY_S, false, 0, zone, 0, us);
    if (s.n < 16 || (s.p[10] != ' ' && (s.p[10] | 32) != 't'))
        return false;
    unsigned bad, hour, minute, second = 0;
    struct str rest = { s.p + 16, s.n - 16 };
    if (rest.n < 3 || rest.p[0] != ':') {
        bad = s.p[13] != ':';
        hour = two(s.p + 11, &bad);
        minute = two(s.p + 14, &bad);
    } else {
        uint64_t wrong = 0;
        uint64_t pairs = eight(s.p + 11, "00:00:00", "\x76\x76\x7f\x76\x76\x7f\x76\x76", &wrong);
        bad = wrong != 0;
        hour = pairs & 0xff;
        minute = pairs >> 24 & 0xff;
        second = pairs >> 48 & 0xff;
        rest.p += 3;
        rest.n -= 3;
        if (rest.n && rest.p[0] == '.') {
            rest.p++;
            rest.n--;
            if (!take_fraction(&rest, &fraction))
                return false;
        }
    }
    if (bad || hour > 23 || minute > 59 || second > 59)
        return false;
    if (rest.n && !offset_of(rest, &offset))
        return false;
    return to_utc(days * DAY_S + (int64_t)(hour * 3600 + minute * 60 + second), rest.n != 0, offset,
                  zone, fraction, us);
}

/* ---- by a format ---- */

static const char *const months[12] = { "January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December" };
static const char *const weekdays[7] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday" };

/* What a format has found so far. */
struct found {
    int64_t year, month, day, of_year, hour, minute, second, fraction;
    int64_t offset, epoch_us;
    bool has_offset, has_epoch, has_of_year, twelve, afternoon;
};

/* A number of least to most digits at the front of s. */
static bool take_digits(struct str *s, size_t least, size_t most, int64_t min, int64_t max,
                        int64_t *out)
{
    size_t n = 0;
    int64_t v = 0;
    while (n < s->n && n < most && is_digit(s->p[n]))
        v = v * 10 + (s->p[n++] - '0');
    if (n < least || v < min || v > max)
        return false;
    s->p += n;
    s->n -= n;
    *out = v;
    return true;
}

/* A name from the list, whole or its first three letters, at the front of s; its number from 0, or
 * -1. */
static int take_name(struct str *s, const char *const *names, int n)
{
    for (int short_form = 0; short_form < 2; short_form++)
        for (int i = 0; i < n; i++) {
            struct str name = { names[i], short_form ? 3 : strlen(names[i]) };
            if (s->n >= name.n && str_eq_nocase((struct str){ s->p, name.n }, name)) {
                s->p += name.n;
                s->n -= name.n;
                return i;
            }
        }
    return -1;
}

static bool take_offset(struct str *s, struct found *f)
{
    static const size_t lengths[] = { 6, 5, 3, 1 };
    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        if (s->n >= lengths[i] && offset_of((struct str){ s->p, lengths[i] }, &f->offset)) {
            s->p += lengths[i];
            s->n -= lengths[i];
            return f->has_offset = true;
        }
    return false;
}

static bool take_epoch(struct str *s, int64_t unit_us, struct found *f)
{
    bool minus = s->n && s->p[0] == '-';
    struct str d = { s->p + minus, s->n - minus };
    int64_t v;
    if (!take_digits(&d, 1, 18, 0, INT64_MAX, &v) ||
        __builtin_mul_overflow(minus ? -v : v, unit_us, &f->epoch_us))
        return false;
    *s = d;
    return f->has_epoch = true;
}

static bool take_half(struct str *s, struct found *f)
{
    if (s->n < 2 || (s->p[1] | 32) != 'm' || ((s->p[0] | 32) != 'a' && (s->p[0] | 32) != 'p'))
        return false;
    f->afternoon = (s->p[0] | 32) == 'p';
    s->p += 2;
    s->n -= 2;
    return true;
}

static bool take_utc_name(struct str *s, struct found *f)
{
    static const char *const names[] = { "UTC", "GMT", "Z" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        size_t n = strlen(names[i]);
        if (s->n >= n && str_eq_nocase((struct str){ s->p, n }, str_of(names[i]))) {
            s->p += n;
            s->n -= n;
            f->offset = 0;
            return f->has_offset = true;
        }
    }
    return false;
}

static void take_space(struct str *s)
{
    while (s->n && (s->p[0] == ' ' || s->p[0] == '\t'))
        s->p++, s->n--;
}

/* One %-part at the front of s. */
static bool take_part(char part, struct str *s, struct found *f)
{
    int i;
    switch (part) {
    case 'Y':
        return take_digits(s, 4, 4, 1, 9999, &f->year);
    case 'y':
        if (!take_digits(s, 2, 2, 0, 99, &f->year))
            return false;
        f->year += f->year < 69 ? 2000 : 1900; /* as in strptime(3) */
        return true;
    case 'm':
        return take_digits(s, 1, 2, 1, 12, &f->month);
    case 'b':
    case 'B':
        if ((i = take_name(s, months, 12)) < 0)
            return false;
        f->month = i + 1;
        return true;
    case 'a':
    case 'A':
        return take_name(s, weekdays, 7) >= 0;
    case 'e':
        if (s->n && s->p[0] == ' ')
            s->p++, s->n--;
        return take_digits(s, 1, 2, 1, 31, &f->day);
    case 'd':
        return take_digits(s, 1, 2, 1, 31, &f->day);
    case 'j':
        return f->has_of_year = take_digits(s, 1, 3, 1, 366, &f->of_year);
    case 'H':
        return take_digits(s, 1, 2, 0, 23, &f->hour);
    case 'I':
        return f->twelve = take_digits(s, 1, 2, 1, 12, &f->hour);
    case 'M':
        return take_digits(s, 1, 2, 0, 59, &f->minute);
    case 'S':
        return take_digits(s, 1, 2, 0, 59, &f->second);
    case 'f':
        return take_fraction(s, &f->fraction);
    case 'p':
        return take_half(s, f);
    case 'z':
        return take_offset(s, f);
    case 'Z':
        return take_utc_name(s, f);
    case 's':
        return take_epoch(s, SECOND_US, f);
    case 'Q':
        return take_epoch(s, 1000, f);
    case 'n':
        take_space(s);
        return true;
    case '%':
        if (!s->n || s->p[0] != '%')
            return false;
        s->p++, s->n--;
        return true;
    }
    return false;
}

static bool found_by(struct str s, const char *fmt, struct found *f)
{
    *f = (struct found){ .month = 1, .day = 1 };
    for (; *fmt; fmt++) {
        if (*fmt == '%') {
            if (!*++fmt || !take_part(*fmt, &s, f))
                return false;
        } else {
            if (!s.n || s.p[0] != *fmt)
                return false;
            s.p++, s.n--;
        }
    }
    return !s.n;
}

/* The day as written. */
static bool found_day(const struct found *f, int64_t *days)
{
    if (!f->has_of_year)
        return real_day((unsigned)f->year, (unsigned)f->month, (unsigned)f->day, days);
    if (f->of_year > 365 + is_leap((int)f->year) || !real_day((unsigned)f->year, 1, 1, days))
        return false;
    *days += f->of_year - 1;
    return true;
}

static int64_t floor_div(int64_t v, int64_t by)
{
    return v / by - (v % by < 0);
}

bool text_timestamp_fmt(struct str s, const char *fmt, const struct zone *zone, int64_t *us)
{
    struct found f;
    int64_t days;
    if (!found_by(s, fmt, &f))
        return false;
    if (f.has_epoch) {
        int64_t second = floor_div(f.epoch_us, SECOND_US), part = f.epoch_us - second * SECOND_US;
        return to_utc(second, true, 0, NULL, part + f.fraction, us);
    }
    if (!found_day(&f, &days))
        return false;
    if (f.twelve)
        f.hour = f.hour % 12 + (f.afternoon ? 12 : 0);
    return to_utc(days * DAY_S + f.hour * 3600 + f.minute * 60 + f.second, f.has_offset, f.offset,
                  zone, f.fraction, us);
}

bool text_date_fmt(struct str s, const char *fmt, int64_t *days)
{
    struct found f;
    if (!found_by(s, fmt, &f))
        return false;
    if (!f.has_epoch)
        return found_day(&f, days);
    int64_t second = floor_div(f.epoch_us, SECOND_US);
    if (second < first_second || second > last_second)
        return false;
    *days = floor_div(second, DAY_S);
    return true;
}

bool text_fmt_valid(const char *fmt, const char **bad)
{
    const char *hour12 = NULL, *half = NULL;
    bool dated = false;
    for (*bad = fmt; **bad; ++*bad) {
        if (**bad != '%')
            continue;
        const char *part = *bad + 1;
        if (!*part || !strchr("YmdeHIMSfpybBaAjzZsQn%", *part))
            return false;
        dated |= strchr("YysQ", *part) != NULL;
        if (*part == 'I')
            hour12 = *bad;
        if (*part == 'p')
            half = *bad;
        ++*bad;
    }
    if (!hour12 != !half) { /* one without the other would be read wrong by 12 hours */
        *bad = hour12 ? hour12 : half;
        return false;
    }
    return dated; /* else *bad is the end: the year is missing */
}

/* ---- back to text ---- */

/* The two digits of 0 <= v < 100. */
static inline void put_two(char *out, unsigned v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    memcpy(out, pairs + 2 * (size_t)v, 2);
}

int text_put_date(char *out, int64_t days)
{
    int year, month, day;
    text_civil(days, &year, &month, &day);
    put_two(out, (unsigned)year / 100 % 100);
    put_two(out + 2, (unsigned)year % 100);
    out[4] = out[7] = '-';
    put_two(out + 5, (unsigned)month);
    put_two(out + 8, (unsigned)day);
    return 10;
}

int text_put_timestamp(char *out, int64_t us, char between)
{
    int64_t second = floor_div(us, SECOND_US), part = us - second * SECOND_US;
    int64_t days = floor_div(second, DAY_S);
    unsigned of_day = (unsigned)(second - days * DAY_S);
    int n = text_put_date(out, days);
    out[n] = between;
    put_two(out + 11, of_day / 3600);
    put_two(out + 14, of_day / 60 % 60);
    put_two(out + 17, of_day % 60);
    out[13] = out[16] = ':';
    n = 19;
    if (!part)
        return n;
    out[n++] = '.';
    for (int64_t unit = SECOND_US / 10; part; part %= unit, unit /= 10)
        out[n++] = (char)('0' + part / unit);
    return n;
}

int64_t text_rfc3339_ms(struct str s)
{
    int64_t us;
    if (s.n < 20 || s.p[16] != ':' || !text_timestamp(s, NULL, &us))
        return INT64_MIN;
    char end = s.p[s.n - 1];
    if ((end | 32) != 'z' && !(s.p[s.n - 3] == ':' && (s.p[s.n - 6] == '+' || s.p[s.n - 6] == '-')))
        return INT64_MIN;
    return floor_div(us, 1000);
}

int text_put_rfc3339(char *out, int64_t ms)
{
    int64_t second = floor_div(ms, 1000);
    int part = (int)(ms - second * 1000);
    int n = text_put_timestamp(out, second * SECOND_US, 'T');
    out[n++] = '.';
    out[n++] = (char)('0' + part / 100);
    put_two(out + n, (unsigned)part % 100);
    out[n + 2] = 'Z';
    out[n + 3] = '\0';
    return n + 3;
}

int64_t text_shown_ms(struct str s)
{
    int64_t us, ms = text_rfc3339_ms(s);
    if (ms != INT64_MIN)
        return ms;
    return text_timestamp_fmt(s, "%a, %d %b %Y %H:%M:%S GMT", NULL, &us) ? us / 1000 : 0;
}
