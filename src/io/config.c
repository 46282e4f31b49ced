/*
 * The table of keys, and what is made of it: parsing, checks, defaults, and the manual page qetl.ini(5).
 *
 * Way of a key: ini_read() finds it, section_bind() has said which struct its section fills, key_find() which member, the type's parser
 * writes it there. A part of a pipeline begins as a copy of its pipeline's own recipe. What concerns more than one key is checked at
 * the end, when all is read. Every fault is kept, with the line of the key it is about.
 *
 * Nothing is written, so that power may fail at any time.
 */
#include "io/config.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/text.h"
#include "io/ini.h"

#ifndef QETL_CONFIG_FILE
#define QETL_CONFIG_FILE "/etc/qetl/qetl.ini"
#endif

const char *const load_mode_names[MODES] = { "append", "replace", "upsert" };

/* ---- the table ---- */

enum scope { AT_QETL, AT_WORKER, AT_LOADER, AT_LIMITS, AT_REMOTE, AT_TARGET, AT_PIPELINE, AT_RECIPE, SCOPES };

static const struct section_def {
    const char *name;
    bool named;
    const char *help;
} section_defs[] = {
    [AT_QETL] = { "qetl", false, "where things are; each key can be given by the environment too" },
    [AT_WORKER] = { "worker", false, "the role that fetches, reads and stages" },
    [AT_LOADER] = { "loader", false, "the role that commits what is staged" },
    [AT_LIMITS] = { "limits", false, "what no file and no server may pass; the job fails with the code limit" },
    [AT_REMOTE] = { "remote", true, "how to talk to every URI that begins with its url; the longest one wins" },
    [AT_TARGET] = { "target", true, "a warehouse" },
    [AT_PIPELINE] = { "pipeline", true, "where from, how to read, where to" },
};

enum key_type {
    KEY_TEXT, KEY_PATH, KEY_URL, KEY_SECRET, KEY_NUMBER, KEY_SIZE, KEY_DURATION, KEY_YES, KEY_WORD, KEY_NAME, KEY_CHAR,
    KEY_HEADER, KEY_COLUMNS, KEY_LIST, KEY_ZONE, KEY_TABLE, KEY_REJECTS, KEY_TYPES
};

enum { LINES = 1 /* may take several lines */, NEEDED = 2, WHOLE = 4 /* not in a part */, EMPTY = 8 /* may have no value */ };

static const char *const yes_no[] = { "no", "yes", NULL };
static const char *const readers_words[] = { "one", "many", NULL };
static const char *const empty_words[] = { "fail", "ok", NULL };
static const char *const log_words[] = { "text", "json", NULL };
static const char *const level_words[] = { "error", "warn", "info", "debug", NULL };
static const char *const format_words[] = { "auto", "csv", "tsv", "json", "jsonl", NULL };
static const char *const encoding_words[] = { "utf-8", "latin1", "utf-16", "utf-16le", "utf-16be", NULL };
static const char *const ragged_words[] = { "reject", "fill", NULL };
static const char *const unknown_words[] = { "strict", "lax", NULL };
static const char *const infer_words[] = { "member", "sample", NULL };
static const char *const mode_words[] = { "append", "replace", "upsert", NULL };

