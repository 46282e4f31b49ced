/*
 * beanstalkd and redis as job queues, measured as bench/queue measures qetl's: submit in batches,
 * claim and acknowledge by several processes, latency from submit to claim.
 *
 *     brokers beanstalkd|redis PORT submit SECONDS
 *     brokers beanstalkd|redis PORT claim WORKERS SECONDS WORK_MS JOBS     JOBS: submitted before
 *     brokers beanstalkd|redis PORT latency
 *
 * Output: KEY=VALUE, a line each, with the keys of bench/queue.
 * A worker sends the delete of the job it holds and the next reserve together. redis: a list
 * "ready", BLMOVE to a list "held" and LREM from it. Job: 240 bytes.
 * Protocols: beanstalkd doc/protocol.txt; https://redis.io/docs/latest/develop/reference/protocol-spec
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 64, CALLS_MAX = 100000, BATCH = 1000, BODY = 240, LATENCIES = 400 };

struct result {
    int64_t jobs;
    int n;
    int64_t us[CALLS_MAX];
};

struct conn {
    FILE *in, *out;
    char held[64 + BODY]; /* id (beanstalkd) or body (redis) of the job that is held, or "" */
    char body[BODY + 2];  /* of the last job claimed */
};

struct broker {
    const char *name;
    void (*put)(struct conn *, const char *body);
    void (*put_reply)(struct conn *);
    void (*ack)(struct conn *);
    void (*ack_reply)(struct conn *);
    void (*claim)(struct conn *);
    int (*claim_reply)(struct conn *); /* 1 a job, 0 none within a second */
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void die(const char *what, const char *got)
{
    fprintf(stderr, "brokers: %s: %s\n", what, got);
    exit(1);
}

static char *line(struct conn *c, char *to, size_t cap)
{
    if (!fgets(to, (int)cap, c->in))
        die("connection", "closed");
    return to;
}

static void expect(struct conn *c, const char *start)
{
    char got[400];
    if (strncmp(line(c, got, sizeof got), start, strlen(start)) != 0)
        die(start, got);
}

/* ---- beanstalkd ---- */

static void bean_put(struct conn *c, const char *body)
{
    fprintf(c->out, "put 0 0 60 %d\r\n%s\r\n", BODY, body);
}

static void bean_put_reply(struct conn *c)
{
    expect(c, "INSERTED");
}

static void bean_ack(struct conn *c)
{
    fprintf(c->out, "delete %s\r\n", c->held);
}

static void bean_ack_reply(struct conn *c)
{
    expect(c, "DELETED");
}

static void bean_claim(struct conn *c)
{
    fputs("reserve-with-timeout 1\r\n", c->out);
}

static int bean_claim_reply(struct conn *c)
{
    char got[400];
    if (sscanf(line(c, got, sizeof got), "RESERVED %63s", c->held) != 1) {
        if (strncmp(got, "TIMED_OUT", 9) != 0)
            die("reserve", got);
        return c->held[0] = '\0';
    }
    line(c, got, sizeof got);
    memcpy(c->body, got, BODY);
    return 1;
}

/* ---- redis ---- */

static void redis_put(struct conn *c, const char *body)
{
    fprintf(c->out, "*3\r\n$5\r\nLPUSH\r\n$5\r\nready\r\n$%d\r\n%s\r\n", BODY, body);
}

static void redis_put_reply(struct conn *c)
{
    expect(c, ":");
}

static void redis_ack(struct conn *c)
{
    fprintf(c->out, "*4\r\n$4\r\nLREM\r\n$4\r\nheld\r\n$1\r\n1\r\n$%d\r\n%s\r\n", BODY, c->held);
}

static void redis_ack_reply(struct conn *c)
{
    expect(c, ":1");
}

static void redis_claim(struct conn *c)
{
    fputs("*6\r\n$6\r\nBLMOVE\r\n$5\r\nready\r\n$4\r\nheld\r\n$5\r\nRIGHT\r\n$4\r\nLEFT\r\n$1\r\n1\r\n",
          c->out);
}

static int redis_claim_reply(struct conn *c)
{
    char got[400];
    c->held[0] = '\0';
    line(c, got, sizeof got);
    if (strncmp(got, "$240", 4) != 0) {
        if (strncmp(got, "$-1", 3) != 0 && strncmp(got, "*-1", 3) != 0)
            die("BLMOVE", got);
        return 0;
    }
    line(c, got, sizeof got);
    memcpy(c->body, got, BODY);
    memcpy(c->held, got, BODY);
    c->held[BODY] = '\0';
    return 1;
}

static const struct broker brokers[] = {
    { "beanstalkd", bean_put, bean_put_reply, bean_ack, bean_ack_reply, bean_claim, bean_claim_reply },
    { "redis", redis_put, redis_put_reply, redis_ack, redis_ack_reply, redis_claim, redis_claim_reply },
};
static const struct broker *broker;
static uint16_t port;

/* ---- measuring ---- */

static void dial(struct conn *c)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        die("connect", "refused");
    *c = (struct conn){ .in = fdopen(fd, "r"), .out = fdopen(dup(fd), "w") };
    if (!c->in || !c->out)
        die("connect", "no memory");
    setvbuf(c->out, NULL, _IOFBF, 1 << 16);
}

static void hang_up(struct conn *c)
{
    fclose(c->in);
    fclose(c->out);
}

