/* When sources are looked through. See scanner.h. */
#include "role/scanner.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include "queue/gate.h"
#include "queue/registry.h"
#include "role/after.h"
#include "role/far.h"
#include "role/inbox.h"
#include "role/pass.h"
#include "source/list.h"
#include "source/source.h"

enum {
    SLOTS = 1000,       /* accounted for in one transaction */
    WAIT_MAX_MS = 1000, /* between two looks at what people ask for, and at files whose rows are committed */
    SWEEP_MS = 60000,
    WATCHED_MAX = 63, /* pipelines whose folders are watched */
    INBOX_OWNER = 63,
    INBOX_LOOK_MS = 10000, /* where inotify tells nothing */
    DIED_PAUSE_MS = 10000, /* a place whose listing killed its process is left alone for so long */
};

struct scanner {
    const struct role *role;
    const struct config *config;
    struct queue *queue;
    int64_t id;
    struct scan_lease lease;
    bool leads, drains; /* drains: once everything, and what has to settle; not again and again */
    bool is_task;       /* a process of far.h: it does one thing, by the lease of the scanner that it belongs to */
    struct far *far;    /* NULL: there can be no other place to ask, or this process does it itself */
    struct list_links *links;
    struct watch *watch;
    uint64_t came; /* watched folders of these pipelines */
    int64_t kept_mono_ms, beat_mono_ms, sweep_mono_ms;
    int64_t inbox_mono_ms; /* look at the inbox then */
    bool inbox_settles;    /* because something there has to settle */
    struct log_again inbox_trouble;
    struct due {
        int64_t held_mono_ms;       /* its place is not to be asked before; 0: it may */
        int64_t pruned_era;
        int64_t not_before_mono_ms; /* a busy folder gets half of our time at most */
        int64_t after_mono_ms, after_pause_ms; /* after= failed, and is tried again then */
        bool watched, left_out;
        struct log_again scan_trouble, hold_trouble, after_trouble;
        /* where far processes do it */
        uint64_t place;
        bool mount;                    /* it is one here */
        bool to_list, to_finish, runs; /* what is to be begun; what it began */
        int64_t begun_mono_ms;
    } *due; /* one a pipeline of the config, and behind them that of the inbox */
};

int scanner_open(struct scanner **out, const struct role *role, struct err *err)
{
    struct scanner *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(err);
    s->role = role;
    s->config = role->config;
    s->due = calloc((size_t)s->config->npipelines + 1, sizeof *s->due);
    if (!s->due || list_links_open(&s->links, err) < 0 || queue_open(&s->queue, s->config->database, QUEUE_CREATE, err) < 0 ||
        registry_join(s->queue, "scanner", role->name, &s->id, err) < 0) {
        if (!s->due)
            err_nomem(err);
        scanner_close(s);
        return -1;
    }
    s->watch = watch_new();
    *out = s;
    return 0;
}

void scanner_close(struct scanner *s)
{
    struct err err;
    if (!s)
        return;
    far_close(s->far);
    if (s->leads && !s->is_task && scan_lease_drop(s->queue, &s->lease, &err) < 0)
        log_error("the right to scan was not given back; it runs out", &err, NULL, NULL);
    if (s->id && registry_leave(s->queue, s->id, &err) < 0)
        log_error("the scanner could not leave the registry", &err, NULL, NULL);
    watch_free(s->watch);
    list_links_close(s->links);
    queue_close(s->queue);
    free(s->due);
    free(s);
}

static struct due *inbox_due(const struct scanner *s) { return &s->due[s->config->npipelines]; }

void scanner_leave_out(struct scanner *s, const struct pipeline *p)
{
    (p ? &s->due[p - s->config->pipelines] : inbox_due(s))->left_out = true;
}

int scanner_lead(struct scanner *s, char holder[64], struct err *err)
{
    int64_t mono = sys_mono_ms();
    if (mono - s->beat_mono_ms >= s->config->heartbeat_ms) {
        s->beat_mono_ms = mono;
        if (registry_beat(s->queue, s->id, err) < 0)
            return -1;
    }
    if (s->leads && mono - s->kept_mono_ms < s->config->lease_ms / 3)
        return 1;
    s->kept_mono_ms = mono;
    if (s->leads && scan_lease_keep(s->queue, &s->lease, err) == 0)
        return 1;
    if (s->leads && err->code != ERR_LEASE_LOST)
        return -1;
    int rc = scan_lease_take(s->queue, s->id, s->config->lease_ms, &s->lease, holder, err);
    s->leads = rc == 1;
    s->kept_mono_ms = s->leads ? mono : 0;
    return rc;
}

/* ---- slots ---- */

