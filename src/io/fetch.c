/*
 * Transfers by libcurl's multi interface, one at a time, on one handle that keeps its connections.
 *
 * A transfer is a row of tries. Each try has its own request and answer; what lasts over them is
 * the version whose bytes the sink has (`known`) and how far (`pos`). No byte of an answer goes to
 * the sink before judge() has proven that it belongs to that version at that place.
 *
 * libcurl's own redirects, resume checks and speed limits are not used: its redirects carry headers
 * of ours to other hosts, its resume glues versions together, its low-speed limit does not know
 * bytes that we ourselves hold back, and its rate limit lets megabytes pass before it looks (7.88:
 * 4 MB at 1 MB/s took 30 ms).
 *
 * If power fails: nothing is kept here. The spool decides what counts (io/spool.h).
 */
#include "io/fetch.h"

#include <config.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/http_head.h"
#include "io/s3_place.h"

enum {
    TICK_MS = 100,
    SINK_FDS = 8,
    RETRIES = 3, /* tries in a row that bring fewer than PROGRESS bytes */
    PROGRESS = 16 * 1024,
    PAUSE_FIRST_MS = 250, /* before a try; doubles up to PAUSE_LAST_MS while nothing comes */
    PAUSE_LAST_MS = 5000,
    PAUSE_ASKED_MS = 30000, /* a longer Retry-After is for the queue to wait for */
    REDIRECTS = 10,
    BUFFER = 256 * 1024,
    WINDOW_BYTES = 1024,     /* fewer in a stall_timeout is a stall */
    HEAD_MAX = 256 * 1024,   /* all header lines of an answer */
    REFUSAL_MAX = 64 * 1024, /* body of an error that is read over to keep the connection */
    REFUSAL_KEPT = 1024,
    SHOWN = 256,             /* of a URI in a message */
};

struct fetch {
    CURLM *multi;
    CURL *easy;
    struct limits limits;
};

/* How we talk to a scheme of ours. */
struct transport {
    const char *scheme, *protocols;
    bool http, ssh, tls;
};
#define IS_S3(t) ((t)->secrets.s3.base != NULL)
static const struct transport transports[] = {
    { "http", "http", true, false, false }, { "https", "https", true, false, true },
    { "ftp", "ftp", false, false, false },  { "ftps", "ftp,ftps", false, false, true },
    { "sftp", "sftp", false, true, false }, { "s3", "http,https", true, false, false },
};

/* Secrets of a remote, read when the transfer starts and wiped when it ends. */
struct secrets {
    char *user, *password, *proxy;
    struct curl_slist *headers;
    struct s3_place s3; /* where the transport is s3 */
};

/* What a transfer is for. ASK_LOOK: its head by http; the last two only by ftp. */
enum ask { ASK_OBJECT, ASK_LOOK, ASK_LISTING, ASK_STAT };

enum verdict { V_DONE, V_AGAIN, V_BROKEN, V_FAILED };

struct transfer {
    struct fetch *f;
    const struct transport *transport;
    const struct remote *remote;
    const struct fetch_sink *sink;
    const char *uri;
    enum ask ask;
    const char *command;       /* ASK_LISTING */
    char shown[SHOWN];
    struct secrets secrets;
    struct err *err;
    /* over all tries */
    struct fetch_head known; /* the version that the bytes belong to; valid when pos > 0 or told */
    int64_t pos, given;      /* bytes of it that the sink has; those of this call */
    bool told, no_range;
    int64_t tick_ms;
    int64_t allowed, allowed_ms; /* bytes that the rate lets pass now, at most a second's; when that
                                    was reckoned */
    /* of one try */
    char *url;       /* where redirects have led us */
    bool same_place; /* scheme, host and port of uri: secrets may be sent */
    struct curl_slist *headers;
    struct http_head head;
    size_t head_bytes, refusal_bytes;
    int64_t from, skip; /* first byte asked for; bytes of the body that the sink has already */
    char refusal[REFUSAL_KEPT + 1]; /* begin of the body of an error */
    bool judged, again, failed, paused, head_over;
    bool probing, folder; /* is_folder() */
    int64_t window_ms, window_bytes, window_limit_ms;
    char fault[CURL_ERROR_SIZE];
};

/* ---- messages ---- */

/* Names of query parameters whose values are secrets, as parts of a name in lower case. */
static const char *const secret_words[] = { "token", "secret", "passw", "pwd",     "key",
                                            "sig",   "auth",   "cred",  "session", "code" };

