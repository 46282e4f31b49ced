/*
 * Manifests and tables of a store. See object_ledger.h.
 *
 * The order that makes it exactly once: objects, manifest (here the job is loaded), _table, deletions,
 * _table without them. Killed anywhere between: what was put before the manifest is overwritten by the
 * same job's next try, or taken out when it has none (object_forsake()), what is to follow it is done by whoever finds it.
 */
#include "target/object_ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"
#include "target/object_name.h"

enum { GIVEN_UP_MAX = 9999, GIVE_UP_TRIES = 4 };

/* ---- JSON to values ---- */

static int damaged(const char *what, struct err *err)
{
    return err_set(err, ERR_TARGET, "'%s' in the store is none of qetl's: it is not what was written there", what);
}

static char *get_text(const struct json_value *of, const char *key, struct arena *arena)
{
    struct json_value v;
    struct str s;
    if (json_member(of, key, &v) != 1 || v.kind != JSON_TEXT || !json_unescape(&v, arena, &s))
        return NULL;
    return arena_dup(arena, s);
}

static bool get_int(const struct json_value *of, const char *key, int64_t *out)
{
    struct json_value v;
    return json_member(of, key, &v) == 1 && v.kind == JSON_NUMBER && text_int(v.raw, out);
}

static bool get_array(const struct json_value *of, const char *key, struct json_value *out, int *n)
{
    struct json_value v;
    struct str name;
    size_t at = 0;
    *n = 0;
    if (json_member(of, key, out) != 1 || out->kind != JSON_ARRAY)
        return false;
    while (json_next(out, &at, &name, &v))
        ++*n;
    return true;
}

/* ---- manifests ---- */

static void manifest_name(char out[80], const char *uid)
{
    snprintf(out, 80, "_manifest/%.50s.json", uid);
}

void manifest_clear(struct manifest *m)
{
    arena_clear(&m->arena);
    *m = (struct manifest){ 0 };
}

static bool read_object(struct manifest_object *o, const struct json_value *v, struct arena *arena)
{
    return v->kind == JSON_OBJECT && (o->name = get_text(v, "name", arena)) &&
           object_name_safe(str_of(o->name)) && (o->sha256 = get_text(v, "sha256", arena)) &&
           get_int(v, "rows", &o->rows) && get_int(v, "bytes", &o->bytes);
}

static bool read_table(struct manifest_table *t, const struct json_value *v, struct arena *arena)
{
    struct json_value list, one;
    struct str key;
    size_t at = 0;
    int n;
    const char *mode = v->kind == JSON_OBJECT ? get_text(v, "mode", arena) : NULL;
    if (!mode || !(t->name = get_text(v, "table", arena)) || !(t->ext = get_text(v, "form", arena)) ||
        !(t->columns = get_text(v, "columns", arena)) || !get_int(v, "rows", &t->rows) || !get_array(v, "objects", &list, &n))
        return false;
    t->mode = !strcmp(mode, load_mode_names[MODE_REPLACE]) ? MODE_REPLACE : MODE_APPEND;
    t->objects = arena_alloc(arena, mem_product((size_t)n + 1, sizeof *t->objects));
    for (; t->objects && json_next(&list, &at, &key, &one); t->nobjects++)
        if (!read_object(&t->objects[t->nobjects], &one, arena))
            return false;
    return t->objects != NULL;
}

static bool read_tables(struct manifest *m, const struct json_value *root)
{
    struct json_value list, one, v;
    struct str key;
    size_t at = 0;
    int n;
    bool undone = json_member(root, "undone_at", &v) == 1;
    if (!get_array(root, undone ? "undone_tables" : "tables", &list, &n) ||
        (undone && !(m->undone_at = get_text(root, "undone_at", &m->arena))))
        return false;
    m->tables = arena_alloc(&m->arena, mem_product((size_t)n + 1, sizeof *m->tables));
    for (; m->tables && json_next(&list, &at, &key, &one); m->ntables++) {
        m->tables[m->ntables] = (struct manifest_table){ 0 };
        if (!read_table(&m->tables[m->ntables], &one, &m->arena))
            return false;
    }
    return m->tables != NULL;
}

