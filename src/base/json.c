/*
 * JSON: writer and strict scanner.
 *
 * The scanner is RFC 8259 and no more: no comments, no commas at the end, no NaN, no bytes behind
 * the value. It walks containers in a loop with one bit a level (array or object), so that hostile
 * depth costs neither stack nor memory. Nothing here touches a disk.
 */
#include "base/json.h"

#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/text.h"

/* ---- writer ---- */

void json_start(struct json_out *o, struct buf *buf)
{
    *o = (struct json_out){ .buf = buf };
}

static void before_value(struct json_out *o)
{
    if (o->after_key)
        o->after_key = false;
    else if (o->depth && o->first & 1)
        o->first &= ~UINT64_C(1);
    else if (o->depth)
        buf_addc(o->buf, ',');
}

static void open_bracket(struct json_out *o, char c)
{
    before_value(o);
    buf_addc(o->buf, c);
    o->first = o->first << 1 | 1;
    o->depth++;
}

static void close_bracket(struct json_out *o, char c)
{
    buf_addc(o->buf, c);
    o->first >>= 1;
    o->depth--;
}

void json_object(struct json_out *o)
{
    open_bracket(o, '{');
}
void json_object_end(struct json_out *o)
{
    close_bracket(o, '}');
}
void json_array(struct json_out *o)
{
    open_bracket(o, '[');
}
void json_array_end(struct json_out *o)
{
    close_bracket(o, ']');
}

static void put_escaped(struct buf *b, unsigned char c)
{
    static const char names[] = "btn?fr"; /* 8, 9, 10, 12, 13 */
    if (c == '"' || c == '\\') {
        buf_addc(b, '\\');
        buf_addc(b, (char)c);
    } else if (c >= 8 && c <= 13 && c != 11) {
        buf_addc(b, '\\');
        buf_addc(b, names[c - 8]);
    } else {
        buf_addf(b, "\\u%04x", c);
    }
}

/* valid UTF-8 */
static void put_valid(struct buf *b, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(b, s.p + from, i - from);
        put_escaped(b, c);
        from = i + 1;
    }
    buf_add(b, s.p + from, s.n - from);
}

static void put_text(struct buf *b, struct str s)
{
    buf_addc(b, '"');
    while (s.n) {
        size_t good = text_utf8_valid(s);
        if (good)
            put_valid(b, (struct str){ s.p, good });
        s.p += good;
        s.n -= good;
        if (s.n) {
            buf_adds(b, "\xEF\xBF\xBD");
            s.p++;
            s.n--;
        }
    }
    buf_addc(b, '"');
}

void json_key(struct json_out *o, const char *key)
{
    before_value(o);
    put_text(o->buf, str_of(key));
    buf_addc(o->buf, ':');
    o->after_key = true;
}

void json_text(struct json_out *o, struct str s)
{
    before_value(o);
    put_text(o->buf, s);
}

void json_int(struct json_out *o, int64_t v)
{
    char text[24];
    int n = text_put_int(text, v);
    json_raw(o, (struct str){ text, (size_t)n });
}

void json_real(struct json_out *o, double v)
{
    char text[32];
    if (!isfinite(v)) {
        json_null(o);
        return;
    }
    int n = text_put_real(text, v);
    json_raw(o, (struct str){ text, (size_t)n });
}

void json_bool(struct json_out *o, bool v)
{
    json_raw(o, v ? STR("true") : STR("false"));
}
void json_null(struct json_out *o)
{
    json_raw(o, STR("null"));
}

void json_raw(struct json_out *o, struct str s)
{
    before_value(o);
    buf_add(o->buf, s.p, s.n);
}

void json_put_text(struct json_out *o, const char *key, const char *v)
{
    json_key(o, key);
    if (v)
        json_text(o, str_of(v));
    else
        json_null(o);
}

void json_put_int(struct json_out *o, const char *key, int64_t v)
{
    json_key(o, key);
    json_int(o, v);
}

void json_put_bool(struct json_out *o, const char *key, bool v)
{
    json_key(o, key);
    json_bool(o, v);
}

void json_put_time(struct json_out *o, const char *key, int64_t ms)
{
    char text[32];
    if (ms > 0)
        text_put_rfc3339(text, ms);
    json_put_text(o, key, ms > 0 ? text : NULL);
}

/* ---- scanner ---- */

const char *json_refuse(struct json_scan *s, enum json_fault_kind kind, const char *p,
                        const char *what)
{
    s->fault = (struct json_fault){ kind, (size_t)(p - s->start), what };
    return NULL;
}

static const char *bad(struct json_scan *s, const char *p, const char *what)
{
    return json_refuse(s, JSON_SYNTAX, p, what);
}

