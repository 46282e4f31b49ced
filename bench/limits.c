/*
 * What the machine itself gives, to hold the other figures against.
 *
 *     limits FOLDER     FOLDER: on the disk to measure; a file of 256 MB is made there and removed
 *
 * One line a limit: NAME, a tab, VALUE, a tab, UNIT.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SYNCS = 500, PAGE = 4096, BLOCK = 1 << 20, FILE_BLOCKS = 256, MEMORY = 256 << 20 };
static char path[4096];
static char *block;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    unlink(path);
    exit(1);
}

static int make(int flags)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        die(path);
    return fd;
}

static void syncs(const char *name, off_t step)
{
    int fd = make(0);
    if (pwrite(fd, block, PAGE, 0) != PAGE || fsync(fd) < 0)
        die("fsync");
    double start = now();
    for (off_t i = 0; i < SYNCS; i++)
        if (pwrite(fd, block, PAGE, i * step) != PAGE || fdatasync(fd) < 0)
            die("fdatasync");
    printf("%s\t%.0f\tsyncs/s\n", name, SYNCS / (now() - start));
    close(fd);
}

static void write_file(const char *name, int flags)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return; /* a file system without O_DIRECT: no such limit */
    double start = now();
    for (int i = 0; i < FILE_BLOCKS; i++)
        if (write(fd, block, BLOCK) != BLOCK)
            die("write");
    if (fsync(fd) < 0)
        die("fsync");
    printf("%s\t%.0f\tMB/s\n", name, (double)FILE_BLOCKS * BLOCK / 1e6 / (now() - start));
    close(fd);
}

static void memory(void)
{
    char *from = malloc(MEMORY), *to = malloc(MEMORY);
    if (!from || !to)
        die("malloc");
    memset(from, 1, MEMORY);
    memset(to, 2, MEMORY);
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = now();
        memcpy(to, from, MEMORY);
        double took = now() - start;
        best = took < best ? took : best;
        from[i] = to[MEMORY - 1 - i]; /* each copy is needed */
    }
    printf("memory, one core, memcpy\t%.0f\tMB/s\n", MEMORY / 1e6 / best);
    free(from);
    free(to);
}

int main(int argc, char **argv)
{
    if (argc != 2 || posix_memalign((void **)&block, PAGE, BLOCK) != 0) {
        fprintf(stderr, "usage: limits FOLDER\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/bench-limits", argv[1]);
    memset(block, 'q', BLOCK);
    memory();
    syncs("fdatasync after 4 KB appended", PAGE);
    syncs("fdatasync after 4 KB overwritten", 0);
    write_file("write and fsync of 256 MB, through the page cache", 0);
    write_file("write and fsync of 256 MB, past the page cache", O_DIRECT);
    unlink(path);
    free(block);
    return 0;
}
