/* The reader of JSON lines and documents. Rows are shown as text, a field a token, so that a test
 * reads as a table. */
#include "test.h"

#include "doc_example.h"
#include "io/input.h"
#include "json_plain.h"
#include "read/format.h"
#include "read/json_row.h"

enum { ROW_MAX = 1 << 20 };

/* Bytes from memory, at most `step` a call (0: all). */
struct memory_input {
    struct input input;
    const char *p;
    size_t n, step, calls;
    bool fails; /* at the end, instead of ending */
};

static ssize_t memory_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct memory_input *m = (struct memory_input *)in;
    size_t n = m->n < cap ? m->n : cap;
    m->calls++;
    if (m->step && n > m->step)
        n = m->step;
    if (!n && m->fails)
        return err_set(err, ERR_FETCH, "the line went dead");
    memcpy(buf, m->p, n);
    m->p += n;
    m->n -= n;
    return (ssize_t)n;
}

struct reading {
    struct buf rows;   /* "7|text|~|null;" */
    struct buf bad;    /* "json-syntax@2+10:column=value;" */
    struct buf places; /* "1+0:raw;" */
    uint64_t nrows, nbad;
    int batches;
    struct err err;
    int rc;
    size_t arena; /* largest total of the batch's arena */
};

static void show_field(struct buf *out, const struct field *f)
{
    switch ((enum field_kind)f->kind) {
    case FIELD_ABSENT:
        buf_adds(out, "~");
        break;
    case FIELD_NULL:
        buf_adds(out, "null");
        break;
    case FIELD_TRUE:
        buf_adds(out, "T");
        break;
    case FIELD_FALSE:
        buf_adds(out, "F");
        break;
    case FIELD_NUMBER:
        buf_addf(out, "#%.*s", (int)f->n, f->p);
        break;
    case FIELD_RAW:
        buf_addf(out, "=%.*s", (int)f->n, f->p);
        break;
    case FIELD_QUOTED:
        for (uint32_t i = 0; i < f->n; i++)
            buf_addc(out, f->p[i] ? f->p[i] : '@');
        break;
    case FIELD_BARE:
        fail_msg("JSON has no bare fields");
        break;
    }
}

static void show_batch(struct reading *g, const struct batch *b, const struct columns *c)
{
    for (uint32_t row = 0; row < b->rows; row++) {
        for (uint32_t col = 0; col < b->cols; col++) {
            buf_adds(&g->rows, col ? "|" : "");
            show_field(&g->rows, &b->fields[row * b->cols + col]);
        }
        const struct place *p = &b->places[row];
        buf_adds(&g->rows, ";");
        buf_addf(&g->places, "%d+%d:%.*s;", (int)p->line, (int)p->offset, (int)p->raw.n, p->raw.p);
    }
    for (uint32_t i = 0; i < b->nbad; i++) {
        const struct bad_row *bad = &b->bad[i];
        buf_addf(&g->bad, "%s@%d+%d", reject_name(bad->reason), (int)bad->place.line,
                 (int)bad->place.offset);
        if (bad->column >= 0)
            buf_addf(&g->bad, ":%s=%.*s", c->v[bad->column].name, (int)bad->value.n, bad->value.p);
        buf_adds(&g->bad, ";");
    }
}

struct setup {
    const char *columns, *format, *records;
    enum json_grammar grammar;
    int64_t row_max; /* 0: ROW_MAX */
    size_t step;
    bool quiet, fails; /* quiet: only count */
};

static struct reading read_bytes(const struct setup *s, struct str text)
{
    struct reading g = { .rc = -1 };
    struct columns c;
    struct batch b;
    struct reader *r = NULL;
    struct recipe recipe = { .format = (char *)s->format,
                             .records = (char *)s->records,
                             .grammar = s->grammar };
    struct memory_input in = { .input = { .read = memory_read, .size = -1 },
                               .p = text.p,
                               .n = text.n,
                               .step = s->step,
                               .fails = s->fails };
    CHECK_OK(columns_parse(&c, s->columns, &g.err), g.err);
    CHECK_OK(batch_init(&b, (uint32_t)c.n, &g.err), g.err);
    if (format_jsonl.open(&r, &recipe, &c, &in.input, s->row_max ? s->row_max : ROW_MAX, &g.err) ==
        0) {
        while ((g.rc = format_jsonl.next(r, &b, &g.err)) == 1) {
            CHECK(batch_read(&b) > 0);
            g.nrows += b.rows;
            g.nbad += b.nbad;
            g.batches++;
            if (b.arena.total > g.arena)
                g.arena = b.arena.total;
            if (!s->quiet)
                show_batch(&g, &b, &c);
        }
        if (g.rc == 0)
            CHECK_EQ(format_jsonl.next(r, &b, &g.err), 0); /* the end stays the end */
    }
    format_jsonl.close(r);
    batch_clear(&b);
    columns_clear(&c);
    buf_adds(&g.rows, "");
    buf_adds(&g.bad, "");
    buf_adds(&g.places, "");
    return g;
}

static void reading_clear(struct reading *g)
{
    buf_clear(&g->rows);
    buf_clear(&g->bad);
    buf_clear(&g->places);
}

/* What is read must be these rows and these refusals, whatever the pieces are in which the bytes
 * come. */
static void expect(const struct setup *s, struct str text, const char *rows, const char *bad)
{
    for (size_t step = 0; step < 4; step++) {
        struct setup one = *s;
        one.step = step;
        struct reading g = read_bytes(&one, text);
        if (g.rc < 0)
            fail_msg("'%.*s': %s [%s]", (int)text.n, text.p, g.err.msg, err_name(g.err.code));
        CHECK_STR(g.rows.p, rows);
        CHECK_STR(g.bad.p, bad);
        reading_clear(&g);
    }
}

static void expect_lines(const char *columns, const char *text, const char *rows, const char *bad)
{
    expect(&(struct setup){ .columns = columns, .format = "jsonl" }, str_of(text), rows, bad);
}

/* ---- values and paths ---- */

