/* One listing of one source. See pass.h. */
#include "role/pass.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mount.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/fetch.h"
#include "queue/gate.h"
#include "role/after.h"
#include "source/source.h"
#include "source/version.h"

enum {
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 300000,
    AGAIN_MS = 30000, /* cron: what waits for its marker, or came before the page that a listing went on from, is looked at so soon */
    PAGES_KEPT = 100, /* until they are written down */
    HOLD_MAX_MS = 7 * 86400000, /* the window of a dated source is held open for what waits in it so long at most */
};

struct looking {
    const struct pass *pass;
    struct scan_row scan;
    struct scan_rules rules;
    struct pattern *pattern;
    struct zone *zone;
    const struct lister *lister;
    struct list_ask ask;
    struct scan_count *count;
    /* the batch in hand: texts in the arena */
    struct arena arena;
    struct scan_object objects[SCAN_BATCH];
    struct str paths[SCAN_BATCH];
    int n;
    int64_t kept_mono_ms; /* the lease was renewed then */
    bool own;             /* the error is of the queue, and not of the source */
    bool place_failed;    /* the question after a marker */
    /* going on where the listing before failed */
    char *cursor;         /* of that glob of its; NULL: from the beginning */
    bool reached;         /* it was handed over: what came before it was not listed again */
    bool paged;           /* a later one was written */
    int64_t pages;
    /* pages that need not be read again */
    struct list_known known;
    struct buf reads;       /* texts of `read`, each with a NUL behind it */
    struct page_read { size_t at; int64_t objects; } read[PAGES_KEPT];
    int nread;
    int64_t rules_id, page_began, page_objects; /* objects: given before it; that it had when it was read last */
    const char *remote;   /* whose limits bind it; NULL: this machine */
    char remote_text[300];
    /* pass_peek() */
    void (*found)(void *arg, const struct pass_found *o);
    void *arg;
};

/* ---- what a source names ---- */

static int pattern_of(const struct pipeline *p, struct pattern **out, struct zone **zone, struct err *err)
{
    *zone = p->scan.zone ? zone_open(p->scan.zone) : NULL;
    if (p->scan.zone && !*zone)
        return err_set(err, ERR_CONFIG, "the zone '%s' cannot be read", p->scan.zone);
    return pattern_parse(out, p->source, p->scan.source_plain, err);
}

static const struct lister *lister_of(const struct pipeline *p, const char *base, struct err *err)
{
    return p->scan.stream ? &list_stream : list_by_base(base, err);
}

/* The URI of the literal beginning of a pattern at that time. */
static int uri_of(const struct pattern *pattern, const struct zone *zone, int64_t at, struct buf *out, struct err *err)
{
    const char *base = pattern_base(pattern);
    struct globs globs;
    int64_t covered;
    if (pattern_globs(pattern, zone, at, at, &globs, &covered, err) < 0)
        return -1;
    if (!strncasecmp(base, "manifest+", 9)) /* what it names lies where it lies, or says itself where */
        base += !strncasecmp(base + 9, "file://", 7) ? strlen(base) : 9;
    list_uri(base, globs.v[0].prefix, out);
    globs_clear(&globs);
    return out->failed ? err_nomem(err) : 0;
}

static int uri_at(const struct pipeline *p, int64_t at, struct buf *out, struct err *err)
{
    struct pattern *pattern = NULL;
    struct zone *zone;
    int rc = pattern_of(p, &pattern, &zone, err);
    if (rc == 0)
        rc = uri_of(pattern, zone, at, out, err);
    pattern_free(pattern);
    zone_close(zone);
    return rc;
}

int pass_check(const struct pipeline *p, struct err *err)
{
    struct pattern *pattern = NULL;
    struct zone *zone;
    if (p->scan.job_per == JOB_PER_SLOT) /* nobody lists it */
        return 0;
    int rc = pattern_of(p, &pattern, &zone, err);
    if (rc == 0)
        rc = lister_of(p, pattern_base(pattern), err) ? 0 : -1;
    pattern_free(pattern);
    zone_close(zone);
    return rc;
}

