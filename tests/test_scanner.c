/* When slots run and when they are skipped; what is done with files after their commit. */
#include "role/scanner.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/text.h"
#include "role/after.h"
#include "role/watch.h"
#include "test.h"

static struct err err;

/* ---- slots ---- */

static int64_t ms_of(const char *utc)
{
    return text_rfc3339_ms(str_of(utc));
}

TEST(scanner, slots_that_were_missed_go_by_the_policy)
{
    static const struct {
        const char *cron;
        enum missed missed;
        const char *last, *now, *want; /* + ran, ~ skipped, and a later one makes it good, - skipped, oldest first */
        int64_t age_ms;
    } cases[] = {
        { "@hourly", MISSED_ONCE, "2026-11-21T10:00:00Z", "2026-11-21T10:59:59Z", "", 0 },
        { "@hourly", MISSED_ONCE, "2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z", "+", 0 },
        { "@hourly", MISSED_ONCE, "2026-11-21T10:00:00Z", "2026-11-21T14:59:00Z", "~~~+", 0 },
        { "@hourly", MISSED_ALL, "2026-11-21T10:00:00Z", "2026-11-21T14:59:00Z", "++++", 0 },
        { "@hourly", MISSED_SKIP, "2026-11-21T10:00:00Z", "2026-11-21T14:29:00Z", "---+", 0 },
        { "@hourly", MISSED_SKIP, "2026-11-21T10:00:00Z", "2026-11-21T14:31:00Z", "----", 0 },
        { "@daily", MISSED_SKIP, "2026-11-20T00:00:00Z", "2026-11-21T00:59:00Z", "+", 0 },
        { "@daily", MISSED_SKIP, "2026-11-20T00:00:00Z", "2026-11-21T01:01:00Z", "-", 0 },
        { "@daily", MISSED_ONCE, "2026-11-20T00:00:00Z", "2026-11-21T23:01:00Z", "+", 0 },
        { "@hourly", MISSED_ALL, "2026-11-21T10:00:00Z", "2026-11-21T14:59:00Z", "--++", 2 * 3600000 },
        { "@hourly", MISSED_ONCE, "2026-11-21T10:00:00Z", "2026-11-21T14:59:00Z", "--~+", 2 * 3600000 },
        { "@daily", MISSED_ONCE, "2026-11-20T00:00:00Z", "2026-11-21T23:01:00Z", "-", 23 * 3600000 },
        { "@daily", MISSED_ONCE, "2026-11-20T00:00:00Z", "2026-11-21T00:01:00Z", "+", 1 }, /* which was not missed */
        { "@hourly", MISSED_ALL, "2026-11-21T15:00:00Z", "2026-11-21T14:00:00Z", "", 0 }, /* the clock was set back */
        { "* * * * *", MISSED_ALL, "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "++++++++", 0 }, /* more than there is room for */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pipeline p = { .scan = { .missed = cases[i].missed, .missed_age_ms = cases[i].age_ms } };
        struct scan_slot slots[8];
        const char *why;
        char got[16] = "";
        CHECK(cron_parse(&p.scan.cron, cases[i].cron, &why));
        int n = scanner_slots(&p, NULL, ms_of(cases[i].last), ms_of(cases[i].now), slots, 8);
        for (int k = 0; k < n; k++) {
            got[k] = slots[k].ran ? '+' : slots[k].good ? '~' : '-';
            CHECK(slots[k].good || !slots[k].ran);
            CHECK(slots[k].ran || *slots[k].reason); /* what is skipped has a reason */
            CHECK(!k || slots[k].at > slots[k - 1].at);
        }
        if (strcmp(got, cases[i].want))
            fail_msg("'%s' from %s at %s: '%s', not '%s'", cases[i].cron, cases[i].last, cases[i].now, got, cases[i].want);
    }
}

/* ---- the log ---- */

TEST(scanner, what_fails_again_and_again_is_told_when_it_begins_changes_and_once_an_hour)
{
    static const struct {
        enum err_code code;
        const char *message; /* NULL: it went well */
        int64_t minute;
        bool told;
    } cases[] = {
        { ERR_IO, "no answer after 10 s", 0, true },
        { ERR_IO, "no answer after 11 s", 1, false }, /* but for numbers */
        { ERR_IO, "no answer after 1 s", 59, false },
        { ERR_IO, "no answer after 1 s", 60, true },
        { ERR_IO, "no answer after 1 s", 61, false },
        { ERR_IO, "no route", 62, true },
        { ERR_TIMEOUT, "no route", 63, true },
        { ERR_TIMEOUT, "no route", 122, false },
        { ERR_NONE, NULL, 0, false },
        { ERR_TIMEOUT, "no route", 122, true },
    };
    struct log_again again = { 0 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err why = { 0 };
        if (!cases[i].message) {
            CHECK_EQ(log_again_well(&again), 8);
            CHECK_EQ(log_again_well(&again), 0);
            continue;
        }
        err_set(&why, cases[i].code, "%s", cases[i].message);
        if (log_again_fails(&again, &why, cases[i].minute * 60000) != cases[i].told)
            fail_msg("'%s' at minute %lld", cases[i].message, (long long)cases[i].minute);
    }
}

/* ---- after ---- */

static int64_t size, mtime_ms;

static const char *put(const char *name, const char *text)
{
    const char *path = test_file(name);
    struct stat st;
    FILE *f = fopen(path, "w");
    CHECK(f);
    fputs(text, f);
    fclose(f);
    CHECK_EQ(stat(path, &st), 0);
    size = st.st_size;
    mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return path;
}

static bool there(const char *name)
{
    return access(test_file(name), F_OK) == 0;
}

TEST(scanner, a_loaded_file_is_deleted)
{
    struct after a = { .what = AFTER_DELETE };
    bool kept;
    const char *path = put("a b%20.csv", "x");
    CHECK_EQ(after_do(&a, path, size, mtime_ms, 1, &kept, &err), 1);
    CHECK(!kept && !there("a b%20.csv") && !there(".a b%20.csv.qetl-1"));
    CHECK_EQ(after_do(&a, path, size, mtime_ms, 1, &kept, &err), 1); /* again, after a crash: nothing is left to do */
    CHECK(!kept);
}

TEST(scanner, a_loaded_file_is_moved_and_overwrites_nothing)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", test_file("done/deep"));
    struct after a = { .what = AFTER_MOVE, .folder = folder };
    bool kept;
    for (int i = 0; i < 2; i++) {
        const char *path = put("m.csv", "x");
        CHECK_EQ(after_do(&a, path, size, mtime_ms, 7, &kept, &err), 1);
    }
    CHECK(there("done/deep/m.csv") && there("done/deep/m.csv.7") && !there("m.csv"));
}

