/*
 * How an attempt ends: staged, failed, handed back, put off, or with its worker (rescue). What it
 * leaves is written here: outputs, objects, errors, counters, and when the job may go on.
 *
 * Invariants: a change names the fencing token of the lease it acts for, so that who lost a lease
 * changes nothing; each change, its attempt, its error and the counters are one transaction. If
 * power fails: a stage that was told is on disk; a failure may be forgotten, and is then redone by
 * the next worker.
 */
#include <limits.h>

#include "base/json.h"
#include "base/text.h"
#include "io/db.h"
#include "queue/change.h"
#include "queue/claim.h"
#include "queue/gate.h"

/* ---- finish ---- */

/* What one call changed, for the bells and the registry. */
struct settled {
    struct work_count count;
    int staged, ready, ended;
    bool opened; /* a gate of others */
    int64_t now;
};

static int64_t object_time(const char *modified)
{
    struct str s = str_of(modified);
    int64_t us;
    if (!modified || (!text_timestamp_fmt(s, "%a, %d %b %Y %H:%M:%S GMT", NULL, &us) &&
                      !text_timestamp(s, NULL, &us)))
        return 0;
    return us / 1000;
}

static int write_objects(struct queue *q, const struct finish *f, struct err *err)
{
    if (f->nobjects == 0)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_OBJECTS_FORGET); /* those of an earlier attempt */
    db_bind(st, ":job", f->lease->id);
    if (db_run(st, err) < 0)
        return -1;
    for (int i = 0; i < f->nobjects; i++) {
        int64_t at = object_time(f->objects[i].modified);
        st = queue_stmt(q, SQL_OBJECT);
        db_bind(st, ":job", f->lease->id);
        db_bind(st, ":number", i);
        db_bind(st, ":uri", f->objects[i].uri);
        db_bind(st, ":size", f->objects[i].size);
        db_bind(st, ":etag", f->objects[i].etag);
        db_bind(st, ":modified", f->objects[i].modified);
        if (at)
            db_bind(st, ":modified_at", at);
        if (*f->objects[i].sha256)
            db_bind(st, ":sha256", (const char *)f->objects[i].sha256);
        if (f->objects[i].same_as)
            db_bind(st, ":same_as", f->objects[i].same_as);
        if (db_run(st, err) < 0)
            return -1;
    }
    return 0;
}

int job_content(struct queue *q, const char *pipeline, const char *sha256, int64_t self, int64_t *job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CONTENT_GET);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":sha256", sha256);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc;
    int state = job_state_by_name(db_text(st, 1));
    *job = sqlite3_column_int64(st, 0);
    bool undone = sqlite3_column_int(st, 2);
    sqlite3_reset(st);
    if (*job == self)
        return 0;
    return state == JOB_LOADED && !undone ? 1 : state == JOB_STAGED || state == JOB_LOADING ? 2 : 0;
}

/* Is what was decided about the contents of its objects still so? 1, 0, -1. */
static int contents_hold(struct queue *q, const struct finish *f, struct err *err)
{
    for (int i = 0; i < f->nobjects; i++) {
        const struct job_object *o = &f->objects[i];
        int64_t job;
        if (!*o->sha256 || o->same_as == f->lease->id)
            continue;
        int rc = job_content(q, f->lease->pipeline, o->sha256, f->lease->id, &job, err);
        if (rc < 0 || rc != (o->same_as ? 1 : 0))
            return rc < 0 ? -1 : 0;
    }
    return 1;
}

static int write_contents(struct queue *q, const struct finish *f, struct err *err)
{
    for (int i = 0; i < f->nobjects; i++) {
        if (!*f->objects[i].sha256 || f->objects[i].same_as)
            continue;
        sqlite3_stmt *st = queue_stmt(q, SQL_CONTENT_PUT);
        db_bind(st, ":pipeline", (const char *)f->lease->pipeline);
        db_bind(st, ":sha256", (const char *)f->objects[i].sha256);
        db_bind(st, ":job", f->lease->id);
        if (db_run(st, err) < 0)
            return -1;
    }
    return 0;
}

static const char *const output_kinds[] = { [OUTPUT_ROWS] = "rows", [OUTPUT_REJECTS] = "rejects" };

