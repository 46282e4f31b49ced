#include "test.h"

#include <math.h>

#include "base/json.h"
#include "base/text.h"

static bool valid(const char *text)
{
    struct json_value v;
    struct json_fault fault;
    return json_check(str_of(text), &v, &fault);
}

/* The fault of a text that must be refused. */
static struct json_fault fault_of(struct str text)
{
    struct json_value v;
    struct json_fault fault = { 0 };
    if (json_check(text, &v, &fault))
        fail_msg("'%.*s' was taken", (int)text.n, text.p);
    return fault;
}

static struct json_value value_of(const char *text)
{
    struct json_value v = { 0 };
    struct json_fault fault;
    if (!json_check(str_of(text), &v, &fault))
        fail_msg("'%s': at %zu: %s", text, fault.at, fault.what);
    return v;
}

TEST(json, takes_what_rfc_8259_allows)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1e5",
        "-1.5E+10",
        "123456789012345678901234567890",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\\\"b\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\x7f\"",
        "\"\xc3\xa9\xf0\x9f\x98\x80\"",
        "[]",
        "[ ]",
        "{}",
        "{ }",
        " \t\r\n[1 , 2,[3,[]] ]\n",
        "{\"a\":{\"b\":[{}]},\"a\":1}",
        "\"\\ud800\"",
        "\"a text that is longer than two blocks of sixteen bytes \\n and goes on\"",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (!valid(good[i]))
            fail_msg("%s was refused", good[i]);
}

