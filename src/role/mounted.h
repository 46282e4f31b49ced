/*
 * Files behind mounts of other machines' folders, or of programs' (base/mount.h), for who must not wait for them: whoever opens, reads,
 * closes or looks at such a file may be held in the kernel for as long as nobody answers there, where not even SIGKILL reaches him. So a
 * process of its own does it, started at the first such file and kept for the next, and hands the bytes over; who asks waits with a time
 * limit, and calls tick() meanwhile:
 *
 *   worker ──file──▶ helper ──its size and time, bytes, end──▶ worker
 *
 * A helper that brings nothing in that time is killed and left behind; when the kernel lets go of it it is gone. Until then nobody else is
 * sent to the same mount, so that of one process one helper hangs there. It holds no descriptor of ours but that of an object that it
 * archives, and its owner none of its files. It does not outlive its owner, but for being held by the kernel.
 */
#ifndef QETL_ROLE_MOUNTED_H
#define QETL_ROLE_MOUNTED_H

#include "io/config.h"
#include "io/fetch.h"
#include "role/archive.h"

struct mounted;

struct mounted *mounted_new(const struct config *config); /* borrowed; NULL: no memory. Starts nothing */
void mounted_free(struct mounted *m);                     /* waits for no helper; NULL is fine */

/* Is that local file, there or not, behind such a mount? 1, 0, -1. One system call where there is none. */
int mounted_has(struct mounted *m, const char *uri, struct err *err);
/* The same of the place where archive= of the pipeline puts objects. */
int mounted_has_archive(struct mounted *m, const struct pipeline *pipeline, struct err *err);

/* Its bytes into the sink, as fetch_get() gives those of another host; the head's `modified` is RFC 3339 with ms. Errors: those of
 * source_open_local(); io; timeout, which names the mount: nothing came for [limits] stall_timeout, at the beginning connect_timeout and that. */
int mounted_get(struct mounted *m, const char *uri, const struct fetch_sink *sink, struct err *err);
/* As source_stat_local(), and timeout. */
int mounted_stat(struct mounted *m, const char *uri, int64_t *size, int64_t *mtime_ms, int (*tick)(void *arg, struct err *err), void *arg,
                 struct err *err);
/* As archive_put(), and timeout. */
int mounted_archive(struct mounted *m, const struct pipeline *pipeline, const struct archive_object *object, struct err *err);

#endif
