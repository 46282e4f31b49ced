/*
 * The step that adds what an HTTP server knows to the rows: each [enrich] that a part names, one after the other.
 *
 * A batch of rows has few or many distinct keys; each is asked for once. The step waits for the worker's answer, reads it by the
 * JSON paths of the columns and types it, so that a value from outside is checked like one from a file. A key is then known, missing, or
 * failed, and its rows get values, nulls, go to the rejects, or fail the job. Rows are given on in their order: all of the batch at
 * once, but where the values of their answers are more than KNOWN_BYTES as many as are known by then, which are then forgotten.
 * Else what is known stays for the batches behind it. Of the answers themselves there is never more than one question's in memory.
 *
 * Nothing is kept here. A job that is tried again asks again, and finds in the cache what was answered before.
 */
#include "pipeline/enrich.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/pack.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/row_text.h"
#include "pipeline/enrich_judge.h"
#include "pipeline/enrich_tally.h"
#include "read/cast.h"
#include "read/json_row.h"

enum {
    KNOWN_MAX = 1 << 15,    /* keys that are remembered, */
    KNOWN_BYTES = 16 << 20, /* and bytes of them and of their values; behind that nothing is asked for before they are forgotten */
    TABLE = 2 * KNOWN_MAX,  /* places of the hash table of keys */
    SHOWN = 60,   /* bytes of a value in a message */
    TAIL = 16,    /* readable bytes that the JSON scanner wants behind an answer */
    NO_KEY = -1,  /* of a row: a null is among its inputs */
};

enum known_state { UNKNOWN, KNOWN, MISSED, FAILED };

/* A distinct key. */
struct known {
    struct str name; /* the inputs that name the answer */
    struct str item; /* all inputs, of the first row with that name, as they stand in a question */
    enum known_state state;
    bool again;      /* what the cache had was of no use: it is asked for anew */
    struct value *values;
    const char *why; /* FAILED */
};

/* An [enrich] of the part. */
struct one {
    const struct enrich_config *config;
    int number;   /* in the ini */
    int first;    /* of its columns */
    int *inputs;  /* columns that it takes */
    struct json_row *paths;
    struct cast *cast;
    struct batch batch; /* of one row: an answer */
    struct arena arena; /* of the keys and their values */
    struct known *known;
    uint32_t nknown, new_from; /* those from new_from on came with the batch in hand */
    int32_t *table;            /* key by hash, from 1; 0: none */
    uint64_t secret[2];        /* of the hash, so that no file can be made whose keys all meet in one place */
    size_t bytes;              /* in the arena */
    struct enrich_tally *counts;
};

struct enrich_step {
    struct step step;
    struct columns columns;
    struct one *v;
    int n;
    struct value *values; /* of a batch, with all columns */
    const struct place **places;
    int32_t *of_row;      /* the key of each row, or NO_KEY */
    uint32_t *asked;      /* the keys of the question in hand, in its order */
    uint32_t nasked;
    struct buf item, name, plain, verdicts, question, answer;
    struct arena scratch; /* of the answer being read */
    uint32_t nverdicts;
};

/* ---- open and close ---- */

static bool wanted(const struct recipe *recipe) { return recipe->nenrich > 0; }

static int inputs_open(struct one *o, const struct columns *columns, struct err *err)
{
    const struct enrich_config *e = o->config;
    if (!(o->inputs = calloc((size_t)e->ninputs + 1, sizeof *o->inputs)))
        return err_nomem(err);
    for (int i = 0; i < e->ninputs; i++)
        if ((o->inputs[i] = columns_find(columns, str_of(e->inputs[i]))) < 0)
            return err_set(err, ERR_CONFIG, "'%s' is not among the columns", e->inputs[i]);
    return 0;
}

/* It is for the worker to use; here it is seen whether it can be. */
static int error_check(const struct enrich_config *e, struct err *err)
{
    struct enrich_judge *j = NULL;
    int rc = e->error_path ? enrich_judge_open(&j, e, err) : 0;
    enrich_judge_close(j);
    return rc;
}