int scanner_slots(const struct pipeline *p, const struct zone *zone, int64_t last, int64_t now, struct scan_slot *out, int max)
{
    int64_t at, next;
    int n = 0;
    if (last > now) /* the clock was set back: slots that ran already are known (scan_slots()) */
        last = now;
    if (!cron_next(&p->scan.cron, zone, last, &at))
        return 0;
    for (; n < max && at <= now; at = next) {
        bool more = cron_next(&p->scan.cron, zone, at, &next);
        int64_t late = more && (next - at) / 2 < SLOT_LATE_MAX_MS ? (next - at) / 2 : SLOT_LATE_MAX_MS;
        bool missed = now - at > late, newest = !more || next > now;
        bool old = missed && p->scan.missed_age_ms && now - at > p->scan.missed_age_ms;
        bool ran = !old && (p->scan.missed == MISSED_ALL || (p->scan.missed == MISSED_SKIP ? !missed : newest));
        out[n++] = (struct scan_slot){
            .at = at,
            .ran = ran,
            .good = ran || (!old && p->scan.missed == MISSED_ONCE),
            .reason = old    ? "missed longer ago than missed_age"
                      : !ran ? (p->scan.missed == MISSED_SKIP ? "no scanner was there" : "no scanner was there; a later run makes it good")
                      : missed ? "late: no scanner was there"
                               : "",
        };
        if (!more)
            break;
    }
    return n;
}

struct filling {
    const struct pipeline *p;
    struct buf objects, params;
};

static int fill_slot(void *arg, const struct scan_slot *slot, struct job_new *job, struct err *err)
{
    struct filling *f = arg;
    return pass_slot_job(f->p, slot->at, &f->objects, &f->params, job, err);
}

/* Account for the slots that have come. row is read again after it. */
static int slots_settle(struct scanner *s, const struct pipeline *p, struct scan_row *row, struct err *err)
{
    AUTO(submission_clear) struct submission job = { 0 };
    struct filling f = { .p = p };
    struct zone *zone = p->scan.zone ? zone_open(p->scan.zone) : NULL;
    struct scan_slot *slots = malloc(SLOTS * sizeof *slots);
    bool per_slot = p->scan.job_per == JOB_PER_SLOT;
    int rc = slots ? 0 : err_nomem(err), n = 0;
    if (rc == 0 && per_slot)
        rc = pass_job(s->config, p, &job, err);
    while (rc == 0 && (n = scanner_slots(p, zone, row->slot, sys_now_ms(), slots, SLOTS)) > 0) {
        int ran = 0;
        rc = scan_slots(s->queue, &s->lease, row, slots, n, per_slot ? &job.job : NULL, fill_slot, &f, &ran, err);
        row->slot = slots[n - 1].at;
        if (rc == 0 && ran && per_slot)
            queue_ring(s->queue, BELL_READY, ran);
        if (rc == 0 && ran && !per_slot)
            row->wanted = 1;
        role_alive(s->role);
    }
    free(slots);
    buf_clear(&f.objects);
    buf_clear(&f.params);
    zone_close(zone);
    return rc;
}

/* ---- what is due ---- */

/* ms until a time that is not further away than `most`; a time beyond it was written by a clock that has been set back. */
static int64_t until(int64_t at, int64_t now, int64_t most)
{
    return at <= now || at > now + most ? 0 : at - now;
}

static int64_t at_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* So long until the pipeline is looked through: 0 now. */
static int64_t time_left(const struct scanner *s, const struct pipeline *p, const struct scan_row *row, const struct due *d)
{
    int64_t now = sys_now_ms(), left = INT64_MAX;
    int64_t again_most = p->scan.settle_ms + p->scan.min_age_ms + p->scan.group_wait_ms + p->backoff_max_ms + p->scan.every_ms + 60000;
    if (d->held_mono_ms && row->again_at) /* else a person ended it */
        return d->held_mono_ms > sys_mono_ms() ? d->held_mono_ms - sys_mono_ms() : 0;
    if (row->wanted)
        return 0;
    if (row->again_at)
        left = until(row->again_at, now, again_most);
    if (p->scan.every_ms && !s->drains)
        left = at_least(left, until(row->next_at, now, row->breaks ? again_most : p->scan.every_ms));
    int owner = (int)(p - s->config->pipelines);
    if (owner < WATCHED_MAX && (s->came >> owner & 1)) {
        int64_t pause = d->not_before_mono_ms - sys_mono_ms();
        left = at_least(left, pause > 0 ? pause : 0);
    }
    if (p->scan.cron_text) { /* its slots are accounted for: when is the next? */
        struct zone *zone = p->scan.zone ? zone_open(p->scan.zone) : NULL;
        int64_t slot;
        if (cron_next(&p->scan.cron, zone, now, &slot))
            left = at_least(left, slot - now);
        zone_close(zone);
    }
    return left;
}

/* Something did not fail that did before. */
static void is_well(struct log_again *trouble, const char *sentence, const char *key, const char *value)
{
    int64_t failures = log_again_well(trouble);
    if (failures)
        log_event(LOG_WARN, sentence, key, value, "failures", log_num(failures), NULL);
}

