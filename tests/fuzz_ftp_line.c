/* Any line as one of an FTP listing: what comes out of it is a name inside of its folder, or nothing. */
#include <stdlib.h>
#include <string.h>

#include "source/ftp_line.h"

static void check(int rc, const struct ftp_entry *e, const uint8_t *data, size_t n)
{
    if (rc != 1 || e->kind == FTP_OTHER)
        return;
    const uint8_t *p = (const uint8_t *)e->name.p;
    if (!e->name.n || p < data || p + e->name.n > data + n || memchr(p, '/', e->name.n) || memchr(p, 0, e->name.n) || e->size < -1 ||
        e->mtime_ms < 0 || (e->name.n <= 2 && !memcmp(p, "..", e->name.n)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct ftp_entry e;
    struct err err;
    struct str line = { (const char *)data, n };
    check(ftp_mlsd_line(line, &e, &err), &e, data, n);
    check(ftp_list_line(line, INT64_C(1795262400000), &e, &err), &e, data, n);
    return 0;
}
