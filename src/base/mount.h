/*
 * Where a folder comes from: this machine, or a mount that shows what another one, or a program, has. What is behind such a mount changes
 * without a word to inotify(7), and can hang for as long as nobody answers; so nothing of it is touched to find that out. Symbolic links on
 * the way to it are followed.
 */
#ifndef QETL_BASE_MOUNT_H
#define QETL_BASE_MOUNT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"

/* Does that absolute path, there or not, lie below such a mount, by this table (proc(5), /proc/PID/mountinfo)? 1 and the mount point behind
 * *point; 0; -1: memory. */
int mount_is_far(struct str table, const char *path, struct buf *point, struct err *err);

/*
 * The table of this process, kept: the kernel tells when it changes (proc(5): poll(2) of mountinfo), so that to ask again costs one system
 * call where there is no such mount. One that cannot be read has none.
 */
struct mount_table {
    int fd;
    struct buf text;
    bool has_far;
};
#define MOUNT_TABLE_UNREAD ((struct mount_table){ .fd = -1 })
void mount_table_clear(struct mount_table *t);
int mount_table_is_far(struct mount_table *t, const char *path, struct buf *point, struct err *err); /* as mount_is_far() */
/* The same by a table that is read for it. */
int mount_is_far_here(const char *path, struct buf *point, struct err *err);

#endif
