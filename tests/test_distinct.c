/* distinct=: the first row of a key passes, in bounded memory. */
#include "step_site.h"

static struct step_site *distinct_site(const char *columns, char **keys, int n, int64_t memory)
{
    struct step_site *s = calloc(1, sizeof *s);
    struct err err;
    s->recipe.distinct = keys;
    s->recipe.ndistinct = n;
    s->config.limits.memory = memory;
    CHECK_OK(site_open(s, columns, &err), err);
    return s;
}

static void site_free(struct step_site *s)
{
    site_close(s);
    free(s);
}

static void check_distinct(const char *columns, const char *key, const char *lines, const char *want)
{
    char *keys[] = { (char *)key };
    struct step_site *s = distinct_site(columns, keys, 1, 0);
    struct err err;
    CHECK_OK(site_give(s, lines, &err), err);
    CHECK_OK(steps_finish(s->first, &err), err);
    CHECK_STR(s->out.p, want);
    CHECK_BOOKS(s);
    site_free(s);
}

TEST(distinct, only_the_first_row_of_a_key_passes)
{
    check_distinct("id:integer, name:text", "id",
                   "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":1,\"name\":\"c\"}\n{\"id\":3,\"name\":\"b\"}\n{\"id\":2}\n",
                   "1 \"a\"\n2 \"b\"\n3 \"b\"\n");
}

TEST(distinct, a_key_is_equal_by_its_value_in_every_type)
{
    check_distinct("a:decimal(2)", "a", "{\"a\":\"1.5\"}\n{\"a\":\"1.50\"}\n{\"a\":1.5}\n{\"a\":\"1.51\"}\n", "1.50\n1.51\n");
    check_distinct("a:timestamp", "a", "{\"a\":\"2026-01-01T00:00:00Z\"}\n{\"a\":\"2026-01-01T01:00:00+01:00\"}\n",
                   "\"2026-01-01T00:00:00Z\"\n");
    check_distinct("a:real", "a", "{\"a\":0}\n{\"a\":-0.0}\n{\"a\":1e3}\n{\"a\":1000}\n", "0\n1000\n");
    check_distinct("a:boolean", "a", "{\"a\":true}\n{\"a\":\"yes\"}\n{\"a\":false}\n", "true\nfalse\n");
    check_distinct("a:text", "a", "{\"a\":\"x\"}\n{\"a\":\"X\"}\n{\"a\":\"x \"}\n{\"a\":\"x\"}\n{\"a\":\"\"}\n", "\"x\"\n\"X\"\n\"x \"\n\"\"\n");
    check_distinct("a:integer", "A", "{\"a\":null}\n{\"a\":0}\n{}\n", "null\n0\n");
}

TEST(distinct, columns_of_a_key_do_not_run_into_each_other)
{
    char *keys[] = { (char *)"b", (char *)"a" };
    struct step_site *s = distinct_site("a:text, b:text, c:integer", keys, 2, 0);
    struct err err;
    CHECK_OK(site_give(s, "{\"a\":\"xy\",\"b\":\"z\",\"c\":1}\n{\"a\":\"x\",\"b\":\"yz\",\"c\":2}\n{\"a\":null,\"b\":\"z\",\"c\":3}\n"
                          "{\"a\":\"xy\",\"b\":\"z\",\"c\":4}\n{\"a\":\"z\",\"b\":\"xy\",\"c\":5}\n", &err), err);
    CHECK_STR(s->out.p, "\"xy\" \"z\" 1\n\"x\" \"yz\" 2\nnull \"z\" 3\n\"z\" \"xy\" 5\n");
    CHECK_EQ(s->counts.filtered, 1);
    site_free(s);
}

/* Rows id = from … to - 1 of so many different ones. */
static int give_many(struct step_site *s, int from, int to, int different, struct err *err)
{
    struct buf lines = { 0 };
    int rc = 0;
    for (int i = from; i < to && rc == 0;) {
        buf_reset(&lines);
        for (int end = i + 5000; i < to && i < end; i++)
            buf_addf(&lines, "{\"id\":%d}\n", i % different);
        rc = site_give(s, lines.p, err);
    }
    buf_clear(&lines);
    return rc;
}

TEST(distinct, holds_over_batches_and_many_keys)
{
    char *keys[] = { (char *)"id" };
    struct step_site *s = distinct_site("id:integer", keys, 1, 0);
    struct err err;
    CHECK_OK(give_many(s, 0, 130000, 50000, &err), err);
    CHECK_EQ(s->counts.staged, 50000);
    CHECK_EQ(s->counts.filtered, 80000);
    CHECK_BOOKS(s);
    site_free(s);
}

TEST(distinct, too_many_keys_for_the_memory_are_a_clear_error)
{
    enum { ROOM = 1 << 20 }; /* half of it, and a key takes 19 to 37 bytes */
    char *keys[] = { (char *)"id" };
    struct step_site *s = distinct_site("id:integer", keys, 1, ROOM);
    struct err err;
    CHECK_OK(give_many(s, 0, ROOM / 2 / 37, 1 << 30, &err), err);
    CHECK_EQ(give_many(s, ROOM / 2 / 37, ROOM / 2 / 18, 1 << 30, &err), -1);
    CHECK_EQ(err.code, ERR_LIMIT);
    CHECK_HAS(err.msg, "[limits] memory = 1 MiB");
    site_free(s);
}

TEST(distinct, a_column_that_is_not_there_is_refused)
{
    struct step_site s = { 0 };
    struct err err;
    char *keys[] = { (char *)"x" };
    s.recipe.distinct = keys;
    s.recipe.ndistinct = 1;
    CHECK_EQ(site_open(&s, "id:integer", &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_HAS(err.msg, "distinct of 'p': 'x' is not among the columns");
    site_close(&s);
}
