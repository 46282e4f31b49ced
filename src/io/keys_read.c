/* How the value of a key is read, a parser for each type; and what a type is called in the manual. See keys.h. */
#include "io/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/text.h"
#include "io/config.h"

static char *keep(struct key_reader *kr, struct str s)
{
    char *p = arena_dup(kr->arena, s);
    if (!p)
        kr->failed = true;
    return p;
}

static bool want(struct key_reader *kr, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool want(struct key_reader *kr, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(kr->want, sizeof kr->want, fmt, ap);
    va_end(ap);
    return false;
}

void nearest(char *out, size_t cap, const char *word, const char *(*next)(const void *, int),
             const void *list)
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

/* ---- parsers: one for each type; false with kr->want, or true and the value is at its place ----
 */

#define PLACE(type) ((type *)((char *)base + k->at))

static bool parse_text(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    *PLACE(char *) = keep(kr, str_of(text));
    return true;
}

static bool parse_globs(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    const char *list = text;
    for (struct str glob; text_globs_next(&list, &glob);)
        if (glob.n >= TEXT_GLOB_MAX)
            return want(kr, "globs of fewer than %d bytes each", TEXT_GLOB_MAX);
    return parse_text(kr, k, text, base);
}

/* Keep `path`, from the ini's folder unless it is absolute, behind `front`. `special` is what the kept form has two characters for,
 * `twice`; the folder is taken as it stands. */
static bool keep_path(struct key_reader *kr, const char *front, const char *path, char special, const char *twice, char **out)
{
    struct buf whole = { 0 };
    buf_adds(&whole, front);
    if (*path != '/') {
        for (const char *p = kr->folder; *p; p++)
            if (special && *p == special)
                buf_adds(&whole, twice);
            else
                buf_addc(&whole, *p);
        if (strcmp(kr->folder, "/"))
            buf_addc(&whole, '/');
        while (!strncmp(path, "./", 2))
            path += 2 + strspn(path + 2, "/");
    }
    buf_adds(&whole, path);
    *out = whole.failed ? NULL : keep(kr, buf_str(&whole));
    kr->failed |= whole.failed;
    buf_clear(&whole);
    return true;
}

static bool parse_path(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    return keep_path(kr, "", text, '\0', "", PLACE(char *));
}

const char *uri_behind_scheme(const char *uri)
{
    const char *p = uri;
    while (isalnum((unsigned char)*p) || *p == '+' || *p == '-' || *p == '.')
        p++;
    return p > uri && strncmp(p, "://", 3) == 0 ? p + 3 : NULL;
}

int uri_userinfo(const char *authority, const char **host)
{
    size_t n = strcspn(authority, "/?#");
    const char *at = memrchr(authority, '@', n);
    *host = at ? at + 1 : authority;
    return !at ? 0 : memchr(authority, ':', (size_t)(at - authority)) ? 2 : 1;
}

static bool parse_url(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    const char *authority = uri_behind_scheme(text), *host;
    int user = authority ? uri_userinfo(authority, &host) : 0;
    if (user == 2)
        return want(kr, "no password here, for it would reach the database and the log; set "
                        "password= in a [remote NAME] section");
    if (k->scope == AT_REMOTE && user)
        return want(kr, "no user in the url; set user=");
    if (k->scope == AT_TARGET && strncmp(text, "sqlite://", 9) == 0 && text[9] != '/')
        return want(kr, "sqlite:///absolute/path, or sqlite:relative/path from the folder of the main file");
    /* a file of this machine, whatever folder a process was started in */
    if (k->scope == AT_TARGET && strncmp(text, "sqlite:", 7) == 0 && text[7] && strncmp(text + 7, "//", 2) != 0)
        return keep_path(kr, "sqlite://", text + 7, '%', "%25", PLACE(char *));
    if (k->scope != AT_PIPELINE && !authority)
        return want(kr, "scheme://..., such as %s",
                    k->scope == AT_TARGET ? "sqlite:///var/lib/qetl/warehouse.db"
                                          : "https://data.example.org/");
    return parse_text(kr, k, text, base);
}

/* Does it begin with file: and name a file of this host (RFC 8089)? */
static bool file_url_ok(const char *text)
{
    const char *rest = text + strlen("file:");
    return rest[0] == '/' &&
           (rest[1] != '/' || rest[2] == '/' || !strncmp(rest, "//localhost/", 12));
}

/* The name of a stream, which is one of a folder, too. */
static bool stream_name_ok(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= 64 && !name[n] && *name != '-';
}

/* A URL or an absolute path as it is; a relative path from the folder of the ini, whose braces are
 * no parameters. What begins with a parameter is whole when the job gives it. */
static bool parse_source(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    bool file = !strncasecmp(text, "file:", 5);
    if (!strncmp(text, "stream:", 7))
        return stream_name_ok(text + 7) ? parse_text(kr, k, text, base)
                                        : want(kr, "stream:NAME, with a NAME of letters, digits, _ and -, at most 64");
    if (file && !file_url_ok(text))
        return want(kr, "an absolute path behind file:, such as file:///data/orders.csv");
    if (file || text[0] == '/' || uri_behind_scheme(text) || (text[0] == '{' && text[1] != '{'))
        return parse_url(kr, k, text, base);
    return keep_path(kr, "", text, '{', "{{", PLACE(char *));
}

static bool parse_secret(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    if (strncmp(text, "@file:", 6) == 0 && text[6] != '/')
        return want(kr, "a path that begins with / behind @file:");
    if (strncmp(text, "@credential:", 12) == 0 &&
        (!text[12] || text[12] == '.' || strchr(text + 12, '/')))
        return want(kr, "the name of a systemd credential behind @credential:");
    return parse_text(kr, k, text, base);
}

static bool in_range(const struct key *k, int64_t v)
{
    return v >= k->min && v <= k->max;
}

static bool parse_number(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    int64_t v;
    if (!text_int(str_of(text), &v) || !in_range(k, v))
        return want(kr, "a whole number from %lld to %lld", (long long)k->min, (long long)k->max);
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

static bool parse_size(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    char low[32], high[32];
    int64_t v;
    if (!text_size(str_of(text), &v) || !in_range(k, v)) {
        range_text(k, low, high);
        return want(kr, "a size such as 64K, 10M or 2G, from %s to %s", low, high);
    }
    *PLACE(int64_t) = v;
    return true;
}

static bool parse_duration(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    char low[32], high[32];
    int64_t v;
    if (!text_duration(str_of(text), &v) || !in_range(k, v)) {
        range_text(k, low, high);
        return want(kr, "a duration such as 250ms, 10s, 5m or 2h, from %s to %s", low, high);
    }
    *PLACE(int64_t) = v;
    return true;
}

static const char *next_word(const void *list, int i)
{
    return ((const char *const *)list)[i];
}

/* Index of text among the words; -1 with kr->want. */
static int word_index(struct key_reader *kr, const struct key *k, const char *text)
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
    want(kr, "%s%s", all.failed ? "another word" : all.p, hint);
    buf_clear(&all);
    return -1;
}

static bool parse_yes(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    static const char *const same[][2] = { { "false", "no" }, { "off", "no" }, { "0", "no" },
                                           { "true", "yes" }, { "on", "yes" }, { "1", "yes" } };
    for (size_t i = 0; !strcmp(k->words[1], "yes") && i < COUNT_OF(same); i++)
        if (strcmp(text, same[i][0]) == 0)
            text = same[i][1];
    int i = word_index(kr, k, text);
    if (i >= 0)
        *PLACE(bool) = i;
    return i >= 0;
}

static bool parse_word(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    _Static_assert(sizeof(enum encoding) == sizeof(int) && sizeof(enum load_mode) == sizeof(int),
                   "enums are ints");
    int i = word_index(kr, k, text);
    if (i >= 0)
        *PLACE(int) = i;
    return i >= 0;
}

static bool parse_name(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    return word_index(kr, k, text) >= 0 && parse_text(kr, k, text, base);
}

static const struct char_word {
    const char *word;
    char c;
} char_words[] = { { "none", 0 },    { "tab", '\t' },       { "\\t", '\t' },
                   { "comma", ',' }, { "semicolon", ';' },  { "pipe", '|' },
                   { "space", ' ' }, { "backslash", '\\' }, { "colon", ':' } };

static bool parse_char(struct key_reader *kr, const struct key *k, const char *text, void *base)
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
    return want(kr,
                "one ASCII sign, one in quotes such as \";\", or one of the words tab, comma, "
                "semicolon, pipe, space, colon, backslash%s",
                k->min == 1 ? "" : ", none");
}

