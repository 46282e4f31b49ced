/* The two libraries behind one small interface. Which one it is, is decided at configure. */
#include "config.h"

#include "read/gzip.h"

#include <stdlib.h>
#ifdef HAVE_ISAL
#include <isa-l.h>
#else
#include <zlib.h>
#endif

static int damaged(struct err *err, const char *why)
{
    return err_set(err, ERR_ARCHIVE, "damaged gzip data: %s", why);
}

#ifdef HAVE_ISAL

struct gzip {
    struct inflate_state state;
};

static void start(struct gzip *g)
{
    g->state.crc_flag = ISAL_GZIP;
}

struct gzip *gzip_open(struct err *err)
{
    struct gzip *g = malloc(sizeof *g);
    if (!g)
        return err_nomem(err), NULL;
    isal_inflate_init(&g->state);
    start(g);
    return g;
}

int gzip_next(struct gzip *g, struct err *err __attribute__((unused)))
{
    isal_inflate_reset(&g->state);
    start(g);
    return 0;
}

int gzip_run(struct gzip *g, struct str *in, char *out, size_t cap, size_t *made, struct err *err)
{
    struct inflate_state *s = &g->state;
    s->next_in = (uint8_t *)in->p;
    s->avail_in = (uint32_t)in->n;
    s->next_out = (uint8_t *)out;
    s->avail_out = (uint32_t)cap;
    int rc = isal_inflate(s);
    *in = (struct str){ (char *)s->next_in, s->avail_in };
    *made = cap - s->avail_out;
    if (rc == ISAL_INCORRECT_CHECKSUM)
        return damaged(err, "incorrect data check");
    if (rc == ISAL_INVALID_WRAPPER || rc == ISAL_UNSUPPORTED_METHOD)
        return damaged(err, "incorrect header");
    if (rc < 0 || rc == ISAL_NEED_DICT)
        return damaged(err, "what should be compressed bytes is none");
    return s->block_state == ISAL_BLOCK_FINISH;
}

void gzip_close(struct gzip *g)
{
    free(g);
}

#else

struct gzip {
    z_stream z;
};

struct gzip *gzip_open(struct err *err)
{
    enum { GZIP_ONLY = 16 };
    struct gzip *g = calloc(1, sizeof *g);
    if (g && inflateInit2(&g->z, MAX_WBITS + GZIP_ONLY) == Z_OK)
        return g;
    free(g);
    return err_nomem(err), NULL;
}

int gzip_next(struct gzip *g, struct err *err)
{
    return inflateReset(&g->z) == Z_OK ? 0 : err_set(err, ERR_INTERNAL, "cannot reset zlib");
}

int gzip_run(struct gzip *g, struct str *in, char *out, size_t cap, size_t *made, struct err *err)
{
    z_stream *z = &g->z;
    z->next_in = (Bytef *)in->p;
    z->avail_in = (uInt)in->n;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)cap;
    int rc = inflate(z, Z_NO_FLUSH);
    *in = (struct str){ (char *)z->next_in, z->avail_in };
    *made = cap - z->avail_out;
    if (rc == Z_MEM_ERROR)
        return err_nomem(err);
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return damaged(err, z->msg ? z->msg : "it needs a dictionary");
    return rc == Z_STREAM_END;
}

void gzip_close(struct gzip *g)
{
    if (g)
        inflateEnd(&g->z);
    free(g);
}

#endif
