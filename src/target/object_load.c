/*
 * Object stores and directories: the loader. See object_ledger.h for what makes it exactly once.
 *
 * begin   takes the lock of the store, where it has one
 * load    puts the objects of a job, which nobody sees yet
 * commit  puts the manifests of the group one by one: each is its own job's commit
 *
 * So a group is no transaction: after a commit that failed, each job's outcome is what the ledger says of
 * it (one_by_one in struct target).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/sys.h"
#include "target/object.h"
#include "target/object_ledger.h"
#include "target/object_store.h"
#include "target/schema_diff.h"
#include "target/staged.h"
#include "target/undo.h"

struct target_conn {
    struct store *store;
    struct ledger ledger;
    bool begun;
    struct manifest *pending; /* of the jobs of this transaction */
    int npending;
};

/* ---- staged bytes ---- */

/* A staged output after its checksum was right. */
struct staged_bytes {
    const struct load_output *o;
    int fd;
    struct object_index index;
};

static int read_at(struct staged_bytes *b, char *p, size_t n, int64_t at, struct err *err)
{
    if (!b->o->output->in_file) {
        if (at + (int64_t)n > (int64_t)b->o->output->inlined.n)
            return err_set(err, ERR_STAGED_DAMAGED, "the inline output is cut");
        memcpy(p, b->o->output->inlined.p + at, n);
        return 0;
    }
    while (n > 0) {
        ssize_t got = pread(b->fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, "read '%s'", b->o->path);
        if (got == 0)
            return err_set(err, ERR_STAGED_DAMAGED, "'%s' was cut while it was read", b->o->path);
        p += got;
        n -= (size_t)got;
        at += got;
    }
    return 0;
}

/* Read all of it once: the checksum stands at the end. */
static int check_bytes(const struct load_output *o, struct err *err)
{
    struct staged_reader r;
    struct str some;
    int rc;
    if (staged_open(&r, o, err) < 0)
        return -1;
    while ((rc = staged_next(&r, &some, err)) == 1)
        ;
    staged_close(&r);
    return rc;
}

static int read_index(struct staged_bytes *b, struct err *err)
{
    char trailer[OBJECT_TRAILER];
    int64_t bytes = b->o->output->bytes, rows = 0;
    if (bytes < OBJECT_TRAILER)
        return err_set(err, ERR_STAGED_DAMAGED, "the staged output is too short");
    if (read_at(b, trailer, sizeof trailer, bytes - OBJECT_TRAILER, err) < 0)
        return -1;
    int64_t at = object_index_at(trailer, bytes, err);
    if (at < 0)
        return -1;
    size_t n = (size_t)(bytes - at);
    AUTO(free_charp) char *text = malloc(n);
    if (!text)
        return err_nomem(err);
    if (read_at(b, text, n, at, err) < 0 || object_index_read(&b->index, (struct str){ text, n }, at, err) < 0)
        return -1;
    for (int i = 0; i < b->index.n; i++)
        rows += b->index.parts[i].rows;
    return rows == b->o->output->rows
               ? 0
               : err_set(err, ERR_STAGED_DAMAGED, "%" PRId64 " rows were staged, but the objects have %" PRId64,
                         b->o->output->rows, rows);
}

static void bytes_close(struct staged_bytes *b)
{
    fd_closep(&b->fd);
    object_index_clear(&b->index);
}

