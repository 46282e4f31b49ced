/*
 * Questions of the reader child, answered. See enrich.h.
 *
 * An item of a question waits, is under way, or is done. Requests are counted (answers_take) before they are sent, some at a time, and what was
 * not sent is given back when the question is over. If power fails: what was answered in the last second is asked again.
 */
#include "role/enrich.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/pack.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/answers.h"
#include "io/fetch.h"
#include "io/requests.h"
#include "io/sha256.h"
#include "pipeline/enrich.h"
#include "pipeline/enrich_judge.h"

enum {
    ANSWER_TOTAL_MAX = 8 << 20, /* bytes after which a question gets a part of its answer */
    FLUSH_BYTES = 256 * 1024,    /* of it that wait in memory */
    TAKE_MAX = 16,               /* requests that are counted at once */
    NEWS_MAX = 64,               /* answers that wait to be written to the cache */
    NEWS_MS = 1000,              /* or for so long */
    NEWS_BYTES = 1 << 20,        /* of their bodies, as well */
    UNDER_WAY_BYTES = 32 << 20,  /* of answers that may come at the same time */
    WAIT_MAX_MS = 30000,         /* for a server or a quota; what takes longer is for the queue to wait for */
    AGAIN_FIRST_MS = 250,        /* before a request is sent again; doubled up to */
    AGAIN_LAST_MS = 5000,
    PROBE_MORE_MS = 1000,        /* than its timeout a request takes that is sent alone, at most */
    PROBE_LOOK_MS = 250,         /* one is under way elsewhere: look again then */
    URL_MAX = 8000,
    SHOWN = 200,
};

enum item_state { ITEM_WAITS, ITEM_UNDER_WAY, ITEM_DONE };
struct item {
    struct template_value *values;
    char key[ANSWER_KEY + 1];
    enum item_state state;
    int64_t tries;
    int64_t not_before; /* sys_mono_ms */
};

struct secrets {
    char **v;
    int n;
};

struct enrich {
    const struct config *config;
    struct answers *cache;
    struct requests *requests;
    /* the question */
    bool asked;
    const struct enrich_config *about;
    struct arena arena; /* of the question and its items; kept until the next one, for verdicts */
    struct item *items;
    int nitems, ndone, first; /* first: no item before it waits */
    struct enrich_judge *judge; /* of answers with a good status; NULL: all of them are */
    bool open;                /* place and secrets are */
    struct request_place place;
    struct secrets url_secrets, body_secrets;
    int fd; /* the answer so far */
    uint64_t bytes;
    struct buf packed, prefix, url, body, kept, said;
    struct answer_new news[NEWS_MAX]; /* body.p is set when they are written */
    struct buf bodies;                /* of the news, one behind the other */
    int nnews;
    int64_t news_mono_ms; /* of the oldest */
    int64_t granted, grant_at, held_until; /* the latter two: sys_mono_ms */
    int64_t connections;  /* requests under way, at most */
    bool unwell;          /* the server failed, as far as we know: an answer is to be told */
    struct job_hold hold; /* for the queue; name NULL: there is none */
    char hold_why[ASK_WHY];
    bool stop;            /* no request is sent any more: `why`, or the answer is full */
    struct err why;
};

int enrich_open(struct enrich **out, const struct config *config, struct err *err)
{
    struct enrich *e = calloc(1, sizeof *e);
    if (!e)
        return err_nomem(err);
    e->config = config;
    e->fd = -1;
    if (config->nenriches && requests_open(&e->requests, err) < 0) {
        enrich_close(e);
        return -1;
    }
    *out = e;
    return 0;
}

/* ---- secrets ---- */

static void secrets_clear(struct secrets *s)
{
    for (int i = 0; i < s->n; i++)
        secret_clear(&s->v[i]);
    free(s->v);
    *s = (struct secrets){ 0 };
}

