/*
 * Fields to typed values, a column at a time: one loop for each type, with the type's parser inside
 * it, so that nothing is dispatched for a value (measured in bench/cast.c).
 *
 * A row with several faults is refused once, for its first column that is at fault. Rows that fit
 * move together afterwards, so that out has no gaps. Memory only; power cuts do not matter here.
 */
#include "read/cast.h"

#include <assert.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/json.h"
#include "base/text.h"
#include "io/clean.h"

#define FITS REJECT_REASONS /* what a parser says when there is no reason to refuse */

static const int64_t decimal_end = 1000000000000000000; /* 19 digits: more than a decimal has */

struct cast {
    const struct columns *columns;
    uint32_t cols;
    bool trim, quoted_null, empty_is_null;
    char point;
    struct str *tokens;
    int ntokens;
    uint64_t token_lengths; /* bit n: a token has n bytes; bit 63: 63 or more */
    struct zone *zone;
    struct clean *clean; /* NULL: there are no rules */
    struct value *values;
    const struct place **places;
    uint32_t nfaults;
    uint8_t fault[BATCH_ROWS]; /* of a row: FITS, or why not */
    uint16_t fault_column[BATCH_ROWS];
    struct misfits *misfits; /* of each column: rows that its type refused */
};

#define BIT(reason) (1ull << REJECT_##reason)
static const uint64_t of_a_type = BIT(NOT_INTEGER) | BIT(NOT_DECIMAL) | BIT(NOT_REAL) | BIT(NOT_BOOLEAN) | BIT(NOT_DATE) |
                                  BIT(NOT_TIMESTAMP) | BIT(NOT_JSON) | BIT(NOT_TEXT) | BIT(RANGE) | BIT(SCALE);
_Static_assert(REJECT_REASONS <= 64, "a bit for each reason");

static uint64_t length_bit(size_t n)
{
    return 1ull << (n < 63 ? n : 63);
}

/* A default that its column cannot hold would refuse each null. */
static int defaults_check(const struct cast *c, struct err *err)
{
    for (uint32_t col = 0; col < c->cols; col++) {
        const struct clean_column *rules = clean_of(c->clean, (int)col);
        struct field f;
        struct value v;
        if (!rules || !clean_default(rules, &f))
            continue;
        enum reject_reason why = cast_value(c, col, &f, &v);
        if (why != FITS)
            return err_set(err, ERR_CONFIG, "column '%s': default(%.*s): %s", c->columns->v[col].name, (int)f.n, f.p, reject_text(why));
    }
    return 0;
}

