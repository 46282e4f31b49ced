/* What of a result cannot be: the child read foreign bytes, and may have become what they wanted. See reader.h. */
#include "role/reader.h"

#include <string.h>

#include "base/json.h"

#define PAUSE_MAX_MS (367 * INT64_C(86400000)) /* the longest that a quota can name, and a day */

static bool is_json(const char *text, enum json_kind kind)
{
    struct json_value v;
    struct json_fault fault;
    return !text || (json_check(str_of(text), &v, &fault) && v.kind == kind);
}

static bool asks(const struct pipeline *p)
{
    for (int i = 0; i < p->nparts; i++)
        if (p->parts[i].nenrich)
            return true;
    return false;
}

/* By those of the worker's own doing the job would go back without an end, or be forgotten; a pause holds all jobs of a remote. */
static const char *err_fault(const struct err *e, const struct pipeline *p)
{
    bool waits = e->code == ERR_ENRICH_BUSY || e->code == ERR_ENRICH_DOWN || e->code == ERR_ENRICH_QUOTA;
    if (e->code == ERR_SHUTDOWN || e->code == ERR_LEASE_LOST || e->code == ERR_CANCELLED || (waits && !asks(p)))
        return "it gave an error that is not its to give";
    return e->retry_after_ms < 0 || e->retry_after_ms > (waits ? PAUSE_MAX_MS : 0) ? "it asked for a pause that cannot be" : NULL;
}

static const char *rows_fault(const struct output *o, const struct pipeline *p)
{
    if (o->number >= p->nparts)
        return "it made an output of a part that is none";
    const struct recipe *part = &p->parts[o->number];
    if (!part->table || strncmp(o->table, part->table, sizeof o->table - 1) != 0)
        return "it made an output for another table than its part's";
    return o->refresh && !recipe_is_message(part) ? "it would replace a table, and no message can have said so" : NULL;
}

static const char *output_fault(const struct output *o, const struct pipeline *p)
{
    if (o->inlined.n != (o->in_file ? 0 : (size_t)o->bytes))
        return "it counted other bytes in an output than it gave";
    if (!is_json(o->spec, JSON_OBJECT) || !is_json(o->sample, JSON_ARRAY))
        return "it described an output by what is no JSON";
    return o->kind == OUTPUT_ROWS ? rows_fault(o, p) : NULL;
}

/* The rows of all outputs of a kind. */
static bool sum_of(const struct reader_result *r, enum output_kind kind, uint64_t *sum)
{
    *sum = 0;
    for (int i = 0; i < r->noutputs; i++)
        if (r->outputs[i].kind == kind && __builtin_add_overflow(*sum, (uint64_t)r->outputs[i].rows, sum))
            return false;
    return true;
}

static bool has_twice(const struct reader_result *r)
{
    for (int i = 0; i < r->noutputs; i++)
        for (int j = 0; j < i; j++)
            if (r->outputs[i].number == r->outputs[j].number ||
                (r->outputs[i].kind == OUTPUT_REJECTS && r->outputs[j].kind == OUTPUT_REJECTS))
                return true;
    return false;
}

static const char *sizes_fault(const struct pipeline_counts *c)
{
    const uint64_t all[] = { c->read, c->added, c->staged, c->rejected, c->filtered, c->bytes_in, c->bytes_out, c->members, c->late };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i] > INT64_MAX / 4) /* and no sum of them overflows */
            return "it counted more than there can be";
    return NULL;
}

/* read + added = staged + rejected + filtered, and the outputs have just those that are staged and rejected. */
static const char *books_fault(const struct reader_result *r)
{
    const struct pipeline_counts *c = &r->counts;
    uint64_t staged, rejected;
    if (c->read + c->added != c->staged + c->rejected + c->filtered)
        return "its counts of rows do not add up";
    if (!sum_of(r, OUTPUT_ROWS, &staged) || !sum_of(r, OUTPUT_REJECTS, &rejected) || staged != c->staged || rejected != c->rejected)
        return "its outputs have other rows than it counted";
    return c->late > c->read + c->added ? "more rows are late than it read" : NULL;
}

const char *reader_result_fault(const struct reader_result *r, const struct pipeline *p)
{
    const char *why = sizes_fault(&r->counts);
    bool refused = r->rc < 0 && r->err.code == ERR_REJECTS;
    if (!why && r->rc < 0)
        why = err_fault(&r->err, p);
    if (!why && r->peak_rss < 0)
        why = "it had an impossible peak of memory";
    if (!why && has_twice(r))
        why = "it made an output twice";
    for (int i = 0; i < r->noutputs && !why; i++)
        why = refused && (r->outputs[i].kind != OUTPUT_REJECTS || r->outputs[i].in_file)
                  ? "it died of rejects and made other outputs"
                  : output_fault(&r->outputs[i], p);
    if (!why && r->rc == 0)
        why = books_fault(r);
    return why;
}
