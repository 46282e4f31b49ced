#include "read/cast.h"

#include <math.h>

#include "test.h"

#include "base/text.h"

static int no_file(void *arg, int number, const char *ext, struct err *err)
{
    (void)arg, (void)number, (void)ext;
    return err_set(err, ERR_INTERNAL, "no file was expected");
}
static const struct stage in_memory = { no_file, NULL, 1 << 20 };

/* One column over one field, the shortest way to ask "what becomes of this?" */
struct fixture {
    struct recipe recipe;
    struct columns columns;
    struct batch batch;
    struct rows rows;
    struct rejects rejects;
    struct cast *cast;
    struct err err;
};

static struct fixture *fixture_new(const char *columns, struct recipe recipe)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->recipe = recipe;
    if (!f->recipe.decimal_point)
        f->recipe.decimal_point = '.';
    CHECK_OK(columns_parse(&f->columns, columns, &f->err), f->err);
    CHECK_OK(batch_init(&f->batch, (uint32_t)f->columns.n, &f->err), f->err);
    CHECK_OK(cast_open(&f->cast, &f->recipe, &f->columns, &f->err), f->err);
    rejects_init(&f->rejects, &in_memory, 0, (struct reject_limit){ -1, -1 });
    return f;
}

static void fixture_free(struct fixture *f)
{
    cast_close(f->cast);
    rejects_clear(&f->rejects);
    batch_clear(&f->batch);
    columns_clear(&f->columns);
    free(f);
}

static void put_row(struct fixture *f, const struct field *fields)
{
    uint32_t row = f->batch.rows++;
    memcpy(f->batch.fields + row * f->batch.cols, fields, f->batch.cols * sizeof *fields);
    f->batch.places[row] = (struct place){ row + 1, row * 100, STR("raw") };
}

#define FIELD(kind, literal) ((struct field){ literal, sizeof(literal) - 1, FIELD_##kind })

/* Cast one field; gives REJECT_REASONS and *v when it was taken. */
static enum reject_reason cast_one(struct fixture *f, struct field field, struct value *v)
{
    batch_reset(&f->batch);
    buf_reset(&f->rejects.out.inlined);
    put_row(f, &field);
    CHECK_OK(cast_batch(f->cast, &f->batch, &f->rows, &f->rejects, &f->err), f->err);
    CHECK_EQ(f->rows.n + (f->rejects.out.inlined.n > 0), 1);
    if (f->rows.n) {
        *v = f->rows.values[0];
        return REJECT_REASONS;
    }
    for (int r = 0; r < REJECT_REASONS; r++) {
        char name[64];
        snprintf(name, sizeof name, "\"reason\":\"%s\"", reject_name((enum reject_reason)r));
        if (strstr(f->rejects.out.inlined.p, name))
            return (enum reject_reason)r;
    }
    fail_msg("no reason in %s", f->rejects.out.inlined.p);
    return REJECT_REASONS;
}

static const struct recipe plain = { .nnulls = -1 };

/* ---- nulls ---- */

enum outcome { NULLED, TAKEN };

/* The truth table of doc/csv.md: null= not given, "", NA, both; quoted_null no and yes; bare or
 * quoted; empty or token. */
