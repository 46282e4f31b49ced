/*
 * filter =: a program of the ini in the middle of the pipeline. The rows of a part go to its standard input, rows come back from
 * its standard output, both as JSON lines or both as CSV; one program for the part and the job, started when there is a first row.
 *
 * To the program: an object a row, keys as the columns are called in the table, values as io/row_text.h has them, but decimals as
 * texts ("19.90"), so that no float comes between. Integers are numbers, json columns stand as they are.
 * From the program: objects, which are typed by output=, or by the same columns when there is none; what does not fit is a reject
 * of the line of the output where it stands. Any number of rows may come, at any time, in any order: the difference to those
 * that went in is counted as filtered or added. An object with the key error and none of the columns fails the job.
 *
 * As CSV (filter_format=) the same values stand in fields, behind a header; a null is an empty field, an empty text is "". Columns that
 * come back go by the names of a header, too.
 *
 * Nothing is held but a batch on its way in and the window of the output. Both pipes do not block, and a wait is for either of them
 * to move: whatever the program does, or does not do, can only be slow. It must read its input to the end and keep its output open
 * as long; else a row could be lost without a word, so that the job fails (program).
 *
 * Who judges a program is the worker, which has its exit status: here its output is at its end, or it is not. Where a pipe breaks,
 * err.sys is EPIPE, and the worker, which may know why, says it better (role/filters.h).
 * Nothing is kept, so that power may fail at any time.
 */
#include "pipeline/step.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/row_text.h"
#include "pipeline/csv_pieces.h"
#include "read/cast.h"
#include "read/json_row.h"

enum {
    WINDOW = 256 * 1024,
    SLACK = 16,            /* readable behind the window: json_row.h asks for it */
    LONG_ROW_KEPT = 2048,  /* bytes of a row that is too long, for the rejects */
};

struct filter {
    struct step step; /* first */
    const struct columns *in;
    struct columns own;      /* of the rows that come back, when output= does not say */
    struct buf *keys;        /* of each column: what stands before its value */
    char *object;            /* that the rejects name */
    int to, from;            /* the pipes; -1: not there */
    bool broken;             /* it takes no more rows */
    bool ended;              /* of its output */
    uint64_t given, got;     /* rows */
    struct buf out;          /* rows on their way to it, */
    size_t sent;             /* of which so many bytes went */
    char *window;            /* window[start, end) came from it and is no row yet; no newline before `looked` */
    size_t size, start, looked, end, row_max;
    bool skipping;           /* the rest of a row that is too long */
    uint64_t line, offset;   /* of window[start] */
    struct json_row *scan;
    struct csv_pieces *csv;  /* NULL: JSON lines */
    bool moved;              /* it read something, or came to the end */
    struct batch batch;
    struct cast *cast;
};

static const char *name_of(const struct filter *f) { return f->step.part->recipe->filter.argv[0]; }

/* ---- rows that come back ---- */

/* Type the rows of the batch and give them on. */
static int give(struct filter *f, struct err *err)
{
    struct rejects *rejects = f->step.part->rejects;
    const char *object = rejects->object, *member = rejects->member;
    struct rows rows;
    if (!batch_read(&f->batch))
        return 0;
    f->got += batch_read(&f->batch);
    rejects->object = f->object;
    rejects->member = NULL;
    int rc = cast_batch(f->cast, &f->batch, &rows, rejects, err);
    if (rc == 0 && rows.n)
        rc = step_give(&f->step, &rows, err);
    rejects->object = object;
    rejects->member = member;
    batch_reset(&f->batch);
    return rc;
}

static void put_bad(struct filter *f, const struct place *place, const struct json_refusal *no)
{
    f->batch.bad[f->batch.nbad++] =
        (struct bad_row){ .place = *place, .reason = no->reason, .column = no->column, .value = no->value };
}

static int put_row(struct filter *f, struct str text, struct err *err)
{
    struct batch *b = &f->batch;
    struct place place = { f->line, f->offset, text };
    struct field *fields = &b->fields[(size_t)b->rows * b->cols];
    struct json_refusal no = { .reason = REJECT_ROW_TOO_LONG, .column = -1 };
    int rc = text.n > f->row_max ? 0 : json_row_scan(f->scan, text, false, fields, &b->arena, &no);
    if (rc < 0)
        return err_nomem(err);
    if (rc && json_row_said_error(text, fields, b->cols, f->line, err) < 0)
        return err_in(err, "%s", name_of(f));
    if (rc)
        b->places[b->rows++] = place;
    else
        put_bad(f, &place, &no);
    return b->rows == BATCH_ROWS || b->nbad == BATCH_ROWS ? give(f, err) : 0;
}

