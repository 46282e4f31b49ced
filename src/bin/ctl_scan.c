/* qetlctl scan: look through sources now, or see what that would find; and the state of scans for status. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"
#include "bin/ctl.h"
#include "bin/table.h"
#include "role/pass.h"
#include "role/scanner.h"
#include "source/list.h"
#include "source/source.h"

static const struct table_col scan_cols[] = {
    { "pipeline", "SCAN", CELL_TEXT },      { "started", NULL, CELL_TIME },       { "finished", "LAST", CELL_TIME },
    { "next", "NEXT", CELL_TIME },          { "listed", "LISTED", CELL_NUMBER },  { "found", "NEW", CELL_NUMBER },
    { "changed", "CHANGED", CELL_NUMBER },  { "waiting", "WAITING", CELL_NUMBER }, { "jobs", "JOBS", CELL_NUMBER },
    { "failures", NULL, CELL_NUMBER },      { "failed_since", NULL, CELL_TIME },  { "pause", NULL, CELL_JSON },
    { "code", "ERROR", CELL_TEXT },         { "message", "WHY", CELL_TEXT },
};

struct scans {
    struct ctl *c;
    struct table *t;
    const char *only;
    bool failed;
    struct ctl_open open;
};

/* When it is looked at next by what is known now; 0: by nobody. */
static int64_t scan_next(const struct pipeline *p, const struct scan_row *r)
{
    int64_t now = sys_now_ms(), next = r->again_at, slot = 0;
    if (r->wanted)
        return now;
    if (p->scan.every_ms && (!next || r->next_at < next))
        next = r->next_at;
    if (p->scan.cron_text) {
        struct zone *zone = p->scan.zone ? zone_open(p->scan.zone) : NULL;
        if (cron_next(&p->scan.cron, zone, now, &slot) && (!next || slot < next))
            next = slot;
        zone_close(zone);
    }
    return next;
}

/* ms from a listing that broke off to the next one; 0: the last one did not. */
static int64_t pause_of(const struct pipeline *p, const struct scan_row *r)
{
    int64_t next = p->scan.every_ms && r->next_at < r->again_at ? r->next_at : r->again_at;
    return r->breaks && next > r->finished ? next - r->finished : 0;
}

/* For people, with how long that has been going on, and how long nobody looks now. */
static void why_cell(struct table *t, const struct pipeline *p, const struct scan_row *r)
{
    AUTO(buf_clear) struct buf text = { 0 };
    char since[32], pause[32];
    if (r->failures > 1) {
        text_put_rfc3339(since, r->failed_since);
        buf_addf(&text, "%" PRId64 " times since %.10s %.8sZ", r->failures, since, since + 11);
    }
    if (pause_of(p, r)) {
        text_put_duration(pause, sizeof pause, pause_of(p, r));
        buf_addf(&text, "%stried again after %s", text.n ? ", " : "", pause);
    }
    if (text.n)
        buf_adds(&text, ": ");
    buf_adds(&text, r->message);
    table_text(t, text.failed ? r->message : text.p);
}

static void pause_cell(struct table *t, const struct pipeline *p, const struct scan_row *r)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, (pause_of(p, r) + 999) / 1000);
    table_text(t, pause_of(p, r) ? text : NULL);
}

static int scan_cells(void *arg, const struct scan_row *r)
{
    struct scans *s = arg;
    const struct pipeline *p = config_pipeline(s->c->config, r->pipeline);
    if ((s->only && strcmp(s->only, r->pipeline)) || !p || !pipeline_is_scanned(p))
        return 0;
    s->failed |= *r->code != 0;
    s->open.waiting += r->waiting;
    s->open.changed += strcmp(r->code, err_name(ERR_CHANGED)) ? 0 : r->changed;
    table_text(s->t, r->pipeline);
    table_int(s->t, r->started);
    table_int(s->t, r->finished);
    table_int(s->t, scan_next(p, r));
    table_int(s->t, r->listed);
    table_int(s->t, r->found);
    table_int(s->t, r->changed);
    table_int(s->t, r->waiting);
    table_int(s->t, r->taken);
    table_int(s->t, r->failures);
    table_int(s->t, r->failed_since);
    pause_cell(s->t, p, r);
    table_text(s->t, *r->code || !s->t->json ? r->code : NULL);
    if (s->t->json)
        table_text(s->t, *r->code ? r->message : NULL);
    else
        why_cell(s->t, p, r);
    return 0;
}

