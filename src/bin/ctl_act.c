/* The verbs that change something: init, retry, cancel, undo, pause, resume, prune. */
#include "bin/ctl.h"
#include "queue/gate.h"
#include "queue/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/answers.h"
#include "io/spool.h"
#include "role/enrich.h"
#include "target/ddl.h"
#include "target/target.h"

/* *files: how many of ddl= were run now. */
static int init_target(const struct config *config, const struct target_config *tc, int *files, struct err *err)
{
    const struct target *t = target_by_url(tc->url, err);
    struct target_conn *conn;
    if (!t)
        return err_in(err, "target '%s'", tc->name);
    if (t->open(&conn, config, tc, true, err) < 0)
        return -1;
    int rc = tc->ddl ? ddl_apply(t, conn, tc, files, err) : 0;
    t->close(conn);
    return rc;
}

/* All of them: one that is away or refuses is told of, and keeps no other from being made. Gives how many were; the first that was not
 * gives the exit status. */
static int init_targets(struct ctl *c, struct json_out *failed)
{
    int made = 0;
    for (int i = 0; i < c->config->ntargets; i++) {
        const struct target_config *tc = &c->config->targets[i];
        struct err err;
        int files = 0, rc = init_target(c->config, tc, &files, &err);
        if (files && !c->json)
            printf("target %s: %d file%s of ddl = run\n", tc->name, files, ctl_s(files));
        if (rc == 0) {
            made++;
            continue;
        }
        ctl_complain(&err);
        c->status = c->status ? c->status : err_exit_status(err.code);
        json_object(failed);
        json_put_text(failed, "target", tc->name);
        json_put_text(failed, "code", err_name(err.code));
        json_put_text(failed, "message", err.msg);
        json_object_end(failed);
    }
    return made;
}

int ctl_init(struct ctl *c, int argc, char **argv)
{
    struct spool spool = SPOOL_CLOSED;
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    if (ctl_no_args(c, argc, argv, 0) < 0 || ctl_checked(c) < 0 || ctl_queue(c, QUEUE_CREATE) < 0 ||
        spool_open(&spool, c->config->spool, true, &c->err) < 0)
        return -1;
    spool_close(&spool);
    json_start(&o, &doc);
    json_object(&o);
    json_key(&o, "failed");
    json_array(&o);
    int made = init_targets(c, &o), all = c->config->ntargets;
    json_array_end(&o);
    json_put_bool(&o, "ok", made == all);
    json_object_end(&o);
    if (doc.failed)
        return err_nomem(&c->err);
    if (c->json)
        puts(doc.p);
    else if (made == all)
        printf("ready: database %s, spool %s, %d target%s\n", c->config->database, c->config->spool, all, ctl_s(all));
    else
        printf("ready: database %s, spool %s, %d of %d targets\n", c->config->database, c->config->spool, made, all);
    return 0;
}

/* ---- undo ---- */

struct undo {
    char uid[SYS_UID_LEN + 1], state[20], target[80], pipeline[80];
    int64_t undone;
};

static int undo_row(void *arg, const struct job_row *r)
{
    struct undo *u = arg;
    snprintf(u->uid, sizeof u->uid, "%s", r->uid);
    snprintf(u->state, sizeof u->state, "%s", r->state);
    snprintf(u->target, sizeof u->target, "%s", r->target);
    snprintf(u->pipeline, sizeof u->pipeline, "%s", r->pipeline);
    u->undone = r->undone;
    return 0;
}

/* Was it refused because no job of its pipeline can be undone? Then that is said, and what to do. Gives -1. */
static int refused(struct ctl *c, const struct undo *u, const struct target *t)
{
    const struct pipeline *p = config_pipeline(c->config, u->pipeline);
    struct err mode, own = c->err;
    for (int i = 0; own.code == ERR_STATE && p && i < p->nparts; i++)
        if (!strcmp(p->parts[i].target, u->target) && target_may_undo(t, p->parts[i].mode, &mode) < 0)
            return err_set(&c->err, ERR_STATE, "%s; %s. Mend the rows by hand, or submit what puts them right", own.msg, mode.msg);
    return -1;
}

