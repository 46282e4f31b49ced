/* Checks of a recipe, and of the [enrich] and [lookup] that recipes name. See config_build.h. */
#include "io/config_build.h"

#include <string.h>
#include <strings.h>

#include "io/clean.h"

struct columns_of {
    struct build *b;
    int i;
    const char *key;
};

static bool columns_fault(void *arg, const struct err *fault)
{
    const struct columns_of *o = arg;
    build_fault(o->b, o->i, o->key, "%s", fault->msg);
    return true;
}

static void check_columns(struct build *b, int i, const char *key, const char *text, struct columns *columns)
{
    struct columns_of here = { b, i, key };
    struct err err;
    const char *bad;
    if (!text || columns_parse_all(columns, text, columns_fault, &here, &err) < 0)
        return;
    for (int c = 0; c < columns->n; c++)
        if (columns->v[c].format && !text_fmt_valid(columns->v[c].format, &bad))
            build_fault(b, i, key, "%s: the format has '%.2s', which is not one of its parts", columns->v[c].name, bad);
}

/* ---- enrichments ---- */

/* A template taken apart; false: there is none, or a faulty one. */
static bool check_template(struct build *b, int i, const char *key, const char *text, enum template_form form, struct template *out)
{
    struct err err;
    if (!text || template_parse(out, text, form, &b->c->arena, &err) == 0)
        return text;
    if (err.code == ERR_NO_MEMORY)
        b->ini.failed = true;
    else
        build_fault(b, i, key, "%s", err.msg);
    *out = (struct template){ 0 };
    return false;
}

static void check_enrich_url(struct build *b, int i, const struct enrich_config *e)
{
    const char *host = uri_behind_scheme(e->url_text), *ignored;
    bool http = !strncasecmp(e->url_text, "http://", 7) || !strncasecmp(e->url_text, "https://", 8);
    if (!host || !http)
        build_fault(b, i, "url", "expected http://... or https://...");
    else if (uri_userinfo(host, &ignored))
        build_fault(b, i, "url", "no user in the url; set user= and password= in a [remote NAME] section");
    else if (e->url.n && !template_fixed(&e->url))
        build_fault(b, i, "url", "the host must stand there whole: no value of a row may choose whom to ask");
}

static int input_find(const struct enrich_config *e, struct str name)
{
    for (int k = 0; k < e->ninputs; k++)
        if (str_eq_nocase(str_of(e->inputs[k]), name))
            return k;
    return -1;
}

/* The input of that name, a new one if need be. */
static int input_add(struct build *b, struct enrich_config *e, struct str name, bool keyed)
{
    int k = input_find(e, name);
    if (k < 0) {
        k = e->ninputs++;
        e->inputs[k] = build_keep(b, name);
        if (!e->inputs[k])
            e->ninputs--;
    }
    if (!build_failed(b))
        e->keyed[k] |= keyed;
    return k;
}

static void inputs_of(struct build *b, struct enrich_config *e, struct template *t)
{
    for (int p = 0; p < t->n && !build_failed(b); p++)
        if (t->v[p].kind == PIECE_VALUE)
            t->v[p].input = input_add(b, e, t->v[p].text, !e->nkey);
}

static void check_inputs(struct build *b, int i, struct enrich_config *e)
{
    size_t most = (size_t)(e->url.n + e->body.n + e->nkey);
    e->inputs = build_zeroed(b, most, sizeof *e->inputs);
    e->keyed = build_zeroed(b, most, sizeof *e->keyed);
    if (build_failed(b))
        return;
    inputs_of(b, e, &e->url);
    inputs_of(b, e, &e->body);
    bool asked = e->ninputs > 0;
    for (int k = 0; k < e->nkey && !build_failed(b); k++)
        (void)input_add(b, e, str_of(e->key[k]), true);
    if (!asked && e->url.n)
        build_fault(b, i, "url", "names no {COLUMN}: every row would have the same answer");
}

