/*
 * How many jobs a second the queue takes and gives, how long a worker waits for it, and whether
 * each gets its share.
 *
 *     bench/queue [-t SECONDS] [-d FOLDER] [-f FINISHED] [-r ROUNDS] [MODE...]
 *
 * Without a MODE: all of them. -f: all modes start with so many finished jobs. Results go to
 * standard output, one a line: "queue.MODE key=value ...", values plain numbers, keys as below;
 * scripts may rely on that. A key that a reader does not know is to be skipped.
 *
 * submit           one process, 1000 jobs a commit, each commit on disk before the next:
 *                  jobs_per_s.
 * claim-...        processes that acknowledge what they hold and claim the next in one
 *                  transaction, without work between ("durable": the job is staged, and the
 *                  fdatasync is part of the call; "normal": it is handed back, which nobody waits
 *                  for; "normal-10": ten at once).
 * busy-...         the same with jobs of 3 ms; "-32": by 32 processes, otherwise 8.
 * beside-...       busy-normal while another process does, without rest: submit (1000 a commit),
 *                  read (holds a snapshot for 200 ms), load (claims what is staged, by 100, and
 *                  finishes it), prune (finished jobs, 200000 to start with).
 *                  All of these: workers, jobs_per_s; p50_ms, p99_ms, p999_ms, worst_ms of one
 *                  call; share_min, share_max: jobs of the least and the most lucky worker over
 *                  the mean; wal_mb: the greatest size of the WAL that was seen at the end.
 * latency-...      from the begin of a submit of one job to its claim by a process that slept:
 *                  p50_ms, p99_ms, worst_ms.
 * pages            one process claims and stages 5000 jobs one at a time: pages asked for, read
 *                  and written by SQLite for one of them (hit, miss, write). No clock in it.
 * history          rounds in turn on a queue without and one with FINISHED jobs (default
 *                  1000000), both on disk before: claim_durable, claim_normal, claim_normal_10:
 *                  the median of the ratios of the rates, and _min, _max of the rounds; the pages
 *                  of both.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "io/db.h"
#include "queue/job.h"

enum { WORKERS_MAX = 32, TIMES_MAX = 200000, BATCH_MAX = 10, ROUNDS_MAX = 100 };

struct result {
    int64_t jobs;
    int n;
    int64_t us[TIMES_MAX]; /* of each call */
};

static struct result *results;
static char path[512];
static const char *folder = ".";
static double seconds = 2;
static long finished;
static int rounds = 5;

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

static void fresh(long history);

static void bench_submit(const char *name)
{
    fresh(finished);
    struct queue *q = open_queue();
    int64_t start = sys_mono_us(), end = start + (int64_t)(seconds * 1e6), n = 0;
    for (; sys_mono_us() < end; n += 1000)
        submit(q, 1000, QUEUE_NOW, "{\"date\":\"2026-11-21\",\"attempt\":\"first\"}");
    printf("queue.%s jobs_per_s=%.0f\n", name, (double)n * 1e6 / (double)(sys_mono_us() - start));
    queue_close(q);
}

/* ---- claim and acknowledge ---- */