/* What came of a listing, as pass_run() says it. */
static void looked(const struct pipeline *p, struct due *d, const struct scan_count *count, const struct err *why)
{
    d->held_mono_ms = count->held_ms ? sys_mono_ms() + count->held_ms : 0;
    if (count->held_ms && log_again_fails(&d->hold_trouble, why, sys_mono_ms()))
        log_error("a scan waits", why, "pipeline", p->name);
    if (!count->held_ms && why->code == ERR_NONE) {
        is_well(&d->scan_trouble, "a scan that failed is well again", "pipeline", p->name);
        (void)log_again_well(&d->hold_trouble);
    } else if (!count->held_ms && log_again_fails(&d->scan_trouble, why, sys_mono_ms()))
        log_error("a scan failed; it is tried again", why, "pipeline", p->name);
    if (count->taken)
        log_event(LOG_INFO, "new objects became jobs", "pipeline", p->name, "jobs", log_num(count->taken), "listed",
                  log_num(count->listed), NULL);
}

static int look_through(struct scanner *s, const struct pipeline *p, struct due *d, bool now_all, struct err *err)
{
    int owner = (int)(p - s->config->pipelines);
    bool watched = p->scan.every_ms && owner < WATCHED_MAX; /* cron says itself when */
    struct pass pass = { s->role, s->queue, &s->lease, p, s->links, watched ? s->watch : NULL, owner, now_all };
    struct scan_count count;
    struct err why;
    int64_t began = sys_mono_ms();
    if (watched)
        s->came &= ~(1ULL << owner);
    d->watched = true;
    if (pass_run(&pass, &count, &why, err) < 0)
        return -1;
    int64_t now = sys_mono_ms();
    d->not_before_mono_ms = now + (now - began);
    looked(p, d, &count, &why);
    return 0;
}

static bool is_folder(const struct pipeline *p) { return p->source[0] == '/' || !strncmp(p->source, "file:", 5); }

static bool is_far(const struct scanner *s, const struct pipeline *p, struct due *d)
{
    if (s->far && !d->place)
        d->place = pass_place(s->config, p, &d->mount);
    return d->place != 0;
}

static int step_one(struct scanner *s, const struct pipeline *p, bool force, int64_t *next_ms, struct err *err)
{
    struct due *d = &s->due[p - s->config->pipelines];
    struct scan_row row;
    bool per_slot = p->scan.job_per == JOB_PER_SLOT;
    if (scan_get(s->queue, &s->lease, p->name, pipeline_source(p), !p->scan.cron_text, &row, err) < 0 ||
        (p->scan.cron_text && slots_settle(s, p, &row, err) < 0))
        return -1;
    if (d->runs) /* what is due when it has ended is seen then */
        return 0;
    int64_t left = per_slot ? INT64_MAX : time_left(s, p, &row, d);
    /* what came while nobody watched: each process looks once when it begins to */
    bool first = !d->watched && p->scan.every_ms && is_folder(p);
    bool due = !per_slot && (force || first || left == 0);
    if (due && is_far(s, p, d)) {
        d->to_list = d->watched = true; /* nobody watches: inotify hears nothing of it */
        return 0;
    }
    if (due) {
        if (look_through(s, p, d, force || row.wanted, err) < 0 || scan_get(s->queue, &s->lease, p->name, p->source, false, &row, err) < 0)
            return -1;
        left = time_left(s, p, &row, d);
    }
    *next_ms = at_least(*next_ms, left);
    return 0;
}

/* ---- the inbox ---- */

/* What came of it: a fault of the folder is told, and tried again later. */
static void inbox_looked(struct scanner *s, int64_t jobs, int64_t again_ms, const struct err *why)
{
    if (why->code == ERR_NONE)
        is_well(&s->inbox_trouble, "the inbox can be used again", "inbox", s->config->inbox);
    else if (log_again_fails(&s->inbox_trouble, why, sys_mono_ms()))
        log_error("the inbox cannot be used; it is tried again", why, NULL, NULL);
    if (jobs)
        log_event(LOG_INFO, "messages became jobs", "jobs", log_num(jobs), NULL);
    s->inbox_mono_ms = sys_mono_ms() + again_ms;
    s->inbox_settles = again_ms < INBOX_LOOK_MS;
}

/* Only what the queue cannot do ends a step. */
static int inbox_look(struct scanner *s, bool force, int64_t *next_ms, struct err *err)
{
    struct due *d = inbox_due(s);
    bool came = s->came >> INBOX_OWNER & 1;
    int64_t now = sys_mono_ms(), again_ms = INBOX_LOOK_MS;
    if (d->runs || d->left_out)
        return 0;
    if (!force && !came && now < s->inbox_mono_ms) {
        if (!s->drains || s->inbox_settles)
            *next_ms = at_least(*next_ms, s->inbox_mono_ms - now);
        return 0;
    }
    s->came &= ~(1ULL << INBOX_OWNER);
    d->mount = d->to_list = s->far && (d->place = pass_folder_place(s->config->inbox));
    if (d->to_list)
        return 0;
    struct inbox in = { s->role, s->config, s->queue, &s->lease, s->watch, INBOX_OWNER };
    struct err why;
    int jobs = inbox_take(&in, &again_ms, &why, err);
    if (jobs < 0)
        return -1;
    inbox_looked(s, jobs, again_ms, &why);
    if (again_ms < INBOX_LOOK_MS)
        *next_ms = at_least(*next_ms, again_ms);
    return 0;
}

