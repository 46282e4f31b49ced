/* The rules of undo; see the header. */
#include "target/undo.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char undo_touched[] = "changed the same rows: undo that one first";

enum { REPLACES = 1 << MODE_REPLACE, OTHERS = (1 << MODES) - 1 - REPLACES, PUT_BACK = 1 << MODE_UPSERT | 1 << MODE_HISTORY };
#define CHANGES "(n.mode LIKE 'upsert%' OR n.mode LIKE 'history%')"

const struct undo_rule undo_rules[UNDO_RULES] = {
    { REPLACES, "1 = 1", "builds on it: undo that one first" },
    { OTHERS, "n.mode = 'replace'", "replaced its rows: undo that one first" },
    { OTHERS, CHANGES " AND n.state <> 'kept'", "may have changed the same rows: what it changed was not kept" },
    { OTHERS, "n.mode = 'insert_ignore' AND l.unchanged > 0", "left rows out because others were there: undo that one first" },
    { PUT_BACK, "n.mode LIKE '% whole'", "had all rows that there were by then (missing = delete): undo that one first" },
};

const char undo_forget_sql[] = "DELETE FROM qetl_undo WHERE table_name = :name AND state <> 'kept' AND NOT EXISTS (SELECT 1 FROM"
                               " qetl_undo AS k WHERE k.table_name = qetl_undo.table_name AND k.state = 'kept' AND k.id < qetl_undo.id)"
                               " AND NOT EXISTS (SELECT 1 FROM qetl_undo AS o WHERE o.uid = qetl_undo.uid AND o.state = 'kept')";

bool undo_wanted(const struct load_job *job)
{
    for (int i = 0; i < job->noutputs; i++)
        if (job->outputs[i].spec.undo_ms)
            return true;
    return false;
}

static const char whole[] = " whole";

void undo_mode_text(char out[UNDO_MODE], const struct table_spec *spec)
{
    snprintf(out, UNDO_MODE, "%s%s", load_mode_names[spec->mode], spec->missing == MISSING_DELETE ? whole : "");
}

enum load_mode undo_mode_of(const char *text)
{
    for (int mode = 0; mode < MODES; mode++) {
        size_t n = strlen(load_mode_names[mode]);
        if (!strncmp(text, load_mode_names[mode], n) && (!text[n] || !strcmp(text + n, whole)))
            return (enum load_mode)mode;
    }
    return MODES;
}

bool undo_keeps_rows(const struct table_spec *spec)
{
    return spec->undo_ms && spec->mode != MODE_APPEND && spec->mode != MODE_INSERT_IGNORE;
}

void undo_later_sql(struct buf *out, const char *which, const char *text)
{
    buf_addf(out, "SELECT coalesce(CAST(l.job AS %s), n.uid) FROM qetl_undo AS n LEFT JOIN qetl_load AS l ON l.uid = n.uid"
                  " WHERE n.table_name = :name AND n.id > :note AND n.uid <> :job AND (%s) ORDER BY n.id DESC LIMIT 1", text, which);
}

int undo_refuse_later(struct err *err, const char *job, const char *table, const char *why)
{
    return err_set(err, ERR_STATE, "job %s was loaded into table '%s' later, and %s", job, table, why);
}

int undo_refuse_unkept(struct err *err, const char *table)
{
    return err_set(err, ERR_STATE, "nothing is kept to undo it%s%s%s: its pipeline had no undo=, or it is longer ago than that",
                   table ? " in table '" : "", table ? table : "", table ? "'" : "");
}

int undo_refuse_late(struct err *err, const char *table, const char *until)
{
    return err_set(err, ERR_STATE, "too late: it could be undone in table '%s' until %s", table, until);
}

int undo_refuse_fewer(struct err *err, const char *table, int64_t rows, int64_t inserted)
{
    return err_set(err, ERR_STATE, "table '%s' has %" PRId64 " of the job's %" PRId64 " rows: they were replaced or removed since", table,
                   rows, inserted);
}

int undo_refuse_mixed(struct err *err, const char *table)
{
    return err_set(err, ERR_STATE, "several parts of the job loaded table '%s' in modes that change each other's rows: what was there before is not"
                                   " known; load it right by a new job", table);
}

int undo_refuse_unknown(struct err *err, const char *table)
{
    return err_set(err, ERR_STATE, "table '%s': the note of the job in qetl_undo is of a later version of qetl, or was changed", table);
}

int undo_refuse_gone(struct err *err, const char *table)
{
    return err_set(err, ERR_STATE, "table '%s' is gone; if it was renamed, give it its name back", table);
}

int undo_refuse_lost(struct err *err, const char *table, const char *columns)
{
    return err_set(err, ERR_STATE, "table '%s' has lost columns that are needed to undo it: %s; give them their names back, or add them", table,
                   columns);
}

int undo_refuse_load(struct err *err, const char *undone_at)
{
    return err_set(err, ERR_UNDONE, "it was loaded before, and undone at %s", undone_at);
}