/* A folder here that another machine has: its mount, which several pipelines may have in common. 0: it is of this machine. */
uint64_t pass_folder_place(const char *uri)
{
    AUTO(buf_clear) struct buf point = { 0 };
    char path[PATH_MAX];
    struct err err;
    struct hash h;
    if (source_local_path(uri, path, &err) < 0 || mount_is_far_here(path, &point, &err) <= 0)
        return 0;
    hash_init(&h);
    hash_add(&h, "mount:", 6);
    hash_add(&h, point.p, point.n);
    return hash_end(&h);
}

uint64_t pass_place(const struct config *config, const struct pipeline *p, bool *mount)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    struct pattern *pattern = NULL;
    struct zone *zone;
    struct err err;
    struct hash h;
    char text[300];
    int rc = pattern_of(p, &pattern, &zone, &err);
    const struct lister *lister = rc == 0 ? lister_of(p, pattern_base(pattern), &err) : NULL;
    bool listed = lister && lister != &list_stream;
    if (listed)
        rc = uri_of(pattern, zone, sys_now_ms(), &uri, &err);
    pattern_free(pattern);
    zone_close(zone);
    *mount = false;
    if (rc < 0 || !listed)
        return 0;
    uint64_t place = lister->local || *uri.p == '/' ? pass_folder_place(uri.p) : 0; /* or a manifest that lies here */
    *mount = place != 0;
    if (place || lister->local)
        return place;
    const char *name = config_remote_name(config, uri.p, text, sizeof text);
    if (!name) /* a list that lies here, of what lies elsewhere */
        name = p->name;
    hash_init(&h);
    hash_add(&h, name, strlen(name));
    return hash_end(&h);
}

int pass_held(struct queue *q, const struct config *config, const struct pipeline *p, int64_t *until, char why[PASS_HELD], struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    char text[300], said[REMOTE_WHY];
    if (p->scan.stream)
        return 0;
    if (uri_at(p, sys_now_ms(), &uri, err) < 0)
        return -1;
    const char *name = config_remote_name(config, uri.p, text, sizeof text);
    int held = name ? remote_held(q, name, until, said, err) : 0;
    if (held == 1)
        snprintf(why, PASS_HELD, "'%s' asked to be left alone: %s", name, said);
    return held;
}

/* Would the pattern find an object of its own in that folder? 1, 0, -1. */
static int finds_in(const struct pattern *pattern, const struct zone *zone, const char *folder, struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    struct glob_work work = { 0 };
    struct globs globs;
    int64_t now = sys_now_ms(), covered;
    const char *base = pattern_base(pattern);
    if (pattern_globs(pattern, zone, now, now, &globs, &covered, err) < 0)
        return -1;
    if (*base)
        list_path(str_of(folder + strlen(base)), &path);
    else
        buf_adds(&path, folder);
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    buf_addc(&path, '/');
    glob_name(&globs.v[0], &path);
    int rc = path.failed ? -1 : glob_match(&globs.v[0], &work, buf_str(&path), NULL);
    glob_work_clear(&work);
    globs_clear(&globs);
    return rc < 0 ? err_nomem(err) : rc;
}

int pass_check_after(const struct pipeline *p, struct err *err)
{
    struct pattern *pattern = NULL;
    struct zone *zone;
    if (p->scan.after.what != AFTER_MOVE || p->scan.job_per == JOB_PER_SLOT || p->scan.stream)
        return 0;
    int rc = pattern_of(p, &pattern, &zone, err);
    if (rc == 0)
        rc = finds_in(pattern, zone, p->scan.after.folder, err);
    if (rc > 0)
        rc = err_set(err, ERR_CONFIG, "expected a folder where source= does not find what is moved there: it would be taken again and again");
    pattern_free(pattern);
    zone_close(zone);
    return rc;
}

static int objects_of(struct str uri, struct buf *out, struct err *err)
{
    struct json_out o;
    json_start(&o, out);
    json_array(&o);
    json_text(&o, uri);
    json_array_end(&o);
    return out->failed ? err_nomem(err) : 0;
}

int pass_slot_job(const struct pipeline *p, int64_t at, struct buf *objects, struct buf *params, struct job_new *job, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    struct json_out o;
    char time[32];
    buf_reset(objects);
    buf_reset(params);
    if (p->source && (uri_at(p, at, &uri, err) < 0 || objects_of(buf_str(&uri), objects, err) < 0))
        return -1;
    text_put_rfc3339(time, at);
    json_start(&o, params);
    json_object(&o);
    json_key(&o, "slot");
    json_text(&o, str_of(time));
    json_object_end(&o);
    job->objects = buf_str(objects);
    job->params = buf_str(params);
    return params->failed ? err_nomem(err) : 0;
}

