/*
 * event_time=, late=: the rows that come too late for the watermark of their job, and how far the events of the job go.
 *
 * Which rows are late depends on the watermark alone, which the job has for good: an attempt that is repeated finds the same ones. An event
 * time ahead of the clock counts as that of now: one wrong row does not make all others late for years. A row without
 * one is never late.
 */
#include <stdlib.h>

#include "base/sys.h"
#include "base/text.h"
#include "pipeline/step.h"

struct late_step {
    struct step step;
    int column;
    int64_t unit, now; /* of the column in us; now: in us since 1970 */
    struct value *values; /* of a batch: those that go aside; NULL: none does */
    const struct place **places;
};

static bool wanted(const struct recipe *recipe) { return recipe->event_time; }

static void late_close(struct step *step)
{
    struct late_step *l = (struct late_step *)step;
    free(l->values);
    free(l->places);
    free(l);
}

static int late_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    int column = columns_find(in, str_of(part->recipe->event_time));
    if (column < 0 || (in->v[column].type != TYPE_TIMESTAMP && in->v[column].type != TYPE_DATE))
        return err_set(err, ERR_CONFIG, "event_time = %s is no column of type timestamp or date", part->recipe->event_time);
    struct late_step *l = calloc(1, sizeof *l);
    if (!l)
        return err_nomem(err);
    *l = (struct late_step){ .step = { .columns = in }, .column = column, .unit = in->v[column].type == TYPE_DATE ? 86400000000 : 1,
                        .now = sys_now_ms() * 1000 };
    if (part->aside) {
        l->values = calloc(BATCH_ROWS, mem_product((size_t)in->n, sizeof *l->values));
        l->places = calloc(BATCH_ROWS, sizeof *l->places);
        if (!l->values || !l->places) {
            late_close(&l->step);
            return err_nomem(err);
        }
    }
    *out = &l->step;
    return 0;
}

static int refuse(struct late_step *l, const struct rows *rows, uint32_t row, struct err *err)
{
    const struct step_part *part = l->step.part;
    const struct value *v = &rows->values[(size_t)row * rows->cols + (uint32_t)l->column];
    char text[32];
    int n = l->unit == 1 ? text_put_timestamp(text, v->i, 'T') : text_put_date(text, v->i);
    return rejects_add(part->rejects, REJECT_LATE, l->step.columns->v[l->column].name, (struct str){ text, (size_t)n }, rows->places[row],
                       err);
}

static bool is_late(struct late_step *l, const struct value *v)
{
    const struct step_part *part = l->step.part;
    if (v->null)
        return false;
    int64_t at = v->i * l->unit, seen = at < l->now ? at : l->now;
    if (seen > part->counts->greatest)
        part->counts->greatest = seen;
    return part->watermark != EVENT_NONE && at < part->watermark;
}

/* What their table refuses carries its name. */
static int give_aside(const struct step_part *part, struct rows *aside, struct err *err)
{
    const char *table = part->rejects->table;
    part->rejects->table = part->aside->part->recipe->table;
    int rc = part->aside->kind->rows(part->aside, aside, err);
    part->rejects->table = table;
    return rc;
}

static int late_rows(struct step *step, struct rows *rows, struct err *err)
{
    struct late_step *l = (struct late_step *)step;
    const struct step_part *part = step->part;
    enum late what = part->recipe->late;
    struct rows aside = { .cols = rows->cols, .values = l->values, .places = l->places };
    bool keep[BATCH_ROWS];
    for (uint32_t i = 0; i < rows->n; i++) {
        struct value *row = rows->values + (size_t)i * rows->cols;
        bool late = is_late(l, &row[l->column]);
        part->counts->late += late;
        keep[i] = !late || (what != LATE_REJECT && what != LATE_ASIDE);
        if (late && what == LATE_REJECT && refuse(l, rows, i, err) < 0)
            return -1;
        if (late && what == LATE_ASIDE) {
            memcpy(aside.values + (size_t)aside.n * aside.cols, row, rows->cols * sizeof *row);
            aside.places[aside.n++] = rows->places[i];
        }
    }
    rows_keep(rows, keep);
    if (aside.n && give_aside(part, &aside, err) < 0)
        return -1;
    return rows->n ? step_give(step, rows, err) : 0;
}

const struct step_kind step_late = { .name = "late", .wanted = wanted, .open = late_open, .rows = late_rows, .close = late_close };