TEST(jsonl, fields_keep_their_kind)
{
    expect_lines(
        "a, b, c, d, e, f, g, h",
        "{\"a\":1,\"b\":\"x\",\"c\":true,\"d\":false,\"e\":null,\"f\":{\"k\": [1]},\"g\":[ 2 ]}\n",
        "#1|x|T|F|null|={\"k\": [1]}|=[ 2 ]|~;", "");
    expect_lines("a, b", "{\"a\":-1.50e+3,\"b\":123456789012345678901234567890}",
                 "#-1.50e+3|#123456789012345678901234567890;", "");
    expect_lines("a", "{}\n{\"b\":1}\n { } \n", "~;~;~;", "");
}

TEST(jsonl, texts_are_unescaped)
{
    expect_lines("a, b", "{\"a\":\"q\\\"\\\\\\/\\n\\u00e9\\uD83D\\uDE00\",\"b\":\"\"}",
                 "q\"\\/\n\xc3\xa9\xf0\x9f\x98\x80|;", "");
}

TEST(jsonl, paths_lead_into_objects_and_arrays)
{
    const char *line = "{\"customer\":{\"id\":7,\"name\":\"Ann\"},\"items\":[{\"price\":1.5},{"
                       "\"price\":2.5}],\"m\":[[1,2],[3,4]]}\n";
    expect_lines(
        "customer.id, customer.name, items[0].price, items[1].price, items[2].price, m[1][0], m[0]",
        line, "#7|Ann|#1.5|#2.5|~|#3|=[1,2];", "");
    expect_lines("m[1][1], items, customer, z.y.x", line,
                 "#4|=[{\"price\":1.5},{\"price\":2.5}]|={\"id\":7,\"name\":\"Ann\"}|~;", "");
}

TEST(jsonl, one_value_may_go_to_many_columns_and_its_parts_too)
{
    expect_lines("x from a, y from a, z from \"a.b\", w from \"a.b\"", "{\"a\":{\"b\":[1]}}",
                 "={\"b\":[1]}|={\"b\":[1]}|=[1]|=[1];", "");
}

TEST(jsonl, odd_keys_are_written_in_quotes)
{
    expect_lines("x from \"a.\"\"odd.key\"\".b\", y from \"\"\"q\\\"\"[0]\"\"\", z from \"Net "
                 "Amount\", e from \"\"\"\"\"\"",
                 "{\"a\":{\"odd.key\":{\"b\":1}},\"q\\\"[0]\":2,\"Net Amount\":3,\"\":4}\n",
                 "#1|#2|#3|#4;", "");
    /* a wanted name that looks like an escape is another key than the escape */
    expect_lines("x from \"\"\"a\\\\n\"\"\"", "{\"a\\n\":1}\n{\"a\\\\n\":2}\n{\"a\\n\":3}\n",
                 "~;#2;~;", "");
}

TEST(jsonl, rows_may_be_arrays)
{
    expect_lines("a from [0], b from \"[2].x\"", "[1,2,{\"x\":3}]\n[4]\n{\"a\":1}\n", "#1|#3;#4|~;",
                 "json-not-object@3+18;");
}

TEST(jsonl, keys_may_come_in_any_order_and_leave)
{
    expect_lines("a, b, c",
                 "{\"a\":1,\"b\":2,\"c\":3}\n{\"c\":3,\"b\":2,\"a\":1}\n{\"b\":2}\n{\"x\":0,\"a\":"
                 "1,\"y\":0,\"c\":3}\n"
                 "{\"a\":1,\"b\":2,\"c\":3}\n{\"ab\":1,\"a\":2}\n{\"a\":1,\"b\":2}\n",
                 "#1|#2|#3;#1|#2|#3;~|#2|~;#1|~|#3;#1|#2|#3;#2|~|~;#1|#2|~;", "");
}

TEST(jsonl, a_key_may_be_written_with_escapes)
{
    expect_lines("id, b",
                 "{\"\\u0069d\":1,\"b\":2}\n{\"id\":3,\"b\":4}\n{\"i\\u0064\":5,\"b\":6}\n",
                 "#1|#2;#3|#4;#5|#6;", "");
    expect_lines("id", "{\"\\ud800\":1,\"id\":2}\n", "#2;", "");
}

TEST(jsonl, many_columns_and_many_unknown_keys)
{
    struct buf columns = { 0 }, text = { 0 }, rows = { 0 };
    for (int i = 0; i < 2000; i++)
        buf_addf(&columns, "%sc%d", i ? "," : "", i);
    for (int row = 0; row < 3; row++) {
        for (int i = 0; i < 2000; i++) { /* a known and an unknown one in turn, from both ends */
            int k = row == 1 ? 1999 - i : i;
            buf_addf(&text, "%s\"c%d\":%d,\"u%d_%d\":[]", i ? "," : "{", k, k, row, k);
        }
        buf_adds(&text, "}\n");
        for (int i = 0; i < 2000; i++)
            buf_addf(&rows, "%s#%d", i ? "|" : "", i);
        buf_adds(&rows, ";");
    }
    struct reading g =
        read_bytes(&(struct setup){ .columns = columns.p, .format = "jsonl" }, buf_str(&text));
    CHECK_EQ(g.rc, 0);
    CHECK_STR(g.rows.p, rows.p);
    reading_clear(&g);
    buf_clear(&columns);
    buf_clear(&text);
    buf_clear(&rows);
}

/* ---- hostile lines: each between two good ones, which must be read ---- */

