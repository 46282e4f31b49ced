/*
 * The MariaDB and MySQL target: its types, its encoder, which runs in the reader child and needs no library, and what its URL and
 * the SQL of people may say.
 */
#include "target/mysql.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "io/row_text.h"
#include "target/server.h"
#include "target/staged.h"

void mysql_type(struct buf *out, const struct column *c, bool in_key)
{
    static const char *const types[TYPES] = {
        [TYPE_TEXT] = "LONGTEXT",   [TYPE_INTEGER] = "BIGINT", [TYPE_DECIMAL] = "DECIMAL",       [TYPE_REAL] = "DOUBLE",
        [TYPE_BOOLEAN] = "BOOLEAN", [TYPE_DATE] = "DATE",      [TYPE_TIMESTAMP] = "DATETIME(6)", [TYPE_JSON] = "JSON",
    };
    if (c->type == TYPE_TEXT && in_key)
        buf_addf(out, "VARCHAR(%d)", MYSQL_KEY_CHARS);
    else
        buf_adds(out, types[c->type]);
    if (c->type == TYPE_DECIMAL)
        buf_addf(out, "(19,%d)", c->scale);
}

/* ---- text for LOAD DATA ---- */

static const char escapes[256] = { ['\0'] = '0', ['\t'] = 't', ['\n'] = 'n', ['\\'] = '\\' };

static void put_text(struct buf *out, const char *p, size_t n)
{
    for (const char *end = p + n, *q; p < end; p = q) {
        for (q = p; q < end && !escapes[(unsigned char)*q]; q++)
            ;
        buf_add(out, p, (size_t)(q - p));
        if (q < end) {
            buf_add(out, (char[]){ '\\', escapes[(unsigned char)*q] }, 2);
            q++;
        }
    }
}

/* The text is valid JSON. JSON_VALID() refuses half of a surrogate pair, and more than 31 levels (MariaDB 10.11, json_lib.h). */
static bool json_taken(const char *p, uint32_t n)
{
    enum { LEVELS = 31 };
    int depth = 0;
    bool quoted = false;
    unsigned code;
    for (const char *end = p + n; p && p < end;) {
        if (quoted && *p == '\\') {
            p = json_escape_end(p, end, &code);
            continue;
        }
        quoted ^= *p == '"';
        if (!quoted && (*p == '[' || *p == '{') && ++depth > LEVELS)
            return false;
        depth -= !quoted && (*p == ']' || *p == '}');
        p++;
    }
    return p != NULL;
}

static bool put_value(struct buf *out, const struct column *c, const struct value *v)
{
    static const struct row_plain form = { "1", "0", ' ', "" };
    if (c->type != TYPE_TEXT && c->type != TYPE_JSON)
        return value_in_years(c, v) && row_put_plain_as(out, c, v, &form);
    put_text(out, v->p, v->n);
    return c->type == TYPE_TEXT || json_taken(v->p, v->n);
}

static void put_between(struct buf *out) { buf_addc(out, '\t'); }
static void put_null(struct buf *out) { buf_add(out, "\\N", 2); }
static void end_row(struct buf *out) { buf_addc(out, '\n'); }

static const struct row_form lines = { .ext = "tsv",
                                       .between = put_between,
                                       .put_null = put_null,
                                       .put = put_value,
                                       .end_row = end_row,
                                       .key_chars = MYSQL_KEY_CHARS };

static int encode_open(struct encoder **out, const struct target_config *cfg, const struct table_spec *spec,
                       const struct stage *stage, int number, struct err *err)
{
    (void)cfg; /* the staged form is the same for every server */
    return row_encode_open(out, &lines, spec, stage, number, err);
}

/* ---- the URL ---- */

void mysql_url_clear(struct mysql_url *u)
{
    free(u->user);
    free(u->host);
    free(u->database);
    free(u->socket);
    *u = (struct mysql_url){ 0 };
}

/* A part of the URL with its %XX decoded; NULL: no memory. */
static char *part(const char *p, size_t n)
{
    char *out = malloc(n + 1);
    if (out)
        (void)text_percent_decode((struct str){ p, n }, out);
    return out;
}

