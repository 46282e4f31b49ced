/*
 * distinct =: of the rows of a job with the same key only the first goes on; the others are counted as filtered. Null is equal to
 * null, -0 to 0, and texts are equal when their bytes are.
 *
 * What is kept of a key is its hash of 128 bits under a random secret of the job, so that memory does not depend on the length of
 * keys, and nobody can make a file whose rows are taken for others; by chance a row is taken for one of a billion others once in
 * 2^98 rows. A job takes one DISTINCT_SHARE-th of [limits] memory at most, for all its parts together; then it fails with `limit`.
 * Why not spill to disk: rows would no longer stream, and a key costs 19 to 37 bytes only: more than ten million of them fit into
 * the default of 512 MiB.
 *
 * Open tables of hashes: many small ones instead of one great one, by the first bits of the hash, so that growing one takes little
 * beside what is there. Memory only: a job that is run again begins with none.
 */
#include "pipeline/step.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/sys.h"

enum { DISTINCT_SHARE = 2 };
enum { TABLE_BITS = 6, TABLES = 1 << TABLE_BITS, FIRST_SLOTS = 64 };

struct table {
    struct hash_keyed *slots; /* all bits 0: free */
    size_t size, used;        /* size: a power of two */
};

struct distinct {
    struct step step; /* first */
    int *columns;
    int ncolumns;
    uint64_t secret[2];
    struct table tables[TABLES];
    size_t bytes, bytes_max; /* of the tables */
    uint64_t keys;
    struct buf key;
};

/* ---- the set ---- */

static bool is_free(const struct hash_keyed *h) { return !h->a && !h->b; }

/* The slot of h, or the free one where it belongs. The table is never full. */
static struct hash_keyed *find(const struct table *t, struct hash_keyed h)
{
    for (size_t at = h.a & (t->size - 1);; at = (at + 1) & (t->size - 1))
        if (is_free(&t->slots[at]) || (t->slots[at].a == h.a && t->slots[at].b == h.b))
            return &t->slots[at];
}

static int too_many(const struct distinct *d, struct err *err)
{
    return err_set(err, ERR_LIMIT, "distinct: more different keys than %llu, which is what [limits] memory = %lld MiB has room for",
                   (unsigned long long)d->keys, (long long)(d->step.part->config->limits.memory >> 20));
}

static int grow(struct distinct *d, struct table *t, struct err *err)
{
    struct table twice = { .size = t->size ? t->size * 2 : FIRST_SLOTS, .used = t->used };
    size_t more = (twice.size - t->size) * sizeof *twice.slots;
    if (more > d->bytes_max - d->bytes)
        return too_many(d, err);
    if (!(twice.slots = calloc(twice.size, sizeof *twice.slots)))
        return err_nomem(err);
    for (size_t i = 0; i < t->size; i++)
        if (!is_free(&t->slots[i]))
            *find(&twice, t->slots[i]) = t->slots[i];
    free(t->slots);
    *t = twice;
    d->bytes += more;
    return 0;
}

/* 1: it is new; 0: it was there. */
static int add(struct distinct *d, struct hash_keyed h, struct err *err)
{
    struct table *t = &d->tables[h.a >> (64 - TABLE_BITS)];
    h.b |= is_free(&h);
    if (t->used >= t->size / 8 * 7 && grow(d, t, err) < 0)
        return -1;
    struct hash_keyed *slot = find(t, h);
    if (!is_free(slot))
        return 0;
    *slot = h;
    t->used++;
    d->keys++;
    return 1;
}

/* ---- keys ---- */

/* What two values have in common exactly when they are equal; behind it another one may begin. */
static void put_value(struct buf *out, enum type type, const struct value *v)
{
    buf_addc(out, v->null ? 'n' : 'v');
    if (v->null)
        return;
    if (type == TYPE_TEXT || type == TYPE_JSON) {
        buf_add(out, &v->n, sizeof v->n);
        buf_add(out, v->p, v->n);
        return;
    }
    struct value same = *v;
    if (type == TYPE_REAL && same.r == 0)
        same.r = 0; /* not -0 */
    buf_add(out, &same.i, sizeof same.i);
}

static int is_new(struct distinct *d, const struct value *row, struct err *err)
{
    buf_reset(&d->key);
    for (int i = 0; i < d->ncolumns; i++)
        put_value(&d->key, d->step.columns->v[d->columns[i]].type, &row[d->columns[i]]);
    return d->key.failed ? err_nomem(err) : add(d, hash_keyed(d->secret, d->key.p, d->key.n), err);
}

/* ---- the step ---- */

static int distinct_rows(struct step *step, struct rows *rows, struct err *err)
{
    struct distinct *d = (struct distinct *)step;
    bool keep[BATCH_ROWS];
    for (uint32_t i = 0; i < rows->n; i++) {
        int rc = is_new(d, rows->values + (size_t)i * rows->cols, err);
        if (rc < 0)
            return -1;
        keep[i] = rc == 1;
    }
    step->part->counts->filtered += rows_keep(rows, keep);
    return rows->n ? step_give(step, rows, err) : 0;
}

static void distinct_close(struct step *step)
{
    struct distinct *d = (struct distinct *)step;
    for (int i = 0; i < TABLES; i++)
        free(d->tables[i].slots);
    buf_clear(&d->key);
    free(d->columns);
    free(d);
}

static bool is_wanted(const struct recipe *recipe) { return recipe->ndistinct > 0; }

/* What this part may take: its half of the memory is shared by the parts of the pipeline that have a set. */
static size_t share_of(const struct step_part *part)
{
    int sets = 0;
    for (int i = 0; i < part->pipeline->nparts; i++)
        sets += is_wanted(&part->pipeline->parts[i]);
    return (size_t)part->config->limits.memory / DISTINCT_SHARE / (size_t)(sets ? sets : 1);
}

static int distinct_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    struct distinct *d = calloc(1, sizeof *d);
    if (!d)
        return err_nomem(err);
    d->step.columns = in;
    d->ncolumns = part->recipe->ndistinct;
    d->bytes_max = share_of(part);
    d->secret[0] = sys_random();
    d->secret[1] = sys_random();
    int rc = (d->columns = calloc((size_t)d->ncolumns, sizeof *d->columns)) ? 0 : err_nomem(err);
    for (int i = 0; i < d->ncolumns && rc == 0; i++)
        if ((d->columns[i] = columns_find(in, str_of(part->recipe->distinct[i]))) < 0)
            rc = err_set(err, ERR_CONFIG, "'%s' is not among the columns", part->recipe->distinct[i]);
    if (rc < 0)
        distinct_close(&d->step);
    else
        *out = &d->step;
    return rc;
}

const struct step_kind step_distinct = {
    .name = "distinct", .wanted = is_wanted, .open = distinct_open, .rows = distinct_rows, .close = distinct_close
};
