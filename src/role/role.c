/* Signs of life, the grace of a shutdown, and what the queue is told by whoever starts. */
#include "role/role.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/sys.h"
#include "role/enrich.h"

void role_alive(const struct role *role)
{
    if (role->beat)
        __atomic_store_n(role->beat, sys_mono_ms(), __ATOMIC_RELAXED);
}

int64_t role_grace(const struct role *role)
{
    static int64_t asked_mono_ms;
    int stops = sys_stop_requested();
    if (role->until_mono_ms && sys_mono_ms() >= role->until_mono_ms)
        return 0;
    if (!stops)
        return -1;
    if (stops > 1)
        return 0;
    if (!asked_mono_ms)
        asked_mono_ms = sys_mono_ms();
    int64_t left = asked_mono_ms + role->config->shutdown_timeout_ms - sys_mono_ms();
    return left > 0 ? left : 0;
}

bool role_goes_on(const struct role *role) { return role_grace(role) < 0 && !sys_reload_requested(); }

int role_look_at_spool(struct queue *q, const struct config *c, struct queue_spool *s, struct err *err)
{
    struct statvfs fs;
    int rc = statvfs(c->spool, &fs);
    *s = (struct queue_spool){ .quota = c->limits.spool };
    if (rc == 0) {
        s->free = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
        s->keep = c->limits.spool_free;
    }
    queue_spool_set(q, s);
    return rc < 0 ? err_sys(err, "look at the file system of '%s'", c->spool) : 0;
}

/* Each pair of a pipeline and an [enrich] once. */
static int pairs_of(const struct pipeline *p, const struct config *c, struct enriched *pairs)
{
    int n = 0;
    for (int i = 0; i < p->nparts; i++)
        for (int k = 0; k < p->parts[i].nenrich; k++) {
            const char *name = p->parts[i].enrich[k];
            int same = 0;
            while (same < n && strcmp(pairs[same].enrich, name))
                same++;
            pairs[same] = (struct enriched){ p->name, name, enrich_rule(config_enrich(c, name)) };
            n += same == n;
        }
    return n;
}

int role_tell_enriched(struct queue *q, const struct config *c, struct err *err)
{
    size_t most = 0;
    int n = 0;
    for (int i = 0; i < c->npipelines; i++)
        for (int k = 0; k < c->pipelines[i].nparts; k++)
            most += (size_t)c->pipelines[i].parts[k].nenrich;
    struct enriched *pairs = calloc(most + 1, sizeof *pairs);
    if (!pairs)
        return err_nomem(err);
    for (int i = 0; i < c->npipelines; i++)
        n += pairs_of(&c->pipelines[i], c, pairs + n);
    int rc = job_enriched_set(q, pairs, n, err);
    free(pairs);
    return rc;
}
