/* Merging; see the header. If power fails, the transaction around it is taken back. */
#include "target/sqlite_merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "io/db.h"
#include "target/sqlite.h"

/* ---- the functions ---- */

static void key_add(struct buf *key, sqlite3_value *v)
{
    int type = sqlite3_value_type(v);
    buf_addc(key, (char)type);
    if (type == SQLITE_INTEGER) {
        int64_t i = sqlite3_value_int64(v);
        buf_add(key, &i, sizeof i);
    } else if (type == SQLITE_FLOAT) {
        double r = sqlite3_value_double(v);
        buf_add(key, &r, sizeof r);
    } else if (type != SQLITE_NULL) {
        const void *p = sqlite3_value_blob(v);
        uint32_t n = (uint32_t)sqlite3_value_bytes(v);
        buf_add(key, &n, sizeof n);
        if (n)
            buf_add(key, p, n);
    }
}

static void first_of_key(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    struct merge_tally *t = sqlite3_user_data(ctx);
    if (n == 2 && sqlite3_value_type(v[1]) == SQLITE_INTEGER) { /* the usual key, quickly */
        int64_t key = sqlite3_value_int64(v[1]);
        bool first = !t->any || !t->was_integer || key != t->last_integer;
        t->any = t->was_integer = true;
        t->last_integer = key;
        t->first[sqlite3_value_int(v[0]) != 0] += first;
        sqlite3_result_int(ctx, first);
        return;
    }
    buf_reset(&t->key);
    for (int i = 1; i < n; i++)
        key_add(&t->key, v[i]);
    if (t->key.failed) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    bool same = t->any && !t->was_integer && t->key.n == t->last.n && !memcmp(t->key.p, t->last.p, t->key.n);
    t->was_integer = false;
    if (!same) {
        struct buf last = t->last;
        t->last = t->key;
        t->key = last;
        t->any = true;
        t->first[sqlite3_value_int(v[0]) != 0]++;
    }
    sqlite3_result_int(ctx, !same);
}

static void met(sqlite3_context *ctx, int n, sqlite3_value **v)
{
    (void)n;
    struct merge_tally *t = sqlite3_user_data(ctx);
    bool write = sqlite3_value_int(v[0]); /* null: no */
    t->met[write][sqlite3_value_int(v[1]) != 0]++;
    sqlite3_result_int(ctx, write);
}

int merge_functions(struct warehouse *w, struct err *err)
{
    /* not deterministic: they must be called for each row, and where they stand */
    int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    if (sqlite3_create_function_v2(w->db, "qetl_first", -1, flags, &w->tally, first_of_key, NULL,
                                   NULL, NULL) != SQLITE_OK ||
        sqlite3_create_function_v2(w->db, "qetl_met", 2, flags, &w->tally, met, NULL, NULL, NULL) !=
            SQLITE_OK)
        return warehouse_error(w, err, "make the functions of merges");
    return 0;
}

void merge_clear(struct warehouse *w)
{
    buf_clear(&w->tally.key);
    buf_clear(&w->tally.last);
}

void merge_tally_reset(struct merge_tally *t)
{
    memset(t->first, 0, sizeof t->first);
    memset(t->met, 0, sizeof t->met);
    t->any = false;
    t->again = 0;
}

/* ---- keys of an inline output ---- */

static int key_set_grow(struct key_set *set)
{
    size_t room = set->room ? set->room * 2 : 64;
    uint32_t *slots = calloc(room, sizeof *slots);
    if (!slots)
        return -1;
    for (size_t i = 0; i < set->room; i++) {
        if (!set->slots[i])
            continue;
        uint64_t hash;
        memcpy(&hash, set->keys.p + set->slots[i] - 1, sizeof hash);
        size_t at = hash & (room - 1);
        while (slots[at])
            at = (at + 1) & (room - 1);
        slots[at] = set->slots[i];
    }
    free(set->slots);
    set->slots = slots;
    set->room = room;
    return 0;
}

