/* Rules of clean=: what they are read from, what they make of fields and values. */
#include <config.h>

#include "test.h"

#include "io/clean.h"

static struct columns columns;
static struct arena arena;

static struct clean *rules(const char *text)
{
    struct err err = { 0 };
    struct clean *c = NULL;
    columns_clear(&columns);
    CHECK_OK(columns_parse(&columns, "t, i:integer, d:decimal(2), r:real, day:date, at:timestamp, j:json", &err), err);
    CHECK_OK(clean_parse(&c, text, &columns, NULL, '.', &err), err);
    return c;
}

static bool empty_is_null(const void *arg, const struct field *f)
{
    (void)arg;
    return f->kind <= FIELD_NULL || (f->kind == FIELD_BARE && f->n == 0);
}

static enum reject_reason run(struct clean *c, int column, struct field *f)
{
    arena_reset(&arena);
    return clean_field(clean_of(c, column), f, empty_is_null, NULL, &arena);
}

/* What the rules for t make of a text; "NULL" when it becomes one. */
static void becomes(const char *text_rules, const char *from, const char *to)
{
    char line[600];
    snprintf(line, sizeof line, "t: %s", text_rules);
    struct clean *c = rules(line);
    struct field f = { from, (uint32_t)strlen(from), FIELD_BARE };
    CHECK_EQ(run(c, 0, &f), REJECT_REASONS);
    struct str got = f.kind <= FIELD_NULL ? STR("NULL") : (struct str){ f.p, f.n };
    if (!str_eq(got, str_of(to)))
        fail_msg("%s of '%s': '%.*s', not '%s'", text_rules, from, (int)got.n, got.p, to);
    clean_free(c);
}

static void refuses(const char *text_rules, const char *from, enum reject_reason why)
{
    char line[600];
    snprintf(line, sizeof line, "t: %s", text_rules);
    struct clean *c = rules(line);
    struct field f = { from, (uint32_t)strlen(from), FIELD_BARE };
    enum reject_reason got = run(c, 0, &f);
    if (got != why)
        fail_msg("%s of '%s': %s", text_rules, from, got == REJECT_REASONS ? "passed" : reject_name(got));
    clean_free(c);
}

