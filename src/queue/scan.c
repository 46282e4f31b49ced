/* What was seen at the sources. See scan.h. */
#include "queue/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "io/db.h"

/* ---- the right to scan ---- */

/* Is whoever has the lease gone for sure? The row of SQL_SCAN_LEASE_READ. */
static bool holder_gone(sqlite3_stmt *st)
{
    char host[256];
    sys_host(host, sizeof host, NULL, 0);
    if (!sqlite3_column_int(st, 6) || !*db_text(st, 2))
        return true;
    return !strcmp(db_text(st, 2), host) && sqlite3_column_int64(st, 5) == sys_process_namespace() &&
           !sys_process_there(sqlite3_column_int64(st, 3), sqlite3_column_int64(st, 4));
}

static int lease_take(struct queue *q, int64_t worker, int64_t lease_ms, struct scan_lease *out, char holder[64], struct err *err)
{
    int64_t now = sys_now_ms();
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_LEASE_READ);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc < 0 ? -1 : err_set(err, ERR_DATABASE, "the table scan_lease has no row");
    int64_t token = sqlite3_column_int64(st, 0), until = sqlite3_column_int64(st, 1);
    /* an end that is further away than any lease lasts was written by a clock that has been set back since */
    bool held = until >= now && until <= now + 10 * lease_ms && !holder_gone(st);
    snprintf(holder, 64, "%s", db_text(st, 7));
    sqlite3_reset(st);
    if (held)
        return 0;
    st = queue_stmt(q, SQL_SCAN_LEASE_TAKE);
    db_bind(st, ":worker", worker);
    db_bind(st, ":until", now + lease_ms);
    db_bind(st, ":token", token);
    if (db_step(st, err) != 1)
        return -1;
    *out = (struct scan_lease){ sqlite3_column_int64(st, 0), lease_ms };
    return db_run(st, err) < 0 ? -1 : 1;
}

int scan_lease_take(struct queue *q, int64_t worker, int64_t lease_ms, struct scan_lease *out, char holder[64], struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    int rc = lease_take(q, worker, lease_ms, out, holder, err);
    if (rc <= 0)
        queue_rollback(q);
    else if (queue_commit(q, QUEUE_LATER, err) < 0)
        rc = -1;
    return rc < 0 ? err_in(err, "take the right to scan") : rc;
}

/* Inside a transaction. */
static int lease_renew(struct queue *q, const struct scan_lease *l, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_LEASE_KEEP);
    db_bind(st, ":token", l->token);
    db_bind(st, ":until", sys_now_ms() + l->ms);
    if (db_run(st, err) < 0)
        return -1;
    return sqlite3_changes(queue_db(q)) ? 0 : err_set(err, ERR_LEASE_LOST, "another scanner has the right to scan");
}

/* A transaction that holds the lease; every one of those below is framed by these two. */
static int begin(struct queue *q, const struct scan_lease *l, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    if (lease_renew(q, l, err) == 0)
        return 0;
    queue_rollback(q);
    return -1;
}

static int end(struct queue *q, int rc, struct err *err)
{
    if (rc < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_LATER, err);
}

int scan_lease_keep(struct queue *q, const struct scan_lease *l, struct err *err)
{
    return begin(q, l, err) < 0 ? -1 : end(q, 0, err);
}

int scan_lease_drop(struct queue *q, const struct scan_lease *l, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_LEASE_DROP);
    db_bind(st, ":token", l->token);
    return end(q, db_run(st, err), err);
}

/* ---- the state of a scan ---- */

static struct scan_row row_read(sqlite3_stmt *st)
{
    return (struct scan_row){
        .id = sqlite3_column_int64(st, 0),
        .pipeline = db_text(st, 1),
        .source = db_text(st, 2),
        .number = sqlite3_column_int64(st, 3),
        .wanted = sqlite3_column_int64(st, 4),
        .next_at = sqlite3_column_int64(st, 5),
        .again_at = sqlite3_column_int64(st, 6),
        .slot = sqlite3_column_int64(st, 7),
        .covered = sqlite3_column_int64(st, 8),
        .started = sqlite3_column_int64(st, 9),
        .finished = sqlite3_column_int64(st, 10),
        .listed = sqlite3_column_int64(st, 11),
        .found = sqlite3_column_int64(st, 12),
        .changed = sqlite3_column_int64(st, 13),
        .waiting = sqlite3_column_int64(st, 14),
        .taken = sqlite3_column_int64(st, 15),
        .failures = sqlite3_column_int64(st, 16),
        .code = db_text(st, 17),
        .message = db_text(st, 18),
        .era = sqlite3_column_int64(st, 19),
        .cursor_glob = sqlite3_column_int64(st, 20),
        .cursor = db_text(st, 21),
        .failed_since = sqlite3_column_int64(st, 22),
        .after_failures = sqlite3_column_int64(st, 23),
        .after_code = db_text(st, 24),
        .after_message = db_text(st, 25),
    };
}

int scan_rows(struct queue *q, int (*row)(void *arg, const struct scan_row *r), void *arg, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ROWS);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct scan_row r = row_read(st);
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

/* 1 and the row without its texts; *same: is the source still that one? */
static int row_of(struct queue *q, const char *pipeline, const char *source, struct scan_row *out, bool *same, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ROWS);
    db_bind(st, ":pipeline", pipeline);
    int rc = db_step(st, err);
    if (rc == 1) {
        *out = row_read(st);
        *same = !strcmp(out->source, source);
        out->pipeline = out->source = out->code = out->message = out->cursor = out->after_code = out->after_message = NULL;
        sqlite3_reset(st);
    }
    return rc;
}

int scan_get(struct queue *q, const struct scan_lease *l, const char *pipeline, const char *source, bool wanted, struct scan_row *out,
             struct err *err)
{
    bool same;
    int rc = row_of(q, pipeline, source, out, &same, err);
    if (rc < 0 || (rc == 1 && same))
        return rc < 0 ? -1 : 0;
    if (begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_MAKE);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":source", source);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":wanted", wanted ? sys_now_ms() : 0);
    rc = db_run(st, err);
    if (rc >= 0 && (rc = row_of(q, pipeline, source, out, &same, err)) == 0)
        rc = err_set(err, ERR_DATABASE, "the row of its scan is not there");
    return end(q, rc, err) < 0 ? err_in(err, "scan of '%s'", pipeline) : 0;
}

