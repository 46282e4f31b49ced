/*
 * fetch_get [OPTION=VALUE...] URI FILE: fetch a URI by io/fetch into FILE, for the script tests.
 * Prints KEY=VALUE: heads, size, etag, modified, offset, got, rss; or error, message,
 * retry_after_ms with exit status 1. user password header ca proxy known_hosts pin key rate    of
 * the remote stall connect limit                                       of the limits (ms, ms,
 * bytes) offset etag modified size                                 resume from there; FILE must
 * hold these bytes hold=MS                                                   the sink is full for
 * MS after each megabyte times=N                                                   fetch N times on
 * one handle
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/fetch.h"

struct check {
    int fd, heads;
    int64_t at, hold_ms, next_hold, full_until;
    struct fetch_head head;
};

static int on_head(void *arg, const struct fetch_head *head, struct err *err)
{
    struct check *c = arg;
    c->heads++;
    c->head = *head;
    c->at = head->offset;
    return ftruncate(c->fd, c->at) < 0 ? err_sys(err, "cut the file") : 0;
}

static ssize_t on_write(void *arg, const void *p, size_t n, struct err *err)
{
    struct check *c = arg;
    if (c->hold_ms && c->at >= c->next_hold) {
        c->next_hold = c->at + (1 << 20);
        c->full_until = sys_mono_ms() + c->hold_ms;
    }
    if (c->full_until > sys_mono_ms())
        return 0;
    if (pwrite(c->fd, p, n, c->at) != (ssize_t)n)
        return err_sys(err, "write the file");
    c->at += (int64_t)n;
    return (ssize_t)n;
}

static int on_tick(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

struct options {
    struct remote remote;
    struct limits limits;
    struct fetch_head resume;
    int64_t hold_ms, times;
};

static bool option(struct options *o, const char *name, size_t n, char *value)
{
    const struct {
        const char *name;
        char **text;
        int64_t *number;
    } table[] = {
        { "user", &o->remote.user, NULL },
        { "password", &o->remote.password, NULL },
        { "header", &o->remote.header, NULL },
        { "ca", &o->remote.ca_file, NULL },
        { "proxy", &o->remote.proxy, NULL },
        { "known_hosts", &o->remote.known_hosts, NULL },
        { "pin", &o->remote.host_key_sha256, NULL },
        { "key", &o->remote.private_key, NULL },
        { "endpoint", &o->remote.endpoint, NULL },
        { "region", &o->remote.region, NULL },
        { "access_key", &o->remote.access_key, NULL },
        { "secret_key", &o->remote.secret_key, NULL },
        { "session_token", &o->remote.session_token, NULL },
        { "rate", NULL, &o->remote.rate_bytes },
        { "stall", NULL, &o->limits.stall_timeout_ms },
        { "connect", NULL, &o->limits.connect_timeout_ms },
        { "limit", NULL, &o->limits.object_bytes },
        { "offset", NULL, &o->resume.offset },
        { "size", NULL, &o->resume.size },
        { "hold", NULL, &o->hold_ms },
        { "times", NULL, &o->times },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (strlen(table[i].name) == n && !memcmp(table[i].name, name, n)) {
            if (table[i].text)
                *table[i].text = value;
            return table[i].text || text_int(str_of(value), table[i].number);
        }
    if (n == 4 && !memcmp(name, "etag", n))
        return snprintf(o->resume.etag, sizeof o->resume.etag, "%s", value) >= 0;
    if (n == 8 && !memcmp(name, "modified", n))
        return snprintf(o->resume.modified, sizeof o->resume.modified, "%s", value) >= 0;
    return false;
}

static int report(const struct check *c, int rc, int64_t got, const struct err *err)
{
    printf("heads=%d\nsize=%" PRId64 "\netag=%s\nmodified=%s\noffset=%" PRId64 "\ngot=%" PRId64
           "\nrss=%" PRId64 "\n",
           c->heads, c->head.size, c->head.etag, c->head.modified, c->head.offset, got,
           sys_peak_rss());
    if (rc == 0)
        return 0;
    printf("error=%s\nmessage=%s\nretry_after_ms=%lld\n", err_name(err->code), err->msg,
           err->retry_after_ms);
    return 1;
}

int main(int argc, char **argv)
{
    struct options o = { .limits = { .connect_timeout_ms = 10000, .stall_timeout_ms = 10000 },
                         .resume = { .size = -1 },
                         .times = 1 };
    int at = 1;
    for (char *equals; at < argc - 2; at++)
        if (!(equals = strchr(argv[at], '=')) ||
            !option(&o, argv[at], (size_t)(equals - argv[at]), equals + 1)) {
            fprintf(stderr, "fetch_get: what is '%s'?\n", argv[at]);
            return 2;
        }
    if (argc - at != 2) {
        fprintf(stderr, "usage: fetch_get [OPTION=VALUE...] URI FILE\n");
        return 2;
    }
    struct err err;
    struct fetch *f;
    struct check c = { .fd = open(argv[at + 1], O_RDWR | O_CREAT | O_CLOEXEC, 0640),
                       .hold_ms = o.hold_ms };
    struct fetch_sink sink = { &c, on_head, on_write, on_tick, NULL, 0 };
    int64_t got = 0;
    if (c.fd < 0 || fetch_open(&f, &o.limits, &err) < 0)
        return 2;
    int rc = 0;
    for (int64_t i = 0; i < o.times && rc == 0; i++)
        rc = fetch_get(f, argv[at], &o.remote, o.resume.offset ? &o.resume : NULL, &sink, &got,
                       &err);
    fetch_close(f);
    close(c.fd);
    return report(&c, rc, got, &err);
}
