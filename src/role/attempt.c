/* Columns known ▸ objects read ▸ outputs described. See attempt.h. */
#include "role/attempt.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "queue/drift.h"
#include "role/outputs.h"

enum { ADD_TRIES = 5 }; /* runs that find columns to add */

void attempt_clear(struct attempt *a)
{
    for (int i = 0; i < PIPELINE_PARTS_MAX; i++) {
        part_known_clear(&a->known[i]);
        free_charp(&a->fresh[i]);
    }
}

/* ---- columns ---- */

int attempt_ask(struct attempt *a, struct queue *q, struct err *err)
{
    const struct pipeline *p = a->feed->pipeline;
    for (int i = 0; i < p->nparts; i++) {
        const struct recipe *r = &p->parts[i];
        struct part_known *known = &a->known[i];
        if ((!r->columns.n && job_columns_get(q, r->name, &known->columns, err) < 0) || job_header_get(q, r->name, &known->header, err) < 0 ||
            (r->on_new == ON_NEW_ADD && job_added_get(q, r->name, &known->added, err) < 0))
            return -1;
    }
    return 0;
}

static bool lacks_columns(const struct attempt *a, int part)
{
    return !a->feed->pipeline->parts[part].columns.n && !a->known[part].columns;
}

/* Columns of a part that were found out are known from now on. *columns is taken where nobody keeps them. */
static int know_columns(struct attempt *a, int part, char **columns, const char *uri, struct err *err)
{
    const struct recipe *r = &a->feed->pipeline->parts[part];
    struct part_known *known = &a->known[part];
    if (!*columns)
        return err_set(err, ERR_INFER, "the first object has no member for '%s' to take columns from", r->name);
    log_event(LOG_INFO, "columns inferred", "pipeline", r->name, "from",
              r->infer == INFER_SAMPLE ? "a sample of the first member" : "the whole first member", "columns", *columns, NULL);
    if (!a->queue) {
        known->columns = *columns;
        *columns = NULL;
        return 0;
    }
    if (job_columns_set(a->queue, r->name, *columns, uri, err) < 0)
        return -1;
    return job_columns_get(a->queue, r->name, &known->columns, err) < 0 ? -1 : 0; /* another worker may have been first */
}

int attempt_columns(struct attempt *a, char *const *uris, struct err *err)
{
    struct feed *f = a->feed;
    bool missing = false;
    for (int i = 0; i < f->pipeline->nparts; i++)
        missing |= lacks_columns(a, i);
    if (!missing)
        return 0;
    if (f->rejects)
        return err_set(err, ERR_INFER, "pipeline '%s' gives no columns, and rejects are nothing to take them from", f->pipeline->name);
    if (feed_run(f, uris, 1, NULL, true, err) < 0)
        return -1;
    for (int i = 0; i < f->pipeline->nparts; i++)
        if (lacks_columns(a, i) && know_columns(a, i, &f->result.inferred[i], uris[0], err) < 0)
            return -1;
    return 0;
}

/* Those that are found stand behind the ones of the text; one of the same name stays as it is. */
static int text_extend(char **columns, const char *found, struct err *err)
{
    AUTO(columns_clear) struct columns all = { 0 };
    AUTO(buf_clear) struct buf text = { 0 };
    if ((*columns && columns_parse(&all, *columns, err) < 0) || columns_extend(&all, found, err) < 0)
        return -1;
    columns_print(&all, &text);
    if (text.failed)
        return err_nomem(err);
    free(*columns);
    *columns = text.p;
    text = (struct buf){ 0 };
    return 0;
}

/* on_new_column = add: what the run found is a column of the next one. Gives how many parts have some. */
static int add_columns(struct attempt *a, struct err *err)
{
    int parts = 0;
    for (int i = 0; i < a->feed->pipeline->nparts; i++) {
        const char *found = a->feed->result.found[i].added;
        if (!found)
            continue;
        if (text_extend(&a->known[i].added, found, err) < 0 || text_extend(&a->fresh[i], found, err) < 0)
            return err_in(err, "new columns '%s'", found);
        parts++;
    }
    return parts;
}

static bool has_column(const struct columns *all, const struct column *c)
{
    int at = columns_find(all, str_of(c->name));
    return at >= 0 && !strcmp(all->v[at].name, c->name) && !strcmp(all->v[at].from, c->from) && all->v[at].type == c->type &&
           all->v[at].scale == c->scale && all->v[at].unit == c->unit;
}

