/*
 * A bucket as a store. Objects above a part's size go up in parts, each with the hash of its bytes in
 * the signature; the store puts them together, or there is no object.
 *
 * If the loader dies in between, the parts stay in the store until its own rule for unfinished uploads
 * removes them (a lifecycle rule, see doc/object-stores.md); the next load begins an upload of its own.
 */
#include <stdio.h>
#include <stdlib.h>

#include "io/s3.h"
#include "target/object_store.h"

enum { PART = 8 << 20, SMALL_MAX = 64 << 20 };

struct bucket {
    struct store store;
    struct s3 *s3;
    char *prefix; /* with a '/' at its end, or "" */
    char *part;   /* bytes of one on their way */
    size_t part_bytes;
};

/* What the store says is no fault of the job: it waits, and people read why. */
static int away(struct err *err)
{
    if (err->code != ERR_NO_MEMORY && err->code != ERR_STAGED_DAMAGED && err->code != ERR_DISK_FULL)
        err->code = ERR_TARGET;
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

static int fill(struct bucket *b, const struct store_source *source, size_t n, struct sha256 *sum, struct err *err)
{
    if (n > b->part_bytes) {
        char *more = realloc(b->part, n);
        if (!more)
            return err_nomem(err);
        b->part = more;
        b->part_bytes = n;
    }
    if (source->read(source->arg, b->part, n, err) < 0)
        return -1;
    return sha256_add(sum, (struct str){ b->part, n }, err);
}

static int put_whole(struct bucket *b, const char *key, const struct store_source *source, struct sha256 *sum,
                     struct err *err)
{
    size_t n = (size_t)source->bytes;
    if (fill(b, source, n, sum, err) < 0)
        return -1;
    return s3_put(b->s3, key, (struct str){ b->part, n }, NULL, NULL, err) < 0 ? -1 : 0;
}

static int put_parts(struct bucket *b, const char *key, const struct store_source *source, struct sha256 *sum,
                     struct err *err)
{
    char id[S3_UPLOAD_ID];
    int64_t size = source->bytes / (S3_PART_MAX - 1) > PART ? source->bytes / (S3_PART_MAX - 1) + 1 : PART;
    int n = (int)((source->bytes + size - 1) / size), rc = 0;
    struct s3_part *parts = calloc((size_t)n, sizeof *parts);
    if (!parts)
        return err_nomem(err);
    if (s3_upload_begin(b->s3, key, id, err) < 0) {
        free(parts);
        return -1;
    }
    for (int i = 0; rc == 0 && i < n; i++) {
        int64_t left = source->bytes - i * size;
        size_t some = (size_t)(left < size ? left : size);
        rc = fill(b, source, some, sum, err);
        if (rc == 0)
            rc = s3_upload_part(b->s3, key, id, i + 1, (struct str){ b->part, some }, &parts[i], err);
    }
    if (rc == 0)
        rc = s3_upload_end(b->s3, key, id, parts, n, source->bytes, err);
    if (rc < 0) {
        struct err ignored; /* the first one says why */
        s3_watch(b->s3, NULL, NULL); /* it may be what ended it */
        (void)s3_upload_abort(b->s3, key, id, &ignored);
    }
    free(parts);
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
    return rc < 0 ? away(err) : 0;
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
    s3_watch(((struct bucket *)s)->s3, tick, arg);
}

static void bucket_close(struct store *s)
{
    struct bucket *b = (struct bucket *)s;
    s3_close(b->s3);
    free(b->prefix);
    free(b->part);
    free(b);
}

static const struct store_ops bucket_ops = {
    no_lock, no_unlock, bucket_put, bucket_put_small, bucket_get, bucket_remove, bucket_list, bucket_watch, bucket_close,
};

/* Does the store answer, know the bucket and take our key? Asks for an object that never is. */
static int ask_store(struct bucket *b, struct err *err)
{
    AUTO(buf_clear) struct buf none = { 0 };
    return bucket_get(&b->store, "_manifest/.json", &none, NULL, err) < 0 ? -1 : 0;
}

int store_s3_open(struct store **out, const struct config *config, const char *url, struct err *err)
{
    struct str name, prefix;
    struct bucket *b = calloc(1, sizeof *b);
    if (!b)
        return err_nomem(err);
    b->store.ops = &bucket_ops;
    int rc = s3_split(url, &name, &prefix, err);
    while (rc == 0 && prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (rc == 0 && asprintf(&b->prefix, "%.*s%s", (int)prefix.n, prefix.p ? prefix.p : "", prefix.n ? "/" : "") < 0) {
        b->prefix = NULL;
        rc = err_nomem(err);
    }
    if (rc < 0 || s3_open(&b->s3, config_remote(config, url), name, &config->limits, err) < 0 ||
        ask_store(b, err) < 0) {
        bucket_close(&b->store);
        return -1;
    }
    *out = &b->store;
    return 0;
}
