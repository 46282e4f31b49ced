/* Columns from data: what is found, and that loading the same data with it refuses nothing. */
#include "test.h"

#include "cut_input.h"
#include "doc_example.h"
#include "read/cast.h"
#include "read/format.h"
#include "read/infer.h"

static const struct recipe plain = {
    .format = (char *)"auto", .quote = '"', .header = true, .nnulls = -1, .max_rejects = { -1, -1 }
};

static struct inferred infer(const struct recipe *recipe, struct str text, int64_t max_bytes)
{
    struct cut_input in = cut_of(text, 0);
    struct inferred out;
    struct err err;
    CHECK_OK(infer_member(&out, recipe, &in.in, max_bytes, &err), err);
    return out;
}

static struct err infer_fails(const struct recipe *recipe, struct str text, int64_t max_bytes)
{
    struct cut_input in = cut_of(text, 0);
    struct inferred out;
    struct err err = { 0 };
    if (infer_member(&out, recipe, &in.in, max_bytes, &err) == 0)
        fail_msg("'%.*s' gave '%s'", (int)text.n, text.p, out.columns);
    return err;
}

/* Load text with columns; the number of rows, and of those the format or cast refused. */
static void load(const struct recipe *recipe, const char *columns_text, struct str text,
                 uint64_t *rows, uint64_t *bad)
{
    struct cut_input in = cut_of(text, 7);
    struct columns columns;
    struct batch batch;
    struct cast *cast;
    struct reader *r;
    struct rows typed;
    struct rejects rejects;
    struct stage stage = { .inline_max = SIZE_MAX };
    struct err err;
    int rc;
    CHECK_OK(columns_parse(&columns, columns_text, &err), err);
    CHECK_OK(batch_init(&batch, (uint32_t)columns.n, &err), err);
    CHECK_OK(cast_open(&cast, recipe, &columns, &err), err);
    rejects_init(&rejects, &stage, 0, (struct reject_limit){ -1, -1 });
    const struct format *format = format_pick(recipe, text, &err);
    CHECK(format);
    CHECK_OK(format->open(&r, recipe, &columns, &in.in, 1 << 20, &err), err);
    *rows = 0;
    while ((rc = format->next(r, &batch, &err)) == 1) {
        *rows += batch_read(&batch);
        CHECK_OK(cast_batch(cast, &batch, &typed, &rejects, &err), err);
    }
    CHECK_OK(rc, err);
    *bad = (uint64_t)rejects.count;
    if (*bad)
        fail_msg("%s\nloaded with: %s\nrefused: %s", rejects.first, columns_text, text.p);
    format->close(r);
    rejects_clear(&rejects);
    cast_close(cast);
    batch_clear(&batch);
    columns_clear(&columns);
}

static void expect(const struct recipe *recipe, const char *text, const char *columns)
{
    uint64_t rows, bad;
    struct inferred got = infer(recipe, str_of(text), 0);
    CHECK_STR(got.columns, columns);
    CHECK(got.whole);
    CHECK_EQ(got.bytes, strlen(text));
    load(recipe, got.columns, str_of(text), &rows, &bad);
    CHECK_EQ(rows, got.rows);
    inferred_clear(&got);
}

/* ---- CSV ---- */

TEST(infer, csv_names_come_from_the_header_and_types_from_all_values)
{
    expect(&plain,
           "id,name,price,rate,when,day,ok,doc,none\n"
           "1,Ann,1.5,1e3,2024-01-01T10:00:00Z,2024-01-01,true,\"{\"\"a\"\":1}\",\n"
           "22,Bob,10.25,2,2024-01-02 11:30,2024-02-29,false,[],\n",
           "id:integer!, name:text!, price:decimal(2)!, rate:real!, when:timestamp!, day:date!, "
           "ok:boolean!, doc:json!, none:text");
}

