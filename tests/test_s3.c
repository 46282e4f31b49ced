/* The S3 client: names, and every call against a store that checks signatures to the letter. */
#include "io/s3.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/sha256.h"
#include "service.h"
#include "test.h"

#define CHECK_FAILS(call, err, expected)                                                           \
    do {                                                                                           \
        CHECK((call) < 0);                                                                         \
        CHECK_STR(err_name((err).code), err_name(expected));                                       \
    } while (0)

static struct remote remote;
static const struct limits limits = { .connect_timeout_ms = 5000, .stall_timeout_ms = 5000 };
static struct s3 *s3;

static struct s3 *open_as(const struct remote *r)
{
    struct err err;
    struct s3 *s;
    CHECK_OK(s3_open(&s, r, STR("bucket"), &limits, &err), err);
    return s;
}

static void start(void)
{
    if (s3)
        return;
    snprintf(s3_service.place, sizeof s3_service.place, "%s/s3", test_dir());
    remote = s3_service_remote();
    if (s3_service_run("start") != 0)
        skip();
    s3 = open_as(&remote);
}

static int into(void *arg, struct str bytes, struct err *err)
{
    (void)err;
    buf_add(arg, bytes.p, bytes.n);
    return 0;
}

/* The object from that byte on, or its few bytes; "(none)" when there is none. */
static const char *get(const char *key, int64_t from, int64_t bytes)
{
    static struct buf out;
    struct err err;
    buf_reset(&out);
    buf_adds(&out, "");
    int rc = s3_get(s3, key, from, bytes, NULL, into, &out, NULL, &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.msg);
    CHECK(rc >= 0);
    return rc ? out.p : "(none)";
}

static void put(const char *key, const char *text)
{
    struct err err;
    CHECK_OK(s3_put(s3, key, str_of(text), NULL, NULL, &err) < 0 ? -1 : 0, err);
}

TEST(s3, uris_are_split_into_bucket_and_key)
{
    struct err err;
    struct str bucket, key;
    CHECK_OK(s3_split("s3://b-1.x/a//b", &bucket, &key, &err), err);
    CHECK(str_eq(bucket, STR("b-1.x")));
    CHECK_STR(key.p, "a//b");
    CHECK_OK(s3_split("s3://b", &bucket, &key, &err), err);
    CHECK_EQ(key.n, 0);
    CHECK_FAILS(s3_split("s3:///a", &bucket, &key, &err), err, ERR_URI);
    CHECK_FAILS(s3_split("s3://b?c/a", &bucket, &key, &err), err, ERR_URI);
    CHECK_FAILS(s3_split("http://b/a", &bucket, &key, &err), err, ERR_URI);
}

TEST(s3, everything_but_the_unreserved_is_encoded)
{
    struct buf out = { 0 };
    s3_encode(&out, STR("aZ09-_.~/ +=()!*'%\xc3\xa9\x00#?&"), true);
    CHECK_STR(out.p, "aZ09-_.~/%20%2B%3D%28%29%21%2A%27%25%C3%A9%00%23%3F%26");
    buf_reset(&out);
    s3_encode(&out, STR("a/b"), false);
    CHECK_STR(out.p, "a%2Fb");
    buf_clear(&out);
}

TEST(s3, sha256_is_that_of_the_standard)
{
    struct err err;
    char hex[SHA256_HEX + 1];
    CHECK_OK(sha256_of(STR("abc"), hex, &err), err);
    CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct sha256 *s = sha256_new(&err);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(sha256_add(s, STR("a"), &err), err);
        CHECK_OK(sha256_add(s, STR("bc"), &err), err);
        CHECK_OK(sha256_end(s, hex, &err), err);
        CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    sha256_free(s);
}

TEST(s3, odd_keys_are_put_got_and_deleted)
{
    static const char *const keys[] = { "plain", "with space+plus=1(2)!*'", "dir//two", "..", "a/../b", "a/./b", "z\xc3\xbc\xf0\x9f\x98\x80",
                                        "100%", "q?x&y#z", "tilde~" };
    struct err err;
    struct s3_object o;
    start();
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        put(keys[i], keys[i]);
        CHECK_STR(get(keys[i], 0, -1), keys[i]);
        CHECK_EQ(s3_head(s3, keys[i], &o, &err), 1);
        CHECK_EQ(o.size, strlen(keys[i]));
        CHECK(o.etag[0] == '"');
        CHECK_OK(s3_delete(s3, keys[i], &err), err);
        CHECK_EQ(s3_head(s3, keys[i], &o, &err), 0);
        CHECK_OK(s3_delete(s3, keys[i], &err), err);
    }
    CHECK_STR(get("never", 0, -1), "(none)");
    put("empty", "");
    CHECK_STR(get("empty", 0, -1), "");
}

