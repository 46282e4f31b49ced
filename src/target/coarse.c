/* Columns of tables that keep less than the rows have; see the header. */
#include "target/coarse.h"

#include <stdio.h>

enum {
    NAMES_MAX = 200, /* bytes of names in a message */
    WAYS_MAX = 420,  /* of the message with what mends it, so that those who put words in front of it cut none of it off */
};

enum rule {
    ALWAYS,
    NEVER,
    BY_DIGITS,
    UNVERSIONED /* other forms sort in another order, and but for texts two of them can become one */
};
static const enum rule rules[TYPES][KEEPS_KINDS] = {
    [TYPE_TEXT] = { [KEEPS_WORDS] = NEVER, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = UNVERSIONED, [KEEPS_FLOATS] = UNVERSIONED, [KEEPS_DOUBLES] = UNVERSIONED,
                    [KEEPS_BITS] = UNVERSIONED, [KEEPS_CHOICES] = UNVERSIONED, [KEEPS_YEARS] = UNVERSIONED, [KEEPS_DATES] = UNVERSIONED,
                    [KEEPS_TIMES] = UNVERSIONED, [KEEPS_TIMESTAMPS] = UNVERSIONED },
    [TYPE_INTEGER] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = BY_DIGITS, [KEEPS_FLOATS] = NEVER,
                       [KEEPS_DOUBLES] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_CHOICES] = NEVER, [KEEPS_YEARS] = UNVERSIONED,
                       [KEEPS_DATES] = UNVERSIONED, [KEEPS_TIMES] = UNVERSIONED, [KEEPS_TIMESTAMPS] = UNVERSIONED },
    [TYPE_DECIMAL] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = BY_DIGITS, [KEEPS_FLOATS] = NEVER,
                       [KEEPS_DOUBLES] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_CHOICES] = NEVER, [KEEPS_YEARS] = NEVER,
                       [KEEPS_DATES] = UNVERSIONED, [KEEPS_TIMES] = NEVER, [KEEPS_TIMESTAMPS] = UNVERSIONED },
    [TYPE_REAL] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = NEVER, [KEEPS_FLOATS] = NEVER,
                    [KEEPS_BITS] = NEVER, [KEEPS_CHOICES] = NEVER, [KEEPS_YEARS] = NEVER, [KEEPS_DATES] = UNVERSIONED,
                    [KEEPS_TIMES] = NEVER, [KEEPS_TIMESTAMPS] = UNVERSIONED },
    [TYPE_BOOLEAN] = { [KEEPS_STARTS] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_CHOICES] = NEVER, [KEEPS_YEARS] = NEVER, [KEEPS_TIMES] = NEVER },
    [TYPE_DATE] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_CHOICES] = UNVERSIONED,
                    [KEEPS_TIMES] = NEVER },
    [TYPE_TIMESTAMP] = { [KEEPS_TEXT] = UNVERSIONED, [KEEPS_STARTS] = NEVER, [KEEPS_BITS] = NEVER, [KEEPS_CHOICES] = UNVERSIONED,
                         [KEEPS_DATES] = NEVER, [KEEPS_TIMES] = NEVER, [KEEPS_TIMESTAMPS] = BY_DIGITS },
    [TYPE_JSON] = { [KEEPS_WORDS] = NEVER, [KEEPS_STARTS] = NEVER, [KEEPS_NUMBERS] = BY_DIGITS, [KEEPS_FLOATS] = NEVER, [KEEPS_DOUBLES] = NEVER,
                    [KEEPS_BITS] = NEVER, [KEEPS_YEARS] = NEVER, [KEEPS_TIMES] = NEVER },
};

/* Behind the point: of a number, or of a second. A number of JSON may have any. */
static int digits_of(const struct column *c)
{
    return c->type == TYPE_DECIMAL ? c->scale : c->type == TYPE_TIMESTAMP ? column_second_digits(c) : c->type == TYPE_JSON ? DIGITS_ALL : 0;
}

/* Are keys that differ still apart in the form that such a column gives them? Where columns= has no type for it, the rule is the table's. */
static bool stays_apart(struct kept k) { return k.keeps == KEEPS_TEXT || k.keeps == KEEPS_CHOICES || k.keeps == KEEPS_BITS || k.keeps == KEEPS_TIMES; }

static bool fits(const struct column *c, enum coarse_use use, struct kept k)
{
    switch (rules[c->type][k.keeps]) {
    case ALWAYS:
        break;
    case NEVER:
        return false;
    case BY_DIGITS:
        return k.digits >= digits_of(c);
    case UNVERSIONED:
        return use == COARSE_VALUE || (use == COARSE_KEY && stays_apart(k));
    }
    return true;
}

/* The type for columns= whose values such a column keeps; false: there is none. */
static bool type_kept(struct column *as, bool is_needed, struct kept k)
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
        return k.digits >= 0 && !(is_needed && as->type == TYPE_TEXT);
    case KEEPS_FLOATS: /* as soon as it is a double */
    case KEEPS_DOUBLES:
        as->type = TYPE_REAL;
        return was != TYPE_REAL;
    case KEEPS_CHOICES: case KEEPS_YEARS:
        as->type = k.keeps == KEEPS_YEARS ? TYPE_INTEGER : TYPE_TEXT;
        return was != as->type && !is_needed;
    case KEEPS_DATES:
        as->type = TYPE_DATE;
        return true;
    case KEEPS_TIMESTAMPS:
        as->type = TYPE_TIMESTAMP;
        as->unit = column_second_unit(k.digits);
        return !formatted || was != TYPE_TIMESTAMP; /* a format has digits of its own */
    case KEEPS_ANY: case KEEPS_TEXT: case KEEPS_WORDS: case KEEPS_STARTS: case KEEPS_BITS: case KEEPS_TIMES: case KEEPS_KINDS:
        break;
    }
    return false;
}

