#include "cut_input.h"
#include "read/closing.h"
#include "test.h"

struct closing_case {
    const char *name, *glob;
    struct str in, out; /* out.p NULL: truncated */
};

#define IN(literal) { literal, sizeof(literal) - 1 }
#define CUT_OFF { NULL, 0 }

static const struct closing_case cases[] = {
    { "the last line", "T|*", IN("a|1\nb|2\nT|2\n"), IN("a|1\nb|2\n") },
    { "without its end", "T|*", IN("a|1\nT|2"), IN("a|1\n") },
    { "by \\r\\n", "T|*", IN("a|1\r\nT|2\r\n"), IN("a|1\r\n") },
    { "empty lines behind it", "T|*", IN("a|1\nT|2\n\n\r\n"), IN("a|1\n") },
    { "empty lines before it stay", "T|*", IN("\n\na|1\n\nT|2\n"), IN("\n\na|1\n\n") },
    { "one that looks like it before", "T|*", IN("T|1\nT|2\n"), IN("T|1\n") },
    { "nothing else", "#EOF", IN("#EOF\n"), IN("") },
    { "one character", "?", IN("a\nb\n\xC3\xA9\n"), IN("a\nb\n") },
    { "cut behind a line", "T|*", IN("a|1\nb|2\n"), CUT_OFF },
    { "cut within a line", "T|*", IN("a|1\nb|"), CUT_OFF },
    { "cut within it", "T|2", IN("a|1\nT|"), CUT_OFF },
    { "it is not the last", "T|*", IN("a|1\nT|2\nb|2\n"), CUT_OFF },
    { "it is only a part of the line", "T|?", IN("a|1\nxT|2\n"), CUT_OFF },
    { "nothing", "T|*", IN(""), CUT_OFF },
    { "empty lines", "T|*", IN("\n\n\n"), CUT_OFF },
    { "bytes that are no text", "T|*", IN("a\n\xFF\x01\0\n"), CUT_OFF },
};

static ssize_t read_all(struct input *in, struct buf *out, size_t ask, struct err *err)
{
    char piece[512];
    ssize_t n;
    while ((n = in->read(in, piece, ask, err)) > 0)
        buf_add(out, piece, (size_t)n);
    return n;
}

static void check(const struct closing_case *c, size_t cut, size_t ask)
{
    struct err err = { 0 };
    struct buf out = { 0 };
    struct cut_input in = cut_of(c->in, cut);
    struct input *closing = closing_open(&in.in, c->glob, &err);
    assert_non_null(closing);
    buf_adds(&out, "");
    ssize_t n = read_all(closing, &out, ask, &err);
    bool good = c->out.p ? n == 0 && str_eq(buf_str(&out), c->out) : n < 0 && err.code == ERR_TRUNCATED;
    if (!good)
        fail_msg("%s (cut %zu, asked for %zu): %zd '%s' %s", c->name, cut, ask, n, out.p, n < 0 ? err.msg : "");
    closing_close(closing);
    buf_clear(&out);
}

TEST(closing, a_file_ends_with_its_line_however_it_is_cut)
{
    static const size_t asks[] = { 1, 2, 3, 512 };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t cut = 0; cut < 5; cut++)
            for (size_t a = 0; a < COUNT_OF(asks); a++)
                check(&cases[i], cut, asks[a]);
}

/* Lines of any length go through in memory that does not grow; as the last one they close nothing. */
TEST(closing, a_long_line_is_none)
{
    struct err err = { 0 };
    struct buf text = { 0 }, out = { 0 };
    buf_adds(&text, "T|");
    for (int i = 0; i < 300000; i++)
        buf_addc(&text, 'x');
    size_t one = text.n;
    for (int with = 0; with < 2; with++) {
        buf_adds(&text, with ? "\nT|1\n" : "\n");
        struct cut_input in = cut_of(buf_str(&text), 0);
        struct input *closing = closing_open(&in.in, "T|*", &err);
        buf_reset(&out);
        ssize_t n = read_all(closing, &out, 512, &err);
        if (with) {
            CHECK_OK(n, err);
            CHECK_EQ(out.n, one + 2);
        } else {
            CHECK(n < 0);
            CHECK_EQ(err.code, ERR_TRUNCATED);
        }
        closing_close(closing);
    }
    buf_clear(&text);
    buf_clear(&out);
}
