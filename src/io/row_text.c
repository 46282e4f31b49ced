/* Typed values as text. See row_text.h. */
#include "io/row_text.h"

#include <math.h>

#include "base/json.h"
#include "base/text.h"

bool row_put_plain_as(struct buf *out, const struct column *c, const struct value *v, const struct row_plain *form)
{
    char text[64];
    int n = 0;
    switch (c->type) {
    case TYPE_INTEGER:
        n = text_put_int(text, v->i);
        break;
    case TYPE_DECIMAL:
        n = text_put_decimal(text, v->i, c->scale);
        break;
    case TYPE_REAL:
        if (!isfinite(v->r))
            return false;
        n = text_put_real(text, v->r);
        break;
    case TYPE_BOOLEAN:
        buf_adds(out, v->i ? form->yes : form->no);
        return true;
    case TYPE_DATE:
        n = text_put_date(text, v->i);
        break;
    default:
        n = text_put_timestamp(text, v->i, form->between);
    }
    buf_add(out, text, (size_t)n);
    if (c->type == TYPE_TIMESTAMP)
        buf_adds(out, form->zone);
    return true;
}

bool row_put_plain(struct buf *out, const struct column *c, const struct value *v)
{
    static const struct row_plain form = { "true", "false", 'T', "Z" };
    return row_put_plain_as(out, c, v, &form);
}

/* JSON as written may have line ends between its parts, never inside a text. */
static void put_one_line(struct buf *out, struct str s)
{
    size_t from = out->n;
    buf_add(out, s.p, s.n);
    for (size_t i = from; i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' ';
}

void row_put_json_text(struct buf *out, struct str s)
{
    struct json_out o;
    json_start(&o, out);
    json_text(&o, s);
}

bool row_put_json(struct buf *out, const struct column *c, const struct value *v)
{
    bool quoted = c->type == TYPE_DATE || c->type == TYPE_TIMESTAMP;
    if (c->type == TYPE_TEXT) {
        row_put_json_text(out, (struct str){ v->p, v->n });
        return true;
    }
    if (c->type == TYPE_JSON) {
        put_one_line(out, (struct str){ v->p, v->n });
        return true;
    }
    if (quoted)
        buf_addc(out, '"');
    bool good = row_put_plain(out, c, v);
    if (quoted)
        buf_addc(out, '"');
    return good;
}

void row_put_csv_text(struct buf *out, struct str s)
{
    bool quote = s.n == 0 || s.p[0] == ' ' || s.p[s.n - 1] == ' ';
    for (size_t i = 0; !quote && i < s.n; i++)
        quote = s.p[i] == ',' || s.p[i] == '"' || s.p[i] == '\n' || s.p[i] == '\r';
    if (!quote) {
        buf_add(out, s.p, s.n);
        return;
    }
    buf_addc(out, '"');
    for (const char *q; (q = s.n ? memchr(s.p, '"', s.n) : NULL); s.n -= (size_t)(q + 1 - s.p), s.p = q + 1) {
        buf_add(out, s.p, (size_t)(q + 1 - s.p));
        buf_addc(out, '"');
    }
    buf_add(out, s.p, s.n);
    buf_addc(out, '"');
}

bool row_put_csv(struct buf *out, const struct column *c, const struct value *v)
{
    if (c->type != TYPE_TEXT && c->type != TYPE_JSON)
        return row_put_plain(out, c, v);
    row_put_csv_text(out, (struct str){ v->p, v->n });
    return true;
}
