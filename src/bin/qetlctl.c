/* qetlctl: look at the queue and tell it what to do. Verbs in one table; output as tables or JSON. */
#include "config.h"

#include "bin/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "role/checked.h"
#include "role/role.h"

static int ctl_help(struct ctl *c, int argc, char **argv);

static const struct verb verbs[] = {
    { "init", "", "make the database, the spool and the targets", ctl_init, "" },
    { "submit", "PIPELINE [URI...]", "put a job into the queue", ctl_submit,
      "  -p K=V           a parameter (may be repeated)\n"
      "  --priority N     greater goes first\n"
      "  --at TIME        not before: RFC 3339, or a duration from now such as 10m\n"
      "  --unique KEY     where the pipeline has a job with this key that waits, runs or is dead: that one is\n"
      "                   printed, nothing is added; exit 0\n"
      "  --wait           wait for its end: 0 loaded or superseded, 1 dead or cancelled\n"
      "  --timeout TIME   with --wait: no longer than this, such as 30s; then 6, and what it waits for\n"
      "  --dry-run        rehearse: do all of it, take the load back, and say what would become of the rows\n"
      "  submit -         JSON lines on standard input (--wait: for all of them): {\"pipeline\":…,\"objects\":[…],\n"
      "                   \"params\":{…},\"priority\":…,\"at\":…,\"unique\":…}, or {\"method\":…,\"params\":{…}}\n" },
    { "emit", "STREAM", "append JSON lines of standard input to a stream", ctl_emit,
      "  -e, --event JSON this line instead of standard input (may be repeated: all of them or none)\n"
      "  --ack            print how many lines are on disk, whenever it are more\n"
      "  --flush          close the segment, so that its job is made now\n" },
    { "status", "[JOB]", "pipelines and their jobs in numbers", ctl_status, "" },
    { "jobs", "", "list jobs, newest first", ctl_jobs,
      "  --state STATE    ready, running, staged, loading, loaded, superseded, dead, cancelled\n"
      "  --pipeline NAME\n"
      "  --limit N        default 50; 0 is all\n" },
    { "show", "JOB", "all about one job", ctl_show, "" },
    { "explain", "JOB", "say what a waiting job waits for", ctl_explain, "" },
    { "errors", "[JOB]", "the error log, newest first", ctl_errors,
      "  --pipeline NAME\n  --code CODE      such as fetch-missing; qetl --print-errors lists the codes\n"
      "  --limit N        default 50; 0 is all\n" },
    { "report", "[JOB]", "what jobs did, by pipeline; or what the rows of one job are like", ctl_report,
      "  --pipeline NAME\n  --since TIME     jobs made then or later: an age such as 7d, or 2026-11-21T04:30:00Z; default: all\n" },
    { "rejects", "[ACTION] [JOB]", "rows that were refused: look, mend by hand, run again", ctl_rejects,
      "  list             jobs with rejects, newest first: how many, why, run again or not\n"
      "     --pipeline NAME, --since TIME (or a duration before now), --limit N (default 50; 0 is all)\n"
      "  show JOB         each with line, reason, column and value; --limit N (default 50; 0 is all)\n"
      "  export JOB       to standard output, as they were, with their header, for an editor\n"
      "     --format raw | jsonl | csv (jsonl and csv: with reason and place), --table TABLE, --member NAME\n"
      "  replay JOB       a new job that reads them again, and nothing else, by the ini as it is now\n"
      "     --wait, --timeout TIME, --priority N\n" },
    { "columns", "[PIPELINE]", "columns that on_new_column = add keeps, and whether the tables have them", ctl_columns,
      "  --forget COLUMN  of that PIPELINE (or PIPELINE.PART): it is no column of later jobs; the table is left as it is\n" },
    { "enrich", "[NAME]", "what is kept of the answers of each [enrich], and whether it may be asked now", ctl_enrich,
      "  --forget         the answers of that NAME; they are asked for again when rows need them\n"
      "  --misses         with --forget: only those in which there was nothing\n" },
    { "workers", "", "who works, on what", ctl_workers, "  --all            also those that ended\n" },
    { "retry", "JOB...", "try dead jobs again", ctl_retry,
      "  --dead           all dead jobs, or those that match:\n  --pipeline NAME\n"
      "  --code CODE      of their last error, such as fetch-missing; qetl --print-errors lists the codes\n" },
    { "cancel", "JOB...", "stop jobs that are not loaded yet", ctl_cancel, "" },
    { "undo", "JOB", "take the rows of a loaded job out of its target again", ctl_undo, "" },
    { "pause", "PIPELINE", "start no more jobs of a pipeline", ctl_pause, "" },
    { "resume", "[PIPELINE]", "end a pause, or the hold of a server", ctl_resume,
      "  --remote NAME    a place whose server asked to be left alone (Retry-After), as status names it: ask it again\n"
      "  --enrich NAME    the server of that [enrich], which failed or asked to be left alone: ask it again\n" },
    { "prune", "", "forget finished jobs", ctl_prune, "  --older AGE      finished longer ago than this; default 30d, or any age with --keep\n"
      "  --keep N         but for the newest N finished jobs\n"
      "  --dry-run        only count them\n" },
    { "scan", "[PIPELINE]", "look through the sources now", ctl_scan,
      "  --dry-run        only list what lies there and is not taken, and why\n"
      "  --all            with it: what is taken or ignored, too\n"
      "  --slots          what became of the times that cron= named, newest first\n"
      "  --reload URI     on_change = fail: load the object that changed, as it is now (or all that a glob fits)\n"
      "  --accept URI     the same, but take it as known and load nothing\n" },
    { "run", "PIPELINE [URI...]", "submit one job, work it here, and print the result", ctl_run,
      "  -p K=V           a parameter (may be repeated)\n"
      "  --timeout TIME   no longer than this, such as 30s; then 6, what it waits for, and it stays in the queue\n" },
    { "infer", "URI [NAME]", "look at a file and print a ready [pipeline] section", ctl_infer,
      "  --sample         look only at the first megabyte\n"
      "  --header no      the first line is data; so for other keys of a [pipeline]:\n"
      "                   --comment --decimal_point --delimiter --encoding --escape\n"
      "                   --format --member --null --quote --records --skip_lines\n" },
    { "query", "TARGET SQL", "ask a target; nothing can be changed by it", ctl_query,
      "  --csv            instead of a table; null is nothing, an empty text is \"\"\n" },
    { "check", "", "check the ini, and what it asks of the targets", ctl_check, "" },
    { "doctor", "", "check database, spool, targets, sources and libraries", ctl_doctor, "" },
    { "help", "[VERB]", "this list, or one verb's options", ctl_help, "" },
};

