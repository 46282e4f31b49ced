/*
 * The projecting scanner of JSON rows.
 *
 * Each object on the way to a wanted value is a node with a table of its keys, those that nobody
 * wants too. A key remembers which key followed it in the last row, and that one is compared in
 * place, quotes and all: rows of one make cost neither a search for the closing quote nor a hash. A
 * guess that fails only costs the look into the table.
 *
 * Invariants: a key's guess (`then`) is always a key whose spelling needs no escape, so that equal
 * bytes are the same key; a node is entered at most once a row (a wanted key that comes twice is
 * refused), so that one stamp a node finds duplicates. Hostile keys cannot grow the tables: the
 * number of unwanted keys that are remembered is bounded.
 */
#include "read/json_row.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/text.h"

enum {
    TABLE_MIN = 16,
    KEY_MAX = 256,       /* longer unwanted keys are not remembered */
    UNWANTED_MAX = 4096, /* remembered in all */
    UNWANTED_NODE = 256, /* and of one object */
};

struct node;

struct key {
    struct str spelled; /* with its quotes; 16 bytes of it can always be read */
    struct node *child; /* NULL: nobody wants it */
    struct key *then;   /* came behind it last time */
    struct key *chain;  /* next in the same bucket */
    uint32_t hash;
    bool plain; /* the spelling needs no escape */
};

struct node {
    struct key **table; /* NULL: no column asks for a key here */
    uint32_t buckets, keys, unwanted;
    struct key *first; /* the guess for the first key */
    struct node *item; /* wanted places of an array, by growing index */
    struct node *next; /* the next of those, for a node that is such a place */
    int64_t index;
    int slot;      /* the column that takes this value, or -1 */
    int column;    /* some column at or below here, for messages */
    uint64_t seen; /* the last row that had it */
    struct str path;
};

struct json_row {
    struct arena mem;
    struct node *root;
    int cols;
    int *same; /* of each column: the next one with the same path, or -1 */
    const struct node **at; /* of each column: its node; NULL: its value is in no row */
    bool *present;          /* room for json_row_names() */
    struct format_name *names; /* of the unwanted keys that are remembered */
    int names_cap;
    const struct columns *columns;
    bool lax;
    uint64_t row;
    uint32_t unwanted;
    /* of the text that is being walked */
    struct json_scan scan;
    struct field *fields;
    struct arena *arena;
    struct json_refusal *no;
    bool refused, nomem; /* *no is filled; the arena is out of memory */
};

/* ---- paths ---- */

static const char *path_key(const char *p, struct arena *arena, struct str *key, struct err *err)
{
    if (*p != '"') {
        size_t n = strcspn(p, ".[");
        if (!n)
            return err_set(err, ERR_CONFIG, "a key was expected at '%.40s'", p), NULL;
        char *copy = arena_dup(arena, (struct str){ p, n });
        if (!copy)
            return err_nomem(err), NULL;
        *key = (struct str){ copy, n };
        return p + n;
    }
    struct json_scan s = { .start = p, .end = p + strlen(p) };
    bool escaped;
    const char *behind = json_skip_text(&s, p, &escaped);
    if (!behind)
        return err_set(err, ERR_CONFIG, "'%.40s': %s", p, s.fault.what), NULL;
    struct json_value v = { JSON_TEXT, { p, (size_t)(behind - p) } };
    if (!json_unescape(&v, arena, key))
        return err_set(err, ERR_CONFIG, "'%.40s': not a whole character", p), NULL;
    char *copy = arena_dup(arena, *key);
    if (!copy)
        return err_nomem(err), NULL;
    key->p = copy;
    return behind;
}

static const char *path_index(const char *p, int64_t *index, struct err *err)
{
    size_t n = strspn(p + 1, "0123456789");
    if (!n || n > 9 || p[1 + n] != ']')
        return err_set(err, ERR_CONFIG, "a place such as [0] was expected at '%.40s'", p), NULL;
    *index = atol(p + 1);
    return p + n + 2;
}

