#include "io/row.h"

#include "test.h"

static struct columns parsed(const char *text)
{
    struct err err = { 0 };
    struct columns c = { 0 };
    CHECK_OK(columns_parse(&c, text, &err), err);
    return c;
}

static void refused(const char *text, const char *says)
{
    struct err err = { 0 };
    struct columns c = { 0 };
    CHECK_EQ(columns_parse(&c, text, &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_HAS(err.msg, says);
    CHECK_EQ(c.n, 0);
    CHECK(!c.v);
}

TEST(row, columns_are_read_with_types_flags_and_sources)
{
    struct columns c =
        parsed("id:integer!, placed:timestamp(%d.%m.%Y, %H:%M), customer.name:text?,\n"
               "\ttotal : decimal(2) from \"Net \"\"A\"\" (x), y\" , note, items[0].price:REAL,");
    CHECK_EQ(c.n, 6);
    CHECK_STR(c.v[0].name, "id");
    CHECK_STR(c.v[0].from, "id");
    CHECK_EQ(c.v[0].type, TYPE_INTEGER);
    CHECK(c.v[0].required && !c.v[0].optional);
    CHECK_EQ(c.v[1].type, TYPE_TIMESTAMP);
    CHECK_STR(c.v[1].format, "%d.%m.%Y, %H:%M");
    CHECK(!c.v[1].required && !c.v[1].optional);
    CHECK_STR(c.v[2].name, "customer_name");
    CHECK_STR(c.v[2].from, "customer.name");
    CHECK(c.v[2].optional && !c.v[2].required);
    CHECK_EQ(c.v[3].type, TYPE_DECIMAL);
    CHECK_EQ(c.v[3].scale, 2);
    CHECK_STR(c.v[3].from, "Net \"A\" (x), y");
    CHECK_EQ(c.v[4].type, TYPE_TEXT);
    CHECK(!c.v[4].format);
    CHECK_STR(c.v[5].name, "items_0_price");
    CHECK_STR(c.v[5].from, "items[0].price");
    CHECK_EQ(c.v[5].type, TYPE_REAL);
    columns_clear(&c);
    CHECK(!c.v && !c.n);
}

TEST(row, a_format_may_hold_brackets_that_close)
{
    struct columns c = parsed("a:date(%d(%m)%Y), b:date(\"%Y)\")");
    CHECK_STR(c.v[0].format, "%d(%m)%Y");
    CHECK_STR(c.v[1].format, "%Y)");
    columns_clear(&c);
}

TEST(row, a_name_of_signs_only_keeps_itself)
{
    struct columns c = parsed("\"..\", a., [b]");
    CHECK_STR(c.v[0].name, "..");
    CHECK_STR(c.v[1].name, "a");
    CHECK_STR(c.v[1].from, "a.");
    CHECK_STR(c.v[2].name, "b");
    columns_clear(&c);
}

TEST(row, a_bad_columns_text_is_refused_with_its_place)
{
    refused("", "no columns");
    refused(" \n", "no columns");
    refused("id:interger", "did you mean 'integer'");
    refused("id:int", "did you mean 'integer'");
    refused("id:varchar2", "text, integer");
    refused("a:date(%d.%m)", "no year");
    refused("a:timestamp(%Y %I)", "%I");
    refused("a, b:, c", "column 2");
    refused("a,,b", "column 2: a name was expected");
    refused("a b", "comma was expected at 'b'");
    refused("a:decimal", "decimal(2)");
    refused("a:decimal(19)", "0 to 18");
    refused("a:decimal(-1)", "0 to 18");
    refused("a:integer(4)", "integer takes nothing");
    refused("a:date(%d.%m.%K)", "'%K'");
    refused("a:date(%d", "never closed");
    refused("a:date(\"%d", "never closed");
    refused("\"a", "never closed");
    refused("\"a\nb\"", "control character");
    refused("\"a\xff\"", "not UTF-8");
    refused("id, x, ID:text", "'ID' is there twice");
    refused("a.b, a_b", "'a_b' is there twice");
    refused("a:text!?", "exclude each other");
    refused("a from", "comma was expected");
    refused("a from , b", "a name was expected");
    AUTO(buf_clear) struct buf many = { 0 };
    for (int i = 0; i < 2001; i++)
        buf_addf(&many, "c%d,", i);
    refused(many.p, "more than 2000 columns");
}

TEST(row, timestamps_have_the_digits_of_a_second_that_are_given_or_read)
{
    struct columns c = parsed("a:timestamp, b:timestamp(0), c:timestamp(3), d:timestamp(6), e:timestamp(%Y-%m-%d %H:%M:%S), f:timestamp(%s.%f),"
                              " g:timestamp(%Q), h:timestamp(%Y%%f)");
    static const int digits[] = { 6, 0, 3, 6, 0, 6, 3, 0 };
    CHECK_EQ(c.n, (int)COUNT_OF(digits));
    for (int i = 0; i < c.n; i++)
        CHECK_EQ(column_second_digits(&c.v[i]), digits[i]);
    CHECK_EQ(c.v[2].unit, 1000);
    columns_clear(&c);
    refused("a:timestamp(7)", "no year");
    refused("a:date(3)", "no year");
}

TEST(row, printed_columns_read_back_the_same)
{
    static const char text[] =
        "id:integer!, \"two words\":text?, items[0].price:decimal(4), "
        "d:date(\"%d(%m)%Y\"), t:timestamp(%Y, %H) from \"a, \"\"b\"\"\", x.y:json from z, "
        "\"from\":boolean, r:real, ms:timestamp(3), us:timestamp(6)";
    struct columns a = parsed(text);
    AUTO(buf_clear) struct buf once = { 0 }, twice = { 0 };
    columns_print(&a, &once);
    struct columns b = parsed(once.p);
    columns_print(&b, &twice);
    CHECK_STR(once.p, twice.p);
    CHECK_EQ(a.n, b.n);
    for (int i = 0; i < a.n; i++) {
        CHECK_STR(a.v[i].name, b.v[i].name);
        CHECK_STR(a.v[i].from, b.v[i].from);
        CHECK_EQ(a.v[i].type, b.v[i].type);
        CHECK_EQ(a.v[i].scale, b.v[i].scale);
        CHECK_EQ(a.v[i].unit, b.v[i].unit);
        CHECK_EQ(a.v[i].required, b.v[i].required);
        CHECK_EQ(a.v[i].optional, b.v[i].optional);
        CHECK_EQ(!a.v[i].format, !b.v[i].format);
        if (a.v[i].format)
            CHECK_STR(a.v[i].format, b.v[i].format);
    }
    CHECK_STR(a.v[5].name, "x.y");
    columns_clear(&a);
    columns_clear(&b);
}

/* What each column of the text takes: "source" in quotes is a name of the file. */
static const char *sources(const char *text, struct buf *is)
{
    static const char *const kinds[] = { "file", "source", "member", "line", "job", "param" };
    struct columns c = parsed(text);
    AUTO(buf_clear) struct buf printed = { 0 };
    columns_print(&c, &printed);
    CHECK_STR(printed.p, text);
    for (int i = 0; i < c.n; i++)
        buf_addf(is, "%s%s=%s", i ? " " : "", c.v[i].name, c.v[i].param ? c.v[i].param : kinds[c.v[i].builtin]);
    columns_clear(&c);
    return is->p;
}

TEST(row, a_source_in_quotes_is_a_name_of_the_file)
{
    AUTO(buf_clear) struct buf is = { 0 };
    CHECK_STR(sources("_source:text?, \"_line\":integer!, a:text? from _job, b:text from \"_job\", c:text from \"_param.x\", _param.day:date?, "
                      "d:text? from _param.\"a \"\"b\"\", c\", e:text from _param., f:text from _Job, _member:text from g", &is),
              "_source=source _line=file a=job b=file c=file _param_day=day d=a \"b\", c e=file f=file _member=file");
    refused("a from _param.\"x", "never closed");
    refused("a from _job\"x\"", "comma was expected");
}

TEST(row, columns_are_found_whatever_their_case)
{
    struct columns c = parsed("id, Customer.Name");
    CHECK_EQ(columns_find(&c, STR("CUSTOMER_NAME")), 1);
    CHECK_EQ(columns_find(&c, STR("Id")), 0);
    CHECK_EQ(columns_find(&c, STR("i")), -1);
    columns_clear(&c);
}

TEST(row, every_type_and_reason_has_a_name_of_its_own)
{
    for (int t = 0; t < TYPES; t++)
        CHECK(type_name((enum type)t) && *type_name((enum type)t));
    for (int r = 0; r < REJECT_REASONS; r++) {
        CHECK(reject_name((enum reject_reason)r) && *reject_text((enum reject_reason)r));
        for (int q = 0; q < r; q++)
            CHECK(strcmp(reject_name((enum reject_reason)r), reject_name((enum reject_reason)q)));
    }
}

TEST(row, a_batch_has_room_for_all_its_rows_and_keeps_its_memory)
{
    struct err err = { 0 };
    struct batch b;
    CHECK_OK(batch_init(&b, 3, &err), err);
    CHECK_EQ(b.rows, 0);
    memset(b.fields, 1, BATCH_ROWS * 3 * sizeof *b.fields);
    memset(b.places, 1, BATCH_ROWS * sizeof *b.places);
    memset(b.bad, 1, BATCH_ROWS * sizeof *b.bad);
    b.rows = 5;
    b.nbad = 2;
    CHECK_EQ(batch_read(&b), 7);
    char *first = arena_alloc(&b.arena, 100);
    CHECK(first);
    batch_reset(&b);
    CHECK_EQ(batch_read(&b), 0);
    CHECK(arena_alloc(&b.arena, 100) == first);
    batch_clear(&b);
    CHECK(!b.fields);
}

TEST(rows, that_are_kept_move_together_with_their_places)
{
    struct value values[8] = { { .i = 10 }, { .i = 11 }, { .i = 20 }, { .i = 21 }, { .i = 30 }, { .i = 31 }, { .i = 40 }, { .i = 41 } };
    struct place at[4] = { { .line = 1 }, { .line = 2 }, { .line = 3 }, { .line = 4 } };
    const struct place *places[4] = { &at[0], &at[1], &at[2], &at[3] };
    struct rows rows = { .n = 4, .cols = 2, .values = values, .places = places };
    CHECK_EQ(rows_keep(&rows, (bool[4]){ false, true, false, true }), 2);
    CHECK_EQ(rows.n, 2);
    CHECK_EQ(rows.values[0].i, 20);
    CHECK_EQ(rows.values[1].i, 21);
    CHECK_EQ(rows.values[2].i, 40);
    CHECK_EQ(rows.places[0]->line, 2);
    CHECK_EQ(rows.places[1]->line, 4);
    CHECK_EQ(rows_keep(&rows, (bool[2]){ true, true }), 0);
    CHECK_EQ(rows.n, 2);
}
