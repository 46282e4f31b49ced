/*
 * S3 by libcurl and expat. See s3.h.
 *
 * A call fills a struct request and hands it to send_request(), which alone builds, repeats and judges;
 * io/s3_place signs.
 * If power fails in the middle of a put, the store has the old object or the new one, never a part.
 */
#include "io/s3.h"

#include <config.h>

#include <expat.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "base/text.h"
#include "io/curl_guard.h"
#include "io/sha256.h"

enum {
    TRIES = 4,
    PAUSE_MS = 200,          /* before the second try; doubles */
    ANSWER_MAX = 32 << 20,   /* of a list, or of the words of an error */
    LIST_PAGE = 1000,
};

struct s3 {
    CURL *easy;
    struct limits limits;
    struct s3_place place;
    char *ca_file, *proxy;
    int (*tick)(void *arg, struct err *err); /* of s3_watch */
    void *tick_arg;
};

enum method { GET, HEAD, PUT, POST, DELETE };
static const char *const methods[] = { "GET", "HEAD", "PUT", "POST", "DELETE" };

struct request {
    enum method method;
    const char *key;    /* "": the bucket itself */
    const char *query;  /* in order and encoded, or NULL */
    struct str body;
    const char *condition; /* "If-Match: …", or NULL */
    const char *source;    /* of a copy: "/BUCKET/KEY", encoded, or NULL */
    int64_t from, bytes;   /* range; bytes -1: to the end */
    int64_t start;         /* of this try: from, and what the sink had before it */
    s3_sink *sink;         /* of a good answer; NULL: into answer */
    void *arg;
    /* of the answer that counts */
    struct s3 *s;
    struct err *err;
    struct buf answer; /* freed by the caller */
    long status;
    struct s3_object object;
    char code[64], words[200]; /* of an error */
    int64_t given;             /* bytes that the sink has */
    bool failed, again;        /* by the sink; sent more than once */
    size_t sent;
    char hash[SHA256_HEX + 1];
    char fault[CURL_ERROR_SIZE];
};

/* ---- answers in XML ---- */

/* Texts of the elements without children, as they end. `parent` is the name of the one around. */
typedef int xml_leaf(void *arg, const char *parent, const char *name, struct str text, struct err *err);
struct xml {
    XML_Parser parser;
    char names[8][64];
    int depth;
    struct buf text;
    xml_leaf *leaf;
    void *arg;
    struct err *err;
    bool failed;
};

static void XMLCALL xml_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct xml *x = arg;
    (void)attributes;
    if (x->depth < (int)COUNT_OF(x->names))
        snprintf(x->names[x->depth], sizeof x->names[0], "%s", name);
    x->depth++;
    buf_reset(&x->text);
    buf_adds(&x->text, "");
}

static void XMLCALL xml_text(void *arg, const XML_Char *p, int n)
{
    struct xml *x = arg;
    buf_add(&x->text, p, (size_t)n);
}

static void XMLCALL xml_end(void *arg, const XML_Char *name)
{
    struct xml *x = arg;
    int at = --x->depth;
    const char *parent = at > 0 && at <= (int)COUNT_OF(x->names) ? x->names[at - 1] : "";
    if (x->leaf(x->arg, parent, name, x->text.p ? buf_str(&x->text) : STR(""), x->err) < 0 || x->text.failed) {
        x->failed = true;
        (void)XML_StopParser(x->parser, XML_FALSE);
    }
    buf_reset(&x->text);
    buf_adds(&x->text, "");
}

/* Each element's own text goes to leaf. -1: fetch (no XML), or what leaf said. */
static int xml_read(struct str text, xml_leaf *leaf, void *arg, struct err *err)
{
    struct xml x = { .leaf = leaf, .arg = arg, .err = err, .parser = XML_ParserCreate(NULL) };
    if (!x.parser)
        return err_nomem(err);
    XML_SetUserData(x.parser, &x);
    XML_SetElementHandler(x.parser, xml_start, xml_end);
    XML_SetCharacterDataHandler(x.parser, xml_text);
    bool good = text.n && XML_Parse(x.parser, text.p, (int)text.n, 1) == XML_STATUS_OK;
    int rc = good ? 0
             : x.text.failed ? err_nomem(err)
             : x.failed ? -1
                        : err_set(err, ERR_FETCH, "the store's answer is no XML: %s",
                                  text.n ? XML_ErrorString(XML_GetErrorCode(x.parser)) : "it is empty");
    XML_ParserFree(x.parser);
    buf_clear(&x.text);
    return rc;
}

