/*
 * What no transfer of ours by libcurl goes without, whoever makes it: no signals, no ~/.netrc, no redirects that libcurl follows (they
 * carry headers of ours to other hosts), no content decoding (the bytes are the object), certificates verified, TLS 1.2 at least.
 */
#ifndef QETL_IO_CURL_GUARD_H
#define QETL_IO_CURL_GUARD_H

#include <curl/curl.h>
#include <stdint.h>

/* Onto a fresh handle, before the caller's own options. fault: CURL_ERROR_SIZE bytes that last as long as the request. 0, or not: out
 * of memory, or libcurl lacks a feature. */
int curl_guard(CURL *easy, char *fault, int64_t connect_timeout_ms);

#endif
