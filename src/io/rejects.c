/*
 * Refused rows of one job as JSON lines.
 *
 * out.inlined holds the lines that are not in the file yet: all of them while they are few, then up
 * to PENDING_MAX, so that a file full of bad rows does not cost a write each. Each line is whole or
 * not there. If power fails, the file is a .part that nobody names; the job runs again.
 */
#include "io/rejects.h"

#include <stdio.h>

#include "base/json.h"
#include "base/sys.h"

enum { VALUE_MAX = 200, ROW_MAX = 2000, PENDING_MAX = 64 * 1024, MESSAGE_MAX = 160 };

void rejects_init(struct rejects *r, const struct stage *stage, int output,
                  struct reject_limit limit)
{
    *r = (struct rejects){ .stage = stage, .output = output, .limit = limit, .fd = -1 };
    r->out.kind = OUTPUT_REJECTS;
    r->out.number = output;
    snprintf(r->out.ext, sizeof r->out.ext, "jsonl");
}

void rejects_clear(struct rejects *r)
{
    fd_closep(&r->fd);
    output_clear(&r->out);
    output_clear(&r->head);
    r->count = 0;
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

/* The reason in words; of a wrong number of fields also which: "...: 3 found, 5 expected". */
static const char *message_of(const struct bad_row *bad, char *buf, size_t cap)
{
    const char *text = reject_text(bad->reason);
    if (bad->reason != REJECT_FIELD_COUNT)
        return text;
    snprintf(buf, cap, "%s: %d found, %d expected", text, bad->found, bad->expected);
    return buf;
}

static void write_line(struct rejects *r, const struct bad_row *bad, const char *column)
{
    const struct place *place = &bad->place;
    char message[MESSAGE_MAX];
    bool cut = false;
    struct json_out o;
    json_start(&o, &r->out.inlined);
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
    put_text(&o, "row", cut_at(place->raw, ROW_MAX, &cut));
    if (cut)
        json_put_bool(&o, "cut", true);
    json_object_end(&o);
    buf_addc(&r->out.inlined, '\n');
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

static int flush(struct rejects *r, struct err *err)
{
    if (r->fd < 0) {
        r->head = r->out;
        r->head.rows = r->count;
        r->head.inlined = (struct buf){ 0 };
        buf_add(&r->head.inlined, r->out.inlined.p, r->out.inlined.n);
        if (r->head.inlined.failed)
            return err_nomem(err);
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
    buf_reset(&r->out.inlined);
    return 0;
}

int rejects_add(struct rejects *r, enum reject_reason reason, const char *column, struct str value,
                const struct place *place, struct err *err)
{
    struct bad_row bad = { .place = *place, .reason = reason, .column = -1, .value = value };
    return rejects_add_bad(r, &bad, column, err);
}

int rejects_add_bad(struct rejects *r, const struct bad_row *bad, const char *column,
                    struct err *err)
{
    size_t before = r->out.inlined.n;
    write_line(r, bad, column);
    if (r->out.inlined.failed)
        return err_nomem(err);
    r->out.bytes += (int64_t)(r->out.inlined.n - before);
    if (r->count++ == 0)
        remember_first(r, bad, column);
    size_t keep = r->fd < 0 ? r->stage->inline_max : PENDING_MAX;
    if (r->out.inlined.n > keep && flush(r, err) < 0)
        return -1;
    if (r->limit.count >= 0 && r->count > r->limit.count)
        return err_set(err, ERR_REJECTS, "more than %lld rows rejected; the first: %s",
                       (long long)r->limit.count, r->first);
    return 0;
}

void rejects_head(struct rejects *r, struct output *out)
{
    struct output *from = r->fd < 0 ? &r->out : &r->head;
    if (r->fd < 0)
        from->rows = r->count;
    *out = *from;
    from->inlined = (struct buf){ 0 };
}

int rejects_finish(struct rejects *r, uint64_t rows_read, struct output *out, struct err *err)
{
    if (r->limit.share >= 0 && (double)r->count > r->limit.share * (double)rows_read)
        return err_set(
            err, ERR_REJECTS, "%lld of %llu rows rejected, more than %.6g%%; the first: %s",
            (long long)r->count, (unsigned long long)rows_read, r->limit.share * 100, r->first);
    if (r->fd >= 0 && r->out.inlined.n && flush(r, err) < 0)
        return -1;
    if (r->fd >= 0)
        buf_clear(&r->out.inlined);
    r->out.rows = r->count;
    *out = r->out;
    r->out.inlined = (struct buf){ 0 };
    r->out.bytes = 0;
    fd_closep(&r->fd);
    return 0;
}
