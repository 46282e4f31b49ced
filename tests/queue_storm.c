/*
 * A storm: processes that submit, work, load and keep house on one queue are killed with SIGKILL
 * (or stopped for a while) at random moments, and others take their place. Afterwards: no submit
 * that returned is lost, no claim was given twice, every loaded job is in the target exactly once
 * and every row of the target belongs to a loaded job, jobs of a lane were loaded in order, and the
 * file is whole.
 *
 *     tests/queue_storm             3 s; QETL_STORM_S=60 for longer, QETL_STORM_SEED=N to repeat
 * the choices of the killer
 */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "io/db.h"
#include "queue/job.h"
#include "queue/registry.h"

enum { LEASE_MS = 1500, NOT_SOON = 1000000, ACKS_MAX = 200000, CLAIMS_MAX = 1000000, GROUP = 8 };

/* Memory of the parent that outlives a killed child. */
struct shared {
    int stop;
    int64_t faults; /* things that must not happen */
    char fault[512];
    int64_t nacked, nclaimed;
    char acked[ACKS_MAX][SYS_UID_LEN + 1];
    struct {
        int64_t id, token;
    } claimed[CLAIMS_MAX];
};
static struct shared *shared;
static const char *queue_path, *target_path;

static void fault(const char *what, const struct err *err)
{
    if (__atomic_fetch_add(&shared->faults, 1, __ATOMIC_SEQ_CST) == 0)
        snprintf(shared->fault, sizeof shared->fault, "%s: %s", what, err ? err->msg : "");
}

