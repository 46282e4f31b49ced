/* Names, URLs and signatures of S3 stores. See s3_place.h. Nothing here is kept on disk. */
#include "io/s3_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* ---- names ---- */

int s3_split(const char *uri, struct str *bucket, struct str *key, struct err *err)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (strncasecmp(uri, "s3://", 5) != 0)
        return err_set(err, ERR_URI, "'%s': expected s3://BUCKET/PREFIX", uri);
    size_t n = strcspn(uri + 5, "/");
    if (!n || strspn(uri + 5, good) < n)
        return err_set(err, ERR_URI, "'%s': the name of a bucket has letters, digits, '.', '-' and '_'", uri);
    *bucket = (struct str){ uri + 5, n };
    *key = str_of(uri + 5 + n + (uri[5 + n] == '/'));
    return 0;
}

void s3_decode(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned byte;
        char hex[3] = { 0 };
        if (s.p[i] == '%' && s.n - i > 2)
            memcpy(hex, s.p + i + 1, 2);
        if (strspn(hex, "0123456789abcdefABCDEF") == 2 && sscanf(hex, "%x", &byte) == 1) {
            buf_addc(out, (char)byte);
            i += 2;
        } else {
            buf_addc(out, s.p[i]);
        }
    }
}

void s3_encode(struct buf *out, struct str s, bool keep_slash)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    for (size_t i = 0; i < s.n; i++) {
        if ((s.p[i] && strchr(plain, s.p[i])) || (keep_slash && s.p[i] == '/'))
            buf_addc(out, s.p[i]);
        else
            buf_addf(out, "%%%02X", (unsigned char)s.p[i]);
    }
}

/* ---- requests ---- */

bool s3_header(struct curl_slist **list, const char *before, const char *value)
{
    AUTO(buf_clear) struct buf line = { 0 };
    buf_adds(&line, before);
    buf_adds(&line, value);
    struct curl_slist *more = line.failed ? NULL : curl_slist_append(*list, line.p);
    if (line.p)
        explicit_bzero(line.p, line.n);
    if (more)
        *list = more;
    return more != NULL;
}

void s3_headers_free(struct curl_slist *list)
{
    for (struct curl_slist *h = list; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(list);
}

bool s3_place_url(const struct s3_place *p, struct str key, const char *query, struct buf *out)
{
    buf_adds(out, p->base);
    buf_addc(out, '/');
    s3_encode(out, key, true);
    if (query) {
        buf_addc(out, '?');
        buf_adds(out, query);
    }
    return !out->failed;
}

bool s3_place_headers(const struct s3_place *p, const char *hash, struct curl_slist **list)
{
    return s3_header(list, "x-amz-content-sha256: ", hash) &&
           (!p->token || s3_header(list, "x-amz-security-token: ", p->token));
}

int s3_place_sign(const struct s3_place *p, CURL *easy)
{
    int bad = 0;
    bad |= (int)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a key may hold ".." */
    if (p->access_key) {
        bad |= (int)curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, p->provider);
        bad |= (int)curl_easy_setopt(easy, CURLOPT_USERNAME, p->access_key);
        bad |= (int)curl_easy_setopt(easy, CURLOPT_PASSWORD, p->secret_key);
    }
    return bad;
}

/* ---- open ---- */

static int read_secret(const char *what, const char *reference, char **out, struct err *err)
{
    if (!reference || config_secret(reference, out, err) == 0)
        return 0;
    return err_in(err, "%s of the remote", what);
}

static int read_secrets(struct s3_place *p, const struct remote *r, struct err *err)
{
    if (!r)
        return 0;
    if (!r->access_key != !r->secret_key)
        return err_set(err, ERR_CONFIG, "[remote %s]: access_key and secret_key are given together, or not at all",
                       r->name);
    if (read_secret("access_key", r->access_key, &p->access_key, err) < 0 ||
        read_secret("secret_key", r->secret_key, &p->secret_key, err) < 0 ||
        read_secret("session_token", r->session_token, &p->token, err) < 0)
        return -1;
    if (p->token && strpbrk(p->token, "\r\n"))
        return err_set(err, ERR_CONFIG, "[remote %s]: session_token holds a line end", r->name);
    return 0;
}

/* The bucket as a host of its own, or as the first part of the path. */
static int set_base(struct s3_place *p, const struct remote *r, struct str bucket, const char *region, struct err *err)
{
    AUTO(buf_clear) struct buf base = { 0 };
    AUTO(buf_clear) struct buf endpoint = { 0 };
    bool in_path = r && (r->path_style == PATH_STYLE_AUTO ? r->endpoint != NULL : r->path_style == PATH_STYLE_YES);
    if (r && r->endpoint)
        buf_adds(&endpoint, r->endpoint);
    else
        buf_addf(&endpoint, "https://s3.%s.amazonaws.com", region);
    if (endpoint.failed)
        return err_nomem(err);
    while (endpoint.n && endpoint.p[endpoint.n - 1] == '/')
        endpoint.p[--endpoint.n] = '\0';
    const char *host = strstr(endpoint.p, "://");
    if (!host || (strncasecmp(endpoint.p, "http://", 7) != 0 && strncasecmp(endpoint.p, "https://", 8) != 0))
        return err_set(err, ERR_CONFIG, "[remote %s]: endpoint begins with http:// or https://", r ? r->name : "");
    host += 3;
    if (in_path)
        buf_addf(&base, "%s/%.*s", endpoint.p, (int)bucket.n, bucket.p);
    else
        buf_addf(&base, "%.*s%.*s.%s", (int)(host - endpoint.p), endpoint.p, (int)bucket.n, bucket.p, host);
    if (base.failed)
        return err_nomem(err);
    p->base = base.p;
    base.p = NULL;
    return 0;
}

int s3_place_open(struct s3_place *out, const struct remote *remote, struct str bucket, struct err *err)
{
    const char *region = remote && remote->region ? remote->region : "us-east-1";
    struct s3_place p = { 0 };
    if (asprintf(&p.name, "s3://%.*s", (int)bucket.n, bucket.p) < 0)
        p.name = NULL;
    if (asprintf(&p.provider, "aws:amz:%s:s3", region) < 0)
        p.provider = NULL;
    int rc = p.name && p.provider ? 0 : err_nomem(err);
    if (rc < 0 || set_base(&p, remote, bucket, region, err) < 0 || read_secrets(&p, remote, err) < 0) {
        s3_place_clear(&p);
        return -1;
    }
    *out = p;
    return 0;
}

void s3_place_clear(struct s3_place *p)
{
    secret_clear(&p->access_key);
    secret_clear(&p->secret_key);
    secret_clear(&p->token);
    free(p->base);
    free(p->name);
    free(p->provider);
    *p = (struct s3_place){ 0 };
}
