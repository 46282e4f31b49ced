/* Jobs: the table of states, leases and tokens, retries, priorities, lanes, pause, reports. Time is
 * moved, never slept for. */
#include "queue_site.h"

#include <errno.h>
#include <inttypes.h>

enum { LEASE = 1000, CRASHES = 3 };

/* What must be true after every test: the tally is what can be counted, lanes hold open jobs only,
 * the file is whole. */
static void stop(void)
{
    CHECK_EQ(
        one_int(
            "SELECT count(*) FROM (SELECT pipeline, state, jobs FROM tally WHERE jobs <> 0 EXCEPT "
            "SELECT pipeline, state, count(*) FROM job GROUP BY 1, 2)"),
        0);
    CHECK_EQ(
        one_int(
            "SELECT count(*) FROM (SELECT pipeline, state, count(*) FROM job GROUP BY 1, 2 EXCEPT "
            "SELECT pipeline, state, jobs FROM tally)"),
        0);
    CHECK_EQ(one_int("SELECT count(*) FROM lane LEFT JOIN job ON job.id = lane.job WHERE job.seq "
                     "IS NOT lane.seq OR "
                     "job.state NOT IN ('ready', 'running', 'staged', 'loading')"),
             0);
    CHECK_EQ(one_int("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
             0);
    queue_close(q);
}

static int64_t submit_plain(void)
{
    return submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .attempts_max = 3 });
}

static const char *lane_a[] = { "t.a" };

static int64_t submit_lane(bool replace)
{
    return submit_job(&(struct job_new){ .pipeline = "p",
                                         .target = "t",
                                         .attempts_max = 3,
                                         .lanes = lane_a,
                                         .nlanes = 1,
                                         .lane_replace = replace });
}

static int claim(struct lease *leases, int max)
{
    int n = job_finish_claim(q, NULL, 0, worker, LEASE, CRASHES, leases, max, &err);
    CHECK_OK(n, err);
    return n;
}

/* The next job, which must be there. */
static struct lease claim_one(void)
{
    struct lease l;
    CHECK_EQ(claim(&l, 1), 1);
    return l;
}

static void finish(struct finish *f)
{
    CHECK_OK(job_finish_claim(q, f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
}

static int stage(struct lease *l)
{
    struct finish f = { .lease = l, .outcome = OUT_STAGED };
    finish(&f);
    job_lease_clear(l);
    return !f.lost;
}

static int fail_with(struct lease *l, enum err_code code, int64_t backoff_ms)
{
    struct finish f = {
        .lease = l, .outcome = OUT_FAILED, .stage = "read", .backoff_ms = backoff_ms
    };
    err_set(&f.err, code, "it went wrong");
    finish(&f);
    job_lease_clear(l);
    return !f.lost;
}

static const char *state_of(int64_t id)
{
    static char state[16];
    sqlite3_stmt *st;
    CHECK_OK(db_prepare(queue_db(q), &st, "SELECT state FROM job WHERE id = :id", &err), err);
    db_bind(st, ":id", id);
    CHECK_EQ(db_step(st, &err), 1);
    snprintf(state, sizeof state, "%s", db_text(st, 0));
    sqlite3_finalize(st);
    return state;
}

/* Submit with lanes, claim and stage in one. */
static int64_t staged_lane(bool replace)
{
    int64_t id = submit_lane(replace);
    struct lease l = claim_one();
    CHECK_EQ(l.id, id);
    CHECK(stage(&l));
    return id;
}

static int load_claim(struct staged_job *jobs, int max)
{
    int n = job_load_claim(q, "t", worker, LEASE, max, 10, 1 << 20, jobs, &err);
    CHECK_OK(n, err);
    return n;
}

static void load_end(struct staged_job *j, enum load_outcome outcome)
{
    struct load_finish f = { .job = j, .outcome = outcome, .rows = 7 };
    err_set(&f.err, outcome == LOAD_AWAY ? ERR_TARGET : ERR_TARGET_REFUSED, "the target says no");
    CHECK_OK(job_load_finish(q, &f, 1, &err), err);
    CHECK_EQ(f.lost, 0);
    job_staged_clear(j);
}

/* ---- states ---- */

/* Puts a job into any state by hand (no triggers) and tries the change. */
static int schema_allows(enum job_state from, enum job_state to)
{
    char sql[600];
    const char *f = job_state_name(from), *t = job_state_name(to);
    bool held[JOB_STATES] = { [JOB_RUNNING] = true, [JOB_LOADING] = true };
    bool over[JOB_STATES] = {
        [JOB_LOADED] = true, [JOB_SUPERSEDED] = true, [JOB_DEAD] = true, [JOB_CANCELLED] = true
    };
    CHECK_OK(db_exec(queue_db(q), "DELETE FROM job", &err), err);
    snprintf(sql, sizeof sql,
             "INSERT INTO job (uid, pipeline, state, run_at, seq, created, token, lease_until, "
             "finished) "
             "VALUES ('01234567890123456789012345', 'p', '%s', 1, 1, 1, 1, %s, %s)",
             f, held[from] ? "1" : "NULL", over[from] ? "1" : "NULL");
    CHECK_OK(db_exec(queue_db(q), sql, &err), err);
    snprintf(sql, sizeof sql, "UPDATE job SET state = '%s', lease_until = %s, finished = %s", t,
             held[to] ? "1" : "NULL", over[to] ? "1" : "NULL");
    return db_exec(queue_db(q), sql, &err) == 0;
}

TEST(job, the_table_of_states_and_the_schema_allow_the_same_changes)
{
    int allowed = 0;
    start();
    for (int from = 0; from < JOB_STATES; from++)
        for (int to = 0; to < JOB_STATES; to++) {
            bool may = job_may((enum job_state)from, (enum job_state)to);
            if (schema_allows((enum job_state)from, (enum job_state)to) != may)
                fail_msg("%s to %s: the table in job_state.c says %s, the schema does not",
                         job_state_name((enum job_state)from), job_state_name((enum job_state)to),
                         may ? "yes" : "no");
            allowed += may;
        }
    CHECK_EQ(allowed, 17); /* those of the picture in job.h */
    queue_close(q);
}

TEST(job, the_schema_refuses_what_no_job_can_be)
{
    static const char *const wrong[] = {
        "INSERT INTO job (uid, pipeline, run_at, seq, created, state) VALUES "
        "('01234567890123456789012345', 'p', 1, 1, 1, 'asleep')",
        "INSERT INTO job (uid, pipeline, run_at, seq, created, state, finished) VALUES "
        "('01234567890123456789012345', 'p', 1, 1, 1, 'loaded', 1)",
        "INSERT INTO job (uid, pipeline, run_at, seq, created) VALUES ('short', 'p', 1, 1, 1)",
        "INSERT INTO job (uid, pipeline, run_at, created) VALUES ('01234567890123456789012345', "
        "'p', 1, 1)",
        "INSERT INTO job (uid, pipeline, run_at, seq, created, lease_until) VALUES "
        "('01234567890123456789012345', 'p', 1, 1, 1, 5)",
        "INSERT INTO job (uid, pipeline, run_at, seq, created) VALUES "
        "('01234567890123456789012345', '', 1, 1, 1)",
    };
    start();
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQ(db_exec(queue_db(q), wrong[i], &err), -1);
    CHECK_EQ(one_int("SELECT count(*) FROM job"), 0);
    queue_close(q);
}

TEST(job, states_have_names_and_names_have_states)
{
    for (int s = 0; s < JOB_STATES; s++)
        CHECK_EQ(job_state_by_name(job_state_name((enum job_state)s)), s);
    CHECK_EQ(job_state_by_name("asleep"), -1);
}

/* ---- submit ---- */

TEST(job, what_was_submitted_is_what_is_claimed)
{
    start();
    int64_t id = submit_job(&(struct job_new){ .pipeline = "orders",
                                               .target = "t",
                                               .objects = STR("[\"a\",\"b\"]"),
                                               .params = STR("{\"k\":1}"),
                                               .attempts_max = 4 });
    struct lease l = claim_one();
    CHECK_EQ(l.id, id);
    CHECK_STR(l.pipeline, "orders");
    CHECK_STR(l.objects, "[\"a\",\"b\"]");
    CHECK_STR(l.params, "{\"k\":1}");
    CHECK_EQ(l.token, 1);
    CHECK_EQ(l.attempt, 1);
    CHECK_EQ(l.attempts_max, 4);
    CHECK_EQ(strlen(l.uid), SYS_UID_LEN);
    job_lease_clear(&l);
    id = submit_plain();
    l = claim_one();
    CHECK_EQ(l.id, id);
    CHECK(!l.objects && !l.params);
    job_lease_clear(&l);
    stop();
}

TEST(job, unique_gives_the_open_job_until_it_is_over)
{
    start();
    struct job_new n = { .pipeline = "p", .target = "t", .unique = "monday" };
    int64_t first, second;
    char uid[SYS_UID_LEN + 1], twin[SYS_UID_LEN + 1];
    bool made;
    CHECK_OK(queue_begin(q, &err), err);
    CHECK_OK(job_submit(q, &n, &first, uid, &made, &err), err);
    CHECK(made);
    CHECK_OK(job_submit(q, &n, &second, twin, &made, &err), err);
    CHECK(!made);
    CHECK_OK(queue_commit(q, QUEUE_NOW, &err), err);
    CHECK_EQ(first, second);
    CHECK_STR(uid, twin);
    n.pipeline = "other"; /* keys are of a pipeline */
    CHECK(submit_job(&n) != first);
    n.pipeline = "p";
    CHECK_OK(job_cancel(q, first, &err), err);
    CHECK(submit_job(&n) != first);
    stop();
}

TEST(job, the_unique_index_holds_without_our_help)
{
    start();
    submit_job(&(struct job_new){ .pipeline = "p", .unique = "k" });
    CHECK_EQ(db_exec(queue_db(q),
                     "INSERT INTO job (uid, pipeline, run_at, seq, created, unique_key) "
                     "VALUES ('01234567890123456789012345', 'p', 1, 9, 1, 'k')",
                     &err),
             -1);
    CHECK_EQ(err.code, ERR_TARGET_REFUSED);
    stop();
}

TEST(job, a_full_disk_is_an_error_that_leaves_nothing_and_passes)
{
    AUTO(buf_clear) struct buf big = { 0 };
    char uid[SYS_UID_LEN + 1];
    bool made;
    int64_t id;
    start();
    submit_plain();
    for (int i = 0; i < 200000; i++)
        buf_addc(&big, 'x');
    struct job_new n = { .pipeline = "p", .target = "t", .params = buf_str(&big) };
    int64_t pages = one_int("PRAGMA page_count");
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)pages + 10);
    CHECK_OK(db_exec(queue_db(q), sql, &err), err);
    CHECK_OK(queue_begin(q, &err), err);
    CHECK_EQ(job_submit(q, &n, &id, uid, &made, &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK(!made);
    queue_rollback(q);
    CHECK_EQ(one_int("SELECT count(*) FROM job"), 1);
    CHECK_OK(db_exec(queue_db(q), "PRAGMA max_page_count = 1000000", &err), err);
    CHECK_EQ(submit_job(&n), 2);
    stop();
}

/* ---- order of claims ---- */

TEST(job, greater_priority_first_and_then_the_oldest)
{
    start();
    int64_t low = submit_job(&(struct job_new){ .pipeline = "p", .priority = -1 }), a = submit_plain(),
            b = submit_plain(), high = submit_job(&(struct job_new){ .pipeline = "p", .priority = 5 });
    struct lease l[4];
    CHECK_EQ(claim(l, 4), 4);
    CHECK_EQ(l[0].id, high);
    CHECK_EQ(l[1].id, a);
    CHECK_EQ(l[2].id, b);
    CHECK_EQ(l[3].id, low);
    for (int i = 0; i < 4; i++)
        job_lease_clear(&l[i]);
    stop();
}

TEST(job, one_that_is_not_due_is_not_claimed_before_its_time)
{
    start();
    int64_t now = sys_now_ms(), promoted, next;
    int64_t late =
                submit_job(&(struct job_new){ .pipeline = "p", .run_at = now + 5000, .priority = 9 }),
            soon = submit_plain();
    struct lease l[2];
    CHECK_EQ(claim(l, 2), 1);
    CHECK_EQ(l[0].id, soon);
    job_lease_clear(&l[0]);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_EQ(promoted, 0);
    CHECK_EQ(next, now + 5000);
    sys_clock_advance(5001);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_EQ(promoted, 1);
    CHECK_EQ(next, 0);
    l[0] = claim_one();
    CHECK_EQ(l[0].id, late);
    job_lease_clear(&l[0]);
    stop();
}

TEST(job, many_become_due_in_the_order_of_their_times)
{
    start();
    int64_t now = sys_now_ms(), promoted, next, last = 0;
    CHECK_OK(queue_begin(q, &err), err);
    for (int i = 0; i < 1000; i++) {
        struct job_new n = { .pipeline = "p", .run_at = now + 5000 + i * 7 % 1000 };
        int64_t id;
        char uid[SYS_UID_LEN + 1];
        bool made;
        CHECK_OK(job_submit(q, &n, &id, uid, &made, &err), err);
    }
    CHECK_OK(queue_commit(q, QUEUE_NOW, &err), err);
    sys_clock_advance(7000);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_EQ(promoted, 1000);
    CHECK_EQ(one_int("SELECT count(DISTINCT seq) FROM job"), 1000);
    CHECK(one_int("SELECT min(seq) FROM job") > one_int("SELECT max(id) FROM job"));
    for (int i = 0; i < 1000; i++) {
        struct lease l = claim_one();
        int64_t at = now + 5000 + (l.id - 1) * 7 % 1000;
        CHECK(at >= last);
        last = at;
        job_lease_clear(&l);
    }
    CHECK(submit_plain() >
          one_int("SELECT max(seq) FROM job WHERE id <= 1000")); /* ids and places are one row of
                                                                    numbers */
    stop();
}

/* ---- leases ---- */

TEST(job, a_worker_that_lost_its_lease_changes_nothing)
{
    start();
    int64_t id = submit_plain(), rescued;
    struct lease old = claim_one();
    sys_clock_advance(LEASE + 1);
    CHECK_OK(job_rescue(q, CRASHES, &rescued, &err), err);
    CHECK_EQ(rescued, 1);
    CHECK_EQ(job_lease_state(q, &old, &err), LEASE_LOST);
    struct lease now = claim_one();
    CHECK_EQ(now.id, id);
    CHECK_EQ(now.token, old.token + 1);
    CHECK_EQ(now.attempt, 2);
    CHECK_EQ(job_renew(q, &old, sys_now_ms() + LEASE, &err), 0);
    CHECK_EQ(job_lease_state(q, &old, &err), LEASE_LOST);
    struct output out = { .table = "t.a", .rows = 1 };
    struct finish f[] = { { .lease = &old, .outcome = OUT_STAGED, .outputs = &out, .noutputs = 1 },
                          { .lease = &old, .outcome = OUT_FAILED },
                          { .lease = &old, .outcome = OUT_HANDED_BACK } };
    int64_t changes = one_int("SELECT total_changes()"),
            attempts = one_int("SELECT count(*) FROM attempt");
    CHECK_OK(job_finish_claim(q, f, 3, worker, LEASE, CRASHES, NULL, 0, &err), err);
    CHECK_EQ(one_int("SELECT total_changes()"), changes);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(f[i].lost, 1);
        CHECK(!f[i].cancelled);
    }
    CHECK_STR(state_of(id), "running");
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 0);
    CHECK_EQ(one_int("SELECT count(*) FROM attempt"), attempts);
    CHECK_EQ(job_lease_state(q, &now, &err), LEASE_OURS);
    CHECK(stage(&now));
    job_lease_clear(&old);
    stop();
}