int scan_find(struct queue *q, const char *pipeline, struct scan_row *out, struct err *err)
{
    bool same;
    return row_of(q, pipeline, "", out, &same, err);
}

int scan_want(struct queue *q, const char *pipeline, struct err *err)
{
    if (queue_begin(q, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_WANT);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":now", sys_now_ms());
    int rc = db_run(st, err), there = sqlite3_changes(queue_db(q));
    return end(q, rc, err) < 0 ? -1 : there;
}

/* ---- one listing ---- */

enum what { WHAT_NEW, WHAT_OPEN, WHAT_KNOWN, WHAT_CHANGED };
enum reads { READS_OVER, READS_YET, READS_NOW };
struct before {
    enum what what;
    bool same;         /* the version */
    int64_t looks, since, boot, era, job, accepted;
    enum reads reads;  /* of what is not known: the job that was made of it; OVER: none was */
    int64_t others;    /* READS_YET: so often the job found another version than the one that was listed */
};

/* A time that was known to the minute may be told to the day by now. */
static bool same_time(int64_t known, const struct scan_object *o)
{
    return known == o->mtime_ms || (known > o->mtime_ms && known - o->mtime_ms < o->mtime_step_ms);
}

/* Weak or not (RFC 9110, 8.8.3.2): Apache calls the tag of a file weak for its first second, and then strong. */
static const char *opaque(const char *etag)
{
    return strncmp(etag, "W/\"", 3) ? etag : etag + 2;
}

static bool same_version(sqlite3_stmt *st, const struct scan_object *o)
{
    int64_t size = sqlite3_column_int64(st, 1), mtime = sqlite3_column_int64(st, 2);
    const char *etag = db_text(st, 3);
    return (size < 0 || o->size < 0 || size == o->size) && (!mtime || !o->mtime_ms || same_time(mtime, o)) &&
           (!*etag || !*o->etag || !strcmp(opaque(etag), opaque(o->etag)));
}

/* Has the job that was made of the object read it? With on_change = fail one that was retried has: another version is for a person. */
static int reads_of(struct queue *q, const struct scan_rules *r, struct before *b, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_READS);
    db_bind(st, ":job", b->job);
    int rc = b->job && b->what != WHAT_KNOWN ? db_step(st, err) : 0;
    if (rc == 1) {
        bool retried = sqlite3_column_int(st, 2);
        b->reads = (enum reads)sqlite3_column_int(st, 0);
        b->others = sqlite3_column_int64(st, 1);
        if (retried && b->what == WHAT_CHANGED && r->on_change == ON_CHANGE_FAIL)
            b->reads = READS_OVER;
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

/* What is known of the object. 0 or -1. */
static int before_of(struct queue *q, int64_t scan, const struct scan_rules *r, const struct scan_object *o, struct before *b, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GET);
    db_bind(st, ":scan", scan);
    db_bind(st, ":uri", o->uri);
    int rc = db_step(st, err);
    *b = (struct before){ 0 };
    if (rc != 1)
        return rc;
    bool taken = !strcmp(db_text(st, 0), "taken");
    b->same = same_version(st, o);
    b->what = !taken && sqlite3_column_int64(st, 4) == 0 && sqlite3_column_int64(st, 8) == 0 ? WHAT_NEW /* a person said so */
              : !taken ? WHAT_OPEN : b->same ? WHAT_KNOWN : WHAT_CHANGED;
    b->looks = sqlite3_column_int64(st, 4);
    b->since = sqlite3_column_int64(st, 5);
    b->boot = sqlite3_column_int64(st, 6);
    b->era = sqlite3_column_int64(st, 7);
    b->job = sqlite3_column_int64(st, 8);
    b->accepted = sqlite3_column_int64(st, 9);
    sqlite3_reset(st);
    return reads_of(q, r, b, err);
}

/* Will it be taken, when it is whole? */
static bool may_be_taken(const struct scan_rules *r, const struct before *b)
{
    return b->what == WHAT_NEW || b->what == WHAT_OPEN ||
           (b->what == WHAT_CHANGED && (b->reads == READS_YET || (b->reads == READS_OVER && r->on_change == ON_CHANGE_RELOAD)));
}

enum { READS_AGAIN_MS = 1000 /* a job reads it: look again so soon */ };

static void again_in(struct scan_count *count, int64_t ms)
{
    if (ms < 1)
        ms = 1;
    if (!count->again_ms || ms < count->again_ms)
        count->again_ms = ms;
}

static int64_t age_of(const struct scan_object *o, int64_t elapsed)
{
    int64_t now = sys_now_ms(), age = o->mtime_ms && o->mtime_ms <= now ? now - o->mtime_ms : 0;
    return age < elapsed ? elapsed : age; /* a time in the future, or none: the clock here, or there, is wrong */
}

static bool is_settled(const struct scan_rules *r, const struct scan_object *o, int64_t elapsed, int64_t looks)
{
    return !r->settle_ms || o->whole || (looks > 1 && elapsed >= r->settle_ms);
}

/* Is it whole by now, `elapsed` ms after it was seen at this version for the first of `looks` times? */
static bool is_whole(const struct scan_rules *r, const struct scan_object *o, int64_t elapsed, int64_t looks, struct scan_count *count)
{
    int64_t age = age_of(o, elapsed);
    bool settled = is_settled(r, o, elapsed, looks);
    bool old = age >= r->min_age_ms;
    if (!settled)
        again_in(count, r->settle_ms - elapsed);
    if (!old)
        again_in(count, r->min_age_ms - age);
    return settled && old && o->marked;
}

/* It is there in this era, too. */
static int note_there(struct queue *q, const struct scan_row *s, const struct scan_object *o, const struct before *b, struct err *err)
{
    if (b->era == s->era)
        return 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_THERE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", o->uri);
    db_bind(st, ":era", s->era);
    return db_run(st, err);
}

/* A job that has not read its object yet waits for it to be whole. */
static int hold_job(struct queue *q, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_HOLD);
    db_bind(st, ":job", job);
    db_bind(st, ":run_at", sys_now_ms() + JOB_SETTLES_MS);
    return db_run(st, err);
}

