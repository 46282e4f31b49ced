/* queue.db: opening, the lock, commits, checkpoints, the bell; with many processes at once. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "io/db.h"
#include "queue/queue.h"

enum { MANY = 32 };

static struct queue *open_queue(const char *name)
{
    struct err err = { 0 };
    struct queue *q = NULL;
    CHECK_OK(queue_open(&q, test_file(name), QUEUE_CREATE, &err), err);
    return q;
}

static int64_t one_int(struct queue *q, const char *sql)
{
    struct err err = { 0 };
    int64_t v = -1;
    CHECK_OK(db_int(queue_db(q), sql, &v, &err), err);
    return v;
}

/* One write: a row of tally for `pipeline` grows by one. */
static int write_one(struct queue *q, const char *pipeline, enum queue_durability d,
                     struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    queue_tally(q, pipeline, "ready", 1, 0);
    return queue_commit(q, d, err);
}

/* Run fn in a child; its exit status, or 128 + signal. */
static int in_child(int (*fn)(const char *path), const char *path)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(path));
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* fn(path, i) in MANY processes at once, all let go together; gives the number of those that did
 * not exit with 0. */
static int in_many(int (*fn)(const char *path, int i), const char *path)
{
    int gate[2], bad = 0;
    pid_t pid[MANY];
    CHECK_EQ(pipe(gate), 0);
    for (int i = 0; i < MANY; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            char c;
            close(gate[1]);
            (void)!read(gate[0], &c, 1); /* until the gate is closed */
            _exit(fn(path, i));
        }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < MANY; i++) {
        int status;
        CHECK(waitpid(pid[i], &status, 0) == pid[i]);
        bad += status != 0;
    }
    return bad;
}

static int complain(const struct err *err)
{
    fprintf(stderr, "# %s [%s]\n", err->msg, err_name(err->code));
    return 1;
}

/* ---- open ---- */

TEST(queue, a_missing_database_says_to_run_init_and_leaves_no_file)
{
    struct err err = { 0 };
    struct queue *q = NULL;
    CHECK_EQ(queue_open(&q, test_file("missing.db"), 0, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE_MISSING);
    CHECK_HAS(err.msg, "qetlctl init");
    CHECK(access(test_file("missing.db-lock"), F_OK) < 0);
    CHECK(!q);
}

TEST(queue, is_made_with_its_folder_in_wal_mode_with_small_pages)
{
    struct queue *q = open_queue("new/folder/queue.db");
    struct err err = { 0 };
    sqlite3_stmt *st;
    CHECK_OK(db_prepare(queue_db(q), &st, "PRAGMA journal_mode", &err), err);
    CHECK_EQ(db_step(st, &err), 1);
    CHECK_STR(db_text(st, 0), "wal");
    CHECK_EQ(one_int(q, "PRAGMA page_size"), 2048);
    CHECK_EQ(one_int(q, "PRAGMA synchronous"), 1);
    CHECK_EQ(one_int(q, "PRAGMA wal_autocheckpoint"), 0);
    CHECK_EQ(one_int(q, "PRAGMA user_version"), 1);
    queue_close(q);
}

TEST(queue, on_a_network_file_system_is_refused)
{
    struct err err = { 0 };
    struct queue *q = NULL;
    setenv("QETL_TEST_FS", "nfs", 1);
    int rc = queue_open(&q, test_file("net.db"), QUEUE_CREATE, &err);
    unsetenv("QETL_TEST_FS");
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_NETWORK_FS);
    CHECK_HAS(err.msg, "nfs");
    CHECK(access(test_file("net.db"), F_OK) < 0);
}