static int scans_table(struct scans *s)
{
    table_init(s->t, s->c->json, scan_cols, COUNT_OF(scan_cols));
    return scan_rows(s->c->queue, scan_cells, s, &s->c->err);
}

int ctl_scans(struct ctl *c, struct table *t, struct ctl_open *open)
{
    struct scans s = { .c = c, .t = t };
    int rc = scans_table(&s);
    *open = s.open;
    return rc;
}

void ctl_say_open(const struct ctl_open *o)
{
    if (o->waiting)
        printf("\n%" PRId64 " object%s not taken yet: qetlctl scan --dry-run says why\n", o->waiting, o->waiting == 1 ? " is" : "s are");
    if (o->changed)
        printf("\n%" PRId64 " object%s changed after %s taken (on_change = fail): qetlctl scan PIPELINE --reload URI loads what is there now, --accept URI "
               "takes it as known\n",
               o->changed, ctl_s(o->changed), o->changed == 1 ? "it was" : "they were");
}

/* ---- after the load ---- */

static const struct table_col after_cols[] = {
    { "pipeline", "TO FINISH", CELL_TEXT }, { "after", "AFTER", CELL_TEXT },         { "objects", "OBJECTS", CELL_NUMBER },
    { "since", "SINCE", CELL_TIME },        { "failures", "FAILED", CELL_NUMBER },   { "code", "ERROR", CELL_TEXT },
    { "message", "WHY", CELL_TEXT },
};

static int after_cells(void *arg, const struct scan_row *r)
{
    struct scans *s = arg;
    struct ctl *c = s->c;
    const struct pipeline *p = config_pipeline(c->config, r->pipeline);
    int64_t objects, since;
    if ((s->only && strcmp(s->only, r->pipeline)) || !p || !pipeline_is_scanned(p) || p->scan.after.what == AFTER_KEEP)
        return 0;
    s->failed |= scan_after_left(c->queue, r, &objects, &since, &c->err) < 0;
    if (s->failed || !objects)
        return s->failed;
    table_text(s->t, r->pipeline);
    table_text(s->t, p->scan.after.what == AFTER_DELETE ? "delete" : "move");
    table_int(s->t, objects);
    table_int(s->t, since);
    table_int(s->t, r->after_failures);
    table_text(s->t, r->after_failures || !s->t->json ? r->after_code : NULL);
    table_text(s->t, r->after_failures || !s->t->json ? r->after_message : NULL);
    return 0;
}

int ctl_unfinished(struct ctl *c, const char *only, struct table *t)
{
    struct scans s = { .c = c, .t = t, .only = only };
    table_init(t, c->json, after_cols, COUNT_OF(after_cols));
    return scan_rows(c->queue, after_cells, &s, &c->err) < 0 || s.failed ? -1 : 0;
}

/* ---- dry run ---- */

static const struct table_col found_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT },
    { "uri", "OBJECT", CELL_TEXT },
    { "size", "SIZE", CELL_SIZE },
    { "modified", "MODIFIED", CELL_TIME },
    { "reason", "WHY", CELL_TEXT },
};

struct finding {
    struct table t;
    const char *pipeline;
    bool all; /* what is taken or ignored, too */
};

static void found(void *arg, const struct pass_found *o)
{
    struct finding *f = arg;
    if (!o->open && !f->all)
        return;
    table_text(&f->t, f->pipeline);
    table_text(&f->t, o->uri);
    table_int(&f->t, o->size);
    table_int(&f->t, o->mtime_ms);
    table_text(&f->t, o->why);
}

static void errs_clear(struct err **errs) { free(*errs); }
static void int64s_clear(int64_t **numbers) { free(*numbers); }

struct wanted_row {
    const char *pipeline;
    struct scan_row row;
};

