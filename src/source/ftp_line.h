/*
 * One line of a folder's listing by FTP, as an entry. Nothing of it is believed: a line that is none of a listing is an error,
 * and so is a name that would lead out of the folder.
 *
 * MLSD is a format (RFC 3659, 7) with times in UTC. LIST is whatever `ls -l` prints there: its times are taken as UTC, for no
 * server says its zone (vsftpd and pure-ftpd print UTC unless they are told not to), have no seconds, and for old files no
 * hour either; without a year it is the newest such day that has come. Known are the forms of Unix (also without a group,
 * with day before month, and with dates such as 2026-11-21) and of MS-DOS (IIS).
 */
#ifndef QETL_SOURCE_FTP_LINE_H
#define QETL_SOURCE_FTP_LINE_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum ftp_kind { FTP_FILE, FTP_FOLDER, FTP_OTHER }; /* other: a link, a device; what a link leads to is not of its name */
struct ftp_entry {
    enum ftp_kind kind;
    struct str name; /* bytes of the line; no slash, no zero byte, neither empty nor . or .. */
    int64_t size;    /* -1: it does not say */
    int64_t mtime_ms; /* 0: it does not say */
    int64_t step_ms; /* the time is cut to so much: a minute, a day; 1000 */
};

/* line: without its end. 1 an entry; 0 nothing of interest (the folder itself, "total 12"); -1: fetch-refused. */
int ftp_mlsd_line(struct str line, struct ftp_entry *out, struct err *err);
int ftp_list_line(struct str line, int64_t now_ms, struct ftp_entry *out, struct err *err);

#endif
