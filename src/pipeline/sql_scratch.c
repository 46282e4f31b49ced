/* The VFS of temporary files. See sql_scratch.h; sqlite.org/vfs.html says what each method must do. */
#include "pipeline/sql_scratch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

struct scratch_file {
    sqlite3_file file;
    struct scratch *scratch;
    int fd;
    int64_t size;
};

/* ---- a file ---- */

static int file_close(sqlite3_file *file)
{
    struct scratch_file *f = (struct scratch_file *)file;
    f->scratch->bytes -= f->size;
    fd_closep(&f->fd);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *buf, int n, sqlite3_int64 at)
{
    struct scratch_file *f = (struct scratch_file *)file;
    int done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, (char *)buf + done, (size_t)(n - done), at + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            err_sys(&f->scratch->err, "read a scratch file");
            return SQLITE_IOERR_READ;
        }
        if (got == 0)
            break;
        done += (int)got;
    }
    if (done == n)
        return SQLITE_OK;
    memset((char *)buf + done, 0, (size_t)(n - done)); /* as the method must */
    return SQLITE_IOERR_SHORT_READ;
}

static int file_grow(struct scratch_file *f, int64_t size)
{
    struct scratch *s = f->scratch;
    char most[32];
    if (size <= f->size)
        return SQLITE_OK;
    if (s->bytes + (size - f->size) > s->bytes_max) {
        text_put_size(most, sizeof most, s->bytes_max);
        err_set(&s->err, ERR_LIMIT, "it keeps more than %s in scratch files ([limits] scratch)", most);
        return SQLITE_FULL;
    }
    s->bytes += size - f->size;
    f->size = size;
    return SQLITE_OK;
}

static int file_write(sqlite3_file *file, const void *buf, int n, sqlite3_int64 at)
{
    struct scratch_file *f = (struct scratch_file *)file;
    int rc = file_grow(f, at + n);
    for (int done = 0; rc == SQLITE_OK && done < n;) {
        ssize_t put = pwrite(f->fd, (const char *)buf + done, (size_t)(n - done), at + done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            err_sys(&f->scratch->err, "write a scratch file");
            rc = SQLITE_FULL;
        }
        done += (int)put;
    }
    return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct scratch_file *f = (struct scratch_file *)file;
    if (ftruncate(f->fd, size) < 0) {
        err_sys(&f->scratch->err, "cut a scratch file");
        return SQLITE_IOERR_TRUNCATE;
    }
    f->scratch->bytes += size - f->size;
    f->size = size;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    *size = ((struct scratch_file *)file)->size;
    return SQLITE_OK;
}

/* Nobody else has the file, and it need not outlive us: nothing to lock, nothing to sync. */
static int file_nothing(sqlite3_file *file, int flags)
{
    (void)file, (void)flags;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    (void)file, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int file_traits(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_nothing,
    .xFileSize = file_size,
    .xLock = file_nothing,
    .xUnlock = file_nothing,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_traits,
};

/* ---- the system ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct scratch *s = vfs->pAppData;
    struct scratch_file *f = (struct scratch_file *)file;
    *f = (struct scratch_file){ .scratch = s, .fd = -1 };
    if (name || !s->stage)
        return SQLITE_CANTOPEN;
    if ((f->fd = s->stage->open_file(s->stage->arg, STAGE_SCRATCH, "", &s->err)) < 0)
        return SQLITE_CANTOPEN;
    f->file.pMethods = &file_methods;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs, (void)name, (void)sync;
    return SQLITE_IOERR_DELETE;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs, (void)name, (void)flags;
    *out = 0;
    return SQLITE_OK;
}

static int vfs_path(sqlite3_vfs *vfs, const char *name, int cap, char *out)
{
    (void)vfs;
    snprintf(out, (size_t)cap, "%s", name);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs;
    for (int i = 0; i < n; i++)
        out[i] = (char)sys_random();
    return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us; /* nobody else has its files: nothing is waited for */
}

static int vfs_time64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    static const int64_t unix_epoch = 210866760000000; /* as a Julian day, in ms */
    (void)vfs;
    *out = unix_epoch + sys_now_ms();
    return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 ms;
    (void)vfs_time64(vfs, &ms);
    *out = (double)ms / 86400000.0;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
    (void)vfs, (void)n, (void)out;
    return 0;
}

int scratch_open(struct scratch *s, const struct stage *stage, int64_t bytes_max, struct err *err)
{
    *s = (struct scratch){ .stage = stage, .bytes_max = bytes_max };
    snprintf(s->name, sizeof s->name, "qetl-scratch-%p", (void *)s);
    s->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct scratch_file),
        .mxPathname = 512,
        .zName = s->name,
        .pAppData = s,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_path,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time64,
    };
    return sqlite3_vfs_register(&s->vfs, 0) == SQLITE_OK ? 0 : err_nomem(err);
}

void scratch_close(struct scratch *s)
{
    if (s->vfs.zName)
        sqlite3_vfs_unregister(&s->vfs);
}
