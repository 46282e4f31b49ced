/* Members out of objects: every kind, whole, cut, damaged and hostile. Archives are made here, in
 * memory. */
#include "test.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/text.h"
#include "read/ahead.h"
#include "read/unpack.h"

/* ---- an object in memory that comes in pieces ---- */

struct memory {
    struct input input;
    struct str bytes;
    size_t at, piece;
};

static ssize_t memory_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    (void)err;
    struct memory *m = (struct memory *)in;
    size_t n = m->bytes.n - m->at;
    n = n < cap ? n : cap;
    n = m->piece && n > m->piece ? m->piece : n;
    if (n)
        memcpy(buf, m->bytes.p + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static int memory_seek(struct input *in, int64_t offset, struct err *err)
{
    (void)err;
    struct memory *m = (struct memory *)in;
    CHECK(offset >= 0 && (size_t)offset <= m->bytes.n);
    m->at = (size_t)offset;
    return 0;
}

enum way { STREAMED, SEEKABLE };
static struct memory memory_of(struct str bytes, enum way way, size_t piece)
{
    struct memory m = { { memory_read, way == SEEKABLE ? memory_seek : NULL,
                          way == SEEKABLE ? (int64_t)bytes.n : -1 },
                        bytes,
                        0,
                        piece };
    return m;
}

/* ---- everything that comes out of an object ---- */

struct got {
    struct buf names; /* each followed by a newline */
    struct buf bytes; /* of all members */
    int members, rc;
    int64_t in, out;
    struct err err;
};

static struct got unpack_once(struct str bytes, enum way way, size_t piece, const char *name,
                              struct unpack_limits limits)
{
    struct got g = { 0 };
    struct memory m = memory_of(bytes, way, piece);
    struct unpack *u;
    struct member member;
    char part[5000];
    ssize_t n;
    if ((g.rc = unpack_open(&u, &m.input, name, &limits, &g.err)) < 0)
        return g;
    while ((g.rc = unpack_next(u, &member, &g.err)) == 1) {
        g.members++;
        buf_adds(&g.names, member.name);
        buf_addc(&g.names, '\n');
        struct input *in = unpack_member(u);
        while ((n = in->read(in, part, sizeof part, &g.err)) > 0)
            buf_add(&g.bytes, part, (size_t)n);
        if (n < 0) {
            g.rc = -1;
            break;
        }
    }
    g.in = unpack_bytes_in(u);
    g.out = unpack_bytes_out(u);
    unpack_close(u);
    return g;
}

static void got_clear(struct got *g)
{
    buf_clear(&g->names);
    buf_clear(&g->bytes);
}

/* With a thread that unpacks ahead and without it: nothing may differ, errors included. */
static struct got unpack_all(struct str bytes, enum way way, size_t piece, const char *name,
                             struct unpack_limits limits)
{
    static const size_t after[] = { 0, 10000 }; /* from the first byte on, and in the middle */
    struct got g = unpack_once(bytes, way, piece, name, limits);
    for (int i = 0; i < (g.out > 10000 ? 2 : 1); i++) {
        struct err err;
        CHECK_OK(ahead_start(after[i], NULL, NULL, &err), err);
        struct got h = unpack_once(bytes, way, piece, name, limits);
        ahead_stop();
        CHECK_EQ(h.rc, g.rc);
        if (g.rc < 0) {
            CHECK_EQ(h.err.code, g.err.code);
            CHECK_STR(h.err.msg, g.err.msg);
        }
        CHECK_EQ(h.members, g.members);
        CHECK_EQ(h.in, g.in);
        CHECK_EQ(h.out, g.out);
        CHECK_STR(h.names.p ? h.names.p : "", g.names.p ? g.names.p : "");
        CHECK_EQ(h.bytes.n, g.bytes.n);
        CHECK(g.bytes.n == 0 || memcmp(h.bytes.p, g.bytes.p, g.bytes.n) == 0);
        got_clear(&h);
    }
    return g;
}

static const struct unpack_limits roomy = { 1000, 1 << 30, 100000, 2 };

static void check_bytes(const struct got *g, struct str want)
{
    if (g->rc < 0)
        fail_msg("%s [%s]", g->err.msg, err_name(g->err.code));
    CHECK_EQ(g->bytes.n, want.n);
    CHECK(want.n == 0 || memcmp(g->bytes.p, want.p, want.n) == 0);
}

static void expect(struct str object, const char *name, const char *names, struct str content)
{
    for (int way = STREAMED; way <= SEEKABLE; way++)
        for (int piece = 0; piece < 2; piece++) {
            struct got g = unpack_all(object, (enum way)way, piece ? 777 : 0, name, roomy);
            check_bytes(&g, content);
            CHECK_STR(g.names.p ? g.names.p : "", names);
            got_clear(&g);
        }
}

static void expect_error(struct str object, const char *name, struct unpack_limits limits,
                         enum err_code code, const char *text)
{
    for (int way = STREAMED; way <= SEEKABLE; way++) {
        struct got g = unpack_all(object, (enum way)way, 0, name, limits);
        CHECK_EQ(g.rc, -1);
        if (g.err.code != code)
            fail_msg("%s [%s], expected %s", g.err.msg, err_name(g.err.code), err_name(code));
        CHECK_HAS(g.err.msg, text);
        got_clear(&g);
    }
}

/* ---- making archives ---- */

/* n bytes of lines, different for each seed; not too well compressible */
static struct buf lines(size_t n, unsigned seed)
{
    struct buf b = { 0 };
    for (uint64_t x = seed + 1; b.n < n;) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        buf_addf(&b, "%llu,name %llu,%llu.%02llu\n", (unsigned long long)(x >> 40),
                 (unsigned long long)(x >> 52), (unsigned long long)(x >> 33 & 0xffff),
                 (unsigned long long)(x >> 20 & 63));
    }
    b.n = n;
    return b;
}

struct maker {
    struct archive *a;
    struct buf out;
};

static la_ssize_t maker_write(struct archive *a, void *arg, const void *p, size_t n)
{
    (void)a;
    buf_add(arg, p, n);
    return (la_ssize_t)n;
}

static void make_begin(struct maker *m, int (*format)(struct archive *),
                       int (*filter)(struct archive *), const char *options)
{
    m->out = (struct buf){ 0 };
    m->a = archive_write_new();
    CHECK_EQ(format(m->a), ARCHIVE_OK);
    if (filter)
        CHECK_EQ(filter(m->a), ARCHIVE_OK);
    if (options)
        CHECK_EQ(archive_write_set_options(m->a, options), ARCHIVE_OK);
    archive_write_set_bytes_in_last_block(m->a, 1);
}