/* In one transaction of the target. When its end is not known, the verb is called again: what is done stays done. */
static int undo_in_target(struct ctl *c, const struct undo *u, struct load_counts *counts)
{
    const struct target_config *tc = config_target(c->config, u->target);
    if (!tc)
        return err_set(&c->err, ERR_NOT_FOUND, "there is no [target %s]", u->target);
    const struct target *t = target_by_url(tc->url, &c->err);
    struct target_conn *conn;
    if (!t)
        return -1;
    if (!t->undo)
        return err_set(&c->err, ERR_STATE, "target '%s' (%s:) cannot undo jobs", tc->name, t->scheme);
    if (t->open(&conn, c->config, tc, false, &c->err) < 0)
        return -1;
    int rc = t->begin(conn, &c->err);
    if (rc == 0 && (rc = t->undo(conn, u->uid, counts, &c->err)) == 0)
        rc = err_set(&c->err, ERR_STATE, "target '%s' does not know it (any more)", tc->name);
    if (rc == 1)
        rc = t->commit(conn, &c->err);
    t->close(conn); /* rolls back what was not committed */
    return rc < 0 ? refused(c, u, t) : rc;
}

static void say_undone_before(int64_t id, int64_t undone)
{
    char at[32];
    text_put_rfc3339(at, undone);
    printf("job %" PRId64 " was undone before, at %s; nothing has changed\n", id, at);
}

int ctl_undo(struct ctl *c, int argc, char **argv)
{
    struct undo u = { 0 };
    struct load_counts counts = { 0 };
    int64_t id;
    if (argc != 2)
        return ctl_usage(c, "undo wants one job");
    if (ctl_queue(c, 0) < 0 || ctl_job(c, argv[1], &id) < 0)
        return -1;
    struct job_filter f = { .id = id, .limit = 1 };
    if (job_list(c->queue, &f, undo_row, &u, &c->err) < 0)
        return -1;
    int rc = strcmp(u.state, "loaded") ? err_set(&c->err, ERR_STATE, "it is %s, not loaded", u.state) : 0;
    if (rc == 0 && !u.undone)
        rc = job_may_undo(c->queue, id, &c->err) < 0 ? -1 : undo_in_target(c, &u, &counts);
    if (rc < 0)
        return err_in(&c->err, "undo job %" PRId64, id);
    if (sys_fault("undo-before-record"))
        return err_sys(&c->err, "record that it is undone");
    if (!u.undone && job_undone(c->queue, id, &c->err) < 0)
        return -1;
    if (c->json)
        printf("{\"job\":%" PRId64 ",\"uid\":\"%s\",\"rows_removed\":%" PRId64 ",\"rows_restored\":%" PRId64 "}\n", id, u.uid,
               counts.removed, counts.inserted);
    else if (u.undone)
        say_undone_before(id, u.undone);
    else
        printf("job %" PRId64 " undone: %" PRId64 " row%s removed, %" PRId64 " put back\n", id, counts.removed, ctl_s(counts.removed),
               counts.inserted);
    return 0;
}

/* `key` in JSON, and `what` became of n jobs. */
static int say_count(struct ctl *c, const char *key, const char *what, int64_t n)
{
    if (c->json)
        printf("{\"%s\":%" PRId64 "}\n", key, n);
    else
        printf("%" PRId64 " job%s %s\n", n, ctl_s(n), what);
    return 0;
}

/* The same change for each job that is named. What cannot be changed is told, and the others are changed all the same. */
static int each_job(struct ctl *c, char **names, int n, int (*change)(struct queue *, int64_t, struct err *), const char *done)
{
    int changed = 0, missing = 0;
    for (int i = 0; i < n; i++) {
        int64_t id;
        if (ctl_job(c, names[i], &id) == 0 && change(c->queue, id, &c->err) == 0) {
            changed++;
            continue;
        }
        if (n == 1 || (c->err.code != ERR_NOT_FOUND && c->err.code != ERR_STATE))
            return -1;
        missing += c->err.code == ERR_NOT_FOUND;
        ctl_complain(&c->err);
    }
    c->status = changed == n ? 0 : err_exit_status(missing == n ? ERR_NOT_FOUND : ERR_STATE);
    return say_count(c, done, done, changed);
}

