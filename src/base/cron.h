/*
 * When something is due by the clock on the wall: the five fields of crontab(5), in UTC or a named zone.
 *
 * A slot is a minute that the fields name. What that is where the zone puts the clock forward or back depends on the fields, as for cron(8)
 * of Vixie: one whose minute or hour begins with * (every hour, every ten minutes) means a distance in time, so it goes by what the clock
 * shows: in an hour that comes twice its slots come twice, in one that is skipped there are none. Any other names times of a day, each
 * of which comes once: one that comes twice is the first of the two, and one that is skipped comes at the end of the jump, together with
 * all others of that jump.
 */
#ifndef QETL_BASE_CRON_H
#define QETL_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

struct zone;

struct cron {
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* bit n is value n; weekdays: Sunday is 0 */
    bool any_day, any_weekday;              /* that field begins with *: the other one alone decides */
    bool distance;                          /* the minute or the hour begins with * */
};

/*
 * Read "minute hour day month weekday": numbers, names (jan, mon; any case), ranges a-b, lists with commas, * and steps of
 * a range or of * ("0-30/10"; of a star as well); Sunday is 0 or 7. When both day and weekday are restricted either is enough, as in
 * crontab(5). Also @hourly, @daily (@midnight), @weekly, @monthly, @yearly (@annually).
 * false: *why says what is wrong; also for fields that no date has, such as February 30.
 */
bool cron_parse(struct cron *c, const char *text, const char **why);

/* The first slot after after_ms (ms since 1970 UTC) into *slot_ms. zone NULL: UTC. false: none before the year 10000. */
bool cron_next(const struct cron *c, const struct zone *zone, int64_t after_ms, int64_t *slot_ms);

#endif
