/*
 * Kinds by magic numbers, budgets, and the layers that undo compression.
 *
 * A layer tells three ends apart: the compressed data is complete and nothing but zeros follows
 * (end), the bytes below ended first (truncated), and everything else (archive: damaged). Nothing
 * here outlives the process, so power has nothing to break.
 */
#include "read/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "read/gzip.h"

enum { BLOCK = 128 * 1024 };

/* ---- kinds ---- */

static bool is_lzma(struct str h);
static bool is_bzip2(struct str h);
static bool is_zip(struct str h);
static bool is_tar(struct str h);
static bool is_cpio(struct str h);

/* Sources of the magic numbers: RFC 1952; bzip2's manual; xz-file-format.txt; RFC 8878;
 * lz4_Frame_format.md; compress(1); lzip's manual; APPNOTE.TXT 4.3; 7zFormat.txt; RAR 5.0 archive
 * format. */
static const struct kind_def {
    const char *name;
    struct str magic;
    bool (*test)(struct str head); /* beyond the magic; NULL: the magic is enough */
    bool compression, archive;
    const char *endings; /* in lower case, each followed by a space */
    int (*enable)(struct archive *a);
    int filter;
} kinds[KINDS] = {
    [KIND_PLAIN] = { "plain", { "", 0 }, NULL, false, false, "", NULL, 0 },
    [KIND_GZIP] = { "gzip", { "\x1f\x8b\x08", 3 }, NULL, true, false, ".gz .gzip ", NULL, 0 },
    [KIND_BZIP2] = { "bzip2",
                     { "BZh", 3 },
                     is_bzip2,
                     true,
                     false,
                     ".bz2 .bz ",
                     archive_read_support_filter_bzip2,
                     ARCHIVE_FILTER_BZIP2 },
    [KIND_XZ] = { "xz",
                  { "\xfd"
                    "7zXZ\0",
                    6 },
                  NULL,
                  true,
                  false,
                  ".xz ",
                  archive_read_support_filter_xz,
                  ARCHIVE_FILTER_XZ },
    [KIND_LZMA] = { "lzma",
                    { "\x5d\0\0", 3 },
                    is_lzma,
                    true,
                    false,
                    ".lzma ",
                    archive_read_support_filter_lzma,
                    ARCHIVE_FILTER_LZMA },
    [KIND_ZSTD] = { "zstd",
                    { "\x28\xb5\x2f\xfd", 4 },
                    NULL,
                    true,
                    false,
                    ".zst .zstd ",
                    archive_read_support_filter_zstd,
                    ARCHIVE_FILTER_ZSTD },
    [KIND_LZ4] = { "lz4",
                   { "\x04\x22\x4d\x18", 4 },
                   NULL,
                   true,
                   false,
                   ".lz4 ",
                   archive_read_support_filter_lz4,
                   ARCHIVE_FILTER_LZ4 },
    [KIND_COMPRESS] = { "compress",
                        { "\x1f\x9d", 2 },
                        NULL,
                        true,
                        false,
                        ".z ",
                        archive_read_support_filter_compress,
                        ARCHIVE_FILTER_COMPRESS },
    [KIND_LZIP] = { "lzip",
                    { "LZIP\x01", 5 },
                    NULL,
                    true,
                    false,
                    ".lz ",
                    archive_read_support_filter_lzip,
                    ARCHIVE_FILTER_LZIP },
    [KIND_ZIP] = { "zip", { "PK", 2 }, is_zip, false, true, "", NULL, 0 },
    [KIND_7ZIP] = { "7z", { "7z\xbc\xaf\x27\x1c", 6 }, NULL, false, true, "", NULL, 0 },
    [KIND_TAR] = { "tar", { "", 0 }, is_tar, false, true, "", NULL, 0 },
    [KIND_CPIO] = { "cpio", { "0707", 4 }, is_cpio, false, true, "", NULL, 0 },
    [KIND_RAR] = { "rar", { "Rar!\x1a\x07", 6 }, NULL, false, true, "", NULL, 0 },
};

