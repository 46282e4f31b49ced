/* When the slots of a schedule come: tables of fields, of next slots, and of days on which the clock jumps. */
#include "base/cron.h"

#include "base/text.h"
#include "test.h"

static int64_t ms_of(const char *utc)
{
    int64_t ms = text_rfc3339_ms(str_of(utc));
    if (ms == INT64_MIN)
        fail_msg("'%s' is no time", utc);
    return ms;
}

TEST(cron, says_what_is_wrong)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "", "five fields" },          { "* * * *", "five fields" },      { "* * * * * *", "five fields" },
        { "60 * * * *", "minute" },     { "-1 * * * *", "minute" },        { "1- * * * *", "minute" },
        { "5/2 * * * *", "minute" },    { "*/0 * * * *", "minute" },       { "9-3 * * * *", "minute" },
        { "1,,2 * * * *", "minute" },   { "1, * * * *", "minute" },        { "* 24 * * *", "hour" },
        { "* * 0 * *", "day of the month" }, { "* * 32 * *", "day of the month" }, { "* * * 13 *", "month" },
        { "* * * jam *", "month" },     { "* * * * 8", "day of the week" }, { "* * * * fri-mon", "day of the week" },
        { "0 0 30 2 *", "no month has such a day" }, { "0 0 31 4,6 *", "no month has such a day" },
        { "@reboot", "@hourly" },       { "@hourlyx", "@hourly" },         { "1x * * * *", "minute" },
        { "99999999999999999999 * * * *", "minute" },
    };
    struct cron c;
    const char *why;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (cron_parse(&c, bad[i].text, &why))
            fail_msg("'%s' was taken", bad[i].text);
        CHECK_HAS(why, bad[i].why);
    }
}

static const struct next {
    const char *cron, *zone, *after, *slots[4];
} nexts[] = {
    { "* * * * *", NULL, "2026-11-21T10:00:00Z", { "2026-11-21T10:01:00Z", "2026-11-21T10:02:00Z" } },
    { "* * * * *", NULL, "2026-11-21T10:00:59.999Z", { "2026-11-21T10:01:00Z" } },
    { "*/15 9-17 * * mon-fri", NULL, "2026-11-20T17:45:00Z", { "2026-11-23T09:00:00Z", "2026-11-23T09:15:00Z" } },
    { "0 0 1,15 * MON", NULL, "2026-11-01T00:00:00Z", { "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z", "2026-11-15T00:00:00Z" } },
    { "0 0 */10 * mon", NULL, "2026-11-01T00:00:00Z", { "2026-12-21T00:00:00Z" } }, /* a step of * is no restriction of its own */
    { "5 4 29 2 *", NULL, "2096-03-01T00:00:00Z", { "2104-02-29T04:05:00Z" } },
    { "0 12 * * fri-sun", NULL, "2026-11-20T12:00:00Z", { "2026-11-21T12:00:00Z", "2026-11-22T12:00:00Z", "2026-11-27T12:00:00Z" } },
    { "0 12 * * 7", NULL, "2026-11-20T12:00:00Z", { "2026-11-22T12:00:00Z", "2026-11-29T12:00:00Z" } },
    { "  0\t0  1 Jan * ", NULL, "2026-01-01T00:00:00Z", { "2027-01-01T00:00:00Z" } },
    { "@hourly", NULL, "1969-12-31T22:59:59.999Z", { "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z" } },
    { "@daily", "Europe/Berlin", "2026-07-01T00:00:00Z", { "2026-07-01T22:00:00Z" } },
    { "@weekly", "+02:00", "2026-11-21T00:00:00Z", { "2026-11-21T22:00:00Z" } },
    { "@monthly", NULL, "2026-12-31T23:59:00Z", { "2027-01-01T00:00:00Z" } },
    { "@annually", NULL, "2026-12-31T23:59:00Z", { "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z" } },
    /* 02:00 to 02:59 are skipped on March 29 in Berlin: at the jump's end (01:00 UTC) once, with all others of the hour */
    { "30 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", { "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z" } },
    { "*/20 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", { "2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z" } },
    { "@hourly", "Europe/Berlin", "2026-03-29T00:00:00Z", { "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z" } },
    { "30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", { "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z" } }, /* no 02:30: the distance stays */
    /* 02:00 to 02:59 come twice on October 25: of a time of the day the first one counts */
    { "30 2 * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", { "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z" } },
    { "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", { "2026-10-26T01:30:00Z" } }, /* asked in the second of the hours */
    /* and of a distance both: the day has 25 hours */
    { "@hourly", "Europe/Berlin", "2026-10-24T23:00:00Z", { "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z" } },
    { "*/10 * * * *", "Europe/Berlin", "2026-10-25T00:40:00Z", { "2026-10-25T00:50:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:10:00Z" } },
    { "*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:10:00Z",
      { "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:00:00Z" } },
    { "0 * * * sun", "America/Sao_Paulo", "2018-02-18T01:30:00Z", { "2018-02-18T03:00:00Z", "2018-02-18T04:00:00Z" } }, /* Saturday's 23:00 comes twice */
    { "0 * * * sat", "America/Sao_Paulo", "2018-02-18T00:30:00Z", { "2018-02-18T01:00:00Z", "2018-02-18T02:00:00Z", "2018-02-24T03:00:00Z" } },
    { "*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", { "2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z" } },
    { "0 * * * *", "Pacific/Apia", "2011-12-30T09:00:00Z", { "2011-12-30T10:00:00Z", "2011-12-30T11:00:00Z" } },
    { "*/5 9 29 2 *", "Europe/Berlin", "2096-03-01T00:00:00Z", { "2104-02-29T08:00:00Z", "2104-02-29T08:05:00Z" } },
    { "0 2 * * *", "Australia/Lord_Howe", "2026-10-02T00:00:00Z", { "2026-10-02T15:30:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:00:00Z" } }, /* jumps by half an hour at 2 */
    { "0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", { "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z" } }, /* a day that was not */
    { "0 9 * * *", "Europe/Berlin", "2826-07-01T00:00:00Z", { "2826-07-01T07:00:00Z" } },
};

