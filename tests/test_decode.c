#include "cut_input.h"
#include "read/decode.h"
#include "test.h"

struct decode_case {
    const char *name;
    enum encoding enc;
    struct str in, out;
};

#define IN(literal) { literal, sizeof(literal) - 1 }

static const struct decode_case cases[] = {
    { "nothing", ENC_UTF8, IN(""), IN("") },
    { "one byte", ENC_UTF8, IN("a"), IN("a") },
    { "utf-8 as it stands", ENC_UTF8, IN("a\xC3\xA4\xFF\n"), IN("a\xC3\xA4\xFF\n") },
    { "utf-8 with its mark", ENC_UTF8, IN("\xEF\xBB\xBF" "a,b"), IN("a,b") },
    { "only a mark", ENC_UTF8, IN("\xEF\xBB\xBF"), IN("") },
    { "two marks: the second is text", ENC_UTF8, IN("\xEF\xBB\xBF\xEF\xBB\xBF"), IN("\xEF\xBB\xBF") },
    { "half a mark", ENC_UTF8, IN("\xEF\xBB"), IN("\xEF\xBB") },
    { "latin1", ENC_LATIN1, IN("a\xE4\xFF\x80\n"), IN("a\xC3\xA4\xC3\xBF\xC2\x80\n") },
    { "latin1 of nothing", ENC_LATIN1, IN(""), IN("") },
    { "utf-16 by its mark, little", ENC_UTF16, IN("\xFF\xFE" "a\0\xE4\0"), IN("a\xC3\xA4") },
    { "utf-16 by its mark, big", ENC_UTF16, IN("\xFE\xFF" "\0a\0\xE4"), IN("a\xC3\xA4") },
    { "utf-16 without mark, little", ENC_UTF16, IN("a\0b\0"), IN("ab") },
    { "utf-16 without mark, big", ENC_UTF16, IN("\0a\0b"), IN("ab") },
    { "utf-16 of nothing", ENC_UTF16, IN(""), IN("") },
    { "utf-16le with mark", ENC_UTF16LE, IN("\xFF\xFE\x3D\xD8\x00\xDE"), IN("\xF0\x9F\x98\x80") },
    { "utf-8-replace, all good", ENC_UTF8_REPLACE, IN("\xEF\xBB\xBF" "a\xC3\xA9\xF0\x9F\x98\x80"), IN("a\xC3\xA9\xF0\x9F\x98\x80") },
    { "utf-8-replace, bad bytes", ENC_UTF8_REPLACE, IN("a\xFF" "b\xC3" "c\xE2\x82"),
      IN("a\xEF\xBF\xBD" "b\xEF\xBF\xBD" "c\xEF\xBF\xBD\xEF\xBF\xBD") },
    { "utf-16be with mark", ENC_UTF16BE, IN("\xFE\xFF\xD8\x3D\xDE\x00"), IN("\xF0\x9F\x98\x80") },
    { "utf-16be, three bytes out", ENC_UTF16BE, IN("\x20\xAC"), IN("\xE2\x82\xAC") },
    { "high half alone", ENC_UTF16LE, IN("\x3D\xD8" "a\0"), IN("\xFF" "a") },
    { "high half at the end", ENC_UTF16LE, IN("a\0\x3D\xD8"), IN("a\xFF") },
    { "low half alone", ENC_UTF16LE, IN("\x00\xDE" "a\0"), IN("\xFF" "a") },
    { "high half twice", ENC_UTF16LE, IN("\x3D\xD8\x3D\xD8\x00\xDE"), IN("\xFF\xF0\x9F\x98\x80") },
    { "half a unit at the end", ENC_UTF16LE, IN("a\0b"), IN("a\xFF") },
};

/* All that comes out when it goes in `cut` bytes at a time and is asked for `ask` at a time. */
static void decode_all(struct buf *out, enum encoding enc, struct str s, size_t cut, size_t ask)
{
    struct err err = { 0 };
    struct cut_input in = cut_of(s, cut);
    struct input *d = decode_open(&in.in, enc, &err);
    char piece[256];
    ssize_t n;
    assert_non_null(d);
    while ((n = d->read(d, piece, ask, &err)) > 0)
        buf_add(out, piece, (size_t)n);
    CHECK_OK(n, err);
    CHECK_EQ(d->read(d, piece, ask, &err), 0);
    decode_close(d);
}

TEST(decode, every_encoding_becomes_utf8_however_it_is_cut)
{
    static const size_t asks[] = { 1, 2, 3, 5, 256 };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t cut = 0; cut < 5; cut++)
            for (size_t a = 0; a < COUNT_OF(asks); a++) {
                struct buf out = { 0 };
                decode_all(&out, cases[i].enc, cases[i].in, cut, asks[a]);
                if (!str_eq(buf_str(&out), cases[i].out))
                    fail_msg("%s (cut %zu, asked for %zu)", cases[i].name, cut, asks[a]);
                buf_clear(&out);
            }
}

TEST(decode, a_long_text_of_each_encoding_comes_through)
{
    struct buf latin = { 0 }, wide = { 0 }, want = { 0 }, out = { 0 };
    for (int i = 0; i < 100000; i++) {
        buf_add(&latin, i % 7 ? "x" : "\xE4", 1);
        buf_add(&wide, i % 7 ? "x\0" : "\xE4\0", 2);
        buf_adds(&want, i % 7 ? "x" : "\xC3\xA4");
    }
    decode_all(&out, ENC_LATIN1, buf_str(&latin), 0, 256);
    CHECK(str_eq(buf_str(&out), buf_str(&want)));
    buf_reset(&out);
    decode_all(&out, ENC_UTF16LE, buf_str(&wide), 1001, 255);
    CHECK(str_eq(buf_str(&out), buf_str(&want)));
    buf_clear(&latin);
    buf_clear(&wide);
    buf_clear(&want);
    buf_clear(&out);
}

TEST(decode, utf16_that_was_said_to_be_utf8_is_an_error)
{
    struct err err = { 0 };
    struct cut_input in = cut_of((struct str)IN("\xFF\xFE" "a\0"), 1);
    struct input *d = decode_open(&in.in, ENC_UTF8, &err);
    char piece[8];
    assert_non_null(d);
    CHECK_EQ(d->read(d, piece, sizeof piece, &err), -1);
    CHECK_EQ(err.code, ERR_ENCODING);
    CHECK_HAS(err.msg, "utf-16");
    decode_close(d);
    decode_close(NULL);
}

static ssize_t failing_read(struct input *in __attribute__((unused)),
                            void *buf __attribute__((unused)), size_t cap __attribute__((unused)),
                            struct err *err)
{
    return err_set(err, ERR_TRUNCATED, "the archive ends too early");
}

TEST(decode, an_error_of_the_source_is_passed_on)
{
    static const enum encoding all[] = { ENC_UTF8, ENC_LATIN1, ENC_UTF16 };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct err err = { 0 };
        struct input in = { failing_read, NULL, -1 }, *d = decode_open(&in, all[i], &err);
        char piece[8];
        assert_non_null(d);
        CHECK_EQ(d->read(d, piece, sizeof piece, &err), -1);
        CHECK_EQ(err.code, ERR_TRUNCATED);
        decode_close(d);
    }
}
