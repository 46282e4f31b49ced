/* The loader step by step, with faults at its commit. The worker beside it makes the staged jobs. */
#include "test.h"

#include <sys/stat.h>

#include "io/db.h"
#include "role/loader.h"
#include "role/worker.h"
#include "role_site.h"

static const char pipelines[] = "[pipeline p]\ncolumns = id:integer!\ntable = w.t\nmax_rejects = 10\n"
                                "[pipeline events]\ncolumns = id:integer!, at:timestamp\ntable = w.e\nevent_time = at\n"
                                "allowed_lateness = 1h\nlate = w.late\nafter_load = CREATE TABLE IF NOT EXISTS seen (n INTEGER PRIMARY KEY,"
                                " job, at, before); INSERT INTO seen (job, at, before) VALUES (:job, :watermark, :previous_watermark)\n"
                                "[pipeline both]\ncolumns = id:integer!\n[pipeline both.a]\ntable = w.t\n"
                                "[pipeline both.b]\nfrom = a\ntable = w.k\nmode = upsert\nkey = id\n"
                                "[pipeline keyed]\ncolumns = id:integer!, v\ntable = w.k\nmode = upsert\nkey = id\n";

static struct worker *w;
static struct loader *l;

static void start(void)
{
    sys_clock_stop();
    site_open(pipelines);
    struct role worker = { .config = site, .name = "worker" }, loader = { .config = site, .name = "loader" };
    CHECK_OK(worker_open(&w, &worker, &err), err);
    CHECK_OK(loader_open(&l, &loader, &err), err);
}

static void stop(void)
{
    site_fault(NULL);
    worker_close(w);
    loader_close(l);
    site_close();
}

static void work(void)
{
    for (int did = 1; did;)
        CHECK_OK(worker_step(w, &did, &err), err);
}

static int load(void)
{
    int did;
    CHECK_OK(loader_step(l, &did, &err), err);
    return did;
}

TEST(loader, loads_a_group_and_forgets_its_outputs)
{
    int64_t id[3];
    start();
    for (int i = 0; i < 3; i++)
        id[i] = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    CHECK_EQ(load(), 3);
    CHECK_EQ(load(), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_STR(site_state(id[i]), "loaded");
        CHECK_EQ(site_job.loaded, 2);
    }
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 6);
    stop();
}

TEST(loader, waits_after_a_commit_that_failed_and_loads_then)
{
    start();
    int64_t id = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("target-before-commit:1:error");
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "staged");
    CHECK_EQ(load(), 0); /* not at once again */
    sys_clock_advance(500);
    CHECK_EQ(load(), 0);
    sys_clock_advance(1000);
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    stop();
}

TEST(loader, a_locked_table_holds_back_its_own_jobs_only)
{
    struct buf why = { 0 };
    start();
    int64_t locked = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    int64_t other = site_submit("keyed", site_file("one.csv", "id,v\n1,a\n"));
    int64_t behind = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("loader-locked:1:error");
    CHECK_EQ(load(), 3);
    CHECK_STR(site_state(locked), "staged");
    CHECK_STR(site_job.code, "target-locked");
    CHECK_OK(job_explain(site_queue, locked, &why, &err), err);
    CHECK_HAS(why.p, "could not take it; the loader tries again in ");
    CHECK_HAS(why.p, " s: load: fault injected.");
    buf_clear(&why);
    CHECK_STR(site_state(behind), "staged"); /* not before the older one */
    CHECK_STR(site_state(other), "loaded");
    int64_t later = site_submit("keyed", site_file("one.csv", "id,v\n1,a\n"));
    work();
    CHECK_EQ(load(), 1); /* the target is not away */
    CHECK_STR(site_state(later), "loaded");
    CHECK_EQ(load(), 0);
    int64_t also = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    later = site_submit("keyed", site_file("one.csv", "id,v\n1,a\n"));
    work();
    sys_clock_advance(10000);
    CHECK_EQ(load(), 2);
    CHECK_STR(site_state(also), "staged"); /* it is not tried: nobody waits for the lock again */
    CHECK_STR(site_job.code, "target-locked");
    CHECK_STR(site_state(later), "loaded");
    sys_clock_advance(20000);
    CHECK_EQ(load(), 3);
    CHECK_STR(site_state(locked), "loaded");
    CHECK_STR(site_state(behind), "loaded");
    CHECK_STR(site_state(also), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 6);
    stop();
}

