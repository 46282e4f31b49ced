/* Objects into the reader child. See feed.h. */
#include "role/feed.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"
#include "io/sha256.h"
#include "read/unpack.h"
#include "role/filters.h"
#include "source/source.h"

enum {
    HEAD_BYTES = 512,                /* enough to know a format that must seek */
    MEMORY_OBJECT = 8 * 1024 * 1024, /* seekable objects up to this size stay in memory, */
    MEMORY_AHEAD = 32 * 1024 * 1024, /* while no more than this waits for the reader in all */
    POLL_MS = 100,
    PROGRAM_CHUNK = 128 * 1024,
    SUM_TICK = 4 << 20, /* bytes between two looks at the owner's duties */
};

/* How the object in hand travels to the reader. */
enum transport { NOT_YET, STREAM, IN_MEMORY, IN_SPOOL };

/* A run, and the object in hand. */
struct hand {
    char shown[2048]; /* the URI without secrets: for all that is kept or shown, and for the reader */
    struct feed *f;
    struct reader_child *reader;
    bool infer, has_result;
    const char *uri;
    int number;
    bool mounted; /* it comes by f->mounted */
    enum transport transport;
    struct fetch_head head;
    char first[HEAD_BYTES];
    size_t nfirst;
    int fd; /* IN_MEMORY or IN_SPOOL */
    int64_t written;
    const struct feed_listed *listed; /* of the object in hand; NULL: nobody listed it */
    int nlisted;                      /* those before it were looked up */
    struct sha256 *checks[VERSION_SUMS]; /* for what was listed with a checksum; made when one is wanted */
    struct sha256 *sum; /* of the object in hand; NULL: not wanted */
    struct filters filters;
};

static void sha256_freep(struct sha256 **s) { sha256_free(*s); }

void feed_object_clear(struct job_object *o)
{
    free((char *)o->uri);
    free((char *)o->etag);
    free((char *)o->modified);
}

static void objects_clear(struct feed *f)
{
    for (int i = 0; i < f->nobjects; i++)
        feed_object_clear(&f->objects[i]);
    free(f->objects);
    f->objects = NULL;
    f->nobjects = 0;
}

void feed_clear(struct feed *f)
{
    objects_clear(f);
    free_charp(&f->changed);
    f->changed = NULL;
    reader_result_clear(&f->result);
    free_charp(&f->talk);
    free_charp(&f->said);
    f->talk = f->said = NULL;
}

/* Which object it was. Without memory for that the job is tried again as after any passing fault. */
static void note_changed(struct feed *f, const char *uri, const struct err *err)
{
    free(f->changed);
    f->changed = err->code == ERR_CHANGED ? strdup(uri) : NULL;
}

/* Look after the owner's duties, then after the reader. */
static int hand_tick(struct hand *k, struct err *err)
{
    if (k->f->tick(k->f->arg, err) < 0)
        return -1;
    if (k->has_result)
        return 0;
    int rc = reader_tick(k->reader, &k->f->result, err);
    k->has_result = rc == 1;
    return rc < 0 || (rc == 0 && filters_look(&k->filters, err) < 0) ? -1 : 0;
}

/* The result came while the object was still being fed: only a failure does that, or an inference that has seen enough. */
static int result_early(const struct hand *k, struct err *err)
{
    if (k->f->result.rc < 0)
        *err = k->f->result.err;
    else
        err_set(err, ERR_CANCELLED, "the reader needs no more bytes");
    return -1;
}

static int archive_tick(void *arg, struct err *err)
{
    return hand_tick(arg, err);
}

static int sink_tick(void *arg, struct err *err)
{
    struct hand *k = arg;
    if (hand_tick(k, err) < 0)
        return -1;
    return k->has_result ? result_early(k, err) : 0;
}

/* ---- is it the object that was listed? ---- */

/* k->listed of the next object. */
static void look_up_listed(struct hand *k)
{
    const struct feed *f = k->f;
    int at = k->nlisted;
    while (at < f->nlisted && f->listed[at].uri != k->uri)
        at++;
    k->listed = at < f->nlisted ? &f->listed[at] : NULL;
    if (k->listed)
        k->nlisted = at + 1;
}

static int check_listed(const struct hand *k, int64_t size, const char *etag, int64_t mtime_ms, struct err *err)
{
    const struct list_version now = { size, mtime_ms, etag };
    return k->listed ? version_check(&k->listed->version, &now, err) : 0;
}