/* In the order of their places. */
static int secrets_read(struct secrets *s, const struct template *t, struct err *err)
{
    if (!(s->v = calloc((size_t)t->n + 1, sizeof *s->v)))
        return err_nomem(err);
    for (int i = 0; i < t->n; i++) {
        if (t->v[i].kind != PIECE_SECRET)
            continue;
        AUTO(free_charp) char *reference = strndup(t->v[i].text.p, t->v[i].text.n);
        if (!reference)
            return err_nomem(err);
        if (config_secret(reference, &s->v[s->n], err) < 0)
            return -1;
        s->n++;
    }
    return 0;
}

/* Whatever may hold a secret. */
static void wipe(struct buf *b)
{
    if (b->p)
        explicit_bzero(b->p, b->cap);
    buf_renew(b);
}

static void place_close(struct enrich *e)
{
    if (!e->open)
        return;
    request_place_close(&e->place);
    secrets_clear(&e->url_secrets);
    secrets_clear(&e->body_secrets);
    wipe(&e->url);
    wipe(&e->body);
    wipe(&e->said);
    e->open = false;
}

static int place_open(struct enrich *e, struct err *err)
{
    const struct enrich_config *c = e->about;
    int64_t connect_ms = e->config->limits.connect_timeout_ms;
    e->place = (struct request_place){ .remote = config_remote(e->config, c->url_text),
                                       .post = !strcmp(c->method, "POST"),
                                       .timeout_ms = c->timeout_ms,
                                       .connect_timeout_ms = connect_ms < c->timeout_ms ? connect_ms : c->timeout_ms,
                                       .answer_max = (size_t)c->answer_bytes };
    e->open = true;
    return request_place_open(&e->place, c->header, err) < 0 || secrets_read(&e->url_secrets, &c->url, err) < 0 ||
                   secrets_read(&e->body_secrets, &c->body, err) < 0
               ? -1
               : 0;
}

/* ---- the answer ---- */

/* The question fails: nothing is sent any more, and what is under way may end. */
static void give_up(struct enrich *e, const struct err *why)
{
    if (e->why.code == ERR_NONE)
        e->why = *why;
    e->stop = true;
}

static void answer_flush(struct enrich *e)
{
    struct err err;
    int rc = e->packed.failed ? err_nomem(&err) : sys_write_all(e->fd, e->packed.p, e->packed.n, "the answer to the reader", &err);
    if (rc < 0)
        give_up(e, &err);
    e->bytes += e->packed.n;
    buf_renew(&e->packed);
}

static void answer_add(struct enrich *e, int item, enum enrich_kind kind, bool fresh, struct str bytes)
{
    pack_u64(&e->packed, (uint64_t)item);
    pack_u64(&e->packed, kind);
    pack_u64(&e->packed, fresh);
    pack_bytes(&e->packed, bytes.p, bytes.n);
    e->items[item].state = ITEM_DONE;
    e->ndone++;
    if (e->packed.n > FLUSH_BYTES || e->packed.failed)
        answer_flush(e);
    e->stop |= e->bytes > ANSWER_TOTAL_MAX;
}

static int news_write(struct enrich *e, struct err *err)
{
    const struct answer_limits limits = { e->about->cache_rows, e->about->cache_bytes };
    const char *p = e->bodies.p;
    int n = e->nnews;
    for (int i = 0; i < n; p += e->news[i++].body.n)
        e->news[i].body.p = p;
    e->nnews = 0;
    buf_reset(&e->bodies);
    return answers_put(e->cache, e->about->name, &limits, e->news, n, sys_now_ms(), err);
}

static void news_add(struct enrich *e, enum answer_news what, const char *key, struct str body)
{
    struct err err;
    struct answer_new *v = &e->news[e->nnews];
    size_t before = e->bodies.n;
    buf_add(&e->bodies, body.p, body.n);
    if (e->bodies.failed) { /* it is none of the news: half a body is no answer */
        e->bodies.n = before;
        e->bodies.failed = false;
        err_nomem(&err);
        give_up(e, &err);
        return;
    }
    *v = (struct answer_new){ .what = what,
                              .expires = sys_now_ms() + (what == ANSWER_IS ? e->about->ttl_ms : e->about->negative_ttl_ms) };
    memcpy(v->key, key, sizeof v->key);
    v->body.n = body.n;
    if (e->nnews++ == 0)
        e->news_mono_ms = sys_mono_ms();
    if ((e->nnews == NEWS_MAX || e->bodies.n > NEWS_BYTES) && news_write(e, &err) < 0)
        give_up(e, &err);
}