/* One column; its type as it is printed. */
static const struct {
    const char *values, *type;
} columns_of_one[] = {
    { "0\n1\n", "integer!" },
    { "-5\n9223372036854775807\n", "integer!" },
    { "-9223372036854775808\n-0\n", "integer!" },
    { "9223372036854775808\n", "text!" },
    { "12345678901234567890123\n", "text!" },
    { "007\n12\n", "text!" },
    { "00.5\n", "text!" },
    { "+49301234\n", "text!" },
    { "0.5\n-0.25\n10\n", "decimal(2)!" },
    { "1.50\n", "decimal(2)!" },
    { "123456789012.123456\n", "decimal(6)!" },
    { "1234567890123.1234567\n", "text!" },
    { "1.5\n1234567890123456789\n", "text!" },
    { "0.12345678901234567\n", "decimal(17)!" },
    { "10.1234567890123456\n123456.5\n", "text!" },
    { "1e5\n2.5\n3\n", "real!" },
    { "1e999\n", "text!" },
    { "1e5\n1234567890123456\n", "text!" },
    { ".5\n", "text!" },
    { "1,5\n", "text!" },
    { "true\nFALSE\n", "boolean!" },
    { "yes\nno\nYes\n", "boolean!" },
    { "no\nno\n", "text!" },
    { "t\nf\ntrue\n", "boolean!" },
    { "true\n1\n", "text!" },
    { "2024-02-29\n", "date!" },
    { "2023-02-29\n", "text!" },
    { "2024-02-29\n2024-02-29T23:59:59.123456+02:00\n", "timestamp!" },
    { "2024-02-29T23:59:60Z\n", "text!" },
    { "2024-02-29\n5\n", "text!" },
    { "20240229\n", "integer!" },
    { "[1]\n{}\n", "json!" },
    { "[1\n{}\n", "text!" },
    { "[1]\n5\n", "text!" },
    { "NA\n5\n", "text!" },
    { "\xc3\xa9\n", "text!" },
};

TEST(infer, the_narrowest_type_that_holds_every_value_and_all_its_digits)
{
    struct recipe recipe = plain;
    recipe.format = (char *)"tsv";
    recipe.delimiter = '\t';
    for (size_t i = 0; i < COUNT_OF(columns_of_one); i++) {
        struct buf text = { 0 }, columns = { 0 };
        buf_addf(&text, "key\tv\n");
        for (const char *p = columns_of_one[i].values; *p; p = strchr(p, '\n') + 1)
            buf_addf(&text, "k\t%.*s\n", (int)(strchr(p, '\n') - p), p);
        buf_addf(&columns, "key:text!, v:%s", columns_of_one[i].type);
        expect(&recipe, text.p, columns.p);
        buf_clear(&text);
        buf_clear(&columns);
    }
}

TEST(infer, nulls_are_those_of_the_recipe)
{
    static char *tokens[] = { (char *)"NA", (char *)"" };
    struct recipe recipe = plain;
    expect(&recipe, "a,b\n1,x\n,y\n", "a:integer, b:text!");
    expect(&recipe, "a,b\n1,x\n\"\",y\n", "a:text!, b:text!"); /* a quoted empty field is a text */
    expect(&recipe, "a,b\n1,x\nNA,y\n", "a:text!, b:text!");
    recipe.nulls = tokens;
    recipe.nnulls = 2;
    expect(&recipe, "a,b\n1,x\nNA,y\n,z\n", "a:integer, b:text!");
    expect(&recipe, "a,b\n1,x\n\"NA\",y\n", "a:text!, b:text!");
    recipe.quoted_null = true;
    expect(&recipe, "a,b\n1,x\n\"NA\",y\n", "a:integer, b:text!");
    recipe = plain;
    recipe.trim = true;
    expect(&recipe, "a,b\n 1 ,x\n  ,y\n", "a:integer, b:text!");
    recipe.trim = false;
    expect(&recipe, "a,b\n 1 ,x\n", "a:text!, b:text!");
}

