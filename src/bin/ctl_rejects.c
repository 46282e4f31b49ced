/*
 * The verb rejects: rows that were refused, to look at, to mend by hand, and to run again.
 *
 * The rows lie in the queue, or in spool/rejects/<uid>.jsonl; both are read as a stream, so that a million of them need the memory of one.
 */
#include "bin/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "bin/table.h"
#include "io/rejects.h"
#include "pipeline/replay.h"
#include "role/submission.h"

/* ---- the rows of a job ---- */

/* Where they lie: a source of bytes. */
struct kept {
    struct input input;
    struct buf bytes; /* when they are in the queue */
    size_t at;
    int fd;           /* else -1 */
    int outputs;
};

/* A job with its rejects, open at the first of them. */
struct refused {
    struct ctl *c;
    int64_t id, rows, count; /* rows: that it refused; count: of them that are kept */
    char uid[SYS_UID_LEN + 1], state[16];
    char *pipeline, *params;
    struct kept kept;
    struct rejects_in *in;
};

static ssize_t kept_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct kept *k = (struct kept *)in;
    if (k->fd >= 0) {
        ssize_t n;
        do
            n = read(k->fd, buf, cap);
        while (n < 0 && errno == EINTR);
        return n < 0 ? err_sys(err, "read the kept rejects") : n;
    }
    size_t n = k->bytes.n - k->at < cap ? k->bytes.n - k->at : cap;
    if (n)
        memcpy(buf, k->bytes.p + k->at, n);
    k->at += n;
    return (ssize_t)n;
}

static void refused_clear(struct refused *r)
{
    rejects_close(r->in);
    buf_clear(&r->kept.bytes);
    fd_closep(&r->kept.fd);
    free(r->pipeline);
    free(r->params);
}

static int take_job(void *arg, const struct job_row *j)
{
    struct refused *r = arg;
    snprintf(r->uid, sizeof r->uid, "%s", j->uid);
    snprintf(r->state, sizeof r->state, "%s", j->state);
    r->rows = j->rows_rejected;
    r->pipeline = strdup(j->pipeline);
    r->params = j->params ? strdup(j->params) : NULL;
    return 0;
}

