/*
 * One thread, one ring of slots, one mutex.
 *
 * The consumer owns the slot at `tail` from the pull that gave it until the next pull; the thread
 * owns those from `head` to tail + SLOTS; whoever moves a mark does so under the mutex, which hands
 * the bytes over. `served` is the stream that the thread works for: the consumer sets it, the
 * thread clears it when it is done with everything that belongs to the stream, its error included.
 * Only the thread touches the streams below in between. Nothing outlives the process.
 */
#include "read/ahead.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

enum { SLOTS = 4, SLOT = 256 << 10, STACK = 1 << 20 };

struct slot {
    char *bytes;
    size_t n;
    int64_t in, out; /* of the lower budget, when this was made */
};

struct ahead {
    struct stream s, *below;
    const struct budget *lower;
    struct budget *upper;
    int64_t in, out; /* as far as blocks were taken; upper->in points to the first */
    size_t given;    /* without the thread */
    bool threaded, held;
};

static struct helper {
    pthread_t thread;
    bool started;
    size_t after;
    void (*cancel)(void *arg);
    void *arg;
    char *memory;
    pthread_mutex_t mutex;
    pthread_cond_t to_thread, to_consumer;
    bool running, quit; /* under the mutex, like all below */
    struct ahead *served;
    bool stop; /* the consumer wants no more */
    struct slot slots[SLOTS];
    unsigned head, tail;
    int rc; /* 1 going on; 0 the end, -1 error: what comes behind the last slot */
    struct err err;
} helper = { .mutex = PTHREAD_MUTEX_INITIALIZER,
             .to_thread = PTHREAD_COND_INITIALIZER,
             .to_consumer = PTHREAD_COND_INITIALIZER };

/* ---- the thread ---- */

/* A slot to fill, or NULL: stop. */
static struct slot *slot_free(void)
{
    struct helper *h = &helper;
    pthread_mutex_lock(&h->mutex);
    while (!h->stop && h->head - h->tail == SLOTS)
        pthread_cond_wait(&h->to_thread, &h->mutex);
    struct slot *s = h->stop ? NULL : &h->slots[h->head % SLOTS];
    pthread_mutex_unlock(&h->mutex);
    return s;
}

static void slot_filled(void)
{
    struct helper *h = &helper;
    pthread_mutex_lock(&h->mutex);
    h->head++;
    pthread_cond_signal(&h->to_consumer);
    pthread_mutex_unlock(&h->mutex);
}

/* false: stop. */
static bool block_put(const struct ahead *a, struct str block)
{
    while (block.n) {
        struct slot *s = slot_free();
        if (!s)
            return false;
        s->n = block.n < SLOT ? block.n : SLOT;
        s->in = *a->lower->in;
        s->out = a->lower->out[BUDGET_LAYERS];
        memcpy(s->bytes, block.p, s->n);
        block = (struct str){ block.p + s->n, block.n - s->n };
        slot_filled();
    }
    return true;
}

static void serve(struct ahead *a)
{
    struct helper *h = &helper;
    struct str block;
    struct err err;
    int rc;
    while ((rc = stream_next(a->below, &block, &err)) == 1 && block_put(a, block))
        ;
    pthread_mutex_lock(&h->mutex);
    h->rc = rc;
    if (rc < 0)
        h->err = err;
    h->served = NULL;
    pthread_cond_signal(&h->to_consumer);
    pthread_mutex_unlock(&h->mutex);
}

static void *helper_main(void *arg)
{
    struct helper *h = arg;
    pthread_mutex_lock(&h->mutex);
    h->running = true;
    pthread_cond_signal(&h->to_consumer);
    while (!h->quit) {
        struct ahead *a = h->served;
        if (!a) {
            pthread_cond_wait(&h->to_thread, &h->mutex);
            continue;
        }
        pthread_mutex_unlock(&h->mutex);
        serve(a);
        pthread_mutex_lock(&h->mutex);
    }
    pthread_mutex_unlock(&h->mutex);
    return NULL;
}

int ahead_start(size_t after, void (*cancel)(void *arg), void *arg, struct err *err)
{
    struct helper *h = &helper;
    h->after = after;
    h->cancel = cancel;
    h->arg = arg;
    h->running = h->quit = false;
    if (sys_thread(&h->thread, STACK, helper_main, h, err) < 0)
        return err_in(err, "the thread that unpacks ahead");
    h->started = true;
    pthread_mutex_lock(&h->mutex);
    while (!h->running)
        pthread_cond_wait(&h->to_consumer, &h->mutex);
    pthread_mutex_unlock(&h->mutex);
    return 0;
}

