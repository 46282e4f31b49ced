/* qetl: runs roles in the foreground. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/config.h"
#include "io/row.h"
#include "queue/drift.h"
#include "queue/job.h"
#include "queue/queue.h"
#include "queue/scan.h"
#include "role/checked.h"
#include "role/scanner.h"
#include "role/supervisor.h"

static const struct role_def {
    const char *name;
    int what;
    const char *help;
} roles[] = {
    { "worker", SUPERVISE_WORKERS, "fetches, unpacks, types and stages: [worker] slots processes" },
    { "loader", SUPERVISE_LOADERS, "commits what is staged into the targets" },
    { "scanner", SUPERVISE_SCANNER, "looks through the sources of pipelines that have every= or cron=" },
    { "all", SUPERVISE_WORKERS | SUPERVISE_LOADERS | SUPERVISE_SCANNER_IF, "workers, loaders and a scanner under one supervisor" },
    { "drain", SUPERVISE_WORKERS | SUPERVISE_LOADERS, "all, until nothing is left to do; exit 1 when jobs died or still wait" },
};

static void usage(FILE *to)
{
    fputs("usage: qetl [-c FILE] [--max-wait AGE] ROLE[-NAME]\n       qetl --print-keys | --print-errors\n\n", to);
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        fprintf(to, "  %-8s %s\n", roles[i].name, roles[i].help);
    fputs("\n  -c, --config FILE   the ini; default $QETL_CONFIG, else " QETL_CONFIG_FILE "\n"
          "      --scan          drain: look through the sources first, as the scanner does\n"
          "      --max-wait AGE  drain: wait for retries that are due so soon; default 30s\n"
          "      --print-keys    every key of the ini with its default and meaning\n"
          "      --print-errors  every error code and reject reason with its meaning\n"
          "\nSIGTERM: finish or hand back within [worker] shutdown_timeout; a second one: now. SIGHUP: read the ini again.\n",
          to);
}

static int complain(const struct err *err)
{
    const char *hint = err_hint(err->code);
    fprintf(stderr, "qetl: %s [%s]\n", err->msg, err_name(err->code));
    if (*hint)
        fprintf(stderr, "hint: %s\n", hint);
    return err_exit_status(err->code);
}

/* "worker-2" is the role "worker" with the name "worker-2". */
static const struct role_def *role_by_name(const char *name)
{
    size_t n = strcspn(name, "-");
    if (name[n] == '-' && !name[n + 1])
        return NULL;
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (strlen(roles[i].name) == n && !memcmp(roles[i].name, name, n))
            return &roles[i];
    return NULL;
}

struct deaths {
    int64_t since, n;
};

static int count_death(void *arg, const struct job_row *r)
{
    struct deaths *d = arg;
    d->n += r->finished >= d->since;
    return 0;
}

/* A pipeline whose jobs ended meanwhile, in a line. */
static int print_summary(void *arg, const struct report_row *r)
{
    char bytes[32];
    (void)arg;
    text_put_size(bytes, sizeof bytes, r->bytes_in);
    fprintf(stderr, "qetl: %s: %lld job%s loaded, %lld dead; rows: %lld read, %lld loaded, %lld rejected, %lld filtered; %s fetched",
            r->pipeline, (long long)r->loaded, r->loaded == 1 ? "" : "s", (long long)r->dead, (long long)r->rows_read,
            (long long)r->rows_loaded, (long long)r->rows_rejected, (long long)r->rows_filtered, bytes);
    if (r->drift)
        fprintf(stderr, "; columns drifted: %lld (qetlctl report --pipeline %s)", (long long)r->drift, r->pipeline);
    fputc('\n', stderr);
    return 0;
}

/* Where the jobs begin that a drain may work on; a queue that is not made yet has none. */
static int64_t first_to_drain(const char *database)
{
    struct queue *q;
    struct err ignored;
    int64_t first = 1;
    if (queue_open(&q, database, 0, &ignored) < 0)
        return first;
    (void)job_report_open(q, &first, &ignored);
    queue_close(q);
    return first;
}