int cast_open(struct cast **out, const struct recipe *recipe, const struct columns *columns,
              struct err *err)
{
    struct cast *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    c->columns = columns;
    c->cols = (uint32_t)columns->n;
    c->trim = recipe->trim;
    c->quoted_null = recipe->quoted_null;
    c->empty_is_null = recipe->nnulls < 0;
    c->ntokens = recipe->nnulls > 0 ? recipe->nnulls : 0;
    c->point = recipe->decimal_point ? recipe->decimal_point : '.';
    memset(c->fault, FITS, sizeof c->fault);
    c->tokens = malloc(mem_product((size_t)c->ntokens + 1, sizeof *c->tokens));
    c->values =
        malloc(mem_product(mem_product(BATCH_ROWS, c->cols ? c->cols : 1), sizeof *c->values));
    c->places = malloc(BATCH_ROWS * sizeof *c->places);
    c->misfits = calloc(c->cols + 1, sizeof *c->misfits);
    if (!c->tokens || !c->values || !c->places || !c->misfits) {
        cast_close(c);
        return err_nomem(err);
    }
    for (int i = 0; i < c->ntokens; i++) {
        c->tokens[i] = str_of(recipe->nulls[i]);
        c->token_lengths |= length_bit(c->tokens[i].n);
    }
    if (c->empty_is_null) {
        c->tokens[c->ntokens++] = STR("");
        c->token_lengths = length_bit(0);
    }
    if (recipe->zone && !(c->zone = zone_open(recipe->zone))) {
        cast_close(c);
        return err_set(err, ERR_CONFIG, "zone '%s' is not known here", recipe->zone);
    }
    if (recipe->clean && (clean_parse(&c->clean, recipe->clean, columns, c->zone, c->point, err) < 0 || defaults_check(c, err) < 0)) {
        cast_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void cast_close(struct cast *c)
{
    if (!c)
        return;
    clean_free(c->clean);
    zone_close(c->zone);
    free(c->tokens);
    free(c->values);
    free(c->places);
    free(c->misfits);
    free(c);
}

struct misfits cast_misfits(struct cast *c, int column)
{
    struct misfits m = c->misfits[column];
    c->misfits[column] = (struct misfits){ 0 };
    return m;
}

/* ---- nulls ---- */

static bool is_token(const struct cast *c, struct str s)
{
    for (int i = 0; i < c->ntokens; i++)
        if (str_eq(s, c->tokens[i]))
            return true;
    return false;
}

static inline bool is_null(const struct cast *c, const struct field *f)
{
    if (f->kind == FIELD_BARE || (f->kind == FIELD_QUOTED && c->quoted_null))
        return (c->token_lengths & length_bit(f->n)) && is_token(c, (struct str){ f->p, f->n });
    return f->kind <= FIELD_NULL;
}

/* ---- one value of each type; f is not null ---- */

typedef enum reject_reason take_fn(const struct cast *c, const struct column *col,
                                   const struct field *f, struct value *v);

/* Bytes that are read as text: CSV fields, JSON strings, and JSON numbers where a type has no
 * numbers of its own. */
static inline bool is_written(const struct field *f)
{
    return f->kind >= FIELD_BARE && f->kind <= FIELD_NUMBER;
}
static inline struct str text_of(const struct field *f)
{
    return (struct str){ f->p, f->n };
}

/* Why a number was not taken: it is one, but too great, or none at all. */
static enum reject_reason why_no_number(struct str s, char point, enum reject_reason not )
{
    int64_t ignored;
    return text_number(s, 0, point, &ignored) == DECIMAL_SYNTAX ? not : REJECT_RANGE;
}

#define ZERO_BYTE(w) (((w)-0x0101010101010101ull) & ~(w)&0x8080808080808080ull)

static inline bool has_nul(const char *p, size_t n)
{
    uint64_t a, b;
#ifdef __SSE2__
    if (n >= 16) {
        const __m128i zero = _mm_setzero_si128();
        __m128i seen =
            _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + n - 16)), zero);
        for (size_t i = 0; i + 16 < n; i += 16)
            seen = _mm_or_si128(
                seen,
                _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + i)), zero));
        return _mm_movemask_epi8(seen) != 0;
    }
#else
    if (n >= 16)
        return memchr(p, 0, n) != NULL;
#endif
    if (n >= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, p + n - 8, 8);
        return (ZERO_BYTE(a) | ZERO_BYTE(b)) != 0;
    }
    if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        a = head | (uint64_t)tail << 32;
        return ZERO_BYTE(a) != 0;
    }
    for (size_t i = 0; i < n; i++)
        if (!p[i])
            return true;
    return false;
}

static inline enum reject_reason take_text(const struct cast *c, const struct column *col,
                                           const struct field *f, struct value *v)
{
    (void)c, (void)col;
    v->p = f->p;
    v->n = f->n;
    if (f->kind == FIELD_RAW)
        return REJECT_NOT_TEXT;
    return has_nul(f->p, f->n) ? REJECT_NUL : FITS;
}