TEST(s3, ranges_are_the_bytes_asked_for)
{
    struct err err;
    struct s3_object o;
    struct buf out = { 0 };
    start();
    put("r", "0123456789");
    CHECK_STR(get("r", 3, -1), "3456789");
    CHECK_STR(get("r", 3, 4), "3456");
    CHECK_STR(get("r", 0, 1), "0");
    CHECK_EQ(s3_get(s3, "r", 4, -1, NULL, into, &out, &o, &err), 1);
    CHECK_EQ(o.size, 10);
    CHECK_FAILS(s3_get(s3, "r", 0, -1, "\"another\"", into, &out, NULL, &err), err, ERR_CHANGED);
    buf_clear(&out);
}

TEST(s3, a_condition_says_whether_it_held)
{
    struct err err;
    char etag[S3_ETAG], other[S3_ETAG];
    start();
    (void)s3_delete(s3, "c", &err);
    CHECK_EQ(s3_put(s3, "c", STR("1"), "", etag, &err), 1);
    CHECK_EQ(s3_put(s3, "c", STR("2"), "", other, &err), 0);
    CHECK_EQ(s3_put(s3, "c", STR("3"), etag, other, &err), 1);
    CHECK_EQ(s3_put(s3, "c", STR("4"), etag, other, &err), 0);
    CHECK_STR(get("c", 0, -1), "3");
}

TEST(s3, a_version_is_deleted_and_no_other)
{
    struct err err;
    char etag[S3_ETAG], other[S3_ETAG];
    start();
    CHECK_EQ(s3_put(s3, "d", STR("1"), NULL, etag, &err), 1);
    CHECK_EQ(s3_put(s3, "d", STR("2"), NULL, other, &err), 1);
    CHECK_EQ(s3_delete_version(s3, "d", etag, &err), 0);
    CHECK_STR(get("d", 0, -1), "2");
    CHECK_EQ(s3_delete_version(s3, "d", other, &err), 1);
    CHECK_STR(get("d", 0, -1), "(none)");
    CHECK_EQ(s3_delete_version(s3, "d", other, &err), 1);
    put("d", "3");
    s3_service_fault("DELETE 9 501\n"); /* a store without conditions */
    CHECK_EQ(s3_delete_version(s3, "d", other, &err), 1);
    s3_service_fault("");
    CHECK_STR(get("d", 0, -1), "(none)");
}

TEST(s3, a_copy_is_made_by_the_store)
{
    struct err err;
    start();
    put("from/with space+%.csv", "abc");
    CHECK_EQ(s3_copy(s3, "from/with space+%.csv", "to/\xc3\xbc", &err), 1);
    CHECK_STR(get("to/\xc3\xbc", 0, -1), "abc");
    CHECK_STR(get("from/with space+%.csv", 0, -1), "abc");
    CHECK_EQ(s3_copy(s3, "from/none", "to/none", &err), 0);
    s3_service_fault("PUT 1 error200\n"); /* it had begun to answer when it failed */
    CHECK_FAILS(s3_copy(s3, "from/with space+%.csv", "to/late", &err), err, ERR_FETCH);
    s3_service_fault("PUT 1 drop\n"); /* done, and the answer is lost */
    CHECK_EQ(s3_copy(s3, "from/with space+%.csv", "to/drop", &err), 1);
    s3_service_fault("");
    CHECK_STR(get("to/late", 0, -1), "(none)");
    CHECK_STR(get("to/drop", 0, -1), "abc");
}

struct listed {
    struct buf text;
    int left;
};

static int list_one(void *arg, const char *key, const struct s3_object *object, struct err *err)
{
    struct listed *l = arg;
    (void)err;
    buf_addf(&l->text, "%s%s ", key, object ? "" : "*");
    if (object)
        CHECK_EQ(object->size, 1);
    return l->left-- == 0;
}

