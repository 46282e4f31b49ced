/*
 * A bucket as a store. Objects above a part's size go up in parts, each with the hash of its bytes in
 * the signature; the store puts them together, or there is no object.
 *
 * Up to LANES parts are on their way at a time, for a store far away answers each only after its time. Each lane is
 * a thread that lives as long as the put, with a connection that is kept; the caller's thread alone reads the bytes,
 * hashes them and looks after its owner's duties. All parts in memory together are at most IN_MEMORY bytes, or two
 * parts.
 *
 * If the loader dies in between, the parts stay in the store until its own rule for unfinished uploads
 * removes them (a lifecycle rule, see doc/object-stores.md); the next load begins an upload of its own.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/sys.h"
#include "io/s3.h"
#include "target/object_store.h"

enum { PART = 8 << 20, SMALL_MAX = 64 << 20, LANES = 4, IN_MEMORY = 32 << 20 };

struct bucket {
    struct store store;
    const struct config *config; /* borrowed */
    char *url;                   /* of its folder: with a '/' at its end, as a [remote] may have it */
    struct s3 *s3;
    char *prefix; /* with a '/' at its end, or "" */
    char *whole;  /* bytes of an object on its way */
    size_t whole_bytes;
    struct s3 *lanes[LANES]; /* for parts: opened when first needed, and kept */
    int (*tick)(void *arg, struct err *err);
    void *tick_arg;
};

/* Does the store not know who asks? https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
static bool is_of_login(const struct err *err)
{
    static const char *const says[] = { "SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "AuthorizationHeaderMalformed" };
    for (size_t i = 0; i < COUNT_OF(says); i++)
        if (strstr(err->msg, says[i]))
            return true;
    return false;
}

/* What the store says is no fault of the job: it waits, and people read why. */
static int away(struct err *err)
{
    if (err->code != ERR_NO_MEMORY && err->code != ERR_STAGED_DAMAGED && err->code != ERR_DISK_FULL)
        err->code = is_of_login(err) ? ERR_TARGET_LOGIN : ERR_TARGET;
    return -1;
}

static int key_of(struct bucket *b, const char *name, char key[S3_KEY_MAX + 1], struct err *err)
{
    int n = snprintf(key, S3_KEY_MAX + 1, "%s%s", b->prefix, name);
    return n <= S3_KEY_MAX ? 0 : err_set(err, ERR_TARGET, "'%.100s…': a name of more than %d bytes", name, S3_KEY_MAX);
}

