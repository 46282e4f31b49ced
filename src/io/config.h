/*
 * The ini into structs, through one table of keys (config.c) that also makes qetl.ini(5), and
 * secrets by reference.
 *
 * The language of the file is that of io/ini.h (${VAR} and ${VAR:-default} are taken from the
 * environment when it is read). The keys of [qetl] can be given by the environment too:
 * QETL_DATABASE, QETL_SPOOL, QETL_LOG, QETL_LOG_LEVEL win over the file. A value of the form
 * @file:PATH or @credential:NAME stays a reference in memory; config_secret() reads it when it is
 * used. An unknown section or key, a key given twice, or a bad value is an error that names file,
 * line, key and what was expected. Paths that do not begin with / are taken from the folder of the
 * main file.
 */
#ifndef QETL_IO_CONFIG_H
#define QETL_IO_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cron.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/rejects.h"
#include "io/row.h"
#include "io/template.h"

/* Where an s3 store has the bucket: in the path, or in the host's name; auto: in the path of an endpoint. */
enum path_style { PATH_STYLE_AUTO, PATH_STYLE_YES, PATH_STYLE_NO };

struct remote {
    char *name, *url;
    char *user, *password; /* secrets may be references */
    char *header;          /* one "Name: value" a line; references allowed in the value */
    char *ca_file, *proxy, *known_hosts, *host_key_sha256, *private_key;
    char *endpoint, *region, *access_key, *secret_key, *session_token; /* s3 */
    enum path_style path_style;
    bool insecure;      /* no such thing for TLS: always false; kept out of the key table */
    int64_t rate_bytes; /* bytes a second for one transfer, 0: none */
    int64_t connections; /* jobs at the same time, of all workers; 0: any number */
    int64_t interval_ms; /* from the start of one job to that of the next, of all workers */
};

/* For faults found later: FILE:LINE of each key of a section; the last, without a key, is the section's own. */
struct key_place {
    const char *key, *at;
};
const char *config_place(const struct key_place *places, const char *key); /* of the section where it has no such key */

struct target_config {
    char *name, *url;
    bool many_readers; /* readers = many: WAL */
    int64_t loaders;   /* processes that load into it */
    char *ddl;         /* glob of SQL files that make its tables; or NULL */
    /* object stores and directories: */
    char *format;      /* "csv" or "jsonl" */
    char *compress;    /* "none", "gz" or "zst" */
    char *path;        /* template of an object's name, see target/object_name.h */
    const struct key_place *places;
};

/* So many requests in each period; n 0: any number. */
struct quota {
    int64_t n, period_ms;
};

/* What becomes of a row that an [enrich] has no answer for. */
enum enrich_else { ELSE_NULL, ELSE_REJECT, ELSE_FAIL };

/* [enrich NAME]: columns that an HTTP server fills. The reader child knows the rows, asks the worker and reads the answers (pipeline/enrich.c);
 * the worker has cache, limits and network (role/enrich.h). */
struct enrich_config {
    char *name;
    char *url_text, *body_text; /* templates; secrets may stand in them */
    struct template url, body;  /* ... taken apart; body_text NULL: none */
    char *method, *header;
    char *columns_text;
    struct columns columns; /* that it adds */
    char **key;             /* columns that name an answer; all inputs where it is not given */
    int nkey;
    char **inputs;          /* columns that a request is made of: those of the templates and of the key, each once */
    bool *keyed;            /* of each input: does it name the answer? */
    int ninputs;
    int64_t round;          /* digits behind the point of real and decimal inputs; -1: all */
    int64_t connections, interval_ms, timeout_ms, retries;
    struct quota quota;
    int64_t ttl_ms, negative_ttl_ms, cache_rows, cache_bytes, answer_bytes;
    char *error_path;       /* where an answer with a good status tells of an error; NULL: nowhere */
    char **good;            /* values there that are none; */
    int ngood;              /* 0: null, false, 0, "", [] and {} are none */
    enum enrich_else on_miss, on_error;
};

