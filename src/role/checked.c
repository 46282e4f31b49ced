/* See checked.h. */
#include "role/checked.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/step.h"
#include "read/cast.h"
#include "role/pass.h"
#include "target/target.h"

/* What is known of the parts of a pipeline while they are checked, and where lines go. */
struct checked {
    const struct config *config;
    const struct pipeline *pipeline;
    struct buf *faults;
    struct columns columns[CONFIG_PARTS_MAX]; /* of the rows that they stage; none: not known, or at fault */
    struct part_table tables[CONFIG_PARTS_MAX];
};

static void tell(struct checked *c, const struct recipe *r, const char *place, const char *key, const struct err *err)
{
    buf_addf(c->faults, "%s: [pipeline %s] %s: %s\n", place, r->name, key, err->msg);
}

static void tell_key(struct checked *c, const struct recipe *r, const char *key, const struct err *err)
{
    tell(c, r, config_place(r->places, key), key, err);
}

/* What its rows go into; NULL: nobody knows, which was told of. */
static const struct target *target_of(const struct checked *c, const struct recipe *r, const struct target_config **tc)
{
    struct err ignored;
    *tc = r->target ? config_target(c->config, r->target) : NULL;
    return *tc && (*tc)->url ? target_by_url((*tc)->url, &ignored) : NULL;
}

/* ---- steps ---- */

/* Are the columns of all parts known that the recipe reads? */
static bool reads_known(const struct checked *c, const struct recipe *r)
{
    for (int i = 0; i < CONFIG_PARTS_MAX; i++)
        if (r->reads >> i & 1 && !c->columns[i].n)
            return false;
    return true;
}

/* Are they of the types of their columns? */
static int check_defaults(const struct recipe *r, struct step_fault *fault, struct err *err)
{
    struct cast *cast;
    *fault = (struct step_fault){ config_place(r->places, "clean"), "clean" };
    if (cast_open(&cast, r, &r->columns, err) < 0)
        return -1;
    cast_close(cast);
    return 0;
}

/* Can its steps do what the recipe asks? *columns, of the rows that it stages, are the caller's in every case; none: they are not known, as
 * where they are found out from the data. */
static void check_steps(struct checked *c, const struct recipe *r, struct columns *columns)
{
    struct err err;
    struct step_fault fault;
    const struct step_part part = { .config = c->config, .pipeline = c->pipeline, .recipe = r, .fault = &fault, .tables = c->tables };
    if (c->config->faulty || r->faulty & FAULTY_ROWS || !r->columns.n || !reads_known(c, r))
        return;
    if ((!r->clean || check_defaults(r, &fault, &err) == 0) && steps_check(columns, &part, &r->columns, &err) == 0)
        return;
    tell(c, r, fault.place, fault.key, &err);
    columns_clear(columns);
}

/* ---- the target ---- */

/* What of it its target cannot do whatever its columns are. */
static void check_table(struct checked *c, const struct recipe *r, const struct target *t, const struct target_config *tc)
{
    static const struct columns none = { 0 };
    struct err err;
    const struct table_spec spec = { .table = r->table, .name = r->table_name, .columns = &none, .mode = r->mode, .undo_ms = r->undo_ms,
                                     .only_if_changed = r->only_if_changed, .missing = r->missing,
                                     .version = r->version ? 0 : -1, .deleted = r->deleted ? 0 : -1 };
    if (t->check(tc, &spec, CHECK_NAME, &err) < 0)
        tell_key(c, r, "table", &err);
    if (r->faulty & FAULTY_MODE)
        return;
    if (t->check(tc, &spec, CHECK_MODE, &err) < 0)
        tell_key(c, r, "mode", &err);
    if (target_check_undo(t, tc, &spec, &err) < 0)
        tell_key(c, r, "undo", &err);
}

/* The same of what its columns are. */
static void check_columns(struct checked *c, const struct recipe *r, const struct columns *columns, const struct target *t,
                          const struct target_config *tc)
{
    AUTO(columns_clear) struct columns marked = { 0 };
    AUTO(free_charp) char *key = calloc((size_t)r->nkey + 1, sizeof(int));
    struct table_spec spec;
    struct err err;
    const char *wrong = "columns";
    if (!key) {
        c->faults->failed = true;
        return;
    }
    if (!columns->n || r->faulty & (FAULTY_ROWS | FAULTY_MODE | FAULTY_KEY))
        return;
    if ((recipe_marks_rows(r) && recipe_marked_columns(&marked, r, columns, &err) < 0) ||
        table_spec_of(&spec, r, marked.n ? &marked : columns, (int *)(void *)key, &wrong, &err) < 0) {
        tell_key(c, r, wrong, &err);
        return;
    }
    if (t->check(tc, &spec, CHECK_COLUMNS, &err) < 0)
        tell_key(c, r, "columns", &err);
}

