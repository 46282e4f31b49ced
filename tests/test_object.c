/* Names of objects, the index of staged ones, and the store: what a row may make of a name, what the loader believes, what is left. */
#include "target/object.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "target/object_ledger.h"
#include "target/object_name.h"
#include "target/object_pack.h"
#include "target/object_store.h"
#include "test.h"

static struct err err;
static struct column column_defs[] = { { .name = (char[]){ "city" }, .type = TYPE_TEXT },
                                       { .name = (char[]){ "day" }, .type = TYPE_DATE },
                                       { .name = (char[]){ "at" }, .type = TYPE_TIMESTAMP },
                                       { .name = (char[]){ "n" }, .type = TYPE_INTEGER } };
static const struct columns columns = { .v = column_defs, .n = COUNT_OF(column_defs) };
static const struct table_spec spec = { .name = "t x", .columns = &columns };

static struct value text_value(const char *s)
{
    return (struct value){ .p = s, .n = strlen(s) };
}

/* The name that the template makes of a row with that city and time (us; days of it as the date); "(none)" where it refuses. */
static const char *name_of(const char *path, struct value city, int64_t us)
{
    static struct buf out;
    struct value row[] = { city, { .i = us / 86400000000 - (us % 86400000000 < 0) }, { .i = us }, { .i = -7 } };
    struct object_name *n;
    int column = -1;
    buf_reset(&out);
    CHECK_OK(object_name_parse(&n, path, &spec, "csv.gz", 3, &err), err);
    bool good = object_name_put(&out, n, row, &column);
    object_name_free(n);
    CHECK(good || column == 0);
    return good ? out.p : "(none)";
}

TEST(object_name, a_template_is_filled_by_the_output_and_the_row)
{
    struct value city = text_value("Berlin"), null = { .null = true };
    CHECK_STR(name_of("{table}/{uid}-{part}.{ext}", city, 0), "t%20x/{uid}-3.csv.gz");
    CHECK_STR(name_of("{city}/{day}/{n}/{uid}", city, -1), "Berlin/1969-12-31/-7/{uid}");
    CHECK_STR(name_of("y={at:%Y-%m-%d}/{at:%H.%M}/{at:%j}{at:%y%%}/{uid}", city, 951827696789012),
              "y=2000-02-29/12.34/06000%25/{uid}");
    CHECK_STR(name_of("{city}/{uid}", null, 0), "__null__/{uid}");
}

