/*
 * The system: clocks that a test can move, uids, signals, folders made durable, named fault points.
 */
#ifndef QETL_BASE_SYS_H
#define QETL_BASE_SYS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

int64_t sys_now_ms(void);  /* wall clock, ms since 1970 UTC, plus what sys_clock_advance() added */
int64_t sys_mono_ms(void); /* monotonic clock in ms, plus what sys_clock_advance() added */
int64_t sys_mono_us(void); /* monotonic clock in us, for measuring; never moved by tests */
void sys_clock_advance(int64_t ms); /* tests only; also QETL_CLOCK_OFFSET_MS in the environment */
void sys_clock_stop(void);          /* tests only: these two stand still from now on but for sys_clock_advance(), however slow the machine is */

enum { SYS_UID_LEN = 26 };
/* A new uid: 48 bits of time in ms, 80 random bits, as 26 characters of Crockford's base 32 with NUL.
 * Sorts by time of birth; never given twice (ULID, https://github.com/ulid/spec). */
void sys_uid(char out[SYS_UID_LEN + 1]);
uint64_t sys_random(void); /* 64 random bits from the kernel */

/* Signals of a role: SIGTERM and SIGINT count up, SIGHUP is noted, SIGPIPE is ignored. The handler also
 * adds 1 to *wake (when not NULL) and wakes its futex, so that no sleep misses a signal. */
void sys_signals_init(uint32_t *wake);
int sys_stop_requested(void);    /* number of SIGTERM/SIGINT so far */
bool sys_reload_requested(void); /* true once after each SIGHUP */
/* Start a thread that no signal reaches: those are for the main thread. stack: its bytes; 0: what is usual. -1: no-memory. */
int sys_thread(pthread_t *thread, size_t stack, void *(*main)(void *), void *arg, struct err *err);

/* 0, or -1: the folder is there afterwards (parents too), mode 0750 when made. */
int sys_mkdirs(const char *path, struct err *err);
int sys_fsync_dir(int dirfd, const char *what, struct err *err);
/* Remove a folder and all that is below it; links are not followed. Missing is fine. */
int sys_remove_tree(int dirfd, const char *name, struct err *err);
/* Write all of it, over short writes and EINTR. */
int sys_write_all(int fd, const void *p, size_t n, const char *what, struct err *err);
/* 1: the path lies on a network file system (name of it in *fs), 0: local, -1 error. */
int sys_network_fs(const char *path, const char **fs, struct err *err);
/* Peak resident set of this process in bytes (RUSAGE_SELF). */
int64_t sys_peak_rss(void);
/* Start of a process in clock ticks since boot (proc(5), starttime): with its number it names a process for good. 0: there is
 * none, or it is a zombie, or /proc does not show it. */
int64_t sys_process_start(int64_t pid);
/* Is the process that began then (0: not known) still there? A zombie is not; what cannot be known is taken to be there. */
bool sys_process_there(int64_t pid, int64_t start);
/* Which boot of the machine this is: a number that another boot does not have; 0 where /proc does not tell. With it
 * sys_mono_ms() means the same to every process. */
int64_t sys_boot(void);
/* The namespace that process numbers of ours belong to (pid_namespaces(7)), 0 where /proc does not show it. */
int64_t sys_process_namespace(void);
/* This host's name and first non-loopback address (or 127.0.0.1), each NUL-terminated. ip NULL: only the name, which costs
 * nothing. */
void sys_host(char *name, size_t name_cap, char *ip, size_t ip_cap);

/*
 * A named point at which a test can make things break. With QETL_FAULT="NAME:kill" in the environment
 * the process dies by SIGKILL when it passes NAME; "NAME:N:kill" at the N-th time; "NAME:N:error" makes
 * the call return true, and the caller fails as if the system call had, with errno EIO ("enospc" gives
 * ENOSPC); "NAME:N:hang" sleeps for ever; "NAME:N:stop" stops the process until it gets SIGCONT, and
 * then nothing has happened. Without the variable it costs one load and one branch.
 */
extern bool sys_faults_on;
bool sys_fault_hit(const char *name);
static inline bool sys_fault(const char *name) { return __builtin_expect(sys_faults_on, 0) && sys_fault_hit(name); }
/* Of standard input, output and error, what is closed refuses every use from now on: else the next file that is opened would be taken
 * for it, and be written to. Programs call it first. */
void sys_std_init(void);
void sys_faults_init(void); /* reads QETL_FAULT and QETL_CLOCK_OFFSET_MS; programs call it at once */

/* Tell systemd (or whoever set NOTIFY_SOCKET) "READY=1" and the like; nothing happens without it.
 * The protocol: sd_notify(3). */
void sys_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t sys_watchdog_ms(void); /* half of WATCHDOG_USEC in ms, or 0 where no watchdog watches us */

#endif
