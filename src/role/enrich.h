/*
 * The worker's side of enrichments: answers what the reader child asks (pipeline/enrich.h), from the cache (io/answers.h) or by requests
 * (io/requests.h), many at once, within what interval=, quota= and the server allow to all workers together.
 *
 * One question at a time; nothing here waits: enrich_fd() is polled beside the child's own descriptors, and enrich_tick() does what can
 * be done. Bodies go to the child as they came, in a memory file; nobody looks into them here but for error= (pipeline/enrich_judge.h).
 * What an answer brought is in the cache before the child has it, all but the last second's.
 *
 * A request that fails for a reason that may pass is sent again, `retries` times. A server that asks to be left alone, or fails again and
 * again, is left alone by all workers (io/answers.h): that is waited for here for half a minute at most, else the question fails with
 * enrich-busy or enrich-down; but where on_error is not fail, what would be asked of a server that is down counts as failed. A quota
 * that is used up, or an interval that makes the next request wait for longer than that, fails it with enrich-quota. enrich_held()
 * tells the queue, so that no job is begun before.
 */
#ifndef QETL_ROLE_ENRICH_H
#define QETL_ROLE_ENRICH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/answers.h"
#include "io/config.h"
#include "queue/job.h"

struct enrich;
/* The cache is opened when the first question comes. config is borrowed. */
int enrich_open(struct enrich **out, const struct config *config, struct err *err);
void enrich_close(struct enrich *e); /* NULL is fine */

/* Take a question about the n-th [enrich] of the ini. -1: it has no answer, and *err is for who asked. */
int enrich_ask(struct enrich *e, uint64_t number, struct str question, struct err *err);
/* To poll for POLLIN, always the same; -1: there is no [enrich]. */
int enrich_fd(const struct enrich *e);
/* 1: the answer is in the file *fd, which is the caller's, and has *bytes; 0: not yet, or nobody asked; -1: there is none, and *err is
 * for who asked. */
int enrich_tick(struct enrich *e, int *fd, uint64_t *bytes, struct err *err);
/* Nobody waits for the answer any more. */
void enrich_abandon(struct enrich *e);
/* Did a question since the last call meet with something that holds all who ask the same [enrich]? The last that did; what it
 * points to is valid until the next question. */
bool enrich_held(struct enrich *e, struct job_hold *out);
/* The cache of all workers of the queue: 1. 0: there is none yet, and make is false. */
int enrich_cache(const struct config *config, bool make, struct answers **out, struct err *err);
/* What binds all who ask it together. */
struct ask_limits enrich_limits(const struct enrich_config *c);
/* By what it may be held: as long as this is the same, a hold is about it. */
uint64_t enrich_rule(const struct enrich_config *c);

#endif
