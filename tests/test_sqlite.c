/* The SQLite target: what is staged is what is loaded, fast, all or nothing, once. */
#include "target/sqlite.h"

#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#include "test.h"

static const char columns_text[] = "id:integer!, name:text, amount:decimal(2), weight:real, "
                                   "good:boolean, day:date, at:timestamp, extra:json";
enum { COLUMNS = 8, JOB_OUTPUTS = 16 };

static uint64_t seed = 88172645463325252;
static uint64_t next_random(void) /* xorshift64, Marsaglia 2003 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* The end of a forked child: by exec, so that valgrind does not take what the parent owns for a
 * leak. */
static void __attribute__((noreturn)) child_exit(int status)
{
    char command[32];
    snprintf(command, sizeof command, "exit %d", status);
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(99);
}

/* ---- staging ---- */

struct staged {
    struct columns columns;
    struct table_spec spec;
    int key[4];
    struct output output;
    char path[512], table[64];
};

static int open_staged(void *arg, int number, const char *ext, struct err *err)
{
    struct staged *s = arg;
    static int count;
    (void)err;
    snprintf(s->path, sizeof s->path, "%s/staged %%20 %d-%d-%d.%s", test_dir(), (int)getpid(),
             number, count++, ext);
    return open(s->path, O_RDWR | O_CREAT | O_EXCL, 0600);
}

static void staged_clear(struct staged *s)
{
    if (s->path[0])
        unlink(s->path);
    columns_clear(&s->columns);
    buf_clear(&s->output.inlined);
}

/* A table of these columns, with the key columns k (ended by -1) if any. */
static void staged_init(struct staged *s, const char *table, const char *columns,
                        enum load_mode mode, int key)
{
    struct err err;
    *s = (struct staged){ 0 };
    CHECK_OK(columns_parse(&s->columns, columns, &err), err);
    snprintf(s->table, sizeof s->table, "w.%s", table);
    s->key[0] = key;
    s->spec = (struct table_spec){ .table = s->table,
                                   .name = s->table + 2,
                                   .columns = &s->columns,
                                   .mode = mode,
                                   .nkey = key >= 0,
                                   .key = s->key,
                                   .version = -1,
                                   .deleted = -1 };
}

static int no_limit_open(void *arg, int number, const char *ext, struct err *err)
{
    (void)arg;
    (void)number;
    (void)ext;
    return err_set(err, ERR_INTERNAL, "no file for the rejects of this test");
}

/* Encode n rows of values; gives the number of rejects. */
static int64_t stage_rows(struct staged *s, const struct value *values, uint32_t n,
                          size_t inline_max)
{
    struct err err;
    struct encoder *e;
    struct rejects rejects;
    uint64_t staged = 0;
    const struct stage stage = { open_staged, s, inline_max },
                       for_rejects = { no_limit_open, NULL, 1 << 20 };
    uint32_t cols = (uint32_t)s->columns.n;
    struct place place = { 1, 0, STR("the row") };
    const struct place *places[BATCH_ROWS];
    for (int i = 0; i < BATCH_ROWS; i++)
        places[i] = &place;
    rejects_init(&rejects, &for_rejects, 99, (struct reject_limit){ -1, -1 });
    rejects.table = s->table;
    rejects.object = rejects.member = "o";
    CHECK_OK(target_sqlite.encode_open(&e, NULL, &s->spec, &stage, 0, &err), err);
    for (uint32_t at = 0; at < n; at += BATCH_ROWS) {
        uint32_t some = n - at < BATCH_ROWS ? n - at : BATCH_ROWS;
        struct rows rows = { some, cols, (struct value *)(values + (size_t)at * cols), places };
        CHECK_OK(target_sqlite.encode_rows(e, &rows, &rejects, &staged, &err), err);
    }
    CHECK_OK(target_sqlite.encode_finish(e, &s->output, &err), err);
    target_sqlite.encode_close(e);
    int64_t rejected = rejects.count;
    rejects_clear(&rejects);
    CHECK_EQ(s->output.rows, staged);
    CHECK_EQ(staged + (uint64_t)rejected, n);
    CHECK_STR(s->output.table, s->table);
    return rejected;
}

/* Rows of columns_text with ids from `first` on; every value but the id is now and then null. */
static struct value *make_rows(int64_t first, uint32_t n)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog";
    static const char *const json[] = { "1e2", "{\"a\":[1,2]}", "null", "\"x\"",
                                        "12345678901234567890" };
    struct value *v = calloc((size_t)n * COLUMNS + 1, sizeof *v);
    for (uint32_t i = 0; i < n; i++) {
        struct value *row = v + (size_t)i * COLUMNS;
        uint64_t r = next_random();
        const char *j = json[r % 5];
        row[0].i = first + i;
        row[1] = (struct value){ .p = words + r % 20, .n = (uint32_t)(r >> 8) % 24 };
        row[2].i = (int64_t)(r % 2000000) - 1000000;
        row[3].r = r % 3 ? (double)(int64_t)(r % 1000000) / 64 : (double)(r % 1000);
        row[4].i = r & 1;
        row[5].i = (int64_t)(r % 30000);
        row[6].i = (int64_t)(r % 2000000000) * 1000000 + (r % 4 ? 0 : 123400);
        row[7] = (struct value){ .p = j, .n = (uint32_t)strlen(j) };
        for (int c = 1; c < COLUMNS; c++)
            row[c].null = (r >> (20 + c)) % 16 == 0;
    }
    return v;
}

/* The usual case: n plain rows with ids from `first` on, in a file. */
static void stage_plain(struct staged *s, const char *table, enum load_mode mode, int key,
                        int64_t first, uint32_t n, size_t inline_max)
{
    struct value *v = make_rows(first, n);
    staged_init(s, table, columns_text, mode, key);
    CHECK_EQ(stage_rows(s, v, n, inline_max), 0);
    free(v);
}

/* Rows (id, name) from text pairs. */
static void stage_pairs(struct staged *s, const char *table, enum load_mode mode, int key,
                        size_t inline_max, int n, const int64_t *ids, const char *const *names)
{
    struct value v[64] = { 0 };
    staged_init(s, table, "id:integer!, name:text", mode, key);
    for (int i = 0; i < n; i++) {
        v[2 * i].i = ids[i];
        v[2 * i + 1] = (struct value){ .p = names[i], .n = (uint32_t)strlen(names[i]) };
    }
    CHECK_EQ(stage_rows(s, v, (uint32_t)n, inline_max), 0);
}

/* ---- the warehouse ---- */

static const char *warehouse; /* path of this test's */
static char target_name[] = "w";

static struct target_config config_of(bool many_readers)
{
    static char url[600];
    snprintf(url, sizeof url, "sqlite://%s", warehouse);
    return (struct target_config){ .name = target_name, .url = url, .many_readers = many_readers };
}

static void new_warehouse(void)
{
    static int count;
    char name[32];
    snprintf(name, sizeof name, "w%d.db", count++);
    warehouse = test_file(name);
    static char kept[512];
    snprintf(kept, sizeof kept, "%s", warehouse);
    warehouse = kept;
}

static struct target_conn *open_warehouse(void)
{
    struct err err;
    struct target_conn *c;
    struct target_config cfg = config_of(false);
    CHECK_OK(target_sqlite.open(&c, NULL, &cfg, true, &err), err);
    return c;
}

static void sql_into(const char *sql)
{
    sqlite3 *db;
    char *msg = NULL;
    CHECK_EQ(sqlite3_open(warehouse, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &msg) != SQLITE_OK)
        fail_msg("%s: %s", sql, msg);
    sqlite3_close(db);
}