static void make_open(struct maker *m)
{
    CHECK_EQ(archive_write_open(m->a, &m->out, NULL, maker_write, NULL), ARCHIVE_OK);
}

static void make_entry(struct maker *m, const char *name, int type, struct str content)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, (unsigned)type);
    archive_entry_set_perm(e, 0644);
    if (type == AE_IFLNK)
        archive_entry_set_symlink(e, "/etc/passwd");
    archive_entry_set_size(e, (int64_t)content.n);
    if (archive_write_header(m->a, e) != ARCHIVE_OK)
        fail_msg("%s", archive_error_string(m->a));
    archive_entry_free(e);
    if (content.n)
        CHECK_EQ(archive_write_data(m->a, content.p, content.n), (la_ssize_t)content.n);
}

static struct buf make_end(struct maker *m)
{
    CHECK_EQ(archive_write_close(m->a), ARCHIVE_OK);
    archive_write_free(m->a);
    return m->out;
}

struct file {
    const char *name;
    struct str content;
};

static struct buf make(int (*format)(struct archive *), int (*filter)(struct archive *),
                       const char *options, const struct file *files, int n)
{
    struct maker m;
    make_begin(&m, format, filter, options);
    make_open(&m);
    for (int i = 0; i < n; i++)
        make_entry(&m, files[i].name, AE_IFREG, files[i].content);
    return make_end(&m);
}

static struct buf make_one(int (*format)(struct archive *), int (*filter)(struct archive *),
                           const char *name, struct str content)
{
    struct file f = { name, content };
    return make(format, filter, NULL, &f, 1);
}

static struct buf compress_with(int (*filter)(struct archive *), struct str content)
{
    return make_one(archive_write_set_format_raw, filter, "x", content);
}

static const struct compression {
    const char *ending;
    int (*filter)(struct archive *);
    bool checked; /* it carries a checksum and its own end */
} compressions[] = {
    { ".gz", archive_write_add_filter_gzip, true },
    { ".bz2", archive_write_add_filter_bzip2, true },
    { ".xz", archive_write_add_filter_xz, true },
    { ".lzma", archive_write_add_filter_lzma, false },
    { ".zst", archive_write_add_filter_zstd, false },
    { ".lz4", archive_write_add_filter_lz4, true },
    { ".Z", archive_write_add_filter_compress, false },
    { ".lz", archive_write_add_filter_lzip, true },
};

static const struct archive_kind {
    const char *name;
    int (*format)(struct archive *);
    size_t padded; /* ends in zeros: the header block size */
} archive_kinds[] = {
    { "pax", archive_write_set_format_pax_restricted, 512 },
    { "ustar", archive_write_set_format_ustar, 512 },
    { "gnutar", archive_write_set_format_gnutar, 512 },
    { "v7tar", archive_write_set_format_v7tar, 512 },
    { "newc", archive_write_set_format_cpio_newc, 1 },
    { "odc", archive_write_set_format_cpio_odc, 1 },
    { "zip", archive_write_set_format_zip, 0 },
    { "7z", archive_write_set_format_7zip, 0 },
};

/* ---- what must come out ---- */

TEST(unpack, a_plain_object_is_one_member_and_comes_as_it_is)
{
    struct buf b = lines(300000, 1);
    expect(buf_str(&b), "orders.csv", "orders.csv\n", buf_str(&b));
    expect(STR("a\n"), "a.csv", "a.csv\n", STR("a\n"));
    expect(STR(""), "empty.csv", "empty.csv\n", STR(""));
    buf_clear(&b);
}

TEST(unpack, each_compression_gives_back_its_bytes_and_the_name_without_the_ending)
{
    struct buf b = lines(400000, 2);
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        struct buf packed = compress_with(compressions[i].filter, buf_str(&b));
        char name[40];
        snprintf(name, sizeof name, "orders.csv%s", compressions[i].ending);
        expect(buf_str(&packed), name, "orders.csv\n", buf_str(&b));
        expect(buf_str(&packed), "nothing-said", "nothing-said\n", buf_str(&b));
        buf_clear(&packed);
    }
    buf_clear(&b);
}

TEST(unpack, a_compressed_nothing_is_an_empty_member)
{
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        if (compressions[i].filter ==
            archive_write_add_filter_lz4) /* libarchive 3.6.2 crashes when it writes this */
            continue;
        struct buf packed = compress_with(compressions[i].filter, STR(""));
        if (packed.n >= 10) /* it writes nothing at all for some */
            expect(buf_str(&packed), "x", "x\n", STR(""));
        buf_clear(&packed);
    }
    expect(STR("\x04\x22\x4d\x18\x64\x40\xa7\0\0\0\0\x05\x5d\xcc\x02"), "x.lz4", "x\n", STR(""));
}

TEST(unpack, each_archive_gives_its_members_in_order)
{
    struct buf a = lines(100000, 3), b = lines(70001, 4), both = { 0 };
    buf_add(&both, a.p, a.n);
    buf_add(&both, b.p, b.n);
    struct file files[] = { { "one.csv", buf_str(&a) },
                            { "none.csv", STR("") },
                            { "sub/two.csv", buf_str(&b) } };
    for (size_t i = 0; i < COUNT_OF(archive_kinds); i++) {
        struct buf packed = make(archive_kinds[i].format, NULL, NULL, files, 3);
        struct got g = unpack_all(buf_str(&packed), SEEKABLE, 0, "x", roomy);
        if (g.rc < 0)
            fail_msg("%s: %s", archive_kinds[i].name, g.err.msg);
        CHECK_EQ(g.members, 3);
        CHECK_EQ(g.out, (int64_t)both.n);
        CHECK_EQ(g.in, (int64_t)packed.n);
        got_clear(&g);
        if (strcmp(archive_kinds[i].name, "7z")) /* puts empty files last */
            expect(buf_str(&packed), "x", "one.csv\nnone.csv\nsub/two.csv\n", buf_str(&both));
        else
            expect(buf_str(&packed), "x", "one.csv\nsub/two.csv\nnone.csv\n", buf_str(&both));
        buf_clear(&packed);
    }
    buf_clear(&a);
    buf_clear(&b);
    buf_clear(&both);
}