TEST(job, a_lost_finish_does_not_keep_the_others_from_theirs)
{
    start();
    submit_plain();
    struct lease l[2];
    l[0] = claim_one();
    int64_t id = submit_plain();
    l[1] = claim_one();
    CHECK_OK(job_cancel(q, l[0].id, &err), err);
    CHECK_EQ(job_lease_state(q, &l[0], &err), LEASE_CANCELLED);
    struct finish f[] = { { .lease = &l[0], .outcome = OUT_STAGED },
                          { .lease = &l[1], .outcome = OUT_STAGED } };
    CHECK_OK(job_finish_claim(q, f, 2, worker, LEASE, CRASHES, NULL, 0, &err), err);
    CHECK_EQ(f[0].lost, 1);
    CHECK(f[0].cancelled);
    CHECK_EQ(f[1].lost, 0);
    CHECK(!f[1].cancelled);
    CHECK_STR(state_of(id), "staged");
    job_lease_clear(&l[0]);
    job_lease_clear(&l[1]);
    stop();
}

TEST(job, a_renewed_lease_is_not_rescued)
{
    start();
    submit_plain();
    struct lease l = claim_one();
    int64_t rescued;
    sys_clock_advance(LEASE * 3 / 4);
    CHECK_EQ(job_renew(q, &l, sys_now_ms() + LEASE, &err), 1);
    sys_clock_advance(LEASE * 3 / 4);
    CHECK_OK(job_rescue(q, CRASHES, &rescued, &err), err);
    CHECK_EQ(rescued, 0);
    CHECK(stage(&l));
    stop();
}

TEST(job, one_that_takes_its_workers_down_dies_as_poison)
{
    start();
    int64_t id = submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .attempts_max = 9 }),
            rescued;
    for (int i = 0; i < CRASHES; i++) {
        struct lease l = claim_one();
        CHECK_EQ(l.crashes, i);
        job_lease_clear(&l);
        sys_clock_advance(LEASE + 1);
        CHECK_OK(job_rescue(q, CRASHES, &rescued, &err), err);
        CHECK_EQ(rescued, 1);
    }
    CHECK_STR(state_of(id), "dead");
    CHECK_EQ(one_int("SELECT count(*) FROM error WHERE class = 'poison' AND code = 'crashed'"),
             CRASHES);
    CHECK_EQ(one_int("SELECT count(*) FROM error WHERE message LIKE "
                     "'its worker ''worker-1'' (process %) was not heard of%'"),
             CRASHES);
    CHECK_EQ(one_int("SELECT count(*) FROM attempt WHERE outcome = 'crashed'"), CRASHES);
    stop();
}

TEST(job, a_crash_of_the_reader_counts_as_one_of_the_worker)
{
    start();
    int64_t id = submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .attempts_max = 9 });
    for (int i = 0; i < CRASHES; i++) {
        CHECK_STR(state_of(id), "ready");
        struct lease l = claim_one();
        CHECK(fail_with(&l, ERR_READER_CRASHED, 0));
    }
    CHECK_STR(state_of(id), "dead");
    stop();
}

/* ---- failures ---- */

