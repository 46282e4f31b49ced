/* Objects after their commit. See after.h. */
#include "role/after.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "source/source.h"

bool after_is_ours(struct str name)
{
    static const char word[] = ".qetl-";
    size_t digits = 0, n = sizeof word - 1;
    while (digits < name.n && name.p[name.n - digits - 1] >= '0' && name.p[name.n - digits - 1] <= '9')
        digits++;
    return digits && name.n > digits + n + 1 && name.p[0] == '.' && !memcmp(name.p + name.n - digits - n, word, n);
}

struct names {
    char path[PATH_MAX], ours[PATH_MAX + 32];
    const char *name; /* the last part of path */
};

static int name_all(const char *uri, int64_t job, struct names *n, struct err *err)
{
    if (source_local_path(uri, n->path, err) < 0)
        return -1;
    char *slash = strrchr(n->path, '/');
    if (!slash)
        return err_set(err, ERR_URI, "'%s' is no absolute path", uri);
    n->name = slash + 1;
    snprintf(n->ours, sizeof n->ours, "%.*s.%s.qetl-%lld", (int)(n->name - n->path), n->path, n->name, (long long)job);
    return 0;
}

/* Is it the file that was loaded? 1, 0 another one, -1 there is none. */
static int is_it(const char *path, int64_t size, int64_t mtime_ms)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return -1;
    return S_ISREG(st.st_mode) && st.st_size == size &&
           (!mtime_ms || (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 == mtime_ms);
}

/* Into the folder, under its name, or NAME.JOB where that is taken. */
static int move_to(const char *folder, const struct names *n, int64_t job, struct err *err)
{
    char to[2 * PATH_MAX];
    if (sys_mkdirs(folder, err) < 0)
        return -1;
    snprintf(to, sizeof to, "%s/%s", folder, n->name);
    int rc = renameat2(AT_FDCWD, n->ours, AT_FDCWD, to, RENAME_NOREPLACE);
    if (rc < 0 && errno == EEXIST) {
        snprintf(to, sizeof to, "%s/%s.%lld", folder, n->name, (long long)job);
        rc = renameat2(AT_FDCWD, n->ours, AT_FDCWD, to, RENAME_NOREPLACE);
    }
    if (rc < 0 && errno == EXDEV)
        return err_set(err, ERR_CONFIG, "'%s' lies on another file system than '%s': a file is moved within one", folder, n->path);
    return rc < 0 ? err_sys(err, "move '%s' to '%s'", n->path, folder) : 0;
}

int after_do(const struct after *after, const char *uri, int64_t size, int64_t mtime_ms, int64_t job, bool *kept, struct err *err)
{
    struct names n;
    *kept = false;
    if (name_all(uri, job, &n, err) < 0)
        return -1;
    int mine = is_it(n.ours, size, mtime_ms); /* we may have been here before */
    if (mine < 0) {
        int there = is_it(n.path, size, mtime_ms);
        *kept = there == 0;
        if (there <= 0)
            return 1;
        if (renameat2(AT_FDCWD, n.path, AT_FDCWD, n.ours, RENAME_NOREPLACE) < 0)
            return errno == ENOENT ? 1 : err_sys(err, "rename '%s'", n.path);
        (void)sys_fault("after-renamed");
        mine = is_it(n.ours, size, mtime_ms);
    }
    if (mine <= 0) { /* replaced in that moment */
        *kept = mine == 0;
        return mine == 0 && renameat2(AT_FDCWD, n.ours, AT_FDCWD, n.path, RENAME_NOREPLACE) < 0 ? err_sys(err, "put '%s' back", n.path) : 1;
    }
    if (after->what == AFTER_MOVE)
        return move_to(after->folder, &n, job, err) < 0 ? -1 : 1;
    return unlink(n.ours) < 0 && errno != ENOENT ? err_sys(err, "delete '%s'", n.path) : 1;
}

