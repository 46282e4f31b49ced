/* Loading a job into a server; see the header. */
#include "target/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"

/* ---- texts ---- */

void server_now(char out[SERVER_NOW], const char *behind)
{
    int n = snprintf(out, SERVER_NOW, "'");
    n += text_put_timestamp(out + n, sys_now_ms() * 1000, ' ');
    snprintf(out + n, SERVER_NOW - (size_t)n, "%s", behind);
}

void server_table_name(struct buf *out, const char *name, void (*quote)(struct buf *out, const char *name))
{
    const char *dot = strchr(name, '.');
    AUTO(free_charp) char *schema = dot ? strndup(name, (size_t)(dot - name)) : NULL;
    if (schema) {
        quote(out, schema);
        buf_addc(out, '.');
    }
    out->failed |= dot && !schema;
    quote(out, dot ? dot + 1 : name);
}

/* ---- tables ---- */

static void forget_one(struct server_tables *t, struct server_known *k)
{
    if (k->table)
        t->clear(k->table);
    free(k->table);
    free(k->id);
}

void server_tables_forget(struct server_tables *t)
{
    for (int i = 0; i < t->n; i++)
        forget_one(t, &t->v[i]);
    free(t->v);
    t->v = NULL;
    t->n = 0;
}

void *server_table(struct server_tables *t, const struct table_spec *spec,
                   int (*look)(void *arg, void *table, const struct table_spec *spec, struct err *err), void *arg, struct err *err)
{
    struct buf id = { 0 };
    table_spec_id(&id, spec);
    columns_print(spec->columns, &id);
    for (int i = 0; i < t->n && !id.failed; i++)
        if (!strcmp(t->v[i].id, id.p)) {
            buf_clear(&id);
            return t->v[i].table;
        }
    struct server_known *more = realloc(t->v, (size_t)(t->n + 1) * sizeof *more);
    if (more)
        t->v = more;
    struct server_known k = { id.p, calloc(1, t->bytes) };
    int rc = !more || !k.table || id.failed ? err_nomem(err) : look(arg, k.table, spec, err);
    if (rc < 0) {
        forget_one(t, &k);
        return NULL;
    }
    t->v[t->n++] = k;
    return k.table;
}

/* ---- the ledger ---- */

void server_ledger_values(const struct server *s, struct target_conn *c, struct buf *sql, const struct load_job *job)
{
    s->literal(c, sql, job->uid);
    buf_addf(sql, ", %" PRId64 ", ", job->id);
    s->literal(c, sql, job->pipeline);
    buf_adds(sql, ", ");
    s->literal(c, sql, job->objects ? job->objects : "[]");
    buf_addf(sql, ", %" PRId64 ", %" PRId64 ", 0, 0, 0, 0", load_rows(job), load_rows(job));
}

int server_held(struct err *err)
{
    if (err->code == ERR_TARGET_DENIED || err->code == ERR_TARGET_LOCKED)
        err->code = ERR_TARGET;
    return -1;
}

int server_probe(const struct server *s, struct target_conn *c, bool there, struct err *err)
{
    /* rights are asked for, and whether anything can be written at all, though no row is */
    static const char *const writes[] = { "INSERT INTO qetl_load SELECT * FROM qetl_load WHERE 1 = 0",
                                          "UPDATE qetl_load SET removed = removed WHERE 1 = 0" };
    if (!there)
        return err_set(err, ERR_TARGET, "there is no ledger qetl_load that the user sees; qetlctl init makes it, or says why it cannot");
    for (size_t i = 0; i < COUNT_OF(writes); i++)
        if (s->run(c, writes[i], "write the ledger qetl_load", NULL, err) < 0)
            return server_held(err);
    return 0;
}

static int correct_counts(const struct server *s, struct target_conn *c, const struct load_job *job, struct err *err)
{
    const struct load_counts *n = &job->counts;
    AUTO(buf_clear) struct buf sql = { 0 };
    if (n->inserted == load_rows(job) && !n->updated && !n->unchanged && !n->deleted && !n->removed)
        return 0;
    buf_addf(&sql, "UPDATE qetl_load SET inserted = %" PRId64 ", updated = %" PRId64 ", unchanged = %" PRId64 ", deleted = %" PRId64
                   ", removed = %" PRId64 " WHERE uid = ", n->inserted, n->updated, n->unchanged, n->deleted, n->removed);
    s->literal(c, &sql, job->uid);
    if (sql.failed)
        return err_nomem(err);
    return s->run(c, sql.p, "write the ledger", NULL, err) < 0 ? server_held(err) : 0;
}

