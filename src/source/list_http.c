/*
 * Folders of web servers, by the pages that these make of them (source/index_page.h), fetched by io/fetch with its time limits,
 * credentials and checks. A page below another one is asked for only when it can lead to a match, and after the one above it
 * came to its end: one transfer at a time.
 *
 * Every page lies strictly below the one that named it, so no link leads round in a circle; how deep, how many and how long
 * pages are has limits, and what waits to be asked for as well. Nothing here writes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "io/fetch.h"
#include "source/index_page.h"
#include "source/list.h"

enum {
    PAGES_MAX = 100000,         /* of one listing */
    PAGE_BYTES_MAX = 256 << 20, /* of one page: some million files */
    WAITING_MAX = 32 << 20,     /* bytes of names that wait for a request of their own */
};

struct walk {
    const struct list_ask *ask;
    const struct list_sink *sink;
    struct fetch *fetch;
    struct index_page *page;
    struct glob_work work;
    struct buf uri;
    struct buf folders, objects; /* names that wait, each with a NUL behind it */
    int64_t pages;
    struct fetch_head head; /* of the last answer */
    bool leads_on;          /* the page names what takes another request */
    bool headed;            /* the head of an answer came, and was enough */
    int rc;                 /* of the sink, when it ended a transfer */
};

static const struct remote *remote_of(const struct walk *w)
{
    return config_remote(w->ask->config, w->uri.p);
}

/* w->uri of the path. */
static int set_uri(struct walk *w, struct str path, struct err *err)
{
    buf_reset(&w->uri);
    list_uri(w->ask->base, path, &w->uri);
    return w->uri.failed ? err_nomem(err) : 0;
}

/* ---- requests ---- */

static int on_head(void *arg, const struct fetch_head *head, struct err *err)
{
    struct walk *w = arg;
    (void)err;
    w->head = *head;
    return 0;
}

static int on_tick(void *arg, struct err *err)
{
    const struct walk *w = arg;
    if (w->ask->go_on && !w->ask->go_on(w->sink->arg))
        return err_set(err, ERR_SHUTDOWN, "the listing was stopped");
    return 0;
}

static ssize_t on_bytes(void *arg, const void *p, size_t n, struct err *err)
{
    struct walk *w = arg;
    w->rc = index_page_add(w->page, (struct str){ p, n }, err);
    return w->rc ? -1 : (ssize_t)n;
}

static int on_enough(void *arg, const struct fetch_head *head, struct err *err)
{
    struct walk *w = arg;
    w->head = *head;
    w->headed = true;
    return err_set(err, ERR_INTERNAL, "the head was enough");
}

/* By the head of a GET, which is broken off, for a server that knows no HEAD. */
static int look_by_get(struct walk *w, struct err *err)
{
    const struct fetch_sink sink = { .arg = w, .head = on_enough, .tick = on_tick };
    int64_t got;
    w->headed = false;
    (void)fetch_get(w->fetch, w->uri.p, remote_of(w), NULL, &sink, &got, err);
    return w->headed ? 1 : err->code == ERR_FETCH_MISSING ? 0 : -1;
}

/* What the object at w->uri is: 1 and w->head, 0 there is none, -1. */
static int look(struct walk *w, struct err *err)
{
    const struct fetch_sink sink = { .arg = w, .head = on_head, .tick = on_tick };
    if (fetch_look(w->fetch, w->uri.p, remote_of(w), &sink, err) == 0)
        return 1;
    if (err->sys == 405 || err->sys == 501)
        return look_by_get(w, err);
    return err->code == ERR_FETCH_MISSING ? 0 : -1;
}

/* ---- objects ---- */

static int offer(struct walk *w, struct str path, const struct index_link *link, struct err *err)
{
    struct listed o = { .size = link->size, .mtime_ms = link->mtime_ms, .etag = link->version };
    if (set_uri(w, path, err) < 0)
        return -1;
    o.uri = w->uri.p;
    return list_offer(w->ask, w->sink, &w->work, path, &o, err);
}

/* Ask for its version, and give it. 1 from the sink ends it. */
static int offer_looked(struct walk *w, struct str path, struct err *err)
{
    if (on_tick(w, err) < 0 || set_uri(w, path, err) < 0)
        return -1;
    int there = look(w, err);
    if (there <= 0)
        return there;
    struct index_link link = { .size = w->head.size, .mtime_ms = text_shown_ms(str_of(w->head.modified)), .version = w->head.etag };
    return offer(w, path, &link, err);
}

/* ---- a page ---- */

static int wait_for(struct walk *w, struct buf *list, struct str path, struct err *err)
{
    w->leads_on = true;
    if (memchr(path.p, '\0', path.n)) /* no URL leads there */
        return 0;
    if (w->folders.n + w->objects.n + path.n > WAITING_MAX)
        return err_set(err, ERR_LIMIT, "the names of folders and files that are to be asked for are longer than %d MiB", WAITING_MAX >> 20);
    buf_add(list, path.p, path.n);
    buf_addc(list, '\0');
    return list->failed ? err_nomem(err) : 0;
}

static int depth_of(const struct walk *w, struct str path)
{
    int n = 0;
    for (size_t i = w->ask->glob->folder; i < path.n; i++)
        n += path.p[i] == '/';
    return n;
}