TEST(s3, odd_keys_are_listed_as_they_were_put)
{
    static const char *const keys[] = { "odd/%25 +&<>\"'", "odd/a\nb\r\n", "odd/\x01\x7f", "odd/\xc3\xbc", "odd/x/y%2F" };
    struct err err;
    struct listed l = { .left = 1000 };
    start();
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        put(keys[i], "x");
    CHECK_OK(s3_list(s3, "odd/", NULL, NULL, list_one, &l, &err), err);
    CHECK_EQ(l.left, 1000 - COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        CHECK(strstr(l.text.p, keys[i]));
    buf_reset(&l.text);
    l.left = 0;
    CHECK_EQ(s3_list(s3, "odd/\x01", "/", NULL, list_one, &l, &err), 1);
    CHECK_STR(l.text.p, "odd/\x01\x7f ");
    buf_clear(&l.text);
}

TEST(s3, lists_have_every_key_over_many_pages)
{
    struct err err;
    struct listed l = { .left = 1000 };
    char key[64];
    start();
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "list/%s%02d &+", i < 10 ? "deep/" : "", i);
        put(key, "x");
    }
    CHECK_OK(s3_list(s3, "list/", NULL, NULL, list_one, &l, &err), err);
    CHECK_EQ(l.left, 970);
    CHECK(strstr(l.text.p, "list/29 &+ "));
    buf_reset(&l.text);
    CHECK_OK(s3_list(s3, "list/", "/", NULL, list_one, &l, &err), err);
    CHECK_EQ(l.left, 970 - 21);
    CHECK(strstr(l.text.p, "list/deep/* "));
    buf_reset(&l.text);
    CHECK_OK(s3_list(s3, "list/", NULL, "list/27 &+", list_one, &l, &err), err);
    CHECK_STR(l.text.p, "list/28 &+ list/29 &+ list/deep/00 &+ list/deep/01 &+ list/deep/02 &+ list/deep/03 &+ list/deep/04 &+ "
                        "list/deep/05 &+ list/deep/06 &+ list/deep/07 &+ list/deep/08 &+ list/deep/09 &+ ");
    l.left = 8;
    CHECK_EQ(s3_list(s3, "list/", NULL, NULL, list_one, &l, &err), 1);
    CHECK_EQ(l.left, -1);
    buf_clear(&l.text);
}

/* ---- in parts ---- */

enum { PART = 5 << 20, LAST = 1234 };

static int64_t upload(const char *key, bool end, struct err *err)
{
    static struct buf bytes;
    struct s3_part parts[2];
    struct s3_object o;
    char id[S3_UPLOAD_ID];
    buf_reset(&bytes);
    for (int i = 0; i < PART / 16; i++)
        buf_add(&bytes, "0123456789abcdef", 16);
    if (s3_upload_begin(s3, key, id, err) < 0 || s3_upload_part(s3, key, id, 1, buf_str(&bytes), &parts[0], err) < 0 ||
        s3_upload_part(s3, key, id, 2, (struct str){ bytes.p, LAST }, &parts[1], err) < 0)
        return -1;
    if (!end) {
        int rc = s3_upload_abort(s3, key, id, err);
        return rc < 0 ? -1 : s3_upload_end(s3, key, id, parts, 2, PART + LAST, err);
    }
    if (s3_upload_end(s3, key, id, parts, 2, PART + LAST, err) < 0)
        return -1;
    CHECK_EQ(s3_head(s3, key, &o, err), 1);
    buf_clear(&bytes);
    return o.size;
}

TEST(s3, parts_become_one_object)
{
    struct err err;
    start();
    CHECK_EQ(upload("parts", true, &err), PART + LAST);
    CHECK_STR(get("parts", PART - 2, 4), "ef01");
    CHECK_FAILS((int)upload("aborted", false, &err), err, ERR_FETCH_MISSING);
    CHECK_STR(get("aborted", 0, -1), "(none)");
}

TEST(s3, a_lost_answer_to_the_end_of_an_upload_is_found_out)
{
    struct err err;
    start();
    s3_service_fault("^POST.*lost\\?uploadId 1 drop\n");
    int64_t size = upload("lost", true, &err);
    CHECK_OK(size < 0 ? -1 : 0, err);
    CHECK_EQ(size, PART + LAST);
    s3_service_fault("^POST.*late\\?uploadId 2 error200\n");
    CHECK_EQ(upload("late", true, &err), PART + LAST);
}

/* ---- faults ---- */