int pass_job(const struct config *config, const struct pipeline *p, struct submission *s, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    AUTO(buf_clear) struct buf objects = { 0 };
    s->job.pipeline = p->name;
    if (!p->source)
        return submission_resolve(s, config, err);
    if (uri_at(p, sys_now_ms(), &uri, err) < 0 || objects_of(buf_str(&uri), &objects, err) < 0)
        return -1;
    s->job.objects = buf_str(&objects); /* it says where the objects are; each job has its own */
    int rc = submission_resolve(s, config, err);
    s->job.objects = (struct str){ 0 };
    return rc;
}

/* ---- objects ---- */

static int flush_page(struct looking *l, const struct scan_page *page, struct err *err)
{
    int n = l->n;
    l->n = 0;
    int rc = n || page ? scan_look(l->pass->queue, l->pass->lease, &l->scan, &l->rules, l->objects, n, page, l->count, err) : 0;
    l->own |= rc < 0 && !l->place_failed;
    arena_reset(&l->arena);
    return rc;
}

static int flush(struct looking *l, struct err *err) { return flush_page(l, NULL, err); }

static int on_page(void *arg, const char *cursor, struct err *err)
{
    struct looking *l = arg;
    const struct scan_page page = { cursor, glob_id(l->ask.glob) };
    l->pages++;
    if (l->cursor && !l->reached) /* the one that is kept is further on */
        return 0;
    l->paged = true;
    return flush_page(l, &page, err);
}

/* ---- pages that are not read again ---- */

static int64_t given(const struct looking *l) { return l->count->listed + l->n; }

static int known_get(void *arg, const char *uri, struct fetch_head *head, struct err *err)
{
    struct looking *l = arg;
    l->page_began = given(l);
    int rc = scan_page_get(l->pass->queue, &l->scan, l->rules_id, uri, head->etag, head->modified, &l->page_objects, err);
    l->own |= rc < 0;
    return rc;
}

static void known_same(void *arg)
{
    struct looking *l = arg;
    l->count->listed += l->page_objects;
}

/* Write them down, behind their objects. */
static int pages_flush(struct looking *l, struct err *err)
{
    struct scan_read reads[PAGES_KEPT];
    if (!l->nread)
        return 0;
    if (flush(l, err) < 0)
        return -1;
    for (int i = 0; i < l->nread; i++) {
        const char *uri = l->reads.p + l->read[i].at, *etag = uri + strlen(uri) + 1;
        reads[i] = (struct scan_read){ uri, etag, etag + strlen(etag) + 1, l->read[i].objects };
    }
    int rc = scan_page_put(l->pass->queue, l->pass->lease, &l->scan, l->rules_id, reads, l->nread, err);
    l->own |= rc < 0;
    l->nread = 0;
    buf_reset(&l->reads);
    return rc;
}

static int known_put(void *arg, const char *uri, const struct fetch_head *head, struct err *err)
{
    struct looking *l = arg;
    const char *const texts[] = { uri, head->etag, head->modified };
    if ((!*head->etag && !*head->modified) || l->count->odd) /* what is left out is told again each time */
        return 0;
    l->read[l->nread++] = (struct page_read){ l->reads.n, given(l) - l->page_began };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        buf_add(&l->reads, texts[i], strlen(texts[i]) + 1);
    if (l->reads.failed)
        return err_nomem(err);
    return l->nread == PAGES_KEPT ? pages_flush(l, err) : 0;
}

/* What decides about the objects of a page, but for their age. One page may have names of many dates, and each is a glob of its own. */
static int64_t rules_id(const struct pipeline *p, const struct glob *g)
{
    const struct scan_config *c = &p->scan;
    const char *const texts[] = { p->source, c->zone, c->ignore, c->done_marker };
    const int64_t glob = glob_id(g);
    struct hash h;
    hash_init(&h);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        hash_add(&h, texts[i] ? texts[i] : "", texts[i] ? strlen(texts[i]) + 1 : 1);
    hash_add(&h, &c->on_change, sizeof c->on_change);
    hash_add(&h, &glob, sizeof glob);
    return (int64_t)hash_end(&h);
}