/* How the object of a job that found others in its place has to settle. */
static struct scan_rules rules_again(const struct scan_rules *r, int64_t others)
{
    struct scan_rules again = *r;
    int64_t ms = r->backoff_ms > 1000 ? r->backoff_ms : 1000;
    if (others < 2)
        return again;
    for (int64_t i = 2; i < others && ms < r->backoff_max_ms; i++)
        ms *= 2;
    ms = ms < r->backoff_max_ms ? ms : r->backoff_max_ms;
    again.settle_ms = again.settle_ms > ms ? again.settle_ms : ms;
    return again;
}

/* It was renamed into its place, which says no more where others were found there. */
static struct scan_object object_again(const struct scan_object *o, int64_t others)
{
    struct scan_object again = *o;
    again.whole &= others < 2;
    return again;
}

/* For a person to decide about: the version that was listed. */
static int note_changed(struct queue *q, const struct scan_row *s, const struct scan_object *o, struct scan_count *count, struct err *err)
{
    if (!*count->changed_uri)
        snprintf(count->changed_uri, sizeof count->changed_uri, "%s", o->uri);
    sqlite3_stmt *st = queue_stmt(q, SQL_CHANGED_PUT);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", o->uri);
    db_bind(st, ":size", o->size);
    db_bind(st, ":mtime", o->mtime_ms);
    db_bind(st, ":etag", o->etag);
    db_bind(st, ":looked", s->number);
    return db_run(st, err);
}

/* Write down what there is to write of an object, by what is known of it now, in the transaction. */
static int note(struct queue *q, const struct scan_row *s, const struct scan_rules *r, const struct scan_object *o,
                struct scan_count *count, struct err *err)
{
    struct before b;
    if (before_of(q, s->id, r, o, &b, err) < 0)
        return -1;
    if (b.what == WHAT_KNOWN)
        return note_there(q, s, o, &b, err);
    if (b.what == WHAT_CHANGED && b.reads == READS_NOW) /* the next listing knows what came of it */
        return note_there(q, s, o, &b, err);
    bool unread = b.reads == READS_YET, changed = b.what == WHAT_CHANGED && !unread;
    if (unread && hold_job(q, b.job, err) < 0)
        return -1;
    count->found += b.what == WHAT_NEW;
    count->changed += changed;
    if (changed && r->on_change != ON_CHANGE_RELOAD) {
        if (r->on_change == ON_CHANGE_FAIL && note_changed(q, s, o, count, err) < 0)
            return -1;
        return note_there(q, s, o, &b, err);
    }
    int64_t mono = sys_mono_ms(), boot = sys_boot();
    bool goes_on = b.what == WHAT_OPEN && b.same && b.boot == boot && b.since <= mono;
    int64_t since = goes_on ? b.since : mono, looks = goes_on ? b.looks + 1 : 1;
    const struct scan_rules rules = rules_again(r, b.others);
    const struct scan_object object = object_again(o, b.others);
    bool whole = is_whole(&rules, &object, mono - since, looks, count);
    count->waiting += !whole;
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_PUT);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", o->uri);
    db_bind(st, ":size", o->size);
    db_bind(st, ":mtime", o->mtime_ms);
    db_bind(st, ":etag", o->etag);
    db_bind(st, ":state", whole ? "ready" : "waiting");
    db_bind(st, ":looked", s->number);
    db_bind(st, ":looks", looks);
    db_bind(st, ":since", since);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":boot", boot);
    db_bind(st, ":params", o->params);
    db_bind(st, ":era", s->era);
    return db_run(st, err);
}

static int note_page(struct queue *q, const struct scan_row *s, const struct scan_page *page, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_CURSOR);
    db_bind(st, ":id", s->id);
    db_bind(st, ":cursor", page->cursor);
    db_bind(st, ":glob", page->glob);
    return db_run(st, err);
}

