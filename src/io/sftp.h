/*
 * SFTP for what libcurl does not do with it: folders with the server's own attributes (libcurl gives a line of text for people,
 * with times to the minute or the day in a zone that nobody says), a file's attributes, rename and removal. By libssh2, which
 * libcurl speaks SFTP with, too; the socket (name, proxy, time limit) comes from libcurl. Objects are fetched by io/fetch.
 *
 * The same rules as there: no host is talked to whose key is not known (known_hosts, or the pin host_key_sha256, which then is
 * all that counts); login by private_key, else by password; secrets are by reference and never shown. A path that begins
 * with /~/ is below the folder of the login. A server that says nothing for [limits] stall_timeout ends the call.
 */
#ifndef QETL_IO_SFTP_H
#define QETL_IO_SFTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"

enum { SFTP_NAME_MAX = 4096 };

struct sftp;
enum sftp_kind { SFTP_FILE, SFTP_FOLDER, SFTP_OTHER }; /* other: a link, a device */
struct sftp_entry {
    enum sftp_kind kind;
    int64_t size, mtime_ms; /* -1, 0: the server does not say */
};

/* Asked while the network is waited for, about every 100 ms; false ends the call (shutdown). */
struct sftp_wait {
    bool (*go_on)(void *arg); /* NULL: always */
    void *arg;
};

/* uri: sftp://[USER@]HOST[:PORT][/...]. limits and remote (NULL: none) are borrowed only by the call. Errors: uri, host-key,
 * fetch-denied, fetch (no connection), timeout, shutdown, config (a secret). */
int sftp_open(struct sftp **out, const char *uri, const struct remote *remote, const struct limits *limits, const struct sftp_wait *wait,
              struct err *err);
void sftp_close(struct sftp *s); /* NULL is fine; waits for nobody */
/* After an error of the connection itself nothing more can be asked. */
bool sftp_is_broken(const struct sftp *s);
void sftp_wait_by(struct sftp *s, const struct sftp_wait *wait); /* of the calls that follow; {0}: nobody is asked */

/* Each name of the folder but . and .. (bytes without a zero byte), in no order; its attributes are of itself, not of what a link
 * leads to. name: 0 go on, 1 enough, -1 *err. 0, 1 where name gave it, -1: fetch-missing, fetch-denied, .... */
int sftp_list(struct sftp *s, struct str folder, int (*name)(void *arg, struct str name, const struct sftp_entry *e, struct err *err),
              void *arg, struct err *err);
/* 1; 0 there is nothing of that name; -1. */
int sftp_look(struct sftp *s, struct str path, struct sftp_entry *out, struct err *err);
int sftp_remove(struct sftp *s, struct str path, struct err *err);                 /* 1; 0 it was not there; -1 */
int sftp_rename(struct sftp *s, struct str from, struct str to, struct err *err);  /* fails where `to` is there, by protocol 3 */
int sftp_make_folder(struct sftp *s, struct str path, struct err *err);            /* 0 also where it is there */

#endif
