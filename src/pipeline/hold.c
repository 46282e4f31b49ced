/*
 * A file of records, a batch each, written once and read once by this process: values and places as they lie in memory, and
 * behind them the bytes that they point to, in the order of the rows. See hold.h.
 */
#include "pipeline/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

enum { PENDING_MAX = 256 * 1024 }; /* bytes that wait in memory to be written; fewer never need a file */

struct head {
    uint64_t bytes; /* of the record behind it */
    uint32_t rows;
    bool has_object, has_member;
};

struct hold {
    const struct columns *columns;
    const struct stage *stage;
    int64_t bytes, bytes_max; /* of all records */
    int fd;                   /* -1: all are in `pending` */
    struct buf pending;
    bool taken;               /* they are being read: from */
    int64_t at;
    struct buf record;        /* in hand */
    struct value *values;
    struct place *place;
    const struct place **places;
};

int hold_open(struct hold **out, const struct columns *columns, const struct stage *stage, int64_t bytes_max, struct err *err)
{
    struct hold *h = calloc(1, sizeof *h);
    if (!h)
        return err_nomem(err);
    h->columns = columns;
    h->stage = stage;
    h->bytes_max = bytes_max;
    h->fd = -1;
    *out = h;
    return 0;
}

void hold_close(struct hold *h)
{
    if (!h)
        return;
    fd_closep(&h->fd);
    buf_clear(&h->pending);
    buf_clear(&h->record);
    free(h->values);
    free(h->place);
    free(h->places);
    free(h);
}

static bool has_bytes(const struct column *c, const struct value *v)
{
    return !v->null && (c->type == TYPE_TEXT || c->type == TYPE_JSON);
}

/* ---- in ---- */

static int flush(struct hold *h, struct err *err)
{
    if (h->fd < 0 && (h->fd = h->stage->open_file(h->stage->arg, STAGE_SCRATCH, "", err)) < 0)
        return -1;
    if (sys_write_all(h->fd, h->pending.p, h->pending.n, "a scratch file", err) < 0)
        return -1;
    if (h->pending.cap > 4 * PENDING_MAX) /* after a long row */
        buf_clear(&h->pending);
    buf_reset(&h->pending);
    return 0;
}

static void put_name(struct buf *b, const char *name)
{
    if (name)
        buf_add(b, name, strlen(name) + 1);
}

static void put_record(struct buf *b, const struct columns *columns, const struct rows *rows, const char *object, const char *member)
{
    put_name(b, object);
    put_name(b, member);
    buf_add(b, rows->values, (size_t)rows->n * rows->cols * sizeof *rows->values);
    for (uint32_t i = 0; i < rows->n; i++)
        buf_add(b, rows->places[i], sizeof *rows->places[i]);
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct value *row = rows->values + (size_t)i * rows->cols;
        for (uint32_t c = 0; c < rows->cols; c++)
            if (has_bytes(&columns->v[c], &row[c]))
                buf_add(b, row[c].p, row[c].n);
        buf_add(b, rows->places[i]->raw.p, rows->places[i]->raw.n);
    }
}

int hold_put(struct hold *h, const struct rows *rows, const char *object, const char *member, struct err *err)
{
    struct head head = { .rows = rows->n, .has_object = object, .has_member = member };
    size_t at = h->pending.n;
    char most[32];
    if (!rows->n)
        return 0;
    buf_add(&h->pending, &head, sizeof head);
    put_record(&h->pending, h->columns, rows, object, member);
    if (h->pending.failed)
        return err_nomem(err);
    head.bytes = h->pending.n - at - sizeof head;
    memcpy(h->pending.p + at, &head, sizeof head);
    h->bytes += (int64_t)(h->pending.n - at);
    if (h->bytes > h->bytes_max) {
        text_put_size(most, sizeof most, h->bytes_max);
        return err_set(err, ERR_LIMIT, "rows that wait for those of lookup_parts take more than %s ([limits] scratch)", most);
    }
    return h->pending.n > PENDING_MAX ? flush(h, err) : 0;
}

/* ---- out ---- */

static int read_file(struct hold *h, char *to, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(h->fd, to + done, n - done, (off_t)h->at + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, "read a scratch file");
        if (got == 0)
            return err_set(err, ERR_IO, "a scratch file is shorter than what was written to it");
        done += (size_t)got;
    }
    return 0;
}

static int read_bytes(struct hold *h, void *to, size_t n, struct err *err)
{
    if (h->fd < 0)
        memcpy(to, h->pending.p + h->at, n);
    else if (read_file(h, to, n, err) < 0)
        return -1;
    h->at += (int64_t)n;
    return 0;
}

static int begin(struct hold *h, struct err *err)
{
    size_t cols = (size_t)h->columns->n;
    h->taken = true;
    h->values = calloc(BATCH_ROWS, mem_product(cols, sizeof *h->values));
    h->place = calloc(BATCH_ROWS, sizeof *h->place);
    h->places = calloc(BATCH_ROWS, sizeof *h->places);
    if (!h->values || !h->place || !h->places)
        return err_nomem(err);
    return h->fd < 0 || !h->pending.n ? 0 : flush(h, err);
}

/* The bytes at *at, which then stands behind them. */
static const char *bytes_at(const char **at, size_t n)
{
    const char *p = *at;
    *at += n;
    return p;
}

static const char *name_at(const char **at, bool has) { return has ? bytes_at(at, strlen(*at) + 1) : NULL; }

/* Values and places point to their bytes again. */
static void point(struct hold *h, uint32_t rows, const char *at)
{
    size_t cols = (size_t)h->columns->n;
    for (uint32_t i = 0; i < rows; i++) {
        struct value *row = h->values + (size_t)i * cols;
        for (size_t c = 0; c < cols; c++)
            if (has_bytes(&h->columns->v[c], &row[c]))
                row[c].p = bytes_at(&at, row[c].n);
        h->place[i].raw.p = bytes_at(&at, h->place[i].raw.n);
        h->places[i] = &h->place[i];
    }
}

int hold_take(struct hold *h, struct rows *rows, const char **object, const char **member, struct err *err)
{
    struct head head;
    size_t cols = (size_t)h->columns->n;
    if (!h->taken && begin(h, err) < 0)
        return -1;
    if (h->at == h->bytes)
        return 0;
    buf_reset(&h->record);
    if (read_bytes(h, &head, sizeof head, err) < 0)
        return -1;
    if (!buf_reserve(&h->record, head.bytes))
        return err_nomem(err);
    if (read_bytes(h, h->record.p, head.bytes, err) < 0)
        return -1;
    const char *at = h->record.p;
    *object = name_at(&at, head.has_object);
    *member = name_at(&at, head.has_member);
    memcpy(h->values, bytes_at(&at, head.rows * cols * sizeof *h->values), head.rows * cols * sizeof *h->values);
    memcpy(h->place, bytes_at(&at, head.rows * sizeof *h->place), head.rows * sizeof *h->place);
    point(h, head.rows, at);
    *rows = (struct rows){ .n = head.rows, .cols = (uint32_t)cols, .values = h->values, .places = h->places };
    return 1;
}