int json_path_parse(const char *path, struct json_step steps[JSON_STEPS], struct arena *arena,
                    struct err *err)
{
    const char *p = path;
    int n = 0;
    do {
        if (n == JSON_STEPS)
            return err_set(err, ERR_CONFIG, "path '%.60s' has more than %d steps", path,
                           JSON_STEPS);
        struct json_step *step = &steps[n++];
        step->index = -1;
        step->key = (struct str){ "", 0 };
        p = *p == '[' ? path_index(p, &step->index, err) : path_key(p, arena, &step->key, err);
        if (!p)
            return err_in(err, "path '%.60s'", path);
        if (*p && *p != '.' && *p != '[')
            return err_set(err, ERR_CONFIG, "path '%.60s': a point or [ was expected at '%.40s'",
                           path, p);
        if (*p == '.' && (*++p == '\0' || *p == '['))
            return err_set(err, ERR_CONFIG, "path '%.60s': a key was expected behind the point",
                           path);
    } while (*p);
    return n;
}

void json_path_add(struct buf *path, struct str key)
{
    bool odd = !key.n;
    for (size_t i = 0; i < key.n; i++)
        odd |= (unsigned char)key.p[i] < 0x20 || key.p[i] == 0x7f || strchr(".[]\"\\", key.p[i]);
    if (path->n)
        buf_addc(path, '.');
    if (!odd) {
        buf_add(path, key.p, key.n);
        return;
    }
    buf_addc(path, '"');
    for (size_t i = 0; i < key.n; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (c < 0x20 || c == 0x7f) {
            buf_addf(path, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\')
            buf_addc(path, '\\');
        buf_addc(path, (char)c);
    }
    buf_addc(path, '"');
}

/* ---- the tree ---- */

static uint32_t hash_of(struct str s)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

static struct key *key_find(const struct node *n, struct str name, uint32_t hash)
{
    if (!n->table)
        return NULL;
    for (struct key *k = n->table[hash & (n->buckets - 1)]; k; k = k->chain)
        if (k->hash == hash && k->spelled.n == name.n + 2 &&
            !memcmp(k->spelled.p + 1, name.p, name.n))
            return k;
    return NULL;
}

static bool table_grow(struct json_row *r, struct node *n)
{
    uint32_t more = n->buckets ? n->buckets * 4 : TABLE_MIN;
    struct key **table = arena_alloc(&r->mem, more * sizeof *table);
    if (!table)
        return false;
    memset(table, 0, more * sizeof *table);
    for (uint32_t i = 0; i < n->buckets; i++)
        for (struct key *k = n->table[i], *next; k; k = next) {
            next = k->chain;
            k->chain = table[k->hash & (more - 1)];
            table[k->hash & (more - 1)] = k;
        }
    n->table = table;
    n->buckets = more;
    return true;
}

/* A new key; NULL: no memory. */
static struct key *key_add(struct json_row *r, struct node *n, struct str name, uint32_t hash,
                           struct node *child)
{
    if (n->keys >= n->buckets && !table_grow(r, n))
        return NULL;
    struct key *k = arena_alloc(&r->mem, sizeof *k);
    char *text = arena_alloc(&r->mem, name.n + 2 + 16);
    if (!k || !text)
        return NULL;
    memset(text, 0, name.n + 2 + 16);
    text[0] = text[name.n + 1] = '"';
    memcpy(text + 1, name.p, name.n);
    *k = (struct key){ { text, name.n + 2 }, child, NULL, n->table[hash & (n->buckets - 1)], hash,
                       is_plain(name) };
    n->table[hash & (n->buckets - 1)] = k;
    n->keys++;
    return k;
}

static struct node *node_new(struct json_row *r, int column, struct str path)
{
    struct node *n = arena_alloc(&r->mem, sizeof *n);
    if (n)
        *n = (struct node){ .slot = -1, .column = column, .path = path };
    return n;
}

/* The path of a step from n; p is NULL when there is no memory. */
static struct str path_below(struct json_row *r, const struct node *n, const struct json_step *step)
{
    AUTO(buf_clear) struct buf path = { 0 };
    buf_add(&path, n->path.p, n->path.n);
    if (step->index < 0)
        json_path_add(&path, step->key);
    else
        buf_addf(&path, "[%lld]", (long long)step->index);
    return (struct str){ path.failed ? NULL : arena_dup(&r->mem, buf_str(&path)), path.n };
}

/* The child of n behind a step, made when it is not there; NULL: no memory. */
static struct node *node_step(struct json_row *r, struct node *n, const struct json_step *step,
                              int column)
{
    if (step->index < 0) {
        uint32_t hash = hash_of(step->key);
        struct key *k = key_find(n, step->key, hash);
        if (k)
            return k->child;
        struct str path = path_below(r, n, step);
        struct node *child = path.p ? node_new(r, column, path) : NULL;
        return child && key_add(r, n, step->key, hash, child) ? child : NULL;
    }
    struct node **at = &n->item;
    while (*at && (*at)->index < step->index)
        at = &(*at)->next;
    if (*at && (*at)->index == step->index)
        return *at;
    struct str path = path_below(r, n, step);
    struct node *child = path.p ? node_new(r, column, path) : NULL;
    if (!child)
        return NULL;
    child->index = step->index;
    child->next = *at;
    *at = child;
    return child;
}

static int tree_add(struct json_row *r, const struct column *c, int column, struct err *err)
{
    struct json_step steps[JSON_STEPS];
    r->at[column] = NULL;
    r->same[column] = -1;
    if (c->builtin != BUILTIN_NONE)
        return 0;
    int n = json_path_parse(c->from, steps, &r->mem, err);
    if (n < 0)
        return err_in(err, "column '%s'", c->name);
    struct node *node = r->root;
    for (int i = 0; i < n; i++)
        if (!(node = node_step(r, node, &steps[i], column)))
            return err_nomem(err);
    r->same[column] = node->slot;
    r->at[column] = node;
    node->slot = column;
    return 0;
}

int json_row_open(struct json_row **out, const struct columns *columns, enum json_grammar grammar,
                  struct err *err)
{
    struct json_row *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->cols = columns->n;
    r->columns = columns;
    r->lax = grammar == GRAMMAR_LAX;
    r->root = node_new(r, -1, STR(""));
    r->same = arena_alloc(&r->mem, mem_product((size_t)columns->n, sizeof *r->same));
    r->at = arena_alloc(&r->mem, mem_product((size_t)columns->n, sizeof *r->at));
    r->present = arena_alloc(&r->mem, (size_t)columns->n + 1);
    int rc = r->root && r->same && r->at && r->present ? 0 : err_nomem(err);
    for (int i = 0; i < columns->n && rc == 0; i++)
        rc = tree_add(r, &columns->v[i], i, err);
    if (rc == 0 && r->root->table && r->root->item)
        rc = err_set(err, ERR_CONFIG,
                     "some columns take a row to be an object, others (such as [0]) an array");
    if (rc < 0) {
        json_row_close(r);
        return -1;
    }
    *out = r;
    return 0;
}

void json_row_close(struct json_row *r)
{
    if (!r)
        return;
    arena_clear(&r->mem);
    free(r->names);
    free(r);
}

void json_row_names(const struct json_row *r, struct format_names *out)
{
    for (int i = 0; i < r->cols; i++)
        r->present[i] = r->at[i] && r->at[i]->seen != 0;
    *out = (struct format_names){ r->names, (int)r->unwanted, false, true, r->present };
}

/* ---- walking a row ---- */

static const char *refuse(struct json_row *r, enum reject_reason reason, int column, const char *p,
                          const char *end)
{
    r->refused = true;
    *r->no = (struct json_refusal){ reason, column, { p, (size_t)(end - p) } };
    return NULL;
}

static const char *syntax(struct json_row *r, const char *p, const char *what)
{
    return json_refuse(&r->scan, JSON_SYNTAX, p, what);
}

static inline const char *space(const struct json_row *r, const char *p)
{
    if (p < r->scan.end && (unsigned char)*p > ' ')
        return p;
    return json_skip_space(p, r->scan.end);
}

/* A bracket outside of texts: -1 it is of the wrong kind, 1 it closes the value, 0 neither. */
static int bracket(struct json_brackets *b, char c)
{
    bool object = c == '{' || c == '}';
    if (c == '{' || c == '[') {
        if (b->depth++ < JSON_DEPTH)
            b->object = b->object << 1 | object;
        return 0;
    }
    if (b->depth <= JSON_DEPTH) {
        if ((b->object & 1) != object)
            return -1;
        b->object >>= 1;
    }
    return --b->depth == 0;
}

/* A bit for each quote, backslash and bracket among the next *n bytes, at most 16. */
static inline unsigned find_marks(const char *p, const char *end, size_t *n)
{
    *n = end - p < 16 ? (size_t)(end - p) : 16;
#ifdef __SSE2__
    if (*n == 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_or_si128(v, _mm_set1_epi8(0x20)); /* [ is { and ] is } but for this bit */
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(low, _mm_set1_epi8('{')),
                                   _mm_cmpeq_epi8(low, _mm_set1_epi8('}')));
        hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                             _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
        return (unsigned)_mm_movemask_epi8(hit);
    }
#endif
    unsigned marks = 0;
    for (size_t i = 0; i < *n; i++)
        marks |= (unsigned)(p[i] && strchr("\"\\{}[]", p[i])) << i;
    return marks;
}

const char *json_brackets_end(struct json_brackets *b, const char *p, const char *end,
                              const char **wrong)
{
    const char *next = p + b->escaped; /* marks before it are escaped */
    *wrong = NULL;
    for (size_t n; p < end; p += n) {
        for (unsigned marks = find_marks(p, end, &n); marks; marks &= marks - 1) {
            const char *at = p + __builtin_ctz(marks);
            int rc = 0;
            if (at < next)
                continue;
            if (*at == '"') {
                b->in_text = !b->in_text;
                rc = !b->in_text && !b->depth;
            } else if (*at == '\\') {
                next = b->in_text ? at + 2 : next;
            } else if (!b->in_text) {
                rc = bracket(b, *at);
            }
            if (rc < 0)
                *wrong = at;
            if (rc)
                return rc < 0 ? NULL : at + 1;
        }
    }
    b->escaped = next > end;
    return NULL;
}

/* Step over a value that no column wants. */
static const char *step_over(struct json_row *r, const char *p, int depth)
{
    if (!r->lax || p == r->scan.end || (*p != '{' && *p != '['))
        return json_skip(&r->scan, p, depth);
    struct json_brackets b = { 0 };
    const char *wrong, *end = json_brackets_end(&b, p, r->scan.end, &wrong);
    return end ? end : syntax(r, wrong ? wrong : p, "a bracket is not closed by its own kind");
}

static const char *take(struct json_row *r, struct node *n, const char *p, int depth);

/* A key of n that no column takes: its path, and what its value begins with. end is behind the key. */
static bool remember(struct json_row *r, struct node *n, struct str name, const char *end)
{
    const char *p = json_skip_space(end, r->scan.end);
    p = p < r->scan.end && *p == ':' ? json_skip_space(p + 1, r->scan.end) : r->scan.end;
    if ((int)r->unwanted == r->names_cap) {
        int cap = r->names_cap ? r->names_cap * 4 : 16;
        struct format_name *more = realloc(r->names, (size_t)cap * sizeof *more);
        if (!more)
            return false;
        r->names = more;
        r->names_cap = cap;
    }
    struct str path = path_below(r, n, &(struct json_step){ .key = name, .index = -1 });
    if (!path.p)
        return false;
    r->names[r->unwanted++] = (struct format_name){ .name = path, .first = p < r->scan.end ? *p : 0 };
    n->unwanted++;
    return true;
}

/* The key at p by its name, when the guess failed. *behind: the place behind its closing quote,
 * NULL when it is wrong. A key that is not kept in the table gives NULL. */
static struct key *look_up(struct json_row *r, struct node *n, const char *p, const char **behind)
{
    bool escaped;
    *behind = NULL;
    if (p == r->scan.end || *p != '"')
        return syntax(r, p, "a key in quotes was expected here"), NULL;
    const char *end = json_skip_text(&r->scan, p, &escaped);
    if (!end)
        return NULL;
    struct str name = { p + 1, (size_t)(end - p - 2) };
    struct json_value v = { JSON_TEXT, { p, (size_t)(end - p) } };
    if (escaped && !json_unescape(&v, r->arena, &name)) {
        r->nomem = !name.p;
        *behind = name.p ? end : NULL; /* a lone surrogate is no wanted key */
        return NULL;
    }
    *behind = end;
    uint32_t hash = hash_of(name);
    struct key *k = key_find(n, name, hash);
    if (k || name.n > KEY_MAX || n->unwanted == UNWANTED_NODE || r->unwanted == UNWANTED_MAX)
        return k;
    if ((k = key_add(r, n, name, hash, NULL)))
        k = remember(r, n, name, end) ? k : NULL;
    r->nomem |= !k;
    *behind = k ? end : NULL;
    return k;
}

/* Does the text at p begin with the key as spelled? 16 bytes can be read at both. */
static inline bool guess_holds(const struct key *k, const char *p, const char *end)
{
    if ((size_t)(end - p) < k->spelled.n)
        return false;
#ifdef __SSE2__
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)k->spelled.p);
    unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, b));
    if (k->spelled.n < 16)
        return (~same & ((1u << k->spelled.n) - 1)) == 0;
    return same == 0xFFFF && !memcmp(p + 16, k->spelled.p + 16, k->spelled.n - 16);