/* ---- a question ---- */

/* What makes the answers of an [enrich] others than those of another, but for secrets: whom it asks, and how. */
static int prefix_make(struct enrich *e, struct err *err)
{
    const struct enrich_config *c = e->about;
    char url[1024];
    fetch_redact(c->url_text, url, sizeof url);
    buf_renew(&e->prefix);
    pack_text(&e->prefix, c->name);
    pack_text(&e->prefix, c->method);
    pack_text(&e->prefix, url);
    pack_text(&e->prefix, c->body_text);
    return e->prefix.failed ? err_nomem(err) : 0;
}

static int key_make(struct enrich *e, struct sha256 *sum, struct item *item, struct err *err)
{
    const struct enrich_config *c = e->about;
    char hex[SHA256_HEX + 1];
    buf_renew(&e->packed);
    for (int i = 0; i < c->ninputs; i++)
        if (c->keyed[i]) {
            pack_u64(&e->packed, item->values[i].bare);
            pack_bytes(&e->packed, item->values[i].text.p, item->values[i].text.n);
        }
    if (e->packed.failed)
        return err_nomem(err);
    if (sha256_add(sum, buf_str(&e->prefix), err) < 0 || sha256_add(sum, buf_str(&e->packed), err) < 0 || sha256_end(sum, hex, err) < 0)
        return -1;
    memcpy(item->key, hex, ANSWER_KEY);
    item->key[ANSWER_KEY] = '\0';
    return 0;
}

static void sha256_freep(struct sha256 **s) { sha256_free(*s); }

static int take_item(struct enrich *e, struct unpacker *u, struct item *item, struct err *err)
{
    int n = e->about->ninputs;
    if (!(item->values = arena_alloc(&e->arena, (size_t)n * sizeof *item->values)))
        return err_nomem(err);
    for (int i = 0; i < n; i++) {
        item->values[i].bare = take_u64(u) != 0;
        item->values[i].text = take_bytes(u);
    }
    return 0;
}

static int take_items(struct enrich *e, struct unpacker *u, struct err *err)
{
    uint64_t n = take_u64(u);
    AUTO(sha256_freep) struct sha256 *sum = sha256_new(err);
    if (u->bad || n > ENRICH_ITEMS_MAX)
        return err_set(err, ERR_INTERNAL, "the reader's question is none");
    if (!sum || prefix_make(e, err) < 0)
        return -1;
    if (!(e->items = arena_alloc(&e->arena, (size_t)(n + 1) * sizeof *e->items)))
        return err_nomem(err);
    for (e->nitems = 0; (uint64_t)e->nitems < n; e->nitems++) {
        struct item *item = &e->items[e->nitems];
        *item = (struct item){ .state = ITEM_WAITS };
        if (take_item(e, u, item, err) < 0 || (!u->bad && key_make(e, sum, item, err) < 0))
            return -1;
    }
    return u->bad || u->rest.n ? err_set(err, ERR_INTERNAL, "the reader's question is none") : 0;
}

/* What the child found in the answers to its last question. */
static int take_verdicts(struct enrich *e, struct unpacker *u, bool same, struct err *err)
{
    for (uint64_t n = take_u64(u); n > 0 && !u->bad; n--) {
        uint64_t item = take_u64(u), verdict = take_u64(u);
        if (u->bad || !same || item >= (uint64_t)e->nitems || verdict >= VERDICTS)
            return err_set(err, ERR_INTERNAL, "the reader's verdict is none");
        news_add(e, verdict == VERDICT_MISS ? ANSWER_EMPTY : ANSWER_FORGET, e->items[item].key, (struct str){ 0 });
    }
    return e->why.code != ERR_NONE || news_write(e, err) < 0 ? -1 : 0;
}

/* Is what is kept no error? It may be from a time when error= was another one. 1, 0, -1. */
static int is_answer(struct enrich *e, struct err *err)
{
    int rc = e->judge ? enrich_judge(e->judge, buf_str(&e->kept), &e->said, err) : 0;
    return rc < 0 ? -1 : !rc;
}