static void passed_over(void *arg, int64_t id, const struct err *why)
{
    struct ctl *c = arg;
    (void)id; /* it is in the text */
    ctl_complain(why);
    c->status = err_exit_status(ERR_STATE);
}

int ctl_retry(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "dead", no_argument, NULL, 'd' },
                                           { "failed", no_argument, NULL, 'd' },
                                           { "code", required_argument, NULL, 'k' },
                                           { "error", required_argument, NULL, 'k' },
                                           { "pipeline", required_argument, NULL, 'l' },
                                           { NULL, 0, NULL, 0 } };
    const char *code = NULL, *pipeline = NULL;
    bool many = false;
    int64_t n = 0;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == '?')
            return -1;
        many = true;
        if (o == 'k')
            code = optarg;
        else if (o == 'l')
            pipeline = optarg;
    }
    if (many ? optind < argc : optind == argc)
        return ctl_usage(c, "retry wants jobs, or --dead with --pipeline and --code to choose");
    if (ctl_known_code(c, code) < 0 || ctl_queue(c, 0) < 0 || ctl_known_pipeline(c, pipeline) < 0)
        return -1;
    if (!many)
        return each_job(c, argv + optind, argc - optind, job_retry, "ready");
    if (job_retry_all(c->queue, pipeline, code, &n, passed_over, c, &c->err) < 0)
        return -1;
    return say_count(c, "ready", "ready", n);
}

int ctl_cancel(struct ctl *c, int argc, char **argv)
{
    if (argc < 2)
        return ctl_usage(c, "cancel which job? qetlctl jobs lists them");
    return ctl_queue(c, 0) < 0 ? -1 : each_job(c, argv + 1, argc - 1, job_cancel, "cancelled");
}

static int set_pause(struct ctl *c, const char *pipeline, bool on)
{
    int64_t changed;
    if (ctl_queue(c, 0) < 0)
        return -1;
    if (!config_pipeline(c->config, pipeline))
        return config_no_pipeline(c->config, pipeline, &c->err);
    if (job_pause(c->queue, pipeline, on, &changed, &c->err) < 0)
        return -1;
    if (!c->json)
        printf("%s; ", on ? "paused" : "resumed");
    return say_count(c, on ? "held" : "released", on ? "held" : "released", changed);
}

int ctl_pause(struct ctl *c, int argc, char **argv)
{
    if (argc != 2)
        return ctl_usage(c, "pause wants one pipeline; qetlctl status lists them");
    return set_pause(c, argv[1], true);
}

/* The limits of the ini bind people, too: they are changed there. */
static int refuse_limit(struct ctl *c, const struct enrich_config *e, const struct ask_grant *g)
{
    char when[32];
    text_put_rfc3339(when, g->at);
    return g->gate == ASK_QUOTA
               ? err_set(&c->err, ERR_STATE, "[enrich %s]: its quota is used up until %s; if the server allows more, raise quota= and start its workers again",
                         e->name, when)
               : err_set(&c->err, ERR_STATE, "[enrich %s]: its interval lets the next request start at %s; if the server allows more, shorten"
                                             " interval= and start its workers again", e->name, when);
}

/* First in the cache, where the next job looks, then in the queue. */
static int release_enrich(struct ctl *c, const char *name)
{
    const struct enrich_config *e = config_enrich(c->config, name);
    struct answers *cache = NULL;
    struct answers_place p = { 0 };
    int64_t now = sys_now_ms();
    if (!e)
        return err_set(&c->err, ERR_NOT_FOUND, "there is no [enrich %s] in %s", name, c->config->path);
    if (enrich_cache(c->config, false, &cache, &c->err) < 0)
        return -1;
    const struct ask_limits limits = enrich_limits(e);
    int there = cache ? answers_release(cache, name, now, &c->err) : 0;
    int rc = there >= 0 && cache ? answers_of(cache, name, &limits, now, &p, &c->err) : there;
    answers_close(cache);
    if (rc < 0)
        return -1;
    if (p.gate.gate == ASK_QUOTA || p.gate.gate == ASK_INTERVAL)
        return refuse_limit(c, e, &p.gate);
    int held = enrich_release(c->queue, name, &c->err);
    return held < 0 ? -1 : held > 0 || there > 0;
}