/* The line that ends at `end`, without its newline. */
static int put_line(struct filter *f, size_t end, struct err *err)
{
    const char *p = f->window + f->start, *stop = f->window + end;
    if (f->skipping) {
        f->skipping = false;
        return 0;
    }
    if (stop > p && stop[-1] == '\r')
        stop--;
    return json_skip_space(p, stop) == stop ? 0 : put_row(f, (struct str){ p, (size_t)(stop - p) }, err);
}

static void pass(struct filter *f, size_t to)
{
    f->offset += to - f->start;
    f->start = to;
}

/* A row longer than allowed fills the window: note it once, with its first bytes, and do without the rest. */
static int put_long(struct filter *f, struct err *err)
{
    size_t n = f->end - f->start < LONG_ROW_KEPT ? f->end - f->start : LONG_ROW_KEPT;
    struct place place = { f->line, f->offset, { f->window + f->start, n } };
    if (!f->skipping)
        put_bad(f, &place, &(struct json_refusal){ .reason = REJECT_ROW_TOO_LONG, .column = -1 });
    f->skipping = true;
    if (give(f, err) < 0)
        return -1;
    pass(f, f->end);
    return 0;
}

/* The lines that are whole, and at the end the last one, are given on; what is left moves to the front. */
static int take_lines(struct filter *f, struct err *err)
{
    for (const char *nl; (nl = memchr(f->window + f->looked, '\n', f->end - f->looked));) {
        size_t end = (size_t)(nl - f->window);
        if (put_line(f, end, err) < 0)
            return -1;
        pass(f, end + 1);
        f->looked = f->start;
        f->line++;
    }
    if (f->ended && f->start < f->end) {
        if (put_line(f, f->end, err) < 0)
            return -1;
        pass(f, f->end);
    }
    if (give(f, err) < 0 || (f->end - f->start > f->row_max + 1 && put_long(f, err) < 0))
        return -1;
    memmove(f->window, f->window + f->start, f->end - f->start);
    f->end -= f->start;
    f->start = 0;
    f->looked = f->end;
    return 0;
}

static int window_room(struct filter *f, struct err *err)
{
    if (f->window && f->end < f->size)
        return 0;
    size_t size = f->window ? f->size * 2 : WINDOW, most = f->row_max + WINDOW; /* what stays is at most a row and a CR */
    size = size < most ? size : most;
    char *p = realloc(f->window, size + SLACK);
    if (!p)
        return err_nomem(err);
    memset(p + size, 0, SLACK);
    f->window = p;
    f->size = size;
    return 0;
}

/* For the CSV reader. */
static ssize_t read_pipe(void *arg, void *buf, size_t cap, struct err *err)
{
    struct filter *f = arg;
    ssize_t n = read(f->from, buf, cap);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return PIECES_WAIT;
    if (n < 0)
        return err_sys(err, "read from the filter %s", name_of(f));
    f->moved = true;
    f->ended = n == 0;
    return n;
}

static int receive_csv(struct filter *f, struct err *err)
{
    int rc;
    f->moved = false;
    while ((rc = csv_pieces_next(f->csv, &f->batch, err)) == 1)
        if (give(f, err) < 0)
            return -1;
    return rc < 0 ? err_in(err, "what the filter %s gave", name_of(f)) : f->moved;
}

/* What is there to be read. 1: there was something, or the end; 0: nothing now. */
static int receive(struct filter *f, struct err *err)
{
    if (f->csv)
        return receive_csv(f, err);
    if (window_room(f, err) < 0)
        return -1;
    ssize_t n = read(f->from, f->window + f->end, f->size - f->end);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        return err_sys(err, "read from the filter %s", name_of(f));
    f->ended = n == 0;
    f->end += (size_t)n;
    return take_lines(f, err) < 0 ? -1 : 1;
}

/* ---- rows that go in ---- */

static int start(struct filter *f, struct err *err)
{
    const struct step_part *part = f->step.part;
    int ends[2];
    if (!part->asker->start_program)
        return err_set(err, ERR_INTERNAL, "nobody starts programs here");
    if (part->asker->start_program(part->asker->arg, (int)(part->recipe - part->pipeline->parts), ends, err) < 0)
        return -1;
    f->to = ends[0];
    f->from = ends[1];
    for (int i = 0; f->csv && i < f->in->n; i++) {
        buf_adds(&f->out, i ? "," : "");
        row_put_csv_text(&f->out, str_of(f->in->v[i].name));
    }
    buf_adds(&f->out, f->csv ? "\n" : "");
    return 0;
}