static int write_output(struct queue *q, const struct lease *l, const struct output *o, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_OUTPUT);
    db_bind(st, ":job", l->id);
    db_bind(st, ":token", l->token);
    db_bind(st, ":number", o->number);
    db_bind(st, ":kind", output_kinds[o->kind]);
    db_bind(st, ":table", (const char *)o->table);
    db_bind(st, ":ext", (const char *)o->ext);
    db_bind(st, ":rows", o->rows);
    db_bind(st, ":bytes", o->bytes);
    db_bind(st, ":in_file", o->in_file);
    db_bind(st, ":checksum", (int64_t)o->checksum);
    db_bind(st, ":spec", o->spec);
    if (!o->in_file)
        db_bind_blob(st, ":inlined", o->inlined.p, o->inlined.n);
    return db_run(st, err);
}

static int64_t in_files(const struct finish *f)
{
    int64_t bytes = 0;
    for (int i = 0; i < f->noutputs; i++)
        bytes += f->outputs[i].in_file ? f->outputs[i].bytes : 0;
    return bytes;
}

/* What the next job of the pipeline is to reserve. */
static int learn_need(struct queue *q, const struct finish *f, struct err *err)
{
    int64_t need = in_files(f) + f->spooled;
    if (!queue_spool(q)->quota)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_PIPELINE_NEED);
    db_bind(st, ":pipeline", (const char *)f->lease->pipeline);
    db_bind(st, ":need", need > 0 ? need : 1);
    return db_run(st, err);
}

/* A list or a text about the job in the place of what an earlier claim told, if there was one. NULL: nothing. */
static int write_list(struct queue *q, const struct lease *l, enum queue_sql forget, enum queue_sql put, const char *name, const char *list,
                      struct err *err)
{
    if (!list && l->token <= 1)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, forget);
    db_bind(st, ":job", l->id);
    int rc = db_run(st, err);
    if (rc < 0 || !list)
        return rc;
    st = queue_stmt(q, put);
    db_bind(st, ":job", l->id);
    db_bind(st, name, list);
    return db_run(st, err);
}

/* What a run, also one that failed, found of its columns, what became of its enrichments, and what its programs said. */
static int write_told(struct queue *q, const struct finish *f, struct err *err)
{
    return write_list(q, f->lease, SQL_DRIFT_FORGET, SQL_DRIFT_PUT, ":findings", f->drift, err) < 0 ||
                   write_list(q, f->lease, SQL_TALLY_FORGET, SQL_TALLY_PUT, ":report", f->tally, err) < 0
               ? -1
               : write_list(q, f->lease, SQL_SAID_FORGET, SQL_SAID_PUT, ":text", f->said, err);
}

static int write_part(struct queue *q, const struct lease *l, const struct job_part *p, struct err *err)
{
    if (p->header) {
        sqlite3_stmt *st = queue_stmt(q, SQL_HEADER_PUT);
        db_bind(st, ":recipe", p->recipe);
        db_bind(st, ":names", p->header);
        db_bind(st, ":job", l->id);
        if (db_run(st, err) < 0)
            return -1;
    }
    if (!p->profile)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_PROFILE_PUT);
    db_bind(st, ":job", l->id);
    db_bind(st, ":recipe", p->recipe);
    db_bind(st, ":document", p->profile);
    return db_run(st, err);
}

static int write_found(struct queue *q, const struct finish *f, struct err *err)
{
    for (int i = 0; i < f->nparts; i++)
        if (write_part(q, f->lease, &f->parts[i], err) < 0)
            return err_in(err, "columns of '%s'", f->parts[i].recipe);
    return write_told(q, f, err);
}

/* What the job met with holds all that ask the same; and what it went first for is known now. */
static int finish_hold(struct queue *q, const struct finish *f, struct settled *s, struct err *err)
{
    if (f->hold.name) {
        sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_HOLD_PUT);
        db_bind(st, ":enrich", f->hold.name);
        db_bind(st, ":now", s->now);
        db_bind(st, ":until", f->hold.until);
        db_bind(st, ":server", (int)f->hold.server);
        db_bind(st, ":why", f->hold.why);
        if (db_run(st, err) < 0)
            return -1;
    }
    if (!f->lease->probes)
        return 0;
    s->opened = true;
    return run_probed(q, f->lease->pipeline, f->outcome == OUT_STAGED, f->hold.name, s->now, err);
}

