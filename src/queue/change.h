/*
 * What every change of a job is made of, for the files of this folder: read what it depends on,
 * then write state, attempt, error, lanes, outputs and counters. All of it inside
 * queue_begin/commit, so that what was read stays true.
 */
#ifndef QETL_QUEUE_CHANGE_H
#define QETL_QUEUE_CHANGE_H

#include "queue/job.h"

enum {
    CHANGE_BATCH = 200
}; /* jobs a transaction in work that can be long: the lock is held for a few ms */

struct change {
    int64_t id, token, worker, claimed, attempts, attempts_max, crashes, seq;
    enum job_state state;
    bool replace, unsure;
    bool forsake; /* forsake_at is set; who ends it says whether it is to be */
    char *lanes, *pipeline; /* owned; lanes is NULL for a job without order */
};
int change_read(struct queue *q, int64_t id, struct change *c,
                struct err *err); /* 1, 0 no such job, -1 */
void change_clear(struct change *c);
/* Run st; the number of changed rows, or -1. */
int change_run(struct queue *q, sqlite3_stmt *st, struct err *err);
/* Has st a row? 1, 0, or -1. */
int change_any(sqlite3_stmt *st, struct err *err);
/* The attempt under way is over. */
int change_attempt(struct queue *q, const struct change *c, const char *kind, const char *outcome,
                   int signal, int64_t peak_rss, struct err *err);
int change_error(struct queue *q, const struct change *c, const char *stage, const struct err *why,
                 const char *detail, struct err *err);
/* Why the lease of a job that nobody ended is over, for its error log: its process is gone, or was
 * not heard of. */
int change_crashed(struct queue *q, int64_t id, struct err *why, struct err *err);
int change_lanes(struct queue *q, enum queue_sql enter_or_leave, const struct change *c,
                 struct err *err); /* SQL_LANE_ENTER, _LEAVE */
int change_outputs_forget(struct queue *q, int64_t id, bool all,
                          struct err *err); /* all: rejects too */
/* The job is over and not loaded: no output of it is needed, but for those that say what it may have left in its target. */
int change_outputs_end(struct queue *q, const struct change *c, struct err *err);
void change_tally(struct queue *q, const struct change *c, enum job_state to, int64_t rows);
/* The job is dead: state, time, lanes, tally. */
int change_dead(struct queue *q, const struct change *c, struct err *err);

struct work_count {
    int64_t processed, succeeded, failed, rows, bytes;
};
int change_worker(struct queue *q, int64_t worker, const struct work_count *n, struct err *err);

/* Ids, collected before they are changed. */
struct ids {
    int64_t *v;
    int n, cap;
};
int ids_collect(struct ids *ids, sqlite3_stmt *st,
                struct err *err); /* column 0 of all rows; ids is emptied first; 0 or -1 */
void ids_clear(struct ids *ids);

/* A row of statement `outputs`; *o must be cleared also after -1, which means no memory. */
int output_read(sqlite3_stmt *st, struct output *o);

/* A copy of column `col`, NULL for NULL; false: no memory. */
bool column_dup(sqlite3_stmt *st, int col, char **out);

#endif
