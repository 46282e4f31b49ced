/*
 * One transfer at a time by libcurl: http(s), ftp(s), sftp, s3. Bytes are pushed into a sink as they
 * come; a sink that is full pauses the transfer (back-pressure down to the socket). One struct
 * fetch per process keeps connections alive between objects.
 *
 * A transfer that breaks off is resumed inside the call: Range + If-Range for http when the server
 * gave a strong ETag or a Last-Modified that is older than its answer; REST for ftp and sftp after
 * size and time were compared. Before each try there is a pause, 250 ms at first, doubling up to 5
 * s while tries bring next to nothing (under 16 KB); after three such the call fails. What breaks
 * off before the object was seen at all is not tried again here, but by the job's own retry, later.
 * When the object has changed meanwhile the call fails with ERR_CHANGED: two versions are never
 * glued together. When the server ignores or falsifies the range, bytes already taken are read over
 * after the validator was compared, else ERR_CHANGED.
 *
 * Fewer than 1 KB within limits.stall_timeout is a stall (timeout); time in which the sink is full
 * does not count. ftps:// means TLS, required and verified: from the first byte on port 990, the
 * default; by AUTH TLS before the login on any other port. The bytes are the object: no content
 * coding is asked for, and none is undone; one that the bytes do not show (br, deflate) is refused,
 * for it would be taken for text.
 *
 * s3://BUCKET/KEY is a signed GET (io/s3_place.h); "%XX" in KEY is a byte.
 *
 * Secrets never appear in messages: every URI in an error passes through fetch_redact().
 */
#ifndef QETL_IO_FETCH_H
#define QETL_IO_FETCH_H

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

struct fetch_head {
    int64_t size;      /* of the whole object, or -1 */
    char etag[256];    /* as sent, with quotes; "" none, or too long to keep */
    char modified[64]; /* HTTP date as sent, or RFC 3339 for ftp and sftp; "" none, or so fresh that
                          it cannot tell versions apart */
    int64_t offset;    /* the first byte that write() will get: 0, or where we resumed */
};

struct fetch_sink {
    void *arg;
    /* The answer's head is known and good (2xx); before the first byte. Called again when the
     * transfer started over from offset 0 before any byte was taken. -1 ends the transfer with
     * *err. */
    int (*head)(void *arg, const struct fetch_head *head, struct err *err);
    /* n bytes: returns n (all taken), 0 (full: pause, ask again after tick), or -1. Never a part.
     */
    ssize_t (*write)(void *arg, const void *p, size_t n, struct err *err);
    /* Called at least every 100 ms and whenever one of fds is ready. -1 ends the transfer with
     * *err. A paused transfer is taken up again after each call. */
    int (*tick)(void *arg, struct err *err);
    struct pollfd *fds; /* borrowed; events set by the caller (POLLIN, POLLOUT), revents by us */
    int nfds;           /* at most 8 */
};

struct fetch;
int fetch_open(struct fetch **out, const struct limits *limits, struct err *err);
void fetch_close(struct fetch *f);
/* Between transfers: connections that were logged in (ftp, sftp) at a place with connections= are closed, so that they are somebody
 * else's to have. The server is not waited for. */
void fetch_rest(struct fetch *f);

/*
 * Fetch `uri` into the sink. remote may be NULL. resume: bytes [0, resume->offset) of the version
 * with resume's etag and modified are there already (NULL: start at 0; it also starts at 0, which
 * head() tells, where that version cannot be proven to be the server's). *got counts the bytes
 * given to write(), also when the call fails. Errors by class: fetch-missing (404, 410, ftp 550,
 * sftp no such file), fetch-denied (401, 403, login), fetch-busy (429, 503; err->retry_after_ms
 * from Retry-After), fetch (other 5xx, resolve, connect, reset), fetch-refused (other 4xx), tls,
 * host-key, timeout, changed, limit (more than limits.object_bytes), uri (scheme), not-a-file (a
 * folder), config (a secret that cannot be read), and whatever the sink returned. sftp without
 * known_hosts or host_key_sha256 is refused (host-key) before connecting; redirects are followed up
 * to 10 times, only from http(s) to http(s), never from https to http, and credentials are not sent
 * to another host.
 */
int fetch_get(struct fetch *f, const char *uri, const struct remote *remote,
              const struct fetch_head *resume, const struct fetch_sink *sink, int64_t *got,
              struct err *err);

/* The same, from byte 0, but only if the object is not the version of `known` (its etag or modified) any more: 1 it was fetched; 0 it
 * is that version still (304): neither head() nor write() was called; -1. http, https and s3. */
int fetch_get_changed(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_head *known,
                      const struct fetch_sink *sink, struct err *err);

/*
 * Ask what the object is, without its bytes (HEAD; http, https and s3): the sink's head() is told, and write() gets nothing.
 * Here `modified` is as sent, however fresh. Errors as fetch_get's, but for limit.
 */
int fetch_look(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_sink *sink, struct err *err);

/*
 * Questions to an FTP server (ftp, ftps), each one request in one try, with the limits, secrets and
 * errors of fetch_get. Only sink->tick is asked, and by fetch_list sink->write. What is asked stays
 * in the URI, so that no name can become a command: control characters in it are refused (uri).
 */
/* What `command` (MLSD or LIST) says of the folder `uri`, which ends in a slash. 1: all of it was
 * given; 0: the server does not know the command (reply 500, 502 or 504; RFC 959, 4.2); -1. */
int fetch_list(struct fetch *f, const char *uri, const struct remote *remote, const char *command,
               const struct fetch_sink *sink, struct err *err);
/* Size (-1) and time (0) of a file by SIZE and MDTM (RFC 3659), where the server says them; the time
 * has whole seconds. 1; 0: there is none of that name, or it is no file; -1. */
int fetch_stat(struct fetch *f, const char *uri, const struct remote *remote,
               const struct fetch_sink *sink, int64_t *size, int64_t *mtime_ms, struct err *err);
/* One or two commands, such as RNFR and RNTO. A path is relative to the folder of the login; a `*` before a verb: it may fail.
 * uri: the server's, with "/" behind it. 0; -1: fetch-refused, where the server says no. */
struct fetch_order {
    const char *verb; /* NULL: there is none */
    struct str path;
};
int fetch_order(struct fetch *f, const char *uri, const struct remote *remote, const struct fetch_order orders[2],
                const struct fetch_sink *sink, struct err *err);

/* The URI without user, password and the values of query parameters that look like secrets. Cut to
 * cap. */
void fetch_redact(const char *uri, char *out, size_t cap);

#endif
