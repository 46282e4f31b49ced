#include "io/rejects.h"

#include <fcntl.h>

#include "test.h"

#include "base/json.h"

struct opener {
    const char *path;
    int opened, number;
    char ext[8];
};

static int open_file(void *arg, int number, const char *ext, struct err *err)
{
    struct opener *o = arg;
    o->opened++;
    o->number = number;
    snprintf(o->ext, sizeof o->ext, "%s", ext);
    int fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? err_sys(err, "open '%s'", o->path) : fd;
}

static const struct reject_limit no_limit = { -1, -1 };
static const struct place at_17 = { 17, 5120, { "x1,2", 4 } };

static struct str member_of(struct str line, const char *name)
{
    struct json_value v, m;
    struct json_fault fault;
    assert_true(json_check(line, &v, &fault));
    assert_int_equal(json_member(&v, name, &m), 1);
    return m.raw;
}

TEST(rejects, one_line_tells_all)
{
    struct err err = { 0 };
    struct stage stage = { open_file, NULL, 1000 };
    struct rejects r;
    rejects_init(&r, &stage, 3, no_limit);
    r.table = "w.orders";
    r.object = "http://h/o.zip";
    r.member = "a.csv";
    CHECK_OK(rejects_add(&r, REJECT_NOT_INTEGER, "id", STR("x1"), &at_17, &err), err);
    struct output out;
    CHECK_OK(rejects_finish(&r, 10, &out, &err), err);
    CHECK_EQ(out.kind, OUTPUT_REJECTS);
    CHECK_EQ(out.number, 3);
    CHECK_STR(out.ext, "jsonl");
    CHECK_STR(out.table, "");
    CHECK_EQ(out.rows, 1);
    CHECK_EQ(out.bytes, out.inlined.n);
    CHECK(!out.in_file);
    CHECK_SLICE(buf_str(&out.inlined), "{\"table\":\"w.orders\",\"reason\":\"not-integer\","
                                       "\"message\":\"not an integer\",\"column\":\"id\","
                                       "\"value\":\"x1\",\"object\":\"http://h/"
                                       "o.zip\",\"member\":\"a.csv\",\"line\":17,\"offset\":5120,"
                                       "\"row\":\"x1,2\"}\n");
    output_clear(&out);
    rejects_clear(&r);
}

TEST(rejects, a_whole_row_has_no_column_and_hostile_bytes_stay_json)
{
    struct err err = { 0 };
    struct stage stage = { open_file, NULL, 1000 };
    struct rejects r;
    rejects_init(&r, &stage, 0, no_limit);
    struct place place = { 1, 0, STR("a\0\xff\"\n\xc3") };
    CHECK_OK(rejects_add(&r, REJECT_CSV_QUOTE, NULL, (struct str){ 0 }, &place, &err), err);
    struct str line = { r.out.inlined.p, r.out.inlined.n - 1 };
    CHECK_SLICE(member_of(line, "column"), "null");
    CHECK_SLICE(member_of(line, "member"), "null");
    CHECK_SLICE(member_of(line, "value"), "\"\"");
    CHECK_SLICE(member_of(line, "row"), "\"a\\u0000\xef\xbf\xbd\\\"\\n\xef\xbf\xbd\"");
    CHECK(!memmem(line.p, line.n, "\"cut\"", 5));
    rejects_clear(&r);
}

TEST(rejects, long_values_are_cut_between_characters_and_rows_only_where_nobody_reads_them_again)
{
    struct err err = { 0 };
    struct stage stage = { open_file, NULL, 100000 };
    struct rejects r;
    rejects_init(&r, &stage, 0, no_limit);
    char row[3000], value[300];
    memset(row, 'r', sizeof row);
    memset(value, 'v', sizeof value);
    memcpy(value + 199, "\xc3\xa4", 2); /* would be cut in two */
    struct place place = { 1, 0, { row, sizeof row } };
    CHECK_OK(rejects_add(&r, REJECT_NUL, "c", (struct str){ value, sizeof value }, &place, &err),
             err);
    struct str line = { r.out.inlined.p, r.out.inlined.n - 1 };
    CHECK_EQ(member_of(line, "value").n, 199 + 2);
    CHECK_EQ(member_of(line, "row").n, sizeof row + 2);
    CHECK(!memmem(line.p, line.n, "\"cut\"", 5));
    line = (struct str){ r.head.inlined.p, r.head.inlined.n - 1 }; /* of a job that dies */
    CHECK_EQ(member_of(line, "row").n, 2000 + 2);
    CHECK_SLICE(member_of(line, "cut"), "true");
    buf_reset(&r.out.inlined);
    CHECK_OK(rejects_add(&r, REJECT_ROW_TOO_LONG, NULL, (struct str){ 0 }, &place, &err), err); /* is not there whole */
    line = (struct str){ r.out.inlined.p, r.out.inlined.n - 1 };
    CHECK_EQ(member_of(line, "row").n, 2000 + 2);
    CHECK_SLICE(member_of(line, "cut"), "true");
    memset(value, 0x80, sizeof value); /* no UTF-8 at all: cut at the limit */
    buf_reset(&r.out.inlined);
    CHECK_OK(rejects_add(&r, REJECT_NUL, "c", (struct str){ value, sizeof value }, &at_17, &err),
             err);
    line = (struct str){ r.out.inlined.p, r.out.inlined.n - 1 };
    CHECK_EQ(member_of(line, "value").n, 200 * 3 + 2);
    rejects_clear(&r);
}

