#include "cut_input.h"
#include "read/message.h"
#include "test.h"

/* What a message gives: "T+" or "T-" or "T?" for refresh, then the data; or the error's code. */
static void walk(struct str text, size_t cut, bool read_data, struct buf *out)
{
    struct cut_input in = cut_of(text, cut);
    struct message *m;
    struct message_table t;
    struct err err = { 0 };
    char block[5];
    ssize_t n = 0;
    int rc;
    CHECK_EQ(message_open(&m, &in.in, &err), 0);
    while ((rc = message_next(m, &t, &err)) == 1) {
        buf_addf(out, "%s%c", t.table, !t.has_refresh ? '?' : t.refresh ? '+' : '-');
        while (read_data && (n = message_data(m)->read(message_data(m), block, sizeof block, &err)) > 0)
            buf_add(out, block, (size_t)n);
        if (n < 0)
            break;
    }
    if (rc < 0 || n < 0)
        buf_addf(out, "!%s", err_name(err.code));
    buf_addc(out, '\0');
    message_close(m);
}

static const struct {
    const char *text, *gives, *names; /* names: when the data is passed over */
} cases[] = {
    { "[]", "", "" },
    { " [ ] \n", "", "" },
    { "[{\"table\":\"t\",\"data\":[]}]", "t?[]", "t?" },
    { "{\"table\":\"t\",\"refresh\":true,\"data\":[1,[2],\"]\"]}", "t+[1,[2],\"]\"]", "t+" },
    { " [ { \"refresh\" : false , \"table\" : \"a\\u0062\" , \"data\" : [ {} ] } , {\"table\":\"c\",\"data\":[{\"x\":\"\\\"]}\"}]}]\n",
      "ab-[ {} ]c?[{\"x\":\"\\\"]}\"}]", "ab-c?" },
    { "", "!truncated", "!truncated" },
    { "[", "!truncated", "!truncated" },
    { "x", "!format", "!format" },
    { "[1]", "!format", "!format" },
    { "[{}]", "!format", "!format" },
    { "[{\"data\":[]}]", "!format", "!format" },
    { "[{\"table\":1,\"data\":[]}]", "!format", "!format" },
    { "[{\"table\":\"\",\"data\":[]}]", "!format", "!format" },
    { "[{\"table\":\"a\\u0000b\",\"data\":[]}]", "!format", "!format" },
    { "[{\"table\":\"t\",\"refresh\":1,\"data\":[]}]", "!format", "!format" },
    { "[{\"table\":\"t\",\"data\":{}}]", "!format", "!format" },
    { "[{\"table\":\"t\",\"data\":[1}]", "t?!format", "t?!format" },
    { "[{\"table\":\"t\",\"data\":[1", "t?[1!truncated", "t?!truncated" },
    { "[{\"table\":\"t\",\"data\":[]}", "t?[]!truncated", "t?!truncated" },
    { "[{\"table\":\"t\",\"data\":[]},]", "t?[]!format", "t?!format" },
    { "[{\"table\":\"t\",\"data\":[],\"refresh\":true}]", "t?[]!format", "t?!format" },
    { "[{\"table\":\"t\",\"data\":[]}]x", "t?[]!format", "t?!format" },
    { "{\"table\":\"t\",\"data\":[]}{", "t?[]!format", "t?!format" },
    { "{\"error\":{\"a\":[\"}\"]}}", "!program", "!program" },
    { "[{\"table\":\"t\",\"data\":[]},{\"error\":\"x\"}]", "t?[]!program", "t?!program" },
    { "[{\"table\":\"t", "!truncated", "!truncated" },
    { "[{\"table\":tru", "!truncated", "!truncated" },
};

TEST(message, tables_come_one_by_one_however_the_bytes_come)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t cut = 0; cut <= 7; cut++) {
            struct buf whole = { 0 }, names = { 0 };
            walk(str_of(cases[i].text), cut, true, &whole);
            walk(str_of(cases[i].text), cut, false, &names);
            if (strstr(cases[i].gives, "!") && strstr(whole.p, "!")) /* how much of the data came before a fault depends on the cut */
                CHECK_STR(strstr(whole.p, "!"), strstr(cases[i].gives, "!"));
            else
                CHECK_STR(whole.p, cases[i].gives);
            CHECK_STR(names.p, cases[i].names);
            buf_clear(&whole);
            buf_clear(&names);
        }
}

TEST(message, every_beginning_of_a_message_is_an_error_and_ends)
{
    const char text[] = "[{\"table\":\"t\",\"refresh\":true,\"data\":[{\"a\":\"\\u00e4\"},{}]},{\"table\":\"u\",\"data\":[1]}]";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct buf out = { 0 };
        walk((struct str){ text, n }, 3, true, &out);
        CHECK(strstr(out.p, "!truncated") || strstr(out.p, "!format"));
        buf_clear(&out);
    }
}

TEST(message, a_value_without_end_is_refused_in_bounded_memory)
{
    struct buf text = { 0 }, out = { 0 };
    buf_adds(&text, "[{\"table\":\"");
    for (int i = 0; i < 100000; i++)
        buf_addc(&text, 'x');
    walk(buf_str(&text), 0, true, &out);
    CHECK_STR(out.p, "!limit");
    buf_clear(&text);
    buf_clear(&out);
}
