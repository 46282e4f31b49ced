/* Rows staged as one run of bytes come back as they were, or not at all; and SQL gets its parameters only where they stand. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "target/staged.h"
#include "target/target.h"

static struct err err;
static char path[600];

static int open_part(void *arg, int number, const char *ext, struct err *e)
{
    (void)arg;
    (void)e;
    snprintf(path, sizeof path, "%s/%d.%s", test_dir(), number, ext);
    return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* n times the text, staged; the output's own bytes stay in *out. */
static void stage_text(struct output *out, const char *text, int n, size_t inline_max)
{
    const struct stage stage = { open_part, NULL, inline_max };
    struct staged_writer w;
    staged_start(&w, &stage, 3, "t.x", "rows");
    for (int i = 0; i < n; i++) {
        buf_adds(staged_room(&w), text);
        CHECK_OK(staged_flush(&w, &err), err);
    }
    CHECK_OK(staged_finish(&w, out, &err), err);
    staged_clear(&w);
}

/* All that is read, or -1. */
static int64_t read_all(const struct output *out, struct buf *to)
{
    const struct load_output o = { .output = out, .path = path };
    struct staged_reader r;
    struct str bytes;
    if (staged_open(&r, &o, &err) < 0)
        return -1;
    int rc;
    while ((rc = staged_next(&r, &bytes, &err)) == 1)
        buf_add(to, bytes.p, bytes.n);
    staged_close(&r);
    return rc < 0 ? -1 : (int64_t)to->n;
}

TEST(staged, bytes_come_back_inline_and_from_a_file)
{
    for (int n = 0; n < 400000; n = n * 3 + 1) {
        struct output out;
        AUTO(buf_clear) struct buf all = { 0 };
        stage_text(&out, "0123456789\n", n, 1000);
        CHECK_EQ(out.in_file, n * 11 > 1000);
        CHECK_EQ(out.bytes, n * 11);
        CHECK_EQ(read_all(&out, &all), n * 11);
        for (int i = 0; i < n; i++)
            CHECK_EQ(memcmp(all.p + (size_t)i * 11, "0123456789\n", 11), 0);
        output_clear(&out);
    }
}

TEST(staged, a_file_that_is_not_what_was_staged_is_damaged)
{
    struct output out;
    AUTO(buf_clear) struct buf all = { 0 };
    stage_text(&out, "some row\n", 100000, 1000);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK_EQ(pwrite(fd, "X", 1, 777777), 1);
    CHECK_EQ(read_all(&out, &all), -1);
    CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
    CHECK_HAS(err.msg, "checksum");
    CHECK_EQ(ftruncate(fd, 899999), 0);
    CHECK_EQ(read_all(&out, &all), -1);
    CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
    close(fd);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(read_all(&out, &all), -1);
    CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
    CHECK_HAS(err.msg, "is gone");
    output_clear(&out);
}

TEST(staged, a_disk_that_is_full_is_an_error)
{
    const struct stage stage = { open_part, NULL, 10 };
    struct staged_writer w;
    struct output out;
    staged_start(&w, &stage, 3, "t.x", "rows");
    buf_adds(staged_room(&w), "more than ten bytes");
    CHECK_OK(staged_flush(&w, &err), err);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(full >= 0 && dup2(full, w.fd) == w.fd);
    buf_adds(staged_room(&w), "and more");
    CHECK_EQ(staged_finish(&w, &out, &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    close(full);
    staged_clear(&w);
}

TEST(sql, parameters_are_filled_in_where_they_stand)
{
    static const char *const cases[][2] = {
        { "SELECT :job", "SELECT 'u'" },
        { ":job,:job", "'u','u'" },
        { "SELECT ':job', \":job\", `:job`", "SELECT ':job', \":job\", `:job`" },
        { "SELECT 1 -- :job\n, :job", "SELECT 1 -- :job\n, 'u'" },
        { "SELECT 1 /* :job */ + :job", "SELECT 1 /* :job */ + 'u'" },
        { "SELECT a::job, :job_id, :jobs", "SELECT a::job, :job_id, :jobs" },
        { "SELECT 'it''s :job' || :job", "SELECT 'it''s :job' || 'u'" },
        { "SELECT ':job", "SELECT ':job" },
        { "/* :job", "/* :job" },
        { "", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_clear) struct buf out = { 0 };
        buf_adds(&out, "");
        sql_fill(&out, cases[i][0], ":job", "'u'");
        CHECK_STR(out.n ? out.p : "", cases[i][1]);
    }
}
