/* The verbs that try things out: check, doctor, infer, run. */
#include "bin/ctl.h"

#include <archive.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "bin/table.h"
#include "io/db.h"
#include "io/spool.h"
#include "role/checked.h"
#include "role/far.h"
#include "role/loader.h"
#include "role/pass.h"
#include "role/submission.h"
#include "role/worker.h"
#include "source/list.h"
#include "source/source.h"
#include "target/ddl.h"
#include "target/target.h"

/* ---- check ---- */

/* Each line of a text as a member of a list. */
static void json_lines(struct json_out *o, const char *key, const struct buf *text)
{
    json_key(o, key);
    json_array(o);
    const char *end = text->p + text->n;
    for (const char *at = text->p, *nl; at && at < end; at = nl + 1) {
        nl = memchr(at, '\n', (size_t)(end - at));
        if (!nl)
            nl = end;
        json_text(o, (struct str){ at, (size_t)(nl - at) });
    }
    json_array_end(o);
}

static void check_json(const struct buf *faults, const struct buf *warnings, bool ok)
{
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    json_start(&o, &doc);
    json_object(&o);
    json_put_bool(&o, "ok", ok);
    json_lines(&o, "faults", faults);
    json_lines(&o, "warnings", warnings);
    json_object_end(&o);
    puts(doc.p);
}

/* Can the file or folder at path be written, or made? How: what access() asks for when it is there. */
static void warn_place(struct buf *warnings, const char *key, const char *path, int how)
{
    char folder[4096];
    struct stat st;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode) != !!(how & X_OK))
            buf_addf(warnings, "[qetl] %s: '%s' is %s folder\n", key, path, how & X_OK ? "no" : "a");
        else if (access(path, how) < 0)
            buf_addf(warnings, "[qetl] %s: '%s' cannot be written: %s\n", key, path, strerror(errno));
        return;
    }
    snprintf(folder, sizeof folder, "%s", path);
    bool missing = false;
    for (char *slash; (slash = strrchr(folder, '/')); missing = true) {
        slash[slash == folder] = '\0';
        if (access(folder, F_OK) == 0)
            break;
    }
    if (access(folder, W_OK | X_OK) < 0)
        buf_addf(warnings, "[qetl] %s: '%s' is not there and cannot be made: '%s': %s\n", key, path, folder, strerror(errno));
    else if (missing)
        buf_addf(warnings, "[qetl] %s: there is no folder for '%s' yet in '%s'; qetlctl init makes it\n", key, path, folder);
}

/* Does the url take back what the ca_file is given for? */
static void warn_ca(const struct config *config, const struct target_config *tc, const struct target *t, struct buf *warnings)
{
    const struct remote *remote = config_remote(config, tc->url);
    const char *said = t->beside_ca && remote && remote->ca_file ? t->beside_ca(tc) : NULL;
    if (said)
        buf_addf(warnings, "[target %s] url: with %s any server is taken, whatever the ca_file of its [remote] says; leave it out\n",
                 tc->name, said);
}

static void warn_hosts(const struct config *config, const struct target_config *tc, struct buf *warnings)
{
    const struct remote *r = config_remote_of_some(config, tc->url);
    if (r)
        buf_addf(warnings, "[target %s] url: [remote %s] is not for all of its hosts, so they get none of its secrets; name each in the url of the"
                           " [remote], with commas between\n", tc->name, r->name);
}

/* What the ini names and cannot be reached now: no fault of the ini. A file that init makes is not missed. */
static void check_places(const struct config *config, struct buf *warnings)
{
    struct err err;
    struct target_conn *conn;
    warn_place(warnings, "database", config->database, R_OK | W_OK);
    warn_place(warnings, "spool", config->spool, W_OK | X_OK);
    for (int i = 0; i < config->ntargets; i++) {
        const struct target_config *tc = &config->targets[i];
        const struct target *t = target_by_url(tc->url, &err);
        if (t && t->open(&conn, config, tc, false, &err) == 0)
            t->close(conn);
        else if (err.code != ERR_TARGET || err.sys != ENOENT)
            buf_addf(warnings, "%s\n", err.msg);
        if (ddl_check(tc, &err) < 0)
            buf_addf(warnings, "%s\n", err.msg);
        if (t)
            warn_ca(config, tc, t, warnings);
        warn_hosts(config, tc, warnings);
    }
}