TEST(s3, what_passes_is_tried_again)
{
    struct err err;
    start();
    s3_service_fault("^PUT 3 503\n");
    put("f1", "one");
    s3_service_fault("^PUT 1 drop\n^PUT 1 500\n");
    put("f2", "two");
    s3_service_fault("^GET 2 503\n");
    CHECK_STR(get("f1", 0, -1), "one");
    (void)s3_delete(s3, "f3", &err);
    s3_service_fault("^PUT 1 drop\n"); /* done, the answer lost: the second try meets its own object */
    CHECK_EQ(s3_put(s3, "f3", STR("x"), "", NULL, &err), 0);
    CHECK_STR(get("f3", 0, -1), "x");
    s3_service_fault("^GET 2 503\n^GET 1 drop\n");
    struct listed l = { .left = 0 };
    CHECK_EQ(s3_list(s3, "f3", NULL, NULL, list_one, &l, &err), 1);
    buf_clear(&l.text);
}

TEST(s3, a_body_that_breaks_off_goes_on_where_it_was)
{
    struct buf text = { 0 };
    start();
    for (int i = 0; i < 20000; i++)
        buf_addf(&text, "line %d\n", i);
    put("long", text.p);
    s3_service_fault("^GET 2 cut\n");
    CHECK(!strcmp(get("long", 0, -1), text.p));
    s3_service_fault("^GET 1 cut\n");
    CHECK(!strcmp(get("long", 100, -1), text.p + 100));
    buf_clear(&text);
}

TEST(s3, what_lasts_fails_with_the_words_of_the_store)
{
    struct err err;
    start();
    s3_service_fault("^PUT 4 503\n");
    CHECK_FAILS(s3_put(s3, "x", STR("x"), NULL, NULL, &err), err, ERR_FETCH_BUSY);
    CHECK(strstr(err.msg, "503 SlowDown: reduce"));
    s3_service_fault("");
}

TEST(s3, a_wrong_key_is_said_and_not_shown)
{
    struct err err;
    struct s3_object o;
    struct remote r = remote;
    start();
    r.secret_key = (char[]){ "wrong-and-private" };
    struct s3 *wrong = open_as(&r);
    CHECK_FAILS(s3_put(wrong, "x", STR("x"), NULL, NULL, &err), err, ERR_FETCH_DENIED);
    CHECK(strstr(err.msg, "SignatureDoesNotMatch"));
    CHECK(!strstr(err.msg, "private"));
    CHECK_FAILS(s3_head(wrong, "x", &o, &err), err, ERR_FETCH_DENIED);
    s3_close(wrong);
    r = remote;
    r.region = (char[]){ "us-east-1" };
    wrong = open_as(&r);
    CHECK_FAILS(s3_put(wrong, "x", STR("x"), NULL, NULL, &err), err, ERR_FETCH_REFUSED);
    CHECK(strstr(err.msg, "eu-test-1"));
    s3_close(wrong);
    r = remote;
    r.access_key = NULL;
    CHECK_FAILS(s3_open(&wrong, &r, STR("bucket"), &limits, &err), err, ERR_CONFIG);
    r.secret_key = NULL; /* not signed */
    wrong = open_as(&r);
    CHECK_FAILS(s3_put(wrong, "x", STR("x"), NULL, NULL, &err), err, ERR_FETCH_DENIED);
    s3_close(wrong);
}

TEST(s3, no_bucket_and_no_store_are_told_apart)
{
    struct err err;
    struct s3 *none;
    struct remote r = remote;
    start();
    CHECK_OK(s3_open(&none, &remote, STR("nobody"), &limits, &err), err);
    CHECK_FAILS(s3_put(none, "x", STR("x"), NULL, NULL, &err), err, ERR_FETCH_MISSING);
    CHECK(strstr(err.msg, "NoSuchBucket"));
    CHECK_FAILS(s3_get(none, "x", 0, -1, NULL, into, NULL, NULL, &err), err, ERR_FETCH_MISSING);
    s3_close(none);
    r.endpoint = (char[]){ "http://127.0.0.1:1" };
    none = open_as(&r);
    CHECK_FAILS(s3_put(none, "x", STR("x"), NULL, NULL, &err), err, ERR_FETCH);
    s3_close(none);
}

TEST(s3, a_session_token_is_sent_and_signed)
{
    struct err err;
    struct remote r = remote;
    start();
    r.session_token = (char[]){ "a lent token//==" };
    struct s3 *lent = open_as(&r);
    CHECK_EQ(s3_put(lent, "lent", STR("x"), "", NULL, &err), 1);
    s3_close(lent);
    s3_close(s3);
    s3 = NULL;
    CHECK_EQ(s3_service_run("stop"), 0);
}
