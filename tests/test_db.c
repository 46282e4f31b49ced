/* SQLite by qetl's rules: settings, errors as values, migrations with a backup. */
#include "test.h"

#include "io/db.h"

#include <fcntl.h>
#include <sys/stat.h>

static sqlite3 *open_new(const char *name)
{
    struct err err = { 0 };
    sqlite3 *db = NULL;
    CHECK_OK(db_open(&db, test_file(name), DB_CREATE, &err), err);
    return db;
}

static int64_t one_int(sqlite3 *db, const char *sql)
{
    struct err err = { 0 };
    int64_t v = -1;
    CHECK_OK(db_int(db, sql, &v, &err), err);
    return v;
}

TEST(db, every_connection_has_our_settings)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("settings.db");
    CHECK_EQ(one_int(db, "PRAGMA wal_autocheckpoint"), 0);
    CHECK_EQ(one_int(db, "PRAGMA secure_delete"), 0);
    int64_t mmap = 0;
    CHECK_OK(db_int(db, "PRAGMA mmap_size", &mmap, &err), err);
    CHECK_EQ(mmap, 0);
    int on = -1;
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, -1, &on);
    CHECK_EQ(on, 1);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1, &on);
    CHECK_EQ(on, 0);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1, &on);
    CHECK_EQ(on, 0);
    db_close(&db);
    CHECK(!db);
    db_close(&db); /* closing twice is fine */
}