TEST(infer, a_decimal_comma_and_a_zone_count)
{
    struct recipe recipe = plain;
    recipe.delimiter = ';';
    recipe.format = (char *)"csv";
    recipe.decimal_point = ',';
    recipe.zone = (char *)"Europe/Berlin";
    expect(&recipe, "a;t\n1,5;2024-03-31 01:30\n2;2024-03-31 03:30\n",
           "a:decimal(1)!, t:timestamp!");
    expect(&recipe, "a;t\n1.5;2024-03-31 02:30\n",
           "a:text!, t:text!"); /* a time that Berlin's clocks skipped */
    recipe.zone = (char *)"Nowhere/None";
    CHECK_EQ(infer_fails(&recipe, STR("a;b\n1;2\n"), 0).code, ERR_CONFIG);
}

TEST(infer, the_delimiter_and_the_format_are_found)
{
    static const struct {
        const char *text, *format;
        char delimiter;
    } cases[] = { { "a,b\n1,2\n", "csv", ',' },    { "a;b\n1;2\n", "csv", ';' },
                  { "a\tb\n1\t2\n", "tsv", '\t' }, { "{\"a\":1}\n{\"a\":2}\n", "jsonl", 0 },
                  { "[{\"a\":1}]", "json", 0 },    { "{\n\"a\":1}", "json", 0 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inferred got = infer(&plain, str_of(cases[i].text), 0);
        CHECK_STR(got.format, cases[i].format);
        CHECK_EQ(got.delimiter, cases[i].delimiter);
        CHECK_EQ(got.header, cases[i].delimiter != 0);
        inferred_clear(&got);
    }
}

TEST(infer, header_names_become_names_of_a_table)
{
    expect(&plain, "Net Amount,a.b,x[0],A-B,A B,\"q\"\"t\",%\n1,2,3,4,5,6,7\n",
           "Net_Amount:integer! from \"Net Amount\", a.b:integer!, x[0]:integer!, A_B_2:integer! "
           "from A-B, A_B_3:integer! from \"A B\", "
           "q_t:integer! from \"q\"\"t\", c:integer! from %");
    expect(&plain, "a,b,,\n1,2,,\n", "a:integer!, b:integer!"); /* as spreadsheets write them */
}

TEST(infer, names_of_the_file_are_not_taken_for_qetls_own)
{
    expect(&plain, "id,_source,_line,source,_JOB,_param.x\n1,web,7,a,b,c\n",
           "id:integer!, source:text! from \"_source\", line:integer! from \"_line\", source_2:text! from source, _JOB:text!, "
           "param_x:text! from \"_param.x\"");
    expect(&plain, "{\"_job\":1,\"_param\":{\"x\":true},\"_param.y\":2}\n",
           "job:integer! from \"_job\", param_x:boolean! from \"_param.x\", param_y:integer! from \"\"\"_param.y\"\"\"");
}

TEST(infer, fractions_of_a_new_column_may_have_more_digits_later)
{
    struct cut_input in = cut_of(STR("a,b,c,d\n1.5,7,12345678901234.567,1.50\n2,8,1.5,1e3\n"), 0);
    struct inferred out;
    struct err err;
    CHECK_OK(infer_new(&out, &plain, &in.in, 0, &err), err);
    CHECK_STR(out.columns, "a:real!, b:integer!, c:real!, d:real!");
    inferred_clear(&out);
    in = cut_of(STR("a\n123456789012345.678\n"), 0); /* a double would not keep it */
    CHECK_OK(infer_new(&out, &plain, &in.in, 0, &err), err);
    CHECK_STR(out.columns, "a:decimal(3)!");
    inferred_clear(&out);
}

TEST(infer, without_a_header_columns_have_numbers)
{
    struct recipe recipe = plain;
    recipe.header = false;
    expect(&recipe, "1,x\n2,y\n", "c1:integer!, c2:text!");
    struct inferred got = infer(&recipe, STR("\n1\n"), 0); /* one column: a blank line is a null */
    uint64_t rows, bad;
    CHECK_STR(got.columns, "c1:integer");
    load(&recipe, got.columns, STR("\n1\n"), &rows, &bad);
    inferred_clear(&got);
}

TEST(infer, a_first_row_of_data_is_not_taken_for_a_header)
{
    struct err err = infer_fails(&plain, STR("1,Ann,2024-01-01\n2,Bob,2024-01-02\n"), 0);
    CHECK_EQ(err.code, ERR_INFER);
    CHECK_HAS(err.msg, "header = no");
    expect(&plain, "id,2019,2020\n1,5,6\n",
           "id:integer!, 2019:integer!, 2020:integer!"); /* years are names here */
    expect(&plain, "x,y\na,b\n", "x:text!, y:text!");
}

TEST(infer, a_header_alone_gives_texts)
{
    expect(&plain, "a,b\n", "a:text, b:text");
}

TEST(infer, names_that_cannot_be_used_are_an_error)
{
    static const struct {
        const char *text, *part;
    } wrong[] = { { "a,,b\n1,2,3\n", "field 2 has values but no name" },
                  { "a,a\n1,2\n", "fields 1 and 2 have the same name 'a'" },
                  { "a,\"b\nc\"\n1,2\n", "the name of field 2 holds a line end" },
                  { "", "no row" } };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct err err = infer_fails(&plain, str_of(wrong[i].text), 0);
        CHECK_EQ(err.code, ERR_INFER);
        CHECK_HAS(err.msg, wrong[i].part);
    }
}

