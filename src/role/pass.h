/*
 * One look through the source of one pipeline: list it, write down what is new, make jobs of what is whole.
 *
 * Objects go to the queue in batches, so that memory does not grow with their number. A pass that is killed has done what it
 * has done; the next one finds the rest, and nothing twice (queue/scan.h). How far the dates of the source were listed
 * moves on only when the whole pass came to its end and nothing waits any more, so that no folder is left behind; but what waits holds a
 * folder a week at most, and who gives up on objects says so in the log.
 *
 * A listing that fails in the middle goes on there the next time, where the place gives pages (list.h). Such a one has not seen what came
 * meanwhile before its beginning: it forgets nothing and covers nothing; the one after it is whole again.
 */
#ifndef QETL_ROLE_PASS_H
#define QETL_ROLE_PASS_H

#include "io/config.h"
#include "queue/scan.h"
#include "role/role.h"
#include "role/submission.h"
#include "role/watch.h"

struct list_links;

struct pass {
    const struct role *role;
    struct queue *queue;
    const struct scan_lease *lease;
    const struct pipeline *pipeline;
    struct list_links *links; /* to other hosts */
    struct watch *watch; /* NULL: nothing is watched */
    int owner;           /* of its watched folders */
    bool now;            /* somebody asks for all that is there: the open segment of a stream, too */
};

/* 0: it came to its end, well (why->code is ERR_NONE) or not (*why, which the scan keeps), or its place is not to be asked now
 * (count->held_ms, and *why). -1: the queue cannot be used, the lease
 * is lost, or a stop was asked for. */
int pass_run(const struct pass *pass, struct scan_count *count, struct err *why, struct err *err);
/* Who is asked by a listing of it (whose limits bind that, or a mount: *mount), as a number that no other place has; 0: it is of this machine,
 * or a fault that pass_run() tells. */
uint64_t pass_place(const struct config *config, const struct pipeline *p, bool *mount);
/* The same of a folder here; nothing of it is touched. */
uint64_t pass_folder_place(const char *folder);
/* Who lists it does not answer: write down that the listing broke off, by *why. 0; -1: as pass_run(). */
int pass_broke_off(const struct pass *pass, const struct err *why, struct err *err);
/* Did the server of its source ask to be left alone? 1: until then, and `why` says which and what it said; 0; -1. */
enum { PASS_HELD = 700 };
int pass_held(struct queue *q, const struct config *config, const struct pipeline *p, int64_t *until, char why[PASS_HELD], struct err *err);
/* Can somebody list the source of a scanned pipeline? 0, or -1: uri. */
int pass_check(const struct pipeline *p, struct err *err);
/* Where the done-marker of the object of that path has to lie, behind out. 0, -1. */
int pass_marker(const char *done_marker, struct str own, struct buf *out, struct err *err);
/* Does after=move lead to where the source would find the objects again? 0 no, or -1: config. */
int pass_check_after(const struct pipeline *p, struct err *err);
struct pass_found {
    const char *uri, *why; /* why: the one reason for what becomes of it */
    int64_t size, mtime_ms; /* -1, 0: not known */
    bool open; /* it is not taken, and not ignored */
};
/* What a pass would find, without writing: each object that lies there goes to found(). */
int pass_peek(const struct pass *pass, const struct scan_row *scan, void (*found)(void *arg, const struct pass_found *o), void *arg,
              struct scan_count *count, struct err *err);
/* Does the place of the source let us list it, as the ini says? The listing ends with the first object, and nothing is written. 0, -1 */
int pass_probe(const struct pass *pass, struct err *err);
/* Fill the job of a slot: its object is the source with the dates of that time (a command has none), its parameter "slot" the time. *objects and
 * *params hold what it points to. */
int pass_slot_job(const struct pipeline *p, int64_t at, struct buf *objects, struct buf *params, struct job_new *job, struct err *err);
/* What all jobs of the pipeline have in common. s holds it. */
int pass_job(const struct config *config, const struct pipeline *p, struct submission *s, struct err *err);

#endif
