/*
 * Tables of one target that somebody else has locked, as the loader met them: their jobs wait without being tried, so that no group waits
 * for the same lock twice. Kept in memory only: a loader that begins tries all once.
 */
#ifndef QETL_ROLE_LOCKED_H
#define QETL_ROLE_LOCKED_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/job.h"

enum { LOCKED_TABLES = 16 /* of more the one that is tried soonest is forgotten */ };
struct locked {
    struct locked_table {
        char name[sizeof((struct output *)0)->table];
        int64_t until_mono_ms;
        struct err why;
    } v[LOCKED_TABLES];
    int n;
};

/* The job met a lock on one of its tables: they are left alone until then. */
void locked_note(struct locked *l, const struct staged_job *job, const struct err *why, int64_t until_mono_ms);
/* For so long its tables are left alone, with the longest one's *why; 0: it can be tried. */
int64_t locked_left_ms(const struct locked *l, const struct staged_job *job, int64_t now_mono_ms, const struct err **why);
/* Was one of its tables locked when it was tried last? */
bool locked_known(const struct locked *l, const struct staged_job *job);
/* It was loaded: none of its tables is locked. */
void locked_forget(struct locked *l, const struct staged_job *job);

#endif
