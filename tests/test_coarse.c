/* Which columns of people's tables keep what the rows have. */
#include "target/coarse.h"

#include <string.h>

#include "test.h"

static void alter(struct buf *out, const void *arg, const struct column *as) { buf_addf(out, "%s %s(%d)", (const char *)arg, type_name(as->type), as->scale); }

/* The message of a refusal, or "". */
static const char *said(enum type type, int scale, bool is_version, enum keeps keeps, int digits)
{
    static struct err err;
    char name[] = "c";
    const struct column c = { .name = name, .type = type, .scale = scale };
    const struct coarse t = { .table = "t", .type = "x", .kept = { keeps, digits }, .alter = alter, .arg = "ALTER" };
    err = (struct err){ 0 };
    if (coarse_check(&c, is_version, &t, &err) == 0)
        return "";
    CHECK(err.code == ERR_TARGET_REFUSED);
    return err.msg;
}

TEST(coarse, what_keeps_each_value_is_not_refused)
{
    CHECK_STR(said(TYPE_INTEGER, 0, true, KEEPS_NUMBERS, 0), "");
    CHECK_STR(said(TYPE_DECIMAL, 0, true, KEEPS_NUMBERS, 0), "");
    CHECK_STR(said(TYPE_DECIMAL, 2, true, KEEPS_NUMBERS, 2), "");
    CHECK_STR(said(TYPE_REAL, 0, true, KEEPS_DOUBLES, 0), "");
    CHECK_STR(said(TYPE_DATE, 0, true, KEEPS_TIMESTAMPS, 0), "");
    CHECK_STR(said(TYPE_TIMESTAMP, 0, true, KEEPS_TIMESTAMPS, 6), "");
    CHECK_STR(said(TYPE_TEXT, 0, false, KEEPS_TIMESTAMPS, 0), "");
    CHECK_STR(said(TYPE_TEXT, 0, true, KEEPS_TEXT, 0), "");
    CHECK_STR(said(TYPE_INTEGER, 0, false, KEEPS_TEXT, 0), "");
    for (enum type type = 0; type < TYPES; type++)
        CHECK_STR(said(type, 2, true, KEEPS_ANY, 0), "");
}

TEST(coarse, a_column_that_rounds_is_refused_with_what_mends_it)
{
    CHECK_STR(said(TYPE_DECIMAL, 2, false, KEEPS_NUMBERS, 0),
              "column 'c' of table 't' (x) does not keep each decimal(2) as it is; declare it as integer in columns=, or run: ALTER decimal(2)");
    CHECK_STR(said(TYPE_TIMESTAMP, 0, false, KEEPS_TIMESTAMPS, 5),
              "column 'c' of table 't' (x) does not keep each timestamp as it is; declare it as timestamp(5) in columns=, or run: ALTER timestamp(0)");
    CHECK_STR(said(TYPE_INTEGER, 0, false, KEEPS_FLOATS, 0),
              "column 'c' of table 't' (x) does not keep each integer as it is; declare it as real in columns=, and run: ALTER real(0)");
    CHECK_STR(said(TYPE_INTEGER, 0, false, KEEPS_DOUBLES, 0),
              "column 'c' of table 't' (x) does not keep each integer as it is; declare it as real in columns=");
    CHECK_STR(said(TYPE_TIMESTAMP, 0, false, KEEPS_TIMES, 6), "column 'c' of table 't' (x) does not keep each timestamp as it is");
    CHECK(strstr(said(TYPE_REAL, 0, false, KEEPS_NUMBERS, DIGITS_ALL), "declare it as text in columns="));
    CHECK(strstr(said(TYPE_INTEGER, 0, false, KEEPS_NUMBERS, -2), "run: ALTER integer(0)"));
    for (enum type type = 0; type < TYPES; type++)
        CHECK(strstr(said(type, 2, false, KEEPS_STARTS, 0), "run: ALTER"));
}

TEST(coarse, a_version_keeps_its_order_too)
{
    CHECK(strstr(said(TYPE_INTEGER, 0, true, KEEPS_TEXT, 0), "in its order, which the version of rows needs; run: ALTER integer(0)"));
    CHECK(strstr(said(TYPE_TEXT, 0, true, KEEPS_NUMBERS, 0), "needs; declare it as integer in columns="));
    CHECK(strstr(said(TYPE_TEXT, 0, true, KEEPS_TIMESTAMPS, 6), "needs; declare it as timestamp in columns="));
    struct err err;
    const struct coarse t = { .table = "t", .type = "x", .kept = { KEEPS_TIMESTAMPS, 0 }, .alter = alter, .arg = "ALTER" };
    CHECK(coarse_check_moment("valid_to", &t, &err) < 0 && err.code == ERR_TARGET_REFUSED);
    CHECK(strstr(err.msg, "'valid_to'") && strstr(err.msg, "run: ALTER timestamp(0)"));
}
