/*
 * Tests: TEST(module, what_it_promises) { CHECK_EQ(...); } in a file of its own; cmocka runs them and prints TAP.
 * Each test gets a fresh folder: test_dir().
 */
#ifndef QETL_TEST_H
#define QETL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/sys.h"

static struct CMUnitTest test_list[512];
static size_t test_count;
static char test_path[64];

#define TEST(module, name)                                                                        \
    static void module##_##name(void **state);                                                    \
    __attribute__((constructor)) static void module##_##name##_add(void)                          \
    {                                                                                             \
        test_list[test_count++] =                                                                 \
            (struct CMUnitTest){ #module ": " #name, module##_##name, NULL, NULL, NULL };         \
    }                                                                                             \
    static void module##_##name(void **state __attribute__((unused)))

#define CHECK(cond) assert_true(cond)
#define CHECK_EQ(a, b) assert_int_equal((a), (b))
#define CHECK_STR(a, b) assert_string_equal((a), (b))
#define CHECK_SLICE(s, literal)                                                                   \
    do {                                                                                          \
        struct str check_s = (s);                                                                 \
        assert_int_equal(check_s.n, sizeof(literal) - 1);                                         \
        assert_memory_equal(check_s.p, literal, sizeof(literal) - 1);                             \
    } while (0)
/* a call that must succeed; shows the error when it does not */
#define CHECK_OK(call, err)                                                                       \
    do {                                                                                          \
        if ((call) < 0)                                                                           \
            fail_msg("%s: %s [%s]", #call, (err).msg, err_name((err).code));                      \
    } while (0)
#define CHECK_HAS(text, part)                                                                     \
    do {                                                                                          \
        if (!strstr((text), (part)))                                                              \
            fail_msg("'%s' is not in '%s'", (part), (text));                                      \
    } while (0)

/* This test's own folder: made at first call, removed at the end of the program. */
__attribute__((unused)) static const char *test_dir(void)
{
    if (!test_path[0]) {
        snprintf(test_path, sizeof test_path, "%s/qetl-test-XXXXXX", "/tmp");
        if (!mkdtemp(test_path))
            abort();
    }
    return test_path;
}

/* "<test_dir>/<name>", in one of 8 rotating buffers */
__attribute__((unused)) static const char *test_file(const char *name)
{
    static char out[8][512];
    static unsigned next;
    char *o = out[next++ % 8];
    snprintf(o, sizeof out[0], "%s/%s", test_dir(), name);
    return o;
}

int main(int argc, char **argv)
{
    sys_faults_init();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int rc = _cmocka_run_group_tests("qetl", test_list, test_count, NULL, NULL);
    if (test_path[0]) {
        struct err err;
        (void)sys_remove_tree(-100 /* AT_FDCWD */, test_path, &err);
    }
    return rc;
}

#endif
