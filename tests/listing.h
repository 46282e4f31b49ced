/* What tests of listers share: list a source to the end; a server of our own on loopback. */
#ifndef QETL_TESTS_LISTING_H
#define QETL_TESTS_LISTING_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "source/list.h"
#include "test.h"

/* List what the source names: `ask` without base and glob. */
__attribute__((unused)) static int list_source_of(const char *source, struct list_ask ask, const struct list_sink *sink, struct err *err)
{
    struct pattern *p;
    struct globs globs;
    int64_t covered;
    CHECK_OK(pattern_parse(&p, source, 0, err), *err);
    CHECK_OK(pattern_globs(p, NULL, 0, 0, &globs, &covered, err), *err);
    const struct lister *l = list_by_base(pattern_base(p), err);
    CHECK(l);
    ask.base = pattern_base(p);
    ask.glob = &globs.v[0];
    int rc = l->list(&ask, sink, err);
    globs_clear(&globs);
    pattern_free(p);
    return rc;
}

/* Serve from a thread of its own until the test ends: serve(&listener). origin: "http://127.0.0.1:PORT". listener must last. */
__attribute__((unused)) static void serve_on_loopback(void *(*serve)(void *), int *listener, char *origin, size_t cap)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    pthread_t thread;
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(*listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(*listener, 8) == 0);
    CHECK(getsockname(*listener, (struct sockaddr *)&a, &n) == 0);
    snprintf(origin, cap, "http://127.0.0.1:%d", ntohs(a.sin_port));
    CHECK_EQ(pthread_create(&thread, NULL, serve, listener), 0);
    pthread_detach(thread);
}

#endif