TEST(rejects, many_go_to_a_file_whole_and_in_order)
{
    struct err err = { 0 };
    struct opener opener = { .path = test_file("many.jsonl") };
    struct stage stage = { open_file, &opener, 500 };
    struct rejects r;
    rejects_init(&r, &stage, 5, no_limit);
    enum { ROWS = 2000 };
    for (int i = 0; i < ROWS; i++) {
        struct place place = { (uint64_t)i + 1, (uint64_t)i * 10, STR("x,y") };
        CHECK_OK(rejects_add(&r, REJECT_NOT_REAL, "v", STR("x"), &place, &err), err);
        CHECK(r.out.inlined.n <= 64 * 1024);
    }
    struct output out;
    CHECK_OK(rejects_finish(&r, ROWS, &out, &err), err);
    CHECK_EQ(opener.opened, 1);
    CHECK_EQ(opener.number, 5);
    CHECK_STR(opener.ext, "jsonl");
    CHECK(out.in_file && !out.inlined.p);
    CHECK_EQ(out.rows, ROWS);
    FILE *f = fopen(opener.path, "r");
    CHECK(f);
    char line[512], want[32];
    int64_t bytes = 0;
    for (int i = 0; i < ROWS; i++) {
        CHECK(fgets(line, sizeof line, f));
        size_t n = strlen(line);
        bytes += (int64_t)n;
        CHECK_EQ(line[n - 1], '\n');
        snprintf(want, sizeof want, "%d", i + 1);
        struct str got = member_of((struct str){ line, n - 1 }, "line");
        CHECK(str_eq(got, str_of(want)));
    }
    CHECK(!fgets(line, sizeof line, f));
    fclose(f);
    CHECK_EQ(out.bytes, bytes);
    output_clear(&out);
    rejects_clear(&r);
}

TEST(rejects, one_more_than_the_limit_fails_the_job_and_shows_the_first)
{
    struct err err = { 0 };
    struct stage stage = { open_file, NULL, 100000 };
    struct rejects r;
    rejects_init(&r, &stage, 0, (struct reject_limit){ 2, -1 });
    r.member = "a.csv";
    CHECK_OK(rejects_add(&r, REJECT_NOT_INTEGER, "id", STR("x\n1"), &at_17, &err), err);
    struct place later = { 99, 9000, STR("y") };
    CHECK_OK(rejects_add(&r, REJECT_NULL, "name", (struct str){ 0 }, &later, &err), err);
    CHECK_EQ(rejects_add(&r, REJECT_NULL, "name", (struct str){ 0 }, &later, &err), -1);
    CHECK_EQ(err.code, ERR_REJECTS);
    CHECK_HAS(err.msg, "more than 2 rows");
    CHECK_HAS(err.msg, "member 'a.csv', line 17, byte 5120, column 'id', value \"x\\n1\": not an "
                       "integer [not-integer]");
    CHECK_EQ(r.count, 3);
    struct output head;
    rejects_head(&r, &head); /* what a person can look at */
    CHECK_EQ(head.rows, 3);
    CHECK_EQ(head.bytes, (int64_t)head.inlined.n);
    CHECK_HAS(head.inlined.p, "\"line\":17");
    output_clear(&head);
    rejects_clear(&r);

    rejects_init(&r, &stage, 0, (struct reject_limit){ 0, -1 });
    CHECK_EQ(rejects_add(&r, REJECT_NULL, NULL, (struct str){ 0 }, &later, &err), -1);
    CHECK_EQ(err.code, ERR_REJECTS);
    rejects_clear(&r);
}

