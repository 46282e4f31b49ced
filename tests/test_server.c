/* How a job is loaded into a server with SQL, whatever server: its order, what is taken back, and what is remembered. */
#include "target/server.h"
#include "target/lacking.h"

#include "test.h"

static struct err err;

/* ---- a server that writes down what it is asked ---- */

struct target_conn {
    struct buf said; /* what it was asked, with ';' */
    bool there;      /* the ledger has the job */
    const char *fails; /* at the statement that has this in it */
    enum err_code code;
    int64_t changes;
    bool gone;
};

static int ask(struct target_conn *c, const char *what, struct err *e)
{
    buf_addf(&c->said, "%s;", what);
    return c->fails && strstr(what, c->fails) ? err_set(e, c->code, "no: %s", what) : 0;
}

static void literal(struct target_conn *c, struct buf *out, const char *text)
{
    (void)c;
    buf_addf(out, "'%s'", text);
}

static int run(struct target_conn *c, const char *sql, const char *what, int64_t *rows, struct err *e)
{
    (void)what;
    if (rows)
        *rows = c->changes;
    return ask(c, sql, e);
}

static const struct server fake;

static int enter(struct target_conn *c, const struct load_job *job, struct err *e)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    server_ledger_values(&fake, c, &sql, job);
    return ask(c, sql.p, e) < 0 ? -1 : c->there;
}

static int loaded(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *e)
{
    *counts = (struct load_counts){ .inserted = 9 };
    return ask(c, "loaded", e) < 0 || !uid ? -1 : 1;
}

static int load_output(struct target_conn *c, struct load_job *job, int at, struct err *e)
{
    job->counts.inserted += job->outputs[at].output->rows;
    if (job->outputs[at].spec.mode == MODE_REPLACE && load_begins_table(job, at, strcmp) &&
        server_empty_table(&fake, c, job->outputs[at].spec.name, job, e) < 0)
        return -1;
    return ask(c, job->outputs[at].spec.name, e);
}

static const char *const reads[LOAD_PARAMS] = { "<job>", "<of>", "<now>", "<before>" };
static int set_params(struct target_conn *c, const struct load_job *job, struct err *e)
{
    AUTO(buf_clear) struct buf said = { 0 };
    buf_addf(&said, "of %s", load_param(job, LOAD_PARAM_JOB));
    return ask(c, said.p, e);
}
static int after_load(struct target_conn *c, const char *sql, struct err *e) { return ask(c, sql, e); }
static int settle(struct target_conn *c, const struct load_job *job, struct err *e) { return job->after_load ? ask(c, "settle", e) : 0; }
static bool lost(struct target_conn *c) { return c->gone; }
static void forget(struct target_conn *c) { buf_adds(&c->said, "forget;"); }

static const struct server fake = { .rollback = "BACK",
                                    .literal = literal,
                                    .run = run,
                                    .enter = enter,
                                    .loaded = loaded,
                                    .load_output = load_output,
                                    .param_reads = reads,
                                    .set_params = set_params,
                                    .after_load = after_load,
                                    .settle = settle,
                                    .lost = lost,
                                    .forget = forget };

static const struct output five = { .rows = 5 };
static struct load_output outputs[] = { { .spec = { .name = "a" }, .output = &five },
                                        { .spec = { .name = "b" }, .output = &five },
                                        { .spec = { .name = "a" }, .output = &five } };

/* Loads a job of the first n outputs; what the server was asked. */
static const char *load(struct target_conn *c, struct load_job *job, int n, int *rc)
{
    buf_reset(&c->said);
    *job = (struct load_job){ .uid = "U", .pipeline = "p", .id = 7, .outputs = outputs, .noutputs = n, .after_load = job->after_load };
    *rc = server_load_job(&fake, c, job, &err);
    buf_addc(&c->said, '\0');
    return c->said.p;
}

TEST(server, the_ledger_comes_first_and_the_counts_last)
{
    struct target_conn c = { 0 };
    struct load_job job = { .after_load = "x :job :watermark" };
    int rc;
    CHECK_STR(load(&c, &job, 2, &rc), "'U', 7, 'p', '[]', 10, 10, 0, 0, 0, 0;a;b;of U;x <job> <now>;settle;");
    CHECK_EQ(rc, 0);
    CHECK_EQ(job.counts.inserted, 10);
    buf_clear(&c.said);
}

TEST(server, a_replaced_table_is_emptied_once_and_the_counts_are_corrected)
{
    struct target_conn c = { .changes = 3 };
    struct load_job job = { 0 };
    int rc;
    for (int i = 0; i < 3; i++)
        outputs[i].spec.mode = MODE_REPLACE;
    CHECK_STR(load(&c, &job, 3, &rc), "'U', 7, 'p', '[]', 15, 15, 0, 0, 0, 0;DELETE FROM a;a;DELETE FROM b;b;a;"
              "UPDATE qetl_load SET inserted = 15, updated = 0, unchanged = 0, deleted = 0, removed = 6 WHERE uid = 'U';");
    CHECK_EQ(rc, 0);
    CHECK_EQ(job.counts.removed, 6);
    for (int i = 0; i < 3; i++)
        outputs[i].spec.mode = MODE_APPEND;
    buf_clear(&c.said);
}