static int64_t pick(int64_t n)
{
    return (int64_t)(sys_random() % (uint64_t)n);
}
static void rest(int64_t us)
{
    nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static void note_claim(int64_t id, int64_t token)
{
    int64_t i = __atomic_fetch_add(&shared->nclaimed, 1, __ATOMIC_SEQ_CST);
    if (i < CLAIMS_MAX) {
        shared->claimed[i].token = token;
        shared->claimed[i].id = id;
    }
}

static struct queue *open_queue(void)
{
    struct err err;
    struct queue *q;
    if (queue_open(&q, queue_path, QUEUE_CREATE, &err) == 0)
        return q;
    fault("open", &err);
    _exit(1);
}

/* ---- the roles ---- */

static const char *const lanes[] = { "t.a", "t.b" };

static void submit_some(struct queue *q)
{
    struct err err;
    char uid[20][SYS_UID_LEN + 1], key[16];
    bool made[20];
    int n = 1 + (int)pick(20);
    if (queue_begin(q, &err) < 0) {
        fault("begin", &err);
        return;
    }
    for (int i = 0; i < n; i++) {
        int lane = (int)pick(4); /* none, a, b, both */
        snprintf(key, sizeof key, "u%d", (int)pick(30));
        struct job_new job = { .pipeline = pick(3) ? "p1" : "p2",
                               .target = "t",
                               .priority = pick(3) - 1,
                               .attempts_max = NOT_SOON,
                               .run_at = pick(5) ? 0 : sys_now_ms() + pick(300),
                               .unique = pick(10) ? NULL : key,
                               .lanes = lane == 2 ? &lanes[1] : lanes,
                               .nlanes = lane == 0   ? 0
                                         : lane == 3 ? 2
                                                     : 1,
                               .lane_replace = pick(40) == 0,
                               .params = STR("{}") };
        int64_t id;
        if (job_submit(q, &job, &id, uid[i], &made[i], &err) < 0) {
            fault("submit", &err);
            queue_rollback(q);
            return;
        }
    }
    if (queue_commit(q, QUEUE_NOW, &err) < 0) {
        fault("commit", &err);
        return;
    }
    for (int i = 0; i < n; i++) {
        int64_t at = __atomic_fetch_add(&shared->nacked, 1, __ATOMIC_SEQ_CST);
        if (at < ACKS_MAX && made[i])
            memcpy(shared->acked[at], uid[i], SYS_UID_LEN + 1);
    }
    queue_ring(q, BELL_READY, n);
}

static void submitter(void)
{
    struct queue *q = open_queue();
    while (!shared->stop) {
        submit_some(q);
        rest(pick(8000));
    }
    queue_close(q);
}

/* What a worker would have staged: the uid, once for each table. */
static void choose_outcome(struct finish *f, struct lease *l, struct output *out, bool calm)
{
    *f = (struct finish){
        .lease = l, .outcome = OUT_STAGED, .stage = "read", .rows_read = 1, .rows_staged = 1
    };
    int64_t dice = calm ? 0 : pick(100);
    if (dice < 80) {
        *out = (struct output){ .table = "t.a", .ext = "db", .rows = 1 };
        buf_add(&out->inlined, l->uid, SYS_UID_LEN);
        f->outputs = out;
        f->noutputs = 1;
        return;
    }
    f->outcome = dice < 90 ? OUT_FAILED : OUT_HANDED_BACK;
    if (dice < 84) {
        err_set(&f->err, ERR_FETCH, "a passing fault");
        f->backoff_ms = pick(50);
    } else {
        err_set(&f->err, dice < 87 ? ERR_HEADER : ERR_READER_CRASHED, "a fault");
    }
}

/* Finish what is held, claim anew. Returns the number now held, -1 on error. */
static int work_step(struct queue *q, int64_t worker, struct lease *held, int nheld, bool calm)
{
    struct err err;
    struct finish f[3];
    struct output out[3] = { 0 };
    struct lease next[3];
    for (int i = 0; i < nheld; i++)
        choose_outcome(&f[i], &held[i], &out[i], calm);
    int n = job_finish_claim(q, f, nheld, worker, LEASE_MS, NOT_SOON, next, 1 + (int)pick(3), &err);
    if (n < 0)
        fault("finish and claim", &err);
    for (int i = 0; i < nheld; i++) {
        output_clear(&out[i]);
        job_lease_clear(&held[i]);
    }
    for (int i = 0; i < n; i++) {
        held[i] = next[i];
        note_claim(held[i].id, held[i].token);
    }
    return n;
}

static void worker(void)
{
    struct queue *q = open_queue();
    struct err err;
    struct lease held[3];
    int64_t id;
    int n = 0;
    if (registry_join(q, "worker", "w", &id, &err) < 0)
        fault("join", &err);
    while (n >= 0) {
        n = work_step(q, id, held, n, false);
        rest(pick(3000));
        for (int i = 0; i < n; i++)
            if (pick(10) == 0 && job_renew(q, &held[i], sys_now_ms() + LEASE_MS, &err) < 0)
                fault("renew", &err);
    }
}

static bool in_ledger(sqlite3 *t, const char *uid)
{
    struct err err;
    sqlite3_stmt *st;
    if (db_prepare(t, &st, "SELECT 1 FROM ledger WHERE uid = :uid", &err) < 0) {
        fault("target", &err);
        return false;
    }
    db_bind(st, ":uid", uid);
    int rc = db_step(st, &err);
    sqlite3_finalize(st);
    return rc == 1;
}

/* Which lanes has the job? The loader of the test looks into the queue for it. */
static int check_order(struct queue *q, sqlite3 *t, const struct staged_job *j)
{
    struct err err;
    sqlite3_stmt *st, *up;
    int rc;
    if (db_prepare(queue_db(q), &st,
                   "SELECT value FROM job, json_each(job.lanes) WHERE job.id = :id", &err) < 0 ||
        db_prepare(t, &up,
                   "INSERT INTO lane VALUES (:lane, :seq) ON CONFLICT (lane) DO UPDATE SET seq = "
                   "excluded.seq "
                   "WHERE excluded.seq > seq",
                   &err) < 0) {
        fault("order", &err);
        return -1;
    }
    db_bind(st, ":id", j->id);
    while ((rc = db_step(st, &err)) == 1) {
        db_bind(up, ":lane", db_text(st, 0));
        db_bind(up, ":seq", j->seq);
        if (db_run(up, &err) < 0)
            fault("lane", &err);
        else if (sqlite3_changes(t) != 1)
            fault("an older job was loaded after a newer one", NULL);
    }
    sqlite3_finalize(st);
    sqlite3_finalize(up);
    return rc;
}

static enum load_outcome load_one(struct queue *q, sqlite3 *t, const struct staged_job *j,
                                  bool calm)
{
    struct err err;
    sqlite3_stmt *st;
    if (in_ledger(t, j->uid))
        return LOAD_LOADED;
    if (j->overtaken_by_replace)
        return LOAD_SUPERSEDED;
    if (j->overtaken || (!calm && pick(50) == 0))
        return LOAD_REFUSED;
    if (j->noutputs != 1 || j->outputs[0].inlined.n != SYS_UID_LEN ||
        memcmp(j->outputs[0].inlined.p, j->uid, SYS_UID_LEN))
        fault("the staged output is not that of the job", NULL);
    check_order(q, t, j);
    if (db_prepare(t, &st, "INSERT INTO row VALUES (:uid)", &err) < 0) {
        fault("target", &err);
        return LOAD_AWAY;
    }
    db_bind(st, ":uid", j->uid);
    if (db_run(st, &err) < 0)
        fault("target", &err);
    sqlite3_finalize(st);
    if (db_prepare(t, &st, "INSERT INTO ledger VALUES (:uid)", &err) == 0) {
        db_bind(st, ":uid", j->uid);
        if (db_run(st, &err) < 0)
            fault("ledger", &err);
    }
    sqlite3_finalize(st);
    return LOAD_LOADED;
}

/* One group: the target's transaction, then the record of it. The number of jobs, 0 none. */
static int load_step(struct queue *q, sqlite3 *t, int64_t loader, bool calm)
{
    struct err err;
    struct staged_job jobs[GROUP];
    struct load_finish f[GROUP];
    int n = job_load_expired(q, "t", loader, LEASE_MS, jobs, &err);
    if (n == 0)
        n = job_load_claim(q, "t", loader, LEASE_MS, GROUP, GROUP, 1 << 20, jobs, &err);
    if (n < 0) {
        fault("claim to load", &err);
        return -1;
    }
    if (n == 0)
        return 0;
    if (db_exec(t, "BEGIN IMMEDIATE", &err) < 0)
        fault("target", &err);
    bool away = !calm && pick(20) == 0;
    for (int i = 0; i < n; i++) {
        note_claim(jobs[i].id, jobs[i].token);
        f[i] = (struct load_finish){ .job = &jobs[i],
                                     .outcome = away ? LOAD_AWAY : load_one(q, t, &jobs[i], calm),
                                     .rows = 1,
                                     .backoff_ms = 10 };
        err_set(&f[i].err, away ? ERR_TARGET : ERR_TARGET_REFUSED, "the target says no");
    }
    bool ours = job_load_renew(q, jobs, n, sys_now_ms() + LEASE_MS, &err) ==
                1; /* who lost its lease must not commit */
    if (db_exec(t, away || !ours ? "ROLLBACK" : "COMMIT", &err) < 0)
        fault("target", &err);
    if (ours && job_load_finish(q, f, n, &err) < 0)
        fault("record", &err);
    for (int i = 0; i < n; i++)
        job_staged_clear(&jobs[i]);
    return n;
}

static sqlite3 *open_target(void)
{
    struct err err;
    sqlite3 *t = NULL;
    if (db_open(&t, target_path, DB_CREATE, &err) < 0 ||
        db_exec(t,
                "PRAGMA synchronous = OFF; CREATE TABLE IF NOT EXISTS ledger (uid PRIMARY KEY) "
                "WITHOUT ROWID;"
                "CREATE TABLE IF NOT EXISTS row (uid); CREATE TABLE IF NOT EXISTS lane (lane "
                "PRIMARY KEY, seq)",
                &err) < 0)
        fault("open the target", &err);
    return t;
}

static void loader(void)
{
    struct queue *q = open_queue();
    sqlite3 *t = open_target();
    for (int64_t id = 1000; load_step(q, t, id, false) >= 0;)
        rest(pick(3000));
}

static int count_row(void *arg, const struct job_row *r)
{
    (void)r;
    ++*(int *)arg;
    return 0;
}

static void keeper(void)
{
    struct queue *q = open_queue();
    struct err err;
    int64_t n, next, rescued;
    for (;;) {
        struct job_filter newest = { .limit = 50 };
        int rows = 0;
        if (job_promote(q, &n, &next, &err) < 0 || job_rescue(q, NOT_SOON, &rescued, &err) < 0 ||
            job_list(q, &newest, count_row, &rows, &err) < 0)
            fault("keep house", &err);
        if (pick(20) == 0 && job_retry_all(q, NULL, pick(2) ? "header" : NULL, &n, NULL, NULL, &err) < 0)
            fault("retry", &err);
        if (pick(10) == 0 && job_cancel(q, 1 + pick(2000), &err) < 0 && err.code != ERR_STATE &&
            err.code != ERR_NOT_FOUND)
            fault("cancel", &err);
        if (pick(20) == 0 && job_pause(q, "p2", pick(3) == 0, &n, &err) < 0)
            fault("pause", &err);
        rest(pick(20000));
    }
}

/* ---- the storm ---- */

static void (*const roles[])(void) = { submitter, submitter, worker, worker, worker,
                                       worker,    loader,    loader, keeper };

static pid_t begin(size_t role)
{
    pid_t pid = fork();
    if (pid == 0) {
        roles[role]();
        _exit(0);
    }
    return pid;
}

static void rage(int64_t ms, unsigned seed)
{
    pid_t pid[COUNT_OF(roles)];
    int status;
    srand(seed);
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        pid[i] = begin(i);
    for (int64_t end = sys_mono_ms() + ms; sys_mono_ms() < end;) {
        size_t i = (size_t)rand() % COUNT_OF(roles);
        rest(rand() % 30000);
        if (rand() % 4 == 0 &&
            roles[i] == worker) { /* a zombie: it goes on after its lease ran out */
            kill(pid[i], SIGSTOP);
            rest(rand() % 400000);
            kill(pid[i], SIGCONT);
            continue;
        }
        kill(pid[i], SIGKILL);
        CHECK(waitpid(pid[i], &status, 0) == pid[i]);
        CHECK(WIFSIGNALED(status)); /* else it ended by itself */
        pid[i] = begin(i);
    }
    shared->stop = 1;
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        kill(pid[i], SIGKILL);
        CHECK(waitpid(pid[i], &status, 0) == pid[i]);
    }
}