/* Is it "Name: value" with a token (RFC 9110, 5.6.2) and no control characters? */
static bool header_ok(struct str line)
{
    size_t n = 0;
    while (n < line.n && (isalnum((unsigned char)line.p[n]) ||
                          (line.p[n] && strchr("!#$%&'*+-.^_`|~", line.p[n]))))
        n++;
    if (!n || n == line.n || line.p[n] != ':')
        return false;
    for (size_t i = n; i < line.n; i++)
        if (iscntrl((unsigned char)line.p[i]) && line.p[i] != '\t')
            return false;
    return true;
}

static bool parse_header(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        if (n && !header_ok((struct str){ p, n }))
            return want(kr, "Name: value, one header a line");
        p += n + (p[n] == '\n');
    }
    return parse_text(kr, k, text, base);
}

/* The next token of a list with commas between, trimmed, its quotes taken away; 1, 0 at the end, -1
 * not a list. */
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

static bool parse_list(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    /* the count stands behind the pointer, for all lists */
    _Static_assert(
        offsetof(struct recipe, nnulls) == offsetof(struct recipe, nulls) + sizeof(char **) &&
            offsetof(struct recipe, nkey) == offsetof(struct recipe, key) + sizeof(char **) &&
            offsetof(struct recipe, ndistinct) == offsetof(struct recipe, distinct) + sizeof(char **) &&
            offsetof(struct recipe, nenrich) == offsetof(struct recipe, enrich) + sizeof(char **) &&
            offsetof(struct enrich_config, nkey) == offsetof(struct enrich_config, key) + sizeof(char **) &&
            offsetof(struct enrich_config, ngood) == offsetof(struct enrich_config, good) + sizeof(char **),
        "lists are pointer and count");
    int n = 0, room = 1;
    for (const char *p = text; *p; p++)
        room += *p == ',';
    char **list = arena_alloc(kr->arena, mem_product((size_t)room, sizeof *list));
    kr->failed |= !list;
    struct buf token = { 0 };
    bool good = list != NULL;
    for (const char *p = text; good && *text; p++) {
        if (list_next(&p, &token) < 0) {
            good = want(
                kr, "names with commas between; quotes around those with a comma or space in them");
            break;
        }
        list[n++] = token.failed ? NULL : keep(kr, buf_str(&token));
        if (!*p)
            break;
    }
    kr->failed |= token.failed;
    buf_clear(&token);
    if (good) {
        *PLACE(char **) = list;
        *(int *)((char *)base + k->at + sizeof list) = n;
    }
    return good;
}

