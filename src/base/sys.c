/* Clocks, uids, signals, durable folders, fault points, sd_notify. */
#include "base/sys.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/futex.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"

static int64_t clock_offset_ms;
static int64_t stopped_ms[2]; /* the wall clock and the monotonic one; 0: they go */

static int64_t clock_read(clockid_t id, int64_t unit)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * unit + ts.tv_nsec / (1000000000 / unit);
}

int64_t sys_now_ms(void) { return (stopped_ms[0] ? stopped_ms[0] : clock_read(CLOCK_REALTIME, 1000)) + clock_offset_ms; }
int64_t sys_mono_ms(void) { return (stopped_ms[1] ? stopped_ms[1] : clock_read(CLOCK_MONOTONIC, 1000)) + clock_offset_ms; }
int64_t sys_mono_us(void) { return clock_read(CLOCK_MONOTONIC, 1000000); }
void sys_clock_advance(int64_t ms) { clock_offset_ms += ms; }

void sys_clock_stop(void)
{
    if (stopped_ms[0])
        return;
    stopped_ms[0] = clock_read(CLOCK_REALTIME, 1000);
    stopped_ms[1] = clock_read(CLOCK_MONOTONIC, 1000);
}

/* The kernel's random bytes, fetched a block at a time: a submit of a million jobs wants a million uids. */
static void random_bytes(void *p, size_t n)
{
    static _Thread_local char pool[4096];
    static _Thread_local size_t left;
    static _Thread_local pid_t owner;
    if (owner != getpid()) { /* a forked child must not repeat its parent's numbers */
        owner = getpid();
        left = 0;
    }
    if (left < n) {
        size_t got = 0;
        while (got < sizeof pool) {
            ssize_t r = getrandom(pool + got, sizeof pool - got, 0);
            if (r > 0)
                got += (size_t)r;
            else if (errno != EINTR)
                abort(); /* a Linux without random numbers: no uid may be given */
        }
        left = sizeof pool;
    }
    memcpy(p, pool + sizeof pool - left, n);
    left -= n;
}

uint64_t sys_random(void)
{
    uint64_t r;
    random_bytes(&r, sizeof r);
    return r;
}

