/* Messages to jobs. See submission.h. */
#include "role/submission.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/sys.h"
#include "base/text.h"
#include "source/source.h"

enum { OBJECTS_MAX = 10000 }; /* of one job */

void submission_reset(struct submission *s)
{
    struct arena arena = s->arena;
    *s = (struct submission){ .arena = arena };
    arena_reset(&s->arena);
}

void submission_clear(struct submission *s)
{
    arena_clear(&s->arena);
    *s = (struct submission){ 0 };
}

static int check_uri(const char *uri, struct err *err)
{
    enum source_kind kind;
    const char *authority = strstr(uri, "://");
    if (authority) {
        authority += 3;
        const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
        if (at && memchr(authority, ':', (size_t)(at - authority)))
            return err_set(err, ERR_USAGE,
                           "a URI may not hold a password; give user and password in a [remote] section whose url begins it");
    }
    return source_kind(uri, &kind, err);
}

int submission_object(struct submission *s, struct buf *objects, const char *typed, struct err *err)
{
    AUTO(free_charp) char *uri = source_absolute(typed);
    if (!uri)
        return err_nomem(err);
    if (check_uri(uri, err) < 0)
        return -1;
    struct json_out o;
    if (objects->n)
        objects->n--; /* the closing bracket comes back behind the new one */
    buf_addc(objects, objects->n ? ',' : '[');
    json_start(&o, objects);
    json_text(&o, str_of(uri));
    buf_addc(objects, ']');
    s->job.objects = buf_str(objects);
    return objects->failed ? err_nomem(err) : 0;
}

int submission_time(const char *text, int64_t *ms, struct err *err)
{
    int64_t d;
    *ms = text_rfc3339_ms(str_of(text));
    if (*ms != INT64_MIN)
        return 0;
    if (!text_duration(str_of(text), &d))
        return err_set(err, ERR_USAGE, "'%.80s' is neither an RFC 3339 time nor a duration such as 10m", text);
    *ms = sys_now_ms() + d;
    return 0;
}

int submission_priority(int64_t priority, struct err *err)
{
    if (priority < -PRIORITY_MAX || priority > PRIORITY_MAX)
        return err_set(err, ERR_USAGE, "a priority is a whole number from -%d to %d", PRIORITY_MAX, PRIORITY_MAX);
    return 0;
}

/* ---- the message ---- */

static int text_of(struct submission *s, const char *key, const struct json_value *v, const char **out, struct err *err)
{
    struct str text;
    if (v->kind != JSON_TEXT || !json_unescape(v, &s->arena, &text) || (text.n && memchr(text.p, 0, text.n)))
        return err_set(err, ERR_USAGE, "\"%s\" must be a text", key);
    return (*out = arena_dup(&s->arena, text)) ? 0 : err_nomem(err);
}

static int take_pipeline(struct submission *s, const char *key, const struct json_value *v, struct err *err)
{
    if (s->job.pipeline)
        return err_set(err, ERR_USAGE, "the pipeline is named twice");
    return text_of(s, key, v, &s->job.pipeline, err);
}

static int take_params(struct submission *s, const char *key, const struct json_value *v, struct err *err)
{
    s->job.params = v->raw;
    return v->kind == JSON_OBJECT ? 0 : err_set(err, ERR_USAGE, "\"%s\" must be an object", key);
}

/* The same array with absolute paths: what is queued means the same to every process. */
static int absolute_objects(struct submission *s, const struct json_value *v, struct err *err)
{
    AUTO(buf_clear) struct buf objects = { 0 };
    struct json_value item;
    struct str none;
    const char *uri;
    for (size_t at = 0; json_next(v, &at, &none, &item);)
        if (text_of(s, "objects", &item, &uri, err) < 0 || submission_object(s, &objects, uri, err) < 0)
            return -1;
    s->job.objects.p = arena_dup(&s->arena, buf_str(&objects));
    return s->job.objects.p ? 0 : err_nomem(err);
}

static int take_objects(struct submission *s, const char *key, const struct json_value *v, struct err *err)
{
    struct json_value item;
    struct str none;
    const char *uri;
    bool relative = false, any = false;
    if (v->kind != JSON_ARRAY)
        return err_set(err, ERR_USAGE, "\"%s\" must be an array of URIs", key);
    for (size_t at = 0; json_next(v, &at, &none, &item); any = true) {
        if (text_of(s, key, &item, &uri, err) < 0 || check_uri(uri, err) < 0)
            return -1;
        relative |= source_is_relative(uri);
    }
    s->job.objects = any ? v->raw : (struct str){ 0 };
    return relative ? absolute_objects(s, v, err) : 0;
}

