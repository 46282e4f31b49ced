/* where=, compute= and transform=: rows through SQL, typed both ways; every fault of SQL as a clear error; books that close. */
#include "config.h"

#include "test.h"
#include "cut_input.h"

#include <fcntl.h>

#include <sqlite3.h>

#include "base/fiber.h"
#include "io/config.h"
#include "pipeline/pipeline.h"
#include "pipeline/step.h"

/* ---- fibers ---- */

struct count {
    struct fiber *fiber;
    int n;
};

static void count_to_three(void *arg)
{
    struct count *c = arg;
    for (c->n = 1; c->n < 3; c->n++)
        fiber_pause(c->fiber);
}

TEST(fiber, it_stops_in_the_middle_and_goes_on)
{
    struct count c = { 0 };
    struct err err;
    CHECK_OK(fiber_new(&c.fiber, 64 * 1024, count_to_three, &c, &err), err);
    for (int i = 1; i <= 3; i++) {
        CHECK(!fiber_done(c.fiber));
        fiber_resume(c.fiber);
        CHECK_EQ(c.n, i);
    }
    CHECK(fiber_done(c.fiber));
    fiber_free(c.fiber);
}

TEST(fiber, one_that_was_never_begun_can_be_freed)
{
    struct count c = { 0 };
    struct err err;
    CHECK_OK(fiber_new(&c.fiber, 1, count_to_three, &c, &err), err);
    fiber_free(c.fiber);
    fiber_free(NULL);
}

/* ---- a job ---- */

static int scratches, scratch_fail;
static const struct config *lookups_of;

static int file_open(void *arg, int number, const char *ext, struct err *err)
{
    (void)arg, (void)ext;
    char name[32];
    snprintf(name, sizeof name, "out-%d", number);
    const char *path = test_file(name);
    int flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC;
    if (number == STAGE_SCRATCH) {
        if (scratch_fail)
            return err_set(err, ERR_DISK_FULL, "no room for a scratch file");
        path = test_dir();
        flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
        scratches++;
    } else if (number >= STAGE_LOOKUP) {
        path = lookups_of->lookups[number - STAGE_LOOKUP].file;
        flags = O_RDONLY | O_CLOEXEC;
    }
    int fd = open(path, flags, 0600);
    return fd < 0 ? err_sys(err, "open '%s'", path) : fd;
}

static const struct stage stage = { file_open, NULL, 8 << 20 };

