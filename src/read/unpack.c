/*
 * Members of an object: levels of archives, one inside the other, over streams (stream.h) that undo
 * compression.
 *
 * level 0 is the object's own archive; when a member turns out to be an archive and `depth` allows,
 * it becomes level 1, and so on. The open member ("leaf") is the top of a chain of streams over the
 * entry of the topmost level, or over the object itself.
 *
 * Where the process has a thread for it (ahead.h), it works at the bottom: an object's own
 * compressions, or the members of an object that is a zip or 7z. Those below it charge
 * `source_budget`, so that nothing that two threads touch is shared.
 *
 * Invariants: no end is reported before everything below has been read to its own end and checked
 * (checksums, end marks, the count in a zip's directory), and every byte that any layer makes is
 * charged to the budget first. libarchive's warnings about data are errors here: it reports a wrong
 * CRC of a zip member as a warning. Nothing outlives the process.
 */
#include "read/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "read/ahead.h"
#include "read/stream.h"

enum {
    COMPRESSIONS_MAX = 4, /* .gz.gz...: nobody means that */
    DEPTH_MAX = 16,
    HELD_MAX =
        16 << 20, /* a nested zip or 7z up to this size is held in memory, so that it can seek */
    BLOCK = 64 * 1024,
    PREFIX_MAX = sizeof((struct member *)0)->name + 1, /* a name and a '/' */
    ZIP_TAIL =
        22 + 65535 +
        20 /* end of central directory record with the longest comment (APPNOTE.TXT 4.3.16) */
};

/* A nested archive held in memory. */
struct held {
    struct input input;
    struct buf bytes;
    size_t at;
};

struct level {
    struct unpack *u;
    enum kind kind;
    struct archive *a;
    char prefix[PREFIX_MAX];
    struct stream
        *from; /* bytes come one after the other; owned; NULL when they are read from `seekable` */
    struct input *seekable;
    struct held held;
    int64_t at;     /* of seekable */
    char *block;    /* of seekable */
    struct str fed; /* the block of it that libarchive has now */
    int64_t in;     /* all that it got */
    bool from_ended, from_failed;
    struct err from_err;
    bool empty;
    int64_t headers;
    int64_t listed;  /* members of a zip, by the end of its directory (16 bits of their number) */
    struct buf tail; /* the last bytes of a zip that cannot seek */
};

/* The bytes of a level's present entry. */
struct entry {
    struct stream s;
    struct level *level;
    bool encrypted;
    bool nested;      /* its bytes go to another layer, not to the caller */
    int64_t size;     /* or -1 */
    int64_t at;       /* delivered so far */
    struct str block; /* read, not delivered */
    int64_t block_at; /* its place; beyond `at` lies a hole */
    bool whole;
};

struct unpack {
    struct unpack_limits limits;
    struct budget budget, source_budget; /* the second: of what the thread does */
    int64_t read;                        /* bytes of src; libarchive reads some parts of a zip twice */
    int64_t members;
    struct level levels[DEPTH_MAX + 1];
    int nlevels;
    struct input *src;
    struct stream *leaf; /* of the open member; NULL when none is open */
    struct str have;     /* of leaf, not yet given out */
    bool failed;
    struct err err;
    struct stream *object; /* of an object that is no archive, until its only member is asked for */
    bool single;           /* ... which is still to come */
    bool direct;           /* ... and is not compressed */
    bool skippable;        /* what is left of the member need not be read: its archive can seek */
    bool deferred;         /* the member cannot be read, which matters only if somebody reads it */
    struct err deferred_err;
    struct member member;
    struct input input;
};

static const char zeros[BLOCK];

/* ---- names: text to match and to show ---- */

static void name_add(struct buf *out, struct str raw)
{
    while (raw.n) {
        size_t valid = text_utf8_valid(raw);
        for (size_t i = 0; i < valid; i++) {
            bool c1 = (uint8_t)raw.p[i] == 0xc2 && i + 1 < valid && (uint8_t)raw.p[i + 1] < 0xa0;
            if ((uint8_t)raw.p[i] < 0x20 || raw.p[i] == 0x7f || c1)
                buf_adds(out, "\xef\xbf\xbd");
            else
                buf_addc(out, raw.p[i]);
            i += c1;
        }
        raw = (struct str){ raw.p + valid, raw.n - valid };
        if (raw.n) {
            buf_adds(out, "\xef\xbf\xbd");
            raw = (struct str){ raw.p + 1, raw.n - 1 };
        }
    }
}

