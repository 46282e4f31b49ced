/*
 * A whole SQLite database file with one table, written from its records in one pass.
 *
 * https://www.sqlite.org/fileformat2.html: 4096-byte pages, the table as a b-tree of leaf and
 * interior pages, long records in chains of overflow pages, page 1 with the header and the schema.
 * Rows get the rowids 1, 2, 3, ... in the order they come in. Pages are written in the order of
 * their numbers, big runs at a time; page 1 comes last, so that a file that was not finished is no
 * database. PRAGMA integrity_check finds nothing wrong with the result; it needs 2.1 MB of memory
 * for any size.
 *
 * If power fails before pages_finish() has returned 0, the file means nothing; its name must not be
 * published before.
 */
#ifndef QETL_TARGET_SQLITE_PAGES_H
#define QETL_TARGET_SQLITE_PAGES_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum { PAGE_SIZE = 4096 };

struct pages;

/* Limits that tests make small; {0} takes those of SQLite. */
struct pages_limits {
    uint32_t lock_page; /* this page is never used: 1 GiB into the file (section 1.5 "The Lock-Byte
                           Page") */
    uint32_t interior_cells; /* most cells of an interior page, 2 or more */
};

/* fd: an empty file, writable, borrowed. It may be opened with O_DIRECT: all writes are aligned to
 * pages. Measured, 1M rows: that makes the file in a third of the time, and the loader, which then
 * reads it from the disk, slower by as much. limits: may be NULL. */
int pages_open(struct pages **out, int fd, const struct pages_limits *limits, struct err *err);
/* One more row. Errors: disk-full, io, limit (the file has 2^32 pages). */
int pages_add(struct pages *p, struct str record, struct err *err);
/* Write the rest and sync (fdatasync). The file is then a database with the table `table`, made by
 * `sql`. *bytes is its size and *checksum its pages_checksum(). */
int pages_finish(struct pages *p, const char *table, const char *sql, int64_t *bytes,
                 uint64_t *checksum, struct err *err);
void pages_free(struct pages *p);

/*
 * Is the file still what pages_finish() left? Size and checksum (XXH64, seed 0, of all pages from
 * the second on and then the first, the order in which they were written; never 0) are compared. 0,
 * or -1: staged-damaged with what differs; io. checksum 0: only the size is compared.
 */
int pages_verify(const char *path, int64_t bytes, uint64_t checksum, struct err *err);

#endif
