/*
 * Object stores and directories: the encoder, which runs in the reader child and needs neither files
 * nor network. See object.h.
 *
 * Each object of an output has a buffer of rows, which becomes a block when it is full. Memory: when
 * all buffers together are more than OBJECT_BUFFERS, the fullest becomes a block early.
 *
 * If power fails in the middle, the staged file's name was not published: the job runs again.
 */
#include "target/object.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "io/row_text.h"
#include "target/object_name.h"
#include "target/object_pack.h"
#include "target/staged.h"

enum { SLOTS = 4096 /* of the table of names; a power of 2 */ };
static const char magic[8] = "QETLOBJ1";

struct open_part {
    struct object_part part;
    struct buf rows; /* not yet a block */
    int room;        /* of part.blocks */
};

struct encoder {
    const struct columns *columns;
    bool *not_null; /* a column each */
    bool json;
    char ext[16];
    struct buf header; /* of csv */
    struct object_name *name;
    struct pack *pack;
    struct open_part *parts;
    int nparts;
    int16_t slots[SLOTS]; /* 1 + place in parts, by hash of the name; 0 none */
    size_t buffered;
    struct buf row_name, packed, row;
    struct open_part *last; /* that row_name belongs to; NULL: none */
    struct staged_writer w;
    int64_t rows;
};

/* ---- the index ---- */

static void put64(struct buf *out, int64_t v)
{
    buf_add(out, &(uint64_t){ htole64((uint64_t)v) }, 8);
}

void object_index_put(struct buf *out, int64_t at, const char *ext, const struct object_part *parts,
                      int n)
{
    buf_add(out, ext, strlen(ext) + 1);
    for (int i = 0; i < n; i++) {
        buf_add(out, parts[i].name, strlen(parts[i].name) + 1);
        put64(out, parts[i].rows);
        put64(out, parts[i].nblocks);
        for (int k = 0; k < parts[i].nblocks; k++) {
            put64(out, parts[i].blocks[k].offset);
            put64(out, parts[i].blocks[k].bytes);
        }
    }
    put64(out, at);
    buf_add(out, magic, sizeof magic);
}

static int damaged(struct err *err)
{
    return err_set(err, ERR_STAGED_DAMAGED, "the index of a staged output is damaged");
}

static bool get64(struct str *s, int64_t *v)
{
    uint64_t raw;
    if (s->n < 8)
        return false;
    memcpy(&raw, s->p, 8);
    *v = (int64_t)le64toh(raw);
    s->p += 8;
    s->n -= 8;
    return *v >= 0;
}

/* The text up to the next NUL. */
static bool get_text(struct str *s, struct str *text)
{
    const char *end = s->n ? memchr(s->p, 0, s->n) : NULL;
    if (!end)
        return false;
    *text = (struct str){ s->p, (size_t)(end - s->p) };
    s->n -= text->n + 1;
    s->p = end + 1;
    return true;
}

int64_t object_index_at(const char trailer[OBJECT_TRAILER], int64_t bytes, struct err *err)
{
    struct str s = { trailer, OBJECT_TRAILER };
    int64_t at;
    if (!get64(&s, &at) || memcmp(s.p, magic, sizeof magic) != 0 || at > bytes - OBJECT_TRAILER)
        return damaged(err);
    return at;
}

static int read_part(struct object_part *part, struct str *s, int64_t end, struct err *err)
{
    struct str name;
    int64_t n;
    if (!get_text(s, &name) || !object_name_good(name) || !get64(s, &part->rows) || !get64(s, &n) ||
        n > (int64_t)(s->n / 16))
        return damaged(err);
    part->name = strndup(name.p, name.n);
    part->blocks = calloc((size_t)n + 1, sizeof *part->blocks);
    if (!part->name || !part->blocks)
        return err_nomem(err);
    for (; part->nblocks < n; part->nblocks++) {
        struct object_block *b = &part->blocks[part->nblocks];
        if (!get64(s, &b->offset) || !get64(s, &b->bytes) || b->offset > end || b->bytes > end - b->offset)
            return damaged(err);
        part->bytes += b->bytes;
    }
    return 0;
}