TEST(cast, nulls_follow_the_truth_table)
{
    static const char *const empty[] = { "" }, *const na[] = { "NA" }, *const both[] = { "", "NA" };
    static const struct {
        const char *const *nulls;
        int nnulls;
        bool quoted_null;
        enum outcome bare_empty, quoted_empty, bare_token, quoted_token;
    } table[] = {
        { NULL, -1, false, NULLED, TAKEN, TAKEN, TAKEN },
        { NULL, -1, true, NULLED, NULLED, TAKEN, TAKEN },
        { NULL, 0, false, TAKEN, TAKEN, TAKEN, TAKEN },
        { NULL, 0, true, TAKEN, TAKEN, TAKEN, TAKEN },
        { empty, 1, false, NULLED, TAKEN, TAKEN, TAKEN },
        { empty, 1, true, NULLED, NULLED, TAKEN, TAKEN },
        { na, 1, false, TAKEN, TAKEN, NULLED, TAKEN },
        { na, 1, true, TAKEN, TAKEN, NULLED, NULLED },
        { both, 2, false, NULLED, TAKEN, NULLED, TAKEN },
        { both, 2, true, NULLED, NULLED, NULLED, NULLED },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct recipe recipe = { .nulls = (char **)(uintptr_t)table[i].nulls,
                                 .nnulls = table[i].nnulls,
                                 .quoted_null = table[i].quoted_null };
        struct fixture *f = fixture_new("t", recipe);
        const struct {
            struct field field;
            enum outcome want;
        } cells[] = {
            { FIELD(BARE, ""), table[i].bare_empty },
            { FIELD(QUOTED, ""), table[i].quoted_empty },
            { FIELD(BARE, "NA"), table[i].bare_token },
            { FIELD(QUOTED, "NA"), table[i].quoted_token },
            { FIELD(BARE, "na"), TAKEN },
            { FIELD(ABSENT, ""), NULLED },
            { FIELD(NULL, "null"), NULLED },
            { FIELD(NUMBER, "0"), TAKEN },
        };
        for (size_t k = 0; k < COUNT_OF(cells); k++) {
            struct value v;
            CHECK_EQ(cast_one(f, cells[k].field, &v), REJECT_REASONS);
            if (v.null != (cells[k].want == NULLED))
                fail_msg("row %zu, cell %zu: null is %d", i, k, v.null);
            if (!v.null)
                CHECK(str_eq((struct str){ v.p, v.n },
                             (struct str){ cells[k].field.p, cells[k].field.n }));
        }
        fixture_free(f);
    }
}

TEST(cast, a_null_in_a_required_column_is_refused)
{
    struct fixture *f = fixture_new("id:integer!", plain);
    struct value v;
    CHECK_EQ(cast_one(f, FIELD(BARE, ""), &v), REJECT_NULL);
    CHECK_EQ(cast_one(f, FIELD(ABSENT, ""), &v), REJECT_NULL);
    CHECK_EQ(cast_one(f, FIELD(NULL, "null"), &v), REJECT_NULL);
    CHECK_EQ(cast_one(f, FIELD(QUOTED, ""), &v), REJECT_NOT_INTEGER);
    CHECK_EQ(cast_one(f, FIELD(BARE, "0"), &v), REJECT_REASONS);
    fixture_free(f);
}

/* Rules of clean= see no null, whatever the format; a CSV field that they made one is null, in quotes and in JSON it is text. */
TEST(cast, a_null_is_a_null_before_and_behind_the_rules)
{
    static const struct {
        const char *clean;
        struct field field;
        bool quoted_null;
        const char *want; /* NULL: a null */
    } table[] = {
        { "*: map(x = y, * = other)", FIELD(BARE, ""), false, NULL },
        { "*: map(x = y, * = other)", FIELD(BARE, "NA"), false, NULL },
        { "*: map(x = y, * = other)", FIELD(NULL, "null"), false, NULL },
        { "*: map(x = y, * = other)", FIELD(ABSENT, ""), false, NULL },
        { "*: map(x = y, * = other)", FIELD(QUOTED, "NA"), false, "other" },
        { "*: map(x = y, * = other)", FIELD(QUOTED, "NA"), true, NULL },
        { "*: map(x = y, * = other), default(d)", FIELD(BARE, "NA"), false, "d" },
        { "*: upper", FIELD(BARE, "na"), false, NULL },
        { "*: upper", FIELD(QUOTED, "na"), false, "NA" },
        { "*: upper", FIELD(QUOTED, "na"), true, NULL },
        { "*: trim", FIELD(BARE, "  "), false, NULL },
        { "*: map(12 = \"\")", FIELD(NUMBER, "12"), false, "" },
        { "*: map(12 = \"\")", FIELD(NUMBER, "12"), true, NULL },
    };
    static char empty[] = "", na[] = "NA", *nulls[] = { empty, na };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct value v;
        struct fixture *f = fixture_new("t", (struct recipe){ .nulls = nulls, .nnulls = 2, .quoted_null = table[i].quoted_null,
                                                              .clean = (char *)(uintptr_t)table[i].clean });
        CHECK_EQ(cast_one(f, table[i].field, &v), REJECT_REASONS);
        if (v.null != !table[i].want || (!v.null && !str_eq((struct str){ v.p, v.n }, str_of(table[i].want))))
            fail_msg("case %zu: null is %d, '%.*s'", i, v.null, v.null ? 0 : (int)v.n, v.null ? "" : v.p);
        fixture_free(f);
    }
}

