/*
 * The profile of a job's rows; see the header.
 *
 * A batch is walked column by column, so that the sketches of one column stay in the first cache while it is. Each value is hashed
 * once, for both sketches. Two values of one hash (2^-64 a pair, if nobody means it) are taken for one: that touches a profile, and
 * never a row.
 *
 * Nothing is kept on disk: the profile of a job that fails is gone with it.
 */
#include "pipeline/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "pipeline/step.h"

enum {
    REGISTER_BITS = 11,
    REGISTERS = 1 << REGISTER_BITS,
    RANK_MAX = 64 - REGISTER_BITS + 1,
    SLOTS = 4 * PROFILE_COUNTERS, /* a power of two */
    SKIP_EVERY = 16, /* batches: so often the registers are looked through */
    STRIDE = 11,                  /* one row in so many is counted, once PROFILE_ALL were; prime, against rows that come in turns */
};

/* A value that is kept: of a text its first bytes. */
struct kept {
    union {
        int64_t i;
        double r;
        char p[PROFILE_TEXT];
    };
    uint32_t n; /* bytes of the whole text */
};

/* What came first in the order of bytes, or last: its first 16 bytes as two numbers decide nearly always. */
struct edge {
    uint64_t head, next, hash;
    const char *p; /* while a batch is taken in: in it, or in text; the whole text has text.n bytes */
    struct kept text;
};

/* Counts are kept above `base`, which grows by one where Misra and Gries take one from each counter. */
struct top {
    uint64_t hash[PROFILE_COUNTERS];
    uint64_t count[PROFILE_COUNTERS];
    uint8_t slot[SLOTS]; /* number of a counter plus one, behind its hash; 0: free */
    int used;
    uint64_t base, least; /* no counter is below `least` */
    struct kept value[PROFILE_COUNTERS];
};

struct sketch {
    const struct column *column;
    uint64_t nulls, values;
    int64_t imin, imax;
    double rmin, rmax;
    struct edge min, max;
    uint32_t longest;
    uint64_t skip, batches; /* see distinct_add */
    uint8_t registers[REGISTERS]; /* of HyperLogLog */
    struct top top;
};

struct profile {
    uint64_t rows, counted; /* counted: of those, rows whose values the counters saw */
    int n;
    uint64_t hashes[BATCH_ROWS]; /* of the values of a column */
    struct sketch sketches[];
};

int profile_open(struct profile **out, const struct columns *columns, struct err *err)
{
    struct profile *p = calloc(1, sizeof *p + mem_product((size_t)columns->n, sizeof *p->sketches));
    if (!p)
        return err_nomem(err);
    p->n = columns->n;
    for (int i = 0; i < p->n; i++)
        p->sketches[i].column = &columns->v[i];
    *out = p;
    return 0;
}

void profile_free(struct profile *p)
{
    free(p);
}

/* ---- hashes ---- */

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static const uint64_t salt[3] = { 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03, 0x8cb92ba72f3d8dd7 }; /* odd, without a pattern */

static inline uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The first 8 bytes of a text as a number that grows as texts do; what it does not have is 0. */
static inline uint64_t head_of(const char *p, uint32_t n)
{
    if (n >= 8)
        return __builtin_bswap64(load8(p));
    if (n >= 4)
        return (uint64_t)__builtin_bswap32((uint32_t)load4(p)) << 32 |
               ((uint64_t)__builtin_bswap32((uint32_t)load4(p + n - 4)) << (8 * (8 - n)) & 0xffffffff);
    if (n == 0)
        return 0;
    uint32_t middle = n / 2, last = n - 1; /* of 1 to 3 bytes; one that is taken twice is the same */
    return (uint64_t)(unsigned char)p[0] << 56 | (uint64_t)(unsigned char)p[middle] << (56 - 8 * middle) |
           (uint64_t)(unsigned char)p[last] << (56 - 8 * last);
}

static inline uint64_t hash_number(uint64_t v)
{
    return fold(v ^ salt[0], salt[1]) * salt[2];
}

