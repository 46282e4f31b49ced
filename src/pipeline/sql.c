/*
 * The database in memory that SQL of the ini runs in. See sql.h.
 *
 * The order of opening matters: what we make ourselves (the tables of look-ups and parts, functions, limits) comes before the
 * authorizer, which then lets nothing but reading through. A look-up is read from its file when the statements are
 * prepared, since the authorizer has seen then which of them are used.
 */
#include "pipeline/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/db.h"
#include "io/sql_text.h"
#include "pipeline/lookup.h"
#include "pipeline/sql_functions.h"

enum {
    PAGE = 4096,
    SORT_BYTES_MAX = 16 << 20, /* in memory, of one sort; at most a sixteenth of [limits] memory */
    LIKE_MAX = 1000,           /* of a pattern: LIKE calls itself for each % */
    PROGRESS_OPS = 1000000,    /* of SQLite's machine, between two looks at the clock */
    VARIABLES = 2000,          /* columns of a look-up */
};

/* ---- what is allowed ---- */

static int authorize(void *arg, int action, const char *one, const char *two, const char *database, const char *from)
{
    struct sql *s = arg;
    (void)database, (void)from;
    if (s->set_up)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        s->reads_input |= !sqlite3_stricmp(one, "input");
        for (int i = 0; i < s->config->nlookups; i++)
            s->looked_up[i] |= !sqlite3_stricmp(one, s->config->lookups[i].name);
        for (int i = 0; i < s->ncopies; i++)
            if (!sqlite3_stricmp(one, s->copies[i].table->name))
                sql_parts_note(&s->copies[i], two);
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return two && !sqlite3_stricmp(two, "load_extension") ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_UPDATE: /* asked by sqlite3_declare_vtab, of json_each too; a statement cannot (it may not be modified) */
        return sqlite3_stricmp(one, "sqlite_master") ? SQLITE_DENY : SQLITE_OK;
    default:
        return SQLITE_DENY;
    }
}

/* Called now and then while a statement runs; not 0 ends it. */
static int progress(void *arg)
{
    struct sql *s = arg;
    int64_t now = sys_mono_ms();
    uint64_t moves = s->moves + s->input.passed;
    if (moves != s->moved || !s->since_ms) {
        s->moved = moves;
        s->since_ms = now;
    }
    s->late = now - s->since_ms > s->timeout_ms;
    return s->late;
}

/* Our own statements may write, and have parameters. */
static void set_up(struct sql *s, bool ours)
{
    s->set_up = ours;
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_VARIABLE_NUMBER, ours ? VARIABLES : 0);
}

/* ---- opening ---- */

static int run(struct sql *s, const char *text, struct err *err)
{
    if (sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return sql_failed(s, err);
}

static int limits_set(struct sql *s, struct err *err)
{
    const struct limits *l = &s->config->limits;
    int64_t sort = l->memory / 16 < SORT_BYTES_MAX ? l->memory / 16 : SORT_BYTES_MAX;
    char text[200];
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, (int)(l->row_bytes < 1000000000 ? l->row_bytes : 1000000000));
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LIKE_MAX);
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_WORKER_THREADS, 0);
    /* a name in double quotes that is no column is a mistake, and no text */
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    snprintf(text, sizeof text, "PRAGMA page_size = %d; PRAGMA max_page_count = %lld; PRAGMA temp_store = FILE; PRAGMA cache_size = -%lld",
             PAGE, (long long)(l->memory / 2 / PAGE), (long long)(sort / 1024));
    return run(s, text, err);
}

int sql_open(struct sql *s, const struct step_part *part, const struct columns *columns, struct err *err)
{
    const struct config *config = part->config;
    *s = (struct sql){ .part = part, .config = config, .stage = part->stage, .input = { .columns = columns, .unfit_column = -1 }, .set_up = true,
                       .timeout_ms = part->recipe->transform_timeout_ms };
    if (!(s->looked_up = calloc((size_t)config->nlookups + 1, sizeof *s->looked_up)))
        return err_nomem(err);
    if (scratch_open(&s->scratch, s->stage, config->limits.scratch, err) < 0)
        return -1;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(":memory:", &s->db, flags, s->scratch.name) != SQLITE_OK)
        return s->db ? sql_failed(s, err) : err_nomem(err);
    (void)sqlite3_extended_result_codes(s->db, 1);
    if (limits_set(s, err) < 0)
        return -1;
    if (sql_input_declare(s->db, &s->input) != SQLITE_OK || sql_functions_declare(s->db) != SQLITE_OK)
        return sql_failed(s, err);
    for (int i = 0; i < config->nlookups; i++)
        if (lookup_table(s->db, &config->lookups[i], err) < 0)
            return -1;
    if (sql_parts_make(s, err) < 0)
        return -1;
    (void)sqlite3_set_authorizer(s->db, authorize, s);
    if (s->timeout_ms)
        sqlite3_progress_handler(s->db, PROGRESS_OPS, progress, s);
    set_up(s, false);
    return 0;
}

