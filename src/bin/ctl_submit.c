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
    bool open, wait;
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
    int64_t of[JOB_STATES];
};

static int take_end(void *arg, const struct job_row *r)
{
    struct ends *e = arg;
    int state = job_state_by_name(r->state);
    if (state >= 0)
        e->of[state]++;
    if (state == JOB_DEAD || state == JOB_CANCELLED)
        fprintf(stderr, "qetlctl: job %" PRId64 " %s%s%s\n", r->id, r->state, r->error ? ": " : "", r->error ? r->error : "");
    return 0;
}

/* All of them, and what became of how many. */
static int wait_for_all(struct stream *s, struct ends *e)
{
    struct ctl *c = s->c;
    const char *p = s->ids.p;
    for (size_t at = 0; at < s->ids.n; at += sizeof(int64_t)) {
        struct job_filter f = { .limit = 1 };
        memcpy(&f.id, p + at, sizeof f.id);
        if (ctl_until_over(c, f.id) < 0 || job_list(c->queue, &f, take_end, e, &c->err) < 0)
            return -1;
    }
    c->status = e->of[JOB_DEAD] + e->of[JOB_CANCELLED] > 0;
    return 0;
}

static void say_ends(const struct ctl *c, const struct ends *e)
{
    for (int s = 0; s < JOB_STATES; s++)
        if (job_is_over((enum job_state)s))
            printf(c->json ? ",\"%s\":%" PRId64 : "%s %" PRId64 "\n", job_state_name((enum job_state)s), e->of[s]);
}

static int submit_stream(struct ctl *c, bool wait)
{
    struct stream s = { .c = c, .wait = wait };
    struct ends ends = { 0 };
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
    if (rc < 0)
        return -1;
    if (c->json)
        printf("{\"submitted\":%" PRId64 ",\"existing\":%" PRId64, s.jobs - s.existing, s.existing);
    else
        printf("%" PRId64 " job%s submitted, %" PRId64 " there already\n", s.jobs - s.existing, ctl_s(s.jobs - s.existing),
               s.existing);
    if (wait)
        say_ends(c, &ends);
    if (c->json)
        puts("}");
    return 0;
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

static int submit_option(struct ctl *c, int opt, struct ctl_submission *s, struct buf *params, bool *wait, bool *dry)
{
    switch (opt) {
    case 'p':
        return ctl_param(c, params, optarg);
    case 'P':
        s->has_priority = true;
        return ctl_int(c, "--priority", optarg, &s->priority) < 0 ? -1 : submission_priority(s->priority, &c->err);
    case 'a':
        return submission_time(optarg, &s->run_at, &c->err);
    case 'u':
        s->unique = optarg;
        return 0;
    case 'w':
        *wait = true;
        return 0;
    case 'd':
        *dry = true;
        return 0;
    default: /* ctl_option() has said it */
        return -1;
    }
}

int ctl_submit(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "priority", required_argument, NULL, 'P' }, { "at", required_argument, NULL, 'a' },
                                           { "unique", required_argument, NULL, 'u' },   { "wait", no_argument, NULL, 'w' },
                                           { "param", required_argument, NULL, 'p' },    { "dry-run", no_argument, NULL, 'd' },
                                           { NULL, 0, NULL, 0 } };
    struct ctl_submission s = { 0 };
    AUTO(buf_clear) struct buf params = { 0 };
    bool wait = false, dry = false, made;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    for (int opt; (opt = ctl_option(c, argc, argv, "p:", longs, NULL)) != -1;)
        if (submit_option(c, opt, &s, &params, &wait, &dry) < 0)
            return -1;
    if (optind == argc)
        return ctl_usage(c, "submit to which pipeline? qetlctl help submit");
    if (!strcmp(argv[optind], "-") && (argc > optind + 1 || params.n || s.has_priority || s.run_at || s.unique))
        return ctl_usage(c, "submit - takes URIs, parameters, priority, at and unique from its lines, not from the command line");
    if (dry && (!strcmp(argv[optind], "-") || wait || s.has_priority || s.run_at || s.unique))
        return ctl_usage(c, "--dry-run is about one job, which is never in the queue: give it a pipeline, URIs and parameters only");
    s.pipeline = argv[optind];
    s.uris = argv + optind + 1;
    s.nuris = argc - optind - 1;
    s.params = params.p;
    if (dry)
        return ctl_rehearse(c, &s);
    if (ctl_checked(c) < 0 || ctl_queue(c, QUEUE_CREATE) < 0)
        return -1;
    if (!strcmp(s.pipeline, "-"))
        return submit_stream(c, wait);
    if (ctl_submit_one(c, &s, &id, uid, &made) < 0)
        return -1;
    if (wait)
        return ctl_until_over(c, id) < 0 ? -1 : ctl_outcome(c, id);
    if (c->json)
        printf("{\"id\":%" PRId64 ",\"uid\":\"%s\",\"made\":%s}\n", id, uid, made ? "true" : "false");
    else
        printf("job %" PRId64 " (%s)%s\n", id, uid, made ? "" : " was there already");
    return 0;
}
