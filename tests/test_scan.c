/* What was seen at a source, and what becomes of it. */
#include "base/text.h"
#include "queue/scan.h"

#include "io/db.h"
#include "queue/job.h"
#include "queue/registry.h"
#include "test.h"

static struct queue *q;
static struct err err;
static struct scan_lease lease;
static struct scan_row scan;
static struct scan_rules rules;
static const char *queue_path;

static void start(void)
{
    static int n;
    char name[32], holder[64];
    int64_t worker;
    sys_clock_stop();
    snprintf(name, sizeof name, "scan%d.db", n++);
    queue_path = test_file(name);
    CHECK_OK(queue_open(&q, queue_path, QUEUE_CREATE, &err), err);
    CHECK_OK(registry_join(q, "scanner", "scanner", &worker, &err), err);
    CHECK_EQ(scan_lease_take(q, worker, 60000, &lease, holder, &err), 1);
    CHECK_OK(scan_get(q, &lease, "p", "/in/*", true, &scan, &err), err);
    rules = (struct scan_rules){ 0 };
}

static int64_t ask(const char *sql)
{
    int64_t v = -1;
    CHECK_OK(db_int(queue_db(q), sql, &v, &err), err);
    return v;
}

static struct scan_count look(const char *uri, int64_t size, int64_t mtime, const char *etag)
{
    struct scan_object o = { .uri = uri, .size = size, .mtime_ms = mtime, .etag = etag };
    struct scan_count c = { 0 };
    scan.number++; /* each is a listing of its own */
    CHECK_OK(scan_look(q, &lease, &scan, &rules, &o, 1, NULL, &c, &err), err);
    return c;
}

static int take(void)
{
    struct job_new job = { .pipeline = "p", .target = "w", .attempts_max = 1 };
    int n = scan_take(q, &lease, &scan, &rules, &job, &err);
    CHECK_OK(n, err);
    return n;
}

/* The jobs have read their objects. */
static void all_read(void)
{
    CHECK_OK(db_exec(queue_db(q), "UPDATE job SET state = 'cancelled', finished = 1 WHERE state = 'ready'", &err), err);
}

static int take_again(void)
{
    struct scan_count c = { 0 };
    int n = scan_take_again(q, &lease, &scan, &rules, &c, &err);
    CHECK_OK(n, err);
    return n;
}

TEST(scan, an_object_becomes_one_job)
{
    start();
    CHECK_EQ(look("/in/a", 1, 1000, "").found, 1);
    CHECK_EQ(take(), 1);
    CHECK_EQ(take(), 0);
    CHECK_EQ(look("/in/a", 1, 1000, "").found, 0);
    CHECK_EQ(take(), 0);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 1);
    CHECK_EQ(ask("SELECT objects = '[\"/in/a\"]' FROM job_text"), 1);
    CHECK_EQ(ask("SELECT job FROM seen"), ask("SELECT id FROM job"));
    queue_close(q);
}

TEST(scan, jobs_are_made_oldest_object_first)
{
    start();
    look("/in/new", 1, 3000, "");
    look("/in/old", 1, 1000, "");
    look("/in/between", 1, 2000, "");
    CHECK_EQ(take(), 3);
    CHECK_EQ(ask("SELECT group_concat(objects) = '[\"/in/old\"],[\"/in/between\"],[\"/in/new\"]' FROM (SELECT objects FROM job_text ORDER BY job)"), 1);
    queue_close(q);
}

TEST(scan, versions_are_told_by_what_the_place_tells)
{
    static const struct {
        int64_t size, mtime;
        const char *etag;
        int64_t changed;
    } cases[] = {
        { 5, 1000, "x", 0 }, { 6, 1000, "x", 1 }, { 5, 1001, "x", 1 }, { 5, 1000, "y", 1 },
        { -1, 1000, "x", 0 }, { 5, 0, "x", 0 },   { 5, 1000, "", 0 },  { -1, 0, "", 0 },
    };
    start();
    look("/in/a", 5, 1000, "x");
    take();
    all_read();
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_EQ(look("/in/a", cases[i].size, cases[i].mtime, cases[i].etag).changed, cases[i].changed);
    look("/in/b", 5, 1000, "W/\"x\"");
    take();
    all_read();
    CHECK_EQ(look("/in/b", 5, 1000, "\"x\"").changed, 0); /* a weak tag is a tag */
    CHECK_EQ(look("/in/b", 5, 1000, "\"y\"").changed, 1);
    queue_close(q);
}

TEST(scan, a_time_that_is_told_to_the_day_once_it_is_old_is_no_change)
{
    static const int64_t day = 86400000, minute = 60000;
    static const struct {
        int64_t mtime, step, changed;
    } cases[] = {
        { 20 * day + 600 * minute, minute, 0 }, { 20 * day, day, 0 },          { 20 * day, minute, 1 },
        { 19 * day, day, 1 },                   { 20 * day + 601 * minute, minute, 1 },
    };
    start();
    look("/in/a", 5, 20 * day + 600 * minute, "");
    take();
    all_read();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct scan_object o = { .uri = "/in/a", .size = 5, .mtime_ms = cases[i].mtime, .mtime_step_ms = cases[i].step, .etag = "" };
        struct scan_count c = { 0 };
        scan.number++;
        CHECK_OK(scan_look(q, &lease, &scan, &rules, &o, 1, NULL, &c, &err), err);
        CHECK_EQ(c.changed, cases[i].changed);
    }
    queue_close(q);
}

TEST(scan, on_change_says_what_becomes_of_another_version)
{
    start();
    look("/in/a", 5, 1000, "");
    take();
    all_read();
    rules.on_change = ON_CHANGE_IGNORE;
    CHECK_STR(look("/in/a", 6, 1000, "").changed_uri, "");
    CHECK_EQ(take(), 0);
    rules.on_change = ON_CHANGE_FAIL;
    CHECK_STR(look("/in/a", 6, 1000, "").changed_uri, "/in/a");
    CHECK_EQ(take(), 0);
    rules.on_change = ON_CHANGE_RELOAD;
    look("/in/a", 6, 1000, "");
    CHECK_EQ(take(), 1);
    CHECK_EQ(look("/in/a", 6, 1000, "").changed, 0);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 2);
    queue_close(q);
}

TEST(scan, a_file_that_grows_is_not_taken)
{
    start();
    rules.settle_ms = 10000;
    CHECK_EQ(look("/in/a", 5, 1000, "").again_ms, 10000);
    sys_clock_advance(10000);
    look("/in/a", 6, 1000, ""); /* another size: from the beginning */
    CHECK_EQ(take(), 0);
    sys_clock_advance(2000);
    int64_t again = look("/in/a", 6, 1000, "").again_ms;
    CHECK(again > 0 && again <= 8000);
    CHECK_EQ(take(), 0);
    sys_clock_advance(8000);
    CHECK_EQ(look("/in/a", 6, 1000, "").again_ms, 0);
    CHECK_EQ(take(), 1);
    queue_close(q);
}

TEST(scan, what_is_known_to_be_whole_need_not_settle)
{
    start();
    rules.settle_ms = 10000;
    struct scan_object o = { .uri = "/in/a", .size = 1, .mtime_ms = 1000, .etag = "", .whole = true };
    struct scan_count c = { 0 };
    CHECK_OK(scan_look(q, &lease, &scan, &rules, &o, 1, NULL, &c, &err), err);
    CHECK_EQ(take(), 1);
    queue_close(q);
}

/* Age is by the time of the file where that is behind us, and else by how long we have seen it. */
TEST(scan, no_clock_takes_a_file_too_early_or_never)
{
    start();
    rules.min_age_ms = 60000;
    int64_t now = sys_now_ms();
    look("/in/old", 1, now - 60000, "");
    CHECK_EQ(take(), 1);
    int64_t again = look("/in/young", 1, now - 20000, "").again_ms;
    CHECK(again > 0 && again <= 40000);
    CHECK_EQ(look("/in/future", 1, now + 86400000, "").again_ms, 60000); /* our clock was set back, or theirs is wrong */
    CHECK_EQ(look("/in/unknown", 1, 0, "").again_ms, 60000); /* at the first look nothing has passed */
    CHECK_EQ(take(), 0);
    sys_clock_advance(20000);
    look("/in/future", 1, now + 86400000, "");
    look("/in/unknown", 1, 0, "");
    CHECK_EQ(take(), 0);
    sys_clock_advance(40000);
    look("/in/future", 1, now + 86400000, "");
    look("/in/unknown", 1, 0, "");
    CHECK_EQ(take(), 2);
    /* seen in another boot: counted from now on */
    rules = (struct scan_rules){ .settle_ms = 600000 };
    look("/in/b", 1, 1, "");
    CHECK_OK(db_exec(queue_db(q), "UPDATE seen SET boot = 1 WHERE uri = '/in/b'", &err), err);
    sys_clock_advance(900000);
    look("/in/b", 1, 1, "");
    CHECK_EQ(take(), 0);
    sys_clock_advance(600000);
    look("/in/b", 1, 1, "");
    CHECK_EQ(take(), 1);
    queue_close(q);
}