TEST(unpack, tar_is_found_inside_each_compression)
{
    struct buf b = lines(200000, 5);
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        struct buf packed = make_one(archive_write_set_format_ustar, compressions[i].filter,
                                     "orders.csv", buf_str(&b));
        expect(buf_str(&packed), "x.tgz", "orders.csv\n", buf_str(&b));
        buf_clear(&packed);
    }
    buf_clear(&b);
}

TEST(unpack, zips_of_other_makers_are_read)
{
    struct buf b = lines(50000, 6);
    struct file f = { "a.csv", buf_str(&b) };
    static const char *const options[] = { "zip:compression=store",
                                           "zip:compression=deflate,zip:zip64", "zip:!zip64" };
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        struct buf packed = make(archive_write_set_format_zip, NULL, options[i], &f, 1);
        expect(buf_str(&packed), "x", "a.csv\n", buf_str(&b));
        buf_clear(&packed);
    }
    buf_clear(&b);
}

static size_t last_of(const struct buf *b, const char *sign)
{
    size_t at = b->n - 4;
    while (at && memcmp(b->p + at, sign, 4) != 0)
        at--;
    return at;
}

static void zip_twice(struct buf *zip)
{
    AUTO(buf_clear) struct buf copy = { 0 };
    buf_add(&copy, zip->p, zip->n);
    buf_add(zip, copy.p, copy.n);
}
static void zip_more(struct buf *zip)
{
    buf_adds(zip, "more");
}
static void zip_same_place(struct buf *zip) /* the second member of the directory is the first */
{
    memset(zip->p + last_of(zip, "PK\1\2") + 42, 0, 4);
}
static void zip_count_more(struct buf *zip)
{
    char *end = zip->p + last_of(zip, "PK\5\6");
    end[8]++; /* on this disk */
    end[10]++;
}
static void zip_pad(struct buf *zip)
{
    static const char zeros[512];
    buf_add(zip, zeros, sizeof zeros);
}
static void zip_mark(struct buf *zip)
{
    buf_adds(zip, "PK00");
    memmove(zip->p + 4, zip->p, zip->n - 4);
    memcpy(zip->p, "PK00", 4);
}

/* libarchive reads what it finds of these and is content. */
TEST(unpack, a_zip_that_holds_more_or_less_than_its_directory_says_is_refused)
{
    static const struct {
        void (*change)(struct buf *zip);
        const char *why; /* NULL: it is fine */
    } table[] = {
        { zip_twice, "one behind the other" },
        { zip_more, "foreign bytes" },
        { zip_same_place, "lists 2 members, 1 were found" },
        { zip_count_more, "lists 3 members, 2 were found" },
        { zip_pad, NULL },
        { zip_mark, NULL },
    };
    struct file files[] = { { "a.csv", STR("1\n") }, { "b.csv", STR("2\n") } };
    for (size_t i = 0; i < 2 * COUNT_OF(table); i++) {
        struct buf zip = make(archive_write_set_format_zip, NULL, NULL, files, 2);
        table[i / 2].change(&zip);
        struct got g = unpack_all(buf_str(&zip), i % 2 ? STREAMED : SEEKABLE, 0, "x", roomy);
        if (table[i / 2].why) {
            CHECK_EQ(g.rc, -1);
            CHECK_EQ(g.err.code, ERR_ARCHIVE);
            CHECK_HAS(g.err.msg, table[i / 2].why);
        } else if (g.rc < 0) {
            fail_msg("%s", g.err.msg);
        }
        got_clear(&g);
        buf_clear(&zip);
    }
}

TEST(unpack, archives_without_members_have_none)
{
    for (size_t i = 0; i < COUNT_OF(archive_kinds); i++) {
        struct buf packed = make(archive_kinds[i].format, NULL, NULL, NULL, 0);
        struct got g = unpack_all(buf_str(&packed), SEEKABLE, 0, "x", roomy);
        if (g.rc < 0)
            fail_msg("%s: %s", archive_kinds[i].name, g.err.msg);
        CHECK_EQ(g.members, 0);
        got_clear(&g);
        buf_clear(&packed);
    }
}

TEST(unpack, folders_links_and_mac_metadata_are_stepped_over)
{
    struct maker m;
    make_begin(&m, archive_write_set_format_pax_restricted, NULL, NULL);
    make_open(&m);
    make_entry(&m, "d", AE_IFDIR, STR(""));
    make_entry(&m, "link.csv", AE_IFLNK, STR(""));
    make_entry(&m, "__MACOSX/._a.csv", AE_IFREG, STR("junk"));
    make_entry(&m, "./d/a.csv", AE_IFREG, STR("1\n"));
    struct buf packed = make_end(&m);
    expect(buf_str(&packed), "x", "d/a.csv\n", STR("1\n"));
    buf_clear(&packed);
}

TEST(unpack, a_member_may_be_left_half_read)
{
    struct buf a = lines(300000, 7), b = lines(1000, 8);
    struct file files[] = { { "one.csv", buf_str(&a) }, { "two.csv", buf_str(&b) } };
    for (size_t i = 0; i < COUNT_OF(archive_kinds); i++) {
        struct buf packed = make(archive_kinds[i].format, NULL, NULL, files, 2);
        struct memory in = memory_of(buf_str(&packed), SEEKABLE, 0);
        struct unpack *u;
        struct member m;
        struct err err;
        char part[2000];
        CHECK_OK(unpack_open(&u, &in.input, "x", &roomy, &err), err);
        CHECK_EQ(unpack_next(u, &m, &err), 1);
        CHECK(unpack_member(u)->read(unpack_member(u), part, 100, &err) > 0);
        CHECK_EQ(unpack_next(u, &m, &err), 1);
        CHECK_STR(m.name, "two.csv");
        CHECK_EQ(m.size, 1000);
        size_t got = 0;
        for (ssize_t n; (n = unpack_member(u)->read(unpack_member(u), part + got, sizeof part - got,
                                                    &err)) > 0;)
            got += (size_t)n;
        CHECK_EQ(got, 1000);
        CHECK(memcmp(part, b.p, 1000) == 0);
        CHECK_EQ(unpack_next(u, &m, &err), 0);
        CHECK_EQ(unpack_next(u, &m, &err), 0);
        unpack_close(u);
        buf_clear(&packed);
    }
    buf_clear(&a);
    buf_clear(&b);
}