int scanner_step(struct scanner *s, const char *only, bool force, int64_t *next_ms, struct err *err)
{
    *next_ms = INT64_MAX;
    if (!only && s->config->inbox && inbox_look(s, force, next_ms, err) < 0)
        return -1;
    for (int i = 0; i < s->config->npipelines; i++) {
        const struct pipeline *p = &s->config->pipelines[i];
        if (!pipeline_is_scanned(p) || (only && strcmp(only, p->name)) || s->due[i].left_out)
            continue;
        role_alive(s->role);
        if (step_one(s, p, force, next_ms, err) < 0)
            return -1;
    }
    if (!only && !s->came)
        watch_forget(s->watch);
    return 0;
}

/* ---- after the load ---- */

enum { AFTER_PAUSE_MS = 1000, AFTER_PAUSE_MAX_MS = 300000 };

struct finishing {
    struct scanner *s;
    const struct pipeline *p;
    const struct lister *far; /* NULL: local files */
    struct list_ask ask;
    bool failed, away; /* some of them; the whole place */
    /* of far ones: whose limits bind us */
    char remote_text[300];
    const char *remote;
    int64_t asked_mono_ms; /* one of its connections was ours then; 0: none is */
    int64_t held_ms;       /* it is not to be asked for so long */
    int64_t done;          /* objects that it was asked about */
    struct err why;        /* the last failure */
    struct err first;      /* of all that was tried */
};

/* The lease, and the registry, while something takes its time. */
static bool still_leads(struct scanner *s)
{
    char holder[64];
    struct err err;
    int64_t mono = sys_mono_ms();
    if (!s->is_task)
        return scanner_lead(s, holder, &err) == 1;
    if (mono - s->kept_mono_ms < s->lease.ms / 3)
        return true;
    s->kept_mono_ms = mono;
    return scan_lease_keep(s->queue, &s->lease, &err) == 0;
}

/* While another host is waited for. */
static bool after_goes_on(void *arg)
{
    struct scanner *s = arg;
    role_alive(s->role);
    return role_grace(s->role) < 0 && still_leads(s);
}

/* Will the place say the same of the next object? */
static bool is_away(enum err_code code)
{
    return code != ERR_FETCH_REFUSED && code != ERR_FETCH_MISSING && code != ERR_URI;
}

/* Nothing more is asked of the place. */
static int after_over(struct finishing *f, struct err *err)
{
    bool asked = f->asked_mono_ms;
    f->asked_mono_ms = 0;
    list_links_rest(f->s->links);
    return asked ? remote_list_end(f->s->queue, f->remote, f->done, &f->why, err) : 0;
}

/* f->remote is that of the object; what was known of another one is not true of it. */
static int after_place(struct finishing *f, const char *uri, struct err *err)
{
    char text[sizeof f->remote_text];
    const char *remote = config_remote_name(f->s->config, uri, text, sizeof text);
    if (remote && f->remote && !strcmp(remote, f->remote))
        return 0;
    if (after_over(f, err) < 0)
        return -1;
    f->away = false;
    f->done = 0;
    f->why = (struct err){ 0 };
    f->remote = remote ? f->remote_text : NULL;
    snprintf(f->remote_text, sizeof f->remote_text, "%s", remote ? remote : "");
    return 0;
}

/* A connection of the place, by the limits that bind all who use it, and kept while we go on: 1; 0 not now; -1. */
static int after_asks(struct finishing *f, struct err *err)
{
    int64_t opens, now = sys_mono_ms();
    char why[REMOTE_WHY];
    if (f->asked_mono_ms && now - f->asked_mono_ms < f->s->lease.ms / 3)
        return 1;
    if (remote_list_begin(f->s->queue, f->remote, f->s->lease.ms, &opens, why, err) < 0)
        return -1;
    f->asked_mono_ms = opens ? 0 : now;
    f->held_ms = opens ? at_least(opens > sys_now_ms() ? opens - sys_now_ms() : 1, AFTER_PAUSE_MAX_MS) : 0;
    f->away |= opens != 0;
    return opens == 0;
}