int object_index_read(struct object_index *out, struct str text, int64_t at, struct err *err)
{
    struct object_index x = { 0 };
    struct str ext;
    int rc = 0;
    if (text.n < OBJECT_TRAILER)
        return damaged(err);
    text.n -= OBJECT_TRAILER;
    if (!get_text(&text, &ext) || ext.n >= sizeof x.ext)
        return damaged(err);
    snprintf(x.ext, sizeof x.ext, "%.*s", (int)ext.n, ext.p);
    if (!(x.parts = calloc(OBJECT_PARTS_MAX, sizeof *x.parts)))
        return err_nomem(err);
    while (rc == 0 && text.n) {
        if (x.n == OBJECT_PARTS_MAX)
            rc = damaged(err);
        else
            rc = read_part(&x.parts[x.n++], &text, at, err);
    }
    if (rc < 0)
        object_index_clear(&x);
    else
        *out = x;
    return rc;
}

void object_index_clear(struct object_index *x)
{
    for (int i = 0; i < x->n; i++) {
        free(x->parts[i].name);
        free(x->parts[i].blocks);
    }
    free(x->parts);
    *x = (struct object_index){ 0 };
}

/* ---- rows ---- */

/* The row's text into e->row. False: *fault. */
static bool put_row(struct encoder *e, const struct value *row, struct row_fault *fault)
{
    struct buf *out = &e->row;
    buf_reset(out);
    for (int i = 0; i < e->columns->n; i++) {
        const struct column *c = &e->columns->v[i];
        if (e->json) {
            buf_addc(out, i ? ',' : '{');
            row_put_json_text(out, str_of(c->name));
            buf_addc(out, ':');
        } else if (i) {
            buf_addc(out, ',');
        }
        if (row[i].null && e->not_null[i])
            *fault = (struct row_fault){ i, REJECT_NULL };
        else if (row[i].null && e->json) {
            buf_adds(out, "null");
            continue;
        } else if (row[i].null || (e->json ? row_put_json(out, c, &row[i]) : row_put_csv(out, c, &row[i])))
            continue;
        else
            *fault = (struct row_fault){ i, REJECT_TARGET_RANGE };
        return false;
    }
    if (!e->json && e->columns->n == 1 && row[0].null)
        buf_adds(out, "\"\""); /* an empty line is no row */
    buf_adds(out, e->json ? "}\n" : "\n");
    return true;
}

/* ---- objects ---- */

static int add_block(struct open_part *p, int64_t offset, int64_t bytes, struct err *err)
{
    if (p->part.nblocks == p->room) {
        int room = p->room ? p->room * 2 : 4;
        struct object_block *more = realloc(p->part.blocks, (size_t)room * sizeof *more);
        if (!more)
            return err_nomem(err);
        p->part.blocks = more;
        p->room = room;
    }
    p->part.blocks[p->part.nblocks++] = (struct object_block){ offset, bytes };
    return 0;
}

static int flush_part(struct encoder *e, struct open_part *p, struct err *err)
{
    struct buf *out = staged_room(&e->w);
    if (!p->rows.n)
        return 0;
    buf_reset(&e->packed);
    if (pack_block(e->pack, &e->packed, buf_str(&p->rows), err) < 0 ||
        add_block(p, e->w.out.bytes + (int64_t)out->n, (int64_t)e->packed.n, err) < 0)
        return -1;
    buf_add(out, e->packed.p, e->packed.n);
    e->buffered -= p->rows.n;
    if (p->rows.cap > OBJECT_BLOCK / 4 && e->nparts > 16)
        buf_clear(&p->rows);
    else
        buf_reset(&p->rows);
    return staged_flush(&e->w, err);
}

static int flush_fullest(struct encoder *e, struct err *err)
{
    struct open_part *most = &e->parts[0];
    for (int i = 1; i < e->nparts; i++)
        if (e->parts[i].rows.n > most->rows.n)
            most = &e->parts[i];
    return flush_part(e, most, err);
}

static struct open_part *new_part(struct encoder *e, struct err *err)
{
    if (e->nparts == OBJECT_PARTS_MAX) {
        err_set(err, ERR_CONFIG, "path= of the [target] makes more than %d objects of this job; the next one is '%s'", OBJECT_PARTS_MAX,
                e->row_name.p);
        return NULL;
    }
    struct open_part *p = &e->parts[e->nparts];
    if (!(p->part.name = strdup(e->row_name.p))) {
        (void)err_nomem(err);
        return NULL;
    }
    buf_add(&p->rows, e->header.p, e->header.n);
    e->buffered += p->rows.n;
    e->nparts++;
    return p;
}

