/* Rules of clean=: read once, run on each field of their column. See clean.h. Nothing here is kept
 * when power fails. */
#include <config.h>

#include "io/clean.h"

#include <ctype.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <wctype.h>

#ifdef HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#endif

#define FITS REJECT_REASONS

enum {
    MATCH_LIMIT = 100000, /* steps of one match; a field has a few at each byte */
    MAP_MAX = 10000,
};

enum kind { TRIM, SQUEEZE, LOWER, UPPER, CUT, REPLACE, MAP, TO_NULL, DEFAULT, LENGTH, MATCH, ONE_OF, RANGE, KINDS };
static const struct {
    const char *name;
    int min, max; /* arguments */
    const char *want;
} rules[KINDS] = {
    [TRIM] = { "trim", 0, 0, "no brackets" },
    [SQUEEZE] = { "squeeze", 0, 0, "no brackets" },
    [LOWER] = { "lower", 0, 0, "no brackets" },
    [UPPER] = { "upper", 0, 0, "no brackets" },
    [CUT] = { "cut", 1, 1, "a number of characters, as cut(40)" },
    [REPLACE] = { "replace", 2, 2, "an expression and a text, as replace(/[^0-9]/, \"\")" },
    [MAP] = { "map", 1, MAP_MAX, "pairs, as map(A = active, I = inactive, * = unknown)" },
    [TO_NULL] = { "null", 1, MAP_MAX, "texts, as null(-, \"n/a\")" },
    [DEFAULT] = { "default", 1, 1, "a text, as default(0)" },
    [LENGTH] = { "length", 1, 1, "numbers of characters, as length(1..40)" },
    [MATCH] = { "match", 1, 1, "an expression, as match(/^[A-Z]{2}$/)" },
    [ONE_OF] = { "one_of", 1, MAP_MAX, "texts, as one_of(red, green)" },
    [RANGE] = { "range", 1, 1, "limits, as range(0..1000) or range(2000-01-01..)" },
};

struct arg {
    struct str text, value; /* value: behind = */
    bool has_value, expression, any_case, quoted;
};

struct rule {
    enum kind kind;
    struct arg *args; /* in the arena; those of map, null and one_of by text */
    int nargs;
    struct str other; /* map: what the others become */
    bool has_other;
    int64_t low, high;
    double low_real, high_real;
    bool has_low, has_high;
#ifdef HAVE_PCRE2
    pcre2_code *code;
#endif
};

struct clean_column {
    char *name;  /* "*" for all others */
    int column;  /* -1: all others, or not known yet */
    enum type type;
    int scale;
    struct rule *rules;
    int n;
    const struct clean *all;
};

struct clean {
    struct arena arena;
    struct clean_column *columns;
    int n;
    struct clean_column **of; /* of each column of the recipe */
    int ncolumns;
#ifdef HAVE_PCRE2
    pcre2_match_context *context;
    pcre2_match_data *match;
#endif
};

/* The locale that knows letters beyond ASCII; it is in files, which the reader child may not open: it has what was loaded with
 * the ini, before its sandbox. 0: there is none here, and only ASCII letters change. */
static locale_t unicode(void)
{
    static locale_t locale;
    if (!locale)
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return locale;
}

/* ---- reading the rules ---- */

struct parser {
    struct clean *c;
    const char *at;
    const char *column, *rule; /* for messages */
    const struct columns *columns;
    const struct zone *zone;
    char point;
};

static int fault(const struct parser *p, struct err *err, const char *what)
{
    if (p->rule)
        return err_set(err, ERR_CONFIG, "clean: column '%s', %s wants %s", p->column, p->rule, what);
    if (p->column)
        return err_set(err, ERR_CONFIG, "clean: column '%s': %s", p->column, what);
    return err_set(err, ERR_CONFIG, "clean: %s at '%.20s'", what, p->at);
}

static bool is_end(char c)
{
    return !c || c == '\n' || c == ';';
}

static void skip_blanks(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\r')
        p->at++;
}

/* Up to the closing sign, which stands for itself when it comes twice ("") or behind a backslash
 * (\/); a copy. */
