/* Columns of tables that keep less than the rows have; see the header. */
#include "target/coarse.h"

#include <stdio.h>

enum rule {
    ALWAYS,
    NEVER,
    BY_DIGITS,
    UNVERSIONED /* other forms sort in another order */
};
static const enum rule rules[TYPES][KEEPS_KINDS] = {
    [TYPE_TEXT] = { [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = UNVERSIONED, [KEEPS_FLOATS] = UNVERSIONED, [KEEPS_DOUBLES] = UNVERSIONED,
                    [KEEPS_BITS] = UNVERSIONED, [KEEPS_DATES] = UNVERSIONED, [KEEPS_TIMES] = UNVERSIONED, [KEEPS_TIMESTAMPS] = UNVERSIONED },
    [TYPE_INTEGER] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = BY_DIGITS, [KEEPS_FLOATS] = NEVER,
                       [KEEPS_DOUBLES] = NEVER, [KEEPS_BITS] = NEVER },
    [TYPE_DECIMAL] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = BY_DIGITS, [KEEPS_FLOATS] = NEVER,
                       [KEEPS_DOUBLES] = NEVER, [KEEPS_BITS] = NEVER },
    [TYPE_REAL] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = NEVER, [KEEPS_FLOATS] = NEVER,
                    [KEEPS_BITS] = NEVER },
    [TYPE_BOOLEAN] = { [KEEPS_STARTS] = NEVER, [KEEPS_BITS] = NEVER },
    [TYPE_DATE] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_TIMES] = NEVER },
    [TYPE_TIMESTAMP] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_DATES] = NEVER,
                         [KEEPS_TIMES] = NEVER, [KEEPS_TIMESTAMPS] = BY_DIGITS },
    [TYPE_JSON] = { [KEEPS_STARTS] = NEVER },
};

/* Behind the point: of a number, or of a second. */
static int digits_of(const struct column *c) { return c->type == TYPE_DECIMAL ? c->scale : c->type == TYPE_TIMESTAMP ? column_second_digits(c) : 0; }

static bool fits(const struct column *c, bool is_version, struct kept k)
{
    switch (rules[c->type][k.keeps]) {
    case ALWAYS:
        break;
    case NEVER:
        return false;
    case BY_DIGITS:
        return k.digits >= digits_of(c);
    case UNVERSIONED:
        return !is_version;
    }
    return true;
}

/* The type for columns= whose values such a column keeps; false: there is none. */
static bool type_kept(struct column *as, bool is_version, struct kept k)
{
    enum { SCALE_MAX = 18 };
    enum type was = as->type;
    bool formatted = as->format;
    as->format = NULL;
    as->unit = 0;
    as->scale = k.keeps == KEEPS_NUMBERS && k.digits > 0 ? k.digits : 0;
    switch (k.keeps) {
    case KEEPS_NUMBERS:
        as->type = as->scale > SCALE_MAX ? TYPE_TEXT : as->scale ? TYPE_DECIMAL : TYPE_INTEGER;
        return k.digits >= 0 && !(is_version && as->type == TYPE_TEXT);
    case KEEPS_FLOATS: /* as soon as it is a double */
    case KEEPS_DOUBLES:
        as->type = TYPE_REAL;
        return was != TYPE_REAL;
    case KEEPS_DATES:
        as->type = TYPE_DATE;
        return true;
    case KEEPS_TIMESTAMPS:
        as->type = TYPE_TIMESTAMP;
        as->unit = column_second_unit(k.digits);
        return !formatted || was != TYPE_TIMESTAMP; /* a format has digits of its own */
    case KEEPS_ANY: case KEEPS_TEXT: case KEEPS_STARTS: case KEEPS_BITS: case KEEPS_TIMES: case KEEPS_KINDS:
        break;
    }
    return false;
}

/* What the column of the table is to be made for, so that what it has stays as it is: a float becomes a double. */
static bool type_mended(struct column *as, const struct column *c, struct kept k)
{
    *as = *c;
    if (k.keeps == KEEPS_FLOATS)
        as->type = TYPE_REAL;
    if (c->type == TYPE_TEXT)
        return k.keeps == KEEPS_STARTS;
    return k.keeps != KEEPS_DOUBLES && k.keeps != KEEPS_TIMES && !(c->type == TYPE_REAL && k.keeps == KEEPS_NUMBERS && k.digits != 0);
}

int coarse_check(const struct column *c, bool is_version, const struct coarse *t, struct err *err)
{
    struct column as = *c;
    AUTO(buf_clear) struct buf text = { 0 };
    if (fits(c, is_version, t->kept))
        return 0;
    buf_addf(&text, "column '%s' of table '%s' (%s) does not keep each ", c->name, t->table, t->type);
    column_print_type(c, &text);
    buf_adds(&text, is_version ? " as it is and in its order, which the version of rows needs" : " as it is");
    bool declared = type_kept(&as, is_version, t->kept);
    if (declared) {
        buf_adds(&text, "; declare it as ");
        column_print_type(&as, &text);
        buf_adds(&text, " in columns=");
    }
    if (t->alter && type_mended(&as, c, t->kept)) {
        buf_adds(&text, !declared ? "; run: " : t->kept.keeps == KEEPS_FLOATS ? ", and run: " : ", or run: ");
        t->alter(&text, t->arg, &as);
    }
    return text.failed ? err_nomem(err) : err_set(err, ERR_TARGET_REFUSED, "%s", text.p);
}

int coarse_check_moment(const char *name, const struct coarse *t, struct err *err)
{
    char text[64];
    snprintf(text, sizeof text, "%s", name);
    const struct column moment = { .name = text, .type = TYPE_TIMESTAMP };
    return coarse_check(&moment, true, t, err);
}