/* A marker of the object alone goes with it: else it would say of the next one of its name that it is whole. */
static int finish_marker(struct finishing *f, const struct scan_after *a, struct err *err)
{
    AUTO(buf_clear) struct buf own = { 0 };
    AUTO(buf_clear) struct buf marker = { 0 };
    const char *done_marker = f->p->scan.done_marker;
    char path[PATH_MAX];
    if (!done_marker || !strchr(done_marker, '*'))
        return 0;
    if (f->far)
        list_path(str_of(a->uri + strlen(f->ask.base)), &own);
    else if (source_local_path(a->uri, path, err) < 0)
        return -1;
    else
        buf_adds(&own, path);
    if (own.failed || pass_marker(done_marker, buf_str(&own), &marker, err) < 0)
        return own.failed ? err_nomem(err) : -1;
    buf_adds(&marker, "");
    if (marker.failed)
        return err_nomem(err);
    return f->far ? after_marker_far(&f->p->scan.after, f->far, &f->ask, buf_str(&marker), err)
                  : after_marker(&f->p->scan.after, marker.p, a->job, err);
}

static int finish_file(void *arg, const struct scan_after *a, struct err *err)
{
    struct finishing *f = arg;
    const struct after *after = &f->p->scan.after;
    struct err why;
    bool kept;
    role_alive(f->s->role);
    if (f->far && after_place(f, a->uri, err) < 0)
        return -1;
    if (f->away)
        return SCAN_AFTER_LATER;
    if (f->far && !after_goes_on(f->ask.go_arg))
        return err_set(err, ERR_SHUTDOWN, "after= was stopped");
    int asks = f->far ? after_asks(f, err) : 1;
    if (asks <= 0)
        return asks < 0 ? -1 : SCAN_AFTER_LATER;
    f->done++;
    const struct list_version version = { a->size, a->mtime_ms, a->etag };
    int rc = f->far ? after_do_far(after, f->far, &f->ask, a->uri, &version, a->job, &kept, &why)
                    : after_do(after, a->uri, a->size, a->mtime_ms, a->job, &kept, &why);
    if (rc >= 0 && !kept)
        rc = finish_marker(f, a, &why);
    if (rc < 0) {
        if (!f->failed)
            f->first = why;
        f->failed = true;
        f->why = why;
        f->away = f->far && is_away(why.code);
        return SCAN_AFTER_LATER;
    }
    if (kept)
        log_event(LOG_WARN, "a file was changed after it was loaded, and is left alone", "pipeline", f->p->name, "file", a->uri, NULL);
    return kept ? SCAN_AFTER_DONE : SCAN_AFTER_GONE;
}

/* *why: what became of the first of them that could not be done, or ERR_NONE. *held_ms: the place is not to be asked for so long. */
static int after_one(struct scanner *s, const struct pipeline *p, struct err *why, int64_t *held_ms, struct err *err)
{
    struct scan_row row;
    struct pattern *pattern;
    if (pattern_parse(&pattern, p->source, p->scan.source_plain, err) < 0)
        return -1;
    struct finishing f = { .s = s, .p = p, .ask = { .links = s->links, .config = s->config, .cursor = "", .go_on = after_goes_on, .go_arg = s } };
    f.ask.base = pattern_base(pattern);
    const struct lister *lister = list_by_base(f.ask.base, err);
    int rc = lister ? 0 : -1;
    f.far = lister && !lister->local ? lister : NULL;
    if (rc == 0)
        rc = scan_get(s->queue, &s->lease, p->name, p->source, !p->scan.cron_text, &row, err);
    if (rc == 0)
        rc = scan_after(s->queue, &s->lease, &row, finish_file, &f, err);
    if (rc == 0 && (f.failed || !f.away)) /* else nobody tried */
        rc = scan_after_tried(s->queue, &s->lease, &row, f.failed ? &f.first : NULL, err);
    struct err over;
    if (after_over(&f, rc < 0 ? &over : err) < 0)
        rc = -1;
    pattern_free(pattern);
    *why = f.first;
    *held_ms = f.held_ms;
    return rc;
}

static void after_tried(const struct pipeline *p, struct due *d, const struct err *why, int64_t held_ms)
{
    bool failed = why->code != ERR_NONE;
    if (failed && log_again_fails(&d->after_trouble, why, sys_mono_ms()))
        log_error("after= could not be done; it is tried again", why, "pipeline", p->name);
    if (!failed && !held_ms)
        is_well(&d->after_trouble, "after= that could not be done is done", "pipeline", p->name);
    d->after_pause_ms = !failed ? 0 : d->after_pause_ms ? d->after_pause_ms * 2 : AFTER_PAUSE_MS;
    d->after_pause_ms = at_least(d->after_pause_ms, AFTER_PAUSE_MAX_MS);
    d->after_mono_ms = sys_mono_ms() + (held_ms > d->after_pause_ms ? held_ms : d->after_pause_ms);
}

/* 1: it is left to a process of its own. */
static int after_far(struct scanner *s, const struct pipeline *p, struct due *d, struct err *err)
{
    struct scan_row row;
    if (!is_far(s, p, d))
        return 0;
    int waits = d->runs ? 0 : scan_find(s->queue, p->name, &row, err);
    if (waits == 1)
        waits = scan_after_waits(s->queue, &row, err);
    d->to_finish |= waits == 1;
    return waits < 0 ? -1 : 1;
}