static int enclosed(struct parser *p, char sign, struct str *out, struct err *err)
{
    size_t n = 0;
    char *to = arena_alloc(&p->c->arena, strlen(p->at) + 1);
    if (!to)
        return err_nomem(err);
    for (p->at++; *p->at; p->at++) {
        if (sign == '/' && p->at[0] == '\\' && p->at[1] == '/')
            p->at++;
        else if (*p->at == sign && sign == '"' && p->at[1] == '"')
            p->at++;
        else if (*p->at == sign)
            break;
        to[n++] = *p->at;
    }
    if (!*p->at)
        return fault(p, err, sign == '/' ? "a closing / behind its expression" : "a closing \" behind its text");
    p->at++;
    to[n] = '\0';
    *out = (struct str){ to, n };
    return 0;
}

static int bare(struct parser *p, const char *ends, struct str *out, struct err *err)
{
    size_t n = strcspn(p->at, ends);
    *out = str_trim((struct str){ p->at, n });
    out->p = arena_dup(&p->c->arena, *out);
    p->at += n;
    return out->p ? 0 : err_nomem(err);
}

static int parse_arg(struct parser *p, enum kind kind, struct arg *a, struct err *err)
{
    *a = (struct arg){ 0 };
    skip_blanks(p);
    a->quoted = *p->at == '"';
    a->expression = *p->at == '/' && (kind == REPLACE || kind == MATCH);
    int rc = a->quoted || a->expression ? enclosed(p, *p->at, &a->text, err)
                                        : bare(p, kind == MAP ? ",)=\n" : ",)\n", &a->text, err);
    if (rc == 0 && a->expression && *p->at == 'i') {
        a->any_case = true;
        p->at++;
    }
    skip_blanks(p);
    if (rc < 0 || kind != MAP || *p->at != '=')
        return rc;
    p->at++;
    skip_blanks(p);
    a->has_value = true;
    rc = *p->at == '"' ? enclosed(p, '"', &a->value, err) : bare(p, ",)\n", &a->value, err);
    skip_blanks(p);
    return rc;
}

static int parse_args(struct parser *p, struct rule *r, struct err *err)
{
    int cap = 0;
    for (char sign = '('; sign != ')'; sign = *p->at++) {
        if (r->nargs == cap) {
            cap = cap ? cap * 4 : 4;
            struct arg *more = arena_alloc(&p->c->arena, (size_t)cap * sizeof *more);
            if (!more)
                return err_nomem(err);
            if (r->nargs)
                memcpy(more, r->args, (size_t)r->nargs * sizeof *more);
            r->args = more;
        }
        if (parse_arg(p, r->kind, &r->args[r->nargs++], err) < 0)
            return -1;
        if (*p->at != ',' && *p->at != ')')
            return fault(p, err, rules[r->kind].want);
        if (r->nargs > rules[r->kind].max)
            return fault(p, err, rules[r->kind].want);
    }
    return 0;
}

/* Is the first greater than the second? Then no value would pass. */
static bool wrong_way(const struct clean_column *c, const struct rule *r)
{
    if (!r->has_low || !r->has_high)
        return false;
    return r->kind == RANGE && c->type == TYPE_REAL ? r->low_real > r->high_real : r->low > r->high;
}

/* "A..B" with either side left out; without the dots both are A. */
static bool two_limits(struct str s, struct str *low, struct str *high)
{
    const char *dots = memmem(s.p, s.n, "..", 2);
    *low = *high = s;
    if (dots) {
        *low = str_trim((struct str){ s.p, (size_t)(dots - s.p) });
        *high = str_trim((struct str){ dots + 2, s.n - (size_t)(dots + 2 - s.p) });
    }
    return low->n || high->n;
}

static bool characters(struct str s, int64_t *out)
{
    return text_int(s, out) && *out >= 0;
}

static bool limit_of(const struct parser *p, const struct clean_column *c, struct str s, int64_t *i, double *r)
{
    switch (c->type) {
    case TYPE_INTEGER:
        return text_int(s, i);
    case TYPE_DECIMAL:
        return text_decimal(s, c->scale, '.', i) == DECIMAL_OK;
    case TYPE_REAL:
        return text_real_point(s, '.', r);
    case TYPE_DATE:
        return text_date(s, i);
    case TYPE_TIMESTAMP:
        return text_timestamp(s, p->zone, i);
    default:
        return false;
    }
}

