/*
 * What every role gets from its supervisor, and the loop that they share.
 */
#ifndef QETL_ROLE_ROLE_H
#define QETL_ROLE_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/config.h"
#include "queue/queue.h"

struct role {
    const struct config *config;
    const char *name;      /* "worker-2.1", in the registry and the log */
    const char *target;    /* loader: the one it serves; NULL: all */
    int64_t *beat;         /* shared with the supervisor: mono ms of the last sign of life; may be NULL */
    bool drain;            /* end when nothing is left to do */
    int64_t drain_wait_ms; /* drain: wait for retries that are due within this time */
    int64_t until_mono_ms; /* from then on as if it had been told to stop, without grace; 0: never */
};

/* A sign of life for the watchdog. Call it at least every few seconds. */
void role_alive(const struct role *role);

/* How much of a shutdown's grace is left: -1 nobody asked to stop; 0 stop now; else ms. */
int64_t role_grace(const struct role *role);

/* Nobody asked to stop, nor to end after the work in hand for a new ini (SIGHUP). A SIGHUP is told once. */
bool role_goes_on(const struct role *role);

/* Tell the queue what it is to know of the spool (queue_spool_set), and the caller, too. -1: that cannot be seen; then as if there
 * were room. */
int role_look_at_spool(struct queue *q, const struct config *c, struct queue_spool *s, struct err *err);

/* Tell it which pipelines ask what, so that what holds an [enrich] holds their jobs, and no longer when the ini says another thing of it.
 * Whoever looks whether anything is left to do has done so before. */
int role_tell_enriched(struct queue *q, const struct config *c, struct err *err);

#endif
