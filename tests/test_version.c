/* Listed against fetched: only what both say, as exactly as the one that says less. */
#include "source/version.h"

#include "test.h"

TEST(version, is_told_by_what_both_say)
{
    static const int64_t s = 1000, minute = 60000, hour = 60 * minute, day = 24 * hour, t = 20000 * day + 10 * hour + 17 * minute;
    static const struct {
        struct list_version listed, now;
        bool same;
    } cases[] = {
        { { 5, 1234, "" }, { 5, 1234, "" }, true },
        { { 5, 1234, "" }, { 6, 1234, "" }, false },
        { { -1, 1234, "" }, { 6, 1234, "" }, true },          /* a page that rounds */
        { { 5, 0, "" }, { 5, 1234, "" }, true },
        { { 5, 1234, "" }, { 5, 1235, "" }, false },          /* a local file */
        { { 5, 1234, "" }, { 5, 1000, "" }, true },           /* an answer that has whole seconds */
        { { 5, 7000, "" }, { 5, 7999, "" }, true },
        { { 5, 7000, "" }, { 5, 8000, "" }, false },
        { { 5, t, "" }, { 5, t + 59 * s, "" }, true },        /* to the minute */
        { { 5, t, "" }, { 5, t + minute, "" }, false },
        { { 5, t + 2 * hour, "" }, { 5, t + 59 * s, "" }, true }, /* of a server in another zone */
        { { 5, 20000 * day, "" }, { 5, t, "" }, true },       /* to the day */
        { { 5, 20000 * day, "" }, { 5, t + 2 * day, "" }, false },
        { { 5, 1234, "\"x\"" }, { 5, 9234, "\"x\"" }, true }, /* the tag decides */
        { { 5, 1234, "\"x\"" }, { 5, 1234, "\"y\"" }, false },
        { { 5, 1234, "W/\"x\"" }, { 5, 1234, "\"x\"" }, true },
        { { 5, 1234, "21-Nov-2026 12:01 1.2K" }, { 5, 1234, "\"x\"" }, true },
        { { 5, 1234, "21-Nov-2026 12:01 1.2K" }, { 5, 9234, "\"x\"" }, false },
        { { 5, 1234, "\"x\"" }, { 5, 9234, "" }, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err err = { 0 };
        CHECK_EQ(version_check(&cases[i].listed, &cases[i].now, &err), cases[i].same ? 0 : -1);
        CHECK_EQ(err.code, cases[i].same ? ERR_NONE : ERR_CHANGED);
    }
}

TEST(version, a_fault_has_both_values)
{
    struct err err;
    CHECK_EQ(version_check(&(struct list_version){ 999999, 0, "" }, &(struct list_version){ 57, 0, "" }, &err), -1);
    CHECK_STR(err.msg, "the object is not the one that was listed: it was to have 999999 bytes, and has 57");
    CHECK_EQ(version_check(&(struct list_version){ 5, 1000, "" }, &(struct list_version){ 5, 2000, "" }, &err), -1);
    CHECK_STR(err.msg, "the object is not the one that was listed: its time was 1970-01-01T00:00:01.000Z, and is 1970-01-01T00:00:02.000Z");
}

TEST(version, a_checksum_is_a_word_of_what_a_manifest_said)
{
    static const char sha[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", md5[] = "md5:d41d8cd98f00b204e9800998ecf8427e";
    static const char none[] = "";
    const struct {
        const char *before, *etag, *behind, *found;
    } cases[] = {
        { "", sha, "", sha + 7 },          { "", md5, "", md5 + 4 }, { "x ", sha, " y", sha + 7 }, { "x", sha, "", none }, { "", sha, "0", none },
        { "sha256:00 ", md5, "", md5 + 4 }, { "", "", "", none },     { "sha256:", "", "", none },   { "sha256", "", "", none },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        enum version_sum kind;
        char etag[200], got[80];
        snprintf(etag, sizeof etag, "%s%s%s", cases[i].before, cases[i].etag, cases[i].behind);
        struct str sum = version_sum(etag, &kind);
        snprintf(got, sizeof got, "%.*s", (int)sum.n, sum.p);
        CHECK_STR(got, cases[i].found);
        if (sum.n)
            CHECK_EQ(kind, cases[i].etag == sha ? VERSION_SHA256 : VERSION_MD5);
    }
    AUTO(buf_clear) struct buf word = { 0 };
    CHECK(version_put_sum(&word, STR("D41D8CD98F00B204E9800998ECF8427E")));
    CHECK(str_eq(buf_str(&word), str_of(md5)));
    CHECK(!version_put_sum(&word, STR("D41D8CD98F00B204E9800998ECF8427")) && !version_put_sum(&word, STR("x")));
}

TEST(version, older_is_what_is_older_for_sure)
{
    CHECK(version_older(1234, 1235) && !version_older(1235, 1235) && !version_older(1236, 1235));
    CHECK(!version_older(1000, 1999) && version_older(1000, 2000)); /* one of them has whole seconds */
    CHECK(!version_older(0, 5) && !version_older(5, 0));
}