TEST(unpack, holes_of_sparse_files_are_zeros)
{
    enum { SIZE = 300000, AT = 200000 };
    struct maker m;
    make_begin(&m, archive_write_set_format_pax_restricted, NULL, NULL);
    make_open(&m);
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, "sparse");
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_size(e, SIZE);
    archive_entry_sparse_add_entry(e, AT, 512);
    CHECK_EQ(archive_write_header(m.a, e), ARCHIVE_OK);
    archive_entry_free(e);
    char *want = calloc(1, SIZE);
    memset(want + AT, 'x', 512);
    CHECK(archive_write_data(m.a, want, SIZE) > 0);
    struct buf packed = make_end(&m);
    CHECK(packed.n < SIZE / 2);
    expect(buf_str(&packed), "x", "sparse\n", (struct str){ want, SIZE });
    expect_error(buf_str(&packed), "x", (struct unpack_limits){ 10, 100000, 100000, 0 }, ERR_LIMIT,
                 "[limits] unpacked");
    buf_clear(&packed);
    free(want);
}

/* ---- gzip's own ways ---- */

static struct buf gz(const char *text)
{
    return compress_with(archive_write_add_filter_gzip, str_of(text));
}

TEST(unpack, all_members_of_a_gz_are_read_and_zeros_behind_them_are_padding)
{
    struct buf a = gz("one\n"), b = gz("two\n");
    buf_add(&a, b.p, b.n);
    expect(buf_str(&a), "x.gz", "x\n", STR("one\ntwo\n"));
    buf_reserve(&a, 1000);
    memset(a.p + a.n, 0, 1000);
    a.n += 1000;
    expect(buf_str(&a), "x.gz", "x\n", STR("one\ntwo\n"));
    buf_clear(&a);
    buf_clear(&b);
}

TEST(unpack, foreign_bytes_behind_compressed_data_are_an_error)
{
    struct buf b = lines(5000, 9);
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        if (!compressions[i].checked)
            continue;
        struct buf packed = compress_with(compressions[i].filter, buf_str(&b));
        buf_adds(&packed, "and now for something completely different");
        struct got g = unpack_all(buf_str(&packed), STREAMED, 0, "x", roomy);
        if (g.rc == 0)
            fail_msg("%s: what follows the end was dropped in silence", compressions[i].ending);
        CHECK_EQ(g.err.code, ERR_ARCHIVE);
        got_clear(&g);
        buf_clear(&packed);
    }
    buf_clear(&b);
}

TEST(unpack, foreign_bytes_behind_a_7z_are_an_error_and_zeros_are_not)
{
    struct buf b = make_one(archive_write_set_format_7zip, NULL, "a", STR("1"));
    buf_add(&b, (char[70000]){ 0 }, 70000);
    expect(buf_str(&b), "x", "a\n", STR("1"));
    buf_adds(&b, "7z");
    expect_error(buf_str(&b), "x", roomy, ERR_ARCHIVE, "foreign bytes follow");
    buf_clear(&b);
}

TEST(unpack, foreign_bytes_behind_a_cpio_are_an_error)
{
    struct buf b = make_one(archive_write_set_format_cpio_newc, NULL, "a", STR("1"));
    buf_adds(&b, "070701 or so");
    expect_error(buf_str(&b), "x", roomy, ERR_ARCHIVE, "foreign bytes follow");
    buf_clear(&b);
}

/* ---- cut and damaged ---- */

TEST(unpack, compressed_data_cut_anywhere_is_truncated)
{
    struct buf b = lines(3000, 10);
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        struct buf packed = compress_with(compressions[i].filter, buf_str(&b));
        if (!strcmp(compressions[i].ending, ".Z")) /* has no end mark */
            packed.n = 0;
        for (size_t n = 14; n < packed.n; n++) {
            struct got g = unpack_all((struct str){ packed.p, n }, STREAMED, 0, "x", roomy);
            if (g.rc == 0 || g.err.code != ERR_TRUNCATED)
                fail_msg("%s cut at %zu of %zu: %s", compressions[i].ending, n, packed.n,
                         g.rc ? g.err.msg : "taken as whole");
            got_clear(&g);
        }
        buf_clear(&packed);
    }
    buf_clear(&b);
}

TEST(unpack, archives_cut_anywhere_are_never_whole)
{
    struct buf b = lines(1500, 11), c = lines(700, 12);
    struct file files[] = { { "one.csv", buf_str(&b) }, { "two.csv", buf_str(&c) } };
    for (size_t i = 0; i < COUNT_OF(archive_kinds); i++) {
        struct buf packed = make(archive_kinds[i].format, NULL, NULL, files, 2);
        size_t whole = packed.n, block = archive_kinds[i].padded;
        while (block && whole && !packed.p[whole - 1])
            whole--;
        whole += block && whole % block ? block - whole % block : 0;
        for (int way = STREAMED; way <= SEEKABLE; way++)
            for (size_t n = 512; n < whole; n++) {
                struct got g =
                    unpack_all((struct str){ packed.p, n }, (enum way)way, 0, "x", roomy);
                if (g.rc == 0 || g.err.code != ERR_TRUNCATED)
                    fail_msg("%s cut at %zu of %zu: %s", archive_kinds[i].name, n, packed.n,
                             g.rc ? g.err.msg : "taken as whole");
                got_clear(&g);
            }
        buf_clear(&packed);
    }
    buf_clear(&b);
    buf_clear(&c);
}

TEST(unpack, a_tar_without_its_end_mark_is_truncated)
{
    struct buf b = lines(1024, 13),
               packed = make_one(archive_write_set_format_ustar, NULL, "a.csv", buf_str(&b));
    expect_error((struct str){ packed.p, 512 + 1024 }, "x", roomy, ERR_TRUNCATED, "no end mark");
    struct buf packed_gz =
        compress_with(archive_write_add_filter_gzip, (struct str){ packed.p, 512 + 1024 });
    expect_error(buf_str(&packed_gz), "x", roomy, ERR_TRUNCATED, "no end mark");
    buf_clear(&b);
    buf_clear(&packed);
    buf_clear(&packed_gz);
}

