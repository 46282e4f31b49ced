/*
 * What undo is on every target with SQL: which jobs leave a note, and which later ones stand in the way.
 *
 * Table qetl_undo of the target has a row for each job and table: of jobs whose pipeline has undo=, and of all that load into such a
 * table while one of them can still be undone. It has at least
 *   id (grows), uid, table_name, mode (of a job that had all rows of its table, for missing = delete, with " whole" behind it),
 *   state: kept (it can be undone), none (nothing was kept), expired (no longer)
 * Notes are written in the transaction of the job, and go in that of its undo, which leaves the time in qetl_load.undone_at: the
 * ledger's row stays, so that the job is never loaded a second time.
 */
#ifndef QETL_TARGET_UNDO_H
#define QETL_TARGET_UNDO_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/target.h"

/* Is a table of the job to be taken back by undo? Then all its tables are noted. */
bool undo_wanted(const struct load_job *job);
/* Must rows of the table be kept before the job changes them? Else they have the uid of the job that put them in. */
bool undo_keeps_rows(const struct table_spec *spec);

/* What a note calls the mode, with room for it, and which mode that is; MODES: none. */
enum { UNDO_MODE = 16 };
void undo_mode_text(char out[UNDO_MODE], const struct table_spec *spec);
enum load_mode undo_mode_of(const char *text);

/* Reasons against undoing a job of some modes: later notes n (with l, their rows of the ledger) for which `which` holds. */
struct undo_rule {
    unsigned of; /* modes, as 1 << MODE_… */
    const char *which, *why;
};
enum { UNDO_RULES = 5 };
extern const struct undo_rule undo_rules[UNDO_RULES];
extern const char undo_touched[]; /* why, where rows are compared */

/* SQL that gives the last such later job as people know it. In this order it has :name, the table's, :note, the id of the note,
 * and :job, the uid. text: the type that a number is cast to for it, as the server calls it. */
void undo_later_sql(struct buf *out, const char *which, const char *text);
/* Deletes the notes of table :name that say nothing any more: nothing older is kept that they could stand in the way of, and nothing
 * of their job in other tables, which must not be undone without this one. */
extern const char undo_forget_sql[];

/* Refusals (state); table as people know it. Give -1. */
int undo_refuse_later(struct err *err, const char *job, const char *table, const char *why);
int undo_refuse_unkept(struct err *err, const char *table); /* NULL: the whole job */
int undo_refuse_late(struct err *err, const char *table, const char *until);
int undo_refuse_fewer(struct err *err, const char *table, int64_t rows, int64_t inserted); /* of the job's own */
int undo_refuse_mixed(struct err *err, const char *table); /* by parts that an ini of before let into one table */
int undo_refuse_unknown(struct err *err, const char *table); /* what its note says */
int undo_refuse_gone(struct err *err, const char *table);
int undo_refuse_lost(struct err *err, const char *table, const char *columns); /* which it had, and undo needs */

/* What a target says that is asked for a job whose ledger row has a time in undone_at. -1: ERR_UNDONE. */
int undo_refuse_load(struct err *err, const char *undone_at);

#endif