static int keep_row(void *arg, const struct scan_row *r)
{
    struct wanted_row *w = arg;
    if (strcmp(w->pipeline, r->pipeline))
        return 0;
    w->row = *r;
    return 1;
}

static int peek_one(struct ctl *c, const struct role *role, struct list_links *links, const struct pipeline *p, struct finding *f)
{
    struct pass pass = { .role = role, .queue = c->queue, .pipeline = p, .links = links };
    struct wanted_row w = { .pipeline = p->name };
    struct scan_count count;
    char why[PASS_HELD], at[32];
    int64_t until;
    int held = pass_held(c->queue, c->config, p, &until, why, &c->err);
    if (held < 0)
        return -1;
    if (held) { /* what is found is not taken before */
        text_put_rfc3339(at, until);
        fprintf(stderr, "scan of '%s': until %s %s; only this dry run asks it. qetlctl resume --remote ends that\n", p->name, at, why);
    }
    f->pipeline = p->name;
    if (scan_rows(c->queue, keep_row, &w, &c->err) < 0)
        return -1;
    return pass_peek(&pass, &w.row, found, f, &count, &c->err) < 0 ? err_in(&c->err, "scan of '%s'", p->name) : 0;
}

static bool is_asked(const struct pipeline *p, const char *only)
{
    return pipeline_is_scanned(p) && (!only || !strcmp(only, p->name));
}

/* hung: of ctl_mounts() */
static int dry_run(struct ctl *c, const struct role *role, const char *only, bool all, const struct err *hung)
{
    struct finding f = { .pipeline = only, .all = all };
    struct list_links *links;
    int rc = 0;
    if (list_links_open(&links, &c->err) < 0)
        return -1;
    table_init(&f.t, c->json, found_cols, COUNT_OF(found_cols));
    for (int i = 0; rc == 0 && i < c->config->npipelines; i++) {
        const struct pipeline *p = &c->config->pipelines[i];
        if (is_asked(p, only) && p->scan.job_per == JOB_PER_OBJECT && hung[i].code == ERR_NONE)
            rc = peek_one(c, role, links, p, &f);
        if (rc < 0 && !only) { /* one place that is away hides no others */
            ctl_complain(&c->err);
            c->status = 1;
            rc = 0;
        }
    }
    list_links_close(links);
    if (rc < 0)
        return -1;
    table_print(&f.t, "objects", c->status ? "nothing new elsewhere" : "nothing new");
    return 0;
}

/* ---- objects that changed ---- */

static const struct table_col changed_cols[] = {
    { "pipeline", "PIPELINE", CELL_TEXT }, { "uri", "OBJECT", CELL_TEXT },     { "size", "SIZE", CELL_SIZE },
    { "modified", "MODIFIED", CELL_TIME }, { "job", "TAKEN BY", CELL_JOB },    { "decision", "DECISION", CELL_TEXT },
};

struct deciding {
    struct table t;
    const char *pipeline, *decision;
    const char *which;     /* as it was typed: a URI, its name as it is where it lies, or a glob of either */
    struct buf here;       /* the same below the folder of the ini, where that is what a relative path is below; else empty */
    int64_t others;        /* changed, and not meant */
    struct buf others_are; /* the first of them */
};

static bool is_like(const char *glob, const char *name) { return !strcmp(glob, name) || text_glob(glob, str_of(name)); }

/* %20 in the URI of another place is a blank in the name there; a local path is written as it is, or as a file: URL. */
static bool is_meant(void *arg, const char *uri)
{
    AUTO(buf_clear) struct buf name = { 0 };
    struct deciding *d = arg;
    list_path(str_of(strstr(uri, "://") ? uri + (strncmp(uri, "file://", 7) ? 0 : 7) : ""), &name);
    buf_adds(&name, "");
    const char *globs[] = { d->which, d->here.p };
    for (size_t i = 0; i < COUNT_OF(globs); i++)
        if (globs[i] && (is_like(globs[i], uri) || (name.p && is_like(globs[i], name.p))))
            return true;
    enum { NAMED = 3 };
    if (d->others++ < NAMED)
        buf_addf(&d->others_are, "%s'%s'", d->others > 1 ? ", " : "", uri);
    else if (d->others == NAMED + 1)
        buf_adds(&d->others_are, ", ...");
    return false;
}