TEST(json, refuses_all_else)
{
    static const char *const wrong[] = {
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\u12g4\"",
        "\"\\u123",
        "\"\t\"",
        "\"a text longer than sixteen bytes, then \x01 one\"",
        "\"\n\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{",
        "}",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\":,}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1]",
        "{,}",
        "{\"x\":0,,}",
        "1 2",
        "{} {}",
        "[]x",
        "{}\x01",
        "/* */ 1",
        "// 1",
        "[1] //",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQ(fault_of(str_of(wrong[i])).kind, JSON_SYNTAX);
    for (char c = 0; c < 0x20; c++) { /* raw control characters, in a block of 16 and behind it */
        char text[] = "\"0123456789012345678901234567890123456789\"";
        text[5] = c;
        CHECK_EQ(fault_of((struct str){ text, sizeof text - 1 }).at, 5);
        text[5] = 'x';
        text[sizeof text - 3] = c;
        CHECK_EQ(fault_of((struct str){ text, sizeof text - 1 }).at, sizeof text - 3);
    }
    CHECK_EQ(fault_of(STR("1\0")).kind, JSON_SYNTAX);
    CHECK_EQ(fault_of(STR("\"a\0b\"")).kind, JSON_SYNTAX);
}

TEST(json, refuses_bytes_that_are_not_utf_8)
{
    static const char *const wrong[] = {
        "\"\xff\"",     "\"\xc0\x80\"",         "\"\xed\xa0\x80\"",
        "\"\xe2\x82\"", "\"\xf5\x80\x80\x80\"", "[1, \"0123456789abcdefgh\x80\"]"
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQ(fault_of(str_of(wrong[i])).kind, JSON_ENCODING);
}

TEST(json, says_where_and_what_is_wrong)
{
    struct json_fault f = fault_of(STR("{\"a\": 1 \"b\": 2}"));
    CHECK_EQ(f.at, 8);
    CHECK_STR(f.what, "a comma or } was expected here");
    f = fault_of(STR("[\"abc"));
    CHECK_EQ(f.at, 1);
    CHECK_HAS(f.what, "never closed");
    f = fault_of(STR("true false"));
    CHECK_EQ(f.at, 4);
}

TEST(json, takes_64_levels_and_not_one_more)
{
    char text[256];
    for (int deep = 64; deep <= 65; deep++) {
        memset(text, '[', (size_t)deep);
        memset(text + deep, ']', (size_t)deep);
        text[2 * deep] = '\0';
        CHECK_EQ(valid(text), deep == 64);
    }
    struct buf b = { 0 }; /* arrays and objects in turn: the bit a level must not mix them up */
    for (int i = 0; i < 32; i++)
        buf_adds(&b, "[{\"a\":");
    buf_adds(&b, "1");
    for (int i = 0; i < 32; i++)
        buf_adds(&b, "}]");
    CHECK(valid(b.p));
    b.p[b.n - 33] = b.p[b.n - 33] == '}' ? ']' : '}';
    CHECK(!valid(b.p));
    buf_clear(&b);
    size_t n = 400000;
    char *deep = malloc(n);
    memset(deep, '[', n);
    struct json_fault f = fault_of((struct str){ deep, n });
    CHECK_EQ(f.kind, JSON_TOO_DEEP);
    CHECK_EQ(f.at, 64);
    free(deep);
}

TEST(json, never_reads_behind_the_end)
{
    /* each prefix in memory of its own size, so that ASan and valgrind see a byte too many */
    static const char whole[] =
        "{\"k\\u00e9y\":[1.5e+3,true,null,\"a text of more than 16 bytes\\n\",{}],\"\":false}";
    for (size_t n = 0; n <= sizeof whole - 1; n++) {
        char *part = malloc(n ? n : 1);
        memcpy(part, whole, n);
        struct json_value v;
        struct json_fault f;
        CHECK_EQ(json_check((struct str){ part, n }, &v, &f), n == sizeof whole - 1);
        free(part);
    }
}

TEST(json, walks_objects_and_arrays)
{
    struct json_value o = value_of(" { \"a\" : 1 , \"b\":[ true,\"x\" , {} ],\"c\":null } "), v, e;
    struct str key;
    size_t at = 0;
    CHECK_EQ(o.kind, JSON_OBJECT);
    CHECK(json_next(&o, &at, &key, &v));
    CHECK_SLICE(key, "\"a\"");
    CHECK_SLICE(v.raw, "1");
    CHECK_EQ(v.kind, JSON_NUMBER);
    CHECK(json_next(&o, &at, &key, &v));
    CHECK_SLICE(key, "\"b\"");
    CHECK_EQ(v.kind, JSON_ARRAY);
    size_t in = 0;
    static const enum json_kind kinds[] = { JSON_TRUE, JSON_TEXT, JSON_OBJECT };
    for (int i = 0; i < 3; i++) {
        CHECK(json_next(&v, &in, &key, &e));
        CHECK_EQ(key.n, 0);
        CHECK_EQ(e.kind, kinds[i]);
    }
    CHECK(!json_next(&v, &in, &key, &e));
    CHECK(json_next(&o, &at, &key, &v));
    CHECK_EQ(v.kind, JSON_NULL);
    CHECK(!json_next(&o, &at, &key, &v));
    at = 0;
    o = value_of("[ ]");
    CHECK(!json_next(&o, &at, &key, &v));
}

TEST(json, finds_members_by_their_unescaped_name_and_tells_duplicates)
{
    struct json_value o = value_of(
                          "{\"\\u0069d\":7,\"d\":1,\"\\u0064\":2,\"\\ud83d\\ude00\":3,\"id2\":4}"),
                      v;
    CHECK_EQ(json_member(&o, "id", &v), 1);
    CHECK_SLICE(v.raw, "7");
    CHECK_EQ(json_member(&o, "d", &v), -1);
    CHECK_EQ(json_member(&o, "\xf0\x9f\x98\x80", &v), 1);
    CHECK_SLICE(v.raw, "3");
    CHECK_EQ(json_member(&o, "i", &v), 0);
    CHECK_EQ(json_member(&o, "id22", &v), 0);
    o = value_of("[1]");
    CHECK_EQ(json_member(&o, "id", &v), 0);
}

TEST(json, unescapes_and_refuses_lone_surrogates)
{
    struct arena a = { 0 };
    struct str s;
    struct json_value v = value_of("\"plain\"");
    CHECK(json_unescape(&v, &a, &s));
    CHECK(s.p == v.raw.p + 1);
    CHECK_SLICE(s, "plain");
    v = value_of("\"\\\"\\\\\\/\\b\\f\\n\\r\\t-\\u0041\\u00e9\\u20AC\\uD83D\\uDE00.\\u0000z\"");
    CHECK(json_unescape(&v, &a, &s));
    CHECK_SLICE(s, "\"\\/\b\f\n\r\t-A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.\0z");
    static const char *const lone[] = { "\"\\ud800\"",        "\"\\udc00\"",
                                        "\"\\ud800x\"",       "\"\\ud800\\n\"",
                                        "\"\\ud800\\u0041\"", "\"\\ud800\\uffff\"",
                                        "\"\\ud800\\udbff\"", "\"a\\ud83d\\ud83d\\ude00\"" };
    for (size_t i = 0; i < COUNT_OF(lone); i++) {
        v = value_of(lone[i]);
        CHECK(!json_unescape(&v, &a, &s));
        CHECK_EQ(s.n, 6);
        CHECK(s.p[0] == '\\' && s.p[1] == 'u' && (s.p[2] | 0x20) == 'd');
    }
    arena_clear(&a);
}

TEST(json, writes_documents_with_commas_where_needed)
{
    struct buf b = { 0 };
    struct json_out o;
    json_start(&o, &b);
    json_object(&o);
    json_put_text(&o, "a", "x");
    json_put_text(&o, "none", NULL);
    json_put_int(&o, "n", INT64_MIN);
    json_put_bool(&o, "yes", true);
    json_put_time(&o, "at", 1);
    json_put_time(&o, "never", 0);
    json_key(&o, "list");
    json_array(&o);
    json_object(&o);
    json_object_end(&o);
    json_array(&o);
    json_array_end(&o);
    json_real(&o, 0.1);
    json_real(&o, INFINITY);
    json_raw(&o, STR("[1]"));
    json_array_end(&o);
    json_key(&o, "end");
    json_null(&o);
    json_object_end(&o);
    CHECK(!b.failed);
    CHECK_STR(b.p, "{\"a\":\"x\",\"none\":null,\"n\":-9223372036854775808,\"yes\":true,"
                   "\"at\":\"1970-01-01T00:00:00.001Z\",\"never\":null,\"list\":[{},[],0.1,null,[1]"
                   "],\"end\":null}");
    CHECK(valid(b.p));
    buf_clear(&b);
}

TEST(json, writes_any_bytes_as_valid_text)
{
    struct buf b = { 0 };
    struct json_out o;
    json_start(&o, &b);
    json_text(&o, STR("q\"\\/\b\t\n\f\r\x01\x1f\0\x7f \xc3\xa9"));
    CHECK_STR(b.p, "\"q\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\\u0000\x7f \xc3\xa9\"");
    buf_reset(&b);
    json_text(&o, STR("a\xff\xed\xa0\x80z\xc3"));
    CHECK_STR(b.p, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\xEF\xBF\xBD\"");
    for (int c = 0; c < 256; c++) {
        char byte[3] = { 'a', (char)c, 'b' };
        buf_reset(&b);
        json_text(&o, (struct str){ byte, 3 });
        CHECK(valid(b.p));
    }
    buf_clear(&b);
}

TEST(json, what_is_written_reads_back_the_same)
{
    struct buf b = { 0 };
    struct arena a = { 0 };
    unsigned seed = 1;
    for (int round = 0; round < 2000; round++) {
        char text[40];
        size_t n = 0;
        while (n < 36) {
            seed = seed * 1103515245 + 12345;
            text[n++] = (char)(seed >> 16 & 0x7f);
            if ((seed >> 24 & 7) == 0)
                break;
        }
        struct json_out o;
        buf_reset(&b);
        json_start(&o, &b);
        json_text(&o, (struct str){ text, n });
        struct json_value v = value_of(b.p);
        struct str back;
        CHECK(json_unescape(&v, &a, &back));
        CHECK(str_eq(back, (struct str){ text, n }));
        CHECK(json_text_is(v.raw, back));
        arena_reset(&a);
    }
    arena_clear(&a);
    buf_clear(&b);
}
