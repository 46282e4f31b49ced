/*
 * Buckets of S3 stores, by ListObjectsV2 of io/s3. A bucket has no folders; "/" makes them. Levels of the glob in front of its
 * first "**" are listed with "/" as the delimiter, so that only common prefixes which lead to a match are looked into; from
 * there on all keys below come as one list.
 *
 * One page (at most 1000 keys) is held for each level of depth, whatever the number of keys. The cursor is the last key of a page
 * of the first level: start-after takes it on any store, also on one that was started again and forgot its tokens.
 *
 * Listings write nothing. What after= does: there is no rename, so an object is copied, looked at again, and deleted on the
 * condition that it is still the one with that ETag.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "io/s3.h"
#include "io/sha256.h"
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

static bool same_etag(const char *a, const char *b)
{
    struct str x = str_of(a), y = str_of(b);
    struct str *const both[] = { &x, &y };
    for (int i = 0; i < 2; i++) /* some stores list them without */
        if (both[i]->n > 1 && both[i]->p[0] == '"')
            *both[i] = (struct str){ both[i]->p + 1, both[i]->n - 2 };
    return str_eq(x, y);
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

/* ---- single objects ---- */

static int on_tick(void *arg, struct err *err)
{
    const struct list_ask *ask = arg;
    return !ask->go_on || ask->go_on(ask->go_arg) ? 0 : err_set(err, ERR_SHUTDOWN, "stopped while the store was waited for");
}

static const char *key_of(struct str path) { return path.p + 1; }

/* A call of the store is over. */
static int over(const struct list_ask *ask, struct s3 *s3, int rc, const struct err *err)
{
    s3_watch(s3, NULL, NULL);
    if (rc < 0 && err->code == ERR_FETCH_DENIED)
        list_s3_drop(ask->links);
    return rc;
}

static struct s3 *store_of(const struct list_ask *ask, struct str path, struct err *err)
{
    struct s3 *s3 = list_s3_store(ask, path, err);
    if (s3)
        s3_watch(s3, on_tick, (void *)ask);
    return s3;
}

/* What is there, and is it of that version (NULL: any)? enum list_there, -1. */
static int look_at(const struct list_ask *ask, struct str path, const struct list_version *v, struct s3_object *o, struct err *err)
{
    struct s3 *s3 = store_of(ask, path, err);
    int there = s3 ? over(ask, s3, s3_head(s3, key_of(path), o, err), err) : -1;
    if (there <= 0)
        return there < 0 ? -1 : LIST_NONE;
    if (!v)
        return LIST_SAME;
    if (v->size >= 0 && o->size >= 0 && v->size != o->size)
        return LIST_OTHER;
    if (*v->etag && *o->etag)
        return same_etag(v->etag, o->etag) ? LIST_SAME : LIST_OTHER;
    int64_t now_ms = text_shown_ms(str_of(o->modified));
    if (!now_ms || !v->mtime_ms)
        return err_set(err, ERR_FETCH_REFUSED, "%s: the store says neither ETag nor time of an object", ask->base);
    return now_ms / 1000 == v->mtime_ms / 1000 ? LIST_SAME : LIST_OTHER;
}

static int look(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err)
{
    struct s3_object o;
    return look_at(ask, path, v, &o, err);
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    AUTO(buf_clear) struct buf own = { 0 };
    struct s3_object o;
    buf_add(&own, path.p, path.n);
    if (own.failed)
        return err_nomem(err);
    int there = look_at(ask, buf_str(&own), NULL, &o, err);
    *mtime_ms = there > LIST_NONE ? text_shown_ms(str_of(o.modified)) : 0;
    return there < 0 ? -1 : there != LIST_NONE;
}

static int add_bytes(void *arg, struct str bytes, struct err *err) { return sha256_add(arg, bytes, err); }

static int hash_of(struct s3 *s3, struct str path, const char *etag, char hex[SHA256_HEX + 1], struct err *err)
{
    struct sha256 *sum = sha256_new(err);
    int rc = sum ? s3_get(s3, key_of(path), 0, -1, *etag ? etag : NULL, add_bytes, sum, NULL, err) : -1;
    if (rc == 0)
        err_set(err, ERR_CHANGED, "it went while it was compared");
    rc = rc == 1 ? sha256_end(sum, hex, err) : -1;
    sha256_free(sum);
    return rc;
}

/* Are both the same bytes? The ETag of a copy is another one where the object came in parts, or is encrypted. 1, 0, -1 */
static int same_bytes(const struct list_ask *ask, struct str a, const struct s3_object *ao, struct str b, const struct s3_object *bo,
                      struct err *err)
{
    char ahex[SHA256_HEX + 1], bhex[SHA256_HEX + 1];
    if (ao->size != bo->size || (*ao->etag && same_etag(ao->etag, bo->etag)))
        return ao->size == bo->size;
    struct s3 *s3 = store_of(ask, a, err);
    if (!s3)
        return -1;
    int rc = hash_of(s3, a, ao->etag, ahex, err) < 0 || hash_of(s3, b, bo->etag, bhex, err) < 0 ? -1 : 0;
    return over(ask, s3, rc, err) < 0 ? -1 : !strcmp(ahex, bhex);
}

static int copy_to(const struct list_ask *ask, struct str from, struct str to, bool *made, struct err *err)
{
    struct s3_object here, there;
    int rc = look_at(ask, from, NULL, &here, err);
    int taken = rc < 0 ? -1 : look_at(ask, to, NULL, &there, err);
    *made = false;
    if (taken < 0)
        return -1;
    if (rc == LIST_NONE)
        return err_set(err, ERR_FETCH_MISSING, "%s%.*s: it went before it was copied", ask->base, (int)from.n, from.p);
    if (taken != LIST_NONE)
        return same_bytes(ask, from, &here, to, &there, err);
    if (here.size > (int64_t)S3_COPY_MAX_GIB << 30)
        return err_set(err, ERR_FETCH_REFUSED, "%s%.*s: stores copy no more than %d GiB at once; use after = delete, or a rule of the store",
                       ask->base, (int)from.n, from.p, S3_COPY_MAX_GIB);
    struct s3 *s3 = store_of(ask, from, err);
    rc = s3 ? over(ask, s3, s3_copy(s3, key_of(from), key_of(to), err), err) : -1;
    if (rc == 0)
        err_set(err, ERR_FETCH_MISSING, "%s%.*s: it went before it was copied", ask->base, (int)from.n, from.p);
    *made = rc == 1;
    return rc == 1 ? 1 : -1;
}

static int remove_one(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err)
{
    struct s3_object o;
    int there = look_at(ask, path, v, &o, err);
    if (there != LIST_SAME)
        return there < 0 ? -1 : there == LIST_NONE;
    struct s3 *s3 = store_of(ask, path, err);
    if (!s3)
        return -1;
    return over(ask, s3, *o.etag ? s3_delete_version(s3, key_of(path), o.etag, err) : s3_delete(s3, key_of(path), err) < 0 ? -1 : 1, err);
}

static const struct list_acts acts = { .look = look, .copy = copy_to, .remove = remove_one };
static const char *const schemes[] = { "s3", NULL };
const struct lister list_s3 = { schemes, false, list, exists, &acts };
