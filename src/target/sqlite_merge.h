/*
 * Staged rows into a table with a key: by mode, options, and what is there.
 *
 * One statement sorts the rows by key, takes one of each key (the last one by version, then by file
 * order; insert_ignore: the first) and puts it in. Two functions of ours see the rows go by:
 *   qetl_first(gone, key...)  true where the key differs from that of the row before
 *   qetl_met(write, gone)     the key is in the table; true where the row may be overwritten
 * From their tally come the counts. To look at each row between the sort and the table costs a
 * tenth; a plain upsert into a table with rowids, and insert_ignore, do without it: all rows go in,
 * in their order, and SQLite's update hook sees where one went over another of the same statement.
 *
 * History keeps all versions of a key: what changes is found out by window functions into a
 * temporary table first.
 */
#ifndef QETL_TARGET_SQLITE_MERGE_H
#define QETL_TARGET_SQLITE_MERGE_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/sqlite_table.h"
#include "target/target.h"

/* The functions for this connection. */
int merge_functions(struct warehouse *w, struct err *err);
void merge_clear(struct warehouse *w); /* behind their last call */
/* Nothing was seen go by yet. */
void merge_tally_reset(struct merge_tally *t);

/* The statement for insert_ignore and upsert; `where` chooses among the staged rows, or is "". */
void merge_sql(struct buf *sql, const struct table *t, const struct table_spec *spec,
               const char *source, const char *where);

/* Inside a transaction and a savepoint: the `rows` of source (schema.table with the staged columns)
 * into t. now: of the load, as a timestamp. Adds to *counts. Errors: target-refused, target,
 * disk-full. */
int merge_rows(struct warehouse *w, const struct table *t, const struct table_spec *spec,
               const char *source, int64_t rows, const char *now, struct load_counts *counts,
               struct err *err);

/* Does the table take all rows in the order of their keys, without a look at each? */
bool merge_is_plain(const struct table *t);

/* Which rows of t miss their key in source: a condition of a WHERE. */
void merge_missing(struct buf *sql, const struct table *t, const struct table_spec *spec,
                   const char *source);

/* What the keys of one inline output were so far; {0} is empty. */
struct key_set {
    struct buf keys;
    uint32_t *slots; /* offsets into keys, + 1 */
    size_t room, n;
};
/* 1: the key was there; 0: it is now; -1: no memory. */
int key_set_add(struct key_set *set, struct str key);
void key_set_clear(struct key_set *set);
#endif