TEST(infer, latin1_is_decoded_first)
{
    struct recipe recipe = plain;
    recipe.encoding = ENC_LATIN1;
    struct inferred got = infer(&recipe,
                                STR("stra\xdf"
                                    "e,n\nx,1\n"),
                                0);
    CHECK_STR(got.columns, "stra\xc3\x9f"
                           "e:text!, n:integer!");
    inferred_clear(&got);
}

/* ---- JSON ---- */

TEST(infer, json_objects_are_flattened_and_arrays_kept)
{
    expect(&plain,
           "{\"id\":1,\"c\":{\"name\":\"Ann\",\"geo\":{\"lat\":1.5}},\"tags\":[1],\"at\":\"2024-01-"
           "01T00:00:00Z\"}\n"
           "{\"id\":2,\"c\":{\"geo\":{\"lat\":2.25,\"lon\":1e2}},\"tags\":[],\"at\":\"2024-01-02\","
           "\"late\":true}\n",
           "id:integer!, c.name:text, c.geo.lat:decimal(2)!, c.geo.lon:real, tags:json!, "
           "at:timestamp!, late:boolean");
}

TEST(infer, json_values_keep_what_they_say)
{
    expect(&plain, "{\"a\":\"12\",\"b\":true,\"c\":12345678901234567890,\"d\":null,\"e\":1.0}\n",
           "a:text!, b:boolean!, c:text!, d:text, e:decimal(1)!");
    expect(&plain, "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":true}\n{\"a\":null}\n{}\n", "a:text");
    expect(&plain, "{\"a\":true}\n{\"a\":1}\n", "a:text!");
    expect(&plain, "{\"a\":\"true\"}\n", "a:text!");
    expect(&plain, "{\"a\":-0}\n{\"a\":1}\n", "a:integer!");
    expect(&plain, "{\"a\":1e400}\n", "a:text!");
}

TEST(infer, keys_of_many_kinds_are_json)
{
    expect(&plain, "{\"a\":{\"b\":1}}\n{\"a\":5}\n{\"a\":\"text\"}\n{\"a\":null}\n", "a:json");
    expect(&plain, "{\"a\":{\"b\":1}}\n{\"a\":null}\n{\"a\":{}}\n", "a.b:integer");
    expect(&plain, "{\"a\":{}}\n{\"a\":{}}\n", "a:json!");
    expect(&plain, "{\"a\":[]}\n{\"a\":\"x\\ud800\"}\n{\"a\":1}\n", "a:json");
}

