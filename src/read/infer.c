/*
 * Columns from data.
 *
 * The member is read by its own format, so that what is a row here is one when it is loaded; each
 * value then strikes out the types that do not hold it. A type is left only if cast.c takes every
 * value that was seen, unchanged in meaning: digits that a type would lose ("007", "+49…", twenty
 * digits) make a column text.
 *
 * Memory: one guess a column, or one node a key, both bounded; never the data. Nothing is kept on
 * disk.
 */
#include "read/infer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"
#include "read/closing.h"
#include "read/csv.h"
#include "read/decode.h"
#include "read/json_row.h"
#include "read/jsonl.h"

enum {
    COLUMNS_MAX = 2000,
    NODES_MAX = 16384, /* keys of JSON that are kept apart, wanted as columns or not */
    NAME_MAX_BYTES = 1024,
    HEAD = 4096,
    EXACT_DIGITS = 15, /* any integer of so many digits is a double */
    REAL_DIGITS = 17,  /* so many tell doubles apart */
};

void infer_notes_clear(struct infer_notes *n)
{
    free(n->records);
    free(n->first_unread);
    free(n->hints);
    *n = (struct infer_notes){ 0 };
}

void inferred_clear(struct inferred *i)
{
    free(i->columns);
    infer_notes_clear(&i->notes);
    *i = (struct inferred){ 0 };
}

/* ---- the bytes: a head to look at, then all, or so many ---- */

struct sample {
    struct input input;
    struct input *from;
    int64_t left; /* bytes that may still be given out; -1: any number */
    int64_t given;
    bool cut; /* there was more */
    char head[HEAD];
    size_t n, at;
};

