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
#include "io/config_build.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>

const char *const load_mode_names[MODES] = { "append", "replace", "upsert", "insert_ignore", "history" };

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
    build_mark(b, e->section, e->name, true);
    ini_fault(&b->ini, e->file, e->line, "[%s] %s: %s", label(b, e->section), e->name, text);
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
    if (!e->value)
        build_mark(b, e->section, e->name, true); /* told of already */
    if (!s->def || !e->value)
        return;
    const struct key *k = key_find(s->def, e->name);
    const struct ini_entry *twice = k ? build_entry(b, e->section, e->name, e) : NULL;
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
    char *kind = build_keep(b, (struct str){ s->text, n }), hint[100];
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
        to->name = build_keep(b, (struct str){ name, len });
        to->part = dot ? build_keep(b, str_of(dot + 1)) : NULL;
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
    p->parts = build_zeroed(b, 2 * (size_t)p->nparts, sizeof *p->parts); /* each may have one for its late rows */
    own->recipe = n ? build_zeroed(b, 1, sizeof *p->parts) : p->parts;
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
    c->remotes = build_zeroed(b, (size_t)count(b, AT_REMOTE), sizeof *c->remotes);
    c->targets = build_zeroed(b, (size_t)count(b, AT_TARGET), sizeof *c->targets);
    c->enriches = build_zeroed(b, (size_t)count(b, AT_ENRICH), sizeof *c->enriches);
    c->lookups = build_zeroed(b, (size_t)count(b, AT_LOOKUP), sizeof *c->lookups);
    c->pipelines = build_zeroed(b, (size_t)count(b, AT_PIPELINE), sizeof *c->pipelines);
    for (int i = 0; !build_failed(b) && i < b->ini.nsections; i++) {
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

static void orphan_parts(struct build *b)
{
    for (int i = 0; i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (!s->def || !s->part || s->parent >= 0)
            continue;
        char hint[200];
        nearest(hint, sizeof hint, s->name, config_pipeline_name, b->c);
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
    for (int i = 0; !build_failed(b) && i < b->ini.nentries; i++)
        if (!b->bound[b->ini.entries[i].section].part)
            entry_apply(b, &b->ini.entries[i]);
    for (int i = 0; !build_failed(b) && i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (!s->def || !s->part)
            continue;
        struct buf name = { 0 };
        buf_addf(&name, "%s.%s", s->name, s->part);
        *s->recipe = *b->bound[s->parent].recipe;
        s->recipe->name = name.failed ? NULL : build_keep(b, buf_str(&name));
        b->ini.failed |= name.failed;
        buf_clear(&name);
    }
    for (int i = 0; !build_failed(b) && i < b->ini.nentries; i++)
        if (b->bound[b->ini.entries[i].section].part)
            entry_apply(b, &b->ini.entries[i]);
    environment(b);
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

/* 0: all of it was read, and may have faults. */
static int read_all(struct build *b, const char *file, struct err *err)
{
    if (ini_read(&b->ini, file, err) < 0)
        return -1;
    if (!(b->folder = folder_of(file)) || !(b->c->path = build_keep(b, str_of(file))))
        return err_sys(err, "find the folder of '%s'", file);
    if (!(b->c->folder = build_keep(b, str_of(b->folder))))
        return err_nomem(err);
    b->keys = (struct key_reader){ .arena = &b->c->arena, .folder = b->folder };
    if (read_folder(b, err) < 0)
        return -1;
    b->bound = build_zeroed(b, (size_t)b->ini.nsections, sizeof *b->bound);
    for (enum scope s = AT_QETL; s <= AT_LIMITS; s++)
        key_defaults(&b->keys, s, b->c);
    if (!build_failed(b))
        fill(b);
    if (!build_failed(b))
        build_check(b);
    return build_failed(b) ? err_nomem(err) : 0;
}

int config_read(struct config **out, const char *file, struct buf *faults, struct err *err)
{
    const char *env = getenv("QETL_CONFIG");
    struct build b = { .c = calloc(1, sizeof *b.c), .ini = { .verbatim = key_is_verbatim } };
    *out = NULL;
    if (!b.c)
        return err_nomem(err);
    int rc = read_all(&b, file ? file : env && *env ? env : QETL_CONFIG_FILE, err);
    if (rc < 0)
        config_free(b.c);
    else
        *out = b.c;
    if (rc < 0 && faults)
        buf_addf(faults, "%s\n", err->msg);
    if (rc == 0)
        rc = faults_out(&b, faults, err);
    ini_clear(&b.ini);
    free(b.folder);
    return rc;
}

int config_load(struct config **out, const char *file, struct buf *faults, struct err *err)
{
    struct config *c;
    int rc = config_read(&c, file, faults, err);
    if (rc < 0)
        config_free(c);
    else
        *out = c;
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
