/* The table of targets. */
#include "target/target.h"

#include <string.h>

static const struct target *const targets[] = { &target_sqlite };

const struct target *target_by_url(const char *url, struct err *err)
{
    struct buf schemes = { 0 };
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        size_t n = strlen(targets[i]->scheme);
        if (!strncmp(url, targets[i]->scheme, n) && url[n] == ':')
            return targets[i];
        buf_addf(&schemes, "%s%s:", i ? ", " : "", targets[i]->scheme);
    }
    (void)err_set(err, ERR_URI, "'%s' is no target that this qetl knows: it knows %s", url,
                  schemes.failed ? "others" : schemes.p);
    buf_clear(&schemes);
    return NULL;
}
