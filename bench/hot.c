/*
 * The hot loops, a small and always equal amount of each, for bench/counts, which counts their
 * instructions: what is to be counted runs inside measured(), everything else outside of it.
 *
 *     bench/hot NAME FOLDER     run the loop NAME once; print how many units it did, and their name.
 *                               Files are made in FOLDER, which is empty
 *     bench/hot list            the names
 *     bench/hot built           the compiler, its flags and the libraries, as key, tab, value
 *
 * Nothing here depends on time, chance or the machine, but for the kind of SIMD, which `built` names.
 */
#include "config.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#ifdef HAVE_ISAL
#include <isa-l.h>
#endif
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/simd.h"
#include "base/sys.h"
#include "pipeline/profile.h"
#include "queue/job.h"
#include "read/cast.h"
#include "read/format.h"
#include "read/unpack.h"
#include "target/target.h"

#include "../tests/cut_input.h"

enum { ROWS = 10 * BATCH_ROWS, JOBS = 300 };

static const char *folder;

static void check(int rc, const char *what, const struct err *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench/hot: %s: %s\n", what, err->msg);
    exit(1);
}

/* The only place where instructions are counted (callgrind's --toggle-collect). */
static __attribute__((noinline)) void measured(void (*run)(void *), void *arg)
{
    run(arg);
    __asm__ volatile(""); /* no jump instead of a call, and no function like another */
}

/* ---- input ---- */

static const char csv_columns[] = "id:integer!, customer:integer, quantity:integer, price:real, "
                                  "tax:real, placed:timestamp, city, sku, channel, note";
static const char json_columns[] = "id:integer!, placed:timestamp, customer.id:integer, "
                                   "customer.name, items[0].price:decimal(2), note, gift:boolean";

static void put_csv(struct buf *b, unsigned i, bool beyond_ascii)
{
    buf_addf(b, "%u,%u,%d,%u.%02u,%u.%04u,2026-11-%02u %02u:%02u:%02u,%s,sku-%05u,web,", i,
             i * 31 % 100000, (int)(i % 2000) - 1000, i % 9999, i % 100, i % 90, i * 7 % 10000,
             i % 28 + 1, i % 24, i % 60, i * 7 % 60, beyond_ascii ? "Köln am Rhein" : "Hamburg",
             i * 17 % 99991);
    buf_addf(b, i % 4 ? "leave at the door %u\n" : "\"left, at \"\"%u\"\"\"\n", i % 77);
}

static void put_json(struct buf *b, unsigned i)
{
    buf_addf(b, "{\"id\":%u,\"placed\":\"2026-%02u-%02uT%02u:%02u:%02uZ\",", i, i % 12 + 1,
             i % 28 + 1, i % 24, i % 60, i * 7 % 60);
    buf_addf(b, "\"customer\":{\"id\":%u,\"name\":\"Ann \\\"Anna\\\" M\\u00fcller\",\"vip\":%s},",
             i * 31 % 100000, i % 3 ? "false" : "true");
    buf_addf(b, "\"items\":[{\"sku\":\"A-%05u\",\"qty\":%u,\"price\":%u.%02u},{\"sku\":\"B\"}],",
             i % 99991, i % 9 + 1, i % 900 + 10, i % 100);
    buf_addf(b, "\"note\":%s,\"gift\":%s}\n", i % 5 ? "\"leave at the door\"" : "null",
             i % 2 ? "true" : "false");
}

enum shape { CSV, CSV_BEYOND_ASCII, JSON };

static struct buf text_of_rows(enum shape shape)
{
    struct buf b = { 0 };
    for (unsigned i = 0; i < ROWS; i++)
        if (shape == JSON)
            put_json(&b, i);
        else
            put_csv(&b, i, shape == CSV_BEYOND_ASCII);
    return b;
}

/* ---- bytes to rows ---- */

struct way {
    const struct format *format;
    struct recipe recipe;
    struct columns columns;
    struct cast *cast; /* or NULL: fields are enough */
    struct input *in;
    struct batch batch;
    struct rejects rejects;
    struct stage no_stage;
    struct rows rows; /* of the last batch */
    struct reader *reader;
    uint64_t n;
};

