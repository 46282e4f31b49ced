/* Messages in packets of at most PIECE bytes; what does not fit into the socket waits in a list. */
#include "role/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 32 * 1024 };

struct packet_head {
    uint32_t type, more; /* more: pieces follow */
    uint64_t a, b, c;
};

struct parcel {
    struct parcel *next;
    struct packet_head head;
    int fd;
    size_t n;
    char body[];
};

void channel_init(struct channel *ch, int fd)
{
    *ch = (struct channel){ .fd = fd, .in_fd = -1 };
    ch->last = &ch->first;
}

static void parcel_drop(struct channel *ch)
{
    struct parcel *p = ch->first;
    if (!(ch->first = p->next))
        ch->last = &ch->first;
    ch->waiting--;
    fd_closep(&p->fd);
    free(p);
}

void channel_clear(struct channel *ch)
{
    while (ch->first)
        parcel_drop(ch);
    buf_clear(&ch->in);
    fd_closep(&ch->in_fd);
    fd_closep(&ch->fd);
}

/* ---- sending ---- */

/* 1 sent, 0 full, -1 errno. */
static int packet_send(int sock, const struct packet_head *head, struct str body, int fd, int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov[2] = { { (void *)head, sizeof *head }, { (void *)body.p, body.n } };
    struct msghdr h = { .msg_iov = iov, .msg_iovlen = body.n ? 2 : 1 };
    if (fd >= 0) {
        h.msg_control = control.bytes;
        h.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    for (;;) {
        if (sendmsg(sock, &h, flags | MSG_NOSIGNAL) >= 0)
            return 1;
        if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

static int parcel_keep(struct channel *ch, const struct packet_head *head, struct str body, int fd,
                       struct err *err)
{
    struct parcel *p = malloc(sizeof *p + body.n);
    if (!p)
        return err_nomem(err);
    *p = (struct parcel){ .head = *head, .fd = -1, .n = body.n };
    if (body.n)
        memcpy(p->body, body.p, body.n);
    if (fd >= 0 && (p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        free(p);
        return err_sys(err, "duplicate a descriptor");
    }
    *ch->last = p;
    ch->last = &p->next;
    ch->waiting++;
    return 0;
}

void channel_flush(struct channel *ch)
{
    while (ch->first) {
        struct parcel *p = ch->first;
        if (packet_send(ch->fd, &p->head, (struct str){ p->body, p->n }, p->fd, MSG_DONTWAIT) == 0)
            return;
        parcel_drop(ch); /* sent; or the other side is gone, which channel_recv tells */
    }
}

static int message_send(struct channel *ch, const struct message *m, bool wait, struct err *err)
{
    struct str rest = m->body;
    int fd = m->fd;
    bool again; /* the socket was full: the same piece once more */
    do {
        struct str piece = { rest.p, rest.n < PIECE ? rest.n : PIECE };
        rest = (struct str){ rest.p + piece.n, rest.n - piece.n };
        struct packet_head head = { m->type, rest.n != 0, m->a, m->b, m->c };
        int rc = 0;
        if (wait || !ch->first)
            rc = packet_send(ch->fd, &head, piece, fd, wait ? 0 : MSG_DONTWAIT);
        if (wait && rc == 0) {
            struct pollfd p = { ch->fd, POLLOUT, 0 };
            (void)poll(&p, 1, 100);
            rest = (struct str){ piece.p, piece.n + rest.n };
            again = true;
            continue;
        }
        again = false;
        if (rc < 0 && wait)
            return err_sys(err, "send to the other side");
        if (rc == 0 && parcel_keep(ch, &head, piece, fd, err) < 0)
            return -1;
        fd = -1;
    } while (rest.n || again);
    return 0;
}

int channel_send(struct channel *ch, const struct message *m, struct err *err)
{
    return message_send(ch, m, true, err);
}

int channel_post(struct channel *ch, const struct message *m, struct err *err)
{
    channel_flush(ch);
    return message_send(ch, m, false, err);
}

/* ---- receiving ---- */

static int take_descriptor(struct msghdr *h)
{
    int fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; i++) {
            fd_closep(&fd);
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
        }
    }
    return fd;
}

/* One packet to the end of ch->in. */
static enum channel_got packet_recv(struct channel *ch, struct packet_head *head, int *fd,
                                    bool wait)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    if (!buf_reserve(&ch->in, PIECE))
        return CHANNEL_WRONG;
    struct iovec iov[2] = { { head, sizeof *head }, { ch->in.p + ch->in.n, PIECE } };
    struct msghdr h = { .msg_iov = iov,
                        .msg_iovlen = 2,
                        .msg_control = control.bytes,
                        .msg_controllen = sizeof control.bytes };
    ssize_t n;
    do
        n = recvmsg(ch->fd, &h, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return CHANNEL_NOTHING;
    if (n <= 0)
        return CHANNEL_GONE;
    *fd = take_descriptor(&h);
    if ((size_t)n < sizeof *head || (h.msg_flags & MSG_TRUNC))
        return CHANNEL_WRONG;
    ch->in.n += (size_t)n - sizeof *head;
    return ch->in.n > CHANNEL_BODY_MAX ? CHANNEL_WRONG : CHANNEL_MESSAGE;
}

enum channel_got channel_recv(struct channel *ch, struct message *m, bool wait)
{
    struct packet_head head;
    int fd = -1;
    if (ch->done) {
        buf_reset(&ch->in);
        ch->done = false;
    }
    do {
        enum channel_got got = packet_recv(ch, &head, &fd, wait);
        if (got != CHANNEL_MESSAGE) {
            fd_closep(&fd);
            return got;
        }
        if (fd >= 0) {
            fd_closep(&ch->in_fd);
            ch->in_fd = fd;
        }
    } while (head.more);
    ch->done = true;
    *m = (struct message){
        head.type, head.a, head.b, head.c, buf_str(&ch->in), fd_steal(&ch->in_fd)
    };
    return CHANNEL_MESSAGE;
}
