/* What is listed of a local folder, and what is not. */
#include "source/list.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "listing.h"
#include "source/source.h"

struct got {
    struct buf text;
    int n, stop_at;
    const char *vanish; /* removed when the first object is given */
    int64_t size, mtime_ms;
};

static int take(void *arg, const struct listed *o, struct err *err)
{
    struct got *g = arg;
    if (g->vanish && strcmp(g->vanish, o->uri)) {
        CHECK_EQ(unlink(g->vanish), 0);
        g->vanish = NULL;
    }
    buf_addf(&g->text, "%.*s ", (int)o->name.n, o->name.p);
    g->size = o->size;
    g->mtime_ms = o->mtime_ms;
    CHECK_STR(o->etag, "");
    int fd;
    int64_t size, mtime;
    CHECK_OK(source_open_local(o->uri, &fd, &size, &mtime, err), *err); /* a job can open what it is called */
    close(fd);
    CHECK_EQ(size, o->size);
    CHECK_EQ(mtime, o->mtime_ms);
    return ++g->n == g->stop_at;
}

static int list_of(const char *source, struct got *g, struct err *err)
{
    struct list_ask ask = { .cursor = "" };
    struct list_sink sink = { .object = take, .arg = g };
    return list_source_of(source, ask, &sink, err);
}

static void put(const char *name, const char *text)
{
    const char *path = test_file(name);
    struct err err;
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    CHECK_OK(sys_mkdirs(folder, &err), err);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_OK(sys_write_all(fd, text, strlen(text), path, &err), err);
    close(fd);
}

static int count(const char *tail)
{
    struct got g = { 0 };
    struct err err;
    CHECK_OK(list_of(test_file(tail), &g, &err), err);
    buf_clear(&g.text);
    return g.n;
}

TEST(list, gives_files_with_size_and_time)
{
    put("one/a.csv", "12345");
    put("one/b.txt", "");
    CHECK_EQ(utimensat(AT_FDCWD, test_file("one/a.csv"), (struct timespec[]){ { 0, 0 }, { 1700000000, 123456789 } }, 0), 0);
    struct got g = { 0 };
    struct err err;
    CHECK_OK(list_of(test_file("one/*.csv"), &g, &err), err);
    CHECK_STR(g.text.p, "a.csv ");
    CHECK_EQ(g.size, 5);
    CHECK_EQ(g.mtime_ms, 1700000000123);
    buf_clear(&g.text);
    CHECK_EQ(count("one/a.csv"), 1); /* a literal name */
    CHECK_EQ(count("one/c.csv"), 0);
}

