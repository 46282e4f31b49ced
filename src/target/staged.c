/* Rows as one run of bytes: encode, write, read. See staged.h. */
#include "target/staged.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "base/text.h"

/* ---- rows that are refused ---- */

bool column_not_null(const struct table_spec *spec, int i)
{
    return in_key(spec, i) || spec->columns->v[i].required;
}

/* The refused value as text, for the rejects. */
static struct str value_text(const struct column *c, const struct value *v, char out[64])
{
    if (v->null)
        return (struct str){ "", 0 };
    int n = 0;
    switch (c->type) {
    case TYPE_TEXT:
    case TYPE_JSON:
        return (struct str){ v->p, v->n };
    case TYPE_DECIMAL:
        n = text_put_decimal(out, v->i, c->scale);
        break;
    case TYPE_REAL: /* only what is not a number is refused */
        return STR("nan");
    default: /* days or microseconds, which have no date */
        n = text_put_int(out, v->i);
    }
    return (struct str){ out, (size_t)n };
}

int row_refuse(const struct columns *columns, const struct row_fault *fault, const struct rows *rows, uint32_t row,
               struct rejects *rejects, struct err *err)
{
    char text[64];
    const struct column *c = &columns->v[fault->column];
    struct str value = value_text(c, &rows->values[(size_t)row * rows->cols + (size_t)fault->column], text);
    return rejects_add(rejects, fault->reason, c->name, value, rows->places[row], err);
}

/* ---- values ---- */

static unsigned hex4(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++)
        v = v * 16 + (unsigned)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

const char *json_escape_end(const char *p, const char *end, unsigned *code)
{
    *code = p[1] == 'u' ? hex4(p + 2) : 1;
    if (*code < 0xd800 || *code > 0xdfff)
        return p + (p[1] == 'u' ? 6 : 2);
    if (*code >= 0xdc00 || end - p < 12 || p[6] != '\\' || p[7] != 'u' || hex4(p + 8) < 0xdc00 || hex4(p + 8) > 0xdfff)
        return NULL;
    return p + 12;
}

/* ---- encode ---- */

struct encoder {
    const struct row_form *form;
    const struct columns *columns;
    bool *not_null; /* a column each */
    bool *short_text; /* a column each: form->key_chars holds */
    struct staged_writer w;
    int64_t rows;
};

void row_encode_close(struct encoder *e)
{
    if (!e)
        return;
    staged_clear(&e->w);
    free(e->not_null);
    free(e->short_text);
    free(e);
}

int row_encode_open(struct encoder **out, const struct row_form *form, const struct table_spec *spec, const struct stage *stage,
                    int number, struct err *err)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e)
        return err_nomem(err);
    e->form = form;
    e->columns = spec->columns;
    staged_start(&e->w, stage, number, spec->table, form->ext);
    if (!(e->not_null = calloc((size_t)spec->columns->n, sizeof *e->not_null)) ||
        !(e->short_text = calloc((size_t)spec->columns->n, sizeof *e->short_text))) {
        row_encode_close(e);
        return err_nomem(err);
    }
    for (int i = 0; i < spec->columns->n; i++) {
        e->not_null[i] = column_not_null(spec, i);
        e->short_text[i] = form->key_chars && in_key(spec, i) && spec->columns->v[i].type == TYPE_TEXT;
    }
    *out = e;
    return 0;
}

/* Has UTF-8 text at most so many characters? */
static bool within(const struct value *v, uint32_t max)
{
    uint32_t chars = 0;
    for (uint32_t i = 0; i < v->n && v->n > max; i++)
        chars += ((unsigned char)v->p[i] & 0xc0) != 0x80;
    return chars <= max;
}

/* True: the row is behind what was there. False: *fault, and nothing was added. */
static bool put_row(struct encoder *e, const struct value *row, struct row_fault *fault)
{
    struct buf *out = staged_room(&e->w);
    size_t before = out->n;
    if (e->form->begin_row)
        e->form->begin_row(out, e->columns->n);
    for (int i = 0; i < e->columns->n; i++) {
        if (i && e->form->between)
            e->form->between(out);
        if (row[i].null && e->not_null[i]) {
            *fault = (struct row_fault){ i, REJECT_NULL };
        } else if (row[i].null) {
            e->form->put_null(out);
            continue;
        } else if ((!e->short_text[i] || within(&row[i], e->form->key_chars)) &&
                   e->form->put(out, &e->columns->v[i], &row[i])) {
            continue;
        } else {
            *fault = (struct row_fault){ i, REJECT_TARGET_RANGE };
        }
        out->n = before;
        return false;
    }
    if (e->form->end_row)
        e->form->end_row(out);
    return true;
}

int row_encode_rows(struct encoder *e, const struct rows *rows, struct rejects *rejects, uint64_t *staged, struct err *err)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        struct row_fault fault;
        if (!put_row(e, rows->values + (size_t)i * rows->cols, &fault)) {
            if (row_refuse(e->columns, &fault, rows, i, rejects, err) < 0)
                return -1;
            continue;
        }
        if (staged_flush(&e->w, err) < 0)
            return -1;
        e->rows++;
        ++*staged;
    }
    return 0;
}

