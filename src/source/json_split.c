/* Elements out of a stream of JSON. See json_split.h. Nothing here is kept on disk. */
#include "source/json_split.h"

#include <inttypes.h>
#include <string.h>

enum state { BETWEEN, IN_ARRAY, IN_VALUE_OF_ARRAY, IN_VALUE, BEHIND };

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static int refuse(const struct json_split *s, const char *what, struct err *err)
{
    return err_set(err, ERR_FORMAT, "element %" PRId64 " of the list: %s", s->n + 1, what);
}

static int give(struct json_split *s, struct err *err)
{
    struct json_value v;
    struct json_fault fault;
    if (s->one.failed)
        return err_nomem(err);
    bool good = json_check(buf_str(&s->one), &v, &fault), skip = !good && fault.kind == JSON_ENCODING && s->skips;
    if (!good && !skip)
        return refuse(s, fault.what, err);
    s->n++;
    s->skipped += skip;
    s->state = s->state == IN_VALUE ? BETWEEN : IN_ARRAY;
    return skip ? 0 : s->element(s->arg, &v, err);
}

/* A value begins. */
static int begin(struct json_split *s, char c, struct err *err)
{
    if (!strchr("{[\"", c))
        return refuse(s, "expected an object or a text", err);
    s->state = s->state == BETWEEN ? IN_VALUE : IN_VALUE_OF_ARRAY;
    s->depth = c != '"';
    s->text = c == '"';
    s->escaped = false;
    buf_reset(&s->one);
    buf_addc(&s->one, c);
    return 0;
}

/* Is the text in hand `{ … "KEY" :`, with one of the keys? */
static bool ends_in_key(const struct json_split *s)
{
    size_t n = s->one.n;
    while (n && is_space(s->one.p[n - 1]))
        n--;
    if (!n || s->one.p[--n] != ':')
        return false;
    while (n && is_space(s->one.p[n - 1]))
        n--;
    for (const char *const *k = s->keys; *k; k++) {
        size_t length = strlen(*k);
        if (n > length + 2 && s->one.p[n - 1] == '"' && s->one.p[n - length - 2] == '"' &&
            !memcmp(s->one.p + n - length - 1, *k, length))
            return true;
    }
    return false;
}

static int inside(struct json_split *s, char c, struct err *err)
{
    if (s->one.n == JSON_SPLIT_MAX)
        return err_set(err, ERR_LIMIT, "element %" PRId64 " of the list is longer than %d bytes", s->n + 1, JSON_SPLIT_MAX);
    bool array_of_keys = s->keys && s->state == IN_VALUE && !s->n && s->depth == 1 && !s->text && c == '[' && ends_in_key(s);
    if (array_of_keys) {
        s->state = IN_ARRAY;
        return 0;
    }
    buf_addc(&s->one, c);
    if (s->escaped)
        s->escaped = false;
    else if (s->text && c == '\\')
        s->escaped = true;
    else if (c == '"')
        s->text = !s->text;
    else if (!s->text)
        s->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    return s->depth <= 0 && !s->text ? give(s, err) : 0;
}

static int one(struct json_split *s, char c, struct err *err)
{
    if (s->state == IN_VALUE || s->state == IN_VALUE_OF_ARRAY)
        return inside(s, c, err);
    if (s->state == BEHIND || is_space(c))
        return 0;
    if (s->state == BETWEEN && !s->n && c == '[') {
        s->state = IN_ARRAY;
        return 0;
    }
    if (s->state == IN_ARRAY && c == ']') {
        s->state = BEHIND;
        return 0;
    }
    return s->state == IN_ARRAY && c == ',' ? 0 : begin(s, c, err);
}

int json_split_add(struct json_split *s, struct str bytes, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < bytes.n; i++)
        rc = one(s, bytes.p[i], err);
    return rc;
}

int json_split_end(struct json_split *s, struct err *err)
{
    if (s->state == BETWEEN || s->state == BEHIND)
        return 0;
    return err_set(err, ERR_TRUNCATED, "the list ends in the middle, behind %" PRId64 " element%s", s->n, s->n == 1 ? "" : "s");
}

void json_split_clear(struct json_split *s)
{
    buf_clear(&s->one);
}
