/* The thread that renews the leases of the group in hand. See keeper.h. */
#include "role/keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/sys.h"
#include "queue/queue.h"

struct keeper {
    const struct role *role;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct queue *queue;
    const struct staged_job *jobs; /* under mutex, like all below */
    int n;
    bool stop;
};

static void keep(struct keeper *k)
{
    struct err err;
    int rc = job_load_renew(k->queue, k->jobs, k->n, sys_now_ms() + k->role->config->lease_ms, &err);
    if (rc < 0)
        log_error("leases not renewed; trying again", &err, NULL, NULL);
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    int64_t next = 0;
    pthread_mutex_lock(&k->mutex);
    while (!k->stop) {
        if (k->n == 0) {
            pthread_cond_wait(&k->changed, &k->mutex);
            next = sys_mono_ms() + k->role->config->lease_ms / 3;
            continue;
        }
        role_alive(k->role);
        if (sys_mono_ms() >= next) {
            keep(k);
            next = sys_mono_ms() + k->role->config->lease_ms / 3;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&k->changed, &k->mutex, &until);
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

int keeper_start(struct keeper **out, const struct role *role, struct err *err)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (!k)
        return err_nomem(err);
    k->role = role;
    pthread_mutex_init(&k->mutex, NULL);
    pthread_condattr_t attr; /* a wall clock that is set back must not stop the renewing */
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (queue_open(&k->queue, role->config->database, 0, err) < 0) {
        free(k);
        return -1;
    }
    if (sys_thread(&k->thread, 0, keeper_main, k, err) < 0) {
        queue_close(k->queue);
        free(k);
        return err_in(err, "the lease keeper's thread");
    }
    *out = k;
    return 0;
}

void keeper_hold(struct keeper *k, const struct staged_job *jobs, int n)
{
    pthread_mutex_lock(&k->mutex);
    k->jobs = jobs;
    k->n = n;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->mutex);
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->mutex);
    k->stop = true;
    pthread_cond_signal(&k->changed);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    queue_close(k->queue);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->mutex);
    free(k);
}