const char *kind_name(enum kind k)
{
    return kinds[k].name;
}
bool kind_is_compression(enum kind k)
{
    return kinds[k].compression;
}
bool kind_is_archive(enum kind k)
{
    return kinds[k].archive;
}

static bool begins(struct str s, struct str with)
{
    return s.n >= with.n && memcmp(s.p, with.p, with.n) == 0;
}

enum kind kind_of(struct str head)
{
    for (int k = KIND_PLAIN + 1; k < KINDS; k++)
        if (begins(head, kinds[k].magic) && (!kinds[k].test || kinds[k].test(head)))
            return (enum kind)k;
    return KIND_PLAIN;
}

size_t kind_stem(enum kind k, const char *name)
{
    size_t n = strlen(name);
    for (const char *e = kinds[k].endings; *e;) {
        size_t len = strcspn(e, " ");
        if (n > len && str_eq_nocase((struct str){ name + n - len, len }, (struct str){ e, len }))
            return n - len;
        e += len + 1;
    }
    return n;
}

/* "BZh", the block size, and pi (a block) or its square root (the end of an empty file): text that
 * begins with BZh has neither. */
static bool is_bzip2(struct str h)
{
    return h.n >= 10 && h.p[3] >= '1' && h.p[3] <= '9' &&
           (memcmp(h.p + 4, "\x31\x41\x59\x26\x53\x59", 6) == 0 ||
            memcmp(h.p + 4, "\x17\x72\x45\x38\x50\x90", 6) == 0);
}

/* lzma has no magic number. xz's own test (alone_decoder.c): a dictionary of 2^n or 2^n + 2^(n-1),
 * a size below 256 GiB or unknown. */
static bool is_lzma(struct str h)
{
    if (h.n < 14)
        return false;
    uint32_t dict = 0;
    uint64_t size = 0;
    for (int i = 3; i >= 0; i--)
        dict = dict << 8 | (uint8_t)h.p[1 + i];
    for (int i = 7; i >= 0; i--)
        size = size << 8 | (uint8_t)h.p[5 + i];
    uint32_t d = dict - 1;
    d |= d >> 2;
    d |= d >> 3;
    d |= d >> 4;
    d |= d >> 8;
    d |= d >> 16;
    return dict && d + 1 == dict && (size == UINT64_MAX || size < UINT64_C(1) << 38);
}

/* A member, an empty archive, or the mark of a split archive that fitted one file after all. */
static bool is_zip(struct str h)
{
    return begins(h, (struct str){ "PK\3\4", 4 }) || begins(h, (struct str){ "PK\5\6", 4 }) ||
           begins(h, (struct str){ "PK\6\6", 4 }) || begins(h, (struct str){ "PK00PK\3\4", 8 });
}

/* The header's checksum as POSIX (pax(1), ustar) and old Solaris count it. */
static bool is_tar(struct str h)
{
    enum { SUM = 148, SUM_LEN = 8 };
    if (h.n < 512)
        return false;
    int64_t stated = 0, with_unsigned = 0, with_signed = 0;
    int i = SUM, digits = 0;
    while (i < SUM + SUM_LEN && h.p[i] == ' ')
        i++;
    for (; i < SUM + SUM_LEN && h.p[i] >= '0' && h.p[i] <= '7'; i++, digits++)
        stated = stated * 8 + (h.p[i] - '0');
    if (digits == 0 || (i < SUM + SUM_LEN && h.p[i] != ' ' && h.p[i] != '\0'))
        return false;
    for (int j = 0; j < 512; j++) {
        bool in_sum = j >= SUM && j < SUM + SUM_LEN;
        with_unsigned += in_sum ? ' ' : (uint8_t)h.p[j];
        with_signed += in_sum ? ' ' : (int8_t)h.p[j];
    }
    return stated == with_unsigned || stated == with_signed;
}

/* cpio -H newc, crc (13 fields of 8 hexadecimal digits) and odc (76 octal digits in all): a table
 * that begins with 070701 has a delimiter somewhere in there. */
