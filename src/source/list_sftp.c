/*
 * Folders of an SFTP server (io/sftp.h), with sizes and times as it keeps them. A link is not followed, and is no object.
 * A folder that is gone when its turn comes is passed over. Listings write nothing.
 */
#include <string.h>

#include "io/sftp.h"
#include "source/list_tree.h"

static int on_name(void *arg, struct str name, const struct sftp_entry *s, struct err *err)
{
    struct list_tree *t = arg;
    static const enum list_what what[] = { [SFTP_FILE] = LIST_FILE, [SFTP_FOLDER] = LIST_FOLDER, [SFTP_OTHER] = LIST_OTHER_KIND };
    struct list_entry e = { .what = what[s->kind], .name = name, .size = s->size, .mtime_ms = s->mtime_ms };
    if (list_tree_count(t, err) < 0)
        return -1;
    return list_tree_entry(t, &e, err);
}

static int list_folder(struct list_tree *t, void *arg, struct err *err)
{
    AUTO(buf_clear) struct buf folder = { 0 }; /* t->path is written to while names come */
    struct sftp *s = list_sftp_session(t->ask, buf_str(&t->path), LINK_LIST, arg, err);
    if (!s)
        return -1;
    buf_add(&folder, t->path.p, t->path.n - (t->path.n > 1)); /* without the slash: RFC drafts know none there */
    if (folder.failed)
        return err_nomem(err);
    int rc = sftp_list(s, buf_str(&folder), on_name, t, err);
    return rc < 0 && err->code == ERR_FETCH_MISSING && t->depth > 0 ? 0 : rc;
}

static int list_literal(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    struct list_tree t = { .ask = ask, .sink = sink };
    struct sftp_entry e;
    struct sftp *s = list_sftp_session(ask, ask->glob->prefix, LINK_LIST, sink->arg, err);
    int rc = s ? sftp_look(s, ask->glob->prefix, &e, err) : -1;
    if (rc == 1 && e.kind == SFTP_FILE)
        rc = list_tree_offer(&t, ask->glob->prefix, e.size, e.mtime_ms, 0, err);
    list_tree_clear(&t);
    return rc < 0 ? -1 : 0;
}

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    return ask->glob->literal ? list_literal(ask, sink, err) : list_tree_walk(ask, sink, list_folder, sink->arg, err);
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    struct sftp_entry e;
    struct sftp *s = list_sftp_session(ask, path, LINK_ASK, ask->go_arg, err);
    int rc = s ? sftp_look(s, path, &e, err) : -1;
    *mtime_ms = rc == 1 ? e.mtime_ms : 0;
    return rc;
}

/* ---- single objects ---- */

static struct sftp *session_of(const struct list_ask *ask, struct str path, struct err *err)
{
    return list_sftp_session(ask, path, LINK_LIST, ask->go_arg, err);
}

static int look(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err)
{
    struct sftp_entry e;
    struct sftp *s = session_of(ask, path, err);
    int rc = s ? sftp_look(s, path, &e, err) : -1;
    if (rc <= 0)
        return rc < 0 ? -1 : LIST_NONE;
    if (e.kind == SFTP_FILE && (e.size < 0 || !e.mtime_ms))
        return err_set(err, ERR_FETCH_REFUSED, "%s: the server does not say size and time of a file", ask->base);
    return e.kind == SFTP_FILE && e.size == v->size && e.mtime_ms == v->mtime_ms ? LIST_SAME : LIST_OTHER;
}

static int make_folder(const struct list_ask *ask, struct str folder, struct err *err)
{
    struct sftp *s = session_of(ask, folder, err);
    return s ? sftp_make_folder(s, folder, err) : -1;
}

static int rename_to(const struct list_ask *ask, struct str from, struct str to, struct err *err)
{
    struct sftp *s = session_of(ask, from, err);
    if (!s)
        return -1;
    if (sftp_rename(s, from, to, err) == 0)
        return 0;
    if (err->code != ERR_FETCH_MISSING) /* which is its folder, too */
        return -1;
    return list_folders(ask, to, make_folder, err) < 0 ? -1 : sftp_rename(s, from, to, err);
}

static int remove_one(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err)
{
    struct sftp *s = session_of(ask, path, err);
    (void)v;
    return s && sftp_remove(s, path, err) >= 0 ? 1 : -1;
}

static const struct list_acts acts = { .look = look, .rename = rename_to, .remove = remove_one };
static const char *const schemes[] = { "sftp", NULL };
const struct lister list_sftp = { schemes, false, list, exists, &acts };
