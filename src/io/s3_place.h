/*
 * What s3://BUCKET/KEY means: names, the URL of a request, and its signature (Signature Version 4, by
 * libcurl), for the client of io/s3 and for io/fetch.
 *
 * These rules make libcurl 7.85 to 7.88 sign as the stores do, and whoever sends a request keeps to
 * them: an x-amz-content-sha256 header of our own with the body's hash, every byte of a path and a
 * query percent-encoded but the unreserved ones (and '/' in a path), parameters in order and each with
 * a '=', no two headers where one's name begins the other's, redirects off. Without access_key and
 * secret_key requests are not signed.
 */
#ifndef QETL_IO_S3_PLACE_H
#define QETL_IO_S3_PLACE_H

#include <curl/curl.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

enum { S3_KEY_MAX = 1024 };
/* SHA-256 of no bytes: the body of a GET. */
#define S3_NO_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Bucket and key of s3://BUCKET/KEY; the key is as written, and may be empty. -1: uri. */
int s3_split(const char *uri, struct str *bucket, struct str *key, struct err *err);
/* The key that is written so in a URI, behind out: "%XX" is a byte, all else stands for itself. */
void s3_decode(struct buf *out, struct str s);
/* Percent-encoding of RFC 3986 as Signature Version 4 wants it, behind out; s3_decode takes it out. */
void s3_encode(struct buf *out, struct str s, bool keep_slash);

struct s3_place {
    char *base;     /* URL of the bucket, without a '/' at its end */
    char *name;     /* "s3://bucket", for messages */
    char *provider; /* of CURLOPT_AWS_SIGV4 */
    char *access_key, *secret_key, *token;
};
/* remote: of the bucket's URI; NULL is a bucket of the public on AWS. Secrets are read here. Errors:
 * config, no-memory. Nothing is to be cleared after -1. */
int s3_place_open(struct s3_place *out, const struct remote *remote, struct str bucket, struct err *err);
void s3_place_clear(struct s3_place *p);

/* The request's URL behind out. query: in order and encoded, or NULL. */
bool s3_place_url(const struct s3_place *p, struct str key, const char *query, struct buf *out);
/* The headers that each request has; hash: of its body. */
bool s3_place_headers(const struct s3_place *p, const char *hash, struct curl_slist **list);
/* The options that sign and keep the URL as it is. 0, or libcurl lacks something. */
int s3_place_sign(const struct s3_place *p, CURL *easy);

/* A header into the list; `before` and value are put together. */
bool s3_header(struct curl_slist **list, const char *before, const char *value);
void s3_headers_free(struct curl_slist *list); /* overwrites them: there is a token among them */

#endif
