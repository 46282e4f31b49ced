/* qetlctl submit: one job from the command line, or JSON lines in batches. A submit that returned is on disk. */
#include "bin/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "source/source.h"

enum { SUBMIT_BATCH = 1000, LANES_MAX = 64 };

/* A password inside a URI would lie in the database and in logs. */
static int refuse_password(struct ctl *c, const char *uri)
{
    const char *authority = strstr(uri, "://");
    if (!authority)
        return 0;
    authority += 3;
    const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
    if (!at || !memchr(authority, ':', (size_t)(at - authority)))
        return 0;
    return ctl_usage(c, "a URI may not hold a password; give user and password in a [remote] section whose url begins it");
}

/* What follows from the job's pipeline: target, lanes, attempts. */
static int from_pipeline(struct ctl *c, struct job_new *n, const char **lanes)
{
    const struct pipeline *p = config_pipeline(c->config, n->pipeline);
    if (!p)
        return config_no_pipeline(c->config, n->pipeline, &c->err);
    if (n->objects.n <= 2 && !p->source) /* "" or "[]" */
        return ctl_usage(c, "pipeline '%s' has no source: name at least one URI", p->name);
    n->target = p->parts[0].target;
    n->attempts_max = p->attempts;
    n->lanes = lanes;
    n->nlanes = 0;
    for (int i = 0; i < p->nparts; i++) {
        if (p->parts[i].mode == MODE_APPEND)
            continue;
        bool known = false;
        for (int k = 0; k < n->nlanes; k++)
            known |= !strcmp(lanes[k], p->parts[i].table);
        if (!known)
            lanes[n->nlanes++] = p->parts[i].table;
        n->lane_replace = p->parts[i].mode == MODE_REPLACE;
    }
    return 0;
}

static int64_t default_priority(const struct ctl *c, const char *pipeline)
{
    const struct pipeline *p = config_pipeline(c->config, pipeline);
    return p ? p->priority : 0;
}

static int parse_at(struct ctl *c, const char *text, int64_t *ms)
{
    int64_t d;
    *ms = text_rfc3339_ms(str_of(text));
    if (*ms != INT64_MIN)
        return 0;
    if (!text_duration(str_of(text), &d))
        return ctl_usage(c, "'%s' is neither an RFC 3339 time nor a duration such as 10m", text);
    *ms = sys_now_ms() + d;
    return 0;
}

static int objects_json(struct ctl *c, const struct ctl_submission *s, struct buf *out)
{
    struct json_out o;
    json_start(&o, out);
    json_array(&o);
    for (int i = 0; i < s->nuris; i++) {
        enum source_kind kind;
        if (refuse_password(c, s->uris[i]) < 0)
            return -1;
        AUTO(free_charp) char *uri = source_absolute(s->uris[i]);
        if (!uri)
            return err_nomem(&c->err);
        if (source_kind(uri, &kind, &c->err) < 0)
            return -1;
        json_text(&o, str_of(uri));
    }
    json_array_end(&o);
    return out->failed ? err_nomem(&c->err) : 0;
}

int ctl_submit_one(struct ctl *c, const struct ctl_submission *s, int64_t *id, char *uid, bool *made)
{
    AUTO(buf_clear) struct buf objects = { 0 };
    const char *lanes[LANES_MAX];
    if (s->nuris && objects_json(c, s, &objects) < 0)
        return -1;
    struct job_new n = {
        .pipeline = s->pipeline,
        .objects = buf_str(&objects),
        .params = str_of(s->params),
        .unique = s->unique,
        .run_at = s->run_at,
        .priority = s->has_priority ? s->priority : default_priority(c, s->pipeline),
    };
    if (from_pipeline(c, &n, lanes) < 0 || queue_begin(c->queue, &c->err) < 0)
        return -1;
    if (job_submit(c->queue, &n, id, uid, made, &c->err) < 0) {
        queue_rollback(c->queue);
        return -1;
    }
    if (queue_commit(c->queue, QUEUE_NOW, &c->err) < 0)
        return -1;
    queue_ring(c->queue, BELL_READY, 1);
    return 0;
}

/* ---- JSON lines ---- */

struct stream {
    struct ctl *c;
    struct arena arena; /* texts of the line in hand */
    int64_t line, jobs, existing, in_batch;
    bool open;
};

/* A job's fields as the line gives them. */
struct message {
    struct job_new job;
    bool has_priority;
};