int scan_look(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
              struct scan_object *objects, int n, const struct scan_page *page, struct scan_count *count, struct err *err)
{
    int open[SCAN_BATCH], nopen = 0;
    count->listed += n;
    for (int i = 0; i < n; i++) {
        struct before b;
        if (before_of(q, s->id, rules, &objects[i], &b, err) < 0)
            return -1;
        if (b.what == WHAT_KNOWN && b.era == s->era)
            continue;
        int marked = rules->marked && may_be_taken(rules, &b) ? rules->marked(rules->arg, &objects[i], err) : 1;
        if (marked < 0)
            return -1;
        objects[i].marked = marked;
        open[nopen++] = i;
    }
    if (!nopen && !page)
        return 0;
    if (begin(q, l, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < nopen; i++)
        rc = note(q, s, rules, &objects[open[i]], count, err);
    if (rc >= 0 && page)
        rc = note_page(q, s, page, err);
    return end(q, rc, err);
}

/* What an object that is not taken waits for. */
static int peek_open(const struct scan_rules *rules, const struct scan_object *object, const struct before *b, char why[SCAN_WHY], struct err *err)
{
    const struct scan_rules again = rules_again(rules, b->others), *r = &again;
    const struct scan_object changed = object_again(object, b->others), *o = &changed;
    int64_t mono = sys_mono_ms();
    bool goes_on = b->what == WHAT_OPEN && b->same && b->boot == sys_boot() && b->since <= mono;
    int64_t elapsed = goes_on ? mono - b->since : 0, looks = goes_on ? b->looks + 1 : 1, age = age_of(o, elapsed);
    int marked = r->marked ? r->marked(r->arg, object, err) : 1;
    if (marked < 0)
        return -1;
    if (!is_settled(r, o, elapsed, looks))
        snprintf(why, SCAN_WHY, "settle: it was seen like this for %.1f of %.1f s", (double)elapsed / 1000, (double)r->settle_ms / 1000);
    else if (age < r->min_age_ms)
        snprintf(why, SCAN_WHY, "min_age: it is %.0f of %.0f s old", (double)age / 1000, (double)r->min_age_ms / 1000);
    else if (!marked)
        snprintf(why, SCAN_WHY, "done_marker: '%s' is not there, or older than the object", o->marker);
    else if (b->reads != READS_OVER)
        snprintf(why, SCAN_WHY, "the next scan gives it to job %lld, which has not read it yet", (long long)b->job);
    else if (r->group_files)
        snprintf(why, SCAN_WHY, "it goes into the open group");
    else
        snprintf(why, SCAN_WHY, "the next scan takes it");
    return 1;
}

static void known_why(const struct before *b, char why[SCAN_WHY])
{
    char at[32];
    text_put_rfc3339(at, b->accepted);
    snprintf(why, SCAN_WHY, "a person took it as known at %s, as it changed since job %lld took it; it is not loaded", at, (long long)b->job);
}

int scan_peek(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct scan_object *o, char why[SCAN_WHY],
              struct scan_count *count, struct err *err)
{
    struct before b;
    if (before_of(q, s->id, rules, o, &b, err) < 0)
        return -1;
    count->listed++;
    count->found += b.what == WHAT_NEW;
    count->changed += b.what == WHAT_CHANGED && b.reads == READS_OVER;
    if (may_be_taken(rules, &b))
        return peek_open(rules, o, &b, why, err);
    if (b.reads == READS_NOW)
        snprintf(why, SCAN_WHY, "job %lld reads it at this moment, and it changed since that was made", (long long)b.job);
    else if (b.what == WHAT_CHANGED)
        snprintf(why, SCAN_WHY, "on_change = %s: it changed since job %lld took it%s", rules->on_change == ON_CHANGE_FAIL ? "fail" : "ignore",
                 (long long)b.job, rules->on_change == ON_CHANGE_FAIL ? "; qetlctl scan with --reload or --accept decides" : "");
    else if (b.accepted)
        known_why(&b, why);
    else
        snprintf(why, SCAN_WHY, "job %lld has taken it", (long long)b.job);
    return b.what == WHAT_CHANGED;
}

/* ---- what a person decides ---- */

/* Up to SCAN_TAKE of them behind `after`, in memory of the arena, whether they match or not. Gives their number. */
static int changed_read(struct queue *q, int64_t scan, const char *after, struct arena *arena, struct scan_changed out[SCAN_TAKE], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CHANGED_READ);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", after);
    db_bind(st, ":max", SCAN_TAKE);
    int n = 0, rc;
    while ((rc = db_step(st, err)) == 1) {
        struct scan_changed *c = &out[n++];
        *c = (struct scan_changed){ arena_dup(arena, str_of(db_text(st, 0))), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
                                    sqlite3_column_int64(st, 3) };
        if (!c->uri) {
            rc = err_nomem(err);
            break;
        }
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : n;
}

static int decide(struct queue *q, const struct scan_row *s, const char *uri, bool known, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, known ? SQL_CHANGED_KNOWN : SQL_CHANGED_NEW);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    if (known)
        db_bind(st, ":now", sys_now_ms());
    if (db_run(st, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_CHANGED_DONE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    return db_run(st, err);
}

static bool is_meant(const char *which, const char *uri) { return !strcmp(which, uri) || text_glob(which, str_of(uri)); }

/* The next piece behind *after, which moves, in one transaction. Gives how many of it were decided; *end: it was the last. */
static int accept_piece(struct queue *q, const struct scan_row *s, const char *which, bool known, struct arena *arena,
                        struct scan_changed piece[SCAN_TAKE], struct buf *after, bool *end_of, struct err *err)
{
    int decided = 0;
    arena_reset(arena);
    int n = changed_read(q, s->id, after->p, arena, piece, err), rc = n < 0 ? -1 : 0;
    *end_of = n < SCAN_TAKE;
    if (n > 0) {
        buf_reset(after);
        buf_adds(after, piece[n - 1].uri);
    }
    for (int i = 0; rc >= 0 && i < n; i++)
        if (is_meant(which, piece[i].uri)) {
            piece[decided] = piece[i];
            rc = decide(q, s, piece[decided++].uri, known, err);
        }
    return rc < 0 ? -1 : after->failed ? err_nomem(err) : decided;
}

int64_t scan_accept(struct queue *q, const struct scan_row *s, const char *which, bool known, void (*done)(void *arg, const struct scan_changed *c),
                    void *arg, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    AUTO(buf_clear) struct buf after = { 0 };
    struct scan_changed piece[SCAN_TAKE];
    int64_t decided = 0;
    bool end_of = false;
    buf_adds(&after, "");
    while (!end_of) {
        if (queue_begin(q, err) < 0)
            return -1;
        int n = accept_piece(q, s, which, known, &arena, piece, &after, &end_of, err);
        if (n < 0) {
            queue_rollback(q);
            return err_in(err, "decide about objects that changed");
        }
        if (queue_commit(q, QUEUE_NOW, err) < 0)
            return -1;
        for (int i = 0; i < n; i++)
            done(arg, &piece[i]);
        decided += n;
    }
    return decided;
}

/* ---- pages ---- */

int scan_open(struct queue *q, const struct scan_row *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_OPEN);
    db_bind(st, ":scan", s->id);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

int scan_page_get(struct queue *q, const struct scan_row *s, int64_t rules, const char *uri, char etag[SCAN_ETAG], char modified[SCAN_MODIFIED],
                  int64_t *objects, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_PAGE_GET);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    db_bind(st, ":era", s->era);
    db_bind(st, ":rules", rules);
    int rc = db_step(st, err);
    if (rc == 1) {
        snprintf(etag, SCAN_ETAG, "%s", db_text(st, 0));
        snprintf(modified, SCAN_MODIFIED, "%s", db_text(st, 1));
        *objects = sqlite3_column_int64(st, 2);
        sqlite3_reset(st);
    }
    return rc;
}

int scan_page_put(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t rules, const struct scan_read *pages, int n,
                  struct err *err)
{
    if (!n)
        return 0;
    if (begin(q, l, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < n; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_PAGE_PUT);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":uri", pages[i].uri);
        db_bind(st, ":etag", pages[i].etag);
        db_bind(st, ":modified", pages[i].modified);
        db_bind(st, ":objects", pages[i].objects);
        db_bind(st, ":era", s->era);
        db_bind(st, ":rules", rules);
        rc = db_run(st, err);
    }
    return end(q, rc, err);
}

static int forget_pages(struct queue *q, const struct scan_row *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_PAGE_SWEEP);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":era", s->era);
    return db_run(st, err);
}

