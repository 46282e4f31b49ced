/* The parts of the MariaDB and MySQL target that need no server: text for LOAD DATA, types, URLs, and what SQL of people may do. */
#include "target/mysql.h"

#include <fcntl.h>
#include <float.h>
#include <math.h>

#include "target/staged.h"
#include "test.h"

static struct err err;
static const int64_t day_us = 86400000000;

/* ---- rows as text ---- */

static int no_file(void *arg, int number, const char *ext, struct err *e)
{
    (void)arg;
    (void)number;
    (void)ext;
    return err_set(e, ERR_IO, "this test wants no file");
}

struct encoded {
    struct output out;
    struct rejects rejects;
    uint64_t staged;
};

/* n rows of the columns; the key is the first nkey columns. */
static void encode(struct encoded *e, const char *columns_text, int nkey, struct value *values, uint32_t n)
{
    static const struct stage stage = { no_file, NULL, STAGE_INLINE_MAX };
    static const struct place place = { 0 };
    static const int key[] = { 0, 1, 2 };
    const struct place *places[64];
    struct columns columns;
    struct encoder *encoder;
    *e = (struct encoded){ 0 };
    for (uint32_t i = 0; i < n; i++)
        places[i] = &place;
    CHECK_OK(columns_parse(&columns, columns_text, &err), err);
    const struct table_spec spec = { .table = "my.t", .name = "t", .columns = &columns, .nkey = nkey, .key = key, .version = -1, .deleted = -1 };
    const struct rows rows = { n, (uint32_t)columns.n, values, places };
    rejects_init(&e->rejects, &stage, 1, (struct reject_limit){ -1, -1 });
    CHECK_OK(target_mysql.encode_open(&encoder, NULL, &spec, &stage, 0, &err), err);
    CHECK_OK(target_mysql.encode_rows(encoder, &rows, &e->rejects, &e->staged, &err), err);
    CHECK_OK(target_mysql.encode_finish(encoder, &e->out, &err), err);
    target_mysql.encode_close(encoder);
    columns_clear(&columns);
}

static void encoded_clear(struct encoded *e)
{
    output_clear(&e->out);
    rejects_clear(&e->rejects);
}

static struct value text(const char *s) { return (struct value){ .p = s, .n = (uint32_t)strlen(s) }; }

/* The only column of the only row as it is staged, without the end of its line; "(refused)". */
static const char *put(const char *column, int nkey, struct value v)
{
    static char last[5000];
    struct encoded e;
    encode(&e, column, nkey, &v, 1);
    CHECK_EQ(e.staged + (uint64_t)e.rejects.count, 1);
    CHECK_EQ(e.out.rows, e.staged);
    CHECK_EQ(e.staged ? e.out.inlined.p[e.out.inlined.n - 1] : '\n', '\n');
    snprintf(last, sizeof last, "%.*s", (int)(e.out.inlined.n - 1), e.staged ? e.out.inlined.p : "");
    if (!e.staged)
        snprintf(last, sizeof last, "(refused)");
    encoded_clear(&e);
    return last;
}
static const char *put_int(const char *column, int64_t v) { return put(column, 0, (struct value){ .i = v }); }

TEST(mysql_rows, text_is_escaped_where_load_data_reads_a_sign)
{
    CHECK_STR(put("a", 0, text("plain")), "plain");
    CHECK_STR(put("a", 0, text("")), "");
    CHECK_STR(put("a", 0, text("a\tb\nc\\d")), "a\\tb\\nc\\\\d");
    CHECK_STR(put("a", 0, text("\\N")), "\\\\N"); /* looks like a null */
    CHECK_STR(put("a", 0, text("\\")), "\\\\");
    CHECK_STR(put("a", 0, text("\"'`;\r\x01\x1a")), "\"'`;\r\x01\x1a");
    CHECK_STR(put("a", 0, text("Zoë 😀")), "Zoë 😀");
    CHECK_STR(put("a", 0, (struct value){ .p = "x\0y", .n = 3 }), "x\\0y");
}