#else
    return !memcmp(p, k->spelled.p, k->spelled.n);
#endif
}

/* p is behind the opening bracket */
static const char *walk_object(struct json_row *r, struct node *n, const char *p, int depth)
{
    struct key **guess = &n->first, *ignored = NULL;
    p = space(r, p);
    if (p < r->scan.end && *p == '}')
        return p + 1;
    for (;;) {
        struct key *k = *guess;
        const char *at = p;
        if (k && guess_holds(k, p, r->scan.end)) {
            p += k->spelled.n;
        } else {
            k = look_up(r, n, p, &p);
            if (!p)
                return NULL;
            if (k && k->plain)
                *guess = k;
        }
        struct node *child = k ? k->child : NULL;
        guess = k ? &k->then : &ignored;
        if (child && child->seen == r->row)
            return refuse(r, REJECT_DUPLICATE_KEY, child->column, at, p);
        p = space(r, p);
        if (p == r->scan.end || *p != ':')
            return syntax(r, p, "a colon was expected here");
        p = space(r, p + 1);
        p = child ? take(r, child, p, depth) : step_over(r, p, depth);
        if (!p)
            return NULL;
        p = space(r, p);
        if (p < r->scan.end && *p == ',')
            p = space(r, p + 1);
        else if (p < r->scan.end && *p == '}')
            return p + 1;
        else
            return syntax(r, p, "a comma or } was expected here");
    }
}

