/* The reader child from the worker's side: real jobs through the sandbox, and every way to die. */
#include "test.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "io/config.h"
#include "io/spool.h"
#include "role/reader.h"
#include "role/sandbox.h"

enum { SECOND = 1000, PATIENCE_MS = 20 * SECOND };

struct desk {
    struct config *config;
    struct spool spool;
    struct reader_child *child;
    struct reader_result result;
    bool got; /* result */
};

static const char ini[] = "[target w]\nurl = sqlite://%s/w.db\n"
                          "[limits]\nmemory = 64M\n"
                          "[pipeline rows]\nmember = *.csv, *.dat, x\nformat = csv\ncolumns = "
                          "id:integer!, name:text\ntable = w.rows\n"
                          "[pipeline guess]\ntable = w.guess\n"
                          "[pipeline guesses]\n"
                          "[pipeline guesses.a]\nmember = a\ntable = w.a\n"
                          "[pipeline guesses.b]\nmember = b\ntable = w.b\n"
                          "[pipeline guesses.c]\nmember = c\ntable = w.c\n"
                          "[pipeline guesses.d]\nmember = d\ntable = w.d\n"
                          "[pipeline guesses.e]\nmember = e\ntable = w.e\n"
                          "[pipeline zoned]\nformat = csv\nzone = Europe/Berlin\ncolumns = "
                          "id:integer!, at:timestamp\ntable = w.zoned\n";

static void desk_open(struct desk *d)
{
    struct err err = { 0 };
    struct buf faults = { 0 };
    const char *path = test_file("qetl.ini");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, ini, test_dir());
    fclose(f);
    *d = (struct desk){ 0 };
    if (config_load(&d->config, path, &faults, &err) < 0)
        fail_msg("%s", faults.p);
    buf_clear(&faults);
    CHECK_OK(spool_open(&d->spool, test_file("spool"), true, &err), err);
    CHECK_OK(reader_spawn(&d->child, d->config, &err), err);
}

static void desk_close(struct desk *d)
{
    reader_free(d->child);
    reader_result_clear(&d->result);
    spool_close(&d->spool);
    config_free(d->config);
}

static void begin(struct desk *d, const char *pipeline, bool infer)
{
    struct err err = { 0 };
    const struct pipeline *p = config_pipeline(d->config, pipeline);
    assert_non_null(p);
    reader_result_clear(&d->result);
    d->got = false;
    CHECK_OK(reader_begin(d->child, p, NULL, NULL, &d->spool, "01TESTJOB", 7, EVENT_NONE, infer, &err), err);
}

/* Look once, after waiting for at most ms. */
static bool served(struct desk *d, int ms)
{
    struct err err = { 0 };
    struct pollfd fds[READER_FDS];
    if (d->got)
        return true;
    int rc = reader_tick(d->child, &d->result, &err);
    if (rc == 0 && ms) {
        reader_pollfds(d->child, fds);
        (void)poll(fds, READER_FDS, ms);
        rc = reader_tick(d->child, &d->result, &err);
    }
    if (rc < 0)
        fail_msg("%s", err.msg);
    return d->got = rc == 1;
}

static void await(struct desk *d, int64_t ms)
{
    int64_t until = sys_mono_us() / 1000 + ms;
    while (!served(d, 50))
        if (sys_mono_us() / 1000 > until)
            fail_msg("no result within %lld ms", (long long)ms);
}

/* false: the result came before all was written */
static bool put(struct desk *d, struct str s)
{
    struct err err = { 0 };
    while (s.n) {
        size_t n = s.n < READER_CHUNK_MAX ? s.n : READER_CHUNK_MAX;
        ssize_t w = reader_write(d->child, s.p, n, &err);
        if (w < 0)
            fail_msg("%s", err.msg);
        if (served(d, w ? 0 : 100))
            return false;
        s = (struct str){ s.p + w, s.n - (size_t)w };
    }
    return true;
}

