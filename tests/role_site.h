/* For tests of roles: a site (ini, queue, spool, warehouse) in the test's folder. */
#ifndef QETL_TEST_ROLE_SITE_H
#define QETL_TEST_ROLE_SITE_H

#include <sqlite3.h>

#include "base/log.h"
#include "io/config.h"
#include "queue/job.h"
#include "role/submission.h"

static struct config *site;
static struct queue *site_queue;
static struct err err;

/* A new one with these pipelines, on target "w". */
__attribute__((unused)) static void site_open(const char *pipelines)
{
    static int number;
    char name[32], dir[200];
    log_init(LOG_NOTHING, LOG_TEXT, "test");
    snprintf(name, sizeof name, "site%d", number++);
    snprintf(dir, sizeof dir, "%s", test_file(name));
    CHECK_OK(sys_mkdirs(dir, &err), err);
    snprintf(name, sizeof name, "%s.ini", strrchr(dir, '/') + 1);
    FILE *f = fopen(test_file(name), "w");
    fprintf(f,
            "[qetl]\ndatabase = %s/queue.db\nspool = %s/spool\n[worker]\nlease = 60s\nheartbeat = 1s\n[target w]\n"
            "url = sqlite://%s/w.db\n%s",
            dir, dir, dir, pipelines);
    fclose(f);
    CHECK_OK(config_load(&site, test_file(name), NULL, &err), err);
    CHECK_OK(queue_open(&site_queue, site->database, QUEUE_CREATE, &err), err);
}

__attribute__((unused)) static void site_close(void)
{
    queue_close(site_queue);
    config_free(site);
}

/* "<test_dir>/<name>" with that text. */
__attribute__((unused)) static const char *site_file(const char *name, const char *text)
{
    FILE *f = fopen(test_file(name), "w");
    fputs(text, f);
    fclose(f);
    return test_file(name);
}

/* The job's number. uri: NULL for the pipeline's source. */
__attribute__((unused)) static int64_t site_submit(const char *pipeline, const char *uri)
{
    AUTO(submission_clear) struct submission s = { .job = { .pipeline = pipeline } };
    AUTO(buf_clear) struct buf objects = { 0 };
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    if (uri)
        CHECK_OK(submission_object(&s, &objects, uri, &err), err);
    CHECK_OK(submission_resolve(&s, site, &err), err);
    CHECK_OK(queue_begin(site_queue, &err), err);
    CHECK_OK(job_submit(site_queue, &s.job, &id, uid, &made, &err), err);
    CHECK_OK(queue_commit(site_queue, QUEUE_NOW, &err), err);
    return id;
}

static struct {
    char state[16], uid[SYS_UID_LEN + 1], code[40], message[400];
    int64_t attempts, crashes, loaded, staged;
} site_job;

__attribute__((unused)) static int site_keep(void *arg, const struct job_row *r)
{
    (void)arg;
    snprintf(site_job.state, sizeof site_job.state, "%s", r->state);
    snprintf(site_job.uid, sizeof site_job.uid, "%s", r->uid);
    snprintf(site_job.code, sizeof site_job.code, "%s", r->error_code ? r->error_code : "");
    snprintf(site_job.message, sizeof site_job.message, "%s", r->error ? r->error : "");
    site_job.attempts = r->attempts;
    site_job.crashes = r->crashes;
    site_job.loaded = r->rows_loaded;
    site_job.staged = r->rows_staged;
    return 0;
}

/* Its state now; the rest is in site_job. */
__attribute__((unused)) static const char *site_state(int64_t id)
{
    struct job_filter f = { .id = id, .limit = 1 };
    CHECK_OK(job_list(site_queue, &f, site_keep, NULL, &err), err);
    return site_job.state;
}

/* A number out of the warehouse. */
__attribute__((unused)) static int64_t site_count(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    const char *path = strstr(site->targets[0].url, "//") + 2;
    CHECK_EQ(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

__attribute__((unused)) static void site_fault(const char *spec)
{
    setenv("QETL_FAULT", spec ? spec : "none:1:error", 1);
    sys_faults_init();
}

#endif
