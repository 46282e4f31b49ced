/*
 * Errors as values: what failed, where, why and what to do.
 *
 * A function that can fail returns 0, or -1 with *err filled; one that looks for something returns
 * 1 found, 0 none, -1 error. Filling an error needs no memory and cannot fail. Whether a job is tried
 * again is decided by the class of the code, in one table (err.c), never by a caller.
 */
#ifndef QETL_BASE_ERR_H
#define QETL_BASE_ERR_H

#include <stdarg.h>

enum err_class {
    ERR_TRANSIENT, /* the same again may work: the job is tried again after a back-off */
    ERR_PERMANENT, /* the same again will fail: the job is dead until a person acts */
    ERR_POISON,    /* the job took its worker down */
};

enum err_code {
    ERR_NONE,
    /* the machine */
    ERR_IO,
    ERR_DISK_FULL,
    ERR_NO_MEMORY,
    ERR_INTERNAL,
    /* wrong calls and settings */
    ERR_USAGE,
    ERR_CONFIG,
    ERR_CONFIG_MISSING,
    ERR_NOT_FOUND,
    ERR_STATE,
    /* queue.db and spool */
    ERR_DATABASE,
    ERR_DATABASE_MISSING,
    ERR_DATABASE_NEWER,
    ERR_NETWORK_FS,
    ERR_SPOOL,
    ERR_LEASE_LOST,
    ERR_CANCELLED,
    ERR_SHUTDOWN,
    /* fetch */
    ERR_FETCH,
    ERR_FETCH_BUSY,
    ERR_FETCH_DENIED,
    ERR_FETCH_MISSING,
    ERR_FETCH_REFUSED,
    ERR_TLS,
    ERR_HOST_KEY,
    ERR_TIMEOUT,
    ERR_CHANGED,
    ERR_URI,
    ERR_NOT_A_FILE,
    /* unpack */
    ERR_ARCHIVE,
    ERR_TRUNCATED,
    ERR_LIMIT,
    ERR_NO_MEMBER,
    /* read */
    ERR_EMPTY,
    ERR_HEADER,
    ERR_DRIFT,
    ERR_ENCODING,
    ERR_FORMAT,
    ERR_REJECTS,
    ERR_COUNTS,
    ERR_INFER,
    ERR_SQL,
    ERR_LOOKUP,
    /* programs of the ini */
    ERR_PROGRAM,
    ERR_PROGRAM_AGAIN,
    ERR_PROGRAM_CUT,
    ERR_PROGRAM_START,
    ERR_PROGRAM_TIMEOUT,
    /* enrichment */
    ERR_ENRICH,
    ERR_ENRICH_BUSY,
    ERR_ENRICH_DOWN,
    ERR_ENRICH_QUOTA,
    ERR_ENRICH_REFUSED,
    ERR_ENRICH_ANSWER,
    ERR_ENRICH_MISS,
    /* the reader child */
    ERR_READER_CRASHED,
    ERR_READER_MEMORY,
    ERR_CRASHED,
    /* target */
    ERR_TARGET,
    ERR_TARGET_LOGIN,
    ERR_TARGET_DATABASE,
    ERR_TARGET_TLS,
    ERR_TARGET_LOCKED,
    ERR_TARGET_REFUSED,
    ERR_TARGET_DENIED,
    ERR_AFTER_LOAD,
    ERR_OVERTAKEN,
    ERR_UNDONE,
    ERR_STAGED_DAMAGED,
    ERR_CODES
};

struct err {
    enum err_code code;
    int sys;                /* errno or library code behind it, or 0 */
    long long retry_after_ms; /* the other side asked for this pause, or 0 */
    char msg[480];          /* no newline at the end; cut, never overrun */
};

/* Fill *err; gives -1, so that a caller can write `return err_set(...)`. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int err_vset(struct err *err, enum err_code code, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* The same for a message with what others said in it: control characters become blanks, and `where` stands before. */
int err_vset_foreign(struct err *err, enum err_code code, const char *where, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

/* The same from errno: ENOSPC and EDQUOT give disk-full, ENOMEM no-memory, all others io. Gives -1. */
int err_sys(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "where: " in front of the message on the way up. Keeps code and sys. Gives -1. */
int err_in(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Out of memory. Gives -1. */
int err_nomem(struct err *err);

const char *err_name(enum err_code code);      /* "disk-full"; never NULL */
const char *err_meaning(enum err_code code);   /* what happened, in a few words; never "" */
const char *err_hint(enum err_code code);      /* what to do; "" where there is nothing to say */
const char *err_hint_without_job(enum err_code code); /* the same where no job is at hand that one could look at or retry */
enum err_class err_class(enum err_code code);
const char *err_class_name(enum err_class class); /* "transient", "permanent", "poison" */
int err_exit_status(enum err_code code);       /* DESIGN.md 5.1: 1 work failed, 2 usage, 3 config, 4 database, 5 not found */
enum err_code err_by_name(const char *name);   /* ERR_NONE where there is no such name */

#endif
