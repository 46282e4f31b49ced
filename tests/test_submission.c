/* Messages and single facts to jobs. */
#include "test.h"

#include "role_site.h"

static const char pipelines[] = "[pipeline p]\nsource = /x/{day}.csv\ncolumns = a\ntable = w.t\npriority = 4\nattempts = 6\n"
                                "[pipeline bare]\ncolumns = a\ntable = w.t\n"
                                "[pipeline mixed]\n[pipeline mixed.r]\nmember = r*\ncolumns = a\ntable = w.r\nmode = replace\n"
                                "[pipeline mixed.a]\nmember = a*\ncolumns = a\ntable = w.a\n"
                                "[pipeline mixed.u]\nmember = u*\ncolumns = a\ntable = w.u\nmode = upsert\nkey = a\n"
                                "[pipeline whole]\n[pipeline whole.r]\nmember = r*\ncolumns = a\ntable = w.r\nmode = replace\n"
                                "[pipeline whole.s]\nmember = s*\ncolumns = a\ntable = w.s\nmode = replace\n";

static int parse(struct submission *s, const char *line)
{
    return submission_parse(s, str_of(line), &err);
}

TEST(submission, takes_every_key_of_a_message)
{
    AUTO(submission_clear) struct submission s = { 0 };
    site_open(pipelines);
    CHECK_OK(parse(&s, "{\"pipeline\":\"p\",\"objects\":[\"/a.csv\"],\"params\":{\"x\":1},\"priority\":-7,"
                       "\"at\":\"2026-11-21T10:00:00Z\",\"unique\":\"k\\u00e9\"}"),
             err);
    CHECK_OK(submission_resolve(&s, site, &err), err);
    CHECK_STR(s.job.pipeline, "p");
    CHECK_SLICE(s.job.objects, "[\"/a.csv\"]");
    CHECK_SLICE(s.job.params, "{\"x\":1}");
    CHECK_STR(s.job.unique, "ké");
    CHECK_EQ(s.job.priority, -7);
    CHECK_EQ(s.job.run_at, 1795255200000);
    CHECK_EQ(s.job.attempts_max, 6);
    CHECK_STR(s.job.target, "w");
    CHECK_EQ(s.job.nlanes, 0);
    site_close();
}

TEST(submission, takes_the_bare_message_and_what_the_pipeline_says)
{
    AUTO(submission_clear) struct submission s = { 0 };
    site_open(pipelines);
    CHECK_OK(parse(&s, "{\"pipeline\":\"p\",\"priority\":9}"), err);
    CHECK_OK(parse(&s, "{\"method\": \"p\", \"params\": {\"day\":5}}"), err); /* nothing of the one before is left */
    CHECK_OK(submission_resolve(&s, site, &err), err);
    CHECK_EQ(s.job.priority, 4);
    CHECK_EQ(s.job.run_at, 0);
    site_close();
}

TEST(submission, counts_as_a_replace_only_when_all_its_tables_are_replaced)
{
    static const struct {
        const char *pipeline;
        int lanes;
        bool replace;
    } cases[] = { { "mixed", 2, false }, { "whole", 2, true }, { "bare", 0, false } };
    site_open(pipelines);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(submission_clear) struct submission s = { .job = { .pipeline = cases[i].pipeline, .objects = str_of("[\"/a\"]") } };
        CHECK_OK(submission_resolve(&s, site, &err), err);
        CHECK_EQ(s.job.nlanes, cases[i].lanes);
        CHECK_EQ(s.job.lane_replace, cases[i].replace);
    }
    site_close();
}