static bool secret_name(struct str name)
{
    char low[64];
    size_t n = name.n < sizeof low - 1 ? name.n : sizeof low - 1;
    for (size_t i = 0; i < n; i++)
        low[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
    low[n] = '\0';
    for (size_t i = 0; i < COUNT_OF(secret_words); i++)
        if (strstr(low, secret_words[i]))
            return true;
    return false;
}

static size_t put_cut(char *out, size_t cap, size_t at, struct str s)
{
    for (size_t i = 0; i < s.n && at + 1 < cap; i++)
        out[at++] = (unsigned char)s.p[i] < ' ' || s.p[i] == 127 ? '?' : s.p[i];
    if (at < cap)
        out[at] = '\0';
    return at;
}

/* Where the host begins behind "://". A password with a bare '/' makes no valid URI, but is hidden
 * all the same. */
static const char *skip_userinfo(const char *rest)
{
    size_t authority = strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', authority), *colon = memchr(rest, ':', authority);
    if (at)
        return at + 1;
    bool port = !colon || rest[0] == '[' ||
                strspn(colon + 1, "0123456789") == (size_t)(rest + authority - colon - 1);
    const char *late = port ? NULL : strrchr(rest, '@');
    return late ? late + 1 : rest;
}

void fetch_redact(const char *uri, char *out, size_t cap)
{
    const char *rest = strstr(uri, "://");
    size_t n = 0;
    if (cap == 0)
        return;
    if (!rest || strcspn(uri, "/?#") < (size_t)(rest - uri)) {
        put_cut(out, cap, 0, str_of(uri));
        return;
    }
    rest += 3;
    n = put_cut(out, cap, n, (struct str){ uri, (size_t)(rest - uri) });
    rest = skip_userinfo(rest);
    size_t path = strcspn(rest, "?#");
    n = put_cut(out, cap, n, (struct str){ rest, path });
    for (rest += path; *rest;) { /* here stands one of ? # & ; */
        size_t all = 1 + strcspn(rest + 1, "?#&;"), name = 1 + strcspn(rest + 1, "=?#&;");
        bool hide = name < all && secret_name((struct str){ rest + 1, name - 1 });
        n = put_cut(out, cap, n, (struct str){ rest, hide ? name + 1 : all });
        if (hide)
            n = put_cut(out, cap, n, STR("..."));
        rest += all;
    }
}

/* Fill *err about the transfer's URI. Gives -1. */
__attribute__((format(printf, 3, 4))) static int fail(struct transfer *t, enum err_code code,
                                                      const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    err_set(t->err, code, "%s: %s", t->shown, text);
    t->failed = true;
    return -1;
}

/* ---- versions ---- */

/* Does the head name its version well enough to go on with it later? */
static bool can_resume(const struct transfer *t, const struct fetch_head *h)
{
    return t->transport->http ? http_etag_strong(h->etag) || *h->modified
                              : h->size >= 0 && *h->modified;
}

/* Are these proven to be the same version? */
static bool same_version(const struct transfer *t, const struct fetch_head *a,
                         const struct fetch_head *b)
{
    if (a->size >= 0 && b->size >= 0 && a->size != b->size)
        return false;
    if (t->transport->http && http_etag_strong(a->etag))
        return !strcmp(a->etag, b->etag);
    return *a->modified && !strcmp(a->modified, b->modified) &&
           (t->transport->http || a->size == b->size);
}

static int tell_head(struct transfer *t, const struct fetch_head *head)
{
    t->known = *head;
    t->known.offset = t->pos;
    if (t->ask == ASK_OBJECT && t->f->limits.object_bytes > 0 && head->size > t->f->limits.object_bytes)
        return fail(t, ERR_LIMIT,
                    "the object has %" PRId64 " bytes, more than [limits] object allows (%" PRId64
                    ")",
                    head->size, t->f->limits.object_bytes);
    if ((t->ask == ASK_OBJECT || t->ask == ASK_LOOK) && t->sink->head(t->sink->arg, &t->known, t->err) < 0) {
        t->failed = true;
        return -1;
    }
    t->told = true;
    return 0;
}

static int changed(struct transfer *t)
{
    return fail(t, ERR_CHANGED,
                "the object is no longer the one whose first %" PRId64 " bytes were taken", t->pos);
}

/* The answer starts at byte 0 of `now`. */
static int judge_whole(struct transfer *t, const struct fetch_head *now)
{
    if (t->pos == 0)
        return tell_head(t, now);
    if (same_version(t, &t->known, now)) {
        t->skip = t->pos;
        if (t->told)
            return 0;
        struct fetch_head head = t->known;
        head.size = head.size >= 0 ? head.size : now->size;
        return tell_head(t, &head);
    }
    if (t->given > 0)
        return changed(t);
    t->pos = 0;
    return tell_head(t, now);
}

/* Ask again for the whole: this answer's range cannot be believed, or is of another version. */
static int judge_again(struct transfer *t)
{
    t->no_range = true;
    t->again = true;
    return -1;
}

/* The answer claims to start at byte `from` of the version that we know. */
static int judge_rest(struct transfer *t, struct fetch_head *now)
{
    if (!same_version(t, &t->known, now))
        return t->given > 0 ? changed(t) : judge_again(t);
    if (t->known.size < 0)
        t->known.size = now->size;
    return t->told ? 0 : tell_head(t, &t->known);
}

static int judge_http(struct transfer *t)
{
    const struct http_head *h = &t->head;
    curl_off_t length = -1;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    struct fetch_head now = { .size = length };
    if (h->hidden_coding)
        return fail(t, ERR_FETCH_REFUSED,
                    "the server sent it in a content coding (br or deflate) that nobody asked for");
    snprintf(now.etag, sizeof now.etag, "%s", h->etag);
    snprintf(now.modified, sizeof now.modified, "%s", h->modified);
    if (h->status != 206) {
        if (t->pos == 0 && t->ask != ASK_LOOK && !http_etag_strong(now.etag) && !http_modified_strong(h))
            now.modified[0] = '\0'; /* too fresh to tell two versions apart */
        return judge_whole(t, &now);
    }
    if (t->from == 0)
        return fail(t, ERR_FETCH_REFUSED,
                    "the server sent a part of the object that nobody asked for");
    now.size = h->range_total;
    bool length_fits = length < 0 || length == h->range_bytes;
    bool to_the_end = h->range_total < 0 || h->range_first + h->range_bytes == h->range_total;
    if (h->range_first != t->from || !length_fits || !to_the_end)
        return judge_again(t);
    if (!http_etag_strong(t->known.etag) && !*now.modified) /* may be left out: RFC 9110, 15.3.7 */
        snprintf(now.modified, sizeof now.modified, "%s", t->known.modified);
    return judge_rest(t, &now);
}

static int judge_file(struct transfer *t)
{
    curl_off_t length = -1, time = -1;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_FILETIME_T, &time);
    struct fetch_head now = { .size = length < 0 ? -1 : length + t->from };
    if (time >= 0)
        text_put_rfc3339(now.modified, time * 1000);
    return t->from > 0 ? judge_rest(t, &now) : judge_whole(t, &now);
}

