/* Links out of pages of folders. See index_page.h. Nothing here is kept on disk. */
#include "source/index_page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "source/json_split.h"

enum { TAG_MAX = 16 * 1024, BEHIND_MAX = 200, PATH_LENGTH_MAX = 4096 };

enum state { START, JSON, TEXT, TAG, COMMENT, RAW };

struct index_page {
    const char *base;
    struct str folder;
    index_each *each;
    void *arg;
    enum state state;
    struct json_split json;
    struct buf tag; /* from behind its '<' */
    char quote;     /* that the tag is inside of, or 0 */
    const char *raw_end; /* of script and style */
    size_t matched;      /* bytes of raw_end, or of "-->" */
    int tags;
    /* the link that waits for what is behind it */
    struct buf path, last; /* last: the one before it */
    bool linked, within;   /* within: its <a> is not closed yet */
    struct buf behind;     /* text behind it, with one space between words */
    int64_t size, row_size, mtime_ms;
};

struct index_page *index_page_new(const char *base, struct str folder, index_each *each, void *arg)
{
    struct index_page *p = calloc(1, sizeof *p);
    if (p)
        *p = (struct index_page){ .base = base, .folder = folder, .each = each, .arg = arg };
    return p;
}

void index_page_free(struct index_page *p)
{
    if (!p)
        return;
    json_split_clear(&p->json);
    buf_clear(&p->tag);
    buf_clear(&p->path);
    buf_clear(&p->last);
    buf_clear(&p->behind);
    free(p);
}

/* ---- where a reference leads ---- */

/* "%XX" taken out, behind out. false: a byte that would change where it leads, or a '%' that is none. */
static bool decode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < ' ' || c == 127 || c == '\\')
            return false;
        if (c == '%') {
            int high = i + 2 < s.n ? text_hex(s.p[i + 1]) : -1, low = i + 2 < s.n ? text_hex(s.p[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0) || (high == 2 && low == 15))
                return false;
            c = (unsigned char)(high * 16 + low);
            i += 2;
        }
        buf_addc(out, (char)c);
    }
    return true;
}

static bool begins(struct str s, struct str with)
{
    return s.n >= with.n && !memcmp(s.p, with.p, with.n);
}

/* The path that href names, into out. false: nothing below the folder. */
static bool resolve(const struct index_page *p, struct str href, struct buf *out)
{
    href = str_trim(href);
    size_t scheme = 0, base = strlen(p->base);
    while (scheme < href.n && !strchr(":/?#", href.p[scheme]))
        scheme++;
    buf_reset(out);
    if (!href.n || href.n > PATH_LENGTH_MAX || memchr(href.p, '?', href.n) || memchr(href.p, '#', href.n))
        return false;
    if (scheme < href.n && href.p[scheme] == ':') {
        if (href.n <= base || strncasecmp(href.p, p->base, base) != 0 || href.p[base] != '/')
            return false;
        href = (struct str){ href.p + base, href.n - base };
    }
    if (begins(href, STR("//")))
        return false;
    while (begins(href, STR("./")))
        href = (struct str){ href.p + 2, href.n - 2 };
    if (!href.n)
        return false;
    if (href.p[0] != '/')
        buf_add(out, p->folder.p, p->folder.n);
    if (!decode(href, out) || out->failed)
        return false;
    struct str path = buf_str(out), below = { path.p + p->folder.n, path.n - p->folder.n };
    return path.n > p->folder.n && begins(path, p->folder) && below.p[0] != '/' && !memmem(below.p, below.n, "//", 2) &&
           !text_has_dots(below);
}

/* ---- what is shown behind a link ---- */

static const char *const dates[] = {
    "%d-%b-%Y %H:%M",    /* nginx */
    "%Y-%m-%d %H:%M",    /* Apache */
    "%d-%b-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S",
    "%Y-%b-%d %H:%M:%S", /* lighttpd */
};