static bool parse_zone(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    if (!zone_preload(text)) /* the reader has no files: it finds the zone in memory */
        return want(kr, "a zone that this machine knows, such as Europe/Berlin, or +02:00 (is the "
                        "package tzdata installed?)");
    return parse_text(kr, k, text, base);
}

/* Is a part between two dots in quotes, as SQL would have it? */
static bool has_quoted_part(const char *text)
{
    for (const char *p = text; *p; p += *p == '.') {
        size_t n = strcspn(p, ".");
        if (n > 1 && (*p == '"' || *p == '`') && p[n - 1] == *p)
            return true;
        p += n;
    }
    return false;
}

static bool parse_table(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct recipe *r = base;
    const char *dot = strchr(text, '.'), *last = strrchr(text, '.');
    if (!dot || dot == text || !last[1])
        return want(kr, "TARGET.TABLE, with TARGET the name of a [target NAME] section");
    if (strncasecmp(last + 1, "qetl_", 5) == 0)
        return want(kr, "another name: qetl keeps its ledger in tables that begin with qetl_");
    if (has_quoted_part(dot + 1))
        return want(kr, "a name without quotes: it is taken as it is written");
    r->target = keep(kr, (struct str){ text, (size_t)(dot - text) });
    r->table_name = keep(kr, str_of(dot + 1));
    return parse_text(kr, k, text, base);
}

