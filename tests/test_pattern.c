/* What a source with dates, globs and names lists, and what it matches. */
#include "io/pattern.h"

#include "base/text.h"
#include "test.h"

static int64_t ms_of(const char *utc)
{
    return text_rfc3339_ms(str_of(utc));
}

static struct pattern *parsed(const char *source)
{
    struct pattern *p;
    struct err err;
    CHECK_OK(pattern_parse(&p, source, 0, &err), err);
    return p;
}

/* 1, 0: does it match; the first captures as "a|b" in out. */
static int matches(const char *source, struct str path, char *out, size_t cap)
{
    struct pattern *p = parsed(source);
    struct globs g;
    struct glob_work w = { 0 };
    struct str c[PATTERN_CAPTURES] = { 0 };
    struct err err;
    int64_t covered;
    CHECK_OK(pattern_globs(p, NULL, 0, 0, &g, &covered, &err), err);
    CHECK_EQ(g.n, 1);
    int rc = glob_match(&g.v[0], &w, path, c);
    if (out) {
        *out = 0;
        for (int i = 0; rc == 1 && i < pattern_captures(p); i++) {
            size_t n = strlen(out);
            snprintf(out + n, cap - n, "%s%s=%.*s", i ? "|" : "", pattern_capture_name(p, i), (int)c[i].n, c[i].p);
        }
    }
    glob_work_clear(&w);
    globs_clear(&g);
    pattern_free(p);
    return rc;
}

TEST(pattern, matches_names_and_takes_their_parts)
{
    static const struct {
        const char *source, *path;
        int match;
        const char *captures;
    } cases[] = {
        { "/in/a.csv", "/in/a.csv", 1, "" },
        { "/in/a.csv", "/in/a.csvx", 0, "" },
        { "/in/a.csv", "/in/a.cs", 0, "" },
        { "/in/*.csv", "/in/a.csv", 1, "" },
        { "/in/*.csv", "/in/.csv", 1, "" },
        { "/in/*.csv", "/in/x/a.csv", 0, "" },
        { "/in/?.csv", "/in/a.csv", 1, "" },
        { "/in/?.csv", "/in/\xc3\xa9.csv", 1, "" },
        { "/in/?.csv", "/in/\xe9.csv", 1, "" },
        { "/in/?.csv", "/in//.csv", 0, "" },
        { "/in/[a-c]?[!x].csv", "/in/b-z.csv", 1, "" },
        { "/in/[a-c]?[!x].csv", "/in/b-x.csv", 0, "" },
        { "/in/[!a].csv", "/in/\xc3\xa9.csv", 1, "" },
        { "/in/[]a].csv", "/in/].csv", 1, "" },
        { "/in/**.csv", "/in/x/y/a.csv", 1, "" },
        { "/in/**/a.csv", "/in/a.csv", 1, "" },
        { "/in/**/a.csv", "/in/x/y/a.csv", 1, "" },
        { "/in/**/a.csv", "/in/x/ya.csv", 0, "" },
        { "/in/*/x/*.csv", "/in/q/x/1.csv", 1, "" },
        { "/in/*/x/*.csv", "/in/q/y/1.csv", 0, "" },
        { "/in/\\*\\{.csv", "/in/*{.csv", 1, "" },
        { "/in/{{a}.csv", "/in/{a}.csv", 1, "" },
        { "/in/{day}-{region:[a-z]*}.csv", "/in/2026-01-north.csv", 1, "day=2026-01|region=north" },
        { "/in/{day}-{region:[a-z]*}.csv", "/in/-north.csv", 0, "" },
        { "/in/{rest:**}.csv", "/in/a/b.c.csv", 1, "rest=a/b.c" },
        { "/in/{a}{b}.csv", "/in/xyz.csv", 1, "a=xy|b=z" },
        { "/in/a b'\"%20.csv", "/in/a b'\"%20.csv", 1, "" },
        { "/in/{x}.csv", "/in/a\nb.csv", 1, "x=a\nb" },
        { "file:///in/a%20%2A{x}.csv", "/in/a *1.csv", 1, "x=1" },
        { "file:///in/a%20%2A{x}.csv", "/in/a b1.csv", 0, "" },
        { "sftp://h:22/in/%7b{x}", "/in/{1", 1, "x=1" },
    };
    char got[200];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int rc = matches(cases[i].source, str_of(cases[i].path), got, sizeof got);
        if (rc != cases[i].match || strcmp(got, cases[i].captures))
            fail_msg("'%s' and '%s': %d '%s', not %d '%s'", cases[i].source, cases[i].path, rc, got, cases[i].match, cases[i].captures);
    }
    CHECK_EQ(matches("/in/?x", (struct str){ "/in/\0x", 6 }, NULL, 0), 1);
}