/*
 * Can pages be left unread that are what they were? Where all that they had is taken. The page of a folder may be the same while a file
 * in it is not (Apache's is as old as the folder), so it says nothing to who wants to know of changes; a manifest does.
 */
static int know_pages(struct looking *l, struct err *err)
{
    enum on_change on_change = l->pass->pipeline->scan.on_change;
    if (l->found || on_change == ON_CHANGE_FAIL || ((on_change == ON_CHANGE_RELOAD || l->pass->pipeline->scan.whole == WHOLE_TRAILER) && l->lister != &list_manifest))
        return 0;
    int open = scan_open(l->pass->queue, &l->scan, err);
    l->own |= open < 0;
    l->known = (struct list_known){ known_get, known_same, known_put, l };
    if (open == 0)
        l->ask.known = &l->known;
    return open < 0 ? -1 : 0;
}

/* Is the name among the globs that are not taken, a marker, or one of ours? */
static bool is_ignored(const struct scan_config *c, struct str name)
{
    char glob[256];
    if (after_is_ours(name) || (c->done_marker && text_glob(c->done_marker, name)))
        return true;
    for (const char *p = c->ignore; p && *p; p += strcspn(p, ","), p += *p == ',') {
        struct str one = str_trim((struct str){ p, strcspn(p, ",\n") });
        if (one.n && one.n < sizeof glob) {
            memcpy(glob, one.p, one.n);
            glob[one.n] = '\0';
            if (text_glob(glob, name))
                return true;
        }
    }
    return false;
}

/* The named parts of the path as the parameters of its job: text that is valid UTF-8, with U+FFFD for what is not. */
static int params_of(struct looking *l, const struct listed *o, const char **out, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(buf_clear) struct buf value = { 0 };
    struct json_out j;
    int n = pattern_captures(l->pattern);
    *out = NULL;
    if (!n)
        return 0;
    json_start(&j, &text);
    json_object(&j);
    for (int i = 0; i < n; i++) {
        struct str rest = o->captures[i];
        buf_reset(&value);
        while (rest.n) {
            size_t good = text_utf8_valid(rest);
            buf_add(&value, rest.p, good);
            if (good < rest.n)
                buf_adds(&value, "\xef\xbf\xbd");
            good += good < rest.n;
            rest = (struct str){ rest.p + good, rest.n - good };
        }
        json_key(&j, pattern_capture_name(l->pattern, i));
        json_text(&j, buf_str(&value));
    }
    json_object_end(&j);
    *out = text.failed || value.failed ? NULL : arena_dup(&l->arena, buf_str(&text));
    return *out ? 0 : err_nomem(err);
}

static int on_object(void *arg, const struct listed *o, struct err *err)
{
    struct looking *l = arg;
    if (is_ignored(&l->pass->pipeline->scan, o->name))
        return 0;
    struct scan_object *x = &l->objects[l->n];
    *x = (struct scan_object){
        .uri = arena_dup(&l->arena, str_of(o->uri)),
        .etag = arena_dup(&l->arena, str_of(o->etag)),
        .size = o->size,
        .mtime_ms = o->mtime_ms,
        .mtime_step_ms = o->mtime_step_ms,
        .whole = watch_renamed(l->pass->watch, o->path),
    };
    l->paths[l->n] = (struct str){ arena_dup(&l->arena, o->path), o->path.n };
    if (!x->uri || !x->etag || !l->paths[l->n].p)
        return err_nomem(err);
    if (params_of(l, o, &x->params, err) < 0)
        return -1;
    return ++l->n == SCAN_BATCH ? flush(l, err) : 0;
}

int pass_marker(const char *done_marker, struct str own, struct buf *out, struct err *err)
{
    const char *slash = memrchr(own.p, '/', own.n);
    size_t folder = slash ? (size_t)(slash + 1 - own.p) : 0;
    buf_add(out, own.p, folder);
    for (const char *m = done_marker; *m; m++)
        if (*m == '*')
            buf_add(out, own.p + folder, own.n - folder);
        else
            buf_addc(out, *m);
    return out->failed ? err_nomem(err) : 0;
}

/* Its URI; empty where none is wanted. */
static int marker_uri(const struct looking *l, struct str own, struct buf *out, struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    if (l->pass->pipeline->scan.done_marker) {
        if (pass_marker(l->pass->pipeline->scan.done_marker, own, &path, err) < 0)
            return -1;
        list_uri(l->ask.base, buf_str(&path), out);
    }
    buf_adds(out, "");
    return out->failed ? err_nomem(err) : 0;
}