static int look_up_all(struct enrich *e, struct err *err)
{
    int64_t now = sys_now_ms();
    for (int i = 0; i < e->nitems && !e->stop; i++) {
        bool none;
        int rc = answers_get(e->cache, e->items[i].key, now, &none, &e->kept, err);
        if (rc < 0)
            return -1;
        if (rc == 1 && !none && (rc = is_answer(e, err)) < 0)
            return -1;
        if (rc == 1)
            answer_add(e, i, none ? KIND_NONE : KIND_BODY, false, none ? (struct str){ 0 } : buf_str(&e->kept));
    }
    return 0;
}

static int look_up(struct enrich *e, struct err *err)
{
    buf_renew(&e->packed);
    if (answers_look(e->cache, err) < 0)
        return -1;
    int rc = look_up_all(e, err);
    answers_looked(e->cache);
    return rc;
}

int enrich_cache(const struct config *config, bool make, struct answers **out, struct err *err)
{
    AUTO(buf_clear) struct buf path = { 0 };
    buf_addf(&path, "%s-enrich", config->database);
    if (path.failed)
        return err_nomem(err);
    if (!make && access(path.p, F_OK) < 0 && errno == ENOENT)
        return 0;
    return answers_open(out, path.p, err) < 0 ? -1 : 1;
}

/* The verdicts are about the items of the question before; then its memory is taken for the new one. */
static int question_take(struct enrich *e, const struct enrich_config *about, struct str question, struct err *err)
{
    struct unpacker u = { question, false };
    bool same = e->about == about;
    e->about = about;
    if (!e->cache && enrich_cache(e->config, true, &e->cache, err) < 0)
        return -1;
    if (take_verdicts(e, &u, same, err) < 0) {
        if (e->why.code != ERR_NONE)
            *err = e->why;
        return -1;
    }
    arena_reset(&e->arena);
    char *rest = arena_dup(&e->arena, u.rest);
    if (!rest)
        return err_nomem(err);
    u.rest.p = rest;
    return take_items(e, &u, err);
}

static void question_close(struct enrich *e)
{
    place_close(e);
    enrich_judge_close(e->judge);
    e->judge = NULL;
    fd_closep(&e->fd);
    e->asked = false;
}

int enrich_ask(struct enrich *e, uint64_t number, struct str question, struct err *err)
{
    if (number >= (uint64_t)e->config->nenriches || e->asked)
        return err_set(err, ERR_INTERNAL, "the reader's question is about nothing");
    e->ndone = e->first = e->nnews = 0;
    e->bytes = 0;
    buf_reset(&e->bodies);
    e->granted = e->held_until = 0;
    e->unwell = e->stop = false;
    e->hold.name = NULL;
    e->why = (struct err){ 0 };
    int rc = question_take(e, &e->config->enriches[number], question, err);
    int64_t most = UNDER_WAY_BYTES / e->about->answer_bytes;
    e->connections = e->about->connections < most ? e->about->connections : most;
    if (rc < 0)
        e->nitems = 0;
    if (rc == 0 && (e->fd = memfd_create("answer", MFD_CLOEXEC)) < 0)
        rc = err_sys(err, "make a memory file");
    if (rc == 0 && e->about->error_path)
        rc = enrich_judge_open(&e->judge, e->about, err);
    if (rc == 0)
        rc = look_up(e, err);
    if (rc == 0 && e->ndone < e->nitems)
        rc = place_open(e, err);
    if (rc < 0) {
        question_close(e);
        return err_in(err, "[enrich %s]", e->config->enriches[number].name);
    }
    e->asked = true;
    return 0;
}

int enrich_fd(const struct enrich *e) { return e->requests ? requests_fd(e->requests) : -1; }

/* ---- requests ---- */

/* The URL of an item, as it may be shown. */
static void show(struct enrich *e, const struct item *item, char out[SHOWN])
{
    AUTO(buf_clear) struct buf url = { 0 };
    template_put(&e->about->url, item->values, NULL, &url);
    fetch_redact(url.failed ? "" : url.p, out, SHOWN);
}