static bool read_manifest(struct manifest *m, struct str text)
{
    struct json_value root, counts, list;
    struct json_fault fault;
    int n;
    if (!json_check(text, &root, &fault) || root.kind != JSON_OBJECT || !(m->uid = get_text(&root, "uid", &m->arena)))
        return false;
    if (json_member(&root, "given_up", &counts) == 1)
        return get_int(&root, "given_up", &m->given_up) && m->given_up >= 1 && m->given_up <= GIVEN_UP_MAX;
    if (!(m->pipeline = get_text(&root, "pipeline", &m->arena)) ||
        !(m->loaded_at = get_text(&root, "loaded_at", &m->arena)) || !get_int(&root, "job", &m->job) ||
        !get_int(&root, "seq", &m->seq) || !get_array(&root, "source", &list, &n) ||
        !(m->source = arena_dup(&m->arena, list.raw)) || json_member(&root, "counts", &counts) != 1 ||
        counts.kind != JSON_OBJECT || !get_int(&counts, "inserted", &m->counts.inserted) ||
        !get_int(&counts, "removed", &m->counts.removed))
        return false;
    return read_tables(m, &root);
}

int manifest_get(struct manifest *out, struct store *store, const char *uid, struct err *err)
{
    char name[80];
    AUTO(buf_clear) struct buf text = { 0 };
    char tag[STORE_TAG];
    manifest_name(name, uid);
    *out = (struct manifest){ 0 };
    int rc = store_get(store, name, &text, tag, err);
    if (rc <= 0)
        return rc;
    bool good = read_manifest(out, buf_str(&text)) && !strcmp(out->uid, uid);
    int64_t given_up = out->given_up;
    if (good && !given_up)
        return 1;
    manifest_clear(out);
    if (!good)
        return damaged(name, err);
    out->given_up = given_up;
    memcpy(out->tag, tag, sizeof tag);
    return 0;
}

static void put_table(struct json_out *o, const struct manifest_table *t)
{
    json_object(o);
    json_put_text(o, "table", t->name);
    json_put_text(o, "mode", load_mode_names[t->mode]);
    json_put_text(o, "form", t->ext);
    json_put_text(o, "columns", t->columns);
    json_put_int(o, "rows", t->rows);
    json_key(o, "objects");
    json_array(o);
    for (int i = 0; i < t->nobjects; i++) {
        json_object(o);
        json_put_text(o, "name", t->objects[i].name);
        json_put_int(o, "rows", t->objects[i].rows);
        json_put_int(o, "bytes", t->objects[i].bytes);
        json_put_text(o, "sha256", t->objects[i].sha256);
        json_object_end(o);
    }
    json_array_end(o);
    json_object_end(o);
}

/* Of which job it is. */
static void put_head(struct json_out *o, struct buf *out, const struct manifest *m)
{
    json_start(o, out);
    json_object(o);
    json_put_int(o, "version", 1);
    json_put_text(o, "uid", m->uid);
    json_put_text(o, "pipeline", m->pipeline);
    json_put_int(o, "job", m->job);
    json_put_int(o, "seq", m->seq);
}

static void put_manifest(struct buf *out, const struct manifest *m)
{
    struct json_out o;
    put_head(&o, out, m);
    if (m->loaded_at)
        json_put_text(&o, "loaded_at", m->loaded_at);
    else
        json_put_time(&o, "loaded_at", sys_now_ms());
    json_key(&o, "source");
    json_raw(&o, str_of(m->source));
    json_key(&o, "counts");
    json_object(&o);
    json_put_int(&o, "inserted", m->counts.inserted);
    json_put_int(&o, "removed", m->counts.removed);
    json_object_end(&o);
    if (m->undone_at) {
        json_put_text(&o, "undone_at", m->undone_at);
        json_key(&o, "tables");
        json_array(&o);
        json_array_end(&o);
    }
    json_key(&o, m->undone_at ? "undone_tables" : "tables");
    json_array(&o);
    for (int i = 0; i < m->ntables; i++)
        put_table(&o, &m->tables[i]);
    json_array_end(&o);
    json_object_end(&o);
    buf_addc(out, '\n');
}

