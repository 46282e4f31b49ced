/*
 * A job rehearsed: fetched, unpacked, read, changed and staged as it would be (role/attempt.h), then loaded in a transaction of its target
 * that is rolled back. It is in no queue, its files lie in a folder of its own that goes afterwards, and the target has nothing of it.
 *
 * What it is not: it takes no turn (places, pauses, order of jobs), archives and marks no source. A `command` runs. While it loads it holds
 * the locks of a load, and others wait for it.
 *
 * If it is killed: the target rolls back by itself; the folder, on which a lock lies while it is somebody's, is removed by the next rehearsal.
 */
#ifndef QETL_ROLE_REHEARSAL_H
#define QETL_ROLE_REHEARSAL_H

#include "base/err.h"
#include "io/config.h"
#include "io/spool.h"
#include "queue/job.h"
#include "role/reader.h"
#include "target/schema_diff.h"

struct rehearsal {
    const struct pipeline *pipeline;
    struct reader_result result; /* with samples in its outputs; also of one that failed by ERR_REJECTS */
    int left_out;                /* objects whose content was loaded before (dedupe = content) */
    struct err died;             /* what the job would fail of: for good, or for now by its class; code ERR_NONE: of nothing */
    const char *stage;           /* at which it did, as in the error log */
    char *talk;                  /* the last that a program of the pipeline wrote to standard error before it failed; or NULL */
    char *said;                  /* the last that programs which ended well wrote there; or NULL */
    bool counted;                /* counts tell what the target would do; else why tells why not */
    struct load_counts counts;
    struct schema_diff schema; /* what the target would make and alter; without tables: it could not be asked */
    char why[sizeof ((struct err *)0)->msg];
    /* inside */
    char *folder;
    int lock; /* on it; or -1 */
    struct spool spool;
    char uid[SYS_UID_LEN + 1];
};
#define REHEARSAL_NONE ((struct rehearsal){ .lock = -1, .spool = SPOOL_CLOSED })

/*
 * job: as resolved by submission_resolve(); its texts end in NUL. r: REHEARSAL_NONE. Forks, so the caller has neither queue nor network
 * open. The queue is only asked. On 0 *r tells, also of what the job would fail; -1: trouble of the rehearsal's own, such as no room
 * in $TMPDIR, or it was told to stop. rehearsal_clear() in either case.
 */
int rehearse(struct rehearsal *r, const struct config *config, const struct job_new *job, struct err *err);
/* A descriptor of rejects that went to a file (out->in_file), the caller's; -1. */
int rehearsal_rejects(const struct rehearsal *r, const struct output *out, struct err *err);
void rehearsal_clear(struct rehearsal *r);

#endif