int scanner_after(struct scanner *s, struct err *err)
{
    for (int i = 0; i < s->config->npipelines; i++) {
        const struct pipeline *p = &s->config->pipelines[i];
        struct due *d = &s->due[i];
        struct err why;
        int64_t held_ms;
        if (!pipeline_is_scanned(p) || p->scan.after.what == AFTER_KEEP || sys_mono_ms() < d->after_mono_ms)
            continue;
        int far = after_far(s, p, d, err);
        if (far < 0 || (far == 0 && after_one(s, p, &why, &held_ms, err) < 0))
            return -1;
        if (far == 0)
            after_tried(p, d, &why, held_ms);
    }
    return 0;
}

/* ---- other places ---- */

static int task_inbox(struct scanner *s, struct far_report *r)
{
    const struct inbox in = { .role = s->role, .config = s->config, .queue = s->queue, .lease = &s->lease };
    int64_t again_ms = INBOX_LOOK_MS;
    int jobs = inbox_take(&in, &again_ms, &r->why, &r->err);
    r->count.taken = jobs;
    r->count.again_ms = again_ms;
    return jobs < 0 ? -1 : 0;
}

/* In a process of its own: what the scanner would do itself if it had the time to wait. */
static int task_run(struct scanner *s, const struct pipeline *p, struct far_report *r)
{
    if (r->task.inbox)
        return task_inbox(s, r);
    struct pass pass = { .role = s->role, .queue = s->queue, .lease = &s->lease, .pipeline = p, .links = s->links };
    if (r->task.lists && pass_run(&pass, &r->count, &r->why, &r->err) < 0)
        return -1;
    return r->task.after ? after_one(s, p, &r->after_why, &r->after_held_ms, &r->err) : 0;
}

static void task_serve(const void *arg, struct far_report *r, int64_t *beat)
{
    struct role role = *(const struct role *)arg;
    struct scanner s = { .role = &role, .config = role.config, .lease = r->task.lease, .is_task = true, .kept_mono_ms = sys_mono_ms() };
    role.beat = beat;
    int rc = list_links_open(&s.links, &r->err) < 0 ? -1 : queue_open(&s.queue, s.config->database, QUEUE_CREATE, &r->err);
    if (rc == 0)
        rc = task_run(&s, &s.config->pipelines[r->task.pipeline], r);
    r->how = rc < 0 ? FAR_FAILED : FAR_DONE;
    list_links_close(s.links);
    queue_close(s.queue);
}

/* The one that has waited longest of those whose place is free. */
static struct due *far_next(struct scanner *s)
{
    struct due *next = NULL;
    for (int i = 0; i <= s->config->npipelines; i++) {
        struct due *d = &s->due[i];
        if ((d->to_list || d->to_finish) && !d->runs && (!next || d->begun_mono_ms < next->begun_mono_ms) && far_has_room(s->far, d->place))
            next = d;
    }
    return next;
}

static int far_begin(struct scanner *s, struct err *err)
{
    struct due *d;
    while (s->far && (d = far_next(s))) {
        const struct far_task task = { .pipeline = (int)(d - s->due), .place = d->place, .lease = s->lease, .lists = d->to_list, .after = d->to_finish,
                                       .inbox = d == inbox_due(s), .mount = d->mount };
        if (far_start(s->far, &task, err) < 0)
            return -1;
        d->runs = true;
        d->to_list = d->to_finish = false;
        d->begun_mono_ms = sys_mono_ms();
        d->place = 0; /* one with dates in it may be another one by then */
    }
    return 0;
}

/* A listing that killed its process: nothing was written of how it ended. */
static int far_died(struct scanner *s, const struct pipeline *p, struct due *d, const struct err *why, struct err *err)
{
    struct scan_row row;
    d->held_mono_ms = d->after_mono_ms = sys_mono_ms() + DIED_PAUSE_MS;
    if (log_again_fails(&d->scan_trouble, why, sys_mono_ms()))
        log_error("a process that asked another place died; it is tried again", why, "pipeline", p->name);
    if (!s->leads)
        return 0;
    return scan_get(s->queue, &s->lease, p->name, p->source, true, &row, err) < 0
               ? -1
               : scan_held(s->queue, &s->lease, &row, sys_now_ms() + DIED_PAUSE_MS, why, err);
}