static int marker; /* what the place says */
static int asked;
static int is_marked(void *arg, const struct scan_object *o, struct err *e)
{
    (void)arg, (void)o;
    asked++;
    return marker < 0 ? err_set(e, ERR_FETCH, "gone") : marker;
}

TEST(scan, waits_for_its_marker)
{
    start();
    rules.marked = is_marked;
    marker = 0;
    look("/in/a", 1, 1000, "");
    CHECK_EQ(take(), 0);
    marker = 1;
    look("/in/a", 1, 1000, "");
    CHECK_EQ(take(), 1);
    asked = 0;
    look("/in/a", 1, 1000, "");
    CHECK_EQ(asked, 0); /* nobody asks about what is taken */
    marker = -1;
    struct scan_object o = { .uri = "/in/b", .etag = "" };
    struct scan_count c = { 0 };
    CHECK_EQ(scan_look(q, &lease, &scan, &rules, &o, 1, NULL, &c, &err), -1);
    CHECK_EQ(err.code, ERR_FETCH);
    queue_close(q);
}

TEST(scan, a_scanner_that_lost_its_lease_changes_nothing)
{
    struct scan_lease thief;
    char holder[64];
    int64_t second;
    start();
    CHECK_OK(registry_join(q, "scanner", "scanner-2", &second, &err), err);
    CHECK_EQ(scan_lease_take(q, second, 60000, &thief, holder, &err), 0);
    CHECK_STR(holder, "scanner");
    sys_clock_advance(60001);
    CHECK_EQ(scan_lease_take(q, second, 60000, &thief, holder, &err), 1);
    struct scan_object o = { .uri = "/in/a", .etag = "", .size = 1 };
    struct scan_count c = { 0 };
    CHECK_EQ(scan_look(q, &lease, &scan, &rules, &o, 1, NULL, &c, &err), -1);
    CHECK_EQ(err.code, ERR_LEASE_LOST);
    CHECK_EQ(ask("SELECT count(*) FROM seen"), 0);
    CHECK_EQ(scan_lease_keep(q, &lease, &err), -1);
    CHECK_OK(scan_look(q, &thief, &scan, &rules, &o, 1, NULL, &c, &err), err);
    struct job_new job = { .pipeline = "p", .attempts_max = 1 };
    CHECK_EQ(scan_take(q, &lease, &scan, &rules, &job, &err), -1);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 0);
    CHECK_OK(scan_lease_drop(q, &lease, &err), err); /* drops nothing: it is not ours */
    CHECK_EQ(scan_take(q, &thief, &scan, &rules, &job, &err), 1);
    CHECK_OK(scan_lease_drop(q, &thief, &err), err);
    CHECK_EQ(scan_lease_take(q, second, 60000, &lease, holder, &err), 1);
    queue_close(q);
}

TEST(scan, nobody_waits_for_a_scanner_that_is_gone)
{
    struct scan_lease l;
    char holder[64];
    start();
    CHECK_OK(db_exec(queue_db(q), "UPDATE worker SET pid_start = pid_start + 1", &err), err);
    CHECK_EQ(scan_lease_take(q, 1, 60000, &l, holder, &err), 1);
    CHECK_EQ(scan_lease_take(q, 1, 60000, &l, holder, &err), 1);
    CHECK_OK(db_exec(queue_db(q), "UPDATE worker SET host = 'elsewhere'", &err), err);
    CHECK_EQ(scan_lease_take(q, 1, 60000, &l, holder, &err), 0);
    sys_clock_advance(-86400000); /* set back: its end lies in a future that no lease reaches */
    CHECK_EQ(scan_lease_take(q, 1, 60000, &l, holder, &err), 1);
    sys_clock_advance(86400000);
    queue_close(q);
}

static int end_of(struct scan_count *c, const struct err *why)
{
    struct scan_end e = { .started = 10, .next_at = 99, .covered = 77, .count = c, .whole = true, .why = why };
    return scan_end(q, &lease, &scan, &e, &err);
}

