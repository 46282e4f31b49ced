/*
 * Text to numbers, dates and times, and back: strict, without locale, without memory. A parser
 * takes the whole slice or refuses it; no white space is skipped (callers trim).
 */
#ifndef QETL_BASE_TEXT_H
#define QETL_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/*
 * Where a function has a _plain twin, the plain one is the definition, and the other gives the
 * same, faster (tests/fuzz_text.c).
 */

/* -?digits or +digits; false: not an integer, or outside int64. Leading zeros are fine. */
bool text_int(struct str s, int64_t *out);
bool text_int_plain(struct str s, int64_t *out);
/* [+-]digits[.digits][e[+-]digits], also ".5" and "5.": correctly rounded; no hex, no "inf", no
 * "nan"; false too when the value overflows a double. Too small a value is 0. */
bool text_real(struct str s, double *out);
bool text_real_point(struct str s, char point, double *out); /* with another sign as the point */
bool text_real_plain(struct str s, double *out);

enum text_decimal { DECIMAL_OK, DECIMAL_SYNTAX, DECIMAL_SCALE, DECIMAL_RANGE };
/* [+-]digits[.digits], also ".5" and "5.", times 10^scale (0 to 18) as an exact integer.
 * DECIMAL_SCALE: digits other than 0 behind the scale-th place; DECIMAL_RANGE: the result has more
 * than 18 digits. `point` is '.' or ','. */
enum text_decimal text_decimal(struct str s, int scale, char point, int64_t *out);
enum text_decimal text_decimal_plain(struct str s, int scale, char point, int64_t *out);
/* The same with an exponent allowed, and for all of int64: 1.0, 1e3 and 12.50e1 are exact
 * integers. */
enum text_decimal text_number(struct str s, int scale, char point, int64_t *out);

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms"). text_date takes YYYY-MM-DD with a real day, years 0001 to 9999. */
int64_t text_days(int year, int month, int day);
void text_civil(int64_t days, int *year, int *month, int *day);
bool text_date(struct str s, int64_t *days);

/*
 * A zone for timestamps that name none, by name ("Europe/Berlin", "+02:00", "UTC"). Named ones are
 * files of the system's time zone database ($TZDIR or /usr/share/zoneinfo); the process's TZ is not
 * looked at.
 */
struct zone;
/* Load a zone into this process for good, so that zone_open() of the same name finds it without a
 * file, also in children made by fork and behind a sandbox. Configuration calls it for each zone it
 * names. Safe from any thread. false: as below. */
bool zone_preload(const char *name);
struct zone *
zone_open(const char *name);     /* NULL: unknown name, unreadable or damaged file, or no memory */
void zone_close(struct zone *z); /* NULL is fine */
/* Local civil time (seconds as if UTC) to UTC seconds. A time that the clock showed twice takes the
 * first; one that it skipped is false. */
bool zone_to_utc(const struct zone *z, int64_t local, int64_t *utc);
/* The same, and for a time that the clock skipped the moment at which it jumped over it. Never runs backwards. */
int64_t zone_to_utc_at_once(const struct zone *z, int64_t local);
/* What the clock shows (seconds as if UTC) at that moment (UTC seconds). */
int64_t zone_to_local(const struct zone *z, int64_t utc);

/* ISO 8601 / RFC 3339: YYYY-MM-DD[T| ]HH:MM[:SS[.f{1,9}]][Z|+HH:MM|+HHMM|+HH]; also a date alone
 * (midnight). Out: microseconds since 1970 UTC; digits behind the sixth must be 0. zone may be NULL
 * (UTC). Second 60 is refused, and so is a time whose UTC year is not 0001 to 9999. */
bool text_timestamp(struct str s, const struct zone *zone, int64_t *us);
/*
 * By a format of strptime-like parts and literal text:
 *     %Y four digits · %y two (69 to 99 are 19xx) · %m %d %H %I %M %S one or two · %e the same, a
 * space in front allowed · %j day of the year %b %B %a %A English names, whole or three letters
 * (the weekday is not checked) · %f one to nine digits of a fraction · %p AM or PM %z Z, +HH:MM,
 * +HHMM, +HH · %Z UTC, GMT, Z · %s seconds and %Q milliseconds since 1970 · %n spaces and tabs,
 * also none · %% A missing month or day is 1, a missing time midnight. An offset in the text goes
 * before zone.
 */
