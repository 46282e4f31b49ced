/* The error value and the one table of codes: name, class, hint, exit status. No memory is needed. */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct err_def {
    const char *name;
    enum err_class class;
    int exit_status;
    const char *hint;
} err_defs[ERR_CODES] = {
    [ERR_NONE] = { "none", ERR_TRANSIENT, 0, "" },
    [ERR_IO] = { "io", ERR_TRANSIENT, 1, "look at the disk and the kernel log" },
    [ERR_DISK_FULL] = { "disk-full", ERR_TRANSIENT, 4, "free space under the spool and the database" },
    [ERR_NO_MEMORY] = { "no-memory", ERR_TRANSIENT, 1, "free memory, or lower [worker] slots" },
    [ERR_INTERNAL] = { "internal", ERR_PERMANENT, 1, "this is a fault in qetl: please report it with this line" },
    [ERR_USAGE] = { "usage", ERR_PERMANENT, 2, "" },
    [ERR_CONFIG] = { "config", ERR_PERMANENT, 3, "mend the ini and run qetlctl check" },
    [ERR_NOT_FOUND] = { "not-found", ERR_PERMANENT, 5, "" },
    [ERR_STATE] = { "state", ERR_PERMANENT, 1, "" },
    [ERR_DATABASE] = { "database", ERR_TRANSIENT, 4, "run qetlctl doctor" },
    [ERR_DATABASE_NEWER] = { "database-newer", ERR_PERMANENT, 4, "use the qetl version that wrote it, or a newer one" },
    [ERR_NETWORK_FS] = { "network-fs", ERR_PERMANENT, 4, "put [qetl] database on a local disk" },
    [ERR_SPOOL] = { "spool", ERR_TRANSIENT, 4, "check owner and mode of [qetl] spool" },
    [ERR_LEASE_LOST] = { "lease-lost", ERR_TRANSIENT, 1, "raise [worker] lease if jobs are healthy but slow" },
    [ERR_CANCELLED] = { "cancelled", ERR_PERMANENT, 1, "" },
    [ERR_SHUTDOWN] = { "shutdown", ERR_TRANSIENT, 1, "the job was handed back; another worker takes it" },
    [ERR_FETCH] = { "fetch", ERR_TRANSIENT, 1, "check the network and the server" },
    [ERR_FETCH_BUSY] = { "fetch-busy", ERR_TRANSIENT, 1, "the server asked for a pause; lower rate in the [remote] section" },
    [ERR_FETCH_DENIED] = { "fetch-denied", ERR_PERMANENT, 1, "check user, password or header of the [remote] section" },
    [ERR_FETCH_MISSING] = { "fetch-missing", ERR_PERMANENT, 1, "check the URI; then qetlctl retry" },
    [ERR_FETCH_REFUSED] = { "fetch-refused", ERR_PERMANENT, 1, "the server will not serve this; check the URI" },
    [ERR_TLS] = { "tls", ERR_PERMANENT, 1, "check the server's certificate, or set ca_file in the [remote] section" },
    [ERR_HOST_KEY] = { "host-key", ERR_PERMANENT, 1, "set known_hosts or host_key_sha256 in the [remote] section" },
    [ERR_TIMEOUT] = { "timeout", ERR_TRANSIENT, 1, "the server was too slow; raise [limits] stall_timeout if that is normal" },
    [ERR_CHANGED] = { "changed", ERR_TRANSIENT, 1, "the object changed while it was fetched; it is fetched again from the start" },
    [ERR_URI] = { "uri", ERR_PERMANENT, 2, "give http://, https://, ftp://, ftps://, sftp://, file:// or a path" },
    [ERR_NOT_A_FILE] = { "not-a-file", ERR_PERMANENT, 1, "name a regular file" },
    [ERR_ARCHIVE] = { "archive", ERR_PERMANENT, 1, "the file is damaged or of an unknown kind; get it again from its source" },
    [ERR_TRUNCATED] = { "truncated", ERR_PERMANENT, 1, "the file ends too early; get it again from its source" },
    [ERR_LIMIT] = { "limit", ERR_PERMANENT, 1, "if the file is trustworthy, raise the limit named here in [limits]" },
    [ERR_NO_MEMBER] = { "no-member", ERR_PERMANENT, 1, "check member= of the pipeline against the archive" },
    [ERR_EMPTY] = { "empty", ERR_PERMANENT, 1, "set empty = ok if an empty file is normal" },
    [ERR_HEADER] = { "header", ERR_PERMANENT, 1, "check columns=, header= and delimiter= of the pipeline against the file" },
    [ERR_ENCODING] = { "encoding", ERR_PERMANENT, 1, "set encoding= of the pipeline" },
    [ERR_FORMAT] = { "format", ERR_PERMANENT, 1, "check format= of the pipeline against the file" },
    [ERR_REJECTS] = { "rejects", ERR_PERMANENT, 1, "mend the file or columns=, or raise max_rejects= of the pipeline; qetlctl rejects JOB shows the rows" },
    [ERR_COUNTS] = { "counts", ERR_PERMANENT, 1, "this is a fault in qetl: please report it with this line" },
    [ERR_INFER] = { "infer", ERR_PERMANENT, 1, "give columns= in the pipeline" },
    [ERR_READER_CRASHED] = { "reader-crashed", ERR_POISON, 1, "the file took the reader down: please report it" },
    [ERR_READER_MEMORY] = { "reader-memory", ERR_PERMANENT, 1, "raise [limits] memory, or repack the file with a smaller dictionary" },
    [ERR_CRASHED] = { "crashed", ERR_POISON, 1, "a worker or loader died with this job; see the journal of it" },
    [ERR_TARGET] = { "target", ERR_TRANSIENT, 1, "check that the target can be reached and written" },
    [ERR_TARGET_REFUSED] = { "target-refused", ERR_PERMANENT, 1, "mend the table or the data, then qetlctl retry" },
    [ERR_OVERTAKEN] = { "overtaken", ERR_PERMANENT, 1, "submit it again to load it as the newest" },
    [ERR_STAGED_DAMAGED] = { "staged-damaged", ERR_PERMANENT, 1, "the staged file is gone or changed; qetlctl retry stages it again" },
};

