/*
 * The verb columns: those that on_new_column = add keeps for pipelines, whether their tables have them, and how to be rid of one.
 *
 * What is forgotten is no column of later jobs; the table is left as it is. A file that has it may bring it anew, by on_new_column.
 */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bin/table.h"
#include "queue/drift.h"
#include "target/target.h"

static const struct table_col column_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT }, { "column", "COLUMN", CELL_TEXT }, { "kept", "AS columns= HAS IT", CELL_TEXT },
    { "job", "BROUGHT BY JOB", CELL_JOB }, { "at", "SINCE", CELL_TIME },      { "in_table", "IN TABLE", CELL_TEXT },
};

/* ---- does the table have it? ---- */

struct look {
    const char *column;
    bool asked, found;
};

static int look_columns(void *arg, int n, const char *const *names, struct err *err)
{
    struct look *l = arg;
    (void)err;
    l->asked = true;
    for (int i = 0; i < n; i++)
        l->found |= !strcasecmp(names[i], l->column);
    return 0;
}

static int look_row(void *arg, int n, const struct query_value *values, struct err *err)
{
    (void)arg, (void)n, (void)values, (void)err;
    return 0;
}

/* A name as the database of that scheme takes it, that of a schema before it by itself. */
static void put_name(struct buf *sql, const char *scheme, const char *name)
{
    char quote = strcmp(scheme, "mysql") ? '"' : '`';
    bool schemas = strcmp(scheme, "sqlite") != 0;
    buf_addc(sql, quote);
    for (; *name; name++) {
        if (*name == quote)
            buf_addc(sql, quote);
        if (*name == '.' && schemas)
            buf_addf(sql, "%c.%c", quote, quote);
        else
            buf_addc(sql, *name);
    }
    buf_addc(sql, quote);
}

static const struct recipe *recipe_by_name(const struct config *config, const char *name)
{
    for (int i = 0; i < config->npipelines; i++)
        for (int k = 0; k < config->pipelines[i].nparts; k++)
            if (!strcmp(config->pipelines[i].parts[k].name, name))
                return &config->pipelines[i].parts[k];
    return NULL;
}

/* "yes", "no"; NULL: nobody can say, because the ini, the target or the table is not there, or the target has no tables. */
static const char *in_table(const struct config *config, const char *recipe, const char *column)
{
    const struct recipe *r = recipe_by_name(config, recipe);
    const struct target_config *tc = r ? config_target(config, r->target) : NULL;
    struct err ignored;
    const struct target *t = tc ? target_by_url(tc->url, &ignored) : NULL;
    struct look look = { .column = column };
    const struct query_sink sink = { look_columns, look_row, &look };
    AUTO(buf_clear) struct buf sql = { 0 };
    if (!t || !t->query)
        return NULL;
    buf_adds(&sql, "SELECT * FROM ");
    put_name(&sql, t->scheme, r->table_name);
    buf_adds(&sql, " WHERE 1 = 0");
    if (sql.failed || t->query(config, tc, sql.p, &sink, &ignored) < 0 || !look.asked)
        return NULL;
    return look.found ? "yes" : "no";
}

/* ---- the verb ---- */

struct listing {
    struct ctl *ctl;
    struct table table;
};

static int column_cells(void *arg, const struct added_row *r)
{
    struct listing *l = arg;
    table_text(&l->table, r->recipe);
    table_text(&l->table, r->name);
    table_text(&l->table, r->column);
    table_int(&l->table, r->job);
    table_int(&l->table, r->at);
    const char *there = in_table(l->ctl->config, r->recipe, r->name);
    table_text(&l->table, there || l->table.json ? there : "not known");
    return 0;
}

static int list(struct ctl *c, const char *recipe)
{
    struct listing l = { .ctl = c };
    table_init(&l.table, c->json, column_cols, COUNT_OF(column_cols));
    if (job_added_list(c->queue, recipe, column_cells, &l, &c->err) < 0)
        return -1;
    table_print(&l.table, "columns", "no columns were added by on_new_column = add");
    return 0;
}

static int forget(struct ctl *c, const char *recipe, const char *column)
{
    int rc = job_added_forget(c->queue, recipe, column, &c->err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return err_set(&c->err, ERR_NOT_FOUND, "no column '%s' was added to '%s'; qetlctl columns lists those that were", column, recipe);
    if (c->json)
        puts("{\"forgotten\":1}");
    else
        printf("'%s' is no column of '%s' any more; its table is left as it is\n", column, recipe);
    return 0;
}

int ctl_columns(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "forget", required_argument, NULL, 'f' }, { NULL, 0, NULL, 0 } };
    const char *column = NULL;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o != 'f')
            return -1; /* ctl_option() has said it */
        column = optarg;
    }
    const char *recipe = optind < argc ? argv[optind] : NULL;
    if (argc - optind > 1 || (column && !recipe))
        return ctl_usage(c, "columns wants one pipeline (or PIPELINE.PART)%s", column ? " to forget a column of" : " at most");
    if (ctl_queue(c, 0) < 0)
        return -1;
    return column ? forget(c, recipe, column) : list(c, recipe);
}
