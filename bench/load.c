/*
 * The SQLite target by itself: how fast typed rows become staged files, and staged outputs become
 * committed rows. The row has 3 integers, 2 reals, 1 timestamp and 4 texts, about 96 bytes as CSV.
 *
 *     bench/load [ROWS [FOLDER]]      ROWS: of the big loads, 1,000,000 by default; FOLDER: on the
 * disk to measure
 *
 * Peers: INSERT with bound values in one transaction, what a program without the record transfer
 * does; a transaction a job; the finished file copied and synced, the limit.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "target/target.h"

enum { COLS = 10, DISTINCT = 8 * BATCH_ROWS, FILES = 10, SMALL_ROWS = 10, SMALL_GROUP = 100 };
static const char columns_text[] = "id:integer!, a:integer, b:integer, x:real, y:real, "
                                   "at:timestamp, s:text, t:text, u:text, v:text";

static uint64_t seed = 1;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void check(int rc, const char *what, const struct err *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, err->msg);
    exit(1);
}

static void print_rate(const char *what, double n, int64_t us, const char *unit)
{
    printf("%-58s %10.0f %s/s  (%.2f s)\n", what, n * 1e6 / (double)us, unit, (double)us / 1e6);
    fflush(stdout);
}

/* ---- rows ---- */

static struct value values[DISTINCT * COLS];
static struct place place;
static const struct place *places[BATCH_ROWS];

static void make_values(void)
{
    static char letters[256];
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)('a' + next_random() % 26);
    for (size_t i = 0; i < DISTINCT; i++) {
        struct value *v = values + i * COLS;
        uint64_t r = next_random();
        v[1].i = (int64_t)(r % 100000);
        v[2].i = (int64_t)(r % 2000) - 1000;
        v[3].r = (double)(r % 1000000) / 100;
        v[4].r = (double)(r >> 11) / 9007199254740992.0;
        v[5].i = (int64_t)(r % 1700000000) * 1000000;
        for (int c = 6; c < COLS; c++)
            v[c] = (struct value){ .p = letters + (r >> c) % 200,
                                   .n = (uint32_t)(6 + (r >> 2 * c) % 12) };
    }
    for (int i = 0; i < BATCH_ROWS; i++)
        places[i] = &place;
}

/* ---- staging ---- */

struct staged {
    struct output output;
    char path[300];
};

static const char *folder;
static int open_staged(void *arg, int number, const char *ext, struct err *err)
{
    struct staged *s = arg;
    snprintf(s->path, sizeof s->path, "%s/%d.%s", folder, number, ext);
    int fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    return fd < 0 ? err_sys(err, "open '%s'", s->path) : fd;
}

/* ids from `first` on, `step` apart; shuffled: over their whole range in no order */
static void stage(struct staged *s, const struct table_spec *spec, int number, int64_t first,
                  int64_t step, int64_t n, bool shuffled)
{
    struct err err;
    struct encoder *e;
    uint64_t staged = 0;
    const struct stage how = { open_staged, s, n <= 1000 ? STAGE_INLINE_MAX : 0 };
    check(target_sqlite.encode_open(&e, NULL, spec, &how, number, &err), "encode", &err);
    for (int64_t at = 0; at < n; at += BATCH_ROWS) {
        uint32_t some = (uint32_t)(n - at < BATCH_ROWS ? n - at : BATCH_ROWS);
        struct value *v =
            values + (size_t)(at / BATCH_ROWS % (DISTINCT / BATCH_ROWS)) * BATCH_ROWS * COLS;
        for (uint32_t i = 0; i < some; i++) {
            int64_t k = at + i;
            v[i * COLS].i =
                first + step * (shuffled ? (int64_t)((uint64_t)k * 2654435761 % (uint64_t)n) : k);
        }
        struct rows rows = { some, COLS, v, places };
        check(target_sqlite.encode_rows(e, &rows, NULL, &staged, &err), "encode", &err);
    }
    check(target_sqlite.encode_finish(e, &s->output, &err), "encode", &err);
    target_sqlite.encode_close(e);
}

