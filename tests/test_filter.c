/* filter=: rows through a program, whatever it does: none is lost, and nobody waits for ever. */
#include "step_site.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static int started;
static enum filter_format form;

/* Run the script that arg is, as the worker would run a program. */
static int start_script(void *arg, int part, int ends[2], struct err *err)
{
    int in[2], out[2];
    CHECK_EQ(part, 0);
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        return err_sys(err, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGPIPE, SIG_DFL);
        if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
            _exit(126);
        execl("/bin/sh", "sh", "-c", (const char *)arg, (char *)NULL);
        _exit(127);
    }
    CHECK(pid > 0);
    close(in[0]);
    close(out[1]);
    ends[0] = in[1];
    ends[1] = out[0];
    CHECK_EQ(fcntl(ends[0], F_SETFL, O_NONBLOCK) | fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    started++;
    return 0;
}

static struct step_site *filter_site(const char *script, const char *columns, const char *output)
{
    static char *argv[] = { (char *)"./x.sh", NULL };
    struct step_site *s = calloc(1, sizeof *s);
    struct err err;
    (void)signal(SIGPIPE, SIG_IGN);
    started = 0;
    s->recipe.filter.argv = argv;
    s->recipe.filter_format = form;
    s->asker = (struct asker){ .arg = (void *)script, .start_program = start_script };
    if ((s->recipe.output_text = (char *)output))
        CHECK_OK(columns_parse(&s->recipe.output, output, &err), err);
    s->config.limits.row_bytes = 1 << 20;
    CHECK_OK(site_open(s, columns, &err), err);
    return s;
}

