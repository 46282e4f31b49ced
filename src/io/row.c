/*
 * Columns as text and back, batches, and the one table of reject reasons.
 *
 * The grammar of columns= (white space is free between words):
 *     columns = column { "," column } [ "," ]
 *     column  = name [ ":" type [ "(" argument ")" ] ] { "!" | "?" } [ "from" name ]
 *     name    = word | quoted | '_param.' quoted
 *     quoted  = '"' any, with "" for one quote '"'
 * A source that is a word may be one of qetl's own values, such as _source; in quotes it is a name of the file.
 * Memory only; power cuts do not matter here.
 */
#include "io/row.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

enum { COLUMNS_MAX = 2000, SCALE_MAX = 18 };

/* What may stand in the brackets behind a type. */
enum argument { ARG_NONE, ARG_SCALE, ARG_FORMAT };

static const struct {
    const char *name;
    enum argument argument;
} types[TYPES] = {
    [TYPE_TEXT] = { "text", ARG_NONE },
    [TYPE_INTEGER] = { "integer", ARG_NONE },
    [TYPE_DECIMAL] = { "decimal", ARG_SCALE },
    [TYPE_REAL] = { "real", ARG_NONE },
    [TYPE_BOOLEAN] = { "boolean", ARG_NONE },
    [TYPE_DATE] = { "date", ARG_FORMAT },
    [TYPE_TIMESTAMP] = { "timestamp", ARG_FORMAT },
    [TYPE_JSON] = { "json", ARG_NONE },
};

const char *type_name(enum type t)
{
    assert(t >= 0 && t < TYPES);
    return types[t].name;
}

static const struct {
    const char *name, *text;
} reasons[REJECT_REASONS] = {
    [REJECT_CSV_QUOTE] = { "csv-quote",
                           "a quoted field is not closed, or text follows its closing quote" },
    [REJECT_FIELD_COUNT] = { "field-count", "the row has more or fewer fields than the header or the columns" },
    [REJECT_ROW_TOO_LONG] = { "row-too-long", "the row is longer than [limits] row" },
    [REJECT_ENCODING] = { "encoding", "bytes that are not UTF-8; in another encoding, such as encoding = latin1?" },
    [REJECT_JSON_SYNTAX] = { "json-syntax", "the line is not valid JSON" },
    [REJECT_JSON_DEPTH] = { "json-depth", "JSON nested too deep" },
    [REJECT_JSON_NOT_OBJECT] = { "json-not-object", "JSON, but no object where one is needed" },
    [REJECT_DUPLICATE_KEY] = { "duplicate-key",
                               "a key that a column takes stands twice in the object" },
    [REJECT_NULL] = { "null", "no value in a column that needs one" },
    [REJECT_NOT_INTEGER] = { "not-integer", "not an integer" },
    [REJECT_NOT_DECIMAL] = { "not-decimal", "not a decimal number" },
    [REJECT_NOT_REAL] = { "not-real", "not a number" },
    [REJECT_NOT_BOOLEAN] = { "not-boolean",
                             "not a boolean: true, t, yes, y, 1, false, f, no, n and 0 are" },
    [REJECT_NOT_DATE] = { "not-date", "not a date in the column's format" },
    [REJECT_NOT_TIMESTAMP] = { "not-timestamp", "not a timestamp in the column's format, finer than "
                                                "microseconds, or a local time that its zone skipped" },
    [REJECT_NOT_JSON] = { "not-json", "not valid JSON" },
    [REJECT_NOT_TEXT] = { "not-text", "an object or array where text was expected" },
    [REJECT_RANGE] = { "range", "the number does not fit the column's type" },
    [REJECT_SCALE] = { "scale", "more digits behind the point than the column keeps" },
    [REJECT_NUL] = { "nul", "the text holds a NUL byte" },
    [REJECT_TARGET_RANGE] = { "target-range", "the target cannot hold this value, or path= cannot name an object by it" },
    [REJECT_OUTSIDE] = { "outside", "less or more than range() in clean= allows" },
    [REJECT_LENGTH] = { "length", "shorter or longer than length() in clean= allows" },
    [REJECT_PATTERN] = { "pattern", "not what match() in clean= asks for, or its expression could not be tried to the end" },
    [REJECT_NOT_ONE_OF] = { "not-one-of", "none of the values of one_of() in clean=" },
    [REJECT_ENRICH_MISS] = { "enrich-miss", "the server of an [enrich] has no answer for the row (on_miss = reject)" },
    [REJECT_ENRICH_ERROR] = { "enrich-error", "the server of an [enrich] could not be asked, or its answer cannot be read (on_error = reject)" },
    [REJECT_LATE] = { "late", "its event time is before the watermark of the job, and late = reject" },
    [REJECT_SQL_RANGE] = { "sql-range", "SQL reads it, and has decimals of 15 digits; to pass it as it is, type it text in columns= and decimal in output=" },
};