static void put_file(const char *name, const char *text)
{
    FILE *f = fopen(test_file(name), "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static struct config *config_of(const char *ini)
{
    struct config *c;
    struct err err;
    AUTO(buf_clear) struct buf faults = { 0 };
    FILE *f = fopen(test_file("t.ini"), "w");
    fprintf(f, "[target w]\nurl = file://%s/out\ncompress = none\n%s", test_dir(), ini);
    fclose(f);
    if (config_load(&c, test_file("t.ini"), &faults, &err) < 0)
        fail_msg("%s", faults.p);
    return c;
}

struct outcome {
    int rc;
    struct err err;
    struct pipeline_counts counts;
    struct output outputs[PIPELINE_PARTS_MAX + 1];
    int noutputs;
    char rows[4096];    /* of the first output, as CSV with a header; as far as they fit */
    char rejects[8192]; /* JSON lines */
};

static void outcome_read(struct outcome *o)
{
    for (int i = 0; i < o->noutputs; i++) {
        const struct output *out = &o->outputs[i];
        if (out->kind == OUTPUT_REJECTS)
            snprintf(o->rejects, sizeof o->rejects, "%.*s", (int)out->inlined.n, out->inlined.p);
        else if (i == 0)
            snprintf(o->rows, sizeof o->rows, "%s", out->inlined.p); /* the index behind them begins with csv and a NUL */
    }
    char *end = strstr(o->rows, "\ncsv");
    if (end)
        end[1] = '\0';
    else if (!strcmp(o->rows, "csv"))
        o->rows[0] = '\0';
}

static struct outcome run(const char *ini, const char *const *texts)
{
    struct outcome o = { .rc = -1 };
    struct config *c = config_of(ini);
    struct pipeline_run *r;
    lookups_of = c;
    o.rc = pipeline_start(&r, c, &c->pipelines[0], "u", NULL, NULL, &stage, &o.err);
    if (o.rc < 0) {
        config_free(c);
        return o;
    }
    for (int i = 0; texts[i] && o.rc == 0; i += 2) {
        struct cut_input in = cut_of(str_of(texts[i + 1]), 0);
        o.rc = pipeline_object(r, &in.in, texts[i], &o.err);
    }
    if (o.rc == 0)
        o.rc = pipeline_finish(r, o.outputs, &o.noutputs, &o.err);
    o.counts = *pipeline_counts(r);
    outcome_read(&o);
    pipeline_end(r);
    config_free(c);
    return o;
}

static void outcome_clear(struct outcome *o)
{
    for (int i = 0; i < o->noutputs; i++)
        output_clear(&o->outputs[i]);
}

#define RUN(ini, ...) run(ini, (const char *const[]){ __VA_ARGS__, NULL })

/* What a pipeline with these keys makes of the orders below. */
#define HEAD   "[pipeline p]\ntable = w.t\nmax_rejects = 100\n"
#define ORDERS "columns = id:integer!, day:date, at:timestamp, amount:decimal(2), rate:real, ok:boolean, name, doc:json\n"
static const char orders[] = "id,day,at,amount,rate,ok,name,doc\n"
                             "1,2026-11-20,2026-11-20T10:00:00Z,12.50,0.1,yes,Anna,\"{\"\"a\"\":[1,2]}\"\n"
                             "2,2026-11-21,2026-11-21 11:30:00.25,0.10,2.5,no,\"B, \"\"ob\"\"\",\"[3]\"\n"
                             "3,,,,,,,\n";

static void check_books(const struct outcome *o)
{
    CHECK_EQ(o->counts.read + o->counts.added, o->counts.staged + o->counts.rejected + o->counts.filtered);
}

static void gives(const char *ini, const char *text, const char *rows)
{
    struct outcome o = RUN(ini, "file:///in/a.csv", text);
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, rows);
    check_books(&o);
    outcome_clear(&o);
}

/* The error of a job, or of its start. */
static void fails(const char *ini, const char *text, enum err_code code, const char *message)
{
    struct outcome o = RUN(ini, "file:///in/a.csv", text);
    CHECK_EQ(o.rc, -1);
    CHECK_STR(err_name(o.err.code), err_name(code));
    CHECK_HAS(o.err.msg, message);
}

/* ---- where= ---- */

TEST(where, rows_for_which_it_is_not_true_are_left_out_and_counted)
{
    struct outcome o = RUN(HEAD "columns = id:integer!, n:integer\nwhere = n > 2 OR id = 1\n", "file:///in/a.csv",
                           "id,n\n1,1\n2,2\n3,3\n4,\n5,x\n6,9\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,n\n1,1\n3,3\n6,9\n");
    CHECK_EQ(o.counts.read, 6);
    CHECK_EQ(o.counts.filtered, 2);
    CHECK_EQ(o.counts.rejected, 1);
    CHECK_EQ(o.counts.staged, 3);
    outcome_clear(&o);
}

static void passes(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sys_clock_advance(sqlite3_value_int64(argv[0]) * 60000);
    sqlite3_result_int(ctx, 1);
}

static int passes_declare(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
    (void)message, (void)api;
    return sqlite3_create_function(db, "passes", 1, SQLITE_UTF8, NULL, passes, NULL, NULL);
}

TEST(where, one_that_is_slow_and_goes_on_is_not_broken_off)
{
    CHECK_EQ(sqlite3_auto_extension((void (*)(void))passes_declare), SQLITE_OK);
    gives(HEAD "columns = id:integer!, minutes:integer\ntransform_timeout = 1h\n" /* the clock is looked at in each row: every 1,000,000 steps */
          "where = passes(minutes) AND (WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k LIMIT 300000)\n"
          " SELECT count(*) FROM k WHERE k > id) < 0 OR id > 3\n", "id,minutes\n1,40\n2,40\n3,40\n4,40\n", "id,minutes\n4,40\n");
    CHECK_EQ(sqlite3_cancel_auto_extension((void (*)(void))passes_declare), 1);
}

TEST(where, every_type_can_be_asked_about)
{
    static const struct {
        const char *where;
        const char *ids;
    } cases[] = {
        { "day = '2026-11-20'", "1" },
        { "day >= '2026-11-20' AND date(day, '+1 day') = '2026-11-22'", "2" },
        { "at < '2026-11-21'", "1" },
        { "strftime('%H', at) = '11'", "2" },
        { "at = '2026-11-21 11:30:00.25'", "2" },
        { "amount > 10", "1" },
        { "amount = 0.1", "2" },
        { "amount + 12.4 = 12.5", "2" },
        { "rate = 0.1", "1" },
        { "ok", "1" },
        { "NOT ok", "2" },
        { "ok IS NULL", "3" },
        { "name = 'B, \"ob\"'", "2" },
        { "name LIKE 'an%'", "1" },
        { "length(name) = 7", "2" },
        { "json_extract(doc, '$.a[1]') = 2", "1" },
        { "json_array_length(doc) = 1", "2" },
        { "name IS NULL AND day IS NULL AND amount IS NULL AND doc IS NULL", "3" },
        { "EXISTS (SELECT 1 FROM json_each(doc) WHERE value = 3)", "2" },
        { "(SELECT max(value) FROM (SELECT id AS value UNION ALL SELECT 2)) = 3", "3" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char ini[1000], rows[100];
        snprintf(ini, sizeof ini, HEAD ORDERS "where = %s\n", cases[i].where);
        struct outcome o = RUN(ini, "file:///in/a.csv", orders);
        CHECK_OK(o.rc, o.err);
        snprintf(rows, sizeof rows, "id,day,at,amount,rate,ok,name,doc\n%s,", cases[i].ids);
        if (o.counts.staged != 1 || strncmp(o.rows, rows, strlen(rows)) != 0)
            fail_msg("where = %s gives %llu rows:\n%s", cases[i].where, (unsigned long long)o.counts.staged, o.rows);
        outcome_clear(&o);
    }
}

TEST(where, rows_of_many_batches_keep_their_order)
{
    AUTO(buf_clear) struct buf text = { 0 }, wanted = { 0 };
    buf_adds(&text, "id,t\n");
    buf_adds(&wanted, "id,t\n");
    for (int i = 0; i < 5000; i++) {
        buf_addf(&text, "%d,text %d\n", i, i);
        if (i % 1000 == 7)
            buf_addf(&wanted, "%d,text %d\n", i, i);
    }
    gives(HEAD "columns = id:integer!, t\nwhere = id % 1000 = 7\n", text.p, wanted.p);
    gives(HEAD "columns = id:integer!, t\nwhere = id < 0\n", text.p, "");
}

TEST(where, it_wants_one_expression_over_one_row)
{
    fails(HEAD "columns = id:integer\nwhere = max(id) = 1\n", "id\n1\n", ERR_SQL, "misuse of aggregate");
    fails(HEAD "columns = id:integer\nwhere = row_number() OVER () = 1\n", "id\n1\n", ERR_SQL, "misuse of window function");
    fails(HEAD "columns = id:integer\nwhere = id = 1; DELETE FROM input\n", "id\n1\n", ERR_SQL, "line 1, column 7: near \";\"");
}

TEST(where, a_name_that_is_no_column_is_told_with_its_place)
{
    fails(HEAD "columns = id:integer\nwhere = id > 1\n  AND nmae = 2\n", "id\n1\n", ERR_SQL, "line 2, column 5: no such column: nmae");
    fails(HEAD "columns = id:integer\nwhere = \"nmae\" = 2\n", "id\n1\n", ERR_SQL, "line 1, column 1: no such column: nmae");
    fails(HEAD "columns = id:integer\nwhere = 'ä' = idd\n", "id\n1\n", ERR_SQL, "line 1, column 7: no such column: idd");
}

static void told(const char *ini, const char *message)
{
    struct outcome o = RUN(ini, "file:///in/a.csv", "id,n\n1,a\n");
    size_t n = strlen(o.err.msg), end = strlen(message);
    CHECK_EQ(o.rc, -1);
    CHECK_STR(n > end ? o.err.msg + n - end : o.err.msg, message);
}
#define WHERE(sql, message) told(HEAD "columns = id:integer, n\nwhere = " sql "\n", message)
#define COMPUTE(sql, message) told(HEAD "columns = id:integer, n\ncompute = a = " sql "\n", message)
#define TRANSFORM(sql, message) told(HEAD "columns = id:integer, n\ntransform = " sql "\n", message)

/* The whole message: nothing of what stands around the text is in it. */
TEST(sql, a_fault_is_told_by_the_text_of_the_ini_alone)
{
    WHERE("id > 1\n  AND n = 'abc", "line 2, column 9: quotes are never closed: 'abc");
    WHERE("n = \"abc", "line 1, column 5: quotes are never closed: \"abc");
    WHERE("n = x'1", "line 1, column 5: quotes are never closed: x'1");
    WHERE("n = x'1'", "line 1, column 5: unrecognized token: \"x'1'\"");
    WHERE("id =", "line 1, column 5: incomplete input: something is missing at its end");
    WHERE("(id = 1\n  OR id = 2", "line 2, column 10: incomplete input: something is missing at its end");
    WHERE("id = 1)", "line 1, column 7: this ) closes no (");
    WHERE("id IN (SELECT id\n FROM inputs)", "line 2, column 6: no such table: inputs");
    WHERE("id = ^ 1", "line 1, column 6: unrecognized token: \"^\"");
    COMPUTE("id +", "'a': line 1, column 5: incomplete input: something is missing at its end");
    COMPUTE("n || 'x", "'a': line 1, column 6: quotes are never closed: 'x");
    COMPUTE("(SELECT max(id) FROM nix)", "'a': line 1, column 22: no such table: nix");
    TRANSFORM("SELECT id, 'inputs' AS n -- inputs\n  FROM inputs", "line 2, column 6: no such table: inputs");
    TRANSFORM("SELECT id FROM input\n  WHERE", "line 2, column 6: incomplete input: something is missing at its end");
    TRANSFORM("SELECT id FROM input WHERE n = 'a\n  ORDER BY id", "line 1, column 32: quotes are never closed: 'a");
    TRANSFORM("SELECT i.id\n  FROM input i JOIN input j USING (nix)", "line 2, column 34: cannot join using column nix - column not present in both tables");
    TRANSFORM("SELECT id,\n  j.* FROM input i", "line 2, column 1: no such table: j");
    TRANSFORM("WITH \"a b\" AS (SELECT 1),\n \"A B\" AS (SELECT 2) SELECT id FROM input", "line 1, column 6: duplicate WITH table name: A B");
}

TEST(where, a_semicolon_that_was_meant_for_a_comment_is_told)
{
    fails(HEAD "columns = id:integer\nwhere = id > 1 ; not the first\n", "id\n1\n", ERR_SQL, "line 1, column 8: near \";\": syntax error; a semicolon begins no comment in SQL");
    fails(HEAD "columns = id:integer\ntransform = SELECT id FROM input ; all\n", "id\n1\n", ERR_SQL, "there is more behind its semicolon; a semicolon begins no comment");
    gives(HEAD "columns = id:integer\ntransform = SELECT id FROM input ;\n", "id\n1\n", "id\n1\n");
}

TEST(where, an_error_on_a_row_names_its_line)
{
    fails(HEAD "columns = id:integer\nwhere = abs(id) > 1\n", "id\n1\n-9223372036854775808\n", ERR_SQL,
          "member 'a.csv': where: line 3: integer overflow");
    fails(HEAD "columns = id\nwhere = json(id) = 1\n", "id\n1\n2\n{\n", ERR_SQL, "line 4: malformed JSON");
}

TEST(where, division_by_zero_and_null_is_null_and_so_not_true)
{
    struct outcome o = RUN(HEAD "columns = a:integer, b:integer\nwhere = a / b > 0\n", "file:///in/a.csv", "a,b\n1,0\n1,\n,1\n4,2\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "a,b\n4,2\n");
    CHECK_EQ(o.counts.filtered, 3);
    outcome_clear(&o);
}

/* ---- compute= ---- */

TEST(compute, columns_are_added_and_typed_and_where_can_use_them)
{
    struct outcome o = RUN(HEAD "columns = id:integer!, price:decimal(2), n:integer\n"
                           "compute = total:decimal(2)! = price * n\n"
                           "          \"next, day\":date = date('2026-11-2' || id, '+1 day')\n"
                           "\n"
                           "          big:boolean = price * n >= 10\n"
                           "where = total < 100\n",
                           "file:///in/a.csv", "id,price,n\n1,2.50,4\n2,0.10,3\n3,99.99,2\n4,1,\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,price,n,total,\"next, day\",big\n1,2.50,4,10.00,2026-11-22,true\n2,0.10,3,0.30,2026-11-23,false\n");
    CHECK_EQ(o.counts.filtered, 2);
    CHECK_HAS(o.outputs[0].columns, "total:decimal(2)!");
    outcome_clear(&o);
}

TEST(compute, a_value_that_does_not_fit_is_a_reject_at_its_line)
{
    struct outcome o = RUN(HEAD "columns = id:integer!, n:integer\ncompute = share:decimal(2)! = 1.0 / n\n", "file:///in/a.csv",
                           "id,n\n1,4\n2,3\n3,0\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,n,share\n1,4,0.25\n");
    CHECK_EQ(o.counts.rejected, 2);
    CHECK_HAS(o.rejects, "\"reason\":\"scale\"");
    CHECK_HAS(o.rejects, "\"column\":\"share\",\"value\":\"0.333333333333333\",\"object\":\"file:///in/a.csv\",\"member\":\"a.csv\",\"line\":3");
    CHECK_HAS(o.rejects, "\"row\":\"2,3\"");
    CHECK_HAS(o.rejects, "\"reason\":\"null\"");
    check_books(&o);
    outcome_clear(&o);
}

TEST(compute, an_error_on_a_row_names_the_expression)
{
    static const char ini[] = HEAD "columns = id:integer, t\ncompute = a:integer = id + 1\n  b:integer = abs(id)\n  c = json(t)\nwhere = a IS NOT NULL\n";
    fails(ini, "id,t\n1,1\n-9223372036854775808,1\n", ERR_SQL, "member 'a.csv': compute 'b': line 3: integer overflow");
    fails(ini, "id,t\n1,1\n2,2\n3,{\n", ERR_SQL, "compute 'c': line 4: malformed JSON");
    fails(HEAD "columns = id:integer\ncompute = a:integer = id + 1\nwhere = abs(id) > 1\n", "id\n1\n-9223372036854775808\n", ERR_SQL, "where: line 3: integer overflow");
}

TEST(compute, an_aggregate_is_refused)
{
    fails(HEAD "columns = id:integer\ncompute = a:integer = 1\n  b:integer = count(*)\n", "id\n1\n", ERR_SQL, "'b': line 1, column 1: misuse of aggregate");
}

/* ---- transform= ---- */

TEST(transform, identity_gives_every_value_back_as_it_was)
{
    static const char rows[] = "id,day,at,amount,rate,ok,name,doc\n"
                               "1,2026-11-20,2026-11-20T10:00:00,12.50,0.1,true,Anna,\"{\"\"a\"\":[1,2]}\"\n"
                               "2,2026-11-21,2026-11-21T11:30:00.25,0.10,2.5,false,\"B, \"\"ob\"\"\",[3]\n"
                               "3,,,,,,,\n";
    struct outcome plain = RUN(HEAD ORDERS, "file:///in/a.csv", orders);
    struct outcome sql = RUN(HEAD ORDERS "transform = SELECT * FROM input\n", "file:///in/a.csv", orders);
    CHECK_OK(plain.rc, plain.err);
    CHECK_OK(sql.rc, sql.err);
    CHECK_STR(sql.rows, plain.rows);
    CHECK_STR(sql.outputs[0].columns, plain.outputs[0].columns);
    CHECK_EQ(strncmp(plain.rows, rows, 40), 0);
    CHECK_EQ(sql.counts.staged, 3);
    CHECK_EQ(sql.counts.filtered + sql.counts.added, 0);
    outcome_clear(&plain);
    outcome_clear(&sql);
}

/* 15 digits, and zeros: SQL has them as they are. */
TEST(transform, no_digit_of_a_decimal_is_lost)
{
    static const char text[] = "a,b\n9999999999999.99,0.00000000000000001\n-9999999999999.99,-0.5\n1234567890123450.00,1\n"
                               "-2000000000000000.00,0.99999999999999900\n0.01,\n";
    struct outcome plain = RUN(HEAD "columns = a:decimal(2), b:decimal(17)?\n", "file:///in/a.csv", text);
    struct outcome sql = RUN(HEAD "columns = a:decimal(2), b:decimal(17)?\ntransform = SELECT a, b FROM input\n", "file:///in/a.csv", text);
    CHECK_OK(plain.rc, plain.err);
    CHECK_OK(sql.rc, sql.err);
    CHECK_STR(sql.rows, plain.rows);
    CHECK_EQ(sql.counts.staged, 5);
    outcome_clear(&plain);
    outcome_clear(&sql);
    /* computed beyond what a double holds */
    sql = RUN(HEAD "columns = a:decimal(2), b:decimal(17)?\ntransform = SELECT a + 0.01 AS a, b FROM input WHERE a > 1e15\n", "file:///in/a.csv", text);
    CHECK_OK(sql.rc, sql.err);
    CHECK_EQ(sql.counts.rejected, 1);
    CHECK_HAS(sql.rejects, "\"reason\":\"range\"");
    outcome_clear(&sql);
}

/* Numbers of more digits, among others: what compares them is right or has not seen them. */
#define LONG_ONES "id,big\n1,100.00\n2,-1234567890123456.78\n3,1234567890123456.78\n4,999.99\n5,-2000000000000000.00\n6,9.5\n"
#define LONG HEAD "columns = id:integer!, big:decimal(2)\n"

static void long_gives(const char *keys, const char *rows, int rejected)
{
    AUTO(buf_clear) struct buf ini = { 0 };
    buf_addf(&ini, LONG "%s", keys);
    struct outcome o = RUN(ini.p, "file:///in/a.csv", LONG_ONES);
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, rows);
    CHECK_EQ(o.counts.rejected, rejected);
    if (rejected) {
        CHECK_HAS(o.rejects, "\"reason\":\"sql-range\"");
        CHECK_HAS(o.rejects, "\"column\":\"big\",\"value\":\"1234567890123456.78\",\"object\":\"file:///in/a.csv\",\"member\":\"a.csv\",\"line\":4");
        CHECK_HAS(o.rejects, "type it text in columns= and decimal in output=");
    }
    check_books(&o);
    outcome_clear(&o);
}

TEST(transform, a_decimal_that_sql_cannot_have_is_a_reject_and_the_others_sort_right)
{
    long_gives("transform = SELECT id, big FROM input ORDER BY big\n", "id,big\n5,-2000000000000000.00\n6,9.50\n1,100.00\n4,999.99\n", 2);
    long_gives("output = low:real, high:decimal(2)\ntransform = SELECT min(big) AS low, max(big) AS high FROM input\n",
               "low,high\n-2e+15,999.99\n", 2);
    long_gives("output = id:integer, r:integer\ntransform = SELECT id, rank() OVER (ORDER BY big) AS r FROM input ORDER BY id\n",
               "id,r\n1,3\n4,4\n5,1\n6,2\n", 2);
    long_gives("output = n:integer\ntransform = SELECT count(*) AS n FROM input a JOIN (SELECT 9.5 AS big) b USING (big)\n", "n\n1\n", 2);
    long_gives("transform = SELECT max(id) AS id FROM input\n", "id\n6\n", 0);
}

TEST(transform, a_result_of_more_digits_is_refused_unless_it_is_a_decimal_of_the_rows)
{
#define HUGE_ONES "a\n2000000000000000.00\n0.25\n"
    static const struct {
        const char *select;
        int rejected;
    } cases[] = { { "SELECT a FROM input", 0 },
                  { "WITH k AS MATERIALIZED (SELECT a FROM input) SELECT (SELECT max(a) FROM k) * 0 + 1 AS a FROM k", 0 },
                  { "WITH k AS MATERIALIZED (SELECT a FROM input) SELECT a FROM k ORDER BY a DESC", 0 },
                  { "SELECT a + 0.0 AS a FROM input", 1 },
                  { "SELECT sum(a) AS a FROM input", 1 },
                  { "WITH k AS MATERIALIZED (SELECT a FROM input) SELECT a FROM k WHERE a < 1 UNION ALL SELECT a + 0.01 FROM k", 1 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_clear) struct buf ini = { 0 };
        buf_addf(&ini, HEAD "columns = a:decimal(2)\noutput = a:decimal(2)\ntransform = %s\n", cases[i].select);
        struct outcome o = RUN(ini.p, "file:///in/a.csv", HUGE_ONES);
        CHECK_OK(o.rc, o.err);
        CHECK_EQ(o.counts.rejected, cases[i].rejected);
        outcome_clear(&o);
    }
}

/* The way that the message of the reject tells. */
TEST(transform, long_decimals_pass_as_text)
{
    struct outcome o = RUN(HEAD "columns = id:integer!, big:text\noutput = id:integer!, big:decimal(2)\ntransform = SELECT id, big FROM input WHERE id IN (2, 3)\n",
                           "file:///in/a.csv", LONG_ONES);
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,big\n2,-1234567890123456.78\n3,1234567890123456.78\n");
    outcome_clear(&o);
}

TEST(where, a_decimal_that_sql_cannot_have_is_a_reject_where_it_is_asked_for)
{
    long_gives("where = big < 100\n", "id,big\n5,-2000000000000000.00\n6,9.50\n", 2);
    long_gives("where = big IS NULL\n", "", 2);
    long_gives("where = id <> 2\n", "id,big\n1,100.00\n3,1234567890123456.78\n4,999.99\n5,-2000000000000000.00\n6,9.50\n", 0);
    long_gives("compute = low:boolean = big < 0\n", "id,big,low\n1,100.00,false\n4,999.99,false\n5,-2000000000000000.00,true\n6,9.50,false\n", 2);
    long_gives("compute = two:integer = 2 * id\nwhere = two = 6\n", "id,big,two\n3,1234567890123456.78,6\n", 0);
    fails("[pipeline p]\ntable = w.t\ncolumns = big:decimal(2)\nwhere = big > 0\n", "big\n1\n1234567890123456.78\n", ERR_REJECTS, "line 3, byte 6, column 'big'");
}

TEST(transform, a_sum_of_decimals_is_a_decimal)
{
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "a\n");
    for (int i = 0; i < 10000; i++)
        buf_adds(&text, "0.10\n");
    gives(HEAD "columns = a:decimal(2)\ntransform = SELECT sum(a) AS a FROM input\n", text.p, "a\n1000.00\n");
    gives(HEAD "columns = a:decimal(2)\ntransform = SELECT sum(a) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM input\n",
          "a\n0.10\n0.20\n100000000000.70\n\n0.10\n0.20\n", "a\n0.10\n0.30\n100000000000.90\n100000000000.70\n0.10\n0.30\n");
    gives(HEAD "columns = a:integer\ntransform = SELECT sum(a) AS a FROM input WHERE a > 5\n", "a\n1\n", "a\n\"\"\n");
}

/* The sums of 20000 decimals of two digits that nearly cancel out are those of as many integers, a hundred times as large. */
static void sums_are_exact(const char *window)
{
    AUTO(buf_clear) struct buf in = { 0 }, ini = { 0 };
    uint64_t seed = 1;
    long cents = 0;
    buf_adds(&in, "n,a,c\n");
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        cents = i % 2 ? 37 - cents : (long)(seed >> 33);
        buf_addf(&in, "%d,%s%ld.%02ld,%ld\n", i, cents < 0 ? "-" : "", labs(cents) / 100, labs(cents) % 100, cents);
    }
    buf_addf(&ini, HEAD "columns = n:integer, a:decimal(2), c:integer\noutput = rows:integer, wrong:integer\n"
             "transform = SELECT count(*) AS rows, sum(d <> i / 100.0) AS wrong FROM (SELECT sum(a) OVER w AS d, sum(c) OVER w AS i FROM input "
             "WINDOW w AS (%s))\n", window);
    CHECK_EQ(in.failed || ini.failed, false);
    gives(ini.p, in.p, "rows,wrong\n20000,0\n");
}