TEST(cast, a_default_that_its_column_cannot_hold_is_told)
{
    static const struct {
        const char *clean, *says; /* NULL: it is fine */
    } table[] = {
        { "d: default(1.234)", "column 'd': default(1.234): more digits behind the point" },
        { "i: null(x), default(abc)", "column 'i': default(abc): not an integer" },
        { "t: default(2026-13-01)", "not a date" },
        { "j: default({)", "not valid JSON" },
        { "d: default(-1.50), range(-2..2)\ni: default(0)\nt: default(2026-01-01)\nj: default({})", NULL },
        { "i: default(none), map(none = 0)", NULL }, /* a rule behind it may mend it */
        { "*: default(none)", NULL },                /* of other columns, too */
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct recipe recipe = { .nnulls = -1, .decimal_point = ',', .clean = (char *)(uintptr_t)table[i].clean };
        struct columns columns = { 0 };
        struct cast *cast = NULL;
        struct err err = { 0 };
        CHECK_OK(columns_parse(&columns, "d:decimal(2), i:integer, t:date, j:json", &err), err);
        CHECK_EQ(cast_open(&cast, &recipe, &columns, &err), table[i].says ? -1 : 0);
        if (table[i].says)
            CHECK_HAS(err.msg, table[i].says);
        else
            cast_close(cast);
        columns_clear(&columns);
    }
}

TEST(cast, long_null_tokens_count_too)
{
    char token[101];
    memset(token, 'n', 100);
    token[100] = '\0';
    char *nulls[] = { token };
    struct fixture *f = fixture_new("t", (struct recipe){ .nulls = nulls, .nnulls = 1 });
    struct value v;
    CHECK_EQ(cast_one(f, (struct field){ token, 100, FIELD_BARE }, &v), REJECT_REASONS);
    CHECK(v.null);
    CHECK_EQ(cast_one(f, (struct field){ token, 99, FIELD_BARE }, &v), REJECT_REASONS);
    CHECK(!v.null);
    fixture_free(f);
}

/* ---- types ---- */

#define OK REJECT_REASONS

