/*
 * Transfers by libcurl's multi interface, one at a time, on one handle that keeps its connections.
 *
 * A transfer is a row of tries. Each try has its own request and answer; what lasts over them is
 * the version whose bytes the sink has (`known`) and how far (`pos`). No byte of an answer goes to
 * the sink before transfer_judge() has proven that it belongs to that version at that place.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sys.h"
#include "base/text.h"
#include "io/fetch_transfer.h"

enum {
    TICK_MS = 100,
    SINK_FDS = 8,
    RETRIES = 3, /* tries in a row that bring fewer than PROGRESS bytes */
    PROGRESS = 16 * 1024,
    PAUSE_FIRST_MS = 250, /* before a try; doubles up to PAUSE_LAST_MS while nothing comes */
    PAUSE_LAST_MS = 5000,
    PAUSE_ASKED_MS = 30000, /* a longer Retry-After is for the queue to wait for */
    REDIRECTS = 10,
    WINDOW_BYTES = 1024,     /* fewer in a stall_timeout is a stall */
    HEAD_MAX = 256 * 1024,   /* all header lines of an answer */
    REFUSAL_MAX = 64 * 1024, /* body of an error that is read over to keep the connection */
};

static const struct transport transports[] = {
    { "http", "http", true, false, false }, { "https", "https", true, false, true },
    { "ftp", "ftp", false, false, false },  { "ftps", "ftp,ftps", false, false, true },
    { "sftp", "sftp", false, true, false }, { "s3", "http,https", true, false, false },
};

