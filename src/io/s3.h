/*
 * A small client of S3 and of the stores that speak like it, for targets and sources: one bucket, one
 * request at a time, on one connection that is kept.
 *
 * Requests are signed by io/s3_place, whose rules one function keeps for all of them.
 *
 * A request that breaks off or is answered 429, 5xx or SlowDown is sent again up to three times, 200 ms
 * to 1.6 s apart. Every request here may be sent twice: a put writes the same bytes, and one with a
 * condition says afterwards whether what is there was put by somebody.
 *
 * Errors: fetch-denied (401, 403), fetch-missing (404), fetch-busy (429, 503), fetch (other 5xx, and
 * connections), timeout, tls, fetch-refused (others), config (secrets), uri. Messages hold the store's
 * code and words, never a secret. https://docs.aws.amazon.com/AmazonS3/latest/API/ has the calls.
 */
#ifndef QETL_IO_S3_H
#define QETL_IO_S3_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "io/s3_place.h"

enum { S3_ETAG = 128, S3_UPLOAD_ID = 1024, S3_TOKEN = 4096, S3_PART_MAX = 10000 };

struct s3;
/* remote: of the bucket's URI; NULL is a bucket of the public on AWS. Secrets are read here. */
int s3_open(struct s3 **out, const struct remote *remote, struct str bucket,
            const struct limits *limits, struct err *err);
void s3_close(struct s3 *s); /* NULL is fine */

/* While bytes travel, tick is called about once a second at least; -1 ends the request with its error, sent again or not. NULL: no more. */
void s3_watch(struct s3 *s, int (*tick)(void *arg, struct err *err), void *arg);

struct s3_object {
    int64_t size;
    char etag[S3_ETAG]; /* with its quotes; "" none */
    char modified[64];  /* HTTP date, or RFC 3339 in a list; "" none */
};

/* 1: *out is filled; 0: no such object; -1 error. */
int s3_head(struct s3 *s, const char *key, struct s3_object *out, struct err *err);

/* Takes bytes as they come; -1 with *err ends the transfer. */
typedef int s3_sink(void *arg, struct str bytes, struct err *err);
/*
 * `bytes` bytes from `from` (-1: all of the rest; then *out has the whole object's size). if_match: an
 * ETag that the object must have, or NULL. What breaks off goes on where it was, as long as the ETag
 * is the same. 1 done; 0 no such object; -1 error (changed: another ETag).
 */
int s3_get(struct s3 *s, const char *key, int64_t from, int64_t bytes, const char *if_match,
           s3_sink *sink, void *arg, struct s3_object *out, struct err *err);

/* Put a whole object (at most 5 GiB; hold it in memory: greater ones go in parts). if_match: NULL
 * without condition; "" only where there is none yet; an ETag: only in the place of that one.
 * 1 done, 0 the condition does not hold. etag may be NULL. */
int s3_put(struct s3 *s, const char *key, struct str bytes, const char *if_match,
           char etag[S3_ETAG], struct err *err);

/* No such object afterwards; there was none is fine. */
int s3_delete(struct s3 *s, const char *key, struct err *err);
/* The same, but only where it has that ETag: 1 there is none of that key any more; 0 another one is there; -1. A store that knows
 * no such condition (501) is asked without it: look shortly before. */
int s3_delete_version(struct s3 *s, const char *key, const char *etag, struct err *err);

enum { S3_COPY_MAX_GIB = 5 }; /* of one copy, as AWS has it */
/* The store copies an object within the bucket, with its metadata: 1; 0 there is none; -1. No condition on the version: libcurl before
 * 8.3 signs no two headers of which one begins the other's name, as x-amz-copy-source-if-match is. Look before and behind. */
int s3_copy(struct s3 *s, const char *from, const char *to, struct err *err);

/* One object, or with object NULL one common prefix. Non-0 ends the list, and s3_list gives it. */
typedef int s3_each(void *arg, const char *key, const struct s3_object *object, struct err *err);
/* All keys that begin with prefix, in order, behind `after` (NULL: from the first). delimiter: "/" lists
 * one level, with what is below as common prefixes; NULL all. Pages are asked for as needed. */
int s3_list(struct s3 *s, const char *prefix, const char *delimiter, const char *after, s3_each *each,
            void *arg, struct err *err);
/* One page of it: the first one where token is "", else the one behind the page that left it. token is "" afterwards when there
 * is no more. */
int s3_page(struct s3 *s, const char *prefix, const char *delimiter, const char *after, char token[S3_TOKEN], s3_each *each,
            void *arg, struct err *err);

/* ---- in parts of at least 5 MiB each but the last ---- */
struct s3_part {
    char etag[S3_ETAG];
};
int s3_upload_begin(struct s3 *s, const char *key, char id[S3_UPLOAD_ID], struct err *err);
/* number: from 1 to S3_PART_MAX */
int s3_upload_part(struct s3 *s, const char *key, const char *id, int number, struct str bytes,
                   struct s3_part *out, struct err *err);
/* The object is there afterwards, whole. size: its bytes, to know it again when the answer got lost. */
int s3_upload_end(struct s3 *s, const char *key, const char *id, const struct s3_part *parts, int n,
                  int64_t size, struct err *err);
/* What was sent of it is forgotten. */
int s3_upload_abort(struct s3 *s, const char *key, const char *id, struct err *err);

#endif