/* Can the program of that key be started from here? */
static void warn_program(struct buf *warnings, const char *section, const char *key, const struct command *command)
{
    const char *name = command->argv ? command->argv[0] : NULL, *path = getenv("PATH");
    if (!name || (strchr(name, '/') && access(name, X_OK) == 0))
        return;
    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; !strchr(name, '/') && *path; path += *path == ':') {
        char file[4096];
        size_t n = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)n, path, name);
        if (access(file, X_OK) == 0)
            return;
        path += n;
    }
    buf_addf(warnings, "[pipeline %s] %s: '%s' cannot be run: %s\n", section, key, name,
             strchr(name, '/') ? strerror(errno) : "it is not in PATH");
}

static void check_programs(const struct config *config, struct buf *warnings)
{
    for (int i = 0; i < config->npipelines; i++) {
        const struct pipeline *p = &config->pipelines[i];
        warn_program(warnings, p->name, "command", &p->command);
        for (int k = 0; k < p->nparts; k++)
            warn_program(warnings, p->parts[k].name, "filter", &p->parts[k].filter);
    }
}

/* Has it other offsets in the year to come? */
static bool zone_changes(const struct zone *zone)
{
    enum { DAY_S = 86400 };
    int64_t now = sys_now_ms() / 1000, first = zone_to_local(zone, now) - now;
    for (int day = 1; day <= 366; day++)
        if (zone_to_local(zone, now + day * DAY_S) - (now + day * DAY_S) != first)
            return true;
    return false;
}

/* Where clocks are set back, two slots of a distance in time are the same hour of the clock: they would read the same object. */
static void check_slots(const struct config *config, struct buf *warnings)
{
    for (int i = 0; i < config->npipelines; i++) {
        const struct pipeline *p = &config->pipelines[i];
        struct zone *zone = p->scan.zone && p->source && p->scan.job_per == JOB_PER_SLOT && p->scan.cron.distance && strstr(p->source, "%H")
                                ? zone_open(p->scan.zone)
                                : NULL;
        if (zone && zone_changes(zone))
            buf_addf(warnings, "[pipeline %s] source: where the clocks of %s are set back two times of cron have the same hour, and its object is"
                               " read by both; timezone = UTC has none such, dedupe = content reads the same bytes once\n", p->name, p->scan.zone);
        zone_close(zone);
    }
}

static void check_lookups(const struct config *config, struct buf *warnings)
{
    for (int i = 0; i < config->nlookups; i++) {
        const struct lookup *l = &config->lookups[i];
        struct stat st;
        if (stat(l->file, &st) < 0 || access(l->file, R_OK) < 0)
            buf_addf(warnings, "[lookup %s] file: '%s' cannot be read: %s\n", l->name, l->file, strerror(errno));
        else if (!S_ISREG(st.st_mode))
            buf_addf(warnings, "[lookup %s] file: '%s' is no file\n", l->name, l->file);
    }
}

static void say_warnings(struct buf *warnings)
{
    for (char *at = warnings->p, *line; (line = strsep(&at, "\n")) && *line;)
        fprintf(stderr, "warning: %s\n", line);
}