static int no_lock(struct store *s, struct err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static void no_unlock(struct store *s)
{
    (void)s;
}

/* The next n bytes at *p, which has room for *room. */
static int fill(char **p, size_t *room, const struct store_source *source, size_t n, struct sha256 *sum, struct err *err)
{
    if (n > *room) {
        char *more = realloc(*p, n);
        if (!more)
            return err_nomem(err);
        *p = more;
        *room = n;
    }
    if (source->read(source->arg, *p, n, err) < 0)
        return -1;
    return sha256_add(sum, (struct str){ *p, n }, err);
}

static int put_whole(struct bucket *b, const char *key, const struct store_source *source, struct sha256 *sum,
                     struct err *err)
{
    size_t n = (size_t)source->bytes;
    if (fill(&b->whole, &b->whole_bytes, source, n, sum, err) < 0)
        return -1;
    return s3_put(b->s3, key, (struct str){ b->whole, n }, NULL, NULL, err) < 0 ? -1 : 0;
}

/* ---- parts ---- */

struct upload;
struct lane {
    struct upload *u;
    struct s3 *s3;
    pthread_t thread;
    char *p;
    size_t room, n;
    int number; /* of the part that is there; 0 none: the lane is free, and its bytes are the caller's */
};

/* What the caller and its lanes share; under the lock: number of each lane, over, failed, err. */
struct upload {
    struct bucket *bucket;
    const char *key, *id;
    struct s3_part *parts;
    struct lane lanes[LANES];
    int nlanes;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool over; /* no part comes any more */
    bool failed;
    struct err err;
};

static void fail(struct upload *u, const struct err *err)
{
    pthread_mutex_lock(&u->lock);
    if (!u->failed)
        u->err = *err;
    u->failed = true;
    pthread_mutex_unlock(&u->lock);
}

/* A lane's transfer ends when another one failed. */
static int lane_tick(void *arg, struct err *err)
{
    struct upload *u = arg;
    pthread_mutex_lock(&u->lock);
    bool failed = u->failed;
    pthread_mutex_unlock(&u->lock);
    return failed ? err_set(err, ERR_CANCELLED, "another part failed") : 0;
}

static void *lane_run(void *arg)
{
    struct lane *l = arg;
    struct upload *u = l->u;
    struct err err;
    pthread_mutex_lock(&u->lock);
    for (;;) {
        while (!l->number && !u->over)
            pthread_cond_wait(&u->changed, &u->lock);
        if (!l->number)
            break;
        pthread_mutex_unlock(&u->lock);
        if (s3_upload_part(l->s3, u->key, u->id, l->number, (struct str){ l->p, l->n }, &u->parts[l->number - 1], &err) < 0)
            fail(u, &err);
        pthread_mutex_lock(&u->lock);
        l->number = 0;
        pthread_cond_broadcast(&u->changed);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

/* As many as can be had, but one. */
static int lanes_start(struct upload *u, int n, struct err *err)
{
    struct bucket *b = u->bucket;
    struct str name, prefix;
    if (s3_split(b->url, &name, &prefix, err) < 0)
        return -1;
    for (; u->nlanes < n; u->nlanes++) {
        struct lane *l = &u->lanes[u->nlanes];
        if (!b->lanes[u->nlanes] && s3_open(&b->lanes[u->nlanes], config_remote(b->config, b->url), name, &b->config->limits, err) < 0)
            return -1;
        *l = (struct lane){ .u = u, .s3 = b->lanes[u->nlanes] };
        s3_watch(l->s3, lane_tick, u);
        if (sys_thread(&l->thread, 0, lane_run, l, err) < 0)
            break;
    }
    return u->nlanes ? 0 : -1;
}

static void lanes_end(struct upload *u)
{
    pthread_mutex_lock(&u->lock);
    u->over = true;
    pthread_cond_broadcast(&u->changed);
    pthread_mutex_unlock(&u->lock);
    for (int i = 0; i < u->nlanes; i++) {
        pthread_join(u->lanes[i].thread, NULL);
        s3_watch(u->lanes[i].s3, NULL, NULL);
        free(u->lanes[i].p);
    }
}

/* Until so many lanes are free: one of them. The owner's duties are looked after meanwhile. */
static struct lane *wait_for(struct upload *u, int wanted, struct err *err)
{
    for (;;) {
        struct lane *lane = NULL;
        struct timespec until;
        int n = 0;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        pthread_mutex_lock(&u->lock);
        for (int i = 0; i < u->nlanes; i++)
            if (!u->lanes[i].number) {
                lane = &u->lanes[i];
                n++;
            }
        bool failed = u->failed, enough = n >= wanted;
        if (failed)
            *err = u->err;
        else if (!enough)
            (void)pthread_cond_timedwait(&u->changed, &u->lock, &until);
        pthread_mutex_unlock(&u->lock);
        if (failed || (u->bucket->tick && u->bucket->tick(u->bucket->tick_arg, err) < 0))
            return NULL;
        if (enough)
            return lane;
    }
}

static int send_parts(struct upload *u, const struct store_source *source, int64_t size, struct sha256 *sum, struct err *err)
{
    int number = 0;
    for (int64_t left = source->bytes; left > 0; left -= size) {
        struct lane *l = wait_for(u, 1, err);
        size_t n = (size_t)(left < size ? left : size);
        if (!l || fill(&l->p, &l->room, source, n, sum, err) < 0)
            return -1;
        pthread_mutex_lock(&u->lock);
        l->n = n;
        l->number = ++number;
        pthread_cond_broadcast(&u->changed);
        pthread_mutex_unlock(&u->lock);
    }
    return wait_for(u, u->nlanes, err) ? 0 : -1;
}

static int send_all(struct upload *u, const struct store_source *source, int64_t size, struct sha256 *sum, struct err *err)
{
    int64_t lanes = IN_MEMORY / size < 2 ? 2 : IN_MEMORY / size;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&u->changed, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&u->lock, NULL);
    int rc = lanes_start(u, lanes < LANES ? (int)lanes : LANES, err);
    if (rc == 0)
        rc = send_parts(u, source, size, sum, err);
    if (rc < 0)
        fail(u, err);
    lanes_end(u);
    pthread_mutex_destroy(&u->lock);
    pthread_cond_destroy(&u->changed);
    return rc;
}

static int put_parts(struct bucket *b, const char *key, const struct store_source *source, struct sha256 *sum,
                     struct err *err)
{
    char id[S3_UPLOAD_ID];
    int64_t size = source->bytes / (S3_PART_MAX - 1) > PART ? source->bytes / (S3_PART_MAX - 1) + 1 : PART;
    int n = (int)((source->bytes + size - 1) / size);
    struct upload u = { .bucket = b, .key = key, .id = id, .parts = calloc((size_t)n, sizeof *u.parts) };
    if (!u.parts)
        return err_nomem(err);
    if (s3_upload_begin(b->s3, key, id, err) < 0) {
        free(u.parts);
        return -1;
    }
    int rc = send_all(&u, source, size, sum, err);
    if (rc == 0)
        rc = s3_upload_end(b->s3, key, id, u.parts, n, source->bytes, err);
    if (rc < 0) {
        struct err ignored; /* the first one says why */
        s3_watch(b->s3, NULL, NULL); /* it may be what ended it */
        (void)s3_upload_abort(b->s3, key, id, &ignored);
    }
    free(u.parts);
    return rc;
}

static int bucket_put(struct store *s, const char *name, const struct store_source *source,
                      char sha256[SHA256_HEX + 1], struct err *err)
{
    struct bucket *b = (struct bucket *)s;
    char key[S3_KEY_MAX + 1];
    if (key_of(b, name, key, err) < 0)
        return -1;
    struct sha256 *sum = sha256_new(err);
    if (!sum)
        return -1;
    int rc = source->bytes > PART ? put_parts(b, key, source, sum, err) : put_whole(b, key, source, sum, err);
    if (rc == 0)
        rc = sha256_end(sum, sha256, err);
    sha256_free(sum);
    bool denied = rc < 0 && err->sys == 403 && err->code == ERR_FETCH_DENIED;
    if (rc < 0)
        away(err);
    if (denied)
        err->code = ERR_TARGET_DENIED;
    return rc;
}

static int bucket_put_small(struct store *s, const char *name, struct str bytes, const char *tag, struct err *err)
{
    struct bucket *b = (struct bucket *)s;
    char key[S3_KEY_MAX + 1];
    if (key_of(b, name, key, err) < 0)
        return away(err);
    int rc = s3_put(b->s3, key, bytes, tag, NULL, err);
    if (rc < 0 && tag && err->sys == 501) /* a store without conditions: nothing else writes these */
        rc = s3_put(b->s3, key, bytes, NULL, NULL, err);
    return rc < 0 ? away(err) : rc;
}

/* A store that keeps conditions refuses the second one of two that are alike. */
static int bucket_put_sure(struct store *s, const char *name, struct str bytes, const char *tag, struct err *err)
{
    struct bucket *b = (struct bucket *)s;
    char key[S3_KEY_MAX + 1];
    if (key_of(b, name, key, err) < 0)
        return away(err);
    int rc = s3_put(b->s3, key, bytes, tag, NULL, err);
    int again = rc == 1 ? s3_put(b->s3, key, bytes, tag, NULL, err) : 0;
    if (again == 1)
        return err_set(err, ERR_TARGET, "'%s': the store does not keep the conditions of a put (If-None-Match, If-Match)", name);
    return rc < 0 || again < 0 ? away(err) : rc;
}

static int into_buf(void *arg, struct str bytes, struct err *err)
{
    struct buf *out = arg;
    if (out->n + bytes.n > SMALL_MAX)
        return err_set(err, ERR_TARGET, "the object is larger than any of qetl's");
    buf_add(out, bytes.p, bytes.n);
    return out->failed ? err_nomem(err) : 0;
}

static int bucket_get(struct store *s, const char *name, struct buf *out, char tag[STORE_TAG], struct err *err)
{
    struct bucket *b = (struct bucket *)s;
    char key[S3_KEY_MAX + 1];
    struct s3_object object;
    buf_reset(out);
    int rc = key_of(b, name, key, err) < 0 ? -1 : s3_get(b->s3, key, 0, -1, NULL, into_buf, out, &object, err);
    if (rc == 1 && tag)
        snprintf(tag, STORE_TAG, "%s", object.etag);
    return rc < 0 ? away(err) : rc;
}

static int bucket_remove(struct store *s, const char *name, struct err *err)
{
    struct bucket *b = (struct bucket *)s;
    char key[S3_KEY_MAX + 1];
    return key_of(b, name, key, err) < 0 || s3_delete(b->s3, key, err) < 0 ? away(err) : 0;
}

struct listing {
    store_each *each;
    void *arg;
    size_t skip; /* of a key: the prefix */
};

static int list_one(void *arg, const char *key, const struct s3_object *object, struct err *err)
{
    struct listing *l = arg;
    return object ? l->each(l->arg, key + l->skip, err) : 0;
}

static int bucket_list(struct store *s, const char *prefix, store_each *each, void *arg, struct err *err)
{
    struct bucket *b = (struct bucket *)s;
    char key[S3_KEY_MAX + 1];
    struct listing l = { each, arg, strlen(b->prefix) };
    int rc = key_of(b, prefix, key, err) < 0 ? -1 : s3_list(b->s3, key, "/", NULL, list_one, &l, err);
    return rc < 0 ? away(err) : rc;
}

static void bucket_watch(struct store *s, int (*tick)(void *arg, struct err *err), void *arg)
{
    struct bucket *b = (struct bucket *)s;
    b->tick = tick;
    b->tick_arg = arg;
    s3_watch(b->s3, tick, arg);
}

static void bucket_close(struct store *s)
{
    struct bucket *b = (struct bucket *)s;
    s3_close(b->s3);
    for (int i = 0; i < LANES; i++)
        s3_close(b->lanes[i]);
    free(b->prefix);
    free(b->url);
    free(b->whole);
    free(b);
}

static const struct store_ops bucket_ops = {
    no_lock,    no_unlock,     bucket_put,  bucket_put_small, bucket_put_sure,
    bucket_get, bucket_remove, bucket_list, bucket_watch,     bucket_close,
};

/* Does the store answer, know the bucket and take our key? Asks for an object that never is. */
static int ask_store(struct bucket *b, struct err *err)
{
    AUTO(buf_clear) struct buf none = { 0 };
    return bucket_get(&b->store, "_manifest/.json", &none, NULL, err) < 0 ? -1 : 0;
}

int store_s3_open(struct store **out, const struct config *config, const char *url, bool create, struct err *err)
{
    struct str name, prefix;
    struct bucket *b = calloc(1, sizeof *b);
    if (!b)
        return err_nomem(err);
    b->store.ops = &bucket_ops;
    b->store.puts_late = true;
    b->config = config;
    bool whole = *url && url[strlen(url) - 1] == '/';
    if (asprintf(&b->url, "%s%s", url, whole ? "" : "/") < 0)
        b->url = NULL;
    int rc = !b->url ? err_nomem(err) : s3_split(b->url, &name, &prefix, err);
    while (rc == 0 && prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (rc == 0 && asprintf(&b->prefix, "%.*s%s", (int)prefix.n, prefix.p ? prefix.p : "", prefix.n ? "/" : "") < 0) {
        b->prefix = NULL;
        rc = err_nomem(err);
    }
    if (rc < 0 || s3_open(&b->s3, config_remote(config, b->url), name, &config->limits, err) < 0 ||
        ask_store(b, err) < 0) {
        if (!create && err->code == ERR_TARGET && err->sys >= 400 && err->sys < 500) /* it says no, and will tomorrow */
            err->code = ERR_TARGET_DENIED;
        bucket_close(&b->store);
        return -1;
    }
    *out = &b->store;
    return 0;
}