TEST(object_name, no_value_makes_or_leaves_a_folder)
{
    static const struct {
        const char *city, *name;
    } table[] = {
        { "..", "%2E%2E/{uid}" },       { ".", "%2E/{uid}" },          { "...", ".../{uid}" },
        { "a/b", "a%2Fb/{uid}" },       { "", "__empty__/{uid}" },     { "__null__", "%5F_null__/{uid}" },
        { "{uid}", "%7Buid%7D/{uid}" }, { "_manifest", "(none)" },     { "_table", "(none)" },
        { "\n\x7f\xff\\", "%0A%7F%FF%5C/{uid}" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        CHECK_STR(name_of("{city}/{uid}", text_value(table[i].city), 0), table[i].name);
    char longer[1000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    CHECK_STR(name_of("{city}/{uid}", text_value(longer), 0), "(none)");
}

TEST(object_name, a_template_that_is_none_is_refused)
{
    static const struct {
        const char *path, *says;
    } table[] = {
        { "a/{part}", "lacks {uid}" },      { "{uid", "brace" },           { "uid}", "brace" },
        { "{uid}/{nobody}", "{nobody}" },   { "{n:%Y}/{uid}", "no date" }, { "{day:%Q}/{uid}", "%Q" },
        { "{day:%}/{uid}", "not taken" },   { "../{uid}", "no name" },     { "/{uid}", "no name" },
        { "a//{uid}", "no name" },          { "{uid}/", "no name" },       { "{uid}/{uid}", "no name" },
        { "_manifest/{uid}", "no name" },   { "a\\{uid}", "no place" },    { "", "lacks {uid}" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct object_name *n;
        CHECK_EQ(object_name_parse(&n, table[i].path, &spec, "csv", 0, &err), -1);
        CHECK_EQ(err.code, ERR_CONFIG);
        CHECK_HAS(err.msg, table[i].says);
    }
}

/* ---- the index ---- */

static void put_sample(struct buf *out, int64_t at)
{
    struct object_block blocks[] = { { 0, 10 }, { 20, 5 }, { 10, 10 } };
    const struct object_part parts[] = { { .name = (char[]){ "a/{uid}" }, .rows = 3, .blocks = blocks, .nblocks = 2 },
                                         { .name = (char[]){ "b/{uid}" }, .rows = 1, .blocks = blocks + 2, .nblocks = 1 } };
    object_index_put(out, at, "csv", parts, 2);
}

TEST(object_index, what_was_written_is_read)
{
    struct object_index x;
    struct buf out = { 0 };
    put_sample(&out, 25);
    CHECK_EQ(object_index_at(out.p + out.n - OBJECT_TRAILER, 25 + (int64_t)out.n, &err), 25);
    CHECK_OK(object_index_read(&x, buf_str(&out), 25, &err), err);
    CHECK_STR(x.ext, "csv");
    CHECK_EQ(x.n, 2);
    CHECK_STR(x.parts[0].name, "a/{uid}");
    CHECK_EQ(x.parts[0].rows, 3);
    CHECK_EQ(x.parts[0].bytes, 15);
    CHECK_EQ(x.parts[0].blocks[1].offset, 20);
    CHECK_EQ(x.parts[1].nblocks, 1);
    object_index_clear(&x);
    buf_clear(&out);
}

/* Whatever a byte of it becomes, nothing beyond the staged bytes is named, and no name that is not one. */
TEST(object_index, a_damaged_one_names_nothing_outside)
{
    struct buf out = { 0 };
    static const unsigned char others[] = { 0, 1, '/', '.', 0x7f, 0x80, 0xff };
    put_sample(&out, 25);
    for (size_t i = 0; i < out.n; i++)
        for (size_t k = 0; k < COUNT_OF(others); k++) {
            struct object_index x;
            char was = out.p[i];
            out.p[i] = (char)others[k];
            int64_t at = object_index_at(out.p + out.n - OBJECT_TRAILER, 25 + (int64_t)out.n, &err);
            CHECK(at <= 25 + (int64_t)out.n - OBJECT_TRAILER);
            if (object_index_read(&x, buf_str(&out), 25, &err) == 0) {
                for (int p = 0; p < x.n; p++) {
                    CHECK(object_name_good(str_of(x.parts[p].name)));
                    for (int b = 0; b < x.parts[p].nblocks; b++)
                        CHECK(x.parts[p].blocks[b].offset >= 0 && x.parts[p].blocks[b].bytes >= 0 &&
                              x.parts[p].blocks[b].offset + x.parts[p].blocks[b].bytes <= 25);
                }
                object_index_clear(&x);
            } else {
                CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
            }
            out.p[i] = was;
        }
    for (size_t n = 0; n < out.n; n++) { /* cut */
        struct object_index x;
        AUTO(free_charp) char *copy = malloc(n + 1); /* so that a sanitizer sees a byte behind it */
        memcpy(copy, out.p, n);
        if (object_index_read(&x, (struct str){ copy, n }, 25, &err) == 0)
            object_index_clear(&x);
    }
    buf_clear(&out);
}

TEST(object_pack, blocks_that_do_not_compress_have_room)
{
    static const char *const names[] = { "none", "gz", "zst" };
    char noise[70000];
    unsigned x = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    for (size_t k = 0; k < COUNT_OF(names); k++) {
        struct pack *p;
        struct buf out = { 0 };
        if (!pack_known(names[k]))
            continue;
        CHECK_OK(pack_open(&p, names[k], &err), err);
        for (size_t n = 0; n <= sizeof noise; n = n * 7 + 1) {
            size_t before = out.n;
            CHECK_OK(pack_block(p, &out, (struct str){ noise, n }, &err), err);
            CHECK(out.n >= before + n || n < 100);
        }
        pack_close(p);
        buf_clear(&out);
    }
}

/* ---- a directory as a store ---- */

static int zeros(void *arg, char *p, size_t n, struct err *e)
{
    (void)arg, (void)e;
    memset(p, 0, n);
    return 0;
}

/* A limit on the size of files stands for the disk that is full. */
TEST(object_store, what_could_not_be_written_leaves_no_bytes)
{
    struct store *store;
    char url[600], sha256[SHA256_HEX + 1];
    const struct store_source large = { zeros, NULL, 4 << 20 }, small = { zeros, NULL, 1 };
    struct rlimit was, limit;
    struct stat st;
    snprintf(url, sizeof url, "file://%s", test_file("full"));
    CHECK_OK(store_directory_open(&store, url, true, &err), err);
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &was), 0);
    limit = (struct rlimit){ 1 << 20, was.rlim_max };
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = store_put(store, "a/large.csv", &large, sha256, &err);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &was), 0);
    (void)signal(SIGXFSZ, handler);
    CHECK_EQ(rc, -1);
    CHECK_EQ(err_class(err.code), ERR_TRANSIENT);
    CHECK_HAS(err.msg, "/full/a/large.csv'");
    CHECK_EQ(stat(test_file("full/a/.large.csv.part"), &st), -1);
    CHECK_EQ(stat(test_file("full/a/large.csv"), &st), -1);
    CHECK_OK(store_put(store, "a/large.csv", &small, sha256, &err), err);
    CHECK_EQ(stat(test_file("full/a/large.csv"), &st), 0);
    store_close(store);
}

