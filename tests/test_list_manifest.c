/* What manifests name, and what they may not. */
#include <fcntl.h>

#include "listing.h"

static struct config config = { .limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 20000, .object_bytes = 10 } };

struct got {
    struct buf text;
    int n, stop_at;
};

static int take(void *arg, const struct listed *o, struct err *err)
{
    struct got *g = arg;
    (void)err;
    buf_addf(&g->text, "%s|%.*s|%lld|%lld|%s\n", o->uri, (int)o->name.n, o->name.p, (long long)o->size, (long long)o->mtime_ms, o->etag);
    return ++g->n == g->stop_at;
}

static int list_source(const char *source, struct got *g, struct err *err)
{
    struct list_ask ask = { .config = &config, .cursor = "" };
    struct list_sink sink = { .object = take, .arg = g };
    buf_reset(&g->text);
    buf_adds(&g->text, "");
    g->n = 0;
    return list_source_of(source, ask, &sink, err);
}

static int list_text(struct str text, struct got *g, struct err *err)
{
    char source[600];
    int fd = open(test_file("m"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_OK(sys_write_all(fd, text.p, text.n, "m", err), *err);
    close(fd);
    snprintf(source, sizeof source, "manifest+file://%s", test_file("m"));
    return list_source(source, g, err);
}

/* What the manifest names; the folder of this test is DIR. */
static const char *names(const char *text)
{
    static struct got g;
    static char out[4096];
    struct err err;
    size_t n = 0, dir = strlen(test_dir());
    CHECK_OK(list_text(str_of(text), &g, &err), err);
    for (const char *p = g.text.p; *p;) {
        if (!strncmp(p, test_dir(), dir)) {
            n += (size_t)sprintf(out + n, "DIR");
            p += dir;
        }
        out[n++] = *p++;
    }
    out[n] = '\0';
    return out;
}

TEST(list_manifest, a_name_a_line)
{
    CHECK_STR(names("a.csv\n\n# said\nsub/b c%.csv\r\n/abs/d.csv\nhttps://h/e%20f.csv?x=1\ns3://b/k"),
              "DIR/a.csv|a.csv|-1|0|\nDIR/sub/b c%.csv|b c%.csv|-1|0|\n/abs/d.csv|d.csv|-1|0|\nhttps://h/e%20f.csv?x=1|e%20f.csv?x=1|-1|0|\ns3://b/k|k|-1|0|\n");
    CHECK_STR(names("\xef\xbb\xbf" "d41d8cd98f00b204e9800998ecf8427e  a.csv\nd41d8cd98f00b204e9800998ecf8427e *b.csv\nd41d8cd98f00b204e9800998ecf8427e c.csv\n"),
              "DIR/a.csv|a.csv|-1|0|md5:d41d8cd98f00b204e9800998ecf8427e\nDIR/b.csv|b.csv|-1|0|md5:d41d8cd98f00b204e9800998ecf8427e\n"
              "DIR/d41d8cd98f00b204e9800998ecf8427e c.csv|d41d8cd98f00b204e9800998ecf8427e c.csv|-1|0|\n");
    CHECK_STR(names(""), "");
    CHECK_STR(names("\n\n"), "");
}

TEST(list_manifest, json_in_its_forms)
{
    static const char a[] = "DIR/a.csv|a.csv|-1|0|\nDIR/b \"]}.csv|b \"]}.csv|5|1795262462000|x\n";
    CHECK_STR(names("[\"a.csv\", {\"path\":\"b \\\"]}.csv\", \"size\":5, \"mtime\":\"2026-11-21T12:01:02Z\", \"etag\":\"x\", \"more\":[{}]}]\n"), a);
    CHECK_STR(names("{\"name\":\"a.csv\"}\n{\"uri\":\"b \\\"]}.csv\",\"size\":5,\"mtime\":\"2026-11-21T12:01:02Z\",\"md5\":\"x\"}\n"), a);
    CHECK_STR(names("{\"version\": 1, \"entries\" : [{\"url\":\"a.csv\",\"mandatory\":true,\"size\":null}, "
                    "{\"url\":\"b \\\"]}.csv\",\"size\":5,\"mtime\":\"2026-11-21T12:01:02Z\",\"checksum\":\"x\"}], \"end\": {\"files\":[1]}}"),
              a);
    CHECK_STR(names("{\"name\":\"a\",\"etag\":\"e\",\"md5\":\"D41D8CD98F00B204E9800998ECF8427E\",\"sha256\":\"f00\"}"),
              "DIR/a|a|-1|0|e f00 md5:d41d8cd98f00b204e9800998ecf8427e\n");
    CHECK_STR(names("[]"), "");
    CHECK_STR(names("{\"files\":[]}"), "");
}

TEST(list_manifest, what_is_wrong_is_said_with_its_place)
{
    static const struct {
        const char *text;
        enum err_code code;
        const char *says;
    } bad[] = {
        { "a\n../b\n", ERR_URI, "name 2" },
        { "a/./b\n", ERR_URI, "name 1" },
        { "//h/x\n", ERR_URI, "one slash" },
        { "https://h/\xff\n", ERR_URI, "%XX" },
        { "gopher://h/x\n", ERR_URI, "gopher" },
        { "https://h/a b\n", ERR_URI, "no spaces" },
        { "[\"a\",1]", ERR_FORMAT, "element 2" },
        { "[\"a\",{\"x\":1}]", ERR_FORMAT, "name 2" },
        { "[{\"uri\":1}]", ERR_FORMAT, "uri" },
        { "[{\"uri\":\"a\",\"size\":-1}]", ERR_FORMAT, "size" },
        { "[{\"uri\":\"a\",\"mtime\":\"today\"}]", ERR_FORMAT, "mtime" },
        { "[\"a\"", ERR_TRUNCATED, "behind 1" },
        { "{\"uri\":\"a\"}\n{\"uri\":", ERR_TRUNCATED, "behind 1" },
        { "[\"\"]", ERR_URI, "empty" },
        { "[\"a\\u0000b\"]", ERR_URI, "zero byte" },
    };
    struct got g = { 0 };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_EQ(list_text(str_of(bad[i].text), &g, &err), -1);
        CHECK_STR(err_name(err.code), err_name(bad[i].code));
        CHECK_HAS(err.msg, bad[i].says);
    }
    CHECK_EQ(list_text((struct str){ "\xff\xfe" "a\0", 4 }, &g, &err), -1);
    CHECK_EQ(err.code, ERR_ENCODING);
    static char line[LIST_DEPTH_MAX * 1024];
    memset(line, 'x', sizeof line);
    CHECK_EQ(list_text((struct str){ line, sizeof line }, &g, &err), -1);
    CHECK_EQ(err.code, ERR_LIMIT);
    CHECK_EQ(list_source("manifest+file:///nowhere/at/all", &g, &err), -1);
    CHECK_EQ(err.code, ERR_FETCH_MISSING);
    CHECK_EQ(list_source("manifest+file:///nowhere/*.txt", &g, &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG);
    g.stop_at = 2;
    CHECK_OK(list_text(STR("a\nb\nc\n"), &g, &err), err);
    CHECK_EQ(g.n, 2);
    buf_clear(&g.text);
}

/* ---- over the network ---- */

static const char *body;

static void *serve(void *arg)
{
    int listener = *(int *)arg, fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        char head[4096];
        if (read(fd, head, sizeof head) > 0)
            dprintf(fd, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
        close(fd);
    }
    return NULL;
}

TEST(list_manifest, one_from_afar_names_only_its_own_host)
{
    static int listener;
    char origin[64], source[128], text[400], wanted[400];
    struct got g = { 0 };
    struct err err;
    serve_on_loopback(serve, &listener, origin, sizeof origin);
    snprintf(source, sizeof source, "manifest+%s/out/list.txt", origin);
    snprintf(text, sizeof text, "a b.csv\n/root/c.csv\n%s/d.csv\n", origin);
    snprintf(wanted, sizeof wanted, "%s/out/a%%20b.csv|a%%20b.csv|-1|0|\n%s/root/c.csv|c.csv|-1|0|\n%s/d.csv|d.csv|-1|0|\n", origin, origin, origin);
    body = text;
    CHECK_OK(list_source(source, &g, &err), err);
    CHECK_STR(g.text.p, wanted);
    static const char *const hostile[] = { "file:///etc/passwd", "file:/etc/passwd", "http://elsewhere.invalid/x", "http://127.0.0.1/x", "s3://bucket/x",
                                           "http://127.0.0.1:1@evil/x" };
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        body = hostile[i];
        CHECK_EQ(list_source(source, &g, &err), -1);
        CHECK_EQ(err.code, ERR_URI);
        CHECK_HAS(err.msg, "own host");
    }
    buf_clear(&g.text);
}