TEST(loader, what_waits_for_a_lock_keeps_its_place_in_its_other_tables)
{
    start();
    site_submit("keyed", site_file("one.csv", "id,v\n1,a\n"));
    work();
    CHECK_EQ(load(), 1);
    int64_t locked = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("loader-locked:1:error");
    CHECK_EQ(load(), 1);
    int64_t both = site_submit("both", site_file("two.csv", "id\n1\n2\n"));
    int64_t behind = site_submit("keyed", site_file("one.csv", "id,v\n1,b\n"));
    work();
    CHECK_EQ(load(), 2);
    CHECK_STR(site_state(both), "staged");
    CHECK_STR(site_state(behind), "staged");
    sys_clock_advance(30000);
    CHECK_EQ(load(), 3);
    CHECK_STR(site_state(locked), "loaded");
    CHECK_STR(site_state(both), "loaded");
    CHECK_STR(site_state(behind), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM k WHERE v = 'b'"), 1);
    stop();
}

TEST(loader, believes_the_ledger_when_a_commits_answer_is_lost)
{
    start();
    int64_t id = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("target-after-commit:1:error");
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "loaded");
    CHECK_EQ(site_job.loaded, 2);
    CHECK_EQ(load(), 0);
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    stop();
}

TEST(loader, a_job_with_a_damaged_output_fails_alone)
{
    start();
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id\n");
    for (int i = 0; i < 100000; i++)
        buf_addf(&text, "%d\n", i);
    int64_t good = site_submit("p", site_file("two.csv", "id\n1\n2\n")), bad = site_submit("p", site_file("large.csv", text.p));
    work();
    CHECK_STR(site_state(bad), "staged");
    char path[400];
    snprintf(path, sizeof path, "%s/staged/%s.1/0.db", site->spool, site_job.uid);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(load(), 2);
    CHECK_STR(site_state(good), "loaded");
    CHECK_STR(site_state(bad), "dead");
    CHECK_STR(site_job.code, "staged-damaged");
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    stop();
}

TEST(loader, takes_over_what_another_left_and_counts_its_rows)
{
    start();
    CHECK_EQ(load(), 0); /* what it writes at its start is done */
    int64_t id = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("loader-before-record:1:error");
    int did;
    CHECK_EQ(loader_step(l, &did, &err), -1); /* committed in the target, not told */
    site_fault(NULL);
    CHECK_STR(site_state(id), "loading");
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    loader_close(l);
    struct role role = { .config = site, .name = "loader-2" };
    CHECK_OK(loader_open(&l, &role, &err), err);
    CHECK_EQ(load(), 0); /* its lease holds: this process is there */
    CHECK_OK(db_exec(queue_db(site_queue), "UPDATE worker SET pid = 999999999 WHERE name = 'loader'", &err), err);
    sys_clock_advance(1001);
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "loaded");
    CHECK_EQ(site_job.loaded, 2);
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    stop();
}

/* Loaders that take the oldest job and die with it, n times. */
static void loaders_die(int n)
{
    struct staged_job job;
    for (int i = 0; i < n; i++) {
        CHECK_EQ(job_load_expired(site_queue, "w", 0, 1000, &job, &err), 1);
        job_staged_clear(&job);
        sys_clock_advance(1001);
    }
}

TEST(loader, gives_up_a_job_that_its_loaders_die_of_and_loads_those_beside_it)
{
    struct staged_job group[2];
    start();
    int most = (int)site->limits.crashes;
    int64_t bad = site_submit("p", site_file("two.csv", "id\n1\n2\n")), good = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    CHECK_EQ(job_load_claim(site_queue, "w", 0, 1000, 2, 10, 1 << 20, group, &err), 2);
    job_staged_clear(&group[0]);
    job_staged_clear(&group[1]);
    sys_clock_advance(1001);
    loaders_die(most - 1);
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(bad), "dead");
    CHECK_STR(site_job.code, "crashed");
    CHECK_EQ(site_job.crashes, most);
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(good), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    stop();
}

TEST(loader, asks_the_ledger_before_it_gives_a_job_up)
{
    start();
    CHECK_EQ(load(), 0);
    int64_t id = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("loader-before-record:1:error");
    int did;
    CHECK_EQ(loader_step(l, &did, &err), -1); /* committed in the target, not told */
    site_fault(NULL);
    sys_clock_advance(60001);
    loaders_die((int)site->limits.crashes - 1);
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "loaded");
    CHECK_EQ(site_job.loaded, 2);
    stop();
}

