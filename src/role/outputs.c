/* The loader's knowledge of an output as JSON, and back. */
#include "role/outputs.h"

#include "base/json.h"
#include "base/text.h"

/* Only a member of the object itself can be written so: in texts quotes are escaped. */
#define EVENT_MARK ",\"event_time\":true"

bool output_adds(const struct output *out) { return out->spec && strstr(out->spec, ",\"added\":"); }
bool output_has_window(const struct output *out)
{
    return out->kind == OUTPUT_ROWS && out->spec && strstr(out->spec, EVENT_MARK) && strstr(out->spec, ",\"after_load\":");
}

int output_spec_set(struct output *out, const struct recipe *recipe, const char *added, const char *added_of, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    struct json_out o;
    json_start(&o, &text);
    json_object(&o);
    json_put_text(&o, "columns", out->columns);
    json_put_text(&o, "mode", load_mode_names[out->refresh ? MODE_REPLACE : recipe->mode]);
    json_put_text(&o, "table", recipe->table_name);
    json_key(&o, "key");
    json_array(&o);
    for (int i = 0; i < recipe->nkey; i++)
        json_text(&o, str_of(recipe->key[i]));
    json_array_end(&o);
    if (added) {
        json_put_text(&o, "added", added);
        json_put_text(&o, "added_of", added_of);
    }
    if (recipe->only_if_changed)
        json_put_bool(&o, "only_if_changed", true);
    if (recipe->version)
        json_put_text(&o, "version", recipe->version);
    if (recipe->deleted)
        json_put_text(&o, "deleted", recipe->deleted);
    if (recipe->missing == MISSING_DELETE)
        json_put_bool(&o, "missing_delete", true);
    if (recipe->undo_ms)
        json_put_int(&o, "undo_ms", recipe->undo_ms);
    if (recipe->event_time)
        buf_adds(&text, EVENT_MARK);
    if (recipe->after_load)
        json_put_text(&o, "after_load", recipe->after_load);
    json_object_end(&o);
    if (text.failed)
        return err_nomem(err);
    free_charp(&out->columns);
    free(out->spec);
    out->spec = text.p;
    text = (struct buf){ 0 };
    return 0;
}

static const char *text_member(struct output_spec *s, const struct json_value *object, const char *name)
{
    struct json_value v;
    struct str text;
    if (json_member(object, name, &v) != 1 || v.kind != JSON_TEXT || !json_unescape(&v, &s->arena, &text))
        return NULL;
    return arena_dup(&s->arena, text);
}

static int spec_key(struct output_spec *s, const struct json_value *list)
{
    struct json_value v;
    struct str none, text;
    int *key = arena_alloc(&s->arena, (size_t)s->columns.n * sizeof *key), n = 0;
    for (size_t at = 0; key && json_next(list, &at, &none, &v) && n < s->columns.n; n++)
        if (v.kind != JSON_TEXT || !json_unescape(&v, &s->arena, &text) || (key[n] = columns_find(&s->columns, text)) < 0)
            return -1;
    s->table.key = key;
    s->table.nkey = n;
    return key ? 0 : -1;
}

/* Columns of the output that the table is to get. */
static int spec_added(struct output_spec *s, const struct json_value *object)
{
    AUTO(columns_clear) struct columns added = { 0 };
    struct err ignored; /* the caller says what it was */
    s->added = text_member(s, object, "added");
    s->added_of = text_member(s, object, "added_of");
    if (s->added && columns_parse(&added, s->added, &ignored) < 0)
        return -1;
    for (int i = 0; i < added.n; i++) {
        int at = columns_find(&s->columns, str_of(added.v[i].name));
        if (at >= 0)
            s->columns.v[at].added = true;
    }
    return 0;
}

/* What is written down only where it is given. */
static int spec_options(struct output_spec *s, const struct json_value *object)
{
    struct json_value v;
    const char *version = text_member(s, object, "version"), *deleted = text_member(s, object, "deleted");
    s->table.version = version ? columns_find(&s->columns, str_of(version)) : -1;
    s->table.deleted = deleted ? columns_find(&s->columns, str_of(deleted)) : -1;
    s->table.only_if_changed = json_member(object, "only_if_changed", &v) == 1;
    s->table.missing = json_member(object, "missing_delete", &v) == 1 ? MISSING_DELETE : MISSING_KEEP;
    s->after_load = text_member(s, object, "after_load");
    if (json_member(object, "undo_ms", &v) == 1 && !text_int_plain(v.raw, &s->table.undo_ms))
        return -1;
    return (version && s->table.version < 0) || (deleted && s->table.deleted < 0) ? -1 : 0;
}

int output_spec_get(struct output_spec *s, const struct output *out, struct err *err)
{
    struct json_value object, key;
    struct json_fault fault;
    *s = (struct output_spec){ 0 };
    if (!out->spec || !json_check(str_of(out->spec), &object, &fault) || object.kind != JSON_OBJECT)
        return err_set(err, ERR_STAGED_DAMAGED, "output %d has no description", out->number);
    const char *columns = text_member(s, &object, "columns"), *mode = text_member(s, &object, "mode");
    s->table.table = out->table;
    s->table.name = text_member(s, &object, "table");
    s->table.columns = &s->columns;
    s->table.mode = MODES;
    for (int i = 0; mode && i < MODES; i++)
        if (!strcmp(mode, load_mode_names[i]))
            s->table.mode = (enum load_mode)i;
    if (!columns || !s->table.name || s->table.mode == MODES || columns_parse(&s->columns, columns, err) < 0 ||
        json_member(&object, "key", &key) != 1 || key.kind != JSON_ARRAY || spec_key(s, &key) < 0 || spec_options(s, &object) < 0 ||
        spec_added(s, &object) < 0) {
        output_spec_clear(s);
        return err_set(err, ERR_STAGED_DAMAGED, "the description of output %d cannot be read", out->number);
    }
    return 0;
}

void output_spec_clear(struct output_spec *s)
{
    columns_clear(&s->columns);
    arena_clear(&s->arena);
}
