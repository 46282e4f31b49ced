/* The ini: the language, the table of keys, the checks, the secrets. */
#include "test.h"

#include <sys/stat.h>

#include "base/text.h"
#include "io/config.h"
#include "io/ini.h"

#define BASE "[target w]\nurl = sqlite:///tmp/w.db\n"

static const char *write_ini(const char *name, const char *text)
{
    const char *path = test_file(name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static struct config *load_ok(const char *text)
{
    struct err err = { 0 };
    struct config *c = NULL;
    struct buf faults = { 0 };
    if (config_load(&c, write_ini("ok.ini", text), &faults, &err) < 0)
        fail_msg("%s", faults.p);
    CHECK_EQ(faults.n, 0);
    buf_clear(&faults);
    return c;
}

/* The faults of a text that must have some, without the folder in front of the file names. */
static const char *load_bad(const char *text)
{
    static char out[64 * 1024];
    struct err err = { 0 };
    struct config *c = NULL;
    struct buf faults = { 0 };
    const char *path = write_ini("bad.ini", text);
    CHECK_EQ(config_load(&c, path, &faults, &err), -1);
    assert_null(c);
    CHECK_EQ(err.code, ERR_CONFIG);
    CHECK_EQ(err_exit_status(err.code), 3);
    assert_non_null(faults.p);
    CHECK(strncmp(faults.p, err.msg, strlen(err.msg)) == 0); /* the first is in *err */
    size_t folder = strlen(test_dir()) + 1, n = 0;
    for (const char *p = faults.p; *p && n < sizeof out - 1;)
        if (strncmp(p, test_dir(), folder - 1) == 0)
            p += folder;
        else
            out[n++] = *p++;
    out[n] = 0;
    buf_clear(&faults);
    return out;
}

static int lines_of(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* "[pipeline p] table=w.t + keys" with one fault, which must be `expected` at line 5 of the file */
static void check_key_fault(const char *line, const char *expected)
{
    char text[2000], want[1000];
    snprintf(text, sizeof text, BASE "[pipeline p]\ntable = w.t\n%s\n", line);
    snprintf(want, sizeof want, "bad.ini:5: [pipeline p] %s", expected);
    const char *got = load_bad(text);
    CHECK_HAS(got, want);
    CHECK_EQ(lines_of(got), 1);
}

static struct config *load_recipe(const char *lines)
{
    char text[4000];
    snprintf(text, sizeof text, BASE "[pipeline p]\ntable = w.t\n%s\n", lines);
    return load_ok(text);
}

TEST(config, what_is_not_given_has_its_default)
{
    struct config *c =
        load_ok(BASE "[pipeline p]\ntable = w.t\n[remote r]\nurl = https://a.org/\n");
    CHECK_STR(c->database, "/var/lib/qetl/queue.db");
    CHECK_STR(c->spool, "/var/lib/qetl/spool");
    CHECK_STR(c->log_form, "text");
    CHECK_STR(c->log_level, "info");
    CHECK_EQ(c->worker_slots, 2);
    CHECK_EQ(c->lease_ms, 60000);
    CHECK_EQ(c->claim_batch, 10);
    CHECK_EQ(c->shutdown_timeout_ms, 25000);
    CHECK_EQ(c->heartbeat_ms, 10000);
    CHECK_EQ(c->poll_ms, 1000);
    CHECK_EQ(c->group_jobs, 100);
    CHECK_EQ(c->group_bytes, 1LL << 30);
    CHECK_EQ(c->limits.memory, 512LL << 20);
    CHECK_EQ(c->limits.members, 100000);
    CHECK_EQ(c->limits.unpacked_bytes, 100LL << 30);
    CHECK_EQ(c->limits.ratio, 1000);
    CHECK_EQ(c->limits.row_bytes, 16LL << 20);
    CHECK_EQ(c->limits.object_bytes, 100LL << 30);
    CHECK_EQ(c->limits.connect_timeout_ms, 20000);
    CHECK_EQ(c->limits.stall_timeout_ms, 60000);
    CHECK_EQ(c->limits.crashes, 3);
    CHECK_EQ(c->limits.big_object, 64LL << 20);
    const struct pipeline *p = config_pipeline(c, "p");
    CHECK_EQ(p->attempts, 8);
    CHECK_EQ(p->backoff_ms, 5000);
    CHECK_EQ(p->backoff_max_ms, 3600000);
    CHECK_EQ(p->nested, 1);
    CHECK_EQ(p->priority, 0);
    CHECK_EQ(p->nparts, 1);
    const struct recipe *r = p->parts;
    CHECK_STR(r->name, "p");
    CHECK_STR(r->format, "auto");
    CHECK_EQ(r->delimiter, 0);
    CHECK_EQ(r->quote, '"');
    CHECK_EQ(r->escape, 0);
    CHECK_EQ(r->comment, 0);
    CHECK_EQ(r->header, true);
    CHECK_EQ(r->nnulls, -1);
    CHECK_EQ(r->decimal_point, '.');
    CHECK_STR(r->target, "w");
    CHECK_STR(r->table_name, "t");
    CHECK_EQ(r->mode, MODE_APPEND);
    CHECK_EQ(r->max_rejects.count, 0);
    CHECK(r->max_rejects.share < 0);
    CHECK_EQ(r->empty_ok, false);
    assert_null(r->columns_text);
    assert_null(r->zone);
    CHECK_EQ(c->remotes[0].insecure, false);
    config_free(c);
}

TEST(config, a_whole_ini_is_read)
{
    struct config *c = load_ok(
        "[qetl]\ndatabase = /var/lib/qetl/queue.db\nspool    = /var/lib/qetl/spool\n"
        "[target warehouse]\nurl = sqlite:///var/lib/qetl/warehouse.db\nreaders = many\n"
        "[remote partner]\nurl        = sftp://files.example.org/\nuser       = qetl\n"
        "password   = @credential:partner\nknown_hosts = /etc/qetl/known_hosts\n"
        "rate = 2M\n"
        "[pipeline orders]\nsource  = sftp://files.example.org/out/orders.zip\n"
        "member  = *.csv\nformat  = csv\n"
        "columns = id:integer!, placed:timestamp, customer:text, amount:decimal(2), note:text?\n"
        "null    = \"\", NA\ntable   = warehouse.orders\nmode    = upsert\nkey     = id\n"
        "max_rejects = 100, 1%\nempty = ok\n");
    const struct recipe *r = config_pipeline(c, "orders")->parts;
    CHECK_STR(r->member, "*.csv");
    CHECK_EQ(r->columns.n, 5);
    CHECK_EQ(r->columns.v[3].scale, 2);
    CHECK_EQ(r->nnulls, 2);
    CHECK_STR(r->nulls[0], "");
    CHECK_STR(r->nulls[1], "NA");
    CHECK_EQ(r->mode, MODE_UPSERT);
    CHECK_EQ(r->nkey, 1);
    CHECK_STR(r->key[0], "id");
    CHECK_EQ(r->max_rejects.count, 100);
    CHECK(r->max_rejects.share == 0.01);
    CHECK_EQ(r->empty_ok, true);
    CHECK_EQ(config_target(c, "warehouse")->many_readers, true);
    const struct remote *m = config_remote(c, "sftp://files.example.org/out/x");
    CHECK_STR(m->password, "@credential:partner");
    CHECK_EQ(m->rate_bytes, 2 << 20);
    config_free(c);
}

TEST(config, a_sqlite_url_may_be_a_path_from_the_folder_of_the_ini)
{
    static const struct {
        const char *url, *behind;
    } of[] = { { "sqlite:shop.db", "/shop.db" }, { "sqlite:./a/b.db", "/a/b.db" }, { "sqlite:a%20b.db", "/a%20b.db" } };
    char text[200], want[4500];
    for (size_t i = 0; i < COUNT_OF(of); i++) {
        snprintf(text, sizeof text, "[target w]\nurl = %s\n", of[i].url);
        snprintf(want, sizeof want, "sqlite://%s%s", test_dir(), of[i].behind);
        struct config *c = load_ok(text);
        CHECK_STR(config_target(c, "w")->url, want);
        config_free(c);
    }
    struct config *c = load_ok("[target w]\nurl = sqlite:/var/w.db\n");
    CHECK_STR(config_target(c, "w")->url, "sqlite:///var/w.db");
    config_free(c);
    CHECK_HAS(load_bad("[target w]\nurl = sqlite:\n"), "url: expected scheme://...");
}

TEST(config, a_folder_means_itself_in_a_url_and_in_a_source)
{
    struct err err = { 0 };
    struct config *c;
    char ini[4500], want[4600];
    snprintf(ini, sizeof ini, "%s/100%%41{x}", test_dir());
    assert_int_equal(mkdir(ini, 0700), 0);
    const char *path = write_ini("100%41{x}/q.ini", "[target w]\nurl = sqlite:w.db\n[pipeline p]\ntable = w.t\nsource = {{a}.csv\n"
                                                    "[pipeline q]\ntable = w.t\nsource = in/{day}.csv\n");
    CHECK_OK(config_load(&c, path, NULL, &err), err);
    snprintf(want, sizeof want, "sqlite://%s/100%%2541{x}/w.db", test_dir());
    CHECK_STR(config_target(c, "w")->url, want);
    snprintf(want, sizeof want, "%s/100%%41{{x}/{{a}.csv", test_dir());
    CHECK_STR(config_pipeline(c, "p")->source, want);
    snprintf(want, sizeof want, "%s/100%%41{{x}/in/{day}.csv", test_dir());
    CHECK_STR(config_pipeline(c, "q")->source, want);
    config_free(c);
}

/* ---- the language ---- */

static void check_value(const char *text, const char *value)
{
    struct ini ini = { 0 };
    struct err err = { 0 };
    CHECK_OK(ini_read(&ini, write_ini("lang.ini", text), &err), err);
    if (ini.nfaults)
        fail_msg("%s: %s", text, ini.faults[0].text);
    CHECK_EQ(ini.nentries, 1);
    CHECK_STR(ini.entries[0].value, value);
    ini_clear(&ini);
}

TEST(ini, a_value_is_what_stands_behind_the_equal_sign)
{
    check_value("[s]\nk = v", "v");
    check_value("[s]\r\nk = v w \r\n", "v w");
    check_value("\xEF\xBB\xBF[s]\nk = v\n", "v");
    check_value("\xEF\xBB\xBFk = v\n", "v");
    check_value("[s]\n  k : v=w:x\n", "v=w:x");
    check_value("[s]\nk = v ; comment\n", "v");
    check_value("[s]\nk = v;w #x\n", "v;w #x");
    check_value("[s]\n# k = 1\n;k = 2\n\n   # k = 3\nk = v\n", "v");
    check_value("[s]\nk = a,\n  b\n\n\t# no\n\tc ; no\n", "a,\nb\nc");
    check_value("[s]\nk =\n  a\n  [b]\n", "\na\n[b]");
    check_value("[s]\nk = \n", "");
    check_value("[s]\nk = ;\n", "");
    check_value("[s]\nk = \";\"\n", "\";\"");
}

static bool is_sql(const char *key) { return !strcmp(key, "sql"); }

static void check_verbatim(const char *text, const char *value)
{
    struct ini ini = { .verbatim = is_sql };
    struct err err = { 0 };
    CHECK_OK(ini_read(&ini, write_ini("lang.ini", text), &err), err);
    if (ini.nfaults)
        fail_msg("%s: %s", text, ini.faults[0].text);
    CHECK_STR(ini.entries[0].value, value);
    ini_clear(&ini);
}

TEST(ini, no_semicolon_cuts_a_value_that_is_verbatim)
{
    char text[3000] = "[s]\nsql = a ; ", value[3000] = "a ; ";
    check_verbatim("[s]\nsql = a ; b\n", "a ; b");
    check_verbatim("[s]\nsql=a ;b; c ;\n", "a ;b; c ;");
    check_verbatim("[s]\n  sql : ; a\n", "; a");
    check_verbatim("[s]\nsql = a\n  ; b\n\n\t;c ; d\n;e\n  # f\nk = v ; no\n", "a\n; b\n;c ; d");
    check_verbatim("[s]\nk = a ; sql = b\n  c ; d\nsql = e ; f\n", "a\nc");
    memset(text + strlen(text), 'x', 2000);
    memset(value + strlen(value), 'x', 2000);
    strcat(text, " ; y\n");
    strcat(value, " ; y");
    check_verbatim(text, value);
    struct ini ini = { .verbatim = is_sql };
    struct err err = { 0 };
    CHECK_OK(ini_read(&ini, write_ini("lang.ini", "[s]\nsql = a\x01" "b\n"), &err), err);
    CHECK_EQ(ini.nfaults, 1); /* what stands for it on its way is no text of a file */
    ini_clear(&ini);
}

TEST(config, a_semicolon_in_sql_and_rules_is_one)
{
    struct config *c = load_ok(BASE "[pipeline p]\ncolumns = a, b\ntable = w.t\nmode = append ; a comment\nclean = a: trim ; b: upper\n"
                               "after_load = DELETE FROM x ; DELETE FROM y\n  ; DELETE FROM z\nwhere = a <> ' ; '\n");
    const struct recipe *r = c->pipelines[0].parts;
    CHECK_EQ(r->mode, MODE_APPEND);
    CHECK_STR(r->clean, "a: trim ; b: upper");
    CHECK_STR(r->after_load, "DELETE FROM x ; DELETE FROM y\n; DELETE FROM z");
    CHECK_STR(r->where.text, "a <> ' ; '");
    config_free(c);
}

TEST(ini, a_line_of_any_length_is_read_whole)
{
    char text[8000], value[3000];
    uint32_t seed = 7;
    for (size_t n = 1; n < 2500; n += n < 640 ? 1 : 97) {
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1103515245 + 12345;
            value[i] = "abcdefghij  ;#=:[],.\xC3\xA4"[(seed >> 16) % 20];
            if (value[i] == ';' && i && value[i - 1] == ' ')
                value[i] = 'x';
        }
        value[0] = 'v';
        value[n - 1] = 'w';
        value[n] = 0;
        snprintf(text, sizeof text, "[s]\nk = %s ; comment %s\n", value, value);
        check_value(text, value);
        snprintf(text, sizeof text, "[s]\nk = %s", value);
        check_value(text, value);
        snprintf(text, sizeof text, "[s]\n# %s\nk = 1\n  %s\n", value, value);
        char joined[3010];
        snprintf(joined, sizeof joined, "1\n%s", value);
        check_value(text, joined);
    }
}

TEST(ini, blanks_that_no_cut_can_keep_are_a_fault_and_not_a_loss)
{
    char text[1000] = "[s]\nk = a";
    memset(text + 9, ' ', 400);
    strcpy(text + 409, "b\nl = 1\n");
    struct ini ini = { 0 };
    struct err err = { 0 };
    CHECK_OK(ini_read(&ini, write_ini("lang.ini", text), &err), err);
    CHECK_EQ(ini.nfaults, 1);
    CHECK_EQ(ini.faults[0].line, 2);
    CHECK_HAS(ini.faults[0].text, "white space");
    CHECK_STR(ini.entries[ini.nentries - 1].name, "l");
    ini_clear(&ini);
}

TEST(ini, a_section_name_of_any_length_is_read_whole)
{
    char text[400] = "[pipeline ";
    memset(text + 10, 'n', 200);
    strcpy(text + 210, "]\nk = v\n");
    struct ini ini = { 0 };
    struct err err = { 0 };
    CHECK_OK(ini_read(&ini, write_ini("lang.ini", text), &err), err);
    CHECK_EQ(strlen(ini.sections[ini.entries[0].section].text), 209);
    ini_clear(&ini);
}

TEST(ini, variables_come_from_the_environment)
{
    setenv("QT_A", "one two", 1);
    setenv("QT_EMPTY", "", 1);
    unsetenv("QT_NONE");
    check_value("k = ${QT_A}", "one two");
    check_value("k = <${QT_A}${QT_A}>", "<one twoone two>");
    check_value("k = ${QT_NONE:-x:y}", "x:y");
    check_value("k = ${QT_EMPTY:-x}", "x");
    check_value("k = a${QT_EMPTY}b", "ab");
    check_value("k = ${QT_A:-x}", "one two");
    check_value("k = $${QT_A}", "${QT_A}");
    check_value("k = a$b$$c$", "a$b$c$");
}

TEST(ini, faults_name_the_line_and_what_was_expected)
{
    unsetenv("QT_NONE");
    const char *got = load_bad("[target w\nurl = x\n[worker]\njust words\nslots = "
                               "${QT_NONE}\nlease = ${5}\npoll = ${QT_NONE\n= 3\n"
                               "claim_batch = \xff\n");
    CHECK_HAS(got, "bad.ini:1: a section heading needs a ']' at its end\n");
    CHECK_HAS(got, "bad.ini:4: expected [section], key = value, or a comment that begins with #\n");
    CHECK_HAS(got, "bad.ini:5: slots: the environment variable QT_NONE is not set; "
                   "${QT_NONE:-text} would give a default\n");
    CHECK_HAS(got, "bad.ini:6: lease: expected ${NAME} or ${NAME:-text}");
    CHECK_HAS(got, "bad.ini:7: poll: expected ${NAME} or ${NAME:-text}");
    CHECK_HAS(got, "bad.ini:8: a key is missing before '='\n");
    CHECK_HAS(got, "bad.ini:9: the line is not UTF-8 text\n");
}

/* ---- sections and keys ---- */

TEST(config, an_unknown_word_is_told_with_the_nearest_known_one)
{
    CHECK_STR(load_bad("[pipelin x]\na = b\n"),
              "bad.ini:1: [pipelin x]: unknown section; did you mean 'pipeline'?\n");
    CHECK_STR(load_bad("[worker]\n\nslot = 3\n"),
              "bad.ini:3: [worker] slot: unknown key; did you mean 'slots'?\n");
    CHECK_STR(load_bad("[worker]\nzzzzzz = 3\n"), "bad.ini:2: [worker] zzzzzz: unknown key\n");
    CHECK_STR(load_bad("[qetl]\nmax_rejects = 3\n"),
              "bad.ini:2: [qetl] max_rejects: unknown key; it belongs in [pipeline]\n");
    CHECK_STR(load_bad("[api]\n"), "bad.ini:1: [api]: unknown section\n");
    check_key_fault("evry = 10m", "evry: unknown key; did you mean 'every'?");
    check_key_fault("mode = upset",
                    "mode: 'upset': expected append, replace, upsert, insert_ignore or "
                    "history; did you mean 'upsert'?");
    CHECK_STR(load_bad("[target wh]\nurl = sqlite:///x\n[pipeline p]\ntable = hw.t\n"),
              "bad.ini:4: [pipeline p] table: there is no [target hw]; did you mean 'wh'?\n");
    struct config *c = load_ok(BASE "[pipeline orders]\ntable = w.t\n");
    struct err err = { 0 };
    assert_null(config_pipeline(c, "order"));
    CHECK_EQ(config_no_pipeline(c, "order", &err), -1);
    CHECK_EQ(err.code, ERR_NOT_FOUND);
    CHECK_HAS(err.msg, "there is no [pipeline order]");
    CHECK_HAS(err.msg, "did you mean 'orders'?");
    config_free(c);
}

TEST(config, a_section_or_key_given_twice_is_told_with_both_places)
{
    const char *got =
        load_bad("[worker]\nslots = 1\n[loader]\ngroup_jobs = 1\n[worker]\nslots = 2\n");
    CHECK_HAS(got, "bad.ini:6: [worker] slots: given twice, first in ");
    CHECK_HAS(got, "bad.ini:2\n");
    CHECK_EQ(lines_of(got), 1);
    got = load_bad(BASE "[target w]\nurl = sqlite:///y\n");
    CHECK_HAS(got, "bad.ini:3: [target w]: given twice, first in bad.ini:1\n");
    CHECK_EQ(lines_of(got), 1);
}

TEST(config, headings_are_checked)
{
    CHECK_HAS(load_bad("[worker 2]\n"),
              "bad.ini:1: [worker 2]: expected [worker], without a name\n");
    CHECK_HAS(load_bad("[target]\n"),
              "bad.ini:1: [target]: expected [target NAME], with a NAME of letters");
    CHECK_HAS(load_bad("[pipeline a b]\n"), "expected [pipeline NAME] or [pipeline NAME.PART]");
    CHECK_HAS(load_bad("[remote a.b]\n"), "expected [remote NAME]");
    CHECK_HAS(load_bad("slots = 3\n"),
              "bad.ini:1: slots: expected a [section] before the first key\n");
    CHECK_HAS(load_bad("[target w]\n"), "bad.ini:1: [target w] url: missing");
    CHECK_HAS(load_bad("[remote w]\n"), "bad.ini:1: [remote w] url: missing");
    CHECK_HAS(load_bad("[pipeline w]\n"), "bad.ini:1: [pipeline w] table: missing: TARGET.TABLE\n");
}

TEST(config, the_name_of_a_table_is_no_sql)
{
    CHECK_HAS(load_bad("[target w]\nurl = postgresql:///\n[pipeline p]\ntable = w.\"S\".\"T\"\n"),
              "bad.ini:4: [pipeline p] table: 'w.\"S\".\"T\"': expected a name without quotes: it is taken as it is written\n");
    CHECK_HAS(load_bad("[target w]\nurl = mysql://u@h/d\n[pipeline p]\ntable = w.s.`t`\n"), "expected a name without quotes");
    CHECK(!strstr(load_bad("[target w]\nurl = mysql://u@h/d\n[pipeline p]\ntable = w.5\"disk\nattempts = 0\n"), "without quotes"));
}

TEST(config, all_faults_are_told_in_one_pass_in_the_order_of_lines)
{
    const char *got = load_bad(
        "[worker]\nslots = many\nlease = 1\n[nonsense]\n[pipeline p]\ntable = t\nattempts = 0\n");
    CHECK_STR(got,
              "bad.ini:2: [worker] slots: 'many': expected a whole number from 1 to 256\n"
              "bad.ini:3: [worker] lease: '1': expected a duration such as 250ms, 10s, 5m or 2h, "
              "from 2s to 1d\n"
              "bad.ini:4: [nonsense]: unknown section\n"
              "bad.ini:6: [pipeline p] table: 't': expected TARGET.TABLE, with TARGET the name of "
              "a [target NAME] section\n"
              "bad.ini:7: [pipeline p] attempts: '0': expected a whole number from 1 to 1000\n");
}

TEST(config, a_bad_value_says_what_was_expected)
{
    check_key_fault("cron = 60 * * * *\nsource = /x/*", "cron: '60 * * * *': expected minute hour day month weekday");
    check_key_fault("cron = 60 * * * *\nsource = /x/{%Y}\nmissed = all\njob_per = slot", "cron: '60 * * * *': expected minute");
    check_key_fault("cron = 60 * * * *\ncommand = ./x\ncolumns = id", "cron: '60 * * * *': expected minute");
    check_key_fault("cron =\nsource = /x/*\nsettle = 1s", "cron: a value is missing");
    check_key_fault("every = 0\nsource = /x/*\nsettle = 1s", "every: '0': expected a duration");
    check_key_fault("every = 1m", "every: expected a source beside it");
    check_key_fault("dedupe = content\nmode = replace", "dedupe: expected no table in mode replace or history");
    check_key_fault("group_files = 2", "group_files: expected every or cron beside it");
    check_key_fault("group_wait = 2s\nevery = 1h\nsource = /x/*", "group_wait: expected group_files or group_bytes beside it");
    check_key_fault("group_bytes = 1M\ncron = @daily\nsource = /x/y\njob_per = slot", "group_bytes: expected a job_per that is not slot");
    check_key_fault("settle = 1s", "settle: expected every or cron beside it");
    check_key_fault("header = maybe", "header: 'maybe': expected no or yes");
    check_key_fault("nested = -1", "nested: '-1': expected a whole number from 0 to 8");
    check_key_fault("backoff = soon", "backoff: 'soon': expected a duration");
    check_key_fault("format = xlsx", "format: 'xlsx': expected auto, csv, tsv, json, jsonl or message");
    check_key_fault("encoding = utf8", "encoding: 'utf8': expected utf-8, latin1");
    check_key_fault("delimiter = ab", "delimiter: 'ab': expected one ASCII sign");
    check_key_fault("delimiter = none", "delimiter: 'none': expected one ASCII sign");
    check_key_fault(
        "delimiter = ;",
        "delimiter: a value is missing (a semicolon begins a comment: write the word semicolon)");
    check_key_fault("zone = Mars/Olympus",
                    "zone: 'Mars/Olympus': expected a zone that this machine knows");
    check_key_fault("max_rejects = lots",
                    "max_rejects: 'lots': expected a number of rows, a share such as 1%");
    check_key_fault("max_rejects = 1%, 2%", "max_rejects: '1%, 2%': expected");
    check_key_fault("max_rejects = 101%", "max_rejects: '101%': expected");
    check_key_fault("max_rejects = -1", "max_rejects: '-1': expected");
    check_key_fault("null = a,,b", "null: 'a,,b': expected names with commas between");
    check_key_fault("null = \"a", "null: '\"a': expected names with commas between");
    check_key_fault("format =", "format: a value is missing");
    check_key_fault("format = csv\n  header = no",
                    "format: takes one line, but the next one begins with white space");
    check_key_fault("decimal_point = |", "decimal_point: expected . or ,");
    check_key_fault("columns = id:number", "columns: ");
    check_key_fault("columns = at:timestamp(%E)", "columns: ");
    check_key_fault("source = https://joe:pw@host/x", "source: expected no password here");
    check_key_fault("source = file://in/x.csv", "source: expected an absolute path behind file:");
}

TEST(config, signs_are_told_apart)
{
    struct config *c =
        load_recipe("delimiter = tab\nquote = none\nescape = backslash\ncomment = #");
    const struct recipe *r = c->pipelines[0].parts;
    CHECK_EQ(r->delimiter, '\t');
    CHECK_EQ(r->quote, 0);
    CHECK_EQ(r->escape, '\\');
    CHECK_EQ(r->comment, '#');
    config_free(c);
    static const struct {
        const char *word;
        char c;
    } signs[] = { { "comma", ',' }, { ",", ',' }, { "semicolon", ';' }, { "\";\"", ';' },
                  { "pipe", '|' },  { "|", '|' }, { "space", ' ' },     { "' '", ' ' },
                  { "\\t", '\t' },  { "^", '^' } };
    for (size_t i = 0; i < COUNT_OF(signs); i++) {
        char line[100];
        snprintf(line, sizeof line, "delimiter = %s", signs[i].word);
        c = load_recipe(line);
        CHECK_EQ(c->pipelines[0].parts[0].delimiter, signs[i].c);
        config_free(c);
    }
    check_key_fault("delimiter = '\"'", "delimiter: delimiter and quote are the same sign");
    check_key_fault("comment = \"", "comment: quote and comment are the same sign");
}

TEST(config, null_lists_tell_the_empty_field_from_no_list)
{
    static const struct {
        const char *line;
        int n;
        const char *token[3];
    } lists[] = {
        { "null =", 0, { 0 } },
        { "null = \"\"", 1, { "" } },
        { "null = NA", 1, { "NA" } },
        { "null = NA , \"\",\"a, \"\"b\"\"\"", 3, { "NA", "", "a, \"b\"" } },
        { "null = n a,\n  \\N", 2, { "n a", "\\N" } },
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct config *c = load_recipe(lists[i].line);
        CHECK_EQ(c->pipelines[0].parts[0].nnulls, lists[i].n);
        for (int k = 0; k < lists[i].n; k++)
            CHECK_STR(c->pipelines[0].parts[0].nulls[k], lists[i].token[k]);
        config_free(c);
    }
}

TEST(config, reject_limits_are_a_count_a_share_or_both)
{
    static const struct {
        const char *line;
        int64_t count;
        double share;
    } limits[] = {
        { "max_rejects = 0", 0, -1 },        { "max_rejects = 7", 7, -1 },
        { "max_rejects = 2.5%", -1, 0.025 }, { "max_rejects = 1%, 100", 100, 0.01 },
        { "max_rejects = 100%", -1, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct config *c = load_recipe(limits[i].line);
        CHECK_EQ(c->pipelines[0].parts[0].max_rejects.count, limits[i].count);
        CHECK(c->pipelines[0].parts[0].max_rejects.share == limits[i].share);
        config_free(c);
    }
}

TEST(config, a_glob_that_could_match_nothing_is_refused)
{
    char text[5000] = BASE "[pipeline p]\ntable = w.t\nmember = *.csv, ";
    size_t n = strlen(text);
    memset(text + n, 'x', TEXT_GLOB_MAX);
    CHECK_HAS(load_bad(text), "[pipeline p] member: ");
    text[n + TEXT_GLOB_MAX - 1] = '\0';
    config_free(load_ok(text));
}

TEST(config, every_fault_of_the_columns_is_told)
{
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a:integre!, :text, at:timestamp(\"%E,\"), b:txt, ok:text, \"a\",\n"
                            "  c:decimal(x)\n"),
              "bad.ini:5: [pipeline p] columns: column 1: 'integre' is no type; did you mean 'integer'?\n"
              "bad.ini:5: [pipeline p] columns: column 2: a name was expected at ':text, at:timestamp('\n"
              "bad.ini:5: [pipeline p] columns: column 3: '%E,' is no part of a time format, or lacks its %I or %p\n"
              "bad.ini:5: [pipeline p] columns: column 4: 'txt' is no type; did you mean 'text'?\n"
              "bad.ini:5: [pipeline p] columns: column 6: the name 'a' is there twice\n"
              "bad.ini:5: [pipeline p] columns: column 7: decimal needs its digits behind the point, 0 to 18, such as decimal(2)\n");
}

TEST(config, keys_must_be_columns_and_upsert_needs_one)
{
    check_key_fault("mode = upsert", "mode: upsert needs key=");
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a, b\nkey = a, c\n"),
              "bad.ini:6: [pipeline p] key: 'c' is not among the columns\n");
    check_key_fault("key = a, A", "key: 'A' is there twice");
    config_free(load_recipe("columns = a,\n  b:integer\nkey = B, a\nmode = upsert"));
}

TEST(config, output_wants_a_filter_that_gives_such_rows)
{
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a, b\noutput = c:integer, d:txt\nkey = a\n"),
              "bad.ini:6: [pipeline p] output: column 2: 'txt' is no type; did you mean 'text'?\n"
              "bad.ini:6: [pipeline p] output: expected filter or transform beside it, which gives such rows\n");
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\noutput = b from _source\n"),
              "[pipeline p] output: b: '_source' is no value of a row that comes back");
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\noutput = b\nkey = a\n"),
              "bad.ini:6: [pipeline p] output: expected filter or transform beside it, which gives such rows\n"
              "bad.ini:7: [pipeline p] key: 'a' is not among the columns\n");
}