/* The first value of the first row, as text; "" for NULL or none. */
static const char *ask(const char *sql)
{
    static char out[4][4096];
    static unsigned next;
    char *o = out[next++ % 4];
    sqlite3 *db;
    sqlite3_stmt *st;
    CHECK_EQ(sqlite3_open(warehouse, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    const char *v = sqlite3_step(st) == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : "";
    snprintf(o, sizeof out[0], "%s", v ? v : "");
    sqlite3_finalize(st);
    sqlite3_close(db);
    return o;
}

static struct load_job job_of(const char *uid, struct load_output *outputs, struct staged *staged,
                              int n)
{
    for (int i = 0; i < n; i++)
        outputs[i] = (struct load_output){ staged[i].spec, &staged[i].output, staged[i].path };
    return (struct load_job){ .uid = uid,
                              .pipeline = "p",
                              .id = 7,
                              .objects = "[\"file:///in.csv\"]",
                              .outputs = outputs,
                              .noutputs = n };
}

/* One job in a transaction of its own; -1 with *err where the target refuses it. */
static int try_load(struct target_conn *c, const char *uid, struct staged *staged, int n,
                    struct load_job *job, struct err *err)
{
    struct load_output outputs[JOB_OUTPUTS];
    struct err begin_err;
    CHECK_OK(target_sqlite.begin(c, &begin_err), begin_err);
    *job = job_of(uid, outputs, staged, n);
    int rc = target_sqlite.load_job(c, job, err);
    if (rc < 0 && err_class(err->code) == ERR_TRANSIENT)
        target_sqlite.rollback(c);
    else
        CHECK_OK(target_sqlite.commit(c, &begin_err), begin_err);
    return rc;
}

static struct load_job load(struct target_conn *c, const char *uid, struct staged *staged, int n)
{
    struct load_job job;
    struct err err;
    CHECK_OK(try_load(c, uid, staged, n, &job, &err), err);
    return job;
}

static void check_refusal(struct target_conn *c, struct staged *s, enum err_code code,
                          const char *part)
{
    struct load_job job;
    struct err err;
    char uid[SYS_UID_LEN + 1];
    sys_uid(uid);
    CHECK_EQ(try_load(c, uid, s, 1, &job, &err), -1);
    CHECK_STR(err_name(err.code), err_name(code));
    CHECK_HAS(err.msg, part);
    CHECK_EQ(target_sqlite.loaded(c, uid, &(struct load_counts){ 0 }, &err), 0);
}

/* ---- what goes in comes out ---- */

static const char fingerprint[] = "SELECT "
                                  "group_concat(typeof(id)||quote(id)||typeof(name)||quote(name)||"
                                  "typeof(amount)||quote(amount)||typeof(weight)"
                                  "||quote(weight)||quote(good)||typeof(day)||quote(day)||typeof("
                                  "at)||quote(at)||typeof(extra)||quote(extra)) FROM ";

TEST(sqlite, inline_and_staged_rows_are_the_same_rows)
{
    struct staged in_file, in_line;
    char sql[1024], a[4096];
    new_warehouse();
    seed = 1;
    stage_plain(&in_file, "a", MODE_APPEND, -1, 1, 60, 0);
    seed = 1;
    stage_plain(&in_line, "b", MODE_APPEND, -1, 1, 60, 65536);
    CHECK(in_file.output.in_file && !in_line.output.in_file);
    struct target_conn *c = open_warehouse();
    CHECK_EQ(load(c, "u1", &in_file, 1).counts.inserted, 60);
    CHECK_EQ(load(c, "u2", &in_line, 1).counts.inserted, 60);
    snprintf(sql, sizeof sql, "%sa", fingerprint);
    snprintf(a, sizeof a, "%s", ask(sql));
    snprintf(sql, sizeof sql, "%sb", fingerprint);
    CHECK(strlen(a) > 1000);
    CHECK_STR(ask(sql), a);
    target_sqlite.close(c);
    staged_clear(&in_file);
    staged_clear(&in_line);
}

TEST(sqlite, every_type_is_stored_as_declared)
{
    struct staged s;
    struct value v[COLUMNS] = { { .i = INT64_MIN },
                                { .p = "1e2", .n = 3 },
                                { .i = -1250 },
                                { .r = 3.0 },
                                { .i = 1 },
                                { .i = 20047 },
                                { .i = 1700000000500000 },
                                { .p = "1e2", .n = 3 } };
    for (size_t inline_max = 0; inline_max < 2; inline_max++) {
        new_warehouse();
        staged_init(&s, "t", columns_text, MODE_APPEND, -1);
        CHECK_EQ(stage_rows(&s, v, 1, inline_max * 1000), 0);
        CHECK_EQ(s.output.in_file, !inline_max);
        struct target_conn *c = open_warehouse();
        load(c, "u", &s, 1);
        target_sqlite.close(c);
        CHECK_STR(
            ask("SELECT quote(id)||' '||quote(name)||' '||quote(amount)||' '||quote(weight)||' "
                "'||quote(good)||' '||quote(day)||' '||"
                "quote(at)||' '||quote(extra) FROM t"),
            "-9223372036854775808 '1e2' -12.5 3.0 1 '2024-11-20' '2023-11-14 22:13:20.5' '1e2'");
        staged_clear(&s);
    }
}

static void copy_staged(const struct staged *s, const char *to, const char *insert)
{
    sqlite3 *db;
    char *sql = sqlite3_mprintf(
             "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; ATTACH %Q AS s;", s->path),
         *msg = NULL;
    AUTO(buf_clear) struct buf create = { 0 };
    sqlite_table_sql(&create, "\"t\"", &s->spec);
    CHECK_EQ(sqlite3_open(to, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &msg) || sqlite3_exec(db, create.p, NULL, NULL, &msg) ||
        sqlite3_exec(db, insert, NULL, NULL, &msg))
        fail_msg("%s", msg);
    sqlite3_free(sql);
    sqlite3_close(db);
}

static char *read_file(const char *path, size_t *n)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    *n = (size_t)lseek(fd, 0, SEEK_END);
    char *p = malloc(*n);
    CHECK_EQ(pread(fd, p, *n, 0), *n);
    return p;
}

/* The record transfer copies what is staged; INSERT of named columns decodes it, applies the
 * affinities and encodes it again. */
TEST(sqlite, record_transfer_stores_the_bytes_that_an_insert_would)
{
    struct staged s;
    size_t n[2];
    stage_plain(&s, "t", MODE_APPEND, -1, -3000, 20000, 0);
    copy_staged(&s, test_file("fast.db"), "INSERT INTO t SELECT * FROM s.staged");
    copy_staged(&s, test_file("slow.db"),
                "INSERT INTO t (id, name, amount, weight, good, day, at, extra)"
                " SELECT id, name, amount, weight, good, day, at, extra FROM s.staged");
    char *fast = read_file(test_file("fast.db"), &n[0]),
         *slow = read_file(test_file("slow.db"), &n[1]);
    CHECK(n[0] > 1000000);
    CHECK_EQ(n[0], n[1]);
    assert_memory_equal(fast, slow, n[0]);
    free(fast);
    free(slow);
    staged_clear(&s);
}

TEST(sqlite, rows_that_the_table_could_not_hold_are_rejected)
{
    struct staged s;
    struct value v[4 * COLUMNS] = { 0 };
    for (int i = 0; i < 4; i++) {
        v[i * COLUMNS + 1].p = v[i * COLUMNS + 7].p = "";
        v[i * COLUMNS].i = i;
    }
    v[0].null = true;                      /* NOT NULL */
    v[COLUMNS + 2].i = 123456789012345678; /* more digits than a REAL has */
    v[2 * COLUMNS + 6].i = INT64_MAX;      /* no year of four digits */
    staged_init(&s, "t", columns_text, MODE_APPEND, -1);
    CHECK_EQ(stage_rows(&s, v, 4, 65536), 3);
    CHECK_EQ(s.output.rows, 1);
    staged_clear(&s);
    staged_init(&s, "t", "id:integer, name:text", MODE_UPSERT, 0); /* not "!", but the key */
    CHECK_EQ(stage_rows(&s, (struct value[]){ { .null = true }, { .p = "" } }, 1, 65536), 1);
    staged_clear(&s);
}

TEST(sqlite, outputs_grow_from_memory_into_a_file)
{
    for (uint32_t n = 1; n < 200; n += 7) {
        struct staged s;
        new_warehouse();
        stage_plain(&s, "t", MODE_APPEND, -1, 1, n, 4000);
        CHECK_EQ(s.output.in_file, s.output.bytes > 4000);
        struct target_conn *c = open_warehouse();
        CHECK_EQ(load(c, "u", &s, 1).counts.inserted, n);
        target_sqlite.close(c);
        CHECK_EQ(atoi(ask("SELECT count(*) || CASE WHEN sum(id) = count(*) * (count(*) + 1) / 2 "
                          "THEN '' ELSE 'x' END FROM t")),
                 n);
        staged_clear(&s);
    }
}

/* ---- the fast path ---- */

TEST(sqlite, tables_made_by_qetl_take_records_as_they_are)
{
    struct staged s[3];
    new_warehouse();
    struct target_conn *c = open_warehouse();
    for (int i = 0; i < 3; i++)
        stage_plain(&s[i], "t", i < 2 ? MODE_APPEND : MODE_REPLACE, -1, i * 1000, 1000, 0);
    CHECK_EQ(load(c, "u0", &s[0], 1).slow_rows, 0); /* into the empty table */
    CHECK_EQ(load(c, "u1", &s[1], 1).slow_rows, 0); /* and the filled one */
    CHECK_EQ(load(c, "u2", &s[2], 1).slow_rows, 0);
    CHECK_STR(ask("SELECT count(*) || ' ' || min(id) FROM t"), "1000 2000");
    for (int i = 0; i < 3; i++)
        staged_clear(&s[i]);
    target_sqlite.close(c);
}

TEST(sqlite, staged_files_are_let_go_after_each_transaction)
{
    struct staged s;
    struct err err;
    new_warehouse();
    struct target_conn *c = open_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 0, 1000, 0);
    for (int i = 0; i < 25; i++) { /* more than can be attached at once */
        char uid[16];
        struct load_output outputs[1];
        snprintf(uid, sizeof uid, "u%d", i);
        struct load_job job = job_of(uid, outputs, &s, 1);
        CHECK_OK(target_sqlite.begin(c, &err), err);
        CHECK_OK(target_sqlite.load_job(c, &job, &err), err);
        CHECK_EQ(job.slow_rows, 0);
        if (i < 13)
            CHECK_OK(target_sqlite.commit(c, &err), err);
        else
            target_sqlite.rollback(c);
    }
    CHECK_STR(ask("SELECT count(*) FROM t"), "13000");
    staged_clear(&s);
    target_sqlite.close(c);
}

TEST(sqlite, the_slow_path_is_counted)
{
    struct staged s;
    new_warehouse();
    sql_into(
        "CREATE TABLE t (note TEXT, id INTEGER, name TEXT, amount, weight, good, day, at, extra)");
    struct target_conn *c = open_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 1000, 0);
    struct load_job job = load(c, "u", &s, 1);
    CHECK_EQ(job.counts.inserted, 1000);
    CHECK_EQ(job.slow_rows, 1000);
    staged_clear(&s);
    target_sqlite.close(c);
}

static int super_journals;
static sqlite3_vfs watcher, *below;
static int watch_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    super_journals += !!(flags & SQLITE_OPEN_SUPER_JOURNAL);
    return below->xOpen(below, name, file, flags, out);
}

TEST(sqlite, staged_files_cost_no_super_journal)
{
    struct staged s[4];
    below = sqlite3_vfs_find(NULL);
    watcher = *below;
    watcher.zName = "watcher";
    watcher.xOpen = watch_open;
    sqlite3_vfs_register(&watcher, 1);
    new_warehouse();
    struct target_conn *c = open_warehouse();
    for (int i = 0; i < 4; i++)
        stage_plain(&s[i], i % 2 ? "a" : "b", MODE_APPEND, -1, 1, 100, 0);
    load(c, "u1", s, 2);
    load(c, "u2", s + 2, 2);
    CHECK_EQ(super_journals, 0);
    target_sqlite.close(c);
    /* and the watch works: two files written in one transaction do make one */
    char *sql = sqlite3_mprintf(
        "ATTACH %Q AS s; BEGIN IMMEDIATE; DELETE FROM a; DELETE FROM s.staged; COMMIT", s[0].path);
    sql_into(sql);
    sqlite3_free(sql);
    CHECK(super_journals > 0);
    sqlite3_vfs_unregister(&watcher);
    sqlite3_vfs_register(below, 1);
    for (int i = 0; i < 4; i++)
        staged_clear(&s[i]);
}

TEST(sqlite, a_job_may_have_more_files_than_can_be_attached)
{
    struct staged s[12];
    new_warehouse();
    struct target_conn *c = open_warehouse();
    for (int i = 0; i < 12; i++)
        stage_plain(&s[i], "t", MODE_APPEND, -1, i * 100, 100, 0);
    struct load_job job = load(c, "u", s, 12);
    CHECK_EQ(job.counts.inserted, 1200);
    CHECK_EQ(job.slow_rows, 200);
    CHECK_STR(ask("SELECT count(DISTINCT id) FROM t"), "1200");
    for (int i = 0; i < 12; i++)
        staged_clear(&s[i]);
    target_sqlite.close(c);
}

/* ---- modes ---- */

TEST(sqlite, replace_leaves_the_rows_of_the_last_job)
{
    struct staged s[3];
    for (int k = 0; k < 2; k++) {
        new_warehouse();
        struct target_conn *c = open_warehouse();
        stage_pairs(&s[0], "t", MODE_REPLACE, -1, k * 1000, 2, (int64_t[]){ 1, 2 },
                    (const char *[]){ "a", "b" });
        stage_pairs(&s[1], "t", MODE_REPLACE, -1, k * 1000, 1, (int64_t[]){ 3 },
                    (const char *[]){ "c" });
        stage_pairs(&s[2], "t", MODE_REPLACE, -1, k * 1000, 1, (int64_t[]){ 4 },
                    (const char *[]){ "d" });
        load(c, "u0", &s[0], 1);
        CHECK_STR(ask("SELECT group_concat(id) FROM t"), "1,2");
        load(c, "u1", &s[1],
             2); /* two outputs for one table: the second does not wipe out the first */
        CHECK_STR(ask("SELECT group_concat(id) FROM t"), "3,4");
        for (int i = 0; i < 3; i++)
            staged_clear(&s[i]);
        target_sqlite.close(c);
    }
}

