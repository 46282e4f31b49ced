/* Columns, drift, profiles and reports; see the header. Only job_added_put(), job_added_loaded() and job_added_forget() write. */
#include "queue/drift.h"

#include <stdlib.h>

#include "io/db.h"
#include "queue/change.h"

static const char *text_or_null(sqlite3_stmt *st, int col)
{
    return (const char *)sqlite3_column_text(st, col);
}

static int one_text(sqlite3_stmt *st, char **out, struct err *err)
{
    int rc = db_step(st, err);
    if (rc == 1 && sqlite3_column_type(st, 0) == SQLITE_NULL)
        rc = 0;
    else if (rc == 1 && !column_dup(st, 0, out))
        rc = err_nomem(err);
    sqlite3_reset(st);
    return rc;
}

static int text_get(struct queue *q, enum queue_sql which, const char *recipe, char **out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, which);
    db_bind(st, ":recipe", recipe);
    return one_text(st, out, err);
}

int job_header_get(struct queue *q, const char *recipe, char **names, struct err *err)
{
    return text_get(q, SQL_HEADER_GET, recipe, names, err);
}

int job_added_get(struct queue *q, const char *recipe, char **columns, struct err *err)
{
    return text_get(q, SQL_ADDED_GET, recipe, columns, err);
}

static int added_put(struct queue *q, enum queue_sql which, const char *recipe, const struct column *c, int64_t job, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    struct column copy = *c;
    columns_print(&(struct columns){ &copy, 1 }, &text);
    if (text.failed)
        return err_nomem(err);
    sqlite3_stmt *st = queue_stmt(q, which);
    db_bind(st, ":recipe", recipe);
    db_bind(st, ":name", (const char *)c->name);
    db_bind(st, ":column", (const char *)text.p);
    db_bind(st, ":job", job);
    db_bind(st, ":now", sys_now_ms());
    return db_run(st, err);
}

static int put_all(struct queue *q, enum queue_sql which, const char *recipe, const struct columns *columns, int64_t job, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    for (int i = 0; i < columns->n; i++)
        if (added_put(q, which, recipe, &columns->v[i], job, err) < 0) {
            queue_rollback(q);
            return err_in(err, "keep the new columns of '%s'", recipe);
        }
    return queue_commit(q, QUEUE_NOW, err);
}

int job_added_put(struct queue *q, const char *recipe, const struct columns *columns, int64_t job, struct err *err)
{
    return put_all(q, SQL_ADDED_PUT, recipe, columns, job, err);
}

/* Nearly always all of them are sure, in the order in which the job had them from here. */
static int are_sure(struct queue *q, const char *recipe, const char *columns, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ADDED_SURE);
    db_bind(st, ":recipe", recipe);
    db_bind(st, ":job", job);
    int rc = db_step(st, err);
    const char *sure = rc == 1 ? text_or_null(st, 0) : NULL;
    size_t n = strlen(columns);
    bool all = sure && !strncmp(sure, columns, n) && (!sure[n] || sure[n] == ',');
    sqlite3_reset(st);
    return rc < 0 ? -1 : all;
}

int job_added_loaded(struct queue *q, const char *recipe, const char *columns, int64_t job, struct err *err)
{
    AUTO(columns_clear) struct columns all = { 0 };
    int rc = are_sure(q, recipe, columns, job, err);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    return columns_parse(&all, columns, err) < 0 ? -1 : put_all(q, SQL_ADDED_LOADED, recipe, &all, job, err);
}

static int added_forget(struct queue *q, const char *recipe, const char *name, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ADDED_FORGET);
    db_bind(st, ":recipe", recipe);
    db_bind(st, ":name", name);
    int n = change_run(q, st, err);
    if (n <= 0)
        return n;
    st = queue_stmt(q, SQL_HEADER_FORGET);
    db_bind(st, ":recipe", recipe);
    return db_run(st, err) < 0 ? -1 : 1;
}

int job_added_forget(struct queue *q, const char *recipe, const char *name, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    int rc = added_forget(q, recipe, name, err);
    if (rc < 0) {
        queue_rollback(q);
        return err_in(err, "forget column '%s' of '%s'", name, recipe);
    }
    return queue_commit(q, QUEUE_NOW, err) < 0 ? -1 : rc;
}

/* ---- reading ---- */

int job_added_list(struct queue *q, const char *recipe, int (*row)(void *arg, const struct added_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ADDED_LIST);
    db_bind(st, ":recipe", recipe);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1)
        stop = row(arg, &(struct added_row){ text_or_null(st, 0), text_or_null(st, 1), text_or_null(st, 2), sqlite3_column_int64(st, 3),
                                             sqlite3_column_int64(st, 4) });
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

struct drift_sink {
    int (*row)(void *arg, const struct drift_row *r);
    void *arg;
};