enum load_mode { MODE_APPEND, MODE_REPLACE, MODE_UPSERT, MODE_INSERT_IGNORE, MODE_HISTORY, MODES };
extern const char *const load_mode_names[MODES];
/* Does the mode name rows by key=? */
static inline bool mode_has_key(enum load_mode m)
{
    return m == MODE_UPSERT || m == MODE_INSERT_IGNORE || m == MODE_HISTORY;
}

enum encoding { ENC_UTF8, ENC_LATIN1, ENC_UTF16, ENC_UTF16LE, ENC_UTF16BE, ENC_UTF8_REPLACE };
extern const char *const encoding_names[]; /* as encoding= has them; NULL at the end */
enum filter_format { FILTER_JSONL, FILTER_CSV }; /* of the rows that go through a program, both ways */
enum ragged { RAGGED_REJECT, RAGGED_FILL };
enum infer_from { INFER_MEMBER, INFER_SAMPLE };
/* What becomes of rows whose event time is before the watermark: as the others, refused, or into a table of their own. */
enum late { LATE_TABLE, LATE_REJECT, LATE_ASIDE };
enum missing_rows { MISSING_KEEP, MISSING_DELETE };
enum json_grammar { GRAMMAR_STRICT, GRAMMAR_LAX };

/* What becomes of columns that only the data has, or only the ini. AUTO: fail in a CSV header, null in JSON. */
enum on_new { ON_NEW_IGNORE, ON_NEW_ADD, ON_NEW_FAIL };
enum on_missing { ON_MISSING_AUTO, ON_MISSING_NULL, ON_MISSING_FAIL };

/* A program and its arguments, as execve has them; NULL: none. */
struct command {
    char **argv;
};

/* What programs of a pipeline may have and do (role/program.h). */
struct command_limits {
    int64_t timeout_ms;
    int64_t memory; /* bytes of data of each process; 0: no limit */
    char *user;     /* NULL: that of the worker */
    char *env;      /* one "NAME = value" a line; references allowed in the value; or NULL */
};

/* SQL of the ini. */
struct sql_text {
    char *text;  /* NULL: none */
    char *file;  /* behind @file:, as written, where it was read from one; else NULL */
    const char *place; /* FILE:LINE of its key, for faults found later */
};

/* How the bytes of a member become rows, and rows become typed: keys of [pipeline NAME] and
 * [pipeline NAME.PART]. */
/* What is not to be trusted of a recipe. */
enum {
    FAULTY_ROWS = 1, /* what its rows are */
    FAULTY_MODE = 2, /* how they meet those of the table: a value that could not be read */
    FAULTY_KEY = 4,  /* the same: a value that was read, but does not go with the others */
    FAULTY_REST = 8,
};

