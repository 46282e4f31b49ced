/*
 * The sandbox of the reader child, step by step; each step holds by itself. The seccomp list comes
 * last, since it forbids the steps before it.
 */
#include "config.h"

#include "role/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#include "base/mem.h"

static int die_with_parent(pid_t parent, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_sys(err, "prctl(PR_SET_PDEATHSIG)");
    return getppid() == parent ? 0 : err_set(err, ERR_SHUTDOWN, "the parent is gone");
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int only_descriptors(const struct sandbox *s, struct err *err)
{
    enum { KEEP_MAX = 16 };
    int keep[KEEP_MAX];
    if (s->nkeep > KEEP_MAX)
        return err_set(err, ERR_INTERNAL, "too many descriptors to keep");
    for (int i = 0; i < s->nkeep; i++)
        keep[i] = s->keep[i];
    qsort(keep, (size_t)s->nkeep, sizeof *keep, compare_ints);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        return err_sys(err, "open /dev/null");
    unsigned first = STDERR_FILENO + 1;
    for (int i = 0; i < s->nkeep; i++) {
        if ((unsigned)keep[i] > first && close_range(first, (unsigned)keep[i] - 1, 0) < 0)
            return err_sys(err, "close other descriptors");
        first = (unsigned)keep[i] + 1;
    }
    return close_range(first, ~0u, 0) < 0 ? err_sys(err, "close other descriptors") : 0;
}

static int64_t address_space(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

static int limit(int what, int64_t value, const char *name, struct err *err)
{
    struct rlimit now, r;
    if (getrlimit(what, &now) < 0)
        return err_sys(err, "getrlimit(%s)", name);
    r.rlim_max = now.rlim_max == RLIM_INFINITY || (int64_t)now.rlim_max > value ? (rlim_t)value
                                                                                : now.rlim_max;
    r.rlim_cur = r.rlim_max;
    return setrlimit(what, &r) < 0 ? err_sys(err, "setrlimit(%s)", name) : 0;
}

static int limits(const struct sandbox *s, struct err *err)
{
    enum { FILES = 128 };
    if (limit(RLIMIT_CORE, 0, "core", err) < 0 || limit(RLIMIT_NOFILE, FILES, "nofile", err) < 0)
        return -1;
    return SANDBOX_ASAN ? 0 : limit(RLIMIT_AS, address_space() + s->memory, "as", err);
}

/* No file can be opened by name any more. An older kernel without Landlock leaves this to seccomp.
 */
static int no_paths(struct err *err)
{
    struct landlock_ruleset_attr attr = {
        .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                             LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                             LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                             LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                             LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                             LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                             LANDLOCK_ACCESS_FS_MAKE_SYM,
    };
    AUTO(fd_closep) int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : err_sys(err, "make a Landlock ruleset");
    return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? err_sys(err, "enter Landlock") : 0;
}

#ifdef HAVE_SECCOMP
static const int allowed[] = {
    /* descriptors that we have */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(fadvise64),
    SCMP_SYS(sync_file_range),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    /* memory */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* time, locks, itself */
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getrandom),
    SCMP_SYS(getrusage),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};
/* Asked by name, files do not exist: libraries look for zones, locales and character sets, and do
 * without. */
static const int refused[] = { SCMP_SYS(open),      SCMP_SYS(openat),   SCMP_SYS(stat),
                               SCMP_SYS(lstat),     SCMP_SYS(statx),    SCMP_SYS(access),
                               SCMP_SYS(faccessat), SCMP_SYS(readlink), SCMP_SYS(readlinkat) };
/* What the sanitizers' own reports need; paths stay closed by Landlock. */
static const int allowed_asan[] = { SCMP_SYS(sigaltstack), SCMP_SYS(openat),
                                    SCMP_SYS(readlink),    SCMP_SYS(readlinkat),
                                    SCMP_SYS(newfstatat),  SCMP_SYS(sched_getaffinity),
                                    SCMP_SYS(getppid) };

static int rules_for(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = seccomp_rule_add(f, action, calls[i], 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Memory is never both data and code; a process signals none but itself (abort does). */
static int allow_with_care(scmp_filter_ctx f)
{
    int rc;
    if ((rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))) < 0 ||
        (rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0))) < 0 ||
        /* glibc's fstat is newfstatat with an empty path */
        (!SANDBOX_ASAN &&
         (rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
                                SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH))) < 0) ||
        (!SANDBOX_ASAN &&
         (rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOENT), SCMP_SYS(newfstatat), 1,
                                SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, 0))) < 0) ||
        (rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                               SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0))) < 0)
        return rc;
    return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1, SCMP_A1(SCMP_CMP_EQ, F_GETFL, 0));
}

static int only_calls(struct err *err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!f)
        return err_nomem(err);
    int rc = rules_for(f, SCMP_ACT_ALLOW, allowed, COUNT_OF(allowed));
    if (rc == 0 && SANDBOX_ASAN)
        rc = rules_for(f, SCMP_ACT_ALLOW, allowed_asan, COUNT_OF(allowed_asan));
    else if (rc == 0)
        rc = rules_for(f, SCMP_ACT_ERRNO(ENOENT), refused, COUNT_OF(refused));
    if (rc == 0)
        rc = allow_with_care(f);
    if (rc == 0)
        rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1); /* for all threads */
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    errno = -rc;
    return rc < 0 ? err_sys(err, "load the seccomp filter") : 0;
}
#else
static int only_calls(struct err *err __attribute__((unused)))
{
    return 0;
}
#endif

int sandbox_enter(const struct sandbox *s, struct err *err)
{
    if (die_with_parent(s->parent, err) < 0 || only_descriptors(s, err) < 0 || limits(s, err) < 0)
        return -1;
    if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys(err, "prctl");
    /* Landlock is passed on to threads that are made later, not to those that are there */
    if (no_paths(err) < 0 || (s->threads && s->threads(s->arg, err) < 0) ||
        limit(RLIMIT_NPROC, 0, "nproc", err) < 0)
        return -1;
    return only_calls(err);
}