TEST(config, filter_and_distinct_are_of_a_part)
{
    struct config *c = load_ok(BASE "[pipeline p]\ntable = w.t\ncolumns = a, b\nkey = c\ndistinct = b, a\nfilter = ./x.py 1\n"
                                    "output = c:integer\nmode = upsert\ncommand_timeout = 5s\n");
    const struct recipe *r = &c->pipelines[0].parts[0];
    CHECK_EQ(r->ndistinct, 2);
    CHECK_STR(r->distinct[0], "b");
    CHECK_HAS(r->filter.argv[0], "/x.py");
    CHECK_STR(r->filter.argv[1], "1");
    CHECK_STR(recipe_output(r, &r->columns)->v[0].name, "c");
    config_free(c);
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a, b\ndistinct = a, c\n"),
              "bad.ini:6: [pipeline p] distinct: 'c' is not among the columns\n");
    check_key_fault("filter = x | y", "filter: 'x | y': expected a program and its arguments; no shell reads |");
}

TEST(config, a_ledger_name_is_no_table)
{
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.main.qetl_load\n"),
              "bad.ini:4: [pipeline p] table: 'w.main.qetl_load': expected another name");
    struct config *c = load_ok(BASE "[pipeline p]\ntable = w.main.t\n");
    CHECK_STR(c->pipelines[0].parts[0].table_name, "main.t");
    CHECK_STR(c->pipelines[0].parts[0].table, "w.main.t");
    config_free(c);
}