/* What sums the object up for its checksum; NULL: it has none, or `sum` does that, too, or it is not to be had (-1 in *rc). */
static struct sha256 *check_of(struct hand *k, int *rc, struct err *err)
{
    *rc = 0;
    if (!k->listed || !k->listed->sum.n || k->infer || (k->sum && k->listed->sum_kind == VERSION_SHA256))
        return NULL;
    struct sha256 **check = &k->checks[k->listed->sum_kind];
    if (!*check && !(*check = k->listed->sum_kind == VERSION_MD5 ? sha256_new_md5(err) : sha256_new(err)))
        *rc = -1;
    return *check;
}

static int add_sums(struct hand *k, struct str bytes, struct err *err)
{
    int rc;
    struct sha256 *check = check_of(k, &rc, err);
    if (rc < 0 || (check && sha256_add(check, bytes, err) < 0))
        return -1;
    return k->sum ? sha256_add(k->sum, bytes, err) : 0;
}

static int check_sum(const struct hand *k, const char *hex, struct err *err)
{
    const struct feed_listed *l = k->listed;
    if (!l || !l->sum.n || k->infer || str_eq(l->sum, str_of(hex)))
        return 0;
    return err_set(err, ERR_CHANGED, "the object is not the one that was listed: its %s was to be %.*s, and is %s", version_sum_names[l->sum_kind],
                   (int)l->sum.n, l->sum.p, hex);
}

static int check_head(const struct hand *k, const struct fetch_head *head, struct err *err)
{
    int64_t mtime_ms = *head->modified ? text_shown_ms(str_of(head->modified)) : 0;
    return check_listed(k, head->size, head->etag, mtime_ms > 0 ? mtime_ms : 0, err);
}

/* For the queue: what was read, without what must not be seen. */
static int object_note(struct hand *k, int64_t size, const char *etag, const char *modified, struct err *err)
{
    struct job_object *o = &k->f->objects[k->f->nobjects++];
    k->f->spooled_bytes += k->transport == IN_SPOOL ? size : 0;
    *o = (struct job_object){ .uri = strdup(k->shown),
                              .size = size,
                              .etag = *etag ? strdup(etag) : NULL,
                              .modified = *modified ? strdup(modified) : NULL };
    return o->uri && (o->etag || !*etag) && (o->modified || !*modified) ? 0 : err_nomem(err);
}

static int sink_head(void *arg, const struct fetch_head *head, struct err *err)
{
    struct hand *k = arg;
    if (check_head(k, head, err) < 0)
        return -1;
    k->head = *head;
    if (k->transport != IN_SPOOL && k->mounted) /* before its bytes, so that it is looked at again when they are wrong */
        return object_note(k, head->size, "", head->modified, err);
    if (k->transport != IN_SPOOL)
        return 0; /* decided by the first bytes */
    if (ftruncate(k->fd, head->offset) < 0) /* of another version, perhaps */
        return err_sys(err, "empty the object in the spool");
    struct spool_object o = { .fd = k->fd, .have = head->offset, .size = head->size };
    snprintf(o.etag, sizeof o.etag, "%s", head->etag);
    snprintf(o.modified, sizeof o.modified, "%s", head->modified);
    k->written = head->offset;
    return spool_object_meta(k->f->spool, k->f->uid, k->number, k->uri, &o, err);
}

/* Keep the object in the spool, from byte `have` on; the reader follows behind. */
static int to_spool(struct hand *k, struct spool_object *o, bool follow, struct err *err)
{
    k->transport = IN_SPOOL;
    k->f->spooled = true;
    k->fd = o->fd;
    k->written = o->have;
    if (follow && reader_object_file(k->reader, k->shown, k->fd, k->head.size, false, err) < 0)
        return -1;
    return 0;
}

static bool is_archived(const struct hand *k)
{
    return !k->infer && !k->f->again && k->f->archive && k->f->pipeline->archive;
}

/* Bytes that the reader got, or is getting, into the archive. */
static int archive_object(struct hand *k, int fd, int64_t size, struct err *err)
{
    struct archive_object o = { k->f->uid, k->number, k->uri, fd, size, archive_tick, k };
    if (!is_archived(k))
        return 0;
    k->f->stage = "archive";
    int mounted = mounted_has_archive(k->f->mounted, k->f->pipeline, err);
    if (mounted)
        return mounted < 0 ? -1 : mounted_archive(k->f->mounted, k->f->pipeline, &o, err);
    return archive_put(k->f->archive, k->f->pipeline, &o, err);
}

