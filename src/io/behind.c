/*
 * One thread, one run, one mutex. `served` is the file whose run the thread writes: who finds none there sets it, the thread clears
 * it. While it is set only the thread touches the file's run, hash and errno.
 *
 * Nothing here is synced: what counts after a power cut is decided by who calls fdatasync and publishes the name.
 */
#include "io/behind.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/sys.h"

enum { STACK = 256 << 10 };

static struct {
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t to_thread, to_maker;
    bool running, quit; /* under the mutex, like served */
    struct behind *served;
} helper = { .mutex = PTHREAD_MUTEX_INITIALIZER, .to_thread = PTHREAD_COND_INITIALIZER, .to_maker = PTHREAD_COND_INITIALIZER };

static void run_write(struct behind *b)
{
    const struct run *r = &b->run;
    for (size_t done = 0; done < r->n;) {
        ssize_t w = pwrite(b->fd, r->p + done, r->n - done, r->at + (off_t)done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            b->sys = errno;
            return;
        }
        done += (size_t)w;
    }
    hash_add(&b->hash, r->p, r->n);
    /* a hint that may fail: the disk begins while we go on, and fdatasync finds less to do (1.2x) */
    (void)sync_file_range(b->fd, r->at, (off_t)r->n, SYNC_FILE_RANGE_WRITE);
}

static void *helper_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&helper.mutex);
    helper.running = true;
    pthread_cond_broadcast(&helper.to_maker);
    while (!helper.quit) {
        struct behind *b = helper.served;
        if (!b) {
            pthread_cond_wait(&helper.to_thread, &helper.mutex);
            continue;
        }
        pthread_mutex_unlock(&helper.mutex);
        run_write(b);
        pthread_mutex_lock(&helper.mutex);
        helper.served = NULL;
        pthread_cond_broadcast(&helper.to_maker);
    }
    pthread_mutex_unlock(&helper.mutex);
    return NULL;
}

int behind_start(struct err *err)
{
    helper.running = helper.quit = false;
    if (sys_thread(&helper.thread, STACK, helper_main, NULL, err) < 0)
        return err_in(err, "the thread that writes behind");
    helper.started = true;
    pthread_mutex_lock(&helper.mutex);
    while (!helper.running)
        pthread_cond_wait(&helper.to_maker, &helper.mutex);
    pthread_mutex_unlock(&helper.mutex);
    return 0;
}

void behind_stop(void)
{
    if (!helper.started)
        return;
    pthread_mutex_lock(&helper.mutex);
    helper.quit = true;
    pthread_cond_signal(&helper.to_thread);
    pthread_mutex_unlock(&helper.mutex);
    pthread_join(helper.thread, NULL);
    helper.started = false;
}

/* ---- the maker ---- */

void behind_init(struct behind *b, int fd, off_t at, const char *what)
{
    *b = (struct behind){ .fd = fd, .at = at, .what = what };
    hash_init(&b->hash);
}

int behind_wait(struct behind *b, struct err *err)
{
    if (b->pending) {
        pthread_mutex_lock(&helper.mutex);
        while (helper.served == b)
            pthread_cond_wait(&helper.to_maker, &helper.mutex);
        pthread_mutex_unlock(&helper.mutex);
        b->pending = false;
    }
    errno = b->sys;
    return b->sys ? err_sys(err, "write %s", b->what) : 0;
}

/* Does the thread take the run? */
static bool hand_over(struct behind *b)
{
    if (!helper.started)
        return false;
    pthread_mutex_lock(&helper.mutex);
    if (!helper.served) {
        helper.served = b;
        b->pending = true;
        pthread_cond_signal(&helper.to_thread);
    }
    pthread_mutex_unlock(&helper.mutex);
    return b->pending;
}

static int next_run(struct behind *b, const void *p, size_t n, struct err *err)
{
    if (behind_wait(b, err) < 0)
        return -1;
    b->run = (struct run){ p, n, b->at };
    b->at += (off_t)n;
    return 0;
}

int behind_write(struct behind *b, const void *p, size_t n, struct err *err)
{
    if (next_run(b, p, n, err) < 0)
        return -1;
    if (hand_over(b))
        return 0;
    run_write(b);
    return behind_wait(b, err);
}

int behind_write_now(struct behind *b, const void *p, size_t n, struct err *err)
{
    if (next_run(b, p, n, err) < 0)
        return -1;
    run_write(b);
    return behind_wait(b, err);
}
