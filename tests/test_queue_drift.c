/* What the queue keeps of columns: written with the outcome of a job, told by job and by pipeline, gone with it. */
#include "queue_site.h"

#include "queue/drift.h"

enum { LEASE = 60000, CRASHES = 3 };

static int64_t submit(const char *pipeline)
{
    return submit_job(&(struct job_new){ .pipeline = pipeline, .target = "t", .attempts_max = 3 });
}

/* Work on the next job; the outcome of *f. */
static void work(struct finish *f)
{
    struct lease l;
    CHECK_EQ(job_finish_claim(q, NULL, 0, worker, LEASE, CRASHES, &l, 1, &err), 1);
    f->lease = &l;
    f->stage = "read";
    CHECK_OK(job_finish_claim(q, f, 1, worker, LEASE, CRASHES, NULL, 0, &err), err);
    CHECK(!f->lost);
    job_lease_clear(&l);
}

static void stage(const char *drift, const char *header, const char *profile)
{
    struct job_part part = { "p.a", header, profile };
    struct finish f = { .outcome = OUT_STAGED, .drift = drift, .parts = &part, .nparts = 1, .rows_read = 10, .rows_staged = 8, .rows_rejected = 2 };
    work(&f);
}

static struct buf told;

static int tell_drift(void *arg, const struct drift_row *r)
{
    (void)arg;
    buf_addf(&told, "%lld %s %s %s %s %s; ", (long long)r->job, r->kind, r->pipeline, r->column ? r->column : "-",
             r->member ? r->member : "-", r->detail);
    return 0;
}

static int tell_profile(void *arg, const struct profile_row *r)
{
    (void)arg;
    buf_addf(&told, "%s %s; ", r->pipeline, r->document);
    return 0;
}

static int tell_report(void *arg, const struct report_row *r)
{
    (void)arg;
    buf_addf(&told, "%s %lld %lld %lld %lld; ", r->pipeline, (long long)r->jobs, (long long)r->rows_read, (long long)r->errors,
             (long long)r->drift);
    return 0;
}

static const char *drift_of(int64_t id)
{
    buf_clear(&told);
    buf_adds(&told, "");
    CHECK_OK(job_drift(q, id, tell_drift, NULL, &err), err);
    return told.p;
}

static const char *report(struct report_of of)
{
    buf_clear(&told);
    buf_adds(&told, "");
    CHECK_OK(job_report(q, &of, tell_report, NULL, &err), err);
    return told.p;
}

#define NEW(column) "{\"kind\":\"new\",\"pipeline\":\"p\",\"column\":\"" column "\",\"member\":\"m\",\"detail\":\"ignored\"}"

TEST(queue_drift, is_written_with_the_outcome_and_replaced_by_the_next_try)
{
    start();
    int64_t id = submit("p");
    struct finish f = { .outcome = OUT_FAILED, .drift = "[" NEW("a") "," NEW("b") "]" };
    err_set(&f.err, ERR_IO, "the disk");
    work(&f);
    CHECK_STR(drift_of(id), "1 new p a m ignored; 1 new p b m ignored; ");
    stage("[" NEW("c") ",{\"kind\":\"missing\",\"pipeline\":\"p\",\"column\":null,\"member\":null,\"detail\":\"and 3 more\"}]", NULL, NULL);
    CHECK_STR(drift_of(id), "1 new p c m ignored; 1 missing p - - and 3 more; ");
    queue_close(q);
}

TEST(queue_drift, a_try_without_any_takes_those_of_the_one_before_away)
{
    start();
    int64_t id = submit("p");
    struct finish f = { .outcome = OUT_FAILED, .drift = "[" NEW("a") "]" };
    err_set(&f.err, ERR_IO, "the disk");
    work(&f);
    stage(NULL, NULL, NULL);
    CHECK_STR(drift_of(id), "");
    queue_close(q);
}

/* What the programs of the job said; "": nothing. */
static const char *said_of(int64_t id)
{
    char *text = NULL;
    buf_clear(&told);
    buf_adds(&told, "");
    CHECK_OK(job_said(q, id, &text, &err), err);
    buf_adds(&told, text ? text : "");
    free(text);
    return told.p;
}

TEST(queue_drift, what_programs_said_is_that_of_the_last_try_and_goes_with_the_job)
{
    start();
    int64_t n, id = submit("p");
    struct finish failed = { .outcome = OUT_FAILED, .said = "one" }, staged = { .outcome = OUT_STAGED, .said = "two\nlines" };
    err_set(&failed.err, ERR_IO, "the disk");
    work(&failed);
    CHECK_STR(said_of(id), "one");
    work(&staged);
    CHECK_STR(said_of(id), "two\nlines");
    int64_t quiet = submit("p");
    stage(NULL, NULL, NULL);
    CHECK_STR(said_of(quiet), "");
    CHECK_OK(db_int(queue_db(q), "SELECT count(*) FROM said", &n, &err), err);
    CHECK_EQ(n, 1);
    CHECK_OK(job_cancel(q, id, &err), err);
    CHECK_OK(job_prune(q, &(struct prune){ .before = INT64_MAX }, &n, &err), err);
    CHECK_EQ(n, 1);
    CHECK_STR(said_of(id), "");
    id = submit("p");
    failed.said = "three";
    work(&failed);
    failed.said = NULL;
    work(&failed);
    CHECK_STR(said_of(id), "");
    queue_close(q);
}