/* Which version is this, and which of its bytes? Before the first byte of the body, and after a
 * body of none. */
static int judge(struct transfer *t)
{
    if (t->judged)
        return 0;
    t->judged = true;
    return t->transport->http ? judge_http(t) : judge_file(t);
}

/* ---- callbacks ---- */

static bool good_status(const struct transfer *t)
{
    return !t->transport->http || t->head.status == 200 || t->head.status == 203 ||
           t->head.status == 206;
}

static size_t on_header(char *p, size_t one, size_t n, void *arg)
{
    struct transfer *t = arg;
    (void)one;
    t->window_bytes += (int64_t)n;
    t->head_over =
        t->head_over || t->judged || t->refusal_bytes; /* trailers say nothing that we want */
    if (!t->transport->http || t->head_over)
        return n;
    t->head_bytes += n;
    if (t->head_bytes > HEAD_MAX) {
        fail(t, ERR_FETCH_REFUSED, "the server's headers are longer than %d bytes", HEAD_MAX);
        return 0;
    }
    http_head_line(&t->head, (struct str){ p, n });
    return n;
}

/* Give bytes to the sink, behind those that it has. 1 taken, 0 it is full, -1 failed. */
static int deliver(struct transfer *t, const char *p, size_t n)
{
    int64_t limit = t->f->limits.object_bytes;
    if (limit > 0 && t->pos + (int64_t)n > limit)
        return fail(t, ERR_LIMIT,
                    "the object has more bytes than [limits] object allows (%" PRId64 ")", limit);
    if (t->known.size >= 0 && t->pos + (int64_t)n > t->known.size)
        return fail(t, ERR_FETCH,
                    "the server sends more than the %" PRId64 " bytes that it announced",
                    t->known.size);
    ssize_t r = t->sink->write(t->sink->arg, p, n, t->err);
    if (r < 0) {
        t->failed = true;
        return -1;
    }
    if (r == 0)
        return 0;
    t->pos += (int64_t)n;
    t->given += (int64_t)n;
    return 1;
}

/* Does the remote's rate let bytes pass now? */
static bool rate_allows(struct transfer *t)
{
    int64_t rate = t->remote ? t->remote->rate_bytes : 0, now = sys_mono_ms();
    if (rate <= 0)
        return true;
    int64_t passed = now - t->allowed_ms < 1000 ? now - t->allowed_ms : 1000;
    if (passed * rate >= 1000) { /* a byte at least, so that no part of one is lost */
        t->allowed =
            t->allowed + rate * passed / 1000 < rate ? t->allowed + rate * passed / 1000 : rate;
        t->allowed_ms = now;
    }
    return t->allowed > 0;
}

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
    struct transfer *t = arg;
    (void)one;
    if (t->probing) {
        t->folder = true;
        return 0;
    }
    if (t->ask == ASK_STAT)
        return n; /* libcurl's own: what it found, as headers */
    if (!good_status(t)) {
        if (t->refusal_bytes < REFUSAL_KEPT) {
            size_t some = REFUSAL_KEPT - t->refusal_bytes;
            memcpy(t->refusal + t->refusal_bytes, p, n < some ? n : some);
        }
        t->refusal_bytes += n;
        t->window_bytes += (int64_t)n;
        return t->refusal_bytes > REFUSAL_MAX ? 0 : n;
    }
    if (judge(t) < 0)
        return n ? 0 : 1;
    t->paused = !rate_allows(t);
    if (t->paused)
        return CURL_WRITEFUNC_PAUSE;
    size_t drop = t->skip < (int64_t)n ? (size_t)t->skip : n;
    if (n > drop) {
        int rc = deliver(t, p + drop, n - drop);
        t->paused = rc == 0;
        if (rc <= 0)
            return rc < 0 ? 0 : CURL_WRITEFUNC_PAUSE;
    }
    t->skip -= (int64_t)drop;
    t->allowed -= (int64_t)n;
    t->window_bytes += (int64_t)n; /* what is held back is not counted, and comes again */
    return n;
}

/* ---- the request of a try ---- */

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
        return fail(t, ERR_CONFIG, "header= of the remote has a line without ':'");
    struct str name = str_trim((struct str){ line.p, (size_t)(colon - line.p) });
    struct str v = str_trim((struct str){ colon + 1, line.n - (size_t)(colon + 1 - line.p) });
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (str_eq_nocase(name, str_of(ours[i])))
            return fail(t, ERR_CONFIG,
                        "header= of the remote may not set %s, which every fetch sets itself",
                        ours[i]);
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(secret_clear) char *value = NULL;
    AUTO(free_charp) char *reference = strndup(v.p, v.n);
    if (!reference)
        return fail(t, ERR_NO_MEMORY, "out of memory");
    if (config_secret(reference, &value, t->err) < 0) {
        t->failed = true;
        return err_in(t->err, "%s: header '%.*s'", t->shown, (int)(name.n < 40 ? name.n : 40),
                      name.p);
    }
    if (strpbrk(value, "\r\n"))
        return fail(t, ERR_CONFIG, "the value of header '%.*s' holds a line end",
                    (int)(name.n < 40 ? name.n : 40), name.p);
    buf_add(&text, name.p, name.n);
    buf_adds(&text, *value ? ": " : ";"); /* libcurl's way to send an empty header */
    buf_adds(&text, value);
    bool added = !text.failed && add_header(&t->secrets.headers, text.p);
    if (text.p)
        explicit_bzero(text.p, text.n);
    return added ? 0 : fail(t, ERR_NO_MEMORY, "out of memory");
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
        return fail(t, ERR_NOT_A_FILE, "this names a bucket");
    return s3_place_open(&t->secrets.s3, t->remote, bucket, t->err) < 0 ? err_in(t->err, "%s", t->shown) : 0;
}

