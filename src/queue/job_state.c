/*
 * The one table of a job's states and of the ways between them. The schema holds the same rules
 * (schema.sql), and a test compares them.
 */
#include "queue/job.h"

#include <string.h>

#define TO(s) (1u << JOB_##s)
static const struct {
    const char *name;
    unsigned next;
} job_states[JOB_STATES] = {
    [JOB_READY] = { "ready", TO(RUNNING) | TO(CANCELLED) },
    [JOB_RUNNING] = { "running", TO(STAGED) | TO(READY) | TO(DEAD) | TO(CANCELLED) },
    [JOB_STAGED] = { "staged", TO(LOADING) | TO(CANCELLED) },
    [JOB_LOADING] = { "loading", TO(LOADED) | TO(SUPERSEDED) | TO(STAGED) | TO(DEAD) },
    [JOB_LOADED] = { "loaded", 0 },
    [JOB_SUPERSEDED] = { "superseded", TO(LOADED) },
    [JOB_DEAD] = { "dead", TO(READY) | TO(CANCELLED) | TO(LOADED) },
    [JOB_CANCELLED] = { "cancelled", TO(LOADED) },
};

const char *job_state_name(enum job_state s)
{
    return job_states[s].name;
}

int job_state_by_name(const char *name)
{
    for (int i = 0; i < JOB_STATES; i++)
        if (!strcmp(job_states[i].name, name))
            return i;
    return -1;
}

bool job_is_over(enum job_state s)
{
    return s == JOB_LOADED || s == JOB_SUPERSEDED || s == JOB_DEAD || s == JOB_CANCELLED;
}

bool job_may(enum job_state from, enum job_state to)
{
    return job_states[from].next >> to & 1;
}
