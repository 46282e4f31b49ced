/*
 * The data path of one job without processes around it: FILE through unpack, format, cast and encode into a staged file.
 * usage: path [-1] [-p] FILE...      -1: without the threads that unpack ahead and write behind; -p: with profile = yes
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "io/behind.h"
#include "pipeline/pipeline.h"
#include "read/ahead.h"

struct file {
    struct input input;
    int fd;
};

static ssize_t file_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    ssize_t n = read(((struct file *)in)->fd, buf, cap);
    return n < 0 ? err_sys(err, "read") : n;
}

static int file_seek(struct input *in, int64_t offset, struct err *err)
{
    return lseek(((struct file *)in)->fd, offset, SEEK_SET) < 0 ? err_sys(err, "seek") : 0;
}

static int make_file(void *arg, int number, const char *ext, struct err *err)
{
    (void)number;
    (void)ext;
    int fd = open(arg, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? err_sys(err, "make '%s'", (char *)arg) : fd;
}

static int run(const char *name, const struct config *config, char *staged, struct err *err)
{
    struct stage stage = { make_file, staged, STAGE_INLINE_MAX };
    struct output outputs[PIPELINE_PARTS_MAX + 1];
    struct file f = { { file_read, file_seek, -1 }, open(name, O_RDONLY | O_CLOEXEC) };
    struct pipeline_run *r;
    struct stat st;
    int n = 0;
    if (f.fd < 0 || fstat(f.fd, &st) < 0)
        return err_sys(err, "open '%s'", name);
    f.input.size = st.st_size;
    int64_t started = sys_mono_us();
    if (pipeline_start(&r, config, &config->pipelines[0], "bench", NULL, NULL, &stage, err) < 0 ||
        pipeline_object(r, &f.input, name, err) < 0 || pipeline_finish(r, outputs, &n, err) < 0)
        return -1;
    double s = (double)(sys_mono_us() - started) / 1e6;
    const struct pipeline_counts *c = pipeline_counts(r);
    printf("%-24s %9llu rows %7.2f s %10.0f rows/s %7.0f MB/s out of the archive; peak RSS %lld KiB\n", name,
           (unsigned long long)c->staged, s, (double)c->staged / s, (double)c->bytes_out / s / 1e6,
           (long long)sys_peak_rss() / 1024);
    for (int i = 0; i < n; i++)
        output_clear(&outputs[i]);
    pipeline_end(r);
    return 0;
}

int main(int argc, char **argv)
{
    char ini[] = "/tmp/qetl-path-XXXXXX", staged[64];
    struct config *config;
    struct err err;
    int fd = mkstemp(ini);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        return perror("mkstemp"), 1;
    fputs("[target w]\nurl = sqlite:///tmp/none.db\n[pipeline p]\ntable = w.t\ncolumns = id:integer!, customer:integer, quantity:integer, "
          "price:real, weight:real, placed:timestamp, city:text, note:text, sku:text, channel:text\n",
          out);
    bool alone = argc > 1 && strcmp(argv[1], "-1") == 0, profile = argc > 1 + alone && strcmp(argv[1 + alone], "-p") == 0;
    fputs(profile ? "profile = yes\n" : "", out);
    fclose(out);
    snprintf(staged, sizeof staged, "%s.staged", ini);
    int rc = config_load(&config, ini, NULL, &err);
    if (rc == 0 && !alone)
        rc = ahead_start(AHEAD_AFTER, NULL, NULL, &err) < 0 ? -1 : behind_start(&err);
    for (int i = 1 + alone + profile; i < argc && rc == 0; i++)
        rc = run(argv[i], config, staged, &err);
    if (rc < 0)
        fprintf(stderr, "%s [%s]\n", err.msg, err_name(err.code));
    unlink(ini);
    unlink(staged);
    return rc < 0;
}