static void keep_text(char *out, size_t cap, struct str text)
{
    size_t n = text.n < cap - 1 ? text.n : cap - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text.p[i] < ' ' || text.p[i] == 127 ? ' ' : text.p[i];
    out[n] = '\0';
}

static int error_leaf(void *arg, const char *parent, const char *name, struct str text, struct err *err)
{
    struct request *r = arg;
    (void)err;
    if (!strcmp(parent, "Error") && !strcmp(name, "Code"))
        keep_text(r->code, sizeof r->code, text);
    if (!strcmp(parent, "Error") && !strcmp(name, "Message"))
        keep_text(r->words, sizeof r->words, text);
    return 0;
}

/* ---- one try ---- */

static size_t on_header(char *p, size_t one, size_t n, void *arg)
{
    struct request *r = arg;
    struct str line = { p, n };
    const char *colon = memchr(p, ':', n);
    (void)one;
    if (!colon)
        return n;
    struct str name = { p, (size_t)(colon - p) }, value = { colon + 1, line.n - name.n - 1 };
    while (value.n && (value.p[value.n - 1] == '\r' || value.p[value.n - 1] == '\n'))
        value.n--;
    value = str_trim(value);
    if (str_eq_nocase(name, STR("etag")))
        keep_text(r->object.etag, sizeof r->object.etag, value);
    else if (str_eq_nocase(name, STR("last-modified")))
        keep_text(r->object.modified, sizeof r->object.modified, value);
    return n;
}

/* Was a part of the object asked for? `given` grows while it comes, but not before. */
static bool asks_range(const struct request *r)
{
    return r->method == GET && (r->start > 0 || r->bytes >= 0);
}

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
    struct request *r = arg;
    (void)one;
    (void)curl_easy_getinfo(r->s->easy, CURLINFO_RESPONSE_CODE, &r->status);
    if (r->sink && r->status / 100 == 2) {
        if (r->status != 206 && asks_range(r)) {
            r->failed = true;
            err_set(r->err, ERR_FETCH_REFUSED, "%s/%.200s: the store does not serve ranges", r->s->place.name, r->key);
            return 0;
        }
        if (r->sink(r->arg, (struct str){ p, n }, r->err) < 0) {
            r->failed = true;
            return 0;
        }
        r->given += (int64_t)n;
        return n;
    }
    if (r->answer.n + n > ANSWER_MAX)
        return 0;
    buf_add(&r->answer, p, n);
    return r->answer.failed ? 0 : n;
}

static size_t on_upload(char *p, size_t one, size_t n, void *arg)
{
    struct request *r = arg;
    size_t some = r->body.n - r->sent < one * n ? r->body.n - r->sent : one * n;
    if (some)
        memcpy(p, r->body.p + r->sent, some);
    r->sent += some;
    return some;
}

static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
    struct request *r = arg;
    (void)dltotal, (void)dlnow, (void)ultotal, (void)ulnow;
    if (!r->failed && r->s->tick(r->s->tick_arg, r->err) < 0)
        r->failed = true;
    return r->failed;
}

static int on_seek(void *arg, curl_off_t to, int whence)
{
    struct request *r = arg;
    if (whence != SEEK_SET || to < 0 || (size_t)to > r->body.n)
        return CURL_SEEKFUNC_FAIL;
    r->sent = (size_t)to;
    return CURL_SEEKFUNC_OK;
}