static inline enum reject_reason take_integer(const struct cast *c, const struct column *col,
                                              const struct field *f, struct value *v)
{
    (void)c, (void)col;
    if (!is_written(f))
        return REJECT_NOT_INTEGER;
    if (__builtin_expect(text_int(text_of(f), &v->i), 1))
        return FITS;
    if (f->kind != FIELD_NUMBER) {
        int64_t ignored; /* digits only, so many that they do not fit? */
        return text_decimal(text_of(f), 0, '\0', &ignored) == DECIMAL_RANGE ? REJECT_RANGE
                                                                            : REJECT_NOT_INTEGER;
    }
    switch (text_number(text_of(f), 0, '.', &v->i)) {
    case DECIMAL_OK:
        return FITS;
    case DECIMAL_RANGE:
        return REJECT_RANGE;
    default:
        return REJECT_NOT_INTEGER;
    }
}

static enum reject_reason decimal_reason(enum text_decimal rc)
{
    return rc == DECIMAL_OK      ? FITS
           : rc == DECIMAL_SCALE ? REJECT_SCALE
           : rc == DECIMAL_RANGE ? REJECT_RANGE
                                 : REJECT_NOT_DECIMAL;
}

static inline enum reject_reason take_decimal(const struct cast *c, const struct column *col,
                                              const struct field *f, struct value *v)
{
    if (!is_written(f))
        return REJECT_NOT_DECIMAL;
    bool number = f->kind == FIELD_NUMBER;
    enum text_decimal rc = text_decimal(text_of(f), col->scale, number ? '.' : c->point, &v->i);
    if (__builtin_expect(rc == DECIMAL_OK, 1))
        return FITS;
    if (!number || rc != DECIMAL_SYNTAX)
        return decimal_reason(rc);
    rc = text_number(text_of(f), col->scale, '.', &v->i); /* JSON: with an exponent */
    return rc == DECIMAL_OK && (v->i >= decimal_end || v->i <= -decimal_end) ? REJECT_RANGE
                                                                             : decimal_reason(rc);
}

static inline enum reject_reason take_real(const struct cast *c, const struct column *col,
                                           const struct field *f, struct value *v)
{
    (void)col;
    if (!is_written(f))
        return REJECT_NOT_REAL;
    char point = f->kind == FIELD_NUMBER ? '.' : c->point;
    if (__builtin_expect(text_real_point(text_of(f), point, &v->r), 1))
        return FITS;
    return why_no_number(text_of(f), point, REJECT_NOT_REAL);
}

static inline enum reject_reason take_boolean(const struct cast *c, const struct column *col,
                                              const struct field *f, struct value *v)
{
    static const struct {
        char first; /* is enough alone */
        bool is;
        struct str word;
    } words[] = { { 't', true, STR("true") }, { 'f', false, STR("false") },
                  { '1', true, STR("1") },    { '0', false, STR("0") },
                  { 'y', true, STR("yes") },  { 'n', false, STR("no") } };
    (void)c, (void)col;
    if (f->kind == FIELD_TRUE || f->kind == FIELD_FALSE) {
        v->i = f->kind == FIELD_TRUE;
        return FITS;
    }
    if (!is_written(f) || !f->n)
        return REJECT_NOT_BOOLEAN;
    char first = f->p[0] >= 'A' && f->p[0] <= 'Z' ? (char)(f->p[0] | 32) : f->p[0];
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (first == words[i].first && (f->n == 1 || str_eq_nocase(text_of(f), words[i].word))) {
            v->i = words[i].is;
            return FITS;
        }
    return REJECT_NOT_BOOLEAN;
}

static inline enum reject_reason take_date(const struct cast *c, const struct column *col,
                                           const struct field *f, struct value *v)
{
    (void)c;
    bool ok = is_written(f) && (col->format ? text_date_fmt(text_of(f), col->format, &v->i)
                                            : text_date(text_of(f), &v->i));
    return ok ? FITS : REJECT_NOT_DATE;
}

static inline enum reject_reason take_timestamp(const struct cast *c, const struct column *col,
                                                const struct field *f, struct value *v)
{
    bool ok =
        is_written(f) && (col->format ? text_timestamp_fmt(text_of(f), col->format, c->zone, &v->i)
                                      : text_timestamp(text_of(f), c->zone, &v->i));
    return !ok ? REJECT_NOT_TIMESTAMP : col->unit && v->i % col->unit ? REJECT_SCALE : FITS;
}

