/*
 * qetlctl emit: JSON lines of standard input into a stream. An emit that returned is on disk.
 *
 * What can be read at once is appended at once, and synced when nothing more is there to be read, so that one that feeds lines through
 * a pipe for days pays one sync for what came together; --ack says how far it got. While it waits it closes the segment that
 * has grown old, like any scanner. If power fails: what was not said to be on disk may be there, in whole lines, or not.
 */
#include "bin/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "io/segment.h"
#include "queue/scan.h"

enum {
    READ_BYTES = 256 * 1024,
    APPEND_BYTES = 1 << 20, /* in one append, or as many as fit a segment, or one longer line */
    SYNC_BYTES = 16 << 20,  /* without a sync while there is always more to read */
};

struct emitting {
    struct ctl *c;
    struct segments *segments;
    const struct segment_limits *limits;
    int64_t row; /* bytes of a line that may be longest */
    struct buf batch, in; /* lines to append; bytes that were read and are no whole line yet */
    int64_t line, in_batch, lines; /* the line in hand; of the batch; appended */
    int64_t unsynced;
    bool ack, given, wakes; /* given: lines of -e; wakes: there may be an open segment to look after */
    bool unsure;            /* a sync failed */
};

static int append_batch(struct emitting *e)
{
    if (segments_append(e->segments, buf_str(&e->batch), &e->c->err) < 0)
        return -1;
    e->lines += e->in_batch;
    e->unsynced += (int64_t)e->batch.n;
    e->wakes |= e->batch.n > 0;
    e->in_batch = 0;
    buf_reset(&e->batch);
    return 0;
}

static int sync_all(struct emitting *e)
{
    if (append_batch(e) < 0)
        return -1;
    if (!e->unsynced)
        return 0;
    e->unsure = segments_sync(e->segments, &e->c->err) < 0;
    if (e->unsure)
        return -1;
    e->unsynced = 0;
    if (e->ack && (printf("%" PRId64 "\n", e->lines) < 0 || fflush(stdout) != 0))
        return ctl_unwritten(&e->c->err);
    return 0;
}

static int take_line(struct emitting *e, char *p, size_t n)
{
    e->line++;
    while (n && strchr(" \t\r", p[n - 1]))
        n--;
    if (!n)
        return 0;
    if (segment_line(p, n, e->row, &e->c->err) < 0)
        return err_in(&e->c->err, "line %" PRId64, e->line);
    int64_t most = e->limits->bytes < APPEND_BYTES ? e->limits->bytes : APPEND_BYTES;
    if (!e->given && (int64_t)(e->batch.n + n) >= most && append_batch(e) < 0)
        return -1;
    buf_add(&e->batch, p, n);
    buf_addc(&e->batch, '\n');
    e->in_batch++;
    return e->batch.failed ? err_nomem(&e->c->err) : 0;
}

/* The whole lines among what was read; at the end of the input what is left is one, too. */
static int take_lines(struct emitting *e, bool end)
{
    struct buf *in = &e->in;
    size_t from = 0;
    for (char *nl; in->n > from && (nl = memchr(in->p + from, '\n', in->n - from)); from = (size_t)(nl + 1 - in->p))
        if (take_line(e, in->p + from, (size_t)(nl - in->p) - from) < 0)
            return -1;
    bool rest = in->n > from && (end || (int64_t)(in->n - from) > e->row);
    if (rest && take_line(e, in->p + from, in->n - from) < 0)
        return -1;
    if (rest || from == in->n) {
        buf_reset(in);
    } else if (from) {
        memmove(in->p, in->p + from, in->n - from);
        in->n -= from;
    }
    return 0;
}

/* Nothing is there to be read: what came is made durable, and old segments are closed while we wait. */
static int wait_for_more(struct emitting *e)
{
    struct pollfd p = { STDIN_FILENO, POLLIN, 0 };
    int64_t left_ms = e->limits->age_ms;
    if (poll(&p, 1, 0) != 0)
        return e->unsynced < SYNC_BYTES ? 0 : sync_all(e);
    if (sync_all(e) < 0)
        return -1;
    while (e->wakes && poll(&p, 1, (int)left_ms) == 0) {
        if (segments_settle(e->segments, e->limits->age_ms, &left_ms, &e->c->err) < 0)
            return -1;
        e->wakes = left_ms > 0;
    }
    return 0;
}

