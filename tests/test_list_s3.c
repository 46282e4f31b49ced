/* What is listed of a bucket, against a store that checks signatures and answers in pages of seven keys. */
#include <stdio.h>

#include "io/s3.h"
#include "listing.h"
#include "service.h"

static struct remote remote, remotes[2];
static struct config config = { .limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 5000 }, .remotes = remotes, .nremotes = 2 };
static struct s3 *s3;

static void start(void)
{
    struct err err;
    if (s3)
        return;
    snprintf(s3_service.place, sizeof s3_service.place, "%s/s3", test_dir());
    static char url[] = "s3://bucket", other[] = "s3://nobucket";
    remote = s3_service_remote();
    remote.url = url;
    remotes[0] = remotes[1] = remote;
    remotes[1].url = other;
    if (s3_service_run("start") != 0)
        skip();
    CHECK_OK(s3_open(&s3, &remote, STR("bucket"), &config.limits, &err), err);
}

static void put(const char *key, const char *text)
{
    struct err err;
    CHECK_OK(s3_put(s3, key, str_of(text), NULL, NULL, &err) < 0 ? -1 : 0, err);
}

static bool was_asked(const char *part)
{
    static char text[1 << 20];
    FILE *f = fopen(s3_service.requests, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    return strstr(text, part) != NULL;
}

struct got {
    struct buf text;
    int n, stop_at, pages, stop_page;
    char cursor[S3_KEY_MAX + 1], etag[S3_ETAG];
    int64_t size, mtime_ms;
};

static int take(void *arg, const struct listed *o, struct err *err)
{
    struct got *g = arg;
    struct str bucket, key;
    AUTO(buf_clear) struct buf b = { 0 };
    CHECK_OK(s3_split(o->uri, &bucket, &key, err), *err);
    s3_decode(&b, key); /* a job gets at it by what it is called */
    CHECK(b.n == o->path.n - 1 && !memcmp(b.p, o->path.p + 1, b.n));
    buf_addf(&g->text, "%.*s ", (int)o->path.n, o->path.p);
    g->size = o->size;
    g->mtime_ms = o->mtime_ms;
    snprintf(g->etag, sizeof g->etag, "%s", o->etag);
    return ++g->n == g->stop_at;
}

static int page(void *arg, const char *cursor, struct err *err)
{
    struct got *g = arg;
    (void)err;
    snprintf(g->cursor, sizeof g->cursor, "%s", cursor);
    return ++g->pages == g->stop_page;
}

static int list_from(const char *source, const char *cursor, struct got *g, struct err *err)
{
    struct list_ask ask = { .config = &config, .cursor = cursor };
    struct list_sink sink = { .object = take, .page = page, .arg = g };
    buf_reset(&g->text);
    buf_adds(&g->text, "");
    g->n = g->pages = 0;
    return list_source_of(source, ask, &sink, err);
}

static const char *list_of(const char *source)
{
    static struct got g;
    struct err err;
    CHECK_OK(list_from(source, "", &g, &err), err);
    return g.text.p;
}

TEST(list_s3, gives_size_time_and_etag)
{
    struct got g = { 0 };
    struct err err;
    start();
    put("facts/a.csv", "12345");
    CHECK_OK(list_from("s3://bucket/facts/*.csv", "", &g, &err), err);
    CHECK_STR(g.text.p, "/facts/a.csv ");
    CHECK_EQ(g.size, 5);
    CHECK(g.mtime_ms > 1700000000000 && g.mtime_ms <= sys_now_ms());
    CHECK_EQ(g.etag[0], '"');
    struct got literal = { 0 };
    CHECK_OK(list_from("s3://bucket/facts/a.csv", "", &literal, &err), err);
    CHECK_STR(literal.text.p, "/facts/a.csv ");
    CHECK_EQ(literal.mtime_ms, g.mtime_ms);
    CHECK_STR(literal.etag, g.etag);
    CHECK_STR(list_of("s3://bucket/facts/none.csv"), "");
    CHECK_STR(list_of("s3://bucket/nowhere/*"), "");
    buf_clear(&g.text);
    buf_clear(&literal.text);
}

TEST(list_s3, keys_are_bytes)
{
    static const char *const keys[] = { "odd/%25 +&<>\"'.csv", "odd/a\nb\r\n.csv", "odd/\x01\x7f.csv", "odd/\xc3\xbc.csv", "odd/..csv",
                                        "odd/x%2Fy.csv",       "odd/{z}.csv",      "odd/+.csv",        "odd/100%.csv" };
    struct got g = { 0 };
    struct err err;
    start();
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        put(keys[i], "x");
    put("odd/..", "x");
    put("odd/", "");
    CHECK_OK(list_from("s3://bucket/odd/*.csv", "", &g, &err), err);
    CHECK_EQ(g.n, COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        CHECK(strstr(g.text.p, keys[i]));
    CHECK_OK(list_from("s3://bucket/odd/*", "", &g, &err), err);
    CHECK_EQ(g.n, COUNT_OF(keys) + 1); /* the one that stands for the folder is no object */
    buf_clear(&g.text);
}

TEST(list_s3, looks_only_into_prefixes_that_can_match)
{
    start();
    put("wide/in/2026/1.csv", "x");
    put("wide/in/2026/sub/2.csv", "x");
    put("wide/no/2026/1.csv", "x");
    CHECK_STR(list_of("s3://bucket/wide/i*/*/*.csv"), "/wide/in/2026/1.csv ");
    CHECK(was_asked("prefix=wide%2Fin%2F&") || was_asked("prefix=wide%2Fin%2F "));
    CHECK(!was_asked("prefix=wide%2Fno%2F"));
    CHECK_STR(list_of("s3://bucket/wide/i*/**.csv"), "/wide/in/2026/1.csv /wide/in/2026/sub/2.csv ");
    CHECK(!was_asked("prefix=wide%2Fno%2F"));
    CHECK(!was_asked("prefix=wide%2Fin%2F2026%2Fsub"));
    CHECK_STR(list_of("s3://bucket/wide/**/1.csv"), "/wide/in/2026/1.csv /wide/no/2026/1.csv ");
    CHECK_STR(list_of("s3://bucket/wide/*.csv"), "");
}

TEST(list_s3, many_pages_and_going_on_behind_one)
{
    struct got g = { 0 };
    struct err err;
    char key[64], cursor[S3_KEY_MAX + 1];
    start();
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, i % 4 ? "many/%02d.csv" : "many/%02d/x.csv", i);
        put(key, "x");
    }
    CHECK_OK(list_from("s3://bucket/many/**.csv", "", &g, &err), err);
    CHECK_EQ(g.n, 40);
    CHECK_EQ(g.pages, 6);
    CHECK_OK(list_from("s3://bucket/many/*/*.csv", "", &g, &err), err);
    CHECK_EQ(g.n, 10);
    CHECK_EQ(g.pages, 6);
    static const char *const sources[] = { "s3://bucket/many/**.csv", "s3://bucket/many/*.csv", "s3://bucket/many/*/*.csv" };
    static const int sums[] = { 40, 30, 10 };
    for (size_t i = 0; i < COUNT_OF(sources); i++) {
        g.stop_page = 3;
        CHECK_OK(list_from(sources[i], "", &g, &err), err);
        int first = g.n;
        CHECK(first > 0 && first < sums[i]);
        CHECK_EQ(g.pages, 3);
        snprintf(cursor, sizeof cursor, "%s", g.cursor);
        CHECK_EQ(s3_service_run("stop"), 0); /* it needs no memory of the store */
        CHECK_EQ(s3_service_run("start"), 0);
        g.stop_page = 0;
        CHECK_OK(list_from(sources[i], cursor, &g, &err), err);
        CHECK_EQ(first + g.n, sums[i]);
    }
    g.stop_at = 9;
    CHECK_OK(list_from("s3://bucket/many/**.csv", "", &g, &err), err);
    CHECK_EQ(g.n, 9);
    buf_clear(&g.text);
}

