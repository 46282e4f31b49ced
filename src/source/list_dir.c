/*
 * Local folders. Only folders that can lead to a match are entered, each through the descriptor of the one above it, and
 * below the literal beginning of the glob no
 * symbolic link is followed: none leads a scan out of the place that it was given, or round in a circle. Of what is found only
 * regular files count (sink->no_file() is told of others); nothing is opened but folders.
 *
 * Invariant: one descriptor and one DIR for each level of depth, whatever the number of files. Nothing here writes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "source/list.h"

enum { ASK_EVERY = 64 }; /* names between two questions whether to go on, which are signs of life, too: each name may take its time */

struct walk {
    const struct list_ask *ask;
    const struct list_sink *sink;
    struct glob_work work;
    struct buf path, uri; /* path: of what is looked at, from the root */
    int64_t names;
    struct err *err;
};

static int fault(struct walk *w, const char *what)
{
    int sys = errno;
    err_sys(w->err, "%s '%.*s'", what, (int)w->path.n, w->path.p);
    if (sys == ENOENT || sys == ENOTDIR)
        w->err->code = ERR_FETCH_MISSING;
    if (sys == EACCES || sys == EPERM)
        w->err->code = ERR_FETCH_DENIED;
    return -1;
}

static int offer(struct walk *w, const struct stat *st)
{
    buf_reset(&w->uri);
    list_uri("", buf_str(&w->path), &w->uri);
    if (w->uri.failed || w->path.failed)
        return err_nomem(w->err);
    struct listed o = {
        .uri = w->uri.p,
        .size = st->st_size,
        .mtime_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000,
        .etag = "",
    };
    return list_offer(w->ask, w->sink, &w->work, buf_str(&w->path), &o, w->err);
}

static int walk_folder(struct walk *w, int fd, int depth);

static int enter(struct walk *w, int parent, const char *name, int depth)
{
    buf_addc(&w->path, '/');
    int leads = w->path.failed ? -1 : glob_leads(w->ask->glob, &w->work, buf_str(&w->path));
    if (leads <= 0)
        return leads < 0 ? err_nomem(w->err) : 0;
    if (depth == LIST_DEPTH_MAX)
        return err_set(w->err, ERR_LIMIT, "'%.*s' lies deeper than %d folders", (int)w->path.n, w->path.p, LIST_DEPTH_MAX);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : fault(w, "list the folder");
    return walk_folder(w, fd, depth + 1);
}

static int no_file(struct walk *w, bool link)
{
    static const char *const why[] = { "no file: a pipe, socket or device is not read", "a symbolic link: none is followed below the part of source= without signs" };
    return list_no_file(w->ask, w->sink, &w->work, &w->path, &w->uri, why[link], w->err);
}

/* One name of a folder; w->path is the folder with its slash, and is that again afterwards. */
static int visit(struct walk *w, int fd, const struct dirent *d, int depth)
{
    struct stat st;
    size_t folder = w->path.n;
    int rc = 0;
    if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
        return 0;
    if (++w->names % ASK_EVERY == 0 && w->ask->go_on && !w->ask->go_on(w->sink->arg))
        return err_set(w->err, ERR_SHUTDOWN, "the listing was stopped");
    buf_adds(&w->path, d->d_name);
    bool maybe_folder = d->d_type == DT_DIR || d->d_type == DT_UNKNOWN, maybe_file = d->d_type == DT_REG || d->d_type == DT_UNKNOWN;
    int match = maybe_file && !w->path.failed ? glob_match(w->ask->glob, &w->work, buf_str(&w->path), NULL) : 0;
    if (match < 0 || w->path.failed) {
        rc = err_nomem(w->err);
    } else if ((match || d->d_type == DT_UNKNOWN) && fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        rc = errno == ENOENT ? 0 : fault(w, "look at"); /* gone since the folder was read */
        maybe_folder = false;
    } else if (match && S_ISREG(st.st_mode)) {
        rc = offer(w, &st);
    } else if (maybe_folder && (d->d_type == DT_DIR || S_ISDIR(st.st_mode))) {
        rc = enter(w, fd, d->d_name, depth);
    } else if (d->d_type == DT_UNKNOWN ? !S_ISREG(st.st_mode) : d->d_type != DT_REG) {
        rc = no_file(w, d->d_type == DT_UNKNOWN ? S_ISLNK(st.st_mode) : d->d_type == DT_LNK);
    }
    w->path.n = folder;
    return rc;
}

/* fd is consumed. */
static int walk_folder(struct walk *w, int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    int rc = 0;
    if (w->sink->folder) /* watched before it is read: what comes in between is seen by one of the two */
        w->sink->folder(w->sink->arg, w->path.p, true);
    if (!dir) {
        close(fd);
        return fault(w, "list the folder");
    }
    while (rc == 0) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (!d) {
            rc = errno && errno != ENOENT ? fault(w, "list the folder") : 0; /* ENOENT: the folder itself was removed */
            break;
        }
        rc = visit(w, dirfd(dir), d, depth);
    }
    closedir(dir);
    return rc;
}

static int list_literal(struct walk *w)
{
    struct stat st;
    buf_add(&w->path, w->ask->glob->prefix.p, w->ask->glob->folder);
    if (w->sink->folder && !w->path.failed)
        w->sink->folder(w->sink->arg, w->path.p, access(w->path.p, F_OK) == 0);
    buf_add(&w->path, w->ask->glob->prefix.p + w->ask->glob->folder, w->ask->glob->prefix.n - w->ask->glob->folder);
    if (w->path.failed)
        return err_nomem(w->err);
    if (lstat(w->path.p, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : fault(w, "look at");
    return S_ISREG(st.st_mode) ? offer(w, &st) : S_ISDIR(st.st_mode) ? 0 : no_file(w, S_ISLNK(st.st_mode));
}

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    struct walk w = { .ask = ask, .sink = sink, .err = err };
    int rc;
    if (ask->glob->literal) {
        rc = list_literal(&w);
    } else {
        buf_add(&w.path, ask->glob->prefix.p, ask->glob->folder);
        int fd = w.path.failed ? -1 : open(w.path.p, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
        rc = w.path.failed ? err_nomem(err) : fd < 0 ? fault(&w, "list the folder") : walk_folder(&w, fd, 0);
        if (rc < 0 && err->code == ERR_FETCH_MISSING && sink->folder)
            sink->folder(sink->arg, w.path.p, false);
    }
    buf_clear(&w.path);
    buf_clear(&w.uri);
    glob_work_clear(&w.work);
    return rc < 0 ? -1 : 0;
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 };
    struct stat st;
    (void)ask;
    buf_add(&name, path.p, path.n);
    if (name.failed)
        return err_nomem(err);
    if (lstat(name.p, &st) == 0) {
        *mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        return 1;
    }
    return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(err, "look at '%s'", name.p);
}

static const char *const schemes[] = { "", "file", NULL };
const struct lister list_dir = { schemes, true, list, exists, NULL };