TEST(job, a_passing_fault_is_tried_again_later_until_the_tries_are_used_up)
{
    start();
    int64_t id = submit_plain(), promoted, next;
    for (int i = 1; i <= 3; i++) {
        struct lease l = claim_one();
        CHECK_EQ(l.attempt, i);
        CHECK(fail_with(&l, ERR_FETCH, 500));
        if (i == 3)
            break;
        CHECK_STR(state_of(id), "ready");
        struct lease none;
        CHECK_EQ(claim(&none, 1), 0);
        sys_clock_advance(501);
        CHECK_OK(job_promote(q, &promoted, &next, &err), err);
        CHECK_EQ(promoted, 1);
    }
    CHECK_STR(state_of(id), "dead");
    CHECK_EQ(one_int("SELECT count(*) FROM error WHERE code = 'fetch' AND stage = 'read' AND class "
                     "= 'transient'"),
             3);
    CHECK_EQ(one_int("SELECT count(*) FROM attempt WHERE outcome = 'failed'"), 3);
    stop();
}

TEST(job, a_lasting_fault_kills_it_at_once)
{
    start();
    int64_t id = submit_plain();
    struct lease l = claim_one();
    CHECK(fail_with(&l, ERR_HEADER, 0));
    CHECK_STR(state_of(id), "dead");
    stop();
}

TEST(job, one_that_was_handed_back_lost_no_try)
{
    start();
    int64_t id = submit_plain();
    struct lease l = claim_one();
    struct finish f = { .lease = &l, .outcome = OUT_HANDED_BACK };
    finish(&f);
    job_lease_clear(&l);
    l = claim_one();
    CHECK_EQ(l.id, id);
    CHECK_EQ(l.attempt, 1);
    CHECK_EQ(l.token, 2);
    CHECK(stage(&l));
    stop();
}

TEST(job, finish_and_claim_are_one_transaction)
{
    start();
    submit_plain();
    submit_plain();
    struct lease a = claim_one(), b;
    CHECK_OK(db_exec(queue_db(q),
                     "CREATE TEMP TRIGGER no BEFORE UPDATE OF worker ON job BEGIN SELECT "
                     "RAISE(ABORT, 'no'); END",
                     &err),
             err);
    struct finish f = { .lease = &a, .outcome = OUT_STAGED };
    CHECK_EQ(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, &b, 1, &err), -1);
    CHECK_STR(state_of(a.id), "running"); /* the claim failed, so the stage did not happen */
    CHECK_OK(db_exec(queue_db(q), "DROP TRIGGER no", &err), err);
    CHECK_EQ(job_finish_claim(q, &f, 1, worker, LEASE, CRASHES, &b, 1, &err), 1);
    CHECK_STR(state_of(a.id), "staged");
    job_lease_clear(&a);
    job_lease_clear(&b);
    stop();
}

TEST(job, an_idle_worker_takes_no_lock)
{
    struct lease l;
    struct queue *other;
    int64_t n, next;
    struct staged_job j;
    start();
    CHECK_OK(queue_open(&other, sqlite3_db_filename(queue_db(q), "main"), 0, &err), err);
    CHECK_OK(queue_begin(other, &err), err); /* would wait for ever here */
    CHECK_EQ(claim(&l, 1), 0);
    CHECK_EQ(job_claim_one(q, 1, worker, LEASE, &l, &err), 0);
    CHECK_OK(job_promote(q, &n, &next, &err), err);
    CHECK_OK(job_rescue(q, CRASHES, &n, &err), err);
    CHECK_EQ(load_claim(&j, 1), 0);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, &j, &err), 0);
    CHECK_EQ(job_load_claim_one(q, 1, "t", worker, LEASE, &j, &err), 0);
    queue_rollback(other);
    queue_close(other);
    stop();
}

static int count_output(void *arg, const struct output *o)
{
    int *n = arg;
    CHECK_EQ(o->kind, OUTPUT_REJECTS);
    CHECK_EQ(o->rows, 2);
    ++*n;
    return 0;
}

static int count_rejected(void *arg, const struct job_row *r)
{
    *(int64_t *)arg = r->rows_rejected;
    return 0;
}

TEST(job, the_rejects_of_a_dead_job_stay_until_it_is_retried)
{
    struct err e = { 0 };
    start();
    int64_t id = submit_job(&(struct job_new){ .pipeline = "p", .target = "t" }), rejected = -1;
    struct job_filter filter = { .id = id, .limit = 1 };
    int n = 0;
    struct lease l = claim_one();
    struct output out = { .kind = OUTPUT_REJECTS, .number = 1, .ext = "jsonl", .rows = 2, .bytes = 4 };
    buf_add(&out.inlined, "{}\n\n", 4);
    struct finish f = { .lease = &l, .outcome = OUT_FAILED, .outputs = &out, .noutputs = 1, .rows_read = 9, .rows_rejected = 2 };
    err_set(&f.err, ERR_REJECTS, "too many");
    finish(&f);
    job_lease_clear(&l);
    buf_clear(&out.inlined);
    CHECK_OK(job_outputs(q, id, count_output, &n, &e), e);
    CHECK_EQ(n, 1);
    CHECK_OK(job_list(q, &filter, count_rejected, &rejected, &e), e);
    CHECK_EQ(rejected, 2);
    CHECK_OK(job_retry(q, id, &e), e);
    CHECK_OK(job_outputs(q, id, count_output, &n, &e), e);
    CHECK_EQ(n, 1);
    CHECK_OK(job_list(q, &filter, count_rejected, &rejected, &e), e);
    CHECK_EQ(rejected, 0);
    stop();
}

static int64_t load_with_rejects(void)
{
    int64_t id = submit_plain();
    struct lease l = claim_one();
    struct output out = { .kind = OUTPUT_REJECTS, .number = 1, .ext = "jsonl", .rows = 2, .bytes = 4, .spec = (char *)"{}" };
    struct staged_job j;
    buf_add(&out.inlined, "{}\n\n", 4);
    struct finish f = { .lease = &l, .outcome = OUT_STAGED, .outputs = &out, .noutputs = 1, .rows_read = 9, .rows_rejected = 2 };
    finish(&f);
    job_lease_clear(&l);
    buf_clear(&out.inlined);
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_LOADED);
    CHECK_STR(state_of(id), "loaded");
    return id;
}

static int replay(int64_t refused, int64_t *id)
{
    char uid[SYS_UID_LEN + 1];
    struct job_new n = { .pipeline = "p", .target = "t", .attempts_max = 1, .objects = STR("[\"rejects:X\"]") };
    return job_replay(q, refused, &n, id, uid, &err);
}

static int take_rejects(void *arg, const struct rejects_row *r)
{
    struct rejects_row *to = arg;
    *to = *r;
    to->uid = to->pipeline = to->state = to->spec = NULL;
    to->replay_state = r->replay_state ? job_state_name((enum job_state)job_state_by_name(r->replay_state)) : NULL;
    return 0;
}

TEST(job, rejects_are_read_again_by_one_job_at_a_time_and_loaded_once)
{
    struct rejects_row row = { 0 };
    struct rejects_filter filter = { .pipeline = "p" };
    char uid[SYS_UID_LEN + 1];
    int64_t first, second, third, of = 0;
    start();
    int64_t plain = submit_plain();
    CHECK_EQ(replay(plain, &first), -1);
    CHECK_HAS(err.msg, "is ready: only rejects of a loaded job");
    CHECK_OK(job_cancel(q, plain, &err), err);
    int64_t id = load_with_rejects();
    CHECK_OK(replay(id, &first), err);
    CHECK_EQ(job_replay_of(q, first, &of, uid, &err), 1);
    CHECK_EQ(of, id);
    CHECK_EQ(job_replay_of(q, id, &of, uid, &err), 0);
    CHECK_EQ(replay(id, &second), -1);
    CHECK_EQ(err.code, ERR_STATE);
    CHECK_HAS(err.msg, "already, and is ready");

    struct lease l = claim_one(); /* it dies: the next takes its place, and it cannot be tried again beside that one */
    CHECK_EQ(l.id, first);
    CHECK(fail_with(&l, ERR_CONFIG, 0));
    CHECK_STR(state_of(first), "dead");
    CHECK_OK(replay(id, &second), err);
    CHECK_STR(state_of(first), "cancelled");
    CHECK_EQ(job_retry(q, first, &err), -1);
    CHECK_OK(job_cancel(q, second, &err), err);
    CHECK_OK(replay(id, &third), err);
    CHECK_OK(job_rejects(q, &filter, take_rejects, &row, &err), err);
    CHECK_EQ(row.id, id);
    CHECK_EQ(row.rows, 2);
    CHECK_EQ(row.kept, 2);
    CHECK_EQ(row.replay, third);
    CHECK_STR(row.replay_state, "ready");

    l = claim_one();
    CHECK_EQ(l.id, third);
    CHECK(stage(&l));
    CHECK_EQ(replay(id, &first), -1);
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_LOADED);
    CHECK_EQ(replay(id, &first), -1);
    CHECK_HAS(err.msg, "already, and is loaded");

    CHECK_OK(job_undone(q, third, &err), err); /* its rows went out again */
    CHECK_OK(replay(id, &first), err);
    stop();
}

static int64_t prune_all(void)
{
    struct prune all = { .before = sys_now_ms() + 1000 };
    int64_t n;
    CHECK_OK(job_prune(q, &all, &n, &err), err);
    return n;
}

/* ---- what was left in a target ---- */