static void usage(FILE *to)
{
    fputs("usage: qetlctl [-c FILE] [--json] VERB [ARGUMENTS]\n\n", to);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        char call[64];
        snprintf(call, sizeof call, "%s %s", verbs[i].name, verbs[i].args);
        fprintf(to, "  %-26s %s\n", call, verbs[i].help);
    }
    fputs("\n  -c, --config FILE          the ini; default $QETL_CONFIG, else " QETL_CONFIG_FILE "\n"
          "  --json                     one JSON document instead of tables\n"
          "\nA JOB is its number, or its uid or the first letters of it. `qetlctl VERB --help` shows options.\n",
          to);
}

static const struct verb *verb_by_name(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

static int no_verb(struct ctl *c, const char *name)
{
    const char *near = NULL;
    int best = 3;
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        int d = text_distance(name, verbs[i].name, best);
        if (d < best) {
            best = d;
            near = verbs[i].name;
        }
    }
    return near ? ctl_usage(c, "'%s' is no verb; did you mean '%s'?", name, near)
                : ctl_usage(c, "'%s' is no verb; qetlctl help lists them", name);
}

static int verbs_json(const char *only)
{
    AUTO(buf_clear) struct buf doc = { 0 };
    struct json_out o;
    json_start(&o, &doc);
    json_object(&o);
    json_key(&o, "verbs");
    json_array(&o);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (only && strcmp(verbs[i].name, only))
            continue;
        json_object(&o);
        json_put_text(&o, "verb", verbs[i].name);
        json_put_text(&o, "arguments", verbs[i].args);
        json_put_text(&o, "help", verbs[i].help);
        json_object_end(&o);
    }
    json_array_end(&o);
    json_object_end(&o);
    puts(doc.p);
    return 0;
}