static int tell_added(void *arg, const struct added_row *r)
{
    (void)arg;
    buf_addf(&told, "%s %s %s %lld; ", r->recipe, r->name, r->column, (long long)r->job);
    return 0;
}

static const char *added(const char *recipe)
{
    buf_clear(&told);
    buf_adds(&told, "");
    CHECK_OK(job_added_list(q, recipe, tell_added, NULL, &err), err);
    return told.p;
}

TEST(queue_drift, a_column_that_is_forgotten_takes_the_header_with_it)
{
    struct columns some = { 0 };
    char *text;
    start();
    submit("p");
    stage(NULL, "{\"names\":[\"x\"]}", NULL);
    CHECK_OK(columns_parse(&some, "x:integer?, y:text?", &err), err);
    CHECK_OK(job_added_put(q, "p.a", &some, 1, &err), err);
    CHECK_OK(job_added_put(q, "p.b", &some, 2, &err), err);
    CHECK_STR(added("p.a"), "p.a x x:integer? 1; p.a y y:text? 1; ");
    CHECK_EQ(job_added_forget(q, "p.a", "z", &err), 0);
    CHECK_EQ(job_header_get(q, "p.a", &text, &err), 1);
    free(text);
    CHECK_EQ(job_added_forget(q, "p.a", "X", &err), 1);
    CHECK_EQ(job_header_get(q, "p.a", &text, &err), 0);
    CHECK_STR(added(NULL), "p.a y y:text? 1; p.b x x:integer? 2; p.b y y:text? 2; ");
    columns_clear(&some);
    queue_close(q);
}

TEST(queue_drift, what_a_job_brought_that_is_not_loaded_is_forgotten)
{
    struct columns x = { 0 }, y = { 0 };
    char *text;
    struct finish dead = { .outcome = OUT_FAILED };
    start();
    CHECK_OK(columns_parse(&x, "x:integer?", &err), err);
    CHECK_OK(columns_parse(&y, "y:text?", &err), err);
    submit("p");
    stage(NULL, "{\"names\":[\"x\"]}", NULL);
    CHECK_OK(job_added_put(q, "p.a", &x, 1, &err), err);
    int64_t id = submit("p");
    CHECK_OK(job_added_put(q, "p.a", &y, id, &err), err);
    err_set(&dead.err, ERR_HEADER, "of the last member");
    work(&dead);
    CHECK_STR(added(NULL), "p.a x x:integer? 1; ");
    CHECK_EQ(job_header_get(q, "p.a", &text, &err), 0); /* y is news when it comes again */
    CHECK_OK(job_added_put(q, "p.a", &y, id, &err), err); /* its worker comes late */
    CHECK_STR(added(NULL), "p.a x x:integer? 1; ");
    CHECK_OK(job_cancel(q, 1, &err), err);
    CHECK_STR(added(NULL), "");
    columns_clear(&x);
    columns_clear(&y);
    queue_close(q);
}

TEST(queue_drift, a_job_that_is_loaded_answers_for_what_its_table_got)
{
    struct columns x = { 0 };
    start();
    CHECK_OK(columns_parse(&x, "x:integer?, y:text?", &err), err);
    int64_t first = submit("p"), second = submit("p"), third = submit("p");
    CHECK_OK(job_added_put(q, "p.a", &x, first, &err), err);
    CHECK_OK(job_added_loaded(q, "p.a", "x:integer?", second, &err), err); /* it had only x */
    CHECK_STR(added(NULL), "p.a x x:integer? 2; p.a y y:text? 1; ");
    CHECK_OK(job_added_loaded(q, "p.a", "x:integer?", second, &err), err);
    CHECK_OK(job_cancel(q, first, &err), err);
    CHECK_STR(added(NULL), "p.a x x:integer? 2; ");
    CHECK_OK(job_added_loaded(q, "p.a", "x:integer?, y:text?", third, &err), err); /* y was of the one that was cancelled */
    CHECK_STR(added(NULL), "p.a x x:integer? 3; p.a y y:text? 3; ");
    columns_clear(&x);
    queue_close(q);
}