static void site_free(struct step_site *s)
{
    site_close(s);
    free(s);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

static int run(struct step_site *s, const char *lines, struct err *err)
{
    return site_give(s, lines, err) < 0 || steps_finish(s->first, err) < 0 ? -1 : 0;
}

static void check_filter(const char *script, const char *columns, const char *output, const char *lines, const char *want)
{
    struct step_site *s = filter_site(script, columns, output);
    struct err err;
    CHECK_OK(run(s, lines, &err), err);
    CHECK_STR(s->out.p, want);
    CHECK_EQ(s->rejects.count, 0);
    CHECK_BOOKS(s);
    site_free(s);
}

/* {"id":0,"name":"row 0"} and so on; malloc'ed. */
static char *many_rows(int n)
{
    struct buf b = { 0 };
    for (int i = 0; i < n; i++)
        buf_addf(&b, "{\"id\":%d,\"name\":\"row %d\"}\n", i, i);
    return b.p;
}

#define ALL_TYPES "i:integer, d:decimal(2), r:real, b:boolean, day:date, at:timestamp, j:json, \"odd \"\"name\":text from odd, t:text"

TEST(filter, values_of_all_types_come_back_as_they_went)
{
    const char *rows = "{\"i\":-9223372036854775808,\"d\":\"-1234567890123456.78\",\"r\":0.1,\"b\":true,\"day\":\"0001-01-01\","
                       "\"at\":\"2026-11-21T08:15:00.123456Z\",\"j\":{\"a\": [1,\n 2]},\"odd\":\"x\",\"t\":\"a\\\"\\\\\\n\\u0001\xc3\xa9\"}\n{}\n";
    const char *want = "-9223372036854775808 -1234567890123456.78 0.1 true \"0001-01-01\" \"2026-11-21T08:15:00.123456Z\" {\"a\": [1,  2]} "
                       "\"x\" \"a\\\"\\\\\\n\\u0001\xc3\xa9\"\nnull null null null null null null null null\n";
    struct step_site *s = filter_site("cat", ALL_TYPES, NULL);
    struct err err;
    s->recipe.format = (char *)"json";
    CHECK_OK(run(s, rows, &err), err);
    CHECK_STR(s->out.p, want);
    site_free(s);
}

TEST(filter, the_program_gets_an_object_a_row)
{
    check_filter("read -r row; printf '{\"got\":%s}\\n' \"$row\"; cat", "i:integer, d:decimal(2), at:timestamp from stamp", "got:json",
                 "{\"i\":1,\"d\":19.9,\"stamp\":\"2026-11-21T09:00:00+01:00\"}\n",
                 "{\"i\":1,\"d\":\"19.90\",\"at\":\"2026-11-21T08:00:00Z\"}\n");
}

TEST(filter, rows_are_dropped_added_and_changed)
{
    check_filter("grep -v '\"id\":2'", "id:integer", NULL, "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n", "1\n3\n");
    check_filter("sed p", "id:integer", NULL, "{\"id\":1}\n{\"id\":2}\n", "1\n1\n2\n2\n");
    check_filter("cat >/dev/null; echo '{\"id\":7}'; printf '\\n \\r\\n{\"id\":8}'", "id:integer", NULL, "{\"id\":1}\n", "7\n8\n");
    check_filter("cat >/dev/null", "id:integer", NULL, "{\"id\":1}\n{\"id\":2}\n", "");
}

TEST(filter, output_names_what_comes_back)
{
    check_filter("sed 's/\"id\"/\"who\":{\"n\":\"5\"},\"id\"/'", "id:integer", "n:integer from who.n, id:text", "{\"id\":1}\n", "5 \"1\"\n");
}

TEST(filter, a_part_without_rows_starts_no_program)
{
    check_filter("echo '{\"id\":1}'", "id:integer", NULL, "", "");
    CHECK_EQ(started, 0);
}

/* More than all pipes hold, with programs that read and write as they like. */
static void check_many(const char *script, int staged)
{
    enum { ROWS = 60000 };
    AUTO(free_charp) char *rows = many_rows(ROWS);
    struct step_site *s = filter_site(script, "id:integer, name:text", NULL);
    struct err err;
    CHECK_OK(run(s, rows, &err), err);
    CHECK_EQ(s->counts.read, ROWS);
    CHECK_EQ(s->counts.staged, staged);
    CHECK_BOOKS(s);
    CHECK_EQ(started, 1);
    site_free(s);
}

TEST(filter, a_program_that_streams_does_not_stall) { check_many("cat", 60000); }
TEST(filter, a_program_that_reads_all_first_does_not_stall) { check_many("tac", 60000); }
TEST(filter, a_program_that_writes_before_it_reads_does_not_stall)
{
    check_many("yes '{\"id\":1}' | head -n 300000; cat >/dev/null", 300000);
}
TEST(filter, a_program_that_writes_much_for_each_row_does_not_stall)
{
    check_many("awk 'NR % 30000 == 1 { for (i = 0; i < 100000; i++) print }'", 200000);
}
TEST(filter, bytes_that_come_one_by_one_are_rows_too)
{
    check_filter("cat | dd bs=1 2>/dev/null", "id:integer", NULL, "{\"id\":1}\n{\"id\":2}\n", "1\n2\n");
}

static void check_fails(const char *script, int rows, const char *message)
{
    AUTO(free_charp) char *lines = many_rows(rows);
    struct step_site *s = filter_site(script, "id:integer, name:text", NULL);
    struct err err;
    CHECK_EQ(run(s, lines, &err), -1);
    CHECK_EQ(err.code, ERR_PROGRAM);
    CHECK_HAS(err.msg, message);
    CHECK_EQ(err.sys, strstr(message, "said so") ? 0 : EPIPE);
    site_free(s);
}

TEST(filter, a_program_that_stops_reading_is_found_out)
{
    check_fails("head -n 1", 60000, "the filter ./x.sh ended, or closed a pipe, before it had read all of its rows");
    check_fails("exec <&-; echo '{}'", 60000, "closed a pipe");
    check_fails("exec >&-; cat", 60000, "closed a pipe");
    check_fails("exit 3", 60000, "closed a pipe");
}

TEST(filter, an_error_object_is_what_the_program_says)
{
    check_fails("head -n 1; echo '{\"error\": \"no luck\"}'", 60000, "line 2: the program said so: \"no luck\"");
    check_fails("cat >/dev/null; echo '{\"error\": \"no luck\"}'", 3, "./x.sh: line 1: the program said so");
}

/* Rejects of what the script writes: how many, and a part of each of the lines. */
static void check_rejects(const char *script, int staged, int count, const char *part)
{
    struct step_site *s = filter_site(script, "id:integer, name:text", NULL);
    struct output out;
    struct err err;
    CHECK_OK(run(s, "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n", &err), err);
    CHECK_EQ(s->counts.staged, staged);
    CHECK_EQ(s->rejects.count, count);
    CHECK_BOOKS(s);
    rejects_head(&s->rejects, &out);
    CHECK_HAS(out.inlined.p, part);
    CHECK_HAS(out.inlined.p, "\"object\":\"filter:./x.sh\",\"member\":null");
    CHECK_STR(s->rejects.object, "file:///in");
    CHECK_STR(s->rejects.member, "in");
    output_clear(&out);
    site_free(s);
}

TEST(filter, what_does_not_fit_is_a_reject_of_its_line)
{
    check_rejects("sed '2s/2/\"x\"/'", 1, 1, "\"reason\":\"not-integer\",");
    check_rejects("sed '2s/2/\"x\"/'", 1, 1, "\"line\":2,\"offset\":20,\"row\":\"{\\\"id\\\":\\\"x\\\",\\\"name\\\":\\\"b\\\"}\"");
    check_rejects("cat; echo garbage", 2, 1, "\"reason\":\"json-syntax\"");
    check_rejects("cat; echo '[1]'", 2, 1, "\"reason\":\"json-not-object\"");
    check_rejects("cat; printf '{\"id\": 3, \"na'", 2, 1, "\"line\":3,");
    check_rejects("cat; printf '{\"id\":3,\"name\":\"\\303\"}\\n'", 2, 1, "\"reason\":\"encoding\"");
    check_rejects("cat; printf '\\0\\n'", 2, 1, "\"line\":3,");
    check_rejects("cat; echo '{\"id\":3,\"id\":4}'", 2, 1, "\"reason\":\"duplicate-key\"");
}

TEST(filter, a_row_that_is_too_long_is_one_reject)
{
    check_rejects("head -c 5000000 /dev/zero | tr '\\0' x; echo; cat", 2, 1, "\"reason\":\"row-too-long\"");
    check_rejects("cat; head -c 5000000 /dev/zero | tr '\\0' x", 2, 1, "\"line\":3,");
}

TEST(filter, a_row_may_be_as_long_as_the_limit_says)
{
    enum { LONG = (1 << 20) - 100 };
    struct buf row = { 0 };
    buf_adds(&row, "{\"id\":1,\"name\":\"");
    for (int i = 0; i < LONG; i++)
        buf_addc(&row, 'x');
    buf_adds(&row, "\"}\n");
    struct step_site *s = filter_site("cat", "id:integer, name:text", NULL);
    struct err err;
    CHECK_OK(run(s, row.p, &err), err);
    CHECK_EQ(s->counts.staged, 1);
    CHECK_EQ(s->out.n, LONG + strlen("1 \"\"\n"));
    buf_clear(&row);
    site_free(s);
}

TEST(filter, a_required_column_that_comes_back_null_is_a_reject)
{
    struct step_site *s = filter_site("sed 's/,\"name\":\"a\"//'", "id:integer, name:text!", NULL);
    struct err err;
    CHECK_OK(run(s, "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n", &err), err);
    CHECK_STR(s->out.p, "2 \"b\"\n");
    CHECK_EQ(s->rejects.count, 1);
    CHECK_HAS(s->rejects.first, "line 1, byte 0, column 'name'");
    CHECK_BOOKS(s);
    site_free(s);
}

TEST(filter, formats_and_names_of_the_file_are_not_those_of_the_program)
{
    struct step_site *s = filter_site("cat", "day:date(%d.%m.%Y) from Tag, a:decimal(1) from \"x.y\"", NULL);
    struct err err;
    s->recipe.decimal_point = ',';
    CHECK_OK(run(s, "{\"Tag\":\"21.11.2026\",\"x\":{\"y\":\"1,5\"}}\n", &err), err);
    CHECK_STR(s->out.p, "\"2026-11-21\" 1.5\n");
    site_free(s);
}

/* ---- as CSV ---- */

static void check_csv(const char *script, const char *columns, const char *output, const char *lines, const char *want)
{
    form = FILTER_CSV;
    check_filter(script, columns, output, lines, want);
    form = FILTER_JSONL;
}

TEST(filter_csv, values_of_all_types_come_back_as_they_went)
{
    check_csv("cat", "i:integer, d:decimal(2), r:real, b:boolean, day:date, at:timestamp, j:json, \"odd \"\"name\":text from odd, t:text",
              NULL,
              "{\"i\":-9223372036854775808,\"d\":\"-1234567890123456.78\",\"r\":0.1,\"b\":true,\"day\":\"0001-01-01\","
              "\"at\":\"2026-11-21T08:15:00.123456Z\",\"j\":{\"a\":[1,2]},\"odd\":\" x \",\"t\":\"a\\\"\\\\,\\n\\r\xc3\xa9\"}\n{}\n",
              "-9223372036854775808 -1234567890123456.78 0.1 true \"0001-01-01\" \"2026-11-21T08:15:00.123456Z\" {\"a\":[1,2]} "
              "\" x \" \"a\\\"\\\\,\\n\\r\xc3\xa9\"\nnull null null null null null null null null\n");
}

TEST(filter_csv, null_and_the_empty_text_are_told_apart)
{
    check_csv("cat", "a:text, b:text", NULL, "{\"a\":\"\",\"b\":null}\n{\"a\":null,\"b\":\"\"}\n", "\"\" null\nnull \"\"\n");
    check_csv("cat", "a:text", NULL, "{\"a\":null}\n{\"a\":\"\"}\n{\"a\":null}\n", "null\n\"\"\nnull\n");
    check_csv("printf 'got\\n\"'; sed 's/\"/\"\"/g' | tr '\\n' '|'; echo '\"'", "a, b:integer", "got", "{\"a\":null}\n{\"a\":\"\",\"b\":1}\n",
              "\"a,b|,|\\\"\\\",1|\"\n");
}

TEST(filter_csv, the_program_gets_a_header_and_its_columns_go_by_name)
{
    check_csv("awk -F, -v OFS=, 'NR == 1 { print \"sum\", \"extra\", $1; next } { print $2 * 2, \"x\", $1 }'", "id:integer, n:integer",
              "id:integer, sum:integer", "{\"id\":1,\"n\":4}\n{\"id\":2,\"n\":5}\n", "1 8\n2 10\n");
    check_csv("grep -v ,5; true", "id:integer, n:integer", NULL, "{\"id\":1,\"n\":4}\n{\"id\":2,\"n\":5}\n", "1 4\n");
    check_csv("cat >/dev/null", "id:integer", NULL, "{\"id\":1}\n", "");
    check_csv("cat | dd bs=1 2>/dev/null", "id:integer", NULL, "{\"id\":1}\n{\"id\":2}\n", "1\n2\n");
}

TEST(filter_csv, programs_that_read_and_write_as_they_like_do_not_stall)
{
    form = FILTER_CSV;
    check_many("cat", 60000);
    check_many("cat >/dev/null; echo id,name; yes 1,x | head -n 300000", 300000);
    check_many("echo id,name; yes 1,x | head -n 300000; cat >/dev/null", 300000);
    form = FILTER_JSONL;
}

TEST(filter_csv, a_program_that_stops_reading_is_found_out)
{
    form = FILTER_CSV;
    check_fails("head -n 1", 60000, "the filter ./x.sh ended, or closed a pipe, before it had read all of its rows");
    check_fails("exec >&-; cat", 60000, "closed a pipe");
    form = FILTER_JSONL;
}

TEST(filter_csv, what_does_not_fit_is_a_reject_of_its_line)
{
    form = FILTER_CSV;
    check_rejects("sed '3s/2/x/'", 1, 1, "\"reason\":\"not-integer\",");
    check_rejects("sed '3s/2/x/'", 1, 1, "\"line\":3,\"offset\":12,\"row\":\"x,b\"");
    check_rejects("cat; echo 3,c,d", 2, 1, "\"reason\":\"field-count\"");
    check_rejects("cat; echo '3,\"a'", 2, 1, "\"reason\":\"csv-quote\"");
    check_rejects("cat; head -c 5000000 /dev/zero | tr '\\0' x; echo", 2, 1, "\"reason\":\"row-too-long\"");
    form = FILTER_JSONL;
}

static void check_cut(const char *script, int rows)
{
    AUTO(free_charp) char *lines = many_rows(rows);
    struct step_site *s = filter_site(script, "id:integer, name:text", NULL);
    struct err err;
    CHECK_EQ(run(s, lines, &err), -1);
    CHECK_EQ(err.code, ERR_PROGRAM_CUT);
    CHECK_HAS(err.msg, "what the filter ./x.sh gave: the CSV ends without a line end");
    site_free(s);
}

TEST(filter_csv, a_last_line_without_its_end_is_an_error)
{
    form = FILTER_CSV;
    check_cut("cat; printf '7,ab'", 3);
    check_cut("cat; printf '7,\"ab\"'", 60000);
    check_cut("head -c -1", 60000);
    check_cut("cat >/dev/null; printf 'id,na'", 3);
    form = FILTER_JSONL;
    check_csv("sed 's/$/\r/'", "id:integer", NULL, "{\"id\":1}\n{\"id\":2}\n", "1\n2\n");
}

TEST(filter_csv, a_header_without_a_column_is_an_error)
{
    form = FILTER_CSV;
    struct step_site *s = filter_site("sed 1s/name/nam/", "id:integer, name:text", NULL);
    struct err err;
    CHECK_EQ(run(s, "{\"id\":1}\n", &err), -1);
    CHECK_EQ(err.code, ERR_HEADER);
    CHECK_HAS(err.msg, "what the filter ./x.sh gave: the header has no 'name' for column 'name'");
    site_free(s);
    form = FILTER_JSONL;
}
