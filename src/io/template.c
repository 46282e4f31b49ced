/* Parsing and filling of templates. See template.h. Memory only: power may fail at any time. */
#include "io/template.h"

#include <stdlib.h>

#include "base/json.h"

static bool is_name_sign(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

/* The place that begins at p, where a brace stands; false: it is none. */
static bool place_at(const char *p, struct template_piece *piece)
{
    static const char *const references[] = { "@file:/", "@credential:" };
    const char *name = p + 1;
    for (size_t i = 0; i < COUNT_OF(references); i++)
        if (!strncmp(name, references[i], strlen(references[i]))) {
            size_t n = strcspn(name, "{}\n");
            *piece = (struct template_piece){ .kind = PIECE_SECRET, .text = { name, n } };
            return name[n] == '}' && n > strlen(references[i]);
        }
    size_t n = 0;
    while (is_name_sign(name[n]) || (n && (name[n] == '.' || name[n] == '-')))
        n++;
    *piece = (struct template_piece){ .kind = PIECE_VALUE, .text = { name, n }, .input = -1 };
    return n && name[n] == '}' && !(name[0] >= '0' && name[0] <= '9');
}

struct parser {
    struct template *t;
    const char *from; /* text that is no piece yet */
    bool quoted;      /* JSON: we are inside of a text */
};

static void add(struct parser *p, struct template_piece piece)
{
    piece.quoted = p->quoted;
    p->t->v[p->t->n++] = piece;
}

static void add_text(struct parser *p, const char *end)
{
    if (end > p->from)
        add(p, (struct template_piece){ .text = { p->from, (size_t)(end - p->from) } });
    p->from = end;
}

/* One sign of the template, or a place; gives what is behind it, or NULL with *err. */
static const char *step(struct parser *p, const char *at, struct err *err)
{
    struct template_piece piece;
    bool url = p->t->form == TEMPLATE_URL;
    if (*at == '{' && place_at(at, &piece)) {
        add_text(p, at);
        add(p, piece);
        return p->from = piece.text.p + piece.text.n + 1;
    }
    if (url && (*at == '{' || *at == '}')) {
        if (at[1] != *at)
            return err_set(err, ERR_CONFIG, "at '%.20s': expected {COLUMN}, {@file:/PATH} or {@credential:NAME}; a brace is written twice", at), NULL;
        add_text(p, at + 1);
        return p->from = at + 2;
    }
    if (url && ((unsigned char)*at <= ' ' || *at == 0x7f))
        return err_set(err, ERR_CONFIG, "a URL has no spaces and no control characters: write %%20"), NULL;
    if (!url && *at == '\\' && at[1])
        return at + 2;
    p->quoted ^= !url && *at == '"';
    return at + 1;
}

int template_parse(struct template *out, const char *text, enum template_form form, struct arena *arena, struct err *err)
{
    struct parser p = { out, text, false };
    size_t most = 1;
    for (const char *s = text; *s; s++)
        most += *s == '{' || *s == '}' ? 2 : 0;
    *out = (struct template){ .form = form, .v = arena_alloc(arena, most * sizeof *out->v) };
    if (!out->v)
        return err_nomem(err);
    for (const char *at = text; *at;)
        if (!(at = step(&p, at, err)))
            return -1;
    add_text(&p, p.from + strlen(p.from));
    if (p.quoted)
        return err_set(err, ERR_CONFIG, "a text is never closed by its quote");
    return 0;
}

size_t template_fixed(const struct template *t)
{
    if (!t->n || t->v[0].kind != PIECE_TEXT)
        return 0;
    struct str s = t->v[0].text;
    const char *host = memmem(s.p, s.n, "://", 3);
    for (const char *p = host ? host + 3 : s.p + s.n; p < s.p + s.n; p++)
        if (p > host + 3 && memchr("/?#", *p, 3))
            return s.n;
    return host && t->n == 1 && s.p + s.n > host + 3 ? s.n : 0;
}

static void put_encoded(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (unsigned char)c < 0x80 && (is_name_sign(c) || (c && strchr("-.~", c)));
        if (plain)
            buf_addc(out, c);
        else
            buf_addf(out, "%%%02X", (unsigned char)c);
    }
}

/* As a JSON text, without its quotes. */
static void put_escaped(struct buf *out, struct str s)
{
    struct buf text = { 0 };
    struct json_out o;
    json_start(&o, &text);
    json_text(&o, s);
    if (!text.failed)
        buf_add(out, text.p + 1, text.n - 2);
    out->failed |= text.failed;
    if (text.p)
        explicit_bzero(text.p, text.n);
    buf_clear(&text);
}

static void put_value(enum template_form form, bool quoted, struct template_value v, struct buf *out)
{
    if (form == TEMPLATE_URL) {
        put_encoded(out, v.text);
    } else if (v.bare && !quoted) {
        buf_add(out, v.text.p, v.text.n);
    } else {
        buf_adds(out, quoted ? "" : "\"");
        put_escaped(out, v.text);
        buf_adds(out, quoted ? "" : "\"");
    }
}

/* The part of a path that we are in. */
struct segment {
    int dots;
    bool other, value; /* something beside dots; something of a value */
};

static bool is_astray(const struct segment *s) { return s->value && !s->other && (s->dots == 1 || s->dots == 2); }

/* One sign of the URL: 1, 0, or -1: the path is over. */
static int astray_at(struct segment *s, char c, bool value)
{
    bool ends = !value && memchr("/?#", c, 3);
    int rc = ends && is_astray(s) ? 1 : ends && c != '/' ? -1 : 0;
    if (ends)
        *s = (struct segment){ 0 };
    else if (c == '.')
        s->dots++;
    else
        s->other = true;
    return rc;
}

bool template_astray(const struct template *t, const struct template_value *values)
{
    struct segment s = { 0 };
    for (int i = 0; i < t->n && t->form == TEMPLATE_URL; i++) {
        const struct template_piece *p = &t->v[i];
        bool value = p->kind == PIECE_VALUE;
        struct str text = value ? values[p->input].text : p->text; /* of a secret: its reference, which is more than dots */
        s.value |= value;
        for (size_t k = 0; k < text.n; k++) {
            int rc = astray_at(&s, text.p[k], p->kind != PIECE_TEXT);
            if (rc)
                return rc > 0;
        }
    }
    return is_astray(&s);
}

void template_put(const struct template *t, const struct template_value *values, char *const *secrets, struct buf *out)
{
    for (int i = 0, secret = 0; i < t->n; i++) {
        const struct template_piece *p = &t->v[i];
        if (p->kind == PIECE_TEXT)
            buf_add(out, p->text.p, p->text.n);
        else if (p->kind == PIECE_VALUE)
            put_value(t->form, p->quoted, values[p->input], out);
        else if (secrets)
            put_value(t->form, p->quoted, (struct template_value){ str_of(secrets[secret++]), false }, out);
        else
            buf_adds(out, "...");
    }
}