static int bad_line(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int bad_line(struct stream *s, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ctl_usage(s->c, "line %" PRId64 ": %s", s->line, text);
}

static int text_of(struct stream *s, const char *key, const struct json_value *v, const char **out)
{
    struct str text;
    if (v->kind != JSON_TEXT || !json_unescape(v, &s->arena, &text) || memchr(text.p, 0, text.n))
        return bad_line(s, "\"%s\" must be a text", key);
    return (*out = arena_dup(&s->arena, text)) ? 0 : err_nomem(&s->c->err);
}

static int take_pipeline(struct stream *s, struct message *m, const char *key, const struct json_value *v)
{
    return m->job.pipeline ? bad_line(s, "the pipeline is named twice") : text_of(s, key, v, &m->job.pipeline);
}

static int take_params(struct stream *s, struct message *m, const char *key, const struct json_value *v)
{
    m->job.params = v->raw;
    return v->kind == JSON_OBJECT ? 0 : bad_line(s, "\"%s\" must be an object", key);
}

static int take_objects(struct stream *s, struct message *m, const char *key, const struct json_value *v)
{
    struct json_value item;
    struct str none;
    if (v->kind != JSON_ARRAY)
        return bad_line(s, "\"%s\" must be an array of URIs", key);
    m->job.objects = v->raw;
    for (size_t at = 0; json_next(v, &at, &none, &item);) {
        const char *uri;
        enum source_kind kind;
        if (text_of(s, key, &item, &uri) < 0 || refuse_password(s->c, uri) < 0)
            return -1;
        if (source_kind(uri, &kind, &s->c->err) < 0)
            return err_in(&s->c->err, "line %" PRId64, s->line);
    }
    return 0;
}

static int take_unique(struct stream *s, struct message *m, const char *key, const struct json_value *v)
{
    return text_of(s, key, v, &m->job.unique);
}

static int take_priority(struct stream *s, struct message *m, const char *key, const struct json_value *v)
{
    m->has_priority = true;
    return v->kind == JSON_NUMBER && text_int(v->raw, &m->job.priority) ? 0 : bad_line(s, "\"%s\" must be a whole number", key);
}

static int take_at(struct stream *s, struct message *m, const char *key, const struct json_value *v)
{
    const char *text;
    return text_of(s, key, v, &text) < 0 ? -1 : parse_at(s->c, text, &m->job.run_at);
}

static const struct {
    struct str key;
    int (*take)(struct stream *s, struct message *m, const char *key, const struct json_value *v);
} message_keys[] = {
    { { "pipeline", 8 }, take_pipeline }, { { "method", 6 }, take_pipeline },     { { "params", 6 }, take_params },
    { { "objects", 7 }, take_objects },   { { "priority", 8 }, take_priority },   { { "at", 2 }, take_at },
    { { "unique", 6 }, take_unique },
};

static int take_member(struct stream *s, struct message *m, struct str quoted, const struct json_value *v)
{
    struct json_value as_text = { JSON_TEXT, quoted };
    struct str key;
    if (!json_unescape(&as_text, &s->arena, &key))
        return bad_line(s, "a key cannot be read");
    for (size_t i = 0; i < COUNT_OF(message_keys); i++)
        if (str_eq(key, message_keys[i].key))
            return message_keys[i].take(s, m, message_keys[i].key.p, v);
    return bad_line(s, "unknown key \"%.*s\"; known: pipeline (or method), objects, params, priority, at, unique",
                    (int)(key.n < 80 ? key.n : 80), key.p);
}

static int submit_line(struct stream *s, struct str line)
{
    struct json_value doc, v;
    struct json_fault fault;
    struct str key;
    struct message m = { 0 };
    const char *lanes[LANES_MAX];
    bool made;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    arena_reset(&s->arena);
    if (!json_check(line, &doc, &fault))
        return bad_line(s, "byte %zu: %s", fault.at, fault.what);
    if (doc.kind != JSON_OBJECT)
        return bad_line(s, "a JSON object was expected");
    for (size_t at = 0; json_next(&doc, &at, &key, &v);)
        if (take_member(s, &m, key, &v) < 0)
            return -1;
    if (!m.job.pipeline)
        return bad_line(s, "no \"pipeline\" (or \"method\")");
    if (from_pipeline(s->c, &m.job, lanes) < 0)
        return err_in(&s->c->err, "line %" PRId64, s->line);
    if (!m.has_priority)
        m.job.priority = default_priority(s->c, m.job.pipeline);
    if (!s->open && queue_begin(s->c->queue, &s->c->err) < 0)
        return -1;
    s->open = true;
    if (job_submit(s->c->queue, &m.job, &id, uid, &made, &s->c->err) < 0)
        return err_in(&s->c->err, "line %" PRId64, s->line);
    s->in_batch++;
    s->existing += !made;
    return 0;
}

static int end_batch(struct stream *s)
{
    if (!s->open)
        return 0;
    s->open = false;
    if (queue_commit(s->c->queue, QUEUE_NOW, &s->c->err) < 0)
        return -1;
    s->jobs += s->in_batch;
    queue_ring(s->c->queue, BELL_READY, s->in_batch > 64 ? 64 : (int)s->in_batch);
    s->in_batch = 0;
    return 0;
}

static int submit_lines(struct stream *s)
{
    AUTO(free_charp) char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        s->line++;
        struct str text = { line, (size_t)n };
        while (text.n && strchr(" \t\r\n", text.p[text.n - 1]))
            text.n--;
        if (text.n && submit_line(s, text) < 0)
            return -1;
        if (s->in_batch == SUBMIT_BATCH && end_batch(s) < 0)
            return -1;
    }
    if (ferror(stdin))
        return err_sys(&s->c->err, "read standard input");
    return end_batch(s);
}

