/* Lines of FTP listings. See ftp_line.h. Pure functions of their input. */
#include "source/ftp_line.h"

#include <string.h>

#include "base/text.h"

static const int64_t minute_ms = 60000, day_ms = 86400000;

static int strange(struct str line, const char *what, struct err *err)
{
    char shown[80];
    size_t n = line.n < sizeof shown ? line.n : sizeof shown;
    for (size_t i = 0; i < n; i++)
        shown[i] = line.p[i] >= ' ' && line.p[i] < 127 ? line.p[i] : '?';
    return err_set(err, ERR_FETCH_REFUSED, "the server's listing has %s: '%.*s'", what, (int)n, shown);
}

/* Is it a name in that folder, and no way out of it? As ftp_*_line(). */
static int check_name(struct str line, struct ftp_entry *e, struct err *err)
{
    struct str s = e->name;
    if (str_eq(s, STR(".")) || str_eq(s, STR("..")))
        return 0;
    if (s.n == 0)
        return strange(line, "an entry without a name", err);
    if (memchr(s.p, '/', s.n) || memchr(s.p, '\0', s.n))
        return strange(line, "a name with a slash or a zero byte in it", err);
    return 1;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* n digits at s.p[at]; -1: they are not there. */
static int digits(struct str s, size_t at, size_t n)
{
    int v = 0;
    for (size_t i = at; i < at + n; i++) {
        if (i >= s.n || !is_digit(s.p[i]))
            return -1;
        v = v * 10 + (s.p[i] - '0');
    }
    return v;
}

static bool is_day(int year, int month, int day)
{
    static const int length[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= length[month - 1] && (month != 2 || day < 29 || leap);
}

/* ---- MLSD ---- */

/* YYYYMMDDHHMMSS, and a fraction that is left out (RFC 3659, 2.3). */
static int64_t mlsd_time(struct str s)
{
    int year = digits(s, 0, 4), month = digits(s, 4, 2), day = digits(s, 6, 2);
    int hour = digits(s, 8, 2), minute = digits(s, 10, 2), second = digits(s, 12, 2);
    if (s.n < 14 || (s.n > 14 && s.p[14] != '.') || !is_day(year, month, day) || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 60)
        return 0;
    return text_days(year, month, day) * day_ms + ((hour * 60 + minute) * 60 + second) * INT64_C(1000);
}

enum mlsd_type { TYPE_NONE, TYPE_FILE, TYPE_FOLDER, TYPE_SELF, TYPE_OTHER };

static void mlsd_fact(struct str fact, struct ftp_entry *e, enum mlsd_type *type)
{
    const char *equals = memchr(fact.p, '=', fact.n);
    if (!equals)
        return;
    struct str key = { fact.p, (size_t)(equals - fact.p) }, v = { equals + 1, fact.n - key.n - 1 };
    if (str_eq_nocase(key, STR("type")))
        *type = str_eq_nocase(v, STR("file")) ? TYPE_FILE
                : str_eq_nocase(v, STR("dir")) ? TYPE_FOLDER
                : str_eq_nocase(v, STR("cdir")) || str_eq_nocase(v, STR("pdir")) ? TYPE_SELF : TYPE_OTHER;
    else if (str_eq_nocase(key, STR("size")) && (!text_int(v, &e->size) || e->size < 0))
        e->size = -1;
    else if (str_eq_nocase(key, STR("modify")))
        e->mtime_ms = mlsd_time(v);
}

int ftp_mlsd_line(struct str line, struct ftp_entry *out, struct err *err)
{
    const char *space = memchr(line.p, ' ', line.n);
    enum mlsd_type type = TYPE_NONE;
    *out = (struct ftp_entry){ .size = -1, .step_ms = 1000 };
    if (line.n == 0)
        return 0;
    if (!space)
        return strange(line, "a line that is none of MLSD", err);
    size_t facts = (size_t)(space - line.p);
    for (size_t at = 0; at < facts;) {
        const char *end = memchr(line.p + at, ';', facts - at);
        size_t n = end ? (size_t)(end - line.p) - at : facts - at;
        mlsd_fact((struct str){ line.p + at, n }, out, &type);
        at += n + 1;
    }
    out->name = (struct str){ space + 1, line.n - facts - 1 };
    if (type == TYPE_NONE)
        return strange(line, "a line that is none of MLSD, for it says no type", err);
    if (type == TYPE_SELF)
        return 0;
    out->kind = type == TYPE_FILE ? FTP_FILE : type == TYPE_FOLDER ? FTP_FOLDER : FTP_OTHER;
    return check_name(line, out, err);
}

/* ---- LIST: words ---- */

/* The word at *at and behind the blanks there; *at is behind it then. */
static struct str word(struct str line, size_t *at)
{
    while (*at < line.n && line.p[*at] == ' ')
        ++*at;
    size_t from = *at;
    while (*at < line.n && line.p[*at] != ' ')
        ++*at;
    return (struct str){ line.p + from, *at - from };
}

static int month_of(struct str s)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    for (int m = 0; m < 12; m++)
        if (str_eq_nocase(s, (struct str){ names + 3 * m, 3 }))
            return m + 1;
    return 0;
}

/* 1..31 in one digit or two, perhaps with a point or comma behind it. */
static int day_of(struct str s)
{
    if (s.n > 1 && (s.p[s.n - 1] == '.' || s.p[s.n - 1] == ','))
        s.n--;
    int v = s.n == 1 || s.n == 2 ? digits(s, 0, s.n) : -1;
    return v >= 1 && v <= 31 ? v : 0;
}

/* HH:MM or H:MM, perhaps with :SS behind it, as minutes; -1: it is none. */
static int clock_of(struct str s)
{
    size_t colon = s.n > 1 && s.p[1] == ':' ? 1 : 2;
    if (s.n < colon + 3 || s.p[colon] != ':' || (s.n > colon + 3 && s.p[colon + 3] != ':'))
        return -1;
    int hour = digits(s, 0, colon), minute = digits(s, colon + 1, 2);
    return hour < 0 || hour > 23 || minute < 0 || minute > 59 ? -1 : hour * 60 + minute;
}

/* The newest such moment that has come; a day ahead is believed, for clocks and zones differ. */
static int64_t without_year(int month, int day, int clock, int64_t now_ms)
{
    int year, m, d;
    text_civil((now_ms + day_ms) / day_ms, &year, &m, &d);
    for (int back = 0; back <= 8; back++) { /* 29 February may be so far away */
        int64_t t = is_day(year - back, month, day) ? text_days(year - back, month, day) * day_ms + clock * minute_ms : INT64_MAX;
        if (t <= now_ms + day_ms)
            return t;
    }
    return 0;
}

static bool set_time(struct ftp_entry *e, int64_t t, int64_t step)
{
    e->mtime_ms = t > 0 ? t : 0;
    e->step_ms = step;
    return true;
}

/* ---- LIST: Unix ---- */

/* "Nov 21 05:00", "Nov 21  2025", "21 Nov 05:00" or "2026-11-21 05:00" at *at. */
static bool unix_time(struct str line, size_t *at, int64_t now_ms, struct ftp_entry *e)
{
    struct str a = word(line, at);
    if (a.n == 10 && a.p[4] == '-' && a.p[7] == '-') {
        int year = digits(a, 0, 4), month = digits(a, 5, 2), day = digits(a, 8, 2), clock = clock_of(word(line, at));
        return is_day(year, month, day) && clock >= 0 && set_time(e, text_days(year, month, day) * day_ms + clock * minute_ms, minute_ms);
    }
    struct str b = word(line, at), c = word(line, at);
    int month = month_of(a) ? month_of(a) : month_of(b), day = month_of(a) ? day_of(b) : day_of(a);
    int clock = clock_of(c), year = c.n == 4 ? digits(c, 0, 4) : -1;
    if (!month || !day)
        return false;
    if (clock >= 0)
        return set_time(e, without_year(month, day, clock, now_ms), minute_ms);
    return is_day(year, month, day) && set_time(e, text_days(year, month, day) * day_ms, day_ms);
}

/* Of "NAME -> WHERE IT LEADS". */
static struct str before_arrow(struct str name)
{
    const char *arrow = memmem(name.p, name.n, " -> ", 4);
    return arrow ? (struct str){ name.p, (size_t)(arrow - name.p) } : name;
}

/* Owners and groups can be missing, or hold blanks: the size is the first number that a time follows. */
static int unix_line(struct str line, int64_t now_ms, struct ftp_entry *e, struct err *err)
{
    char type = line.p[0];
    e->kind = type == '-' ? FTP_FILE : type == 'd' ? FTP_FOLDER : FTP_OTHER;
    size_t at = 0;
    (void)word(line, &at);
    while (at < line.n) {
        struct str size = word(line, &at);
        size_t behind = at;
        if (!size.n || !is_digit(size.p[0]) || !text_int(size, &e->size) || !unix_time(line, &behind, now_ms, e))
            continue;
        if (behind < line.n) {
            e->name = (struct str){ line.p + behind + 1, line.n - behind - 1 }; /* further blanks are the name's */
            if (type == 'l')
                e->name = before_arrow(e->name);
            return check_name(line, e, err);
        }
    }
    if (e->kind == FTP_OTHER) /* a device has no size */
        return 0;
    return strange(line, "a line that nobody understands", err);
}

/* ---- LIST: MS-DOS ---- */

/* 11-21-26 or 11-21-2026, then 05:00AM, 05:00 or "05:00 AM" */
static bool dos_time(struct str line, size_t *at, struct ftp_entry *e)
{
    struct str date = word(line, at), time = word(line, at);
    int month = digits(date, 0, 2), day = digits(date, 3, 2);
    int year = date.n == 8 ? digits(date, 6, 2) : date.n == 10 ? digits(date, 6, 4) : -1;
    size_t behind = *at;
    struct str half = time;
    if (date.n < 8 || date.p[2] != date.p[5] || !strchr("-/", date.p[2]) || time.n < 5)
        return false;
    year += date.n == 8 && year >= 0 ? (year < 70 ? 2000 : 1900) : 0;
    half = time.n == 5 ? word(line, &behind) : (struct str){ time.p + 5, time.n - 5 };
    bool am = str_eq_nocase(half, STR("AM")), pm = str_eq_nocase(half, STR("PM"));
    if (time.n == 5 && (am || pm))
        *at = behind;
    else if (time.n > 5 && !am && !pm)
        return false;
    int clock = clock_of((struct str){ time.p, 5 });
    if (clock < 0 || !is_day(year, month, day) || ((am || pm) && (clock < 60 || clock >= 13 * 60)))
        return false;
    clock = am || pm ? clock % 720 + (pm ? 720 : 0) : clock;
    return set_time(e, text_days(year, month, day) * day_ms + clock * minute_ms, minute_ms);
}

static bool dos_size(struct str s, int64_t *size)
{
    char plain[24];
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < sizeof plain; i++)
        if (s.p[i] != ',')
            plain[n++] = s.p[i];
    return n && is_digit(plain[0]) && text_int((struct str){ plain, n }, size);
}