static int finish_staged(struct queue *q, struct finish *f, struct settled *s, struct err *err)
{
    const struct lease *l = f->lease;
    sqlite3_stmt *st = queue_stmt(q, SQL_FINISH_STAGED);
    db_bind(st, ":id", l->id);
    db_bind(st, ":token", l->token);
    db_bind(st, ":now", s->now);
    db_bind(st, ":rows_read", f->rows_read);
    db_bind(st, ":rows_staged", f->rows_staged);
    db_bind(st, ":rows_rejected", f->rows_rejected);
    db_bind(st, ":rows_filtered", f->rows_filtered);
    db_bind(st, ":rows_added", f->rows_added);
    db_bind(st, ":bytes_in", f->bytes_in);
    db_bind(st, ":bytes_out", f->bytes_out);
    db_bind(st, ":spool", in_files(f));
    int rc = db_step(st, err);
    if (rc <= 0) {
        f->lost = rc == 0;
        return rc;
    }
    struct change c = {
        .id = l->id,
        .token = l->token,
        .attempts = l->attempt,
        .state = JOB_RUNNING,
        .worker = sqlite3_column_int64(st, 0),
        .claimed = sqlite3_column_int64(st, 1),
        .pipeline = l->pipeline,
    };
    if (db_run(st, err) < 0)
        return -1;
    for (int i = 0; i < f->noutputs; i++)
        if (write_output(q, l, &f->outputs[i], err) < 0)
            return err_in(err, "output %d", f->outputs[i].number);
    if (write_objects(q, f, err) < 0 || write_contents(q, f, err) < 0 || learn_need(q, f, err) < 0 || write_found(q, f, err) < 0 ||
        (f->event && event_staged(q, l->id, f->event, err) < 0) ||
        change_attempt(q, &c, "work", "staged", f->signal, f->peak_rss, err) < 0 || finish_hold(q, f, s, err) < 0)
        return -1;
    change_tally(q, &c, JOB_STAGED, 0);
    s->staged++;
    s->count.processed++;
    s->count.succeeded++;
    s->count.rows += f->rows_staged;
    s->count.bytes += f->bytes_in;
    return 0;
}

static int back_to_ready(struct queue *q, const struct change *c, int64_t attempts, int64_t wait_ms,
                         struct settled *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_FINISH_READY);
    db_bind(st, ":id", c->id);
    db_bind(st, ":token", c->token);
    db_bind(st, ":due", wait_ms <= 0);
    db_bind(st, ":run_at", s->now + (wait_ms > 0 ? wait_ms : 0));
    db_bind(st, ":attempts", attempts);
    db_bind(st, ":crashes", c->crashes);
    if (db_run(st, err) < 0)
        return -1;
    change_tally(q, c, JOB_READY, 0);
    s->ready += wait_ms <= 0;
    return 0;
}

/* An attempt came to nothing: write it down, then try again (after wait_ms) or give up. c->crashes
 * counts this one already. */
static int attempt_failed(struct queue *q, const struct change *c, bool crashed,
                          int64_t crashes_max, const struct err *why, const char *stage, const char *detail, int signal,
                          int64_t peak_rss, int64_t wait_ms, struct settled *s, struct err *err)
{
    bool again = crashed ? c->crashes < crashes_max : err_class(why->code) == ERR_TRANSIENT;
    if (change_attempt(q, c, "work", crashed ? "crashed" : "failed", signal, peak_rss, err) < 0 ||
        change_error(q, c, stage, why, detail, err) < 0)
        return -1;
    if (again && c->attempts < c->attempts_max)
        return back_to_ready(q, c, c->attempts, wait_ms, s, err);
    s->ended++;
    return change_dead(q, c, err);
}

/* A job that died of its rejects: what they are, with the counts. */
static int keep_rejects(struct queue *q, const struct finish *f, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_DEAD_REJECTS);
    db_bind(st, ":id", f->lease->id);
    db_bind(st, ":rows_read", f->rows_read);
    db_bind(st, ":rows_rejected", f->rows_rejected);
    db_bind(st, ":bytes_in", f->bytes_in);
    db_bind(st, ":bytes_out", f->bytes_out);
    int dead = change_run(q, st, err);
    for (int i = 0; dead > 0 && i < f->noutputs; i++)
        if (write_output(q, f->lease, &f->outputs[i], err) < 0)
            return err_in(err, "rejects");
    return dead < 0 ? -1 : 0;
}

