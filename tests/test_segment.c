/* What is appended to a stream is there whole, once and in order, whoever dies. */
#include "io/segment.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test.h"

enum { AGE_MS = 600000 }; /* no test is as slow as that */
static const struct segment_limits usual = { .bytes = 1 << 20, .age_ms = AGE_MS };

/* A stream of its own for each test. */
static const char *fresh(void)
{
    static int n;
    char name[32];
    snprintf(name, sizeof name, "streams/s%d", ++n);
    return test_file(name);
}

static struct segments *stream(const char *folder, const struct segment_limits *limits)
{
    struct segments *s = NULL;
    struct err err;
    CHECK_OK(segments_open(&s, folder, limits, true, &err), err);
    return s;
}

static void append(struct segments *s, const char *lines)
{
    struct err err;
    CHECK_OK(segments_append(s, str_of(lines), &err), err);
}

static void sync_it(struct segments *s)
{
    struct err err;
    CHECK_OK(segments_sync(s, &err), err);
}

static void close_now(struct segments *s)
{
    struct err err;
    int64_t left;
    CHECK_OK(segments_settle(s, 0, &left, &err), err);
    CHECK_EQ(left, 0);
}

/* All closed segments, one behind the other; *n: how many. The caller frees it. */
static char *closed(const char *folder, size_t *n)
{
    struct buf list = { 0 }, all = { 0 };
    struct err err;
    CHECK_OK(segments_closed(folder, &list, &err), err);
    const struct segment_closed *v = (const void *)list.p;
    *n = list.n / sizeof *v;
    for (size_t i = 0; i < *n; i++) {
        char path[600], bytes[4096];
        snprintf(path, sizeof path, "%s/%s", folder, v[i].name);
        int fd = open(path, O_RDONLY);
        CHECK(fd >= 0);
        int64_t got = 0;
        for (ssize_t r; (r = read(fd, bytes, sizeof bytes)) > 0; got += r)
            buf_add(&all, bytes, (size_t)r);
        CHECK_EQ(got, v[i].bytes);
        close(fd);
    }
    buf_adds(&all, "");
    buf_clear(&list);
    return all.p;
}

static void check_closed(const char *folder, size_t segments, const char *lines)
{
    size_t n;
    char *all = closed(folder, &n);
    CHECK_STR(all, lines);
    CHECK_EQ(n, segments);
    free(all);
}

/* The open segment, or the head, for those who play the fault. */
static int open_inner(const char *folder, const char *name, int flags)
{
    char path[600];
    snprintf(path, sizeof path, "%s/open/%s", folder, name);
    int fd = open(path, flags);
    CHECK(fd >= 0);
    return fd;
}

