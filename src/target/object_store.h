/*
 * Where objects lie: a directory, or a bucket of an S3 store under a prefix. The same few calls for both.
 *
 * After a put returned, the object is there whole, whatever power does; before it, the name shows what
 * it showed before. Names are relative to the store's prefix, with '/' between their parts.
 *
 * Errors: target (the store cannot be reached or says no; with its words), disk-full, no-memory, config; of store_put() also
 * target-denied: the store says no to this name.
 */
#ifndef QETL_TARGET_OBJECT_STORE_H
#define QETL_TARGET_OBJECT_STORE_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "io/sha256.h"

enum { STORE_TAG = 128 };

/* The bytes of an object to be put, in order: exactly n into p. */
struct store_source {
    int (*read)(void *arg, char *p, size_t n, struct err *err);
    void *arg;
    int64_t bytes; /* of the whole */
};

struct store;

/* One name that a list found. */
typedef int store_each(void *arg, const char *name, struct err *err);

struct store_ops {
    int (*lock)(struct store *s, struct err *err); /* against other loaders of this machine */
    void (*unlock)(struct store *s);
    int (*put)(struct store *s, const char *name, const struct store_source *source, char sha256[SHA256_HEX + 1],
               struct err *err);
    int (*put_small)(struct store *s, const char *name, struct str bytes, const char *tag, struct err *err);
    int (*put_sure)(struct store *s, const char *name, struct str bytes, const char *tag, struct err *err);
    int (*get)(struct store *s, const char *name, struct buf *out, char tag[STORE_TAG], struct err *err);
    int (*remove)(struct store *s, const char *name, struct err *err);
    int (*list)(struct store *s, const char *prefix, store_each *each, void *arg, struct err *err);
    void (*watch)(struct store *s, int (*tick)(void *arg, struct err *err), void *arg);
    void (*close)(struct store *s);
};
/* What every store begins with. */
struct store {
    const struct store_ops *ops;
    bool puts_late; /* a put may be done after who sent it is gone: its lock, if it has one, does not keep that out */
};

/* By the url of the target. create: a directory is made when it is missing; without it nothing is written before a lock or a put, and
 * what would stay so (a folder that cannot be made or written, a store that says no) is target-denied; a folder that
 * is missing and can be made is target with sys ENOENT. An S3 store is asked whether it is there, knows the bucket and takes the key. */
int store_open(struct store **out, const struct config *config, const struct target_config *cfg, bool create,
               struct err *err);
int store_directory_open(struct store **out, const char *url, bool create, struct err *err);
int store_s3_open(struct store **out, const struct config *config, const char *url, bool create, struct err *err);

static inline int store_lock(struct store *s, struct err *err)
{
    return s->ops->lock(s, err);
}
static inline void store_unlock(struct store *s)
{
    s->ops->unlock(s);
}
/* Put it, in place of what is there; sha256: of its bytes. */
static inline int store_put(struct store *s, const char *name, const struct store_source *source,
                            char sha256[SHA256_HEX + 1], struct err *err)
{
    return s->ops->put(s, name, source, sha256, err);
}
/* Put a small one. tag NULL: in place of what is there; "": only where there is none yet; a tag from
 * store_get: only in place of that. 1 done; 0 the condition does not hold. */
static inline int store_put_small(struct store *s, const char *name, struct str bytes, const char *tag,
                                  struct err *err)
{
    return s->ops->put_small(s, name, bytes, tag, err);
}
/* The same on a condition (tag is not NULL), in a store that is seen to keep conditions: so nothing that is put on one that this put has
 * ended (none there yet; the tag before this one) can be done afterwards, whoever sent it and whenever. -1 also: the store keeps none. */
static inline int store_put_sure(struct store *s, const char *name, struct str bytes, const char *tag,
                                 struct err *err)
{
    return s->ops->put_sure(s, name, bytes, tag, err);
}
/* The whole of a small one (64 MiB at most) into out; tag may be NULL. 1 there, 0 not. */
static inline int store_get(struct store *s, const char *name, struct buf *out, char tag[STORE_TAG],
                            struct err *err)
{
    return s->ops->get(s, name, out, tag, err);
}
/* Not there afterwards; there was none is fine. */
static inline int store_remove(struct store *s, const char *name, struct err *err)
{
    return s->ops->remove(s, name, err);
}
/* All names that begin with prefix, which ends in '/', in no order. Non-0 ends it, and is given. */
static inline int store_list(struct store *s, const char *prefix, store_each *each, void *arg,
                             struct err *err)
{
    return s->ops->list(s, prefix, each, arg, err);
}
/* While bytes travel, tick is called about once a second at least; when it gives -1, so does the call. NULL: no more. A directory
 * does not call it: who gives the bytes knows that they go on. */
static inline void store_watch(struct store *s, int (*tick)(void *arg, struct err *err), void *arg)
{
    s->ops->watch(s, tick, arg);
}
static inline void store_close(struct store *s) /* NULL is fine */
{
    if (s)
        s->ops->close(s);
}

#endif