static int choose_transport(struct hand *k, struct err *err)
{
    bool seeks = unpack_wants_seek(k->first, k->nfirst);
    bool big = !k->mounted && (k->head.size > k->f->config->limits.big_object || k->f->config->limits.big_object == 0); /* else no use again */
    bool small = k->head.size >= 0 && k->head.size <= MEMORY_OBJECT &&
                 k->head.size <= MEMORY_AHEAD - reader_ahead_bytes(k->reader);
    if ((seeks || is_archived(k)) && small) {
        k->transport = IN_MEMORY;
        k->fd = memfd_create("object", MFD_CLOEXEC);
        return k->fd < 0 ? err_sys(err, "make a memory file") : 0;
    }
    if (!seeks && !big && !is_archived(k)) {
        k->transport = STREAM;
        return reader_object_stream(k->reader, k->shown, k->head.size, err);
    }
    struct spool_object o;
    if (spool_object_open(k->f->spool, k->f->uid, k->number, k->uri, &o, err) < 0)
        return -1;
    if (to_spool(k, &o, !seeks, err) < 0)
        return -1;
    return sink_head(k, &k->head, err);
}

static ssize_t put_bytes(struct hand *k, const void *p, size_t n, struct err *err)
{
    if (k->transport == STREAM) {
        ssize_t r = reader_write(k->reader, p, n, err);
        return r > 0 && add_sums(k, (struct str){ p, (size_t)r }, err) < 0 ? -1 : r;
    }
    const char *at = p;
    for (size_t left = n; left;) {
        ssize_t r = pwrite(k->fd, at, left, k->written);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_sys(err, "write the fetched object to the spool");
        at += r;
        left -= (size_t)r;
        k->written += r;
    }
    if (k->transport == IN_SPOOL)
        reader_file_grew(k->reader, k->written);
    return (ssize_t)n;
}

/* The first bytes are collected until they can be judged; then they go first. 1 all went, 0 no room yet, -1 error. */
static int put_first(struct hand *k, struct err *err)
{
    if (k->transport == NOT_YET && choose_transport(k, err) < 0)
        return -1;
    if (k->nfirst == 0)
        return 1;
    ssize_t r = put_bytes(k, k->first, k->nfirst, err);
    if (r <= 0)
        return (int)r;
    k->nfirst = 0;
    return 1;
}

static ssize_t sink_write(void *arg, const void *p, size_t n, struct err *err)
{
    struct hand *k = arg;
    if (k->has_result)
        return result_early(k, err);
    if (k->transport == NOT_YET && k->nfirst + n < HEAD_BYTES) {
        memcpy(k->first + k->nfirst, p, n);
        k->nfirst += n;
        return (ssize_t)n;
    }
    if (k->transport == NOT_YET && k->nfirst == 0) { /* the usual case: one chunk says it all, and is not copied */
        size_t look = n < HEAD_BYTES ? n : HEAD_BYTES;
        memcpy(k->first, p, look);
        k->nfirst = look;
        if (choose_transport(k, err) < 0)
            return -1;
        k->nfirst = 0;
    } else if (k->transport == NOT_YET || k->nfirst) {
        int rc = put_first(k, err);
        if (rc <= 0)
            return rc;
    }
    return put_bytes(k, p, n, err);
}

static int wait_room(struct hand *k, struct err *err)
{
    struct pollfd fds[READER_FDS];
    reader_pollfds(k->reader, fds);
    (void)poll(fds, READER_FDS, POLL_MS);
    return sink_tick(k, err);
}

/* The sums are whole. */
static int end_sums(struct hand *k, struct sha256 *check, struct err *err)
{
    char hex[SHA256_HEX + 1], *noted = k->f->objects[k->f->nobjects - 1].sha256;
    if (check && (sha256_end(check, hex, err) < 0 || check_sum(k, hex, err) < 0))
        return -1;
    if (k->sum && (sha256_end(k->sum, noted, err) < 0 || (!check && check_sum(k, noted, err) < 0)))
        return -1;
    return 0;
}

