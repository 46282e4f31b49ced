/* One job from bytes to outputs: members to parts, books closed, errors with their place. */
#include "test.h"
#include "cut_input.h"

#include <fcntl.h>

#include "base/json.h"
#include "base/simd.h"
#include "io/config.h"
#include "pipeline/pipeline.h"

static int no_file(void *arg, int number, const char *ext, struct err *err)
{
    (void)arg;
    (void)ext;
    char name[32];
    snprintf(name, sizeof name, "out-%d", number);
    int fd = open(test_file(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? err_sys(err, "make %s", name) : fd;
}

static const struct stage stage = { no_file, NULL, STAGE_INLINE_MAX };

static struct config *config_of(const char *pipelines)
{
    struct config *c;
    struct err err;
    FILE *f = fopen(test_file("t.ini"), "w");
    fprintf(f, "[target w]\nurl = sqlite:///tmp/w.db\n%s", pipelines);
    fclose(f);
    CHECK_OK(config_load(&c, test_file("t.ini"), NULL, &err), err);
    return c;
}

struct outcome {
    int rc;
    struct err err;
    struct pipeline_counts counts;
    struct output outputs[PIPELINE_PARTS_MAX + 1];
    int noutputs;
};

static int64_t run_watermark = EVENT_NONE;

static struct outcome run(const char *pipelines, const char *const *texts)
{
    struct outcome o = { .rc = -1 };
    struct config *c = config_of(pipelines);
    struct pipeline_run *r;
    CHECK_OK(pipeline_start(&r, c, &c->pipelines[0], "u", NULL, NULL, &stage, &o.err), o.err);
    pipeline_watermark(r, run_watermark);
    o.rc = 0;
    for (int i = 0; texts[i] && o.rc == 0; i += 2) {
        struct cut_input in = cut_of(str_of(texts[i + 1]), 0);
        o.rc = pipeline_object(r, &in.in, texts[i], &o.err);
    }
    if (o.rc == 0)
        o.rc = pipeline_finish(r, o.outputs, &o.noutputs, &o.err);
    o.counts = *pipeline_counts(r);
    pipeline_end(r);
    config_free(c);
    return o;
}

static void outcome_clear(struct outcome *o)
{
    for (int i = 0; i < o->noutputs; i++)
        output_clear(&o->outputs[i]);
}

#define RUN(pipelines, ...) run(pipelines, (const char *const[]){ __VA_ARGS__, NULL })

TEST(pipeline, a_csv_becomes_one_output_of_typed_rows)
{
    struct outcome o = RUN("[pipeline p]\ncolumns = id:integer!, name:text\ntable = w.t\n", "file:///in/a.csv", "id,name\n1,x\n2,y\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.read, 2);
    CHECK_EQ(o.counts.staged, 2);
    CHECK_EQ(o.noutputs, 1);
    CHECK_EQ(o.outputs[0].rows, 2);
    CHECK_STR(o.outputs[0].table, "w.t");
    CHECK(!o.outputs[0].in_file);
    outcome_clear(&o);
}

TEST(pipeline, rejects_are_counted_and_the_books_close)
{
    struct outcome o = RUN("[pipeline p]\ncolumns = id:integer!, name:text\ntable = w.t\nmax_rejects = 5\n", "file:///in/a.csv",
                           "id,name\n1,x\nno,y\n3\n4,z\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.read, 4);
    CHECK_EQ(o.counts.staged, 2);
    CHECK_EQ(o.counts.rejected, 2);
    CHECK_EQ(o.noutputs, 2);
    CHECK_EQ(o.outputs[1].kind, OUTPUT_REJECTS);
    CHECK_EQ(o.outputs[1].rows, 2);
    CHECK_HAS(o.outputs[1].inlined.p, "\"line\":3");
    CHECK_HAS(o.outputs[1].inlined.p, "\"object\":\"file:///in/a.csv\"");
    outcome_clear(&o);
}

TEST(pipeline, one_reject_too_many_fails_the_job_with_its_place)
{
    struct outcome o = RUN("[pipeline p]\ncolumns = id:integer!\ntable = w.t\n", "file:///in/a.csv", "id\n1\nx\n");
    CHECK_EQ(o.rc, -1);
    CHECK_EQ(o.err.code, ERR_REJECTS);
    CHECK_HAS(o.err.msg, "member 'a.csv'");
    CHECK_HAS(o.err.msg, "line 3");
}

TEST(pipeline, a_wrong_number_of_fields_is_told_with_the_number_expected)
{
    struct outcome o = RUN("[pipeline p]\nmax_rejects = 2\nheader = no\ncolumns = a, b, c:text?\ntable = w.t\n",
                           "file:///in/a.csv", "1,2\n1\n1,2,3,4,5\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.outputs[0].rows, 1);
    CHECK_HAS(o.outputs[1].inlined.p, "or the columns: 1 found, 2 expected\"");
    CHECK_HAS(o.outputs[1].inlined.p, "or the columns: 5 found, 3 expected\"");
    outcome_clear(&o);
    o = RUN("[pipeline p]\ncolumns = a, b, c\ntable = w.t\n", "file:///in/a.csv", "a,b,c\n1,2,3\n1,2\n");
    CHECK_EQ(o.err.code, ERR_REJECTS);
    CHECK_HAS(o.err.msg, "2 found, 3 expected [field-count]");
}

static const char *const two_parts = "[pipeline p]\nmax_rejects = 1\n[pipeline p.a]\nmember = *.csv\ncolumns = id:integer!\ntable = w.a\n"
                                     "[pipeline p.b]\nmember = *.jsonl, *.json\ncolumns = n:integer!\ntable = w.b\n";

TEST(pipeline, each_member_goes_to_the_part_that_wants_it)
{
    struct outcome o = RUN(two_parts, "file:///in/a.csv", "id\n1\n2\n", "file:///in/b.jsonl", "{\"n\":5}\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.noutputs, 2);
    CHECK_EQ(o.outputs[0].rows, 2);
    CHECK_EQ(o.outputs[1].rows, 1);
    CHECK_STR(o.outputs[1].table, "w.b");
    CHECK_EQ(o.counts.members, 2);
    outcome_clear(&o);
}

TEST(pipeline, an_object_that_nobody_wants_is_an_error_that_lists_its_members)
{
    struct outcome o = RUN(two_parts, "file:///in/readme.txt", "hello\n");
    CHECK_EQ(o.rc, -1);
    CHECK_EQ(o.err.code, ERR_NO_MEMBER);
    CHECK_HAS(o.err.msg, "readme.txt");
}

TEST(pipeline, no_rows_at_all_is_an_error_unless_the_pipeline_allows_it)
{
    struct outcome o = RUN("[pipeline p]\ncolumns = id:integer!\ntable = w.t\n", "file:///in/a.csv", "");
    CHECK_EQ(o.err.code, ERR_EMPTY);
    o = RUN("[pipeline p]\ncolumns = id:integer!\ntable = w.t\n", "file:///in/a.csv", "id\n");
    CHECK_EQ(o.err.code, ERR_EMPTY);
    o = RUN("[pipeline p]\ncolumns = id:integer!\ntable = w.t\nempty = ok\n", "file:///in/a.csv", "id\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.outputs[0].rows, 0);
    outcome_clear(&o);
}

/* A table that the job would empty. */
static void check_emptied(const char *keys, const char *text, const char *message)
{
    AUTO(buf_clear) struct buf ini = { 0 };
    buf_addf(&ini, "[pipeline p]\nmax_rejects = 5\ncolumns = id:integer!, n\n%s", keys);
    struct outcome o = RUN(ini.p, "file:///in/a.csv", text);
    if (!message) {
        CHECK_OK(o.rc, o.err);
        outcome_clear(&o);
        return;
    }
    CHECK_EQ(o.rc, -1);
    CHECK_EQ(o.err.code, ERR_EMPTY);
    CHECK_HAS(o.err.msg, message);
}

TEST(pipeline, a_table_that_is_replaced_is_not_emptied_in_silence)
{
    static const char two[] = "id,n\n1,a\n2,b\n";
    check_emptied("table = w.t\nmode = replace\nwhere = id > 2\n", two,
                  "table w.t (mode = replace) would be left without any row: of 2 that were read of the job 2 were filtered and 0 refused");
    check_emptied("table = w.t\nmode = replace\n", "id,n\nx,a\n", "of 1 that were read of the job 0 were filtered and 1 refused");
    check_emptied("table = w.t\nmode = replace\ntransform = SELECT id, n FROM input WHERE n = 'c'\n", two, "2 were filtered");
    check_emptied("[pipeline p.a]\nmember = *.csv\ntable = w.a\n[pipeline p.b]\nmember = *.tsv\ntable = w.b\nmode = replace\n", two, "table w.b (mode = replace)");
    check_emptied("table = w.t\nmode = replace\nwhere = id > 2\nempty = ok\n", two, NULL);
    check_emptied("table = w.t\nmode = replace\nwhere = id > 1\n", two, NULL);
    check_emptied("table = w.t\nwhere = id > 2\n", two, NULL);
}

TEST(pipeline, rows_beyond_the_inline_limit_go_to_a_file)
{
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id\n");
    for (int i = 0; i < 50000; i++)
        buf_addf(&text, "%d\n", i);
    struct outcome o = RUN("[pipeline p]\ncolumns = id:integer!\ntable = w.t\n", "file:///in/a.csv", text.p);
    CHECK_OK(o.rc, o.err);
    CHECK(o.outputs[0].in_file);
    CHECK_EQ(o.outputs[0].rows, 50000);
    outcome_clear(&o);
}

/* Rows with all that the fast ways treat apart: quotes, umlauts, bad UTF-8, empty fields, long texts. */
static void put_mixed(struct buf *csv, struct buf *json, unsigned i)
{
    static const char *const texts[] = { "plain", "Käufer 😀 in Ærøskøbing", "", "\xC3", "a text that is longer than thirty-two bytes" };
    const char *text = texts[i % 97 ? i % 3 : i % COUNT_OF(texts)];
    buf_addf(csv, "%u,\"%s%s\",%d.%02u,2026-11-%02uT10:%02u:07\n", i * 2654435761u, text, i % 7 ? "" : "\"\"x", (int)(i % 2000) - 1000, i % 100,
             i % 30, i % 60);
    buf_addf(json, "{\"id\":%u,\"b\":\"%s%s\",\"c\":%d.%02u,\"d\":\"2026-11-%02uT10:%02u:07\"}\n", i * 2654435761u, text, i % 7 ? "" : "\\n",
             (int)(i % 2000) - 1000, i % 100, i % 30, i % 60);
}

static const char *const mixed_parts = "[pipeline p]\nmax_rejects = 10000\n"
    "[pipeline p.a]\nmember = *.csv\ntable = w.a\ncolumns = id:integer!, b, c:real, d:timestamp\n"
    "[pipeline p.b]\nmember = *.json\nformat = jsonl\ntable = w.b\ncolumns = id:integer!, b, c:decimal(2), d:timestamp\n";

TEST(pipeline, the_kind_of_simd_changes_no_byte_of_what_is_staged)
{
    struct buf csv = { 0 }, json = { 0 };
    struct { int64_t bytes; uint64_t checksum; } first[PIPELINE_PARTS_MAX + 1] = { 0 };
    buf_adds(&csv, "id,b,c,d\n");
    for (unsigned i = 0; i < 4000; i++)
        put_mixed(&csv, &json, i);
    buf_addc(&csv, '\0');
    buf_addc(&json, '\0');
    for (int kind = SIMD_PLAIN; kind < SIMD_KINDS; kind++) {
        simd_limit((enum simd)kind);
        struct outcome o = RUN(mixed_parts, "a.csv", csv.p, "b.json", json.p);
        simd_limit(SIMD_AVX2);
        CHECK_OK(o.rc, o.err);
        CHECK_EQ(o.noutputs, 3);
        assert_true(o.counts.rejected > 100);
        for (int i = 0; i < o.noutputs; i++) {
            if (kind == SIMD_PLAIN) {
                first[i].bytes = o.outputs[i].bytes;
                first[i].checksum = o.outputs[i].checksum;
                assert_true(o.outputs[i].checksum || o.outputs[i].kind == OUTPUT_REJECTS);
            }
            CHECK_EQ(o.outputs[i].bytes, first[i].bytes);
            CHECK_EQ(o.outputs[i].checksum, first[i].checksum);
        }
        outcome_clear(&o);
    }
    buf_clear(&csv);
    buf_clear(&json);
}

TEST(pipeline, globs_of_member_match_the_whole_name_or_its_last_part)
{
    struct recipe r = { .member = (char *)"data/*.csv, x{1,2}.txt" };
    CHECK(pipeline_wants(&r, "data/a.csv"));
    CHECK(!pipeline_wants(&r, "other/a.csv"));
    CHECK(pipeline_wants(&r, "deep/x2.txt"));
    CHECK(!pipeline_wants(&r, "x3.txt"));
    AUTO(buf_clear) struct buf many = { 0 }; /* a list of any length */
    for (int i = 0; i < 1000; i++)
        buf_addf(&many, "no%d.csv, ", i);
    buf_adds(&many, " {a,b}.last ,");
    r.member = many.p;
    CHECK(pipeline_wants(&r, "no7.csv"));
    CHECK(pipeline_wants(&r, "b.last"));
    CHECK(!pipeline_wants(&r, "c.last"));
    r.member = NULL;
    CHECK(pipeline_wants(&r, "anything"));
}

/* ---- event time ---- */

#define EVENTS "[pipeline p]\ncolumns = id:integer!, at:timestamp, day:date\ntable = w.t\nevent_time = "
#define EVENT_ROWS "id,at,day\n1,2024-01-01T10:00:00Z,2024-01-01\n2,2024-01-01T09:59:59.5Z,2023-12-31\n3,,\n4,2024-01-01T11:00:00Z,2024-01-02\n"
enum { TEN = 10 * 3600 };
static const int64_t day_us = INT64_C(1704067200000000); /* 2024-01-01 */

TEST(pipeline, rows_before_the_watermark_are_late_and_loaded_as_all_others)
{
    struct outcome o = RUN(EVENTS "at\n", "file:///in/a.csv", EVENT_ROWS);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.late, 0); /* there is no watermark yet */
    CHECK_EQ(o.counts.greatest, day_us + (TEN + 3600) * INT64_C(1000000));
    outcome_clear(&o);
    run_watermark = day_us + TEN * INT64_C(1000000);
    o = RUN(EVENTS "at\n", "file:///in/a.csv", EVENT_ROWS);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.late, 1);
    CHECK_EQ(o.outputs[0].rows, 4);
    outcome_clear(&o);
    run_watermark = day_us;
    o = RUN(EVENTS "day\nlate = table\n", "file:///in/a.csv", EVENT_ROWS);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.late, 1);
    CHECK_EQ(o.counts.greatest, day_us + INT64_C(86400000000));
    outcome_clear(&o);
    run_watermark = EVENT_NONE;
}

TEST(pipeline, late_rows_are_refused_where_the_ini_says_so)
{
    run_watermark = day_us + TEN * INT64_C(1000000);
    struct outcome o = RUN(EVENTS "at\nlate = reject\nmax_rejects = 1\n", "file:///in/a.csv", EVENT_ROWS);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.late, 1);
    CHECK_EQ(o.counts.staged, 3);
    CHECK_EQ(o.noutputs, 2);
    CHECK_HAS(o.outputs[1].inlined.p, "\"reason\":\"late\"");
    CHECK_HAS(o.outputs[1].inlined.p, "\"column\":\"at\",\"value\":\"2024-01-01T09:59:59.5\"");
    CHECK_HAS(o.outputs[1].inlined.p, "\"line\":3");
    outcome_clear(&o);
    run_watermark = EVENT_NONE;
}

TEST(pipeline, late_rows_go_to_their_own_table)
{
    run_watermark = day_us + TEN * INT64_C(1000000);
    struct outcome o = RUN(EVENTS "at\nmode = upsert\nkey = id\nlate = w.late\n", "file:///in/a.csv", EVENT_ROWS);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.noutputs, 2);
    CHECK_STR(o.outputs[0].table, "w.t");
    CHECK_EQ(o.outputs[0].rows, 3);
    CHECK_STR(o.outputs[1].table, "w.late");
    CHECK_EQ(o.outputs[1].rows, 1);
    CHECK_EQ(o.counts.staged, 4);
    outcome_clear(&o);
    /* all of them, and those of a part that has members of its own beside it */
    run_watermark = INT64_MAX;
    o = RUN("[pipeline p]\ncolumns = id:integer!, at:timestamp\nevent_time = at\n[pipeline p.a]\nmember = a.csv\ntable = w.a\nlate = w.late\n"
            "[pipeline p.b]\nmember = b.csv\ntable = w.b\n", "file:///in/a.csv", "id,at\n1,2024-01-01\n", "file:///in/b.csv",
            "id,at\n2,2024-01-01\n3,2024-01-01\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.noutputs, 3);
    CHECK_EQ(o.outputs[0].rows, 0);
    CHECK_EQ(o.outputs[1].rows, 2);
    CHECK_STR(o.outputs[2].table, "w.late");
    CHECK_EQ(o.outputs[2].rows, 1);
    CHECK_EQ(o.counts.late, 3);
    outcome_clear(&o);
    run_watermark = EVENT_NONE;
}

TEST(pipeline, what_the_table_of_late_rows_refuses_carries_its_name)
{
    run_watermark = day_us;
    struct outcome o = RUN("[pipeline p]\ncolumns = x:decimal(3), at:timestamp\ntable = w.t\nevent_time = at\nlate = w.late\nmax_rejects = 2\n",
                           "file:///in/a.csv", "x,at\n1234567890123.456,2023-01-01\n1234567890123.456,2024-01-02\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.noutputs, 3);
    const char *late = o.outputs[2].inlined.p, *second = strstr(late, "\n{\"table\":\"w.t\"");
    CHECK_HAS(late, "{\"table\":\"w.late\"");
    CHECK(second);
    CHECK_HAS(second, "\"line\":3");
    outcome_clear(&o);
    run_watermark = EVENT_NONE;
}

TEST(pipeline, no_event_is_ahead_of_the_clock)
{
    int64_t before = sys_now_ms() * 1000;
    struct outcome o = RUN(EVENTS "at\n", "file:///in/a.csv", "id,at,day\n1,9999-01-01T00:00:00Z,\n");
    CHECK_OK(o.rc, o.err);
    CHECK(o.counts.greatest >= before && o.counts.greatest <= sys_now_ms() * 1000);
    outcome_clear(&o);
    o = RUN(EVENTS "at\n", "file:///in/a.csv", "id,at,day\n1,,\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.greatest, EVENT_NONE);
    outcome_clear(&o);
}

/* ---- refused rows, read again ---- */

/* The rejects of a run that goes through. The caller frees. */
static char *rejects_of(const char *pipelines, const char *uri, const char *text, struct outcome *o)
{
    *o = RUN(pipelines, uri, text);
    CHECK_OK(o->rc, o->err);
    for (int i = 0; i < o->noutputs; i++)
        if (o->outputs[i].kind == OUTPUT_REJECTS) {
            CHECK(!o->outputs[i].in_file);
            return strdup(o->outputs[i].inlined.p);
        }
    return strdup("");
}

#define P "[pipeline p]\ntable = w.t\nmax_rejects = 1000\n"

/* What no rule mends is refused again, for the same reason and at the same place: byte for byte what was kept before. */
TEST(pipeline, rows_that_are_refused_again_are_the_same_rejects)
{
    static const struct { const char *ini, *uri, *text; } cases[] = {
        { P "columns = id:integer!, name\n", "file:///a.csv", "id,name\n1,a\nx,b\n\"y\n\",c\r\nz\n2,\"a\"b\nq,\"\",\n" },
        { P "columns = id:integer!, name\n", "file:///a.csv", "name;more;id\na;b;x\na;\"b;1\na;\"b;1\na;\"b\n;\";y\n" "a\377;b;1\n" },
        { P "columns = id:integer!, name\ncomment = #\nskip_lines = 2\n", "file:///a.csv", "one\ntwo\n#three\n\"id\",\"na\nme\",name\n#four\nx,1,2\n5\n" },
        { P "columns = id:integer!\nheader = no\n", "file:///a.csv", "x\n\ny\rz\n1\n" },
        { P "columns = id:integer!, name\nheader = no\nformat = csv\n", "file:///a.csv", "x,1\r2,2\r\"y\n\",\r" },
        { P "columns = id:integer!, name\nformat = tsv\nquote = none\n", "file:///a.csv", "id\tname\nx\t\"\n1\t2\t3\n" },
        { P "columns = id:integer!, name\n", "file:///a.csv", "sep=|\nid|name\nx|1\ny\n" },
        { P "columns = id:integer!, name\nencoding = latin1\n", "file:///a.csv", "id,name\n\344,\366\n1,2,\374\n" },
        { P "columns = id:integer!, name\nencoding = utf-8-replace\n", "file:///a.csv", "id,name\n\344,\366\n" },
        { P "columns = id:integer!, name\nragged = fill\ntrim = yes\n", "file:///a.csv", "id,name\n x ,\n1,2,3\n" },
        { P "columns = id:integer!, name\n", "file:///a.jsonl", "{\"id\":1}\n{\"id\":\"x\",\"name\":\"a\"}\n\n{\"id\":\n[1]\n{\"id\":2,\"id\":3}\n7\n{}}\n" },
        { P "columns = id:integer!, name?\n", "file:///a.json", "[{\"id\":1},\n {\"id\":\n\"x\"}, 5, [2], \"t\", {\"id\":{}} , {bad}]" },
        { P "columns = id:integer!, name?\nrecords = a.b\n", "file:///a.json", "{\"n\":1,\"a\":{\"b\":[{\"id\":\"x\"},\n{\"id\":null}]}}" },
        { P "columns = id:integer!, name?\nformat = jsonl\n", "file:///a.json", "{\"id\":1}\n{\"rows\":[{\"id\":7}],\"x\":1}\n" },
        { "[pipeline p]\nformat = message\nmax_rejects = 9\n[pipeline p.a]\ntable = w.a\ncolumns = id:integer!\n"
          "[pipeline p.b]\ntable = w.b\ncolumns = n:integer!\n", "file:///m.json",
          "[{\"table\":\"b\",\"data\":[{\"n\":1},{\"n\":\"x\"}]},{\"table\":\"a\",\"data\":[{\"id\":\"y\"}]}]" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct outcome first, again;
        char *refused = rejects_of(cases[i].ini, cases[i].uri, cases[i].text, &first);
        if (!*refused)
            fail_msg("case %zu has no rejects", i);
        char *once_more = rejects_of(cases[i].ini, "rejects:U", refused, &again);
        if (strcmp(refused, once_more))
            fail_msg("case %zu: kept\n%sread again\n%s", i, refused, once_more);
        CHECK_EQ(again.counts.read, again.counts.rejected);
        CHECK_EQ(again.counts.rejected, first.counts.rejected);
        free(refused);
        free(once_more);
        outcome_clear(&first);
        outcome_clear(&again);
    }
}

static void check_mended(const char *before, const char *after, const char *text, uint64_t refused, uint64_t staged)
{
    struct outcome o;
    char *kept = rejects_of(before, "file:///a.csv", text, &o);
    if (o.counts.rejected != refused)
        fail_msg("%s: %llu rejected, not %llu", before, (unsigned long long)o.counts.rejected, (unsigned long long)refused);
    outcome_clear(&o);
    o = RUN(after, "rejects:U", kept);
    CHECK_OK(o.rc, o.err);
    if (o.counts.staged != staged)
        fail_msg("%s: %llu staged, not %llu", after, (unsigned long long)o.counts.staged, (unsigned long long)staged);
    outcome_clear(&o);
    free(kept);
}

TEST(pipeline, a_mended_rule_takes_the_rows_that_it_is_about)
{
    check_mended(P "columns = id:integer!, n:integer\n", P "columns = id:integer!, n:text\n", "id,n\n1,2\n2,x\n3,y\n", 2, 2);
    check_mended(P "columns = id:integer!, n\nformat = csv\nragged = fill\n", P "columns = id:integer!, n\nformat = csv\nragged = fill\n",
                 "id,n\n1,2\nx,2\n", 1, 0);
    check_mended(P "columns = id:integer!, n\n", P "columns = id:integer!, n\nencoding = latin1\n",
                 "id,n\n1,\344\n2,\366\n3,o\n", 2, 2);
    check_mended(P "columns = id:integer!, n\n", P "columns = id:integer!, n\nquote = none\n", "id,n\n1,\"a\n2,\"b\n3,c\n", 2, 2);
    check_mended(P "columns = id:integer!, n\n", P "columns = id:integer!, n\nragged = fill\n", "id,n\n1\n2,\"\",\n3,c\n", 2, 2);
    check_mended(P "columns = id:integer!, n\n", P "columns = id:integer!, n\ncomment = #\n", "id,n\n1,a\n#2,a\n", 1, 0);
    struct outcome o;
    char *bytes = rejects_of(P "columns = id:integer!, n\n", "file:///a.csv", "id,n\n1,\344\nx,\344\ny,\344\n", &o), *text;
    outcome_clear(&o); /* what was decoded by then is not decoded again */
    text = rejects_of(P "columns = id:integer!, n\nencoding = latin1\n", "rejects:U", bytes, &o);
    outcome_clear(&o);
    CHECK_HAS(text, "\"encoding\":\"latin1\"");
    CHECK_HAS(text, "\"row\":\"x,\303\244\"");
    CHECK(!strstr(strstr(text, "context") + 1, "context")); /* once for both */
    o = RUN(P "columns = id, n\nencoding = latin1\n", "rejects:V", text);
    CHECK_EQ(o.counts.staged, 2);
    outcome_clear(&o);
    free(bytes);
    free(text);
    /* some are taken, the others can be read once more */
    char *kept = rejects_of(P "columns = id:integer!, n:integer\n", "file:///a.csv", "id,n\n1,x\n2,y\ny,z\n", &o);
    outcome_clear(&o);
    char *rest = rejects_of(P "columns = id:integer!, n\n", "rejects:U", kept, &o);
    CHECK_EQ(o.counts.staged, 2);
    outcome_clear(&o);
    o = RUN(P "columns = id, n\n", "rejects:V", rest);
    CHECK_EQ(o.counts.staged, 1);
    outcome_clear(&o);
    free(kept);
    free(rest);
    check_mended(P "columns = a:integer!, b:text?\n", P "columns = a:text, b:text?\n", "b,c,a\n1,2,x\n", 1, 1);
}

TEST(pipeline, rows_read_again_have_the_place_that_they_came_from)
{
    struct outcome o;
    char *kept = rejects_of(P "columns = id:integer!, n:integer, s from _source, m from _member, l:integer from _line\n", "file:///in/a.csv",
                            "id,n\n1,1\n2,x\n3,y\n4,\"z\nz\"\n", &o);
    outcome_clear(&o);
    o = RUN(P "columns = id:integer!, n, s:integer from _source, m from _member, l:integer from _line\n", "rejects:U", kept);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.rejected, 3); /* by _source, which is no number: so that it is seen */
    CHECK_HAS(o.outputs[1].inlined.p, "\"column\":\"s\",\"value\":\"file:///in/a.csv\"");
    CHECK_HAS(o.outputs[1].inlined.p, "\"object\":\"file:///in/a.csv\",\"member\":\"a.csv\",\"line\":3,\"offset\":9,");
    CHECK_HAS(o.outputs[1].inlined.p, "\"line\":5,\"offset\":17,");
    outcome_clear(&o);
    free(kept);
}

TEST(pipeline, rows_that_would_not_be_the_same_are_not_read_again)
{
    static const struct { const char *ini, *why; } cases[] = {
        { P "columns = id:integer!\nmode = replace\n", "mode = replace" },
        { "[pipeline p]\ntable = w.t\ncolumns = id:integer!\nmode = upsert\nkey = id\nmissing = delete\n", "missing = delete" },
        { P "columns = id:integer!\nformat = jsonl\n", "were read as csv, and format = jsonl now" },
        { P "columns = id:integer!\nencoding = utf-16\n", "encoding = utf-16 now" },
        { "[pipeline p]\nmax_rejects = 9\n[pipeline p.a]\ntable = w.t\ncolumns = id\n", "[pipeline p]" },
    };
    struct outcome o;
    char *kept = rejects_of(P "columns = id:integer!\n", "file:///in/a.csv", "id\nx\n", &o);
    outcome_clear(&o);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        o = RUN(cases[i].ini, "rejects:U", kept);
        CHECK_EQ(o.rc, -1);
        CHECK_EQ(o.err.code, ERR_STATE);
        CHECK_HAS(o.err.msg, cases[i].why);
        outcome_clear(&o);
    }
    free(kept);
    kept = rejects_of(P "columns = id:integer!\nheader = no\n", "file:///in/a.csv", "x\n", &o);
    outcome_clear(&o);
    o = RUN(P "columns = id:integer!\n", "rejects:U", kept);
    CHECK_HAS(o.err.msg, "without a header");
    outcome_clear(&o);
    free(kept);
}

TEST(pipeline, a_row_that_is_not_kept_whole_stays_refused)
{
    struct outcome o;
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id,n\nx,1\n2,");
    for (int i = 0; i < 3000; i++)
        buf_addc(&text, 'a');
    buf_adds(&text, "\n");
    char *kept = rejects_of("[limits]\nrow = 1K\n" P "columns = id:integer!, n\n", "file:///in/a.csv", text.p, &o);
    CHECK_EQ(o.counts.rejected, 2);
    outcome_clear(&o);
    o = RUN("[pipeline p]\ntable = w.t\nmax_rejects = 1%, 5\ncolumns = id:text!, n\n", "rejects:U", kept);
    CHECK_OK(o.rc, o.err); /* half of them, and yet no share of a whole */
    CHECK_EQ(o.counts.read, 2);
    CHECK_EQ(o.counts.staged, 1);
    CHECK_EQ(o.counts.rejected, 1);
    CHECK_HAS(o.outputs[1].inlined.p, "\"reason\":\"row-too-long\"");
    CHECK_HAS(o.outputs[1].inlined.p, "\"cut\":true");
    free(kept);
    outcome_clear(&o);
}

TEST(pipeline, a_row_that_another_table_has_is_not_read_again)
{
    struct outcome o;
    static const char *const ini = "[pipeline p]\nmax_rejects = 9\ncolumns = id:integer!, n\n[pipeline p.a]\ntable = w.a\n"
                                   "[pipeline p.b]\nfrom = a\ntable = w.b\ncompute = m:integer = n\n";
    char *kept = rejects_of(ini, "file:///in/a.csv", "id,n\nx,1\n2,y\n", &o); /* the first row is in none, the second in w.a */
    CHECK_EQ(o.counts.rejected, 2);
    CHECK_EQ(o.counts.staged, 1);
    outcome_clear(&o);
    o = RUN("[pipeline p]\nmax_rejects = 9\ncolumns = id, n\n[pipeline p.a]\ntable = w.a\n[pipeline p.b]\nfrom = a\ntable = w.b\n", "rejects:U", kept);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.read, 2);
    CHECK_EQ(o.counts.staged, 2); /* the first, in both */
    CHECK_EQ(o.counts.rejected, 1);
    CHECK_HAS(o.outputs[2].inlined.p, "\"row\":\"2,y\"");
    outcome_clear(&o);
    free(kept);
}
