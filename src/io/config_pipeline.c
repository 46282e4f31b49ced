/* Checks of a pipeline: its parts together, source, schedule, program, late rows. See config_build.h. */
#include "io/config_build.h"

#include <string.h>
#include <strings.h>

#include "io/pattern.h"

/* Does undo keep the rows that were there before, one by one? */
static bool keeps_rows(const struct recipe *r) { return r->mode == MODE_UPSERT || r->mode == MODE_HISTORY; }

/* Two parts that load the same table. */
static void check_shared(struct build *b, int i, const struct recipe *one, const struct recipe *two)
{
    if (two->mode == MODE_REPLACE)
        build_fault(b, i, "mode", "parts '%s' and '%s' would replace each other's rows in table %s",
                    one->name, two->name, two->table);
    if (one->missing == MISSING_DELETE || two->missing == MISSING_DELETE)
        build_fault(b, i, "missing", "parts '%s' and '%s' would remove each other's rows from table %s",
                    one->name, two->name, two->table);
    if ((one->undo_ms || two->undo_ms) && (keeps_rows(one) || keeps_rows(two)))
        build_fault(b, i, "undo", "parts '%s' and '%s' both load table %s, and the rows of an upsert could not be told from the others: only one part may",
                    one->name, two->name, two->table);
}

/* Bytes at the beginning of the source that keep_path() put there: the ini's folder, its braces doubled. */
static size_t source_plain(const struct build *b, const char *source)
{
    const char *s = source;
    for (const char *f = b->folder; *f; f++, s++) {
        if (*s != *f || (*f == '{' && *++s != '{'))
            return 0;
    }
    return *s == '/' ? (size_t)(s - source) : 0;
}

/* A place that renames or copies, and there within it. */
static void check_after(struct build *b, int i, const struct scan_config *s, const char *base)
{
    static const char *const acts[] = { "ftp", "ftps", "sftp", "s3" };
    size_t n = strcspn(base, ":");
    bool can = !*base;
    if (s->after.what == AFTER_KEEP)
        return;
    for (size_t k = 0; k < COUNT_OF(acts); k++)
        can |= str_eq_nocase((struct str){ base, n }, str_of(acts[k]));
    if (!can)
        build_fault(b, i, "after", "expected keep: only local files and those of ftp, ftps, sftp and s3 are deleted or moved");
    else if (s->after.what == AFTER_MOVE && !*base && uri_behind_scheme(s->after.folder))
        build_fault(b, i, "after", "expected move: and a local folder: a file is moved within its host");
    else if (s->after.what == AFTER_MOVE && *base && (strncmp(s->after.folder, base, strlen(base)) || s->after.folder[strlen(base)] != '/'))
        build_fault(b, i, "after", "expected move:%s/FOLDER: an object is moved within its host or bucket", base);
}

/* A look at a stream that inotify told nothing of. */
enum { STREAM_EVERY_MS = 10000 };

static void check_manifest(struct build *b, int i, const struct scan_config *s, const struct pattern *pattern)
{
    if (strncasecmp(pattern_base(pattern), "manifest+", 9))
        return;
    if (!pattern_is_literal(pattern))
        build_fault(b, i, "source", "expected no globs and no names: a manifest is one file, but for dates in its path");
    if (s->done_marker)
        build_fault(b, i, "done_marker", "expected none: what a manifest names lies anywhere");
}

static void check_pattern(struct build *b, int i, struct pipeline *p)
{
    const struct scan_config *s = &p->scan;
    struct pattern *pattern;
    struct err err;
    if (!s->stream)
        p->scan.source_plain = source_plain(b, p->source);
    if (pattern_parse(&pattern, p->source, s->source_plain, &err) < 0) {
        build_fault(b, i, "source", "%s", err.msg);
        return;
    }
    if (s->lookback_ms && !pattern_is_dated(pattern))
        build_fault(b, i, "lookback", "expected a date such as {%%Y/%%m/%%d} in the source: it says which of them are listed");
    check_after(b, i, s, pattern_base(pattern));
    check_manifest(b, i, s, pattern);
    if (build_entry(b, i, "whole_wait", NULL) && s->whole != WHOLE_TRAILER)
        build_fault(b, i, "whole_wait", "expected whole = trailer beside it");
    if (s->whole == WHOLE_TRAILER && s->job_per == JOB_PER_SLOT)
        build_fault(b, i, "whole", "expected a job_per that is not slot: nobody looks whether its objects change");
    if (s->job_per == JOB_PER_SLOT && !s->cron_text)
        build_fault(b, i, "job_per", "expected cron beside it");
    if (s->job_per == JOB_PER_SLOT && !pattern_is_literal(pattern))
        build_fault(b, i, "source", "expected no globs and no names: with job_per = slot it names one object at each time");
    if (s->job_per == JOB_PER_SLOT && (s->group_files || s->group_bytes))
        build_fault(b, i, s->group_files ? "group_files" : "group_bytes", "expected a job_per that is not slot");
    if (build_entry(b, i, "group_wait", NULL) && !s->group_files && !s->group_bytes)
        build_fault(b, i, "group_wait", "expected group_files or group_bytes beside it");
    pattern_free(pattern);
}