/* Answers are typed by the rules of JSON; of the recipe only the zone counts. */
static int one_open(struct one *o, const struct step_part *part, const struct columns *columns, struct err *err)
{
    const struct enrich_config *e = o->config;
    struct recipe recipe = { .nnulls = -1, .decimal_point = '.', .zone = part->recipe->zone };
    if (error_check(e, err) < 0 || inputs_open(o, columns, err) < 0 || json_row_open(&o->paths, &e->columns, GRAMMAR_STRICT, err) < 0 ||
        cast_open(&o->cast, &recipe, &e->columns, err) < 0 || batch_init(&o->batch, (uint32_t)e->columns.n, err) < 0)
        return err_in(err, "[enrich %s]", e->name);
    o->secret[0] = sys_random();
    o->secret[1] = sys_random();
    o->known = calloc(KNOWN_MAX, sizeof *o->known);
    o->table = calloc(TABLE, sizeof *o->table);
    return o->known && o->table ? 0 : err_nomem(err);
}

static void forget(struct one *o)
{
    arena_reset(&o->arena);
    if (o->nknown)
        memset(o->table, 0, TABLE * sizeof *o->table);
    o->nknown = 0;
    o->bytes = 0;
}

static void one_close(struct one *o)
{
    free(o->known);
    free(o->table);
    free(o->inputs);
    json_row_close(o->paths);
    cast_close(o->cast);
    batch_clear(&o->batch);
    arena_clear(&o->arena);
}

static void step_close(struct step *step)
{
    struct enrich_step *s = (struct enrich_step *)step;
    for (int i = 0; i < s->n; i++)
        one_close(&s->v[i]);
    free(s->v);
    free(s->values);
    free(s->places);
    free(s->of_row);
    free(s->asked);
    buf_clear(&s->item);
    buf_clear(&s->name);
    buf_clear(&s->plain);
    buf_clear(&s->verdicts);
    buf_clear(&s->question);
    buf_clear(&s->answer);
    arena_clear(&s->scratch);
    columns_clear(&s->columns);
    free(s);
}

static int step_fill(struct enrich_step *s, const struct step_part *part, const struct columns *in, struct err *err)
{
    const struct recipe *r = part->recipe;
    if (config_enriched(part->config, r, in, &s->columns, err) < 0)
        return -1;
    s->v = calloc((size_t)r->nenrich, sizeof *s->v);
    s->values = calloc(BATCH_ROWS, mem_product((size_t)s->columns.n, sizeof *s->values));
    s->places = calloc(BATCH_ROWS, sizeof *s->places);
    s->of_row = calloc(BATCH_ROWS, sizeof *s->of_row);
    s->asked = calloc(ENRICH_ITEMS_MAX, sizeof *s->asked);
    if (!s->v || !s->values || !s->places || !s->of_row || !s->asked)
        return err_nomem(err);
    int first = in->n;
    for (int i = 0; i < r->nenrich; i++) {
        struct one *o = &s->v[s->n++];
        o->config = config_enrich(part->config, r->enrich[i]);
        o->counts = part->tallies ? &part->tallies[i] : NULL;
        o->number = (int)(o->config - part->config->enriches);
        o->first = first;
        first += o->config->columns.n;
        if (one_open(o, part, &s->columns, err) < 0)
            return -1;
    }
    return 0;
}

static int step_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    struct enrich_step *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(err);
    if (step_fill(s, part, in, err) == 0) {
        s->step.columns = &s->columns;
        *out = &s->step;
        return 0;
    }
    step_close(&s->step);
    return -1;
}

/* ---- what becomes of keys ---- */

static void settle(struct one *o, struct known *k, enum known_state state, bool fresh)
{
    struct enrich_tally *n = o->counts;
    k->state = state;
    n->keys++;
    n->cached += !fresh;
    n->missed += state == MISSED;
    n->failed += state == FAILED;
}

/* fresh: that it failed is not from the cache. */
static int failed(struct one *o, struct known *k, const char *why, bool fresh, struct err *err)
{
    settle(o, k, FAILED, fresh);
    snprintf(o->counts->why, sizeof o->counts->why, "%s", why);
    k->why = arena_dup(&o->arena, str_of(why));
    return k->why ? 0 : err_nomem(err);
}

/* ---- keys ---- */