TEST(scan, its_end_costs_the_same_however_much_was_taken)
{
    struct scan_count c = { 0 };
    int64_t steps[2];
    start();
    for (int i = 0; i < 2; i++) {
        if (i)
            CHECK_OK(db_exec(queue_db(q),
                             "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
                             "INSERT INTO seen (scan, uri, size, mtime, etag, state, looked, looks, since, first, boot) "
                             "SELECT (SELECT id FROM scan), '/in/' || i, 1, 1, '', 'taken', 0, 1, 1, 1, 1 FROM n",
                             &err),
                     err);
        for (enum queue_sql s = SQL_BEGIN; s < QUEUE_SQLS; s++)
            (void)sqlite3_stmt_status(queue_stmt(q, s), SQLITE_STMTSTATUS_VM_STEP, 1);
        scan.number++;
        CHECK_OK(end_of(&c, NULL), err);
        steps[i] = 0;
        for (enum queue_sql s = SQL_BEGIN; s < QUEUE_SQLS; s++)
            steps[i] += sqlite3_stmt_status(queue_stmt(q, s), SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    CHECK(steps[1] < steps[0] + 500);
    queue_close(q);
}

TEST(scan, its_end_keeps_what_came_of_it)
{
    struct scan_count c = { .listed = 7, .found = 3, .changed = 1, .taken = 2 };
    start();
    CHECK(scan.wanted > 0);
    rules.settle_ms = 600000;
    look("/in/a", 1, 1, "");
    CHECK_OK(end_of(&c, NULL), err);
    CHECK_EQ(ask("SELECT listed = 7 AND found = 3 AND changed = 1 AND taken = 2 AND waiting = 1 AND wanted = 0 AND failures = 0 AND "
                 "covered = 77 AND next_at = 99 AND code IS NULL FROM scan"), 1);
    struct err why;
    err_set(&why, ERR_FETCH, "no route");
    sys_clock_advance(1);
    CHECK_EQ(scan_want(q, "p", &err), 1);
    CHECK_EQ(scan_want(q, "none", &err), 0);
    CHECK_OK(end_of(&c, &why), err); /* asked for while it ran: that stays */
    CHECK_EQ(ask("SELECT failures = 1 AND code = 'fetch' AND message = 'no route' AND wanted > 0 FROM scan"), 1);
    CHECK_OK(scan_get(q, &lease, "p", "/in/*", false, &scan, &err), err);
    CHECK_EQ(scan.covered, 77);
    CHECK_OK(scan_get(q, &lease, "p", "/elsewhere/*", false, &scan, &err), err);
    CHECK_EQ(scan.covered, 0); /* another source */
    CHECK_OK(scan_begin(q, &lease, &scan, 55, &err), err);
    CHECK_OK(scan_get(q, &lease, "p", "/elsewhere/*", false, &scan, &err), err);
    CHECK_EQ(scan.covered, 55);
    queue_close(q);
}

TEST(scan, what_waited_and_went_is_forgotten)
{
    struct scan_count c = { 0 };
    start();
    rules.settle_ms = 600000;
    look("/in/gone", 1, 1, "");
    look("/in/there", 1, 1, "");
    CHECK_OK(end_of(&c, NULL), err);
    CHECK_EQ(ask("SELECT count(*) FROM seen"), 1);
    CHECK_EQ(ask("SELECT uri = '/in/there' FROM seen"), 1);
    queue_close(q);
}

static int fill(void *arg, const struct scan_slot *slot, struct job_new *job, struct err *e)
{
    (void)arg, (void)slot, (void)e;
    job->objects = STR("[\"/x\"]");
    return 0;
}

TEST(scan, each_slot_is_accounted_for_once)
{
    struct scan_slot slots[] = { { .at = 100, .reason = "nobody was there" }, { .at = 200, .ran = true, .reason = "" } };
    struct job_new job = { .pipeline = "p", .attempts_max = 1 };
    int ran;
    start();
    CHECK_OK(scan_slots(q, &lease, &scan, slots, 2, &job, fill, NULL, &ran, &err), err);
    CHECK_EQ(ran, 1);
    CHECK_OK(scan_slots(q, &lease, &scan, slots, 2, &job, fill, NULL, &ran, &err), err); /* a clock that was set back */
    CHECK_EQ(ran, 0);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 1);
    CHECK_EQ(ask("SELECT count(*) FROM slot"), 2);
    CHECK_EQ(ask("SELECT slot.job = job.id FROM slot, job WHERE outcome = 'ran'"), 1);
    CHECK_EQ(ask("SELECT slot FROM scan"), 200);
    CHECK_OK(scan_slots_sweep(q, &lease, &scan, 150, &err), err);
    CHECK_EQ(ask("SELECT count(*) FROM slot"), 1);
    queue_close(q);
}

/* ---- slots that ask for a listing ---- */

/* The slot of that time comes. */
static void slot_comes(int64_t at, const char *reason)
{
    struct scan_slot slot = { .at = at, .ran = true, .good = true, .reason = reason };
    int ran;
    CHECK_OK(scan_slots(q, &lease, &scan, &slot, 1, NULL, fill, NULL, &ran, &err), err);
    CHECK_EQ(ran, 1);
}

static void listing_begins(void) { CHECK_OK(scan_get(q, &lease, "p", "/in/*", false, &scan, &err), err); }

/* As it is told in `scan`, as in pass.c. */
static void listing_ends(bool broke, const char *message)
{
    struct scan_count count = { 0 };
    struct err why;
    if (message)
        err_set(&why, ERR_FETCH, "%s", message);
    struct scan_end e = { .started = 10, .covered = 77, .count = &count, .whole = !broke, .broke = broke, .why = message ? &why : NULL };
    CHECK_OK(scan_end(q, &lease, &scan, &e, &err), err);
}

/* Newest first: "TIME OUTCOME[!] (REASON)", ! where the next listing makes it good. */
static int slot_text(void *arg, const struct scan_slot *s)
{
    buf_addf(arg, "%s%lld %s%s (%s)", ((struct buf *)arg)->n ? ", " : "", (long long)s->at, s->outcome, s->open ? "!" : "", s->reason);
    return 0;
}

static void slots_are(const char *want)
{
    struct buf text = { 0 };
    CHECK_OK(scan_slot_rows(q, scan.id, 100, slot_text, &text, &err), err);
    CHECK_STR(text.p, want);
    buf_clear(&text);
}

TEST(scan, a_slot_is_due_until_a_listing_has_ended_that_it_asked_for)
{
    start();
    slot_comes(100, "");
    slot_comes(200, "late: no scanner was there");
    slots_are("200 due! (late: no scanner was there), 100 due! ()");
    listing_begins();
    slot_comes(300, ""); /* meanwhile */
    listing_ends(false, NULL);
    slots_are("300 due! (), 200 ran (late: no scanner was there), 100 ran ()");
    CHECK_EQ(ask("SELECT wanted > 0 FROM scan"), 1);
    listing_begins();
    listing_ends(false, "2 names were left out");
    slots_are("300 ran (2 names were left out [fetch]), 200 ran (late: no scanner was there), 100 ran ()");
    queue_close(q);
}

TEST(scan, a_slot_whose_listing_failed_is_made_good_by_the_next_one)
{
    start();
    slot_comes(100, "");
    slot_comes(200, "late: no scanner was there");
    listing_begins();
    listing_ends(true, "no route");
    slots_are("200 failed! (late: no scanner was there; its listing failed: no route [fetch]), 100 failed! (its listing failed: no route [fetch])");
    slot_comes(300, "");
    listing_begins();
    listing_ends(true, "no answer");
    slots_are("300 failed! (its listing failed: no answer [fetch]), 200 failed! (late: no scanner was there; its listing failed: no route [fetch]), "
              "100 failed! (its listing failed: no route [fetch])"); /* each tells of its own */
    listing_begins();
    listing_ends(false, "2 names were left out");
    slots_are("300 ran (late: its listing failed: no answer [fetch]; a later one made it good; 2 names were left out [fetch]), "
              "200 ran (late: no scanner was there; its listing failed: no route [fetch]; a later one made it good; 2 names were left out [fetch]), "
              "100 ran (late: its listing failed: no route [fetch]; a later one made it good; 2 names were left out [fetch])");
    queue_close(q);
}

TEST(scan, a_slot_before_those_that_are_known_is_due_too)
{
    start();
    slot_comes(500, "");
    listing_begins();
    slot_comes(200, ""); /* the clock was set back */
    listing_ends(false, NULL);
    slots_are("500 ran (), 200 due! ()");
    slot_comes(300, "");
    slot_comes(600, "");
    CHECK_OK(db_exec(queue_db(q), "UPDATE scan SET slot = 300", &err), err); /* and again */
    listing_begins();
    listing_ends(false, NULL);
    slots_are("600 ran (), 500 ran (), 300 ran (), 200 ran ()");
    queue_close(q);
}

TEST(scan, a_slot_is_settled_by_who_has_the_right_to_scan)
{
    struct scan_count count = { 0 };
    struct scan_end e = { .count = &count, .whole = true };
    start();
    slot_comes(100, "");
    listing_begins();
    lease.token--;
    CHECK_EQ(scan_end(q, &lease, &scan, &e, &err), -1);
    CHECK_EQ(err.code, ERR_LEASE_LOST);
    slots_are("100 due! ()");
    queue_close(q);
}

TEST(scan, a_slot_of_a_source_that_is_another_one_now_stays_failed)
{
    start();
    slot_comes(100, "");
    listing_begins();
    listing_ends(true, "no route");
    slot_comes(200, "");
    CHECK_OK(scan_get(q, &lease, "p", "/elsewhere/*", false, &scan, &err), err);
    listing_ends(false, NULL);
    slots_are("200 ran (), 100 failed (its listing failed: no route [fetch]; no later one could make it good: the source became another one)");
    CHECK_OK(scan_slots_sweep(q, &lease, &scan, 201, &err), err);
    CHECK_EQ(ask("SELECT count(*) FROM slot"), 0);
    queue_close(q);
}

TEST(scan, the_dates_of_a_source_that_was_never_listed_begin_at_the_first_slot_that_is_made_good)
{
    struct scan_slot slots[] = { { .at = 100, .reason = "too old" },
                                 { .at = 200, .good = true, .reason = "nobody was there" },
                                 { .at = 300, .ran = true, .good = true, .reason = "" } };
    struct job_new job = { .pipeline = "p", .attempts_max = 1 };
    int ran;
    start();
    CHECK_OK(db_exec(queue_db(q), "UPDATE scan SET covered = 0", &err), err); /* as cron= has it */
    CHECK_OK(scan_slots(q, &lease, &scan, slots, 1, NULL, fill, NULL, &ran, &err), err);
    CHECK_EQ(ask("SELECT covered FROM scan"), 0);
    CHECK_OK(scan_slots(q, &lease, &scan, slots, 2, NULL, fill, NULL, &ran, &err), err);
    CHECK_EQ(ask("SELECT covered FROM scan"), 200);
    CHECK_OK(scan_slots(q, &lease, &scan, slots + 2, 1, NULL, fill, NULL, &ran, &err), err);
    CHECK_EQ(ask("SELECT covered FROM scan"), 200); /* it has begun */
    CHECK_OK(db_exec(queue_db(q), "DELETE FROM slot; UPDATE scan SET covered = 0", &err), err);
    CHECK_OK(scan_slots(q, &lease, &scan, slots, 3, &job, fill, NULL, &ran, &err), err);
    CHECK_EQ(ask("SELECT covered FROM scan"), 0); /* nobody lists it */
    queue_close(q);
}

TEST(scan, the_dates_of_a_source_begin_when_it_was_wanted_first_however_long_it_cannot_be_listed)
{
    struct err why;
    start();
    int64_t began = scan.covered;
    CHECK(began > 0 && began <= sys_now_ms());
    sys_clock_advance(86400000);
    err_set(&why, ERR_FETCH_BUSY, "not now");
    CHECK_OK(scan_held(q, &lease, &scan, sys_now_ms() + 1000, &why, &err), err);
    CHECK_OK(scan_get(q, &lease, "p", "/in/*", true, &scan, &err), err);
    CHECK_OK(scan_begin(q, &lease, &scan, sys_now_ms(), &err), err);
    CHECK_EQ(scan.covered, began);
    CHECK_OK(scan_get(q, &lease, "p", "/elsewhere/*", true, &scan, &err), err);
    CHECK(scan.covered > began); /* those of another source, later */
    CHECK_OK(scan_get(q, &lease, "slot", "/in/*", false, &scan, &err), err);
    CHECK_EQ(scan.covered, 0); /* of which no time has come yet */
    slot_comes(200, "");
    slot_comes(300, "");
    CHECK_OK(scan_get(q, &lease, "slot", "/elsewhere/*", false, &scan, &err), err);
    CHECK_EQ(scan.covered, 200);
    sys_clock_advance(-86400000);
    queue_close(q);
}

static int done(void *arg, const struct scan_after *a, struct err *e)
{
    (void)e;
    ++*(int *)arg;
    return strcmp(a->uri, "/in/b") ? SCAN_AFTER_LATER : SCAN_AFTER_GONE;
}

TEST(scan, tells_what_is_left_to_do_until_it_is_done)
{
    int n = 0;
    start();
    rules.after = true;
    look("/in/a", 1, 1, "");
    look("/in/b", 1, 1, "");
    take();
    CHECK_OK(scan_after(q, &lease, &scan, done, &n, &err), err);
    CHECK_EQ(n, 0); /* not loaded */
    CHECK_OK(db_exec(queue_db(q), "UPDATE seen SET after = 2", &err), err);
    CHECK_OK(scan_after(q, &lease, &scan, done, &n, &err), err);
    CHECK_EQ(n, 2);
    CHECK_OK(scan_after(q, &lease, &scan, done, &n, &err), err);
    CHECK_EQ(n, 3);
    rules.on_change = ON_CHANGE_IGNORE;
    CHECK_EQ(look("/in/b", 5, 5, "").found, 1); /* another one of that name */
    queue_close(q);
}

/* 100,000 objects: in batches, each found once; a second listing makes no write but its end. */
TEST(scan, many_objects_in_batches)
{
    enum { MANY = 100000 };
    static struct scan_object objects[SCAN_BATCH];
    static char names[SCAN_BATCH][32];
    struct job_new job = { .pipeline = "p", .attempts_max = 1 };
    start();
    for (int pass = 0; pass < 2; pass++) {
        struct scan_count c = { 0 };
        int64_t before = sqlite3_total_changes(queue_db(q));
        for (int at = 0; at < MANY; at += SCAN_BATCH) {
            for (int i = 0; i < SCAN_BATCH; i++) {
                snprintf(names[i], sizeof names[i], "/in/%d", (at + i) * 7919 % MANY);
                objects[i] = (struct scan_object){ .uri = names[i], .etag = "", .size = i, .mtime_ms = 1 };
            }
            CHECK_OK(scan_look(q, &lease, &scan, &rules, objects, SCAN_BATCH, NULL, &c, &err), err);
        }
        CHECK_EQ(c.listed, MANY);
        CHECK_EQ(c.found, pass ? 0 : MANY);
        CHECK_EQ(sqlite3_total_changes(queue_db(q)) - before == 0, pass);
        if (!pass)
            while ((c.taken = scan_take(q, &lease, &scan, &rules, &job, &err)) > 0)
                ;
        CHECK_OK(c.taken, err);
    }
    CHECK_EQ(ask("SELECT count(*) FROM job"), MANY);
    queue_close(q);
}

/* ---- groups ---- */

static struct scan_count groups(int want)
{
    struct job_new job = { .pipeline = "p", .target = "w", .attempts_max = 1 };
    struct scan_groups walk = { 0 };
    struct scan_count c = { 0 };
    int jobs = 0;
    while (!walk.end) {
        int n = scan_take_groups(q, &lease, &scan, &rules, &job, &walk, &c, &err);
        CHECK_OK(n, err);
        jobs += n;
    }
    buf_clear(&walk.after);
    CHECK_EQ(jobs, want);
    return c;
}

TEST(scan, a_group_is_full_by_its_files_oldest_first)
{
    start();
    rules.group_files = 2;
    rules.group_wait_ms = 60000;
    look("/in/c", 1, 2000, "");
    look("/in/b", 1, 2000, "");
    look("/in/d", 1, 3000, "");
    look("/in/e", 1, 4000, "e1");
    look("/in/a", 1, 1000, "");
    struct scan_count c = groups(2);
    CHECK_EQ(c.waiting, 1);
    CHECK(c.again_ms > 0 && c.again_ms <= 60000);
    CHECK_EQ(ask("SELECT group_concat(objects, ';') = '[\"/in/a\",\"/in/b\"];[\"/in/c\",\"/in/d\"]' FROM job_text"), 1);
    CHECK_EQ(ask("SELECT files = '[\"/in/a\",\"/in/b\"]' AND total_size_in_bytes = 2 AND status = 'SENT_FOR_ETL' AND "
                 "latest_file_modified_time = '1970-01-01T00:00:02Z' FROM scanner WHERE id = 1"), 1);
    CHECK_EQ(ask("SELECT id IS NULL AND files = '[\"/in/e\"]' AND total_size_in_bytes = 1 AND failure_msg IS NULL AND "
                 "latest_file_modified_time = '1970-01-01T00:00:04Z' AND created_time = modified_time AND created_time > '2020' "
                 "FROM scanner WHERE status = 'NONE'"), 1);
    CHECK_EQ(ask("SELECT count(*) = 8 AND group_concat(name) = 'id,files,latest_file_modified_time,total_size_in_bytes,created_time,"
                 "modified_time,status,failure_msg' FROM pragma_table_info('scanner')"), 1);
    queue_close(q);
}

TEST(scan, a_group_is_full_by_its_bytes)
{
    start();
    rules.group_files = SCAN_GROUP_MAX;
    rules.group_bytes = 10;
    rules.group_wait_ms = 60000;
    look("/in/a", 4, 1, "");
    look("/in/b", 4, 2, "");
    look("/in/c", 4, 3, "");  /* would be above: it begins the next */
    look("/in/d", 99, 4, ""); /* alone */
    look("/in/e", 10, 5, ""); /* just full */
    look("/in/f", -1, 6, ""); /* nobody says how large it is */
    CHECK_EQ(groups(4).waiting, 1);
    CHECK_EQ(ask("SELECT group_concat(objects, ';') = '[\"/in/a\",\"/in/b\"];[\"/in/c\"];[\"/in/d\"];[\"/in/e\"]' FROM job_text"), 1);
    queue_close(q);
}

TEST(scan, an_open_group_becomes_a_job_when_nothing_came_for_a_while)
{
    start();
    rules.group_files = 10;
    rules.group_wait_ms = 60000;
    look("/in/a", 1, 1, "");
    sys_clock_advance(50000);
    look("/in/b", 1, 2, "");
    groups(0);
    sys_clock_advance(50000);
    look("/in/a", 1, 1, "");
    look("/in/b", 1, 2, "");
    CHECK(groups(0).again_ms <= 10000);
    sys_clock_advance(10000);
    queue_close(q); /* another scanner goes on with it */
    CHECK_OK(queue_open(&q, queue_path, 0, &err), err);
    CHECK_EQ(groups(1).waiting, 0);
    CHECK_EQ(ask("SELECT objects = '[\"/in/a\",\"/in/b\"]' FROM job_text"), 1);
    CHECK_EQ(ask("SELECT count(*) FROM seen WHERE state = 'taken' AND job = 1"), 2);
    CHECK_EQ(look("/in/a", 1, 1, "").found, 0);
    sys_clock_advance(60000);
    groups(0);
    queue_close(q);
}

TEST(scan, objects_of_one_group_have_the_same_parameters)
{
    static const char *const params[] = { NULL, "{\"r\":\"n\"}", "{\"r\":\"s\"}" };
    char uri[16];
    start();
    rules.group_files = 2;
    rules.group_wait_ms = 60000;
    for (int i = 0; i < 9; i++) {
        snprintf(uri, sizeof uri, "/in/%d", i);
        struct scan_object o = { .uri = uri, .etag = "", .size = 1, .mtime_ms = 1 + i, .params = params[i % 3] };
        struct scan_count c = { 0 };
        CHECK_OK(scan_look(q, &lease, &scan, &rules, &o, 1, NULL, &c, &err), err);
    }
    CHECK_EQ(groups(3).waiting, 3);
    CHECK_EQ(ask("SELECT group_concat(objects || coalesce(params, ''), ';') = "
                 "'[\"/in/1\",\"/in/4\"]{\"r\":\"n\"};[\"/in/2\",\"/in/5\"]{\"r\":\"s\"};[\"/in/0\",\"/in/3\"]' FROM job_text"), 1);
    sys_clock_advance(60000);
    groups(3);
    CHECK_EQ(ask("SELECT count(*) FROM seen WHERE job IS NULL"), 0);
    queue_close(q);
}

/* What changes, or goes, while its group is open. */
TEST(scan, an_open_group_is_what_lies_there)
{
    struct scan_count c = { 0 };
    start();
    rules.group_files = 10;
    rules.group_wait_ms = 60000;
    look("/in/gone", 1, 1, "");
    look("/in/a", 1, 1, "");
    struct scan_groups walk = { .whole = true }; /* the first was not in the last listing */
    struct job_new job = { .pipeline = "p", .attempts_max = 1 };
    CHECK_EQ(scan_take_groups(q, &lease, &scan, &rules, &job, &walk, &c, &err), 0);
    buf_clear(&walk.after);
    CHECK_EQ(ask("SELECT count(*) FROM seen"), 1);
    sys_clock_advance(59000);
    look("/in/a", 2, 2, ""); /* another version: the wait begins anew */
    sys_clock_advance(59000);
    look("/in/a", 2, 2, "");
    groups(0);
    CHECK_OK(db_exec(queue_db(q), "UPDATE seen SET boot = 1", &err), err); /* of another boot */
    sys_clock_advance(600000);
    groups(0);
    look("/in/a", 2, 2, "");
    sys_clock_advance(60000);
    groups(1);
    queue_close(q);
}

TEST(scan, many_objects_in_groups)
{
    enum { MANY = 20000 };
    static struct scan_object objects[SCAN_BATCH];
    static char names[SCAN_BATCH][32];
    struct scan_count c = { 0 };
    start();
    rules.group_files = 7;
    rules.group_wait_ms = 0;
    for (int at = 0; at < MANY; at += SCAN_BATCH) {
        for (int i = 0; i < SCAN_BATCH; i++) {
            snprintf(names[i], sizeof names[i], "/in/%d", at + i);
            objects[i] = (struct scan_object){ .uri = names[i], .etag = "", .size = i, .mtime_ms = 1 };
        }
        CHECK_OK(scan_look(q, &lease, &scan, &rules, objects, SCAN_BATCH, NULL, &c, &err), err);
    }
    groups((MANY + 6) / 7);
    CHECK_EQ(ask("SELECT count(*) FROM object"), MANY);
    CHECK_EQ(ask("SELECT count(DISTINCT uri) FROM object"), MANY);
    CHECK_EQ(ask("SELECT count(*) FROM seen WHERE state = 'taken'"), MANY);
    queue_close(q);
}

/* ---- the inbox ---- */

static int submit_one(void *arg, int i, struct err *e)
{
    struct job_new job = { .pipeline = "p", .attempts_max = 1 };
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    if (i == *(int *)arg)
        return err_set(e, ERR_NO_MEMORY, "no more");
    return job_submit(q, &job, &id, uid, &made, e);
}

TEST(scan, names_of_the_inbox_and_their_jobs_come_together)
{
    static const char *const names[] = { "1-a.json", "2-b.json" };
    int never = -1, second = 1;
    start();
    CHECK_EQ(scan_inbox(q, &lease, names, 2, submit_one, &second, &err), -1);
    CHECK_EQ(err.code, ERR_NO_MEMORY);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 0);
    CHECK_EQ(scan_inbox_known(q, NULL, &err), 0);
    CHECK_OK(scan_inbox(q, &lease, names, 2, submit_one, &never, &err), err);
    CHECK_EQ(scan_inbox_known(q, "2-b.json", &err), 1);
    CHECK_EQ(scan_inbox(q, &lease, names, 1, submit_one, &never, &err), -1); /* it is known */
    CHECK_EQ(ask("SELECT count(*) FROM job"), 2);
    CHECK_OK(scan_inbox_forget(q, &lease, names, 1, &err), err);
    CHECK_EQ(scan_inbox_known(q, "1-a.json", &err), 0);
    CHECK_EQ(scan_inbox_known(q, NULL, &err), 1);
    CHECK_OK(scan_inbox_forget(q, &lease, NULL, 0, &err), err);
    CHECK_EQ(scan_inbox_known(q, NULL, &err), 0);
    struct scan_lease lost = { lease.token + 1, lease.ms };
    CHECK_EQ(scan_inbox(q, &lost, names, 2, submit_one, &never, &err), -1);
    CHECK_EQ(err.code, ERR_LEASE_LOST);
    queue_close(q);
}

