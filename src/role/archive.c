/* Raw objects into a store. See archive.h. */
#include "role/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "source/source.h"
#include "target/object_name.h"
#include "target/object_store.h"

enum { NAME_MAX_BYTES = 180 };

struct archive {
    const struct config *config;
    const struct target_config *target; /* of the open store */
    struct store *store;
};

struct archive *archive_new(const struct config *config)
{
    struct archive *a = calloc(1, sizeof *a);
    if (a)
        a->config = config;
    return a;
}

static void close_store(struct archive *a)
{
    store_close(a->store);
    a->store = NULL;
    a->target = NULL;
}

void archive_free(struct archive *a)
{
    if (a)
        close_store(a);
    free(a);
}

/* The store of the target, open. What went wrong with the last object may have been its connection: then it is a new one. */
static int open_store(struct archive *a, const struct target_config *target, struct err *err)
{
    if (a->target == target)
        return 0;
    close_store(a);
    if (store_open(&a->store, a->config, target, true, err) < 0)
        return -1;
    a->target = target;
    return 0;
}

static int name_of(struct buf *out, const struct pipeline *p, const char *folder, const struct archive_object *o, struct err *err)
{
    char base[1024];
    source_basename(o->uri, base, sizeof base);
    if (*folder)
        buf_adds(out, folder);
    else {
        buf_adds(out, "_archive/");
        object_name_encode(out, str_of(p->name));
    }
    buf_addf(out, "/%s/%d-", o->uid, o->number);
    size_t front = out->n;
    object_name_encode(out, str_of(base));
    if (out->failed)
        return err_nomem(err);
    if (out->n > front + NAME_MAX_BYTES)
        out->p[out->n = front + NAME_MAX_BYTES] = '\0';
    return object_name_safe(buf_str(out)) ? 0 : err_set(err, ERR_CONFIG, "archive: '%s' is no name of an object", out->p);
}

/* An object on its way. */
struct bytes {
    const struct archive_object *o;
    int64_t at;
    bool stopped; /* by tick, whose error counts, whatever the store makes of it */
    struct err why;
};

static int bytes_tick(void *arg, struct err *err)
{
    struct bytes *b = arg;
    if (!b->stopped && b->o->tick(b->o->arg, &b->why) == 0)
        return 0;
    b->stopped = true;
    *err = b->why;
    return -1;
}

static int stop(struct bytes *b, struct err *err)
{
    b->stopped = true;
    b->why = *err;
    return -1;
}

static int bytes_read(void *arg, char *p, size_t n, struct err *err)
{
    struct bytes *b = arg;
    if (bytes_tick(b, err) < 0)
        return -1;
    while (n) {
        ssize_t got = pread(b->o->fd, p, n, b->at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err_sys(err, "read the object for the archive");
            return stop(b, err);
        }
        if (got == 0) {
            err_set(err, ERR_CHANGED, "the file became shorter while it was archived");
            return stop(b, err);
        }
        p += got;
        n -= (size_t)got;
        b->at += got;
    }
    return 0;
}

int archive_put(struct archive *a, const struct pipeline *pipeline, const struct archive_object *object, struct err *err)
{
    const char *folder;
    const struct target_config *target = config_archive(a->config, pipeline, &folder);
    AUTO(buf_clear) struct buf name = { 0 };
    char sha256[SHA256_HEX + 1];
    if (!target)
        return err_set(err, ERR_CONFIG, "archive: there is no such target");
    if (name_of(&name, pipeline, folder, object, err) < 0 || open_store(a, target, err) < 0)
        return err_in(err, "archive");
    struct bytes b = { .o = object };
    struct store_source source = { bytes_read, &b, object->bytes };
    store_watch(a->store, bytes_tick, &b);
    int rc = store_put(a->store, name.p, &source, sha256, err);
    if (rc < 0 && err->code == ERR_TARGET_DENIED) /* of no fault of the job, which can wait for the right */
        err->code = ERR_TARGET;
    store_watch(a->store, NULL, NULL);
    if (rc < 0) {
        close_store(a);
        if (b.stopped)
            *err = b.why;
        return b.stopped ? -1 : err_in(err, "archive '%s'", name.p);
    }
    return sys_fault("worker-after-archive") ? err_set(err, ERR_TARGET, "archive '%s': fault injected", name.p) : 0;
}