TEST(transform, sums_over_windows_of_decimals_are_exact)
{
    sums_are_exact("ORDER BY n");
    sums_are_exact("ORDER BY n ROWS BETWEEN 6 PRECEDING AND CURRENT ROW");
    sums_are_exact("ORDER BY n ROWS BETWEEN 999 PRECEDING AND CURRENT ROW");
    gives(HEAD "columns = a:decimal(8), b:decimal(2)\noutput = a:decimal(8), b:decimal(2)\n"
               "transform = SELECT sum(a) AS a, sum(CASE WHEN a < 1 THEN 7 ELSE b END) AS b FROM input\n",
          "a,b\n0.00000001,5\n1234567.5,0.10\n-1234567,-0.30\n", "a,b\n0.50000001,14.10\n");
    gives(HEAD "columns = a:real\noutput = a:real\ntransform = SELECT sum(a) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM input\n",
          "a\n0.1234567890123456\n1e300\n2\n3.5\n", "a\n0.1234567890123456\n1e+300\n1e+300\n5.5\n");
}

TEST(transform, rows_of_all_members_and_objects_are_one_table)
{
    struct outcome o = RUN(HEAD "columns = city, n:integer\noutput = city, n:integer, orders:integer\n"
                           "transform = SELECT city, sum(n) AS n, count(*) AS orders FROM input GROUP BY city ORDER BY city\n",
                           "file:///in/a.csv", "city,n\nOslo,1\nRome,2\n", "file:///in/b.csv", "city,n\nOslo,3\n", "file:///in/c.csv",
                           "city,n\nOslo,4\nBonn,1\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "city,n,orders\nBonn,1,1\nOslo,8,3\nRome,2,1\n");
    CHECK_EQ(o.counts.read, 5);
    CHECK_EQ(o.counts.filtered, 2);
    CHECK_EQ(o.counts.staged, 3);
    outcome_clear(&o);
}

TEST(transform, windows_and_ctes_and_json_work)
{
    gives(HEAD "columns = k, n:integer\noutput = k, n:integer, before:integer, total:integer\n"
          "transform = SELECT k, n, lag(n) OVER w AS before, sum(n) OVER w AS total FROM input WINDOW w AS (PARTITION BY k ORDER BY n)\n",
          "k,n\na,1\nb,5\na,3\na,2\n", "k,n,before,total\na,1,,1\na,2,1,3\na,3,2,6\nb,5,,5\n");
    gives(HEAD "columns = k, n:integer\ntransform = WITH kept AS MATERIALIZED (SELECT * FROM input)\n"
          "  SELECT a.k, b.n FROM kept a JOIN kept b ON b.n = a.n + 1 ORDER BY a.n\n", "k,n\na,1\nb,2\nc,3\n", "k,n\na,2\nb,3\n");
    struct outcome o = RUN(HEAD "columns = id:integer, tags:json\noutput = id:integer, tag\n"
                           "transform = SELECT input.id, value AS tag FROM input, json_each(tags)\n", "file:///in/a.csv",
                           "id,tags\n1,\"[\"\"x\"\",\"\"y\"\"]\"\n2,[]\n3,\"[\"\"z\"\"]\"\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,tag\n1,x\n1,y\n3,z\n");
    check_books(&o);
    outcome_clear(&o);
}

TEST(transform, values_that_are_held_while_batches_go_by_stay_what_they_were)
{
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id,t\n");
    for (int i = 0; i < 5000; i++)
        buf_addf(&text, "%d,this is the text of row %d\n", i, i == 1500 ? 99999 : i);
    gives(HEAD "columns = id:integer, t\ntransform = SELECT max(t) AS t, id FROM input\n", text.p, "t,id\nthis is the text of row 99999,1500\n");
    struct outcome o = RUN(HEAD "columns = id:integer, t\ntransform = SELECT id, lag(t, 2000) OVER (ORDER BY id) AS t FROM input\n",
                           "file:///in/a.csv", text.p);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.staged, 5000);
    outcome_clear(&o);
}