const char *reject_name(enum reject_reason r)
{
    assert(r >= 0 && r < REJECT_REASONS);
    return reasons[r].name;
}

const char *reject_text(enum reject_reason r)
{
    assert(r >= 0 && r < REJECT_REASONS);
    return reasons[r].text;
}

/* ---- columns= ---- */

struct parser {
    const char *at;
    int number; /* of the column, from 1, for messages */
    bool word;  /* the last name stood there without quotes */
};

/* What is in no field of a file, by the word for it. */
static const char *const builtins[] = { [BUILTIN_SOURCE] = "_source", [BUILTIN_MEMBER] = "_member", [BUILTIN_LINE] = "_line",
                                        [BUILTIN_JOB] = "_job" };
static const char param_prefix[] = "_param.";
enum { PARAM_PREFIX = sizeof param_prefix - 1 };

enum builtin builtin_of(struct str word)
{
    for (int b = BUILTIN_SOURCE; b <= BUILTIN_JOB; b++)
        if (str_eq(word, str_of(builtins[b])))
            return (enum builtin)b;
    return word.n > PARAM_PREFIX && !memcmp(word.p, param_prefix, PARAM_PREFIX) ? BUILTIN_PARAM : BUILTIN_NONE;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct parser *p)
{
    while (is_space(*p->at))
        p->at++;
}

static bool ends_word(char c)
{
    return !c || is_space(c) || strchr(",:!?()\"", c);
}

/* What stands in the quotes that open here. */
static int parse_quoted(struct parser *p, struct buf *b, struct err *err)
{
    for (p->at++; *p->at != '"' || p->at[1] == '"'; p->at++) {
        if (!*p->at)
            return err_set(err, ERR_CONFIG, "column %d: the quoted name is never closed",
                           p->number);
        buf_addc(b, *p->at);
        p->at += *p->at == '"';
    }
    p->at++;
    return 0;
}

/* A name, bare or quoted, as a malloc'ed string. */
static int parse_name(struct parser *p, char **out, struct err *err)
{
    skip_space(p);
    AUTO(buf_clear) struct buf b = { 0 };
    p->word = *p->at != '"';
    while (p->word && !ends_word(*p->at))
        buf_addc(&b, *p->at++);
    bool quoted = *p->at == '"' && (!p->word || (!b.failed && str_eq(buf_str(&b), STR(param_prefix))));
    if (quoted && parse_quoted(p, &b, err) < 0)
        return -1;
    if (b.failed)
        return err_nomem(err);
    if (!b.n)
        return err_set(err, ERR_CONFIG, "column %d: a name was expected at '%.20s'", p->number,
                       p->at);
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f)
            return err_set(err, ERR_CONFIG, "column %d: the name holds a control character",
                           p->number);
    if (text_utf8_valid(buf_str(&b)) < b.n)
        return err_set(err, ERR_CONFIG, "column %d: the name is not UTF-8", p->number);
    *out = b.p;
    b = (struct buf){ 0 };
    return 0;
}

