/*
 * A refused row as a member of its own: its header, the row, and what its format wants around it, so that the reader of the format
 * reads it as it read the member, by the recipe as it is now. Each row is read alone, for one that was refused may hold a quote that
 * is never closed, which would swallow the next.
 *
 * What was found out from the member (its format, and the delimiter) holds where the recipe does not say it; what the recipe
 * says now wins, for it may have been mended.
 */
#ifndef QETL_PIPELINE_REPLAY_H
#define QETL_PIPELINE_REPLAY_H

#include "base/err.h"
#include "io/config.h"
#include "io/input.h"
#include "io/rejects.h"
#include "io/row.h"

/* What stands for the object of a job that reads the rejects of another one: this, and the uid of that job. */
#define REPLAY_SCHEME "rejects:"

/*
 * May rows of that member be loaded by the recipe behind those of their job? -1: config, state: the table would lose the rows that
 * were loaded (mode = replace, missing = delete, a message with refresh), or the recipe reads another format now.
 */
int replay_may(const struct recipe *recipe, const struct reject_context *c, struct err *err);

struct replay {
    struct input input;   /* first member: the bytes to read */
    struct recipe recipe; /* to read them by; its strings are those of the recipe */
    struct str piece[3];  /* before the row, the row, behind it */
    struct buf before;
    int at;               /* in the pieces */
    size_t off;
    uint64_t line, offset; /* of the row among these bytes */
    bool decode;           /* the bytes are in recipe.encoding; else they are UTF-8, whatever it says */
};

/* l has a context; it and recipe are borrowed until replay_close(). Errors: as replay_may(); header. */
int replay_open(struct replay *p, const struct recipe *recipe, const struct reject_line *l, struct err *err);
/* The places of what was read of it, as they were in the member. */
void replay_places(const struct replay *p, const struct reject_line *l, struct batch *b);
void replay_close(struct replay *p);

#endif