static int take_output(void *arg, const struct output *out)
{
    struct refused *r = arg;
    char path[4096];
    if (out->kind != OUTPUT_REJECTS)
        return 0;
    r->kept.outputs++;
    r->count = out->rows;
    if (!out->in_file) {
        buf_add(&r->kept.bytes, out->inlined.p, out->inlined.n);
        return 0;
    }
    snprintf(path, sizeof path, "%s/rejects/%s.jsonl", r->c->config->spool, r->uid);
    if ((r->kept.fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        err_sys(&r->c->err, "open '%s'", path);
    return 0;
}

/* The kept rows from the first one on; also to begin again. */
static int refused_rewind(struct refused *r)
{
    struct ctl *c = r->c;
    rejects_close(r->in);
    r->in = NULL;
    r->kept.at = 0;
    if (r->kept.fd >= 0 && lseek(r->kept.fd, 0, SEEK_SET) < 0)
        return err_sys(&c->err, "read the kept rejects");
    return rejects_open(&r->in, &r->kept.input, c->config->limits.row_bytes, &c->err);
}

static int refused_open(struct ctl *c, const char *name, struct refused *r)
{
    *r = (struct refused){ .c = c, .kept = { .input = { kept_read, NULL, -1 }, .fd = -1 } };
    if (ctl_queue(c, 0) < 0 || ctl_job(c, name, &r->id) < 0)
        return -1;
    struct job_filter f = { .id = r->id, .limit = 1 };
    if (job_list(c->queue, &f, take_job, r, &c->err) < 0)
        return -1;
    int state = job_state_by_name(r->state);
    if (state != JOB_LOADED && state != JOB_DEAD)
        return err_set(&c->err, ERR_STATE, "job %" PRId64 " is %s; its rejects can be seen when it is loaded, or dead of them", r->id,
                       r->state);
    c->err.code = ERR_NONE;
    if (job_outputs(c->queue, r->id, take_output, r, &c->err) < 0 || c->err.code != ERR_NONE)
        return -1;
    return !r->pipeline || r->kept.bytes.failed ? err_nomem(&c->err) : refused_rewind(r);
}

/* What is not among the rows that were given out. */
static void say_what_is_missing(const struct refused *r, int64_t given)
{
    if (!strcmp(r->state, job_state_name(JOB_DEAD)) && !r->kept.outputs)
        fprintf(stderr, "qetlctl: job %" PRId64 " did not die of rejects; qetlctl errors %" PRId64 " shows why\n", r->id, r->id);
    else if (given < r->count)
        fprintf(stderr, "qetlctl: the first %" PRId64 " of %" PRId64 " refused rows; --limit 0 shows all\n", given, r->count);
    else if (r->count < r->rows)
        fprintf(stderr, "qetlctl: the first %" PRId64 " of at least %" PRId64 " refused rows; the job died of them\n", r->count, r->rows);
}

/* ---- show ---- */

static int show(struct refused *r, int64_t limit)
{
    int64_t n;
    if (!r->c->json) {
        if (ctl_rejects_table(r->c, r->in, limit, &n) < 0)
            return -1;
    } else {
        fputs("{\"rejects\":[", stdout);
        if (ctl_rejects_json(r->c, r->in, stdout, limit, &n) < 0)
            return -1;
        puts("]}");
    }
    say_what_is_missing(r, n);
    return 0;
}

static int rejects_show(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "limit", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
    int64_t limit = c->json ? 0 : CTL_SHOWN;
    for (int o; (o = ctl_option(c, argc, argv, "n:", longs, NULL)) != -1;)
        if (o != 'n' || ctl_limit(c, optarg, &limit) < 0)
            return -1;
    if (optind + 1 != argc)
        return ctl_usage(c, "rejects show wants one job");
    AUTO(refused_clear) struct refused r;
    if (refused_open(c, argv[optind], &r) < 0)
        return -1;
    return show(&r, limit);
}

/* ---- export ---- */

struct wanted {
    const char *table, *member; /* NULL: any */
};

static bool is_wanted(const struct wanted *w, const struct reject_line *l)
{
    return (!w->table || (l->table && !strcmp(w->table, l->table))) && (!w->member || (l->member && !strcmp(w->member, l->member)));
}

static int out(struct ctl *c, struct str s)
{
    return fwrite(s.p, 1, s.n, stdout) == s.n ? 0 : ctl_unwritten(&c->err);
}

static int export_jsonl(struct refused *r, const struct wanted *w)
{
    struct reject_line l;
    int rc;
    while ((rc = rejects_next(r->in, &l, &r->c->err)) == 1)
        if (is_wanted(w, &l) && (out(r->c, l.line) < 0 || out(r->c, STR("\n")) < 0))
            return -1;
    return rc;
}

static int export_csv(struct refused *r, const struct wanted *w)
{
    AUTO(buf_clear) struct buf line = { 0 };
    struct reject_line l;
    int rc;
    if (out(r->c, STR("table,reason,message,column,value,object,member,line,offset,row\n")) < 0)
        return -1;
    while ((rc = rejects_next(r->in, &l, &r->c->err)) == 1) {
        if (!is_wanted(w, &l))
            continue;
        const char *texts[] = { l.table, l.reason, l.message, l.column, l.value.p, l.object, l.member };
        buf_reset(&line);
        for (size_t i = 0; i < COUNT_OF(texts); i++) {
            if (texts[i])
                ctl_csv_field(&line, texts[i] == l.value.p ? l.value : str_of(texts[i]));
            buf_addc(&line, ',');
        }
        buf_addf(&line, "%" PRId64 ",%" PRId64 ",", l.row_line, l.row_offset);
        ctl_csv_field(&line, l.row);
        buf_addc(&line, '\n');
        if (line.failed || out(r->c, buf_str(&line)) < 0)
            return line.failed ? err_nomem(&r->c->err) : -1;
    }
    return rc;
}

/* ---- export as the rows were ---- */

/* What the rows that are wanted have in common, so that they can stand in one file. */
struct raw {
    int64_t whole, cut;
    struct arena arena;
    struct reject_context context; /* copies */
    const char *table, *member;
    bool begun;
};

static void raw_clear(struct raw *w) { arena_clear(&w->arena); }

static int raw_begin(struct raw *w, const struct reject_line *l, struct err *err)
{
    const struct reject_context *c = l->context;
    w->begun = true;
    w->context = *c;
    w->context.part = arena_dup(&w->arena, str_of(c->part));
    w->context.format = arena_dup(&w->arena, str_of(c->format));
    w->context.encoding = arena_dup(&w->arena, str_of(c->encoding));
    w->context.header.p = arena_dup(&w->arena, c->header);
    w->table = arena_dup(&w->arena, str_of(l->table));
    w->member = arena_dup(&w->arena, str_of(l->member));
    return w->context.part && w->context.format && w->context.encoding && w->context.header.p && w->table && w->member ? 0
                                                                                                                      : err_nomem(err);
}

static bool same_form(const struct reject_context *a, const struct reject_context *b)
{
    return !strcmp(a->format, b->format) && !strcmp(a->encoding, b->encoding) && a->delimiter == b->delimiter &&
           a->has_header == b->has_header && str_eq(a->header, b->header);
}

static int raw_survey(struct refused *r, const struct wanted *want, struct raw *w)
{
    struct err *err = &r->c->err;
    struct reject_line l;
    int rc;
    while ((rc = rejects_next(r->in, &l, err)) == 1) {
        if (!is_wanted(want, &l))
            continue;
        w->cut += !l.context;
        w->whole += !!l.context;
        if (!l.context)
            continue;
        if (!w->begun && raw_begin(w, &l, err) < 0)
            return -1;
        if (l.table && strcmp(w->table, l.table))
            return err_set(err, ERR_USAGE, "job %" PRId64 " refused rows for '%s' and for '%s': choose by --table", r->id, w->table, l.table);
        if (!same_form(&w->context, l.context))
            return err_set(err, ERR_USAGE, "the members '%s' and '%s' of job %" PRId64 " do not have the same header or form: choose one "
                           "by --member, or take --format jsonl", w->member, l.member ? l.member : "", r->id);
    }
    return rc < 0 ? -1 : refused_rewind(r);
}

/* The next character of valid UTF-8, of n bytes. */
static uint32_t code_point(const unsigned char *p, size_t n)
{
    static const unsigned char masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t c = p[0] & masks[n];
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static void put_unit(struct buf *b, bool big, uint32_t unit)
{
    buf_addc(b, (char)(big ? unit >> 8 : unit));
    buf_addc(b, (char)(big ? unit : unit >> 8));
}

/* Text as the pipeline reads it: decoded rows go back into the encoding of their member. What is no character there stays as it is. */
static void put_encoded(struct buf *b, struct str s, const char *encoding)
{
    bool latin1 = !strcmp(encoding, "latin1"), utf16 = !strncmp(encoding, "utf-16", 6), big = !strcmp(encoding, "utf-16be");
    if (!latin1 && !utf16) {
        buf_add(b, s.p, s.n);
        return;
    }
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0, n; i < s.n; i += n) {
        n = text_utf8_one(p + i, s.n - i);
        uint32_t c = n ? code_point(p + i, n) : 0xfffd;
        n = n ? n : 1;
        if (latin1)
            buf_addc(b, (char)(c < 256 ? c : '?'));
        else if (c >= 0x10000)
            put_unit(b, big, 0xd800 | (c - 0x10000) >> 10), put_unit(b, big, 0xdc00 | (c & 0x3ff));
        else
            put_unit(b, big, c);
    }
}

struct frame {
    struct buf before, between, after;
};

static void frame_clear(struct frame *f)
{
    buf_clear(&f->before);
    buf_clear(&f->between);
    buf_clear(&f->after);
}

/* The way to the records of a document, such as data.items, opened before them and closed behind. Each step is a key: others cannot be
 * made up. */
static int frame_records(struct frame *f, const char *records, struct err *err)
{
    if (strpbrk(records, "[\"\\"))
        return err_set(err, ERR_USAGE, "records = %s cannot be written again: take --format jsonl", records);
    while (*records) {
        size_t n = strcspn(records, ".");
        buf_addf(&f->before, "{\"%.*s\":", (int)n, records);
        buf_addc(&f->after, '}');
        records += n + (records[n] == '.');
    }
    return 0;
}

/* What stands around the rows, so that the pipeline reads the file. */
static int frame_make(const struct refused *r, const struct raw *w, struct frame *f)
{
    const struct recipe *recipe = NULL;
    const struct pipeline *p = config_pipeline(r->c->config, r->pipeline);
    for (int i = 0; p && i < p->nparts; i++)
        if (!strcmp(p->parts[i].name, w->context.part))
            recipe = &p->parts[i];
    bool json = !strcmp(w->context.format, "json");
    if (!strcmp(w->context.encoding, "utf-16"))
        buf_adds(&f->before, "\xef\xbb\xbf");
    for (int64_t i = 0; recipe && i < recipe->skip_lines && !json; i++)
        buf_addc(&f->before, '\n');
    if (w->context.has_header) {
        buf_add(&f->before, w->context.header.p, w->context.header.n);
        buf_addc(&f->before, '\n');
    }
    if (recipe && json && recipe_is_message(recipe)) {
        buf_addf(&f->before, "[{\"table\":\"%s\",\"data\":", w->table);
        buf_adds(&f->after, "}]");
    } else if (recipe && json && recipe->records && frame_records(f, recipe->records, &r->c->err) < 0) {
        return -1;
    }
    if (json)
        buf_adds(&f->before, "[\n");
    buf_adds(&f->between, json ? ",\n" : "");
    return f->before.failed || f->after.failed || f->between.failed ? err_nomem(&r->c->err) : 0;
}

static int export_rows(struct refused *r, const struct wanted *want, const struct raw *w)
{
    AUTO(frame_clear) struct frame f = { 0 };
    AUTO(buf_clear) struct buf text = { 0 };
    bool json = !strcmp(w->context.format, "json");
    struct reject_line l;
    int rc;
    if (frame_make(r, w, &f) < 0)
        return -1;
    put_encoded(&text, buf_str(&f.before), w->context.encoding);
    for (int64_t n = 0; (rc = rejects_next(r->in, &l, &r->c->err)) == 1;) {
        if (!l.context || !is_wanted(want, &l))
            continue;
        if (n++)
            put_encoded(&text, buf_str(&f.between), w->context.encoding);
        put_encoded(&text, l.row, w->context.encoding);
        if (!json)
            put_encoded(&text, STR("\n"), w->context.encoding);
        if (text.failed || out(r->c, buf_str(&text)) < 0)
            return text.failed ? err_nomem(&r->c->err) : -1;
        buf_reset(&text);
    }
    if (json)
        put_encoded(&text, STR("\n]"), w->context.encoding);
    put_encoded(&text, buf_str(&f.after), w->context.encoding);
    if (json)
        put_encoded(&text, STR("\n"), w->context.encoding);
    return rc < 0 ? -1 : text.failed ? err_nomem(&r->c->err) : out(r->c, buf_str(&text));
}

static int export_raw(struct refused *r, const struct wanted *want)
{
    AUTO(raw_clear) struct raw w = { 0 };
    if (raw_survey(r, want, &w) < 0)
        return -1;
    if (w.cut)
        fprintf(stderr, "qetlctl: %" PRId64 " row%s not kept whole and left out; --format jsonl shows what is there\n", w.cut,
                w.cut == 1 ? " is" : "s are");
    return w.whole ? export_rows(r, want, &w) : 0;
}

static int rejects_export(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "format", required_argument, NULL, 'f' },
                                           { "table", required_argument, NULL, 't' },
                                           { "member", required_argument, NULL, 'm' },
                                           { NULL, 0, NULL, 0 } };
    static const struct {
        const char *name;
        int (*run)(struct refused *r, const struct wanted *w);
    } formats[] = { { "raw", export_raw }, { "jsonl", export_jsonl }, { "csv", export_csv } };
    struct wanted want = { 0 };
    const char *format = "raw";
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == '?')
            return -1;
        *(o == 'f' ? &format : o == 't' ? &want.table : &want.member) = optarg;
    }
    if (optind + 1 != argc)
        return ctl_usage(c, "rejects export wants one job");
    size_t i = 0;
    while (i < COUNT_OF(formats) && strcmp(format, formats[i].name))
        i++;
    if (i == COUNT_OF(formats))
        return ctl_usage(c, "--format is raw, jsonl or csv, not '%s'", format);
    AUTO(refused_clear) struct refused r;
    if (refused_open(c, argv[optind], &r) < 0 || formats[i].run(&r, &want) < 0)
        return -1;
    say_what_is_missing(&r, r.count);
    return 0;
}

