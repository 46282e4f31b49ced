/*
 * The verbs of qetlctl, one row each in the table of qetlctl.c. A verb returns 0, or -1 with ctl->err; it sets ctl->status when
 * the work it tells of failed though nothing went wrong here.
 */
#ifndef QETL_BIN_CTL_H
#define QETL_BIN_CTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "io/config.h"
#include "queue/job.h"
#include "queue/queue.h"

struct ctl {
    const char *config_file;
    bool json;
    struct config *config;
    struct config *scratch; /* of infer: an ini made up for one look */
    struct queue *queue;
    struct err err;
    int status; /* exit status when the verb returned 0 */
};

struct verb {
    const char *name, *args, *help;
    int (*run)(struct ctl *c, int argc, char **argv); /* argv[0] is the verb */
    const char *more;                                 /* options, for `qetlctl help VERB` */
};

struct rejects_in;
struct json_value;
struct report_of;
struct table;

enum {
    CTL_SHOWN = 50,   /* rows of a list without --limit */
    CTL_NOT_OVER = 6, /* exit status: the time of --timeout is over, and a job is not */
};

/* Open what a verb needs, at its first use. */
int ctl_config(struct ctl *c);
int ctl_checked(struct ctl *c); /* the config, as qetlctl check wants it: for verbs that put in work */
int ctl_queue(struct ctl *c, int flags); /* config too */
int ctl_job(struct ctl *c, const char *name, int64_t *id); /* a job by number or uid, as a person gave it */
int ctl_usage(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* -1 */
void ctl_complain(const struct err *err); /* one error and its hint, on standard error */
int ctl_unwritten(struct err *err); /* -1: standard output took no more, by errno: no fault of the spool, even where its disk is full */
/* The next option of a verb as getopt_long() gives it, -1 at the end. '?': c->err names the wrong word, and the nearest right one. at: its place in longs, or NULL. */
int ctl_option(struct ctl *c, int argc, char **argv, const char *shorts, const struct option *longs, int *at);
const char *ctl_s(int64_t n); /* "s" but for one */
int ctl_int(struct ctl *c, const char *what, const char *text, int64_t *out);
int ctl_since(struct ctl *c, const char *text, int64_t *ms); /* of --since: an age or a time, to ms since 1970, above 0 */
int ctl_limit(struct ctl *c, const char *text, int64_t *out); /* of --limit: from 0 */
/* A name to choose jobs or errors by, NULL being fine: a pipeline of the ini or of jobs in the queue (else not-found), an error code
 * (else usage); the message names the nearest. */
int ctl_known_pipeline(struct ctl *c, const char *name); /* after ctl_queue() */
int ctl_known_code(struct ctl *c, const char *name);
int ctl_no_args(struct ctl *c, int argc, char **argv, int most); /* -1 when there are more than `most` */

/* ---- the verbs ---- */

int ctl_submit(struct ctl *c, int argc, char **argv);
int ctl_emit(struct ctl *c, int argc, char **argv);
int ctl_status(struct ctl *c, int argc, char **argv);
int ctl_jobs(struct ctl *c, int argc, char **argv);
int ctl_show(struct ctl *c, int argc, char **argv);
int ctl_errors(struct ctl *c, int argc, char **argv);
int ctl_workers(struct ctl *c, int argc, char **argv);
int ctl_rejects(struct ctl *c, int argc, char **argv);
int ctl_rejects_list(struct ctl *c, int argc, char **argv); /* argv[0]: list */
int ctl_explain(struct ctl *c, int argc, char **argv);
int ctl_init(struct ctl *c, int argc, char **argv);
int ctl_retry(struct ctl *c, int argc, char **argv);
int ctl_cancel(struct ctl *c, int argc, char **argv);
int ctl_undo(struct ctl *c, int argc, char **argv);
int ctl_pause(struct ctl *c, int argc, char **argv);
int ctl_resume(struct ctl *c, int argc, char **argv);
/* Do the mounts of other machines' folders answer that a scan of that pipeline (NULL: of all) lists? While no queue is open. And that of the inbox, for
 * all? hung, one a pipeline of the config, and one of the inbox: timeout where one does not, else none. 0, also then; -1: no process. */
int ctl_mounts(struct ctl *c, const char *only, struct err *hung);
int ctl_prune(struct ctl *c, int argc, char **argv);
int ctl_scan(struct ctl *c, int argc, char **argv);
int ctl_report(struct ctl *c, int argc, char **argv);
int ctl_columns(struct ctl *c, int argc, char **argv);
int ctl_enrich(struct ctl *c, int argc, char **argv);
int ctl_query(struct ctl *c, int argc, char **argv);
int ctl_check(struct ctl *c, int argc, char **argv);
int ctl_doctor(struct ctl *c, int argc, char **argv);
int ctl_infer(struct ctl *c, int argc, char **argv);
int ctl_run(struct ctl *c, int argc, char **argv);

/* ---- what they have in common ---- */

/* Rejects as they are kept, from in: the first `limit` (0: all) as a table, or to `to` as the elements of a JSON list. *n: how many. */
int ctl_rejects_table(struct ctl *c, struct rejects_in *in, int64_t limit, int64_t *n);
int ctl_rejects_json(struct ctl *c, struct rejects_in *in, FILE *to, int64_t limit, int64_t *n);
int ctl_rejects_of(struct ctl *c, int64_t id); /* a line about those of a job, if it has any, for `show` */
void ctl_csv_field(struct buf *line, struct str s); /* behind line, in quotes where it has to be; an empty text is "" */
int ctl_jobs_table(struct ctl *c, const struct job_filter *f, struct table *t); /* a row each; t is made here */
int ctl_errors_table(struct ctl *c, const struct error_filter *f, struct table *t);
/* A line of those of a job; none without a value, or where the time is 0. */
void ctl_line(const char *name, const char *value);
void ctl_time_line(const char *name, int64_t ms);
/* A member of a JSON object as people read it, in arena: texts without their quotes; NULL: there is none, or it is null. */
const char *ctl_member(const struct json_value *object, const char *name, struct arena *arena);
/* The job as one JSON object behind doc, and as lines on standard output. */
int ctl_job_json(struct ctl *c, int64_t id, struct buf *doc);
int ctl_job_lines(struct ctl *c, int64_t id);
int ctl_drift(struct ctl *c, int64_t id, struct table *t); /* its findings, a row each; t is made here */
int ctl_tally(struct ctl *c, int64_t id, struct table *t); /* what became of its enrichments; the same */
/* The same of the jobs of a report; of findings the newest. */
int ctl_drift_report(struct ctl *c, const struct report_of *of, struct table *t);
int ctl_tally_report(struct ctl *c, const struct report_of *of, struct table *t);
/* Findings, and what became of enrichments, of a job that is in no queue: lists as in struct reader_result, or NULL. */
void ctl_drift_of(struct ctl *c, const char *findings, struct table *t);
void ctl_tally_of(struct ctl *c, const char *tally, struct table *t);
/* What the programs of a job that ended well wrote to standard error: a member of an object behind doc, or, where doc is NULL, lines. */
int ctl_said_of(struct ctl *c, int64_t id, struct buf *doc);
void ctl_said(const char *said); /* those lines, of a job that is in no queue */
/* One row a pipeline that is scanned; t is made here. *open: what ctl_say_open() tells. */
struct ctl_open {
    int64_t waiting; /* objects that are not taken yet */
    int64_t changed; /* objects that a person is to decide about */
};
int ctl_scans(struct ctl *c, struct table *t, struct ctl_open *open);
/* One row a pipeline (`only`, or NULL: any) whose after= is still to be done with objects; the same. */
int ctl_unfinished(struct ctl *c, const char *only, struct table *t);
void ctl_say_open(const struct ctl_open *o);

/* One job into the queue from what the command line says; committed and on disk. */
struct ctl_submission {
    const char *pipeline;
    char **uris;
    int nuris;
    const char *params; /* JSON object, or NULL */
    const char *unique;
    int64_t priority, run_at;
    bool has_priority;
};
/* `submit --dry-run`: what would become of the job. Sets c->status to 1 when it would not be loaded; with --json to that of the error, too,
 * when there was no rehearsal: the document says why. */
int ctl_rehearse(struct ctl *c, const struct ctl_submission *s);
int ctl_submit_one(struct ctl *c, const struct ctl_submission *s, int64_t *id, char *uid, bool *made);
/* The options of submit that run has too: -p K=V into params. */
int ctl_param(struct ctl *c, struct buf *params, char *text);
/* The job's state, an enum job_state; -1 in *state: there is no such job. */
int ctl_state(struct ctl *c, int64_t id, int *state);
/* Is the job final or dead (or superseded, cancelled)? 1, 0, -1. */
int ctl_over(struct ctl *c, int64_t id);
/* Somebody waits for jobs. */
struct ctl_wait {
    int64_t until_mono_ms; /* of --timeout; 0: without end */
    int64_t since_mono_ms; /* since when the job in hand makes no progress; 0: it just did */
    char said[400];        /* the last reason that was told */
};
int ctl_timeout(struct ctl *c, const char *text, struct ctl_wait *w); /* of --timeout: from now on */
bool ctl_time_over(const struct ctl_wait *w);
/* A job makes no progress: say on standard error what holds it, after a second, and again when it is another thing. */
int ctl_waits(struct ctl *c, struct ctl_wait *w, int64_t id);
/* Wait for the end of a job. 1: it is over; 0: the time is; -1. */
int ctl_until_over(struct ctl *c, struct ctl_wait *w, int64_t id);
/* After that: tell that it was the time, and what became of the job. */
int ctl_tell(struct ctl *c, int64_t id, bool over, const char *waits);
/* Both. */
int ctl_wait_for(struct ctl *c, struct ctl_wait *w, int64_t id);
/* Print what became of the job; sets c->status to 1 unless it was loaded, to CTL_NOT_OVER where it is not over: then it prints what it
 * waits for; waits: that, known already, or NULL. */
int ctl_outcome(struct ctl *c, int64_t id, const char *waits);

#endif
