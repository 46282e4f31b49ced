/*
 * Functions for SQL; sqlite.org/appfunc.html. See sql_functions.h.
 *
 * regexp() is by PCRE2, on UTF-8. An expression is compiled once for a statement where it is a constant, as it mostly is
 * (sqlite3_set_auxdata). What takes too long is an error, not an answer.
 */
#include "config.h"

#include "pipeline/sql_functions.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/sql_text.h"

#ifdef HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    TRIES = 1000000, /* of matching; pcre2_set_match_limit(3) */
    SHOWN = 100,     /* bytes of an expression in a message */
};

struct expression {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
};

static void expression_free(void *arg)
{
    struct expression *e = arg;
    pcre2_code_free(e->code);
    pcre2_match_data_free(e->match);
    pcre2_match_context_free(e->context);
    free(e);
}

/* What is wrong with the expression, or with the text that it was held against. */
static void say(char *out, size_t cap, const char *what, const char *expression, int code)
{
    unsigned char why[120] = "";
    size_t n = strlen(expression), shown = n;
    if (n > SHOWN)
        for (shown = SHOWN; shown && ((unsigned char)expression[shown] & 0xc0) == 0x80;)
            shown--;
    (void)pcre2_get_error_message(code, why, sizeof why);
    snprintf(out, cap, "regexp '%.*s%s': %s: %s", (int)shown, expression, shown < n ? "..." : "", what, why);
}

static void fail(sqlite3_context *ctx, const char *what, sqlite3_value *pattern, int code)
{
    char text[400];
    say(text, sizeof text, what, (const char *)sqlite3_value_text(pattern), code);
    sqlite3_result_error(ctx, text, -1);
}

static pcre2_code *compile(const void *text, size_t n, int *code)
{
    size_t at;
    return pcre2_compile(text, n, PCRE2_UTF | PCRE2_UCP, code, &at, NULL);
}

static struct expression *expression_new(sqlite3_context *ctx, sqlite3_value *pattern)
{
    struct expression *e = calloc(1, sizeof *e);
    int code = 0;
    const unsigned char *text = sqlite3_value_text(pattern);
    if (!e || !text) {
        free(e);
        sqlite3_result_error_nomem(ctx);
        return NULL;
    }
    e->code = compile(text, (size_t)sqlite3_value_bytes(pattern), &code);
    e->match = e->code ? pcre2_match_data_create(1, NULL) : NULL;
    e->context = e->code ? pcre2_match_context_create(NULL) : NULL;
    if (e->match && e->context) {
        (void)pcre2_set_match_limit(e->context, TRIES);
        return e;
    }
    if (e->code)
        sqlite3_result_error_nomem(ctx);
    else
        fail(ctx, "the expression", pattern, code);
    expression_free(e);
    return NULL;
}

static void regexp(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL || sqlite3_value_type(argv[1]) == SQLITE_NULL)
        return; /* null */
    struct expression *e = sqlite3_get_auxdata(ctx, 0), *made = NULL;
    if (!e && !(e = made = expression_new(ctx, argv[0])))
        return;
    const unsigned char *text = sqlite3_value_text(argv[1]);
    if (!text) {
        sqlite3_result_error_nomem(ctx);
    } else {
        int rc = pcre2_match(e->code, text, (size_t)sqlite3_value_bytes(argv[1]), 0, 0, e->match, e->context);
        if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
            sqlite3_result_int(ctx, rc >= 0);
        else
            fail(ctx, "the text", argv[0], rc);
    }
    if (made)
        sqlite3_set_auxdata(ctx, 0, made, expression_free); /* SQLite may free it at once */
}

/* ---- constant expressions, before there is a row ---- */

/* Does the text behind it make another text of what stands before? */
static bool goes_on(const char *p)
{
    return strchr("|*/%+-<>&", *p) ? *p != '\0' : !sqlite3_strnicmp(p, "collate", 7);
}

/* Of regexp('...', and of REGEXP '...': where the text begins; NULL: the expression is no constant. p: behind the word. */
static const char *constant_at(const char *p)
{
    p = sql_text_space(p);
    bool call = *p == '(';
    const char *text = call ? sql_text_space(p + 1) : p;
    if (*text != '\'')
        return NULL;
    const char *behind = sql_text_space(sql_text_token(text));
    return (call ? *behind == ',' || *behind == ')' : !goes_on(behind)) ? text : NULL;
}

/* Why the expression in the quotes at p cannot be compiled; false: it can. */
static bool constant_fault(const char *p, char *why, size_t cap)
{
    AUTO(buf_clear) struct buf text = { 0 };
    const char *end = sql_text_token(p);
    int code = 0;
    buf_adds(&text, "");
    for (p++; p < end - 1; p++) {
        buf_addc(&text, *p);
        p += *p == '\'';
    }
    pcre2_code *compiled = text.failed ? NULL : compile(text.p, text.n, &code);
    if (!compiled && !text.failed)
        say(why, cap, "the expression", text.p, code);
    bool fault = !compiled && !text.failed;
    pcre2_code_free(compiled);
    return fault;
}