static int url_option(struct mysql_url *u, const char *p, size_t n, const struct target_config *cfg, struct err *err)
{
    static const struct {
        const char *text;
        enum mysql_ssl ssl;
    } choices[] = { { "ssl=off", SSL_OFF }, { "ssl=required", SSL_REQUIRED }, { "ssl=verify", SSL_VERIFY } };
    for (size_t i = 0; i < COUNT_OF(choices); i++)
        if (strlen(choices[i].text) == n && !strncmp(p, choices[i].text, n)) {
            u->ssl = choices[i].ssl;
            return 0;
        }
    if (n > 8 && !strncmp(p, "socket=/", 8) && !u->socket)
        return (u->socket = part(p + 7, n - 7)) ? 0 : err_nomem(err);
    return err_set(err, ERR_CONFIG, "target '%s': '%.*s' in its url is none of socket=/PATH, ssl=off, ssl=required, ssl=verify",
                   cfg->name, (int)n, p);
}

/* host[:port] or [v6][:port] */
static int url_host(struct mysql_url *u, const char *p, const char *end, const struct target_config *cfg, struct err *err)
{
    int64_t port = 3306;
    const char *close = *p == '[' ? memchr(p, ']', (size_t)(end - p)) : NULL;
    const char *from = close ? p + 1 : p, *to = close ? close : memchr(p, ':', (size_t)(end - p));
    const char *colon = close ? close + 1 : to;
    if (!to)
        to = colon = end;
    if (colon < end && (*colon != ':' || !text_int((struct str){ colon + 1, (size_t)(end - colon - 1) }, &port) || port < 1 || port > 65535))
        return err_set(err, ERR_CONFIG, "target '%s': '%.*s' in its url is no host:port", cfg->name, (int)(end - p), p);
    u->port = (unsigned)port;
    return (u->host = part(from, (size_t)(to - from))) ? 0 : err_nomem(err);
}

static int url_parse(struct mysql_url *u, const struct target_config *cfg, struct err *err)
{
    static const char form[] = "mysql://user@host:port/database";
    if (strncmp(cfg->url, "mysql://", 8) != 0)
        return err_set(err, ERR_CONFIG, "target '%s': its url has to look like %s", cfg->name, form);
    const char *p = cfg->url + 8, *slash = p + strcspn(p, "/?"), *at = memchr(p, '@', (size_t)(slash - p));
    if (at) {
        if (memchr(p, ':', (size_t)(at - p)))
            return err_set(err, ERR_CONFIG, "target '%s': no password in the url; set password= in a [remote]", cfg->name);
        if (!(u->user = part(p, (size_t)(at - p))))
            return err_nomem(err);
        p = at + 1;
    }
    if (url_host(u, p, slash, cfg, err) < 0)
        return -1;
    size_t n = *slash == '/' ? strcspn(slash + 1, "?") : 0;
    if (n == 0 || memchr(slash + 1, '/', n))
        return err_set(err, ERR_CONFIG, "target '%s': its url names no database: %s", cfg->name, form);
    if (!(u->database = part(slash + 1, n)))
        return err_nomem(err);
    p = slash + 1 + n;
    while (*p) { /* at ? or & */
        size_t m = strcspn(++p, "&");
        if (url_option(u, p, m, cfg, err) < 0)
            return -1;
        p += m;
    }
    if (u->socket && strcasecmp(u->host, "localhost") != 0) /* the library would not look at it */
        return err_set(err, ERR_CONFIG, "target '%s': a socket= in its url is for the host localhost, not for '%s'", cfg->name, u->host);
    return 0;
}

int mysql_url_parse(struct mysql_url *out, const struct target_config *cfg, struct err *err)
{
    *out = (struct mysql_url){ 0 };
    if (url_parse(out, cfg, err) == 0)
        return 0;
    mysql_url_clear(out);
    return -1;
}

