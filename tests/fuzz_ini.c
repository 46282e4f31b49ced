/* Any bytes as an ini: it is refused with at least one fault, or what was made of it is whole. */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/config.h"

static char path[] = "/tmp/fuzz_ini-XXXXXX.ini";

static void forget(void)
{
    unlink(path);
}

static void look(const struct config *c)
{
    for (int i = 0; i < c->npipelines; i++) {
        const struct pipeline *p = &c->pipelines[i];
        assert(config_pipeline(c, p->name) == p && p->nparts >= 1 && p->nparts <= CONFIG_PARTS_MAX);
        for (int k = 0; k < p->nparts; k++)
            assert(p->parts[k].name && config_target(c, p->parts[k].target) &&
                   p->parts[k].max_rejects.count >= -1);
        if (p->source)
            (void)config_remote(c, p->source);
    }
    for (int i = 0; i < c->nremotes; i++)
        assert(config_remote(c, c->remotes[i].url));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int fd = -1;
    if (fd < 0) {
        if ((fd = mkstemps(path, 4)) < 0)
            abort();
        atexit(forget);
    }
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, n, 0) != (ssize_t)n)
        abort();
    struct config *c = NULL;
    struct err err;
    struct buf faults = { 0 };
    if (config_load(&c, path, &faults, &err) == 0) {
        assert(faults.n == 0);
        look(c);
        config_free(c);
    } else {
        assert(faults.n > 0 && !c);
    }
    buf_clear(&faults);
    return 0;
}