static void put_decimal(struct buf *out, int64_t v, int scale, int64_t round)
{
    char text[32];
    int64_t by = 1;
    for (int64_t i = round; i < scale; i++)
        by *= 10;
    int n = text_put_decimal(text, v / by + v % by / ((by + 1) / 2), (int)round);
    buf_add(out, text, (size_t)n);
}

/* Never "-0.00". */
static void put_real(struct buf *out, double v, int64_t round)
{
    char text[400];
    int n = snprintf(text, sizeof text, "%.*f", (int)round, v);
    bool none = text[0] == '-' && strspn(text, "-0.") == (size_t)n;
    buf_add(out, text + none, (size_t)(n - none));
}

/* A value as the server gets it. */
static void put_input(struct buf *to, struct buf *plain, const struct column *c, const struct value *v, int64_t round)
{
    bool bare = c->type != TYPE_TEXT && c->type != TYPE_DATE && c->type != TYPE_TIMESTAMP;
    pack_u64(to, bare);
    if (c->type == TYPE_TEXT || c->type == TYPE_JSON) {
        pack_bytes(to, v->p, v->n);
        return;
    }
    buf_reset(plain);
    if (c->type == TYPE_DECIMAL && round >= 0 && round < c->scale)
        put_decimal(plain, v->i, c->scale, round);
    else if (c->type == TYPE_REAL && round >= 0)
        put_real(plain, v->r, round);
    else
        (void)row_put_plain(plain, c, v); /* what was cast is finite */
    pack_bytes(to, plain->p, plain->n);
    to->failed |= plain->failed;
}

/* The key of that name, a new one, which asks with `item`, if need be; -1: no memory. */
static int32_t key_of(struct one *o, struct str name, struct str item)
{
    uint64_t at = hash_keyed(o->secret, name.p, name.n).a % TABLE;
    for (; o->table[at]; at = (at + 1) % TABLE)
        if (str_eq(o->known[o->table[at] - 1].name, name))
            return o->table[at] - 1;
    const char *copy = arena_dup(&o->arena, item), *own = arena_dup(&o->arena, name);
    if (!copy || !own)
        return -1;
    o->bytes += item.n + name.n;
    o->known[o->nknown] = (struct known){ .name = { own, name.n }, .item = { copy, item.n } };
    struct known *k = &o->known[o->nknown++];
    o->table[at] = (int32_t)o->nknown;
    struct err no_memory;
    if (item.n > ENRICH_ITEM_MAX && failed(o, k, "its values are longer than a request may be", true, &no_memory) < 0)
        return -1;
    return (int32_t)o->nknown - 1;
}

static int row_key(struct enrich_step *s, struct one *o, const struct value *row, int32_t *key, struct err *err)
{
    *key = NO_KEY;
    buf_reset(&s->item);
    buf_reset(&s->name);
    for (int i = 0; i < o->config->ninputs; i++) {
        int col = o->inputs[i];
        if (row[col].null)
            return 0;
        size_t before = s->item.n;
        put_input(&s->item, &s->plain, &s->columns.v[col], &row[col], o->config->round);
        if (o->config->keyed[i])
            buf_add(&s->name, s->item.p + before, s->item.n - before);
    }
    *key = s->item.failed || s->name.failed ? -1 : key_of(o, buf_str(&s->name), buf_str(&s->item));
    return *key < 0 ? err_nomem(err) : 0;
}

static bool is_full(const struct one *o) { return o->bytes > KNOWN_BYTES; }

/* Of the first rows, as many as there is room for: rows->n afterwards. */
static int collect_keys(struct enrich_step *s, struct one *o, struct rows *rows, struct err *err)
{
    if (o->nknown + BATCH_ROWS > KNOWN_MAX || is_full(o))
        forget(o);
    o->new_from = o->nknown;
    for (uint32_t i = 0; i < rows->n; i++) {
        if (row_key(s, o, rows->values + (size_t)i * rows->cols, &s->of_row[i], err) < 0)
            return -1;
        if (is_full(o))
            rows->n = i + 1;
    }
    return 0;
}

/* ---- answers ---- */

/* Bytes for a message: a few of them, without control characters. */
static void show(struct str s, char out[SHOWN + 4])
{
    size_t n = s.n < SHOWN ? s.n : SHOWN;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? ' ' : s.p[i];
    n = text_utf8_valid((struct str){ out, n });
    snprintf(out + n, 4, "%s", s.n > n ? "..." : "");
}