static int on_peek(void *arg, const struct listed *o, struct err *err)
{
    struct looking *l = arg;
    AUTO(buf_clear) struct buf marker = { 0 };
    char why[SCAN_WHY] = "ignore: it has one of those names, is a marker, or what after= is about to finish";
    bool ignored = is_ignored(&l->pass->pipeline->scan, o->name);
    if (marker_uri(l, o->path, &marker, err) < 0)
        return -1;
    const char *slash = strrchr(marker.p, '/');
    l->objects[0] = (struct scan_object){ .uri = o->uri, .etag = o->etag, .size = o->size, .mtime_ms = o->mtime_ms,
                                           .mtime_step_ms = o->mtime_step_ms, .marker = slash ? slash + 1 : marker.p };
    l->paths[0] = o->path;
    int open = ignored ? 0 : scan_peek(l->pass->queue, &l->scan, &l->rules, &l->objects[0], why, l->count, err);
    l->own |= open < 0 && !l->place_failed;
    if (open >= 0)
        l->found(l->arg, &(struct pass_found){ o->uri, why, o->size, o->mtime_ms, open });
    return open < 0 ? -1 : 0;
}

static void on_folder(void *arg, const char *path, bool there)
{
    struct looking *l = arg;
    watch_folder(l->pass->watch, l->pass->owner, path, there);
}

static void on_odd(void *arg, const char *what)
{
    struct scan_count *count = ((struct looking *)arg)->count;
    if (!count->odd++)
        snprintf(count->odd_what, sizeof count->odd_what, "%s", what);
}

static void on_no_file(void *arg, const char *uri, const char *why)
{
    struct looking *l = arg;
    l->found(l->arg, &(struct pass_found){ uri, why, -1, 0, false });
}

static void on_again(void *arg, int64_t ms)
{
    struct scan_count *count = ((struct looking *)arg)->count;
    if (!count->again_ms || ms < count->again_ms)
        count->again_ms = ms;
}

/* Does its marker lie beside it? One that is older than the object was of another one; where times have no seconds nobody knows. */
static int is_marked(void *arg, const struct scan_object *o, struct err *err)
{
    struct looking *l = arg;
    AUTO(buf_clear) struct buf path = { 0 };
    int64_t mtime_ms = 0;
    if (pass_marker(l->pass->pipeline->scan.done_marker, l->paths[o - l->objects], &path, err) < 0)
        return -1;
    int there = l->lister->exists(&l->ask, buf_str(&path), &mtime_ms, err);
    l->place_failed |= there < 0;
    return there == 1 && o->mtime_step_ms <= 1000 && version_older(mtime_ms, o->mtime_ms) ? 0 : there;
}

/* May the place be asked now, by the limits that bind all who do? 0 yes, 1 later (*opens, and err says why), -1. */
static int ask_remote(struct looking *l, int64_t *opens, struct err *err)
{
    const struct pass *p = l->pass;
    char why[REMOTE_WHY];
    if (remote_list_begin(p->queue, l->remote, p->lease->ms, opens, why, err) < 0)
        return -1;
    if (!*opens)
        return 0;
    err_set(err, ERR_FETCH_BUSY, "'%s' is not listed now: %s", l->remote, why);
    return 1;
}

/* Signs of life, and the lease, while a listing takes its time. */
static bool go_on(void *arg)
{
    struct looking *l = arg;
    const struct pass *p = l->pass;
    struct err err;
    role_alive(p->role);
    if (p->lease && sys_mono_ms() - l->kept_mono_ms > p->lease->ms / 3) {
        l->kept_mono_ms = sys_mono_ms();
        int64_t opens;
        if (scan_lease_keep(p->queue, p->lease, &err) < 0 || (l->remote && ask_remote(l, &opens, &err) < 0))
            return false;
    }
    return role_grace(p->role) < 0;
}

/* ---- a listing ---- */

/* Whose limits bind it: the [remote] of what is listed now. */
static int remote_of(struct looking *l, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    if (uri_of(l->pattern, l->zone, sys_now_ms(), &uri, err) < 0)
        return -1;
    l->remote = config_remote_name(l->pass->role->config, uri.p, l->remote_text, sizeof l->remote_text);
    return 0;
}