TEST(sqlite, upsert_keeps_the_last_row_of_a_key)
{
    static const char *const columns[] = { "id:integer!, name:text", "id:text!, name:text" };
    for (int k = 0; k < 4; k++) {
        struct staged s[2];
        struct value first[] = { { .i = 5 }, { .p = "a", .n = 1 }, { .i = 3 }, { .p = "b", .n = 1 },
                                 { .i = 5 }, { .p = "c", .n = 1 }, { .i = 4 }, { .null = true } };
        struct value second[] = {
            { .i = 4 },           { .p = "d", .n = 1 }, { .i = 9 },
            { .p = "e", .n = 1 }, { .i = 9 },           { .p = "f", .n = 1 }
        };
        static const char digits[] = "0123456789";
        for (int i = 0; k / 2 && i < 8; i += 2) {
            first[i] = (struct value){ .p = digits + first[i].i, .n = 1 };
            if (i < 6)
                second[i] = (struct value){ .p = digits + second[i].i, .n = 1 };
        }
        new_warehouse();
        struct target_conn *c = open_warehouse();
        staged_init(&s[0], "t", columns[k / 2], MODE_UPSERT, 0);
        staged_init(&s[1], "t", columns[k / 2], MODE_UPSERT, 0);
        stage_rows(&s[0], first, 4, k % 2 * 1000);
        stage_rows(&s[1], second, 3, k % 2 * 1000);
        struct load_counts n = load(c, "u0", &s[0], 1).counts;
        CHECK_EQ(n.inserted, 3);
        CHECK_EQ(n.unchanged, 1);
        CHECK_STR(ask("SELECT group_concat(id || coalesce(name, '-')) FROM (SELECT * FROM t ORDER "
                      "BY id)"),
                  "3b,4-,5c");
        n = load(c, "u1", &s[1], 1).counts;
        CHECK_EQ(n.inserted, 1);
        CHECK_EQ(n.updated, 1);
        CHECK_EQ(n.unchanged, 1);
        CHECK_STR(ask("SELECT group_concat(id || coalesce(name, '-')) FROM (SELECT * FROM t ORDER "
                      "BY id)"),
                  "3b,4d,5c,9f");
        staged_clear(&s[0]);
        staged_clear(&s[1]);
        target_sqlite.close(c);
    }
}

/* ---- modes ---- */

/* Rows as text: fields with commas between, rows with semicolons; "-" is null. Timestamps are seconds. */
static void stage_text(struct staged *s, const char *rows, size_t inline_max)
{
    struct value v[400] = { 0 };
    uint32_t n = 0;
    for (const char *p = rows; *p; n++) {
        for (int c = 0; c < s->columns.n; c++) {
            struct value *to = &v[n * (uint32_t)s->columns.n + (uint32_t)c];
            size_t len = strcspn(p, ",;");
            if (len == 1 && *p == '-')
                to->null = true;
            else if (s->columns.v[c].type == TYPE_TEXT)
                *to = (struct value){ .p = p, .n = (uint32_t)len };
            else
                to->i = strtoll(p, NULL, 10) * (s->columns.v[c].type == TYPE_TIMESTAMP ? 1000000 : 1);
            p += len + (p[len] != 0);
        }
    }
    CHECK_EQ(stage_rows(s, v, n, inline_max), 0);
}

/* How a table is loaded in a test of modes. */
struct how {
    const char *columns;
    enum load_mode mode;
    int version, deleted; /* columns, 0: none */
    bool only_if_changed;
    enum missing_rows missing;
};

/* Load the rows and say what became of them: "inserted updated unchanged deleted removed". */
static const char *load_text(struct target_conn *c, const struct how *how, const char *rows, size_t inline_max)
{
    static char out[100];
    static int count;
    char uid[20];
    struct staged s;
    staged_init(&s, "t", how->columns, how->mode, 0);
    s.spec.version = how->version ? how->version : -1;
    s.spec.deleted = how->deleted ? how->deleted : -1;
    s.spec.only_if_changed = how->only_if_changed;
    s.spec.missing = how->missing;
    stage_text(&s, rows, inline_max);
    snprintf(uid, sizeof uid, "u%d", count++);
    struct load_counts n = load(c, uid, &s, 1).counts;
    CHECK_EQ(n.inserted + n.updated + n.unchanged + n.deleted, s.output.rows);
    snprintf(out, sizeof out, "%d %d %d %d %d", (int)n.inserted, (int)n.updated, (int)n.unchanged, (int)n.deleted,
             (int)n.removed);
    staged_clear(&s);
    return out;
}

/* Each way that rows can come: in a file, inline; the key the table's rowid, or not. */
static const struct way {
    size_t inline_max;
    const char *key; /* its column */
} ways[] = { { 0, "id:integer!" }, { 65536, "id:integer!" }, { 0, "id:text!" }, { 65536, "id:text!" } };

static struct target_conn *begin_way(const struct way *way, struct how *how, const char *more, char columns[200])
{
    snprintf(columns, 200, "%s%s", way->key, more);
    how->columns = columns;
    new_warehouse();
    return open_warehouse();
}

static const char all_rows[] = "SELECT group_concat(line, ';') FROM (SELECT id || ',' || coalesce(name, '-') || ',' ||"
                               " coalesce(v, '-') || ',' || coalesce(gone, '-') AS line FROM t ORDER BY id)";
static const char more_columns[] = ", name:text, v:integer, gone:boolean";

#define EACH_WAY(w, how, c)                                                                         \
    char columns_[200];                                                                             \
    struct target_conn *c;                                                                          \
    for (const struct way *w = ways; w < ways + COUNT_OF(ways) && (c = begin_way(w, &how, more_columns, columns_)); \
         target_sqlite.close(c), w++)

TEST(sqlite, insert_ignore_leaves_what_is_there_and_takes_the_first_of_a_job)
{
    struct how how = { .mode = MODE_INSERT_IGNORE };
    EACH_WAY(w, how, c) {
        CHECK_STR(load_text(c, &how, "2,b,1,-;1,a,1,-;2,c,1,-", w->inline_max), "2 0 1 0 0");
        CHECK_STR(load_text(c, &how, "3,d,1,-;1,x,1,-", w->inline_max), "1 0 1 0 0");
        CHECK_STR(ask(all_rows), "1,a,1,-;2,b,1,-;3,d,1,-");
    }
}

TEST(sqlite, upsert_counts_what_is_new_and_what_is_overwritten)
{
    struct how how = { .mode = MODE_UPSERT };
    EACH_WAY(w, how, c) {
        CHECK_STR(load_text(c, &how, "3,c,1,-;1,a,1,-;2,b,1,-", w->inline_max), "3 0 0 0 0");
        /* 5 is new and comes three times, 2 was there and comes twice, 1 comes as it is */
        CHECK_STR(load_text(c, &how, "5,x,1,-;2,x,1,-;5,y,1,-;1,a,1,-;2,z,1,-;5,z,1,-", w->inline_max), "1 2 3 0 0");
        CHECK_STR(ask(all_rows), "1,a,1,-;2,z,1,-;3,c,1,-;5,z,1,-");
    }
}

TEST(sqlite, upsert_of_changed_rows_leaves_the_same_ones_alone)
{
    struct how how = { .mode = MODE_UPSERT, .only_if_changed = true };
    EACH_WAY(w, how, c) {
        load_text(c, &how, "1,a,1,-;2,-,1,-;3,c,1,-", w->inline_max);
        sql_into("CREATE TRIGGER u AFTER UPDATE ON t WHEN old.name IS NOT 'c' BEGIN SELECT RAISE(ABORT, 'written again'); END");
        /* of 1 the last row counts, which is the one there */
        CHECK_STR(load_text(c, &how, "1,b,1,-;1,a,1,-;2,-,1,-;3,-,1,-", w->inline_max), "0 1 3 0 0");
        CHECK_STR(ask(all_rows), "1,a,1,-;2,-,1,-;3,-,1,-");
    }
}

TEST(sqlite, upsert_of_changed_rows_writes_what_the_column_takes_for_equal)
{
    struct how how = { .mode = MODE_UPSERT, .only_if_changed = true };
    EACH_WAY(w, how, c) {
        sql_into("CREATE TABLE t (id PRIMARY KEY, name TEXT COLLATE NOCASE, v INTEGER, gone BOOLEAN)");
        load_text(c, &how, "1,Ann,1,-;2,Bob,1,-", w->inline_max);
        CHECK_STR(load_text(c, &how, "1,ANN,1,-;2,Bob,1,-", w->inline_max), "0 1 1 0 0");
        CHECK_STR(ask(all_rows), "1,ANN,1,-;2,Bob,1,-");
    }
}

TEST(sqlite, an_older_version_never_overwrites_a_newer_one)
{
    struct how how = { .mode = MODE_UPSERT, .version = 2 };
    EACH_WAY(w, how, c) {
        /* of a key the newest version counts, whatever its place */
        CHECK_STR(load_text(c, &how, "1,new,5,-;1,old,4,-;2,-,-,-;3,a,7,-", w->inline_max), "3 0 1 0 0");
        CHECK_STR(ask(all_rows), "1,new,5,-;2,-,-,-;3,a,7,-");
        CHECK_STR(load_text(c, &how, "1,older,4,-;2,b,-,-;3,null,-,-", w->inline_max), "0 1 2 0 0");
        CHECK_STR(load_text(c, &how, "1,same,5,-;2,c,1,-;3,d,8,-", w->inline_max), "0 3 0 0 0");
        CHECK_STR(ask(all_rows), "1,same,5,-;2,c,1,-;3,d,8,-");
    }
}

TEST(sqlite, a_row_that_says_deleted_marks_and_leaves_the_rest)
{
    struct how how = { .mode = MODE_UPSERT, .version = 2, .deleted = 3 };
    EACH_WAY(w, how, c) {
        CHECK_STR(load_text(c, &how, "1,a,1,0;2,b,5,0;9,-,1,1", w->inline_max), "2 0 0 1 0");
        CHECK_STR(load_text(c, &how, "1,-,2,1;2,-,4,1", w->inline_max), "0 0 1 1 0");
        CHECK_STR(ask(all_rows), "1,a,2,1;2,b,5,0;9,-,1,1");
        CHECK_STR(load_text(c, &how, "1,back,3,0", w->inline_max), "0 1 0 0 0");
        CHECK_STR(ask(all_rows), "1,back,3,0;2,b,5,0;9,-,1,1");
        how.only_if_changed = true;
        CHECK_STR(load_text(c, &how, "9,-,2,1;1,back,3,0;2,-,6,1", w->inline_max), "0 0 1 2 0");
        CHECK_STR(ask(all_rows), "1,back,3,0;2,b,6,1;9,-,2,1");
        how.only_if_changed = false;
    }
}

TEST(sqlite, rows_that_a_whole_job_does_not_have_are_removed_or_marked)
{
    struct how how = { .mode = MODE_UPSERT, .missing = MISSING_DELETE };
    EACH_WAY(w, how, c) {
        how.deleted = 0;
        CHECK_STR(load_text(c, &how, "1,a,1,0;2,b,1,0;3,c,1,1", w->inline_max), "3 0 0 0 0");
        CHECK_STR(load_text(c, &how, "2,x,1,0;3,c,1,1", w->inline_max), "0 2 0 0 1");
        CHECK_STR(ask(all_rows), "2,x,1,0;3,c,1,1");
        how.deleted = 3;
        CHECK_STR(load_text(c, &how, "4,d,1,0", w->inline_max), "1 0 0 0 1");
        CHECK_STR(ask(all_rows), "2,x,1,1;3,c,1,1;4,d,1,0");
        CHECK_STR(load_text(c, &how, "", w->inline_max), "0 0 0 0 1");
        CHECK_STR(ask(all_rows), "2,x,1,1;3,c,1,1;4,d,1,1");
    }
}