static void stream(struct desk *d, const char *uri, struct str bytes)
{
    struct err err = { 0 };
    CHECK_OK(reader_object_stream(d->child, uri, (int64_t)bytes.n, &err), err);
    if (put(d, bytes))
        CHECK_OK(reader_object_end(d->child, &err), err);
}

static int file_of(struct str bytes)
{
    int fd = memfd_create("object", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, bytes.p, bytes.n, 0), (ssize_t)bytes.n);
    return fd;
}

static void file(struct desk *d, const char *uri, struct str bytes)
{
    struct err err = { 0 };
    int fd = file_of(bytes);
    CHECK_OK(reader_object_file(d->child, uri, fd, (int64_t)bytes.n, true, &err), err);
    close(fd);
    CHECK_OK(reader_object_end(d->child, &err), err);
}

static void finish(struct desk *d)
{
    struct err err = { 0 };
    CHECK_OK(reader_end(d->child, &err), err);
    await(d, PATIENCE_MS);
}

static void check_rows(const struct desk *d, uint64_t rows)
{
    if (d->result.rc < 0)
        fail_msg("%s [%s]", d->result.err.msg, err_name(d->result.err.code));
    CHECK_EQ(d->result.counts.read, rows);
    CHECK_EQ(d->result.counts.staged, rows);
    CHECK_EQ(d->result.noutputs, 1);
    CHECK_EQ(d->result.outputs[0].rows, rows);
    CHECK(d->result.peak_rss > 0);
}

static struct buf csv(uint64_t rows)
{
    struct buf b = { 0 };
    buf_adds(&b, "id,name\n");
    for (uint64_t i = 0; i < rows; i++)
        buf_addf(&b, "%llu,name of %llu\n", (unsigned long long)i,
                 (unsigned long long)(i * 7919 % 10007));
    return b;
}

static la_ssize_t packed_write(struct archive *a, void *arg, const void *p, size_t n)
{
    (void)a;
    buf_add(arg, p, n);
    return (la_ssize_t)n;
}

