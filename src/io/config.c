/*
 * The ini into struct config.
 *
 * Way of a key: ini_read() finds it, sections_bind() has said which struct its section fills,
 * key_find() which member, and key_read() writes it there. A part of a pipeline begins as a copy of
 * its pipeline's own recipe. What concerns more than one key is checked at the end, when all is
 * read. Every fault is kept, with the line of the key it is about.
 *
 * Nothing is written, so that power may fail at any time.
 */
#include "io/config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include "base/text.h"
#include "io/clean.h"
#include "io/ini.h"
#include "io/keys.h"
#include "io/pattern.h"

const char *const load_mode_names[MODES] = { "append", "replace", "upsert", "insert_ignore", "history" };

/* ---- the state of one config_load() ---- */

/* What an ini section fills. */
struct bound {
    const struct section_def *def; /* NULL: the heading was faulty, its keys are passed over */
    void *object; /* struct config, remote, target_config, pipeline, or NULL for a part */
    struct pipeline *pipeline;
    struct recipe *recipe; /* of a pipeline or a part */
    int parent;            /* of a part: index of its pipeline's section; else -1 */
    char *name, *part;
};

struct build {
    struct config *c;
    struct ini ini;
    struct bound *bound; /* one for each of ini.sections */
    char *folder;        /* of the main file, absolute */
    struct key_reader keys;
};

static bool failed(const struct build *b)
{
    return b->ini.failed || b->keys.failed;
}

static char *keep(struct build *b, struct str s)
{
    char *p = arena_dup(&b->c->arena, s);
    if (!p)
        b->ini.failed = true;
    return p;
}

static void *zeroed(struct build *b, size_t n, size_t size)
{
    size_t bytes = mem_product(n ? n : 1, size);
    void *p = bytes == SIZE_MAX ? NULL : arena_alloc(&b->c->arena, bytes);
    if (p)
        memset(p, 0, bytes);
    else
        b->ini.failed = true;
    return p;
}

/* ---- keys into structs ---- */

static const char *label(const struct build *b, int section)
{
    return b->ini.sections[section].text;
}