static bool parse_late(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct recipe *r = base;
    const char *dot = strchr(text, '.');
    if (!strcmp(text, "table") || !strcmp(text, "reject")) {
        r->late = text[0] == 't' ? LATE_TABLE : LATE_REJECT;
        return parse_text(kr, k, text, base);
    }
    struct recipe aside = { 0 };
    if (!dot || !parse_table(kr, k, text, &aside))
        return want(kr, "table, reject or TARGET.TABLE");
    r->late = LATE_ASIDE;
    r->late_name = aside.table_name;
    r->late_table = keep(kr, str_of(text));
    return parse_text(kr, k, text, base);
}

/* "1%" or "100" into *limit; false: neither, or given already. */
static bool reject_token(struct str t, struct reject_limit *limit)
{
    double share;
    int64_t count;
    if (t.n && t.p[t.n - 1] == '%') {
        if (limit->share >= 0 || !text_real((struct str){ t.p, t.n - 1 }, &share) || share < 0 ||
            share > 100)
            return false;
        limit->share = share / 100;
        return true;
    }
    if (limit->count >= 0 || !text_int(t, &count) || count < 0)
        return false;
    limit->count = count;
    return true;
}

static bool parse_rejects(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct reject_limit limit = { -1, -1 };
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        if (!reject_token(str_trim((struct str){ p, n }), &limit))
            return want(kr, "a number of rows, a share such as 1%%, or both with a comma between");
        p += n;
        if (!*p)
            break;
    }
    *PLACE(struct reject_limit) = limit;
    return true;
}

enum { SQL_MAX = 1 << 20 };