TEST(list_s3, a_list_that_fails_on_its_third_page_gave_what_it_found)
{
    struct got g = { 0 };
    struct err err;
    char key[64];
    start();
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "fails/%02d.csv", i);
        put(key, "x");
    }
    s3_service_fault("continuation-token=fails%2F13 9 503\n");
    CHECK_EQ(list_from("s3://bucket/fails/*.csv", "", &g, &err), -1);
    CHECK_EQ(err.code, ERR_FETCH_BUSY);
    CHECK_EQ(g.n, 14);
    CHECK_STR(g.cursor, "fails/13.csv");
    s3_service_fault("");
    CHECK_OK(list_from("s3://bucket/fails/*.csv", g.cursor, &g, &err), err);
    CHECK_EQ(g.n, 26);
    buf_clear(&g.text);
}

TEST(list_s3, says_what_is_wrong)
{
    struct got g = { 0 };
    struct err err;
    char elsewhere[] = "us-east-1";
    start();
    CHECK_EQ(list_from("s3://nobucket/*.csv", "", &g, &err), -1);
    CHECK_EQ(err.code, ERR_FETCH_MISSING);
    CHECK_HAS(err.msg, "NoSuchBucket");
    remotes[0].region = elsewhere;
    CHECK_EQ(list_from("s3://bucket/*.csv", "", &g, &err), -1);
    CHECK_HAS(err.msg, "eu-test-1");
    remotes[0].region = remote.region;
    buf_clear(&g.text);
}

TEST(list_s3, a_marker_is_there_or_not)
{
    struct err err;
    struct pattern *p;
    struct globs globs;
    int64_t covered;
    start();
    put("mark/_SUCCESS", "");
    CHECK_OK(pattern_parse(&p, "s3://bucket/mark/*.csv", 0, &err), err);
    CHECK_OK(pattern_globs(p, NULL, 0, 0, &globs, &covered, &err), err);
    const struct lister *l = list_by_base(pattern_base(p), &err);
    struct list_links *links;
    CHECK_OK(list_links_open(&links, &err), err);
    struct list_ask ask = { .links = links, .config = &config, .base = pattern_base(p), .glob = &globs.v[0], .cursor = "" };
    int64_t mtime_ms;
    CHECK_EQ(l->exists(&ask, STR("/mark/_SUCCESS"), &mtime_ms, &err), 1);
    CHECK_EQ(l->exists(&ask, STR("/mark/_FAILURE"), &mtime_ms, &err), 0);
    list_links_close(links);
    globs_clear(&globs);
    pattern_free(p);
}

/* the last one */
TEST(list_s3, zz_the_store_is_stopped)
{
    start();
    s3_close(s3);
    CHECK_EQ(s3_service_run("stop"), 0);
}