/* https://mariadb.com/kb/en/identifier-names/, "Maximum Length": characters. */
static int name_fits(const char *what, const char *name, size_t n, struct err *err)
{
    enum { NAME_MAX_CHARS = 64 };
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)name[i] & 0xc0) != 0x80;
    return chars <= NAME_MAX_CHARS ? 0
                                   : err_set(err, ERR_CONFIG, "the name of %s '%.*s' has %zu characters, and the server takes at most %d",
                                             what, (int)n, name, chars, NAME_MAX_CHARS);
}

int mysql_names_fit(const struct table_spec *spec, struct err *err)
{
    return server_table_fits(spec, "database", name_fits, err) < 0 || server_columns_fit(spec, name_fits, err) < 0 ? -1 : 0;
}

static int check_self(const struct target_config *cfg, const char **key, struct err *err)
{
    struct mysql_url url;
    *key = "url";
    if (mysql_url_parse(&url, cfg, err) < 0)
        return -1;
    mysql_url_clear(&url);
    return 0;
}

static const char *beside_ca(const struct target_config *cfg)
{
    struct mysql_url url;
    struct err err;
    if (mysql_url_parse(&url, cfg, &err) < 0)
        return NULL;
    enum mysql_ssl ssl = url.ssl;
    mysql_url_clear(&url);
    return ssl == SSL_OFF ? "ssl=off" : ssl == SSL_REQUIRED ? "ssl=required" : NULL;
}

static int check(const struct target_config *cfg, const struct table_spec *spec, enum check_of of, struct err *err)
{
    enum { COLUMNS_MAX = 1000, KEY_MAX = 15 }; /* of InnoDB 1017 and 16; some are ours */
    if (of == CHECK_NAME)
        return server_table_fits(spec, "database", name_fits, err) < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
    if (of != CHECK_COLUMNS)
        return 0;
    if (spec->columns->n > COLUMNS_MAX)
        return err_set(err, ERR_CONFIG, "target '%s': table '%s' has %d columns, and InnoDB takes at most %d", cfg->name, spec->name,
                       spec->columns->n, COLUMNS_MAX);
    if (spec->nkey > KEY_MAX)
        return err_set(err, ERR_CONFIG, "target '%s': the key of table '%s' has %d columns, and an index takes at most %d", cfg->name,
                       spec->name, spec->nkey, KEY_MAX);
    return server_columns_fit(spec, name_fits, err) < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
}

/* ---- SQL of people ---- */

/* One word of SQL, or a single sign, or a quoted text (as an empty word). */
struct token {
    const char *p;
    size_t n;
};

static const char *quoted_end(const char *p)
{
    char quote = *p++;
    for (; *p && *p != quote; p++)
        if (*p == '\\' && quote != '`' && p[1])
            p++;
    return *p ? p + 1 : p;
}

/* Comments are no tokens, but the ones that servers run are: their sign is given, and what they hold comes next. */
static bool next_token(const char **at, struct token *t)
{
    const char *p = *at;
    for (;;) {
        p += strspn(p, " \t\r\n\f\v");
        bool runs = p[0] == '/' && p[1] == '*' && (p[2] == '!' || (p[2] == 'M' && p[3] == '!'));
        if (*p == '#' || (p[0] == '-' && p[1] == '-' && (!p[2] || isspace((unsigned char)p[2]))))
            p += strcspn(p, "\n");
        else if (p[0] == '/' && p[1] == '*' && !runs)
            p = strstr(p + 2, "*/") ? strstr(p + 2, "*/") + 2 : p + strlen(p);
        else
            break;
    }
    if (!*p)
        return false;
    *t = (struct token){ p, 0 };
    if (*p == '\'' || *p == '"' || *p == '`') {
        *at = quoted_end(p);
        return true;
    }
    while (isalnum((unsigned char)p[t->n]) || p[t->n] == '_' || p[t->n] == '$' || (unsigned char)p[t->n] >= 0x80)
        t->n++;
    t->n += t->n == 0;
    *at = p + t->n;
    return true;
}

static bool is_one_of(struct token t, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == t.n && !strncasecmp(t.p, *words, t.n))
            return true;
    return false;
}
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

