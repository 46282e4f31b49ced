/*
 * For tests of steps (pipeline/step.h): a part with the steps that its recipe wants, rows given to them as JSON lines, and what
 * comes out behind them as JSON lines.
 */
#ifndef QETL_STEP_SITE_H
#define QETL_STEP_SITE_H

#include "io/row_text.h"
#include "pipeline/step.h"
#include "read/cast.h"
#include "read/format.h"
#include "test.h"

struct step_site {
    struct step taker; /* first: the last step */
    struct config config;
    struct pipeline pipeline;
    struct recipe recipe;
    struct columns columns;
    const struct columns *taken;
    struct stage stage;
    struct asker asker;
    struct rejects rejects;
    struct pipeline_counts counts;
    struct step_part part;
    struct step *first;
    struct buf out; /* what came out, with a NUL behind it */
};

static int site_take(struct step *step, struct rows *rows, struct err *err)
{
    struct step_site *s = (struct step_site *)step;
    (void)err;
    CHECK_EQ(rows->cols, s->taken->n);
    CHECK(rows->n <= BATCH_ROWS);
    for (uint32_t i = 0; i < rows->n; i++) {
        for (int c = 0; c < s->taken->n; c++) {
            const struct value *v = &rows->values[(size_t)i * rows->cols + (size_t)c];
            buf_adds(&s->out, c ? " " : "");
            if (v->null)
                buf_adds(&s->out, "null");
            else
                CHECK(row_put_json(&s->out, &s->taken->v[c], v));
        }
        buf_adds(&s->out, "\n");
    }
    s->counts.staged += rows->n;
    return 0;
}

static void site_taker_close(struct step *step) { (void)step; }

static const struct step_kind site_taker = { .name = "taker", .rows = site_take, .close = site_taker_close };

/* s->recipe, s->asker and s->config.limits are set. */
__attribute__((unused)) static int site_open(struct step_site *s, const char *columns, struct err *err)
{
    CHECK_OK(columns_parse(&s->columns, columns, err), *err);
    s->recipe.decimal_point = '.';
    s->recipe.name = (char *)"p";
    s->pipeline = (struct pipeline){ .name = (char *)"p", .parts = &s->recipe, .nparts = 1 };
    s->config.pipelines = &s->pipeline;
    s->config.npipelines = 1;
    if (!s->config.limits.memory)
        s->config.limits.memory = 512 << 20;
    if (!s->config.limits.row_bytes)
        s->config.limits.row_bytes = 16 << 20;
    rejects_init(&s->rejects, &s->stage, 1, (struct reject_limit){ -1, -1 });
    s->stage.inline_max = STAGE_INLINE_MAX;
    s->rejects.table = "w.t";
    s->rejects.object = "file:///in";
    s->rejects.member = "in";
    s->part = (struct step_part){ .config = &s->config,
                                  .pipeline = &s->pipeline,
                                  .recipe = &s->recipe,
                                  .uid = "u",
                                  .rejects = &s->rejects,
                                  .counts = &s->counts,
                                  .asker = &s->asker };
    s->taker = (struct step){ .kind = &site_taker, .part = &s->part };
    s->taken = &s->columns;
    buf_adds(&s->out, "");
    return steps_open(&s->first, &s->taker, &s->part, &s->taken, err);
}

struct site_bytes {
    struct input input;
    const char *p;
    size_t n;
};

static ssize_t site_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct site_bytes *b = (struct site_bytes *)in;
    size_t n = b->n < cap ? b->n : cap;
    (void)err;
    memcpy(buf, b->p, n);
    b->p += n;
    b->n -= n;
    return (ssize_t)n;
}

/* Rows as JSON lines through the steps. */
__attribute__((unused)) static int site_give(struct step_site *s, const char *lines, struct err *err)
{
    struct site_bytes bytes = { { .read = site_read, .size = -1 }, lines, strlen(lines) };
    struct reader *r;
    struct cast *cast;
    struct batch batch;
    struct rows rows;
    int rc;
    CHECK_OK(format_jsonl.open(&r, &s->recipe, &s->columns, &bytes.input, 1 << 20, err), *err);
    CHECK_OK(cast_open(&cast, &s->recipe, &s->columns, err), *err);
    CHECK_OK(batch_init(&batch, (uint32_t)s->columns.n, err), *err);
    while ((rc = format_jsonl.next(r, &batch, err)) == 1) {
        s->counts.read += batch_read(&batch);
        CHECK_OK(cast_batch(cast, &batch, &rows, &s->rejects, err), *err);
        if ((rc = s->first->kind->rows(s->first, &rows, err)) < 0)
            break;
    }
    format_jsonl.close(r);
    cast_close(cast);
    batch_clear(&batch);
    return rc;
}

__attribute__((unused)) static void site_close(struct step_site *s)
{
    steps_close(s->first);
    rejects_clear(&s->rejects);
    columns_clear(&s->columns);
    columns_clear(&s->recipe.output);
    buf_clear(&s->out);
}

/* All rows were given and the steps are finished: is every row accounted for? */
#define CHECK_BOOKS(s)                                                                                                             \
    CHECK_EQ((s)->counts.read + (s)->counts.added, (s)->counts.staged + (uint64_t)(s)->rejects.count + (s)->counts.filtered)

#endif
