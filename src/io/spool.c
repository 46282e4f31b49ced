/*
 * The spool folder: every file of it is made, named, published and removed here.
 *
 * Invariants: a name without ".part" shows a whole file that is on disk. A .part is written by one
 * process: a second one that opens it gets a new file, because the first holds a lock on the old
 * one. Names come from uids and numbers, never from what was fetched.
 *
 * If power fails: outputs are synced before they are renamed, and the rename before queue.db hears
 * of it. Fetched objects are never synced: their .meta names the boot that wrote them, and bytes of
 * another boot do not count.
 */
#include "io/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

enum { SPOOL_FOLDER_MODE = 0750, SPOOL_FILE_MODE = 0640, SPOOL_NAME = 128, SPOOL_META = 16 * 1024 };

/* From errno. A fault that a person must mend in the folder itself is of code spool; the rest as
 * err_sys() has it. Gives -1. */
__attribute__((format(printf, 3, 4))) static int spool_fail(struct err *err, const struct spool *s,
                                                            const char *fmt, ...)
{
    static const struct {
        int sys;
        const char *what;
    } table[] = {
        { EROFS, "lies on a read-only file system" },
        { EACCES, "may not be used by this user" },
        { EPERM, "may not be used by this user" },
        { ENOENT, "lacks it" },
        { ENOTDIR, "has a file where a folder should be" },
    };
    int sys = errno;
    char doing[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(doing, sizeof doing, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i].sys == sys) {
            err_set(err, ERR_SPOOL, "%s: the spool '%s' %s (%s)", doing, s->path, table[i].what,
                    strerror(sys));
            err->sys = sys;
            return -1;
        }
    errno = sys;
    return err_sys(err, "%s in the spool '%s'", doing, s->path);
}

/* uids are file names here: nothing else may pass. */
static bool uid_fits(const char *uid)
{
    size_t n = strspn(uid, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_");
    return n > 0 && n <= 64 && uid[n] == '\0';
}

static int uid_check(const char *uid, struct err *err)
{
    return uid_fits(uid) ? 0 : err_set(err, ERR_INTERNAL, "'%.80s' is not the uid of a job", uid);
}

/* ---- the folder ---- */

static int open_root(struct spool *s, const char *path, bool create, struct err *err)
{
    if (create && mkdir(path, SPOOL_FOLDER_MODE) < 0 && errno == ENOENT) {
        struct err e;
        (void)sys_mkdirs(path, &e); /* what is wrong shows at once, at the open below */
    }
    s->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0 && errno == ENOENT)
        return err_set(err, ERR_SPOOL, "the spool '%s' does not exist%s", path,
                       create ? " and cannot be made there" : "; qetlctl init makes it");
    if (s->dirfd < 0 && errno == ENOTDIR)
        return err_set(err, ERR_SPOOL, "the spool '%s' is not a folder", path);
    if (s->dirfd < 0)
        return spool_fail(err, s, "open the spool");
    char *whole = realpath(path, NULL);
    if (!whole)
        return spool_fail(err, s, "find the path of the spool");
    free(s->path);
    s->path = whole;
    return 0;
}

