/*
 * Any bytes as the page of a folder, in pieces of any size: what comes out lies below the folder, however the page was cut.
 * And as a manifest: what it names is a URI that a job can have.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/text.h"
#include "source/index_page.h"
#include "source/list.h"
#include "source/source.h"

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

static int named(void *arg, const struct listed *o, struct err *err)
{
    enum source_kind kind;
    (void)arg;
    assert(source_kind(o->uri, &kind, err) == 0 && !strpbrk(o->uri, "\r\n") && text_utf8_valid(str_of(o->uri)) == strlen(o->uri) && o->size >= -1 && o->etag && o->name.p);
    return 0;
}

static void run_manifest(const uint8_t *data, size_t n)
{
    static int fd = -1;
    char source[64];
    struct pattern *p;
    struct globs globs;
    struct err err;
    int64_t covered;
    if (fd < 0)
        fd = memfd_create("manifest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, n, 0) != (ssize_t)n)
        abort();
    snprintf(source, sizeof source, "manifest+file:///proc/self/fd/%d", fd);
    if (pattern_parse(&p, source, 0, &err) < 0 || pattern_globs(p, NULL, 0, 0, &globs, &covered, &err) < 0)
        abort();
    struct list_ask ask = { .base = pattern_base(p), .glob = &globs.v[0], .cursor = "" };
    struct list_sink sink = { .object = named };
    (void)list_manifest.list(&ask, &sink, &err);
    globs_clear(&globs);
    pattern_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    int one, other, rc;
    if (!n)
        return 0;
    run_manifest(data + 1, n - 1);
    rc = run(data + 1, n - 1, n, &one);
    uint64_t before = hash;
    assert(run(data + 1, n - 1, data[0] % 16 + 1, &other) == rc && one == other && hash == before);
    return 0;
}