TEST(scanner, a_file_that_changed_since_is_not_touched)
{
    struct after a = { .what = AFTER_DELETE };
    bool kept;
    const char *path = put("c.csv", "x");
    CHECK_EQ(after_do(&a, path, size + 1, mtime_ms, 1, &kept, &err), 1);
    CHECK(kept && there("c.csv"));
    CHECK_EQ(after_do(&a, path, size, mtime_ms + 1, 1, &kept, &err), 1);
    CHECK(kept && there("c.csv"));
}

/* Killed between its two renames, it finds the file under the name of ours. */
TEST(scanner, an_interrupted_move_goes_on)
{
    struct after a = { .what = AFTER_DELETE };
    bool kept;
    const char *path = put("i.csv", "x");
    CHECK_EQ(rename(path, test_file(".i.csv.qetl-1")), 0);
    int64_t loaded_size = size, loaded_mtime = mtime_ms;
    put("i.csv", "another"); /* a new one has come under its name */
    CHECK_EQ(after_do(&a, path, loaded_size, loaded_mtime, 1, &kept, &err), 1);
    CHECK(there("i.csv") && !there(".i.csv.qetl-1"));
}

/* Killed before it was put back, another file would stay under the name of ours for ever. */
TEST(scanner, another_file_under_our_name_is_put_back)
{
    struct after a = { .what = AFTER_DELETE };
    bool kept;
    const char *path = put("o.csv", "another");
    CHECK_EQ(rename(path, test_file(".o.csv.qetl-1")), 0);
    CHECK_EQ(after_do(&a, test_file("o.csv"), size + 1, mtime_ms, 1, &kept, &err), 1);
    CHECK(kept && there("o.csv") && !there(".o.csv.qetl-1"));
}