TEST(cron, finds_the_next_slots)
{
    for (size_t i = 0; i < COUNT_OF(nexts); i++) {
        const struct next *n = &nexts[i];
        struct zone *z = n->zone ? zone_open(n->zone) : NULL;
        struct cron c;
        const char *why;
        if ((n->zone && !z) || !cron_parse(&c, n->cron, &why))
            fail_msg("'%s' in %s", n->cron, n->zone ? n->zone : "UTC");
        int64_t at = ms_of(n->after);
        for (int k = 0; k < 4 && n->slots[k]; k++) {
            char text[32] = "none";
            if (cron_next(&c, z, at, &at))
                text_put_rfc3339(text, at);
            if (at != ms_of(n->slots[k]))
                fail_msg("'%s' in %s after %s: slot %d is %s, not %s", n->cron, n->zone ? n->zone : "UTC", n->after, k + 1, text,
                         n->slots[k]);
        }
        zone_close(z);
    }
}

/* Whatever the moment it is asked at, the next slot is the same one: nothing is left out and nothing comes twice. */
TEST(cron, does_not_depend_on_when_it_is_asked)
{
    static const char *const zones[] = { "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "+05:30" };
    struct cron c;
    const char *why;
    for (size_t i = 0; i < 2 * COUNT_OF(zones); i++) {
        struct zone *z = zone_open(zones[i / 2]);
        CHECK(z && cron_parse(&c, i % 2 ? "*/7 1-3 * * *" : "0,7,14,21,30,59 1-3 * * *", &why));
        int64_t slot = ms_of("2026-01-01T00:00:00Z"), end = ms_of("2027-01-01T00:00:00Z"), next, again;
        while (slot < end) {
            CHECK(cron_next(&c, z, slot, &next));
            CHECK(next > slot);
            CHECK(cron_next(&c, z, next - 1, &again));
            CHECK_EQ(again, next);
            CHECK(cron_next(&c, z, slot + (next - slot) / 2, &again));
            CHECK_EQ(again, next);
            slot = next;
        }
        zone_close(z);
    }
}

/* By distance: each hour of the year is one slot, whatever the clock does. */
TEST(cron, loses_no_hour)
{
    static const char *const zones[] = { "Europe/Berlin", "America/New_York", "Africa/Casablanca", "America/Sao_Paulo" };
    struct cron c;
    const char *why;
    CHECK(cron_parse(&c, "@hourly", &why));
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        struct zone *z = zone_open(zones[i]);
        CHECK(z);
        int64_t slot = ms_of("2018-01-01T00:00:00Z"), end = ms_of("2019-01-01T00:00:00Z"), next;
        for (; slot < end; slot = next) {
            CHECK(cron_next(&c, z, slot, &next));
            CHECK_EQ(next, slot + 3600000);
        }
        zone_close(z);
    }
}

TEST(cron, ends_with_the_calendar)
{
    struct cron c;
    const char *why;
    int64_t slot;
    CHECK(cron_parse(&c, "@yearly", &why));
    CHECK(cron_next(&c, NULL, ms_of("9998-12-31T00:00:00Z"), &slot));
    CHECK(!cron_next(&c, NULL, slot, &slot));
}
