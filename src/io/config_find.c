/* What is found in a config by name, or by URI. See config.h. */
#include "io/config_build.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

const char *config_pipeline_name(const void *c, int i)
{
    return i < ((const struct config *)c)->npipelines
               ? ((const struct config *)c)->pipelines[i].name
               : NULL;
}

const struct pipeline *config_pipeline(const struct config *c, const char *name)
{
    for (int i = 0; i < c->npipelines; i++)
        if (strcmp(c->pipelines[i].name, name) == 0)
            return &c->pipelines[i];
    return NULL;
}

int config_no_pipeline(const struct config *c, const char *name, struct err *err)
{
    char hint[200];
    nearest(hint, sizeof hint, name, config_pipeline_name, c);
    return err_set(err, ERR_NOT_FOUND, "there is no [pipeline %s] in %s%s", name, c->path, hint);
}

static const char *next_stream(const void *config, int i)
{
    const struct config *c = config;
    for (int k = 0; k < c->npipelines; k++)
        if (c->pipelines[k].scan.stream && i-- == 0)
            return c->pipelines[k].scan.stream;
    return NULL;
}

const struct pipeline *config_stream(const struct config *c, const char *name, struct err *err)
{
    char hint[200];
    for (int i = 0; i < c->npipelines; i++)
        if (c->pipelines[i].scan.stream && !strcmp(c->pipelines[i].scan.stream, name))
            return &c->pipelines[i];
    nearest(hint, sizeof hint, name, next_stream, c);
    err_set(err, ERR_NOT_FOUND, "no pipeline in %s has source = stream:%.64s%s", c->path, name, hint);
    return NULL;
}

/* Bits of the parts that must be there before part i. */
static unsigned part_needs(const struct recipe *r)
{
    return r->takes_late ? 1u << r->late_part : r->reads;
}

void pipeline_order(const struct pipeline *p, int order[CONFIG_PARTS_MAX])
{
    unsigned done = 0;
    for (int n = 0; n < p->nparts;)
        for (int i = 0; i < p->nparts; i++) {
            if (done >> i & 1 || part_needs(&p->parts[i]) & ~done)
                continue;
            done |= 1u << i;
            order[n++] = i;
        }
}

const char *config_target_name(const void *c, int i)
{
    return i < ((const struct config *)c)->ntargets ? ((const struct config *)c)->targets[i].name
                                                    : NULL;
}

const char *config_place(const struct key_place *places, const char *key)
{
    while (places && places->key && strcmp(places->key, key) != 0)
        places++;
    return places ? places->at : "";
}

const struct target_config *config_target(const struct config *c, const char *name)
{
    for (int i = 0; i < c->ntargets; i++)
        if (strcmp(c->targets[i].name, name) == 0)
            return &c->targets[i];
    return NULL;
}

const struct enrich_config *config_enrich(const struct config *c, const char *name)
{
    for (int i = 0; i < c->nenriches; i++)
        if (strcmp(c->enriches[i].name, name) == 0)
            return &c->enriches[i];
    return NULL;
}

int config_enriched(const struct config *c, const struct recipe *r, const struct columns *in, struct columns *out, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(columns_clear) struct columns all = { 0 };
    columns_print(in, &text);
    if (text.failed)
        return err_nomem(err);
    if (columns_parse(&all, text.p, err) < 0)
        return -1;
    for (int k = 0; k < r->nenrich; k++) {
        const struct enrich_config *e = config_enrich(c, r->enrich[k]);
        if (!e)
            return err_set(err, ERR_CONFIG, "there is no [enrich %s]", r->enrich[k]);
        for (int n = 0; n < e->ninputs; n++)
            if (columns_find(&all, str_of(e->inputs[n])) < 0)
                return err_set(err, ERR_CONFIG, "[enrich %s] takes '%s', which is not among the columns", e->name, e->inputs[n]);
        for (int n = 0; n < e->columns.n; n++)
            if (columns_find(&all, str_of(e->columns.v[n].name)) >= 0)
                return err_set(err, ERR_CONFIG, "[enrich %s] adds '%s', which is among the columns already", e->name, e->columns.v[n].name);
        buf_adds(&text, ", ");
        columns_print(&e->columns, &text);
        columns_clear(&all);
        if (text.failed)
            return err_nomem(err);
        if (columns_parse(&all, text.p, err) < 0)
            return -1;
    }
    *out = all;
    all = (struct columns){ 0 };
    return 0;
}

const struct target_config *config_archive(const struct config *c, const struct pipeline *p, const char **folder)
{
    size_t n = p->archive ? strcspn(p->archive, "/") : 0;
    for (int i = 0; n && i < c->ntargets; i++)
        if (strlen(c->targets[i].name) == n && !strncmp(c->targets[i].name, p->archive, n)) {
            *folder = p->archive + n + (p->archive[n] == '/');
            return &c->targets[i];
        }
    return NULL;
}

