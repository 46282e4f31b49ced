/*
 * The ring. Memory order: bytes, then `head` (release), then the question "does the reader wait?";
 * on the other side the announcement "I wait", then the question "is head still mine?". Both pairs
 * are sequentially consistent, so at least one side sees the other: no wake-up is lost (the classic
 * of Dekker). The same holds for room.
 *
 * Power: shared memory without a name; nothing is left.
 */
#include "io/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct ring_shared {
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint32_t reader_waits;
    _Atomic uint32_t
        writer_wants; /* bytes of room that the writer waits for; 0: it does not wait */
};

static char *map_twice(size_t size, struct err *err)
{
    AUTO(fd_closep) int fd = memfd_create("ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return err_sys(err, "make a memory file of %zu bytes", size), NULL;
    char *p = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_sys(err, "map the ring"), NULL;
    for (int i = 0; i < 2; i++)
        if (mmap(p + (size_t)i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 0) == MAP_FAILED) {
            err_sys(err, "map the ring");
            munmap(p, 2 * size);
            return NULL;
        }
    return p;
}

int ring_init(struct ring *r, size_t size, struct err *err)
{
    assert(size && (size & (size - 1)) == 0);
    *r = (struct ring){ .size = size, .data_event = -1, .room_event = -1 };
    if (!(r->bytes = map_twice(size, err)))
        return -1;
    void *p =
        mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    r->shared = p == MAP_FAILED ? NULL : p;
    r->data_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->room_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->shared && r->data_event >= 0 && r->room_event >= 0)
        return 0;
    err_sys(err, "make a ring");
    ring_clear(r);
    return -1;
}

void ring_clear(struct ring *r)
{
    if (r->bytes)
        munmap(r->bytes, 2 * r->size);
    if (r->shared)
        munmap(r->shared, sizeof *r->shared);
    fd_closep(&r->data_event);
    fd_closep(&r->room_event);
    *r = (struct ring){ .data_event = -1, .room_event = -1 };
}

static void event_set(int fd)
{
    ssize_t n = write(fd, &(uint64_t){ 1 }, sizeof(uint64_t));
    (void)n; /* it can only fail when it is set 2^64 times already */
}

static void event_clear(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof count);
    (void)n; /* not set: fine */
}

/* ---- the writer ---- */

static uint64_t ring_used(const struct ring *r)
{
    return r->head - atomic_load(&r->shared->tail);
}

bool ring_broken(const struct ring *r)
{
    return ring_used(r) > r->size;
}

bool ring_write(struct ring *r, const void *p, size_t n)
{
    assert(n <= r->size);
    uint64_t used = ring_used(r);
    if (used > r->size || r->size - used < n) {
        atomic_store(&r->shared->writer_wants, (uint32_t)n);
        used = ring_used(r);
        if (used > r->size || r->size - used < n)
            return false;
        atomic_store(&r->shared->writer_wants, 0);
    }
    memcpy(r->bytes + (r->head & (r->size - 1)), p, n);
    r->head += n;
    atomic_store(&r->shared->head, r->head);
    ring_nudge(r);
    return true;
}

void ring_nudge(struct ring *r)
{
    if (atomic_load(&r->shared->reader_waits) && atomic_exchange(&r->shared->reader_waits, 0))
        event_set(r->data_event);
}

void ring_room_seen(struct ring *r)
{
    event_clear(r->room_event);
}

/* ---- the reader ---- */

struct str ring_data(struct ring *r)
{
    uint64_t n = atomic_load(&r->shared->head) - r->tail;
    assert(n <= r->size);
    return (struct str){ r->bytes + (r->tail & (r->size - 1)), (size_t)n };
}

void ring_skip_to(struct ring *r, uint64_t position)
{
    r->tail = position;
    atomic_store(&r->shared->tail, r->tail);
    uint32_t wants = atomic_load(&r->shared->writer_wants);
    if (wants && r->size - (atomic_load(&r->shared->head) - r->tail) >= wants &&
        atomic_exchange(&r->shared->writer_wants, 0))
        event_set(r->room_event);
}

void ring_consume(struct ring *r, size_t n)
{
    ring_skip_to(r, r->tail + n);
}

void ring_will_wait_nudge(struct ring *r)
{
    atomic_store(&r->shared->reader_waits, 1);
}

bool ring_will_wait(struct ring *r)
{
    ring_will_wait_nudge(r);
    if (atomic_load(&r->shared->head) == r->tail)
        return true;
    atomic_store(&r->shared->reader_waits, 0);
    return false;
}

void ring_interrupt(struct ring *r)
{
    event_set(r->data_event);
}

void ring_awake(struct ring *r)
{
    atomic_store(&r->shared->reader_waits, 0);
    event_clear(r->data_event);
}