/* Its object is cut off: the job waits for it. 1; 0 it has waited for long enough, or nobody looks; -1. */
static int wait_for_whole(struct queue *q, const struct finish *f, const struct change *c, struct settled *s, struct err *err)
{
    if (!f->whole_wait_ms || f->err.code != ERR_TRUNCATED)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_WHOLE_UNTIL);
    db_bind(st, ":id", c->id);
    db_bind(st, ":wait", f->whole_wait_ms);
    int rc = db_step(st, err);
    int64_t until = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    if (rc <= 0 || until <= s->now)
        return rc < 0 ? -1 : 0;
    if (change_attempt(q, c, "work", "failed", f->signal, f->peak_rss, err) < 0 ||
        change_error(q, c, f->stage, &f->err, f->detail, err) < 0)
        return -1;
    return back_to_ready(q, c, c->attempts - 1, until - s->now, s, err) < 0 ? -1 : 1;
}

/* Is it as the scan gave it to the job? 1 it is not known to be otherwise, 0 nobody lists it, -1. */
static int seen_by_scan(struct queue *q, const struct finish *f, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LISTED);
    db_bind(st, ":pipeline", (const char *)f->lease->pipeline);
    db_bind(st, ":uri", f->changed);
    db_bind(st, ":job", f->lease->id);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

static int was_retried(struct queue *q, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_RETRIED);
    db_bind(st, ":job", job);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

static int want_listing(struct queue *q, const struct finish *f, const struct settled *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_WANT);
    db_bind(st, ":pipeline", (const char *)f->lease->pipeline);
    db_bind(st, ":now", s->now);
    return db_run(st, err);
}

/* The job is dead, and a listing tells a person that its object is another one. 1, -1. */
static int leave_to_person(struct queue *q, const struct finish *f, const struct change *c, struct settled *s, struct err *err)
{
    s->ended++;
    return want_listing(q, f, s, err) < 0 || change_attempt(q, c, "work", "failed", f->signal, f->peak_rss, err) < 0 ||
                   change_error(q, c, f->stage, &f->err, f->detail, err) < 0 || change_dead(q, c, err) < 0
               ? -1
               : 1;
}

/* Its object is another one: the scanner is asked to look, and the job waits for it. 1; 0 nobody lists it; -1. */
static int wait_for_listing(struct queue *q, const struct finish *f, const struct change *c, struct settled *s, struct err *err)
{
    if (!f->changed || f->err.code != ERR_CHANGED)
        return 0;
    int rc = seen_by_scan(q, f, err);
    if (rc <= 0)
        return rc;
    rc = f->person ? was_retried(q, c->id, err) : 0;
    if (rc)
        return rc < 0 ? -1 : leave_to_person(q, f, c, s, err);
    sqlite3_stmt *st = queue_stmt(q, SQL_LISTED_AGAIN); /* no row: it waits already */
    db_bind(st, ":pipeline", (const char *)f->lease->pipeline);
    db_bind(st, ":uri", f->changed);
    db_bind(st, ":job", f->lease->id);
    if (db_run(st, err) < 0)
        return -1;
    if (want_listing(q, f, s, err) < 0 || change_attempt(q, c, "work", "failed", f->signal, f->peak_rss, err) < 0 ||
        change_error(q, c, f->stage, &f->err, f->detail, err) < 0)
        return -1;
    return back_to_ready(q, c, c->attempts - 1, JOB_SETTLES_MS, s, err) < 0 ? -1 : 1;
}

/* What it waits for is in the error log, once, however often it comes to it. */
static int tell_wait(struct queue *q, const struct finish *f, const struct change *c, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ERROR_TOLD);
    db_bind(st, ":job", c->id);
    db_bind(st, ":code", err_name(f->err.code));
    db_bind(st, ":message", (const char *)f->err.msg);
    int told = db_step(st, err);
    sqlite3_reset(st);
    return told ? told : change_error(q, c, f->stage, &f->err, NULL, err);
}

/* The server asked to be left alone for a while. */
static int hold_remote(struct queue *q, const struct finish *f, const struct settled *s, struct err *err)
{
    if (f->err.retry_after_ms <= 0 || f->hold.name) /* which is another server's word */
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_REMOTE_HOLD);
    db_bind(st, ":job", f->lease->id);
    db_bind(st, ":until", s->now + (int64_t)f->err.retry_after_ms);
    db_bind(st, ":why", (const char *)f->err.msg);
    return db_run(st, err);
}