TEST(rejects, the_first_of_many_can_be_shown)
{
    struct err err = { 0 };
    struct opener file = { .path = test_file("many.jsonl") };
    struct stage stage = { open_file, &file, 1000 };
    struct rejects r;
    struct output head;
    rejects_init(&r, &stage, 0, (struct reject_limit){ 5000, -1 });
    for (int i = 0; i < 5000; i++)
        CHECK_OK(rejects_add(&r, REJECT_NULL, "c", (struct str){ 0 }, &at_17, &err), err);
    CHECK_EQ(rejects_add(&r, REJECT_NULL, "c", (struct str){ 0 }, &at_17, &err), -1);
    rejects_head(&r, &head);
    CHECK(!head.in_file && head.rows > 1 && head.rows < 20);
    int64_t lines = 0;
    for (size_t i = 0; i < head.inlined.n; i++)
        lines += head.inlined.p[i] == '\n';
    CHECK_EQ(lines, head.rows); /* whole lines */
    CHECK_EQ(head.inlined.p[head.inlined.n - 1], '\n');
    output_clear(&head);
    rejects_clear(&r);
}

TEST(rejects, the_share_is_checked_at_the_end)
{
    struct err err = { 0 };
    struct stage stage = { open_file, NULL, 100000 };
    struct output out;
    for (int reads = 99; reads <= 100; reads++) {
        struct rejects r;
        rejects_init(&r, &stage, 0, (struct reject_limit){ -1, 0.01 });
        CHECK_OK(rejects_add(&r, REJECT_NULL, "c", (struct str){ 0 }, &at_17, &err), err);
        int rc = rejects_finish(&r, (uint64_t)reads, &out, &err);
        CHECK_EQ(rc, reads == 100 ? 0 : -1);
        if (rc < 0) {
            CHECK_EQ(err.code, ERR_REJECTS);
            CHECK_HAS(err.msg, "1 of 99 rows rejected, more than 1%");
            CHECK_HAS(err.msg, "line 17");
        } else {
            output_clear(&out);
        }
        rejects_clear(&r);
    }
    struct rejects none;
    rejects_init(&none, &stage, 0, (struct reject_limit){ 0, 0 });
    CHECK_OK(rejects_finish(&none, 0, &out, &err), err);
    CHECK_EQ(out.rows, 0);
    CHECK_EQ(out.bytes, 0);
    output_clear(&out);
    rejects_clear(&none);
}