static const struct key {
    enum scope scope;
    const char *name;
    enum key_type type;
    size_t at;
    const char *def;   /* NULL: none */
    int64_t min, max;  /* of numbers, sizes (bytes) and durations (ms); KEY_CHAR: min 1 refuses "none" */
    const char *const *words;
    unsigned flags;
    const char *help;
} keys[] = {
#define IN(s, f) offsetof(struct s, f)
#define SECONDS  1000
#define MINUTES  (60 * SECONDS)
#define DAYS     (24 * 60 * MINUTES)
#define KIB      1024
#define MIB      (1024 * KIB)
#define TIB      ((int64_t)1024 * 1024 * MIB)
    { AT_QETL, "database", KEY_PATH, IN(config, database), "/var/lib/qetl/queue.db", 0, 0, NULL, 0,
      "the queue's SQLite file, on a local disk" },
    { AT_QETL, "spool", KEY_PATH, IN(config, spool), "/var/lib/qetl/spool", 0, 0, NULL, 0,
      "folder of staged outputs and of objects under way, on a local disk" },
    { AT_QETL, "log", KEY_NAME, IN(config, log_form), "text", 0, 0, log_words, 0, "form of the lines on standard error" },
    { AT_QETL, "log_level", KEY_NAME, IN(config, log_level), "info", 0, 0, level_words, 0, "the least important kind of line that is written" },

    { AT_WORKER, "slots", KEY_NUMBER, IN(config, worker_slots), "2", 1, 256, NULL, 0,
      "jobs at the same time, each in a worker process with a reader process of its own" },
    { AT_WORKER, "lease", KEY_DURATION, IN(config, lease_ms), "60s", 2 * SECONDS, 1 * DAYS, NULL, 0,
      "a job whose worker was not heard of for so long goes to another worker" },
    { AT_WORKER, "heartbeat", KEY_DURATION, IN(config, heartbeat_ms), "10s", 100, 1 * DAYS, NULL, 0,
      "leases are renewed so often; at most half of lease" },
    { AT_WORKER, "claim_batch", KEY_NUMBER, IN(config, claim_batch), "10", 1, 1000, NULL, 0, "jobs taken in one transaction" },
    { AT_WORKER, "poll", KEY_DURATION, IN(config, poll_ms), "1s", 10, 60 * MINUTES, NULL, 0,
      "how often an idle worker or loader looks for jobs that were added without its bell" },
    { AT_WORKER, "shutdown_timeout", KEY_DURATION, IN(config, shutdown_timeout_ms), "25s", 0, 1 * DAYS, NULL, 0,
      "after SIGTERM jobs have so long to finish, then they are handed back" },

    { AT_LOADER, "group_jobs", KEY_NUMBER, IN(config, group_jobs), "100", 1, 100000, NULL, 0, "jobs in one transaction of a target, at most" },
    { AT_LOADER, "group_bytes", KEY_SIZE, IN(config, group_bytes), "1G", 1, 1024 * TIB, NULL, 0,
      "staged bytes in one transaction of a target; a larger job goes alone" },

    { AT_LIMITS, "memory", KEY_SIZE, IN(config, limits.memory), "512M", 64 * MIB, 1024 * TIB, NULL, 0, "address space of a reader process" },
    { AT_LIMITS, "object", KEY_SIZE, IN(config, limits.object_bytes), "100G", 1, 1024 * TIB, NULL, 0, "size of one fetched object" },
    { AT_LIMITS, "big_object", KEY_SIZE, IN(config, limits.big_object), "64M", 0, 1024 * TIB, NULL, 0,
      "larger objects are fetched into the spool, where a broken download can be resumed; 0: all" },
    { AT_LIMITS, "members", KEY_NUMBER, IN(config, limits.members), "100000", 1, 1000000000, NULL, 0, "members of one archive, nested ones included" },
    { AT_LIMITS, "unpacked", KEY_SIZE, IN(config, limits.unpacked_bytes), "100G", 1, 1024 * TIB, NULL, 0, "bytes that one object may unpack to" },
    { AT_LIMITS, "ratio", KEY_NUMBER, IN(config, limits.ratio), "1000", 1, 1000000000, NULL, 0, "unpacked bytes for each packed byte" },
    { AT_LIMITS, "row", KEY_SIZE, IN(config, limits.row_bytes), "16M", 1 * KIB, 1024 * MIB, NULL, 0, "size of one row; a longer one goes to the rejects" },
    { AT_LIMITS, "spool", KEY_SIZE, IN(config, limits.spool_bytes), "0", 0, 1024 * TIB, NULL, 0, "workers pause while the spool holds more; 0: no limit" },
    { AT_LIMITS, "connect_timeout", KEY_DURATION, IN(config, limits.connect_timeout_ms), "20s", 100, 60 * MINUTES, NULL, 0, "time to get a connection" },
    { AT_LIMITS, "stall_timeout", KEY_DURATION, IN(config, limits.stall_timeout_ms), "60s", 1 * SECONDS, 1 * DAYS, NULL, 0,
      "a transfer that brings nothing for so long is broken off and tried again" },
    { AT_LIMITS, "crashes", KEY_NUMBER, IN(config, limits.crashes), "3", 1, 1000, NULL, 0, "a job that took so many workers down is dead, with class poison" },

    { AT_REMOTE, "url", KEY_URL, IN(remote, url), NULL, 0, 0, NULL, NEEDED, "beginning of the URIs this is about" },
    { AT_REMOTE, "user", KEY_SECRET, IN(remote, user), NULL, 0, 0, NULL, 0, "user name" },
    { AT_REMOTE, "password", KEY_SECRET, IN(remote, password), NULL, 0, 0, NULL, 0, "password, or passphrase of private_key" },
    { AT_REMOTE, "header", KEY_HEADER, IN(remote, header), NULL, 0, 0, NULL, LINES, "HTTP headers to send, one a line, as Name: value; the value can be a reference" },
    { AT_REMOTE, "ca_file", KEY_PATH, IN(remote, ca_file), NULL, 0, 0, NULL, 0, "PEM file of the authorities to trust instead of the system's" },
    { AT_REMOTE, "proxy", KEY_TEXT, IN(remote, proxy), NULL, 0, 0, NULL, 0, "proxy, such as http://proxy.example.org:3128" },
    { AT_REMOTE, "known_hosts", KEY_PATH, IN(remote, known_hosts), NULL, 0, 0, NULL, 0, "SFTP: file of host keys, as ssh has it" },
    { AT_REMOTE, "host_key_sha256", KEY_TEXT, IN(remote, host_key_sha256), NULL, 0, 0, NULL, 0, "SFTP: the host key's SHA-256 in base64, as ssh-keygen -l shows it" },
    { AT_REMOTE, "private_key", KEY_PATH, IN(remote, private_key), NULL, 0, 0, NULL, 0, "SFTP: file of the private key (ed25519 or ecdsa)" },
    { AT_REMOTE, "connections", KEY_NUMBER, IN(remote, connections), "0", 0, 10000, NULL, 0, "transfers at the same time, of one worker; 0: no limit" },
    { AT_REMOTE, "rate", KEY_SIZE, IN(remote, rate_bytes), "0", 0, TIB, NULL, 0, "bytes a second of one transfer; 0: no limit" },

    { AT_TARGET, "url", KEY_URL, IN(target_config, url), NULL, 0, 0, NULL, NEEDED, "the warehouse, such as sqlite:///var/lib/qetl/warehouse.db" },
    { AT_TARGET, "readers", KEY_YES, IN(target_config, many_readers), "one", 0, 0, readers_words, 0,
      "SQLite: many keeps the file in WAL mode, so that readers do not wait for the loader; one makes loads twice as fast" },

    { AT_PIPELINE, "source", KEY_URL, IN(pipeline, source), NULL, 0, 0, NULL, 0,
      "URI or path of a job's object when the submit names none; {name} is the job's parameter of that name, {{ a brace" },
    { AT_PIPELINE, "nested", KEY_NUMBER, IN(pipeline, nested), "1", 0, 8, NULL, 0, "archives are opened inside archives to this depth" },
    { AT_PIPELINE, "priority", KEY_NUMBER, IN(pipeline, priority), "0", -1000, 1000, NULL, 0, "of its jobs; the greater goes first" },
    { AT_PIPELINE, "attempts", KEY_NUMBER, IN(pipeline, attempts), "8", 1, 1000, NULL, 0, "tries before an error that may pass makes the job dead" },
    { AT_PIPELINE, "backoff", KEY_DURATION, IN(pipeline, backoff_ms), "5s", 0, 30 * (int64_t)DAYS, NULL, 0, "pause before the second attempt; doubled for each one after it" },
    { AT_PIPELINE, "backoff_max", KEY_DURATION, IN(pipeline, backoff_max_ms), "1h", 0, 30 * (int64_t)DAYS, NULL, 0, "the longest such pause" },
    { AT_PIPELINE, "keep_fetched", KEY_YES, IN(pipeline, keep_fetched), "no", 0, 0, yes_no, 0, "keep fetched objects in the spool for another run" },

    { AT_RECIPE, "member", KEY_TEXT, IN(recipe, member), NULL, 0, 0, NULL, LINES, "globs with commas between: the members to read; all when not given" },
    { AT_RECIPE, "format", KEY_NAME, IN(recipe, format), "auto", 0, 0, format_words, 0, "auto looks at the first bytes of a member" },
    { AT_RECIPE, "delimiter", KEY_CHAR, IN(recipe, delimiter), NULL, 1, 0, NULL, 0, "between fields; a comma for csv and a tab for tsv when not given" },
    { AT_RECIPE, "quote", KEY_CHAR, IN(recipe, quote), "\"", 0, 0, NULL, 0, "around fields" },
    { AT_RECIPE, "escape", KEY_CHAR, IN(recipe, escape), NULL, 0, 0, NULL, 0, "takes away the meaning of the next byte; a doubled quote is always one quote" },
    { AT_RECIPE, "header", KEY_YES, IN(recipe, header), "yes", 0, 0, yes_no, 0, "the first line has the names of the fields" },
    { AT_RECIPE, "skip_lines", KEY_NUMBER, IN(recipe, skip_lines), "0", 0, 1000000000, NULL, 0, "lines before the header, or before the data" },
    { AT_RECIPE, "comment", KEY_CHAR, IN(recipe, comment), NULL, 0, 0, NULL, 0, "lines that begin with it are passed over" },
    { AT_RECIPE, "encoding", KEY_WORD, IN(recipe, encoding), "utf-8", 0, 0, encoding_words, 0, "of the member; utf-16 looks at its byte order mark" },
    { AT_RECIPE, "ragged", KEY_WORD, IN(recipe, ragged), "reject", 0, 0, ragged_words, 0, "a row with fewer fields than columns: reject it, or fill it up with nulls" },
    { AT_RECIPE, "trim", KEY_YES, IN(recipe, trim), "no", 0, 0, yes_no, 0, "take spaces and tabs away around fields without quotes" },
    { AT_RECIPE, "records", KEY_TEXT, IN(recipe, records), NULL, 0, 0, NULL, 0, "JSON: path of the array that holds the rows" },
    { AT_RECIPE, "unknown", KEY_WORD, IN(recipe, unknown), "strict", 0, 0, unknown_words, 0,
      "JSON: values that no column wants are checked as well (strict) or stepped over by their brackets (lax)" },
    { AT_RECIPE, "columns", KEY_COLUMNS, IN(recipe, columns_text), NULL, 0, 0, NULL, LINES,
      "names and types, see COLUMNS; found out from the data when not given" },
    { AT_RECIPE, "infer", KEY_WORD, IN(recipe, infer), "member", 0, 0, infer_words, 0, "where columns are found out: the whole first member, or a sample of it" },
    { AT_RECIPE, "null", KEY_LIST, IN(recipe, nulls), NULL, 0, 0, NULL, LINES | EMPTY,
      "values that mean null, with commas between; \"\" is the empty field. Not given: an empty field without quotes. Nothing behind =: none" },
    { AT_RECIPE, "quoted_null", KEY_YES, IN(recipe, quoted_null), "no", 0, 0, yes_no, 0, "fields in quotes can be null too" },
    { AT_RECIPE, "zone", KEY_ZONE, IN(recipe, zone), NULL, 0, 0, NULL, 0, "of timestamps that name none, such as Europe/Berlin or +02:00; UTC when not given" },
    { AT_RECIPE, "decimal_point", KEY_CHAR, IN(recipe, decimal_point), ".", 1, 0, NULL, 0, "of numbers: . or ," },
    { AT_RECIPE, "table", KEY_TABLE, IN(recipe, table), NULL, 0, 0, NULL, NEEDED, "TARGET.TABLE" },
    { AT_RECIPE, "mode", KEY_WORD, IN(recipe, mode), "append", 0, 0, mode_words, 0,
      "add the rows; replace all rows of the table; or put each in the place of the row with the same key" },
    { AT_RECIPE, "key", KEY_LIST, IN(recipe, key), NULL, 0, 0, NULL, LINES, "columns that name a row, with commas between; upsert needs it" },
    { AT_RECIPE, "max_rejects", KEY_REJECTS, IN(recipe, max_rejects), "0", 0, 0, NULL, WHOLE,
      "more refused rows than this fail the job: a number, a share such as 1%, or both with a comma between" },
    { AT_RECIPE, "empty", KEY_YES, IN(recipe, empty_ok), "fail", 0, 0, empty_words, WHOLE, "what a job without any row does" },
};