/* Its server asks it to wait: behind the gate of its remote, or, where it has none, by itself. 1; 0 it asks for no wait, or for too much; -1. */
static int wait_for_server(struct queue *q, const struct finish *f, const struct change *c, struct settled *s, struct err *err)
{
    if (f->err.retry_after_ms <= 0 || f->hold.name || err_class(f->err.code) != ERR_TRANSIENT)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_WAITED);
    db_bind(st, ":id", c->id);
    db_bind(st, ":ms", f->err.retry_after_ms > JOB_WAITED_MIN_MS ? (int64_t)f->err.retry_after_ms : (int64_t)JOB_WAITED_MIN_MS);
    db_bind(st, ":most", JOB_WAITED_MAX_MS);
    int rc = db_step(st, err);
    if (rc <= 0)
        return rc;
    bool gate = sqlite3_column_int(st, 0);
    if (db_run(st, err) < 0 || tell_wait(q, f, c, err) < 0 || hold_remote(q, f, s, err) < 0 ||
        change_attempt(q, c, "work", "handed-back", f->signal, f->peak_rss, err) < 0)
        return -1;
    return back_to_ready(q, c, c->attempts - 1, gate ? 0 : f->err.retry_after_ms, s, err) < 0 ? -1 : 1;
}

/* How long the job itself stays away, where no gate keeps it: what held it is over by now, or somebody with another ini says what its
 * pipeline asks. -1. */
static int64_t wait_ms(struct queue *q, const struct finish *f, const struct settled *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_ENRICH_HOLD_OF);
    db_bind(st, ":pipeline", (const char *)f->lease->pipeline);
    db_bind(st, ":now", s->now);
    int rc = db_step(st, err);
    bool gate = rc == 1 && sqlite3_column_int64(st, 1) > s->now;
    sqlite3_reset(st);
    int64_t left = f->hold.until - s->now;
    return rc < 0 ? -1 : gate ? 0 : left > f->backoff_ms ? left : f->backoff_ms;
}

/* It counts as no attempt. */
static int goes_back(struct queue *q, const struct finish *f, const struct change *c, struct settled *s, struct err *err)
{
    int64_t wait = f->held_by_twin ? f->backoff_ms : 0;
    if (f->outcome == OUT_WAITS && (tell_wait(q, f, c, err) < 0 || (wait = wait_ms(q, f, s, err)) < 0))
        return -1;
    return change_attempt(q, c, "work", "handed-back", f->signal, f->peak_rss, err) < 0
               ? -1
               : back_to_ready(q, c, c->attempts - 1, wait, s, err);
}

static int finish_unstaged(struct queue *q, struct finish *f, int64_t crashes_max,
                           struct settled *s, struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, f->lease->id, &c, err);
    if (rc < 0)
        return -1;
    if (rc == 0 || c.state != JOB_RUNNING || c.token != f->lease->token) {
        f->lost = 1;
        return 0;
    }
    if (finish_hold(q, f, s, err) < 0)
        return -1;
    if (f->outcome != OUT_FAILED)
        return goes_back(q, f, &c, s, err);
    bool crashed = f->err.code == ERR_READER_CRASHED;
    c.crashes += crashed;
    s->count.processed++;
    s->count.failed++;
    int waits = wait_for_whole(q, f, &c, s, err);
    if (!waits)
        waits = wait_for_listing(q, f, &c, s, err);
    if (!waits)
        waits = wait_for_server(q, f, &c, s, err);
    if (waits)
        return waits < 0 ? -1 : 0;
    if (attempt_failed(q, &c, crashed, crashes_max, &f->err, f->stage, f->detail, f->signal, f->peak_rss,
                       f->backoff_ms, s, err) < 0 ||
        hold_remote(q, f, s, err) < 0 || write_told(q, f, err) < 0)
        return -1;
    return f->noutputs ? keep_rejects(q, f, err) : 0;
}

static int finish_one(struct queue *q, struct finish *f, int64_t crashes_max, struct settled *s,
                      struct err *err)
{
    f->lost = 0;
    int holds = f->outcome == OUT_STAGED ? contents_hold(q, f, err) : 1;
    f->held_by_twin = holds == 0;
    if (f->held_by_twin)
        f->outcome = OUT_HANDED_BACK;
    int rc = holds < 0 ? -1 : f->outcome == OUT_STAGED ? finish_staged(q, f, s, err)
                                      : finish_unstaged(q, f, crashes_max, s, err);
    int state = rc == 0 && f->lost ? claim_state(q, f->lease, err) : LEASE_OURS;
    f->cancelled = state == LEASE_CANCELLED;
    return rc < 0 || state < 0 ? err_in(err, "finish job %s", f->lease->uid) : 0;
}

