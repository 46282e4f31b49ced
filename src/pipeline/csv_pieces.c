/* The CSV reader on a stack of its own. See csv_pieces.h; nothing is kept. */
#include "pipeline/csv_pieces.h"

#include <stdlib.h>

#include "base/fiber.h"
#include "read/csv.h"

enum { STACK = 256 * 1024 };

struct csv_pieces {
    struct input input; /* first: what the reader reads */
    const struct recipe *recipe;
    const struct columns *columns;
    int64_t row_max;
    ssize_t (*read)(void *arg, void *buf, size_t cap, struct err *err);
    void *arg;
    struct fiber *fiber;
    struct reader *reader;
    struct batch *batch;
    char last;              /* byte that came, or a line end */
    bool begun, full, stop; /* full: the batch has something; stop: nobody wants the rest */
    int rc;                 /* of the reader */
    struct err err;
};

/* ---- inside the fiber ---- */

static ssize_t pull(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct csv_pieces *p = (struct csv_pieces *)in;
    ssize_t n;
    while (!p->stop && (n = p->read(p->arg, buf, cap, err)) == PIECES_WAIT)
        fiber_pause(p->fiber);
    if (p->stop)
        return err_set(err, ERR_INTERNAL, "given up");
    if (n > 0)
        p->last = ((const char *)buf)[n - 1];
    return n == 0 && csv_ended(p->last, err) < 0 ? -1 : n;
}

/* Has the header, where there is one, all columns that are not optional? */
static int names_check(struct csv_pieces *p)
{
    struct format_names names;
    int rc = format_csv.names(p->reader, &names, &p->err);
    for (int i = 0; rc == 1 && i < p->columns->n; i++)
        if (!names.present[i] && !p->columns->v[i].optional)
            return err_set(&p->err, ERR_HEADER, "the header has no '%s' for column '%s'", p->columns->v[i].from, p->columns->v[i].name);
    return rc < 0 ? -1 : 0;
}

static void run(void *arg)
{
    struct csv_pieces *p = arg;
    p->rc = format_csv.open(&p->reader, p->recipe, p->columns, &p->input, p->row_max, &p->err);
    if (p->rc == 0)
        p->rc = names_check(p);
    while (p->rc == 0 && (p->rc = format_csv.next(p->reader, p->batch, &p->err)) == 1) {
        p->full = true;
        fiber_pause(p->fiber);
        p->rc = 0;
    }
}

/* ---- outside of it ---- */

int csv_pieces_open(struct csv_pieces **out, const struct recipe *recipe, const struct columns *columns, int64_t row_max,
                    ssize_t (*read)(void *arg, void *buf, size_t cap, struct err *err), void *arg, struct err *err)
{
    struct csv_pieces *p = calloc(1, sizeof *p);
    if (!p)
        return err_nomem(err);
    *p = (struct csv_pieces){ .input = { .read = pull, .size = -1 }, .recipe = recipe, .columns = columns, .row_max = row_max, .read = read,
                              .arg = arg, .last = '\n' };
    if (fiber_new(&p->fiber, STACK, run, p, err) < 0) {
        free(p);
        return -1;
    }
    *out = p;
    return 0;
}

int csv_pieces_next(struct csv_pieces *p, struct batch *batch, struct err *err)
{
    p->full = false;
    p->batch = batch;
    p->begun = true;
    if (!fiber_done(p->fiber))
        fiber_resume(p->fiber);
    if (p->full)
        return 1;
    if (fiber_done(p->fiber) && p->rc < 0) {
        *err = p->err;
        return -1;
    }
    return 0;
}

void csv_pieces_close(struct csv_pieces *p)
{
    if (!p)
        return;
    p->stop = true;
    while (p->begun && !fiber_done(p->fiber))
        fiber_resume(p->fiber); /* it lets go of what it holds, and ends */
    fiber_free(p->fiber);
    format_csv.close(p->reader);
    free(p);
}
