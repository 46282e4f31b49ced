/*
 * Feeds the objects of a job into the reader child: local files by their descriptor (but for those that may hold us up: role/mounted.h,
 * which come like fetched ones), fetched ones as a stream, from memory or
 * through a file in the spool, whatever suits their size and format; one that is to be archived never as a stream, because it
 * is put there from what the reader gets. Looks at no more of the bytes than the first few, which say
 * whether a format must seek.
 *
 * Each wait calls `tick`, so that the lease, the shutdown and the signs of life of its owner are looked after meanwhile. If power
 * fails: what lies in the spool of a big object is taken up by the next attempt, if it is still the same version.
 */
#ifndef QETL_ROLE_FEED_H
#define QETL_ROLE_FEED_H

#include "base/err.h"
#include "io/config.h"
#include "io/fetch.h"
#include "io/spool.h"
#include "queue/job.h"
#include "role/archive.h"
#include "role/mounted.h"
#include "role/reader.h"
#include "source/version.h"

/* Rejects of another job, to be read again (pipeline/replay.h). */
struct feed_rejects {
    int fd; /* of their lines */
    int64_t size;
};

/* An object as the scanner gave it to the job: another version of it is not taken (`changed`). */
struct feed_listed {
    const char *uri;             /* the very text of feed_run(), by its address */
    struct list_version version; /* what is not known of it is not compared */
    struct str sum;              /* the checksum of its bytes, in hex; empty: not told */
    enum version_sum sum_kind;
    bool whole;                  /* it has settled; else it is not even asked for */
};

struct feed {
    /* set by the owner; all borrowed */
    const struct config *config;
    struct reader_child **reader; /* replaced when it is dead */
    struct spool *spool;
    struct fetch *fetch;
    struct mounted *mounted;      /* gets local files that this process must not wait for; NULL: there are none */
    struct enrich *enrich;        /* answers the reader's questions; NULL: nobody does */
    const struct pipeline *pipeline;
    const char *uid;              /* of the job */
    const char *params;           /* of the job, a JSON object, or NULL */
    int64_t token;                /* of its claim */
    int64_t watermark;            /* that binds it (queue/event.h) */
    struct archive *archive;      /* for pipelines that have archive=; NULL: nothing is archived */
    bool again;                   /* of objects that were archived already, by the run before */
    bool sum;                     /* tell the SHA-256 of each object */
    bool sample;                  /* keep the first rows of each output to be looked at */
    bool resume;                  /* an earlier attempt may have left objects in the spool */
    int64_t attempt;              /* the number of this try, for programs */
    const struct feed_rejects *rejects; /* the only object is the rejects of another job; or NULL */
    const struct feed_listed *listed; /* of those objects that a listing gave, in their order */
    int nlisted;
    int (*tick)(void *arg, struct err *err); /* at least every 100 ms; -1: give up */
    void *arg;
    /* what came of it */
    const char *stage;            /* what it was at, for the error log */
    struct reader_result result;
    bool any_mounted;             /* an object came by `mounted` */
    bool spooled;                 /* the spool may hold objects of this job */
    int64_t spooled_bytes;        /* of objects that went through it */
    struct job_object *objects;   /* those that were handed over whole, in order; strings owned */
    int nobjects;
    char *changed;                /* the object that the error `changed` is about, as in uris; NULL: there was none */
    char *talk;                   /* the last that a failed program wrote to standard error, or NULL */
    char *said;                   /* the last that programs which ended well wrote there, or NULL */
};

void feed_object_clear(struct job_object *o); /* its strings */
void feed_clear(struct feed *f); /* what came of it */

/* Put the objects through the reader and wait for its result. 0: f->result is good; -1: the error of whoever failed first, the
 * reader then is idle or dead. infer: only the first object is looked at, for its columns. */
int feed_run(struct feed *f, char *const *uris, int n, const struct part_known *known, bool infer, struct err *err);

/* After a run, also one that failed: a local file that was written to while it was read is not trusted (`changed`). uris: those of the run. */
int feed_unchanged(struct feed *f, char *const *uris, struct err *err);

#endif
