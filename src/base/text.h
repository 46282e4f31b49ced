/*
 * Text to numbers, dates and times, and back: strict, without locale, without memory. A parser takes the
 * whole slice or refuses it; no white space is skipped (callers trim).
 */
#ifndef QETL_BASE_TEXT_H
#define QETL_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* -?digits or +digits; false: not an integer, or outside int64. Leading zeros are fine. */
bool text_int(struct str s, int64_t *out);
/* Decimal or scientific notation, correctly rounded; no hex, no "inf", no "nan"; false too when the value
 * overflows a double. */
bool text_real(struct str s, double *out);

enum text_decimal { DECIMAL_OK, DECIMAL_SYNTAX, DECIMAL_SCALE, DECIMAL_RANGE };
/* [+-]digits[.digits] times 10^scale as an exact integer. DECIMAL_SCALE: digits other than 0 behind the
 * scale-th place; DECIMAL_RANGE: more than 18 digits. `point` is '.' or ','. */
enum text_decimal text_decimal(struct str s, int scale, char point, int64_t *out);

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms"). text_date takes YYYY-MM-DD with a real day, years 0001 to 9999. */
int64_t text_days(int year, int month, int day);
void text_civil(int64_t days, int *year, int *month, int *day);
bool text_date(struct str s, int64_t *days);

/* A zone for timestamps that name none. {0} is UTC. Opened by name ("Europe/Berlin", "+02:00", "UTC"). */
struct zone;
struct zone *zone_open(const char *name); /* NULL: unknown name, or no memory */
void zone_close(struct zone *z);
/* Local civil time (seconds as if UTC) to UTC seconds. A time that the clock showed twice takes the first;
 * one that it skipped is false. */
bool zone_to_utc(const struct zone *z, int64_t local, int64_t *utc);

/* ISO 8601 / RFC 3339: YYYY-MM-DD[T| ]HH:MM[:SS[.f{1,9}]][Z|+HH:MM|+HHMM|+HH]; also a date alone (midnight).
 * Out: microseconds since 1970 UTC; digits behind the sixth must be 0. zone may be NULL (UTC). Second 60 is
 * refused. */
bool text_timestamp(struct str s, const struct zone *zone, int64_t *us);
/* By a format of strptime-like parts: %Y %m %d %e %H %I %M %S %f(fraction) %p %y %b %B %a %A(names in English) %j
 * %z %Z(UTC/GMT/Z) %s(epoch seconds) %Q(epoch ms) %n(white space) %% and literal text. */
bool text_timestamp_fmt(struct str s, const char *fmt, const struct zone *zone, int64_t *us);
/* Does fmt have only parts from the list above? On false *bad is the offending part. */
bool text_fmt_valid(const char *fmt, const char **bad);

/* "YYYY-MM-DD HH:MM:SS[.ffffff]" (trailing zeros of the fraction dropped), no zone; returns length, at most 26. */
int text_put_timestamp(char *out, int64_t us, char between); /* between: ' ' or 'T' */
int text_put_date(char *out, int64_t days); /* "YYYY-MM-DD", 10 */
int text_put_int(char *out, int64_t v);     /* at most 20 */
int text_put_decimal(char *out, int64_t v, int scale);
int text_put_real(char *out, double v);     /* shortest text that reads back as v; at most 24 */
int64_t text_rfc3339_ms(struct str s);      /* RFC 3339 to ms since 1970, INT64_MIN: not one */
int text_put_rfc3339(char *out, int64_t ms); /* "2026-11-21T04:30:00.123Z" and NUL, 24 */

/* "10s", "5m", "2h", "1d", "250ms", "1m30s"; a bare number is seconds. false: not a duration. */
bool text_duration(struct str s, int64_t *ms);
/* "64K", "10M", "2G", "1T" (powers of 1024, B or iB may follow); a bare number is bytes. */
bool text_size(struct str s, int64_t *bytes);
void text_put_duration(char *out, size_t cap, int64_t ms); /* "1m30s", for people */
void text_put_size(char *out, size_t cap, int64_t bytes);  /* "1.5 GiB", for people */

/* Length of the longest prefix of s that is whole, valid UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong
 * forms). s.n when all is valid. Fast on ASCII. */
size_t text_utf8_valid(struct str s);

/* Does name match the glob? * ? [a-z] [!x] and {a,b}; * does not cross '/', ** does. No backtracking blow-up. */
bool text_glob(const char *glob, struct str name);

/* Edit distance, for "did you mean": at most cap. */
int text_distance(const char *a, const char *b, int cap);

#endif