/* All bytes went, those of a file (fd >= 0) by its descriptor: note their sum, and check it. */
static int object_sum(struct hand *k, int fd, struct err *err)
{
    char bytes[65536];
    int64_t at = 0;
    int rc;
    struct sha256 *check = check_of(k, &rc, err);
    if (rc < 0 || (!k->sum && !check))
        return rc;
    for (ssize_t n; fd >= 0 && (n = pread(fd, bytes, sizeof bytes, at)) != 0; at += n > 0 ? n : 0) {
        if (n < 0 && errno != EINTR)
            return err_sys(err, "read the object again for its sum");
        if (n > 0 && add_sums(k, (struct str){ bytes, (size_t)n }, err) < 0)
            return -1;
        if (at % SUM_TICK == 0 && hand_tick(k, err) < 0)
            return -1;
    }
    return end_sums(k, check, err);
}

static int local_object(struct hand *k, struct err *err)
{
    int64_t size, mtime;
    AUTO(fd_closep) int fd = -1;
    if (source_open_local(k->uri, &fd, &size, &mtime, err) < 0 || check_listed(k, size, "", mtime, err) < 0 ||
        reader_object_file(k->reader, k->shown, fd, size, true, err) < 0 ||
        reader_object_end(k->reader, err) < 0)
        return -1;
    char when[32];
    text_put_rfc3339(when, mtime);
    return object_note(k, size, "", when, err) < 0 || object_sum(k, fd, err) < 0 ? -1 : archive_object(k, fd, size, err);
}

static int rejects_object(struct hand *k, struct err *err)
{
    const struct feed_rejects *r = k->f->rejects;
    if (reader_object_file(k->reader, k->shown, r->fd, r->size, true, err) < 0 || reader_object_end(k->reader, err) < 0)
        return -1;
    return object_note(k, r->size, "", "", err);
}

/* An object that an earlier attempt left in the spool: go on from there. 1 there is one. */
static int resume_point(struct hand *k, struct fetch_head *resume, struct err *err)
{
    if (k->infer || !k->f->resume)
        return 0;
    struct spool_object o;
    if (spool_object_open(k->f->spool, k->f->uid, k->number, k->uri, &o, err) < 0)
        return -1;
    if (o.have == 0 || (!*o.etag && !*o.modified)) {
        close(o.fd);
        return 0;
    }
    /* of a whole one the last byte is fetched again: the answer says whether it is still the same version */
    *resume = (struct fetch_head){ .size = o.size, .offset = o.have == o.size ? o.have - 1 : o.have };
    snprintf(resume->etag, sizeof resume->etag, "%s", o.etag);
    snprintf(resume->modified, sizeof resume->modified, "%s", o.modified);
    char first[HEAD_BYTES];
    ssize_t n = pread(o.fd, first, sizeof first, 0);
    k->head = *resume;
    o.have = resume->offset;
    return to_spool(k, &o, n > 0 && !unpack_wants_seek(first, (size_t)n), err) < 0 ? -1 : 1;
}

/* All bytes are here: hand over what the reader did not follow. */
static int object_whole(struct hand *k, struct err *err)
{
    for (int rc = 0; k->transport == NOT_YET || k->nfirst;) {
        if ((rc = put_first(k, err)) < 0 || (rc == 0 && wait_room(k, err) < 0))
            return -1;
    }
    if (k->transport != STREAM) {
        char first[HEAD_BYTES];
        ssize_t n = pread(k->fd, first, sizeof first, 0);
        bool followed = k->transport == IN_SPOOL && !unpack_wants_seek(first, n > 0 ? (size_t)n : 0);
        if (!followed && reader_object_file(k->reader, k->shown, k->fd, k->written, true, err) < 0)
            return -1;
    }
    return reader_object_end(k->reader, err);
}

static int fetched_object(struct hand *k, struct err *err)
{
    struct pollfd fds[READER_FDS];
    reader_pollfds(k->reader, fds);
    struct fetch_sink sink = { k, sink_head, sink_write, sink_tick, fds, READER_FDS };
    struct fetch_head resume;
    int64_t got = 0;
    int resuming = resume_point(k, &resume, err);
    if (resuming < 0)
        return -1;
    if (fetch_get(k->f->fetch, k->uri, config_remote(k->f->config, k->uri), resuming ? &resume : NULL, &sink, &got, err) < 0) {
        if (err->code == ERR_CHANGED || err->code == ERR_LIMIT) {
            struct err ignored; /* the retry starts from nothing either way */
            (void)spool_object_discard(k->f->spool, k->f->uid, &ignored);
        }
        return -1;
    }
    if (check_listed(k, k->transport == IN_SPOOL ? k->written : got, "", 0, err) < 0 || /* a head need not tell the size */
        object_note(k, k->transport == IN_SPOOL ? k->written : got, k->head.etag, k->head.modified, err) < 0)
        return -1;
    if (object_whole(k, err) < 0 || object_sum(k, k->transport == STREAM ? -1 : k->fd, err) < 0)
        return -1;
    return archive_object(k, k->fd, k->written, err);
}