static bool headers_of(struct request *r, struct curl_slist **list)
{
    bool good = s3_place_headers(&r->s->place, r->hash, list);
    if (r->condition)
        good = good && s3_header(list, "", r->condition);
    if (r->source)
        good = good && s3_header(list, "x-amz-copy-source: ", r->source);
    if (r->given > 0 && *r->object.etag && !r->condition) /* going on: of the same object */
        good = good && s3_header(list, "If-Match: ", r->object.etag);
    char range[64];
    if (r->bytes >= 0)
        snprintf(range, sizeof range, "bytes=%" PRId64 "-%" PRId64, r->start, r->from + r->bytes - 1);
    else
        snprintf(range, sizeof range, "bytes=%" PRId64 "-", r->start);
    if (asks_range(r))
        good = good && s3_header(list, "Range: ", range);
    return good;
}

static int set_common(struct request *r, const char *url, struct curl_slist *headers)
{
    CURL *e = r->s->easy;
    int bad = curl_guard(e, r->fault, r->s->limits.connect_timeout_ms);
    bad |= curl_easy_setopt(e, CURLOPT_URL, url);
    bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)((r->s->limits.stall_timeout_ms + 999) / 1000));
    bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    if (r->s->tick) {
        bad |= curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
        bad |= curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
        bad |= curl_easy_setopt(e, CURLOPT_XFERINFODATA, r);
    }
    bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    return bad;
}

static int set_method(struct request *r)
{
    CURL *e = r->s->easy;
    int bad = 0;
    if (r->method == HEAD)
        return (int)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (r->method == PUT || r->method == POST) {
        bad |= curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        bad |= curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.n);
        bad |= curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);
        bad |= curl_easy_setopt(e, CURLOPT_READFUNCTION, on_upload);
        bad |= curl_easy_setopt(e, CURLOPT_READDATA, r);
        bad |= curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
        bad |= curl_easy_setopt(e, CURLOPT_SEEKDATA, r);
    }
    if (r->method == POST || r->method == DELETE)
        bad |= curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, methods[r->method]);
    return bad;
}

static int set_security(struct s3 *s)
{
    CURL *e = s->easy;
    int bad = 0;
    if (s->ca_file)
        bad |= curl_easy_setopt(e, CURLOPT_CAINFO, s->ca_file);
    if (s->proxy)
        bad |= curl_easy_setopt(e, CURLOPT_PROXY, s->proxy);
    return bad | s3_place_sign(&s->place, e);
}

static CURLcode try_once(struct request *r)
{
    struct curl_slist *headers = NULL;
    AUTO(buf_clear) struct buf url = { 0 };
    CURLcode code = CURLE_OUT_OF_MEMORY;
    r->sent = 0;
    r->start = r->from + r->given;
    r->status = 0;
    r->code[0] = r->words[0] = r->fault[0] = '\0';
    buf_reset(&r->answer);
    curl_easy_reset(r->s->easy);
    if (s3_place_url(&r->s->place, str_of(r->key), r->query, &url) && headers_of(r, &headers) && !set_common(r, url.p, headers) && !set_method(r) &&
        !set_security(r->s)) {
        r->object = (struct s3_object){ .size = -1 };
        code = curl_easy_perform(r->s->easy);
        (void)curl_easy_getinfo(r->s->easy, CURLINFO_RESPONSE_CODE, &r->status);
        curl_off_t size = -1;
        (void)curl_easy_getinfo(r->s->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
        r->object.size = size < 0 || r->bytes >= 0 ? size : size + r->start;
        (void)curl_easy_setopt(r->s->easy, CURLOPT_HTTPHEADER, NULL);
    }
    s3_headers_free(headers);
    return code;
}

/* ---- what an answer means ---- */

static const struct status_def {
    long status;
    enum err_code code;
} statuses[] = {
    { 401, ERR_FETCH_DENIED }, { 403, ERR_FETCH_DENIED }, { 404, ERR_FETCH_MISSING }, { 412, ERR_CHANGED },
    { 408, ERR_TIMEOUT },      { 429, ERR_FETCH_BUSY },   { 503, ERR_FETCH_BUSY },
};

static int fail_status(struct request *r)
{
    enum err_code code = r->status >= 500 || r->status < 300 ? ERR_FETCH : ERR_FETCH_REFUSED;
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i].status == r->status)
            code = statuses[i].code;
    err_set(r->err, code, "%s %s/%.200s: the store answered %ld%s%s%s%s", methods[r->method], r->s->place.name, r->key,
            r->status, *r->code ? " " : "", r->code, *r->words ? ": " : "", r->words);
    r->err->sys = (int)r->status;
    return -1;
}