/* ---- replay ---- */

/* Can they be read again? Gives the number of rows that can, and says on standard error of those that cannot. */
static int64_t replay_survey(struct refused *r, const struct pipeline *p)
{
    struct err *err = &r->c->err;
    struct reject_line l;
    int64_t whole = 0, cut = 0;
    bool known = false; /* the context was looked at */
    int rc;
    while ((rc = rejects_next(r->in, &l, err)) == 1) {
        const struct recipe *recipe = NULL;
        cut += !l.context;
        whole += !!l.context;
        known &= !l.new_context;
        if (!l.context || known)
            continue;
        known = true;
        for (int i = 0; i < p->nparts; i++)
            if (!strcmp(p->parts[i].name, l.context->part))
                recipe = &p->parts[i];
        if (!recipe)
            return err_set(err, ERR_STATE, "the rows were read by [pipeline %s], which the ini does not have any more", l.context->part);
        if (replay_may(recipe, l.context, err) < 0)
            return -1;
    }
    if (rc < 0)
        return -1;
    if (!whole)
        return err_set(err, ERR_STATE, "none of the %" PRId64 " rejects of job %" PRId64 " is kept so that it could be read again", cut, r->id);
    if (cut)
        fprintf(stderr, "qetlctl: %" PRId64 " of the rows cannot be read again alone; they will be rejects of the new job\n",
                cut);
    return whole;
}

