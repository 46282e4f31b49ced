#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>

#include "test.h"

TEST(mem, slices_compare_by_bytes)
{
    CHECK(str_eq(STR("a\0b"), STR("a\0b")));
    CHECK(!str_eq(STR("a\0b"), STR("a\0c")));
    CHECK(!str_eq(STR("ab"), STR("abc")));
    CHECK(str_eq((struct str){ NULL, 0 }, STR("")));
    CHECK(str_eq(str_of(NULL), STR("")));
    CHECK_EQ(str_of("abc").n, 3);
}

TEST(mem, slices_compare_without_case_in_ascii_only_and_to_the_end)
{
    CHECK(str_eq_nocase(STR("Net Amount"), STR("nET aMOUNT")));
    CHECK(!str_eq_nocase(STR("a"), STR("ab")));
    CHECK(!str_eq_nocase(
        STR("a["), STR("a{"))); /* 0x5b and 0x7b differ in the letter bit, but are no letters */
    CHECK(!str_eq_nocase(STR("\xc4"), STR("\xe4")));
    for (int c = 0; c < 256; c++) /* in eights and in the rest behind them */
        for (int d = 0; d < 256; d++)
            for (size_t at = 0; at < 11; at += 5) {
                char one[11], two[11];
                memset(one, 'x', sizeof one);
                memset(two, 'X', sizeof two);
                one[at] = (char)c;
                two[at] = (char)d;
                bool same = c == d || (c >= 'A' && c <= 'Z' && d == c + 32) || (d >= 'A' && d <= 'Z' && c == d + 32);
                CHECK_EQ(str_eq_nocase((struct str){ one, 11 }, (struct str){ two, 11 }), same);
            }
    CHECK(!str_eq_nocase(STR("a\0b"), STR("a\0c"))); /* a NUL does not end a slice */
    CHECK(str_eq_nocase((struct str){ NULL, 0 }, STR("")));
}

TEST(mem, trim_takes_blanks_off_both_ends)
{
    CHECK_SLICE(str_trim(STR(" \ta b\t ")), "a b");
    CHECK_EQ(str_trim(STR(" \t ")).n, 0);
    CHECK_EQ(str_trim((struct str){ NULL, 0 }).n, 0);
    CHECK_SLICE(str_trim(STR("\na ")), "\na");
}

TEST(mem, a_buffer_grows_and_ends_in_a_nul)
{
    struct buf b = { 0 };
    for (int i = 0; i < 1000; i++) {
        buf_addc(&b, (char)('a' + i % 26));
        CHECK_EQ(b.p[b.n], '\0');
    }
    buf_add(&b, NULL, 0);
    buf_adds(&b, "end");
    buf_addf(&b, " %d %s", 42, "words");
    CHECK_EQ(b.n, 1000 + 3 + 9);
    CHECK_STR(b.p + 1000, "end 42 words");
    CHECK_EQ(b.p[999], 'a' + 999 % 26);
    CHECK(!b.failed);
    buf_reset(&b);
    CHECK_EQ(b.n, 0);
    buf_add(&b, "x\0y", 3);
    CHECK_SLICE(buf_str(&b), "x\0y");
    buf_clear(&b);
    CHECK(!b.p && !b.n && !b.cap);
}

TEST(mem, bytes_are_two_digits_each)
{
    AUTO(buf_clear) struct buf b = { 0 };
    buf_add_hex(&b, (struct str){ 0 });
    CHECK_EQ(b.n, 0);
    buf_adds(&b, "0x");
    buf_add_hex(&b, STR("\0\x09\xaf\xff"));
    CHECK_STR(b.p, "0x0009afff");
}

TEST(mem, an_empty_text_gives_a_string_too)
{
    struct buf b = { 0 };
    buf_adds(&b, "");
    CHECK(b.p);
    CHECK_STR(b.p, "");
    buf_clear(&b);
    buf_addf(&b, "%s", "");
    CHECK_STR(b.p, "");
    buf_clear(&b);
}

TEST(mem, room_that_was_reserved_holds_a_nul_too)
{
    struct buf b = { 0 };
    for (size_t n = 0; n < 300; n++) {
        buf_clear(&b);
        CHECK(buf_reserve(&b, n));
        CHECK(b.cap > n);
    }
    buf_clear(&b);
}

TEST(mem, a_buffer_that_ran_out_of_memory_stays_failed_and_whole)
{
    struct buf b = { 0 };
    buf_adds(&b, "kept");
    CHECK(!buf_reserve(&b, SIZE_MAX));
    CHECK(b.failed);
    buf_adds(&b, "lost");
    buf_addf(&b, "%d", 1);
    CHECK(b.failed);
    CHECK_STR(b.p, "kept");
    buf_clear(&b);
    CHECK(!b.failed);
    CHECK(!buf_reserve(&b, SIZE_MAX / 2));
    buf_clear(&b);
}

TEST(mem, an_arena_gives_aligned_memory_that_does_not_overlap)
{
    struct arena a = { 0 };
    enum { N = 2000 };
    static unsigned char *got[N];
    for (size_t i = 0; i < N; i++) {
        got[i] = arena_alloc(&a, i % 257);
        CHECK(got[i]);
        CHECK_EQ((uintptr_t)got[i] % 16, 0);
        memset(got[i], (int)i, i % 257);
    }
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < i % 257; k++)
            CHECK_EQ(got[i][k], (unsigned char)i);
    arena_clear(&a);
    CHECK(!a.first && !a.total);
}

