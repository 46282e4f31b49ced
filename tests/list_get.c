/*
 * list_get CONFIG SOURCE [TIMES|exists PATH]: what a lister finds of a source, for the script tests: a line "SIZE TIME STEP URI" an
 * object, each time; then on standard error names=, rss=, and error=, message= with exit status 1. Between two times a line is
 * read from standard input. What is no object is a line no_file=URI there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"
#include "source/list.h"

struct seen {
    int64_t names;
    bool quiet;
};

static int on_object(void *arg, const struct listed *o, struct err *err)
{
    struct seen *s = arg;
    (void)err;
    s->names++;
    if (!s->quiet)
        printf("%" PRId64 " %" PRId64 " %" PRId64 " %s\n", o->size, o->mtime_ms, o->mtime_step_ms, o->uri);
    return 0;
}

static void on_no_file(void *arg, const char *uri, const char *why)
{
    (void)arg;
    fprintf(stderr, "no_file=%s %s\n", uri, why);
}

int main(int argc, char **argv)
{
    struct config *config;
    struct err err;
    struct pattern *p;
    struct globs globs;
    struct list_links *links;
    struct seen seen = { .quiet = getenv("QUIET") };
    int64_t covered, times = 1;
    if (argc < 3 || config_load(&config, argv[1], NULL, &err) < 0 || pattern_parse(&p, argv[2], 0, &err) < 0 ||
        pattern_globs(p, NULL, 0, 0, &globs, &covered, &err) < 0 || list_links_open(&links, &err) < 0) {
        fprintf(stderr, "list_get: %s\n", argc < 3 ? "CONFIG SOURCE" : err.msg);
        return 2;
    }
    const struct lister *l = list_by_base(pattern_base(p), &err);
    struct list_ask ask = { .links = links, .config = config, .base = pattern_base(p), .glob = &globs.v[0], .cursor = "" };
    struct list_sink sink = { .object = on_object, .no_file = on_no_file, .arg = &seen };
    int rc = l ? 0 : -1;
    if (argc == 4)
        (void)text_int(str_of(argv[3]), &times);
    if (argc == 5 && rc == 0) {
        int64_t mtime_ms;
        rc = l->exists(&ask, str_of(argv[4]), &mtime_ms, &err);
        printf("exists=%d\n", rc);
    }
    for (int64_t i = 0; argc < 5 && i < times && rc >= 0; i++) {
        if (i > 0 && getchar() == EOF)
            break;
        rc = l->list(&ask, &sink, &err);
        printf("end\n");
        fflush(stdout);
    }
    fprintf(stderr, "names=%" PRId64 "\nrss=%" PRId64 "\n", seen.names, sys_peak_rss());
    if (rc < 0)
        fprintf(stderr, "error=%s\nmessage=%s\n", err_name(err.code), err.msg);
    list_links_close(links);
    globs_clear(&globs);
    pattern_free(p);
    config_free(config);
    return rc < 0;
}