struct recipe {
    char *name;     /* NAME, or NAME.PART */
    const struct key_place *places; /* of its own keys and those of its pipeline; NULL: it is of no ini */
    char *from;     /* name of the part whose rows this one gets, instead of members of its own; or NULL */
    int from_part;  /* its place among the pipeline's parts; of one without from: -1 */
    char **lookup_parts; /* names of other parts whose rows its SQL can read as tables */
    int nlookup_parts;
    unsigned reads; /* the same: bit k is part k of the pipeline; there are no circles */
    char *member;   /* globs separated by commas, or NULL: every member */
    char *format;   /* "csv", "tsv", "json", "jsonl", or "auto" */
    char delimiter; /* 0: by format (',' or tab) or found out when format = auto */
    char quote;     /* '"' by default; 0: none ("none") */
    char escape;    /* 0: doubled quotes only */
    bool header;
    int64_t skip_lines;
    char comment; /* 0: none */
    enum encoding encoding;
    char *closing_line; /* glob of the line that ends each member, or NULL */
    enum ragged ragged;
    bool trim;     /* spaces and tabs around bare fields */
    char *records; /* JSON: path of the array that holds the rows, or NULL */
    enum json_grammar grammar;
    char *columns_text; /* NULL: inferred */
    struct columns columns;
    char *output_text;     /* columns of the rows that the steps behind columns= give; NULL: the same */
    struct columns output;
    char **distinct;       /* columns whose values no two rows of a job have in common */
    int ndistinct;
    struct command filter; /* the rows go through it */
    enum filter_format filter_format;
    struct sql_text where, compute, transform;
    struct columns computed; /* by compute, in its order; each with: */
    char **computed_sql;     /* its expression */
    int64_t transform_timeout_ms; /* SQL that moves no row for so long is broken off */
    enum infer_from infer;
    enum on_new on_new;
    enum on_missing on_missing;
    bool profile; /* tell what the rows are like that are staged */
    char **nulls; /* null tokens; nnulls == -1: not given, then an unquoted empty field is null */
    int nnulls;
    bool quoted_null; /* may a quoted field be a null token? */
    char *clean;      /* rules of the columns (io/clean.h), or NULL */
    char *zone;       /* of timestamps without one; NULL: UTC */
    char decimal_point;
    char *table;               /* "TARGET.TABLE" */
    char *target, *table_name; /* its two halves; table_name may hold a schema */
    enum load_mode mode;
    char **key;
    int nkey;
    bool only_if_changed;      /* upsert: a row that is there as it is is not written again */
    char *version;             /* upsert, history: column; an older version never overwrites a newer one */
    char *deleted;             /* upsert, history: boolean column that says the row is deleted */
    enum missing_rows missing; /* upsert, history: rows of the table that the job does not have */
    int64_t undo_ms;           /* so long qetlctl undo can take the job out again; 0: not at all */
    char *event_time;          /* column of a date or timestamp, or NULL */
    int64_t allowed_lateness_ms;
    char *late_text;           /* as in the ini: table, reject or TARGET.TABLE */
    enum late late;
    char *late_table, *late_name; /* LATE_ASIDE: "TARGET.TABLE", and its second half */
    int late_part;             /* LATE_ASIDE: the part that takes them; of that one: the part whose rows they are */
    bool takes_late;           /* it is such a part: no member is its own */
    char *after_load;          /* SQL run in the target by the commit of each job, or NULL */
    struct reject_limit max_rejects;
    bool empty_ok;
    bool row_alone;  /* what is read is a row that was taken out of its member: nothing is found out from it (pipeline/replay.h) */
    bool by_program; /* what is read was written by a program of the ini */
    char **enrich;   /* names of [enrich] sections, in their order */
    int nenrich;
    unsigned faulty; /* keys of it have a fault, FAULTY_…: only config_read() gives such a one */
};

enum { CONFIG_PARTS_MAX = 10 }; /* SQLite attaches 10 files at most: a job is one transaction */

/* A file that SQL of the pipelines can read as a table: [lookup NAME]. */
struct lookup {
    char *name, *file;
    struct recipe recipe; /* how it is read: format, columns and what belongs to them; key: an index, and unique */
};

/* What a scan does about runs that nobody was there for, about objects that changed, and with those that are loaded. */
enum missed { MISSED_ONCE, MISSED_SKIP, MISSED_ALL };
enum on_change { ON_CHANGE_IGNORE, ON_CHANGE_RELOAD, ON_CHANGE_FAIL };
enum whole { WHOLE_LISTED, WHOLE_TRAILER }; /* what says that an object is whole: listings, or also its own end */
enum after_what { AFTER_KEEP, AFTER_DELETE, AFTER_MOVE };
struct after {
    enum after_what what;
    char *folder; /* AFTER_MOVE */
};
enum job_per { JOB_PER_OBJECT, JOB_PER_SLOT };