/* Of one table: the others may be written. */
TEST(object_store, a_folder_that_may_not_be_written_denies_its_objects)
{
    struct store *store;
    char url[600], sha256[SHA256_HEX + 1];
    const struct store_source small = { zeros, NULL, 1 };
    const uid_t nobody = 65534, self = geteuid();
    snprintf(url, sizeof url, "file://%s", test_file("rights"));
    CHECK_OK(store_directory_open(&store, url, true, &err), err);
    CHECK_OK(store_put(store, "may/a.csv", &small, sha256, &err), err);
    CHECK_OK(store_put(store, "not/a.csv", &small, sha256, &err), err);
    CHECK_EQ(chmod(test_file("rights/may"), 0777), 0);
    CHECK_EQ(chmod(test_file("rights/not"), 0555), 0);
    CHECK_EQ(self == 0 ? seteuid(nobody) : 0, 0); /* root may everything */
    struct err no;
    int denied = store_put(store, "not/b.csv", &small, sha256, &no), put = store_put(store, "may/b.csv", &small, sha256, &err);
    CHECK_EQ(seteuid(self), 0);
    CHECK_EQ(chmod(test_file("rights/not"), 0755), 0);
    CHECK_OK(put, err);
    CHECK_EQ(denied, -1);
    CHECK_EQ(no.code, ERR_TARGET_DENIED);
    CHECK_HAS(no.msg, "/rights/not/b.csv'");
    store_close(store);
}

/* ---- manifests ---- */

static struct store *ledger_store(const char *folder)
{
    struct store *store;
    char url[600];
    snprintf(url, sizeof url, "file://%s", test_file(folder));
    CHECK_OK(store_directory_open(&store, url, true, &err), err);
    return store;
}

static struct manifest sample_manifest(void)
{
    static char uid[] = "u1", pipeline[] = "p", source[] = "[]";
    return (struct manifest){ .uid = uid, .pipeline = pipeline, .source = source, .job = 1, .seq = 1 };
}

TEST(object_ledger, an_undone_job_keeps_the_time_it_was_loaded_at)
{
    static const char put[] = "\"loaded_at\":\"2020-01-02T03:04:05.678Z\"";
    struct store *store = ledger_store("undone");
    struct manifest m = sample_manifest(), there;
    struct buf text = { 0 };
    m.loaded_at = (char[]){ "2020-01-02T03:04:05.678Z" };
    CHECK_OK(manifest_put(store, &m, &err), err);
    CHECK_EQ(manifest_get(&there, store, "u1", &err), 1);
    there.undone_at = (char[]){ "2020-01-03T00:00:00.000Z" };
    CHECK_OK(manifest_put(store, &there, &err), err);
    CHECK_EQ(store_get(store, "_manifest/u1.json", &text, NULL, &err), 1);
    CHECK_HAS(text.p, put);
    CHECK_HAS(text.p, "\"undone_at\":\"2020-01-03T00:00:00.000Z\"");
    manifest_clear(&there);
    buf_clear(&text);
    store_close(store);
}

TEST(object_ledger, only_its_own_manifest_says_that_a_job_is_loaded)
{
    struct store *store = ledger_store("other");
    struct manifest m = sample_manifest();
    CHECK_OK(manifest_put(store, &m, &err), err);
    CHECK_OK(manifest_put(store, &m, &err), err); /* its own, whose answer was lost */
    CHECK_EQ(store_put_small(store, "_manifest/u1.json", STR("id\n777\n"), NULL, &err), 1);
    CHECK_EQ(manifest_put(store, &m, &err), -1);
    CHECK_EQ(err.code, ERR_TARGET);
    CHECK_HAS(err.msg, "_manifest/u1.json");
    store_close(store);
}
