/*
 * What the queue knows of the columns of recipes and jobs: the header that a recipe's last job had, columns that were added, findings
 * of drift, profiles, what became of enrichments, and the report of it all by pipeline. They are written with the outcome of a job (job_finish_claim()) and go
 * with it; only headers and added columns stay. Times are ms since 1970 UTC.
 */
#ifndef QETL_QUEUE_DRIFT_H
#define QETL_QUEUE_DRIFT_H

#include "io/row.h"
#include "queue/job.h"

/* 1: malloc'ed, 0: none, -1. */
int job_header_get(struct queue *q, const char *recipe, char **names, struct err *err);
int job_added_get(struct queue *q, const char *recipe, char **columns, struct err *err);
/* Keep columns for this recipe that a job brought; one whose name is kept already stays as it is. On disk when it returns 0: staged
 * rows are to have no column that a later job does not know of. When the job ends without having been loaded they are forgotten, with
 * the headers of the recipe. */
int job_added_put(struct queue *q, const char *recipe, const struct columns *columns, int64_t job, struct err *err);
/* The job is loaded, with these columns among those that its table got: they stay, also where the job that brought them dies. columns: as
 * job_added_get() gives them. */
int job_added_loaded(struct queue *q, const char *recipe, const char *columns, int64_t job, struct err *err);
/* A column that was added to the recipe, and with it what its headers were, so that it is news when it comes again: 1 forgotten, 0 there
 * is none of that name (letters of either case), -1. */
int job_added_forget(struct queue *q, const char *recipe, const char *name, struct err *err);

/* ---- reading, one row at a time through a callback; a return other than 0 ends it ---- */
struct added_row { const char *recipe, *name, *column; int64_t job, at; }; /* column: as columns= has it */
/* recipe: NULL: all. */
int job_added_list(struct queue *q, const char *recipe, int (*row)(void *arg, const struct added_row *r), void *arg, struct err *err);
struct drift_row { int64_t job; const char *kind, *pipeline, *column, *member, *detail; };
int job_drift(struct queue *q, int64_t id, int (*row)(void *arg, const struct drift_row *r), void *arg, struct err *err);
/* error: the newest failure; note: what is strange about the answers of one job; or NULL */
struct tally_row { const char *pipeline, *enrich; int64_t keys, cached, missed, failed; const char *error, *note; };
int job_tally(struct queue *q, int64_t id, int (*row)(void *arg, const struct tally_row *r), void *arg, struct err *err);
/* What programs of the job that ended well wrote to standard error: 1, malloc'ed; 0: nothing; -1. */
int job_said(struct queue *q, int64_t id, char **text, struct err *err);
struct profile_row { const char *pipeline, *document; };
int job_profiles(struct queue *q, int64_t id, int (*row)(void *arg, const struct profile_row *r), void *arg, struct err *err);

/* Which jobs a report is about. */
struct report_of {
    const char *pipeline; /* NULL: all */
    int64_t since;        /* made then or later; 0: any time */
    int64_t first, ended; /* instead of since: the number of the first, and over then or later; see job_report_open() */
};
struct report_row {
    const char *pipeline;
    int64_t jobs, loaded, superseded, dead, cancelled; /* jobs: all of them, also those that are not over */
    int64_t rows_read, rows_loaded, rows_rejected, rows_filtered, rows_added, bytes_in, bytes_out, errors, drift;
    int64_t took_ms, took, took_max_ms; /* from claim to end: the sum over so many that are loaded or dead, and the longest */
};
int job_report(struct queue *q, const struct report_of *of, int (*row)(void *arg, const struct report_row *r), void *arg,
               struct err *err);
/* Findings of those jobs, the newest first, at most max. */
int job_report_drift(struct queue *q, const struct report_of *of, int64_t max, int (*row)(void *arg, const struct drift_row *r),
                     void *arg, struct err *err);
/* What became of their enrichments, by part and [enrich]. */
int job_report_tally(struct queue *q, const struct report_of *of, int (*row)(void *arg, const struct tally_row *r), void *arg,
                        struct err *err);
/* The oldest job that is not over, or is dead; where there is none the number that the next one will have at least. Who asks before it
 * works finds all that it did by this and the time. */
int job_report_open(struct queue *q, int64_t *first, struct err *err);

#endif
