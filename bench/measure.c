/*
 * Run a command and say what it took: seconds, CPU seconds (user and system) of it and of all its
 * descendants that were waited for or left to this process, peak RSS of the largest of them.
 *
 *     measure FILE COMMAND...     one line goes to FILE: SECONDS CPU RSS_KIB
 *
 * Gives the command's exit status, 128 and more for a signal. A server that works for the command
 * is no descendant: its CPU is not in the figure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    FILE *out = argc > 2 ? fopen(argv[1], "we") : NULL;
    if (!out) {
        fprintf(stderr, "usage: measure FILE COMMAND...\n");
        return 2;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    double start = now();
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status = 0, other;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return perror("measure"), 1;
    double took = now() - start;
    while (waitpid(-1, &other, WNOHANG) > 0)
        ;
    struct rusage use;
    getrusage(RUSAGE_CHILDREN, &use);
    fprintf(out, "%.6f %.3f %ld\n", took, seconds(use.ru_utime) + seconds(use.ru_stime),
            use.ru_maxrss);
    if (fclose(out) != 0)
        return perror(argv[1]), 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