/* The body starts with a time: that of the submit. */
static void submit(struct conn *c, int n)
{
    static uint64_t serial;
    char body[BODY + 1];
    for (int i = 0; i < n; i++) {
        int used = snprintf(body, sizeof body, "%" PRId64 " %" PRIu64 " ", now_us(), serial++);
        memset(body + used, 'x', (size_t)(BODY - used));
        body[BODY] = '\0';
        broker->put(c, body);
    }
    fflush(c->out);
    for (int i = 0; i < n; i++)
        broker->put_reply(c);
}

static int next(struct conn *c)
{
    int held = c->held[0] != '\0';
    if (held)
        broker->ack(c);
    broker->claim(c);
    fflush(c->out);
    if (held)
        broker->ack_reply(c);
    return broker->claim_reply(c);
}

static void let_go(struct conn *c)
{
    if (c->held[0]) {
        broker->ack(c);
        fflush(c->out);
        broker->ack_reply(c);
    }
    hang_up(c);
}

static void work(struct result *r, double seconds, int work_ms)
{
    struct conn c;
    dial(&c);
    for (int64_t end = now_us() + (int64_t)(seconds * 1e6), start; (start = now_us()) < end;) {
        if (!next(&c))
            die("claim", "the jobs ran out");
        if (r->n < CALLS_MAX)
            r->us[r->n++] = now_us() - start;
        r->jobs++;
        if (work_ms)
            nanosleep(&(struct timespec){ .tv_nsec = work_ms * 1000000L }, NULL);
    }
    let_go(&c);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(int64_t *us, size_t n)
{
    qsort(us, n, sizeof *us, by_value);
    printf("p50_ms=%.3f\np99_ms=%.3f\nworst_ms=%.3f\n", (double)us[n / 2] / 1e3,
           (double)us[n * 99 / 100] / 1e3, (double)us[n - 1] / 1e3);
}

static void measure_claims(struct result *results, int workers, double seconds, int work_ms,
                           int before)
{
    struct conn c;
    dial(&c);
    for (int left = before; left > 0; left -= BATCH)
        submit(&c, left < BATCH ? left : BATCH);
    hang_up(&c);
    int64_t start = now_us(), jobs = 0, least = INT64_MAX;
    for (int i = 0; i < workers; i++)
        if (fork() == 0) {
            work(&results[i], seconds, work_ms);
            _exit(0);
        }
    for (int i = 0, status; i < workers; i++)
        if (wait(&status) < 0 || status != 0)
            die("claim", "a worker failed");
    double took = (double)(now_us() - start) / 1e6;
    size_t n = 0;
    int64_t *all = malloc(sizeof *all * CALLS_MAX * (size_t)workers);
    if (!all)
        die("claim", "no memory");
    for (int i = 0; i < workers; i++) {
        jobs += results[i].jobs;
        least = results[i].jobs < least ? results[i].jobs : least;
        memcpy(all + n, results[i].us, (size_t)results[i].n * sizeof *all);
        n += (size_t)results[i].n;
    }
    printf("jobs_per_s=%.0f\n", (double)jobs / took);
    if (n && jobs) {
        print_times(all, n);
        printf("share_min=%.3f\n", (double)(least * workers) / (double)jobs);
    }
    free(all);
}

static void measure_latency(struct result *r)
{
    pid_t child = fork();
    struct conn c;
    dial(&c);
    if (child == 0) {
        while (r->n < LATENCIES)
            if (next(&c)) {
                r->us[r->n] = now_us() - strtoll(c.body, NULL, 10);
                r->n++;
            }
        let_go(&c);
        _exit(0);
    }
    for (int i = 0; i < LATENCIES; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
        submit(&c, 1);
    }
    int status;
    if (wait(&status) < 0 || status != 0)
        die("latency", "the worker failed");
    print_times(r->us, (size_t)r->n);
}

static void measure_submit(double seconds)
{
    struct conn c;
    int64_t start = now_us(), n = 0;
    int some = 1; /* grows: a broker that syncs each job must not run far over the time */
    dial(&c);
    for (; (double)(now_us() - start) < seconds * 1e6; n += some) {
        some = some * 2 < BATCH ? some * 2 : BATCH;
        submit(&c, some);
    }
    printf("jobs_per_s=%.0f\n", (double)n * 1e6 / (double)(now_us() - start));
    hang_up(&c);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 3 && i < sizeof brokers / sizeof *brokers; i++)
        if (strcmp(argv[1], brokers[i].name) == 0)
            broker = &brokers[i];
    struct result *results = mmap(NULL, WORKERS_MAX * sizeof *results, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!broker || results == MAP_FAILED)
        die("usage", "brokers beanstalkd|redis PORT submit SECONDS | claim WORKERS SECONDS WORK_MS JOBS | latency");
    port = (uint16_t)atoi(argv[2]);
    if (strcmp(argv[3], "submit") == 0 && argc == 5)
        measure_submit(strtod(argv[4], NULL));
    else if (strcmp(argv[3], "claim") == 0 && argc == 8 && atoi(argv[4]) > 0 && atoi(argv[4]) <= WORKERS_MAX)
        measure_claims(results, atoi(argv[4]), strtod(argv[5], NULL), atoi(argv[6]), atoi(argv[7]));
    else if (strcmp(argv[3], "latency") == 0)
        measure_latency(results);
    else
        die("wrong call", argv[3]);
    return 0;
}