TEST(loader, commits_nothing_when_the_leases_cannot_be_kept)
{
    start();
    CHECK_EQ(load(), 0);
    int64_t id = site_submit("p", site_file("two.csv", "id\n1\n2\n"));
    work();
    site_fault("loader-renew:1:error");
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "staged");
    CHECK_EQ(site_count("SELECT count(*) FROM sqlite_master WHERE name = 't'"), 0);
    CHECK_EQ(load(), 1); /* the target is not to blame: at once */
    CHECK_STR(site_state(id), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM t"), 2);
    stop();
}

TEST(loader, keeps_the_rejects_of_what_it_loaded)
{
    start();
    int64_t id = site_submit("p", site_file("some.csv", "id\n1\nx\n"));
    work();
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "loaded");
    sqlite3_stmt *st;
    CHECK_OK(db_prepare(queue_db(site_queue), &st, "SELECT count(*) FROM output WHERE kind = 'rejects'", &err), err);
    CHECK_EQ(db_step(st, &err), 1);
    CHECK_EQ(sqlite3_column_int64(st, 0), 1);
    sqlite3_finalize(st);
    stop();
}

/* ---- event time ---- */

static int64_t submit_event(const char *name, const char *at)
{
    char text[100];
    snprintf(text, sizeof text, "id,at\n1,%s\n", at);
    return site_submit("events", site_file(name, text));
}

static int64_t seen(const char *what)
{
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM seen WHERE %s", what);
    return site_count(sql);
}

static void make_table(const char *sql)
{
    sqlite3 *db;
    CHECK_EQ(sqlite3_open(strstr(site->targets[0].url, "//") + 2, &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

TEST(loader, moves_the_watermark_with_each_job_and_never_back)
{
    start();
    submit_event("e1.csv", "2024-01-01 10:00:00");
    submit_event("e2.csv", "2024-01-01 12:00:00.5");
    submit_event("e3.csv", "2024-01-01 11:30:00");
    work();
    CHECK_EQ(load(), 3); /* a group */
    /* all three were begun when there was no watermark: rows of any time were still to come, up to the last */
    CHECK_EQ(seen("n < 3 AND before IS NULL AND at IS NULL"), 2);
    CHECK_EQ(seen("n = 3 AND before IS NULL AND at = '2024-01-01 11:00:00.5'"), 1);
    int64_t now, upto;
    CHECK_OK(event_watermark(site_queue, "events", &now, &upto, &err), err);
    CHECK_EQ(now, INT64_C(1704106800500000));
    CHECK_EQ(upto, now);
    CHECK_OK(event_watermark(site_queue, "p", &now, &upto, &err), err);
    CHECK_EQ(now, EVENT_NONE);
    CHECK_EQ(upto, EVENT_NONE);
    stop();
}

TEST(loader, a_window_begins_where_the_one_before_ended_that_was_loaded)
{
    start();
    make_table("CREATE TABLE e (id INTEGER, at TEXT CHECK (at <> '2024-01-01 12:00:00'))");
    submit_event("e1.csv", "2024-01-01 10:00:00");
    work();
    CHECK_EQ(load(), 1);
    int64_t bad = submit_event("e2.csv", "2024-01-01 12:00:00");
    int64_t behind = submit_event("e3.csv", "2024-01-01 11:00:00");
    work();
    CHECK_EQ(load(), 2); /* a group */
    CHECK_STR(site_state(bad), "dead");
    CHECK_STR(site_state(behind), "staged"); /* it waits until that is written down */
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(behind), "loaded");
    CHECK_EQ(seen("before = '2024-01-01 09:00:00' AND at IS NOT NULL"), 1);
    CHECK_EQ(seen("1"), 2);
    stop();
}

/* A commit whose loader died before it wrote that down: the first job of it, taken over. */
static void take_over_committed(struct staged_job *job)
{
    int did;
    work();
    site_fault("loader-before-record:1:error");
    CHECK_EQ(loader_step(l, &did, &err), -1);
    site_fault(NULL);
    sys_clock_advance(60001);
    CHECK_EQ(job_load_expired(site_queue, "w", 0, 1000, job, &err), 1);
}

TEST(loader, what_is_taken_over_goes_behind_those_before_it)
{
    start();
    int64_t first = submit_event("e1.csv", "2024-01-01 10:00:00"), second = submit_event("e2.csv", "2024-01-01 12:00:00");
    struct staged_job job;
    take_over_committed(&job);
    CHECK_EQ(job.id, first);
    struct load_finish put_off = { .job = &job, .outcome = LOAD_AWAY, .backoff_ms = 1000000, .unsure = true };
    CHECK_OK(job_load_finish(site_queue, &put_off, 1, &err), err);
    job_staged_clear(&job);
    CHECK_EQ(job_cancel(site_queue, first, &err), -1);
    CHECK_EQ(err.code, ERR_STATE);
    CHECK_EQ(job_load_expired(site_queue, "w", 0, 1000, &job, &err), 1);
    CHECK_EQ(job.id, second);
    CHECK(job.behind);
    job_staged_clear(&job);
    sys_clock_advance(1000001);
    while (load())
        ;
    CHECK_STR(site_state(first), "loaded");
    CHECK_STR(site_state(second), "loaded");
    CHECK_EQ(seen("1"), 2);
    stop();
}

TEST(loader, a_job_that_is_cancelled_behind_its_commit_is_loaded)
{
    start();
    int64_t id = submit_event("e1.csv", "2024-01-01 10:00:00");
    struct staged_job job;
    take_over_committed(&job);
    struct load_finish put_off = { .job = &job, .outcome = LOAD_AWAY, .backoff_ms = 1000000 };
    CHECK_OK(job_load_finish(site_queue, &put_off, 1, &err), err);
    job_staged_clear(&job);
    CHECK_OK(job_cancel(site_queue, id, &err), err);
    CHECK_STR(site_state(id), "cancelled");
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(id), "loaded");
    CHECK_EQ(seen("1"), 1);
    CHECK_EQ(load(), 0);
    stop();
}

TEST(loader, a_job_without_rows_holds_no_window)
{
    start();
    int64_t watermark;
    struct lease lease;
    int64_t empty = submit_event("e1.csv", "2024-01-01 09:00:00");
    CHECK_EQ(job_claim_one(site_queue, empty, 0, 1000, &lease, &err), 1);
    CHECK_OK(event_begin(site_queue, lease.id, lease.token, "events", &watermark, &err), err);
    struct finish nothing = { .lease = &lease, .outcome = OUT_STAGED };
    CHECK_EQ(job_finish_claim(site_queue, &nothing, 1, 0, 1000, 5, NULL, 0, &err), 0);
    job_lease_clear(&lease);
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(empty), "loaded");
    submit_event("e2.csv", "2024-01-01 10:00:00");
    work();
    CHECK_EQ(load(), 1);
    CHECK_EQ(seen("before IS NULL AND at = '2024-01-01 09:00:00'"), 1);
    stop();
}