static int replay_submit(struct refused *r, struct submission *sub, int64_t *id, char *uid)
{
    struct ctl *c = r->c;
    AUTO(buf_clear) struct buf objects = { 0 };
    buf_addf(&objects, "[\"" REPLAY_SCHEME "%s\"]", r->uid);
    sub->replay = true;
    sub->job.pipeline = r->pipeline;
    sub->job.params = str_of(r->params);
    sub->job.objects = buf_str(&objects);
    if (objects.failed)
        return err_nomem(&c->err);
    return submission_resolve(sub, c->config, &c->err) < 0 ? -1 : job_replay(c->queue, r->id, &sub->job, id, uid, &c->err);
}

static int rejects_replay(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "wait", no_argument, NULL, 'w' }, { "priority", required_argument, NULL, 'P' },
                                           { "timeout", required_argument, NULL, 't' }, { NULL, 0, NULL, 0 } };
    AUTO(submission_clear) struct submission sub = { 0 };
    struct ctl_wait wait = { 0 };
    bool waits = false;
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == '?')
            return -1;
        waits |= o == 'w';
        if (o == 't' && ctl_timeout(c, optarg, &wait) < 0)
            return -1;
        sub.has_priority |= o == 'P';
        if (o == 'P' && (ctl_int(c, "--priority", optarg, &sub.job.priority) < 0 || submission_priority(sub.job.priority, &c->err) < 0))
            return -1;
    }
    if (optind + 1 != argc)
        return ctl_usage(c, "rejects replay wants one job");
    if (wait.until_mono_ms && !waits)
        return ctl_usage(c, "--timeout goes with --wait");
    if (ctl_checked(c) < 0)
        return -1;
    AUTO(refused_clear) struct refused r;
    if (refused_open(c, argv[optind], &r) < 0)
        return -1;
    const struct pipeline *p = config_pipeline(c->config, r.pipeline);
    if (!p)
        return config_no_pipeline(c->config, r.pipeline, &c->err);
    bool loaded = !strcmp(r.state, job_state_name(JOB_LOADED)) && r.kept.outputs; /* else job_replay() says what it is */
    int64_t rows = loaded ? replay_survey(&r, p) : 0;
    if (rows < 0 || replay_submit(&r, &sub, &id, uid) < 0)
        return -1;
    if (waits)
        return ctl_wait_for(c, &wait, id);
    if (c->json)
        printf("{\"id\":%" PRId64 ",\"uid\":\"%s\",\"rows\":%" PRId64 "}\n", id, uid, rows);
    else
        printf("job %" PRId64 " (%s) reads %" PRId64 " row%s of job %" PRId64 " again\n", id, uid, rows, ctl_s(rows), r.id);
    return 0;
}

