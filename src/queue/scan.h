/*
 * What was seen at the sources, and when they are looked at next: tables scan, seen, slot and scan_lease of queue.db.
 *
 * One scanner a database works, by a lease with a fencing token: every change below names it, so that one which lost it
 * changes nothing. Even without it nothing would come twice: a row of `seen` is one object of one pipeline, and the row
 * and its job change in one transaction.
 *
 *   listed ─▶ waiting ─▶ ready ─▶ taken          waiting: not known to be whole yet (settle, age, marker)
 *               ▲                   │            ready: becomes a job at the next scan_take(), oldest first, or is in the open
 *               └──── changed ──────┘            group until that is full or nothing came for a while (scan_take_groups())
 *                (on_change = reload, or its job has not read it yet)
 *
 * An object counts as taken at the version that its job reads, and not at the one that the job was made for. One that changes while its
 * job is ready settles again, and the job waits meanwhile; so does the job whose worker found another version than the listing
 * (`changed`, job.h). Then that job goes on, with the version that settled, and no other is made. What changes for ever never settles;
 * and each time that a worker finds another one the object has to stay the same for longer, so that no source that lies keeps us busy.
 *
 * An object is its URI, size, time and ETag; what a place does not tell is not compared. If power fails, what was seen
 * since the last commit is found again by the next listing; no job is made twice.
 *
 * Times of waiting are measured by the clock that nobody sets (sys_mono_ms() of one boot): a clock that is set back takes no
 * object too early, and none never.
 */
#ifndef QETL_QUEUE_SCAN_H
#define QETL_QUEUE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "queue/job.h"
#include "queue/queue.h"

enum {
    SCAN_BATCH = 1000, /* objects of one scan_look() */
    SCAN_TAKE = 200,   /* jobs of one transaction */
    SCAN_GROUP_MAX = 10000, /* objects of one job */
};

/* ---- the right to scan ---- */
struct scan_lease {
    int64_t token, ms; /* ms: how long it holds; every change renews it */
};
/* 1 taken from now on for lease_ms; 0 another one has it (its name in holder); -1. One whose process of this host is gone is
 * not waited for. */
int scan_lease_take(struct queue *q, int64_t worker, int64_t lease_ms, struct scan_lease *out, char holder[64], struct err *err);
int scan_lease_keep(struct queue *q, const struct scan_lease *l, struct err *err); /* 0, or -1: lease-lost, database */
int scan_lease_drop(struct queue *q, const struct scan_lease *l, struct err *err);

/* ---- the state of a scan ---- */
struct scan_row {
    int64_t era, cursor_glob, id, number, wanted, next_at, again_at, slot, asks, covered, started, finished;
    int64_t listed, found, changed, waiting, taken, failures, failed_since, breaks, after_failures; /* breaks: of the failures, the listings in a row that broke off */
    const char *pipeline, *source, *code, *message, *after_code, *after_message; /* in scan_rows() only */
    const char *cursor; /* there, and malloc'ed for who asks scan_cursor() */
};
int scan_rows(struct queue *q, int (*row)(void *arg, const struct scan_row *r), void *arg, struct err *err);
/* The scan of a pipeline; made where there is none (`wanted`: it is looked at at once, and its dates begin now). Another source than before voids
 * `covered` and the cursor, and slots that failed stay so. */
int scan_get(struct queue *q, const struct scan_lease *l, const char *pipeline, const char *source, bool wanted, struct scan_row *out,
             struct err *err);
/* A listing begins: the dates of a source that has no beginning yet begin there, whether that listing may ask its place or not. */
int scan_begin(struct queue *q, const struct scan_lease *l, struct scan_row *s, int64_t at, struct err *err);
/* The scan of a pipeline, if it has one, without its texts: 1, 0, -1. */
int scan_find(struct queue *q, const char *pipeline, struct scan_row *out, struct err *err);
/* Ask the scanner for a listing of that pipeline. 1; 0: it has none yet. Needs no lease. */
int scan_want(struct queue *q, const char *pipeline, struct err *err);

