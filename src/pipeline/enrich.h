/*
 * What the enrichment of rows asks the worker, and what it is told. The step (enrich.c) knows rows and reads answers, which are foreign
 * bytes; the worker (role/enrich.h) has cache, limits and network, and looks into an answer for error= alone. Both forms are packed
 * (base/pack.h):
 *
 *   question  verdicts on the last answers of this [enrich]: their number, then for each: item, enum enrich_verdict
 *             items: their number, then for each and each input of the [enrich], in its order: may it stand in JSON as it is?, its text
 *   answer    for each item that is answered, in any order: item, enum enrich_kind, is it fresh (not from the cache)?, bytes: the
 *             body, or why it failed
 *
 * An item that the answer leaves out is to be asked again.
 */
#ifndef QETL_PIPELINE_ENRICH_H
#define QETL_PIPELINE_ENRICH_H

#include "pipeline/step.h"

enum {
    ENRICH_ITEMS_MAX = BATCH_ROWS,  /* of a question */
    ENRICH_QUESTION_MAX = 1 << 20,  /* bytes after which no item is added to a question */
    ENRICH_ITEM_MAX = 64 * 1024,    /* bytes of an item: a longer one is not asked for */
};

enum enrich_verdict {
    VERDICT_MISS,  /* there is nothing in it where the columns look; with other columns there may be */
    VERDICT_WRONG, /* ... cannot be read: it is of no use in the cache */
    VERDICTS
};

enum enrich_kind { KIND_BODY, KIND_NONE, KIND_FAILED, KINDS };

#endif
