/* The parts of fetch that need no server; the transfers themselves: e2e_fetch.sh. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "io/fetch.h"
#include "io/http_head.h"
#include "test.h"

TEST(redact, secrets_in_a_uri_are_not_shown)
{
    static const struct {
        const char *uri, *want;
    } table[] = {
        { "http://h/x", "http://h/x" },
        { "http://user:pw@h:80/x?a=1#f", "http://h:80/x?a=1#f" },
        { "ftp://user@h/x", "ftp://h/x" },
        { "http://u:p@w@h/x", "http://h/x" },
        { "http://u:p/w@h/x", "http://h/x" },
        { "http://h/a@b", "http://h/a@b" },
        { "http://h:80/a@b", "http://h:80/a@b" },
        { "http://[::1]/a@b", "http://[::1]/a@b" },
        { "http://h?u@v", "http://h?u@v" },
        { "https://h/x?token=s&day=1", "https://h/x?token=...&day=1" },
        { "https://h/x?a=1&X-Amz-Signature=abc&X-Amz-Credential=k%2Fq",
          "https://h/x?a=1&X-Amz-Signature=...&X-Amz-Credential=..." },
        { "https://h/x?API_KEY=s;b=2", "https://h/x?API_KEY=...;b=2" },
        { "https://h/x?passwd=s#access_token=t", "https://h/x?passwd=...#access_token=..." },
        { "https://h/x?token", "https://h/x?token" },
        { "https://h/x?sig=a=b", "https://h/x?sig=..." },
        { "https://h/x?sig=a?sig=b", "https://h/x?sig=...?sig=..." },
        { "/plain/path?token=x", "/plain/path?token=x" },
        { "http://h/a\nb", "http://h/a?b" },
        { "", "" },
        { "http://", "http://" },
    };
    char out[300];
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        fetch_redact(table[i].uri, out, sizeof out);
        CHECK_STR(out, table[i].want);
    }
}

TEST(redact, a_long_uri_is_cut_and_never_overruns)
{
    const char *uri = "https://user:secret@example.org/a/b?token=hidden&x=1";
    char whole[300];
    fetch_redact(uri, whole, sizeof whole);
    for (size_t cap = 0; cap <= strlen(whole) + 1; cap++) {
        char *out = malloc(cap + 1);
        out[cap] = '#';
        fetch_redact(uri, out, cap);
        CHECK_EQ(out[cap], '#');
        if (cap) {
            CHECK_EQ(strlen(out), cap - 1);
            CHECK_EQ(memcmp(out, whole, cap - 1), 0);
        }
        free(out);
    }
}

static struct http_head head_of(const char *text)
{
    struct http_head h = { 0 };
    while (*text) {
        size_t n = strcspn(text, "\n") + 1;
        http_head_line(&h, (struct str){ text, n });
        text += n;
    }
    return h;
}

TEST(http_head, validators_and_range_are_taken)
{
    struct http_head h =
        head_of("HTTP/1.1 206 Partial Content\r\nETag:  \"a-1\" \r\nlast-modified: Sat, 21 Nov "
                "2026 05:00:00 GMT\r\n"
                "DATE: Sat, 21 Nov 2026 05:00:01 GMT\r\nContent-Range: bytes 5-99/100\r\n\r\n");
    CHECK_EQ(h.status, 206);
    CHECK_STR(h.etag, "\"a-1\"");
    CHECK_STR(h.modified, "Sat, 21 Nov 2026 05:00:00 GMT");
    CHECK_EQ(h.range_first, 5);
    CHECK_EQ(h.range_bytes, 95);
    CHECK_EQ(h.range_total, 100);
    CHECK(http_etag_strong(h.etag));
    CHECK(http_modified_strong(&h));
    CHECK_EQ(http_retry_after_ms(&h, 0), 0);
}

TEST(http_head, a_new_status_line_starts_over)
{
    struct http_head h =
        head_of("HTTP/1.1 103 Early Hints\r\nETag: \"old\"\r\n\r\nHTTP/2 200\r\n\r\n");
    CHECK_EQ(h.status, 200);
    CHECK_STR(h.etag, "");
    CHECK_EQ(h.range_first, -1);
}

TEST(http_head, content_codings_that_the_bytes_do_not_show_are_noted)
{
    static const struct {
        const char *coding;
        bool hidden;
    } table[] = { { "gzip", false },     { "br", true },        { "gzip, BR", true }, { "deflate ", true },
                  { "identity", false }, { "broken", false },   { "", false },        { "zstd,,br", true },
                  { "utf-8", false },    { "x-deflate", false } };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char text[100];
        snprintf(text, sizeof text, "HTTP/1.1 200 x\r\nContent-Encoding: %s\r\n", table[i].coding);
        struct http_head h = head_of(text);
        CHECK_EQ(h.hidden_coding, table[i].hidden);
    }
}

TEST(http_head, what_breaks_the_grammar_counts_as_not_said)
{
    static const char *const ranges[] = { "bytes 5-3/100",
                                          "bytes 5-100/100",
                                          "bytes -5-9/100",
                                          "bytes 5-9",
                                          "items 5-9/100",
                                          "bytes 5-9/x",
                                          "bytes x-9/10",
                                          "bytes */",
                                          "bytes 99999999999999999999-9/10",
                                          "" };
    char line[128];
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        snprintf(line, sizeof line, "HTTP/1.1 206 x\r\nContent-Range: %s\r\n", ranges[i]);
        struct http_head h = head_of(line);
        CHECK_EQ(h.range_first, -1);
        CHECK_EQ(h.range_total, -1);
    }
    static const char *const etags[] = { "abc",     "\"a", "\"a\"b\"", "\"a b\"",
                                         "w/\"a\"", "\"",  "W/",       "" };
    for (size_t i = 0; i < COUNT_OF(etags); i++) {
        snprintf(line, sizeof line, "HTTP/1.1 200 x\r\nETag: %s\r\n", etags[i]);
        CHECK_STR(head_of(line).etag, "");
    }
    CHECK_STR(head_of("HTTP/1.1 200 x\r\nLast-Modified: yesterday\r\n").modified, "");
    CHECK_EQ(head_of("HTTP/1.1 2x0 x\r\n").status, 0);
    CHECK_EQ(head_of("HTTP/1.1\r\n").status, 0);
}

