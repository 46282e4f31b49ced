/*
 * A staged job made ready for load_job() of its target, from what its outputs say (role/outputs.h): for the loader, and for a
 * rehearsal, which loads in a transaction that is rolled back.
 */
#ifndef QETL_ROLE_PREPARED_H
#define QETL_ROLE_PREPARED_H

#include <stdint.h>

#include "base/err.h"
#include "io/spool.h"
#include "pipeline/pipeline.h"
#include "queue/job.h"
#include "role/outputs.h"
#include "target/target.h"

struct prepared {
    struct load_job job;
    /* inside */
    struct load_output outputs[PIPELINE_PARTS_MAX];
    struct output_spec specs[PIPELINE_PARTS_MAX];
    char paths[PIPELINE_PARTS_MAX][512];
    char watermark[32], previous[32];
};

/* job is borrowed until prepared_clear(), which is called after a -1, too (staged-damaged). */
int prepared_make(struct prepared *p, const struct spool *spool, const struct staged_job *job, struct err *err);
/* The watermark of its pipeline as after_load sees it, before the job and after it: us since 1970 UTC; EVENT_NONE: there is none. */
void prepared_watermarks(struct prepared *p, int64_t before, int64_t after);
void prepared_clear(struct prepared *p);

#endif
