/*
 * One try at the objects of a job: the columns of its parts, the objects through the reader, and what the loader must know of what
 * was staged. A worker makes it for a job of the queue, a rehearsal for one that is in none: they differ in where it is kept what is found
 * out of the columns, and in nothing else here.
 *
 * If power fails: columns that were kept are known to the next try, and go with the job if it dies; staged files without their job are
 * swept.
 */
#ifndef QETL_ROLE_ATTEMPT_H
#define QETL_ROLE_ATTEMPT_H

#include "base/err.h"
#include "io/spool.h"
#include "pipeline/pipeline.h"
#include "queue/event.h"
#include "queue/queue.h"
#include "role/feed.h"

struct attempt {
    struct feed *feed;   /* borrowed, with its pipeline */
    struct queue *queue; /* keeps the columns that are found out, for other jobs too; NULL: they are this attempt's alone. borrowed */
    int64_t job;         /* its number there; of a job that is in none some number that no job has, but not 0 */
    struct part_known known[PIPELINE_PARTS_MAX];
    char *fresh[PIPELINE_PARTS_MAX]; /* those of its added columns that the queue does not have */
};

void attempt_clear(struct attempt *a);
/* What q knows of the parts: inferred and added columns, the header that they had last. */
int attempt_ask(struct attempt *a, struct queue *q, struct err *err);
/* After that: the columns of parts that give none and of which none are known, from the first object. Errors: `infer`, and those of feed_run(). */
int attempt_columns(struct attempt *a, char *const *uris, struct err *err);
/* The objects through the reader; again when it found columns that are to be added (on_new_column = add), which then are known. The
 * queue has them only when they were read without an error. A file that was written to meanwhile is not trusted (`changed`). */
int attempt_read(struct attempt *a, char *const *uris, int n, struct err *err);
/* After that, where feed->sum told what the objects are (dedupe = content): once more without those that q says were loaded before, or
 * that come twice. They then stand behind the others in feed->objects, with same_as. q: NULL: there is no queue yet. */
int attempt_leave_out(struct attempt *a, struct queue *q, char *const *uris, int n, struct err *err);
/* After that: n objects of the job were not read, as the jobs beside them have taken them since (0: none has yet). They stand behind the others
 * in feed->objects. */
int attempt_note_taken(struct attempt *a, char *const *uris, const int64_t *jobs, int n, struct err *err);
/* After that: describe the outputs for the loader (role/outputs.h), and list those in files for spool_publish(). Gives their number; -1. */
int attempt_outputs(struct attempt *a, struct spool_file files[PIPELINE_PARTS_MAX + 1], struct err *err);
/* Remove what it staged. Its folder is its own: whoever holds the job by now has another. Fault point: worker-before-discard. */
void attempt_discard(const struct feed *f);
/* What it found of event time: greatest and reaches are EVENT_NONE where its rows have none. */
struct job_event attempt_event(const struct feed *f);

#endif
