/* One job slot, step by step in this process. */
#include "test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "io/db.h"
#include "role/worker.h"
#include "role_site.h"

static const char pipelines[] = "[pipeline p]\ncolumns = id:integer!\ntable = w.t\nbackoff = 1h\nattempts = 3\n"
                                "[pipeline guess]\ntable = w.g\n"
                                "[pipeline lost]\ncolumns = id\ntable = w.l\n";

static struct worker *open_worker(void)
{
    struct worker *w;
    struct role role = { .config = site, .name = "worker" };
    CHECK_OK(worker_open(&w, &role, &err), err);
    return w;
}

static int step(struct worker *w)
{
    int did;
    CHECK_OK(worker_step(w, &did, &err), err);
    return did;
}

/* Work until nothing is claimed any more, and the outcomes are recorded. */
static void work(struct worker *w)
{
    for (int i = 0; step(w) && i < 100; i++)
        ;
}

TEST(worker, stages_what_it_claims)
{
    site_open(pipelines);
    struct worker *w = open_worker();
    CHECK_EQ(step(w), 0);
    int64_t id = site_submit("p", site_file("three.csv", "id\n1\n2\n3\n"));
    work(w);
    CHECK_STR(site_state(id), "staged");
    CHECK_EQ(site_job.staged, 3);
    worker_close(w);
    site_close();
}

TEST(worker, records_what_is_done_when_it_is_closed)
{
    site_open(pipelines);
    struct worker *w = open_worker();
    int64_t id = site_submit("p", site_file("three.csv", "id\n1\n2\n3\n"));
    CHECK_EQ(step(w), 1); /* worked, not yet told */
    CHECK_STR(site_state(id), "running");
    worker_close(w);
    CHECK_STR(site_state(id), "staged");
    site_close();
}

TEST(worker, takes_very_many_objects)
{
    enum { MANY = 1500 }; /* more than the reader's sockets hold */
    site_open(pipelines);
    AUTO(buf_clear) struct buf objects = { 0 };
    const char *one = site_file("one.csv", "id\n1\n");
    for (int i = 0; i < MANY; i++)
        buf_addf(&objects, "%s\"%s\"", i ? "," : "[", one);
    buf_adds(&objects, "]");
    struct job_new n = { .pipeline = "p", .target = "w", .objects = buf_str(&objects), .attempts_max = 1 };
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    CHECK_OK(queue_begin(site_queue, &err), err);
    CHECK_OK(job_submit(site_queue, &n, &id, uid, &made, &err), err);
    CHECK_OK(queue_commit(site_queue, QUEUE_NOW, &err), err);
    struct worker *w = open_worker();
    work(w);
    CHECK_STR(site_state(id), "staged");
    CHECK_EQ(site_job.staged, MANY);
    worker_close(w);
    site_close();
}

TEST(worker, fails_for_good_or_for_now_by_the_class_of_the_error)
{
    site_open(pipelines);
    struct worker *w = open_worker();
    int64_t missing = site_submit("p", test_file("nowhere.csv")), refused = site_submit("p", "http://127.0.0.1:9/x.csv");
    int64_t bad = site_submit("p", site_file("bad.csv", "id\nx\n"));
    work(w);
    CHECK_STR(site_state(missing), "dead");
    CHECK_HAS(site_job.message, "nowhere.csv");
    CHECK_STR(site_state(bad), "dead");
    CHECK_STR(site_job.code, "rejects");
    CHECK_STR(site_state(refused), "ready");
    CHECK_EQ(site_job.attempts, 1);
    CHECK_HAS(site_job.message, "127.0.0.1:9/x.csv");
    worker_close(w);
    site_close();
}

TEST(worker, a_job_whose_pipeline_is_gone_dies_and_says_so)
{
    site_open(pipelines);
    int64_t id = site_submit("lost", site_file("three.csv", "id\n1\n2\n3\n"));
    CHECK_OK(db_exec(queue_db(site_queue), "UPDATE job SET pipeline = 'removed'", &err), err);
    struct worker *w = open_worker();
    work(w);
    CHECK_STR(site_state(id), "dead");
    CHECK_HAS(site_job.message, "removed");
    worker_close(w);
    site_close();
}

TEST(worker, infers_columns_once_and_keeps_them)
{
    site_open(pipelines);
    struct worker *w = open_worker();
    int64_t first = site_submit("guess", site_file("first.csv", "n,on\n1,2026-01-01\n2,2026-01-02\n"));
    work(w);
    CHECK_STR(site_state(first), "staged");
    AUTO(free_charp) char *columns = NULL;
    CHECK_EQ(job_columns_get(site_queue, "guess", &columns, &err), 1);
    CHECK_HAS(columns, "n:integer");
    int64_t second = site_submit("guess", site_file("second.csv", "n,on\nx,2026-01-01\n"));
    work(w);
    CHECK_STR(site_state(second), "dead"); /* by the columns of the first */
    worker_close(w);
    site_close();
}