/* The next quote, backslash or control character at or behind p, or end. */
static inline const char *text_special(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'),
                  control = _mm_set1_epi8(0x1F);
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        int mask = _mm_movemask_epi8(hit);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

/* p is behind "\u"; the code unit, or -1 */
static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int h = text_hex(p[i]);
        if (h < 0)
            return -1;
        v = v << 4 | h;
    }
    return v;
}

/* p is at a backslash */
static const char *skip_escape(struct json_scan *s, const char *p)
{
    if (s->end - p < 2 || !p[1] || !strchr("\"\\/bfnrtu", p[1]))
        return bad(s, p, "only \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u may follow a backslash");
    if (p[1] != 'u')
        return p + 2;
    if (hex4(p + 2, s->end) < 0)
        return bad(s, p, "four hexadecimal digits were expected behind \\u");
    return p + 6;
}

const char *json_skip_text(struct json_scan *s, const char *p, bool *escaped)
{
    const char *open = p++;
    *escaped = false;
    for (;;) {
        p = text_special(p, s->end);
        if (p == s->end)
            return bad(s, open, "this text is never closed");
        if (*p == '"')
            return p + 1;
        if (*p != '\\')
            return bad(s, p, "a control character in a text must be written as an escape");
        *escaped = true;
        if (!(p = skip_escape(s, p)))
            return NULL;
    }
}

static inline const char *digits(const char *p, const char *end)
{
    while (p < end && (unsigned char)(*p - '0') < 10)
        p++;
    return p;
}

static const char *skip_number(struct json_scan *s, const char *p)
{
    const char *end = s->end, *from;
    if (*p == '-')
        p++;
    from = p;
    p = digits(p, end);
    if (p == from)
        return bad(s, p, "a digit was expected here");
    if (*from == '0' && p - from > 1)
        return bad(s, from, "a number must not begin with 0");
    if (p < end && *p == '.') {
        from = ++p;
        if ((p = digits(p, end)) == from)
            return bad(s, p, "a digit was expected behind the point");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        from = p;
        if ((p = digits(p, end)) == from)
            return bad(s, p, "a digit was expected in the exponent");
    }
    return p;
}

static const char *skip_word(struct json_scan *s, const char *p, struct str word)
{
    if ((size_t)(s->end - p) < word.n || memcmp(p, word.p, word.n) != 0)
        return bad(s, p, "a value was expected here");
    return p + word.n;
}

static const char *skip_scalar(struct json_scan *s, const char *p)
{
    bool escaped;
    if (p == s->end)
        return bad(s, p, "the text ends where a value was expected");
    switch (*p) {
    case '"':
        return json_skip_text(s, p, &escaped);
    case 't':
        return skip_word(s, p, STR("true"));
    case 'f':
        return skip_word(s, p, STR("false"));
    case 'n':
        return skip_word(s, p, STR("null"));
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return skip_number(s, p);
    default:
        return bad(s, p, "a value was expected here");
    }
}

/* A key, its colon and the space around it: p ends at the value. */
static const char *skip_key(struct json_scan *s, const char *p)
{
    bool escaped;
    if (p == s->end || *p != '"')
        return bad(s, p, "a key in quotes was expected here");
    if (!(p = json_skip_text(s, p, &escaped)))
        return NULL;
    p = json_skip_space(p, s->end);
    if (p == s->end || *p != ':')
        return bad(s, p, "a colon was expected here");
    return json_skip_space(p + 1, s->end);
}

const char *json_skip(struct json_scan *s, const char *p, int depth)
{
    const char *end = s->end;
    const int around = depth;
    uint64_t object = 0; /* a bit a level: the lowest tells whether the innermost is an object */
    for (;;) {
        if (p < end && (*p == '{' || *p == '[')) {
            if (depth == JSON_DEPTH)
                return json_refuse(s, JSON_TOO_DEEP, p, "nested deeper than 64 levels");
            object = object << 1 | (*p == '{');
            depth++;
            p = json_skip_space(p + 1, end);
            if (p == end || *p != (object & 1 ? '}' : ']')) {
                if (object & 1 && !(p = skip_key(s, p)))
                    return NULL;
                continue;
            }
        } else if (!(p = skip_scalar(s, p))) {
            return NULL;
        }
        /* behind a value, or at the bracket that closes an empty container */
        for (;;) {
            if (depth == around)
                return p;
            p = json_skip_space(p, end);
            if (p < end && *p == (object & 1 ? '}' : ']')) {
                p++;
                depth--;
                object >>= 1;
                continue;
            }
            if (p == end || *p != ',')
                return bad(s, p,
                           object & 1 ? "a comma or } was expected here"
                                      : "a comma or ] was expected here");
            p = json_skip_space(p + 1, end);
            if (object & 1 && !(p = skip_key(s, p)))
                return NULL;
            break;
        }
    }
}