/* The byte there, "%XX" being one (RFC 3986, 2.1). */
static char next_byte(const char **at)
{
    const char *p = *at;
    int high = *p == '%' ? text_hex(p[1]) : -1, low = high < 0 ? -1 : text_hex(p[2]);
    *at += low < 0 ? 1 : 3;
    return low < 0 ? *p : (char)(high * 16 + low);
}

/* However the two are percent-encoded. */
static bool path_begins(const char *with, const char *path)
{
    while (*with)
        if (!*path || next_byte(&with) != next_byte(&path))
            return false;
    return true;
}

struct authority {
    struct str hosts; /* host[:port], or several with commas between: https://www.postgresql.org/docs/15/libpq-connect.html, 34.1.1.3 */
    const char *path;
};

/* Is it a url of that scheme? NULL: of any. */
static bool authority_of(struct authority *out, const char *url, const char *scheme)
{
    const char *at = uri_behind_scheme(url), *host;
    if (!at || (scheme && strncasecmp(url, scheme, (size_t)(at - url)) != 0))
        return false;
    (void)uri_userinfo(at, &host);
    *out = (struct authority){ .hosts = { host, strcspn(host, "/?#") } };
    out->path = host + out->hosts.n;
    return true;
}

/* The next host of a list; false: there is none. *rest begins as the list. */
static bool next_host(struct str *rest, struct str *host)
{
    if (!rest->p)
        return false;
    const char *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;
    *host = (struct str){ rest->p, comma ? (size_t)(comma - rest->p) : rest->n };
    *rest = comma ? (struct str){ comma + 1, rest->n - host->n - 1 } : (struct str){ NULL, 0 };
    return true;
}

/* How many of these hosts are in that list? *all: each of them. */
static int hosts_listed(struct str hosts, struct str list, bool *all)
{
    int n = 0;
    struct str host, other;
    for (*all = true; next_host(&hosts, &host);) {
        bool found = false;
        for (struct str rest = list; !found && next_host(&rest, &other);)
            found = host.n == other.n && strncasecmp(host.p, other.p, host.n) == 0;
        *all &= found;
        n += found;
    }
    return n;
}

/* Does url begin uri? https://host/ begins https://host, too: that is how the base of a pattern has it. */
static bool url_begins(const char *url, const char *uri)
{
    struct authority u, v;
    bool all;
    if (!authority_of(&v, uri, NULL) || !authority_of(&u, url, uri))
        return false;
    (void)hosts_listed(v.hosts, u.hosts, &all);
    return all && (path_begins(u.path, v.path) || (!*v.path && !strcmp(u.path, "/")));
}

/* Of two that fit, the one with the longer path, then with fewer hosts. */
static bool fits_better(const char *url, const char *than)
{
    struct authority a = { 0 }, b = { 0 };
    (void)authority_of(&a, url, NULL);
    (void)authority_of(&b, than, NULL);
    size_t na = strlen(a.path), nb = strlen(b.path);
    return na > nb || (na == nb && a.hosts.n < b.hosts.n);
}

const struct remote *config_remote(const struct config *c, const char *uri)
{
    const struct remote *best = NULL;
    for (int i = 0; i < c->nremotes; i++) {
        const struct remote *r = &c->remotes[i];
        if (r->url && url_begins(r->url, uri) && (!best || fits_better(r->url, best->url)))
            best = r;
    }
    return best;
}

const struct remote *config_remote_of_some(const struct config *c, const char *uri)
{
    struct authority u, v;
    bool all;
    if (config_remote(c, uri) || !authority_of(&v, uri, NULL) || !v.hosts.n)
        return NULL;
    for (int i = 0; i < c->nremotes; i++)
        if (c->remotes[i].url && authority_of(&u, c->remotes[i].url, uri) && (!u.hosts.n || (hosts_listed(v.hosts, u.hosts, &all) && !all)))
            return &c->remotes[i];
    return NULL;
}

const char *config_remote_name(const struct config *c, const char *uri, char *buf, size_t cap)
{
    const char *authority = uri_behind_scheme(uri), *host;
    if (!authority || !strncasecmp(uri, "file:", 5))
        return NULL;
    const struct remote *r = config_remote(c, uri);
    if (r)
        return r->name;
    (void)uri_userinfo(authority, &host);
    int n = snprintf(buf, cap, "%.*s%.*s", (int)(authority - uri), uri, (int)strcspn(host, "/?#"), host);
    if (n < 0 || (size_t)n >= cap)
        return NULL;
    for (char *p = buf; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return buf;
}