static ssize_t sample_pull(struct sample *s, void *buf, size_t cap, struct err *err)
{
    if (s->at == s->n)
        return s->from->read(s->from, buf, cap, err);
    size_t n = s->n - s->at < cap ? s->n - s->at : cap;
    memcpy(buf, s->head + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static ssize_t sample_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct sample *s = (struct sample *)in;
    if (s->left == 0) {
        char byte;
        ssize_t n = s->cut ? 0 : sample_pull(s, &byte, 1, err);
        s->cut |= n > 0;
        return n < 0 ? -1 : 0;
    }
    if (s->left > 0 && (uint64_t)s->left < cap)
        cap = (size_t)s->left;
    ssize_t n = sample_pull(s, buf, cap, err);
    if (n > 0) {
        s->given += n;
        s->left -= s->left > 0 ? n : 0;
    }
    return n;
}

static int sample_open(struct sample *s, struct input *from, int64_t max_bytes, struct err *err)
{
    *s = (struct sample){ .input = { .read = sample_read, .size = -1 },
                          .from = from,
                          .left = max_bytes > 0 ? max_bytes : -1 };
    for (ssize_t n = 1; n && s->n < HEAD; s->n += (size_t)n)
        if ((n = from->read(from, s->head + s->n, HEAD - s->n, err)) < 0)
            return -1;
    return 0;
}

/* Is this the row that the end of the sample may have cut? */
static bool at_cut(const struct sample *s, const struct place *p)
{
    return s->cut && p->offset + p->raw.n >= (uint64_t)s->given;
}

/* ---- guesses ---- */

#define BIT(type) (1u << TYPE_##type)
enum { ALL_TYPES = (1 << TYPES) - 1 };

/* Types that no value alone gives away, told to people where all of a column of text fit one. The first is a number with
 * the other decimal point. */
static const struct {
    enum type type;
    const char *format;
} others[] = { { TYPE_DECIMAL, NULL },
               { TYPE_DATE, "%d.%m.%Y" },
               { TYPE_DATE, "%d/%m/%Y" },
               { TYPE_DATE, "%m/%d/%Y" },
               { TYPE_TIMESTAMP, "%d.%m.%Y %H:%M" },
               { TYPE_TIMESTAMP, "%d.%m.%Y %H:%M:%S" } };
enum { OTHER_POINT = 0, ALL_OTHERS = (1 << COUNT_OF(others)) - 1, OTHER_TIMES = ALL_OTHERS & ~(1 << OTHER_POINT) };

/* What is known of the values of one column. */
struct guess {
    uint64_t values;   /* that are not null */
    unsigned gone;     /* a bit for each type that some value does not fit */
    bool yes, no;      /* words for true and for false other than these two */
    bool raw;          /* JSON: an object or array was seen */
    int whole, places; /* most digits before and behind the point */
    unsigned others_gone; /* a bit for each of others[] that some value does not fit */
    int other_whole, other_places; /* ... with the other point */
};

struct look {
    const struct recipe *recipe;
    const struct zone *zone;
    char point;
};

struct digits {
    int whole, places; /* before the point without a single 0; behind it */
    bool point, exponent;
};

/* [-]digits[.digits][e…] whose digits a number would keep: no sign +, no 0 in front. */
static bool measure(struct str s, char point, struct digits *d)
{
    size_t i = s.n && s.p[0] == '-', start = i;
    *d = (struct digits){ 0 };
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
        i++;
    if (i == start || (i - start > 1 && s.p[start] == '0') || i - start > 400)
        return false;
    d->whole = s.p[start] == '0' ? 0 : (int)(i - start);
    if (i < s.n && s.p[i] == point) {
        d->point = true;
        for (start = ++i; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            ;
        if (i == start || i - start > 400)
            return false;
        d->places = (int)(i - start);
    }
    d->exponent = i < s.n && (s.p[i] == 'e' || s.p[i] == 'E');
    return d->exponent || i == s.n;
}

static unsigned number_types(struct str s, char point, struct guess *g)
{
    struct digits d;
    int64_t i;
    double r;
    unsigned types = 0;
    if (!measure(s, point, &d))
        return 0;
    if (!d.point && !d.exponent && text_int(s, &i))
        types |= BIT(INTEGER);
    if (!d.exponent) {
        g->whole = d.whole > g->whole ? d.whole : g->whole;
        g->places = d.places > g->places ? d.places : g->places;
        types |= BIT(DECIMAL);
    }
    int most = d.point || d.exponent ? REAL_DIGITS : EXACT_DIGITS;
    if (d.whole + d.places <= most && text_real_point(s, point, &r))
        types |= BIT(REAL);
    return types;
}

static unsigned word_types(struct str s, struct guess *g)
{
    static const struct {
        struct str word;
        bool plain, is;
    } words[] = { { STR("true"), true, true }, { STR("false"), true, false },
                  { STR("yes"), false, true }, { STR("no"), false, false },
                  { STR("y"), false, true },   { STR("n"), false, false },
                  { STR("t"), false, true },   { STR("f"), false, false } };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!str_eq_nocase(s, words[i].word))
            continue;
        if (!words[i].plain)
            *(words[i].is ? &g->yes : &g->no) = true;
        return BIT(BOOLEAN);
    }
    return 0;
}

static unsigned time_types(const struct look *k, struct str s)
{
    int64_t v;
    unsigned types = 0;
    if (s.n < 10 || s.p[0] < '0' || s.p[0] > '9')
        return 0;
    if (text_date(s, &v))
        types |= BIT(DATE);
    if (text_timestamp(s, k->zone, &v))
        types |= BIT(TIMESTAMP);
    return types;
}

static unsigned json_types(struct str s)
{
    struct json_value v;
    struct json_fault fault;
    if (!s.n || (s.p[0] != '{' && s.p[0] != '['))
        return 0;
    return json_check(s, &v, &fault) ? BIT(JSON) : 0;
}

static bool fits_other(const struct look *k, struct str s, size_t i, struct guess *g)
{
    int64_t v;
    if (others[i].type == TYPE_DATE)
        return text_date_fmt(s, others[i].format, &v);
    if (others[i].type == TYPE_TIMESTAMP)
        return text_timestamp_fmt(s, others[i].format, k->zone, &v);
    struct digits d;
    if (!measure(s, k->point == ',' ? '.' : ',', &d) || d.exponent)
        return false;
    g->other_whole = d.whole > g->other_whole ? d.whole : g->other_whole;
    g->other_places = d.places > g->other_places ? d.places : g->other_places;
    return g->other_whole + g->other_places <= 18;
}