static const char *walk_array(struct json_row *r, struct node *n, const char *p, int depth)
{
    const struct node *item = n->item;
    p = space(r, p);
    if (p < r->scan.end && *p == ']')
        return p + 1;
    for (int64_t i = 0;; i++) {
        if (item && item->index == i) {
            p = take(r, (struct node *)item, p, depth);
            item = item->next;
        } else {
            p = step_over(r, p, depth);
        }
        if (!p)
            return NULL;
        p = space(r, p);
        if (p < r->scan.end && *p == ',')
            p = space(r, p + 1);
        else if (p < r->scan.end && *p == ']')
            return p + 1;
        else
            return syntax(r, p, "a comma or ] was expected here");
    }
}

static void fill(struct json_row *r, int slot, enum field_kind kind, const char *p, const char *end)
{
    for (; slot >= 0; slot = r->same[slot])
        r->fields[slot] = (struct field){ p, (uint32_t)(end - p), (uint8_t)kind };
}

/* A json column takes a text as it is written; all others take what it says. */
static const char *take_text(struct json_row *r, struct node *n, const char *p)
{
    bool escaped;
    const char *end = json_skip_text(&r->scan, p, &escaped);
    if (!end)
        return NULL;
    struct str said = { p + 1, (size_t)(end - p - 2) };
    struct json_value v = { JSON_TEXT, { p, (size_t)(end - p) } };
    for (int slot = n->slot; slot >= 0; slot = r->same[slot]) {
        if (r->columns->v[slot].type == TYPE_JSON) {
            r->fields[slot] = (struct field){ p, (uint32_t)(end - p), FIELD_RAW };
            continue;
        }
        if (escaped && !json_unescape(&v, r->arena, &said)) {
            r->nomem = !said.p;
            return r->nomem ? NULL : refuse(r, REJECT_ENCODING, slot, said.p, said.p + said.n);
        }
        r->fields[slot] = (struct field){ said.p, (uint32_t)said.n, FIELD_QUOTED };
    }
    return end;
}