/* Keep what a part brought for other jobs. 1: another job has kept one of them as something else, which it is here, too; 0; -1. */
static int keep_part(struct attempt *a, int part, struct err *err)
{
    AUTO(columns_clear) struct columns mine = { 0 }, all = { 0 };
    AUTO(free_charp) char *kept = NULL;
    const char *name = a->feed->pipeline->parts[part].name;
    if (columns_parse(&mine, a->fresh[part], err) < 0 || job_added_put(a->queue, name, &mine, a->job, err) < 0 ||
        job_added_get(a->queue, name, &kept, err) < 0 || columns_extend(&all, kept, err) < 0)
        return err_in(err, "new columns '%s'", a->fresh[part]);
    bool other = false;
    for (int i = 0; i < mine.n; i++)
        other |= !has_column(&all, &mine.v[i]);
    if (!other)
        return 0;
    free(a->known[part].added);
    a->known[part].added = kept;
    kept = NULL;
    return 1;
}

/* The run is over and was good: what it brought is a column of the pipeline from now on. Gives how many parts have to be read again, for
 * another job was first and its columns are others. */
static int keep_columns(struct attempt *a, struct err *err)
{
    int again = 0;
    for (int i = 0; i < a->feed->pipeline->nparts; i++) {
        if (!a->fresh[i])
            continue;
        int rc = a->queue ? keep_part(a, i, err) : 0;
        if (rc < 0)
            return -1;
        again += rc;
        if (!rc)
            log_event(LOG_INFO, "columns added", "job", a->feed->uid, "pipeline", a->feed->pipeline->parts[i].name, "columns", a->fresh[i], NULL);
        free_charp(&a->fresh[i]);
    }
    return again;
}

/* ---- rows ---- */

/* A file that changed while it was read may look like a bad one: then that it changed is what is wrong. */
static int judge_changed(struct feed *f, char *const *uris, int rc, struct err *err)
{
    struct err changed = { 0 };
    if (rc == 0)
        return feed_unchanged(f, uris, err);
    if (f->result.rc < 0 && err_class(err->code) == ERR_PERMANENT && feed_unchanged(f, uris, &changed) < 0 && changed.code == ERR_CHANGED)
        *err = changed;
    return -1;
}

/* Once, and again with the columns that it found, and again with those of another job that was first. */
int attempt_read(struct attempt *a, char *const *uris, int n, struct err *err)
{
    struct feed *f = a->feed;
    int rc = feed_run(f, uris, n, a->known, false, err);
    for (int again = 0;; again++) {
        struct err trouble;
        int more = rc == 0 ? keep_columns(a, &trouble) : err->code == ERR_DRIFT ? add_columns(a, &trouble) : 0;
        if (more < 0)
            *err = trouble;
        if (more <= 0)
            return more < 0 ? -1 : judge_changed(f, uris, rc, err);
        if (again == ADD_TRIES)
            return err_set(err, ERR_DRIFT, "after %d runs there are still columns to be added", ADD_TRIES);
        attempt_discard(f);
        f->again = true;
        rc = feed_run(f, uris, n, a->known, false, err);
    }
}

/* ---- dedupe ---- */

/* Which objects were loaded before, or come twice? Gives their number. */
static int same_objects(struct attempt *a, struct queue *q, struct err *err)
{
    struct feed *f = a->feed;
    int same = 0;
    for (int i = 0; i < f->nobjects; i++) {
        struct job_object *o = &f->objects[i];
        int rc = q ? job_content(q, f->pipeline->name, o->sha256, a->job, &o->same_as, err) : 0;
        if (rc < 0)
            return -1;
        if (rc != 1)
            o->same_as = 0;
        for (int j = 0; j < i && !o->same_as; j++)
            if (!f->objects[j].same_as && !memcmp(f->objects[j].sha256, o->sha256, sizeof o->sha256))
                o->same_as = a->job;
        same += o->same_as != 0;
    }
    return same;
}

static int read_rest(struct attempt *a, char *const *rest, int n, struct err *err)
{
    struct feed *f = a->feed;
    f->again = true;
    if (n)
        return feed_run(f, rest, n, a->known, false, err) < 0 ? -1 : feed_unchanged(f, rest, err);
    reader_result_clear(&f->result);
    f->result.counts.greatest = EVENT_NONE;
    return 0;
}