int ctl_check(struct ctl *c, int argc, char **argv)
{
    AUTO(buf_clear) struct buf faults = { 0 }, warnings = { 0 };
    if (ctl_no_args(c, argc, argv, 0) < 0)
        return -1;
    int rc = checked_load(&c->config, c->config_file, &faults, &c->err);
    if (rc < 0 && (faults.n == 0 || c->err.code == ERR_CONFIG_MISSING))
        return -1; /* the file cannot be read at all */
    if (rc == 0) {
        check_places(c->config, &warnings);
        check_programs(c->config, &warnings);
        check_slots(c->config, &warnings);
        check_lookups(c->config, &warnings);
    }
    if (!c->json)
        say_warnings(&warnings);
    if (c->json)
        check_json(&faults, &warnings, rc == 0);
    else if (rc < 0)
        fputs(faults.p, stderr);
    else
        printf("%s: good; %d pipeline%s, %d target%s, %d remote%s\n", c->config->path, c->config->npipelines,
               ctl_s(c->config->npipelines), c->config->ntargets, ctl_s(c->config->ntargets), c->config->nremotes,
               ctl_s(c->config->nremotes));
    c->status = rc < 0 ? err_exit_status(ERR_CONFIG) : 0;
    return 0;
}

/* ---- doctor ---- */

static const struct table_col doctor_cols[] = {
    { "what", "WHAT", CELL_TEXT },
    { "ok", "OK", CELL_BOOL },
    { "detail", "DETAIL", CELL_TEXT },
};

struct findings {
    struct table table;
    bool bad;
};