TEST(db, a_missing_file_is_an_error_unless_it_may_be_made)
{
    struct err err = { 0 };
    sqlite3 *db = NULL;
    CHECK_EQ(db_open(&db, test_file("none.db"), 0, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE);
    CHECK_HAS(err.msg, "none.db");
    CHECK(access(test_file("none.db"), F_OK) < 0);
}

TEST(db, what_is_no_database_says_so)
{
    struct err err = { 0 };
    int fd = open(test_file("text.db"), O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    for (int i = 0; i < 64; i++)
        CHECK_OK(
            sys_write_all(fd, "this is a text file, not a data base at all\n", 44, "text.db", &err),
            err);
    close(fd);
    sqlite3 *db = NULL;
    int64_t v;
    CHECK_OK(db_open(&db, test_file("text.db"), 0, &err), err);
    CHECK_EQ(db_int(db, "SELECT count(*) FROM sqlite_schema", &v, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE);
    CHECK_HAS(err.msg, "not a database");
    db_close(&db);
}

TEST(db, values_go_in_and_come_back_by_name)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("values.db");
    sqlite3_stmt *st;
    CHECK_OK(db_exec(db, "CREATE TABLE t (a, b, c, d, e)", &err), err);
    CHECK_OK(db_prepare(db, &st, "INSERT INTO t VALUES (:a, :b, :c, :d, :e)", &err), err);
    db_bind(st, ":a", (int64_t)1 << 40);
    db_bind(st, ":b", "text");
    db_bind(st, ":c", ((struct str){ "a\0b", 3 }));
    db_bind_blob(st, ":d", "\1\2", 2);
    db_bind(st, ":e", (const char *)NULL);
    CHECK_EQ(db_run(st, &err), 0);
    CHECK_EQ(db_run(st, &err), 0); /* bindings are gone: a row of NULLs */
    CHECK_OK(db_prepare(db, &st, "SELECT a, b, c, d, e FROM t ORDER BY rowid", &err), err);
    CHECK_EQ(db_step(st, &err), 1);
    CHECK(sqlite3_column_int64(st, 0) == (int64_t)1 << 40);
    CHECK_STR(db_text(st, 1), "text");
    CHECK_EQ(sqlite3_column_bytes(st, 2), 3);
    CHECK_EQ(sqlite3_column_type(st, 3), SQLITE_BLOB);
    CHECK_EQ(sqlite3_column_type(st, 4), SQLITE_NULL);
    CHECK_STR(db_text(st, 4), "");
    CHECK_EQ(db_step(st, &err), 1);
    CHECK_EQ(sqlite3_column_type(st, 0), SQLITE_NULL);
    CHECK_EQ(db_step(st, &err), 0);
    db_close(&db); /* finalizes what is open */
}

TEST(db, errors_have_the_code_of_their_cause)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("errors.db");
    CHECK_EQ(db_exec(db, "SELECT * FROM nowhere", &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE);
    CHECK_HAS(err.msg, "nowhere");
    CHECK_OK(db_exec(db, "CREATE TABLE t (a NOT NULL UNIQUE)", &err), err);
    CHECK_EQ(db_exec(db, "INSERT INTO t VALUES (NULL)", &err), -1);
    CHECK_EQ(err.code, ERR_TARGET_REFUSED);
    CHECK_HAS(err.msg, "t.a");
    CHECK_OK(db_exec(db, "PRAGMA max_page_count = 4", &err), err);
    CHECK_EQ(db_exec(db, "INSERT INTO t VALUES (zeroblob(100000))", &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    sqlite3_stmt *st;
    CHECK_EQ(db_prepare(db, &st, "SELEC 1", &err), -1);
    CHECK(!st);
    db_close(&db);
}

TEST(db, an_error_leaves_the_statement_ready_for_the_next_try)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("again.db");
    sqlite3_stmt *st;
    CHECK_OK(db_exec(db, "CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)", &err), err);
    CHECK_OK(db_prepare(db, &st, "INSERT INTO t VALUES (:a)", &err), err);
    db_bind(st, ":a", 1);
    CHECK_EQ(db_run(st, &err), -1);
    db_bind(st, ":a", 2);
    CHECK_OK(db_run(st, &err), err);
    CHECK_EQ(one_int(db, "SELECT count(*) FROM t"), 2);
    db_close(&db);
}

TEST(db, names_are_quoted_so_that_none_can_break_out)
{
    AUTO(buf_clear) struct buf b = { 0 };
    db_quote(&b, "a\"; DROP TABLE x; --");
    CHECK_STR(b.p, "\"a\"\"; DROP TABLE x; --\"");
}

/* ---- migrations ---- */

static const char fresh[] = "CREATE TABLE t (a, b, c)";
static const char *const steps[] = { NULL, "ALTER TABLE t ADD COLUMN b",
                                     "ALTER TABLE t ADD COLUMN c; UPDATE t SET c = a" };

TEST(db, an_empty_database_gets_the_newest_schema_without_a_backup)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("fresh.db");
    CHECK_OK(db_migrate(db, test_file("fresh.db"), fresh, steps, 3, &err), err);
    CHECK_EQ(one_int(db, "PRAGMA user_version"), 3);
    CHECK_EQ(one_int(db, "SELECT count(c) FROM t"), 0);
    CHECK(access(test_file("fresh.db.v0.bak"), F_OK) < 0);
    CHECK_OK(db_migrate(db, test_file("fresh.db"), fresh, steps, 3, &err), err); /* nothing to do */
    db_close(&db);
}

TEST(db, an_old_schema_is_brought_up_step_by_step_and_backed_up_first)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("old.db"), *bak = NULL;
    CHECK_OK(db_exec(db,
                     "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (7); "
                     "PRAGMA user_version = 1",
                     &err),
             err);
    CHECK_OK(db_migrate(db, test_file("old.db"), fresh, steps, 3, &err), err);
    CHECK_EQ(one_int(db, "PRAGMA user_version"), 3);
    CHECK_EQ(one_int(db, "SELECT c FROM t"), 7);
    CHECK_OK(db_open(&bak, test_file("old.db.v1.bak"), DB_READONLY, &err), err);
    CHECK_EQ(one_int(bak, "PRAGMA user_version"), 1);
    CHECK_EQ(one_int(bak, "SELECT a FROM t"), 7);
    CHECK_EQ(one_int(bak, "SELECT count(*) FROM pragma_table_info('t')"), 1);
    CHECK(access(test_file("old.db.v1.bak.part"), F_OK) < 0);
    db_close(&bak);
    db_close(&db);
}

TEST(db, a_step_that_fails_changes_nothing)
{
    static const char *const bad[] = { NULL, "ALTER TABLE t ADD COLUMN b",
                                       "ALTER TABLE nowhere ADD COLUMN c" };
    struct err err = { 0 };
    sqlite3 *db = open_new("bad.db");
    CHECK_OK(db_exec(db, "CREATE TABLE t (a); PRAGMA user_version = 1", &err), err);
    CHECK_EQ(db_migrate(db, test_file("bad.db"), fresh, bad, 3, &err), -1);
    CHECK_HAS(err.msg, "version 2 to 3");
    CHECK_EQ(one_int(db, "PRAGMA user_version"), 1);
    CHECK_EQ(one_int(db, "SELECT count(*) FROM pragma_table_info('t')"), 1);
    CHECK(sqlite3_get_autocommit(db));
    db_close(&db);
}

TEST(db, a_newer_schema_and_a_foreign_database_are_left_alone)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("newer.db");
    CHECK_OK(db_exec(db, "CREATE TABLE t (a); PRAGMA user_version = 4", &err), err);
    CHECK_EQ(db_migrate(db, test_file("newer.db"), fresh, steps, 3, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE_NEWER);
    CHECK_HAS(err.msg, "version 4");
    db_close(&db);
    db = open_new("foreign.db");
    CHECK_OK(db_exec(db, "CREATE TABLE recipes (a)", &err), err);
    CHECK_EQ(db_migrate(db, test_file("foreign.db"), fresh, steps, 3, &err), -1);
    CHECK_HAS(err.msg, "another program");
    CHECK_EQ(one_int(db, "SELECT count(*) FROM sqlite_schema"), 1);
    db_close(&db);
}

TEST(db, a_backup_that_cannot_be_written_stops_the_migration)
{
    struct err err = { 0 };
    sqlite3 *db = open_new("nobak.db");
    CHECK_OK(db_exec(db, "CREATE TABLE t (a); PRAGMA user_version = 1", &err), err);
    CHECK_EQ(mkdir(test_file("nobak.db.v1.bak.part"), 0700),
             0); /* neither removed nor written, also by root */
    CHECK_EQ(db_migrate(db, test_file("nobak.db"), fresh, steps, 3, &err), -1);
    CHECK_HAS(err.msg, "back up");
    CHECK_EQ(one_int(db, "PRAGMA user_version"), 1);
    db_close(&db);
}