/* ---- one listing ---- */
struct scan_object {
    const char *uri, *etag;   /* etag "": none */
    int64_t size, mtime_ms;   /* -1, 0: not known */
    int64_t mtime_step_ms;    /* the place cuts times to so much, and an older one to more than a newer; 0: it does not */
    const char *params;       /* JSON object of its job, or NULL */
    bool whole;               /* known to be (renamed into its place): it need not settle */
    bool marked;              /* out of `marked` below */
    const char *marker;       /* name of its done-marker, for scan_peek() to say */
};
struct scan_rules {
    int64_t settle_ms, min_age_ms;
    enum on_change on_change;
    int64_t backoff_ms, backoff_max_ms; /* how long an object is to settle at least that was another one, twice, than the one that was listed; doubles */
    bool after;               /* something is to be done when its job is loaded */
    /* Several objects a job: a group is full with so many of them, or when the next one would bring it above so many bytes. */
    int64_t group_files, group_bytes; /* 0: no group; 0: no such limit */
    int64_t group_wait_ms;            /* one that is not full is open until nothing came to it for so long */
    /* Is its done-marker there? Asked, without the lock, of objects that are not taken. 1, 0, -1. NULL: it needs none. */
    int (*marked)(void *arg, const struct scan_object *o, struct err *err);
    void *arg;
};
struct scan_count {
    int64_t listed, found, changed, taken;
    int64_t waiting;  /* of those that were looked at: not whole yet */
    int64_t gone;     /* waited, and the listing did not have them any more */
    int64_t held_ms;  /* so long until the place may be asked: nothing was listed; 0: it was */
    int64_t again_ms; /* so long until the next of those that wait can be whole; 0: none waits for time */
    int64_t odd;      /* folders, or names, of which something was left out: odd_what is the first */
    char odd_what[200];
    char changed_uri[160]; /* the first of them with on_change = fail, cut */
};
/* Up to SCAN_BATCH objects: what is not known is written down, all in one transaction; those that are known cost a look-up each
 * and no lock. *count adds up. `page` (NULL: none) is written in the same transaction: a listing that fails later goes on there. */
struct scan_page {
    const char *cursor; /* of the lister, behind these objects */
    int64_t glob;       /* glob_id() */
};
int scan_look(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
              struct scan_object *objects, int n, const struct scan_page *page, struct scan_count *count, struct err *err);
/* The same without writing: what a listing would find (count: listed, found, changed), and why an object is not taken yet, or any
 * more, by one reason. 1; 0: it is taken; -1. */
enum { SCAN_WHY = 1000 }; /* a name may be in it, percent-encoded */
int scan_peek(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct scan_object *o, char why[SCAN_WHY],
              struct scan_count *count, struct err *err);
/*
 * on_change = fail: a person decides about those objects of the last listing that are not what they were when they were taken, and whose URI
 * is meant(). known: the version that was listed counts as taken from now on, and no job is made of it; a later
 * one fails the scan again. Else it is no job's any more, and the next listing finds a new one, which it takes when it is whole. Needs
 * no lease; decided before is no error. meant() is asked of each that changed; done(): each of those, when it is written. Gives how many, or -1.
 */
struct scan_changed {
    const char *uri;
    int64_t size, mtime_ms, job; /* as listed; the job that took it before */
};
int64_t scan_accept(struct queue *q, const struct scan_row *s, bool known, bool (*meant)(void *arg, const char *uri),
                    void (*done)(void *arg, const struct scan_changed *c), void *arg, struct err *err);
/* What was the object of a job already and is whole again: a job that has not read it goes on, none is made of it. Gives how many objects
 * were given so; ring BELL_READY then. Before scan_take() and scan_take_groups(), which pass over those that a job reads. */
int scan_take_again(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules, struct scan_count *count,
                    struct err *err);
/* The version of an object that a scan of the pipeline gave the job: 1; 0 none did, or it is forgotten; -1. */
struct scan_listed {
    int64_t size, mtime_ms; /* -1, 0: not known */
    char *etag;             /* "": none; malloc'ed */
    bool whole;             /* it has settled */
};
int scan_listed(struct queue *q, const char *pipeline, int64_t job, const char *uri, struct scan_listed *out, struct err *err);
/* Did a scan give the job that object, and is it not its own any more? 1: of *other (0: the next listing makes a job of it), which loads what
 * is there now, so that this one must not; 0; -1. */
int scan_other(struct queue *q, const char *pipeline, int64_t job, const char *uri, int64_t *other, struct err *err);
/* Up to SCAN_TAKE ready objects become jobs like `job` (its objects and params are set here), oldest first, in one transaction.
 * Gives how many; ring BELL_READY then. */
int scan_take(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
              const struct job_new *job, struct err *err);

/* The same where group_files is set: groups of objects with the same parameters become jobs, each group's in the order of time and
 * URI, as many as fit one short transaction. Gives how many; call it until g->end. What stays open counts as waiting; it stands in
 * the rows that are ready, and in nothing else: whoever comes next goes on with it. The caller clears g->after. */
struct scan_groups {
    struct buf after; /* parameters of the group that was looked at last */
    bool whole;       /* set by the caller: everything was listed, so what was in an open group and is not there is forgotten first */
    bool end;
};
int scan_take_groups(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
                     const struct job_new *job, struct scan_groups *g, struct scan_count *count, struct err *err);

/*
 * Pages that need not be read again while the place says that they are what they were (conditional requests): nothing is decided anew
 * about objects that are all taken. `rules`: hash of what decides; a page that was read by others, or in another era, is unknown.
 */
enum { SCAN_ETAG = 256, SCAN_MODIFIED = 64 };
struct scan_read {
    const char *uri, *etag, *modified; /* validators: "": none */
    int64_t objects;
};
/* Does any object wait, or is it ready? Then all is to be listed. 1, 0, -1. */
int scan_open(struct queue *q, const struct scan_row *s, struct err *err);
int scan_page_get(struct queue *q, const struct scan_row *s, int64_t rules, const char *uri, char etag[SCAN_ETAG], char modified[SCAN_MODIFIED],
                  int64_t *objects, struct err *err); /* 1, 0 it is not known, -1 */