static int far_over(struct scanner *s, const struct far_report *r, struct err *err)
{
    const struct pipeline *p = &s->config->pipelines[r->task.pipeline];
    struct due *d = &s->due[r->task.pipeline];
    d->runs = false;
    if (r->task.inbox && r->how != FAR_FAILED) {
        inbox_looked(s, r->count.taken, r->how == FAR_DIED ? DIED_PAUSE_MS : r->count.again_ms, r->how == FAR_DIED ? &r->err : &r->why);
        return 0;
    }
    if (r->how == FAR_DIED)
        return far_died(s, p, d, &r->err, err);
    if (r->how == FAR_FAILED && r->err.code == ERR_LEASE_LOST) { /* perhaps it was an older one: see */
        s->kept_mono_ms = 0;
        return 0;
    }
    if (r->how == FAR_FAILED) {
        *err = r->err;
        return -1;
    }
    if (r->task.lists)
        looked(p, d, &r->count, &r->why);
    if (r->task.after)
        after_tried(p, d, &r->after_why, r->after_held_ms);
    return 0;
}

/* Nobody answers there, and nobody knows for how long: what was to be done there has failed, until it is done. */
static int far_mute(struct scanner *s, const struct far_task *t, int64_t waited_ms, struct err *err)
{
    const struct pipeline *p = &s->config->pipelines[t->pipeline];
    struct due *d = &s->due[t->pipeline];
    struct pass pass = { .role = s->role, .queue = s->queue, .lease = &s->lease, .pipeline = p };
    struct scan_count none = { 0 };
    struct scan_row row;
    struct err why;
    err_set(&why, ERR_TIMEOUT, "'%s': its mount does not answer: nothing came for %lld s ([limits] connect_timeout, stall_timeout)",
            t->inbox ? s->config->inbox : p->source, (long long)(waited_ms / 1000));
    if (t->inbox) {
        inbox_looked(s, 0, 0, &why);
        return 0;
    }
    if (t->lists)
        looked(p, d, &none, &why);
    else
        after_tried(p, d, &why, 0);
    if (!s->leads)
        return 0;
    if (t->lists)
        return pass_broke_off(&pass, &why, err);
    return scan_get(s->queue, &s->lease, p->name, p->source, true, &row, err) < 0 ? -1 : scan_after_tried(s->queue, &s->lease, &row, &why, err);
}

/* Hear of all that have ended, and see who is silent. */
static int far_look(struct scanner *s, struct err *err)
{
    int64_t silent_ms = s->config->limits.connect_timeout_ms + s->config->limits.stall_timeout_ms;
    const struct far_task *t;
    struct far_report r;
    int rc;
    while (s->far && (rc = far_ended(s->far, &r, err)) != 0)
        if (rc < 0 || far_over(s, &r, err) < 0)
            return -1;
    while (s->far && (t = far_silent(s->far, silent_ms)))
        if (far_mute(s, t, silent_ms, err) < 0)
            return -1;
    return 0;
}

/* The scanner, with processes for other places where the ini has any: each folder may become one when it is mounted. */
static int open_with_far(struct scanner **out, const struct role *role, struct err *err)
{
    const struct config *c = role->config;
    struct far *far = NULL;
    if (c->inbox && far_open(&far, task_serve, role, err) < 0) /* while no queue is open here */
        return -1;
    for (int i = 0; i < c->npipelines && !far; i++)
        if (pipeline_is_scanned(&c->pipelines[i]) && c->pipelines[i].scan.job_per == JOB_PER_OBJECT && !c->pipelines[i].scan.stream &&
            far_open(&far, task_serve, role, err) < 0)
            return -1;
    if (scanner_open(out, role, err) < 0) {
        far_close(far);
        return -1;
    }
    (*out)->far = far;
    return 0;
}

/* Slots are remembered as long as jobs are, objects as forget= says. */
static int sweep_one(struct scanner *s, const struct pipeline *p, struct due *d, struct err *err)
{
    struct scan_row row;
    int64_t n = 0;
    if (scan_get(s->queue, &s->lease, p->name, pipeline_source(p), false, &row, err) < 0 ||
        (p->scan.cron_text && s->config->keep_jobs_ms &&
         scan_slots_sweep(s->queue, &s->lease, &row, sys_now_ms() - s->config->keep_jobs_ms, err) < 0))
        return -1;
    if (p->scan.forget_ms && row.era != d->pruned_era && scan_prune(s->queue, &row, false, &n, err) < 0)
        return -1;
    d->pruned_era = row.era;
    if (n)
        log_event(LOG_INFO, "objects that are long gone were forgotten", "pipeline", p->name, "objects", log_num(n), NULL);
    return 0;
}

static int sweep(struct scanner *s, struct err *err)
{
    int64_t now = sys_mono_ms();
    if (s->sweep_mono_ms && now - s->sweep_mono_ms < SWEEP_MS)
        return 0;
    s->sweep_mono_ms = now;
    for (int i = 0; i < s->config->npipelines; i++)
        if (pipeline_is_scanned(&s->config->pipelines[i]) && sweep_one(s, &s->config->pipelines[i], &s->due[i], err) < 0)
            return -1;
    return 0;
}

/* ---- the loop ---- */