static inline uint64_t hash_text(const char *p, uint32_t n, uint64_t head)
{
    uint64_t h = n * salt[2];
    if (n <= 8)
        return fold(head ^ salt[0], h ^ salt[1]) * salt[2];
    for (uint32_t i = 16; i < n; i += 16)
        h = fold(load8(p + i - 16) ^ salt[0], load8(p + i - 8) ^ h);
    if (n > 16)
        head = load8(p + n - 16);
    return fold(head ^ salt[0], load8(p + n - 8) ^ h ^ salt[1]) * salt[2];
}

/* ---- how often ---- */

static void top_place(struct top *t, int counter)
{
    size_t at = t->hash[counter] % SLOTS;
    while (t->slot[at])
        at = (at + 1) % SLOTS;
    t->slot[at] = (uint8_t)(counter + 1);
}

/* All counters were full: each gives one, and those that have nothing left go. */
static __attribute__((noinline)) void top_lower(struct top *t)
{
    int to = 0;
    if (++t->base < t->least)
        return;
    t->least = UINT64_MAX;
    for (int i = 0; i < t->used; i++) {
        if (t->count[i] <= t->base)
            continue;
        t->hash[to] = t->hash[i];
        t->count[to] = t->count[i];
        t->value[to] = t->value[i];
        t->least = t->count[to] < t->least ? t->count[to] : t->least;
        to++;
    }
    if (to == t->used)
        return;
    t->used = to;
    memset(t->slot, 0, sizeof t->slot);
    for (int i = 0; i < to; i++)
        top_place(t, i);
}

/* Count a value. A counter that is new, and whose value is to be filled, or NULL. */
static inline struct kept *top_add(struct top *t, uint64_t hash)
{
    for (size_t at = hash % SLOTS; t->slot[at]; at = (at + 1) % SLOTS) {
        int counter = t->slot[at] - 1;
        if (t->hash[counter] == hash) {
            t->count[counter]++;
            return NULL;
        }
    }
    if (t->used == PROFILE_COUNTERS) {
        top_lower(t);
        return NULL;
    }
    int counter = t->used++;
    t->hash[counter] = hash;
    t->count[counter] = t->base + 1;
    t->least = t->used == 1 || t->count[counter] < t->least ? t->count[counter] : t->least;
    top_place(t, counter);
    return &t->value[counter];
}

/* ---- values ---- */

/* The register, by the high bits, keeps the greatest number of zeros at the low end that was seen, and one more. A hash that has one
 * of the bits of `skip` has fewer of them than any register. */
static inline void distinct_add(struct sketch *s, uint64_t skip, uint64_t hash)
{
    if (hash & skip)
        return;
    uint8_t rank = (uint8_t)(__builtin_ctzll(hash | 1ull << (RANK_MAX - 1)) + 1);
    uint8_t *r = &s->registers[hash >> (64 - REGISTER_BITS)];
    if (__builtin_expect(rank > *r, 0))
        *r = rank;
}

static void skip_more(struct sketch *s)
{
    uint8_t least = RANK_MAX;
    for (int i = 0; i < REGISTERS; i++)
        least = s->registers[i] < least ? s->registers[i] : least;
    s->skip = (1ull << least) - 1;
}

static void integers(struct sketch *s, const struct value *v, const struct rows *rows, uint64_t *hashes)
{
    const uint32_t n = rows->n, cols = rows->cols;
    const uint64_t skip = s->skip;
    int64_t min = s->values ? s->imin : INT64_MAX, max = s->values ? s->imax : INT64_MIN;
    uint64_t nulls = 0;
    for (uint32_t row = 0; row < n; row++, v += cols) {
        if (v->null) {
            nulls++;
            continue;
        }
        int64_t i = v->i;
        min = i < min ? i : min;
        max = i > max ? i : max;
        distinct_add(s, skip, hashes[row] = hash_number((uint64_t)i));
    }
    s->imin = min;
    s->imax = max;
    s->nulls += nulls;
    s->values += n - nulls;
}