/* A column that is never null can be filled by nothing that gives nulls. */
static void check_required(struct build *b, int i, const struct enrich_config *e)
{
    for (int c = 0; c < e->columns.n; c++) {
        const struct column *col = &e->columns.v[c];
        if (col->builtin != BUILTIN_NONE)
            build_fault(b, i, "columns", "%s: '%s' is no path in an answer; name it in columns of the pipeline", col->name, col->from);
        if (col->required && (e->on_miss == ELSE_NULL || e->on_error == ELSE_NULL))
            build_fault(b, i, "columns", "%s!: with %s = null it would be null", col->name, e->on_miss == ELSE_NULL ? "on_miss" : "on_error");
    }
}

void build_check_enrich(struct build *b, int i)
{
    struct enrich_config *e = b->bound[i].object;
    if (!e->url_text && !build_given(b, i, "url"))
        build_fault(b, i, "url", "missing: what is asked, such as https://geo.example.org/reverse?lat={lat}&lon={lon}");
    if (!e->columns_text && !build_given(b, i, "columns"))
        build_fault(b, i, "columns", "missing: what is taken from the answer, such as address:text from results[0].address");
    if (e->body_text && e->method && !strcmp(e->method, "GET"))
        build_fault(b, i, "method", "expected POST: a GET carries no body");
    if (!e->method)
        e->method = build_keep(b, str_of(e->body_text ? "POST" : "GET"));
    check_columns(b, i, "columns", e->columns_text, &e->columns);
    check_required(b, i, e);
    bool good = check_template(b, i, "url", e->url_text, TEMPLATE_URL, &e->url);
    if (good)
        check_enrich_url(b, i, e);
    good &= !e->body_text || check_template(b, i, "body", e->body_text, TEMPLATE_JSON, &e->body);
    if (good)
        check_inputs(b, i, e);
}

static const char *next_enrich(const void *c, int i)
{
    return i < ((const struct config *)c)->nenriches ? ((const struct config *)c)->enriches[i].name : NULL;
}

static void check_enrich_names(struct build *b, int i, const struct recipe *r)
{
    char hint[200];
    for (int k = 0; k < r->nenrich; k++) {
        nearest(hint, sizeof hint, r->enrich[k], next_enrich, b->c);
        if (!config_enrich(b->c, r->enrich[k]))
            build_fault(b, i, "enrich", "there is no [enrich %s]%s", r->enrich[k], hint);
    }
}

/* What the table gets are then the columns that are read or computed and those of the enrichments, unless a later step says what. */
static void check_enriched(struct build *b, int i, struct recipe *r)
{
    AUTO(columns_clear) struct columns before = { 0 };
    struct columns all = { 0 };
    struct err err;
    if (!r->nenrich)
        return;
    if (!r->columns_text)
        build_fault(b, i, "columns", "missing: with enrich they are not found out from the data");
    check_enrich_names(b, i, r);
    if (b->ini.nfaults || build_failed(b)) /* what follows would tell of them again */
        return;
    if (columns_join(&before, &r->columns, &r->computed, &err) < 0 || config_enriched(b->c, r, &before, &all, &err) < 0)
        build_fault(b, i, "enrich", "%s", err.msg);
    else if (r->output_text || r->transform.text)
        columns_clear(&all);
    else
        r->output = all;
}

/* A job is one commit, which is in one target. */
static void check_one_target(struct build *b, int i, const struct recipe *r)
{
    for (const struct recipe *o = b->bound[i].pipeline->parts; o < r; o++)
        if (o->target && strcmp(o->target, r->target)) {
            build_fault(b, i, "table", "expected a table of target '%s', as part '%s' has: all tables of a job are in one, by one commit", o->target,
                        o->name);
            return;
        }
}

static void check_table(struct build *b, int i, const struct recipe *r)
{
    if (!r->table && !build_given(b, i, "table"))
        build_fault(b, i, "table", "missing: TARGET.TABLE");
    if (!r->target)
        return;
    if (config_target(b->c, r->target)) {
        check_one_target(b, i, r);
        return;
    }
    char hint[200];
    nearest(hint, sizeof hint, r->target, config_target_name, b->c);
    build_fault(b, i, "table", "there is no [target %s]%s", r->target, hint);
}