static const struct type_case {
    const char *column;
    struct field field;
    enum reject_reason want;
    int64_t i;
} type_cases[] = {
    { "integer", FIELD(BARE, "-12"), OK, -12 },
    { "integer", FIELD(QUOTED, "12"), OK, 12 },
    { "integer", FIELD(BARE, "9223372036854775807"), OK, INT64_MAX },
    { "integer", FIELD(BARE, "9223372036854775808"), REJECT_RANGE, 0 },
    { "integer", FIELD(BARE, "-123456789012345678901234567890"), REJECT_RANGE, 0 },
    { "integer", FIELD(BARE, " 1"), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(BARE, "1.0"), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(BARE, "1e3"), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(QUOTED, ""), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(NUMBER, "1.0"), OK, 1 },
    { "integer", FIELD(NUMBER, "1e3"), OK, 1000 },
    { "integer", FIELD(NUMBER, "-12.50e1"), OK, -125 },
    { "integer", FIELD(NUMBER, "9007199254740993"), OK, 9007199254740993 },
    { "integer", FIELD(NUMBER, "-9223372036854775808"), OK, INT64_MIN },
    { "integer", FIELD(NUMBER, "9.223372036854775807e18"), OK, INT64_MAX },
    { "integer", FIELD(NUMBER, "9.223372036854775808e18"), REJECT_RANGE, 0 },
    { "integer", FIELD(NUMBER, "1e400"), REJECT_RANGE, 0 },
    { "integer", FIELD(NUMBER, "1.5"), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(NUMBER, "1e-3"), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(TRUE, "true"), REJECT_NOT_INTEGER, 0 },
    { "integer", FIELD(RAW, "[1]"), REJECT_NOT_INTEGER, 0 },

    { "decimal(2)", FIELD(BARE, "12.5"), OK, 1250 },
    { "decimal(2)", FIELD(BARE, "-0.01"), OK, -1 },
    { "decimal(2)", FIELD(BARE, "1.100"), OK, 110 },
    { "decimal(2)", FIELD(BARE, "1.101"), REJECT_SCALE, 0 },
    { "decimal(2)", FIELD(BARE, "9999999999999999.99"), OK, 999999999999999999 },
    { "decimal(2)", FIELD(BARE, "10000000000000000"), REJECT_RANGE, 0 },
    { "decimal(2)", FIELD(BARE, "1e2"), REJECT_NOT_DECIMAL, 0 },
    { "decimal(2)", FIELD(BARE, "1,5"), REJECT_NOT_DECIMAL, 0 },
    { "decimal(2)", FIELD(QUOTED, ""), REJECT_NOT_DECIMAL, 0 },
    { "decimal(2)", FIELD(NUMBER, "1e2"), OK, 10000 },
    { "decimal(2)", FIELD(NUMBER, "1.5e-1"), OK, 15 },
    { "timestamp(0)", FIELD(BARE, "1970-01-01T00:00:01.000000Z"), OK, 1000000 },
    { "timestamp(0)", FIELD(BARE, "1970-01-01T00:00:01.5Z"), REJECT_SCALE, 0 },
    { "timestamp(3)", FIELD(BARE, "1969-12-31T23:59:59.999Z"), OK, -1000 },
    { "timestamp(3)", FIELD(BARE, "1969-12-31T23:59:59.9999Z"), REJECT_SCALE, 0 },
    { "decimal(2)", FIELD(NUMBER, "1e-3"), REJECT_SCALE, 0 },
    { "decimal(2)", FIELD(NUMBER, "1e16"), REJECT_RANGE, 0 },
    { "decimal(2)", FIELD(NUMBER, "-1e16"), REJECT_RANGE, 0 },
    { "decimal(2)", FIELD(NUMBER, "1e99"), REJECT_RANGE, 0 },
    { "decimal(0)", FIELD(BARE, "7."), OK, 7 },
    { "decimal(2)", FIELD(FALSE, "false"), REJECT_NOT_DECIMAL, 0 },

    { "boolean", FIELD(BARE, "TRUE"), OK, 1 },
    { "boolean", FIELD(QUOTED, "t"), OK, 1 },
    { "boolean", FIELD(BARE, "Yes"), OK, 1 },
    { "boolean", FIELD(BARE, "y"), OK, 1 },
    { "boolean", FIELD(BARE, "1"), OK, 1 },
    { "boolean", FIELD(BARE, "fAlse"), OK, 0 },
    { "boolean", FIELD(BARE, "F"), OK, 0 },
    { "boolean", FIELD(BARE, "no"), OK, 0 },
    { "boolean", FIELD(BARE, "N"), OK, 0 },
    { "boolean", FIELD(BARE, "0"), OK, 0 },
    { "boolean", FIELD(BARE, "2"), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(BARE, "on"), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(BARE, "true "), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(BARE, "yess"), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(BARE, "truf"), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(QUOTED, ""), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(TRUE, "true"), OK, 1 },
    { "boolean", FIELD(FALSE, "false"), OK, 0 },
    { "boolean", FIELD(NUMBER, "1"), OK, 1 },
    { "boolean", FIELD(NUMBER, "1.0"), REJECT_NOT_BOOLEAN, 0 },
    { "boolean", FIELD(RAW, "{}"), REJECT_NOT_BOOLEAN, 0 },

    { "date", FIELD(BARE, "1970-01-02"), OK, 1 },
    { "date", FIELD(BARE, "2023-02-29"), REJECT_NOT_DATE, 0 },
    { "date", FIELD(BARE, "1970-01-02T00:00:00"), REJECT_NOT_DATE, 0 },
    { "date", FIELD(QUOTED, ""), REJECT_NOT_DATE, 0 },
    { "date", FIELD(TRUE, "true"), REJECT_NOT_DATE, 0 },
    { "date(%d.%m.%Y)", FIELD(BARE, "2.1.1970"), OK, 1 },
    { "date(%d.%m.%Y)", FIELD(BARE, "1970-01-02"), REJECT_NOT_DATE, 0 },
    { "date(%Y%m%d)", FIELD(NUMBER, "19700102"), OK, 1 },

    { "timestamp", FIELD(BARE, "1970-01-01T00:00:01Z"), OK, 1000000 },
    { "timestamp", FIELD(QUOTED, "1970-01-01 01:00:00.5+01"), OK, 500000 },
    { "timestamp", FIELD(BARE, "1970-01-02"), OK, 86400000000 },
    { "timestamp", FIELD(BARE, "1970-01-01T00:00:60"), REJECT_NOT_TIMESTAMP, 0 },
    { "timestamp", FIELD(QUOTED, ""), REJECT_NOT_TIMESTAMP, 0 },
    { "timestamp", FIELD(NUMBER, "17"), REJECT_NOT_TIMESTAMP, 0 },
    { "timestamp", FIELD(RAW, "[]"), REJECT_NOT_TIMESTAMP, 0 },
    { "timestamp(%Q)", FIELD(NUMBER, "1500"), OK, 1500000 },
    { "timestamp(%d/%b/%Y %H:%M)", FIELD(BARE, "02/jan/1970 00:01"), OK, 86460000000 },
};