static int secrets_read(struct transfer *t)
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

static void secrets_clear(struct secrets *s)
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
    /* The bytes as they are stored are the object. Some S3 stores change this header on its way, so that its signature breaks. */
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
    if (!ok)
        return fail(t, ERR_NO_MEMORY, "out of memory");
    return curl_easy_setopt(t->f->easy, CURLOPT_HTTPHEADER, t->headers)
               ? fail(t, ERR_NO_MEMORY, "out of memory")
               : 0;
}

static CURLcode set_common(struct transfer *t)
{
    CURL *e = t->f->easy;
    int bad = 0;
    bad |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->fault);
    bad |= curl_easy_setopt(e, CURLOPT_USERAGENT, PACKAGE_NAME "/" PACKAGE_VERSION);
    bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR,
                            t->transport->http ? "http,https" : t->transport->protocols);
    bad |= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    bad |= curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    bad |= curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    bad |= curl_easy_setopt(e, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    bad |= curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_FILETIME, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)t->f->limits.connect_timeout_ms);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    return bad ? CURLE_OUT_OF_MEMORY : CURLE_OK;
}

static CURLcode set_security(struct transfer *t)
{
    CURL *e = t->f->easy;
    const struct remote *r = t->remote;
    int bad = 0;
    bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    bad |= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
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
 * A handle that knows nothing of the last request. libcurl 7.88 leaves the buffer of a transfer that
 * got no connection (its host was not resolved) on the handle, even over a reset, and then refuses
 * to size it: such a handle is replaced. Connections belong to the multi handle and stay.
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

/* What makes a question out of a transfer. */
static CURLcode set_question(struct transfer *t)
{
    if (t->ask == ASK_LISTING)
        return curl_easy_setopt(t->f->easy, CURLOPT_CUSTOMREQUEST, t->command);
    return t->ask == ASK_OBJECT ? CURLE_OK : curl_easy_setopt(t->f->easy, CURLOPT_NOBODY, 1L);
}

static int set_request(struct transfer *t)
{
    if (!clean_handle(t->f))
        return fail(t, ERR_NO_MEMORY, "out of memory");
    CURL *e = t->f->easy;
    if (set_common(t) || set_security(t) || (t->transport->ssh && set_ssh(t)) || set_question(t) ||
        curl_easy_setopt(e, CURLOPT_URL, t->url))
        return fail(t, ERR_NO_MEMORY,
                    "the transfer could not be set up (out of memory, or libcurl lacks a feature)");
    if (t->transport->http)
        return request_headers(t);
    return curl_easy_setopt(e, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->from)
               ? fail(t, ERR_NO_MEMORY, "out of memory")
               : 0;
}

/* ---- running ---- */

static void window_start(struct transfer *t, int64_t now, int64_t limit_ms)
{
    t->window_ms = now;
    t->window_bytes = 0;
    t->window_limit_ms = limit_ms;
}

/* Too few bytes for too long? What we hold back ourselves does not count. */
static bool stalled(struct transfer *t)
{
    int64_t now = sys_mono_ms(), stall_ms = t->f->limits.stall_timeout_ms;
    if (t->paused || t->window_bytes >= WINDOW_BYTES)
        window_start(t, now, stall_ms);
    return stall_ms > 0 && now - t->window_ms > t->window_limit_ms;
}

static int tick(struct transfer *t)
{
    t->tick_ms = sys_mono_ms();
    if (t->sink->tick && t->sink->tick(t->sink->arg, t->err) < 0) {
        t->failed = true;
        return -1;
    }
    return 0;
}

static bool sink_ready(const struct fetch_sink *sink)
{
    return sink->nfds > 0 && poll(sink->fds, (nfds_t)sink->nfds, 0) > 0;
}

/* Wait for the network, the sink, or the next tick; then the sink's turn. */
static int turn(struct transfer *t)
{
    const struct fetch_sink *sink = t->sink;
    struct curl_waitfd extra[SINK_FDS];
    for (int i = 0; i < sink->nfds; i++)
        extra[i] = (struct curl_waitfd){
            .fd = sink->fds[i].fd,
            .events = (short)((sink->fds[i].events & POLLIN ? CURL_WAIT_POLLIN : 0) |
                              (sink->fds[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0))
        };
    int64_t left = TICK_MS - (sys_mono_ms() - t->tick_ms);
    if (curl_multi_poll(t->f->multi, extra, (unsigned)sink->nfds, left > 0 ? (int)left : 0, NULL) !=
        CURLM_OK)
        return fail(t, ERR_INTERNAL, "libcurl cannot wait for the network");
    if (!sink_ready(sink) && sys_mono_ms() - t->tick_ms < TICK_MS)
        return 0;
    if (tick(t) < 0)
        return -1;
    if (!t->paused)
        return 0;
    t->paused = false;
    (void)curl_easy_pause(t->f->easy,
                          CURLPAUSE_CONT); /* calls on_body(), whose faults are noted in t */
    return t->failed ? -1 : 0;
}

static bool finished(struct transfer *t, CURLcode *code)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(t->f->multi, &left));)
        if (m->msg == CURLMSG_DONE) {
            *code = m->data.result;
            return true;
        }
    return false;
}