static void reals(struct sketch *s, const struct value *v, const struct rows *rows, uint64_t *hashes)
{
    const uint32_t n = rows->n, cols = rows->cols;
    const uint64_t skip = s->skip;
    double min = s->values ? s->rmin : INFINITY, max = s->values ? s->rmax : -INFINITY;
    uint64_t nulls = 0, bits;
    for (uint32_t row = 0; row < n; row++, v += cols) {
        if (v->null) {
            nulls++;
            continue;
        }
        double r = v->r + 0.0; /* -0 is 0 */
        memcpy(&bits, &r, sizeof bits);
        min = r < min ? r : min;
        max = r > max ? r : max;
        distinct_add(s, skip, hashes[row] = hash_number(bits));
    }
    s->rmin = min;
    s->rmax = max;
    s->nulls += nulls;
    s->values += n - nulls;
}

static void keep_text(struct kept *k, const struct value *v)
{
    k->n = v->n;
    memcpy(k->p, v->p, v->n < PROFILE_TEXT ? v->n : PROFILE_TEXT);
}

/* As memcmp() of what is kept of two texts whose first 16 bytes are the same, and then the shorter one first. */
static __attribute__((noinline)) int order(const struct value *v, const struct edge *e)
{
    uint32_t n = v->n < PROFILE_TEXT ? v->n : PROFILE_TEXT, kn = e->text.n < PROFILE_TEXT ? e->text.n : PROFILE_TEXT;
    int cmp = memcmp(v->p, e->p, n < kn ? n : kn);
    return cmp ? cmp : n < kn ? -1 : n > kn;
}

static inline uint64_t next_of(const struct value *v)
{
    return v->n > 8 ? head_of(v->p + 8, v->n - 8) : 0;
}

/* Does the text, whose first bytes are the same as those of the edge, stand before it? */
static inline int order_next(const struct value *v, const struct edge *e)
{
    uint64_t next = next_of(v);
    return next != e->next ? (next < e->next ? -1 : 1) : v->n <= 8 && v->n == e->text.n ? 0 : order(v, e);
}

static void edge_set(struct edge *e, const struct value *v, uint64_t head, uint64_t hash)
{
    e->head = head;
    e->next = next_of(v);
    e->hash = hash;
    e->p = v->p;
    e->text.n = v->n;
}

/* The batch goes: what its text says is kept. */
static void edge_keep(struct edge *e)
{
    if (e->p != e->text.p)
        keep_text(&e->text, &(struct value){ .p = e->p, .n = e->text.n });
    e->p = e->text.p;
}

/* A text whose first bytes do not say that it stands between the two. */
static __attribute__((noinline)) void text_edges(struct sketch *s, const struct value *v, uint64_t head, uint64_t hash)
{
    if (head < s->min.head || (head == s->min.head && hash != s->min.hash && order_next(v, &s->min) < 0))
        edge_set(&s->min, v, head, hash);
    if (head > s->max.head || (head == s->max.head && hash != s->max.hash && order_next(v, &s->max) > 0))
        edge_set(&s->max, v, head, hash);
}

static void first_text(struct sketch *s, const struct value *v, const struct rows *rows)
{
    for (uint32_t row = 0; row < rows->n; row++, v += rows->cols)
        if (!v->null) {
            uint64_t head = head_of(v->p, v->n), hash = hash_text(v->p, v->n, head);
            edge_set(&s->min, v, head, hash);
            edge_set(&s->max, v, head, hash);
            return;
        }
}

/* A head stands between the two when head - (min + 1) is below it: one comparison. */
static inline uint64_t span_of(const struct sketch *s)
{
    return s->max.head > s->min.head ? s->max.head - s->min.head - 1 : 0;
}

static void texts(struct sketch *s, const struct value *v, const struct rows *rows, uint64_t *hashes)
{
    const uint32_t n = rows->n, cols = rows->cols;
    const uint64_t skip = s->skip;
    uint32_t longest = s->longest, nulls = 0;
    if (!s->values)
        first_text(s, v, rows);
    uint64_t low = s->min.head + 1, span = span_of(s);
    for (uint32_t row = 0; row < n; row++, v += cols) {
        if (v->null) {
            nulls++;
            continue;
        }
        uint64_t head = head_of(v->p, v->n), hash = hash_text(v->p, v->n, head);
        longest = v->n > longest ? v->n : longest;
        if (head - low >= span && hash != s->min.hash && hash != s->max.hash) {
            text_edges(s, v, head, hash);
            low = s->min.head + 1;
            span = span_of(s);
        }
        distinct_add(s, skip, hashes[row] = hash);
    }
    s->longest = longest;
    s->nulls += nulls;
    s->values += n - nulls;
    if (s->values) {
        edge_keep(&s->min);
        edge_keep(&s->max);
    }
}

