/* The walk through folders of another host. See list_tree.h. Nothing here writes. */
#include "source/list_tree.h"

#include <string.h>

enum { ASK_EVERY = 1024, PENDING_MAX = 64 << 20 };

static int pending_push(struct list_tree *t, struct str path, int depth, struct err *err)
{
    if (t->pending.n + path.n > PENDING_MAX)
        return err_set(err, ERR_LIMIT, "the folders below '%.*s' are more than %d MiB of names", (int)t->ask->glob->folder,
                       t->ask->glob->prefix.p, PENDING_MAX >> 20);
    buf_add(&t->pending, path.p, path.n);
    buf_addc(&t->pending, (char)(depth + 1));
    buf_addc(&t->pending, '\0');
    return t->pending.failed ? err_nomem(err) : 0;
}

/* The newest one becomes t->path. */
static int pending_pop(struct list_tree *t, struct err *err)
{
    size_t end = t->pending.n - 2; /* of the path; behind it stand depth and zero */
    const char *before = memrchr(t->pending.p, '\0', end);
    size_t from = before ? (size_t)(before + 1 - t->pending.p) : 0;
    buf_reset(&t->path);
    buf_add(&t->path, t->pending.p + from, end - from);
    t->depth = t->pending.p[end] - 1;
    t->pending.n = from;
    return t->path.failed ? err_nomem(err) : 0;
}

int list_tree_offer(struct list_tree *t, struct str path, int64_t size, int64_t mtime_ms, int64_t step_ms, struct err *err)
{
    buf_reset(&t->uri);
    list_uri(t->ask->base, path, &t->uri);
    if (t->uri.failed)
        return err_nomem(err);
    struct listed o = { .uri = t->uri.p, .size = size, .mtime_ms = mtime_ms, .mtime_step_ms = step_ms, .etag = "" };
    return list_offer(t->ask, t->sink, &t->work, path, &o, err);
}

int list_tree_count(struct list_tree *t, struct err *err)
{
    if (++t->names > LIST_NAMES_MAX)
        return err_set(err, ERR_LIMIT, "the listing has more than %d names", LIST_NAMES_MAX);
    if (t->names % ASK_EVERY == 0 && t->ask->go_on && !t->ask->go_on(t->sink->arg))
        return err_set(err, ERR_SHUTDOWN, "the listing was stopped");
    return 0;
}

static int entry_folder(struct list_tree *t, struct err *err)
{
    buf_addc(&t->path, '/');
    int leads = t->path.failed ? -1 : glob_leads(t->ask->glob, &t->work, buf_str(&t->path));
    if (leads <= 0)
        return leads < 0 ? err_nomem(err) : 0;
    if (t->depth == LIST_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "'%.*s' lies deeper than %d folders; does a link lead round in a circle?",
                       (int)(t->path.n < 200 ? t->path.n : 200), t->path.p, LIST_DEPTH_MAX);
    return pending_push(t, buf_str(&t->path), t->depth + 1, err);
}

int list_tree_entry(struct list_tree *t, const struct list_entry *e, struct err *err)
{
    size_t folder = t->path.n;
    int rc = 0;
    buf_add(&t->path, e->name.p, e->name.n);
    if (t->path.failed) {
        rc = err_nomem(err);
    } else if (e->what == LIST_FOLDER) {
        rc = entry_folder(t, err);
    } else if (e->what == LIST_OTHER_KIND) {
        rc = list_no_file(t->ask, t->sink, &t->work, &t->path, &t->uri, "no file: a link is not followed, and a device not read", err);
    } else {
        int match = glob_match(t->ask->glob, &t->work, buf_str(&t->path), NULL);
        rc = match < 0 ? err_nomem(err) : match ? list_tree_offer(t, buf_str(&t->path), e->size, e->mtime_ms, e->step_ms, err) : 0;
    }
    t->path.n = folder;
    return rc;
}

int list_tree_walk(const struct list_ask *ask, const struct list_sink *sink, list_folder_fn *folder, void *arg, struct err *err)
{
    struct list_tree t = { .ask = ask, .sink = sink };
    int rc = pending_push(&t, (struct str){ ask->glob->prefix.p, ask->glob->folder }, 0, err);
    while (rc == 0 && t.pending.n > 0) {
        rc = pending_pop(&t, err);
        if (rc == 0)
            rc = folder(&t, arg, err);
    }
    list_tree_clear(&t);
    return rc < 0 ? -1 : 0;
}

void list_tree_clear(struct list_tree *t)
{
    buf_clear(&t->path);
    buf_clear(&t->uri);
    buf_clear(&t->pending);
    glob_work_clear(&t->work);
}
