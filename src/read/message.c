/* The message with tables. See message.h. */
#include "read/message.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/json.h"
#include "read/json_row.h"

enum { WINDOW = 64 * 1024, VALUE_MAX = 64 * 1024 };

enum where { AT_START, IN_DATA, BEHIND_DATA, AT_END };

struct message {
    struct input data; /* first: message_data() */
    struct input *in;
    char window[WINDOW];
    size_t from, to;
    int64_t offset; /* in the message, of window[from] */
    bool eof, listed;
    enum where where;
    struct json_brackets brackets; /* of the data in hand */
    struct buf value, table;
    struct arena arena;
    bool has_refresh, refresh;
};

/* ---- bytes ---- */

/* The next byte, not taken; -1 the end, -2 error. */
static int peek(struct message *m, struct err *err)
{
    if (m->from == m->to && !m->eof) {
        ssize_t n = m->in->read(m->in, m->window, sizeof m->window, err);
        if (n < 0)
            return -2;
        m->from = 0;
        m->to = (size_t)n;
        m->eof = n == 0;
    }
    return m->from == m->to ? -1 : (unsigned char)m->window[m->from];
}

static void take(struct message *m, size_t n)
{
    m->from += n;
    m->offset += (int64_t)n;
}

static int peek_behind_space(struct message *m, struct err *err)
{
    int c;
    while ((c = peek(m, err)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        take(m, 1);
    return c;
}

static int broken(const struct message *m, int c, const char *wanted, struct err *err)
{
    if (c == -2)
        return -1;
    if (c == -1)
        return err_set(err, ERR_TRUNCATED, "the message ends at byte %" PRId64 ", where %s was expected", m->offset, wanted);
    return err_set(err, ERR_FORMAT, "byte %" PRId64 " of the message: %s was expected here", m->offset, wanted);
}

static int take_sign(struct message *m, char sign, const char *wanted, struct err *err)
{
    int c = peek_behind_space(m, err);
    if (c != sign)
        return broken(m, c, wanted, err);
    take(m, 1);
    return 0;
}

/* A short value as it is written, into m->value: a text, or what ends at a comma, a bracket or white space. */
static int take_value(struct message *m, struct json_value *v, const char *wanted, struct err *err)
{
    struct json_fault fault;
    struct json_brackets b = { 0 };
    int64_t at = m->offset;
    int c = peek_behind_space(m, err);
    bool closed = c == '"' || c == '{' || c == '[';
    buf_reset(&m->value);
    if (c < 0)
        return broken(m, c, wanted, err);
    while ((c = peek(m, err)) >= 0 && (closed || !strchr(" \t\r\n,]}", c))) {
        const char *p = m->window + m->from, *wrong = NULL;
        const char *end = closed ? json_brackets_end(&b, p, p + 1, &wrong) : NULL;
        if (m->value.n == VALUE_MAX)
            return err_set(err, ERR_LIMIT, "byte %" PRId64 " of the message: a value is longer than 64 KiB", at);
        buf_addc(&m->value, *p);
        take(m, 1);
        if (end || wrong)
            break;
    }
    if (c == -2)
        return -1;
    if (m->value.failed)
        return err_nomem(err);
    if (!json_check(buf_str(&m->value), v, &fault))
        return c == -1 ? broken(m, -1, wanted, err)
                       : err_set(err, ERR_FORMAT, "byte %" PRId64 " of the message: %s", at + (int64_t)fault.at, fault.what);
    return 0;
}

/* ---- the rows of a table ---- */

static ssize_t data_read(struct input *in, void *to, size_t cap, struct err *err)
{
    struct message *m = (struct message *)in;
    const char *wrong;
    if (m->where != IN_DATA)
        return 0;
    int c = peek(m, err);
    if (c == -2)
        return -1;
    if (c == -1)
        return err_set(err, ERR_TRUNCATED, "the message ends inside the data of table '%s'", m->table.p);
    const char *p = m->window + m->from;
    size_t n = m->to - m->from < cap ? m->to - m->from : cap;
    const char *end = json_brackets_end(&m->brackets, p, p + n, &wrong);
    if (wrong)
        return broken(m, c, "a bracket of the other kind", err);
    if (end) {
        n = (size_t)(end - p);
        m->where = BEHIND_DATA;
    }
    memcpy(to, p, n);
    take(m, n);
    return (ssize_t)n;
}

static int pass_data(struct message *m, struct err *err)
{
    char away[4096];
    ssize_t n = 1;
    while (m->where == IN_DATA && n > 0)
        n = data_read(&m->data, away, sizeof away, err);
    return n < 0 ? -1 : 0;
}

/* ---- the tables ---- */

static int take_table(struct message *m, const struct json_value *v, struct err *err)
{
    struct str text;
    if (v->kind != JSON_TEXT || !json_unescape(v, &m->arena, &text) || !text.n || memchr(text.p, 0, text.n))
        return err_set(err, ERR_FORMAT, "before byte %" PRId64 " of the message: \"table\" must be a text", m->offset);
    buf_reset(&m->table);
    buf_add(&m->table, text.p, text.n);
    buf_addc(&m->table, '\0');
    return m->table.failed ? err_nomem(err) : 0;
}

static int take_refresh(struct message *m, const struct json_value *v, struct err *err)
{
    if (v->kind != JSON_TRUE && v->kind != JSON_FALSE)
        return err_set(err, ERR_FORMAT, "before byte %" PRId64 " of the message: \"refresh\" must be true or false", m->offset);
    m->has_refresh = true;
    m->refresh = v->kind == JSON_TRUE;
    return 0;
}

static int take_error(struct message *m, const struct json_value *v, struct err *err)
{
    (void)m;
    return err_set(err, ERR_PROGRAM, "the program said so: %.*s", (int)(v->raw.n < 300 ? v->raw.n : 300), v->raw.p);
}

static const struct {
    const char *key;
    int (*take)(struct message *m, const struct json_value *v, struct err *err);
} table_keys[] = { { "table", take_table }, { "refresh", take_refresh }, { "error", take_error } };

/* One key and its value. 1: it was "data", and we stand in front of its array. */
static int take_key(struct message *m, struct err *err)
{
    struct json_value v;
    if (take_value(m, &v, "a key", err) < 0)
        return -1;
    if (v.kind != JSON_TEXT)
        return err_set(err, ERR_FORMAT, "before byte %" PRId64 " of the message: a key in quotes was expected", m->offset);
    int known = -1;
    for (size_t i = 0; i < COUNT_OF(table_keys); i++)
        if (json_text_is(v.raw, str_of(table_keys[i].key)))
            known = (int)i;
    bool data = json_text_is(v.raw, STR("data"));
    if (known < 0 && !data)
        return err_set(err, ERR_FORMAT, "byte %" PRId64 " of the message: unknown key %.*s; known: table, refresh, data, error", m->offset,
                       (int)(v.raw.n < 80 ? v.raw.n : 80), v.raw.p);
    if (take_sign(m, ':', "a colon", err) < 0)
        return -1;
    if (data)
        return 1;
    return take_value(m, &v, "a value", err) < 0 ? -1 : table_keys[known].take(m, &v, err);
}

/* From behind the brace of an object to its data. */
static int enter_table(struct message *m, struct err *err)
{
    int rc;
    buf_reset(&m->table);
    m->has_refresh = m->refresh = false;
    arena_reset(&m->arena);
    while ((rc = take_key(m, err)) == 0)
        if (take_sign(m, ',', "a comma and \"data\"", err) < 0)
            return -1;
    if (rc < 0)
        return -1;
    if (!m->table.n)
        return err_set(err, ERR_FORMAT, "byte %" PRId64 " of the message: \"table\" must stand before \"data\"", m->offset);
    int c = peek_behind_space(m, err);
    if (c != '[')
        return broken(m, c, "an array of rows", err);
    m->brackets = (struct json_brackets){ 0 };
    m->where = IN_DATA;
    return 1;
}

static int message_over(struct message *m, struct err *err)
{
    int c = peek_behind_space(m, err);
    if (c != -1)
        return broken(m, c, "the end of the message", err);
    m->where = AT_END;
    return 0;
}

/* From behind the data to the next object; 0: there is none. */
static int leave_table(struct message *m, struct err *err)
{
    int c = peek_behind_space(m, err);
    if (c == ',')
        return err_set(err, ERR_FORMAT, "byte %" PRId64 " of the message: \"data\" must be the last key of its object", m->offset);
    if (take_sign(m, '}', "a closing brace", err) < 0)
        return -1;
    if (!m->listed)
        return message_over(m, err);
    c = peek_behind_space(m, err);
    if (c != ',' && c != ']')
        return broken(m, c, "a comma or ]", err);
    take(m, 1);
    return c == ']' ? message_over(m, err) : take_sign(m, '{', "an object", err) < 0 ? -1 : enter_table(m, err);
}

static int begin(struct message *m, struct err *err)
{
    int c = peek_behind_space(m, err);
    m->listed = c == '[';
    if (!m->listed)
        return take_sign(m, '{', "an array of objects with table and data", err) < 0 ? -1 : enter_table(m, err);
    take(m, 1);
    if (peek_behind_space(m, err) == ']') {
        take(m, 1);
        return message_over(m, err);
    }
    return take_sign(m, '{', "an object", err) < 0 ? -1 : enter_table(m, err);
}

int message_next(struct message *m, struct message_table *t, struct err *err)
{
    if (pass_data(m, err) < 0)
        return -1;
    int rc = m->where == AT_START ? begin(m, err) : m->where == AT_END ? 0 : leave_table(m, err);
    if (rc == 1)
        *t = (struct message_table){ m->table.p, m->has_refresh, m->refresh };
    return rc;
}

struct input *message_data(struct message *m) { return &m->data; }

int message_open(struct message **out, struct input *in, struct err *err)
{
    struct message *m = calloc(1, sizeof *m);
    if (!m)
        return err_nomem(err);
    m->data = (struct input){ .read = data_read, .size = -1 };
    m->in = in;
    *out = m;
    return 0;
}

void message_close(struct message *m)
{
    if (!m)
        return;
    buf_clear(&m->value);
    buf_clear(&m->table);
    arena_clear(&m->arena);
    free(m);
}