static int submit_stream(struct ctl *c)
{
    struct stream s = { .c = c };
    int rc = submit_lines(&s);
    if (rc < 0) {
        struct err why = c->err; /* the good lines before the bad one count */
        if (end_batch(&s) == 0)
            c->err = why;
    }
    arena_clear(&s.arena);
    if (rc < 0)
        return err_in(&c->err, "%" PRId64 " jobs were submitted, then", s.jobs);
    if (c->json)
        printf("{\"submitted\":%" PRId64 ",\"existing\":%" PRId64 "}\n", s.jobs - s.existing, s.existing);
    else
        printf("%" PRId64 " jobs submitted, %" PRId64 " were there already\n", s.jobs - s.existing, s.existing);
    return 0;
}

/* ---- the verb ---- */

static int wait_for(struct ctl *c, int64_t id)
{
    for (int over = 0; !over;) {
        uint32_t bell = queue_bell(c->queue, BELL_DONE);
        if ((over = ctl_over(c, id)) < 0)
            return -1;
        if (!over)
            queue_sleep(c->queue, BELL_DONE, bell, 200);
    }
    return ctl_outcome(c, id);
}

int ctl_param(struct ctl *c, struct buf *params, char *text)
{
    char *eq = strchr(text, '=');
    struct json_out o;
    if (!eq || eq == text)
        return ctl_usage(c, "-p wants NAME=VALUE, not '%s'", text);
    /* params is kept as a whole object: the closing brace goes, the pair comes, the brace comes back */
    if (params->n)
        params->n--;
    buf_addc(params, params->n ? ',' : '{');
    json_start(&o, params);
    json_text(&o, (struct str){ text, (size_t)(eq - text) });
    buf_addc(params, ':');
    json_start(&o, params);
    json_text(&o, str_of(eq + 1));
    buf_addc(params, '}');
    return params->failed ? err_nomem(&c->err) : 0;
}

static int submit_option(struct ctl *c, int opt, struct ctl_submission *s, struct buf *params, bool *wait)
{
    switch (opt) {
    case 'p':
        return ctl_param(c, params, optarg);
    case 'P':
        s->has_priority = true;
        return ctl_int(c, "--priority", optarg, &s->priority);
    case 'a':
        return parse_at(c, optarg, &s->run_at);
    case 'u':
        s->unique = optarg;
        return 0;
    case 'w':
        *wait = true;
        return 0;
    default:
        return ctl_usage(c, "see qetlctl help submit");
    }
}

int ctl_submit(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "priority", required_argument, NULL, 'P' }, { "at", required_argument, NULL, 'a' },
                                           { "unique", required_argument, NULL, 'u' },   { "wait", no_argument, NULL, 'w' },
                                           { "param", required_argument, NULL, 'p' },    { NULL, 0, NULL, 0 } };
    struct ctl_submission s = { 0 };
    AUTO(buf_clear) struct buf params = { 0 };
    bool wait = false, made;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    for (int opt; (opt = getopt_long(argc, argv, "p:", longs, NULL)) != -1;)
        if (submit_option(c, opt, &s, &params, &wait) < 0)
            return -1;
    if (optind == argc)
        return ctl_usage(c, "submit which pipeline? See qetlctl help submit");
    if (ctl_queue(c, 0) < 0)
        return -1;
    if (!strcmp(argv[optind], "-"))
        return submit_stream(c);
    s.pipeline = argv[optind];
    s.uris = argv + optind + 1;
    s.nuris = argc - optind - 1;
    s.params = params.p;
    if (ctl_submit_one(c, &s, &id, uid, &made) < 0)
        return -1;
    if (wait)
        return wait_for(c, id);
    if (c->json)
        printf("{\"id\":%" PRId64 ",\"uid\":\"%s\",\"made\":%s}\n", id, uid, made ? "true" : "false");
    else
        printf("job %" PRId64 " (%s)%s\n", id, uid, made ? "" : " was there already");
    return 0;
}
