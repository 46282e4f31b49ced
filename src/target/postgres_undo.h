/*
 * Taking a job out of PostgreSQL again, for pipelines with undo=.
 *
 * Two tables beside the ledger: the notes in qetl_undo (target/undo.h), and in qetl_undo_row the rows that a job changed or removed,
 * before and after, as JSON of texts. Appended rows need no more than their column JOB_COLUMN. What a job left is compared with
 * what is there before anything is taken back, so a change by anybody in between is seen.
 */
#ifndef QETL_TARGET_POSTGRES_UNDO_H
#define QETL_TARGET_POSTGRES_UNDO_H

#include "target/postgres_conn.h"
#include "target/postgres_table.h"

/* What the notes said when the transaction began, and what came to it since; {0} before. */
struct pg_watch {
    bool there;       /* the two tables */
    bool made;        /* by the job at hand */
    bool all;         /* a job of this transaction may have kept something: the others are noted, whatever their tables */
    PGresult *tables; /* names of those of which something is kept; NULL: none */
};
void pg_watch_clear(struct pg_watch *w);
/* Is anything kept of a job that was loaded into the table? Then later ones must be noted. */
bool pg_is_watched(const struct pg_watch *w, const char *table);

/* Begins the transaction, and looks. */
int pg_undo_begin(PGconn *pg, struct pg_watch *w, struct err *err);
/* At the begin of a job: makes the two tables when it wants undo and they are missing. */
int pg_undo_prepare(PGconn *pg, struct pg_watch *w, bool wanted, struct schema_diff *diff, struct err *err);
/* The job was taken back to its savepoint. */
void pg_undo_rolled_back(struct pg_watch *w);
/* Before the rows of an output go in: keeps what they will change. After them: what came of it, and how many were inserted, and the
 * note. */
int pg_undo_before(PGconn *pg, const char *uid, const struct pg_table *t, struct err *err);
int pg_undo_after(PGconn *pg, const char *uid, const struct pg_table *t, const struct table_spec *spec, int64_t inserted,
                  struct err *err);
/* See undo in target.h. */
int pg_undo(PGconn *pg, const struct pg_watch *w, const char *uid, struct load_counts *counts, struct err *err);
/* Forgets what is older than its undo=. */
int pg_undo_prune(PGconn *pg, struct err *err);

#endif