/* ---- the state of one config_load() ---- */

/* What an ini section fills. */
struct bound {
    const struct section_def *def; /* NULL: the heading was faulty, its keys are passed over */
    void *object;                  /* struct config, remote, target_config, pipeline, or NULL for a part */
    struct pipeline *pipeline;
    struct recipe *recipe;         /* of a pipeline or a part */
    int parent;                    /* of a part: index of its pipeline's section; else -1 */
    char *name, *part;
};

struct build {
    struct config *c;
    struct ini ini;
    struct bound *bound;  /* one for each of ini.sections */
    char *folder;         /* of the main file, absolute */
    char want[400];       /* by a parser: what was expected */
};

static char *keep(struct build *b, struct str s)
{
    char *p = arena_dup(&b->c->arena, s);
    if (!p)
        b->ini.failed = true;
    return p;
}

static void *zeroed(struct build *b, size_t n, size_t size)
{
    size_t bytes = mem_product(n ? n : 1, size);
    void *p = bytes == SIZE_MAX ? NULL : arena_alloc(&b->c->arena, bytes);
    if (p)
        memset(p, 0, bytes);
    else
        b->ini.failed = true;
    return p;
}

static bool want(struct build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool want(struct build *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->want, sizeof b->want, fmt, ap);
    va_end(ap);
    return false;
}

/* "; did you mean 'x'?" for the nearest of the words, or "". Ended by next() giving NULL. */
static void nearest(char *out, size_t cap, const char *word, const char *(*next)(const void *, int), const void *list)
{
    int most = (int)(strlen(word) / 3 + 1), best = most < 4 ? most + 1 : 4;
    out[0] = 0;
    const char *w;
    for (int i = 0; (w = next(list, i)); i++) {
        int d = text_distance(word, w, best);
        if (d < best) {
            best = d;
            snprintf(out, cap, "; did you mean '%s'?", w);
        }
    }
}

/* ---- parsers: one for each type; false with b->want, or true and the value is at its place ---- */

#define PLACE(type) ((type *)((char *)base + k->at))

static bool parse_text(struct build *b, const struct key *k, const char *text, void *base)
{
    *PLACE(char *) = keep(b, str_of(text));
    return true;
}

static bool parse_path(struct build *b, const struct key *k, const char *text, void *base)
{
    struct buf path = { 0 };
    if (text[0] != '/')
        buf_addf(&path, "%s/", b->folder);
    buf_adds(&path, text);
    *PLACE(char *) = path.failed ? NULL : keep(b, buf_str(&path));
    b->ini.failed |= path.failed;
    buf_clear(&path);
    return true;
}