TEST(transform, a_text_that_was_given_is_a_text_in_the_next_row_too)
{
    gives(HEAD "columns = id:integer, t, u\ntransform = SELECT id, 'always' AS t, (SELECT 'sub') AS u FROM input\n", "id,t,u\n1,,\n2,,\n3,,\n",
          "id,t,u\n1,always,sub\n2,always,sub\n3,always,sub\n");
    gives(HEAD "columns = id:integer, t, u\ntransform = WITH c AS MATERIALIZED (SELECT 'a' AS k UNION ALL SELECT 'b')\n"
          "  SELECT input.id, c.k AS t, CASE WHEN c.k = 'a' AND c.k IN ('a', 'x') THEN 'yes' ELSE c.k || typeof(c.k) END AS u FROM input CROSS JOIN c ON c.k >= input.t\n",
          "id,t,u\n1,a,\n2,b,\n3,a,\n", "id,t,u\n1,a,yes\n1,b,btext\n2,b,btext\n3,a,yes\n3,b,btext\n");
    gives(HEAD "columns = t, n:integer\ntransform = SELECT t, count(*) AS n FROM (SELECT DISTINCT t, n FROM input) GROUP BY t UNION SELECT 'a', 1 FROM (SELECT 1)\n",
          "t,n\na,1\nb,2\na,1\nb,3\n", "t,n\na,1\nb,2\n");
}

TEST(transform, more_rows_than_came_are_counted_as_added)
{
    struct outcome o = RUN(HEAD "columns = id:integer, n:integer\ntransform = WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k WHERE k < 5)\n"
                           "  SELECT id, k AS n FROM input JOIN k ON k <= n\n", "file:///in/a.csv", "id,n\n1,2\n2,5\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.read, 2);
    CHECK_EQ(o.counts.added, 5);
    CHECK_EQ(o.counts.staged, 7);
    outcome_clear(&o);
}

TEST(transform, a_limit_ends_it_before_its_input)
{
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id\n");
    for (int i = 0; i < 3000; i++)
        buf_addf(&text, "%d\n", i);
    gives(HEAD "columns = id:integer\ntransform = SELECT id FROM input LIMIT 2\n", text.p, "id\n0\n1\n");
}

TEST(transform, it_goes_before_and_after_other_steps)
{
    gives(HEAD "columns = id:integer, n:integer\nwhere = id > 1\ncompute = twice:integer = n * 2\n"
          "transform = SELECT id, twice FROM input WHERE twice < 10\n", "id,n\n1,1\n2,2\n3,7\n", "id,twice\n2,4\n");
}

TEST(transform, a_job_that_is_given_up_in_the_middle_lets_go)
{
    struct outcome o = RUN(HEAD "columns = id:integer\ntransform = SELECT id FROM input UNION ALL\n"
                           "  SELECT id FROM (WITH RECURSIVE k(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM k WHERE id < 5000) SELECT id FROM k)\n",
                           "file:///in/a.csv", "id\n1\n", "file:///in/b.csv", "other\n1\n");
    CHECK_EQ(o.rc, -1);
    CHECK_EQ(o.err.code, ERR_HEADER);
}

TEST(transform, no_rows_still_give_what_an_aggregate_gives)
{
    gives("[pipeline p]\ntable = w.t\nempty = ok\ncolumns = n:integer\ntransform = SELECT count(*) AS n FROM input\n", "n\n", "n\n0\n");
}

TEST(transform, what_does_not_fit_is_a_reject_with_the_number_of_its_row)
{
    struct outcome o = RUN(HEAD "columns = id:integer!, a\noutput = id:integer!, n:integer, day:date, ok:boolean, t, j:json, d:decimal(1), r:real\n"
                           "transform = SELECT id, CASE id WHEN 1 THEN 'x' ELSE 7 END AS n, CASE id WHEN 2 THEN '2026-02-30' END AS day,\n"
                           "  CASE id WHEN 3 THEN 2 ELSE 'no' END AS ok, CASE id WHEN 4 THEN x'00' WHEN 5 THEN CAST(x'ff' AS TEXT) ELSE 1.5 END AS t,\n"
                           "  CASE id WHEN 6 THEN '{' ELSE '[1]' END AS j, CASE id WHEN 7 THEN 0.25 ELSE '12.5' END AS d,\n"
                           "  CASE id WHEN 8 THEN 9e999 ELSE 3 END AS r FROM input\n", "file:///in/a.csv",
                           "id,a\n1,\n2,\n3,\n4,\n5,\n6,\n7,\n8,\n9,\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,n,day,ok,t,j,d,r\n9,7,,false,1.5,[1],12.5,3\n");
    CHECK_EQ(o.counts.rejected, 8);
    CHECK_HAS(o.rejects, "{\"table\":\"w.t\",\"reason\":\"not-integer\",\"message\":\"not an integer\",\"column\":\"n\",\"value\":\"x\",\"object\":\"transform:p\","
                         "\"member\":null,\"line\":1,\"offset\":0,\"row\":\"{\\\"id\\\":1,\\\"n\\\":\\\"x\\\",\\\"day\\\":null");
    static const char *const reasons[] = { "not-integer", "not-date", "not-boolean", "not-text", "encoding", "not-json", "scale", "range" };
    const char *at = o.rejects;
    for (size_t i = 0; i < COUNT_OF(reasons); i++, at++) {
        char wanted[60];
        snprintf(wanted, sizeof wanted, "\"reason\":\"%s\"", reasons[i]);
        at = strstr(at, "\"reason\"");
        if (!at || strncmp(at, wanted, strlen(wanted)) != 0)
            fail_msg("row %zu: wanted %s in %s", i + 1, wanted, at ? at : o.rejects);
    }
    check_books(&o);
    outcome_clear(&o);
}

TEST(transform, too_many_rejects_fail_the_job)
{
    fails("[pipeline p]\ntable = w.t\ncolumns = id:integer, a\noutput = id:integer\ntransform = SELECT a AS id FROM input\n", "id,a\n1,x\n2,y\n", ERR_REJECTS,
          "more than 0 rows rejected; the first: transform:p, line 1, byte 0, column 'id'");
    /* in the middle of many */
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "a\n");
    for (int i = 0; i < 5000; i++)
        buf_addf(&text, "%s\n", i == 2500 ? "x" : "1");
    fails("[pipeline p]\ntable = w.t\ncolumns = a\noutput = a:integer\ntransform = SELECT a FROM input\n", text.p, ERR_REJECTS, "line 2501");
}