static struct buf pack(int (*format)(struct archive *), int (*filter)(struct archive *),
                       const char *name, struct str content)
{
    struct buf out = { 0 };
    struct archive *a = archive_write_new();
    CHECK_EQ(format(a), ARCHIVE_OK);
    if (filter)
        CHECK_EQ(filter(a), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(a, 1);
    CHECK_EQ(archive_write_open(a, &out, NULL, packed_write, NULL), ARCHIVE_OK);
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_size(e, (int64_t)content.n);
    CHECK_EQ(archive_write_header(a, e), ARCHIVE_OK);
    archive_entry_free(e);
    CHECK_EQ(archive_write_data(a, content.p, content.n), (la_ssize_t)content.n);
    CHECK_EQ(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return out;
}

/* ---- jobs ---- */

TEST(reader, a_stream_becomes_rows)
{
    struct desk d;
    desk_open(&d);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n2,b\n"));
    finish(&d);
    check_rows(&d, 2);
    CHECK(!d.result.outputs[0].in_file);
    CHECK(d.result.outputs[0].inlined.n > 0);
    CHECK_STR(d.result.outputs[0].table, "w.rows");
    desk_close(&d);
}

TEST(reader, objects_come_in_every_way_in_one_job)
{
    struct desk d;
    struct err err = { 0 };
    struct buf a = csv(50000);
    struct buf gz =
        pack(archive_write_set_format_raw, archive_write_add_filter_gzip, "x", buf_str(&a));
    struct buf zip = pack(archive_write_set_format_zip, NULL, "in/a.csv", buf_str(&a));
    struct buf tgz =
        pack(archive_write_set_format_ustar, archive_write_add_filter_gzip, "a.csv", buf_str(&a));
    desk_open(&d);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", buf_str(&a));
    stream(&d, "http://h/a.csv.gz", buf_str(&gz));
    file(&d, "http://h/a.zip", buf_str(&zip));
    int fd = memfd_create("grows", MFD_CLOEXEC);
    CHECK_OK(reader_object_file(d.child, "http://h/a.tgz", fd, -1, false, &err), err);
    for (size_t at = 0; at < tgz.n;) {
        size_t n = tgz.n - at < 1000 ? tgz.n - at : 1000;
        CHECK_EQ(pwrite(fd, tgz.p + at, n, (off_t)at), (ssize_t)n);
        at += n;
        reader_file_grew(d.child, (int64_t)at);
        (void)served(&d, 0);
    }
    CHECK_OK(reader_object_end(d.child, &err), err);
    close(fd);
    file(&d, "/local/a.csv", buf_str(&a));
    stream(&d, "http://h/b.csv", STR("id,name\n1,x\n"));
    finish(&d);
    check_rows(&d, 5 * 50000 + 1);
    CHECK_EQ(d.result.counts.bytes_in, 2 * a.n + gz.n + zip.n + tgz.n + 12);
    CHECK_EQ(d.result.counts.members, 6);
    desk_close(&d);
    buf_clear(&a);
    buf_clear(&gz);
    buf_clear(&zip);
    buf_clear(&tgz);
}

TEST(reader, two_files_that_grow_one_behind_the_other_are_not_mixed_up)
{
    struct desk d;
    struct err err = { 0 };
    struct buf a = csv(20000);
    desk_open(&d);
    for (int round = 0; round < 20; round++) {
        begin(&d, "rows", false);
        for (int i = 0; i < 3; i++) {
            int fd = file_of(buf_str(&a));
            CHECK_OK(reader_object_file(d.child, "http://h/a.csv", fd, -1, false, &err), err);
            reader_file_grew(d.child, 5000);
            reader_file_grew(d.child, (int64_t)a.n);
            CHECK_OK(reader_object_end(d.child, &err), err); /* long before the child has read it */
            close(fd);
        }
        finish(&d);
        check_rows(&d, 60000);
    }
    desk_close(&d);
    buf_clear(&a);
}

TEST(reader, a_big_output_is_a_file_in_the_spool)
{
    struct desk d;
    struct buf a = csv(100000);
    struct stat st;
    desk_open(&d);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", buf_str(&a));
    finish(&d);
    check_rows(&d, 100000);
    CHECK(d.result.outputs[0].in_file);
    CHECK_EQ(stat(test_file("spool/staged/01TESTJOB.7/0.part"), &st), 0);
    CHECK_EQ(st.st_size, d.result.outputs[0].bytes);
    desk_close(&d);
    buf_clear(&a);
}

TEST(reader, a_zone_by_name_needs_no_file_inside_the_sandbox)
{
    struct desk d;
    desk_open(&d);
    begin(&d, "zoned", false);
    stream(&d, "http://h/a.csv", STR("id,at\n1,2026-07-01 12:00:00\n"));
    finish(&d);
    check_rows(&d, 1);
    desk_close(&d);
}

TEST(reader, columns_are_inferred_from_the_first_member_that_is_wanted)
{
    struct desk d;
    struct buf a = csv(1000), big = { 0 };
    desk_open(&d);
    begin(&d, "guess", true);
    stream(&d, "http://h/a.csv", buf_str(&a));
    await(&d, PATIENCE_MS); /* no need to end the job: the answer is known */
    if (d.result.rc < 0)
        fail_msg("%s", d.result.err.msg);
    CHECK_HAS(d.result.inferred[0], "id:integer");
    CHECK_HAS(d.result.inferred[0], "name:text");
    struct part_known known = { .columns = d.result.inferred[0] };
    struct reader_result first = d.result;
    struct err err = { 0 };
    d.result = (struct reader_result){ 0 };
    d.got = false;
    CHECK_OK(reader_begin(d.child, config_pipeline(d.config, "guess"), &known, NULL, &d.spool,
                          "01TESTJOB", 7, EVENT_NONE, false, &err),
             err);
    stream(&d, "http://h/a.csv", buf_str(&a));
    finish(&d);
    check_rows(&d, 1000);
    reader_result_clear(&first);
    buf_clear(&a);
    buf_clear(&big);
    desk_close(&d);
}

TEST(reader, a_result_that_no_message_holds_is_an_error_of_the_job)
{
    enum { COLUMNS = 1900, NAME = 1000 };
    struct desk d;
    AUTO(buf_clear) struct buf b = { 0 };
    for (int i = 0; i < COLUMNS; i++)
        buf_addf(&b, "%s%d%0*d", i ? "," : "", i + 10000, NAME, 0);
    buf_addc(&b, '\n');
    for (int i = 0; i < COLUMNS; i++)
        buf_adds(&b, i ? ",1" : "1");
    buf_addc(&b, '\n');
    desk_open(&d);
    begin(&d, "guesses", true);
    for (char name[] = "a"; *name <= 'e'; ++*name)
        file(&d, name, buf_str(&b));
    finish(&d);
    CHECK_EQ(d.result.rc, -1);
    if (d.result.err.code != ERR_LIMIT)
        fail_msg("%s [%s]", d.result.err.msg, err_name(d.result.err.code));
    CHECK_HAS(d.result.err.msg, "what the job tells of its columns takes");
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++)
        CHECK(!d.result.inferred[i]);
    CHECK(reader_alive(d.child));
    begin(&d, "guess", true);
    file(&d, "a", STR("id\n1\n"));
    await(&d, PATIENCE_MS);
    CHECK_EQ(d.result.rc, 0);
    desk_close(&d);
}

/* ---- results that cannot be ---- */

static char object[] = "{}", no_json[] = "{]";

static void honest(struct reader_result *r)
{
    *r = (struct reader_result){
        .counts = { .read = 5, .added = 1, .staged = 3, .rejected = 2, .filtered = 1, .bytes_in = 9, .bytes_out = 9, .greatest = EVENT_NONE },
        .outputs = { { .kind = OUTPUT_ROWS, .table = "w.rows", .rows = 3, .bytes = 700, .in_file = true, .ext = "db" },
                     { .kind = OUTPUT_REJECTS, .number = 1, .rows = 2, .bytes = 4, .spec = object } },
        .noutputs = 2,
        .peak_rss = 1 << 20,
    };
    buf_adds(&r->outputs[1].inlined, "{}\n\n");
}

static void check_lie(struct reader_result *r, const struct pipeline *p, const char *why)
{
    const char *got = reader_result_fault(r, p);
    if (!why && got)
        fail_msg("%s", got);
    if (why)
        CHECK_HAS(got ? got : "nothing", why);
    buf_clear(&r->outputs[1].inlined);
}

TEST(reader, what_a_result_says_is_checked)
{
    struct desk d;
    struct reader_result r;
    desk_open(&d);
    const struct pipeline *p = config_pipeline(d.config, "rows");
    honest(&r);
    check_lie(&r, p, NULL);
#define LIE(change, why)                                                                                                                   \
    honest(&r);                                                                                                                  \
    change;                                                                                                                                \
    check_lie(&r, p, why)
    LIE(r.counts.read++, "do not add up");
    LIE(r.counts.filtered = UINT64_MAX, "more than there can be");
    LIE(r.counts.bytes_in = UINT64_MAX, "more than there can be");
    LIE((r.counts.read++, r.counts.staged++), "other rows than it counted");
    LIE((r.counts.filtered += 2, r.counts.rejected = 0), "other rows than it counted");
    LIE(r.outputs[0].rows--, "other rows than it counted");
    LIE(r.counts.late = 7, "late");
    LIE(r.peak_rss = -1, "memory");
    LIE(r.outputs[0].number = 1, "twice");
    LIE((r.outputs[0].kind = OUTPUT_REJECTS, r.outputs[0].number = 2), "twice");
    LIE((r.outputs[0].number = 1, r.outputs[1].number = 2), "a part that is none");
    LIE(snprintf(r.outputs[0].table, 10, "w.other"), "another table");
    LIE(r.outputs[0].refresh = true, "replace a table");
    LIE(r.outputs[1].bytes = 5, "other bytes");
    LIE(r.outputs[1].in_file = true, "other bytes");
    LIE(r.outputs[1].spec = no_json, "no JSON");
    LIE(r.outputs[0].sample = object, "no JSON");
    LIE((r.rc = -1, err_set(&r.err, ERR_SHUTDOWN, "stop")), "not its to give");
    LIE((r.rc = -1, err_set(&r.err, ERR_ENRICH_QUOTA, "wait")), "not its to give");
    LIE((r.rc = -1, err_set(&r.err, ERR_FORMAT, "bad"), r.err.retry_after_ms = 1), "a pause");
    LIE((r.rc = -1, err_set(&r.err, ERR_REJECTS, "many")), "died of rejects and made");
#undef LIE
    desk_close(&d);
}

TEST(reader, a_child_that_lies_is_stopped_and_its_job_told)
{
    struct desk d;
    setenv("QETL_FAULT", "reader-miscounts:1:error", 1);
    sys_faults_init();
    desk_open(&d);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
    finish(&d);
    CHECK_EQ(d.result.rc, -1);
    CHECK_EQ(d.result.err.code, ERR_READER_CRASHED);
    CHECK_STR(d.result.err.msg, "the reader was stopped: its counts of rows do not add up");
    CHECK(!reader_alive(d.child));
    setenv("QETL_FAULT", "none:1:error", 1);
    sys_faults_init();
    begin(&d, "rows", false); /* by a new one */
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
    finish(&d);
    check_rows(&d, 1);
    desk_close(&d);
}

/* ---- failures ---- */

TEST(reader, a_failed_job_leaves_the_child_fit_for_the_next)
{
    struct desk d;
    struct buf a = csv(200000), gz = pack(archive_write_set_format_raw,
                                          archive_write_add_filter_gzip, "x", buf_str(&a));
    desk_open(&d);
    pid_t pid = reader_pid(d.child);
    for (int i = 0; i < 3; i++) {
        begin(&d, "rows", false);
        stream(&d, "http://h/a.csv.gz", (struct str){ gz.p, gz.n - 10 });
        await(&d, PATIENCE_MS);
        CHECK_EQ(d.result.rc, -1);
        CHECK_EQ(d.result.err.code, ERR_TRUNCATED);
        CHECK_HAS(d.result.err.msg, "http://h/a.csv.gz");
        begin(&d, "rows", false);
        stream(&d, "http://h/b.csv", STR("ident,name\n1,a\n")); /* the header lacks a column */
        stream(&d, "http://h/c.csv", buf_str(&a)); /* and more comes than the ring holds */
        await(&d, PATIENCE_MS);
        CHECK_EQ(d.result.err.code, ERR_HEADER);
        begin(&d, "rows", false);
        stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
        finish(&d);
        check_rows(&d, 1);
    }
    CHECK_EQ(reader_pid(d.child), pid);
    desk_close(&d);
    buf_clear(&a);
    buf_clear(&gz);
}

TEST(reader, an_object_that_never_ends_gives_no_result)
{
    struct desk d;
    struct err err = { 0 };
    desk_open(&d);
    begin(&d, "rows", false);
    CHECK_OK(reader_object_stream(d.child, "http://h/a.csv", -1, &err), err);
    CHECK(put(&d, STR("id,name\n1,a\n")));
    CHECK(!served(&d, 200));
    CHECK_OK(reader_abort(d.child, &err), err);
    CHECK(!reader_alive(d.child));
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
    finish(&d);
    check_rows(&d, 1);
    desk_close(&d);
}

/* The thread that unpacks ahead waits for bytes that never come: the result does not. */
TEST(reader, a_bad_row_ends_a_job_whose_bytes_have_stopped_coming)
{
    struct desk d;
    struct err err = { 0 };
    struct buf a = csv(300000);
    struct buf more = csv(15000);
    buf_adds(&a, "no number,x\n");
    buf_add(&a, more.p, more.n);
    struct buf gz =
        pack(archive_write_set_format_raw, archive_write_add_filter_gzip, "x", buf_str(&a));
    desk_open(&d);
    pid_t pid = reader_pid(d.child);
    for (int i = 0; i < 2; i++) {
        begin(&d, "rows", false);
        CHECK_OK(reader_object_stream(d.child, "http://h/a.csv.gz", -1, &err), err);
        (void)put(&d, (struct str){ gz.p, gz.n - 8 });
        await(&d, PATIENCE_MS);
        CHECK_HAS(d.result.err.msg, "line 300002");
    }
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv.gz", buf_str(&gz));
    await(&d, PATIENCE_MS);
    CHECK_HAS(d.result.err.msg, "line 300002");
    CHECK_EQ(reader_pid(d.child), pid);
    desk_close(&d);
    buf_clear(&a);
    buf_clear(&more);
    buf_clear(&gz);
}

TEST(reader, thousands_of_objects_may_be_ahead_of_the_child)
{
    struct desk d;
    desk_open(&d);
    begin(&d, "rows", false);
    for (int i = 0; i < 3000; i++)
        file(&d, "/local/a.csv", STR("id,name\n1,a\n2,b\n"));
    finish(&d);
    check_rows(&d, 6000);
    desk_close(&d);
}

TEST(reader, it_is_replaced_after_a_thousand_jobs)
{
    struct desk d;
    desk_open(&d);
    pid_t pid = reader_pid(d.child);
    int64_t from = sys_mono_us();
    for (int i = 0; i < 1500; i++) {
        begin(&d, "rows", false);
        stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
        finish(&d);
        check_rows(&d, 1);
    }
    print_message("# %.0f tiny jobs a second\n", 1500 * 1e6 / (double)(sys_mono_us() - from));
    CHECK(reader_pid(d.child) != pid);
    desk_close(&d);
}

/* ---- memory and other ends ---- */

#if !SANDBOX_ASAN
TEST(reader, memory_beyond_the_limit_is_an_error_of_the_job)
{
    static const unsigned char lzma[] = { 0x5d, 0,    0,    0,    0x08, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0, /* a dictionary of 128 MiB */
                                          0x83, 0xff, 0xfb, 0xff, 0xff, 0xc0, 0,    0,    0 };
    struct desk d;
    desk_open(&d);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.lzma", (struct str){ (const char *)lzma, sizeof lzma });
    await(&d, PATIENCE_MS);
    CHECK_EQ(d.result.rc, -1);
    if (d.result.err.code != ERR_READER_MEMORY)
        fail_msg("%s [%s]", d.result.err.msg, err_name(d.result.err.code));
    CHECK_HAS(d.result.err.msg, "[limits] memory");
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
    finish(&d);
    check_rows(&d, 1);
    desk_close(&d);
}
#endif

TEST(reader, a_crash_is_a_result_that_names_the_signal)
{
    static const int signals[] = { SIGSEGV, SIGABRT, SIGKILL, SIGSYS };
    struct desk d;
    struct err err = { 0 };
    desk_open(&d);
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        begin(&d, "rows", false);
        CHECK_OK(reader_object_stream(d.child, "http://h/a.csv", -1, &err), err);
        CHECK(put(&d, STR("id,name\n1,a\n")));
        kill(reader_pid(d.child), signals[i]);
        await(&d, PATIENCE_MS);
        CHECK_EQ(d.result.rc, -1);
#if !SANDBOX_ASAN /* which catches some */
        CHECK_EQ(d.result.signal, signals[i]);
        CHECK_EQ(d.result.err.code, ERR_READER_CRASHED);
        CHECK(d.result.peak_rss > 1 << 20);
        if (signals[i] == SIGSYS)
            CHECK_HAS(d.result.err.msg, "sandbox forbids");
#endif
    }
    desk_close(&d);
}

