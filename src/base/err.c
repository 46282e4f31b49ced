/* The error value and the one table of codes: name, class, exit status, meaning, hint. No memory is needed. */
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
    const char *meaning, *hint;
} err_defs[ERR_CODES] = {
    [ERR_NONE] = { "none", ERR_TRANSIENT, 0,
        "no error",
        "" },
    [ERR_IO] = { "io", ERR_TRANSIENT, 1,
        "reading or writing a local file failed",
        "look at the disk and the kernel log" },
    [ERR_DISK_FULL] = { "disk-full", ERR_TRANSIENT, 4,
        "the disk or the quota has no room left",
        "where a key of [limits] is named, let the jobs be done that hold the room, or change it; else free space on the file system that the message names: of the spool, the database or the target" },
    [ERR_NO_MEMORY] = { "no-memory", ERR_TRANSIENT, 1,
        "the machine gave no more memory",
        "free memory, or lower [worker] slots" },
    [ERR_INTERNAL] = { "internal", ERR_PERMANENT, 1,
        "qetl met a state that must not be",
        "this is a fault in qetl: please report it with this line" },
    [ERR_USAGE] = { "usage", ERR_PERMANENT, 2,
        "the command line or the submitted message is wrong",
        "" },
    [ERR_CONFIG] = { "config", ERR_PERMANENT, 3,
        "the ini has a fault, or lacks what the job needs",
        "mend the ini and run qetlctl check" },
    [ERR_CONFIG_MISSING] = { "config-missing", ERR_PERMANENT, 3,
        "there is no ini at that place",
        "name yours with -c FILE or QETL_CONFIG" },
    [ERR_NOT_FOUND] = { "not-found", ERR_PERMANENT, 5,
        "there is no job or pipeline of that name",
        "" },
    [ERR_STATE] = { "state", ERR_PERMANENT, 1,
        "the job's state does not allow this",
        "" },
    [ERR_DATABASE] = { "database", ERR_TRANSIENT, 4,
        "queue.db could not be read or written",
        "check owner, mode and disk of [qetl] database; qetlctl doctor looks closer" },
    [ERR_DATABASE_MISSING] = { "database-missing", ERR_PERMANENT, 4,
        "there is no queue.db yet",
        "" },
    [ERR_DATABASE_NEWER] = { "database-newer", ERR_PERMANENT, 4,
        "queue.db was written by a newer qetl, or by another build",
        "use the qetl that wrote it, that build or a newer version; or move the file away, and qetlctl init makes a new one" },
    [ERR_NETWORK_FS] = { "network-fs", ERR_PERMANENT, 4,
        "queue.db lies on a network file system, where SQLite's locks are not safe",
        "put [qetl] database on a local disk" },
    [ERR_SPOOL] = { "spool", ERR_TRANSIENT, 4,
        "the spool folder cannot be used",
        "check owner and mode of [qetl] spool" },
    [ERR_LEASE_LOST] = { "lease-lost", ERR_TRANSIENT, 1,
        "the worker was not heard of for longer than its lease, so the job is another's",
        "raise [worker] lease if jobs are healthy but slow" },
    [ERR_CANCELLED] = { "cancelled", ERR_PERMANENT, 1,
        "somebody cancelled the job",
        "" },
    [ERR_SHUTDOWN] = { "shutdown", ERR_TRANSIENT, 1,
        "the worker was stopped before the job was done",
        "the job was handed back; another worker takes it" },
    [ERR_FETCH] = { "fetch", ERR_TRANSIENT, 1,
        "the transfer failed on its way",
        "check the network and the server" },
    [ERR_FETCH_BUSY] = { "fetch-busy", ERR_TRANSIENT, 1,
        "the server answered that it has too much to do; its Retry-After is kept",
        "the server asked for a pause, or a limit of its [remote] section holds; it goes on by itself" },
    [ERR_FETCH_DENIED] = { "fetch-denied", ERR_PERMANENT, 1,
        "the server or the file system did not let us in",
        "check user, password or header of the [remote] section; of a local file, its owner and mode" },
    [ERR_FETCH_MISSING] = { "fetch-missing", ERR_PERMANENT, 1,
        "there is no such object",
        "check the URI; a job that died of it can be tried again by qetlctl retry" },
    [ERR_FETCH_REFUSED] = { "fetch-refused", ERR_PERMANENT, 1,
        "the server refused the request itself",
        "the server will not serve this; check the URI" },
    [ERR_TLS] = { "tls", ERR_PERMANENT, 1,
        "the server's certificate was not accepted, or TLS failed",
        "check the server's certificate, or set ca_file in the [remote] section" },
    [ERR_HOST_KEY] = { "host-key", ERR_PERMANENT, 1,
        "the SFTP server's host key is not known, or has changed",
        "set known_hosts or host_key_sha256 in the [remote] section" },
    [ERR_TIMEOUT] = { "timeout", ERR_TRANSIENT, 1,
        "nothing came from the other side for too long",
        "the server, or the mount that the message names, was too slow, or is away; raise [limits] stall_timeout if that is normal" },
    [ERR_CHANGED] = { "changed", ERR_TRANSIENT, 1,
        "the object became another one while it was read, or is not the one that was listed",
        "it is fetched again from the start; what a scan listed, when a listing shows it settled; of a scan with on_change = fail: qetlctl scan PIPELINE --reload URI loads it, --accept URI takes it as known" },
    [ERR_URI] = { "uri", ERR_PERMANENT, 2,
        "the URI has no form that qetl knows",
        "give http://, https://, ftp://, ftps://, sftp://, s3://, file:// or a path" },
    [ERR_NOT_A_FILE] = { "not-a-file", ERR_PERMANENT, 1,
        "the path names a folder, a device or a FIFO",
        "name a regular file; those of a folder are found by a glob in source= of the pipeline (/data/*.csv), again and again with every=" },
    [ERR_ARCHIVE] = { "archive", ERR_PERMANENT, 1,
        "the archive cannot be unpacked",
        "the file is damaged or of an unknown kind; get it again from its source" },
    [ERR_TRUNCATED] = { "truncated", ERR_PERMANENT, 1,
        "the object ends before its content does",
        "the file ends too early; get it again from its source" },
    [ERR_LIMIT] = { "limit", ERR_PERMANENT, 1,
        "the object passes one of [limits]",
        "if the file is trustworthy, raise the limit that is named here, in the ini" },
    [ERR_NO_MEMBER] = { "no-member", ERR_PERMANENT, 1,
        "the archive has no member that the pipeline wants",
        "check member= of the pipeline against the archive" },
    [ERR_EMPTY] = { "empty", ERR_PERMANENT, 1,
        "the job has no rows, or none for a table that it replaces as a whole",
        "set empty = ok if that is normal" },
    [ERR_HEADER] = { "header", ERR_PERMANENT, 1,
        "the header lacks a wanted column, or has it twice",
        "check columns=, header= and delimiter= of the pipeline against the file" },
    [ERR_DRIFT] = { "drift", ERR_PERMANENT, 1,
        "the data has a column that the pipeline has not, and on_new_column = fail; or it cannot be added",
        "give it in columns= of the pipeline, or set on_new_column = ignore or add; then qetlctl retry" },
    [ERR_ENCODING] = { "encoding", ERR_PERMANENT, 1,
        "the member is not in the encoding that was said",
        "set encoding= of the pipeline" },
    [ERR_FORMAT] = { "format", ERR_PERMANENT, 1,
        "the member is not of the format that was said, or of none that is known",
        "check format= of the pipeline against the file" },
    [ERR_REJECTS] = { "rejects", ERR_PERMANENT, 1,
        "more rows were refused than max_rejects allows; nothing was loaded",
        "mend the file or columns=, or raise max_rejects= of the pipeline; qetlctl rejects JOB shows the rows" },
    [ERR_COUNTS] = { "counts", ERR_PERMANENT, 1,
        "rows read are not rows staged and rejected; nothing was loaded",
        "this is a fault in qetl: please report it with this line" },
    [ERR_INFER] = { "infer", ERR_PERMANENT, 1,
        "columns could not be found out from the data",
        "give columns= in the pipeline" },
    [ERR_SQL] = { "sql", ERR_PERMANENT, 1,
        "SQL of the pipeline (where, compute, transform) is wrong, or failed on a row",
        "mend where=, compute= or transform= of the pipeline, or the row of the data that is named; then qetlctl retry" },
    [ERR_LOOKUP] = { "lookup", ERR_PERMANENT, 1,
        "the file of a [lookup] has a row that does not fit its columns or a key twice, or is empty",
        "mend that file, or columns= and key= of the [lookup]; then qetlctl retry" },
    [ERR_PROGRAM] = { "program", ERR_PERMANENT, 1,
        "a program of the pipeline failed, and said so",
        "qetlctl show JOB has what it wrote to standard error; mend it, then qetlctl retry. Status 75 asks to be tried again" },
    [ERR_PROGRAM_AGAIN] = { "program-again", ERR_TRANSIENT, 1,
        "a program of the pipeline asked to be tried again (status 75), or was ended by a signal",
        "qetlctl show JOB has what it wrote to standard error" },
    [ERR_PROGRAM_CUT] = { "program-cut", ERR_PERMANENT, 1,
        "the CSV of a program of the pipeline does not end with a line end: its last row may be cut",
        "let the program end its last line with a newline, too (one that never does: sh -c 'PROGRAM && echo'), then qetlctl retry" },
    [ERR_PROGRAM_START] = { "program-start", ERR_PERMANENT, 1,
        "a program of the pipeline could not be started",
        "check command= or filter=: a path is taken from the folder of the ini, a name without a slash from PATH" },
    [ERR_PROGRAM_TIMEOUT] = { "program-timeout", ERR_TRANSIENT, 1,
        "a program of the pipeline took too long and was killed",
        "raise command_timeout= of the pipeline if that is normal" },
    [ERR_ENRICH] = { "enrich", ERR_TRANSIENT, 1,
        "the server of an [enrich] could not be asked, or failed",
        "check the network and that server; timeout=, retries= and on_error= of the [enrich] say what is done about it" },
    [ERR_ENRICH_BUSY] = { "enrich-busy", ERR_TRANSIENT, 1,
        "the server of an [enrich] is busy (429 or 503) and is left alone for as long as it asks for, or longer each time; all jobs that ask it wait, which counts as no attempt",
        "set interval= or quota= of the [enrich] to what the server allows; qetlctl status says until when it is left alone, and qetlctl resume --enrich NAME ends that" },
    [ERR_ENRICH_DOWN] = { "enrich-down", ERR_TRANSIENT, 1,
        "the server of an [enrich] failed too often in a row and is left alone for a while; all jobs that ask it wait, which counts as no attempt",
        "check the network and that server; one request is sent now and then, or at once by qetlctl resume --enrich NAME, and when it is answered all go on" },
    [ERR_ENRICH_QUOTA] = { "enrich-quota", ERR_TRANSIENT, 1,
        "the quota of an [enrich] is used up, or its interval lets no request start soon; the job waits, which counts as no attempt",
        "what was answered is in the cache; raise quota= or shorten interval= of the [enrich] if the server allows more" },
    [ERR_ENRICH_REFUSED] = { "enrich-refused", ERR_PERMANENT, 1,
        "the server of an [enrich] refused the request itself",
        "check url=, body=, header= and the secrets of the [enrich] section" },
    [ERR_ENRICH_ANSWER] = { "enrich-answer", ERR_TRANSIENT, 1,
        "an answer to an [enrich] is not what its columns= say",
        "look at the answer by curl, and check columns= of the [enrich]; on_error= says what becomes of such a row" },
    [ERR_ENRICH_MISS] = { "enrich-miss", ERR_PERMANENT, 1,
        "the server of an [enrich] has no answer for a row, and on_miss = fail",
        "set on_miss = null or reject if that is normal" },
    [ERR_READER_CRASHED] = { "reader-crashed", ERR_POISON, 1,
        "the reader process died while it read this object",
        "the file took the reader down: please report it" },
    [ERR_READER_MEMORY] = { "reader-memory", ERR_PERMANENT, 1,
        "the object needs more memory than the reader may take",
        "raise [limits] memory, or repack the file with a smaller dictionary" },
    [ERR_CRASHED] = { "crashed", ERR_POISON, 1,
        "a worker or loader process died while it had this job",
        "the log of that process, or the kernel's (out of memory), tells why; too short a [worker] lease can look like it too" },
    [ERR_TARGET] = { "target", ERR_TRANSIENT, 1,
        "the target could not be reached or written",
        "check that the target can be reached and written" },
    [ERR_TARGET_LOGIN] = { "target-login", ERR_TRANSIENT, 1,
        "the server of the target did not let us in",
        "check user and password (of a store access_key, secret_key and region) of the [remote] whose url begins that of the target (a user in the target's url counts more), and whom the server lets in from here" },
    [ERR_TARGET_DATABASE] = { "target-database", ERR_TRANSIENT, 1,
        "the server of the target has no database of that name",
        "make the database, or mend its name in the target's url" },
    [ERR_TARGET_TLS] = { "target-tls", ERR_TRANSIENT, 1,
        "the certificate of the target's server was not accepted, or TLS failed",
        "set ca_file of the [remote] whose url begins that of the target to the authority of the server's certificate, and name the host in the url as the certificate does" },
    [ERR_TARGET_LOCKED] = { "target-locked", ERR_TRANSIENT, 1,
        "somebody has held a lock on the job's table for longer than the loader waits",
        "end that session of the target; the job is tried again by itself" },
    [ERR_TARGET_REFUSED] = { "target-refused", ERR_PERMANENT, 1,
        "the target did not take the table or the rows",
        "mend the table or the data, then qetlctl retry" },
    [ERR_TARGET_DENIED] = { "target-denied", ERR_PERMANENT, 1,
        "the user of the target has no right to what the job does with its tables",
        "GRANT it, then qetlctl retry; the target's page under doc/ lists what is needed" },
    [ERR_AFTER_LOAD] = { "after-load", ERR_PERMANENT, 1,
        "the SQL of after_load is wrong, or the target refused what it does",
        "mend after_load= of the pipeline, or the tables that it works on, then qetlctl retry" },
    [ERR_OVERTAKEN] = { "overtaken", ERR_PERMANENT, 1,
        "a newer job has been loaded into the same table",
        "submit it again to load it as the newest" },
    [ERR_UNDONE] = { "undone", ERR_PERMANENT, 1,
        "the job was loaded before, and undone by a person",
        "submit it again to load it anew" },
    [ERR_STAGED_DAMAGED] = { "staged-damaged", ERR_PERMANENT, 1,
        "the staged rows are not what was written",
        "the staged file is gone or changed; qetlctl retry stages it again" },
};

