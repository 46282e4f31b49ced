/* Signs of life, and the grace of a shutdown. */
#include "role/role.h"

#include <sys/statvfs.h>

#include "base/sys.h"

void role_alive(const struct role *role)
{
    if (role->beat)
        __atomic_store_n(role->beat, sys_mono_ms(), __ATOMIC_RELAXED);
}

int64_t role_grace(const struct role *role)
{
    static int64_t asked_mono_ms;
    int stops = sys_stop_requested();
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
