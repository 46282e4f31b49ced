/*
 * One transfer at a time by libcurl: http(s), ftp(s), sftp. Bytes are pushed into a sink as they come; a sink that is full
 * pauses the transfer (back-pressure down to the socket). One struct fetch per process keeps connections alive between
 * objects.
 *
 * A transfer that breaks off is resumed inside the call (Range + If-Range for http when the server gave a strong ETag or a
 * Last-Modified; REST for ftp and sftp after the size and time were compared), with a growing pause, as long as each try brings
 * bytes, and up to `retries` times without. When the object has changed meanwhile the call fails with ERR_CHANGED:
 * two versions are never glued together. When the server ignores or falsifies the range, bytes already taken are skipped after the
 * validator was compared, else ERR_CHANGED.
 *
 * Secrets never appear in messages: every URI in an error passes through fetch_redact().
 */
#ifndef QETL_IO_FETCH_H
#define QETL_IO_FETCH_H

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/config.h"

struct fetch_head {
    int64_t size;      /* of the whole object, or -1 */
    char etag[256];    /* as sent, with quotes; "" none */
    char modified[64]; /* HTTP date as sent, or RFC 3339 for ftp and sftp; "" none */
    int64_t offset;    /* the first byte that write() will get: 0, or where we resumed */
};

struct fetch_sink {
    void *arg;
    /* The answer's head is known and good (2xx); before the first byte. Called again when the transfer started over from
     * offset 0 before any byte was taken. -1 ends the transfer with *err. */
    int (*head)(void *arg, const struct fetch_head *head, struct err *err);
    /* n bytes: returns n (all taken), 0 (full: pause, ask again after tick), or -1. Never a part. */
    ssize_t (*write)(void *arg, const void *p, size_t n, struct err *err);
    /* Called at least every 100 ms and whenever one of fds is ready. -1 ends the transfer with *err. A paused transfer is
     * taken up again after each call. */
    int (*tick)(void *arg, struct err *err);
    struct pollfd *fds; /* borrowed; events set by the caller, revents by us */
    int nfds;
};

struct fetch;
int fetch_open(struct fetch **out, const struct limits *limits, struct err *err);
void fetch_close(struct fetch *f);

/*
 * Fetch `uri` into the sink. remote may be NULL. resume: bytes [0, resume->offset) of the version with resume's etag and
 * modified are there already (NULL: start at 0). *got counts the bytes given to write().
 * Errors by class: fetch-missing (404, 410, ftp 550, sftp no such file), fetch-denied (401, 403, login), fetch-busy (429, 503;
 * err->retry_after_ms from Retry-After), fetch (other 5xx, resolve, connect, reset), fetch-refused (other 4xx), tls, host-key,
 * timeout, changed, limit (more than limits.object_bytes), uri (scheme), and whatever the sink returned.
 * sftp without known_hosts or host_key_sha256 is refused (host-key) before connecting; redirects are followed up to 10
 * times, only from http(s) to http(s), never from https to http, and credentials are not sent to another host.
 */
int fetch_get(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_head *resume,
              const struct fetch_sink *sink, int64_t *got, struct err *err);

/* The URI without user, password and the values of query parameters that look like secrets. Cut to cap. */
void fetch_redact(const char *uri, char *out, size_t cap);

#endif