TEST(unpack, tars_one_behind_the_other_are_all_read)
{
    struct buf a = make_one(archive_write_set_format_ustar, NULL, "a", STR("1")),
               b = make_one(archive_write_set_format_ustar, NULL, "b", STR("2"));
    buf_add(&a, b.p, b.n);
    expect(buf_str(&a), "x", "a\nb\n", STR("12"));
    buf_adds(&b, "something that is no tar header at all");
    struct got g = unpack_all(buf_str(&b), STREAMED, 0, "x", roomy);
    CHECK_EQ(g.rc, -1);
    got_clear(&g);
    buf_clear(&a);
    buf_clear(&b);
}

/* Every byte changed once: an error, or the very same rows. */
static void flip_all(const char *what, struct str packed, struct str content, enum way way)
{
    char *copy = malloc(packed.n);
    for (size_t i = 0; i < packed.n; i++) {
        memcpy(copy, packed.p, packed.n);
        copy[i] = (char)(copy[i] ^ (1 << i % 8));
        struct got g = unpack_all((struct str){ copy, packed.n }, way, 0, "x", roomy);
        bool same = g.bytes.n == content.n && memcmp(g.bytes.p, content.p, content.n) == 0;
        bool as_it_is = g.bytes.n == packed.n; /* no longer known for what it was */
        bool no_file =
            g.members == 0; /* its type is protected by nothing; no member is an error higher up */
        if (g.rc == 0 && !same && !as_it_is && !no_file)
            fail_msg("%s: byte %zu of %zu changed and %zu bytes came out", what, i, packed.n,
                     g.bytes.n);
        got_clear(&g);
    }
    free(copy);
}

TEST(unpack, a_damaged_byte_never_gives_other_bytes_where_there_are_checksums)
{
    struct buf b = lines(2000, 14);
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        struct buf packed = compress_with(compressions[i].filter, buf_str(&b));
        if (compressions[i].checked)
            flip_all(compressions[i].ending, buf_str(&packed), buf_str(&b), STREAMED);
        buf_clear(&packed);
    }
    struct buf zip = make_one(archive_write_set_format_zip, NULL, "a", buf_str(&b)),
               seven = make_one(archive_write_set_format_7zip, NULL, "a", buf_str(&b));
    flip_all("zip", buf_str(&zip), buf_str(&b), SEEKABLE);
    flip_all("zip", buf_str(&zip), buf_str(&b), STREAMED);
    flip_all("7z", buf_str(&seven), buf_str(&b), SEEKABLE);
    buf_clear(&zip);
    buf_clear(&seven);
    buf_clear(&b);
}

TEST(unpack, a_wrong_checksum_is_seen_before_the_end_of_the_member)
{
    struct buf b = lines(200000, 15),
               packed = compress_with(archive_write_add_filter_gzip, buf_str(&b));
    packed.p[packed.n - 8] ^= 1;
    expect_error(buf_str(&packed), "x", roomy, ERR_ARCHIVE, "incorrect data check");
    struct file f = { "a.csv", buf_str(&b) };
    struct buf zip = make(archive_write_set_format_zip, NULL, "zip:compression=store", &f, 1);
    zip.p[100] ^= 1;
    struct got g = unpack_all(buf_str(&zip), SEEKABLE, 0, "x", roomy);
    CHECK_EQ(g.rc, -1);
    CHECK_EQ(g.err.code, ERR_ARCHIVE);
    CHECK_HAS(g.err.msg, "CRC");
    got_clear(&g);
    buf_clear(&b);
    buf_clear(&packed);
    buf_clear(&zip);
}

TEST(unpack, an_encrypted_member_is_named_as_such_only_when_it_is_read)
{
    struct maker m;
    make_begin(&m, archive_write_set_format_zip, NULL, "zip:encryption=traditional");
    CHECK_EQ(archive_write_set_passphrase(m.a, "secret"), ARCHIVE_OK);
    make_open(&m);
    make_entry(&m, "a.csv", AE_IFREG, STR("1,2,3\n"));
    struct buf packed = make_end(&m);
    expect_error(buf_str(&packed), "x", roomy, ERR_ARCHIVE, "encrypted");
    struct memory in = memory_of(buf_str(&packed), SEEKABLE, 0);
    struct unpack *u;
    struct member member;
    struct err err;
    CHECK_OK(unpack_open(&u, &in.input, "x", &roomy, &err), err);
    CHECK_EQ(unpack_next(u, &member, &err), 1);
    CHECK_EQ(unpack_next(u, &member, &err), 0);
    unpack_close(u);
    buf_clear(&packed);
}

TEST(unpack, a_damaged_member_of_a_zip_matters_only_to_who_reads_it)
{
    struct buf b = lines(20000, 21);
    struct file files[] = { { "bad.csv", buf_str(&b) }, { "good.csv", STR("1\n") } };
    struct buf zip = make(archive_write_set_format_zip, NULL, NULL, files, 2);
    memset(zip.p + 80, 0xff, 40); /* in the deflated bytes of the first */
    struct memory in = memory_of(buf_str(&zip), SEEKABLE, 0);
    struct unpack *u;
    struct member m;
    struct err err;
    char part[10];
    CHECK_OK(unpack_open(&u, &in.input, "x", &roomy, &err), err);
    CHECK_EQ(unpack_next(u, &m, &err), 1);
    CHECK_OK(unpack_next(u, &m, &err), err);
    CHECK_STR(m.name, "good.csv");
    CHECK_EQ(unpack_member(u)->read(unpack_member(u), part, sizeof part, &err), 2);
    CHECK_EQ(unpack_next(u, &m, &err), 0);
    unpack_close(u);
    struct got g = unpack_all(buf_str(&zip), SEEKABLE, 0, "x", roomy);
    CHECK_EQ(g.rc, -1);
    CHECK_EQ(g.err.code, ERR_ARCHIVE);
    got_clear(&g);
    buf_clear(&b);
    buf_clear(&zip);
}