TEST(transform, columns_of_the_result_need_types)
{
#define BAD(keys, message) fails(HEAD "columns = id:integer, n:integer\n" keys, "id,n\n1,2\n", ERR_SQL, message)
    BAD("transform = SELECT id, n * 2 AS twice FROM input\n", "column 'twice' of the result has no type");
    BAD("transform = SELECT id, n * 2 FROM input\n", "column 'n * 2' of the result has no type");
    BAD("transform = SELECT id, n AS ID FROM input\n", "columns 1 and 2 of the result have the same name 'ID'");
    BAD("output = id:integer, more\ntransform = SELECT id FROM input\n", "output= has column 'more', and the result has none");
    BAD("output = id:integer\ntransform = SELECT id, n FROM input\n", "output= lacks column 'n' of the result");
}

TEST(transform, only_one_select_that_reads_input_is_taken)
{
    BAD("transform = SELECT 1 AS id\n", "it reads nothing of the table input");
    BAD("transform = SELECT id FROM input; SELECT 2\n", "line 1, column 23: one SELECT was expected");
    BAD("transform = -- nothing\n", "line 1, column 11: one SELECT was expected");
    BAD("transform = ATTACH '/tmp/x.db' AS x\n", "line 1, column 1: a SELECT was expected");
    BAD("transform = UPDATE sqlite_master SET sql = '' RETURNING 1 AS id\n", "line 1, column 8: table sqlite_master may not be modified");
    BAD("transform = CREATE TABLE x(a)\n", "a SELECT was expected");
    BAD("transform = DELETE FROM input\n", "line 1, column 13: table input may not be modified");
    BAD("transform = PRAGMA cache_size = 1\n", "a SELECT was expected");
    BAD("transform = VACUUM INTO '/tmp/x.db'\n", "expected");
    BAD("transform = SELECT load_extension('x') AS id FROM input\n", "");
    BAD("transform = SELECT id, ? AS n FROM input\n", "");
    BAD("transform = SELECT id FROM input, pragma_database_list\n", "");
    gives(HEAD "columns = id:integer\ntransform = SELECT id FROM input; -- and no more\n", "id\n1\n", "id\n1\n");
}

TEST(transform, a_fault_of_its_sql_has_line_and_column)
{
    BAD("transform = SELECT id,\n  n FORM input\n", "line 2, column 8: near \"input\": syntax error");
    BAD("transform = SELECT id FROM inptu\n", "line 1, column 16: no such table: inptu");
    BAD("transform = SELECT id, lenght(n) AS n FROM input\n", "line 1, column 12: no such function: lenght");
    put_file("bad.sql", "SELECT id\nFROM input\nWHERE nn = 1\n");
    fails(HEAD "columns = id:integer\ntransform = @file:bad.sql\n", "id\n1\n", ERR_SQL, "'bad.sql': line 3, column 7: no such column: nn");
    put_file("good.sql", "SELECT id FROM input WHERE id > 1");
    gives(HEAD "columns = id:integer\ntransform = @file:good.sql\n", "id\n1\n2\n", "id\n2\n");
}

TEST(transform, an_error_on_a_row_names_its_line)
{
    fails(HEAD "columns = id:integer\ntransform = SELECT abs(id) AS id FROM input\n", "id\n1\n-9223372036854775808\n", ERR_SQL,
          "member 'a.csv': transform: at line 3: integer overflow");
    fails(HEAD "columns = id:integer\ntransform = SELECT sum(id) AS id FROM input\n", "id\n1\n9223372036854775807\n", ERR_SQL,
          "transform: behind the last row, at row 1 of the result: integer overflow");
}

TEST(transform, input_is_read_once)
{
    BAD("transform = SELECT a.id, b.n FROM input a JOIN input b ON a.n = b.n\n", "line 1, column 36: input would be read more than once");
    BAD("transform = SELECT id, n FROM input WHERE n = (SELECT max(n) FROM input)\n", "WITH kept AS MATERIALIZED");
    gives(HEAD "columns = id:integer\ntransform = WITH kept AS MATERIALIZED (SELECT id FROM input) SELECT a.id FROM kept a JOIN kept b ON a.id = b.id + 1\n",
          "id\n1\n2\n", "id\n2\n");
    gives(HEAD "columns = id:integer\ntransform = WITH k AS (SELECT id FROM input) SELECT id FROM k UNION ALL SELECT max(id) AS id FROM k\n",
          "id\n1\n2\n", "id\n1\n2\n2\n");
}

TEST(transform, rows_without_end_are_a_limit)
{
    fails("[limits]\nratio = 10\n" HEAD "columns = id:integer\n"
          "transform = WITH RECURSIVE k(id) AS (SELECT id FROM input UNION ALL SELECT id + 1 FROM k) SELECT id FROM k\n", "id\n1\n", ERR_LIMIT,
          "it gave 1000001 rows for 1 that it took, more than 10 for each ([limits] ratio)");
}

TEST(transform, a_statement_without_end_is_broken_off)
{
    fails(HEAD "columns = id:integer\ntransform_timeout = 100ms\n"
          "transform = WITH RECURSIVE k(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM k) SELECT id FROM input, k WHERE k < 0\n", "id\n1\n", ERR_LIMIT,
          "no row went in or out for 100ms (transform_timeout)");
}

TEST(transform, a_value_without_end_is_a_limit)
{
    fails("[limits]\nrow = 64K\n" HEAD "columns = t\ntransform = SELECT replace(hex(zeroblob(30000)), '0', 'xyz') AS t FROM input\n", "t\n1\n", ERR_LIMIT,
          "a value would be longer than 64");
}

/* Rows that no cache of SQLite holds: 40,000 of 1 KiB against 4 MiB. */
static struct outcome sort_much(const char *most)
{
    AUTO(buf_clear) struct buf text = { 0 }, ini = { 0 };
    buf_addf(&ini, "[limits]\nmemory = 64M\nscratch = %s\n" HEAD "columns = id:integer, t\n"
             "transform = SELECT id, t FROM input ORDER BY t, id DESC LIMIT 3\n", most);
    buf_addf(&ini, " OFFSET 20000\n");
    buf_adds(&text, "id,t\n");
    for (int i = 0; i < 40000; i++)
        buf_addf(&text, "%d,%01000d\n", i, i * 7919 % 40000);
    return RUN(ini.p, "file:///in/a.csv", text.p);
}

TEST(transform, a_sort_beyond_its_memory_goes_to_scratch_files)
{
    scratches = 0;
    struct outcome o = sort_much("1G");
    CHECK_OK(o.rc, o.err);
    CHECK(scratches > 0);
    CHECK_EQ(o.counts.staged, 3);
    CHECK_EQ(o.counts.filtered, 39997);
    CHECK_HAS(o.rows, "00020000\n");
    CHECK_HAS(o.rows, "00020002\n");
    outcome_clear(&o);
}

TEST(transform, scratch_files_have_a_limit_and_a_full_disk_is_told)
{
    struct outcome o = sort_much("8M");
    CHECK_EQ(o.rc, -1);
    CHECK_EQ(o.err.code, ERR_LIMIT);
    CHECK_HAS(o.err.msg, "more than 8");
    CHECK_HAS(o.err.msg, "[limits] scratch");
    scratch_fail = 1;
    o = sort_much("1G");
    scratch_fail = 0;
    CHECK_EQ(o.rc, -1);
    CHECK_EQ(o.err.code, ERR_DISK_FULL);
    CHECK_HAS(o.err.msg, "no room for a scratch file");
}

/* ---- several tables ---- */