TEST(config, a_heartbeat_has_two_chances_in_a_lease)
{
    CHECK_STR(load_bad("[worker]\nlease = 20s\nheartbeat = 11s\n"),
              "bad.ini:3: [worker] heartbeat: expected heartbeat to be at most half of lease\n");
    CHECK_STR(load_bad("[worker]\nlease = 15s\nheartbeat = 10s\n"),
              "bad.ini:3: [worker] heartbeat: expected heartbeat to be at most half of lease\n");
    struct config *c = load_ok("[worker]\nlease = 6s\n" BASE);
    CHECK_EQ(c->heartbeat_ms, 1000);
    config_free(c);
    c = load_ok("[worker]\nlease = 1h\n" BASE);
    CHECK_EQ(c->heartbeat_ms, 10000);
    config_free(c);
}

TEST(config, a_source_is_taken_from_the_folder_of_the_ini)
{
    static const struct {
        const char *given, *want;
        bool behind_folder;
    } cases[] = { { "in/{day}.csv", "/in/{day}.csv", true }, { "./x.csv", "/x.csv", true },
                  { "{{a}.csv", "/{{a}.csv", true },         { "/in/{day}.csv", "/in/{day}.csv", false },
                  { "{file}", "{file}", false },             { "http://h/{x}", "http://h/{x}", false },
                  { "file:/x", "file:/x", false },           { "FILE:///{x}", "FILE:///{x}", false } };
    AUTO(free_charp) char *folder = realpath(test_dir(), NULL);
    char key[200], want[5000];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snprintf(key, sizeof key, "source = %s", cases[i].given);
        snprintf(want, sizeof want, "%s%s", cases[i].behind_folder ? folder : "", cases[i].want);
        struct config *c = load_recipe(key);
        CHECK_STR(c->pipelines[0].source, want);
        config_free(c);
    }
}