static void way_open(struct way *w, enum shape shape, bool typed, struct input *in)
{
    struct err err;
    *w = (struct way){ .format = shape == JSON ? &format_jsonl : &format_csv, .in = in };
    w->recipe = (struct recipe){ .nnulls = -1, .decimal_point = '.', .delimiter = ',', .quote = '"' };
    w->recipe.format = (char *)(shape == JSON ? "jsonl" : "csv");
    check(columns_parse(&w->columns, shape == JSON ? json_columns : csv_columns, &err), "columns", &err);
    check(batch_init(&w->batch, (uint32_t)w->columns.n, &err), "batch", &err);
    if (typed)
        check(cast_open(&w->cast, &w->recipe, &w->columns, &err), "cast", &err);
    rejects_init(&w->rejects, &w->no_stage, 0, (struct reject_limit){ 0, -1 });
    check(w->format->open(&w->reader, &w->recipe, &w->columns, in, 1 << 20, &err), "open", &err);
}

/* The next batch, typed; false at the end. */
static bool way_next(struct way *w)
{
    struct err err;
    int rc = w->format->next(w->reader, &w->batch, &err);
    check(rc, "read", &err);
    if (rc && w->cast)
        check(cast_batch(w->cast, &w->batch, &w->rows, &w->rejects, &err), "cast", &err);
    w->n += rc ? w->batch.rows : 0;
    return rc;
}

static void way_run(void *arg)
{
    while (way_next(arg))
        ;
}

static void way_close(struct way *w)
{
    w->format->close(w->reader);
    batch_clear(&w->batch);
    rejects_clear(&w->rejects);
    cast_close(w->cast);
    columns_clear(&w->columns);
}

static uint64_t read_text(enum shape shape, bool typed)
{
    AUTO(buf_clear) struct buf text = text_of_rows(shape);
    struct cut_input in = cut_of(buf_str(&text), 0);
    struct way w;
    way_open(&w, shape, typed, &in.in);
    measured(way_run, &w);
    way_close(&w);
    return w.n;
}

static uint64_t csv_split(void)
{
    return read_text(CSV, false);
}

static uint64_t csv_beyond_ascii(void)
{
    return read_text(CSV_BEYOND_ASCII, false);
}

static uint64_t csv_typed(void)
{
    return read_text(CSV, true);
}

static uint64_t json_typed(void)
{
    return read_text(JSON, true);
}

/* s as a gzip file, in memory of its own size: text always shrinks. */
static struct buf gzipped(struct str s)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    struct buf out = { 0 };
    size_t n = 0;
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_pathname(entry, "orders.csv");
    bool good = buf_reserve(&out, s.n) && archive_write_add_filter_gzip(a) == ARCHIVE_OK &&
                archive_write_set_format_raw(a) == ARCHIVE_OK &&
                archive_write_open_memory(a, out.p, s.n, &n) == ARCHIVE_OK &&
                archive_write_header(a, entry) == ARCHIVE_OK &&
                archive_write_data(a, s.p, s.n) == (la_ssize_t)s.n &&
                archive_write_close(a) == ARCHIVE_OK;
    if (!good) {
        fprintf(stderr, "bench/hot: gzip: %s\n", archive_error_string(a));
        exit(1);
    }
    archive_entry_free(entry);
    archive_write_free(a);
    out.n = n;
    return out;
}

static uint64_t gz_split(void)
{
    AUTO(buf_clear) struct buf text = text_of_rows(CSV);
    AUTO(buf_clear) struct buf packed = gzipped(buf_str(&text));
    struct cut_input in = cut_of(buf_str(&packed), 65536);
    struct unpack *u;
    struct member m;
    struct err err;
    struct way w;
    check(unpack_open(&u, &in.in, "orders.csv.gz", &(struct unpack_limits){ .members = 1 }, &err), "unpack", &err);
    check(unpack_next(u, &m, &err), "unpack", &err);
    way_open(&w, CSV, false, unpack_member(u));
    measured(way_run, &w);
    way_close(&w);
    unpack_close(u);
    return w.n;
}

/* ---- what rows are like ---- */

struct profiling {
    struct way *way;
    struct profile *profile;
};

static void profile_batch(void *arg)
{
    struct profiling *p = arg;
    profile_rows(p->profile, &p->way->rows);
}

