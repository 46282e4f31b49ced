/* SQL as text; see the header. */
#include "io/sql_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- tokens ---- */

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80; }

/* Behind what is quoted by the sign at p; to its end where the other sign is missing. */
static const char *behind_quotes(const char *p)
{
    char end = *p == '[' ? ']' : *p;
    for (p++; *p && (*p != end || (end != ']' && p[1] == end)); p++)
        p += *p == end;
    return *p ? p + 1 : p;
}

/* $tag$ ... $tag$; NULL: it is none. */
static const char *behind_dollars(const char *p)
{
    size_t n = 1;
    while (is_word(p[n]) && p[n] != '$')
        n++;
    if (p[n++] != '$')
        return NULL;
    for (const char *end = strchr(p + n, '$'); end; end = strchr(end + 1, '$'))
        if (!strncmp(end, p, n))
            return end + n;
    return NULL;
}

const char *sql_text_space(const char *p)
{
    for (;;) {
        const char *end = NULL;
        if (isspace((unsigned char)*p))
            end = p + 1;
        else if (p[0] == '-' && p[1] == '-')
            end = p + strcspn(p, "\n");
        else if (p[0] == '/' && p[1] == '*')
            end = strstr(p + 2, "*/") ? strstr(p + 2, "*/") + 2 : p + strlen(p);
        if (!end)
            return p;
        p = end;
    }
}

const char *sql_text_statement(const char *p)
{
    while (*(p = sql_text_space(p)) == ';')
        p++;
    return p;
}

const char *sql_text_token(const char *p)
{
    if (strchr("'\"`[", *p))
        return behind_quotes(p);
    const char *end = *p == '$' ? behind_dollars(p) : NULL;
    if (end)
        return end;
    if (!is_word(*p))
        return p + 1;
    while (is_word(*p))
        p++;
    return p;
}

/* ---- places ---- */

void sql_text_place(const char *text, size_t at, int *line, int *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at && text[i]; i++)
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            ++*column;
        }
}

/* Where the text ends but for space. */
static size_t end_of(const char *text)
{
    size_t n = strlen(text);
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    return n;
}

/* The first token that is that name, in quotes or not. */
static bool find_name(const char *text, struct str name, size_t *at)
{
    for (const char *p = sql_text_space(text), *end; *p; p = sql_text_space(end)) {
        end = sql_text_token(p);
        bool quoted = strchr("\"`[", *p) != NULL;
        struct str token = { p + quoted, (size_t)(end - p) - (quoted && end - p > 1 ? 2 : 0) };
        if (*p != '\'' && str_eq_nocase(token, name)) {
            *at = (size_t)(p - text);
            return true;
        }
    }
    return false;
}

/* A ) that closes none. */
static bool find_stray(const char *text, size_t *at)
{
    int depth = 0;
    for (const char *p = sql_text_space(text); *p; p = sql_text_space(sql_text_token(p))) {
        depth += (*p == '(') - (*p == ')');
        *at = (size_t)(p - text);
        if (depth < 0)
            return true;
    }
    return false;
}

/* ---- faults ---- */

/* The name that a message is about: behind ": ", or a word, up to what SQLite puts behind it. */
static bool named(const char *message, struct str *name)
{
    static const char *const fronts[] = { "cannot join using column ", ": ", "table " };
    for (size_t i = 0; i < COUNT_OF(fronts); i++) {
        const char *at = strstr(message, fronts[i]);
        if (!at)
            continue;
        at += strlen(fronts[i]);
        const char *end = strstr(at, i < 2 ? " - " : " ");
        *name = (struct str){ at, end ? (size_t)(end - at) : strcspn(at, "(") };
        const char *dot = memrchr(name->p, '.', name->n); /* the column of a table */
        if (dot)
            *name = (struct str){ dot + 1, name->n - (size_t)(dot + 1 - name->p) };
        return name->n > 0;
    }
    return false;
}

static int error_offset(sqlite3 *db)
{
#if SQLITE_VERSION_NUMBER >= 3038000
    return sqlite3_error_offset(db);
#else
    (void)db;
    return -1;
#endif
}

static void place(struct sql_fault *out, size_t at, const char *what)
{
    out->placed = true;
    out->at = at;
    if (what)
        snprintf(out->what, sizeof out->what, "%s", what);
}

/* Quotes that are never closed go on into what is ours. */
static bool never_closed(const char *text, size_t at, const char *message)
{
    static const char front[] = "unrecognized token: \"";
    size_t n = strlen(text), quote = at + (strchr("xX", text[at]) && text[at + 1] == '\'');
    if (strncmp(message, front, sizeof front - 1) != 0 || !strchr("'\"`[", text[quote]))
        return false;
    return quote == at || at + strlen(message) - sizeof front > n || text[n - 1] != '\'' || n - at == 2;
}

static void place_open(struct sql_fault *out, const char *text, size_t at)
{
    place(out, at, NULL);
    snprintf(out->what, sizeof out->what, "quotes are never closed: %.*s", (int)strcspn(text + at, "\n"), text + at);
}

void sql_fault_of(struct sql_fault *out, sqlite3 *db, size_t front, const char *text)
{
    const char *message = sqlite3_errmsg(db);
    int offset = error_offset(db);
    size_t n = strlen(text), at = offset < (int)front ? 0 : (size_t)offset - front, found;
    bool known = offset >= (int)front;
    struct str name;
    *out = (struct sql_fault){ 0 };
    snprintf(out->what, sizeof out->what, "%s", message);
    if (known && at < n && never_closed(text, at, message))
        place_open(out, text, at);
    else if (known && at < n)
        place(out, at, NULL);
    else if (known && find_stray(text, &found))
        place(out, found, "this ) closes no (");
    else if (known || !strcmp(message, "incomplete input"))
        place(out, end_of(text), "incomplete input: something is missing at its end");
    else if (named(message, &name) && find_name(text, name, &found))
        place(out, found, NULL);
}