static int64_t staged_rows(void)
{
    struct output out = { .kind = OUTPUT_ROWS, .table = "t.a", .ext = "obj", .rows = 1 };
    int64_t id = submit_plain();
    struct lease l = claim_one();
    buf_adds(&out.inlined, "rows");
    struct finish f = { .lease = &l, .outcome = OUT_STAGED, .outputs = &out, .noutputs = 1 };
    finish(&f);
    job_lease_clear(&l);
    buf_clear(&out.inlined);
    return id;
}

static int forsake_claim(struct staged_job *job)
{
    int n = job_forsake_claim(q, "t", LEASE, job, &err);
    CHECK_OK(n, err);
    return n;
}

static bool forsake_end(struct staged_job *job, enum load_outcome outcome, bool leaves)
{
    struct load_finish f = { .job = job, .outcome = outcome, .leaves = leaves };
    CHECK_OK(job_forsake_finish(q, &f, &err), err);
    job_staged_clear(job);
    return !f.lost;
}

TEST(job, one_cancelled_behind_a_try_to_load_it_is_looked_after_until_nothing_is_left)
{
    struct staged_job job;
    start();
    int64_t id = staged_rows();
    CHECK_EQ(load_claim(&job, 1), 1);
    load_end(&job, LOAD_AWAY);
    CHECK_OK(job_cancel(q, id, &err), err);
    CHECK_EQ(job_forsake_claim(q, "other", LEASE, &job, &err), 0);
    CHECK_EQ(forsake_claim(&job), 1);
    CHECK_EQ(job.id, id);
    CHECK_EQ(job.noutputs, 1);
    CHECK(forsake_end(&job, LOAD_REFUSED, true));
    CHECK_EQ(forsake_claim(&job), 0);
    CHECK_EQ(prune_all(), 0); /* its outputs are needed */
    sys_clock_advance(100000);
    CHECK_EQ(forsake_claim(&job), 1);
    CHECK(forsake_end(&job, LOAD_REFUSED, false));
    CHECK_EQ(forsake_claim(&job), 0);
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 0);
    CHECK_EQ(prune_all(), 1);
    stop();
}

TEST(job, one_cancelled_that_its_target_has_is_loaded)
{
    struct staged_job job;
    start();
    int64_t id = staged_rows();
    CHECK_EQ(load_claim(&job, 1), 1);
    load_end(&job, LOAD_AWAY);
    CHECK_OK(job_cancel(q, id, &err), err);
    CHECK_EQ(forsake_claim(&job), 1);
    CHECK(forsake_end(&job, LOAD_LOADED, false));
    CHECK_STR(state_of(id), "loaded");
    CHECK_EQ(forsake_claim(&job), 0);
    stop();
}

TEST(job, one_cancelled_that_no_loader_had_leaves_nothing)
{
    struct staged_job job;
    start();
    CHECK_OK(job_cancel(q, staged_rows(), &err), err);
    CHECK_EQ(forsake_claim(&job), 0);
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 0);
    stop();
}

TEST(job, a_retry_ends_looking_after_what_was_left)
{
    struct staged_job job;
    start();
    int64_t id = staged_rows();
    CHECK_EQ(load_claim(&job, 1), 1);
    struct load_finish f = { .job = &job, .outcome = LOAD_REFUSED, .leaves = true };
    err_set(&f.err, ERR_TARGET_REFUSED, "the target says no");
    CHECK_OK(job_load_finish(q, &f, 1, &err), err);
    job_staged_clear(&job);
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 1);
    CHECK_EQ(forsake_claim(&job), 1);
    CHECK_OK(job_retry(q, id, &err), err);
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 0);
    CHECK(!forsake_end(&job, LOAD_LOADED, false));
    CHECK_STR(state_of(id), "ready");
    stop();
}

TEST(job, who_is_pruned_takes_its_rejects_along_but_not_while_somebody_reads_them)
{
    int64_t again;
    start();
    int64_t id = load_with_rejects();
    CHECK_OK(replay(id, &again), err);
    CHECK_EQ(prune_all(), 0);
    struct lease l = claim_one();
    CHECK(stage(&l));
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_LOADED);
    CHECK_OK(db_exec(queue_db(q), "UPDATE job SET created = 1, finished = CASE id WHEN 1 THEN finished ELSE 1 END", &err), err); /* only the one that read them */
    struct prune old = { .before = 1000 };
    int64_t n;
    CHECK_OK(job_prune(q, &old, &n, &err), err);
    CHECK_EQ(n, 1);
    CHECK_EQ(replay(id, &again), -1); /* it is forgotten, and what it did is not */
    CHECK_HAS(err.msg, "already, and is loaded");
    CHECK_EQ(prune_all(), 1);
    CHECK_EQ(one_int("SELECT count(*) FROM replay"), 0);
    CHECK_EQ(replay(id, &again), -1);
    CHECK_EQ(err.code, ERR_NOT_FOUND);
    stop();
}

/* ---- stage and load ---- */

TEST(job, outputs_reach_the_loader_as_they_were_staged)
{
    start();
    int64_t id =
        submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .objects = STR("[\"x\"]") });
    struct lease l = claim_one();
    struct output out[3] = { { .number = 0,
                               .table = "t.a",
                               .ext = "db",
                               .rows = 3,
                               .bytes = 4096,
                               .in_file = true,
                               .checksum = 0xfedcba9876543210,
                               .spec = (char *)"{\"k\":1}" },
                             { .number = 1, .table = "t.b", .ext = "db", .rows = 1, .bytes = 3 },
                             { .number = 2, .kind = OUTPUT_REJECTS, .ext = "jsonl", .rows = 0 } };
    buf_add(&out[1].inlined, "a\0b", 3);
    struct job_object objects[] = { { "http://x/1", 10, "\"e\"", "Sat, 21 Nov 2026 05:12:11 GMT", "", 0 },
                                    { "/x/2", 20, NULL, "2026-11-21T06:00:00Z", "", 0 } };
    struct finish f = { .lease = &l,
                        .outcome = OUT_STAGED,
                        .outputs = out,
                        .noutputs = 3,
                        .rows_read = 5,
                        .rows_staged = 4,
                        .rows_rejected = 1,
                        .bytes_in = 100,
                        .objects = objects,
                        .nobjects = 2 };
    finish(&f);
    job_lease_clear(&l);
    buf_clear(&out[1].inlined);
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(j.id, id);
    CHECK_EQ(j.token, 2);
    CHECK_STR(j.pipeline, "p");
    CHECK_STR(j.objects, "[\"http://x/1\",\"/x/2\"]");
    CHECK_EQ(j.noutputs, 3);
    CHECK(j.outputs[0].in_file && j.outputs[0].checksum == 0xfedcba9876543210);
    CHECK_STR(j.outputs[0].spec, "{\"k\":1}");
    CHECK_STR(j.outputs[1].table, "t.b");
    CHECK_EQ(j.outputs[1].inlined.n, 3);
    CHECK_EQ(memcmp(j.outputs[1].inlined.p, "a\0b", 3), 0);
    CHECK_EQ(j.outputs[2].kind, OUTPUT_REJECTS);
    CHECK_STR(j.outputs[2].ext, "jsonl");
    CHECK(!j.overtaken);
    load_end(&j, LOAD_LOADED);
    CHECK_STR(state_of(id), "loaded");
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 1); /* the rejects */
    CHECK_EQ(one_int("SELECT count(*) FROM output WHERE kind = 'rejects'"), 1);
    CHECK_EQ(one_int("SELECT rows_loaded FROM job"), 7);
    CHECK_EQ(one_int("SELECT succeeded FROM worker"), 2);
    CHECK_EQ(one_int("SELECT total_size_in_bytes = 30 AND status = 'LOADED' AND files = "
                     "'[\"http://x/1\",\"/x/2\"]' "
                     "AND latest_file_modified_time = '2026-11-21T06:00:00Z' FROM scanner"),
             1);
    stop();
}

/* A twin is held back while the other one's end is open, and may have the content when that one came to nothing. */
TEST(job, one_content_is_staged_once)
{
    start();
    int64_t first = submit_plain(), second = submit_plain(), of;
    struct job_object o = { .uri = "/x", .sha256 = "abc" };
    struct lease a = claim_one(), b = claim_one();
    struct finish f = { .lease = &a, .outcome = OUT_STAGED, .objects = &o, .nobjects = 1 };
    finish(&f);
    CHECK_STR(state_of(first), "staged");
    CHECK_EQ(job_content(q, "p", "abc", second, &of, &err), 2);
    CHECK_EQ(job_content(q, "p", "abc", first, &of, &err), 0);
    CHECK_EQ(job_content(q, "p", "abd", second, &of, &err), 0);
    f = (struct finish){ .lease = &b, .outcome = OUT_STAGED, .objects = &o, .nobjects = 1, .backoff_ms = 1000 };
    finish(&f);
    CHECK(f.held_by_twin && !f.lost);
    CHECK_STR(state_of(second), "ready");
    CHECK_EQ(one_int("SELECT attempts = 0 AND due = 0 FROM job WHERE id = 2"), 1);
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_LOADED);
    CHECK_EQ(job_content(q, "p", "abc", second, &of, &err), 1);
    CHECK_EQ(of, first);
    CHECK_OK(db_exec(queue_db(q), "UPDATE job SET undone = 1 WHERE id = 1", &err), err);
    CHECK_EQ(job_content(q, "p", "abc", second, &of, &err), 0);
    job_lease_clear(&a);
    job_lease_clear(&b);
    stop();
}

