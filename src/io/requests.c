/*
 * Requests by libcurl's multi_socket interface. libcurl says which sockets it waits for (on_socket) and until when (on_timer); both go
 * into one epoll, whose descriptor the caller polls beside its own.
 */
#include "io/requests.h"

#include <config.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/sys.h"
#include "io/curl_guard.h"
#include "io/http_head.h"

enum { EVENTS = 32, HEAD_MAX = 64 * 1024 };

/* A place for one request; its handle keeps what libcurl learned, and is used again. */
struct slot {
    struct slot *next;       /* of the free ones, or of those that are over */
    struct requests *owner;
    CURL *easy;
    const struct request_place *place; /* NULL: it is free */
    uint64_t tag;
    struct http_head head;
    size_t head_bytes;
    struct buf body, sent; /* sent: what a POST carries */
    bool too_long;
    CURLcode code;
    char fault[CURL_ERROR_SIZE];
};

struct requests {
    CURLM *multi;
    int epoll, timer, alarm; /* timer: libcurl's; alarm: the caller's */
    struct slot **slots;
    int nslots, under_way;
    struct slot *idle, *over, **over_end, *shown; /* shown: what requests_next() gave out last */
};

/* ---- what libcurl waits for ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct requests *r = arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(r->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    struct epoll_event e = { .events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0), .data.fd = fd };
    int rc = epoll_ctl(r->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    if (rc < 0 && errno == EEXIST)
        rc = epoll_ctl(r->epoll, EPOLL_CTL_MOD, fd, &e);
    if (rc == 0)
        (void)curl_multi_assign(r->multi, fd, r);
    return rc < 0 ? -1 : 0;
}

/* ms from now; 0: at once; below 0: never. */
static void timer_set(int fd, int64_t ms)
{
    struct itimerspec at = { .it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 } };
    if (ms < 0)
        at.it_value = (struct timespec){ 0 };
    else if (ms == 0)
        at.it_value.tv_nsec = 1;
    (void)timerfd_settime(fd, 0, &at, NULL);
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    timer_set(((struct requests *)arg)->timer, ms);
    return 0;
}

void requests_wake_at(struct requests *r, int64_t mono_ms)
{
    int64_t left = mono_ms - sys_mono_ms();
    timer_set(r->alarm, mono_ms == 0 ? -1 : left > 0 ? left : 0);
}

/* ---- places ---- */

static bool add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *more = curl_slist_append(*list, text);
    if (more)
        *list = more;
    return more != NULL;
}

static bool is_header(const struct curl_slist *list, const char *name)
{
    size_t n = strlen(name);
    for (; list; list = list->next)
        if (!strncasecmp(list->data, name, n) && (list->data[n] == ':' || list->data[n] == ';'))
            return true;
    return false;
}

/* One "Name: value", whose value may be a reference. */
static int header_line(struct request_place *p, struct str line, struct err *err)
{
    const char *colon = memchr(line.p, ':', line.n); /* the ini takes no line without */
    struct str name = str_trim((struct str){ line.p, (size_t)(colon - line.p) });
    struct str v = str_trim((struct str){ colon + 1, line.n - (size_t)(colon + 1 - line.p) });
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(secret_clear) char *value = NULL;
    AUTO(free_charp) char *reference = strndup(v.p, v.n);
    if (!reference)
        return err_nomem(err);
    if (config_secret(reference, &value, err) < 0)
        return err_in(err, "header '%.*s'", (int)(name.n < 40 ? name.n : 40), name.p);
    if (strpbrk(value, "\r\n"))
        return err_set(err, ERR_CONFIG, "the value of header '%.*s' holds a line end", (int)(name.n < 40 ? name.n : 40), name.p);
    buf_add(&text, name.p, name.n);
    buf_adds(&text, *value ? ": " : ";"); /* libcurl's way to send an empty header */
    buf_adds(&text, value);
    bool added = !text.failed && add_header(&p->headers, text.p) && (v.p[0] != '@' || add_header(&p->secrets, value));
    if (text.p)
        explicit_bzero(text.p, text.n);
    return added ? 0 : err_nomem(err);
}

static int header_lines(struct request_place *p, const char *lines, struct err *err)
{
    for (const char *line = lines; line && *line;) {
        struct str s = { line, strcspn(line, "\n") };
        line += s.n + (line[s.n] == '\n');
        s = str_trim(s);
        if (s.n && header_line(p, s, err) < 0)
            return -1;
    }
    return 0;
}

static int secret(const char *what, const char *reference, char **out, struct err *err)
{
    return !reference || config_secret(reference, out, err) == 0 ? 0 : err_in(err, "%s of the remote", what);
}