static int fail_curl(struct request *r, CURLcode curl)
{
    static const CURLcode tls[] = { CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
                                    CURLE_SSL_ISSUER_ERROR };
    enum err_code code = curl == CURLE_OUT_OF_MEMORY          ? ERR_NO_MEMORY
                         : curl == CURLE_OPERATION_TIMEDOUT   ? ERR_TIMEOUT
                         : curl == CURLE_URL_MALFORMAT        ? ERR_URI
                                                              : ERR_FETCH;
    for (size_t i = 0; i < COUNT_OF(tls); i++)
        code = curl == tls[i] ? ERR_TLS : code;
    err_set(r->err, code, "%s %s/%.200s: %s", methods[r->method], r->s->place.name, r->key,
            *r->fault ? r->fault : curl_easy_strerror(curl));
    r->err->sys = (int)curl;
    return -1;
}

/* Did the store say no? Also in the body of a 200, after it had begun to answer (CompleteMultipartUpload, CopyObject). */
static bool read_error(struct request *r)
{
    struct err ignored;
    bool bad = r->status / 100 != 2;
    if (r->answer.n && (bad || r->method == POST || r->source))
        (void)xml_read(buf_str(&r->answer), error_leaf, r, &ignored);
    return bad || *r->code;
}

static bool worth_another(const struct request *r)
{
    static const char *const passing[] = { "SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable",
                                           "ConditionalRequestConflict", "OperationAborted" };
    for (size_t i = 0; i < COUNT_OF(passing); i++)
        if (!strcmp(r->code, passing[i]))
            return true;
    return r->status >= 500 ? r->status != 501 : r->status == 429 || r->status == 408;
}

static bool passing_fault(CURLcode curl)
{
    static const CURLcode lasting[] = { CURLE_OUT_OF_MEMORY, CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL,
                                        CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
                                        CURLE_OPERATION_TIMEDOUT, CURLE_NOT_BUILT_IN, CURLE_UNKNOWN_OPTION };
    for (size_t i = 0; i < COUNT_OF(lasting); i++)
        if (lasting[i] == curl)
            return false;
    return true;
}

/* One try and its end. 0 a good answer; 1 none, but another try may bring one; -1 none. *err says why. */
static int try_and_judge(struct request *r)
{
    CURLcode curl = try_once(r);
    if (r->failed)
        return -1;
    if (curl != CURLE_OK && r->status < 300) { /* also after a "100 Continue" */
        fail_curl(r, curl);
        return passing_fault(curl) ? 1 : -1;
    }
    if (!read_error(r))
        return 0;
    fail_status(r);
    return worth_another(r) ? 1 : -1;
}

static void pause_ms(int64_t ms)
{
    struct timespec left = { ms / 1000, (ms % 1000) * 1000000 };
    while (nanosleep(&left, &left) < 0)
        ;
}

/* 0: a good answer (2xx). -1 *err; r->status tells which answer it was, 0 none. */
static int send_request(struct s3 *s, struct request *r, struct err *err)
{
    int64_t pause = PAUSE_MS;
    r->s = s;
    r->err = err;
    if (sha256_of(r->body, r->hash, err) < 0)
        return -1;
    for (int left = TRIES - 1;; left--, pause *= 2) {
        char etag[S3_ETAG];
        snprintf(etag, sizeof etag, "%s", r->object.etag);
        int64_t before = r->given;
        int rc = try_and_judge(r);
        if (rc <= 0)
            return rc;
        if (r->given > 0 && !*r->object.etag) { /* nothing proves that the rest is of the same object */
            if (!before)
                return -1;
            snprintf(r->object.etag, sizeof r->object.etag, "%s", etag);
        }
        if (left == 0)
            return -1;
        pause_ms(pause);
        r->again = true;
    }
}

/* ---- calls ---- */

int s3_head(struct s3 *s, const char *key, struct s3_object *out, struct err *err)
{
    struct request r = { .method = HEAD, .key = key, .bytes = -1 };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    if (rc < 0)
        return r.status == 404 ? 0 : -1;
    *out = r.object;
    return 1;
}