TEST(infer, odd_keys_can_be_read_back)
{
    expect(
        &plain,
        "{\"a.b\":1,\"a\":{\"b\":2},\"\":3,\"q\\\"[0]\":{\"x y\":4},\"n\\nl\":5,\"u\\u0000\":6}\n",
        "a_b:integer! from \"\"\"a.b\"\"\", a_b_2:integer! from a.b, c:integer! from \"\"\"\"\"\", "
        "q_0_x_y:integer! from \"\"\"q\\\"\"[0]\"\".x y\", n_l:integer! from "
        "\"\"\"n\\u000al\"\"\", u:integer! from \"\"\"u\\u0000\"\"\"");
}

TEST(infer, names_that_become_the_same_are_numbered)
{
    struct columns taken = { 0 };
    struct err err;
    char want[16] = "c";
    for (int i = 1; i <= 70; i++) {
        char *name;
        CHECK_OK(infer_name(&name, &taken, &taken, STR("!"), &err), err);
        CHECK_STR(name, want);
        CHECK_OK(columns_add_like(&taken, &(struct column){ .type = TYPE_TEXT }, name, &err), err);
        snprintf(want, sizeof want, "c_%d", i + 1);
        free(name);
    }
    columns_clear(&taken);
}

TEST(infer, rows_that_will_be_refused_do_not_count)
{
    struct inferred got =
        infer(&plain, STR("{\"a\":1}\n{\"a\":\"x\",}\n[]\n{\"a\":2,\"a\":\"x\"}\n"), 0);
    CHECK_EQ(got.rows, 1);
    CHECK_STR(got.columns, "a:integer");
    inferred_clear(&got);
    CHECK_EQ(infer_fails(&plain, STR("{\"a\" 1}\n"), 0).code, ERR_INFER);
    CHECK_EQ(infer_fails(&plain, STR("{}\n"), 0).code, ERR_INFER);
}

TEST(infer, more_than_2000_columns_are_an_error)
{
    for (int json = 0; json < 2; json++)
        for (int n = 2000; n <= 2001; n++) {
            struct buf text = { 0 };
            for (int i = 0; i < n; i++)
                buf_addf(&text, json ? "%s\"k%d\":1" : "%sk%d", i ? "," : json ? "{" : "", i);
            buf_adds(&text, json ? "}\n" : "\n");
            if (n == 2000) {
                struct inferred got = infer(&plain, buf_str(&text), 0);
                inferred_clear(&got);
            } else {
                struct err err = infer_fails(&plain, buf_str(&text), 0);
                CHECK_EQ(err.code, ERR_INFER);
                CHECK_HAS(err.msg, "2000");
            }
            buf_clear(&text);
        }
}

/* ---- samples ---- */

TEST(infer, a_sample_leaves_out_the_row_it_cuts)
{
    static const char *const texts[] = {
        "a,b\n1,x\n2,y\n3333,zzzz\nlater,z\n",
        "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n{\"a\":\"later\"}\n",
        "[{\"a\":1,\"b\":\"x\"},{\"a\":2,\"b\":\"y\"},\n{\"a\":\"later\"}]"
    };
    static const int64_t cuts[] = { 17, 40, 39 };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct inferred got = infer(&plain, str_of(texts[i]), cuts[i]);
        CHECK_STR(got.columns, "a:integer, b:text"); /* and nothing is promised never to be null */
        CHECK_EQ(got.rows, 2);
        CHECK_EQ(got.bytes, cuts[i]);
        CHECK(!got.whole);
        inferred_clear(&got);
        got = infer(&plain, str_of(texts[i]), (int64_t)strlen(texts[i]));
        CHECK(got.whole);
        inferred_clear(&got);
        struct err err;
        struct cut_input in = cut_of(str_of(texts[i]), 0); /* any place to cut is fine */
        for (size_t n = 1; n < strlen(texts[i]); n++, in.at = 0)
            if (infer_member(&got, &plain, &in.in, (int64_t)n, &err) == 0)
                inferred_clear(&got);
            else
                CHECK_EQ(err.code, ERR_INFER);
    }
}

/* ---- the property: what was inferred loads the same data without a reject ---- */

static unsigned next_random(unsigned *seed)
{
    return (*seed = *seed * 1664525 + 1013904223) >> 8;
}

