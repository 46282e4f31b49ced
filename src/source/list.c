/* The table of listers, and what all of them need. See list.h. */
#include "source/list.h"

#include <config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/fetch.h"
#include "io/s3.h"
#include "io/sftp.h"

static const struct lister *const listers[] = {
    &list_dir,
    &list_http,
    &list_manifest,
#ifdef HAVE_S3
    &list_s3,
#endif
    &list_ftp,
    &list_sftp,
};

static bool has_scheme(const struct lister *l, struct str scheme)
{
    for (const char *const *s = l->schemes; *s; s++)
        if (str_eq_nocase(str_of(*s), scheme))
            return true;
    return false;
}

const struct lister *list_by_base(const char *base, struct err *err)
{
    const char *end = strstr(base, "://");
    struct str scheme = { base, end ? (size_t)(end - base) : 0 };
    AUTO(buf_clear) struct buf known = { 0 };
    for (size_t i = 0; i < COUNT_OF(listers); i++) {
        if (has_scheme(listers[i], scheme))
            return listers[i];
        for (const char *const *s = listers[i]->schemes; *s; s++)
            buf_addf(&known, "%s%s%s", known.n ? ", " : "", **s ? *s : "local paths", **s ? "://" : "");
    }
    err_set(err, ERR_URI, "'%.*s://' cannot be listed; what can: %s", (int)scheme.n, scheme.p, known.failed ? "local paths" : known.p);
    return NULL;
}

int list_offer(const struct list_ask *ask, const struct list_sink *sink, struct glob_work *work, struct str path, struct listed *o,
               struct err *err)
{
    int rc = glob_match(ask->glob, work, path, o->captures);
    if (rc <= 0)
        return rc < 0 ? err_nomem(err) : 0;
    const char *slash = memrchr(path.p, '/', path.n);
    o->path = path;
    o->name = slash ? (struct str){ slash + 1, path.n - (size_t)(slash + 1 - path.p) } : path;
    return sink->object(sink->arg, o, err);
}

/* Can it stand in a line of text, and in JSON, as it is? */
static bool is_plain(struct str path)
{
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] < ' ' || path.p[i] == 127)
            return false;
    return text_utf8_valid(path) == path.n;
}

void list_uri(const char *base, struct str path, struct buf *out)
{
    if (!*base && is_plain(path)) {
        buf_add(out, path.p, path.n);
        return;
    }
    buf_adds(out, *base ? base : "file://");
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i], low = c | 32;
        if ((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~/", c)))
            buf_addc(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}

void list_path(struct str path, struct buf *out)
{
    for (size_t i = 0; i < path.n; i++) {
        unsigned hex;
        bool byte = path.p[i] == '%' && i + 2 < path.n && sscanf((char[]){ path.p[i + 1], path.p[i + 2], '\0' }, "%2x", &hex) == 1 && hex;
        buf_addc(out, byte ? (char)hex : path.p[i]);
        i += byte ? 2 : 0;
    }
}

/* ---- links ---- */

enum { IDLE_MS = 5000 }; /* a session that rested longer may be gone, and is tried before it is used */

struct list_links {
    struct fetch *fetch[2];
    struct sftp *sftp;
    char *sftp_base;
    int64_t sftp_mono_ms; /* its last use */
    struct s3 *s3;
    const struct remote *s3_remote;
    char *s3_base;
    struct buf plain; /* bases, each with a zero byte behind it */
};

int list_links_open(struct list_links **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_nomem(err);
}

void list_links_close(struct list_links *l)
{
    if (!l)
        return;
    fetch_close(l->fetch[0]);
    fetch_close(l->fetch[1]);
    sftp_close(l->sftp);
    free(l->sftp_base);
#ifdef HAVE_S3
    list_s3_drop(l);
#endif
    buf_clear(&l->plain);
    free(l);
}

struct fetch *list_fetch(struct list_links *l, const struct config *config, int which, struct err *err)
{
    if (!l->fetch[which] && fetch_open(&l->fetch[which], &config->limits, err) < 0)
        return NULL;
    return l->fetch[which];
}

/* Does the server still answer? */
static bool is_alive(struct list_links *l)
{
    struct sftp_entry e;
    struct err err;
    return !sftp_is_broken(l->sftp) && (sys_mono_ms() - l->sftp_mono_ms < IDLE_MS || sftp_look(l->sftp, STR("/"), &e, &err) >= 0);
}

struct sftp *list_sftp_session(const struct list_ask *ask, void *arg, struct err *err)
{
    struct list_links *l = ask->links;
    struct sftp_wait wait = { ask->go_on, arg };
    if (l->sftp)
        sftp_wait_by(l->sftp, &wait);
    if (l->sftp && (strcmp(l->sftp_base, ask->base) != 0 || !is_alive(l))) {
        sftp_close(l->sftp);
        l->sftp = NULL;
    }
    if (!l->sftp) {
        free(l->sftp_base);
        l->sftp_base = strdup(ask->base);
        if (!l->sftp_base) {
            err_nomem(err);
            return NULL;
        }
        if (sftp_open(&l->sftp, ask->base, config_remote(ask->config, ask->base), &ask->config->limits, &wait, err) < 0)
            return NULL;
    }
    l->sftp_mono_ms = sys_mono_ms();
    return l->sftp;
}

#ifdef HAVE_S3
void list_s3_drop(struct list_links *l)
{
    s3_close(l->s3);
    free(l->s3_base);
    l->s3 = NULL;
    l->s3_base = NULL;
}

static int s3_open_for(struct list_links *l, const char *uri, const struct list_ask *ask, struct err *err)
{
    struct str bucket, key;
    l->s3_base = strdup(ask->base);
    if (!l->s3_base)
        return err_nomem(err);
    if (s3_split(uri, &bucket, &key, err) < 0)
        return -1;
    return s3_open(&l->s3, l->s3_remote, bucket, &ask->config->limits, err);
}

struct s3 *list_s3_store(const struct list_ask *ask, struct str path, struct err *err)
{
    struct list_links *l = ask->links;
    AUTO(buf_clear) struct buf uri = { 0 };
    list_uri(ask->base, path, &uri);
    if (uri.failed) {
        err_nomem(err);
        return NULL;
    }
    const struct remote *remote = config_remote(ask->config, uri.p);
    if (l->s3 && l->s3_remote == remote && !strcmp(l->s3_base, ask->base))
        return l->s3;
    list_s3_drop(l);
    l->s3_remote = remote;
    if (s3_open_for(l, uri.p, ask, err) < 0)
        list_s3_drop(l);
    return l->s3;
}
#endif

int list_folders(const struct list_ask *ask, struct str path, int (*one)(const struct list_ask *ask, struct str folder, struct err *err),
                 struct err *err)
{
    for (size_t i = 1; i < path.n; i++)
        if (path.p[i] == '/' && one(ask, (struct str){ path.p, i }, err) < 0)
            return -1;
    return 0;
}

bool list_is_plain(const struct list_links *l, const char *base)
{
    for (size_t at = 0; at < l->plain.n; at += strlen(l->plain.p + at) + 1)
        if (!strcmp(l->plain.p + at, base))
            return true;
    return false;
}

bool list_set_plain(struct list_links *l, const char *base)
{
    if (!list_is_plain(l, base))
        buf_add(&l->plain, base, strlen(base) + 1);
    return !l->plain.failed;
}