int s3_get(struct s3 *s, const char *key, int64_t from, int64_t bytes, const char *if_match, s3_sink *sink, void *arg,
           struct s3_object *out, struct err *err)
{
    struct request r = { .method = GET, .key = key, .from = from, .bytes = bytes, .sink = sink, .arg = arg };
    AUTO(buf_clear) struct buf condition = { 0 };
    if (if_match) {
        buf_addf(&condition, "If-Match: %s", if_match);
        r.condition = condition.p;
    }
    if (condition.failed)
        return err_nomem(err);
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    if (rc < 0)
        return r.status == 404 && strcmp(r.code, "NoSuchBucket") != 0 ? 0 : -1;
    if (out)
        *out = r.object;
    return 1;
}

int s3_put(struct s3 *s, const char *key, struct str bytes, const char *if_match, char etag[S3_ETAG], struct err *err)
{
    struct request r = { .method = PUT, .key = key, .body = bytes, .bytes = -1 };
    AUTO(buf_clear) struct buf condition = { 0 };
    if (if_match) {
        buf_addf(&condition, *if_match ? "If-Match: %s" : "If-None-Match: *", if_match);
        r.condition = condition.p;
    }
    if (condition.failed)
        return err_nomem(err);
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    if (rc < 0)
        return if_match && r.status == 412 ? 0 : -1;
    if (etag)
        memcpy(etag, r.object.etag, S3_ETAG);
    return 1;
}

int s3_delete(struct s3 *s, const char *key, struct err *err)
{
    struct request r = { .method = DELETE, .key = key, .bytes = -1 };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    return rc < 0 && r.status == 404 ? 0 : rc;
}

int s3_delete_version(struct s3 *s, const char *key, const char *etag, struct err *err)
{
    AUTO(buf_clear) struct buf condition = { 0 };
    buf_addf(&condition, "If-Match: %s", etag);
    if (condition.failed)
        return err_nomem(err);
    struct request r = { .method = DELETE, .key = key, .bytes = -1, .condition = condition.p };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    if (rc < 0 && r.status == 501)
        return s3_delete(s, key, err) < 0 ? -1 : 1;
    return rc == 0 || r.status == 404 ? 1 : r.status == 412 ? 0 : -1;
}

int s3_copy(struct s3 *s, const char *from, const char *to, struct err *err)
{
    AUTO(buf_clear) struct buf source = { 0 };
    buf_addf(&source, "/%s/", s->place.name + strlen("s3://"));
    s3_encode(&source, str_of(from), true);
    if (source.failed)
        return err_nomem(err);
    struct request r = { .method = PUT, .key = to, .bytes = -1, .source = source.p };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    return rc == 0 ? 1 : r.status == 404 && strcmp(r.code, "NoSuchBucket") != 0 ? 0 : -1;
}

/* ---- lists ---- */

struct listing {
    s3_each *each;
    void *arg;
    bool encoded; /* keys and prefixes, as was asked for: XML has no way to write every byte */
    char key[S3_KEY_MAX + 1];
    struct s3_object object;
    char *token; /* S3_TOKEN bytes */
    bool more;
    int rc;
};

/* Some stores say so behind the keys: read before them. */
static int encoding_leaf(void *arg, const char *parent, const char *name, struct str text, struct err *err)
{
    struct listing *l = arg;
    (void)parent;
    (void)err;
    if (!strcmp(name, "EncodingType"))
        l->encoded = str_eq(text, STR("url"));
    return 0;
}

/* "+" and "%XX" are taken out. */
static int take_key(struct listing *l, struct str text, struct err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++, n++) {
        unsigned hex;
        if (n == S3_KEY_MAX)
            return err_set(err, ERR_FETCH, "the store lists a key of more than %d bytes", S3_KEY_MAX);
        l->key[n] = l->encoded && text.p[i] == '+' ? ' ' : text.p[i];
        if (l->encoded && text.p[i] == '%' && i + 2 < text.n &&
            sscanf((char[]){ text.p[i + 1], text.p[i + 2], '\0' }, "%2x", &hex) == 1 && hex) {
            l->key[n] = (char)hex;
            i += 2;
        }
    }
    l->key[n] = '\0';
    return 0;
}