static void put_behind(const char *folder, const char *name, const void *p, size_t n)
{
    int fd = open_inner(folder, name, O_WRONLY | O_APPEND);
    CHECK_EQ(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* The head is of another start of the machine. */
static void boot_anew(const char *folder)
{
    int64_t boot = 17;
    int fd = open_inner(folder, "head", O_WRONLY);
    CHECK_EQ(pwrite(fd, &boot, sizeof boot, 16), (ssize_t)sizeof boot);
    close(fd);
}

static void fault(const char *spec)
{
    setenv("QETL_FAULT", spec, 1);
    sys_faults_init();
}

static void no_fault(void)
{
    fault("none:error");
    sys_faults_on = false;
}

/* Somebody else appends the lines, and dies there. */
static void dies_at(const char *folder, const char *point, const char *lines, bool closes)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct err err;
        int64_t left;
        struct segments *s = NULL;
        fault(point);
        if (segments_open(&s, folder, &usual, true, &err) == 1 && segments_append(s, str_of(lines), &err) == 0 && closes)
            (void)segments_settle(s, 0, &left, &err);
        _exit(1);
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
}

TEST(segment, what_is_appended_is_given_whole_and_in_order)
{
    const char *folder = fresh();
    struct segments *a = stream(folder, &usual), *b = stream(folder, &usual);
    append(a, "{\"n\":1}\n{\"n\":2}\n");
    append(b, "{\"n\":3}\n");
    append(a, "{\"n\":4}\n");
    check_closed(folder, 0, ""); /* the open one is nobody's yet */
    sync_it(a);
    close_now(b);
    append(a, "{\"n\":5}\n");
    close_now(a);
    close_now(a); /* there is none */
    check_closed(folder, 2, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n");
    segments_close(a);
    segments_close(b);
    segments_close(NULL);
}

TEST(segment, a_stream_that_nobody_made_is_none)
{
    struct segments *s = NULL;
    struct err err;
    const char *folder = fresh();
    CHECK_EQ(segments_open(&s, folder, &usual, false, &err), 0);
    CHECK(access(folder, F_OK) < 0);
}

TEST(segment, is_closed_by_size_and_by_age)
{
    const char *folder = fresh();
    struct segment_limits small = usual;
    struct err err;
    int64_t left;
    small.bytes = 20;
    struct segments *s = stream(folder, &small);
    append(s, "{\"a\":1}\n");
    append(s, "{\"a\":2}\n");
    check_closed(folder, 0, "");
    append(s, "{\"a\":3}\n"); /* would make 24 */
    check_closed(folder, 1, "{\"a\":1}\n{\"a\":2}\n");
    append(s, "{\"long\":\"longer than a segment\"}\n");
    check_closed(folder, 3, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"long\":\"longer than a segment\"}\n");
    CHECK_EQ(segments_settle(s, AGE_MS, &left, &err), 0);
    CHECK_EQ(left, 0); /* none is open */
    append(s, "{\"a\":5}\n");
    CHECK_EQ(segments_settle(s, AGE_MS, &left, &err), 0);
    CHECK(left > 0 && left <= AGE_MS);
    sys_clock_advance(AGE_MS);
    append(s, "{\"a\":6}\n"); /* who appends closes an old one, too */
    size_t n;
    free(closed(folder, &n));
    CHECK_EQ(n, 4);
    sys_clock_advance(AGE_MS);
    CHECK_EQ(segments_settle(s, AGE_MS, &left, &err), 1);
    check_closed(folder, 5, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"long\":\"longer than a segment\"}\n{\"a\":5}\n{\"a\":6}\n");
    segments_close(s);
}

TEST(segment, the_half_line_of_a_dead_writer_is_dropped)
{
    const char *folder = fresh();
    struct segments *s = stream(folder, &usual);
    append(s, "{\"n\":1}\n");
    put_behind(folder, "000000000001.part", "{\"half\":", 8);
    append(s, "{\"n\":2}\n");
    put_behind(folder, "000000000001.part", "{\"whole\":1}\n{\"half", 18);
    close_now(s);
    check_closed(folder, 1, "{\"n\":1}\n{\"n\":2}\n");
    segments_close(s);
}

TEST(segment, lines_of_a_writer_that_was_killed_are_there_all_or_none)
{
    const char *folder = fresh();
    dies_at(folder, "segment-wrote:kill", "{\"first\":1}\n{\"first\":2}\n", false); /* before there was any segment */
    struct segments *s = stream(folder, &usual);
    append(s, "{\"n\":1}\n");
    dies_at(folder, "segment-wrote:kill", "{\"lost\":1}\n{\"lost\":2}\n", false);
    append(s, "{\"n\":2}\n");
    dies_at(folder, "segment-append:kill", "{\"lost\":3}\n", false);
    append(s, "{\"n\":3}\n");
    close_now(s);
    check_closed(folder, 1, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    segments_close(s);
}

TEST(segment, one_that_dies_while_it_closes_loses_nothing_and_gives_nothing_twice)
{
    const char *folder = fresh();
    struct segments *s = stream(folder, &usual);
    append(s, "{\"n\":1}\n");
    dies_at(folder, "segment-close:kill", "{\"n\":2}\n", true);
    check_closed(folder, 0, "");
    append(s, "{\"n\":3}\n");
    dies_at(folder, "segment-closed:kill", "{\"n\":4}\n", true);
    check_closed(folder, 1, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");
    sync_it(s);
    append(s, "{\"n\":5}\n");
    close_now(s);
    check_closed(folder, 2, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n");
    segments_close(s);
}

TEST(segment, after_a_power_cut_it_ends_before_the_first_line_that_is_none)
{
    static const struct {
        const char *tail;
        size_t n;
        const char *kept;
    } tails[] = {
        { "", 0, "" },
        { "{\"x\":1}\n{\"half", 14, "{\"x\":1}\n" },
        { "\0\0\0\0\0\0\0\0\0\n{\"x\":2}\n", 18, "" },
        { "{\"x\":3}\n[]\n{\"x\":4}\n", 19, "{\"x\":3}\n" },
    };
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        const char *folder = fresh();
        struct segments *s = stream(folder, &usual);
        append(s, "{\"n\":0}\n");
        close_now(s);
        append(s, "{\"n\":1}\n");
        sync_it(s);
        segments_close(s);
        put_behind(folder, "000000000002.part", tails[i].tail, tails[i].n);
        boot_anew(folder);
        s = stream(folder, &usual);
        append(s, "{\"n\":2}\n");
        close_now(s);
        char want[200];
        snprintf(want, sizeof want, "{\"n\":0}\n{\"n\":1}\n%s{\"n\":2}\n", tails[i].kept);
        check_closed(folder, 2, want);
        segments_close(s);
    }
}

TEST(segment, after_a_power_cut_a_line_stays_that_is_longer_than_a_row_may_be_now)
{
    enum { LONG = 17 << 20 }; /* 16M is what [limits] row allows where nobody says more */
    const char *folder = fresh();
    struct buf line = { 0 };
    struct err err;
    buf_adds(&line, "{\"long\":\"");
    CHECK(buf_reserve(&line, LONG));
    memset(line.p + line.n, 'x', LONG);
    line.n += LONG;
    buf_adds(&line, "\"}\n");
    CHECK(!line.failed);
    struct segment_limits roomy = usual;
    roomy.bytes = 2 * LONG;
    struct segments *s = stream(folder, &roomy);
    CHECK_OK(segments_append(s, buf_str(&line), &err), err);
    sync_it(s);
    segments_close(s);
    boot_anew(folder);
    s = stream(folder, &roomy);
    append(s, "{\"n\":2}\n");
    close_now(s);
    buf_adds(&line, "{\"n\":2}\n");
    size_t n;
    char *all = closed(folder, &n);
    CHECK_EQ(n, 1);
    CHECK(strlen(all) == line.n && !memcmp(all, line.p, line.n));
    free(all);
    buf_clear(&line);
    segments_close(s);
}

TEST(segment, lines_that_are_counted_are_appended_though_their_segment_cannot_be_closed)
{
    static const struct {
        const char *fault;
        bool on_disk;
    } cases[] = { { "segment-close:1:error", true }, { "segment-close-sync:1:error", false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *folder = fresh();
        struct segment_limits small = usual;
        struct err err;
        small.bytes = 16;
        struct segments *s = stream(folder, &small);
        append(s, "{\"n\":1}\n");
        fault(cases[i].fault);
        append(s, "{\"n\":2}\n"); /* fills it */
        no_fault();
        check_closed(folder, 0, "");
        CHECK_EQ(segments_sync(s, &err), cases[i].on_disk ? 0 : -1); /* a sync after one that failed says nothing */
        append(s, "{\"n\":3}\n");
        check_closed(folder, 1, "{\"n\":1}\n{\"n\":2}\n");
        close_now(s);
        check_closed(folder, 2, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
        segments_close(s);
    }
}

TEST(segment, without_its_head_it_goes_on_behind_what_is_there)
{
    const char *folder = fresh();
    struct segments *s = stream(folder, &usual);
    append(s, "{\"n\":1}\n");
    close_now(s);
    append(s, "{\"n\":2}\n");
    int fd = open_inner(folder, "head", O_WRONLY | O_TRUNC);
    close(fd);
    append(s, "{\"n\":3}\n");
    sync_it(s);
    close_now(s);
    append(s, "{\"n\":4}\n");
    close_now(s);
    check_closed(folder, 3, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");
    segments_close(s);
    /* and nothing but closed ones */
    folder = fresh();
    s = stream(folder, &usual);
    append(s, "{\"n\":1}\n");
    close_now(s);
    boot_anew(folder);
    append(s, "{\"n\":2}\n");
    close_now(s);
    check_closed(folder, 2, "{\"n\":1}\n{\"n\":2}\n");
    segments_close(s);
}

TEST(segment, one_sync_is_for_all_who_appended_before_it)
{
    const char *folder = fresh();
    struct segments *a = stream(folder, &usual), *b = stream(folder, &usual);
    struct err err;
    append(a, "{\"n\":1}\n");
    append(b, "{\"n\":2}\n");
    sync_it(b);
    fault("segment-sync:1:error");
    CHECK_OK(segments_sync(a, &err), err); /* has nothing left to do */
    append(a, "{\"n\":3}\n");
    close_now(b);
    CHECK_OK(segments_sync(a, &err), err); /* a closed one is on disk */
    append(a, "{\"n\":4}\n");
    CHECK_EQ(segments_sync(a, &err), -1);
    CHECK_EQ(err.code, ERR_IO);
    no_fault();
    CHECK_OK(segments_sync(a, &err), err);
    segments_close(a);
    segments_close(b);
}

TEST(segment, a_full_disk_or_quota_takes_nothing_by_half)
{
    const char *folder = fresh();
    struct segment_limits tight = usual;
    struct err err;
    tight.quota = 30;
    struct segments *s = stream(folder, &tight);
    append(s, "{\"n\":1}\n");
    fault("segment-append:1:enospc");
    CHECK_EQ(segments_append(s, STR("{\"n\":2}\n"), &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK_HAS(err.msg, "nothing was taken");
    no_fault();
    append(s, "{\"n\":3}\n");
    close_now(s);
    append(s, "{\"n\":4}\n");
    CHECK_EQ(segments_append(s, STR("{\"n\":5}\n"), &err), -1); /* 16 + 8 + 8 */
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK_HAS(err.msg, "[limits] stream");
    check_closed(folder, 1, "{\"n\":1}\n{\"n\":3}\n");
    struct buf list = { 0 };
    CHECK_OK(segments_closed(folder, &list, &err), err);
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, ((const struct segment_closed *)(const void *)list.p)->name);
    CHECK_EQ(unlink(path), 0); /* it was loaded */
    buf_clear(&list);
    append(s, "{\"n\":6}\n");
    close_now(s);
    check_closed(folder, 1, "{\"n\":4}\n{\"n\":6}\n");
    segments_close(s);
    tight = usual;
    tight.keep_free = INT64_MAX;
    s = stream(fresh(), &tight);
    CHECK_EQ(segments_append(s, STR("{\"n\":7}\n"), &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK_HAS(err.msg, "spool_free");
    segments_close(s);
}

TEST(segment, a_folder_that_was_removed_takes_no_lines)
{
    const char *folder = fresh();
    struct segments *s = stream(folder, &usual);
    struct err err;
    append(s, "{\"n\":1}\n");
    CHECK_OK(sys_remove_tree(AT_FDCWD, folder, &err), err);
    CHECK_EQ(segments_append(s, STR("{\"n\":2}\n"), &err), -1);
    CHECK_EQ(err.code, ERR_SPOOL);
    segments_close(s);
}

TEST(segment, what_root_makes_belongs_to_the_spool)
{
    struct err err;
    struct stat st;
    const char *const made[] = { "", "/s", "/s/open", "/s/open/head", "/s/open/sync", "/s/open/000000000001.part", "/s/opened" };
    if (geteuid() != 0)
        skip();
    CHECK_OK(sys_mkdirs(test_file("spool/streams"), &err), err);
    CHECK_EQ(chown(test_file("spool"), 4711, 4712), 0);
    struct segments *s = stream(test_file("spool/streams/s"), &usual);
    append(s, "{\"n\":1}\n");
    for (size_t i = 0; i < COUNT_OF(made); i++) {
        char path[600];
        snprintf(path, sizeof path, "%s%s", test_file("spool/streams"), made[i]);
        CHECK_EQ(stat(path, &st), 0);
        CHECK_EQ(st.st_uid, 4711);
        CHECK_EQ(st.st_gid, 4712);
    }
    segments_close(s);
}

enum { WRITERS = 4, ROUNDS = 300 };

static void write_rounds(const char *folder, int writer)
{
    struct segment_limits limits = usual;
    struct segments *s = NULL;
    struct err err;
    limits.bytes = 4096;
    if (segments_open(&s, folder, &limits, true, &err) != 1)
        _exit(1);
    for (int i = 0; i < ROUNDS; i++) {
        char lines[300];
        int n = snprintf(lines, sizeof lines, "{\"w\":%d,\"n\":%d,\"pad\":\"%.*s\"}\n{\"w\":%d,\"more\":%d}\n", writer, i, i % 60,
                         "............................................................", writer, i);
        if (segments_append(s, (struct str){ lines, (size_t)n }, &err) < 0 || (i % 16 == 0 && segments_sync(s, &err) < 0))
            _exit(2);
    }
    segments_close(s);
    _exit(0);
}

TEST(segment, many_writers_at_once_neither_tear_nor_lose_nor_disorder_lines)
{
    const char *folder = fresh();
    pid_t pids[WRITERS];
    for (int w = 0; w < WRITERS; w++)
        if ((pids[w] = fork()) == 0)
            write_rounds(folder, w);
    for (int w = 0; w < WRITERS; w++) {
        int status;
        CHECK_EQ(waitpid(pids[w], &status, 0), pids[w]);
        CHECK_EQ(status, 0);
    }
    struct segments *s = stream(folder, &usual);
    close_now(s);
    segments_close(s);
    size_t n;
    char *all = closed(folder, &n), *save = NULL;
    int next[WRITERS] = { 0 }, more[WRITERS] = { 0 };
    CHECK(n > 5);
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int w, i;
        struct err err;
        CHECK_EQ(segment_line(line, strlen(line), 1000, &err), 0);
        if (sscanf(line, "{\"w\":%d,\"n\":%d,", &w, &i) == 2)
            CHECK_EQ(i, next[w]++);
        else if (sscanf(line, "{\"w\":%d,\"more\":%d}", &w, &i) == 2)
            CHECK_EQ(i, more[w]++);
        else
            fail_msg("a line that nobody wrote: %s", line);
    }
    for (int w = 0; w < WRITERS; w++) {
        CHECK_EQ(next[w], ROUNDS);
        CHECK_EQ(more[w], ROUNDS);
    }
    free(all);
}

TEST(segment, a_line_is_an_object_of_json_on_one_line)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "", "byte 0" },       { "[]", "object was expected" },   { "1", "object was expected" },
        { "{\"a\":}", "byte" }, { "{} {}", "byte" },               { "{\"a\":\"\x01\"}", "byte" },
        { "{\"a\":\"\xff\"}", "byte" }, { "{\"a\":\"0123456789012345678901234567890\"}", "longer than" },
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[100];
        snprintf(text, sizeof text, "%s", bad[i].text);
        CHECK_EQ(segment_line(text, strlen(text), 32, &err), -1);
        CHECK_EQ(err.code, ERR_USAGE);
        CHECK_HAS(err.msg, bad[i].why);
    }
    char pretty[] = "{\r\n  \"a\": \"x\\ny\"\n}";
    CHECK_OK(segment_line(pretty, strlen(pretty), 32, &err), err);
    CHECK_STR(pretty, "{    \"a\": \"x\\ny\" }");
}
