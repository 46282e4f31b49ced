/*
 * The plain version of json_row: slow, and the definition of what the fast one gives. Each path is
 * followed by itself, from the start, over a text that json_check() passed.
 */
#ifndef QETL_TESTS_JSON_PLAIN_H
#define QETL_TESTS_JSON_PLAIN_H

#include <assert.h>

#include "read/json_row.h"

enum plain_end { PLAIN_ABSENT, PLAIN_FOUND, PLAIN_REFUSED };

/* One step: its value, or why not. */
static enum plain_end plain_step(const struct json_value *in, const struct json_step *step,
                                 struct json_value *out)
{
    struct str key;
    struct json_value v;
    size_t at = 0;
    enum plain_end end = PLAIN_ABSENT;
    if (in->kind == JSON_NULL)
        return PLAIN_ABSENT;
    if (in->kind != (step->index < 0 ? JSON_OBJECT : JSON_ARRAY))
        return PLAIN_REFUSED;
    for (int64_t i = 0; json_next(in, &at, &key, &v); i++) {
        if (step->index < 0 ? !json_text_is(key, step->key) : i != step->index)
            continue;
        if (end == PLAIN_FOUND)
            return PLAIN_REFUSED; /* twice */
        end = PLAIN_FOUND;
        *out = v;
    }
    return end;
}

static enum plain_end plain_follow(const struct json_value *root, const struct json_step *steps,
                                   int n, struct json_value *out)
{
    *out = *root;
    for (int i = 0; i < n; i++) {
        struct json_value in = *out;
        enum plain_end end = plain_step(&in, &steps[i], out);
        if (end != PLAIN_FOUND)
            return end;
    }
    return PLAIN_FOUND;
}

/* Is the field what the plain way finds? Asserts that it is; false: the plain way refuses the row.
 */
static bool plain_field(const struct json_value *root, const char *path, const struct field *field)
{
    static const enum field_kind kinds[] = {
        [JSON_NULL] = FIELD_NULL,     [JSON_FALSE] = FIELD_FALSE, [JSON_TRUE] = FIELD_TRUE,
        [JSON_NUMBER] = FIELD_NUMBER, [JSON_TEXT] = FIELD_QUOTED, [JSON_ARRAY] = FIELD_RAW,
        [JSON_OBJECT] = FIELD_RAW
    };
    struct json_step steps[JSON_STEPS];
    struct arena arena = { 0 };
    struct json_value v;
    struct err err;
    int n = json_path_parse(path, steps, &arena, &err);
    assert(n > 0);
    enum plain_end end = plain_follow(root, steps, n, &v);
    struct str text = v.raw;
    bool fine = end != PLAIN_REFUSED &&
                (end != PLAIN_FOUND || v.kind != JSON_TEXT || json_unescape(&v, &arena, &text));
    if (fine && field && end == PLAIN_ABSENT)
        assert(field->kind == FIELD_ABSENT);
    if (fine && field && end == PLAIN_FOUND)
        assert(field->kind == kinds[v.kind] && str_eq((struct str){ field->p, field->n }, text));
    arena_clear(&arena);
    return fine;
}

/* Scan a text with the fast version and hold it against the plain one, for columns that ask for
 * objects only. */
__attribute__((unused)) static bool plain_compare(struct json_row *r, const struct columns *c,
                                                  struct str text)
{
    struct field fields[16];
    struct arena arena = { 0 };
    struct json_refusal no;
    struct json_value root;
    struct json_fault fault;
    assert(c->n <= 16);
    char *copy = calloc(1, text.n + 16); /* the slack that the fast one asks for */
    assert(copy);
    memcpy(copy, text.p, text.n);
    text.p = copy;
    int rc = json_row_scan(r, text, false, fields, &arena, &no);
    bool fine = json_check(text, &root, &fault) && root.kind == JSON_OBJECT;
    for (int i = 0; i < c->n && fine; i++)
        fine = plain_field(&root, c->v[i].from, rc == 1 ? &fields[i] : NULL);
    assert(rc == fine);
    if (rc == 0 && no.value.n)
        assert(no.value.p >= text.p && no.value.p + no.value.n <= text.p + text.n);
    arena_clear(&arena);
    free(copy);
    return rc == 1;
}

#endif