static int let_go(struct queue *q, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_LET_GO);
    db_bind(st, ":job", job);
    db_bind(st, ":now", sys_now_ms());
    return db_run(st, err);
}

/* What a job was to read and is not there any more: that job finds it out. */
static int let_go_gone(struct queue *q, const struct scan_row *s, struct scan_count *count, struct err *err)
{
    int rc, bad = 0;
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GONE_AGAIN);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":number", s->number);
    while (!bad && (rc = db_step(st, err)) == 1) {
        bad = let_go(q, sqlite3_column_int64(st, 0), err) < 0;
        count->gone++;
    }
    sqlite3_reset(st);
    return bad ? -1 : rc;
}

/* After a whole listing, in the transaction. */
static int forget_gone(struct queue *q, const struct scan_row *s, struct scan_count *count, struct err *err)
{
    if (let_go_gone(q, s, count, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GONE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":number", s->number);
    if (db_run(st, err) < 0)
        return -1;
    count->gone += sqlite3_changes(queue_db(q));
    return 0;
}

/* ---- jobs ---- */

struct ready {
    const char *uri, *params, *etag; /* params: NULL, none */
    int64_t size, mtime_ms;
};

/* The first columns of seen_ready and seen_group. */
static int ready_row(sqlite3_stmt *st, struct arena *arena, struct ready *out, struct err *err)
{
    bool has = sqlite3_column_type(st, 1) != SQLITE_NULL;
    *out = (struct ready){
        .uri = arena_dup(arena, str_of(db_text(st, 0))),
        .params = has ? arena_dup(arena, str_of(db_text(st, 1))) : NULL,
        .size = sqlite3_column_int64(st, 2),
        .mtime_ms = sqlite3_column_int64(st, 3),
        .etag = arena_dup(arena, str_of(db_text(st, 4))),
    };
    return out->uri && out->etag && (!has || out->params) ? 0 : err_nomem(err);
}

static int ready_read(struct queue *q, int64_t scan, struct arena *arena, struct ready *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_READY);
    db_bind(st, ":scan", scan);
    db_bind(st, ":max", SCAN_TAKE);
    int n = 0, rc;
    while (n < SCAN_TAKE && (rc = db_step(st, err)) == 1)
        if (ready_row(st, arena, &out[n++], err) < 0) {
            sqlite3_reset(st);
            return -1;
        }
    sqlite3_reset(st);
    return n < SCAN_TAKE && rc < 0 ? -1 : n;
}

static int take_seen(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const char *uri, int64_t job, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_TAKE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":uri", uri);
    db_bind(st, ":job", job);
    db_bind(st, ":after", rules->after);
    return db_run(st, err);
}

/* The row of an object of a job, of which `st` sets the version: what it says until a worker has read it. */
static int write_object(sqlite3_stmt *st, const struct ready *r, int64_t job, struct err *err)
{
    db_bind(st, ":job", job);
    db_bind(st, ":uri", r->uri);
    db_bind(st, ":size", r->size);
    if (*r->etag)
        db_bind(st, ":etag", r->etag);
    if (r->mtime_ms)
        db_bind(st, ":modified_at", r->mtime_ms);
    return db_run(st, err);
}

static int take_object(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct ready *r, int64_t job,
                       int number, struct err *err)
{
    if (take_seen(q, s, rules, r->uri, job, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_OBJECT);
    db_bind(st, ":number", number);
    return write_object(st, r, job, err);
}

/* One job of n objects, in the transaction. */
static int take_job(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct ready *v, int n,
                    struct job_new job, struct err *err)
{
    AUTO(buf_clear) struct buf objects = { 0 };
    struct json_out o;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    json_start(&o, &objects);
    json_array(&o);
    for (int i = 0; i < n; i++)
        json_text(&o, str_of(v[i].uri));
    json_array_end(&o);
    if (objects.failed)
        return err_nomem(err);
    job.objects = buf_str(&objects);
    job.params = str_of(v->params);
    job.unique = NULL;
    job.scanned = true;
    if (job_submit(q, &job, &id, uid, &made, err) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (take_object(q, s, rules, &v[i], id, i, err) < 0)
            return -1;
    return 0;
}

/* ---- objects of jobs that are there already ---- */

struct again {
    struct ready object;
    int64_t job;
    enum reads reads;
};

/* Those that are whole, behind `after`. Gives their number. */
static int again_read(struct queue *q, int64_t scan, const struct scan_rules *rules, const char *after, struct arena *arena, struct again out[SCAN_TAKE], struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_AGAIN);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", after);
    db_bind(st, ":all", rules->on_change != ON_CHANGE_RELOAD); /* which makes new jobs of those whose job is over */
    db_bind(st, ":max", SCAN_TAKE);
    int n = 0, rc;
    while ((rc = db_step(st, err)) == 1) {
        struct again *a = &out[n++];
        *a = (struct again){ { .uri = arena_dup(arena, str_of(db_text(st, 0))), .size = sqlite3_column_int64(st, 1), .mtime_ms = sqlite3_column_int64(st, 2),
                               .etag = arena_dup(arena, str_of(db_text(st, 3))) },
                             sqlite3_column_int64(st, 4), (enum reads)sqlite3_column_int(st, 5) };
        if (!a->object.uri || !a->object.etag) {
            rc = err_nomem(err);
            break;
        }
    }
    sqlite3_reset(st);
    return rc < 0 ? -1 : n;
}

/* 1 the job goes on with it, 0 not, -1. */
static int take_again(struct queue *q, const struct scan_row *s, const struct scan_rules *rules, const struct again *a, struct scan_count *count,
                      struct err *err)
{
    sqlite3_stmt *st;
    switch (a->reads) {
    case READS_YET:
        st = queue_stmt(q, SQL_OBJECT_LISTED);
        return take_seen(q, s, rules, a->object.uri, a->job, err) < 0 || write_object(st, &a->object, a->job, err) < 0 ||
                       let_go(q, a->job, err) < 0
                   ? -1
                   : 1;
    case READS_NOW: /* the next listing knows what came of it */
        count->waiting++;
        again_in(count, READS_AGAIN_MS);
        return 0;
    case READS_OVER: /* somebody cancelled that job meanwhile, say */
        st = queue_stmt(q, SQL_SEEN_KEEP);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":uri", a->object.uri);
        return db_run(st, err) < 0 ? -1 : 0;
    }
    return 0;
}