/* wanted: a bit for each of others[] that this value may be. */
static void try_others(const struct look *k, struct str s, unsigned wanted, struct guess *g)
{
    g->others_gone |= ALL_OTHERS & ~wanted;
    for (size_t i = 0; i < COUNT_OF(others) && g->others_gone != ALL_OTHERS; i++)
        if (!(g->others_gone >> i & 1) && !fits_other(k, s, i, g))
            g->others_gone |= 1u << i;
}

/* The types, beside text, that hold this field of a CSV file. */
static unsigned csv_types(const struct look *k, struct str s, struct guess *g)
{
    unsigned asked = ALL_TYPES & ~g->gone, types = 0;
    if (asked & (BIT(INTEGER) | BIT(DECIMAL) | BIT(REAL)))
        types |= number_types(s, k->point, g);
    if (asked & BIT(BOOLEAN))
        types |= word_types(s, g);
    if (asked & (BIT(DATE) | BIT(TIMESTAMP)))
        types |= time_types(k, s);
    if (asked & BIT(JSON))
        types |= json_types(s);
    try_others(k, s, ALL_OTHERS, g);
    return types;
}

static void guess_add(struct guess *g, unsigned types)
{
    g->values++;
    g->gone |= ALL_TYPES & ~(types | BIT(TEXT));
}

/* The narrowest type that is left. open: a fraction may have more digits in files to come. */
static enum type guess_type(const struct guess *g, bool open)
{
    static const enum type order[] = { TYPE_BOOLEAN, TYPE_INTEGER,   TYPE_DECIMAL, TYPE_REAL,
                                       TYPE_DATE,    TYPE_TIMESTAMP, TYPE_JSON };
    if (!g->values)
        return TYPE_TEXT;
    if (g->raw)
        return TYPE_JSON;
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        if (g->gone >> order[i] & 1)
            continue;
        if (order[i] == TYPE_BOOLEAN && g->yes != g->no)
            continue; /* a column of nothing but "no" is no column of booleans */
        if (order[i] == TYPE_DECIMAL && (g->whole + g->places > 18 || (open && g->places && !(g->gone & BIT(REAL)))))
            continue;
        return order[i];
    }
    return TYPE_TEXT;
}

/* ---- columns ---- */

struct result {
    struct columns columns;
    uint64_t rows;
    uint64_t unread, unread_line; /* rows of bad grammar or encoding; where the first is */
    char first_unread[300];
    char records[200];    /* see struct infer_notes; else empty */
    bool torn;            /* a sample ends in a quoted field, it seems: rows that are refused from there on do not count */
    bool pointed;         /* some column has numbers with the decimal point of the recipe */
    unsigned char *others; /* a column each: a bit for each of others[] that all its values fit, when it is text */
    bool open; /* as of guess_type() */
    bool sure; /* all rows were seen, and each counts: a column without nulls is required */
};

static void result_clear(struct result *r)
{
    columns_clear(&r->columns);
    free(r->others);
}

/* What may help, where the words of the reason do not say it. */
static const char *unread_hint(enum reject_reason reason)
{
    switch (reason) {
    case REJECT_CSV_QUOTE:
        return "is --quote none right for this file, or an --escape?";
    case REJECT_FIELD_COUNT:
        return "another --delimiter, or ragged = fill where fields at the end may be missing";
    case REJECT_ENCODING:
        return "try --encoding latin1";
    default:
        return "max_rejects = says how many of these a job may have";
    }
}

/* A row that no columns could load. */
static void unread_add(struct result *r, const struct bad_row *bad)
{
    char counts[60] = "";
    if (r->unread++ && bad->place.line >= r->unread_line)
        return;
    r->unread_line = bad->place.line;
    if (bad->reason == REJECT_FIELD_COUNT)
        snprintf(counts, sizeof counts, ": %d found, %d expected", bad->found, bad->expected);
    snprintf(r->first_unread, sizeof r->first_unread, "line %" PRIu64 ": %s%s (%s)", bad->place.line, reject_text(bad->reason),
             counts, unread_hint(bad->reason));
}