/* ---- going on, and forgetting ---- */

static char *cursor(void)
{
    static char kept[100];
    char *text;
    CHECK_OK(scan_cursor(q, "p", &text, &err), err);
    snprintf(kept, sizeof kept, "%s", text ? text : "");
    free(text);
    return kept;
}

static void finish(bool whole, bool resumes)
{
    struct scan_count c = { 0 };
    struct scan_end e = { .count = &c, .whole = whole, .resumes = resumes, .forget_ms = SCAN_ERAS * 1000 };
    CHECK_OK(scan_end(q, &lease, &scan, &e, &err), err);
    CHECK_OK(scan_get(q, &lease, "p", "/in/*", false, &scan, &err), err);
}

TEST(scan, a_cursor_is_written_with_what_comes_before_it)
{
    struct scan_object o = { .uri = "/in/a", .etag = "", .size = 1, .mtime_ms = 1 };
    struct scan_page page = { "key 7", 77 };
    struct scan_count c = { 0 };
    start();
    CHECK_STR(cursor(), "");
    CHECK_OK(scan_look(q, &lease, &scan, &rules, &o, 1, &page, &c, &err), err);
    CHECK_STR(cursor(), "key 7");
    struct scan_lease thief = { .token = lease.token + 1, .ms = 1000 };
    page.cursor = "key 9";
    o.uri = "/in/b";
    CHECK_EQ(scan_look(q, &thief, &scan, &rules, &o, 1, &page, &c, &err), -1);
    CHECK_STR(cursor(), "key 7");
    CHECK_EQ(ask("SELECT count(*) FROM seen"), 1);
    CHECK_OK(scan_look(q, &lease, &scan, &rules, NULL, 0, &page, &c, &err), err); /* nothing new on it */
    CHECK_STR(cursor(), "key 9");
    finish(false, true);
    CHECK_STR(cursor(), "key 9");
    CHECK_EQ(scan.cursor_glob, 77);
    queue_close(q);
}