/* A process that cancels the job, as somebody else would, once it runs. */
static pid_t cancel_when_it_runs(int64_t id)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct queue *q;
    struct err e;
    sqlite3_stmt *running = NULL;
    (void)alarm(60);
    if (queue_open(&q, site->database, 0, &e) < 0 ||
        sqlite3_prepare_v2(queue_db(q), "SELECT 1 FROM job WHERE id = ?1 AND state = 'running'", -1, &running, NULL) != SQLITE_OK)
        _exit(1);
    sqlite3_bind_int64(running, 1, id);
    while (sqlite3_step(running) != SQLITE_ROW) {
        sqlite3_reset(running);
        usleep(10000);
    }
    sqlite3_finalize(running);
    _exit(job_cancel(q, id, &e) < 0);
}

TEST(worker, gives_a_cancelled_job_up_though_nothing_comes)
{
    site_open(pipelines);
    struct worker *w = open_worker();
    char command[300], port[16] = "";
    /* a server that sends a header and then nothing for a long time */
    snprintf(command, sizeof command,
             "python3 -c \"import socket,time\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen();print(s.getsockname()[1],flush=True)\n"
             "c=s.accept()[0];c.recv(9999);c.send(b'HTTP/1.0 200 OK\\r\\n\\r\\nid\\n');time.sleep(600)\" & echo $!");
    FILE *f = popen(command, "r");
    char pid[16] = "", one[16], uri[64];
    for (int i = 0; i < 2 && fgets(one, sizeof one, f); i++)
        snprintf(*pid ? port : pid, 16, "%d", atoi(one));
    if (!*port)
        skip();
    snprintf(uri, sizeof uri, "http://127.0.0.1:%s/x.csv", port);
    int64_t id = site_submit("p", uri);
    pid_t canceller = cancel_when_it_runs(id);
    int64_t begin = sys_mono_ms();
    CHECK(canceller > 0);
    CHECK_EQ(step(w), 1);
    CHECK(sys_mono_ms() - begin < 30000); /* and not by stall_timeout, which is a minute */
    CHECK_EQ(step(w), 0);
    CHECK_STR(site_state(id), "cancelled");
    int status;
    CHECK_EQ(waitpid(canceller, &status, 0), canceller);
    CHECK_EQ(status, 0);
    kill((pid_t)atoi(pid), SIGKILL);
    pclose(f);
    worker_close(w);
    site_close();
}

TEST(worker, that_lost_its_lease_records_and_removes_nothing)
{
    site_open(pipelines);
    struct worker *late = open_worker();
    /* large enough for a file in the spool */
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id\n");
    for (int i = 0; i < 100000; i++)
        buf_addf(&text, "%d\n", i);
    int64_t id = site_submit("p", site_file("large.csv", text.p));
    CHECK_EQ(step(late), 1); /* staged in the spool, not told */
    CHECK_OK(db_exec(queue_db(site_queue), "UPDATE job SET lease_until = 0", &err), err);
    struct worker *next = open_worker();
    work(next);
    CHECK_STR(site_state(id), "staged");
    CHECK_EQ(site_job.attempts, 2);
    CHECK_EQ(step(late), 0); /* tells its outcome: too late */
    char path[400];
    snprintf(path, sizeof path, "%s/staged/%s.2/0.db", site->spool, site_job.uid);
    struct stat st;
    CHECK_EQ(stat(path, &st), 0);
    worker_close(late);
    CHECK_EQ(stat(path, &st), 0);
    worker_close(next);
    site_close();
}

TEST(worker, that_cannot_tell_whether_it_holds_the_job_publishes_nothing)
{
    site_open(pipelines);
    struct worker *w = open_worker();
    AUTO(buf_clear) struct buf text = { 0 };
    buf_adds(&text, "id\n");
    for (int i = 0; i < 100000; i++)
        buf_addf(&text, "%d\n", i);
    int64_t id = site_submit("p", site_file("large.csv", text.p));
    site_fault("queue-lease:1:error");
    CHECK_EQ(step(w), 1);
    site_fault(NULL);
    site_state(id);
    char path[400];
    snprintf(path, sizeof path, "%s/staged/%s.1", site->spool, site_job.uid);
    struct stat st;
    CHECK_EQ(stat(path, &st), -1);
    worker_close(w);
    CHECK_STR(site_state(id), "ready");
    CHECK_STR(site_job.code, "io");
    site_close();
}

TEST(worker, a_failed_start_leaves_standard_input_alone)
{
    struct worker *w;
    struct stat st;
    site_open(pipelines);
    struct role role = { .config = site, .name = "worker" };
    site_file("in_the_way", "");
    site->spool = (char *)test_file("in_the_way/spool");
    CHECK_EQ(worker_open(&w, &role, &err), -1);
    CHECK_EQ(fstat(0, &st), 0);
    site_close();
}
