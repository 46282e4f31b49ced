/*
 * One table under two names. Order between jobs, what parts do to each other's rows and what undo finds go by the name of a table as the
 * ini has it, so it has one name in the whole ini: `t` and `main.t` beside each other are a fault, on SQLite `t` and `T`, too, and `a.t` and
 * `b.t` of two targets with one url. Which schema a name without one is looked for in is known from the target's url, as far as it says so.
 * See config_build.h.
 */
#include "io/config_build.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

/* A table as a section has it. */
struct spelling {
    const struct target_config *target;
    const char *place;      /* of the target: what of its url tells one place from another */
    const char *text, *key; /* TARGET.TABLE, and where it stands */
    const char *bare;       /* behind the schema */
    struct str schema;      /* none: empty */
    int section;
};

/* Without its percent escapes. */
static const char *decoded(struct build *b, struct str s)
{
    char *out = build_zeroed(b, s.n + 1, 1);
    if (!out)
        return "";
    (void)text_percent_decode(s, out);
    return out;
}

static bool is_scheme(const struct target_config *t, const char *scheme)
{
    size_t n = strlen(scheme);
    return t->url && !strncmp(t->url, scheme, n) && t->url[n] == ':';
}

/* Behind out: a path without `//` and `/./` in it, nor slashes at its end. */
static void add_path(char *out, const char *path)
{
    size_t n = strlen(out);
    for (const char *p = path; *p; p++) {
        if (*p == '/' && (p[1] == '/' || !p[1]))
            continue;
        if (*p == '/' && p[1] == '.' && (p[2] == '/' || !p[2])) {
            p++;
            continue;
        }
        out[n++] = *p;
    }
    out[n] = '\0';
}

/* Of postgresql:// and mysql://; empty: none. */
static struct str user_of(const struct target_config *t)
{
    const char *host = t->url ? uri_behind_scheme(t->url) : NULL, *at = host ? memchr(host, '@', strcspn(host, "/?")) : NULL;
    return (struct str){ at ? host : "", at ? (size_t)(at - host) : 0 };
}

static bool names_database(const struct target_config *t)
{
    const char *host = t->url ? uri_behind_scheme(t->url) : NULL, *path = host ? host + strcspn(host, "/?") : "";
    return *path == '/' && path[1] && path[1] != '?';
}

/* Without the user; names of hosts have no case, and a port that is the usual one may be left out. */
static const char *place_of(struct build *b, const struct target_config *t)
{
    const char *usual = is_scheme(t, "mysql") ? ":3306" : is_scheme(t, "postgresql") ? ":5432" : "";
    char *out = t->url ? build_zeroed(b, strlen(t->url) + 1, 1) : NULL;
    if (!out)
        return "";
    if (is_scheme(t, "sqlite")) {
        add_path(out, decoded(b, str_of(t->url + strlen("sqlite:"))));
        return out;
    }
    const char *host = uri_behind_scheme(t->url);
    if (host && *usual) {
        const char *path = host + strcspn(host, "/?"), *at = memchr(host, '@', (size_t)(path - host));
        host = at ? at + 1 : host;
        size_t n = (size_t)(path - host), port = strlen(usual), scheme = strcspn(t->url, ":");
        memcpy(out, t->url, scheme);
        memcpy(out + scheme, host, n);
        out[scheme + (n > port && !strncasecmp(path - port, usual, port) ? n - port : n)] = '\0';
        for (char *p = out; *p; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + ('a' - 'A') : *p);
        host = path;
    }
    if (is_scheme(t, "s3")) { /* names of objects are any bytes */
        memcpy(out, t->url, strlen(t->url));
        for (size_t n = strlen(out); n && out[n - 1] == '/'; n--)
            out[n - 1] = '\0';
        return out;
    }
    add_path(out, host && *usual ? host : t->url);
    return out;
}

/* mysql://user@host:port/DATABASE?options */
static bool is_database(struct build *b, const char *url, struct str schema)
{
    const char *host = uri_behind_scheme(url), *path = host ? host + strcspn(host, "/?") : "";
    return *path == '/' && str_eq(schema, str_of(decoded(b, (struct str){ path + 1, strcspn(path + 1, "?") })));
}

/* Is it one of those between commas, up to a blank? https://www.postgresql.org/docs/15/ddl-schemas.html, 5.9.3 */
static bool in_path(const char *path, struct str schema)
{
    for (const char *p = path; *p && *p != ' '; p += *p == ',') {
        struct str item = { p, strcspn(p, ", ") };
        p += item.n;
        if (item.n > 1 && *item.p == '"' && item.p[item.n - 1] == '"')
            item = (struct str){ item.p + 1, item.n - 2 };
        if (str_eq(item, schema))
            return true;
    }
    return false;
}