/* A reader of rows may have enough at any point: the thread then stops, and serves the next object. */
TEST(unpack, what_is_closed_early_leaves_the_thread_fit_for_the_next)
{
    enum { STEPS = 40 };
    struct buf b = lines(60000, 22);
    struct file files[] = { { "a.csv", buf_str(&b) }, { "b.csv", buf_str(&b) } };
    struct buf objects[] = { compress_with(archive_write_add_filter_gzip, buf_str(&b)),
                             make(archive_write_set_format_ustar, archive_write_add_filter_zstd,
                                  NULL, files, 2),
                             make(archive_write_set_format_zip, NULL, NULL, files, 2) };
    struct err err;
    CHECK_OK(ahead_start(0, NULL, NULL, &err), err);
    for (size_t i = 0; i < COUNT_OF(objects) * STEPS; i++) {
        struct memory in = memory_of(buf_str(&objects[i % COUNT_OF(objects)]), SEEKABLE, 5000);
        size_t want = b.n / STEPS * (i / COUNT_OF(objects)), got = 0;
        struct unpack *u;
        struct member m;
        char part[4096];
        CHECK_OK(unpack_open(&u, &in.input, "x", &roomy, &err), err);
        CHECK_EQ(unpack_next(u, &m, &err), 1);
        while (got < want) {
            ssize_t n = unpack_member(u)->read(unpack_member(u), part, sizeof part, &err);
            CHECK(n > 0 && memcmp(part, b.p + got, (size_t)n) == 0);
            got += (size_t)n;
        }
        unpack_close(u);
    }
    ahead_stop();
    for (size_t i = 0; i < COUNT_OF(objects); i++)
        buf_clear(&objects[i]);
    buf_clear(&b);
}

TEST(unpack, rar_is_refused_by_name)
{
    expect_error(STR("Rar!\x1a\x07\x01\0 and more"), "x.rar", roomy, ERR_ARCHIVE,
                 "rar archives are not read");
}

/* ---- text is not an archive ---- */

TEST(unpack, text_that_begins_like_an_archive_is_text)
{
    static const char *const texts[] = {
        "PK,name\n1,a\n",
        "PK00,name\n",
        "BZh9,name\n1,a\n",
        "070701,070701,"
        "070701\n0707010000000000000000000000000000000000000000000000000000000000000000000000,"
        "000000\n",
        "#mtree\nusr/share type=dir\n",
        "!<arch>\nname            0           0     0     100644  4         `\n",
        "7z,b\n",
        "LZIP,b\n",
        "Rar!,b\n",
        "]\n",
        "WARC/1.0\r\nWARC-Type: warcinfo\r\n",
        "-lh5-,-lh5-,-lh5-,-lh5-,-lh5-\n",
        "begin 644 a.csv\n#0V%T\n`\nend\n",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        expect(str_of(texts[i]), "x.csv", "x.csv\n", str_of(texts[i]));
    char ustar[1024];
    memset(ustar, 'x', sizeof ustar);
    memcpy(ustar + 257,
           "ustar\0"
           "00",
           8);
    memcpy(ustar + 148, "0000123 ", 8);
    expect((struct str){ ustar, sizeof ustar }, "x.csv", "x.csv\n",
           (struct str){ ustar, sizeof ustar });
}

TEST(unpack, any_short_beginning_is_taken_as_it_is_or_refused_but_never_breaks)
{
    struct buf b = lines(3000, 16);
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        struct buf packed = compress_with(compressions[i].filter, buf_str(&b));
        for (size_t n = 0; n < 40; n++) {
            struct got g = unpack_all((struct str){ packed.p, n }, STREAMED, 0, "x", roomy);
            CHECK(g.rc < 0 || g.bytes.n <= n ||
                  compressions[i].filter == archive_write_add_filter_compress);
            got_clear(&g);
        }
        buf_clear(&packed);
    }
    buf_clear(&b);
}

/* ---- archives inside archives ---- */

TEST(unpack, archives_inside_archives_are_opened_to_the_depth)
{
    struct buf csv = lines(50000, 17);
    struct buf tgz = make_one(archive_write_set_format_ustar, archive_write_add_filter_gzip,
                              "orders.csv", buf_str(&csv));
    struct buf zip = make_one(archive_write_set_format_zip, NULL, "day/inner.tgz", buf_str(&tgz));
    struct buf tar = make_one(archive_write_set_format_ustar, NULL, "outer.zip", buf_str(&zip));
    expect(buf_str(&zip), "x.zip", "day/inner.tgz/orders.csv\n", buf_str(&csv));
    expect(buf_str(&tar), "x.tar", "outer.zip/day/inner.tgz/orders.csv\n", buf_str(&csv));
    struct unpack_limits one = roomy, none = roomy;
    one.depth = 1;
    none.depth = 0;
    struct got g = unpack_all(buf_str(&tar), STREAMED, 0, "x.tar", one);
    check_bytes(&g, buf_str(&tgz));
    CHECK_STR(g.names.p, "outer.zip/day/inner.tgz\n");
    got_clear(&g);
    g = unpack_all(buf_str(&zip), SEEKABLE, 0, "x.zip", none);
    check_bytes(&g, buf_str(&tgz));
    got_clear(&g);
    buf_clear(&csv);
    buf_clear(&tgz);
    buf_clear(&zip);
    buf_clear(&tar);
}

TEST(unpack, a_compressed_member_comes_uncompressed)
{
    struct buf packed = gz("1,2\n"),
               zip = make_one(archive_write_set_format_zip, NULL, "a/b.csv.gz", buf_str(&packed));
    expect(buf_str(&zip), "x.zip", "a/b.csv\n", STR("1,2\n"));
    buf_clear(&packed);
    buf_clear(&zip);
}

TEST(unpack, members_behind_a_nested_archive_are_reached)
{
    struct buf inner = make_one(archive_write_set_format_zip, NULL, "in.csv", STR("1\n"));
    struct buf seven = make_one(archive_write_set_format_7zip, NULL, "7.csv", STR("2\n"));
    struct file files[] = { { "a.zip", buf_str(&inner) },
                            { "b.csv", STR("3\n") },
                            { "c.7z", buf_str(&seven) },
                            { "d.csv", STR("4\n") } };
    for (size_t i = 0; i < COUNT_OF(archive_kinds); i++) {
        struct buf packed = make(archive_kinds[i].format, NULL, NULL, files, 4);
        expect(buf_str(&packed), "x", "a.zip/in.csv\nb.csv\nc.7z/7.csv\nd.csv\n",
               STR("1\n3\n2\n4\n"));
        buf_clear(&packed);
    }
    buf_clear(&inner);
    buf_clear(&seven);
}

/* 17 MiB that do not compress: more than is held in memory */
static struct buf noise(void)
{
    struct buf b = { 0 };
    uint64_t x = 42;
    buf_reserve(&b, 17 << 20);
    for (size_t i = 0; i < (17 << 20) / 8; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        buf_add(&b, &x, 8);
    }
    return b;
}