TEST(rejects, a_full_disk_is_an_error_and_not_a_crash)
{
    struct err err = { 0 };
    struct opener full = { .path = "/dev/full" }, missing = { .path = "/nonexistent/x" };
    struct stage stage = { open_file, &full, 0 };
    struct rejects r;
    rejects_init(&r, &stage, 0, no_limit);
    CHECK_EQ(rejects_add(&r, REJECT_NULL, "c", (struct str){ 0 }, &at_17, &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK_HAS(err.msg, "rejects");
    rejects_clear(&r);

    stage.arg = &missing;
    rejects_init(&r, &stage, 0, no_limit);
    CHECK_EQ(rejects_add(&r, REJECT_NULL, "c", (struct str){ 0 }, &at_17, &err), -1);
    CHECK_EQ(err.code, ERR_IO);
    CHECK_HAS(err.msg, "rejects: open '/nonexistent/x'");
    rejects_clear(&r);

    struct opener late = { .path = "/dev/full" }; /* what waits in memory at the end */
    stage = (struct stage){ open_file, &late, 10 };
    rejects_init(&r, &stage, 0, no_limit);
    r.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct output out;
    CHECK_OK(rejects_add(&r, REJECT_NULL, "c", (struct str){ 0 }, &at_17, &err), err);
    CHECK_EQ(rejects_finish(&r, 1, &out, &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    rejects_clear(&r);
}

/* ---- the way back ---- */

struct bytes {
    struct input input;
    struct str left;
    size_t step; /* bytes at a time */
};

static ssize_t bytes_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    (void)err;
    struct bytes *b = (struct bytes *)in;
    size_t n = b->left.n < b->step ? b->left.n : b->step;
    n = n < cap ? n : cap;
    memcpy(buf, b->left.p, n);
    b->left = (struct str){ b->left.p + n, b->left.n - n };
    return (ssize_t)n;
}

TEST(rejects, what_was_written_is_read_again_whatever_bytes_it_has)
{
    struct err err = { 0 };
    struct stage stage = { open_file, NULL, 1 << 20 };
    static const struct reject_context csv = { "orders.a", "csv", "latin1", ';', true, STR("id;\"a\nb\""), false },
                                       json = { "orders.b", "json", "utf-8", 0, false, { 0 }, true };
    static char all[256 * 40];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)(i * 7 + i / 256);
    const struct str rows[] = { STR("x;\"y\nz\""), { all, sizeof all }, STR(""), STR("{\"a\":\"\xc3\xa4\"}") };
    struct rejects r;
    rejects_init(&r, &stage, 0, no_limit);
    rejects_at(&r, "w.a", "file:///a.zip", "a.csv");
    rejects_know(&r, &csv);
    for (uint64_t i = 0; i < 3; i++) {
        struct place place = { i + 2, i * 10, rows[i] };
        CHECK_OK(rejects_add(&r, REJECT_NOT_INTEGER, "id", STR("x"), &place, &err), err);
    }
    rejects_at(&r, "w.b", "file:///a.zip", "b.json");
    struct place lost = { 0, 0, { NULL, 0 } }; /* a row that nobody has */
    CHECK_OK(rejects_add(&r, REJECT_NULL, "id", STR(""), &lost, &err), err);
    rejects_know(&r, &json);
    struct place place = { 9, 90, rows[3] };
    CHECK_OK(rejects_add(&r, REJECT_NULL, NULL, STR(""), &place, &err), err);
    r.member = NULL; /* a step gave this one */
    CHECK_OK(rejects_add(&r, REJECT_NULL, NULL, STR(""), &place, &err), err);
    struct output out;
    CHECK_OK(rejects_finish(&r, 6, &out, &err), err);
    CHECK_EQ(out.rows, 6);
    CHECK_HAS(out.spec, "{\"first\":\"member 'a.csv', line 2, byte 0, column 'id', value \\\"x\\\": not an integer [not-integer]\"");
    CHECK_HAS(out.spec, "\"reasons\":[{\"reason\":\"null\",\"rows\":3},{\"reason\":\"not-integer\",\"rows\":3}]}");
    for (size_t step = 1; step < 1 << 20; step *= 31) {
        struct bytes b = { { bytes_read, NULL, -1 }, buf_str(&out.inlined), step };
        struct rejects_in *in;
        struct reject_line l;
        CHECK_OK(rejects_open(&in, &b.input, 1 << 20, &err), err);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(rejects_next(in, &l, &err), 1);
            CHECK(str_eq(l.row, rows[i]));
            CHECK_EQ(l.new_context, i == 0);
            CHECK_STR(l.context->part, "orders.a");
            CHECK_STR(l.context->format, "csv");
            CHECK_STR(l.context->encoding, "latin1");
            CHECK_EQ(l.context->delimiter, ';');
            CHECK(l.context->has_header && !l.context->refresh);
            CHECK(str_eq(l.context->header, csv.header));
            CHECK_STR(l.table, "w.a");
            CHECK_STR(l.reason, "not-integer");
            CHECK_STR(l.column, "id");
            CHECK_STR(l.object, "file:///a.zip");
            CHECK_STR(l.member, "a.csv");
            CHECK_EQ(l.row_line, i + 2);
            CHECK_EQ(l.row_offset, i * 10);
        }
        CHECK_EQ(rejects_next(in, &l, &err), 1);
        CHECK(l.cut && !l.context);
        CHECK_EQ(rejects_next(in, &l, &err), 1);
        CHECK(str_eq(l.row, rows[3]) && !l.column && !l.cut);
        CHECK_STR(l.context->part, "orders.b");
        CHECK(!l.context->has_header && l.context->refresh && !l.context->delimiter);
        CHECK_EQ(rejects_next(in, &l, &err), 1);
        CHECK(str_eq(l.row, rows[3]) && !l.member && !l.context);
        CHECK_EQ(rejects_next(in, &l, &err), 0);
        rejects_close(in);
    }
    output_clear(&out);
    rejects_clear(&r);
}

TEST(rejects, kept_lines_that_are_damaged_are_an_error_and_not_a_row)
{
    static const char *const damaged[] = {
        "{\"context\":{\"part\":\"p\"}}\n",
        "{\"context\":7}\n",
        "{\"table\":\"w.t\",\"reason\":\"null\"}\n",
        "nothing of ours\n",
        "[1]\n",
        "{\"table\":\"t\",\"reason\":\"null\",\"message\":\"m\",\"column\":null,\"value\":\"\",\"object\":null,\"member\":null,\"line\":1,\"offset\":0,"
        "\"row\":\"\",\"hex\":\"0g\"}\n",
        "{\"table\":\"t\",\"reason\":\"null\",\"message\":\"m\",\"column\":null,\"value\":\"\",\"object\":null,\"member\":null,\"line\":1,\"offset\":0,"
        "\"row\":\"a\"}", /* cut off */
    };
    for (size_t i = 0; i < COUNT_OF(damaged); i++) {
        struct err err = { 0 };
        struct bytes b = { { bytes_read, NULL, -1 }, str_of(damaged[i]), 100 };
        struct rejects_in *in;
        struct reject_line l;
        CHECK_OK(rejects_open(&in, &b.input, 1000, &err), err);
        CHECK_EQ(rejects_next(in, &l, &err), -1);
        CHECK_EQ(err.code, ERR_FORMAT);
        CHECK_HAS(err.msg, "line 1 of the kept rejects");
        rejects_close(in);
    }
}