/* A longer name loses its middle, at borders of characters. */
static void name_cut(struct str full, char *out, size_t cap)
{
    static const char gap[] = "...";
    size_t first = full.n, last = 0;
    if (full.n >= cap) {
        first = (cap - sizeof gap) / 2;
        last = cap - sizeof gap - first;
        while (first && ((uint8_t)full.p[first] & 0xc0) == 0x80)
            first--;
        while (last && ((uint8_t)full.p[full.n - last] & 0xc0) == 0x80)
            last--;
    }
    memcpy(out, full.p, first);
    out += first;
    if (first < full.n) {
        memcpy(out, gap, sizeof gap - 1);
        memcpy(out + sizeof gap - 1, full.p + full.n - last, last);
        out += sizeof gap - 1 + last;
    }
    *out = '\0';
}

static int name_set(char *out, size_t cap, const char *prefix, struct str raw, struct err *err)
{
    struct buf full = { 0 };
    buf_adds(&full, prefix);
    name_add(&full, raw);
    if (full.failed) {
        buf_clear(&full);
        return err_nomem(err);
    }
    name_cut(buf_str(&full), out, cap);
    buf_clear(&full);
    return 0;
}

/* ---- what libarchive reads from ---- */

static la_ssize_t level_failed(struct level *l, struct archive *a)
{
    l->from_failed = true;
    archive_set_error(a, EIO, "the bytes below failed");
    return ARCHIVE_FATAL;
}

static void tail_keep(struct buf *tail, struct str block)
{
    if (block.n > ZIP_TAIL)
        block = (struct str){ block.p + block.n - ZIP_TAIL, ZIP_TAIL };
    if (tail->n + block.n > 2 * ZIP_TAIL) {
        memmove(tail->p, tail->p + tail->n - ZIP_TAIL, ZIP_TAIL);
        tail->n = ZIP_TAIL;
    }
    buf_add(tail, block.p, block.n);
}

static la_ssize_t level_read(struct archive *a, void *arg, const void **p)
{
    struct level *l = arg;
    struct str block = { NULL, 0 };
    int rc = stream_next(l->from, &block, &l->from_err);
    if (rc < 0)
        return level_failed(l, a);
    l->from_ended |= rc == 0;
    if (l->kind == KIND_ZIP && rc == 1)
        tail_keep(&l->tail, block);
    l->fed = rc ? block : (struct str){ NULL, 0 };
    l->in += (int64_t)l->fed.n;
    *p = l->fed.p;
    return (la_ssize_t)l->fed.n;
}

static la_ssize_t level_read_seekable(struct archive *a, void *arg, const void **p)
{
    struct level *l = arg;
    ssize_t n = l->seekable->read(l->seekable, l->block, BLOCK, &l->from_err);
    if (n < 0)
        return level_failed(l, a);
    l->at += n;
    if (l->seekable == l->u->src && (l->u->read += n) > l->u->src->size)
        l->u->read = l->u->src->size;
    *p = l->block;
    return n;
}

static la_int64_t level_seek(struct archive *a, void *arg, la_int64_t offset, int whence)
{
    struct level *l = arg;
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? l->at : l->seekable->size, to;
    if (__builtin_add_overflow(base, offset, &to) || to < 0) {
        archive_set_error(a, EINVAL, "it points outside itself");
        return ARCHIVE_FATAL;
    }
    if (to > l->seekable->size)
        to = l->seekable->size;
    if (l->seekable->seek(l->seekable, to, &l->from_err) < 0)
        return level_failed(l, a);
    return l->at = to;
}

static int level_fail(struct level *l, struct err *err)
{
    const char *why = archive_error_string(l->a), *kind = kind_name(l->kind);
    if (l->from_failed) {
        *err = l->from_err;
        return -1;
    }
    if (archive_errno(l->a) == ENOMEM)
        return err_nomem(err);
    if (l->from_ended)
        return err_set(err, ERR_TRUNCATED, "the %s archive ends too early", kind);
    if (why && (strstr(why, "ncrypt") || strstr(why, "Crypto") || strstr(why, "assphrase")))
        return err_set(err, ERR_ARCHIVE,
                       "the %s archive is encrypted, and there are no passwords here", kind);
    if (!why)
        why = "no reason given";
    /* some reasons of libarchive's end in a newline */
    return err_set(err, ERR_ARCHIVE, "damaged %s archive: %.*s", kind, (int)strcspn(why, "\n"), why);
}