static struct str next_word(struct str *rest)
{
    const char *space = memchr(rest->p, ' ', rest->n);
    struct str word = { rest->p, space ? (size_t)(space - rest->p) : rest->n };
    size_t used = word.n + (space != NULL);
    *rest = (struct str){ rest->p + used, rest->n - used };
    return word;
}

static bool is_date(struct str s)
{
    int64_t us;
    for (size_t i = 0; i < COUNT_OF(dates); i++)
        if (text_timestamp_fmt(s, dates[i], NULL, &us))
            return true;
    return false;
}

/* Digits; or digits with a point and a unit: then *bytes is -1. */
static bool is_size(struct str s, int64_t *bytes)
{
    size_t digits = 0;
    *bytes = -1;
    while (digits < s.n && ((s.p[digits] >= '0' && s.p[digits] <= '9') || (digits && s.p[digits] == '.')))
        digits++;
    if (!digits || s.n > digits + 3)
        return false;
    if (digits == s.n)
        return text_int(s, bytes);
    return strchr("KMGTPkB", s.p[digits]) != NULL;
}

/* "DAY TIME SIZE …" as the page shows it, also with nothing else: the part of it that tells versions apart; "" when it is none of it. */
static void take_behind(struct index_page *p, struct buf *version)
{
    struct str rest = str_trim(buf_str(&p->behind)), all = rest;
    int64_t bytes;
    (void)next_word(&rest);
    struct str time = rest;
    (void)next_word(&rest);
    struct str date = { all.p, time.p ? (size_t)(rest.p - all.p) : 0 };
    while (date.n && date.p[date.n - 1] == ' ')
        date.n--;
    if (!date.n || !is_date(date))
        return;
    buf_add(version, date.p, date.n);
    struct str size = next_word(&rest);
    if (!is_size(size, &bytes))
        return;
    p->size = bytes;
    if (bytes < 0) {
        buf_addc(version, ' ');
        buf_add(version, size.p, size.n);
    }
}

/* The link that waits, if there is one, goes out; unless it shows nothing and the one before it, or `next`, leads to the same: the icon, and
 * the name beside it. */
static int flush(struct index_page *p, struct str next, struct err *err)
{
    AUTO(buf_clear) struct buf version = { 0 };
    int rc = 0;
    if (!p->linked)
        return 0;
    p->linked = p->within = false;
    bool again = str_eq(buf_str(&p->path), buf_str(&p->last)) || str_eq(buf_str(&p->path), next);
    buf_adds(&version, "");
    if (p->mtime_ms && p->row_size >= 0)
        p->size = p->row_size;
    if (!p->mtime_ms && p->behind.n)
        take_behind(p, &version);
    struct index_link link = { .path = buf_str(&p->path), .size = p->size, .mtime_ms = p->mtime_ms, .version = version.p };
    if (version.failed || p->path.failed || p->behind.failed)
        return err_nomem(err);
    if (!again || p->size >= 0 || p->mtime_ms || version.n)
        rc = p->each(p->arg, &link, err);
    buf_reset(&p->last);
    buf_add(&p->last, p->path.p, p->path.n);
    return rc;
}

/* ---- tags ---- */

static const struct reference {
    const char *name, *text;
} references[] = { { "amp;", "&" }, { "lt;", "<" }, { "gt;", ">" }, { "quot;", "\"" }, { "apos;", "'" }, { "nbsp;", " " } };

static void add_utf8(struct buf *out, unsigned long c)
{
    if (c < 0x80) {
        buf_addc(out, (char)c);
    } else if (c < 0x800) {
        buf_addc(out, (char)(0xc0 | c >> 6));
    } else if (c < 0x10000) {
        buf_addc(out, (char)(0xe0 | c >> 12));
        buf_addc(out, (char)(0x80 | (c >> 6 & 63)));
    } else {
        buf_addc(out, (char)(0xf0 | c >> 18));
        buf_addc(out, (char)(0x80 | (c >> 12 & 63)));
        buf_addc(out, (char)(0x80 | (c >> 6 & 63)));
    }
    if (c >= 0x80)
        buf_addc(out, (char)(0x80 | (c & 63)));
}

