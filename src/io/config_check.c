/* Checks of remotes, targets and the whole. See config_build.h. */
#include "io/config_build.h"

#include <string.h>
#include <strings.h>

static void check_remote(struct build *b, int i)
{
    const struct remote *r = b->bound[i].object;
    if (!r->url) {
        if (!build_given(b, i, "url"))
            build_fault(b, i, "url", "missing: the beginning of the URIs this is about");
        return;
    }
    if (strncasecmp(r->url, "sftp://", 7) == 0 && !r->known_hosts && !r->host_key_sha256)
        build_fault(b, i, "url",
                    "an sftp host needs known_hosts or host_key_sha256; without one anybody could "
                    "stand in for it");
    for (const struct remote *o = b->c->remotes; o < r; o++)
        if (o->url && strcmp(o->url, r->url) == 0)
            build_fault(b, i, "url", "[remote %s] has the same url", o->name);
}

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

static void check_target(struct build *b, int i)
{
    build_check_fit(b, i, b->bound[i].object);
    if (!build_given(b, i, "url"))
        build_fault(b, i, "url",
                    "missing: the warehouse, such as sqlite:///var/lib/qetl/warehouse.db");
}

void build_check(struct build *b)
{
    int worker = -1;
    for (int i = 0; i < b->ini.nsections && !build_failed(b); i++) /* pipelines look at their columns */
        if (b->bound[i].def == &section_defs[AT_ENRICH])
            build_check_enrich(b, i);
    for (int i = 0; i < b->ini.nsections && !build_failed(b); i++) {
        const struct bound *s = &b->bound[i];
        if (s->def == &section_defs[AT_REMOTE])
            check_remote(b, i);
        else if (s->def == &section_defs[AT_TARGET])
            check_target(b, i);
        else if (s->def == &section_defs[AT_LOOKUP])
            build_check_lookup(b, i);
        else if (s->def == &section_defs[AT_WORKER])
            worker = i;
        if (s->def == &section_defs[AT_PIPELINE] && s->object)
            build_check_pipeline(b, i);
        if (s->def == &section_defs[AT_PIPELINE] && (s->part || s->recipe == s->pipeline->parts))
            build_check_recipe(b, i);
    }
    for (int i = 0; i < b->ini.nsections && !build_failed(b); i++)
        if (b->bound[i].def == &section_defs[AT_PIPELINE] && b->bound[i].object) {
            build_check_order(b, i);
            build_bind_late(b, i);
        }
    if (worker >= 0 && b->c->heartbeat_ms > b->c->lease_ms / 2)
        build_fault(b, worker, build_given(b, worker, "heartbeat") ? "heartbeat" : "lease",
                    "expected heartbeat to be at most half of lease");
}
