/*
 * Cron fields as sets of bits; the next slot is looked for day by day in local time. For times of a day each local minute has one moment
 * in UTC (zone_to_utc_at_once), which never runs backwards; for distances each minute of UTC has one of the clock. So over changes of the
 * clock no slot is lost and none comes that was before.
 */
#include "base/cron.h"

#include <strings.h>

#include "base/text.h"

enum { DAY = 86400, SEARCH_DAYS = 9 * 366 /* from one February 29 to the next it is at most 8 years */ };

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const day_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

static const struct field {
    int min, max;
    const char *const *names; /* the first is value `min` */
    const char *why;
} fields[] = {
    { 0, 59, NULL, "the minute is not made of 0 to 59" },
    { 0, 23, NULL, "the hour is not made of 0 to 23" },
    { 1, 31, NULL, "the day of the month is not made of 1 to 31" },
    { 1, 12, month_names, "the month is not made of 1 to 12 or jan to dec" },
    { 0, 7, day_names, "the day of the week is not made of 0 to 7 or sun to sat" },
};
enum { FIELDS = COUNT_OF(fields) };

static const struct {
    const char *name, *text;
} macros[] = {
    { "@hourly", "0 * * * *" },  { "@daily", "0 0 * * *" },  { "@midnight", "0 0 * * *" }, { "@weekly", "0 0 * * 0" },
    { "@monthly", "0 0 1 * *" }, { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" },
};

static bool take_value(const struct field *f, const char **p, int *out)
{
    for (int i = 0; f->names && f->names[i]; i++)
        if (!strncasecmp(*p, f->names[i], 3)) {
            *p += 3;
            *out = f->min + i;
            return true;
        }
    int v = 0, digits = 0;
    for (; **p >= '0' && **p <= '9' && digits < 4; ++*p, digits++)
        v = v * 10 + (**p - '0');
    *out = v;
    return digits && v >= f->min && v <= f->max;
}

/* "*", "a", "a-b", each but the second with "/step" */
static bool take_range(const struct field *f, const char **p, uint64_t *set)
{
    int low = f->min, high = f->max, step = 1;
    bool range = **p == '*';
    if (range) {
        ++*p;
    } else {
        if (!take_value(f, p, &low))
            return false;
        high = low;
        if (**p == '-') {
            range = true;
            ++*p;
            if (!take_value(f, p, &high))
                return false;
            if (f->max == 7 && high == 0 && low > 0) /* fri-sun */
                high = 7;
        }
    }
    if (**p == '/') {
        ++*p;
        if (!range || !take_value(&(struct field){ 1, f->max, NULL, NULL }, p, &step))
            return false;
    }
    for (int v = low; v <= high; v += step)
        *set |= 1ULL << v;
    return low <= high;
}

static bool take_field(const struct field *f, const char **p, uint64_t *set)
{
    *set = 0;
    do {
        if (!take_range(f, p, set))
            return false;
    } while (**p == ',' && *++*p);
    return !**p || **p == ' ' || **p == '\t';
}

bool cron_parse(struct cron *c, const char *text, const char **why)
{
    for (size_t i = 0; text[0] == '@' && i < COUNT_OF(macros); i++)
        if (!strcasecmp(text, macros[i].name))
            text = macros[i].text;
    *why = "there is @hourly, @daily, @weekly, @monthly and @yearly";
    if (text[0] == '@')
        return false;
    uint64_t sets[FIELDS];
    bool star[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        text += strspn(text, " \t");
        star[i] = *text == '*';
        *why = *text ? fields[i].why : "five fields were expected: minute hour day month weekday";
        if (!*text || !take_field(&fields[i], &text, &sets[i]))
            return false;
    }
    *why = "five fields were expected: minute hour day month weekday";
    if (text[strspn(text, " \t")])
        return false;
    *c = (struct cron){ sets[0], (uint32_t)sets[1], (uint32_t)sets[2], (uint32_t)sets[3],
                        (uint32_t)((sets[4] | sets[4] >> 7) & 0x7f), star[2], star[4], star[0] || star[1] };
    int64_t slot;
    *why = "no month has such a day";
    return cron_next(c, NULL, 0, &slot);
}

static bool day_matches(const struct cron *c, int64_t day)
{
    int y, m, d;
    text_civil(day, &y, &m, &d);
    int weekday = (int)(((day + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
    bool by_day = c->days >> d & 1, by_weekday = c->weekdays >> weekday & 1;
    if (!(c->months >> m & 1))
        return false;
    return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The first slot of that local day, from minute `from` on, that comes after `after`. */
static bool day_slot(const struct cron *c, const struct zone *z, int64_t day, int from, int64_t after, int64_t *slot)
{
    for (int m = from; m < DAY / 60; m++) {
        if (!(c->hours >> m / 60 & 1)) {
            m += 59 - m % 60;
            continue;
        }
        if (!(c->minutes >> m % 60 & 1))
            continue;
        int64_t local = day * DAY + m * 60;
        *slot = z ? zone_to_utc_at_once(z, local) : local;
        if (*slot > after)
            return true;
    }
    return false;
}

static int64_t day_of(int64_t local) { return local / DAY - (local % DAY < 0); }

/*
 * The first minute after `after` whose time on the clock matches, of those from the first moment of that local day up to that of the
 * next. A clock that is put back over midnight shows times of the day before there.
 */
static bool span_slot(const struct cron *c, const struct zone *z, int64_t day, int64_t after, int64_t *slot)
{
    int64_t at = zone_to_utc_at_once(z, day * DAY), end = zone_to_utc_at_once(z, (day + 1) * DAY);
    if (!day_matches(c, day - 1) && !day_matches(c, day))
        return false;
    for (at = at > after ? at : after + 1; at < end;) {
        int64_t local = zone_to_local(z, at), shown = day_of(local);
        int second = (int)(local - shown * DAY), m = second / 60;
        if (second % 60 == 0 && c->hours >> m / 60 & 1 && c->minutes >> m % 60 & 1 && day_matches(c, shown)) {
            *slot = at;
            return true;
        }
        at += 60 - second % 60;
    }
    return false;
}

bool cron_next(const struct cron *c, const struct zone *zone, int64_t after_ms, int64_t *slot_ms)
{
    int64_t last_day = text_days(9999, 12, 31), slot;
    int64_t after = after_ms / 1000 - (after_ms % 1000 < 0);
    int64_t local = zone ? zone_to_local(zone, after) : after;
    int64_t first = day_of(local);
    int minute = (int)((local - first * DAY) / 60);
    if (zone && c->distance)
        first--; /* a clock that is put back over midnight */
    for (int64_t day = first; day <= first + SEARCH_DAYS && day <= last_day; day++, minute = 0)
        if (zone && c->distance ? span_slot(c, zone, day, after, &slot)
                                : day_matches(c, day) && day_slot(c, zone, day, minute, after, &slot)) {
            *slot_ms = slot * 1000;
            return true;
        }
    return false;
}
