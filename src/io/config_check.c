/* Checks of remotes, targets and the whole. See config_build.h. */
#include "io/config_build.h"

#include <string.h>
#include <strings.h>

enum { HEARTBEATS = 6 }; /* in a lease, at least, where the ini does not say */

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

static void check_target(struct build *b, int i)
{
    struct target_config *t = b->bound[i].object;
    t->places = build_places(b, i);
    build_check_fit(b, i, t);
    if (!build_given(b, i, "url"))
        build_fault(b, i, "url",
                    "missing: the warehouse, such as sqlite:///var/lib/qetl/warehouse.db");
}

/* A short lease alone is no fault: it has shorter heartbeats. */
static void check_worker(struct build *b, int i)
{
    int64_t least = b->c->lease_ms / HEARTBEATS;
    if (!build_given(b, i, "heartbeat") && b->c->heartbeat_ms > least)
        b->c->heartbeat_ms = least;
    if (b->c->heartbeat_ms > b->c->lease_ms / 2)
        build_fault(b, i, "heartbeat", "expected heartbeat to be at most half of lease");
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
    if (!build_failed(b))
        build_check_names(b);
    if (worker >= 0)
        check_worker(b, worker);
}