/* The item has no answer, and will have none. */
static void item_failed(struct enrich *e, int i, enum err_code code, const char *what)
{
    struct err err;
    char shown[SHOWN];
    show(e, &e->items[i], shown);
    err_set(&err, code, "%s: %s", shown, what);
    if (e->about->on_error == ELSE_FAIL)
        give_up(e, &err);
    answer_add(e, i, KIND_FAILED, true, str_of(err.msg));
}

static int64_t doubled(int64_t first, int64_t times, int64_t last)
{
    while (times-- > 0 && first < last)
        first *= 2;
    return first < last ? first : last;
}

static void again(struct enrich *e, int i, int64_t wait_ms)
{
    e->items[i].state = ITEM_WAITS;
    e->items[i].not_before = sys_mono_ms() + wait_ms;
    if (i < e->first)
        e->first = i;
}

struct ask_limits enrich_limits(const struct enrich_config *c)
{
    struct hash server;
    hash_init(&server);
    hash_add(&server, c->url_text, strlen(c->url_text));
    return (struct ask_limits){ .server = (int64_t)hash_end(&server),
                                .probe_ms = c->timeout_ms + PROBE_MORE_MS,
                                .interval_ms = c->interval_ms,
                                .quota = c->quota.n,
                                .quota_ms = c->quota.period_ms,
                                .wait_ms = WAIT_MAX_MS };
}

/* Requests that were counted are not sent. */
static int give_back(struct enrich *e, struct err *err)
{
    const struct ask_limits limits = enrich_limits(e->about);
    int64_t unused = e->granted;
    e->granted = 0;
    return answers_give_back(e->cache, e->about->name, &limits, unused, sys_now_ms(), err);
}

static void hold(struct enrich *e, int64_t until, bool server, const char *why)
{
    snprintf(e->hold_why, sizeof e->hold_why, "%.*s", (int)sizeof e->hold_why - 1, why);
    e->hold = (struct job_hold){ e->about->name, e->hold_why, until, server };
}

/* The server failed. True: it is left alone for a while by all, and what may be asked of it is found out anew. */
static bool failed(struct enrich *e, const struct ask_failure *f)
{
    struct err err;
    const struct ask_limits limits = enrich_limits(e->about);
    char why[ASK_WHY];
    int64_t until;
    e->unwell = true;
    if (answers_failed(e->cache, e->about->name, &limits, f, sys_now_ms(), &until, &err) < 0 || (until && give_back(e, &err) < 0)) {
        give_up(e, &err);
        return false;
    }
    if (until && (f->busy || e->about->on_error == ELSE_FAIL)) {
        snprintf(why, sizeof why, "[enrich %.80s]: %s", e->about->name, f->why);
        hold(e, until, true, why);
    }
    return until;
}

/* It answered. */
static void well(struct enrich *e)
{
    struct err err;
    if (!e->unwell)
        return;
    e->unwell = false;
    e->hold.name = NULL;
    e->held_until = 0;
    if (answers_well(e->cache, e->about->name, sys_now_ms(), &err) < 0)
        give_up(e, &err);
}

/* The server asked to be left alone. */
static void on_busy(struct enrich *e, int i, int64_t retry_after_ms, const char *what)
{
    e->items[i].tries--; /* this was none of its own */
    again(e, i, 0);
    (void)failed(e, &(struct ask_failure){ true, retry_after_ms, what });
}

/* It failed: once more, or for good. */
static void on_failure(struct enrich *e, int i, bool may_pass, const char *what)
{
    struct item *item = &e->items[i];
    bool held = may_pass && failed(e, &(struct ask_failure){ .why = what });
    if (may_pass && item->tries <= e->about->retries)
        again(e, i, held ? 0 : doubled(AGAIN_FIRST_MS, item->tries - 1, AGAIN_LAST_MS));
    else
        item_failed(e, i, may_pass ? ERR_ENRICH : ERR_ENRICH_REFUSED, what);
}

