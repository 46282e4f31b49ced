/* See checked.h. */
#include "role/checked.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/step.h"
#include "read/cast.h"
#include "role/pass.h"
#include "target/target.h"

/* What is known of the parts of a pipeline while they are checked. */
struct checked {
    struct columns columns[CONFIG_PARTS_MAX]; /* of the rows that they stage; none: not known, or at fault */
    struct part_table tables[CONFIG_PARTS_MAX];
};

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
    *fault = (struct step_fault){ r->place, "clean" };
    if (cast_open(&cast, r, &r->columns, err) < 0)
        return -1;
    cast_close(cast);
    return 0;
}

/* Can its steps and its target do what the recipe asks? Of columns that are found out from the data nothing is known yet. *fault: the
 * key that is wrong. *columns, of the rows that it stages, are the caller's in every case. */
static int check_recipe(const struct config *config, const struct pipeline *p, const struct recipe *r, struct checked *c,
                        struct columns *columns, struct step_fault *fault, struct err *err)
{
    struct table_spec spec;
    const struct target_config *tc = config->faulty || r->faulty ? NULL : config_target(config, r->target);
    if (tc && tc->faulty)
        tc = NULL; /* what is known to be faulty was told of */
    const struct target *t = tc ? target_by_url(tc->url, err) : NULL;
    AUTO(free_charp) char *key = calloc((size_t)r->nkey + 1, sizeof(int));
    if (!key)
        return err_nomem(err);
    if (!t || !r->columns.n || !reads_known(c, r))
        return 0; /* check_targets() has said what is wrong with the target */
    AUTO(columns_clear) struct columns marked = { 0 };
    if (r->clean && check_defaults(r, fault, err) < 0)
        return -1;
    const struct step_part part = { .config = config, .pipeline = p, .recipe = r, .fault = fault, .tables = c->tables };
    if (steps_check(columns, &part, &r->columns, err) < 0)
        return -1;
    *fault = (struct step_fault){ r->place, "mode" };
    if (recipe_marks_rows(r) && recipe_marked_columns(&marked, r, columns, err) < 0)
        return -1;
    if (table_spec_of(&spec, r, marked.n ? &marked : columns, (int *)(void *)key, err) < 0)
        return -1;
    fault->key = "table"; /* what of it its target cannot do, says the target */
    return t->check(tc, &spec, err);
}

/* Of what after_load does, as far as it can be known without its tables. The part of late rows has that of another one. */
static int check_after_load(const struct config *config, const struct recipe *r, struct err *err)
{
    const struct target_config *tc = config->faulty || r->faulty || r->takes_late || !r->after_load ? NULL : config_target(config, r->target);
    const struct target *t = tc && !tc->faulty ? target_by_url(tc->url, err) : NULL;
    if (!t)
        return 0;
    return load_params_check(r->after_load, err) < 0 || (t->check_after && t->check_after(r->after_load, err) < 0) ? -1 : 0;
}

static void check_targets(const struct config *config, struct buf *faults)
{
    struct err err;
    for (int i = 0; i < config->ntargets; i++)
        if (!config->targets[i].faulty && !target_by_url(config->targets[i].url, &err))
            buf_addf(faults, "%s: [target %s] url: %s\n", config->path, config->targets[i].name, err.msg);
}

static void check_pipeline(const struct config *config, const struct pipeline *p, struct buf *faults)
{
    struct checked c = { 0 };
    int order[CONFIG_PARTS_MAX];
    struct err err;
    if (p->nparts > CONFIG_PARTS_MAX)
        return; /* told of */
    bool scanned = pipeline_is_scanned(p) && !p->faulty;
    if (scanned && pass_check(p, &err) < 0)
        buf_addf(faults, "%s: [pipeline %s] source: %s\n", config->path, p->name, err.msg);
    else if (scanned && pass_check_after(p, &err) < 0)
        buf_addf(faults, "%s: [pipeline %s] after: %s\n", config->path, p->name, err.msg);
    pipeline_order(p, order);
    for (int k = 0; k < p->nparts; k++) {
        const struct recipe *r = &p->parts[order[k]];
        struct columns *columns = &c.columns[order[k]];
        struct step_fault fault = { r->place, "mode" };
        if (check_after_load(config, r, &err) < 0)
            buf_addf(faults, "%s: [pipeline %s] %s\n", r->place, r->name, err.msg);
        c.tables[order[k]] = (struct part_table){ .name = recipe_part(r), .recipe = r, .columns = columns };
        if (check_recipe(config, p, r, &c, columns, &fault, &err) == 0)
            continue;
        buf_addf(faults, "%s: [pipeline %s] %s: %s\n", fault.place, r->name, fault.key, err.msg);
        columns_clear(columns);
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
