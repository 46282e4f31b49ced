/*
 * The inside of the reader child, and what both sides say to each other.
 *
 * Worker to child, in this order for a job: BEGIN, then for each object STREAM or FILE and later
 * OBJECT_END (not for a file that is complete), then FINISH. Child to worker: HELLO once; OPEN when it needs a file (a staged one, a
 * scratch file, a look-up), and PROGRAM a filter (the answer OPENED comes by a socket of its own, so that it does not queue behind
 * objects); RESULT,
 * once a job, which may come early: when the job failed, or an inference has seen enough. What the
 * child gets after its RESULT and before the next BEGIN belongs to the job that is over, and is
 * dropped.
 */
#ifndef QETL_ROLE_READER_CHILD_H
#define QETL_ROLE_READER_CHILD_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "io/config.h"
#include "io/ring.h"

enum reader_message {
    READER_BEGIN,  /* a: pipeline number, b: infer?, c: samples?; body: uid of the job, and columns, a
                      text a part */
    READER_STREAM, /* a: ring position of its first byte, b: size, c: number of the object; body:
                      URI */
    READER_FILE,   /* a: size or -1, b: complete?, c: number of the object; body: URI; descriptor */
    READER_OBJECT_END, /* a: ring position behind its last byte, or size of the file */
    READER_FINISH,
    READER_HELLO,  /* body: error; its code is ERR_NONE when the child is ready. a: peak RSS */
    READER_OPEN,   /* a: number of the output, or as io/stage.h has it */
    READER_PROGRAM, /* a: number of the part whose filter is to be started */
    READER_OPENED, /* descriptor, or body: error; for READER_PROGRAM two: to it, from it */
    READER_ASK,    /* a: number of an [enrich]; body: question, see pipeline/enrich.h. The child waits for the answer */
    READER_ANSWER, /* descriptor of the answer, a: its bytes; or body: error. By the socket of OPENED */
    READER_RESULT, /* body: see result_pack */
};

/* In shared memory; the worker writes all but `taken`. */
struct reader_shared {
    _Atomic uint64_t streaming; /* number of the object whose bytes go into the ring, set before the
                                   first of them */
    _Atomic uint64_t grown;     /* READER_GROWN(object, bytes that are in its file) */
    _Atomic uint64_t taken; /* by the child: bytes of the job's complete files that it is done with */
};
enum { READER_GROWN_BITS = 48 };
#define READER_GROWN(object, bytes) ((uint64_t)(object) << READER_GROWN_BITS | (uint64_t)(bytes))

struct reader_side {
    const struct config *config;
    int control, reply;
    struct ring ring;
    struct reader_shared *shared;
    pid_t parent;
};

/* Enter the sandbox and serve jobs until the worker goes away. */
void reader_child_run(const struct reader_side *side) __attribute__((noreturn));

#endif