/* Rows of the batch, stride apart. */
static void count_values(struct sketch *s, const struct value *v, const struct rows *rows, const uint64_t *hashes, uint32_t from,
                         uint32_t to, uint32_t stride, bool text)
{
    for (uint32_t row = from; row < to; row += stride) {
        const struct value *at = v + (size_t)row * rows->cols;
        struct kept *k = at->null ? NULL : top_add(&s->top, hashes[row]);
        if (k && text)
            keep_text(k, at);
        else if (k)
            k->i = at->i;
    }
}

static bool is_text(enum type t)
{
    return t == TYPE_TEXT || t == TYPE_JSON;
}

void profile_rows(struct profile *p, const struct rows *rows)
{
    uint32_t all = p->rows >= PROFILE_ALL ? 0 : PROFILE_ALL - p->rows < rows->n ? (uint32_t)(PROFILE_ALL - p->rows) : rows->n;
    uint32_t next = all + (uint32_t)(STRIDE - 1 - (p->rows + all + STRIDE - 1) % STRIDE); /* the next row whose number is a multiple */
    for (int i = 0; i < p->n; i++) {
        struct sketch *s = &p->sketches[i];
        const struct value *v = rows->values + i;
        bool text = is_text(s->column->type);
        (text ? texts : s->column->type == TYPE_REAL ? reals : integers)(s, v, rows, p->hashes);
        if (++s->batches % SKIP_EVERY == 0)
            skip_more(s);
        count_values(s, v, rows, p->hashes, 0, all, 1, text);
        count_values(s, v, rows, p->hashes, next, rows->n, STRIDE, text);
    }
    p->rows += rows->n;
    p->counted += all + (next < rows->n ? (rows->n - next + STRIDE - 1) / STRIDE : 0);
}

/* ---- what came of it ---- */

