/* What must die or fail inside the sandbox; each in a process of its own. */
#include "config.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "role/sandbox.h"

enum { DONE = 0, FAILED = 42, NO_SANDBOX = 99 };

static int try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0 ? FAILED : DONE;
}
static int try_open(void)
{
    return open("/etc/passwd", O_RDONLY) < 0 ? FAILED : DONE;
}
static int try_create(void)
{
    return open("/tmp/qetl-sandbox-test", O_WRONLY | O_CREAT, 0600) < 0 ? FAILED : DONE;
}
static int try_kill(void)
{
    return kill(getppid(), 0) < 0 ? FAILED : DONE;
}
static int try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? FAILED : DONE;
}
static int try_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return FAILED;
}
static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? FAILED : DONE;
}
static int try_code(void)
{
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? FAILED : DONE;
}
static int given_fd;
static int try_other_fd(void)
{
    return write(given_fd, "x", 1) < 0 ? FAILED : DONE;
}
#if !SANDBOX_ASAN
static int try_memory(void)
{
    volatile char *p = malloc(200 << 20);
    if (p)
        p[0] = 1;
    return p ? DONE : FAILED;
}
#endif
static int good_work(void)
{
    char *p = malloc(8 << 20);
    if (!p)
        return FAILED;
    memset(p, 1, 8 << 20);
    bool sum = p[12345] == 1;
    free(p);
    return sum && write(STDERR_FILENO, "", 0) == 0 && write(STDOUT_FILENO, "x", 1) == 1 ? DONE
                                                                                        : FAILED;
}

/* ---- a second thread, made where the sandbox says that threads can be made ---- */

static struct {
    pthread_t thread;
    pthread_mutex_t entered; /* held until the sandbox is there */
    int (*what)(void);
} second = { .entered = PTHREAD_MUTEX_INITIALIZER };

static void *second_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&second.entered);
    _exit(second.what());
}

static int second_make(void *arg, struct err *err)
{
    (void)arg;
    pthread_mutex_lock(&second.entered);
    return pthread_create(&second.thread, NULL, second_main, NULL) ? err_set(err, ERR_NO_MEMORY, "no thread") : 0;
}

static int in_second_thread(int (*what)(void))
{
    second.what = what;
    pthread_mutex_unlock(&second.entered);
    pthread_join(second.thread, NULL);
    return DONE;
}

static int run_in(bool threaded, int (*what)(void))
{
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct err err;
        struct sandbox box = { .memory = 64 << 20,
                               .parent = parent,
                               .threads = threaded ? second_make : NULL };
        if (sandbox_enter(&box, &err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            _exit(NO_SANDBOX);
        }
        _exit(threaded ? in_second_thread(what) : what());
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SANDBOX)
        fail_msg("the sandbox cannot be entered");
    return status;
}

static int run_inside(int (*what)(void))
{
    return run_in(false, what);
}

static void refused(const char *what, int (*call)(void))
{
    for (int threaded = 0; threaded < 2; threaded++) {
        int status = run_in(threaded, call);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
        bool failed = WIFEXITED(status) && WEXITSTATUS(status) == FAILED;
        if (!killed && !failed)
            fail_msg("%s was possible inside the sandbox (status %d, %s thread)", what, status,
                     threaded ? "second" : "first");
    }
}

TEST(sandbox, no_network)
{
    refused("socket", try_socket);
}
TEST(sandbox, no_files_by_name)
{
    refused("open", try_open);
    refused("create", try_create);
}
TEST(sandbox, no_other_processes)
{
    refused("fork", try_fork);
    refused("exec", try_exec);
    refused("kill", try_kill);
    refused("ptrace", try_ptrace);
}
TEST(sandbox, no_descriptors_but_those_that_were_kept)
{
    given_fd = open("/dev/null", O_WRONLY);
    CHECK(given_fd > 2);
    refused("another descriptor", try_other_fd);
    close(given_fd);
}

#ifdef HAVE_SECCOMP
TEST(sandbox, a_forbidden_call_kills_with_sigsys)
{
    int status = run_inside(try_socket);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGSYS);
}
TEST(sandbox, no_memory_that_is_data_and_code)
{
    refused("executable memory", try_code);
}
#endif

#if !SANDBOX_ASAN
TEST(sandbox, memory_ends_at_the_limit)
{
    refused("200 MiB where 64 are allowed", try_memory);
}
#endif

TEST(sandbox, plain_work_goes_on)
{
    int status = run_inside(good_work);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), DONE);
}

TEST(sandbox, it_dies_with_its_parent)
{
    int life[2];
    char c;
    CHECK_EQ(pipe(life), 0);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            struct err err;
            struct sandbox box = { &life[1], 1, 64 << 20, parent, NULL, NULL };
            if (sandbox_enter(&box, &err) < 0)
                _exit(NO_SANDBOX);
            if (write(life[1], "!", 1) != 1)
                _exit(1);
            for (;;)
                (void)poll(NULL, 0, 1000);
        }
        close(life[1]);
        if (read(life[0], &c, 1) != 1)
            _exit(1);
        _exit(0);
    }
    int status;
    close(life[1]);
    CHECK_EQ(waitpid(middle, &status, 0), middle);
    CHECK_EQ(status, 0);
    struct pollfd p = { life[0], POLLIN, 0 };
    CHECK_EQ(poll(&p, 1, 5000), 1); /* the end of the pipe: its last writer is dead */
    CHECK_EQ(read(life[0], &c, 1), 0);
    close(life[0]);
}