int key_set_add(struct key_set *set, struct str key)
{
    struct hash h;
    hash_init(&h);
    hash_add(&h, key.p, key.n);
    uint64_t hash = hash_end(&h);
    if (set->n * 2 >= set->room && key_set_grow(set) < 0)
        return -1;
    size_t at = hash & (set->room - 1);
    for (; set->slots[at]; at = (at + 1) & (set->room - 1)) {
        const char *there = set->keys.p + set->slots[at] - 1;
        uint32_t n;
        memcpy(&n, there + sizeof hash, sizeof n);
        if (!memcmp(there, &hash, sizeof hash) && n == key.n &&
            !memcmp(there + sizeof hash + sizeof n, key.p, n))
            return 1;
    }
    set->slots[at] = (uint32_t)set->keys.n + 1;
    set->n++;
    buf_add(&set->keys, &hash, sizeof hash);
    buf_add(&set->keys, &(uint32_t){ (uint32_t)key.n }, sizeof(uint32_t));
    buf_add(&set->keys, key.p, key.n);
    return set->keys.failed ? -1 : 0;
}

void key_set_clear(struct key_set *set)
{
    buf_clear(&set->keys);
    free(set->slots);
    *set = (struct key_set){ 0 };
}

/* ---- insert_ignore and upsert ---- */

static void named(struct buf *out, const char *before, const struct table_spec *spec, int column)
{
    buf_adds(out, before);
    db_quote(out, spec->columns->v[column].name);
}

static void gone(struct buf *out, const struct table_spec *spec)
{
    if (spec->deleted >= 0)
        named(out, "", spec, spec->deleted);
    buf_adds(out, spec->deleted >= 0 ? " IS TRUE" : "0");
}

/* One staged row of each key, in the order of the keys. The subquery is DISTINCT, which costs
 * nothing beside the rowid, so that SQLite leaves it one and calls qetl_first() behind the sort
 * (select.c, flattenSubquery). That compares bytes: of keys that the table compares otherwise it gets
 * the rank. */
static void one_a_key(struct buf *sql, const struct table *t, const struct table_spec *spec,
                      const char *source, const char *where)
{
    const char *key = t->collated.n ? "qetl_key" : t->key.p;
    buf_addf(sql, "SELECT %s FROM (SELECT DISTINCT %s, %s", t->columns.p, t->order, t->columns.p);
    if (t->collated.n)
        buf_addf(sql, ", dense_rank() OVER (ORDER BY %s) AS qetl_key FROM (SELECT %s, %s FROM %s%s)",
                 t->key.p, t->order, t->collated.p, source, where);
    else
        buf_addf(sql, " FROM %s%s", source, where);
    buf_addf(sql, " ORDER BY %s", key);
    if (spec->version >= 0) {
        named(sql, ", ", spec, spec->version);
        buf_adds(sql, " DESC"); /* nulls last */
    }
    buf_addf(sql, ", %s %s) WHERE qetl_first(", t->order,
             spec->mode == MODE_INSERT_IGNORE ? "ASC" : "DESC");
    gone(sql, spec);
    buf_addf(sql, ", %s)", key);
}

bool merge_is_plain(const struct table *t)
{
    return t->direct && (t->rowid || !t->updates);
}

void merge_sql(struct buf *sql, const struct table *t, const struct table_spec *spec,
               const char *source, const char *where)
{
    buf_addf(sql, "INSERT INTO main.%s AS qetl_t (%s) ", t->quoted.p, t->columns.p);
    if (merge_is_plain(t))
        buf_addf(sql, "SELECT %s FROM %s%s ORDER BY %s, %s", t->columns.p, source,
                 *where ? where : " WHERE 1", t->key.p, t->order);
    else
        one_a_key(sql, t, spec, source, where);
    buf_adds(sql, t->conflict.p);
}

