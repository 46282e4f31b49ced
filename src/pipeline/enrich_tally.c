/* What became of keys, as JSON and back. See enrich_tally.h. Nothing is kept here. */
#include "pipeline/enrich_tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

enum {
    NOTE_MAX = 500,
    NOTED_PATHS = 300, /* bytes of a note for the paths */
    TEXT_MAX = 2000,   /* of a text of the report, more than any that is made here */
};

static void paths_of(const struct columns *c, char *out, size_t cap)
{
    size_t n = 0;
    for (int i = 0; i < c->n; i++) {
        const char *from = c->v[i].from;
        if (n + strlen(from) + 6 > cap) {
            snprintf(out + n, cap - n, "%s...", n ? ", " : "");
            return;
        }
        n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", from);
    }
}

/* A typo in a path, or an answer that is an error though its status is 200, looks like this. */
static const char *note_of(const struct enrich_tally *e, const struct enrich_config *c, char out[NOTE_MAX])
{
    char paths[NOTED_PATHS];
    if (!e->bare || e->missed + e->failed < e->keys)
        return NULL;
    paths_of(&c->columns, paths, sizeof paths);
    snprintf(out, NOTE_MAX, "all %" PRIu64 " answers of [enrich %.80s] lack the paths of its columns: %s", e->bare, c->name, paths);
    return out;
}

void enrich_tally_json(const struct enrich_tally *e, const struct enrich_config *c, const char *recipe, struct json_out *o)
{
    char note[NOTE_MAX];
    if (!e->keys)
        return;
    json_object(o);
    json_put_text(o, "pipeline", recipe);
    json_put_text(o, "enrich", c->name);
    json_put_int(o, "keys", (int64_t)e->keys);
    json_put_int(o, "cached", (int64_t)e->cached);
    json_put_int(o, "missed", (int64_t)e->missed);
    json_put_int(o, "failed", (int64_t)e->failed);
    json_put_text(o, "error", *e->why ? e->why : NULL);
    json_put_text(o, "note", note_of(e, c, note));
    json_object_end(o);
}

/* ---- what is taken of one ---- */

static bool number(const struct json_value *o, const char *name, int64_t *out)
{
    struct json_value v;
    return json_member(o, name, &v) == 1 && v.kind == JSON_NUMBER && text_int(v.raw, out) && *out >= 0;
}

static bool text_is(const struct json_value *o, const char *name, const char *is, struct arena *arena)
{
    struct json_value v;
    struct str text;
    return json_member(o, name, &v) == 1 && v.kind == JSON_TEXT && json_unescape(&v, arena, &text) && str_eq(text, str_of(is));
}

static bool text_or_null(const struct json_value *o, const char *name)
{
    struct json_value v;
    return json_member(o, name, &v) == 1 && (v.kind == JSON_NULL || (v.kind == JSON_TEXT && v.raw.n <= TEXT_MAX));
}

static bool is_one(const struct json_value *o)
{
    int64_t keys, cached, missed, failed;
    return number(o, "keys", &keys) && number(o, "cached", &cached) && number(o, "missed", &missed) && number(o, "failed", &failed) &&
           keys > 0 && cached <= keys && missed <= keys && failed <= keys - missed && text_or_null(o, "error") && text_or_null(o, "note");
}

/* The [enrich] that an element is about: behind those of the elements before it. */
struct about {
    int part, enrich;
};

static bool is_next(const struct json_value *o, const struct pipeline *p, struct about *at, struct arena *arena)
{
    for (; at->part < p->nparts; at->part++, at->enrich = 0)
        while (at->enrich < p->parts[at->part].nenrich) {
            const struct recipe *r = &p->parts[at->part];
            const char *enrich = r->enrich[at->enrich++];
            if (text_is(o, "pipeline", r->name, arena) && text_is(o, "enrich", enrich, arena))
                return true;
        }
    return false;
}

bool enrich_tally_is(const char *text, const struct pipeline *p)
{
    struct arena arena = { 0 };
    struct about at = { 0 };
    struct json_value list, v;
    struct json_fault fault;
    struct str none;
    bool good = json_check(str_of(text), &list, &fault) && list.kind == JSON_ARRAY;
    for (size_t i = 0; good && json_next(&list, &i, &none, &v);)
        good = v.kind == JSON_OBJECT && is_next(&v, p, &at, &arena) && is_one(&v);
    arena_clear(&arena);
    return good;
}