TEST(cast, every_type_takes_what_fits_and_says_why_not)
{
    for (size_t i = 0; i < COUNT_OF(type_cases); i++) {
        const struct type_case *t = &type_cases[i];
        char column[64];
        snprintf(column, sizeof column, "c:%s", t->column);
        struct fixture *f = fixture_new(column, plain);
        struct value v = { .i = -1 };
        enum reject_reason got = cast_one(f, t->field, &v);
        if (got != t->want || (got == OK && (v.null || v.i != t->i)))
            fail_msg("%s of '%.*s' (kind %d): %s, value %lld", t->column, (int)t->field.n,
                     t->field.p, t->field.kind, got == OK ? "taken" : reject_name(got),
                     (long long)v.i);
        fixture_free(f);
    }
}

TEST(cast, reals_are_exact_and_never_infinite)
{
    struct fixture *f = fixture_new("r:real", plain);
    struct value v;
    CHECK_EQ(cast_one(f, FIELD(BARE, "-12.25"), &v), OK);
    CHECK(v.r == -12.25);
    CHECK_EQ(cast_one(f, FIELD(NUMBER, "1e-3"), &v), OK);
    CHECK(v.r == 0.001);
    CHECK_EQ(cast_one(f, FIELD(NUMBER, "1e400"), &v), REJECT_RANGE);
    CHECK_EQ(cast_one(f, FIELD(BARE, "inf"), &v), REJECT_NOT_REAL);
    CHECK_EQ(cast_one(f, FIELD(BARE, "nan"), &v), REJECT_NOT_REAL);
    CHECK_EQ(cast_one(f, FIELD(BARE, "0x10"), &v), REJECT_NOT_REAL);
    CHECK_EQ(cast_one(f, FIELD(QUOTED, ""), &v), REJECT_NOT_REAL);
    CHECK_EQ(cast_one(f, FIELD(TRUE, "true"), &v), REJECT_NOT_REAL);
    fixture_free(f);
}

