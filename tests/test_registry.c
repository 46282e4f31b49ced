/* The registry: who is there, who went, who vanished. */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>

#include "io/db.h"
#include "queue/job.h"
#include "queue/registry.h"

static struct queue *q;
static struct err err;

static void start(void)
{
    static int n;
    char name[32];
    sys_clock_stop();
    snprintf(name, sizeof name, "registry%d.db", n++);
    CHECK_OK(queue_open(&q, test_file(name), QUEUE_CREATE, &err), err);
}

static struct worker_row rows[8];
static char names[8][32], uids[8][32], hosts[8][64];
static int nrows;

static int keep(void *arg, const struct worker_row *r)
{
    (void)arg;
    rows[nrows] = *r;
    snprintf(names[nrows], sizeof names[0], "%s", r->name);
    snprintf(uids[nrows], sizeof uids[0], "%s", r->current_uid);
    snprintf(hosts[nrows], sizeof hosts[0], "%s/%s/%s", r->role, r->ip, r->version);
    nrows++;
    return 0;
}

static int list(bool all)
{
    nrows = 0;
    CHECK_OK(registry_list(q, all, keep, NULL, &err), err);
    return nrows;
}

TEST(registry, shows_who_joined_until_it_left)
{
    int64_t a, b;
    start();
    CHECK_OK(registry_join(q, "worker", "worker-1", &a, &err), err);
    CHECK_OK(registry_join(q, "loader", "loader", &b, &err), err);
    CHECK_EQ(list(false), 2);
    CHECK_EQ(rows[0].id, a);
    CHECK_EQ(rows[0].pid, getpid());
    CHECK_EQ(rows[0].alive, 1);
    CHECK_STR(names[1], "loader");
    CHECK_HAS(hosts[0], "worker/");
    CHECK(rows[0].started > 0 && rows[0].beat == rows[0].started && rows[0].ended == 0);
    sys_clock_advance(1000);
    CHECK_OK(registry_beat(q, a, &err), err);
    CHECK_OK(registry_leave(q, b, &err), err);
    CHECK_EQ(list(false), 1);
    CHECK(rows[0].beat >= rows[0].started + 1000);
    CHECK_EQ(list(true), 2);
    CHECK_EQ(rows[1].alive, 0);
    CHECK(rows[1].ended > 0);
    queue_close(q);
}

TEST(registry, tells_the_dead_from_the_living_by_their_process)
{
    int64_t id;
    char sql[200];
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid);
    start();
    CHECK_OK(registry_join(q, "worker", "gone", &id, &err), err);
    snprintf(sql, sizeof sql, "UPDATE worker SET pid = %d", (int)pid);
    CHECK_OK(db_exec(queue_db(q), sql, &err), err);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].alive, 0);
    /* a later process got the number */
    snprintf(sql, sizeof sql, "UPDATE worker SET pid = %d, pid_start = pid_start + 1",
             (int)getpid());
    CHECK_OK(db_exec(queue_db(q), sql, &err), err);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].alive, 0);
    CHECK_OK(db_exec(queue_db(q), "UPDATE worker SET pid_start = pid_start - 1", &err), err);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].alive, 1);
    /* on another host only the clock tells */
    CHECK_OK(db_exec(queue_db(q), "UPDATE worker SET host = 'elsewhere.example', pid = 1", &err),
             err);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].alive, 1);
    sys_clock_advance(600000);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].alive, 0);
    queue_close(q);
}

TEST(registry, counts_what_was_done_and_shows_the_current_job)
{
    int64_t worker, id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    struct lease l[2];
    start();
    CHECK_OK(registry_join(q, "worker", "w", &worker, &err), err);
    CHECK_OK(queue_begin(q, &err), err);
    for (int i = 0; i < 3; i++) {
        struct job_new n = { .pipeline = "p", .target = "t", .attempts_max = 1 };
        CHECK_OK(job_submit(q, &n, &id, uid, &made, &err), err);
    }
    CHECK_OK(queue_commit(q, QUEUE_NOW, &err), err);
    CHECK_EQ(job_finish_claim(q, NULL, 0, worker, 1000, 3, l, 2, &err), 2);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].current_job, l[0].id);
    CHECK_STR(uids[0], l[0].uid);
    struct finish f[2] = { { .lease = &l[0],
                             .outcome = OUT_STAGED,
                             .rows_read = 9,
                             .rows_staged = 9,
                             .bytes_in = 500 },
                           { .lease = &l[1], .outcome = OUT_FAILED, .stage = "read" } };
    err_set(&f[1].err, ERR_HEADER, "no");
    struct lease next;
    CHECK_EQ(job_finish_claim(q, f, 2, worker, 1000, 3, &next, 1, &err), 1);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].processed, 2);
    CHECK_EQ(rows[0].succeeded, 1);
    CHECK_EQ(rows[0].failed, 1);
    CHECK_EQ(rows[0].rows, 9);
    CHECK_EQ(rows[0].bytes, 500);
    CHECK_EQ(rows[0].current_job, next.id);
    /* a crash counts for the one that crashed, whoever finds it */
    sys_clock_advance(1001);
    int64_t rescued;
    CHECK_OK(job_rescue(q, 3, &rescued, &err), err);
    CHECK_EQ(list(false), 1);
    CHECK_EQ(rows[0].processed, 3);
    CHECK_EQ(rows[0].failed, 2);
    CHECK_EQ(rows[0].current_job, 0);
    for (int i = 0; i < 2; i++)
        job_lease_clear(&l[i]);
    job_lease_clear(&next);
    queue_close(q);
}

