/*
 * Refused rows of one job as JSON lines, and back.
 *
 * out.inlined holds the lines that are not in the file yet: all of them while they are few, then up
 * to PENDING_MAX, so that a file full of bad rows does not cost a write each. Each line is whole or
 * not there. If power fails, the file is a .part that nobody names; the job runs again.
 */
#include "io/rejects.h"

#include <stdio.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"

enum {
    VALUE_MAX = 200,
    ROW_SHOWN = 2000,
    PENDING_MAX = 64 * 1024,
    ARENA_KEPT = 1 << 20,
    MESSAGE_MAX = 160, /* of one that is put together here */
    LINE_MIN = 64 * 1024, /* of a line: all but its row */
    LINE_TIMES = 9,       /* bytes of a line for one of its row: 6 of an escape in "row", 2 in "hex", and 1 to spare */
};

void rejects_init(struct rejects *r, const struct stage *stage, int output,
                  struct reject_limit limit)
{
    *r = (struct rejects){ .stage = stage, .output = output, .limit = limit, .fd = -1, .told = true };
    r->out.kind = OUTPUT_REJECTS;
    r->out.number = output;
    snprintf(r->out.ext, sizeof r->out.ext, "jsonl");
    r->head = r->out;
}

void rejects_clear(struct rejects *r)
{
    fd_closep(&r->fd);
    output_clear(&r->out);
    output_clear(&r->head);
    r->count = 0;
}

void rejects_at(struct rejects *r, const char *table, const char *object, const char *member)
{
    r->table = table;
    r->object = object;
    r->member = member;
    rejects_forget(r);
}

void rejects_forget(struct rejects *r)
{
    r->told = r->told && !r->context; /* when there was one, the lines must tell that there is none */
    r->context = NULL;
}

void rejects_know(struct rejects *r, const struct reject_context *context)
{
    r->context = context;
    r->told = false;
}

/* s, or its first `max` bytes without a character cut in two. */
static struct str cut_at(struct str s, size_t max, bool *cut)
{
    if (s.n <= max)
        return s;
    *cut = true;
    size_t n = max;
    for (int i = 0; i < 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80; i++)
        n--;
    if (((unsigned char)s.p[n] & 0xc0) == 0x80) /* no UTF-8 at all */
        n = max;
    return (struct str){ s.p, n };
}

static void put_text(struct json_out *o, const char *key, struct str s)
{
    json_key(o, key);
    json_text(o, s);
}

/* ---- hex ---- */