void sys_uid(char out[SYS_UID_LEN + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint64_t ms = (uint64_t)sys_now_ms();
    unsigned char r[10];
    random_bytes(r, sizeof r);
    for (int i = 9; i >= 0; i--, ms >>= 5)
        out[i] = digits[ms & 31];
    /* 80 bits in two halves of 40 bits, 8 digits each */
    for (int half = 0; half < 2; half++) {
        uint64_t v = 0;
        for (int i = 0; i < 5; i++)
            v = v << 8 | r[half * 5 + i];
        for (int i = 7; i >= 0; i--, v >>= 5)
            out[10 + half * 8 + i] = digits[v & 31];
    }
    out[SYS_UID_LEN] = '\0';
}

static volatile sig_atomic_t stops, reload;
static uint32_t *signal_wake;

static void on_signal(int sig)
{
    int saved = errno;
    if (sig == SIGHUP)
        reload = 1;
    else
        stops++;
    if (signal_wake) {
        __atomic_add_fetch(signal_wake, 1, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, signal_wake, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    errno = saved;
}

void sys_signals_init(uint32_t *wake)
{
    signal_wake = wake;
    struct sigaction sa = { .sa_handler = on_signal }; /* no SA_RESTART: a sleep ends */
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int sys_stop_requested(void) { return stops; }

bool sys_reload_requested(void)
{
    bool r = reload;
    reload = 0;
    return r;
}

int sys_thread(pthread_t *thread, size_t stack, void *(*main)(void *), void *arg, struct err *err)
{
    sigset_t all, old;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    if (stack)
        pthread_attr_setstacksize(&attr, stack);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(thread, &attr, main, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc ? err_set(err, ERR_NO_MEMORY, "cannot start a thread: %s", strerror(rc)) : 0;
}

int sys_mkdirs(const char *path, struct err *err)
{
    char part[4096];
    size_t n = strlen(path);
    if (n >= sizeof part) {
        errno = ENAMETOOLONG;
        return err_sys(err, "make the folder '%s'", path);
    }
    memcpy(part, path, n + 1);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char c = *p;
        *p = '\0';
        if (mkdir(part, 0750) < 0 && errno != EEXIST)
            return err_sys(err, "make the folder '%s'", part);
        *p = c;
        if (!c)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return err_sys(err, "make the folder '%s'", path);
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return err_sys(err, "make the folder '%s'", path);
    }
    return 0;
}

int sys_fsync_dir(int dirfd, const char *what, struct err *err)
{
    if (fsync(dirfd) < 0)
        return err_sys(err, "fsync the folder '%s'", what);
    return 0;
}

int sys_remove_tree(int dirfd, const char *name, struct err *err)
{
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_sys(err, "remove '%s'", name);
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, "remove '%s'", name);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return err_sys(err, "remove '%s'", name);
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            rc = sys_remove_tree(fd, e->d_name, err);
    closedir(dir);
    if (rc == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        rc = err_sys(err, "remove '%s'", name);
    return rc;
}

int sys_write_all(int fd, const void *p, size_t n, const char *what, struct err *err)
{
    const char *at = p;
    while (n) {
        ssize_t w = write(fd, at, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_sys(err, "write '%s'", what);
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

int sys_network_fs(const char *path, const char **fs, struct err *err)
{
    /* magic numbers: statfs(2) and linux/magic.h; FUSE is counted as network when sshfs-like mounts
     * cannot be told from local ones, because WAL needs shared memory that FUSE does not promise */
    static const struct {
        unsigned long magic;
        const char *name;
    } table[] = {
        { 0x6969, "nfs" },       { 0xff534d42, "cifs" },  { 0xfe534d42, "smb2" }, { 0x517b, "smb" },
        { 0x65735546, "fuse" },  { 0x01021997, "9p" },    { 0x00c36400, "ceph" }, { 0x5346414f, "afs" },
        { 0x6b414653, "afs" },   { 0x47504653, "gpfs" },  { 0x0bd00bd0, "lustre" },
        { 0x7461636f, "ocfs2" }, { 0x01161970, "gfs2" },  { 0x73757245, "coda" },
    };
    const char *pretend = getenv("QETL_TEST_FS"); /* a test cannot mount NFS */
    if (pretend && *pretend) {
        *fs = pretend;
        return 1;
    }
    struct statfs st;
    if (statfs(path, &st) < 0)
        return err_sys(err, "look at the file system of '%s'", path);
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if ((unsigned long)st.f_type == table[i].magic) {
            *fs = table[i].name;
            return 1;
        }
    return 0;
}

int64_t sys_peak_rss(void)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    return (int64_t)ru.ru_maxrss * 1024;
}

/* The address that this host would send from to the world: a datagram socket finds it without sending, and without
 * netlink, which the units forbid. 192.0.2.1 is nobody's (RFC 5737). */
static bool outward_address(struct sockaddr_in *own)
{
    struct sockaddr_in world = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xC0000201) };
    socklen_t n = sizeof *own;
    AUTO(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&world, sizeof world) == 0 &&
           getsockname(fd, (struct sockaddr *)own, &n) == 0;
}

/* Without a way to the world: of the first interface that is not loopback. */
static bool interface_address(struct sockaddr_in *own)
{
    struct ifaddrs *list;
    bool found = false;
    if (getifaddrs(&list) < 0)
        return false;
    for (struct ifaddrs *a = list; a && !found; a = a->ifa_next)
        if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && !(a->ifa_flags & IFF_LOOPBACK)) {
            memcpy(own, a->ifa_addr, sizeof *own);
            found = true;
        }
    freeifaddrs(list);
    return found;
}

/* Field 3 (state) and 22 (starttime) of /proc/PID/stat. False: it cannot be read. */
static bool process_stat(int64_t pid, char *state, int64_t *start)
{
    char name[64], text[1024];
    snprintf(name, sizeof name, "/proc/%lld/stat", (long long)pid);
    AUTO(fd_closep) int fd = open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *p = strrchr(text, ')'); /* the name of the program may hold anything; field 3 begins behind it */
    if (!p || !p[1])
        return false;
    *state = p[2];
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    *start = p ? strtoll(p, NULL, 10) : 0;
    return true;
}

static bool state_gone(char state) { return state == 'Z' || state == 'X'; }

int64_t sys_process_start(int64_t pid)
{
    char state;
    int64_t start;
    return process_stat(pid, &state, &start) && !state_gone(state) ? start : 0;
}

bool sys_process_there(int64_t pid, int64_t start)
{
    char state;
    int64_t now;
    if (kill((pid_t)pid, 0) < 0 && errno != EPERM)
        return false;
    if (!process_stat(pid, &state, &now))
        return true;
    return !state_gone(state) && (now == 0 || start == 0 || now == start); /* else a later process has the number */
}

int64_t sys_boot(void)
{
    static int64_t boot; /* the same for the life of a process */
    char text[64] = "";
    struct hash h;
    int fd = boot ? -1 : open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        hash_init(&h);
        hash_add(&h, text, (size_t)n);
        boot = (int64_t)(hash_end(&h) >> 1) | 1;
    }
    return boot;
}

int64_t sys_process_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (int64_t)st.st_ino : 0;
}

void sys_host(char *name, size_t name_cap, char *ip, size_t ip_cap)
{
    struct sockaddr_in own;
    if (gethostname(name, name_cap) < 0)
        snprintf(name, name_cap, "localhost");
    name[name_cap - 1] = '\0';
    if (!ip)
        return;
    if (!outward_address(&own) && !interface_address(&own))
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!inet_ntop(AF_INET, &own.sin_addr, ip, (socklen_t)ip_cap))
        snprintf(ip, ip_cap, "%s", "127.0.0.1");
}