/* There is something at the name already: the job is loaded if it is its manifest. */
static int see_own(struct store *store, const char *uid, const char *name, struct err *err)
{
    struct manifest there;
    int rc = manifest_get(&there, store, uid, err);
    if (rc == 1)
        manifest_clear(&there);
    if (rc == 0)
        err_set(err, ERR_TARGET, there.given_up ? "'%s': another loader has given the job up meanwhile"
                                                : "'%s': the store says of it that it is there, and that it is not", name);
    return rc == 1 ? 0 : -1;
}

int manifest_put(struct store *store, const struct manifest *m, struct err *err)
{
    char name[80];
    AUTO(buf_clear) struct buf text = { 0 };
    manifest_name(name, m->uid);
    put_manifest(&text, m);
    if (text.failed)
        return err_nomem(err);
    int rc = store_put_small(store, name, buf_str(&text), m->undone_at ? NULL : m->tag, err);
    return rc == 0 ? see_own(store, m->uid, name, err) : rc < 0 ? -1 : 0;
}

/* Each time another text, and so another tag: the number grows. */
static void put_given_up(struct buf *out, const struct manifest *m, int64_t times)
{
    struct json_out o;
    buf_reset(out);
    put_head(&o, out, m);
    json_put_int(&o, "given_up", times);
    json_put_time(&o, "given_up_at", sys_now_ms());
    json_key(&o, "tables");
    json_array(&o);
    json_array_end(&o);
    json_object_end(&o);
    buf_addc(out, '\n');
}

int manifest_give_up(struct store *store, struct manifest *m, struct err *err)
{
    char name[80];
    AUTO(buf_clear) struct buf text = { 0 };
    manifest_name(name, m->uid);
    for (int i = 0; i < GIVE_UP_TRIES; i++) {
        struct manifest there;
        int rc = manifest_get(&there, store, m->uid, err);
        if (rc == 1)
            manifest_clear(&there);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        m->given_up = there.given_up + 1;
        if (!store->puts_late)
            return 1; /* who has the lock is alone */
        put_given_up(&text, m, m->given_up);
        if (text.failed)
            return err_nomem(err);
        if ((rc = store_put_sure(store, name, buf_str(&text), there.tag, err)) != 0)
            return rc;
    }
    return err_set(err, ERR_TARGET, "'%s' is written by somebody else, again and again", name);
}

/* ---- lists of uids ---- */

static bool uids_have(const struct buf *list, const char *uid)
{
    size_t n = strlen(uid);
    for (const char *p = list->p; p && p < list->p + list->n; p = strchr(p, '\n') + 1)
        if (!strncmp(p, uid, n) && p[n] == '\n')
            return true;
    return false;
}

static void uids_add(struct buf *list, const char *uid)
{
    if (!uids_have(list, uid))
        buf_addf(list, "%s\n", uid);
}

static void uids_drop(struct buf *list, const char *uid)
{
    size_t n = strlen(uid);
    for (char *p = list->p; p && p < list->p + list->n; p = strchr(p, '\n') + 1)
        if (!strncmp(p, uid, n) && p[n] == '\n') {
            memmove(p, p + n + 1, (size_t)(list->p + list->n - (p + n + 1)) + 1);
            list->n -= n + 1;
            return;
        }
}

/* The next uid of a list, from *at; false at its end. */
static bool uids_next(const struct buf *list, size_t *at, char uid[40])
{
    if (*at >= list->n)
        return false;
    size_t n = strcspn(list->p + *at, "\n");
    snprintf(uid, 40, "%.*s", (int)(n < 39 ? n : 39), list->p + *at);
    *at += n + 1;
    return true;
}

static void uids_move(struct buf *to, struct buf *from)
{
    char uid[40];
    for (size_t at = 0; uids_next(from, &at, uid);)
        uids_add(to, uid);
    buf_reset(from);
}

/* ---- tables ---- */

static void table_clear(struct table_state *t)
{
    free(t->name);
    buf_clear(&t->now);
    buf_clear(&t->old);
}

void ledger_forget(struct ledger *l)
{
    for (int i = 0; i < l->ntables; i++)
        table_clear(&l->tables[i]);
    free(l->tables);
    l->tables = NULL;
    l->ntables = 0;
}

static int table_name(struct buf *out, const char *table, struct err *err)
{
    buf_adds(out, "_table/");
    object_name_encode(out, str_of(table));
    buf_adds(out, ".json");
    return out->failed ? err_nomem(err) : 0;
}

