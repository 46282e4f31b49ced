/*
 * What the head of an HTTP answer says about an object: which version it is, which bytes of it
 * follow, when to ask again. Foreign text: what does not follow its grammar counts as not said, and
 * so does what is said twice in two ways.
 */
#ifndef QETL_IO_HTTP_HEAD_H
#define QETL_IO_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct http_head {
    int status;     /* 0: none yet */
    char etag[256]; /* with quotes, also W/"..."; "" none, or longer than that */
    char modified[64],
        date[64]; /* Last-Modified and Date as sent; "" none, or no date (RFC 9110, 5.6.7) */
    int64_t range_first, range_total; /* Content-Range "bytes first-last/total"; -1 none or "*" */
    int64_t range_bytes;              /* last - first + 1; -1 none */
    int64_t retry_after_s,
        retry_at_s; /* Retry-After as seconds, or as a date in seconds since 1970; -1 none */
    bool hidden_coding; /* Content-Encoding has one that the bytes do not show: br, deflate */
};

/* One line of the head, with or without its line end. A status line starts over (100 Continue, 103
 * Early Hints). */
void http_head_line(struct http_head *h, struct str line);

/* May the ETag join byte ranges (RFC 9110, 8.8.3.2)? */
bool http_etag_strong(const char *etag);
/* May Last-Modified do so? Only when the answer's Date is a second later at least (RFC
 * 9110, 8.8.2.2). */
bool http_modified_strong(const struct http_head *h);
/* The pause that Retry-After asks for, by the server's own clock where it gave one; 0: none; at
 * most a day. */
int64_t http_retry_after_ms(const struct http_head *h, int64_t now_ms);

#endif