/* The value, which is not null, with what stands before it. False: it has no text. */
static bool put_value(struct filter *f, int i, const struct value *v)
{
    const struct column *c = &f->in->v[i];
    const char *quote = c->type == TYPE_DECIMAL && !f->csv ? "\"" : "";
    buf_adds(&f->out, quote);
    bool good = f->csv ? row_put_csv(&f->out, c, v) : row_put_json(&f->out, c, v);
    buf_adds(&f->out, quote);
    return good;
}

static int put_out(struct filter *f, const struct value *row, const struct place *place, struct err *err)
{
    size_t before = f->out.n;
    for (int i = 0; i < f->in->n; i++) {
        buf_add(&f->out, f->keys[i].p, f->keys[i].n);
        if (row[i].null) {
            buf_adds(&f->out, f->csv ? "" : "null");
        } else if (!put_value(f, i, &row[i])) {
            f->out.n = before;
            return rejects_add(f->step.part->rejects, REJECT_TARGET_RANGE, f->in->v[i].name, STR("nan"), place, err);
        }
    }
    buf_adds(&f->out, f->csv ? "\n" : "}\n");
    f->given++;
    return 0;
}

/* As much as it takes now. 1: some went; 0: none. */
static int send_rows(struct filter *f, struct err *err)
{
    ssize_t n = write(f->to, f->out.p + f->sent, f->out.n - f->sent);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0 && errno != EPIPE)
        return err_sys(err, "write to the filter %s", name_of(f));
    f->broken = n < 0;
    f->sent += f->broken ? 0 : (size_t)n;
    return 1;
}

static bool is_sent(const struct filter *f) { return f->sent == f->out.n; }

/* Until the pipe takes or has something. */
static void wait_pipes(const struct filter *f)
{
    struct pollfd p[2] = { { f->from, POLLIN, 0 }, { f->to, POLLOUT, 0 } };
    (void)poll(p, f->to < 0 || is_sent(f) ? 1 : 2, -1); /* the worker's death is ours; it kills a program that takes too long */
}

/* It reads no more, or closed its output: with what it still has to say, to its end. */
static int fail_broken(struct filter *f, struct err *err)
{
    fd_closep(&f->to);
    for (int rc = 0; !f->ended;) {
        if ((rc = receive(f, err)) < 0)
            return -1;
        if (rc == 0)
            wait_pipes(f);
    }
    err_set(err, ERR_PROGRAM, "the filter %s ended, or closed a pipe, before it had read all of its rows", name_of(f));
    err->sys = EPIPE;
    return -1;
}

static int move_rows(struct filter *f, struct err *err)
{
    int sent = 0, got = 0;
    while (!is_sent(f) && !f->broken && !f->ended) {
        if ((sent = send_rows(f, err)) < 0 || (got = receive(f, err)) < 0)
            return -1;
        if (!sent && !got)
            wait_pipes(f);
    }
    if (f->broken || f->ended)
        return fail_broken(f, err);
    f->sent = 0;
    buf_reset(&f->out);
    return 0;
}

/* ---- the step ---- */

static int filter_rows(struct step *step, struct rows *rows, struct err *err)
{
    struct filter *f = (struct filter *)step;
    if (!rows->n)
        return 0;
    if (f->from < 0 && start(f, err) < 0)
        return -1;
    for (uint32_t i = 0; i < rows->n; i++)
        if (put_out(f, rows->values + (size_t)i * rows->cols, rows->places[i], err) < 0)
            return -1;
    return f->out.failed ? err_nomem(err) : move_rows(f, err);
}

static int filter_finish(struct step *step, struct err *err)
{
    struct filter *f = (struct filter *)step;
    struct pipeline_counts *counts = step->part->counts;
    if (f->from < 0)
        return 0;
    fd_closep(&f->to);
    while (!f->ended) {
        int got = receive(f, err);
        if (got < 0)
            return -1;
        if (!got)
            wait_pipes(f);
    }
    if (f->got < f->given)
        counts->filtered += f->given - f->got;
    else
        counts->added += f->got - f->given;
    return 0;
}