/* Hints where no job is at hand, if they are others. */
static const char *const hints_without_job[ERR_CODES] = {
    [ERR_SHUTDOWN] = "",
    [ERR_FETCH_MISSING] = "check the URI",
    [ERR_DRIFT] = "give it in columns= of the pipeline, or set on_new_column = ignore or add",
    [ERR_REJECTS] = "mend the file or columns=, or raise max_rejects= of the pipeline",
    [ERR_SQL] = "mend where=, compute= or transform= of the pipeline, or the row of the data that is named",
    [ERR_LOOKUP] = "mend that file, or columns= and key= of the [lookup]",
    [ERR_PROGRAM] = "mend it; what it wrote to standard error says more. Status 75 asks to be tried again",
    [ERR_PROGRAM_AGAIN] = "what it wrote to standard error says more",
    [ERR_PROGRAM_CUT] = "let the program end its last line with a newline, too (one that never does: sh -c 'PROGRAM && echo')",
    [ERR_TARGET_REFUSED] = "mend the table or the data",
    [ERR_TARGET_DENIED] = "GRANT it; the target's page under doc/ lists what is needed",
    [ERR_AFTER_LOAD] = "mend after_load= of the pipeline, or the tables that it works on",
    [ERR_STAGED_DAMAGED] = "",
};

static void err_fill(struct err *err, enum err_code code, int sys, const char *fmt, va_list ap)
{
    err->code = code;
    err->sys = sys;
    err->retry_after_ms = 0;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
}

int err_vset(struct err *err, enum err_code code, const char *fmt, va_list ap)
{
    err_fill(err, code, 0, fmt, ap);
    return -1;
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_fill(err, code, 0, fmt, ap);
    va_end(ap);
    return -1;
}

int err_vset_foreign(struct err *err, enum err_code code, const char *where, const char *fmt, va_list ap)
{
    err_fill(err, code, 0, fmt, ap);
    for (char *p = err->msg; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    return err_in(err, "%s", where);
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
const char *err_meaning(enum err_code code) { return err_def(code)->meaning; }
const char *err_hint(enum err_code code) { return err_def(code)->hint; }

const char *err_hint_without_job(enum err_code code)
{
    const struct err_def *def = err_def(code);
    return hints_without_job[code] ? hints_without_job[code] : def->hint;
}

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