/* n pages were read to their ends, and what they had is written down. */
int scan_page_put(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t rules, const struct scan_read *pages, int n,
                  struct err *err);

struct scan_end {
    int64_t started, next_at, again_at, covered;
    struct scan_count *count;
    bool whole;            /* everything was listed from the beginning: what waited and was not there is forgotten */
    bool broke;            /* the listing did not come to its end */
    bool resumes;          /* the next listing goes on from the cursor */
    int64_t forget_ms;     /* what no listing has for so long is forgotten; 0: nothing */
    const struct err *why; /* it failed, or NULL */
};
/* All at once: the checkpoint, and what became of the slots that had asked for this listing when s was read, at its beginning. */
int scan_end(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_end *end, struct err *err);

/* The cursor that the next listing goes on from, malloc'ed; NULL: from the beginning. 0, -1. */
int scan_cursor(struct queue *q, const char *pipeline, char **cursor, struct err *err);
/* The place must not be asked before again_at: nothing was listed, and `why` says so in status. */
int scan_held(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t again_at, const struct err *why, struct err *err);

/*
 * What no listing has any more is forgotten some time after (forget=); an object of that name is a new one then. That time is
 * counted in eras, SCAN_ERAS of them, by listings that came to their end, so that neither a scanner that was off nor a clock
 * that jumps forgets what is there. A known object is written again once an era.
 */
enum { SCAN_ERAS = 8 };
/* Forget what is due, in batches of a few ms; needs no lease. dry: only count. *n counts up. */
int scan_prune(struct queue *q, const struct scan_row *s, bool dry, int64_t *n, struct err *err);

/* ---- after the load ---- */
struct scan_after {
    const char *uri, *etag;
    int64_t size, mtime_ms, job;
};
/* Those objects whose job is loaded and for which something is left to do, one by one; `act` says SCAN_AFTER_LATER: not yet;
 * SCAN_AFTER_GONE: the object is not there any more, so that another one of its name is new; SCAN_AFTER_DONE. */
enum { SCAN_AFTER_LATER, SCAN_AFTER_DONE, SCAN_AFTER_GONE };
int scan_after(struct queue *q, const struct scan_lease *l, const struct scan_row *s,
               int (*act)(void *arg, const struct scan_after *a, struct err *err), void *arg, struct err *err);
/* How many there are, and when the job of the first of them was loaded (0: there is none). 0, -1. */
int scan_after_left(struct queue *q, const struct scan_row *s, int64_t *objects, int64_t *since, struct err *err);
/* All of them were tried; `why`: what became of the first that failed, or NULL. */
int scan_after_tried(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct err *why, struct err *err);
/* Is there any? 1, 0, -1. */
int scan_after_waits(struct queue *q, const struct scan_row *s, struct err *err);

/* ---- slots ---- */
struct scan_slot {
    int64_t at, job, decided;
    const char *reason;
    /* to scan_slots() */
    bool ran;  /* and is not skipped */
    bool good; /* its own listing, or a later one, is to find what it was for */
    /* of scan_slot_rows() */
    const char *outcome; /* due: its listing has not ended; ran; failed: that broke off; skipped */
    bool open;           /* due, or failed and the next listing that comes to its end makes it good */
};
/* Account for n slots (oldest first) in one transaction; the scan's `slot` becomes the last. One that ran and was not accounted for
 * before asks for a listing, and is due until that ended (scan_end()), or, with `job`, makes a job: its objects and params are given by fill. ran: out, how many of them. Where no
 * dates of the source were listed yet they are, without `job`, from the first slot on that is good. */
int scan_slots(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_slot *slots, int n,
               struct job_new *job, int (*fill)(void *arg, const struct scan_slot *slot, struct job_new *job, struct err *err),
               void *arg, int *ran, struct err *err);
/* The newest ones first. */
int scan_slot_rows(struct queue *q, int64_t scan, int64_t max, int (*row)(void *arg, const struct scan_slot *slot), void *arg,
                   struct err *err);
/* Forget those before that time, whatever became of them. */
int scan_slots_sweep(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t before, struct err *err);

/* ---- the inbox ---- */
/* Are the jobs of the message of that name made? name NULL: is any name written down? 1, 0, -1. */
int scan_inbox_known(struct queue *q, const char *name, struct err *err);
/* In one transaction, which is on disk afterwards: write down n names (none is known) and let submit() make the jobs of each. 0, or
 * -1: nothing was made. */
int scan_inbox(struct queue *q, const struct scan_lease *l, const char *const *names, int n,
               int (*submit)(void *arg, int i, struct err *err), void *arg, struct err *err);
/* They are put away for good: forget the names; names NULL: all. */
int scan_inbox_forget(struct queue *q, const struct scan_lease *l, const char *const *names, int n, struct err *err);

#endif
