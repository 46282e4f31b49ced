#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "test.h"

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

/* ---- clocks and uids ---- */

TEST(sys, clocks_go_on_and_can_be_moved)
{
    int64_t wall = sys_now_ms(), mono = sys_mono_ms(), us = sys_mono_us();
    CHECK(wall > 1700000000000);
    sys_clock_advance(3600000);
    CHECK(sys_now_ms() - wall >= 3600000);
    CHECK(sys_now_ms() - wall < 3600000 + 60000);
    CHECK(sys_mono_ms() - mono >= 3600000);
    CHECK(sys_mono_us() - us < 60000000); /* the measuring clock does not move */
    sys_clock_advance(-3600000);
    CHECK(sys_now_ms() - wall < 60000);
}

TEST(sys, uids_are_well_formed_and_sort_by_birth)
{
    char a[SYS_UID_LEN + 1], b[SYS_UID_LEN + 1];
    sys_uid(a);
    CHECK_EQ(strlen(a), SYS_UID_LEN);
    CHECK_EQ(strspn(a, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), SYS_UID_LEN);
    sys_clock_advance(2);
    sys_uid(b);
    sys_clock_advance(-2);
    CHECK(strcmp(a, b) < 0);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

TEST(sys, no_uid_is_given_twice_not_even_by_a_forked_child)
{
    enum { EACH = 2000 };
    static char all[2 * EACH][SYS_UID_LEN + 1];
    char first[SYS_UID_LEN + 1];
    sys_uid(first); /* so that the pool is filled before the fork */
    int pipe_fds[2];
    CHECK_EQ(pipe(pipe_fds), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    for (int i = 0; i < EACH; i++)
        sys_uid(all[i]);
    if (pid == 0) {
        struct err err;
        _exit(sys_write_all(pipe_fds[1], all, sizeof all / 2, "pipe", &err) < 0);
    }
    close(pipe_fds[1]);
    size_t got = 0;
    for (ssize_t n; (n = read(pipe_fds[0], (char *)all[EACH] + got, sizeof all / 2 - got)) > 0;)
        got += (size_t)n;
    close(pipe_fds[0]);
    CHECK_EQ(got, sizeof all / 2);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    qsort(all, 2 * EACH, sizeof all[0], by_text);
    for (int i = 1; i < 2 * EACH; i++)
        CHECK(strcmp(all[i - 1], all[i]) != 0);
}

enum { THREAD_UIDS = 300000 };
static pthread_barrier_t both;

static void *make_uids(void *out)
{
    char(*uids)[SYS_UID_LEN + 1] = out;
    pthread_barrier_wait(&both);
    for (int i = 0; i < THREAD_UIDS; i++)
        sys_uid(uids[i]);
    return NULL;
}

TEST(sys, no_uid_is_given_twice_by_two_threads)
{
    static char all[2 * THREAD_UIDS][SYS_UID_LEN + 1];
    pthread_t threads[2];
    CHECK_EQ(pthread_barrier_init(&both, NULL, 2), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, make_uids, all[i * THREAD_UIDS]), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    pthread_barrier_destroy(&both);
    qsort(all, 2 * THREAD_UIDS, sizeof all[0], by_text);
    for (int i = 1; i < 2 * THREAD_UIDS; i++)
        CHECK(strcmp(all[i - 1], all[i]) != 0);
}

TEST(sys, random_numbers_use_all_their_bits)
{
    uint64_t any = 0, all = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        uint64_t r = sys_random();
        any |= r;
        all &= r;
    }
    CHECK(any == UINT64_MAX);
    CHECK(all == 0);
}

/* ---- signals: each in a child of its own ---- */

static int in_child(int (*run)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(run());
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static int count_signals(void)
{
    static uint32_t wake;
    sys_signals_init(&wake);
    if (sys_stop_requested() || sys_reload_requested())
        return 1;
    raise(SIGTERM);
    raise(SIGINT);
    if (sys_stop_requested() != 2 || wake != 2)
        return 2;
    raise(SIGHUP);
    if (wake != 3 || sys_stop_requested() != 2)
        return 3;
    if (!sys_reload_requested() || sys_reload_requested()) /* once for each */
        return 4;
    raise(SIGPIPE);
    return 0;
}

TEST(sys, signals_are_counted_and_wake)
{
    CHECK_EQ(in_child(count_signals), 0);
}

static int sleep_is_cut_short(void)
{
    sys_signals_init(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) { /* until the parent is woken and kills us */
            kill(parent, SIGTERM);
            struct timespec pause_ns = { 0, 1000000 };
            nanosleep(&pause_ns, NULL);
        }
    }
    struct timespec long_ns = { 60, 0 };
    int rc = nanosleep(&long_ns, NULL);
    int saved = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return !(rc == -1 && saved == EINTR);
}

TEST(sys, a_signal_ends_a_sleep)
{
    CHECK_EQ(in_child(sleep_is_cut_short), 0);
}

/* ---- files and folders ---- */

TEST(sys, folders_are_made_with_their_parents)
{
    struct err err = { 0 };
    const char *path = test_file("a/b//c");
    CHECK_OK(sys_mkdirs(path, &err), err);
    CHECK_OK(sys_mkdirs(path, &err), err);
    struct stat st;
    CHECK_EQ(stat(path, &st), 0);
    CHECK(S_ISDIR(st.st_mode));
    CHECK_EQ(st.st_mode & 0027, 0); /* nothing for others, no writing for the group */
    CHECK_EQ(stat(test_file("a"), &st), 0);
}

TEST(sys, a_file_in_the_way_of_a_folder_is_an_error)
{
    struct err err = { 0 };
    const char *path = test_file("file");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQ(sys_mkdirs(path, &err), -1);
    CHECK_EQ(err.sys, ENOTDIR);
    CHECK_EQ(sys_mkdirs(test_file("file/below"), &err), -1);
    CHECK_EQ(err.sys, ENOTDIR);
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    CHECK_EQ(sys_mkdirs(longer, &err), -1);
    CHECK_EQ(err.sys, ENAMETOOLONG);
}

TEST(sys, a_tree_is_removed_but_not_what_a_link_points_at)
{
    struct err err = { 0 };
    CHECK_OK(sys_mkdirs(test_file("tree/one/two"), &err), err);
    CHECK_OK(sys_mkdirs(test_file("kept"), &err), err);
    static const char *const files[] = { "tree/x", "tree/one/y", "tree/one/two/z", "kept/me" };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        int fd = open(test_file(files[i]), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        close(fd);
    }
    CHECK_EQ(symlink("../../kept", test_file("tree/one/link")), 0);
    CHECK_EQ(symlink("../kept", test_file("tree/link")), 0);
    CHECK_OK(sys_remove_tree(AT_FDCWD, test_file("tree"), &err), err);
    CHECK_EQ(access(test_file("tree"), F_OK), -1);
    CHECK_EQ(access(test_file("kept/me"), F_OK), 0);
    CHECK_OK(sys_remove_tree(AT_FDCWD, test_file("tree"), &err), err); /* missing is fine */
    CHECK_EQ(symlink("kept", test_file("alone")), 0);
    CHECK_OK(sys_remove_tree(AT_FDCWD, test_file("alone"), &err), err);
    CHECK_EQ(access(test_file("kept/me"), F_OK), 0);
}

TEST(sys, everything_is_written_over_short_writes)
{
    struct err err = { 0 };
    enum { SIZE = 1 << 20 };
    int fds[2];
    CHECK_EQ(pipe(fds), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        static char bytes[SIZE];
        for (int i = 0; i < SIZE; i++)
            bytes[i] = (char)(i / 7);
        close(fds[0]);
        fcntl(fds[1], F_SETFL, 0);
        _exit(sys_write_all(fds[1], bytes, SIZE, "pipe", &err) < 0);
    }
    close(fds[1]);
    size_t got = 0;
    char part[777];
    for (ssize_t n; (n = read(fds[0], part, sizeof part)) > 0; got += (size_t)n)
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(part[i], (char)((got + (size_t)i) / 7));
    close(fds[0]);
    CHECK_EQ(got, SIZE);
    int status;
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
}

TEST(sys, a_full_disk_and_a_closed_file_are_told_with_the_name)
{
    struct err err = { 0 };
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK_EQ(sys_write_all(fd, "x", 1, "spool/1.part", &err), -1);
    CHECK_EQ(err.code, ERR_DISK_FULL);
    CHECK_HAS(err.msg, "'spool/1.part'");
    close(fd);
    CHECK_EQ(sys_write_all(-1, "x", 1, "gone", &err), -1);
    CHECK_EQ(err.sys, EBADF);
    CHECK_OK(sys_write_all(-1, "", 0, "nothing", &err), err);
    CHECK_EQ(sys_fsync_dir(-1, "folder", &err), -1);
    CHECK_HAS(err.msg, "'folder'");
    int dir = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_OK(sys_fsync_dir(dir, "folder", &err), err);
    close(dir);
}

TEST(sys, network_file_systems_are_known_by_name)
{
    struct err err = { 0 };
    const char *fs = NULL;
    CHECK_EQ(sys_network_fs("/nonexistent/x", &fs, &err), -1);
    CHECK_HAS(err.msg, "/nonexistent/x");
    CHECK_EQ(sys_network_fs("/proc", &fs, &err), 0);
    setenv("QETL_TEST_FS", "nfs", 1);
    CHECK_EQ(sys_network_fs("/proc", &fs, &err), 1);
    CHECK_STR(fs, "nfs");
    unsetenv("QETL_TEST_FS");
}

TEST(sys, the_host_has_a_name_and_an_address)
{
    char name[256], ip[64];
    sys_host(name, sizeof name, ip, sizeof ip);
    CHECK(*name);
    CHECK_EQ(strspn(ip, "0123456789."), strlen(ip));
    CHECK(strchr(ip, '.'));
    char tiny[4]; /* a long name is cut, never overrun */
    sys_host(tiny, sizeof tiny, ip, sizeof ip);
    CHECK(strlen(tiny) < sizeof tiny);
    CHECK(sys_peak_rss() > 100000);
}

/* ---- fault points ---- */

static int fault_run(const char *spec)
{
    setenv("QETL_FAULT", spec, 1);
    sys_faults_init();
    int passed = 0;
    for (int i = 0; i < 5; i++) {
        if (sys_fault("other"))
            return 99;
        errno = 0;
        if (sys_fault("here"))
            return 10 * i + (errno == EIO ? 1 : errno == ENOSPC ? 2 : 3);
        passed++;
    }
    return passed;
}

static int fault_first(void)
{
    return fault_run("here:error");
}
static int fault_third(void)
{
    return fault_run("here:3:error");
}
static int fault_full(void)
{
    return fault_run("here:2:enospc");
}
static int fault_elsewhere(void)
{
    return fault_run("there:error");
}
static int fault_kill(void)
{
    return fault_run("here:2:kill");
}
static int fault_none(void)
{
    return fault_run("");
}
static int fault_wrong(void)
{
    return fault_run("here");
}

TEST(sys, a_fault_happens_where_and_when_it_was_asked_for)
{
    CHECK_EQ(in_child(fault_none), 5 << 8);
    CHECK_EQ(in_child(fault_wrong), 5 << 8);
    CHECK_EQ(in_child(fault_first), 1 << 8);
    CHECK_EQ(in_child(fault_third), 21 << 8);
    CHECK_EQ(in_child(fault_full), 12 << 8);
    CHECK_EQ(in_child(fault_elsewhere), 5 << 8);
    int status = in_child(fault_kill);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int clock_from_environment(void)
{
    int64_t before = sys_now_ms();
    setenv("QETL_CLOCK_OFFSET_MS", "86400000", 1);
    sys_faults_init();
    int64_t moved = sys_now_ms() - before;
    return !(moved >= 86400000 && moved < 86400000 + 60000);
}

TEST(sys, the_environment_moves_the_clock)
{
    CHECK_EQ(in_child(clock_from_environment), 0);
}

/* ---- systemd ---- */

TEST(sys, a_notification_reaches_its_socket)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", test_file("notify"));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    unsetenv("NOTIFY_SOCKET");
    sys_notify("READY=1"); /* nobody listens: nothing happens */
    setenv("NOTIFY_SOCKET", sun.sun_path, 1);
    sys_notify("STATUS=%d jobs", 3);
    char text[64];
    ssize_t n = recv(fd, text, sizeof text, MSG_DONTWAIT);
    CHECK(n > 0);
    CHECK_SLICE(((struct str){ text, (size_t)n }), "STATUS=3 jobs");
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    sys_notify("READY=1");
    unsetenv("NOTIFY_SOCKET");
    close(fd);
}

TEST(sys, the_watchdog_is_for_the_process_it_names)
{
    char pid[32];
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    CHECK_EQ(sys_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    CHECK_EQ(sys_watchdog_ms(), 15000);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    CHECK_EQ(sys_watchdog_ms(), 15000);
    setenv("WATCHDOG_PID", "1", 1);
    CHECK_EQ(sys_watchdog_ms(), 0);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* ---- the log ---- */

/* What a call writes to standard error; in one of 2 rotating buffers. */
static const char *logged(void (*call)(void))
{
    static char out[2][2048];
    static unsigned next;
    char *text = out[next++ % 2];
    fflush(stderr);
    int saved = dup(STDERR_FILENO), fds[2];
    CHECK_EQ(pipe(fds), 0);
    CHECK(dup2(fds[1], STDERR_FILENO) >= 0);
    close(fds[1]);
    call();
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    ssize_t n = read(fds[0], text, sizeof out[0] - 1);
    close(fds[0]);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void log_everything(void)
{
    log_event(LOG_INFO, "job staged", "job", "01JC", "rows", log_num(-50000), "gone", NULL, "note",
              "two \"words\"\n\x01", "empty", "", NULL);
}

static void log_broken(void)
{
    log_event(LOG_INFO, "seen", "name", "a\xff", "kept", "\xc3\xa4", NULL);
}

static void log_quiet(void)
{
    log_event(LOG_DEBUG, "not shown", NULL);
}

static void log_failure(void)
{
    struct err err;
    err_set(&err, ERR_HEADER, "column 'id' is missing");
    log_error("job failed", &err, "job", "01JC");
}

TEST(sys, a_log_line_is_one_event_in_text)
{
    unsetenv("JOURNAL_STREAM");
    log_init(LOG_INFO, LOG_TEXT, "worker-2");
    const char *line = logged(log_everything);
    CHECK(text_rfc3339_ms((struct str){ line, 24 }) != INT64_MIN);
    CHECK_STR(line + 24, " info  worker-2: job staged job=01JC rows=-50000 note=\"two "
                         "\\\"words\\\"\\n\\u0001\" empty=\"\"\n");
    CHECK_HAS(logged(log_broken), " seen name=\"a\xef\xbf\xbd\" kept=\xc3\xa4\n");
    CHECK_STR(logged(log_quiet), "");
    CHECK_HAS(
        logged(log_failure),
        "job failed job=01JC code=header error=\"column 'id' is missing\" hint=\"check columns=");
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_init(LOG_ERROR, LOG_TEXT, "worker-2");
    CHECK_STR(logged(log_everything), "");
    CHECK(!strncmp(logged(log_failure), "<3>worker-2: job failed", 23));
    unsetenv("JOURNAL_STREAM");
    log_init(LOG_INFO, LOG_TEXT, "test");
}

static void log_hostile(void)
{
    log_event(LOG_INFO, "job failed", "error", "bytes \xff\xc3( and \x7f, tab\t", "name",
              "\xc3\xa4", NULL);
}

TEST(sys, a_log_line_is_a_json_object_when_asked_for)
{
    unsetenv("JOURNAL_STREAM");
    log_init(LOG_INFO, LOG_JSON, "worker-2");
    static void (*const calls[])(void) = { log_everything, log_failure, log_hostile };
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        const char *line = logged(calls[i]);
        size_t n = strlen(line);
        CHECK(n && line[n - 1] == '\n');
        CHECK(memchr(line, '\n', n) == line + n - 1);
        struct json_value v, role;
        struct json_fault fault;
        if (!json_check((struct str){ line, n - 1 }, &v, &fault))
            fail_msg("%s at %zu in %s", fault.what, fault.at, line);
        CHECK_EQ(json_member(&v, "role", &role), 1);
        CHECK_SLICE(role.raw, "\"worker-2\"");
    }
    log_init(LOG_INFO, LOG_TEXT, "test");
}

TEST(sys, log_levels_have_names)
{
    CHECK_EQ(log_level_by_name("error"), LOG_ERROR);
    CHECK_EQ(log_level_by_name("debug"), LOG_DEBUG);
    CHECK_EQ(log_level_by_name("loud"), -1);
}