static const char *random_text(unsigned *seed, unsigned kind)
{
    static const char *const words[][8] = {
        { "1", "0", "-7", "42", "9223372036854775807", "100", "5", "0" },
        { "1.5", "0.25", "-3", "100.125", "7", "0", "12.5", "3.0" },
        { "1e5", "2.5", "3", "-1.25e-7", "1E3", "0.1", "5", "6" },
        { "true", "false", "TRUE", "yes", "no", "y", "n", "t" },
        { "2024-01-01", "1999-12-31", "2024-02-29", "2024-01-01", "2000-01-01", "0001-01-01",
          "9999-12-31", "2024-06-30" },
        { "2024-01-01T00:00:00Z", "2024-01-01", "2024-01-01 10:00", "2024-01-01T10:00:00.5+02:00",
          "2024-01-01T10:00", "2024-01-01 10:00:00", "2020-02-29T00:00:00Z", "2024-01-01" },
        { "007", "+5", "12345678901234567890", "0.1234567890123456789", ".5", "5.", "1e400", "-" },
        { "text", "", " ", "a b", "NA", "\xc3\xa9", "[", "{}" },
    };
    return words[kind % 8][next_random(seed) % 8];
}

static void put_csv_field(struct buf *b, const char *s, bool quoted)
{
    buf_adds(b, quoted ? "\"" : "");
    buf_adds(b, s);
    buf_adds(b, quoted ? "\"" : "");
}

TEST(infer, made_csv_loads_without_a_reject)
{
    unsigned seed = 7;
    for (int round = 0; round < 400; round++) {
        struct buf text = { 0 };
        struct recipe recipe = plain;
        uint64_t rows, bad;
        unsigned cols = 2 + next_random(&seed) % 5, kinds[8];
        recipe.format = (char *)"csv";
        recipe.delimiter = ',';
        recipe.trim = round % 2;
        recipe.quoted_null = round % 3 == 0;
        for (unsigned c = 0; c < cols; c++) {
            kinds[c] = next_random(&seed);
            buf_addf(&text, "%sname %u", c ? "," : "", c);
        }
        buf_adds(&text, "\n");
        for (unsigned r = 0, n = next_random(&seed) % 12; r < n; r++)
            for (unsigned c = 0; c < cols; c++) {
                unsigned kind = next_random(&seed) % 16 ? kinds[c] : next_random(&seed);
                put_csv_field(&text, next_random(&seed) % 6 ? random_text(&seed, kind) : "",
                              next_random(&seed) % 8 == 0);
                buf_adds(&text, c + 1 < cols ? "," : "\n");
            }
        struct inferred got = infer(&recipe, buf_str(&text), 0);
        load(&recipe, got.columns, buf_str(&text), &rows, &bad);
        CHECK_EQ(rows, got.rows);
        inferred_clear(&got);
        buf_clear(&text);
    }
}

static void put_json_value(struct buf *b, unsigned *seed, unsigned kind, int depth);

static void put_json_object(struct buf *b, unsigned *seed, unsigned kind, int depth)
{
    unsigned n = 0;
    buf_addc(b, '{');
    for (unsigned k = 0; k < 5; k++) {
        if (next_random(seed) % 4 == 0)
            continue;
        buf_addf(b, "%s\"key%s%u\":", n++ ? "," : "", k == 4 ? "." : "", k);
        put_json_value(b, seed, kind * 5 + k + 1, depth + 1);
    }
    buf_addc(b, '}');
}

/* A value mostly of the kind that belongs to its path, sometimes of any. */
static void put_json_value(struct buf *b, unsigned *seed, unsigned kind, int depth)
{
    static const char *const numbers[] = { "1",  "0",   "-7", "1.5", "1e3", "12345678901234567890",
                                           "-0", "2.50" };
    unsigned any = next_random(seed) % 40 == 0 ? next_random(seed) : kind;
    if (next_random(seed) % 8 == 0)
        buf_adds(b, "null");
    else if (any % 5 == 0 && depth < 4)
        put_json_object(b, seed, kind, depth);
    else if (any % 7 == 1)
        buf_adds(b, any % 2 ? "[1,{\"x\":[]}]" : "[]");
    else if (any % 7 == 2)
        buf_adds(b, next_random(seed) % 2 ? "true" : "false");
    else if (any % 7 < 5)
        buf_adds(b, numbers[next_random(seed) % (any % 3 ? 3 : COUNT_OF(numbers))]);
    else
        buf_addf(b, "\"%s\"", random_text(seed, any));
}