/* Has the column what its database would make into other values, were its type changed: texts into their places, times into numbers? */
static bool has_others(const struct column *c, struct kept k)
{
    bool times = k.keeps == KEEPS_DATES || k.keeps == KEEPS_TIMES || k.keeps == KEEPS_TIMESTAMPS;
    return k.keeps == KEEPS_CHOICES || k.keeps == KEEPS_TIMES || (times && c->type != TYPE_DATE && c->type != TYPE_TIMESTAMP);
}

/* What the column of the table is to be made for, so that what it has stays as it is: a float becomes a double. */
static bool type_mended(struct column *as, const struct column *c, struct kept k)
{
    *as = *c;
    if (k.keeps == KEEPS_FLOATS)
        as->type = TYPE_REAL;
    if (c->type == TYPE_TEXT || c->type == TYPE_JSON)
        return k.keeps == KEEPS_STARTS;
    return k.keeps != KEEPS_DOUBLES && !has_others(c, k) && !(c->type == TYPE_REAL && k.keeps == KEEPS_NUMBERS && k.digits != 0);
}

/* What can be done about a column: some types keep a value only when both are done. */
enum way { DECLARE, ALTER, EITHER, BOTH };
static const char *const joined[] = { [EITHER] = ", or ", [BOTH] = ", and " };

static void add_name(struct coarse *t, const struct column *c, enum coarse_use use, const struct coarse_column *k)
{
    static const char *const needs[] = { [COARSE_VALUE] = "", [COARSE_VERSION] = " with its order, for version=",
                                         [COARSE_KEY] = ", in key=, where two keys could become one", [COARSE_MOMENT] = "" };
    if (t->unnamed || t->list.n > NAMES_MAX) {
        t->unnamed++;
        return;
    }
    buf_adds(&t->list, t->list.n ? ", " : "");
    column_print_type(c, &t->list);
    buf_addf(&t->list, " in '%s' (%s)%s", c->name, k->type, needs[use]);
}

static void add_ways(struct coarse *t, const struct column *c, enum coarse_use use, const struct coarse_column *k)
{
    struct column declared = *c, mended;
    bool declare = use != COARSE_MOMENT && type_kept(&declared, use != COARSE_VALUE, k->kept), alter = t->alter && type_mended(&mended, c, k->kept);
    struct coarse_way *w = &t->ways[!alter ? DECLARE : !declare ? ALTER : k->kept.keeps == KEEPS_FLOATS ? BOTH : EITHER];
    if (declare) {
        buf_addf(&w->types, "%s'%s' as ", w->types.n ? ", " : "", c->name);
        column_print_type(&declared, &w->types);
    }
    if (alter) {
        buf_adds(&w->changes, w->changes.n ? ", " : "");
        t->alter(&w->changes, k->arg, &mended);
    }
}

enum coarse_use coarse_use_of(const struct table_spec *spec, int i)
{
    return i == spec->version ? COARSE_VERSION : mode_has_key(spec->mode) && in_key(spec, i) ? COARSE_KEY : COARSE_VALUE;
}

void coarse_look(struct coarse *t, const struct column *c, enum coarse_use use, const struct coarse_column *k)
{
    if (fits(c, use, k->kept))
        return;
    t->found++;
    add_name(t, c, use, k);
    add_ways(t, c, use, k);
}

void coarse_look_moment(struct coarse *t, const char *name, const struct coarse_column *k)
{
    char text[64];
    snprintf(text, sizeof text, "%s", name);
    const struct column moment = { .name = text, .type = TYPE_TIMESTAMP };
    coarse_look(t, &moment, COARSE_MOMENT, k);
}

static void write_ways(struct buf *out, const struct coarse *t)
{
    for (enum way w = DECLARE; w <= BOTH; w++) {
        const struct buf *types = &t->ways[w].types, *changes = &t->ways[w].changes;
        if (types->n)
            buf_addf(out, "; declare %s in columns=", types->p);
        if (changes->n)
            buf_addf(out, "%srun: ALTER TABLE %s %s", types->n ? joined[w] : "; ", t->quoted, changes->p);
        out->failed |= types->failed || changes->failed;
    }
}

int coarse_refuse(const struct coarse *t, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 }, ways = { 0 };
    if (!t->found)
        return 0;
    buf_addf(&text, "table '%s' does not keep each value as it is: %s", t->table, t->list.failed ? "" : t->list.p);
    if (t->unnamed)
        buf_addf(&text, " and %d more", t->unnamed);
    write_ways(&ways, t);
    if (ways.n && (t->found == 1 || text.n + ways.n < WAYS_MAX))
        buf_adds(&text, ways.p);
    else if (ways.n)
        buf_adds(&text, "; declare types in columns= that the table keeps, or change those of its columns");
    return text.failed || ways.failed || t->list.failed ? err_nomem(err) : err_set(err, ERR_TARGET_REFUSED, "%s", text.p);
}

void coarse_clear(struct coarse *t)
{
    buf_clear(&t->list);
    for (enum way w = DECLARE; w <= BOTH; w++) {
        buf_clear(&t->ways[w].types);
        buf_clear(&t->ways[w].changes);
    }
}