static void err_fill(struct err *err, enum err_code code, int sys, const char *fmt, va_list ap)
{
    err->code = code;
    err->sys = sys;
    err->retry_after_ms = 0;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_fill(err, code, 0, fmt, ap);
    va_end(ap);
    return -1;
}

int err_sys(struct err *err, const char *fmt, ...)
{
    int sys = errno;
    enum err_code code = sys == ENOSPC || sys == EDQUOT ? ERR_DISK_FULL
                         : sys == ENOMEM               ? ERR_NO_MEMORY
                                                       : ERR_IO;
    va_list ap;
    va_start(ap, fmt);
    err_fill(err, code, sys, fmt, ap);
    va_end(ap);
    size_t n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", strerror(sys));
    return -1;
}

int err_in(struct err *err, const char *fmt, ...)
{
    char rest[sizeof err->msg];
    memcpy(rest, err->msg, sizeof rest);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", rest);
    return -1;
}

int err_nomem(struct err *err) { return err_set(err, ERR_NO_MEMORY, "out of memory"); }

static const struct err_def *err_def(enum err_code code)
{
    assert(code >= 0 && code < ERR_CODES && err_defs[code].name);
    return &err_defs[code];
}

const char *err_name(enum err_code code) { return err_def(code)->name; }
const char *err_hint(enum err_code code) { return err_def(code)->hint; }
enum err_class err_class(enum err_code code) { return err_def(code)->class; }
int err_exit_status(enum err_code code) { return err_def(code)->exit_status; }

const char *err_class_name(enum err_class class)
{
    static const char *const names[] = { "transient", "permanent", "poison" };
    return names[class];
}

enum err_code err_by_name(const char *name)
{
    for (int i = 0; i < ERR_CODES; i++)
        if (!strcmp(err_defs[i].name, name))
            return (enum err_code)i;
    return ERR_NONE;
}