TEST(from, a_part_gets_the_rows_of_another_and_does_its_own_with_them)
{
    struct outcome o = RUN("[pipeline p]\nmax_rejects = 5\n[pipeline p.sums]\nfrom = lines\ntable = w.sums\nwhere = n > 1\n"
                           "transform = SELECT k, sum(n) AS n FROM input GROUP BY k\n"
                           "[pipeline p.lines]\nmember = *.csv\ntable = w.lines\ncolumns = k, n:integer\nwhere = n < 5\n",
                           "file:///in/a.csv", "k,n\na,1\nb,2\na,x\n", "file:///in/b.csv", "k,n\nb,3\na,7\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.noutputs, 3);
    CHECK_STR(o.rows, "k,n\na,7\nb,5\n");
    CHECK_STR(o.outputs[1].table, "w.lines");
    CHECK_EQ(o.outputs[1].rows, 3);
    CHECK_EQ(o.counts.read, 5);
    CHECK_EQ(o.counts.added, 4);
    CHECK_EQ(o.counts.rejected, 1);
    CHECK_EQ(o.counts.filtered, 3);
    check_books(&o);
    outcome_clear(&o);
}

/* ---- regexp ---- */

#ifdef HAVE_PCRE2
TEST(regexp, it_matches_by_pcre2)
{
    gives(HEAD "columns = t\nwhere = t REGEXP '^[[:upper:]]\\w+ ä$'\n", "t\nAbc ä\nabc ä\nÄbc ä\n,\n", "t\nAbc ä\nÄbc ä\n");
    gives(HEAD "columns = t, p\nwhere = regexp(p, t)\n", "t,p\nx1,[0-9]\nx,[0-9]\n,a\nx,\n", "t,p\nx1,[0-9]\n");
    fails(HEAD "columns = t\nwhere = t REGEXP t\n", "t\n(a\n", ERR_SQL, "where: line 2: regexp '(a': the expression: missing closing parenthesis");
    fails(HEAD "columns = t\nwhere = t REGEXP '^(a+)+$'\n", "t\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\n", ERR_SQL,
          "line 2: regexp '^(a+)+$': the text: match limit");
}

TEST(regexp, a_constant_that_is_none_is_told_before_there_is_a_row)
{
#define CONSTANT(sql, at) fails(HEAD "columns = t, u\nwhere = " sql "\n", "t,u\n", ERR_SQL, at)
    CONSTANT("t REGEXP '(a'", "line 1, column 10: regexp '(a': the expression: missing");
    CONSTANT("t = '' OR\n  (t not regexp /* x' */ '[ä' OR u REGEXP '[')", "line 2, column 24: regexp '[ä': the expression: ");
    CONSTANT("u REGEXP 'a' AND regexp ( '(''' , t)", "line 1, column 27: regexp '('': the expression: ");
    fails(HEAD "columns = t\ntransform = SELECT t FROM input -- REGEXP '('\n  WHERE \"t\" REGEXP '*'\n", "t\n", ERR_SQL, "line 2, column 18: regexp '*'");
    fails(HEAD "columns = t\ncompute = ok:boolean = t REGEXP '('\n", "t\n", ERR_SQL, "'ok': line 1, column 10: regexp '('");
    static const char *const good[] = { "t REGEXP '(' || 'a)'", "t REGEXP '(a)'", "t = 'REGEXP ''('", "regexp('(' || t || ')', 'a')", "t REGEXP '('\n || ')' COLLATE NOCASE",
                                        "t = \"t\" /* REGEXP '(' */ OR [t] = `t`" };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        AUTO(buf_clear) struct buf ini = { 0 };
        buf_addf(&ini, HEAD "empty = ok\ncolumns = t\nwhere = %s\n", good[i]);
        struct outcome o = RUN(ini.p, "file:///in/a.csv", "t\n");
        CHECK_OK(o.rc, o.err);
        outcome_clear(&o);
    }
}
#endif

/* ---- look-ups ---- */

#define CITIES "[lookup cities]\nfile = cities.csv\ncolumns = code!, name, since:date, tax:decimal(2)\nkey = code\n"
static const char cities[] = "code,name,since,tax\nOSL,Oslo,1048-01-01,0.25\nROM,Rome,,0.22\n";

TEST(lookup, a_file_without_bytes_or_without_a_column_is_told)
{
#define LOOKED HEAD "columns = code\nwhere = code IN (SELECT code FROM cities)\n"
    put_file("cities.csv", "");
    fails(CITIES LOOKED, "code\nOSL\n", ERR_LOOKUP, "cities.csv': the file is empty");
    put_file("cities.csv", "cod,name,since,tax\nOSL,Oslo,,\n");
    fails(CITIES LOOKED, "code\nOSL\n", ERR_HEADER, "cities.csv': there is no 'code' for column 'code'");
    put_file("cities.csv", "code,name,since,tax\n,Oslo,,\n");
    fails(CITIES LOOKED, "code\nOSL\n", ERR_LOOKUP, "cities.csv': line 2, byte 20, column 'code'");
    put_file("cities.csv", "code,name,since,tax\n");
    gives(CITIES HEAD "columns = code\nwhere = code NOT IN (SELECT code FROM cities)\n", "code\nOSL\n", "code\nOSL\n");
#undef LOOKED
}

TEST(lookup, sql_can_join_with_a_file)
{
    put_file("cities.csv", cities);
    gives(CITIES HEAD "columns = id:integer!, code\ntransform = SELECT i.id, c.name, c.since, c.tax FROM input i LEFT JOIN cities c USING (code)\n",
          "id,code\n1,ROM\n2,ZZZ\n3,OSL\n", "id,name,since,tax\n1,Rome,,0.22\n2,,,\n3,Oslo,1048-01-01,0.25\n");
    gives(CITIES HEAD "columns = id:integer!, code\nwhere = code IN (SELECT code FROM cities)\n", "id,code\n1,ROM\n2,ZZZ\n", "id,code\n1,ROM\n");
    gives(CITIES HEAD "columns = id:integer!, code\ncompute = name = (SELECT name FROM cities c WHERE c.code = input.code)\n",
          "id,code\n1,ROM\n2,ZZZ\n", "id,code,name\n1,ROM,Rome\n2,ZZZ,\n");
}

/* SQLite tells of no column then that is read. */
TEST(lookup, a_join_by_name_alone_reads_it)
{
    put_file("cities.csv", cities);
    gives(CITIES HEAD "columns = id:integer!, code\ntransform = SELECT i.id FROM input i JOIN cities USING (code)\n", "id,code\n1,ROM\n2,ZZZ\n", "id\n1\n");
    gives(CITIES HEAD "columns = code\noutput = n:integer\ntransform = SELECT count(*) AS n FROM input NATURAL JOIN cities\n", "code\nROM\nZZZ\n", "n\n1\n");
}

TEST(lookup, what_a_left_join_does_not_find_may_be_null)
{
    put_file("must.csv", "code,name\nOSL,Oslo\n");
    gives("[lookup must]\nfile = must.csv\ncolumns = code!, name!\n" HEAD "columns = id:integer!, code\n"
          "transform = SELECT id, name FROM input LEFT JOIN must USING (code)\n", "id,code\n1,OSL\n2,ZZZ\n", "id,name\n1,Oslo\n2,\n");
}

TEST(lookup, it_is_read_only_when_a_statement_names_it)
{
    gives("[lookup gone]\nfile = gone.csv\ncolumns = a\n" HEAD "columns = id:integer\nwhere = id > 0\n", "id\n1\n", "id\n1\n");
    fails("[lookup gone]\nfile = gone.csv\ncolumns = a\n" HEAD "columns = id:integer\nwhere = id IN (SELECT a FROM gone)\n", "id\n1\n", ERR_IO,
          "gone.csv': No such file");
}

TEST(lookup, a_row_that_does_not_fit_is_an_error_with_its_line)
{
#define LOOK HEAD "columns = code\nwhere = code IN (SELECT code FROM cities)\n"
    put_file("cities.csv", "code,name,since,tax\nOSL,Oslo,1048-13-01,0.25\n");
    fails(CITIES LOOK, "code\nOSL\n", ERR_LOOKUP, "cities.csv': line 2, byte 20, column 'since', value \"1048-13-01\"");
    put_file("cities.csv", "code,name,since,tax\nOSL,Oslo,,\nROM,Rome,,\nOSL,Oslo 2,,\n");
    fails(CITIES LOOK, "code\nOSL\n", ERR_LOOKUP, "where of 'p': [lookup cities]");
    fails(CITIES LOOK, "code\nOSL\n", ERR_LOOKUP, "line 4: the key is there twice");
    fails(CITIES HEAD "columns = code\ncompute = name = (SELECT name FROM cities c WHERE c.code = input.code)\n", "code\nOSL\n", ERR_LOOKUP,
          "compute of 'p': [lookup cities]");
    put_file("cities.csv", "code,name\nOSL,Oslo\n");
    fails(CITIES LOOK, "code\nOSL\n", ERR_HEADER, "[lookup cities]");
}

TEST(lookup, a_decimal_that_sql_cannot_have_is_an_error_with_its_line)
{
    put_file("cities.csv", "code,name,since,tax\nROM,Rome,,0.22\nOSL,Oslo,,1234567890123456.78\n");
    fails(CITIES LOOK, "code\nOSL\n", ERR_LOOKUP, "cities.csv': line 3: column 'tax': SQL has decimals of 15 digits");
}

TEST(lookup, it_may_be_of_json_and_have_no_rows)
{
    put_file("cities.csv", "[{\"code\": \"OSL\", \"name\": \"Oslo\", \"since\": null, \"tax\": 0.25}]");
    gives(CITIES LOOK, "code\nOSL\nROM\n", "code\nOSL\n");
    put_file("cities.csv", "[]");
    gives(CITIES LOOK, "code\nOSL\n", "");
    put_file("cities.csv", "");
    gives(CITIES "format = jsonl\n" LOOK, "code\nOSL\n", "");
    gives(CITIES "header = no\n" LOOK, "code\nOSL\n", "");
    put_file("cities.csv", "{\"code\": \"OSL\", \"name\": \"Oslo\"}\n");
    fails(CITIES LOOK, "code\nOSL\n", ERR_HEADER, "cities.csv': there is no 'since' for column 'since'");
}

TEST(lookup, its_memory_has_a_bound)
{
    FILE *f = fopen(test_file("big.csv"), "w");
    fputs("t\n", f);
    for (int i = 0; i < 50000; i++)
        fprintf(f, "%01000d\n", i);
    fclose(f);
    fails("[limits]\nmemory = 64M\n[lookup big]\nfile = big.csv\ncolumns = t\n" HEAD "columns = t\nwhere = t IN (SELECT t FROM big)\n", "t\n1\n", ERR_LIMIT,
          "look-ups may take 32");
}

/* ---- rows of other parts ---- */

