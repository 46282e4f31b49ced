/*
 * The reader child: all foreign bytes are touched here, in a process without network and database.
 *
 * It is forked from the worker before the worker opens its database or a socket, lives for many jobs, and has only: a control
 * socket, a ring in shared memory, two eventfds, and the descriptors that the worker sends for a job. seccomp kills it at any other system
 * call; RLIMIT_AS is [limits] memory. A crash or a bomb takes the child only. Every wait watches the other side's death.
 */
#ifndef QETL_ROLE_READER_H
#define QETL_ROLE_READER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/config.h"
#include "io/spool.h"
#include "pipeline/pipeline.h"
#include "read/infer.h"
#include "role/enrich.h"

struct reader_child;

/* What came out of a job. */
struct reader_result {
    int rc;                                    /* 0, or -1 with err */
    struct err err;
    struct pipeline_counts counts;             /* as the child says, and they add up; greatest: from year 1 to now, or EVENT_NONE */
    /* inline bytes owned by the result; files are <n>.part in the spool, synced. Of a job that failed by ERR_REJECTS: what can be
     * shown of its rejects, inline; of any other that failed: nothing of use. */
    struct output outputs[PIPELINE_PARTS_MAX + 1];
    int noutputs;
    int signal;                                /* the child died of it, or 0 */
    int64_t peak_rss;                          /* of the child, bytes */
    char *drift;                               /* findings, a JSON array that was checked; or NULL */
    char *tally;                               /* what became of the enrichments, a JSON array that was checked; or NULL */
    struct part_found found[PIPELINE_PARTS_MAX]; /* of each part; header and profile are JSON that was checked */
    char *inferred[PIPELINE_PARTS_MAX];        /* of reader_infer: columns text a part; malloc'ed */
    struct infer_notes notes;                  /* of reader_infer: of part 0 */
};
void reader_result_clear(struct reader_result *r);
/* Why a result of that pipeline cannot be: counts that do not add up, outputs of other tables or sizes, an error of the worker's own;
 * NULL: nothing speaks against it. Such a child is stopped, and the job has reader-crashed. */
const char *reader_result_fault(const struct reader_result *r, const struct pipeline *p);

/* Fork and sandbox a child. config is borrowed and must outlive it. */
int reader_spawn(struct reader_child **out, const struct config *config, struct err *err);
/* Kill it (if alive) and reap it. NULL is fine. */
void reader_free(struct reader_child *c);
bool reader_alive(struct reader_child *c);
pid_t reader_pid(const struct reader_child *c); /* 0: dead */

/* Who answers the child's questions from now on; borrowed. NULL, as at the beginning: nobody. */
void reader_enrich(struct reader_child *c, struct enrich *enrich);
/* Start the filter of that part of the job's pipeline; 0: ends[0] goes to it, ends[1] comes from it, both borrowed until handed()
 * is called: then the child has its own. */
struct reader_programs {
    int (*start)(void *arg, int part, int ends[2], struct err *err);
    void (*handed)(void *arg, int part);
    void *arg;
};
/* Who starts them for the job that was begun; borrowed. NULL: nobody. */
void reader_programs(struct reader_child *c, const struct reader_programs *programs);

/* Are samples of the rows wanted of the jobs that begin from now on (output.sample)? */
void reader_sample(struct reader_child *c, bool on);
/* Begin a job. The child asks for staged files by itself; the parent side opens them in `spool` for `uid` and `token` inside reader_tick(). known: see
 * pipeline_start; watermark: see pipeline_watermark. infer: only look at the first object and give back columns. */
int reader_begin(struct reader_child *c, const struct pipeline *p, const struct part_known *known, const char *params, struct spool *spool,
                 const char *uid, int64_t token, int64_t watermark, bool infer, struct err *err);
/* The next object comes as a stream through the ring. */
int reader_object_stream(struct reader_child *c, const char *uri, int64_t size, struct err *err);
/* The next object is in this file (the descriptor is duplicated to the child). complete: all bytes are there; else the child follows
 * behind the writer, up to what reader_file_grew() says. */
int reader_object_file(struct reader_child *c, const char *uri, int fd, int64_t size, bool complete, struct err *err);
/* Bytes into the ring: n (all taken) or 0 (no room for all of it now). n at most READER_CHUNK_MAX. */
enum { READER_CHUNK_MAX = 256 * 1024 };
ssize_t reader_write(struct reader_child *c, const void *p, size_t n, struct err *err);
void reader_file_grew(struct reader_child *c, int64_t bytes); /* that many are there now, from 0 */
int reader_object_end(struct reader_child *c, struct err *err);  /* the object is whole */
int reader_end(struct reader_child *c, struct err *err);         /* no more objects: finish the job */
/* Give the job up (cancelled, lease lost, fetch failed): kills and replaces the child if it does not stop by itself at once. */
int reader_abort(struct reader_child *c, struct err *err);

/* So many objects are ahead of the child that the next one would have to wait: poll and tick until there is room. */
bool reader_full(const struct reader_child *c);

/* Bytes of the complete files that were given to this job and that the child is not done with. */
int64_t reader_ahead_bytes(const struct reader_child *c);

/* Descriptors to poll for POLLIN: control socket, "room in the ring" event, and what an answer to the child waits for (or -1). */
enum { READER_FDS = 3 };
void reader_pollfds(struct reader_child *c, struct pollfd fds[READER_FDS]);
/* Serve what the child asked for. 1: the result is there (*result filled; cleared by the caller), 0: not yet, -1 error of our
 * side. A dead child is a result with err reader-crashed (poison), or reader-memory. */
int reader_tick(struct reader_child *c, struct reader_result *result, struct err *err);

#endif