static const char all_history[] =
    "SELECT group_concat(line, ';') FROM (SELECT id || ',' || coalesce(name, '-') || ',' || coalesce(v, '-') || ' ' ||"
    " substr(valid_from, 12, 8) || '>' || coalesce(substr(valid_to, 12, 8), '') || CASE is_current WHEN 1 THEN '*' ELSE '' END"
    " AS line FROM t ORDER BY id, valid_from, valid_to IS NULL)";

TEST(sqlite, history_keeps_each_version_and_its_time)
{
    for (const struct way *w = ways; w < ways + COUNT_OF(ways); w++) {
        char columns[200];
        struct how how = { .mode = MODE_HISTORY, .version = 2 };
        struct target_conn *c = begin_way(w, &how, ", name:text, v:timestamp", columns);
        /* two versions of 1 in one job, in no order */
        CHECK_STR(load_text(c, &how, "1,b,20;1,a,10;2,x,10", w->inline_max), "2 1 0 0 0");
        CHECK_STR(ask("SELECT group_concat(id || name || v, ';') FROM (SELECT * FROM t ORDER BY id, v)"),
                  "1a1970-01-01 00:00:10;1b1970-01-01 00:00:20;2x1970-01-01 00:00:10");
        CHECK_HAS(ask(all_history), " 00:00:10>00:00:20;1,b,1970-01-01 00:00:20 00:00:20>*;2,x,");
        /* 1: older than the current row, and equal to it but newer; 2: twice equal, then changed */
        CHECK_STR(load_text(c, &how, "1,z,15;1,b,30;2,x,11;2,x,12;2,y,13;2,y,14", w->inline_max), "0 1 5 0 0");
        CHECK_STR(ask("SELECT group_concat(name || substr(v, 18) || coalesce(substr(valid_to, 18), '') || is_current, ' ')"
                      " FROM (SELECT * FROM t ORDER BY id, v)"),
                  "a10200 b301 x12130 y141");
        /* one current row a key, always */
        CHECK_STR(ask("SELECT count(*) FROM (SELECT id FROM t WHERE is_current GROUP BY id HAVING count(*) <> 1)"), "0");
        how.missing = MISSING_DELETE;
        CHECK_STR(load_text(c, &how, "2,y,40", w->inline_max), "0 0 1 0 1");
        CHECK_STR(ask("SELECT group_concat(id || name, ' ') FROM t WHERE is_current"), "2y");
        CHECK_STR(ask("SELECT count(*) FROM t WHERE NOT is_current AND valid_to IS NULL"), "0");
        /* a key that was ended begins anew */
        CHECK_STR(load_text(c, &how, "2,y,40;1,c,50", w->inline_max), "1 0 1 0 0");
        target_sqlite.close(c);
    }
}

TEST(sqlite, history_of_a_table_with_a_quote_in_its_name)
{
    struct staged s;
    static const char *const names[] = { "a" };
    new_warehouse();
    struct target_conn *c = open_warehouse();
    stage_pairs(&s, "a\"b", MODE_HISTORY, 0, 0, 1, (int64_t[]){ 1 }, names);
    (void)load(c, "quoted", &s, 1);
    CHECK_STR(ask("SELECT name || is_current FROM \"a\"\"b\""), "a1");
    CHECK_STR(ask("SELECT name FROM pragma_index_list('a\"b')"), "a\"b_current_key");
    staged_clear(&s);
    sql_into("CREATE TABLE \"c\"\"d\" (id INTEGER, name TEXT)");
    stage_pairs(&s, "c\"d", MODE_UPSERT, 0, 0, 1, (int64_t[]){ 1 }, names);
    check_refusal(c, &s, ERR_TARGET_REFUSED, "run: CREATE UNIQUE INDEX \"c\"\"d_key\" ON \"c\"\"d\"");
    staged_clear(&s);
    target_sqlite.close(c);
}

TEST(sqlite, history_without_versions_counts_from_the_time_of_the_load)
{
    for (const struct way *w = ways; w < ways + COUNT_OF(ways); w++) {
        char columns[200];
        struct how how = { .mode = MODE_HISTORY };
        struct target_conn *c = begin_way(w, &how, ", name:text, gone:boolean", columns);
        CHECK_STR(load_text(c, &how, "1,a,0;1,b,0;2,x,0", w->inline_max), "2 0 1 0 0");
        CHECK_STR(ask("SELECT group_concat(name) FROM (SELECT * FROM t ORDER BY id)"), "b,x");
        how.deleted = 2;
        CHECK_STR(load_text(c, &how, "1,b,1;2,x,0;3,-,1", w->inline_max), "0 0 1 2 0");
        CHECK_STR(ask("SELECT group_concat(id || coalesce(name, '-') || gone || is_current, ' ') FROM"
                      " (SELECT * FROM t ORDER BY id, is_current)"),
                  "1b00 1b11 2x01 3-11");
        CHECK_STR(ask("SELECT count(*) FROM t WHERE abs(julianday(valid_from) - julianday('now')) > 0.01"), "0");
        CHECK_STR(ask("SELECT old.valid_to = new.valid_from FROM t old JOIN t new USING (id) WHERE id = 1 AND NOT"
                      " old.is_current AND new.is_current"),
                  "1");
        target_sqlite.close(c);
    }
}

TEST(sqlite, what_a_mode_needs_of_an_own_table_is_said)
{
    struct staged s;
    new_warehouse();
    sql_into("CREATE TABLE t (id INTEGER, name TEXT)");
    struct target_conn *c = open_warehouse();
    static const char *const names[] = { "a" };
    stage_pairs(&s, "t", MODE_HISTORY, 0, 0, 1, (int64_t[]){ 1 }, names);
    check_refusal(c, &s, ERR_TARGET_REFUSED, "has no history; run: ALTER TABLE \"t\" ADD COLUMN valid_from");
    s.spec.mode = MODE_INSERT_IGNORE;
    check_refusal(c, &s, ERR_TARGET_REFUSED, "no unique index on the key (\"id\"), which insert_ignore needs");
    staged_clear(&s);
    target_sqlite.close(c);
}

TEST(sqlite, what_no_recipe_can_ask_is_found_by_check)
{
    struct staged s;
    struct err err;
    struct target_config cfg = { .name = target_name };
    staged_init(&s, "t", "id:integer!, valid_to:date", MODE_UPSERT, 0);
    CHECK_OK(target_check(&target_sqlite, &cfg, &s.spec, &err), err);
    s.spec.version = 0;
    CHECK_EQ(target_check(&target_sqlite, &cfg, &s.spec, &err), -1);
    CHECK_HAS(err.msg, "'id' is in the key");
    s.spec.version = -1;
    s.spec.name = "raw.t";
    CHECK_EQ(target_check(&target_sqlite, &cfg, &s.spec, &err), -1);
    CHECK_HAS(err.msg, "no schemas; name the table w.t");
    staged_clear(&s);
}

static int try_undo(struct target_conn *c, const char *uid, struct load_counts *n, struct err *err)
{
    struct err other;
    CHECK_OK(target_sqlite.begin(c, &other), other);
    int rc = target_sqlite.undo(c, uid, n, err);
    CHECK_OK(target_sqlite.commit(c, &other), other);
    return rc;
}

TEST(sqlite, undo_puts_back_every_byte_of_an_own_table)
{
    static const int64_t ids[] = { 1, 2 }, other[] = { 9 };
    static const char *const names[] = { "new", "added" };
    static const char all[] = "SELECT group_concat(quote(id) || quote(name) || quote(extra) || quote(r) || quote(twice), ';') FROM"
                              " (SELECT * FROM t ORDER BY id)";
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000) {
        struct staged s, late;
        struct load_job again;
        struct load_counts n;
        struct err err;
        char before[4096];
        new_warehouse();
        sql_into("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, extra, r REAL, twice AS (id * 2) STORED);"
                 "INSERT INTO t (id, name, extra, r) VALUES (1, 'old', x'00ff', 0.1), (5, NULL, 1e300, NULL)");
        snprintf(before, sizeof before, "%s", ask(all));
        struct target_conn *c = open_warehouse();
        stage_pairs(&s, "t", MODE_UPSERT, 0, inline_max, 2, ids, names);
        stage_pairs(&late, "t", MODE_UPSERT, 0, inline_max, 1, other, names);
        s.spec.undo_ms = late.spec.undo_ms = 3600000;
        load(c, "u1", &s, 1);
        CHECK(strcmp(before, ask(all)) != 0);
        CHECK_EQ(try_undo(c, "nobody", &n, &err), 0);
        CHECK_EQ(try_undo(c, "u1", &n, &err), 1);
        CHECK_EQ(n.removed, 2);
        CHECK_EQ(n.inserted, 1);
        CHECK_STR(ask(all), before);
        CHECK_EQ(target_sqlite.loaded(c, "u1", &n, &err), -1);
        CHECK_STR(err_name(err.code), "undone");
        CHECK_EQ(try_load(c, "u1", &s, 1, &again, &err), -1);
        CHECK_STR(err_name(err.code), "undone");
        CHECK_STR(ask(all), before);
        CHECK_EQ(try_undo(c, "u1", &n, &err), 1); /* the queue may not know that it is done */
        CHECK_EQ(n.removed, 0);
        CHECK_STR(ask(all), before);
        /* more columns do not matter */
        load(c, "u2", &s, 1);
        sql_into("ALTER TABLE t ADD COLUMN more TEXT");
        load(c, "u3", &late, 1);
        CHECK_EQ(try_undo(c, "u2", &n, &err), 1);
        CHECK_EQ(try_undo(c, "u3", &n, &err), 1);
        CHECK_STR(ask(all), before);
        /* what was kept of a table that lacks one of them now does not fit it */
        load(c, "u4", &s, 1);
        sql_into("ALTER TABLE t DROP COLUMN more");
        load(c, "u5", &late, 1);
        CHECK_EQ(try_undo(c, "u4", &n, &err), -1);
        CHECK_STR(err_name(err.code), "state");
        CHECK_HAS(err.msg, "the columns of table 't' were changed since");
        CHECK_EQ(try_undo(c, "u5", &n, &err), 1);
        target_sqlite.close(c);
        staged_clear(&s);
        staged_clear(&late);
    }
}

/* check refuses such parts together; jobs of before it did are there. */
TEST(sqlite, undo_refuses_a_job_whose_parts_changed_rows_of_each_other)
{
    static const int64_t ids[][2] = { { 2, 3 }, { 3, 4 } };
    static const char *const names[] = { "a", "b" };
    static const enum load_mode first[] = { MODE_REPLACE, MODE_INSERT_IGNORE };
    for (size_t i = 0; i < COUNT_OF(first); i++) {
        struct staged parts[2], s;
        struct load_counts n;
        struct err err;
        new_warehouse();
        sql_into("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, _job TEXT)");
        struct target_conn *c = open_warehouse();
        stage_pairs(&s, "t", MODE_UPSERT, 0, 1000, 2, (int64_t[]){ 1, 2 }, names);
        stage_pairs(&parts[0], "t", first[i], 0, 1000, 2, ids[0], names);
        stage_pairs(&parts[1], "t", MODE_UPSERT, 0, 1000, 2, ids[1], names);
        s.spec.undo_ms = parts[0].spec.undo_ms = parts[1].spec.undo_ms = 3600000;
        load(c, "u1", &s, 1);
        load(c, "u2", parts, 2);
        CHECK_EQ(try_undo(c, "u2", &n, &err), -1);
        CHECK_STR(err_name(err.code), "state");
        CHECK_HAS(err.msg, "several parts of the job loaded table 't'");
        target_sqlite.close(c);
        staged_clear(&s);
        staged_clear(&parts[0]);
        staged_clear(&parts[1]);
    }
}

