/*
 * Bytes that are pulled block by block through layers of compression: what unpack is built of. A
 * layer knows the one below it and the budget of the object, and nothing of members.
 *
 * gzip is read by gzip.h, not by libarchive, which (3.6.2, archive_read_support_filter_gzip.c) does
 * not look at the checksum in the trailer. All other compressions are read by libarchive's filters,
 * one named filter a layer; no outside program is ever run.
 */
#ifndef QETL_READ_STREAM_H
#define QETL_READ_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/input.h"

/* What some bytes are, by their first bytes alone: names lie. */
enum kind {
    KIND_PLAIN,
    KIND_GZIP,
    KIND_BZIP2,
    KIND_XZ,
    KIND_LZMA,
    KIND_ZSTD,
    KIND_LZ4,
    KIND_COMPRESS,
    KIND_LZIP,
    KIND_ZIP,
    KIND_7ZIP,
    KIND_TAR,
    KIND_CPIO,
    KIND_RAR,
    KINDS
};
enum { KIND_HEAD = 512 }; /* bytes that kind_of wants to see, when there are so many */
enum kind kind_of(struct str head);
const char *kind_name(enum kind k);
bool kind_is_compression(enum kind k);
bool kind_is_archive(enum kind k);
/* The length of name without the ending of compression k: "a.csv.gz" and KIND_GZIP give 5. */
size_t kind_stem(enum kind k, const char *name);

/* What one object may cost. Bytes that layers make for other layers and bytes that members give to
 * the caller are counted apart, so that a .tar.gz is not charged twice. What is read may be counted
 * elsewhere, for several budgets. */
enum budget_account { BUDGET_LAYERS, BUDGET_MEMBERS };
struct budget {
    int64_t bytes, ratio; /* the limits */
    const int64_t *in;    /* bytes read so far */
    int64_t out[2];       /* bytes made so far, by account */
};
/* 0, or -1: ERR_LIMIT. The ratio counts from 1 MiB out on. */
int budget_take(struct budget *b, enum budget_account account, size_t n, struct err *err);

struct stream {
    int (*pull)(struct stream *s, struct str *block,
                struct err *err);    /* 1 a block of at least 1 byte, 0 end, -1 error */
    void (*close)(struct stream *s); /* frees s, and the stream below */
    struct str ready[2];             /* pulled, not taken yet */
    char head[KIND_HEAD];
    size_t nhead;
    bool peeked, ended;
};

/* The next block, valid until the next call. 1, 0 at the end, -1. An end stays an end. */
int stream_next(struct stream *s, struct str *block, struct err *err);
/* The first KIND_HEAD bytes (fewer at the end), which stay to be read. Only before the first
 * stream_next. */
int stream_head(struct stream *s, struct str *head, struct err *err);
void stream_close(struct stream *s); /* NULL is fine */
void stream_closep(struct stream **s);

/* The bottom layer: `in` is borrowed. What is read is added to *count. */
struct stream *stream_of_input(struct input *in, int64_t *count, struct err *err);
/* A layer that undoes compression k. `below` is consumed, in every case. */
struct stream *stream_decompress(enum kind k, struct stream *below, struct budget *budget,
                                 struct err *err);

/* Of the block that a consumer got last: the `unused` bytes at its end (0 or less: none). */
struct str stream_unused(struct str block, int64_t unused);
/* Are all bytes of s zeros? Archives and compressed files are padded so by tapes and block devices.
 */
bool all_zeros(struct str s);

#endif
