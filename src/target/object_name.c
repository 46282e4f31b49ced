/* Names of objects from a template. See object_name.h. */
#include "target/object_name.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

enum { PIECES_MAX = 64 };
static const int64_t DAY_US = 86400000000;

struct piece {
    struct str text; /* as it is; or: */
    int column;      /* -1: text */
    char *format;    /* of a date, or NULL; owned */
};
struct object_name {
    const struct columns *columns;
    struct buf fixed; /* owns the texts of the pieces, which are offsets into it until the end */
    struct piece pieces[PIECES_MAX];
    int n;
};

void object_name_free(struct object_name *n)
{
    for (int i = 0; n && i < n->n; i++)
        free(n->pieces[i].format);
    if (n)
        buf_clear(&n->fixed);
    free(n);
}

bool object_name_has_columns(const struct object_name *n)
{
    for (int i = 0; i < n->n; i++)
        if (n->pieces[i].column >= 0)
            return true;
    return false;
}

static bool safe(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

void object_name_encode(struct buf *out, struct str s)
{
    bool dots = s.n > 0 && s.n <= 2 && s.p[0] == '.' && s.p[s.n - 1] == '.';
    for (size_t i = 0; i < s.n; i++) {
        if (safe(s.p[i]) && !dots)
            buf_addc(out, s.p[i]);
        else
            buf_addf(out, "%%%02X", (unsigned char)s.p[i]);
    }
}

/* ---- the template ---- */

/* The first part of a format that is not taken, or NULL. */
static const char *bad_format(const char *format)
{
    for (const char *p = format; (p = strchr(p, '%')); p += 2)
        if (!p[1] || !strchr("YmdHMjy%", p[1]))
            return p;
    return NULL;
}

static int column_piece(struct piece *piece, struct str word, const struct table_spec *spec,
                        struct err *err)
{
    const char *colon = memchr(word.p, ':', word.n);
    struct str name = { word.p, colon ? (size_t)(colon - word.p) : word.n };
    if (!spec->columns) {
        piece->column = 0; /* any name */
        return 0;
    }
    piece->column = columns_find(spec->columns, name);
    if (piece->column < 0)
        return err_set(err, ERR_CONFIG,
                       "path: {%.*s} is neither table, uid, part, ext nor a column of '%s'",
                       (int)name.n, name.p, spec->name);
    if (!colon)
        return 0;
    enum type type = spec->columns->v[piece->column].type;
    if (type != TYPE_DATE && type != TYPE_TIMESTAMP)
        return err_set(err, ERR_CONFIG, "path: {%.*s}: the column is no date and no timestamp",
                       (int)word.n, word.p);
    piece->format = strndup(colon + 1, word.n - name.n - 1);
    if (!piece->format)
        return err_nomem(err);
    const char *bad = bad_format(piece->format);
    return bad ? err_set(err, ERR_CONFIG,
                         "path: {%.*s}: '%.2s' is not taken; there are %%Y %%m %%d %%H %%M %%j %%y %%%%",
                         (int)word.n, word.p, bad)
               : 0;
}

/* What stands between two braces: text that is known now, or a column. */
static int word_piece(struct object_name *n, struct piece *piece, struct str word,
                      const struct table_spec *spec, const char *ext, int part, struct err *err)
{
    if (str_eq(word, STR("uid")))
        buf_adds(&n->fixed, "{uid}");
    else if (str_eq(word, STR("table")))
        object_name_encode(&n->fixed, str_of(spec->name));
    else if (str_eq(word, STR("ext")))
        buf_adds(&n->fixed, ext);
    else if (str_eq(word, STR("part")))
        buf_addf(&n->fixed, "%d", part);
    else
        return column_piece(piece, word, spec, err);
    return 0;
}

static int text_piece(struct object_name *n, struct str text, struct err *err)
{
    for (size_t i = 0; i < text.n; i++)
        if (!safe(text.p[i]) && !strchr("/=+,@~ ", text.p[i]))
            return err_set(err, ERR_CONFIG, "path: '%c' has no place in the name of an object",
                           text.p[i]);
    buf_add(&n->fixed, text.p, text.n);
    return 0;
}

static int next_piece(struct object_name *n, const char **at, const struct table_spec *spec,
                      const char *ext, int part, struct err *err)
{
    if (n->n == PIECES_MAX)
        return err_set(err, ERR_CONFIG, "path: more than %d parts", PIECES_MAX);
    struct piece *piece = &n->pieces[n->n++];
    *piece = (struct piece){ .column = -1 };
    size_t before = n->fixed.n, length = strcspn(*at, "{}");
    int rc = 0;
    if (length) {
        rc = text_piece(n, (struct str){ *at, length }, err);
        *at += length;
    } else {
        size_t word = strcspn(*at + 1, "{}");
        if (**at != '{' || (*at)[1 + word] != '}')
            return err_set(err, ERR_CONFIG, "path: a brace that has no other");
        rc = word_piece(n, piece, (struct str){ *at + 1, word }, spec, ext, part, err);
        *at += word + 2;
    }
    piece->text.n = n->fixed.n - before;
    return rc;
}

/* The whole, with every column's value put as x, must be a good name. */
static int check_whole(const struct object_name *n, const char *path, struct err *err)
{
    AUTO(buf_clear) struct buf whole = { 0 };
    for (int i = 0; i < n->n; i++) {
        if (n->pieces[i].column >= 0)
            buf_addc(&whole, 'x');
        else
            buf_add(&whole, n->pieces[i].text.p, n->pieces[i].text.n);
    }
    if (whole.failed || n->fixed.failed)
        return err_nomem(err);
    if (!whole.n || !strstr(whole.p, "{uid}"))
        return err_set(err, ERR_CONFIG,
                       "path: '%s' lacks {uid}, so that jobs would write over each other", path);
    if (!object_name_good(buf_str(&whole)))
        return err_set(err, ERR_CONFIG,
                       "path: '%s' is no name: no empty part, no '.' and '..', not below _manifest "
                       "and _table, {uid} once, at most %d bytes between two '/'",
                       path, OBJECT_NAME_PART_MAX);
    return 0;
}

int object_name_parse(struct object_name **out, const char *path, const struct table_spec *spec,
                      const char *ext, int part, struct err *err)
{
    struct object_name *n = calloc(1, sizeof *n);
    if (!n)
        return err_nomem(err);
    n->columns = spec->columns;
    int rc = 0;
    for (const char *at = path; rc == 0 && *at;)
        rc = next_piece(n, &at, spec, ext, part, err);
    const char *p = n->fixed.p;
    for (int i = 0; i < n->n; i++) { /* it moves no more */
        n->pieces[i].text.p = p;
        p += n->pieces[i].text.n;
    }
    if (rc < 0 || check_whole(n, path, err) < 0) {
        object_name_free(n);
        return -1;
    }
    *out = n;
    return 0;
}

/* ---- a row ---- */

static void put_time(struct buf *out, const char *format, int64_t days, int64_t minute)
{
    int year, month, day;
    char text[32];
    text_civil(days, &year, &month, &day);
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            if (safe(*p))
                buf_addc(out, *p);
            else
                object_name_encode(out, (struct str){ p, 1 });
            continue;
        }
        switch (*++p) {
        case 'Y': snprintf(text, sizeof text, "%04d", year); break;
        case 'y': snprintf(text, sizeof text, "%02d", year % 100); break;
        case 'm': snprintf(text, sizeof text, "%02d", month); break;
        case 'd': snprintf(text, sizeof text, "%02d", day); break;
        case 'H': snprintf(text, sizeof text, "%02d", (int)(minute / 60)); break;
        case 'M': snprintf(text, sizeof text, "%02d", (int)(minute % 60)); break;
        case 'j': snprintf(text, sizeof text, "%03d", (int)(days - text_days(year, 1, 1)) + 1); break;
        default: snprintf(text, sizeof text, "%%25"); /* %% */
        }
        buf_adds(out, text);
    }
}

