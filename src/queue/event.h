/*
 * Event time: how far the events of a pipeline are complete, by what its loaded jobs say.
 *
 * The watermark of a pipeline is the greatest event time of its loaded jobs less allowed_lateness. A job has the watermark of its
 * first claim, or the end of a window that is under way, until it dies, so that each attempt of it finds the same rows late; what it moves the watermark to stands beside it
 * when it is staged, and the watermark moves in the transaction that records it as loaded. It never goes back.
 *
 * after_load gets a window of it, so that by windows each row that is not late is taken once. Lateness is decided when a job is begun,
 * and jobs are begun before others are loaded; so a window ends where a job that was begun and is to come may still bring rows
 * that are not late, and is fixed on disk before the target may commit it. A job that is begun later finds late what it
 * would bring into that window.
 *
 * Times are microseconds since 1970 UTC, as of typed rows; EVENT_NONE: there is none.
 */
#ifndef QETL_QUEUE_EVENT_H
#define QETL_QUEUE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/row.h"
#include "queue/queue.h"

struct job_event {
    int64_t watermark; /* rows before it are late */
    int64_t greatest;  /* event time of its rows */
    int64_t reaches;   /* the watermark once it is loaded, unless that is further on */
    int64_t late;      /* rows */
    int64_t late_told; /* of those: rows that the job whose rejects it reads has counted */
};

/* The watermark that binds the job: fixed now, at its first claim, if that is still its token; else that of then. */
int event_begin(struct queue *q, int64_t job, int64_t token, const char *pipeline, int64_t *watermark, struct err *err);
/* 1; 0: its pipeline has no event_time, or it was never claimed; -1. */
int event_of_job(struct queue *q, int64_t job, struct job_event *out, struct err *err);
/* upto: where the last window ended. */
int event_watermark(struct queue *q, const char *pipeline, int64_t *at, int64_t *upto, struct err *err);
/* Inside a transaction: the job is staged, with these rows; is loaded (one without event time, too); ended otherwise. */
int event_staged(struct queue *q, int64_t job, const struct job_event *e, struct err *err);
int event_loaded(struct queue *q, int64_t job, const char *pipeline, struct err *err);
int event_forget(struct queue *q, int64_t job, struct err *err);

/* What after_load of a staged job works on. */
struct event_window {
    int64_t job, seq;
    const char *pipeline;
    int64_t since, upto; /* out; since EVENT_NONE: from the beginning; upto EVENT_NONE: nothing is complete yet */
    int64_t reached;     /* out: the watermark with it */
};
/* Of jobs that are to be loaded in one commit, in the order of seq, with nothing of their lanes between them; the pipelines are borrowed.
 * Written down, and on disk, so that a load that is repeated, because nobody knows whether it was committed, has the same ones. That
 * holds because a job is never committed unless those before it in v are: when one is refused, those of its pipeline behind it
 * wait until that is recorded. */
int event_windows(struct queue *q, struct event_window *v, int n, struct err *err);

struct watermark_row {
    const char *pipeline;
    int64_t at, late, job; /* late: rows of all its jobs; job: that moved it last */
};
int event_rows(struct queue *q, int (*row)(void *arg, const struct watermark_row *r), void *arg, struct err *err);

#endif