static bool is_cpio(struct str h)
{
    bool odc = begins(h, STR("070707"));
    size_t fields = odc ? 76 : 110;
    if (h.n < fields || (!odc && !begins(h, STR("070701")) && !begins(h, STR("070702"))))
        return false;
    return strspn(h.p, odc ? "01234567" : "0123456789abcdefABCDEF") >= fields;
}

bool all_zeros(struct str s)
{
    return s.n == 0 || (s.p[0] == 0 && memcmp(s.p, s.p + 1, s.n - 1) == 0);
}

struct str stream_unused(struct str block, int64_t unused)
{
    size_t n = unused < 0 ? 0 : (uint64_t)unused < block.n ? (size_t)unused : block.n;
    return (struct str){ n ? block.p + block.n - n : "", n };
}

/* ---- budget ---- */

int budget_take(struct budget *b, enum budget_account account, size_t n, struct err *err)
{
    enum { RATIO_FROM = 1 << 20 };
    int64_t out = b->out[account] += (int64_t)n;
    if (out > b->bytes)
        return err_set(err, ERR_LIMIT, "unpacks to more than %" PRId64 " bytes ([limits] unpacked)",
                       b->bytes);
    if (out > RATIO_FROM && out / b->ratio > *b->in)
        return err_set(err, ERR_LIMIT,
                       "unpacks to more than %" PRId64 " times its size ([limits] ratio): %" PRId64
                       " bytes from %" PRId64,
                       b->ratio, out, *b->in);
    return 0;
}

/* ---- streams ---- */

int stream_next(struct stream *s, struct str *block, struct err *err)
{
    for (int i = 0; i < 2; i++)
        if (s->ready[i].n) {
            *block = s->ready[i];
            s->ready[i].n = 0;
            return 1;
        }
    if (s->ended)
        return 0;
    int rc = s->pull(s, block, err);
    s->ended = rc == 0;
    return rc;
}

int stream_head(struct stream *s, struct str *head, struct err *err)
{
    struct str block;
    int rc = 1;
    while (!s->peeked && s->nhead < KIND_HEAD && (rc = stream_next(s, &block, err)) == 1) {
        if (s->nhead == 0 && block.n >= KIND_HEAD) { /* the usual case: no copy */
            s->ready[0] = block;
            s->peeked = true;
            break;
        }
        size_t n = KIND_HEAD - s->nhead < block.n ? KIND_HEAD - s->nhead : block.n;
        memcpy(s->head + s->nhead, block.p, n);
        s->nhead += n;
        s->ready[1] = (struct str){ block.p + n, block.n - n };
    }
    if (rc < 0)
        return -1;
    if (!s->peeked)
        s->ready[0] = (struct str){ s->head, s->nhead };
    s->peeked = true;
    *head = s->ready[0];
    head->n = head->n < KIND_HEAD ? head->n : KIND_HEAD;
    return 0;
}

void stream_close(struct stream *s)
{
    if (s)
        s->close(s);
}
void stream_closep(struct stream **s)
{
    stream_close(*s);
}

/* ---- the bottom: an input ---- */

struct from_input {
    struct stream s;
    struct input *in;
    int64_t *count;
    char block[BLOCK];
};

static int from_input_pull(struct stream *s, struct str *block, struct err *err)
{
    struct from_input *f = (struct from_input *)s;
    ssize_t n = f->in->read(f->in, f->block, sizeof f->block, err);
    if (n <= 0)
        return (int)n;
    *f->count += n;
    *block = (struct str){ f->block, (size_t)n };
    return 1;
}

static void from_input_close(struct stream *s)
{
    free(s);
}

struct stream *stream_of_input(struct input *in, int64_t *count, struct err *err)
{
    struct from_input *f = malloc(sizeof *f);
    if (!f)
        return err_nomem(err), NULL;
    memset(&f->s, 0, sizeof f->s);
    f->s.pull = from_input_pull;
    f->s.close = from_input_close;
    f->in = in;
    f->count = count;
    return &f->s;
}