/* Send the request and take the answer. Gives libcurl's code of it; t says the rest. */
static CURLcode run(struct transfer *t)
{
    CURLcode code = CURLE_FAILED_INIT;
    t->head = (struct http_head){ 0 };
    t->head_bytes = t->refusal_bytes = 0;
    memset(t->refusal, 0, sizeof t->refusal);
    t->skip = 0;
    t->judged = t->again = t->failed = t->paused = t->head_over = false;
    t->fault[0] = '\0';
    if (set_request(t) < 0)
        return code;
    if (curl_multi_add_handle(t->f->multi, t->f->easy) != CURLM_OK) {
        fail(t, ERR_NO_MEMORY, "out of memory");
        return code;
    }
    window_start(t, sys_mono_ms(), t->f->limits.connect_timeout_ms + t->f->limits.stall_timeout_ms);
    for (int running;;) {
        if (curl_multi_perform(t->f->multi, &running) != CURLM_OK)
            fail(t, ERR_INTERNAL, "libcurl cannot go on");
        if (t->failed || t->again || finished(t, &code) || turn(t) < 0 || t->again)
            break;
        if (stalled(t)) {
            snprintf(t->fault, sizeof t->fault,
                     "the server sent fewer than %d bytes in %" PRId64 " s", WINDOW_BYTES,
                     t->window_limit_ms / 1000);
            code = CURLE_OPERATION_TIMEDOUT;
            break;
        }
    }
    return code;
}

static void run_end(struct transfer *t)
{
    (void)curl_multi_remove_handle(t->f->multi, t->f->easy);
    (void)curl_easy_setopt(t->f->easy, CURLOPT_HTTPHEADER, NULL);
    s3_headers_free(t->headers);
    t->headers = NULL;
}

/* ---- what an answer means ---- */

static const struct status_def {
    int status;
    enum err_code code;
} statuses[] = {
    { 401, ERR_FETCH_DENIED },  { 403, ERR_FETCH_DENIED },  { 407, ERR_FETCH_DENIED },
    { 404, ERR_FETCH_MISSING }, { 410, ERR_FETCH_MISSING }, { 408, ERR_TIMEOUT },
    { 425, ERR_FETCH_BUSY },    { 429, ERR_FETCH_BUSY },    { 503, ERR_FETCH_BUSY },
};

/* What an S3 store calls its reason; empty where it gave none. */
static struct str refusal_code(const struct transfer *t)
{
    const char *from = IS_S3(t) ? strstr(t->refusal, "<Code>") : NULL;
    size_t n = from ? strspn(from + 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") : 0;
    return (struct str){ from ? from + 6 : "", n };
}

static int fail_status(struct transfer *t)
{
    int status = t->head.status;
    enum err_code code = status >= 500 ? ERR_FETCH : ERR_FETCH_REFUSED;
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i].status == status)
            code = statuses[i].code;
    struct str why = refusal_code(t);
    fail(t, code, "the server answered %d%s%.*s", status, why.n ? " " : "", (int)why.n, why.p);
    t->err->sys = status;
    t->err->retry_after_ms = http_retry_after_ms(&t->head, sys_now_ms());
    return -1;
}

static const struct curl_def {
    CURLcode curl;
    enum err_code code;
    const char *says; /* NULL: libcurl's own words are clear */
} curl_defs[] = {
    { CURLE_UNSUPPORTED_PROTOCOL, ERR_FETCH, "what answered does not speak this protocol" },
    { CURLE_URL_MALFORMAT, ERR_URI, "this is not a valid URI" },
    { CURLE_OUT_OF_MEMORY, ERR_NO_MEMORY, NULL },
    { CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, NULL },
    { CURLE_REMOTE_FILE_NOT_FOUND, ERR_FETCH_MISSING, "the server has no such file" },
    { CURLE_REMOTE_ACCESS_DENIED, ERR_FETCH_DENIED, "the server does not let us read it" },
    { CURLE_LOGIN_DENIED, ERR_FETCH_DENIED, "the server refused the login" },
    { CURLE_AUTH_ERROR, ERR_FETCH_DENIED, NULL },
    { CURLE_SSL_CONNECT_ERROR, ERR_TLS, NULL },
    { CURLE_PEER_FAILED_VERIFICATION, ERR_TLS, NULL },
    { CURLE_SSL_ENGINE_NOTFOUND, ERR_TLS, NULL },
    { CURLE_SSL_CERTPROBLEM, ERR_TLS, NULL },
    { CURLE_SSL_CIPHER, ERR_TLS, NULL },
    { CURLE_USE_SSL_FAILED, ERR_TLS, "the server offers no TLS" },
    { CURLE_SSL_CACERT_BADFILE, ERR_TLS, NULL },
    { CURLE_SSL_CRL_BADFILE, ERR_TLS, NULL },
    { CURLE_SSL_ISSUER_ERROR, ERR_TLS, NULL },
    { CURLE_SSL_INVALIDCERTSTATUS, ERR_TLS, NULL },
    { CURLE_SSL_CLIENTCERT, ERR_TLS, NULL },
};

static const struct curl_def *curl_def(CURLcode curl)
{
    for (size_t i = 0; i < COUNT_OF(curl_defs); i++)
        if (curl_defs[i].curl == curl)
            return &curl_defs[i];
    return NULL;
}

/* Replies of FTP (RFC 959, 4.2) that say more than libcurl's code for them. */
static const struct reply_def {
    long reply;
    enum err_code code;
    const char *says;
} reply_defs[] = {
    { 421, ERR_FETCH_BUSY, "the server takes no more users now" },
    { 425, ERR_FETCH_BUSY, "the server cannot open a data connection now" },
    { 450, ERR_FETCH_BUSY, "the server cannot give the file now" },
    { 451, ERR_FETCH_BUSY, "the server cannot give the file now" },
    { 530, ERR_FETCH_DENIED, "the server refused the login" },
    { 550, ERR_FETCH_MISSING, "the server has no such file, or does not let us read it" },
};