static bool read_uids(struct buf *out, const struct json_value *root, const char *key, struct arena *arena)
{
    struct json_value list, v;
    struct str name, s;
    size_t at = 0;
    int n;
    if (!get_array(root, key, &list, &n))
        return false;
    while (json_next(&list, &at, &name, &v)) {
        if (v.kind != JSON_TEXT || !json_unescape(&v, arena, &s) || s.n == 0 || s.n > 39 || memchr(s.p, '\n', s.n))
            return false;
        buf_add(out, s.p, s.n);
        buf_addc(out, '\n');
    }
    return true;
}

static int read_table_state(struct table_state *t, struct str text, const char *name, struct err *err)
{
    struct json_value root;
    struct json_fault fault;
    struct arena arena = { 0 };
    const char *uid;
    bool good = json_check(text, &root, &fault) && root.kind == JSON_OBJECT && get_int(&root, "seq", &t->seq) &&
                get_int(&root, "last", &t->last) && get_int(&root, "rows", &t->rows) && (uid = get_text(&root, "uid", &arena)) &&
                read_uids(&t->now, &root, "now", &arena) && read_uids(&t->old, &root, "old", &arena);
    if (good)
        snprintf(t->uid, sizeof t->uid, "%s", uid);
    arena_clear(&arena);
    if (t->now.failed || t->old.failed)
        return err_nomem(err);
    return good ? 0 : damaged(name, err);
}

static int64_t rows_of(const struct manifest *m, const char *table)
{
    int64_t rows = -1;
    for (int i = 0; i < m->ntables; i++)
        if (!strcmp(m->tables[i].name, table))
            rows = (rows < 0 ? 0 : rows) + m->tables[i].rows;
    return rows;
}

struct counting {
    struct ledger *l;
    struct table_state *t;
};

static int count_one(void *arg, const char *name, struct err *err)
{
    struct counting *c = arg;
    struct manifest m;
    char uid[40];
    const char *base = strrchr(name, '/');
    size_t n = strcspn(base + 1, ".");
    if (strcmp(base + 1 + n, ".json") != 0 || n >= sizeof uid)
        return 0;
    snprintf(uid, sizeof uid, "%.*s", (int)n, base + 1);
    int rc = manifest_get(&m, c->l->store, uid, err);
    if (rc <= 0)
        return rc;
    int64_t rows = m.undone_at ? -1 : rows_of(&m, c->t->name);
    if (rows >= 0) {
        uids_add(&c->t->now, uid);
        c->t->rows += rows;
        c->t->rows_next += rows;
        c->t->last = m.seq > c->t->last ? m.seq : c->t->last;
        c->t->last_next = m.seq > c->t->last_next ? m.seq : c->t->last_next;
    }
    manifest_clear(&m);
    return c->t->now.failed ? err_nomem(err) : 0;
}

/* The appends of a table that no replace has been loaded into yet. */
static int count_appends(struct ledger *l, struct table_state *t, struct err *err)
{
    struct counting c = { l, t };
    t->counted = true;
    return store_list(l->store, "_manifest/", count_one, &c, err) < 0 ? -1 : 0;
}

static int table_read(struct ledger *l, struct table_state *t, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 };
    AUTO(buf_clear) struct buf text = { 0 };
    if (table_name(&name, t->name, err) < 0)
        return -1;
    int rc = store_get(l->store, name.p, &text, t->tag, err);
    if (rc == 1 && read_table_state(t, buf_str(&text), name.p, err) < 0)
        return -1;
    t->there = t->replaced = t->counted = rc == 1;
    t->seq_next = t->seq;
    t->last_next = t->last;
    t->rows_next = t->rows;
    return rc < 0 ? -1 : 0;
}