/* One turn: 0 and the time until the next, -1. */
static int turn(struct scanner *s, bool *told, int64_t *wait_ms, struct err *err)
{
    char holder[64];
    int leads = scanner_lead(s, holder, err);
    *wait_ms = WAIT_MAX_MS;
    if (leads < 0 || far_look(s, err) < 0)
        return -1;
    if (!leads && !*told)
        log_event(LOG_INFO, "another scanner works; waiting until it ends", "scanner", holder, NULL);
    *told = !leads;
    if (!leads)
        return 0;
    int64_t next_ms;
    if (scanner_step(s, NULL, false, &next_ms, err) < 0 || scanner_after(s, err) < 0 || sweep(s, err) < 0 || far_begin(s, err) < 0)
        return -1;
    *wait_ms = at_least(next_ms, WAIT_MAX_MS);
    return 0;
}

/* The pipelines that a scan at once is for: lost events (all bits) are for no other. */
static uint64_t watched(const struct scanner *s)
{
    uint64_t owners = s->config->inbox ? 1ULL << INBOX_OWNER : 0;
    for (int i = 0; i < s->config->npipelines && i < WATCHED_MAX; i++)
        if (s->config->pipelines[i].scan.every_ms)
            owners |= 1ULL << i;
    return owners;
}

int scanner_run(const struct role *role, struct err *err)
{
    struct scanner *s;
    if (open_with_far(&s, role, err) < 0)
        return -1;
    sys_signals_init(NULL);
    int rc = 0;
    bool told = false;
    while (rc == 0 && role_goes_on(role)) {
        int64_t wait_ms;
        role_alive(role);
        rc = turn(s, &told, &wait_ms, err);
        if (rc < 0 && (err->code == ERR_LEASE_LOST || err->code == ERR_SHUTDOWN)) {
            s->leads &= err->code != ERR_LEASE_LOST;
            rc = 0;
            continue;
        }
        if (rc == 0)
            s->came |= watch_wait(s->watch, far_fd(s->far), wait_ms) & watched(s);
    }
    scanner_close(s);
    return rc;
}

/* ---- drain ---- */

/* Have all scans that somebody asked for been done? */
static int still_wanted(void *arg, const struct scan_row *r)
{
    *(bool *)arg |= r->wanted != 0;
    return 0;
}

static int ask_all(struct scanner *s, struct err *err)
{
    for (int i = 0; i < s->config->npipelines; i++) {
        const struct pipeline *p = &s->config->pipelines[i];
        if (pipeline_is_scanned(p) && p->scan.job_per == JOB_PER_OBJECT && scan_want(s->queue, p->name, err) < 0)
            return -1;
    }
    return 0;
}

/* What is left to do with files, in their places, too. */
static int drain_after(struct scanner *s, struct err *err)
{
    int rc = scanner_after(s, err);
    while (rc == 0 && (rc = far_begin(s, err)) == 0 && far_awaited(s->far) && role_grace(s->role) < 0) {
        (void)watch_wait(s->watch, far_fd(s->far), WAIT_MAX_MS);
        role_alive(s->role);
        rc = still_leads(s) ? far_look(s, err) : err_set(err, ERR_LEASE_LOST, "another scanner has the right to scan");
    }
    return rc;
}

static int drain(struct scanner *s, int64_t wait_ms, struct err *err)
{
    char holder[64];
    int64_t give_up = sys_mono_ms() + wait_ms, next_ms;
    bool asked = false, force = true;
    while (role_grace(s->role) < 0) {
        role_alive(s->role);
        int leads = scanner_lead(s, holder, err);
        if (leads < 0 || far_look(s, err) < 0 || (!leads && !asked && ask_all(s, err) < 0))
            return -1;
        asked |= !leads;
        bool wanted = false;
        if (!leads && scan_rows(s->queue, still_wanted, &wanted, err) < 0)
            return -1;
        if (!leads && !wanted)
            return 0;
        if (leads && (scanner_step(s, NULL, force, &next_ms, err) < 0 || far_begin(s, err) < 0))
            return -1;
        force = false;
        int64_t left = give_up - sys_mono_ms();
        if (leads && !far_awaited(s->far) && (next_ms > left || left <= 0))
            return drain_after(s, err);
        (void)watch_wait(s->watch, far_fd(s->far), leads ? at_least(next_ms, WAIT_MAX_MS) : 100);
    }
    return 0;
}

int scanner_drain(const struct role *role, int64_t wait_ms, struct err *err)
{
    struct scanner *s;
    if (open_with_far(&s, role, err) < 0)
        return -1;
    s->drains = true;
    int rc = drain(s, wait_ms, err);
    scanner_close(s);
    return rc;
}

int scanner_finish(const struct role *role, struct err *err)
{
    struct scanner *s;
    char holder[64];
    if (open_with_far(&s, role, err) < 0)
        return -1;
    int rc = scanner_lead(s, holder, err);
    if (rc == 1)
        rc = drain_after(s, err);
    scanner_close(s);
    return rc < 0 ? -1 : 0;
}
