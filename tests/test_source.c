#include <fcntl.h>
#include <sys/stat.h>

#include "base/text.h"
#include "source/source.h"
#include "test.h"

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

TEST(source, schemes_are_local_or_fetched)
{
    static const struct {
        const char *uri;
        enum source_kind kind;
    } table[] = {
        { "/data/x.csv", SOURCE_LOCAL },   { "x.csv", SOURCE_LOCAL },
        { "a:b.csv", SOURCE_LOCAL },       { "file:///x", SOURCE_LOCAL },
        { "FILE:/x", SOURCE_LOCAL },       { "http://h/x", SOURCE_FETCHED },
        { "HTTPS://h/x", SOURCE_FETCHED }, { "ftp://h/x", SOURCE_FETCHED },
        { "ftps://h/x", SOURCE_FETCHED },  { "sftp://u@h:2/x", SOURCE_FETCHED },
        { "./http://x", SOURCE_LOCAL },
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        enum source_kind kind = (enum source_kind) - 1;
        CHECK_OK(source_kind(table[i].uri, &kind, &err), err);
        CHECK_EQ(kind, table[i].kind);
    }
}

TEST(source, a_file_url_names_a_path_of_this_host)
{
    static const char *const bad[] = { "file://ok.csv", "file://host/x", "file:x", "file:", "file:////x" };
    struct err err;
    enum source_kind kind;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_EQ(source_kind(bad[i], &kind, &err), -1);
        CHECK_EQ(err.code, ERR_URI);
        CHECK_HAS(err.msg, "file:///PATH");
    }
}

TEST(source, an_unknown_scheme_is_refused_with_the_nearest_one)
{
    static const struct {
        const char *uri, *says;
    } table[] = {
        { "htps://h/x", "did you mean https://" },
        { "gopher://b/x", "there are file, http, https, ftp, ftps, sftp, s3" },
        { "http:/h/x", "names no host" },
        { "http:///x", "names no host" },
        { "", "empty" },
        { "http:h", "names no host" },
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        enum source_kind kind;
        CHECK_EQ(source_kind(table[i].uri, &kind, &err), -1);
        CHECK_EQ(err.code, ERR_URI);
        CHECK_HAS(err.msg, table[i].says);
    }
}

TEST(source, a_local_file_is_opened_by_path_and_by_url)
{
    struct err err;
    char url[600];
    put_file(test_file("a b%.csv"), "id\n1\n");
    snprintf(url, sizeof url, "file://%s/a%%20b%%25.csv", test_dir());
    char host[600];
    snprintf(host, sizeof host, "file://localhost%s/a%%20b%%25.csv", test_dir());
    const char *names[] = { test_file("a b%.csv"), url, host };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int fd = -1;
        int64_t size = 0, mtime = 0;
        CHECK_OK(source_open_local(names[i], &fd, &size, &mtime, &err), err);
        CHECK_EQ(size, 5);
        CHECK(mtime > 1600000000000 && mtime <= sys_now_ms() + 1000);
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        int64_t size_now, mtime_now;
        CHECK_OK(source_stat_local(names[i], &size_now, &mtime_now, &err), err);
        CHECK_EQ(size_now, size);
        CHECK_EQ(mtime_now, mtime);
    }
}

static enum err_code open_fails(const char *uri, const char *says)
{
    struct err err;
    int fd = -2;
    int64_t size, mtime;
    CHECK_EQ(source_open_local(uri, &fd, &size, &mtime, &err), -1);
    CHECK_EQ(fd, -2);
    CHECK_HAS(err.msg, says);
    struct err stat_err;
    if (err.code == ERR_NOT_A_FILE) {
        CHECK_EQ(source_stat_local(uri, &size, &mtime, &stat_err), -1);
        CHECK_STR(stat_err.msg, err.msg);
    }
    return err.code;
}

TEST(source, what_is_no_regular_file_is_refused_without_waiting)
{
    CHECK_EQ(mkfifo(test_file("fifo"), 0600), 0);
    CHECK_EQ(symlink("loop", test_file("loop")), 0);
    CHECK_EQ(open_fails(test_dir(), "is a folder"), ERR_NOT_A_FILE);
    CHECK_EQ(open_fails(test_file("fifo"), "is a FIFO"), ERR_NOT_A_FILE);
    CHECK_EQ(open_fails("/dev/null", "is a device"), ERR_NOT_A_FILE);
    CHECK_EQ(open_fails(test_file("nothing"), "there is no file"), ERR_FETCH_MISSING);
    CHECK_EQ(open_fails("/dev/null/x", "there is no file"), ERR_FETCH_MISSING);
    CHECK_EQ(open_fails(test_file("loop"), "loop"), ERR_URI);
    CHECK_EQ(open_fails("file://elsewhere/x", "another host"), ERR_URI);
    CHECK_EQ(open_fails("file:///x%00y", "zero byte"), ERR_URI);
    char *longest = malloc(5000);
    memset(longest, 'x', 4999);
    longest[4999] = '\0';
    CHECK_EQ(open_fails(longest, "longer than"), ERR_URI);
    free(longest);
}