static void check_output(struct build *b, int i, struct recipe *r)
{
    check_columns(b, i, "output", r->output_text, &r->output);
    if (r->output_text && !r->filter.argv && !r->transform.text)
        build_fault(b, i, "output", "expected filter or transform beside it, which gives such rows");
    if (build_entry(b, i, "filter_format", NULL) && !r->filter.argv)
        build_fault(b, i, "filter_format", "expected filter beside it");
    for (int c = 0; c < r->output.n; c++)
        if (r->output.v[c].builtin != BUILTIN_NONE)
            build_fault(b, i, "output", "%s: '%s' is no value of a row that comes back; name it in columns", r->output.v[c].name,
                        r->output.v[c].from);
}

static void check_distinct(struct build *b, int i, const struct recipe *r)
{
    for (int k = 0; k < r->ndistinct && !build_failed(b); k++)
        if (r->columns.n && columns_find(&r->columns, str_of(r->distinct[k])) < 0 && columns_find(&r->computed, str_of(r->distinct[k])) < 0)
            build_fault(b, i, "distinct", "'%s' is not among the columns", r->distinct[k]);
}

static void check_clean(struct build *b, int i, const struct recipe *r)
{
    struct clean *clean;
    struct err err;
    if (!r->clean || (r->columns_text && !r->columns.n)) /* the columns are at fault already */
        return;
    if (clean_parse(&clean, r->clean, &r->columns, NULL, r->decimal_point, &err) < 0)
        build_fault(b, i, "clean", "%s", err.msg);
    else
        clean_free(clean);
}

/* Where the column of a line of compute= ends: at the first = outside of quotes and brackets. */
static size_t column_part(struct str line)
{
    bool quoted = false;
    int depth = 0;
    for (size_t i = 0; i < line.n; i++) {
        char c = line.p[i];
        quoted ^= c == '"';
        depth += quoted ? 0 : c == '(' ? 1 : c == ')' ? -1 : 0;
        if (c == '=' && !quoted && depth <= 0)
            return i;
    }
    return line.n;
}

/* The lines of compute=: NAME:TYPE = EXPRESSION. */
static void check_compute(struct build *b, int i, struct recipe *r)
{
    AUTO(buf_clear) struct buf names = { 0 };
    size_t lines = 1, n = 0;
    for (const char *p = r->compute.text; p && *p; p++)
        lines += *p == '\n';
    r->computed_sql = r->compute.text ? build_zeroed(b, lines, sizeof *r->computed_sql) : NULL;
    for (const char *p = r->compute.text; p && *p && !build_failed(b);) {
        struct str line = { p, strcspn(p, "\n") };
        p += line.n + (p[line.n] == '\n');
        if (!str_trim(line).n)
            continue;
        size_t at = column_part(line);
        struct str name = str_trim((struct str){ line.p, at });
        struct str sql = at < line.n ? str_trim((struct str){ line.p + at + 1, line.n - at - 1 }) : (struct str){ "", 0 };
        if (!name.n || !sql.n) {
            build_fault(b, i, "compute", "'%.*s': expected NAME:TYPE = EXPRESSION, a line for each column", (int)(line.n < 100 ? line.n : 100), line.p);
            return;
        }
        buf_addf(&names, "%s%.*s", n ? ", " : "", (int)name.n, name.p);
        r->computed_sql[n++] = build_keep(b, sql);
    }
    b->ini.failed |= names.failed;
    check_columns(b, i, "compute", n && !names.failed ? names.p : NULL, &r->computed);
    if (r->computed.n && (size_t)r->computed.n != n)
        build_fault(b, i, "compute", "expected one column a line: NAME:TYPE = EXPRESSION");
    for (int c = 0; c < r->computed.n; c++)
        if (columns_find(&r->columns, str_of(r->computed.v[c].name)) >= 0)
            build_fault(b, i, "compute", "'%s' is among the columns already", r->computed.v[c].name);
}