/* The answer cannot be read. One of the cache is asked for anew. */
static int wrong(struct enrich_step *s, struct one *o, uint32_t item, bool fresh, enum reject_reason reason, int column, struct str value,
                 struct err *err)
{
    struct known *k = &o->known[s->asked[item]];
    char why[TALLY_WHY], shown[SHOWN + 4];
    pack_u64(&s->verdicts, item);
    pack_u64(&s->verdicts, VERDICT_WRONG);
    s->nverdicts++;
    if (!fresh && !k->again) {
        k->again = true;
        return 0;
    }
    show(value, shown);
    snprintf(why, sizeof why, "its answer cannot be read: %s%.60s%s%s at '%s'", column >= 0 ? "column '" : "",
             column >= 0 ? o->config->columns.v[column].name : "", column >= 0 ? "': " : "",
             reason == REJECT_JSON_SYNTAX ? "it is not valid JSON" : reject_text(reason), shown);
    return failed(o, k, why, fresh, err);
}

/* bare: there is an answer, and nothing in it. */
static int missed(struct enrich_step *s, struct one *o, uint32_t item, bool fresh, bool bare)
{
    settle(o, &o->known[s->asked[item]], MISSED, fresh);
    o->counts->bare += bare;
    if (fresh) {
        pack_u64(&s->verdicts, item);
        pack_u64(&s->verdicts, VERDICT_MISS);
        s->nverdicts++;
    }
    return 0;
}

static bool all_null(const struct batch *b)
{
    for (uint32_t i = 0; i < b->cols; i++)
        if (b->fields[i].kind > FIELD_NULL)
            return false;
    return true;
}

/* The values of the row that was cast, for as long as the key lives. */
static int keep_values(struct one *o, struct known *k, const struct value *values, bool fresh, struct err *err)
{
    size_t n = (size_t)o->batch.cols;
    if (!(k->values = arena_alloc(&o->arena, n * sizeof *k->values)))
        return err_nomem(err);
    memcpy(k->values, values, n * sizeof *k->values);
    o->bytes += n * sizeof *k->values;
    for (size_t i = 0; i < n; i++) {
        struct value *v = &k->values[i];
        enum type type = o->config->columns.v[i].type;
        if (v->null || (type != TYPE_TEXT && type != TYPE_JSON))
            continue;
        if (!(v->p = arena_dup(&o->arena, (struct str){ v->p, v->n })))
            return err_nomem(err);
        o->bytes += v->n;
    }
    settle(o, k, KNOWN, fresh);
    return 0;
}

static int read_body(struct enrich_step *s, struct one *o, uint32_t item, bool fresh, struct str body, struct err *err)
{
    struct known *k = &o->known[s->asked[item]];
    struct json_refusal no;
    enum reject_reason why;
    int column;
    arena_reset(&s->scratch);
    int rc = json_row_scan(o->paths, body, false, o->batch.fields, &s->scratch, &no);
    if (rc < 0)
        return err_nomem(err);
    if (rc == 0)
        return wrong(s, o, item, fresh, no.reason, no.column, no.value, err);
    if (all_null(&o->batch))
        return missed(s, o, item, fresh, true);
    struct value *values = arena_alloc(&s->scratch, (size_t)o->batch.cols * sizeof *values);
    if (!values)
        return err_nomem(err);
    o->batch.rows = 1;
    if (cast_row(o->cast, &o->batch, values, &why, &column))
        return keep_values(o, k, values, fresh, err);
    const struct field *f = &o->batch.fields[column];
    return why == REJECT_NULL ? missed(s, o, item, fresh, false) : wrong(s, o, item, fresh, why, column, (struct str){ f->p, f->n }, err);
}

static int read_item(struct enrich_step *s, struct one *o, struct unpacker *u, struct err *err)
{
    uint64_t item = take_u64(u), kind = take_u64(u), fresh = take_u64(u);
    struct str bytes = take_bytes(u);
    if (u->bad || item >= s->nasked || kind >= KINDS)
        return err_set(err, ERR_INTERNAL, "the worker's answer is none");
    struct known *k = &o->known[s->asked[item]];
    char why[TALLY_WHY];
    switch ((enum enrich_kind)kind) {
    case KIND_BODY:
        return read_body(s, o, (uint32_t)item, fresh, bytes, err);
    case KIND_NONE:
        settle(o, k, MISSED, fresh);
        return 0;
    default:
        snprintf(why, sizeof why, "%.*s", (int)(bytes.n < TALLY_WHY ? bytes.n : TALLY_WHY - 1), bytes.p);
        return failed(o, k, why, fresh, err);
    }
}

