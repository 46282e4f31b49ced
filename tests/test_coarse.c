/* Which columns of people's tables keep what the rows have. */
#include "target/coarse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static void alter(struct buf *out, const void *arg, const struct column *as) { buf_addf(out, "%s %s(%d)", (const char *)arg, type_name(as->type), as->scale); }

static const struct coarse table = { .table = "t", .quoted = "q", .alter = alter };

static void look(struct coarse *t, const char *column, enum type type, int scale, enum coarse_use use, enum keeps keeps, int digits)
{
    char name[32];
    snprintf(name, sizeof name, "%s", column);
    const struct column c = { .name = name, .type = type, .scale = scale };
    coarse_look(t, &c, use, &(struct coarse_column){ "x", { keeps, digits }, "to" });
}

/* The message of a refusal, or "". */
static const char *refused(struct coarse *t)
{
    static struct err err;
    err = (struct err){ 0 };
    int rc = coarse_refuse(t, &err);
    CHECK(rc == 0 || err.code == ERR_TARGET_REFUSED);
    coarse_clear(t);
    return rc == 0 ? "" : err.msg;
}

static const char *said(enum type type, int scale, enum coarse_use use, enum keeps keeps, int digits)
{
    struct coarse t = table;
    look(&t, "c", type, scale, use, keeps, digits);
    return refused(&t);
}

TEST(coarse, what_keeps_each_value_is_not_refused)
{
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VERSION, KEEPS_NUMBERS, 0), "");
    CHECK_STR(said(TYPE_DECIMAL, 0, COARSE_VERSION, KEEPS_NUMBERS, 0), "");
    CHECK_STR(said(TYPE_DECIMAL, 2, COARSE_VERSION, KEEPS_NUMBERS, 2), "");
    CHECK_STR(said(TYPE_REAL, 0, COARSE_VERSION, KEEPS_DOUBLES, 0), "");
    CHECK_STR(said(TYPE_DATE, 0, COARSE_VERSION, KEEPS_TIMESTAMPS, 0), "");
    CHECK_STR(said(TYPE_TIMESTAMP, 0, COARSE_VERSION, KEEPS_TIMESTAMPS, 6), "");
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_VALUE, KEEPS_TIMESTAMPS, 0), "");
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_VERSION, KEEPS_TEXT, 0), "");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_TEXT, 0), "");
    for (enum type type = 0; type < TYPES; type++)
        CHECK_STR(said(type, 2, COARSE_VERSION, KEEPS_ANY, 0), "");
}

TEST(coarse, numbers_do_not_go_into_lists_nor_into_times_by_their_order)
{
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_CHOICES, 0),
              "table 't' does not keep each value as it is: integer in 'c' (x); declare 'c' as text in columns=");
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_VALUE, KEEPS_CHOICES, 0), "");
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_VERSION, KEEPS_CHOICES, 0),
              "table 't' does not keep each value as it is: text in 'c' (x) with its order, for version=");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_YEARS, 0), "");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VERSION, KEEPS_YEARS, 0),
              "table 't' does not keep each value as it is: integer in 'c' (x) with its order, for version=; run: ALTER TABLE q to integer(0)");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_DATES, 0), "");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VERSION, KEEPS_DATES, 0),
              "table 't' does not keep each value as it is: integer in 'c' (x) with its order, for version=; declare 'c' as date in columns=");
    CHECK_STR(said(TYPE_DECIMAL, 2, COARSE_VALUE, KEEPS_TIMES, 0), "table 't' does not keep each value as it is: decimal(2) in 'c' (x)");
}

TEST(coarse, a_column_that_rounds_is_refused_with_what_mends_it)
{
    CHECK_STR(said(TYPE_DECIMAL, 2, COARSE_VALUE, KEEPS_NUMBERS, 0),
              "table 't' does not keep each value as it is: decimal(2) in 'c' (x); declare 'c' as integer in columns=, or run: ALTER TABLE q to decimal(2)");
    CHECK_STR(said(TYPE_TIMESTAMP, 0, COARSE_VALUE, KEEPS_TIMESTAMPS, 5),
              "table 't' does not keep each value as it is: timestamp in 'c' (x); declare 'c' as timestamp(5) in columns=, or run: ALTER TABLE q to timestamp(0)");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_FLOATS, 0),
              "table 't' does not keep each value as it is: integer in 'c' (x); declare 'c' as real in columns=, and run: ALTER TABLE q to real(0)");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_DOUBLES, 0),
              "table 't' does not keep each value as it is: integer in 'c' (x); declare 'c' as real in columns=");
    CHECK_STR(said(TYPE_TIMESTAMP, 0, COARSE_VALUE, KEEPS_TIMES, 6), "table 't' does not keep each value as it is: timestamp in 'c' (x)");
    CHECK(strstr(said(TYPE_REAL, 0, COARSE_VALUE, KEEPS_NUMBERS, DIGITS_ALL), "declare 'c' as text in columns="));
    CHECK(strstr(said(TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_NUMBERS, -2), "run: ALTER TABLE q to integer(0)"));
    for (enum type type = 0; type < TYPES; type++)
        CHECK(strstr(said(type, 2, COARSE_VALUE, KEEPS_STARTS, 0), "run: ALTER"));
}