static int list_leaf(void *arg, const char *parent, const char *name, struct str text, struct err *err)
{
    struct listing *l = arg;
    if (!strcmp(parent, "Contents")) {
        if (!strcmp(name, "Key"))
            return take_key(l, text, err);
        if (!strcmp(name, "Size"))
            (void)text_int(text, &l->object.size);
        else if (!strcmp(name, "ETag"))
            keep_text(l->object.etag, sizeof l->object.etag, text);
        else if (!strcmp(name, "LastModified"))
            keep_text(l->object.modified, sizeof l->object.modified, text);
    } else if (!strcmp(name, "Contents")) {
        l->rc = l->each(l->arg, l->key, &l->object, err);
        l->object = (struct s3_object){ .size = -1 };
        l->key[0] = '\0';
    } else if (!strcmp(parent, "CommonPrefixes") && !strcmp(name, "Prefix")) {
        if (take_key(l, text, err) < 0)
            return -1;
        l->rc = l->each(l->arg, l->key, NULL, err);
    } else if (!strcmp(name, "IsTruncated")) {
        l->more = str_eq(text, STR("true"));
    } else if (!strcmp(name, "NextContinuationToken")) {
        if (text.n >= S3_TOKEN)
            return err_set(err, ERR_FETCH, "the store's continuation token is longer than %d bytes", S3_TOKEN);
        keep_text(l->token, S3_TOKEN, text);
    }
    return l->rc ? -1 : 0;
}

static void add_parameter(struct buf *query, const char *name, const char *value)
{
    buf_addf(query, "%s%s=", query->n ? "&" : "", name);
    s3_encode(query, str_of(value), false);
}

int s3_page(struct s3 *s, const char *prefix, const char *delimiter, const char *after, char token[S3_TOKEN], s3_each *each,
            void *arg, struct err *err)
{
    struct listing l = { .each = each, .arg = arg, .token = token, .object = { .size = -1 } };
    AUTO(buf_clear) struct buf query = { 0 };
    if (*token) /* in the order of their names */
        add_parameter(&query, "continuation-token", token);
    if (delimiter)
        add_parameter(&query, "delimiter", delimiter);
    add_parameter(&query, "encoding-type", "url");
    add_parameter(&query, "list-type", "2");
    add_parameter(&query, "prefix", prefix);
    if (after)
        add_parameter(&query, "start-after", after);
    if (query.failed)
        return err_nomem(err);
    struct request r = { .method = GET, .key = "", .query = query.p, .bytes = -1 };
    int rc = send_request(s, &r, err);
    token[0] = '\0';
    if (rc == 0 && (xml_read(buf_str(&r.answer), encoding_leaf, &l, err) < 0 || xml_read(buf_str(&r.answer), list_leaf, &l, err) < 0))
        rc = l.rc ? l.rc : -1;
    buf_clear(&r.answer);
    if (rc == 0 && l.more && !*token)
        return err_set(err, ERR_FETCH, "the store's list breaks off");
    if (!l.more)
        token[0] = '\0';
    return rc;
}

int s3_list(struct s3 *s, const char *prefix, const char *delimiter, const char *after, s3_each *each, void *arg,
            struct err *err)
{
    char token[S3_TOKEN] = "";
    int rc;
    while ((rc = s3_page(s, prefix, delimiter, after, token, each, arg, err)) == 0 && *token)
        ;
    return rc;
}

/* ---- in parts ---- */

static int id_leaf(void *arg, const char *parent, const char *name, struct str text, struct err *err)
{
    char *id = arg;
    (void)parent;
    if (strcmp(name, "UploadId") != 0)
        return 0;
    if (text.n >= S3_UPLOAD_ID)
        return err_set(err, ERR_FETCH, "the store's UploadId is too long");
    keep_text(id, S3_UPLOAD_ID, text);
    return 0;
}