TEST(sqlite, a_ledger_of_an_earlier_version_is_brought_up_to_date)
{
    static const int64_t ids[] = { 1 };
    static const char *const names[] = { "a" };
    struct staged s;
    struct err err;
    new_warehouse();
    struct target_conn *c = open_warehouse();
    stage_pairs(&s, "t", MODE_REPLACE, 0, 1000, 1, ids, names);
    load(c, "u1", &s, 1);
    target_sqlite.close(c);
    sql_into("ALTER TABLE qetl_load DROP COLUMN undone_at");
    c = open_warehouse();
    load(c, "u2", &s, 1);
    CHECK_STR(ask("SELECT group_concat(uid || ifnull(undone_at, '-')) FROM qetl_load"), "u1-,u2-");
    CHECK_EQ(target_sqlite.loaded(c, "u1", &(struct load_counts){ 0 }, &err), 1);
    target_sqlite.close(c);
    staged_clear(&s);
}

TEST(sqlite, after_load_knows_its_job_and_nothing_of_transactions)
{
    static const struct {
        const char *sql, *refusal;
    } bad[] = {
        { "COMMIT", "after_load: statement 1, line 1, column 1: it may not begin or end transactions" },
        { "INSERT INTO log VALUES ('x'); ROLLBACK", "after_load: statement 2, line 1, column 31: it may not begin or end transactions" },
        { "SAVEPOINT a", "savepoints" },
        { "ATTACH ':memory:' AS m", "attach" },
        { "PRAGMA synchronous = OFF", "PRAGMA" },
        { "DELETE FROM qetl_load", "tables of qetl itself" },
        { "INSERT INTO log VALUES ('x'); SELEC", "after_load: statement 2, line 1, column 31: near \"SELEC\"" },
        { "; ;INSERT INTO log VALUES ('x');; ;DELETE FROM lug", "after_load: statement 2, line 1, column 48: no such table: lug" },
        { "INSERT INTO log\n  VALUES ('x');\n-- ;\nDELETE FROM\n  lug", "after_load: statement 2, line 5, column 3: no such table: lug" },
        { "SELECT 1;\n\nSELECT 'x", "after_load: statement 2, line 3, column 8: quotes are never closed: 'x" },
        { "INSERT INTO log VALUES ('x');\nINSERT INTO log SELECT json('{')", "after_load: statement 2, line 2, column 1: malformed JSON" },
    };
    struct staged s;
    struct load_job job;
    struct load_output outputs[JOB_OUTPUTS];
    struct err err;
    new_warehouse();
    sql_into("CREATE TABLE log (line TEXT)");
    struct target_conn *c = open_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 5, 65536);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_OK(target_sqlite.begin(c, &err), err);
        job = job_of("bad", outputs, &s, 1);
        job.after_load = bad[i].sql;
        CHECK_EQ(target_sqlite.load_job(c, &job, &err), -1);
        CHECK_STR(err_name(err.code), "after-load");
        CHECK_HAS(err.msg, bad[i].refusal);
        CHECK_OK(target_sqlite.commit(c, &err), err);
        CHECK_STR(ask("SELECT count(*) FROM log"), "0");
    }
    CHECK_OK(target_sqlite.begin(c, &err), err);
    job = job_of("good", outputs, &s, 1);
    job.after_load = "-- :job\nINSERT INTO log SELECT :job || ' :job ' || count(*) /* :job */ || \":jobs\" FROM (SELECT '' AS"
                     " \":jobs\", 1 FROM t); CREATE TABLE more (a); INSERT INTO more VALUES (1)";
    CHECK_OK(target_sqlite.load_job(c, &job, &err), err);
    CHECK_OK(target_sqlite.commit(c, &err), err);
    CHECK_STR(ask("SELECT line FROM log"), "good :job 5");
    CHECK_STR(ask("SELECT count(*) FROM more"), "1");
    /* what was there is not done again */
    CHECK_OK(target_sqlite.begin(c, &err), err);
    job = job_of("good", outputs, &s, 1);
    job.after_load = "INSERT INTO log VALUES ('again')";
    CHECK_OK(target_sqlite.load_job(c, &job, &err), err);
    CHECK(job.was_there);
    CHECK_OK(target_sqlite.commit(c, &err), err);
    CHECK_STR(ask("SELECT count(*) FROM log"), "1");
    staged_clear(&s);
    target_sqlite.close(c);
}

/* Tables that are not there are no fault; nothing that a load would take is refused. */
TEST(sqlite, after_load_is_checked_without_tables)
{
    static const struct {
        const char *sql, *fault; /* NULL: good */
    } cases[] = {
        { "", NULL },
        { ";; -- nothing", NULL },
        { "INSERT INTO nix SELECT a, b FROM t WHERE job = :job;\nDELETE FROM nix WHERE a < :watermark", NULL },
        { "CREATE TABLE x (a); INSERT INTO x (a, b) VALUES (1); UPDATE x SET c = x.d; DROP INDEX i; SELECT nix FROM x ORDER BY 9", NULL },
        { "CREATE TRIGGER r AFTER INSERT ON t BEGIN DELETE FROM u; DELETE FROM v; END; SELECT 1", NULL },
        { "WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a WHERE true ON CONFLICT (k) DO UPDATE SET v = excluded.v RETURNING k", NULL },
        { "UPDATE t SET v = lower(v), w = json_extract(w, '$.a:b') WHERE [k:1] = ':nobody' /* :nobody */", NULL },
        { "SELEC 1", "after_load: statement 1, line 1, column 1: near \"SELEC\": syntax error" },
        { "DELETE FROM nix;\n  UPDATE nix SET a b", "after_load: statement 2, line 2, column 20: near \"b\": syntax error" },
        { "INSERT INTO nix SELECT 1;\nSELECT 1 +", "after_load: statement 2, line 2, column 11: incomplete input" },
        { "; ;SELECT 1;;\nSELEC 2", "after_load: statement 2, line 2, column 1: near \"SELEC\"" },
        { ";;\nSELECT 1;; ;SELECT 2;/* ; */;\n;SELEC 3", "after_load: statement 3, line 3, column 2: near \"SELEC\"" },
        { "SELECT lenght('a')", "after_load: statement 1, line 1, column 8: no such function: lenght" },
        { "SELECT 1; BEGIN", "after_load: statement 2, line 1, column 11: it may not begin or end transactions" },
        { "PRAGMA user_version", "it may not use PRAGMA" },
        { "SELECT ?", "after_load: statement 1: there is no parameter '?'" },
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int rc = target_sqlite.check_after(cases[i].sql, &err);
        if (!cases[i].fault)
            CHECK_OK(rc, err);
        CHECK_EQ(rc, cases[i].fault ? -1 : 0);
        if (cases[i].fault)
            CHECK_HAS(err.msg, cases[i].fault);
    }
}

TEST(target, a_word_with_a_colon_is_a_parameter_of_after_load_or_refused)
{
    static const struct {
        const char *sql, *fault;
    } cases[] = {
        { "SELECT :job, :pipeline,:watermark FROM t WHERE a=:previous_watermark", NULL },
        { "SELECT a::text, b ::int, c[1:n], d[:n], ':jobb', \":jobb\" -- :jobb\n/* :jobb */", NULL },
        { "DO $$ BEGIN x := :jobb; END $$; SELECT $a$:jobb$a$", NULL },
        { "SET @a:=1; SELECT 'it\\'s :jobb', ':jobb' # :jobb", NULL },
        { "SELECT 1;\n  DELETE FROM t WHERE a = :jobb", "after_load: line 2, column 27: there is no parameter ':jobb'; there are :job, :pipeline" },
        { "SELECT (:watermarks)", "line 1, column 9: there is no parameter ':watermarks'" },
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int rc = load_params_check(cases[i].sql, &err);
        if (!cases[i].fault)
            CHECK_OK(rc, err);
        CHECK_EQ(rc, cases[i].fault ? -1 : 0);
        if (cases[i].fault)
            CHECK_HAS(err.msg, cases[i].fault);
    }
}

TEST(sqlite, after_load_gets_its_parameters_as_values)
{
    struct staged s;
    struct load_job job;
    struct load_output outputs[JOB_OUTPUTS];
    struct err err;
    new_warehouse();
    sql_into("CREATE TABLE log (job, at, before)");
    struct target_conn *c = open_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 5, 65536);
    CHECK_OK(target_sqlite.begin(c, &err), err);
    job = job_of("u1", outputs, &s, 1);
    job.after_load = "INSERT INTO log VALUES (:job, :watermark, :previous_watermark); -- the end\n";
    job.watermark = "2024-01-01 10:00:00.5'; DROP TABLE t; --";
    CHECK_OK(target_sqlite.load_job(c, &job, &err), err);
    job = job_of("u2", outputs, &s, 1);
    job.after_load = "SELECT :nobody";
    CHECK_EQ(target_sqlite.load_job(c, &job, &err), -1);
    CHECK_STR(err_name(err.code), "after-load");
    CHECK_HAS(err.msg, "after_load: statement 1: there is no parameter ':nobody'; there are :job, :pipeline, :watermark and :previous_watermark");
    job.after_load = "SELECT ?";
    CHECK_EQ(target_sqlite.load_job(c, &job, &err), -1);
    CHECK_OK(target_sqlite.commit(c, &err), err);
    CHECK_STR(ask("SELECT job || at || ifnull(before, ' none') FROM log"), "u12024-01-01 10:00:00.5'; DROP TABLE t; -- none");
    CHECK_STR(ask("SELECT count(*) FROM t"), "5");
    staged_clear(&s);
    target_sqlite.close(c);
}

TEST(sqlite, parameters_of_after_load_are_told_from_each_other)
{
    static const char *const with[LOAD_PARAMS] = { "<job>", "<of>", "<now>", "<before>::text" };
    AUTO(buf_clear) struct buf out = { 0 };
    load_params_fill(&out, ":job, :pipeline, :watermark, :previous_watermark ':watermark' :jobs a::job", with);
    CHECK(!out.failed);
    CHECK_STR(out.p, "<job>, <of>, <now>, <before>::text ':watermark' :jobs a::job");
}

TEST(sqlite, words_in_sql_are_filled_in_outside_of_quotes_and_comments)
{
    AUTO(buf_clear) struct buf out = { 0 };
    sql_fill(&out, "a::jobs :job ::job ':job' \":job\" `:job` -- :job\n:job/* :job */:jobs:job_:job", ":job", "'u'");
    CHECK_STR(out.p, "a::jobs 'u' ::job ':job' \":job\" `:job` -- :job\n'u'/* :job */:jobs:job_'u'");
}

