/*
 * The verb enrich: what the cache of each [enrich] holds, and whether it may be asked now; and how to forget answers.
 *
 * Nothing here waits for workers, nor do they for long: answers are forgotten some at a time (io/answers.h). Quotas, and what a server
 * asked for, stay. If power fails some answers are forgotten.
 */
#include "bin/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/sys.h"
#include "bin/table.h"
#include "io/answers.h"
#include "role/enrich.h"

static const struct table_col enrich_cols[] = {
    { "enrich", "ENRICH", CELL_TEXT },          { "answers", "ANSWERS", CELL_NUMBER }, { "misses", "MISSES", CELL_NUMBER },
    { "bytes", "SIZE", CELL_SIZE },             { "quota", NULL, CELL_JSON },          { "quota_seconds", NULL, CELL_JSON },
    { "quota_used", "QUOTA USED", CELL_JSON },  { "state", "STATE", CELL_TEXT },       { "until", "UNTIL", CELL_TIME },
    { "failures", "FAILURES", CELL_NUMBER },    { "message", "WHY", CELL_TEXT },
};

struct look {
    struct ctl *ctl;
    struct answers *cache; /* NULL: there is none yet */
    const char *only;      /* NULL: all */
    struct table table;
    bool failed;           /* ctl->err */
};

/* ---- a row ---- */

static void number_cell(struct table *t, bool any, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    table_text(t, any ? text : NULL);
}

static void quota_cells(struct table *t, const struct ask_limits *limits, int64_t used)
{
    char text[64];
    number_cell(t, limits->quota > 0, limits->quota);
    number_cell(t, limits->quota > 0, limits->quota_ms / 1000);
    if (t->json || !limits->quota) {
        number_cell(t, limits->quota > 0, used);
        return;
    }
    snprintf(text, sizeof text, "%" PRId64 " of %" PRId64, used, limits->quota);
    table_text(t, text);
}

static void row(struct look *l, const char *name, const struct enrich_config *e)
{
    static const char *const states[] = { [ASK_OPEN] = "open",     [ASK_BUSY] = "busy",   [ASK_DOWN] = "down",
                                          [ASK_PROBED] = "probed", [ASK_QUOTA] = "quota", [ASK_INTERVAL] = "interval" };
    struct ask_limits limits = e ? enrich_limits(e) : (struct ask_limits){ 0 };
    struct answers_place p = { 0 };
    struct table *t = &l->table;
    if (l->cache && answers_of(l->cache, name, &limits, sys_now_ms(), &p, &l->ctl->err) < 0) {
        l->failed = true;
        return;
    }
    table_text(t, name);
    table_int(t, p.rows);
    table_int(t, p.misses);
    table_int(t, p.bytes);
    quota_cells(t, &limits, p.quota_used);
    table_text(t, e ? states[p.gate.gate] : "not in the ini");
    table_int(t, p.gate.gate == ASK_OPEN ? 0 : p.gate.at);
    table_int(t, p.gate.failures);
    table_text(t, p.gate.failures ? p.gate.why : NULL);
}

/* A place whose [enrich] is in the ini no more. */
static int place_row(void *arg, const char *place)
{
    struct look *l = arg;
    if (!config_enrich(l->ctl->config, place) && (!l->only || !strcmp(l->only, place)))
        row(l, place, NULL);
    return l->failed;
}

static int list(struct ctl *c, struct look *l)
{
    table_init(&l->table, c->json, enrich_cols, COUNT_OF(enrich_cols));
    for (int i = 0; i < c->config->nenriches && !l->failed; i++)
        if (!l->only || !strcmp(l->only, c->config->enriches[i].name))
            row(l, c->config->enriches[i].name, &c->config->enriches[i]);
    if (l->failed || (l->cache && answers_places(l->cache, place_row, l, &c->err) < 0) || l->failed)
        return -1;
    table_print(&l->table, "enrich", "there is no [enrich NAME] in the ini");
    return 0;
}

/* ---- names ---- */

static int seek(void *arg, const char *place)
{
    struct look *l = arg;
    if (strcmp(place, l->only))
        return 0;
    l->only = NULL;
    return 1;
}

/* Is it in the ini, or does the cache have something of it? */
static int known(struct ctl *c, const struct look *l)
{
    struct look other = *l;
    if (!l->only || config_enrich(c->config, l->only))
        return 0;
    if (l->cache && answers_places(l->cache, seek, &other, &c->err) < 0)
        return -1;
    return other.only ? err_set(&c->err, ERR_NOT_FOUND, "there is no [enrich %s] in %s, and nothing is kept for one", l->only, c->config->path) : 0;
}

static int forget(struct ctl *c, const struct look *l, bool misses)
{
    int64_t n = 0;
    if (l->cache && answers_forget(l->cache, l->only, misses, &n, &c->err) < 0)
        return -1;
    if (c->json)
        printf("{\"forgotten\":%" PRId64 "}\n", n);
    else
        printf("%" PRId64 " answer%s of '%s' %s forgotten; what is asked for again counts for its quota\n", n, ctl_s(n), l->only, n == 1 ? "is" : "are");
    return 0;
}

int ctl_enrich(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "forget", no_argument, NULL, 'f' }, { "misses", no_argument, NULL, 'm' }, { NULL, 0, NULL, 0 } };
    bool forgets = false, misses = false;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o == '?')
            return -1; /* ctl_option() has said it */
        forgets |= o == 'f';
        misses |= o == 'm';
    }
    struct look l = { .ctl = c, .only = optind < argc ? argv[optind] : NULL };
    if (argc - optind > 1 || (forgets && !l.only))
        return ctl_usage(c, "enrich wants the name of one [enrich]%s", forgets ? " to forget answers of" : " at most");
    if (misses && !forgets)
        return ctl_usage(c, "--misses is for --forget: of the answers only those in which there was nothing");
    if (ctl_config(c) < 0 || enrich_cache(c->config, false, &l.cache, &c->err) < 0)
        return -1;
    int rc = known(c, &l);
    if (rc == 0)
        rc = forgets ? forget(c, &l, misses) : list(c, &l);
    answers_close(l.cache);
    return rc;
}