/* ---- finish and claim ---- */

/* Finishes and claims, inside the transaction. The number claimed, or -1 with all leases cleared.
 */
static int finish_claim_inside(struct queue *q, struct finish *finishes, int nfinishes,
                               int64_t worker, int64_t lease_ms, int64_t crashes_max,
                               struct lease *leases, int max, struct settled *s, struct err *err)
{
    for (int i = 0; i < nfinishes; i++)
        if (finish_one(q, &finishes[i], crashes_max, s, err) < 0)
            return -1;
    if (change_worker(q, worker, &s->count, err) < 0)
        return -1;
    return max > 0 ? claim_jobs(q, worker, s->now, s->now + lease_ms, leases, max, err) : 0;
}

static void ring_settled(struct queue *q, const struct settled *s)
{
    if (s->staged)
        queue_ring(q, BELL_STAGED, INT_MAX);
    if (s->ready || s->opened)
        queue_ring(q, BELL_READY, s->opened ? INT_MAX : s->ready);
    if (s->ended)
        queue_ring(q, BELL_DONE, INT_MAX);
}

int job_finish_claim(struct queue *q, struct finish *finishes, int nfinishes, int64_t worker,
                     int64_t lease_ms, int64_t crashes_max, struct lease *leases, int max,
                     struct err *err)
{
    if (nfinishes == 0) {
        int64_t opens;
        int rc = max > 0 ? job_claimable(q, &opens, err) : 0;
        if (rc <= 0)
            return rc;
    }
    if (queue_begin(q, err) < 0)
        return -1;
    struct settled s = { .now = sys_now_ms() };
    int n = finish_claim_inside(q, finishes, nfinishes, worker, lease_ms, crashes_max, leases, max,
                                &s, err);
    if (n < 0) {
        queue_rollback(q);
        return -1;
    }
    if (queue_commit(q, s.staged ? QUEUE_NOW : QUEUE_LATER, err) < 0) {
        claim_forget(leases, n);
        return -1;
    }
    ring_settled(q, &s);
    return n;
}

/* ---- leases that ran out ---- */

static int rescue_one(struct queue *q, int64_t id, int64_t crashes_max, struct settled *s,
                      struct err *err)
{
    AUTO(change_clear) struct change c = { 0 };
    int rc = change_read(q, id, &c, err);
    if (rc <= 0)
        return rc;
    struct err why;
    if (change_crashed(q, id, &why, err) < 0)
        return -1;
    c.crashes++;
    struct work_count count = { .processed = 1, .failed = 1 };
    if (change_worker(q, c.worker, &count, err) < 0)
        return -1;
    return attempt_failed(q, &c, true, crashes_max, &why, "work", NULL, 0, 0, 0, s, err);
}

static int rescue_batch(struct queue *q, struct ids *ids, int64_t crashes_max, struct settled *s,
                        struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_EXPIRED);
    db_bind(st, ":now", s->now);
    db_bind(st, ":max", CHANGE_BATCH);
    if (ids_collect(ids, st, err) < 0)
        return -1;
    for (int i = 0; i < ids->n; i++)
        if (rescue_one(q, ids->v[i], crashes_max, s, err) < 0)
            return err_in(err, "take back job %lld", (long long)ids->v[i]);
    return 0;
}

int job_rescue(struct queue *q, int64_t crashes_max, int64_t *rescued, struct err *err)
{
    AUTO(ids_clear) struct ids ids = { 0 };
    *rescued = 0;
    for (;;) {
        struct settled s = { .now = sys_now_ms() };
        sqlite3_stmt *st = queue_stmt(q, SQL_EXPIRED_ANY);
        db_bind(st, ":now", s.now);
        int rc = change_any(st, err);
        if (rc <= 0)
            return rc;
        if (queue_begin(q, err) < 0)
            return -1;
        if (rescue_batch(q, &ids, crashes_max, &s, err) < 0) {
            queue_rollback(q);
            return -1;
        }
        if (queue_commit(q, QUEUE_LATER, err) < 0)
            return -1;
        *rescued += ids.n;
        ring_settled(q, &s);
    }
}