/* Whatever the storm left, one calm process brings to its end. */
static void calm_down(struct queue *q, sqlite3 *t)
{
    struct err err;
    struct lease held[3];
    struct job_left left;
    int64_t n, next;
    int nheld = 0;
    sys_clock_advance(LEASE_MS * 10);
    CHECK_OK(job_pause(q, "p2", false, &n, &err), err);
    do {
        CHECK_OK(job_rescue(q, NOT_SOON, &n, &err), err);
        CHECK_OK(job_promote(q, &n, &next, &err), err);
        nheld = work_step(q, 1, held, nheld, true);
        CHECK(nheld >= 0);
        while (load_step(q, t, 1000, true) > 0)
            ;
        CHECK_OK(job_left(q, INT64_MAX, &left, &err), err);
    } while (left.ready + left.running + left.staged + left.loading + left.later > 0);
}

static int64_t one_int(struct queue *q, const char *sql)
{
    struct err err = { 0 };
    int64_t v = -1;
    CHECK_OK(db_int(queue_db(q), sql, &v, &err), err);
    return v;
}

static int by_claim(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

static void check_claims(void)
{
    size_t n = (size_t)(shared->nclaimed < CLAIMS_MAX ? shared->nclaimed : CLAIMS_MAX);
    qsort(shared->claimed, n, sizeof shared->claimed[0], by_claim);
    for (size_t i = 1; i < n; i++)
        if (shared->claimed[i].id && !by_claim(&shared->claimed[i - 1], &shared->claimed[i]))
            fail_msg("job %lld was given twice with token %lld", (long long)shared->claimed[i].id,
                     (long long)shared->claimed[i].token);
}

static int64_t check_acks(struct queue *q)
{
    struct err err;
    sqlite3_stmt *st;
    int64_t n = 0;
    CHECK_OK(db_prepare(queue_db(q), &st, "SELECT 1 FROM job WHERE uid = :uid", &err), err);
    for (int64_t i = 0; i < shared->nacked && i < ACKS_MAX; i++) {
        if (!shared->acked[i][0] ||
            strlen(shared->acked[i]) != SYS_UID_LEN) /* a killed child's, or an open twin */
            continue;
        db_bind(st, ":uid", (const char *)shared->acked[i]);
        if (db_step(st, &err) != 1)
            fail_msg("job %s was submitted, and is lost", shared->acked[i]);
        sqlite3_reset(st);
        n++;
    }
    sqlite3_finalize(st);
    return n;
}

static void check_queue(struct queue *q)
{
    static const struct {
        const char *what, *count;
    } none[] = {
        { "a page is damaged",
          "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'" },
        { "the tally is wrong",
          "SELECT count(*) FROM (SELECT pipeline, state, jobs FROM tally WHERE jobs <> 0 EXCEPT "
          "SELECT pipeline, state, count(*) FROM job GROUP BY 1, 2)" },
        { "the tally lacks something",
          "SELECT count(*) FROM (SELECT pipeline, state, count(*) FROM job GROUP BY 1, 2 EXCEPT "
          "SELECT pipeline, state, jobs FROM tally)" },
        { "a lane is not empty", "SELECT count(*) FROM lane" },
        { "a job is not over", "SELECT count(*) FROM job WHERE state NOT IN ('loaded', "
                               "'superseded', 'cancelled', 'dead')" },
        { "a dead job has no error",
          "SELECT count(*) FROM job WHERE state = 'dead' AND id NOT IN (SELECT job FROM error)" },
        { "an output was forgotten", "SELECT count(*) FROM output" },
        { "two jobs have one place",
          "SELECT count(*) - count(DISTINCT seq) FROM job WHERE seq IS NOT NULL" },
        { "a loaded job is not in the target", "SELECT count(*) FROM job WHERE state = 'loaded' "
                                               "AND uid NOT IN (SELECT uid FROM t.ledger)" },
        { "a job in the target is not loaded", "SELECT count(*) FROM t.ledger WHERE uid NOT IN "
                                               "(SELECT uid FROM job WHERE state = 'loaded')" },
        { "a job is twice in the target", "SELECT count(*) - count(DISTINCT uid) FROM t.row" },
        { "rows and ledger differ",
          "SELECT count(*) FROM (SELECT uid FROM t.row EXCEPT SELECT uid FROM t.ledger)" },
        { "rows are missing",
          "SELECT count(*) FROM (SELECT uid FROM t.ledger EXCEPT SELECT uid FROM t.row)" },
        { "a token does not fit the attempts",
          "SELECT count(*) FROM job WHERE token <> (SELECT count(*) FROM attempt WHERE attempt.job "
          "= job.id)" },
    };
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        int64_t n = one_int(q, none[i].count);
        if (n)
            fail_msg("%s (%lld)", none[i].what, (long long)n);
    }
}

