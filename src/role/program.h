/*
 * A program of the ini (command =, filter =) that works for a job: the worker's side.
 *
 * The program gets an environment of its own (PATH, HOME, LANG, LC_ALL, TZ, TMPDIR as the worker has them; QETL_JOB,
 * QETL_PIPELINE, QETL_ATTEMPT; QETL_PARAM_NAME for each parameter; command_env), the
 * folder of the ini as its working folder, a session of its own, umask 077, no_new_privs and no descriptors but the three.
 * Nothing here waits for it, but program_free(), which waits until its guard (role/guard.h) has killed all of it.
 */
#ifndef QETL_ROLE_PROGRAM_H
#define QETL_ROLE_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

struct program_call {
    const struct config *config;
    const struct pipeline *pipeline;
    const struct command *command;
    const char *job; /* uid */
    int64_t attempt;
    struct str params; /* JSON object, or empty */
    bool streams_in;   /* its standard input is a pipe, which it must read to its end; else the parameters as JSON */
};

struct program;

/* Start it. 0, also of one that cannot be started, which program_over() tells; -1: config (a secret, command_user), io. */
int program_start(struct program **out, const struct program_call *call, struct err *err);
/* Kill it with all that it started. NULL is fine. */
void program_free(struct program *p);

/* Its standard output, and with streams_in its standard input, else -1; both do not block. Ours. */
int program_out(const struct program *p);
int program_in(const struct program *p);
void program_close_in(struct program *p); /* it was given away: the program must see its end when others close it */
bool program_hung_up(const struct program *p); /* nobody can write to its standard output any more */
int program_fd(const struct program *p);     /* can be read when the program is over */

/*
 * 1: it is over and ended well. 0: it runs. -1: it failed: program (status, or input that it did not read), program-again (EX_TEMPFAIL, or a signal),
 * program-timeout, program-start. What it left running may still be there; program_lingers() tells for how long (ms).
 */
int program_over(struct program *p, struct err *err);
int64_t program_lingers(const struct program *p);
enum { PROGRAM_LINGER_MAX_MS = 5000 };
/* What it left running holds its standard output open, so that nobody knows whether the output is whole: program; -1. */
int program_left_open(const struct program *p, struct err *err);

/* The last it said on standard error, without secrets, as text; NULL: nothing. malloc'ed; the caller's from now on. */
char *program_talk(struct program *p);
/* The end of such a text, from the beginning of a line where there is one: what is kept of a program that ended well. */
enum { PROGRAM_SAID = 2 * 1024 };
const char *program_said(const char *talk);

#endif