static inline enum reject_reason take_json(const struct cast *c, const struct column *col,
                                           const struct field *f, struct value *v)
{
    (void)c, (void)col;
    struct json_value found = { .raw = text_of(f) };
    struct json_fault fault;
    if ((f->kind == FIELD_BARE || f->kind == FIELD_QUOTED) &&
        !json_check(text_of(f), &found, &fault))
        return REJECT_NOT_JSON;
    v->p = found.raw.p;
    v->n = (uint32_t)found.raw.n;
    return FITS;
}

enum reject_reason cast_value(const struct cast *c, uint32_t column, const struct field *f, struct value *v)
{
    static take_fn *const takes[TYPES] = {
        [TYPE_TEXT] = take_text,       [TYPE_INTEGER] = take_integer, [TYPE_DECIMAL] = take_decimal,
        [TYPE_REAL] = take_real,       [TYPE_BOOLEAN] = take_boolean, [TYPE_DATE] = take_date,
        [TYPE_TIMESTAMP] = take_timestamp, [TYPE_JSON] = take_json,
    };
    const struct column *col = &c->columns->v[column];
    return takes[col->type](c, col, f, v);
}

/* ---- a column ---- */

static void refuse(struct cast *c, uint32_t row, uint32_t col, enum reject_reason why)
{
    if (c->fault[row] != FITS)
        return;
    c->fault[row] = (uint8_t)why;
    c->fault_column[row] = (uint16_t)col;
    c->misfits[col].rows += of_a_type >> why & 1;
    c->misfits[col].reasons |= of_a_type & 1ull << why;
    c->nfaults++;
}

static inline struct field trimmed(struct field f)
{
    struct str s = str_trim(text_of(&f));
    return (struct field){ s.p, (uint32_t)s.n, f.kind };
}

/* Inlined into each of the functions below together with its `take`. */
static inline __attribute__((always_inline)) void each_row(struct cast *c, uint32_t col,
                                                           const struct batch *in, take_fn *take)
{
    const struct column *column = &c->columns->v[col];
    const struct field *f = in->fields + col;
    struct value *v = c->values + col;
    for (uint32_t row = 0; row < in->rows; row++, f += c->cols, v += c->cols) {
        struct field field = c->trim && f->kind == FIELD_BARE ? trimmed(*f) : *f;
        v->null = is_null(c, &field);
        if (v->null) {
            v->i = 0;
            v->n = 0;
            if (column->required)
                refuse(c, row, col, REJECT_NULL);
            continue;
        }
        enum reject_reason why = take(c, column, &field, v);
        if (__builtin_expect(why != FITS, 0))
            refuse(c, row, col, why);
    }
}