int request_place_open(struct request_place *p, const char *header, struct err *err)
{
    const struct remote *r = p->remote;
    p->headers = p->secrets = NULL;
    p->user = p->password = p->proxy = NULL;
    if (header_lines(p, r ? r->header : NULL, err) == 0 && header_lines(p, header, err) == 0 &&
        (!r || (secret("user", r->user, &p->user, err) == 0 && secret("password", r->password, &p->password, err) == 0 &&
                secret("proxy", r->proxy, &p->proxy, err) == 0))) {
        bool ok = (is_header(p->headers, "Accept") || add_header(&p->headers, "Accept: application/json")) &&
                  (!p->post || is_header(p->headers, "Content-Type") || add_header(&p->headers, "Content-Type: application/json")) &&
                  add_header(&p->headers, "Accept-Encoding: identity") && (!p->post || add_header(&p->headers, "Expect:"));
        if (ok)
            return 0;
        err_nomem(err);
    }
    request_place_close(p);
    return -1;
}

static void list_wipe(struct curl_slist **list)
{
    for (struct curl_slist *h = *list; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(*list);
    *list = NULL;
}

void request_place_close(struct request_place *p)
{
    list_wipe(&p->headers);
    list_wipe(&p->secrets);
    secret_clear(&p->user);
    secret_clear(&p->password);
    secret_clear(&p->proxy);
}

/* Of a value such as "Bearer TOKEN" the last word is one by itself, too. */
void request_place_hide(const struct request_place *p, char *text, size_t *n)
{
    for (const struct curl_slist *h = p->secrets; h; h = h->next) {
        const char *word = strrchr(h->data, ' ');
        secret_hide(text, n, h->data);
        if (word)
            secret_hide(text, n, word + 1);
    }
    if (p->password)
        secret_hide(text, n, p->password);
}

/* ---- a request ---- */

static size_t on_header(char *bytes, size_t one, size_t n, void *arg)
{
    struct slot *s = arg;
    (void)one;
    s->head_bytes += n;
    if (s->head_bytes > HEAD_MAX)
        return 0;
    if (!s->body.n) /* trailers say nothing that we want */
        http_head_line(&s->head, (struct str){ bytes, n });
    return n;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    struct slot *s = arg;
    (void)one;
    s->too_long = s->body.n + n > s->place->answer_max;
    if (s->too_long)
        return n ? 0 : 1;
    buf_add(&s->body, bytes, n);
    return s->body.failed ? 0 : n;
}

static bool set_up(struct slot *s, const char *url)
{
    const struct request_place *p = s->place;
    CURL *e = s->easy;
    curl_easy_reset(e);
    int bad = curl_guard(e, s->fault, p->connect_timeout_ms);
    bad |= curl_easy_setopt(e, CURLOPT_PRIVATE, s);
    bad |= curl_easy_setopt(e, CURLOPT_URL, url);
    bad |= curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L); /* as the template has it */
    bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    bad |= curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    bad |= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)p->timeout_ms);
    bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, p->headers);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, s);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, s);
    if (p->proxy)
        bad |= curl_easy_setopt(e, CURLOPT_PROXY, p->proxy);
    if (p->user)
        bad |= curl_easy_setopt(e, CURLOPT_USERNAME, p->user);
    if (p->password)
        bad |= curl_easy_setopt(e, CURLOPT_PASSWORD, p->password);
    if (p->remote && p->remote->ca_file) {
        bad |= curl_easy_setopt(e, CURLOPT_CAINFO, p->remote->ca_file);
        bad |= curl_easy_setopt(e, CURLOPT_PROXY_CAINFO, p->remote->ca_file);
    }
    if (p->post) {
        bad |= curl_easy_setopt(e, CURLOPT_POST, 1L);
        bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->sent.n);
        bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDS, s->sent.n ? s->sent.p : "");
    }
    return !bad;
}

static struct slot *slot_get(struct requests *r)
{
    struct slot *s = r->idle;
    if (s) {
        r->idle = s->next;
        return s;
    }
    struct slot **more = realloc(r->slots, ((size_t)r->nslots + 1) * sizeof *more);
    if (!more)
        return NULL;
    r->slots = more;
    if (!(s = calloc(1, sizeof *s)) || !(s->easy = curl_easy_init())) {
        free(s);
        return NULL;
    }
    s->owner = r;
    return r->slots[r->nslots++] = s;
}

static void slot_free(struct requests *r, struct slot *s)
{
    if (s->sent.p)
        explicit_bzero(s->sent.p, s->sent.n);
    buf_reset(&s->sent);
    buf_reset(&s->body);
    s->sent.failed = s->body.failed = false;
    s->place = NULL;
    s->next = r->idle;
    r->idle = s;
}

int requests_start(struct requests *r, const struct request_place *place, const char *url, struct str body, uint64_t tag, struct err *err)
{
    struct slot *s = slot_get(r);
    if (!s)
        return err_nomem(err);
    s->place = place;
    s->tag = tag;
    s->head = (struct http_head){ 0 };
    s->head_bytes = 0;
    s->too_long = false;
    s->fault[0] = '\0';
    buf_add(&s->sent, body.p, body.n);
    if (s->sent.failed || !set_up(s, url) || curl_multi_add_handle(r->multi, s->easy) != CURLM_OK) {
        slot_free(r, s);
        return err_set(err, ERR_NO_MEMORY, "the request could not be set up (out of memory, or libcurl lacks a feature)");
    }
    r->under_way++;
    return 0;
}

/* ---- turns ---- */