static const char *const limit_forms[TYPES] = {
    [TYPE_INTEGER] = "limits that are values of the column, as range(0..100)",
    [TYPE_DECIMAL] = "limits that are values of the column, as range(0..99.5), with no more digits behind the point than it has",
    [TYPE_REAL] = "limits that are values of the column, as range(0..0.5)",
    [TYPE_DATE] = "limits that are values of the column, as range(2000-01-01..2000-12-31)",
    [TYPE_TIMESTAMP] = "limits that are values of the column, as range(2000-01-01T00:00:00Z..2000-12-31T12:00:00Z)",
};

static int parse_limits(struct parser *p, const struct clean_column *c, struct rule *r, struct err *err)
{
    struct str low, high;
    if (!two_limits(r->args[0].text, &low, &high))
        return fault(p, err, rules[r->kind].want);
    r->has_low = low.n;
    r->has_high = high.n;
    if (r->kind == LENGTH) {
        if ((low.n && !characters(low, &r->low)) || (high.n && !characters(high, &r->high)))
            return fault(p, err, rules[LENGTH].want);
        return wrong_way(c, r) ? fault(p, err, "its smaller limit first: no text would pass") : 0;
    }
    if (c->column < 0 && p->columns->n == 0)
        return 0; /* of what type the column is will be known later */
    if (c->column < 0 || c->type == TYPE_TEXT || c->type == TYPE_JSON || c->type == TYPE_BOOLEAN)
        return fault(p, err, "a column of numbers, dates or times");
    if ((low.n && !limit_of(p, c, low, &r->low, &r->low_real)) || (high.n && !limit_of(p, c, high, &r->high, &r->high_real)))
        return fault(p, err, limit_forms[c->type]);
    return wrong_way(c, r) ? fault(p, err, "its smaller limit first: no value would pass") : 0;
}

#ifdef HAVE_PCRE2
/* The group that stands behind the $ at the front of s, and how long that is, as pcre2_substitute(3) reads it; -1: none is. */
static int group_of(const pcre2_code *code, struct str s, size_t *length)
{
    char name[40];
    bool braced = s.n > 1 && s.p[1] == '{';
    size_t at = 1u + braced, n = 0;
    while (at + n < s.n && (isalnum((unsigned char)s.p[at + n]) || s.p[at + n] == '_'))
        n++;
    if (!n || n >= sizeof name || (braced && (at + n == s.n || s.p[at + n] != '}')))
        return -1;
    if (!braced && isdigit((unsigned char)s.p[at]))
        for (n = 1; at + n < s.n && isdigit((unsigned char)s.p[at + n]);)
            n++;
    memcpy(name, s.p + at, n);
    name[n] = '\0';
    *length = at + n + braced;
    long number = strtol(name, NULL, 10);
    if (isdigit((unsigned char)*name))
        return number > UINT16_MAX ? -1 : (int)number;
    return pcre2_substring_number_from_name(code, (PCRE2_SPTR)name);
}

/* Do the groups exist that the text of replace() names? Else each row with a match would be refused. */
static int check_groups(const struct parser *p, const struct rule *r, struct err *err)
{
    struct str s = r->args[1].text;
    uint32_t groups = 0;
    size_t n;
    (void)pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    for (size_t i = 0; i < s.n; i += n) {
        n = 1;
        if (s.p[i] != '$')
            continue;
        if (i + 1 < s.n && s.p[i + 1] == '$') {
            n = 2;
            continue;
        }
        int group = group_of(r->code, (struct str){ s.p + i, s.n - i }, &n);
        if (group < 0 || (uint32_t)group > groups)
            return fault(p, err, "a text whose $ has a number or name of a group of its expression behind it; $$ is a dollar");
    }
    return 0;
}
#endif

