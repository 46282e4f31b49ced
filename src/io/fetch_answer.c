/* What an answer means: the version that its bytes are of, and why there is none. See
 * fetch_transfer.h. */
#include "io/fetch_transfer.h"

#include <config.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"

/* ---- faults ---- */

int transfer_fail(struct transfer *t, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_vset_foreign(t->err, code, t->shown, fmt, ap);
    va_end(ap);
    t->failed = true;
    return -1;
}

/* ---- versions ---- */

bool transfer_can_resume(const struct transfer *t, const struct fetch_head *h)
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
    if (t->ask == ASK_OBJECT && t->f->limits.object_bytes > 0 &&
        head->size > t->f->limits.object_bytes)
        return transfer_fail(t, ERR_LIMIT,
                             "the object has %" PRId64
                             " bytes, more than [limits] object allows (%" PRId64 ")",
                             head->size, t->f->limits.object_bytes);
    if ((t->ask == ASK_OBJECT || t->ask == ASK_LOOK) &&
        t->sink->head(t->sink->arg, &t->known, t->err) < 0) {
        t->failed = true;
        return -1;
    }
    t->told = true;
    return 0;
}

int transfer_changed(struct transfer *t)
{
    return transfer_fail(t, ERR_CHANGED,
                         "the object is no longer the one whose first %" PRId64 " bytes were taken",
                         t->pos);
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
        return transfer_changed(t);
    t->pos = 0;
    return tell_head(t, now);
}

int transfer_ask_again(struct transfer *t)
{
    t->no_range = true;
    t->again = true;
    return -1;
}

/* The answer claims to start at byte `from` of the version that we know. */
static int judge_rest(struct transfer *t, struct fetch_head *now)
{
    if (!same_version(t, &t->known, now))
        return t->given > 0 ? transfer_changed(t) : transfer_ask_again(t);
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
        return transfer_fail(
            t, ERR_FETCH_REFUSED,
            "the server sent it in a content coding (br or deflate) that nobody asked for");
    snprintf(now.etag, sizeof now.etag, "%s", h->etag);
    snprintf(now.modified, sizeof now.modified, "%s", h->modified);
    if (h->status != 206) {
        if (t->pos == 0 && t->ask != ASK_LOOK && !http_etag_strong(now.etag) &&
            !http_modified_strong(h))
            now.modified[0] = '\0'; /* too fresh to tell two versions apart */
        return judge_whole(t, &now);
    }
    if (t->from == 0)
        return transfer_fail(t, ERR_FETCH_REFUSED,
                             "the server sent a part of the object that nobody asked for");
    now.size = h->range_total;
    bool length_fits = length < 0 || length == h->range_bytes;
    bool to_the_end = h->range_total < 0 || h->range_first + h->range_bytes == h->range_total;
    if (h->range_first != t->from || !length_fits || !to_the_end)
        return transfer_ask_again(t);
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

int transfer_judge(struct transfer *t)
{
    if (t->judged)
        return 0;
    t->judged = true;
    return t->transport->http ? judge_http(t) : judge_file(t);
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

int transfer_fail_status(struct transfer *t)
{
    int status = t->head.status;
    enum err_code code = status >= 500 ? ERR_FETCH : ERR_FETCH_REFUSED;
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i].status == status)
            code = statuses[i].code;
    struct str why = refusal_code(t);
    transfer_fail(t, code, "the server answered %d%s%.*s", status, why.n ? " " : "", (int)why.n,
                  why.p);
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

long transfer_last_reply(struct transfer *t)
{
    long number = 0;
    (void)curl_easy_getinfo(t->f->easy, CURLINFO_RESPONSE_CODE, &number);
    return number;
}

int transfer_fail_curl(struct transfer *t, CURLcode curl)
{
    const struct curl_def *def = curl_def(curl);
    long number = transfer_last_reply(t);
    const struct reply_def *reply = reply_def(t, number);
    enum err_code code = code_of(t, curl);
    if (reply && reply->code == ERR_FETCH_MISSING && t->ask == ASK_LISTING)
        transfer_fail(t, reply->code,
                      "the server has no such folder, or does not let us list it (reply %ld)",
                      number);
    else if (curl == CURLE_QUOTE_ERROR)
        transfer_fail(t, ERR_FETCH_REFUSED, "the server refuses it (reply %ld)", number);
    else if (reply)
        transfer_fail(t, reply->code, "%s (reply %ld)", reply->says, number);
    else if (curl == CURLE_OPERATION_TIMEDOUT && !connected(t))
        transfer_fail(t, ERR_FETCH,
                      "no connection within %" PRId64 " ms ([limits] connect_timeout)",
                      t->f->limits.connect_timeout_ms);
    else if (code == ERR_HOST_KEY && !t->fault[0])
        transfer_fail(t, code,
                      "the host's key is not the one in known_hosts, or the host is not there");
    else
        transfer_fail(t, code, "%s",
                      def && def->says ? def->says
                      : t->fault[0]    ? t->fault
                                       : curl_easy_strerror(curl));
    t->err->sys = (int)curl;
    return -1;
}