TEST(scan, a_cursor_is_void_when_the_listing_ends_or_its_source_is_another)
{
    struct scan_page page = { "key 7", 77 };
    struct scan_count c = { 0 };
    start();
    CHECK_OK(scan_look(q, &lease, &scan, &rules, NULL, 0, &page, &c, &err), err);
    finish(true, false);
    CHECK_STR(cursor(), "");
    CHECK_OK(scan_look(q, &lease, &scan, &rules, NULL, 0, &page, &c, &err), err);
    finish(false, false); /* it cannot be gone on from */
    CHECK_STR(cursor(), "");
    CHECK_OK(scan_look(q, &lease, &scan, &rules, NULL, 0, &page, &c, &err), err);
    CHECK_OK(scan_get(q, &lease, "p", "/in/*.csv", false, &scan, &err), err);
    CHECK_STR(cursor(), "");
    queue_close(q);
}

static int64_t pruned(void)
{
    int64_t dry = 0, n = 0;
    CHECK_OK(scan_prune(q, &scan, true, &dry, &err), err);
    CHECK_OK(scan_prune(q, &scan, false, &n, &err), err);
    CHECK_EQ(dry, n);
    return n;
}

/* A listing that came to its end, that much later. */
static void list_later(int64_t ms, bool a, bool b)
{
    int64_t number = scan.number;
    sys_clock_advance(ms);
    if (a)
        look("/in/a", 1, 1, "");
    if (b)
        look("/in/b", 1, 1, "");
    scan.number = number; /* both were of this one */
    finish(true, false);
}