static uint64_t profile(void)
{
    AUTO(buf_clear) struct buf text = text_of_rows(CSV);
    struct cut_input in = cut_of(buf_str(&text), 0);
    struct way w;
    struct profiling p = { .way = &w };
    struct err err;
    way_open(&w, CSV, true, &in.in);
    check(profile_open(&p.profile, &w.columns, &err), "profile", &err);
    while (way_next(&w))
        measured(profile_batch, &p);
    profile_free(p.profile);
    way_close(&w);
    return w.n;
}

/* ---- rows to a staged file, staged file to the warehouse ---- */

struct staging {
    struct way *way;
    struct encoder *encoder;
    struct output output;
    char path[300];
};

static int open_staged(void *arg, int number, const char *ext, struct err *err)
{
    struct staging *s = arg;
    snprintf(s->path, sizeof s->path, "%s/%d.%s", folder, number, ext);
    int fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? err_sys(err, "open '%s'", s->path) : fd;
}

static void encode_batch(void *arg)
{
    struct staging *s = arg;
    struct err err;
    uint64_t staged = 0;
    check(target_sqlite.encode_rows(s->encoder, &s->way->rows, NULL, &staged, &err), "encode", &err);
}

static void encode_end(void *arg)
{
    struct staging *s = arg;
    struct err err;
    check(target_sqlite.encode_finish(s->encoder, &s->output, &err), "encode", &err);
}

static struct target_config warehouse(char url[320])
{
    snprintf(url, 320, "sqlite://%s/warehouse.db", folder);
    return (struct target_config){ .name = (char *)"bench", .url = url };
}

/* All rows of w into a file; each batch by run. */
static void stage(struct staging *s, struct way *w, const struct table_spec *spec, int number,
                  void (*by)(void (*run)(void *), void *arg))
{
    const struct stage how = { open_staged, s, 0 };
    char url[320];
    struct target_config cfg = warehouse(url);
    struct err err;
    *s = (struct staging){ .way = w };
    check(target_sqlite.encode_open(&s->encoder, &cfg, spec, &how, number, &err), "encode", &err);
    while (way_next(w))
        by(encode_batch, s);
    by(encode_end, s);
    target_sqlite.encode_close(s->encoder);
}

static void unmeasured(void (*run)(void *), void *arg)
{
    run(arg);
}

static uint64_t encode(void)
{
    AUTO(buf_clear) struct buf text = text_of_rows(CSV);
    struct cut_input in = cut_of(buf_str(&text), 0);
    struct way w;
    struct staging s;
    way_open(&w, CSV, true, &in.in);
    const struct table_spec spec = {
        .table = "bench.t", .name = "t", .columns = &w.columns, .version = -1, .deleted = -1
    };
    stage(&s, &w, &spec, 0, measured);
    way_close(&w);
    return w.n;
}

struct loading {
    struct target_conn *conn;
    struct load_output output;
    int number;
};

static void load_one(void *arg)
{
    struct loading *l = arg;
    struct err err;
    char uid[SYS_UID_LEN + 1];
    struct load_job job = {
        .uid = uid, .pipeline = "bench", .id = l->number, .seq = l->number, .objects = "[]",
        .outputs = &l->output, .noutputs = 1
    };
    snprintf(uid, sizeof uid, "%0*d", SYS_UID_LEN, l->number);
    check(target_sqlite.begin(l->conn, &err), "begin", &err);
    check(target_sqlite.load_job(l->conn, &job, &err), "load", &err);
    check(target_sqlite.commit(l->conn, &err), "commit", &err);
}

/* The same file twice into one table; the second time is counted. */
static uint64_t load_mode(enum load_mode mode)
{
    AUTO(buf_clear) struct buf text = text_of_rows(CSV);
    struct cut_input in = cut_of(buf_str(&text), 0);
    struct way w;
    struct staging s;
    struct err err;
    char url[320];
    struct target_config cfg = warehouse(url);
    way_open(&w, CSV, true, &in.in);
    const int id = 0;
    const struct table_spec spec = {
        .table = "bench.t", .name = "t", .columns = &w.columns, .mode = mode,
        .key = &id, .nkey = mode == MODE_UPSERT, .version = -1, .deleted = -1
    };
    stage(&s, &w, &spec, 0, unmeasured);
    struct loading l = { .output = { spec, &s.output, s.path } };
    check(target_sqlite.open(&l.conn, NULL, &cfg, true, &err), "open", &err);
    load_one(&l);
    l.number = 1;
    measured(load_one, &l);
    target_sqlite.close(l.conn);
    way_close(&w);
    return w.n;
}

