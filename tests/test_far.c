/* Processes that ask other places: what becomes of those that end well, die, or never end. */
#include "role/far.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "test.h"

enum { ENDS, FAILS, DIES, HANGS, DEAF, LIVES };

static struct err err;
static pid_t *pids; /* shared: of the tasks, by pipeline */

static void serve(const void *arg, struct far_report *r, int64_t *beat)
{
    const int *kinds = arg;
    int kind = kinds[r->task.pipeline];
    if (kind == DEAF)
        signal(SIGTERM, SIG_IGN);
    if (kind == LIVES)
        __atomic_store_n(beat, INT64_MAX, __ATOMIC_SEQ_CST);
    __atomic_store_n(&pids[r->task.pipeline], getpid(), __ATOMIC_SEQ_CST);
    if (kind == DIES)
        raise(SIGKILL);
    while (kind == DEAF || ((kind == HANGS || kind == LIVES) && !sys_stop_requested()))
        (void)poll(NULL, 0, 10);
    r->count.listed = r->task.lease.token;
    r->how = kind == FAILS ? FAR_FAILED : FAR_DONE;
    if (kind == FAILS)
        err_set(&r->err, ERR_LEASE_LOST, "gone");
}

static struct far *begin(const int *kinds)
{
    struct far *f;
    pids = mmap(NULL, FAR_MAX * sizeof *pids, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(pids != MAP_FAILED);
    CHECK_EQ(far_open(&f, serve, kinds, &err), 0);
    return f;
}

static void start(struct far *f, int pipeline, uint64_t place)
{
    const struct far_task task = { .pipeline = pipeline, .place = place, .lease = { .token = 40 + pipeline, .ms = 1 } };
    CHECK(far_has_room(f, place));
    CHECK_EQ(far_start(f, &task, &err), 0);
}

static struct far_report next(struct far *f)
{
    struct far_report r;
    int rc;
    for (int i = 0; (rc = far_ended(f, &r, &err)) == 0 && i < 600; i++)
        (void)poll(&(struct pollfd){ far_fd(f), POLLIN, 0 }, 1, 100);
    CHECK_EQ(rc, 1);
    return r;
}

static pid_t pid_of(int pipeline)
{
    pid_t pid;
    for (int i = 0; !(pid = __atomic_load_n(&pids[pipeline], __ATOMIC_SEQ_CST)) && i < 6000; i++)
        (void)poll(NULL, 0, 10);
    CHECK(pid);
    return pid;
}

static void is_gone(pid_t pid) /* soon; who collects the ended is the init of this machine */
{
    for (int i = 0; i < 6000; i++) {
        char path[64], text[512] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *f = fopen(path, "r");
        if (!f)
            return;
        (void)!fread(text, 1, sizeof text - 1, f);
        fclose(f);
        const char *state = strrchr(text, ')');
        if (!state || state[2] == 'Z' || state[2] == 'X')
            return;
        (void)poll(NULL, 0, 10);
    }
    fail_msg("process %d is still there", (int)pid);
}

TEST(far, a_task_ends_and_says_how)
{
    static const int kinds[] = { ENDS, FAILS };
    struct far *f = begin(kinds);
    start(f, 0, 7);
    CHECK_EQ(far_awaited(f), 1);
    struct far_report r = next(f);
    CHECK_EQ(r.how, FAR_DONE);
    CHECK_EQ(r.count.listed, 40);
    CHECK_EQ(far_awaited(f), 0);
    start(f, 1, 7);
    r = next(f);
    CHECK_EQ(r.how, FAR_FAILED);
    CHECK_EQ(r.err.code, ERR_LEASE_LOST);
    far_close(f);
}

TEST(far, a_place_that_hangs_holds_itself_and_no_other)
{
    static const int kinds[] = { HANGS, ENDS };
    struct far *f = begin(kinds);
    start(f, 0, 7);
    CHECK(!far_has_room(f, 7));
    start(f, 1, 8);
    struct far_report r = next(f);
    CHECK_EQ(r.task.pipeline, 1);
    CHECK_EQ(far_awaited(f), 1);
    CHECK(!far_has_room(f, 7));
    far_close(f);
    is_gone(pid_of(0));
}

TEST(far, who_is_silent_at_a_mount_is_told_once_and_not_awaited)
{
    static const int kinds[] = { LIVES, HANGS, HANGS };
    struct far *f = begin(kinds);
    for (int i = 0; i < 3; i++) {
        const struct far_task task = { .pipeline = i, .place = 7 + (uint64_t)i, .mount = i < 2 };
        CHECK_EQ(far_start(f, &task, &err), 0);
    }
    (void)pid_of(0); /* it has said that it lives */
    CHECK(!far_silent(f, INT64_MAX));
    CHECK_EQ(far_awaited(f), 3);
    const struct far_task *silent;
    while (!(silent = far_silent(f, 1)))
        (void)poll(NULL, 0, 1);
    CHECK_EQ(silent->pipeline, 1);
    CHECK(!far_silent(f, 1));
    CHECK_EQ(far_awaited(f), 2);
    CHECK(!far_has_room(f, 8)); /* it hangs still */
    far_close(f);
}

TEST(far, a_task_that_dies_is_told)
{
    static const int kinds[] = { DIES, ENDS };
    struct far *f = begin(kinds);
    start(f, 0, 7);
    struct far_report r = next(f);
    CHECK_EQ(r.how, FAR_DIED);
    CHECK_EQ(r.task.pipeline, 0);
    CHECK(strstr(r.err.msg, "Killed"));
    start(f, 1, 7); /* and its place is free */
    CHECK_EQ(next(f).how, FAR_DONE);
    far_close(f);
}

TEST(far, there_are_no_more_than_so_many)
{
    static const int kinds[FAR_MAX] = { HANGS, HANGS, HANGS, HANGS, HANGS, HANGS, HANGS, HANGS,
                                        HANGS, HANGS, HANGS, HANGS, HANGS, HANGS, HANGS, ENDS };
    struct far *f = begin(kinds);
    for (int i = 0; i < FAR_MAX; i++)
        start(f, i, (uint64_t)i + 1);
    CHECK(!far_has_room(f, 100));
    for (int i = 0; i < 50; i++) { /* the last one's place is taken again at once */
        CHECK_EQ(next(f).task.pipeline, FAR_MAX - 1);
        start(f, FAR_MAX - 1, 99);
    }
    far_close(f);
}

TEST(far, who_does_not_hear_is_killed)
{
    static const int kinds[] = { DEAF };
    struct far *f = begin(kinds);
    start(f, 0, 7);
    pid_t pid = pid_of(0);
    far_close(f);
    is_gone(pid);
}

TEST(far, nothing_outlives_the_scanner)
{
    static const int kinds[] = { DEAF };
    struct far *f = begin(kinds);
    far_close(f);
    pid_t scanner = fork();
    CHECK(scanner >= 0);
    if (scanner == 0) {
        struct far_task task = { .pipeline = 0, .place = 7 };
        if (far_open(&f, serve, kinds, &err) == 0)
            (void)far_start(f, &task, &err);
        for (;;)
            (void)pause();
    }
    pid_t pid = pid_of(0);
    kill(scanner, SIGKILL);
    CHECK_EQ(waitpid(scanner, NULL, 0), scanner);
    is_gone(pid);
}