static void put_number(struct buf *out, const struct column *c, const struct value *v)
{
    char text[64];
    int n = 0;
    if (c->type == TYPE_DECIMAL)
        n = text_put_decimal(text, v->i, c->scale);
    else if (c->type == TYPE_REAL)
        n = text_put_real(text, v->r);
    else if (c->type == TYPE_DATE)
        n = text_put_date(text, v->i);
    else if (c->type == TYPE_TIMESTAMP)
        n = text_put_timestamp(text, v->i, 'T');
    else if (c->type == TYPE_BOOLEAN)
        n = snprintf(text, sizeof text, "%s", v->i ? "true" : "false");
    else
        n = text_put_int(text, v->i);
    object_name_encode(out, (struct str){ text, (size_t)n });
}

static void put_value(struct buf *out, const struct piece *piece, const struct column *c,
                      const struct value *v)
{
    if (v->null) {
        buf_adds(out, "__null__");
    } else if (piece->format) {
        int64_t us = c->type == TYPE_DATE ? v->i * DAY_US : v->i;
        int64_t days = us / DAY_US - (us % DAY_US < 0);
        put_time(out, piece->format, days, (us - days * DAY_US) / 60000000);
    } else if (c->type != TYPE_TEXT && c->type != TYPE_JSON) {
        put_number(out, c, v);
    } else if (v->n == 0) {
        buf_adds(out, "__empty__");
    } else if ((v->n == 8 && !memcmp(v->p, "__null__", 8)) || (v->n == 9 && !memcmp(v->p, "__empty__", 9))) {
        buf_adds(out, "%5F"); /* the text, not what it stands for */
        object_name_encode(out, (struct str){ v->p + 1, v->n - 1 });
    } else {
        object_name_encode(out, (struct str){ v->p, v->n < OBJECT_NAME_MAX ? v->n : OBJECT_NAME_MAX });
    }
}