/* ---- a job ---- */

int server_refuse_row(struct err *err, const char *said, const char *column, int64_t row, int64_t rows, struct str values)
{
    enum { SHOWN = 120 }; /* bytes of the values, and those of a character that begins in them */
    AUTO(buf_clear) struct buf text = { 0 };
    size_t n = values.n;
    if (n > SHOWN)
        for (n = SHOWN; n < values.n && ((unsigned char)values.p[n] & 0xc0) == 0x80; n++)
            ;
    buf_addf(&text, "%s; ", said);
    if (column)
        buf_addf(&text, "column '%s' of ", column);
    buf_addf(&text, "row %" PRId64 " of the %" PRId64 " that were staged (rejects do not count): ", row, rows);
    for (size_t i = 0; i < n; i++)
        buf_addc(&text, (unsigned char)values.p[i] < ' ' ? ' ' : values.p[i]);
    buf_adds(&text, n < values.n ? "..." : "");
    return text.failed ? err_nomem(err) : err_set(err, ERR_TARGET_REFUSED, "%s", text.p);
}

int server_empty_table(const struct server *s, struct target_conn *c, const char *table, struct load_job *job, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    int64_t removed = 0;
    buf_addf(&sql, "DELETE FROM %s", table); /* TRUNCATE would commit, or lock readers out */
    if (sql.failed)
        return err_nomem(err);
    if (s->run(c, sql.p, "empty the table", &removed, err) < 0)
        return -1;
    job->counts.removed += removed;
    return 0;
}

static int after_load(const struct server *s, struct target_conn *c, const struct load_job *job, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    if (!job->after_load)
        return 0;
    load_params_fill(&sql, job->after_load, s->param_reads);
    if (sql.failed)
        return err_nomem(err);
    if (s->set_params(c, job, err) < 0)
        return -1;
    int rc = s->after_load(c, sql.p, err);
    if (rc < 0 && err->code == ERR_TARGET_REFUSED)
        err->code = ERR_AFTER_LOAD;
    return rc;
}

static int load_all(const struct server *s, struct target_conn *c, struct load_job *job, struct err *err)
{
    if (s->prepare && s->prepare(c, job, err) < 0)
        return -1;
    for (int i = 0; i < job->noutputs; i++)
        if (s->load_output(c, job, i, err) < 0)
            return -1;
    if (after_load(s, c, job, err) < 0 || s->settle(c, job, err) < 0) {
        job->took_down = job->after_load && s->lost(c);
        return -1;
    }
    return correct_counts(s, c, job, err);
}

static int found(const struct server *s, struct target_conn *c, struct load_job *job, struct err *err)
{
    int there = s->loaded(c, job->uid, &job->counts, err);
    return there == 1 ? 0 : there < 0 ? -1 : err_set(err, ERR_TARGET, "the ledger's row went away");
}

int server_load_job(const struct server *s, struct target_conn *c, struct load_job *job, struct err *err)
{
    job->counts = (struct load_counts){ 0 };
    job->slow_rows = 0;
    job->took_down = false;
    int there = s->enter(c, job, err);
    job->was_there = there == 1;
    if (there == 1)
        return found(s, c, job, err);
    if (there < 0)
        (void)server_held(err);
    if (there == 0 && load_all(s, c, job, err) == 0)
        return 0;
    job->counts = (struct load_counts){ 0 };
    job->slow_rows = 0;
    if (err_class(err->code) == ERR_TRANSIENT)
        return -1;
    struct err undo;
    s->forget(c);
    if (s->run(c, s->rollback, "roll back the job", NULL, &undo) == 0)
        return -1;
    err->code = ERR_TARGET; /* the savepoint is gone with the transaction, which a procedure of after_load may have ended */
    job->took_down |= job->after_load != NULL;
    return err_in(err, "job %s: the whole transaction is gone", job->uid);
}

/* ---- names ---- */

int server_table_fits(const struct table_spec *spec, const char *outer, server_name_fits *fits, struct err *err)
{
    const char *dot = strchr(spec->name, '.'), *table = dot ? dot + 1 : spec->name;
    return (dot && fits(outer, spec->name, (size_t)(dot - spec->name), err) < 0) || fits("table", table, strlen(table), err) < 0 ? -1 : 0;
}

int server_columns_fit(const struct table_spec *spec, server_name_fits *fits, struct err *err)
{
    for (int i = 0; i < spec->columns->n; i++)
        if (fits("column", spec->columns->v[i].name, strlen(spec->columns->v[i].name), err) < 0)
            return -1;
    return 0;
}