TEST(sqlite, upsert_takes_a_key_of_several_columns)
{
    struct staged s;
    struct value v[] = { { .i = 1 }, { .p = "x", .n = 1 }, { .i = 10 },
                         { .i = 1 }, { .p = "y", .n = 1 }, { .i = 11 },
                         { .i = 1 }, { .p = "x", .n = 1 }, { .i = 12 } };
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000) {
        new_warehouse();
        struct target_conn *c = open_warehouse();
        staged_init(&s, "t", "a:integer!, b:text!, c:integer", MODE_UPSERT, 0);
        s.key[1] = 1;
        s.spec.nkey = 2;
        stage_rows(&s, v, 3, inline_max);
        load(c, "u", &s, 1);
        CHECK_STR(ask("SELECT group_concat(a || b || c) FROM (SELECT * FROM t ORDER BY c)"),
                  "1y11,1x12");
        staged_clear(&s);
        staged_init(&s, "u", "a:integer!, b:text!", MODE_UPSERT, 0); /* nothing but the key */
        s.key[1] = 1;
        s.spec.nkey = 2;
        struct value only[] = {
            { .i = 1 }, { .p = "x", .n = 1 }, { .i = 1 }, { .p = "x", .n = 1 }
        };
        stage_rows(&s, only, 2, inline_max);
        load(c, "v", &s, 1);
        CHECK_STR(ask("SELECT count(*) FROM u"), "1");
        staged_clear(&s);
        target_sqlite.close(c);
    }
}

TEST(sqlite, names_of_any_kind_are_quoted)
{
    struct staged s;
    struct err err;
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000) {
        new_warehouse();
        struct target_conn *c = open_warehouse();
        staged_init(&s, "select \"x", "id:integer!, b:integer", MODE_UPSERT, 0);
        free(s.columns.v[1].name);
        s.columns.v[1].name = strdup("rowid");
        free(s.columns.v[0].name);
        s.columns.v[0].name = strdup("a \"b\" c");
        stage_rows(&s,
                   (struct value[]){
                       { .i = 2 }, { .i = 20 }, { .i = 1 }, { .i = 10 }, { .i = 2 }, { .i = 21 } },
                   3, inline_max);
        load(c, "u", &s, 1);
        CHECK_STR(
            ask("SELECT group_concat(\"a \"\"b\"\" c\" || ' ' || \"rowid\") FROM \"select \"\"x\""),
            "1 10,2 21");
        CHECK_EQ(target_sqlite.loaded(c, "u", &(struct load_counts){ 0 }, &err), 1);
        staged_clear(&s);
        target_sqlite.close(c);
    }
}

/* ---- tables of the user's own ---- */

TEST(sqlite, columns_of_an_own_table_are_found_by_name)
{
    struct staged s;
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000) {
        new_warehouse();
        sql_into("CREATE TABLE t (NAME TEXT, note TEXT, seen DEFAULT 5 NOT NULL, double AS (id * "
                 "2), ID INTEGER)");
        struct target_conn *c = open_warehouse();
        stage_pairs(&s, "t", MODE_APPEND, -1, inline_max, 2, (int64_t[]){ 1, 2 },
                    (const char *[]){ "a", "b" });
        load(c, "u", &s, 1);
        CHECK_STR(
            ask("SELECT group_concat(id || name || seen || double || coalesce(note, '-')) FROM t"),
            "1a52-,2b54-");
        staged_clear(&s);
        target_sqlite.close(c);
    }
}

TEST(sqlite, a_real_stays_one_in_an_own_column_of_any_kind)
{
    struct value v[] = { { .i = 1 }, { .r = 3.0 }, { .i = 2 }, { .r = 0.5 } };
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000) {
        struct staged s;
        new_warehouse();
        sql_into("CREATE TABLE t (id INTEGER, weight, other)");
        struct target_conn *c = open_warehouse();
        staged_init(&s, "t", "id:integer!, weight:real", MODE_APPEND, -1);
        stage_rows(&s, v, 2, inline_max);
        load(c, "u", &s, 1);
        CHECK_STR(ask("SELECT group_concat(quote(weight)) FROM t"), "3.0,0.5");
        staged_clear(&s);
        target_sqlite.close(c);
    }
}

TEST(sqlite, what_does_not_fit_an_own_table_is_refused_with_what_to_do)
{
    static const struct {
        const char *create, *table, *part;
        enum load_mode mode;
    } cases[] = {
        { "CREATE TABLE t (id INTEGER)", "t",
          "has no column 'name'; run: ALTER TABLE \"t\" ADD COLUMN \"name\" TEXT", MODE_APPEND },
        { "CREATE TABLE t (id INTEGER, name TEXT)", "t",
          "run: CREATE UNIQUE INDEX \"t_key\" ON \"t\" (\"id\")", MODE_UPSERT },
        { "CREATE TABLE t (id INTEGER, name TEXT, more TEXT NOT NULL)", "t",
          "column 'more' of table 't' is NOT NULL without a default", MODE_APPEND },
        { "CREATE TABLE t (id INTEGER, name AS (id || 'x'))", "t",
          "column 'name' of table 't' is generated", MODE_APPEND },
        { "CREATE VIEW t AS SELECT 1 AS id, 'a' AS name", "t", "is a view", MODE_APPEND },
        { "SELECT 1", "qetl_load", "is the ledger", MODE_APPEND },
        { "SELECT 1", "other.t", "has no schemas", MODE_APPEND },
        { "SELECT 1", "sqlite_x", "reserved", MODE_APPEND },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct staged s;
        new_warehouse();
        sql_into(cases[i].create);
        struct target_conn *c = open_warehouse();
        stage_pairs(&s, cases[i].table, cases[i].mode, cases[i].mode == MODE_UPSERT ? 0 : -1, 1000,
                    1, (int64_t[]){ 1 }, (const char *[]){ "a" });
        check_refusal(c, &s, ERR_TARGET_REFUSED, cases[i].part);
        staged_clear(&s);
        target_sqlite.close(c);
    }
}

TEST(sqlite, a_row_that_a_constraint_refuses_is_named)
{
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000)
        for (int key = -1; key < 1; key++) {
            struct staged s;
            new_warehouse();
            sql_into("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'))");
            struct target_conn *c = open_warehouse();
            stage_pairs(&s, "t", MODE_APPEND, key, inline_max, 3, (int64_t[]){ 1, 2, 1 },
                        (const char *[]){ "a", "b", "c" });
            check_refusal(c, &s, ERR_TARGET_REFUSED, "row 3 of 3");
            check_refusal(c, &s, ERR_TARGET_REFUSED, "UNIQUE constraint failed: t.id");
            staged_clear(&s);
            stage_pairs(&s, "t", MODE_APPEND, key, inline_max, 2, (int64_t[]){ 1, 2 },
                        (const char *[]){ "a", "bad" });
            check_refusal(c, &s, ERR_TARGET_REFUSED, "row 2 of 2");
            staged_clear(&s);
            CHECK_STR(ask("SELECT count(*) FROM t"), "0");
            target_sqlite.close(c);
        }
}

TEST(sqlite, a_trigger_that_leaves_rows_out_is_found_out)
{
    for (size_t inline_max = 0; inline_max < 2000; inline_max += 1000) {
        struct staged s;
        new_warehouse();
        sql_into("CREATE TABLE t (id INTEGER, name TEXT); CREATE TRIGGER g BEFORE INSERT ON t WHEN "
                 "new.id = 2 BEGIN SELECT raise(IGNORE); END");
        struct target_conn *c = open_warehouse();
        stage_pairs(&s, "t", MODE_APPEND, -1, inline_max, 3, (int64_t[]){ 1, 2, 3 },
                    (const char *[]){ "a", "b", "c" });
        check_refusal(c, &s, ERR_TARGET_REFUSED, "2 of 3 rows went in");
        staged_clear(&s);
        target_sqlite.close(c);
    }
}

TEST(sqlite, a_table_that_changes_between_two_groups_is_read_again)
{
    struct staged s;
    new_warehouse();
    struct target_conn *c = open_warehouse();
    stage_pairs(&s, "t", MODE_APPEND, -1, 1000, 1, (int64_t[]){ 1 }, (const char *[]){ "a" });
    load(c, "u1", &s, 1);
    sql_into("DROP TABLE t");
    load(c, "u2", &s, 1);
    CHECK_STR(ask("SELECT count(*) FROM t"), "1");
    sql_into("ALTER TABLE t RENAME COLUMN name TO title");
    check_refusal(c, &s, ERR_TARGET_REFUSED, "has no column 'name'");
    staged_clear(&s);
    target_sqlite.close(c);
}

/* ---- all or nothing, once ---- */

TEST(sqlite, a_refused_job_leaves_nothing_and_its_group_goes_on)
{
    struct err err;
    struct staged good[3], bad[2];
    struct load_output outputs[5][2];
    new_warehouse();
    sql_into("CREATE TABLE strict_one (id INTEGER, name TEXT CHECK (name <> 'bad'))");
    for (int i = 0; i < 3; i++)
        stage_plain(&good[i], "t", MODE_APPEND, -1, i * 100, 100, i ? 0 : 65536);
    stage_plain(&bad[0], "made_by_bad", MODE_APPEND, -1, 0, 100, 0);
    stage_pairs(&bad[1], "strict_one", MODE_APPEND, -1, 0, 2, (int64_t[]){ 1, 2 },
                (const char *[]){ "a", "bad" });
    struct target_conn *c = open_warehouse();
    struct load_job jobs[] = { job_of("g0", outputs[0], &good[0], 1),
                               job_of("bad", outputs[1], bad, 2),
                               job_of("g1", outputs[2], &good[1], 1),
                               job_of("bad2", outputs[3], bad, 2),
                               job_of("g2", outputs[4], &good[2], 1) };
    CHECK_OK(target_sqlite.begin(c, &err), err);
    for (int i = 0; i < 5; i++) {
        int rc = target_sqlite.load_job(c, &jobs[i], &err);
        CHECK_EQ(rc, i % 2 ? -1 : 0);
        CHECK(rc == 0 || err.code == ERR_TARGET_REFUSED);
        CHECK_EQ(jobs[i].counts.inserted, i % 2 ? 0 : 100);
    }
    CHECK_OK(target_sqlite.commit(c, &err), err);
    CHECK_STR(ask("SELECT count(*) FROM t"), "300");
    CHECK_STR(ask("SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = "
                  "'table' ORDER BY name)"),
              "qetl_load,strict_one,t");
    CHECK_STR(ask("SELECT count(*) FROM strict_one"), "0");
    CHECK_STR(ask("SELECT group_concat(uid || rows) FROM qetl_load"), "g0100,g1100,g2100");
    target_sqlite.close(c);
    for (int i = 0; i < 3; i++)
        staged_clear(&good[i]);
    staged_clear(&bad[0]);
    staged_clear(&bad[1]);
}

TEST(sqlite, a_table_made_by_a_refused_job_is_made_again)
{
    struct err err;
    struct staged bad[2];
    struct load_output outputs[2][2];
    for (size_t inline_max = 0; inline_max < 100000; inline_max += 65536) {
        new_warehouse();
        sql_into("CREATE TABLE strict_one (id INTEGER, name TEXT CHECK (name <> 'bad'))");
        stage_plain(&bad[0], "t", MODE_APPEND, -1, 0, 100, inline_max);
        stage_pairs(&bad[1], "strict_one", MODE_APPEND, -1, 0, 1, (int64_t[]){ 1 },
                    (const char *[]){ "bad" });
        struct target_conn *c = open_warehouse();
        struct load_job job = job_of("bad", outputs[0], bad, 2),
                        good = job_of("good", outputs[1], bad, 1);
        CHECK_OK(target_sqlite.begin(c, &err), err);
        CHECK_EQ(target_sqlite.load_job(c, &job, &err), -1);
        CHECK_OK(target_sqlite.load_job(c, &good, &err), err);
        CHECK_OK(target_sqlite.commit(c, &err), err);
        CHECK_STR(ask("SELECT count(*) FROM t"), "100");
        target_sqlite.close(c);
        staged_clear(&bad[0]);
        staged_clear(&bad[1]);
    }
}