TEST(clean, rules_change_text)
{
    static const struct {
        const char *rules, *from, *to;
    } table[] = {
        { "trim", " \t a b\r\n ", "a b" },
        { "trim", "\xc2\xa0x\xc2\xa0", "x" },
        { "trim", " \xc2\xa0 ", "" },
        { "trim", "\xc3\xa0", "\xc3\xa0" }, /* ends in the byte of U+00A0 */
        { "squeeze", "  a \t\n b  ", " a b " },
        { "trim, squeeze", "  a \t\n b  ", "a b" },
        { "lower", "\xc3\x84\xc3\x96 MiX 1", "\xc3\xa4\xc3\xb6 mix 1" },
        { "upper", "stra\xc3\x9f" "e \xe2\xb1\xa5", "STRA\xc3\x9f" "E \xc8\xba" },
        { "lower", "\xc8\xba\xc8\xba\xc8\xba", "\xe2\xb1\xa5\xe2\xb1\xa5\xe2\xb1\xa5" }, /* grows */
        { "upper", "bad \xff\xfe byte", "BAD \xff\xfe BYTE" },
        { "cut(3)", "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f", "\xc3\xa4\xc3\xb6\xc3\xbc" },
        { "cut(0)", "abc", "" },
        { "cut(9)", "abc", "abc" },
        { "map(A = active, I = inactive)", "A", "active" },
        { "map(A = active, I = inactive)", "X", "X" },
        { "map(A = active, * = unknown)", "X", "unknown" },
        { "map(A = active, * = unknown)", "*", "unknown" },
        { "map(\"*\" = star, * = unknown)", "*", "star" },
        { "map(\"a,b\" = \"c=d\", \"\" = none)", "a,b", "c=d" },
        { "map(\"a,b\" = \"c=d\", \"\" = none)", "", "" }, /* a null, here and below */
        { "map(x = y, * = other)", "", "" },
        { "map(x = y, * = other), default(z)", "", "z" },
        { "trim, map(* = other)", " ", "" },
        { "map(* = \"\"), upper, map(* = other)", "x", "" },
        { "null(x), map(* = other)", "x", "NULL" },
        { "default(x), map(x = y)", "", "y" },
        { "map(a = \"say \"\"hi\"\"\")", "a", "say \"hi\"" },
        { "map(a = b), map(b = c)", "a", "c" },
        { "null(-, \"n/a\")", "n/a", "NULL" },
        { "null(-, \"n/a\")", "n", "n" },
        { "null(-), default(x)", "-", "x" },
        { "default(x)", "", "x" },
        { "default(x)", "y", "y" },
        { "default(\"\")", "", "" },
        { "trim, default(x)", "  ", "x" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        becomes(table[i].rules, table[i].from, table[i].to);
}

TEST(clean, checks_refuse_what_does_not_pass)
{
    static const struct {
        const char *rules, *from;
        enum reject_reason why;
    } table[] = {
        { "length(2..4)", "a", REJECT_LENGTH },
        { "length(2..4)", "ab", REJECT_REASONS },
        { "length(2..4)", "abcde", REJECT_LENGTH },
        { "length(..2)", "\xc3\xa4\xc3\xb6", REJECT_REASONS },
        { "length(..2)", "abc", REJECT_LENGTH },
        { "length(2)", "abc", REJECT_LENGTH },
        { "length(2..)", "abc", REJECT_REASONS },
        { "length(2..)", "", REJECT_REASONS }, /* a null is not checked */
        { "one_of(red, green)", "red", REJECT_REASONS },
        { "one_of(red, green)", "re", REJECT_NOT_ONE_OF },
        { "one_of(red, green)", "redd", REJECT_NOT_ONE_OF },
        { "trim, length(2)", " ab ", REJECT_REASONS },
        { "length(2), trim", " ab ", REJECT_LENGTH },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        refuses(table[i].rules, table[i].from, table[i].why);
}

#ifdef HAVE_PCRE2
TEST(clean, expressions_replace_and_match)
{
    becomes("replace(/[^0-9+]/, \"\")", "+49 (30) 12-34", "+49301234");
    becomes("replace(/(\\d+)-(\\d+)/, \"$2.$1\")", "1-2 33-44", "2.1 44.33");
    becomes("replace(/a\\/b/, x)", "a/b", "x");
    becomes("replace(/^$/, EMPTY)", "", "");
    becomes("replace(/STRASSE/i, str.)", "Hauptstrasse", "Hauptstr.");
    becomes("replace(/./, \"0123456789012345678901234567890123456789\")", "\xc3\xa4\xc3\xb6", /* grows beyond the first guess */
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789");
    refuses("match(/^[A-Z]{2}$/)", "DE", REJECT_REASONS);
    refuses("match(/^[A-Z]{2}$/)", "DEU", REJECT_PATTERN);
    refuses("match(/^[a-z]{2}$/i)", "DE", REJECT_REASONS);
    refuses("match(/^.$/)", "\xc3\xa4", REJECT_REASONS); /* one character, two bytes */
}

TEST(clean, an_expression_that_takes_too_long_refuses_the_row)
{
    char text[3000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    refuses("match(/^(a+)+$|^(a|a)*b/)", text, REJECT_REASONS); /* quick to find */
    refuses("match(/^(a|aa)+b$/)", text, REJECT_PATTERN);
    refuses("replace(/(a|aa)+[bc]/, x)", text, REJECT_PATTERN);
}
#endif

TEST(clean, ranges_are_of_typed_values)
{
    struct clean *c = rules("i: range(-5..10)\nd: range(0.50..)\nr: range(..1.5)\nday: range(2000-01-01..2000-12-31)\n"
                            "at: range(2000-01-01T00:00:00Z..)");
    CHECK_EQ(clean_value(clean_of(c, 1), &(struct value){ .i = -5 }), REJECT_REASONS);
    CHECK_EQ(clean_value(clean_of(c, 1), &(struct value){ .i = -6 }), REJECT_OUTSIDE);
    CHECK_EQ(clean_value(clean_of(c, 1), &(struct value){ .i = 11 }), REJECT_OUTSIDE);
    CHECK_EQ(clean_value(clean_of(c, 2), &(struct value){ .i = 49 }), REJECT_OUTSIDE);
    CHECK_EQ(clean_value(clean_of(c, 2), &(struct value){ .i = 50 }), REJECT_REASONS);
    CHECK_EQ(clean_value(clean_of(c, 3), &(struct value){ .r = 1.5 }), REJECT_REASONS);
    CHECK_EQ(clean_value(clean_of(c, 3), &(struct value){ .r = 1.6 }), REJECT_OUTSIDE);
    CHECK_EQ(clean_value(clean_of(c, 4), &(struct value){ .i = 10957 }), REJECT_REASONS); /* 2000-01-01 */
    CHECK_EQ(clean_value(clean_of(c, 4), &(struct value){ .i = 10956 }), REJECT_OUTSIDE);
    CHECK_EQ(clean_value(clean_of(c, 4), &(struct value){ .i = 11323 }), REJECT_OUTSIDE);
    CHECK_EQ(clean_value(clean_of(c, 5), &(struct value){ .i = 946684800000000 - 1 }), REJECT_OUTSIDE);
    clean_free(c);
}

TEST(clean, a_star_is_for_the_columns_without_a_line)
{
    struct clean *c = rules("*: upper; t: lower");
    struct field a = { "Ab", 2, FIELD_QUOTED }, b = { "Ab", 2, FIELD_QUOTED };
    CHECK_EQ(run(c, 0, &a), REJECT_REASONS);
    CHECK(str_eq((struct str){ a.p, a.n }, STR("ab")));
    CHECK_EQ(run(c, 6, &b), REJECT_REASONS);
    CHECK(str_eq((struct str){ b.p, b.n }, STR("AB")));
    CHECK_EQ(b.kind, FIELD_QUOTED);
    clean_free(c);
    c = rules("T: trim");
    CHECK(clean_of(c, 0) && !clean_of(c, 1));
    clean_free(c);
}

TEST(clean, json_values_that_are_no_text_stay_as_they_are)
{
    struct clean *c = rules("*: upper, map(1.50 = x, * = y), length(..3)\nj: default({})");
    struct field raw = { "{\"a\":1}", 7, FIELD_RAW }, yes = { "true", 4, FIELD_TRUE }, number = { "2.50", 4, FIELD_NUMBER };
    CHECK_EQ(run(c, 0, &raw), REJECT_REASONS);
    CHECK(str_eq((struct str){ raw.p, raw.n }, STR("{\"a\":1}")));
    CHECK_EQ(run(c, 0, &yes), REJECT_REASONS);
    CHECK_EQ(run(c, 0, &number), REJECT_REASONS);
    CHECK(str_eq((struct str){ number.p, number.n }, STR("y")));
    CHECK_EQ(number.kind, FIELD_QUOTED); /* no JSON number any more */
    struct field none = { NULL, 0, FIELD_ABSENT };
    CHECK_EQ(run(c, 6, &none), REJECT_REASONS);
    CHECK(str_eq((struct str){ none.p, none.n }, STR("{}")));
    clean_free(c);
}

TEST(clean, faults_name_column_rule_and_what_was_expected)
{
    static const struct {
        const char *text, *says;
    } table[] = {
        { "t trim", "'COLUMN: rule, rule' was expected" },
        { ": trim", "'COLUMN: rule, rule' was expected" },
        { "x: trim", "column 'x': there is no such column" },
        { "t: trim\nT: lower", "column 'T': it has two lines" },
        { "t: strip", "column 't': there is no rule 'strip'; there are trim" },
        { "t:", "there is no rule" },
        { "t: trim lower", "a comma was expected between its rules" },
        { "t: trim,", "there is no rule" },
        { "t: trim(3)", "trim wants no brackets" },
        { "t: cut", "cut wants a number of characters" },
        { "t: cut(-1)", "cut wants a number of characters" },
        { "t: cut(1, 2)", "cut wants" },
        { "t: cut(1", "cut wants" },
        { "t: map(A)", "map wants pairs" },
        { "t: map(A = 1, A = 2)", "map wants each text once" },
        { "t: null", "null wants texts" },
        { "t: length(..)", "length wants numbers of characters" },
        { "t: length(a..b)", "length wants numbers of characters" },
        { "t: range(1..2)", "range wants a column of numbers, dates or times" },
        { "t: length(5..1)", "length wants its smaller limit first" },
        { "i: range(5..1)", "range wants its smaller limit first: no value would pass" },
        { "d: range(0.2..0.1)", "range wants its smaller limit first" },
        { "i: range(a..b)", "range wants limits that are values of the column, as range(0..100)" },
        { "i: range(0-100)", "range wants limits that are values of the column, as range(0..100)" },
        { "i: range(0, 100)", "range wants limits, as range(0..1000)" },
        { "d: range(0.001..)", "range wants limits that are values of the column, as range(0..99.5)" },
        { "r: range(low)", "as range(0..0.5)" },
        { "day: range(2000)", "as range(2000-01-01..2000-12-31)" },
        { "at: range(2000)", "as range(2000-01-01T00:00:00Z..2000-12-31T12:00:00Z)" },
        { "*: range(1..2)", "range wants a column of numbers" },
        { "t: default(\"a)", "a closing \"" },
        { "t: match(abc)", "match wants an expression" },
        { "t: match(/abc)", "a closing /" },
#ifdef HAVE_PCRE2
        { "t: match(/a(b/)", "the expression at byte 3: missing closing parenthesis" },
        { "t: replace(/a(b)/, \"$2\")", "replace wants a text whose $ has a number or name of a group" },
        { "t: replace(/a(b)/, \"$1 ${x}\")", "replace wants a text whose $" },
        { "t: replace(/a/, \"1 $\")", "replace wants a text whose $" },
        { "t: replace(/a/, \"$99999999999\")", "replace wants a text whose $" },
#else
        { "t: match(/ab/)", "built without PCRE2" },
#endif
    };
    columns_clear(&columns);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct clean *c = NULL, *ok = rules("");
        struct err err = { 0 };
        clean_free(ok);
        if (clean_parse(&c, table[i].text, &columns, NULL, '.', &err) == 0)
            fail_msg("'%s' was taken", table[i].text);
        CHECK_EQ(err.code, ERR_CONFIG);
        CHECK_HAS(err.msg, table[i].says);
    }
}

#ifdef HAVE_PCRE2
TEST(clean, groups_of_the_expression_can_be_named)
{
    struct clean *c = rules("t: replace(/a(b)(?<n>c)/, \"$0${1}$2${n}$n$$\"), match(/^abc/)");
    clean_free(c);
}
#endif

TEST(clean, columns_that_are_not_known_yet_are_not_looked_up)
{
    struct columns none = { 0 };
    struct clean *c;
    struct err err;
    CHECK_OK(clean_parse(&c, "anything: range(1..2), trim\n*: lower", &none, NULL, '.', &err), err);
    CHECK(!clean_of(c, 0));
    clean_free(c);
}