/* What is not known yet, `most` items of it and as far as there is room, into the question. */
static int question(struct enrich_step *s, const struct one *o, uint32_t most, struct err *err)
{
    buf_reset(&s->question);
    pack_u64(&s->question, s->nverdicts);
    buf_add(&s->question, s->verdicts.p, s->verdicts.n);
    buf_reset(&s->verdicts);
    s->nverdicts = s->nasked = 0;
    size_t bytes = 0;
    for (uint32_t i = o->new_from; i < o->nknown && s->nasked < most && bytes < ENRICH_QUESTION_MAX; i++)
        if (o->known[i].state == UNKNOWN) {
            s->asked[s->nasked++] = i;
            bytes += o->known[i].item.n;
        }
    pack_u64(&s->question, s->nasked);
    for (uint32_t i = 0; i < s->nasked; i++)
        buf_add(&s->question, o->known[s->asked[i]].item.p, o->known[s->asked[i]].item.n);
    return s->question.failed || s->verdicts.failed ? err_nomem(err) : 0;
}

/* One question and its answer. */
static int ask(struct enrich_step *s, struct one *o, struct err *err)
{
    const struct asker *asker = s->step.part->asker;
    struct buf *answer = &s->answer;
    buf_renew(answer);
    if (!asker->ask)
        return err_set(err, ERR_INTERNAL, "nobody is here to ask");
    if (asker->ask(asker->arg, o->number, buf_str(&s->question), answer, err) < 0)
        return -1;
    if (!buf_reserve(answer, TAIL))
        return err_nomem(err);
    struct unpacker u = { buf_str(answer), false };
    if (s->nasked && !u.rest.n)
        return err_set(err, ERR_INTERNAL, "the worker answered nothing");
    while (u.rest.n)
        if (read_item(s, o, &u, err) < 0)
            return -1;
    return 0;
}

/* Ask for so many at most, and tell the verdicts on what was answered before: 1; 0 there was nothing to ask or to tell; -1. */
static int ask_some(struct enrich_step *s, struct one *o, uint32_t most, struct err *err)
{
    if (question(s, o, most, err) < 0)
        return -1;
    bool any = s->question.n > 2 * sizeof(uint64_t); /* more than two numbers of none */
    return !any ? 0 : ask(s, o, err) < 0 ? -1 : 1;
}

/* So many rows from the first on have all that can be known of them. */
static uint32_t known_rows(const struct enrich_step *s, const struct one *o, const struct rows *rows)
{
    uint32_t n = 0;
    while (n < rows->n && (s->of_row[n] == NO_KEY || o->known[s->of_row[n]].state != UNKNOWN))
        n++;
    return n;
}

/* Until the keys of the first rows, rows->n afterwards, are known, or known not to be. */
static int ask_all(struct enrich_step *s, struct one *o, struct rows *rows, struct err *err)
{
    int rc;
    if (collect_keys(s, o, rows, err) < 0)
        return -1;
    while ((rc = ask_some(s, o, ENRICH_ITEMS_MAX, err)) == 1) {
        if (!is_full(o))
            continue;
        if (ask_some(s, o, 0, err) < 0) /* the verdicts are about the items of this question */
            return -1;
        uint32_t n = known_rows(s, o, rows);
        rows->n = n ? n : 1;
        if (n)
            return 0;
        forget(o); /* the first one is not among so many: it is asked for alone */
        if (collect_keys(s, o, rows, err) < 0)
            return -1;
    }
    return rc;
}

/* ---- rows ---- */

