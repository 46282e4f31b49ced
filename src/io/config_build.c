/* What the files of io/config share. See config_build.h. */
#include "io/config_build.h"

#include <string.h>

/* ---- memory ---- */

char *build_keep(struct build *b, struct str s)
{
    char *p = arena_dup(&b->c->arena, s);
    if (!p)
        b->ini.failed = true;
    return p;
}

void *build_zeroed(struct build *b, size_t n, size_t size)
{
    size_t bytes = mem_product(n ? n : 1, size);
    void *p = bytes == SIZE_MAX ? NULL : arena_alloc(&b->c->arena, bytes);
    if (p)
        memset(p, 0, bytes);
    else
        b->ini.failed = true;
    return p;
}

/* ---- keys ---- */

const struct ini_entry *build_entry(const struct build *b, int section, const char *name, const struct ini_entry *before)
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

/* What of a recipe is not to be trusted where this key has a fault. */
static unsigned faulty_by(const char *key, bool unread)
{
    static const char *const meeting[] = { "mode", "key", "update_only_if_changed", "version", "deleted", "missing", "undo" },
                      *const rest[] = { "table", "after_load", "max_rejects", "empty" };
    for (size_t i = 0; i < COUNT_OF(meeting); i++)
        if (!strcmp(key, meeting[i]))
            return unread ? FAULTY_MODE : FAULTY_KEY;
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        if (!strcmp(key, rest[i]))
            return FAULTY_REST;
    return FAULTY_ROWS;
}

void build_mark(struct build *b, int section, const char *key, bool unread)
{
    unsigned by = faulty_by(key, unread);
    const struct bound *s = &b->bound[section];
    const struct key *k = s->def ? key_find(s->def, key) : NULL;
    struct pipeline *p = s->pipeline;
    if (!k)
        return;
    if (k->scope == AT_ENRICH || k->scope == AT_LOOKUP)
        b->c->faulty = true;
    else if (k->scope == AT_PIPELINE)
        p->faulty = true;
    else if (k->scope == AT_RECIPE)
        s->recipe->faulty |= by;
    for (int i = 0; k->scope == AT_RECIPE && !s->part && i < p->nparts; i++)
        p->parts[i].faulty |= by;
}

void build_fault(struct build *b, int section, const char *key, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const struct ini_entry *e = build_entry(b, section, key, NULL);
    build_mark(b, section, key, false);
    if (!e && b->bound[section].parent >= 0)
        e = build_entry(b, b->bound[section].parent, key, NULL);
    const struct ini_section *s = &b->ini.sections[e ? e->section : section];
    ini_fault(&b->ini, e ? e->file : s->file, e ? e->line : s->line, "[%s] %s: %s", s->text, key,
              text);
}

bool build_given(const struct build *b, int section, const char *key)
{
    return build_entry(b, section, key, NULL) ||
           (b->bound[section].parent >= 0 && build_entry(b, b->bound[section].parent, key, NULL));
}

static const char *place_at(struct build *b, int file, int line)
{
    struct buf place = { 0 };
    buf_addf(&place, "%s:%d", b->ini.files[file], line);
    const char *kept = place.failed ? NULL : build_keep(b, buf_str(&place));
    b->ini.failed |= place.failed;
    buf_clear(&place);
    return kept;
}

static int keys_of(const struct build *b, int section)
{
    int n = 0;
    for (int i = 0; i < b->ini.nentries; i++)
        n += b->ini.entries[i].section == section;
    return n;
}

const struct key_place *build_places(struct build *b, int section)
{
    int parent = b->bound[section].parent, of[] = { section, parent }, n = 0;
    struct key_place *places = build_zeroed(b, (size_t)(keys_of(b, section) + (parent >= 0 ? keys_of(b, parent) : 0) + 1), sizeof *places);
    for (int k = 0; k < (parent >= 0 ? 2 : 1); k++)
        for (int i = 0; i < b->ini.nentries && !build_failed(b); i++) {
            const struct ini_entry *e = &b->ini.entries[i];
            if (e->section == of[k])
                places[n++] = (struct key_place){ build_keep(b, str_of(e->name)), place_at(b, e->file, e->line) };
        }
    if (!build_failed(b))
        places[n].at = place_at(b, b->ini.sections[section].file, b->ini.sections[section].line);
    return places;
}

/* ---- targets ---- */

unsigned build_target_kind(const struct target_config *t)
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

void build_check_fit(struct build *b, int i, const struct target_config *t)
{
    static const struct {
        unsigned kind;
        const char *name;
    } names[] = { { FOR_SQLITE, "SQLite" }, { FOR_SQL, "databases" }, { FOR_OBJECTS, "object stores and directories" } };
    unsigned kind = build_target_kind(t);
    const struct key *k;
    for (int n = 0; (k = key_at(b->bound[i].def, n)); n++)
        for (size_t f = 0; f < COUNT_OF(names); f++)
            if ((k->flags & names[f].kind) && !(kind & names[f].kind) && build_entry(b, i, k->name, NULL))
                build_fault(b, i, k->name, "is for %s only, and target '%s' is a '%.*s:'", names[f].name, t->name,
                            (int)strcspn(t->url, ":"), t->url);
}
