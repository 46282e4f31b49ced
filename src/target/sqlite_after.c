/* after_load on SQLite; see the header. */
#include "target/sqlite_after.h"

#include <strings.h>

#include "io/db.h"
#include "io/sql_text.h"
#include "target/sqlite.h"

/* What after_load may not do, for it would break the transaction of the job or the ledger. */
static int allow(void *arg, int action, const char *a, const char *b, const char *schema,
                 const char *trigger)
{
    static const struct {
        int action;
        const char *why;
    } never[] = {
        { SQLITE_TRANSACTION, "it may not begin or end transactions: it runs in that of the job" },
        { SQLITE_SAVEPOINT, "it may not use savepoints: it runs in one of the job" },
        { SQLITE_ATTACH, "it may not attach databases" },
        { SQLITE_DETACH, "it may not detach databases" },
        { SQLITE_PRAGMA, "it may not use PRAGMA" },
    };
    static const int writes[] = { SQLITE_INSERT, SQLITE_UPDATE, SQLITE_DELETE, SQLITE_DROP_TABLE,
                                  SQLITE_DROP_INDEX };
    (void)b;
    (void)schema;
    (void)trigger;
    const char **why = arg;
    for (size_t i = 0; i < COUNT_OF(never); i++)
        if (never[i].action == action) {
            *why = never[i].why;
            return SQLITE_DENY;
        }
    for (size_t i = 0; i < COUNT_OF(writes); i++)
        if (writes[i] == action && a && !strncasecmp(a, "qetl_", 5)) {
            *why = "it may not change the tables of qetl itself";
            return SQLITE_DENY;
        }
    return SQLITE_OK;
}

/* ---- statements ---- */

/* SQL of people, at one of its statements. */
struct after_sql {
    sqlite3 *db;
    const char *sql, *at; /* the whole; where the statement begins */
    int number;           /* of it, from 1 */
    const char *refused;  /* why the authorizer did */
};

/* "after_load: statement 2, line 3, column 5: WHAT", of the byte at `at` in the statement. */
static int fault_at(const struct after_sql *a, size_t at, const char *what, struct err *err)
{
    int line, column;
    sql_text_place(a->sql, (size_t)(a->at - a->sql) + at, &line, &column);
    return err_set(err, ERR_AFTER_LOAD, "after_load: statement %d, line %d, column %d: %s", a->number, line, column, what);
}

static int not_prepared(const struct after_sql *a, const char *text, struct err *err)
{
    struct sql_fault fault;
    if (a->refused)
        return fault_at(a, 0, a->refused, err);
    sql_fault_of(&fault, a->db, 0, text);
    return fault_at(a, fault.placed ? fault.at : 0, fault.what, err);
}

/* Which parameter of after_load is it? -1: none. */
static int param_of(const char *name)
{
    for (int i = 0; name && i < LOAD_PARAMS; i++)
        if (!strcmp(name, load_params[i]))
            return i;
    return -1;
}

/* job NULL: only whether there are such. */
static int bind_params(const struct after_sql *a, sqlite3_stmt *st, const struct load_job *job, struct err *err)
{
    for (int i = 1, n = sqlite3_bind_parameter_count(st); i <= n; i++) {
        const char *name = sqlite3_bind_parameter_name(st, i);
        int param = param_of(name);
        if (param < 0) {
            load_params_refuse(name ? name : "?", err);
            return err_in(err, "after_load: statement %d", a->number);
        }
        if (job)
            db_bind(st, name, load_param(job, param));
    }
    return 0;
}

/* ---- in a job ---- */

/* What is not the fault of the SQL passes, or is told as everywhere. */
static int failed(struct warehouse *w, const struct after_sql *a, bool prepared, struct err *err)
{
    if (warehouse_error(w, err, "after_load") < 0 && err->code != ERR_TARGET_REFUSED)
        return -1;
    return prepared ? fault_at(a, 0, a->refused ? a->refused : sqlite3_errmsg(w->db), err) : not_prepared(a, a->at, err);
}

static int run_one(struct warehouse *w, const struct after_sql *a, sqlite3_stmt *st, const struct load_job *job, struct err *err)
{
    int rc;
    if (bind_params(a, st, job, err) < 0)
        return -1;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        ;
    return rc == SQLITE_DONE ? 0 : failed(w, a, true, err);
}

static int run_all(struct warehouse *w, struct after_sql *a, const struct load_job *job, struct err *err)
{
    for (const char *next; *(a->at = sql_text_statement(a->at)); a->at = next) {
        sqlite3_stmt *st = NULL;
        a->number++;
        if (sqlite3_prepare_v2(w->db, a->at, -1, &st, &next) != SQLITE_OK)
            return failed(w, a, false, err);
        int rc = run_one(w, a, st, job, err);
        sqlite3_finalize(st);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int after_run(struct warehouse *w, const struct load_job *job, struct err *err)
{
    struct after_sql a = { .db = w->db, .sql = job->after_load, .at = job->after_load };
    sqlite3_set_authorizer(w->db, allow, &a.refused);
    int rc = run_all(w, &a, job, err);
    sqlite3_set_authorizer(w->db, NULL, NULL);
    return rc;
}

/* ---- without one ---- */

/* Behind the statement at p: a trigger has semicolons inside. NULL: no memory. */
static const char *statement_end(const char *p)
{
    AUTO(buf_clear) struct buf text = { 0 };
    const char *from = p;
    while (*(p = sql_text_space(p))) {
        bool semicolon = *p == ';';
        p = sql_text_token(p);
        if (!semicolon)
            continue;
        buf_add(&text, from, (size_t)(p - from));
        from = p;
        if (text.failed || sqlite3_complete(text.p))
            return text.failed ? NULL : p;
    }
    return p;
}

/* Is it so whatever tables there are? */
static bool certain(const char *message)
{
    static const char *const begins[] = { "near \"", "unrecognized token", "incomplete input", "no such function: ",
                                          "wrong number of arguments to function " };
    for (size_t i = 0; i < COUNT_OF(begins); i++)
        if (!strncmp(message, begins[i], strlen(begins[i])))
            return true;
    return false;
}

static int check_one(const struct after_sql *a, const char *end, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    sqlite3_stmt *st = NULL;
    buf_add(&text, a->at, (size_t)(end - a->at));
    if (text.failed)
        return err_nomem(err);
    int rc = sqlite3_prepare_v2(a->db, text.p, -1, &st, NULL);
    if (rc != SQLITE_OK)
        rc = a->refused || certain(sqlite3_errmsg(a->db)) ? not_prepared(a, text.p, err) : 0;
    else if (st)
        rc = bind_params(a, st, NULL, err);
    sqlite3_finalize(st);
    return rc;
}

static int check_all(struct after_sql *a, struct err *err)
{
    for (const char *next; *(a->at = sql_text_statement(a->at)); a->at = next) {
        a->number++;
        if (!(next = statement_end(a->at)))
            return err_nomem(err);
        if (check_one(a, next, err) < 0)
            return -1;
    }
    return 0;
}

int sqlite_check_after(const char *sql, struct err *err)
{
    struct after_sql a = { .sql = sql, .at = sql };
    if (sqlite3_open_v2(":memory:", &a.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sqlite3_close(a.db);
        return err_nomem(err);
    }
    sqlite3_set_authorizer(a.db, allow, &a.refused);
    int rc = check_all(&a, err);
    sqlite3_close(a.db);
    return rc;
}
