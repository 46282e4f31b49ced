/*
 * The ini on its way into struct config, as the files of io/config see it: config.c fills the structs key by key, and the others check what
 * concerns more than one key: config_recipe.c a recipe, [enrich] and [lookup], config_pipeline.c a pipeline, config_names.c the names of
 * tables, config_check.c the rest.
 * config_build.c is what they share.
 */
#ifndef QETL_IO_CONFIG_BUILD_H
#define QETL_IO_CONFIG_BUILD_H

#include "io/config.h"
#include "io/ini.h"
#include "io/keys.h"

/* What an ini section fills. */
struct bound {
    const struct section_def *def; /* NULL: the heading was faulty, its keys are passed over */
    void *object; /* struct config, remote, target_config, pipeline, or NULL for a part */
    struct pipeline *pipeline;
    struct recipe *recipe; /* of a pipeline or a part */
    int parent;            /* of a part: index of its pipeline's section; else -1 */
    char *name, *part;
};

struct build {
    struct config *c;
    struct ini ini;
    struct bound *bound; /* one for each of ini.sections */
    char *folder;        /* of the main file, absolute */
    struct key_reader keys;
};

static inline bool build_failed(const struct build *b)
{
    return b->ini.failed || b->keys.failed;
}
/* Of the config's arena; NULL: no memory, and the build has failed. zeroed: n of that size. */
char *build_keep(struct build *b, struct str s);
void *build_zeroed(struct build *b, size_t n, size_t size);

/* The entry of the key in this section, in front of `before` (or anywhere: NULL). Sections without
 * a name may stand in pieces. */
const struct ini_entry *build_entry(const struct build *b, int section, const char *name, const struct ini_entry *before);
/* Was the key written in the section, or in that of its pipeline? */
bool build_given(const struct build *b, int section, const char *key);
/* The key of that section has a fault: what it is of is not what it was meant to be. An unknown key, which is of nothing, marks nothing.
 * unread: its value is not in the config. */
void build_mark(struct build *b, int section, const char *key, bool unread);
/* A fault at the key of a section, of its pipeline where the part does not have it, or at the heading. */
void build_fault(struct build *b, int section, const char *key, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Where the keys of the section, and behind them those of its pipeline, stand. */
const struct key_place *build_places(struct build *b, int section);

/* All that is read: faults, and what follows from more than one key. */
void build_check(struct build *b);
void build_check_enrich(struct build *b, int i); /* i: the section; before the pipelines, which look at the columns */
void build_check_lookup(struct build *b, int i);
void build_check_recipe(struct build *b, int i);
void build_check_pipeline(struct build *b, int i);
void build_check_names(struct build *b);
void build_check_order(struct build *b, int i); /* these two behind the recipes */
void build_bind_late(struct build *b, int i);

/* What a target is by its url, in the flags of keys; all of them where the url is not known: that is a fault of its own. */
unsigned build_target_kind(const struct target_config *t);
/* Keys given for the section that a target of this kind has no use for. */
void build_check_fit(struct build *b, int i, const struct target_config *t);

/* For nearest(); NULL: no more. */
const char *config_pipeline_name(const void *config, int i);
const char *config_target_name(const void *config, int i);

#endif