/* The object that a row of name e->row_name goes to; NULL: *err. */
static struct open_part *part_of(struct encoder *e, struct err *err)
{
    struct hash h;
    hash_init(&h);
    hash_add(&h, e->row_name.p, e->row_name.n);
    size_t at = hash_end(&h) % SLOTS;
    for (; e->slots[at]; at = (at + 1) % SLOTS)
        if (!strcmp(e->parts[e->slots[at] - 1].part.name, e->row_name.p))
            return &e->parts[e->slots[at] - 1];
    struct open_part *p = new_part(e, err);
    if (p)
        e->slots[at] = (int16_t)e->nparts;
    return p;
}

/* e->last becomes the row's object. 1 done; 0 its name would be too long: *fault; -1 *err. */
static int find_part(struct encoder *e, const struct value *row, struct row_fault *fault, struct err *err)
{
    if (e->last && !object_name_has_columns(e->name))
        return 1;
    char before[OBJECT_NAME_MAX + 1];
    size_t n = e->last ? e->row_name.n : 0;
    memcpy(before, e->row_name.p ? e->row_name.p : "", n);
    buf_reset(&e->row_name);
    fault->reason = REJECT_TARGET_RANGE;
    if (!object_name_put(&e->row_name, e->name, row, &fault->column)) {
        e->last = NULL;
        return e->row_name.failed ? err_nomem(err) : 0;
    }
    if (!e->last || n != e->row_name.n || memcmp(before, e->row_name.p, n) != 0)
        e->last = part_of(e, err);
    return e->last ? 1 : -1;
}

static int add_row(struct encoder *e, struct err *err)
{
    struct open_part *p = e->last;
    buf_add(&p->rows, e->row.p, e->row.n);
    if (p->rows.failed || e->row.failed)
        return err_nomem(err);
    p->part.rows++;
    e->rows++;
    e->buffered += e->row.n;
    if (p->rows.n >= OBJECT_BLOCK)
        return flush_part(e, p, err);
    return e->buffered > OBJECT_BUFFERS ? flush_fullest(e, err) : 0;
}

static int encode_rows(struct encoder *e, const struct rows *rows, struct rejects *rejects, uint64_t *staged,
                       struct err *err)
{
    for (uint32_t i = 0; i < rows->n; i++) {
        const struct value *row = rows->values + (size_t)i * rows->cols;
        struct row_fault fault = { 0, REJECT_TARGET_RANGE };
        int rc = put_row(e, row, &fault) ? find_part(e, row, &fault, err) : 0;
        if (rc < 0 || (rc == 0 && row_refuse(e->columns, &fault, rows, i, rejects, err) < 0))
            return -1;
        if (rc == 0)
            continue;
        if (add_row(e, err) < 0)
            return -1;
        ++*staged;
    }
    return 0;
}

static int encode_finish(struct encoder *e, struct output *out, struct err *err)
{
    struct object_part *parts = calloc((size_t)e->nparts + 1, sizeof *parts);
    if (!parts)
        return err_nomem(err);
    int rc = 0;
    for (int i = 0; rc == 0 && i < e->nparts; i++) {
        rc = flush_part(e, &e->parts[i], err);
        parts[i] = e->parts[i].part;
    }
    if (rc == 0) {
        struct buf *room = staged_room(&e->w);
        object_index_put(room, e->w.out.bytes + (int64_t)room->n, e->ext, parts, e->nparts);
        rc = staged_finish(&e->w, out, err);
    }
    free(parts);
    if (rc == 0)
        out->rows = e->rows;
    return rc;
}

static void encode_close(struct encoder *e)
{
    if (!e)
        return;
    for (int i = 0; e->parts && i < e->nparts; i++) {
        free(e->parts[i].part.name);
        free(e->parts[i].part.blocks);
        buf_clear(&e->parts[i].rows);
    }
    free(e->parts);
    free(e->not_null);
    object_name_free(e->name);
    pack_close(e->pack);
    buf_clear(&e->header);
    buf_clear(&e->row_name);
    buf_clear(&e->packed);
    buf_clear(&e->row);
    staged_clear(&e->w);
    free(e);
}

