/*
 * Processes of the scanner that ask other hosts, and folders here that those have (base/mount.h): a place that is slow or mute holds up
 * itself, and neither local folders nor the inbox, the clock, or another place.
 *
 *   scanner ──task──▶ starter ──fork──▶ one process a task ──report──▶ scanner
 *
 * A place (far_task.place) has one task at a time. The starter is forked before the scanner opens queue.db, because no connection of
 * SQLite may go through a fork (https://www.sqlite.org/howtocorrupt.html, 2.6); so each task opens its own. It has no right of its own
 * to scan: it writes by the token of the scanner's lease, and when the scanner dies, at whatever instant, the kernel kills the starter,
 * and with it the tasks.
 */
#ifndef QETL_ROLE_FAR_H
#define QETL_ROLE_FAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "queue/scan.h"

enum { FAR_MAX = 16 /* tasks at a time */ };

struct far_task {
    int64_t number; /* set by far_start() */
    int pipeline;   /* of the config; it has one task at a time */
    uint64_t place; /* has one, too */
    struct scan_lease lease;
    bool lists, after; /* what is to be done: a listing; what is left to do with loaded objects */
    bool inbox;        /* or that: of no pipeline */
    bool mount;        /* the place is a folder here that another machine or a program has, for which there is no time limit but ours */
    int slot;          /* set by far_start(): where its signs of life are */
};

struct far_report {
    struct far_task task;
    enum { FAR_DONE, FAR_FAILED, FAR_DIED } how; /* failed: *err is not of the place, but of the queue, or a stop; died: *err says how */
    struct err err;
    /* of the listing, as pass_run(), or the inbox: taken, again_ms, and why */
    struct scan_count count;
    struct err why;
    /* of after= */
    struct err after_why; /* ERR_NONE: nothing of it failed */
    int64_t after_held_ms;
};

struct far;

/* serve() is called in the process of a task; it fills *report but for its task, which is set, and sets *beat to sys_mono_ms() as a sign of
 * life (role_alive()). -1: memory, the system. */
int far_open(struct far **out, void (*serve)(const void *arg, struct far_report *report, int64_t *beat), const void *arg, struct err *err);
/* Tasks that still run are told to stop, and killed when they do not soon; one that the kernel holds is not waited for, and has none of our
 * standard descriptors. NULL is fine. */
void far_close(struct far *f);
bool far_has_room(const struct far *f, uint64_t place); /* nobody asks that place, and not too many others */
int far_start(struct far *f, const struct far_task *task, struct err *err); /* there is room. 0, -1 the starter is gone */
/* Take the report of a task that has ended: 1, 0 none has, -1 the starter is gone. */
int far_ended(struct far *f, struct far_report *out, struct err *err);
/* A task at a mount that gave no sign of life for so long, once each; NULL: there is no other. It goes on, when somebody answers. */
const struct far_task *far_silent(struct far *f, int64_t silent_ms);
int far_awaited(const struct far *f); /* tasks that run, but for those that were silent; NULL: 0 */
int far_fd(const struct far *f);      /* readable when far_ended() has something; NULL: -1 */

#endif