TEST(unpack, a_big_nested_zip_is_streamed_and_checked_against_its_directory)
{
    struct buf b = noise();
    struct file files[] = { { "big.bin", buf_str(&b) }, { "a.csv", STR("1\n") } };
    struct buf zip = make(archive_write_set_format_zip, NULL, NULL, files, 2);
    struct buf tar = make_one(archive_write_set_format_ustar, NULL, "b.zip", buf_str(&zip));
    struct got g = unpack_all(buf_str(&tar), STREAMED, 0, "x", roomy);
    if (g.rc < 0)
        fail_msg("%s", g.err.msg);
    CHECK_STR(g.names.p, "b.zip/big.bin\nb.zip/a.csv\n");
    CHECK_EQ(g.bytes.n, b.n + 2);
    got_clear(&g);
    char *second = memmem(zip.p + b.n, zip.n - b.n, "PK\3\4", 4); /* hide the second member */
    CHECK(second);
    second[0] = 'x';
    struct buf damaged = make_one(archive_write_set_format_ustar, NULL, "b.zip", buf_str(&zip));
    g = unpack_all(buf_str(&damaged), STREAMED, 0, "x", roomy);
    CHECK_EQ(g.rc, -1);
    CHECK_EQ(g.err.code, ERR_ARCHIVE);
    got_clear(&g);
    struct buf cut =
        make_one(archive_write_set_format_ustar, NULL, "b.zip", (struct str){ zip.p, zip.n - 30 });
    g = unpack_all(buf_str(&cut), STREAMED, 0, "x", roomy);
    CHECK_EQ(g.rc, -1);
    CHECK_EQ(g.err.code, ERR_TRUNCATED);
    got_clear(&g);
    struct buf seven =
        make(archive_write_set_format_7zip, NULL, "7zip:compression=store", files, 2);
    struct buf tar7 = make_one(archive_write_set_format_ustar, NULL, "b.7z", buf_str(&seven));
    g = unpack_all(buf_str(&tar7), STREAMED, 0, "x", roomy);
    CHECK_EQ(g.err.code, ERR_LIMIT);
    got_clear(&g);
    buf_clear(&b);
    buf_clear(&zip);
    buf_clear(&tar);
    buf_clear(&damaged);
    buf_clear(&cut);
    buf_clear(&seven);
    buf_clear(&tar7);
}

/* ---- limits ---- */

static struct buf bomb(int (*filter)(struct archive *), size_t n)
{
    char *p = calloc(1, n);
    memset(p, 'a', n);
    struct buf b = compress_with(filter, (struct str){ p, n });
    free(p);
    return b;
}

TEST(unpack, a_single_stream_cannot_pass_the_limits)
{
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        struct buf b = bomb(compressions[i].filter, 8 << 20);
        expect_error(buf_str(&b), "x", (struct unpack_limits){ 10, 3 << 20, 1 << 30, 0 }, ERR_LIMIT,
                     "[limits] unpacked");
        if (b.n < 8 << 10)
            expect_error(buf_str(&b), "x", (struct unpack_limits){ 10, 1 << 30, 100, 0 }, ERR_LIMIT,
                         "[limits] ratio");
        buf_clear(&b);
    }
}

TEST(unpack, a_plain_object_cannot_pass_the_limit_of_bytes)
{
    struct buf b = lines(200000, 18);
    expect_error(buf_str(&b), "x", (struct unpack_limits){ 10, 100000, 10, 0 }, ERR_LIMIT,
                 "[limits] unpacked");
    buf_clear(&b);
}

TEST(unpack, members_cannot_pass_the_limits_wherever_they_are)
{
    char *a = malloc(4 << 20);
    memset(a, 'a', 4 << 20);
    struct str four = { a, 4 << 20 };
    struct file files[] = { { "1", four }, { "2", four }, { "3", four } };
    for (size_t i = 0; i < COUNT_OF(archive_kinds); i++) {
        struct buf packed = make(archive_kinds[i].format, NULL, NULL, files, 3);
        expect_error(buf_str(&packed), "x", (struct unpack_limits){ 2, 1 << 30, 1 << 30, 0 },
                     ERR_LIMIT, "[limits] members");
        expect_error(buf_str(&packed), "x", (struct unpack_limits){ 10, 10 << 20, 1 << 30, 0 },
                     ERR_LIMIT, "[limits] unpacked");
        struct buf packed_gz = compress_with(archive_write_add_filter_gzip, buf_str(&packed));
        expect_error(buf_str(&packed_gz), "x", (struct unpack_limits){ 2, 1 << 30, 1 << 30, 0 },
                     ERR_LIMIT, "[limits] members");
        expect_error(buf_str(&packed_gz), "x", (struct unpack_limits){ 10, 10 << 20, 1 << 30, 0 },
                     ERR_LIMIT, "[limits] unpacked");
        expect_error(buf_str(&packed_gz), "x", (struct unpack_limits){ 10, 1 << 30, 50, 0 },
                     ERR_LIMIT, "[limits] ratio");
        struct buf nested =
            make_one(archive_write_set_format_ustar, NULL, "in", buf_str(&packed_gz));
        expect_error(buf_str(&nested), "x", (struct unpack_limits){ 2, 1 << 30, 1 << 30, 1 },
                     ERR_LIMIT, "[limits] members");
        expect_error(buf_str(&nested), "x", (struct unpack_limits){ 10, 10 << 20, 1 << 30, 1 },
                     ERR_LIMIT, "[limits] unpacked");
        buf_clear(&nested);
        buf_clear(&packed_gz);
        buf_clear(&packed);
    }
    free(a);
}

/* Skip every member; the error that ends it. */
static enum err_code skip_all(struct str object, struct unpack_limits limits)
{
    struct memory in = memory_of(object, STREAMED, 0);
    struct unpack *u;
    struct member m;
    struct err err = { 0 };
    CHECK_OK(unpack_open(&u, &in.input, "x", &limits, &err), err);
    int rc;
    while ((rc = unpack_next(u, &m, &err)) == 1)
        ;
    CHECK_EQ(unpack_next(u, &m, &err), rc); /* and stays so */
    unpack_close(u);
    return rc < 0 ? err.code : ERR_NONE;
}