/* When the source of a pipeline is looked through by itself, and which of its objects are taken (role/scanner.h). */
struct scan_config {
    int64_t every_ms; /* 0: not by intervals */
    char *cron_text;  /* NULL: not by the clock */
    struct cron cron;
    char *zone; /* of cron and of dates in the source; NULL: UTC */
    enum missed missed;
    int64_t missed_age_ms; /* a slot that was missed so long ago is skipped; 0: none */
    enum job_per job_per;
    int64_t lookback_ms;
    int64_t forget_ms; /* what no listing has for so long is forgotten; 0: nothing */
    enum on_change on_change;
    int64_t settle_ms, min_age_ms;
    enum whole whole;
    int64_t whole_wait_ms; /* WHOLE_TRAILER: an object that is cut off is waited for so long, from its job's making on */
    char *ignore;      /* globs with commas between, on the name */
    char *done_marker; /* NULL: none; its * stands for the object's name */
    struct after after;
    int64_t group_files, group_bytes; /* of one job; 0: no limit; both 0: a job for each object */
    int64_t group_wait_ms;
    char *stream; /* the source is stream:NAME (io/segment.h): NAME; NULL: another one */
    int64_t segment_bytes, segment_age_ms; /* of its segments */
    size_t source_plain; /* bytes at the beginning of source that are the ini's folder, and no pattern (io/pattern.h) */
};

struct pipeline {
    char *name;
    char *source;     /* URI template with {param}, or NULL */
    struct command command; /* gives the bytes of its jobs, instead of a source */
    struct command_limits command_limits;
    int64_t nested;   /* archives inside archives: depth, default 1 */
    int64_t priority; /* default of its jobs; greater first */
    int64_t weight;   /* share of the workers beside other pipelines */
    int64_t attempts; /* tries before a transient error makes the job dead */
    int64_t backoff_ms, backoff_max_ms;
    char *archive; /* "TARGET" or "TARGET/FOLDER" for its raw objects, or NULL */
    struct scan_config scan;
    bool dedupe; /* by content */
    bool faulty; /* a key has a fault that is no recipe's: only config_read() gives such a one */
    struct recipe *parts; /* one, or one for each [pipeline NAME.PART] */
    int nparts;
};

#define ROW_BYTES_MOST (INT64_C(1) << 30) /* the most that [limits] row can be */

struct limits {
    int64_t memory; /* of the reader child, bytes */
    int64_t members, unpacked_bytes, ratio, row_bytes;
    int64_t object_bytes; /* of one fetched object */
    int64_t connect_timeout_ms, stall_timeout_ms;
    int64_t crashes;    /* after so many a job is poison */
    int64_t big_object; /* fetched into the spool above this size */
    int64_t spool;      /* bytes in the spool, of all jobs; 0: no quota */
    int64_t spool_free; /* bytes that stay free on its file system */
    int64_t stream;     /* bytes of one stream that wait; 0: no quota */
    int64_t scratch;    /* bytes that each SQL step of each part of a job may have in scratch files */
};

struct config {
    char *path;   /* of the main file, for messages */
    char *folder; /* of the main file, absolute */
    char *database, *spool, *log_form, *log_level;
    int64_t worker_slots, lease_ms, claim_batch, shutdown_timeout_ms, heartbeat_ms, poll_ms, keep_jobs_ms;
    int64_t group_jobs, group_bytes;
    char *inbox; /* folder of messages, or NULL */
    bool inbox_delete;
    struct limits limits;
    struct remote *remotes;
    int nremotes;
    struct target_config *targets;
    int ntargets;
    struct enrich_config *enriches;
    int nenriches;
    struct pipeline *pipelines;
    int npipelines;
    struct lookup *lookups;
    int nlookups;
    bool faulty; /* a key of an [enrich] or [lookup] has a fault: as that of a pipeline */
    struct arena arena; /* owns all strings */
};

/*
 * Read FILE (NULL: $QETL_CONFIG, else qetl/qetl.ini of the build's --sysconfdir) and
 * conf.d/<name>.ini beside it in name order. All faults are found in one pass: the first goes to
 * *err, each goes as a line "FILE:LINE: [section] key: what was expected" to *faults (may be NULL).
 * References between sections are checked too (a table's target, keys among columns, formats).
 */
int config_load(struct config **out, const char *file, struct buf *faults, struct err *err);
/* The same, but on -1 *out is what could be read, for those who look for more faults, and NULL where that is nothing; what has
 * a fault is marked so. */
int config_read(struct config **out, const char *file, struct buf *faults, struct err *err);
void config_free(struct config *c);

