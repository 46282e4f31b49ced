/*
 * A job that somebody wants: from a JSON message or from single facts, completed by its pipeline. What it holds lives until
 * submission_reset() or submission_clear().
 *
 * The message: {"pipeline": NAME, "objects": [URI, …], "params": {…}, "priority": N, "at": TIME, "unique": KEY}, all but the name
 * optional; "method" stands for "pipeline", so that the bare {"method": NAME, "params": {…}} is a message as it stands.
 */
#ifndef QETL_ROLE_SUBMISSION_H
#define QETL_ROLE_SUBMISSION_H

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "queue/job.h"

enum { SUBMISSION_LANES = 16, PRIORITY_MAX = 1000 /* as priority= of a pipeline */, REMOTE_MAX = 256 };

struct submission {
    struct job_new job;
    bool has_priority;
    bool replay; /* its objects are the rejects of another job: a command gives no bytes then */
    const char *lanes[SUBMISSION_LANES];
    char remote[REMOTE_MAX];
    struct arena arena;
};

void submission_reset(struct submission *s); /* empty, memory kept for the next */
void submission_clear(struct submission *s);

/* Read a message; slices of `line` are kept, relative paths are made absolute. Errors are `usage` (or `uri`) and say what is wrong in it. */
int submission_parse(struct submission *s, struct str line, struct err *err);
/* A URI as a person typed it, one more object of the job. Refused: an unknown scheme, a password (it would lie in the database). */
int submission_object(struct submission *s, struct buf *objects, const char *typed, struct err *err);
/* "2026-11-21T…Z", or a duration from now, to ms since 1970. */
int submission_time(const char *text, int64_t *ms, struct err *err);
/* Is it within what a pipeline's priority= may be? 0, or -1: usage. */
int submission_priority(int64_t priority, struct err *err);
/* What follows from the pipeline and the first object: target, lanes, priority, attempts, remote. not-found with the nearest name where there is none; usage
 * where the job names no object and the source cannot be filled with its parameters. */
int submission_resolve(struct submission *s, const struct config *config, struct err *err);

/* The URIs of a job: as submitted (objects: a JSON array, or NULL), or the pipeline's source with the parameters put in; of a pipeline
 * with a command what stands for that. They live in the arena. Errors: config, limit, internal. */
int submission_uris(const char *objects, const char *params, const struct pipeline *p, bool replay, struct arena *arena, char ***uris,
                    int *n, struct err *err);

#endif