static const struct status_def {
    int from, to;
    enum { S_BODY, S_NONE, S_BUSY, S_AGAIN, S_REFUSED } means;
} statuses[] = {
    { 204, 204, S_NONE }, { 200, 299, S_BODY }, { 404, 404, S_NONE },  { 410, 410, S_NONE },  { 429, 429, S_BUSY },
    { 503, 503, S_BUSY }, { 408, 408, S_AGAIN }, { 425, 425, S_AGAIN }, { 500, 599, S_AGAIN }, { 100, 599, S_REFUSED },
};

/* What the answer says at error=, without secrets, which a server may say back; nothing is put into what when it is no error. 1, 0, -1. */
static int said_error(struct enrich *e, const struct response *r, char what[ASK_WHY], struct err *err)
{
    char said[ENRICH_SAID + 4];
    int rc = e->judge ? enrich_judge(e->judge, r->body, &e->said, err) : 0;
    if (rc <= 0)
        return rc;
    for (int i = 0; i < e->url_secrets.n; i++)
        secret_hide(e->said.p, &e->said.n, e->url_secrets.v[i]);
    for (int i = 0; i < e->body_secrets.n; i++)
        secret_hide(e->said.p, &e->said.n, e->body_secrets.v[i]);
    request_place_hide(&e->place, e->said.p, &e->said.n);
    enrich_said(buf_str(&e->said), said);
    snprintf(what, ASK_WHY, "the server answered %d with %.60s '%s'", r->status, e->about->error_path, said);
    return 1;
}

static void on_answer(struct enrich *e, const struct response *r)
{
    int i = (int)r->tag, error;
    char what[ASK_WHY];
    struct err err;
    size_t s = 0;
    while (s < COUNT_OF(statuses) - 1 && (r->status < statuses[s].from || r->status > statuses[s].to))
        s++;
    snprintf(what, sizeof what, "the server answered %d%s", r->status,
             r->status >= 300 && r->status < 400 ? ", and redirects are not followed" : "");
    if ((error = said_error(e, r, what, &err)) < 0) {
        give_up(e, &err);
        return;
    }
    bool body = statuses[s].means == S_BODY && !error, none = statuses[s].means == S_NONE;
    if (body || none || statuses[s].means == S_REFUSED)
        well(e);
    if (body || none) {
        news_add(e, body ? ANSWER_IS : ANSWER_NONE, e->items[i].key, body ? r->body : (struct str){ 0 });
        answer_add(e, i, body ? KIND_BODY : KIND_NONE, true, body ? r->body : (struct str){ 0 });
    } else if (statuses[s].means == S_BUSY) {
        on_busy(e, i, r->retry_after_ms, what);
    } else {
        on_failure(e, i, statuses[s].means != S_REFUSED, what);
    }
}

static void on_response(struct enrich *e, const struct response *r)
{
    int i = (int)r->tag;
    if (r->status)
        on_answer(e, r);
    else if (r->why.code == ERR_LIMIT)
        item_failed(e, i, ERR_ENRICH_ANSWER, r->why.msg);
    else
        on_failure(e, i, err_class(r->why.code) == ERR_TRANSIENT, r->why.msg);
}

static int send_item(struct enrich *e, int i, struct err *err)
{
    struct item *item = &e->items[i];
    if (template_astray(&e->about->url, item->values)) {
        e->granted++;
        item_failed(e, i, ERR_ENRICH_REFUSED, "a value that is '.' or '..' would change the path of its URL");
        return 0;
    }
    wipe(&e->url);
    wipe(&e->body);
    template_put(&e->about->url, item->values, e->url_secrets.v, &e->url);
    template_put(&e->about->body, item->values, e->body_secrets.v, &e->body);
    if (e->url.failed || e->body.failed)
        return err_nomem(err);
    if (e->url.n > URL_MAX) {
        e->granted++;
        item_failed(e, i, ERR_ENRICH_REFUSED, "its URL would be longer than 8000 bytes");
        return 0;
    }
    item->state = ITEM_UNDER_WAY;
    item->tries++;
    return requests_start(e->requests, &e->place, e->url.p, buf_str(&e->body), (uint64_t)i, err);
}

/* For a server that fails, one of the items that failed least, any of them: else a few that it never answers, and that lie side by side, would
 * keep it from being asked for the others. -1: none may be sent now. */
