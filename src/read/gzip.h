/*
 * One gzip member (RFC 1952) at a time, its checksum and length checked. ISA-L does it where it was
 * found at configure (2.7x zlib on one core), else zlib.
 */
#ifndef QETL_READ_GZIP_H
#define QETL_READ_GZIP_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"

struct gzip;

struct gzip *gzip_open(struct err *err);        /* NULL: no memory */
int gzip_next(struct gzip *g, struct err *err); /* another member follows */
/*
 * Inflate from *in, which is moved on, to `out`. *made: bytes that came out, at most cap. 1: the
 * member ended and is good; 0: more input is wanted, or, when *made is cap, more room; -1: archive
 * (damaged), no-memory.
 */
int gzip_run(struct gzip *g, struct str *in, char *out, size_t cap, size_t *made, struct err *err);
void gzip_close(struct gzip *g); /* NULL is fine */

#endif
