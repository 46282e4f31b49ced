/*
 * The SQLite target: questions by people.
 *
 * A question gets a connection of its own that cannot write, whatever it says: the file is opened
 * read-only, query_only is set, and an authorizer lets no ATTACH through. It writes nothing, so
 * power may fail.
 */
#include "target/sqlite.h"

#include <ctype.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/text.h"
#include "io/db.h"

enum { BUSY_MS = 10000 };

/* What would still do something to a connection that is read-only. */
static int allow(void *arg, int action, const char *a, const char *b, const char *schema,
                 const char *trigger)
{
    static const int never[] = { SQLITE_ATTACH, SQLITE_DETACH, SQLITE_TRANSACTION,
                                 SQLITE_SAVEPOINT };
    static const char *const pragmas[] = { "table_info", "table_xinfo", "table_list",
                                           "index_list", "index_info",  "foreign_key_list" };
    (void)arg;
    (void)b;
    (void)schema;
    (void)trigger;
    for (size_t i = 0; i < COUNT_OF(never); i++)
        if (never[i] == action)
            return SQLITE_DENY;
    for (size_t i = 0; action == SQLITE_PRAGMA && i < COUNT_OF(pragmas); i++)
        if (!strcasecmp(a, pragmas[i]))
            return SQLITE_OK;
    return action == SQLITE_PRAGMA ? SQLITE_DENY : SQLITE_OK;
}

static int failed(sqlite3 *db, struct err *err)
{
    int rc = sqlite3_errcode(db) & 0xff;
    if (rc == SQLITE_AUTH)
        return err_set(err, ERR_TARGET_REFUSED, "a query may only read");
    bool passing = rc == SQLITE_BUSY || rc == SQLITE_LOCKED || rc == SQLITE_IOERR ||
                   rc == SQLITE_CANTOPEN || rc == SQLITE_READONLY;
    err_set(err,
            rc == SQLITE_NOMEM ? ERR_NO_MEMORY
            : passing          ? ERR_TARGET
                               : ERR_TARGET_REFUSED,
            "%s", sqlite3_errmsg(db));
    err->sys = sqlite3_extended_errcode(db);
    return -1;
}

enum { REAL_ROOM = 24 };

/* SQLite's own text of a real has 15 digits; where that is another one, the shortest text that reads back as it. */
static struct str real_text(double real, const char *text, struct buf *made)
{
    char all[REAL_ROOM];
    size_t at = made->n;
    if (!isfinite(real) || strtod(text, NULL) == real)
        return str_of(text);
    buf_add(made, all, (size_t)text_put_real(all, real));
    return (struct str){ made->p + at, made->n - at };
}

static struct str hex_text(struct str bytes, struct buf *made)
{
    size_t at = made->n;
    buf_add_hex(made, bytes);
    return (struct str){ made->p + at, made->n - at };
}

/* made has room for what is not SQLite's own text. */
static void value_of(sqlite3_stmt *st, int i, struct buf *made, struct query_value *v)
{
    int type = sqlite3_column_type(st, i);
    double real = type == SQLITE_FLOAT ? sqlite3_column_double(st, i) : 0;
    const char *p = type == SQLITE_BLOB ? sqlite3_column_blob(st, i) : (const char *)sqlite3_column_text(st, i);
    *v = (struct query_value){ .text = { p, (size_t)sqlite3_column_bytes(st, i) } };
    if (type == SQLITE_BLOB)
        v->text = hex_text(v->text, made);
    else if (p && type == SQLITE_FLOAT)
        v->text = real_text(real, p, made);
    v->number = p && (type == SQLITE_INTEGER || (type == SQLITE_FLOAT && isdigit((unsigned char)p[*p == '-'])));
}

static int give_row(sqlite3_stmt *st, const struct query_sink *sink, int n,
                    struct query_value *values, struct buf *made, struct err *err)
{
    size_t room = 1;
    for (int i = 0; i < n; i++) {
        int type = sqlite3_column_type(st, i);
        room += type == SQLITE_BLOB ? 2 * (size_t)sqlite3_column_bytes(st, i) : type == SQLITE_FLOAT ? REAL_ROOM : 0;
    }
    buf_reset(made);
    if (!buf_reserve(made, room)) /* nothing moves then */
        return err_nomem(err);
    for (int i = 0; i < n; i++) {
        bool null = sqlite3_column_type(st, i) == SQLITE_NULL;
        value_of(st, i, made, &values[i]);
        if (!null && !values[i].text.p)
            return err_nomem(err);
    }
    return sink->row(sink->arg, n, values, err);
}

static int give_rows(sqlite3 *db, sqlite3_stmt *st, const struct query_sink *sink, struct err *err)
{
    int n = sqlite3_column_count(st), rc = 0, step = SQLITE_DONE;
    AUTO(buf_clear) struct buf made = { 0 };
    const char **names = calloc((size_t)n + 1, sizeof *names);
    struct query_value *values = calloc((size_t)n + 1, sizeof *values);
    if (!names || !values)
        rc = err_nomem(err);
    for (int i = 0; rc == 0 && i < n; i++)
        if (!(names[i] = sqlite3_column_name(st, i)))
            rc = err_nomem(err);
    if (rc == 0)
        rc = sink->columns(sink->arg, n, names, err);
    while (rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW)
        rc = give_row(st, sink, n, values, &made, err);
    if (rc == 0 && step != SQLITE_DONE)
        rc = failed(db, err);
    free(names);
    free(values);
    return rc;
}

/* Is there anything but the end of a statement? */
static bool more_sql(const char *p)
{
    for (;;) {
        p += strspn(p, " \t\r\n;");
        if (!strncmp(p, "--", 2))
            p += strcspn(p, "\n");
        else if (!strncmp(p, "/*", 2) && strstr(p + 2, "*/"))
            p = strstr(p + 2, "*/") + 2;
        else
            return *p;
    }
}

static int ask(sqlite3 *db, const char *sql, const struct query_sink *sink, struct err *err)
{
    sqlite3_stmt *st = NULL;
    const char *rest = "";
    if (sqlite3_prepare_v2(db, sql, -1, &st, &rest) != SQLITE_OK)
        return failed(db, err);
    int rc;
    if (!st || more_sql(rest))
        rc =
            err_set(err, ERR_USAGE, st ? "one statement was expected" : "a statement was expected");
    else if (!sqlite3_column_count(st) || !sqlite3_stmt_readonly(st))
        rc = err_set(err, ERR_TARGET_REFUSED, "a query may only read");
    else
        rc = give_rows(db, st, sink, err);
    sqlite3_finalize(st);
    return rc;
}

static int query_file(const char *path, const char *sql, const struct query_sink *sink,
                      struct err *err)
{
    AUTO(db_close) sqlite3 *db = NULL;
    if (db_open(&db, path, DB_READONLY, err) < 0) {
        err->code = err->code == ERR_NO_MEMORY ? err->code : ERR_TARGET;
        return -1;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    if (sqlite3_exec(db, "PRAGMA query_only = 1", NULL, NULL, NULL) != SQLITE_OK)
        return failed(db, err);
    sqlite3_set_authorizer(db, allow, NULL);
    return ask(db, sql, sink, err);
}

int sqlite_query(const struct config *config, const struct target_config *cfg, const char *sql,
                 const struct query_sink *sink, struct err *err)
{
    (void)config; /* a file needs no credentials */
    AUTO(free_charp) char *path = sqlite_path(cfg->url, err);
    return !path || query_file(path, sql, sink, err) < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
}