static int any_item(const struct enrich *e, int64_t now)
{
    int found = -1;
    uint64_t alike = 0;
    for (int i = e->first; i < e->nitems; i++) {
        const struct item *item = &e->items[i];
        if (item->state != ITEM_WAITS || item->not_before > now || (found >= 0 && item->tries > e->items[found].tries))
            continue;
        if (found >= 0 && item->tries < e->items[found].tries)
            alike = 0;
        if (sys_random() % ++alike == 0)
            found = i;
    }
    return found;
}

/* The next item that waits and may be sent now; -1: none, and *at is when there will be one. */
static int next_item(struct enrich *e, int64_t now, int64_t *at)
{
    *at = 0;
    while (e->first < e->nitems && e->items[e->first].state != ITEM_WAITS)
        e->first++;
    for (int i = e->first; i < e->nitems; i++) {
        const struct item *item = &e->items[i];
        if (item->state != ITEM_WAITS)
            continue;
        if (item->not_before <= now)
            return e->unwell ? any_item(e, now) : i;
        *at = !*at || item->not_before < *at ? item->not_before : *at;
    }
    return -1;
}

/* What would be asked has failed: the server is not asked. */
static void fail_waiting(struct enrich *e, const char *what)
{
    for (int i = 0; i < e->nitems; i++)
        if (e->items[i].state == ITEM_WAITS)
            item_failed(e, i, ERR_ENRICH_DOWN, what);
}

/* Why a gate is closed, which opens at `when`. */
static void closed_why(const struct enrich *e, const struct ask_grant *g, const char *when, struct err *err)
{
    const struct enrich_config *c = e->about;
    switch (g->gate) {
    case ASK_QUOTA:
        err_set(err, ERR_ENRICH_QUOTA, "[enrich %s]: the quota of %lld requests is used up; the next one begins at %s", c->name,
                (long long)c->quota.n, when);
        break;
    case ASK_INTERVAL:
        err_set(err, ERR_ENRICH_QUOTA, "[enrich %s]: its interval lets the next request start at %s", c->name, when);
        break;
    case ASK_BUSY:
        err_set(err, ERR_ENRICH_BUSY, "[enrich %s]: the server is busy and is left alone until %s: %s", c->name, when, g->why);
        break;
    default:
        err_set(err, ERR_ENRICH_DOWN, "[enrich %s]: the server failed %lld times in a row and is left alone until %s: %s", c->name,
                (long long)g->failures, when, g->why);
    }
}

/* A gate of all workers is closed: wait a little, or give up until it opens. */
static void closed(struct enrich *e, const struct ask_grant *g, int64_t wait_ms)
{
    struct err err;
    char when[32];
    bool probed = g->gate == ASK_PROBED, own = probed && requests_under_way(e->requests) > 0;
    e->held_until = sys_mono_ms() + (probed && wait_ms > PROBE_LOOK_MS ? PROBE_LOOK_MS : wait_ms);
    if (wait_ms <= WAIT_MAX_MS || own)
        return;
    text_put_rfc3339(when, g->at);
    closed_why(e, g, when, &err);
    if (err.code == ERR_ENRICH_DOWN && e->about->on_error != ELSE_FAIL) {
        fail_waiting(e, err.msg);
        return;
    }
    err.retry_after_ms = wait_ms;
    hold(e, g->at, err.code != ERR_ENRICH_QUOTA, err.msg);
    give_up(e, &err);
}

/* Count the next requests. */
static int take(struct enrich *e, struct err *err)
{
    const struct ask_limits limits = enrich_limits(e->about);
    struct ask_grant g;
    int64_t now = sys_now_ms(), want = e->nitems - e->ndone - requests_under_way(e->requests);
    want = want < TAKE_MAX ? want : TAKE_MAX;
    if (answers_take(e->cache, e->about->name, &limits, want > 0 ? want : 1, now, &g, err) < 0)
        return -1;
    e->granted = g.n;
    e->unwell |= g.failures > 0;
    e->grant_at = limits.interval_ms ? sys_mono_ms() + (g.at - now) : 0;
    if (g.gate != ASK_OPEN)
        closed(e, &g, g.at - now);
    return 0;
}