/* ---- parts ---- */

TEST(config, a_part_has_what_its_pipeline_has_and_it_does_not_set)
{
    struct config *c = load_ok(
        "[pipeline p.items]\nmember = items*.csv\ncolumns = sku, n:integer\ntable = "
        "w.items\nheader = no\n" BASE "[pipeline p]\nsource = /in/x.zip\ndelimiter = pipe\ncolumns "
        "= id:integer!\nmax_rejects = 5\nzone = +01:00\n"
        "[pipeline p.heads]\nmember = heads*.csv\ntable = w.heads\nnull = NA\n");
    const struct pipeline *p = config_pipeline(c, "p");
    CHECK_EQ(c->npipelines, 1);
    CHECK_EQ(p->nparts, 2);
    const struct recipe *items = &p->parts[0], *heads = &p->parts[1];
    CHECK_STR(items->name, "p.items");
    CHECK_STR(items->member, "items*.csv");
    CHECK_EQ(items->delimiter, '|');
    CHECK_EQ(items->columns.n, 2);
    CHECK_EQ(items->header, false);
    CHECK_EQ(items->nnulls, -1);
    CHECK_STR(items->zone, "+01:00");
    CHECK_EQ(items->max_rejects.count, 5);
    CHECK_STR(heads->name, "p.heads");
    CHECK_EQ(heads->columns.n, 1);
    CHECK_EQ(heads->header, true);
    CHECK_EQ(heads->nnulls, 1);
    CHECK_EQ(heads->max_rejects.count, 5);
    CHECK_STR(heads->table_name, "heads");
    config_free(c);
}