TEST(reader, ctrl_c_is_not_its_end)
{
    struct desk d;
    desk_open(&d);
    kill(reader_pid(d.child), SIGINT);
    kill(reader_pid(d.child), SIGTERM);
    kill(reader_pid(d.child), SIGHUP);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
    finish(&d);
    check_rows(&d, 1);
    desk_close(&d);
}

/* One job with everything in it, during which the child is killed after so many microseconds. */
static void job_with_a_killer(struct desk *d, struct str plain, struct str zip, int64_t after_us)
{
    struct err err = { 0 };
    begin(d, "rows", false);
    pid_t victim = reader_pid(d->child), killer = fork();
    if (killer == 0) {
        usleep((useconds_t)after_us);
        kill(victim, SIGKILL);
        _exit(0);
    }
    file(d, "http://h/a.zip", zip);
    stream(d, "http://h/a.csv", plain);
    CHECK_OK(reader_end(d->child, &err), err);
    await(d, PATIENCE_MS);
    bool killed = d->result.err.code == ERR_READER_CRASHED ||
                  (SANDBOX_ASAN && d->result.err.code == ERR_READER_MEMORY);
    if (d->result.rc < 0 && !killed)
        fail_msg("%s [%s]", d->result.err.msg, err_name(d->result.err.code));
    CHECK_EQ(waitpid(killer, NULL, 0), killer);
}

