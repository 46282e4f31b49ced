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

enum { PIPELINE_PARTS_MAX = CONFIG_PARTS_MAX };

struct pipeline_counts {
    uint64_t read, staged, rejected, filtered;
    uint64_t added; /* rows: read + added = staged + rejected + filtered, checked */
    uint64_t bytes_in, bytes_out;              /* of the objects as fetched; unpacked */
    uint64_t members;
    uint64_t late;      /* rows with an event time before the watermark */
    uint64_t late_told; /* of a replay: so many of those its job refused for that, and counted */
    int64_t greatest; /* event time in us since 1970 UTC, none ahead of the clock; EVENT_NONE */
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

/* What the queue knows of a part. Texts, or NULL; whoever fills it owns them, all others borrow. */
struct part_known {
    char *columns; /* inferred: of a part without columns= */
    char *added;   /* columns that on_new_column = add put behind those */
    char *header;  /* of the last job, see pipeline/drift.h */
};
/* What a run found of a part: texts, malloc'ed, or NULL. */
struct part_found {
    char *added;   /* columns that are to be added: the job has to run again, with them */
    char *header;
    char *profile; /* see pipeline/profile.h */
};
void part_known_clear(struct part_known *k);
void part_found_clear(struct part_found *f);
/* The columns that a part reads; optional and `added` ones at the end. */
int part_columns(struct columns *out, const struct recipe *recipe, const struct part_known *known, struct err *err);

/* Start. config, p, uid and params (of the job; params: a JSON object, or NULL) and stage are borrowed. known: of each part; NULL: nothing. */
int pipeline_start(struct pipeline_run **out, const struct config *config, const struct pipeline *p, const char *uid,
                   const char *params, const struct part_known *known, const struct stage *stage, struct err *err);
void pipeline_asks(struct pipeline_run *r, struct asker asker); /* before the first object */
/* Rows whose event time (us since 1970 UTC) is before it are late; EVENT_NONE: none is. Before the first object. */
void pipeline_watermark(struct pipeline_run *r, int64_t watermark);
/* Keep the first rows of each table as text (output.sample). */
void pipeline_sample(struct pipeline_run *r);
/* One object: unpack, and each member that a part wants: format, cast, encode. */
int pipeline_object(struct pipeline_run *r, struct input *in, const char *uri, struct err *err);
/* All objects are through: finishes the steps, the encoders and rejects, checks the counts. outputs: room for PIPELINE_PARTS_MAX + 1.
 * -1 with drift: there are columns to be added, see pipeline_found(). */
int pipeline_finish(struct pipeline_run *r, struct output *outputs, int *noutputs, struct err *err);
/* The job failed by ERR_REJECTS: the refused rows that can be shown, as its only output, inline. */
void pipeline_refused(struct pipeline_run *r, struct output *outputs, int *noutputs);
/* Of a run that is over, well or not: findings of drift as a JSON array (an empty text: none), and those of each part; room for
 * PIPELINE_PARTS_MAX. -1: no-memory. */
int pipeline_found(struct pipeline_run *r, struct buf *drift, struct part_found *parts, struct err *err);
/* The same of its enrichments: a JSON array (pipeline/enrich_tally.h); an empty text: nothing was asked for. -1: no-memory. */
int pipeline_tally(const struct pipeline_run *r, struct buf *out, struct err *err);
const struct pipeline_counts *pipeline_counts(const struct pipeline_run *r); /* so far */
void pipeline_end(struct pipeline_run *r);

/* Is a member of that name for this recipe? A glob of member= matches the whole name or its last part. */
bool pipeline_wants(const struct recipe *recipe, const char *member);

#endif