void sys_std_init(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); /* the lowest that is free: fd */
}

bool sys_faults_on;
static struct {
    char name[64];
    long at, seen;
    char action[16];
} fault;

void sys_faults_init(void)
{
    const char *offset = getenv("QETL_CLOCK_OFFSET_MS");
    if (offset)
        clock_offset_ms = strtoll(offset, NULL, 10);
    const char *spec = getenv("QETL_FAULT");
    if (!spec || !*spec)
        return;
    char copy[128];
    snprintf(copy, sizeof copy, "%s", spec);
    char *save = NULL, *name = strtok_r(copy, ":", &save), *second = strtok_r(NULL, ":", &save),
         *third = strtok_r(NULL, ":", &save);
    if (!name || !second)
        return;
    snprintf(fault.name, sizeof fault.name, "%s", name);
    fault.seen = 0;
    fault.at = third ? strtol(second, NULL, 10) : 1;
    snprintf(fault.action, sizeof fault.action, "%s", third ? third : second);
    sys_faults_on = true;
}

bool sys_fault_hit(const char *name)
{
    if (strcmp(name, fault.name) || ++fault.seen != fault.at)
        return false;
    if (!strcmp(fault.action, "kill"))
        kill(getpid(), SIGKILL);
    while (!strcmp(fault.action, "hang"))
        pause();
    if (!strcmp(fault.action, "stop"))
        return raise(SIGSTOP) != 0;
    errno = !strcmp(fault.action, "enospc") ? ENOSPC : EIO;
    return true;
}

void sys_notify(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || (path[0] != '/' && path[0] != '@'))
        return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    size_t n = strlen(path);
    if (n >= sizeof sun.sun_path)
        return;
    memcpy(sun.sun_path, path, n);
    if (path[0] == '@')
        sun.sun_path[0] = '\0';
    AUTO(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sun,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

int64_t sys_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 2000;
}
