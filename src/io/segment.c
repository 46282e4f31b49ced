/*
 * Segment files of streams. See segment.h for what lies where.
 *
 * Invariants. (1) Who appends, cuts, opens or closes holds the lock of the head. (2) The head counts a byte only when its whole
 * append is in the file. (3) A segment is renamed to its closed name after its bytes are on disk, and its number is never given
 * again. (4) Nobody waits for a sync with the head locked, but who closes a segment.
 *
 * A writer that dies: before (2) its bytes are cut off by the next one; while it closes a segment, the next one looks which name
 * that has, and goes on with the next number where it is the closed one. If power fails: see recover().
 */
#include "io/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/config.h"

enum { FILE_MODE = 0640, LINES_AT_ONCE = 65536 };
static const uint64_t MAGIC = UINT64_C(0x31676573716574); /* "tqeseg1" on little endian */

struct head {
    uint64_t magic, epoch; /* epoch: drawn anew by each recover() */
    int64_t boot;
    uint64_t number;       /* of the open segment, or of the next one */
    int64_t bytes;         /* of it that count; 0: none is open */
    int64_t born_mono_ms;  /* its first append */
    uint64_t closing;      /* 1: it is being closed, and may have its closed name already */
};
struct synced {
    uint64_t epoch, number;
    int64_t bytes;
};

struct segments {
    char *folder;
    struct segment_limits limits;
    int dir, open_dir, head_fd, sync_fd;
    bool adopts;  /* we are root, and the spool is not: what we make is given to its owner, or nobody of qetl could read it */
    uid_t uid;
    gid_t gid;
    int fd; /* the segment that was open at our last look, or -1; */
    uint64_t epoch, number; /* which it is */
    int64_t end;            /* behind our last line in it that is not known to be on disk; 0: there is none */
    int lost;               /* errno of a sync that failed while it was to be closed: one that comes after it says nothing; 0 */
    uint64_t counted;       /* closed_bytes is of the time when this number was open; 0: never */
    int64_t closed_bytes;
};

static int fail(struct err *err, const struct segments *s, const char *doing)
{
    return err_sys(err, "%s of the stream in '%s'", doing, s->folder);
}

static int lock(const struct segments *s, int fd, struct err *err)
{
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return fail(err, s, "lock the segments");
    return 0;
}

static void adopt(const struct segments *s, int fd)
{
    if (s->adopts)
        (void)fchown(fd, s->uid, s->gid);
}

static void unlock(int fd) { (void)flock(fd, LOCK_UN); }

static void part_name(char out[SEGMENT_NAME], uint64_t number) { snprintf(out, SEGMENT_NAME, "%012" PRIu64 ".part", number); }

/* The number at the beginning of a name that ends so; 0: it is no such name. */
static uint64_t name_number(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end), digits = strspn(name, "0123456789");
    if (digits != 12 || n < k || n >= SEGMENT_NAME || strcmp(name + n - k, end))
        return 0;
    return strtoull(name, NULL, 10);
}

/* ---- lines ---- */

int segment_line(char *p, size_t n, int64_t most, struct err *err)
{
    struct json_value v;
    struct json_fault fault;
    if ((int64_t)n > most) {
        char size[32];
        text_put_size(size, sizeof size, most);
        return err_set(err, ERR_USAGE, "the line is longer than %s ([limits] row)", size);
    }
    if (!json_check((struct str){ p, n }, &v, &fault))
        return err_set(err, ERR_USAGE, "byte %zu: %s", fault.at, fault.what);
    if (v.kind != JSON_OBJECT)
        return err_set(err, ERR_USAGE, "a JSON object was expected");
    for (size_t i = 0; i < n; i++)
        if (p[i] == '\n' || p[i] == '\r') /* between values: none can stand in a text */
            p[i] = ' ';
    return 0;
}

/* How many bytes of the file are whole lines that are good, up to the first that is not. -1. A line was as long as [limits] row
 * allowed when it came, whatever it allows now. */
static int64_t good_bytes(struct segments *s, int fd, struct err *err)
{
    AUTO(buf_clear) struct buf line = { 0 };
    int64_t good = 0, at = 0;
    char bytes[LINES_AT_ONCE];
    for (ssize_t n; (n = pread(fd, bytes, sizeof bytes, at)) != 0; at += n) {
        if (n < 0)
            return fail(err, s, "read the open segment");
        for (ssize_t from = 0, to; from < n; from = to) {
            const char *end = memchr(bytes + from, '\n', (size_t)(n - from));
            to = end ? end + 1 - bytes : n;
            buf_add(&line, bytes + from, (size_t)((end ? end - bytes : n) - from));
            struct err why;
            if (line.failed)
                return err_nomem(err);
            if ((int64_t)line.n > ROW_BYTES_MOST || (end && segment_line(line.p, line.n, ROW_BYTES_MOST, &why) < 0))
                return good;
            if (!end)
                continue;
            good += (int64_t)line.n + 1;
            buf_reset(&line);
        }
    }
    return good;
}