/* Once more without those that are the same, which then stand behind the others. rest, same: room for all of them. */
static int read_without_same(struct attempt *a, char *const *uris, int n, char **rest, struct job_object *same, struct err *err)
{
    struct feed *f = a->feed;
    int nrest = 0, nsame = 0;
    for (int i = 0; i < n; i++)
        if (f->objects[i].same_as) {
            same[nsame++] = f->objects[i];
        } else {
            f->objects[nrest] = f->objects[i];
            rest[nrest++] = uris[i];
        }
    f->nobjects = nrest;
    int rc = read_rest(a, rest, nrest, err);
    struct job_object *all = realloc(f->objects, (size_t)n * sizeof *all);
    f->objects = all ? all : f->objects;
    for (int i = 0; i < nsame; i++)
        if (all)
            all[f->nobjects++] = same[i];
        else
            feed_object_clear(&same[i]);
    return rc < 0 || all ? rc : err_nomem(err);
}

int attempt_leave_out(struct attempt *a, struct queue *q, char *const *uris, int n, struct err *err)
{
    int same = same_objects(a, q, err);
    if (same <= 0)
        return same;
    attempt_discard(a->feed);
    char **rest = calloc((size_t)n, sizeof *rest);
    struct job_object *out = calloc((size_t)n, sizeof *out);
    int rc = rest && out ? read_without_same(a, uris, n, rest, out, err) : err_nomem(err);
    free(rest);
    free(out);
    if (rc == 0)
        log_event(LOG_INFO, "objects with the content of others are left out", "job", a->feed->uid, "objects", log_num(same), NULL);
    return rc;
}

/* ---- what others have taken ---- */

int attempt_note_taken(struct attempt *a, char *const *uris, const int64_t *jobs, int n, struct err *err)
{
    struct feed *f = a->feed;
    struct job_object *all = n ? realloc(f->objects, ((size_t)f->nobjects + (size_t)n) * sizeof *all) : NULL;
    if (!all)
        return n ? err_nomem(err) : 0;
    f->objects = all;
    for (int i = 0; i < n; i++) {
        char shown[2048];
        fetch_redact(uris[i], shown, sizeof shown);
        struct job_object *o = &all[f->nobjects];
        *o = (struct job_object){ .uri = strdup(shown), .size = -1, .same_as = jobs[i] };
        if (!o->uri)
            return err_nomem(err);
        f->nobjects++;
    }
    log_event(LOG_WARN, "objects that later jobs have taken are left out", "job", f->uid, "objects", log_num(n), NULL);
    return 0;
}

/* ---- what came of it ---- */

int attempt_outputs(struct attempt *a, struct spool_file files[PIPELINE_PARTS_MAX + 1], struct err *err)
{
    const struct pipeline *p = a->feed->pipeline;
    struct reader_result *r = &a->feed->result;
    int n = 0;
    for (int i = 0; i < r->noutputs; i++) {
        struct output *o = &r->outputs[i];
        if (o->in_file)
            files[n++] = (struct spool_file){ o->number, -1, o->ext };
        if (o->kind != OUTPUT_ROWS)
            continue;
        if (o->number >= p->nparts)
            return err_set(err, ERR_READER_CRASHED, "the reader made output %d of %d parts", o->number, p->nparts);
        const struct recipe *recipe = &p->parts[o->number];
        int part = recipe->takes_late ? recipe->late_part : o->number;
        if (output_spec_set(o, recipe, a->known[part].added, p->parts[part].name, err) < 0)
            return -1;
    }
    return n;
}

void attempt_discard(const struct feed *f)
{
    struct err err;
    (void)sys_fault("worker-before-discard");
    if (spool_discard(f->spool, f->uid, f->token, f->token, &err) < 0)
        log_error("a file stays in the spool until the next sweep", &err, "job", f->uid);
}

struct job_event attempt_event(const struct feed *f)
{
    const struct pipeline_counts *c = &f->result.counts;
    struct job_event e = { .watermark = f->watermark, .greatest = c->greatest, .reaches = EVENT_NONE, .late = (int64_t)c->late,
                           .late_told = (int64_t)(c->late_told < c->late ? c->late_told : c->late) };
    if (c->greatest != EVENT_NONE)
        e.reaches = c->greatest - f->pipeline->parts[0].allowed_lateness_ms * 1000;
    return e;
}