static const struct reply_def *reply_def(const struct transfer *t, long reply)
{
    for (size_t i = 0; !t->transport->http && !t->transport->ssh && i < COUNT_OF(reply_defs); i++)
        if (reply_defs[i].reply == reply)
            return &reply_defs[i];
    return NULL;
}

static enum err_code code_of(struct transfer *t, CURLcode curl)
{
    const struct curl_def *def = curl_def(curl);
    long connect_reply = 0;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_HTTP_CONNECTCODE, &connect_reply);
    if (connect_reply == 407)
        return ERR_FETCH_DENIED;
    if (t->transport->ssh && curl == CURLE_PEER_FAILED_VERIFICATION)
        return ERR_HOST_KEY;
    /* a handshake that the network cut off is not the certificate's fault */
    if (curl == CURLE_SSL_CONNECT_ERROR &&
        (strstr(t->fault, "SYSCALL") || strstr(t->fault, "unexpected eof")))
        return ERR_FETCH;
    return def ? def->code : ERR_FETCH;
}

/* Is the connection made, with its handshakes and login? */
static bool connected(struct transfer *t)
{
    curl_off_t us = 0;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_PRETRANSFER_TIME_T, &us);
    return us > 0;
}

/* The newest reply of an FTP server. */
static long last_reply(struct transfer *t)
{
    long number = 0;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_RESPONSE_CODE, &number);
    return number;
}

static int fail_curl(struct transfer *t, CURLcode curl)
{
    const struct curl_def *def = curl_def(curl);
    long number = last_reply(t);
    const struct reply_def *reply = reply_def(t, number);
    enum err_code code = code_of(t, curl);
    if (reply && reply->code == ERR_FETCH_MISSING && t->ask == ASK_LISTING)
        fail(t, reply->code, "the server has no such folder, or does not let us list it (reply %ld)", number);
    else if (reply)
        fail(t, reply->code, "%s (reply %ld)", reply->says, number);
    else if (curl == CURLE_OPERATION_TIMEDOUT && !connected(t))
        fail(t, ERR_FETCH, "no connection within %" PRId64 " ms ([limits] connect_timeout)",
             t->f->limits.connect_timeout_ms);
    else if (code == ERR_HOST_KEY && !t->fault[0])
        fail(t, code, "the host's key is not the one in known_hosts, or the host is not there");
    else
        fail(t, code, "%s",
             def && def->says ? def->says
             : t->fault[0]    ? t->fault
                              : curl_easy_strerror(curl));
    t->err->sys = (int)curl;
    return -1;
}

/* Is the file that the server did not give a folder? Neither ftp nor sftp says so; but a folder has
 * a listing. */
static bool is_folder(struct transfer *t)
{
    struct err before = *t->err;
    char *file = t->url, *list = NULL;
    run_end(t);
    if (asprintf(&list, "%s/", file) >= 0) {
        t->url = list;
        t->probing = true;
        t->folder = run(t) == CURLE_OK || t->folder;
        t->probing = false;
        t->url = file;
        free(list);
    }
    *t->err = before;
    t->failed = true;
    return t->folder;
}

/* Where a part of a URL is needed: 0 and a malloc'ed text, "" where there is none; false: no
 * memory, or no URL. */
static bool url_part(CURLU *u, CURLUPart part, char **out)
{
    CURLUcode rc = curl_url_get(u, part, out, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0);
    if (rc != CURLUE_OK && rc != CURLUE_OUT_OF_MEMORY)
        *out = strdup("");
    return *out != NULL;
}

static void curl_url_cleanupp(CURLU **u)
{
    curl_url_cleanup(*u);
}
static void curl_freep(char **p)
{
    curl_free(*p);
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    AUTO(curl_freep) char *x = NULL;
    AUTO(curl_freep) char *y = NULL;
    return url_part(a, part, &x) && url_part(b, part, &y) && !strcasecmp(x, y);
}

/* Go where the answer points. */
static int follow(struct transfer *t, int hop)
{
    char *to = NULL;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_REDIRECT_URL, &to);
    if (!to)
        return fail_status(t);
    if (hop >= REDIRECTS)
        return fail(t, ERR_FETCH_REFUSED, "more than %d redirects", REDIRECTS);
    AUTO(curl_url_cleanupp) CURLU *start = curl_url();
    AUTO(curl_url_cleanupp) CURLU *now = curl_url();
    AUTO(curl_url_cleanupp) CURLU *next = curl_url();
    AUTO(curl_freep) char *scheme = NULL;
    AUTO(curl_freep) char *before = NULL;
    char shown[SHOWN];
    fetch_redact(to, shown, sizeof shown);
    if (!start || !now || !next || curl_url_set(start, CURLUPART_URL, t->uri, 0) ||
        curl_url_set(now, CURLUPART_URL, t->url, 0) ||
        curl_url_set(next, CURLUPART_URL, to, CURLU_NON_SUPPORT_SCHEME) ||
        !url_part(next, CURLUPART_SCHEME, &scheme) || !url_part(now, CURLUPART_SCHEME, &before))
        return fail(t, ERR_FETCH_REFUSED, "the server redirects to what is no URL: %s", shown);
    if (strcmp(scheme, "http") && strcmp(scheme, "https"))
        return fail(t, ERR_FETCH_REFUSED, "the server redirects to %s, which is not followed",
                    shown);
    if (!strcmp(before, "https") && !strcmp(scheme, "http"))
        return fail(t, ERR_FETCH_REFUSED,
                    "the server redirects from https to http (%s), which is not followed", shown);
    char *url = strdup(to);
    if (!url)
        return fail(t, ERR_NO_MEMORY, "out of memory");
    free(t->url);
    t->url = url;
    t->same_place = same_part(start, next, CURLUPART_SCHEME) &&
                    same_part(start, next, CURLUPART_HOST) &&
                    same_part(start, next, CURLUPART_PORT);
    return 0;
}

