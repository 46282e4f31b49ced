/*
 * What a URI names: local files are opened here, everything else is for io/fetch.
 *
 * Invariant: whatever a URI or a job's parameter says, nothing but a regular file is opened, and
 * the open never waits (a FIFO). Nothing here writes, so power may fail at any point.
 */
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/text.h"

static const struct scheme {
    const char *name;
    enum source_kind kind;
} schemes[] = {
    { "file", SOURCE_LOCAL },  { "http", SOURCE_FETCHED }, { "https", SOURCE_FETCHED },
    { "ftp", SOURCE_FETCHED }, { "ftps", SOURCE_FETCHED }, { "sftp", SOURCE_FETCHED },
    { "s3", SOURCE_FETCHED },
};

/* The scheme of "scheme:" (RFC 3986, 3.1), empty where there is none. */
static struct str scheme_of(const char *uri)
{
    size_t n = strspn(uri, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+.-");
    bool letter = (uri[0] | 32) >= 'a' && (uri[0] | 32) <= 'z';
    return letter && uri[n] == ':' ? (struct str){ uri, n } : (struct str){ uri, 0 };
}

static const struct scheme *scheme_find(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (str_eq_nocase(name, str_of(schemes[i].name)))
            return &schemes[i];
    return NULL;
}

/* Is it a URL, so that % and ? mean something? "a:b.csv" is a path; "file:/x" (RFC 8089) is a URL.
 */
static bool is_url(const char *uri)
{
    struct str s = scheme_of(uri);
    return s.n && (!strncmp(uri + s.n, "://", 3) || scheme_find(s));
}

static int unknown_scheme(struct str name, struct err *err)
{
    char list[128] = "", given[32];
    const char *near = NULL;
    int best = 3; /* further away is no typing mistake */
    snprintf(given, sizeof given, "%.*s", (int)(name.n < 31 ? name.n : 31), name.p);
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t n = strlen(list);
        int d = text_distance(given, schemes[i].name, best);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", schemes[i].name);
        if (d < best) {
            best = d;
            near = schemes[i].name;
        }
    }
    if (near)
        return err_set(err, ERR_URI, "the scheme '%s' is not known; did you mean %s://? (%s)",
                       given, near, list);
    return err_set(err, ERR_URI, "the scheme '%s' is not known; there are %s, and plain paths",
                   given, list);
}

/* The path that a file: URL names (RFC 8089: file:/path, file:///path, file://localhost/path), still
 * percent-encoded. */
static int file_url_path(const char *uri, const char **path, struct err *err)
{
    const char *p = uri + scheme_of(uri).n + 1;
    if (!strncmp(p, "//localhost/", 12))
        p += 11;
    else if (!strncmp(p, "///", 3))
        p += 2;
    if (p[0] != '/' || p[1] == '/')
        return err_set(err, ERR_URI, "'%s' names another host; a local file is file:///PATH", uri);
    *path = p;
    return 0;
}

int source_kind(const char *uri, enum source_kind *kind, struct err *err)
{
    if (!*uri)
        return err_set(err, ERR_URI, "the URI is empty");
    if (!is_url(uri)) {
        *kind = SOURCE_LOCAL;
        return 0;
    }
    struct str name = scheme_of(uri);
    const struct scheme *s = scheme_find(name);
    if (!s)
        return unknown_scheme(name, err);
    if (s->kind == SOURCE_FETCHED &&
        (strncmp(uri + name.n, "://", 3) || strchr("/?#", uri[name.n + 3])))
        return err_set(err, ERR_URI, "the URI names no host; it should look like %s://HOST/PATH",
                       s->name);
    const char *path;
    if (s->kind == SOURCE_LOCAL && file_url_path(uri, &path, err) < 0)
        return -1;
    *kind = s->kind;
    return 0;
}

/* ---- local files ---- */

int source_local_path(const char *uri, char *out, struct err *err)
{
    struct str path = str_of(uri);
    bool url = is_url(uri);
    if (url) {
        if (file_url_path(uri, &path.p, err) < 0)
            return -1;
        path.n = strlen(path.p);
    }
    if (path.n >= PATH_MAX)
        return err_set(err, ERR_URI, "the path is longer than %d bytes", PATH_MAX - 1);
    if (!url) {
        memcpy(out, path.p, path.n + 1);
        return 0;
    }
    size_t n = text_percent_decode(path, out);
    return strlen(out) == n ? 0 : err_set(err, ERR_URI, "'%s' holds a zero byte", uri);
}