/* End what a server asked for: a person knows that it is well, or that it asked for too much. */
static int release(struct ctl *c, const char *kind, const char *name)
{
    bool enrich = !strcmp(kind, "enrich");
    if (ctl_queue(c, 0) < 0)
        return -1;
    int held = enrich ? release_enrich(c, name) : remote_release(c->queue, name, &c->err);
    if (held <= 0)
        return held < 0 ? -1
                        : err_set(&c->err, ERR_NOT_FOUND, "no server of '%s' %s; qetlctl status lists those that %s", name,
                                  enrich ? "is left alone" : "asked to be left alone", enrich ? "are" : "did");
    if (c->json) {
        AUTO(buf_clear) struct buf doc = { 0 };
        struct json_out o;
        json_start(&o, &doc);
        json_object(&o);
        json_put_text(&o, kind, name);
        json_object_end(&o);
        if (doc.failed)
            return err_nomem(&c->err);
        puts(doc.p);
    } else {
        printf("'%s' is asked again, until it %s\n", name, enrich ? "fails or says that it wants to be left alone" : "says that it wants to be left alone");
    }
    return 0;
}

int ctl_resume(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "remote", required_argument, NULL, 'r' }, { "enrich", required_argument, NULL, 'e' }, { NULL, 0, NULL, 0 } };
    const char *kind = NULL, *name = NULL;
    int n = 0;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1; n++) {
        if (o == '?')
            return -1;
        kind = o == 'e' ? "enrich" : "remote";
        name = optarg;
    }
    if (n + argc - optind != 1)
        return ctl_usage(c, "resume wants one pipeline, --remote NAME or --enrich NAME; qetlctl status lists them");
    return kind ? release(c, kind, name) : set_pause(c, argv[optind], false);
}

struct seen_pruned {
    struct ctl *c;
    bool dry;
    int64_t n;
};

/* What no listing has had for as long as forget= says. */
static int prune_seen(struct seen_pruned *s)
{
    for (int i = 0; i < s->c->config->npipelines; i++) {
        const struct pipeline *p = &s->c->config->pipelines[i];
        struct scan_row row;
        int there = p->scan.forget_ms ? scan_find(s->c->queue, p->name, &row, &s->c->err) : 0;
        if (there < 0 || (there && scan_prune(s->c->queue, &row, s->dry, &s->n, &s->c->err) < 0))
            return -1;
    }
    return 0;
}

int ctl_prune(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "older", required_argument, NULL, 'o' },
                                           { "keep", required_argument, NULL, 'k' },
                                           { "dry-run", no_argument, NULL, 'n' },
                                           { NULL, 0, NULL, 0 } };
    struct prune what = { 0 };
    int64_t age = -1, n = 0;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == 'o' && !text_duration(str_of(optarg), &age))
            return ctl_usage(c, "--older wants an age such as 30d");
        if (o == 'k' && (!text_int(str_of(optarg), &what.keep) || what.keep < 1))
            return ctl_usage(c, "--keep wants a number of jobs from 1");
        if (o == '?')
            return -1;
        what.dry |= o == 'n';
    }
    if (age < 0)
        age = what.keep ? 0 : 30LL * 86400000;
    what.before = sys_now_ms() - age;
    if (optind < argc)
        return ctl_usage(c, "'%s' is no option of prune", argv[optind]);
    if (ctl_queue(c, 0) < 0 || job_prune(c->queue, &what, &n, &c->err) < 0)
        return -1;
    struct seen_pruned seen = { c, what.dry, 0 };
    if (prune_seen(&seen) < 0)
        return -1;
    if (c->json)
        printf("{\"%s\":%" PRId64 ",\"objects\":%" PRId64 "}\n", what.dry ? "to_forget" : "forgotten", n, seen.n);
    else
        say_count(c, NULL, what.dry ? "would be forgotten" : "forgotten", n);
    if (!c->json && seen.n)
        printf("%" PRId64 " object%s that no scan sees any more %s\n", seen.n, ctl_s(seen.n), what.dry ? "would be forgotten" : "forgotten");
    return 0;
}