TEST(infer, made_json_loads_without_a_reject)
{
    unsigned seed = 11;
    for (int round = 0; round < 400; round++) {
        struct buf text = { 0 };
        uint64_t rows, bad;
        bool array = round % 2;
        unsigned kind = next_random(&seed) % 1000;
        buf_adds(&text, array ? "[" : "");
        for (unsigned r = 0, n = 1 + next_random(&seed) % 12; r < n; r++) {
            buf_adds(&text, r ? array ? "," : "\n" : "");
            buf_addf(&text, "{\"id\":%u,\"v\":", r);
            put_json_object(&text, &seed, kind, 0);
            buf_adds(&text, "}");
        }
        buf_adds(&text, array ? "]" : "\n");
        struct inferred got = infer(&plain, buf_str(&text), 0);
        load(&plain, got.columns, buf_str(&text), &rows, &bad);
        CHECK_EQ(rows, got.rows);
        inferred_clear(&got);
        buf_clear(&text);
    }
}

TEST(infer, the_examples_of_doc_json_md_are_true)
{
    FILE *page = doc_open("json.md");
    struct doc_example e;
    int n = 0;
    if (!page)
        skip(); /* run by hand, away from the source */
    for (; doc_next(page, "infer", &e); n++) {
        e.expected.p[e.expected.n - 1] = '\0';
        expect(&plain, e.input.p, e.expected.p);
        doc_clear(&e);
    }
    doc_clear(&e);
    fclose(page);
    CHECK_EQ(n, 2);
}