const struct pipeline *config_pipeline(const struct config *c,
                                       const char *name); /* NULL: none; err has "did you mean" */
/* The columns of the rows that are staged, of a recipe whose rows are read with the columns `read`. */
static inline const struct columns *recipe_output(const struct recipe *r, const struct columns *read)
{
    return r->output.n ? &r->output : read;
}
/* Its name within the pipeline: what stands behind the dot; of a pipeline without parts its own. */
static inline const char *recipe_part(const struct recipe *r)
{
    const char *dot = strchr(r->name, '.');
    return dot ? dot + 1 : r->name;
}
/* Has any of its tables an event time? */
static inline bool pipeline_has_events(const struct pipeline *p)
{
    for (int i = 0; i < p->nparts; i++)
        if (p->parts[i].event_time)
            return true;
    return false;
}
/* The parts so that each stands behind those whose rows its SQL reads, and one of late rows behind the part whose they are. */
void pipeline_order(const struct pipeline *p, int order[CONFIG_PARTS_MAX]);
/* Does the scanner look at it by itself? Then its source is a pattern (io/pattern.h), and no template of parameters. */
static inline bool recipe_is_message(const struct recipe *r)
{
    return r->format && !strcmp(r->format, "message");
}
static inline bool pipeline_is_scanned(const struct pipeline *p)
{
    return p->scan.every_ms || p->scan.cron_text;
}
/* "" where it runs a command. */
static inline const char *pipeline_source(const struct pipeline *p)
{
    return p->source ? p->source : "";
}
int config_no_pipeline(const struct config *c, const char *name,
                       struct err *err); /* fills not-found; -1 */
/* The pipeline whose source is stream:NAME; NULL: none, and *err is not-found with the nearest name. */
const struct pipeline *config_stream(const struct config *c, const char *name, struct err *err);
const struct target_config *config_target(const struct config *c, const char *name);
const struct enrich_config *config_enrich(const struct config *c, const char *name); /* NULL: none */
/* The columns of rows that had `in`, behind the enrichments of the recipe. Errors: config. */
int config_enriched(const struct config *c, const struct recipe *r, const struct columns *in, struct columns *out, struct err *err);
/* Where the pipeline archives its objects: the target, and the folder in it ("": none given). NULL: nowhere. */
const struct target_config *config_archive(const struct config *c, const struct pipeline *p, const char **folder);
/* The remote whose url begins uri, the longest one; NULL: none. Scheme and host[:port] must be the
 * same as a whole (without regard to case, and to a user@ in the uri), so that credentials of
 * https://a.org never go to https://a.org.evil.net; the path is compared as text. Where a url has several hosts
 * (postgresql://a,b:5433/), each of those in uri must be among those of the remote. */
const struct remote *config_remote(const struct config *c, const char *uri);
/* Where there is none: one that is for some of its hosts, but not for all, or names none. NULL: nor is there such. */
const struct remote *config_remote_of_some(const struct config *c, const char *uri);
/* Whose limits bind a job that reads uri: the name of its [remote], or scheme://host[:port] in buf; NULL for what is on this
 * machine, and for more than cap bytes. */
const char *config_remote_name(const struct config *c, const char *uri, char *buf, size_t cap);

/* The secret behind a value: the text itself, or the content (without a newline at its end) of
 * @file: or
 * @credential: ($CREDENTIALS_DIRECTORY). *out is malloc'ed; the caller clears it with secret_clear.
 */
int config_secret(const char *value, char **out, struct err *err);
void secret_clear(char **secret); /* overwrites, then frees */
/* Put *** wherever the secret stands in the *n bytes of text, percent-encoded too, in part or whole; one of less than three bytes is left there. */
void secret_hide(char *text, size_t *n, const char *secret);

/* The sections and keys for the manual page (`qetl --print-keys`, build-aux/gen-docs.awk): lines of
 * fields with a tab between: "section NAME help" and "key SECTION NAME kind default range help". */
void config_print_keys(struct buf *out);

#endif