/* ---- levels ---- */

static void level_close(struct level *l)
{
    archive_read_free(l->a);
    stream_close(l->from);
    buf_clear(&l->held.bytes);
    buf_clear(&l->tail);
    free(l->block);
    *l = (struct level){ 0 };
}

static ssize_t held_read(struct input *in, void *buf, size_t cap,
                         struct err *err __attribute__((unused)))
{
    struct held *h = (struct held *)in;
    size_t n = h->bytes.n - h->at < cap ? h->bytes.n - h->at : cap;
    if (n)
        memcpy(buf, h->bytes.p + h->at, n);
    h->at += n;
    return (ssize_t)n;
}

static int held_seek(struct input *in, int64_t offset, struct err *err __attribute__((unused)))
{
    ((struct held *)in)->at = (size_t)offset;
    return 0;
}

/* What was held of an archive that is too big for it, then the rest. */
struct replay {
    struct stream s, *below;
    struct buf bytes;
    bool given;
};

static int replay_pull(struct stream *s, struct str *block, struct err *err)
{
    struct replay *r = (struct replay *)s;
    if (!r->given) {
        r->given = true;
        *block = buf_str(&r->bytes);
        return 1;
    }
    buf_clear(&r->bytes);
    return stream_next(r->below, block, err);
}

static void replay_close(struct stream *s)
{
    struct replay *r = (struct replay *)s;
    buf_clear(&r->bytes);
    stream_close(r->below);
    free(r);
}

static int level_replay(struct level *l, struct err *err)
{
    struct replay *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->s = (struct stream){ .pull = replay_pull, .close = replay_close };
    r->below = l->from;
    r->bytes = l->held.bytes;
    l->held.bytes = (struct buf){ 0 };
    l->from = &r->s;
    return 0;
}

/* A zip or 7z that comes as a stream: small ones are held in memory; a larger zip is read as it
 * comes, a larger 7z cannot be. */
static int level_hold(struct level *l, struct err *err)
{
    struct buf *b = &l->held.bytes;
    struct str block;
    int rc = 0;
    while (b->n <= HELD_MAX && (rc = stream_next(l->from, &block, err)) == 1)
        buf_add(b, block.p, block.n);
    if (rc < 0)
        return -1;
    if (b->failed)
        return err_nomem(err);
    if (rc == 1 && l->kind == KIND_7ZIP)
        return err_set(err, ERR_LIMIT,
                       "a 7z archive inside another archive or a stream is read up to %d MiB only; "
                       "unpack it first",
                       HELD_MAX >> 20);
    if (rc == 1)
        return level_replay(l, err);
    l->held.input = (struct input){ held_read, held_seek, (int64_t)b->n };
    l->seekable = &l->held.input;
    return 0;
}

static ssize_t read_at(struct input *in, int64_t offset, void *buf, size_t cap, struct err *err)
{
    size_t got = 0;
    if (in->seek(in, offset, err) < 0)
        return -1;
    for (ssize_t n = 1; n && got < cap; got += (size_t)n)
        if ((n = in->read(in, (char *)buf + got, cap - got, err)) < 0)
            return -1;
    return (ssize_t)got;
}

/* The end of central directory record in the last bytes of a zip, or NULL (APPNOTE.TXT 4.3.16). */
static const uint8_t *zip_end(struct str tail)
{
    enum { END_LEN = 22, COMMENT_AT = 20 };
    for (size_t i = tail.n < END_LEN ? 0 : tail.n - END_LEN + 1; i-- > 0;) {
        const uint8_t *p = (const uint8_t *)tail.p + i;
        if (memcmp(p, "PK\5\6", 4) == 0 &&
            i + END_LEN + (size_t)(p[COMMENT_AT] | p[COMMENT_AT + 1] << 8) <= tail.n)
            return p;
    }
    return NULL;
}

