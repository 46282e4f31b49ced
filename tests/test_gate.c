/* What holds ready jobs back, and whose turn it is. Time is moved, never slept for. */
#include "queue_site.h"

#include "queue/gate.h"

enum { LEASE = 60000, CRASHES = 3 };

static void stop(void)
{
    queue_close(q);
}

static int64_t submit(const char *pipeline, const char *remote, int64_t priority)
{
    return submit_job(&(struct job_new){ .pipeline = pipeline, .remote = remote, .priority = priority, .attempts_max = 3 });
}

static void submit_many(const char *pipeline, const char *remote, int n)
{
    while (n-- > 0)
        submit(pipeline, remote, 0);
}

static int claim(struct lease *leases, int max)
{
    int n = job_finish_claim(q, NULL, 0, worker, LEASE, CRASHES, leases, max, &err);
    CHECK_OK(n, err);
    return n;
}

/* Claim n jobs, `at_once` a call, and forget them: the pipelines' first letters, in order. */
static const char *turns(int n, int at_once)
{
    static char letters[256];
    struct lease l[16];
    int have = 0;
    while (have < n) {
        int got = claim(l, at_once < n - have ? at_once : n - have);
        CHECK(got > 0);
        for (int i = 0; i < got; i++) {
            letters[have++] = *l[i].pipeline;
            job_lease_clear(&l[i]);
        }
    }
    letters[have] = 0;
    return letters;
}

static int count(const char *letters, char c)
{
    int n = 0;
    for (; *letters; letters++)
        n += *letters == c;
    return n;
}