/* The answer came to its end, or broke off: what now? */
static enum verdict judge_end(struct transfer *t, CURLcode curl)
{
    bool bad_range = curl == CURLE_BAD_DOWNLOAD_RESUME || curl == CURLE_RANGE_ERROR ||
                     curl == CURLE_FTP_COULDNT_USE_REST;
    if (t->failed)
        return V_FAILED;
    if (t->again)
        return V_AGAIN;
    if (t->from > 0 && (bad_range || t->head.status == 416)) {
        judge_again(t);
        return V_AGAIN;
    }
    if (!good_status(t) && t->head.status > 0 && (curl == CURLE_OK || t->refusal_bytes > 0)) {
        fail_status(t);
        return V_BROKEN; /* only if we have seen the object before; else it fails at once */
    }
    if (curl != CURLE_OK) {
        bool given = t->judged || t->pos > 0;
        fail_curl(t, curl);
        if (!t->transport->http && !given && t->ask == ASK_OBJECT &&
            (t->err->code == ERR_FETCH_MISSING || curl == CURLE_SSH) && is_folder(t))
            fail(t, ERR_NOT_A_FILE, "this is a folder");
        return V_BROKEN;
    }
    if (t->ask == ASK_LISTING && last_reply(t) >= 400) { /* to libcurl a reply 450 is an empty folder */
        fail_curl(t, CURLE_FTP_COULDNT_RETR_FILE);
        return V_FAILED;
    }
    if (judge(t) < 0)
        return t->again ? V_AGAIN : V_FAILED;
    if (t->ask == ASK_LOOK)
        return V_DONE;
    if (t->skip > 0) {
        changed(t);
        return V_FAILED;
    }
    if (t->ask != ASK_STAT && t->known.size >= 0 && t->pos < t->known.size) {
        fail(t, ERR_FETCH, "the body ended at byte %" PRId64 " of %" PRId64, t->pos, t->known.size);
        return V_BROKEN;
    }
    return V_DONE;
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

/* t->url of the uri, before redirects. */
static bool first_url(struct transfer *t)
{
    const char *host = strstr(t->uri, "://") + 3;
    free(t->url);
    t->url = NULL;
    if (!IS_S3(t))
        return asprintf(&t->url, "%s://%s", explicit_tls(t, host) ? "ftp" : t->transport->scheme, host) >= 0;
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

/* One request, with the redirects on its way. */
static enum verdict one_try(struct transfer *t)
{
    if (!first_url(t)) {
        t->url = NULL;
        fail(t, ERR_NO_MEMORY, "out of memory");
        return V_FAILED;
    }
    t->same_place = true;
    t->from = t->pos > 0 && !t->no_range && can_resume(t, &t->known) ? t->pos : 0;
    for (int hop = 0;; hop++) {
        CURLcode code = run(t);
        bool redirect = t->transport->http && !IS_S3(t) && code == CURLE_OK && !t->failed && !t->again &&
                        t->head.status >= 300 && t->head.status < 400 && t->head.status != 304;
        int rc = redirect ? follow(t, hop) : 0;
        enum verdict v = rc < 0 ? V_FAILED : redirect ? V_AGAIN : judge_end(t, code);
        run_end(t);
        if (!redirect || rc < 0)
            return v;
    }
}

/* Let the sink go on while the network rests. */
static int rest(struct transfer *t, int64_t ms)
{
    for (int64_t end = sys_mono_ms() + ms, left; (left = end - sys_mono_ms()) > 0;) {
        int wait = left < TICK_MS ? (int)left : TICK_MS;
        (void)poll(t->sink->fds, (nfds_t)t->sink->nfds, wait);
        if (tick(t) < 0)
            return -1;
    }
    return 0;
}

/* May a try that broke off be followed by another? */
static bool worth_another(const struct transfer *t, int idle)
{
    bool started =
        t->told ||
        t->given > 0; /* else the job's own retry comes later, and frees the worker meanwhile */
    bool know = t->pos == 0 || can_resume(t, &t->known);
    return started && know && idle <= RETRIES && err_class(t->err->code) == ERR_TRANSIENT &&
           t->err->code != ERR_NO_MEMORY && t->err->code != ERR_CHANGED &&
           t->err->retry_after_ms <= PAUSE_ASKED_MS;
}

static int transfer(struct transfer *t)
{
    int64_t pause = PAUSE_FIRST_MS;
    for (int idle = 0;;) {
        int64_t before = t->given;
        enum verdict v = one_try(t);
        if (v == V_DONE)
            return 0;
        if (v == V_FAILED)
            return -1;
        if (v == V_AGAIN)
            continue; /* at most once: no_range stays set */
        bool progress = t->given - before >= PROGRESS;
        idle = progress ? 1 : idle + 1;
        pause = progress ? PAUSE_FIRST_MS : pause;
        if (!worth_another(t, idle))
            return -1;
        struct err broke = *t->err;
        if (rest(t, broke.retry_after_ms > pause ? broke.retry_after_ms : pause) < 0)
            return -1;
        pause = pause * 2 < PAUSE_LAST_MS ? pause * 2 : PAUSE_LAST_MS;
    }
}

/* ---- the calls ---- */

int fetch_open(struct fetch **out, const struct limits *limits, struct err *err)
{
    struct fetch *f = calloc(1, sizeof *f);
    if (!f)
        return err_nomem(err);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(f);
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    }
    f->limits = *limits;
    f->multi = curl_multi_init();
    f->easy = curl_easy_init();
    if (!f->multi || !f->easy) {
        fetch_close(f);
        return err_nomem(err);
    }
    *out = f;
    return 0;
}

void fetch_close(struct fetch *f)
{
    if (!f)
        return;
    curl_easy_cleanup(f->easy);
    curl_multi_cleanup(f->multi);
    free(f);
    curl_global_cleanup();
}

static int check_uri(struct transfer *t)
{
    size_t n = strcspn(t->uri, ":");
    for (size_t i = 0; i < COUNT_OF(transports); i++)
        if (str_eq_nocase((struct str){ t->uri, n }, str_of(transports[i].scheme)))
            t->transport = &transports[i];
    if (!t->transport || strncmp(t->uri + n, "://", 3))
        return fail(t, ERR_URI, "a fetched object has the scheme http, https, ftp, ftps, sftp or s3");
    if (t->transport->http)
        return 0;
    const char *path = t->uri + n + 3 + strcspn(t->uri + n + 3, "/?#");
    size_t end = strlen(path);
    bool folder = end == 0 || path[end - 1] == '/';
    if (folder && (t->ask == ASK_OBJECT || t->ask == ASK_STAT))
        return fail(t, ERR_NOT_A_FILE, "this names a folder");
    if (!t->transport->ssh && strcasestr(path, ";type="))
        return fail(t, ERR_URI, "';type=' is not taken; every object is fetched as it is stored");
    return 0;
}

static int check_ssh(struct transfer *t)
{
    const struct remote *r = t->remote;
    if (!t->transport->ssh)
        return 0;
    if (!r || (!r->known_hosts && !r->host_key_sha256))
        return fail(t, ERR_HOST_KEY, "nothing says which host key is right, so nobody is asked");
    if (!r->private_key && !r->password)
        return fail(t, ERR_FETCH_DENIED,
                    "sftp needs a private_key or a password in the [remote] section");
    if (r->private_key && access(r->private_key, R_OK) < 0)
        return fail(t, ERR_FETCH_DENIED, "the private key '%s' cannot be read: %s", r->private_key,
                    strerror(errno));
    if (r->known_hosts && access(r->known_hosts, R_OK) < 0)
        return fail(t, ERR_HOST_KEY, "known_hosts '%s' cannot be read: %s", r->known_hosts,
                    strerror(errno));
    return 0;
}

/* t is of its uri, remote, sink and err. */
static int begin(struct transfer *t)
{
    t->tick_ms = t->allowed_ms = sys_mono_ms();
    fetch_redact(t->uri, t->shown, sizeof t->shown);
    if (t->sink->nfds > SINK_FDS)
        return err_set(t->err, ERR_INTERNAL, "a sink has at most %d descriptors", SINK_FDS);
    return check_uri(t) < 0 || check_ssh(t) < 0 ? -1 : 0;
}

/* One request without a second try. */
static enum verdict question(struct transfer *t)
{
    enum verdict v = V_FAILED;
    if (t->transport->http || t->transport->ssh)
        fail(t, ERR_URI, "only an FTP server is asked so");
    else if (secrets_read(t) == 0)
        v = one_try(t);
    secrets_clear(&t->secrets);
    free(t->url);
    return v;
}

int fetch_list(struct fetch *f, const char *uri, const struct remote *remote, const char *command,
               const struct fetch_sink *sink, struct err *err)
{
    struct transfer t = { .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .ask = ASK_LISTING, .command = command };
    if (begin(&t) < 0)
        return -1;
    if (question(&t) == V_DONE)
        return 1;
    bool refused = t.given == 0 && err->sys == CURLE_FTP_COULDNT_RETR_FILE;
    long reply = refused ? last_reply(&t) : 0;
    return reply == 500 || reply == 502 || reply == 504 ? 0 : -1;
}

int fetch_stat(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_sink *sink,
               int64_t *size, int64_t *mtime_ms, struct err *err)
{
    struct transfer t = { .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .ask = ASK_STAT };
    if (begin(&t) < 0)
        return -1;
    if (question(&t) != V_DONE)
        return err->code == ERR_FETCH_MISSING ? 0 : -1;
    int64_t when = text_rfc3339_ms(str_of(t.known.modified));
    *size = t.known.size;
    *mtime_ms = when > 0 ? when : 0;
    return 1;
}

static int transfer_whole(struct transfer *t, const struct fetch_head *resume)
{
    if (begin(t) < 0)
        return -1;
    if (t->ask == ASK_LOOK && !t->transport->http)
        return fail(t, ERR_URI, "only http, https and s3 say what an object is without sending it");
    if (resume && resume->offset > 0 && can_resume(t, resume)) {
        t->known = *resume;
        t->pos = resume->offset;
    }
    int rc = secrets_read(t) < 0 ? -1 : transfer(t);
    secrets_clear(&t->secrets);
    free(t->url);
    return rc;
}

int fetch_get(struct fetch *f, const char *uri, const struct remote *remote,
              const struct fetch_head *resume, const struct fetch_sink *sink, int64_t *got,
              struct err *err)
{
    struct transfer t = { .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err };
    int rc = transfer_whole(&t, resume);
    *got = t.given;
    return rc;
}

int fetch_look(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_sink *sink, struct err *err)
{
    struct transfer t = { .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .ask = ASK_LOOK };
    return transfer_whole(&t, NULL);
}