static void collect(struct requests *r)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(r->multi, &left));) {
        struct slot *s = NULL;
        if (m->msg != CURLMSG_DONE || curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s) != CURLE_OK || !s)
            continue;
        s->code = m->data.result;
        (void)curl_multi_remove_handle(r->multi, s->easy);
        r->under_way--;
        s->next = NULL;
        *r->over_end = s;
        r->over_end = &s->next;
    }
}

int requests_tick(struct requests *r, struct err *err)
{
    struct epoll_event events[EVENTS];
    uint64_t times;
    int running, n;
    CURLMcode code = CURLM_OK;
    do {
        n = epoll_wait(r->epoll, events, EVENTS, 0);
        for (int i = 0; i < n && code == CURLM_OK; i++) {
            int fd = events[i].data.fd;
            uint32_t e = events[i].events;
            if (fd == r->alarm)
                (void)!read(fd, &times, sizeof times);
            else if (fd == r->timer && read(fd, &times, sizeof times) > 0)
                code = curl_multi_socket_action(r->multi, CURL_SOCKET_TIMEOUT, 0, &running);
            else if (fd != r->timer)
                code = curl_multi_socket_action(r->multi, fd,
                                                (e & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                                                    (e & EPOLLERR ? CURL_CSELECT_ERR : 0), &running);
        }
    } while (n == EVENTS && code == CURLM_OK);
    collect(r);
    return code == CURLM_OK ? 0 : err_set(err, ERR_INTERNAL, "libcurl cannot go on: %s", curl_multi_strerror(code));
}

static enum err_code code_of(const struct slot *s)
{
    switch (s->code) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NO_MEMORY;
    case CURLE_URL_MALFORMAT:
        return ERR_URI;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return ERR_TLS;
    default:
        return ERR_FETCH;
    }
}

static void judge(struct slot *s, struct response *out)
{
    *out = (struct response){ .tag = s->tag };
    if (s->too_long) {
        err_set(&out->why, ERR_LIMIT, "the answer has more than %zu bytes", s->place->answer_max);
    } else if (s->body.failed) {
        err_nomem(&out->why);
    } else if (s->code == CURLE_OK) {
        out->status = s->head.status;
        out->body = buf_str(&s->body);
        out->retry_after_ms = http_retry_after_ms(&s->head, sys_now_ms());
        if (!out->status)
            err_set(&out->why, ERR_FETCH, "the server's answer is none of HTTP");
    } else {
        err_set(&out->why, code_of(s), "%s", s->fault[0] ? s->fault : curl_easy_strerror(s->code));
    }
}

static void shown_free(struct requests *r)
{
    if (r->shown)
        slot_free(r, r->shown);
    r->shown = NULL;
}

bool requests_next(struct requests *r, struct response *out)
{
    shown_free(r);
    struct slot *s = r->over;
    if (!s)
        return false;
    if (!(r->over = s->next))
        r->over_end = &r->over;
    r->shown = s;
    judge(s, out);
    return true;
}

void requests_abandon(struct requests *r)
{
    struct response ignored;
    while (requests_next(r, &ignored))
        ;
    for (int i = 0; i < r->nslots; i++)
        if (r->slots[i]->place) {
            (void)curl_multi_remove_handle(r->multi, r->slots[i]->easy);
            slot_free(r, r->slots[i]);
        }
    r->under_way = 0;
    requests_wake_at(r, 0);
}

/* ---- open and close ---- */

static int watch(struct requests *r, int fd, struct err *err)
{
    struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
    return fd < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? err_sys(err, "make what requests wait with") : 0;
}

int requests_open(struct requests **out, struct err *err)
{
    struct requests *r = calloc(1, sizeof *r);
    if (!r)
        return err_nomem(err);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(r);
        return err_set(err, ERR_INTERNAL, "libcurl does not start");
    }
    r->over_end = &r->over;
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    r->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    r->multi = curl_multi_init();
    int rc = r->multi ? 0 : err_nomem(err);
    if (rc < 0 || watch(r, r->timer, err) < 0 || watch(r, r->alarm, err) < 0) {
        requests_close(r);
        return -1;
    }
    (void)curl_multi_setopt(r->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(r->multi, CURLMOPT_SOCKETDATA, r);
    (void)curl_multi_setopt(r->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    (void)curl_multi_setopt(r->multi, CURLMOPT_TIMERDATA, r);
    *out = r;
    return 0;
}

void requests_close(struct requests *r)
{
    if (!r)
        return;
    if (r->multi)
        requests_abandon(r);
    for (int i = 0; i < r->nslots; i++) {
        curl_easy_cleanup(r->slots[i]->easy);
        buf_clear(&r->slots[i]->body);
        buf_clear(&r->slots[i]->sent);
        free(r->slots[i]);
    }
    free(r->slots);
    if (r->multi)
        (void)curl_multi_cleanup(r->multi);
    fd_closep(&r->epoll);
    fd_closep(&r->timer);
    fd_closep(&r->alarm);
    free(r);
    curl_global_cleanup();
}

int requests_fd(const struct requests *r) { return r->epoll; }
int requests_under_way(const struct requests *r) { return r->under_way; }
