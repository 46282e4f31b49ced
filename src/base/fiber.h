/*
 * A function on a stack of its own that can stop in the middle and be gone on with later: what is
 * pulled from (a loop that asks for its next input) can be driven by what pushes. One side runs at a
 * time, in the thread that resumes; nothing is shared between threads, and none is made.
 */
#ifndef QETL_BASE_FIBER_H
#define QETL_BASE_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct fiber;

/*
 * A fiber that will call run(arg) at the first resume. stack: bytes, rounded up to pages; they are
 * mapped, and taken from the machine only as far as they are used. A page that cannot be touched lies
 * below: a stack that overflows is a SIGSEGV and no overwritten memory. Errors: no-memory.
 */
int fiber_new(struct fiber **out, size_t stack, void (*run)(void *arg), void *arg, struct err *err);
/* Go on until the fiber pauses or run() returns. Not after it has returned, and not inside the fiber. */
void fiber_resume(struct fiber *f);
/* Inside the fiber: back to whoever resumed it; returns at the next resume. */
void fiber_pause(struct fiber *f);
/* Did run() return? */
bool fiber_done(const struct fiber *f);
/* NULL is fine. One that was begun must be done: what lies on its stack is not released otherwise. */
void fiber_free(struct fiber *f);

#endif