/* The update hook, https://www.sqlite.org/c3ref/update_hook.html: rows of one key come one behind
 * the other, so that they have the same rowid as the row before. */
static void watch(void *arg, int op, const char *schema, const char *table, sqlite3_int64 rowid)
{
    struct merge_tally *t = arg;
    if (strcmp(schema, "main") || strcasecmp(table, t->table)) /* by a trigger */
        return;
    t->again += op == SQLITE_UPDATE && t->any && rowid == t->last_integer;
    t->any = true;
    t->last_integer = rowid;
}

static int count_upsert(const struct warehouse *w, int64_t rows, int64_t changes,
                        struct load_counts *counts, struct err *err)
{
    const struct merge_tally *m = &w->tally;
    int64_t updated = m->met[1][0], inserted = m->first[0] - m->met[0][0] - m->met[1][0],
            deleted = m->first[1] - m->met[0][1];
    if (inserted + updated + deleted != changes)
        return err_set(err, ERR_TARGET_REFUSED,
                       "%" PRId64 " of %" PRId64
                       " rows went in: has the table a trigger that leaves rows out?",
                       changes, inserted + updated + deleted);
    counts->inserted += inserted;
    counts->updated += updated;
    counts->deleted += deleted;
    counts->unchanged += rows - changes;
    return 0;
}

/* All of them went in. */
static int count_plain(const struct warehouse *w, int64_t rows, int64_t changes,
                       struct load_counts *counts, struct err *err)
{
    const struct merge_tally *m = &w->tally;
    if (changes != rows)
        return err_set(err, ERR_TARGET_REFUSED,
                       "%" PRId64 " of %" PRId64
                       " rows went in: has the table a trigger that leaves rows out?",
                       changes, rows);
    counts->inserted += rows - m->met[1][0];
    counts->updated += m->met[1][0] - m->again;
    counts->unchanged += m->again;
    return 0;
}

static int upsert(struct warehouse *w, const struct table *t, const struct table_spec *spec,
                  const char *source, int64_t rows, struct load_counts *counts, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    merge_sql(&sql, t, spec, source, "");
    if (sql.failed)
        return err_nomem(err);
    merge_tally_reset(&w->tally);
    bool plain = t->updates && merge_is_plain(t);
    const char *dot = strchr(spec->name, '.');
    w->tally.table = dot ? dot + 1 : spec->name;
    if (plain)
        sqlite3_update_hook(w->db, watch, &w->tally);
    int rc = warehouse_exec(w, sql.p, "insert", err);
    sqlite3_update_hook(w->db, NULL, NULL);
    if (rc < 0)
        return -1;
    int64_t changes = sqlite3_changes64(w->db);
    if (t->updates)
        return (plain ? count_plain : count_upsert)(w, rows, changes, counts, err);
    counts->inserted += changes;
    counts->unchanged += rows - changes;
    return 0;
}

/* ---- history ---- */

/* When its version says that a staged row begins: null, where that is no time. */
static void says(struct buf *sql, const struct table_spec *spec)
{
    int v = spec->version;
    enum type type = v >= 0 ? spec->columns->v[v].type : TYPE_TEXT;
    if (type != TYPE_TIMESTAMP && type != TYPE_DATE) {
        buf_adds(sql, "NULL");
        return;
    }
    named(sql, "CASE WHEN qetl_order > 0 THEN ", spec, v);
    buf_adds(sql, type == TYPE_DATE ? " || ' 00:00:00' END" : " END");
}

/* The columns, with the version as the newest one. */
static void newest(struct buf *sql, const struct table_spec *spec)
{
    for (int i = 0; i < spec->columns->n; i++) {
        buf_adds(sql, i ? ", " : "");
        if (i == spec->version)
            buf_adds(sql, HISTORY_NEWEST);
        named(sql, "", spec, i);
    }
}