static uint64_t little(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

/*
 * What the last bytes of a zip say of it. A zip that is not the whole of its bytes is refused:
 * libarchive takes the last of several zips one behind the other and does not tell of the others.
 * Where a locator of the zip64 kind stands, the directory's place is in another record.
 */
static int zip_judge(struct level *l, struct str tail, int64_t size, struct err *err)
{
    enum { COUNT_AT = 10, LENGTH_AT = 12, START_AT = 16, COMMENT_AT = 20, END_LEN = 22, LOCATOR = 20 };
    enum { MARK = 4 }; /* "PK00" in front, which its maker may not have counted */
    const uint8_t *end = zip_end(tail);
    if (!end)
        return err_set(
            err, ERR_TRUNCATED,
            "the zip archive ends too early: its directory, which comes last, is missing");
    size_t at = (size_t)((const char *)end - tail.p);
    size_t behind = at + END_LEN + (size_t)little(end + COMMENT_AT, 2);
    bool zip64 = at >= LOCATOR && memcmp(end - LOCATOR, "PK\6\7", 4) == 0;
    uint64_t stands = (uint64_t)size - tail.n + at;
    uint64_t before = stands - little(end + START_AT, 4) - little(end + LENGTH_AT, 4);
    if (!zip64 && before != 0 && before != MARK)
        return err_set(err, ERR_ARCHIVE,
                       "damaged zip archive: its directory is not where it should be; these may be "
                       "several archives one behind the other");
    if (!all_zeros((struct str){ tail.p + behind, tail.n - behind }))
        return err_set(err, ERR_ARCHIVE, "foreign bytes follow the end of the zip archive");
    l->listed = (int64_t)little(end + COUNT_AT, 2);
    return 0;
}

static int zip_whole(struct level *l, struct err *err)
{
    int64_t size = l->seekable->size;
    AUTO(free_charp) char *tail = malloc(ZIP_TAIL);
    if (!tail)
        return err_nomem(err);
    ssize_t n = read_at(l->seekable, size > ZIP_TAIL ? size - ZIP_TAIL : 0, tail, ZIP_TAIL, err);
    if (n < 0 || zip_judge(l, (struct str){ tail, (size_t)n }, size, err) < 0)
        return -1;
    l->empty = l->listed == 0; /* libarchive does not take these for archives */
    return 0;
}

/* Only zeros may follow from `at` on. */
static int seven_padding(struct input *in, int64_t at, struct err *err)
{
    AUTO(free_charp) char *block = malloc(BLOCK);
    if (!block)
        return err_nomem(err);
    for (ssize_t n; at < in->size; at += n) {
        if ((n = read_at(in, at, block, BLOCK, err)) <= 0)
            return (int)n;
        if (!all_zeros((struct str){ block, (size_t)n }))
            return err_set(err, ERR_ARCHIVE, "foreign bytes follow the end of the 7z archive");
    }
    return 0;
}

static int seven_whole(struct level *l, struct err *err)
{
    enum { START = 32, OFFSET_AT = 12, LENGTH_AT = 20 }; /* 7zFormat.txt, SignatureHeader */
    struct input *in = l->seekable;
    uint8_t head[START];
    uint64_t end;
    ssize_t n = read_at(in, 0, head, sizeof head, err);
    if (n < 0)
        return -1;
    if (n < START ||
        __builtin_add_overflow(little(head + OFFSET_AT, 8), little(head + LENGTH_AT, 8), &end) ||
        end > (uint64_t)(in->size - START))
        return err_set(
            err, ERR_TRUNCATED,
            "the 7z archive ends too early: its directory, which comes last, is missing");
    return seven_padding(in, START + (int64_t)end, err);
}

/* A zip and a 7z say where they end: one that was cut, or that is not alone, is told from one that
 * is damaged before libarchive looks at it. */
static int level_whole(struct level *l, struct err *err)
{
    return l->kind == KIND_ZIP ? zip_whole(l, err) : seven_whole(l, err);
}

static int level_libarchive(struct level *l, struct err *err)
{
    static int (*const enable[KINDS])(struct archive *) = {
        [KIND_ZIP] = archive_read_support_format_zip_streamable,
        [KIND_7ZIP] = archive_read_support_format_7zip,
        [KIND_TAR] = archive_read_support_format_tar,
        [KIND_CPIO] = archive_read_support_format_cpio,
    };
    int (*on)(struct archive *) = l->kind == KIND_ZIP && l->seekable
                                      ? archive_read_support_format_zip_seekable
                                      : enable[l->kind];
    if (!on)
        return err_set(err, ERR_ARCHIVE, "%s archives are not read", kind_name(l->kind));
    if (!(l->a = archive_read_new()))
        return err_nomem(err);
    if (on(l->a) < ARCHIVE_WARN)
        return level_fail(l, err);
    if (l->kind == KIND_TAR &&
        archive_read_set_option(l->a, "tar", "read_concatenated_archives", "1") != ARCHIVE_OK)
        return level_fail(l, err);
    archive_read_set_read_callback(l->a, l->seekable ? level_read_seekable : level_read);
    if (l->seekable) {
        archive_read_set_seek_callback(l->a, level_seek);
        if (!(l->block = malloc(BLOCK)))
            return err_nomem(err);
        if (l->seekable->seek(l->seekable, 0, err) < 0)
            return -1;
    }
    archive_read_set_callback_data(l->a, l);
    return archive_read_open1(l->a) == ARCHIVE_OK ? 0 : level_fail(l, err);
}

/* Go down into an archive. `from` is consumed; it may be NULL: the object itself, which can seek.
 */
static int level_open(struct unpack *u, enum kind kind, struct stream *from, const char *prefix,
                      struct err *err)
{
    struct level *l = &u->levels[u->nlevels++]; /* closed with u in every case */
    *l = (struct level){ .u = u, .kind = kind, .from = from };
    if (!from)
        l->seekable = u->src;
    snprintf(l->prefix, sizeof l->prefix, "%s", prefix);
    bool directory_last = kind == KIND_ZIP || kind == KIND_7ZIP;
    if (directory_last && from && level_hold(l, err) < 0)
        return -1;
    if (directory_last && l->seekable && level_whole(l, err) < 0)
        return -1;
    return l->empty ? 0 : level_libarchive(l, err);
}

/* libarchive steps over what it does not understand, and over members that lie in the same place:
 * the directory has the last word. */
static int zip_counted(struct level *l, struct err *err)
{
    enum { ZIP64 = 0xffff };
    if (l->tail.failed)
        return err_nomem(err);
    if (!l->seekable && zip_judge(l, buf_str(&l->tail), l->in, err) < 0)
        return -1;
    if (l->listed != ZIP64 && l->listed != (l->headers & ZIP64))
        return err_set(err, ERR_ARCHIVE,
                       "damaged zip archive: its directory lists %" PRId64 " members, %" PRId64
                       " were found",
                       l->listed, l->headers);
    return 0;
}

/* No more entries: read what follows to its end, so that the checksums below are looked at. Behind
 * a tar or cpio, also in the block that libarchive has, only zeros may follow. */
static int level_end(struct level *l, struct err *err)
{
    bool padded = l->kind != KIND_ZIP && !l->seekable;
    struct str block;
    int rc = 0;
    bool foreign =
        padded && !all_zeros(stream_unused(l->fed, l->in - archive_filter_bytes(l->a, 0)));
    while (l->from && !foreign && (rc = stream_next(l->from, &block, err)) == 1) {
        if (l->kind == KIND_ZIP)
            tail_keep(&l->tail, block);
        l->in += (int64_t)block.n;
        foreign = padded && !all_zeros(block);
    }
    if (foreign)
        return err_set(err, ERR_ARCHIVE, "foreign bytes follow the end of the %s archive",
                       kind_name(l->kind));
    if (rc < 0)
        return -1;
    return l->kind == KIND_ZIP ? zip_counted(l, err) : 0;
}

/* 1 an entry, 0 the end. */
static int level_header(struct level *l, struct archive_entry **e, struct err *err)
{
    if (l->empty)
        return 0;
    if (l->headers && archive_read_data_skip(l->a) < ARCHIVE_WARN)
        return level_fail(l, err);
    int64_t before = archive_filter_bytes(l->a, 0);
    int rc = archive_read_next_header(l->a, e);
    if (rc == ARCHIVE_EOF && l->kind == KIND_TAR && archive_filter_bytes(l->a, 0) == before)
        return err_set(err, ERR_TRUNCATED, "the tar archive ends too early: there is no end mark");
    if (rc == ARCHIVE_EOF)
        return level_end(l, err);
    if (rc != ARCHIVE_OK &&
        rc != ARCHIVE_WARN) /* a warning is about the name's alphabet, times, owners */
        return level_fail(l, err);
    l->headers++;
    if (++l->u->members > l->u->limits.members)
        return err_set(err, ERR_LIMIT, "more than %" PRId64 " members ([limits] members)",
                       l->u->limits.members);
    return 1;
}

/* ---- entries as streams ---- */

/* Get the next block of the entry, or its end. Sparse files have holes: `block` stands at
 * `block_at`. */
static int entry_fetch(struct entry *e, struct err *err)
{
    struct level *l = e->level;
    const void *p;
    int rc = archive_read_data_block(l->a, &p, &e->block.n, &e->block_at);
    if (rc == ARCHIVE_EOF) {
        e->whole = true;
        e->block.n = 0;
        return 0;
    }
    if (rc != ARCHIVE_OK)
        return level_fail(l, err);
    e->block.p = p;
    if (e->block.n && e->block_at < e->at)
        return err_set(err, ERR_ARCHIVE, "damaged %s archive: the parts of a member overlap",
                       kind_name(l->kind));
    return 0;
}

static int entry_pull(struct stream *s, struct str *block, struct err *err)
{
    struct entry *e = (struct entry *)s;
    if (e->encrypted)
        return err_set(err, ERR_ARCHIVE,
                       "the member is encrypted, and there are no passwords here");
    while (e->block.n == 0 && e->block_at <= e->at) {
        if (e->whole)
            return 0;
        if (entry_fetch(e, err) < 0)
            return -1;
    }
    if (e->block_at > e->at) {
        int64_t hole = e->block_at - e->at;
        *block = (struct str){ zeros, hole < (int64_t)sizeof zeros ? (size_t)hole : sizeof zeros };
    } else {
        *block = e->block;
        e->block.n = 0;
    }
    e->at += (int64_t)block->n;
    return e->nested && budget_take(&e->level->u->budget, BUDGET_LAYERS, block->n, err) < 0 ? -1
                                                                                            : 1;
}

static void entry_close(struct stream *s)
{
    free(s);
}

static struct entry *entry_open(struct level *l, struct archive_entry *ae, struct err *err)
{
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return err_nomem(err), NULL;
    e->s.pull = entry_pull;
    e->s.close = entry_close;
    e->level = l;
    e->size = archive_entry_size_is_set(ae) ? archive_entry_size(ae) : -1;
    e->encrypted = archive_entry_is_data_encrypted(ae) || archive_entry_is_metadata_encrypted(ae);
    return e;
}

/* ---- members ---- */

/* Undo compression upon compression. name loses their endings. *kind is what is inside. *top is
 * replaced (NULL after an error). */
static int chain_grow(struct stream **top, struct budget *budget, enum kind *kind, char *name,
                      struct err *err)
{
    struct str head;
    for (int i = 0;; i++) {
        if (stream_head(*top, &head, err) < 0)
            return -1;
        *kind = kind_of(head);
        if (!kind_is_compression(*kind))
            return 0;
        if (i == COMPRESSIONS_MAX)
            return err_set(err, ERR_LIMIT, "compressed more than %d times", COMPRESSIONS_MAX);
        name[kind_stem(*kind, name)] = '\0';
        struct stream *below = *top;
        if (!(*top = stream_decompress(*kind, below, budget, err)))
            return -1;
    }
}

static const char *entry_path(struct archive_entry *e)
{
    const char *path = archive_entry_pathname(e);
    if (!path)
        path = archive_entry_pathname_utf8(e);
    if (!path)
        return "";
    while (path[0] == '.' && path[1] == '/' && path[2])
        path += 2;
    return path;
}

/* Folders, links, devices and what macOS puts beside the files are no members. */
static bool entry_is_file(struct archive_entry *e)
{
    return archive_entry_filetype(e) == AE_IFREG &&
           !(archive_entry_hardlink(e) && archive_entry_size(e) == 0) &&
           strncmp(entry_path(e), "__MACOSX/", 9) != 0;
}

/* Leave the open member: what is left of it is read and checked, unless its archive can step over
 * it. */
static int leaf_finish(struct unpack *u, struct err *err)
{
    struct str block;
    int rc = 0;
    if (!u->leaf)
        return 0;
    if (u->deferred && !u->skippable) {
        *err = u->deferred_err;
        return -1;
    }
    while (!u->skippable && (rc = stream_next(u->leaf, &block, err)) == 1)
        if (budget_take(&u->budget, BUDGET_MEMBERS, block.n, err) < 0)
            return -1;
    if (rc < 0)
        return -1;
    stream_close(u->leaf);
    u->leaf = NULL;
    u->have.n = 0;
    u->deferred = false;
    return 0;
}

static ssize_t leaf_read_some(struct unpack *u, void *buf, size_t cap, struct err *err)
{
    int rc;
    if (u->deferred) {
        *err = u->deferred_err;
        return -1;
    }
    if (u->have.n == 0) {
        if (u->direct && !u->leaf->ready[0].n &&
            !u->leaf->ready[1].n) { /* a plain object: no copy between */
            ssize_t n = u->src->read(u->src, buf, cap, err);
            u->read += n > 0 ? n : 0;
            return n;
        }
        if ((rc = stream_next(u->leaf, &u->have, err)) <= 0)
            return rc;
    }
    size_t n = u->have.n < cap ? u->have.n : cap;
    memcpy(buf, u->have.p, n);
    u->have = (struct str){ u->have.p + n, u->have.n - n };
    return (ssize_t)n;
}

static ssize_t leaf_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct unpack *u = (struct unpack *)((char *)in - offsetof(struct unpack, input));
    if (!u->leaf || u->failed) {
        *err = u->err;
        return u->failed ? -1 : 0;
    }
    ssize_t n = leaf_read_some(u, buf, cap, err);
    if (n >= 0 && budget_take(&u->budget, BUDGET_MEMBERS, (size_t)n, err) < 0)
        n = -1;
    if (n < 0) {
        u->failed = true;
        u->err = *err;
    }
    return n;
}