static int bytes_open(struct staged_bytes *b, const struct load_output *o, struct err *err)
{
    *b = (struct staged_bytes){ .o = o, .fd = -1 };
    if (check_bytes(o, err) < 0)
        return -1;
    if (o->output->in_file && (b->fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        return err_sys(err, "open '%s'", o->path);
    if (read_index(b, err) == 0)
        return 0;
    bytes_close(b);
    return -1;
}

/* ---- one object out of its blocks ---- */

struct gather {
    struct staged_bytes *from;
    const struct object_part *part;
    int block;
    int64_t done; /* of the block */
};

static int gather_read(void *arg, char *p, size_t n, struct err *err)
{
    struct gather *g = arg;
    while (n > 0) {
        const struct object_block *b = &g->part->blocks[g->block];
        int64_t left = b->bytes - g->done;
        size_t some = (int64_t)n < left ? n : (size_t)left;
        if (read_at(g->from, p, some, b->offset + g->done, err) < 0)
            return -1;
        p += some;
        n -= some;
        g->done += (int64_t)some;
        if (g->done == b->bytes) {
            g->block++;
            g->done = 0;
        }
    }
    return 0;
}

/* The staged name with the job's uid in its place, and behind that how often it was given up before. */
static char *full_name(struct arena *arena, const char *name, const char *uid, int64_t given_up)
{
    const char *at = strstr(name, "{uid}");
    AUTO(buf_clear) struct buf out = { 0 };
    buf_add(&out, name, (size_t)(at - name));
    buf_adds(&out, uid);
    if (given_up)
        buf_addf(&out, ".%" PRId64, given_up);
    buf_adds(&out, at + 5);
    return out.failed ? NULL : arena_dup(arena, buf_str(&out));
}

static int put_object(struct target_conn *c, struct manifest *m, struct staged_bytes *from,
                      const struct object_part *part, struct manifest_object *out, struct err *err)
{
    char sha256[SHA256_HEX + 1];
    struct gather gather = { .from = from, .part = part };
    struct store_source source = { gather_read, &gather, part->bytes };
    out->rows = part->rows;
    out->bytes = part->bytes;
    if (!(out->name = full_name(&m->arena, part->name, m->uid, m->given_up)))
        return err_nomem(err);
    if (store_put(c->store, out->name, &source, sha256, err) < 0)
        return -1;
    return (out->sha256 = arena_dup(&m->arena, str_of(sha256))) ? 0 : err_nomem(err);
}

static int put_output(struct target_conn *c, struct manifest *m, struct manifest_table *t, const struct load_output *o,
                      struct err *err)
{
    struct staged_bytes from;
    AUTO(buf_clear) struct buf columns = { 0 };
    if (bytes_open(&from, o, err) < 0)
        return -1;
    columns_print(o->spec.columns, &columns);
    *t = (struct manifest_table){ .name = arena_dup(&m->arena, str_of(o->spec.name)),
                                  .ext = arena_dup(&m->arena, str_of(from.index.ext)),
                                  .columns = columns.failed ? NULL : arena_dup(&m->arena, buf_str(&columns)),
                                  .mode = o->spec.mode,
                                  .rows = o->output->rows };
    t->objects = arena_alloc(&m->arena, ((size_t)from.index.n + 1) * sizeof *t->objects);
    int rc = !t->name || !t->ext || !t->columns || !t->objects ? err_nomem(err) : 0;
    for (; rc == 0 && t->nobjects < from.index.n; t->nobjects++)
        rc = put_object(c, m, &from, &from.index.parts[t->nobjects], &t->objects[t->nobjects], err);
    bytes_close(&from);
    return rc < 0 ? err_in(err, "table '%s'", o->spec.name) : 0;
}

/* ---- a job ---- */

/* Is this the job's turn, and may these be loaded at all? */
static int check_job(struct target_conn *c, struct load_job *job, struct err *err)
{
    if (job->after_load)
        return err_set(err, ERR_TARGET_REFUSED, "after_load cannot run here: a store of objects has no SQL");
    for (int i = 0; i < job->noutputs; i++) {
        const struct table_spec *spec = &job->outputs[i].spec;
        struct table_state *t;
        int64_t there;
        if (spec->mode != MODE_APPEND && spec->mode != MODE_REPLACE)
            return err_set(err, ERR_TARGET_REFUSED, "table '%s': mode %s cannot be loaded here", spec->name,
                           load_mode_names[spec->mode]);
        if (ledger_table(&c->ledger, spec->name, spec->mode == MODE_REPLACE, &t, err) < 0)
            return -1;
        if (ledger_is_ahead(t, job->seq, job->uid, spec->mode == MODE_REPLACE, &there))
            return err_set(err, ERR_OVERTAKEN, "a newer job has %s table '%s': seq %" PRId64 " is there, and this job has %" PRId64
                           " (a queue.db put back from a copy gives places that were given before; one made anew goes on behind them)",
                           there == t->seq_next ? "replaced" : "added to", spec->name, there, job->seq);
        if (spec->mode == MODE_REPLACE && load_begins_table(job, i, strcmp))
            job->counts.removed += t->rows_next;
    }
    return 0;
}

/* The rows are put: what the next jobs of this transaction must know of the tables. */
static int note_job(struct target_conn *c, const struct load_job *job, struct err *err)
{
    for (int i = 0; i < job->noutputs; i++) {
        const struct load_output *o = &job->outputs[i];
        struct table_state *t;
        if (ledger_table(&c->ledger, o->spec.name, false, &t, err) < 0)
            return -1;
        if (o->spec.mode == MODE_REPLACE) {
            t->seq_next = job->seq;
            t->rows_next = (load_begins_table(job, i, strcmp) ? 0 : t->rows_next) + o->output->rows;
        } else {
            t->rows_next += o->output->rows;
        }
        t->last_next = job->seq > t->last_next ? job->seq : t->last_next;
    }
    return 0;
}

/* m: as manifest_get() gave it of a job that is not loaded. */
static int load_outputs(struct target_conn *c, struct load_job *job, struct manifest *m, struct err *err)
{
    m->job = job->id;
    m->seq = job->seq;
    m->uid = arena_dup(&m->arena, str_of(job->uid));
    m->pipeline = arena_dup(&m->arena, str_of(job->pipeline));
    m->source = arena_dup(&m->arena, str_of(job->objects ? job->objects : "[]"));
    m->tables = arena_alloc(&m->arena, ((size_t)job->noutputs + 1) * sizeof *m->tables);
    if (!m->uid || !m->pipeline || !m->source || !m->tables)
        return err_nomem(err);
    for (; m->ntables < job->noutputs; m->ntables++)
        if (put_output(c, m, &m->tables[m->ntables], &job->outputs[m->ntables], err) < 0)
            return -1;
    job->counts.inserted = load_rows(job);
    m->counts = job->counts;
    return note_job(c, job, err);
}

/* The job has a manifest, which is taken: 1 it is loaded, and all that follows from that is done. -1. */
static int settle(struct target_conn *c, struct manifest *m, struct load_counts *counts, struct err *err)
{
    bool own_lock = !c->begun;
    int rc = m->undone_at ? undo_refuse_load(err, m->undone_at) : own_lock ? store_lock(c->store, err) : 0;
    if (rc == 0)
        rc = ledger_settle(&c->ledger, m, err);
    if (own_lock) {
        store_unlock(c->store);
        ledger_forget(&c->ledger);
    }
    if (rc == 0)
        *counts = m->counts;
    manifest_clear(m);
    return rc < 0 ? -1 : 1;
}

int object_loaded(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    struct manifest m;
    int there = manifest_get(&m, c->store, uid, err);
    return there == 1 ? settle(c, &m, counts, err) : there;
}

/* The store said no to an object. Where it takes manifests, it is that the keys may not write into this table, and the job's fault;
 * else nothing can be loaded. */
static void judge_denied(struct target_conn *c, struct err *err)
{
    static const char probe[] = "_manifest/.probe";
    struct err ignored;
    if (store_put_small(c->store, probe, STR("\n"), NULL, &ignored) == 1)
        (void)store_remove(c->store, probe, &ignored);
    else
        err->code = ERR_TARGET;
}

int object_load_job(struct target_conn *c, struct load_job *job, struct err *err)
{
    struct manifest before;
    job->counts = (struct load_counts){ 0 };
    job->slow_rows = 0;
    int there = manifest_get(&before, c->store, job->uid, err);
    if (there == 1)
        there = settle(c, &before, &job->counts, err);
    job->was_there = there == 1;
    if (there != 0)
        return there < 0 ? -1 : 0;
    struct manifest *more = realloc(c->pending, ((size_t)c->npending + 1) * sizeof *more);
    if (!more)
        return err_nomem(err);
    c->pending = more;
    struct manifest *m = &c->pending[c->npending];
    *m = before;
    if (check_job(c, job, err) == 0 && load_outputs(c, job, m, err) == 0) {
        c->npending++;
        return 0;
    }
    manifest_clear(m);
    job->counts = (struct load_counts){ 0 };
    if (err->code == ERR_TARGET_DENIED)
        judge_denied(c, err);
    return -1;
}

/* ---- a rehearsal ---- */

struct look {
    struct target_conn *c; /* NULL: the store is not there yet, or away */
    const struct load_job *job;
    struct schema_diff *diff;
};

static int look_at(void *arg, const struct load_output *output, struct err *err)
{
    struct look *l = arg;
    struct schema_diff *diff = l->diff;
    struct staged_bytes from;
    int64_t objects, rows;
    if (bytes_open(&from, output, err) < 0)
        return -1;
    schema_diff_objects(diff, from.index.n);
    for (int i = 0; i < from.index.n; i++)
        schema_diff_object(diff, from.index.parts[i].name, from.index.parts[i].rows, from.index.parts[i].bytes);
    bytes_close(&from);
    bool replaces = output->spec.mode == MODE_REPLACE && load_begins_table(l->job, (int)(output - l->job->outputs), strcmp);
    if (!l->c || !replaces)
        return 0;
    if (ledger_count(&l->c->ledger, output->spec.name, &objects, &rows, err) < 0)
        return -1;
    schema_diff_replaced(diff, objects, rows);
    return 0;
}

int object_look(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err)
{
    struct look l = { c, job, diff };
    return schema_diff_look(diff, job, look_at, &l, err);
}

/* ---- a job that is not loaded ---- */

/* The objects that tries of the job put, before it was given up and before each time earlier. */
static int remove_output(struct target_conn *c, const struct manifest *m, const struct load_output *o, struct err *err)
{
    struct staged_bytes b = { .o = o, .fd = -1 };
    struct arena arena = { 0 };
    int rc = 0;
    if (o->output->in_file && (b.fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        rc = err_sys(err, "open '%s'", o->path);
    if (rc == 0)
        rc = read_index(&b, err); /* its names are of this job and no other, also where it is damaged */
    for (int64_t i = 0; rc == 0 && i < b.index.n * m->given_up; i++) {
        const char *name = full_name(&arena, b.index.parts[i / m->given_up].name, m->uid, i % m->given_up);
        rc = name ? store_remove(c->store, name, err) : err_nomem(err);
    }
    bytes_close(&b);
    arena_clear(&arena);
    return rc;
}

/* 1: nothing was done, for it has a manifest. */
static int remove_unloaded(struct target_conn *c, const struct load_job *job, struct err *err)
{
    struct manifest m = { .job = job->id, .seq = job->seq };
    m.uid = arena_dup(&m.arena, str_of(job->uid));
    m.pipeline = arena_dup(&m.arena, str_of(job->pipeline));
    int given_up = !m.uid || !m.pipeline ? err_nomem(err) : manifest_give_up(c->store, &m, err);
    int rc = given_up < 0 ? -1 : !given_up;
    for (int i = 0; given_up == 1 && i < job->noutputs; i++)
        if (remove_output(c, &m, &job->outputs[i], err) < 0)
            rc = -1; /* of the others it is known what they put */
    manifest_clear(&m);
    return rc;
}

int object_forsake(struct target_conn *c, struct load_job *job, struct err *err)
{
    bool own_lock = !c->begun;
    if (own_lock && store_lock(c->store, err) < 0)
        return -1;
    int rc = remove_unloaded(c, job, err);
    if (own_lock)
        store_unlock(c->store);
    if (rc == 1 && (rc = object_loaded(c, job->uid, &job->counts, err)) < 0 && err->code == ERR_UNDONE)
        return 0;
    return rc;
}

/* ---- transactions ---- */

static void end(struct target_conn *c)
{
    for (int i = 0; i < c->npending; i++)
        manifest_clear(&c->pending[i]);
    c->npending = 0;
    ledger_forget(&c->ledger);
    if (c->begun)
        store_unlock(c->store);
    c->begun = false;
}

int object_begin(struct target_conn *c, struct err *err)
{
    if (store_lock(c->store, err) < 0)
        return -1;
    c->begun = true;
    return 0;
}

static int put_manifests(struct target_conn *c, struct err *err)
{
    for (int i = 0; i < c->npending; i++) {
        if (manifest_put(c->store, &c->pending[i], err) < 0)
            return -1;
        if (sys_fault("target-after-manifest"))
            return err_set(err, ERR_TARGET, "commit: fault injected");
        if (ledger_apply(&c->ledger, &c->pending[i], err) < 0)
            return -1;
    }
    return ledger_write(&c->ledger, err);
}

int object_commit(struct target_conn *c, struct err *err)
{
    if (sys_fault("target-before-commit"))
        return err_set(err, ERR_TARGET, "commit: fault injected");
    int rc = put_manifests(c, err);
    end(c);
    if (rc == 0 && sys_fault("target-after-commit"))
        return err_set(err, ERR_TARGET, "commit: fault injected");
    return rc;
}

void object_rollback(struct target_conn *c)
{
    end(c);
}

int object_undo(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err)
{
    struct manifest m;
    int there = manifest_get(&m, c->store, uid, err);
    if (there <= 0)
        return there;
    int rc = ledger_undo(&c->ledger, &m, err);
    *counts = (struct load_counts){ .removed = m.counts.inserted };
    manifest_clear(&m);
    return rc < 0 ? -1 : 1;
}

int object_open(struct target_conn **out, const struct config *config, const struct target_config *cfg, bool create,
                struct err *err)
{
    struct target_conn *c = calloc(1, sizeof *c);
    if (!c)
        return err_nomem(err);
    if (store_open(&c->store, config, cfg, create, err) < 0) {
        free(c);
        return err_in(err, "target '%s'", cfg->name);
    }
    c->ledger.store = c->store;
    *out = c;
    return 0;
}

void object_close(struct target_conn *c)
{
    if (!c)
        return;
    end(c);
    free(c->pending);
    store_close(c->store);
    free(c);
}