/* In a sample, a quote that stays open to its end may have been cut from the one that closes it; then all behind is unsure. */
static void unread_rows(struct result *r, const struct batch *b, const struct sample *in)
{
    for (uint32_t i = 0; i < b->nbad && !r->torn; i++) {
        r->torn = in->cut && b->bad[i].reason == REJECT_CSV_QUOTE;
        if (!r->torn && !at_cut(in, &b->bad[i].place))
            unread_add(r, &b->bad[i]);
    }
}

/* Make the name (its first `plain` bytes) the i-th of its kind. Is it taken? */
static bool is_taken(struct buf *name, size_t plain, int i, const struct columns *taken, const struct columns *taken_too)
{
    name->n = plain;
    if (i > 1)
        buf_addf(name, "_%d", i);
    return !name->failed && (columns_find(taken, buf_str(name)) >= 0 || columns_find(taken_too, buf_str(name)) >= 0);
}

int infer_name(char **out, const struct columns *taken, const struct columns *taken_too, struct str from, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 };
    bool gap = false;
    for (size_t i = builtin_of(from) != BUILTIN_NONE; i < from.n; i++) { /* source, not _source */
        unsigned char ch = (unsigned char)from.p[i];
        bool keep = ch >= 0x80 || (ch >= '0' && ch <= '9') ||
                    ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || ch == '_';
        if (keep && gap && name.n)
            buf_addc(&name, '_');
        gap = !keep;
        if (keep)
            buf_addc(&name, (char)ch);
    }
    if (!name.n)
        buf_adds(&name, "c");
    size_t plain = name.n;
    int last = 0, spare = 1; /* one that is taken, and one that is not: where they meet; thousands of names can become the same */
    while (is_taken(&name, plain, spare, taken, taken_too)) {
        last = spare;
        spare *= 2;
    }
    while (spare - last > 1) {
        int middle = last + (spare - last) / 2;
        *(is_taken(&name, plain, middle, taken, taken_too) ? &last : &spare) = middle;
    }
    (void)is_taken(&name, plain, spare, taken, taken_too);
    if (name.failed)
        return err_nomem(err);
    *out = name.p;
    name = (struct buf){ 0 };
    return 0;
}

/* from: what columns= reads behind `from`; title: the same as a person would say it, for the
 * table's name. */
static int result_add(struct result *r, struct str from, struct str title, const struct guess *g,
                      struct err *err)
{
    if (r->columns.n == COLUMNS_MAX)
        return err_set(err, ERR_INFER, "the data has more than %d columns", COLUMNS_MAX);
    if (!r->columns.v && !(r->columns.v = calloc(COLUMNS_MAX, sizeof *r->columns.v)))
        return err_nomem(err);
    if (!r->others && !(r->others = calloc(COLUMNS_MAX, sizeof *r->others)))
        return err_nomem(err);
    struct column *c = &r->columns.v[r->columns.n];
    if (infer_name(&c->name, &r->columns, &r->columns, title, err) < 0)
        return -1;
    c->from = strndup(from.p, from.n);
    c->type = guess_type(g, r->open);
    c->scale = c->type == TYPE_DECIMAL ? g->places : 0;
    r->pointed |= (c->type == TYPE_DECIMAL || c->type == TYPE_REAL) && g->places > 0;
    if (c->type == TYPE_TEXT && g->values)
        r->others[r->columns.n] = (unsigned char)(ALL_OTHERS & ~g->others_gone);
    c->required = r->sure && r->rows && g->values == r->rows;
    r->columns.n++;
    return c->from ? 0 : err_nomem(err);
}

/* ---- CSV ---- */

struct table {
    struct reader *reader;
    struct batch batch;
    struct guess *guesses;
    const struct str *names; /* NULL: no header */
    int n;
};

static void table_close(struct table *t)
{
    format_csv.close(t->reader);
    batch_clear(&t->batch);
    free(t->guesses);
}