bool object_name_put(struct buf *out, const struct object_name *n, const struct value *row,
                     int *column)
{
    size_t begin = out->n, longest = 0;
    for (int i = 0; i < n->n; i++) {
        const struct piece *p = &n->pieces[i];
        size_t before = out->n;
        if (p->column < 0)
            buf_add(out, p->text.p, p->text.n);
        else
            put_value(out, p, &n->columns->v[p->column], &row[p->column]);
        if (p->column >= 0 && out->n - before >= longest) {
            longest = out->n - before;
            *column = p->column;
        }
    }
    return !out->failed && object_name_good((struct str){ out->p + begin, out->n - begin });
}

/* ---- trust ---- */

static bool good_part(struct str part)
{
    bool dots = part.n <= 2 && part.n > 0 && part.p[0] == '.' && part.p[part.n - 1] == '.';
    return part.n > 0 && part.n <= OBJECT_NAME_PART_MAX + 40 && !dots;
}

bool object_name_safe(struct str name)
{
    static const char *const reserved[] = { "_manifest", "_table" };
    if (!name.n || name.n > OBJECT_NAME_MAX + 40)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || (unsigned char)name.p[i] > '~' || name.p[i] == '\\')
            return false;
    for (size_t from = 0, to; from <= name.n; from = to + 1) {
        const char *slash = memchr(name.p + from, '/', name.n - from);
        to = slash ? (size_t)(slash - name.p) : name.n;
        struct str part = { name.p + from, to - from };
        if (!good_part(part))
            return false;
        for (size_t i = 0; from == 0 && i < COUNT_OF(reserved); i++)
            if (str_eq(part, str_of(reserved[i])))
                return false;
    }
    return true;
}

bool object_name_good(struct str name)
{
    const char *uid = name.n <= OBJECT_NAME_MAX ? memmem(name.p, name.n, "{uid}", 5) : NULL;
    size_t behind = uid ? (size_t)(name.p + name.n - (uid + 5)) : 0;
    return uid && !memmem(uid + 5, behind, "{uid}", 5) && object_name_safe(name);
}
