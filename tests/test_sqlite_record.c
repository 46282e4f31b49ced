/* Records against the bytes that SQLite itself stores, and against damage. */
#include "target/sqlite_record.h"

#include <math.h>
#include <sqlite3.h>

#include "base/text.h"
#include "test.h"

static uint64_t seed = 88172645463325252;
static uint64_t next_random(void) /* xorshift64, Marsaglia 2003 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

TEST(varint, comes_back_as_it_went_in)
{
    for (int bit = 0; bit < 64; bit++)
        for (int delta = -2; delta <= 2; delta++) {
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)delta, back;
            uint8_t bytes[VARINT_MAX];
            int n = varint_put(bytes, v);
            CHECK_EQ(varint_get(bytes, bytes + n, &back), n);
            CHECK(back == v);
            CHECK_EQ(varint_get(bytes, bytes + n - 1, &back), 0);
        }
}

TEST(varint, has_the_bytes_of_the_format)
{
    static const struct {
        uint64_t v;
        int n;
        uint8_t bytes[VARINT_MAX];
    } table[] = {
        { 0x7f, 1, { 0x7f } },
        { 0x80, 2, { 0x81, 0x00 } },
        { 0x3fff, 2, { 0xff, 0x7f } },
        { 0x4000, 3, { 0x81, 0x80, 0x00 } },
        { (UINT64_C(1) << 56) - 1, 8, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f } },
        { UINT64_C(1) << 56, 9, { 0x80, 0xc0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00 } },
        { UINT64_MAX, 9, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        uint8_t bytes[VARINT_MAX];
        CHECK_EQ(varint_put(bytes, table[i].v), table[i].n);
        assert_memory_equal(bytes, table[i].bytes, (size_t)table[i].n);
    }
}

/* ---- SQLite as the judge ---- */

static const struct record_column all_types[] = {
    { TYPE_TEXT, 0, false },      { TYPE_INTEGER, 0, false }, { TYPE_DECIMAL, 3, false },
    { TYPE_REAL, 0, false },      { TYPE_BOOLEAN, 0, false }, { TYPE_DATE, 0, false },
    { TYPE_TIMESTAMP, 0, false }, { TYPE_JSON, 0, false },
};
enum { COLUMNS = COUNT_OF(all_types) };
static const char all_sql[] = "CREATE TABLE t (a TEXT, b INTEGER, c DECIMAL(18,3), d REAL, e "
                              "BOOLEAN, f DATE, g TIMESTAMP, h JSON TEXT)";

static void bind_natural(sqlite3_stmt *st, int at, const struct record_column *c,
                         const struct value *v)
{
    char text[64];
    if (v->null) {
        sqlite3_bind_null(st, at);
        return;
    }
    switch (c->type) {
    case TYPE_TEXT:
    case TYPE_JSON:
        sqlite3_bind_text(st, at, v->p, (int)v->n, SQLITE_TRANSIENT);
        break;
    case TYPE_REAL:
        sqlite3_bind_double(st, at, v->r);
        break;
    case TYPE_DECIMAL: /* the number in words: the column's affinity makes of it what it can */
        sqlite3_bind_text(st, at, text, text_put_decimal(text, v->i, c->scale), SQLITE_TRANSIENT);
        break;
    case TYPE_DATE:
        sqlite3_bind_text(st, at, text, text_put_date(text, v->i), SQLITE_TRANSIENT);
        break;
    case TYPE_TIMESTAMP:
        sqlite3_bind_text(st, at, text, text_put_timestamp(text, v->i, ' '), SQLITE_TRANSIENT);
        break;
    default:
        sqlite3_bind_int64(st, at, v->i);
    }
}

/* The record of the only row of the only table, out of a database image: root page 2, first cell.
 */
static struct str only_record(sqlite3 *db, unsigned char **image)
{
    sqlite3_int64 size;
    *image = sqlite3_serialize(db, "main", &size, 0);
    assert_non_null(*image);
    const uint8_t *page = *image + 4096;
    CHECK_EQ(page[0], 13);
    CHECK_EQ(page[3] << 8 | page[4], 1);
    const uint8_t *cell = page + (page[8] << 8 | page[9]);
    uint64_t n, rowid;
    cell += varint_get(cell, cell + 9, &n);
    cell += varint_get(cell, cell + 9, &rowid);
    return (struct str){ (const char *)cell, n };
}