/* SQL, or the content of @file:PATH. */
static bool parse_sql(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    if (strncmp(text, "@file:", 6) != 0)
        return parse_text(kr, k, text, base);
    struct buf path = { 0 }, sql = { 0 };
    if (text[6] != '/')
        buf_addf(&path, "%s/", kr->folder);
    buf_adds(&path, text + 6);
    FILE *f = path.failed ? NULL : fopen(path.p, "re");
    char block[4096];
    for (size_t n; f && sql.n <= SQL_MAX && (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_add(&sql, block, n);
    bool good = f && !ferror(f);
    if (!good && !path.failed)
        want(kr, "a file that can be read behind @file: (%s: %s)", path.p, strerror(errno));
    else if (sql.n > SQL_MAX || !sql.n || memchr(sql.p, 0, sql.n))
        good = want(kr, "SQL in the file, at most 1M of it and without NUL bytes");
    if (good)
        *PLACE(char *) = sql.failed ? NULL : keep(kr, buf_str(&sql));
    kr->failed |= path.failed || sql.failed;
    if (f)
        fclose(f);
    buf_clear(&path);
    buf_clear(&sql);
    return good;
}

/* SQL with where it comes from. */
static bool parse_sql_text(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct sql_text *t = PLACE(struct sql_text);
    struct key inner = *k;
    inner.at = k->at + offsetof(struct sql_text, text);
    if (!parse_sql(kr, &inner, text, base))
        return false;
    t->file = strncmp(text, "@file:", 6) ? NULL : keep(kr, str_of(text + 6));
    return true;
}

static bool parse_cron(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct scan_config *s = PLACE(struct scan_config);
    const char *why;
    if (!cron_parse(&s->cron, text, &why))
        return want(kr, "minute hour day month weekday, such as 30 2 * * mon-fri, or @hourly and the like: %s", why);
    s->cron_text = keep(kr, str_of(text));
    return true;
}

static bool parse_after(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct after *a = PLACE(struct after);
    bool move = !strncmp(text, "move:", 5) && text[5];
    if (!move && strcmp(text, "keep") && strcmp(text, "delete"))
        return want(kr, "keep, delete or move:FOLDER, which is a URI where the source is one");
    a->what = move ? AFTER_MOVE : text[0] == 'k' ? AFTER_KEEP : AFTER_DELETE;
    if (move && uri_behind_scheme(text + 5)) {
        a->folder = keep(kr, str_of(text + 5));
        return true;
    }
    return !move || keep_path(kr, "", text + 5, '\0', "", &a->folder);
}

/* One word of a command, its quotes and backslashes taken away: 1, 0 at the end, -1 an open quote. *plain: it had none. */
static int word_next(const char **at, struct buf *out, bool *plain)
{
    const char *p = *at + strspn(*at, " \t\n");
    buf_reset(out);
    buf_adds(out, "");
    *plain = true;
    if (!*p)
        return 0;
    for (char quote = 0; *p && (quote || !strchr(" \t\n", *p)); p++) {
        bool opens = !quote && (*p == '"' || *p == '\''), closes = quote && *p == quote;
        bool escapes = *p == '\\' && quote != '\'' && p[1] && (!quote || strchr("\"\\", p[1]));
        *plain &= !opens && !escapes;
        if (opens || closes)
            quote = opens ? *p : 0;
        else
            buf_addc(out, escapes ? *++p : *p);
        if (quote && !p[1])
            return -1;
    }
    *at = p;
    return 1;
}

/* What only a shell would understand. */
static bool word_is_shell(const char *word)
{
    static const char *const signs[] = { "|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1", NULL };
    for (int i = 0; signs[i]; i++)
        if (!strcmp(word, signs[i]))
            return true;
    return false;
}

/* A program with a slash in its name is taken from the ini's folder; one without is looked for in PATH. */
static bool parse_command(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    size_t room = strlen(text) / 2 + 2; /* a word has a byte, and white space behind it */
    char **argv = arena_alloc(kr->arena, mem_product(room, sizeof *argv));
    struct buf word = { 0 };
    int n = 0, rc = 0;
    bool plain, good = argv != NULL;
    kr->failed |= !argv;
    while (good && (rc = word_next(&text, &word, &plain)) > 0) {
        kr->failed |= word.failed;
        if (plain && !word.failed && word_is_shell(word.p))
            good = want(kr, "a program and its arguments; no shell reads %s: write sh -c '...', or put it into a script", word.p);
        else if (n == 0 && !word.failed && strchr(word.p, '/'))
            (void)keep_path(kr, "", word.p, '\0', "", &argv[n++]);
        else
            argv[n++] = word.failed ? NULL : keep(kr, buf_str(&word));
    }
    if (rc < 0)
        good = want(kr, "a closing quote; a ; behind a blank begins a comment: write it without the blank");
    else if (good && (!n || !argv[0] || !*argv[0]))
        good = want(kr, "the name of a program");
    buf_clear(&word);
    if (!good)
        return false;
    argv[n] = NULL;
    PLACE(struct command)->argv = argv;
    return true;
}

static bool parse_env(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), name = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        size_t equals = name + strspn(p + name, " \t");
        if (n && (!name || isdigit((unsigned char)*p) || equals >= n || p[equals] != '='))
            return want(kr, "NAME = value, one a line");
        p += n + (p[n] == '\n');
    }
    return parse_text(kr, k, text, base);
}

enum { SECOND = 1000, DAY = 86400 * SECOND }; /* ms */