TEST(unpack, limits_hold_for_members_that_nobody_reads)
{
    struct unpack_limits limits = { 10, 3 << 20, 1 << 30, 0 };
    struct buf b = bomb(archive_write_add_filter_gzip, 8 << 20);
    CHECK_EQ(skip_all(buf_str(&b), limits), ERR_LIMIT);
    char *a = malloc(4 << 20);
    memset(a, 'a', 4 << 20);
    struct buf tar =
        make_one(archive_write_set_format_ustar, NULL, "a", (struct str){ a, 4 << 20 });
    CHECK_EQ(skip_all(buf_str(&tar), limits), ERR_LIMIT);
    free(a);
    buf_clear(&b);
    buf_clear(&tar);
}

static void add_zeros(struct buf *b, size_t n)
{
    CHECK(buf_reserve(b, n));
    memset(b->p + b->n, 0, n);
    b->n += n;
}

TEST(unpack, limits_hold_for_bytes_that_never_are_a_members)
{
    struct unpack_limits limits = { 10, 3 << 20, 1 << 30, 1 };
    struct buf tar = make_one(archive_write_set_format_ustar, NULL, "a", STR("1"));
    add_zeros(&tar, 8 << 20);
    struct buf tgz = compress_with(archive_write_add_filter_gzip, buf_str(&tar)),
               txz = compress_with(archive_write_add_filter_xz, buf_str(&tar));
    expect_error(buf_str(&tgz), "x", limits, ERR_LIMIT, "[limits] unpacked");
    expect_error(buf_str(&txz), "x", limits, ERR_LIMIT, "[limits] unpacked");
    struct buf padded = gz("1");
    add_zeros(&padded, 8 << 20);
    struct buf zip = make_one(archive_write_set_format_zip, NULL, "a.gz", buf_str(&padded));
    expect_error(buf_str(&zip), "x", limits, ERR_LIMIT, "[limits] unpacked");
    buf_clear(&tar);
    buf_clear(&tgz);
    buf_clear(&txz);
    buf_clear(&padded);
    buf_clear(&zip);
}

TEST(unpack, compression_upon_compression_ends_somewhere)
{
    struct buf b = gz("x");
    for (int i = 0; i < 5; i++) {
        struct buf next = compress_with(archive_write_add_filter_gzip, buf_str(&b));
        buf_clear(&b);
        b = next;
    }
    expect_error(buf_str(&b), "x", roomy, ERR_LIMIT, "compressed more than");
    buf_clear(&b);
}

/* ---- names ---- */

TEST(unpack, names_are_printable_text_and_long_ones_lose_their_middle)
{
    char name[700];
    memset(name, 'n', sizeof name);
    memcpy(name + sizeof name - 9, "last.csv", 9);
    struct maker m;
    make_begin(&m, archive_write_set_format_gnutar, NULL, NULL);
    make_open(&m);
    make_entry(&m, "../../etc/\x1b[31m\nred\xff.csv", AE_IFREG, STR("1"));
    make_entry(&m, name, AE_IFREG, STR("2"));
    struct buf packed = make_end(&m);
    struct got g = unpack_all(buf_str(&packed), STREAMED, 0, "x", roomy);
    CHECK_EQ(g.members, 2);
    CHECK(g.names.n < 600);
    CHECK_HAS(g.names.p, "../../etc/\xef\xbf\xbd[31m\xef\xbf\xbdred\xef\xbf\xbd.csv\n");
    CHECK_HAS(g.names.p, "nnn...nnn");
    CHECK_HAS(g.names.p, "last.csv\n");
    got_clear(&g);
    buf_clear(&packed);
}

TEST(unpack, a_long_name_stays_text_where_a_member_of_it_has_one_too)
{
    char name[700] = "";
    for (int i = 0; i < 345; i++)
        strcat(name, "\xc3\xa9");
    struct buf inner = make_one(archive_write_set_format_ustar, NULL, "a", STR("1\n"));
    struct buf packed = make_one(archive_write_set_format_gnutar, NULL, name, buf_str(&inner));
    struct got g = unpack_all(buf_str(&packed), STREAMED, 0, "x", roomy);
    if (g.rc < 0)
        fail_msg("%s", g.err.msg);
    CHECK_EQ(g.members, 1);
    CHECK_EQ(text_utf8_valid(buf_str(&g.names)), g.names.n);
    CHECK_HAS(g.names.p, "/a\n");
    got_clear(&g);
    buf_clear(&inner);
    buf_clear(&packed);
}

/* ---- the source fails ---- */

static ssize_t broken_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct memory *m = (struct memory *)in;
    if (m->at == m->bytes.n)
        return err_set(err, ERR_CANCELLED, "the source gave up");
    return memory_read(in, buf, cap, err);
}

TEST(unpack, the_error_of_the_source_comes_through)
{
    struct buf b = lines(100000, 19);
    struct buf objects[] = {
        lines(1000, 20),
        compress_with(archive_write_add_filter_gzip, buf_str(&b)),
        compress_with(archive_write_add_filter_xz, buf_str(&b)),
        make_one(archive_write_set_format_ustar, archive_write_add_filter_zstd, "a", buf_str(&b)),
        make_one(archive_write_set_format_zip, NULL, "a", buf_str(&b)),
    };
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        struct memory in = memory_of((struct str){ objects[i].p, objects[i].n / 2 }, STREAMED, 100);
        in.input.read = broken_read;
        struct unpack *u;
        struct member m;
        struct err err;
        int rc = unpack_open(&u, &in.input, "x", &roomy, &err);
        if (rc == 0) {
            while ((rc = unpack_next(u, &m, &err)) == 1)
                ;
            unpack_close(u);
        }
        CHECK_EQ(rc, -1);
        CHECK_EQ(err.code, ERR_CANCELLED);
        buf_clear(&objects[i]);
    }
    buf_clear(&b);
}

TEST(unpack, what_needs_seeking_is_known_by_its_head)
{
    struct buf zip = make_one(archive_write_set_format_zip, NULL, "a", STR("1")),
               seven = make_one(archive_write_set_format_7zip, NULL, "a", STR("1")),
               packed = gz("1");
    CHECK_EQ(unpack_wants_seek(zip.p, zip.n), 1);
    CHECK_EQ(unpack_wants_seek(seven.p, seven.n), 1);
    CHECK_EQ(unpack_wants_seek(packed.p, packed.n), 0);
    CHECK_EQ(unpack_wants_seek("PK,b\n", 5), 0);
    CHECK_EQ(unpack_wants_seek("", 0), 0);
    buf_clear(&zip);
    buf_clear(&seven);
    buf_clear(&packed);
}