/* The member's own bytes may be an archive or compressed. 1 a leaf is open, 0 a level was added. */
static int member_nested(struct unpack *u, struct entry *e, enum kind kind, struct err *err)
{
    char prefix[PREFIX_MAX];
    e->nested = true;
    if (chain_grow(&u->leaf, &u->budget, &kind, u->member.name, err) < 0)
        return err_in(err, "'%s'", u->member.name);
    u->member.size = -1;
    u->skippable = false;
    if (!kind_is_archive(kind) || kind == KIND_RAR)
        return 1;
    struct stream *from = u->leaf;
    u->leaf = NULL;
    snprintf(prefix, sizeof prefix, "%s/", u->member.name);
    return level_open(u, kind, from, prefix, err) < 0 ? err_in(err, "'%s'", u->member.name) : 0;
}

/* Members of an object that can seek are the bottom: undoing their compression is the larger half. */
static int member_ahead(struct unpack *u, struct err *err)
{
    if (ahead_started() &&
        !(u->leaf = ahead_open(u->leaf, &u->source_budget, &u->budget, err)))
        return -1;
    return 1;
}

static int member_open(struct unpack *u, struct archive_entry *ae, struct err *err)
{
    struct level *l = &u->levels[u->nlevels - 1];
    struct entry *e;
    struct str head;
    if (name_set(u->member.name, sizeof u->member.name, l->prefix, str_of(entry_path(ae)), err) <
            0 ||
        !(e = entry_open(l, ae, err)))
        return -1;
    u->leaf = &e->s;
    u->member.size = e->size;
    u->skippable = e->encrypted || (l->kind == KIND_ZIP && l->seekable);
    if (e->encrypted || u->nlevels > u->limits.depth || u->nlevels > DEPTH_MAX)
        return 1;
    if (stream_head(u->leaf, &head, err) < 0) { /* only matters if somebody wants this member */
        u->deferred = true;
        u->deferred_err = *err;
        return 1;
    }
    enum kind kind = kind_of(head);
    if (kind_is_compression(kind) || (kind_is_archive(kind) && kind != KIND_RAR))
        return member_nested(u, e, kind, err);
    return l->seekable == u->src ? member_ahead(u, err) : 1;
}