static int take_unique(struct submission *s, const char *key, const struct json_value *v, struct err *err)
{
    return text_of(s, key, v, &s->job.unique, err);
}

static int take_priority(struct submission *s, const char *key, const struct json_value *v, struct err *err)
{
    s->has_priority = true;
    if (v->kind != JSON_NUMBER || !text_int(v->raw, &s->job.priority))
        return err_set(err, ERR_USAGE, "\"%s\" must be a whole number", key);
    return submission_priority(s->job.priority, err);
}

static int take_at(struct submission *s, const char *key, const struct json_value *v, struct err *err)
{
    const char *text;
    return text_of(s, key, v, &text, err) < 0 ? -1 : submission_time(text, &s->job.run_at, err);
}

static const struct {
    const char *key;
    int (*take)(struct submission *s, const char *key, const struct json_value *v, struct err *err);
} message_keys[] = {
    { "pipeline", take_pipeline }, { "method", take_pipeline }, { "params", take_params }, { "objects", take_objects },
    { "priority", take_priority }, { "at", take_at },           { "unique", take_unique },
};

static int take_member(struct submission *s, struct str quoted, const struct json_value *v, struct err *err)
{
    struct json_value as_text = { JSON_TEXT, quoted };
    struct str key;
    if (!json_unescape(&as_text, &s->arena, &key))
        return err_set(err, ERR_USAGE, "a key cannot be read");
    for (size_t i = 0; i < COUNT_OF(message_keys); i++)
        if (str_eq(key, str_of(message_keys[i].key)))
            return message_keys[i].take(s, message_keys[i].key, v, err);
    return err_set(err, ERR_USAGE, "unknown key \"%.*s\"; known: pipeline (or method), objects, params, priority, at, unique",
                   (int)(key.n < 80 ? key.n : 80), key.p);
}

int submission_parse(struct submission *s, struct str line, struct err *err)
{
    struct json_value doc, v;
    struct json_fault fault;
    struct str key;
    submission_reset(s);
    if (!json_check(line, &doc, &fault))
        return err_set(err, ERR_USAGE, "byte %zu: %s", fault.at, fault.what);
    if (doc.kind != JSON_OBJECT)
        return err_set(err, ERR_USAGE, "a JSON object was expected");
    for (size_t at = 0; json_next(&doc, &at, &key, &v);)
        if (take_member(s, key, &v, err) < 0)
            return -1;
    return s->job.pipeline ? 0 : err_set(err, ERR_USAGE, "no \"pipeline\" (or \"method\")");
}

/* Does the source become a URI with the parameters that the job has? Asked here, so that a misspelt one is not found out by a
 * worker. */
static int fill_source(const struct pipeline *p, struct str params, struct buf *uri, struct err *err)
{
    if (source_expand(p->source, params.n ? params : STR("{}"), uri, err) < 0 || check_uri(uri->p, err) < 0)
        return err_in(err, "source of pipeline '%s'", p->name);
    return 0;
}

static int first_object(struct submission *s, const char **uri, struct err *err)
{
    struct json_value list, item;
    struct json_fault fault;
    struct str key;
    size_t at = 0;
    if (!json_check(s->job.objects, &list, &fault) || !json_next(&list, &at, &key, &item))
        return err_set(err, ERR_INTERNAL, "the objects are not a JSON array");
    return text_of(s, "objects", &item, uri, err);
}

/* A job that names several places is bound by the first one's limits. */
static int resolve_remote(struct submission *s, const struct config *config, const struct pipeline *p, struct err *err)
{
    AUTO(buf_clear) struct buf source = { 0 };
    struct job_new *n = &s->job;
    const char *uri;
    if (p->command.argv || s->replay) {
        n->remote = NULL;
        return 0;
    }
    if (n->objects.n ? first_object(s, &uri, err) < 0 : fill_source(p, n->params, &source, err) < 0)
        return -1;
    n->remote = config_remote_name(config, n->objects.n ? uri : source.p, s->remote, sizeof s->remote);
    return 0;
}

/* What after_load does by the watermark is done in the order of the jobs, one behind the other: a lane of the pipeline's own, which no
 * table is called as. */