static void ext_of(char out[16], const struct target_config *cfg)
{
    bool plain = !strcmp(cfg->compress, "none");
    snprintf(out, 16, "%s%s%s", cfg->format, plain ? "" : ".", plain ? "" : cfg->compress);
}

static void put_header(struct encoder *e)
{
    for (int i = 0; i < e->columns->n && !e->json; i++) {
        if (i)
            buf_addc(&e->header, ',');
        row_put_csv_text(&e->header, str_of(e->columns->v[i].name));
    }
    if (!e->json)
        buf_addc(&e->header, '\n');
}

static int encode_open(struct encoder **out, const struct target_config *cfg, const struct table_spec *spec,
                       const struct stage *stage, int number, struct err *err)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e)
        return err_nomem(err);
    e->columns = spec->columns;
    e->json = !strcmp(cfg->format, "jsonl");
    ext_of(e->ext, cfg);
    staged_start(&e->w, stage, number, spec->table, "obj");
    put_header(e);
    e->parts = calloc(OBJECT_PARTS_MAX, sizeof *e->parts);
    e->not_null = calloc((size_t)spec->columns->n, sizeof *e->not_null);
    int rc = !e->parts || !e->not_null || e->header.failed ? err_nomem(err) : 0;
    for (int i = 0; rc == 0 && i < spec->columns->n; i++)
        e->not_null[i] = column_not_null(spec, i);
    if (rc < 0 || object_name_parse(&e->name, cfg->path, spec, e->ext, number, err) < 0 ||
        pack_open(&e->pack, cfg->compress, err) < 0) {
        encode_close(e);
        return -1;
    }
    *out = e;
    return 0;
}

/* ---- the target ---- */

/* The template in the [target]; spec: without columns where they are not known. */
static int check_path(const struct target_config *cfg, const struct table_spec *spec, struct err *err)
{
    struct object_name *name;
    char ext[16];
    ext_of(ext, cfg);
    if (object_name_parse(&name, cfg->path, spec, ext, 0, err) < 0)
        return err_in(err, "target '%s'", cfg->name);
    object_name_free(name);
    return 0;
}

static int check_self(const struct target_config *cfg, const char **key, struct err *err)
{
    *key = "compress";
    if (!pack_known(cfg->compress))
        return err_set(err, ERR_CONFIG, "target '%s': compress = %s: this qetl was built without it", cfg->name, cfg->compress);
    *key = "path";
    return check_path(cfg, &(struct table_spec){ .name = "x" }, err);
}

static int check(const struct target_config *cfg, const struct table_spec *spec, enum check_of of, struct err *err)
{
    struct err alone;
    const char *key;
    if (of == CHECK_COLUMNS && check_self(cfg, &key, &alone) == 0)
        return check_path(cfg, spec, err);
    if (of != CHECK_MODE)
        return 0;
    if (mode_has_key(spec->mode) || spec->version >= 0 || spec->deleted >= 0 || spec->missing != MISSING_KEEP ||
        spec->only_if_changed)
        return err_set(err, ERR_CONFIG,
                       "target '%s': table '%s': mode %s would have to find rows by their key, and objects are never "
                       "read again: use append or replace",
                       cfg->name, spec->name, load_mode_names[spec->mode]);
    return 0;
}

#define OBJECT_TARGET(url_scheme)                                                                  \
    {                                                                                              \
        .scheme = url_scheme, .check_self = check_self, .check = check, .encode_open = encode_open, .encode_rows = encode_rows, \
        .encode_finish = encode_finish, .encode_close = encode_close, .open = object_open,         \
        .close = object_close, .max_files = 1000, .begin = object_begin,                           \
        .load_job = object_load_job, .commit = object_commit, .one_by_one = true,                  \
        .rollback = object_rollback, .look = object_look, .loaded = object_loaded,                 \
        .forsake = object_forsake,                                                                 \
        .undo = object_undo,                                                                       \
        .undoes = 1 << MODE_APPEND, .undoes_not = "the objects that were there are deleted",       \
    }
const struct target target_directory = OBJECT_TARGET("file");
const struct target target_s3 = OBJECT_TARGET("s3");