TEST(job, what_its_target_cannot_take_now_waits_and_what_it_refuses_dies)
{
    start();
    int64_t id = submit_plain();
    struct lease l = claim_one();
    CHECK(stage(&l));
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    struct load_finish f = { .job = &j, .outcome = LOAD_AWAY, .backoff_ms = 1000 };
    err_set(&f.err, ERR_TARGET, "away");
    CHECK_OK(job_load_finish(q, &f, 1, &err), err);
    job_staged_clear(&j);
    CHECK_STR(state_of(id), "staged");
    CHECK_EQ(load_claim(&j, 1), 0);
    sys_clock_advance(1001);
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_REFUSED);
    CHECK_STR(state_of(id), "dead");
    CHECK_EQ(one_int("SELECT count(*) FROM error WHERE stage = 'load'"), 2);
    CHECK_EQ(
        one_int(
            "SELECT count(*) FROM attempt WHERE kind = 'load' AND outcome IN ('away', 'refused')"),
        2);
    stop();
}

TEST(job, a_loader_that_lost_its_lease_records_nothing)
{
    start();
    int64_t id = submit_plain();
    struct lease l = claim_one();
    CHECK(stage(&l));
    struct staged_job old, now;
    CHECK_EQ(load_claim(&old, 1), 1);
    CHECK_EQ(job_load_renew(q, &old, 1, sys_now_ms() + LEASE, &err), 1);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, &now, &err), 0);
    sys_clock_advance(LEASE + 1);
    CHECK_EQ(job_load_expired(q, "other", worker, LEASE, &now, &err), 0);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, &now, &err), 1);
    CHECK_EQ(now.id, id);
    CHECK_EQ(now.token, old.token + 1);
    CHECK_EQ(job_load_renew(q, &old, 1, sys_now_ms() + LEASE, &err), 0);
    struct load_finish f = { .job = &old, .outcome = LOAD_LOADED };
    CHECK_OK(job_load_finish(q, &f, 1, &err), err);
    CHECK_EQ(f.lost, 1);
    CHECK_STR(state_of(id), "loading");
    load_end(&now, LOAD_LOADED);
    CHECK_STR(state_of(id), "loaded");
    job_staged_clear(&old);
    stop();
}

TEST(job, one_that_a_loader_died_with_is_loaded_alone)
{
    start();
    int64_t id[3];
    for (int i = 0; i < 3; i++) {
        id[i] = submit_plain();
        struct lease l = claim_one();
        CHECK(stage(&l));
        job_lease_clear(&l);
    }
    struct staged_job j[3];
    CHECK_EQ(load_claim(j, 3), 3);
    for (int i = 0; i < 3; i++)
        job_staged_clear(&j[i]);
    sys_clock_advance(LEASE + 1);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, j, &err), 1); /* the others wait for their turn */
    CHECK_EQ(j[0].id, id[0]);
    CHECK_EQ(j[0].crashes, 1);
    CHECK_EQ(one_int("SELECT count(*) FROM job WHERE crashes = 0"), 2);
    load_end(&j[0], LOAD_AWAY);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, j, &err), 1);
    CHECK_EQ(j[0].id, id[1]);
    load_end(&j[0], LOAD_LOADED);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, j, &err), 1);
    load_end(&j[0], LOAD_AWAY);
    sys_clock_advance(LEASE);
    CHECK_EQ(load_claim(j, 3), 1);
    load_end(&j[0], LOAD_LOADED);
    CHECK_EQ(load_claim(j, 3), 1);
    load_end(&j[0], LOAD_LOADED);
    stop();
}

TEST(job, two_loaders_do_not_take_over_jobs_of_one_lane)
{
    start();
    staged_lane(false);
    staged_lane(false);
    struct staged_job j[2], other;
    CHECK_EQ(load_claim(j, 2), 2);
    job_staged_clear(&j[0]);
    job_staged_clear(&j[1]);
    sys_clock_advance(LEASE + 1);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, j, &err), 1);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, &other, &err), 0); /* the first one is loaded before */
    load_end(&j[0], LOAD_LOADED);
    CHECK_EQ(job_load_expired(q, "t", worker, LEASE, &other, &err), 1);
    load_end(&other, LOAD_LOADED);
    stop();
}

TEST(job, a_group_ends_at_its_limits_but_holds_at_least_one)
{
    start();
    for (int i = 0; i < 5; i++) {
        submit_plain();
        struct lease l = claim_one();
        struct output out[2] = { { .number = 0, .table = "t.a", .bytes = 100, .in_file = true },
                                 { .number = 1, .bytes = 50, .in_file = true } };
        struct finish f = { .lease = &l, .outcome = OUT_STAGED, .outputs = out, .noutputs = 2 };
        finish(&f);
        job_lease_clear(&l);
    }
    struct staged_job j[5];
    CHECK_EQ(job_load_claim(q, "t", worker, LEASE, 5, 1, 1000, j, &err),
             1); /* files: one job has 2 already */
    load_end(&j[0], LOAD_LOADED);
    CHECK_EQ(job_load_claim(q, "t", worker, LEASE, 5, 10, 310, j, &err), 2); /* bytes: 150 each */
    CHECK(j[0].seq < j[1].seq);
    load_end(&j[0], LOAD_LOADED);
    load_end(&j[1], LOAD_LOADED);
    CHECK_EQ(job_load_claim(q, "t", worker, LEASE, 1, 10, 1000, j, &err), 1); /* jobs */
    load_end(&j[0], LOAD_LOADED);
    CHECK_EQ(job_load_claim(q, "t", worker, LEASE, 5, 10, 1000, j, &err), 1);
    load_end(&j[0], LOAD_LOADED);
    stop();
}

/* ---- lanes ---- */

TEST(job, an_upsert_waits_for_the_older_ones_of_its_table)
{
    start();
    int64_t a = submit_lane(false);
    struct lease first = claim_one();
    int64_t b = staged_lane(false);
    int64_t other = submit_plain(); /* no lane: it does not wait */
    struct lease l = claim_one();
    CHECK(stage(&l));
    struct staged_job j[3];
    CHECK_EQ(load_claim(j, 3), 1);
    CHECK_EQ(j[0].id, other);
    load_end(&j[0], LOAD_LOADED);
    AUTO(buf_clear) struct buf why = { 0 };
    int64_t loader;
    CHECK_OK(registry_join(q, "loader", "loader-1", &loader, &err), err);
    CHECK_OK(job_explain(q, b, &why, &err), err);
    CHECK_HAS(why.p, "older job 1 ");
    CHECK(stage(&first));
    CHECK_EQ(load_claim(j, 3), 2); /* both, the older one first */
    CHECK_EQ(j[0].id, a);
    CHECK_EQ(j[1].id, b);
    CHECK(!j[0].overtaken && !j[1].overtaken);
    load_end(&j[0], LOAD_LOADED);
    load_end(&j[1], LOAD_LOADED);
    stop();
}

TEST(job, a_retry_that_waits_for_its_time_keeps_its_place_in_the_lane)
{
    start();
    submit_lane(false);
    struct lease l = claim_one();
    CHECK(fail_with(&l, ERR_FETCH, 60000));
    staged_lane(false);
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 0);
    stop();
}

TEST(job, a_future_job_stands_in_nobodys_way_and_gets_its_place_when_it_is_due)
{
    start();
    int64_t late = submit_job(&(struct job_new){ .pipeline = "p",
                                                 .target = "t",
                                                 .lanes = lane_a,
                                                 .nlanes = 1,
                                                 .run_at = sys_now_ms() + 1000 });
    int64_t b = staged_lane(false), promoted, next;
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(j.id, b);
    load_end(&j, LOAD_LOADED);
    sys_clock_advance(1001);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    struct lease l = claim_one();
    CHECK_EQ(l.id, late);
    CHECK(stage(&l));
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(j.id, late);
    CHECK(!j.overtaken); /* submitted before b, but due after it */
    load_end(&j, LOAD_LOADED);
    stop();
}

TEST(job, a_replace_does_not_wait_and_the_older_ones_are_overtaken)
{
    start();
    int64_t a = submit_lane(false);
    struct lease first = claim_one();
    int64_t b = submit_lane(true);
    struct lease second = claim_one();
    int64_t c = staged_lane(true), d = staged_lane(false);
    struct staged_job j[4];
    CHECK_EQ(load_claim(j, 1), 1);
    CHECK_EQ(j[0].id, c);
    load_end(&j[0], LOAD_LOADED);
    CHECK_EQ(load_claim(j, 1),
             1); /* d waits neither for a nor for b: c replaced what they would have done */
    CHECK_EQ(j[0].id, d);
    load_end(&j[0], LOAD_LOADED);
    CHECK(stage(&first));
    CHECK(stage(&second));
    CHECK_EQ(load_claim(j, 4), 2);
    CHECK_EQ(j[0].id, a);
    CHECK_EQ(j[1].id, b);
    for (int i = 0; i < 2; i++) {
        CHECK(j[i].overtaken && j[i].overtaken_by_replace);
        load_end(&j[i], LOAD_SUPERSEDED);
    }
    CHECK_STR(state_of(a), "superseded");
    stop();
}

TEST(job, a_dead_one_leaves_its_lane_and_comes_back_overtaken)
{
    start();
    int64_t a = submit_lane(false);
    struct lease l = claim_one();
    int64_t b = staged_lane(false);
    CHECK(fail_with(&l, ERR_HEADER, 0));
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(j.id, b);
    load_end(&j, LOAD_LOADED);
    CHECK_OK(job_retry(q, a, &err), err);
    l = claim_one();
    CHECK_EQ(l.id, a);
    CHECK_EQ(l.attempt, 1); /* with all its tries */
    CHECK(stage(&l));
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(j.id, a);
    CHECK(j.overtaken && !j.overtaken_by_replace);
    load_end(&j, LOAD_REFUSED);
    stop();
}