TEST(server, a_job_that_is_there_is_not_loaded_again)
{
    struct target_conn c = { .there = true };
    struct load_job job = { 0 };
    int rc;
    CHECK_STR(load(&c, &job, 2, &rc), "'U', 7, 'p', '[]', 10, 10, 0, 0, 0, 0;loaded;");
    CHECK_EQ(rc, 0);
    CHECK(job.was_there);
    CHECK_EQ(job.counts.inserted, 9);
    c.fails = "loaded", c.code = ERR_UNDONE; /* a person took it out */
    (void)load(&c, &job, 2, &rc);
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_UNDONE);
    buf_clear(&c.said);
}

TEST(server, what_is_refused_goes_back_to_the_savepoint_what_passes_does_not)
{
    struct target_conn c = { .fails = "b", .code = ERR_TARGET_REFUSED };
    struct load_job job = { 0 };
    int rc;
    CHECK_STR(load(&c, &job, 2, &rc), "'U', 7, 'p', '[]', 10, 10, 0, 0, 0, 0;a;b;forget;BACK;");
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_TARGET_REFUSED);
    CHECK_EQ(job.counts.inserted, 0);
    c.code = ERR_TARGET;
    CHECK_STR(load(&c, &job, 2, &rc), "'U', 7, 'p', '[]', 10, 10, 0, 0, 0, 0;a;b;");
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_TARGET);
    buf_clear(&c.said);
}

TEST(server, a_missing_right_is_the_jobs_at_its_tables_and_the_targets_at_the_ledger)
{
    struct target_conn c = { .fails = "b", .code = ERR_TARGET_DENIED };
    struct load_job job = { 0 };
    int rc;
    CHECK_STR(load(&c, &job, 2, &rc), "'U', 7, 'p', '[]', 10, 10, 0, 0, 0, 0;a;b;forget;BACK;");
    CHECK_EQ(err.code, ERR_TARGET_DENIED);
    c.fails = "'U', 7";
    CHECK_STR(load(&c, &job, 2, &rc), "'U', 7, 'p', '[]', 10, 10, 0, 0, 0, 0;");
    CHECK_EQ(err.code, ERR_TARGET);
    c.code = ERR_TARGET_LOCKED; /* nobody else could load either */
    (void)load(&c, &job, 2, &rc);
    CHECK_EQ(err.code, ERR_TARGET);
    c.code = ERR_TARGET_DENIED;
    c.fails = "UPDATE qetl_load", c.changes = 1;
    outputs[0].spec.mode = MODE_REPLACE;
    (void)load(&c, &job, 1, &rc);
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_TARGET);
    outputs[0].spec.mode = MODE_APPEND;
    buf_clear(&c.said);
}

TEST(server, a_savepoint_that_is_gone_takes_the_whole_transaction)
{
    struct target_conn c = { .fails = "B", .code = ERR_TARGET_REFUSED };
    struct load_job job = { .after_load = "END B" };
    int rc;
    (void)load(&c, &job, 1, &rc);
    CHECK_EQ(rc, -1);
    CHECK_EQ(err.code, ERR_TARGET); /* a passing one: the group is rolled back */
    CHECK(job.took_down); /* its after_load may have ended it */
    c.gone = true;
    (void)load(&c, &job, 1, &rc);
    CHECK(job.took_down);
    job.after_load = NULL;
    c.gone = false;
    (void)load(&c, &job, 1, &rc);
    CHECK(!job.took_down);
    buf_clear(&c.said);
}

/* ---- tables ---- */

static int looked, cleared;
static void clear_table(void *table) { cleared += *(int *)table != 0; }
static int look(void *arg, void *table, const struct table_spec *spec, struct err *e)
{
    *(int *)table = ++looked;
    return arg ? err_set(e, ERR_TARGET_REFUSED, "%s", spec->name) : 0;
}

TEST(server_tables, are_looked_at_once_for_each_kind_of_output)
{
    struct server_tables t = { .bytes = sizeof(int), .clear = clear_table };
    struct columns one, two;
    CHECK_OK(columns_parse(&one, "a", &err), err);
    CHECK_OK(columns_parse(&two, "a, b", &err), err);
    static const int key0[] = { 0 }, key1[] = { 1 };
    struct table_spec specs[] = { { .name = "t", .columns = &two },
                                  { .name = "u", .columns = &two },
                                  { .name = "t", .columns = &one },
                                  { .name = "t", .columns = &two, .mode = MODE_UPSERT, .nkey = 1, .key = key0 },
                                  { .name = "t", .columns = &two, .mode = MODE_UPSERT, .nkey = 1, .key = key1 },
                                  { .name = "t", .columns = &two, .mode = MODE_UPSERT, .nkey = 1, .key = key1, .undo_ms = 1 } };
    void *tables[COUNT_OF(specs)];
    for (size_t i = 0; i < COUNT_OF(specs); i++) {
        tables[i] = server_table(&t, &specs[i], look, NULL, &err);
        CHECK_EQ(*(int *)tables[i], i + 1);
    }
    for (size_t i = 0; i < COUNT_OF(specs); i++)
        CHECK(server_table(&t, &specs[i], look, NULL, &err) == tables[i]);
    CHECK_EQ(looked, COUNT_OF(specs));
    specs[0].name = "refused";
    CHECK(server_table(&t, &specs[0], look, &t, &err) == NULL);
    CHECK_STR(err.msg, "refused");
    CHECK_EQ(cleared, 1);
    server_tables_forget(&t);
    CHECK_EQ(cleared, 1 + COUNT_OF(specs));
    CHECK_EQ(t.n, 0);
    columns_clear(&one);
    columns_clear(&two);
}

