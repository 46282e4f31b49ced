/* qetlctl submit: one job from the command line, or JSON lines in batches. A submit that returned is on disk. */
#include "bin/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "role/submission.h"

enum { SUBMIT_BATCH = 1000 };

int ctl_submit_one(struct ctl *c, const struct ctl_submission *s, int64_t *id, char *uid, bool *made)
{
    AUTO(buf_clear) struct buf objects = { 0 };
    AUTO(submission_clear) struct submission sub = {
        .job = { .pipeline = s->pipeline, .params = str_of(s->params), .unique = s->unique, .run_at = s->run_at,
                 .priority = s->priority },
        .has_priority = s->has_priority,
    };
    for (int i = 0; i < s->nuris; i++)
        if (submission_object(&sub, &objects, s->uris[i], &c->err) < 0)
            return -1;
    if (submission_resolve(&sub, c->config, &c->err) < 0 || queue_begin(c->queue, &c->err) < 0)
        return -1;
    if (job_submit(c->queue, &sub.job, id, uid, made, &c->err) < 0) {
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
    struct submission message; /* of the line in hand */
    int64_t line, jobs, existing, in_batch;
    bool open;
    struct ctl_wait *wait; /* for their ends; NULL: no */
    struct buf ids; /* to wait for: int64_t */
};

static int submit_line(struct stream *s, struct str line)
{
    struct err *err = &s->c->err;
    bool made;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    if (submission_parse(&s->message, line, err) < 0 || submission_resolve(&s->message, s->c->config, err) < 0)
        return err_in(err, "line %" PRId64, s->line);
    if (!s->open && queue_begin(s->c->queue, err) < 0)
        return -1;
    s->open = true;
    if (job_submit(s->c->queue, &s->message.job, &id, uid, &made, err) < 0)
        return err_in(err, "line %" PRId64, s->line);
    s->in_batch++;
    s->existing += !made;
    if (s->wait)
        buf_add(&s->ids, &id, sizeof id);
    if (s->ids.failed)
        return err_nomem(err);
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

/* ---- waiting ---- */

struct ends {
    int64_t of[JOB_STATES], open; /* open: of those that are not over */
    struct buf list;              /* the first of these, as elements of a JSON list, or as lines */
    struct ctl *c;
};

/* One that is not over when the time is. */
static int take_open(struct ends *e, const struct job_row *r)
{
    AUTO(buf_clear) struct buf why = { 0 };
    struct json_out o;
    if (e->open++ >= CTL_SHOWN)
        return 0;
    if (job_explain(e->c->queue, r->id, &why, &e->c->err) < 0)
        return -1;
    if (!e->c->json) {
        buf_addf(&e->list, "job %" PRId64 " %s: %s\n", r->id, r->state, why.p);
    } else {
        buf_adds(&e->list, e->list.n ? "," : "");
        json_start(&o, &e->list);
        json_object(&o);
        json_put_int(&o, "id", r->id);
        json_put_text(&o, "state", r->state);
        json_put_text(&o, "waits", why.p);
        json_object_end(&o);
    }
    return e->list.failed ? err_nomem(&e->c->err) : 0;
}

static int take_end(void *arg, const struct job_row *r)
{
    struct ends *e = arg;
    int state = job_state_by_name(r->state);
    if (state >= 0)
        e->of[state]++;
    if (state == JOB_DEAD || state == JOB_CANCELLED)
        fprintf(stderr, "qetlctl: job %" PRId64 " %s%s%s\n", r->id, r->state, r->error ? ": " : "", r->error ? r->error : "");
    return state >= 0 && !job_is_over((enum job_state)state) ? take_open(e, r) : 0;
}

/* All of them, and what became of how many. */
static int wait_for_all(struct stream *s, struct ends *e)
{
    struct ctl *c = s->c;
    const char *p = s->ids.p;
    for (size_t at = 0; at < s->ids.n; at += sizeof(int64_t)) {
        struct job_filter f = { .limit = 1 };
        memcpy(&f.id, p + at, sizeof f.id);
        if (ctl_until_over(c, s->wait, f.id) < 0 || job_list(c->queue, &f, take_end, e, &c->err) < 0)
            return -1;
    }
    if (e->open)
        fprintf(stderr, "qetlctl: the time of --timeout is over, and %" PRId64 " job%s %s not: %s in the queue\n", e->open, ctl_s(e->open),
                e->open == 1 ? "is" : "are", e->open == 1 ? "it stays" : "they stay");
    c->status = e->open ? CTL_NOT_OVER : e->of[JOB_DEAD] + e->of[JOB_CANCELLED] > 0;
    return 0;
}

static void say_ends(const struct ctl *c, const struct ends *e)
{
    for (int s = 0; s < JOB_STATES; s++)
        if (c->json || e->of[s] || job_is_over((enum job_state)s))
            printf(c->json ? ",\"%s\":%" PRId64 : "%s %" PRId64 "\n", job_state_name((enum job_state)s), e->of[s]);
    if (c->json)
        printf(",\"open\":[%s]", e->list.n ? e->list.p : "");
    else if (e->open)
        printf("%s", e->list.p);
    if (!c->json && e->open > CTL_SHOWN)
        printf("and %" PRId64 " more\n", e->open - CTL_SHOWN);
}

static void say_stream(struct stream *s, const struct ends *e)
{
    struct ctl *c = s->c;
    if (c->json)
        printf("{\"submitted\":%" PRId64 ",\"existing\":%" PRId64, s->jobs - s->existing, s->existing);
    else
        printf("%" PRId64 " job%s submitted, %" PRId64 " there already\n", s->jobs - s->existing, ctl_s(s->jobs - s->existing), s->existing);
    if (s->wait)
        say_ends(c, e);
    if (c->json)
        puts("}");
}

/* wait: NULL, or wait for them. */
static int submit_stream(struct ctl *c, struct ctl_wait *wait)
{
    struct stream s = { .c = c, .wait = wait };
    struct ends ends = { .c = c };
    int rc = submit_lines(&s);
    if (rc < 0) {
        struct err why = c->err; /* the good lines before the bad one count */
        if (end_batch(&s) == 0)
            c->err = why;
    }
    submission_clear(&s.message);
    if (rc < 0)
        rc = err_in(&c->err, "%" PRId64 " job%s submitted, then", s.jobs, s.jobs == 1 ? " was" : "s were");
    else if (wait)
        rc = wait_for_all(&s, &ends);
    buf_clear(&s.ids);
    if (rc == 0)
        say_stream(&s, &ends);
    buf_clear(&ends.list);
    return rc < 0 ? -1 : 0;
}

/* ---- the verb ---- */

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

struct asked {
    struct buf params;
    struct ctl_wait wait;
    bool waits, dry;
};

static void asked_clear(struct asked *a) { buf_clear(&a->params); }

static int submit_option(struct ctl *c, int opt, struct ctl_submission *s, struct asked *a)
{
    switch (opt) {
    case 'p':
        return ctl_param(c, &a->params, optarg);
    case 'P':
        s->has_priority = true;
        return ctl_int(c, "--priority", optarg, &s->priority) < 0 ? -1 : submission_priority(s->priority, &c->err);
    case 'a':
        return submission_time(optarg, &s->run_at, &c->err);
    case 'u':
        s->unique = optarg;
        return 0;
    case 'w':
        a->waits = true;
        return 0;
    case 't':
        return ctl_timeout(c, optarg, &a->wait);
    case 'd':
        a->dry = true;
        return 0;
    default: /* ctl_option() has said it */
        return -1;
    }
}

/* Options that do not go together. */
static int submit_sense(struct ctl *c, const struct ctl_submission *s, const struct asked *a, int words)
{
    bool chosen = s->has_priority || s->run_at || s->unique, lines = !strcmp(s->pipeline, "-");
    if (lines && (words > 1 || a->params.n || chosen))
        return ctl_usage(c, "submit - takes URIs, parameters, priority, at and unique from its lines, not from the command line");
    if (a->dry && (lines || a->waits || chosen))
        return ctl_usage(c, "--dry-run is about one job, which is never in the queue: give it a pipeline, URIs and parameters only");
    return a->wait.until_mono_ms && !a->waits ? ctl_usage(c, "--timeout goes with --wait") : 0;
}

int ctl_submit(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "priority", required_argument, NULL, 'P' }, { "at", required_argument, NULL, 'a' },
                                           { "unique", required_argument, NULL, 'u' },   { "wait", no_argument, NULL, 'w' },
                                           { "param", required_argument, NULL, 'p' },    { "dry-run", no_argument, NULL, 'd' },
                                           { "timeout", required_argument, NULL, 't' },  { NULL, 0, NULL, 0 } };
    struct ctl_submission s = { 0 };
    AUTO(asked_clear) struct asked a = { 0 };
    bool made;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    for (int opt; (opt = ctl_option(c, argc, argv, "p:", longs, NULL)) != -1;)
        if (submit_option(c, opt, &s, &a) < 0)
            return -1;
    if (optind == argc)
        return ctl_usage(c, "submit to which pipeline? qetlctl help submit");
    s.pipeline = argv[optind];
    if (submit_sense(c, &s, &a, argc - optind) < 0)
        return -1;
    s.uris = argv + optind + 1;
    s.nuris = argc - optind - 1;
    s.params = a.params.p;
    if (a.dry)
        return ctl_rehearse(c, &s);
    if (ctl_checked(c) < 0 || ctl_queue(c, QUEUE_CREATE) < 0)
        return -1;
    if (!strcmp(s.pipeline, "-"))
        return submit_stream(c, a.waits ? &a.wait : NULL);
    if (ctl_submit_one(c, &s, &id, uid, &made) < 0)
        return -1;
    if (a.waits)
        return ctl_wait_for(c, &a.wait, id);
    if (c->json)
        printf("{\"id\":%" PRId64 ",\"uid\":\"%s\",\"made\":%s}\n", id, uid, made ? "true" : "false");
    else
        printf("job %" PRId64 " (%s)%s\n", id, uid, made ? "" : " was there already");
    return 0;
}
