/* What drifted; see the header. All of it happens once a header, or once a key: nothing here is asked for each row. */
#include "pipeline/drift.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "read/infer.h"
#include "target/target.h"

enum {
    FINDINGS_MAX = 500,
    KNOWN_MAX = 8192,       /* names that are remembered from job to job: of JSON, of headers before the last one */
    HEADER_MAX = 64 * 1024, /* bytes of a header that is kept for the next job */
    NAME_MAX_BYTES = 255,   /* of a column that is added; of a name in a finding */
    COLUMNS_MAX = 1000,     /* of a table that columns are added to */
    REFUSED_SHARE = 10,     /* one in so many is retyped */
    TEXT_MAX = 4096,        /* bytes of a text in a finding that is read back: none is longer */
    NAMES_SHOWN = 200,
    NAME_SHOWN = 80,
};

enum kind { NEW, MISSING, MOVED, RETYPED };
static const char *const kind_names[] = { [NEW] = "new", [MISSING] = "missing", [MOVED] = "moved", [RETYPED] = "retyped" };

struct finding {
    enum kind kind;
    char *column, *member, *detail; /* in the arena */
};

/* Names, in their order; all but the newest are found by bisection. */
struct names {
    struct arena mem;
    struct str *v;
    int n, cap;
    int *sorted, nsorted; /* places in v */
    bool ordered;         /* a header: letters of either case are the same */
};

struct drift {
    const struct recipe *recipe;
    const struct columns *columns;
    struct arena mem;
    struct finding *findings;
    int nfindings, more;
    struct names last; /* of the last job, or of the member before */
    struct names known; /* of headers before that one: what it may lack, too */
    bool has_last, checked; /* checked: `last` is of a member of this job */
    int taken_in;      /* JSON: so many names of the member at hand were looked at */
    struct columns add;
    int typed; /* so many of them have their types */
};

/* ---- names ---- */

static void names_clear(struct names *n)
{
    arena_clear(&n->mem);
    free(n->v);
    free(n->sorted);
    *n = (struct names){ 0 };
}

