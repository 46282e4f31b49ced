/* Local files after their commit. See after.h. */
#include "role/after.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "source/source.h"

struct names {
    char path[PATH_MAX], ours[PATH_MAX + 32];
    const char *name; /* the last part of path */
};

static int name_all(const char *uri, struct names *n, struct err *err)
{
    if (source_local_path(uri, n->path, err) < 0)
        return -1;
    char *slash = strrchr(n->path, '/');
    if (!slash)
        return err_set(err, ERR_URI, "'%s' is no absolute path", uri);
    n->name = slash + 1;
    snprintf(n->ours, sizeof n->ours, "%.*s.%s.qetl-loaded", (int)(n->name - n->path), n->path, n->name);
    return 0;
}

/* Is it the file that was loaded? 1, 0 another one, -1 there is none. */
static int is_it(const char *path, int64_t size, int64_t mtime_ms)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return -1;
    return S_ISREG(st.st_mode) && st.st_size == size &&
           (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 == mtime_ms;
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
    if (name_all(uri, &n, err) < 0)
        return -1;
    if (is_it(n.ours, size, mtime_ms) != 1) { /* else we were here before */
        int there = is_it(n.path, size, mtime_ms);
        *kept = there == 0;
        if (there <= 0)
            return 1;
        if (renameat2(AT_FDCWD, n.path, AT_FDCWD, n.ours, RENAME_NOREPLACE) < 0)
            return errno == ENOENT ? 1 : err_sys(err, "rename '%s'", n.path);
        (void)sys_fault("after-renamed");
        if (is_it(n.ours, size, mtime_ms) != 1) { /* replaced in that moment */
            *kept = true;
            return renameat2(AT_FDCWD, n.ours, AT_FDCWD, n.path, RENAME_NOREPLACE) < 0 ? err_sys(err, "put '%s' back", n.path) : 1;
        }
    }
    if (after->what == AFTER_MOVE)
        return move_to(after->folder, &n, job, err) < 0 ? -1 : 1;
    return unlink(n.ours) < 0 && errno != ENOENT ? err_sys(err, "delete '%s'", n.path) : 1;
}