TEST(sqlite, a_job_in_the_ledger_is_not_loaded_again)
{
    struct err err;
    struct staged s;
    new_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 10, 65536);
    struct target_conn *c = open_warehouse();
    CHECK_EQ(target_sqlite.loaded(c, "u", &(struct load_counts){ 0 }, &err), 0); /* there is no ledger yet */
    CHECK(!load(c, "u", &s, 1).was_there);
    CHECK(load(c, "u", &s, 1).was_there);
    CHECK_EQ(target_sqlite.loaded(c, "u", &(struct load_counts){ 0 }, &err), 1);
    CHECK_EQ(target_sqlite.loaded(c, "v", &(struct load_counts){ 0 }, &err), 0);
    CHECK_STR(ask("SELECT count(*) FROM t"), "10");
    CHECK_STR(ask("SELECT uid || ' ' || job || ' ' || pipeline || ' ' || objects || ' ' || rows "
                  "FROM qetl_load"),
              "u 7 p [\"file:///in.csv\"] 10");
    CHECK_STR(ask("SELECT abs(julianday('now') - julianday(loaded_at)) < 0.01 FROM qetl_load"),
              "1");
    target_sqlite.close(c);
    staged_clear(&s);
}

TEST(sqlite, a_group_that_is_rolled_back_leaves_nothing)
{
    struct err err;
    struct staged s;
    struct load_output outputs[1];
    new_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 1000, 0);
    struct target_conn *c = open_warehouse();
    for (int i = 0; i < 3; i++) {
        CHECK_OK(target_sqlite.begin(c, &err), err);
        struct load_job job = job_of("u", outputs, &s, 1);
        CHECK_OK(target_sqlite.load_job(c, &job, &err), err);
        target_sqlite.rollback(c);
        CHECK_STR(ask("SELECT count(*) FROM sqlite_schema"), "0");
    }
    CHECK_EQ(load(c, "u", &s, 1).counts.inserted, 1000);
    target_sqlite.close(c);
    staged_clear(&s);
}

TEST(sqlite, a_damaged_output_is_refused)
{
    struct staged s, other;
    new_warehouse();
    struct target_conn *c = open_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 1000, 0);
    AUTO(fd_closep) int fd = open(s.path, O_RDWR);
    CHECK_EQ(pwrite(fd, "x", 1, s.output.bytes / 2), 1);
    check_refusal(c, &s, ERR_STAGED_DAMAGED, "checksum");
    CHECK_EQ(ftruncate(fd, 8192), 0);
    check_refusal(c, &s, ERR_STAGED_DAMAGED, "8192 bytes");
    CHECK_EQ(unlink(s.path), 0);
    check_refusal(c, &s, ERR_STAGED_DAMAGED, "not there");
    staged_clear(&s);
    for (size_t inline_max = 0; inline_max < 2000;
         inline_max += 1000) { /* staged for other columns than it is loaded for */
        stage_pairs(&s, "t", MODE_APPEND, -1, inline_max, 1, (int64_t[]){ 1 },
                    (const char *[]){ "a" });
        staged_init(&other, "t", "id:integer!, name:json", MODE_APPEND, -1);
        s.spec.columns = &other.columns;
        check_refusal(c, &s, ERR_STAGED_DAMAGED, "staged for");
        staged_clear(&s);
        staged_clear(&other);
    }
    stage_pairs(&s, "t", MODE_APPEND, -1, 1000, 2, (int64_t[]){ 1, 2 },
                (const char *[]){ "a", "b" });
    for (size_t n = s.output.inlined.n; n-- > 0;) {
        s.output.inlined.n = n;
        check_refusal(c, &s, ERR_STAGED_DAMAGED, "is cut");
        s.output.bytes = (int64_t)n; /* and when the queue believes it: a row is missing or cut */
        check_refusal(c, &s, ERR_STAGED_DAMAGED, "inline output");
        s.output.bytes = -1;
    }
    staged_clear(&s);
    CHECK_STR(ask("SELECT count(*) FROM sqlite_schema WHERE name = 't'"), "0");
    target_sqlite.close(c);
}

/* ---- opening ---- */

static void check_open_refusal(const char *url, bool create, enum err_code code, const char *part)
{
    struct err err;
    struct target_conn *c = NULL;
    struct target_config cfg = { .name = target_name, .url = (char *)url };
    CHECK_EQ(target_sqlite.open(&c, NULL, &cfg, create, &err), -1);
    CHECK_STR(err_name(err.code), err_name(code));
    CHECK_HAS(err.msg, part);
}

static const char *url_of(const char *name)
{
    static char url[600];
    snprintf(url, sizeof url, "sqlite://%s", test_file(name));
    return url;
}

TEST(sqlite, what_cannot_be_a_warehouse_is_refused)
{
    AUTO(fd_closep) int fd = open(test_file("text"), O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(write(fd, "no database\n", 12), 12);
    CHECK_EQ(close(open(test_file("readonly.db"), O_RDWR | O_CREAT, 0400)), 0);
    check_open_refusal(url_of("."), true, ERR_TARGET, "is a folder, not a database file");
    CHECK_EQ(mkfifo(test_file("pipe"), 0600), 0);
    check_open_refusal(url_of("pipe"), true, ERR_TARGET, "no regular file");
    check_open_refusal(url_of("text"), true, ERR_TARGET, "not a database");
    check_open_refusal(url_of("readonly.db"), true, ERR_TARGET, "is read-only");
    check_open_refusal(url_of("missing.db"), false, ERR_TARGET, "does not exist");
    check_open_refusal(url_of("missing/x.db"), true, ERR_TARGET, "there is no folder");
    check_open_refusal("sqlite://host/x.db", true, ERR_CONFIG, "expected sqlite:///");
    check_open_refusal("sqlite:", true, ERR_CONFIG, "expected sqlite:///");
    setenv("QETL_TEST_FS", "nfs", 1);
    check_open_refusal(url_of("new.db"), true, ERR_NETWORK_FS, "network file system (nfs)");
    unsetenv("QETL_TEST_FS");
    CHECK_EQ(access(test_file("new.db"), F_OK), -1);
}

TEST(sqlite, a_target_is_found_by_its_url)
{
    struct err err;
    CHECK(target_by_url("sqlite:///x.db", &err) == &target_sqlite);
    CHECK(target_by_url("sqlitex:///x.db", &err) == NULL);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_HAS(err.msg, "sqlite:");
}

TEST(sqlite, a_path_may_hold_any_byte)
{
    struct staged s;
    struct err err;
    struct target_conn *c;
    char url[600];
    snprintf(url, sizeof url, "sqlite://%s/a%%20b%%3Fc%%25.db", test_dir());
    struct target_config cfg = { .name = target_name, .url = url };
    CHECK_OK(target_sqlite.open(&c, NULL, &cfg, true, &err), err);
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 10, 0);
    load(c, "u", &s, 1);
    target_sqlite.close(c);
    CHECK_EQ(access(test_file("a b?c%.db"), R_OK), 0);
    staged_clear(&s);
}

/* ---- beside other programs ---- */

TEST(sqlite, a_warehouse_that_was_replaced_is_not_written)
{
    struct err err;
    new_warehouse();
    struct target_conn *c = open_warehouse();
    sql_into("CREATE TABLE x (a)");
    CHECK_EQ(rename(warehouse, test_file("elsewhere.db")), 0);
    sql_into("CREATE TABLE y (a)");
    CHECK_EQ(target_sqlite.begin(c, &err), -1);
    CHECK_EQ(err.code, ERR_TARGET);
    CHECK_HAS(err.msg, "removed or replaced");
    target_sqlite.close(c);
}

/* A child that runs `sql`, says so, and lets go 200 ms after that; gives its pid. */
static pid_t hold(const char *sql)
{
    int pipefd[2];
    char c;
    CHECK_EQ(pipe(pipefd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3 *db;
        if (sqlite3_open(warehouse, &db) || sqlite3_exec(db, sql, NULL, NULL, NULL) ||
            write(pipefd[1], "x", 1) != 1)
            child_exit(1);
        nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
        child_exit(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK);
    }
    close(pipefd[1]);
    CHECK_EQ(read(pipefd[0], &c, 1), 1);
    close(pipefd[0]);
    return pid;
}

TEST(sqlite, another_programs_transaction_is_waited_for)
{
    struct staged s;
    int status;
    new_warehouse();
    sql_into("CREATE TABLE mine (a)");
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 10, 0);
    struct target_conn *c = open_warehouse();
    pid_t writer = hold("BEGIN IMMEDIATE; INSERT INTO mine VALUES (1)");
    load(c, "u1", &s, 1);
    CHECK_EQ(waitpid(writer, &status, 0), writer);
    CHECK_EQ(status, 0);
    pid_t reader = hold("BEGIN; SELECT * FROM mine"); /* holds up the commit */
    load(c, "u2", &s, 1);
    CHECK_EQ(waitpid(reader, &status, 0), reader);
    CHECK_EQ(status, 0);
    CHECK_STR(ask("SELECT count(*) FROM t"), "20");
    target_sqlite.close(c);
    staged_clear(&s);
}

TEST(sqlite, two_loaders_take_turns)
{
    enum { LOADERS = 4, JOBS = 25 };
    struct staged s;
    pid_t pids[LOADERS];
    new_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 10, 65536);
    for (int k = 0; k < LOADERS; k++)
        if ((pids[k] = fork()) == 0) {
            struct target_conn *c = open_warehouse();
            for (int i = 0; i < JOBS; i++) {
                char uid[32];
                snprintf(uid, sizeof uid, "u%d-%d", k, i);
                load(c, uid, &s, 1);
            }
            target_sqlite.close(c);
            child_exit(0);
        }
    for (int k = 0; k < LOADERS; k++) {
        int status;
        CHECK_EQ(waitpid(pids[k], &status, 0), pids[k]);
        CHECK_EQ(status, 0);
    }
    CHECK_STR(ask("SELECT count(*) FROM t"), "1000");
    CHECK_STR(ask("SELECT count(*) FROM qetl_load"), "100");
    staged_clear(&s);
}