/* false: it is none, or there is no memory. */
static bool take_hex(struct str hex, struct arena *arena, struct str *out)
{
    char *p = hex.n % 2 ? NULL : arena_alloc(arena, hex.n / 2 + 1);
    if (!p)
        return false;
    for (size_t i = 0; i < hex.n; i += 2) {
        int high = text_hex(hex.p[i]), low = text_hex(hex.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        p[i / 2] = (char)(high << 4 | low);
    }
    *out = (struct str){ p, hex.n / 2 };
    return true;
}

/* ---- lines ---- */

/* What went wrong in words; of a wrong number of fields also which: "...: 3 found, 5 expected". */
static const char *message_of(const struct bad_row *bad, char *buf, size_t cap)
{
    const char *text = reject_text(bad->reason);
    if (bad->detail || bad->reason != REJECT_FIELD_COUNT)
        return bad->detail ? bad->detail : text;
    snprintf(buf, cap, "%s: %d found, %d expected", text, bad->found, bad->expected);
    return buf;
}

static void write_row(struct json_out *o, const struct bad_row *bad, size_t row_max)
{
    struct str raw = bad->place.raw;
    bool cut = bad->reason == REJECT_ROW_TOO_LONG || !raw.p;
    raw = cut_at(raw, cut && row_max > ROW_SHOWN ? ROW_SHOWN : row_max, &cut);
    put_text(o, "row", raw);
    if (text_utf8_valid(raw) != raw.n) {
        json_key(o, "hex");
        buf_addc(o->buf, '"');
        buf_add_hex(o->buf, raw);
        buf_addc(o->buf, '"');
        o->after_key = false;
    }
    if (cut)
        json_put_bool(o, "cut", true);
}

static void write_line(const struct rejects *r, struct buf *to, const struct bad_row *bad, const char *column, size_t row_max)
{
    const struct place *place = &bad->place;
    char message[MESSAGE_MAX];
    bool cut = false;
    struct json_out o;
    json_start(&o, to);
    json_object(&o);
    json_put_text(&o, "table", r->table);
    json_put_text(&o, "reason", reject_name(bad->reason));
    json_put_text(&o, "message", message_of(bad, message, sizeof message));
    json_put_text(&o, "column", column);
    put_text(&o, "value", cut_at(bad->value, VALUE_MAX, &cut));
    json_put_text(&o, "object", r->object);
    json_put_text(&o, "member", r->member);
    json_put_int(&o, "line", (int64_t)place->line);
    json_put_int(&o, "offset", (int64_t)place->offset);
    write_row(&o, bad, row_max);
    json_object_end(&o);
    buf_addc(to, '\n');
}

static void write_context(struct buf *to, const struct reject_context *c)
{
    struct json_out o;
    json_start(&o, to);
    json_object(&o);
    json_key(&o, "context");
    if (!c) {
        json_null(&o);
    } else {
        json_object(&o);
        json_put_text(&o, "part", c->part);
        json_put_text(&o, "format", c->format);
        json_put_text(&o, "encoding", c->encoding);
        json_key(&o, "delimiter");
        c->delimiter ? json_text(&o, (struct str){ &c->delimiter, 1 }) : json_null(&o);
        json_key(&o, "header");
        c->has_header ? json_text(&o, c->header) : json_null(&o);
        json_put_bool(&o, "refresh", c->refresh);
        json_object_end(&o);
    }
    json_object_end(&o);
    buf_addc(to, '\n');
}

/* The first reject in words: "line 17, byte 5120, column 'id': 'x1' is refused: not an integer". */
static void remember_first(struct rejects *r, const struct bad_row *bad, const char *column)
{
    const struct place *place = &bad->place;
    char message[MESSAGE_MAX];
    bool cut = false;
    AUTO(buf_clear) struct buf b = { 0 }, shown = { 0 };
    if (r->member)
        buf_addf(&b, "member '%.80s', ", r->member);
    else if (r->object)
        buf_addf(&b, "%.80s, ", r->object);
    buf_addf(&b, "line %llu, byte %llu", (unsigned long long)place->line,
             (unsigned long long)place->offset);
    if (column)
        buf_addf(&b, ", column '%.64s'", column);
    if (bad->value.n) {
        struct json_out o; /* quotes, and makes control characters visible */
        json_start(&o, &shown);
        json_text(&o, cut_at(bad->value, 40, &cut));
        buf_addf(&b, ", value %s%s", shown.p ? shown.p : "", cut ? "..." : "");
    }
    buf_addf(&b, ": %s [%s]", message_of(bad, message, sizeof message),
             reject_name(bad->reason));
    snprintf(r->first, sizeof r->first, "%s", b.p ? b.p : reject_name(bad->reason));
}

/* ---- the sink ---- */

static int flush(struct rejects *r, struct err *err)
{
    if (r->fd < 0) {
        int fd = r->stage->open_file(r->stage->arg, r->output, r->out.ext, err);
        if (fd < 0)
            return err_in(err, "rejects");
        r->fd = fd;
        r->out.in_file = true;
    }
    if (sys_fault("rejects-write"))
        return err_sys(err, "write '%s'", "rejects");
    if (sys_write_all(r->fd, r->out.inlined.p, r->out.inlined.n, "rejects", err) < 0)
        return -1;
    if (r->out.inlined.cap > 4 * PENDING_MAX) /* after a long row */
        buf_clear(&r->out.inlined);
    buf_reset(&r->out.inlined);
    return 0;
}

int rejects_add(struct rejects *r, enum reject_reason reason, const char *column, struct str value,
                const struct place *place, struct err *err)
{
    struct bad_row bad = { .place = *place, .reason = reason, .column = -1, .value = value };
    return rejects_add_bad(r, &bad, column, err);
}

/* Where there is room for another line of the head, with what its rows need before it. A few bytes more than that do no harm: the
 * queue takes what it is given. */
static struct buf *head_room(struct rejects *r)
{
    if (r->head.inlined.n > r->stage->inline_max)
        return NULL;
    if (!r->told)
        write_context(&r->head.inlined, r->context);
    r->head.rows++;
    return &r->head.inlined;
}

/* The same of all lines. */
static struct buf *out_room(struct rejects *r)
{
    if (!r->told)
        write_context(&r->out.inlined, r->context);
    r->told = true;
    return &r->out.inlined;
}

/* A line was added behind the first `before` bytes. */
static int added(struct rejects *r, size_t before, struct err *err)
{
    if (r->out.inlined.failed || r->head.inlined.failed)
        return err_nomem(err);
    r->out.bytes += (int64_t)(r->out.inlined.n - before);
    r->count++;
    size_t keep = r->fd < 0 ? r->stage->inline_max : PENDING_MAX;
    if (r->out.inlined.n > keep && flush(r, err) < 0)
        return -1;
    if (r->limit.count >= 0 && r->count > r->limit.count)
        return err_set(err, ERR_REJECTS, "more than %lld rows rejected; the first: %s",
                       (long long)r->limit.count, r->first);
    return 0;
}

int rejects_add_bad(struct rejects *r, const struct bad_row *bad, const char *column,
                    struct err *err)
{
    size_t before = r->out.inlined.n;
    struct buf *head = head_room(r);
    if (head)
        write_line(r, head, bad, column, ROW_SHOWN);
    write_line(r, out_room(r), bad, column, SIZE_MAX);
    r->by_reason[bad->reason]++;
    if (r->count == 0)
        remember_first(r, bad, column);
    return added(r, before, err);
}

int rejects_again(struct rejects *r, const struct reject_line *l, struct err *err)
{
    size_t before = r->out.inlined.n;
    struct buf *room[] = { head_room(r), out_room(r) };
    for (size_t i = 0; i < COUNT_OF(room); i++) {
        if (!room[i])
            continue;
        buf_add(room[i], l->line.p, l->line.n);
        buf_addc(room[i], '\n');
    }
    for (int i = 0; i < REJECT_REASONS; i++)
        r->by_reason[i] += !strcmp(l->reason, reject_name((enum reject_reason)i));
    if (r->count == 0)
        snprintf(r->first, sizeof r->first, "line %lld, byte %lld: %s [%s]", (long long)l->row_line, (long long)l->row_offset, l->message,
                 l->reason);
    return added(r, before, err);
}

static int put_spec(const struct rejects *r, struct output *out, struct err *err)
{
    struct buf b = { 0 };
    struct json_out o;
    json_start(&o, &b);
    json_object(&o);
    json_put_text(&o, "first", r->first);
    json_key(&o, "reasons");
    json_array(&o);
    for (int i = 0; i < REJECT_REASONS; i++) {
        if (!r->by_reason[i])
            continue;
        json_object(&o);
        json_put_text(&o, "reason", reject_name((enum reject_reason)i));
        json_put_int(&o, "rows", r->by_reason[i]);
        json_object_end(&o);
    }
    json_array_end(&o);
    json_object_end(&o);
    if (b.failed) {
        buf_clear(&b);
        return err_nomem(err);
    }
    out->spec = b.p;
    return 0;
}

void rejects_head(struct rejects *r, struct output *out)
{
    struct err no_memory; /* then it is shown without a summary */
    (void)put_spec(r, &r->head, &no_memory);
    r->head.bytes = (int64_t)r->head.inlined.n;
    *out = r->head;
    r->head = (struct output){ 0 };
}

int rejects_finish(struct rejects *r, uint64_t rows_read, struct output *out, struct err *err)
{
    if (r->limit.share >= 0 && (double)r->count > r->limit.share * (double)rows_read)
        return err_set(
            err, ERR_REJECTS, "%lld of %llu rows rejected, more than %.6g%%; the first: %s",
            (long long)r->count, (unsigned long long)rows_read, r->limit.share * 100, r->first);
    if (r->fd >= 0 && r->out.inlined.n && flush(r, err) < 0)
        return -1;
    if (put_spec(r, &r->out, err) < 0)
        return -1;
    if (r->fd >= 0)
        buf_clear(&r->out.inlined);
    r->out.rows = r->count;
    *out = r->out;
    r->out = (struct output){ 0 };
    fd_closep(&r->fd);
    return 0;
}

/* ---- the way back ---- */

struct rejects_in {
    struct input *in;
    struct buf window;
    size_t at, line_max; /* at: of the next line in the window */
    size_t looked;       /* there is no newline between at and here */
    bool eof;
    int64_t line;        /* number of the line in hand, for errors */
    struct arena arena;  /* of the row in hand */
    struct arena kept;   /* of the context */
    struct reject_context context;
    bool has_context;
};

int rejects_open(struct rejects_in **out, struct input *in, int64_t row_bytes, struct err *err)
{
    struct rejects_in *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    r->in = in;
    r->line_max = (size_t)row_bytes * LINE_TIMES + LINE_MIN;
    *out = r;
    return 0;
}

void rejects_close(struct rejects_in *r)
{
    if (!r)
        return;
    buf_clear(&r->window);
    arena_clear(&r->arena);
    arena_clear(&r->kept);
    free(r);
}

static int damaged(const struct rejects_in *r, const char *what, struct err *err)
{
    return err_set(err, ERR_FORMAT, "line %lld of the kept rejects: %s", (long long)r->line, what);
}

/* More of the line at the front of the window. */
static int window_fill(struct rejects_in *r, struct err *err)
{
    if (r->at) {
        memmove(r->window.p, r->window.p + r->at, r->window.n - r->at);
        r->window.n -= r->at;
        r->looked -= r->at;
        r->at = 0;
    }
    if (r->window.n > r->line_max)
        return damaged(r, "it is longer than a row of [limits] row", err);
    if (!buf_reserve(&r->window, PENDING_MAX))
        return err_nomem(err);
    ssize_t n = r->in->read(r->in, r->window.p + r->window.n, r->window.cap - r->window.n - 1, err);
    if (n < 0)
        return -1;
    r->window.n += (size_t)n;
    r->eof = n == 0;
    return 0;
}

/* 1: the next line, without its newline; 0: the end; -1. */
static int next_line(struct rejects_in *r, struct str *line, struct err *err)
{
    r->line++;
    for (;;) {
        const char *from = r->window.p ? r->window.p + r->at : NULL;
        const char *nl = from ? memchr(r->window.p + r->looked, '\n', r->window.n - r->looked) : NULL;
        if (nl) {
            *line = (struct str){ from, (size_t)(nl - from) };
            r->at += line->n + 1;
            r->looked = r->at;
            return 1;
        }
        r->looked = r->window.n;
        if (r->eof)
            return r->at == r->window.n ? 0 : damaged(r, "it is cut off", err);
        if (window_fill(r, err) < 0)
            return -1;
    }
}

/* A text member; NULL for null, and where it is no text (*bad). */
static char *member_text(const struct json_value *object, const char *name, struct arena *arena, struct str *s, bool *bad)
{
    struct json_value v;
    *s = (struct str){ 0 };
    if (json_member(object, name, &v) != 1) {
        *bad = true;
        return NULL;
    }
    if (v.kind == JSON_NULL)
        return NULL;
    char *p = v.kind == JSON_TEXT && json_unescape(&v, arena, s) ? arena_dup(arena, *s) : NULL;
    *bad |= !p;
    return p;
}

static int take_context(struct rejects_in *r, const struct json_value *c, struct err *err)
{
    struct str s;
    struct json_value refresh;
    bool bad = false;
    r->has_context = false;
    if (c->kind == JSON_NULL)
        return 0;
    arena_reset(&r->kept);
    r->context = (struct reject_context){
        .part = member_text(c, "part", &r->kept, &s, &bad),
        .format = member_text(c, "format", &r->kept, &s, &bad),
        .encoding = member_text(c, "encoding", &r->kept, &s, &bad),
    };
    if (member_text(c, "delimiter", &r->kept, &s, &bad) && s.n == 1)
        r->context.delimiter = s.p[0];
    r->context.header.p = member_text(c, "header", &r->kept, &s, &bad);
    r->context.header.n = s.n;
    r->context.has_header = r->context.header.p != NULL;
    r->context.refresh = json_member(c, "refresh", &refresh) == 1 && refresh.kind == JSON_TRUE;
    if (bad || !r->context.part || !r->context.format || !r->context.encoding)
        return damaged(r, "it is no context", err);
    r->has_context = true;
    return 0;
}

static bool take_number(const struct json_value *object, const char *name, int64_t *out)
{
    struct json_value v;
    return json_member(object, name, &v) == 1 && v.kind == JSON_NUMBER && text_int(v.raw, out);
}

static int take_row(struct rejects_in *r, const struct json_value *o, struct reject_line *l, struct err *err)
{
    struct json_value v;
    struct str s, hex;
    bool bad = false;
    l->table = member_text(o, "table", &r->arena, &s, &bad);
    l->reason = member_text(o, "reason", &r->arena, &s, &bad);
    l->message = member_text(o, "message", &r->arena, &s, &bad);
    l->column = member_text(o, "column", &r->arena, &s, &bad);
    l->object = member_text(o, "object", &r->arena, &s, &bad);
    l->member = member_text(o, "member", &r->arena, &s, &bad);
    (void)member_text(o, "value", &r->arena, &l->value, &bad);
    (void)member_text(o, "row", &r->arena, &l->row, &bad);
    if (json_member(o, "hex", &v) == 1)
        bad |= v.kind != JSON_TEXT || !json_unescape(&v, &r->arena, &hex) || !take_hex(hex, &r->arena, &l->row);
    l->cut = json_member(o, "cut", &v) == 1 && v.kind == JSON_TRUE;
    if (bad || !l->reason || !l->message || !take_number(o, "line", &l->row_line) || !take_number(o, "offset", &l->row_offset))
        return damaged(r, "it is no rejected row", err);
    l->context = r->has_context && !l->cut && l->object && l->member ? &r->context : NULL; /* else a step made it */
    return 1;
}

int rejects_next(struct rejects_in *r, struct reject_line *l, struct err *err)
{
    struct json_value doc, context;
    struct json_fault fault;
    int rc;
    *l = (struct reject_line){ 0 };
    r->arena.total > ARENA_KEPT ? arena_clear(&r->arena) : arena_reset(&r->arena);
    while ((rc = next_line(r, &l->line, err)) == 1) {
        if (!json_check(l->line, &doc, &fault) || doc.kind != JSON_OBJECT)
            return damaged(r, "it is no JSON object", err);
        if (json_member(&doc, "context", &context) != 1)
            return take_row(r, &doc, l, err);
        if (take_context(r, &context, err) < 0)
            return -1;
        l->new_context = true;
    }
    return rc;
}
