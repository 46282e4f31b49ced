/*
 * Manifests: a file, here or behind a URL, that names objects: manifest+file:///PATH, manifest+https://HOST/PATH, manifest+s3://….
 *
 *     text    a name a line; empty lines and those that begin with # count for nothing; also as sha256sum and its kin write it
 *     JSON    lines, an array, or an array under "entries", "files" or "objects": of texts, or of objects with the name as "uri",
 *             "url", "path" or "name", and as they please "size", "mtime" (RFC 3339), "etag", "checksum", "sha256", "md5"
 *
 * All of the last four that there are tell versions apart; a checksum of 64 or 32 hex digits is one of the bytes (version_sum()), by which they are
 * checked when they are fetched.
 *
 * A name is a URL, taken as it is written; or a path, taken byte by byte, from the manifest's own folder on where it begins with
 * no slash. A manifest that came over the network names objects of its own host alone: nobody far away points us at
 * files of this machine, or sends our credentials elsewhere. Memory is that of one name. Nothing here writes.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/fetch.h"
#include "source/json_split.h"
#include "source/list.h"
#include "source/source.h"
#include "source/version.h"

enum { MANIFEST_BYTES_MAX = 256 << 20, LINE_MAX_BYTES = 8192 };

struct reading {
    const struct list_ask *ask;
    const struct list_sink *sink;
    const char *base;  /* without manifest+; "" of a local one */
    struct str folder; /* of its path */
    struct json_split json;
    struct buf line, uri;
    enum { START, LINES, JSON } form;
    int64_t names;
    int rc; /* what ended it */
    struct fetch_head head;
};

static bool is_local(const struct reading *r) { return !*r->base; }

/* ---- names ---- */

static int wrong(const struct reading *r, struct str name, const char *why, struct err *err)
{
    char shown[120];
    snprintf(shown, sizeof shown, "%.*s", (int)(name.n < sizeof shown ? name.n : sizeof shown - 1), name.p);
    for (char *p = shown; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
    char redacted[200];
    fetch_redact(shown, redacted, sizeof redacted);
    return err_set(err, ERR_URI, "name %" PRId64 " of the manifest, '%s': %s", r->names, redacted, why);
}

/* A name that is a URL, as it stands, into r->uri. */
static int take_url(struct reading *r, struct str name, struct err *err)
{
    size_t base = strlen(r->base);
    enum source_kind kind;
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 127)
            return wrong(r, name, "a URL holds no spaces and no control characters", err);
    if (text_utf8_valid(name) < name.n)
        return wrong(r, name, "a URL is text: other bytes are written %XX", err);
    if (!is_local(r) && (name.n <= base || strncasecmp(name.p, r->base, base) != 0 || name.p[base] != '/'))
        return wrong(r, name, "it is not of the manifest's own host; a manifest in a local file may name any", err);
    buf_add(&r->uri, name.p, name.n);
    return r->uri.failed ? err_nomem(err) : source_kind(r->uri.p, &kind, err);
}

static int take_path(struct reading *r, struct str name, struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    if (text_has_dots(name))
        return wrong(r, name, "a path has no '.' and no '..' in it", err);
    if (name.n > 1 && name.p[0] == '/' && name.p[1] == '/')
        return wrong(r, name, "a path begins with one slash", err);
    if (name.p[0] != '/')
        buf_add(&path, r->folder.p, r->folder.n);
    buf_add(&path, name.p, name.n);
    if (path.failed)
        return err_nomem(err);
    list_uri(r->base, buf_str(&path), &r->uri);
    return r->uri.failed ? err_nomem(err) : 0;
}

/* Its path as the sink wants it: behind scheme and host. */
static struct str path_of(const struct buf *uri)
{
    const char *host = strstr(uri->p, "://"), *slash = host ? strchr(host + 3, '/') : uri->p;
    return str_of(slash ? slash : "");
}

static int give(struct reading *r, struct str name, struct listed *o, struct err *err)
{
    r->names++;
    if (!name.n || memchr(name.p, '\0', name.n))
        return wrong(r, name, "it is empty, or holds a zero byte", err);
    if (r->names % 1024 == 0 && r->ask->go_on && !r->ask->go_on(r->sink->arg))
        return err_set(err, ERR_SHUTDOWN, "the listing was stopped");
    buf_reset(&r->uri);
    bool url = memmem(name.p, name.n, "://", 3) || (name.n > 5 && !strncasecmp(name.p, "file:", 5));
    if ((url ? take_url(r, name, err) : take_path(r, name, err)) < 0)
        return -1;
    o->uri = r->uri.p;
    o->path = path_of(&r->uri);
    const char *slash = memrchr(o->path.p, '/', o->path.n);
    o->name = slash ? str_of(slash + 1) : o->path;
    return r->sink->object(r->sink->arg, o, err);
}

/* ---- text ---- */

