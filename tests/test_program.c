/* Programs of the ini: a filter's good end is told only when it is known that it read all of its rows. */
#include "test.h"

#include <poll.h>
#include <signal.h>

#include "role/program.h"

enum { PATIENCE_S = 60 };

struct desk {
    struct config *config;
    struct command command;
    struct program *program;
    pid_t guard;
};

static char *argv[] = { (char *)"sh", (char *)"-c", NULL, NULL };

/* Start `script` as a filter; it says the pid of its guard first. */
static void desk_open(struct desk *d, const char *script, const char *timeout)
{
    struct err err = { 0 };
    char said[32];
    ssize_t n = 0;
    FILE *f = fopen(test_file("qetl.ini"), "w");
    assert_non_null(f);
    fprintf(f, "[target w]\nurl = sqlite://%s/w.db\n[pipeline p]\ncolumns = id:integer\nfilter = sh\ncommand_timeout = %s\ntable = w.p\n",
            test_dir(), timeout);
    fclose(f);
    (void)signal(SIGPIPE, SIG_IGN);
    *d = (struct desk){ .command = { .argv = argv } };
    argv[2] = (char *)script;
    CHECK_OK(config_load(&d->config, test_file("qetl.ini"), NULL, &err), err);
    struct program_call call = { .config = d->config,
                                 .pipeline = config_pipeline(d->config, "p"),
                                 .command = &d->command,
                                 .job = "01TESTJOB",
                                 .attempt = 1,
                                 .streams_in = true };
    CHECK_OK(program_start(&d->program, &call, &err), err);
    struct pollfd out = { program_out(d->program), POLLIN, 0 };
    CHECK_EQ(poll(&out, 1, PATIENCE_S * 1000), 1);
    CHECK((n = read(out.fd, said, sizeof said - 1)) > 0);
    said[n] = '\0';
    d->guard = (pid_t)strtol(said, NULL, 10);
    CHECK(d->guard > 0);
}

static void desk_close(struct desk *d)
{
    program_free(d->program);
    config_free(d->config);
}

/* The field behind the name in proc(5) stat. */
static char state_of(pid_t pid)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end ? name_end[2] : '?';
}

static bool has_children(pid_t pid)
{
    char path[60];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    int c = f ? fgetc(f) : EOF;
    if (f)
        fclose(f);
    return c != EOF;
}

/* Until the program is dead and buried, and its guard did all that there was to do about it. */
static void await_end(const struct desk *d)
{
    int64_t until = sys_mono_ms() + PATIENCE_S * 1000;
    while (has_children(d->guard) || state_of(d->guard) != 'S') {
        CHECK(sys_mono_ms() < until);
        (void)poll(NULL, 0, 1);
    }
}

static void give(const struct desk *d, const char *rows)
{
    CHECK_EQ(write(program_in(d->program), rows, strlen(rows)), (ssize_t)strlen(rows));
}

/* What it says in the end. */
static int judge(const struct desk *d, struct err *err)
{
    int64_t until = sys_mono_ms() + PATIENCE_S * 1000;
    int rc;
    while ((rc = program_over(d->program, err)) == 0) {
        struct pollfd p = { program_fd(d->program), POLLIN, 0 };
        CHECK(sys_mono_ms() < until);
        (void)poll(&p, 1, 1000);
    }
    return rc;
}

static void check_unread(const struct desk *d)
{
    struct err err = { 0 };
    CHECK_EQ(judge(d, &err), -1);
    CHECK_EQ(err.code, ERR_PROGRAM);
    CHECK_HAS(err.msg, "ended before it had read all of its rows");
}

TEST(program, rows_that_come_after_the_end_of_a_filter_are_not_lost)
{
    struct desk d;
    desk_open(&d, "echo $PPID; read -r x", "60s");
    give(&d, "{\"id\":1}\n");
    await_end(&d);
    give(&d, "{\"id\":2}\n");
    program_close_in(d.program);
    check_unread(&d);
    desk_close(&d);
}

TEST(program, rows_that_a_filter_did_not_read_are_not_lost)
{
    struct desk d;
    desk_open(&d, "echo $PPID; read -r x", "60s");
    give(&d, "{\"id\":1}\n{\"id\":2}\n");
    check_unread(&d);
    desk_close(&d);
}

TEST(program, a_filter_that_read_all_and_did_not_wait_for_the_end_is_good)
{
    struct err err = { 0 };
    struct desk d;
    desk_open(&d, "echo $PPID; read -r x", "60s");
    give(&d, "{\"id\":1}\n");
    await_end(&d);
    program_close_in(d.program);
    CHECK_EQ(judge(&d, &err), 1);
    desk_close(&d);
}

TEST(program, an_end_of_rows_that_does_not_come_is_waited_for_until_the_time_limit)
{
    struct desk d;
    desk_open(&d, "echo $PPID; read -r x", "1s");
    give(&d, "{\"id\":1}\n");
    check_unread(&d);
    desk_close(&d);
}

TEST(program, a_status_is_told_at_once)
{
    struct err err = { 0 };
    struct desk d;
    desk_open(&d, "echo $PPID; exit 3", "60s");
    CHECK_EQ(judge(&d, &err), -1);
    CHECK_HAS(err.msg, "ended with status 3");
    desk_close(&d);
}

TEST(program, what_is_kept_of_one_that_ended_well_is_its_last_lines)
{
    char text[PROGRAM_SAID + 100];
    CHECK_STR(program_said("one\ntwo"), "one\ntwo");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    CHECK_EQ(strlen(program_said(text)), PROGRAM_SAID);
    text[200] = '\n';
    CHECK(program_said(text) == text + 201);
    text[98] = '\n'; /* just before what there is room for */
    CHECK(program_said(text) == text + 99);
    memset(text, 'x', 250);
    memcpy(text + 98, "\xc3\xbc", 2);
    CHECK(program_said(text) == text + 100);
}