TEST(job, a_cancelled_one_lets_the_younger_ones_pass)
{
    start();
    int64_t a = submit_lane(false);
    struct lease l = claim_one();
    int64_t b = staged_lane(false);
    CHECK_OK(job_cancel(q, a, &err), err);
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(j.id, b);
    load_end(&j, LOAD_LOADED);
    job_lease_clear(&l);
    stop();
}

TEST(job, two_loaders_never_load_into_one_lane_at_once)
{
    start();
    struct staged_job mine, theirs;
    int64_t a = staged_lane(false);
    CHECK_EQ(load_claim(&mine, 1), 1);
    CHECK_EQ(mine.id, a);
    staged_lane(true); /* a replace waits for nobody older, but for who loads now */
    CHECK_EQ(load_claim(&theirs, 1), 0);
    load_end(&mine, LOAD_LOADED);
    CHECK_EQ(load_claim(&theirs, 1), 1);
    load_end(&theirs, LOAD_LOADED);
    /* and an older one waits while a younger replace is loaded, so that it learns that it was
     * overtaken */
    submit_lane(false);
    struct lease l = claim_one();
    staged_lane(true);
    CHECK_EQ(load_claim(&theirs, 1), 1);
    CHECK(stage(&l));
    CHECK_EQ(load_claim(&mine, 1), 0);
    load_end(&theirs, LOAD_LOADED);
    CHECK_EQ(load_claim(&mine, 1), 1);
    CHECK(mine.overtaken_by_replace);
    load_end(&mine, LOAD_SUPERSEDED);
    stop();
}

TEST(job, one_of_several_tables_waits_for_each_of_them)
{
    static const char *const both[] = { "t.a", "t.b" }, *const only_b[] = { "t.b" };
    start();
    int64_t b =
        submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .lanes = only_b, .nlanes = 1 });
    struct lease l = claim_one();
    int64_t ab =
        submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .lanes = both, .nlanes = 2 });
    struct lease m = claim_one();
    CHECK(stage(&m));
    int64_t a = staged_lane(false);
    struct staged_job j[3];
    CHECK_EQ(load_claim(j, 3), 0); /* a behind ab, ab behind b */
    CHECK(stage(&l));
    CHECK_EQ(load_claim(j, 3), 3);
    CHECK_EQ(j[0].id, b);
    CHECK_EQ(j[1].id, ab);
    CHECK_EQ(j[2].id, a);
    for (int i = 0; i < 3; i++)
        load_end(&j[i], LOAD_LOADED);
    CHECK_EQ(one_int("SELECT count(*) FROM lane"), 0);
    stop();
}

/* Five jobs of a new lane, upserts and replaces mixed, staged in some order: whatever the order,
 * the table ends as if they had come in the order of their submission, and nobody is stuck. */
static void lane_order(const int order[5], unsigned replaces)
{
    struct lease l[5];
    int64_t ids[5], loaded = 0, replaced = 0;
    for (int i = 0; i < 5; i++) {
        ids[i] = submit_lane(replaces >> i & 1);
        l[i] = claim_one();
    }
    for (int i = 0; i < 5; i++) {
        struct staged_job j[5];
        CHECK(stage(&l[order[i]]));
        int n = load_claim(j, 5);
        for (int k = 0; k < n; k++) {
            if (j[k].overtaken_by_replace) {
                CHECK(j[k].seq < replaced);
                load_end(&j[k], LOAD_SUPERSEDED);
                continue;
            }
            CHECK(!j[k].overtaken && j[k].seq > loaded); /* never an older one over a newer one */
            loaded = j[k].seq;
            if (replaces >> (j[k].id - ids[0]) & 1)
                replaced = loaded;
            load_end(&j[k], LOAD_LOADED);
        }
    }
    CHECK_STR(state_of(ids[4]), "loaded");
}

TEST(job, lanes_hold_in_every_order_of_staging)
{
    static const unsigned mixes[] = { 0, 1, 4, 16, 10, 31 };
    char name[16];
    int order[5];
    start();
    lane_a[0] = name;
    for (int n = 0; n < 120; n++) {
        int left[5] = { 0, 1, 2, 3, 4 }, m = n;
        for (int i = 0; i < 5; i++) {
            int pick = m % (5 - i);
            m /= 5 - i;
            order[i] = left[pick];
            memmove(&left[pick], &left[pick + 1], (size_t)(4 - i - pick) * sizeof *left);
        }
        snprintf(name, sizeof name, "t.%d", n);
        lane_order(order, mixes[n % COUNT_OF(mixes)]);
    }
    lane_a[0] = "t.a";
    CHECK_EQ(one_int("SELECT count(*) FROM job WHERE state NOT IN ('loaded', 'superseded')"), 0);
    CHECK(one_int("SELECT count(*) FROM job WHERE state = 'superseded'") > 0);
    /* who is superseded has a younger replace that was loaded */
    CHECK_EQ(one_int("SELECT count(*) FROM job JOIN lane_done ON lane = lanes ->> 0 WHERE state = "
                     "'superseded' AND seq > replaced_seq"),
             0);
    stop();
}

/* ---- people ---- */

TEST(job, can_be_cancelled_in_every_state_but_while_it_is_loaded)
{
    start();
    int64_t ready = submit_plain();
    CHECK_OK(job_cancel(q, ready, &err), err);
    CHECK_STR(state_of(ready), "cancelled");
    CHECK_EQ(job_cancel(q, ready, &err), -1);
    CHECK_EQ(err.code, ERR_STATE);
    CHECK_HAS(err.msg, "cancelled");

    int64_t running = submit_plain();
    struct lease l = claim_one();
    CHECK_OK(job_cancel(q, running, &err), err);
    CHECK_EQ(job_lease_state(q, &l, &err), LEASE_CANCELLED);
    CHECK(!stage(&l));
    CHECK_STR(state_of(running), "cancelled");

    int64_t staged = submit_plain();
    l = claim_one();
    struct output out = { .table = "t.a", .in_file = true };
    struct finish f = { .lease = &l, .outcome = OUT_STAGED, .outputs = &out, .noutputs = 1 };
    finish(&f);
    job_lease_clear(&l);
    CHECK_OK(job_cancel(q, staged, &err), err);
    CHECK_EQ(one_int("SELECT count(*) FROM output"), 0);

    int64_t loading = submit_plain();
    l = claim_one();
    CHECK(stage(&l));
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    CHECK_EQ(job_cancel(q, loading, &err), -1);
    CHECK_EQ(err.code, ERR_STATE);
    CHECK_HAS(err.msg, "too late");
    load_end(&j, LOAD_LOADED);
    CHECK_EQ(job_cancel(q, loading, &err), -1);

    int64_t dead = submit_plain();
    l = claim_one();
    CHECK(fail_with(&l, ERR_HEADER, 0));
    CHECK_OK(job_cancel(q, dead, &err), err);
    CHECK_EQ(job_cancel(q, 999, &err), -1);
    CHECK_EQ(err.code, ERR_NOT_FOUND);
    stop();
}

TEST(job, only_dead_ones_are_retried)
{
    start();
    int64_t id = submit_plain();
    CHECK_EQ(job_retry(q, id, &err), -1);
    CHECK_EQ(err.code, ERR_STATE);
    struct lease l = claim_one();
    CHECK(fail_with(&l, ERR_HEADER, 0));
    CHECK_OK(job_retry(q, id, &err), err);
    CHECK_STR(state_of(id), "ready");
    CHECK_EQ(one_int("SELECT count(*) FROM error"), 1); /* the log stays */
    stop();
}

TEST(job, dead_ones_are_retried_by_pipeline_and_code)
{
    int64_t n;
    start();
    for (int i = 0; i < 450; i++) {
        submit_job(&(struct job_new){ .pipeline = i % 3 ? "a" : "b", .target = "t" });
        struct lease l = claim_one();
        CHECK(fail_with(&l, i % 2 ? ERR_HEADER : ERR_ENCODING, 0));
    }
    CHECK_OK(job_retry_all(q, "b", "header", &n, NULL, NULL, &err), err);
    CHECK_EQ(n, 75);
    CHECK_OK(job_retry_all(q, NULL, "header", &n, NULL, NULL, &err), err);
    CHECK_EQ(n, 150);
    CHECK_OK(job_retry_all(q, NULL, NULL, &n, NULL, NULL, &err), err);
    CHECK_EQ(n, 225);
    CHECK_OK(job_retry_all(q, NULL, NULL, &n, NULL, NULL, &err), err);
    CHECK_EQ(n, 0);
    stop();
}

TEST(job, a_paused_pipeline_gives_nothing_and_the_others_go_on)
{
    int64_t n, promoted, next;
    start();
    for (int i = 0; i < 500; i++)
        submit_plain();
    int64_t other = submit_job(&(struct job_new){ .pipeline = "other" });
    submit_job(&(struct job_new){ .pipeline = "p", .run_at = sys_now_ms() + 1000 });
    CHECK_OK(job_pause(q, "p", true, &n, &err), err);
    CHECK_EQ(n, 500);
    submit_plain(); /* born paused */
    sys_clock_advance(1001);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err); /* becomes due paused */
    struct lease l[2];
    CHECK_EQ(claim(l, 2), 1);
    CHECK_EQ(l[0].id, other);
    job_lease_clear(&l[0]);
    CHECK_OK(job_pause(q, "p", false, &n, &err), err);
    CHECK_EQ(n, 502);
    CHECK_EQ(claim(l, 2), 2);
    job_lease_clear(&l[0]);
    CHECK_OK(job_pause(q, "p", true, &n, &err), err);
    CHECK_EQ(n, 500);
    CHECK(fail_with(&l[1], ERR_FETCH, 0)); /* comes back paused */
    CHECK_EQ(claim(l, 2), 0);
    struct job_left left;
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    CHECK_EQ(left.ready, 0);
    CHECK_EQ(left.later, 501);
    stop();
}