static int compile(struct parser *p, struct rule *r, struct err *err)
{
    if (!r->args[0].expression)
        return fault(p, err, rules[r->kind].want);
#ifdef HAVE_PCRE2
    int code;
    size_t at;
    r->code = pcre2_compile((PCRE2_SPTR)r->args[0].text.p, r->args[0].text.n,
                            PCRE2_UTF | (r->args[0].any_case ? PCRE2_CASELESS : 0u), &code, &at, NULL);
    if (r->code)
        return r->kind == REPLACE ? check_groups(p, r, err) : 0;
    PCRE2_UCHAR why[200];
    (void)pcre2_get_error_message(code, why, sizeof why);
    return err_set(err, ERR_CONFIG, "clean: column '%s', %s: the expression at byte %zu: %s", p->column, p->rule, at, (const char *)why);
#else
    return err_set(err, ERR_CONFIG, "clean: column '%s', %s: this qetl was built without PCRE2", p->column, p->rule);
#endif
}

static int by_text(const void *a, const void *b)
{
    const struct str x = ((const struct arg *)a)->text, y = ((const struct arg *)b)->text;
    size_t n = x.n < y.n ? x.n : y.n;
    int d = n ? memcmp(x.p, y.p, n) : 0;
    return d ? d : (x.n > y.n) - (x.n < y.n);
}

static int sort_texts(struct parser *p, struct rule *r, struct err *err)
{
    for (int i = r->nargs - 1; r->kind == MAP && i >= 0; i--) {
        struct arg *a = &r->args[i];
        if (!a->has_value)
            return fault(p, err, rules[MAP].want);
        if (a->quoted || !str_eq(a->text, STR("*")) || r->has_other)
            continue;
        r->has_other = true;
        r->other = a->value;
        *a = r->args[--r->nargs];
    }
    qsort(r->args, (size_t)r->nargs, sizeof *r->args, by_text);
    for (int i = 0; i < r->nargs; i++) {
        if (i && by_text(&r->args[i - 1], &r->args[i]) == 0)
            return fault(p, err, "each text once");
    }
    return 0;
}

static int finish_rule(struct parser *p, const struct clean_column *c, struct rule *r, struct err *err)
{
    switch (r->kind) {
    case CUT:
        return characters(r->args[0].text, &r->high) ? 0 : fault(p, err, rules[CUT].want);
    case REPLACE:
    case MATCH:
        return compile(p, r, err);
    case MAP:
    case TO_NULL:
    case ONE_OF:
        return sort_texts(p, r, err);
    case LENGTH:
    case RANGE:
        return parse_limits(p, c, r, err);
    default:
        return 0;
    }
}

static int parse_rule(struct parser *p, struct clean_column *c, struct err *err)
{
    struct rule r = { .kind = KINDS };
    skip_blanks(p);
    size_t n = strspn(p->at, "abcdefghijklmnopqrstuvwxyz_");
    for (int k = 0; k < KINDS; k++)
        if (strlen(rules[k].name) == n && !memcmp(rules[k].name, p->at, n))
            r.kind = (enum kind)k;
    if (r.kind == KINDS)
        return err_set(err, ERR_CONFIG,
                       "clean: column '%s': there is no rule '%.*s'; there are trim, squeeze, lower, upper, cut, replace, map, null, "
                       "default, length, match, one_of, range",
                       p->column, n ? (int)n : 20, p->at);
    p->rule = rules[r.kind].name;
    p->at += n;
    skip_blanks(p);
    if (*p->at == '(' && (p->at++, parse_args(p, &r, err) < 0))
        return -1;
    if (r.nargs < rules[r.kind].min || r.nargs > rules[r.kind].max)
        return fault(p, err, rules[r.kind].want);
    int rc = finish_rule(p, c, &r, err);
    p->rule = NULL;
    struct rule *more = rc == 0 ? realloc(c->rules, (size_t)(c->n + 1) * sizeof *more) : NULL;
    if (!more) {
#ifdef HAVE_PCRE2
        pcre2_code_free(r.code);
#endif
        return rc < 0 ? -1 : err_nomem(err);
    }
    c->rules = more;
    c->rules[c->n++] = r;
    return 0;
}

