/* The request of a try: secrets, headers and the options of libcurl. See fetch_transfer.h. */
#include "io/fetch_transfer.h"

#include <config.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "io/curl_guard.h"

enum { BUFFER = 256 * 1024 };

static bool add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *more = curl_slist_append(*list, text);
    if (more)
        *list = more;
    return more != NULL;
}

static int secret_header(struct transfer *t, struct str line)
{
    static const char *const ours[] = { "Range", "If-Range", "Accept-Encoding" };
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon)
        return transfer_fail(t, ERR_CONFIG, "header= of the remote has a line without ':'");
    struct str name = str_trim((struct str){ line.p, (size_t)(colon - line.p) });
    struct str v = str_trim((struct str){ colon + 1, line.n - (size_t)(colon + 1 - line.p) });
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (str_eq_nocase(name, str_of(ours[i])))
            return transfer_fail(
                t, ERR_CONFIG,
                "header= of the remote may not set %s, which every fetch sets itself", ours[i]);
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(secret_clear) char *value = NULL;
    AUTO(free_charp) char *reference = strndup(v.p, v.n);
    if (!reference)
        return transfer_fail(t, ERR_NO_MEMORY, "out of memory");
    if (config_secret(reference, &value, t->err) < 0) {
        t->failed = true;
        return err_in(t->err, "%s: header '%.*s'", t->shown, (int)(name.n < 40 ? name.n : 40),
                      name.p);
    }
    if (strpbrk(value, "\r\n"))
        return transfer_fail(t, ERR_CONFIG, "the value of header '%.*s' holds a line end",
                             (int)(name.n < 40 ? name.n : 40), name.p);
    buf_add(&text, name.p, name.n);
    buf_adds(&text, *value ? ": " : ";"); /* libcurl's way to send an empty header */
    buf_adds(&text, value);
    bool added = !text.failed && add_header(&t->secrets.headers, text.p);
    if (text.p)
        explicit_bzero(text.p, text.n);
    return added ? 0 : transfer_fail(t, ERR_NO_MEMORY, "out of memory");
}

static int read_secret(struct transfer *t, const char *what, const char *reference, char **out)
{
    if (!reference || config_secret(reference, out, t->err) == 0)
        return 0;
    t->failed = true;
    return err_in(t->err, "%s: %s of the remote", t->shown, what);
}

static int read_place(struct transfer *t)
{
    struct str bucket, key;
    if (strcmp(t->transport->scheme, "s3") != 0)
        return 0;
    if (s3_split(t->uri, &bucket, &key, t->err) < 0)
        return -1;
    if (!key.n)
        return transfer_fail(t, ERR_NOT_A_FILE, "this names a bucket");
    return s3_place_open(&t->secrets.s3, t->remote, bucket, t->err) < 0
               ? err_in(t->err, "%s", t->shown)
               : 0;
}

int transfer_secrets_read(struct transfer *t)
{
    const struct remote *r = t->remote;
    if (read_place(t) < 0)
        return -1;
    if (!r)
        return 0;
    if (read_secret(t, "user", r->user, &t->secrets.user) < 0 ||
        read_secret(t, "password", r->password, &t->secrets.password) < 0 ||
        read_secret(t, "proxy", r->proxy, &t->secrets.proxy) < 0)
        return -1;
    for (const char *line = t->transport->http ? r->header : NULL; line && *line;) {
        struct str s = { line, strcspn(line, "\n") };
        line += s.n + (line[s.n] == '\n');
        s = str_trim(s);
        if (s.n && secret_header(t, s) < 0)
            return -1;
    }
    return 0;
}

void transfer_secrets_clear(struct secrets *s)
{
    secret_clear(&s->user);
    secret_clear(&s->password);
    secret_clear(&s->proxy);
    s3_headers_free(s->headers);
    s->headers = NULL;
    s3_place_clear(&s->s3);
}