/* Behind <DIR> stand blanks as wide as a size; behind a size stands one. */
static int dos_line(struct str line, struct ftp_entry *e, struct err *err)
{
    enum { DIR_WIDTH = 15 };
    size_t at = 0;
    if (!dos_time(line, &at, e))
        return strange(line, "a line that nobody understands", err);
    struct str size = word(line, &at);
    bool angle = size.n && size.p[0] == '<';
    if (angle) {
        e->kind = str_eq_nocase(size, STR("<DIR>")) ? FTP_FOLDER : FTP_OTHER;
        size_t blanks = size.n < DIR_WIDTH ? DIR_WIDTH - size.n : 1;
        for (; at < line.n && line.p[at] == ' ' && blanks > 0; blanks--)
            at++;
    } else if (dos_size(size, &e->size)) {
        at++;
    } else {
        return strange(line, "a line that nobody understands", err);
    }
    e->name = at < line.n ? (struct str){ line.p + at, line.n - at } : (struct str){ line.p, 0 };
    return check_name(line, e, err);
}

int ftp_list_line(struct str line, int64_t now_ms, struct ftp_entry *out, struct err *err)
{
    *out = (struct ftp_entry){ .size = -1, .step_ms = minute_ms };
    if (str_trim(line).n == 0 || (line.n >= 6 && !memcmp(line.p, "total ", 6)))
        return 0;
    if (is_digit(line.p[0]))
        return dos_line(line, out, err);
    if (line.n >= 10 && memchr("-dlbcpsDn", line.p[0], 9) && memchr("-r [", line.p[1], 4))
        return unix_line(line, now_ms, out, err);
    return strange(line, "a line that nobody understands", err);
}