TEST(cast, a_decimal_comma_holds_for_text_and_not_for_json_numbers)
{
    struct recipe comma = { .nnulls = -1, .decimal_point = ',' };
    struct fixture *f = fixture_new("r:real", comma), *g = fixture_new("d:decimal(1)", comma);
    struct value v;
    CHECK_EQ(cast_one(f, FIELD(QUOTED, "-1,5e1"), &v), OK);
    CHECK(v.r == -15);
    CHECK_EQ(cast_one(f, FIELD(BARE, "0,1234567890123456789012"), &v), OK);
    CHECK(v.r == 0.1234567890123456789012);
    CHECK_EQ(cast_one(f, FIELD(BARE, "1.5"), &v), REJECT_NOT_REAL);
    CHECK_EQ(cast_one(f, FIELD(NUMBER, "1.5"), &v), OK);
    CHECK(v.r == 1.5);
    CHECK_EQ(cast_one(f, FIELD(BARE, "1,0e999"), &v), REJECT_RANGE);
    CHECK_EQ(cast_one(g, FIELD(BARE, "1,5"), &v), OK);
    CHECK_EQ(v.i, 15);
    CHECK_EQ(cast_one(g, FIELD(BARE, "1.5"), &v), REJECT_NOT_DECIMAL);
    CHECK_EQ(cast_one(g, FIELD(NUMBER, "1.5"), &v), OK);
    CHECK_EQ(v.i, 15);
    fixture_free(f);
    fixture_free(g);
}

TEST(cast, text_is_a_slice_of_the_input_and_holds_no_nul)
{
    struct fixture *f = fixture_new("t", plain);
    struct value v;
    static const char long_text[] = "0123456789abcdef0123456789abcdef0123456";
    for (uint32_t n = 1; n < sizeof long_text; n++) {
        struct field field = { long_text, n, FIELD_BARE };
        CHECK_EQ(cast_one(f, field, &v), OK);
        CHECK(v.p == long_text && v.n == n);
        char holed[sizeof long_text];
        for (uint32_t at = 0; at < n; at++) { /* wherever the NUL stands */
            memcpy(holed, long_text, sizeof holed);
            holed[at] = '\0';
            CHECK_EQ(cast_one(f, (struct field){ holed, n, FIELD_QUOTED }, &v), REJECT_NUL);
        }
    }
    CHECK_EQ(cast_one(f, FIELD(NUMBER, "1.50"), &v), OK);
    CHECK_SLICE(((struct str){ v.p, v.n }), "1.50");
    CHECK_EQ(cast_one(f, FIELD(TRUE, "true"), &v), OK);
    CHECK_SLICE(((struct str){ v.p, v.n }), "true");
    CHECK_EQ(cast_one(f, FIELD(RAW, "{\"a\":1}"), &v), REJECT_NOT_TEXT);
    fixture_free(f);
}