static int looking_open(struct looking *l, const struct pass *pass, struct err *err)
{
    const struct scan_config *c = &pass->pipeline->scan;
    l->pass = pass;
    l->rules = (struct scan_rules){
        .settle_ms = c->settle_ms,
        .min_age_ms = c->min_age_ms,
        .on_change = c->on_change,
        .backoff_ms = pass->pipeline->backoff_ms,
        .backoff_max_ms = pass->pipeline->backoff_max_ms,
        .after = c->after.what != AFTER_KEEP,
        .group_files = c->group_files ? c->group_files : c->group_bytes ? SCAN_GROUP_MAX : 0,
        .group_bytes = c->group_bytes,
        .group_wait_ms = c->group_wait_ms,
        .marked = c->done_marker ? is_marked : NULL,
        .arg = l,
    };
    l->kept_mono_ms = sys_mono_ms();
    if (pattern_of(pass->pipeline, &l->pattern, &l->zone, err) < 0)
        return -1;
    l->ask = (struct list_ask){ .links = pass->links,
                                .config = pass->role->config,
                                .base = pattern_base(l->pattern),
                                .versions = c->on_change != ON_CHANGE_IGNORE || c->settle_ms || c->whole == WHOLE_TRAILER,
                                .close_after_ms = pass->now ? 0 : c->segment_age_ms,
                                .cursor = "",
                                .go_on = go_on,
                                .go_arg = l };
    if (remote_of(l, err) < 0)
        return -1;
    l->lister = lister_of(pass->pipeline, l->ask.base, err);
    return l->lister ? 0 : -1;
}

static void looking_close(struct looking *l)
{
    pattern_free(l->pattern);
    zone_close(l->zone);
    arena_clear(&l->arena);
    buf_clear(&l->reads);
    free(l->cursor);
    free(l);
}

static int list_glob(struct looking *l, const struct glob *g, struct err *err)
{
    struct list_sink sink = { .object = l->found ? on_peek : on_object, .page = l->found ? NULL : on_page, .folder = on_folder, .odd = on_odd,
                              .no_file = l->found ? on_no_file : NULL, .again = l->found ? NULL : on_again, .arg = l };
    bool here = l->cursor && !l->reached && glob_id(g) == l->scan.cursor_glob;
    l->ask.glob = g;
    l->rules_id = rules_id(l->pass->pipeline, g);
    l->ask.cursor = here ? l->cursor : "";
    l->reached |= here;
    if (l->lister->list(&l->ask, &sink, err) < 0 && (l->own || err->code != ERR_FETCH_MISSING || !pattern_is_dated(l->pattern)))
        return -1; /* else the folder of that time is not there: yet, or never */
    return flush(l, err) < 0 ? -1 : pages_flush(l, err);
}

/* All moments from `from` to `to`, piece by piece. */
static int list_window(struct looking *l, int64_t from, int64_t to, struct err *err)
{
    int rc = 0;
    do {
        struct globs globs;
        if (pattern_globs(l->pattern, l->zone, from, to, &globs, &from, err) < 0)
            return -1;
        for (int i = 0; rc == 0 && i < globs.n; i++)
            rc = go_on(l) ? list_glob(l, &globs.v[i], err) : err_set(err, ERR_SHUTDOWN, "the listing was stopped");
        globs_clear(&globs);
    } while (rc == 0 && from < to);
    return rc;
}

/* Where the dates of the source are listed from. */
static int64_t window_begin(const struct looking *l, int64_t now)
{
    return l->scan.covered && l->scan.covered < now ? l->scan.covered : now;
}

