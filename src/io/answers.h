/*
 * The cache of enrichments, and what all workers together may ask for: a SQLite file of its own, shared by all processes of a
 * queue: DATABASE-enrich. Another queue in the same folder has another one, for an [enrich] of the same name may be another server there.
 *
 * An answer stands under its place (the name of the [enrich]) and a key, which is a hash: neither what was asked nor a secret can be
 * read from it. Each place keeps as many rows and bytes as its limits say; the oldest answers go first. Requests are counted before they are
 * sent, so that a quota is never passed; a process that dies has taken what it did not send.
 *
 * A server that fails ASK_FAILURES times in a row, or says that it is busy, is left alone by all: for a second at first, or as long
 * as it asks for, then twice as long each time, up to ten minutes. After that one request is let through, and the others when it was answered.
 * Nobody is held by a time that was fixed by a clock that is ahead of now: it was set back since.
 *
 * Writers queue at a lock of their own beside the file (<path>-lock, flock), then BEGIN IMMEDIATE; checkpoints run inside of it alone, for
 * the reason that stands in queue/queue.h. If power fails the newest answers are gone, and the newest requests are not counted. The
 * file may be removed while nobody uses it: then the cache is empty.
 */
#ifndef QETL_IO_ANSWERS_H
#define QETL_IO_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct answers;
/* Made where it is missing, by any number of processes at once. Errors: database, database-newer, disk-full. */
int answers_open(struct answers **out, const char *path, struct err *err);
void answers_close(struct answers *a); /* NULL is fine */

enum { ANSWER_KEY = 32 }; /* of a key, in hex */

/* Many looks at one moment cost less than each by itself: between these two. */
int answers_look(struct answers *a, struct err *err);
void answers_looked(struct answers *a);
/* The answer, if one is kept that has not expired, into body: 1, 0, -1. *none: the server said that there is none. */
int answers_get(struct answers *a, const char key[ANSWER_KEY + 1], int64_t now, bool *none, struct buf *body, struct err *err);

/* What to write down of a key. */
enum answer_news {
    ANSWER_IS,     /* body is the answer */
    ANSWER_NONE,   /* there is none */
    ANSWER_EMPTY,  /* nothing was found in what is kept: it stays, to be looked into again, but goes when this expires */
    ANSWER_FORGET, /* what is kept is of no use */
};
struct answer_new {
    enum answer_news what;
    char key[ANSWER_KEY + 1];
    int64_t expires; /* ms since 1970 */
    struct str body;
};
struct answer_limits {
    int64_t rows, bytes;
};
/* All of them in one transaction; what stands over the limits goes. */
int answers_put(struct answers *a, const char *place, const struct answer_limits *limits, const struct answer_new *news, int n,
                int64_t now, struct err *err);

/* Forget the answers of a place, or only those in which there was nothing; *n: how many. In steps, between which others go on; what comes
 * meanwhile may stay. */
int answers_forget(struct answers *a, const char *place, bool misses, int64_t *n, struct err *err);

/* ---- what may be asked, by all together ---- */

struct ask_limits {
    int64_t server;                     /* whom the place asks: what was learned of another one does not count */
    int64_t probe_ms;                   /* a request that is let through alone is over after so long, or its process is dead */
    int64_t interval_ms;                /* from the start of a request to that of the next; 0: none */
    int64_t quota, quota_ms;            /* so many requests in each period, which begin at multiples of it since 1970 UTC; 0: any number */
    int64_t wait_ms;                    /* with interval_ms: how long the first request may have to wait */
};
enum ask_gate {
    ASK_OPEN,
    ASK_BUSY,     /* the server asked to be left alone */
    ASK_DOWN,     /* it failed too often */
    ASK_PROBED,   /* so it did, or asked, and one request is under way now */
    ASK_QUOTA,
    ASK_INTERVAL, /* it would have to wait for longer */
};
enum { ASK_WHY = 300, ASK_FAILURES = 10 };
struct ask_grant {
    enum ask_gate gate;
    int64_t n;       /* requests that may be sent, the first at `at`, each later one an interval after the one before */
    int64_t at;      /* ASK_OPEN: ms since 1970; else: when to ask again */
    int64_t failures; /* of the server in a row, so far: an answer is to be told by answers_well() */
    char why[ASK_WHY]; /* ASK_BUSY, ASK_DOWN, ASK_PROBED: the last of them */
};
/* Up to `want` requests, and with an interval no more than are for a second; they count from now on. A clock that is set back makes nobody wait
 * for longer than wait_ms, a second and an interval. */
int answers_take(struct answers *a, const char *place, const struct ask_limits *limits, int64_t want, int64_t now, struct ask_grant *out,
                 struct err *err);
/* So many of those were not sent. */
int answers_give_back(struct answers *a, const char *place, const struct ask_limits *limits, int64_t n, int64_t now, struct err *err);
/* A request failed, and may not have for its own sake; `why`: in words. */
struct ask_failure {
    bool busy;              /* the server asked to be left alone, */
    int64_t retry_after_ms; /* for so long; 0: it did not say */
    const char *why;
};
/* *until: nobody asks before (ms since 1970); 0: it was not one too many. */
int answers_failed(struct answers *a, const char *place, const struct ask_limits *limits, const struct ask_failure *f, int64_t now,
                   int64_t *until, struct err *err);
/* The server answered, whatever it was: its failures are over, unless it is to be left alone still. */
int answers_well(struct answers *a, const char *place, int64_t now, struct err *err);

/* ---- for people ---- */

/* A person knows better than what its server said: it may be asked at once, by one request first. 1; 0: it is not left alone; -1. */
int answers_release(struct answers *a, const char *place, int64_t now, struct err *err);

struct answers_place {
    int64_t rows, misses; /* of rows: there was no answer, or nothing in it */
    int64_t bytes;
    int64_t quota_used;   /* in the period that now is in */
    struct ask_grant gate; /* what one who asks now would be told; it counts for nothing */
};
/* Of a place that nobody asked yet it is all 0, and open. */
int answers_of(struct answers *a, const char *place, const struct ask_limits *limits, int64_t now, struct answers_place *out, struct err *err);
/* All places there are, by name; a return of other than 0 ends it. */
int answers_places(struct answers *a, int (*row)(void *arg, const char *place), void *arg, struct err *err);

#endif