/* Of the table: NULL when it has none of that name. *known: are its columns known here? */
static const struct column *table_column(const struct recipe *r, const char *name, bool *known)
{
    const struct columns *columns = recipe_output(r, &r->columns);
    int at = columns_find(columns, str_of(name)), computed = r->output.n ? -1 : columns_find(&r->computed, str_of(name));
    *known = columns->n && (r->output.n || !r->transform.text);
    return at >= 0 ? &columns->v[at] : computed >= 0 ? &r->computed.v[computed] : NULL;
}

static void check_key(struct build *b, int i, const struct recipe *r)
{
    bool known;
    if (mode_has_key(r->mode) && !r->nkey && !build_given(b, i, "key"))
        build_fault(b, i, "mode", "%s needs key=, the columns that name a row", load_mode_names[r->mode]);
    for (int k = 0; k < r->nkey && !build_failed(b); k++) {
        if (!table_column(r, r->key[k], &known) && known)
            build_fault(b, i, "key", "'%s' is not among the columns", r->key[k]);
        for (int j = 0; j < k; j++)
            if (strcasecmp(r->key[j], r->key[k]) == 0)
                build_fault(b, i, "key", "'%s' is there twice", r->key[k]);
    }
}

/* Keys that say how a row meets the one that is there. */
static void check_meeting(struct build *b, int i, const struct recipe *r)
{
    const struct {
        const char *key;
        bool given;
    } keys[] = { { "update_only_if_changed", r->only_if_changed },
                 { "version", r->version },
                 { "deleted", r->deleted },
                 { "missing", r->missing != MISSING_KEEP } };
    for (size_t k = 0; k < COUNT_OF(keys); k++)
        if (keys[k].given && r->mode != MODE_UPSERT && r->mode != MODE_HISTORY)
            build_fault(b, i, keys[k].key, "expected mode = upsert or history beside it");
    if (r->missing == MISSING_DELETE && r->max_rejects.count != 0)
        build_fault(b, i, "max_rejects", "expected 0 beside missing = delete: the rows of the table whose new ones are rejected would be removed");
    bool known;
    if (r->version && !table_column(r, r->version, &known) && known)
        build_fault(b, i, "version", "'%s' is not among the columns", r->version);
    const struct column *deleted = r->deleted ? table_column(r, r->deleted, &known) : NULL;
    if (r->deleted && known && (!deleted || deleted->type != TYPE_BOOLEAN))
        build_fault(b, i, "deleted", "'%s' is no boolean column", r->deleted);
}

/* Keys about the time at which things happened. */
static void check_event(struct build *b, int i, const struct recipe *r)
{
    bool known;
    if (!r->event_time) {
        if (build_given(b, i, "late"))
            build_fault(b, i, "late", "expected event_time beside it");
        return;
    }
    const struct column *c = table_column(r, r->event_time, &known);
    if (!r->columns_text)
        build_fault(b, i, "columns", "missing: event_time needs columns that are given");
    else if (known && (!c || (c->type != TYPE_TIMESTAMP && c->type != TYPE_DATE)))
        build_fault(b, i, "event_time", "'%s' is no column of type timestamp or date", r->event_time);
    if (r->late == LATE_ASIDE && r->target && strncmp(r->late_table, r->target, strcspn(r->late_table, ".")) != 0)
        build_fault(b, i, "late", "expected a table of target '%s': all tables of a job are in one", r->target);
    if (r->late == LATE_ASIDE && r->table && !strcasecmp(r->late_table, r->table))
        build_fault(b, i, "late", "expected another table than that of the rows; late = table puts them there");
}