/* `lag("a") OVER w IS "a" AND ...` of the columns that tell whether a row changed: neither its key
 * nor its version. */
static void same_as_before(struct buf *sql, const struct table_spec *spec)
{
    buf_adds(sql, "(1");
    for (int i = 0; i < spec->columns->n; i++) {
        if (in_key(spec, i) || i == spec->version)
            continue;
        named(sql, " AND lag(", spec, i);
        named(sql, ") OVER w IS ", spec, i);
    }
    buf_addc(sql, ')');
}

/*
 * All staged rows of a key and the row that is current now, in the order of their versions: what
 * stands before the current one came too late; what is equal to the one before it is no change. The
 * rest close each other's time, the first one that of the current row; see history_since(). In place
 * 0 is the current row, where it was seen with a newer version.
 */
static void changed_sql(struct buf *sql, const struct table *t, const struct table_spec *spec,
                        const char *source)
{
    AUTO(buf_clear) struct buf order = { 0 };
    bool versions = spec->version >= 0;
    const char *staged = t->collated.n ? t->collated.p : t->columns.p; /* the first part of a UNION says how its columns compare */
    if (spec->version >= 0)
        named(&order, "", spec, spec->version); /* nulls first */
    buf_adds(&order, spec->version >= 0 ? ", qetl_order" : "qetl_order");
    buf_addf(sql, "CREATE TEMP TABLE qetl_changed AS WITH known AS (");
    if (spec->version >= 0)
        buf_addf(sql, "SELECT %s, %s AS qetl_order, NULL AS qetl_began FROM %s", staged, t->order, source);
    else { /* without versions all would begin at the same time: the last one counts */
        buf_addf(sql, "SELECT %s, 1 AS qetl_order, NULL AS qetl_began FROM (", staged);
        one_a_key(sql, t, spec, source, "");
        buf_addc(sql, ')');
    }
    buf_addf(sql,
             " UNION ALL SELECT %s, 0, " VALID_FROM " FROM main.%s WHERE " IS_CURRENT
             " AND (%s) IN (SELECT %s FROM %s)),",
             t->columns.p, t->quoted.p, t->key.p, t->key.p, source);
    buf_addf(sql,
             " marked AS (SELECT *, max(qetl_order = 0) OVER (PARTITION BY %s) AS qetl_has_current,"
             " max(qetl_order = 0) OVER (PARTITION BY %s ORDER BY %s ROWS UNBOUNDED PRECEDING)"
             " AS qetl_later, max(qetl_began) OVER (PARTITION BY %s) AS qetl_last FROM known),",
             t->key.p, t->key.p, order.p, t->key.p);
    buf_addf(sql, " kept AS (SELECT *, row_number() OVER w = 1 OR NOT ");
    same_as_before(sql, spec);
    buf_adds(sql, " AS qetl_new");
    if (versions) {
        named(sql, ", lag(", spec, spec->version);
        named(sql, ") OVER w AS qetl_before, last_value(", spec, spec->version);
        buf_addf(sql, ") OVER (PARTITION BY %s ORDER BY %s ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS qetl_newest",
                 t->key.p, order.p);
    }
    buf_addf(sql,
             " FROM marked WHERE qetl_later OR NOT qetl_has_current"
             " WINDOW w AS (PARTITION BY %s ORDER BY %s)),",
             t->key.p, order.p);
    buf_adds(sql, " qetl_begun AS (SELECT *, ");
    says(sql, spec);
    buf_adds(sql, " AS qetl_says FROM kept WHERE (qetl_order > 0 AND qetl_new)");
    if (versions)
        named(sql, " OR (qetl_order = 0 AND qetl_newest IS NOT ", spec, spec->version);
    buf_adds(sql, versions ? "))," : "),");
    AUTO(buf_clear) struct buf ended = { 0 };
    if (spec->missing == MISSING_DELETE)
        buf_addf(&ended, "main.%s", t->quoted.p);
    history_since(sql, ended.p, t->key.p, ":now", "min", "max");
    buf_adds(sql, " SELECT ");
    newest(sql, spec);
    buf_addf(
        sql,
        ", qetl_has_current, qetl_since, lead(qetl_since) OVER w AS qetl_until,"
        " row_number() OVER w - max(qetl_order = 0) OVER (PARTITION BY %s) AS qetl_place"
        " FROM qetl_history WINDOW w AS (PARTITION BY %s ORDER BY %s)",
        t->key.p, t->key.p, order.p);
    sql->failed |= order.failed || ended.failed;
}