/* Without the memory of what was tried this would take longer than the universe has. */
TEST(pattern, no_name_is_expensive)
{
    char name[2000];
    memset(name, 'a', sizeof name);
    memcpy(name, "/in/", 4);
    name[sizeof name - 1] = 'b';
    CHECK_EQ(matches("/in/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*ac", (struct str){ name, sizeof name }, NULL, 0), 0);
    CHECK_EQ(matches("/in/**a**a**a**a**a**a**a**a**a**a**a**ab", (struct str){ name, sizeof name }, NULL, 0), 1);
}

TEST(pattern, says_what_is_wrong)
{
    static const struct {
        const char *source, *why;
    } bad[] = {
        { "in/*.csv", "begins with a slash" },       { "sftp://host", "begins with a slash" },
        { "sftp://h*/in/a", "host" },                { "/in/[a", "without its ]" },
        { "/in/[z-a]", "ranges" },                   { "/in/[\xc3\xa9]", "ASCII" },
        { "/in/{a", "behind {" },                    { "/in/{}", "behind {" },
        { "/in/{1a}", "behind {" },                  { "/in/{a:*", "without its }" },
        { "/in/{a:{b}}", "without its }" },          { "/in/{%Y", "without its }" },
        { "/in/{%Q}", "no part of a date" },         { "/in/{%}", "no part of a date" },
        { "/in/{a}{a}", "twice" },                   { "/in/a\\", "ends in" },
        { "sftp://h/in/%00", "zero byte" },          { "file:in", "begins with a slash" },
        { "/*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*?*", "stars" },
    };
    struct pattern *p;
    struct err err;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (pattern_parse(&p, bad[i].source, 0, &err) == 0)
            fail_msg("'%s' was taken", bad[i].source);
        CHECK_EQ(err.code, ERR_CONFIG);
        CHECK_HAS(err.msg, bad[i].why);
    }
}

/* The folder of the ini may be called as it likes. */
TEST(pattern, a_plain_beginning_is_no_pattern)
{
    struct pattern *p;
    struct globs g;
    struct err err;
    int64_t covered;
    CHECK_OK(pattern_parse(&p, "/etc/[x]*/{{a}/in/*.csv", sizeof "/etc/[x]*/{{a}" - 1, &err), err);
    CHECK_OK(pattern_globs(p, NULL, 0, 0, &g, &covered, &err), err);
    CHECK_SLICE(g.v[0].prefix, "/etc/[x]*/{a}/in/");
    CHECK_EQ(g.v[0].folder, g.v[0].prefix.n);
    CHECK(!g.v[0].literal && !pattern_is_literal(p));
    globs_clear(&g);
    pattern_free(p);
}

static void check_window(const char *source, const char *zone, const char *from, const char *to, const char *want)
{
    struct pattern *p = parsed(source);
    struct zone *z = zone ? zone_open(zone) : NULL;
    struct globs g;
    struct err err;
    int64_t covered;
    char got[2000] = "";
    CHECK_OK(pattern_globs(p, z, ms_of(from), ms_of(to), &g, &covered, &err), err);
    CHECK_EQ(covered, ms_of(to));
    for (int i = 0; i < g.n; i++) {
        size_t n = strlen(got);
        snprintf(got + n, sizeof got - n, "%s%.*s", i ? " " : "", (int)g.v[i].prefix.n, g.v[i].prefix.p);
    }
    CHECK_STR(got, want);
    globs_clear(&g);
    zone_close(z);
    pattern_free(p);
}