TEST(registry, forgets_those_that_are_gone_for_long)
{
    int64_t a, b, c, before = sys_now_ms();
    start();
    CHECK_OK(registry_join(q, "worker", "left", &a, &err), err);
    CHECK_OK(registry_join(q, "worker", "vanished", &b, &err), err);
    CHECK_OK(registry_leave(q, a, &err), err);
    sys_clock_advance(86400000);
    CHECK_OK(registry_join(q, "worker", "here", &c, &err), err);
    CHECK_OK(registry_sweep(q, before, &err), err);
    CHECK_EQ(list(true), 3);
    CHECK_OK(registry_sweep(q, before + 80000000, &err), err);
    CHECK_EQ(list(true), 1);
    CHECK_STR(names[0], "here");
    queue_close(q);
}

/* A worker row that claimed a job, as if the process pid (that began at `start`) had. */
static struct lease claimed_by(const char *name, const char *change, int64_t *worker)
{
    char sql[300];
    struct lease l;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    CHECK_OK(registry_join(q, "worker", name, worker, &err), err);
    snprintf(sql, sizeof sql, "UPDATE worker SET %s WHERE id = %lld", change, (long long)*worker);
    CHECK_OK(db_exec(queue_db(q), sql, &err), err);
    CHECK_OK(queue_begin(q, &err), err);
    struct job_new n = { .pipeline = "p", .target = "t", .attempts_max = 5 };
    CHECK_OK(job_submit(q, &n, &id, uid, &made, &err), err);
    CHECK_OK(queue_commit(q, QUEUE_NOW, &err), err);
    CHECK_EQ(job_finish_claim(q, NULL, 0, *worker, 60000, 3, &l, 1, &err), 1);
    return l;
}

static int64_t buried(void)
{
    int64_t n;
    CHECK_OK(registry_bury(q, &n, &err), err);
    return n;
}

TEST(registry, ends_the_leases_of_a_killed_process_at_once)
{
    int64_t worker, rescued;
    char change[64];
    start();
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    snprintf(change, sizeof change, "pid = %d, pid_start = %lld", (int)pid, (long long)sys_process_start(pid));
    struct lease l = claimed_by("killed", change, &worker), again;
    CHECK_EQ(buried(), 0);
    CHECK_OK(job_rescue(q, 3, &rescued, &err), err);
    CHECK_EQ(rescued, 0);
    kill(pid, SIGKILL);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0); /* a zombie now: gone, though it has its number still */
    CHECK_EQ(buried(), 1);
    CHECK_EQ(buried(), 0); /* once is enough */
    CHECK_OK(job_rescue(q, 3, &rescued, &err), err);
    CHECK_EQ(rescued, 1);
    CHECK_EQ(buried(), 0);
    CHECK_EQ(list(false), 0);
    CHECK_EQ(job_finish_claim(q, NULL, 0, worker, 60000, 3, &again, 1, &err), 1);
    CHECK_EQ(again.id, l.id);
    CHECK_EQ(again.token, l.token + 1); /* fenced: what the dead one held is worth nothing */
    CHECK_EQ(again.crashes, 1);
    CHECK(waitpid(pid, NULL, 0) == pid);
    job_lease_clear(&l);
    job_lease_clear(&again);
    queue_close(q);
}

TEST(registry, leaves_leases_of_other_hosts_and_namespaces_and_of_the_living)
{
    static const char *const changes[] = { "host = 'elsewhere', pid = 999999999", "pid_ns = 1, pid = 999999999", "beat = 0" };
    int64_t worker, rescued;
    start();
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        struct lease l = claimed_by("w", changes[i], &worker);
        job_lease_clear(&l);
    }
    CHECK_EQ(buried(), 0);
    CHECK_OK(job_rescue(q, 3, &rescued, &err), err);
    CHECK_EQ(rescued, 0);
    struct lease l = claimed_by("w", "pid = 999999999", &worker); /* of this host, and gone */
    CHECK_EQ(buried(), 1);
    CHECK_OK(job_rescue(q, 3, &rescued, &err), err);
    CHECK_EQ(rescued, 1);
    job_lease_clear(&l);
    queue_close(q);
}

TEST(registry, tells_a_later_process_with_the_same_number)
{
    int64_t worker;
    char change[64];
    start();
    snprintf(change, sizeof change, "pid_start = %lld", (long long)sys_process_start(getpid()) - 1);
    struct lease l = claimed_by("earlier", change, &worker);
    CHECK_EQ(buried(), 1);
    job_lease_clear(&l);
    queue_close(q);
}

TEST(registry, ends_the_leases_of_a_killed_loader)
{
    int64_t worker, loader;
    struct staged_job jobs[2];
    start();
    struct lease l = claimed_by("w", "beat = 0", &worker);
    struct finish f = { .lease = &l, .outcome = OUT_STAGED };
    CHECK_EQ(job_finish_claim(q, &f, 1, worker, 60000, 3, NULL, 0, &err), 0);
    CHECK_OK(registry_join(q, "loader", "loader", &loader, &err), err);
    CHECK_EQ(job_load_claim(q, "t", loader, 60000, 2, 10, 1 << 20, jobs, &err), 1);
    job_staged_clear(&jobs[0]);
    CHECK_EQ(buried(), 0);
    CHECK_EQ(job_load_expired(q, "t", loader, 60000, jobs, &err), 0);
    CHECK_OK(db_exec(queue_db(q), "UPDATE worker SET pid = 999999999 WHERE role = 'loader'", &err), err);
    CHECK_EQ(buried(), 1);
    CHECK_EQ(job_load_expired(q, "t", loader, 60000, jobs, &err), 1);
    job_staged_clear(&jobs[0]);
    job_lease_clear(&l);
    queue_close(q);
}