/* Take what is left of s: it must be zeros. */
static int only_padding(struct stream *s, const char *what, struct err *err)
{
    struct str block;
    int rc;
    while ((rc = stream_next(s, &block, err)) == 1)
        if (!all_zeros(block))
            return err_set(err, ERR_ARCHIVE, "foreign bytes follow the end of the %s data", what);
    return rc;
}

static int truncated(struct err *err, const char *what, int64_t in)
{
    return err_set(err, ERR_TRUNCATED, "the %s data ends too early, after %" PRId64 " packed bytes",
                   what, in);
}

/* ---- gzip: members one behind the other ---- */

struct gunzip {
    struct stream s, *below;
    struct budget *budget;
    struct gzip *gzip;
    struct str src; /* of the block below, not used yet */
    bool between;   /* between two members */
    bool pending;   /* the last call filled all of out: more may come without new input */
    int64_t in;
    char out[BLOCK];
};

/* Look at what follows a member. 1 another member begins in src, 0 nothing follows, -1. */
static int gunzip_between(struct gunzip *g, struct err *err)
{
    if (g->src.p[0] == 0x1f) {
        g->between = false;
        return gzip_next(g->gzip, err) < 0 ? -1 : 1;
    }
    if (!all_zeros(g->src))
        return err_set(err, ERR_ARCHIVE, "foreign bytes follow the end of the gzip data");
    g->src.n = 0;
    return only_padding(g->below, "gzip", err);
}

static int gunzip_fill(struct gunzip *g, struct err *err)
{
    int rc = stream_next(g->below, &g->src, err);
    if (rc == 1)
        g->in += (int64_t)g->src.n;
    return rc;
}

static int gunzip_pull(struct stream *s, struct str *block, struct err *err)
{
    struct gunzip *g = (struct gunzip *)s;
    size_t made = 0;
    while (made == 0) {
        int rc;
        if (g->src.n == 0 && !g->pending && (rc = gunzip_fill(g, err)) <= 0)
            return rc < 0 || g->between ? rc : truncated(err, "gzip", g->in);
        if (g->between && (rc = gunzip_between(g, err)) <= 0)
            return rc;
        if ((rc = gzip_run(g->gzip, &g->src, g->out, sizeof g->out, &made, err)) < 0)
            return -1;
        g->between = rc == 1;
        g->pending = rc == 0 && made == sizeof g->out;
    }
    *block = (struct str){ g->out, made };
    return budget_take(g->budget, BUDGET_LAYERS, made, err) < 0 ? -1 : 1;
}

static void gunzip_close(struct stream *s)
{
    struct gunzip *g = (struct gunzip *)s;
    gzip_close(g->gzip);
    stream_close(g->below);
    free(g);
}

static struct stream *gunzip_open(struct stream *below, struct budget *budget, struct err *err)
{
    struct gunzip *g = malloc(sizeof *g);
    if (!g) {
        stream_close(below);
        return err_nomem(err), NULL;
    }
    memset(g, 0, offsetof(struct gunzip, out));
    g->s.pull = gunzip_pull;
    g->s.close = gunzip_close;
    g->below = below;
    g->budget = budget;
    if (!(g->gzip = gzip_open(err))) {
        stream_close(&g->s);
        return NULL;
    }
    return &g->s;
}

/* ---- the other compressions, by libarchive: one filter below its "raw" format ---- */

struct filter {
    struct stream s, *below;
    struct budget *budget;
    enum kind kind;
    struct archive *a;
    bool open, any; /* any: at least one byte came out */
    struct str fed; /* the block that libarchive has now */
    int64_t in;     /* all bytes it got */
    bool below_ended, below_failed;
    struct err below_err;
};

static la_ssize_t filter_read(struct archive *a, void *arg, const void **p)
{
    struct filter *f = arg;
    int rc = stream_next(f->below, &f->fed, &f->below_err);
    if (rc < 0) {
        f->below_failed = true;
        archive_set_error(a, EIO, "the bytes below failed");
        return ARCHIVE_FATAL;
    }
    if (rc == 0) {
        f->fed.n = 0;
        f->below_ended = true;
    }
    *p = f->fed.p;
    f->in += (int64_t)f->fed.n;
    return (la_ssize_t)f->fed.n;
}

