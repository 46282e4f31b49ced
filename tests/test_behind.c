/* Files that are written behind are what was given, with the thread and without, and a full disk is told. */
#include "io/behind.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "test.h"

enum { RUN = 64 * 1024, RUNS = 40 };

/* Two files at the same time, in two buffers each that are overwritten as soon as that is allowed. */
static uint64_t write_two(const char *const names[2])
{
    static uint8_t buffers[2][2][RUN];
    struct behind files[2];
    struct err err;
    uint64_t sums[2];
    for (int f = 0; f < 2; f++)
        behind_init(&files[f], open(test_file(names[f]), O_RDWR | O_CREAT | O_TRUNC, 0600), RUN, "it");
    for (int i = 0; i < RUNS; i++)
        for (int f = 0; f < 2; f++) {
            memset(buffers[f][i % 2], i, RUN);
            CHECK_OK(behind_write(&files[f], buffers[f][i % 2], RUN, &err), err);
        }
    for (int f = 0; f < 2; f++) {
        CHECK_OK(behind_wait(&files[f], &err), err);
        CHECK_EQ(files[f].at, (RUNS + 1) * (off_t)RUN);
        files[f].at = 0;
        memset(buffers[f][0], 0xff, RUN);
        CHECK_OK(behind_write_now(&files[f], buffers[f][0], RUN, &err), err);
        sums[f] = hash_end(&files[f].hash);
        close(files[f].fd);
    }
    CHECK_EQ(sums[0], sums[1]);
    return sums[0];
}

static void check_file(const char *name)
{
    static uint8_t bytes[RUN], wanted[RUN];
    int fd = open(test_file(name), O_RDONLY);
    for (int i = -1; i < RUNS; i++) {
        memset(wanted, i < 0 ? 0xff : i, RUN);
        CHECK_EQ(read(fd, bytes, RUN), RUN);
        CHECK(!memcmp(bytes, wanted, RUN));
    }
    CHECK_EQ(read(fd, bytes, 1), 0);
    close(fd);
}

TEST(behind, files_are_the_same_with_the_thread_and_without)
{
    static const char *const alone[] = { "a", "b" }, *const with[] = { "c", "d" };
    struct err err;
    uint64_t sum = write_two(alone);
    CHECK_OK(behind_start(&err), err);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(write_two(with), sum);
    behind_stop();
    for (int f = 0; f < 2; f++) {
        check_file(alone[f]);
        check_file(with[f]);
    }
}

/* A call that fails tells so at the latest when the next one comes, and so does every one behind it. */
static void fill_up(bool thread)
{
    static const uint8_t bytes[RUN];
    struct behind b;
    struct err err;
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        skip();
    behind_init(&b, fd, 0, "the staged file");
    if (behind_write(&b, bytes, RUN, &err) == 0) {
        CHECK(thread);
        CHECK_EQ(behind_write(&b, bytes, RUN, &err), -1);
    }
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK_HAS(err.msg, "write the staged file");
    CHECK_EQ(behind_write_now(&b, bytes, 1, &err), -1);
    CHECK_EQ(behind_wait(&b, &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    close(fd);
}

TEST(behind, a_full_disk_is_told)
{
    struct err err;
    fill_up(false);
    CHECK_OK(behind_start(&err), err);
    fill_up(true);
    behind_stop();
}