static void busy(struct lease *l, int64_t retry_after_ms)
{
    struct finish f = { .lease = l, .outcome = OUT_FAILED, .stage = "fetch", .backoff_ms = 1 };
    err_set(&f.err, ERR_FETCH_BUSY, "HTTP 503");
    f.err.retry_after_ms = retry_after_ms;
    CHECK_OK(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
    job_lease_clear(l);
}

static void stage(struct lease *l)
{
    struct finish f = { .lease = l, .outcome = OUT_STAGED };
    CHECK_OK(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
    job_lease_clear(l);
}

static void limit(const char *name, int64_t connections, int64_t interval_ms)
{
    struct remote_limits r = { name, connections, interval_ms };
    CHECK_OK(job_limits_set(q, &r, 1, NULL, 0, &err), err);
}

static void explains(int64_t id, const char *part)
{
    AUTO(buf_clear) struct buf out = { 0 };
    CHECK_OK(job_explain(q, id, &out, &err), err);
    CHECK_HAS(out.p, part);
}

/* In how many seconds the next gate opens by itself, while none is open; -1: none does. */
static int64_t opens_in_s(void)
{
    int64_t at;
    CHECK_EQ(job_claimable(q, &at, &err), 0);
    return at ? (at - sys_now_ms() + 999) / 1000 : -1;
}

/* ---- whose turn ---- */

TEST(gate, a_burst_of_one_pipeline_does_not_starve_the_others)
{
    start();
    submit_many("a", NULL, 100);
    submit_many("b", NULL, 3);
    CHECK_STR(turns(8, 1), "abababaa");
    submit_many("b", NULL, 4);
    CHECK_EQ(count(turns(8, 8), 'b'), 4); /* several at once the same */
    stop();
}

TEST(gate, shares_are_as_the_weights)
{
    struct pipeline_weight w[] = { { "a", 1 }, { "b", 3 } };
    start();
    CHECK_OK(job_limits_set(q, NULL, 0, w, 2, &err), err);
    submit_many("a", NULL, 100);
    submit_many("b", NULL, 100);
    CHECK_EQ(count(turns(40, 1), 'b'), 30);
    CHECK_EQ(count(turns(40, 10), 'b'), 30);
    CHECK_OK(job_limits_set(q, NULL, 0, NULL, 0, &err), err); /* the ini says nothing of it any more */
    CHECK_EQ(count(turns(40, 10), 'b'), 20);
    stop();
}

TEST(gate, who_was_away_has_no_claim_to_all_that_was_done_meanwhile)
{
    start();
    submit_many("a", NULL, 60);
    submit_many("b", NULL, 60);
    turns(100, 10); /* 50 of each */
    submit_many("c", NULL, 100);
    submit_many("a", NULL, 100);
    CHECK(count(turns(40, 1), 'c') <= 24);
    stop();
}

TEST(gate, priority_goes_before_turns)
{
    struct lease l;
    start();
    submit("a", NULL, 0);
    int64_t urgent = submit("a", NULL, 9);
    submit("b", NULL, 0);
    CHECK_EQ(claim(&l, 1), 1);
    CHECK_EQ(l.id, urgent);
    job_lease_clear(&l);
    stop();
}

TEST(gate, a_lone_pipeline_is_written_no_pass)
{
    int64_t rows;
    start();
    submit_many("a", "r", 5);
    turns(5, 2);
    CHECK_OK(db_int(queue_db(q), "SELECT count(*) FROM pipeline", &rows, &err), err);
    CHECK_EQ(rows, 0);
    stop();
}

/* ---- connections ---- */

TEST(gate, a_remote_has_no_more_jobs_than_connections_at_a_time)
{
    struct lease l[8];
    start();
    limit("r", 2, 0);
    int64_t free_one = submit("q", NULL, 0);
    submit_many("p", "r", 3);
    int64_t last = submit("p", "r", 0);
    CHECK_EQ(claim(l, 8), 3); /* two of them, and the one that needs no remote */
    int of_r = (l[0].id != free_one) + (l[1].id != free_one) + (l[2].id != free_one);
    CHECK_EQ(of_r, 2);
    explains(last, "2 of 2 jobs that 'r' may have");
    CHECK_EQ(opens_in_s(), -1);
    stage(&l[l[0].id == free_one]); /* one of r */
    for (int i = 0; i < 3; i++)
        job_lease_clear(&l[i]);
    CHECK_EQ(claim(l, 8), 1);
    job_lease_clear(&l[0]);
    stop();
}

TEST(gate, limits_are_written_once_and_go_with_the_ini)
{
    struct lease l[8];
    int64_t changes;
    start();
    limit("r", 1, 0);
    submit_many("p", "r", 3);
    CHECK_OK(db_int(queue_db(q), "SELECT total_changes()", &changes, &err), err);
    int64_t before = changes;
    limit("r", 1, 0);
    CHECK_OK(db_int(queue_db(q), "SELECT total_changes()", &changes, &err), err);
    CHECK_EQ(changes, before);
    CHECK_EQ(claim(l, 8), 1);
    job_lease_clear(&l[0]);
    CHECK_OK(job_limits_set(q, NULL, 0, NULL, 0, &err), err);
    CHECK_EQ(claim(l, 8), 2);
    job_lease_clear(&l[0]);
    job_lease_clear(&l[1]);
    stop();
}

/* ---- interval ---- */

TEST(gate, requests_keep_their_interval_of_all_workers_together)
{
    struct lease l[8];
    start();
    limit("r", 0, 50000);
    submit_many("p", "r", 3);
    CHECK_EQ(claim(l, 8), 1);
    CHECK_EQ(opens_in_s(), 50);
    struct remote_limits others = { "s", 1, 0 };
    CHECK_OK(job_limits_set(q, &others, 1, NULL, 0, &err), err); /* another ini, and this one again: */
    limit("r", 0, 50000);
    CHECK_EQ(opens_in_s(), 50); /* the last request is not forgotten */
    explains(l[0].id + 1, "not asked more often than interval= says");
    job_lease_clear(&l[0]);
    sys_clock_advance(40000);
    CHECK_EQ(claim(l, 8), 0);
    sys_clock_advance(10000);
    CHECK_EQ(claim(l, 8), 1);
    job_lease_clear(&l[0]);
    stop();
}

TEST(gate, a_job_of_many_objects_is_as_many_requests)
{
    struct lease l[8];
    char uid[SYS_UID_LEN + 1];
    bool made;
    int64_t id;
    start();
    limit("r", 0, 50000);
    struct job_new n = { .pipeline = "p", .remote = "r", .objects = STR("[\"a\",\"b\",\"c\"]") };
    CHECK_OK(queue_begin(q, &err), err);
    CHECK_OK(job_submit(q, &n, &id, uid, &made, &err), err);
    CHECK_OK(queue_commit(q, QUEUE_LATER, &err), err);
    submit("p", "r", 0);
    CHECK_EQ(claim(l, 8), 1);
    CHECK_EQ(opens_in_s(), 150);
    job_lease_clear(&l[0]);
    stop();
}

/* ---- Retry-After ---- */

TEST(gate, a_server_that_asks_to_be_left_alone_is_by_all)
{
    struct lease l[8];
    struct job_left left;
    start();
    submit_many("p", "r", 3);
    submit_many("p", "s", 1);
    CHECK_EQ(claim(l, 1), 1);
    int64_t failed = l[0].id;
    busy(&l[0], 30000);
    CHECK_EQ(claim(l, 8), 1); /* that of s */
    job_lease_clear(&l[0]);
    explains(failed, "'r' asked to be left alone; it will be asked again in ");
    explains(failed, "; qetlctl resume --remote 'r' ends that.");
    explains(failed + 1, "'r' asked to be left alone; it will be asked again in ");
    CHECK_EQ(opens_in_s(), 30);
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    CHECK_EQ(left.ready, 0);
    CHECK_EQ(left.later, 3);
    CHECK_OK(job_left(q, sys_now_ms() + 60000, &left, &err), err);
    CHECK_EQ(left.ready, 3);
    sys_clock_advance(30000);
    CHECK_EQ(claim(l, 8), 3);
    for (int i = 0; i < 3; i++)
        job_lease_clear(&l[i]);
    stop();
}

/* The first job as it is claimed next, from which on the server says for so long each time that it is busy. */
static int64_t tries(int times, int64_t ms)
{
    struct lease l;
    int64_t attempt = 0;
    for (int i = 0; i < times; i++) {
        CHECK_EQ(claim(&l, 1), 1);
        attempt = l.attempt;
        busy(&l, ms);
        sys_clock_advance(ms);
        int64_t promoted, next;
        CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    }
    return attempt;
}

TEST(gate, a_wait_that_a_server_asks_for_is_no_try_until_they_come_to_a_day)
{
    static const char *const remotes[] = { "r", NULL };
    for (size_t i = 0; i < COUNT_OF(remotes); i++) {
        int64_t errors, promoted, next;
        struct lease l;
        start();
        int64_t id = submit("p", remotes[i], 0);
        CHECK_EQ(tries(24, 3600000), 1);
        CHECK_OK(db_int(queue_db(q), "SELECT count(*) FROM error", &errors, &err), err);
        CHECK_EQ(errors, 1); /* which is told once */
        CHECK_EQ(tries(2, 3600000), 2);
        CHECK_EQ(claim(&l, 1), 1); /* the last one of three */
        busy(&l, 1000);
        explains(id, "It is dead by fetch-busy");
        CHECK_OK(job_retry(q, id, &err), err);
        sys_clock_advance(3600000);
        CHECK_OK(job_promote(q, &promoted, &next, &err), err);
        CHECK_EQ(tries(3, 3600000), 1); /* from the beginning */
        CHECK_EQ(claim(&l, 1), 1);
        busy(&l, 86400001); /* too much at once */
        sys_clock_advance(86400001);
        CHECK_OK(job_promote(q, &promoted, &next, &err), err);
        CHECK_OK(db_exec(queue_db(q), "UPDATE job SET waited = 86400000 - 15000", &err), err);
        CHECK_EQ(tries(2, 1), 2); /* one counts as ten seconds */
        CHECK_OK(db_int(queue_db(q), "SELECT attempts FROM job", &errors, &err), err);
        CHECK_EQ(errors, 2);
        stop();
    }
}

TEST(gate, a_job_without_a_remote_holds_nobody)
{
    struct lease l[8];
    start();
    submit_many("p", NULL, 2);
    CHECK_EQ(claim(l, 1), 1);
    int64_t waits = l[0].id;
    busy(&l[0], 30000);
    CHECK_EQ(claim(l, 8), 1);
    job_lease_clear(&l[0]);
    explains(waits, "waits for its time, ");
    stop();
}

/* ---- what pipelines ask ---- */

static void asks_by(uint64_t rule)
{
    const struct enriched v[] = { { "a", "geo", rule }, { "b", "geo", rule }, { "b", "names", 5 } };
    CHECK_OK(job_enriched_set(q, v, 3, &err), err);
}

/* The end of a job that met with what holds geo for so long; 0: it met with nothing, and comes to nothing. */
static void meets(struct lease *l, int64_t ms)
{
    struct finish f = { .lease = l, .outcome = ms ? OUT_WAITS : OUT_FAILED, .stage = "enrich", .backoff_ms = 3600000 };
    err_set(&f.err, ms ? ERR_ENRICH_QUOTA : ERR_FETCH, "it is so");
    if (ms)
        f.hold = (struct job_hold){ "geo", "[enrich geo]: its quota is used up", sys_now_ms() + ms, false };
    CHECK_OK(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
    job_lease_clear(l);
}

static int64_t count_of(const char *sql)
{
    int64_t n;
    CHECK_OK(db_int(queue_db(q), sql, &n, &err), err);
    return n;
}

static int64_t held_jobs;
static int tell_hold(void *arg, const struct enrich_hold_row *r)
{
    (void)arg;
    CHECK_STR(r->enrich, "geo");
    CHECK_HAS(r->why, "quota");
    held_jobs = r->jobs;
    return 0;
}

TEST(gate, jobs_that_ask_what_may_not_be_asked_are_not_begun_and_write_nothing)
{
    struct lease l[8];
    struct job_left left;
    start();
    asks_by(1);
    int64_t first = submit("a", NULL, 0);
    submit_many("a", "r", 1000);
    int64_t last = submit("b", NULL, 0);
    CHECK_EQ(claim(l, 1), 1);
    CHECK_EQ(l[0].id, first);
    meets(&l[0], 60000);
    CHECK_EQ(count_of("SELECT attempts FROM job WHERE id = 1"), 0); /* it was none */
    int64_t written = count_of("SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM error)");
    CHECK_EQ(written, 2);
    int64_t free_one = submit("c", NULL, 0);
    CHECK_EQ(claim(l, 8), 1);
    CHECK_EQ(l[0].id, free_one);
    job_lease_clear(&l[0]);
    explains(last, "[enrich geo]: its quota is used up; it goes on in ");
    CHECK_EQ(opens_in_s(), 60);
    CHECK_OK(job_enrich_holds(q, tell_hold, NULL, &err), err);
    CHECK_EQ(held_jobs, 1002);
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    CHECK_EQ(left.later, 1002);
    CHECK_EQ(count_of("SELECT (SELECT count(*) FROM attempt) + (SELECT count(*) FROM error)"), written);
    stop();
}

TEST(gate, a_person_ends_what_a_server_asked_for_and_one_job_goes_first)
{
    struct lease l[8];
    start();
    asks_by(1);
    submit("a", NULL, 0);
    submit("a", NULL, 0);
    int64_t last = submit("b", NULL, 0);
    CHECK_EQ(claim(l, 1), 1);
    struct finish f = { .lease = &l[0], .outcome = OUT_WAITS, .stage = "enrich", .hold = { "geo", "[enrich geo]: 429", sys_now_ms() + 60000, true } };
    err_set(&f.err, ERR_ENRICH_BUSY, "it is so");
    CHECK_OK(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
    job_lease_clear(&l[0]);
    explains(last, "[enrich geo]: 429; it goes on in ");
    explains(last, "; qetlctl resume --enrich 'geo' ends that.");
    CHECK_EQ(claim(l, 8), 0);
    CHECK_EQ(enrich_release(q, "names", &err), 0);
    CHECK_EQ(enrich_release(q, "geo", &err), 1);
    CHECK_EQ(claim(l, 8), 1);
    CHECK(l[0].probes);
    job_lease_clear(&l[0]);
    CHECK_EQ(claim(l, 8), 0);
    stop();
}

/* Somebody else, whose ini has no [enrich], is started on the database. */
static void nobody_asks(void) { CHECK_OK(job_enriched_set(q, NULL, 0, &err), err); }

static void promote(void)
{
    int64_t promoted, next;
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
}

TEST(gate, a_job_that_no_gate_keeps_waits_by_itself_and_says_why_once)
{
    struct lease l[8];
    start();
    asks_by(1);
    submit("a", NULL, 0);
    CHECK_EQ(claim(l, 1), 1);
    meets(&l[0], 60000);
    CHECK_EQ(claim(l, 1), 0);
    nobody_asks(); /* it stands there to be claimed */
    CHECK_EQ(claim(l, 1), 1);
    meets(&l[0], 7200000);
    CHECK_EQ(claim(l, 1), 0);
    sys_clock_advance(7199000);
    promote();
    CHECK_EQ(claim(l, 1), 0);
    sys_clock_advance(1000);
    promote();
    CHECK_EQ(claim(l, 1), 1);
    asks_by(1);
    meets(&l[0], -1); /* which is over by now: it waits as after a failure */
    CHECK_EQ(claim(l, 1), 0);
    sys_clock_advance(3600000);
    promote();
    CHECK_EQ(claim(l, 1), 1);
    CHECK_EQ(l[0].attempt, 1);
    job_lease_clear(&l[0]);
    CHECK_EQ(count_of("SELECT count(*) FROM error"), 1);
    stop();
}

TEST(gate, one_goes_first_behind_a_hold_and_the_others_when_it_is_staged)
{
    struct lease l[8];
    start();
    asks_by(1);
    submit_many("a", NULL, 2);
    submit_many("b", "r", 3);
    CHECK_EQ(claim(l, 1), 1);
    meets(&l[0], 60000);
    sys_clock_advance(60000);
    CHECK_EQ(claim(l, 8), 1);
    CHECK(l[0].probes);
    CHECK_EQ(claim(l + 1, 7), 0);
    meets(&l[0], 120000); /* it is still so */
    CHECK_EQ(opens_in_s(), 120);
    sys_clock_advance(120000);
    CHECK_EQ(claim(l, 8), 1);
    meets(&l[0], 0); /* which says nothing */
    CHECK_EQ(claim(l, 8), 1);
    CHECK(l[0].probes);
    stage(&l[0]);
    CHECK_EQ(claim(l, 8), 3);
    CHECK(!l[0].probes);
    for (int i = 0; i < 3; i++)
        job_lease_clear(&l[i]);
    CHECK_EQ(count_of("SELECT count(*) FROM enrich_hold"), 0);
    stop();
}

TEST(gate, one_that_goes_first_and_never_ends_holds_the_others_for_a_while)
{
    struct lease l[8];
    start();
    asks_by(1);
    submit_many("a", NULL, 3);
    CHECK_EQ(claim(l, 1), 1);
    meets(&l[0], 1000);
    sys_clock_advance(1000);
    CHECK_EQ(claim(l, 8), 1);
    CHECK_EQ(opens_in_s(), 10);
    sys_clock_advance(10000);
    CHECK_EQ(claim(l + 1, 7), 1);
    job_lease_clear(&l[0]);
    job_lease_clear(&l[1]);
    stop();
}

TEST(gate, a_clock_that_is_set_back_or_another_ini_ends_a_hold)
{
    struct lease l[8];
    start();
    asks_by(1);
    submit_many("a", NULL, 3);
    CHECK_EQ(claim(l, 1), 1);
    meets(&l[0], 86400000);
    CHECK_EQ(claim(l, 1), 0);
    asks_by(1); /* a worker that starts */
    CHECK_EQ(claim(l, 1), 0);
    sys_clock_advance(-INT64_C(31536000000));
    CHECK_EQ(claim(l, 1), 1);
    meets(&l[0], 86400000);
    CHECK_EQ(claim(l, 1), 0);
    asks_by(2);
    CHECK_EQ(claim(l, 8), 3);
    for (int i = 0; i < 3; i++)
        job_lease_clear(&l[i]);
    sys_clock_advance(INT64_C(31536000000));
    stop();
}

/* ---- the spool ---- */

enum { MB = 1 << 20 };

static void stage_file(struct lease *l, int64_t bytes)
{
    struct output o = { .number = 0, .kind = OUTPUT_ROWS, .table = "t", .ext = "db", .in_file = true, .bytes = bytes };
    struct finish f = { .lease = l, .outcome = OUT_STAGED, .outputs = &o, .noutputs = 1 };
    CHECK_OK(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
    job_lease_clear(l);
}

TEST(gate, a_claim_reserves_what_its_pipeline_needed_and_loads_make_room)
{
    struct lease l[8];
    struct staged_job j;
    struct job_left left;
    start();
    queue_spool_set(q, &(struct queue_spool){ .quota = 100 * (int64_t)MB });
    submit_many("p", NULL, 6);
    CHECK_EQ(claim(l, 8), 1); /* nobody knows yet what they need */
    stage_file(&l[0], 30 * MB);
    CHECK_EQ(claim(l, 8), 2); /* 30 are there, and 30 are reserved for each */
    explains(l[1].id + 1, "The spool has no room: 90.0 MiB of 100 MiB");
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    CHECK_EQ(left.ready, 0);
    CHECK_EQ(left.no_room, 3);
    CHECK_EQ(left.later, 3);
    stage(&l[0]); /* nothing in files: its room is free again */
    struct lease next;
    CHECK_EQ(claim(&next, 8), 1);
    job_lease_clear(&next);
    CHECK_EQ(claim(&next, 8), 0);
    CHECK_EQ(job_load_claim(q, "", worker, LEASE, 1, 10, 1 << 30, &j, &err), 1);
    CHECK_EQ(claim(&next, 8), 0);
    struct load_finish f = { .job = &j, .outcome = LOAD_LOADED };
    CHECK_OK(job_load_finish(q, &f, 1, &err), err);
    job_staged_clear(&j);
    CHECK_EQ(claim(&next, 8), 1);
    job_lease_clear(&next);
    job_lease_clear(&l[1]);
    stop();
}

TEST(gate, a_job_greater_than_the_quota_goes_alone)
{
    struct lease l[8];
    start();
    queue_spool_set(q, &(struct queue_spool){ .quota = 10 * MB });
    submit_many("p", NULL, 3);
    CHECK_EQ(claim(l, 8), 1);
    CHECK_EQ(claim(l + 1, 7), 0);
    job_lease_clear(&l[0]);
    stop();
}

TEST(gate, a_disk_that_is_nearly_full_begins_no_job)
{
    struct lease l;
    start();
    int64_t id = submit("p", NULL, 0);
    queue_spool_set(q, &(struct queue_spool){ .free = 63 * MB, .keep = 64 * MB });
    CHECK_EQ(claim(&l, 1), 0);
    explains(id, "63.0 MiB free; below 64.0 MiB");
    queue_spool_set(q, &(struct queue_spool){ .free = 64 * MB, .keep = 64 * MB });
    CHECK_EQ(claim(&l, 1), 1);
    job_lease_clear(&l);
    stop();
}

/* ---- one moment ---- */

/* Another worker claims the job at the second statement of job_left(). */
static int claim_between(unsigned what, void *arg, void *stmt, void *text)
{
    struct queue *other = arg;
    static int statements;
    struct lease l;
    (void)what, (void)stmt;
    if (!strncmp(text, "BEGIN", 5) || ++statements != 2)
        return 0;
    CHECK_EQ(job_finish_claim(other, NULL, 0, worker, LEASE, CRASHES, &l, 1, &err), 1);
    job_lease_clear(&l);
    return 0;
}

TEST(gate, what_is_left_is_told_of_one_moment)
{
    struct queue *other;
    struct job_left left;
    start();
    submit("p", NULL, 0);
    CHECK_OK(queue_open(&other, sqlite3_db_filename(queue_db(q), "main"), 0, &err), err);
    sqlite3_trace_v2(queue_db(q), SQLITE_TRACE_STMT, claim_between, other);
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    sqlite3_trace_v2(queue_db(q), 0, NULL, NULL);
    CHECK_EQ(left.ready + left.running, 1);
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    CHECK_EQ(left.running, 1);
    queue_close(other);
    stop();
}

/* ---- many ---- */

TEST(gate, a_claim_asks_once_for_a_run_however_long_it_is)
{
    struct lease l[2];
    int64_t steps[2];
    start();
    limit("r", 1, 0);
    submit("p", "r", 0);
    CHECK_EQ(claim(l, 1), 1); /* the gate of r is closed now */
    for (int i = 0; i < 2; i++) {
        submit_many("p", "r", i ? 3000 : 10);
        sqlite3_stmt *st = queue_stmt(q, SQL_RUN_NEXT);
        (void)sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 1);
        CHECK_EQ(opens_in_s(), -1);
        steps[i] = sqlite3_stmt_status(st, SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    CHECK_EQ(steps[0], steps[1]);
    job_lease_clear(&l[0]);
    stop();
}

/* ---- listings ---- */

static struct remote_limits site = { "site", 0, 0 };

static void limits(int64_t connections, int64_t interval_ms)
{
    site.connections = connections;
    site.interval_ms = interval_ms;
    CHECK_OK(job_limits_set(q, &site, 1, NULL, 0, &err), err);
}

/* So long until the remote may be listed; 0: it is being listed now. */
static int64_t list_in(const char *name)
{
    int64_t opens;
    char why[REMOTE_WHY];
    CHECK_OK(remote_list_begin(q, name, LEASE, &opens, why, &err), err);
    CHECK(!opens || *why);
    return opens ? opens - sys_now_ms() : 0;
}

static void listed(const char *name, int64_t requests, int64_t retry_after_ms)
{
    struct err failed = { .retry_after_ms = retry_after_ms, .msg = "503" };
    CHECK_OK(remote_list_end(q, name, requests, &failed, &err), err);
}

TEST(gate, a_listing_has_one_of_the_connections)
{
    struct lease l[4];
    start();
    limits(2, 0);
    submit_many("a", "site", 4);
    CHECK_EQ(list_in("site"), 0);
    CHECK_EQ(claim(l, 4), 1);
    job_lease_clear(&l[0]);
    CHECK_EQ(claim(l, 4), 0);
    listed("site", 1, 0);
    CHECK_EQ(claim(l, 4), 1);
    job_lease_clear(&l[0]);
    stop();
}

TEST(gate, a_listing_gets_the_next_connection_before_any_job)
{
    struct lease l[4];
    start();
    limits(1, 0);
    submit_many("a", "site", 4);
    CHECK_EQ(claim(l, 4), 1);
    CHECK(list_in("site") > 0);
    struct finish f = { .lease = &l[0], .outcome = OUT_HANDED_BACK };
    CHECK_OK(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, l + 1, 1, &err), err);
    CHECK_EQ(claim(l + 1, 1), 0);
    CHECK_EQ(list_in("site"), 0);
    sys_clock_advance(LEASE + 1); /* the scanner died */
    CHECK_EQ(claim(l + 1, 1), 1);
    job_lease_clear(&l[0]);
    job_lease_clear(&l[1]);
    stop();
}

TEST(gate, a_listing_keeps_the_interval_for_each_of_its_requests)
{
    struct lease l[4];
    start();
    limits(0, 1000);
    submit_many("a", "site", 4);
    CHECK_EQ(list_in("site"), 0);
    listed("site", 5, 0);
    CHECK(list_in("site") > 4000 && list_in("site") <= 5000);
    CHECK_EQ(claim(l, 1), 0);
    sys_clock_advance(5001);
    CHECK_EQ(claim(l, 1), 1);
    CHECK(list_in("site") > 0);
    job_lease_clear(&l[0]);
    stop();
}

TEST(gate, a_server_that_asks_a_listing_to_wait_is_left_alone_by_all)
{
    struct lease l[4];
    start();
    submit_many("a", "site", 4);
    CHECK_EQ(list_in("site"), 0);
    listed("site", 1, 30000);
    CHECK_EQ(claim(l, 1), 0);
    CHECK(list_in("site") > 29000);
    CHECK_EQ(list_in("other"), 0);
    sys_clock_advance(30001);
    CHECK_EQ(list_in("site"), 0);
    CHECK_EQ(claim(l, 1), 1);
    job_lease_clear(&l[0]);
    stop();
}