TEST(config, a_table_has_one_name_in_the_whole_ini)
{
    static const char my[] = "[target m]\nurl = mysql://u@h:3306/wa%72e?ssl=off\n", pg[] = "[target p]\nurl = postgresql://me@h/db?sslmode=prefer\n",
                      path[] = "[target p]\nurl = postgresql://h/db?options=-csearch_path%3Done,%22two%22\n";
    static const struct {
        const char *target, *one, *two, *behind; /* behind NULL: two tables */
    } cases[] = {
        { BASE, "w.t", "w.main.t", "" },
        { BASE, "w.Main.t", "w.main.t", "" },
        { BASE, "w.t", "w.T", "" },
        { BASE, "w.t", "w.t2", NULL },
        { my, "m.t", "m.ware.t", "" },
        { my, "m.t", "m.other.t", NULL },
        { my, "m.t", "m.T", NULL },
        { pg, "p.t", "p.public.t", ", with its schema" },
        { pg, "p.me.t", "p.t", ", with its schema" },
        { pg, "p.public.t", "p.me.t", NULL },
        { pg, "p.t", "p.other.t", NULL },
        { pg, "p.T", "p.public.t", NULL },
        { path, "p.t", "p.one.t", ", with its schema" },
        { path, "p.t", "p.two.t", ", with its schema" },
        { path, "p.t", "p.public.t", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char ini[600], fault[300];
        snprintf(ini, sizeof ini, "%s[pipeline x]\ntable = %s\n[pipeline y]\ntable = %s\n", cases[i].target, cases[i].one, cases[i].two);
        snprintf(fault, sizeof fault, "bad.ini:6: [pipeline y] table: '%s' is written '%s' in [pipeline x], and a table needs one name: write it in"
                 " one way everywhere%s\n", cases[i].two, cases[i].one, cases[i].behind ? cases[i].behind : "");
        if (cases[i].behind)
            CHECK_STR(load_bad(ini), fault);
        else
            config_free(load_ok(ini));
    }
    CHECK_HAS(load_bad(BASE "[pipeline p]\ncolumns = at:timestamp\nevent_time = at\ntable = w.t\nlate = w.main.l\n[pipeline q]\ntable = w.l\n"),
              "[pipeline q] table: 'w.l' is written 'w.main.l' in [pipeline p]");
}

TEST(config, two_targets_that_are_one_place_have_no_table_in_common)
{
    static const struct {
        const char *one, *two;
        bool is_one;
    } cases[] = {
        { "sqlite:///d/w.db", "sqlite:/d/./w%2edb", true },
        { "sqlite:///d/w.db", "sqlite:///d/w2.db", false },
        { "postgresql://a@H:5432/db", "postgresql://a@h/db", true },
        { "postgresql://a@h/db", "postgresql://b@h/db", false },
        { "postgresql://h/db", "postgresql://h/db2", false },
        { "postgresql://h:5432/db", "postgresql://h:5433/db", false },
        { "postgresql://h/db", "mysql://u@h/db", false },
        { "mysql://u@h:3306/db", "mysql://v@h/db", true },
        { "s3://bucket/lake", "s3://bucket/lake/", true },
        { "s3://bucket/lake", "s3://bucket/lake2", false },
        { "s3://bucket//lake", "s3://bucket/lake", false },
        { "file:///d/lake", "file:///d//lake", true },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char ini[400];
        snprintf(ini, sizeof ini, "[target a]\nurl = %s\n[target b]\nurl = %s\n[pipeline x]\ntable = a.t\n[pipeline y]\ntable = b.t\n", cases[i].one,
                 cases[i].two);
        if (cases[i].is_one)
            CHECK_STR(load_bad(ini), "bad.ini:8: [pipeline y] table: 'b.t' is written 'a.t' in [pipeline x], and a table needs one name: write it"
                                     " in one way everywhere (the two targets are one place)\n");
        else
            config_free(load_ok(ini));
    }
    CHECK_HAS(load_bad("[target a]\nurl = postgresql://a@h/db\n[target b]\nurl = postgresql://b@h/db\n[pipeline x]\ntable = a.s.t\n[pipeline y]\n"
                       "table = b.s.t\n"), "the two targets are one place");
    CHECK_HAS(load_bad("[target a]\nurl = postgresql://me@h/db\n[target b]\nurl = postgresql://you@h/db\n[pipeline x]\ntable = a.t\n[pipeline y]\n"
                       "table = b.me.t\n"), "the two targets are one place");
    config_free(load_ok("[target a]\nurl = postgresql://me@h/db\n[target b]\nurl = postgresql://you@h/db\n[pipeline x]\ntable = a.t\n[pipeline y]\n"
                        "table = b.you.t\n"));
    config_free(load_ok("[target a]\nurl = postgresql://a@h\n[target b]\nurl = postgresql://b@h\n[pipeline x]\ntable = a.s.t\n[pipeline y]\n"
                        "table = b.s.t\n"));
}

TEST(config, what_is_wrong_with_parts_is_told)
{
    CHECK_STR(
        load_bad(BASE "[pipeline orders]\ntable = w.t\n[pipeline order.a]\ntable = w.t\n"),
        "bad.ini:5: [pipeline order.a]: there is no [pipeline order]; did you mean 'orders'?\n");
    CHECK_STR(
        load_bad(BASE "[pipeline p]\n[pipeline p.a]\ntable = w.t\nsource = /x\nmax_rejects = 1\n"),
        "bad.ini:6: [pipeline p.a] source: belongs in [pipeline p]: it is about all its parts\n"
        "bad.ini:7: [pipeline p.a] max_rejects: belongs in [pipeline p]: it is about all its "
        "parts\n");
    CHECK_STR(load_bad(BASE "[pipeline p]\nsource = /x\n[pipeline p.a]\nmember = a\n"),
              "bad.ini:5: [pipeline p.a] table: missing: TARGET.TABLE\n");
    CHECK_STR(
        load_bad(BASE
                 "[pipeline p]\nmode = replace\ntable = w.t\n[pipeline p.a]\n[pipeline p.b]\n"),
        "bad.ini:4: [pipeline p] mode: parts 'p.a' and 'p.b' would replace each other's rows in "
        "table w.t\n");
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = id\nmode = upsert\nkey = id\nmissing = delete\nmax_rejects = 1%\n"),
              "bad.ini:9: [pipeline p] max_rejects: expected 0 beside missing = delete: the rows of the table whose new ones are rejected would be removed\n");
    CHECK_STR(load_bad(BASE "[pipeline p]\nmode = upsert\nkey = id\nmissing = delete\nundo = 7d\ntable = w.t\n"
                            "[pipeline p.a]\n[pipeline p.b]\n"),
              "bad.ini:6: [pipeline p] missing: parts 'p.a' and 'p.b' would remove each other's rows from table w.t\n"
              "bad.ini:7: [pipeline p] undo: parts 'p.a' and 'p.b' both load table w.t, and the rows of an upsert could not be told from the others: "
              "only one part may\n");
    static const char *const modes[] = { "replace", "append", "insert_ignore" };
    for (size_t m = 0; m < COUNT_OF(modes); m++) {
        char mixed[400];
        snprintf(mixed, sizeof mixed, BASE "[pipeline p]\ntable = w.t\nkey = id\nundo = 7d\n[pipeline p.a]\nmode = %s\n[pipeline p.b]\nmode = upsert\n", modes[m]);
        CHECK(strstr(load_bad(mixed), "undo: parts 'p.a' and 'p.b' both load table w.t, and the rows of an upsert") != NULL);
    }
    /* a fault of an inherited key is told once, where it stands */
    CHECK_STR(load_bad(BASE "[pipeline p]\ntable = v.t\n[pipeline p.a]\n[pipeline p.b]\n"),
              "bad.ini:4: [pipeline p] table: there is no [target v]; did you mean 'w'?\n");
    char text[2000] = BASE "[pipeline p]\ntable = w.t\n";
    for (int i = 0; i <= CONFIG_PARTS_MAX; i++)
        sprintf(text + strlen(text), "[pipeline p.a%d]\n", i);
    CHECK_STR(load_bad(text),
              "bad.ini:15: [pipeline p.a10]: expected at most 10 parts of a pipeline\n");
}

/* ---- remotes ---- */