/* As cast.c takes nulls. */
static bool is_null(const struct recipe *recipe, const struct field *f, struct str s)
{
    if (f->kind == FIELD_ABSENT || f->kind == FIELD_NULL)
        return true;
    if (f->kind == FIELD_QUOTED && !recipe->quoted_null)
        return false;
    if (recipe->nnulls < 0)
        return s.n == 0;
    for (int i = 0; i < recipe->nnulls; i++)
        if (str_eq(s, str_of(recipe->nulls[i])))
            return true;
    return false;
}

static void table_row(struct table *t, const struct look *k, const struct field *fields)
{
    for (int i = 0; i < t->n; i++) {
        const struct field *f = &fields[i];
        struct str s = { f->p, f->n };
        if (!is_null(k->recipe, f, s))
            guess_add(&t->guesses[i], csv_types(k, s, &t->guesses[i]));
    }
}

/* A first row that fits the types of the columns below it, and at least one of them is not text, is
 * no header. */
static int check_header(const struct table *t, const struct look *k, struct err *err)
{
    int typed = -1;
    for (int i = 0; t->names && i < t->n; i++) {
        enum type type = guess_type(&t->guesses[i], false);
        struct guess name = { 0 };
        if (type == TYPE_TEXT)
            continue;
        if (!(csv_types(k, t->names[i], &name) >> type & 1))
            return 0;
        typed = i;
    }
    if (typed < 0)
        return 0;
    return err_set(err, ERR_INFER,
                   "the first row looks like data, not like names ('%.*s' in field %d): say header "
                   "= no, or give columns =",
                   (int)(t->names[typed].n < 40 ? t->names[typed].n : 40), t->names[typed].p,
                   typed + 1);
}

static int check_name(const struct table *t, int at, struct err *err)
{
    struct str name = t->names[at];
    if (!name.n)
        return err_set(err, ERR_INFER, "field %d has values but no name in the header", at + 1);
    if (name.n > NAME_MAX_BYTES)
        return err_set(err, ERR_INFER, "the name of field %d has %zu bytes", at + 1, name.n);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f)
            return err_set(err, ERR_INFER,
                           "the name of field %d holds a line end or another control character",
                           at + 1);
    for (int i = 0; i < at; i++)
        if (str_eq(t->names[i], name))
            return err_set(err, ERR_INFER,
                           "fields %d and %d have the same name '%.*s' in the header", i + 1,
                           at + 1, (int)(name.n < 60 ? name.n : 60), name.p);
    return 0;
}

static int table_columns(const struct table *t, struct result *r, struct err *err)
{
    for (int i = 0; i < t->n; i++) {
        char number[16];
        struct str name = { number, (size_t)snprintf(number, sizeof number, "c%d", i + 1) };
        if (t->names) {
            if (!t->names[i].n && !t->guesses[i].values)
                continue; /* a,b,, of spreadsheets */
            if (check_name(t, i, err) < 0)
                return -1;
            name = t->names[i];
        }
        if (result_add(r, name, name, &t->guesses[i], err) < 0)
            return -1;
    }
    return 0;
}

static int table_open(struct table *t, const struct recipe *recipe, struct sample *in,
                      struct err *err)
{
    if (csv_open(&t->reader, recipe, NULL, &in->input, 0, NULL, err) < 0)
        return -1;
    t->names = csv_names(t->reader, &t->n);
    if (t->n > COLUMNS_MAX)
        return err_set(err, ERR_INFER, "the rows have %d fields, and a table may have %d", t->n,
                       COLUMNS_MAX);
    if (!(t->guesses = calloc((size_t)t->n + 1, sizeof *t->guesses)))
        return err_nomem(err);
    return batch_init(&t->batch, (uint32_t)t->n, err);
}

