/*
 * Where a folder comes from: this machine, or a mount that shows what another one, or a program, has. What is behind such a mount changes
 * without a word to inotify(7), and can hang for as long as nobody answers; so nothing of it is touched to find that out. Symbolic links on
 * the way to it are followed.
 */
#ifndef QETL_BASE_MOUNT_H
#define QETL_BASE_MOUNT_H

#include "base/err.h"
#include "base/mem.h"

/* Does that absolute path, there or not, lie below such a mount, by this table (proc(5), /proc/PID/mountinfo)? 1 and the mount point behind
 * *point; 0; -1: memory. */
int mount_is_far(struct str table, const char *path, struct buf *point, struct err *err);
/* The same by the table of this process; one that cannot be read has no such mount. */
int mount_is_far_here(const char *path, struct buf *point, struct err *err);

#endif