TEST(mysql_rows, a_null_is_no_text)
{
    struct value values[] = { { .null = true }, text("x"), { .null = true }, text("NULL"), { .null = true }, { .null = true } };
    struct encoded e;
    encode(&e, "a, b", 0, values, 3);
    CHECK_SLICE(buf_str(&e.out.inlined), "\\N\tx\n\\N\tNULL\n\\N\t\\N\n");
    CHECK_EQ(e.out.rows, 3);
    CHECK_STR(e.out.ext, "tsv");
    encoded_clear(&e);
}

TEST(mysql_rows, numbers_are_written_to_the_last_digit)
{
    CHECK_STR(put_int("a:integer", INT64_MIN), "-9223372036854775808");
    CHECK_STR(put_int("a:integer", INT64_MAX), "9223372036854775807");
    CHECK_STR(put_int("a:decimal(2)", -5), "-0.05");
    CHECK_STR(put_int("a:decimal(18)", INT64_MIN), "-9.223372036854775808");
    CHECK_STR(put_int("a:decimal(0)", 7), "7");
    CHECK_STR(put_int("a:boolean", 1), "1");
    CHECK_STR(put_int("a:boolean", 0), "0");
    static const double reals[] = { 0.1, -0.0, DBL_MAX, -DBL_MAX, DBL_TRUE_MIN, 1.0 / 3, 123456789012345680.0 };
    for (size_t i = 0; i < COUNT_OF(reals); i++)
        CHECK(strtod(put("a:real", 0, (struct value){ .r = reals[i] }), NULL) == reals[i]);
    CHECK_STR(put("a:real", 0, (struct value){ .r = NAN }), "(refused)");
    CHECK_STR(put("a:real", 0, (struct value){ .r = -INFINITY }), "(refused)");
}

TEST(mysql_rows, times_are_those_that_the_server_has)
{
    CHECK_STR(put_int("a:date", 0), "1970-01-01");
    CHECK_STR(put_int("a:date", -719162), "0001-01-01");
    CHECK_STR(put_int("a:date", -719163), "(refused)");
    CHECK_STR(put_int("a:date", 2932896), "9999-12-31");
    CHECK_STR(put_int("a:date", 2932897), "(refused)");
    CHECK_STR(put_int("a:timestamp", 951827696789012), "2000-02-29 12:34:56.789012");
    CHECK_STR(put_int("a:timestamp", -1), "1969-12-31 23:59:59.999999");
    CHECK_STR(put_int("a:timestamp", -719162 * day_us), "0001-01-01 00:00:00");
    CHECK_STR(put_int("a:timestamp", -719162 * day_us - 1), "(refused)");
    CHECK_STR(put_int("a:timestamp", 2932897 * day_us - 1), "9999-12-31 23:59:59.999999");
    CHECK_STR(put_int("a:timestamp", 2932897 * day_us), "(refused)");
    CHECK_STR(put_int("a:timestamp", INT64_MAX), "(refused)");
    CHECK_STR(put_int("a:timestamp", INT64_MIN), "(refused)");
}

/* Brackets, n deep. */
static struct value nested(int n)
{
    static char out[200];
    memset(out, '[', (size_t)n);
    memset(out + n, ']', (size_t)n);
    out[2 * n] = '\0';
    return text(out);
}