static enum field_kind scalar_kind(char c)
{
    return c == 't' ? FIELD_TRUE : c == 'f' ? FIELD_FALSE : c == 'n' ? FIELD_NULL : FIELD_NUMBER;
}

/* A value that some column wants, itself or a part of it. */
static const char *take(struct json_row *r, struct node *n, const char *p, int depth)
{
    const char *start = p;
    enum field_kind kind = FIELD_RAW;
    n->seen = r->row;
    if (p == r->scan.end)
        return syntax(r, p, "the text ends where a value was expected");
    bool inside = (*p == '{' && n->table) || (*p == '[' && n->item);
    assert(!inside || depth < JSON_DEPTH); /* JSON_STEPS keeps paths above that */
    if (inside) {
        p = *p == '{' ? walk_object(r, n, p + 1, depth + 1) : walk_array(r, n, p + 1, depth + 1);
    } else if (*p == '"') {
        p = take_text(r, n, p);
        kind = FIELD_QUOTED;
    } else {
        if (*p != '{' && *p != '[')
            kind = scalar_kind(*p);
        p = json_skip(&r->scan, p, depth);
    }
    if (!p)
        return NULL;
    if (!inside && (n->table || n->item) && kind != FIELD_NULL && !r->lax)
        return refuse(r, REJECT_JSON_NOT_OBJECT, n->column, start, p);
    if (kind != FIELD_QUOTED)
        fill(r, n->slot, kind, start, p);
    return p;
}