static int on_link(void *arg, const struct index_link *link, struct err *err)
{
    struct walk *w = arg;
    bool folder = link->path.p[link->path.n - 1] == '/';
    bool shown = link->size >= 0 || link->mtime_ms || *link->version;
    int fits = folder ? glob_leads(w->ask->glob, &w->work, link->path) : glob_match(w->ask->glob, &w->work, link->path, NULL);
    if (fits <= 0)
        return fits < 0 ? err_nomem(err) : 0;
    if (folder && depth_of(w, link->path) > LIST_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "'%.*s' lies deeper than %d folders", (int)(link->path.n < 200 ? link->path.n : 200), link->path.p,
                       LIST_DEPTH_MAX);
    if (folder)
        return wait_for(w, &w->folders, link->path, err);
    return shown || !w->ask->versions ? offer(w, link->path, link, err) : wait_for(w, &w->objects, link->path, err);
}

/* Unless it is what it was: 1 it came; 0 it did not need to; -1. */
static int get_page(struct walk *w, const char *uri, const struct fetch_sink *sink, struct err *err)
{
    const struct list_known *known = w->ask->known;
    struct fetch_head head = { 0 };
    int has = known ? known->get(known->arg, uri, &head, err) : 0;
    if (has < 0)
        return -1;
    int rc = fetch_get_changed(w->fetch, uri, config_remote(w->ask->config, uri), &head, sink, err);
    if (rc == 0)
        known->same(known->arg);
    return rc;
}

/* The page of a folder; the path is consumed before the next one is taken. 0, 1 enough, -1. */
static int read_page(struct walk *w, struct str folder, struct err *err)
{
    const struct fetch_sink sink = { .arg = w, .head = on_head, .write = on_bytes, .tick = on_tick };
    AUTO(buf_clear) struct buf uri = { 0 };
    char shown[200];
    if (++w->pages > PAGES_MAX)
        return err_set(err, ERR_LIMIT, "the listing has more than %d pages", PAGES_MAX);
    if (on_tick(w, err) < 0 || set_uri(w, folder, err) < 0)
        return -1;
    buf_add(&uri, w->uri.p, w->uri.n); /* w->uri changes while it comes */
    w->page = uri.failed ? NULL : index_page_new(w->ask->base, folder, on_link, w);
    if (!w->page)
        return err_nomem(err);
    fetch_redact(uri.p, shown, sizeof shown);
    w->rc = 0;
    w->leads_on = false;
    int came = get_page(w, uri.p, &sink, err);
    bool own = came >= 0 || w->rc; /* the page is at fault, and not the way to it */
    int rc = w->rc ? w->rc : came < 0 ? -1 : came ? index_page_end(w->page, err) : 0;
    if (rc == 0 && index_page_skipped(w->page) && w->sink->odd)
        w->sink->odd(w->sink->arg, "the server shows a name that is not UTF-8 in JSON, which cannot say it");
    index_page_free(w->page);
    w->page = NULL;
    if (rc < 0)
        return own ? err_in(err, "%s", shown) : -1;
    const struct list_known *known = w->ask->known;
    return rc == 0 && came && known && !w->leads_on ? known->put(known->arg, uri.p, &w->head, err) : rc;
}

static int look_at_all(struct walk *w, struct err *err)
{
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < w->objects.n;) {
        struct str path = str_of(w->objects.p + at);
        rc = offer_looked(w, path, err);
        at += path.n + 1;
    }
    buf_reset(&w->objects);
    return rc;
}

/* The folder that was named last: those below a page go before those beside it. */
static int take_folder(struct walk *w, struct buf *out, struct err *err)
{
    size_t begin = w->folders.n - 1;
    while (begin && w->folders.p[begin - 1])
        begin--;
    buf_reset(out);
    buf_adds(out, w->folders.p + begin);
    w->folders.n = begin;
    return out->failed ? err_nomem(err) : 0;
}

static int walk_folders(struct walk *w, struct err *err)
{
    AUTO(buf_clear) struct buf folder = { 0 };
    int rc = wait_for(w, &w->folders, (struct str){ w->ask->glob->prefix.p, w->ask->glob->folder }, err);
    while (rc == 0 && w->folders.n) {
        if ((rc = take_folder(w, &folder, err)) < 0)
            break;
        rc = read_page(w, buf_str(&folder), err);
        if (rc < 0 && err->code == ERR_FETCH_MISSING && w->pages > 1)
            rc = 0; /* gone since it was named */
        if (rc == 0)
            rc = look_at_all(w, err);
    }
    return rc;
}

/* ---- the calls ---- */

static int walk_open(struct walk *w, const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    struct limits limits = ask->config->limits;
    limits.object_bytes = PAGE_BYTES_MAX;
    *w = (struct walk){ .ask = ask, .sink = sink };
    return fetch_open(&w->fetch, &limits, err);
}

static void walk_close(struct walk *w)
{
    fetch_close(w->fetch);
    buf_clear(&w->uri);
    buf_clear(&w->folders);
    buf_clear(&w->objects);
    glob_work_clear(&w->work);
}

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    struct walk w;
    if (walk_open(&w, ask, sink, err) < 0)
        return -1;
    int rc = ask->glob->literal ? offer_looked(&w, ask->glob->prefix, err) : walk_folders(&w, err);
    walk_close(&w);
    return rc < 0 ? -1 : 0;
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    const struct list_sink none = { .arg = ask->go_arg };
    struct walk w;
    if (walk_open(&w, ask, &none, err) < 0)
        return -1;
    int rc = set_uri(&w, path, err) < 0 ? -1 : look(&w, err);
    *mtime_ms = rc == 1 ? text_shown_ms(str_of(w.head.modified)) : 0;
    walk_close(&w);
    return rc;
}

static const char *const schemes[] = { "http", "https", NULL };
const struct lister list_http = { schemes, false, list, exists, NULL };
