/*
 * A directory as a store, and the choice between stores. See object_store.h.
 *
 * An object is written beside its place as ".NAME.part", synced, and renamed (or, where none may be
 * there, linked); then its folder is synced. Who writes a part has it locked until it has its name; what a
 * killed writer left of one is written over by the next put of that name, or goes with the object when that is removed; one that could not
 * be written is removed.
 */
#include "target/object_store.h"

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/sys.h"

enum { WAIT_MS = 10000, BLOCK = 256 * 1024, SMALL_MAX = 64 << 20 };

struct directory {
    struct store store;
    char *path;
    int dir, lock;
    bool locked;
};

/* In an error of the machine: the target is away, unless the disk is full. */
static int away(struct err *err)
{
    if (err->code == ERR_IO)
        err->code = ERR_TARGET;
    return -1;
}

/* It says no, and not only now. */
static int denied(struct err *err)
{
    if (err->code == ERR_TARGET)
        err->code = ERR_TARGET_DENIED;
    return -1;
}

/* "what 'path/name': why" from errno. */
static int fault(struct err *err, const char *what, const char *path, const char *name)
{
    err_sys(err, "%s '%s%s%s'", what, path, *path && *name ? "/" : "", name);
    return away(err);
}

/* ---- folders and names ---- */

/* The folder of a name, made when `make` says so, and the name inside it. 1; 0 there is none; -1. */
static int folder_of(struct directory *d, const char *name, bool make, int *folder, const char **base, struct err *err)
{
    AUTO(fd_closep) int at = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return fault(err, "open", d->path, "");
    for (const char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        char part[256];
        if (slash - name >= (long)sizeof part)
            return err_set(err, ERR_TARGET, "'%s': a name that is too long", name);
        snprintf(part, sizeof part, "%.*s", (int)(slash - name), name);
        bool made = make && mkdirat(at, part, 0777) == 0;
        if ((made && fsync(at) < 0) || (make && !made && errno != EEXIST))
            return fault(err, "make the folder", d->path, part);
        int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (next < 0)
            return errno == ENOENT ? 0 : fault(err, "open", d->path, part);
        (void)close(at);
        at = next;
    }
    *base = name;
    *folder = fd_steal(&at);
    return 1;
}

static void part_name(char out[300], const char *base)
{
    snprintf(out, 300, ".%s.part", base);
}

/* ---- the lock ---- */

static int lock_file(const struct directory *d, int file, const char *name, struct err *err)
{
    for (int64_t until = sys_mono_us() + (int64_t)WAIT_MS * 1000; flock(file, LOCK_EX | LOCK_NB) < 0;) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fault(err, "lock", d->path, name);
        if (sys_mono_us() > until)
            return err_set(err, ERR_TARGET, "another process has held '%s/%s' for more than %d s", d->path, name, WAIT_MS / 1000);
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    return 0;
}