static uint64_t load_append(void)
{
    return load_mode(MODE_APPEND);
}

static uint64_t load_upsert(void)
{
    return load_mode(MODE_UPSERT);
}

/* ---- the queue ---- */

static struct queue *open_queue(void)
{
    struct err err;
    struct queue *q;
    char path[300];
    snprintf(path, sizeof path, "%s/queue.db", folder);
    check(queue_open(&q, path, QUEUE_CREATE, &err), "queue", &err);
    return q;
}

static void submit_jobs(void *arg)
{
    struct job_new job = { .pipeline = "bench",
                           .target = "warehouse",
                           .attempts_max = 5,
                           .params = STR("{\"date\":\"2026-11-21\"}"),
                           .objects = STR("[\"http://files.example.org/out/orders-000123.csv.gz\"]") };
    struct queue *q = arg;
    struct err err;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    check(queue_begin(q, &err), "begin", &err);
    for (int i = 0; i < JOBS; i++)
        check(job_submit(q, &job, &id, uid, &made, &err), "submit", &err);
    check(queue_commit(q, QUEUE_NOW, &err), "commit", &err);
}

static uint64_t queue_submit(void)
{
    struct queue *q = open_queue();
    submit_jobs(q); /* statements are prepared, pages are there */
    measured(submit_jobs, q);
    queue_close(q);
    return JOBS;
}

/* Acknowledge the job in hand and claim the next, in one transaction each. */
static void work(void *arg)
{
    static struct lease held;
    struct queue *q = arg;
    struct err err;
    for (int i = 0; i < JOBS / 2; i++) {
        struct finish finish = { .lease = &held, .outcome = OUT_STAGED };
        struct lease next;
        int n = job_finish_claim(q, &finish, held.id != 0, 1, 60000, 3, &next, 1, &err);
        check(n == 1 ? 0 : -1, "claim", &err);
        job_lease_clear(&held);
        held = next;
    }
}

static uint64_t queue_claim(void)
{
    struct queue *q = open_queue();
    submit_jobs(q);
    work(q);
    measured(work, q);
    queue_close(q);
    return JOBS / 2;
}

/* ---- */

static const struct {
    const char *name, *unit;
    uint64_t (*run)(void);
} loops[] = {
    { "csv-split", "row", csv_split },
    { "csv-beyond-ascii", "row", csv_beyond_ascii },
    { "csv-typed", "row", csv_typed },
    { "json-typed", "row", json_typed },
    { "gz-split", "row", gz_split },
    { "profile", "row", profile },
    { "encode", "row", encode },
    { "load-append", "row", load_append },
    { "load-upsert", "row", load_upsert },
    { "queue-submit", "job", queue_submit },
    { "queue-claim", "job", queue_claim },
};

static int list(void)
{
    for (size_t i = 0; i < COUNT_OF(loops); i++)
        puts(loops[i].name);
    return 0;
}

#ifdef HAVE_ISAL
#define INFLATES "isa-l " TEXT_OF(ISAL_MAJOR_VERSION) "." TEXT_OF(ISAL_MINOR_VERSION)
#else
#define INFLATES "zlib"
#endif
#define TEXT_OF(macro) TEXT_OF_THIS(macro)
#define TEXT_OF_THIS(text) #text

static int built(void)
{
    printf("compiler\t%s\nflags\t%s\n", __VERSION__, BUILD_FLAGS);
    printf("libc\t%s\nsqlite\t%s\n", gnu_get_libc_version(), sqlite3_libversion());
    printf("gzip\t%s\n", INFLATES);
    printf("simd\t%s\n", simd_name(simd_best()));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "list"))
        return list();
    if (argc == 2 && !strcmp(argv[1], "built"))
        return built();
    for (size_t i = 0; argc == 3 && i < COUNT_OF(loops); i++)
        if (!strcmp(argv[1], loops[i].name)) {
            folder = argv[2];
            printf("%" PRIu64 " %s\n", loops[i].run(), loops[i].unit);
            return 0;
        }
    fprintf(stderr, "usage: bench/hot NAME FOLDER | list | built\n");
    return 2;
}