static void filter_close(struct step *step)
{
    struct filter *f = (struct filter *)step;
    for (int i = 0; f->keys && i < f->in->n; i++)
        buf_clear(&f->keys[i]);
    free(f->keys);
    free(f->object);
    fd_closep(&f->to);
    fd_closep(&f->from);
    buf_clear(&f->out);
    free(f->window);
    json_row_close(f->scan);
    csv_pieces_close(f->csv);
    cast_close(f->cast);
    batch_clear(&f->batch);
    columns_clear(&f->own);
    free(f);
}

static int make_keys(struct filter *f, struct err *err)
{
    bool csv = f->step.part->recipe->filter_format == FILTER_CSV;
    if (!(f->keys = calloc((size_t)f->in->n, sizeof *f->keys)))
        return err_nomem(err);
    for (int i = 0; i < f->in->n && csv; i++)
        buf_adds(&f->keys[i], i ? "," : "");
    for (int i = 0; i < f->in->n && !csv; i++) {
        buf_addc(&f->keys[i], i ? ',' : '{');
        row_put_json_text(&f->keys[i], str_of(f->in->v[i].name));
        buf_addc(&f->keys[i], ':');
        if (f->keys[i].failed)
            return err_nomem(err);
    }
    return 0;
}

/* A column as it is in the table: the value stands under its name, in the form that we write. */
static int plain_column(struct column *c, bool csv, struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    if (csv)
        buf_adds(&path, c->name);
    else
        json_path_add(&path, str_of(c->name));
    buf_addc(&path, '\0');
    char *from = path.failed ? NULL : strdup(path.p);
    if (!from)
        return err_nomem(err);
    free(c->from);
    free(c->format);
    c->from = from;
    c->format = NULL;
    c->builtin = BUILTIN_NONE;
    c->param = NULL;
    return 0;
}

/* The columns of the rows that come back. */
static int output_columns(struct filter *f, const struct recipe *recipe, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    bool given = recipe->output_text && !recipe->transform.text; /* with both, output= is of the last */
    f->step.columns = given ? &recipe->output : &f->own;
    if (f->step.columns != &f->own)
        return 0;
    columns_print(f->in, &text);
    if (text.failed)
        return err_nomem(err);
    if (columns_parse(&f->own, text.p, err) < 0)
        return -1;
    for (int i = 0; i < f->own.n; i++)
        if (plain_column(&f->own.v[i], recipe->filter_format == FILTER_CSV, err) < 0)
            return -1;
    return 0;
}

/* Values come in our own form: none of the recipe's dialect is asked. */
static const struct recipe plain_recipe = { .decimal_point = '.' };
static const struct recipe csv_recipe = { .decimal_point = '.', .format = (char *)"csv", .delimiter = ',', .quote = '"', .header = true, .nnulls = -1 };

static int reader_open(struct filter *f, struct err *err)
{
    if (f->step.part->recipe->filter_format == FILTER_CSV)
        return csv_pieces_open(&f->csv, &csv_recipe, f->step.columns, (int64_t)f->row_max, read_pipe, f, err);
    return json_row_open(&f->scan, f->step.columns, GRAMMAR_STRICT, err);
}

static bool is_wanted(const struct recipe *recipe) { return recipe->filter.argv != NULL; }

static int filter_open(struct step **out, const struct step_part *part, const struct columns *in, struct err *err)
{
    struct filter *f = calloc(1, sizeof *f);
    if (!f)
        return err_nomem(err);
    f->step.part = part;
    f->in = in;
    f->to = f->from = -1;
    f->line = 1;
    f->row_max = (size_t)part->config->limits.row_bytes;
    int rc = asprintf(&f->object, "filter:%s", part->recipe->filter.argv[0]) < 0 ? err_nomem(err) : 0;
    if (rc < 0)
        f->object = NULL;
    if (rc < 0 || make_keys(f, err) < 0 || output_columns(f, part->recipe, err) < 0 ||
        batch_init(&f->batch, (uint32_t)f->step.columns->n, err) < 0 ||
        reader_open(f, err) < 0 || cast_open(&f->cast, f->csv ? &csv_recipe : &plain_recipe, f->step.columns, err) < 0) {
        filter_close(&f->step);
        return -1;
    }
    *out = &f->step;
    return 0;
}

const struct step_kind step_filter = { .name = "filter",
                                       .wanted = is_wanted,
                                       .open = filter_open,
                                       .rows = filter_rows,
                                       .finish = filter_finish,
                                       .close = filter_close };
