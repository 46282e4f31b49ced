/* See locked.h. */
#include "role/locked.h"

#include <stdio.h>
#include <string.h>

static bool has_table(const struct staged_job *job, const char *name)
{
    for (int i = 0; i < job->noutputs; i++)
        if (job->outputs[i].kind == OUTPUT_ROWS && !strcmp(job->outputs[i].table, name))
            return true;
    return false;
}

/* The place for that table: its own, a free one, or that of the table which is tried soonest. */
static struct locked_table *place_for(struct locked *l, const char *name)
{
    struct locked_table *soonest = &l->v[0];
    for (int i = 0; i < l->n; i++) {
        if (!strcmp(l->v[i].name, name))
            return &l->v[i];
        if (l->v[i].until_mono_ms < soonest->until_mono_ms)
            soonest = &l->v[i];
    }
    return l->n < LOCKED_TABLES ? &l->v[l->n++] : soonest;
}

void locked_note(struct locked *l, const struct staged_job *job, const struct err *why, int64_t until_mono_ms)
{
    for (int i = 0; i < job->noutputs; i++) {
        if (job->outputs[i].kind != OUTPUT_ROWS)
            continue;
        struct locked_table *t = place_for(l, job->outputs[i].table);
        snprintf(t->name, sizeof t->name, "%s", job->outputs[i].table);
        t->until_mono_ms = until_mono_ms;
        t->why = *why;
    }
}

int64_t locked_left_ms(const struct locked *l, const struct staged_job *job, int64_t now_mono_ms, const struct err **why)
{
    int64_t most = 0;
    for (int i = 0; i < l->n; i++)
        if (l->v[i].until_mono_ms - now_mono_ms > most && has_table(job, l->v[i].name)) {
            most = l->v[i].until_mono_ms - now_mono_ms;
            *why = &l->v[i].why;
        }
    return most;
}

bool locked_known(const struct locked *l, const struct staged_job *job)
{
    for (int i = 0; i < l->n; i++)
        if (has_table(job, l->v[i].name))
            return true;
    return false;
}

void locked_forget(struct locked *l, const struct staged_job *job)
{
    for (int i = l->n; i-- > 0;)
        if (has_table(job, l->v[i].name))
            l->v[i] = l->v[--l->n];
}