/* Of the sources that it looked through. */
struct scans {
    const struct config *config;
    struct queue *queue;
    int64_t since; /* those of pipelines that the ini has no more were looked through before */
    int failed, untidy;
    int rc;
    struct err *err;
};

static int count_scan(void *arg, const struct scan_row *r)
{
    struct scans *s = arg;
    if (r->finished < s->since)
        return 0;
    s->failed += *r->code != '\0';
    const struct pipeline *p = config_pipeline(s->config, r->pipeline);
    int waits = p && p->scan.after.what != AFTER_KEEP ? scan_after_waits(s->queue, r, s->err) : 0;
    s->untidy += waits > 0;
    s->rc = waits < 0 ? -1 : 0;
    return s->rc;
}

/* 0 all were looked through and what after= says is done, 1, -1. */
static int scan_verdict(const char *file, int64_t since, struct err *err)
{
    struct config *config;
    if (checked_load(&config, file, NULL, err) < 0)
        return -1;
    struct scans s = { .config = config, .since = since, .err = err };
    int rc = queue_open(&s.queue, config->database, 0, err);
    if (rc == 0)
        rc = scan_rows(s.queue, count_scan, &s, err);
    queue_close(s.queue);
    config_free(config);
    if (rc < 0 || s.rc < 0)
        return -1;
    if (s.failed)
        fprintf(stderr, "qetl: %d source%s could not be looked through (qetlctl status says why)\n", s.failed, s.failed == 1 ? "" : "s");
    if (s.untidy)
        fprintf(stderr, "qetl: what after= says is still to be done at %d source%s (qetlctl status says why)\n", s.untidy, s.untidy == 1 ? "" : "s");
    return s.failed || s.untidy;
}

/* What a drain did, and leaves behind: 0 all loaded, 1 some died or wait. */
static int drain_verdict(const char *database, int64_t first, int64_t since, struct err *err)
{
    struct queue *q;
    struct deaths d = { since, 0 };
    struct job_filter dead = { .state = "dead" };
    struct job_left left;
    if (queue_open(&q, database, 0, err) < 0)
        return -1;
    struct report_of ended = { .first = first, .ended = since };
    int rc = job_list(q, &dead, count_death, &d, err);
    if (rc == 0)
        rc = job_report(q, &ended, print_summary, NULL, err);
    if (rc == 0)
        rc = job_left(q, INT64_MAX, &left, err);
    queue_close(q);
    if (rc < 0)
        return -1;
    int64_t waiting = left.ready + left.running + left.staged + left.loading + left.later;
    if (d.n || waiting)
        fprintf(stderr, "qetl: drained; %lld job%s died, %lld still wait%s (qetlctl errors, qetlctl jobs)\n", (long long)d.n,
                d.n == 1 ? "" : "s", (long long)waiting, waiting == 1 ? "s" : "");
    return d.n || waiting ? 1 : 0;
}

/* What lies at the sources becomes jobs, before anybody drains them. */
static int scan_first(const struct config *config, int64_t wait_ms, struct err *err)
{
    struct role role = { .config = config, .name = "drain", .drain = true };
    sys_signals_init(NULL);
    return scanner_drain(&role, wait_ms, err);
}

/* What after= says of the files that are loaded now. Another scanner that works does it itself. */
static int scan_last(const char *file, struct err *err)
{
    struct config *config;
    if (checked_load(&config, file, NULL, err) < 0)
        return -1;
    const struct role role = { .config = config, .name = "drain", .drain = true };
    int rc = scanner_finish(&role, err);
    config_free(config);
    return rc;
}

static void print_keys(void)
{
    AUTO(buf_clear) struct buf keys = { 0 };
    config_print_keys(&keys);
    fputs(keys.p, stdout);
}