static int bad_type(const struct parser *p, struct str word, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)(word.n < 31 ? word.n : 31), word.p);
    for (int t = 0; t < TYPES; t++)
        if (text_distance(name, types[t].name, 3) <= 2 ||
            (word.n > 2 && !strncmp(name, types[t].name, word.n)))
            return err_set(err, ERR_CONFIG, "column %d: '%s' is no type; did you mean '%s'?",
                           p->number, name, types[t].name);
    return err_set(err, ERR_CONFIG,
                   "column %d: '%s' is no type; text, integer, decimal(N), real, boolean, date, "
                   "timestamp and json are",
                   p->number, name);
}

/* The text between ( and its own ), quoted or with balanced brackets inside, as a malloc'ed string.
 */
static int parse_argument(struct parser *p, char **out, struct err *err)
{
    const char *start = ++p->at;
    if (*start == '"') {
        if (parse_name(p, out, err) < 0)
            return -1;
    } else {
        for (int depth = 0; *p->at && (*p->at != ')' || depth); p->at++)
            depth += *p->at == '(' ? 1 : *p->at == ')' ? -1 : 0;
        if (!(*out = strndup(start, (size_t)(p->at - start))))
            return err_nomem(err);
    }
    if (*p->at != ')')
        return err_set(err, ERR_CONFIG, "column %d: '(' is never closed", p->number);
    p->at++;
    return 0;
}

int column_second_unit(int digits)
{
    int unit = 1;
    for (; digits < SECOND_DIGITS; digits++)
        unit *= 10;
    return unit > 1 ? unit : 0;
}

/* Of its parts only these two are of a second. */
static int unit_of_format(const char *format)
{
    bool ms = false;
    for (const char *p = strchr(format, '%'); p; p = strchr(p + 2, '%')) {
        if (p[1] == 'f')
            return 0;
        ms |= p[1] == 'Q';
    }
    return column_second_unit(ms ? 3 : 0);
}

/* timestamp(3) */
static bool take_digits(struct column *c, const char *arg)
{
    if (c->type != TYPE_TIMESTAMP || strlen(arg) != 1 || *arg < '0' || *arg > '0' + SECOND_DIGITS)
        return false;
    c->unit = column_second_unit(*arg - '0');
    return true;
}

int column_second_digits(const struct column *c)
{
    int digits = SECOND_DIGITS;
    for (int unit = c->unit; unit > 1; unit /= 10)
        digits--;
    return digits;
}

static int take_argument(const struct parser *p, struct column *c, char **arg, struct err *err)
{
    int64_t scale;
    const char *bad;
    switch (types[c->type].argument) {
    case ARG_NONE:
        if (*arg)
            return err_set(err, ERR_CONFIG, "column %d: %s takes nothing in brackets", p->number,
                           type_name(c->type));
        return 0;
    case ARG_SCALE:
        if (!*arg || !text_int(str_of(*arg), &scale) || scale < 0 || scale > SCALE_MAX)
            return err_set(
                err, ERR_CONFIG,
                "column %d: decimal needs its digits behind the point, 0 to 18, such as decimal(2)",
                p->number);
        c->scale = (int)scale;
        return 0;
    case ARG_FORMAT:
        if (!*arg || take_digits(c, *arg))
            return 0;
        if (!text_fmt_valid(*arg, &bad))
            return *bad ? err_set(err, ERR_CONFIG,
                                  "column %d: '%.10s' is no part of a time format, or lacks its "
                                  "%%I or %%p",
                                  p->number, bad)
                        : err_set(err, ERR_CONFIG,
                                  "column %d: the format has no year (%%Y, %%y, %%s or %%Q)",
                                  p->number);
        if (c->type == TYPE_TIMESTAMP)
            c->unit = unit_of_format(*arg);
        c->format = *arg;
        *arg = NULL;
        return 0;
    }
    return 0;
}