static int next_member(struct unpack *u, struct err *err)
{
    struct archive_entry *e;
    if (leaf_finish(u, err) < 0)
        return -1;
    if (u->single) {
        u->single = false;
        u->leaf = u->object;
        u->object = NULL;
        return 1;
    }
    while (u->nlevels) {
        struct level *l = &u->levels[u->nlevels - 1];
        int rc = level_header(l, &e, err);
        if (rc < 0)
            return *l->prefix ? err_in(err, "'%.*s'", (int)strlen(l->prefix) - 1, l->prefix) : -1;
        if (rc == 0) {
            level_close(l);
            u->nlevels--;
            continue;
        }
        if (!entry_is_file(e))
            continue;
        if ((rc = member_open(u, e, err)) != 0)
            return rc;
    }
    return 0;
}

int unpack_next(struct unpack *u, struct member *m, struct err *err)
{
    int rc = -1;
    if (u->failed)
        *err = u->err;
    else
        rc = next_member(u, err);
    if (rc < 0) {
        u->failed = true;
        u->err = *err;
    }
    if (rc == 1) {
        *m = u->member;
        m->plain = u->direct;
        u->input.size = u->member.size;
    }
    return rc;
}

/* ---- the object ---- */

/* Undo the object's own compressions, in the thread if there is one. */
static int object_chain(struct unpack *u, enum kind *kind, struct err *err)
{
    bool ahead = ahead_started() && kind_is_compression(*kind);
    struct budget *budget = ahead ? &u->source_budget : &u->budget;
    if (chain_grow(&u->object, budget, kind, u->member.name, err) < 0)
        return -1;
    if (ahead && !(u->object = ahead_open(u->object, budget, &u->budget, err)))
        return -1;
    return 0;
}