static int compare(struct str a, struct str b, bool ordered)
{
    if (ordered) {
        a = str_trim(a);
        b = str_trim(b);
    }
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[i];
        if (ordered && x >= 'A' && x <= 'Z')
            x |= 32;
        if (ordered && y >= 'A' && y <= 'Z')
            y |= 32;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

static int by_name(const void *a, const void *b, void *arg)
{
    const struct names *n = arg;
    return compare(n->v[*(const int *)a], n->v[*(const int *)b], n->ordered);
}

static int names_sort(struct names *n, struct err *err)
{
    int *sorted = realloc(n->sorted, mem_product((size_t)n->n + 1, sizeof *sorted));
    if (!sorted)
        return err_nomem(err);
    for (int i = 0; i < n->n; i++)
        sorted[i] = i;
    qsort_r(sorted, (size_t)n->n, sizeof *sorted, by_name, n);
    n->sorted = sorted;
    n->nsorted = n->n;
    return 0;
}

/* The place of a name, or -1. */
static int names_find(const struct names *n, struct str name)
{
    for (int low = 0, high = n->nsorted - 1; low <= high;) {
        int mid = low + (high - low) / 2, cmp = compare(name, n->v[n->sorted[mid]], n->ordered);
        if (cmp == 0)
            return n->sorted[mid];
        if (cmp < 0)
            high = mid - 1;
        else
            low = mid + 1;
    }
    return -1;
}

static int names_add(struct names *n, struct str name, struct err *err)
{
    if (n->n == n->cap) {
        int cap = n->cap ? n->cap * 2 : 64;
        struct str *more = realloc(n->v, mem_product((size_t)cap, sizeof *more));
        if (!more)
            return err_nomem(err);
        n->v = more;
        n->cap = cap;
    }
    const char *kept = arena_dup(&n->mem, name);
    if (!kept)
        return err_nomem(err);
    n->v[n->n++] = (struct str){ kept, name.n };
    return 0;
}

/* The texts of a member that is a list: 1, 0 it is none. */
static int names_read(struct names *n, const struct json_value *doc, const char *member, struct err *err)
{
    struct json_value list, v;
    struct str none, name;
    if (json_member(doc, member, &list) != 1 || list.kind != JSON_ARRAY || json_member(doc, "ordered", &v) != 1)
        return 0;
    n->ordered = v.kind == JSON_TRUE;
    for (size_t at = 0; json_next(&list, &at, &none, &v);) {
        if (v.kind != JSON_TEXT)
            return 0;
        if (!json_unescape(&v, &n->mem, &name) || names_add(n, name, err) < 0)
            return err_nomem(err);
    }
    return names_sort(n, err) < 0 ? -1 : 1;
}

/* {"ordered":true,"names":["id","placed"],"known":["colour"]}: 1, 0 it is none. */
static int header_read(struct drift *d, const char *text, struct err *err)
{
    struct json_value doc;
    struct json_fault fault;
    if (!text || !json_check(str_of(text), &doc, &fault) || doc.kind != JSON_OBJECT)
        return 0;
    int rc = names_read(&d->last, &doc, "names", err);
    return rc == 1 && names_read(&d->known, &doc, "known", err) < 0 ? -1 : rc;
}

static void put_names(struct json_out *o, const char *key, const struct names *n, int from)
{
    json_key(o, key);
    json_array(o);
    for (int i = from; i < n->n; i++)
        json_text(o, n->v[i]);
    json_array_end(o);
}

/* Of the known names the newest, as many as there is room for. */
void drift_header(const struct drift *d, struct buf *out)
{
    struct json_out o;
    size_t bytes = 0;
    int from = d->known.n;
    for (int i = 0; i < d->last.n; i++)
        bytes += d->last.v[i].n + 3;
    if (!d->checked || bytes > HEADER_MAX)
        return;
    while (from > 0 && (bytes += d->known.v[from - 1].n + 3) <= HEADER_MAX)
        from--;
    json_start(&o, out);
    json_object(&o);
    json_put_bool(&o, "ordered", d->last.ordered);
    put_names(&o, "names", &d->last, 0);
    if (from < d->known.n)
        put_names(&o, "known", &d->known, from);
    json_object_end(&o);
}

/* ---- open, close ---- */

int drift_open(struct drift **out, const struct recipe *recipe, const struct columns *columns, const char *header, struct err *err)
{
    struct drift *d = calloc(1, sizeof *d);
    if (!d)
        return err_nomem(err);
    d->recipe = recipe;
    d->columns = columns;
    int rc = header_read(d, header, err);
    if (rc < 0) {
        drift_free(d);
        return -1;
    }
    d->has_last = rc == 1;
    if (!rc)
        names_clear(&d->last);
    *out = d;
    return 0;
}

void drift_free(struct drift *d)
{
    if (!d)
        return;
    names_clear(&d->last);
    names_clear(&d->known);
    columns_clear(&d->add);
    arena_clear(&d->mem);
    free(d->findings);
    free(d);
}

/* ---- findings ---- */

/* A header may be as long as [limits] row, and findings go into one message and into the queue. */
static struct str short_name(struct str s)
{
    if (s.n > NAME_MAX_BYTES)
        s.n = text_utf8_valid((struct str){ s.p, NAME_MAX_BYTES });
    return s;
}

static int note(struct drift *d, enum kind kind, struct str column, const char *member, const char *detail, struct err *err)
{
    column = short_name(column);
    for (int i = 0; i < d->nfindings; i++)
        if (d->findings[i].kind == kind && str_eq(str_of(d->findings[i].column), column))
            return 0;
    if (d->nfindings == FINDINGS_MAX) {
        d->more++;
        return 0;
    }
    if (!d->findings && !(d->findings = calloc(FINDINGS_MAX, sizeof *d->findings)))
        return err_nomem(err);
    struct finding f = { kind, arena_dup(&d->mem, column), arena_dup(&d->mem, short_name(str_of(member))), arena_dup(&d->mem, short_name(str_of(detail))) };
    if (!f.column || !f.member || !f.detail)
        return err_nomem(err);
    d->findings[d->nfindings++] = f;
    return 0;
}

static void put_finding(struct json_out *o, const struct drift *d, const char *kind, const char *column, const char *member,
                        const char *detail)
{
    json_object(o);
    json_put_text(o, "kind", kind);
    json_put_text(o, "pipeline", d->recipe->name);
    json_put_text(o, "column", column);
    json_put_text(o, "member", member);
    json_put_text(o, "detail", detail);
    json_object_end(o);
}

void drift_json(const struct drift *d, struct json_out *o)
{
    for (int i = 0; i < d->nfindings; i++) {
        const struct finding *f = &d->findings[i];
        put_finding(o, d, kind_names[f->kind], f->column, f->member, f->detail);
    }
    if (d->more) {
        char text[60];
        snprintf(text, sizeof text, "and %d more findings", d->more);
        put_finding(o, d, kind_names[d->findings[d->nfindings - 1].kind], NULL, NULL, text);
    }
}

/* The member of that name is a text, or null where it may be; *out: its text, or empty. */
static bool finding_text(const struct json_value *finding, const char *name, bool needed, struct arena *arena, struct str *out)
{
    struct json_value v;
    *out = STR("");
    if (json_member(finding, name, &v) != 1 || (v.kind == JSON_NULL && needed))
        return false;
    return v.kind == JSON_NULL || (v.kind == JSON_TEXT && json_unescape(&v, arena, out) && out->n <= TEXT_MAX);
}

static bool is_finding(const struct json_value *v, struct arena *arena)
{
    struct str kind, text;
    bool known = false;
    if (v->kind != JSON_OBJECT || !finding_text(v, "kind", true, arena, &kind))
        return false;
    for (size_t i = 0; i < COUNT_OF(kind_names); i++)
        known |= str_eq(kind, str_of(kind_names[i]));
    return known && finding_text(v, "pipeline", true, arena, &text) && finding_text(v, "column", false, arena, &text) &&
           finding_text(v, "member", false, arena, &text) && finding_text(v, "detail", true, arena, &text);
}

bool drift_is_findings(const char *text)
{
    struct arena arena = { 0 };
    struct json_value list, v;
    struct json_fault fault;
    struct str none;
    bool good = json_check(str_of(text), &list, &fault) && list.kind == JSON_ARRAY;
    for (size_t at = 0; good && json_next(&list, &at, &none, &v);)
        good = is_finding(&v, &arena);
    arena_clear(&arena);
    return good;
}

/* 'a', 'b', ...: for messages */
struct shown {
    char text[NAMES_SHOWN + 40];
    size_t n;
    int names;
    bool cut;
};

static void show(struct shown *s, struct str name)
{
    s->names++;
    if (s->cut)
        return;
    if (name.n > NAME_SHOWN)
        name.n = text_utf8_valid((struct str){ name.p, NAME_SHOWN });
    s->cut = s->n + name.n + 4 > NAMES_SHOWN;
    if (s->cut) {
        memcpy(s->text + s->n, ", ...", 6);
        return;
    }
    s->n += (size_t)snprintf(s->text + s->n, sizeof s->text - s->n, "%s'", s->n ? ", " : "");
    for (size_t i = 0; i < name.n; i++)
        s->text[s->n++] = (unsigned char)name.p[i] < ' ' ? '?' : name.p[i];
    memcpy(s->text + s->n, "'", 2);
    s->n++;
}

/* ---- new ---- */

/* A name for the table that is none of those that qetl or a target keeps for itself. */
static int name_of(struct drift *d, char **name, struct str from, struct err *err)
{
    static const char *const taken[] = { JOB_COLUMN, VALID_FROM, VALID_TO, IS_CURRENT, "rowid", "_rowid_", "oid" };
    if (infer_name(name, d->columns, &d->add, from, err) < 0)
        return -1;
    for (size_t i = 0; i < COUNT_OF(taken); i++)
        if (str_eq_nocase(str_of(*name), str_of(taken[i]))) {
            char other[40];
            free(*name);
            snprintf(other, sizeof other, "%s_2", taken[i]);
            return infer_name(name, d->columns, &d->add, str_of(other), err);
        }
    return 0;
}

static int add_column(struct drift *d, struct str from, enum type type, int scale, struct err *err)
{
    if (d->columns->n + d->add.n >= COLUMNS_MAX)
        return err_set(err, ERR_DRIFT, "the new column '%.*s' is not added: the table would have more than %d columns",
                       (int)(from.n < 40 ? from.n : 40), from.p, COLUMNS_MAX);
    for (size_t i = 0; i < from.n; i++)
        if ((unsigned char)from.p[i] < 0x20 || from.p[i] == 0x7f || from.n > NAME_MAX_BYTES)
            return err_set(err, ERR_DRIFT, "the new column '%.*s' cannot be added: its name is %s",
                           (int)(from.n < 40 ? from.n : 40), from.p, from.n > NAME_MAX_BYTES ? "too long" : "no name for a column");
    for (int i = 0; i < d->add.n; i++)
        if (str_eq(str_of(d->add.v[i].from), from))
            return 0;
    struct column *more = realloc(d->add.v, mem_product((size_t)d->add.n + 1, sizeof *more));
    if (!more)
        return err_nomem(err);
    d->add.v = more;
    more[d->add.n] = (struct column){ .from = strndup(from.p, from.n), .type = type, .scale = scale, .optional = true };
    if (!more[d->add.n].from || name_of(d, &more[d->add.n].name, from, err) < 0) {
        free(more[d->add.n].from);
        return err_nomem(err);
    }
    d->add.n++;
    return 0;
}

bool drift_adds(const struct drift *d)
{
    return d->add.n > 0;
}

bool drift_wants_types(const struct drift *d)
{
    return d->typed < d->add.n;
}

/* Does the path lead through the key, or is it the same? */
static bool path_below(const char *path, const char *key)
{
    size_t n = strlen(key);
    return !strncmp(path, key, n) && (!path[n] || path[n] == '.' || path[n] == '[');
}

static void column_drop(struct columns *c, int i)
{
    free(c->v[i].name);
    free(c->v[i].from);
    memmove(&c->v[i], &c->v[i + 1], (size_t)(c->n - i - 1) * sizeof *c->v);
    c->n--;
}

/* A key of JSON may be several columns, when there are objects behind it. */
int drift_types(struct drift *d, const struct columns *inferred, struct err *err)
{
    int wanted = d->add.n;
    for (int i = d->typed; i < wanted; i++) {
        struct column *c = &d->add.v[i];
        int same = -1, below = 0;
        for (int k = 0; inferred && k < inferred->n; k++) {
            if (!strcmp(inferred->v[k].from, c->from))
                same = k;
            else if (path_below(inferred->v[k].from, c->from))
                below++;
        }
        if (same >= 0) {
            c->type = inferred->v[same].type;
            c->scale = inferred->v[same].scale;
        }
        if (same >= 0 || !below)
            continue;
        AUTO(free_charp) char *key = strdup(c->from);
        if (!key)
            return err_nomem(err);
        column_drop(&d->add, i--);
        wanted--;
        for (int k = 0; k < inferred->n; k++)
            if (path_below(inferred->v[k].from, key) &&
                add_column(d, str_of(inferred->v[k].from), inferred->v[k].type, inferred->v[k].scale, err) < 0)
                return -1;
    }
    d->typed = d->add.n;
    return 0;
}

void drift_added(const struct drift *d, struct buf *out)
{
    columns_print(&d->add, out);
}

static bool is_news(const struct drift *d, struct str name)
{
    return !d->has_last || (names_find(&d->last, name) < 0 && names_find(&d->known, name) < 0);
}

/* A name that no column takes. */
static int new_name(struct drift *d, const struct format_name *f, const char *member, struct shown *fails, struct err *err)
{
    static const char *const done[] = { [ON_NEW_IGNORE] = "ignored", [ON_NEW_FAIL] = "the job fails" };
    if (!f->name.n) /* a,b,, of spreadsheets */
        return 0;
    if (d->recipe->on_new == ON_NEW_ADD) /* noted by the run that has it as a column */
        return add_column(d, f->name, f->first == '{' || f->first == '[' ? TYPE_JSON : TYPE_TEXT, 0, err);
    if (d->recipe->on_new == ON_NEW_FAIL)
        show(fails, f->name);
    else if (!is_news(d, f->name))
        return 0;
    return note(d, NEW, f->name, member, done[d->recipe->on_new], err);
}

/* Columns that were added by an earlier run are new to this pipeline's ini, too. */
static int new_columns(struct drift *d, const struct format_names *names, const char *member, struct err *err)
{
    for (int i = 0; i < d->columns->n; i++) {
        const struct column *c = &d->columns->v[i];
        AUTO(buf_clear) struct buf detail = { 0 };
        if (!c->added || !names->present[i] || !is_news(d, str_of(c->from)))
            continue;
        buf_addf(&detail, "added as %s ", c->name);
        column_print_type(c, &detail);
        if (detail.failed)
            return err_nomem(err);
        if (note(d, NEW, str_of(c->from), member, detail.p, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- missing ---- */

static bool may_miss(const struct drift *d, const struct column *c, bool ordered)
{
    enum on_missing what = d->recipe->on_missing;
    if (what == ON_MISSING_AUTO)
        what = ordered ? ON_MISSING_FAIL : ON_MISSING_NULL;
    return c->optional || (what == ON_MISSING_NULL && !(ordered && c->required));
}

static void show_names(struct shown *s, const struct format_names *names)
{
    for (int i = 0; i < names->n; i++)
        show(s, names->v[i].name);
}

static int missing_columns(struct drift *d, const struct format_names *names, const char *member, struct err *err)
{
    struct shown lack = { 0 }, have = { 0 };
    for (int i = 0; i < d->columns->n; i++) {
        const struct column *c = &d->columns->v[i];
        struct str from = str_of(c->from);
        if (names->present[i] || c->builtin != BUILTIN_NONE)
            continue;
        bool fails = !may_miss(d, c, names->ordered);
        if (fails)
            show(&lack, from);
        bool news = fails || (d->has_last ? names_find(&d->last, from) >= 0 : !c->optional);
        if (news && note(d, MISSING, from, member, fails ? "the job fails" : "null", err) < 0)
            return -1;
    }
    if (!lack.names)
        return 0;
    show_names(&have, names);
    return names->ordered ? err_set(err, ERR_HEADER, "the header lacks %s; it has: %s", lack.text, have.text)
                          : err_set(err, ERR_HEADER, "no row has the key %s, and on_missing_column = fail", lack.text);
}

/* ---- moved ---- */

/* place[] of n names in the old header, -1 for those it does not have. Marks in stays[] a longest run of names whose order is the
 * same in both (patience sorting; Fredman, 1975). piles, before: room for n. */
static void keep_order(const int *place, int n, int *piles, int *before, bool *stays)
{
    int high = 0;
    for (int i = 0; i < n; i++) {
        int low = 0, top = high;
        if (place[i] < 0)
            continue;
        while (low < top) {
            int mid = (low + top) / 2;
            if (place[piles[mid]] < place[i])
                low = mid + 1;
            else
                top = mid;
        }
        before[i] = low ? piles[low - 1] : -1;
        piles[low] = i;
        high += low == high;
    }
    for (int i = high ? piles[high - 1] : -1; i >= 0; i = before[i])
        stays[i] = true;
}

static int note_moved(struct drift *d, const struct format_names *names, const int *place, const bool *stays, const char *member,
                      struct err *err)
{
    for (int i = 0; i < names->n; i++) {
        char detail[60];
        if (place[i] < 0 || stays[i])
            continue;
        snprintf(detail, sizeof detail, "field %d, was %d", i + 1, place[i] + 1);
        if (note(d, MOVED, names->v[i].name, member, detail, err) < 0)
            return -1;
    }
    return 0;
}

static int moved_columns(struct drift *d, const struct format_names *names, const char *member, struct err *err)
{
    size_t n = (size_t)names->n + 1;
    int *place = calloc(n, 3 * sizeof *place);
    bool *stays = calloc(n, sizeof *stays);
    int rc = place && stays ? 0 : err_nomem(err);
    for (int i = 0; rc == 0 && i < names->n; i++)
        place[i] = names->v[i].name.n ? names_find(&d->last, names->v[i].name) : -1;
    if (rc == 0) {
        keep_order(place, names->n, place + n, place + 2 * n, stays);
        rc = note_moved(d, names, place, stays, member, err);
    }
    free(place);
    free(stays);
    return rc;
}

/* ---- a member ---- */

static bool same_header(const struct drift *d, const struct format_names *names)
{
    if (!d->checked || d->last.n != names->n || !d->last.ordered)
        return false;
    for (int i = 0; i < names->n; i++)
        if (!str_eq(d->last.v[i], names->v[i].name))
            return false;
    return true;
}

/* What the header before had is known, also when the next one lacks it. */
static int remember_known(struct drift *d, const struct names *now, struct err *err)
{
    for (int i = 0; i < d->last.n && d->known.n < KNOWN_MAX; i++) {
        struct str name = d->last.v[i];
        if (name.n && names_find(now, name) < 0 && names_find(&d->known, name) < 0 && names_add(&d->known, name, err) < 0)
            return -1;
    }
    return names_sort(&d->known, err);
}

static int remember_header(struct drift *d, const struct format_names *names, struct err *err)
{
    struct names now = { .ordered = true };
    int rc = 0;
    for (int i = 0; i < names->n && rc == 0; i++)
        rc = names_add(&now, names->v[i].name, err);
    if (rc == 0 && (rc = names_sort(&now, err)) == 0 && d->last.ordered) {
        d->known.ordered = true;
        rc = remember_known(d, &now, err);
    }
    if (rc < 0) {
        names_clear(&now);
        return -1;
    }
    names_clear(&d->last);
    d->last = now;
    d->has_last = d->checked = true;
    return 0;
}

static int remember_key(struct names *n, struct str key, struct err *err)
{
    return !key.n || n->n >= KNOWN_MAX || names_find(n, key) >= 0 ? 0 : names_add(n, key, err);
}

/* JSON: what one member does not have the next one may have again, so that names are only added. */
static int remember_keys(struct drift *d, const struct format_names *names, struct err *err)
{
    if (d->last.ordered) {
        names_clear(&d->last);
        names_clear(&d->known);
    }
    for (int i = 0; i < names->n; i++)
        if (remember_key(&d->last, names->v[i].name, err) < 0)
            return -1;
    for (int i = 0; i < d->columns->n; i++)
        if (names->present[i] && remember_key(&d->last, str_of(d->columns->v[i].from), err) < 0)
            return -1;
    d->has_last = d->checked = true;
    return names_sort(&d->last, err);
}

static bool nothing_seen(const struct drift *d, const struct format_names *names)
{
    for (int i = 0; i < d->columns->n; i++)
        if (names->present[i])
            return false;
    return !names->ordered && !names->n;
}

/* No column can take a field without a name: what is in it is told, or the job fails. */
static int unnamed_fields(struct drift *d, const struct format_names *names, const char *member, struct err *err)
{
    bool fails = d->recipe->on_new != ON_NEW_IGNORE;
    for (int i = 0; i < names->n; i++) {
        char name[40];
        if (!names->v[i].filled)
            continue;
        snprintf(name, sizeof name, "(field %d)", i + 1);
        if (!fails && !is_news(d, str_of(name)))
            continue;
        if (note(d, NEW, str_of(name), member, fails ? "values without a name in the header: the job fails"
                                                     : "values without a name in the header: ignored", err) < 0)
            return -1;
        if (fails)
            return err_set(err, ERR_DRIFT, "field %d has no name in the header, and rows have values in it (on_new_column = %s): "
                           "no column can take them until it has a name", i + 1, d->recipe->on_new == ON_NEW_ADD ? "add" : "fail");
        d->known.ordered = true;
        if (d->known.n < KNOWN_MAX && (names_add(&d->known, str_of(name), err) < 0 || names_sort(&d->known, err) < 0))
            return -1;
    }
    return 0;
}

int drift_names(struct drift *d, const struct format_names *names, const char *member, bool whole, struct err *err)
{
    struct shown fails = { 0 };
    int rc = 0;
    if (names->ordered && same_header(d, names))
        return unnamed_fields(d, names, member, err);
    for (; rc == 0 && d->taken_in < names->n; d->taken_in++)
        if (!names->v[d->taken_in].taken)
            rc = new_name(d, &names->v[d->taken_in], member, &fails, err);
    if (rc == 0 && fails.names)
        rc = err_set(err, ERR_DRIFT, "%s %s, which no column takes (on_new_column = fail)",
                     names->ordered ? "the header has" : "the rows have", fails.text);
    if (rc < 0 || !whole)
        return rc;
    d->taken_in = 0;
    if (nothing_seen(d, names))
        return 0;
    if (new_columns(d, names, member, err) < 0 || missing_columns(d, names, member, err) < 0)
        return -1;
    if (names->ordered && d->has_last && d->last.ordered && moved_columns(d, names, member, err) < 0)
        return -1;
    return names->ordered ? remember_header(d, names, err) : remember_keys(d, names, err);
}

int drift_refused(struct drift *d, int column, struct misfits refused, uint64_t rows, const char *member, struct err *err)
{
    const struct column *c = &d->columns->v[column];
    AUTO(buf_clear) struct buf detail = { 0 };
    const char *before = ": ";
    if (!refused.rows || refused.rows * REFUSED_SHARE < rows)
        return 0;
    buf_addf(&detail, "%" PRIu64 " of %" PRIu64 " rows refused as ", refused.rows, rows);
    column_print_type(c, &detail);
    for (int why = 0; why < REJECT_REASONS; why++)
        if (refused.reasons >> why & 1) {
            buf_addf(&detail, "%s%s", before, reject_name(why));
            before = ", ";
        }
    return detail.failed ? err_nomem(err) : note(d, RETYPED, str_of(c->from), member, detail.p, err);
}
