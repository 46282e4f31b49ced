/* Compression by ISA-L or zlib, and zstd, as configure found them. See object_pack.h. */
#include "target/object_pack.h"

#include "config.h"

#include <stdlib.h>
#ifdef HAVE_ISAL
#include <isa-l.h>
#else
#include <zlib.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum kind { NONE, GZ, ZST };

struct pack {
    enum kind kind;
#ifdef HAVE_ISAL
    struct isal_zstream stream;
    uint8_t *level_buf;
#endif
#ifdef HAVE_ZSTD
    ZSTD_CCtx *zstd;
#endif
};

bool pack_known(const char *name)
{
#ifdef HAVE_ZSTD
    (void)name;
    return true;
#else
    return strcmp(name, "zst") != 0;
#endif
}

int pack_open(struct pack **out, const char *name, struct err *err)
{
    if (!pack_known(name))
        return err_set(err, ERR_CONFIG, "compress = %s: this qetl was built without it", name);
    struct pack *p = calloc(1, sizeof *p);
    if (!p)
        return err_nomem(err);
    p->kind = !strcmp(name, "gz") ? GZ : !strcmp(name, "zst") ? ZST : NONE;
    bool good = true;
#ifdef HAVE_ISAL
    if (p->kind == GZ)
        good = (p->level_buf = malloc(ISAL_DEF_LVL2_DEFAULT)) != NULL;
#endif
#ifdef HAVE_ZSTD
    if (p->kind == ZST)
        good = (p->zstd = ZSTD_createCCtx()) != NULL;
#endif
    if (!good) {
        pack_close(p);
        return err_nomem(err);
    }
    *out = p;
    return 0;
}

void pack_close(struct pack *p)
{
    if (!p)
        return;
#ifdef HAVE_ISAL
    free(p->level_buf);
#endif
#ifdef HAVE_ZSTD
    ZSTD_freeCCtx(p->zstd);
#endif
    free(p);
}

#ifdef HAVE_ISAL
static int pack_gz(struct pack *p, struct buf *out, struct str bytes, struct err *err)
{
    struct isal_zstream *s = &p->stream;
    size_t room = bytes.n + bytes.n / 8 + 1024;
    if (!buf_reserve(out, room))
        return err_nomem(err);
    isal_deflate_stateless_init(s);
    s->level = 2;
    s->level_buf = p->level_buf;
    s->level_buf_size = ISAL_DEF_LVL2_DEFAULT;
    s->gzip_flag = IGZIP_GZIP;
    s->end_of_stream = 1;
    s->flush = NO_FLUSH;
    s->next_in = (uint8_t *)bytes.p;
    s->avail_in = (uint32_t)bytes.n;
    s->next_out = (uint8_t *)out->p + out->n;
    s->avail_out = (uint32_t)room;
    if (isal_deflate_stateless(s) != COMP_OK || s->avail_in)
        return err_set(err, ERR_INTERNAL, "ISA-L could not compress a block");
    out->n += room - s->avail_out;
    return 0;
}
#else
static int pack_gz(struct pack *p, struct buf *out, struct str bytes, struct err *err)
{
    z_stream z = { 0 };
    (void)p;
    if (deflateInit2(&z, 4, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return err_nomem(err);
    size_t room = deflateBound(&z, bytes.n);
    int rc = Z_MEM_ERROR;
    if (buf_reserve(out, room)) {
        z.next_in = (Bytef *)bytes.p;
        z.avail_in = (uInt)bytes.n;
        z.next_out = (Bytef *)out->p + out->n;
        z.avail_out = (uInt)room;
        rc = deflate(&z, Z_FINISH);
    }
    (void)deflateEnd(&z);
    if (rc != Z_STREAM_END)
        return rc == Z_MEM_ERROR ? err_nomem(err)
                                 : err_set(err, ERR_INTERNAL, "zlib could not compress a block");
    out->n += room - z.avail_out;
    return 0;
}
#endif

static int pack_zst(struct pack *p, struct buf *out, struct str bytes, struct err *err)
{
#ifdef HAVE_ZSTD
    size_t room = ZSTD_compressBound(bytes.n);
    if (!buf_reserve(out, room))
        return err_nomem(err);
    size_t n = ZSTD_compressCCtx(p->zstd, out->p + out->n, room, bytes.p, bytes.n, ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(n))
        return err_set(err, ERR_INTERNAL, "zstd could not compress a block: %s", ZSTD_getErrorName(n));
    out->n += n;
    return 0;
#else
    (void)p, (void)out, (void)bytes;
    return err_set(err, ERR_INTERNAL, "no zstd");
#endif
}

int pack_block(struct pack *p, struct buf *out, struct str bytes, struct err *err)
{
    if (p->kind == GZ)
        return pack_gz(p, out, bytes, err);
    if (p->kind == ZST)
        return pack_zst(p, out, bytes, err);
    buf_add(out, bytes.p, bytes.n);
    return out->failed ? err_nomem(err) : 0;
}