TEST(loader, a_job_that_died_is_loaded_behind_the_newer_ones_with_its_rows_late)
{
    start();
    make_table("CREATE TABLE e (id INTEGER, at TEXT CHECK (at <> '2024-01-01 12:00:00'))");
    int64_t bad = submit_event("e1.csv", "2024-01-01 12:00:00");
    work();
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(bad), "dead");
    submit_event("e2.csv", "2024-01-01 15:00:00");
    work();
    CHECK_EQ(load(), 1);
    CHECK_OK(job_retry(site_queue, bad, &err), err);
    work();
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(bad), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM late WHERE at = '2024-01-01 12:00:00'"), 1);
    CHECK_EQ(seen("before = '2024-01-01 14:00:00' AND at = before"), 1);
    stop();
}

TEST(loader, a_window_ends_where_a_job_that_was_begun_may_bring_rows)
{
    start();
    submit_event("e1.csv", "2024-01-01 10:00:00");
    work();
    CHECK_EQ(load(), 1);
    submit_event("e2.csv", "2024-01-01 14:00:00");
    submit_event("e3.csv", "2024-01-01 11:00:00");
    work(); /* both begun at 09:00 */
    submit_event("e4.csv", "2024-01-01 12:00:00");
    CHECK_EQ(load(), 2);
    CHECK_EQ(seen("n = 2 AND before = '2024-01-01 09:00:00' AND at = before"), 1);
    CHECK_EQ(seen("n = 3 AND before = '2024-01-01 09:00:00' AND at = '2024-01-01 13:00:00'"), 1);
    work();
    CHECK_EQ(load(), 1);
    CHECK_EQ(seen("n = 4 AND before = '2024-01-01 13:00:00' AND at = before"), 1);
    CHECK_EQ(site_count("SELECT count(*) FROM late WHERE at = '2024-01-01 12:00:00'"), 1);
    stop();
}

