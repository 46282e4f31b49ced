/* Any bytes as the page of a folder, in pieces of any size: what comes out lies below the folder, however the page was cut. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "source/index_page.h"

static uint64_t hash;

static int take(void *arg, const struct index_link *l, struct err *err)
{
    (void)err;
    (*(int *)arg)++;
    assert(l->path.n > 3 && !memcmp(l->path.p, "/d/", 3) && l->size >= -1 && l->version);
    assert(!memmem(l->path.p, l->path.n, "/../", 4) && !memmem(l->path.p, l->path.n, "//", 2));
    for (size_t i = 0; i < l->path.n; i++)
        hash = hash * 31 + (unsigned char)l->path.p[i];
    return 0;
}

static int run(const uint8_t *data, size_t n, size_t step, int *found)
{
    struct err err;
    struct index_page *p = index_page_new("http://h", STR("/d/"), take, found);
    int rc = p ? 0 : -1;
    hash = 0;
    *found = 0;
    for (size_t at = 0; rc == 0 && at < n; at += step)
        rc = index_page_add(p, (struct str){ (const char *)data + at, step < n - at ? step : n - at }, &err);
    if (rc == 0)
        rc = index_page_end(p, &err);
    index_page_free(p);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int one, other, rc;
    if (!n)
        return 0;
    rc = run(data + 1, n - 1, n, &one);
    uint64_t before = hash;
    assert(run(data + 1, n - 1, data[0] % 16 + 1, &other) == rc && one == other && hash == before);
    return 0;
}