struct decided {
    const char *which;
    struct buf got;
};

static bool meant(void *arg, const char *uri)
{
    const char *which = ((struct decided *)arg)->which;
    return !strcmp(which, uri) || text_glob(which, str_of(uri));
}

static void decided(void *arg, const struct scan_changed *c)
{
    struct buf *b = &((struct decided *)arg)->got;
    buf_addf(b, "%s=%lld ", c->uri, (long long)c->size);
}

static void accepts(const char *which, bool known, const char *want)
{
    struct decided d = { .which = which };
    buf_adds(&d.got, "");
    int64_t n = scan_accept(q, &scan, known, meant, decided, &d, &err);
    CHECK_OK((int)n, err);
    CHECK_STR(d.got.p, want);
    buf_clear(&d.got);
}

static void ends_whole(struct scan_count *c)
{
    struct scan_end e = { .whole = true, .count = c };
    CHECK_OK(scan_end(q, &lease, &scan, &e, &err), err);
}

TEST(scan, a_person_decides_about_what_changed_as_it_was_listed)
{
    start();
    rules.on_change = ON_CHANGE_FAIL;
    rules.after = true;
    look("/in/a", 1, 1000, "x");
    look("/in/b[1]", 1, 1000, "x");
    look("/in/c", 1, 1000, "x");
    CHECK_EQ(take(), 3);
    accepts("**", true, ""); /* nothing changed */
    all_read();
    CHECK_OK(db_exec(queue_db(q), "UPDATE seen SET after = 2", &err), err);
    look("/in/a", 2, 1000, "y");
    look("/in/b[1]", 3, 1000, "y");
    struct scan_count c = look("/in/c", 1, 1000, "x");
    CHECK_STR(c.changed_uri, "");
    accepts("/in/x", true, "");
    accepts("/in/b[1]", true, "/in/b[1]=3 "); /* as it stands, for it would not match itself */
    accepts("/in/b[1]", true, "");
    CHECK_EQ(look("/in/b[1]", 3, 1000, "y").changed, 0);
    CHECK_EQ(ask("SELECT after FROM seen WHERE uri = '/in/b[1]'"), 0); /* nothing is done with what was not loaded */
    CHECK_EQ(look("/in/b[1]", 1, 1000, "x").changed, 1); /* the one of before is another one */
    accepts("/in/*", false, "/in/a=2 /in/b[1]=1 ");
    c = look("/in/a", 5, 1000, "z");
    CHECK_EQ(c.changed, 0);
    CHECK_EQ(c.found, 1);
    CHECK_EQ(take(), 1);
    CHECK_EQ(look("/in/c", 1, 1000, "x").changed, 0);
    CHECK_EQ(take(), 0);
    queue_close(q);
}

TEST(scan, nobody_decides_about_what_is_as_it_was_again_or_what_a_job_is_about_to_read)
{
    start();
    rules.on_change = ON_CHANGE_FAIL;
    look("/in/a", 1, 1000, "x");
    look("/in/b", 1, 1000, "x");
    CHECK_EQ(take(), 2);
    all_read();
    look("/in/a", 2, 1000, "y");
    look("/in/b", 2, 1000, "y");
    look("/in/a", 1, 1000, "x"); /* it is back */
    struct scan_count c = look("/in/b", 2, 1000, "y");
    ends_whole(&c);
    accepts("/in/a", false, "");
    CHECK_OK(db_exec(queue_db(q), "DROP TRIGGER job_transition; UPDATE job SET state = 'ready', finished = NULL", &err), err); /* retry */
    accepts("**", false, "");
    all_read();
    accepts("**", false, "/in/b=2 ");
    queue_close(q);
}

TEST(scan, what_no_listing_has_any_more_is_forgotten_after_a_while)
{
    start();
    list_later(0, true, true);
    take();
    finish(true, false);
    for (int i = 0; i < SCAN_ERAS; i++) {
        list_later(1000, true, false);
        CHECK_EQ(pruned(), 0);
    }
    list_later(1000, true, false);
    CHECK_EQ(pruned(), 1);
    CHECK_EQ(look("/in/a", 1, 1, "").found, 0);
    CHECK_EQ(look("/in/b", 1, 1, "").found, 1); /* it is a new one */
    queue_close(q);
}

TEST(scan, neither_a_pause_nor_a_clock_forgets_what_is_there)
{
    start();
    list_later(0, true, true);
    take();
    finish(true, false);
    for (int i = 0; i < SCAN_ERAS; i++)
        list_later(1000LL * 86400000, false, false); /* years: one era each */
    CHECK_EQ(pruned(), 0);
    list_later(1000, true, true); /* the disk is mounted again */
    CHECK_EQ(pruned(), 0);
    CHECK_OK(db_exec(queue_db(q), "UPDATE scan SET era_at = era_at + 86400000", &err), err); /* the clock was set back */
    int64_t era = scan.era;
    list_later(0, true, true);
    CHECK_EQ(scan.era, era);
    list_later(1000, true, true);
    CHECK_EQ(scan.era, era + 1);
    queue_close(q);
}

TEST(scan, what_is_left_to_do_is_not_forgotten)
{
    start();
    rules.after = true;
    list_later(0, true, true);
    take();
    CHECK_OK(db_exec(queue_db(q), "UPDATE seen SET after = 0 WHERE uri = '/in/b'", &err), err);
    for (int i = 0; i <= SCAN_ERAS + 1; i++)
        list_later(1000, false, false);
    CHECK_EQ(pruned(), 1);
    CHECK_EQ(ask("SELECT count(*) FROM seen WHERE uri = '/in/a'"), 1);
    queue_close(q);
}

TEST(scan, a_known_object_is_written_once_an_era)
{
    start();
    list_later(0, true, false);
    take();
    finish(true, false);
    for (int i = 0; i < 3; i++) {
        list_later(1000, false, false);
        for (int k = 0; k < 3; k++) {
            int64_t before = sqlite3_total_changes(queue_db(q));
            look("/in/a", 1, 1, "");
            CHECK_EQ(sqlite3_total_changes(queue_db(q)) > before, k == 0);
        }
    }
    queue_close(q);
}

/* ---- pages ---- */

static int64_t known(const char *uri, int64_t rules_id, char etag[SCAN_ETAG])
{
    char modified[SCAN_MODIFIED];
    int64_t objects = -1;
    int rc = scan_page_get(q, &scan, rules_id, uri, etag, modified, &objects, &err);
    CHECK_OK(rc, err);
    return rc ? objects : -1;
}

TEST(scan, a_page_is_known_in_its_era_and_by_its_rules)
{
    const struct scan_read read = { "http://h/in/", "\"1\"", "", 7 }, again = { "http://h/in/", "\"2\"", "", 8 };
    char etag[SCAN_ETAG];
    start();
    CHECK_EQ(known("http://h/in/", 1, etag), -1);
    CHECK_OK(scan_page_put(q, &lease, &scan, 1, &read, 1, &err), err);
    CHECK_EQ(known("http://h/in/", 1, etag), 7);
    CHECK_STR(etag, "\"1\"");
    CHECK_EQ(known("http://h/in/", 2, etag), -1);
    CHECK_OK(scan_page_put(q, &lease, &scan, 2, &again, 1, &err), err);
    CHECK_EQ(known("http://h/in/", 1, etag), -1);
    CHECK_EQ(known("http://h/in/", 2, etag), 8);
    scan.era++;
    CHECK_EQ(known("http://h/in/", 2, etag), -1);
    struct scan_count count = { 0 };
    const struct scan_end end = { .count = &count, .whole = true };
    CHECK_OK(scan_end(q, &lease, &scan, &end, &err), err);
    CHECK_EQ(ask("SELECT count(*) FROM page"), 0);
    queue_close(q);
}

TEST(scan, what_waits_or_is_ready_is_open)
{
    start();
    CHECK_EQ(scan_open(q, &scan, &err), 0);
    rules.settle_ms = 1000;
    look("/in/a", 5, 1000, "");
    CHECK_EQ(scan_open(q, &scan, &err), 1);
    rules.settle_ms = 0;
    look("/in/a", 5, 1000, "");
    CHECK_EQ(scan_open(q, &scan, &err), 1);
    take();
    CHECK_EQ(scan_open(q, &scan, &err), 0);
    queue_close(q);
}