static int ctl_help(struct ctl *c, int argc, char **argv)
{
    if (ctl_no_args(c, argc, argv, 1) < 0)
        return -1;
    const struct verb *v = argc > 1 ? verb_by_name(argv[1]) : NULL;
    if (argc > 1 && !v)
        return no_verb(c, argv[1]);
    if (c->json)
        return verbs_json(v ? v->name : NULL);
    if (!v) {
        usage(stdout);
        return 0;
    }
    printf("usage: qetlctl %s %s\n%s\n%s", v->name, v->args, v->help, v->more);
    return 0;
}

int ctl_usage(struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_vset(&c->err, ERR_USAGE, fmt, ap);
    va_end(ap);
    return -1;
}

/* What getopt_long() did not take: the word itself, for a short option its letter. */
static int bad_option(struct ctl *c, int got, char **argv, const struct option *longs)
{
    const char *word = argv[optind - 1], *near = NULL;
    int best = 3;
    if (got == ':')
        return ctl_usage(c, "%s wants a value; qetlctl help %s", word, argv[0]);
    if (optopt && optopt < 256 && strncmp(word, "--", 2))
        return ctl_usage(c, "-%c is no option of %s; qetlctl help %s", optopt, argv[0], argv[0]);
    if (optopt) /* a value was given to one that takes none */
        return ctl_usage(c, "%s takes no value; qetlctl help %s", word, argv[0]);
    for (; longs->name; longs++) {
        int d = text_distance(word + strspn(word, "-"), longs->name, best);
        if (d < best) {
            best = d;
            near = longs->name;
        }
    }
    return near ? ctl_usage(c, "%s is no option of %s; did you mean --%s?", word, argv[0], near)
                : ctl_usage(c, "%s is no option of %s; qetlctl help %s", word, argv[0], argv[0]);
}

int ctl_option(struct ctl *c, int argc, char **argv, const char *shorts, const struct option *longs, int *at)
{
    char silent[16];
    snprintf(silent, sizeof silent, ":%s", shorts); /* a value that is missing is told from an option that is none */
    int o = getopt_long(argc, argv, silent, longs, at);
    if (o != '?' && o != ':')
        return o;
    (void)bad_option(c, o, argv, longs);
    return '?';
}

const char *ctl_s(int64_t n) { return n == 1 ? "" : "s"; }

int ctl_no_args(struct ctl *c, int argc, char **argv, int most)
{
    return argc - 1 > most ? ctl_usage(c, "'%s' is one argument too many; qetlctl help %s", argv[most + 1], argv[0]) : 0;
}

int ctl_int(struct ctl *c, const char *what, const char *text, int64_t *out)
{
    return text_int(str_of(text), out) ? 0 : ctl_usage(c, "%s wants a whole number, not '%s'", what, text);
}

int ctl_config(struct ctl *c)
{
    return c->config ? 0 : config_load(&c->config, c->config_file, NULL, &c->err);
}

int ctl_checked(struct ctl *c)
{
    return c->config ? 0 : checked_load(&c->config, c->config_file, NULL, &c->err);
}

int ctl_queue(struct ctl *c, int flags)
{
    if (ctl_config(c) < 0)
        return -1;
    if (!c->queue && queue_open(&c->queue, c->config->database, flags, &c->err) < 0)
        return -1;
    struct queue_spool spool;
    struct err ignored; /* it may not be made yet, or not be ours to see */
    (void)role_look_at_spool(c->queue, c->config, &spool, &ignored);
    return 0;
}

struct sought {
    const char *name;
    bool found;
};

static int seek_pipeline(void *arg, const struct status_row *r)
{
    struct sought *s = arg;
    s->found |= !strcmp(r->pipeline, s->name);
    return s->found;
}

int ctl_limit(struct ctl *c, const char *text, int64_t *out)
{
    return text_int(str_of(text), out) && *out >= 0 ? 0 : ctl_usage(c, "--limit wants a whole number from 0, not '%s'", text);
}

int ctl_since(struct ctl *c, const char *text, int64_t *ms)
{
    int64_t age;
    *ms = text_rfc3339_ms(str_of(text));
    if (*ms == INT64_MIN) {
        if (!text_duration(str_of(text), &age))
            return ctl_usage(c, "--since wants an age such as 7d, or a time such as 2026-11-21T04:30:00Z, not '%s'", text);
        *ms = sys_now_ms() - age;
    }
    *ms = *ms > 0 ? *ms : 1; /* 0 is any time */
    return 0;
}