/* The end of "scheme://", or NULL. */
static const char *behind_scheme(const char *uri)
{
    const char *p = uri;
    while (isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.')
        p++;
    return p > uri && strncmp(p, "://", 3) == 0 ? p + 3 : NULL;
}

/* The "user:password@" of a URI: 0 none, 1 a user, 2 a user with a password; *host is what follows. */
static int userinfo(const char *authority, const char **host)
{
    size_t n = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', n);
    *host = at ? at + 1 : authority;
    return !at ? 0 : memchr(authority, ':', (size_t)(at - authority)) ? 2 : 1;
}

static bool parse_url(struct build *b, const struct key *k, const char *text, void *base)
{
    const char *authority = behind_scheme(text), *host;
    int user = authority ? userinfo(authority, &host) : 0;
    if (user == 2)
        return want(b, "no password here, for it would reach the database and the log; set password= in a [remote NAME] section");
    if (k->scope == AT_REMOTE && user)
        return want(b, "no user in the url; set user=");
    if (k->scope != AT_PIPELINE && !authority)
        return want(b, "scheme://..., such as %s", k->scope == AT_TARGET ? "sqlite:///var/lib/qetl/warehouse.db" : "https://data.example.org/");
    return parse_text(b, k, text, base);
}

static bool parse_secret(struct build *b, const struct key *k, const char *text, void *base)
{
    if (strncmp(text, "@file:", 6) == 0 && text[6] != '/')
        return want(b, "a path that begins with / behind @file:");
    if (strncmp(text, "@credential:", 12) == 0 && (!text[12] || text[12] == '.' || strchr(text + 12, '/')))
        return want(b, "the name of a systemd credential behind @credential:");
    return parse_text(b, k, text, base);
}

static bool in_range(const struct key *k, int64_t v) { return v >= k->min && v <= k->max; }

static bool parse_number(struct build *b, const struct key *k, const char *text, void *base)
{
    int64_t v;
    if (!text_int(str_of(text), &v) || !in_range(k, v))
        return want(b, "a whole number from %lld to %lld", (long long)k->min, (long long)k->max);
    *PLACE(int64_t) = v;
    return true;
}

/* The range of a size or duration, for people. */
static void range_text(const struct key *k, char low[32], char high[32])
{
    void (*put)(char *, size_t, int64_t) = k->type == KEY_SIZE ? text_put_size : text_put_duration;
    put(low, 32, k->min);
    put(high, 32, k->max);
}

static bool parse_size(struct build *b, const struct key *k, const char *text, void *base)
{
    char low[32], high[32];
    int64_t v;
    if (!text_size(str_of(text), &v) || !in_range(k, v)) {
        range_text(k, low, high);
        return want(b, "a size such as 64K, 10M or 2G, from %s to %s", low, high);
    }
    *PLACE(int64_t) = v;
    return true;
}

static bool parse_duration(struct build *b, const struct key *k, const char *text, void *base)
{
    char low[32], high[32];
    int64_t v;
    if (!text_duration(str_of(text), &v) || !in_range(k, v)) {
        range_text(k, low, high);
        return want(b, "a duration such as 250ms, 10s, 5m or 2h, from %s to %s", low, high);
    }
    *PLACE(int64_t) = v;
    return true;
}

static const char *next_word(const void *list, int i) { return ((const char *const *)list)[i]; }

/* Index of text among the words; -1 with b->want. */
static int word_index(struct build *b, const struct key *k, const char *text)
{
    struct buf all = { 0 };
    for (int i = 0; k->words[i]; i++) {
        if (strcmp(k->words[i], text) == 0) {
            buf_clear(&all);
            return i;
        }
        buf_addf(&all, "%s%s", !i ? "" : k->words[i + 1] ? ", " : " or ", k->words[i]);
    }
    char hint[100];
    nearest(hint, sizeof hint, text, next_word, k->words);
    want(b, "%s%s", all.failed ? "another word" : all.p, hint);
    buf_clear(&all);
    return -1;
}

static bool parse_yes(struct build *b, const struct key *k, const char *text, void *base)
{
    static const char *const same[][2] = { { "false", "no" }, { "off", "no" }, { "0", "no" }, { "true", "yes" }, { "on", "yes" }, { "1", "yes" } };
    for (size_t i = 0; k->words == yes_no && i < COUNT_OF(same); i++)
        if (strcmp(text, same[i][0]) == 0)
            text = same[i][1];
    int i = word_index(b, k, text);
    if (i >= 0)
        *PLACE(bool) = i;
    return i >= 0;
}

static bool parse_word(struct build *b, const struct key *k, const char *text, void *base)
{
    _Static_assert(sizeof(enum encoding) == sizeof(int) && sizeof(enum load_mode) == sizeof(int), "enums are ints");
    int i = word_index(b, k, text);
    if (i >= 0)
        *PLACE(int) = i;
    return i >= 0;
}

static bool parse_name(struct build *b, const struct key *k, const char *text, void *base)
{
    return word_index(b, k, text) >= 0 && parse_text(b, k, text, base);
}

static const struct char_word {
    const char *word;
    char c;
} char_words[] = { { "none", 0 },     { "tab", '\t' },  { "\\t", '\t' },     { "comma", ',' },
                   { "semicolon", ';' }, { "pipe", '|' }, { "space", ' ' },     { "backslash", '\\' },
                   { "colon", ':' } };

static bool parse_char(struct build *b, const struct key *k, const char *text, void *base)
{
    size_t n = strlen(text);
    bool quoted = n == 3 && text[0] == text[2] && (text[0] == '"' || text[0] == '\'');
    char c = quoted ? text[1] : text[0];
    if (n == 1 || quoted) {
        if ((unsigned char)c < 0x80 && (c == '\t' || c >= ' ') && !isalnum((unsigned char)c)) {
            *PLACE(char) = c;
            return true;
        }
    } else {
        for (size_t i = k->min == 1; i < COUNT_OF(char_words); i++)
            if (strcmp(text, char_words[i].word) == 0) {
                *PLACE(char) = char_words[i].c;
                return true;
            }
    }
    return want(b, "one ASCII sign, one in quotes such as \";\", or one of the words tab, comma, semicolon, pipe, space, colon, backslash%s",
                k->min == 1 ? "" : ", none");
}

/* Is it "Name: value" with a token (RFC 9110, 5.6.2) and no control characters? */
static bool header_ok(struct str line)
{
    size_t n = 0;
    while (n < line.n && (isalnum((unsigned char)line.p[n]) || (line.p[n] && strchr("!#$%&'*+-.^_`|~", line.p[n]))))
        n++;
    if (!n || n == line.n || line.p[n] != ':')
        return false;
    for (size_t i = n; i < line.n; i++)
        if (iscntrl((unsigned char)line.p[i]) && line.p[i] != '\t')
            return false;
    return true;
}

static bool parse_header(struct build *b, const struct key *k, const char *text, void *base)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        if (n && !header_ok((struct str){ p, n }))
            return want(b, "Name: value, one header a line");
        p += n + (p[n] == '\n');
    }
    return parse_text(b, k, text, base);
}

/* The next token of a list with commas between, trimmed, its quotes taken away; 1, 0 at the end, -1 not a list. */
static int list_next(const char **at, struct buf *out)
{
    const char *p = *at + strspn(*at, " \t\n");
    buf_reset(out);
    buf_adds(out, "");
    if (*p == '"') {
        for (p++; *p && (*p != '"' || p[1] == '"'); p++) {
            p += *p == '"';
            buf_addc(out, *p);
        }
        if (*p++ != '"')
            return -1;
        p += strspn(p, " \t\n");
    } else {
        size_t n = strcspn(p, ",\n\""), kept = n;
        while (kept && (p[kept - 1] == ' ' || p[kept - 1] == '\t'))
            kept--;
        if (!kept)
            return -1;
        buf_add(out, p, kept);
        p += n;
        p += strspn(p, " \t\n");
    }
    if (*p && *p != ',')
        return -1;
    *at = p;
    return 1;
}

static bool parse_list(struct build *b, const struct key *k, const char *text, void *base)
{
    /* the count stands behind the pointer in struct recipe, for both lists */
    _Static_assert(offsetof(struct recipe, nnulls) == offsetof(struct recipe, nulls) + sizeof(char **) &&
                       offsetof(struct recipe, nkey) == offsetof(struct recipe, key) + sizeof(char **),
                   "lists are pointer and count");
    int n = 0, room = 1;
    for (const char *p = text; *p; p++)
        room += *p == ',';
    char **list = zeroed(b, (size_t)room, sizeof *list);
    struct buf token = { 0 };
    bool good = list != NULL;
    for (const char *p = text; good && *text; p++) {
        if (list_next(&p, &token) < 0) {
            good = want(b, "names with commas between; quotes around those with a comma or space in them");
            break;
        }
        list[n++] = token.failed ? NULL : keep(b, buf_str(&token));
        if (!*p)
            break;
    }
    b->ini.failed |= token.failed;
    buf_clear(&token);
    if (good) {
        *PLACE(char **) = list;
        *(int *)((char *)base + k->at + sizeof list) = n;
    }
    return good;
}

static bool parse_zone(struct build *b, const struct key *k, const char *text, void *base)
{
    if (!zone_preload(text)) /* the reader has no files: it finds the zone in memory */
        return want(b, "a zone that this machine knows, such as Europe/Berlin, or +02:00 (is the package tzdata installed?)");
    return parse_text(b, k, text, base);
}

static bool parse_table(struct build *b, const struct key *k, const char *text, void *base)
{
    struct recipe *r = base;
    const char *dot = strchr(text, '.'), *last = strrchr(text, '.');
    if (!dot || dot == text || !last[1])
        return want(b, "TARGET.TABLE, with TARGET the name of a [target NAME] section");
    if (strncasecmp(last + 1, "qetl_", 5) == 0)
        return want(b, "another name: qetl keeps its ledger in tables that begin with qetl_");
    r->target = keep(b, (struct str){ text, (size_t)(dot - text) });
    r->table_name = keep(b, str_of(dot + 1));
    return parse_text(b, k, text, base);
}