/* Of what after_load does, as far as it can be known without its tables. The part of late rows has that of another one. */
static int check_after_load(const struct recipe *r, const struct target *t, struct err *err)
{
    if (r->takes_late || !r->after_load)
        return 0;
    return load_params_check(r->after_load, err) < 0 || (t->check_after && t->check_after(r->after_load, err) < 0) ? -1 : 0;
}

static void check_targets(const struct config *config, struct buf *faults)
{
    struct err err;
    for (int i = 0; i < config->ntargets; i++) {
        const struct target_config *tc = &config->targets[i];
        const struct target *t = tc->url ? target_by_url(tc->url, &err) : NULL;
        const char *key = "url";
        if (tc->url && (!t || (t->check_self && t->check_self(tc, &key, &err) < 0)))
            buf_addf(faults, "%s: [target %s] %s: %s\n", config_place(tc->places, key), tc->name, key, err.msg);
    }
}

/* ---- pipelines ---- */

static void check_part(struct checked *c, const struct recipe *r, struct columns *columns)
{
    struct err err;
    const struct target_config *tc;
    const struct target *t = target_of(c, r, &tc);
    check_steps(c, r, columns);
    if (!t)
        return;
    if (check_after_load(r, t, &err) < 0)
        buf_addf(c->faults, "%s: [pipeline %s] %s\n", config_place(r->places, "after_load"), r->name, err.msg);
    check_table(c, r, t, tc);
    check_columns(c, r, columns, t, tc);
}

static void check_pipeline(const struct config *config, const struct pipeline *p, struct buf *faults)
{
    struct checked c = { .config = config, .pipeline = p, .faults = faults };
    int order[CONFIG_PARTS_MAX];
    struct err err;
    if (p->nparts > CONFIG_PARTS_MAX)
        return; /* told of */
    bool scanned = pipeline_is_scanned(p) && !p->faulty;
    if (scanned && pass_check(p, &err) < 0)
        buf_addf(faults, "%s: [pipeline %s] source: %s\n", config_place(p->parts->places, "source"), p->name, err.msg);
    else if (scanned && pass_check_after(p, &err) < 0)
        buf_addf(faults, "%s: [pipeline %s] after: %s\n", config_place(p->parts->places, "after"), p->name, err.msg);
    pipeline_order(p, order);
    for (int k = 0; k < p->nparts; k++) {
        const struct recipe *r = &p->parts[order[k]];
        c.tables[order[k]] = (struct part_table){ .name = recipe_part(r), .recipe = r, .columns = &c.columns[order[k]] };
        check_part(&c, r, &c.columns[order[k]]);
    }
    for (int k = 0; k < p->nparts; k++)
        columns_clear(&c.columns[k]);
}

/* A line for each target of no known kind, for each source that cannot be listed, and for each recipe whose steps or target cannot do it. */
static int check(const struct config *config, struct buf *faults, struct err *err)
{
    AUTO(buf_clear) struct buf lines = { 0 };
    check_targets(config, &lines);
    for (int i = 0; i < config->npipelines; i++)
        check_pipeline(config, &config->pipelines[i], &lines);
    if (lines.failed)
        return err_nomem(err);
    if (!lines.n)
        return 0;
    if (faults)
        buf_add(faults, lines.p, lines.n);
    return err_set(err, ERR_CONFIG, "%.*s", (int)strcspn(lines.p, "\n"), lines.p);
}

int checked_load(struct config **out, const char *file, struct buf *faults, struct err *err)
{
    struct config *config;
    struct err more;
    int rc = config_read(&config, file, faults, err);
    if (config && (rc == 0 || faults) && check(config, faults, rc < 0 ? &more : err) < 0)
        rc = -1;
    if (rc < 0)
        config_free(config);
    else
        *out = config;
    return rc;
}