int row_encode_finish(struct encoder *e, struct output *out, struct err *err)
{
    if (staged_finish(&e->w, out, err) < 0)
        return -1;
    out->rows = e->rows;
    return 0;
}

/* ---- write ---- */

void staged_start(struct staged_writer *w, const struct stage *stage, int number, const char *table, const char *ext)
{
    *w = (struct staged_writer){ .stage = stage, .fd = -1 };
    w->out.kind = OUTPUT_ROWS;
    w->out.number = number;
    snprintf(w->out.table, sizeof w->out.table, "%s", table);
    snprintf(w->out.ext, sizeof w->out.ext, "%s", ext);
    hash_init(&w->hash);
}

static int write_out(struct staged_writer *w, struct err *err)
{
    struct buf *b = &w->out.inlined;
    if (w->fd < 0 && (w->fd = w->stage->open_file(w->stage->arg, w->out.number, w->out.ext, err)) < 0)
        return -1;
    if (sys_write_all(w->fd, b->p, b->n, "staged output", err) < 0)
        return -1;
    hash_add(&w->hash, b->p, b->n);
    w->out.bytes += (int64_t)b->n;
    buf_reset(b);
    return 0;
}

int staged_flush(struct staged_writer *w, struct err *err)
{
    const struct buf *b = &w->out.inlined;
    if (b->failed)
        return err_nomem(err);
    return b->n > (w->fd < 0 ? w->stage->inline_max : STAGED_BLOCK) ? write_out(w, err) : 0;
}

int staged_finish(struct staged_writer *w, struct output *out, struct err *err)
{
    struct buf *b = &w->out.inlined;
    if (b->failed)
        return err_nomem(err);
    if (w->fd < 0 && b->n <= w->stage->inline_max) {
        w->out.bytes = (int64_t)b->n;
    } else {
        if (write_out(w, err) < 0)
            return -1;
        if (fdatasync(w->fd) < 0)
            return err_sys(err, "fdatasync a staged output");
        fd_closep(&w->fd);
        buf_clear(b);
        w->out.in_file = true;
        w->out.checksum = hash_end(&w->hash);
    }
    *out = w->out;
    w->out.inlined = (struct buf){ 0 };
    return 0;
}

void staged_clear(struct staged_writer *w)
{
    fd_closep(&w->fd);
    buf_clear(&w->out.inlined);
}

/* ---- read ---- */

int staged_open(struct staged_reader *r, const struct load_output *o, struct err *err)
{
    *r = (struct staged_reader){ .o = o, .fd = -1, .left = o->output->bytes };
    hash_init(&r->hash);
    if (!o->output->in_file)
        return (int64_t)o->output->inlined.n == o->output->bytes ? 0
                                                                 : err_set(err, ERR_STAGED_DAMAGED, "the inline output is cut");
    struct stat st;
    if ((r->fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0 || fstat(r->fd, &st) < 0) {
        int rc = errno == ENOENT ? err_set(err, ERR_STAGED_DAMAGED, "'%s' is gone", o->path) : err_sys(err, "open '%s'", o->path);
        staged_close(r);
        return rc;
    }
    if (st.st_size != o->output->bytes) {
        staged_close(r);
        return err_set(err, ERR_STAGED_DAMAGED, "'%s' has %" PRId64 " bytes, but %" PRId64 " were staged", o->path,
                       (int64_t)st.st_size, o->output->bytes);
    }
    if (!(r->block = malloc(STAGED_BLOCK))) {
        staged_close(r);
        return err_nomem(err);
    }
    return 0;
}

static int file_next(struct staged_reader *r, struct str *bytes, struct err *err)
{
    if (r->left == 0) {
        if (r->o->output->checksum && hash_end(&r->hash) != r->o->output->checksum)
            return err_set(err, ERR_STAGED_DAMAGED, "'%s' is not what was staged: its checksum differs", r->o->path);
        return 0;
    }
    ssize_t n = read(r->fd, r->block, (size_t)(r->left < STAGED_BLOCK ? r->left : STAGED_BLOCK));
    if (n < 0)
        return err_sys(err, "read '%s'", r->o->path);
    if (n == 0)
        return err_set(err, ERR_STAGED_DAMAGED, "'%s' was cut while it was read", r->o->path);
    hash_add(&r->hash, r->block, (size_t)n);
    r->left -= n;
    *bytes = (struct str){ r->block, (size_t)n };
    return 1;
}

int staged_next(struct staged_reader *r, struct str *bytes, struct err *err)
{
    if (r->o->output->in_file)
        return file_next(r, bytes, err);
    if (r->left == 0)
        return 0;
    *bytes = buf_str(&r->o->output->inlined);
    r->left = 0;
    return 1;
}

void staged_close(struct staged_reader *r)
{
    fd_closep(&r->fd);
    free(r->block);
    r->block = NULL;
}