static int open_part(struct spool *s, const char *name, bool create, int *fd, struct err *err)
{
    if (create && mkdirat(s->dirfd, name, SPOOL_FOLDER_MODE) < 0 && errno != EEXIST)
        return spool_fail(err, s, "make the folder '%s'", name);
    *fd = openat(s->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return spool_fail(err, s, "open the folder '%s'", name);
    if (create && faccessat(*fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
        return spool_fail(err, s, "write to the folder '%s'", name);
    return 0;
}

int spool_open(struct spool *s, const char *path, bool create, struct err *err)
{
    *s = (struct spool){ strdup(path), -1, -1, -1, -1 };
    if (!s->path)
        return err_nomem(err);
    if (open_root(s, path, create, err) < 0 || open_part(s, "fetch", create, &s->fetch, err) < 0 ||
        open_part(s, "staged", create, &s->staged, err) < 0 ||
        open_part(s, "rejects", create, &s->rejects, err) < 0) {
        spool_close(s);
        return -1;
    }
    return 0;
}

void spool_close(struct spool *s)
{
    fd_closep(&s->dirfd);
    fd_closep(&s->fetch);
    fd_closep(&s->staged);
    fd_closep(&s->rejects);
    free_charp(&s->path);
}

/* ---- outputs ---- */

/* "<uid>.<token>", the folder of one claim's outputs in staged/. */
static int claim_folder(char out[SPOOL_NAME], const char *uid, int64_t token, struct err *err)
{
    if (uid_check(uid, err) < 0)
        return -1;
    snprintf(out, SPOOL_NAME, "%s.%" PRId64, uid, token);
    return 0;
}

int spool_create(struct spool *s, const char *uid, int64_t token, int n, struct err *err)
{
    char folder[SPOOL_NAME], name[SPOOL_NAME * 2];
    if (claim_folder(folder, uid, token, err) < 0)
        return -1;
    if (mkdirat(s->staged, folder, SPOOL_FOLDER_MODE) < 0 && errno != EEXIST)
        return spool_fail(err, s, "make the folder 'staged/%s'", folder);
    snprintf(name, sizeof name, "%s/%d.part", folder, n);
    /* a new inode: a reader child that was given up may still write to the old one */
    if (unlinkat(s->staged, name, 0) < 0 && errno != ENOENT)
        return spool_fail(err, s, "replace 'staged/%s'", name);
    int fd = sys_fault("spool-create")
                 ? -1
                 : openat(s->staged, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, SPOOL_FILE_MODE);
    return fd < 0 ? spool_fail(err, s, "make 'staged/%s'", name) : fd;
}

int spool_scratch(struct spool *s, struct err *err)
{
    int fd = openat(s->staged, ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, SPOOL_FILE_MODE);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd < 0 ? spool_fail(err, s, "make a scratch file in 'staged'") : fd;
    /* a file system without such files: one with a name, for a moment (the sweep takes it if we die in between) */
    char name[SPOOL_NAME], uid[SYS_UID_LEN + 1];
    sys_uid(uid);
    snprintf(name, sizeof name, "%s.scratch", uid);
    fd = openat(s->staged, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, SPOOL_FILE_MODE);
    if (fd < 0 || unlinkat(s->staged, name, 0) < 0) {
        spool_fail(err, s, "make 'staged/%s'", name);
        fd_closep(&fd);
    }
    return fd;
}

static int rename_outputs(struct spool *s, const char *folder, const struct spool_file *files,
                          int n, struct err *err)
{
    for (int i = 0; i < n; i++) {
        char part[SPOOL_NAME * 2], name[SPOOL_NAME * 2];
        snprintf(part, sizeof part, "%s/%d.part", folder, files[i].number);
        snprintf(name, sizeof name, "%s/%d.%s", folder, files[i].number, files[i].ext);
        if (renameat(s->staged, part, s->staged, name) < 0)
            return spool_fail(err, s, "publish 'staged/%s'", name);
    }
    return 0;
}

int spool_publish(struct spool *s, const char *uid, int64_t token, const struct spool_file *files,
                  int n, struct err *err)
{
    char name[SPOOL_NAME];
    if (claim_folder(name, uid, token, err) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (files[i].fd >= 0 && (sys_fault("spool-fsync") || fsync(files[i].fd) < 0))
            return spool_fail(err, s, "sync 'staged/%s/%d.part'", name, files[i].number);
    if (sys_fault("stage-before-rename"))
        return spool_fail(err, s, "publish the outputs 'staged/%s'", name);
    if (rename_outputs(s, name, files, n, err) < 0)
        return -1;
    if (sys_fault("stage-after-rename"))
        return spool_fail(err, s, "publish the outputs 'staged/%s'", name);
    AUTO(fd_closep)
    int folder = openat(s->staged, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0 || fsync(folder) < 0 || fsync(s->staged) < 0)
        return spool_fail(err, s, "sync the folder 'staged/%s'", name);
    return 0;
}

void spool_staged_path(const struct spool *s, const char *uid, int64_t token, int n,
                       const char *ext, char *out, size_t cap)
{
    snprintf(out, cap, "%s/staged/%s.%" PRId64 "/%d.%s", s->path, uid, token, n, ext);
}

int spool_discard(struct spool *s, const char *uid, int64_t first, int64_t last, struct err *err)
{
    char folder[SPOOL_NAME];
    if (uid_check(uid, err) < 0)
        return -1;
    for (int64_t token = first; token <= last; token++)
        if (claim_folder(folder, uid, token, err) < 0 ||
            sys_remove_tree(s->staged, folder, err) < 0)
            return err_in(err, "spool '%s': staged", s->path);
    return 0;
}

/*
 * The new name is synced before the old: after a power cut the file may be in both folders, never
 * in none. One that was moved before is synced too: who moved it may have died before it could.
 */
int spool_keep_rejects(struct spool *s, const char *uid, int64_t token, int n, struct err *err)
{
    char folder[SPOOL_NAME], from[SPOOL_NAME * 2], to[SPOOL_NAME];
    if (claim_folder(folder, uid, token, err) < 0)
        return -1;
    snprintf(from, sizeof from, "%s/%d.jsonl", folder, n);
    snprintf(to, sizeof to, "%s.jsonl", uid);
    if (renameat(s->staged, from, s->rejects, to) < 0 &&
        (errno != ENOENT || faccessat(s->rejects, to, F_OK, 0) < 0))
        return spool_fail(err, s, "keep the rejects 'staged/%s'", from);
    if (sys_fault("spool-keep-sync") || fsync(s->rejects) < 0)
        return spool_fail(err, s, "sync the folder 'rejects'");
    AUTO(fd_closep)
    int left = openat(s->staged, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (left < 0 ? errno != ENOENT : sys_fault("spool-keep-sync") || fsync(left) < 0)
        return spool_fail(err, s, "sync the folder 'staged/%s'", folder);
    return 0;
}

int spool_open_rejects(struct spool *s, const char *uid, struct err *err)
{
    char name[SPOOL_NAME];
    snprintf(name, sizeof name, "%.64s.jsonl", uid);
    int fd = openat(s->rejects, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_STATE, "the rejects of job %s are not in the spool any more", uid);
    return fd < 0 ? spool_fail(err, s, "open 'rejects/%s'", name) : fd;
}

/* ---- sweep and usage ---- */

static DIR *open_list(const struct spool *s, int fd, const char *what, struct err *err)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* an offset of its own */
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) {
        spool_fail(err, s, "list the folder '%s'", what);
        fd_closep(&again);
    }
    return dir;
}

static void dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* The next name in the folder but "." and "..": 1; 0 at its end; -1 when it cannot be read on. */
static int list_next(const struct spool *s, DIR *dir, const char **name, struct err *err)
{
    struct dirent *e;
    do {
        errno = 0;
        e = sys_fault("spool-list") ? NULL : readdir(dir);
    } while (e && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")));
    if (!e)
        return errno ? spool_fail(err, s, "list a folder") : 0;
    *name = e->d_name;
    return 1;
}

struct sweep {
    struct spool *s;
    int64_t min_age_ms;
    int (*keep)(void *arg, enum spool_folder folder, const char *uid, struct err *err);
    void *arg;
    int64_t *removed;
};

/* The uid comes from the name up to the first '.'. What is not ours by name is left alone. */
static int sweep_one(const struct sweep *w, enum spool_folder folder, int fd, const char *name, struct err *err)
{
    char uid[SPOOL_NAME];
    snprintf(uid, sizeof uid, "%.*s", (int)strcspn(name, "."), name);
    if (!uid_fits(uid))
        return 0;
    int keep = w->keep(w->arg, folder, uid, err);
    if (keep != 0)
        return keep < 0 ? -1 : 0;
    struct stat st; /* after keep(): what a job that was claimed meanwhile has made is young */
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : spool_fail(err, w->s, "look at '%s'", name);
    if (sys_now_ms() - ((int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000) <
        w->min_age_ms)
        return 0;
    if (sys_remove_tree(fd, name, err) < 0)
        return err_in(err, "spool '%s'", w->s->path);
    ++*w->removed;
    return 0;
}

static int sweep_folder(const struct sweep *w, enum spool_folder folder, int fd, const char *what, struct err *err)
{
    AUTO(dir_closep) DIR *dir = open_list(w->s, fd, what, err);
    if (!dir)
        return -1;
    const char *name;
    int rc;
    while ((rc = list_next(w->s, dir, &name, err)) == 1)
        if (sweep_one(w, folder, fd, name, err) < 0)
            return -1;
    return rc;
}

int spool_sweep(struct spool *s, int64_t min_age_ms,
                int (*keep)(void *arg, enum spool_folder folder, const char *uid, struct err *err),
                void *arg, int64_t *removed, struct err *err)
{
    int64_t n = 0;
    struct sweep w = { s, min_age_ms, keep, arg, &n };
    int rc = sweep_folder(&w, SPOOL_STAGED, s->staged, "staged", err);
    if (rc == 0)
        rc = sweep_folder(&w, SPOOL_FETCH, s->fetch, "fetch", err);
    if (rc == 0)
        rc = sweep_folder(&w, SPOOL_REJECTS, s->rejects, "rejects", err);
    *removed = n;
    return rc;
}

static int add_usage(const struct spool *s, int fd, int depth, int64_t *used, struct err *err)
{
    AUTO(dir_closep) DIR *dir = open_list(s, fd, "spool", err);
    if (!dir)
        return -1;
    const char *name;
    int rc;
    while ((rc = list_next(s, dir, &name, err)) == 1) {
        struct stat st;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* gone meanwhile */
        *used += (int64_t)st.st_blocks * 512;
        if (!S_ISDIR(st.st_mode) || depth == 0)
            continue;
        AUTO(fd_closep)
        int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0 && add_usage(s, below, depth - 1, used, err) < 0)
            return -1;
    }
    return rc;
}

int spool_usage(const struct spool *s, int64_t *used, int64_t *free_bytes, struct err *err)
{
    struct statvfs fs;
    int64_t sum = 0;
    if (fstatvfs(s->dirfd, &fs) < 0)
        return spool_fail(err, s, "look at the file system");
    if (add_usage(s, s->dirfd, 2, &sum, err) < 0)
        return -1;
    *used = sum;
    *free_bytes = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    return 0;
}

/* ---- big objects ----
 * The .meta is text, a "key value" a line in this order; bytes that would break a line are written
 * as %XX: qetl-object 1 / boot <id of the boot> / part <inode> / uri / etag / modified / size
 */

static void boot_id(char out[40])
{
    AUTO(fd_closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 36);
    out[n > 0 ? n : 0] = '\0';
}

static void meta_put(struct buf *b, const char *key, const char *value)
{
    buf_addf(b, "%s ", key);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p < ' ' || *p == '%' || *p == 127)
            buf_addf(b, "%%%02X", *p);
        else
            buf_addc(b, (char)*p);
    buf_addc(b, '\n');
}

/* The lines that must be the same for the bytes to count. */
static void meta_start(struct buf *b, uintmax_t inode, const char *uri)
{
    char boot[40];
    boot_id(boot);
    buf_adds(b, "qetl-object 1\n");
    meta_put(b, "boot", boot);
    buf_addf(b, "part %" PRIuMAX "\n", inode);
    meta_put(b, "uri", uri);
}

/* Take the line "key value\n" from *rest, undo %XX. */
static bool meta_take(struct str *rest, const char *key, char *out, size_t cap)
{
    size_t k = strlen(key), n = 0;
    const char *end = memchr(rest->p, '\n', rest->n);
    if (!end || (size_t)(end - rest->p) <= k || memcmp(rest->p, key, k) || rest->p[k] != ' ')
        return false;
    for (const char *p = rest->p + k + 1; p < end; p++) {
        char c = *p;
        if (c == '%') {
            if (end - p < 3 || text_hex(p[1]) < 0 || text_hex(p[2]) < 0)
                return false;
            c = (char)(text_hex(p[1]) * 16 + text_hex(p[2]));
            p += 2;
        }
        if (n + 1 >= cap)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    rest->n -= (size_t)(end + 1 - rest->p);
    rest->p = end + 1;
    return true;
}

static void object_name(char out[SPOOL_NAME], const char *uid, int n, const char *ext)
{
    snprintf(out, SPOOL_NAME, "%s.%d.%s", uid, n, ext);
}

/* What the .meta says about the bytes in o->fd. false: nothing that counts. */
static bool meta_read(struct spool *s, const char *name, const char *uri, const struct stat *st,
                      struct spool_object *o)
{
    AUTO(buf_clear) struct buf start = { 0 };
    char text[SPOOL_META], size[24];
    AUTO(fd_closep) int fd = openat(s->fetch, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    meta_start(&start, (uintmax_t)st->st_ino, uri);
    if (start.failed || n < 0 || (size_t)n < start.n || memcmp(text, start.p, start.n))
        return false;
    struct str rest = { text + start.n, (size_t)n - start.n };
    return meta_take(&rest, "etag", o->etag, sizeof o->etag) &&
           meta_take(&rest, "modified", o->modified, sizeof o->modified) &&
           meta_take(&rest, "size", size, sizeof size) && text_int(str_of(size), &o->size) &&
           (o->size < 0 || st->st_size <= o->size);
}

/* Is it the file of that name? 1, 0, -1 error. Between an open and its lock the name may have gone
 * to another file. */
static int object_named(struct spool *s, int fd, const char *name, struct err *err)
{
    struct stat ours, named;
    if (fstat(fd, &ours) < 0)
        return spool_fail(err, s, "look at 'fetch/%s'", name);
    if (fstatat(s->fetch, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : spool_fail(err, s, "look at 'fetch/%s'", name);
    return ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

/*
 * The part, ours alone: whoever else still writes to the file of that name keeps it, and we get a
 * new one. It ends: whoever must try again has met somebody who got further.
 */
static int open_object(struct spool *s, const char *name, struct err *err)
{
    for (;;) {
        AUTO(fd_closep)
        int fd = openat(s->fetch, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, SPOOL_FILE_MODE);
        if (fd < 0)
            return spool_fail(err, s, "open 'fetch/%s'", name);
        (void)sys_fault("spool-before-lock");
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            int named = object_named(s, fd, name, err);
            if (named != 0)
                return named < 0 ? -1 : fd_steal(&fd);
        } else if (errno != EWOULDBLOCK) {
            return spool_fail(err, s, "lock 'fetch/%s'", name);
        } else if (unlinkat(s->fetch, name, 0) < 0 && errno != ENOENT) {
            return spool_fail(err, s, "replace 'fetch/%s'", name);
        }
    }
}

int spool_object_open(struct spool *s, const char *uid, int n, const char *uri,
                      struct spool_object *o, struct err *err)
{
    char part[SPOOL_NAME], meta[SPOOL_NAME];
    struct stat st;
    if (uid_check(uid, err) < 0)
        return -1;
    object_name(part, uid, n, "part");
    object_name(meta, uid, n, "meta");
    AUTO(fd_closep) int fd = open_object(s, part, err);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return spool_fail(err, s, "look at 'fetch/%s'", part);
    struct spool_object found = { .fd = fd, .have = st.st_size, .size = -1 };
    if (!meta_read(s, meta, uri, &st, &found) || found.have == 0) {
        found = (struct spool_object){ .fd = fd, .size = -1 };
        if (ftruncate(fd, 0) < 0)
            return spool_fail(err, s, "empty 'fetch/%s'", part);
    }
    *o = found;
    o->fd = fd_steal(&fd);
    return 0;
}

int spool_object_meta(struct spool *s, const char *uid, int n, const char *uri,
                      const struct spool_object *o, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    char meta[SPOOL_NAME], fresh[SPOOL_NAME];
    struct stat st;
    if (uid_check(uid, err) < 0)
        return -1;
    object_name(meta, uid, n, "meta");
    object_name(fresh, uid, n, "meta.part");
    if (fstat(o->fd, &st) < 0 || (st.st_size > o->have && ftruncate(o->fd, o->have) < 0))
        return spool_fail(err, s, "cut the part of 'fetch/%s'", meta);
    meta_start(&text, (uintmax_t)st.st_ino, uri);
    meta_put(&text, "etag", o->etag);
    meta_put(&text, "modified", o->modified);
    buf_addf(&text, "size %" PRId64 "\n", o->size);
    if (text.failed)
        return err_nomem(err);
    AUTO(fd_closep)
    int fd = openat(s->fetch, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                    SPOOL_FILE_MODE);
    if (fd < 0)
        return spool_fail(err, s, "make 'fetch/%s'", fresh);
    if (sys_fault("spool-meta"))
        return spool_fail(err, s, "write 'fetch/%s'", fresh);
    if (sys_write_all(fd, text.p, text.n, fresh, err) < 0)
        return err_in(err, "spool '%s'", s->path);
    return renameat(s->fetch, fresh, s->fetch, meta) < 0
               ? spool_fail(err, s, "publish 'fetch/%s'", meta)
               : 0;
}

int spool_object_discard(struct spool *s, const char *uid, struct err *err)
{
    size_t n = strlen(uid);
    if (uid_check(uid, err) < 0)
        return -1;
    AUTO(dir_closep) DIR *dir = open_list(s, s->fetch, "fetch", err);
    if (!dir)
        return -1;
    const char *name;
    int rc;
    while ((rc = list_next(s, dir, &name, err)) == 1)
        if (!strncmp(name, uid, n) && name[n] == '.' && unlinkat(s->fetch, name, 0) < 0 &&
            errno != ENOENT)
            return spool_fail(err, s, "remove 'fetch/%s'", name);
    return rc;
}
