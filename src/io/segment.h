/*
 * Streams: JSON lines that many programs append to and one pipeline takes, in segment files below spool/streams/NAME/:
 *
 *     open/<number>.part           the open segment: where lines are appended
 *     open/head, open/sync         how many bytes of it count, and how many are on disk; each is the lock of those who change it
 *     <number>-<random>.jsonl      a closed segment: whole, on disk, never written again; what a lister gives
 *     opened                       closed (IN_CLOSE_WRITE) when a segment is opened: wakes who watches the folder
 *
 * A line that was appended and synced survives a power cut. Lines of one append stand together and whole, or not at all: the
 * bytes behind what the head counts are of a writer that died, and are cut off before the next one writes. The head is a memory
 * of this boot only: after another start of the machine the open segment is read, and cut before the first line that is not
 * a whole JSON object of at most ROW_BYTES_MOST, which no sync ever covered. Closed segments come in the order of their numbers.
 */
#ifndef QETL_IO_SEGMENT_H
#define QETL_IO_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct segment_limits {
    int64_t bytes;     /* an append that would make the open segment longer closes it first */
    int64_t age_ms;    /* one whose first line is so old is closed */
    int64_t quota;     /* bytes of all segments of the stream; 0: any number */
    int64_t keep_free; /* bytes that stay free on the file system */
};

struct segments;
/* Open the stream in that folder. create: make it where it is missing. 1; 0 there is none; -1. Errors: spool, disk-full, io. */
int segments_open(struct segments **out, const char *folder, const struct segment_limits *limits, bool create, struct err *err);
void segments_close(struct segments *s); /* NULL is fine */
/* Append lines, each of which is a JSON object with a newline behind it; all of them or none. They are there for all to see, but not on
 * disk before segments_sync(). Errors: disk-full (the disk, or the quota), spool, io. Fault points: segment-append, segment-wrote,
 * segment-close-sync, segment-close, segment-closed. A segment that cannot be closed behind them is no error: its lines are there. */
int segments_append(struct segments *s, struct str lines, struct err *err);
/* All that this handle appended is on disk afterwards: by one fdatasync for all who wait. It fails, too, when a sync failed while the
 * segment was to be closed. Fault point: segment-sync. */
int segments_sync(struct segments *s, struct err *err);
/* Close the open segment if its first line is that old (0: in any case). *left_ms: so long until it will be; 0: none is open. 1 it was
 * closed, 0, -1. */
int segments_settle(struct segments *s, int64_t age_ms, int64_t *left_ms, struct err *err);

enum { SEGMENT_NAME = 48 };
struct segment_closed {
    uint64_t number;
    int64_t bytes;
    char name[SEGMENT_NAME];
};
/* The closed segments of a folder, oldest first, behind out. 0; -1: io (ENOENT in err->sys: there is no such folder). */
int segments_closed(const char *folder, struct buf *out, struct err *err);

/* Is it a JSON object that can be a line? Newlines between its values become spaces, in place. Errors: usage, with what is wrong where. */
int segment_line(char *p, size_t n, int64_t most, struct err *err);

#endif