int ctl_known_pipeline(struct ctl *c, const char *name)
{
    struct sought s = { .name = name };
    if (!name || config_pipeline(c->config, name))
        return 0;
    if (job_status(c->queue, seek_pipeline, &s, &c->err) < 0)
        return -1;
    return s.found ? 0 : config_no_pipeline(c->config, name, &c->err);
}

int ctl_known_code(struct ctl *c, const char *name)
{
    const char *near = NULL;
    int best = 4;
    if (!name || err_by_name(name) != ERR_NONE)
        return 0;
    for (int i = ERR_NONE + 1; i < ERR_CODES; i++) {
        const char *code = err_name((enum err_code)i);
        int d = text_distance(name, code, best);
        if (d < best) {
            best = d;
            near = code;
        }
    }
    if (near)
        return ctl_usage(c, "'%s' is no error code; did you mean '%s'?", name, near);
    AUTO(buf_clear) struct buf known = { 0 };
    for (int i = ERR_NONE + 1; i < ERR_CODES; i++)
        buf_addf(&known, "%s%s", known.n ? " " : "", err_name((enum err_code)i));
    return ctl_usage(c, "'%s' is no error code; known: %s", name, known.failed ? "see doc/errors.md" : known.p);
}

int ctl_job(struct ctl *c, const char *name, int64_t *id) { return job_find(c->queue, name, id, &c->err); }

int ctl_unwritten(struct err *err) { return err_set(err, ERR_IO, "standard output: %s", strerror(errno)); }

void ctl_complain(const struct err *err)
{
    const char *hint = err_hint_without_job(err->code);
    fprintf(stderr, "qetlctl: %s [%s]\n", err->msg, err_name(err->code));
    if (*hint)
        fprintf(stderr, "hint: %s\n", hint);
}

/* --json and --help are welcome behind the verb too, up to a "--". Gives the new argc; *help: it was asked for. */
static int take_common(struct ctl *c, int argc, char **argv, bool *help)
{
    int n = 1, i = 1;
    for (; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strcmp(argv[i], "--json"))
            c->json = true;
        else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            *help = true;
        else
            argv[n++] = argv[i];
    }
    while (i < argc)
        argv[n++] = argv[i++];
    argv[n] = NULL;
    return n;
}

static int run_verb(struct ctl *c, int argc, char **argv)
{
    bool help = false;
    argc = take_common(c, argc, argv, &help);
    optind = 0; /* glibc: start anew for the verb's own options */
    const struct verb *v = verb_by_name(argv[0]);
    if (!v)
        return no_verb(c, argv[0]);
    char *wanted[] = { (char[]){ "help" }, argv[0], NULL };
    if (help)
        return ctl_help(c, 2, wanted);
    for (int i = 1; i < argc && !*v->more; i++)
        if (argv[i][0] == '-')
            return ctl_usage(c, "%s is no option of %s, which has none", argv[i], v->name);
    return v->run(c, argc, argv);
}

/* What was to be printed is out, or it is said that it is not. */
static int printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("qetlctl: standard output");
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
                                           { "json", no_argument, NULL, 'j' },
                                           { "help", no_argument, NULL, 'h' },
                                           { "version", no_argument, NULL, 'V' },
                                           { NULL, 0, NULL, 0 } };
    struct ctl c = { 0 };
    sys_std_init();
    sys_faults_init();
    log_init(LOG_WARN, LOG_TEXT, "qetlctl");
    for (int o; (o = getopt_long(argc, argv, "+c:jhV", longs, NULL)) != -1;) {
        if (o == 'c')
            c.config_file = optarg;
        else if (o == 'j')
            c.json = true;
        else if (o == 'V')
            return puts("qetlctl " PACKAGE_VERSION), printed();
        else if (o == 'h')
            return usage(stdout), printed();
        else
            return 2;
    }
    if (optind == argc) {
        usage(stderr);
        return 2;
    }
    int rc = run_verb(&c, argc - optind, argv + optind);
    if (rc < 0)
        ctl_complain(&c.err);
    queue_close(c.queue);
    config_free(c.config);
    if (rc == 0 && printed() != 0)
        return 1;
    return rc < 0 ? err_exit_status(c.err.code) : c.status;
}