static int take_all(struct looking *l, bool listed, struct err *err)
{
    const struct pass *p = l->pass;
    AUTO(submission_clear) struct submission s = { 0 };
    struct scan_groups walk = { .whole = listed, .end = !l->rules.group_files };
    int n = pass_job(p->role->config, p->pipeline, &s, err);
    if (n >= 0 && (n = scan_take_again(p->queue, p->lease, &l->scan, &l->rules, l->count, err)) > 0)
        queue_ring(p->queue, BELL_READY, n);
    while (n >= 0) {
        n = l->rules.group_files ? scan_take_groups(p->queue, p->lease, &l->scan, &l->rules, &s.job, &walk, l->count, err)
                                 : scan_take(p->queue, p->lease, &l->scan, &l->rules, &s.job, err);
        if (n > 0) {
            l->count->taken += n;
            queue_ring(p->queue, BELL_READY, n);
        } else if (walk.end) {
            break;
        }
        role_alive(p->role);
    }
    buf_clear(&walk.after);
    return n;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

/* Pause before the next try of a listing that broke off, like `breaks` before it: it doubles, from backoff= or every=, what is less, to
 * backoff_max=; another host that is looked at often is to be found well again soon, too. */
static int64_t retry_ms(const struct pipeline *p, bool other_host, int64_t breaks)
{
    int64_t every = p->scan.every_ms, ms = every ? least(p->backoff_ms, every) : p->backoff_ms, most = p->backoff_max_ms;
    if (other_host && every)
        most = greatest(every, least(most, RETRY_MAX_MS));
    for (ms = greatest(ms, RETRY_MIN_MS); breaks > 0 && ms < most; breaks--)
        ms *= 2;
    return least(ms, greatest(most, RETRY_MIN_MS));
}

/* How far the dates of the source are listed now: not beyond what was not listed from its beginning, or waits; but what waits for
 * ever does not hold the window open for ever. */
static int64_t covers(const struct looking *l, int64_t started, int64_t window_from, bool whole)
{
    if (whole && !l->count->waiting)
        return started;
    return whole && window_from < started - HOLD_MAX_MS ? started - HOLD_MAX_MS : window_from;
}

/* Write down how it ended. `listed`: the listing came to its end. */
static int finish(struct looking *l, int64_t started, int64_t window_from, bool listed, const struct err *why, struct err *err)
{
    const struct pipeline *p = l->pass->pipeline;
    int64_t now = sys_now_ms(), every = p->scan.every_ms;
    struct scan_end e = {
        .started = started,
        .next_at = !every ? 0 : started <= now && started + every > now ? started + every : now + every,
        .covered = covers(l, started, window_from, listed && !l->reached),
        .count = l->count,
        .whole = listed && !l->reached,
        .broke = !listed,
        .resumes = !listed && (l->paged || l->cursor) && err_class(why->code) == ERR_TRANSIENT,
        .forget_ms = p->scan.forget_ms,
        .why = why,
    };
    if (!listed) {
        e.again_at = now + greatest(why->retry_after_ms, retry_ms(p, l->remote, l->scan.breaks));
        if (every && l->remote) /* nobody is asked as often as before when that fails */
            e.next_at = e.again_at;
    }
    if (listed && l->count->again_ms)
        e.again_at = now + l->count->again_ms;
    else if (listed && (l->count->waiting || l->reached) && !every)
        e.again_at = now + AGAIN_MS;
    if (scan_end(l->pass->queue, l->pass->lease, &l->scan, &e, err) < 0)
        return -1;
    if (l->count->gone && l->pattern && pattern_is_dated(l->pattern))
        log_event(LOG_WARN, "objects waited and are not listed any more; what waits keeps its folder listed for a week at most", "pipeline",
                  p->name, "objects", log_num(l->count->gone), NULL);
    return 0;
}

/* 1: the place is not to be asked now, which is written down; 0; -1. */
static int hold(struct looking *l, int64_t now, struct err *why, struct err *err)
{
    int64_t opens;
    int held = l->remote ? ask_remote(l, &opens, why) : 0;
    if (held < 0)
        *err = *why;
    if (held <= 0)
        return held;
    l->count->held_ms = opens > now ? opens - now : 1;
    return scan_held(l->pass->queue, l->pass->lease, &l->scan, opens, why, err) < 0 ? -1 : 1;
}

static int run(struct looking *l, struct err *why, struct err *err)
{
    const struct pass *pass = l->pass;
    int64_t now = sys_now_ms(), from = 0;
    int rc = looking_open(l, pass, why);
    if (scan_begin(pass->queue, pass->lease, &l->scan, now, err) < 0)
        return -1;
    int held = rc == 0 ? hold(l, now, why, err) : 0;
    if (held)
        return held < 0 ? -1 : 0;
    if (rc == 0)
        rc = know_pages(l, why);
    if (rc == 0) {
        from = window_begin(l, now);
        rc = list_window(l, from - pass->pipeline->scan.lookback_ms, now, why);
    }
    list_links_rest(pass->links);
    if (l->lister && l->remote && remote_list_end(pass->queue, l->remote, l->pages + !l->pages, why, err) < 0)
        return -1;
    if (rc < 0 && (l->own || why->code == ERR_SHUTDOWN)) {
        *err = *why;
        return -1;
    }
    bool listed = rc == 0;
    if (listed)
        *why = (struct err){ 0 }; /* of a folder or a marker that is not there, and need not be */
    /* what a listing found before it failed counts */
    if (l->pattern && ((!listed && !l->place_failed && flush(l, err) < 0) || take_all(l, listed && !l->reached, err) < 0))
        return -1;
    if (listed && *l->count->changed_uri)
        err_set(why, ERR_CHANGED, l->count->changed == 1 ? "%lld object is not what it was when it was taken: %s"
                                                         : "%lld objects are not what they were when they were taken, such as %s",
                (long long)l->count->changed, l->count->changed_uri);
    else if (listed && l->count->odd)
        err_set(why, ERR_FETCH_REFUSED, "%lld name%s left out: %s", (long long)l->count->odd, l->count->odd == 1 ? " was" : "s were", l->count->odd_what);
    return finish(l, now, from, listed, why->code != ERR_NONE ? why : NULL, err);
}

int pass_run(const struct pass *pass, struct scan_count *count, struct err *why, struct err *err)
{
    struct looking *l = calloc(1, sizeof *l);
    *count = (struct scan_count){ 0 };
    *why = (struct err){ 0 };
    if (!l)
        return err_nomem(err);
    l->pass = pass;
    l->count = count;
    int rc = scan_get(pass->queue, pass->lease, pass->pipeline->name, pass->pipeline->source, true, &l->scan, err);
    if (rc == 0 && !l->scan.wanted) /* who asks wants all that is there now */
        rc = scan_cursor(pass->queue, pass->pipeline->name, &l->cursor, err);
    if (rc == 0)
        rc = run(l, why, err);
    looking_close(l);
    return rc < 0 ? err_in(err, "scan of '%s'", pass->pipeline->name) : 0;
}

int pass_broke_off(const struct pass *pass, const struct err *why, struct err *err)
{
    struct scan_count count = { 0 };
    struct looking l = { .pass = pass, .count = &count };
    int rc = scan_get(pass->queue, pass->lease, pass->pipeline->name, pass->pipeline->source, true, &l.scan, err);
    if (rc == 0)
        rc = finish(&l, sys_now_ms(), l.scan.covered, false, why, err);
    return rc < 0 ? err_in(err, "scan of '%s'", pass->pipeline->name) : 0;
}

int pass_peek(const struct pass *pass, const struct scan_row *scan, void (*found)(void *arg, const struct pass_found *o), void *arg,
              struct scan_count *count, struct err *err)
{
    struct looking *l = calloc(1, sizeof *l);
    int64_t now = sys_now_ms();
    *count = (struct scan_count){ 0 };
    if (!l)
        return err_nomem(err);
    l->count = count;
    l->scan = *scan;
    l->found = found;
    l->arg = arg;
    int rc = looking_open(l, pass, err);
    if (rc == 0)
        rc = list_window(l, window_begin(l, now) - pass->pipeline->scan.lookback_ms, now, err);
    looking_close(l);
    return rc;
}

static int on_any(void *arg, const struct listed *o, struct err *err)
{
    (void)arg, (void)o, (void)err;
    return 1;
}

/* The newest folders that the source names: those of dates need not be there. */
static int probe(struct looking *l, struct err *err)
{
    const struct list_sink sink = { .object = on_any, .arg = l };
    struct globs globs;
    int64_t now = sys_now_ms(), covered;
    if (pattern_globs(l->pattern, l->zone, now, now, &globs, &covered, err) < 0)
        return -1;
    l->ask.glob = &globs.v[0];
    int rc = l->lister->list(&l->ask, &sink, err);
    globs_clear(&globs);
    return rc < 0 && err->code == ERR_FETCH_MISSING && pattern_is_dated(l->pattern) ? 0 : rc;
}

int pass_probe(const struct pass *pass, struct err *err)
{
    struct looking *l = calloc(1, sizeof *l);
    if (!l)
        return err_nomem(err);
    int rc = looking_open(l, pass, err) < 0 ? -1 : probe(l, err);
    looking_close(l);
    return rc;
}
