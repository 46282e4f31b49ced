/* The ring between two threads, which see the same memory as two processes do. */
#include "test.h"

#include <poll.h>
#include <pthread.h>

#include "io/ring.h"

enum { SIZE = 64 * 1024 };

TEST(ring, what_is_there_is_one_slice_also_across_the_end)
{
    struct ring r;
    struct err err;
    char chunk[SIZE / 2 + 1000];
    CHECK_OK(ring_init(&r, SIZE, &err), err);
    memset(chunk, 'a', sizeof chunk);
    CHECK(ring_write(&r, chunk, sizeof chunk));
    CHECK_EQ(ring_data(&r).n, sizeof chunk);
    ring_consume(&r, sizeof chunk);
    memset(chunk, 'b', sizeof chunk);
    CHECK(ring_write(&r, chunk, sizeof chunk)); /* wraps */
    struct str s = ring_data(&r);
    CHECK_EQ(s.n, sizeof chunk);
    CHECK(memcmp(s.p, chunk, s.n) == 0);
    ring_clear(&r);
}

TEST(ring, it_takes_all_or_nothing_and_tells_when_there_is_room)
{
    struct ring r;
    struct err err;
    static char chunk[SIZE];
    CHECK_OK(ring_init(&r, SIZE, &err), err);
    struct pollfd p = { r.room_event, POLLIN, 0 };
    CHECK(ring_write(&r, chunk, SIZE));
    CHECK(!ring_write(&r, chunk, 100));
    CHECK_EQ(poll(&p, 1, 0), 0);
    ring_consume(&r, 99);
    CHECK_EQ(poll(&p, 1, 0), 0);
    ring_consume(&r, 1);
    CHECK_EQ(poll(&p, 1, 0), 1);
    ring_room_seen(&r);
    CHECK_EQ(poll(&p, 1, 0), 0);
    CHECK(ring_write(&r, chunk, 100));
    CHECK(!ring_broken(&r));
    ring_clear(&r);
}

TEST(ring, a_reader_that_skips_makes_room_and_sees_only_what_follows)
{
    struct ring r;
    struct err err;
    static char chunk[SIZE];
    CHECK_OK(ring_init(&r, SIZE, &err), err);
    CHECK(ring_write(&r, chunk, SIZE));
    uint64_t at = r.head;
    ring_skip_to(&r, at);
    CHECK(ring_write(&r, "next", 4));
    CHECK_SLICE(ring_data(&r), "next");
    ring_clear(&r);
}

TEST(ring, a_reader_that_claims_the_impossible_is_found_out)
{
    struct ring r;
    struct err err;
    CHECK_OK(ring_init(&r, SIZE, &err), err);
    ring_skip_to(&r, 1000); /* nothing was written there */
    CHECK(ring_broken(&r));
    CHECK(!ring_write(&r, "x", 1));
    ring_clear(&r);
}

/* ---- two sides at once ---- */

enum { TOTAL = 64 << 20 };
struct both {
    struct ring ring; /* the reader's copy */
    uint64_t sum;
    unsigned pause; /* the reader dawdles after so many slices */
};

static uint64_t fold(uint64_t sum, struct str s)
{
    for (size_t i = 0; i + 8 <= s.n; i += 8) {
        uint64_t v;
        memcpy(&v, s.p + i, 8);
        sum = (sum ^ v) * 1099511628211u;
    }
    return sum;
}

static void *read_side(void *arg)
{
    struct both *b = arg;
    unsigned slices = 0;
    for (uint64_t got = 0; got < TOTAL;) {
        struct str s = ring_data(&b->ring);
        if (s.n == 0) {
            if (!ring_will_wait(&b->ring))
                continue;
            struct pollfd p = { b->ring.data_event, POLLIN, 0 };
            if (poll(&p, 1, 10000) != 1)
                return (void *)"no wake-up for the reader";
            ring_awake(&b->ring);
            continue;
        }
        s.n = s.n > 8 && slices % 3 ? 8 * (s.n / 16) + 8 : s.n;
        s.n = s.n > ring_data(&b->ring).n ? 8 : s.n;
        b->sum = fold(b->sum, s);
        ring_consume(&b->ring, s.n);
        got += s.n;
        if (b->pause && ++slices % b->pause == 0)
            (void)poll(NULL, 0, 1);
    }
    return NULL;
}

static void exchange(unsigned pause)
{
    struct ring r;
    struct err err;
    pthread_t thread;
    void *why;
    static uint64_t chunk[4096];
    uint64_t x = 7, sum = 0;
    CHECK_OK(ring_init(&r, SIZE, &err), err);
    struct both b = { r, 0, pause };
    CHECK_EQ(pthread_create(&thread, NULL, read_side, &b), 0);
    for (size_t sent = 0; sent < TOTAL;) {
        size_t n = 8 + x % (sizeof chunk / 8) * 8;
        n = n < TOTAL - sent ? n : TOTAL - sent;
        for (size_t i = 0; i < n / 8; i++)
            chunk[i] = x = x * 6364136223846793005u + 1442695040888963407u;
        sum = fold(sum, (struct str){ (char *)chunk, n });
        while (!ring_write(&r, chunk, n)) {
            struct pollfd p = { r.room_event, POLLIN, 0 };
            if (poll(&p, 1, 10000) != 1)
                fail_msg("no wake-up for the writer");
            ring_room_seen(&r);
        }
        sent += n;
    }
    CHECK_EQ(pthread_join(thread, &why), 0);
    if (why)
        fail_msg("%s", (char *)why);
    CHECK(b.sum == sum);
    ring_clear(&r);
}

TEST(ring, every_byte_arrives_once_and_in_order_and_no_wake_up_is_lost)
{
    exchange(0);
}
TEST(ring, a_slow_reader_holds_the_writer_back)
{
    exchange(500);
}