TEST(queue, survives_a_storm_of_killed_processes)
{
    const char *seconds = getenv("QETL_STORM_S"), *seed = getenv("QETL_STORM_SEED");
    unsigned first = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)sys_random();
    struct err err;
    char sql[600];
    queue_path = strdup(test_file("storm.db"));
    target_path = strdup(test_file("target.db"));
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && queue_path && target_path);
    rage(1000 * (seconds ? strtol(seconds, NULL, 10) : 3), first);
    struct queue *q = open_queue();
    sqlite3 *t = open_target();
    calm_down(q, t);
    db_close(&t);
    if (shared->faults)
        fail_msg("seed %u: %lld faults, the first: %s", first, (long long)shared->faults,
                 shared->fault);
    snprintf(sql, sizeof sql, "ATTACH '%s' AS t", target_path);
    CHECK_OK(db_exec(queue_db(q), sql, &err), err);
    check_claims();
    int64_t acked = check_acks(q), loaded = one_int(q, "SELECT count(*) FROM t.ledger");
    check_queue(q);
    print_message("# seed %u: %lld submits, %lld claims, %lld loaded, %lld superseded, %lld dead, "
                  "%lld crashes\n",
                  first, (long long)acked, (long long)shared->nclaimed, (long long)loaded,
                  (long long)one_int(q, "SELECT count(*) FROM job WHERE state = 'superseded'"),
                  (long long)one_int(q, "SELECT count(*) FROM job WHERE state = 'dead'"),
                  (long long)one_int(q, "SELECT count(*) FROM attempt WHERE outcome = 'crashed'"));
    CHECK(acked > 100 && loaded > 50); /* the storm was one */
    queue_close(q);
    munmap(shared, sizeof *shared);
    free((char *)(uintptr_t)queue_path);
    free((char *)(uintptr_t)target_path);
}
