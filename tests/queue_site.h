/*
 * For tests of the queue: a fresh one with a worker that joined it, jobs into it, numbers out of it.
 */
#ifndef QETL_QUEUE_SITE_H
#define QETL_QUEUE_SITE_H

#include "io/db.h"
#include "queue/job.h"
#include "queue/registry.h"
#include "test.h"

static struct queue *q;
static struct err err;
static int64_t worker; /* in the registry */

static inline void start(void)
{
    static int n;
    char name[32];
    sys_clock_stop();
    snprintf(name, sizeof name, "queue%d.db", n++);
    CHECK_OK(queue_open(&q, test_file(name), QUEUE_CREATE, &err), err);
    CHECK_OK(registry_join(q, "worker", "worker-1", &worker, &err), err);
}

/* Durability is tested elsewhere; here it would only cost time. */
static inline int64_t submit_job(const struct job_new *n)
{
    char uid[SYS_UID_LEN + 1];
    bool made;
    int64_t id = 0;
    CHECK_OK(queue_begin(q, &err), err);
    CHECK_OK(job_submit(q, n, &id, uid, &made, &err), err);
    CHECK_OK(queue_commit(q, QUEUE_LATER, &err), err);
    return id;
}

static inline int64_t one_int(const char *sql)
{
    int64_t v = -1;
    CHECK_OK(db_int(queue_db(q), sql, &v, &err), err);
    return v;
}

#endif