/* The column that the line is about. */
static int parse_name(struct parser *p, struct clean_column *c, struct err *err)
{
    struct str name;
    if ((*p->at == '"' ? enclosed(p, '"', &name, err) : bare(p, ":\n;", &name, err)) < 0)
        return -1;
    skip_blanks(p);
    if (!name.n || *p->at != ':')
        return fault(p, err, "'COLUMN: rule, rule' was expected");
    p->at++;
    p->column = c->name = (char *)name.p;
    bool all = str_eq(name, STR("*"));
    c->column = all ? -1 : columns_find(p->columns, name);
    if (!all && c->column < 0 && p->columns->n)
        return fault(p, err, "there is no such column");
    if (c->column >= 0) {
        c->type = p->columns->v[c->column].type;
        c->scale = p->columns->v[c->column].scale;
    }
    for (int i = 0; i < p->c->n; i++)
        if (str_eq_nocase(str_of(p->c->columns[i].name), name))
            return fault(p, err, "it has two lines");
    return 0;
}

static int parse_line(struct parser *p, struct err *err)
{
    struct clean *c = p->c;
    struct clean_column *more = realloc(c->columns, (size_t)(c->n + 1) * sizeof *more), *column;
    if (!more)
        return err_nomem(err);
    c->columns = more;
    column = &c->columns[c->n];
    *column = (struct clean_column){ .all = c };
    p->column = p->rule = NULL;
    if (parse_name(p, column, err) < 0)
        return -1;
    c->n++;
    do {
        if (parse_rule(p, column, err) < 0)
            return -1;
        skip_blanks(p);
    } while (*p->at == ',' && p->at++);
    return is_end(*p->at) ? 0 : fault(p, err, "a comma was expected between its rules");
}

/* Which rules each column has. */
static int share_out(struct clean *c, const struct columns *columns, struct err *err)
{
    struct clean_column *others = NULL;
    c->ncolumns = columns->n;
    c->of = calloc((size_t)columns->n + 1, sizeof(struct clean_column *));
    if (!c->of)
        return err_nomem(err);
    for (int i = 0; i < c->n; i++) {
        if (c->columns[i].column >= 0)
            c->of[c->columns[i].column] = &c->columns[i];
        if (!strcmp(c->columns[i].name, "*"))
            others = &c->columns[i];
    }
    for (int i = 0; i < columns->n; i++)
        if (!c->of[i])
            c->of[i] = others;
    return 0;
}