/* ---- loading ---- */

static struct target_conn *open_warehouse(const char *name, char path[300])
{
    struct err err;
    struct target_conn *c;
    char url[320], target[] = "bench";
    snprintf(path, 300, "%s/%s", folder, name);
    snprintf(url, sizeof url, "sqlite://%s", path);
    struct target_config cfg = { .name = target, .url = url };
    check(target_sqlite.open(&c, NULL, &cfg, true, &err), "open", &err);
    return c;
}

/* One transaction of n jobs with an output each; gives rows that went the slow way. */
static int64_t load(struct target_conn *c, const struct table_spec *spec, struct staged *s, int n,
                    bool same)
{
    struct err err;
    int64_t slow = 0;
    check(target_sqlite.begin(c, &err), "begin", &err);
    for (int i = 0; i < n; i++) {
        char uid[SYS_UID_LEN + 1];
        struct staged *one = same ? s : s + i;
        struct load_output o = { *spec, &one->output, one->path };
        struct load_job job = {
            .uid = uid, .pipeline = "bench", .id = i, .objects = "[]", .outputs = &o, .noutputs = 1
        };
        sys_uid(uid);
        check(target_sqlite.load_job(c, &job, &err), "load", &err);
        slow += job.slow_rows;
    }
    check(target_sqlite.commit(c, &err), "commit", &err);
    return slow;
}

/* The limit: the finished file copied and synced. */
static void bench_copy(const char *path, int64_t rows)
{
    static char block[1 << 20];
    char copy[310];
    ssize_t n;
    snprintf(copy, sizeof copy, "%s.copy", path);
    int64_t start = sys_mono_us();
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while ((n = read(from, block, sizeof block)) > 0 && write(to, block, (size_t)n) == n)
        ;
    if (n != 0 || fsync(to) < 0)
        perror(copy);
    else
        print_rate("peer: cp and fsync of the result", (double)rows, sys_mono_us() - start, "rows");
    close(from);
    close(to);
    unlink(copy);
}

static void bench_append(const struct table_spec *spec, int64_t rows)
{
    static struct staged s[FILES];
    char path[300];
    int64_t each = rows / FILES, slow = 0, start = sys_mono_us();
    for (int i = 0; i < FILES; i++)
        stage(&s[i], spec, i, i * each, 1, each, false);
    print_rate("typed rows to staged files, on disk", (double)(each * FILES), sys_mono_us() - start,
               "rows");
    struct target_conn *c = open_warehouse("append.db", path);
    for (int round = 0; round < 2; round++) {
        start = sys_mono_us();
        slow += load(c, spec, s, FILES, false);
        print_rate(round ? "staged files to committed, append to as many"
                         : "staged files to committed, append to none",
                   (double)(each * FILES), sys_mono_us() - start, "rows");
        if (round == 0)
            bench_copy(path, each * FILES);
    }
    if (slow)
        printf("%" PRId64 " rows went the slow way\n", slow);
    target_sqlite.close(c);
    for (int i = 0; i < FILES; i++)
        unlink(s[i].path);
}

static void bench_small(const struct table_spec *spec, int64_t jobs)
{
    struct staged s;
    char path[300];
    stage(&s, spec, 0, 0, 1, SMALL_ROWS, false);
    struct target_conn *c = open_warehouse("small.db", path);
    int64_t start = sys_mono_us();
    for (int64_t i = 0; i < jobs; i += SMALL_GROUP)
        load(c, spec, &s, SMALL_GROUP, true);
    print_rate("inline jobs of 10 rows, 100 a transaction", (double)jobs, sys_mono_us() - start,
               "jobs");
    int64_t alone = jobs / 20;
    start = sys_mono_us();
    for (int64_t i = 0; i < alone; i++)
        load(c, spec, &s, 1, true);
    print_rate("inline jobs of 10 rows, one a transaction", (double)alone, sys_mono_us() - start,
               "jobs");
    target_sqlite.close(c);
    buf_clear(&s.output.inlined);
}