TEST(http_head, an_unknown_total_and_an_unsatisfied_range_are_told_apart)
{
    struct http_head star = head_of("HTTP/1.1 206 x\r\nContent-Range: bytes 5-9/*\r\n");
    CHECK_EQ(star.range_first, 5);
    CHECK_EQ(star.range_total, -1);
    struct http_head none = head_of("HTTP/1.1 416 x\r\nContent-Range: bytes */100\r\n");
    CHECK_EQ(none.range_first, -1);
    CHECK_EQ(none.range_total, 100);
}

TEST(http_head, an_etag_too_long_to_keep_is_dropped_not_cut)
{
    char text[400] = "HTTP/1.1 200 x\r\nETag: \"";
    memset(text + strlen(text), 'e', 300);
    strcat(text, "\"\r\n");
    CHECK_STR(head_of(text).etag, "");
}

TEST(http_head, two_different_etags_are_none)
{
    CHECK_STR(head_of("HTTP/1.1 200 x\r\nETag: \"a\"\r\nETag: \"b\"\r\n").etag, "");
    CHECK_STR(head_of("HTTP/1.1 200 x\r\nETag: \"a\"\r\nETag: \"a\"\r\n").etag, "\"a\"");
}

TEST(http_head, weak_validators_do_not_join_ranges)
{
    CHECK(!http_etag_strong(head_of("HTTP/1.1 200 x\r\nETag: W/\"a\"\r\n").etag));
    struct http_head fresh = head_of("HTTP/1.1 200 x\r\nLast-Modified: Sat, 21 Nov 2026 05:00:00 "
                                     "GMT\r\nDate: Sat, 21 Nov 2026 05:00:00 GMT\r\n");
    CHECK(!http_modified_strong(&fresh));
    struct http_head dateless =
        head_of("HTTP/1.1 200 x\r\nLast-Modified: Sat, 21 Nov 2026 05:00:00 GMT\r\n");
    CHECK(!http_modified_strong(&dateless));
}