static bool parse_quota(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = { { "second", SECOND }, { "minute", 60 * SECOND }, { "hour", 3600 * SECOND }, { "day", DAY } };
    struct quota q = { 0 };
    size_t n = strcspn(text, "/");
    struct str unit = str_trim(str_of(text[n] ? text + n + 1 : ""));
    bool good = text_int(str_trim((struct str){ text, n }), &q.n) && q.n >= 1 && q.n <= INT64_C(1000000000000);
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (str_eq(unit, str_of(units[i].name)))
            q.period_ms = units[i].ms;
    good = good && (q.period_ms || (unit.n && text_duration(unit, &q.period_ms)));
    if (!good || q.period_ms < SECOND || q.period_ms > 366 * (int64_t)DAY)
        return want(kr, "a number of requests, a slash, and second, minute, hour, day or a duration, such as 2500/day");
    *PLACE(struct quota) = q;
    return true;
}

/* PATH, or PATH not VALUE, ...: a path ends where white space stands outside of quotes. */
static bool parse_says(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    struct key list = *k;
    size_t n = 0;
    for (bool quoted = false; text[n] && (quoted || !isspace((unsigned char)text[n])); n++) {
        quoted ^= text[n] == '"';
        n += quoted && text[n] == '\\' && text[n + 1];
    }
    const char *values = text + n + strspn(text + n, " \t\n");
    if (*values) {
        list.at = offsetof(struct enrich_config, good);
        if (strncmp(values, "not", 3) || !isspace((unsigned char)values[3]))
            return want(kr, "a JSON path, or one with not and values behind it, such as error.message or status not OK, ZERO_RESULTS");
        if (!parse_list(kr, &list, values + 3, base))
            return false;
    }
    *PLACE(char *) = keep(kr, (struct str){ text, n });
    return true;
}

static const struct type_def {
    const char *name; /* in the manual */
    bool (*parse)(struct key_reader *, const struct key *, const char *text, void *base);
} types[KEY_TYPES] = {
    [KEY_TEXT] = { "text", parse_text },
    [KEY_GLOBS] = { "list of globs", parse_globs },
    [KEY_PATH] = { "path", parse_path },
    [KEY_URL] = { "URI", parse_url },
    [KEY_SOURCE] = { "URI", parse_source },
    [KEY_SECRET] = { "secret", parse_secret },
    [KEY_NUMBER] = { "number", parse_number },
    [KEY_SIZE] = { "size", parse_size },
    [KEY_DURATION] = { "duration", parse_duration },
    [KEY_YES] = { "word", parse_yes },
    [KEY_WORD] = { "word", parse_word },
    [KEY_NAME] = { "word", parse_name },
    [KEY_CHAR] = { "sign", parse_char },
    [KEY_HEADER] = { "lines", parse_header },
    [KEY_COLUMNS] = { "columns", parse_text },
    [KEY_LIST] = { "list", parse_list },
    [KEY_ZONE] = { "zone", parse_zone },
    [KEY_TABLE] = { "table", parse_table },
    [KEY_REJECTS] = { "number, share", parse_rejects },
    [KEY_SQL] = { "SQL", parse_sql },
    [KEY_SQL_TEXT] = { "SQL", parse_sql_text },
    [KEY_CRON] = { "times", parse_cron },
    [KEY_AFTER] = { "word", parse_after },
    [KEY_COMMAND] = { "program", parse_command },
    [KEY_ENV] = { "lines", parse_env },
    [KEY_QUOTA] = { "requests", parse_quota },
    [KEY_TEMPLATE] = { "template", parse_text },
    [KEY_LATE] = { "word, table", parse_late },
    [KEY_SAYS] = { "path, list", parse_says },
};

bool key_read(struct key_reader *kr, const struct key *k, const char *text, void *base)
{
    return types[k->type].parse(kr, k, text, base);
}

const char *key_type_name(const struct key *k) { return types[k->type].name; }

void key_print_range(const struct key *k, struct buf *out)
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
