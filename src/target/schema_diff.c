/* What a load would make of its target; see the header. */
#include "target/schema_diff.h"

#include <stdlib.h>

#include "target/staged.h"

const char *const schema_state_names[SCHEMA_STATES] = { [SCHEMA_FITS] = "fits",
                                                        [SCHEMA_NEW] = "new",
                                                        [SCHEMA_ALTERED] = "altered",
                                                        [SCHEMA_REFUSED] = "refused",
                                                        [SCHEMA_OBJECTS] = "objects" };

void schema_diff_clear(struct schema_diff *d)
{
    free(d->tables);
    free(d->own);
    arena_clear(&d->arena);
    *d = (struct schema_diff){ 0 };
}

const struct err *schema_diff_refused(const struct schema_diff *d)
{
    for (int i = 0; i < d->n; i++)
        if (d->tables[i].state == SCHEMA_REFUSED)
            return &d->tables[i].refused;
    return NULL;
}

static const char *kept(struct schema_diff *d, const char *text)
{
    const char *copy = arena_dup(&d->arena, str_of(text));
    d->failed |= !copy;
    return copy ? copy : "";
}

static void *room(struct schema_diff *d, int n, size_t size)
{
    void *p = arena_alloc(&d->arena, ((size_t)n + 1) * size);
    d->failed |= !p;
    return p;
}

/* ---- a look ---- */

/* A table gets each of its columns once, and each by a statement at most. */
static bool begin(struct schema_diff *d, const struct table_spec *spec)
{
    struct schema_table *t = d->now = &d->tables[d->n];
    *t = (struct schema_table){ .table = kept(d, spec->table) };
    t->columns = room(d, spec->columns->n, sizeof *t->columns);
    t->sql = room(d, spec->columns->n, sizeof *t->sql);
    return !d->failed;
}

/* Trouble behind a note is that the target cannot take back what was noted, or shows again in the load. */
static int end(struct schema_diff *d, int rc, struct err *err)
{
    struct schema_table *t = d->now;
    bool noted = t->state != SCHEMA_FITS;
    d->now = NULL;
    if (rc < 0 && err_class(err->code) == ERR_TRANSIENT)
        return noted ? 0 : -1;
    if (rc < 0) {
        t->state = SCHEMA_REFUSED;
        t->refused = *err;
    }
    return 0;
}

int schema_diff_look(struct schema_diff *d, const struct load_job *job,
                     int (*table)(void *arg, const struct load_output *output, struct err *err), void *arg, struct err *err)
{
    if (!(d->tables = calloc((size_t)job->noutputs + 1, sizeof *d->tables)))
        return err_nomem(err);
    for (; d->n < job->noutputs; d->n++)
        if (!begin(d, &job->outputs[d->n].spec))
            return err_nomem(err);
        else if (end(d, table(arg, &job->outputs[d->n], err), err) < 0)
            return -1;
    return d->failed ? err_nomem(err) : 0;
}

void schema_diff_refuse(struct schema_diff *d, int at, const struct err *why)
{
    if (!d || at >= d->n || d->tables[at].state == SCHEMA_REFUSED)
        return;
    d->tables[at].state = SCHEMA_REFUSED;
    d->tables[at].refused = *why;
}

/* ---- notes ---- */

static void add_column(struct schema_diff *d, const struct table_spec *spec, int column, bool not_null, schema_type *type)
{
    AUTO(buf_clear) struct buf text = { 0 };
    type(&text, spec, column);
    d->failed |= text.failed;
    d->now->columns[d->now->ncolumns++] = (struct schema_column){ .name = kept(d, spec->columns->v[column].name),
                                                                  .type = kept(d, text.failed ? "" : text.p),
                                                                  .not_null = not_null,
                                                                  .key = in_key(spec, column) };
}

void schema_diff_make(struct schema_diff *d, const struct table_spec *spec, const char *sql, schema_type *type)
{
    if (!d || !d->now)
        return;
    d->now->state = SCHEMA_NEW;
    d->now->sql[d->now->nsql++] = kept(d, sql);
    for (int i = 0; i < spec->columns->n; i++)
        add_column(d, spec, i, column_not_null(spec, i), type);
}

void schema_diff_add(struct schema_diff *d, const struct table_spec *spec, int column, const char *sql, schema_type *type)
{
    if (!d || !d->now)
        return;
    d->now->state = SCHEMA_ALTERED;
    d->now->sql[d->now->nsql++] = kept(d, sql);
    add_column(d, spec, column, false, type);
}

void schema_diff_objects(struct schema_diff *d, int n)
{
    d->now->state = SCHEMA_OBJECTS;
    d->now->objects = room(d, n, sizeof *d->now->objects);
}

void schema_diff_object(struct schema_diff *d, const char *name, int64_t rows, int64_t bytes)
{
    if (!d->failed)
        d->now->objects[d->now->nobjects++] = (struct schema_object){ kept(d, name), rows, bytes };
}

void schema_diff_replaced(struct schema_diff *d, int64_t objects, int64_t rows)
{
    d->now->replaced_objects = objects;
    d->now->replaced_rows = rows;
}

void schema_diff_own(struct schema_diff *d, const char *name, const char *sql)
{
    if (!d)
        return;
    struct schema_own *more = realloc(d->own, ((size_t)d->nown + 1) * sizeof *more);
    d->failed |= !more;
    if (!more)
        return;
    d->own = more;
    d->own[d->nown++] = (struct schema_own){ kept(d, name), kept(d, sql) };
}