int ledger_table(struct ledger *l, const char *name, bool whole, struct table_state **out, struct err *err)
{
    struct table_state *t = NULL;
    for (int i = 0; i < l->ntables; i++)
        if (!strcmp(l->tables[i].name, name))
            t = &l->tables[i];
    if (!t) {
        struct table_state *more = realloc(l->tables, ((size_t)l->ntables + 1) * sizeof *more);
        if (!more)
            return err_nomem(err);
        l->tables = more;
        t = &l->tables[l->ntables];
        *t = (struct table_state){ .name = strdup(name) };
        if (!t->name)
            return err_nomem(err);
        if (table_read(l, t, err) < 0) {
            table_clear(t);
            return -1;
        }
        l->ntables++;
    }
    if (whole && !t->counted && count_appends(l, t, err) < 0) {
        t->counted = false;
        buf_reset(&t->now);
        return -1;
    }
    *out = t;
    return 0;
}

/* Two jobs have one place where queue.db was put back from a copy. */
bool ledger_is_ahead(const struct table_state *t, int64_t seq, const char *uid, bool replace, int64_t *there)
{
    int64_t committed = replace && t->last > t->seq ? t->last : t->seq;
    *there = replace && t->last_next > t->seq_next ? t->last_next : t->seq_next;
    return *there > seq || (committed == seq && !uids_have(&t->now, uid));
}