TEST(list, names_are_bytes)
{
    static const char *const names[] = { "odd/a b.csv", "odd/'q\".csv", "odd/new\nline.csv", "odd/%41.csv", "odd/\xe9\xff.csv",
                                         "odd/back\\slash.csv", "odd/-rf.csv", "odd/{x}.csv", "odd/\xc3\xa9.csv" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        put(names[i], "x");
    CHECK_EQ(count("odd/*.csv"), COUNT_OF(names));
}

static void take_no_file(void *arg, const char *uri, const char *why)
{
    const char *base = test_file(""), *at = strstr(uri, base);
    CHECK(at == uri);
    buf_addf(&((struct got *)arg)->text, "%s (%c) ", uri + strlen(base), *why);
}

/* What is neither file nor folder, in their order: 'a': a link; 'n': something else. */
static bool tells(const char *tail, const char *const *want)
{
    struct got g = { 0 };
    struct err err;
    struct list_ask ask = { .cursor = "" };
    struct list_sink sink = { .object = take, .no_file = take_no_file, .arg = &g };
    CHECK_OK(list_source_of(test_file(tail), ask, &sink, &err), err);
    buf_adds(&g.text, "");
    size_t n = 0;
    bool all = true;
    for (; want[n]; n++)
        all &= strstr(g.text.p, want[n]) != NULL;
    for (const char *p = g.text.p; (p = strchr(p, '(')); p++)
        n--;
    buf_clear(&g.text);
    return all && n == 0;
}

TEST(list, follows_no_link_and_takes_no_fifo)
{
    put("out/secret.csv", "x");
    put("tree/a/1.csv", "x");
    CHECK_EQ(symlink(test_file("out"), test_file("tree/way-out")), 0);
    CHECK_EQ(symlink(test_file("tree"), test_file("tree/a/round")), 0);
    CHECK_EQ(symlink(test_file("out/secret.csv"), test_file("tree/link.csv")), 0);
    CHECK_EQ(mkfifo(test_file("tree/fifo.csv"), 0600), 0);
    CHECK_EQ(mkdir(test_file("tree/folder.csv"), 0700), 0);
    CHECK_EQ(count("tree/**.csv"), 1);
    CHECK_EQ(count("tree/**/*.csv"), 1);
    CHECK_EQ(count("tree/fifo.csv"), 0);
    CHECK_EQ(count("tree/link.csv"), 0);
    CHECK(tells("tree/*.csv", (const char *const[]){ "tree/link.csv (a)", "tree/fifo.csv (n)", NULL }));
    CHECK(tells("tree/*/*.csv", (const char *const[]){ "tree/way-out (a)", "tree/link.csv (a)", "tree/fifo.csv (n)", NULL })); /* it would lead there */
    CHECK(tells("tree/a/*.csv", (const char *const[]){ NULL }));
    CHECK(tells("tree/link.csv", (const char *const[]){ "tree/link.csv (a)", NULL }));
    CHECK_EQ(symlink(test_file("tree"), test_file("name")), 0); /* what the ini itself names may be a link */
    CHECK_EQ(count("name/a/*.csv"), 1);
}

TEST(list, enters_only_folders_that_can_match)
{
    put("wide/in/2026/1.csv", "x");
    put("wide/no/2026/1.csv", "x");
    CHECK_EQ(chmod(test_file("wide/no"), 0), 0); /* entering it would be an error */
    CHECK_EQ(count("wide/i*/*/*.csv"), 1);
    CHECK_EQ(count("wide/*.csv"), 0);
    if (geteuid() != 0) {
        struct got g = { 0 };
        struct err err;
        CHECK_EQ(list_of(test_file("wide/*/*/*.csv"), &g, &err), -1);
        CHECK_EQ(err.code, ERR_FETCH_DENIED);
        buf_clear(&g.text);
    }
    CHECK_EQ(chmod(test_file("wide/no"), 0700), 0);
}

TEST(list, passes_over_what_vanishes)
{
    struct got g = { .vanish = NULL };
    struct err err;
    for (int i = 0; i < 50; i++) {
        char name[40];
        snprintf(name, sizeof name, "gone/%d.csv", i);
        put(name, "x");
    }
    /* the first object that is given takes another one away, which readdir has read already or not: both are fine */
    g.vanish = test_file("gone/25.csv");
    CHECK_OK(list_of(test_file("gone/*.csv"), &g, &err), err);
    CHECK(g.n == 49 || g.n == 50);
    buf_clear(&g.text);
}

TEST(list, a_missing_folder_is_told_from_an_empty_one)
{
    struct got g = { 0 };
    struct err err;
    CHECK_EQ(list_of(test_file("nowhere/*.csv"), &g, &err), -1);
    CHECK_EQ(err.code, ERR_FETCH_MISSING);
    CHECK_EQ(mkdir(test_file("empty"), 0700), 0);
    CHECK_EQ(count("empty/*.csv"), 0);
}

TEST(list, ends_when_the_sink_has_enough)
{
    struct got g = { .stop_at = 3 };
    struct err err;
    for (int i = 0; i < 10; i++) {
        char name[40];
        snprintf(name, sizeof name, "some/%d.csv", i);
        put(name, "x");
    }
    CHECK_OK(list_of(test_file("some/*.csv"), &g, &err), err);
    CHECK_EQ(g.n, 3);
    buf_clear(&g.text);
}

TEST(list, refuses_to_go_too_deep)
{
    struct buf path = { 0 };
    struct got g = { 0 };
    struct err err;
    for (int i = 0; i <= LIST_DEPTH_MAX; i++)
        buf_adds(&path, "d/");
    buf_adds(&path, "x.csv");
    put(path.p, "x");
    CHECK_EQ(list_of(test_file("d/**.csv"), &g, &err), 0); /* below d it is just as deep as can be */
    CHECK_EQ(g.n, 1);
    CHECK_EQ(list_of(test_file("**.csv"), &g, &err), -1);
    CHECK_EQ(err.code, ERR_LIMIT);
    buf_clear(&path);
    buf_clear(&g.text);
}

TEST(list, says_which_schemes_it_knows)
{
    struct err err;
    CHECK(!list_by_base("gopher://host", &err));
    CHECK_EQ(err.code, ERR_URI);
    CHECK_HAS(err.msg, "gopher");
    CHECK_HAS(err.msg, "local paths");
}

TEST(list, writes_uris_that_lead_back)
{
    struct buf b = { 0 };
    list_uri("sftp://h:22", STR("/a b/%\xff~.csv"), &b);
    CHECK_STR(b.p, "sftp://h:22/a%20b/%25%FF~.csv");
    buf_clear(&b);
}