TEST(mem, an_arena_keeps_its_blocks_for_the_next_batch)
{
    struct arena a = { 0 };
    char *first = arena_alloc(&a, 10);
    for (int i = 0; i < 50; i++)
        CHECK(arena_alloc(&a, 30000));
    CHECK(arena_alloc(&a, 1000000)); /* greater than a block */
    size_t total = a.total;
    for (int again = 0; again < 5; again++) {
        arena_reset(&a);
        CHECK(arena_alloc(&a, 10) == first);
        for (int i = 0; i < 50; i++)
            CHECK(arena_alloc(&a, 30000));
        CHECK(arena_alloc(&a, 1000000));
        CHECK_EQ(a.total, total);
    }
    arena_clear(&a);
}

TEST(mem, an_arena_refuses_sizes_that_no_memory_has)
{
    struct arena a = { 0 };
    CHECK(!arena_alloc(&a, SIZE_MAX));
    CHECK(!arena_alloc(&a, SIZE_MAX / 2 + 1));
    CHECK(arena_alloc(&a, 0));
    char *copy = arena_dup(&a, STR("a\0b"));
    CHECK(copy);
    CHECK(!memcmp(copy, "a\0b", 4));
    CHECK_STR(arena_dup(&a, (struct str){ NULL, 0 }), "");
    arena_clear(&a);
}

TEST(mem, a_product_that_overflows_is_a_size_that_cannot_be_had)
{
    CHECK_EQ(mem_product(3, 4), 12);
    CHECK_EQ(mem_product(SIZE_MAX, 2), SIZE_MAX);
    CHECK_EQ(mem_product(mem_product(SIZE_MAX / 2, 3), 1), SIZE_MAX);
    CHECK_EQ(mem_product(SIZE_MAX, 0), 0);
}

static int borrow_and_steal(bool steal, int *kept)
{
    AUTO(fd_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int number = fd;
    if (steal)
        *kept = fd_steal(&fd);
    return number;
}

TEST(mem, a_scope_closes_its_descriptor_unless_it_was_stolen)
{
    int kept = -1;
    int fd = borrow_and_steal(false, &kept);
    CHECK(fd >= 0);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    fd = borrow_and_steal(true, &kept);
    CHECK_EQ(kept, fd);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    fd_closep(&kept);
    CHECK_EQ(kept, -1);
    fd_closep(&kept); /* closing nothing is fine */
}

TEST(mem, errors_carry_code_place_and_reason_and_are_never_overrun)
{
    struct err err = { 0 };
    CHECK_EQ(err_set(&err, ERR_HEADER, "column '%s' is missing", "id"), -1);
    CHECK_EQ(err_in(&err, "member '%s'", "a.csv"), -1);
    CHECK_STR(err.msg, "member 'a.csv': column 'id' is missing");
    CHECK_EQ(err.code, ERR_HEADER);
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    err_in(&err, "%s", longer);
    CHECK_EQ(strlen(err.msg), sizeof err.msg - 1);
    err_in(&err, "%s", longer);
    CHECK_EQ(err.msg[sizeof err.msg - 1], '\0');
    CHECK_EQ(err.code, ERR_HEADER);
    errno = EIO;
    err_sys(&err, "%s", longer);
    CHECK_EQ(strlen(err.msg), sizeof err.msg - 1);
}

static int foreign(struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = err_vset_foreign(err, ERR_FETCH, "http://a/b", fmt, ap);
    va_end(ap);
    return rc;
}

TEST(mem, what_others_say_cannot_end_the_line_of_a_message)
{
    struct err err;
    CHECK_EQ(foreign(&err, "the server says '%s'", "\x1b[2Jgo\r\nlevel=error\x7f"), -1);
    CHECK_EQ(err.code, ERR_FETCH);
    CHECK_STR(err.msg, "http://a/b: the server says ' [2Jgo  level=error '");
}

TEST(mem, system_errors_are_told_apart)
{
    static const struct {
        int sys;
        enum err_code code;
    } cases[] = { { ENOSPC, ERR_DISK_FULL },
                  { EDQUOT, ERR_DISK_FULL },
                  { ENOMEM, ERR_NO_MEMORY },
                  { EIO, ERR_IO },
                  { EACCES, ERR_IO } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err err = { 0 };
        errno = cases[i].sys;
        CHECK_EQ(err_sys(&err, "write '%s'", "f"), -1);
        CHECK_EQ(err.code, cases[i].code);
        CHECK_EQ(err.sys, cases[i].sys);
        CHECK_HAS(err.msg, "write 'f': ");
        CHECK_HAS(err.msg, strerror(cases[i].sys));
    }
}

TEST(mem, every_error_code_has_its_row_in_the_table)
{
    for (int i = 0; i < ERR_CODES; i++) {
        enum err_code code = (enum err_code)i;
        CHECK(*err_name(code));
        CHECK(err_hint(code));
        CHECK(!strstr(err_hint_without_job(code), "JOB") && !strstr(err_hint_without_job(code), "retry"));
        CHECK_EQ(err_by_name(err_name(code)), code);
        CHECK(*err_class_name(err_class(code)));
        int exit_status = err_exit_status(code);
        CHECK(exit_status >= (code != ERR_NONE) && exit_status <= 5);
    }
    CHECK_EQ(err_by_name("no such code"), ERR_NONE);
    CHECK_EQ(err_exit_status(ERR_USAGE), 2);
    CHECK_EQ(err_exit_status(ERR_CONFIG), 3);
    CHECK_EQ(err_exit_status(ERR_DATABASE), 4);
    CHECK_EQ(err_exit_status(ERR_NOT_FOUND), 5);
    CHECK_EQ(err_exit_status(ERR_REJECTS), 1);
    CHECK_EQ(err_class(ERR_CRASHED), ERR_POISON);
    CHECK_EQ(err_class(ERR_FETCH), ERR_TRANSIENT);
    CHECK_EQ(err_class(ERR_HEADER), ERR_PERMANENT);
}
