/*
 * Buckets of S3 stores, by ListObjectsV2 of io/s3. A bucket has no folders; "/" makes them. Levels of the glob in front of its
 * first "**" are listed with "/" as the delimiter, so that only common prefixes which lead to a match are looked into; from
 * there on all keys below come as one list.
 *
 * One page (at most 1000 keys) is held for each level of depth, whatever the number of keys. The cursor is the last key of a page
 * of the first level: start-after takes it on any store, also on one that was started again and forgot its tokens.
 * Nothing here writes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "io/s3.h"
#include "source/list.h"

enum { PAGES_MAX = 1000000 /* of one listing: a thousand million keys */ };

struct walk {
    const struct list_ask *ask;
    const struct list_sink *sink;
    struct s3 *s3;
    struct glob_work work;
    struct buf path, uri;
    int64_t pages;
};

/* A common prefix that is listed. */
struct level {
    struct walk *w;
    int depth;
    struct buf first, last; /* the first and the greatest key or prefix of the page */
    struct err *err;
};

static int offer(struct walk *w, const char *key, const struct s3_object *object, struct err *err)
{
    size_t n = strlen(key);
    if (!n || key[n - 1] == '/') /* stands for a folder */
        return 0;
    buf_reset(&w->path);
    buf_reset(&w->uri);
    buf_addc(&w->path, '/');
    buf_add(&w->path, key, n);
    list_uri(w->ask->base, buf_str(&w->path), &w->uri);
    if (w->path.failed || w->uri.failed)
        return err_nomem(err);
    struct listed o = { .uri = w->uri.p, .size = object->size, .mtime_ms = text_shown_ms(str_of(object->modified)), .etag = object->etag };
    return list_offer(w->ask, w->sink, &w->work, buf_str(&w->path), &o, err);
}

/* ---- lists ---- */

static int list_prefix(struct walk *w, const char *prefix, int depth, struct err *err);

static int enter(struct walk *w, const char *prefix, int depth, struct err *err)
{
    buf_reset(&w->path);
    buf_addc(&w->path, '/');
    buf_adds(&w->path, prefix);
    int leads = w->path.failed ? -1 : glob_leads(w->ask->glob, &w->work, buf_str(&w->path));
    if (leads <= 0)
        return leads < 0 ? err_nomem(err) : 0;
    if (depth == LIST_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "'%.200s' lies deeper than %d folders", prefix, LIST_DEPTH_MAX);
    return list_prefix(w, prefix, depth + 1, err);
}

static int on_entry(void *arg, const char *key, const struct s3_object *object, struct err *err)
{
    struct level *l = arg;
    if (!l->first.n)
        buf_adds(&l->first, key);
    if (!l->last.n || strcmp(key, l->last.p) > 0) {
        buf_reset(&l->last);
        buf_adds(&l->last, key);
    }
    if (l->first.failed || l->last.failed)
        return err_nomem(err);
    return object ? offer(l->w, key, object, err) : enter(l->w, key, l->depth, err);
}

static bool goes_on(const struct walk *w)
{
    return !w->ask->go_on || w->ask->go_on(w->sink->arg);
}

/* How many folders the path of a prefix names. */
static int folders(const char *prefix)
{
    int n = 1;
    for (; *prefix; prefix++)
        n += *prefix == '/';
    return n;
}

/* Pages that never end, or say the same again, are not listened to for ever. */
static int check_page(struct walk *w, const struct level *l, const struct buf *before, struct err *err)
{
    if (!goes_on(w))
        return err_set(err, ERR_SHUTDOWN, "the listing was stopped");
    if (++w->pages > PAGES_MAX)
        return err_set(err, ERR_LIMIT, "the list has more than %d pages", PAGES_MAX);
    if (before->n && (!l->first.n || str_eq(buf_str(before), buf_str(&l->first))))
        return err_set(err, ERR_FETCH, "the store's list does not go on: two pages behind each other begin alike, or are empty");
    return 0;
}

static int list_prefix(struct walk *w, const char *prefix, int depth, struct err *err)
{
    struct level l = { .w = w, .depth = depth };
    AUTO(buf_clear) struct buf before = { 0 };
    AUTO(buf_clear) struct buf own = { 0 };
    const char *delimiter = folders(prefix) < w->ask->glob->deep ? "/" : NULL;
    const char *after = depth == 0 && *w->ask->cursor ? w->ask->cursor : NULL;
    AUTO(free_charp) char *token = calloc(1, S3_TOKEN);
    int rc = token ? 0 : err_nomem(err);
    buf_adds(&own, prefix); /* it lies in the page above, which is on the way to be read */
    while (rc == 0) {
        l.first.n = l.last.n = 0;
        rc = own.failed ? err_nomem(err) : s3_page(w->s3, own.p, delimiter, after, token, on_entry, &l, err);
        if (rc == 0)
            rc = check_page(w, &l, &before, err);
        if (rc == 0 && depth == 0 && w->sink->page && l.last.n)
            rc = w->sink->page(w->sink->arg, l.last.p, err);
        if (rc || !*token)
            break;
        buf_reset(&before);
        buf_add(&before, l.first.p, l.first.n);
        rc = before.failed ? err_nomem(err) : 0;
    }
    buf_clear(&l.first);
    buf_clear(&l.last);
    return rc;
}

/* ---- the calls ---- */

static int open_store(const struct list_ask *ask, struct s3 **out, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    struct str bucket, key;
    list_uri(ask->base, ask->glob->prefix, &uri);
    if (uri.failed)
        return err_nomem(err);
    if (s3_split(uri.p, &bucket, &key, err) < 0)
        return -1;
    return s3_open(out, config_remote(ask->config, uri.p), bucket, &ask->config->limits, err);
}

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    struct walk w = { .ask = ask, .sink = sink };
    const char *prefix = ask->glob->prefix.p + 1; /* a path begins with a slash, a key does not */
    struct s3_object object;
    if (open_store(ask, &w.s3, err) < 0)
        return -1;
    int rc;
    if (ask->glob->literal)
        rc = (rc = s3_head(w.s3, prefix, &object, err)) == 1 ? offer(&w, prefix, &object, err) : rc;
    else
        rc = list_prefix(&w, prefix, 0, err);
    s3_close(w.s3);
    buf_clear(&w.path);
    buf_clear(&w.uri);
    glob_work_clear(&w.work);
    return rc < 0 ? -1 : 0;
}

static int exists(const struct list_ask *ask, struct str path, struct err *err)
{
    AUTO(buf_clear) struct buf key = { 0 };
    struct s3_object object;
    struct s3 *s3;
    buf_add(&key, path.p + 1, path.n - 1);
    if (key.failed)
        return err_nomem(err);
    if (open_store(ask, &s3, err) < 0)
        return -1;
    int rc = s3_head(s3, key.p, &object, err);
    s3_close(s3);
    return rc;
}

static const char *const schemes[] = { "s3", NULL };
const struct lister list_s3 = { schemes, false, list, exists, NULL };
