/*
 * The walk through folders of a place that lists one folder at a time: only those that can lead to a match are listed, and
 * what is found is offered. Listers give entries; this decides.
 *
 * In memory are the folders that are still to be listed (at most 64 MiB of their names), never the objects. What names itself
 * too deep (LIST_DEPTH_MAX) or comes without end (LIST_NAMES_MAX) ends the listing with the error `limit`: a server can show a
 * folder inside of itself.
 */
#ifndef QETL_SOURCE_LIST_TREE_H
#define QETL_SOURCE_LIST_TREE_H

#include "source/list.h"

enum { LIST_NAMES_MAX = 50000000 };

struct list_tree {
    const struct list_ask *ask;
    const struct list_sink *sink;
    struct glob_work work;
    struct buf path, uri; /* path: the folder that is listed, with its slash */
    struct buf pending;   /* folders to list: the path, a byte for depth + 1, a zero byte */
    int depth;
    int64_t names;
};

struct list_entry {
    enum list_what { LIST_FILE, LIST_FOLDER, LIST_OTHER_KIND } what; /* the last: a link, a device; it is told of, and no more */
    struct str name;
    int64_t size, mtime_ms, step_ms; /* as in struct listed */
};

/* List the folder of t->path: each entry goes to list_tree_entry(). 0, 1 enough, -1. */
typedef int list_folder_fn(struct list_tree *t, void *arg, struct err *err);
/* The whole walk of ask->glob. As lister->list. */
int list_tree_walk(const struct list_ask *ask, const struct list_sink *sink, list_folder_fn *folder, void *arg, struct err *err);
/* 0, 1 enough, -1. */
int list_tree_entry(struct list_tree *t, const struct list_entry *e, struct err *err);
/* Count a name, wanted or not, and ask now and then whether to go on. 0, -1. */
int list_tree_count(struct list_tree *t, struct err *err);
/* Give one object, whose path is whole, where the glob is literal. As list_offer. */
int list_tree_offer(struct list_tree *t, struct str path, int64_t size, int64_t mtime_ms, int64_t step_ms, struct err *err);
void list_tree_clear(struct list_tree *t);

#endif
