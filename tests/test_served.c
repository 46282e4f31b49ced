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

static struct {
    struct message request; /* before the result, which has the error that answered it; type READER_RESULT: none */
    struct pipeline_counts counts;
    const char *drift, *tally;
} says = { .request = { .type = READER_RESULT } };

static void say(struct channel *control, uint32_t type, struct buf *body)
{
    struct message m = { .type = type, .body = buf_str(body), .fd = -1 };
    struct err err;
    if (body->failed || channel_send(control, &m, &err) < 0)
        _exit(1);
    buf_clear(body);
}

/* What came of the request. */
static struct err request(struct channel *control, struct channel *reply)
{
    struct err e = { 0 };
    struct message m;
    if (says.request.type == READER_RESULT)
        return e;
    says.request.fd = -1;
    if (channel_send(control, &says.request, &e) < 0 || channel_recv(reply, &m, true) != CHANNEL_MESSAGE)
        _exit(1);
    struct unpacker u = { m.body, false };
    if (m.fd < 0)
        take_err(&u, &e);
    fd_closep(&m.fd);
    return e;
}

/* In the order of result_take. */
static void say_result(struct channel *control, const struct err *e)
{
    struct buf b = { 0 };
    pack_u64(&b, 1 << 20);
    pack_u64(&b, e->code != ERR_NONE);
    pack_err(&b, e);
    pack_bytes(&b, &says.counts, sizeof says.counts);
    pack_u64(&b, 0); /* outputs */
    for (int i = 0; i < PIPELINE_PARTS_MAX * 4; i++)
        pack_text(&b, NULL); /* inferred, found */
    pack_text(&b, says.drift);
    pack_text(&b, says.tally);
    pack_text(&b, NULL); /* notes */
    pack_u64(&b, 0);
    pack_text(&b, NULL);
    pack_text(&b, NULL);
    say(control, READER_RESULT, &b);
}

void reader_child_run(const struct reader_side *side)
{
    struct channel control, reply;
    struct buf b = { 0 };
    struct err none = { 0 };
    struct message m;
    channel_init(&control, side->control);
    channel_init(&reply, side->reply);
    pack_err(&b, &none);
    say(&control, READER_HELLO, &b);
    while (channel_recv(&control, &m, true) == CHANNEL_MESSAGE)
        if (m.type == READER_BEGIN) {
            struct err e = request(&control, &reply);
            say_result(&control, &e);
        }
    _exit(0);
}

/* ---- the worker ---- */

static struct config *config;
static struct err err;

static void config_open(void)
{
    FILE *f = fopen(test_file("qetl.ini"), "w");
    assert_non_null(f);
    fprintf(f,
            "[qetl]\ndatabase = %s/queue.db\n[target w]\nurl = sqlite://%s/w.db\n"
            "[lookup town]\nfile = %s/qetl.ini\ncolumns = id:integer\n"
            "[lookup land]\nfile = %s/qetl.ini\ncolumns = id:integer\n"
            "[lookup row]\nfile = %s/qetl.ini\ncolumns = id:integer\n"
            "[enrich near]\nurl = http://127.0.0.1:1/{id}\ncolumns = a:text\n"
            "[enrich far]\nurl = http://127.0.0.1:1/{id}\ncolumns = b:text\n"
            "[pipeline p]\ncolumns = id:integer\ntable = w.p\n"
            "[pipeline q]\ncolumns = id:integer\ntable = w.q\nenrich = near\nwhere = id IN (SELECT id FROM \"Town\")\n"
            "[pipeline r]\ncolumns = id:integer\ntable = w.r\ntransform = SELECT input.id FROM input JOIN LAND ON input.id=land.id\n"
            "output = id:integer\n"
            "[pipeline s]\n"
            "[pipeline s.a]\nmember = a\ncolumns = id:integer\ntable = w.s\n"
            "[pipeline s.b]\nmember = b\ncolumns = id:integer\ntable = w.t\nenrich = far\ncompute = x:integer = (SELECT max(id) FROM row)\n",
            test_dir(), test_dir(), test_dir(), test_dir(), test_dir());
    fclose(f);
    AUTO(buf_clear) struct buf faults = { 0 };
    if (config_load(&config, test_file("qetl.ini"), &faults, &err) < 0)
        fail_msg("%s", faults.p);
}