static int parse_type(struct parser *p, struct column *c, struct err *err)
{
    skip_space(p);
    struct str word = { p->at, 0 };
    while (!ends_word(*p->at))
        p->at++;
    word.n = (size_t)(p->at - word.p);
    int t = 0;
    while (t < TYPES && !str_eq_nocase(word, str_of(types[t].name)))
        t++;
    if (t == TYPES)
        return bad_type(p, word, err);
    c->type = (enum type)t;
    AUTO(free_charp) char *arg = NULL;
    if (*p->at == '(' && parse_argument(p, &arg, err) < 0)
        return -1;
    return take_argument(p, c, &arg, err);
}

static int parse_flags(struct parser *p, struct column *c, struct err *err)
{
    for (skip_space(p); *p->at == '!' || *p->at == '?'; skip_space(p))
        *(*p->at++ == '!' ? &c->required : &c->optional) = true;
    if (c->required && c->optional)
        return err_set(err, ERR_CONFIG,
                       "column %d: '!' (never null) and '?' (may be missing) exclude each other",
                       p->number);
    return 0;
}

/* The table's name for a source name: each run of . [ ] becomes one _, none at the end. In place,
 * never longer. */
static void flatten(char *name)
{
    char *to = name;
    for (const char *s = name; *s; s++) {
        if (!strchr(".[]", *s))
            *to++ = *s;
        else if (to > name && s[1 + strspn(s + 1, ".[]")] && !strchr(".[]", s[1]))
            *to++ = '_';
    }
    if (to > name)
        *to = '\0';
}

/* word: the name is one. Then so is a source that is the same. */
static int parse_from(struct parser *p, struct column *c, bool word, struct err *err)
{
    if (!strncmp(p->at, "from", 4) && (is_space(p->at[4]) || p->at[4] == '"')) {
        p->at += 4;
        return parse_name(p, &c->from, err);
    }
    p->word = word;
    if (!(c->from = strdup(c->name)))
        return err_nomem(err);
    flatten(c->name);
    return 0;
}

static void find_builtin(struct column *c)
{
    c->builtin = builtin_of(str_of(c->from));
    c->param = c->builtin == BUILTIN_PARAM ? c->from + PARAM_PREFIX : NULL;
    c->optional |= c->builtin != BUILTIN_NONE;
}

static int parse_column(struct parser *p, struct column *c, struct err *err)
{
    if (parse_name(p, &c->name, err) < 0)
        return -1;
    bool word = p->word;
    skip_space(p);
    if (*p->at == ':') {
        p->at++;
        if (parse_type(p, c, err) < 0)
            return -1;
    }
    if (parse_flags(p, c, err) < 0 || parse_from(p, c, word, err) < 0)
        return -1;
    if (p->word)
        find_builtin(c);
    skip_space(p);
    if (*p->at && *p->at != ',')
        return err_set(err, ERR_CONFIG, "column %d, '%s': a comma was expected at '%.20s'",
                       p->number, c->name, p->at);
    return 0;
}

/* A new column at the end, or NULL with *err. */
static struct column *columns_add(struct columns *c, int *cap, struct err *err)
{
    if (c->n == COLUMNS_MAX) {
        err_set(err, ERR_CONFIG, "more than %d columns", COLUMNS_MAX);
        return NULL;
    }
    if (c->n == *cap) {
        int more = *cap ? *cap * 2 : 16;
        struct column *v = realloc(c->v, (size_t)more * sizeof *v);
        if (!v) {
            err_nomem(err);
            return NULL;
        }
        c->v = v;
        *cap = more;
    }
    struct column *col = &c->v[c->n++];
    *col = (struct column){ .type = TYPE_TEXT };
    return col;
}

/* The comma that ends the column at `at`, or the end of the text. */
static const char *column_end(const char *at)
{
    bool quoted = false, inside = false;
    for (; *at && (quoted || inside || *at != ','); at++) {
        quoted ^= *at == '"';
        if (!quoted && (*at == '(' || *at == ')'))
            inside = *at == '(';
    }
    return at;
}