/* Orders look up their customers, which may come behind them, in another object, or not at all. */
#define CUSTOMERS(keys) "[pipeline p.customers]\nmember = c*.csv\ntable = w.customers\ncolumns = id:integer!, name, since:date, credit:decimal(2)\n" keys
#define SHOP(keys, transform) "[pipeline p]\nmax_rejects = 9\n[pipeline p.orders]\nmember = o*.csv\ntable = w.orders\n" \
                              "columns = id:integer!, customer:integer, n:integer\nlookup_parts = customers\n" transform CUSTOMERS(keys)
#define JOINED "transform = SELECT o.id, c.name, c.since, c.credit FROM input o LEFT JOIN customers c ON c.id = o.customer ORDER BY o.id\n"
static const char o_csv[] = "id,customer,n\n1,7,1\n2,9,2\n3,8,3\n", c_csv[] = "id,name,since,credit\n7,Ann,2026-01-01,1.50\n8,\"B, ob\",,0.10\n";

static void shop_gives(const char *ini, const char *o1, const char *c1, const char *c2, const char *rows)
{
    struct outcome o = RUN(ini, "file:///in/o.csv", o1, "file:///in/c1.csv", c1, "file:///in/c2.csv", c2);
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, rows);
    check_books(&o);
    outcome_clear(&o);
}

TEST(lookup_parts, rows_of_a_part_that_comes_later_can_be_joined)
{
    shop_gives(SHOP("", JOINED), o_csv, c_csv, "id,name,since,credit\n9,Cy,2026-02-02,3\n",
               "id,name,since,credit\n1,Ann,2026-01-01,1.50\n2,Cy,2026-02-02,3.00\n3,\"B, ob\",,0.10\n");
    shop_gives(SHOP("key = id\n", "where = customer IN (SELECT id FROM customers)\ncompute = name = (SELECT upper(name) FROM customers c WHERE c.id = input.customer)\n"),
               o_csv, c_csv, "", "id,customer,n,name\n1,7,1,ANN\n3,8,3,\"B, OB\"\n");
}

TEST(lookup_parts, a_decimal_that_sql_cannot_have_is_an_error_where_it_is_read)
{
#define LONG_CREDIT "id,name,since,credit\n7,Ann,,1234567890123456.78\n"
    static const char *const selects[] = { "transform = SELECT o.id, c.credit FROM input o JOIN customers c ON c.id = o.customer\n",
                                           "transform = SELECT count(*) AS id FROM (SELECT id, 1.5 AS credit FROM input) JOIN customers USING (credit)\n" };
    for (size_t i = 0; i < COUNT_OF(selects); i++) {
        AUTO(buf_clear) struct buf ini = { 0 };
        buf_addf(&ini, SHOP("", "%s"), selects[i]);
        struct outcome o = RUN(ini.p, "file:///in/o.csv", o_csv, "file:///in/c.csv", LONG_CREDIT);
        CHECK_EQ(o.rc, -1);
        CHECK_HAS(o.err.msg, "rows of part 'customers' for 'p.orders': column 'credit': SQL has decimals of 15 digits");
        outcome_clear(&o);
    }
    shop_gives(SHOP("", "transform = SELECT o.id, c.name FROM input o JOIN customers c ON c.id = o.customer\n"), o_csv, LONG_CREDIT, "", "id,name\n1,Ann\n");
}

TEST(lookup_parts, a_part_without_rows_is_an_empty_table)
{
    shop_gives(SHOP("", JOINED), o_csv, "", "id,name,since,credit\n", "id,name,since,credit\n1,,,\n2,,,\n3,,,\n");
    shop_gives(SHOP("", JOINED), "id,customer,n\n", c_csv, "", "");
}

TEST(lookup_parts, the_rows_are_those_that_the_part_stages)
{
    struct outcome o = RUN(SHOP("where = id <> 8\ncompute = loud = upper(name)\n", "transform = SELECT o.id, c.loud FROM input o JOIN customers c ON c.id = o.customer\n"),
                           "file:///in/o.csv", o_csv, "file:///in/c.csv", "id,name,since,credit\n7,Ann,,\n8,Bob,,\n9,Cy,1-1-1,\n");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "id,loud\n1,ANN\n");
    CHECK_EQ(o.counts.rejected, 1);
    check_books(&o);
    outcome_clear(&o);
}

TEST(lookup_parts, of_each_key_there_is_the_row_that_counts)
{
#define TWICE "id,name,since,credit\n7,new,2026-02-01,\n7,old,2026-01-01,\n8,a,,\n8,b,2026-01-01,\n9,c,2026-01-01,\n9,d,,\n"
    static const struct {
        const char *keys, *names; /* of the customers of order 1, 2 and 3 */
        int rows;
    } cases[] = { { "mode = upsert\nkey = id\n", "(1,'old'), (2,'d'), (3,'b')", 3 },
                  { "mode = history\nkey = id\n", "(1,'old'), (2,'d'), (3,'b')", 3 },
                  { "mode = upsert\nkey = id\nversion = since\n", "(1,'new'), (2,'c'), (3,'b')", 3 },
                  { "mode = insert_ignore\nkey = id\n", "(1,'new'), (2,'c'), (3,'a')", 3 },
                  { "key = id\n", "(1,'new'), (1,'old'), (2,'c'), (2,'d'), (3,'a'), (3,'b')", 6 } }; /* the table judges */
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        AUTO(buf_clear) struct buf ini = { 0 };
        buf_addf(&ini, "[target s]\nurl = sqlite:///tmp/s.db\n[pipeline p]\n[pipeline p.orders]\nmember = o*\ntable = s.orders\ncolumns = id:integer, customer:integer\n"
                 "lookup_parts = customers\ntransform = SELECT o.id FROM input o JOIN customers c ON c.id = o.customer WHERE %s (o.id, c.name) IN (VALUES %s)\n"
                 "[pipeline p.customers]\nmember = c*\ntable = s.customers\ncolumns = id:integer!, name, since:date, credit\n%s",
                 i % 2 ? "NOT" : "", cases[i / 2].names, cases[i / 2].keys);
        struct outcome o = RUN(ini.p, "file:///in/o.csv", o_csv, "file:///in/c.csv", TWICE);
        CHECK_OK(o.rc, o.err);
        CHECK_EQ(o.outputs[0].rows, i % 2 ? 0 : cases[i / 2].rows);
        outcome_clear(&o);
    }
}

TEST(lookup_parts, a_row_that_the_target_refuses_is_not_there)
{
    struct outcome o = RUN("[target s]\nurl = sqlite:///tmp/s.db\n[pipeline p]\nmax_rejects = 1\n[pipeline p.orders]\nmember = o*\ntable = s.orders\n"
                           "columns = id:integer, customer:integer\nlookup_parts = customers\nwhere = (SELECT count(*) FROM customers) = 1\n"
                           "[pipeline p.customers]\nmember = c*\ntable = s.customers\ncolumns = id:integer, name\nmode = upsert\nkey = id\n",
                           "file:///in/o.csv", o_csv, "file:///in/c.csv", "id,name\n,no key\n7,Ann\n");
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.outputs[0].rows, 3);
    CHECK_EQ(o.counts.rejected, 1);
    check_books(&o);
    outcome_clear(&o);
}

TEST(lookup_parts, several_parts_read_one_and_one_reads_several)
{
    struct outcome o = RUN("[pipeline p]\n[pipeline p.top]\nmember = o*.csv\ntable = w.top\ncolumns = id:integer!, customer:integer, n:integer\n"
                           "lookup_parts = sums, customers\nwhere = n > 1\n"
                           "transform = SELECT o.id, s.name, s.sum, c.credit FROM input o JOIN sums s ON s.customer = o.customer JOIN customers c ON c.id = s.customer "
                           "ORDER BY 1\n"
                           "[pipeline p.sums]\nfrom = raw\ntable = w.sums\nlookup_parts = customers\noutput = customer:integer, name, sum:integer\n"
                           "transform = SELECT customer, max(name) AS name, sum(n) AS sum FROM input JOIN customers c ON c.id = customer GROUP BY customer\n"
                           CUSTOMERS("") "[pipeline p.raw]\nmember = r*.csv\ntable = w.raw\ncolumns = customer:integer, n:integer\n",
                           "file:///in/r.csv", "customer,n\n7,1\n8,2\n7,3\n", "file:///in/o.csv", "id,customer,n\n1,7,1\n2,7,2\n3,8,3\n", "file:///in/c.csv", c_csv);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.noutputs, 4);
    CHECK_STR(o.rows, "id,name,sum,credit\n2,Ann,4,1.50\n3,\"B, ob\",2,0.10\n");
    check_books(&o);
    outcome_clear(&o);
}

TEST(lookup_parts, a_refused_row_has_its_place_and_stays_refused)
{
    static const char *const ini = SHOP("", "compute = late:integer! = (SELECT name FROM customers c WHERE c.id = input.customer)\n");
    struct outcome o = RUN(ini, "file:///in/o.csv", "id,customer,n\nx,7,1\n5,7,2\n", "file:///in/c.csv", c_csv);
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.rejected, 2);
    CHECK_HAS(o.rejects, "{\"context\":null}\n{\"table\":\"w.orders\",\"reason\":\"not-integer\"");
    CHECK_HAS(o.rejects, "\"column\":\"late\",\"value\":\"Ann\",\"object\":\"file:///in/o.csv\",\"member\":\"o.csv\",\"line\":3,\"offset\":20,\"row\":\"5,7,2\"");
    check_books(&o);
    outcome_clear(&o);
    o = RUN(ini, "rejects:U", "{\"context\":{\"part\":\"p.orders\",\"format\":\"csv\",\"encoding\":\"utf-8\",\"delimiter\":\",\",\"header\":\"id,customer,n\","
                              "\"refresh\":false}}\n{\"table\":\"w.orders\",\"reason\":\"range\",\"message\":\"m\",\"column\":null,\"value\":\"\",\"object\":\"o\",\"member\":"
                              "\"o.csv\",\"line\":2,\"offset\":20,\"row\":\"1,7,1\"}\n"); /* from before lookup_parts was there */
    CHECK_OK(o.rc, o.err);
    CHECK_EQ(o.counts.staged, 0);
    CHECK_EQ(o.counts.rejected, 1);
    outcome_clear(&o);
}