TEST(coarse, a_version_keeps_its_order_too)
{
    CHECK(strstr(said(TYPE_INTEGER, 0, COARSE_VERSION, KEEPS_TEXT, 0), "with its order, for version=; run: ALTER TABLE q to integer(0)"));
    CHECK(strstr(said(TYPE_TEXT, 0, COARSE_VERSION, KEEPS_NUMBERS, 0), "version=; declare 'c' as integer in columns="));
    CHECK(strstr(said(TYPE_TEXT, 0, COARSE_VERSION, KEEPS_TIMESTAMPS, 6), "version=; declare 'c' as timestamp in columns="));
    struct coarse t = table;
    coarse_look_moment(&t, "valid_to", &(struct coarse_column){ "x", { KEEPS_TIMESTAMPS, 0 }, "to" });
    const char *msg = refused(&t);
    CHECK(strstr(msg, "'valid_to' (x); run: ALTER TABLE q to timestamp(0)"));
}

TEST(coarse, all_columns_of_a_table_are_told_at_once)
{
    struct coarse t = table;
    look(&t, "a", TYPE_DECIMAL, 2, COARSE_VALUE, KEEPS_NUMBERS, 0);
    look(&t, "fine", TYPE_TEXT, 0, COARSE_VALUE, KEEPS_TEXT, 0);
    look(&t, "b", TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_FLOATS, 0);
    look(&t, "c", TYPE_TIMESTAMP, 0, COARSE_VALUE, KEEPS_DATES, 0);
    look(&t, "d", TYPE_TEXT, 0, COARSE_VALUE, KEEPS_STARTS, 0);
    look(&t, "e", TYPE_INTEGER, 0, COARSE_VALUE, KEEPS_DOUBLES, 0);
    CHECK_STR(refused(&t), "table 't' does not keep each value as it is: decimal(2) in 'a' (x), integer in 'b' (x), timestamp in 'c' (x), text in 'd' (x), integer"
                           " in 'e' (x); declare 'e' as real in columns=; run: ALTER TABLE q to text(0); declare 'a' as integer, 'c' as date in columns=, or"
                           " run: ALTER TABLE q to decimal(2), to timestamp(0); declare 'b' as real in columns=, and run: ALTER TABLE q to real(0)");
}

TEST(coarse, of_very_many_the_first_are_named)
{
    struct coarse t = table;
    char name[32];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "column%d", i);
        look(&t, name, TYPE_DECIMAL, 2, COARSE_VALUE, KEEPS_NUMBERS, 0);
    }
    const char *msg = refused(&t), *more = strstr(msg, " more; declare types in columns= that the table keeps, or change those of its columns");
    int named = 0;
    for (const char *p = msg; (p = strstr(p, "'column")); p++)
        named++;
    CHECK(named > 3 && more && strlen(msg) < 400);
    CHECK_EQ(named + atoi(strstr(msg, " and ") + strlen(" and ")), 100);
}

TEST(coarse, json_is_refused_where_its_numbers_would_round)
{
    CHECK_STR(said(TYPE_JSON, 0, COARSE_VALUE, KEEPS_NUMBERS, 0), "table 't' does not keep each value as it is: json in 'c' (x); declare 'c' as integer in columns=");
    CHECK(*said(TYPE_JSON, 0, COARSE_VALUE, KEEPS_DOUBLES, 0) && *said(TYPE_JSON, 0, COARSE_VALUE, KEEPS_FLOATS, 0));
    CHECK_STR(said(TYPE_JSON, 0, COARSE_VALUE, KEEPS_NUMBERS, DIGITS_ALL), "");
    CHECK_STR(said(TYPE_JSON, 0, COARSE_VALUE, KEEPS_TEXT, 0), "");
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_VALUE, KEEPS_WORDS, 0), "table 't' does not keep each value as it is: text in 'c' (x)");
    CHECK_STR(said(TYPE_DATE, 0, COARSE_VALUE, KEEPS_WORDS, 0), "");
}

TEST(coarse, keys_that_could_become_one_are_refused)
{
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_KEY, KEEPS_NUMBERS, 0), "table 't' does not keep each value as it is: text in 'c' (x), in key=, where two"
              " keys could become one; declare 'c' as integer in columns=");
    static const enum keeps joined[] = { KEEPS_NUMBERS, KEEPS_FLOATS, KEEPS_DOUBLES, KEEPS_YEARS, KEEPS_DATES, KEEPS_TIMESTAMPS },
                            apart[] = { KEEPS_ANY, KEEPS_TEXT, KEEPS_CHOICES, KEEPS_BITS, KEEPS_TIMES };
    for (size_t i = 0; i < COUNT_OF(joined); i++)
        CHECK(strstr(said(TYPE_TEXT, 0, COARSE_KEY, joined[i], 0), "in key="));
    for (size_t i = 0; i < COUNT_OF(apart); i++)
        CHECK_STR(said(TYPE_TEXT, 0, COARSE_KEY, apart[i], 0), "");
    for (enum type type = 0; type < TYPES; type++)
        CHECK_STR(said(type, 0, COARSE_KEY, KEEPS_TEXT, 0), "");
    CHECK(strstr(said(TYPE_INTEGER, 0, COARSE_KEY, KEEPS_DATES, 0), "in key="));
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_KEY, KEEPS_NUMBERS, 0), "");
    CHECK_STR(said(TYPE_INTEGER, 0, COARSE_KEY, KEEPS_NUMBERS, DIGITS_ALL), "");
    CHECK_STR(said(TYPE_DECIMAL, 2, COARSE_KEY, KEEPS_NUMBERS, 2), "");
    CHECK_STR(said(TYPE_DATE, 0, COARSE_KEY, KEEPS_TIMESTAMPS, 0), "");
    CHECK_STR(said(TYPE_TEXT, 0, COARSE_VALUE, KEEPS_NUMBERS, 0), "");
}