TEST(config, credentials_go_to_their_own_host_only)
{
    struct config *c = load_ok("[remote a]\nurl = https://a.org\n[remote b]\nurl = "
                               "https://a.org/private/\n[remote c]\nurl = ftp://A.org:2121/x\n"
                               "[remote d]\nurl = sftp://h/\nhost_key_sha256 = abc\n"
                               "[remote e]\nurl = https://e.org/My%20Files/\n[remote f]\nurl = https://e.org/100%/'x'\n"
                               "[remote g]\nurl = postgresql://One:5432,two/\n[remote h]\nurl = postgresql://two/\n[remote i]\nurl = postgresql:///\n");
    static const struct {
        const char *uri, *name;
    } cases[] = {
        { "postgresql://joe@two,one:5432/db", "g" }, /* of several hosts each is one of its own */
        { "postgresql://one:5432/db", "g" },
        { "postgresql://two/db", "h" },
        { "postgresql://one:5432,two,three/db", NULL },
        { "postgresql://one,two/db", NULL },
        { "postgresql://one:5432,/db", NULL },
        { "postgresql://four/db", NULL },
        { "postgresql:///db?host=four", "i" },
        { "https://e.org/My%20Files/a.csv", "e" }, /* however it is written */
        { "https://e.org/%4dy Files/", "e" },
        { "https://e.org/My%2520Files/a.csv", NULL },
        { "https://e.org/My%20", NULL },
        { "https://e.org/100%25/%27x%27/", "f" },
        { "https://a.org/", "a" },
        { "https://a.org", "a" },
        { "HTTPS://A.ORG/x", "a" },
        { "https://a.org/private/x", "b" },
        { "https://a.org?q", "a" },
        { "https://joe@a.org/x", "a" },
        { "https://a.org.evil.net/", NULL },
        { "https://a.org:8443/", NULL },
        { "https://a.org@evil.net/", NULL },
        { "http://a.org/", NULL },
        { "ftp://a.org:2121/xy", "c" },
        { "ftp://a.org:2121/y", NULL },
        { "sftp://h/in", "d" },
        { "sftp://h", "d" },
        { "sftp://h.evil.net", NULL },
        { "/private/", NULL },
        { "https://evil.net/https://a.org/", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct remote *r = config_remote(c, cases[i].uri);
        if (!r != !cases[i].name || (r && strcmp(r->name, cases[i].name) != 0))
            fail_msg("%s: %s", cases[i].uri, r ? r->name : "none");
    }
    CHECK_STR(config_remote_of_some(c, "postgresql://two,three/db")->name, "g");
    CHECK_STR(config_remote_of_some(c, "postgresql://four/db")->name, "i");
    CHECK(!config_remote_of_some(c, "postgresql://two/db"));
    CHECK(!config_remote_of_some(c, "mysql://two/db"));
    config_free(c);
}

TEST(config, an_sftp_host_without_a_known_key_is_refused)
{
    CHECK_STR(load_bad("[remote r]\nurl = sftp://h/\n"),
              "bad.ini:2: [remote r] url: an sftp host needs known_hosts or host_key_sha256; "
              "without one anybody could stand in for it\n");
    check_key_fault("source = sftp://h/x", "source: an sftp host needs a [remote NAME] section");
}

TEST(config, urls_of_remotes_and_targets_are_checked)
{
    CHECK_HAS(load_bad("[remote r]\nurl = a.org\n"),
              "bad.ini:2: [remote r] url: expected scheme://..., such as https://");
    CHECK_HAS(load_bad("[target r]\nurl = /var/x.db\n"),
              "bad.ini:2: [target r] url: expected scheme://..., such as sqlite:///");
    CHECK_HAS(load_bad("[remote r]\nurl = ftp://joe@a.org\n"),
              "url: expected no user in the url; set user=");
    CHECK_HAS(load_bad("[remote a]\nurl = ftp://a\n[remote b]\nurl = ftp://a\n"),
              "bad.ini:4: [remote b] url: [remote a] has the same url\n");
    CHECK_HAS(load_bad("[remote r]\nurl = https://a\nheader = X Y: 1\n"),
              "bad.ini:3: [remote r] header: expected Name: value, one header a line\n");
    struct config *c = load_ok(
        "[remote r]\nurl = https://a\nheader =\n  X-A: 1\n  Authorization: @file:/run/token\n");
    CHECK_STR(c->remotes[0].header, "\nX-A: 1\nAuthorization: @file:/run/token");
    config_free(c);
}

/* ---- secrets ---- */

TEST(config, no_fault_shows_a_secret)
{
    const char *got = load_bad(
        "[remote r]\nurl = https://joe:hunter2@a.org/\npassword = hunter2\npassword = "
        "@file:hunter2\n"
        "header = hunter2\nuser = a\n  hunter2\n[target t]\nurl = mysql://u:hunter2@h/d\n");
    CHECK_EQ(lines_of(got), 5);
    assert_null(strstr(got, "hunter2"));
}

static int secret_of(const char *value, char *out, size_t cap)
{
    struct err err = { 0 };
    char *secret = NULL;
    int rc = config_secret(value, &secret, &err);
    snprintf(out, cap, "%s", rc == 0 ? secret : err.msg);
    CHECK_EQ(rc == 0 ? ERR_NONE : ERR_CONFIG, err.code);
    secret_clear(&secret);
    assert_null(secret);
    return rc;
}

TEST(config, a_secret_is_read_when_it_is_used)
{
    char out[600], ref[700];
    CHECK_EQ(secret_of("plain", out, sizeof out), 0);
    CHECK_STR(out, "plain");
    const char *path = write_ini("secret", "s3cret word\r\n");
    snprintf(ref, sizeof ref, "@file:%s", path);
    chmod(path, 0640);
    CHECK_EQ(secret_of(ref, out, sizeof out), 0);
    CHECK_STR(out, "s3cret word");
    chmod(path, 0644);
    CHECK_EQ(secret_of(ref, out, sizeof out), -1);
    CHECK_HAS(out, "can be read by everyone: chmod o-r");
    chmod(write_ini("secret", "\n"), 0600);
    CHECK_EQ(secret_of(ref, out, sizeof out), -1);
    CHECK_HAS(out, "is empty");
    snprintf(ref, sizeof ref, "@file:%s", test_dir());
    CHECK_EQ(secret_of(ref, out, sizeof out), -1);
    CHECK_HAS(out, "is not a file");
    CHECK_EQ(secret_of("@file:/no/such", out, sizeof out), -1);
    CHECK_HAS(out, "No such file");
}

TEST(config, a_systemd_credential_is_a_secret)
{
    char out[600];
    unsetenv("CREDENTIALS_DIRECTORY");
    CHECK_EQ(secret_of("@credential:partner", out, sizeof out), -1);
    CHECK_HAS(out, "LoadCredential=");
    write_ini("partner", "pw\n");
    setenv("CREDENTIALS_DIRECTORY", test_dir(), 1);
    CHECK_EQ(secret_of("@credential:partner", out, sizeof out), 0);
    CHECK_STR(out, "pw");
    unsetenv("CREDENTIALS_DIRECTORY");
    CHECK_HAS(load_bad("[remote r]\nurl = https://a/\npassword = @credential:../x\n"),
              "expected the name of a systemd credential");
}

/* ---- files and environment ---- */

TEST(config, the_environment_wins_over_the_file)
{
    setenv("QETL_DATABASE", "/e/queue.db", 1);
    setenv("QETL_LOG_LEVEL", "debug", 1);
    struct config *c = load_ok("[qetl]\ndatabase = /f/queue.db\nspool = /f/spool\n");
    CHECK_STR(c->database, "/e/queue.db");
    CHECK_STR(c->spool, "/f/spool");
    CHECK_STR(c->log_level, "debug");
    config_free(c);
    setenv("QETL_LOG_LEVEL", "loud", 1);
    CHECK_STR(load_bad(""),
              "environment: QETL_LOG_LEVEL: 'loud': expected error, warn, info or debug\n");
    unsetenv("QETL_DATABASE");
    unsetenv("QETL_LOG_LEVEL");
    struct err err = { 0 };
    setenv("QETL_CONFIG", write_ini("env.ini", "[qetl]\nspool = s\n"), 1);
    CHECK_OK(config_load(&c, NULL, NULL, &err), err);
    char real[600];
    snprintf(real, sizeof real, "%s/s", test_dir());
    CHECK_STR(c->spool, real); /* from the folder of the file */
    config_free(c);
    unsetenv("QETL_CONFIG");
}

TEST(config, a_file_that_cannot_be_read_is_told)
{
    struct err err = { 0 };
    struct config *c = NULL;
    struct buf faults = { 0 };
    CHECK_EQ(config_load(&c, "/no/such.ini", &faults, &err), -1);
    CHECK_EQ(err.code, ERR_CONFIG_MISSING);
    CHECK_STR(err.msg, "there is no ini '/no/such.ini'");
    CHECK_STR(faults.p, "there is no ini '/no/such.ini'\n");
    buf_clear(&faults);
    CHECK_EQ(config_load(&c, test_dir(), NULL, &err), -1);
    CHECK_HAS(err.msg, "Is a directory");
}

TEST(config, the_files_of_conf_d_are_read_in_name_order)
{
    mkdir(test_file("d"), 0755);
    mkdir(test_file("d/conf.d"), 0755);
    write_ini("d/conf.d/20-b.ini", "[pipeline b]\ntable = w.b\n");
    write_ini("d/conf.d/10-a.ini", "[pipeline a]\ntable = w.a\n");
    write_ini("d/conf.d/note.txt", "not an ini");
    write_ini("d/conf.d/.hidden.ini", "not an ini");
    struct err err = { 0 };
    struct config *c = NULL;
    CHECK_OK(config_load(&c, write_ini("d/qetl.ini", BASE "[worker]\nslots = 3\n"), NULL, &err),
             err);
    CHECK_EQ(c->npipelines, 2);
    CHECK_STR(c->pipelines[0].name, "a");
    CHECK_STR(c->pipelines[1].name, "b");
    CHECK_STR(c->path, test_file("d/qetl.ini"));
    config_free(c);
    write_ini("d/conf.d/30-c.ini", "\n[worker]\nslots = 4\n");
    CHECK_EQ(config_load(&c, test_file("d/qetl.ini"), NULL, &err), -1);
    CHECK_HAS(err.msg, "conf.d/30-c.ini:3: [worker] slots: given twice, first in ");
    CHECK_HAS(err.msg, "d/qetl.ini:4");
}

TEST(config, the_table_of_keys_is_fit_to_print)
{
    struct buf out = { 0 };
    config_print_keys(&out);
    CHECK(!out.failed);
    int sections = 0;
    for (char *line = strtok(out.p, "\n"); line; line = strtok(NULL, "\n")) {
        int tabs = 0;
        for (const char *p = line; *p; p++)
            tabs += *p == '\t';
        sections += tabs == 2;
        CHECK_EQ(tabs, strncmp(line, "section\t", 8) == 0 ? 2 : 6);
        CHECK(line[strlen(line) - 1] != '\t');
    }
    CHECK_EQ(sections, 10);
    buf_clear(&out);
}

/* A scanned pipeline with one fault. */
static void check_scan_fault(const char *keys, const char *expected)
{
    char text[1000];
    snprintf(text, sizeof text, "[target w]\nurl = sqlite:///w.db\n[pipeline p]\ntable = w.t\n%s\n", keys);
    const char *got = load_bad(text);
    CHECK_HAS(got, expected);
    if (strchr(got, '\n') != strrchr(got, '\n'))
        fail_msg("more than one fault: %s", got);
}

/* A target of that url with that key of its own, and a pipeline into it with another: `expected` is all that is told, or NULL: nothing. */
static void check_fits(const char *url, const char *of_target, const char *of_pipeline, const char *expected)
{
    char text[2000];
    snprintf(text, sizeof text, "[target t]\nurl = %s\n%s\n[pipeline p]\ntable = t.x\n%s\n", url, of_target, of_pipeline);
    if (expected)
        CHECK_STR(load_bad(text), expected);
    else
        config_free(load_ok(text));
}

TEST(config, a_key_of_another_kind_of_target_is_told_with_its_place)
{
#define OBJECTS_ONLY "is for object stores and directories only, and target 't' is a "
    check_fits("sqlite:w.db", "path = {uid}", "", "bad.ini:3: [target t] path: " OBJECTS_ONLY "'sqlite:'\n");
    check_fits("sqlite:w.db", "compress = gz", "", "bad.ini:3: [target t] compress: " OBJECTS_ONLY "'sqlite:'\n");
    check_fits("postgresql://h/d", "format = csv", "", "bad.ini:3: [target t] format: " OBJECTS_ONLY "'postgresql:'\n");
    check_fits("postgresql://h/d", "readers = many", "",
               "bad.ini:3: [target t] readers: is for SQLite only, and target 't' is a 'postgresql:'\n");
    check_fits("s3://b/p", "readers = one", "", "bad.ini:3: [target t] readers: is for SQLite only, and target 't' is a 's3:'\n");
    check_fits("s3://b/p", "", "after_load = VACUUM",
               "bad.ini:6: [pipeline p] after_load: is for databases only, and target 't' is a 's3:'\n");
    check_fits("s3://b/p", "format = jsonl", "", NULL);
    check_fits("file:///lake", "path = {uid}", "", NULL);
    check_fits("sqlite:w.db", "readers = many", "after_load = VACUUM", NULL);
    check_fits("postgresql://h/d", "loaders = 2", "after_load = VACUUM", NULL);
}

TEST(config, a_scan_that_makes_no_sense_is_refused)
{
    check_scan_fault("source = /in/*\nevery = 1m\ncron = @daily", "every: expected either every or cron");
    check_scan_fault("source = /in/[a\nevery = 1m", "source: the source has a [ without its ]");
    check_scan_fault("source = /in/*\nevery = 1m\nlookback = 1d", "lookback: expected a date");
    check_scan_fault("source = /in/*\nevery = 1m\nmissed = all", "missed: expected cron beside it");
    check_scan_fault("source = /in/*\nevery = 1m\nmissed_age = 1d", "missed_age: expected cron beside it");
    check_scan_fault("source = /in/{%Y}\nevery = 1m\njob_per = slot", "job_per: expected cron beside it");
    check_scan_fault("source = /in/*\ncron = @daily\njob_per = slot", "source: expected no globs");
    check_scan_fault("source = /in/*\nevery = 1m\nwhole_wait = 1h", "whole_wait: expected whole = trailer beside it");
    check_scan_fault("source = /in/{%Y}\ncron = @daily\njob_per = slot\nwhole = trailer", "whole: expected a job_per that is not slot");
    check_scan_fault("command = ./p\nevery = 1m\ncolumns = id:integer", "every: expected cron: a command runs at times by the clock");
    check_scan_fault("command = ./p\ncron = @daily\njob_per = object\ncolumns = id:integer", "job_per: expected slot: a command has no objects");
    check_scan_fault("command = ./p\ncron = @daily\nsettle = 1m\ncolumns = id:integer", "settle: expected a source beside it");
    check_scan_fault("source = http://h/in/*\nevery = 1m\nafter = delete",
                     "after: expected keep: only local files and those of ftp, ftps, sftp and s3 are deleted or moved");
    check_scan_fault("source = ftp://h/in/*\nevery = 1m\nafter = move:ftp://h:22/done",
                     "after: expected move:ftp://h/FOLDER: an object is moved within its host or bucket");
    check_scan_fault("source = /in/*\nevery = 1m\nafter = move:", "after: 'move:': expected keep, delete or move:FOLDER");
    check_scan_fault("source = /in/*\nevery = 1m\ndone_marker = a/b", "done_marker: expected a name without a slash");
    check_scan_fault("source = manifest+file:///x/{a}.txt\nevery = 1m", "source: expected no globs and no names: a manifest is one file");
    check_scan_fault("source = manifest+https://h/*.json\nevery = 1m", "source: expected no globs and no names: a manifest is one file");
    check_scan_fault("source = manifest+file:///x/a.txt\nevery = 1m\ndone_marker = *.done", "done_marker: expected none: what a manifest");
    check_scan_fault("source = /in/*\nevery = 1m\ntimezone = Mars/Base", "timezone: 'Mars/Base': expected a zone");
}

TEST(config, compute_is_a_line_for_each_column)
{
    struct config *c = load_recipe("columns = price:decimal(2), n:integer\ncompute = total:decimal(2)! = price * n\n\n  \"a = b\":text = 'x=y'\nkey = total\n"
                                   "mode = upsert");
    const struct recipe *r = c->pipelines[0].parts;
    CHECK_EQ(r->computed.n, 2);
    CHECK_STR(r->computed.v[0].name, "total");
    CHECK_EQ(r->computed.v[0].required, true);
    CHECK_STR(r->computed_sql[0], "price * n");
    CHECK_STR(r->computed.v[1].name, "a = b");
    CHECK_STR(r->computed_sql[1], "'x=y'");
    config_free(c);
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\ncompute = b:text\n"),
              "bad.ini:6: [pipeline p] compute: 'b:text': expected NAME:TYPE = EXPRESSION");
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\ncompute = b, c = 1\n"), "compute: expected one column a line");
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\ncompute = A = 1\n"), "compute: 'A' is among the columns already");
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\ncompute = b:nix = 1\n"), "compute: column 1: 'nix' is no type");
}