static int emit_input(struct emitting *e)
{
    for (;;) {
        if (!buf_reserve(&e->in, READ_BYTES))
            return err_nomem(&e->c->err);
        ssize_t n = read(STDIN_FILENO, e->in.p + e->in.n, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(&e->c->err, "read standard input");
        e->in.n += (size_t)n;
        if (take_lines(e, n == 0) < 0 || append_batch(e) < 0)
            return -1;
        if (n == 0)
            return sync_all(e);
        if (wait_for_more(e) < 0)
            return -1;
    }
}

static int emit_given(struct emitting *e, char **texts, int n)
{
    for (int i = 0; i < n; i++)
        if (take_line(e, texts[i], strlen(texts[i])) < 0)
            return -1;
    return sync_all(e);
}

/* Close the segment now, and ask the scanner to look at once. */
static int flush(struct emitting *e, const struct pipeline *p)
{
    int64_t left_ms;
    int closed = segments_settle(e->segments, 0, &left_ms, &e->c->err);
    if (closed < 0 || ctl_queue(e->c, QUEUE_CREATE) < 0)
        return -1;
    return scan_want(e->c->queue, p->name, &e->c->err) < 0 ? -1 : 0;
}

/* What was appended before the fault counts, and so do the good lines of the batch before a bad one; but events of -e go together. */
static int give_up(struct emitting *e)
{
    struct err why = e->c->err;
    if (e->given || why.code != ERR_USAGE) {
        e->in_batch = 0;
        buf_reset(&e->batch);
    }
    if (e->unsure || sync_all(e) < 0) /* a sync after one that failed says nothing */
        return err_in(&e->c->err, "%" PRId64 " line%s appended, and may not be on disk", e->lines, e->lines == 1 ? " was" : "s were");
    e->c->err = why;
    return e->given && !e->lines ? -1 : err_in(&e->c->err, "%" PRId64 " line%s appended, then", e->lines, e->lines == 1 ? " was" : "s were");
}

static int emit(struct emitting *e, const struct pipeline *p, char **texts, int n, bool flushes)
{
    struct ctl *c = e->c;
    e->given = n;
    int rc = n ? emit_given(e, texts, n) : emit_input(e);
    if (rc < 0)
        return give_up(e);
    if (flushes && flush(e, p) < 0)
        return err_in(&c->err, "the lines are on disk, but their segment is not closed");
    if (c->json)
        printf("{\"stream\":\"%s\",\"lines\":%" PRId64 "}\n", p->scan.stream, e->lines);
    else if (!e->ack)
        printf("%" PRId64 " line%s appended to stream %s\n", e->lines, ctl_s(e->lines), p->scan.stream);
    return 0;
}

int ctl_emit(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "event", required_argument, NULL, 'e' }, { "flush", no_argument, NULL, 'f' },
                                           { "ack", no_argument, NULL, 'a' }, { NULL, 0, NULL, 0 } };
    struct emitting e = { .c = c };
    bool flushes = false;
    int n = 0;
    AUTO(buf_clear) struct buf folder = { 0 };
    char **texts = calloc((size_t)argc, sizeof *texts);
    int rc = texts ? 0 : err_nomem(&c->err);
    for (int opt; rc == 0 && (opt = ctl_option(c, argc, argv, "e:", longs, NULL)) != -1;) {
        flushes |= opt == 'f';
        e.ack |= opt == 'a';
        if (opt == 'e')
            texts[n++] = optarg;
        rc = opt == '?' || opt == ':' ? -1 : 0;
    }
    if (rc == 0 && optind + 1 != argc)
        rc = ctl_usage(c, optind == argc ? "emit into which stream? qetlctl help emit" : "emit takes one stream; give events by -e or on standard input");
    if (rc == 0 && e.ack && c->json)
        rc = ctl_usage(c, "--ack prints numbers as it goes on, and --json is one document at the end");
    const struct pipeline *p = rc == 0 && ctl_config(c) == 0 ? config_stream(c->config, argv[optind], &c->err) : NULL;
    if (p) {
        const struct limits *l = &c->config->limits;
        const struct segment_limits limits = { p->scan.segment_bytes, p->scan.segment_age_ms, l->stream, l->spool_free };
        e.limits = &limits;
        e.row = l->row_bytes;
        buf_addf(&folder, "%s/streams/%s", c->config->spool, p->scan.stream);
        rc = folder.failed ? err_nomem(&c->err) : segments_open(&e.segments, folder.p, &limits, true, &c->err);
        if (rc < 0 && c->err.code == ERR_IO) /* a folder that cannot be made or opened */
            c->err.code = ERR_SPOOL;
        rc = rc < 0 ? -1 : emit(&e, p, texts, n, flushes);
    }
    segments_close(e.segments);
    buf_clear(&e.batch);
    buf_clear(&e.in);
    free(texts);
    return p ? rc : -1;
}