int mysql_stays_inside(const char *sql, struct err *err)
{
    /* https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/ */
    static const char *const ends[] = { "alter", "analyze", "begin", "cache", "change", "check", "commit", "flush", "grant", "install",
                                        "lock", "optimize", "rename", "repair", "reset", "revoke", "rollback", "start", "stop",
                                        "truncate", "uninstall", "unlock", "xa", "/", NULL };
    enum { START, PLAIN, MAKES, SETS } kind = START;
    struct token t, first = { 0 };
    for (const char *at = sql; next_token(&at, &t);) {
        bool bad = false;
        if (t.n == 1 && *t.p == ';') {
            kind = START;
        } else if (kind == START) {
            first = t;
            bad = is_one_of(t, ends);
            kind = is_one_of(t, WORDS("create", "drop")) ? MAKES : is_one_of(t, WORDS("set")) ? SETS : PLAIN;
        } else if (kind == MAKES && !is_one_of(t, WORDS("or", "replace"))) {
            bad = !is_one_of(t, WORDS("temporary"));
            kind = PLAIN;
        } else if (kind == SETS) {
            bad = is_one_of(t, WORDS("autocommit"));
        }
        if (bad)
            return err_set(err, ERR_AFTER_LOAD, "after_load: '%.*s' would end the transaction", (int)first.n, first.p);
    }
    return 0;
}

int mysql_line_of(const char *sql, int statement)
{
    struct token t;
    int n = 0, line = 1, found = 0;
    bool begins = true;
    for (const char *at = sql, *counted = sql; next_token(&at, &t);) {
        bool semicolon = t.n == 1 && *t.p == ';';
        for (; counted < t.p; counted++)
            line += *counted == '\n';
        if (begins && !semicolon && ++n == statement)
            found = line;
        if (begins && is_one_of(t, WORDS("call")))
            return 0;
        begins = semicolon;
    }
    return found;
}

int mysql_only_reads(const char *sql, struct err *err)
{
    struct token t;
    bool first = true, ended = false;
    for (const char *at = sql; next_token(&at, &t); first = false) {
        if (ended)
            return err_set(err, ERR_USAGE, "one statement at a time");
        if (first && !is_one_of(t, WORDS("select", "with", "show", "explain", "describe", "desc", "values", "table", "(")))
            return err_set(err, ERR_USAGE, "'%.*s' is no query: it may write", (int)(t.n ? t.n : 1), t.p);
        if (is_one_of(t, WORDS("outfile", "dumpfile")) || (*t.p == '/' && t.p[1] == '*'))
            return err_set(err, ERR_USAGE, "'%.*s' may write", (int)(t.n > 1 ? t.n : 3), t.p);
        ended = t.n == 1 && *t.p == ';';
    }
    return 0;
}

const struct target target_mysql = {
    .scheme = "mysql",
    .check_self = check_self,
    .beside_ca = beside_ca,
    .check = check,
    .check_after = mysql_stays_inside,
    .encode_open = encode_open,
    .encode_rows = row_encode_rows,
    .encode_finish = row_encode_finish,
    .encode_close = row_encode_close,
    .open = mysql_target_open,
    .close = mysql_target_close,
    .max_files = 1000,
    .add_columns = mysql_target_add_columns,
    .begin = mysql_target_begin,
    .rehearse = mysql_target_rehearse,
    .interrupt = mysql_target_interrupt,
    .look = mysql_target_look,
    .load_job = mysql_target_load_job,
    .commit = mysql_target_commit,
    .rollback = mysql_target_rollback,
    .loaded = mysql_target_loaded,
    .probe = mysql_target_probe,
    .undo = mysql_target_undo,
    .undoes = 1 << MODE_APPEND | 1 << MODE_REPLACE | 1 << MODE_UPSERT | 1 << MODE_INSERT_IGNORE,
    .undoes_not = "versions that a job begins end those of jobs before it",
    .run = mysql_target_run,
    .ddl_alone = "SELECT GET_LOCK(CONCAT('qetl_ddl ', SHA1(DATABASE())), 60)", /* the server's, of 64 characters */
    .query = mysql_target_query,
};