static int request_headers(struct transfer *t)
{
    char line[320];
    /* The bytes as they are stored are the object. Some S3 stores change this header on its way, so
     * that its signature breaks. */
    bool ok = IS_S3(t) ? s3_place_headers(&t->secrets.s3, S3_NO_BODY, &t->headers)
                       : add_header(&t->headers, "Accept-Encoding: identity");
    for (struct curl_slist *h = t->same_place ? t->secrets.headers : NULL; ok && h; h = h->next)
        ok = add_header(&t->headers, h->data);
    if (ok && t->from > 0) {
        snprintf(line, sizeof line, "Range: bytes=%" PRId64 "-", t->from);
        ok = add_header(&t->headers, line);
        snprintf(line, sizeof line, "If-Range: %s",
                 http_etag_strong(t->known.etag) ? t->known.etag : t->known.modified);
        ok = ok && add_header(&t->headers, line);
    }
    if (ok && t->unless && t->from == 0) {
        bool by_etag = *t->unless->etag;
        snprintf(line, sizeof line, "%s: %s", by_etag ? "If-None-Match" : "If-Modified-Since",
                 by_etag ? t->unless->etag : t->unless->modified);
        ok = add_header(&t->headers, line);
    }
    if (!ok)
        return transfer_fail(t, ERR_NO_MEMORY, "out of memory");
    return curl_easy_setopt(t->f->easy, CURLOPT_HTTPHEADER, t->headers)
               ? transfer_fail(t, ERR_NO_MEMORY, "out of memory")
               : 0;
}

/* The sockets of logins are remembered while they are open, for fetch_rest(). */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct fetch *f = arg;
    curl_socket_t s = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    (void)purpose;
    if (s >= 0 && f->nsockets < SOCKETS_MAX)
        f->sockets[f->nsockets++] = s;
    return s < 0 ? CURL_SOCKET_BAD : s;
}

static int close_socket(void *arg, curl_socket_t s)
{
    struct fetch *f = arg;
    for (int i = 0; i < f->nsockets; i++)
        if (f->sockets[i] == s)
            f->sockets[i--] = f->sockets[--f->nsockets];
    return close(s);
}

static CURLcode set_sockets(struct transfer *t)
{
    CURL *e = t->f->easy;
    CURLcode bad = curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    bad |= curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t->f);
    bad |= curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    bad |= curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, t->f);
    return bad;
}

static CURLcode set_common(struct transfer *t)
{
    CURL *e = t->f->easy;
    int bad = curl_guard(e, t->fault, t->f->limits.connect_timeout_ms);
    bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR,
                            t->transport->http ? "http,https" : t->transport->protocols);
    bad |= curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    bad |= curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_FILETIME, 1L);
    return bad ? CURLE_OUT_OF_MEMORY : CURLE_OK;
}

static CURLcode set_security(struct transfer *t)
{
    CURL *e = t->f->easy;
    const struct remote *r = t->remote;
    int bad = 0;
    if (!t->transport->http && t->transport->tls)
        bad |= curl_easy_setopt(e, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL);
    if (!t->transport->http)
        bad |= curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L);
    if (t->secrets.proxy)
        bad |= curl_easy_setopt(e, CURLOPT_PROXY, t->secrets.proxy);
    if (IS_S3(t))
        bad |= s3_place_sign(&t->secrets.s3, e);
    else if (t->same_place && t->secrets.user)
        bad |= curl_easy_setopt(e, CURLOPT_USERNAME, t->secrets.user);
    if (!IS_S3(t) && t->same_place && t->secrets.password)
        bad |= curl_easy_setopt(e, CURLOPT_PASSWORD, t->secrets.password);
    if (r && r->ca_file) {
        bad |= curl_easy_setopt(e, CURLOPT_CAINFO, r->ca_file);
        bad |= curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, r->ca_file);
    }
    return bad ? CURLE_OUT_OF_MEMORY : CURLE_OK;
}