TEST(queue_drift, headers_and_added_columns_stay)
{
    start();
    char *text = NULL;
    CHECK_EQ(job_header_get(q, "p.a", &text, &err), 0);
    submit("p");
    stage(NULL, "{\"names\":[\"a\"]}", NULL);
    submit("p");
    stage(NULL, "{\"names\":[\"b\"]}", NULL);
    CHECK_EQ(job_header_get(q, "p.a", &text, &err), 1);
    CHECK_STR(text, "{\"names\":[\"b\"]}");
    free(text);
    struct columns one = { 0 }, two = { 0 };
    CHECK_OK(columns_parse(&one, "x:integer?, \"odd, name\":date? from \"N\"", &err), err);
    CHECK_OK(columns_parse(&two, "X:text?, y:real?", &err), err);
    CHECK_EQ(job_added_get(q, "p", &text, &err), 0);
    CHECK_OK(job_added_put(q, "p", &one, 1, &err), err);
    CHECK_OK(job_added_put(q, "p", &two, 2, &err), err); /* x is there already */
    CHECK_OK(job_added_put(q, "other", &two, 2, &err), err);
    CHECK_EQ(job_added_get(q, "p", &text, &err), 1);
    CHECK_STR(text, "x:integer?, \"odd, name\":date? from N, y:real?");
    free(text);
    columns_clear(&one);
    columns_clear(&two);
    queue_close(q);
}

TEST(queue_drift, a_report_finds_jobs_by_the_time_they_were_made)
{
    start();
    for (int i = 0; i < 20; i++)
        submit(i % 2 ? "odd" : "even");
    for (int i = 0; i < 20; i++)
        stage(i == 3 ? "[" NEW("a") "]" : NULL, NULL, NULL);
    struct err e;
    CHECK_OK(db_exec(queue_db(q), "UPDATE job SET created = id * 1000; DELETE FROM job WHERE id IN (1, 7, 8, 20)", &e), e);
    CHECK_STR(report((struct report_of){ 0 }), "even 8 80 0 0; odd 8 80 0 1; ");
    CHECK_STR(report((struct report_of){ .since = 1 }), "even 8 80 0 0; odd 8 80 0 1; ");
    CHECK_STR(report((struct report_of){ .since = 7000 }), "even 6 60 0 0; odd 5 50 0 0; ");
    CHECK_STR(report((struct report_of){ .since = 9000 }), "even 6 60 0 0; odd 5 50 0 0; ");
    CHECK_STR(report((struct report_of){ .since = 9001, .pipeline = "even" }), "even 5 50 0 0; ");
    CHECK_STR(report((struct report_of){ .since = 19000 }), "even 1 10 0 0; ");
    CHECK_STR(report((struct report_of){ .since = 19001 }), "");
    queue_close(q);
}

TEST(queue_drift, who_drains_finds_what_ended_meanwhile)
{
    start();
    int64_t first;
    CHECK_OK(job_report_open(q, &first, &err), err);
    CHECK_EQ(first, 1);
    submit("p");
    submit("p");
    CHECK_OK(job_report_open(q, &first, &err), err);
    CHECK_EQ(first, 1);
    stage(NULL, NULL, NULL);
    struct err e;
    CHECK_OK(db_exec(queue_db(q), "UPDATE job SET state = 'loading', lease_until = 1 WHERE id = 1;"
                                  "UPDATE job SET state = 'loaded', lease_until = NULL, finished = 5000 WHERE id = 1", &e), e);
    CHECK_OK(job_report_open(q, &first, &err), err);
    CHECK_EQ(first, 2);
    CHECK_STR(report((struct report_of){ .first = 1, .ended = 5000 }), "p 1 10 0 0; ");
    CHECK_STR(report((struct report_of){ .first = 1, .ended = 5001 }), "");
    queue_close(q);
}

TEST(queue_drift, findings_and_profiles_go_with_their_job)
{
    start();
    int64_t id = submit("p");
    stage("[" NEW("a") "]", "{}", "{\"rows\":8}");
    buf_clear(&told);
    CHECK_OK(job_profiles(q, id, tell_profile, NULL, &err), err);
    CHECK_STR(told.p, "p.a {\"rows\":8}; ");
    buf_clear(&told);
    CHECK_OK(job_report_drift(q, &(struct report_of){ 0 }, 10, tell_drift, NULL, &err), err);
    CHECK_STR(told.p, "1 new p a m ignored; ");
    CHECK_OK(job_cancel(q, id, &err), err);
    int64_t n;
    CHECK_OK(job_prune(q, &(struct prune){ .before = INT64_MAX }, &n, &err), err);
    CHECK_EQ(n, 1);
    CHECK_STR(drift_of(id), "");
    CHECK_OK(job_profiles(q, id, tell_profile, NULL, &err), err);
    CHECK_STR(told.p, "");
    int64_t headers;
    CHECK_OK(db_int(queue_db(q), "SELECT count(*) FROM header", &headers, &err), err);
    CHECK_EQ(headers, 1);
    buf_clear(&told);
    queue_close(q);
}
