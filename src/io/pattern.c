/*
 * Patterns as a row of signs: a byte, one of a set, any character, a star, or the border of a capture. Parsing leaves dates in
 * the row; a window of time replaces them by bytes. Nothing here touches a disk.
 *
 * Matching walks the row and comes back to the last star when it fails, but never tries a sign at a place a second time
 * (glob_work.tried): no name, however made, costs more than signs times bytes.
 */
#include "io/pattern.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/text.h"

enum sign_kind {
    SIGN_BYTE,
    SIGN_ANY,     /* one character but a slash */
    SIGN_SET,     /* one ASCII character of a set, or one that is not */
    SIGN_STAR,    /* within a folder */
    SIGN_DEEP,    /* any bytes */
    SIGN_FOLDERS, /* none, or folders with the slash behind them */
    SIGN_BEGIN,   /* of a capture */
    SIGN_END,
    SIGN_DATE,    /* only before pattern_globs() */
};

struct glob_sign {
    unsigned char kind, byte; /* byte: the literal, the capture's number, or the letter of a date */
    bool negated;
    uint64_t set[2];
};

struct pattern {
    struct glob_sign *signs;
    int n, stars, captures;
    char *base;
    char *names[PATTERN_CAPTURES];
    int64_t step_ms; /* between moments that can differ; 0: no dates */
    bool literal;
};

static const int64_t minute_ms = 60000, hour_ms = 3600000, day_ms = 86400000;

/* ---- parsing ---- */

struct parser {
    struct pattern *p;
    const char *at, *plain_until;
    int cap;
    bool url;
    struct err *err;
};

