/*
 * The elements of a JSON text of any length, one by one, in memory of one element: of an array, of the array under one of
 * `keys` in an object around it, or, where there is no such array, the values of JSON lines. Each element is checked by
 * base/json; what is around them is looked at only as far as is needed to find them.
 */
#ifndef QETL_SOURCE_JSON_SPLIT_H
#define QETL_SOURCE_JSON_SPLIT_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

enum { JSON_SPLIT_MAX = 64 * 1024 }; /* bytes of one element */

struct json_split {
    const char *const *keys; /* NULL at the end; NULL: only arrays and lines */
    int (*element)(void *arg, const struct json_value *v, struct err *err); /* 0, or the split ends with what it gave */
    void *arg;
    bool skips; /* elements that are not UTF-8 are left out, and counted; else they are errors */
    /* its own; 0 at the start */
    int64_t skipped;
    int state, depth;
    bool text, escaped;
    int64_t n; /* elements */
    struct buf one;
};

/* 0; what element() gave; -1: format, limit. */
int json_split_add(struct json_split *s, struct str bytes, struct err *err);
int json_split_end(struct json_split *s, struct err *err); /* no more comes; truncated */
void json_split_clear(struct json_split *s);

#endif