/* ---- the head ---- */

static int head_write(struct segments *s, const struct head *h, struct err *err)
{
    if (pwrite(s->head_fd, h, sizeof *h, 0) != (ssize_t)sizeof *h)
        return fail(err, s, "write the head");
    return 0;
}

static int close_part(struct segments *s, int fd, uint64_t number, struct err *err)
{
    char part[SEGMENT_NAME], name[SEGMENT_NAME];
    part_name(part, number);
    snprintf(name, sizeof name, "%012" PRIu64 "-%08x.jsonl", number, (unsigned)sys_random());
    if (sys_fault("segment-close-sync") || fdatasync(fd) < 0) {
        s->lost = errno;
        return fail(err, s, "sync the segment");
    }
    if (sys_fault("segment-close") || renameat(s->open_dir, part, s->dir, name) < 0)
        return fail(err, s, "close the segment");
    return sys_fsync_dir(s->dir, s->folder, err) < 0 || sys_fsync_dir(s->open_dir, s->folder, err) < 0 ? -1 : 0;
}

/* One that was open when the machine went down: cut to its good lines. Gives how many bytes these are; an empty one goes. */
static int64_t mend_part(struct segments *s, uint64_t number, int *fd, struct err *err)
{
    char name[SEGMENT_NAME];
    part_name(name, number);
    *fd = openat(s->open_dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0)
        return fail(err, s, "open the segment");
    int64_t good = good_bytes(s, *fd, err);
    if (good < 0)
        return -1;
    if (ftruncate(*fd, good) < 0 || fdatasync(*fd) < 0)
        return fail(err, s, "cut the segment");
    if (good == 0 && unlinkat(s->open_dir, name, 0) < 0)
        return fail(err, s, "remove the empty segment");
    return good;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The numbers of the open segments, of which there is one, or none; more only if somebody put them there. */
static int parts_list(struct segments *s, struct buf *out, struct err *err)
{
    int fd = openat(s->open_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fd_closep(&fd);
        return fail(err, s, "list the segments");
    }
    for (const struct dirent *d; (d = readdir(dir));) {
        uint64_t number = name_number(d->d_name, ".part");
        if (number)
            buf_add(out, &number, sizeof number);
    }
    closedir(dir);
    if (out->failed)
        return err_nomem(err);
    if (out->n)
        qsort(out->p, out->n / sizeof(uint64_t), sizeof(uint64_t), by_number);
    return 0;
}

/* The number behind all that closed segments have. */
static int next_number(struct segments *s, uint64_t *next, struct err *err)
{
    AUTO(buf_clear) struct buf closed = { 0 };
    if (segments_closed(s->folder, &closed, err) < 0)
        return -1;
    const struct segment_closed *v = (const void *)closed.p;
    size_t n = closed.n / sizeof *v;
    if (n && v[n - 1].number >= *next)
        *next = v[n - 1].number + 1;
    return 0;
}

/* The folders up to the spool hold what was made in them, whatever power does. */
static int sync_folders(struct segments *s, struct err *err)
{
    static const char *const up[] = { ".", "..", "../..", "../../.." };
    for (size_t i = 0; i < COUNT_OF(up); i++) {
        int fd = openat(s->open_dir, up[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int rc = fd < 0 ? fail(err, s, "open the folder") : sys_fsync_dir(fd, s->folder, err);
        fd_closep(&fd);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/*
 * The head is of another boot, or none: find out what there is. What a sync covered is there as it was; behind that there may be
 * anything, zeros too. All but the last of the segments that were open are closed.
 */
static int recover(struct segments *s, struct head *h, struct err *err)
{
    AUTO(buf_clear) struct buf parts = { 0 };
    uint64_t next = h->magic == MAGIC && h->number ? h->number : 1;
    if (sync_folders(s, err) < 0 || parts_list(s, &parts, err) < 0 || next_number(s, &next, err) < 0)
        return -1;
    *h = (struct head){ .magic = MAGIC, .epoch = sys_random(), .boot = sys_boot(), .number = next, .born_mono_ms = sys_mono_ms() };
    for (size_t at = 0; at < parts.n; at += sizeof(uint64_t)) {
        uint64_t number;
        int fd;
        memcpy(&number, parts.p + at, sizeof number);
        int64_t good = mend_part(s, number, &fd, err);
        bool last = at + sizeof number == parts.n && number >= next;
        int rc = good < 0 ? -1 : good > 0 && !last ? close_part(s, fd, number, err) : 0;
        fd_closep(&fd);
        if (rc < 0)
            return -1;
        if (number >= h->number)
            h->number = number + (good > 0 && !last);
        h->bytes = last ? good : 0;
    }
    fd_closep(&s->fd);
    return head_write(s, h, err);
}

/* Lock and read the head. Who got 0 unlocks it. */
static int begin(struct segments *s, struct head *h, struct err *err)
{
    struct stat st;
    *h = (struct head){ 0 };
    if (lock(s, s->head_fd, err) < 0)
        return -1;
    int rc = fstat(s->head_fd, &st) < 0 || pread(s->head_fd, h, sizeof *h, 0) < 0 ? fail(err, s, "read the head") : 0;
    if (rc == 0 && st.st_nlink == 0)
        rc = err_set(err, ERR_SPOOL, "the stream's folder '%s' was removed", s->folder);
    if (rc == 0 && (h->magic != MAGIC || h->boot != sys_boot() || h->bytes < 0))
        rc = recover(s, h, err);
    if (rc < 0)
        unlock(s->head_fd);
    return rc;
}

/* ---- the open segment ---- */

static int part_open(struct segments *s, const struct head *h, bool make)
{
    char name[SEGMENT_NAME];
    part_name(name, h->number);
    fd_closep(&s->fd);
    s->fd = openat(s->open_dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | (make ? O_CREAT : 0), FILE_MODE);
    s->number = h->number;
    s->epoch = h->epoch;
    if (make && s->fd >= 0)
        adopt(s, s->fd);
    return s->fd;
}

/* s->fd is the open segment, without what a dead writer left behind its end; h->bytes is 0 when it is a new one. */
static int take_part(struct segments *s, struct head *h, struct err *err)
{
    struct stat st;
    if (s->fd < 0 || s->number != h->number || s->epoch != h->epoch || h->closing) {
        if (s->number != h->number || s->epoch != h->epoch)
            s->end = 0; /* what it was is closed, and so on disk */
        if (part_open(s, h, h->bytes == 0) < 0 && errno == ENOENT && h->bytes) { /* who closed it died before it said so */
            s->end = 0;
            h->number++;
            h->bytes = 0;
            h->closing = 0;
            if (head_write(s, h, err) < 0)
                return -1;
            (void)part_open(s, h, true);
        }
        h->closing = 0;
        if (s->fd < 0)
            return fail(err, s, "open the segment");
        if (h->bytes == 0 && sys_fsync_dir(s->open_dir, s->folder, err) < 0)
            return -1;
    }
    if (fstat(s->fd, &st) < 0 || (st.st_size > h->bytes && ftruncate(s->fd, h->bytes) < 0))
        return fail(err, s, "look at the segment");
    if (st.st_size >= h->bytes)
        return 0;
    return recover(s, h, err) < 0 ? -1 : take_part(s, h, err); /* somebody else cut it */
}

/* The open segment, which has lines, becomes a closed one. */
static int close_segment(struct segments *s, struct head *h, struct err *err)
{
    h->closing = 1;
    if (head_write(s, h, err) < 0 || close_part(s, s->fd, h->number, err) < 0)
        return -1;
    (void)sys_fault("segment-closed");
    h->number++;
    h->bytes = 0;
    h->closing = 0;
    s->end = 0;
    fd_closep(&s->fd);
    return head_write(s, h, err);
}

static int64_t age_of(const struct head *h)
{
    int64_t age = sys_mono_ms() - h->born_mono_ms;
    return age < 0 ? 0 : age;
}

/* ---- room ---- */

static int count_closed(struct segments *s, uint64_t now, struct err *err)
{
    AUTO(buf_clear) struct buf closed = { 0 };
    if (segments_closed(s->folder, &closed, err) < 0)
        return -1;
    const struct segment_closed *v = (const void *)closed.p;
    s->closed_bytes = 0;
    for (size_t i = 0; i < closed.n / sizeof *v; i++)
        s->closed_bytes += v[i].bytes;
    s->counted = now;
    return 0;
}

static int check_room(struct segments *s, const struct head *h, int64_t more, struct err *err)
{
    const struct segment_limits *l = &s->limits;
    struct statvfs fs;
    char size[32];
    if (fstatvfs(s->open_dir, &fs) < 0)
        return fail(err, s, "look at the file system");
    if ((int64_t)fs.f_bavail * (int64_t)fs.f_frsize - more < l->keep_free) {
        text_put_size(size, sizeof size, l->keep_free);
        return err_set(err, ERR_DISK_FULL, "nothing was taken: the file system of '%s' has no more than %s free ([limits] spool_free)",
                       s->folder, size);
    }
    if (!l->quota)
        return 0;
    bool old = s->counted != h->number, full = s->closed_bytes + h->bytes + more > l->quota;
    if ((old || full) && count_closed(s, h->number, err) < 0)
        return -1;
    if (s->closed_bytes + h->bytes + more <= l->quota)
        return 0;
    text_put_size(size, sizeof size, l->quota);
    return err_set(err, ERR_DISK_FULL, "nothing was taken: what waits in '%s' has reached %s ([limits] stream)", s->folder, size);
}

/* ---- append, sync, close ---- */

/* Who watches the folder learns that there is a segment to be closed some time. It is a hint: no matter if it fails. */
static void tell_opened(struct segments *s)
{
    int fd = openat(s->dir, "opened", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd >= 0)
        adopt(s, fd);
    fd_closep(&fd);
}

static int write_lines(struct segments *s, int64_t at, struct str lines)
{
    if (sys_fault("segment-append"))
        return -1;
    while (lines.n) {
        ssize_t n = pwrite(s->fd, lines.p, lines.n, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        lines = (struct str){ lines.p + n, lines.n - (size_t)n };
        at += n;
    }
    (void)sys_fault("segment-wrote");
    return 0;
}

/* Once the lines are counted it does not fail any more, or who appends them again would double them. */
static int append(struct segments *s, struct head *h, struct str lines, struct err *err)
{
    int64_t more = (int64_t)lines.n;
    if (take_part(s, h, err) < 0)
        return -1;
    if (h->bytes && (h->bytes + more > s->limits.bytes || age_of(h) >= s->limits.age_ms) &&
        (close_segment(s, h, err) < 0 || take_part(s, h, err) < 0))
        return -1;
    if (check_room(s, h, more, err) < 0)
        return -1;
    if (write_lines(s, h->bytes, lines) < 0) {
        int sys = errno;
        (void)ftruncate(s->fd, h->bytes); /* the next writer would do it */
        errno = sys;
        return fail(err, s, "nothing was taken: append to the segment");
    }
    bool first = h->bytes == 0;
    if (first)
        h->born_mono_ms = sys_mono_ms();
    h->bytes += more;
    if (head_write(s, h, err) < 0)
        return -1;
    s->end = h->bytes;
    if (first)
        tell_opened(s);
    struct err later;
    if (h->bytes >= s->limits.bytes)
        (void)close_segment(s, h, &later); /* else the next append does it, or a settle, and fails with its reason */
    return 0;
}

int segments_append(struct segments *s, struct str lines, struct err *err)
{
    struct head h;
    if (!lines.n)
        return 0;
    if (begin(s, &h, err) < 0)
        return -1;
    int rc = append(s, &h, lines, err);
    unlock(s->head_fd);
    return rc;
}

/* Is what we appended on disk by what others did? Else *h is the head of now. 1, 0, -1. */
static int is_synced(struct segments *s, struct head *h, struct err *err)
{
    struct synced done = { 0 };
    if (pread(s->sync_fd, &done, sizeof done, 0) < 0)
        return fail(err, s, "read what is on disk");
    if (done.epoch == s->epoch && (done.number > s->number || (done.number == s->number && done.bytes >= s->end)))
        return 1;
    if (begin(s, h, err) < 0)
        return -1;
    unlock(s->head_fd);
    return h->epoch != s->epoch || h->number != s->number; /* closed, or read and synced by recover() */
}

static int sync_now(struct segments *s, struct err *err)
{
    struct head h;
    int rc = is_synced(s, &h, err);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (sys_fault("segment-sync") || fdatasync(s->fd) < 0)
        return fail(err, s, "sync the segment");
    struct synced done = { h.epoch, h.number, h.bytes };
    return pwrite(s->sync_fd, &done, sizeof done, 0) == (ssize_t)sizeof done ? 0 : fail(err, s, "note what is on disk");
}

int segments_sync(struct segments *s, struct err *err)
{
    if (!s->end)
        return 0;
    if (s->lost) {
        errno = s->lost;
        return fail(err, s, "sync the segment");
    }
    if (lock(s, s->sync_fd, err) < 0)
        return -1;
    int rc = sync_now(s, err);
    unlock(s->sync_fd);
    if (rc == 0)
        s->end = 0;
    return rc;
}

int segments_settle(struct segments *s, int64_t age_ms, int64_t *left_ms, struct err *err)
{
    struct head h;
    *left_ms = 0;
    if (begin(s, &h, err) < 0)
        return -1;
    int rc = h.bytes ? take_part(s, &h, err) : 0;
    bool closes = rc == 0 && h.bytes && age_of(&h) >= age_ms;
    if (closes)
        rc = close_segment(s, &h, err);
    else if (rc == 0 && h.bytes)
        *left_ms = age_ms - age_of(&h) > 1 ? age_ms - age_of(&h) : 1;
    unlock(s->head_fd);
    return rc < 0 ? -1 : closes;
}

/* ---- what is closed ---- */

static int by_place(const void *a, const void *b)
{
    const struct segment_closed *x = a, *y = b;
    return x->number != y->number ? (x->number > y->number) - (x->number < y->number) : strcmp(x->name, y->name);
}

int segments_closed(const char *folder, struct buf *out, struct err *err)
{
    DIR *dir = opendir(folder);
    size_t from = out->n;
    struct stat st;
    if (!dir)
        return err_sys(err, "list the segments in '%s'", folder);
    for (const struct dirent *d; (d = readdir(dir));) {
        struct segment_closed one = { .number = name_number(d->d_name, ".jsonl") };
        if (!one.number || fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue; /* not one of ours, or loaded and gone since */
        one.bytes = st.st_size;
        memcpy(one.name, d->d_name, strlen(d->d_name) + 1);
        buf_add(out, &one, sizeof one);
    }
    closedir(dir);
    if (out->failed)
        return err_nomem(err);
    if (out->n > from)
        qsort(out->p + from, (out->n - from) / sizeof(struct segment_closed), sizeof(struct segment_closed), by_place);
    return 0;
}

/* ---- open ---- */

/* Everything up to the spool, which is two folders above ours. */
static void adopt_all(struct segments *s)
{
    struct stat spool;
    s->adopts = geteuid() == 0 && fstatat(s->dir, "../..", &spool, 0) == 0 && spool.st_uid != 0;
    if (!s->adopts)
        return;
    s->uid = spool.st_uid;
    s->gid = spool.st_gid;
    const int made[] = { s->dir, s->open_dir, s->head_fd, s->sync_fd };
    for (size_t i = 0; i < COUNT_OF(made); i++)
        adopt(s, made[i]);
    (void)fchownat(s->dir, "..", s->uid, s->gid, 0);
}

static int open_files(struct segments *s, bool create, struct err *err)
{
    int how = O_RDWR | O_NOFOLLOW | O_CLOEXEC | (create ? O_CREAT : 0);
    AUTO(buf_clear) struct buf path = { 0 };
    buf_addf(&path, "%s/open", s->folder);
    if (path.failed)
        return err_nomem(err);
    if (create && sys_mkdirs(path.p, err) < 0)
        return -1;
    s->dir = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->open_dir = s->dir < 0 ? -1 : openat(s->dir, "open", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    s->head_fd = s->open_dir < 0 ? -1 : openat(s->open_dir, "head", how, FILE_MODE);
    s->sync_fd = s->head_fd < 0 ? -1 : openat(s->open_dir, "sync", how, FILE_MODE);
    if (s->sync_fd >= 0) {
        adopt_all(s);
        return 1;
    }
    if (errno == ENOENT && !create)
        return 0;
    bool denied = errno == EACCES || errno == EPERM || errno == EROFS;
    fail(err, s, "open the segments");
    if (denied)
        err->code = ERR_SPOOL;
    return -1;
}

int segments_open(struct segments **out, const char *folder, const struct segment_limits *limits, bool create, struct err *err)
{
    struct segments *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(err);
    *s = (struct segments){ .folder = strdup(folder), .limits = *limits, .dir = -1, .open_dir = -1, .head_fd = -1, .sync_fd = -1, .fd = -1 };
    int rc = s->folder ? open_files(s, create, err) : err_nomem(err);
    if (rc == 1)
        *out = s;
    else
        segments_close(s);
    return rc;
}

void segments_close(struct segments *s)
{
    if (!s)
        return;
    fd_closep(&s->fd);
    fd_closep(&s->sync_fd);
    fd_closep(&s->head_fd);
    fd_closep(&s->open_dir);
    fd_closep(&s->dir);
    free(s->folder);
    free(s);
}