static const char *file_type(mode_t mode)
{
    return S_ISDIR(mode)    ? "folder"
           : S_ISFIFO(mode) ? "FIFO"
           : S_ISSOCK(mode) ? "socket"
                            : "device";
}

static int local_fault(const char *path, struct err *err)
{
    int sys = errno;
    if (sys == ENOENT || sys == ENOTDIR)
        err_set(err, ERR_FETCH_MISSING, "there is no file '%s'", path);
    else if (sys == EACCES || sys == EPERM)
        err_set(err, ERR_FETCH_DENIED, "the file '%s' may not be read by this user", path);
    else if (sys == ELOOP || sys == ENAMETOOLONG)
        err_set(err, ERR_URI, "'%s': %s", path, strerror(sys));
    else
        return err_sys(err, "open '%s'", path);
    err->sys = sys;
    return -1;
}

static int check_regular(const char *path, const struct stat *st, struct err *err)
{
    return S_ISREG(st->st_mode)
               ? 0
               : err_set(err, ERR_NOT_A_FILE, "'%s' is a %s", path, file_type(st->st_mode));
}

static int64_t modified_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

int source_stat_local(const char *uri, int64_t *size, int64_t *mtime_ms, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (source_local_path(uri, path, err) < 0)
        return -1;
    if (stat(path, &st) < 0)
        return local_fault(path, err);
    if (check_regular(path, &st, err) < 0)
        return -1;
    *size = st.st_size;
    *mtime_ms = modified_ms(&st);
    return 0;
}

int source_open_local(const char *uri, int *fd, int64_t *size, int64_t *mtime_ms, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    if (source_local_path(uri, path, err) < 0)
        return -1;
    if (stat(path, &st) < 0) /* first, because to open some devices does something already */
        return local_fault(path, err);
    if (check_regular(path, &st, err) < 0)
        return -1;
    AUTO(fd_closep) int f = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (f < 0 || fstat(f, &st) < 0)
        return local_fault(path, err);
    if (check_regular(path, &st, err) < 0)
        return -1;
    (void)posix_fadvise(f, 0, 0, POSIX_FADV_SEQUENTIAL);
    *fd = fd_steal(&f);
    *size = st.st_size;
    *mtime_ms = modified_ms(&st);
    return 0;
}

/* ---- templates and names ---- */

static int param_missing(const char *template, const char *name, struct err *err)
{
    AUTO(buf_clear) struct buf all = { 0 };
    for (const char *p = template; (p = strchr(p, '{'));) {
        size_t n = strcspn(++p, "}{");
        if (p[n] == '}')
            buf_addf(&all, "%s%.*s", all.n ? ", " : "", (int)n, p);
        p += n + (p[n] != '\0');
    }
    return err_set(err, ERR_USAGE,
                   "the source wants the parameter '%s', which the job does not have; the source "
                   "has: %s",
                   name, all.p && !all.failed ? all.p : name);
}

/* Value of a parameter as text. */
static int param_text(const char *template, const struct json_value *params, const char *name,
                      struct arena *arena, struct str *out, struct err *err)
{
    struct json_value v;
    int rc = json_member(params, name, &v);
    if (rc == 0)
        return param_missing(template, name, err);
    if (rc < 0)
        return err_set(err, ERR_USAGE, "the parameter '%s' is given twice", name);
    if (v.kind == JSON_OBJECT || v.kind == JSON_ARRAY || v.kind == JSON_NULL)
        return err_set(err, ERR_USAGE,
                       "the parameter '%s' must be text or a number to stand in the source", name);
    *out = v.raw;
    if (v.kind == JSON_TEXT && !json_unescape(&v, arena, out))
        return err_set(err, ERR_USAGE, "the parameter '%s' is not valid text", name);
    return 0;
}