TEST(queue, of_a_newer_version_is_refused_by_writers_and_readers)
{
    struct err err = { 0 };
    struct queue *q = open_queue("newer.db");
    CHECK_OK(db_exec(queue_db(q), "PRAGMA user_version = 99", &err), err);
    queue_close(q);
    CHECK_EQ(queue_open(&q, test_file("newer.db"), QUEUE_CREATE, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE_NEWER);
    CHECK_EQ(queue_open(&q, test_file("newer.db"), QUEUE_READONLY, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE_NEWER);
}

TEST(queue, of_another_build_is_refused_with_what_it_lacks)
{
    struct err err = { 0 };
    struct queue *q = open_queue("build.db");
    CHECK_OK(db_exec(queue_db(q), "DROP TABLE remote", &err), err);
    queue_close(q);
    CHECK_EQ(queue_open(&q, test_file("build.db"), QUEUE_CREATE, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE_NEWER);
    CHECK_HAS(err.msg, "not made by this build of qetl (no such table: ");
    CHECK_HAS(err_hint(err.code), "use the qetl that wrote it, that build or");
    CHECK_HAS(err_hint(err.code), "or move the file away, and qetlctl init");
}

TEST(queue, another_programs_database_is_refused)
{
    struct err err = { 0 };
    sqlite3 *db;
    struct queue *q;
    CHECK_OK(db_open(&db, test_file("other.db"), DB_CREATE, &err), err);
    CHECK_OK(db_exec(db, "CREATE TABLE cake (a)", &err), err);
    db_close(&db);
    CHECK_EQ(queue_open(&q, test_file("other.db"), QUEUE_CREATE, &err), -1);
    CHECK_HAS(err.msg, "another program");
}

TEST(queue, a_reader_reads_and_cannot_write)
{
    struct err err = { 0 };
    struct queue *q = open_queue("reader.db"), *r;
    CHECK_OK(write_one(q, "p", QUEUE_LATER, &err), err);
    CHECK_OK(queue_open(&r, test_file("reader.db"), QUEUE_READONLY, &err), err);
    CHECK_EQ(one_int(r, "SELECT jobs FROM tally"), 1);
    CHECK_EQ(db_exec(queue_db(r), "DELETE FROM tally", &err), -1);
    queue_close(r);
    queue_close(q);
}

static int create_and_write(const char *path, int i)
{
    struct err err = { 0 };
    struct queue *q;
    char name[16];
    snprintf(name, sizeof name, "p%d", i);
    if (queue_open(&q, path, QUEUE_CREATE, &err) < 0 || write_one(q, name, QUEUE_NOW, &err) < 0)
        return complain(&err);
    queue_close(q);
    return 0;
}

TEST(queue, many_processes_may_create_it_at_once)
{
    CHECK_EQ(in_many(create_and_write, test_file("race/queue.db")), 0);
    struct queue *q = open_queue("race/queue.db");
    CHECK_EQ(one_int(q, "SELECT count(*) FROM tally"), MANY);
    queue_close(q);
}

/* ---- statements ---- */

TEST(queue, no_statement_scans_the_jobs)
{
    struct queue *q = open_queue("plans.db");
    struct err err = { 0 };
    int searches = 0;
    for (int i = 0; i < QUEUE_SQLS; i++) {
        AUTO(buf_clear) struct buf sql = { 0 };
        sqlite3_stmt *st;
        CHECK(queue_stmt(q, (enum queue_sql)i) != NULL);
        buf_addf(&sql, "EXPLAIN QUERY PLAN %s", queue_sql_texts[i].sql);
        CHECK_OK(db_prepare(queue_db(q), &st, sql.p, &err), err);
        while (db_step(st, &err) == 1) {
            const char *plan = db_text(st, 3);
            bool job = !strncmp(plan, "SCAN job", 8) || !strncmp(plan, "SCAN j ", 7) ||
                       !strcmp(plan, "SCAN j");
            bool table = !strncmp(plan, "SCAN job_text", 13);
            if ((job && !strstr(plan, "INDEX job_")) ||
                table) /* an index of open jobs may be walked */
                fail_msg("%s: %s", queue_sql_texts[i].name, plan);
            searches += strstr(plan, "SEARCH j") != NULL;
        }
        sqlite3_finalize(st);
    }
    CHECK(searches > 20); /* the words of the plan are still those that we look for */
    queue_close(q);
}

/* ---- commits ---- */

TEST(queue, a_rollback_forgets_rows_and_counts)
{
    struct err err = { 0 };
    struct queue *q = open_queue("rollback.db");
    CHECK_OK(queue_begin(q, &err), err);
    queue_tally(q, "p", "ready", 5, 0);
    queue_rollback(q);
    CHECK_OK(write_one(q, "p", QUEUE_LATER, &err), err);
    CHECK_EQ(one_int(q, "SELECT jobs FROM tally"), 1);
    queue_close(q);
}

static void fault(const char *spec)
{
    setenv("QETL_FAULT", spec, 1);
    sys_faults_init();
}

static int fail_before_commit(const char *path)
{
    struct err err = { 0 };
    struct queue *q;
    fault("queue-before-commit:1:error");
    if (queue_open(&q, path, QUEUE_CREATE, &err) < 0)
        return complain(&err);
    if (write_one(q, "p", QUEUE_NOW, &err) != -1 || err.code != ERR_IO ||
        one_int(q, "SELECT count(*) FROM tally") != 0)
        return 2;
    if (write_one(q, "p", QUEUE_NOW, &err) < 0 ||
        one_int(q, "SELECT jobs FROM tally") != 1) /* the lock is free again */
        return 3;
    queue_close(q);
    return 0;
}

static int fail_sync(const char *path)
{
    struct err err = { 0 };
    struct queue *q;
    fault("queue-sync:1:error");
    if (queue_open(&q, path, QUEUE_CREATE, &err) < 0)
        return complain(&err);
    if (write_one(q, "p", QUEUE_LATER, &err) < 0) /* asks for no sync */
        return 2;
    if (write_one(q, "p", QUEUE_NOW, &err) != -1 || err.code != ERR_IO)
        return 3;
    queue_close(q);
    return 0;
}

static int die_before_commit(const char *path)
{
    struct err err = { 0 };
    struct queue *q;
    fault("queue-before-commit:1:kill");
    if (queue_open(&q, path, QUEUE_CREATE, &err) < 0)
        return complain(&err);
    write_one(q, "p", QUEUE_NOW, &err);
    return 2;
}

static int die_after_commit(const char *path)
{
    struct err err = { 0 };
    struct queue *q;
    fault("queue-after-commit:1:kill");
    if (queue_open(&q, path, QUEUE_CREATE, &err) < 0)
        return complain(&err);
    write_one(q, "p", QUEUE_NOW, &err);
    return 2;
}

TEST(queue, a_commit_that_fails_changes_nothing_and_frees_the_lock)
{
    CHECK_EQ(in_child(fail_before_commit, test_file("fail.db")), 0);
}

TEST(queue, a_commit_that_must_be_durable_fails_when_the_sync_does)
{
    CHECK_EQ(in_child(fail_sync, test_file("sync.db")), 0);
}

TEST(queue, a_killed_writer_leaves_all_or_nothing_and_no_lock)
{
    struct err err = { 0 };
    CHECK_EQ(in_child(die_before_commit, test_file("die.db")), 128 + SIGKILL);
    struct queue *q = open_queue("die.db");
    CHECK_EQ(one_int(q, "SELECT count(*) FROM tally"), 0);
    CHECK_EQ(in_child(die_after_commit, test_file("die.db")), 128 + SIGKILL);
    CHECK_EQ(one_int(q, "SELECT count(*) FROM tally"), 1);
    CHECK_OK(write_one(q, "p", QUEUE_NOW, &err), err);
    queue_close(q);
}

TEST(queue, readers_do_not_wait_for_a_writer)
{
    struct err err = { 0 };
    struct queue *q = open_queue("both.db"), *r = open_queue("both.db");
    CHECK_OK(queue_begin(q, &err), err);
    queue_tally(q, "p", "ready", 1, 0);
    CHECK_EQ(one_int(r, "SELECT count(*) FROM tally"), 0);
    CHECK_OK(queue_commit(q, QUEUE_LATER, &err), err);
    CHECK_EQ(one_int(r, "SELECT count(*) FROM tally"), 1);
    queue_close(r);
    queue_close(q);
}

TEST(queue, changed_tells_of_the_commits_of_others)
{
    struct err err = { 0 };
    struct queue *q = open_queue("changed.db"), *other = open_queue("changed.db");
    queue_changed(q);
    CHECK(!queue_changed(q));
    CHECK_OK(write_one(other, "p", QUEUE_LATER, &err), err);
    CHECK(queue_changed(q));
    CHECK(!queue_changed(q));
    queue_close(other);
    queue_close(q);
}

/* ---- checkpoints ---- */

TEST(queue, the_wal_stays_short_and_no_reader_can_make_it_grow_for_long)
{
    struct err err = { 0 };
    struct queue *q = open_queue("wal.db"), *r = open_queue("wal.db");
    for (int i = 0; i < 3000; i++)
        CHECK_OK(write_one(q, "p", QUEUE_LATER, &err), err);
    CHECK(queue_wal_bytes(q) < 4 << 20);
    /* a reader that keeps its snapshot holds the WAL open: it grows */
    CHECK_OK(db_exec(queue_db(r), "BEGIN", &err), err);
    CHECK_EQ(one_int(r, "SELECT jobs FROM tally"), 3000);
    for (int i = 0; i < 3000; i++)
        CHECK_OK(write_one(q, "p", QUEUE_LATER, &err), err);
    int64_t grown = queue_wal_bytes(q);
    CHECK_EQ(one_int(r, "SELECT jobs FROM tally"), 3000);
    CHECK_OK(db_exec(queue_db(r), "COMMIT", &err), err);
    /* when it is gone, the WAL is begun anew and grows no further */
    for (int i = 0; i < 3000; i++)
        CHECK_OK(write_one(q, "p", QUEUE_LATER, &err), err);
    CHECK(queue_wal_bytes(q) <= grown + (2 << 20));
    CHECK_EQ(one_int(q, "SELECT jobs FROM tally"), 9000);
    queue_close(r);
    queue_close(q);
}

TEST(queue, closing_keeps_what_only_the_wal_holds)
{
    struct err err = { 0 };
    struct queue *q = open_queue("keep.db");
    CHECK_OK(write_one(q, "p", QUEUE_LATER, &err), err);
    queue_close(q);
    struct stat st;
    CHECK_EQ(stat(test_file("keep.db-wal"), &st),
             0); /* no checkpoint outside the lock, also not at the last close */
    CHECK(st.st_size > 0);
    q = open_queue("keep.db");
    CHECK_EQ(one_int(q, "SELECT jobs FROM tally"), 1);
    queue_close(q);
}

/* ---- many ---- */

/* Commits of all writers together: so many make shares comparable, however long a busy machine takes for them. */
enum { STORM_COMMITS = 16000, STORM_MS = 120000 };
static _Atomic int *storm_commits; /* shared by the processes */

static int write_in_a_storm(const char *path, int i)
{
    struct err err = { 0 };
    struct queue *q;
    char name[16];
    snprintf(name, sizeof name, "p%d", i);
    if (queue_open(&q, path, 0, &err) < 0)
        return complain(&err);
    sqlite3_busy_timeout(queue_db(q), 0); /* a lock error would show at once */
    for (int64_t end = sys_mono_ms() + STORM_MS; atomic_fetch_add(storm_commits, 1) < STORM_COMMITS && sys_mono_ms() < end;)
        if (write_one(q, name, QUEUE_LATER, &err) < 0)
            return complain(&err);
    queue_close(q);
    return 0;
}

TEST(queue, many_writers_see_no_lock_error_and_each_gets_its_share)
{
    struct queue *q = open_queue("share.db");
    storm_commits = mmap(NULL, sizeof *storm_commits, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(storm_commits != MAP_FAILED);
    CHECK_EQ(in_many(write_in_a_storm, test_file("share.db")), 0);
    CHECK_EQ(one_int(q, "SELECT count(*) FROM tally"), MANY);
    int64_t least = one_int(q, "SELECT min(jobs) FROM tally"),
            mean = one_int(q, "SELECT avg(jobs) FROM tally");
    if (least * 4 < mean) /* other work on the machine takes its part of some; one that starves gets next to nothing */
        fail_msg("one of %d writers got %lld commits, the mean is %lld", MANY, (long long)least,
                 (long long)mean);
    queue_close(q);
}

/* ---- the bell ---- */

static int open_on_a_full_disk(const char *path)
{
    struct err err = { 0 };
    struct queue *q;
    fault("queue-bell:1:enospc");
    if (queue_open(&q, path, 0, &err) == 0 || err.code != ERR_DISK_FULL)
        return 2;
    fault("queue-bell:1:enospc");
    if (queue_open(&q, path, QUEUE_READONLY, &err) < 0) /* who only reads rings no bell */
        return complain(&err);
    queue_ring(q, BELL_READY, 1);
    queue_close(q);
    return 0;
}

TEST(queue, the_page_of_the_bell_has_its_room_on_the_disk)
{
    struct err err = { 0 };
    struct queue *q = open_queue("room.db");
    struct stat st;
    queue_close(q);
    CHECK_EQ(stat(test_file("room.db-bell"), &st), 0);
    CHECK(st.st_blocks > 0);
    CHECK_EQ(truncate(test_file("room.db-bell"), 0), 0); /* as a copy that keeps holes */
    CHECK_EQ(truncate(test_file("room.db-bell"), 4096), 0);
    CHECK_EQ(in_child(open_on_a_full_disk, test_file("room.db")), 0);
    CHECK_OK(queue_open(&q, test_file("room.db"), 0, &err), err);
    CHECK_EQ(stat(test_file("room.db-bell"), &st), 0);
    CHECK(st.st_blocks > 0);
    queue_close(q);
}

static int sleep_until_rung(const char *path)
{
    struct err err = { 0 };
    struct queue *q;
    if (queue_open(&q, path, 0, &err) < 0)
        return complain(&err);
    uint32_t seen = queue_bell(q, BELL_STAGED);
    queue_ring(q, BELL_DONE, 1); /* we are about to sleep */
    queue_sleep(q, BELL_STAGED, seen, 60000);
    return queue_bell(q, BELL_STAGED) == seen;
}

TEST(queue, a_ring_wakes_a_sleeper_of_another_process)
{
    struct queue *q = open_queue("bell.db");
    uint32_t before = queue_bell(q, BELL_DONE);
    int64_t start = sys_mono_ms();
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(sleep_until_rung(test_file("bell.db")));
    for (int i = 0; i < 30 && queue_bell(q, BELL_DONE) == before; i++)
        queue_sleep(q, BELL_DONE, before, 1000);
    queue_ring(q, BELL_STAGED, 1);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
    CHECK(sys_mono_ms() - start < 30000);
    queue_close(q);
}

TEST(queue, a_ring_between_looking_and_sleeping_is_not_missed)
{
    struct queue *q = open_queue("bell.db");
    uint32_t seen = queue_bell(q, BELL_READY);
    queue_ring(q, BELL_READY, 1);
    int64_t start = sys_mono_ms();
    queue_sleep(q, BELL_READY, seen, 60000);
    CHECK(sys_mono_ms() - start < 30000);
    seen = queue_bell(q, BELL_READY);
    start = sys_mono_us();
    queue_sleep(q, BELL_READY, seen, 20);
    CHECK(sys_mono_us() - start >= 19000); /* nobody rings: the time passes */
    queue_sleep(q, BELL_READY, seen, 0);
    queue_close(q);
}