static int wrong(struct parser *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int wrong(struct parser *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_vset(s->err, ERR_CONFIG, fmt, ap);
    va_end(ap);
    return -1;
}

static int put(struct parser *s, struct glob_sign sign)
{
    struct pattern *p = s->p;
    if (p->n == PATTERN_SIGNS)
        return wrong(s, "the source is longer than %d signs", PATTERN_SIGNS);
    if (p->n == s->cap) {
        int cap = s->cap ? s->cap * 2 : 128;
        struct glob_sign *more = realloc(p->signs, mem_product((size_t)cap, sizeof *more));
        if (!more)
            return err_nomem(s->err);
        p->signs = more;
        s->cap = cap;
    }
    p->literal &= sign.kind == SIGN_BYTE || sign.kind == SIGN_DATE;
    p->signs[p->n++] = sign;
    return 0;
}

static int put_byte(struct parser *s, char c)
{
    return put(s, (struct glob_sign){ .kind = SIGN_BYTE, .byte = (unsigned char)c });
}

/* A byte as it stands, or %XX of a URL. */
static int take_byte(struct parser *s)
{
    const char *p = s->at++;
    if (!s->url || *p != '%' || text_hex(p[1]) < 0 || text_hex(p[2]) < 0)
        return put_byte(s, *p);
    s->at += 2;
    int byte = text_hex(p[1]) * 16 + text_hex(p[2]);
    return byte ? put_byte(s, (char)byte) : wrong(s, "the source holds a zero byte, %%00");
}

static int take_stars(struct parser *s)
{
    size_t n = strspn(s->at, "*");
    s->at += n;
    if (++s->p->stars > PATTERN_STARS)
        return wrong(s, "the source has more than %d stars", PATTERN_STARS);
    bool folder_begins = s->p->n && s->p->signs[s->p->n - 1].kind == SIGN_BYTE && s->p->signs[s->p->n - 1].byte == '/';
    if (n > 1 && *s->at == '/' && folder_begins) {
        s->at++;
        return put(s, (struct glob_sign){ .kind = SIGN_FOLDERS });
    }
    return put(s, (struct glob_sign){ .kind = n > 1 ? SIGN_DEEP : SIGN_STAR });
}

static void set_add(struct glob_sign *sign, unsigned char low, unsigned char high)
{
    for (int c = low; c <= high; c++)
        sign->set[c >> 6] |= 1ULL << (c & 63);
}

/* [abc], [a-z], [!x]; a ] behind the bracket (or the !) is one of the set. */
static int take_set(struct parser *s)
{
    struct glob_sign sign = { .kind = SIGN_SET };
    const char *p = s->at + 1;
    sign.negated = *p == '!' || *p == '^';
    p += sign.negated;
    for (const char *first = p; p == first || *p != ']'; p++) {
        bool range = *p && p[1] == '-' && p[2] && p[2] != ']';
        unsigned char low = (unsigned char)*p, high = (unsigned char)(range ? p[2] : *p);
        if (!low)
            return wrong(s, "the source has a [ without its ]");
        if (low >= 128 || high >= 128 || low > high || low == '/')
            return wrong(s, "between [ and ] stand ASCII characters but the slash, or ranges such as a-z");
        set_add(&sign, low, high);
        p += range ? 2 : 0;
    }
    s->at = p + 1;
    return put(s, sign);
}

static const struct date_part {
    char letter;
    int64_t step_ms;
} date_parts[] = { { 'Y', 0 }, { 'y', 0 }, { 'm', 0 }, { 'd', 0 }, { 'j', 0 }, { 'H', 1 }, { 'M', 2 } };

/* Behind the { of {%Y/%m}. */
static int take_dates(struct parser *s)
{
    struct pattern *p = s->p;
    for (; *s->at != '}'; s->at++) {
        if (!*s->at || *s->at == '{')
            return wrong(s, "the source has a {%% without its }");
        if (*s->at != '%') {
            if (put_byte(s, *s->at) < 0)
                return -1;
            continue;
        }
        char letter = *++s->at;
        if (letter == '%') {
            if (put_byte(s, '%') < 0)
                return -1;
            continue;
        }
        const struct date_part *part = NULL;
        for (size_t i = 0; i < COUNT_OF(date_parts); i++)
            if (date_parts[i].letter == letter)
                part = &date_parts[i];
        if (!part)
            return wrong(s, "%%%.1s is no part of a date; there is %%Y %%y %%m %%d %%j %%H %%M and %%%%", s->at);
        int64_t step = part->step_ms == 0 ? day_ms : part->step_ms == 1 ? hour_ms : minute_ms;
        if (!p->step_ms || step < p->step_ms)
            p->step_ms = step;
        if (put(s, (struct glob_sign){ .kind = SIGN_DATE, .byte = (unsigned char)letter }) < 0)
            return -1;
    }
    s->at++;
    return 0;
}

/* One sign of a glob. */
static int take_sign(struct parser *s)
{
    switch (*s->at) {
    case '*':
        return take_stars(s);
    case '?':
        s->at++;
        return put(s, (struct glob_sign){ .kind = SIGN_ANY });
    case '[':
        return take_set(s);
    case '\\':
        s->at++;
        return *s->at ? put_byte(s, *s->at++) : wrong(s, "the source ends in a \\");
    default:
        return take_byte(s);
    }
}

static int take_capture(struct parser *s)
{
    struct pattern *p = s->p;
    size_t n = 0;
    while (isalnum((unsigned char)s->at[n]) || s->at[n] == '_')
        n++;
    if (!n || isdigit((unsigned char)s->at[0]) || (s->at[n] != '}' && s->at[n] != ':'))
        return wrong(s, "behind { stands a date such as %%Y, or a name such as {region} or {region:[a-z]*}; a brace is {{");
    if (p->captures == PATTERN_CAPTURES)
        return wrong(s, "the source has more than %d names", PATTERN_CAPTURES);
    char *name = strndup(s->at, n);
    if (!name)
        return err_nomem(s->err);
    int number = p->captures++;
    p->names[number] = name;
    for (int i = 0; i < number; i++)
        if (!strcmp(p->names[i], name))
            return wrong(s, "the source names {%s} twice", name);
    s->at += n;
    if (put(s, (struct glob_sign){ .kind = SIGN_BEGIN, .byte = (unsigned char)number }) < 0)
        return -1;
    if (*s->at == '}') {
        if (++p->stars > PATTERN_STARS)
            return wrong(s, "the source has more than %d stars", PATTERN_STARS);
        if (put(s, (struct glob_sign){ .kind = SIGN_ANY }) < 0 || put(s, (struct glob_sign){ .kind = SIGN_STAR }) < 0)
            return -1;
    } else {
        for (s->at++; *s->at != '}';) {
            if (!*s->at || *s->at == '{')
                return wrong(s, "the source has a {%s: without its }", name);
            if (take_sign(s) < 0)
                return -1;
        }
    }
    s->at++;
    return put(s, (struct glob_sign){ .kind = SIGN_END, .byte = (unsigned char)number });
}

static int take_all(struct parser *s)
{
    while (*s->at) {
        int rc;
        if (s->at[0] == '{' && s->at[1] == '{') {
            s->at += 2;
            rc = put_byte(s, '{');
        } else if (s->at < s->plain_until) {
            rc = put_byte(s, *s->at++);
        } else if (s->at[0] == '{') {
            s->at++;
            rc = *s->at == '%' ? take_dates(s) : take_capture(s);
        } else {
            rc = take_sign(s);
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* The scheme and host in front, and where the path begins. */
static int take_base(struct parser *s, const char *source)
{
    const char *slashes = strstr(source, "://"), *path = source;
    size_t scheme = strspn(source, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-");
    size_t base = 0;
    if (!strncmp(source, "file:", 5)) {
        s->url = true;
        path += 5;
        path += !strncmp(path, "//localhost/", 12) ? 11 : !strncmp(path, "///", 3) ? 2 : 0;
    } else if (slashes && (size_t)(slashes - source) == scheme && scheme) {
        s->url = true;
        path = slashes + 3 + strcspn(slashes + 3, "/");
        base = (size_t)(path - source);
    }
    if (*path != '/')
        return wrong(s, "a source that is scanned has a path that begins with a slash");
    if (base && strcspn(source, "*{[\\") < base)
        return wrong(s, "the host of a source is no pattern");
    s->at = path;
    s->p->base = strndup(source, base);
    return s->p->base ? 0 : err_nomem(s->err);
}

int pattern_parse(struct pattern **out, const char *source, size_t plain, struct err *err)
{
    struct pattern *p = calloc(1, sizeof *p);
    struct parser s = { .p = p, .plain_until = source + plain, .err = err };
    if (!p)
        return err_nomem(err);
    p->literal = true;
    if (take_base(&s, source) < 0 || take_all(&s) < 0) {
        pattern_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->captures; i++)
        free(p->names[i]);
    free(p->signs);
    free(p->base);
    free(p);
}

const char *pattern_base(const struct pattern *p) { return p->base; }
int pattern_captures(const struct pattern *p) { return p->captures; }
const char *pattern_capture_name(const struct pattern *p, int i) { return p->names[i]; }
bool pattern_is_dated(const struct pattern *p) { return p->step_ms != 0; }
bool pattern_is_literal(const struct pattern *p) { return p->literal; }

/* ---- a window of time ---- */

/* What the letter is at that local time, in digits. */
static int date_text(char letter, int64_t local_s, char out[8])
{
    int64_t day = local_s / 86400 - (local_s % 86400 < 0), second = local_s - day * 86400;
    int y, m, d;
    text_civil(day, &y, &m, &d);
    switch (letter) {
    case 'Y': return snprintf(out, 8, "%04d", y % 10000);
    case 'y': return snprintf(out, 8, "%02d", y % 100);
    case 'm': return snprintf(out, 8, "%02d", m % 100);
    case 'd': return snprintf(out, 8, "%02d", d % 100);
    case 'j': return snprintf(out, 8, "%03d", (int)(day - text_days(y, 1, 1) + 1) % 1000);
    case 'H': return snprintf(out, 8, "%02d", (int)(second / 3600) % 100);
    default: return snprintf(out, 8, "%02d", (int)(second / 60) % 60);
    }
}

/* The row of signs at that moment; gives its length. */
static int render(const struct pattern *p, int64_t local_s, struct glob_sign *out)
{
    int n = 0;
    for (int i = 0; i < p->n; i++) {
        char digits[8];
        if (p->signs[i].kind != SIGN_DATE) {
            out[n++] = p->signs[i];
            continue;
        }
        int length = date_text((char)p->signs[i].byte, local_s, digits);
        for (int k = 0; k < length; k++)
            out[n++] = (struct glob_sign){ .kind = SIGN_BYTE, .byte = (unsigned char)digits[k] };
    }
    return n;
}

static bool same_signs(const struct glob *g, const struct glob_sign *signs, int n)
{
    for (int i = 0; g->n == n && i < n; i++)
        if (g->signs[i].kind != signs[i].kind || g->signs[i].byte != signs[i].byte)
            return false;
    return g->n == n;
}

/* struct glob.deep */
static int deep_of(const struct glob_sign *signs, int n)
{
    int slashes = 0;
    for (int i = 0; i < n; i++) {
        if (signs[i].kind == SIGN_DEEP || signs[i].kind == SIGN_FOLDERS)
            return slashes;
        slashes += signs[i].kind == SIGN_BYTE && signs[i].byte == '/';
    }
    return INT_MAX;
}

static bool add_glob(struct globs *out, const struct glob_sign *signs, int n)
{
    struct glob *g = &out->v[out->n];
    struct glob_sign *kept = arena_alloc(&out->arena, mem_product((size_t)n, sizeof *kept));
    char *prefix = arena_alloc(&out->arena, (size_t)n + 1);
    if (!kept || !prefix)
        return false;
    memcpy(kept, signs, (size_t)n * sizeof *kept);
    int literal = 0;
    for (; literal < n && signs[literal].kind == SIGN_BYTE; literal++)
        prefix[literal] = (char)signs[literal].byte;
    prefix[literal] = '\0';
    const char *slash = memrchr(prefix, '/', (size_t)literal);
    *g = (struct glob){ .signs = kept,
                        .n = n,
                        .prefix = { prefix, (size_t)literal },
                        .folder = slash ? (size_t)(slash - prefix) + 1 : 0,
                        .literal = literal == n,
                        .deep = deep_of(signs, n) };
    out->n++;
    return true;
}

int pattern_globs(const struct pattern *p, const struct zone *zone, int64_t from_ms, int64_t to_ms, struct globs *out,
                  int64_t *covered_ms, struct err *err)
{
    struct glob_sign *row = malloc(mem_product((size_t)p->n * 4 + 1, sizeof *row)); /* a date has at most four digits */
    *out = (struct globs){ .v = malloc(PATTERN_GLOBS * sizeof *out->v) };
    int64_t step = zone && p->step_ms > minute_ms ? minute_ms * 30 : p->step_ms; /* a zone can shift a day or an hour by so much */
    int64_t t = p->step_ms && from_ms < to_ms ? from_ms : to_ms;
    bool ok = row && out->v;
    *covered_ms = to_ms;
    while (ok) {
        int64_t second = t / 1000 - (t % 1000 < 0);
        int n = render(p, zone ? zone_to_local(zone, second) : second, row);
        bool known = false; /* a clock that was put back shows at most two hours again: 120 minutes */
        for (int i = out->n - 1; i >= 0 && i >= out->n - 130 && !known; i--)
            known = same_signs(&out->v[i], row, n);
        if (!known && out->n == PATTERN_GLOBS) {
            *covered_ms = t - step;
            break;
        }
        ok = known || add_glob(out, row, n);
        if (t >= to_ms)
            break;
        t = t < to_ms - step ? t + step : to_ms;
    }
    free(row);
    if (ok)
        return 0;
    globs_clear(out);
    return err_nomem(err);
}

void globs_clear(struct globs *g)
{
    free(g->v);
    arena_clear(&g->arena);
    *g = (struct globs){ 0 };
}

/* ---- matching ---- */

struct match {
    const struct glob *g;
    struct str path;
    bool lead; /* the path is a folder: is there a name below it that matches? */
    unsigned char *tried;
    struct str *captures;
};

static bool walk(struct match *m, int sign, size_t at);

/* Bytes of the character at that place, in the path or at its end 0. */
static size_t one(const struct match *m, size_t at)
{
    if (at == m->path.n || m->path.p[at] == '/')
        return 0;
    size_t n = text_utf8_one((const unsigned char *)m->path.p + at, m->path.n - at);
    return n ? n : 1;
}

static bool in_set(const struct glob_sign *s, unsigned char c)
{
    return c < 128 && (s->set[c >> 6] >> (c & 63) & 1);
}

/* From a star on: as much as it can take first. */
static bool walk_star(struct match *m, int sign, size_t at)
{
    enum sign_kind kind = m->g->signs[sign].kind;
    const char *slash = kind == SIGN_STAR ? memchr(m->path.p + at, '/', m->path.n - at) : NULL;
    size_t most = slash ? (size_t)(slash - m->path.p) : m->path.n;
    if (m->lead && !slash)
        return true; /* it can take all that follows */
    for (size_t to = most;; to--) {
        bool begins = to == at || m->path.p[to - 1] == '/';
        if ((kind != SIGN_FOLDERS || begins) && walk(m, sign + 1, to))
            return true;
        if (to == at)
            return false;
    }
}

static bool try_again(struct match *m, int sign, size_t at)
{
    size_t bit = (size_t)sign * (m->path.n + 1) + at;
    bool before = m->tried[bit >> 3] >> (bit & 7) & 1;
    m->tried[bit >> 3] |= (unsigned char)(1u << (bit & 7));
    return !before;
}

/* Do the signs from that one on match the path from that place on? Deep by one for each star: PATTERN_STARS. */
static bool walk(struct match *m, int sign, size_t at)
{
    if (!try_again(m, sign, at))
        return false;
    for (;; sign++) {
        if (m->lead && at == m->path.n)
            return true;
        if (sign == m->g->n)
            return at == m->path.n;
        const struct glob_sign *s = &m->g->signs[sign];
        size_t n;
        switch (s->kind) {
        case SIGN_BYTE:
            if (at == m->path.n || (unsigned char)m->path.p[at] != s->byte)
                return false;
            at++;
            break;
        case SIGN_ANY:
        case SIGN_SET:
            n = one(m, at);
            if (!n || (s->kind == SIGN_SET && in_set(s, n == 1 ? (unsigned char)m->path.p[at] : 255) == s->negated))
                return false;
            at += n;
            break;
        case SIGN_BEGIN:
            m->captures[s->byte].p = m->path.p + at;
            break;
        case SIGN_END:
            m->captures[s->byte].n = (size_t)(m->path.p + at - m->captures[s->byte].p);
            break;
        default:
            return walk_star(m, sign, at);
        }
    }
}

static int match(const struct glob *g, struct glob_work *w, struct str path, bool lead, struct str *captures)
{
    struct str spare[PATTERN_CAPTURES];
    size_t begin = path.n < g->prefix.n ? path.n : g->prefix.n;
    if (memcmp(path.p, g->prefix.p, begin) || (!lead && begin < g->prefix.n))
        return 0;
    size_t bytes = ((size_t)g->n + 1) * (path.n + 1) / 8 + 1;
    buf_reset(&w->tried);
    if (!buf_reserve(&w->tried, bytes))
        return -1;
    memset(w->tried.p, 0, bytes);
    struct match m = { g, path, lead, (unsigned char *)w->tried.p, captures ? captures : spare };
    return walk(&m, (int)begin, begin);
}

int glob_match(const struct glob *g, struct glob_work *w, struct str path, struct str captures[PATTERN_CAPTURES])
{
    return match(g, w, path, false, captures);
}

int glob_leads(const struct glob *g, struct glob_work *w, struct str folder)
{
    return match(g, w, folder, true, NULL);
}

void glob_name(const struct glob *g, struct buf *out)
{
    int from = g->n;
    while (from > 0 && g->signs[from - 1].kind != SIGN_FOLDERS && (g->signs[from - 1].kind != SIGN_BYTE || g->signs[from - 1].byte != '/'))
        from--;
    for (int i = from; i < g->n; i++) {
        const struct glob_sign *s = &g->signs[i];
        unsigned char c = 'x';
        if (s->kind == SIGN_BEGIN || s->kind == SIGN_END)
            continue;
        if (s->kind == SIGN_BYTE)
            c = s->byte;
        for (int k = '!'; s->kind == SIGN_SET && !in_set(s, c) && k < 127; k++)
            c = (unsigned char)(k == '/' ? c : k);
        buf_addc(out, (char)c);
    }
}

int64_t glob_id(const struct glob *g)
{
    struct hash h;
    hash_init(&h);
    for (int i = 0; i < g->n; i++) { /* field by field: there are holes between them */
        const struct glob_sign *s = &g->signs[i];
        const unsigned char head[] = { s->kind, s->byte, s->negated };
        hash_add(&h, head, sizeof head);
        hash_add(&h, s->set, sizeof s->set);
    }
    return (int64_t)hash_end(&h);
}

void glob_work_clear(struct glob_work *w)
{
    buf_clear(&w->tried);
}