TEST(config, keys_of_a_transform_without_output_are_not_known_here)
{
    config_free(load_recipe("columns = a\ntransform = SELECT a, b FROM input\nkey = b\nmode = upsert"));
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = a\noutput = b\ntransform = SELECT a AS b FROM input\nkey = a\nmode = upsert\n"),
              "key: 'a' is not among the columns");
}

TEST(config, filter_format_is_for_filters)
{
    check_key_fault("filter_format = csv", "filter_format: expected filter beside it");
}

TEST(config, lookup_parts_names_other_parts_without_circles)
{
#define OF_B(keys) BASE "[lookup file]\nfile = f.csv\ncolumns = a\n[pipeline p]\ncolumns = x\n[pipeline p.a]\nmember = a\ntable = w.a\n" \
                   "[pipeline p.b]\nmember = b\ntable = w.b\n" keys
    struct config *c = load_ok(OF_B("where = x IN (SELECT x FROM a)\nlookup_parts = a, c\n[pipeline p.c]\ntable = w.c\nwhere = x\nlookup_parts = a\n"));
    const struct pipeline *p = c->pipelines;
    int order[CONFIG_PARTS_MAX];
    CHECK_EQ(p->parts[0].reads, 0);
    CHECK_EQ(p->parts[1].reads, 5);
    CHECK_EQ(p->parts[2].reads, 1);
    pipeline_order(p, order);
    CHECK_EQ(order[0], 0);
    CHECK_EQ(order[1], 2);
    CHECK_EQ(order[2], 1);
    config_free(c);
    CHECK_HAS(load_bad(OF_B("where = x\nlookup_parts = aa\n")), "[pipeline p.b] lookup_parts: 'aa' is no part of this pipeline; did you mean 'a'?");
    CHECK_HAS(load_bad(OF_B("where = x\nlookup_parts = b\n")), "lookup_parts: 'b' is this part itself: its rows are the table input");
    CHECK_HAS(load_bad(OF_B("where = x\nlookup_parts = file\n")), "lookup_parts: 'file' is a [lookup], which SQL knows");
    CHECK_HAS(load_bad(OF_B("where = x\nlookup_parts = FILE\n[pipeline p.FILE]\ntable = w.f\n")), "there is a [lookup] of this name, too");
    CHECK_HAS(load_bad(OF_B("where = x\nlookup_parts = Input\n[pipeline p.Input]\ntable = w.f\n")), "'Input': SQL has a table of this name");
    CHECK_HAS(load_bad(OF_B("lookup_parts = a\n")), "lookup_parts: expected where, compute or transform beside it");
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\nwhere = 1\nlookup_parts = a\n"), "lookup_parts: belongs in a [pipeline p.PART]");
    CHECK_HAS(load_bad(BASE "[pipeline p]\nlookup_parts = a\nwhere = 1\n[pipeline p.a]\ntable = w.a\n"), "[pipeline p] lookup_parts: belongs in the [pipeline p.PART]");
    CHECK_HAS(load_bad(OF_B("where = x\nlookup_parts = c\n[pipeline p.d]\ntable = w.d\nwhere = x\nlookup_parts = b\n"
                            "[pipeline p.c]\ntable = w.c\nwhere = x\nlookup_parts = a, b\n")),
              "[pipeline p.b] lookup_parts: parts 'p.b' and 'p.c' would wait for each other");
#undef OF_B
}

