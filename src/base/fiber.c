/*
 * Fibers by ucontext(3): makecontext and swapcontext, which change nothing but registers, the stack and
 * the mask of signals (one system call a switch; so a switch is for a batch, not for a row).
 *
 * AddressSanitizer is told of each change of stacks, or it would take one for an overflow of the other.
 */
#include "base/fiber.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

struct fiber {
    ucontext_t own, back;
    void (*run)(void *arg);
    void *arg;
    char *map; /* the page below the stack, then the stack */
    size_t page, stack;
    bool begun, done;
#ifdef FIBER_ASAN
    void *own_fake, *back_fake;
    const void *back_bottom;
    size_t back_size;
#endif
};

static void before_resume(struct fiber *f)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&f->back_fake, f->map + f->page, f->stack);
#else
    (void)f;
#endif
}

static void after_resume(struct fiber *f)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(f->back_fake, NULL, NULL);
#else
    (void)f;
#endif
}

static void before_pause(struct fiber *f)
{
#ifdef FIBER_ASAN
    /* a stack that is never come back to gives its fake frames up */
    __sanitizer_start_switch_fiber(f->done ? NULL : &f->own_fake, f->back_bottom, f->back_size);
#else
    (void)f;
#endif
}

static void after_pause(struct fiber *f)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(f->own_fake, &f->back_bottom, &f->back_size);
#else
    (void)f;
#endif
}

/* makecontext passes ints: the pointer comes in two halves. */
static void start(unsigned high, unsigned low)
{
    struct fiber *f = (struct fiber *)(uintptr_t)((uint64_t)high << 32 | low);
    after_pause(f);
    f->run(f->arg);
    f->done = true;
    before_pause(f);
}

int fiber_new(struct fiber **out, size_t stack, void (*run)(void *arg), void *arg, struct err *err)
{
    struct fiber *f = calloc(1, sizeof *f);
    if (!f)
        return err_nomem(err);
    f->page = (size_t)sysconf(_SC_PAGESIZE);
    f->stack = (stack + f->page - 1) / f->page * f->page;
    f->run = run;
    f->arg = arg;
    f->map = mmap(NULL, f->page + f->stack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (f->map == MAP_FAILED) {
        free(f);
        return err_nomem(err);
    }
    if (mprotect(f->map, f->page, PROT_NONE) < 0 || getcontext(&f->own) < 0) {
        err_sys(err, "make a stack");
        fiber_free(f);
        return -1;
    }
    f->own.uc_stack.ss_sp = f->map + f->page;
    f->own.uc_stack.ss_size = f->stack;
    f->own.uc_link = &f->back;
    uintptr_t self = (uintptr_t)f;
    makecontext(&f->own, (void (*)(void))start, 2, (unsigned)((uint64_t)self >> 32), (unsigned)self);
    *out = f;
    return 0;
}

void fiber_resume(struct fiber *f)
{
    assert(!f->done);
    f->begun = true;
    before_resume(f);
    (void)swapcontext(&f->back, &f->own);
    after_resume(f);
}

void fiber_pause(struct fiber *f)
{
    before_pause(f);
    (void)swapcontext(&f->own, &f->back);
    after_pause(f);
}

bool fiber_done(const struct fiber *f)
{
    return f->done;
}

void fiber_free(struct fiber *f)
{
    if (!f)
        return;
    assert(!f->begun || f->done);
    munmap(f->map, f->page + f->stack);
    free(f);
}