/* A value must not leave the folder that the template names, nor end the path early. */
static int param_check(const char *name, struct str v, struct err *err)
{
    if (memchr(v.p, '\0', v.n))
        return err_set(err, ERR_USAGE, "the parameter '%s' holds a zero byte", name);
    for (size_t at = 0; at <= v.n;) {
        const char *slash = at < v.n ? memchr(v.p + at, '/', v.n - at) : NULL;
        size_t end = slash ? (size_t)(slash - v.p) : v.n;
        if (end - at == 2 && !memcmp(v.p + at, "..", 2))
            return err_set(err, ERR_USAGE,
                           "the parameter '%s' must not hold '..' as a part of a path", name);
        at = end + 1;
    }
    return 0;
}

/* Unreserved characters (RFC 3986, 2.3) and '/' stay. */
static void put_encoded(struct buf *out, struct str v)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i], low = c | 32;
        if ((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~/", c)))
            buf_addc(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}

static int put_param(const char *template, const struct json_value *params, struct str name,
                     struct buf *out, struct err *err)
{
    AUTO(arena_clear) struct arena arena = { 0 };
    struct str v;
    char key[128];
    if (name.n == 0 || name.n >= sizeof key)
        return err_set(err, ERR_USAGE, "the source has a '{' with no parameter's name behind it");
    memcpy(key, name.p, name.n);
    key[name.n] = '\0';
    if (param_text(template, params, key, &arena, &v, err) < 0 || param_check(key, v, err) < 0)
        return -1;
    if (is_url(template))
        put_encoded(out, v);
    else
        buf_add(out, v.p, v.n);
    return 0;
}

int source_expand(const char *template, struct str params, struct buf *out, struct err *err)
{
    struct json_value object;
    struct json_fault fault;
    if (!json_check(params, &object, &fault) || object.kind != JSON_OBJECT)
        return err_set(err, ERR_USAGE, "the parameters are not a JSON object");
    for (const char *p = template; *p;) {
        size_t plain = strcspn(p, "{");
        buf_add(out, p, plain);
        p += plain;
        if (*p && p[1] == '{') {
            buf_addc(out, '{');
            p += 2;
        } else if (*p) {
            const char *end = strchr(p, '}');
            if (!end)
                return err_set(err, ERR_USAGE, "the source has a '{' without '}'");
            if (put_param(template, &object, (struct str){ p + 1, (size_t)(end - p - 1) }, out,
                          err) < 0)
                return -1;
            p = end + 1;
        }
    }
    buf_adds(out, "");
    if (out->failed)
        return err_nomem(err);
    if (source_is_relative(out->p))
        return err_set(err, ERR_USAGE,
                       "the source becomes '%s', which neither is a URI nor begins with '/'", out->p);
    return 0;
}

void source_basename(const char *uri, char *out, size_t cap)
{
    char name[PATH_MAX];
    struct str path = str_of(uri);
    bool url = is_url(uri);
    if (url) {
        const char *rest = uri + scheme_of(uri).n + 1;
        if (!strncmp(rest, "//", 2))
            rest += 2 + strcspn(rest + 2, "/?#"); /* the host is not a name */
        path = (struct str){ rest, strcspn(rest, "?#") };
    }
    const char *slash = memrchr(path.p, '/', path.n);
    struct str last =
        slash ? (struct str){ slash + 1, path.n - (size_t)(slash + 1 - path.p) } : path;
    if (last.n >= sizeof name)
        last.n = sizeof name - 1;
    if (url) {
        last.n = text_percent_decode(last, name);
    } else {
        memcpy(name, last.p, last.n);
        name[last.n] = '\0';
    }
    for (size_t i = 0; i < last.n; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127 || name[i] == '/')
            name[i] = '_';
    snprintf(out, cap, "%s", last.n ? name : "object");
}

bool source_is_relative(const char *typed)
{
    return *typed && typed[0] != '/' && !is_url(typed);
}

char *source_absolute(const char *typed)
{
    if (!source_is_relative(typed))
        return strdup(typed);
    AUTO(free_charp) char *here = getcwd(NULL, 0);
    char *out;
    while (!strncmp(typed, "./", 2))
        typed += 2 + strspn(typed + 2, "/");
    if (!here || asprintf(&out, "%s/%s", strcmp(here, "/") ? here : "", typed) < 0)
        return NULL;
    return out;
}