struct load {
    const char *name;
    bool durable;
    int workers, batch, work_ms;
    void (*beside)(struct queue *q); /* a turn of what another process does all the time */
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

static double ms(const int64_t *sorted, size_t n, double part)
{
    return n ? (double)sorted[(size_t)((double)(n - 1) * part)] / 1e3 : 0;
}

static void report(const struct load *load, double rate, int64_t wal)
{
    static int64_t all[WORKERS_MAX * TIMES_MAX];
    int64_t jobs = 0, least = INT64_MAX, most = 0;
    size_t n = 0;
    for (int i = 0; i < load->workers; i++) {
        int64_t own = results[i].jobs;
        jobs += own;
        least = own < least ? own : least;
        most = own > most ? own : most;
        memcpy(all + n, results[i].us, (size_t)results[i].n * sizeof *all);
        n += (size_t)results[i].n;
    }
    double mean = (double)(jobs ? jobs : 1) / load->workers;
    qsort(all, n, sizeof *all, by_value);
    printf("queue.%s workers=%d jobs_per_s=%.0f p50_ms=%.3f p99_ms=%.3f p999_ms=%.3f "
           "worst_ms=%.3f share_min=%.2f share_max=%.2f wal_mb=%.1f\n",
           load->name, load->workers, rate, ms(all, n, 0.5), ms(all, n, 0.99), ms(all, n, 0.999),
           ms(all, n, 1), (double)least / mean, (double)most / mean, (double)wal / 1048576.0);
}

static pid_t start_beside(void (*turn)(struct queue *q))
{
    pid_t pid = fork();
    if (pid)
        return pid;
    for (struct queue *q = open_queue();;)
        turn(q);
}

/* Jobs a second. */
static double run_load(const struct load *load)
{
    pid_t pids[WORKERS_MAX];
    struct queue *q = open_queue();
    for (int i = 0; i < (load->work_ms ? 20 + load->workers * (int)seconds : 100); i++)
        submit(q, 1000, QUEUE_LATER, "{}");
    queue_close(q);
    memset(results, 0, WORKERS_MAX * sizeof *results);
    pid_t beside = load->beside ? start_beside(load->beside) : 0;
    int64_t start = sys_mono_us(), jobs = 0;
    for (int i = 0; i < load->workers; i++)
        if ((pids[i] = fork()) == 0) {
            work(load, &results[i], i + 1);
            _exit(0);
        }
    for (int i = 0; i < load->workers; i++)
        waitpid(pids[i], NULL, 0);
    int64_t us = sys_mono_us() - start;
    if (beside > 0) {
        kill(beside, SIGKILL);
        waitpid(beside, NULL, 0);
    }
    for (int i = 0; i < load->workers; i++)
        jobs += results[i].jobs;
    return (double)jobs * 1e6 / (double)us;
}

static void bench_load(const struct load *load, long history)
{
    fresh(history);
    double rate = run_load(load);
    struct queue *q = open_queue();
    int64_t wal = queue_wal_bytes(q);
    queue_close(q);
    report(load, rate, wal);
}

/* ---- what may go on beside it ---- */

static void rest(long ms_long)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms_long * 1000000 }, NULL);
}

static void beside_submit(struct queue *q)
{
    submit(q, 1000, QUEUE_NOW, "{}");
}

static void beside_read(struct queue *q)
{
    struct err err;
    int64_t n;
    if (db_exec(queue_db(q), "BEGIN", &err) < 0 ||
        db_int(queue_db(q), "SELECT sum(jobs) FROM tally", &n, &err) < 0)
        die(&err);
    rest(200);
    if (db_exec(queue_db(q), "COMMIT", &err) < 0)
        die(&err);
}

static void beside_load(struct queue *q)
{
    enum { GROUP = 100 };
    struct staged_job jobs[GROUP];
    struct load_finish f[GROUP];
    struct err err;
    int n = job_load_claim(q, "warehouse", 100, 60000, GROUP, GROUP, INT64_MAX, jobs, &err);
    if (n < 0)
        die(&err);
    for (int i = 0; i < n; i++)
        f[i] = (struct load_finish){ .job = &jobs[i], .outcome = LOAD_LOADED };
    if (n && job_load_finish(q, f, n, &err) < 0)
        die(&err);
    for (int i = 0; i < n; i++)
        job_staged_clear(&jobs[i]);
    if (n == 0)
        rest(5);
}