static int infer_csv(struct inferred *out, struct result *r, const struct look *k,
                     struct sample *in, struct err *err)
{
    AUTO(table_close) struct table t = { 0 };
    if (table_open(&t, k->recipe, in, err) < 0)
        return -1;
    int rc = 0;
    while (t.n && (rc = format_csv.next(t.reader, &t.batch, err)) == 1) {
        for (uint32_t i = 0; i < t.batch.rows; i++)
            if (!at_cut(in, &t.batch.places[i])) {
                table_row(&t, k, &t.batch.fields[(size_t)i * t.batch.cols]);
                r->rows++;
            }
        unread_rows(r, &t.batch, in);
    }
    if (rc < 0)
        return -1;
    out->delimiter = csv_delimiter(t.reader);
    out->header = t.names != NULL;
    bool tsv = k->recipe->format && !strcmp(k->recipe->format, "tsv");
    strcpy(out->format, tsv || out->delimiter == '\t' ? "tsv" : "csv");
    r->sure =
        !in->cut && (t.names || t.n > 1); /* else blank lines at the top are nulls, unseen here */
    return check_header(&t, k, err) < 0 ? -1 : table_columns(&t, r, err);
}

/* ---- JSON ---- */

/* A key, and what was found behind it. */
struct node {
    struct str key;
    struct node *child, *last; /* in the order of arrival; the one found last */
    struct node *next;
    uint64_t row;     /* the last one that had it */
    uint64_t objects; /* values that are objects; all others are in the guess */
    struct guess guess;
};

struct tree {
    const struct look *look;
    struct reader *reader;
    struct batch batch;
    struct arena mem, row_mem; /* row_mem: of one row */
    struct node root;
    uint64_t row;
    int nodes;
    bool unsure; /* a row was left in the middle */
    char records[200]; /* of the first row: the way to an array of objects */
};

static void tree_close(struct tree *t)
{
    format_jsonl.close(t->reader);
    batch_clear(&t->batch);
    arena_clear(&t->mem);
    arena_clear(&t->row_mem);
}

/* The child of that key, made when it is not there. NULL with *err. */
static struct node *node_child(struct tree *t, struct node *n, struct str key, struct err *err)
{
    struct node *c =
        n->last && n->last->next ? n->last->next : n->child; /* keys tend to keep their order */
    if (c && !str_eq(c->key, key))
        for (c = n->child; c && !str_eq(c->key, key);)
            c = c->next;
    if (c)
        return n->last = c;
    if (++t->nodes > NODES_MAX || key.n > NAME_MAX_BYTES)
        return err_set(err, ERR_INFER,
                       key.n > NAME_MAX_BYTES ? "a key has more than %d bytes"
                                              : "the objects have more than %d keys",
                       key.n > NAME_MAX_BYTES ? NAME_MAX_BYTES : NODES_MAX),
               NULL;
    c = arena_alloc(&t->mem, sizeof *c);
    char *text = arena_dup(&t->mem, key);
    if (!c || !text)
        return err_nomem(err), NULL;
    *c = (struct node){ .key = { text, key.n } };
    struct node **at = &n->child;
    while (*at)
        at = &(*at)->next;
    *at = c;
    return n->last = c;
}

static unsigned scalar_types(const struct tree *t, const struct json_value *v, struct str text,
                             struct guess *g)
{
    try_others(t->look, text, v->kind == JSON_TEXT ? OTHER_TIMES : 0, g);
    switch (v->kind) {
    case JSON_NUMBER:
        return number_types(v->raw, '.', g);
    case JSON_TEXT:
        return time_types(t->look, text);
    case JSON_TRUE:
    case JSON_FALSE:
        return BIT(BOOLEAN);
    default:
        return 0;
    }
}

/* Take a value in. 1: done; 0: the reader will refuse this row when the keys are columns; -1.
 * depth: steps of its path. */
