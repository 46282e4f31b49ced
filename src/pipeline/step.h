/*
 * Steps: what typed rows go through between cast and encode, in the order of the table in step.c. Each step takes the rows of one
 * part, batch by batch, and gives rows to the next one; the last one is the pipeline's, which stages them.
 *
 * A batch has at most BATCH_ROWS rows.
 *
 * A new step is one file with a `struct step_kind`, and one line in that table. A part that wants no step has none, and pays nothing.
 *
 * Counts: a step that drops a row adds to `filtered`, one that gives more rows than it took adds the difference to `added`; a row
 * that it refuses goes to the rejects. So that at the end read + added = staged + rejected + filtered.
 */
#ifndef QETL_PIPELINE_STEP_H
#define QETL_PIPELINE_STEP_H

#include "io/config.h"
#include "io/rejects.h"
#include "io/row.h"
#include "pipeline/pipeline.h"

/* Which key of the ini an open() found at fault. */
struct step_fault {
    const char *place, *key; /* FILE:LINE */
};

/* Who wants the rows that a part stages. row: of its columns; it lives until this returns. */
struct part_reader {
    int (*row)(struct part_reader *reader, const struct value *row, struct err *err);
    struct part_reader *next;
};
/* A part whose rows SQL of other parts reads as a table (lookup_parts=). */
struct part_table {
    const char *name;              /* in SQL: that of the part, without the pipeline's */
    const struct recipe *recipe;   /* of that part */
    const struct columns *columns; /* of its rows as they are staged */
    struct part_reader *readers;   /* steps put themselves here; NULL: nobody reads it */
};

/* The part that a step works for. Lives longer than the step. */
struct step_part {
    const struct config *config;
    const struct pipeline *pipeline;
    const struct recipe *recipe;
    const char *uid, *params; /* of the job; params: a JSON object, or NULL */
    struct rejects *rejects;  /* knows the object and the member at hand */
    struct pipeline_counts *counts;
    const struct asker *asker; /* whom to ask what is not in the rows */
    const struct stage *stage;  /* NULL: as steps_check says */
    struct step_fault *fault;   /* NULL: nobody asks */
    struct buf *profile;      /* for the document of the step of that name */
    int64_t watermark;        /* see pipeline_watermark() */
    struct step *aside;       /* where late rows go that have a table of their own; NULL: they have none */
    struct enrich_tally *tallies; /* counts of each [enrich] of the recipe, in its order; as stage */
    struct part_table *tables; /* of the pipeline's parts, by their places; those that the recipe reads are filled. NULL: it reads none */
};

struct step_kind;
struct step {
    const struct step_kind *kind;
    const struct step_part *part;
    const struct columns *columns; /* of the rows that it gives */
    struct step *next;
};

struct step_kind {
    const char *name;
    bool (*wanted)(const struct recipe *recipe);
    /* Opened for rows of the columns `in`, which live as long as the step; fills *out, all but kind, part and next. Without part->stage
     * nothing outside of the step is opened, read or started: only what is wrong with the ini is told. */
    int (*open)(struct step **out, const struct step_part *part, const struct columns *in, struct err *err);
    /* Take a batch, which lives until this returns and may be changed. What it gives to step->next lives until that returns. */
    int (*rows)(struct step *step, struct rows *rows, struct err *err);
    /* There are no more rows of this job. What was held back goes to the next step; the pipeline calls that one's finish. NULL: nothing is. */
    int (*finish)(struct step *step, struct err *err);
    void (*close)(struct step *step);
};

/* The kinds, each in a file of its name; a line for each. */
extern const struct step_kind step_distinct;
extern const struct step_kind step_enrich;
extern const struct step_kind step_filter;
extern const struct step_kind step_profile;
extern const struct step_kind step_late;

extern const struct step_kind step_where, step_transform;

/* Those that the part wants, linked, and `last`, the pipeline's, behind them. *columns, of the rows that the first takes, are then
 * those of the rows that `last` takes. -1: as a step says; *first is then NULL. */
int steps_open(struct step **first, struct step *last, const struct step_part *part, const struct columns **columns,
               struct err *err);
/* Open them for `qetlctl check`: part has config, pipeline, recipe and fault, and nothing else. *out: the columns of the rows that the steps give for rows of the columns `in`. -1: the first fault. */
int steps_check(struct columns *out, const struct step_part *part, const struct columns *in, struct err *err);
static inline int step_give(struct step *step, struct rows *rows, struct err *err)
{
    return step->next->kind->rows(step->next, rows, err);
}
/* All rows are through: finish each in turn. */
int steps_finish(struct step *first, struct err *err);
void steps_close(struct step *first);

#endif