TEST(config, from_names_a_part_that_reads)
{
#define PART_A "[pipeline p]\n[pipeline p.a]\ntable = w.a\ncolumns = x\n"
    CHECK_HAS(load_bad(BASE PART_A "[pipeline p.b]\ntable = w.b\nfrom = c\n"), "[pipeline p.b] from: 'c' is no part of this pipeline");
    CHECK_HAS(load_bad(BASE PART_A "[pipeline p.b]\ntable = w.b\nfrom = b\n"), "[pipeline p.b] from: 'b' is no part of this pipeline");
    CHECK_HAS(load_bad(BASE PART_A "[pipeline p.b]\ntable = w.b\nfrom = a\ncolumns = y\n"), "[pipeline p.b] columns: expected no from beside it");
    CHECK_HAS(load_bad(BASE "[pipeline p]\ntable = w.t\ncolumns = x\nfrom = a\n"), "[pipeline p] from: belongs in a [pipeline p.PART]");
    CHECK_HAS(load_bad(BASE "[pipeline p]\n[pipeline p.a]\ntable = w.a\n[pipeline p.b]\ntable = w.b\nfrom = a\n"), "from: expected columns in part 'a'");
}

TEST(config, the_tables_of_a_pipeline_are_in_one_target)
{
    CHECK_STR(load_bad(BASE "[target v]\nurl = sqlite:v.db\n[pipeline p]\n[pipeline p.a]\nmember = a\ntable = w.a\n[pipeline p.b]\nmember = b\ntable = v.b\n"),
              "bad.ini:11: [pipeline p.b] table: expected a table of target 'w', as part 'p.a' has: all tables of a job are in one, by one commit\n");
}

TEST(config, a_look_up_needs_file_and_columns)
{
    CHECK_STR(load_bad(BASE "[lookup input]\n"), "bad.ini:3: [lookup input] file: expected another name of the section: SQL has a table of this name, or keeps it "
                                                 "for itself\nbad.ini:3: [lookup input] file: missing: the file to read\n"
                                                 "bad.ini:3: [lookup input] columns: missing: names and types\n");
    CHECK_HAS(load_bad(BASE "[lookup l]\nfile = x\ncolumns = a\nkey = b\n"), "[lookup l] key: 'b' is not among the columns");
    CHECK_HAS(load_bad(BASE "[lookup l]\nfile = x\ncolumns = a\nmax_rejects = 1\n"), "[lookup l] max_rejects: unknown key; it belongs in [pipeline]");
}

TEST(config, keys_of_event_time_go_together)
{
    static const struct {
        const char *keys, *fault;
    } bad[] = {
        { "columns = a:integer\nlate = reject", "late: expected event_time beside it" },
        { "columns = a:integer\nallowed_lateness = 1h", "allowed_lateness: expected event_time beside it" },
        { "columns = a:integer\nevent_time = a", "event_time: 'a' is no column of type timestamp or date" },
        { "columns = a:integer\nevent_time = b", "event_time: 'b' is no column of type timestamp or date" },
        { "event_time = b", "columns: missing: event_time needs columns that are given" },
        { "columns = a:date\nevent_time = a\nlate = sometimes", "late: 'sometimes': expected table, reject or TARGET.TABLE" },
        { "columns = a:date\nevent_time = a\nlate = w.qetl_x", "late: 'w.qetl_x': expected table, reject or TARGET.TABLE" },
        { "columns = a:date\nevent_time = a\nlate = v.late", "late: expected a table of target 'w'" },
        { "columns = a:date\nevent_time = a\nlate = w.t", "late: expected another table than that of the rows" },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[400];
        snprintf(text, sizeof text, BASE "[pipeline p]\ntable = w.t\n%s\n", bad[i].keys);
        CHECK_HAS(load_bad(text), bad[i].fault);
    }
    struct config *c = load_ok(BASE "[pipeline p]\ntable = w.t\ncolumns = a:date, b from _line\nevent_time = a\nlate = w.late\n"
                                    "allowed_lateness = 1h\nmode = upsert\nkey = b\nclean = b: trim\n");
    CHECK_EQ(c->pipelines[0].nparts, 2);
    const struct recipe *late = &c->pipelines[0].parts[1];
    CHECK_EQ(c->pipelines[0].parts[0].late_part, 1);
    CHECK(late->takes_late);
    CHECK_STR(late->name, "p.late");
    CHECK_STR(late->table_name, "late");
    CHECK_STR(late->target, "w");
    CHECK_EQ(late->mode, MODE_APPEND);
    CHECK_EQ(late->columns.n, 2);
    CHECK(!late->clean);
    config_free(c);
}

TEST(config, a_stream_is_the_segments_in_the_spool)
{
    struct config *c = load_ok("[qetl]\nspool = /var/s{x\n" BASE "[pipeline p]\nsource = stream:clicks\ntable = w.t\n"
                               "[pipeline q]\nsource = stream:other\ntable = w.q\nafter = keep\nsettle = 1s\nevery = 7s\nformat = csv\n");
    const struct pipeline *p = &c->pipelines[0], *q = &c->pipelines[1];
    struct err err;
    CHECK_STR(p->source, "/var/s{{x/streams/clicks/*.jsonl");
    CHECK_EQ(p->scan.source_plain, strlen("/var/s{{x"));
    CHECK_STR(p->scan.stream, "clicks");
    CHECK(pipeline_is_scanned(p));
    CHECK_EQ(p->scan.settle_ms, 0);
    CHECK_EQ(p->scan.after.what, AFTER_DELETE);
    CHECK_STR(p->parts[0].format, "jsonl");
    CHECK_EQ(q->scan.settle_ms, 1000);
    CHECK_EQ(q->scan.every_ms, 7000);
    CHECK_EQ(q->scan.after.what, AFTER_KEEP);
    CHECK_STR(q->parts[0].format, "csv");
    CHECK(config_stream(c, "other", &err) == q);
    CHECK(!config_stream(c, "click", &err));
    CHECK_EQ(err.code, ERR_NOT_FOUND);
    CHECK_HAS(err.msg, "did you mean 'clicks'?");
    config_free(c);
}