TEST(reader, killed_at_any_moment_there_is_always_a_result_at_once)
{
    struct desk d;
    struct buf a = csv(100000),
               zip = pack(archive_write_set_format_zip, NULL, "a.csv", buf_str(&a));
    int dead = 0;
    desk_open(&d);
    for (int i = 0; i < 60; i++) {
        job_with_a_killer(&d, buf_str(&a), buf_str(&zip), i * i * 40);
        dead += d.result.rc < 0;
    }
    CHECK(dead > 20);
    while (d.result.rc == 0 &&
           reader_alive(d.child)) /* the last kill came after its job: let it arrive */
        (void)poll(NULL, 0, 1);
    begin(&d, "rows", false);
    stream(&d, "http://h/a.csv", STR("id,name\n1,a\n"));
    finish(&d);
    check_rows(&d, 1);
    desk_close(&d);
    buf_clear(&a);
    buf_clear(&zip);
}

/* A worker that is killed in the middle of a job leaves nothing behind: its orphans come to us, and
 * are dead. */
TEST(reader, it_dies_with_the_worker)
{
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (int i = 0; i < 10; i++) {
        pid_t worker = fork();
        if (worker == 0) {
            struct desk d;
            struct err err = { 0 };
            desk_open(&d);
            begin(&d, "rows", false);
            (void)reader_object_stream(d.child, "http://h/a.csv", -1, &err);
            (void)put(&d, STR("id,name\n1,a\n"));
            if (i % 2)
                (void)served(&d, 20);
            kill(getpid(), SIGKILL);
        }
        int status, children = 0;
        int64_t until = sys_mono_us() + 5 * 1000000;
        while (children < 2 && sys_mono_us() < until) {
            pid_t pid = waitpid(-1, &status, WNOHANG);
            if (pid > 0)
                children++;
            else
                (void)poll(NULL, 0, 5);
        }
        CHECK_EQ(children, 2);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(reader, plain_bytes_go_through_fast)
{
    struct desk d;
    struct buf a = csv(400000);
    desk_open(&d);
    int64_t from = sys_mono_us();
    begin(&d, "rows", false);
    for (int i = 0; i < 3; i++)
        stream(&d, "http://h/a.csv", buf_str(&a));
    finish(&d);
    check_rows(&d, 1200000);
    double seconds = (double)(sys_mono_us() - from) / 1e6;
    print_message("# %.0f MB/s, %.0f rows/s, peak %lld MiB\n", (double)a.n * 3 / 1e6 / seconds,
                  1200000 / seconds, (long long)(d.result.peak_rss >> 20));
    desk_close(&d);
    buf_clear(&a);
}