/* The character reference at s (behind its '&'); gives its length, or 0: it is none. */
static size_t take_reference(struct str s, struct buf *out)
{
    for (size_t i = 0; i < COUNT_OF(references); i++)
        if (begins(s, str_of(references[i].name))) {
            buf_adds(out, references[i].text);
            return strlen(references[i].name);
        }
    bool hex = s.n > 2 && s.p[0] == '#' && (s.p[1] | 32) == 'x';
    size_t at = hex ? 2 : 1, begin = at;
    unsigned long c = 0;
    for (; s.n && s.p[0] == '#' && at < s.n && at < 10; at++) {
        int digit = text_hex(s.p[at]);
        if (digit < 0 || (!hex && digit > 9))
            break;
        c = c * (hex ? 16 : 10) + (unsigned long)digit;
    }
    if (at == begin || at >= s.n || s.p[at] != ';' || !c || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    add_utf8(out, c);
    return at + 1;
}

static void decode_references(struct str s, struct buf *out)
{
    buf_reset(out);
    buf_adds(out, "");
    for (size_t i = 0; i < s.n; i++) {
        size_t n = s.p[i] == '&' ? take_reference((struct str){ s.p + i + 1, s.n - i - 1 }, out) : 0;
        if (!n)
            buf_addc(out, s.p[i]);
        i += n;
    }
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

/* The value of the attribute of a tag, as written. */
static bool attribute(struct str tag, const char *name, struct str *value)
{
    size_t i = 0;
    while (i < tag.n && !is_space(tag.p[i]))
        i++;
    while (i < tag.n) {
        while (i < tag.n && (is_space(tag.p[i]) || tag.p[i] == '/'))
            i++;
        size_t begin = i;
        while (i < tag.n && !is_space(tag.p[i]) && tag.p[i] != '=')
            i++;
        struct str key = { tag.p + begin, i - begin };
        while (i < tag.n && is_space(tag.p[i]))
            i++;
        *value = (struct str){ tag.p + i, 0 };
        if (i < tag.n && tag.p[i] == '=') {
            for (i++; i < tag.n && is_space(tag.p[i]);)
                i++;
            char quote = i < tag.n && (tag.p[i] == '"' || tag.p[i] == '\'') ? tag.p[i] : 0;
            begin = i += quote != 0;
            while (i < tag.n && (quote ? tag.p[i] != quote : !is_space(tag.p[i])))
                i++;
            *value = (struct str){ tag.p + begin, i - begin };
            i += quote && i < tag.n;
        } else if (i == begin) {
            i++; /* a stray sign */
        }
        if (str_eq_nocase(key, str_of(name)))
            return true;
    }
    return false;
}

static bool tag_is(struct str tag, const char *name)
{
    size_t n = strlen(name);
    return tag.n >= n && !strncasecmp(tag.p, name, n) && (tag.n == n || is_space(tag.p[n]) || tag.p[n] == '/');
}

static int open_link(struct index_page *p, struct str tag, struct err *err)
{
    AUTO(buf_clear) struct buf href = { 0 };
    AUTO(buf_clear) struct buf path = { 0 };
    struct str value;
    bool linked = false;
    if (attribute(tag, "href", &value)) {
        decode_references(value, &href);
        linked = !href.failed && resolve(p, buf_str(&href), &path);
    }
    int rc = href.failed || path.failed ? err_nomem(err) : flush(p, linked ? buf_str(&path) : (struct str){ 0 }, err);
    if (rc || !linked)
        return rc;
    buf_reset(&p->path);
    buf_add(&p->path, path.p, path.n);
    p->linked = p->within = true;
    p->size = p->row_size = -1;
    p->mtime_ms = 0;
    buf_reset(&p->behind);
    return p->path.failed ? err_nomem(err) : 0;
}

/* Caddy shows sizes and times as attributes; before 2.7 with a blank in front of the time. */
static void take_cell(struct index_page *p, struct str tag)
{
    struct str value;
    int64_t ms;
    if (tag_is(tag, "td") && p->row_size < 0 && (attribute(tag, "data-size", &value) || attribute(tag, "data-order", &value)) &&
        (!text_int(value, &p->row_size) || p->row_size < 0))
        p->row_size = -1;
    if (tag_is(tag, "time") && attribute(tag, "datetime", &value) && (ms = text_rfc3339_ms(str_trim(value))) != INT64_MIN)
        p->mtime_ms = ms;
}

static int on_tag(struct index_page *p, struct err *err)
{
    struct str tag = buf_str(&p->tag);
    p->tags++;
    if (tag_is(tag, "a"))
        return open_link(p, tag, err);
    if (tag_is(tag, "/a")) {
        p->within = false;
        buf_reset(&p->behind);
    } else if (tag_is(tag, "script") || tag_is(tag, "style")) {
        p->state = RAW;
        p->raw_end = tag_is(tag, "script") ? "</script" : "</style";
        p->matched = 0;
    } else if (p->linked) {
        take_cell(p, tag);
        if (p->behind.n && p->behind.p[p->behind.n - 1] != ' ')
            buf_addc(&p->behind, ' ');
    }
    return 0;
}

/* ---- bytes ---- */

static void on_text(struct index_page *p, char c)
{
    if (!p->linked || p->within || p->behind.n >= BEHIND_MAX)
        return;
    bool space = is_space(c);
    if (!space || (p->behind.n && p->behind.p[p->behind.n - 1] != ' '))
        buf_addc(&p->behind, space ? ' ' : c);
}

/* Inside of what ends with `end`. */
static bool ends(struct index_page *p, const char *end, char c)
{
    char low = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    p->matched = low == end[p->matched] ? p->matched + 1 : low == '-' && p->matched == 2 && end[0] == '-' ? 2 : low == end[0];
    return !end[p->matched];
}

static int in_tag(struct index_page *p, char c, struct err *err)
{
    if (!p->tag.n && c != '/' && c != '!' && !((c | 32) >= 'a' && (c | 32) <= 'z')) {
        p->state = TEXT; /* a bare '<' */
        on_text(p, c);
        return 0;
    }
    if (c == '>' && !p->quote) {
        p->state = TEXT;
        return on_tag(p, err);
    }
    if (p->quote)
        p->quote = c == p->quote ? 0 : p->quote;
    else if ((c == '"' || c == '\'') && p->tag.n && (p->tag.p[p->tag.n - 1] == '=' || is_space(p->tag.p[p->tag.n - 1])))
        p->quote = c;
    if (p->tag.n == TAG_MAX)
        return err_set(err, ERR_LIMIT, "a tag of the page is longer than %d bytes", TAG_MAX);
    buf_addc(&p->tag, c);
    if (p->tag.n == 3 && !memcmp(p->tag.p, "!--", 3)) {
        p->state = COMMENT;
        p->matched = 0;
    }
    return p->tag.failed ? err_nomem(err) : 0;
}

static int one(struct index_page *p, char c, struct err *err)
{
    switch (p->state) {
    case TAG:
        return in_tag(p, c, err);
    case COMMENT:
        p->state = ends(p, "-->", c) ? TEXT : COMMENT;
        return 0;
    case RAW:
        if (ends(p, p->raw_end, c)) {
            p->state = TAG;
            p->quote = 0;
            buf_reset(&p->tag);
            buf_adds(&p->tag, "/");
        }
        return 0;
    default:
        if (c == '<') {
            p->state = TAG;
            p->quote = 0;
            buf_reset(&p->tag);
        } else {
            on_text(p, c);
        }
        return 0;
    }
}

/* ---- JSON: nginx "autoindex_format json", Caddy ---- */

/* Into p->path; Caddy's url has the bytes of a name, whose text in JSON has U+FFFD for those that are not UTF-8. */
static bool by_url(struct index_page *p, const struct json_value *v, bool folder, struct arena *arena)
{
    struct json_value m;
    struct str url;
    if (json_member(v, "url", &m) != 1 || m.kind != JSON_TEXT || !json_unescape(&m, arena, &url) || !resolve(p, url, &p->path))
        return false;
    size_t n = p->path.n - p->folder.n;
    const char *slash = memchr(p->path.p + p->folder.n, '/', n);
    return !slash || (folder && slash == p->path.p + p->path.n - 1);
}

static int on_element(void *arg, const struct json_value *v, struct err *err)
{
    struct index_page *p = arg;
    AUTO(arena_clear) struct arena arena = { 0 };
    struct json_value m;
    struct str name = { 0 }, text;
    struct index_link link = { .size = -1, .version = "" };
    bool folder = false;
    if (v->kind != JSON_OBJECT || json_member(v, "name", &m) != 1 || m.kind != JSON_TEXT)
        return err_set(err, ERR_FORMAT, "the page is JSON, but not an array of objects with a name, as nginx and Caddy make of a folder");
    if (!json_unescape(&m, &arena, &name))
        return name.p ? 0 : err_nomem(err);
    if (json_member(v, "type", &m) == 1 && m.kind == JSON_TEXT)
        folder = json_text_is(m.raw, STR("directory"));
    if (json_member(v, "is_dir", &m) == 1)
        folder = m.kind == JSON_TRUE;
    if (json_member(v, "size", &m) == 1 && m.kind == JSON_NUMBER && !folder && !text_int(m.raw, &link.size))
        link.size = -1;
    if ((json_member(v, "mtime", &m) == 1 || json_member(v, "mod_time", &m) == 1) && m.kind == JSON_TEXT &&
        json_unescape(&m, &arena, &text))
        link.mtime_ms = text_shown_ms(text);
    if (folder && name.n && name.p[name.n - 1] == '/')
        name.n--;
    if (!name.n || name.n > PATH_LENGTH_MAX || memchr(name.p, '/', name.n) || memchr(name.p, '\0', name.n) || text_has_dots(name))
        return 0;
    if (!by_url(p, v, folder, &arena)) {
        buf_reset(&p->path);
        buf_add(&p->path, p->folder.p, p->folder.n);
        buf_add(&p->path, name.p, name.n);
    }
    if (folder && !p->path.failed && p->path.p[p->path.n - 1] != '/')
        buf_addc(&p->path, '/');
    link.path = buf_str(&p->path);
    return p->path.failed ? err_nomem(err) : p->each(p->arg, &link, err);
}

/* ---- the calls ---- */

/* HTML or JSON? By its first sign. */
static int start(struct index_page *p, char c, struct err *err)
{
    if (is_space(c) || c == '\xef' || c == '\xbb' || c == '\xbf')
        return 0;
    if (c == '\xff' || c == '\xfe' || c == '\0')
        return err_set(err, ERR_ENCODING, "the page is UTF-16, or no text at all: pages of folders are read in UTF-8, latin1 and the like");
    p->state = c == '[' || c == '{' ? JSON : TEXT;
    p->json = (struct json_split){ .element = on_element, .arg = p, .skips = true };
    return 0;
}

int index_page_add(struct index_page *p, struct str bytes, struct err *err)
{
    int rc = 0;
    size_t i = 0;
    for (; rc == 0 && p->state == START && i < bytes.n; i++) {
        rc = start(p, bytes.p[i], err);
        if (p->state != START)
            break;
    }
    if (rc == 0 && p->state == JSON)
        return json_split_add(&p->json, (struct str){ bytes.p + i, bytes.n - i }, err);
    for (; rc == 0 && i < bytes.n; i++)
        rc = one(p, bytes.p[i], err);
    return rc;
}

int index_page_end(struct index_page *p, struct err *err)
{
    if (p->state == JSON)
        return json_split_end(&p->json, err);
    if (!p->tags)
        return err_set(err, ERR_FORMAT, "this is no page of a folder: it is %s", p->state == START ? "empty" : "neither HTML nor JSON");
    if (p->state != TEXT)
        return err_set(err, ERR_TRUNCATED, "the page ends within a tag");
    return flush(p, (struct str){ 0 }, err);
}

int64_t index_page_skipped(const struct index_page *p) { return p->json.skipped; }