/* "1%" or "100" into *limit; false: neither, or given already. */
static bool reject_token(struct str t, struct reject_limit *limit)
{
    double share;
    int64_t count;
    if (t.n && t.p[t.n - 1] == '%') {
        if (limit->share >= 0 || !text_real((struct str){ t.p, t.n - 1 }, &share) || share < 0 || share > 100)
            return false;
        limit->share = share / 100;
        return true;
    }
    if (limit->count >= 0 || !text_int(t, &count) || count < 0)
        return false;
    limit->count = count;
    return true;
}

static bool parse_rejects(struct build *b, const struct key *k, const char *text, void *base)
{
    struct reject_limit limit = { -1, -1 };
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        if (!reject_token(str_trim((struct str){ p, n }), &limit))
            return want(b, "a number of rows, a share such as 1%%, or both with a comma between");
        p += n;
        if (!*p)
            break;
    }
    *PLACE(struct reject_limit) = limit;
    return true;
}

static const struct type_def {
    const char *name; /* in the manual */
    bool (*parse)(struct build *, const struct key *, const char *text, void *base);
} types[KEY_TYPES] = {
    [KEY_TEXT] = { "text", parse_text },         [KEY_PATH] = { "path", parse_path },
    [KEY_URL] = { "URI", parse_url },            [KEY_SECRET] = { "secret", parse_secret },
    [KEY_NUMBER] = { "number", parse_number },   [KEY_SIZE] = { "size", parse_size },
    [KEY_DURATION] = { "duration", parse_duration }, [KEY_YES] = { "word", parse_yes },
    [KEY_WORD] = { "word", parse_word },         [KEY_NAME] = { "word", parse_name },
    [KEY_CHAR] = { "sign", parse_char },         [KEY_HEADER] = { "lines", parse_header },
    [KEY_COLUMNS] = { "columns", parse_text },   [KEY_LIST] = { "list", parse_list },
    [KEY_ZONE] = { "zone", parse_zone },         [KEY_TABLE] = { "table", parse_table },
    [KEY_REJECTS] = { "number, share", parse_rejects },
};

/* ---- keys into structs ---- */

/* Do the keys of scope s stand in sections of def? */
static bool scope_in(enum scope s, const struct section_def *def) { return &section_defs[s == AT_RECIPE ? AT_PIPELINE : s] == def; }

static const struct key *key_find(const struct section_def *def, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (scope_in(keys[i].scope, def) && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static const char *next_key(const void *def, int n)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (scope_in(keys[i].scope, def) && n-- == 0)
            return keys[i].name;
    return NULL;
}

static void defaults(struct build *b, enum scope scope, void *base)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct key *k = &keys[i];
        if (k->scope == scope && k->def && !types[k->type].parse(b, k, k->def, base))
            assert(b->ini.failed || !"a default that its own key refuses");
    }
    if (scope == AT_RECIPE)
        ((struct recipe *)base)->nnulls = -1;
}

static const char *label(const struct build *b, int section) { return b->ini.sections[section].text; }

static void fault(struct build *b, const struct ini_entry *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fault(struct build *b, const struct ini_entry *e, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ini_fault(&b->ini, e->file, e->line, "[%s] %s: %s", label(b, e->section), e->name, text);
}

/* The entry of the key in this section, in front of `before` (or anywhere: NULL). Sections without a name may stand in pieces. */
static const struct ini_entry *entry_find(const struct build *b, int section, const char *name, const struct ini_entry *before)
{
    const struct bound *own = &b->bound[section];
    for (int i = 0; i < b->ini.nentries && &b->ini.entries[i] != before; i++) {
        const struct ini_entry *e = &b->ini.entries[i];
        if ((e->section == section || (b->bound[e->section].def == own->def && !own->def->named)) && strcmp(e->name, name) == 0)
            return e;
    }
    return NULL;
}

static void unknown_key(struct build *b, const struct ini_entry *e)
{
    const struct bound *s = &b->bound[e->section];
    char hint[200];
    nearest(hint, sizeof hint, e->name, next_key, s->def);
    for (size_t i = 0; !hint[0] && i < COUNT_OF(keys); i++)
        if (strcmp(keys[i].name, e->name) == 0)
            snprintf(hint, sizeof hint, "; it belongs in [%s]", section_defs[keys[i].scope == AT_RECIPE ? AT_PIPELINE : keys[i].scope].name);
    fault(b, e, "unknown key%s", hint);
}

static void bad_value(struct build *b, const struct key *k, const struct ini_entry *e)
{
    if (k->type == KEY_SECRET || k->type == KEY_URL || k->type == KEY_HEADER)
        fault(b, e, "expected %s", b->want);
    else
        fault(b, e, "'%.200s': expected %s", e->value, b->want);
}

static void entry_apply(struct build *b, const struct ini_entry *e)
{
    const struct bound *s = &b->bound[e->section];
    if (!s->def || !e->value)
        return;
    const struct key *k = key_find(s->def, e->name);
    const struct ini_entry *twice = k ? entry_find(b, e->section, e->name, e) : NULL;
    if (!k)
        unknown_key(b, e);
    else if (twice)
        fault(b, e, "given twice, first in %s:%d", b->ini.files[twice->file], twice->line);
    else if (s->part && (k->scope == AT_PIPELINE || k->flags & WHOLE))
        fault(b, e, "belongs in [pipeline %s]: it is about all its parts", s->name);
    else if (!*e->value && !(k->flags & EMPTY))
        fault(b, e, "a value is missing%s", k->type == KEY_CHAR ? " (a semicolon begins a comment: write the word semicolon)" : "");
    else if (strchr(e->value, '\n') && !(k->flags & LINES))
        fault(b, e, "takes one line, but the next one begins with white space and so belongs to it");
    else if (!types[k->type].parse(b, k, e->value, k->scope == AT_RECIPE ? (void *)s->recipe : s->object))
        bad_value(b, k, e);
}

static void environment(struct build *b)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct key *k = &keys[i];
        char name[64] = "QETL_";
        if (k->scope != AT_QETL)
            continue;
        for (size_t n = 0; n <= strlen(k->name); n++)
            name[5 + n] = (char)toupper((unsigned char)k->name[n]);
        const char *value = getenv(name);
        if (value && *value && !types[k->type].parse(b, k, value, b->c))
            ini_fault(&b->ini, -1, 0, "%s: '%.200s': expected %s", name, value, b->want);
    }
}

/* ---- sections ---- */

static bool name_ok(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && (s[i] != '-' || i == 0))
            return false;
    return n > 0 && n <= 64;
}

static const char *next_section(const void *list, int i)
{
    (void)list;
    return (size_t)i < COUNT_OF(section_defs) ? section_defs[i].name : NULL;
}