static const struct {
    const char *line, *strict, *lax; /* "": taken */
} hostile[] = {
    { "{\"id\":1,\"id\":2}", "duplicate-key", "duplicate-key" },
    { "{\"id\":1,\"\\u0069d\":2}", "duplicate-key", "duplicate-key" },
    { "{\"o\":{\"p\":1,\"p\":2}}", "duplicate-key", "duplicate-key" },
    { "{\"o\":{\"p\":1},\"o\":{}}", "duplicate-key", "duplicate-key" },
    { "{\"x\":1,\"x\":2}", "", "" },
    { "{\"id\":9223372036854775808}", "", "" },
    { "{\"id\":123456789012345678901234567890}", "", "" },
    { "{\"id\":1e400}", "", "" },
    { "{\"id\":\"\xff\"}", "encoding", "encoding" },
    { "{\"x\":\"\xc0\xaf\"}", "encoding", "encoding" },
    { "{\"x\":\"\xff, and then the line goes on for some blocks of 16\"}", "encoding", "encoding" },
    { "{\"x\":\"\xed\xa0\x80\"}", "encoding", "encoding" },
    { "{\"\xe2\x82\":1}", "encoding", "encoding" },
    { "{\"id\":\"\\ud800\"}", "encoding", "encoding" },
    { "{\"id\":\"\\udc00\\ud800\"}", "encoding", "encoding" },
    { "{\"x\":\"\\ud800\"}", "", "" },
    { "{\"id\":\"a\\u0000b\"}", "", "" },
    { "{\"x\":[1,],\"id\":1}", "json-syntax", "" },
    { "{\"x\":{\"a\" 1},\"id\":1}", "json-syntax", "" },
    { "{\"x\":[NaN]}", "json-syntax", "" },
    { "{\"x\":[1}}", "json-syntax", "json-syntax" },
    { "{\"x\":NaN}", "json-syntax", "json-syntax" },
    { "{\"x\":01}", "json-syntax", "json-syntax" },
    { "{\"x\":0,,}", "json-syntax", "json-syntax" },
    { "{\"x\":0,}", "json-syntax", "json-syntax" },
    { "{\"id\":tru}", "json-syntax", "json-syntax" },
    { "{\"id\":}", "json-syntax", "json-syntax" },
    { "{\"id\":1", "json-syntax", "json-syntax" },
    { "{\"id\"", "json-syntax", "json-syntax" },
    { "{\"id", "json-syntax", "json-syntax" },
    { "{\"id\":\"", "json-syntax", "json-syntax" },
    { "{\"id\":\"\\", "json-syntax", "json-syntax" },
    { "{", "json-syntax", "json-syntax" },
    { "{id:1}", "json-syntax", "json-syntax" },
    { "{'id':1}", "json-syntax", "json-syntax" },
    { "{\"id\":\"a\tb\"}", "json-syntax", "json-syntax" },
    { "{\"x\":\"a\x01\"}", "json-syntax", "json-syntax" },
    { "{\"id\":1} x", "json-syntax", "json-syntax" },
    { "{\"id\":1}{\"id\":2}", "json-syntax", "json-syntax" },
    { "{\"id\":1} {\"id\":2}", "json-syntax", "json-syntax" },
    { "[1]", "json-not-object", "json-not-object" },
    { "\"text\"", "json-not-object", "json-not-object" },
    { "1", "json-not-object", "json-not-object" },
    { "null", "json-not-object", "json-not-object" },
    { "nul", "json-syntax", "json-syntax" },
    { "id;name", "json-syntax", "json-syntax" },
    { "{\"o\":5}", "json-not-object", "" },
    { "{\"o\":[{\"p\":1}]}", "json-not-object", "" },
    { "{\"a\":{}}", "json-not-object", "" },
    { "{\"o\":null,\"a\":null}", "", "" },
};

TEST(jsonl, hostile_lines_are_refused_and_the_next_line_is_read)
{
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        for (int lax = 0; lax < 2; lax++) {
            struct buf text = { 0 };
            const char *want = lax ? hostile[i].lax : hostile[i].strict;
            struct setup s = { .columns = "id, o.p, a[0]",
                               .format = "jsonl",
                               .grammar = lax ? GRAMMAR_LAX : GRAMMAR_STRICT };
            buf_addf(&text, "{\"id\":\"before\"}\n%s\n{\"id\":\"after\"}\n", hostile[i].line);
            struct reading g = read_bytes(&s, buf_str(&text));
            CHECK_EQ(g.rc, 0);
            CHECK_EQ(strncmp(g.rows.p, "before|~|~;", 11), 0);
            CHECK_HAS(g.rows.p, ";after|~|~;");
            if (g.nrows != (*want ? 2 : 3) || g.nbad != (*want ? 1 : 0) ||
                strncmp(g.bad.p, want, strlen(want)) != 0)
                fail_msg("%s (%s): '%s', wanted '%s'", hostile[i].line, lax ? "lax" : "strict",
                         g.bad.p, want);
            if (*want)
                CHECK_HAS(g.bad.p, "@2+16");
            reading_clear(&g);
            buf_clear(&text);
        }
    }
}

TEST(jsonl, depth_is_64_where_it_is_checked_and_costs_nothing_where_it_is_not)
{
    static const int depths[] = { 63, 64, 1000, 200000 };
    for (size_t i = 0; i < COUNT_OF(depths); i++) {
        struct buf text = { 0 };
        buf_adds(&text, "{\"x\":");
        for (int d = 0; d < depths[i]; d++)
            buf_addc(&text, '[');
        for (int d = 0; d < depths[i]; d++)
            buf_addc(&text, ']');
        buf_adds(&text, ",\"id\":1}\n{\"id\":2}\n");
        struct reading g =
            read_bytes(&(struct setup){ .columns = "id", .format = "jsonl" }, buf_str(&text));
        CHECK_STR(g.rows.p, i == 0 ? "#1;#2;" : "#2;");
        CHECK_STR(g.bad.p, i == 0 ? "" : "json-depth@1+0;");
        reading_clear(&g);
        g = read_bytes(
            &(struct setup){ .columns = "id", .format = "jsonl", .grammar = GRAMMAR_LAX },
            buf_str(&text));
        CHECK_STR(g.rows.p, "#1;#2;");
        reading_clear(&g);
        buf_clear(&text);
    }
}

TEST(jsonl, wanted_depth_ends_at_64_too)
{
    struct buf path = { 0 }, text = { 0 };
    for (int i = 0; i < 63; i++) {
        buf_addf(&path, "%sa", i ? "." : "x from ");
        buf_adds(&text, "{\"a\":");
    }
    struct str head = buf_str(&text);
    struct setup s = { .columns = path.p, .format = "jsonl", .quiet = true };
    size_t n = head.n;
    for (int more = 0; more < 3; more++) {
        text.n = n;
        for (int i = 0; i < more; i++)
            buf_adds(&text, "[");
        for (int i = 0; i < more; i++)
            buf_adds(&text, "]");
        if (!more)
            buf_adds(&text, "1");
        for (int i = 0; i < 63; i++)
            buf_adds(&text, "}");
        struct reading g = read_bytes(&s, buf_str(&text));
        CHECK_EQ(g.nrows, more < 2);
        CHECK_EQ(g.nbad, more == 2);
        reading_clear(&g);
    }
    buf_adds(&path, ".a");
    struct reading g =
        read_bytes(&(struct setup){ .columns = path.p, .format = "jsonl" }, STR("{}"));
    CHECK_EQ(g.rc, -1);
    CHECK_EQ(g.err.code, ERR_CONFIG);
    reading_clear(&g);
    buf_clear(&path);
    buf_clear(&text);
}

