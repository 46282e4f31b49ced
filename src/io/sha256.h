/*
 * SHA-256 (FIPS 180-4) by OpenSSL's libcrypto, which libcurl brings along: what S3 wants of each
 * body, and what a manifest says of each object. (base/hash.h is the fast one against damage.)
 */
#ifndef QETL_IO_SHA256_H
#define QETL_IO_SHA256_H

#include "base/err.h"
#include "base/mem.h"

enum { SHA256_HEX = 64 };

struct sha256;
struct sha256 *sha256_new(struct err *err); /* ready for the first byte; NULL: no memory */
/* The same for the MD5 (RFC 1321) that old lists give: its hex has 32 digits, and a libcrypto may be built without it (config). It proves
 * nothing against who means harm. */
struct sha256 *sha256_new_md5(struct err *err);
void sha256_free(struct sha256 *s);
int sha256_add(struct sha256 *s, struct str bytes, struct err *err);
/* In lower case hex, with a NUL; s is ready for a new first byte. */
int sha256_end(struct sha256 *s, char out[SHA256_HEX + 1], struct err *err);
int sha256_of(struct str bytes, char out[SHA256_HEX + 1], struct err *err);

#endif
