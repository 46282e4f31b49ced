/*
 * How many jobs a second the queue takes and gives, and how long a worker waits for it.
 *
 *     bench/queue [SECONDS A LINE] [FOLDER] [FINISHED JOBS TO START WITH]
 *
 * submit: one process, 1000 jobs a commit, each commit on disk before the next. claim + ack:
 * processes that acknowledge what they hold and claim the next in one transaction, without work
 * between ("durable": the job is staged, and the fdatasync is part of the call; "normal": it is
 * handed back, which nobody waits for). "busy": each job takes 3 ms. latency: from the begin of a
 * submit of one job to its claim by another process that slept.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "base/sys.h"
#include "io/db.h"
#include "queue/job.h"

enum { WORKERS = 8, TIMES_MAX = 200000, BATCH_MAX = 10 };

struct result {
    int64_t jobs;
    int n;
    int64_t us[TIMES_MAX]; /* of each call */
};

static struct result *results;
static char path[512];
static double seconds = 2;

static void die(const struct err *err)
{
    fprintf(stderr, "bench/queue: %s [%s]\n", err->msg, err_name(err->code));
    exit(1);
}

static struct queue *open_queue(void)
{
    struct err err;
    struct queue *q;
    if (queue_open(&q, path, QUEUE_CREATE, &err) < 0)
        die(&err);
    return q;
}

static void remove_queue(void)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", "-lock", "-bell" };
    char name[600];
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static void submit(struct queue *q, int n, enum queue_durability d, const char *params)
{
    struct err err;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    struct job_new job = {
        .pipeline = "bench",
        .target = "warehouse",
        .attempts_max = 5,
        .params = str_of(params),
        .objects = STR("[\"http://files.example.org/out/2026/11/21/orders-000123.csv.gz\"]")
    };
    if (queue_begin(q, &err) < 0)
        die(&err);
    for (int i = 0; i < n; i++)
        if (job_submit(q, &job, &id, uid, &made, &err) < 0)
            die(&err);
    if (queue_commit(q, d, &err) < 0)
        die(&err);
}

static void bench_submit(void)
{
    struct queue *q = open_queue();
    int64_t start = sys_mono_us(), end = start + (int64_t)(seconds * 1e6), n = 0;
    for (; sys_mono_us() < end; n += 1000)
        submit(q, 1000, QUEUE_NOW, "{\"date\":\"2026-11-21\",\"attempt\":\"first\"}");
    double rate = (double)n * 1e6 / (double)(sys_mono_us() - start);
    printf("submit, 1000 a commit, durable          %8.0f jobs/s\n", rate);
    queue_close(q);
}

/* ---- claim and acknowledge ---- */

struct load {
    const char *name;
    bool durable;
    int batch, work_ms;
};

