/*
 * Time zones from the system's TZif files (RFC 8536), without the process's TZ: several pipelines
 * have several zones.
 *
 * A zone is one table of segments, each with its start in UTC and its offset, sorted. What the file
 * gives as a rule for the time behind its last transition (a POSIX TZ string) is spelled out for
 * 400 years, after which the Gregorian calendar repeats itself to the weekday, so that one binary
 * search answers for every year.
 *
 * The reader child cannot open files. Its parent calls zone_preload() for each zone in the
 * configuration before the fork; the zones stay in memory of the process for good, and zone_open()
 * finds them there first.
 */
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ZONE_DIR                                                                                   \
    "/usr/share/zoneinfo" /* where glibc looks too; TZDIR in the environment moves both */

enum { ZONE_FILE_MAX = 256 * 1024, DAY = 86400 };
static const int64_t cycle = 146097LL * DAY; /* 400 years in seconds */

struct segment {
    int64_t start;  /* UTC */
    int32_t offset; /* seconds east */
};

struct zone {
    struct segment *v;
    size_t n, cap;
    int64_t repeat_from; /* UTC; from here on 400 years repeat; INT64_MAX: no */
    atomic_int refs;
    struct zone *next; /* preloaded ones */
    char name[64];
};

/* ---- the rule of a POSIX TZ string, as "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

struct rule_day {
    char kind; /* 'M' month.week.day, 'J' 1 to 365 without February 29, 'n' 0 to 365 */
    int month, week, day;
    int64_t
        time; /* seconds behind local midnight, may be negative or beyond a day (RFC 8536, 3.3.1) */
};

struct rule {
    int64_t standard, summer; /* seconds east */
    bool has_summer;
    struct rule_day begin, end;
};

static bool take_name(const char **p)
{
    const char *s = *p;
    if (*s == '<') {
        while (*s && *s != '>')
            s++;
        if (!*s)
            return false;
        *p = s + 1;
        return true;
    }
    while ((*s | 32) >= 'a' && (*s | 32) <= 'z')
        s++;
    bool ok = s - *p >= 3;
    *p = s;
    return ok;
}

static bool take_int(const char **p, int max, int *out)
{
    int v = 0, n = 0;
    for (; **p >= '0' && **p <= '9' && n < 4; ++*p, n++)
        v = v * 10 + (**p - '0');
    *out = v;
    return n && v <= max;
}

/* [+-]h[h[h]][:mm[:ss]] */
static bool take_time(const char **p, int64_t *out)
{
    int hours, minutes = 0, seconds = 0;
    bool minus = **p == '-';
    *p += **p == '-' || **p == '+';
    if (!take_int(p, 167, &hours))
        return false;
    if (**p == ':' && (++*p, !take_int(p, 59, &minutes)))
        return false;
    if (**p == ':' && (++*p, !take_int(p, 59, &seconds)))
        return false;
    int64_t v = hours * 3600 + minutes * 60 + seconds;
    *out = minus ? -v : v;
    return true;
}

static bool take_day(const char **p, struct rule_day *d)
{
    if (*(*p)++ != ',')
        return false;
    bool ok;
    if (**p == 'M') {
        ++*p;
        d->kind = 'M';
        ok = take_int(p, 12, &d->month) && *(*p)++ == '.' && take_int(p, 5, &d->week) &&
             *(*p)++ == '.' && take_int(p, 6, &d->day) && d->month && d->week;
    } else if (**p == 'J') {
        ++*p;
        d->kind = 'J';
        ok = take_int(p, 365, &d->day) && d->day;
    } else {
        d->kind = 'n';
        ok = take_int(p, 365, &d->day);
    }
    d->time = 7200;
    return ok && (**p != '/' || (++*p, take_time(p, &d->time)));
}