TEST(lookup_parts, an_error_on_a_row_that_waited_names_object_and_member)
{
    struct outcome o = RUN(SHOP("", "where = n + (SELECT abs(-9223372036854775807 - 1) FROM customers WHERE id = customer) > 0\n"), "file:///in/o.csv", o_csv,
                           "file:///in/c.csv", c_csv);
    CHECK_EQ(o.rc, -1);
    CHECK_HAS(o.err.msg, "file:///in/o.csv: member 'o.csv': where: line 2: integer overflow");
}

/* Orders, more than stay in memory, in front of more customers. */
static struct outcome many_where(const char *scratch, const char *where)
{
    AUTO(buf_clear) struct buf ini = { 0 }, left = { 0 }, right = { 0 };
    enum { MANY = 60000 };
    buf_addf(&ini, "[limits]\nmemory = 64M\nscratch = %s\n[pipeline p]\nmax_rejects = 1\n[pipeline p.o]\nmember = o*\ntable = w.o\ncolumns = id:integer, k\n"
             "lookup_parts = c\noutput = n:integer, sum:integer\n%stransform = SELECT count(*) AS n, sum(c.v - id) AS sum FROM input JOIN c ON c.k = input.k%s\n"
             "[pipeline p.c]\nmember = c*\ntable = w.c\ncolumns = k, v:integer\nkey = k\n", scratch, where, *where ? " WHERE cached(id)" : "");
    buf_adds(&left, "id,k\n");
    buf_adds(&right, "k,v\n");
    for (int i = 0; i < MANY; i++) {
        if (i % 8 == 1)
            buf_addf(&left, "%d,%0200d\n", i, i);
        buf_addf(&right, "%0200d,%d\n", MANY - 1 - i, MANY - i);
    }
    return RUN(ini.p, "file:///in/o.csv", left.p, "file:///in/c.csv", right.p);
}

static struct outcome many(const char *scratch) { return many_where(scratch, ""); }

TEST(lookup_parts, what_no_memory_holds_goes_to_scratch_files)
{
    scratches = 0;
    struct outcome o = many("1G");
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "n,sum\n7500,7500\n");
    CHECK(scratches >= 2);
    outcome_clear(&o);
}

/* The most that each database had of pages. */
static struct {
    sqlite3 *db;
    int most;
} caches[2];

static void cached(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    sqlite3 *db = sqlite3_context_db_handle(ctx);
    int at = caches[0].db && caches[0].db != db, bytes, most;
    CHECK_EQ(sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_USED, &bytes, &most, 0), SQLITE_OK);
    caches[at].db = db;
    caches[at].most = bytes > caches[at].most ? bytes : caches[at].most;
    sqlite3_result_int(ctx, 1);
}

static int cached_declare(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
    (void)message, (void)api;
    return sqlite3_create_function(db, "cached", 1, SQLITE_UTF8, NULL, cached, NULL, NULL);
}

TEST(lookup_parts, the_steps_that_read_share_what_memory_there_is_for_pages)
{
    CHECK_EQ(sqlite3_auto_extension((void (*)(void))cached_declare), SQLITE_OK);
    struct outcome o = many_where("1G", "where = cached(id) AND EXISTS (SELECT 1 FROM c WHERE c.k = input.k)\n");
    CHECK_EQ(sqlite3_cancel_auto_extension((void (*)(void))cached_declare), 1);
    CHECK_OK(o.rc, o.err);
    CHECK_STR(o.rows, "n,sum\n7500,7500\n");
    CHECK(caches[0].most > 2 << 20 && caches[1].most > 2 << 20);
    CHECK(caches[0].most + caches[1].most < 9 << 20); /* an eighth of 64 MiB, and little beside */
    outcome_clear(&o);
}

TEST(lookup_parts, scratch_files_have_a_limit_and_a_full_disk_is_told)
{
    struct outcome o = many("1M");
    CHECK_EQ(o.err.code, ERR_LIMIT);
    CHECK_HAS(o.err.msg, "rows that wait for those of lookup_parts take more than 1.0 MiB");
    o = many("6M"); /* enough for those that wait, and not for the table of the others */
    CHECK_EQ(o.err.code, ERR_LIMIT);
    CHECK_HAS(o.err.msg, "rows of part 'c' for 'p.o': it keeps more than 6.0 MiB in scratch files");
    scratch_fail = 1;
    o = many("1G");
    scratch_fail = 0;
    CHECK_EQ(o.err.code, ERR_DISK_FULL);
}

TEST(lookup_parts, a_job_given_up_in_the_middle_lets_go)
{
    struct outcome o = RUN(SHOP("", JOINED), "file:///in/o.csv", o_csv, "file:///in/c.csv", "id,name\n");
    CHECK_EQ(o.rc, -1);
    CHECK_STR(err_name(o.err.code), "header");
}

TEST(lookup_parts, a_part_that_is_not_named_is_told_of)
{
    fails("[pipeline p]\n[pipeline p.o]\ncolumns = id:integer\ntable = w.o\nwhere = id IN (SELECT id FROM c)\n"
          "[pipeline p.c]\ncolumns = id:integer\ntable = w.c\n", "id\n1\n", ERR_SQL,
          "no such table: c; it is another part of this pipeline: name it in lookup_parts");
}

/* ---- what check tells ---- */

static void checked(const char *ini, const char *place, const char *key, const char *message)
{
    struct config *c = config_of(ini);
    struct step_fault fault = { 0 };
    struct err err = { 0 };
    struct columns out = { 0 };
    const struct recipe *r = c->pipelines[0].parts;
    const struct step_part part = { .config = c, .pipeline = c->pipelines, .recipe = r, .fault = &fault };
    int rc = steps_check(&out, &part, &r->columns, &err);
    CHECK_EQ(rc, message ? -1 : 0);
    if (message) {
        CHECK_HAS(fault.place, place);
        CHECK_STR(fault.key, key);
        CHECK_HAS(err.msg, message);
    }
    columns_clear(&out);
    config_free(c);
}

TEST(check, it_prepares_what_it_can_without_files_and_names_the_key)
{
    checked(HEAD "columns = id:integer\nwhere = idd\n", "t.ini:8", "where", "no such column: idd");
    checked(HEAD "columns = id:integer\nwhere = id\ncompute = a = id\n  b = x\n", "t.ini:9", "compute", "'b': line 1, column 1: no such column: x");
    checked(HEAD "columns = id:integer\nwhere = id =\n", "t.ini:8", "where", "line 1, column 5: incomplete input");
    checked(HEAD "columns = id:integer\ntransform = SELECT id FROM\n  inptu\n", "t.ini:8", "transform", "line 2, column 1: no such table: inptu");
    checked(HEAD "columns = id:integer\ntransform = SELECT id + 1 FROM input\n", "t.ini:8", "transform", "has no type");
    checked("[lookup gone]\nfile = gone.csv\ncolumns = a\n" HEAD "columns = id:integer\ntransform = SELECT a FROM input JOIN gone ON a = id\n", NULL, NULL, NULL);
}

TEST(check, input_in_two_places_is_refused_with_the_second)
{
#define IN_TWO(keys, key, message) checked(HEAD "columns = id:integer\n" keys "\n", "t.ini:8", key, message)
    IN_TWO("transform = SELECT id FROM input\n  UNION ALL\n  SELECT input.id FROM \"input\"", "transform", "line 3, column 22: input would be");
    IN_TWO("transform = SELECT id FROM input WHERE id = (SELECT max(id) FROM (input))", "transform", "line 1, column 55: input would be");
    IN_TWO("transform = SELECT a.id FROM input a, input b", "transform", "line 1, column 27: input would be");
    IN_TWO("transform = WITH k AS NOT MATERIALIZED (SELECT id FROM input)\n  SELECT a.id FROM k a JOIN k b", "transform", "input would be");
    IN_TWO("where = id = (SELECT max(id)\n  FROM input)", "where", "line 2, column 6: input would be");
    IN_TWO("compute = m:integer = id IN input", "compute", "'m': line 1, column 7: input would be");
    checked(HEAD "columns = id:integer\nwhere = input.id > 1 AND id IN (1, 2)\ncompute = m:integer = input.id\n", NULL, NULL, NULL);
    checked(HEAD "columns = id:integer\ntransform = SELECT i.id FROM input i, json_each('[1]') a, json_each('[1]') b\n", NULL, NULL, NULL);
}

TEST(check, columns_of_the_result_are_those_of_the_table)
{
    struct config *c = config_of(HEAD "columns = id:integer!, n:integer\ncompute = t:text = n\ntransform = SELECT t, id FROM input\n");
    struct columns out = { 0 };
    struct err err;
    const struct step_part part = { .config = c, .pipeline = c->pipelines, .recipe = c->pipelines[0].parts };
    CHECK_OK(steps_check(&out, &part, &c->pipelines[0].parts->columns, &err), err);
    AUTO(buf_clear) struct buf text = { 0 };
    columns_print(&out, &text);
    CHECK_STR(text.p, "t:text, id:integer!");
    columns_clear(&out);
    config_free(c);
}