static int node_add(struct tree *t, struct node *n, const struct json_value *v, int depth,
                    struct err *err)
{
    struct str key, name = { NULL, 0 };
    struct json_value value;
    if (v->kind == JSON_OBJECT && depth < JSON_STEPS) {
        n->objects++;
        for (size_t at = 0; json_next(v, &at, &key, &value);) {
            struct json_value as_text = { JSON_TEXT, key };
            if (!json_unescape(&as_text, &t->row_mem, &name)) {
                if (name.p)
                    continue; /* half a character in the key: no path can name it */
                return err_nomem(err);
            }
            struct node *c = node_child(t, n, name, err);
            if (!c)
                return -1;
            if (c->row == t->row)
                return 0;
            c->row = t->row;
            int rc = node_add(t, c, &value, depth + 1, err);
            if (rc <= 0)
                return rc;
        }
        return 1;
    }
    if (v->kind == JSON_TEXT && !json_unescape(v, &t->row_mem, &name)) {
        if (!name.p)
            return err_nomem(err);
        t->unsure = true; /* refused, but where the column becomes json */
    }
    n->guess.raw |= v->kind >= JSON_ARRAY;
    if (v->kind != JSON_NULL)
        guess_add(&n->guess, scalar_types(t, v, name, &n->guess));
    return 1;
}

static int tree_row(struct tree *t, struct str raw, struct err *err)
{
    struct json_value v;
    struct json_fault fault;
    if (!json_check(raw, &v, &fault))
        return err_set(err, ERR_INTERNAL, "a row that was taken is no JSON: %s", fault.what);
    arena_reset(&t->row_mem);
    t->row++;
    if (t->row == 1 && (v.kind != JSON_OBJECT || !jsonl_records(&v, t->records, sizeof t->records)))
        t->records[0] = '\0';
    return node_add(t, &t->root, &v, 0, err);
}

/* Columns at and below a node; path and title are those of the node, and are so again afterwards.
 */
static int tree_columns(struct result *r, const struct node *n, struct buf *path, struct buf *title,
                        struct err *err)
{
    if (!n->child || n->guess.values) {
        struct guess g = n->guess;
        g.values += n->objects;
        g.raw |= n->objects > 0;
        return result_add(r, buf_str(path), buf_str(title), &g, err);
    }
    for (const struct node *c = n->child; c; c = c->next) {
        size_t path_n = path->n, title_n = title->n;
        json_path_add(path, c->key);
        if (title_n)
            buf_addc(title, '.');
        buf_add(title, c->key.p, c->key.n);
        if (path->failed || title->failed)
            return err_nomem(err);
        if (tree_columns(r, c, path, title, err) < 0)
            return -1;
        path->n = path_n;
        title->n = title_n;
    }
    return 0;
}

static int tree_rows(struct tree *t, struct result *r, struct sample *in, struct err *err)
{
    int rc;
    while ((rc = format_jsonl.next(t->reader, &t->batch, err)) == 1) {
        for (uint32_t i = 0; i < t->batch.rows; i++) {
            if (at_cut(in, &t->batch.places[i]))
                continue;
            int added = tree_row(t, t->batch.places[i].raw, err);
            if (added < 0)
                return -1;
            r->rows += (uint64_t)added;
            t->unsure |= !added;
            if (!added)
                unread_add(r, &(struct bad_row){ .place = t->batch.places[i], .reason = REJECT_DUPLICATE_KEY });
        }
        unread_rows(r, &t->batch, in);
    }
    return rc < 0 && in->cut && err->code == ERR_TRUNCATED ? 0 : rc; /* a sample ends anywhere */
}

static int infer_json(struct inferred *out, struct result *r, const struct look *k,
                      struct sample *in, struct err *err)
{
    static const struct columns none = { 0 };
    AUTO(tree_close) struct tree t = { .look = k };
    AUTO(buf_clear) struct buf path = { 0 };
    AUTO(buf_clear) struct buf title = { 0 };
    if (format_jsonl.open(&t.reader, k->recipe, &none, &in->input, 0, err) < 0 ||
        batch_init(&t.batch, 0, err) < 0 || tree_rows(&t, r, in, err) < 0)
        return -1;
    strcpy(out->format, jsonl_form(t.reader));
    r->sure = !in->cut && !t.unsure;
    if (t.row == 1 && !in->cut && !k->recipe->records)
        memcpy(r->records, t.records, sizeof r->records);
    return t.root.child ? tree_columns(r, &t.root, &path, &title, err) : 0;
}

/* ---- a member ---- */