TEST(http_head, retry_after_is_taken_as_seconds_or_as_a_date)
{
    static const struct {
        const char *text;
        int64_t ms;
    } table[] = {
        { "Retry-After: 7", 7000 },
        { "Retry-After: 0", 0 },
        { "Retry-After: -3", 0 },
        { "Retry-After: soon", 0 },
        { "Retry-After: 999999999", 86400000 },
        { "Retry-After: Sat, 21 Nov 2026 05:02:00 GMT", 60000 }, /* our clock: 05:01:00 */
        { "Retry-After: Sat, 21 Nov 2026 04:00:00 GMT", 0 },
        { "Date: Sat, 21 Nov 2026 05:01:50 GMT\r\nRetry-After: Sat, 21 Nov 2026 05:02:00 GMT",
          10000 },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        char text[200];
        snprintf(text, sizeof text, "HTTP/1.1 503 x\r\n%s\r\n", table[i].text);
        struct http_head h = head_of(text);
        CHECK_EQ(http_retry_after_ms(&h, 1795237260000), table[i].ms);
    }
}

/* ---- refusals before any connection is made ---- */

static int sink_head(void *arg, const struct fetch_head *head, struct err *err)
{
    (void)arg;
    (void)head;
    return err_set(err, ERR_INTERNAL, "no head was expected");
}
static ssize_t sink_write(void *arg, const void *p, size_t n, struct err *err)
{
    (void)arg;
    (void)p;
    (void)n;
    return err_set(err, ERR_INTERNAL, "no byte was expected");
}
static int sink_tick(void *arg, struct err *err)
{
    int *stop = arg;
    return stop && --*stop <= 0 ? err_set(err, ERR_SHUTDOWN, "told to stop") : 0;
}

static enum err_code fetch_fails(const char *uri, const struct remote *remote, int *stop,
                                 struct err *err)
{
    struct limits limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 5000 };
    struct fetch_sink sink = { stop, sink_head, sink_write, sink_tick, NULL, 0 };
    struct fetch *f;
    int64_t got = -1;
    CHECK_OK(fetch_open(&f, &limits, err), *err);
    CHECK_EQ(fetch_get(f, uri, remote, NULL, &sink, &got, err), -1);
    CHECK_EQ(got, 0);
    fetch_close(f);
    return err->code;
}

TEST(fetch, what_is_not_allowed_is_refused_before_connecting)
{
    struct remote bare = { .name = (char[]){ "r" } };
    struct remote pinned = { .host_key_sha256 = (char[]){ "x" } };
    struct remote no_key = { .host_key_sha256 = (char[]){ "x" },
                             .private_key = (char[]){ "/nonexistent/key" } };
    struct remote no_hosts = { .known_hosts = (char[]){ "/nonexistent/hosts" },
                               .password = (char[]){ "p" } };
    struct remote range = { .header = (char[]){ "Range: bytes=0-1" } };
    struct remote colon = { .header = (char[]){ "no colon" } };
    struct remote credential = { .password = (char[]){ "@file:/nonexistent/secret" } };
    static const char uri[] = "sftp://127.0.0.1:9/x";
    const struct {
        const char *uri;
        const struct remote *remote;
        enum err_code code;
        const char *says;
    } table[] = {
        { "gopher://h/x", NULL, ERR_URI, "scheme" },
        { "file:///etc/passwd", NULL, ERR_URI, "scheme" },
        { "http:x", NULL, ERR_URI, "scheme" },
        { "ftp://127.0.0.1:9/dir/", NULL, ERR_NOT_A_FILE, "folder" },
        { "ftp://127.0.0.1:9", NULL, ERR_NOT_A_FILE, "folder" },
        { "sftp://127.0.0.1:9/dir/", &pinned, ERR_NOT_A_FILE, "folder" },
        { "ftp://127.0.0.1:9/x;type=d", NULL, ERR_URI, "type=" },
        { uri, NULL, ERR_HOST_KEY, "host key" },
        { uri, &bare, ERR_HOST_KEY, "host key" },
        { uri, &pinned, ERR_FETCH_DENIED, "private_key or a password" },
        { uri, &no_key, ERR_FETCH_DENIED, "/nonexistent/key" },
        { uri, &no_hosts, ERR_HOST_KEY, "/nonexistent/hosts" },
        { "http://127.0.0.1:9/x", &range, ERR_CONFIG, "Range" },
        { "http://127.0.0.1:9/x", &colon, ERR_CONFIG, "':'" },
        { "http://127.0.0.1:9/x", &credential, ERR_CONFIG, "/nonexistent/secret" },
    };
    struct err err;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        CHECK_EQ(fetch_fails(table[i].uri, table[i].remote, NULL, &err), table[i].code);
        CHECK_HAS(err.msg, table[i].says);
    }
}