/* A folder of letters, digits and . _ = - with / between its parts, none of them for qetl itself. */
static bool archive_folder_good(const char *folder)
{
    static const char *const taken[] = { "_manifest", "_table" };
    for (const char *part = folder; *part; part += strcspn(part, "/")) {
        part += part > folder;
        size_t n = strspn(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._=-");
        if (n == 0 || n > 200 || part[0] == '.' || (part[n] && part[n] != '/'))
            return false;
        for (size_t k = 0; part == folder && k < COUNT_OF(taken); k++)
            if (strlen(taken[k]) == n && !strncmp(taken[k], part, n))
                return false;
    }
    return strlen(folder) <= 400;
}

static void check_archive(struct build *b, int i, const struct pipeline *p)
{
    const char *folder = "";
    char hint[200];
    if (!p->archive)
        return;
    const struct target_config *t = config_archive(b->c, p, &folder);
    nearest(hint, sizeof hint, p->archive, config_target_name, b->c);
    if (!t)
        build_fault(b, i, "archive", "'%s': expected TARGET or TARGET/FOLDER, with the name of a [target]%s", p->archive, hint);
    else if (!(build_target_kind(t) & FOR_OBJECTS))
        build_fault(b, i, "archive", "expected an object store or directory, and target '%s' is a '%.*s:'", t->name,
                    (int)strcspn(t->url, ":"), t->url);
    else if (!archive_folder_good(folder) || (p->archive[strlen(t->name)] && !*folder))
        build_fault(b, i, "archive", "'%s': expected a folder of letters, digits and . _ = - that is none of qetl's own", folder);
}

/* A program has no source that could be listed: it runs at times by the clock. */
static void check_command_scan(struct build *b, int i, struct pipeline *p)
{
    static const char *const of_source[] = { "lookback", "forget",      "on_change", "settle",      "min_age",     "ignore",
                                             "done_marker", "after", "group_files", "group_bytes", "group_wait", "whole",       "whole_wait" };
    for (size_t k = 0; k < COUNT_OF(of_source); k++)
        if (build_entry(b, i, of_source[k], NULL))
            build_fault(b, i, of_source[k], "expected a source beside it: what a command writes is no object that is found");
    if (p->scan.every_ms)
        build_fault(b, i, "every", "expected cron: a command runs at times by the clock, such as cron = */5 * * * *");
    if (build_entry(b, i, "job_per", NULL) && p->scan.job_per != JOB_PER_SLOT)
        build_fault(b, i, "job_per", "expected slot: a command has no objects");
    p->scan.job_per = JOB_PER_SLOT;
}

/* Keep the spool's folder as the beginning of a source: its braces doubled. */
static size_t put_plain(struct buf *out, const char *folder)
{
    for (; *folder; folder++) {
        buf_addc(out, *folder);
        if (*folder == '{')
            buf_addc(out, '{');
    }
    return out->n;
}

/* stream:NAME is the closed segments of that stream, in the spool: scanned and deleted, without being asked for. */
static void bind_stream(struct build *b, int i, struct pipeline *p)
{
    struct scan_config *s = &p->scan;
    struct buf source = { 0 };
    if (!p->source || strncmp(p->source, "stream:", 7) != 0)
        return;
    s->stream = p->source + 7;
    s->source_plain = put_plain(&source, b->c->spool);
    buf_addf(&source, "/streams/%s/*.jsonl", s->stream);
    if (source.failed || !(p->source = build_keep(b, buf_str(&source))))
        b->ini.failed = true;
    buf_clear(&source);
    for (const struct pipeline *o = b->c->pipelines; o < p; o++)
        if (o->scan.stream && !strcmp(o->scan.stream, s->stream))
            build_fault(b, i, "source", "stream '%s' is taken by pipeline '%s': each line goes to one", s->stream, o->name);
    if (!s->every_ms && !s->cron_text)
        s->every_ms = STREAM_EVERY_MS;
    if (!build_entry(b, i, "settle", NULL))
        s->settle_ms = 0;
    if (!build_entry(b, i, "after", NULL))
        s->after.what = AFTER_DELETE;
    for (int k = 0; k < p->nparts; k++)
        if (!strcmp(p->parts[k].format, "auto"))
            p->parts[k].format = build_keep(b, STR("jsonl"));
}

/* A fault of these was told of; what stands beside them is checked as if they were good, so that nothing is said to be missing. */
static void take_as_given(struct build *b, int i, struct scan_config *s)
{
    if (build_entry(b, i, "cron", NULL) && !s->cron_text)
        s->cron_text = build_keep(b, STR(""));
    if (build_entry(b, i, "every", NULL) && !s->every_ms)
        s->every_ms = STREAM_EVERY_MS;
}

/* Keys that say how a source is scanned. */
static void check_scan(struct build *b, int i, struct pipeline *p)
{
    static const char *const scan_keys[] = { "timezone", "missed",  "missed_age", "job_per", "lookback",    "forget", "on_change",
                                             "settle",   "min_age", "ignore",  "done_marker", "after",
                                             "group_files", "group_bytes", "group_wait", "whole", "whole_wait" };
    static const char *const stream_keys[] = { "segment_bytes", "segment_age" };
    take_as_given(b, i, &p->scan);
    bind_stream(b, i, p);
    for (size_t k = 0; k < COUNT_OF(scan_keys) && !pipeline_is_scanned(p); k++)
        if (build_entry(b, i, scan_keys[k], NULL))
            build_fault(b, i, scan_keys[k], "expected every or cron beside it: without them nobody scans the source");
    for (size_t k = 0; k < COUNT_OF(stream_keys) && !p->scan.stream; k++)
        if (build_entry(b, i, stream_keys[k], NULL))
            build_fault(b, i, stream_keys[k], "expected source = stream:NAME beside it");
    if (!pipeline_is_scanned(p))
        return;
    if (p->scan.every_ms && p->scan.cron_text)
        build_fault(b, i, "every", "expected either every or cron");
    for (const char *const *key = (const char *const[]){ "missed", "missed_age", NULL }; *key && !p->scan.cron_text; key++)
        if (build_entry(b, i, *key, NULL))
            build_fault(b, i, *key, "expected cron beside it");
    if (p->command.argv) {
        check_command_scan(b, i, p);
        return;
    }
    const char *marker = p->scan.done_marker;
    if (marker && (strchr(marker, '/') || !strcmp(marker, "*")))
        build_fault(b, i, "done_marker", "expected a name without a slash, such as _SUCCESS or *.done");
    if (!p->source && build_given(b, i, "source")) /* a fault of its own */
        return;
    if (!p->source)
        build_fault(b, i, p->scan.cron_text ? "cron" : "every", "expected a source beside it");
    else
        check_pattern(b, i, p);
}

/* Keys that say how a program is run. */
static void check_command(struct build *b, int i, const struct pipeline *p)
{
    static const char *const about[] = { "command_timeout", "command_memory", "command_user", "command_env" };
    bool any = p->command.argv;
    for (int k = 0; k < p->nparts; k++)
        any |= p->parts[k].filter.argv != NULL;
    for (size_t k = 0; k < COUNT_OF(about) && !any; k++)
        if (build_entry(b, i, about[k], NULL))
            build_fault(b, i, about[k], "expected command or filter beside it: no program is run without");
    if (p->command.argv && p->source)
        build_fault(b, i, "command", "expected either command or source");
    if (p->command.argv && p->archive)
        build_fault(b, i, "archive", "expected no command beside it: what a program writes is no object that could be kept");
}

void build_check_pipeline(struct build *b, int i)
{
    struct pipeline *p = b->bound[i].pipeline;
    check_command(b, i, p);
    check_scan(b, i, p);
    check_archive(b, i, p);
    if (p->dedupe && p->command.argv)
        build_fault(b, i, "dedupe", "expected no command beside it: what a program writes is no object");
    for (int k = 0; k < p->nparts && p->dedupe; k++)
        if (p->parts[k].mode == MODE_REPLACE || p->parts[k].mode == MODE_HISTORY) {
            build_fault(b, i, "dedupe", "expected no table in mode replace or history: there the same content can mean something again");
            break;
        }
    for (int k = 0; k < p->nparts; k++) {
        const struct target_config *t = p->parts[k].target ? config_target(b->c, p->parts[k].target) : NULL;
        if (t)
            build_check_fit(b, i, t);
    }
    if (p->backoff_ms > p->backoff_max_ms)
        build_fault(b, i, build_given(b, i, "backoff_max") ? "backoff_max" : "backoff",
                    "expected backoff_max to be at least backoff");
    if (p->source && strncasecmp(p->source, "sftp://", 7) == 0 && !config_remote(b->c, p->source))
        build_fault(
            b, i, "source",
            "an sftp host needs a [remote NAME] section with known_hosts or host_key_sha256");
    for (int k = 1; k < p->nparts; k++)
        for (int j = 0; j < k; j++)
            if (p->parts[k].table && p->parts[j].table && !strcmp(p->parts[k].table, p->parts[j].table))
                check_shared(b, i, &p->parts[j], &p->parts[k]);
}

/* One of the parts whose bits are set. */
static int any_of(unsigned parts)
{
    int i = 0;
    while (!(parts >> i & 1))
        i++;
    return i;
}

/* No part reads, by whatever way, its own rows: of two that wait for each other neither would ever begin. */
void build_check_order(struct build *b, int i)
{
    const struct pipeline *p = b->bound[i].pipeline;
    unsigned left = (1u << p->nparts) - 1, before;
    int at = 0, section = 0;
    do {
        before = left;
        for (int k = 0; k < p->nparts; k++)
            if (!(p->parts[k].reads & left))
                left &= ~(1u << k);
    } while (left != before);
    if (!left || build_failed(b))
        return;
    at = any_of(left);
    for (int k = 0; k < p->nparts; k++) /* so far that it is in the circle, and not only before it */
        at = any_of(p->parts[at].reads & left);
    int next = any_of(p->parts[at].reads & left);
    while (b->bound[section].recipe != &p->parts[at])
        section++;
    build_fault(b, section, "lookup_parts", "parts '%s' and '%s' would wait for each other: one of them has to be there first", p->parts[at].name,
                p->parts[next].name);
    for (int k = 0; k < p->nparts; k++) /* so that pipeline_order() gives one */
        if (left >> k & 1) {
            p->parts[k].reads = 0;
            p->parts[k].faulty |= FAULTY_ROWS;
        }
}

/* The late rows of a part, where they have a table of their own, are those of a part behind all others that has no members. */
void build_bind_late(struct build *b, int i)
{
    struct pipeline *p = b->bound[i].pipeline;
    if (build_entry(b, i, "allowed_lateness", NULL) && !pipeline_has_events(p))
        build_fault(b, i, "allowed_lateness", "expected event_time beside it");
    for (int k = 0, own = p->nparts; k < own && !build_failed(b); k++) {
        struct recipe *r = &p->parts[k], *l = &p->parts[p->nparts];
        struct buf name = { 0 };
        struct err err;
        if (!r->event_time || r->late != LATE_ASIDE)
            continue;
        if (p->nparts == CONFIG_PARTS_MAX) {
            build_fault(b, i, "late", "expected at most %d parts of a pipeline, and a table of late rows is one", CONFIG_PARTS_MAX);
            return;
        }
        buf_addf(&name, "%s.late", r->name);
        key_defaults(&b->keys, AT_RECIPE, l);
        l->name = name.failed ? NULL : build_keep(b, buf_str(&name));
        l->places = r->places;
        l->format = r->format;
        l->columns_text = r->columns_text;
        l->table = r->late_table;
        l->target = r->target;
        l->table_name = r->late_name;
        l->undo_ms = r->undo_ms;
        l->after_load = r->after_load;
        l->max_rejects = r->max_rejects;
        l->empty_ok = r->empty_ok;
        l->by_program = r->by_program;
        l->allowed_lateness_ms = r->allowed_lateness_ms;
        l->late_part = k;
        l->takes_late = true;
        l->faulty = r->faulty;
        b->ini.failed |= name.failed;
        buf_clear(&name);
        if (l->columns_text && columns_parse(&l->columns, l->columns_text, &err) < 0)
            continue; /* told of already */
        r->late_part = p->nparts++;
    }
}
