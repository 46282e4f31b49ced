/* The table of targets, and what they share. */
#include "config.h"

#include "target/target.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "io/sql_text.h"

static const struct target *const targets[] = {
    &target_sqlite,
#ifdef HAVE_LIBPQ
    &target_postgres,
#endif
#ifdef HAVE_LIBMARIADB
    &target_mysql,
#endif
    &target_directory,
#ifdef HAVE_S3
    &target_s3,
#endif
};

const struct target *target_by_url(const char *url, struct err *err)
{
    AUTO(buf_clear) struct buf schemes = { 0 };
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        size_t n = strlen(targets[i]->scheme);
        if (!strncmp(url, targets[i]->scheme, n) && url[n] == ':')
            return targets[i];
        buf_addf(&schemes, "%s%s:", i ? ", " : "", targets[i]->scheme);
    }
    (void)err_set(err, ERR_CONFIG, "'%s' is no target that this qetl knows: it knows %s", url,
                  schemes.failed ? "others" : schemes.p);
    return NULL;
}

int target_may_undo(const struct target *t, enum load_mode mode, struct err *err)
{
    return t->undoes >> mode & 1
               ? 0
               : err_set(err, ERR_CONFIG, "mode = %s cannot be undone on a target of the kind %s: %s", load_mode_names[mode], t->scheme,
                         t->undoes_not);
}

int target_check_undo(const struct target *t, const struct target_config *cfg, const struct table_spec *spec, struct err *err)
{
    return spec->undo_ms && target_may_undo(t, spec->mode, err) < 0
               ? err_in(err, "target '%s': remove undo= of table '%s'", cfg->name, spec->name) : 0;
}

int target_check(const struct target *t, const struct target_config *cfg, const struct table_spec *spec, struct err *err)
{
    for (int of = 0; of < CHECKS; of++)
        if (t->check(cfg, spec, (enum check_of)of, err) < 0)
            return -1;
    return target_check_undo(t, cfg, spec, err);
}

bool in_key(const struct table_spec *spec, int i)
{
    for (int k = 0; k < spec->nkey; k++)
        if (spec->key[k] == i)
            return true;
    return false;
}

void table_spec_id(struct buf *out, const struct table_spec *spec)
{
    buf_addf(out, "%s\n%d %d %d %d %d %d", spec->name, (int)spec->mode, spec->only_if_changed, spec->version, spec->deleted,
             (int)spec->missing, spec->undo_ms > 0);
    for (int k = 0; k < spec->nkey; k++)
        buf_addf(out, ",%d", spec->key[k]);
    buf_addc(out, '\n');
}

static int column_of(const struct recipe *recipe, const struct columns *columns, const char *key, const char *name, int *out,
                     const char **wrong, struct err *err)
{
    *wrong = key;
    *out = -1;
    if (name && (*out = columns_find(columns, str_of(name))) < 0)
        return err_set(err, ERR_CONFIG, "pipeline '%s': %s column '%s' is not among the columns", recipe->name, key, name);
    return 0;
}

static int check_history(const struct columns *columns, struct err *err)
{
    static const char *const own[] = { VALID_FROM, VALID_TO, IS_CURRENT };
    for (size_t i = 0; i < COUNT_OF(own); i++)
        if (columns_find(columns, str_of(own[i])) >= 0)
            return err_set(err, ERR_CONFIG, "column '%s' is what mode = history itself keeps; rename it", own[i]);
    return 0;
}

int table_spec_of(struct table_spec *spec, const struct recipe *recipe, const struct columns *columns, int *key, const char **wrong,
                  struct err *err)
{
    const char *ignored;
    wrong = wrong ? wrong : &ignored;
    *wrong = "columns";
    *spec = (struct table_spec){
        .table = recipe->table,
        .name = recipe->table_name,
        .columns = columns,
        .mode = recipe->mode,
        .nkey = recipe->nkey,
        .key = key,
        .only_if_changed = recipe->only_if_changed,
        .missing = recipe->missing,
        .undo_ms = recipe->undo_ms,
    };
    if (recipe->mode == MODE_HISTORY && check_history(columns, err) < 0)
        return -1;
    for (int i = 0; i < recipe->nkey; i++)
        if (column_of(recipe, columns, "key", recipe->key[i], &key[i], wrong, err) < 0)
            return -1;
    if (column_of(recipe, columns, "version", recipe->version, &spec->version, wrong, err) < 0 ||
        column_of(recipe, columns, "deleted", recipe->deleted, &spec->deleted, wrong, err) < 0)
        return -1;
    if (spec->deleted >= 0 && columns->v[spec->deleted].type != TYPE_BOOLEAN)
        return err_set(err, ERR_CONFIG, "pipeline '%s': deleted column '%s' is not boolean", recipe->name, recipe->deleted);
    return 0;
}

bool recipe_marks_rows(const struct recipe *recipe)
{
    return recipe->undo_ms && (recipe->mode == MODE_APPEND || recipe->mode == MODE_INSERT_IGNORE);
}

int recipe_marked_columns(struct columns *out, const struct recipe *recipe, const struct columns *columns, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    if (columns_find(columns, str_of(JOB_COLUMN)) >= 0)
        return err_set(err, ERR_CONFIG, "pipeline '%s': with undo= there can be no column " JOB_COLUMN
                       ": the uid of the job stands there", recipe->name);
    columns_print(columns, &text);
    buf_adds(&text, ", " JOB_COLUMN ":text");
    return text.failed ? err_nomem(err) : columns_parse(out, text.p, err);
}