static const char *walk(struct json_row *r)
{
    const char *p = json_skip_space(r->scan.start, r->scan.end), *start = p;
    if (p == r->scan.end || *p != (r->root->item ? '[' : '{')) {
        p = json_skip(&r->scan, p, 0);
        return p ? refuse(r, REJECT_JSON_NOT_OBJECT, -1, start, p) : NULL;
    }
    p = *p == '[' ? walk_array(r, r->root, p + 1, 1) : walk_object(r, r->root, p + 1, 1);
    if (!p)
        return NULL;
    p = json_skip_space(p, r->scan.end);
    return p == r->scan.end ? p : syntax(r, p, "nothing may follow the value");
}

int json_row_scan(struct json_row *r, struct str text, bool ascii, struct field *fields,
                  struct arena *arena, struct json_refusal *no)
{
    static const enum reject_reason reasons[] = { [JSON_SYNTAX] = REJECT_JSON_SYNTAX,
                                                  [JSON_TOO_DEEP] = REJECT_JSON_DEPTH,
                                                  [JSON_ENCODING] = REJECT_ENCODING };
    const char *end = text.p + text.n;
    r->scan = (struct json_scan){ .start = text.p, .end = end };
    r->fields = fields;
    r->arena = arena;
    r->no = no;
    r->refused = r->nomem = false;
    r->row++;
    memset(fields, 0, (size_t)r->cols * sizeof *fields);
    if (!ascii) {
        size_t good = text_utf8_valid(text);
        if (good < text.n) {
            size_t rest = text.n - good;
            refuse(r, REJECT_ENCODING, -1, text.p + good, text.p + good + (rest < 16 ? rest : 16));
            return 0;
        }
    }
    if (walk(r))
        return 1;
    if (r->nomem)
        return -1;
    if (!r->refused) {
        const char *at = text.p + r->scan.fault.at;
        refuse(r, reasons[r->scan.fault.kind], -1, at, end - at < 40 ? end : at + 40);
    }
    return 0;
}

int json_row_said_error(struct str text, const struct field *fields, uint32_t cols, uint64_t line, struct err *err)
{
    struct json_value v, said;
    struct json_fault fault;
    for (uint32_t i = 0; i < cols; i++)
        if (fields[i].kind != FIELD_ABSENT)
            return 0;
    if (!json_check(text, &v, &fault) || v.kind != JSON_OBJECT || json_member(&v, "error", &said) != 1)
        return 0;
    return err_set(err, ERR_PROGRAM, "line %" PRIu64 ": the program said so: %.*s", line, (int)(said.raw.n < 300 ? said.raw.n : 300),
                   said.raw.p);
}