static int next_column(struct parser *p, struct columns *c, int *cap, struct err *err)
{
    struct column *col = columns_add(c, cap, err);
    if (!col || parse_column(p, col, err) < 0)
        return -1;
    struct columns before = { c->v, c->n - 1 };
    if (columns_find(&before, str_of(col->name)) >= 0)
        return err_set(err, ERR_CONFIG, "column %d: the name '%s' is there twice", p->number,
                       col->name);
    return 0;
}

/* A fault keeps its column, so that the number of columns is bounded by what is wrong, too. */
int columns_parse_all(struct columns *out, const char *text,
                      bool (*told)(void *arg, const struct err *fault), void *arg, struct err *err)
{
    AUTO(columns_clear) struct columns c = { 0 };
    struct parser p = { .at = text };
    int cap = 0, rc = 0;
    for (skip_space(&p); *p.at; skip_space(&p)) {
        const char *begin = p.at;
        p.number++;
        if (next_column(&p, &c, &cap, err) < 0) {
            rc = -1;
            if (!told(arg, err) || err->code != ERR_CONFIG || p.number > COLUMNS_MAX)
                return -1;
            p.at = column_end(begin);
        }
        p.at += *p.at == ',';
    }
    if (!p.number) {
        rc = err_set(err, ERR_CONFIG, "no columns are named");
        (void)told(arg, err);
    }
    if (rc < 0)
        return -1;
    *out = c;
    c = (struct columns){ 0 };
    return 0;
}

static bool first_is_enough(void *arg, const struct err *fault)
{
    (void)arg, (void)fault;
    return false;
}

int columns_parse(struct columns *out, const char *text, struct err *err)
{
    return columns_parse_all(out, text, first_is_enough, NULL, err);
}

void columns_clear(struct columns *c)
{
    for (int i = 0; i < c->n; i++) {
        free(c->v[i].name);
        free(c->v[i].from);
        free(c->v[i].format);
    }
    free(c->v);
    *c = (struct columns){ 0 };
}

int columns_add_like(struct columns *c, const struct column *like, const char *name, struct err *err)
{
    if (columns_find(c, str_of(name)) >= 0)
        return err_set(err, ERR_CONFIG, "the column '%s' is there twice", name);
    struct column *v = realloc(c->v, ((size_t)c->n + 1) * sizeof *v);
    if (!v)
        return err_nomem(err);
    c->v = v;
    struct column *to = &v[c->n];
    *to = (struct column){ .name = strdup(name), .from = strdup(name), .type = like->type, .scale = like->scale, .unit = like->unit, .required = like->required };
    if (!to->name || !to->from) {
        free(to->name);
        free(to->from);
        return err_nomem(err);
    }
    c->n++;
    return 0;
}

int columns_join(struct columns *out, const struct columns *a, const struct columns *b, struct err *err)
{
    AUTO(columns_clear) struct columns both = { 0 };
    for (int i = 0; i < a->n + b->n; i++) {
        const struct column *c = i < a->n ? &a->v[i] : &b->v[i - a->n];
        if (columns_add_like(&both, c, c->name, err) < 0)
            return -1;
    }
    *out = both;
    both = (struct columns){ 0 };
    return 0;
}

int columns_find(const struct columns *c, struct str name)
{
    for (int i = 0; i < c->n; i++)
        if (str_eq_nocase(str_of(c->v[i].name), name))
            return i;
    return -1;
}

static void print_quoted(struct buf *out, const char *text)
{
    buf_addc(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            buf_addc(out, '"');
        buf_addc(out, *text);
    }
    buf_addc(out, '"');
}

static void print_name(struct buf *out, const char *name)
{
    for (const char *s = name; *s; s++)
        if (ends_word(*s)) {
            print_quoted(out, name);
            return;
        }
    buf_adds(out, name);
}

