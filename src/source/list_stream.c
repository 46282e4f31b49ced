/*
 * Streams: the closed segments in a folder of the spool, in the order of their numbers, so that jobs are made in the order in which
 * lines were appended. Segments are never written again, so that a look needs no time of theirs; they are given without one, which leaves
 * the order to the name alone, whatever the clock did. Memory is 64 bytes a segment that waits.
 *
 * Invariant: what is given is whole and on disk. The open segment is closed here when it is old enough, for its emitters may all
 * have gone; where it is not, the sink learns when to look again.
 */
#include <errno.h>
#include <string.h>

#include "io/segment.h"
#include "source/list.h"

static int close_old(const struct list_ask *ask, const struct list_sink *sink, const char *folder, struct err *err)
{
    const struct segment_limits limits = { 0 };
    struct segments *s;
    int64_t left_ms;
    int rc = segments_open(&s, folder, &limits, false, err);
    if (rc <= 0)
        return rc;
    rc = segments_settle(s, ask->close_after_ms, &left_ms, err);
    segments_close(s);
    if (rc >= 0 && left_ms && sink->again)
        sink->again(sink->arg, left_ms);
    return rc < 0 ? -1 : 0;
}

static int offer(const struct list_ask *ask, const struct list_sink *sink, struct glob_work *work, struct buf *path, size_t folder,
                 const struct segment_closed *one, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    path->n = folder;
    buf_adds(path, one->name);
    if (path->failed)
        return err_nomem(err);
    list_uri("", buf_str(path), &uri);
    if (uri.failed)
        return err_nomem(err);
    struct listed o = { .uri = uri.p, .size = one->bytes, .etag = "" };
    return list_offer(ask, sink, work, buf_str(path), &o, err);
}

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    AUTO(buf_clear) struct buf closed = { 0 };
    AUTO(glob_work_clear) struct glob_work work = { 0 };
    buf_add(&path, ask->glob->prefix.p, ask->glob->folder);
    if (path.failed)
        return err_nomem(err);
    bool there = access(path.p, F_OK) == 0;
    if (sink->folder) /* before it is read: what comes in between is seen by one of the two */
        sink->folder(sink->arg, path.p, there);
    if (!there) /* nobody has emitted anything yet */
        return 0;
    if (sink->again && close_old(ask, sink, path.p, err) < 0)
        return -1;
    if (segments_closed(path.p, &closed, err) < 0)
        return err->sys == ENOENT ? 0 : -1;
    const struct segment_closed *v = (const void *)closed.p;
    size_t folder = path.n;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < closed.n / sizeof *v; i++) {
        if (i % 1024 == 1023 && ask->go_on && !ask->go_on(sink->arg))
            return err_set(err, ERR_SHUTDOWN, "the listing was stopped");
        rc = offer(ask, sink, &work, &path, folder, &v[i], err);
    }
    return rc < 0 ? -1 : 0;
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    return list_dir.exists(ask, path, mtime_ms, err);
}

static const char *const schemes[] = { NULL };
const struct lister list_stream = { schemes, true, list, exists, NULL };