TEST(loader, a_load_that_is_done_again_has_the_same_watermarks)
{
    start();
    CHECK_EQ(load(), 0);
    submit_event("e1.csv", "2024-01-01 10:00:00");
    submit_event("e2.csv", "2024-01-01 12:00:00");
    work();
    site_fault("target-before-commit:1:error");
    CHECK_EQ(load(), 2);
    site_fault(NULL);
    submit_event("e3.csv", "2024-01-01 15:00:00"); /* no younger one comes between */
    work();
    sys_clock_advance(2000);
    CHECK_EQ(load(), 3);
    CHECK_EQ(seen("n = 1 AND before IS NULL AND at IS NULL"), 1);
    CHECK_EQ(seen("n = 2 AND before IS NULL AND at = '2024-01-01 11:00:00'"), 1);
    CHECK_EQ(seen("n = 3 AND before = '2024-01-01 11:00:00' AND at = '2024-01-01 14:00:00'"), 1);
    /* committed, and not recorded */
    submit_event("e4.csv", "2024-01-01 16:00:00");
    work();
    site_fault("loader-before-record:1:error");
    int did;
    CHECK_EQ(loader_step(l, &did, &err), -1);
    site_fault(NULL);
    submit_event("e5.csv", "2024-01-01 17:00:00");
    work();
    CHECK_EQ(load(), 0); /* it waits for the one before it */
    sys_clock_advance(60001);
    while (load())
        ;
    CHECK_EQ(seen("n = 4 AND before = '2024-01-01 14:00:00' AND at = '2024-01-01 15:00:00'"), 1);
    CHECK_EQ(seen("n = 5 AND before = '2024-01-01 15:00:00' AND at = '2024-01-01 16:00:00'"), 1);
    CHECK_EQ(seen("1"), 5);
    stop();
}

TEST(loader, a_job_keeps_the_watermark_of_its_first_claim)
{
    start();
    int64_t watermark, early = submit_event("e1.csv", "2024-01-01 09:00:00");
    struct lease lease;
    CHECK_EQ(job_claim_one(site_queue, early, 0, 1000, &lease, &err), 1);
    CHECK_OK(event_begin(site_queue, lease.id, lease.token, "events", &watermark, &err), err);
    CHECK_EQ(watermark, EVENT_NONE);
    CHECK_EQ(event_begin(site_queue, 4711, 1, "events", &watermark, &err), -1);
    job_lease_clear(&lease);
    sys_clock_advance(1001); /* whoever had it died; meanwhile others are loaded */
    CHECK_OK(queue_begin(site_queue, &err), err);
    CHECK_EQ(sqlite3_exec(queue_db(site_queue), "INSERT INTO watermark VALUES ('events', 1704106800000000, 0, 99, NULL)", NULL, NULL, NULL), 0);
    CHECK_OK(queue_commit(site_queue, QUEUE_LATER, &err), err);
    int64_t late = submit_event("e2.csv", "2024-01-01 10:00:00");
    sys_clock_advance(10000);
    work();
    CHECK_EQ(load(), 1); /* alone, for it took somebody down */
    CHECK_EQ(load(), 1);
    CHECK_STR(site_state(early), "loaded");
    CHECK_STR(site_state(late), "loaded");
    CHECK_EQ(site_count("SELECT count(*) FROM e"), 1);
    CHECK_EQ(site_count("SELECT count(*) FROM late WHERE at = '2024-01-01 10:00:00'"), 1);
    struct job_event e;
    CHECK_EQ(event_of_job(site_queue, late, &e, &err), 1);
    CHECK_EQ(e.late, 1);
    CHECK_EQ(e.watermark, INT64_C(1704106800000000));
    CHECK_EQ(e.greatest, INT64_C(1704103200000000));
    CHECK_EQ(event_of_job(site_queue, early, &e, &err), 1);
    CHECK_EQ(e.late, 0);
    int64_t n;
    CHECK_EQ(db_int(queue_db(site_queue), "SELECT at = 1704106800000000 AND late = 1 AND job = 99 FROM watermark", &n, &err), 1);
    CHECK_EQ(n, 1);
    struct prune all = { .before = INT64_MAX };
    CHECK_OK(job_prune(site_queue, &all, &n, &err), err);
    CHECK_EQ(event_of_job(site_queue, late, &e, &err), 0);
    stop();
}