/* Send what may be sent; *at: when there will be more, or 0. */
static int pump(struct enrich *e, int64_t *at, struct err *err)
{
    int64_t now = sys_mono_ms();
    *at = 0;
    while (!e->stop && requests_under_way(e->requests) < e->connections) {
        int i = next_item(e, now, at);
        if (i < 0)
            return 0;
        if (e->held_until <= now && !e->granted && take(e, err) < 0)
            return -1;
        int64_t from = e->held_until > now ? e->held_until : e->grant_at;
        if (e->stop || from > now) {
            *at = from;
            return 0;
        }
        if (!e->granted)
            continue;
        e->granted--;
        e->grant_at = now + e->about->interval_ms; /* also when they were counted long ago */
        if (send_item(e, i, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_over(const struct enrich *e)
{
    return e->ndone == e->nitems || (e->stop && requests_under_way(e->requests) == 0);
}

static int turn(struct enrich *e, struct err *err)
{
    struct response r;
    int64_t at;
    if (requests_tick(e->requests, err) < 0)
        return -1;
    while (requests_next(e->requests, &r))
        on_response(e, &r);
    if (pump(e, &at, err) < 0)
        return -1;
    if (e->nnews && sys_mono_ms() - e->news_mono_ms >= NEWS_MS && news_write(e, err) < 0)
        return -1;
    requests_wake_at(e->requests, at);
    return 0;
}

/* Keep what was learned, give back what was not used. */
static int settle(struct enrich *e, struct err *err)
{
    requests_wake_at(e->requests, 0);
    int rc = news_write(e, err);
    return give_back(e, err) < 0 ? -1 : rc;
}

/* The question is over: what comes of it, rc and *err, or its answer in e->fd. */
static int question_end(struct enrich *e, int rc, struct err *err)
{
    struct err late;
    if (rc < 0)
        requests_abandon(e->requests);
    answer_flush(e);
    if (rc == 0 && e->why.code != ERR_NONE) {
        *err = e->why;
        rc = -1;
    }
    if (settle(e, &late) < 0 && rc == 0) {
        *err = late;
        rc = -1;
    }
    return rc < 0 && !strstr(err->msg, "[enrich ") ? err_in(err, "[enrich %s]", e->about->name) : rc;
}

int enrich_tick(struct enrich *e, int *fd, uint64_t *bytes, struct err *err)
{
    struct err ignored;
    if (!e->asked) {
        if (e->requests)
            (void)requests_tick(e->requests, &ignored); /* connections that the server closes */
        return 0;
    }
    int rc = is_over(e) ? 0 : turn(e, err);
    if (rc == 0 && !is_over(e))
        return 0;
    rc = question_end(e, rc, err);
    if (rc == 0) {
        *fd = fd_steal(&e->fd);
        *bytes = e->bytes;
    }
    question_close(e);
    return rc < 0 ? -1 : 1;
}

void enrich_abandon(struct enrich *e)
{
    struct err ignored;
    if (!e->asked)
        return;
    requests_abandon(e->requests);
    (void)settle(e, &ignored); /* what is lost is asked again */
    e->nitems = 0;
    question_close(e);
}

void enrich_close(struct enrich *e)
{
    if (!e)
        return;
    enrich_abandon(e);
    answers_close(e->cache);
    requests_close(e->requests);
    arena_clear(&e->arena);
    buf_clear(&e->packed);
    buf_clear(&e->prefix);
    buf_clear(&e->url);
    buf_clear(&e->body);
    buf_clear(&e->kept);
    buf_clear(&e->said);
    buf_clear(&e->bodies);
    free(e);
}

uint64_t enrich_rule(const struct enrich_config *c)
{
    const int64_t numbers[] = { c->quota.n, c->quota.period_ms, c->interval_ms };
    struct hash rule;
    hash_init(&rule);
    hash_add(&rule, c->url_text, strlen(c->url_text));
    hash_add(&rule, numbers, sizeof numbers);
    return hash_end(&rule);
}

bool enrich_held(struct enrich *e, struct job_hold *out)
{
    *out = e->hold;
    e->hold.name = NULL;
    return out->name;
}