int s3_upload_begin(struct s3 *s, const char *key, char id[S3_UPLOAD_ID], struct err *err)
{
    struct request r = { .method = POST, .key = key, .query = "uploads=", .bytes = -1 };
    id[0] = '\0';
    int rc = send_request(s, &r, err);
    if (rc == 0)
        rc = xml_read(buf_str(&r.answer), id_leaf, id, err);
    buf_clear(&r.answer);
    return rc == 0 && !*id ? err_set(err, ERR_FETCH, "the store's answer has no UploadId") : rc;
}

int s3_upload_part(struct s3 *s, const char *key, const char *id, int number, struct str bytes, struct s3_part *out,
                   struct err *err)
{
    AUTO(buf_clear) struct buf query = { 0 };
    buf_addf(&query, "partNumber=%d", number);
    add_parameter(&query, "uploadId", id);
    if (query.failed)
        return err_nomem(err);
    struct request r = { .method = PUT, .key = key, .query = query.p, .body = bytes, .bytes = -1 };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    if (rc == 0)
        memcpy(out->etag, r.object.etag, sizeof out->etag);
    return rc;
}

/* The answer to the first try may have been lost: is the object there, and as long as ours? */
static int ended_before(struct s3 *s, const char *key, int64_t size, const struct request *r, struct err *err)
{
    struct s3_object o;
    struct err e;
    if (!r->again || strcmp(r->code, "NoSuchUpload") != 0 || s3_head(s, key, &o, &e) != 1 || o.size != size)
        return -1;
    err->code = ERR_NONE;
    return 0;
}

int s3_upload_end(struct s3 *s, const char *key, const char *id, const struct s3_part *parts, int n, int64_t size,
                  struct err *err)
{
    AUTO(buf_clear) struct buf query = { 0 };
    AUTO(buf_clear) struct buf body = { 0 };
    add_parameter(&query, "uploadId", id);
    buf_adds(&body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (int i = 0; i < n; i++) {
        size_t length = strspn(parts[i].etag, "\"0123456789abcdefABCDEF-");
        buf_addf(&body, "<Part><PartNumber>%d</PartNumber><ETag>%.*s</ETag></Part>", i + 1, (int)length, parts[i].etag);
    }
    buf_adds(&body, "</CompleteMultipartUpload>");
    if (query.failed || body.failed)
        return err_nomem(err);
    struct request r = { .method = POST, .key = key, .query = query.p, .body = buf_str(&body), .bytes = -1 };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    return rc < 0 ? ended_before(s, key, size, &r, err) : 0;
}

int s3_upload_abort(struct s3 *s, const char *key, const char *id, struct err *err)
{
    AUTO(buf_clear) struct buf query = { 0 };
    add_parameter(&query, "uploadId", id);
    if (query.failed)
        return err_nomem(err);
    struct request r = { .method = DELETE, .key = key, .query = query.p, .bytes = -1 };
    int rc = send_request(s, &r, err);
    buf_clear(&r.answer);
    return rc < 0 && r.status == 404 ? 0 : rc;
}

/* ---- open ---- */

int s3_open(struct s3 **out, const struct remote *remote, struct str bucket, const struct limits *limits,
            struct err *err)
{
    struct s3 *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(err);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(s);
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    }
    s->limits = *limits;
    s->easy = curl_easy_init();
    if (remote && remote->ca_file)
        s->ca_file = strdup(remote->ca_file);
    int rc = !s->easy || (remote && remote->ca_file && !s->ca_file) ? err_nomem(err) : 0;
    if (rc == 0)
        rc = s3_place_open(&s->place, remote, bucket, err);
    if (rc == 0 && remote && remote->proxy && (rc = config_secret(remote->proxy, &s->proxy, err)) < 0)
        err_in(err, "proxy of the remote");
    if (rc < 0) {
        s3_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void s3_watch(struct s3 *s, int (*tick)(void *arg, struct err *err), void *arg)
{
    s->tick = tick;
    s->tick_arg = arg;
}

void s3_close(struct s3 *s)
{
    if (!s)
        return;
    curl_easy_cleanup(s->easy);
    s3_place_clear(&s->place);
    secret_clear(&s->proxy);
    free(s->ca_file);
    free(s);
    curl_global_cleanup();
}