TEST(pattern, a_window_names_the_prefixes_that_are_needed)
{
    check_window("/in/{%Y/%m/%d/%H}/*.csv", NULL, "2026-12-31T22:50:00Z", "2027-01-01T01:10:00Z",
                 "/in/2026/12/31/22/ /in/2026/12/31/23/ /in/2027/01/01/00/ /in/2027/01/01/01/");
    check_window("/in/{%Y-%j}x{%y%m%d}*", NULL, "2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z", "/in/2026-059x260228 /in/2026-060x260301");
    check_window("/in/{%Y}", NULL, "2024-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "/in/2024 /in/2025 /in/2026");
    check_window("/in/{%H%M}", NULL, "2026-01-01T23:58:30Z", "2026-01-02T00:01:00Z", "/in/2358 /in/2359 /in/0000 /in/0001");
}

TEST(pattern, a_window_goes_by_the_clock_of_its_zone)
{
    /* 23:30 on the day before a day of 23 hours: no day may be left out */
    check_window("/{%d}/*", "Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-30T21:00:00Z", "/28/ /29/ /30/");
    check_window("/{%H}/*", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z", "/01/ /03/ /04/");
    check_window("/{%H}/*", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "/02/ /03/");
    check_window("/{%H}/*", "Australia/Lord_Howe", "2026-10-03T15:15:00Z", "2026-10-03T16:00:00Z", "/01/ /02/ /03/");
}

TEST(pattern, a_long_window_is_taken_in_pieces)
{
    struct pattern *p = parsed("/in/{%Y%m%d%H%M}.csv");
    struct globs g;
    struct err err;
    int64_t from = ms_of("2026-01-01T00:00:00Z"), to = from + 10000 * 60000LL, at = from;
    int total = 0, pieces = 0;
    while (at < to) {
        CHECK_OK(pattern_globs(p, NULL, at, to, &g, &at, &err), err);
        CHECK(g.n <= PATTERN_GLOBS);
        total += g.n;
        pieces++;
        globs_clear(&g);
    }
    CHECK_EQ(pieces, 3);
    CHECK_EQ(total, 10001 + pieces - 1); /* each piece begins with the end of the one before */
    CHECK_OK(pattern_globs(p, NULL, to, from, &g, &at, &err), err); /* a clock that was set back */
    CHECK_EQ(g.n, 1);
    CHECK_EQ(at, from);
    globs_clear(&g);
    pattern_free(p);
}

TEST(pattern, knows_which_folders_can_lead_to_a_match)
{
    static const struct {
        const char *source, *folder;
        int leads;
    } cases[] = {
        { "/in/*/x/*.csv", "/in/", 1 },   { "/in/*/x/*.csv", "/in/a/", 1 },  { "/in/*/x/*.csv", "/in/a/x/", 1 },
        { "/in/*/x/*.csv", "/in/a/y/", 0 }, { "/in/*/x/*.csv", "/in/a/x/b/", 0 }, { "/in/*/x/*.csv", "/", 1 },
        { "/in/*/x/*.csv", "/out/", 0 },  { "/in/**/x.csv", "/in/a/b/c/", 1 }, { "/in/*.csv", "/in/a/", 0 },
        { "/in/{a:**}.csv", "/in/a/b/", 1 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pattern *p = parsed(cases[i].source);
        struct globs g;
        struct glob_work w = { 0 };
        struct err err;
        int64_t covered;
        CHECK_OK(pattern_globs(p, NULL, 0, 0, &g, &covered, &err), err);
        if (glob_leads(&g.v[0], &w, str_of(cases[i].folder)) != cases[i].leads)
            fail_msg("'%s' and '%s'", cases[i].source, cases[i].folder);
        glob_work_clear(&w);
        globs_clear(&g);
        pattern_free(p);
    }
}