/* "CHECKSUM  NAME": its length, or 0. */
static size_t checksum_of(struct str line)
{
    static const size_t lengths[] = { 32, 40, 64, 96, 128 };
    size_t n = 0;
    while (n < line.n && isxdigit((unsigned char)line.p[n]))
        n++;
    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        if (n == lengths[i] && line.n > n + 2 && line.p[n] == ' ' && (line.p[n + 1] == ' ' || line.p[n + 1] == '*'))
            return n;
    return 0;
}

/* One more word of what tells versions apart. */
static void add_version(struct buf *out, struct str word, bool sum)
{
    if (out->n)
        buf_addc(out, ' ');
    if (!sum || !version_put_sum(out, word))
        buf_add(out, word.p, word.n);
    buf_adds(out, "");
}

static int on_line(struct reading *r, struct err *err)
{
    AUTO(buf_clear) struct buf checksum = { 0 };
    struct listed o = { .size = -1, .etag = "" };
    struct str line = buf_str(&r->line);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (!line.n || line.p[0] == '#')
        return 0;
    size_t n = checksum_of(line);
    if (n) {
        add_version(&checksum, (struct str){ line.p, n }, true);
        if (checksum.failed)
            return err_nomem(err);
        o.etag = checksum.p;
        line = (struct str){ line.p + n + 2, line.n - n - 2 };
    }
    return give(r, line, &o, err);
}

static int add_lines(struct reading *r, struct str bytes, struct err *err)
{
    int rc = 0;
    while (rc == 0 && bytes.n) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        size_t n = end ? (size_t)(end - bytes.p) : bytes.n, used = n + (end != NULL);
        if (r->line.n + n > LINE_MAX_BYTES)
            return err_set(err, ERR_LIMIT, "a line of the manifest, behind %" PRId64 " name%s, is longer than %d bytes", r->names,
                           r->names == 1 ? "" : "s", LINE_MAX_BYTES);
        buf_add(&r->line, bytes.p, n);
        if (r->line.failed)
            return err_nomem(err);
        if (end) {
            rc = on_line(r, err);
            buf_reset(&r->line);
        }
        bytes = (struct str){ bytes.p + used, bytes.n - used };
    }
    return rc;
}

/* ---- JSON ---- */

static const char *const array_keys[] = { "entries", "files", "objects", NULL };
static const char *const name_keys[] = { "uri", "url", "path", "name" };
static const char *const version_keys[] = { "etag", "checksum", "sha256", "md5" };

/* The text under the first of n keys that is there. 1, 0, -1. */
static int text_of(struct reading *r, const struct json_value *v, const char *const *keys, size_t n, struct arena *arena, struct str *out,
                   struct err *err)
{
    struct json_value m;
    for (size_t i = 0; i < n; i++) {
        if (json_member(v, keys[i], &m) != 1 || m.kind == JSON_NULL)
            continue;
        if (m.kind == JSON_TEXT && json_unescape(&m, arena, out))
            return 1;
        r->names++;
        return err_set(err, ERR_FORMAT, "name %" PRId64 " of the manifest: \"%s\" is no text", r->names, keys[i]);
    }
    return 0;
}

/* All that tells versions apart. 0, -1. */
static int version_of(struct reading *r, const struct json_value *v, struct arena *arena, struct buf *out, struct err *err)
{
    struct str text;
    buf_adds(out, "");
    for (size_t i = 0; i < COUNT_OF(version_keys); i++) {
        int there = text_of(r, v, &version_keys[i], 1, arena, &text, err);
        if (there < 0)
            return -1;
        if (there)
            add_version(out, text, i > 0);
    }
    return out->failed ? err_nomem(err) : 0;
}

static int on_element(void *arg, const struct json_value *v, struct err *err)
{
    struct reading *r = arg;
    AUTO(arena_clear) struct arena arena = { 0 };
    AUTO(buf_clear) struct buf version = { 0 };
    struct listed o = { .size = -1, .etag = "" };
    struct json_value m;
    struct str name, time;
    if (v->kind == JSON_TEXT) {
        if (!json_unescape(v, &arena, &name))
            return err_set(err, ERR_FORMAT, "name %" PRId64 " of the manifest is no text", r->names + 1);
        return give(r, name, &o, err);
    }
    int there = text_of(r, v, name_keys, COUNT_OF(name_keys), &arena, &name, err);
    if (there < 0 || version_of(r, v, &arena, &version, err) < 0)
        return -1;
    if (!there)
        return err_set(err, ERR_FORMAT, "name %" PRId64 " of the manifest: it has no \"uri\", \"url\", \"path\" or \"name\"", r->names + 1);
    o.etag = version.p;
    if (json_member(v, "size", &m) == 1 && m.kind != JSON_NULL && (m.kind != JSON_NUMBER || !text_int(m.raw, &o.size) || o.size < 0))
        return err_set(err, ERR_FORMAT, "name %" PRId64 " of the manifest: its size is no number of bytes", r->names + 1);
    if (json_member(v, "mtime", &m) == 1 && m.kind != JSON_NULL &&
        (m.kind != JSON_TEXT || !json_unescape(&m, &arena, &time) || (o.mtime_ms = text_rfc3339_ms(time)) == INT64_MIN))
        return err_set(err, ERR_FORMAT, "name %" PRId64 " of the manifest: its mtime is no time of RFC 3339", r->names + 1);
    return give(r, name, &o, err);
}