/* A relative path of the ini is below its folder, no sign of which is one of a glob. */
static void below_ini(const struct config *config, const char *which, struct buf *out)
{
    if (!source_is_relative(which) || !strncmp(which, "**", 2))
        return;
    for (const char *c = config->folder; *c; c++) {
        if (strchr("*?[]{}\\,", *c))
            buf_addc(out, '\\');
        buf_addc(out, *c);
    }
    while (!strncmp(which, "./", 2))
        which += 2;
    buf_addf(out, "%s%s", strcmp(config->folder, "/") ? "/" : "", which);
}

/* Nothing was decided: why, and what there is to decide. Gives -1. */
static int nothing_meant(struct ctl *c, const struct pipeline *p, const struct deciding *d)
{
    AUTO(buf_clear) struct buf fail = { 0 };
    if (d->others)
        return err_set(&c->err, ERR_NOT_FOUND, "pipeline '%s': '%s' is none of the objects that changed: %s", p->name, d->which, d->others_are.p ? d->others_are.p : "");
    for (int i = 0; i < c->config->npipelines; i++)
        if (c->config->pipelines[i].scan.on_change == ON_CHANGE_FAIL)
            buf_addf(&fail, "%s'%s'", fail.n ? ", " : "", c->config->pipelines[i].name);
    if (p->scan.on_change == ON_CHANGE_FAIL)
        return err_set(&c->err, ERR_NOT_FOUND, "pipeline '%s': no object changed that nobody decided about yet", p->name);
    return err_set(&c->err, ERR_NOT_FOUND, "pipeline '%s' does not have on_change = fail: there is nothing to decide; %s%s", p->name,
                   fail.n ? "those that have it: " : "none has", fail.n && fail.p ? fail.p : "");
}

static void changed_cells(void *arg, const struct scan_changed *o)
{
    struct deciding *d = arg;
    table_text(&d->t, d->pipeline);
    table_text(&d->t, o->uri);
    table_int(&d->t, o->size);
    table_int(&d->t, o->mtime_ms);
    table_int(&d->t, o->job);
    table_text(&d->t, d->decision);
}

/* And the scanner looks at once, so that the error of the scan is gone, or one of other objects. */
static int decide(struct ctl *c, const struct pipeline *p, const char *which, bool known)
{
    struct deciding d = { .pipeline = p->name, .decision = known ? "known" : "reload", .which = which };
    struct scan_row row;
    below_ini(c->config, which, &d.here);
    table_init(&d.t, c->json, changed_cols, COUNT_OF(changed_cols));
    int rc = d.here.failed ? err_nomem(&c->err) : scan_find(c->queue, p->name, &row, &c->err);
    int64_t n = rc == 1 ? scan_accept(c->queue, &row, known, is_meant, changed_cells, &d, &c->err) : rc;
    if (n > 0 && scan_want(c->queue, p->name, &c->err) < 0)
        n = -1;
    if (n > 0)
        table_print(&d.t, "changed", "");
    else if (n == 0)
        n = nothing_meant(c, p, &d);
    buf_clear(&d.here);
    buf_clear(&d.others_are);
    return n < 0 ? -1 : 0;
}

/* ---- slots ---- */

static const struct table_col slot_cols[] = {
    { "slot", "SLOT", CELL_TIME }, { "outcome", "OUTCOME", CELL_TEXT }, { "decided", "DECIDED", CELL_TIME },
    { "job", "JOB", CELL_JOB }, { "reason", "WHY", CELL_TEXT },
};

static int slot_cells(void *arg, const struct scan_slot *s)
{
    AUTO(buf_clear) struct buf reason = { 0 };
    struct table *t = arg;
    bool failed = !strcmp(s->outcome, "failed");
    buf_addf(&reason, "%s%s", s->reason, failed && s->open ? "; the next one makes it good" : "");
    table_int(t, s->at);
    table_text(t, s->outcome);
    table_int(t, s->decided);
    table_int(t, s->job);
    table_text(t, reason.failed ? s->reason : reason.p);
    return 0;
}