/* Behind a mount that may hold up whoever reads there: as from another host, but that nothing goes on in its middle. */
static int mounted_object(struct hand *k, struct err *err)
{
    struct pollfd fds[READER_FDS];
    reader_pollfds(k->reader, fds);
    const struct fetch_sink sink = { k, sink_head, sink_write, sink_tick, fds, READER_FDS };
    k->mounted = k->f->any_mounted = true;
    if (mounted_get(k->f->mounted, k->uri, &sink, err) < 0)
        return -1;
    if (object_whole(k, err) < 0 || object_sum(k, k->transport == STREAM ? -1 : k->fd, err) < 0)
        return -1;
    k->f->spooled_bytes += k->transport == IN_SPOOL ? k->written : 0;
    return archive_object(k, k->fd, k->written, err);
}

static int object_of_kind(struct hand *k, enum source_kind kind, struct err *err)
{
    int mounted = kind == SOURCE_LOCAL ? mounted_has(k->f->mounted, k->uri, err) : 0;
    if (mounted)
        return mounted < 0 ? -1 : mounted_object(k, err);
    return kind == SOURCE_LOCAL ? local_object(k, err) : fetched_object(k, err);
}

/* ---- the bytes of a program ---- */

/* All of it into the ring, waiting for room. */
static int ring_bytes(struct hand *k, const char *p, size_t n, struct err *err)
{
    ssize_t rc;
    while ((rc = reader_write(k->reader, p, n, err)) == 0)
        if (wait_room(k, err) < 0)
            return -1;
    return rc < 0 ? -1 : 0;
}

/* Until there is something to do, a while at most. */
static int wait_program(struct hand *k, const struct program *program, bool open, struct err *err)
{
    struct pollfd fds[READER_FDS + 2];
    reader_pollfds(k->reader, fds);
    fds[READER_FDS] = (struct pollfd){ open ? program_out(program) : -1, POLLIN, 0 };
    fds[READER_FDS + 1] = (struct pollfd){ program_fd(program), POLLIN, 0 };
    (void)poll(fds, READER_FDS + 2, POLL_MS);
    return sink_tick(k, err);
}

/* Some of its output into the ring. 1: there may be more; 0: none now; -1 error. *open becomes false at the end. */
static int program_bytes(struct hand *k, const struct program *program, bool *open, struct err *err)
{
    char block[PROGRAM_CHUNK];
    ssize_t n = read(program_out(program), block, sizeof block);
    if (n < 0)
        return errno == EAGAIN ? 0 : errno == EINTR ? 1 : err_sys(err, "read the output of the program");
    *open = n > 0;
    k->written += n;
    if (k->written > k->f->config->limits.object_bytes)
        return err_set(err, ERR_LIMIT, "the program wrote more than [limits] object = %lld bytes",
                       (long long)k->f->config->limits.object_bytes);
    return n == 0 ? 0 : ring_bytes(k, block, (size_t)n, err) < 0 ? -1 : 1;
}

/* Until its output is at its end and it ended well, whichever comes first. */
static int program_through(struct hand *k, struct program *program, struct err *err)
{
    for (bool open = true, over = false; open || !over;) {
        int rc = open ? program_bytes(k, program, &open, err) : 0;
        if (rc < 0)
            return -1;
        if (rc > 0) {
            if (k->f->tick(k->f->arg, err) < 0)
                return -1;
            continue;
        }
        if (!over && (rc = program_over(program, err)) < 0)
            return -1;
        over |= rc == 1;
        if (over && open && program_lingers(program) >= PROGRAM_LINGER_MAX_MS)
            return program_left_open(program, err);
        if ((open || !over) && wait_program(k, program, open, err) < 0)
            return -1;
    }
    return 0;
}