/* Lines for build-aux/gen-errors.awk: "error NAME CLASS EXIT MEANING HINT", "reject NAME MEANING", a tab between. */
static void print_errors(void)
{
    for (int i = ERR_NONE + 1; i < ERR_CODES; i++)
        printf("error\t%s\t%s\t%d\t%s\t%s\n", err_name(i), err_class_name(err_class(i)), err_exit_status(i),
               err_meaning(i), err_hint(i));
    for (int i = 0; i < REJECT_REASONS; i++)
        printf("reject\t%s\t%s\n", reject_name(i), reject_text(i));
}

/* "wrker": the nearest role. */
static int no_role(const char *word, struct err *err)
{
    const char *near = NULL;
    int best = 3;
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        int d = text_distance(word, roles[i].name, best);
        if (d < best) {
            best = d;
            near = roles[i].name;
        }
    }
    return near ? err_set(err, ERR_USAGE, "'%s' is no role; did you mean '%s'?", word, near)
                : err_set(err, ERR_USAGE, "'%s' is no role; roles: worker, loader, scanner, all, drain", word);
}

/* What was to be printed is out, or it is said that it is not. */
static int printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    perror("qetl: standard output");
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
                                           { "max-wait", required_argument, NULL, 'w' },
                                           { "scan", no_argument, NULL, 's' },
                                           { "print-keys", no_argument, NULL, 'k' },
                                           { "print-errors", no_argument, NULL, 'e' },
                                           { "help", no_argument, NULL, 'h' },
                                           { "version", no_argument, NULL, 'V' },
                                           { NULL, 0, NULL, 0 } };
    struct supervise s = { .drain_wait_ms = 30000 };
    struct config *config;
    struct err err = { 0 };
    bool scan = false, waits = false;
    sys_std_init();
    sys_faults_init();
    for (int o; (o = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1;) {
        if (o == 'c')
            s.config_file = optarg;
        else if (o == 'w' && text_duration(str_of(optarg), &s.drain_wait_ms))
            waits = true;
        else if (o == 'w')
            return err_set(&err, ERR_USAGE, "--max-wait wants a duration such as 30s, not '%s'", optarg), complain(&err);
        else if (o == 's')
            scan = true;
        else if (o == 'k')
            return print_keys(), printed();
        else if (o == 'e')
            return print_errors(), printed();
        else if (o == 'V')
            return puts("qetl " PACKAGE_VERSION), printed();
        else if (o == 'h')
            return usage(stdout), printed();
        else
            return 2;
    }
    if (argc == optind) {
        usage(stderr);
        return 2;
    }
    const struct role_def *role = role_by_name(argv[optind]);
    if (!role)
        return no_role(argv[optind], &err), complain(&err);
    if (argc - optind > 1)
        return err_set(&err, ERR_USAGE, "'%s' is one argument too many: a call runs one role", argv[optind + 1]), complain(&err);
    s.drain = !strcmp(role->name, "drain");
    if ((scan || waits) && !s.drain)
        return err_set(&err, ERR_USAGE, "%s is for drain", scan ? "--scan" : "--max-wait"), complain(&err);
    if (checked_load(&config, s.config_file, NULL, &err) < 0)
        return complain(&err);
    log_init((enum log_level)log_level_by_name(config->log_level), strcmp(config->log_form, "json") ? LOG_TEXT : LOG_JSON,
             argv[optind]);
    s.what = role->what;
    s.name = role->what & SUPERVISE_WORKERS && role->what & SUPERVISE_LOADERS ? NULL : argv[optind];
    int64_t since = sys_now_ms();
    char database[4096];
    snprintf(database, sizeof database, "%s", config->database);
    int64_t first = s.drain ? first_to_drain(database) : 0;
    if (scan && scan_first(config, s.drain_wait_ms, &err) < 0)
        return complain(&err);
    if (supervisor_run(&s, config, &err) < 0 || (scan && scan_last(s.config_file, &err) < 0))
        return complain(&err);
    int rc = s.drain ? drain_verdict(database, first, since, &err) : 0;
    int scanned = rc >= 0 && scan ? scan_verdict(s.config_file, since, &err) : 0;
    return rc < 0 || scanned < 0 ? complain(&err) : rc | scanned;
}