static int object_open(struct unpack *u, const char *object_name, struct err *err)
{
    struct str head;
    enum kind kind;
    if (!(u->object = stream_of_input(u->src, &u->read, err)) ||
        stream_head(u->object, &head, err) < 0)
        return -1;
    kind = kind_of(head);
    if ((kind == KIND_ZIP || kind == KIND_7ZIP) && u->src->seek && u->src->size >= 0) {
        u->read = 0;
        stream_close(u->object);
        u->object = NULL;
        return level_open(u, kind, NULL, "", err);
    }
    u->direct = kind == KIND_PLAIN;
    if (name_set(u->member.name, sizeof u->member.name, "", str_of(object_name), err) < 0 ||
        object_chain(u, &kind, err) < 0 || stream_head(u->object, &head, err) < 0)
        return -1;
    if (head.n == KIND_HEAD && all_zeros(head))
        kind = KIND_TAR; /* one without members, which is nothing but its end mark */
    if (kind_is_archive(kind)) {
        struct stream *from = u->object;
        u->object = NULL;
        return level_open(u, kind, from, "", err);
    }
    u->member.size = u->direct ? u->src->size : -1;
    u->single = true;
    return 0;
}

int unpack_open(struct unpack **out, struct input *src, const char *object_name,
                const struct unpack_limits *limits, struct err *err)
{
    struct unpack *u = calloc(1, sizeof *u);
    if (!u)
        return err_nomem(err);
    u->limits = *limits;
    u->limits.members = limits->members > 0 ? limits->members : INT64_MAX;
    u->budget.bytes = limits->bytes > 0 ? limits->bytes : INT64_MAX;
    u->budget.ratio = limits->ratio > 0 ? limits->ratio : INT64_MAX;
    u->budget.in = &u->read;
    u->source_budget = u->budget;
    u->src = src;
    u->input.read = leaf_read;
    if (object_open(u, object_name, err) < 0) {
        unpack_close(u);
        return -1;
    }
    *out = u;
    return 0;
}

struct input *unpack_member(struct unpack *u)
{
    return &u->input;
}
int64_t unpack_bytes_in(const struct unpack *u)
{
    return *u->budget.in;
}
int64_t unpack_bytes_out(const struct unpack *u)
{
    return u->budget.out[BUDGET_MEMBERS];
}

void unpack_close(struct unpack *u)
{
    if (!u)
        return;
    stream_close(u->leaf);
    stream_close(u->object);
    while (u->nlevels)
        level_close(&u->levels[--u->nlevels]);
    free(u);
}

int unpack_wants_seek(const void *head, size_t n)
{
    enum kind kind = kind_of((struct str){ head, n });
    return kind == KIND_ZIP || kind == KIND_7ZIP;
}