static void fault(struct build *b, const struct ini_entry *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void fault(struct build *b, const struct ini_entry *e, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ini_fault(&b->ini, e->file, e->line, "[%s] %s: %s", label(b, e->section), e->name, text);
}

/* The entry of the key in this section, in front of `before` (or anywhere: NULL). Sections without
 * a name may stand in pieces. */
static const struct ini_entry *entry_find(const struct build *b, int section, const char *name,
                                          const struct ini_entry *before)
{
    const struct bound *own = &b->bound[section];
    for (int i = 0; i < b->ini.nentries && &b->ini.entries[i] != before; i++) {
        const struct ini_entry *e = &b->ini.entries[i];
        if ((e->section == section || (b->bound[e->section].def == own->def && !own->def->named)) &&
            strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

static void unknown_key(struct build *b, const struct ini_entry *e)
{
    const struct bound *s = &b->bound[e->section];
    char hint[200];
    const struct section_def *other = key_section(e->name);
    nearest(hint, sizeof hint, e->name, key_name_at, s->def);
    if (!hint[0] && other)
        snprintf(hint, sizeof hint, "; it belongs in [%s]", other->name);
    fault(b, e, "unknown key%s", hint);
}

static void bad_value(struct build *b, const struct key *k, const struct ini_entry *e)
{
    if (key_is_private(k))
        fault(b, e, "expected %s", b->keys.want);
    else
        fault(b, e, "'%.200s': expected %s", e->value, b->keys.want);
}

static void entry_apply(struct build *b, const struct ini_entry *e)
{
    const struct bound *s = &b->bound[e->section];
    if (!s->def || !e->value)
        return;
    const struct key *k = key_find(s->def, e->name);
    const struct ini_entry *twice = k ? entry_find(b, e->section, e->name, e) : NULL;
    if (!k)
        unknown_key(b, e);
    else if (twice)
        fault(b, e, "given twice, first in %s:%d", b->ini.files[twice->file], twice->line);
    else if (s->part && (k->scope == AT_PIPELINE || k->flags & WHOLE))
        fault(b, e, "belongs in [pipeline %s]: it is about all its parts", s->name);
    else if (!*e->value && !(k->flags & EMPTY))
        fault(b, e, "a value is missing%s",
              k->type == KEY_CHAR ? " (a semicolon begins a comment: write the word semicolon)"
                                  : "");
    else if (strchr(e->value, '\n') && !(k->flags & LINES))
        fault(b, e,
              "takes one line, but the next one begins with white space and so belongs to it");
    else if (!key_read(&b->keys, k, e->value,
                       k->scope == AT_RECIPE ? (void *)s->recipe : s->object))
        bad_value(b, k, e);
}

static void environment(struct build *b)
{
    const struct key *k;
    for (int i = 0; (k = key_at(&section_defs[AT_QETL], i)); i++) {
        char name[64] = "QETL_";
        for (size_t n = 0; n <= strlen(k->name); n++)
            name[5 + n] = (char)toupper((unsigned char)k->name[n]);
        const char *value = getenv(name);
        if (value && *value && !key_read(&b->keys, k, value, b->c))
            ini_fault(&b->ini, -1, 0, "%s: '%.200s': expected %s", name, value, b->keys.want);
    }
}

/* ---- sections ---- */

static bool name_ok(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && (s[i] != '-' || i == 0))
            return false;
    return n > 0 && n <= 64;
}

static const char *next_section(const void *list, int i)
{
    (void)list;
    return (size_t)i < SECTION_DEFS ? section_defs[i].name : NULL;
}

/* Takes the heading apart: kind, name, part. A fault leaves def NULL. */
static void section_read(struct build *b, int i)
{
    const struct ini_section *s = &b->ini.sections[i];
    struct bound *to = &b->bound[i];
    to->parent = -1;
    if (!s->text || !*s->text)
        return;
    size_t n = strcspn(s->text, " \t");
    const char *name = s->text + n + strspn(s->text + n, " \t");
    const struct section_def *def = NULL;
    char *kind = keep(b, (struct str){ s->text, n }), hint[100];
    for (size_t d = 0; kind && d < SECTION_DEFS; d++)
        if (strcmp(kind, section_defs[d].name) == 0)
            def = &section_defs[d];
    if (!def && kind) {
        nearest(hint, sizeof hint, kind, next_section, NULL);
        ini_fault(&b->ini, s->file, s->line, "[%s]: unknown section%s", s->text, hint);
        return;
    }
    const char *dot = def == &section_defs[AT_PIPELINE] ? strchr(name, '.') : NULL;
    size_t len = dot ? (size_t)(dot - name) : strlen(name);
    if (!def || (!def->named && !*name)) {
        to->def = def;
    } else if (!def->named) {
        ini_fault(&b->ini, s->file, s->line, "[%s]: expected [%s], without a name", s->text,
                  def->name);
    } else if (!name_ok(name, len) || (dot && !name_ok(dot + 1, strlen(dot + 1)))) {
        ini_fault(&b->ini, s->file, s->line,
                  "[%s]: expected [%s NAME]%s, with a NAME of letters, digits, _ and -, at most 64",
                  s->text, def->name,
                  def == &section_defs[AT_PIPELINE] ? " or [pipeline NAME.PART]" : "");
    } else {
        to->def = def;
        to->name = keep(b, (struct str){ name, len });
        to->part = dot ? keep(b, str_of(dot + 1)) : NULL;
        if (!to->name || (dot && !to->part))
            to->def = NULL;
    }
}

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Two headings of one name would hide a copy that was meant to be changed. */
static void section_twice(struct build *b, int i)
{
    struct bound *s = &b->bound[i];
    for (int j = 0; s->def && s->def->named && j < i; j++) {
        const struct bound *o = &b->bound[j];
        if (o->def == s->def && same_name(o->name, s->name) && same_name(o->part, s->part)) {
            ini_fault(&b->ini, b->ini.sections[i].file, b->ini.sections[i].line,
                      "[%s]: given twice, first in %s:%d", label(b, i),
                      b->ini.files[b->ini.sections[j].file], b->ini.sections[j].line);
            s->def = NULL;
        }
    }
}

static int count(const struct build *b, enum scope scope)
{
    int n = 0;
    for (int i = 0; i < b->ini.nsections; i++)
        n += b->bound[i].def == &section_defs[scope] && !b->bound[i].part;
    return n;
}

/* Parts find their pipeline; a pipeline without parts has its own recipe as the only one. */
static void parts_bind(struct build *b, int i)
{
    struct bound *own = &b->bound[i];
    struct pipeline *p = own->pipeline;
    int n = 0;
    for (int j = 0; j < b->ini.nsections; j++)
        if (b->bound[j].part && b->bound[j].def && same_name(b->bound[j].name, own->name)) {
            b->bound[j].parent = i;
            if (++n > CONFIG_PARTS_MAX)
                ini_fault(&b->ini, b->ini.sections[j].file, b->ini.sections[j].line,
                          "[%s]: expected at most %d parts of a pipeline", label(b, j),
                          CONFIG_PARTS_MAX);
        }
    p->nparts = n ? n : 1;
    p->parts = zeroed(b, 2 * (size_t)p->nparts, sizeof *p->parts); /* each may have one for its late rows */
    own->recipe = n ? zeroed(b, 1, sizeof *p->parts) : p->parts;
    n = 0;
    for (int j = 0; j < b->ini.nsections; j++)
        if (b->bound[j].parent == i) {
            b->bound[j].pipeline = p;
            b->bound[j].recipe = p->parts ? &p->parts[n++] : NULL;
        }
}

static void sections_bind(struct build *b)
{
    struct config *c = b->c;
    c->remotes = zeroed(b, (size_t)count(b, AT_REMOTE), sizeof *c->remotes);
    c->targets = zeroed(b, (size_t)count(b, AT_TARGET), sizeof *c->targets);
    c->enriches = zeroed(b, (size_t)count(b, AT_ENRICH), sizeof *c->enriches);
    c->lookups = zeroed(b, (size_t)count(b, AT_LOOKUP), sizeof *c->lookups);
    c->pipelines = zeroed(b, (size_t)count(b, AT_PIPELINE), sizeof *c->pipelines);
    for (int i = 0; !failed(b) && i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (s->def == &section_defs[AT_REMOTE]) {
            struct remote *r = s->object = &c->remotes[c->nremotes++];
            r->name = s->name;
            key_defaults(&b->keys, AT_REMOTE, r);
        } else if (s->def == &section_defs[AT_TARGET]) {
            struct target_config *t = s->object = &c->targets[c->ntargets++];
            t->name = s->name;
            key_defaults(&b->keys, AT_TARGET, t);
        } else if (s->def == &section_defs[AT_ENRICH]) {
            struct enrich_config *e = s->object = &c->enriches[c->nenriches++];
            e->name = s->name;
            key_defaults(&b->keys, AT_ENRICH, e);
        } else if (s->def == &section_defs[AT_LOOKUP]) {
            struct lookup *l = s->object = &c->lookups[c->nlookups++];
            l->name = l->recipe.name = s->name;
            s->recipe = &l->recipe;
            key_defaults(&b->keys, AT_LOOKUP, l);
        } else if (s->def == &section_defs[AT_PIPELINE] && !s->part) {
            s->pipeline = s->object = &c->pipelines[c->npipelines++];
            s->pipeline->name = s->name;
            key_defaults(&b->keys, AT_PIPELINE, s->pipeline);
            parts_bind(b, i);
            if (s->recipe) {
                key_defaults(&b->keys, AT_RECIPE, s->recipe);
                s->recipe->name = s->name;
            }
        } else if (s->def && !s->part) {
            s->object = c;
        }
    }
}

static const char *next_pipeline(const void *c, int i)
{
    return i < ((const struct config *)c)->npipelines
               ? ((const struct config *)c)->pipelines[i].name
               : NULL;
}

static void orphan_parts(struct build *b)
{
    for (int i = 0; i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (!s->def || !s->part || s->parent >= 0)
            continue;
        char hint[200];
        nearest(hint, sizeof hint, s->name, next_pipeline, b->c);
        ini_fault(&b->ini, b->ini.sections[i].file, b->ini.sections[i].line,
                  "[%s]: there is no [pipeline %s]%s", label(b, i), s->name, hint);
        s->def = NULL;
    }
}

static void keys_without_section(struct build *b)
{
    for (int i = 0; i < b->ini.nentries; i++) {
        const struct ini_entry *e = &b->ini.entries[i];
        const struct ini_section *s = &b->ini.sections[e->section];
        if (s->text && !*s->text)
            ini_fault(&b->ini, e->file, e->line, "%s: expected a [section] before the first key",
                      e->name);
    }
}

static void fill(struct build *b)
{
    for (int i = 0; i < b->ini.nsections; i++)
        section_read(b, i);
    for (int i = 0; i < b->ini.nsections; i++)
        section_twice(b, i);
    keys_without_section(b);
    sections_bind(b);
    orphan_parts(b);
    for (int i = 0; !failed(b) && i < b->ini.nentries; i++)
        if (!b->bound[b->ini.entries[i].section].part)
            entry_apply(b, &b->ini.entries[i]);
    for (int i = 0; !failed(b) && i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (!s->def || !s->part)
            continue;
        struct buf name = { 0 };
        buf_addf(&name, "%s.%s", s->name, s->part);
        *s->recipe = *b->bound[s->parent].recipe;
        s->recipe->name = name.failed ? NULL : keep(b, buf_str(&name));
        b->ini.failed |= name.failed;
        buf_clear(&name);
    }
    for (int i = 0; !failed(b) && i < b->ini.nentries; i++)
        if (b->bound[b->ini.entries[i].section].part)
            entry_apply(b, &b->ini.entries[i]);
    environment(b);
}

/* ---- checks over more than one key ---- */

/* A fault at the key of a section, of its pipeline where the part does not have it, or at the
 * heading. */
static void check_fault(struct build *b, int section, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void check_fault(struct build *b, int section, const char *key, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const struct ini_entry *e = entry_find(b, section, key, NULL);
    if (!e && b->bound[section].parent >= 0)
        e = entry_find(b, b->bound[section].parent, key, NULL);
    const struct ini_section *s = &b->ini.sections[e ? e->section : section];
    ini_fault(&b->ini, e ? e->file : s->file, e ? e->line : s->line, "[%s] %s: %s", s->text, key,
              text);
}

static bool given(const struct build *b, int section, const char *key)
{
    return entry_find(b, section, key, NULL) ||
           (b->bound[section].parent >= 0 && entry_find(b, b->bound[section].parent, key, NULL));
}

static void check_remote(struct build *b, int i)
{
    const struct remote *r = b->bound[i].object;
    if (!r->url) {
        if (!given(b, i, "url"))
            check_fault(b, i, "url", "missing: the beginning of the URIs this is about");
        return;
    }
    if (strncasecmp(r->url, "sftp://", 7) == 0 && !r->known_hosts && !r->host_key_sha256)
        check_fault(b, i, "url",
                    "an sftp host needs known_hosts or host_key_sha256; without one anybody could "
                    "stand in for it");
    for (const struct remote *o = b->c->remotes; o < r; o++)
        if (o->url && strcmp(o->url, r->url) == 0)
            check_fault(b, i, "url", "[remote %s] has the same url", o->name);
}

/* What a target is by its url, in the flags of keys; all of them where the url is not known: that is a fault of its own. */
static unsigned target_kind(const struct target_config *t)
{
    static const struct {
        const char *scheme;
        unsigned kind;
    } kinds[] = { { "sqlite", FOR_SQLITE | FOR_SQL }, { "postgresql", FOR_SQL }, { "mysql", FOR_SQL },
                  { "s3", FOR_OBJECTS },              { "file", FOR_OBJECTS } };
    size_t n = t->url ? strcspn(t->url, ":") : 0;
    for (size_t k = 0; k < COUNT_OF(kinds); k++)
        if (strlen(kinds[k].scheme) == n && !strncmp(kinds[k].scheme, t->url, n))
            return kinds[k].kind;
    return FOR_SQLITE | FOR_SQL | FOR_OBJECTS;
}

/* Keys given for the section that a target of this kind has no use for. */
static void check_fit(struct build *b, int i, const struct target_config *t)
{
    static const struct {
        unsigned kind;
        const char *name;
    } names[] = { { FOR_SQLITE, "SQLite" }, { FOR_SQL, "databases" }, { FOR_OBJECTS, "object stores and directories" } };
    unsigned kind = target_kind(t);
    const struct key *k;
    for (int n = 0; (k = key_at(b->bound[i].def, n)); n++)
        for (size_t f = 0; f < COUNT_OF(names); f++)
            if ((k->flags & names[f].kind) && !(kind & names[f].kind) && entry_find(b, i, k->name, NULL))
                check_fault(b, i, k->name, "is for %s only, and target '%s' is a '%.*s:'", names[f].name, t->name,
                            (int)strcspn(t->url, ":"), t->url);
}

static void check_target(struct build *b, int i)
{
    check_fit(b, i, b->bound[i].object);
    if (!given(b, i, "url"))
        check_fault(b, i, "url",
                    "missing: the warehouse, such as sqlite:///var/lib/qetl/warehouse.db");
}

struct columns_of {
    struct build *b;
    int i;
    const char *key;
};

static bool columns_fault(void *arg, const struct err *fault)
{
    const struct columns_of *o = arg;
    check_fault(o->b, o->i, o->key, "%s", fault->msg);
    return true;
}

static void check_columns(struct build *b, int i, const char *key, const char *text, struct columns *columns)
{
    struct columns_of here = { b, i, key };
    struct err err;
    const char *bad;
    if (!text || columns_parse_all(columns, text, columns_fault, &here, &err) < 0)
        return;
    for (int c = 0; c < columns->n; c++)
        if (columns->v[c].format && !text_fmt_valid(columns->v[c].format, &bad))
            check_fault(b, i, key, "%s: the format has '%.2s', which is not one of its parts", columns->v[c].name, bad);
}

/* ---- enrichments ---- */

/* A template taken apart; false: there is none, or a faulty one. */
static bool check_template(struct build *b, int i, const char *key, const char *text, enum template_form form, struct template *out)
{
    struct err err;
    if (!text || template_parse(out, text, form, &b->c->arena, &err) == 0)
        return text;
    if (err.code == ERR_NO_MEMORY)
        b->ini.failed = true;
    else
        check_fault(b, i, key, "%s", err.msg);
    *out = (struct template){ 0 };
    return false;
}

static void check_enrich_url(struct build *b, int i, const struct enrich_config *e)
{
    const char *host = uri_behind_scheme(e->url_text), *ignored;
    bool http = !strncasecmp(e->url_text, "http://", 7) || !strncasecmp(e->url_text, "https://", 8);
    if (!host || !http)
        check_fault(b, i, "url", "expected http://... or https://...");
    else if (uri_userinfo(host, &ignored))
        check_fault(b, i, "url", "no user in the url; set user= and password= in a [remote NAME] section");
    else if (e->url.n && !template_fixed(&e->url))
        check_fault(b, i, "url", "the host must stand there whole: no value of a row may choose whom to ask");
}

static int input_find(const struct enrich_config *e, struct str name)
{
    for (int k = 0; k < e->ninputs; k++)
        if (str_eq_nocase(str_of(e->inputs[k]), name))
            return k;
    return -1;
}

/* The input of that name, a new one if need be. */
static int input_add(struct build *b, struct enrich_config *e, struct str name, bool keyed)
{
    int k = input_find(e, name);
    if (k < 0) {
        k = e->ninputs++;
        e->inputs[k] = keep(b, name);
        if (!e->inputs[k])
            e->ninputs--;
    }
    if (!failed(b))
        e->keyed[k] |= keyed;
    return k;
}

static void inputs_of(struct build *b, struct enrich_config *e, struct template *t)
{
    for (int p = 0; p < t->n && !failed(b); p++)
        if (t->v[p].kind == PIECE_VALUE)
            t->v[p].input = input_add(b, e, t->v[p].text, !e->nkey);
}

static void check_inputs(struct build *b, int i, struct enrich_config *e)
{
    size_t most = (size_t)(e->url.n + e->body.n + e->nkey);
    e->inputs = zeroed(b, most, sizeof *e->inputs);
    e->keyed = zeroed(b, most, sizeof *e->keyed);
    if (failed(b))
        return;
    inputs_of(b, e, &e->url);
    inputs_of(b, e, &e->body);
    bool asked = e->ninputs > 0;
    for (int k = 0; k < e->nkey && !failed(b); k++)
        (void)input_add(b, e, str_of(e->key[k]), true);
    if (!asked && e->url.n)
        check_fault(b, i, "url", "names no {COLUMN}: every row would have the same answer");
}

/* A column that is never null can be filled by nothing that gives nulls. */
static void check_required(struct build *b, int i, const struct enrich_config *e)
{
    for (int c = 0; c < e->columns.n; c++) {
        const struct column *col = &e->columns.v[c];
        if (col->builtin != BUILTIN_NONE)
            check_fault(b, i, "columns", "%s: '%s' is no path in an answer; name it in columns of the pipeline", col->name, col->from);
        if (col->required && (e->on_miss == ELSE_NULL || e->on_error == ELSE_NULL))
            check_fault(b, i, "columns", "%s!: with %s = null it would be null", col->name, e->on_miss == ELSE_NULL ? "on_miss" : "on_error");
    }
}

static void check_enrich(struct build *b, int i)
{
    struct enrich_config *e = b->bound[i].object;
    if (!e->url_text && !given(b, i, "url"))
        check_fault(b, i, "url", "missing: what is asked, such as https://geo.example.org/reverse?lat={lat}&lon={lon}");
    if (!e->columns_text && !given(b, i, "columns"))
        check_fault(b, i, "columns", "missing: what is taken from the answer, such as address:text from results[0].address");
    if (e->body_text && e->method && !strcmp(e->method, "GET"))
        check_fault(b, i, "method", "expected POST: a GET carries no body");
    if (!e->method)
        e->method = keep(b, str_of(e->body_text ? "POST" : "GET"));
    check_columns(b, i, "columns", e->columns_text, &e->columns);
    check_required(b, i, e);
    bool good = check_template(b, i, "url", e->url_text, TEMPLATE_URL, &e->url);
    if (good)
        check_enrich_url(b, i, e);
    good &= !e->body_text || check_template(b, i, "body", e->body_text, TEMPLATE_JSON, &e->body);
    if (good)
        check_inputs(b, i, e);
}

static const char *next_enrich(const void *c, int i)
{
    return i < ((const struct config *)c)->nenriches ? ((const struct config *)c)->enriches[i].name : NULL;
}

static void check_enrich_names(struct build *b, int i, const struct recipe *r)
{
    char hint[200];
    for (int k = 0; k < r->nenrich; k++) {
        nearest(hint, sizeof hint, r->enrich[k], next_enrich, b->c);
        if (!config_enrich(b->c, r->enrich[k]))
            check_fault(b, i, "enrich", "there is no [enrich %s]%s", r->enrich[k], hint);
    }
}

/* What the table gets are then the columns that are read or computed and those of the enrichments, unless a later step says what. */
static void check_enriched(struct build *b, int i, struct recipe *r)
{
    AUTO(columns_clear) struct columns before = { 0 };
    struct columns all = { 0 };
    struct err err;
    if (!r->nenrich)
        return;
    if (!r->columns_text)
        check_fault(b, i, "columns", "missing: with enrich they are not found out from the data");
    check_enrich_names(b, i, r);
    if (b->ini.nfaults || failed(b)) /* what follows would tell of them again */
        return;
    if (columns_join(&before, &r->columns, &r->computed, &err) < 0 || config_enriched(b->c, r, &before, &all, &err) < 0)
        check_fault(b, i, "enrich", "%s", err.msg);
    else if (r->output_text || r->transform.text)
        columns_clear(&all);
    else
        r->output = all;
}

static const char *next_target(const void *c, int i)
{
    return i < ((const struct config *)c)->ntargets ? ((const struct config *)c)->targets[i].name
                                                    : NULL;
}

static void check_table(struct build *b, int i, const struct recipe *r)
{
    if (!r->table && !given(b, i, "table"))
        check_fault(b, i, "table", "missing: TARGET.TABLE");
    if (!r->target || config_target(b->c, r->target))
        return;
    char hint[200];
    nearest(hint, sizeof hint, r->target, next_target, b->c);
    check_fault(b, i, "table", "there is no [target %s]%s", r->target, hint);
}

static void check_output(struct build *b, int i, struct recipe *r)
{
    check_columns(b, i, "output", r->output_text, &r->output);
    if (r->output_text && !r->filter.argv && !r->transform.text)
        check_fault(b, i, "output", "expected filter or transform beside it, which gives such rows");
    for (int c = 0; c < r->output.n; c++)
        if (r->output.v[c].builtin != BUILTIN_NONE)
            check_fault(b, i, "output", "%s: '%s' is no value of a row that comes back; name it in columns", r->output.v[c].name,
                        r->output.v[c].from);
}

static void check_distinct(struct build *b, int i, const struct recipe *r)
{
    for (int k = 0; k < r->ndistinct && !failed(b); k++)
        if (r->columns.n && columns_find(&r->columns, str_of(r->distinct[k])) < 0 && columns_find(&r->computed, str_of(r->distinct[k])) < 0)
            check_fault(b, i, "distinct", "'%s' is not among the columns", r->distinct[k]);
}

static void check_clean(struct build *b, int i, const struct recipe *r)
{
    struct clean *clean;
    struct err err;
    if (!r->clean || (r->columns_text && !r->columns.n)) /* the columns are at fault already */
        return;
    if (clean_parse(&clean, r->clean, &r->columns, NULL, r->decimal_point, &err) < 0)
        check_fault(b, i, "clean", "%s", err.msg);
    else
        clean_free(clean);
}

/* Where the column of a line of compute= ends: at the first = outside of quotes and brackets. */
static size_t column_part(struct str line)
{
    bool quoted = false;
    int depth = 0;
    for (size_t i = 0; i < line.n; i++) {
        char c = line.p[i];
        quoted ^= c == '"';
        depth += quoted ? 0 : c == '(' ? 1 : c == ')' ? -1 : 0;
        if (c == '=' && !quoted && depth <= 0)
            return i;
    }
    return line.n;
}

/* The lines of compute=: NAME:TYPE = EXPRESSION. */
static void check_compute(struct build *b, int i, struct recipe *r)
{
    AUTO(buf_clear) struct buf names = { 0 };
    size_t lines = 1, n = 0;
    for (const char *p = r->compute.text; p && *p; p++)
        lines += *p == '\n';
    r->computed_sql = r->compute.text ? zeroed(b, lines, sizeof *r->computed_sql) : NULL;
    for (const char *p = r->compute.text; p && *p && !failed(b);) {
        struct str line = { p, strcspn(p, "\n") };
        p += line.n + (p[line.n] == '\n');
        if (!str_trim(line).n)
            continue;
        size_t at = column_part(line);
        struct str name = str_trim((struct str){ line.p, at });
        struct str sql = at < line.n ? str_trim((struct str){ line.p + at + 1, line.n - at - 1 }) : (struct str){ "", 0 };
        if (!name.n || !sql.n) {
            check_fault(b, i, "compute", "'%.*s': expected NAME:TYPE = EXPRESSION, a line for each column", (int)(line.n < 100 ? line.n : 100), line.p);
            return;
        }
        buf_addf(&names, "%s%.*s", n ? ", " : "", (int)name.n, name.p);
        r->computed_sql[n++] = keep(b, sql);
    }
    b->ini.failed |= names.failed;
    check_columns(b, i, "compute", n && !names.failed ? names.p : NULL, &r->computed);
    if (r->computed.n && (size_t)r->computed.n != n)
        check_fault(b, i, "compute", "expected one column a line: NAME:TYPE = EXPRESSION");
    for (int c = 0; c < r->computed.n; c++)
        if (columns_find(&r->columns, str_of(r->computed.v[c].name)) >= 0)
            check_fault(b, i, "compute", "'%s' is among the columns already", r->computed.v[c].name);
}

/* Of the table: NULL when it has none of that name. *known: are its columns known here? */
static const struct column *table_column(const struct recipe *r, const char *name, bool *known)
{
    const struct columns *columns = recipe_output(r, &r->columns);
    int at = columns_find(columns, str_of(name)), computed = r->output.n ? -1 : columns_find(&r->computed, str_of(name));
    *known = columns->n && (r->output.n || !r->transform.text);
    return at >= 0 ? &columns->v[at] : computed >= 0 ? &r->computed.v[computed] : NULL;
}

static void check_key(struct build *b, int i, const struct recipe *r)
{
    bool known;
    if (mode_has_key(r->mode) && !r->nkey && !given(b, i, "key"))
        check_fault(b, i, "mode", "%s needs key=, the columns that name a row", load_mode_names[r->mode]);
    for (int k = 0; k < r->nkey && !failed(b); k++) {
        if (!table_column(r, r->key[k], &known) && known)
            check_fault(b, i, "key", "'%s' is not among the columns", r->key[k]);
        for (int j = 0; j < k; j++)
            if (strcasecmp(r->key[j], r->key[k]) == 0)
                check_fault(b, i, "key", "'%s' is there twice", r->key[k]);
    }
}

/* Keys that say how a row meets the one that is there. */
static void check_meeting(struct build *b, int i, const struct recipe *r)
{
    const struct {
        const char *key;
        bool given;
    } keys[] = { { "update_only_if_changed", r->only_if_changed },
                 { "version", r->version },
                 { "deleted", r->deleted },
                 { "missing", r->missing != MISSING_KEEP } };
    for (size_t k = 0; k < COUNT_OF(keys); k++)
        if (keys[k].given && r->mode != MODE_UPSERT && r->mode != MODE_HISTORY)
            check_fault(b, i, keys[k].key, "expected mode = upsert or history beside it");
    bool known;
    if (r->version && !table_column(r, r->version, &known) && known)
        check_fault(b, i, "version", "'%s' is not among the columns", r->version);
    const struct column *deleted = r->deleted ? table_column(r, r->deleted, &known) : NULL;
    if (r->deleted && known && (!deleted || deleted->type != TYPE_BOOLEAN))
        check_fault(b, i, "deleted", "'%s' is no boolean column", r->deleted);
}

/* Keys about the time at which things happened. */
static void check_event(struct build *b, int i, const struct recipe *r)
{
    bool known;
    if (!r->event_time) {
        if (given(b, i, "late"))
            check_fault(b, i, "late", "expected event_time beside it");
        return;
    }
    const struct column *c = table_column(r, r->event_time, &known);
    if (!r->columns_text)
        check_fault(b, i, "columns", "missing: event_time needs columns that are given");
    else if (known && (!c || (c->type != TYPE_TIMESTAMP && c->type != TYPE_DATE)))
        check_fault(b, i, "event_time", "'%s' is no column of type timestamp or date", r->event_time);
    if (r->late == LATE_ASIDE && r->target && strncmp(r->late_table, r->target, strcspn(r->late_table, ".")) != 0)
        check_fault(b, i, "late", "expected a table of target '%s': all tables of a job are in one", r->target);
    if (r->late == LATE_ASIDE && r->table && !strcasecmp(r->late_table, r->table))
        check_fault(b, i, "late", "expected another table than that of the rows; late = table puts them there");
}

static void check_signs(struct build *b, int i, const struct recipe *r)
{
    const struct {
        const char *key;
        char c;
    } signs[] = { { "delimiter", r->delimiter },
                  { "quote", r->quote },
                  { "escape", r->escape },
                  { "comment", r->comment } };
    for (size_t k = 1; k < COUNT_OF(signs); k++)
        for (size_t j = 0; j < k; j++)
            if (signs[k].c && signs[k].c == signs[j].c)
                check_fault(b, i, given(b, i, signs[k].key) ? signs[k].key : signs[j].key,
                            "%s and %s are the same sign", signs[j].key, signs[k].key);
    if (r->decimal_point != '.' && r->decimal_point != ',')
        check_fault(b, i, "decimal_point", "expected . or ,");
}

/* FILE:LINE of the key, or of the section when it has none. */
static char *place_of(struct build *b, int i, const char *key)
{
    const struct ini_section *s = &b->ini.sections[i];
    const struct ini_entry *e = entry_find(b, i, key, NULL);
    struct buf place = { 0 };
    if (!e && b->bound[i].parent >= 0)
        e = entry_find(b, b->bound[i].parent, key, NULL);
    buf_addf(&place, "%s:%d", b->ini.files[e ? e->file : s->file], e ? e->line : s->line);
    char *kept = place.failed ? NULL : keep(b, buf_str(&place));
    b->ini.failed |= place.failed;
    buf_clear(&place);
    return kept;
}

static void keep_places(struct build *b, int i, struct recipe *r)
{
    r->place = place_of(b, i, "mode");
    r->where.place = place_of(b, i, "where");
    r->compute.place = place_of(b, i, "compute");
    r->transform.place = place_of(b, i, "transform");
}

/* A program is not run once more to find out its columns: who knows what it does. */
static void check_program_columns(struct build *b, int i)
{
    b->bound[i].recipe->by_program = b->bound[i].pipeline->command.argv;
    if (recipe_is_message(b->bound[i].recipe) != recipe_is_message(b->bound[i].pipeline->parts))
        check_fault(b, i, "format", "expected message for all parts of the pipeline, or for none");
    if (recipe_is_message(b->bound[i].recipe) && !given(b, i, "columns"))
        check_fault(b, i, "columns", "missing: the columns of the tables of a message are not found out");
    if (recipe_is_message(b->bound[i].recipe) && b->bound[i].recipe->closing_line)
        check_fault(b, i, "closing_line", "expected a format that is not message: its brackets say where it ends");
    if (b->bound[i].recipe->by_program && !b->bound[i].recipe->from && !given(b, i, "columns"))
        check_fault(b, i, "columns", "missing: the columns of what a program writes are not found out");
    if (b->bound[i].recipe->by_program && !b->bound[i].recipe->from && b->bound[i].recipe->on_new == ON_NEW_ADD)
        check_fault(b, i, "on_new_column", "expected ignore or fail beside command: to add a column a job is read twice");
}

/* A part that gets the rows of another one has its columns. */
static void check_from(struct build *b, int i, struct recipe *r)
{
    const struct bound *own = &b->bound[i];
    const struct pipeline *p = own->pipeline;
    r->from_part = -1;
    if (!r->from)
        return;
    if (!own->part)
        check_fault(b, i, "from", "belongs in a [pipeline %s.PART]: it names another part", own->name);
    for (int k = 0; own->part && k < p->nparts; k++)
        if (p->parts[k].name && !strcmp(p->parts[k].name + strlen(own->name) + 1, r->from) && !p->parts[k].from)
            r->from_part = k;
    if (own->part && r->from_part < 0)
        check_fault(b, i, "from", "'%s' is no part of this pipeline that has members of its own", r->from);
    if (r->from_part < 0)
        return;
    for (const char *const *key = (const char *const[]){ "columns", "member", "clean", NULL }; *key; key++)
        if (entry_find(b, i, *key, NULL))
            check_fault(b, i, *key, "expected no from beside it: the rows are read as part '%s' reads them", r->from);
    if (p->parts[r->from_part].on_new == ON_NEW_ADD)
        check_fault(b, i, "from", "expected an on_new_column that is not add: both parts have the columns of the ini");
    r->columns_text = p->parts[r->from_part].columns_text;
    r->clean = NULL;
    if (!r->columns_text)
        check_fault(b, i, "from", "expected columns in part '%s': they are not found out for two", r->from);
    if (recipe_is_message(r))
        check_fault(b, i, "from", "expected another format than message, whose tables have rows of their own");
}

static void check_recipe(struct build *b, int i)
{
    struct recipe *r = b->bound[i].recipe;
    keep_places(b, i, r);
    check_from(b, i, r);
    check_table(b, i, r);
    check_columns(b, i, "columns", r->columns_text, &r->columns);
    check_compute(b, i, r);
    check_distinct(b, i, r);
    check_output(b, i, r);
    check_enriched(b, i, r);
    if (r->on_new == ON_NEW_ADD && r->output_text)
        check_fault(b, i, "on_new_column", "expected no output beside it: it names all columns of the table");
    check_clean(b, i, r);
    check_program_columns(b, i);
    check_key(b, i, r);
    check_meeting(b, i, r);
    check_event(b, i, r);
    check_signs(b, i, r);
}

static void check_lookup(struct build *b, int i)
{
    struct lookup *l = b->bound[i].object;
    if (strcasecmp(l->name, "input") == 0 || strncasecmp(l->name, "sqlite_", 7) == 0)
        check_fault(b, i, "file", "expected another name of the section: SQL has a table of this name, or keeps it for itself");
    if (!l->file && !given(b, i, "file"))
        check_fault(b, i, "file", "missing: the file to read");
    if (!l->recipe.columns_text && !given(b, i, "columns"))
        check_fault(b, i, "columns", "missing: names and types");
    check_columns(b, i, "columns", l->recipe.columns_text, &l->recipe.columns);
    check_key(b, i, &l->recipe);
    check_signs(b, i, &l->recipe);
}

/* Two parts that load the same table. */
static void check_shared(struct build *b, int i, const struct recipe *one, const struct recipe *two)
{
    if (two->mode == MODE_REPLACE)
        check_fault(b, i, "mode", "parts '%s' and '%s' would replace each other's rows in table %s",
                    one->name, two->name, two->table);
    if (one->missing == MISSING_DELETE || two->missing == MISSING_DELETE)
        check_fault(b, i, "missing", "parts '%s' and '%s' would remove each other's rows from table %s",
                    one->name, two->name, two->table);
    if ((one->undo_ms || two->undo_ms) && (one->mode == MODE_UPSERT || one->mode == MODE_HISTORY))
        check_fault(b, i, "undo", "parts '%s' and '%s' both change rows of table %s; only one part may",
                    one->name, two->name, two->table);
}

/* Bytes at the beginning of the source that keep_path() put there: the ini's folder, its braces doubled. */
static size_t source_plain(const struct build *b, const char *source)
{
    const char *s = source;
    for (const char *f = b->folder; *f; f++, s++) {
        if (*s != *f || (*f == '{' && *++s != '{'))
            return 0;
    }
    return *s == '/' ? (size_t)(s - source) : 0;
}

/* A place that renames or copies, and there within it. */
static void check_after(struct build *b, int i, const struct scan_config *s, const char *base)
{
    static const char *const acts[] = { "ftp", "ftps", "sftp", "s3" };
    size_t n = strcspn(base, ":");
    bool can = !*base;
    if (s->after.what == AFTER_KEEP)
        return;
    for (size_t k = 0; k < COUNT_OF(acts); k++)
        can |= str_eq_nocase((struct str){ base, n }, str_of(acts[k]));
    if (!can)
        check_fault(b, i, "after", "expected keep: only local files and those of ftp, ftps, sftp and s3 are deleted or moved");
    else if (s->after.what == AFTER_MOVE && !*base && uri_behind_scheme(s->after.folder))
        check_fault(b, i, "after", "expected move: and a local folder: a file is moved within its host");
    else if (s->after.what == AFTER_MOVE && *base && (strncmp(s->after.folder, base, strlen(base)) || s->after.folder[strlen(base)] != '/'))
        check_fault(b, i, "after", "expected move:%s/FOLDER: an object is moved within its host or bucket", base);
}

/* A look at a stream that inotify told nothing of. */
enum { STREAM_EVERY_MS = 10000 };

static void check_pattern(struct build *b, int i, struct pipeline *p)
{
    const struct scan_config *s = &p->scan;
    struct pattern *pattern;
    struct err err;
    if (!s->stream)
        p->scan.source_plain = source_plain(b, p->source);
    if (pattern_parse(&pattern, p->source, s->source_plain, &err) < 0) {
        check_fault(b, i, "source", "%s", err.msg);
        return;
    }
    if (s->lookback_ms && !pattern_is_dated(pattern))
        check_fault(b, i, "lookback", "expected a date such as {%%Y/%%m/%%d} in the source: it says which of them are listed");
    check_after(b, i, s, pattern_base(pattern));
    if (entry_find(b, i, "whole_wait", NULL) && s->whole != WHOLE_TRAILER)
        check_fault(b, i, "whole_wait", "expected whole = trailer beside it");
    if (s->whole == WHOLE_TRAILER && s->job_per == JOB_PER_SLOT)
        check_fault(b, i, "whole", "expected a job_per that is not slot: nobody looks whether its objects change");
    if (s->job_per == JOB_PER_SLOT && !s->cron_text)
        check_fault(b, i, "job_per", "expected cron beside it");
    if (s->job_per == JOB_PER_SLOT && !pattern_is_literal(pattern))
        check_fault(b, i, "source", "expected no globs and no names: with job_per = slot it names one object at each time");
    if (s->job_per == JOB_PER_SLOT && (s->group_files || s->group_bytes))
        check_fault(b, i, s->group_files ? "group_files" : "group_bytes", "expected a job_per that is not slot");
    if (entry_find(b, i, "group_wait", NULL) && !s->group_files && !s->group_bytes)
        check_fault(b, i, "group_wait", "expected group_files or group_bytes beside it");
    pattern_free(pattern);
}

/* A folder of letters, digits and . _ = - with / between its parts, none of them for qetl itself. */
static bool archive_folder_good(const char *folder)
{
    static const char *const taken[] = { "_manifest", "_table" };
    for (const char *part = folder; *part; part += strcspn(part, "/")) {
        part += part > folder;
        size_t n = strspn(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=-");
        if (n == 0 || n > 200 || part[0] == '.' || (part[n] && part[n] != '/'))
            return false;
        for (size_t k = 0; part == folder && k < COUNT_OF(taken); k++)
            if (strlen(taken[k]) == n && !strncmp(taken[k], part, n))
                return false;
    }
    return strlen(folder) <= 400;
}

static void check_archive(struct build *b, int i, const struct pipeline *p)
{
    const char *folder = "";
    char hint[200];
    if (!p->archive)
        return;
    const struct target_config *t = config_archive(b->c, p, &folder);
    nearest(hint, sizeof hint, p->archive, next_target, b->c);
    if (!t)
        check_fault(b, i, "archive", "'%s': expected TARGET or TARGET/FOLDER, with the name of a [target]%s", p->archive, hint);
    else if (!(target_kind(t) & FOR_OBJECTS))
        check_fault(b, i, "archive", "expected an object store or directory, and target '%s' is a '%.*s:'", t->name,
                    (int)strcspn(t->url, ":"), t->url);
    else if (!archive_folder_good(folder) || (p->archive[strlen(t->name)] && !*folder))
        check_fault(b, i, "archive", "'%s': expected a folder of letters, digits and . _ = - that is none of qetl's own", folder);
}

/* A program has no source that could be listed: it runs at times by the clock. */
static void check_command_scan(struct build *b, int i, struct pipeline *p)
{
    static const char *const of_source[] = { "lookback", "forget",      "on_change", "settle",      "min_age",     "ignore",
                                             "done_marker", "after", "group_files", "group_bytes", "group_wait", "whole",       "whole_wait" };
    for (size_t k = 0; k < COUNT_OF(of_source); k++)
        if (entry_find(b, i, of_source[k], NULL))
            check_fault(b, i, of_source[k], "expected a source beside it: what a command writes is no object that is found");
    if (p->scan.every_ms)
        check_fault(b, i, "every", "expected cron: a command runs at times by the clock, such as cron = */5 * * * *");
    if (entry_find(b, i, "job_per", NULL) && p->scan.job_per != JOB_PER_SLOT)
        check_fault(b, i, "job_per", "expected slot: a command has no objects");
    p->scan.job_per = JOB_PER_SLOT;
}

/* Keep the spool's folder as the beginning of a source: its braces doubled. */
static size_t put_plain(struct buf *out, const char *folder)
{
    for (; *folder; folder++) {
        buf_addc(out, *folder);
        if (*folder == '{')
            buf_addc(out, '{');
    }
    return out->n;
}

/* stream:NAME is the closed segments of that stream, in the spool: scanned and deleted, without being asked for. */
static void bind_stream(struct build *b, int i, struct pipeline *p)
{
    struct scan_config *s = &p->scan;
    struct buf source = { 0 };
    if (!p->source || strncmp(p->source, "stream:", 7) != 0)
        return;
    s->stream = p->source + 7;
    s->source_plain = put_plain(&source, b->c->spool);
    buf_addf(&source, "/streams/%s/*.jsonl", s->stream);
    if (source.failed || !(p->source = keep(b, buf_str(&source))))
        b->ini.failed = true;
    buf_clear(&source);
    for (const struct pipeline *o = b->c->pipelines; o < p; o++)
        if (o->scan.stream && !strcmp(o->scan.stream, s->stream))
            check_fault(b, i, "source", "stream '%s' is taken by pipeline '%s': each line goes to one", s->stream, o->name);
    if (!s->every_ms && !s->cron_text)
        s->every_ms = STREAM_EVERY_MS;
    if (!entry_find(b, i, "settle", NULL))
        s->settle_ms = 0;
    if (!entry_find(b, i, "after", NULL))
        s->after.what = AFTER_DELETE;
    for (int k = 0; k < p->nparts; k++)
        if (!strcmp(p->parts[k].format, "auto"))
            p->parts[k].format = keep(b, STR("jsonl"));
}

/* Keys that say how a source is scanned. */
static void check_scan(struct build *b, int i, struct pipeline *p)
{
    static const char *const scan_keys[] = { "timezone", "missed",  "job_per", "lookback",    "forget", "on_change",
                                             "settle",   "min_age", "ignore",  "done_marker", "after",
                                             "group_files", "group_bytes", "group_wait", "whole", "whole_wait" };
    static const char *const stream_keys[] = { "segment_bytes", "segment_age" };
    bind_stream(b, i, p);
    for (size_t k = 0; k < COUNT_OF(scan_keys) && !pipeline_is_scanned(p); k++)
        if (entry_find(b, i, scan_keys[k], NULL))
            check_fault(b, i, scan_keys[k], "expected every or cron beside it: without them nobody scans the source");
    for (size_t k = 0; k < COUNT_OF(stream_keys) && !p->scan.stream; k++)
        if (entry_find(b, i, stream_keys[k], NULL))
            check_fault(b, i, stream_keys[k], "expected source = stream:NAME beside it");
    if (!pipeline_is_scanned(p))
        return;
    if (p->scan.every_ms && p->scan.cron_text)
        check_fault(b, i, "every", "expected either every or cron");
    if (entry_find(b, i, "missed", NULL) && !p->scan.cron_text)
        check_fault(b, i, "missed", "expected cron beside it");
    if (p->command.argv) {
        check_command_scan(b, i, p);
        return;
    }
    const char *marker = p->scan.done_marker;
    if (marker && (strchr(marker, '/') || !strcmp(marker, "*")))
        check_fault(b, i, "done_marker", "expected a name without a slash, such as _SUCCESS or *.done");
    if (!p->source && given(b, i, "source")) /* a fault of its own */
        return;
    if (!p->source)
        check_fault(b, i, p->scan.cron_text ? "cron" : "every", "expected a source beside it");
    else
        check_pattern(b, i, p);
}

/* Keys that say how a program is run. */
static void check_command(struct build *b, int i, const struct pipeline *p)
{
    static const char *const about[] = { "command_timeout", "command_memory", "command_user", "command_env" };
    bool any = p->command.argv;
    for (int k = 0; k < p->nparts; k++)
        any |= p->parts[k].filter.argv != NULL;
    for (size_t k = 0; k < COUNT_OF(about) && !any; k++)
        if (entry_find(b, i, about[k], NULL))
            check_fault(b, i, about[k], "expected command or filter beside it: no program is run without");
    if (p->command.argv && p->source)
        check_fault(b, i, "command", "expected either command or source");
    if (p->command.argv && p->archive)
        check_fault(b, i, "archive", "expected no command beside it: what a program writes is no object that could be kept");
}

static void check_pipeline(struct build *b, int i)
{
    struct pipeline *p = b->bound[i].pipeline;
    check_command(b, i, p);
    check_scan(b, i, p);
    check_archive(b, i, p);
    if (p->dedupe && p->command.argv)
        check_fault(b, i, "dedupe", "expected no command beside it: what a program writes is no object");
    for (int k = 0; k < p->nparts && p->dedupe; k++)
        if (p->parts[k].mode == MODE_REPLACE || p->parts[k].mode == MODE_HISTORY) {
            check_fault(b, i, "dedupe", "expected no table in mode replace or history: there the same content can mean something again");
            break;
        }
    for (int k = 0; k < p->nparts; k++) {
        const struct target_config *t = p->parts[k].target ? config_target(b->c, p->parts[k].target) : NULL;
        if (t)
            check_fit(b, i, t);
    }
    if (p->backoff_ms > p->backoff_max_ms)
        check_fault(b, i, given(b, i, "backoff_max") ? "backoff_max" : "backoff",
                    "expected backoff_max to be at least backoff");
    if (p->source && strncasecmp(p->source, "sftp://", 7) == 0 && !config_remote(b->c, p->source))
        check_fault(
            b, i, "source",
            "an sftp host needs a [remote NAME] section with known_hosts or host_key_sha256");
    for (int k = 1; k < p->nparts; k++)
        for (int j = 0; j < k; j++)
            if (p->parts[k].table && p->parts[j].table && strcasecmp(p->parts[k].table, p->parts[j].table) == 0)
                check_shared(b, i, &p->parts[j], &p->parts[k]);
}

/* The late rows of a part, where they have a table of their own, are those of a part behind all others that has no members. */
static void bind_late(struct build *b, int i)
{
    struct pipeline *p = b->bound[i].pipeline;
    if (entry_find(b, i, "allowed_lateness", NULL) && !pipeline_has_events(p))
        check_fault(b, i, "allowed_lateness", "expected event_time beside it");
    for (int k = 0, own = p->nparts; k < own && !failed(b); k++) {
        struct recipe *r = &p->parts[k], *l = &p->parts[p->nparts];
        struct buf name = { 0 };
        struct err err;
        if (!r->event_time || r->late != LATE_ASIDE)
            continue;
        if (p->nparts == CONFIG_PARTS_MAX) {
            check_fault(b, i, "late", "expected at most %d parts of a pipeline, and a table of late rows is one", CONFIG_PARTS_MAX);
            return;
        }
        buf_addf(&name, "%s.late", r->name);
        key_defaults(&b->keys, AT_RECIPE, l);
        l->name = name.failed ? NULL : keep(b, buf_str(&name));
        l->place = r->place;
        l->format = r->format;
        l->columns_text = r->columns_text;
        l->table = r->late_table;
        l->target = r->target;
        l->table_name = r->late_name;
        l->undo_ms = r->undo_ms;
        l->after_load = r->after_load;
        l->max_rejects = r->max_rejects;
        l->empty_ok = r->empty_ok;
        l->by_program = r->by_program;
        l->allowed_lateness_ms = r->allowed_lateness_ms;
        l->late_part = k;
        l->takes_late = true;
        b->ini.failed |= name.failed;
        buf_clear(&name);
        if (l->columns_text && columns_parse(&l->columns, l->columns_text, &err) < 0)
            continue; /* told of already */
        r->late_part = p->nparts++;
    }
}

static void check(struct build *b)
{
    int worker = -1;
    for (int i = 0; i < b->ini.nsections && !failed(b); i++) /* pipelines look at their columns */
        if (b->bound[i].def == &section_defs[AT_ENRICH])
            check_enrich(b, i);
    for (int i = 0; i < b->ini.nsections && !failed(b); i++) {
        const struct bound *s = &b->bound[i];
        if (s->def == &section_defs[AT_REMOTE])
            check_remote(b, i);
        else if (s->def == &section_defs[AT_TARGET])
            check_target(b, i);
        else if (s->def == &section_defs[AT_LOOKUP])
            check_lookup(b, i);
        else if (s->def == &section_defs[AT_WORKER])
            worker = i;
        if (s->def == &section_defs[AT_PIPELINE] && s->object)
            check_pipeline(b, i);
        if (s->def == &section_defs[AT_PIPELINE] && (s->part || s->recipe == s->pipeline->parts))
            check_recipe(b, i);
    }
    for (int i = 0; i < b->ini.nsections && !failed(b); i++)
        if (b->bound[i].def == &section_defs[AT_PIPELINE] && b->bound[i].object)
            bind_late(b, i);
    if (worker >= 0 && b->c->heartbeat_ms > b->c->lease_ms / 2)
        check_fault(b, worker, given(b, worker, "heartbeat") ? "heartbeat" : "lease",
                    "expected heartbeat to be at most half of lease");
}

/* ---- files ---- */

static int ini_name(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 4 && strcmp(d->d_name + n - 4, ".ini") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_folder(struct build *b, struct err *err)
{
    struct dirent **names;
    struct buf path = { 0 };
    buf_addf(&path, "%s/conf.d", b->folder);
    if (path.failed)
        return err_nomem(err);
    int n = scandir(path.p, &names, ini_name, by_name), rc = 0;
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        rc = err_sys(err, "read the folder '%s'", path.p);
        err->code = ERR_CONFIG;
    }
    size_t folder = path.n;
    for (int i = 0; i < n; i++) {
        path.n = folder;
        buf_addf(&path, "/%s", names[i]->d_name);
        if (rc == 0)
            rc = path.failed ? err_nomem(err) : ini_read(&b->ini, path.p, err);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    buf_clear(&path);
    return rc;
}

/* The absolute folder of a file, malloc'ed. */
static char *folder_of(const char *file)
{
    char *real = realpath(file, NULL), *slash = real ? strrchr(real, '/') : NULL;
    if (slash)
        slash[slash == real ? 1 : 0] = 0;
    return real;
}

/* The faults as lines; the first into *err. */
static int faults_out(struct build *b, struct buf *faults, struct err *err)
{
    ini_sort_faults(&b->ini);
    for (int i = 0; i < b->ini.nfaults; i++) {
        const struct ini_fault *f = &b->ini.faults[i];
        struct buf line = { 0 };
        if (f->file < 0)
            buf_addf(&line, "environment: %s", f->text);
        else
            buf_addf(&line, "%s:%d: %s", b->ini.files[f->file], f->line, f->text);
        if (i == 0)
            err_set(err, ERR_CONFIG, "%s", line.failed ? f->text : line.p);
        if (faults)
            buf_addf(faults, "%s\n", line.failed ? f->text : line.p);
        buf_clear(&line);
    }
    return b->ini.nfaults ? -1 : 0;
}

static int load(struct build *b, const char *file, struct buf *faults, struct err *err)
{
    if (ini_read(&b->ini, file, err) < 0)
        return -1;
    if (!(b->folder = folder_of(file)) || !(b->c->path = keep(b, str_of(file))))
        return err_sys(err, "find the folder of '%s'", file);
    if (!(b->c->folder = keep(b, str_of(b->folder))))
        return err_nomem(err);
    b->keys = (struct key_reader){ .arena = &b->c->arena, .folder = b->folder };
    if (read_folder(b, err) < 0)
        return -1;
    b->bound = zeroed(b, (size_t)b->ini.nsections, sizeof *b->bound);
    for (enum scope s = AT_QETL; s <= AT_LIMITS; s++)
        key_defaults(&b->keys, s, b->c);
    if (!failed(b))
        fill(b);
    if (!failed(b))
        check(b);
    if (failed(b))
        return err_nomem(err);
    return faults_out(b, faults, err);
}

int config_load(struct config **out, const char *file, struct buf *faults, struct err *err)
{
    const char *env = getenv("QETL_CONFIG");
    struct build b = { .c = calloc(1, sizeof *b.c) };
    if (!b.c)
        return err_nomem(err);
    int rc = load(&b, file ? file : env && *env ? env : QETL_CONFIG_FILE, faults, err);
    if (rc < 0 && faults && faults->n == 0)
        buf_addf(faults, "%s\n", err->msg);
    ini_clear(&b.ini);
    free(b.folder);
    if (rc < 0)
        config_free(b.c);
    else
        *out = b.c;
    return rc;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->npipelines; i++)
        for (int j = 0; c->pipelines[i].parts && j < c->pipelines[i].nparts; j++) {
            columns_clear(&c->pipelines[i].parts[j].columns);
            columns_clear(&c->pipelines[i].parts[j].output);
            columns_clear(&c->pipelines[i].parts[j].computed);
        }
    for (int i = 0; i < c->nenriches; i++)
        columns_clear(&c->enriches[i].columns);
    for (int i = 0; i < c->nlookups; i++)
        columns_clear(&c->lookups[i].recipe.columns);
    arena_clear(&c->arena);
    free(c);
}

/* ---- look-ups ---- */

const struct pipeline *config_pipeline(const struct config *c, const char *name)
{
    for (int i = 0; i < c->npipelines; i++)
        if (strcmp(c->pipelines[i].name, name) == 0)
            return &c->pipelines[i];
    return NULL;
}

int config_no_pipeline(const struct config *c, const char *name, struct err *err)
{
    char hint[200];
    nearest(hint, sizeof hint, name, next_pipeline, c);
    return err_set(err, ERR_NOT_FOUND, "there is no [pipeline %s] in %s%s", name, c->path, hint);
}

static const char *next_stream(const void *config, int i)
{
    const struct config *c = config;
    for (int k = 0; k < c->npipelines; k++)
        if (c->pipelines[k].scan.stream && i-- == 0)
            return c->pipelines[k].scan.stream;
    return NULL;
}

const struct pipeline *config_stream(const struct config *c, const char *name, struct err *err)
{
    char hint[200];
    for (int i = 0; i < c->npipelines; i++)
        if (c->pipelines[i].scan.stream && !strcmp(c->pipelines[i].scan.stream, name))
            return &c->pipelines[i];
    nearest(hint, sizeof hint, name, next_stream, c);
    err_set(err, ERR_NOT_FOUND, "no pipeline in %s has source = stream:%.64s%s", c->path, name, hint);
    return NULL;
}

const struct target_config *config_target(const struct config *c, const char *name)
{
    for (int i = 0; i < c->ntargets; i++)
        if (strcmp(c->targets[i].name, name) == 0)
            return &c->targets[i];
    return NULL;
}

const struct enrich_config *config_enrich(const struct config *c, const char *name)
{
    for (int i = 0; i < c->nenriches; i++)
        if (strcmp(c->enriches[i].name, name) == 0)
            return &c->enriches[i];
    return NULL;
}

int config_enriched(const struct config *c, const struct recipe *r, const struct columns *in, struct columns *out, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(columns_clear) struct columns all = { 0 };
    columns_print(in, &text);
    if (text.failed)
        return err_nomem(err);
    if (columns_parse(&all, text.p, err) < 0)
        return -1;
    for (int k = 0; k < r->nenrich; k++) {
        const struct enrich_config *e = config_enrich(c, r->enrich[k]);
        if (!e)
            return err_set(err, ERR_CONFIG, "there is no [enrich %s]", r->enrich[k]);
        for (int n = 0; n < e->ninputs; n++)
            if (columns_find(&all, str_of(e->inputs[n])) < 0)
                return err_set(err, ERR_CONFIG, "[enrich %s] takes '%s', which is not among the columns", e->name, e->inputs[n]);
        for (int n = 0; n < e->columns.n; n++)
            if (columns_find(&all, str_of(e->columns.v[n].name)) >= 0)
                return err_set(err, ERR_CONFIG, "[enrich %s] adds '%s', which is among the columns already", e->name, e->columns.v[n].name);
        buf_adds(&text, ", ");
        columns_print(&e->columns, &text);
        columns_clear(&all);
        if (text.failed)
            return err_nomem(err);
        if (columns_parse(&all, text.p, err) < 0)
            return -1;
    }
    *out = all;
    all = (struct columns){ 0 };
    return 0;
}

const struct target_config *config_archive(const struct config *c, const struct pipeline *p, const char **folder)
{
    size_t n = p->archive ? strcspn(p->archive, "/") : 0;
    for (int i = 0; n && i < c->ntargets; i++)
        if (strlen(c->targets[i].name) == n && !strncmp(c->targets[i].name, p->archive, n)) {
            *folder = p->archive + n + (p->archive[n] == '/');
            return &c->targets[i];
        }
    return NULL;
}

/* Does url begin uri, with the same scheme and the same host[:port] as a whole? https://host/ begins https://host, too: that is
 * how the base of a pattern has it. */
static bool url_begins(const char *url, const char *uri)
{
    const char *ua = uri_behind_scheme(url), *va = uri_behind_scheme(uri), *uhost, *vhost;
    if (!ua || !va || ua - url != va - uri || strncasecmp(url, uri, (size_t)(ua - url)) != 0)
        return false;
    (void)uri_userinfo(ua, &uhost);
    (void)uri_userinfo(va, &vhost);
    size_t un = strcspn(uhost, "/?#"), vn = strcspn(vhost, "/?#");
    return un == vn && strncasecmp(uhost, vhost, un) == 0 &&
           (strncmp(uhost + un, vhost + vn, strlen(uhost + un)) == 0 || (!vhost[vn] && !strcmp(uhost + un, "/")));
}

const struct remote *config_remote(const struct config *c, const char *uri)
{
    const struct remote *best = NULL;
    for (int i = 0; i < c->nremotes; i++) {
        const struct remote *r = &c->remotes[i];
        if (r->url && url_begins(r->url, uri) && (!best || strlen(r->url) > strlen(best->url)))
            best = r;
    }
    return best;
}

const char *config_remote_name(const struct config *c, const char *uri, char *buf, size_t cap)
{
    const char *authority = uri_behind_scheme(uri), *host;
    if (!authority || !strncasecmp(uri, "file:", 5))
        return NULL;
    const struct remote *r = config_remote(c, uri);
    if (r)
        return r->name;
    (void)uri_userinfo(authority, &host);
    int n = snprintf(buf, cap, "%.*s%.*s", (int)(authority - uri), uri, (int)strcspn(host, "/?#"), host);
    if (n < 0 || (size_t)n >= cap)
        return NULL;
    for (char *p = buf; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return buf;
}