static double ertl_sigma(double x)
{
    if (x == 1)
        return INFINITY;
    double y = 1, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double ertl_tau(double x)
{
    if (x == 0 || x == 1)
        return 0;
    double y = 1, z = 1 - x, before;
    do {
        x = sqrt(x);
        before = z;
        y /= 2;
        z -= (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

static uint64_t distinct(const struct profile *p, const struct sketch *s)
{
    double m = REGISTERS, z;
    unsigned counts[RANK_MAX + 1] = { 0 };
    if (!s->top.base && p->counted == p->rows)
        return (uint64_t)s->top.used; /* each has its counter */
    for (int i = 0; i < REGISTERS; i++)
        counts[s->registers[i]]++;
    z = m * ertl_tau(1 - counts[RANK_MAX] / m);
    for (int k = RANK_MAX - 1; k >= 1; k--)
        z = (z + counts[k]) / 2;
    z += m * ertl_sigma(counts[0] / m);
    double n = m * m / (2 * M_LN2) / z;
    return n > (double)s->values ? s->values : (uint64_t)llround(n);
}

static void put_kept(const struct sketch *s, const struct kept *k, struct json_out *o)
{
    char text[PROFILE_TEXT + 8];
    size_t n = k->n < PROFILE_TEXT ? k->n : PROFILE_TEXT;
    switch (s->column->type) {
    case TYPE_INTEGER:
        json_int(o, k->i);
        return;
    case TYPE_BOOLEAN:
        json_bool(o, k->i != 0);
        return;
    case TYPE_REAL:
        json_real(o, k->r);
        return;
    case TYPE_DECIMAL:
        json_raw(o, (struct str){ text, (size_t)text_put_decimal(text, k->i, s->column->scale) });
        return;
    case TYPE_DATE:
        json_text(o, (struct str){ text, (size_t)text_put_date(text, k->i) });
        return;
    case TYPE_TIMESTAMP:
        json_text(o, (struct str){ text, (size_t)text_put_timestamp(text, k->i, 'T') });
        return;
    default:
        memcpy(text, k->p, n);
        if (k->n > PROFILE_TEXT) {
            n = text_utf8_valid((struct str){ text, n });
            memcpy(text + n, "\xe2\x80\xa6", 3);
            n += 3;
        }
        json_text(o, (struct str){ text, n });
    }
}

static void put_edges(const struct sketch *s, struct json_out *o)
{
    struct kept min = { .i = s->imin }, max = { .i = s->imax };
    if (s->column->type == TYPE_REAL) {
        min.r = s->rmin;
        max.r = s->rmax;
    } else if (is_text(s->column->type)) {
        min = s->min.text;
        max = s->max.text;
    }
    json_key(o, "min");
    s->values ? put_kept(s, &min, o) : json_null(o);
    json_key(o, "max");
    s->values ? put_kept(s, &max, o) : json_null(o);
    json_key(o, "longest");
    is_text(s->column->type) && s->values ? json_int(o, s->longest) : json_null(o);
}

/* The counter with the highest count that is not among those of a bit. */
static int top_next(const struct top *t, uint64_t given)
{
    int best = -1;
    for (int i = 0; i < t->used; i++)
        if (!(given >> i & 1) && (best < 0 || t->count[i] > t->count[best]))
            best = i;
    return best;
}

static void put_top(const struct sketch *s, struct json_out *o)
{
    const struct top *t = &s->top;
    uint64_t given = 0;
    json_key(o, "top");
    json_array(o);
    for (int n = 0, i; n < PROFILE_TOP && (i = top_next(t, given)) >= 0 && t->count[i] - t->base >= 2; n++) {
        given |= 1ull << i;
        json_object(o);
        json_key(o, "value");
        put_kept(s, &t->value[i], o);
        json_put_int(o, "count", (int64_t)(t->count[i] - t->base));
        json_object_end(o);
    }
    json_array_end(o);
    json_put_int(o, "error", (int64_t)t->base);
}

void profile_json(const struct profile *p, struct json_out *o)
{
    json_object(o);
    json_put_int(o, "rows", (int64_t)p->rows);
    json_put_int(o, "counted", (int64_t)p->counted);
    json_key(o, "columns");
    json_array(o);
    for (int i = 0; i < p->n; i++) {
        const struct sketch *s = &p->sketches[i];
        json_object(o);
        json_put_text(o, "column", s->column->name);
        json_put_text(o, "type", type_name(s->column->type));
        json_put_int(o, "nulls", (int64_t)s->nulls);
        json_put_int(o, "distinct", (int64_t)distinct(p, s));
        put_edges(s, o);
        put_top(s, o);
        json_object_end(o);
    }
    json_array_end(o);
    json_object_end(o);
}

/* ---- the step ---- */

struct profile_step {
    struct step step;
    struct profile *profile;
};

static bool step_wanted(const struct recipe *recipe)
{
    return recipe->profile;
}

static int step_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    (void)part;
    struct profile_step *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(err);
    s->step.columns = in;
    if (profile_open(&s->profile, in, err) < 0) {
        free(s);
        return -1;
    }
    *out = &s->step;
    return 0;
}

static int step_rows(struct step *step, struct rows *rows, struct err *err)
{
    profile_rows(((struct profile_step *)step)->profile, rows);
    return step_give(step, rows, err);
}

static int step_finish(struct step *step, struct err *err)
{
    struct json_out o;
    const struct profile *p = ((struct profile_step *)step)->profile;
    if (!p->rows)
        return 0;
    json_start(&o, step->part->profile);
    profile_json(p, &o);
    return step->part->profile->failed ? err_nomem(err) : 0;
}

static void step_close(struct step *step)
{
    struct profile_step *s = (struct profile_step *)step;
    profile_free(s->profile);
    free(s);
}

const struct step_kind step_profile = {
    .name = "profile",
    .wanted = step_wanted,
    .open = step_open,
    .rows = step_rows,
    .finish = step_finish,
    .close = step_close,
};