/* Takes the heading apart: kind, name, part. A fault leaves def NULL. */
static void section_read(struct build *b, int i)
{
    const struct ini_section *s = &b->ini.sections[i];
    struct bound *to = &b->bound[i];
    to->parent = -1;
    if (!s->text || !*s->text)
        return;
    size_t n = strcspn(s->text, " \t");
    const char *name = s->text + n + strspn(s->text + n, " \t");
    const struct section_def *def = NULL;
    char *kind = keep(b, (struct str){ s->text, n }), hint[100];
    for (size_t d = 0; kind && d < COUNT_OF(section_defs); d++)
        if (strcmp(kind, section_defs[d].name) == 0)
            def = &section_defs[d];
    if (!def && kind) {
        nearest(hint, sizeof hint, kind, next_section, NULL);
        ini_fault(&b->ini, s->file, s->line, "[%s]: unknown section%s", s->text, hint);
        return;
    }
    const char *dot = def == &section_defs[AT_PIPELINE] ? strchr(name, '.') : NULL;
    size_t len = dot ? (size_t)(dot - name) : strlen(name);
    if (!def || (!def->named && !*name)) {
        to->def = def;
    } else if (!def->named) {
        ini_fault(&b->ini, s->file, s->line, "[%s]: expected [%s], without a name", s->text, def->name);
    } else if (!name_ok(name, len) || (dot && !name_ok(dot + 1, strlen(dot + 1)))) {
        ini_fault(&b->ini, s->file, s->line, "[%s]: expected [%s NAME]%s, with a NAME of letters, digits, _ and -, at most 64", s->text, def->name,
                  def == &section_defs[AT_PIPELINE] ? " or [pipeline NAME.PART]" : "");
    } else {
        to->def = def;
        to->name = keep(b, (struct str){ name, len });
        to->part = dot ? keep(b, str_of(dot + 1)) : NULL;
        if (!to->name || (dot && !to->part))
            to->def = NULL;
    }
}

