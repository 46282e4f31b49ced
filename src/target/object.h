/*
 * Object stores and directories as targets: what encoder (object.c) and loader (object_load.c) share.
 *
 * The encoder stages one run of bytes an output: blocks (object_pack.h), each of rows of one object in
 * their order, those of all objects mixed; behind them the index, which tells the loader which blocks
 * make up which object:
 *
 *   "csv.gz" and NUL, then for each object: name and NUL, rows, number of blocks, and for each block
 *   offset and length; then, in the last 16 bytes: offset of the index, "QETLOBJ1"
 *
 * Numbers are 8 bytes, the least significant first. The loader believes none of it before the checksum
 * of the whole and object_index_read() have passed it: the encoder had foreign bytes in its hands.
 */
#ifndef QETL_TARGET_OBJECT_H
#define QETL_TARGET_OBJECT_H

#include "target/target.h"

enum {
    OBJECT_PARTS_MAX = 1000,          /* objects of one output */
    OBJECT_BLOCK = 512 * 1024,        /* of rows, before compression */
    OBJECT_BUFFERS = 16 * 1024 * 1024, /* of all objects of an output */
};

struct object_block {
    int64_t offset, bytes;
};
/* One object of an output. */
struct object_part {
    char *name; /* with "{uid}" in it */
    int64_t rows, bytes;
    struct object_block *blocks;
    int nblocks;
};
struct object_index {
    char ext[16]; /* "csv.gz" */
    struct object_part *parts;
    int n;
};
/* Behind out, whose first byte lies at offset `at` of what is staged. */
void object_index_put(struct buf *out, int64_t at, const char *ext, const struct object_part *parts,
                      int n);
/* From the last bytes of a staged output of `bytes` bytes (text: from `at` to its end). at: from
 * object_index_at(). Errors: staged-damaged. */
int object_index_read(struct object_index *out, struct str text, int64_t at, struct err *err);
enum { OBJECT_TRAILER = 16 };
/* Where the index begins, by the last 16 bytes of `bytes`; -1: staged-damaged. */
int64_t object_index_at(const char trailer[OBJECT_TRAILER], int64_t bytes, struct err *err);
void object_index_clear(struct object_index *x);

/* Functions of struct target in object_load.c. */
int object_open(struct target_conn **out, const struct config *config,
                const struct target_config *cfg, bool create, struct err *err);
void object_close(struct target_conn *c);
int object_begin(struct target_conn *c, struct err *err);
int object_load_job(struct target_conn *c, struct load_job *job, struct err *err);
int object_forsake(struct target_conn *c, struct load_job *job, struct err *err);
int object_commit(struct target_conn *c, struct err *err);
void object_rollback(struct target_conn *c);
int object_loaded(struct target_conn *c, const char *uid, struct load_counts *counts,
                  struct err *err);
int object_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err);
int object_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);

#endif