/* A call of a program of the job: all but which one. */
static struct program_call call_for(const struct feed *f)
{
    return (struct program_call){ .config = f->config,
                                  .pipeline = f->pipeline,
                                  .job = f->uid,
                                  .attempt = f->attempt,
                                  .params = str_of(f->params) };
}

static int program_object(struct hand *k, struct err *err)
{
    const struct feed *f = k->f;
    struct program_call call = call_for(f);
    struct program *program;
    call.command = &f->pipeline->command;
    k->transport = STREAM;
    k->f->stage = "program";
    if (program_start(&program, &call, err) < 0)
        return -1;
    int rc = reader_object_stream(k->reader, k->uri, -1, err);
    if (rc == 0)
        rc = program_through(k, program, err);
    AUTO(free_charp) char *talk = program_talk(program);
    program_free(program);
    if (rc < 0) {
        k->f->talk = talk;
        talk = NULL;
        return -1;
    }
    free(k->f->said);
    k->f->said = talk ? strdup(program_said(talk)) : NULL;
    return reader_object_end(k->reader, err);
}

/* Very many objects are ahead: the reader takes one when it is done with another. */
static int wait_turn(struct hand *k, struct err *err)
{
    while (!k->has_result && reader_full(k->reader)) {
        struct pollfd fds[READER_FDS];
        reader_pollfds(k->reader, fds);
        (void)poll(fds, READER_FDS, POLL_MS);
        if (hand_tick(k, err) < 0)
            return -1;
    }
    return 0;
}

static int one_object(struct hand *k, const char *uri, int number, struct err *err)
{
    enum source_kind kind;
    char shown[300];
    k->uri = uri;
    fetch_redact(uri, k->shown, sizeof k->shown);
    k->number = number;
    k->mounted = false;
    k->transport = NOT_YET;
    k->head = (struct fetch_head){ .size = -1 };
    k->nfirst = 0;
    k->fd = -1;
    k->written = 0;
    k->f->stage = "fetch";
    if (k->f->rejects)
        return rejects_object(k, err);
    if (k->f->pipeline->command.argv)
        return program_object(k, err);
    look_up_listed(k);
    if (source_kind(uri, &kind, err) < 0 || wait_turn(k, err) < 0)
        return -1;
    if (k->listed && !k->listed->whole)
        return err_set(err, ERR_CHANGED, "%s: the object changed since it was listed, and has not settled yet", k->shown);
    if (k->has_result)
        return result_early(k, err);
    int rc = object_of_kind(k, kind, err);
    if (k->fd >= 0)
        close(k->fd);
    if (rc < 0 && !k->has_result) {
        fetch_redact(uri, shown, sizeof shown);
        note_changed(k->f, uri, err);
        return strstr(err->msg, shown) ? -1 : err_in(err, "%s", shown);
    }
    return rc;
}

/* ---- filters ---- */

static int filter_start(void *arg, int part, int ends[2], struct err *err)
{
    struct hand *k = arg;
    struct program_call call = call_for(k->f);
    return filters_start(&k->filters, &call, part, ends, err);
}

static void filter_handed(void *arg, int part)
{
    struct hand *k = arg;
    filters_handed(&k->filters, part);
}

static int wait_filters(struct hand *k, struct err *err)
{
    struct pollfd fds[PIPELINE_PARTS_MAX];
    int n = filters_pollfds(&k->filters, fds);
    (void)poll(fds, (nfds_t)n, POLL_MS);
    return k->f->tick(k->f->arg, err);
}

/* The reader took all that the filters gave: did they end well? */
static int filters_done(struct hand *k, struct err *err)
{
    int rc;
    while ((rc = filters_over(&k->filters, err)) == 0)
        if (wait_filters(k, err) < 0)
            return -1;
    return rc < 0 ? -1 : 0;
}

/* The job failed, by *err; if a filter is behind that, it is to blame. */
static void filters_judge(struct hand *k, struct err *err)
{
    int64_t until = sys_mono_ms() + PROGRAM_LINGER_MAX_MS;
    struct err ignored;
    while (filters_blame(&k->filters, err) == 0 && sys_mono_ms() < until)
        if (wait_filters(k, &ignored) < 0)
            break;
}

