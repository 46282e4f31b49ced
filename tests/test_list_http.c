/* What is listed of web servers: nginx, and one of our own that says whatever it is told. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "io/fetch.h"
#include "listing.h"
#include "service.h"

static struct config config = {
    .limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 20000, .object_bytes = 10 }, /* pages are no objects */
};

struct got {
    struct buf text;
    int n, stop_at, asked;
    bool stop;
};

static int take(void *arg, const struct listed *o, struct err *err)
{
    struct got *g = arg;
    (void)err;
    buf_addf(&g->text, "%.*s|%lld|%d|%s\n", (int)o->path.n, o->path.p, (long long)o->size, o->mtime_ms > 0, o->etag);
    return ++g->n == g->stop_at;
}

static bool go_on(void *arg)
{
    struct got *g = arg;
    g->asked++;
    return !g->stop;
}

static int list_with(const char *source, bool versions, struct got *g, struct err *err)
{
    struct list_ask ask = {
        .config = &config, .versions = versions, .cursor = "", .go_on = go_on
    };
    struct list_sink sink = { .object = take, .arg = g };
    buf_reset(&g->text);
    buf_adds(&g->text, "");
    g->n = 0;
    return list_source_of(source, ask, &sink, err);
}

/* ---- a server of our own: the answer of each path ---- */

static const struct answer {
    const char *path, *body;
    int status, repeat; /* the body so many times */
} answers[] = {
    { "/p/", "<ul><li><a href=\"a.csv\">a</a><li><a href=\"sub/\">s</a><li><a href=\"no/\">s</a><li><a href=\"gone/\">g</a>"
             "<li><a href=\"../up.csv\">u</a><li><a href=\"//elsewhere.invalid/p/x.csv\">x</a></ul>", 200, 1 },
    { "/p/sub/", "<a href=\"b.csv\">b</a><a href=\"/p/\">up</a><a href=\"/p/sub/\">self</a>", 200, 1 },
    { "/p/no/", "<a href=\"c.txt\">", 200, 1 },
    { "/p/a.csv", "12345", 200, 1 },
    { "/p/sub/b.csv", "1234567", 200, 1 },
    { "/endless/", "<a href=\"d/\">", 200, 1 },
    { "/long/", "<a href=\"0123456789012345678901234567890123456789.csv\">0123456789012345678901234567890123456789.csv</a> 21-Nov-2026 12:01 5\n", 200, 200000 },
    { "/csv/", "a,b\n1,2\n", 200, 1 },
    { "/empty/", "", 200, 1 },
    { "/secret/", "no", 403, 1 },
};

static char origin[64], asked[1 << 16];
static size_t nasked;

static void serve_one(int fd)
{
    char head[4096];
    size_t n = 0;
    ssize_t r;
    while (n < sizeof head - 1 && (r = read(fd, head + n, sizeof head - 1 - n)) > 0) {
        n += (size_t)r;
        head[n] = '\0';
        char *end;
        while ((end = strstr(head, "\r\n\r\n"))) {
            char method[8], path[1024];
            if (sscanf(head, "%7s %1023s", method, path) != 2)
                return;
            if (nasked + strlen(path) + 8 < sizeof asked)
                nasked += (size_t)sprintf(asked + nasked, "%s %s\n", method, path);
            static const struct answer none = { "", "", 404, 1 };
            const struct answer *a = &none;
            for (size_t i = 0; i < COUNT_OF(answers); i++)
                if (!strcmp(answers[i].path, path) || (!strncmp(path, "/endless/", 9) && !strcmp(answers[i].path, "/endless/")))
                    a = &answers[i];
            size_t length = strlen(a->body);
            dprintf(fd, "HTTP/1.1 %d x\r\nContent-Length: %zu\r\n%s\r\n", a->status, length * (size_t)a->repeat,
                    strchr(path, '.') ? "ETag: \"e1\"\r\nLast-Modified: Sat, 21 Nov 2026 12:01:02 GMT\r\n" : "");
            for (int i = 0; strcmp(method, "HEAD") && i < a->repeat; i++)
                if (write(fd, a->body, length) != (ssize_t)length)
                    return;
            n -= (size_t)(end + 4 - head);
            memmove(head, end + 4, n + 1);
        }
    }
}

static void *serve(void *arg)
{
    int listener = *(int *)arg, fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        serve_one(fd);
        close(fd);
    }
    return NULL;
}

static const char *at(const char *path)
{
    static int listener = -1;
    static char out[4][512];
    static unsigned next;
    if (listener < 0)
        serve_on_loopback(serve, &listener, origin, sizeof origin);
    char *o = out[next++ % 4];
    snprintf(o, sizeof out[0], "%s%s", origin, path);
    nasked = 0;
    asked[0] = '\0';
    return o;
}

static const char *list_of(const char *path, bool versions)
{
    static struct got g;
    struct err err;
    CHECK_OK(list_with(at(path), versions, &g, &err), err);
    return g.text.p;
}

TEST(list_http, pages_that_can_lead_to_a_match_are_read)
{
    CHECK_STR(list_of("/p/*.csv", false), "/p/a.csv|-1|0|\n");
    CHECK_STR(asked, "GET /p/\n"); /* one request, and none for each object */
    CHECK_STR(list_of("/p/**.csv", false), "/p/a.csv|-1|0|\n/p/sub/b.csv|-1|0|\n"); /* gone/ is passed over */
    CHECK_STR(list_of("/p/s*/*.csv", false), "/p/sub/b.csv|-1|0|\n");
    CHECK_STR(asked, "GET /p/\nGET /p/sub/\n");
}