static int show_slots(struct ctl *c, const char *pipeline)
{
    enum { SHOWN = 100 };
    struct wanted_row w = { .pipeline = pipeline };
    struct table t;
    table_init(&t, c->json, slot_cols, COUNT_OF(slot_cols));
    if (scan_rows(c->queue, keep_row, &w, &c->err) < 0 || scan_slot_rows(c->queue, w.row.id, SHOWN, slot_cells, &t, &c->err) < 0)
        return -1;
    table_print(&t, "slots", "no slots yet");
    return 0;
}

/* ---- a scan now ---- */

enum { NOT_ASKED = -1 };

/* Ask the scanner that works. *number: the listings that had ended before; NOT_ASKED: it has not heard of that pipeline yet. */
static int ask(struct ctl *c, const struct pipeline *p, int64_t *number)
{
    struct wanted_row before = { .pipeline = p->name };
    int rc = scan_rows(c->queue, keep_row, &before, &c->err);
    if (rc == 0)
        rc = scan_want(c->queue, p->name, &c->err);
    *number = rc == 1 ? before.row.number : NOT_ASKED;
    return rc < 0 ? -1 : 0;
}

/* Until it is done with that pipeline; not for a server that wants to be left alone: *held says so then. 0, -1. */
static int wait_for(struct ctl *c, const struct pipeline *p, int64_t number, struct err *held)
{
    char why[PASS_HELD], at[32];
    int64_t until;
    while (!sys_stop_requested()) {
        struct wanted_row now = { .pipeline = p->name };
        if (number == NOT_ASKED && ask(c, p, &number) < 0)
            return -1;
        int is_held = pass_held(c->queue, c->config, p, &until, why, &c->err);
        if (is_held < 0 || scan_rows(c->queue, keep_row, &now, &c->err) < 0)
            return -1;
        if (number != NOT_ASKED && !now.row.wanted && now.row.number > number)
            return 0;
        if (is_held) {
            text_put_rfc3339(at, until);
            err_set(held, ERR_FETCH_BUSY, "scan of '%s': until %s %s", p->name, at, why);
            return 0;
        }
        (void)poll(NULL, 0, 50);
    }
    return err_set(&c->err, ERR_SHUTDOWN, "stopped; the scanner goes on");
}

static bool is_listed(const struct pipeline *p, const char *only, const struct err *missed)
{
    return is_asked(p, only) && p->scan.job_per == JOB_PER_OBJECT && missed->code == ERR_NONE;
}

/* All are asked before any is waited for: one that takes its time, or is held, keeps from no other. */
static int ask_and_wait(struct ctl *c, const char *only, struct err *missed)
{
    const struct pipeline *p = c->config->pipelines;
    int n = c->config->npipelines, rc = 0;
    AUTO(int64s_clear) int64_t *number = calloc((size_t)n + 1, sizeof *number);
    if (!number)
        return err_nomem(&c->err);
    for (int i = 0; rc == 0 && i < n; i++)
        if (is_listed(&p[i], only, &missed[i]) && (rc = ask(c, &p[i], &number[i])) == 0 && number[i] == NOT_ASKED)
            fprintf(stderr, "pipeline '%s': waiting until the scanner knows it; it reads the ini again at SIGHUP (systemctl reload)\n", p[i].name);
    for (int i = 0; rc == 0 && i < n; i++)
        if (is_listed(&p[i], only, &missed[i]))
            rc = wait_for(c, &p[i], number[i], &missed[i]);
    return rc;
}

static int scan_now(struct ctl *c, const struct role *role, const char *only, struct err *missed)
{
    struct scanner *s;
    char holder[64] = "";
    int64_t next_ms;
    sys_signals_init(NULL);
    if (scanner_open(&s, role, &c->err) < 0)
        return -1;
    for (int i = 0; i < c->config->npipelines; i++)
        if (missed[i].code != ERR_NONE)
            scanner_leave_out(s, &c->config->pipelines[i]);
    if (missed[c->config->npipelines].code != ERR_NONE)
        scanner_leave_out(s, NULL);
    int rc = scanner_lead(s, holder, &c->err);
    bool other = rc == 0;
    if (rc == 1)
        rc = scanner_step(s, only, true, &next_ms, &c->err);
    else if (other && !c->json)
        fprintf(stderr, "the scanner '%s' does it\n", holder);
    scanner_close(s);
    return rc < 0 ? -1 : other ? ask_and_wait(c, only, missed) : 0;
}