TEST(fetch, a_host_that_does_not_answer_is_a_passing_fault_without_secrets)
{
    struct err err;
    CHECK_EQ(fetch_fails("http://user:hidden@127.0.0.1:1/x?token=hidden", NULL, NULL, &err),
             ERR_FETCH);
    CHECK_EQ(err_class(err.code), ERR_TRANSIENT);
    CHECK_HAS(err.msg, "http://127.0.0.1:1/x?token=...: ");
    CHECK(strstr(err.msg, "hidden") == NULL);
}

TEST(fetch, a_host_that_is_not_known_spoils_no_later_fetch)
{
    struct limits limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 5000 };
    struct fetch_sink sink = { NULL, sink_head, sink_write, sink_tick, NULL, 0 };
    struct fetch *f;
    struct err err;
    int64_t got;
    CHECK_OK(fetch_open(&f, &limits, &err), err);
    for (int i = 0; i < 3; i++) { /* no resolver is asked for a name with an empty label */
        CHECK_EQ(fetch_get(f, "http://a..invalid/x", NULL, NULL, &sink, &got, &err), -1);
        CHECK_HAS(err.msg, "resolve");
        CHECK_EQ(fetch_get(f, "http://127.0.0.1:1/x", NULL, NULL, &sink, &got, &err), -1);
        CHECK_HAS(err.msg, "connect");
    }
    fetch_close(f);
}

TEST(fetch, ftps_without_a_port_means_tls_at_once_on_990)
{
    struct err err;
    enum err_code code = fetch_fails("ftps://127.0.0.1/x", NULL, NULL, &err);
    CHECK(code == ERR_FETCH || code == ERR_TLS);
    if (code == ERR_FETCH)
        CHECK_HAS(err.msg, "990");
}

/* A server that accepts and never says a word; its URI. */
static int mute_server(char uri[64])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(s, (struct sockaddr *)(void *)&a, n), 0);
    CHECK_EQ(listen(s, 4), 0);
    CHECK_EQ(getsockname(s, (struct sockaddr *)(void *)&a, &n), 0);
    snprintf(uri, 64, "http://127.0.0.1:%d/x", ntohs(a.sin_port));
    return s;
}

TEST(fetch, a_server_that_takes_no_connection_is_not_said_to_be_slow)
{
    enum { CALLERS = 8 };
    char uri[64];
    AUTO(fd_closep) int s = mute_server(uri);
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    int callers[CALLERS];
    struct limits limits = { .connect_timeout_ms = 100, .stall_timeout_ms = 5000 };
    struct fetch_sink sink = { NULL, sink_head, sink_write, sink_tick, NULL, 0 };
    struct fetch *f;
    struct err err;
    int64_t got;
    CHECK_EQ(listen(s, 0), 0);
    CHECK_EQ(getsockname(s, (struct sockaddr *)(void *)&a, &n), 0);
    for (int i = 0; i < CALLERS; i++) { /* until its queue is full: then Linux drops every SYN (listen(2)) */
        callers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(callers[i], (struct sockaddr *)(void *)&a, n);
    }
    CHECK_OK(fetch_open(&f, &limits, &err), err);
    CHECK_EQ(fetch_get(f, uri, NULL, NULL, &sink, &got, &err), -1);
    CHECK_HAS(err.msg, "no connection within 100 ms ([limits] connect_timeout)");
    CHECK_EQ(err.code, ERR_FETCH);
    fetch_close(f);
    for (int i = 0; i < CALLERS; i++)
        close(callers[i]);
}

TEST(fetch, the_sink_is_asked_in_time_while_nothing_comes)
{
    char uri[64];
    AUTO(fd_closep) int s __attribute__((unused)) = mute_server(uri);
    struct err err;
    int stop = 4;
    CHECK_EQ(fetch_fails(uri, NULL, &stop, &err), ERR_SHUTDOWN);
}

static int advance_clock(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    sys_clock_advance(3000);
    return 0;
}

TEST(fetch, a_server_that_never_answers_is_timed_out)
{
    char uri[64];
    AUTO(fd_closep) int s __attribute__((unused)) = mute_server(uri);
    struct err err;
    struct limits limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 5000 };
    struct fetch_sink sink = { NULL, sink_head, sink_write, advance_clock, NULL, 0 };
    struct fetch *f;
    int64_t got;
    CHECK_OK(fetch_open(&f, &limits, &err), err);
    CHECK_EQ(fetch_get(f, uri, NULL, NULL, &sink, &got, &err), -1);
    CHECK_EQ(err.code, ERR_TIMEOUT);
    fetch_close(f);
}