static void work(const struct load *load, struct result *r, int64_t worker)
{
    struct queue *q = open_queue();
    struct lease leases[BATCH_MAX];
    struct finish finishes[BATCH_MAX];
    struct err err;
    int held = 0;
    for (int64_t end = sys_mono_us() + (int64_t)(seconds * 1e6), start;
         (start = sys_mono_us()) < end;) {
        for (int i = 0; i < held; i++)
            finishes[i] =
                (struct finish){ .lease = &leases[i],
                                 .outcome = load->durable ? OUT_STAGED : OUT_HANDED_BACK };
        struct lease next[BATCH_MAX];
        int n = job_finish_claim(q, finishes, held, worker, 60000, 3, next, load->batch, &err);
        if (n < 0)
            die(&err);
        if (r->n < TIMES_MAX)
            r->us[r->n++] = sys_mono_us() - start;
        r->jobs += held;
        for (int i = 0; i < held; i++)
            job_lease_clear(&leases[i]);
        memcpy(leases, next, sizeof next);
        held = n;
        if (load->work_ms && held)
            nanosleep(&(struct timespec){ .tv_nsec = load->work_ms * 1000000L }, NULL);
    }
    for (int i = 0; i < held; i++)
        job_lease_clear(&leases[i]);
    queue_close(q);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void report(const struct load *load, int64_t us)
{
    static int64_t all[WORKERS * TIMES_MAX];
    int64_t jobs = 0, least = INT64_MAX;
    size_t n = 0;
    for (int i = 0; i < WORKERS; i++) {
        jobs += results[i].jobs;
        least = results[i].jobs < least ? results[i].jobs : least;
        memcpy(all + n, results[i].us, (size_t)results[i].n * sizeof *all);
        n += (size_t)results[i].n;
    }
    qsort(all, n, sizeof *all, by_value);
    printf(
        "%-39s %8.0f jobs/s   call p50 %.2f  p99 %.2f  max %.1f ms   least worker %.2f of mean\n",
        load->name, (double)jobs * 1e6 / (double)us, (double)all[n / 2] / 1e3,
        (double)all[n * 99 / 100] / 1e3, (double)all[n - 1] / 1e3,
        (double)least * WORKERS / (double)jobs);
}

static void bench_work(const struct load *load)
{
    struct queue *q = open_queue();
    for (int i = 0; i < (load->work_ms ? 20 : 100); i++)
        submit(q, 1000, QUEUE_LATER, "{}");
    queue_close(q);
    memset(results, 0, WORKERS * sizeof *results);
    int64_t start = sys_mono_us();
    for (int i = 0; i < WORKERS; i++)
        if (fork() == 0) {
            work(load, &results[i], i + 1);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    report(load, sys_mono_us() - start);
}

/* ---- latency ---- */

static void sleeper(struct result *r, int n)
{
    struct queue *q = open_queue();
    struct err err;
    while (r->n < n) {
        uint32_t bell = queue_bell(q, BELL_READY);
        struct lease l;
        int got = job_finish_claim(q, NULL, 0, 1, 60000, 3, &l, 1, &err);
        if (got < 0)
            die(&err);
        if (got == 0) {
            queue_sleep(q, BELL_READY, bell, 1000);
            continue;
        }
        r->us[r->n++] = sys_mono_us() - strtoll(l.params, NULL, 10);
        job_lease_clear(&l);
    }
    queue_close(q);
}

static void bench_latency(enum queue_durability d)
{
    enum { N = 400 };
    char now[32];
    struct queue *q;
    memset(results, 0, sizeof *results);
    remove_queue();
    queue_close(open_queue());
    if (fork() == 0) {
        sleeper(results, N);
        _exit(0);
    }
    q = open_queue();
    for (int i = 0; i < N; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
        snprintf(now, sizeof now, "%" PRId64, sys_mono_us());
        submit(q, 1, d, now);
        queue_ring(q, BELL_READY, 1);
    }
    wait(NULL);
    queue_close(q);
    qsort(results->us, N, sizeof *results->us, by_value);
    printf("latency, submit to claim, %-13s p50 %.2f  p99 %.2f  max %.2f ms\n",
           d == QUEUE_NOW ? "durable" : "normal", (double)results->us[N / 2] / 1e3,
           (double)results->us[N * 99 / 100] / 1e3, (double)results->us[N - 1] / 1e3);
}

static void add_history(long n)
{
    struct queue *q = open_queue();
    struct err err;
    char sql[600];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value "
             "< %ld) "
             "INSERT INTO job (uid, pipeline, target, state, run_at, seq, created, token, "
             "attempts, finished) "
             "SELECT printf('%%026d', value), 'bench', 'warehouse', 'loaded', 1, value, 1, 2, 1, 2 "
             "FROM n",
             n);
    if (queue_begin(q, &err) < 0 || db_exec(queue_db(q), sql, &err) < 0 ||
        queue_commit(q, QUEUE_NOW, &err) < 0)
        die(&err);
    queue_close(q);
}

int main(int argc, char **argv)
{
    static const struct load loads[] = {
        { "claim + ack, 8 workers, durable", true, 1, 0 },
        { "claim + ack, 8 workers, normal", false, 1, 0 },
        { "claim + ack, 8 workers, normal, by 10", false, BATCH_MAX, 0 },
        { "busy, 8 workers, durable", true, 1, 3 },
        { "busy, 8 workers, normal", false, 1, 3 },
    };
    if (argc > 1)
        seconds = strtod(argv[1], NULL);
    snprintf(path, sizeof path, "%s/bench-queue.db", argc > 2 ? argv[2] : ".");
    long history = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    results = mmap(NULL, WORKERS * sizeof *results, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    remove_queue();
    bench_submit();
    for (size_t i = 0; i < COUNT_OF(loads); i++) {
        remove_queue();
        if (history)
            add_history(history);
        bench_work(&loads[i]);
    }
    bench_latency(QUEUE_NOW);
    bench_latency(QUEUE_LATER);
    remove_queue();
    return 0;
}