TEST(jsonl, a_refusal_names_the_column_and_the_bytes)
{
    expect_lines("id, note", "{\"id\":1,\"note\":\"x\\ud800\"}\n", "",
                 "encoding@1+0:note=\\ud800;");
    expect_lines("a.b", "{\"a\":\"text\"}\n", "", "json-not-object@1+0:a_b=\"text\";");
    expect_lines("a, b", "{\"b\":1,\"b\":2}\n", "", "duplicate-key@1+0:b=\"b\";");
}

/* ---- lines ---- */

TEST(jsonl, blank_lines_crlf_and_a_missing_last_newline_are_fine)
{
    struct reading g = read_bytes(&(struct setup){ .columns = "a", .format = "jsonl" },
                                  STR("\n  \t\r\n{\"a\":1}\r\n\r\n {\"a\":2} \n\n{\"a\":3}"));
    CHECK_STR(g.rows.p, "#1;#2;#3;");
    CHECK_STR(g.places.p, "3+6:{\"a\":1};5+17: {\"a\":2} ;7+28:{\"a\":3};");
    reading_clear(&g);
    expect_lines("a", "", "", "");
    expect_lines("a", "\n\n", "", "");
    expect_lines("a", "\r", "", "");
}

TEST(jsonl, a_line_cut_off_at_the_end_is_a_reject)
{
    expect_lines("a", "{\"a\":1}\n{\"a\":2", "#1;", "json-syntax@2+8;");
}

TEST(jsonl, a_nul_byte_is_no_white_space)
{
    expect(&(struct setup){ .columns = "a", .format = "jsonl" },
           STR("{\"a\":1}\0\n{\"a\":\0 2}\n{\"a\":3}"), "#3;", "json-syntax@1+0;json-syntax@2+9;");
}

TEST(jsonl, batches_are_bounded_and_nothing_is_lost_between_them)
{
    struct buf text = { 0 };
    for (int i = 0; i < 5000; i++)
        buf_addf(&text, i % 10 == 3 ? "{\"id\":%d,}\n" : "{\"id\":%d,\"name\":\"n\\u00e4me\"}\n",
                 i);
    for (size_t step = 0; step < 8000; step = step * 3 + 1) {
        struct reading g = read_bytes(
            &(struct setup){
                .columns = "id, name", .format = "jsonl", .step = step, .quiet = true },
            buf_str(&text));
        CHECK_EQ(g.rc, 0);
        CHECK_EQ(g.nrows, 4500);
        CHECK_EQ(g.nbad, 500);
        CHECK(g.batches >= 5);
        reading_clear(&g);
    }
    buf_clear(&text);
}

TEST(jsonl, rows_that_straddle_the_window_are_whole)
{
    /* lines of all lengths around the window's size, so that its end falls on every kind of place
     */
    static const size_t lengths[] = { 100, 70000, 262100, 262144, 262145, 300000, 1000, 600000, 5 };
    struct buf text = { 0 };
    for (size_t round = 0; round < 3; round++)
        for (size_t i = 0; i < COUNT_OF(lengths); i++) {
            buf_adds(&text, "{\"s\":\"");
            for (size_t k = 0; k < lengths[i]; k++)
                buf_addc(&text, (char)('a' + k % 23));
            buf_addf(&text, "\",\"id\":%zu}\n", lengths[i]);
        }
    struct reading g =
        read_bytes(&(struct setup){ .columns = "id, s", .format = "jsonl" }, buf_str(&text));
    CHECK_EQ(g.rc, 0);
    CHECK_EQ(g.nrows, 3 * COUNT_OF(lengths));
    const char *p = g.rows.p;
    for (size_t i = 0; i < 3 * COUNT_OF(lengths); i++) {
        char *end;
        size_t n = lengths[i % COUNT_OF(lengths)];
        CHECK_EQ(strtoul(p + 1, &end, 10), n);
        for (size_t k = 0; k < n; k++)
            if (end[1 + k] != (char)('a' + k % 23))
                fail_msg("row %zu differs at byte %zu", i, k);
        CHECK_EQ(end[1 + n], ';');
        p = end + 2 + n;
    }
    reading_clear(&g);
    buf_clear(&text);
}

TEST(jsonl, a_line_that_is_too_long_is_one_reject)
{
    struct setup s = { .columns = "id", .format = "jsonl", .row_max = 20 };
    expect(&s,
           STR("{\"id\":1}\n{\"id\":2,\"x\":\"123456\"}\n{\"id\":3,\"x\":\"123\"}\r\n{\"id\":4}"),
           "#1;#3;#4;", "row-too-long@2+9;");
    struct buf text = { 0 };
    buf_adds(&text, "{\"id\":1}\n{\"id\":2,\"x\":\"");
    for (int i = 0; i < 3000000; i++)
        buf_addc(&text, 'x');
    buf_adds(&text, "\"}\n{\"id\":3}\n");
    s.row_max = 1000000;
    for (size_t step = 0; step < 100000; step += 50000) {
        s.step = step;
        struct reading g = read_bytes(&s, buf_str(&text));
        CHECK_STR(g.rows.p, "#1;#3;");
        CHECK_STR(g.bad.p, "row-too-long@2+9;");
        CHECK_HAS(g.places.p, "3+3000025:");
        CHECK(g.arena <= 128 * 1024); /* the row is not kept */
        reading_clear(&g);
    }
    text.n -= sizeof "\n{\"id\":3}\n" - 1; /* and as the last one */
    struct reading g = read_bytes(&s, buf_str(&text));
    CHECK_STR(g.rows.p, "#1;");
    CHECK_STR(g.bad.p, "row-too-long@2+9;");
    reading_clear(&g);
    buf_clear(&text);
}