TEST(source, a_file_that_we_may_not_read_is_denied)
{
    put_file(test_file("closed"), "x");
    CHECK_EQ(chmod(test_file("closed"), 0), 0);
    if (geteuid() == 0) {
        CHECK_EQ(chmod(test_dir(), 0711), 0);
        CHECK_EQ(seteuid(65534), 0);
        enum err_code code = open_fails(test_file("closed"), "may not be read");
        CHECK_EQ(seteuid(0), 0);
        CHECK_EQ(code, ERR_FETCH_DENIED);
    } else {
        CHECK_EQ(open_fails(test_file("closed"), "may not be read"), ERR_FETCH_DENIED);
    }
}

TEST(source, parameters_are_put_into_the_template)
{
    static const struct {
        const char *template, *params, *want;
    } table[] = {
        { "/in/{day}.csv", "{\"day\":\"2026-11-21\"}", "/in/2026-11-21.csv" },
        { "/in/{a}{b}", "{\"a\":\"x y\",\"b\":7}", "/in/x y7" },
        { "http://h/{a}/{b}?q={a}", "{\"a\":\"x y?&#%\",\"b\":\"p/q\"}",
          "http://h/x%20y%3F%26%23%25/p/q?q=x%20y%3F%26%23%25" },
        { "http://h/{a}", "{\"a\":\"\\u00e4\"}", "http://h/%C3%A4" },
        { "/in/{{x}-{n}", "{\"n\":1.50}", "/in/{x}-1.50" },
        { "/in/{b}", "{\"b\":true}", "/in/true" },
        { "/plain", "{}", "/plain" },
        { "{p}", "{\"p\":\"/a b\"}", "/a b" },
        { "/in/{a}", "{\"a\":\"x..y/..z\"}", "/in/x..y/..z" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err err;
        AUTO(buf_clear) struct buf out = { 0 };
        CHECK_OK(source_expand(table[i].template, str_of(table[i].params), &out, &err), err);
        CHECK_STR(out.p, table[i].want);
    }
}

TEST(source, a_template_that_cannot_be_filled_is_an_error)
{
    static const struct {
        const char *template, *params, *says;
    } table[] = {
        { "/in/{day}", "{\"month\":1}", "the parameter 'day'" },
        { "/in/{{x}/{a}-{day}", "{\"a\":1}", "the source has: a, day" },
        { "{p}", "{\"p\":\"x.csv\"}", "'x.csv'" },
        { "/in/{day", "{}", "without '}'" },
        { "/in/{}", "{}", "no parameter's name" },
        { "/in/{a}", "{\"a\":[1]}", "text or a number" },
        { "/in/{a}", "{\"a\":null}", "text or a number" },
        { "/in/{a}", "{\"a\":\"../x\"}", "'..'" },
        { "/in/{a}", "{\"a\":\"x/..\"}", "'..'" },
        { "/in/{a}", "{\"a\":\"..\"}", "'..'" },
        { "/in/{a}", "{\"a\":\"x\\u0000\"}", "zero byte" },
        { "/in/{a}", "[1]", "JSON object" },
        { "/in/{a}", "{\"a\":1,\"a\":2}", "twice" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err err;
        AUTO(buf_clear) struct buf out = { 0 };
        CHECK_EQ(source_expand(table[i].template, str_of(table[i].params), &out, &err), -1);
        CHECK_EQ(err.code, ERR_USAGE);
        CHECK_HAS(err.msg, table[i].says);
    }
}

TEST(source, an_object_is_named_by_its_last_segment)
{
    static const struct {
        const char *uri, *want;
    } table[] = {
        { "http://h/a/b.csv.gz?x=/y#z", "b.csv.gz" },
        { "http://h", "object" },
        { "http://h/", "object" },
        { "http://h?file=a.csv", "object" },
        { "/a/b?c.csv", "b?c.csv" },
        { "b.csv", "b.csv" },
        { "http://h/a%20b%2Fc", "a b_c" },
        { "file:///a/x%0Ay", "x_y" },
        { "sftp://u@h/~/x", "x" },
        { "/in/", "object" },
        { "http://h/100%", "100%" },
    };
    char out[64], cut[4];
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        source_basename(table[i].uri, out, sizeof out);
        CHECK_STR(out, table[i].want);
    }
    source_basename("/a/abcdef", cut, sizeof cut);
    CHECK_STR(cut, "abc");
}

TEST(source, a_typed_path_becomes_absolute_and_a_url_stays)
{
    char *here = getcwd(NULL, 0), want[5000];
    snprintf(want, sizeof want, "%s/x/y.csv", strcmp(here, "/") ? here : "");
    const struct {
        const char *typed, *want;
    } table[] = { { "x/y.csv", want },
                  { ".//x/y.csv", want },
                  { "/x", "/x" },
                  { "http://h/x", "http://h/x" },
                  { "file:/x", "file:/x" } };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char *got = source_absolute(table[i].typed);
        CHECK_STR(got, table[i].want);
        free(got);
    }
    free(here);
}
