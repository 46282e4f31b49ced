/*
 * The SQLite target: questions by people.
 *
 * A question gets a connection of its own that cannot write, whatever it says: the file is opened
 * read-only, query_only is set, and an authorizer lets no ATTACH through. It writes nothing, so
 * power may fail.
 */
#include "target/sqlite.h"

#include <ctype.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

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

static void value_of(sqlite3_stmt *st, int i, struct buf *hex, struct query_value *v)
{
    int type = sqlite3_column_type(st, i);
    *v = (struct query_value){ 0 };
    if (type == SQLITE_NULL)
        return;
    if (type == SQLITE_BLOB) {
        size_t at = hex->n;
        const char *p = sqlite3_column_blob(st, i);
        buf_add_hex(hex, (struct str){ p, (size_t)sqlite3_column_bytes(st, i) });
        v->text = (struct str){ (const char *)at, hex->n - at }; /* placed when hex grows no more */
        return;
    }
    v->text.p = (const char *)sqlite3_column_text(st, i);
    v->text.n = (size_t)sqlite3_column_bytes(st, i);
    const char *digit = v->text.p;
    v->number = digit && type != SQLITE_TEXT && isdigit((unsigned char)digit[*digit == '-']);
}

static int give_row(sqlite3_stmt *st, const struct query_sink *sink, int n,
                    struct query_value *values, struct buf *hex, struct err *err)
{
    buf_reset(hex);
    buf_adds(hex, "");
    for (int i = 0; i < n; i++)
        value_of(st, i, hex, &values[i]);
    if (hex->failed)
        return err_nomem(err);
    for (int i = 0; i < n; i++) {
        if (sqlite3_column_type(st, i) == SQLITE_BLOB)
            values[i].text.p = hex->p + (size_t)values[i].text.p;
        else if (!values[i].text.p && sqlite3_column_type(st, i) != SQLITE_NULL)
            return err_nomem(err);
    }
    return sink->row(sink->arg, n, values, err);
}

static int give_rows(sqlite3 *db, sqlite3_stmt *st, const struct query_sink *sink, struct err *err)
{
    int n = sqlite3_column_count(st), rc = 0, step = SQLITE_DONE;
    AUTO(buf_clear) struct buf hex = { 0 };
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
        rc = give_row(st, sink, n, values, &hex, err);
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
