/* The table of steps, and how they are put together. See step.h. */
#include "pipeline/step.h"

/* In the order in which rows go through them. NULL ends it. */
static const struct step_kind *const kinds[] = {
    &step_where,
    &step_distinct,
    &step_enrich,
    &step_filter,
    &step_transform,
    &step_late,
    &step_profile,
    NULL,
};

/* The key that asks for the step; rows are left out and computed by the same. */
static const char *key_of(const struct step_kind *kind, const struct recipe *recipe)
{
    return kind == &step_where && !recipe->where.text ? "compute" : kind->name;
}

int steps_open(struct step **first, struct step *last, const struct step_part *part, const struct columns **columns,
               struct err *err)
{
    struct step **end = first;
    *first = NULL;
    for (int i = 0; kinds[i]; i++) {
        if (!kinds[i]->wanted(part->recipe))
            continue;
        if (kinds[i]->open(end, part, *columns, err) < 0) {
            *end = NULL;
            steps_close(*first);
            *first = NULL;
            return err_in(err, "%s of '%s'", key_of(kinds[i], part->recipe), part->recipe->name);
        }
        (*end)->kind = kinds[i];
        (*end)->part = part;
        *columns = (*end)->columns;
        end = &(*end)->next;
    }
    *end = last;
    return 0;
}

int steps_check(struct columns *out, const struct step_part *part, const struct columns *in, struct err *err)
{
    static const struct columns none = { 0 };
    const struct columns *columns = in;
    struct step *opened[COUNT_OF(kinds)];
    int n = 0, rc = 0;
    for (int i = 0; kinds[i] && rc == 0; i++) {
        if (!kinds[i]->wanted(part->recipe))
            continue;
        const char *key = key_of(kinds[i], part->recipe);
        if (part->fault)
            *part->fault = (struct step_fault){ config_place(part->recipe->places, key), key };
        if ((rc = kinds[i]->open(&opened[n], part, columns, err)) < 0)
            break;
        opened[n]->kind = kinds[i];
        columns = opened[n++]->columns;
    }
    if (rc == 0)
        rc = columns_join(out, columns, &none, err);
    while (n > 0) {
        n--;
        opened[n]->kind->close(opened[n]);
    }
    return rc;
}

int steps_finish(struct step *first, struct err *err)
{
    for (struct step *s = first; s; s = s->next)
        if (s->kind->finish && s->kind->finish(s, err) < 0)
            return -1;
    return 0;
}

/* The last one first: each looks at the columns of the one before it. */
void steps_close(struct step *first)
{
    if (!first)
        return;
    steps_close(first->next);
    first->kind->close(first);
}