static void finding(struct findings *f, const char *what, bool ok, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void finding(struct findings *f, const char *what, bool ok, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    table_text(&f->table, what);
    table_int(&f->table, ok);
    table_text(&f->table, text);
    f->bad |= !ok;
}

static void look_at_database(struct ctl *c, struct findings *f)
{
    struct err err;
    if (ctl_queue(c, 0) < 0) {
        finding(f, "database", false, "%s", c->err.msg);
        return;
    }
    sqlite3_stmt *st;
    if (db_prepare(queue_db(c->queue), &st, "PRAGMA quick_check(1)", &err) < 0 || db_step(st, &err) != 1) {
        finding(f, "database", false, "%s", err.msg);
    } else {
        bool ok = !strcmp(db_text(st, 0), "ok");
        finding(f, "database", ok, "%s: %s, write-ahead log %" PRId64 " KiB", c->config->database, db_text(st, 0),
                queue_wal_bytes(c->queue) / 1024);
    }
    sqlite3_finalize(st);
}

static void look_at_spool(struct ctl *c, struct findings *f)
{
    struct spool spool = SPOOL_CLOSED;
    struct err err;
    int64_t used, avail;
    char u[32], a[32];
    if (spool_open(&spool, c->config->spool, false, &err) < 0 || spool_usage(&spool, &used, &avail, &err) < 0) {
        finding(f, "spool", false, "%s", err.msg);
    } else {
        text_put_size(u, sizeof u, used);
        text_put_size(a, sizeof a, avail);
        finding(f, "spool", true, "%s: %s used, %s free", c->config->spool, u, a);
    }
    spool_close(&spool);
}

static void look_at_target(const struct config *config, const struct target_config *tc, struct findings *f)
{
    struct err err;
    struct target_conn *conn;
    char what[100];
    snprintf(what, sizeof what, "target %s", tc->name);
    const struct target *t = target_by_url(tc->url, &err);
    if (!t || t->open(&conn, config, tc, false, &err) < 0) {
        finding(f, what, false, "%s", err.msg);
        return;
    }
    bool ok = !t->probe || t->probe(conn, &err) == 0;
    t->close(conn);
    if (ok)
        finding(f, what, true, "%s can be opened%s", t->scheme, t->probe ? " and its ledger written" : "");
    else
        finding(f, what, false, "%s", err.msg);
}

/* Is it the same for each job, and nothing that a query or a parameter says? */
static bool is_probed(const struct pipeline *p)
{
    return p->source && !p->command.argv && (pipeline_is_scanned(p) || !strpbrk(p->source, "{?#"));
}

static int probe_source(const struct role *role, struct list_links *links, const struct pipeline *p, struct err *err)
{
    struct pipeline own = *p;
    struct pass pass = { .role = role, .pipeline = &own, .links = links };
    if (!pipeline_is_scanned(p))
        own.scan.source_plain = strlen(p->source); /* nothing of it is a pattern */
    return pass_probe(&pass, err);
}

/* In a process of its own (role/far.h): what is behind a mount may never answer. */
static void probe_serve(const void *arg, struct far_report *r, int64_t *beat)
{
    const struct role *role = arg;
    struct list_links *links;
    (void)beat;
    if (r->task.inbox) {
        (void)access(role->config->inbox, F_OK);
        return;
    }
    bool open = list_links_open(&links, &r->why) == 0;
    if (open && probe_source(role, links, &role->config->pipelines[r->task.pipeline], &r->why) == 0)
        r->why = (struct err){ 0 };
    if (open)
        list_links_close(links);
}

/* The same, for as long as it takes to get a connection to another host. source: of the task. */
static int probe(const struct role *role, struct far *far, struct far_task task, const char *source, struct err *err)
{
    struct far_report r;
    int64_t most_ms = role->config->limits.connect_timeout_ms, until = sys_mono_ms() + most_ms;
    if (!far_has_room(far, task.place))
        return err_set(err, ERR_TIMEOUT, "'%s': its mount does not answer, as said above", source);
    if (far_start(far, &task, err) < 0)
        return -1;
    for (int64_t left; (left = until - sys_mono_ms()) > 0;) {
        int rc = far_ended(far, &r, err);
        if (rc < 0)
            return -1;
        if (rc && r.task.pipeline == task.pipeline) { /* else one that answered after its time */
            *err = r.how == FAR_DIED ? r.err : r.why;
            return err->code == ERR_NONE ? 0 : -1;
        }
        if (!rc)
            (void)poll(&(struct pollfd){ far_fd(far), POLLIN, 0 }, 1, (int)left);
    }
    return err_set(err, ERR_TIMEOUT, "'%s': its mount does not answer: nothing came for %lld s ([limits] connect_timeout)", source,
                   (long long)(most_ms / 1000));
}

static int probe_mount(const struct role *role, struct far *far, const struct pipeline *p, struct err *err)
{
    bool mount;
    const struct far_task task = { .pipeline = (int)(p - role->config->pipelines), .place = pass_place(role->config, p, &mount) };
    return probe(role, far, task, p->source, err);
}

/* Of the inbox, where it is behind a mount. */
static int probe_inbox(const struct role *role, struct far **far, struct err *err)
{
    const char *inbox = role->config->inbox;
    const struct far_task task = { .pipeline = role->config->npipelines, .place = inbox ? pass_folder_place(inbox) : 0, .inbox = true };
    if (!task.place)
        return 0;
    if (!*far && far_open(far, probe_serve, role, err) < 0)
        return -1;
    return probe(role, *far, task, inbox, err);
}

static bool is_mounted(const struct config *config, const struct pipeline *p)
{
    bool mount;
    return pass_place(config, p, &mount) && mount;
}

static bool lists_mount(const struct config *config, const struct pipeline *p, const char *only)
{
    return pipeline_is_scanned(p) && p->scan.job_per == JOB_PER_OBJECT && !p->scan.stream && (!only || !strcmp(only, p->name)) && is_mounted(config, p);
}

int ctl_mounts(struct ctl *c, const char *only, struct err *hung)
{
    struct role role = { .config = c->config, .name = "qetlctl scan" };
    struct far *far = NULL;
    int rc = 0;
    for (int i = 0; rc == 0 && i < c->config->npipelines; i++) {
        const struct pipeline *p = &c->config->pipelines[i];
        hung[i] = (struct err){ 0 };
        if (!lists_mount(c->config, p, only))
            continue;
        if (!far)
            rc = far_open(&far, probe_serve, &role, &c->err);
        if (rc == 0 && probe_mount(&role, far, p, &hung[i]) < 0)
            err_in(&hung[i], "scan of '%s'", p->name);
        if (hung[i].code != ERR_TIMEOUT) /* any other fault the listing tells */
            hung[i] = (struct err){ 0 };
    }
    struct err *inbox = &hung[c->config->npipelines];
    *inbox = (struct err){ 0 };
    if (rc == 0 && !only && probe_inbox(&role, &far, inbox) < 0)
        err_in(inbox, "the inbox");
    if (inbox->code != ERR_TIMEOUT)
        *inbox = (struct err){ 0 };
    far_close(far);
    return rc;
}

/* What is scanned has to be there; what a slot or a submit names need not yet, but its place has to let us ask. */
static void look_at_source(const struct role *role, struct list_links *links, struct far *far, const struct pipeline *p, struct findings *f)
{
    bool listed = pipeline_is_scanned(p) && p->scan.job_per == JOB_PER_OBJECT;
    struct err err;
    char what[100];
    snprintf(what, sizeof what, "source of %s", p->name);
    int rc = is_mounted(role->config, p) ? probe_mount(role, far, p, &err) : probe_source(role, links, p, &err);
    if (rc < 0 && (listed || err.code != ERR_FETCH_MISSING))
        finding(f, what, false, "%s [%s]", err.msg, err_name(err.code));
    else
        finding(f, what, true, "%s can be %s", p->source, listed ? "listed" : "asked for");
}

static int look_at_sources(struct ctl *c, const struct role *role, struct far *far, struct findings *f)
{
    struct list_links *links;
    if (list_links_open(&links, &c->err) < 0)
        return -1;
    for (int i = 0; i < c->config->npipelines; i++) {
        const struct pipeline *p = &c->config->pipelines[i];
        if (is_probed(p))
            look_at_source(role, links, far, p, f);
    }
    list_links_close(links);
    return 0;
}

int ctl_doctor(struct ctl *c, int argc, char **argv)
{
    struct findings f = { 0 };
    struct far *far;
    if (ctl_no_args(c, argc, argv, 0) < 0 || ctl_config(c) < 0)
        return -1;
    struct role role = { .config = c->config, .name = "qetlctl doctor" };
    if (far_open(&far, probe_serve, &role, &c->err) < 0) /* while no queue is open here */
        return -1;
    table_init(&f.table, c->json, doctor_cols, COUNT_OF(doctor_cols));
    finding(&f, "ini", true, "%s", c->config->path);
    look_at_database(c, &f);
    look_at_spool(c, &f);
    for (int i = 0; i < c->config->ntargets; i++)
        look_at_target(c->config, &c->config->targets[i], &f);
    int rc = look_at_sources(c, &role, far, &f);
    far_close(far);
    if (rc < 0)
        return -1;
    finding(&f, "sqlite", true, "%s%s", sqlite3_libversion(),
            db_wal_reset_bug() ? ": has the WAL-reset race; qetl checkpoints only under its own lock. Other programs should not write to "
                                 "the database"
                               : "");
    finding(&f, "libcurl", true, "%s", curl_version());
    finding(&f, "libarchive", true, "%s", archive_version_details());
    table_print(&f.table, "findings", "");
    c->status = f.bad;
    return 0;
}

/* ---- infer ---- */

/* The options that stand for a key of the pipeline; both the look and the section that is printed have them. A key with a _ is taken
 * with - too, as people write options. */
static const struct option infer_options[] = {
    { "sample", no_argument, NULL, 's' },
    { "comment", required_argument, NULL, 'k' },
    { "decimal_point", required_argument, NULL, 'k' },
    { "decimal-point", required_argument, NULL, 'k' },
    { "delimiter", required_argument, NULL, 'k' },
    { "encoding", required_argument, NULL, 'k' },
    { "escape", required_argument, NULL, 'k' },
    { "format", required_argument, NULL, 'k' },
    { "header", required_argument, NULL, 'k' },
    { "member", required_argument, NULL, 'k' },
    { "null", required_argument, NULL, 'k' },
    { "quote", required_argument, NULL, 'k' },
    { "records", required_argument, NULL, 'k' },
    { "skip_lines", required_argument, NULL, 'k' },
    { "skip-lines", required_argument, NULL, 'k' },
    { NULL, 0, NULL, 0 },
};

/* One line "key = value" more. */
static int infer_key(struct ctl *c, struct buf *keys, const char *key, const char *value)
{
    if (strchr(value, '\n'))
        return ctl_usage(c, "--%s: a value is one line", key);
    char name[32];
    snprintf(name, sizeof name, "%s", key);
    for (char *p = name; (p = strchr(p, '-'));)
        *p = '_';
    /* in an ini a semicolon begins a comment */
    buf_addf(keys, "%-7s = %s\n", name, strcmp(value, ";") ? value : "semicolon");
    return keys->failed ? err_nomem(&c->err) : 0;
}

/* What is wrong with the ini at path is wrong with the call it was made of: nobody can look at a line of it. */
static int wrong_call(struct ctl *c, const char *path)
{
    char fault[sizeof c->err.msg];
    size_t n = strlen(path);
    if (c->err.code != ERR_CONFIG || strncmp(c->err.msg, path, n) != 0 || c->err.msg[n] != ':')
        return -1;
    n += 1 + strspn(c->err.msg + n + 1, "0123456789");
    snprintf(fault, sizeof fault, "%s", c->err.msg + n + strspn(c->err.msg + n, ": "));
    return ctl_usage(c, "infer: %s", fault);
}

/* A pipeline that exists only for this look: it lies in an ini of its own, in a folder that goes afterwards. */
static int scratch_config(struct ctl *c, const char *dir, const char *name, const char *keys, bool sample)
{
    char path[300];
    struct config *own = NULL;
    snprintf(path, sizeof path, "%s/qetl.ini", dir);
    FILE *out = fopen(path, "we");
    if (!out)
        return err_sys(&c->err, "make '%s'", path);
    fprintf(out,
            "[qetl]\ndatabase = %s/queue.db\nspool = %s/spool\n[target t]\nurl = sqlite://%s/t.db\n"
            "[pipeline %s]\ntable = t.t\ninfer = %s\n%s",
            dir, dir, dir, name, sample ? "sample" : "member", keys);
    if (fclose(out) != 0)
        return err_sys(&c->err, "write '%s'", path);
    if (config_load(&own, path, NULL, &c->err) < 0)
        return wrong_call(c, path);
    /* the remotes of the real ini (passwords, certificates) still count, when there is one */
    struct config *real;
    struct err ignored;
    if (config_load(&real, c->config_file, NULL, &ignored) == 0) {
        struct remote *remotes = own->remotes;
        int nremotes = own->nremotes;
        own->remotes = real->remotes;
        own->nremotes = real->nremotes;
        real->remotes = remotes;
        real->nremotes = nremotes;
        c->config = real; /* owns the remotes' strings; freed at the end */
    }
    c->scratch = own;
    return 0;
}

struct look {
    const char *dir, *name, *uri;
    bool sample;
    char *columns;
    char *records; /* the way to them in a member that is one object around them, or NULL */
    char *lone;    /* then: its columns as one row, when those of the records were found, too */
    struct infer_notes notes;
};

static void print_section(const struct look *l, const char *keys)
{
    printf("# columns from %s of %s\n", l->sample ? "the first megabyte" : "the whole first member", l->uri);
    if (l->lone)
        printf("# the file is one object around these records; without records= it is one row: columns = %s\n", l->lone);
    if (l->notes.unread)
        printf("# %" PRId64 " row%s could not be read; the first: %s\n", l->notes.unread, ctl_s(l->notes.unread),
               l->notes.first_unread);
    for (const char *at = l->notes.hints; at && *at; at += strcspn(at, "\n") + 1)
        printf("# %.*s\n", (int)strcspn(at, "\n"), at);
    printf("[pipeline %s]\nsource  = %s\n%scolumns = %s\ntable   = warehouse.%s\n", l->name, l->uri, keys, l->columns, l->name);
}

static int look_once(struct ctl *c, const struct look *l, const char *keys, char **columns, struct infer_notes *notes)
{
    int rc = scratch_config(c, l->dir, l->name, keys, l->sample);
    if (rc == 0)
        rc = worker_infer(c->scratch, l->name, l->uri, columns, notes, &c->err);
    config_free(c->scratch);
    config_free(c->config);
    c->scratch = c->config = NULL;
    return rc;
}

/* Once more with the records of an object that is the whole file: one row is seldom what was meant. */
static int look(struct ctl *c, struct look *l, struct buf *keys)
{
    AUTO(free_charp) char *inside = NULL;
    AUTO(infer_notes_clear) struct infer_notes notes = { 0 };
    if (look_once(c, l, keys->p ? keys->p : "", &l->columns, &l->notes) < 0)
        return -1;
    if (!l->notes.records)
        return 0;
    l->records = l->notes.records;
    l->notes.records = NULL;
    size_t n = keys->n;
    if (infer_key(c, keys, "records", l->records) < 0)
        return -1;
    if (look_once(c, l, keys->p, &inside, &notes) == 0) {
        struct infer_notes outside = l->notes;
        l->notes = notes;
        notes = outside;
        l->lone = l->columns;
        l->columns = inside;
        inside = NULL;
    } else {
        keys->n = n;
        keys->p[n] = '\0';
    }
    return 0;
}

static void hints_json(struct json_out *o, const char *hints)
{
    json_key(o, "hints");
    json_array(o);
    for (const char *at = hints; at && *at; at += strcspn(at, "\n") + 1)
        json_text(o, (struct str){ at, strcspn(at, "\n") });
    json_array_end(o);
}

static void section_json(const struct look *l)
{
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    json_start(&o, &doc);
    json_object(&o);
    json_put_text(&o, "pipeline", l->name);
    json_put_text(&o, "source", l->uri);
    json_put_text(&o, "records", l->lone ? l->records : NULL);
    json_put_text(&o, "columns", l->columns);
    json_put_bool(&o, "whole_member", !l->sample);
    json_put_int(&o, "rows_unread", l->notes.unread);
    json_put_text(&o, "first_unread", l->notes.first_unread);
    hints_json(&o, l->notes.hints);
    json_object_end(&o);
    puts(doc.p);
}

/* A name for the pipeline from the file's name: letters, digits and _ up to the first dot. */
static void name_from(const char *uri, char *out, size_t cap)
{
    char base[256];
    size_t n = 0;
    source_basename(uri, base, sizeof base);
    for (const char *p = base; *p && *p != '.' && n < cap - 1; p++)
        out[n++] = ((*p | 32) >= 'a' && (*p | 32) <= 'z') || (*p >= '0' && *p <= '9') ? *p : '_';
    out[n] = '\0';
    if (n == 0)
        snprintf(out, cap, "data");
}

int ctl_infer(struct ctl *c, int argc, char **argv)
{
    bool sample = false;
    char name[64], dir[] = "/tmp/qetl-infer-XXXXXX";
    AUTO(buf_clear) struct buf keys = { 0 };
    for (int o, at; (o = ctl_option(c, argc, argv, "", infer_options, &at)) != -1;) {
        if (o != 's' && o != 'k')
            return -1; /* ctl_option() has said it */
        if (o == 'k' && infer_key(c, &keys, infer_options[at].name, optarg) < 0)
            return -1;
        sample |= o == 's';
    }
    if (argc - optind < 1 || argc - optind > 2)
        return ctl_usage(c, "infer wants a URI, and a name for the pipeline if you like");
    AUTO(free_charp) char *uri = source_absolute(argv[optind]);
    if (!uri)
        return err_nomem(&c->err);
    if (argc - optind == 2)
        snprintf(name, sizeof name, "%s", argv[optind + 1]);
    else
        name_from(uri, name, sizeof name);
    if (!mkdtemp(dir))
        return err_sys(&c->err, "make a folder in /tmp");
    struct look l = { .dir = dir, .name = name, .uri = uri, .sample = sample };
    int rc = look(c, &l, &keys);
    struct err ignored; /* a folder in /tmp that stays is no reason to fail */
    (void)sys_remove_tree(-100, dir, &ignored);
    if (rc == 0 && c->json)
        section_json(&l);
    else if (rc == 0)
        print_section(&l, keys.p ? keys.p : "");
    free(l.columns);
    free(l.records);
    infer_notes_clear(&l.notes);
    free(l.lone);
    return rc;
}

/* ---- run ---- */

/* What held the job up to now, while a worker and a loader were there: us. Nothing, while it was in our hands. */
static int held_by(struct ctl *c, int64_t id, struct buf *why)
{
    int state;
    if (ctl_state(c, id, &state) < 0)
        return -1;
    return state == JOB_RUNNING || state == JOB_LOADING ? 0 : job_explain(c->queue, id, why, &c->err);
}

/* 1: it is over; 0: the time is, and *why it waited; -1. */
static int work_until_over(struct ctl *c, struct worker *w, struct loader *l, struct ctl_wait *wait, int64_t id, struct buf *why)
{
    for (;;) {
        uint32_t bell = queue_bell(c->queue, BELL_DONE);
        int worked, loaded, over;
        if (worker_step(w, &worked, &c->err) < 0 || loader_step(l, &loaded, &c->err) < 0 || (over = ctl_over(c, id)) < 0)
            return -1;
        if (over)
            return 1;
        if (ctl_time_over(wait))
            return held_by(c, id, why) < 0 ? -1 : 0;
        if (worked || loaded)
            wait->since_mono_ms = 0;
        else if (ctl_waits(c, wait, id) < 0)
            return -1;
        else
            queue_sleep(c->queue, BELL_DONE, bell, 50);
        if (sys_stop_requested())
            return err_set(&c->err, ERR_SHUTDOWN, "stopped; job %" PRId64 " stays in the queue", id);
    }
}

int ctl_run(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "param", required_argument, NULL, 'p' }, { "timeout", required_argument, NULL, 't' },
                                           { NULL, 0, NULL, 0 } };
    struct ctl_submission s = { 0 };
    AUTO(buf_clear) struct buf params = { 0 }, why = { 0 };
    struct ctl_wait wait = { 0 };
    struct worker *w = NULL;
    struct loader *l = NULL;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    for (int o; (o = ctl_option(c, argc, argv, "p:", longs, NULL)) != -1;)
        if (o == 't' ? ctl_timeout(c, optarg, &wait) < 0 : o != 'p' || ctl_param(c, &params, optarg) < 0)
            return -1;
    if (optind == argc)
        return ctl_usage(c, "run which pipeline? qetlctl help run");
    if (ctl_checked(c) < 0)
        return -1;
    s.pipeline = argv[optind];
    s.uris = argv + optind + 1;
    s.nuris = argc - optind - 1;
    s.params = params.p;
    struct role worker = { .config = c->config, .name = "run.worker", .until_mono_ms = wait.until_mono_ms },
                loader = { .config = c->config, .name = "run.loader", .until_mono_ms = wait.until_mono_ms };
    int rc = -1;
    log_init(LOG_NOTHING, LOG_TEXT, "qetlctl"); /* what became of the job is printed at the end */
    /* the worker first: it forks its reader while this process is small */
    if (worker_open(&w, &worker, &c->err) == 0 && loader_open(&l, &loader, &c->err) == 0 && ctl_queue(c, 0) == 0 &&
        ctl_submit_one(c, &s, &id, uid, &made) == 0) {
        sys_signals_init(NULL);
        worker_only(w, id);
        loader_only(l, id);
        rc = work_until_over(c, w, l, &wait, id, &why);
    }
    worker_close(w);
    loader_close(l);
    return rc < 0 ? -1 : ctl_tell(c, id, rc, why.p);
}