TEST(infer, one_object_around_records_is_told)
{
    static const struct {
        const char *text, *records;
    } cases[] = {
        { "{\"a\":1,\"b\":{\"c\":[{\"x\":1}]}}", "b.c" },
        { "{\"a\":[{\"x\":1}]}\n{\"a\":[{\"x\":2}]}", "" }, /* two rows */
        { "{\"a\":[1,2]}", "" },
        { "[{\"a\":[{\"x\":1}]},{\"a\":[]}]", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inferred got = infer(&plain, str_of(cases[i].text), 0);
        CHECK_STR(got.notes.records ? got.notes.records : "", cases[i].records);
        inferred_clear(&got);
    }
}

TEST(infer, rows_that_cannot_be_read_are_counted_and_the_first_is_told)
{
    static const struct {
        const char *text, *columns;
        int64_t unread;
        const char *first; /* beginning */
    } cases[] = {
        { "id,t\n1,a\n", "id:integer!, t:text!", 0, "" },
        { "id,t\n1,M\xfcller\n2,b\n3,\xe4\n", "id:integer!, t:text!", 2,
          "line 2: bytes that are not UTF-8; in another encoding, such as encoding = latin1? (" },
        { "id,t\n1,a\n2,\"b\n3,c\n", "id:integer!, t:text!", 1, "line 3: a quoted field is not closed" },
        { "id,t\n1,a\n2\n3,c\n", "id:integer!, t:text!", 1,
          "line 3: the row has more or fewer fields than the header or the columns: 1 found, 2 expected (" },
        { "{\"a\":1}\n{\"a\":\n{\"a\":3,\"a\":4}\n{\"a\":2}\n", "a:integer", 2, "line 2: the line is not valid JSON (" },
        { "{\"a\":1}\n{\"a\":3,\"a\":4}\n{\"a\":\n", "a:integer", 2, "line 2: a key that a column takes stands twice" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inferred got = infer(&plain, str_of(cases[i].text), 0);
        const char *first = got.notes.first_unread ? got.notes.first_unread : "";
        CHECK_STR(got.columns, cases[i].columns);
        CHECK_EQ(got.notes.unread, cases[i].unread);
        if (strncmp(first, cases[i].first, strlen(cases[i].first)) || !*first != !cases[i].unread)
            fail_msg("case %zu: '%s'", i, first);
        inferred_clear(&got);
    }
    struct err err = infer_fails(&plain, STR("{\"a\":}\n{\"b\":}\n"), 0);
    CHECK_HAS(err.msg, "no row can be read to take columns from; line 1: the line is not valid JSON");
}

TEST(infer, what_the_end_of_a_sample_cuts_is_no_row_that_cannot_be_read)
{
    static const struct {
        const char *text;
        int64_t bytes, unread;
    } cases[] = {
        { "id,t\n1,a\n2,\"b\nb\nb\"\n3,c\n", 15, 0 }, /* in a quoted field of two lines and more */
        { "id,t\n1,a\n2,b\n3,c\n", 10, 0 },           /* behind the 2 */
        { "id,t\n1\n2,b\n3,c\n", 12, 1 },
        { "{\"a\":1}\n{\"a\":2}\n", 12, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inferred got = infer(&plain, str_of(cases[i].text), cases[i].bytes);
        CHECK(!got.whole);
        if (got.notes.unread != cases[i].unread)
            fail_msg("case %zu: %d rows, %s", i, (int)got.notes.unread, got.notes.first_unread);
        inferred_clear(&got);
    }
}

TEST(infer, a_column_of_text_that_would_be_a_number_or_a_time_by_a_setting_is_told)
{
    struct recipe comma = plain;
    comma.decimal_point = ',';
    const struct {
        const struct recipe *recipe;
        const char *text, *hints;
    } cases[] = {
        { &plain, "p;d\n1,5;24.12.2025\n2;1.1.2026\n",
          "column 'p' is text; all its values fit decimal_point = ,\ncolumn 'd' is text; all its values fit date(%d.%m.%Y)\n" },
        { &comma, "p;d\n1,5;24.12.2025\n2;1.1.2026\n", "column 'd' is text; all its values fit date(%d.%m.%Y)\n" },
        { &comma, "p;q\n1.5;1\n2;2\n", "column 'p' is text; all its values fit decimal_point = .\n" },
        { &plain, "p;q\n1,5;1.5\n2;2\n", "" }, /* no one point suits both */
        { &plain, "p;q\n1,5;a\nx;b\n", "" },
        { &plain, "p;q\n007;a\n1,5;b\n", "" }, /* digits would be lost */
        { &plain, "p;q\n1234567890,5;a\n1,123456789;b\n", "" }, /* 19 digits */
        { &plain, "d;e\n1/2/2026;3/4/2026\n31/12/2026;4/5/2026\n",
          "column 'd' is text; all its values fit date(%d/%m/%Y)\n"
          "column 'e' is text; all its values fit date(%d/%m/%Y) or date(%m/%d/%Y)\n" },
        { &plain, "d;e\n24.12.2025 17:30;24.12.2025 17:30:01\n",
          "column 'd' is text; all its values fit timestamp(%d.%m.%Y %H:%M)\n"
          "column 'e' is text; all its values fit timestamp(%d.%m.%Y %H:%M:%S)\n" },
        { &plain, "{\"d\":\"24.12.2025\",\"p\":\"1,5\",\"n\":1.5}\n",
          "column 'd' is text; all its values fit date(%d.%m.%Y)\n" }, /* a text of JSON is no number */
        { &plain, "{\"d\":\"24.12.2025\"}\n{\"d\":1}\n", "" },
        { &plain, "a;b\n;1\n;2\n", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct inferred got = infer(cases[i].recipe, str_of(cases[i].text), 0);
        const char *hints = got.notes.hints ? got.notes.hints : "";
        if (strcmp(hints, cases[i].hints))
            fail_msg("case %zu: %s\n%s", i, got.columns, hints);
        inferred_clear(&got);
    }
}