int scan_take_again(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules, struct scan_count *count,
                    struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct again again[SCAN_TAKE];
    const char *after = "";
    int given = 0, n;
    while ((n = again_read(q, s->id, rules, after, &arena, again, err)) > 0) {
        if (begin(q, l, err) < 0)
            return -1;
        int rc = 0;
        for (int i = 0; rc >= 0 && i < n; i++) {
            rc = take_again(q, s, rules, &again[i], count, err);
            given += rc > 0;
        }
        if (end(q, rc, err) < 0)
            return err_in(err, "give objects that changed to their jobs");
        after = again[n - 1].object.uri;
    }
    return n < 0 ? -1 : given;
}

int scan_listed(struct queue *q, const char *pipeline, int64_t job, const char *uri, struct scan_listed *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LISTED);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":job", job);
    db_bind(st, ":uri", uri);
    int rc = db_step(st, err);
    if (rc == 1) {
        *out = (struct scan_listed){ sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), strdup(db_text(st, 2)), sqlite3_column_int(st, 3) };
        rc = out->etag ? 1 : err_nomem(err);
    }
    sqlite3_reset(st);
    return rc;
}

int scan_other(struct queue *q, const char *pipeline, int64_t job, const char *uri, int64_t *other, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_LISTED_OTHER);
    db_bind(st, ":pipeline", pipeline);
    db_bind(st, ":job", job);
    db_bind(st, ":uri", uri);
    int rc = db_step(st, err);
    if (rc == 1)
        *other = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return rc;
}

int scan_take(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
              const struct job_new *job, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct ready ready[SCAN_TAKE];
    int n = ready_read(q, s->id, &arena, ready, err); /* where there is none no lock is taken */
    if (n <= 0)
        return n;
    if (begin(q, l, err) < 0)
        return -1;
    arena_reset(&arena);
    n = ready_read(q, s->id, &arena, ready, err); /* somebody may have retried the job that read one of them before */
    int rc = n < 0 ? -1 : 0;
    for (int i = 0; rc >= 0 && i < n; i++)
        rc = take_job(q, s, rules, &ready[i], 1, *job, err);
    return end(q, rc, err) < 0 ? err_in(err, "make jobs of what was found") : n;
}

/* ---- groups ---- */

/* The oldest objects of one set of parameters, up to a full group. */
struct group {
    struct arena arena;
    struct ready *v;
    int64_t n, bytes;
    int64_t quiet_ms; /* nothing came to it for so long */
    bool full;
    struct buf key; /* of its parameters */
};

static void group_clear(struct group *g)
{
    arena_clear(&g->arena);
    buf_clear(&g->key);
}

/* 1: the row is in the group; 0: the group ends before it. */
static int group_add(struct group *g, const struct scan_rules *r, sqlite3_stmt *st, struct err *err)
{
    const char *key = db_text(st, 7);
    int64_t size = sqlite3_column_int64(st, 2), now = sys_mono_ms(), since = sqlite3_column_int64(st, 5);
    bool same_boot = sqlite3_column_int64(st, 6) == sys_boot();
    if (size < 0)
        size = 0;
    if (g->n && !str_eq(buf_str(&g->key), str_of(key)))
        return 0;
    if (g->n && r->group_bytes && g->bytes + size > r->group_bytes) {
        g->full = true;
        return 0;
    }
    if (!g->n)
        buf_adds(&g->key, key);
    if (g->key.failed)
        return err_nomem(err);
    if (ready_row(st, &g->arena, &g->v[g->n++], err) < 0)
        return -1;
    g->bytes += size;
    int64_t quiet = same_boot && since <= now ? now - since : 0;
    if (g->n == 1 || quiet < g->quiet_ms)
        g->quiet_ms = quiet;
    g->full = g->n == r->group_files || (r->group_bytes && g->bytes >= r->group_bytes);
    return !g->full;
}

/* The first group whose parameters come behind `after`; n is 0 where there is none. */
static int group_read(struct queue *q, int64_t scan, const struct scan_rules *r, const struct buf *after, struct group *g, struct err *err)
{
    int rc;
    arena_reset(&g->arena);
    buf_reset(&g->key);
    g->n = g->bytes = g->quiet_ms = 0;
    g->full = false;
    if (!(g->v = arena_alloc(&g->arena, (size_t)r->group_files * sizeof *g->v)))
        return err_nomem(err);
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_GROUP);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", buf_str(after));
    db_bind(st, ":max", r->group_files);
    while ((rc = db_step(st, err)) == 1 && (rc = group_add(g, r, st, err)) == 1)
        ;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

/* Take what is to be taken, in the transaction, until there is much of it. Gives the number of jobs. */
static int take_groups(struct queue *q, const struct scan_row *s, const struct scan_rules *r, const struct job_new *job,
                       struct scan_groups *walk, struct group *g, struct scan_count *count, struct err *err)
{
    int jobs = 0;
    for (int64_t looked = 0; looked < SCAN_BATCH && jobs < SCAN_TAKE; looked += g->n) {
        if (group_read(q, s->id, r, &walk->after, g, err) < 0)
            return -1;
        walk->end = g->n == 0;
        if (walk->end)
            break;
        if (g->full || g->quiet_ms >= r->group_wait_ms) {
            if (take_job(q, s, r, g->v, (int)g->n, *job, err) < 0)
                return -1;
            jobs++;
            continue; /* more of the same parameters may follow */
        }
        count->waiting += g->n;
        again_in(count, r->group_wait_ms - g->quiet_ms);
        buf_reset(&walk->after);
        buf_add(&walk->after, g->key.p, g->key.n);
        if (walk->after.failed)
            return err_nomem(err);
    }
    return jobs;
}

int scan_take_groups(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_rules *rules,
                     const struct job_new *job, struct scan_groups *walk, struct scan_count *count, struct err *err)
{
    AUTO(group_clear) struct group g = { 0 };
    if (begin(q, l, err) < 0)
        return -1;
    int jobs = walk->whole ? forget_gone(q, s, count, err) : 0;
    if (jobs >= 0)
        jobs = take_groups(q, s, rules, job, walk, &g, count, err);
    if (end(q, jobs, err) < 0)
        return err_in(err, "make jobs of groups");
    walk->whole = false;
    return jobs;
}