const char *const load_params[LOAD_PARAMS] = {
    [LOAD_PARAM_JOB] = ":job",
    [LOAD_PARAM_PIPELINE] = ":pipeline",
    [LOAD_PARAM_WATERMARK] = ":watermark",
    [LOAD_PARAM_PREVIOUS_WATERMARK] = ":previous_watermark",
};

const char *load_param(const struct load_job *job, int param)
{
    const char *const values[LOAD_PARAMS] = { job->uid, job->pipeline, job->watermark, job->previous_watermark };
    return values[param];
}

int load_params_refuse(const char *name, struct err *err)
{
    return err_set(err, ERR_AFTER_LOAD, "there is no parameter '%.64s'; there are %s, %s, %s and %s", name, load_params[0], load_params[1],
                   load_params[2], load_params[3]);
}

static bool is_load_param(struct str word)
{
    for (int i = 0; i < LOAD_PARAMS; i++)
        if (str_eq(word, str_of(load_params[i])))
            return true;
    return false;
}

/* A parameter, and no part of a cast, a slice or a name. */
static bool is_colon_word(const char *sql, const char *p)
{
    char before = p > sql ? p[-1] : ' ';
    return *p == ':' && (isalpha((unsigned char)p[1]) || p[1] == '_') && !isalnum((unsigned char)before) && (unsigned char)before < 0x80 &&
           !strchr("_$:])", before);
}

int load_params_check(const char *sql, struct err *err)
{
    int line, column;
    if (strchr(sql, '#') || strstr(sql, "\\'") || strstr(sql, "\\\""))
        return 0;
    for (const char *p = sql_text_space(sql), *end; *p; p = sql_text_space(end)) {
        end = sql_text_token(p);
        if (!is_colon_word(sql, p))
            continue;
        end = sql_text_token(p + 1);
        AUTO(buf_clear) struct buf name = { 0 };
        buf_add(&name, p, (size_t)(end - p));
        if (name.failed)
            return err_nomem(err);
        if (is_load_param(buf_str(&name)))
            continue;
        sql_text_place(sql, (size_t)(p - sql), &line, &column);
        load_params_refuse(name.p, err);
        return err_in(err, "after_load: line %d, column %d", line, column);
    }
    return 0;
}

void load_params_fill(struct buf *out, const char *sql, const char *const with[LOAD_PARAMS])
{
    struct buf from = { 0 };
    buf_adds(&from, sql);
    for (int i = 0; i < LOAD_PARAMS; i++) {
        struct buf to = { 0 };
        sql_fill(&to, from.failed ? "" : from.p, load_params[i], with[i]);
        to.failed |= from.failed;
        buf_clear(&from);
        from = to;
    }
    if (!from.failed)
        buf_add(out, from.p, from.n);
    out->failed |= from.failed;
    buf_clear(&from);
}

int64_t load_rows(const struct load_job *job)
{
    int64_t rows = 0;
    for (int i = 0; i < job->noutputs; i++)
        rows += job->outputs[i].output->rows;
    return rows;
}

bool load_begins_table(const struct load_job *job, int at, int (*same)(const char *a, const char *b))
{
    for (int i = 0; i < at; i++)
        if (!same(job->outputs[i].spec.name, job->outputs[at].spec.name))
            return false;
    return true;
}

/* The end of the quoted text, comment or word that begins at p, where SQL has no parameters. */
static const char *sql_skip(const char *p)
{
    const char *end;
    if (*p == '\'' || *p == '"' || *p == '`') {
        for (end = p + 1; *end && *end != *p; end++)
            ;
        return *end ? end + 1 : end;
    }
    if (!strncmp(p, "--", 2))
        return p + strcspn(p, "\n");
    if (!strncmp(p, "/*", 2))
        return (end = strstr(p + 2, "*/")) ? end + 2 : p + strlen(p);
    return !strncmp(p, "::", 2) ? p + 2 : p + 1;
}

void sql_fill(struct buf *out, const char *sql, const char *word, const char *with)
{
    size_t n = strlen(word);
    for (const char *p = sql, *next; *p; p = next) {
        if (!strncmp(p, word, n) && !isalnum((unsigned char)p[n]) && p[n] != '_') {
            buf_adds(out, with);
            next = p + n;
            continue;
        }
        next = sql_skip(p);
        buf_add(out, p, (size_t)(next - p));
    }
}

void history_since(struct buf *out, const char *ended, const char *key, const char *now, const char *least, const char *greatest)
{
    if (ended)
        buf_addf(out, "qetl_ended AS (SELECT %s, max(" VALID_TO ") AS qetl_end FROM %s WHERE NOT " IS_CURRENT " GROUP BY %s), qetl_known AS"
                      " (SELECT qetl_begun.*, coalesce(qetl_last, qetl_end) AS qetl_least, CASE WHEN qetl_last IS NOT NULL OR qetl_end IS"
                      " NULL OR qetl_says > qetl_end THEN qetl_says END AS qetl_at FROM qetl_begun LEFT JOIN qetl_ended USING (%s)), ",
                 key, ended, key, key);
    else
        buf_adds(out, "qetl_known AS (SELECT qetl_begun.*, qetl_last AS qetl_least, qetl_says AS qetl_at FROM qetl_begun), ");
    buf_addf(out, "qetl_timed AS (SELECT qetl_known.*, coalesce(qetl_at, %s(%s, coalesce(min(qetl_at) OVER (PARTITION BY %s), %s))) AS qetl_from"
                  " FROM qetl_known), qetl_history AS (SELECT qetl_timed.*, coalesce(%s(qetl_least, qetl_from), qetl_from) AS qetl_since FROM"
                  " qetl_timed)",
             least, now, key, now, greatest);
}