int after_marker(const struct after *after, const char *marker, int64_t job, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    struct stat st;
    bool kept;
    if (lstat(marker, &st) < 0)
        return errno == ENOENT ? 0 : err_sys(err, "look at '%s'", marker);
    list_uri("", str_of(marker), &uri);
    if (uri.failed)
        return err_nomem(err);
    int rc = after_do(after, uri.p, st.st_size, (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000, job, &kept, err);
    return rc < 0 ? -1 : 0;
}

/* ---- on other hosts ---- */

struct far {
    const struct lister *lister;
    const struct list_ask *ask;
    struct buf path, ours, to;
    size_t name; /* where it begins in path */
    struct list_version version;
};

/* The path of a URI below the base. */
static int path_of(const struct list_ask *ask, const char *uri, struct buf *out, struct err *err)
{
    size_t n = strlen(ask->base);
    if (strncmp(uri, ask->base, n) != 0 || uri[n] != '/')
        return err_set(err, ERR_CONFIG, "'%s' does not lie below %s", uri, ask->base);
    buf_reset(out);
    list_path(str_of(uri + n), out);
    return out->failed ? err_nomem(err) : 0;
}

static int far_names(struct far *f, const char *uri, int64_t job, struct err *err)
{
    if (path_of(f->ask, uri, &f->path, err) < 0)
        return -1;
    f->name = (size_t)((const char *)memrchr(f->path.p, '/', f->path.n) + 1 - f->path.p);
    buf_add(&f->ours, f->path.p, f->name);
    buf_addc(&f->ours, '.');
    buf_add(&f->ours, f->path.p + f->name, f->path.n - f->name);
    buf_addf(&f->ours, ".qetl-%lld", (long long)job);
    return f->ours.failed ? err_nomem(err) : 0;
}

static int far_look(struct far *f, const struct buf *path, struct err *err)
{
    return f->lister->acts->look(f->ask, buf_str(path), &f->version, err);
}

/* We were let in to look, so that a no is one to this object. */
static int far_no(struct far *f, struct err *err)
{
    if (err->code == ERR_FETCH_DENIED)
        err->code = ERR_FETCH_REFUSED;
    return err_in(err, "%s%s", f->ask->base, f->path.p);
}

static int far_rename(struct far *f, const struct buf *from, const struct buf *to, struct err *err)
{
    return f->lister->acts->rename(f->ask, buf_str(from), buf_str(to), err) < 0 ? far_no(f, err) : 0;
}

/* Under our own name, and compared there: enum list_there, NONE: nothing is to be done. */
static int far_take(struct far *f, bool *kept, struct err *err)
{
    int mine = far_look(f, &f->ours, err);
    if (mine != LIST_NONE) /* we were here before */
        return mine;
    int there = far_look(f, &f->path, err);
    *kept = there == LIST_OTHER;
    if (there != LIST_SAME)
        return there < 0 ? -1 : LIST_NONE;
    if (far_rename(f, &f->path, &f->ours, err) < 0)
        return -1;
    (void)sys_fault("after-renamed");
    return far_look(f, &f->ours, err);
}

static int far_put_back(struct far *f, struct err *err)
{
    int there = far_look(f, &f->path, err);
    if (there > LIST_NONE)
        return err_set(err, ERR_FETCH_REFUSED, "%s%s: another one is there, and one that came before it waits beside it as '%s'", f->ask->base,
                       f->path.p, f->ours.p + f->name);
    return there < 0 ? -1 : far_rename(f, &f->ours, &f->path, err);
}

/* As which it is in the folder: its name, and at the second try with the job's number behind it. */
static int far_name_to(struct far *f, const char *folder, int64_t job, bool second, struct err *err)
{
    if (path_of(f->ask, folder, &f->to, err) < 0)
        return -1;
    if (f->to.p[f->to.n - 1] != '/')
        buf_addc(&f->to, '/');
    buf_add(&f->to, f->path.p + f->name, f->path.n - f->name);
    if (second)
        buf_addf(&f->to, ".%lld", (long long)job);
    return f->to.failed ? err_nomem(err) : 0;
}

static int far_taken(struct far *f, const char *folder, struct err *err)
{
    return err_set(err, ERR_FETCH_REFUSED, "%s%s: in '%s' there is one of its name, and one with the job's number", f->ask->base, f->path.p, folder);
}

/* FOLDER/NAME, or NAME.JOB where that is taken. */
static int far_move(struct far *f, const char *folder, int64_t job, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        int there = far_name_to(f, folder, job, i, err) < 0 ? -1 : far_look(f, &f->to, err);
        if (there <= LIST_NONE)
            return there < 0 ? -1 : far_rename(f, &f->ours, &f->to, err);
    }
    return far_taken(f, folder, err);
}