TEST(job, is_found_by_number_uid_and_the_beginning_of_one)
{
    start();
    char uid[SYS_UID_LEN + 1], part[SYS_UID_LEN + 1];
    bool made;
    int64_t id, found;
    struct job_new n = { .pipeline = "p" };
    CHECK_OK(queue_begin(q, &err), err);
    CHECK_OK(job_submit(q, &n, &id, uid, &made, &err), err);
    CHECK_OK(queue_commit(q, QUEUE_NOW, &err), err);
    CHECK_OK(job_find(q, "1", &found, &err), err);
    CHECK_EQ(found, id);
    CHECK_OK(job_find(q, uid, &found, &err), err);
    snprintf(part, sizeof part, "%.12s", uid);
    for (char *p = part; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    CHECK_OK(job_find(q, part, &found, &err), err);
    static const char *const missing[] = {
        "2",      "99999999999999999999999",     "", "012", "07ZZZZ",
        "x'; --", "01ABCDEFGHJKMNPQRSTVWXYZ0123"
    };
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        CHECK_EQ(job_find(q, missing[i], &found, &err), -1);
        CHECK_EQ(err.code, ERR_NOT_FOUND);
    }
    submit_plain();
    snprintf(part, sizeof part, "%.4s", uid);
    CHECK_EQ(job_find(q, part, &found, &err), -1);
    CHECK_HAS(err.msg, "more than one");
    stop();
}

TEST(job, pruning_takes_old_final_jobs_with_all_that_is_theirs)
{
    int64_t n;
    start();
    int64_t dead = submit_plain();
    struct lease l = claim_one();
    CHECK(fail_with(&l, ERR_HEADER, 0));
    for (int i = 0; i < 250; i++) {
        submit_job(&(struct job_new){ .pipeline = "p", .target = "t", .objects = STR("[]") });
        l = claim_one();
        struct output out = { .kind = OUTPUT_REJECTS, .in_file = true };
        struct job_object o = { .uri = "x" };
        struct finish f = { .lease = &l,
                            .outcome = OUT_STAGED,
                            .outputs = &out,
                            .noutputs = 1,
                            .objects = &o,
                            .nobjects = 1 };
        finish(&f);
        job_lease_clear(&l);
        struct staged_job j;
        CHECK_EQ(load_claim(&j, 1), 1);
        load_end(&j, LOAD_LOADED);
    }
    sys_clock_advance(1000);
    int64_t limit = sys_now_ms();
    sys_clock_advance(1);
    int64_t young = submit_plain();
    CHECK_OK(job_cancel(q, young, &err), err);
    struct prune what = { .before = limit, .dry = true };
    CHECK_OK(job_prune(q, &what, &n, &err), err);
    CHECK_EQ(n, 250);
    CHECK_EQ(one_int("SELECT count(*) FROM job WHERE state = 'loaded'"), 250); /* counted only */
    what = (struct prune){ .before = limit, .keep = 1000 };
    CHECK_OK(job_prune(q, &what, &n, &err), err);
    CHECK_EQ(n, 0);
    what = (struct prune){ .before = limit, .max = 70 };
    CHECK_OK(job_prune(q, &what, &n, &err), err);
    CHECK_EQ(n, 70);
    what = (struct prune){ .before = limit, .keep = 101 }; /* the young one is the newest of them */
    CHECK_OK(job_prune(q, &what, &n, &err), err);
    CHECK_EQ(n, 80);
    CHECK_EQ(one_int("SELECT min(id) FROM job WHERE state = 'loaded'"), dead + 151);
    what = (struct prune){ .before = limit };
    CHECK_OK(job_prune(q, &what, &n, &err), err);
    CHECK_EQ(n, 100);
    CHECK_STR(state_of(dead), "dead");
    CHECK_STR(state_of(young), "cancelled");
    CHECK_EQ(one_int("SELECT (SELECT count(*) FROM output) + (SELECT count(*) FROM object) + "
                     "(SELECT count(*) FROM job_text)"),
             0);
    CHECK_EQ(one_int("SELECT count(*) FROM attempt WHERE job <> 1"), 0);
    CHECK_EQ(one_int("SELECT count(*) FROM error"), 1);
    CHECK_EQ(one_int("SELECT sum(rows) FROM tally"), 250 * 7); /* what was loaded stays counted */
    CHECK_OK(job_prune(q, &what, &n, &err), err);
    CHECK_EQ(n, 0);
    stop();
}

/* ---- reports ---- */

static int64_t seen[2000];
static int nseen;
static int see(void *arg, const struct job_row *r)
{
    seen[nseen++] = r->id;
    if (arg)
        CHECK_STR(r->state, (const char *)arg);
    return 0;
}