bool text_timestamp_fmt(struct str s, const char *fmt, const struct zone *zone, int64_t *us);
bool text_date_fmt(struct str s, const char *fmt,
                   int64_t *days); /* the day as written: an offset does not move it */
/* Does fmt have only parts from the list above, a year (or %s, %Q), and %I only together with %p?
 * On false *bad is the offending part; where the year is missing, it is the end of fmt. */
bool text_fmt_valid(const char *fmt, const char **bad);

int text_hex(char c); /* the value of a hexadecimal digit, of either case; -1: it is none */
/* %XX undone (RFC 3986, 2.1); a '%' without two such digits stands as it is. The length, at most s.n; a NUL is written behind it. */
size_t text_percent_decode(struct str s, char *out);

/* The text_put functions give the length and write no NUL, but for text_put_rfc3339. */

/* "YYYY-MM-DD HH:MM:SS[.ffffff]" (trailing zeros of the fraction dropped), no zone; returns length,
 * at most 26. */
int text_put_timestamp(char *out, int64_t us, char between); /* between: ' ' or 'T' */
int text_put_date(char *out, int64_t days);                  /* "YYYY-MM-DD", 10 */
int text_put_int(char *out, int64_t v);                      /* at most 20 */
int text_put_decimal(char *out, int64_t v, int scale);
int text_put_real(char *out, double v); /* finite; shortest text that reads back as v; at most 24 */
int64_t
text_rfc3339_ms(struct str s); /* RFC 3339 (with its offset) to ms since 1970, INT64_MIN: not one */
/* The same of an HTTP date (RFC 9110, 5.6.7, the first form) or of RFC 3339, as places show times of objects; 0: neither. */
int64_t text_shown_ms(struct str s);
int text_put_rfc3339(char *out, int64_t ms); /* "2026-11-21T04:30:00.123Z" and NUL behind the 24 */

/* "10s", "5m", "2h", "1d", "250ms", "1m30s" (greater units first); a bare number is seconds. false:
 * not a duration. */
bool text_duration(struct str s, int64_t *ms);
/* "64K", "10M", "2G", "1T" (powers of 1024, B or iB may follow, any case); a bare number is bytes.
 */
bool text_size(struct str s, int64_t *bytes);
void text_put_duration(char *out, size_t cap, int64_t ms); /* "1m30s", for people */
void text_put_size(char *out, size_t cap, int64_t bytes);  /* "1.5 GiB", for people */

/* Length of the longest prefix of s that is whole, valid UTF-8 (Unicode 15, table 3-7: no
 * surrogates, no overlong forms). s.n when all is valid. Fast on ASCII, with AVX2 on all valid text. */
size_t text_utf8_valid(struct str s);
size_t text_utf8_valid_plain(struct str s);
/* Length of the well-formed sequence at the front of the n bytes at p (n > 0), or 0. */
size_t text_utf8_one(const unsigned char *p, size_t n);

/* Does name match the glob? * ? [a-z] [!x] and {a,b}, \ before a sign takes it as it is; none but
 * ** crosses '/', and "**" with a '/' behind it also stands for no folder at all. Characters are
 * UTF-8 (a stray byte is one). Time at most length of glob times length of name; a glob of
 * TEXT_GLOB_MAX bytes or more matches nothing. */
enum { TEXT_GLOB_MAX = 4096 };
bool text_glob(const char *glob, struct str name);
/* Are they the same, whatever the numbers in them? */
bool text_same_but_numbers(const char *a, const char *b);
/* The next glob of a list with commas between, maybe an empty one; *list moves behind it. */
bool text_globs_next(const char **list, struct str *glob);

/* Is a part of the path between its slashes "." or ".."? */
bool text_has_dots(struct str path);

/* Edit distance (two swapped letters are one step), for "did you mean": at most cap. */
int text_distance(const char *a, const char *b, int cap);

#endif