static void closing_closep(struct input **in)
{
    closing_close(*in);
}
static void decode_closep(struct input **in)
{
    decode_close(*in);
}
static void zone_closep(struct zone **z)
{
    zone_close(*z);
}

/* One line for each column of text that would be something else. The other point changes all columns: not where one has this. */
static void hints(const struct result *r, const struct look *k, struct buf *out)
{
    for (int c = 0; c < r->columns.n; c++) {
        const char *before = "";
        unsigned fits = r->others[c] & (r->pointed ? OTHER_TIMES : ALL_OTHERS);
        if (!fits)
            continue;
        buf_addf(out, "column '%s' is text; all its values fit ", r->columns.v[c].name);
        for (size_t i = 0; i < COUNT_OF(others); i++) {
            if (!(fits >> i & 1))
                continue;
            if (i == OTHER_POINT)
                buf_addf(out, "%sdecimal_point = %c", before, k->point == ',' ? '.' : ',');
            else
                buf_addf(out, "%s%s(%s)", before, type_name(others[i].type), others[i].format);
            before = " or ";
        }
        buf_addc(out, '\n');
    }
}

static int finish(struct inferred *out, const struct result *r, const struct look *k, const struct sample *in,
                  struct err *err)
{
    if (!r->columns.n && r->unread)
        return err_set(err, ERR_INFER, "no row can be read to take columns from; %s", r->first_unread);
    if (!r->columns.n)
        return err_set(err, ERR_INFER,
                       "there is no %srow in the %s%" PRId64 " bytes to take columns from",
                       in->cut ? "whole " : "", in->cut ? "first " : "", in->given);
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(buf_clear) struct buf told = { 0 };
    columns_print(&r->columns, &text);
    hints(r, k, &told);
    if (text.failed || told.failed)
        return err_nomem(err);
    if ((*r->records && !(out->notes.records = strdup(r->records))) ||
        (*r->first_unread && !(out->notes.first_unread = strdup(r->first_unread)))) {
        inferred_clear(out);
        return err_nomem(err);
    }
    out->columns = text.p;
    out->notes.hints = told.p;
    text = told = (struct buf){ 0 };
    out->notes.unread = (int64_t)r->unread;
    out->rows = (int64_t)r->rows;
    out->bytes = in->given;
    out->whole = !in->cut;
    return 0;
}

static int infer(struct inferred *out, const struct recipe *recipe, struct input *in, int64_t max_bytes, bool open, struct err *err)
{
    AUTO(decode_closep) struct input *decoded = decode_open(in, recipe->encoding, err);
    AUTO(zone_closep) struct zone *zone = recipe->zone ? zone_open(recipe->zone) : NULL;
    AUTO(result_clear) struct result r = { .open = open };
    struct look look = { recipe, zone, recipe->decimal_point ? recipe->decimal_point : '.' };
    struct inferred found = { 0 };
    struct sample sample;
    AUTO(closing_closep) struct input *closed = decoded && recipe->closing_line ? closing_open(decoded, recipe->closing_line, err) : NULL;
    if (!decoded || (recipe->closing_line && !closed))
        return -1;
    if (recipe->zone && !zone)
        return err_set(err, ERR_CONFIG, "zone '%s' is not known here", recipe->zone);
    if (sample_open(&sample, closed ? closed : decoded, max_bytes, err) < 0)
        return -1;
    const struct format *format = format_pick(recipe, (struct str){ sample.head, sample.n }, err);
    if (!format)
        return -1;
    if ((format == &format_csv ? infer_csv : infer_json)(&found, &r, &look, &sample, err) < 0 ||
        finish(&found, &r, &look, &sample, err) < 0)
        return -1;
    *out = found;
    return 0;
}

int infer_member(struct inferred *out, const struct recipe *recipe, struct input *in,
                 int64_t max_bytes, struct err *err)
{
    return infer(out, recipe, in, max_bytes, false, err);
}

int infer_new(struct inferred *out, const struct recipe *recipe, struct input *in, int64_t max_bytes, struct err *err)
{
    return infer(out, recipe, in, max_bytes, true, err);
}
