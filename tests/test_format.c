#include "read/format.h"
#include "test.h"

static const struct format *pick(const char *name, struct str head, struct err *err)
{
    struct recipe recipe = { .format = (char *)name, .quote = '"' };
    *err = (struct err){ 0 };
    return format_pick(&recipe, head, err);
}

TEST(format, the_recipes_word_is_final)
{
    struct err err;
    CHECK(pick("csv", STR("{\"a\":1}"), &err) == &format_csv);
    CHECK(pick("tsv", STR("{\"a\":1}"), &err) == &format_csv);
    CHECK(pick("json", STR("a,b"), &err) == &format_jsonl);
    CHECK(pick("jsonl", STR("a,b"), &err) == &format_jsonl);
}

TEST(format, an_unknown_format_is_an_error)
{
    struct err err;
    CHECK(!pick("xlsx", STR("a,b"), &err));
    CHECK_EQ(err.code, ERR_FORMAT);
    CHECK_HAS(err.msg, "xlsx");
}

TEST(format, auto_finds_csv_and_json_apart)
{
    static const struct {
        struct str head;
        const struct format *format;
    } heads[] = {
        { { "a,b\n1,2\n", 8 }, &format_csv },
        { { "a\tb\n1\t2\n", 8 }, &format_csv },
        { { "one column\nof text\n", 19 }, &format_csv },
        { { "{\"a\":1,\"b\":2}\n{\"a\":1,\"b\":2}\n", 28 }, &format_jsonl },
        { { " \n[{\"a\":1}, {\"a\":2}]", 20 }, &format_jsonl },
        { { "", 0 }, &format_csv },
        { { "id,name\n1,a\0b\n2,c\n", 18 }, &format_csv }, /* a row is damaged */
        { { "\n\0\n4567890123456", 16 }, &format_csv },
    };
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct err err;
        CHECK(pick("auto", heads[i].head, &err) == heads[i].format);
        CHECK(pick(NULL, heads[i].head, &err) == heads[i].format);
    }
}

TEST(format, what_is_no_text_is_refused)
{
    struct err err;
    static const struct str heads[] = { STR("\x7F" "ELF\0\0\0,,,\n"), STR("i\0d\0\n\0001\0\n\0"), STR("\0i\0d\0\n\0001\0\n"),
                                        STR("a,b\n1,2\n3,\0\0\0\n"), STR("a text, and then\n\001\002 bytes of a program, of which one is \0\n"),
                                        STR("no line ends in what was seen of it, and there is one\0") };
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        err.code = ERR_NONE;
        CHECK(!pick("auto", heads[i], &err));
        CHECK_EQ(err.code, ERR_FORMAT);
    }
}