static void check_against_sqlite(sqlite3 *db, const struct value *row)
{
    sqlite3_stmt *st;
    CHECK_EQ(sqlite3_exec(db, "DELETE FROM t", NULL, NULL, NULL), SQLITE_OK);
    CHECK_EQ(sqlite3_prepare_v2(db, "INSERT INTO t VALUES (?,?,?,?,?,?,?,?)", -1, &st, NULL),
             SQLITE_OK);
    for (int i = 0; i < COLUMNS; i++)
        bind_natural(st, i + 1, &all_types[i], &row[i]);
    CHECK_EQ(sqlite3_step(st), SQLITE_DONE);
    sqlite3_finalize(st);
    unsigned char *image;
    struct str want = only_record(db, &image), got;
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    struct row_fault fault;
    CHECK_EQ(record_encode(&b, all_types, COLUMNS, row, &got, &fault), RECORD_DONE);
    CHECK_EQ(got.n, want.n);
    assert_memory_equal(got.p, want.p, got.n);
    sqlite3_free(image);
}

static sqlite3 *memory_table(void)
{
    sqlite3 *db;
    CHECK_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
    CHECK_EQ(sqlite3_exec(db, all_sql, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static const struct value plain_row[COLUMNS] = { { .p = "a", .n = 1 }, { .i = 5 },
                                                 { .i = 1500 },        { .r = 2.5 },
                                                 { .i = 1 },           { .i = 20000 },
                                                 { .i = 0 },           { .p = "{}", .n = 2 } };

TEST(record, is_what_sqlite_stores_at_every_edge)
{
    static const double reals[] = { 0.0,        -0.0,    1.0,         2.0,      -1.0,      0.5,
                                    1e15,       1e300,   -1e-300,     INFINITY, -INFINITY, 0x1p47,
                                    0x1p47 - 1, -0x1p47, -0x1p47 - 1, 0x1p53,   0x1p63,    5e-324 };
    static const char *const texts[] = { "",    "1",          "1e2",     "0x10",
                                         " 7 ", "2024-01-01", "nul\0in", "12345678901234567890",
                                         "3.0" };
    static const int64_t times[] = { -62135596800000000, 253402300799999999, 0, 1, -1,
                                     1700000000000000,   1700000000100000 };
    sqlite3 *db = memory_table();
    struct value row[COLUMNS];
    for (int bit = 0; bit < 64; bit++)
        for (int64_t delta = -1; delta <= 1; delta++)
            for (int sign = 0; sign < 2; sign++) {
                memcpy(row, plain_row, sizeof row);
                uint64_t v = (UINT64_C(1) << bit) + (uint64_t)delta;
                row[1].i = (int64_t)(sign ? -v : v);
                row[2].i = row[1].i % 1000000000000000; /* 15 digits */
                check_against_sqlite(db, row);
            }
    for (size_t i = 0; i < COUNT_OF(reals); i++) {
        memcpy(row, plain_row, sizeof row);
        row[3].r = reals[i];
        check_against_sqlite(db, row);
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        memcpy(row, plain_row, sizeof row);
        row[0] = row[7] =
            (struct value){ .p = texts[i], .n = i == 6 ? 6 : (uint32_t)strlen(texts[i]) };
        check_against_sqlite(db, row);
    }
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        memcpy(row, plain_row, sizeof row);
        row[6].i = times[i];
        row[5].i = times[i] / 86400000000;
        check_against_sqlite(db, row);
    }
    sqlite3_close(db);
}

TEST(record, is_what_sqlite_stores_for_random_rows)
{
    static char text[3000];
    memset(text, 'x', sizeof text);
    sqlite3 *db = memory_table();
    for (int k = 0; k < 3000; k++) {
        struct value row[COLUMNS];
        for (int i = 0; i < COLUMNS; i++)
            row[i] = (struct value){ .i = (int64_t)next_random() >> next_random() % 64,
                                     .null = next_random() % 5 == 0 };
        row[0] = (struct value){ .p = text, .n = next_random() % (k % 2 ? 100 : sizeof text) };
        row[7] = (struct value){ .p = "[1, 2]", .n = 6, .null = k % 3 == 0 };
        row[2].i %= 1000000000000000;
        row[3].r = k % 2 ? (double)row[1].i / 1024 : (double)row[1].i;
        row[4].i &= 1;
        row[5].i %= 700000;
        row[6].i %= 60000000000000000;
        check_against_sqlite(db, row);
    }
    sqlite3_close(db);
}

TEST(record, holds_a_header_of_any_length)
{
    enum { MANY = 2000 };
    static struct record_column columns[MANY];
    static struct value row[MANY];
    static char text[] = "0123456789";
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    for (int n = 1; n <= MANY; n += n < 300 || n > 1900 ? 1 : 97) {
        for (int i = 0; i < n; i++) {
            columns[i].type = TYPE_TEXT;
            row[i] = (struct value){ .p = text, .n = (uint32_t)(i % 11) };
        }
        struct str record;
        struct row_fault fault;
        struct record_reader r;
        struct record_value v;
        CHECK_EQ(record_encode(&b, columns, n, row, &record, &fault), RECORD_DONE);
        CHECK(record_open(&r, record));
        for (int i = 0; i < n; i++) {
            CHECK_EQ(record_next(&r, &v), 1);
            CHECK(v.kind == RECORD_TEXT && v.s.n == row[i].n && !memcmp(v.s.p, text, v.s.n));
        }
        CHECK_EQ(record_next(&r, &v), 0);
    }
}

/* ---- the guard ---- */

static void check_refused(int column, struct value v, bool not_null, enum reject_reason reason)
{
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    struct value row[COLUMNS];
    struct record_column columns[COLUMNS];
    struct row_fault fault = { -1, REJECT_REASONS };
    struct str out;
    memcpy(row, plain_row, sizeof row);
    memcpy(columns, all_types, sizeof columns);
    row[column] = v;
    columns[column].not_null = not_null;
    CHECK_EQ(record_encode(&b, columns, COLUMNS, row, &out, &fault), RECORD_REFUSED);
    CHECK_EQ(fault.column, column);
    CHECK_EQ(fault.reason, reason);
}

TEST(record, refuses_null_where_none_may_be)
{
    for (int i = 0; i < COLUMNS; i++)
        check_refused(i, (struct value){ .null = true }, true, REJECT_NULL);
}

TEST(record, refuses_what_the_column_cannot_hold_exactly)
{
    check_refused(2, (struct value){ .i = 1234567890123456 }, false,
                  REJECT_TARGET_RANGE); /* 16 digits, 3 behind the point */
    check_refused(2, (struct value){ .i = -999999999999999999 }, false, REJECT_TARGET_RANGE);
    check_refused(3, (struct value){ .r = NAN }, false, REJECT_TARGET_RANGE);
    check_refused(5, (struct value){ .i = -719163 }, false,
                  REJECT_TARGET_RANGE); /* the day before year 1 */
    check_refused(5, (struct value){ .i = 2932897 }, false, REJECT_TARGET_RANGE); /* 10000-01-01 */
    check_refused(6, (struct value){ .i = INT64_MIN }, false, REJECT_TARGET_RANGE);
    check_refused(6, (struct value){ .i = 253402300800000000 }, false, REJECT_TARGET_RANGE);
    check_refused(7, (struct value){ .p = "", .n = 1000000001 }, false,
                  REJECT_TARGET_RANGE); /* never looked at */
}

TEST(record, takes_a_decimal_of_18_digits_when_it_is_integral)
{
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    struct record_column c = { TYPE_DECIMAL, 3, true };
    struct value v = { .i = 123456789012345000 };
    struct str out;
    struct row_fault fault;
    struct record_reader r;
    struct record_value got;
    CHECK_EQ(record_encode(&b, &c, 1, &v, &out, &fault), RECORD_DONE);
    CHECK(record_open(&r, out));
    CHECK_EQ(record_next(&r, &got), 1);
    CHECK_EQ(got.kind, RECORD_INTEGER);
    CHECK_EQ(got.i, 123456789012345);
}

/* ---- damage ---- */

TEST(record, that_is_damaged_is_never_read_past_its_end)
{
    AUTO(record_buf_clear) struct record_buf b = { 0 };
    struct str good;
    struct row_fault fault;
    CHECK_EQ(record_encode(&b, all_types, COLUMNS, plain_row, &good, &fault), RECORD_DONE);
    int refused = 0;
    for (int k = 0; k < 20000; k++) {
        size_t n = next_random() % (good.n + 1);
        char *bad = malloc(n ? n : 1); /* of the exact size: the sanitizer watches its end */
        memcpy(bad, good.p, n);
        for (int flips = (int)(next_random() % 4); n && flips > 0; flips--)
            bad[next_random() % n] = (char)next_random();
        struct record_reader r;
        struct record_value v;
        int rc = record_open(&r, (struct str){ bad, n }) ? 1 : -1;
        while (rc == 1) {
            rc = record_next(&r, &v);
            if (rc == 1 && (v.kind == RECORD_TEXT || v.kind == RECORD_BLOB))
                CHECK(v.s.p >= bad && v.s.p + v.s.n <= bad + n);
        }
        refused += rc < 0;
        free(bad);
    }
    CHECK(refused > 10000);
}
