/* The table of mounts. See mount.h. */
#include "base/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"

enum { LINKS_MAX = 40 /* as the kernel: path_resolution(7) */ };

/* Is that type of file system one of other machines, or of a program? fuseblk is a disk, fuse-overlayfs the root of a container. */
static bool is_far_type(struct str type)
{
    static const char *const far[] = { "nfs",    "nfs4", "cifs",  "smb3", "smbfs",    "9p",     "ceph",   "afs",   "gpfs",    "lustre", "ocfs2",
                                       "gfs2",   "coda", "davfs", "ncpfs", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "autofs", "fuse" };
    if (type.n > 5 && !memcmp(type.p, "fuse.", 5))
        return !str_eq(type, STR("fuse.fuse-overlayfs"));
    for (size_t i = 0; i < COUNT_OF(far); i++)
        if (str_eq(type, str_of(far[i])))
            return true;
    return false;
}

struct mount {
    struct str point; /* as the table has it: blanks and the like as \ooo */
    bool far;
};

static struct str field(struct str *line)
{
    const char *end = line->n ? memchr(line->p, ' ', line->n) : NULL;
    struct str f = { line->p, end ? (size_t)(end - line->p) : line->n };
    line->p += f.n + (end != NULL);
    line->n -= f.n + (end != NULL);
    return f;
}

/* The next line: number, parent, device, root, point, options, any more up to "-", type, ... false: there is none. */
static bool next_mount(struct str *table, struct mount *m)
{
    while (table->n) {
        const char *end = memchr(table->p, '\n', table->n);
        struct str line = { table->p, end ? (size_t)(end - table->p) : table->n };
        table->p += line.n + (end != NULL);
        table->n -= line.n + (end != NULL);
        for (int i = 0; i < 4; i++)
            (void)field(&line);
        m->point = field(&line);
        while (line.n && !str_eq(field(&line), STR("-")))
            ;
        m->far = is_far_type(field(&line));
        if (m->point.n && m->point.p[0] == '/')
            return true;
    }
    return false;
}

static bool is_octal(char c) { return c >= '0' && c <= '7'; }

/* Is it the mount point of the path, or of a folder above it? */
static bool is_above(struct str point, struct str path)
{
    size_t at = 0;
    if (str_eq(point, STR("/")))
        return true;
    for (size_t i = 0; i < point.n; i++, at++) {
        char c = point.p[i];
        if (c == '\\' && i + 3 < point.n && is_octal(point.p[i + 1]) && is_octal(point.p[i + 2]) && is_octal(point.p[i + 3])) {
            c = (char)((point.p[i + 1] - '0') << 6 | (point.p[i + 2] - '0') << 3 | (point.p[i + 3] - '0'));
            i += 3;
        }
        if (at == path.n || path.p[at] != c)
            return false;
    }
    return at == path.n || path.p[at] == '/';
}

/* The mount that shows a path without links: the longest, and of several at one point the last. */
static struct mount mount_of(struct str table, struct str path)
{
    struct mount best = { 0 }, m;
    while (next_mount(&table, &m))
        if (m.point.n >= best.point.n && is_above(m.point, path))
            best = m;
    return best;
}

static bool has_far(struct str table)
{
    struct mount m;
    while (next_mount(&table, &m))
        if (m.far)
            return true;
    return false;
}

/* One step down, along `rest`; a link is put in front of what is left. 1 `done` lies on a far mount, 0, -1. */
static int step(struct str table, struct buf *done, struct buf *rest, int *links, struct buf *point)
{
    AUTO(buf_clear) struct buf more = { 0 };
    char target[PATH_MAX];
    size_t before = done->n, skip = 0;
    while (skip < rest->n && rest->p[skip] == '/')
        skip++;
    const char *name = rest->p + skip, *end = skip < rest->n ? memchr(name, '/', rest->n - skip) : NULL;
    struct str part = { name, skip == rest->n ? 0 : end ? (size_t)(end - name) : rest->n - skip };
    bool up = str_eq(part, STR(".."));
    if (up) {
        const char *slash = done->n ? memrchr(done->p, '/', done->n) : NULL;
        done->n = slash ? (size_t)(slash - done->p) : 0;
    } else if (part.n && !str_eq(part, STR("."))) {
        buf_addc(done, '/');
        buf_add(done, part.p, part.n);
    }
    buf_addc(done, '\0');
    done->n -= !done->failed;
    if (done->failed)
        return -1;
    struct mount m = mount_of(table, done->n ? buf_str(done) : STR("/"));
    if (m.far) {
        buf_add(point, m.point.p, m.point.n);
        return point->failed ? -1 : 1;
    }
    ssize_t n = done->n > before && *links < LINKS_MAX ? readlink(done->p, target, sizeof target) : -1;
    if (n > 0) {
        ++*links;
        done->n = target[0] == '/' ? 0 : before;
        buf_add(&more, target, (size_t)n);
        buf_addc(&more, '/');
    }
    buf_add(&more, rest->p + skip + part.n, rest->n - skip - part.n);
    buf_reset(rest);
    buf_add(rest, more.p, more.n);
    return more.failed || rest->failed ? -1 : 0;
}

static int walk(struct str table, const char *path, struct buf *point, struct err *err)
{
    AUTO(buf_clear) struct buf done = { 0 };
    AUTO(buf_clear) struct buf rest = { 0 };
    int links = 0, rc = 0;
    buf_adds(&rest, path);
    while (rc == 0 && rest.n && !rest.failed)
        rc = step(table, &done, &rest, &links, point);
    return rc < 0 || rest.failed ? err_nomem(err) : rc;
}

int mount_is_far(struct str table, const char *path, struct buf *point, struct err *err)
{
    return has_far(table) ? walk(table, path, point, err) : 0;
}

/* ---- the table of this process ---- */

void mount_table_clear(struct mount_table *t)
{
    fd_closep(&t->fd);
    buf_clear(&t->text);
    *t = MOUNT_TABLE_UNREAD;
}

/* Is the text what the kernel has? Asking that makes it be told of the next change. */
static bool is_current(const struct mount_table *t)
{
    struct pollfd p = { t->fd, POLLPRI, 0 };
    return t->fd >= 0 && poll(&p, 1, 0) == 0;
}

static void read_table(struct mount_table *t)
{
    char piece[8192];
    ssize_t n;
    buf_renew(&t->text);
    if (t->fd < 0)
        t->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    else
        (void)lseek(t->fd, 0, SEEK_SET);
    while (t->fd >= 0 && (n = read(t->fd, piece, sizeof piece)) > 0)
        buf_add(&t->text, piece, (size_t)n);
    t->has_far = has_far(buf_str(&t->text));
}

int mount_table_is_far(struct mount_table *t, const char *path, struct buf *point, struct err *err)
{
    if (!is_current(t))
        read_table(t);
    if (t->text.failed) {
        mount_table_clear(t); /* the next one reads it anew */
        return err_nomem(err);
    }
    return t->has_far ? walk(buf_str(&t->text), path, point, err) : 0;
}

int mount_is_far_here(const char *path, struct buf *point, struct err *err)
{
    AUTO(mount_table_clear) struct mount_table table = MOUNT_TABLE_UNREAD;
    return mount_table_is_far(&table, path, point, err);
}
