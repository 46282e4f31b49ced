/*
 * Messages between two processes over a SOCK_SEQPACKET pair: a type, four numbers, bytes of any
 * length, and a descriptor if need be. A long message travels in pieces. The other side is not
 * trusted: sizes are checked, descriptors nobody waits for are closed.
 */
#ifndef QETL_ROLE_CHANNEL_H
#define QETL_ROLE_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/pack.h" /* what bodies are made of */

enum { CHANNEL_BODY_MAX = 8 << 20 };

struct message {
    uint32_t type;
    uint64_t a, b, c;
    struct str body; /* received: valid until the next channel_recv */
    int fd; /* -1: none. Sent: borrowed (duplicated when it has to wait). Received: the caller's */
};

struct parcel;
struct channel {
    int fd;
    struct buf in;                /* the pieces so far */
    int in_fd;                    /* came with one of them, or -1 */
    bool done;                    /* `in` was given out */
    struct parcel *first, **last; /* not sent yet: the socket was full */
    int waiting;
};

void channel_init(struct channel *ch, int fd); /* fd is consumed */
void channel_clear(struct channel *ch);

/* Send, waiting while the socket is full. 0; -1: the other side is gone, or no memory. */
int channel_send(struct channel *ch, const struct message *m, struct err *err);
/* Send, or keep what does not fit for channel_flush. A side that is gone is not an error here:
 * channel_recv tells it. */
int channel_post(struct channel *ch, const struct message *m, struct err *err);
void channel_flush(struct channel *ch); /* as much as fits now */

enum channel_got { CHANNEL_MESSAGE, CHANNEL_NOTHING, CHANNEL_GONE, CHANNEL_WRONG };
/* The next message. CHANNEL_NOTHING: not all of it is here yet (only without wait); CHANNEL_WRONG:
 * not ours, or too long. */
enum channel_got channel_recv(struct channel *ch, struct message *m, bool wait);

#endif