static void check_signs(struct build *b, int i, const struct recipe *r)
{
    const struct {
        const char *key;
        char c;
    } signs[] = { { "delimiter", r->delimiter },
                  { "quote", r->quote },
                  { "escape", r->escape },
                  { "comment", r->comment } };
    for (size_t k = 1; k < COUNT_OF(signs); k++)
        for (size_t j = 0; j < k; j++)
            if (signs[k].c && signs[k].c == signs[j].c)
                build_fault(b, i, build_given(b, i, signs[k].key) ? signs[k].key : signs[j].key,
                            "%s and %s are the same sign", signs[j].key, signs[k].key);
    if (r->decimal_point != '.' && r->decimal_point != ',')
        build_fault(b, i, "decimal_point", "expected . or ,");
}

static void keep_places(struct build *b, int i, struct recipe *r)
{
    r->places = build_places(b, i);
    if (build_failed(b))
        return;
    r->where.place = config_place(r->places, "where");
    r->compute.place = config_place(r->places, "compute");
    r->transform.place = config_place(r->places, "transform");
}

/* A program is not run once more to find out its columns: who knows what it does. */
static void check_program_columns(struct build *b, int i)
{
    b->bound[i].recipe->by_program = b->bound[i].pipeline->command.argv;
    if (recipe_is_message(b->bound[i].recipe) != recipe_is_message(b->bound[i].pipeline->parts))
        build_fault(b, i, "format", "expected message for all parts of the pipeline, or for none");
    if (recipe_is_message(b->bound[i].recipe) && !build_given(b, i, "columns"))
        build_fault(b, i, "columns", "missing: the columns of the tables of a message are not found out");
    if (recipe_is_message(b->bound[i].recipe) && b->bound[i].recipe->closing_line)
        build_fault(b, i, "closing_line", "expected a format that is not message: its brackets say where it ends");
    if (b->bound[i].recipe->by_program && !b->bound[i].recipe->from && !build_given(b, i, "columns"))
        build_fault(b, i, "columns", "missing: the columns of what a program writes are not found out");
    if (b->bound[i].recipe->by_program && !b->bound[i].recipe->from && b->bound[i].recipe->on_new == ON_NEW_ADD)
        build_fault(b, i, "on_new_column", "expected ignore or fail beside command: to add a column a job is read twice");
}

/* The place of a part among those of its pipeline, by what stands behind the dot; -1: there is none. */
static int part_find(const struct bound *own, const char *name)
{
    const struct pipeline *p = own->pipeline;
    for (int k = 0; own->part && k < p->nparts; k++)
        if (p->parts[k].name && !strcmp(p->parts[k].name + strlen(own->name) + 1, name))
            return k;
    return -1;
}

/* A part that gets the rows of another one has its columns. */
static void check_from(struct build *b, int i, struct recipe *r)
{
    const struct bound *own = &b->bound[i];
    const struct pipeline *p = own->pipeline;
    r->from_part = -1;
    if (!r->from)
        return;
    if (!own->part)
        build_fault(b, i, "from", "belongs in a [pipeline %s.PART]: it names another part", own->name);
    int k = part_find(own, r->from);
    if (k >= 0 && !p->parts[k].from)
        r->from_part = k;
    if (own->part && r->from_part < 0)
        build_fault(b, i, "from", "'%s' is no part of this pipeline that has members of its own", r->from);
    if (r->from_part < 0)
        return;
    for (const char *const *key = (const char *const[]){ "columns", "member", "clean", NULL }; *key; key++)
        if (build_entry(b, i, *key, NULL))
            build_fault(b, i, *key, "expected no from beside it: the rows are read as part '%s' reads them", r->from);
    if (p->parts[r->from_part].on_new == ON_NEW_ADD)
        build_fault(b, i, "from", "expected an on_new_column that is not add: both parts have the columns of the ini");
    r->columns_text = p->parts[r->from_part].columns_text;
    r->clean = NULL;
    if (!r->columns_text)
        build_fault(b, i, "from", "expected columns in part '%s': they are not found out for two", r->from);
    if (recipe_is_message(r))
        build_fault(b, i, "from", "expected another format than message, whose tables have rows of their own");
}

