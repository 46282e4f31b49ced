/*
 * One transfer, as the files of io/fetch see it: fetch.c runs it, fetch_request.c makes the request of each try, fetch_answer.c says
 * which version the answer is of, and what went wrong.
 */
#ifndef QETL_IO_FETCH_TRANSFER_H
#define QETL_IO_FETCH_TRANSFER_H

#include <curl/curl.h>

#include "io/fetch.h"
#include "io/http_head.h"
#include "io/s3_place.h"

enum {
    FETCH_SHOWN = 256, /* of a URI in a message */
    REFUSAL_KEPT = 1024,
};

enum { SOCKETS_MAX = 16 };
struct fetch {
    CURLM *multi;
    CURL *easy;
    struct limits limits;
    bool counted; /* since fetch_rest(): a login at a place that counts them */
    curl_socket_t sockets[SOCKETS_MAX]; /* of logins, open now; more than that are not known */
    int nsockets;
};

/* How we talk to a scheme of ours. */
struct transport {
    const char *scheme, *protocols;
    bool http, ssh, tls;
};
#define IS_S3(t) ((t)->secrets.s3.base != NULL)
/* Secrets of a remote, read when the transfer starts and wiped when it ends. */
struct secrets {
    char *user, *password, *proxy;
    struct curl_slist *headers;
    struct s3_place s3; /* where the transport is s3 */
};

/* What a transfer is for. ASK_LOOK: its head by http; the last three only by ftp. */
enum ask { ASK_OBJECT, ASK_LOOK, ASK_LISTING, ASK_STAT, ASK_ORDER };

struct transfer {
    struct fetch *f;
    const struct transport *transport;
    const struct remote *remote;
    const struct fetch_sink *sink;
    const char *uri;
    enum ask ask;
    const char *command;       /* ASK_LISTING */
    struct curl_slist *orders; /* ASK_ORDER */
    char shown[FETCH_SHOWN];
    struct secrets secrets;
    struct err *err;
    /* over all tries */
    struct fetch_head known; /* the version that the bytes belong to; valid when pos > 0 or told */
    int64_t pos, given;      /* bytes of it that the sink has; those of this call */
    bool told, no_range;
    const struct fetch_head *unless; /* fetch_get_changed() */
    bool unchanged;
    int64_t tick_ms;
    int64_t allowed, allowed_ms; /* bytes that the rate lets pass now, at most a second's; when that
                                    was reckoned */
    /* of one try */
    char *url;       /* where redirects have led us */
    bool same_place; /* scheme, host and port of uri: secrets may be sent */
    struct curl_slist *headers;
    struct http_head head;
    size_t head_bytes, refusal_bytes;
    int64_t from, skip; /* first byte asked for; bytes of the body that the sink has already */
    char refusal[REFUSAL_KEPT + 1]; /* begin of the body of an error */
    bool judged, again, failed, paused, head_over;
    bool probing, folder; /* is_folder() */
    int64_t window_ms, window_bytes, window_limit_ms;
    char fault[CURL_ERROR_SIZE];
};

/* Fill *t->err about the transfer's URI. Gives -1. */
__attribute__((format(printf, 3, 4))) int transfer_fail(struct transfer *t, enum err_code code, const char *fmt, ...);

/* ---- fetch_request.c ---- */

/* The secrets of the remote, into t->secrets. -1: as fetch_get() says of them. */
int transfer_secrets_read(struct transfer *t);
void transfer_secrets_clear(struct secrets *s);
/* t->url of the uri, before redirects; false: no memory. */
bool transfer_first_url(struct transfer *t);
/* All options of the handle but those that take the answer. */
int transfer_request(struct transfer *t);

/* ---- fetch_answer.c ---- */

/* Does the head name its version well enough to go on with it later? */
bool transfer_can_resume(const struct transfer *t, const struct fetch_head *h);
/* Which version is this, and which of its bytes? Before the first byte of the body, and after a body of none. */
int transfer_judge(struct transfer *t);
/* Ask again for the whole: this answer's range cannot be believed, or is of another version. */
int transfer_ask_again(struct transfer *t);
/* The newest reply of an FTP server. */
long transfer_last_reply(struct transfer *t);
/* Why it failed: the object changed, an HTTP status, libcurl's code. All give -1. */
int transfer_changed(struct transfer *t);
int transfer_fail_status(struct transfer *t);
int transfer_fail_curl(struct transfer *t, CURLcode curl);

#endif