/* ---- the verb ---- */

static const struct {
    const char *name;
    int (*run)(struct ctl *c, int argc, char **argv);
} actions[] = { { "list", ctl_rejects_list }, { "show", rejects_show }, { "export", rejects_export },
              { "replay", rejects_replay } };

/* A word and another one behind it: the first was to be one of these. */
static int no_action(struct ctl *c, const char *word)
{
    const char *near = NULL;
    int best = 3;
    for (size_t i = 0; i < COUNT_OF(actions); i++) {
        int d = text_distance(word, actions[i].name, best);
        if (d < best) {
            best = d;
            near = actions[i].name;
        }
    }
    return ctl_usage(c, "rejects %s: expected list, show, export or replay%s%s%s", word, near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

int ctl_rejects(struct ctl *c, int argc, char **argv)
{
    char call[32];
    for (size_t i = 0; argc > 1 && i < COUNT_OF(actions); i++)
        if (!strcmp(argv[1], actions[i].name)) {
            snprintf(call, sizeof call, "rejects %s", actions[i].name);
            argv[1] = call; /* its options are told as those of both words */
            return actions[i].run(c, argc - 1, argv + 1);
        }
    if (argc > 2 && !strchr("-0123456789", argv[1][0]) && argv[2][0] != '-')
        return no_action(c, argv[1]);
    /* `rejects JOB`, and `rejects` alone */
    return argc > 1 && argv[1][0] != '-' ? rejects_show(c, argc, argv) : ctl_rejects_list(c, argc, argv);
}