/* The scans that somebody wants, and what their state is then. */
static int scan_and_show(struct ctl *c, const struct role *role, const char *only, struct err *missed)
{
    struct table t;
    struct scans s = { .c = c, .t = &t, .only = only };
    if (scan_now(c, role, only, missed) < 0 || scans_table(&s) < 0)
        return -1;
    table_print(&t, "scans", "no pipeline has every= or cron=");
    if (!c->json)
        ctl_say_open(&s.open);
    c->status = s.failed;
    return 0;
}

/* Look through sources, or see what that would find; what is on a mount that does not answer is left out, and that is told of at the end, as of places that
 * are held. */
static int look(struct ctl *c, const char *only, bool dry, bool all)
{
    const struct role role = { .config = c->config, .name = "qetlctl scan" };
    AUTO(errs_clear) struct err *missed = calloc((size_t)c->config->npipelines + 1, sizeof *missed);
    const struct pipeline *p = only ? config_pipeline(c->config, only) : NULL;
    if (!missed)
        return err_nomem(&c->err);
    if (ctl_mounts(c, only, missed) < 0)
        return -1;
    if (p && missed[p - c->config->pipelines].code != ERR_NONE) {
        c->err = missed[p - c->config->pipelines];
        return -1;
    }
    if (ctl_queue(c, QUEUE_CREATE) < 0 || (dry ? dry_run(c, &role, only, all, missed) : scan_and_show(c, &role, only, missed)) < 0)
        return -1;
    fflush(stdout);
    for (int i = 0; i <= c->config->npipelines; i++)
        if (missed[i].code != ERR_NONE) {
            ctl_complain(&missed[i]);
            c->status = 1;
        }
    return 0;
}

static int scanned_pipeline(struct ctl *c, const char *name, const struct pipeline **out)
{
    if (!(*out = config_pipeline(c->config, name)))
        return config_no_pipeline(c->config, name, &c->err);
    return pipeline_is_scanned(*out) ? 0 : ctl_usage(c, "pipeline '%s' has neither every= nor cron=: nobody scans its source", name);
}

int ctl_scan(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "dry-run", no_argument, NULL, 'n' }, { "all", no_argument, NULL, 'a' },
                                           { "slots", no_argument, NULL, 's' }, { "accept", required_argument, NULL, 'k' },
                                           { "reload", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
    bool dry = false, slots = false, all = false;
    const char *known = NULL, *reload = NULL;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == '?')
            return -1;
        dry |= o == 'n';
        all |= o == 'a';
        slots |= o == 's';
        known = o == 'k' ? optarg : known;
        reload = o == 'r' ? optarg : reload;
    }
    const char *only = optind < argc ? argv[optind] : NULL;
    if (argc - optind > 1 || (slots && !only))
        return ctl_usage(c, slots ? "--slots wants one pipeline" : "scan wants one pipeline, or none for all");
    if (slots && dry)
        return ctl_usage(c, "--slots and --dry-run are two questions: ask one");
    if (all && !dry)
        return ctl_usage(c, "--all goes with --dry-run");
    if ((known || reload) && !only)
        return ctl_usage(c, "--%s wants one pipeline", known ? "accept" : "reload");
    if ((known && reload) || ((known || reload) && (dry || slots)))
        return ctl_usage(c, "--%s decides about objects that changed, and goes with no other option", known ? "accept" : "reload");
    const struct pipeline *p = NULL;
    if (ctl_checked(c) < 0 || (only && scanned_pipeline(c, only, &p) < 0))
        return -1;
    if (!slots && !known && !reload)
        return look(c, only, dry, all);
    if (ctl_queue(c, QUEUE_CREATE) < 0)
        return -1;
    return slots ? show_slots(c, only) : decide(c, p, known ? known : reload, known);
}