/* ---- objects that are cut off ---- */

/* A worker takes the job and finds its object cut off. */
static void fail_truncated(int64_t wait_ms)
{
    static int64_t worker;
    struct lease l;
    if (!worker || ask("SELECT count(*) FROM worker WHERE role = 'worker'") == 0)
        CHECK_OK(registry_join(q, "worker", "w", &worker, &err), err);
    CHECK_EQ(job_finish_claim(q, NULL, 0, worker, 60000, 3, &l, 1, &err), 1);
    struct finish f = { .lease = &l, .outcome = OUT_FAILED, .stage = "unpack", .whole_wait_ms = wait_ms };
    err_set(&f.err, ERR_TRUNCATED, "it ends too early");
    CHECK_OK(job_finish_claim(q, &f, 1, worker, 60000, 3, NULL, 0, &err), err);
    CHECK_EQ(f.lost, 0);
    job_lease_clear(&l);
}

TEST(scan, a_job_whose_object_is_cut_off_waits_for_another_version_of_it)
{
    int64_t promoted, next;
    start();
    rules.on_change = ON_CHANGE_RELOAD;
    look("/in/a.gz", 5, 1000, "");
    take();
    fail_truncated(3600000);
    CHECK_EQ(ask("SELECT state = 'ready' AND due = 0 AND attempts = 0 FROM job"), 1);
    CHECK_EQ(look("/in/a.gz", 5, 1000, "").changed, 0);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_EQ(promoted, 0);
    CHECK_EQ(look("/in/a.gz", 9, 2000, "").changed, 0); /* it is the same object to be */
    CHECK_EQ(take_again(), 1);
    CHECK_EQ(take(), 0);
    sys_clock_advance(10);
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_EQ(promoted, 1);
    CHECK_EQ(ask("SELECT size FROM seen"), 9);
    CHECK_EQ(look("/in/a.gz", 9, 2000, "").changed, 0);
    fail_truncated(3600000);
    sys_clock_advance(3600000); /* the wait is over */
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_EQ(promoted, 1);
    fail_truncated(3600000);
    CHECK_EQ(ask("SELECT state = 'dead' FROM job"), 1);
    CHECK_EQ(look("/in/a.gz", 12, 3000, "").changed, 1);
    CHECK_EQ(take(), 1);
    queue_close(q);
}

TEST(scan, a_job_that_no_scan_looks_at_does_not_wait)
{
    start();
    look("/in/a.gz", 5, 1000, "");
    take();
    CHECK_OK(db_exec(queue_db(q), "DELETE FROM seen", &err), err);
    fail_truncated(3600000);
    CHECK_EQ(ask("SELECT state = 'dead' FROM job"), 1);
    queue_close(q);
}

/* ---- objects that are not what was listed ---- */

/* A worker takes the job and finds another object than the one that was listed. */
static void fail_changed(const char *uri)
{
    int64_t worker, promoted, next;
    struct lease l;
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    CHECK_OK(registry_join(q, "worker", "w", &worker, &err), err);
    CHECK_EQ(job_finish_claim(q, NULL, 0, worker, 60000, 3, &l, 1, &err), 1);
    struct finish f = { .lease = &l, .outcome = OUT_FAILED, .stage = "fetch", .changed = uri };
    err_set(&f.err, ERR_CHANGED, "it is another one");
    CHECK_EQ(job_finish_claim(q, &f, 1, worker, 60000, 3, NULL, 0, &err), 0);
    CHECK_EQ(f.lost, 0);
    job_lease_clear(&l);
}

static bool is_due(void)
{
    int64_t promoted, next;
    CHECK_OK(job_promote(q, &promoted, &next, &err), err);
    return ask("SELECT sum(due) FROM job WHERE state = 'ready'");
}

TEST(scan, an_object_that_changes_before_its_job_reads_it_settles_again)
{
    static const enum on_change whatever[] = { ON_CHANGE_IGNORE, ON_CHANGE_RELOAD, ON_CHANGE_FAIL };
    for (size_t i = 0; i < COUNT_OF(whatever); i++) {
        start();
        rules.settle_ms = 10000;
        look("/in/a", 5, 1000, "");
        sys_clock_advance(10000);
        look("/in/a", 5, 1000, "");
        CHECK_EQ(take(), 1);
        CHECK(is_due());
        rules.on_change = whatever[i];
        struct scan_count c = look("/in/a", 6, 2000, "");
        CHECK_EQ(c.changed, 0); /* nobody took it yet */
        CHECK_EQ(c.again_ms, 10000);
        CHECK(!is_due());
        CHECK_EQ(take_again() + take(), 0);
        sys_clock_advance(10000);
        look("/in/a", 6, 2000, "");
        CHECK_EQ(take(), 0);
        CHECK_EQ(take_again(), 1);
        CHECK(is_due());
        CHECK_EQ(ask("SELECT size = 6 AND modified_at = 2000 FROM object"), 1);
        CHECK_EQ(ask("SELECT state = 'taken' AND size = 6 FROM seen"), 1);
        look("/in/a", 6, 2000, "");
        CHECK_EQ(take_again() + take(), 0);
        CHECK_EQ(ask("SELECT count(*) FROM job"), 1);
        queue_close(q);
    }
}

TEST(scan, a_job_that_found_another_object_waits_for_a_listing_and_counts_no_try)
{
    struct scan_listed v;
    start();
    look("/in/a", 5, 1000, "x");
    take();
    CHECK_EQ(scan_listed(q, "p", ask("SELECT id FROM job"), "/in/a", &v, &err), 1);
    CHECK(v.size == 5 && v.mtime_ms == 1000 && !strcmp(v.etag, "x") && v.whole);
    free(v.etag);
    CHECK_EQ(scan_listed(q, "p", 77, "/in/a", &v, &err), 0); /* a job by hand */
    fail_changed("/in/a");
    CHECK_EQ(ask("SELECT state = 'ready' AND due = 0 AND attempts = 0 FROM job"), 1);
    CHECK_EQ(ask("SELECT wanted > 0 FROM scan"), 1); /* the scanner is told */
    CHECK_EQ(scan_open(q, &scan, &err), 1);           /* and looks, even if the page did not change */
    CHECK(!is_due());
    look("/in/a", 6, 2000, "y");
    CHECK_EQ(take_again(), 1);
    CHECK(is_due());
    CHECK_EQ(take(), 0);
    queue_close(q);
}

TEST(scan, an_object_that_is_another_one_each_time_is_asked_for_less_and_less)
{
    start();
    rules.backoff_ms = 5000;
    rules.backoff_max_ms = 20000;
    look("/in/a", 5, 1000, "");
    take();
    static const int64_t waits[] = { 0, 5000, 10000, 20000, 20000 };
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        fail_changed("/in/a");
        CHECK_EQ(look("/in/a", 5, 1000, "").again_ms, waits[i]); /* the listing says what it always said */
        CHECK_EQ(take_again(), waits[i] == 0);
        sys_clock_advance(waits[i]);
        look("/in/a", 5, 1000, "");
        CHECK_EQ(take_again(), waits[i] > 0);
        CHECK(is_due());
    }
    fail_changed("/in/a");
    for (int i = 0; i < 100; i++) { /* it changes for ever: nobody asks for it */
        look("/in/a", 6 + i, 1000, "");
        sys_clock_advance(1000);
        CHECK_EQ(take_again() + take(), 0);
        CHECK(!is_due());
    }
    queue_close(q);
}

TEST(scan, a_group_waits_for_all_of_its_objects)
{
    struct job_new job = { .pipeline = "p", .target = "w", .attempts_max = 1 };
    struct scan_groups walk = { 0 };
    struct scan_count c = { 0 };
    start();
    rules.group_files = 2;
    look("/in/a", 5, 1000, "");
    look("/in/b", 5, 1000, "");
    CHECK_EQ(scan_take_groups(q, &lease, &scan, &rules, &job, &walk, &c, &err), 1);
    rules.settle_ms = 10000;
    look("/in/a", 6, 2000, "");
    sys_clock_advance(5000);
    look("/in/b", 6, 2000, "");
    look("/in/a", 6, 2000, "");
    sys_clock_advance(5000);
    look("/in/a", 6, 2000, "");
    CHECK_EQ(take_again(), 1);
    CHECK(!is_due());
    buf_reset(&walk.after);
    CHECK_EQ(scan_take_groups(q, &lease, &scan, &rules, &job, &walk, &c, &err), 0);
    sys_clock_advance(5000);
    look("/in/b", 6, 2000, "");
    CHECK_EQ(take_again(), 1);
    CHECK(is_due());
    CHECK_EQ(ask("SELECT count(*) FROM job"), 1);
    buf_clear(&walk.after);
    queue_close(q);
}