static int event_lane(struct submission *s, const struct pipeline *p, struct err *err)
{
    AUTO(buf_clear) struct buf lane = { 0 };
    char *name;
    if (!p->parts[0].after_load || !pipeline_has_events(p))
        return 0;
    buf_addf(&lane, "events of %s", p->name);
    if (lane.failed || !(name = arena_dup(&s->arena, buf_str(&lane))))
        return err_nomem(err);
    s->lanes[s->job.nlanes++] = name;
    return 0;
}

int submission_resolve(struct submission *s, const struct config *config, struct err *err)
{
    struct job_new *n = &s->job;
    const struct pipeline *p = config_pipeline(config, n->pipeline);
    if (!p)
        return config_no_pipeline(config, n->pipeline, err);
    if (n->objects.n && p->command.argv && !s->replay)
        return err_set(err, ERR_USAGE, "pipeline '%s' runs a command: give it parameters by -p, and no URIs", p->name);
    if (!n->objects.n && !p->source && !p->command.argv)
        return err_set(err, ERR_USAGE, "pipeline '%s' has no source: name at least one URI", p->name);
    if (!n->objects.n && p->source && pipeline_is_scanned(p))
        return err_set(err, ERR_USAGE, "the source of pipeline '%s' is scanned: name at least one URI, or run qetlctl scan %s", p->name,
                       p->name);
    if (resolve_remote(s, config, p, err) < 0)
        return -1;
    n->target = p->parts[0].target;
    n->attempts_max = p->attempts;
    if (!s->has_priority)
        n->priority = p->priority;
    n->lanes = s->lanes;
    n->nlanes = 0;
    n->lane_replace = true; /* of all its tables: else to overtake, or to be superseded, would drop rows */
    for (int i = 0; i < p->nparts; i++) {
        bool known = p->parts[i].mode == MODE_APPEND && !recipe_is_message(&p->parts[i]); /* a message may replace */
        for (int k = 0; k < n->nlanes; k++)
            known |= !strcmp(s->lanes[k], p->parts[i].table);
        if (!known)
            s->lanes[n->nlanes++] = p->parts[i].table;
        n->lane_replace &= p->parts[i].mode == MODE_REPLACE;
    }
    return event_lane(s, p, err);
}

/* ---- the way back ---- */

/* What stands for the object of a pipeline whose command= gives its bytes. */
static char *command_uri(const struct pipeline *p)
{
    char *uri;
    return asprintf(&uri, "command:%s", p->command.argv[0]) < 0 ? NULL : uri;
}

int submission_uris(const char *objects, const char *params, const struct pipeline *p, bool replay, struct arena *arena, char ***uris,
                    int *n, struct err *err)
{
    *n = 0;
    if (!(*uris = arena_alloc(arena, OBJECTS_MAX * sizeof **uris)))
        return err_nomem(err);
    struct json_value list, item;
    struct json_fault fault;
    struct str key, text;
    if (objects && *objects) {
        if (!json_check(str_of(objects), &list, &fault) || list.kind != JSON_ARRAY)
            return err_set(err, ERR_INTERNAL, "the job's objects are not a JSON array");
        for (size_t at = 0; json_next(&list, &at, &key, &item);) {
            if (*n == OBJECTS_MAX)
                return err_set(err, ERR_LIMIT, "more than %d objects in one job", OBJECTS_MAX);
            if (item.kind != JSON_TEXT || !json_unescape(&item, arena, &text) ||
                !((*uris)[(*n)++] = arena_dup(arena, text)))
                return err_set(err, ERR_INTERNAL, "an object of the job is not a text");
        }
    }
    if (*n && p->command.argv && !replay)
        return err_set(err, ERR_CONFIG, "pipeline '%s' runs a command: its jobs take parameters and no objects", p->name);
    if (*n)
        return 0;
    if (p->command.argv) {
        AUTO(free_charp) char *command = command_uri(p);
        return command && ((*uris)[(*n)++] = arena_dup(arena, str_of(command))) ? 0 : err_nomem(err);
    }
    if (!p->source)
        return err_set(err, ERR_CONFIG, "the job names no object and pipeline '%s' has no source", p->name);
    AUTO(buf_clear) struct buf uri = { 0 };
    if (source_expand(p->source, str_of(params && *params ? params : "{}"), &uri, err) < 0)
        return err_in(err, "source of pipeline '%s'", p->name);
    if (!((*uris)[(*n)++] = arena_dup(arena, buf_str(&uri))))
        return err_nomem(err);
    return 0;
}