static int drift_walk(sqlite3_stmt *st, const struct drift_sink *sink, struct err *err)
{
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct drift_row r = { sqlite3_column_int64(st, 0), text_or_null(st, 1), text_or_null(st, 2),
                               text_or_null(st, 3),         text_or_null(st, 4), text_or_null(st, 5) };
        stop = sink->row(sink->arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

int job_drift(struct queue *q, int64_t id, int (*row)(void *arg, const struct drift_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_DRIFT_OF);
    db_bind(st, ":job", id);
    return drift_walk(st, &(struct drift_sink){ row, arg }, err);
}

struct tally_sink {
    int (*row)(void *arg, const struct tally_row *r);
    void *arg;
};

static int tally_walk(sqlite3_stmt *st, const struct tally_sink *sink, struct err *err)
{
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct tally_row r = { .enrich = text_or_null(st, 0),
                               .pipeline = text_or_null(st, 1),
                               .keys = sqlite3_column_int64(st, 2),
                               .cached = sqlite3_column_int64(st, 3),
                               .missed = sqlite3_column_int64(st, 4),
                               .failed = sqlite3_column_int64(st, 5),
                               .error = text_or_null(st, 6),
                               .note = text_or_null(st, 7) };
        stop = sink->row(sink->arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

int job_tally(struct queue *q, int64_t id, int (*row)(void *arg, const struct tally_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_TALLY_OF);
    db_bind(st, ":job", id);
    return tally_walk(st, &(struct tally_sink){ row, arg }, err);
}

int job_said(struct queue *q, int64_t id, char **text, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SAID_OF);
    db_bind(st, ":job", id);
    return one_text(st, text, err);
}

int job_profiles(struct queue *q, int64_t id, int (*row)(void *arg, const struct profile_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_PROFILE_OF);
    db_bind(st, ":job", id);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1)
        stop = row(arg, &(struct profile_row){ text_or_null(st, 0), text_or_null(st, 1) });
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

/* ---- reports ---- */

/* When the first job from that number on was made: 1, 0 there is none. */
static int place(struct queue *q, int64_t id, int64_t *created, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REPORT_PLACE);
    db_bind(st, ":id", id);
    int rc = db_step(st, err);
    *created = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return rc;
}

static int one_number(struct queue *q, enum queue_sql which, int64_t *n, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, which);
    int rc = db_step(st, err);
    *n = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int job_report_open(struct queue *q, int64_t *first, struct err *err)
{
    int64_t last;
    if (one_number(q, SQL_REPORT_OPEN, first, err) < 0 || one_number(q, SQL_REPORT_LAST, &last, err) < 0)
        return -1;
    *first = *first ? *first : last + 1;
    return 0;
}

/* The number of the first job that was made then or later, by bisection: numbers grow with time. */
static int first_since(struct queue *q, int64_t since, int64_t *first, struct err *err)
{
    int64_t low = 1, high, created;
    if (one_number(q, SQL_REPORT_LAST, &high, err) < 0)
        return -1;
    for (high++; low < high;) {
        int64_t mid = low + (high - low) / 2;
        int rc = place(q, mid, &created, err);
        if (rc < 0)
            return -1;
        if (rc == 1 && created < since)
            low = mid + 1;
        else
            high = mid;
    }
    *first = low;
    return 0;
}

static int choose(struct queue *q, sqlite3_stmt *st, const struct report_of *of, struct err *err)
{
    int64_t first = of->first;
    if (of->since && first_since(q, of->since, &first, err) < 0)
        return -1;
    db_bind(st, ":first", first);
    db_bind(st, ":pipeline", of->pipeline);
    if (of->ended)
        db_bind(st, ":ended", of->ended);
    return 0;
}

static int report_one(sqlite3_stmt *st, int (*row)(void *arg, const struct report_row *r), void *arg)
{
    struct report_row r = {
        .pipeline = text_or_null(st, 0),
        .jobs = sqlite3_column_int64(st, 1),
        .loaded = sqlite3_column_int64(st, 2),
        .superseded = sqlite3_column_int64(st, 3),
        .dead = sqlite3_column_int64(st, 4),
        .cancelled = sqlite3_column_int64(st, 5),
        .rows_read = sqlite3_column_int64(st, 6),
        .rows_loaded = sqlite3_column_int64(st, 7),
        .rows_rejected = sqlite3_column_int64(st, 8),
        .rows_filtered = sqlite3_column_int64(st, 9),
        .bytes_in = sqlite3_column_int64(st, 10),
        .bytes_out = sqlite3_column_int64(st, 11),
        .errors = sqlite3_column_int64(st, 12),
        .drift = sqlite3_column_int64(st, 13),
        .took_ms = sqlite3_column_int64(st, 14),
        .took = sqlite3_column_int64(st, 15),
        .took_max_ms = sqlite3_column_int64(st, 16),
        .rows_added = sqlite3_column_int64(st, 17),
    };
    return row(arg, &r);
}

int job_report(struct queue *q, const struct report_of *of, int (*row)(void *arg, const struct report_row *r), void *arg,
               struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_REPORT);
    int rc, stop = 0;
    if (choose(q, st, of, err) < 0)
        return -1;
    while (!stop && (rc = db_step(st, err)) == 1)
        stop = report_one(st, row, arg);
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

int job_report_drift(struct queue *q, const struct report_of *of, int64_t max, int (*row)(void *arg, const struct drift_row *r),
                     void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_DRIFT_SINCE);
    if (choose(q, st, of, err) < 0)
        return -1;
    db_bind(st, ":max", max);
    return drift_walk(st, &(struct drift_sink){ row, arg }, err);
}

int job_report_tally(struct queue *q, const struct report_of *of, int (*row)(void *arg, const struct tally_row *r), void *arg,
                        struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_TALLY_SINCE);
    return choose(q, st, of, err) < 0 ? -1 : tally_walk(st, &(struct tally_sink){ row, arg }, err);
}