static enum json_kind kind_of(char c)
{
    switch (c) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_TEXT;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static struct json_value value_at(const char *p, const char *behind)
{
    return (struct json_value){ kind_of(*p), { p, (size_t)(behind - p) } };
}

static bool check(struct json_scan *s, struct json_value *v)
{
    struct str all = { s->start, (size_t)(s->end - s->start) };
    size_t good = text_utf8_valid(all);
    if (good < all.n)
        return json_refuse(s, JSON_ENCODING, all.p + good, "these bytes are not UTF-8");
    const char *p = json_skip_space(s->start, s->end);
    const char *behind = json_skip(s, p, 0);
    if (!behind)
        return false;
    if (json_skip_space(behind, s->end) != s->end)
        return bad(s, behind, "nothing may follow the value");
    *v = value_at(p, behind);
    return true;
}

bool json_check(struct str s, struct json_value *v, struct json_fault *fault)
{
    const char *p = s.n ? s.p : "";
    struct json_scan scan = { .start = p, .end = p + s.n };
    if (check(&scan, v))
        return true;
    *fault = scan.fault;
    return false;
}

bool json_next(const struct json_value *of, size_t *at, struct str *key, struct json_value *v)
{
    struct json_scan s = { .start = of->raw.p, .end = of->raw.p + of->raw.n };
    bool escaped;
    const char *p = json_skip_space(s.start + (*at ? *at : 1), s.end);
    if (*p == '}' || *p == ']')
        return false;
    if (*p == ',')
        p = json_skip_space(p + 1, s.end);
    *key = (struct str){ p, 0 };
    if (of->kind == JSON_OBJECT) {
        const char *behind = json_skip_text(&s, p, &escaped);
        key->n = (size_t)(behind - p);
        p = json_skip_space(json_skip_space(behind, s.end) + 1, s.end);
    }
    const char *behind = json_skip(&s, p, 0);
    *v = value_at(p, behind);
    *at = (size_t)(behind - s.start);
    return true;
}

int json_member(const struct json_value *object, const char *name, struct json_value *v)
{
    struct str key, want = str_of(name);
    struct json_value value;
    size_t at = 0;
    int found = 0;
    if (object->kind != JSON_OBJECT)
        return 0;
    while (json_next(object, &at, &key, &value)) {
        if (!json_text_is(key, want))
            continue;
        if (found)
            return -1;
        found = 1;
        *v = value;
    }
    return found;
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* The escape at *p (checked before): up to 4 bytes of UTF-8 into out, their number; 0: a lone
 * surrogate. */
static size_t unescape_one(const char **p, const char *end, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p;
    if (at[1] != 'u') {
        *p = at + 2;
        *out = to[strchr(from, at[1]) - from];
        return 1;
    }
    int c = hex4(at + 2, end);
    *p = at + 6;
    if (c < 0xD800 || c > 0xDFFF)
        return put_utf8(out, (unsigned)c);
    if (c > 0xDBFF || end - at < 12 || at[6] != '\\' || at[7] != 'u')
        return 0;
    int low = hex4(at + 8, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *p = at + 12;
    return put_utf8(out, 0x10000 + ((unsigned)(c - 0xD800) << 10) + (unsigned)(low - 0xDC00));
}

bool json_unescape(const struct json_value *v, struct arena *arena, struct str *out)
{
    const char *p = v->raw.p + 1, *end = v->raw.p + v->raw.n - 1;
    const char *slash = memchr(p, '\\', (size_t)(end - p));
    if (!slash) {
        *out = (struct str){ p, (size_t)(end - p) };
        return true;
    }
    char *to = arena_alloc(arena, (size_t)(end - p)),
         *o = to; /* no escape is shorter than its bytes */
    *out = (struct str){ NULL, 0 };
    if (!to)
        return false;
    while (p < end) {
        size_t plain = (size_t)((slash ? slash : end) - p), n;
        memcpy(o, p, plain);
        o += plain;
        p += plain;
        if (p == end)
            break;
        if (!(n = unescape_one(&p, end, o))) {
            *out = (struct str){ slash, 6 };
            return false;
        }
        o += n;
        slash = memchr(p, '\\', (size_t)(end - p));
    }
    *out = (struct str){ to, (size_t)(o - to) };
    return true;
}

bool json_text_is(struct str raw, struct str name)
{
    const char *p = raw.p + 1, *end = raw.p + raw.n - 1;
    size_t at = 0, n;
    char one[4];
    while (p < end) {
        n = 1;
        if (*p != '\\')
            one[0] = *p++;
        else if (!(n = unescape_one(&p, end, one)))
            return false;
        if (name.n - at < n || memcmp(name.p + at, one, n) != 0)
            return false;
        at += n;
    }
    return at == name.n;
}
