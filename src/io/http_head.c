/* The head of an HTTP answer. No state but the caller's; nothing is written, so power may fail at
 * any point. */
#include "io/http_head.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { DAY_S = 24 * 3600 };

/* Content-Range: bytes FIRST-LAST/TOTAL, bytes FIRST-LAST/STAR, bytes STAR/TOTAL (RFC 9110, 14.4)
 */
static void take_range(struct http_head *h, struct str v)
{
    h->range_first = h->range_total = h->range_bytes = -1;
    if (v.n < 6 || !str_eq_nocase((struct str){ v.p, 6 }, STR("bytes ")))
        return;
    v = str_trim((struct str){ v.p + 6, v.n - 6 });
    const char *slash = memchr(v.p, '/', v.n);
    if (!slash)
        return;
    struct str range = { v.p, (size_t)(slash - v.p) }, total = { slash + 1, v.n - range.n - 1 };
    int64_t first = -1, last = -1, all = -1;
    if (!str_eq(total, STR("*")) && (!text_int(total, &all) || all < 0))
        return;
    if (!str_eq(range, STR("*"))) {
        const char *dash = memchr(range.p, '-', range.n);
        if (!dash || !text_int((struct str){ range.p, (size_t)(dash - range.p) }, &first) ||
            !text_int((struct str){ dash + 1, (size_t)(range.p + range.n - dash - 1) }, &last) ||
            first < 0 || last < first || (all >= 0 && last >= all))
            return;
        h->range_first = first;
        h->range_bytes = last - first + 1;
    }
    h->range_total = all;
}

static void take_retry_after(struct http_head *h, struct str v)
{
    char text[64];
    h->retry_after_s = h->retry_at_s = -1;
    if (text_int(v, &h->retry_after_s)) {
        if (h->retry_after_s < 0)
            h->retry_after_s = -1;
        return;
    }
    if (v.n >= sizeof text)
        return;
    snprintf(text, sizeof text, "%.*s", (int)v.n, v.p);
    h->retry_at_s = curl_getdate(text, NULL);
}

/* Keep a value as it was sent. Twice and different, or too long: none. */
static void take_text(char *out, size_t cap, struct str v)
{
    bool again = *out && !str_eq(str_of(out), v);
    if (again || v.n >= cap || memchr(v.p, '\0', v.n))
        *out = '\0';
    else
        snprintf(out, cap, "%.*s", (int)v.n, v.p);
}

static void take_date(char out[64], struct str v)
{
    take_text(out, 64, v);
    if (*out && curl_getdate(out, NULL) < 0)
        *out = '\0';
}

/* entity-tag = [ W/ ] DQUOTE *etagc DQUOTE (RFC 9110, 8.8.3) */
static void take_etag(struct http_head *h, struct str v)
{
    struct str quoted = v.n > 2 && !memcmp(v.p, "W/", 2) ? (struct str){ v.p + 2, v.n - 2 } : v;
    bool good = quoted.n >= 2 && quoted.p[0] == '"' && quoted.p[quoted.n - 1] == '"' &&
                !memchr(quoted.p + 1, '"', quoted.n - 2);
    for (size_t i = 0; good && i < v.n; i++)
        good = (unsigned char)v.p[i] > ' ' && v.p[i] != 127;
    take_text(h->etag, sizeof h->etag, good ? v : STR(""));
}

/* gzip, compress and zstd begin with marks of their own, so that unpacking undoes them. */
static bool has_hidden_coding(struct str v)
{
    while (v.n) {
        const char *comma = memchr(v.p, ',', v.n);
        size_t n = comma ? (size_t)(comma - v.p) : v.n;
        struct str coding = str_trim((struct str){ v.p, n });
        if (str_eq_nocase(coding, STR("br")) || str_eq_nocase(coding, STR("deflate")))
            return true;
        n += comma != NULL;
        v = (struct str){ v.p + n, v.n - n };
    }
    return false;
}

static void start_over(struct http_head *h, struct str line)
{
    const char *space = memchr(line.p, ' ', line.n);
    int64_t status = 0;
    *h = (struct http_head){ .range_first = -1,
                             .range_total = -1,
                             .range_bytes = -1,
                             .retry_after_s = -1,
                             .retry_at_s = -1 };
    if (space && line.p + line.n - space >= 4 && text_int((struct str){ space + 1, 3 }, &status) &&
        status >= 100)
        h->status = (int)status;
}

void http_head_line(struct http_head *h, struct str line)
{
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    if (line.n >= 5 && !memcmp(line.p, "HTTP/", 5)) {
        start_over(h, line);
        return;
    }
    const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
    if (!colon)
        return;
    struct str name = { line.p, (size_t)(colon - line.p) };
    struct str v = str_trim((struct str){ colon + 1, line.n - name.n - 1 });
    if (str_eq_nocase(name, STR("ETag")))
        take_etag(h, v);
    else if (str_eq_nocase(name, STR("Last-Modified")))
        take_date(h->modified, v);
    else if (str_eq_nocase(name, STR("Date")))
        take_date(h->date, v);
    else if (str_eq_nocase(name, STR("Content-Range")))
        take_range(h, v);
    else if (str_eq_nocase(name, STR("Content-Encoding")))
        h->hidden_coding |= has_hidden_coding(v);
    else if (str_eq_nocase(name, STR("Retry-After")))
        take_retry_after(h, v);
}

bool http_etag_strong(const char *etag)
{
    return etag[0] == '"';
}

bool http_modified_strong(const struct http_head *h)
{
    return *h->modified && *h->date &&
           curl_getdate(h->date, NULL) > curl_getdate(h->modified, NULL);
}

int64_t http_retry_after_ms(const struct http_head *h, int64_t now_ms)
{
    int64_t s = h->retry_after_s;
    if (s < 0 && h->retry_at_s >= 0)
        s = h->retry_at_s - (*h->date ? (int64_t)curl_getdate(h->date, NULL) : now_ms / 1000);
    return s <= 0 ? 0 : (s > DAY_S ? DAY_S : s) * 1000;
}
