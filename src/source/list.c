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

int list_no_file(const struct list_ask *ask, const struct list_sink *sink, struct glob_work *work, struct buf *path, struct buf *uri,
                 const char *why, struct err *err)
{
    size_t n = path->n;
    if (!sink->no_file)
        return 0;
    int asks = glob_match(ask->glob, work, buf_str(path), NULL);
    if (asks == 0) {
        buf_addc(path, '/');
        asks = path->failed ? -1 : glob_leads(ask->glob, work, buf_str(path));
    }
    path->n = n;
    if (asks <= 0)
        return asks < 0 ? err_nomem(err) : 0;
    buf_reset(uri);
    list_uri(ask->base, buf_str(path), uri);
    if (uri->failed)
        return err_nomem(err);
    sink->no_file(sink->arg, uri->p, why);
    return 0;
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
    struct fetch *fetch[LINKS];
    struct sftp_link {
        struct sftp *s;
        char *base;
        const struct remote *remote;
        int64_t used_mono_ms;
    } sftp[LINKS];
    bool under_way;
    struct s3 *s3;
    const struct remote *s3_remote;
    char *s3_base;
    struct buf plain; /* bases, each with a zero byte behind it */
};

static void sftp_drop(struct sftp_link *k)
{
    sftp_close(k->s);
    free(k->base);
    *k = (struct sftp_link){ 0 };
}

int list_links_open(struct list_links **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : err_nomem(err);
}

void list_links_close(struct list_links *l)
{
    if (!l)
        return;
    for (int i = 0; i < LINKS; i++) {
        fetch_close(l->fetch[i]);
        sftp_drop(&l->sftp[i]);
    }
#ifdef HAVE_S3
    list_s3_drop(l);
#endif
    buf_clear(&l->plain);
    free(l);
}

void list_links_rest(struct list_links *l)
{
    for (int i = 0; l && i < LINKS; i++) {
        if (l->fetch[i])
            fetch_rest(l->fetch[i]);
        if (l->sftp[i].s && l->sftp[i].remote && l->sftp[i].remote->connections)
            sftp_drop(&l->sftp[i]);
    }
}

void list_under_way(struct list_links *l, bool yes) { l->under_way = yes; }

struct fetch *list_fetch(struct list_links *l, const struct config *config, enum list_link which, struct err *err)
{
    if (which == LINK_ASK && !l->under_way)
        which = LINK_LIST;
    if (!l->fetch[which] && fetch_open(&l->fetch[which], &config->limits, err) < 0)
        return NULL;
    return l->fetch[which];
}

int list_remote(const struct list_ask *ask, struct str path, const struct remote **out, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    list_uri(ask->base, ask->login.n ? ask->login : path, &uri);
    if (uri.failed)
        return err_nomem(err);
    *out = config_remote(ask->config, uri.p);
    return 0;
}

static bool is_logged_in(const struct sftp_link *k, const char *base, const struct remote *remote)
{
    return k->s && !sftp_is_broken(k->s) && k->remote == remote && !strcmp(k->base, base);
}

/* Does the server still answer, whatever it says? */
static bool is_alive(struct sftp_link *k)
{
    struct sftp_entry e;
    struct err err;
    if (sys_mono_ms() - k->used_mono_ms >= IDLE_MS)
        (void)sftp_look(k->s, STR("/"), &e, &err);
    return !sftp_is_broken(k->s);
}

static int log_in(struct sftp_link *k, const struct list_ask *ask, const struct remote *remote, const struct sftp_wait *wait, struct err *err)
{
    sftp_drop(k);
    k->remote = remote;
    k->base = strdup(ask->base);
    return k->base ? sftp_open(&k->s, ask->base, remote, &ask->config->limits, wait, err) : err_nomem(err);
}

struct sftp *list_sftp_session(const struct list_ask *ask, struct str path, enum list_link which, void *arg, struct err *err)
{
    const struct sftp_link *listing = &ask->links->sftp[LINK_LIST];
    struct sftp_link *k = &ask->links->sftp[which];
    const struct sftp_wait wait = { ask->go_on, arg };
    const struct remote *remote;
    if (list_remote(ask, path, &remote, err) < 0)
        return NULL;
    if (which == LINK_ASK && is_logged_in(listing, ask->base, remote))
        return listing->s;
    if (k->s)
        sftp_wait_by(k->s, &wait);
    if ((!is_logged_in(k, ask->base, remote) || !is_alive(k)) && log_in(k, ask, remote, &wait, err) < 0)
        return NULL;
    k->used_mono_ms = sys_mono_ms();
    return k->s;
}

#ifdef HAVE_S3
void list_s3_drop(struct list_links *l)
{
    s3_close(l->s3);
    free(l->s3_base);
    l->s3 = NULL;
    l->s3_base = NULL;
}

static int s3_open_for(struct list_links *l, const struct list_ask *ask, struct err *err)
{
    struct str bucket, key;
    l->s3_base = strdup(ask->base);
    if (!l->s3_base)
        return err_nomem(err);
    if (s3_split(ask->base, &bucket, &key, err) < 0)
        return -1;
    return s3_open(&l->s3, l->s3_remote, bucket, &ask->config->limits, err);
}

struct s3 *list_s3_store(const struct list_ask *ask, struct str path, struct err *err)
{
    struct list_links *l = ask->links;
    const struct remote *remote;
    if (list_remote(ask, path, &remote, err) < 0)
        return NULL;
    if (l->s3 && l->s3_remote == remote && !strcmp(l->s3_base, ask->base))
        return l->s3;
    list_s3_drop(l);
    l->s3_remote = remote;
    if (s3_open_for(l, ask, err) < 0)
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