static int open_lock(struct directory *d, struct err *err)
{
    d->lock = openat(d->dir, ".qetl-lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    return d->lock < 0 ? fault(err, "write", d->path, ".qetl-lock") : 0;
}

static int directory_lock(struct store *s, struct err *err)
{
    struct directory *d = (struct directory *)s;
    d->locked = (d->lock >= 0 || open_lock(d, err) == 0) && lock_file(d, d->lock, ".qetl-lock", err) == 0;
    return d->locked ? 0 : -1;
}

static void directory_unlock(struct store *s)
{
    struct directory *d = (struct directory *)s;
    if (d->locked)
        (void)flock(d->lock, LOCK_UN);
    d->locked = false;
}

/* ---- put ---- */

static int write_part(const struct directory *d, int file, const char *name, const struct store_source *source,
                      char sha256[SHA256_HEX + 1], struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    struct sha256 *sum = sha256_new(err);
    char *block = malloc(BLOCK);
    buf_addf(&path, "%s/%s", d->path, name);
    int rc = !sum ? -1 : !block || path.failed ? err_nomem(err) : 0;
    for (int64_t left = source->bytes; rc == 0 && left > 0;) {
        size_t n = left < BLOCK ? (size_t)left : BLOCK;
        if ((rc = source->read(source->arg, block, n, err)) == 0 &&
            (rc = sha256_add(sum, (struct str){ block, n }, err)) == 0 &&
            (rc = sys_write_all(file, block, n, path.p, err)) < 0)
            rc = away(err);
        left -= (int64_t)n;
    }
    if (rc == 0)
        rc = sha256_end(sum, sha256, err);
    if (rc == 0 && fsync(file) < 0)
        rc = fault(err, "sync", d->path, name);
    free(block);
    sha256_free(sum);
    return rc;
}

/* The part becomes the object. 1; 0: there is one already, and none was to be. */
static int publish(int folder, const char *part, const char *base, bool only_new, struct err *err)
{
    if (!only_new && renameat(folder, part, folder, base) < 0)
        return fault(err, "rename to", "", base);
    if (only_new) {
        int rc = linkat(folder, part, folder, base, 0);
        bool there = rc < 0 && errno == EEXIST;
        if (rc < 0 && !there)
            return fault(err, "link to", "", base);
        if (unlinkat(folder, part, 0) < 0)
            return fault(err, "remove", "", part);
        if (there)
            return 0;
    }
    return fsync(folder) < 0 ? fault(err, "sync the folder of", "", base) : 1;
}

/* The part, empty and ours: whoever wrote it before us has put it in its place, or is gone. */
static int open_part(const struct directory *d, int folder, const char *part, const char *name, int *out, struct err *err)
{
    for (;;) {
        struct stat mine, there;
        AUTO(fd_closep) int file = openat(folder, part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (file < 0)
            return fault(err, "write", d->path, name);
        if (lock_file(d, file, name, err) < 0)
            return -1;
        if (fstat(file, &mine) < 0)
            return fault(err, "look at", d->path, name);
        if (fstatat(folder, part, &there, AT_SYMLINK_NOFOLLOW) < 0 || there.st_ino != mine.st_ino)
            continue; /* renamed while we waited */
        if (mine.st_size && ftruncate(file, 0) < 0)
            return fault(err, "write", d->path, name);
        *out = fd_steal(&file);
        return 0;
    }
}

static int put_file(struct directory *d, const char *name, const struct store_source *source, bool only_new,
                    char sha256[SHA256_HEX + 1], struct err *err)
{
    const char *base;
    char part[300];
    AUTO(fd_closep) int folder = -1;
    if (folder_of(d, name, true, &folder, &base, err) < 0)
        return -1;
    part_name(part, base);
    AUTO(fd_closep) int file = -1;
    if (open_part(d, folder, part, name, &file, err) < 0)
        return -1;
    if (write_part(d, file, name, source, sha256, err) < 0) {
        (void)unlinkat(folder, part, 0); /* a disk that is full has room for the jobs behind this one; still locked, so ours */
        return -1;
    }
    return publish(folder, part, base, only_new, err);
}

static int directory_put(struct store *s, const char *name, const struct store_source *source,
                         char sha256[SHA256_HEX + 1], struct err *err)
{
    if (put_file((struct directory *)s, name, source, false, sha256, err) >= 0)
        return 0;
    return err->sys == EACCES || err->sys == EPERM ? denied(err) : -1;
}

static int read_bytes(void *arg, char *p, size_t n, struct err *err)
{
    struct str *left = arg;
    (void)err;
    memcpy(p, left->p, n);
    left->p += n;
    left->n -= n;
    return 0;
}

/* That a tag is still the one that was got, the lock sees to. */
static int directory_put_small(struct store *s, const char *name, struct str bytes, const char *tag, struct err *err)
{
    char sha256[SHA256_HEX + 1];
    struct store_source source = { read_bytes, &bytes, (int64_t)bytes.n };
    return put_file((struct directory *)s, name, &source, tag && !*tag, sha256, err);
}

/* ---- get, remove, list ---- */

static int directory_get(struct store *s, const char *name, struct buf *out, char tag[STORE_TAG], struct err *err)
{
    struct directory *d = (struct directory *)s;
    const char *base;
    AUTO(fd_closep) int folder = -1;
    int rc = folder_of(d, name, false, &folder, &base, err);
    if (rc <= 0)
        return rc;
    AUTO(fd_closep) int file = openat(folder, base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (file < 0)
        return errno == ENOENT ? 0 : fault(err, "open", d->path, name);
    if (fstat(file, &st) < 0)
        return fault(err, "look at", d->path, name);
    if (!S_ISREG(st.st_mode) || st.st_size > SMALL_MAX)
        return err_set(err, ERR_TARGET, "'%s/%s' is none of qetl's files", d->path, name);
    buf_reset(out);
    if (!buf_reserve(out, (size_t)st.st_size + 1))
        return err_nomem(err);
    for (ssize_t n; (n = read(file, out->p + out->n, (size_t)st.st_size - out->n)) != 0; out->n += (size_t)n)
        if (n < 0)
            return fault(err, "read", d->path, name);
    out->p[out->n] = '\0';
    if (tag)
        snprintf(tag, STORE_TAG, "there");
    return 1;
}

static int directory_remove(struct store *s, const char *name, struct err *err)
{
    struct directory *d = (struct directory *)s;
    const char *base;
    char part[300];
    AUTO(fd_closep) int folder = -1;
    int rc = folder_of(d, name, false, &folder, &base, err);
    if (rc <= 0)
        return rc;
    part_name(part, base); /* nobody writes it: what is removed is put by nobody any more, or by who has the lock, which is us */
    if ((unlinkat(folder, base, 0) < 0 && errno != ENOENT) || (unlinkat(folder, part, 0) < 0 && errno != ENOENT))
        return fault(err, "remove", d->path, name);
    return fsync(folder) < 0 ? fault(err, "sync the folder of", d->path, name) : 0;
}

/* Files of one folder only: qetl lists nothing that lies deeper. */
static int directory_list(struct store *s, const char *prefix, store_each *each, void *arg, struct err *err)
{
    struct directory *d = (struct directory *)s;
    const char *base;
    int folder = -1;
    int rc = folder_of(d, prefix, false, &folder, &base, err);
    if (rc <= 0)
        return rc;
    DIR *dir = fdopendir(folder);
    if (!dir) {
        (void)close(folder);
        return fault(err, "list", d->path, prefix);
    }
    rc = 0;
    for (const struct dirent *e; rc == 0 && (errno = 0, e = readdir(dir));) {
        char name[600];
        snprintf(name, sizeof name, "%s%s", prefix, e->d_name);
        if (e->d_name[0] != '.')
            rc = each(arg, name, err);
    }
    if (rc == 0 && errno)
        rc = fault(err, "list", d->path, prefix);
    closedir(dir);
    return rc;
}

/* ---- open ---- */

static void directory_close(struct store *s)
{
    struct directory *d = (struct directory *)s;
    fd_closep(&d->lock);
    fd_closep(&d->dir);
    free(d->path);
    free(d);
}

static void directory_watch(struct store *s, int (*tick)(void *arg, struct err *err), void *arg)
{
    (void)s, (void)tick, (void)arg;
}

static const struct store_ops directory_ops = {
    directory_lock,      directory_unlock, directory_put,    directory_put_small, directory_put_small,
    directory_get,       directory_remove, directory_list,   directory_watch,     directory_close,
};

/* The path of file:///path, escapes taken out. NULL: *err. */
static char *path_of(const char *url, struct err *err)
{
    const char *p = url + strlen("file:");
    char *path = NULL, *out;
    if (strncmp(p, "///", 3) != 0 && (p[0] != '/' || p[1] == '/')) {
        (void)err_set(err, ERR_CONFIG, "'%s': expected file:///absolute/path", url);
        return NULL;
    }
    p += p[1] == '/' ? 2 : 0;
    if (!(path = out = malloc(strlen(p) + 1))) {
        (void)err_nomem(err);
        return NULL;
    }
    while (*p) {
        unsigned hex;
        if (*p == '%' && p[1] && p[2] && sscanf((char[]){ p[1], p[2], '\0' }, "%2x", &hex) == 1 && hex) {
            *out++ = (char)hex;
            p += 3;
        } else {
            *out++ = *p++;
        }
    }
    while (out > path + 1 && out[-1] == '/')
        out--;
    *out = '\0';
    return path;
}

/* The folder is not there: could it be made? Those of the kernel take none, whatever their rights say. */
static int may_make(const char *path, struct err *err)
{
    char above[4096];
    struct statfs fs;
    snprintf(above, sizeof above, "%s", path);
    for (char *slash; access(above, F_OK) < 0 && errno == ENOENT && (slash = strrchr(above, '/'));)
        slash[slash == above] = '\0';
    if (access(above, W_OK | X_OK) == 0 && statfs(above, &fs) == 0 && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC))
        errno = EROFS;
    else if (access(above, W_OK | X_OK) == 0)
        return 0;
    err_sys(err, "the folder '%s' is not there, and cannot be made in '%s'", path, above);
    (void)away(err);
    return denied(err);
}

static int open_folder(struct directory *d, bool create, struct err *err)
{
    if (create && sys_mkdirs(d->path, err) < 0)
        return away(err);
    d->dir = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (create)
        return d->dir < 0 ? fault(err, "open the folder", d->path, "") : open_lock(d, err);
    int why = errno;
    if (d->dir < 0 && why == ENOENT && may_make(d->path, err) < 0)
        return -1;
    errno = why;
    if (d->dir >= 0 && faccessat(d->dir, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    bool missing = d->dir < 0 && errno == ENOENT;
    (void)fault(err, d->dir < 0 ? "open the folder" : "write into the folder", d->path, "");
    return missing ? -1 : denied(err);
}

int store_directory_open(struct store **out, const char *url, bool create, struct err *err)
{
    struct directory *d = calloc(1, sizeof *d);
    if (!d)
        return err_nomem(err);
    d->store.ops = &directory_ops;
    d->dir = d->lock = -1;
    int rc = (d->path = path_of(url, err)) ? 0 : -1;
    if (rc == 0)
        rc = open_folder(d, create, err);
    if (rc < 0) {
        directory_close(&d->store);
        return -1;
    }
    *out = &d->store;
    return 0;
}

int store_open(struct store **out, const struct config *config, const struct target_config *cfg, bool create,
               struct err *err)
{
#ifdef HAVE_S3
    if (!strncmp(cfg->url, "s3:", 3))
        return store_s3_open(out, config, cfg->url, create, err);
#else
    (void)config;
#endif
    return store_directory_open(out, cfg->url, create, err);
}