enum verdict { V_DONE, V_AGAIN, V_BROKEN, V_FAILED };

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
        transfer_fail(t, ERR_FETCH_REFUSED, "the server's headers are longer than %d bytes",
                      HEAD_MAX);
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
        return transfer_fail(t, ERR_LIMIT,
                             "the object has more bytes than [limits] object allows (%" PRId64 ")",
                             limit);
    if (t->known.size >= 0 && t->pos + (int64_t)n > t->known.size)
        return transfer_fail(t, ERR_FETCH,
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
    if (t->ask == ASK_STAT || t->ask == ASK_ORDER)
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
    if (transfer_judge(t) < 0)
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

static int take_answer(struct transfer *t)
{
    CURL *e = t->f->easy;
    int bad = 0;
    bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    return bad ? -1 : 0;
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
        return transfer_fail(t, ERR_INTERNAL, "libcurl cannot wait for the network");
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
    if (transfer_request(t) < 0)
        return code;
    if (take_answer(t) < 0) {
        transfer_fail(t, ERR_NO_MEMORY, "out of memory");
        return code;
    }
    if (curl_multi_add_handle(t->f->multi, t->f->easy) != CURLM_OK) {
        transfer_fail(t, ERR_NO_MEMORY, "out of memory");
        return code;
    }
    window_start(t, sys_mono_ms(), t->f->limits.connect_timeout_ms + t->f->limits.stall_timeout_ms);
    for (int running;;) {
        if (curl_multi_perform(t->f->multi, &running) != CURLM_OK)
            transfer_fail(t, ERR_INTERNAL, "libcurl cannot go on");
        if (t->failed || t->again || finished(t, &code) || turn(t) < 0 || t->again)
            break;
        if (stalled(t)) {
            snprintf(t->fault, sizeof t->fault,
                     "the server sent fewer than %d bytes in %" PRId64 " s (%sstall_timeout)", WINDOW_BYTES, t->window_limit_ms / 1000,
                     t->window_limit_ms > t->f->limits.stall_timeout_ms ? "connect_timeout and " : "");
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
        return transfer_fail_status(t);
    if (hop >= REDIRECTS)
        return transfer_fail(t, ERR_FETCH_REFUSED, "more than %d redirects", REDIRECTS);
    AUTO(curl_url_cleanupp) CURLU *start = curl_url();
    AUTO(curl_url_cleanupp) CURLU *now = curl_url();
    AUTO(curl_url_cleanupp) CURLU *next = curl_url();
    AUTO(curl_freep) char *scheme = NULL;
    AUTO(curl_freep) char *before = NULL;
    char shown[FETCH_SHOWN];
    fetch_redact(to, shown, sizeof shown);
    if (!start || !now || !next || curl_url_set(start, CURLUPART_URL, t->uri, 0) ||
        curl_url_set(now, CURLUPART_URL, t->url, 0) ||
        curl_url_set(next, CURLUPART_URL, to, CURLU_NON_SUPPORT_SCHEME) ||
        !url_part(next, CURLUPART_SCHEME, &scheme) || !url_part(now, CURLUPART_SCHEME, &before))
        return transfer_fail(t, ERR_FETCH_REFUSED, "the server redirects to what is no URL: %s",
                             shown);
    if (strcmp(scheme, "http") && strcmp(scheme, "https"))
        return transfer_fail(t, ERR_FETCH_REFUSED,
                             "the server redirects to %s, which is not followed", shown);
    if (!strcmp(before, "https") && !strcmp(scheme, "http"))
        return transfer_fail(t, ERR_FETCH_REFUSED,
                             "the server redirects from https to http (%s), which is not followed",
                             shown);
    char *url = strdup(to);
    if (!url)
        return transfer_fail(t, ERR_NO_MEMORY, "out of memory");
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
    t->unchanged = t->unless && curl == CURLE_OK && t->head.status == 304;
    if (t->unchanged)
        return V_DONE;
    if (t->from > 0 && (bad_range || t->head.status == 416)) {
        transfer_ask_again(t);
        return V_AGAIN;
    }
    if (!good_status(t) && t->head.status > 0 && (curl == CURLE_OK || t->refusal_bytes > 0)) {
        transfer_fail_status(t);
        return V_BROKEN; /* only if we have seen the object before; else it fails at once */
    }
    if (curl != CURLE_OK) {
        bool given = t->judged || t->pos > 0;
        transfer_fail_curl(t, curl);
        if (!t->transport->http && !given && t->ask == ASK_OBJECT &&
            (t->err->code == ERR_FETCH_MISSING || curl == CURLE_SSH) && is_folder(t))
            transfer_fail(t, ERR_NOT_A_FILE, "this is a folder");
        return V_BROKEN;
    }
    if (t->ask == ASK_LISTING &&
        transfer_last_reply(t) >= 400) { /* to libcurl a reply 450 is an empty folder */
        transfer_fail_curl(t, CURLE_FTP_COULDNT_RETR_FILE);
        return V_FAILED;
    }
    if (transfer_judge(t) < 0)
        return t->again ? V_AGAIN : V_FAILED;
    if (t->ask == ASK_LOOK)
        return V_DONE;
    if (t->skip > 0) {
        transfer_changed(t);
        return V_FAILED;
    }
    if (t->ask == ASK_OBJECT && t->known.size >= 0 && t->pos < t->known.size) {
        transfer_fail(t, ERR_FETCH, "the body ended at byte %" PRId64 " of %" PRId64, t->pos,
                      t->known.size);
        return V_BROKEN;
    }
    return V_DONE;
}

/* One request, with the redirects on its way. */
static enum verdict one_try(struct transfer *t)
{
    if (!transfer_first_url(t)) {
        t->url = NULL;
        transfer_fail(t, ERR_NO_MEMORY, "out of memory");
        return V_FAILED;
    }
    t->same_place = true;
    t->from = t->pos > 0 && !t->no_range && transfer_can_resume(t, &t->known) ? t->pos : 0;
    for (int hop = 0;; hop++) {
        CURLcode code = run(t);
        bool redirect = t->transport->http && !IS_S3(t) && code == CURLE_OK && !t->failed &&
                        !t->again && t->head.status >= 300 && t->head.status < 400 &&
                        t->head.status != 304;
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
    bool know = t->pos == 0 || transfer_can_resume(t, &t->known);
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

void fetch_rest(struct fetch *f)
{
    CURLM *fresh = f->counted ? curl_multi_init() : NULL; /* it has the connections */
    if (!fresh)
        return;
    for (int i = 0; i < f->nsockets; i++)
        (void)shutdown(f->sockets[i], SHUT_RDWR); /* else libcurl says good-bye, and waits for the answer */
    curl_multi_cleanup(f->multi);
    f->multi = fresh;
    f->counted = false;
}

static int check_uri(struct transfer *t)
{
    size_t n = strcspn(t->uri, ":");
    for (size_t i = 0; i < COUNT_OF(transports); i++)
        if (str_eq_nocase((struct str){ t->uri, n }, str_of(transports[i].scheme)))
            t->transport = &transports[i];
    if (!t->transport || strncmp(t->uri + n, "://", 3))
        return transfer_fail(t, ERR_URI,
                             "a fetched object has the scheme http, https, ftp, ftps, sftp or s3");
    if (t->transport->http)
        return 0;
    const char *path = t->uri + n + 3 + strcspn(t->uri + n + 3, "/?#");
    size_t end = strlen(path);
    bool folder = end == 0 || path[end - 1] == '/';
    if (folder && (t->ask == ASK_OBJECT || t->ask == ASK_STAT))
        return transfer_fail(t, ERR_NOT_A_FILE, "this names a folder");
    if (!t->transport->ssh && strcasestr(path, ";type="))
        return transfer_fail(t, ERR_URI,
                             "';type=' is not taken; every object is fetched as it is stored");
    return 0;
}

static int check_ssh(struct transfer *t)
{
    const struct remote *r = t->remote;
    if (!t->transport->ssh)
        return 0;
    if (!r || (!r->known_hosts && !r->host_key_sha256))
        return transfer_fail(t, ERR_HOST_KEY,
                             "nothing says which host key is right, so nobody is asked");
    if (!r->private_key && !r->password)
        return transfer_fail(t, ERR_FETCH_DENIED,
                             "sftp needs a private_key or a password in the [remote] section");
    if (r->private_key && access(r->private_key, R_OK) < 0)
        return transfer_fail(t, ERR_FETCH_DENIED, "the private key '%s' cannot be read: %s",
                             r->private_key, strerror(errno));
    if (r->known_hosts && access(r->known_hosts, R_OK) < 0)
        return transfer_fail(t, ERR_HOST_KEY, "known_hosts '%s' cannot be read: %s", r->known_hosts,
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
    if (check_uri(t) < 0 || check_ssh(t) < 0)
        return -1;
    t->f->counted |= !t->transport->http && t->remote && t->remote->connections;
    return 0;
}

/* One request without a second try. */
static enum verdict question(struct transfer *t)
{
    enum verdict v = V_FAILED;
    if (t->transport->http || t->transport->ssh)
        transfer_fail(t, ERR_URI, "only an FTP server is asked so");
    else if (transfer_secrets_read(t) == 0)
        v = one_try(t);
    transfer_secrets_clear(&t->secrets);
    free(t->url);
    return v;
}

int fetch_list(struct fetch *f, const char *uri, const struct remote *remote, const char *command,
               const struct fetch_sink *sink, struct err *err)
{
    struct transfer t = { .f = f,
                          .uri = uri,
                          .remote = remote,
                          .sink = sink,
                          .err = err,
                          .ask = ASK_LISTING,
                          .command = command };
    if (begin(&t) < 0)
        return -1;
    if (question(&t) == V_DONE)
        return 1;
    bool refused = t.given == 0 && err->sys == CURLE_FTP_COULDNT_RETR_FILE;
    long reply = refused ? transfer_last_reply(&t) : 0;
    return reply == 500 || reply == 502 || reply == 504 ? 0 : -1;
}

int fetch_stat(struct fetch *f, const char *uri, const struct remote *remote,
               const struct fetch_sink *sink, int64_t *size, int64_t *mtime_ms, struct err *err)
{
    struct transfer t = {
        .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .ask = ASK_STAT
    };
    if (begin(&t) < 0)
        return -1;
    if (question(&t) != V_DONE)
        return err->code == ERR_FETCH_MISSING ? 0 : -1;
    int64_t when = text_rfc3339_ms(str_of(t.known.modified));
    *size = t.known.size;
    *mtime_ms = when > 0 ? when : 0;
    return 1;
}

static int add_order(struct transfer *t, const char *verb, struct str path)
{
    AUTO(buf_clear) struct buf line = { 0 };
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] < ' ' || path.p[i] == 127)
            return transfer_fail(t, ERR_URI, "a name with a control character cannot be told an FTP server");
    buf_addf(&line, "%s ", verb);
    buf_add(&line, path.p, path.n);
    struct curl_slist *more = line.failed ? NULL : curl_slist_append(t->orders, line.p);
    if (!more)
        return transfer_fail(t, ERR_NO_MEMORY, "out of memory");
    t->orders = more;
    return 0;
}

int fetch_order(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_order orders[2],
                const struct fetch_sink *sink, struct err *err)
{
    struct transfer t = { .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .ask = ASK_ORDER };
    int rc = begin(&t);
    for (int i = 0; i < 2 && orders[i].verb && rc == 0; i++)
        rc = add_order(&t, orders[i].verb, orders[i].path);
    if (rc == 0)
        rc = question(&t) == V_DONE ? 0 : -1;
    curl_slist_free_all(t.orders);
    return rc;
}

static int transfer_whole(struct transfer *t, const struct fetch_head *resume)
{
    if (begin(t) < 0)
        return -1;
    if (t->ask == ASK_LOOK && !t->transport->http)
        return transfer_fail(t, ERR_URI,
                             "only http, https and s3 say what an object is without sending it");
    if (resume && resume->offset > 0 && transfer_can_resume(t, resume)) {
        t->known = *resume;
        t->pos = resume->offset;
    }
    int rc = transfer_secrets_read(t) < 0 ? -1 : transfer(t);
    transfer_secrets_clear(&t->secrets);
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

int fetch_get_changed(struct fetch *f, const char *uri, const struct remote *remote,
                      const struct fetch_head *known, const struct fetch_sink *sink, struct err *err)
{
    struct transfer t = {
        .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .unless = *known->etag || *known->modified ? known : NULL
    };
    return transfer_whole(&t, NULL) < 0 ? -1 : !t.unchanged;
}

int fetch_look(struct fetch *f, const char *uri, const struct remote *remote,
               const struct fetch_sink *sink, struct err *err)
{
    struct transfer t = {
        .f = f, .uri = uri, .remote = remote, .sink = sink, .err = err, .ask = ASK_LOOK
    };
    return transfer_whole(&t, NULL);
}