/* ---- bytes ---- */

static int add(struct reading *r, struct str bytes, struct err *err)
{
    while (r->form == START && bytes.n) {
        char c = bytes.p[0];
        if (c == '\xff' || c == '\xfe' || c == '\0')
            return err_set(err, ERR_ENCODING, "the manifest is UTF-16, or no text at all: it is read in UTF-8");
        if (strchr(" \t\r\n\xef\xbb\xbf", c)) {
            bytes = (struct str){ bytes.p + 1, bytes.n - 1 };
            continue;
        }
        r->form = c == '{' || c == '[' ? JSON : LINES;
    }
    return r->form == JSON ? json_split_add(&r->json, bytes, err) : add_lines(r, bytes, err);
}

static int end(struct reading *r, struct err *err)
{
    return r->form == JSON ? json_split_end(&r->json, err) : r->line.n ? on_line(r, err) : 0;
}

static int read_local(struct reading *r, const char *path, struct err *err)
{
    AUTO(fd_closep) int fd = -1;
    char bytes[65536];
    int64_t size, mtime;
    ssize_t n;
    int rc = source_open_local(path, &fd, &size, &mtime, err);
    while (rc == 0 && (n = read(fd, bytes, sizeof bytes)) != 0)
        rc = n < 0 ? err_sys(err, "read '%s'", path) : add(r, (struct str){ bytes, (size_t)n }, err);
    return rc == 0 ? end(r, err) : rc;
}

static int on_head(void *arg, const struct fetch_head *head, struct err *err)
{
    struct reading *r = arg;
    (void)err;
    r->head = *head;
    return 0;
}

static ssize_t on_bytes(void *arg, const void *p, size_t n, struct err *err)
{
    struct reading *r = arg;
    r->rc = add(r, (struct str){ p, n }, err);
    return r->rc ? -1 : (ssize_t)n;
}

static int on_tick(void *arg, struct err *err)
{
    const struct reading *r = arg;
    return !r->ask->go_on || r->ask->go_on(r->sink->arg) ? 0 : err_set(err, ERR_SHUTDOWN, "the listing was stopped");
}

/* Unless it is what it was: 1 it came; 0 it did not need to; -1. */
static int get_remote(struct reading *r, const char *uri, struct err *err)
{
    const struct fetch_sink sink = { .arg = r, .head = on_head, .write = on_bytes, .tick = on_tick };
    const struct list_known *known = r->ask->known;
    struct limits limits = r->ask->config->limits;
    struct fetch_head head = { 0 };
    struct fetch *fetch;
    limits.object_bytes = MANIFEST_BYTES_MAX;
    if ((known && known->get(known->arg, uri, &head, err) < 0) || fetch_open(&fetch, &limits, err) < 0)
        return -1;
    int rc = fetch_get_changed(fetch, uri, config_remote(r->ask->config, uri), &head, &sink, err);
    fetch_close(fetch);
    if (rc == 0)
        known->same(known->arg);
    return rc;
}

static int read_remote(struct reading *r, const char *uri, struct err *err)
{
    const struct list_known *known = r->ask->known;
    int came = get_remote(r, uri, err);
    int rc = r->rc ? r->rc : came < 0 ? -1 : came ? end(r, err) : 0;
    return rc == 0 && came && known ? known->put(known->arg, uri, &r->head, err) : rc;
}

/* ---- the calls ---- */

enum { SCHEME_PREFIX = sizeof "manifest+" - 1 };

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    const char *base = ask->base + SCHEME_PREFIX;
    bool local = !strncasecmp(base, "file://", 7);
    struct reading r = { .ask = ask, .sink = sink, .base = local ? "" : base, .folder = { ask->glob->prefix.p, ask->glob->folder } };
    if (!ask->glob->literal)
        return err_set(err, ERR_CONFIG, "a manifest is named, and not looked for: dates can stand in its path, globs and names cannot");
    if (local && base[7])
        return err_set(err, ERR_URI, "'%s' names another host; a local manifest is manifest+file:///PATH", ask->base);
    list_uri(r.base, ask->glob->prefix, &uri);
    if (uri.failed)
        return err_nomem(err);
    r.json = (struct json_split){ .keys = array_keys, .element = on_element, .arg = &r };
    int rc = local ? read_local(&r, uri.p, err) : read_remote(&r, uri.p, err);
    json_split_clear(&r.json);
    buf_clear(&r.line);
    buf_clear(&r.uri);
    return rc < 0 ? -1 : 0;
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    (void)ask;
    (void)path;
    (void)mtime_ms;
    return err_set(err, ERR_CONFIG, "done_marker is not for manifests: they name what is whole");
}

static const char *const schemes[] = { "manifest+file", "manifest+http", "manifest+https", "manifest+s3", NULL };
const struct lister list_manifest = { schemes, false, list, exists, NULL };
