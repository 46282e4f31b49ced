/*
 * Many small HTTP requests at once, for whoever waits for other things, too: nothing here blocks, and all that it waits for
 * is behind one descriptor (libcurl's multi interface on an epoll of its own).
 *
 * What a request carries beyond its URL comes from the caller and, as far as a [remote] of its URL has it, from there: user, password,
 * proxy, ca_file and headers; secrets are read when the caller opens a place, and wiped when it is closed. Redirects are not
 * followed: they could lead secrets and values to another host. Content codings are neither asked for nor undone.
 *
 * Nothing is kept on disk: power may fail at any time.
 */
#ifndef QETL_IO_REQUESTS_H
#define QETL_IO_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

/* What all requests of one kind have in common. */
struct request_place {
    const struct remote *remote; /* borrowed; may be NULL */
    bool post;
    int64_t timeout_ms;          /* of a whole request */
    int64_t connect_timeout_ms;
    size_t answer_max;           /* bytes of a body; a longer one is an error */
    struct curl_slist *headers;  /* secrets, as request_place_open() read them, all of these: */
    struct curl_slist *secrets;  /* values of headers that are references */
    char *user, *password, *proxy;
};
/* Reads the secrets. header: lines "Name: value", as the ini has them, or NULL. Fills what stands behind answer_max. Errors: config. */
int request_place_open(struct request_place *p, const char *header, struct err *err);
void request_place_close(struct request_place *p);
/* Put *** into the *n bytes of text, which a server said, wherever a secret of the place stands. */
void request_place_hide(const struct request_place *p, char *text, size_t *n);

struct requests;
int requests_open(struct requests **out, struct err *err);
void requests_close(struct requests *r); /* NULL is fine */
/* POLLIN: requests_tick() has something to do. */
int requests_fd(const struct requests *r);
int requests_under_way(const struct requests *r);

/* Begin a request. url and body are copied; place is borrowed until it is over. tag: the caller's name for it. */
int requests_start(struct requests *r, const struct request_place *place, const char *url, struct str body, uint64_t tag, struct err *err);
/* Wake the descriptor at that time (sys_mono_ms), too; 0: never. */
void requests_wake_at(struct requests *r, int64_t mono_ms);
/* Send and receive what can be sent and received now. */
int requests_tick(struct requests *r, struct err *err);

/* A request that is over. */
struct response {
    uint64_t tag;
    int status;             /* of the answer; 0: none came, and `why` says why not */
    struct str body;        /* valid until the next call */
    int64_t retry_after_ms; /* what the answer asks for, or 0 */
    struct err why;         /* status 0: fetch, timeout, tls, uri, limit (more than answer_max) */
};
bool requests_next(struct requests *r, struct response *out);
/* Break all of them off. */
void requests_abandon(struct requests *r);

#endif