TEST(list_http, what_a_page_does_not_show_is_asked_for_when_versions_count)
{
    CHECK_STR(list_of("/p/**.csv", true), "/p/a.csv|5|1|\"e1\"\n/p/sub/b.csv|7|1|\"e1\"\n");
    CHECK(strstr(asked, "HEAD /p/a.csv"));
    CHECK(!strstr(asked, "up.csv") && !strstr(asked, "c.txt") && !strstr(asked, "x.csv"));
    CHECK_STR(list_of("/p/a.csv", false), "/p/a.csv|5|1|\"e1\"\n"); /* a literal name */
    CHECK_STR(list_of("/p/none.csv", false), "");
}

TEST(list_http, hostile_servers_come_to_an_end)
{
    struct got g = { 0 };
    struct err err;
    CHECK_EQ(list_with(at("/endless/**.csv"), false, &g, &err), -1); /* each page names another one below it */
    CHECK_EQ(err.code, ERR_LIMIT);
    CHECK_OK(list_with(at("/long/*.csv"), true, &g, &err), err);
    CHECK_EQ(g.n, 200000); /* the same again and again: nobody keeps them */
    g.stop = true;
    CHECK_EQ(list_with(at("/endless/**.csv"), false, &g, &err), -1);
    CHECK_EQ(err.code, ERR_SHUTDOWN);
    buf_clear(&g.text);
}

TEST(list_http, says_what_is_wrong)
{
    static const struct {
        const char *path;
        enum err_code code;
        const char *says;
    } bad[] = {
        { "/nowhere/*", ERR_FETCH_MISSING, "/nowhere/" },
        { "/csv/*", ERR_FORMAT, "/csv/: this is no page of a folder" },
        { "/empty/*", ERR_FORMAT, "/empty/: this is no page of a folder: it is empty" },
        { "/secret/*", ERR_FETCH_DENIED, "/secret/" },
    };
    struct got g = { 0 };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_EQ(list_with(at(bad[i].path), false, &g, &err), -1);
        CHECK_STR(err_name(err.code), err_name(bad[i].code));
        CHECK_HAS(err.msg, bad[i].says);
    }
    buf_clear(&g.text);
}

TEST(list_http, a_marker_is_there_or_not)
{
    struct pattern *p;
    struct globs globs;
    int64_t covered;
    struct err err;
    CHECK_OK(pattern_parse(&p, at("/p/*.csv"), 0, &err), err);
    CHECK_OK(pattern_globs(p, NULL, 0, 0, &globs, &covered, &err), err);
    struct list_ask ask = { .config = &config, .base = pattern_base(p), .glob = &globs.v[0], .cursor = "" };
    int64_t mtime_ms;
    CHECK_EQ(list_http.exists(&ask, STR("/p/a.csv"), &mtime_ms, &err), 1);
    CHECK_EQ(list_http.exists(&ask, STR("/p/a.csv.done"), &mtime_ms, &err), 0);
    CHECK_EQ(list_http.exists(&ask, STR("/secret/"), &mtime_ms, &err), -1);
    CHECK_EQ(err.code, ERR_FETCH_DENIED);
    globs_clear(&globs);
    pattern_free(p);
}

/* ---- nginx ---- */

static char www[700], server[700], place[600];

static int service(const char *verb)
{
    const struct service_fact facts[] = { { "HTTP", server, sizeof server }, { "WWW", www, sizeof www } };
    return service_run("http", verb, place, facts, COUNT_OF(facts));
}

static void put(const char *name, const char *text)
{
    char path[2000];
    struct err err;
    snprintf(path, sizeof path, "%s/%s", www, name);
    *strrchr(path, '/') = '\0';
    CHECK_OK(sys_mkdirs(path, &err), err);
    snprintf(path, sizeof path, "%s/%s", www, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK_OK(sys_write_all(fd, text, strlen(text), path, &err), err);
    close(fd);
}

TEST(list_http, nginx_in_both_forms)
{
    static const char *const names[] = { "odd/a b.csv", "odd/'q\".csv", "odd/%41.csv", "odd/caf\xc3\xa9.csv", "odd/a+b&c=d.csv", "odd/<x>#y?.csv", "odd/{x}.csv",
                                         "odd/\xc3\xa9.csv", "odd/a:b.csv", "odd/sub dir/x.csv" };
    static const char *const forms[] = { "index", "json" };
    struct got g = { 0 };
    struct err err;
    char source[900];
    snprintf(place, sizeof place, "%s/http", test_dir());
    if (service("start") != 0)
        skip();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        put(names[i], "12345");
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        snprintf(source, sizeof source, "%s/%s/odd/**.csv", server, forms[i]);
        CHECK_OK(list_with(source, true, &g, &err), err);
        CHECK_EQ(g.n, COUNT_OF(names));
        for (size_t k = 0; k < COUNT_OF(names); k++) {
            char line[200];
            snprintf(line, sizeof line, "/%s/%s|5|%d|", forms[i], names[k], (int)i);
            if (!strstr(g.text.p, line))
                fail_msg("'%s' is not in '%s'", line, g.text.p);
        }
    }
    put("bytes/\xe9\xff.csv", "12345");
    snprintf(source, sizeof source, "%s/index/bytes/*.csv", server);
    CHECK_OK(list_with(source, true, &g, &err), err);
    CHECK_EQ(g.n, 1);
    snprintf(source, sizeof source, "%s/json/bytes/*.csv", server); /* JSON cannot write every byte */
    CHECK_OK(list_with(source, true, &g, &err), err);
    CHECK_EQ(g.n, 0);
    CHECK_EQ(service("stop"), 0);
    buf_clear(&g.text);
}