/* A tenth as many staged rows as the table has, over its whole range; half of them new. */
static void bench_upsert(const struct table_spec *spec, int64_t rows)
{
    struct staged base, more;
    char path[300];
    struct table_spec key = *spec;
    key.mode = MODE_UPSERT;
    key.key = (int[]){ 0 };
    key.nkey = 1;
    stage(&base, &key, 0, 0, 2, rows, false);
    stage(&more, &key, 1, 0, 19, rows / 10, true);
    struct target_conn *c = open_warehouse("upsert.db", path);
    int64_t start = sys_mono_us();
    load(c, &key, &base, 1, false);
    print_rate("upsert of ascending keys into an empty table", (double)rows, sys_mono_us() - start,
               "rows");
    start = sys_mono_us();
    load(c, &key, &more, 1, false);
    print_rate("upsert of shuffled keys into ten times as many", (double)(rows / 10),
               sys_mono_us() - start, "rows");
    target_sqlite.close(c);
    unlink(base.path);
    unlink(more.path);
}

static void bench_peer(int64_t rows)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    char path[300], text[32];
    snprintf(path, sizeof path, "%s/peer.db", folder);
    sqlite3_open(path, &db);
    sqlite3_exec(db,
                 "PRAGMA journal_mode=TRUNCATE; PRAGMA cache_size=-65536; CREATE TABLE t (id "
                 "INTEGER NOT NULL, a INTEGER, b INTEGER, x REAL, y REAL,"
                 " at TIMESTAMP, s TEXT, t TEXT, u TEXT, v TEXT); BEGIN",
                 NULL, NULL, NULL);
    sqlite3_prepare_v2(db, "INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?)", -1, &st, NULL);
    int64_t start = sys_mono_us();
    for (int64_t i = 0; i < rows; i++) {
        const struct value *v = values + (size_t)(i % DISTINCT) * COLS;
        sqlite3_bind_int64(st, 1, i);
        sqlite3_bind_int64(st, 2, v[1].i);
        sqlite3_bind_int64(st, 3, v[2].i);
        sqlite3_bind_double(st, 4, v[3].r);
        sqlite3_bind_double(st, 5, v[4].r);
        int n = snprintf(text, sizeof text, "2024-05-06 07:08:%02d", (int)(i % 60));
        sqlite3_bind_text(st, 6, text, n, SQLITE_STATIC);
        for (int c = 6; c < COLS; c++)
            sqlite3_bind_text(st, c + 1, v[c].p, (int)v[c].n, SQLITE_STATIC);
        sqlite3_step(st);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    print_rate("peer: INSERT of bound values, one transaction", (double)rows, sys_mono_us() - start,
               "rows");
    sqlite3_close(db);
}

int main(int argc, char **argv)
{
    int64_t rows = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000000;
    char made[300];
    struct err err;
    struct columns columns;
    snprintf(made, sizeof made, "%s/bench-load-XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
    if (rows < FILES || !(folder = mkdtemp(made))) {
        fprintf(stderr, "usage: load [ROWS [FOLDER]]\n");
        return 2;
    }
    check(columns_parse(&columns, columns_text, &err), "columns", &err);
    const struct table_spec spec = {
        .table = "bench.t", .name = "t", .columns = &columns, .mode = MODE_APPEND, .version = -1, .deleted = -1
    };
    make_values();
    bench_append(&spec, rows);
    bench_peer(rows / 4);
    bench_small(&spec, 10000);
    bench_upsert(&spec, rows);
    printf("peak memory %" PRId64 " MB\n", sys_peak_rss() >> 20);
    columns_clear(&columns);
    return sys_remove_tree(AT_FDCWD, folder, &err) < 0;
}