TEST(jsonl, an_error_of_the_input_is_passed_on)
{
    struct reading g = read_bytes(
        &(struct setup){ .columns = "a", .format = "jsonl", .fails = true }, STR("{\"a\":1}\n"));
    CHECK_EQ(g.rc, -1);
    CHECK_EQ(g.err.code, ERR_FETCH);
    reading_clear(&g);
}

TEST(jsonl, a_wrong_path_is_a_config_error_that_shows_it)
{
    static const char *const wrong[] = {
        "a..b",  "a[",         "a[x]",           "a[-1]", "a[0",
        ".a",    "a.",         "a[0]b",          "a.[0]", "a[9999999999]",
        "\"\"a", "\"\"a\"\"b", "\"\"\\ud800\"\""
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char columns[80];
        snprintf(columns, sizeof columns, "x from \"%s\"", wrong[i]);
        struct reading g =
            read_bytes(&(struct setup){ .columns = columns, .format = "jsonl" }, STR("{}"));
        if (g.rc != -1 || g.err.code != ERR_CONFIG)
            fail_msg("path %s was taken", wrong[i]);
        CHECK_HAS(g.err.msg, "column 'x'");
        reading_clear(&g);
    }
    struct reading g = read_bytes(
        &(struct setup){ .columns = "x from a, y from [0]", .format = "jsonl" }, STR("{}"));
    CHECK_EQ(g.err.code, ERR_CONFIG);
    reading_clear(&g);
}