static bool same_name(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

/* Two headings of one name would hide a copy that was meant to be changed. */
static void section_twice(struct build *b, int i)
{
    struct bound *s = &b->bound[i];
    for (int j = 0; s->def && s->def->named && j < i; j++) {
        const struct bound *o = &b->bound[j];
        if (o->def == s->def && same_name(o->name, s->name) && same_name(o->part, s->part)) {
            ini_fault(&b->ini, b->ini.sections[i].file, b->ini.sections[i].line, "[%s]: given twice, first in %s:%d", label(b, i),
                      b->ini.files[b->ini.sections[j].file], b->ini.sections[j].line);
            s->def = NULL;
        }
    }
}

static int count(const struct build *b, enum scope scope)
{
    int n = 0;
    for (int i = 0; i < b->ini.nsections; i++)
        n += b->bound[i].def == &section_defs[scope] && !b->bound[i].part;
    return n;
}

/* Parts find their pipeline; a pipeline without parts has its own recipe as the only one. */
static void parts_bind(struct build *b, int i)
{
    struct bound *own = &b->bound[i];
    struct pipeline *p = own->pipeline;
    int n = 0;
    for (int j = 0; j < b->ini.nsections; j++)
        if (b->bound[j].part && b->bound[j].def && same_name(b->bound[j].name, own->name)) {
            b->bound[j].parent = i;
            if (++n > CONFIG_PARTS_MAX)
                ini_fault(&b->ini, b->ini.sections[j].file, b->ini.sections[j].line, "[%s]: expected at most %d parts of a pipeline", label(b, j),
                          CONFIG_PARTS_MAX);
        }
    p->nparts = n ? n : 1;
    p->parts = zeroed(b, (size_t)p->nparts, sizeof *p->parts);
    own->recipe = n ? zeroed(b, 1, sizeof *p->parts) : p->parts;
    n = 0;
    for (int j = 0; j < b->ini.nsections; j++)
        if (b->bound[j].parent == i) {
            b->bound[j].pipeline = p;
            b->bound[j].recipe = p->parts ? &p->parts[n++] : NULL;
        }
}

static void sections_bind(struct build *b)
{
    struct config *c = b->c;
    c->remotes = zeroed(b, (size_t)count(b, AT_REMOTE), sizeof *c->remotes);
    c->targets = zeroed(b, (size_t)count(b, AT_TARGET), sizeof *c->targets);
    c->pipelines = zeroed(b, (size_t)count(b, AT_PIPELINE), sizeof *c->pipelines);
    for (int i = 0; !b->ini.failed && i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (s->def == &section_defs[AT_REMOTE]) {
            struct remote *r = s->object = &c->remotes[c->nremotes++];
            r->name = s->name;
            defaults(b, AT_REMOTE, r);
        } else if (s->def == &section_defs[AT_TARGET]) {
            struct target_config *t = s->object = &c->targets[c->ntargets++];
            t->name = s->name;
            defaults(b, AT_TARGET, t);
        } else if (s->def == &section_defs[AT_PIPELINE] && !s->part) {
            s->pipeline = s->object = &c->pipelines[c->npipelines++];
            s->pipeline->name = s->name;
            defaults(b, AT_PIPELINE, s->pipeline);
            parts_bind(b, i);
            if (s->recipe) {
                defaults(b, AT_RECIPE, s->recipe);
                s->recipe->name = s->name;
            }
        } else if (s->def && !s->part) {
            s->object = c;
        }
    }
}

static const char *next_pipeline(const void *c, int i)
{
    return i < ((const struct config *)c)->npipelines ? ((const struct config *)c)->pipelines[i].name : NULL;
}

static void orphan_parts(struct build *b)
{
    for (int i = 0; i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (!s->def || !s->part || s->parent >= 0)
            continue;
        char hint[200];
        nearest(hint, sizeof hint, s->name, next_pipeline, b->c);
        ini_fault(&b->ini, b->ini.sections[i].file, b->ini.sections[i].line, "[%s]: there is no [pipeline %s]%s", label(b, i), s->name, hint);
        s->def = NULL;
    }
}

static void keys_without_section(struct build *b)
{
    for (int i = 0; i < b->ini.nentries; i++) {
        const struct ini_entry *e = &b->ini.entries[i];
        const struct ini_section *s = &b->ini.sections[e->section];
        if (s->text && !*s->text)
            ini_fault(&b->ini, e->file, e->line, "%s: expected a [section] before the first key", e->name);
    }
}

static void fill(struct build *b)
{
    for (int i = 0; i < b->ini.nsections; i++)
        section_read(b, i);
    for (int i = 0; i < b->ini.nsections; i++)
        section_twice(b, i);
    keys_without_section(b);
    sections_bind(b);
    orphan_parts(b);
    for (int i = 0; !b->ini.failed && i < b->ini.nentries; i++)
        if (!b->bound[b->ini.entries[i].section].part)
            entry_apply(b, &b->ini.entries[i]);
    for (int i = 0; !b->ini.failed && i < b->ini.nsections; i++) {
        struct bound *s = &b->bound[i];
        if (!s->def || !s->part)
            continue;
        struct buf name = { 0 };
        buf_addf(&name, "%s.%s", s->name, s->part);
        *s->recipe = *b->bound[s->parent].recipe;
        s->recipe->name = name.failed ? NULL : keep(b, buf_str(&name));
        b->ini.failed |= name.failed;
        buf_clear(&name);
    }
    for (int i = 0; !b->ini.failed && i < b->ini.nentries; i++)
        if (b->bound[b->ini.entries[i].section].part)
            entry_apply(b, &b->ini.entries[i]);
    environment(b);
}

/* ---- checks over more than one key ---- */

/* A fault at the key of a section, of its pipeline where the part does not have it, or at the heading. */
static void check_fault(struct build *b, int section, const char *key, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void check_fault(struct build *b, int section, const char *key, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const struct ini_entry *e = entry_find(b, section, key, NULL);
    if (!e && b->bound[section].parent >= 0)
        e = entry_find(b, b->bound[section].parent, key, NULL);
    const struct ini_section *s = &b->ini.sections[e ? e->section : section];
    ini_fault(&b->ini, e ? e->file : s->file, e ? e->line : s->line, "[%s] %s: %s", s->text, key, text);
}

static bool given(const struct build *b, int section, const char *key)
{
    return entry_find(b, section, key, NULL) || (b->bound[section].parent >= 0 && entry_find(b, b->bound[section].parent, key, NULL));
}

static void check_remote(struct build *b, int i)
{
    const struct remote *r = b->bound[i].object;
    if (!r->url) {
        if (!given(b, i, "url"))
            check_fault(b, i, "url", "missing: the beginning of the URIs this is about");
        return;
    }
    if (strncasecmp(r->url, "sftp://", 7) == 0 && !r->known_hosts && !r->host_key_sha256)
        check_fault(b, i, "url", "an sftp host needs known_hosts or host_key_sha256; without one anybody could stand in for it");
    for (const struct remote *o = b->c->remotes; o < r; o++)
        if (o->url && strcmp(o->url, r->url) == 0)
            check_fault(b, i, "url", "[remote %s] has the same url", o->name);
}

static void check_target(struct build *b, int i)
{
    if (!given(b, i, "url"))
        check_fault(b, i, "url", "missing: the warehouse, such as sqlite:///var/lib/qetl/warehouse.db");
}

static const char *next_target(const void *c, int i)
{
    return i < ((const struct config *)c)->ntargets ? ((const struct config *)c)->targets[i].name : NULL;
}

static void check_table(struct build *b, int i, const struct recipe *r)
{
    if (!r->table && !given(b, i, "table"))
        check_fault(b, i, "table", "missing: TARGET.TABLE");
    if (!r->target || config_target(b->c, r->target))
        return;
    char hint[200];
    nearest(hint, sizeof hint, r->target, next_target, b->c);
    check_fault(b, i, "table", "there is no [target %s]%s", r->target, hint);
}

static void check_columns(struct build *b, int i, struct recipe *r)
{
    struct err err;
    const char *bad;
    if (!r->columns_text)
        return;
    if (columns_parse(&r->columns, r->columns_text, &err) < 0) {
        check_fault(b, i, "columns", "%s", err.msg);
        return;
    }
    for (int c = 0; c < r->columns.n; c++)
        if (r->columns.v[c].format && !text_fmt_valid(r->columns.v[c].format, &bad))
            check_fault(b, i, "columns", "%s: the format has '%.2s', which is not one of its parts", r->columns.v[c].name, bad);
}

static void check_key(struct build *b, int i, const struct recipe *r)
{
    if (r->mode == MODE_UPSERT && !r->nkey && !given(b, i, "key"))
        check_fault(b, i, "mode", "upsert needs key=, the columns that name a row");
    for (int k = 0; k < r->nkey && !b->ini.failed; k++) {
        if (r->columns.n && columns_find(&r->columns, str_of(r->key[k])) < 0)
            check_fault(b, i, "key", "'%s' is not among the columns", r->key[k]);
        for (int j = 0; j < k; j++)
            if (strcasecmp(r->key[j], r->key[k]) == 0)
                check_fault(b, i, "key", "'%s' is there twice", r->key[k]);
    }
}

static void check_signs(struct build *b, int i, const struct recipe *r)
{
    const struct { const char *key; char c; } signs[] = {
        { "delimiter", r->delimiter }, { "quote", r->quote }, { "escape", r->escape }, { "comment", r->comment }
    };
    for (size_t k = 1; k < COUNT_OF(signs); k++)
        for (size_t j = 0; j < k; j++)
            if (signs[k].c && signs[k].c == signs[j].c)
                check_fault(b, i, given(b, i, signs[k].key) ? signs[k].key : signs[j].key, "%s and %s are the same sign", signs[j].key,
                            signs[k].key);
    if (r->decimal_point != '.' && r->decimal_point != ',')
        check_fault(b, i, "decimal_point", "expected . or ,");
}

static void check_recipe(struct build *b, int i)
{
    struct recipe *r = b->bound[i].recipe;
    check_table(b, i, r);
    check_columns(b, i, r);
    check_key(b, i, r);
    check_signs(b, i, r);
}

static void check_pipeline(struct build *b, int i)
{
    const struct pipeline *p = b->bound[i].pipeline;
    if (p->backoff_ms > p->backoff_max_ms)
        check_fault(b, i, given(b, i, "backoff_max") ? "backoff_max" : "backoff", "expected backoff_max to be at least backoff");
    if (p->source && strncasecmp(p->source, "sftp://", 7) == 0 && !config_remote(b->c, p->source))
        check_fault(b, i, "source", "an sftp host needs a [remote NAME] section with known_hosts or host_key_sha256");
    for (int k = 1; k < p->nparts; k++)
        for (int j = 0; j < k; j++)
            if (p->parts[k].mode == MODE_REPLACE && p->parts[k].table && p->parts[j].table && strcasecmp(p->parts[k].table, p->parts[j].table) == 0)
                check_fault(b, i, "mode", "parts '%s' and '%s' would replace each other's rows in table %s", p->parts[j].name, p->parts[k].name,
                            p->parts[k].table);
}

static void check(struct build *b)
{
    int worker = -1;
    for (int i = 0; i < b->ini.nsections && !b->ini.failed; i++) {
        const struct bound *s = &b->bound[i];
        if (s->def == &section_defs[AT_REMOTE])
            check_remote(b, i);
        else if (s->def == &section_defs[AT_TARGET])
            check_target(b, i);
        else if (s->def == &section_defs[AT_WORKER])
            worker = i;
        if (s->def == &section_defs[AT_PIPELINE] && s->object)
            check_pipeline(b, i);
        if (s->def == &section_defs[AT_PIPELINE] && (s->part || s->recipe == s->pipeline->parts))
            check_recipe(b, i);
    }
    if (worker >= 0 && b->c->heartbeat_ms > b->c->lease_ms / 2)
        check_fault(b, worker, given(b, worker, "heartbeat") ? "heartbeat" : "lease", "expected heartbeat to be at most half of lease");
}

/* ---- files ---- */

static int ini_name(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 4 && strcmp(d->d_name + n - 4, ".ini") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int read_folder(struct build *b, struct err *err)
{
    struct dirent **names;
    struct buf path = { 0 };
    buf_addf(&path, "%s/conf.d", b->folder);
    if (path.failed)
        return err_nomem(err);
    int n = scandir(path.p, &names, ini_name, by_name), rc = 0;
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        rc = err_sys(err, "read the folder '%s'", path.p);
        err->code = ERR_CONFIG;
    }
    size_t folder = path.n;
    for (int i = 0; i < n; i++) {
        path.n = folder;
        buf_addf(&path, "/%s", names[i]->d_name);
        if (rc == 0)
            rc = path.failed ? err_nomem(err) : ini_read(&b->ini, path.p, err);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    buf_clear(&path);
    return rc;
}

/* The absolute folder of a file, malloc'ed. */
static char *folder_of(const char *file)
{
    char *real = realpath(file, NULL), *slash = real ? strrchr(real, '/') : NULL;
    if (slash)
        slash[slash == real ? 1 : 0] = 0;
    return real;
}

/* The faults as lines; the first into *err. */
static int faults_out(struct build *b, struct buf *faults, struct err *err)
{
    ini_sort_faults(&b->ini);
    for (int i = 0; i < b->ini.nfaults; i++) {
        const struct ini_fault *f = &b->ini.faults[i];
        struct buf line = { 0 };
        if (f->file < 0)
            buf_addf(&line, "environment: %s", f->text);
        else
            buf_addf(&line, "%s:%d: %s", b->ini.files[f->file], f->line, f->text);
        if (i == 0)
            err_set(err, ERR_CONFIG, "%s", line.failed ? f->text : line.p);
        if (faults)
            buf_addf(faults, "%s\n", line.failed ? f->text : line.p);
        buf_clear(&line);
    }
    return b->ini.nfaults ? -1 : 0;
}

static int load(struct build *b, const char *file, struct buf *faults, struct err *err)
{
    if (ini_read(&b->ini, file, err) < 0)
        return -1;
    if (!(b->folder = folder_of(file)) || !(b->c->path = keep(b, str_of(file))))
        return err_sys(err, "find the folder of '%s'", file);
    if (read_folder(b, err) < 0)
        return -1;
    b->bound = zeroed(b, (size_t)b->ini.nsections, sizeof *b->bound);
    for (enum scope s = AT_QETL; s <= AT_LIMITS; s++)
        defaults(b, s, b->c);
    if (!b->ini.failed)
        fill(b);
    if (!b->ini.failed)
        check(b);
    if (b->ini.failed)
        return err_nomem(err);
    return faults_out(b, faults, err);
}

int config_load(struct config **out, const char *file, struct buf *faults, struct err *err)
{
    const char *env = getenv("QETL_CONFIG");
    struct build b = { .c = calloc(1, sizeof *b.c) };
    if (!b.c)
        return err_nomem(err);
    int rc = load(&b, file ? file : env && *env ? env : QETL_CONFIG_FILE, faults, err);
    if (rc < 0 && faults && faults->n == 0)
        buf_addf(faults, "%s\n", err->msg);
    ini_clear(&b.ini);
    free(b.folder);
    if (rc < 0)
        config_free(b.c);
    else
        *out = b.c;
    return rc;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->npipelines; i++)
        for (int j = 0; c->pipelines[i].parts && j < c->pipelines[i].nparts; j++)
            columns_clear(&c->pipelines[i].parts[j].columns);
    arena_clear(&c->arena);
    free(c);
}

/* ---- look-ups ---- */

const struct pipeline *config_pipeline(const struct config *c, const char *name)
{
    for (int i = 0; i < c->npipelines; i++)
        if (strcmp(c->pipelines[i].name, name) == 0)
            return &c->pipelines[i];
    return NULL;
}

int config_no_pipeline(const struct config *c, const char *name, struct err *err)
{
    char hint[200];
    nearest(hint, sizeof hint, name, next_pipeline, c);
    return err_set(err, ERR_NOT_FOUND, "there is no [pipeline %s] in %s%s", name, c->path, hint);
}

const struct target_config *config_target(const struct config *c, const char *name)
{
    for (int i = 0; i < c->ntargets; i++)
        if (strcmp(c->targets[i].name, name) == 0)
            return &c->targets[i];
    return NULL;
}

/* Does url begin uri, with the same scheme and the same host[:port] as a whole? */
static bool url_begins(const char *url, const char *uri)
{
    const char *ua = behind_scheme(url), *va = behind_scheme(uri), *uhost, *vhost;
    if (!ua || !va || ua - url != va - uri || strncasecmp(url, uri, (size_t)(ua - url)) != 0)
        return false;
    (void)userinfo(ua, &uhost);
    (void)userinfo(va, &vhost);
    size_t un = strcspn(uhost, "/?#"), vn = strcspn(vhost, "/?#");
    return un == vn && strncasecmp(uhost, vhost, un) == 0 && strncmp(uhost + un, vhost + vn, strlen(uhost + un)) == 0;
}

const struct remote *config_remote(const struct config *c, const char *uri)
{
    const struct remote *best = NULL;
    for (int i = 0; i < c->nremotes; i++) {
        const struct remote *r = &c->remotes[i];
        if (r->url && url_begins(r->url, uri) && (!best || strlen(r->url) > strlen(best->url)))
            best = r;
    }
    return best;
}

/* ---- secrets ---- */

enum { SECRET_MAX = 64 * 1024 };

void secret_clear(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

/* The whole of a small file without the newline at its end. */
static int secret_read(const char *path, bool must_be_private, char **out, struct err *err)
{
    struct stat st;
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_sys(err, "read the secret in '%s'", path);
        err->code = ERR_CONFIG;
        return -1;
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFIG, "the secret '%s' is not a file", path);
    if (must_be_private && st.st_mode & S_IROTH)
        return err_set(err, ERR_CONFIG, "the secret '%s' can be read by everyone: chmod o-r '%s'", path, path);
    char *p = calloc(1, SECRET_MAX + 1);
    if (!p)
        return err_nomem(err);
    ssize_t n = 0, got = 1;
    while (got > 0 && n < SECRET_MAX)
        if ((got = read(fd, p + n, (size_t)(SECRET_MAX - n))) > 0)
            n += got;
    int rc = 0;
    if (got < 0)
        rc = err_sys(err, "read the secret in '%s'", path);
    else if (n == SECRET_MAX || memchr(p, 0, (size_t)n))
        rc = err_set(err, ERR_CONFIG, "the secret '%s' is longer than 64 KiB, or has a NUL byte in it", path);
    if (n && p[n - 1] == '\n')
        p[--n] = 0;
    if (n && p[n - 1] == '\r')
        p[--n] = 0;
    if (rc == 0 && n == 0)
        rc = err_set(err, ERR_CONFIG, "the secret '%s' is empty", path);
    if (rc < 0) {
        explicit_bzero(p, SECRET_MAX);
        free(p);
        return -1;
    }
    *out = p;
    return 0;
}

int config_secret(const char *value, char **out, struct err *err)
{
    if (strncmp(value, "@file:", 6) == 0)
        return secret_read(value + 6, true, out, err);
    if (strncmp(value, "@credential:", 12) != 0) {
        char *p = strdup(value);
        if (!p)
            return err_nomem(err);
        *out = p;
        return 0;
    }
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder)
        return err_set(err, ERR_CONFIG, "%s is only there under systemd, by LoadCredential= in a drop-in of the unit", value);
    struct buf path = { 0 };
    buf_addf(&path, "%s/%s", folder, value + 12);
    int rc = path.failed ? err_nomem(err) : secret_read(path.p, false, out, err);
    buf_clear(&path);
    return rc;
}

/* ---- the manual ---- */

/* "1 to 256", "text or json", or nothing. */
static void print_range(const struct key *k, struct buf *out)
{
    char low[32], high[32];
    for (int i = 0; k->words && k->words[i]; i++)
        buf_addf(out, "%s%s", !i ? "" : k->words[i + 1] ? ", " : " or ", k->words[i]);
    if (k->type == KEY_NUMBER)
        buf_addf(out, "%lld to %lld", (long long)k->min, (long long)k->max);
    if (k->type != KEY_SIZE && k->type != KEY_DURATION)
        return;
    range_text(k, low, high);
    buf_addf(out, "%s to %s", low, high);
}

void config_print_keys(struct buf *out)
{
    for (size_t s = 0; s < COUNT_OF(section_defs); s++) {
        const struct section_def *def = &section_defs[s];
        buf_addf(out, "section\t%s%s\t%s\n", def->name, def->named ? " NAME" : "", def->help);
        for (size_t i = 0; i < COUNT_OF(keys); i++) {
            const struct key *k = &keys[i];
            if (!scope_in(k->scope, def))
                continue;
            buf_addf(out, "key\t%s\t%s\t%s\t%s\t", def->name, k->name, types[k->type].name,
                     k->def ? k->def : k->flags & NEEDED ? "(needed)" : "");
            print_range(k, out);
            buf_addf(out, "\t%s\n", k->help);
        }
    }
}