TEST(cast, json_columns_hold_json)
{
    struct fixture *f = fixture_new("j:json", plain);
    struct value v;
    static const struct {
        struct field field;
        const char *want; /* NULL: refused */
    } cases[] = {
        { FIELD(RAW, "{\"a\":1}"), "{\"a\":1}" },
        { FIELD(RAW, "\"12\""), "\"12\"" },
        { FIELD(NUMBER, "1e3"), "1e3" },
        { FIELD(TRUE, "true"), "true" },
        { FIELD(BARE, "[1,2]"), "[1,2]" },
        { FIELD(QUOTED, " {\"a\":[null]} "), "{\"a\":[null]}" },
        { FIELD(QUOTED, "\"text\""), "\"text\"" },
        { FIELD(BARE, "text"), NULL },
        { FIELD(QUOTED, ""), NULL },
        { FIELD(BARE, "{\"a\":}"), NULL },
        { FIELD(BARE, "1 2"), NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(cast_one(f, cases[i].field, &v), cases[i].want ? OK : REJECT_NOT_JSON);
        if (cases[i].want)
            CHECK(str_eq((struct str){ v.p, v.n }, str_of(cases[i].want)));
    }
    fixture_free(f);
}

TEST(cast, trim_takes_spaces_off_bare_fields_only)
{
    struct recipe trim = { .nnulls = -1, .trim = true };
    struct fixture *f = fixture_new("i:integer", trim), *g = fixture_new("t", trim);
    struct value v;
    CHECK_EQ(cast_one(f, FIELD(BARE, " \t12 "), &v), OK);
    CHECK_EQ(v.i, 12);
    CHECK_EQ(cast_one(f, FIELD(QUOTED, " 12"), &v), REJECT_NOT_INTEGER);
    CHECK_EQ(cast_one(f, FIELD(BARE, "  "), &v), OK);
    CHECK(v.null);
    CHECK_EQ(cast_one(g, FIELD(BARE, " a b "), &v), OK);
    CHECK_SLICE(((struct str){ v.p, v.n }), "a b");
    CHECK_EQ(cast_one(g, FIELD(QUOTED, " a "), &v), OK);
    CHECK_SLICE(((struct str){ v.p, v.n }), " a ");
    fixture_free(f);
    fixture_free(g);
}

TEST(cast, a_zone_turns_local_times_to_utc)
{
    char zone[] = "+02:00";
    struct fixture *f = fixture_new("t:timestamp", (struct recipe){ .nnulls = -1, .zone = zone });
    struct value v;
    CHECK_EQ(cast_one(f, FIELD(BARE, "1970-01-01 02:00:00"), &v), OK);
    CHECK_EQ(v.i, 0);
    CHECK_EQ(cast_one(f, FIELD(BARE, "1970-01-01 02:00:00Z"), &v), OK);
    CHECK_EQ(v.i, 7200000000);
    fixture_free(f);

    char berlin[] = "Europe/Berlin", wrong[] = "Europe/Berlim";
    f = fixture_new("t:timestamp", (struct recipe){ .nnulls = -1, .zone = berlin });
    CHECK_EQ(cast_one(f, FIELD(BARE, "2024-03-31 02:30:00"), &v), REJECT_NOT_TIMESTAMP);
    CHECK_EQ(cast_one(f, FIELD(BARE, "2024-03-31 03:30:00"), &v), OK);
    fixture_free(f);

    struct err err = { 0 };
    struct columns columns;
    struct cast *cast = NULL;
    CHECK_OK(columns_parse(&columns, "t:timestamp", &err), err);
    struct recipe recipe = { .nnulls = -1, .zone = wrong };
    CHECK_EQ(cast_open(&cast, &recipe, &columns, &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_HAS(err.msg, "Europe/Berlim");
    columns_clear(&columns);
}

/* ---- rows ---- */

TEST(cast, rows_that_fit_stay_in_order_and_the_others_are_all_in_the_rejects)
{
    struct fixture *f = fixture_new("id:integer!, name, v:real", plain);
    static const struct field rows[][3] = {
        { FIELD(BARE, "1"), FIELD(BARE, "a"), FIELD(BARE, "1.5") },
        { FIELD(BARE, "x"), FIELD(BARE, "b"), FIELD(BARE, "y") }, /* two faults, one reject */
        { FIELD(BARE, "3"), FIELD(BARE, ""), FIELD(BARE, "") },
        { FIELD(BARE, "4"), FIELD(BARE, "d"), FIELD(BARE, "z") },
        { FIELD(BARE, "5"), FIELD(QUOTED, "e"), FIELD(BARE, "5") },
    };
    for (int again = 0; again < 2; again++) { /* faults of one batch do not stick to the next */
        batch_reset(&f->batch);
        buf_reset(&f->rejects.out.inlined);
        for (size_t i = 0; i < COUNT_OF(rows); i++)
            put_row(f, rows[i]);
        f->batch.bad[0] = (struct bad_row){ { 9, 150, STR("bad1") }, REJECT_CSV_QUOTE, -1, { 0 }, NULL, 0, 0 };
        f->batch.bad[1] =
            (struct bad_row){ { 99, 9999, STR("bad2") }, REJECT_ENCODING, 1, STR("\xff"), NULL, 0, 0 };
        f->batch.nbad = 2;
        CHECK_OK(cast_batch(f->cast, &f->batch, &f->rows, &f->rejects, &f->err), f->err);
        CHECK_EQ(f->rows.n, 3);
        CHECK_EQ(f->rows.cols, 3);
        CHECK_EQ(f->rows.values[0].i, 1);
        CHECK_EQ(f->rows.values[3].i, 3);
        CHECK(f->rows.values[4].null && f->rows.values[5].null);
        CHECK_EQ(f->rows.values[6].i, 5);
        CHECK(f->rows.values[8].r == 5);
        CHECK(f->rows.places[0] == &f->batch.places[0]);
        CHECK(f->rows.places[1] == &f->batch.places[2]);
        CHECK(f->rows.places[2] == &f->batch.places[4]);
        const char *text = f->rejects.out.inlined.p;
        static const char *const in_order[] = { "\"reason\":\"not-integer\"",
                                                "\"reason\":\"csv-quote\"",
                                                "\"reason\":\"not-real\"",
                                                "\"reason\":\"encoding\"" };
        for (size_t i = 0; i < COUNT_OF(in_order); i++) {
            text = strstr(text, in_order[i]);
            CHECK(text);
        }
        CHECK_HAS(f->rejects.out.inlined.p, "\"column\":\"id\",\"value\":\"x\"");
        CHECK_HAS(f->rejects.out.inlined.p, "\"column\":\"name\",\"value\":\"\xef\xbf\xbd\"");
        CHECK_EQ(f->rejects.count, 4 * (again + 1));
        CHECK_EQ(f->rows.n + 4, batch_read(&f->batch));
    }
    fixture_free(f);
}

TEST(cast, a_full_batch_fits_and_an_empty_one_gives_no_rows)
{
    struct fixture *f = fixture_new("a:integer, b", plain);
    CHECK_OK(cast_batch(f->cast, &f->batch, &f->rows, &f->rejects, &f->err), f->err);
    CHECK_EQ(f->rows.n, 0);
    static const struct field row[] = { FIELD(BARE, "7"), FIELD(BARE, "x") };
    for (int i = 0; i < BATCH_ROWS; i++)
        put_row(f, row);
    CHECK_OK(cast_batch(f->cast, &f->batch, &f->rows, &f->rejects, &f->err), f->err);
    CHECK_EQ(f->rows.n, BATCH_ROWS);
    CHECK_EQ(f->rows.values[2 * (BATCH_ROWS - 1)].i, 7);
    fixture_free(f);
}

TEST(cast, the_limit_of_rejects_ends_the_batch)
{
    struct fixture *f = fixture_new("a:integer", plain);
    f->rejects.limit.count = 1;
    static const struct field row[] = { FIELD(BARE, "x") };
    put_row(f, row);
    put_row(f, row);
    CHECK_EQ(cast_batch(f->cast, &f->batch, &f->rows, &f->rejects, &f->err), -1);
    CHECK_EQ(f->err.code, ERR_REJECTS);
    fixture_free(f);
}