static bool parse_rule(const char *p, struct rule *r)
{
    int64_t west;
    if (!take_name(&p) || !take_time(&p, &west))
        return false;
    r->standard = r->summer = -west;
    r->has_summer = *p != '\0';
    if (!r->has_summer)
        return true;
    r->summer = r->standard + 3600;
    if (!take_name(&p))
        return false;
    if (*p && *p != ',') {
        if (!take_time(&p, &west))
            return false;
        r->summer = -west;
    }
    return take_day(&p, &r->begin) && take_day(&p, &r->end) && !*p;
}

/* Local seconds (as if UTC) at which the rule's day and time come in that year. */
static int64_t rule_local(const struct rule_day *d, int year)
{
    int64_t first = text_days(year, 1, 1);
    bool leap = text_days(year + 1, 1, 1) - first == 366;
    int64_t day;
    if (d->kind == 'J') {
        day = first + d->day - 1 + (leap && d->day > 59);
    } else if (d->kind == 'n') {
        day = first + d->day;
    } else {
        int64_t month = text_days(year, d->month, 1);
        int64_t weekday = ((month + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
        day = month + (d->day - weekday + 7) % 7 + (d->week - 1) * 7;
        int64_t after =
            d->month == 12 ? text_days(year + 1, 1, 1) : text_days(year, d->month + 1, 1);
        while (day >= after) /* week 5 is the last one */
            day -= 7;
    }
    return day * DAY + d->time;
}

/* ---- segments ---- */

static bool add_segment(struct zone *z, int64_t start, int64_t offset)
{
    if (z->n && z->v[z->n - 1].offset == offset)
        return true;
    if (z->n && start <= z->v[z->n - 1].start)
        return false;
    if (z->n == z->cap) {
        size_t cap = z->cap ? z->cap * 2 : 64;
        struct segment *v = realloc(z->v, cap * sizeof *v);
        if (!v)
            return false;
        z->v = v;
        z->cap = cap;
    }
    z->v[z->n++] = (struct segment){ start, (int32_t)offset };
    return true;
}

/* The rule's segments from the last transition on, for 400 years and a bit. */
static bool add_rule(struct zone *z, const struct rule *r, int64_t from)
{
    if (!r->has_summer)
        return add_segment(z, from, r->standard);
    int year = 1900, month, day;
    if (from > text_days(year, 1, 1) * DAY) /* else the file has no transitions */
        text_civil(from / DAY - (from % DAY < 0), &year, &month, &day);
    for (int y = year; y <= year + 402; y++) {
        struct segment s[2] = { { rule_local(&r->begin, y) - r->standard, (int32_t)r->summer },
                                { rule_local(&r->end, y) - r->summer, (int32_t)r->standard } };
        int first = s[0].start > s[1].start; /* south of the equator summer ends first */
        for (int i = 0; i < 2; i++) {
            const struct segment *next = &s[first ^ i];
            if (next->start > from && !add_segment(z, next->start, next->offset))
                return false;
        }
    }
    z->repeat_from = rule_local(&r->begin, year + 1);
    return true;
}

/* ---- TZif ---- */

static int64_t big_endian(const unsigned char *p, int n)
{
    uint64_t v = (p[0] & 0x80) ? UINT64_MAX : 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

struct tzif {
    const unsigned char *times, *types, *infos; /* transition times, their types, ttinfo entries */
    int64_t ntimes, ntypes, size;
    bool leap_seconds;
};

/* One header and its data block; `width` of a time is 4 or 8 bytes. false: damaged. */
static bool tzif_block(const unsigned char *p, size_t n, int width, struct tzif *t)
{
    if (n < 44 || memcmp(p, "TZif", 4) != 0)
        return false;
    int64_t count[6]; /* isut, isstd, leap, time, type, char */
    for (int i = 0; i < 6; i++)
        if ((count[i] = big_endian(p + 20 + 4 * i, 4)) < 0 || count[i] > 100000)
            return false;
    t->ntimes = count[3];
    t->ntypes = count[4];
    t->leap_seconds = count[2] != 0;
    t->times = p + 44;
    t->types = t->times + t->ntimes * width;
    t->infos = t->types + t->ntimes;
    t->size = 44 + t->ntimes * (width + 1) + t->ntypes * 6 + count[5] + count[2] * (width + 4) +
              count[1] + count[0];
    return t->ntypes > 0 && t->size <= (int64_t)n;
}

static int64_t type_offset(const struct tzif *t, int64_t type)
{
    return big_endian(t->infos + 6 * type, 4);
}

static bool tzif_segments(struct zone *z, const struct tzif *t, int width)
{
    if (!add_segment(z, INT64_MIN, type_offset(t, 0)))
        return false;
    for (int64_t i = 0; i < t->ntimes; i++) {
        int64_t type = t->types[i], start = big_endian(t->times + i * width, width);
        if (type >= t->ntypes ||
            (start != INT64_MIN && !add_segment(z, start, type_offset(t, type))))
            return false;
    }
    return true;
}

static bool tzif_parse(struct zone *z, const unsigned char *p, size_t n)
{
    struct tzif t;
    if (!tzif_block(p, n, 4, &t))
        return false;
    int width = p[4] >= '2' ? 8 : 4;
    size_t at = 0;
    if (width == 8) { /* version 2 and later: the same again with 64 bits, and a rule behind it */
        at = (size_t)t.size;
        if (!tzif_block(p + at, n - at, 8, &t))
            return false;
    }
    if (t.leap_seconds ||
        !tzif_segments(z, &t, width)) /* "right/" zones count other seconds than POSIX */
        return false;
    at += (size_t)t.size;
    if (width == 4)
        return true;
    if (n - at < 2)
        return false;
    char text[128];
    size_t length = n - at - 2;
    if (p[at] != '\n' || p[n - 1] != '\n' || length >= sizeof text)
        return false;
    memcpy(text, p + at + 1, length);
    text[length] = '\0';
    if (!length) /* no rule: the last offset holds */
        return true;
    struct rule r;
    int64_t from = t.ntimes ? big_endian(t.times + (t.ntimes - 1) * width, width) : INT64_MIN / 2;
    return parse_rule(text, &r) && add_rule(z, &r, from);
}

/* Names as the tz database makes them; nothing that leaves the folder. */
static bool name_is_safe(const char *name)
{
    size_t n = strlen(name);
    return n && n < sizeof((struct zone *)0)->name && name[0] != '/' && !strstr(name, "..") &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == n;
}

/* The file's bytes, malloc'ed; NULL: not there, or not readable. */
static unsigned char *zone_file(const char *name, size_t *n)
{
    const char *dir = getenv("TZDIR");
    AUTO(buf_clear) struct buf path = { 0 };
    buf_addf(&path, "%s/%s", dir && *dir ? dir : ZONE_DIR, name);
    if (path.failed)
        return NULL;
    AUTO(fd_closep) int fd = open(path.p, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > ZONE_FILE_MAX)
        return NULL;
    unsigned char *bytes = malloc((size_t)st.st_size + 1);
    size_t got = 0;
    while (bytes && got < (size_t)st.st_size) {
        ssize_t r = read(fd, bytes + got, (size_t)st.st_size - got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    *n = got;
    return bytes;
}

/* "+02:00", "-0330", "+02", "UTC", "GMT", "Z" */
static bool fixed_offset(const char *name, int64_t *seconds)
{
    if (!strcmp(name, "UTC") || !strcmp(name, "GMT") || !strcmp(name, "Z")) {
        *seconds = 0;
        return true;
    }
    if (name[0] != '+' && name[0] != '-')
        return false;
    AUTO(buf_clear) struct buf b = { 0 }; /* an offset is what a timestamp at 1970 says */
    buf_addf(&b, "1970-01-02T00:00%s", name);
    int64_t us;
    if (b.failed || !text_timestamp(buf_str(&b), NULL, &us))
        return false;
    *seconds = DAY - us / 1000000;
    return true;
}

static struct zone *zone_load(const char *name)
{
    if (!name_is_safe(name) && name[0] != '+' && name[0] != '-')
        return NULL;
    struct zone *z = calloc(1, sizeof *z);
    if (!z)
        return NULL;
    snprintf(z->name, sizeof z->name, "%s", name);
    z->repeat_from = INT64_MAX;
    atomic_init(&z->refs, 1);
    int64_t offset;
    bool ok;
    if (fixed_offset(name, &offset)) {
        ok = add_segment(z, INT64_MIN, offset);
    } else {
        size_t n = 0;
        unsigned char *bytes = name_is_safe(name) ? zone_file(name, &n) : NULL;
        ok = bytes && tzif_parse(z, bytes, n);
        free(bytes);
    }
    if (ok)
        return z;
    zone_close(z);
    return NULL;
}

/* ---- the zones of this process ---- */

static pthread_mutex_t preloaded_lock = PTHREAD_MUTEX_INITIALIZER;
static struct zone *preloaded;

static struct zone *zone_find(const char *name)
{
    for (struct zone *z = preloaded; z; z = z->next)
        if (!strcmp(z->name, name))
            return z;
    return NULL;
}

bool zone_preload(const char *name)
{
    pthread_mutex_lock(&preloaded_lock);
    struct zone *z = zone_find(name);
    if (!z && (z = zone_load(name))) {
        z->next = preloaded;
        preloaded = z;
    }
    pthread_mutex_unlock(&preloaded_lock);
    return z != NULL;
}

struct zone *zone_open(const char *name)
{
    pthread_mutex_lock(&preloaded_lock);
    struct zone *z = zone_find(name);
    if (z)
        atomic_fetch_add(&z->refs, 1);
    pthread_mutex_unlock(&preloaded_lock);
    return z ? z : zone_load(name);
}

void zone_close(struct zone *z)
{
    if (!z || atomic_fetch_sub(&z->refs, 1) > 1)
        return;
    free(z->v);
    free(z);
}

/* ---- local to UTC ---- */

/* The last segment that starts at or before utc. */
static size_t segment_at(const struct zone *z, int64_t utc)
{
    size_t low = 0, high = z->n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (z->v[middle].start <= utc)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Whole 400 years that a time lies behind the first ones that the table spells out. */
static int64_t repeats(const struct zone *z, int64_t seconds)
{
    return z->repeat_from != INT64_MAX && seconds >= z->repeat_from + cycle ? (seconds - z->repeat_from) / cycle * cycle : 0;
}

/* zone_to_utc(); where it says no, *utc is the jump. */
static bool to_utc(const struct zone *z, int64_t local, int64_t *utc)
{
    int64_t shift = repeats(z, local);
    local -= shift;
    /* offsets are below 26 hours: the first segment that this clock time fits into gives the
     * earlier of two */
    for (size_t i = segment_at(z, local - 26 * 3600);
         i < z->n && z->v[i].start <= local + 26 * 3600; i++) {
        int64_t at = local - z->v[i].offset;
        bool begun = at >= z->v[i].start;
        if (begun && (i + 1 == z->n || at < z->v[i + 1].start)) {
            *utc = at + shift;
            return true;
        }
        if (!begun) {
            *utc = z->v[i].start + shift;
            return false;
        }
    }
    *utc = local + shift; /* no table of zones comes here */
    return false;
}

bool zone_to_utc(const struct zone *z, int64_t local, int64_t *utc)
{
    int64_t at;
    if (!to_utc(z, local, &at))
        return false;
    *utc = at;
    return true;
}

int64_t zone_to_utc_at_once(const struct zone *z, int64_t local)
{
    int64_t at;
    (void)to_utc(z, local, &at);
    return at;
}

int64_t zone_to_local(const struct zone *z, int64_t utc)
{
    return utc + z->v[segment_at(z, utc - repeats(z, utc))].offset;
}