bool sql_regexp_fault(const char *sql, size_t *at, char *why, size_t cap)
{
    for (const char *p = sql_text_space(sql); *p;) {
        const char *end = sql_text_token(p), *text = NULL;
        if (end - p == 6 && !sqlite3_strnicmp(p, "regexp", 6))
            text = constant_at(end);
        if (text && constant_fault(text, why, cap)) {
            *at = (size_t)(text - sql);
            return true;
        }
        p = sql_text_space(end);
    }
    return false;
}
#else
static void regexp(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc, (void)argv;
    sqlite3_result_error(ctx, "regexp: this qetl was built without PCRE2", -1);
}

bool sql_regexp_fault(const char *sql, size_t *at, char *why, size_t cap)
{
    (void)sql, (void)at, (void)why, (void)cap;
    return false;
}
#endif

/* ---- sum ---- */

enum { SCALE_MAX = 15 };
__extension__ typedef __int128 wide __attribute__((aligned(8))); /* as SQLite aligns what it gives */

/*
 * A REAL that is the nearest one to a decimal of at most 15 digits is taken for that decimal: there is one such at most. Sums of those
 * are exact, in `units` of 10^-scale, also where much was added and taken away again; others are added by Kahan, Babuska and Neumaier:
 * `sum` and what was lost in it. Integers alone are added as integers.
 */
struct sum {
    wide units;
    double sum, lost;
    sqlite3_int64 whole;
    sqlite3_int64 n; /* values that are not null */
    sqlite3_int64 reals, odd; /* odd: those of them that are no decimal */
    int scale;
    bool overflow, units_overflow; /* of whole, of units */
};

static const double tens[SCALE_MAX + 1] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };

/* v is *units * 10^-scale, and *units has at most 15 digits: the division is rounded once, so that it gives the nearest REAL. */
static bool has_scale(double v, int scale, wide *units)
{
    double r = rint(v * tens[scale]);
    if (!(fabs(r) < 1e15) || r / tens[scale] != v)
        return false;
    *units = (wide)r;
    return true;
}

static bool is_decimal(double v, int *scale, wide *units)
{
    if (has_scale(v, *scale, units)) /* as the values before it */
        return true;
    for (*scale = 0; *scale <= SCALE_MAX; ++*scale)
        if (has_scale(v, *scale, units))
            return true;
    return false;
}

/* units becomes units * 10^by. */
static bool scale_up(wide *units, int by)
{
    return !by || !__builtin_mul_overflow(*units, (wide)tens[by], units);
}

static void add_units(struct sum *s, wide units, int scale, int sign)
{
    bool good = true;
    if (scale > s->scale) {
        good = scale_up(&s->units, scale - s->scale);
        s->scale = scale;
    }
    good = good && scale_up(&units, s->scale - scale);
    s->units_overflow |= !good || __builtin_add_overflow(s->units, sign * units, &s->units);
}

static void sum_add(struct sum *s, double v)
{
    double t = s->sum + v;
    s->lost += fabs(s->sum) > fabs(v) ? s->sum - t + v : v - t + s->sum;
    s->sum = t;
}

static void sum_real(struct sum *s, double v, int sign)
{
    int scale = s->scale;
    wide units;
    s->reals += sign;
    if (is_decimal(v, &scale, &units))
        add_units(s, units, scale, sign);
    else
        s->odd += sign;
}

/* The value goes in, or out again at the end of a window: sign is 1 or -1. */
static void sum_move(sqlite3_context *ctx, sqlite3_value *v, int sign)
{
    struct sum *s = sqlite3_aggregate_context(ctx, sizeof *s);
    int type = sqlite3_value_numeric_type(v);
    if (!s || type == SQLITE_NULL)
        return;
    s->n += sign;
    if (type == SQLITE_INTEGER) {
        sqlite3_int64 i = sqlite3_value_int64(v);
        s->overflow |= sign > 0 ? __builtin_add_overflow(s->whole, i, &s->whole) : __builtin_sub_overflow(s->whole, i, &s->whole);
        add_units(s, i, 0, sign);
    } else {
        sum_real(s, sqlite3_value_double(v), sign);
    }
    sum_add(s, sign * sqlite3_value_double(v));
}

static void sum_step(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sum_move(ctx, argv[0], 1);
}

static void sum_inverse(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sum_move(ctx, argv[0], -1);
}

/* The nearest REAL, as long as it has 15 digits. */
static double decimal_sum(const struct sum *s)
{
    wide units = s->units;
    int scale = s->scale;
    for (; scale && units % 10 == 0; scale--)
        units /= 10;
    return (double)units / tens[scale];
}

static void sum_value(sqlite3_context *ctx)
{
    struct sum *s = sqlite3_aggregate_context(ctx, 0);
    if (!s || !s->n)
        return; /* null */
    if (s->reals && !s->odd && !s->units_overflow)
        sqlite3_result_double(ctx, decimal_sum(s));
    else if (s->reals)
        sqlite3_result_double(ctx, isfinite(s->lost) ? s->sum + s->lost : s->sum);
    else if (s->overflow)
        sqlite3_result_error(ctx, "integer overflow", -1);
    else
        sqlite3_result_int64(ctx, s->whole);
}

int sql_functions_declare(sqlite3 *db)
{
    enum { FLAGS = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS };
    int rc = sqlite3_create_function_v2(db, "regexp", 2, FLAGS, NULL, regexp, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_window_function(db, "sum", 1, FLAGS, NULL, sum_step, sum_value, sum_value, sum_inverse, NULL);
    return rc;
}