/* Where a value comes from: what is no builtin must not be read back as one. */
static void print_source(struct buf *out, const struct column *c)
{
    bool param = c->builtin == BUILTIN_PARAM;
    if (param)
        buf_adds(out, param_prefix);
    if (c->builtin == BUILTIN_NONE && builtin_of(str_of(c->from)) != BUILTIN_NONE)
        print_quoted(out, c->from);
    else
        print_name(out, param ? c->param : c->from);
}

void column_print_type(const struct column *c, struct buf *out)
{
    buf_adds(out, type_name(c->type));
    if (types[c->type].argument == ARG_SCALE)
        buf_addf(out, "(%d)", c->scale);
    if (c->unit && !c->format)
        buf_addf(out, "(%d)", column_second_digits(c));
    if (c->format) {
        buf_addc(out, '(');
        if (strpbrk(c->format, "()\""))
            print_quoted(out, c->format);
        else
            buf_adds(out, c->format);
        buf_addc(out, ')');
    }
}

/* Would the name alone, without `from`, be read back as this column? */
static bool from_is_implied(const struct column *c)
{
    AUTO(free_charp) char *name = strdup(c->from);
    if (!name)
        return false;
    flatten(name);
    return !strcmp(name, c->name);
}

void columns_print(const struct columns *c, struct buf *out)
{
    for (int i = 0; i < c->n; i++) {
        const struct column *col = &c->v[i];
        if (i)
            buf_adds(out, ", ");
        bool implied = from_is_implied(col);
        if (implied)
            print_source(out, col);
        else
            print_name(out, col->name);
        buf_addc(out, ':');
        column_print_type(col, out);
        if (col->required || col->optional)
            buf_addc(out, col->required ? '!' : '?');
        if (!implied) {
            buf_adds(out, " from ");
            print_source(out, col);
        }
    }
}

int columns_extend(struct columns *out, const char *added, struct err *err)
{
    struct columns more = { 0 };
    if (!added || !*added)
        return 0;
    if (columns_parse(&more, added, err) < 0)
        return err_in(err, "added columns");
    int n = out->n, rc = out->n + more.n > COLUMNS_MAX ? err_set(err, ERR_CONFIG, "more than %d columns", COLUMNS_MAX) : 0;
    struct column *v = rc < 0 ? NULL : realloc(out->v, mem_product((size_t)(out->n + more.n), sizeof *v));
    for (int i = 0; v && i < more.n; i++) {
        out->v = v;
        if (columns_find(out, str_of(more.v[i].name)) >= 0)
            continue;
        v[n] = more.v[i];
        v[n].optional = v[n].added = true;
        v[n++].required = false;
        more.v[i] = (struct column){ 0 };
    }
    if (!v && rc == 0)
        rc = err_nomem(err);
    out->n = n;
    columns_clear(&more);
    return rc;
}

/* ---- batches ---- */

int batch_init(struct batch *b, uint32_t cols, struct err *err)
{
    *b = (struct batch){ .cols = cols };
    b->fields = malloc(mem_product(mem_product(BATCH_ROWS, cols ? cols : 1), sizeof *b->fields));
    b->places = malloc(BATCH_ROWS * sizeof *b->places);
    b->bad = malloc(BATCH_ROWS * sizeof *b->bad);
    if (b->fields && b->places && b->bad)
        return 0;
    batch_clear(b);
    return err_nomem(err);
}

void batch_reset(struct batch *b)
{
    b->rows = b->nbad = 0;
    arena_reset(&b->arena);
}

void batch_clear(struct batch *b)
{
    free(b->fields);
    free(b->places);
    free(b->bad);
    arena_clear(&b->arena);
    *b = (struct batch){ 0 };
}

uint32_t rows_keep(struct rows *rows, const bool *keep)
{
    uint32_t to = 0, n = rows->n;
    for (uint32_t row = 0; row < n; row++) {
        if (!keep[row])
            continue;
        if (to != row)
            memcpy(rows->values + (size_t)to * rows->cols, rows->values + (size_t)row * rows->cols,
                   rows->cols * sizeof *rows->values);
        rows->places[to++] = rows->places[row];
    }
    rows->n = to;
    return n - to;
}