void sql_close(struct sql *s)
{
    sql_parts_close(s);
    if (s->db)
        sqlite3_close(s->db);
    scratch_close(&s->scratch);
    free(s->looked_up);
    *s = (struct sql){ 0 };
}

/* ---- statements ---- */

#define NO_COMMENT "; a semicolon begins no comment in SQL, -- does"

/* A table that is not there may be a part of the pipeline; a semicolon at the fault (`at`) was meant for another kind of key. */
static const char *hint(const struct sql *s, const char *at)
{
    static const char missing[] = "no such table: ";
    const char *message = sqlite3_errmsg(s->db), *table = message + sizeof missing - 1;
    const struct pipeline *p = s->part->pipeline;
    if (*at == ';')
        return NO_COMMENT;
    if (strncmp(message, missing, sizeof missing - 1) != 0)
        return "";
    for (int i = 0; i < p->nparts; i++)
        if (strchr(p->parts[i].name, '.') && !sqlite3_stricmp(table, recipe_part(&p->parts[i])))
            return &p->parts[i] == s->part->recipe ? "; the rows of this part are the table input"
                                                   : "; it is another part of this pipeline: name it in lookup_parts";
    return "";
}

static int fault_at(const char *text, size_t at, const char *what, const char *more, struct err *err)
{
    int line, column;
    sql_text_place(text, at, &line, &column);
    return err_set(err, ERR_SQL, "line %d, column %d: %s%s", line, column, what, more);
}

/* Of a statement that is none of ours: where it begins. */
static int statement_fault(const char *text, const char *what, const char *more, struct err *err)
{
    return fault_at(text, (size_t)(sql_text_space(text) - text), what, more, err);
}

static int not_prepared(struct sql *s, int rc, size_t front, const char *text, struct err *err)
{
    struct sql_fault fault;
    if ((rc & 0xff) == SQLITE_AUTH)
        return statement_fault(text, "a SELECT was expected, which reads: nothing can be written, attached or set here", "", err);
    if ((rc & 0xff) != SQLITE_ERROR)
        return sql_failed(s, err);
    sql_fault_of(&fault, s->db, front, text);
    if (!fault.placed)
        return err_set(err, ERR_SQL, "%s%s", fault.what, hint(s, ""));
    return fault_at(text, fault.at, fault.what, hint(s, text + fault.at), err);
}

/* A constant of it that no row can change. */
static int constants_check(const char *text, struct err *err)
{
    char why[400];
    size_t at;
    return sql_regexp_fault(text, &at, why, sizeof why) ? fault_at(text, at, why, "", err) : 0;
}

static bool word_is(const char *p, const char *end, const char *word)
{
    return (size_t)(end - p) == strlen(word) && !sqlite3_strnicmp(p, word, (int)(end - p));
}

/* Where the text names the table input for the nth time, or for the last; its begin, if it is nowhere. */
static size_t input_at(const char *text, int nth)
{
    size_t found = 0;
    bool table = false; /* a table may stand here */
    for (const char *p = sql_text_space(text), *end, *next; *p && nth; p = next) {
        end = sql_text_token(p);
        next = sql_text_space(end);
        bool quoted = strchr("\"`[", *p) != NULL && end - p > 2;
        if (table && *next != '.' && word_is(p + quoted, end - quoted, "input")) {
            found = (size_t)(p - text);
            nth--;
        }
        table = word_is(p, end, "FROM") || word_is(p, end, "JOIN") || word_is(p, end, "IN") || *p == ',' || (table && *p == '(');
    }
    return found;
}

/* The plan of `whole`, which can be prepared, reads input in one place alone? A statement without text of ours in front names it itself. */
static int reads_once(struct sql *s, const char *whole, bool front, const char *text, struct err *err)
{
    AUTO(buf_clear) struct buf explain = { 0 };
    sqlite3_stmt *st;
    int places = 0, rc;
    buf_adds(&explain, "EXPLAIN QUERY PLAN ");
    buf_adds(&explain, whole);
    if (explain.failed)
        return err_nomem(err);
    if (sqlite3_prepare_v2(s->db, explain.p, (int)explain.n, &st, NULL) != SQLITE_OK)
        return sql_failed(s, err);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(st, 3);
        places += detail && strstr(detail, SQL_INPUT_PLAN);
    }
    if (rc != SQLITE_DONE)
        sql_failed(s, err);
    sqlite3_finalize(st);
    if (rc != SQLITE_DONE)
        return -1;
    return places > 1 ? fault_at(text, input_at(text, front ? 1 : 2), SQL_INPUT_TWICE, "", err) : 0;
}

