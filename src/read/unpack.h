/*
 * Members out of an object, streaming, by libarchive: gz bz2 xz zst lz4 (and others libarchive has built in, never by outside
 * programs), zip, tar in any of them, 7z, plain files; archives inside archives to a set depth. Nothing from an archive
 * becomes a path on disk: a member's name is only a text to match and to show.
 *
 * Limits hold on every path, also for a single .gz: members, bytes unpacked in all, ratio (checked above 1 MiB out), depth.
 * A limit passed is ERR_LIMIT that names the limit and its key. rar is not enabled.
 */
#ifndef QETL_READ_UNPACK_H
#define QETL_READ_UNPACK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/input.h"

struct unpack_limits {
    int64_t members, bytes, ratio; /* ratio: bytes out a byte in */
    int64_t depth;                 /* archives inside archives; 0: the object itself only */
};

struct member {
    char name[512]; /* printable UTF-8, "inner.zip/orders.csv" when nested; cut in the middle when longer */
    int64_t size;   /* or -1 */
};

struct unpack;

/* `src` is borrowed and must live until unpack_close. object_name ("orders.csv.gz") names the member of a file that is no archive: the
 * name without the compression's ending. */
int unpack_open(struct unpack **out, struct input *src, const char *object_name, const struct unpack_limits *limits,
                struct err *err);
/* 1: *m is open for reading (folders, links and other non-files are stepped over); 0: no more members; -1 error (archive,
 * truncated, limit, or the source's own). What is left of the member before is skipped. An object of 0 bytes has one member of 0 bytes. */
int unpack_next(struct unpack *u, struct member *m, struct err *err);
/* Bytes of the open member. The input is owned by u and valid until the next unpack_next(). */
struct input *unpack_member(struct unpack *u);
int64_t unpack_bytes_in(const struct unpack *u);
int64_t unpack_bytes_out(const struct unpack *u);
void unpack_close(struct unpack *u);

/* Must this object be seekable (its head says 7z, zip, ...)? head: the first bytes, up to 512. The worker asks before it streams. */
int unpack_wants_seek(const void *head, size_t n);

#endif