TEST(scan, what_a_job_waits_for_and_goes_is_found_out_by_the_job)
{
    start();
    look("/in/a", 5, 1000, "");
    take();
    fail_changed("/in/a");
    scan.number++;
    struct scan_count count = { 0 };
    const struct scan_end end = { .count = &count, .whole = true };
    CHECK_OK(scan_end(q, &lease, &scan, &end, &err), err);
    CHECK_EQ(count.gone, 1);
    CHECK(is_due());
    look("/in/a", 6, 2000, ""); /* it is there again: nothing new */
    CHECK_EQ(take_again(), 1);
    CHECK_EQ(take(), 0);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 1);
    queue_close(q);
}

TEST(scan, a_job_that_is_cancelled_while_its_object_settles_leaves_it)
{
    start();
    look("/in/a", 5, 1000, "");
    take();
    rules.settle_ms = 10000;
    look("/in/a", 6, 2000, "");
    all_read();
    sys_clock_advance(10000);
    look("/in/a", 6, 2000, "");
    CHECK_EQ(take_again() + take(), 0);
    CHECK_EQ(ask("SELECT state = 'taken' FROM seen"), 1);
    rules.on_change = ON_CHANGE_RELOAD; /* else it is a new one */
    rules.settle_ms = 0;
    look("/in/a", 7, 3000, "");
    CHECK_EQ(take_again(), 0);
    CHECK_EQ(take(), 1);
    queue_close(q);
}

/* ---- dead jobs whose objects went on ---- */

/* A worker takes the next job, and it dies of that. */
static void dies(enum err_code code, const char *changed)
{
    int64_t worker;
    struct lease l;
    CHECK_OK(registry_join(q, "worker", "w", &worker, &err), err);
    CHECK_EQ(job_finish_claim(q, NULL, 0, worker, 60000, 3, &l, 1, &err), 1);
    struct finish f = { .lease = &l, .outcome = OUT_FAILED, .stage = "read", .changed = changed, .person = rules.on_change == ON_CHANGE_FAIL };
    err_set(&f.err, code, "it is bad");
    CHECK_EQ(job_finish_claim(q, &f, 1, worker, 60000, 3, NULL, 0, &err), 0);
    job_lease_clear(&l);
}

static void refuses(int64_t job, const char *why)
{
    struct err e = { 0 };
    CHECK_EQ(job_retry(q, job, &e), -1);
    CHECK(e.code == ERR_STATE && strstr(e.msg, why));
    CHECK_EQ(ask("SELECT state = 'dead' FROM job WHERE id = 1"), 1);
}

static void passed_over(void *arg, int64_t id, const struct err *why)
{
    int64_t *sum = arg;
    CHECK_EQ(why->code, ERR_STATE);
    *sum += id;
}

TEST(scan, what_a_later_job_took_is_not_read_again_by_the_dead_one_before_it)
{
    int64_t hand, other, n, passed = 0;
    bool made;
    char uid[SYS_UID_LEN + 1];
    struct job_new by_hand = { .pipeline = "p", .target = "w", .objects = str_of("[\"/in/a\"]"), .attempts_max = 1 };
    start();
    rules.on_change = ON_CHANGE_RELOAD;
    look("/in/a", 5, 1000, "");
    CHECK_EQ(take(), 1);
    dies(ERR_HEADER, NULL);
    CHECK_OK(queue_begin(q, &err), err);
    CHECK_OK(job_submit(q, &by_hand, &hand, uid, &made, &err), err);
    CHECK_OK(queue_commit(q, QUEUE_LATER, &err), err);
    dies(ERR_HEADER, NULL);
    look("/in/a", 6, 2000, "");
    CHECK_EQ(take(), 1);
    refuses(1, "job 3 has taken /in/a since");
    CHECK_EQ(scan_other(q, "p", 1, "/in/a", &other, &err), 1); /* and if it is ready all the same */
    CHECK_EQ(other, 3);
    CHECK_EQ(scan_other(q, "p", 3, "/in/a", &other, &err), 0);
    CHECK_EQ(scan_other(q, "p", hand, "/in/a", &other, &err), 0); /* a person said so */
    CHECK_OK(job_retry_all(q, NULL, NULL, &n, passed_over, &passed, &err), err);
    CHECK_EQ(n, 1);
    CHECK_EQ(passed, 1);
    CHECK_EQ(ask("SELECT state = 'ready' FROM job WHERE id = 2"), 1);
    queue_close(q);
}

TEST(scan, a_job_that_is_retried_before_its_object_is_taken_anew_keeps_it)
{
    start();
    rules.on_change = ON_CHANGE_RELOAD;
    look("/in/a", 5, 1000, "");
    CHECK_EQ(take(), 1);
    dies(ERR_HEADER, NULL);
    look("/in/a", 6, 2000, "");
    CHECK_OK(job_retry(q, 1, &err), err);
    CHECK_EQ(take(), 0);
    CHECK_EQ(take_again(), 1);
    CHECK_EQ(ask("SELECT count(*) FROM job"), 1);
    queue_close(q);
}

TEST(scan, a_dead_group_is_tried_again_without_what_a_later_job_took)
{
    int64_t other;
    start();
    rules.group_files = 2;
    rules.on_change = ON_CHANGE_RELOAD;
    look("/in/a", 5, 1000, "");
    look("/in/b", 5, 1000, "");
    groups(1);
    dies(ERR_HEADER, NULL);
    look("/in/b", 6, 2000, "");
    look("/in/c", 6, 2000, "");
    groups(1);
    CHECK_OK(job_retry(q, 1, &err), err);
    CHECK_EQ(scan_other(q, "p", 1, "/in/a", &other, &err), 0);
    CHECK_EQ(scan_other(q, "p", 1, "/in/b", &other, &err), 1);
    CHECK_EQ(other, 2);
    queue_close(q);
}

TEST(scan, a_retry_decides_nothing_about_what_changed)
{
    start();
    rules.on_change = ON_CHANGE_FAIL;
    look("/in/a", 5, 1000, "");
    CHECK_EQ(take(), 1);
    dies(ERR_HEADER, NULL);
    CHECK_EQ(look("/in/a", 6, 2000, "").changed, 1);
    refuses(1, "qetlctl scan p --reload");
    accepts("**", false, "/in/a=6 ");
    refuses(1, "the next scan makes a new job of /in/a");
    CHECK_EQ(look("/in/a", 6, 2000, "").found, 1);
    CHECK_EQ(take(), 1);
    refuses(1, "job 2 has taken /in/a");
    queue_close(q);
}

TEST(scan, a_change_that_a_retried_job_finds_out_is_left_to_a_person)
{
    start();
    rules.on_change = ON_CHANGE_FAIL;
    look("/in/a", 5, 1000, "");
    CHECK_EQ(take(), 1);
    dies(ERR_HEADER, NULL);
    CHECK_OK(job_retry(q, 1, &err), err);
    CHECK_EQ(look("/in/a", 6, 2000, "").changed, 1); /* while it is ready */
    CHECK_EQ(take_again() + take(), 0);
    CHECK_OK(db_exec(queue_db(q), "UPDATE scan SET wanted = 0", &err), err);
    dies(ERR_CHANGED, "/in/a");
    CHECK_EQ(ask("SELECT state = 'dead' FROM job"), 1);
    CHECK_EQ(ask("SELECT wanted > 0 FROM scan"), 1);
    CHECK_EQ(look("/in/a", 6, 2000, "").changed, 1);
    accepts("**", true, "/in/a=6 ");
    CHECK_OK(job_retry(q, 1, &err), err); /* that version, by a person's word */
    CHECK_EQ(look("/in/a", 6, 2000, "").changed, 0);
    queue_close(q);
}