TEST(jsonl, a_key_added_to_a_path_is_read_back)
{
    static const char *const keys[] = { "a",           "odd.key", "",          "q\"uote",
                                        "back\\slash", "br[0]",   "new\nline", "Net Amount",
                                        "\xc3\xa9",    "\x7f",    "]" };
    struct arena a = { 0 };
    struct json_step steps[JSON_STEPS];
    struct err err;
    struct buf path = { 0 };
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        json_path_add(&path, str_of(keys[i]));
    CHECK_EQ(json_path_parse(path.p, steps, &a, &err), COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        CHECK(str_eq(steps[i].key, str_of(keys[i])));
    buf_clear(&path);
    arena_clear(&a);
}

/* ---- documents ---- */

static void expect_document(const char *records, const char *text, const char *rows,
                            const char *bad)
{
    expect(&(struct setup){ .columns = "a, b.c", .format = "json", .records = records },
           str_of(text), rows, bad);
}

TEST(json_document, an_array_of_objects_gives_a_row_each)
{
    expect_document(NULL, "[]", "", "");
    expect_document(NULL, " [ ] \n", "", "");
    expect_document(NULL, "", "", "");
    expect_document(NULL, "[{\"a\":1},\n {\n  \"a\": 2,\n  \"b\": { \"c\": \"]}\\\"\" }\n }\n]\n",
                    "#1|~;#2|]}\";", "");
}

TEST(json_document, objects_may_follow_each_other_and_span_lines)
{
    expect_document(NULL, "{\n \"a\": 1\n}\n{\n \"a\": 2\n}{\"a\":3}", "#1|~;#2|~;#3|~;", "");
    expect_document(NULL, "[{\"a\":1}]\n[{\"a\":2}]{\"a\":3}", "#1|~;#2|~;#3|~;", "");
}

TEST(json_document, places_are_the_line_and_byte_of_the_element)
{
    struct reading g = read_bytes(&(struct setup){ .columns = "a", .format = "json" },
                                  STR("[\n{\"a\":1},\n\n{\"a\"\n:2}\n,{\"a\":3,}, 7]"));
    CHECK_STR(g.places.p, "2+2:{\"a\":1};4+12:{\"a\"\n:2};");
    CHECK_STR(g.bad.p, "json-syntax@6+22;json-not-object@6+32;");
    reading_clear(&g);
}

TEST(json_document, a_bad_element_is_one_reject)
{
    expect_document(
        NULL,
        "[{\"a\":1},{\"a\" 2},{\"a\":\"\xff\"},null,{\"a\":1,\"a\":2},\"x\",[],tru,{\"a\":9}]",
        "#1|~;#9|~;",
        "json-syntax@1+9;encoding@1+17;json-not-object@1+27;duplicate-key@1+32:a=\"a\";json-not-"
        "object@1+46;"
        "json-not-object@1+50;json-syntax@1+53;");
}

TEST(json_document, a_backslash_escapes_only_inside_of_texts)
{
    expect_document(NULL, "[{\"a\":1},[\\],{\"a\":\"]\\\"}\"}]", "#1|~;]\"}|~;",
                    "json-syntax@1+9;");
}

TEST(json_document, brackets_are_found_over_any_pieces)
{
    static const char text[] =
        "{\"a\\\"}\":\"\\\\\",\"b\":[1,\"]\",{\"x\":\"long enough for a block \\\\\\\"\"}]}}]";
    const size_t whole = sizeof text - 3;
    const char *wrong;
    for (size_t first = 1; first <= whole; first++)
        for (size_t second = first; second <= whole; second++) {
            struct json_brackets b = { 0 };
            const char *end = json_brackets_end(&b, text, text + first, &wrong);
            if (!end)
                end = json_brackets_end(&b, text + first, text + second, &wrong);
            if (!end)
                end = json_brackets_end(&b, text + second, text + sizeof text - 1, &wrong);
            CHECK(!wrong);
            CHECK_EQ(end - text, whole);
        }
}

TEST(json_document, records_lead_to_the_array)
{
    const char *text = "{\"meta\":{\"n\":[2,\"]\"]},\"data\":{\"x\":1,\"items\":[{\"a\":1},{\"a\":"
                       "2}],\"y\":{}},\"z\":[{\"a\":3}]}";
    expect_document("data.items", text, "#1|~;#2|~;", "");
    expect_document("z", text, "#3|~;", "");
    expect_document("\"z\"", text, "#3|~;", "");
    expect_document("[1].r", "[{\"r\":[{\"a\":0}]},{\"r\":[{\"a\":1}]},3]", "#1|~;", "");
    expect_document("r", "{\"r\":[{\"a\":1}]}\n{\"r\":[]}\n{\"q\":0,\"r\":[{\"a\":2}]}\n",
                    "#1|~;#2|~;", "");
    expect_document("\"\\u0072\"", "{\"r\":[{\"a\":1}]}", "#1|~;", "");
    expect_document("r", "{\"\\u0072\":[{\"a\":1}]}", "#1|~;", "");
}

TEST(json_document, a_broken_document_is_an_error_with_its_place)
{
    static const struct {
        const char *records, *text;
        enum err_code code;
        const char *part;
    } wrong[] = {
        { NULL, "[{\"a\":1}\n", ERR_TRUNCATED, "begins on line 1" },
        { NULL, "\n[", ERR_TRUNCATED, "begins on line 2" },
        { NULL, "[{\"a\":1},", ERR_TRUNCATED, "not closed" },
        { NULL, "[{\"a\":1", ERR_TRUNCATED, "not closed" },
        { NULL, "[{\"a\":\"1", ERR_TRUNCATED, "not closed" },
        { NULL, "{\"a\":1", ERR_TRUNCATED, "not closed" },
        { NULL, "[{\"a\":1},\n]", ERR_FORMAT, "line 2, byte 10: a value was expected" },
        { NULL, "[,{}]", ERR_FORMAT, "byte 1:" },
        { NULL, "[{} {}]", ERR_FORMAT, "a comma or ]" },
        { NULL, "[{}}", ERR_FORMAT, "a comma or ]" },
        { NULL, "[\n{\"a\":[1}}]", ERR_FORMAT, "line 2, byte 9: this bracket" },
        { NULL, "[{}] x", ERR_FORMAT, "an object or an array" },
        { NULL, "7", ERR_FORMAT, "an object or an array" },
        { NULL, "<html>", ERR_FORMAT, "an object or an array" },
        { "r", "{\"q\":[]}", ERR_FORMAT, "no value where records" },
        { "r", "{}", ERR_FORMAT, "no value where records" },
        { "r", "[]", ERR_FORMAT, "does not lead through here" },
        { "r", "{\"r\":{}}", ERR_FORMAT, "no array" },
        { "r.s", "{\"r\":5}", ERR_FORMAT, "does not lead through here" },
        { "r", "{\"r\":[],\"r\":[]}", ERR_FORMAT, "twice" },
        { "r", "{\"r\":[]", ERR_TRUNCATED, "not closed" },
        { "r", "{\"q\":1", ERR_TRUNCATED, "not closed" },
        { "r", "{\"q\" 1}", ERR_FORMAT, "a colon" },
        { "r", "{q:1}", ERR_FORMAT, "a key in quotes" },
        { "r", "{\"\\x\":1}", ERR_FORMAT, "backslash" },
        { "r", "{\"q\":1 \"r\":[]}", ERR_FORMAT, "a comma or }" },
        { "r", "{\"q\":1;}", ERR_FORMAT, "nothing may follow" },
        { "r", "{\"q\":01}", ERR_FORMAT, "line 1, byte 5: a number" },
        { "r", "{\"q\":}", ERR_FORMAT, "a value was expected" },
        { "r.", "{}", ERR_CONFIG, "records" },
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        for (size_t step = 0; step < 3; step++) {
            struct reading g = read_bytes(
                &(struct setup){
                    .columns = "a", .format = "json", .records = wrong[i].records, .step = step },
                str_of(wrong[i].text));
            if (g.rc != -1 || g.err.code != wrong[i].code)
                fail_msg("%s: %d %s", wrong[i].text, g.rc, g.err.msg);
            CHECK_HAS(g.err.msg, wrong[i].part);
            reading_clear(&g);
        }
}

TEST(json_document, elements_stream_through_a_small_window)
{
    struct buf text = { 0 };
    buf_adds(&text, "{\"skip\":[\"");
    for (int i = 0; i < 600000; i++)
        buf_addc(&text, 's');
    buf_adds(&text, "\"],\"r\":[");
    for (int i = 0; i < 30000; i++)
        buf_addf(&text, "%s{\n  \"id\": %d,\n  \"s\": \"%0*d\"\n}", i ? "," : "", i, i % 200 + 1,
                 i);
    buf_adds(&text, "],\"end\":\"");
    for (int i = 0; i < 600000; i++)
        buf_addc(&text, 'e');
    buf_adds(&text, "\"}");
    struct setup s = {
        .columns = "id, s", .format = "json", .records = "r", .row_max = 5000, .quiet = true
    };
    for (s.step = 0; s.step < 10000; s.step = s.step * 2 + 1500) {
        struct reading g = read_bytes(&s, buf_str(&text));
        CHECK_EQ(g.rc, 0);
        CHECK_EQ(g.nrows, 30000);
        CHECK_EQ(g.nbad, 0);
        reading_clear(&g);
    }
    buf_clear(&text);
}

TEST(json_document, an_element_that_is_too_long_is_one_reject)
{
    struct buf text = { 0 };
    buf_adds(&text, "[{\"a\":1},{\"a\":\n\"");
    for (int i = 0; i < 900000; i++)
        buf_addc(&text, i % 7 ? 'x' : '\\'); /* pairs of a backslash and what it escapes */
    buf_adds(&text, "\"},\n{\"a\":3},\"");
    for (int i = 0; i < 900000; i++)
        buf_addc(&text, 'y');
    buf_adds(&text, "\",{\"a\":4}]");
    for (size_t step = 0; step < 100000; step += 33333) {
        struct reading g = read_bytes(
            &(struct setup){ .columns = "a", .format = "json", .row_max = 1000, .step = step },
            buf_str(&text));
        CHECK_EQ(g.rc, 0);
        CHECK_STR(g.rows.p, "#1;#3;#4;");
        CHECK_STR(g.bad.p, "row-too-long@1+9;row-too-long@3+900028;");
        reading_clear(&g);
    }
    buf_clear(&text);
}

/* ---- which of the two ---- */

TEST(jsonl, one_object_around_the_rows_tells_of_records)
{
    static const struct {
        const char *text, *path; /* NULL: read as a row */
    } cases[] = {
        { "{\"n\":2,\"items\":[{\"a\":1},{\"a\":2}]}\n", "records = items " },
        { "{\n\"data\":{\"orders\":[{\"a\":1}]}\n}\n", "records = data.orders " },
        { "{\"a\":0,\"items\":[{\"a\":1}]}", NULL },
        { "{\"items\":[1,2]}", NULL },
        { "{\"items\":[]}", NULL },
        { "{\"items\":[{\"a\":1}]}\n{\"a\":2}\n", NULL },
        { "{\"a\":2}\n{\"items\":[{\"a\":1}]}\n", NULL },
        { "[{\"items\":[{\"a\":1}]}]", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t pieces = 0; pieces < 3; pieces++) {
            struct reading g = read_bytes(&(struct setup){ .columns = "a", .step = pieces },
                                          str_of(cases[i].text));
            CHECK_EQ(g.rc, cases[i].path ? -1 : 0);
            CHECK_EQ(g.nbad, 0);
            if (cases[i].path) {
                CHECK_EQ(g.nrows, 0);
                CHECK_EQ(g.err.code, ERR_FORMAT);
                CHECK_HAS(g.err.msg, cases[i].path);
            }
            reading_clear(&g);
        }
}

TEST(jsonl, auto_tells_lines_from_documents)
{
    static const struct {
        const char *text, *rows;
    } cases[] = {
        { "{\"a\":1}\n{\"a\":2}\n", "#1;#2;" },          { "\n {\"a\":1}", "#1;" },
        { "{\"a\":1}\n{\"a\":\n{\"a\":2}\n", "#1;#2;" }, /* lines: the second is a reject */
        { "[{\"a\":1},{\"a\":2}]", "#1;#2;" },           { "[\n{\"a\":1}\n]\n", "#1;" },
        { "{\n\"a\":1\n}\n{\n\"a\":2}", "#1;#2;" },      { "{\"b\":\"}\",\n\"a\":1}", "#1;" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int named = 0; named < 2; named++) {
            struct reading g =
                read_bytes(&(struct setup){ .columns = "a", .format = named ? "auto" : NULL },
                           str_of(cases[i].text));
            CHECK_EQ(g.rc, 0);
            CHECK_STR(g.rows.p, cases[i].rows);
            reading_clear(&g);
        }
}

TEST(jsonl, bids_on_what_looks_like_json)
{
    static const struct {
        const char *head;
        int least, most;
    } heads[] = {
        { "{\"a\":1}", 90, 100 }, { "  {\n \"a\"", 90, 100 },
        { "[{\"a\"", 90, 100 },   { "[ ]", 90, 100 },
        { "{}", 90, 100 },        { "", 0, 0 },
        { "a,b\n", 0, 0 },        { "{a}", 0, 0 },
        { "[x],y", 0, 40 },
    };
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        int bid = format_jsonl.bid(str_of(heads[i].head));
        if (bid < heads[i].least || bid > heads[i].most)
            fail_msg("%s: %d", heads[i].head, bid);
    }
}

/* ---- the fast scanner against the plain one ---- */

static unsigned next_random(unsigned *seed)
{
    return (*seed = *seed * 1664525 + 1013904223) >> 8;
}

static void random_value(struct buf *b, unsigned *seed, int depth);

static void random_object(struct buf *b, unsigned *seed, int depth)
{
    static const char *const keys[] = {
        "id", "o", "p", "q", "a", "x", "s", "\\u0069d", "unknown", "a key of more than 16 bytes"
    };
    unsigned n = next_random(seed) % 6;
    buf_addc(b, '{');
    for (unsigned i = 0; i < n; i++) {
        buf_addf(b, "%s\"%s\"%s:%s", i ? "," : "", keys[next_random(seed) % COUNT_OF(keys)],
                 next_random(seed) % 9 ? "" : " ", next_random(seed) % 9 ? "" : "\t");
        random_value(b, seed, depth + 1);
    }
    buf_addc(b, '}');
}

static void random_value(struct buf *b, unsigned *seed, int depth)
{
    static const char *const scalars[] = { "1",
                                           "-2.5e3",
                                           "null",
                                           "null",
                                           "true",
                                           "false",
                                           "\"\"",
                                           "\"text\"",
                                           "\"\\u00e9\\n\"",
                                           "\"a longer text, of more than 16 bytes\"",
                                           "\"\xc3\xa9\"",
                                           "\"\\ud800\"" };
    unsigned pick = next_random(seed) % 8;
    if (pick < 3 || depth > 4) {
        buf_adds(b, scalars[next_random(seed) % COUNT_OF(scalars)]);
    } else if (pick < 6) {
        random_object(b, seed, depth);
    } else {
        buf_addc(b, '[');
        for (unsigned i = 0, n = next_random(seed) % 4; i < n; i++) {
            buf_adds(b, i ? ", " : "");
            random_value(b, seed, depth + 1);
        }
        buf_addc(b, ']');
    }
}

TEST(jsonl, the_fast_scanner_agrees_with_the_plain_one_on_any_text)
{
    static const char bytes[] = "{}[]\",:\\ 0-.e\x01\xff\xc3ut";
    struct columns c;
    struct err err;
    struct json_row *row;
    struct buf text = { 0 };
    unsigned seed = 42, taken = 0, rounds = 60000;
    CHECK_OK(columns_parse(&c, "id, o.p, o.q, o, a[0], a[2].x, s", &err), err);
    CHECK_OK(json_row_open(&row, &c, GRAMMAR_STRICT, &err), err);
    for (unsigned round = 0; round < rounds; round++) {
        buf_reset(&text);
        random_object(&text, &seed, 0);
        if (round % 3 == 0) /* break it: a byte changed, or cut */
            text.p[next_random(&seed) % text.n] = bytes[next_random(&seed) % (sizeof bytes - 1)];
        if (round % 12 == 0)
            text.n = next_random(&seed) % text.n;
        taken += plain_compare(row, &c, buf_str(&text));
    }
    CHECK(taken > rounds / 4 && taken < rounds * 3 / 4); /* both ways were gone often */
    json_row_close(row);
    columns_clear(&c);
    buf_clear(&text);
}

/* ---- doc/json.md ---- */

static void show_as_in_doc(struct buf *out, const struct batch *b)
{
    for (uint32_t row = 0; row < b->rows; row++)
        for (uint32_t col = 0; col < b->cols; col++) {
            const struct field *f = &b->fields[row * b->cols + col];
            buf_adds(out, col ? " | " : "");
            if (f->kind == FIELD_ABSENT || f->kind == FIELD_NULL)
                buf_adds(out, "(null)");
            else
                buf_add(out, f->p, f->n);
            buf_adds(out, col + 1 == b->cols ? ";" : "");
        }
    for (uint32_t i = 0; i < b->nbad; i++)
        buf_addf(out, "%s@%d;", reject_name(b->bad[i].reason), (int)b->bad[i].place.line);
}

TEST(jsonl, the_examples_of_doc_json_md_are_true)
{
    FILE *page = doc_open("json.md");
    struct doc_example e;
    int n = 0;
    if (!page)
        skip(); /* run by hand, away from the source */
    for (; doc_next(page, "example", &e); n++) {
        struct memory_input in = { .input = { .read = memory_read, .size = -1 },
                                   .p = e.input.p,
                                   .n = e.input.n };
        struct recipe recipe = { .format = *e.format ? e.format : NULL,
                                 .records = *e.records ? e.records : NULL,
                                 .grammar = e.lax ? GRAMMAR_LAX : GRAMMAR_STRICT };
        struct columns c;
        struct batch b;
        struct reader *r;
        struct buf got = { 0 };
        struct err err;
        CHECK_OK(columns_parse(&c, e.columns, &err), err);
        CHECK_OK(batch_init(&b, (uint32_t)c.n, &err), err);
        CHECK_OK(format_jsonl.open(&r, &recipe, &c, &in.input, ROW_MAX, &err), err);
        int rc;
        while ((rc = format_jsonl.next(r, &b, &err)) == 1)
            show_as_in_doc(&got, &b);
        CHECK_OK(rc, err);
        CHECK_STR(got.p, e.expected.p);
        format_jsonl.close(r);
        batch_clear(&b);
        columns_clear(&c);
        buf_clear(&got);
        doc_clear(&e);
    }
    doc_clear(&e);
    fclose(page);
    CHECK_EQ(n, 7);
}

/* "path=first byte, ...; columns that were seen" */
static void names_are(const char *columns, const char *text, enum json_grammar grammar, const char *want)
{
    struct recipe recipe = { .format = (char *)"jsonl", .grammar = grammar };
    struct memory_input in = { .input = { .read = memory_read, .size = -1 }, .p = text, .n = strlen(text) };
    struct columns c;
    struct batch b;
    struct reader *r;
    struct format_names names;
    AUTO(buf_clear) struct buf is = { 0 };
    struct err err;
    CHECK_OK(columns_parse(&c, columns, &err), err);
    CHECK_OK(batch_init(&b, (uint32_t)c.n, &err), err);
    CHECK_OK(format_jsonl.open(&r, &recipe, &c, &in.input, ROW_MAX, &err), err);
    while (format_jsonl.next(r, &b, &err) == 1)
        ;
    CHECK_EQ(format_jsonl.names(r, &names, &err), 1);
    CHECK(!names.ordered);
    for (int i = 0; i < names.n; i++)
        buf_addf(&is, "%s%.*s=%c", i ? ", " : "", (int)names.v[i].name.n, names.v[i].name.p, names.v[i].first);
    buf_addc(&is, ';');
    for (int i = 0; i < c.n; i++)
        if (names.present[i])
            buf_addf(&is, " %s", c.v[i].name);
    CHECK_STR(is.p, want);
    format_jsonl.close(r);
    batch_clear(&b);
    columns_clear(&c);
}

TEST(jsonl, the_names_of_a_member_are_told_with_their_paths)
{
    names_are("id, name", "", GRAMMAR_STRICT, ";");
    names_are("id, name", "{\"id\":1,\"x\":\"a\"}\n{\"id\":2,\"x\":{},\"y\" : [1]}\n", GRAMMAR_STRICT, "x=\", y=[; id");
    names_are("id, at.day, items[1].price", "{\"at\":{\"day\":null,\"a.b\":{\"c\":1}},\"items\":[{\"q\":1},{\"price\":2,\"sku\":3}]}\n", GRAMMAR_LAX,
              "at.\"a.b\"={, items[1].sku=3; at_day items_1_price");
    names_are("a from [0], b from [2].x", "[1,2]\n[1,2,{\"y\":true,\"\\u0078\":1}]\n", GRAMMAR_STRICT, "[2].y=t; a b");
    names_are("id, also from id", "{\"\\u0069d\":1,\"\\ud800\":2,\"\":null}\n", GRAMMAR_STRICT, "\"\"=n; id also");
}

TEST(jsonl, what_is_in_no_row_takes_no_key)
{
    names_are("id, a from _source, b from _param.x", "{\"id\":1,\"_source\":\"web\",\"_param\":3}\n", GRAMMAR_STRICT, "_source=\", _param=3; id");
    names_are("a from \"_source\", b from \"_param.x\"", "{\"_source\":\"web\",\"_param\":{\"x\":3}}\n", GRAMMAR_STRICT, "; a b");
    names_are("a from [0], n:integer from _line", "[1,2]\n", GRAMMAR_STRICT, "; a"); /* rows are arrays */
}

TEST(jsonl, names_are_bounded)
{
    AUTO(buf_clear) struct buf text = { 0 };
    struct recipe recipe = { .format = (char *)"jsonl" };
    struct columns c;
    struct batch b;
    struct reader *r;
    struct format_names names;
    struct err err;
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, "%s\"k%d\":%d", i ? "," : "{", i, i);
    buf_addf(&text, ",\"%0300d\":1}\n", 0);
    struct memory_input in = { .input = { .read = memory_read, .size = -1 }, .p = text.p, .n = text.n };
    CHECK_OK(columns_parse(&c, "id", &err), err);
    CHECK_OK(batch_init(&b, 1, &err), err);
    CHECK_OK(format_jsonl.open(&r, &recipe, &c, &in.input, ROW_MAX, &err), err);
    CHECK_EQ(format_jsonl.next(r, &b, &err), 1);
    CHECK_EQ(format_jsonl.names(r, &names, &err), 1);
    CHECK_EQ(names.n, 256);
    CHECK_SLICE(names.v[255].name, "k255");
    format_jsonl.close(r);
    batch_clear(&b);
    columns_clear(&c);
}