/* why: NULL: there is no answer. */
static int refuse(struct enrich_step *s, const struct one *o, const char *why, const char *column, struct str value, const struct place *place,
                  struct err *err)
{
    char detail[TALLY_WHY + 100];
    snprintf(detail, sizeof detail, why ? "[enrich %.80s]: %s" : "[enrich %.80s] has no answer%s", o->config->name, why ? why : "");
    const struct bad_row bad = { .place = *place,
                                 .reason = why ? REJECT_ENRICH_ERROR : REJECT_ENRICH_MISS,
                                 .column = -1,
                                 .value = value,
                                 .detail = detail };
    return rejects_add_bad(s->step.part->rejects, &bad, column, err);
}

/* What a row without values is to be: ELSE_NULL, or it is dropped, or the job fails. */
static int without(struct enrich_step *s, const struct one *o, const struct known *k, const struct value *row, const struct place *place,
                   bool *drop, struct err *err)
{
    const struct enrich_config *e = o->config;
    bool miss = !k || k->state == MISSED;
    enum enrich_else what = miss ? e->on_miss : e->on_error;
    char shown[SHOWN + 4] = "";
    const struct column *c = &s->columns.v[o->inputs[0]];
    const struct value *v = &row[o->inputs[0]];
    if (what == ELSE_NULL)
        return 0;
    buf_reset(&s->item);
    if (!v->null)
        put_input(&s->item, &s->plain, c, v, e->round);
    struct str value = { "", 0 };
    if (s->item.n) /* behind its kind and its length */
        value = (struct str){ s->item.p + 2 * sizeof(uint64_t), s->item.n - 2 * sizeof(uint64_t) };
    *drop = what == ELSE_REJECT;
    if (*drop)
        return refuse(s, o, miss ? NULL : k->why, c->name, value, place, err);
    show(value, shown);
    if (miss)
        return err_set(err, ERR_ENRICH_MISS, "[enrich %s]: line %" PRIu64 ": there is no answer for %s '%s'", e->name, place->line, c->name, shown);
    return err_set(err, ERR_ENRICH_ANSWER, "[enrich %s]: line %" PRIu64 ": %s '%s': %s", e->name, place->line, c->name, shown, k->why);
}

/* The values of each row, those that are dropped taken out. */
static int fill(struct enrich_step *s, const struct one *o, struct rows *rows, struct err *err)
{
    bool keep[BATCH_ROWS];
    size_t n = (size_t)o->config->columns.n;
    for (uint32_t i = 0; i < rows->n; i++) {
        struct value *row = rows->values + (size_t)i * rows->cols, *own = row + o->first;
        const struct known *k = s->of_row[i] == NO_KEY ? NULL : &o->known[s->of_row[i]];
        bool drop = false;
        for (size_t c = 0; c < n; c++)
            own[c] = k && k->state == KNOWN ? k->values[c] : (struct value){ .null = true };
        if ((!k || k->state != KNOWN) && without(s, o, k, row, rows->places[i], &drop, err) < 0)
            return -1;
        keep[i] = !drop;
    }
    rows_keep(rows, keep);
    return 0;
}

/* Rows through the i-th [enrich] and those behind it. */
static int through(struct enrich_step *s, int i, struct rows *rows, struct err *err)
{
    if (i == s->n)
        return rows->n ? step_give(&s->step, rows, err) : 0;
    for (uint32_t from = 0, n; from < rows->n; from += n) {
        struct rows some = { .n = rows->n - from,
                             .cols = rows->cols,
                             .values = rows->values + (size_t)from * rows->cols,
                             .places = rows->places + from };
        if (ask_all(s, &s->v[i], &some, err) < 0)
            return -1;
        n = some.n;
        if (fill(s, &s->v[i], &some, err) < 0 || through(s, i + 1, &some, err) < 0)
            return -1;
    }
    return 0;
}

static int step_rows(struct step *step, struct rows *in, struct err *err)
{
    struct enrich_step *s = (struct enrich_step *)step;
    struct rows rows = { .n = in->n, .cols = (uint32_t)s->columns.n, .values = s->values, .places = s->places };
    for (uint32_t i = 0; i < in->n; i++)
        memcpy(s->values + (size_t)i * rows.cols, in->values + (size_t)i * in->cols, in->cols * sizeof *in->values);
    memcpy(s->places, in->places, in->n * sizeof *s->places);
    return through(s, 0, &rows, err);
}

const struct step_kind step_enrich = { .name = "enrich", .wanted = wanted, .open = step_open, .rows = step_rows, .close = step_close };