TEST(sqlite, with_many_readers_a_reader_holds_nothing_up)
{
    struct err err;
    struct staged s;
    struct target_conn *c;
    sqlite3 *reader;
    struct stat st;
    char wal[600];
    new_warehouse();
    struct target_config cfg = config_of(true);
    CHECK_OK(target_sqlite.open(&c, NULL, &cfg, true, &err), err);
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 40000, 0);
    load(c, "u1", &s, 1);
    CHECK_STR(ask("PRAGMA journal_mode"), "wal");
    CHECK_EQ(sqlite3_open(warehouse, &reader), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(reader, "PRAGMA wal_autocheckpoint = 0; BEGIN; SELECT count(*) FROM t",
                          NULL, NULL, NULL),
             SQLITE_OK);
    for (int i = 0; i < 3; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "v%d", i);
        load(c, uid, &s, 1);
    }
    CHECK_EQ(sqlite3_exec(reader, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(reader);
    target_sqlite.close(c);
    snprintf(wal, sizeof wal, "%s-wal", warehouse);
    CHECK(stat(wal, &st) < 0 ||
          st.st_size == 0); /* nothing is left outside the file that people copy */
    CHECK_STR(ask("SELECT count(*) FROM t"), "160000");
    staged_clear(&s);
}

TEST(sqlite, an_owners_wal_mode_is_kept)
{
    struct staged s;
    new_warehouse();
    sql_into("PRAGMA journal_mode = WAL; CREATE TABLE mine (a)");
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 10, 0);
    struct target_conn *c = open_warehouse();
    load(c, "u", &s, 1);
    target_sqlite.close(c);
    CHECK_STR(ask("PRAGMA journal_mode"), "wal");
    CHECK_STR(ask("SELECT count(*) FROM t"), "10");
    staged_clear(&s);
}

/* A limit on the size of files stands for the full disk: SQLite's write fails in the middle of the
 * transaction. */
TEST(sqlite, a_disk_that_is_full_passes)
{
    struct staged s;
    new_warehouse();
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 20000, 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        struct load_output outputs[1];
        struct rlimit limit = { 1 << 20, RLIM_INFINITY };
        signal(SIGXFSZ, SIG_IGN);
        struct target_conn *c = open_warehouse();
        setrlimit(RLIMIT_FSIZE, &limit);
        struct load_job job = job_of("u", outputs, &s, 1);
        if (target_sqlite.begin(c, &err) < 0)
            child_exit(10);
        if (target_sqlite.load_job(c, &job, &err) == 0 && target_sqlite.commit(c, &err) == 0)
            child_exit(11);
        if (err_class(err.code) != ERR_TRANSIENT)
            child_exit(12);
        target_sqlite.rollback(c);
        if (target_sqlite.loaded(c, "u", &(struct load_counts){ 0 }, &err) != 0)
            child_exit(13);
        limit.rlim_cur = RLIM_INFINITY;
        setrlimit(RLIMIT_FSIZE, &limit);
        if (target_sqlite.begin(c, &err) < 0 || target_sqlite.load_job(c, &job, &err) < 0 ||
            target_sqlite.commit(c, &err) < 0)
            child_exit(14);
        target_sqlite.close(c);
        child_exit(0);
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_STR(ask("SELECT count(*) FROM t"), "20000");
    CHECK_STR(ask("PRAGMA integrity_check"), "ok");
    staged_clear(&s);
}

/* ---- killed ---- */

enum { CRASH_JOBS = 12 };

static void crash_uid(char uid[32], int i)
{
    snprintf(uid, 32, "job-%02d", i);
}

/* Load all jobs in groups of three, as a loader does: what the ledger has is passed over. */
static void loader_child(struct staged *staged)
{
    struct err err;
    struct target_conn *c = open_warehouse();
    for (int i = 0; i < CRASH_JOBS; i += 3) {
        if (target_sqlite.begin(c, &err) < 0)
            child_exit(1);
        for (int k = i; k < i + 3; k++) {
            struct load_output outputs[2];
            char uid[32];
            crash_uid(uid, k);
            struct load_job job = job_of(uid, outputs, staged + 2 * k, 2);
            if (target_sqlite.load_job(c, &job, &err) < 0)
                child_exit(2);
        }
        if (target_sqlite.commit(c, &err) < 0)
            child_exit(3);
    }
    target_sqlite.close(c);
    child_exit(0);
}

/* Each job in the ledger has all its rows in both tables, each other job has none. */
static void check_exactly_once(void)
{
    if (access(warehouse, F_OK) < 0)
        return;
    CHECK_STR(ask("PRAGMA integrity_check"), "ok");
    if (!strcmp(ask("SELECT count(*) FROM sqlite_schema WHERE name = 'qetl_load'"), "0")) {
        CHECK_STR(ask("SELECT count(*) FROM sqlite_schema"), "0");
        return;
    }
    int jobs = atoi(ask("SELECT count(*) FROM qetl_load"));
    CHECK(jobs == 0 || jobs % 3 == 0);
    if (jobs == 0)
        return;
    /* job k has the ids from k * 1000 on: 300 in table a (staged in a file), 20 in table b (inline)
     */
    CHECK_STR(ask("SELECT count(*) FROM (SELECT id / 1000 AS k, count(*) AS n, count(DISTINCT id) "
                  "AS d FROM a GROUP BY 1) WHERE n = 300 AND d = 300 AND"
                  " printf('job-%02d', k) IN (SELECT uid FROM qetl_load)"),
              ask("SELECT count(*) FROM qetl_load"));
    CHECK_STR(ask("SELECT count(*) FROM (SELECT id / 1000 AS k, count(*) AS n, count(DISTINCT id) "
                  "AS d FROM b GROUP BY 1) WHERE n = 20 AND d = 20 AND"
                  " printf('job-%02d', k) IN (SELECT uid FROM qetl_load)"),
              ask("SELECT count(*) FROM qetl_load"));
    CHECK_EQ(atoi(ask("SELECT count(*) FROM a")), jobs * 300);
    CHECK_EQ(atoi(ask("SELECT count(*) FROM b")), jobs * 20);
}

static void stage_crash_jobs(struct staged *s)
{
    for (int k = 0; k < CRASH_JOBS; k++) {
        stage_plain(&s[2 * k], "a", MODE_APPEND, -1, k * 1000, 300, 0);
        stage_plain(&s[2 * k + 1], "b", MODE_APPEND, -1, k * 1000, 20, 65536);
    }
}

TEST(sqlite, a_loader_killed_at_any_instant_loads_each_job_once)
{
    static struct staged s[2 * CRASH_JOBS];
    int killed = 0, finished = 0;
    stage_crash_jobs(s);
    for (int round = 0; round < 8; round++) {
        new_warehouse();
        uint64_t longest_us = 5000; /* grows, so that a slow machine comes to the end too */
        for (int status = 1; status != 0; longest_us += longest_us / 4) {
            pid_t pid = fork();
            if (pid == 0)
                loader_child(s);
            uint64_t us = next_random() % longest_us;
            nanosleep(&(struct timespec){ (time_t)(us / 1000000), (long)(us % 1000000 * 1000) },
                      NULL);
            kill(pid, SIGKILL);
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            CHECK(status == 0 || WIFSIGNALED(status));
            killed += status != 0;
            check_exactly_once();
        }
        finished += atoi(ask("SELECT count(*) FROM qetl_load")) == CRASH_JOBS;
    }
    CHECK_EQ(finished, 8);
    CHECK(killed > 0);
    for (int i = 0; i < 2 * CRASH_JOBS; i++)
        staged_clear(&s[i]);
}

TEST(sqlite, a_loader_killed_around_its_commit_loads_each_job_once)
{
    static const char *const points[] = { "target-before-commit", "target-after-commit" };
    static struct staged s[2 * CRASH_JOBS];
    stage_crash_jobs(s);
    for (size_t p = 0; p < COUNT_OF(points); p++) {
        new_warehouse();
        for (int n = 1; n <= CRASH_JOBS / 3; n++) {
            int status;
            pid_t pid = fork();
            if (pid == 0) {
                char fault[64];
                snprintf(fault, sizeof fault, "%s:%d:kill", points[p], n);
                setenv("QETL_FAULT", fault, 1);
                sys_faults_init();
                loader_child(s);
            }
            CHECK_EQ(waitpid(pid, &status, 0), pid);
            CHECK(WIFSIGNALED(status));
            check_exactly_once();
            CHECK_EQ(atoi(ask("SELECT count(*) FROM sqlite_schema WHERE name = 'qetl_load'")),
                     n > 1 || p == 1);
            if (n > 1 || p == 1)
                CHECK_EQ(atoi(ask("SELECT count(*) FROM qetl_load")), 3 * (n - 1 + (int)p));
        }
    }
    for (int i = 0; i < 2 * CRASH_JOBS; i++)
        staged_clear(&s[i]);
}

TEST(sqlite, an_uncertain_commit_is_settled_by_the_ledger)
{
    static const char *const points[] = { "target-before-commit:error",
                                          "target-after-commit:error" };
    struct staged s;
    stage_plain(&s, "t", MODE_APPEND, -1, 1, 10, 0);
    for (int p = 0; p < 2; p++) {
        int status;
        new_warehouse();
        pid_t pid = fork();
        if (pid == 0) {
            struct err err;
            struct load_output outputs[1];
            setenv("QETL_FAULT", points[p], 1);
            sys_faults_init();
            struct target_conn *c = open_warehouse();
            struct load_job job = job_of("u", outputs, &s, 1);
            if (target_sqlite.begin(c, &err) < 0 || target_sqlite.load_job(c, &job, &err) < 0)
                child_exit(10);
            if (target_sqlite.commit(c, &err) == 0 || err_class(err.code) != ERR_TRANSIENT)
                child_exit(11);
            target_sqlite.close(c);
            c = open_warehouse();
            child_exit(target_sqlite.loaded(c, "u", &(struct load_counts){ 0 }, &err));
        }
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), p);
    }
    staged_clear(&s);
}

/* ---- the sandbox ---- */

/* The sanitizers and valgrind make calls of their own. */
#if defined HAVE_SECCOMP && !defined __SANITIZE_ADDRESS__
static int given_fd(void *arg, int number, const char *ext, struct err *err)
{
    (void)number;
    (void)ext;
    (void)err;
    return *(int *)arg;
}

TEST(sqlite, the_encoder_needs_no_call_but_write_and_memory)
{
    static const int calls[] = { SCMP_SYS(read),          SCMP_SYS(write),
                                 SCMP_SYS(pwrite64),      SCMP_SYS(close),
                                 SCMP_SYS(mmap),          SCMP_SYS(munmap),
                                 SCMP_SYS(mremap),        SCMP_SYS(madvise),
                                 SCMP_SYS(brk),           SCMP_SYS(futex),
                                 SCMP_SYS(fdatasync),     SCMP_SYS(sync_file_range),
                                 SCMP_SYS(clock_gettime), SCMP_SYS(exit_group) };
    struct staged s;
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload"))
        skip();
    struct value *v = make_rows(1, 5000);
    staged_init(&s, "t", columns_text, MODE_APPEND, -1);
    struct err err;
    int fd = open_staged(&s, 0, "db", &err), status;
    pid_t pid = fork();
    if (pid == 0) {
        struct encoder *e;
        uint64_t staged = 0;
        struct place place = { 1, 0, STR("") };
        static const struct place *places[5000];
        for (int i = 0; i < 5000; i++)
            places[i] = &place;
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        for (size_t i = 0; i < COUNT_OF(calls); i++)
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
        if (seccomp_load(filter) < 0)
            _exit(20);
        const struct stage stage = { given_fd, &fd, 1000 };
        struct rows rows = { 5000, COLUMNS, v, places };
        if (target_sqlite.encode_open(&e, NULL, &s.spec, &stage, 0, &err) < 0 ||
            target_sqlite.encode_rows(e, &rows, NULL, &staged, &err) < 0 ||
            target_sqlite.encode_finish(e, &s.output, &err) < 0)
            _exit(21);
        target_sqlite.encode_close(e);
        _exit(s.output.in_file && staged == 5000 ? 0 : 22);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    close(fd);
    free(v);
    staged_clear(&s);
}
#endif