/* Of the rows that are current until now, those whose key has a row in that place of what changed. */
static void of_current(struct buf *sql, const struct table_spec *spec, int place)
{
    buf_addf(sql, " FROM temp.qetl_changed AS c WHERE c.qetl_place = %d AND qetl_t." IS_CURRENT, place);
    for (int k = 0; k < spec->nkey; k++) {
        named(sql, " AND qetl_t.", spec, spec->key[k]);
        named(sql, " = c.", spec, spec->key[k]);
    }
}

static void advance_sql(struct buf *sql, const struct table *t, const struct table_spec *spec)
{
    buf_addf(sql, "UPDATE main.%s AS qetl_t SET ", t->quoted.p);
    named(sql, "", spec, spec->version);
    named(sql, " = c.", spec, spec->version);
    of_current(sql, spec, 0);
    named(sql, " AND qetl_t.", spec, spec->version);
    named(sql, " IS NOT c.", spec, spec->version);
}

/* The row that is current until now ends where the first new one begins. */
static void close_sql(struct buf *sql, const struct table *t, const struct table_spec *spec)
{
    buf_addf(sql, "UPDATE main.%s AS qetl_t SET " VALID_TO " = c.qetl_since, " IS_CURRENT " = 0", t->quoted.p);
    of_current(sql, spec, 1);
}

static void add_sql(struct buf *sql, const struct table *t)
{
    buf_addf(sql,
             "INSERT INTO main.%s (%s, " VALID_FROM ", " VALID_TO ", " IS_CURRENT
             ") SELECT %s, qetl_since, qetl_until, qetl_until IS NULL FROM temp.qetl_changed"
             " WHERE qetl_place > 0 ORDER BY %s, qetl_place",
             t->quoted.p, t->columns.p, t->columns.p, t->key.p);
}

/* Run `sql` with :now, where it has that. *changes: rows, may be NULL. */
static int run_at(struct warehouse *w, const struct buf *sql, const char *now, const char *what,
                  int64_t *changes, struct err *err)
{
    sqlite3_stmt *st;
    if (sql->failed)
        return err_nomem(err);
    if (warehouse_prepare(w, sql->p, &st, what, err) < 0)
        return -1;
    if (sqlite3_bind_parameter_count(st))
        db_bind(st, ":now", now);
    int rc = warehouse_step(w, st, what, err);
    sqlite3_finalize(st);
    if (changes)
        *changes = sqlite3_changes64(w->db);
    return rc;
}

static int count_history(struct warehouse *w, const struct table_spec *spec, int64_t rows,
                         int64_t added, struct load_counts *counts, struct err *err)
{
    sqlite3_stmt *st;
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "SELECT total(fresh AND NOT gone), total(NOT fresh AND NOT gone), total(gone), "
                   "count(*) FROM"
                   " (SELECT qetl_place = 1 AND NOT qetl_has_current AS fresh, ");
    gone(&sql, spec);
    buf_adds(&sql, " AS gone FROM temp.qetl_changed WHERE qetl_place > 0)");
    if (sql.failed)
        return err_nomem(err);
    if (warehouse_prepare(w, sql.p, &st, "count", err) < 0)
        return -1;
    int rc = warehouse_step(w, st, "count", err);
    int64_t changed = rc == 1 ? sqlite3_column_int64(st, 3) : 0;
    if (rc == 1) {
        counts->inserted += sqlite3_column_int64(st, 0);
        counts->updated += sqlite3_column_int64(st, 1);
        counts->deleted += sqlite3_column_int64(st, 2);
        counts->unchanged += rows - changed;
    }
    sqlite3_finalize(st);
    if (rc == 1 && changed != added)
        return err_set(err, ERR_TARGET_REFUSED,
                       "%" PRId64 " of %" PRId64
                       " rows went in: has the table a trigger that leaves rows out?",
                       added, changed);
    return rc < 0 ? -1 : 0;
}

