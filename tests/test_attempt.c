/* What an attempt finds out of columns: the same, whether a queue keeps it for other jobs or it is the attempt's own. */
#include "test.h"

#include "io/fetch.h"
#include "role/attempt.h"
#include "role_site.h"

static const char pipelines[] = "[pipeline grows]\ncolumns = id:integer!\ntable = w.t\non_new_column = add\n"
                                "[pipeline guess]\ntable = w.g\non_new_column = add\n"
                                "[pipeline same]\ncolumns = id:integer!\ntable = w.s\ndedupe = content\n";

/* An attempt, and what it needs. */
struct try {
    struct spool spool;
    struct fetch *fetch;
    struct reader_child *reader;
    struct feed feed;
    struct attempt attempt;
};

static int tick(void *arg, struct err *e)
{
    (void)arg, (void)e;
    return 0;
}

/* keeps: what it finds out goes to the queue. */
static void try_open(struct try *t, const char *pipeline, bool keeps)
{
    *t = (struct try){ .spool = SPOOL_CLOSED };
    CHECK_OK(spool_open(&t->spool, site->spool, true, &err), err);
    CHECK_OK(fetch_open(&t->fetch, &site->limits, &err), err);
    CHECK_OK(reader_spawn(&t->reader, site, &err), err);
    t->feed = (struct feed){ .config = site, .reader = &t->reader, .spool = &t->spool, .fetch = t->fetch, .uid = "01TESTJOB", .token = 1,
                             .watermark = EVENT_NONE, .attempt = 1, .tick = tick };
    t->feed.pipeline = config_pipeline(site, pipeline);
    t->feed.sum = t->feed.pipeline->dedupe;
    t->attempt = (struct attempt){ .feed = &t->feed, .queue = keeps ? site_queue : NULL, .job = 7 };
    CHECK_OK(attempt_ask(&t->attempt, site_queue, &err), err);
}

static void try_close(struct try *t)
{
    attempt_clear(&t->attempt);
    feed_clear(&t->feed);
    reader_free(t->reader);
    fetch_close(t->fetch);
    spool_close(&t->spool);
}

/* The objects read, and the description of the only output. */
static void try_files(struct try *t, const char *one, const char *two, const char *spec)
{
    char *uris[] = { (char *)one, (char *)two };
    struct spool_file files[PIPELINE_PARTS_MAX + 1];
    CHECK_OK(attempt_columns(&t->attempt, uris, &err), err);
    CHECK_OK(attempt_read(&t->attempt, uris, two ? 2 : 1, &err), err);
    CHECK_EQ(attempt_outputs(&t->attempt, files, &err), 0); /* it is small */
    CHECK_EQ(t->feed.result.noutputs, 1);
    CHECK_HAS(t->feed.result.outputs[0].spec, spec);
}

TEST(attempt, columns_that_are_added_are_the_same_with_a_queue_and_without)
{
    for (int keeps = 0; keeps < 2; keeps++) {
        struct try t;
        site_open(pipelines);
        try_open(&t, "grows", keeps);
        try_files(&t, site_file("one.csv", "id,price,name\n1,1.5,x\n"), site_file("two.csv", "id,name,day\n2,y,2026-11-21\n"),
                  "\"added\":\"price:real?");
        AUTO(columns_clear) struct columns added = { 0 };
        CHECK_OK(columns_parse(&added, t.attempt.known[0].added, &err), err);
        CHECK_EQ(added.n, 3);
        CHECK(columns_find(&added, STR("name")) >= 0 && columns_find(&added, STR("day")) >= 0);
        CHECK_EQ(t.feed.result.counts.staged, 2);
        /* once more, with another one: those that are known stay before it */
        try_files(&t, site_file("three.csv", "id,price,extra\n3,2.5,1\n"), NULL, ", extra:integer");
        try_close(&t);
        struct try other;
        try_open(&other, "grows", true);
        CHECK_EQ(other.attempt.known[0].added != NULL, keeps);
        try_close(&other);
        site_close();
    }
}

TEST(attempt, what_cannot_be_read_leaves_no_column)
{
    struct try t, other;
    site_open(pipelines);
    try_open(&t, "grows", true);
    char *uris[] = { (char *)site_file("one.csv", "id,y\n1,a\n"), (char *)site_file("two.csv", "id,x,x\n2,b,c\n") };
    CHECK_EQ(attempt_read(&t.attempt, uris, 2, &err), -1);
    CHECK_EQ(err.code, ERR_HEADER);
    try_open(&other, "grows", true);
    CHECK(!other.attempt.known[0].added);
    try_close(&other);
    try_close(&t);
    site_close();
}

TEST(attempt, of_two_that_bring_a_column_the_first_says_what_it_is)
{
    struct try t, other;
    site_open(pipelines);
    try_open(&t, "grows", true);
    try_open(&other, "grows", true); /* knows nothing of it yet */
    try_files(&t, site_file("one.csv", "id,x\n1,a\n"), NULL, "\"added\":\"x:text?\"");
    try_files(&other, site_file("two.csv", "id,z,x\n2,1,7\n"), NULL, "\"added\":\"x:text?, z:integer?\"");
    try_close(&other);
    try_close(&t);
    site_close();
}

TEST(attempt, columns_that_are_found_out_are_known_to_others_only_where_a_queue_keeps_them)
{
    for (int keeps = 0; keeps < 2; keeps++) {
        struct try t, other;
        site_open(pipelines);
        try_open(&t, "guess", keeps);
        try_files(&t, site_file("one.csv", "id,name\n1,x\n"), NULL, "\"columns\":\"id:integer!, name:text!\"");
        try_close(&t);
        try_open(&other, "guess", keeps);
        CHECK_EQ(other.attempt.known[0].columns != NULL, keeps);
        try_close(&other);
        site_close();
    }
}

TEST(attempt, of_objects_that_come_twice_one_is_read)
{
    struct try t;
    site_open(pipelines);
    try_open(&t, "same", true);
    char *uris[] = { (char *)site_file("one.csv", "id\n1\n"), (char *)site_file("two.csv", "id\n1\n"), (char *)site_file("three.csv", "id\n2\n") };
    CHECK_OK(attempt_read(&t.attempt, uris, 3, &err), err);
    CHECK_EQ(t.feed.result.counts.staged, 3);
    CHECK_OK(attempt_leave_out(&t.attempt, NULL, uris, 3, &err), err);
    CHECK_EQ(t.feed.result.counts.staged, 2);
    CHECK_EQ(t.feed.nobjects, 3);
    CHECK_EQ(t.feed.objects[1].same_as, 0);
    CHECK_HAS(t.feed.objects[1].uri, "three.csv");
    CHECK_EQ(t.feed.objects[2].same_as, 7);
    try_close(&t);
    site_close();
}