#define COLUMN_OF(type)                                                                            \
    static void type##_column(struct cast *c, uint32_t col, const struct batch *in)                \
    {                                                                                              \
        each_row(c, col, in, take_##type);                                                         \
    }
COLUMN_OF(text)
COLUMN_OF(integer)
COLUMN_OF(decimal)
COLUMN_OF(real)
COLUMN_OF(boolean)
COLUMN_OF(date)
COLUMN_OF(timestamp)
COLUMN_OF(json)

static void (*const columns_of[TYPES])(struct cast *, uint32_t, const struct batch *) = {
    [TYPE_TEXT] = text_column,           [TYPE_INTEGER] = integer_column,
    [TYPE_DECIMAL] = decimal_column,     [TYPE_REAL] = real_column,
    [TYPE_BOOLEAN] = boolean_column,     [TYPE_DATE] = date_column,
    [TYPE_TIMESTAMP] = timestamp_column, [TYPE_JSON] = json_column,
};

/* ---- rules of clean= ---- */

static bool is_null_field(const void *arg, const struct field *f)
{
    const struct cast *c = arg;
    struct field field = c->trim && f->kind == FIELD_BARE ? trimmed(*f) : *f;
    return is_null(c, &field);
}

static void clean_fields(struct cast *c, struct clean_column *rules, uint32_t col, struct batch *in)
{
    struct field *f = in->fields + col;
    for (uint32_t row = 0; row < in->rows; row++, f += c->cols) {
        enum reject_reason why = clean_field(rules, f, is_null_field, c, &in->arena);
        if (why != FITS)
            refuse(c, row, col, why);
    }
}

static void clean_values(struct cast *c, const struct clean_column *rules, uint32_t col, uint32_t rows)
{
    const struct value *v = c->values + col;
    for (uint32_t row = 0; row < rows; row++, v += c->cols) {
        enum reject_reason why = v->null || c->fault[row] != FITS ? FITS : clean_value(rules, v);
        if (why != FITS)
            refuse(c, row, col, why);
    }
}

/* ---- a batch ---- */

static int reject_bad(struct cast *c, const struct bad_row *bad, struct rejects *rejects,
                      struct err *err)
{
    const char *column = bad->column >= 0 && (uint32_t)bad->column < c->cols
                             ? c->columns->v[bad->column].name
                             : NULL;
    return rejects_add_bad(rejects, bad, column, err);
}

static int reject_row(struct cast *c, const struct batch *in, uint32_t row, struct rejects *rejects,
                      struct err *err)
{
    uint32_t col = c->fault_column[row];
    const struct field *f = &in->fields[(size_t)row * c->cols + col];
    return rejects_add(rejects, c->fault[row], c->columns->v[col].name, text_of(f),
                       &in->places[row], err);
}

/* All refused rows in the order of the member; the others move together. */
static int sort_out(struct cast *c, const struct batch *in, struct rejects *rejects, uint32_t *good,
                    struct err *err)
{
    uint32_t to = 0, bad = 0;
    for (uint32_t row = 0; row < in->rows; row++) {
        for (; bad < in->nbad && in->bad[bad].place.offset < in->places[row].offset; bad++)
            if (reject_bad(c, &in->bad[bad], rejects, err) < 0)
                return -1;
        if (c->fault[row] != FITS) {
            if (reject_row(c, in, row, rejects, err) < 0)
                return -1;
            continue;
        }
        if (to != row)
            memcpy(c->values + (size_t)to * c->cols, c->values + (size_t)row * c->cols,
                   c->cols * sizeof *c->values);
        c->places[to++] = &in->places[row];
    }
    for (; bad < in->nbad; bad++)
        if (reject_bad(c, &in->bad[bad], rejects, err) < 0)
            return -1;
    *good = to;
    return 0;
}

static void cast_columns(struct cast *c, struct batch *in)
{
    assert(in->cols == c->cols && in->rows <= BATCH_ROWS);
    if (c->nfaults) {
        memset(c->fault, FITS, sizeof c->fault);
        c->nfaults = 0;
    }
    for (uint32_t col = 0; col < c->cols; col++) {
        struct clean_column *rules = clean_of(c->clean, (int)col);
        if (rules)
            clean_fields(c, rules, col, in);
        columns_of[c->columns->v[col].type](c, col, in);
        if (rules)
            clean_values(c, rules, col, in->rows);
    }
}

int cast_batch(struct cast *c, struct batch *in, struct rows *out, struct rejects *rejects,
               struct err *err)
{
    uint32_t good;
    cast_columns(c, in);
    if (sort_out(c, in, rejects, &good, err) < 0)
        return -1;
    *out = (struct rows){ .n = good, .cols = c->cols, .values = c->values, .places = c->places };
    return 0;
}

bool cast_row(struct cast *c, struct batch *in, struct value *values, enum reject_reason *why, int *column)
{
    cast_columns(c, in);
    *why = c->fault[0];
    *column = c->fault_column[0];
    if (*why != FITS)
        return false;
    memcpy(values, c->values, c->cols * sizeof *values);
    return true;
}