static void beside_prune(struct queue *q)
{
    struct err err;
    int64_t n;
    if (job_prune(q, &(struct prune){ .before = 1000 }, &n, &err) < 0)
        die(&err);
    rest(100);
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

static void bench_latency(const char *name, enum queue_durability d)
{
    enum { N = 400 };
    char now[32];
    struct queue *q;
    memset(results, 0, sizeof *results);
    fresh(finished);
    if (fork() == 0) {
        sleeper(results, N);
        _exit(0);
    }
    q = open_queue();
    for (int i = 0; i < N; i++) {
        rest(3);
        snprintf(now, sizeof now, "%" PRId64, sys_mono_us());
        submit(q, 1, d, now);
        queue_ring(q, BELL_READY, 1);
    }
    wait(NULL);
    queue_close(q);
    qsort(results->us, N, sizeof *results->us, by_value);
    printf("queue.%s p50_ms=%.3f p99_ms=%.3f worst_ms=%.3f\n", name, ms(results->us, N, 0.5),
           ms(results->us, N, 0.99), ms(results->us, N, 1));
}

/* ---- a past ---- */

/* Jobs that are over, with the attempts of each, on disk and in the database itself: what follows
 * does not wait for their writing. */
static void add_history(long n)
{
    enum { STEP = 100000 };
    struct queue *q = open_queue();
    struct err err;
    char sql[1200];
    for (long from = 0; from < n; from += STEP) {
        snprintf(
            sql, sizeof sql,
            "WITH RECURSIVE n (value) AS (SELECT %ld UNION ALL SELECT value + 1 FROM n WHERE value "
            "< %ld) "
            "INSERT INTO job (uid, pipeline, target, state, run_at, seq, created, token, "
            "attempts, finished) "
            "SELECT printf('%%026d', value), 'bench', 'warehouse', 'loaded', 1, value, 1, 2, 1, 2 "
            "FROM n;"
            "INSERT INTO attempt (job, token, number, kind, started, finished, outcome) "
            "SELECT id, t.column1, 1, t.column2, 1, 2, t.column3 FROM job, "
            "(VALUES (1, 'work', 'staged'), (2, 'load', 'loaded')) AS t WHERE id > %ld",
            from + 1, from + STEP < n ? from + STEP : n, from);
        if (queue_begin(q, &err) < 0 || db_exec(queue_db(q), sql, &err) < 0 ||
            queue_commit(q, QUEUE_NOW, &err) < 0)
            die(&err);
    }
    queue_close(q);
    if (n)
        sync();
}

static void use(const char *name)
{
    snprintf(path, sizeof path, "%s/%s.db", folder, name);
}

static void fresh(long history)
{
    use("bench-queue");
    remove_queue();
    queue_close(open_queue());
    add_history(history);
}

struct pages {
    double hit, miss, write;
};

static double status(struct queue *q, int what)
{
    int now = 0, high;
    sqlite3_db_status(queue_db(q), what, &now, &high, 0);
    return now;
}

static void claim_and_stage(struct queue *q, int n)
{
    struct err err;
    struct lease l;
    struct finish f = { .lease = &l, .outcome = OUT_STAGED };
    int held = 0;
    for (int i = 0; i <= n; i++) {
        struct lease next;
        int got = job_finish_claim(q, &f, held, 1, 60000, 3, &next, i < n, &err);
        if (got < 0)
            die(&err);
        if (held)
            job_lease_clear(&l);
        l = next;
        held = got;
    }
}

static struct pages count_pages(void)
{
    enum { N = 5000 };
    struct queue *q = open_queue();
    submit(q, N + 100, QUEUE_NOW, "{}");
    claim_and_stage(q, 100);
    struct pages p = { status(q, SQLITE_DBSTATUS_CACHE_HIT), status(q, SQLITE_DBSTATUS_CACHE_MISS),
                       status(q, SQLITE_DBSTATUS_CACHE_WRITE) };
    claim_and_stage(q, N);
    p.hit = (status(q, SQLITE_DBSTATUS_CACHE_HIT) - p.hit) / N;
    p.miss = (status(q, SQLITE_DBSTATUS_CACHE_MISS) - p.miss) / N;
    p.write = (status(q, SQLITE_DBSTATUS_CACHE_WRITE) - p.write) / N;
    queue_close(q);
    return p;
}

static void bench_pages(const char *name)
{
    fresh(finished);
    struct pages p = count_pages();
    printf("queue.%s hit=%.2f miss=%.3f write=%.2f\n", name, p.hit, p.miss, p.write);
}

/* Only the past stays. */
static void forget_present(void)
{
    struct queue *q = open_queue();
    struct err err;
    if (queue_begin(q, &err) < 0 ||
        db_exec(queue_db(q),
                "DELETE FROM job_text; DELETE FROM attempt WHERE job > (SELECT coalesce(max(id), 0) "
                "FROM job WHERE created = 1); DELETE FROM job WHERE id IN (SELECT id FROM job "
                "WHERE state = 'ready' AND due = 1 UNION ALL SELECT id FROM job "
                "WHERE state = 'running' UNION ALL SELECT id FROM job WHERE state = 'staged')",
                &err) < 0 ||
        queue_commit(q, QUEUE_NOW, &err) < 0)
        die(&err);
    queue_close(q);
    sync();
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_history(const char *name)
{
    static const struct load loads[] = { { "claim_durable", true, 8, 1, 0, NULL },
                                         { "claim_normal", false, 8, 1, 0, NULL },
                                         { "claim_normal_10", false, 8, BATCH_MAX, 0, NULL } };
    static const char *const names[] = { "bench-queue", "bench-queue-past" };
    double ratio[COUNT_OF(loads)][ROUNDS_MAX];
    struct pages p[2];
    long n = finished ? finished : 1000000;
    for (int i = 0; i < 2; i++) {
        use(names[i]);
        remove_queue();
        queue_close(open_queue());
        add_history(i ? n : 0);
        p[i] = count_pages();
        forget_present();
    }
    for (int r = 0; r < rounds; r++)
        for (size_t l = 0; l < COUNT_OF(loads); l++) {
            double rate[2];
            for (int k = 0; k < 2; k++) {
                int i = (r + k) % 2; /* who is first changes */
                use(names[i]);
                rate[i] = run_load(&loads[l]);
                forget_present();
            }
            ratio[l][r] = rate[1] / rate[0];
        }
    printf("queue.%s finished=%ld rounds=%d", name, n, rounds);
    for (size_t l = 0; l < COUNT_OF(loads); l++) {
        qsort(ratio[l], (size_t)rounds, sizeof *ratio[l], by_double);
        printf(" %s=%.3f %s_min=%.3f %s_max=%.3f", loads[l].name, ratio[l][rounds / 2],
               loads[l].name, ratio[l][0], loads[l].name, ratio[l][rounds - 1]);
    }
    printf(" hit=%.2f hit_past=%.2f miss=%.3f miss_past=%.3f write=%.2f write_past=%.2f\n", p[0].hit,
           p[1].hit, p[0].miss, p[1].miss, p[0].write, p[1].write);
    remove_queue();
}

static void bench_latency_durable(const char *name)
{
    bench_latency(name, QUEUE_NOW);
}

static void bench_latency_normal(const char *name)
{
    bench_latency(name, QUEUE_LATER);
}

/* A mode is a load, or a function. */
static const struct mode {
    struct load load;
    void (*run)(const char *name);
    long history; /* beside -f */
} modes[] = {
    { .load = { .name = "submit" }, .run = bench_submit },
    { .load = { "claim-durable", true, 8, 1, 0, NULL } },
    { .load = { "claim-normal", false, 8, 1, 0, NULL } },
    { .load = { "claim-normal-10", false, 8, BATCH_MAX, 0, NULL } },
    { .load = { "busy-durable", true, 8, 1, 3, NULL } },
    { .load = { "busy-normal", false, 8, 1, 3, NULL } },
    { .load = { "busy-durable-32", true, 32, 1, 3, NULL } },
    { .load = { "busy-normal-32", false, 32, 1, 3, NULL } },
    { .load = { "beside-submit", false, 8, 1, 3, beside_submit } },
    { .load = { "beside-read", false, 8, 1, 3, beside_read } },
    { .load = { "beside-load", true, 8, 1, 3, beside_load } },
    { .load = { "beside-prune", false, 8, 1, 3, beside_prune }, .history = 200000 },
    { .load = { .name = "latency-durable" }, .run = bench_latency_durable },
    { .load = { .name = "latency-normal" }, .run = bench_latency_normal },
    { .load = { .name = "pages" }, .run = bench_pages },
    { .load = { .name = "history" }, .run = bench_history },
};

static int usage(void)
{
    fprintf(stderr, "usage: bench/queue [-t SECONDS] [-d FOLDER] [-f FINISHED] [-r ROUNDS] [MODE...]\n");
    for (size_t i = 0; i < COUNT_OF(modes); i++)
        fprintf(stderr, "    %s\n", modes[i].load.name);
    return 2;
}

static bool known(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(modes); i++)
        if (!strcmp(modes[i].load.name, name))
            return true;
    return false;
}

static bool wanted(const char *name, char **names, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return n == 0;
}

static bool options(int argc, char **argv)
{
    for (int o; (o = getopt(argc, argv, "t:d:f:r:")) != -1;)
        switch (o) {
        case 't': seconds = strtod(optarg, NULL); break;
        case 'd': folder = optarg; break;
        case 'f': finished = strtol(optarg, NULL, 10); break;
        case 'r': rounds = (int)strtol(optarg, NULL, 10); break;
        default: return false;
        }
    for (int i = optind; i < argc; i++)
        if (!known(argv[i]))
            return false;
    return seconds > 0 && rounds > 0 && rounds <= ROUNDS_MAX && finished >= 0;
}

int main(int argc, char **argv)
{
    if (!options(argc, argv))
        return usage();
    results = mmap(NULL, WORKERS_MAX * sizeof *results, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        const struct mode *m = &modes[i];
        if (!wanted(m->load.name, argv + optind, argc - optind))
            continue;
        if (m->run)
            m->run(m->load.name);
        else
            bench_load(&m->load, m->history ? m->history : finished);
        use("bench-queue");
        remove_queue();
    }
    return 0;
}
