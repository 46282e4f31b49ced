/*
 * The data path put together from the ini: runs one job over open inputs. Knows no queue and no network; it runs inside the
 * reader child.
 */
#ifndef QETL_PIPELINE_PIPELINE_H
#define QETL_PIPELINE_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "io/input.h"
#include "io/stage.h"

enum { PIPELINE_PARTS_MAX = 10 }; /* SQLite attaches 10 files at most: a job is one transaction */

struct pipeline_counts {
    uint64_t read, staged, rejected, filtered;
    uint64_t added; /* rows: read + added = staged + rejected + filtered, checked */
    uint64_t bytes_in, bytes_out;              /* of the objects as fetched; unpacked */
    uint64_t members;
};

/* Whom a step asks for what it cannot have by itself. NULL: nobody is there. */
struct asker {
    /* What the n-th [enrich] of the ini knows (pipeline/enrich.h has the form of question and answer). */
    int (*ask)(void *arg, int enrich, struct str question, struct buf *answer, struct err *err);
    /* Start the filter= of that part: ends[0] goes to its standard input, ends[1] comes from its standard output; neither blocks, both
     * are the caller's. */
    int (*start_program)(void *arg, int part, int ends[2], struct err *err);
    void *arg;
};

struct pipeline_run;

/* Start. config, p, uid and params (of the job; params: a JSON object, or NULL) and stage are borrowed. columns_override: for parts without columns=, one text a part (or NULL). */
int pipeline_start(struct pipeline_run **out, const struct config *config, const struct pipeline *p, const char *uid,
                   const char *params, const char *const *columns_override, const struct stage *stage, struct err *err);
void pipeline_asks(struct pipeline_run *r, struct asker asker); /* before the first object */
/* One object: unpack, and each member that a part wants: format, cast, encode. */
int pipeline_object(struct pipeline_run *r, struct input *in, const char *uri, struct err *err);
/* All objects are through: finishes the steps, the encoders and rejects, checks the counts. outputs: room for PIPELINE_PARTS_MAX + 1. */
int pipeline_finish(struct pipeline_run *r, struct output *outputs, int *noutputs, struct err *err);
/* The job failed by ERR_REJECTS: the refused rows that can be shown, as its only output, inline. */
void pipeline_refused(struct pipeline_run *r, struct output *outputs, int *noutputs);
const struct pipeline_counts *pipeline_counts(const struct pipeline_run *r); /* so far */
void pipeline_end(struct pipeline_run *r);

/* Is a member of that name for this recipe? A glob of member= matches the whole name or its last part. */
bool pipeline_wants(const struct recipe *recipe, const char *member);

#endif
