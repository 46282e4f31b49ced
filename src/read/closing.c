/*
 * What ends a file of text. Nothing here touches a disk.
 *
 * Invariant: the bytes held are those to give out ([at, ready)), and behind them the last line as far as it is known ([ready, n)),
 * with the empty lines behind it.
 */
#include "read/closing.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

enum { HELD = 128 * 1024, LONG_LINE = 64 * 1024, SHOWN = 60 };

struct closing {
    struct input in;
    struct input *src;
    const char *glob;
    size_t at, ready, n;
    bool long_line; /* the begin of the last line was given out */
    bool over;
    char bytes[HELD];
};

/* The last line, without what ends it. */
static struct str last_line(const struct closing *c)
{
    size_t end = c->n;
    while (end && (c->bytes[end - 1] == '\n' || c->bytes[end - 1] == '\r'))
        end--;
    const char *newline = memrchr(c->bytes, '\n', end);
    size_t begin = newline ? (size_t)(newline + 1 - c->bytes) : 0;
    return (struct str){ c->bytes + begin, end - begin };
}

/* 0: the line closes the file; -1 */
static int finish(struct closing *c, struct err *err)
{
    struct str line = last_line(c);
    char shown[SHOWN + 1];
    c->over = true;
    if (!c->long_line && line.n && text_glob(c->glob, line))
        return 0;
    if (!line.n && !c->long_line)
        return err_set(err, ERR_TRUNCATED, "it has no line that closes it, like closing_line = %s", c->glob);
    line.n = line.n < SHOWN ? line.n : SHOWN;
    line.n = text_utf8_valid(line);
    for (size_t i = 0; i < line.n; i++)
        shown[i] = (unsigned char)line.p[i] < ' ' || line.p[i] == 127 ? '?' : line.p[i];
    shown[line.n] = '\0';
    return err_set(err, ERR_TRUNCATED, "its last line is '%s%s', and none like closing_line = %s", c->long_line ? "..." : "", shown, c->glob);
}

/* Something to give out: 1; 0 the end; -1. */
static int fill(struct closing *c, struct err *err)
{
    while (c->at == c->ready) {
        if (c->over)
            return 0;
        memmove(c->bytes, c->bytes + c->ready, c->n - c->ready);
        c->n -= c->ready;
        c->at = c->ready = 0;
        if (c->n > LONG_LINE) {
            c->long_line = true;
            c->ready = c->n;
            break;
        }
        ssize_t got = c->src->read(c->src, c->bytes + c->n, HELD - c->n, err);
        if (got <= 0)
            return got < 0 ? -1 : finish(c, err);
        c->n += (size_t)got;
        c->ready = (size_t)(last_line(c).p - c->bytes);
        c->long_line &= c->ready == 0;
    }
    return 1;
}

static ssize_t closing_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    struct closing *c = (struct closing *)in;
    int rc = fill(c, err);
    if (rc <= 0)
        return rc;
    size_t n = c->ready - c->at < cap ? c->ready - c->at : cap;
    memcpy(buf, c->bytes + c->at, n);
    c->at += n;
    return (ssize_t)n;
}

struct input *closing_open(struct input *in, const char *glob, struct err *err)
{
    struct closing *c = malloc(sizeof *c);
    if (!c) {
        err_nomem(err);
        return NULL;
    }
    c->in = (struct input){ .read = closing_read, .size = -1 };
    c->src = in;
    c->glob = glob;
    c->at = c->ready = c->n = 0;
    c->long_line = c->over = false;
    return &c->in;
}

void closing_close(struct input *in)
{
    free(in);
}