/* Is there more than space, semicolons and comments? */
static bool more_sql(struct sql *s, const char *tail)
{
    sqlite3_stmt *st = NULL;
    bool more = sqlite3_prepare_v2(s->db, tail, -1, &st, NULL) != SQLITE_OK || st;
    sqlite3_finalize(st);
    return more;
}

/* The columns that USING and NATURAL compare are read without a word to the authorizer, so that it may not hear of a table at all. */
static void note_joins(struct sql *s, const char *text)
{
    if (!strcasestr(text, "using") && !strcasestr(text, "natural"))
        return;
    s->joins_by_name = true;
    s->reads_input |= strcasestr(text, "input") != NULL;
    for (int i = 0; i < s->config->nlookups; i++)
        s->looked_up[i] |= strcasestr(text, s->config->lookups[i].name) != NULL;
    for (int i = 0; i < s->ncopies; i++)
        s->copies[i].wanted |= strcasestr(text, s->copies[i].table->name) != NULL;
}

int sql_prepare(struct sql *s, sqlite3_stmt **st, const char *front, const char *text, const char *behind, struct err *err)
{
    AUTO(buf_clear) struct buf whole = { 0 };
    const char *tail;
    *st = NULL;
    buf_adds(&whole, front);
    buf_adds(&whole, text);
    buf_adds(&whole, behind);
    if (whole.failed)
        return err_nomem(err);
    note_joins(s, text);
    int rc = sqlite3_prepare_v3(s->db, whole.p, (int)whole.n, SQLITE_PREPARE_PERSISTENT, st, &tail);
    if (rc != SQLITE_OK)
        return not_prepared(s, rc, strlen(front), text, err);
    if (!*st || !sqlite3_column_count(*st) || !sqlite3_stmt_readonly(*st))
        statement_fault(text, "one SELECT was expected", "", err);
    else if (more_sql(s, tail))
        fault_at(text, (size_t)(sql_text_space(tail) - whole.p) - strlen(front),
                 "one SELECT was expected, and there is more behind its semicolon", NO_COMMENT, err);
    else if (constants_check(text, err) == 0 && reads_once(s, whole.p, *front != '\0', text, err) == 0)
        return 0;
    sqlite3_finalize(*st);
    *st = NULL;
    return -1;
}

int sql_refuse(const struct sql *s, const struct rows *rows, uint32_t row, int column, struct err *err)
{
    char text[32];
    const struct column *c = &s->input.columns->v[column];
    int n = text_put_decimal(text, rows->values[(size_t)row * rows->cols + (size_t)column].i, c->scale);
    return rejects_add(s->part->rejects, REJECT_SQL_RANGE, c->name, (struct str){ text, (size_t)n }, rows->places[row], err);
}

int sql_load(struct sql *s, struct err *err)
{
    int rc = 0;
    set_up(s, true);
    for (int i = 0; i < s->config->nlookups && rc == 0; i++) {
        if (!s->looked_up[i])
            continue;
        rc = lookup_load(s->db, s->config, i, s->stage, err);
        s->looked_up[i] = false;
    }
    if (rc == 0)
        rc = sql_parts_load(s, err);
    set_up(s, false);
    return rc;
}

void sql_blame(const struct step_part *part, const struct sql_text *text, const char *key)
{
    if (part->fault)
        *part->fault = (struct step_fault){ text->place, key };
}

int sql_failed(struct sql *s, struct err *err)
{
    char text[32];
    if (s->scratch.err.code != ERR_NONE) {
        *err = s->scratch.err;
        return -1;
    }
    if (s->late) {
        text_put_duration(text, sizeof text, s->timeout_ms);
        return err_set(err, ERR_LIMIT, "no row went in or out for %s (transform_timeout)", text);
    }
    switch (sqlite3_errcode(s->db) & 0xff) {
    case SQLITE_NOMEM:
        return err_nomem(err);
    case SQLITE_TOOBIG:
        text_put_size(text, sizeof text, s->config->limits.row_bytes);
        return err_set(err, ERR_LIMIT, "a value would be longer than %s ([limits] row)", text);
    default:
        return err_set(err, ERR_SQL, "%s", sqlite3_errmsg(s->db));
    }
}