static const char *part_name(const void *own, int i)
{
    const struct bound *b = own;
    return i < b->pipeline->nparts && b->pipeline->parts[i].name ? b->pipeline->parts[i].name + strlen(b->name) + 1 : NULL;
}

static bool is_lookup(const struct build *b, const char *name)
{
    for (int i = 0; i < b->c->nlookups; i++)
        if (!strcasecmp(b->c->lookups[i].name, name))
            return true;
    return false;
}

/* Is it a name that SQL has for something else? */
static bool sql_has(const char *name) { return !strcasecmp(name, "input") || !strncasecmp(name, "sqlite_", 7); }

static void check_lookup_part(struct build *b, int i, struct recipe *r, const char *name)
{
    const struct bound *own = &b->bound[i];
    char hint[200];
    int k = part_find(own, name);
    nearest(hint, sizeof hint, name, part_name, own);
    if (k < 0 && is_lookup(b, name))
        build_fault(b, i, "lookup_parts", "'%s' is a [lookup], which SQL knows without being told", name);
    else if (k < 0)
        build_fault(b, i, "lookup_parts", "'%s' is no part of this pipeline%s", name, hint);
    else if (&own->pipeline->parts[k] == r)
        build_fault(b, i, "lookup_parts", "'%s' is this part itself: its rows are the table input", name);
    else if (sql_has(name))
        build_fault(b, i, "lookup_parts", "'%s': SQL has a table of this name, or keeps it for itself; give the part another one", name);
    else if (is_lookup(b, name))
        build_fault(b, i, "lookup_parts", "'%s': there is a [lookup] of this name, too; give one of them another", name);
    else
        r->reads |= 1u << k;
}

/* Parts whose rows the SQL of this one reads. */
static void check_lookup_parts(struct build *b, int i, struct recipe *r)
{
    if (!r->nlookup_parts)
        return;
    if (!b->bound[i].part) {
        build_fault(b, i, "lookup_parts", "belongs in a [pipeline %s.PART]: it names other parts", b->bound[i].name);
        return;
    }
    if (!build_entry(b, i, "lookup_parts", NULL)) {
        build_fault(b, i, "lookup_parts", "belongs in the [pipeline %s.PART] whose SQL reads the others", b->bound[i].name);
        return;
    }
    if (!r->where.text && !r->compute.text && !r->transform.text)
        build_fault(b, i, "lookup_parts", "expected where, compute or transform beside it, which reads them");
    for (int k = 0; k < r->nlookup_parts; k++)
        check_lookup_part(b, i, r, r->lookup_parts[k]);
}

void build_check_recipe(struct build *b, int i)
{
    struct recipe *r = b->bound[i].recipe;
    keep_places(b, i, r);
    check_from(b, i, r);
    check_lookup_parts(b, i, r);
    check_table(b, i, r);
    check_columns(b, i, "columns", r->columns_text, &r->columns);
    check_compute(b, i, r);
    check_distinct(b, i, r);
    check_output(b, i, r);
    check_enriched(b, i, r);
    if (r->on_new == ON_NEW_ADD && r->output_text)
        build_fault(b, i, "on_new_column", "expected no output beside it: it names all columns of the table");
    check_clean(b, i, r);
    check_program_columns(b, i);
    check_key(b, i, r);
    check_meeting(b, i, r);
    check_event(b, i, r);
    check_signs(b, i, r);
}

void build_check_lookup(struct build *b, int i)
{
    struct lookup *l = b->bound[i].object;
    if (sql_has(l->name))
        build_fault(b, i, "file", "expected another name of the section: SQL has a table of this name, or keeps it for itself");
    if (!l->file && !build_given(b, i, "file"))
        build_fault(b, i, "file", "missing: the file to read");
    if (!l->recipe.columns_text && !build_given(b, i, "columns"))
        build_fault(b, i, "columns", "missing: names and types");
    check_columns(b, i, "columns", l->recipe.columns_text, &l->recipe.columns);
    check_key(b, i, &l->recipe);
    check_signs(b, i, &l->recipe);
}