void ahead_stop(void)
{
    struct helper *h = &helper;
    if (!h->started)
        return;
    pthread_mutex_lock(&h->mutex);
    h->quit = true;
    pthread_cond_signal(&h->to_thread);
    pthread_mutex_unlock(&h->mutex);
    pthread_join(h->thread, NULL);
    free(h->memory);
    h->memory = NULL;
    h->started = false;
}

bool ahead_started(void)
{
    return helper.started;
}

/* ---- the consumer ---- */

/* What the layers below did up to here becomes visible above. */
static int budget_pass(struct ahead *a, int64_t in, int64_t out, struct err *err)
{
    size_t made = (size_t)(out - a->out);
    a->in = in;
    a->out = out;
    return made ? budget_take(a->upper, BUDGET_LAYERS, made, err) : 0;
}

/* Without memory for the ring it goes on as it began. */
static bool thread_take(struct ahead *a)
{
    struct helper *h = &helper;
    if (!h->memory && !(h->memory = malloc((size_t)SLOTS * SLOT)))
        return false;
    for (int i = 0; i < SLOTS; i++)
        h->slots[i].bytes = h->memory + (size_t)i * SLOT;
    pthread_mutex_lock(&h->mutex);
    h->head = h->tail = 0;
    h->rc = 1;
    h->stop = false;
    h->served = a;
    pthread_cond_signal(&h->to_thread);
    pthread_mutex_unlock(&h->mutex);
    return a->threaded = true;
}

static int pull_here(struct ahead *a, struct str *block, struct err *err)
{
    int rc = stream_next(a->below, block, err);
    a->in = *a->lower->in;
    if (rc <= 0)
        return rc;
    a->given += block->n;
    return budget_pass(a, a->in, a->lower->out[BUDGET_LAYERS], err) < 0 ? -1 : 1;
}

/* The next slot, or NULL and *rc: the end. The slot before is given back. */
static const struct slot *slot_take(struct ahead *a, int *rc, struct err *err)
{
    struct helper *h = &helper;
    const struct slot *s = NULL;
    pthread_mutex_lock(&h->mutex);
    if (a->held) {
        h->tail++;
        pthread_cond_signal(&h->to_thread);
    }
    while (h->head == h->tail && h->served)
        pthread_cond_wait(&h->to_consumer, &h->mutex);
    if (h->head != h->tail)
        s = &h->slots[h->tail % SLOTS];
    else if ((*rc = h->rc) < 0)
        *err = h->err;
    a->held = s;
    pthread_mutex_unlock(&h->mutex);
    return s;
}

static int ahead_pull(struct stream *stream, struct str *block, struct err *err)
{
    struct ahead *a = (struct ahead *)stream;
    if (!a->threaded && (a->given < helper.after || !thread_take(a)))
        return pull_here(a, block, err);
    int rc;
    const struct slot *s = slot_take(a, &rc, err);
    if (!s) {
        a->in = *a->lower->in;
        return rc;
    }
    *block = (struct str){ s->bytes, s->n };
    return budget_pass(a, s->in, s->out, err) < 0 ? -1 : 1;
}

static void ahead_close(struct stream *stream)
{
    struct helper *h = &helper;
    struct ahead *a = (struct ahead *)stream;
    pthread_mutex_lock(&h->mutex);
    h->stop = true;
    pthread_cond_signal(&h->to_thread);
    if (h->served && h->cancel)
        h->cancel(h->arg);
    while (h->served)
        pthread_cond_wait(&h->to_consumer, &h->mutex);
    pthread_mutex_unlock(&h->mutex);
    a->upper->in = a->lower->in;
    stream_close(a->below);
    free(a);
}

struct stream *ahead_open(struct stream *below, const struct budget *lower, struct budget *upper,
                          struct err *err)
{
    struct ahead *a = calloc(1, sizeof *a);
    if (!a) {
        stream_close(below);
        return err_nomem(err), NULL;
    }
    a->s.pull = ahead_pull;
    a->s.close = ahead_close;
    a->below = below;
    a->lower = lower;
    a->upper = upper;
    a->in = *lower->in;
    a->out = 0;
    upper->in = &a->in;
    return &a->s;
}
