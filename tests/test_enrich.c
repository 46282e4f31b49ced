/* What enrichment is made of: templates, the cache with what may be asked, and each side of the talk between reader and worker with another
 * one that says what it should not. */
#include "test.h"
#include "cut_input.h"

#include <poll.h>
#include <sys/mman.h>

#include "base/pack.h"
#include "base/sys.h"
#include "io/answers.h"
#include "io/config.h"
#include "io/template.h"
#include "pipeline/enrich.h"
#include "pipeline/enrich_judge.h"
#include "pipeline/enrich_tally.h"
#include "role/enrich.h"

static struct err err;

/* ---- templates ---- */

static struct arena arena;

static struct template parsed(const char *text, enum template_form form)
{
    struct template t;
    static const char *const names[] = { "a", "b", "c" };
    CHECK_OK(template_parse(&t, text, form, &arena, &err), err);
    for (int i = 0; i < t.n; i++)
        for (int k = 0; k < 3; k++)
            if (t.v[i].kind == PIECE_VALUE && str_eq(t.v[i].text, str_of(names[k])))
                t.v[i].input = k;
    return t;
}

/* With the values a, b and c, of which b may stand in JSON as it is. */
static const char *put(const char *text, enum template_form form, const char *a, const char *b, const char *c)
{
    static struct buf out;
    struct template t = parsed(text, form);
    struct template_value values[] = { { str_of(a), false }, { str_of(b), true }, { str_of(c), false } };
    char *secrets[] = { (char *)"s&1", (char *)"s\"2" };
    buf_clear(&out);
    template_put(&t, values, secrets, &out);
    return out.p;
}