static int forget_changed(struct queue *q, const struct scan_row *s, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_CHANGED_GONE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":number", s->number);
    return db_run(st, err);
}

static int next_era(struct queue *q, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ERA);
    db_bind(st, ":id", s->id);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":length", e->forget_ms / SCAN_ERAS);
    return e->forget_ms ? db_run(st, err) : 0;
}

static int end_write(struct queue *q, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    if (e->whole && (forget_gone(q, s, e->count, err) < 0 || forget_pages(q, s, err) < 0 || forget_changed(q, s, err) < 0 || next_era(q, s, e, err) < 0))
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_END);
    db_bind(st, ":resumes", e->resumes);
    db_bind(st, ":id", s->id);
    db_bind(st, ":wanted", s->wanted);
    db_bind(st, ":started", e->started);
    db_bind(st, ":now", sys_now_ms());
    db_bind(st, ":next_at", e->next_at);
    db_bind(st, ":again_at", e->again_at);
    db_bind(st, ":covered", e->covered);
    db_bind(st, ":listed", e->count->listed);
    db_bind(st, ":found", e->count->found);
    db_bind(st, ":changed", e->count->changed);
    db_bind(st, ":taken", e->count->taken);
    db_bind(st, ":code", e->why ? err_name(e->why->code) : NULL);
    db_bind(st, ":message", e->why ? e->why->msg : NULL);
    return db_run(st, err);
}

int scan_end(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_end *e, struct err *err)
{
    return begin(q, l, err) < 0 ? -1 : end(q, end_write(q, s, e, err), err);
}

int scan_cursor(struct queue *q, const char *pipeline, char **cursor, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_ROWS);
    db_bind(st, ":pipeline", pipeline);
    int rc = db_step(st, err);
    bool has = rc == 1 && *db_text(st, 21);
    *cursor = has ? strdup(db_text(st, 21)) : NULL;
    sqlite3_reset(st);
    return rc < 0 ? -1 : has && !*cursor ? err_nomem(err) : 0;
}

int scan_held(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t again_at, const struct err *why, struct err *err)
{
    if (begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_HELD);
    db_bind(st, ":id", s->id);
    db_bind(st, ":again_at", again_at);
    db_bind(st, ":code", err_name(why->code));
    db_bind(st, ":message", (const char *)why->msg);
    return end(q, db_run(st, err), err);
}

/* ---- what is not there any more ---- */

enum { PRUNE_PIECE = 5000 /* rows that are looked at in one go */ };

/* The last URI of the piece behind `last`, which it becomes. 1, 0 there is none, -1. */
static int next_piece(struct queue *q, int64_t scan, struct buf *last, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_PIECE);
    db_bind(st, ":scan", scan);
    db_bind(st, ":after", buf_str(last));
    db_bind(st, ":max", PRUNE_PIECE);
    int rc = db_step(st, err);
    bool any = rc == 1 && sqlite3_column_type(st, 0) != SQLITE_NULL;
    buf_reset(last);
    if (any)
        buf_adds(last, db_text(st, 0));
    sqlite3_reset(st);
    return rc < 0 ? -1 : last->failed ? err_nomem(err) : any;
}

/* Rows of the piece that are to be forgotten: counted, or (dry) only that. */
static int prune_piece(struct queue *q, const struct scan_row *s, struct str after, struct str last, bool dry, int64_t *n, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_OLD);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":after", after);
    db_bind(st, ":last", last);
    db_bind(st, ":era", s->era - SCAN_ERAS);
    int rc = db_step(st, err);
    int64_t old = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    *n += dry ? old : 0;
    if (rc < 0 || dry || !old)
        return rc < 0 ? -1 : 0;
    if (queue_begin(q, err) < 0)
        return -1;
    st = queue_stmt(q, SQL_SEEN_PRUNE);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":after", after);
    db_bind(st, ":last", last);
    db_bind(st, ":era", s->era - SCAN_ERAS);
    rc = db_run(st, err);
    int changes = sqlite3_changes(queue_db(q));
    if (end(q, rc, err) < 0)
        return -1;
    *n += changes;
    return 0;
}

int scan_prune(struct queue *q, const struct scan_row *s, bool dry, int64_t *n, struct err *err)
{
    AUTO(buf_clear) struct buf last = { 0 };
    AUTO(buf_clear) struct buf after = { 0 };
    int rc = 0;
    buf_adds(&last, "");
    while (s->era > SCAN_ERAS && (rc = next_piece(q, s->id, &last, err)) == 1) {
        if (prune_piece(q, s, buf_str(&after), buf_str(&last), dry, n, err) < 0)
            return err_in(err, "forget objects");
        buf_reset(&after);
        buf_add(&after, last.p, last.n);
        if (after.failed)
            return err_nomem(err);
    }
    return rc;
}

/* ---- after the load ---- */

/* The next one behind `uri`, in memory of the arena. 1, 0, -1. */
static int after_next(struct queue *q, int64_t scan, const char *uri, struct arena *arena, struct scan_after *out, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_AFTER);
    db_bind(st, ":scan", scan);
    db_bind(st, ":uri", uri);
    db_bind(st, ":max", 1);
    int rc = db_step(st, err);
    if (rc != 1)
        return rc;
    arena_reset(arena);
    *out = (struct scan_after){
        .uri = arena_dup(arena, str_of(db_text(st, 0))),
        .size = sqlite3_column_int64(st, 1),
        .mtime_ms = sqlite3_column_int64(st, 2),
        .etag = arena_dup(arena, str_of(db_text(st, 3))),
        .job = sqlite3_column_int64(st, 4),
    };
    sqlite3_reset(st);
    return out->uri && out->etag ? 1 : err_nomem(err);
}