static int history(struct warehouse *w, const struct table *t, const struct table_spec *spec,
                   const char *source, int64_t rows, const char *now, struct load_counts *counts,
                   struct err *err)
{
    AUTO(buf_clear) struct buf changed = { 0 }, advance = { 0 }, close = { 0 }, add = { 0 };
    int64_t added;
    changed_sql(&changed, t, spec, source);
    if (spec->version >= 0)
        advance_sql(&advance, t, spec);
    close_sql(&close, t, spec);
    add_sql(&add, t);
    merge_tally_reset(&w->tally);
    if (warehouse_exec(w, "DROP TABLE IF EXISTS temp.qetl_changed", "compare", err) < 0 ||
        run_at(w, &changed, now, "compare with the history", NULL, err) < 0 ||
        (spec->version >= 0 && run_at(w, &advance, now, "note newer versions", NULL, err) < 0) ||
        run_at(w, &close, now, "end what changed", NULL, err) < 0 ||
        run_at(w, &add, now, "insert", &added, err) < 0 ||
        count_history(w, spec, rows, added, counts, err) < 0)
        return -1;
    return warehouse_exec(w, "DROP TABLE temp.qetl_changed", "compare", err);
}

/* ---- missing = delete ---- */

void merge_missing(struct buf *sql, const struct table *t, const struct table_spec *spec,
                   const char *source)
{
    if (spec->mode == MODE_HISTORY) {
        buf_adds(sql, IS_CURRENT);
    } else if (spec->deleted >= 0) {
        named(sql, "", spec, spec->deleted);
        buf_adds(sql, " IS NOT TRUE");
    } else {
        buf_addc(sql, '1');
    }
    buf_addf(sql, " AND (%s) NOT IN (SELECT %s FROM %s)", t->key.p, t->key.p, source);
}

static int remove_missing(struct warehouse *w, const struct table *t, const struct table_spec *spec,
                          const char *source, const char *now, struct load_counts *counts,
                          struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    int64_t removed;
    if (spec->mode == MODE_HISTORY)
        buf_addf(&sql, "UPDATE main.%s SET " VALID_TO " = max(:now, " VALID_FROM "), " IS_CURRENT " = 0 WHERE ",
                 t->quoted.p);
    else if (spec->deleted >= 0) {
        buf_addf(&sql, "UPDATE main.%s SET ", t->quoted.p);
        named(&sql, "", spec, spec->deleted);
        buf_adds(&sql, " = 1 WHERE ");
    } else {
        buf_addf(&sql, "DELETE FROM main.%s WHERE ", t->quoted.p);
    }
    merge_missing(&sql, t, spec, source);
    if (run_at(w, &sql, now, "remove what is missing", &removed, err) < 0)
        return -1;
    counts->removed += removed;
    return 0;
}

int merge_rows(struct warehouse *w, const struct table *t, const struct table_spec *spec,
               const char *source, int64_t rows, const char *now, struct load_counts *counts,
               struct err *err)
{
    int rc = spec->mode == MODE_HISTORY ? history(w, t, spec, source, rows, now, counts, err)
                                        : upsert(w, t, spec, source, rows, counts, err);
    if (rc == 0 && spec->missing == MISSING_DELETE)
        rc = remove_missing(w, t, spec, source, now, counts, err);
    return rc;
}
