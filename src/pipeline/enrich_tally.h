/*
 * What became of the keys that a job asked an [enrich] for: counted by its step (enrich.c), told in the job's result, kept by the queue.
 * As JSON it comes from the reader child, which touched foreign bytes: enrich_tally_is() is what the worker takes of it.
 *
 * keys = found + missed + failed. A key counts when it is settled; of those that were asked about and forgotten again (there is room
 * for some ten thousand) one counts as often as it was asked about.
 */
#ifndef QETL_PIPELINE_ENRICH_TALLY_H
#define QETL_PIPELINE_ENRICH_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "io/config.h"

enum { TALLY_WHY = 300 };

struct enrich_tally {
    uint64_t keys;
    uint64_t cached; /* of them: answered from the cache, whatever the answer was */
    uint64_t missed, failed;
    uint64_t bare;   /* missed, because the answer has nothing where the paths of the columns lead */
    char why[TALLY_WHY]; /* the newest failure; "": none */
};

/* {"pipeline":…,"enrich":…,"keys":…,"cached":…,"missed":…,"failed":…,"error":…,"note":…} into an open array; nothing when no key was
 * settled. recipe: its name. note: what is strange about it all, else null. */
void enrich_tally_json(const struct enrich_tally *e, const struct enrich_config *c, const char *recipe, struct json_out *o);
/* Is the text an array of such elements, one at most for each [enrich] of a part of p, in their order, whose numbers add up? */
bool enrich_tally_is(const char *text, const struct pipeline *p);

#endif