TEST(submission, says_what_is_wrong_with_a_message)
{
    static const struct {
        const char *line, *part;
        enum err_code code;
    } cases[] = {
        { "", "byte 0", ERR_USAGE },
        { "{\"pipeline\":\"p\"", "byte", ERR_USAGE },
        { "7", "a JSON object", ERR_USAGE },
        { "{}", "no \"pipeline\"", ERR_USAGE },
        { "{\"pipeline\":3}", "must be a text", ERR_USAGE },
        { "{\"pipeline\":\"p\\u0000q\"}", "must be a text", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"method\":\"p\"}", "", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"colour\":1}", "\"colour\"", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"priority\":1.5}", "whole number", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"at\":\"soon\"}", "soon", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"priority\":1001}", "from -1000 to 1000", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"params\":[]}", "object", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"objects\":[\"file://ok.csv\"]}", "file:///PATH", ERR_URI },
        { "{\"pipeline\":\"p\",\"objects\":\"/x\"}", "array", ERR_USAGE },
        { "{\"pipeline\":\"p\",\"objects\":[\"http://me:secret@h/x\"]}", "password", ERR_USAGE },
    };
    AUTO(submission_clear) struct submission s = { 0 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(parse(&s, cases[i].line), -1);
        CHECK_EQ(err.code, cases[i].code);
        CHECK_HAS(err.msg, cases[i].part);
        CHECK(!strstr(err.msg, "secret"));
    }
}

TEST(submission, wants_the_parameters_of_the_source)
{
    static const struct {
        const char *params, *part;
    } cases[] = { { "{\"dya\":1}", "'day', which the job does not have; the source has: day" }, { "{\"day\":[]}", "text or a number" } };
    AUTO(submission_clear) struct submission s = { 0 };
    char line[200];
    site_open(pipelines);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(line, sizeof line, "{\"pipeline\":\"p\",\"params\":%s}", cases[i].params);
        CHECK_OK(parse(&s, line), err);
        CHECK_EQ(submission_resolve(&s, site, &err), -1);
        CHECK_EQ(err.code, ERR_USAGE);
        CHECK_HAS(err.msg, cases[i].part);
        CHECK_HAS(err.msg, "pipeline 'p'");
    }
    CHECK_OK(parse(&s, "{\"pipeline\":\"p\",\"objects\":[\"/x\"]}"), err); /* the source is not used */
    CHECK_OK(submission_resolve(&s, site, &err), err);
    site_close();
}

TEST(submission, takes_relative_paths_from_the_folder_of_the_caller)
{
    AUTO(submission_clear) struct submission s = { 0 };
    AUTO(free_charp) char *here = getcwd(NULL, 0);
    char want[5000];
    CHECK_OK(parse(&s, "{\"pipeline\":\"p\",\"objects\":[\"/a\", \"b\\u00e4/c.csv\",\"http://h/x\"]}"), err);
    snprintf(want, sizeof want, "[\"/a\",\"%s/bä/c.csv\",\"http://h/x\"]", strcmp(here, "/") ? here : "");
    CHECK_STR(s.job.objects.p, want);
}

TEST(submission, wants_an_object_where_the_pipeline_has_no_source)
{
    AUTO(submission_clear) struct submission s = { 0 };
    site_open(pipelines);
    CHECK_OK(parse(&s, "{\"pipeline\":\"bare\",\"objects\":[ ]}"), err);
    CHECK_EQ(submission_resolve(&s, site, &err), -1);
    CHECK_EQ(err.code, ERR_USAGE);
    CHECK_HAS(err.msg, "no source");
    s.job.pipeline = "bar";
    CHECK_EQ(submission_resolve(&s, site, &err), -1);
    CHECK_EQ(err.code, ERR_NOT_FOUND);
    CHECK_HAS(err.msg, "bare");
    site_close();
}

TEST(submission, reads_times_and_durations)
{
    int64_t at;
    CHECK_OK(submission_time("2026-11-21T11:00:00+01:00", &at, &err), err);
    CHECK_EQ(at, 1795255200000);
    int64_t before = sys_now_ms();
    CHECK_OK(submission_time("10m", &at, &err), err);
    CHECK(at >= before + 600000 && at <= sys_now_ms() + 600000);
    CHECK_EQ(submission_time("", &at, &err), -1);
    CHECK_EQ(submission_time("yesterday", &at, &err), -1);
}
