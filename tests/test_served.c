/* What a reader child that was taken over may do to the worker: nothing. The child here is ours and says what a real one never would. */
#include "test.h"

#include <poll.h>

#include "base/pack.h"
#include "io/config.h"
#include "io/spool.h"
#include "role/channel.h"
#include "role/reader.h"
#include "role/reader_child.h"

enum { PATIENCE_MS = 60000 };

/* ---- the child: it takes the place of the real one ---- */

/* Its result, in the order of result_take. */
static struct {
    struct pipeline_counts counts;
    const char *drift;
} says;

static void say(struct channel *control, uint32_t type, struct buf *body)
{
    struct message m = { .type = type, .body = buf_str(body), .fd = -1 };
    struct err err;
    if (body->failed || channel_send(control, &m, &err) < 0)
        _exit(1);
    buf_clear(body);
}

static void say_result(struct channel *control)
{
    struct buf b = { 0 };
    struct err none = { 0 };
    pack_u64(&b, 1 << 20);
    pack_u64(&b, 0);
    pack_err(&b, &none);
    pack_bytes(&b, &says.counts, sizeof says.counts);
    pack_u64(&b, 0); /* outputs */
    for (int i = 0; i < PIPELINE_PARTS_MAX * 4; i++)
        pack_text(&b, NULL); /* inferred, found */
    pack_text(&b, says.drift);
    pack_text(&b, NULL); /* notes */
    pack_u64(&b, 0);
    pack_text(&b, NULL);
    pack_text(&b, NULL);
    say(control, READER_RESULT, &b);
}

void reader_child_run(const struct reader_side *side)
{
    struct channel control;
    struct buf b = { 0 };
    struct err none = { 0 };
    struct message m;
    channel_init(&control, side->control);
    pack_err(&b, &none);
    say(&control, READER_HELLO, &b);
    while (channel_recv(&control, &m, true) == CHANNEL_MESSAGE)
        if (m.type == READER_BEGIN)
            say_result(&control);
    _exit(0);
}

/* ---- the worker ---- */

static struct config *config;
static struct err err;

static void config_open(void)
{
    FILE *f = fopen(test_file("qetl.ini"), "w");
    assert_non_null(f);
    fprintf(f, "[target w]\nurl = sqlite://%s/w.db\n[pipeline p]\ncolumns = id:integer\ntable = w.p\n", test_dir());
    fclose(f);
    CHECK_OK(config_load(&config, test_file("qetl.ini"), NULL, &err), err);
}

/* A job by a child that says that. */
static void job(const char *pipeline, struct reader_result *r)
{
    struct reader_child *child;
    struct spool spool;
    int rc = 0;
    config_open();
    CHECK_OK(spool_open(&spool, test_file("spool"), true, &err), err);
    CHECK_OK(reader_spawn(&child, config, &err), err);
    CHECK_OK(reader_begin(child, config_pipeline(config, pipeline), NULL, NULL, &spool, "01TESTJOB", 7, EVENT_NONE, false, &err), err);
    for (int64_t until = sys_mono_ms() + PATIENCE_MS; rc == 0;) {
        struct pollfd fds[READER_FDS];
        reader_pollfds(child, fds);
        CHECK(sys_mono_ms() < until);
        (void)poll(fds, READER_FDS, 100);
        CHECK_OK(rc = reader_tick(child, r, &err), err);
    }
    reader_free(child);
    spool_close(&spool);
    config_free(config);
}

static void check_drift(const char *findings, bool good)
{
    struct reader_result r;
    says.drift = findings;
    job("p", &r);
    CHECK_EQ(r.err.code, good ? ERR_NONE : ERR_READER_CRASHED);
    if (good)
        CHECK_STR(r.drift ? r.drift : "", findings ? findings : "");
    else
        CHECK_HAS(r.err.msg, "it sent a message that cannot be");
    reader_result_clear(&r);
    says.drift = NULL;
}

#define FINDING(kind, column, member, detail) \
    "{\"kind\":" kind ",\"pipeline\":\"p\",\"column\":" column ",\"member\":" member ",\"detail\":" detail "}"

TEST(served, findings_of_drift_are_as_the_queue_takes_them)
{
    check_drift(NULL, true);
    check_drift("[]", true);
    check_drift("[" FINDING("\"new\"", "\"a\\n\"", "\"m\"", "\"ignored\"") "," FINDING("\"moved\"", "null", "null", "\"and 3 more\"") "]", true);
    check_drift("[", false);
    check_drift("{}", false);
    check_drift("[null]", false);
    check_drift("[[]]", false);
    check_drift("[{}]", false);
    check_drift("[" FINDING("\"odd\"", "\"a\"", "\"m\"", "\"x\"") "]", false);
    check_drift("[" FINDING("\"new\\u0000\"", "\"a\"", "\"m\"", "\"x\"") "]", false);
    check_drift("[" FINDING("1", "\"a\"", "\"m\"", "\"x\"") "]", false);
    check_drift("[" FINDING("\"new\"", "\"a\"", "\"m\"", "null") "]", false);
    check_drift("[" FINDING("\"new\"", "[]", "\"m\"", "\"x\"") "]", false);
    check_drift("[" FINDING("\"new\"", "\"a\"", "\"m\"", "\"x\",\"detail\":\"y\"") "]", false);
    check_drift("[{\"kind\":\"new\",\"pipeline\":\"p\",\"column\":\"a\",\"member\":\"m\"}]", false);
}

TEST(served, a_text_of_a_finding_is_bounded)
{
    enum { LONG = 100000 };
    AUTO(buf_clear) struct buf b = { 0 };
    buf_adds(&b, "[{\"kind\":\"new\",\"pipeline\":\"p\",\"column\":null,\"member\":null,\"detail\":\"");
    for (int i = 0; i < LONG; i++)
        buf_addc(&b, 'x');
    buf_adds(&b, "\"}]");
    check_drift(b.p, false);
}