TEST(mysql_rows, json_that_json_valid_refuses_is_rejected)
{
    CHECK_STR(put("a:json", 0, text("{\"a\\n\": [1, \"\\ud83d\\ude00\"]}")), "{\"a\\\\n\": [1, \"\\\\ud83d\\\\ude00\"]}");
    CHECK_STR(put("a:json", 0, text("\"\\u0000\"")), "\"\\\\u0000\"");
    CHECK_STR(put("a:json", 0, text("\"\\ud83d\"")), "(refused)");        /* the first half alone */
    CHECK_STR(put("a:json", 0, text("\"\\ude00\\ud83d\"")), "(refused)"); /* the second half first */
    CHECK_STR(put("a:json", 0, text("\"\\ud83d\\u0041\"")), "(refused)");
    CHECK_STR(put("a:json", 0, text("\"\\ud83d\\\\ude00\"")), "(refused)");
    CHECK(strcmp(put("a:json", 0, nested(31)), "(refused)") != 0);
    CHECK_STR(put("a:json", 0, nested(32)), "(refused)");
    CHECK(strcmp(put("a:json", 0, text("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"")), "(refused)") != 0); /* in a text they are none */
    CHECK(strcmp(put("a:json", 0, text("[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]")), "(refused)") != 0);
}

TEST(mysql_rows, a_text_in_the_key_has_at_most_255_characters)
{
    char longest[4 * MYSQL_KEY_CHARS + 5] = "";
    for (int i = 0; i < MYSQL_KEY_CHARS; i++)
        strcat(longest, "😀");
    CHECK_STR(put("a", 1, text(longest)), longest);
    strcat(longest, "x");
    CHECK_STR(put("a", 1, text(longest)), "(refused)");
    CHECK_STR(put("a", 0, text(longest)), longest);
}

/* A row that is refused leaves nothing behind, wherever in it the value stands; the reason names the column. */
TEST(mysql_rows, a_refused_row_leaves_the_others_whole)
{
    struct value values[] = { { .i = 1 }, text("a"), { .r = 1 },   { .i = 2 }, text("b\tc"), { .r = NAN },
                              { .i = 3 }, { .null = true }, { .r = 3 }, { .null = true }, text("d"), { .r = 4 }, { .i = 5 }, text("e"), { .r = 5.5 } };
    struct encoded e;
    encode(&e, "id:integer, name!, x:real", 1, values, 5);
    CHECK_SLICE(buf_str(&e.out.inlined), "1\ta\t1\n5\te\t5.5\n");
    CHECK_EQ(e.staged, 2);
    CHECK_EQ(e.rejects.count, 3);
    CHECK_HAS(e.rejects.out.inlined.p, "\"reason\":\"target-range\"");
    CHECK_HAS(e.rejects.out.inlined.p, "\"column\":\"x\"");
    CHECK_HAS(e.rejects.out.inlined.p, "\"column\":\"name\"");
    CHECK_HAS(e.rejects.out.inlined.p, "\"column\":\"id\"");
    encoded_clear(&e);
}

/* ---- tables ---- */

TEST(mysql_type, every_type_has_a_column)
{
    static const struct {
        const char *column, *type;
        bool in_key;
    } table[] = {
        { "a", "LONGTEXT", false },          { "a", "VARCHAR(255)", true },          { "a:integer", "BIGINT", true },
        { "a:decimal(4)", "DECIMAL(19,4)", false }, { "a:real", "DOUBLE", false },   { "a:boolean", "BOOLEAN", false },
        { "a:date", "DATE", true },          { "a:timestamp", "DATETIME(6)", false }, { "a:json", "JSON", false },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        AUTO(buf_clear) struct buf out = { 0 };
        struct columns columns;
        CHECK_OK(columns_parse(&columns, table[i].column, &err), err);
        mysql_type(&out, &columns.v[0], table[i].in_key);
        CHECK_STR(out.p, table[i].type);
        columns_clear(&columns);
    }
}

/* What check() says of a table of so many columns, the first nkey of which are its key; "" nothing. */
static const char *check(const char *url, int ncolumns, int nkey, enum load_mode mode, int64_t undo_ms)
{
    AUTO(buf_clear) struct buf columns_text = { 0 };
    struct columns columns;
    const struct target_config cfg = { .name = (char[]){ "w" }, .url = (char *)url };
    for (int i = 0; i < ncolumns; i++)
        buf_addf(&columns_text, "%sc%d", i ? ", " : "", i);
    CHECK_OK(columns_parse(&columns, columns_text.p, &err), err);
    const struct table_spec spec = { .table = "w.t", .name = "t", .columns = &columns, .mode = mode, .nkey = nkey, .undo_ms = undo_ms };
    int rc = target_check(&target_mysql, &cfg, &spec, &err);
    columns_clear(&columns);
    CHECK(rc == 0 || err.code == ERR_CONFIG);
    return rc == 0 ? "" : err.msg;
}

TEST(mysql_check, what_a_server_cannot_hold_is_said_before_it_is_tried)
{
    static const char url[] = "mysql://u@h/d";
    CHECK_STR(check(url, 1000, 15, MODE_UPSERT, 0), "");
    CHECK_HAS(check(url, 1001, 1, MODE_UPSERT, 0), "at most 1000");
    CHECK_HAS(check(url, 20, 16, MODE_UPSERT, 0), "at most 15");
    const struct target_config half = { .name = (char[]){ "w" }, .url = (char[]){ "mysql://u@h/" } };
    const char *key = NULL;
    CHECK_EQ(target_mysql.check_self(&half, &key, &err), -1);
    CHECK_HAS(err.msg, "names no database");
    CHECK_STR(key, "url");
    CHECK_STR(check(url, 1, 0, MODE_APPEND, 1), "");
    CHECK_STR(check(url, 1, 1, MODE_INSERT_IGNORE, 1), "");
    CHECK_STR(check(url, 1, 1, MODE_UPSERT, 1), "");
    CHECK_STR(check(url, 1, 0, MODE_REPLACE, 1), "");
    CHECK_HAS(check(url, 1, 1, MODE_HISTORY, 1), "mode = history");
}

TEST(mysql_check, a_name_has_at_most_64_characters)
{
    char column[200], table[300], *at = column;
    struct columns columns;
    const struct target_config cfg = { .name = (char[]){ "w" }, .url = (char[]){ "mysql://u@h/d" } };
    for (int i = 0; i < 64; i++)
        at += snprintf(at, 3, "ä");
    snprintf(table, sizeof table, "d.%s", column);
    struct table_spec spec = { .table = "w.t", .name = table, .columns = &columns };
    CHECK_OK(columns_parse(&columns, column, &err), err);
    CHECK_OK(target_check(&target_mysql, &cfg, &spec, &err), err);
    snprintf(table, sizeof table, "d.%sx", column);
    CHECK_EQ(target_check(&target_mysql, &cfg, &spec, &err), -1);
    CHECK_HAS(err.msg, "the name of table");
    CHECK_HAS(err.msg, "65 characters");
    columns_clear(&columns);
    spec.name = "t";
    snprintf(at, 2, "x");
    CHECK_OK(columns_parse(&columns, column, &err), err);
    CHECK_EQ(target_check(&target_mysql, &cfg, &spec, &err), -1);
    CHECK_HAS(err.msg, "the name of column");
    columns_clear(&columns);
}

/* ---- the URL ---- */

/* user|host|port|database|socket|ssl, or what is wrong. */
static const char *parsed(const char *url)
{
    static char out[500];
    const struct target_config cfg = { .name = (char[]){ "w" }, .url = (char *)url };
    struct mysql_url u;
    if (mysql_url_parse(&u, &cfg, &err) < 0) {
        CHECK_EQ(err.code, ERR_CONFIG);
        return err.msg;
    }
    snprintf(out, sizeof out, "%s|%s|%u|%s|%s|%d", u.user ? u.user : "-", u.host, u.port, u.database, u.socket ? u.socket : "-", (int)u.ssl);
    mysql_url_clear(&u);
    return out;
}

TEST(mysql_url, its_parts_are_decoded)
{
    CHECK_STR(parsed("mysql://h/d"), "-|h|3306|d|-|0");
    CHECK_STR(parsed("mysql://u@h.example.org:3307/sales?ssl=verify"), "u|h.example.org|3307|sales|-|3");
    CHECK_STR(parsed("mysql://a%40b@[::1]:1/d%2fe?ssl=off"), "a@b|::1|1|d/e|-|1");
    CHECK_STR(parsed("mysql://[fe80::1]/d"), "-|fe80::1|3306|d|-|0");
    CHECK_STR(parsed("mysql://localhost/d?socket=/run/my%20sql&ssl=required"), "-|localhost|3306|d|/run/my sql|2");
    CHECK_STR(parsed("mysql:///d%zz"), "-||3306|d%zz|-|0");
}

TEST(mysql_url, what_is_wrong_is_named)
{
    static const struct {
        const char *url, *says;
    } table[] = {
        { "mysql:h/d", "mysql://user@host:port/database" }, { "mysql://u:secret@h/d", "no password in the url" },
        { "mysql://h", "names no database" },     { "mysql://h/", "names no database" },    { "mysql://h?ssl=off", "names no database" },
        { "mysql://h/a/b", "names no database" }, { "mysql://h:0/d", "no host:port" },      { "mysql://h:65536/d", "no host:port" },
        { "mysql://h:x/d", "no host:port" },      { "mysql://[::1]x/d", "no host:port" },   { "mysql://h/d?ssl=maybe", "'ssl=maybe'" },
        { "mysql://h/d?socket=run", "'socket=run'" }, { "mysql://h/d?", "''" },             { "mysql://h/d?ssl=off&", "''" },
        { "mysql://h/d?socket=/a&socket=/b", "'socket=/b'" },
        { "mysql://h/d?socket=/a", "for the host localhost, not for 'h'" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        CHECK_HAS(parsed(table[i].url), table[i].says);
        CHECK(!strstr(err.msg, "secret"));
    }
}

/* ---- SQL of people ---- */

TEST(mysql_after_load, what_would_end_the_transaction_is_refused)
{
    static const char *const inside[] = {
        "UPDATE t SET a = 1", "INSERT INTO s SELECT ':job'; DELETE FROM x;", "CREATE TEMPORARY TABLE z (a int)", "",
        "CREATE OR REPLACE TEMPORARY TABLE z (a int)", "DROP TEMPORARY TABLE z", "SET @a = 'commit'", "SELECT 'a; COMMIT'",
        "UPDATE `commit` SET a = \"it\\\"; commit\"", "-- commit\nSELECT 1", "# commit\nSELECT 1", "SELECT 1 /* ; commit */", "SELECT 1--commit",
        "call p()",
    };
    static const char *const ends[] = {
        "COMMIT", "commit;", "SELECT 1; TRUNCATE t", "ALTER TABLE t ADD x int", "CREATE TABLE z (a int)", "CREATE OR REPLACE TABLE z (a int)",
        "DROP TABLE z", "SET autocommit = 1", "SET @a = 1, AUTOCOMMIT = 1", "/* a */ ROLLBACK", "# x\nBEGIN", "-- x\nLOCK TABLES t READ",
        "/*! COMMIT */", "/*M! COMMIT */", "SELECT 1; /*!50000 COMMIT */", "START TRANSACTION", "GRANT ALL ON *.* TO x", ";;XA BEGIN 'x'",
        "\n\tRENAME TABLE a TO b",
    };
    for (size_t i = 0; i < COUNT_OF(inside); i++)
        CHECK_OK(mysql_stays_inside(inside[i], &err), err);
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        if (mysql_stays_inside(ends[i], &err) == 0)
            fail_msg("'%s' was taken", ends[i]);
        CHECK_EQ(err.code, ERR_AFTER_LOAD);
        CHECK_HAS(err.msg, "would end the transaction");
    }
}

TEST(mysql_after_load, a_statement_has_a_line)
{
    CHECK_EQ(mysql_line_of("SELECT 1", 1), 1);
    CHECK_EQ(mysql_line_of("-- a; b\n;;SELECT ';\n';\n\n# it's\n UPDATE t SET a = 1", 1), 2);
    CHECK_EQ(mysql_line_of("-- a; b\n;;SELECT ';\n';\n\n# it's\n UPDATE t SET a = 1", 2), 6);
    CHECK_EQ(mysql_line_of("SELECT 1;", 2), 0);
    CHECK_EQ(mysql_line_of("SELECT 1; CALL p(); SELECT 2", 3), 0);
}

TEST(mysql_query, one_statement_that_reads)
{
    static const char *const reads[] = {
        "SELECT 1", "select 1;", "(SELECT 1) UNION (SELECT 2)", "WITH a AS (SELECT 1) SELECT * FROM a", "SHOW TABLES", "EXPLAIN SELECT 1",
        "DESC t", "VALUES (1)", "/* DELETE */ SELECT 'DELETE; DROP'", "SELECT 1; -- the end", "SELECT 'x into outfile'",
    };
    static const char *const others[] = {
        "DELETE FROM t", "SELECT 1; DELETE FROM t", "SELECT 1; SELECT 2", "SELECT * INTO OUTFILE '/tmp/x' FROM t",
        "SELECT * FROM t INTO dumpfile '/tmp/x'", "/*! DELETE FROM t */", "SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "CALL p()", "SET @a = 1",
        "COMMIT", "INSERT INTO t VALUES (1)",
    };
    for (size_t i = 0; i < COUNT_OF(reads); i++)
        CHECK_OK(mysql_only_reads(reads[i], &err), err);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (mysql_only_reads(others[i], &err) == 0)
            fail_msg("'%s' was taken", others[i]);
        CHECK_EQ(err.code, ERR_USAGE);
    }
}