/* "$user", public is what the server has in search_path by itself; options=-csearch_path=... of the url is another one. */
static bool is_searched(struct build *b, const char *url, struct str schema)
{
    const char *host = uri_behind_scheme(url), *end = host ? host + strcspn(host, "/?") : "", *options = strstr(url, "options=");
    const char *at = host ? memchr(host, '@', (size_t)(end - host)) : NULL;
    const char *path = options ? strstr(decoded(b, (struct str){ options, strcspn(options, "&") }), "search_path=") : NULL;
    if (path)
        return in_path(path + strlen("search_path="), schema);
    return str_eq(schema, str_of("public")) || (at && str_eq(schema, str_of(decoded(b, (struct str){ host, (size_t)(at - host) }))));
}

static bool is_main(struct str schema) { return !schema.n || (schema.n == 4 && !strncasecmp(schema.p, "main", 4)); }

/* Their targets are one place, and their tables the same but for the schema and for case. */
static bool is_one(struct build *b, const struct spelling *x, const struct spelling *y)
{
    const struct target_config *t = x->schema.n ? y->target : x->target; /* where a schema is to be found for */
    if (is_scheme(t, "postgresql") && !str_eq(user_of(x->target), user_of(y->target)) && (!names_database(t) || (!x->schema.n && !y->schema.n)))
        return false; /* the schema "$user" is another one for each, and so is the database that has the user's name */
    if (x->target != y->target && !strcmp(x->bare, y->bare) && str_eq(x->schema, y->schema))
        return true;
    struct str schema = x->schema.n ? x->schema : y->schema;
    if (is_scheme(t, "sqlite"))
        return is_main(x->schema) && is_main(y->schema);
    if (strcmp(x->bare, y->bare) || (x->schema.n && y->schema.n))
        return false;
    return is_scheme(t, "mysql") ? is_database(b, t->url, schema) : is_scheme(t, "postgresql") && is_searched(b, t->url, schema);
}

static int by_table(const void *a, const void *b)
{
    const struct spelling *x = a, *y = b;
    int place = strcmp(x->place, y->place), bare = strcasecmp(x->bare, y->bare), text = strcmp(x->text, y->text);
    return place ? place : bare ? bare : text ? text : x->section - y->section;
}

static bool is_alike(const struct spelling *x, const struct spelling *y) { return !strcmp(x->place, y->place) && !strcasecmp(x->bare, y->bare); }

/* The one that stands further down is at fault. */
static void tell(struct build *b, const struct spelling *x, const struct spelling *y)
{
    const struct spelling *first = x->section < y->section ? x : y, *then = first == x ? y : x;
    build_fault(b, then->section, then->key, "'%s' is written '%s' in [%s], and a table needs one name: write it in one way everywhere%s", then->text,
                first->text, b->ini.sections[first->section].text,
                x->target != y->target                  ? " (the two targets are one place)"
                : is_scheme(x->target, "postgresql") ? ", with its schema"
                                                     : "");
}

static void add(struct build *b, struct spelling *all, int *n, int section, const char *key, const char *text)
{
    const struct recipe *r = b->bound[section].recipe;
    const struct target_config *t = r->target ? config_target(b->c, r->target) : NULL;
    const char *name = text ? strchr(text, '.') : NULL, *dot = name ? strchr(name + 1, '.') : NULL;
    if (t && name)
        all[(*n)++] = (struct spelling){ .target = t, .place = place_of(b, t), .text = text, .key = key, .section = section, .bare = dot ? dot + 1 : name + 1,
                                         .schema = { name + 1, dot ? (size_t)(dot - name - 1) : 0 } };
}

void build_check_names(struct build *b)
{
    int n = 0;
    struct spelling *all = calloc((size_t)b->ini.nsections * 2 + 1, sizeof *all);
    if (!all) {
        b->ini.failed = true;
        return;
    }
    for (int i = 0; i < b->ini.nsections; i++) {
        const struct bound *s = &b->bound[i];
        if (s->def != &section_defs[AT_PIPELINE] || !s->recipe || !(s->part || s->recipe == s->pipeline->parts))
            continue;
        add(b, all, &n, i, "table", s->recipe->table);
        if (s->recipe->late == LATE_ASIDE)
            add(b, all, &n, i, "late", s->recipe->late_table);
    }
    qsort(all, (size_t)n, sizeof *all, by_table);
    for (int i = 1, begin = 0; i < n; i++) {
        begin = is_alike(&all[i], &all[i - 1]) ? begin : i;
        if (i == begin || !strcmp(all[i].text, all[i - 1].text))
            continue;
        for (int k = begin; k < i; k++)
            if ((k == begin || strcmp(all[k].text, all[k - 1].text)) && is_one(b, &all[i], &all[k])) {
                tell(b, &all[i], &all[k]);
                break;
            }
    }
    free(all);
}
