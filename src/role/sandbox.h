/*
 * Take away from this process all that it does not need to read foreign bytes: new privileges,
 * other descriptors, other processes, files, network, and memory beyond a limit.
 */
#ifndef QETL_ROLE_SANDBOX_H
#define QETL_ROLE_SANDBOX_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* AddressSanitizer wants an address space without limit, some more system calls, and its own
 * handlers of signals. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_ASAN 1
#endif
#endif
#ifndef SANDBOX_ASAN
#define SANDBOX_ASAN 0
#endif

struct sandbox {
    const int *keep; /* descriptors that stay, besides standard error */
    int nkeep;
    int64_t memory; /* bytes of address space on top of what is mapped now; not set under
                       AddressSanitizer */
    pid_t parent;   /* this process dies with it */
    /* Called when paths are closed and threads can still be made, or NULL. They share the sandbox. */
    int (*threads)(void *arg, struct err *err);
    void *arg;
};

/*
 * Afterwards: standard input and output are /dev/null; the parent's death kills us; no core, no new
 * privileges, no ptrace; no path can be opened or looked at (ENOENT, and Landlock where the kernel
 * has it); any system call outside a list of about 60 (no socket, no clone, no exec, no executable
 * memory) kills the process with SIGSYS (where built with libseccomp). There is no way back.
 * Sources: seccomp(2), landlock(7), prctl(2), close_range(2). -1: some step failed; the process
 * must end.
 */
int sandbox_enter(const struct sandbox *s, struct err *err);

#endif
