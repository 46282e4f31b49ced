/*
 * bench/fetch URI [COUNT]: fetch one object COUNT times (1000) on one handle, throw its bytes away,
 * print files and MB a second. With the same COUNT of easy transfers by libcurl alone, for
 * comparison in the same run.
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "io/fetch.h"

static int on_head(void *arg, const struct fetch_head *head, struct err *err)
{
    (void)arg;
    (void)head;
    (void)err;
    return 0;
}

static ssize_t on_write(void *arg, const void *p, size_t n, struct err *err)
{
    (void)p;
    (void)err;
    *(int64_t *)arg += (int64_t)n;
    return (ssize_t)n;
}

static int on_tick(void *arg, struct err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

static void print_rate(const char *who, int count, int64_t bytes, int64_t began_us)
{
    double s = (double)(sys_mono_us() - began_us) / 1e6;
    printf("%-8s %8.0f files/s %8.1f MB/s  (%d files, %.2f s)\n", who, count / s,
           (double)bytes / s / 1e6, count, s);
}

static int by_fetch(const char *uri, int count)
{
    struct limits limits = { .connect_timeout_ms = 10000, .stall_timeout_ms = 10000 };
    struct err err;
    struct fetch *f;
    int64_t bytes = 0, got, began = sys_mono_us();
    struct fetch_sink sink = { &bytes, on_head, on_write, on_tick, NULL, 0 };
    if (fetch_open(&f, &limits, &err) < 0)
        return -1;
    for (int i = 0; i < count; i++)
        if (fetch_get(f, uri, NULL, NULL, &sink, &got, &err) < 0) {
            fprintf(stderr, "bench/fetch: %s [%s]\n", err.msg, err_name(err.code));
            fetch_close(f);
            return -1;
        }
    print_rate("fetch", count, bytes, began);
    fetch_close(f);
    return 0;
}

static size_t easy_write(char *p, size_t one, size_t n, void *arg)
{
    (void)p;
    *(int64_t *)arg += (int64_t)(one * n);
    return one * n;
}

static int by_easy(const char *uri, int count)
{
    CURL *e = curl_easy_init();
    int64_t bytes = 0, began = sys_mono_us();
    CURLcode rc = e ? CURLE_OK : CURLE_OUT_OF_MEMORY;
    if (e) {
        curl_easy_setopt(e, CURLOPT_URL, uri);
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 256L * 1024);
        curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, easy_write);
        curl_easy_setopt(e, CURLOPT_WRITEDATA, &bytes);
    }
    for (int i = 0; i < count && rc == CURLE_OK; i++)
        rc = curl_easy_perform(e);
    curl_easy_cleanup(e);
    if (rc == CURLE_OK)
        print_rate("libcurl", count, bytes, began);
    return rc == CURLE_OK ? 0 : -1;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[2]) : 1000;
    if (argc < 2 || count <= 0) {
        fprintf(stderr, "usage: bench/fetch URI [COUNT]\n");
        return 2;
    }
    return by_easy(argv[1], count) < 0 || by_fetch(argv[1], count) < 0;
}