int clean_parse(struct clean **out, const char *text, const struct columns *columns, const struct zone *zone, char point, struct err *err)
{
    struct clean *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    struct parser p = { .c = c, .at = text, .columns = columns, .zone = zone, .point = point };
    (void)unicode();
    int rc = 0;
#ifdef HAVE_PCRE2
    c->context = pcre2_match_context_create(NULL);
    c->match = pcre2_match_data_create(10, NULL);
    if (!c->context || !c->match)
        rc = err_nomem(err);
    else
        (void)pcre2_set_match_limit(c->context, MATCH_LIMIT);
#endif
    while (rc == 0 && *p.at) {
        skip_blanks(&p);
        if (is_end(*p.at))
            p.at += *p.at != '\0';
        else
            rc = parse_line(&p, err);
    }
    if (rc < 0 || share_out(c, columns, err) < 0) {
        clean_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void clean_free(struct clean *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++) {
#ifdef HAVE_PCRE2
        for (int k = 0; k < c->columns[i].n; k++)
            pcre2_code_free(c->columns[i].rules[k].code);
#endif
        free(c->columns[i].rules);
    }
#ifdef HAVE_PCRE2
    pcre2_match_context_free(c->context);
    pcre2_match_data_free(c->match);
#endif
    arena_clear(&c->arena);
    free(c->columns);
    free(c->of);
    free(c);
}

struct clean_column *clean_of(const struct clean *c, int column)
{
    return c && column < c->ncolumns ? c->of[column] : NULL;
}

/* ---- on a field ---- */

static struct str text_of(const struct field *f)
{
    return (struct str){ f->p, f->n };
}

static void text_set(struct field *f, struct str s)
{
    f->p = s.p;
    f->n = (uint32_t)s.n;
}

/* Length of the white space at p: ASCII's, or U+00A0; 0 none. */
static size_t blank(const char *p, const char *end)
{
    if (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r')))
        return 1;
    return end - p >= 2 && p[0] == '\xc2' && p[1] == '\xa0' ? 2 : 0;
}

static struct str trimmed(struct str s)
{
    const char *p = s.p, *end = s.p + s.n;
    for (size_t n; (n = blank(p, end)) > 0;)
        p += n;
    while (end > p && (blank(end - 1, end) == 1 || (end - p >= 2 && blank(end - 2, end) == 2)))
        end -= blank(end - 1, end) == 1 ? 1 : 2;
    return (struct str){ p, (size_t)(end - p) };
}

/* Each run of white space becomes one space. */
static bool squeeze(struct field *f, struct arena *arena)
{
    const char *p = f->p, *end = f->p + f->n;
    char *to = arena_alloc(arena, f->n + 1), *start = to;
    if (!to)
        return false;
    for (size_t n; p < end;) {
        if (!(n = blank(p, end))) {
            *to++ = *p++;
            continue;
        }
        while ((n = blank(p, end)) > 0)
            p += n;
        *to++ = ' ';
    }
    text_set(f, (struct str){ start, (size_t)(to - start) });
    return true;
}

/* A character of valid UTF-8 and its length. */
static uint32_t character(const unsigned char *p, size_t *n)
{
    *n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    uint32_t c = *n == 1 ? *p : *p & (0xffu >> (*n + 1));
    for (size_t i = 1; i < *n; i++)
        c = c << 6 | (p[i] & 0x3fu);
    return c;
}

static char *put_character(char *to, uint32_t c)
{
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    *to++ = (char)(lead[more] | c >> (6 * more));
    while (more-- > 0)
        *to++ = (char)(0x80 | (c >> (6 * more) & 0x3f));
    return to;
}

static bool change_case(struct field *f, bool up, struct arena *arena)
{
    locale_t letters = unicode();
    const unsigned char *p = (const unsigned char *)f->p, *end = p + f->n;
    char *to = arena_alloc(arena, (size_t)f->n * 2 + 1), *start = to; /* no character takes more than one byte more */
    if (!to)
        return false;
    while (p < end) {
        size_t n = 1;
        if (*p < 0x80)
            *to++ = (char)(up ? toupper(*p) : tolower(*p));
        else if (letters && text_utf8_one(p, (size_t)(end - p)) > 0) {
            uint32_t ch = character(p, &n);
            to = put_character(to, up ? towupper_l(ch, letters) : towlower_l(ch, letters));
        } else
            *to++ = (char)*p;
        p += n;
    }
    text_set(f, (struct str){ start, (size_t)(to - start) });
    return true;
}

static int64_t count_characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void cut(struct field *f, int64_t most)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (((unsigned char)f->p[i] & 0xc0) != 0x80 && most-- == 0)
            f->n = i;
}

static const struct arg *find_text(const struct rule *r, struct str s)
{
    struct arg key = { .text = s };
    return bsearch(&key, r->args, (size_t)r->nargs, sizeof *r->args, by_text);
}

static void map(const struct rule *r, struct field *f)
{
    const struct arg *a = find_text(r, text_of(f));
    if (a || r->has_other)
        text_set(f, a ? a->value : r->other);
}

#ifdef HAVE_PCRE2
static enum reject_reason replace(const struct clean *c, const struct rule *r, struct field *f, struct arena *arena)
{
    static const uint32_t how = PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_UNSET_EMPTY | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH;
    size_t cap = (size_t)f->n + 64;
    for (;;) {
        size_t n = cap;
        char *to = arena_alloc(arena, cap);
        if (!to)
            return REJECT_PATTERN;
        int rc = pcre2_substitute(r->code, (PCRE2_SPTR)f->p, f->n, 0, how, c->match, c->context, (PCRE2_SPTR)r->args[1].text.p,
                                  r->args[1].text.n, (PCRE2_UCHAR *)to, &n);
        if (rc == PCRE2_ERROR_NOMEMORY && n > cap) {
            cap = n;
            continue;
        }
        if (rc > 0)
            text_set(f, (struct str){ to, n });
        return rc < 0 ? REJECT_PATTERN : FITS;
    }
}

static bool matches(const struct clean *c, const struct rule *r, struct str s)
{
    return pcre2_match(r->code, (PCRE2_SPTR)s.p, s.n, 0, 0, c->match, c->context) >= 0;
}
#else
static enum reject_reason replace(const struct clean *c, const struct rule *r, struct field *f, struct arena *arena)
{
    (void)c, (void)r, (void)f, (void)arena;
    return REJECT_PATTERN; /* clean_parse() takes no such rule */
}
static bool matches(const struct clean *c, const struct rule *r, struct str s)
{
    (void)c, (void)r, (void)s;
    return false;
}
#endif

static bool is_written(const struct field *f)
{
    return f->kind >= FIELD_BARE && f->kind <= FIELD_NUMBER;
}

/* A rule that changes text. */
static enum reject_reason change(const struct clean_column *col, const struct rule *r, struct field *f, struct arena *arena)
{
    const char *before = f->p;
    uint32_t n = f->n;
    enum reject_reason why = FITS;
    switch (r->kind) {
    case TRIM:
        text_set(f, trimmed(text_of(f)));
        break;
    case SQUEEZE:
        why = squeeze(f, arena) ? FITS : REJECT_PATTERN;
        break;
    case LOWER:
    case UPPER:
        why = change_case(f, r->kind == UPPER, arena) ? FITS : REJECT_PATTERN;
        break;
    case CUT:
        cut(f, r->high);
        break;
    case REPLACE:
        why = replace(col->all, r, f, arena);
        break;
    case MAP:
        map(r, f);
        break;
    default:
        break;
    }
    if (f->kind == FIELD_NUMBER && (f->n != n || memcmp(f->p, before, n)))
        f->kind = FIELD_QUOTED; /* it is no JSON number any more, but a JSON text */
    return why;
}

static enum reject_reason check(const struct clean_column *col, const struct rule *r, const struct field *f)
{
    struct str s = text_of(f);
    int64_t n;
    switch (r->kind) {
    case LENGTH:
        n = count_characters(s);
        return (r->has_low && n < r->low) || (r->has_high && n > r->high) ? REJECT_LENGTH : FITS;
    case MATCH:
        return matches(col->all, r, s) ? FITS : REJECT_PATTERN;
    case ONE_OF:
        return find_text(r, s) ? FITS : REJECT_NOT_ONE_OF;
    default:
        return FITS;
    }
}

static void put_default(const struct clean_column *col, const struct rule *r, struct field *f)
{
    text_set(f, r->args[0].text);
    f->kind = col->type == TYPE_JSON ? FIELD_BARE : FIELD_NUMBER; /* with a point as the ini has it, and no null token */
}

bool clean_default(const struct clean_column *c, struct field *f)
{
    const struct rule *last = NULL;
    for (int i = 0; i < c->n; i++)
        if (c->rules[i].kind <= DEFAULT)
            last = &c->rules[i];
    if (c->column < 0 || !last || last->kind != DEFAULT)
        return false;
    put_default(c, last, f);
    return true;
}

enum reject_reason clean_field(struct clean_column *c, struct field *f, bool (*null)(const void *arg, const struct field *f),
                               const void *arg, struct arena *arena)
{
    bool none = null(arg, f);
    for (int i = 0; i < c->n; i++) {
        const struct rule *r = &c->rules[i];
        enum reject_reason why = FITS;
        if (r->kind == DEFAULT) {
            if (none)
                put_default(c, r, f);
            none = false;
        } else if (none || !is_written(f)) {
            continue;
        } else if (r->kind == TO_NULL) {
            if ((none = find_text(r, text_of(f)) != NULL))
                f->kind = FIELD_NULL;
        } else if (r->kind < TO_NULL) {
            why = change(c, r, f, arena);
            none = null(arg, f);
        } else {
            why = check(c, r, f);
        }
        if (why != FITS)
            return why;
    }
    return FITS;
}

static bool within(const struct clean_column *c, const struct rule *r, const struct value *v)
{
    if (c->type == TYPE_REAL)
        return !(r->has_low && v->r < r->low_real) && !(r->has_high && v->r > r->high_real);
    return !(r->has_low && v->i < r->low) && !(r->has_high && v->i > r->high);
}

enum reject_reason clean_value(const struct clean_column *c, const struct value *v)
{
    for (int i = 0; i < c->n; i++)
        if (c->rules[i].kind == RANGE && !within(c, &c->rules[i], v))
            return REJECT_OUTSIDE;
    return FITS;
}