static int filter_fail(struct filter *f, struct err *err)
{
    if (f->below_failed) {
        *err = f->below_err;
        return -1;
    }
    if (archive_errno(f->a) == ENOMEM)
        return err_nomem(err);
    if (f->below_ended)
        return truncated(err, kind_name(f->kind), f->in);
    const char *why = archive_error_string(f->a);
    return err_set(err, ERR_ARCHIVE, "damaged %s data: %s", kind_name(f->kind),
                   why ? why : "no reason given");
}

static int filter_start(struct filter *f, struct err *err)
{
    struct archive_entry *entry;
    if (kinds[f->kind].enable(f->a) < ARCHIVE_WARN ||
        archive_read_support_format_raw(f->a) != ARCHIVE_OK ||
        archive_read_support_format_empty(f->a) != ARCHIVE_OK)
        return err_set(err, ERR_ARCHIVE, "this libarchive cannot read %s data", kind_name(f->kind));
    archive_read_set_read_callback(f->a, filter_read);
    archive_read_set_callback_data(f->a, f);
    if (archive_read_open1(f->a) != ARCHIVE_OK)
        return filter_fail(f, err);
    /* a head that the filter does not take would come through as it is */
    if (archive_filter_code(f->a, 0) != kinds[f->kind].filter)
        return err_set(err, f->below_ended ? ERR_TRUNCATED : ERR_ARCHIVE,
                       "damaged %s data: its header is not whole, or asks for too much memory",
                       kind_name(f->kind));
    int rc = archive_read_next_header(f->a, &entry);
    if (rc == ARCHIVE_EOF)
        return 0;
    return rc == ARCHIVE_OK ? 1 : filter_fail(f, err);
}

/* The compressed data is complete. What libarchive has not used of its block, and all that follows,
 * must be zeros. */
static int filter_end(struct filter *f, struct err *err)
{
    enum { LZIP_TRAILER = 20 };
    int64_t unused = f->in - archive_filter_bytes(f->a, -1);
    if (f->kind == KIND_LZIP &&
        !f->any) /* libarchive does not come to the trailer when nothing stands before it */
        unused -= LZIP_TRAILER;
    if (!all_zeros(stream_unused(f->fed, unused)))
        return err_set(err, ERR_ARCHIVE, "foreign bytes follow the end of the %s data",
                       kind_name(f->kind));
    return only_padding(f->below, kind_name(f->kind), err);
}

static int filter_pull(struct stream *s, struct str *block, struct err *err)
{
    struct filter *f = (struct filter *)s;
    int rc;
    if (!f->open) {
        f->open = true;
        if ((rc = filter_start(f, err)) <= 0)
            return rc < 0 ? -1 : filter_end(f, err);
    }
    const void *p;
    int64_t offset;
    do {
        rc = archive_read_data_block(f->a, &p, &block->n, &offset);
        if (rc == ARCHIVE_EOF)
            return filter_end(f, err);
        if (rc != ARCHIVE_OK)
            return filter_fail(f, err);
    } while (block->n == 0);
    f->any = true;
    block->p = p;
    return budget_take(f->budget, BUDGET_LAYERS, block->n, err) < 0 ? -1 : 1;
}

static void filter_close(struct stream *s)
{
    struct filter *f = (struct filter *)s;
    archive_read_free(f->a);
    stream_close(f->below);
    free(f);
}

struct stream *stream_decompress(enum kind k, struct stream *below, struct budget *budget,
                                 struct err *err)
{
    if (k == KIND_GZIP)
        return gunzip_open(below, budget, err);
    struct filter *f = calloc(1, sizeof *f);
    struct archive *a = archive_read_new();
    if (!f || !a) {
        free(f);
        archive_read_free(a);
        stream_close(below);
        return err_nomem(err), NULL;
    }
    f->s.pull = filter_pull;
    f->s.close = filter_close;
    f->below = below;
    f->budget = budget;
    f->kind = k;
    f->a = a;
    return &f->s;
}
