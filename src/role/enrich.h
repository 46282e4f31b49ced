/*
 * The worker's side of enrichments: answers what the reader child asks (pipeline/enrich.h), from the cache (io/answers.h) or by requests
 * (io/requests.h), many at once, within what interval=, quota= and the server allow to all workers together.
 *
 * One question at a time; nothing here waits: enrich_fd() is polled beside the child's own descriptors, and enrich_tick() does what can
 * be done. Bodies go to the child as they came, in a memory file; nobody looks into them here. What an answer brought is in the cache
 * before the child has it, all but the last second's.
 *
 * A request that fails for a reason that may pass is sent again, `retries` times. A server that asks to be left alone is, by all workers:
 * for half a minute at most here, else the question fails with enrich-busy. A quota that is used up, or an
 * interval that makes the next request wait for longer than that, fails it with enrich-quota; both say when to try again.
 */
#ifndef QETL_ROLE_ENRICH_H
#define QETL_ROLE_ENRICH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/config.h"

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

#endif