static void refused(const char *text, enum template_form form, const char *why)
{
    struct template t;
    CHECK_EQ(template_parse(&t, text, form, &arena, &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_HAS(err.msg, why);
}

TEST(template, a_value_in_a_url_is_one_part_of_it)
{
    CHECK_STR(put("http://h/{a}/x?q={b},{c}", TEMPLATE_URL, "a b/ü", "1.5", "&=#%"), "http://h/a%20b%2F%C3%BC/x?q=1.5,%26%3D%23%25");
    CHECK_STR(put("http://h/{a}/{b}?{c}", TEMPLATE_URL, "a..b", "-._~", ".."), "http://h/a..b/-._~?..");
    CHECK_STR(put("http://h/{{{a}}}", TEMPLATE_URL, "x", "", ""), "http://h/{x}");
    CHECK_STR(put("http://h/{a}{a}", TEMPLATE_URL, "", "", ""), "http://h/");
}

TEST(template, knows_a_value_that_would_change_the_path)
{
    static const struct {
        const char *text, *a, *b;
        bool astray;
    } cases[] = { { "http://h/{a}", "..", "", true },        { "http://h/{a}/x", ".", "", true },       { "http://h/{a}?x", "..", "", true },
                  { "http://h/{a}#x", "..", "", true },      { "http://h/{a}{b}/", ".", ".", true },    { "http://h/.{a}", ".", "", true },
                  { "http://h/.{a}/", "", "", true },        { "http://h/{a}", "...", "", false },      { "http://h/{a}", "a..", "", false },
                  { "http://h/{a}{b}", "..", "x", false },   { "http://h/x{a}", "..", "", false },      { "http://h/../{a}", "x", "", false },
                  { "http://h/?at={a}", "..", "", false },   { "http://h/x?{a}", "..", "", false },     { "http://h/x?/{a}/", "..", "", false },
                  { "http://h/x#/{a}", "..", "", false },    { "http://h/{a}", "../..", "", false },    { "http://h/{a}", "", "", false },
                  { "http://h/{a}", "/..", "", false },      { "http://h/{@file:/x}", "..", "", false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct template t = parsed(cases[i].text, TEMPLATE_URL);
        struct template_value values[] = { { str_of(cases[i].a), false }, { str_of(cases[i].b), false } };
        if (template_astray(&t, values) != cases[i].astray)
            fail_msg("%s with '%s', '%s'", cases[i].text, cases[i].a, cases[i].b);
    }
    struct template json = parsed("{a}", TEMPLATE_JSON);
    CHECK(!template_astray(&json, &(struct template_value){ STR(".."), false }));
}

TEST(template, secrets_are_put_in_and_not_shown)
{
    CHECK_STR(put("http://h/{a}?k={@file:/x/y}&l={@credential:z}", TEMPLATE_URL, "1", "", ""), "http://h/1?k=s%261&l=s%222");
    struct template t = parsed("http://h/?k={@file:/x/y}", TEMPLATE_URL);
    AUTO(buf_clear) struct buf shown = { 0 };
    template_put(&t, NULL, NULL, &shown);
    CHECK_STR(shown.p, "http://h/?k=...");
}

TEST(template, a_value_in_json_cannot_add_to_it)
{
    CHECK_STR(put("{\"q\": \"{a}\", \"n\": {b}, \"t\": {c}}", TEMPLATE_JSON, "x\", \"y\": \"\\", "12", "1, \"z\": 2"),
              "{\"q\": \"x\\\", \\\"y\\\": \\\"\\\\\", \"n\": 12, \"t\": \"1, \\\"z\\\": 2\"}");
    CHECK_STR(put("{\"\\\"{a}\": {}, \"k\": {@file:/x}}", TEMPLATE_JSON, "1", "", ""), "{\"\\\"1\": {}, \"k\": \"s&1\"}");
    CHECK_STR(put("[{b}, \"{b}\"]", TEMPLATE_JSON, "", "true", ""), "[true, \"true\"]");
}

TEST(template, what_is_no_place_is_refused_in_a_url_and_stays_in_json)
{
    refused("http://h/{a", TEMPLATE_URL, "expected {COLUMN}");
    refused("http://h/a}", TEMPLATE_URL, "expected {COLUMN}");
    refused("http://h/{}", TEMPLATE_URL, "expected {COLUMN}");
    refused("http://h/{a b}", TEMPLATE_URL, "expected {COLUMN}");
    refused("http://h/{@file:x}", TEMPLATE_URL, "expected {COLUMN}");
    refused("http://h/a b", TEMPLATE_URL, "no spaces");
    refused("{\"a\": \"{a}", TEMPLATE_JSON, "never closed");
    CHECK_STR(put("{ \"a\": {\"b\": {a}} }", TEMPLATE_JSON, "1", "", ""), "{ \"a\": {\"b\": \"1\"} }");
}

TEST(template, knows_whether_the_host_is_fixed)
{
    static const struct {
        const char *text;
        bool fixed;
    } cases[] = { { "http://h/{a}", true },   { "http://h?{a}", true },     { "https://h:80/x/{a}", true }, { "http://h", true },
                  { "http://{a}/", false },   { "http://h{a}/", false },    { "http://h:{a}/", false },     { "{a}://h/", false },
                  { "http:///{a}", false },   { "http://{a}.h/b", false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct template t = parsed(cases[i].text, TEMPLATE_URL);
        if ((template_fixed(&t) > 0) != cases[i].fixed)
            fail_msg("%s", cases[i].text);
    }
}

/* ---- the cache ---- */

enum { NOW = 1000000000, DAY = 86400000 };
static struct answers *cache;
static const struct answer_limits wide = { 1000000, 1 << 30 };

static char cache_name[32];
static void cache_open(void)
{
    static int n;
    snprintf(cache_name, sizeof cache_name, "enrich%d.db", n++);
    CHECK_OK(answers_open(&cache, test_file(cache_name), &err), err);
}

static struct answer_new news(enum answer_news what, int key, int64_t expires, const char *body)
{
    struct answer_new v = { .what = what, .expires = expires, .body = str_of(body) };
    snprintf(v.key, sizeof v.key, "%032d", key);
    return v;
}

static void keep(enum answer_news what, int key, int64_t expires, const char *body, const struct answer_limits *limits)
{
    struct answer_new v = news(what, key, expires, body);
    CHECK_OK(answers_put(cache, "place", limits, &v, 1, NOW, &err), err);
}

/* The body, "none", or NULL. */
static const char *get(int key, int64_t now)
{
    static struct buf body;
    char text[ANSWER_KEY + 1];
    bool none;
    snprintf(text, sizeof text, "%032d", key);
    int rc = answers_get(cache, text, now, &none, &body, &err);
    CHECK_OK(rc, err);
    return rc == 0 ? NULL : none ? "none" : body.p;
}

TEST(answers, are_kept_until_they_expire)
{
    cache_open();
    keep(ANSWER_IS, 1, NOW + 10, "one", &wide);
    keep(ANSWER_NONE, 2, NOW + 5, "", &wide);
    CHECK_STR(get(1, NOW + 9), "one");
    CHECK_STR(get(2, NOW + 4), "none");
    CHECK(!get(1, NOW + 10) && !get(2, NOW + 5) && !get(3, NOW));
    keep(ANSWER_IS, 1, NOW + 20, "newer", &wide);
    CHECK_STR(get(1, NOW + 10), "newer");
    keep(ANSWER_FORGET, 1, 0, "", &wide);
    CHECK(!get(1, NOW));
    answers_close(cache);
}

TEST(answers, in_which_nothing_was_found_are_kept_for_less_long)
{
    cache_open();
    keep(ANSWER_IS, 1, NOW + 100, "one", &wide);
    keep(ANSWER_EMPTY, 1, NOW + 10, "", &wide);
    CHECK_STR(get(1, NOW + 9), "one");
    keep(ANSWER_EMPTY, 1, NOW + 50, "", &wide);
    keep(ANSWER_EMPTY, 2, NOW + 50, "", &wide);
    CHECK(!get(1, NOW + 10) && !get(2, NOW));
    answers_close(cache);
}

TEST(answers, the_oldest_go_when_there_are_too_many)
{
    const struct answer_limits three = { 3, 1 << 20 }, small = { 1000, 1000 };
    cache_open();
    for (int i = 1; i <= 5; i++)
        keep(ANSWER_IS, i, NOW + DAY, "x", &three);
    CHECK(!get(1, NOW) && !get(2, NOW));
    CHECK(get(3, NOW) && get(4, NOW) && get(5, NOW));
    keep(ANSWER_IS, 3, NOW + DAY, "again", &three); /* now the newest */
    keep(ANSWER_IS, 6, NOW + DAY, "x", &three);
    CHECK(!get(4, NOW) && get(5, NOW) && get(3, NOW) && get(6, NOW));
    char body[351];
    memset(body, 'b', 350);
    body[350] = '\0';
    for (int i = 11; i <= 13; i++)
        keep(ANSWER_IS, i, NOW + DAY, body, &small);
    CHECK(!get(11, NOW) && get(12, NOW) && get(13, NOW)); /* 450 bytes each */
    answers_close(cache);
}

TEST(answers, those_that_have_expired_go_by_themselves)
{
    cache_open();
    keep(ANSWER_IS, 1, NOW - 1, "x", &wide);
    keep(ANSWER_IS, 2, NOW + 1, "x", &wide);
    CHECK(!get(1, 0));
    CHECK_STR(get(2, 0), "x");
    answers_close(cache);
}

TEST(answers, another_process_sees_them)
{
    struct answers *other, *first;
    cache_open();
    keep(ANSWER_IS, 1, NOW + 10, "one", &wide);
    first = cache;
    CHECK_OK(answers_open(&other, test_file(cache_name), &err), err);
    cache = other;
    CHECK_STR(get(1, NOW), "one");
    keep(ANSWER_IS, 2, NOW + 10, "two", &wide);
    answers_close(other);
    cache = first;
    CHECK_STR(get(2, NOW), "two");
    answers_close(first);
}

static struct answers_place place_of(const char *name, const struct ask_limits *limits, int64_t now)
{
    struct answers_place p;
    CHECK_OK(answers_of(cache, name, limits, now, &p, &err), err);
    return p;
}

static int names(void *arg, const char *name)
{
    buf_addf(arg, "%s ", name);
    return 0;
}

TEST(answers, people_see_how_many_there_are)
{
    const struct ask_limits none = { 0 };
    AUTO(buf_clear) struct buf all = { 0 };
    cache_open();
    CHECK_EQ(place_of("place", &none, NOW).rows, 0);
    keep(ANSWER_IS, 1, NOW + 10, "one", &wide);
    keep(ANSWER_NONE, 2, NOW + 10, "", &wide);
    keep(ANSWER_EMPTY, 2, NOW + 10, "", &wide); /* it was one before */
    keep(ANSWER_IS, 3, NOW + 10, "three", &wide);
    keep(ANSWER_EMPTY, 3, NOW + 20, "", &wide); /* it goes no later than before */
    keep(ANSWER_EMPTY, 3, NOW + 5, "", &wide);
    struct answers_place p = place_of("place", &none, NOW);
    CHECK_EQ(p.rows, 3);
    CHECK_EQ(p.misses, 2);
    CHECK_EQ(p.bytes, 3 * 100 + 8);
    CHECK_EQ(p.gate.gate, ASK_OPEN);
    CHECK(!get(3, NOW + 5));
    keep(ANSWER_IS, 3, NOW + 10, "again", &wide);
    keep(ANSWER_FORGET, 2, 0, "", &wide);
    CHECK_EQ(place_of("place", &none, NOW).misses, 0);
    CHECK_OK(answers_places(cache, names, &all, &err), err);
    CHECK_STR(all.p, "place ");
    answers_close(cache);
}

TEST(answers, of_a_place_are_forgotten_and_no_others)
{
    enum { MANY = 2500 };
    static struct answer_new v[MANY];
    const struct ask_limits none = { 0 };
    int64_t n;
    cache_open();
    for (int i = 0; i < MANY; i++) {
        v[i] = news(i % 5 ? ANSWER_IS : ANSWER_NONE, i, NOW + 10, "x");
        if (i % 5 == 0)
            v[i].body.n = 0;
    }
    CHECK_OK(answers_put(cache, "place", &wide, v, MANY, NOW, &err), err);
    struct answer_new other = news(ANSWER_NONE, MANY, NOW + 10, "");
    CHECK_OK(answers_put(cache, "other", &wide, &other, 1, NOW, &err), err);
    CHECK_OK(answers_forget(cache, "place", true, &n, &err), err);
    CHECK_EQ(n, MANY / 5);
    CHECK(!get(0, NOW) && get(1, NOW) && get(MANY - 1, NOW));
    struct answers_place p = place_of("place", &none, NOW);
    CHECK_EQ(p.rows, MANY - MANY / 5);
    CHECK_EQ(p.misses, 0);
    CHECK_OK(answers_forget(cache, "place", false, &n, &err), err);
    CHECK_EQ(n, MANY - MANY / 5);
    p = place_of("place", &none, NOW);
    CHECK_EQ(p.rows, 0);
    CHECK_EQ(p.bytes, 0);
    CHECK_STR(get(MANY, NOW), "none");
    CHECK_OK(answers_forget(cache, "nowhere", false, &n, &err), err);
    CHECK_EQ(n, 0);
    answers_close(cache);
}

TEST(answers, a_file_that_is_none_is_said_so)
{
    FILE *f = fopen(test_file("bad.db"), "w");
    for (int i = 0; i < 1000; i++)
        fputs("no database at all\n", f);
    fclose(f);
    CHECK_EQ(answers_open(&cache, test_file("bad.db"), &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE);
    CHECK_HAS(err.msg, "can be removed when no worker runs");
}

/* ---- what may be asked ---- */

static struct ask_grant take(const struct ask_limits *limits, int64_t want, int64_t now)
{
    struct ask_grant g;
    CHECK_OK(answers_take(cache, "place", limits, want, now, &g, &err), err);
    return g;
}

TEST(asking, a_quota_is_never_passed_and_begins_anew)
{
    const struct ask_limits quota = { .quota = 10, .quota_ms = DAY };
    const int64_t day = 5LL * DAY, noon = day + DAY / 2;
    cache_open();
    CHECK_EQ(take(&quota, 7, noon).n, 7);
    CHECK_EQ(take(&quota, 7, noon).n, 3);
    struct ask_grant g = take(&quota, 1, noon);
    CHECK_EQ(g.gate, ASK_QUOTA);
    CHECK_EQ(g.n, 0);
    CHECK_EQ(g.at, day + DAY);
    CHECK_OK(answers_give_back(cache, "place", &quota, 2, noon, &err), err);
    CHECK_EQ(take(&quota, 7, noon).n, 2);
    CHECK_EQ(take(&quota, 20, day + DAY).n, 10);
    CHECK_OK(answers_give_back(cache, "place", &quota, 5, noon, &err), err); /* of a period that is over */
    CHECK_EQ(take(&quota, 1, day + DAY).gate, ASK_QUOTA);
    answers_close(cache);
}

TEST(asking, an_interval_lies_between_the_requests_of_all)
{
    const struct ask_limits interval = { .interval_ms = 100, .wait_ms = 30000 };
    cache_open();
    struct ask_grant g = take(&interval, 3, NOW);
    CHECK_EQ(g.n, 3);
    CHECK_EQ(g.at, NOW);
    g = take(&interval, 2, NOW + 50);
    CHECK_EQ(g.at, NOW + 300);
    CHECK_EQ(take(&interval, 1, NOW + 10000).at, NOW + 10000);
    answers_close(cache);
}

TEST(asking, what_would_wait_for_too_long_is_not_given_and_does_not_count)
{
    const struct ask_limits hourly = { .interval_ms = DAY / 24, .quota = 2, .quota_ms = DAY, .wait_ms = 30000 };
    cache_open();
    CHECK_EQ(take(&hourly, 5, NOW).n, 1);
    for (int i = 0; i < 3; i++) {
        struct ask_grant g = take(&hourly, 5, NOW + 1000);
        CHECK_EQ(g.gate, ASK_INTERVAL);
        CHECK_EQ(g.at, NOW + DAY / 24);
    }
    struct ask_grant g = take(&hourly, 5, NOW + DAY / 24 - 30000);
    CHECK_EQ(g.n, 1);
    CHECK_EQ(g.at, NOW + DAY / 24);
    answers_close(cache);
}

TEST(asking, a_clock_that_is_set_back_stops_nobody)
{
    const struct ask_limits interval = { .interval_ms = 400, .wait_ms = 30000 };
    cache_open();
    int64_t at = NOW;
    while (at - NOW < 30000) { /* as far ahead as it goes */
        struct ask_grant g = take(&interval, 9, NOW);
        CHECK_EQ(g.gate, ASK_OPEN);
        CHECK_EQ(g.n, 3);
        CHECK_EQ(g.at, at);
        at += 3 * 400;
    }
    CHECK_EQ(take(&interval, 1, NOW).at, at);
    struct ask_grant g = take(&interval, 1, NOW - DAY / 24);
    CHECK_EQ(g.gate, ASK_OPEN);
    CHECK_EQ(g.at, NOW - DAY / 24);
    CHECK_EQ(take(&interval, 1, NOW - DAY / 24).at, NOW - DAY / 24 + 400);
    answers_close(cache);
}

static const struct ask_limits plain = { .server = 7, .probe_ms = 11000, .wait_ms = 30000 };

/* A request fails then: for how long nobody asks. */
static int64_t fails(const struct ask_limits *limits, bool busy, int64_t retry_after_ms, int64_t now)
{
    const struct ask_failure f = { busy, retry_after_ms, busy ? "the server answered 429" : "the server answered 500" };
    int64_t until;
    CHECK_OK(answers_failed(cache, "place", limits, &f, now, &until, &err), err);
    return until ? until - now : 0;
}

static void well(int64_t now) { CHECK_OK(answers_well(cache, "place", now, &err), err); }

TEST(asking, a_server_that_asked_for_it_is_left_alone_by_all)
{
    cache_open();
    CHECK_EQ(take(&plain, 5, NOW).n, 5);
    CHECK_EQ(fails(&plain, true, 60000, NOW), 60000);
    CHECK_EQ(fails(&plain, true, 500, NOW + 10), 59990); /* another one that was under way */
    struct ask_grant g = take(&plain, 5, NOW + 59999);
    CHECK_EQ(g.gate, ASK_BUSY);
    CHECK_EQ(g.n, 0);
    CHECK_EQ(g.at, NOW + 60000);
    CHECK_STR(g.why, "the server answered 429");
    well(NOW + 1000); /* an answer to one that was under way opens nothing */
    CHECK_EQ(take(&plain, 5, NOW + 2000).gate, ASK_BUSY);
    CHECK_EQ(take(&plain, 5, NOW + 60000).gate, ASK_OPEN);
    CHECK_OK(answers_take(cache, "another", &plain, 5, NOW, &g, &err), err);
    CHECK_EQ(g.gate, ASK_OPEN);
    answers_close(cache);
}

TEST(asking, a_person_has_it_asked_at_once_by_one_request_first)
{
    cache_open();
    CHECK_EQ(answers_release(cache, "place", NOW, &err), 0);
    CHECK_EQ(fails(&plain, true, 60000, NOW), 60000);
    CHECK_EQ(answers_release(cache, "another", NOW + 1, &err), 0);
    CHECK_EQ(answers_release(cache, "place", NOW + 1, &err), 1);
    CHECK_EQ(take(&plain, 5, NOW + 1).n, 1);
    CHECK_EQ(take(&plain, 5, NOW + 1).gate, ASK_PROBED);
    well(NOW + 2);
    CHECK_EQ(take(&plain, 5, NOW + 3).n, 5);
    CHECK_EQ(answers_release(cache, "place", NOW + 3, &err), 0);
    answers_close(cache);
}

TEST(asking, a_server_that_fails_is_left_alone_for_longer_each_time)
{
    static const int64_t holds[] = { 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000, 600000, 600000 };
    int64_t now = NOW;
    cache_open();
    for (int i = 0; i < ASK_FAILURES - 1; i++)
        CHECK_EQ(fails(&plain, false, 0, now), 0);
    CHECK_EQ(take(&plain, 5, now).n, 5);
    for (size_t i = 0; i < COUNT_OF(holds); i++) {
        CHECK_EQ(fails(&plain, false, 0, now), holds[i]);
        CHECK_EQ(take(&plain, 5, now + holds[i] - 1).gate, ASK_DOWN);
        now += holds[i];
        CHECK_EQ(take(&plain, 5, now).n, 1);
    }
    well(now);
    CHECK_EQ(take(&plain, 5, now).n, 5);
    CHECK_EQ(fails(&plain, false, 0, now), 0);
    answers_close(cache);
}

TEST(asking, failures_with_an_answer_between_are_not_in_a_row)
{
    cache_open();
    for (int i = 0; i < 3 * ASK_FAILURES; i++) {
        CHECK_EQ(fails(&plain, false, 0, NOW), 0);
        if (i % 3 == 0)
            well(NOW);
    }
    answers_close(cache);
}

TEST(asking, one_request_goes_first_and_one_that_never_ends_stops_nobody)
{
    const struct ask_limits both = { .server = 7, .probe_ms = 11000, .wait_ms = 30000, .interval_ms = 100, .quota = 100, .quota_ms = DAY };
    const struct ask_limits *const limits[] = { &plain, &both };
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        cache_open();
        CHECK_EQ(fails(limits[i], true, 0, NOW), 1000);
        CHECK_EQ(take(limits[i], 5, NOW + 1000).n, 1);
        struct ask_grant g = take(limits[i], 5, NOW + 1001);
        CHECK_EQ(g.gate, ASK_PROBED);
        CHECK_EQ(g.n, 0);
        CHECK_EQ(g.at, NOW + 12000);
        CHECK_EQ(take(limits[i], 5, NOW + 12000).n, 1);
        well(NOW + 12500);
        CHECK_EQ(take(limits[i], 5, NOW + 12500).n, 5);
        answers_close(cache);
    }
}

TEST(asking, a_clock_that_is_set_back_holds_nobody_for_a_year)
{
    const int64_t year = 366LL * DAY, later = NOW + 2 * year;
    cache_open();
    CHECK_EQ(fails(&plain, true, DAY, later), DAY);
    CHECK_EQ(take(&plain, 5, later - year).n, 1);
    CHECK_EQ(fails(&plain, true, 0, later - year), 2000); /* by that clock */
    CHECK_EQ(take(&plain, 5, later - year + 1999).gate, ASK_BUSY);
    CHECK_EQ(take(&plain, 5, later - year + 2000).n, 1);
    CHECK_EQ(take(&plain, 5, later - 2 * year).n, 1); /* while a probe is said to be under way */
    answers_close(cache);
}

TEST(asking, what_one_server_said_holds_for_no_other)
{
    const struct ask_limits other = { .server = 8, .probe_ms = 11000, .wait_ms = 30000 };
    cache_open();
    CHECK_EQ(fails(&plain, true, DAY, NOW), DAY);
    CHECK_EQ(take(&other, 5, NOW).n, 5);
    CHECK_EQ(fails(&other, false, 0, NOW), 0);
    answers_close(cache);
}

TEST(asking, who_only_looks_changes_nothing)
{
    const struct ask_limits five = { .server = 1, .quota = 5, .quota_ms = DAY, .interval_ms = 1000, .wait_ms = 3000 };
    cache_open();
    struct answers_place p = place_of("place", &five, NOW);
    CHECK_EQ(p.gate.gate, ASK_OPEN);
    CHECK_EQ(p.quota_used, 0);
    CHECK_EQ(take(&five, 2, NOW).n, 2);
    for (int i = 0; i < 9; i++)
        p = place_of("place", &five, NOW);
    CHECK_EQ(p.quota_used, 2);
    CHECK_EQ(p.gate.gate, ASK_OPEN);
    CHECK_EQ(p.gate.at, NOW + 2000); /* by interval */
    CHECK_EQ(take(&five, 2, NOW + 2000).n, 2);
    p = place_of("place", &five, NOW);
    CHECK_EQ(p.gate.gate, ASK_INTERVAL);
    CHECK_EQ(p.gate.at, NOW + 4000);
    CHECK_EQ(take(&five, 2, NOW + 4000).n, 1);
    p = place_of("place", &five, NOW + 9000);
    CHECK_EQ(p.gate.gate, ASK_QUOTA);
    CHECK_EQ(p.quota_used, 5);
    CHECK_EQ(p.gate.at, NOW - NOW % DAY + DAY);
    CHECK_EQ(place_of("place", &five, NOW + DAY).quota_used, 0);
    CHECK(fails(&five, true, 7000, NOW + DAY) > 0);
    p = place_of("place", &five, NOW + DAY + 10);
    CHECK_EQ(p.gate.gate, ASK_BUSY);
    CHECK_EQ(p.gate.failures, ASK_FAILURES);
    CHECK_STR(p.gate.why, "the server answered 429");
    const struct ask_limits another = { .server = 2 };
    CHECK_EQ(place_of("place", &another, NOW + DAY + 10).gate.gate, ASK_OPEN);
    answers_close(cache);
}

/* ---- the ini ---- */

TEST(enrich, the_ini_says_what_is_asked_and_what_the_table_gets)
{
    struct config *c;
    FILE *f = fopen(test_file("good.ini"), "w");
    fputs("[target w]\nurl = sqlite:w.db\n[enrich geo]\nurl = https://h/r?at={lat},{lon}\ncolumns = address:text from a[0].b, km:real\nkey = LAT\n"
          "quota = 60/minute\nround = 3\n"
          "[pipeline p]\ncolumns = id:integer!, lat:real, lon:real\nenrich = geo\ntable = w.t\nmode = upsert\nkey = id\n",
          f);
    fclose(f);
    CHECK_OK(config_load(&c, test_file("good.ini"), NULL, &err), err);
    const struct enrich_config *e = config_enrich(c, "geo");
    CHECK_EQ(e->ninputs, 2);
    CHECK_STR(e->inputs[0], "lat");
    CHECK(e->keyed[0] && !e->keyed[1]);
    CHECK_EQ(e->quota.n, 60);
    CHECK_EQ(e->quota.period_ms, 60000);
    CHECK_STR(e->method, "GET");
    const struct recipe *r = &c->pipelines[0].parts[0];
    const struct columns *all = recipe_output(r, &r->columns);
    CHECK_EQ(all->n, 5);
    CHECK_STR(all->v[3].name, "address");
    CHECK_EQ(all->v[4].type, TYPE_REAL);
    config_free(c);
}

/* ---- answers that are errors ---- */

/* An ini with that line; NULL: it is refused. */
static struct config *with_error(const char *line)
{
    struct config *c = NULL;
    FILE *f = fopen(test_file("error.ini"), "w");
    fprintf(f, "[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{k}\ncolumns = a\n%s\n", line);
    fclose(f);
    return config_load(&c, test_file("error.ini"), NULL, &err) < 0 ? NULL : c;
}

/* What the body says by that error=; "": nothing; NULL: the path is none. */
static const char *said(const char *line, const char *body)
{
    static struct buf out;
    struct enrich_judge *j;
    struct config *c = with_error(line);
    AUTO(free_charp) char *exact = strndup(body, strlen(body)); /* nothing can be read behind it */
    CHECK(c != NULL);
    buf_clear(&out);
    if (enrich_judge_open(&j, &c->enriches[0], &err) < 0) {
        config_free(c);
        return NULL;
    }
    int rc = enrich_judge(j, (struct str){ exact, strlen(body) }, &out, &err);
    CHECK(rc >= 0);
    enrich_judge_close(j);
    config_free(c);
    buf_addc(&out, '\0');
    return rc ? out.p : "";
}

TEST(judge, an_error_is_more_than_nothing_at_the_path)
{
    static const char *const fine[] = { "{}", "{\"error\":null}", "{\"error\":false}", "{\"error\":\"\"}", "{\"error\":0}", "{\"error\":-0.0e3}",
                                        "{\"error\":[]}", "{\"error\":{ }}", "{\"e\":{\"error\":\"x\"}}", "[1]", "7", "", "{\"error\":\"x\"", "<html>" };
    for (size_t i = 0; i < COUNT_OF(fine); i++)
        CHECK_STR(said("error = error", fine[i]), "");
    CHECK_STR(said("error = error", "{\"error\":\"over \\u0022limit\\u0022\"}"), "over \"limit\"");
    CHECK_STR(said("error = error", " {\"a\":1,\"error\":true}"), "true");
    CHECK_STR(said("error = error", "{\"error\":429}"), "429");
    CHECK_STR(said("error = error", "{\"error\":\"0\"}"), "0");
    CHECK_STR(said("error = error", "{\"error\":\" \"}"), " ");
    CHECK_STR(said("error = error", "{\"error\":{\"code\": 1}}"), "{\"code\": 1}");
    CHECK_STR(said("error = errors", "{\"errors\":[null]}"), "[null]");
    CHECK_STR(said("error = error.\"odd key\"[1]", "{\"error\":{\"odd key\":[null,\"x\"]}}"), "x");
}

TEST(judge, or_what_is_not_among_the_good_values)
{
    static const char google[] = "error = status not OK, ZERO_RESULTS";
    CHECK_STR(said(google, "{\"status\":\"OK\"}"), "");
    CHECK_STR(said(google, "{\"status\":\"ZERO_RESULTS\"}"), "");
    CHECK_STR(said(google, "{\"status\":null}"), "");
    CHECK_STR(said(google, "{}"), "");
    CHECK_STR(said(google, "{\"status\":\"OVER_QUERY_LIMIT\"}"), "OVER_QUERY_LIMIT");
    CHECK_STR(said(google, "{\"status\":\"ok\"}"), "ok");
    CHECK_STR(said(google, "{\"status\":0}"), "0");
    CHECK_STR(said("error = success not true", "{\"success\":true}"), "");
    CHECK_STR(said("error = success not true", "{\"success\":false}"), "false");
    CHECK_STR(said("error = code not 0, 200", "{\"code\":200}"), "");
    CHECK_STR(said("error = code not 0, 200", "{\"code\":\"200\"}"), "");
    CHECK_STR(said("error = code not 0, 200", "{\"code\":13}"), "13");
    CHECK_STR(said("error = error not \"Unable to geocode\"", "{\"error\":\"Unable to geocode\"}"), "");
    CHECK_STR(said("error = error not \"\"", "{\"error\":\"\"}"), "");
    CHECK_STR(said("error = error not x", "{\"error\":{\"a\":\"x\"}}"), "{\"a\":\"x\"}");
    CHECK_STR(said(google, "{\"status\":\"OK\",\"status\":\"OVER_QUERY_LIMIT\"}"), "twice in its object"); /* which of them counts? */
    CHECK_STR(said(google, "{\"status\":\"OVER_QUERY_LIMIT\",\"\\u0073tatus\":\"OK\"}"), "twice in its object");
    CHECK_STR(said(google, "{\"a\":1,\"a\":2,\"status\":\"OK\"}"), "");
}

TEST(secret, is_hidden_wherever_it_stands)
{
    char text[] = "k3y: the key k3y-k3y";
    size_t n = strlen(text);
    secret_hide(text, &n, "k3y");
    CHECK_EQ(n, strlen("***: the key ***-***"));
    CHECK(!memcmp(text, "***: the key ***-***", n));
    secret_hide(text, &n, "the key");
    CHECK(n == strlen("***: *** ***-***") && !memcmp(text, "***: *** ***-***", n));
    secret_hide(text, &n, "*"); /* too short to be one */
    secret_hide(text, &n, "");
    CHECK_EQ(n, strlen("***: *** ***-***"));
    char coded[] = "a?k=p%2Fq%25+x&p/q% x&%70%2fq%25%20x p/q%25 p%2";
    n = strlen(coded);
    secret_hide(coded, &n, "p/q% x");
    CHECK(n == strlen("a?k=***&***&*** p/q%25 p%2") && !memcmp(coded, "a?k=***&***&*** p/q%25 p%2", n));
    char percent[] = "a%41 %2541 aA";
    n = strlen(percent);
    secret_hide(percent, &n, "%41");
    CHECK(n == strlen("a*** *** aA") && !memcmp(percent, "a*** *** aA", n));
    n = 0;
    secret_hide(NULL, &n, "k3y");
    CHECK_EQ(n, 0);
}

TEST(judge, what_is_no_such_line_is_refused)
{
    static const char *const bad[] = { "error = status OK", "error = status not", "error = status not a b\" c", "error = not OK" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (with_error(bad[i]))
            fail_msg("%s is taken", bad[i]);
        CHECK_EQ(err.code, ERR_CONFIG);
        CHECK_HAS(err.msg, "[enrich e] error: ");
        CHECK_HAS(err.msg, "expected ");
    }
    CHECK(!said("error = a..b", "{}"));
    CHECK_HAS(err.msg, "a key was expected");
}

TEST(judge, a_message_gets_whole_and_harmless_characters)
{
    char out[ENRICH_SAID + 4], text[200];
    enrich_said(STR("a\x1b[31m\nb\x7f"), out);
    CHECK_STR(out, "a [31m b ");
    memset(text, 'x', sizeof text);
    memcpy(text + ENRICH_SAID - 1, "\xc3\xbc", 2);
    enrich_said((struct str){ text, sizeof text }, out);
    CHECK_EQ(strlen(out), ENRICH_SAID - 1 + 3);
    CHECK_STR(out + ENRICH_SAID - 1, "...");
}

/* ---- the step, with a worker of ours ---- */

/* What it answers to each question, by its number. */
static struct worker {
    void (*answer)(struct worker *w, uint64_t items, struct buf *out);
    int questions;
    uint64_t items, verdicts; /* in all */
    uint64_t last_verdict;
} desk;

static void say(struct buf *out, uint64_t item, uint64_t kind, uint64_t fresh, const char *body)
{
    pack_u64(out, item);
    pack_u64(out, kind);
    pack_u64(out, fresh);
    pack_bytes(out, body, strlen(body));
}

static int desk_ask(void *arg, int enrich, struct str question, struct buf *answer, struct err *e)
{
    struct unpacker u = { question, false };
    (void)arg, (void)e;
    CHECK_EQ(enrich, 0);
    desk.questions++;
    for (uint64_t n = take_u64(&u); n > 0; n--) {
        (void)take_u64(&u);
        desk.last_verdict = take_u64(&u);
        desk.verdicts++;
    }
    uint64_t items = take_u64(&u);
    desk.items += items;
    for (uint64_t i = 0; i < items; i++) {
        (void)take_u64(&u);
        (void)take_bytes(&u);
    }
    CHECK(!u.bad && !u.rest.n);
    if (items)
        desk.answer(&desk, items, answer);
    return 0;
}

static int no_file(void *arg, int number, const char *ext, struct err *e)
{
    (void)arg, (void)number, (void)ext;
    return err_set(e, ERR_INTERNAL, "no file is wanted here");
}

static struct pipeline_counts counts;
static struct buf tally; /* what became of the keys */

/* Three keys in five rows, and one row without. */
static int enriched(void (*answer)(struct worker *, uint64_t, struct buf *), const char *more)
{
    static const char rows[] = "id,k\n1,a\n2,b\n3,a\n4,c\n5,b\n6,\n";
    static const struct stage stage = { no_file, NULL, 1 << 20 };
    struct output outputs[PIPELINE_PARTS_MAX + 1] = { 0 };
    struct config *c;
    struct pipeline_run *r;
    int n = 0;
    FILE *f = fopen(test_file("step.ini"), "w");
    fprintf(f, "[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{k}\ncolumns = name:text, n:integer\n%s"
               "[pipeline p]\ncolumns = id:integer!, k:text\nenrich = e\ntable = w.t\nmax_rejects = 10\n", more);
    fclose(f);
    CHECK_OK(config_load(&c, test_file("step.ini"), NULL, &err), err);
    desk = (struct worker){ .answer = answer };
    CHECK_OK(pipeline_start(&r, c, &c->pipelines[0], "u", NULL, NULL, &stage, &err), err);
    pipeline_asks(r, (struct asker){ .ask = desk_ask });
    struct cut_input in = cut_of(str_of(rows), 0);
    int rc = pipeline_object(r, &in.in, "file:///a.csv", &err);
    rc = rc == 0 ? pipeline_finish(r, outputs, &n, &err) : rc;
    counts = *pipeline_counts(r);
    struct err trouble;
    buf_renew(&tally);
    CHECK_OK(pipeline_tally(r, &tally, &trouble), trouble);
    CHECK(!tally.n || enrich_tally_is(tally.p, &c->pipelines[0]));
    for (int i = 0; i < n; i++)
        output_clear(&outputs[i]);
    pipeline_end(r);
    config_free(c);
    return rc;
}

static void one_at_a_time(struct worker *w, uint64_t items, struct buf *out)
{
    (void)w;
    say(out, items - 1, KIND_BODY, true, "{\"name\": \"x\", \"n\": 1}");
}

TEST(step, asks_again_for_what_was_not_answered)
{
    CHECK_OK(enriched(one_at_a_time, ""), err);
    CHECK_EQ(desk.questions, 3);
    CHECK_EQ(desk.items, 3 + 2 + 1);
    CHECK_EQ(desk.verdicts, 0);
    CHECK_EQ(counts.staged, 6);
}

static void old_and_cut(struct worker *w, uint64_t items, struct buf *out)
{
    for (uint64_t i = 0; i < items; i++)
        say(out, i, KIND_BODY, w->questions > 1, w->questions > 1 ? "{\"name\": \"x\"}" : "{\"name\":");
}

TEST(step, an_answer_of_the_cache_that_cannot_be_read_is_asked_for_anew)
{
    CHECK_OK(enriched(old_and_cut, ""), err);
    CHECK_EQ(desk.questions, 2);
    CHECK_EQ(desk.verdicts, 3);
    CHECK_EQ(desk.last_verdict, VERDICT_WRONG);
    CHECK_EQ(counts.staged, 6);
}

static void always_cut(struct worker *w, uint64_t items, struct buf *out)
{
    (void)w;
    for (uint64_t i = 0; i < items; i++)
        say(out, i, KIND_BODY, false, "{\"name\":");
}

TEST(step, asks_for_none_for_ever)
{
    CHECK_EQ(enriched(always_cut, ""), -1);
    CHECK_EQ(err.code, ERR_ENRICH_ANSWER);
    CHECK_HAS(err.msg, "line 2: k 'a': its answer cannot be read: it is not valid JSON");
    CHECK_EQ(desk.questions, 3); /* the last one tells the verdicts */
    CHECK_OK(enriched(always_cut, "on_error = reject\n"), err);
    CHECK_EQ(counts.rejected, 5);
    CHECK_EQ(counts.staged, 1);
}

/* Eight answers at a time, from the first or the last on, each with a megabyte in it. */
static uint64_t staged_then; /* rows that were through when the last question came */
static struct pipeline_run *running;
static bool backwards;
static void great(struct worker *w, uint64_t items, struct buf *out)
{
    static char body[1 << 20];
    (void)w;
    staged_then = pipeline_counts(running)->staged;
    memset(body, 'x', sizeof body - 1);
    memcpy(body, "{\"name\": \"", 10);
    memcpy(body + sizeof body - 3, "\"}", 2);
    for (uint64_t i = 0; i < 8 && i < items; i++)
        say(out, backwards ? items - 1 - i : i, KIND_BODY, true, body);
}

static int memory_file(void *arg, int number, const char *ext, struct err *e)
{
    (void)arg, (void)number, (void)ext, (void)e;
    return memfd_create("output", MFD_CLOEXEC);
}

TEST(step, gives_rows_on_before_the_values_of_all_are_more_than_it_may_hold)
{
    static const struct stage stage = { memory_file, NULL, 1 << 20 };
    for (int back = 0; back < 2; back++) {
        struct output outputs[PIPELINE_PARTS_MAX + 1] = { 0 };
        struct config *c;
        AUTO(buf_clear) struct buf rows = { 0 };
        int n = 0;
        FILE *f = fopen(test_file("great.ini"), "w");
        fputs("[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{k}\ncolumns = name:text\nanswer = 2M\n"
              "[pipeline p]\ncolumns = id:integer!, k:text\nenrich = e\ntable = w.t\n", f);
        fclose(f);
        CHECK_OK(config_load(&c, test_file("great.ini"), NULL, &err), err);
        buf_adds(&rows, "id,k\n");
        for (int i = 0; i < 60; i++)
            buf_addf(&rows, "%d,k%d\n", i, i);
        backwards = back;
        desk = (struct worker){ .answer = great };
        CHECK_OK(pipeline_start(&running, c, &c->pipelines[0], "u", NULL, NULL, &stage, &err), err);
        pipeline_asks(running, (struct asker){ .ask = desk_ask });
        struct cut_input in = cut_of(buf_str(&rows), 0);
        CHECK_OK(pipeline_object(running, &in.in, "file:///a.csv", &err), err);
        CHECK_OK(pipeline_finish(running, outputs, &n, &err), err);
        CHECK_EQ(pipeline_counts(running)->staged, 60);
        CHECK(staged_then >= 36); /* at most a question's more than 16 MiB are held */
        for (int i = 0; i < n; i++)
            output_clear(&outputs[i]);
        pipeline_end(running);
        config_free(c);
    }
}

static void all_null(struct worker *w, uint64_t items, struct buf *out)
{
    (void)w;
    for (uint64_t i = 0; i < items; i++)
        say(out, i, KIND_BODY, true, "{\"name\": null, \"other\": 1}");
}

/* One is there, fresh; one has nothing in it, of the cache; one failed. */
static void one_of_each(struct worker *w, uint64_t items, struct buf *out)
{
    (void)w, (void)items;
    say(out, 0, KIND_BODY, true, "{\"name\": \"x\", \"n\": 1}");
    say(out, 1, KIND_BODY, false, "{\"nmae\": \"x\"}");
    say(out, 2, KIND_FAILED, true, "http://h/c: the server answered 500");
}

static void nothing_in_two(struct worker *w, uint64_t items, struct buf *out)
{
    (void)w, (void)items;
    say(out, 0, KIND_BODY, true, "{\"nmae\": \"x\"}");
    say(out, 1, KIND_BODY, true, "{}");
    say(out, 2, KIND_NONE, true, "");
}

TEST(step, counts_what_became_of_the_keys)
{
    CHECK_OK(enriched(one_of_each, "on_error = null\n"), err);
    CHECK_STR(tally.p, "[{\"pipeline\":\"p\",\"enrich\":\"e\",\"keys\":3,\"cached\":1,\"missed\":1,\"failed\":1,"
                       "\"error\":\"http://h/c: the server answered 500\",\"note\":null}]");
    CHECK_OK(enriched(nothing_in_two, ""), err);
    CHECK_STR(tally.p, "[{\"pipeline\":\"p\",\"enrich\":\"e\",\"keys\":3,\"cached\":0,\"missed\":3,\"failed\":0,"
                       "\"error\":null,\"note\":\"all 2 answers of [enrich e] lack the paths of its columns: name, n\"}]");
    buf_clear(&tally);
}

#define ONE(part, name, numbers) "{\"pipeline\":\"" part "\",\"enrich\":\"" name "\"," numbers ",\"error\":null,\"note\":null}"
#define GOOD "\"keys\":3,\"cached\":3,\"missed\":1,\"failed\":2"

TEST(tally, of_a_child_is_taken_only_when_it_adds_up)
{
    static const char *const good[] = { "[]", "[" ONE("p.a", "e", GOOD) "]", "[" ONE("p.b", "f", GOOD) "]",
                                        "[" ONE("p.a", "e", GOOD) "," ONE("p.b", "e", GOOD) "," ONE("p.b", "f", GOOD) "]" };
    static const char *const bad[] = {
        "", "{}", "[1]", "[{}]", "[" ONE("p.a", "f", GOOD) "]", "[" ONE("q", "e", GOOD) "]",
        "[" ONE("p.a", "e", GOOD) "," ONE("p.a", "e", GOOD) "]", "[" ONE("p.b", "f", GOOD) "," ONE("p.b", "e", GOOD) "]",
        "[" ONE("p.a", "e", "\"keys\":3,\"cached\":4,\"missed\":1,\"failed\":2") "]",
        "[" ONE("p.a", "e", "\"keys\":3,\"cached\":0,\"missed\":2,\"failed\":2") "]",
        "[" ONE("p.a", "e", "\"keys\":3,\"cached\":0,\"missed\":9223372036854775807,\"failed\":9223372036854775807") "]",
        "[" ONE("p.a", "e", "\"keys\":-3,\"cached\":-3,\"missed\":-3,\"failed\":0") "]",
        "[" ONE("p.a", "e", "\"keys\":1e3,\"cached\":0,\"missed\":0,\"failed\":0") "]",
        "[" ONE("p.a", "e", "\"keys\":\"3\",\"cached\":0,\"missed\":0,\"failed\":0") "]",
        "[{\"pipeline\":\"p.a\",\"enrich\":\"e\"," GOOD ",\"error\":7,\"note\":null}]",
        "[{\"pipeline\":\"p.a\",\"enrich\":\"e\"," GOOD ",\"error\":null}]",
    };
    struct config *c;
    FILE *f = fopen(test_file("tally.ini"), "w");
    fputs("[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{k}\ncolumns = name:text\n[enrich f]\nurl = http://h/{k}\ncolumns = more:text\n"
          "[pipeline p]\nsource = x\n[pipeline p.a]\ncolumns = k:text\nenrich = e\ntable = w.a\nmember = a*\n"
          "[pipeline p.b]\ncolumns = k:text\nenrich = e, f\ntable = w.b\nmember = b*\n", f);
    fclose(f);
    CHECK_OK(config_load(&c, test_file("tally.ini"), NULL, &err), err);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (!enrich_tally_is(good[i], &c->pipelines[0]))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (enrich_tally_is(bad[i], &c->pipelines[0]))
            fail_msg("%s is taken", bad[i]);
    config_free(c);
}

TEST(step, tells_which_answers_were_none)
{
    CHECK_OK(enriched(all_null, "on_miss = reject\n"), err);
    CHECK_EQ(desk.verdicts, 3);
    CHECK_EQ(desk.last_verdict, VERDICT_MISS);
    CHECK_EQ(counts.rejected, 6);
    CHECK_EQ(enriched(all_null, "on_miss = fail\n"), -1);
    CHECK_EQ(err.code, ERR_ENRICH_MISS);
}

static void nothing(struct worker *w, uint64_t items, struct buf *out) { (void)w, (void)items, (void)out; }
static void garbage(struct worker *w, uint64_t items, struct buf *out) { (void)w, (void)items, buf_adds(out, "garbage that is no answer at all"); }
static void another(struct worker *w, uint64_t items, struct buf *out) { (void)w, say(out, items, KIND_BODY, true, "{}"); }
static void no_kind(struct worker *w, uint64_t items, struct buf *out) { (void)w, (void)items, say(out, 0, KINDS, true, "{}"); }
static void cut_off(struct worker *w, uint64_t items, struct buf *out)
{
    (void)w, (void)items;
    say(out, 0, KIND_BODY, true, "{}");
    out->n--;
}

TEST(step, takes_no_answer_that_is_none)
{
    void (*const wrong[])(struct worker *, uint64_t, struct buf *) = { nothing, garbage, another, no_kind, cut_off };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_EQ(enriched(wrong[i], ""), -1);
        CHECK_EQ(err.code, ERR_INTERNAL);
    }
}

/* ---- the worker, with a reader of ours ---- */

/* Memory that runs out once. */
static bool fail_realloc, fail_asked; /* the latter: as soon as something is asked */
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
    if (!fail_realloc)
        return __real_realloc(p, n);
    fail_realloc = false;
    return NULL;
}

/* A worker of `[enrich e] more`. */
static struct enrich *worker_open(struct config **c, const char *ini, const char *more)
{
    struct enrich *e;
    FILE *f = fopen(test_file(ini), "w");
    fprintf(f, "[qetl]\ndatabase = %s-queue.db\n[target w]\nurl = sqlite:w.db\n[enrich e]\ncolumns = name:text\n%s", ini, more);
    fclose(f);
    CHECK_OK(config_load(c, test_file(ini), NULL, &err), err);
    CHECK_OK(enrich_open(&e, *c, &err), err);
    return e;
}

/* The kind of the one item's answer, after the verdict on the item before, if there is one; -1: there is none. */
static int asked(struct enrich *e, int verdict, const char *key)
{
    AUTO(buf_clear) struct buf q = { 0 };
    uint64_t answer[2], bytes;
    int fd, rc;
    pack_u64(&q, verdict >= 0);
    if (verdict >= 0) {
        pack_u64(&q, 0);
        pack_u64(&q, (uint64_t)verdict);
    }
    pack_u64(&q, 1);
    pack_u64(&q, false);
    pack_bytes(&q, key, strlen(key));
    fail_realloc = fail_asked;
    fail_asked = false;
    if (enrich_ask(e, 0, buf_str(&q), &err) < 0)
        return -1;
    struct pollfd p = { .fd = enrich_fd(e), .events = POLLIN };
    while ((rc = enrich_tick(e, &fd, &bytes, &err)) == 0)
        CHECK(poll(&p, 1, 60000) >= 0);
    if (rc < 0)
        return -1;
    CHECK_EQ(pread(fd, answer, sizeof answer, 0), sizeof answer);
    CHECK_EQ(answer[0], 0);
    close(fd);
    return (int)answer[1];
}

/* A worker whose clock runs: 1 the one item is answered, or -1. */
static int asked_in_time(struct enrich *e, const char *key)
{
    AUTO(buf_clear) struct buf q = { 0 };
    uint64_t answer[2] = { 0 }, bytes;
    int fd, rc;
    pack_u64(&q, 0);
    pack_u64(&q, 1);
    pack_u64(&q, false);
    pack_bytes(&q, key, strlen(key));
    CHECK_OK(enrich_ask(e, 0, buf_str(&q), &err), err);
    struct pollfd p = { .fd = enrich_fd(e), .events = POLLIN };
    while ((rc = enrich_tick(e, &fd, &bytes, &err)) == 0) {
        CHECK(poll(&p, 1, 20) >= 0);
        sys_clock_advance(250);
    }
    if (rc < 0)
        return -1;
    CHECK_EQ(pread(fd, answer, sizeof answer, 0), sizeof answer);
    close(fd);
    return (int)answer[1];
}

TEST(worker, leaves_a_server_that_is_down_alone_and_says_so_to_the_queue)
{
    struct config *c;
    struct job_hold hold;
    struct enrich *e = worker_open(&c, "down.ini", "url = http://127.0.0.1:1/{k}\nretries = 100\n");
    CHECK_EQ(asked_in_time(e, "a"), -1);
    CHECK_EQ(err.code, ERR_ENRICH_DOWN);
    CHECK_HAS(err.msg, "the server failed 15 times in a row and is left alone until ");
    CHECK(enrich_held(e, &hold));
    CHECK_STR(hold.name, "e");
    CHECK(hold.until > sys_now_ms() + 25000 && hold.until <= sys_now_ms() + 32000);
    CHECK(!enrich_held(e, &hold)); /* told once */
    CHECK_EQ(asked_in_time(e, "b"), -1);
    CHECK_HAS(err.msg, "failed 15 times"); /* it was not asked again */
    CHECK(enrich_held(e, &hold));
    sys_clock_advance(32000);
    CHECK_EQ(asked_in_time(e, "b"), -1);
    CHECK_HAS(err.msg, "failed 16 times");
    enrich_close(e);
    config_free(c);
}

TEST(worker, does_without_one_that_is_down_where_rows_may)
{
    struct config *c;
    struct job_hold hold;
    struct enrich *e = worker_open(&c, "without.ini", "url = http://127.0.0.1:1/{k}\nretries = 100\non_error = null\n");
    CHECK_EQ(asked_in_time(e, "a"), KIND_FAILED);
    CHECK_EQ(asked_in_time(e, "b"), KIND_FAILED);
    enrich_close(e);
    e = NULL;
    CHECK_OK(enrich_open(&e, c, &err), err); /* another worker */
    CHECK_EQ(asked_in_time(e, "c"), KIND_FAILED);
    CHECK(!enrich_held(e, &hold));
    enrich_close(e);
    config_free(c);
}

static const char nobody_there[] = "url = http://127.0.0.1:1/{k}\nretries = 0\non_error = null\n";

TEST(worker, goes_on_after_memory_ran_out_once)
{
    struct config *c;
    struct enrich *e = worker_open(&c, "memory.ini", nobody_there);
    CHECK_EQ(asked(e, -1, "a"), KIND_FAILED);
    fail_asked = true;
    CHECK_EQ(asked(e, VERDICT_MISS, "a"), -1);
    CHECK(!fail_realloc);
    CHECK_EQ(err.code, ERR_NO_MEMORY);
    CHECK_EQ(asked(e, -1, "a"), KIND_FAILED); /* nothing was kept */
    CHECK_EQ(asked(e, VERDICT_MISS, "a"), KIND_FAILED); /* nor is what was never there */
    enrich_close(e);
    config_free(c);
}

TEST(worker, takes_no_question_that_is_none)
{
    struct config *c;
    struct enrich *e;
    FILE *f = fopen(test_file("desk.ini"), "w");
    fputs("[qetl]\ndatabase = queue.db\n[target w]\nurl = sqlite:w.db\n[enrich e]\nurl = http://h/{k}\ncolumns = name:text\n", f);
    fclose(f);
    CHECK_OK(config_load(&c, test_file("desk.ini"), NULL, &err), err);
    CHECK_OK(enrich_open(&e, c, &err), err);
    CHECK(enrich_fd(e) >= 0);
    const uint64_t wrong[][4] = { { 1, 0, 0, 0 },       /* a verdict on nothing */
                                  { 0, 5000, 0, 0 },    /* too many items */
                                  { 0, 1, 0, 1 << 20 }, /* longer than the question */
                                  { UINT64_MAX, 0, 0, 0 } };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_EQ(enrich_ask(e, 0, (struct str){ (const char *)wrong[i], sizeof wrong[i] }, &err), -1);
        CHECK_EQ(err.code, ERR_INTERNAL);
    }
    CHECK_EQ(enrich_ask(e, 0, (struct str){ "xyz", 3 }, &err), -1);
    CHECK_EQ(enrich_ask(e, 1, (struct str){ "", 0 }, &err), -1);
    const uint64_t none[2] = { 0, 0 };
    int fd = -1;
    uint64_t bytes = 1;
    CHECK_EQ(enrich_tick(e, &fd, &bytes, &err), 0);
    CHECK_OK(enrich_ask(e, 0, (struct str){ (const char *)none, sizeof none }, &err), err);
    CHECK_EQ(enrich_ask(e, 0, (struct str){ (const char *)none, sizeof none }, &err), -1); /* before the first one has its answer */
    CHECK_EQ(enrich_tick(e, &fd, &bytes, &err), 1);
    CHECK(fd >= 0 && bytes == 0);
    close(fd);
    enrich_close(e);
    config_free(c);
}