TEST(job, lists_are_complete_newest_first_and_by_filter)
{
    start();
    for (int i = 0; i < 1200; i++)
        submit_job(&(struct job_new){ .pipeline = i % 2 ? "a" : "b", .target = "t" });
    struct lease l[10];
    CHECK_EQ(claim(l, 10), 10);
    for (int i = 0; i < 5; i++)
        CHECK(fail_with(&l[i], ERR_HEADER, 0));
    CHECK(stage(&l[5]));
    struct job_filter all = { 0 };
    nseen = 0;
    CHECK_OK(job_list(q, &all, see, NULL, &err), err);
    CHECK_EQ(nseen, 1200);
    for (int i = 0; i < nseen; i++)
        CHECK_EQ(seen[i], 1200 - i);
    static const struct {
        const char *state, *pipeline;
        int64_t before, limit;
        int n;
    } table[] = {
        { "ready", NULL, 0, 0, 1190 }, { "ready", "a", 0, 0, 595 }, { "ready", NULL, 0, 7, 7 },
        { "dead", NULL, 0, 0, 5 },     { "dead", "a", 0, 0, 2 },    { "dead", NULL, 3, 0, 2 },
        { "running", NULL, 0, 0, 4 },  { "staged", NULL, 0, 0, 1 }, { "loading", NULL, 0, 0, 0 },
        { "loaded", NULL, 0, 0, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct job_filter f = { .state = table[i].state,
                                .pipeline = table[i].pipeline,
                                .before_id = table[i].before,
                                .limit = table[i].limit };
        nseen = 0;
        CHECK_OK(job_list(q, &f, see, (void *)(uintptr_t)table[i].state, &err), err);
        CHECK_EQ(nseen, table[i].n);
    }
    struct job_filter one = { .id = 17 };
    nseen = 0;
    CHECK_OK(job_list(q, &one, see, NULL, &err), err);
    CHECK_EQ(nseen, 1);
    CHECK_EQ(seen[0], 17);
    for (int i = 6; i < 10; i++)
        job_lease_clear(&l[i]);
    stop();
}

static int see_dead(void *arg, const struct job_row *r)
{
    CHECK_STR(r->error_code, "header");
    CHECK_STR(r->error, "it went wrong");
    CHECK_STR(r->worker, "worker-1");
    CHECK_STR(r->objects, "[1]");
    CHECK(!r->params && !r->unique);
    CHECK(r->finished >= r->started && r->started >= r->created);
    ++*(int *)arg;
    return 0;
}

static int see_attempt(void *arg, const struct attempt_row *r)
{
    static const char *const outcomes[] = { "failed", "failed", "running" };
    int *n = arg;
    CHECK_STR(r->outcome, outcomes[*n]);
    CHECK_STR(r->kind, "work");
    CHECK_STR(r->worker, "worker-1");
    CHECK_EQ(r->finished == 0, *n == 2);
    ++*n;
    return 0;
}

static int see_error(void *arg, const struct error_row *r)
{
    CHECK_STR(r->stage, "read");
    CHECK_STR(r->pipeline, "p");
    ++*(int *)arg;
    return 0;
}

TEST(job, a_row_shows_the_last_error_and_the_log_shows_all)
{
    start();
    int64_t id = submit_job(&(struct job_new){
            .pipeline = "p", .target = "t", .objects = STR("[1]"), .attempts_max = 5 });
    struct lease l = claim_one();
    CHECK(fail_with(&l, ERR_FETCH, 0));
    l = claim_one();
    CHECK(fail_with(&l, ERR_HEADER, 0));
    struct job_filter f = { .id = id };
    int n = 0;
    CHECK_OK(job_list(q, &f, see_dead, &n, &err), err);
    CHECK_EQ(n, 1);
    CHECK_OK(job_retry(q, id, &err), err);
    l = claim_one();
    n = 0;
    CHECK_OK(job_attempts(q, id, see_attempt, &n, &err), err);
    CHECK_EQ(n, 3);
    static const struct {
        struct error_filter f;
        int n;
    } table[] = {
        { { 0 }, 2 },
        { { .job = 1 }, 2 },
        { { .job = 2 }, 0 },
        { { .code = "fetch" }, 1 },
        { { .job = 1, .code = "header" }, 1 },
        { { .pipeline = "p", .limit = 1 }, 1 },
        { { .pipeline = "x" }, 0 },
        { { .before_id = 2 }, 1 },
        { { .since = INT64_MAX }, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        n = 0;
        CHECK_OK(job_errors(q, &table[i].f, see_error, &n, &err), err);
        CHECK_EQ(n, table[i].n);
    }
    job_lease_clear(&l);
    stop();
}

TEST(job, pace_is_told_when_enough_jobs_were_loaded_of_late)
{
    start();
    double per_s = -1;
    for (int i = 0;; i++) {
        CHECK_OK(job_pace(q, &per_s, &err), err);
        CHECK(per_s == 0);
        submit_plain();
        struct lease l = claim_one();
        CHECK(stage(&l));
        struct staged_job j;
        CHECK_EQ(load_claim(&j, 1), 1);
        sys_clock_advance(500);
        load_end(&j, LOAD_LOADED);
        if (i < 9)
            continue;
        CHECK_OK(job_pace(q, &per_s, &err), err);
        CHECK(per_s > 1.5 && per_s <= 2); /* other work may take some of the time, too */
        break;
    }
    sys_clock_advance(11 * 60 * 1000);
    CHECK_OK(job_pace(q, &per_s, &err), err);
    CHECK(per_s == 0); /* that was long ago */
    stop();
}

static int see_status(void *arg, const struct status_row *r)
{
    int *n = arg;
    if (!strcmp(r->pipeline, "p")) {
        CHECK_EQ(r->count[JOB_READY], 3);
        CHECK_EQ(r->count[JOB_LOADED], 1);
        CHECK_EQ(r->waiting, 1);
        CHECK_EQ(r->rows_loaded, 7);
        CHECK(r->oldest_ready > 0 && !r->paused);
    } else {
        CHECK_STR(r->pipeline, "q");
        CHECK(r->paused);
        CHECK_EQ(r->count[JOB_READY], 0);
    }
    ++*n;
    return 0;
}

TEST(job, status_counts_what_is_there)
{
    start();
    int64_t changed;
    submit_plain();
    struct lease l = claim_one();
    CHECK(stage(&l));
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_LOADED);
    submit_plain();
    submit_plain();
    submit_job(&(struct job_new){ .pipeline = "p", .run_at = sys_now_ms() + 60000 });
    CHECK_OK(job_pause(q, "q", true, &changed, &err), err);
    int n = 0;
    CHECK_OK(job_status(q, see_status, &n, &err), err);
    CHECK_EQ(n, 2);
    CHECK_EQ(
        one_int(
            "SELECT ready = 3 AND loaded = 1 AND rows_loaded = 7 FROM status WHERE pipeline = 'p'"),
        1);
    struct job_left left;
    CHECK_OK(job_left(q, sys_now_ms() + 1000, &left, &err), err);
    CHECK_EQ(left.ready, 2);
    CHECK_EQ(left.later, 1);
    CHECK_OK(job_left(q, sys_now_ms() + 100000, &left, &err), err);
    CHECK_EQ(left.ready, 3);
    stop();
}

static void explains(int64_t id, const char *part)
{
    AUTO(buf_clear) struct buf out = { 0 };
    CHECK_OK(job_explain(q, id, &out, &err), err);
    CHECK_HAS(out.p, part);
}

static void explains_not(int64_t id, const char *part)
{
    AUTO(buf_clear) struct buf out = { 0 };
    CHECK_OK(job_explain(q, id, &out, &err), err);
    CHECK(!strstr(out.p, part));
}

TEST(job, explain_names_the_gate_that_holds_it)
{
    int64_t changed, loader;
    start();
    int64_t a = submit_plain(), b = submit_plain(),
            late = submit_job(&(struct job_new){ .pipeline = "p", .run_at = sys_now_ms() + 60000 });
    explains(a, "next of its pipeline that a worker takes");
    explains(b, "1 job of its pipeline is before it");
    explains(late, "waits for its time");
    CHECK_OK(job_pause(q, "p", true, &changed, &err), err);
    explains(a, "paused");
    CHECK_OK(job_pause(q, "p", false, &changed, &err), err);
    struct lease l = claim_one();
    explains(a, "worker-1 works on it; its lease ends in ");
    sys_clock_advance(LEASE + 1);
    explains(a, "worker-1 had it, and gave no sign of life until its lease ran out; the next worker that looks takes it over");
    sys_clock_advance(-LEASE - 1);
    CHECK(stage(&l));
    explains(a, "No loader");
    CHECK_OK(registry_join(q, "loader", "loader-1", &loader, &err), err);
    explains(a, "waits for the loader");
    struct staged_job j;
    CHECK_EQ(load_claim(&j, 1), 1);
    load_end(&j, LOAD_LOADED);
    explains(a, "loaded");
    l = claim_one();
    CHECK(fail_with(&l, ERR_FETCH, 9000));
    explains(b, "after attempt 1 of 3 failed with fetch");
    (void)submit_plain();
    l = claim_one();
    CHECK_OK(registry_leave(q, worker, &err), err);
    explains(l.id, "worker-1 had it, and is gone; no worker is running that could take it over: start qetl worker.");
    job_lease_clear(&l);
    explains(submit_plain(), "No worker");
    AUTO(buf_clear) struct buf out = { 0 };
    CHECK_EQ(job_explain(q, 999, &out, &err), -1);
    CHECK_EQ(err.code, ERR_NOT_FOUND);
    stop();
}

TEST(job, explain_counts_what_goes_first_by_its_priority)
{
    int64_t changed;
    start();
    int64_t a = submit_plain();
    (void)submit_job(&(struct job_new){ .pipeline = "high", .priority = 1 });
    (void)submit_job(&(struct job_new){ .pipeline = "low", .priority = -1 });
    explains(a, "takes. 1 job of a greater priority, of other pipelines or hosts, goes first.");
    CHECK_OK(job_pause(q, "high", true, &changed, &err), err);
    explains_not(a, "greater priority"); /* nothing of it goes now */
    stop();
}

TEST(job, explain_names_the_job_that_overtook_it)
{
    char part[80];
    start();
    int64_t a = submit_lane(false), b = submit_lane(false);
    struct lease first = claim_one(), second = claim_one();
    int64_t c = staged_lane(true), d = staged_lane(false);
    struct staged_job j[2];
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(load_claim(j, 1), 1);
        load_end(&j[0], LOAD_LOADED);
    }
    CHECK(stage(&first) && stage(&second));
    CHECK_EQ(load_claim(j, 2), 2);
    load_end(&j[0], LOAD_SUPERSEDED);
    struct load_finish f = { .job = &j[1], .outcome = LOAD_REFUSED };
    err_set(&f.err, ERR_OVERTAKEN, "too late");
    CHECK_OK(job_load_finish(q, &f, 1, &err), err);
    job_staged_clear(&j[1]);
    snprintf(part, sizeof part, "The newer job %" PRId64 " replaced 't.a' before it", c);
    explains(a, part);
    snprintf(part, sizeof part, "The newer job %" PRId64 " was loaded into 't.a' before it", d);
    explains(b, part);
    stop();
}

TEST(job, one_job_can_be_claimed_past_all_others_but_not_past_its_gates)
{
    struct lease l;
    struct staged_job j;
    int64_t changed;
    start();
    int64_t first = submit_lane(false), second = submit_lane(false);
    CHECK_EQ(job_claim_one(q, second, worker, LEASE, &l, &err), 1);
    CHECK_EQ(l.id, second);
    CHECK_STR(state_of(first), "ready");
    struct lease again;
    CHECK_EQ(job_claim_one(q, second, worker, LEASE, &again, &err), 0);
    CHECK_EQ(job_load_claim_one(q, second, "t", worker, LEASE, &j, &err), 0);
    CHECK(stage(&l));
    CHECK_EQ(job_load_claim_one(q, second, "t", worker, LEASE, &j, &err), 0); /* the older one is not loaded */
    CHECK_OK(job_pause(q, "p", true, &changed, &err), err);
    CHECK_EQ(job_claim_one(q, first, worker, LEASE, &l, &err), 0);
    CHECK_OK(job_pause(q, "p", false, &changed, &err), err);
    CHECK_EQ(job_claim_one(q, first, worker, LEASE, &l, &err), 1);
    CHECK(stage(&l));
    CHECK_EQ(job_load_claim_one(q, second, "other", worker, LEASE, &j, &err), 0);
    CHECK_EQ(job_load_claim_one(q, first, "t", worker, LEASE, &j, &err), 1);
    CHECK_STR(state_of(second), "staged");
    job_staged_clear(&j); /* its loader dies */
    sys_clock_advance(LEASE + 1);
    CHECK_EQ(job_load_claim_one(q, second, "t", worker, LEASE, &j, &err), 0);
    CHECK_STR(state_of(first), "loading");
    CHECK_EQ(job_load_claim_one(q, first, "t", worker, LEASE, &j, &err), 1);
    load_end(&j, LOAD_LOADED);
    CHECK_EQ(job_load_claim_one(q, second, "t", worker, LEASE, &j, &err), 1);
    load_end(&j, LOAD_LOADED);
    stop();
}

TEST(job, the_first_inferred_columns_win)
{
    AUTO(free_charp) char *columns = NULL;
    start();
    CHECK_EQ(job_columns_get(q, "p.0", &columns, &err), 0);
    CHECK_OK(job_columns_set(q, "p.0", "a:integer", "x", &err), err);
    CHECK_OK(job_columns_set(q, "p.0", "a:text", "y", &err), err);
    CHECK_EQ(job_columns_get(q, "p.0", &columns, &err), 1);
    CHECK_STR(columns, "a:integer");
    stop();
}
