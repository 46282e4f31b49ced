/* What a listing shows, beside what is known. See scan.h. */
#include "queue/scan_change.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "io/db.h"

enum what { WHAT_NEW, WHAT_OPEN, WHAT_KNOWN, WHAT_CHANGED };
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
        scan_again_in(count, r->settle_ms - elapsed);
    if (!old)
        scan_again_in(count, r->min_age_ms - age);
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
    if (scan_change_begin(q, l, err) < 0)
        return -1;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < nopen; i++)
        rc = note(q, s, rules, &objects[open[i]], count, err);
    if (rc >= 0 && page)
        rc = note_page(q, s, page, err);
    return scan_change_end(q, rc, err);
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
