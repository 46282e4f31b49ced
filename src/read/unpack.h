/*
 * Members out of an object, streaming: gz bz2 xz lzma zst lz4 Z lz, zip, tar and cpio in any of them, 7z, plain files;
 * archives inside archives to a set depth. Nothing from an archive becomes a path on disk: a member's name is only a text to match
 * and to show.
 *
 * Kinds are told by magic numbers alone, never by names, so that text stays text. Formats are libarchive's, from an explicit
 * list, without outside programs; rar is not among them.
 *
 * What is an error, and what is not:
 * - `truncated`: the bytes end before the format says so. A tar needs its end mark (one block of zeros), a zip and a 7z their
 *   directory. Only .Z has no end of its own.
 * - `archive`: damaged, encrypted, or foreign bytes behind the end. Zeros behind the end are padding. Several gz, bz2, xz, zst,
 *   lz4 or tar one behind the other are all read. Checksums of zip and gz are errors before the member ends.
 *   A zip and a 7z must be all of their bytes, and a zip has as many members as its directory says.
 * - `limit`: members (folders and links count too), bytes unpacked and their ratio to the bytes read (checked above 1 MiB out)
 *   hold on every path, also for a single .gz, for members that nobody reads, and for what is unpacked only to be unpacked
 *   again. The message names the limit and its key.
 *
 * A member that is itself an archive or compressed is opened while `depth` allows; beyond it, it is a member whose bytes are
 * the archive's. A damaged nested archive fails the object, wanted or not; a plain member that cannot be read matters only to who
 * reads it, where the archive can step over it. A zip or 7z inside something else is held in memory up to 16 MiB; a larger zip
 * is read as it comes and checked against its directory, a larger 7z is `limit`.
 */
#ifndef QETL_READ_UNPACK_H
#define QETL_READ_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/input.h"

struct unpack_limits {
    int64_t members, bytes, ratio; /* ratio: bytes out a byte in; 0: no limit */
    int64_t depth;                 /* archives inside archives; 0: the object itself only */
};

struct member {
    char name[512]; /* printable UTF-8, "inner.zip/orders.csv" when nested; cut in the middle when longer */
    int64_t size;   /* or -1 */
    bool plain;     /* it is the object, byte by byte: nothing around it tells whether it is whole */
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
