/* Files made page by page, judged by SQLite: integrity_check, and every row read back. */
#include "target/sqlite_pages.h"

#include <fcntl.h>
#include <sqlite3.h>

#include "target/sqlite_record.h"
#include "test.h"

static uint64_t seed = 88172645463325252;
static uint64_t next_random(void) /* xorshift64, Marsaglia 2003 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static const char sql[] = "CREATE TABLE t (a TEXT)";
static char *text; /* the text of row k of length n is text + k % 1000 */
enum { TEXT_MAX = 8 << 20 };

static void make_text(void)
{
    if (text)
        return;
    text = malloc(TEXT_MAX + 1000);
    for (int i = 0; i < TEXT_MAX + 1000; i++)
        text[i] = (char)('a' + next_random() % 26);
}

struct made {
    const char *path;
    int64_t bytes;
    uint64_t checksum;
};

/* A table with texts of these lengths. */
static struct made make_file(const uint32_t *length, int n, const struct pages_limits *limits,
                             const char *create)
{
    struct err err;
    struct pages *p;
    struct made made = { .path = test_file("made.db") };
    const struct record_column column = { TYPE_TEXT, 0, true };
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    AUTO(fd_closep) int fd = open(made.path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    make_text();
    CHECK_OK(pages_open(&p, fd, limits, &err), err);
    for (int i = 0; i < n; i++) {
        struct value v = { .p = text + i % 1000, .n = length[i] };
        struct str record;
        struct row_fault fault;
        CHECK_EQ(record_encode(&b, &column, 1, &v, &record, &fault), RECORD_DONE);
        CHECK_OK(pages_add(p, record, &err), err);
    }
    CHECK_OK(pages_finish(p, "t", create, &made.bytes, &made.checksum, &err), err);
    pages_free(p);
    CHECK_EQ(lseek(fd, 0, SEEK_END), made.bytes);
    return made;
}

static void check_sound(sqlite3 *db)
{
    sqlite3_stmt *st;
    CHECK_EQ(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_step(st), SQLITE_ROW);
    CHECK_STR((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
}

static void check_file(const struct made *made, const uint32_t *length, int n, const char *create)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    CHECK_EQ(sqlite3_open_v2(made->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    check_sound(db);
    CHECK_EQ(sqlite3_prepare_v2(db, "SELECT rowid, a FROM t", -1, &st, NULL), SQLITE_OK);
    for (int i = 0; i < n; i++) {
        CHECK_EQ(sqlite3_step(st), SQLITE_ROW);
        CHECK_EQ(sqlite3_column_int(st, 0), i + 1);
        CHECK_EQ(sqlite3_column_bytes(st, 1), length[i]);
        if (length[i])
            assert_memory_equal(sqlite3_column_text(st, 1), text + i % 1000, length[i]);
    }
    CHECK_EQ(sqlite3_step(st), SQLITE_DONE);
    sqlite3_finalize(st);
    /* by rowid too: the keys of the interior pages */
    CHECK_EQ(sqlite3_prepare_v2(db, "SELECT length(a) FROM t WHERE rowid = ?", -1, &st, NULL),
             SQLITE_OK);
    for (int i = 0; i < n; i += 1 + n / 500) {
        sqlite3_bind_int(st, 1, i + 1);
        CHECK_EQ(sqlite3_step(st), SQLITE_ROW);
        CHECK_EQ(sqlite3_column_int(st, 0), length[i]);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    CHECK_EQ(sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_schema", -1, &st, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_step(st), SQLITE_ROW);
    CHECK_STR((const char *)sqlite3_column_text(st, 0), create);
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static void check_lengths(const uint32_t *length, int n, const struct pages_limits *limits)
{
    struct made made = make_file(length, n, limits, sql);
    check_file(&made, length, n, sql);
}

TEST(pages, of_no_row_and_of_one_are_a_database)
{
    check_lengths(NULL, 0, NULL);
    for (uint32_t n = 0; n < 20000; n += 997)
        check_lengths(&n, 1, NULL);
}

/* A record of a text of n bytes has n + 3 or n + 4 bytes. Around each of these sizes the shape of a
 * cell or chain changes. */
TEST(pages, are_sound_for_rows_of_every_size_around_a_boundary)
{
    static const uint32_t around[] = { 0,
                                       57,
                                       120,
                                       489,
                                       1000,
                                       2030,
                                       4061,
                                       4092,
                                       4096,
                                       489 + 4092,
                                       4061 + 4092,
                                       489 + 2 * 4092,
                                       4061 + 2 * 4092,
                                       65536 };
    static uint32_t length[3000];
    int n = 0;
    for (size_t i = 0; i < COUNT_OF(around); i++)
        for (int delta = -12; delta <= 12; delta++)
            for (int twice = 0; twice < 3; twice++)
                if ((int)around[i] + delta >= 0)
                    length[n++] = around[i] + (uint32_t)delta;
    check_lengths(length, n, NULL);
    for (int i = n - 1; i > 0; i--) { /* the same in random order */
        int k = (int)(next_random() % (uint64_t)(i + 1));
        uint32_t swap = length[i];
        length[i] = length[k];
        length[k] = swap;
    }
    check_lengths(length, n, NULL);
}

TEST(pages, are_sound_for_random_rows)
{
    enum { MOST = 20000 };
    static uint32_t length[MOST];
    for (int k = 0; k < 60; k++) {
        int n = (int)(next_random() % (k < 50 ? 1500 : MOST));
        uint64_t shape = next_random();
        uint32_t most = 1u << (n > 2000 ? shape % 9 : shape % 14);
        for (int i = 0; i < n; i++)
            length[i] = (uint32_t)(next_random() %
                                   (shape & 1024 && next_random() % 50 == 0 ? 20000 : most));
        check_lengths(length, n, NULL);
    }
}

TEST(pages, hold_records_of_several_megabytes)
{
    uint32_t length[] = { 3, TEXT_MAX, 5, 3 << 20, (1 << 20) + 1, 0, 4092 * 512, 4092 * 512 + 485 };
    check_lengths(length, COUNT_OF(length), NULL);
}

TEST(pages, are_sound_for_trees_of_many_levels)
{
    enum { MOST = 900 };
    static uint32_t length[MOST];
    for (uint32_t cells = 2; cells < 5; cells++)
        for (int n = 1; n < MOST; n += n < 40 ? 1 : 131) {
            for (int i = 0; i < MOST; i++)
                length[i] = 3000; /* one a leaf */
            check_lengths(length, n, &(struct pages_limits){ .interior_cells = cells });
        }
}

/* With SQLite's own limits an interior page of small rowids holds hundreds of children: two levels
 * above the leaves. */
TEST(pages, are_sound_for_two_full_levels)
{
    enum { MANY = 1500 };
    static uint32_t length[MANY];
    for (int i = 0; i < MANY; i++)
        length[i] = 3000;
    check_lengths(length, MANY, NULL);
}

/* SQLite locks bytes at 1 GiB and keeps no data on their page; both sides are told to have it
 * lower. */
TEST(pages, leave_the_lock_page_alone)
{
    static uint32_t length[60];
    for (int i = 0; i < 60; i++)
        length[i] = i % 7 == 0 ? 20000 : 1500;
    for (uint32_t page = 2; page < 70; page++) {
        sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, (page - 1) * PAGE_SIZE);
        check_lengths(length, 60, &(struct pages_limits){ .lock_page = page, .interior_cells = 3 });
    }
    sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 0x40000000);
}

TEST(pages, take_a_create_table_of_any_length)
{
    static char create[200000];
    static const uint32_t length[] = { 1, 2, 3 };
    for (int n = 3850; n < 4200; n++) {
        snprintf(create, sizeof create, "CREATE TABLE t (a TEXT, \"%0*d\" TEXT)", n, 7);
        struct made made = make_file(length, 3, NULL, create);
        check_file(&made, length, 3, create);
    }
    snprintf(create, sizeof create, "CREATE TABLE t (a TEXT, \"%0*d\" TEXT)", 150000, 7);
    struct made made = make_file(length, 3, NULL, create);
    check_file(&made, length, 3, create);
}

TEST(pages, that_changed_after_they_were_staged_are_found_out)
{
    static uint32_t length[400];
    for (int i = 0; i < 400; i++)
        length[i] = 1000;
    struct err err;
    struct made made = make_file(length, 400, NULL, sql);
    CHECK_OK(pages_verify(made.path, made.bytes, made.checksum, &err), err);
    AUTO(fd_closep) int fd = open(made.path, O_RDWR);
    for (int k = 0; k < 200; k++) {
        off_t at = k == 0   ? 0
                   : k == 1 ? made.bytes - 1
                            : (off_t)(next_random() % (uint64_t)made.bytes);
        char old, bad;
        CHECK_EQ(pread(fd, &old, 1, at), 1);
        bad = (char)(old ^ (1 << next_random() % 8));
        CHECK_EQ(pwrite(fd, &bad, 1, at), 1);
        CHECK_EQ(pages_verify(made.path, made.bytes, made.checksum, &err), -1);
        CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
        CHECK_EQ(pwrite(fd, &old, 1, at), 1);
    }
    CHECK_OK(pages_verify(made.path, made.bytes, made.checksum, &err), err);
    CHECK_EQ(ftruncate(fd, made.bytes - PAGE_SIZE), 0);
    CHECK_EQ(pages_verify(made.path, made.bytes, 0, &err), -1);
    CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
    CHECK_EQ(unlink(made.path), 0);
    CHECK_EQ(pages_verify(made.path, made.bytes, made.checksum, &err), -1);
    CHECK_EQ(err.code, ERR_STAGED_DAMAGED);
    CHECK_HAS(err.msg, "not there");
}

/* Pages in the order 2, 3, 4, 1, as XXH64 of the reference library has it. */
TEST(pages, have_the_checksum_of_the_specification)
{
    static const uint32_t length[] = { 4000, 4000 };
    make_text();
    memset(text, 'q', 5000);
    struct made made = make_file(length, 2, NULL, sql);
    free(text);
    text = NULL;
    CHECK_EQ(made.bytes, 4 * PAGE_SIZE);
    CHECK(made.checksum == UINT64_C(0xb39fa6bfd044c5bd));
}

TEST(pages, on_a_full_disk_give_a_clear_error)
{
    struct err err;
    struct pages *p;
    int rc = 0;
    char record[2000] = { 2, 0 };
    AUTO(fd_closep) int fd = open("/dev/full", O_RDWR);
    CHECK_OK(pages_open(&p, fd, NULL, &err), err);
    for (int i = 0; i < 2000 && rc == 0; i++)
        rc = pages_add(p, (struct str){ record, sizeof record }, &err);
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    pages_free(p);
}