int scan_after(struct queue *q, const struct scan_lease *l, const struct scan_row *s,
               int (*act)(void *arg, const struct scan_after *a, struct err *err), void *arg, struct err *err)
{
    AUTO(arena_clear) struct arena one = { 0 };
    AUTO(arena_clear) struct arena other = { 0 }; /* the one before stays until the next is found */
    struct scan_after a = { .uri = "" };
    int rc;
    for (int i = 0; (rc = after_next(q, s->id, a.uri, i & 1 ? &one : &other, &a, err)) == 1; i++) {
        int done = act(arg, &a, err);
        if (done < 0)
            return -1;
        if (!done)
            continue;
        if (begin(q, l, err) < 0)
            return -1;
        sqlite3_stmt *st = queue_stmt(q, done == SCAN_AFTER_GONE ? SQL_SEEN_FORGET : SQL_SEEN_AFTER_DONE);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":uri", a.uri);
        if (end(q, db_run(st, err), err) < 0)
            return -1;
    }
    return rc;
}

int scan_after_left(struct queue *q, const struct scan_row *s, int64_t *objects, int64_t *since, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SEEN_AFTER_LEFT);
    db_bind(st, ":scan", s->id);
    int rc = db_step(st, err);
    *objects = rc == 1 ? sqlite3_column_int64(st, 0) : 0;
    *since = rc == 1 ? sqlite3_column_int64(st, 1) : 0;
    sqlite3_reset(st);
    return rc < 0 ? -1 : 0;
}

int scan_after_tried(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct err *why, struct err *err)
{
    if (!why && !s->after_failures)
        return 0;
    if (begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_AFTER_TRIED);
    db_bind(st, ":id", s->id);
    db_bind(st, ":code", why ? err_name(why->code) : NULL);
    db_bind(st, ":message", why ? why->msg : NULL);
    return end(q, db_run(st, err), err);
}

int scan_after_waits(struct queue *q, const struct scan_row *s, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct scan_after a;
    return after_next(q, s->id, "", &arena, &a, err);
}

/* ---- slots ---- */

static int slot_job(struct queue *q, const struct scan_row *s, const struct scan_slot *slot, struct job_new *job, struct err *err)
{
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    if (job_submit(q, job, &id, uid, &made, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_JOB);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":at", slot->at);
    db_bind(st, ":job", id);
    return db_run(st, err);
}

int scan_slots(struct queue *q, const struct scan_lease *l, const struct scan_row *s, const struct scan_slot *slots, int n,
               struct job_new *job, int (*fill)(void *arg, const struct scan_slot *slot, struct job_new *job, struct err *err),
               void *arg, int *ran, struct err *err)
{
    *ran = 0;
    if (!n)
        return 0;
    if (begin(q, l, err) < 0)
        return -1;
    int rc = 0, count = 0;
    for (int i = 0; rc >= 0 && i < n; i++) {
        sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_ADD);
        db_bind(st, ":scan", s->id);
        db_bind(st, ":at", slots[i].at);
        db_bind(st, ":outcome", slots[i].ran ? "ran" : "skipped");
        db_bind(st, ":reason", slots[i].reason);
        db_bind(st, ":now", sys_now_ms());
        rc = db_run(st, err);
        bool runs = rc >= 0 && sqlite3_changes(queue_db(q)) && slots[i].ran;
        count += runs;
        if (runs && job && (rc = fill(arg, &slots[i], job, err)) >= 0)
            rc = slot_job(q, s, &slots[i], job, err);
    }
    sqlite3_stmt *st = queue_stmt(q, SQL_SCAN_WANTED);
    db_bind(st, ":id", s->id);
    db_bind(st, ":slot", slots[n - 1].at);
    db_bind(st, ":wanted", count && !job ? sys_now_ms() : 0);
    if (rc >= 0)
        rc = db_run(st, err);
    if (end(q, rc, err) < 0)
        return err_in(err, "account for slots");
    *ran = count;
    return 0;
}

int scan_slot_rows(struct queue *q, int64_t scan, int64_t max, int (*row)(void *arg, const struct scan_slot *slot), void *arg,
                   struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_ROWS);
    int rc, stop = 0;
    db_bind(st, ":scan", scan);
    db_bind(st, ":max", max);
    while (!stop && (rc = db_step(st, err)) == 1) {
        struct scan_slot r = {
            .at = sqlite3_column_int64(st, 0),
            .ran = !strcmp(db_text(st, 1), "ran"),
            .reason = db_text(st, 2),
            .job = sqlite3_column_int64(st, 3),
            .decided = sqlite3_column_int64(st, 4),
        };
        stop = row(arg, &r);
    }
    sqlite3_reset(st);
    return stop ? 0 : rc;
}

int scan_slots_sweep(struct queue *q, const struct scan_lease *l, const struct scan_row *s, int64_t before, struct err *err)
{
    if (begin(q, l, err) < 0)
        return -1;
    sqlite3_stmt *st = queue_stmt(q, SQL_SLOT_SWEEP);
    db_bind(st, ":scan", s->id);
    db_bind(st, ":before", before);
    return end(q, db_run(st, err), err);
}

/* ---- the inbox ---- */

int scan_inbox_known(struct queue *q, const char *name, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, name ? SQL_INBOX_KNOWN : SQL_INBOX_ANY);
    if (name)
        db_bind(st, ":name", name);
    int rc = db_step(st, err);
    sqlite3_reset(st);
    return rc;
}

static int inbox_name(struct queue *q, enum queue_sql sql, const char *name, struct err *err)
{
    sqlite3_stmt *st = queue_stmt(q, sql);
    db_bind(st, ":name", name);
    return db_run(st, err);
}

int scan_inbox(struct queue *q, const struct scan_lease *l, const char *const *names, int n,
               int (*submit)(void *arg, int i, struct err *err), void *arg, struct err *err)
{
    if (begin(q, l, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < n; i++) {
        rc = inbox_name(q, SQL_INBOX_ADD, names[i], err);
        if (rc >= 0)
            rc = submit(arg, i, err);
    }
    if (rc < 0) {
        queue_rollback(q);
        return -1;
    }
    return queue_commit(q, QUEUE_NOW, err);
}

int scan_inbox_forget(struct queue *q, const struct scan_lease *l, const char *const *names, int n, struct err *err)
{
    if (begin(q, l, err) < 0)
        return -1;
    int rc = names ? 0 : db_run(queue_stmt(q, SQL_INBOX_FORGET_ALL), err);
    for (int i = 0; rc >= 0 && names && i < n; i++)
        rc = inbox_name(q, SQL_INBOX_FORGET, names[i], err);
    return end(q, rc, err);
}