static CURLcode set_ssh(struct transfer *t)
{
    CURL *e = t->f->easy;
    const struct remote *r = t->remote;
    const char *pin = r->host_key_sha256;
    int bad = 0;
    if (pin && !strncasecmp(pin, "SHA256:", 7)) /* as ssh-keygen -l writes it */
        pin += 7;
    if (r->known_hosts)
        bad |= curl_easy_setopt(e, CURLOPT_SSH_KNOWNHOSTS, r->known_hosts);
    if (pin)
        bad |= curl_easy_setopt(e, CURLOPT_SSH_HOST_PUBLIC_KEY_SHA256, pin);
    if (r->private_key) {
        bad |= curl_easy_setopt(e, CURLOPT_SSH_AUTH_TYPES, (long)CURLSSH_AUTH_PUBLICKEY);
        bad |= curl_easy_setopt(e, CURLOPT_SSH_PRIVATE_KEYFILE, r->private_key);
        if (t->secrets.password)
            bad |= curl_easy_setopt(e, CURLOPT_KEYPASSWD, t->secrets.password);
    } else {
        bad |= curl_easy_setopt(e, CURLOPT_SSH_AUTH_TYPES,
                                (long)(CURLSSH_AUTH_PASSWORD | CURLSSH_AUTH_KEYBOARD));
    }
    return bad ? CURLE_OUT_OF_MEMORY : CURLE_OK;
}

/*
 * A handle that knows nothing of the last request. libcurl 7.88 leaves the buffer of a transfer
 * that got no connection (its host was not resolved) on the handle, even over a reset, and then
 * refuses to size it: such a handle is replaced. Connections belong to the multi handle and stay.
 */
static bool clean_handle(struct fetch *f)
{
    curl_easy_reset(f->easy);
    if (curl_easy_setopt(f->easy, CURLOPT_BUFFERSIZE, (long)BUFFER) == CURLE_OK)
        return true;
    CURL *fresh = curl_easy_init();
    if (!fresh)
        return false;
    curl_easy_cleanup(f->easy);
    f->easy = fresh;
    return curl_easy_setopt(fresh, CURLOPT_BUFFERSIZE, (long)BUFFER) == CURLE_OK;
}

/* What makes a question out of a transfer. Orders go out behind the CWD to the URL's folder. */
static CURLcode set_question(struct transfer *t)
{
    if (t->ask == ASK_LISTING)
        return curl_easy_setopt(t->f->easy, CURLOPT_CUSTOMREQUEST, t->command);
    if (t->ask == ASK_OBJECT)
        return CURLE_OK;
    CURLcode rc = curl_easy_setopt(t->f->easy, CURLOPT_NOBODY, 1L);
    return rc ? rc : curl_easy_setopt(t->f->easy, CURLOPT_PREQUOTE, t->orders);
}

int transfer_request(struct transfer *t)
{
    if (!clean_handle(t->f))
        return transfer_fail(t, ERR_NO_MEMORY, "out of memory");
    CURL *e = t->f->easy;
    if (set_common(t) || (!t->transport->http && set_sockets(t)) || set_security(t) || (t->transport->ssh && set_ssh(t)) || set_question(t) ||
        curl_easy_setopt(e, CURLOPT_URL, t->url))
        return transfer_fail(
            t, ERR_NO_MEMORY,
            "the transfer could not be set up (out of memory, or libcurl lacks a feature)");
    if (t->transport->http)
        return request_headers(t);
    return curl_easy_setopt(e, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->from)
               ? transfer_fail(t, ERR_NO_MEMORY, "out of memory")
               : 0;
}

/* ftps: TLS from the first byte on port 990, which is the default; on every other port by AUTH TLS,
 * before the login. */
static bool explicit_tls(const struct transfer *t, const char *host)
{
    size_t n = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', n), *bracket = memchr(host, ']', n);
    const char *from = bracket ? bracket : at ? at : host;
    const char *colon = memchr(from, ':', (size_t)(host + n - from));
    return !t->transport->http && t->transport->tls && colon && strtol(colon + 1, NULL, 10) != 990;
}

bool transfer_first_url(struct transfer *t)
{
    const char *host = strstr(t->uri, "://") + 3;
    free(t->url);
    t->url = NULL;
    if (!IS_S3(t))
        return asprintf(&t->url, "%s://%s", explicit_tls(t, host) ? "ftp" : t->transport->scheme,
                        host) >= 0;
    struct buf url = { 0 };
    AUTO(buf_clear) struct buf key = { 0 };
    s3_decode(&key, str_of(host + strcspn(host, "/") + 1));
    if (key.failed || !s3_place_url(&t->secrets.s3, buf_str(&key), NULL, &url)) {
        buf_clear(&url);
        return false;
    }
    t->url = url.p;
    return true;
}