static void in_brackets(struct buf *out, const char *name) { buf_addf(out, "<%s>", name); }

TEST(server_texts, names_and_times)
{
    static const char *const names[][2] = { { "t", "<t>" }, { "s.t", "<s>.<t>" }, { "s.t.u", "<s>.<t.u>" }, { ".t", "<>.<t>" } };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO(buf_clear) struct buf out = { 0 };
        server_table_name(&out, names[i][0], in_brackets);
        CHECK_STR(out.p, names[i][1]);
    }
    char now[SERVER_NOW];
    server_now(now, "+00'::timestamp with time zone");
    CHECK_HAS(now, "+00'::timestamp with time zone");
    CHECK_EQ(now[0], '\'');
    CHECK(strlen(now) < sizeof now - 1);
}

/* ---- what holds for all targets ---- */

TEST(table_spec, a_column_that_history_itself_keeps_is_refused)
{
    struct columns own, taken;
    struct table_spec spec;
    int key[1];
    char *id = (char[]){ "id" };
    struct recipe recipe = { .name = (char[]){ "p" }, .table = (char[]){ "pg.t" }, .table_name = (char[]){ "t" }, .mode = MODE_HISTORY, .nkey = 1, .key = &id };
    CHECK_OK(columns_parse(&own, "id:integer!, v:text", &err), err);
    CHECK_OK(columns_parse(&taken, "id:integer!, valid_to:date", &err), err);
    CHECK_OK(table_spec_of(&spec, &recipe, &own, key, NULL, &err), err);
    CHECK_EQ(table_spec_of(&spec, &recipe, &taken, key, NULL, &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_HAS(err.msg, "'valid_to'");
    recipe.mode = MODE_UPSERT;
    CHECK_OK(table_spec_of(&spec, &recipe, &taken, key, NULL, &err), err);
    columns_clear(&own);
    columns_clear(&taken);
}

/* ---- columns that a table lacks ---- */

static void declare(struct buf *out, const struct column *c) { buf_addf(out, "<%s> x", c->name); }
static bool odd(const void *arg, int i) { return i % 2 || !arg; }
static bool none(const void *arg, int i) { return arg && i < 0; }

TEST(lacking, all_columns_are_named_with_the_statement_that_adds_them)
{
    struct columns columns;
    struct lacking l = { .table = "t", .quoted = "<t>", .declare = declare, .one_alter = true };
    CHECK_OK(columns_parse(&columns, "a, b, c, d", &err), err);
    CHECK_EQ(lacking_refuse(&l, &columns, none, &l, &err), 0);
    CHECK_EQ(lacking_refuse(&l, &columns, odd, &l, &err), -1);
    CHECK_EQ(err.code, ERR_TARGET_REFUSED);
    CHECK_STR(err.msg, "table 't' has no columns 'b', 'd'; run: ALTER TABLE <t> ADD COLUMN <b> x, ADD COLUMN <d> x");
    l.one_alter = false;
    l.of = "file";
    CHECK_EQ(lacking_refuse(&l, &columns, odd, &l, &err), -1);
    CHECK_STR(err.msg, "table 't' of 'file' has no columns 'b', 'd'; run: ALTER TABLE <t> ADD COLUMN <b> x; ALTER TABLE <t> ADD COLUMN <d> x");
    columns_clear(&columns);
}

TEST(lacking, of_very_many_columns_the_first_are_named_and_no_statement_is_cut)
{
    struct columns columns;
    struct lacking l = { .table = "t", .quoted = "<t>", .declare = declare };
    AUTO(buf_clear) struct buf text = { 0 };
    for (int i = 0; i < 200; i++)
        buf_addf(&text, "%scolumn_%d", i ? ", " : "", i);
    CHECK_OK(columns_parse(&columns, text.p, &err), err);
    CHECK_EQ(lacking_refuse(&l, &columns, odd, NULL, &err), -1);
    CHECK_HAS(err.msg, "table 't' has no columns 'column_0', 'column_1', ");
    CHECK_HAS(err.msg, "' and 180 more");
    CHECK(!strstr(err.msg, "run:"));
    columns_clear(&columns);
}
