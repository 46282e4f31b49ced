/*
 * Waiting for jobs: until they are over, or the time of --timeout is. Whoever waits is told on standard error what holds the job. A
 * wait changes nothing: the jobs go on without us, and if power fails they are where they were.
 */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

enum { PATIENCE_MS = 1000, LOOK_MS = 200 };

static int take_state(void *arg, const struct job_row *r)
{
    *(int *)arg = job_state_by_name(r->state);
    return 0;
}

int ctl_state(struct ctl *c, int64_t id, int *state)
{
    struct job_filter f = { .id = id, .limit = 1 };
    *state = -1;
    return job_list(c->queue, &f, take_state, state, &c->err);
}

int ctl_over(struct ctl *c, int64_t id)
{
    int s;
    if (ctl_state(c, id, &s) < 0)
        return -1;
    return s >= 0 && job_is_over((enum job_state)s);
}

int ctl_timeout(struct ctl *c, const char *text, struct ctl_wait *w)
{
    int64_t ms;
    if (!text_duration(str_of(text), &ms))
        return ctl_usage(c, "--timeout wants a duration such as 30s or 1h30m, not '%s'", text);
    if (__builtin_add_overflow(sys_mono_ms(), ms, &w->until_mono_ms))
        w->until_mono_ms = INT64_MAX;
    return 0;
}

bool ctl_time_over(const struct ctl_wait *w) { return w->until_mono_ms && sys_mono_ms() >= w->until_mono_ms; }

int ctl_waits(struct ctl *c, struct ctl_wait *w, int64_t id)
{
    AUTO(buf_clear) struct buf why = { 0 };
    int64_t now = sys_mono_ms();
    if (!w->since_mono_ms)
        w->since_mono_ms = now;
    if (now - w->since_mono_ms < PATIENCE_MS)
        return 0;
    if (job_explain(c->queue, id, &why, &c->err) < 0)
        return -1;
    char reason[sizeof w->said];
    snprintf(reason, sizeof reason, "%s", why.p);
    if (text_same_but_numbers(reason, w->said)) /* the same gate, whatever the seconds that are left */
        return 0;
    memcpy(w->said, reason, sizeof reason);
    fprintf(stderr, "qetlctl: job %" PRId64 " waits: %s\n", id, w->said);
    return 0;
}

int ctl_until_over(struct ctl *c, struct ctl_wait *w, int64_t id)
{
    w->since_mono_ms = 0;
    for (;;) {
        uint32_t bell = queue_bell(c->queue, BELL_DONE);
        int over = ctl_over(c, id);
        if (over || ctl_time_over(w))
            return over;
        if (ctl_waits(c, w, id) < 0)
            return -1;
        int64_t left = w->until_mono_ms ? w->until_mono_ms - sys_mono_ms() : LOOK_MS;
        if (left > 0)
            queue_sleep(c->queue, BELL_DONE, bell, left < LOOK_MS ? (int)left : LOOK_MS);
    }
}

int ctl_tell(struct ctl *c, int64_t id, bool over, const char *waits)
{
    if (!over)
        fputs("qetlctl: the time of --timeout is over, and the job is not: it stays in the queue\n", stderr);
    return ctl_outcome(c, id, waits);
}

int ctl_wait_for(struct ctl *c, struct ctl_wait *w, int64_t id)
{
    int over = ctl_until_over(c, w, id);
    return over < 0 ? -1 : ctl_tell(c, id, over, NULL);
}
