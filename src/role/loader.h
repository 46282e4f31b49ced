/*
 * The loader: claims staged jobs, puts them in groups into their target, one transaction a group, and records what became of
 * them. The ledger in the target is the truth: whatever dies, at whatever instant, the next loader asks it first.
 */
#ifndef QETL_ROLE_LOADER_H
#define QETL_ROLE_LOADER_H

#include "io/spool.h"
#include "pipeline/pipeline.h"
#include "queue/job.h"
#include "role/outputs.h"
#include "role/role.h"
#include "target/target.h"

struct loader;

/* A staged job made ready for load_job() of its target. */
struct prepared {
    struct load_job job;
    struct load_output outputs[PIPELINE_PARTS_MAX];
    struct output_spec specs[PIPELINE_PARTS_MAX];
    char paths[PIPELINE_PARTS_MAX][512];
    char watermark[32], previous[32];
};
/* job is borrowed until loader_prepared_clear(), which is called after a -1, too (staged-damaged). */
int loader_prepare(const struct spool *spool, struct prepared *p, const struct staged_job *job, struct err *err);
void loader_prepared_clear(struct prepared *p);
/* A watermark (us since 1970 UTC) as after_load sees it; NULL: there is none. */
const char *loader_time_text(char out[32], int64_t us);

/* Opens spool and queue, joins the registry, sweeps the spool. Targets are opened when they have jobs. */
int loader_open(struct loader **out, const struct role *role, struct err *err);
/* From now on it claims this job and no other; its chores stay those of all. */
void loader_only(struct loader *l, int64_t job);
/* One group for each target. *did: jobs settled. -1: the queue or the spool cannot be used. */
int loader_step(struct loader *l, int *did, struct err *err);
void loader_close(struct loader *l); /* NULL is fine */
/* Step and sleep until a stop is asked for (or, draining, nothing is left). */
int loader_run(const struct role *role, struct err *err);

#endif