/* Its scanner died with it under the name of ours, and another version came and was loaded. */
TEST(scanner, what_was_left_of_another_job_is_in_nobodys_way)
{
    struct after a = { .what = AFTER_DELETE };
    bool kept;
    int status;
    const char *path = put("l.csv", "x");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        setenv("QETL_FAULT", "after-renamed:1:kill", 1);
        sys_faults_init();
        (void)after_do(&a, path, size, mtime_ms, 1, &kept, &err);
        _exit(1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && !there("l.csv"));
    put("l.csv", "another");
    CHECK_EQ(after_do(&a, path, size, mtime_ms, 2, &kept, &err), 1);
    CHECK(!kept && !there("l.csv"));
}

/* ---- watched folders ---- */

static bool came_for(struct watch *w, int owner)
{
    enum { GENEROUS_MS = 30000 };
    return watch_wait(w, -1, GENEROUS_MS) >> owner & 1;
}

TEST(scanner, watched_folders_tell_what_came)
{
    struct watch *w = watch_new();
    if (!w)
        skip(); /* a kernel without inotify */
    CHECK_EQ(mkdir(test_file("in"), 0700), 0);
    watch_folder(w, 3, test_file("in/"), true);
    watch_folder(w, 5, test_file("in/"), true);
    put("in/a.csv", "x");
    CHECK_EQ(watch_wait(w, -1, 30000), 1 << 3 | 1 << 5);
    CHECK_EQ(watch_wait(w, -1, 0), 0); /* told once */
    CHECK(!watch_renamed(w, str_of(test_file("in/a.csv")))); /* it was written there */
    put("b.part", "x");
    CHECK_EQ(rename(test_file("b.part"), test_file("in/b.csv")), 0);
    CHECK(came_for(w, 3));
    CHECK(watch_renamed(w, str_of(test_file("in/b.csv"))));
    watch_forget(w);
    CHECK(!watch_renamed(w, str_of(test_file("in/b.csv"))));
    watch_free(w);
}

TEST(scanner, a_file_that_is_linked_into_a_watched_folder_is_told_and_one_that_is_begun_is_not)
{
    CHECK_OK(sys_mkdirs(test_file("links"), &err), err);
    struct watch *w = watch_new();
    if (!w)
        skip();
    watch_folder(w, 2, test_file("links/"), true);
    int fd = open(test_file("links/begun.csv"), O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    CHECK_EQ(watch_wait(w, -1, 0), 0);
    close(fd);
    CHECK(came_for(w, 2));
    char from[512];
    snprintf(from, sizeof from, "%s", put("made.csv", "x"));
    CHECK_EQ(link(from, test_file("links/two-names.csv")), 0);
    CHECK(came_for(w, 2));
    CHECK(!watch_renamed(w, str_of(test_file("links/two-names.csv")))); /* settle decides */
    snprintf(from, sizeof from, "%s", put("moved.csv", "x"));
    CHECK_EQ(utimensat(AT_FDCWD, from, (struct timespec[]){ { 0, 0 }, { 1700000000, 0 } }, 0), 0);
    CHECK_EQ(link(from, test_file("links/one-name.csv")), 0);
    CHECK_EQ(unlink(from), 0); /* before anybody looks */
    CHECK(came_for(w, 2));
    watch_free(w);
}

TEST(scanner, a_folder_that_is_not_there_yet_is_seen_when_it_comes)
{
    struct watch *w = watch_new();
    if (!w)
        skip();
    CHECK_EQ(mkdir(test_file("days"), 0700), 0);
    watch_folder(w, 1, test_file("days/2026/11/"), false);
    put("days/noise.csv", "x"); /* a file above it is nothing */
    CHECK_EQ(watch_wait(w, -1, 0), 0);
    CHECK_EQ(mkdir(test_file("days/2026"), 0700), 0);
    CHECK(came_for(w, 1));
    watch_free(w);
}

TEST(scanner, a_watched_folder_may_go)
{
    struct watch *w = watch_new();
    if (!w)
        skip();
    CHECK_EQ(mkdir(test_file("goes"), 0700), 0);
    watch_folder(w, 0, test_file("goes/"), true);
    CHECK_EQ(rmdir(test_file("goes")), 0);
    (void)watch_wait(w, -1, 0);
    CHECK_EQ(mkdir(test_file("goes"), 0700), 0);
    watch_folder(w, 0, test_file("goes/"), true);
    put("goes/x.csv", "x");
    CHECK(came_for(w, 0));
    watch_free(w);
}