/* A job by a child that says that. */
static void job(const char *pipeline, struct reader_result *r)
{
    struct reader_child *child;
    struct enrich *enrich;
    struct spool spool;
    int rc = 0;
    config_open();
    CHECK_OK(enrich_open(&enrich, config, &err), err);
    CHECK_OK(spool_open(&spool, test_file("spool"), true, &err), err);
    CHECK_OK(reader_spawn(&child, config, &err), err);
    reader_enrich(child, enrich);
    CHECK_OK(reader_begin(child, config_pipeline(config, pipeline), NULL, NULL, &spool, "01TESTJOB", 7, EVENT_NONE, false, &err), err);
    for (int64_t until = sys_mono_ms() + PATIENCE_MS; rc == 0;) {
        struct pollfd fds[READER_FDS];
        reader_pollfds(child, fds);
        CHECK(sys_mono_ms() < until);
        (void)poll(fds, READER_FDS, 100);
        CHECK_OK(rc = reader_tick(child, r, &err), err);
    }
    reader_free(child);
    enrich_close(enrich);
    spool_close(&spool);
    config_free(config);
}

#define UNREAD "the reader was stopped: it sent a result that cannot be read"

static void check_drift(const char *findings, bool good)
{
    struct reader_result r;
    says.drift = findings;
    job("p", &r);
    CHECK_EQ(r.err.code, good ? ERR_NONE : ERR_READER_CRASHED);
    if (good)
        CHECK_STR(r.drift ? r.drift : "", findings ? findings : "");
    else
        CHECK_STR(r.err.msg, UNREAD);
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

static void check_tally(const char *pipeline, const char *tally, const char *want)
{
    struct reader_result r;
    says.tally = tally;
    job(pipeline, &r);
    CHECK_STR(r.rc ? r.err.msg : r.tally ? r.tally : "", want);
    reader_result_clear(&r);
    says.tally = NULL;
}

#define TALLY "[{\"pipeline\":\"q\",\"enrich\":\"near\",\"keys\":2,\"cached\":0,\"missed\":1,\"failed\":0,\"error\":null,\"note\":null}]"

TEST(served, tallies_are_of_the_enrichments_that_the_pipeline_names)
{
    check_tally("q", TALLY, TALLY);
    check_tally("p", TALLY, UNREAD);
    check_tally("q", "{}", UNREAD);
}

/* What it is told when it asks for that. */
static void check_request(const char *pipeline, uint32_t type, uint64_t number, const char *want)
{
    struct reader_result r;
    says.request = (struct message){ .type = type, .a = number };
    job(pipeline, &r);
    says.request = (struct message){ .type = READER_RESULT };
    CHECK_STR(r.rc ? r.err.msg : "served", want);
    reader_result_clear(&r);
}

TEST(served, look_ups_are_those_that_the_sql_of_the_pipeline_names)
{
    static const char *const may[] = { "", "q", "r", "s" }; /* of which pipeline is the n-th */
    static const char *const pipelines[] = { "p", "q", "r", "s" };
    for (uint64_t i = 0; i < 3; i++)
        for (size_t k = 0; k < COUNT_OF(pipelines); k++) {
            char no[60];
            snprintf(no, sizeof no, "look-up %d is none of the pipeline's", (int)i);
            check_request(pipelines[k], READER_OPEN, STAGE_LOOKUP + i, strcmp(pipelines[k], may[i + 1]) ? no : "served");
        }
    check_request("q", READER_OPEN, STAGE_LOOKUP + 3, "look-up 3 is none of the pipeline's");
    check_request("q", READER_OPEN, UINT64_MAX, "look-up 18446744073709549615 is none of the pipeline's");
}

TEST(served, questions_are_of_the_enrichments_that_the_pipeline_names)
{
    /* an empty one is none, which only who is asked finds out */
    check_request("p", READER_ASK, 0, "[enrich] 0 is none of the pipeline's");
    check_request("q", READER_ASK, 1, "[enrich] 1 is none of the pipeline's");
    check_request("s", READER_ASK, 0, "[enrich] 0 is none of the pipeline's");
    check_request("s", READER_ASK, 2, "[enrich] 2 is none of the pipeline's");
    check_request("q", READER_ASK, 0, "[enrich near]: the reader's question is none");
    check_request("s", READER_ASK, 1, "[enrich far]: the reader's question is none");
}

static int64_t greatest_of(int64_t said)
{
    struct reader_result r;
    says.counts.greatest = said;
    job("p", &r);
    CHECK_EQ(r.rc, 0);
    int64_t greatest = r.counts.greatest;
    reader_result_clear(&r);
    return greatest;
}

TEST(served, events_are_between_year_1_and_now)
{
    int64_t before = sys_now_ms() * 1000, now = greatest_of(INT64_MAX);
    CHECK(now >= before && now <= sys_now_ms() * 1000);
    CHECK_EQ(greatest_of(EVENT_NONE), EVENT_NONE);
    CHECK_EQ(greatest_of(EVENT_NONE + 1), INT64_C(-62135596800000000));
    CHECK_EQ(greatest_of(before), before);
    CHECK_EQ(greatest_of(0), 0);
    CHECK_EQ(greatest_of(-1), -1);
    says.counts.greatest = 0;
}