/* The job's end is that of its filters, too. */
static int filters_end(struct hand *k, int rc, struct err *err)
{
    if (rc == 0)
        rc = filters_done(k, err);
    else if (k->has_result)
        filters_judge(k, err);
    if (rc < 0 && !k->f->talk)
        k->f->talk = filters_talk(&k->filters);
    if (rc == 0)
        filters_said(&k->filters, k->f->pipeline, &k->f->said);
    if (k->filters.failed)
        k->f->stage = "program";
    filters_clear(&k->filters);
    return rc;
}

/* Wait for the reader's last word. */
static int await_result(struct hand *k, struct err *err)
{
    k->f->stage = "read";
    while (!k->has_result) {
        struct pollfd fds[READER_FDS];
        reader_pollfds(k->reader, fds);
        if (hand_tick(k, err) < 0)
            return -1;
        if (!k->has_result)
            (void)poll(fds, READER_FDS, POLL_MS);
    }
    if (k->f->result.rc < 0) {
        *err = k->f->result.err;
        if (err->code >= ERR_ENRICH && err->code <= ERR_ENRICH_MISS)
            k->f->stage = "enrich";
        return -1;
    }
    return 0;
}

/* A reader, and nothing of an earlier run. */
static int run_start(struct feed *f, int n, struct err *err)
{
    feed_clear(f);
    if (!(f->objects = calloc((size_t)n, sizeof *f->objects)))
        return err_nomem(err);
    f->any_mounted = false;
    f->spooled |= f->resume;
    if (!*f->reader && reader_spawn(f->reader, f->config, err) < 0) /* a dead one is replaced when the job begins */
        return -1;
    reader_enrich(*f->reader, f->enrich);
    return 0;
}

int feed_run(struct feed *f, char *const *uris, int n, const struct part_known *known, bool infer, struct err *err)
{
    f->stage = "read";
    if (run_start(f, n, err) < 0)
        return -1;
    AUTO(sha256_freep) struct sha256 *sum = f->sum && !infer ? sha256_new(err) : NULL;
    if (f->sum && !infer && !sum)
        return -1;
    struct hand k = { .f = f, .reader = *f->reader, .infer = infer, .fd = -1, .sum = sum };
    const struct reader_programs programs = { filter_start, filter_handed, &k };
    reader_sample(k.reader, f->sample);
    if (reader_begin(k.reader, f->pipeline, known, f->params, f->spool, f->uid, f->token, f->watermark, infer, err) < 0)
        return -1;
    reader_programs(k.reader, &programs);
    int rc = 0;
    for (int i = 0; i < n && rc == 0 && !k.has_result; i++)
        rc = one_object(&k, uris[i], i, err);
    if (rc == 0 && !k.has_result)
        rc = reader_end(k.reader, err);
    if (rc == 0 || (k.has_result && f->result.rc == 0))
        rc = await_result(&k, err);
    else if (k.has_result)
        f->stage = "read";
    if (rc < 0 && !k.has_result) {
        struct err ignored; /* the first error is the one to tell */
        (void)reader_abort(k.reader, &ignored);
    }
    reader_programs(k.reader, NULL);
    for (int i = 0; i < VERSION_SUMS; i++)
        sha256_free(k.checks[i]);
    return filters_end(&k, rc, err);
}

/* ---- afterwards ---- */

static int stat_local(const struct feed *f, const char *uri, int64_t *size, int64_t *mtime_ms, struct err *err)
{
    int mounted = f->any_mounted ? mounted_has(f->mounted, uri, err) : 0;
    if (mounted)
        return mounted < 0 ? -1 : mounted_stat(f->mounted, uri, size, mtime_ms, f->tick, f->arg, err);
    return source_stat_local(uri, size, mtime_ms, err);
}

int feed_unchanged(struct feed *f, char *const *uris, struct err *err)
{
    for (int i = 0; i < f->nobjects && !f->rejects; i++) {
        enum source_kind kind;
        int64_t size, mtime;
        char when[32];
        if (source_kind(uris[i], &kind, err) < 0)
            return -1;
        if (kind != SOURCE_LOCAL)
            continue;
        if (stat_local(f, uris[i], &size, &mtime, err) < 0)
            return -1;
        text_put_rfc3339(when, mtime);
        if (size == f->objects[i].size && !strcmp(when, f->objects[i].modified))
            continue;
        err_set(err, ERR_CHANGED, "%s: the file was written to while it was read", uris[i]);
        note_changed(f, uris[i], err);
        return -1;
    }
    return 0;
}
