/*
 * The guard of a program: a small process between the worker and the program that it runs.
 *
 * The program and whatever it starts are killed whole, and by nobody but the kernel's rules: the guard is their reaper
 * (PR_SET_CHILD_SUBREAPER), so that one who forks twice comes to it too; it kills all when the socket to the worker closes, which
 * the kernel does for a worker that dies; and the program dies with the guard (PR_SET_PDEATHSIG). The guard keeps the time limit
 * and reads standard error, so that neither a slow program nor a talkative one costs the worker anything.
 *
 * It is forked from the worker and never returns; it uses no memory but its own stack and nothing that another thread of the
 * worker could hold. If power fails there is nothing to mend.
 */
#ifndef QETL_ROLE_GUARD_H
#define QETL_ROLE_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { GUARD_TALK_MAX = 16 * 1024 };

/* What to start. Descriptors are those of the program; all of them are above 2. */
struct guard_launch {
    char *const *argv, *const *envp;
    const char *folder; /* that it works in */
    int in, out, err;
    bool streams_in;    /* in is a pipe that it must read to its end */
    int talk;           /* the other end of err, for the guard */
    int64_t timeout_ms;
    int64_t memory;     /* RLIMIT_DATA of each process; 0: none */
    bool switch_user;
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    int ngroups;
};

enum guard_end { GUARD_EXITED, GUARD_SIGNALED, GUARD_TIMEOUT, GUARD_NOT_STARTED };

/*
 * Said once, when the program itself is over; what it left behind may still run until the socket is closed. With streams_in a
 * status of 0 is said only when the pipe's other end is closed or bytes are in it, or at the time limit: what is written to a
 * pipe that the guard still holds would be lost without a word.
 */
struct guard_report {
    enum guard_end end;
    int value;              /* status, signal, or errno */
    bool unread;            /* with streams_in, status 0: it ended before it had read all, or before there was an end to read */
    char step[24];          /* not started: at what */
    uint32_t ntalk;
    bool talk_cut;          /* there was more before it */
    char talk[GUARD_TALK_MAX]; /* the last of standard error */
};

/* Start the program, tell the worker by `socket` what became of it, kill all when the worker closes its end. */
void guard_run(const struct guard_launch *launch, int socket) __attribute__((noreturn));

#endif