/* The same by a copy. *made: it was made now, and is not one that was there. */
static int far_copy(struct far *f, const char *folder, int64_t job, bool *made, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        int same = far_name_to(f, folder, job, i, err) < 0 ? -1 : f->lister->acts->copy(f->ask, buf_str(&f->path), buf_str(&f->to), made, err);
        if (same)
            return same < 0 ? far_no(f, err) : 0;
    }
    return far_taken(f, folder, err);
}

/* A place that does not rename: the object is copied, compared behind that, and goes only if it is still the one that was loaded. */
static int far_do_by_copy(struct far *f, const struct after *after, int64_t job, bool *kept, struct err *err)
{
    bool made = false;
    int there = far_look(f, &f->path, err);
    *kept = there == LIST_OTHER;
    if (there != LIST_SAME)
        return there < 0 ? -1 : 1;
    if (after->what == AFTER_MOVE && far_copy(f, after->folder, job, &made, err) < 0)
        return -1;
    if (made)
        (void)sys_fault("after-copied");
    int gone = f->lister->acts->remove(f->ask, buf_str(&f->path), &f->version, err);
    *kept = gone == 0;
    if (gone == 0 && made) /* replaced in that moment: nobody knows what was copied */
        gone = f->lister->acts->remove(f->ask, buf_str(&f->to), NULL, err);
    return gone < 0 ? far_no(f, err) : 1;
}

static int far_do(struct far *f, const struct after *after, int64_t job, bool *kept, struct err *err)
{
    if (!f->lister->acts->rename)
        return far_do_by_copy(f, after, job, kept, err);
    int mine = far_take(f, kept, err);
    if (mine <= LIST_NONE)
        return mine < 0 ? -1 : 1;
    if (mine == LIST_OTHER) { /* replaced in that moment */
        *kept = true;
        return far_put_back(f, err) < 0 ? -1 : 1;
    }
    if (after->what == AFTER_MOVE)
        return far_move(f, after->folder, job, err) < 0 ? -1 : 1;
    return f->lister->acts->remove(f->ask, buf_str(&f->ours), NULL, err) < 0 ? far_no(f, err) : 1;
}

int after_do_far(const struct after *after, const struct lister *lister, const struct list_ask *ask, const char *uri,
                 const struct list_version *version, int64_t job, bool *kept, struct err *err)
{
    struct list_ask own = *ask;
    struct far f = { .lister = lister, .ask = &own, .version = *version };
    *kept = false;
    int rc = far_names(&f, uri, job, err);
    own.login = buf_str(&f.path);
    rc = rc < 0 ? -1 : far_do(&f, after, job, kept, err);
    buf_clear(&f.path);
    buf_clear(&f.ours);
    buf_clear(&f.to);
    return rc;
}

static int move_marker(const struct after *after, const struct lister *lister, const struct list_ask *ask, struct str marker, struct err *err)
{
    AUTO(buf_clear) struct buf to = { 0 };
    const char *slash = memrchr(marker.p, '/', marker.n);
    int64_t mtime_ms;
    bool made;
    if (path_of(ask, after->folder, &to, err) < 0)
        return -1;
    while (to.n && to.p[to.n - 1] == '/')
        to.n--;
    buf_add(&to, slash, marker.n - (size_t)(slash - marker.p));
    if (to.failed)
        return err_nomem(err);
    int there = lister->acts->rename ? lister->exists(ask, buf_str(&to), &mtime_ms, err) : 0;
    if (there < 0 || (there && lister->acts->remove(ask, buf_str(&to), NULL, err) < 0))
        return -1;
    if (lister->acts->rename)
        return lister->acts->rename(ask, marker, buf_str(&to), err);
    if (lister->acts->copy(ask, marker, buf_str(&to), &made, err) < 0)
        return -1;
    return lister->acts->remove(ask, marker, NULL, err) < 0 ? -1 : 0;
}

int after_marker_far(const struct after *after, const struct lister *lister, const struct list_ask *ask, struct str marker, struct err *err)
{
    struct list_ask own = *ask;
    int64_t mtime_ms;
    own.login = marker;
    int there = lister->exists(&own, marker, &mtime_ms, err);
    if (there <= 0)
        return there;
    int rc = after->what == AFTER_MOVE ? move_marker(after, lister, &own, marker, err) : lister->acts->remove(&own, marker, NULL, err) < 0 ? -1 : 0;
    return rc < 0 ? err_in(err, "%s%.*s", ask->base, (int)marker.n, marker.p) : 0;
}