int ledger_count(struct ledger *l, const char *name, int64_t *objects, int64_t *rows, struct err *err)
{
    struct table_state *t;
    char uid[40];
    struct manifest m;
    *objects = 0;
    if (ledger_table(l, name, true, &t, err) < 0)
        return -1;
    *rows = t->rows;
    for (size_t at = 0; uids_next(&t->now, &at, uid);) {
        int rc = manifest_get(&m, l->store, uid, err);
        for (int i = 0; rc == 1 && i < m.ntables; i++)
            *objects += !strcmp(m.tables[i].name, name) ? m.tables[i].nobjects : 0;
        if (rc == 1)
            manifest_clear(&m);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static void apply_replace(struct table_state *t, const struct manifest *m)
{
    if (t->last > m->seq) /* by the manifests newer rows stand beside its own: nothing is to be deleted */
        return;
    uids_drop(&t->now, m->uid);
    uids_move(&t->old, &t->now);
    uids_add(&t->now, m->uid);
    snprintf(t->uid, sizeof t->uid, "%s", m->uid);
    t->seq = t->last = m->seq;
    t->rows = rows_of(m, t->name);
    t->replaced = t->dirty = true;
}

/* Into a table that was replaced, or whose appends are counted because a replace is to come. */
static void apply_append(struct table_state *t, const struct manifest *m)
{
    if (!t->counted || t->seq > m->seq || uids_have(&t->now, m->uid))
        return;
    uids_add(&t->now, m->uid);
    t->rows += rows_of(m, t->name);
    t->last = m->seq > t->last ? m->seq : t->last;
    t->dirty = t->replaced;
}

int ledger_apply(struct ledger *l, const struct manifest *m, struct err *err)
{
    for (int i = 0; i < m->ntables; i++) {
        const struct manifest_table *mt = &m->tables[i];
        struct table_state *t;
        if (ledger_table(l, mt->name, mt->mode == MODE_REPLACE, &t, err) < 0)
            return -1;
        if (mt->mode == MODE_APPEND)
            apply_append(t, m);
        else if (t->seq < m->seq)
            apply_replace(t, m);
        if (t->now.failed || t->old.failed)
            return err_nomem(err);
    }
    return 0;
}

static void put_uids(struct json_out *o, const char *key, const struct buf *list)
{
    char uid[40];
    json_key(o, key);
    json_array(o);
    for (size_t at = 0; uids_next(list, &at, uid);)
        json_text(o, str_of(uid));
    json_array_end(o);
}

static int table_write(struct ledger *l, struct table_state *t, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 };
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(buf_clear) struct buf now = { 0 };
    struct json_out o;
    json_start(&o, &text);
    json_object(&o);
    json_put_int(&o, "version", 1);
    json_put_text(&o, "table", t->name);
    json_put_int(&o, "seq", t->seq);
    json_put_int(&o, "last", t->last);
    json_put_text(&o, "uid", t->uid);
    json_put_int(&o, "rows", t->rows);
    put_uids(&o, "now", &t->now);
    put_uids(&o, "old", &t->old);
    json_object_end(&o);
    buf_addc(&text, '\n');
    if (text.failed || table_name(&name, t->name, err) < 0)
        return err_nomem(err);
    int rc = store_put_small(l->store, name.p, buf_str(&text), t->there && !*t->tag ? NULL : t->tag, err);
    if (rc == 0 && store_get(l->store, name.p, &now, NULL, err) == 1 && str_eq(buf_str(&now), buf_str(&text)))
        rc = 1; /* our own, whose answer was lost */
    if (rc == 0)
        err_set(err, ERR_TARGET, "'%s' was written by another loader meanwhile", name.p);
    if (rc <= 0)
        return -1;
    t->dirty = false;
    t->there = true;
    return store_get(l->store, name.p, &now, t->tag, err) < 0 ? -1 : 0;
}

static int remove_objects(struct ledger *l, const struct manifest *m, const char *table, struct err *err)
{
    for (int i = 0; i < m->ntables; i++)
        for (int k = 0; k < m->tables[i].nobjects; k++)
            if ((!table || !strcmp(m->tables[i].name, table)) &&
                store_remove(l->store, m->tables[i].objects[k].name, err) < 0)
                return -1;
    return 0;
}

/* The objects of the table that no job of `now` has. */
static int remove_old(struct ledger *l, struct table_state *t, struct err *err)
{
    char uid[40];
    struct manifest m;
    for (size_t at = 0; uids_next(&t->old, &at, uid);) {
        if (uids_have(&t->now, uid))
            continue;
        int rc = manifest_get(&m, l->store, uid, err);
        if (rc == 1) {
            rc = remove_objects(l, &m, t->name, err);
            manifest_clear(&m);
        }
        if (rc < 0)
            return -1;
    }
    buf_reset(&t->old);
    return table_write(l, t, err);
}

int ledger_write(struct ledger *l, struct err *err)
{
    for (int i = 0; i < l->ntables; i++) {
        struct table_state *t = &l->tables[i];
        if (t->dirty && table_write(l, t, err) < 0)
            return -1;
        if (t->old.n && sys_fault("target-before-delete"))
            return err_set(err, ERR_TARGET, "delete what was replaced: fault injected");
        if (t->old.n && remove_old(l, t, err) < 0)
            return -1;
    }
    return 0;
}

int ledger_settle(struct ledger *l, const struct manifest *m, struct err *err)
{
    return ledger_apply(l, m, err) < 0 || ledger_write(l, err) < 0 ? -1 : 0;
}

/* ---- undo ---- */

static int may_undo(struct ledger *l, const struct manifest *m, struct err *err)
{
    for (int i = 0; i < m->ntables; i++) {
        struct table_state *t;
        if (m->tables[i].mode != MODE_APPEND)
            return err_set(err, ERR_STATE, "table '%s' was replaced by this job, and what it replaced is deleted: it has no undo",
                           m->tables[i].name);
        if (ledger_table(l, m->tables[i].name, false, &t, err) < 0)
            return -1;
        if (t->replaced && t->seq > m->seq)
            return err_set(err, ERR_STATE, "table '%s' has been replaced since, by the job %s: this job's rows are not in it",
                           t->name, t->uid);
    }
    return 0;
}

/* From here on the job is undone. */
static int mark_undone(struct ledger *l, struct manifest *m, struct err *err)
{
    char now[32];
    text_put_rfc3339(now, sys_now_ms());
    if (may_undo(l, m, err) < 0)
        return -1;
    return (m->undone_at = arena_dup(&m->arena, str_of(now))) ? manifest_put(l->store, m, err) : err_nomem(err);
}

int ledger_undo(struct ledger *l, struct manifest *m, struct err *err)
{
    if (!m->undone_at && mark_undone(l, m, err) < 0)
        return -1;
    if (sys_fault("target-before-delete"))
        return err_set(err, ERR_TARGET, "delete what was undone: fault injected");
    for (int i = 0; i < m->ntables; i++) {
        struct table_state *t;
        if (ledger_table(l, m->tables[i].name, false, &t, err) < 0)
            return -1;
        if (!t->replaced || !uids_have(&t->now, m->uid))
            continue;
        uids_drop(&t->now, m->uid);
        t->rows -= rows_of(m, t->name);
        t->dirty = true;
    }
    return remove_objects(l, m, NULL, err) < 0 || ledger_write(l, err) < 0 ? -1 : 0;
}
