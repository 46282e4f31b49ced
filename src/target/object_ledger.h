/*
 * What a store knows of jobs and tables: the object-store form of the ledger.
 *
 * _manifest/UID.json   one a job, put whole and once, after all its objects: with it the job's rows are
 *                      there, all tables at once; without it they are not. It names each object with rows,
 *                      bytes and SHA-256. Of a job that was undone it stays, with undone_at: it has no tables
 *                      then, and those it had as undone_tables. Or it says that the job was given up (given_up: how
 *                      often, and no tables): then the job is not loaded, and its objects are being deleted.
 * _table/TABLE.json    only of a table that a replace has been loaded into: the seq (place in the job
 *                      order) and uid of the newest one, the uids whose objects are the table now, and
 *                      those whose objects of it are to be deleted.
 *
 * The manifests alone are the truth: rows of a table are those of its newest replace (greatest seq) and
 * of the appends behind it, or of all appends where there was no replace. _table follows them; what a
 * killed loader left undone of it, ledger_settle() and the next load of the table make good.
 *
 * A store may do a put after the loader that sent it is gone. So a job is given up in the store, before its objects are deleted: each
 * manifest is put on the condition that its name is as the loader found it, nothing there or the given_up N that it read, and giving up
 * puts given_up N + 1 on the same condition. Of two that were sent one is done. Objects of a try behind the Nth giving up have N in their
 * names, so that a deletion that is done late meets those of its own time only.
 */
#ifndef QETL_TARGET_OBJECT_LEDGER_H
#define QETL_TARGET_OBJECT_LEDGER_H

#include "target/object_store.h"
#include "target/target.h"

/* ---- one job's part of a manifest ---- */

struct manifest_object {
    char *name, *sha256;
    int64_t rows, bytes;
};
struct manifest_table {
    char *name, *columns, *ext; /* columns: as columns_print gives them */
    enum load_mode mode;        /* append or replace */
    struct manifest_object *objects;
    int nobjects;
    int64_t rows;
};
struct manifest {
    char *uid, *pipeline, *source; /* source: JSON array of URIs */
    char *loaded_at;               /* as it stands in the store; NULL: it is put now */
    char *undone_at;               /* NULL: it was not undone; else tables are those it had */
    int64_t job, seq;
    int64_t given_up;    /* how often, before; 0: never */
    char tag[STORE_TAG]; /* of what lay at the name before: the last giving up; "": nothing */
    struct load_counts counts;
    struct manifest_table *tables; /* one an output; two may name one table */
    int ntables;
    struct arena arena; /* owns all of it */
};
/* 1: *out is read (manifest_clear); 0: there is none, or the job was given up: out has given_up and tag, and no more; -1: target
 * (damaged, or trouble). */
int manifest_get(struct manifest *out, struct store *store, const char *uid, struct err *err);
/* Put it, if m->tag is what lies there; one that is there already is the same job's, which is looked at. -1: target (something else lies
 * there, or trouble). */
int manifest_put(struct store *store, const struct manifest *m, struct err *err);
/* Give the job up, of which m has uid, pipeline, job and seq: from now on no manifest of a try before this can be put, whenever the store
 * does it. 1 done, and m->given_up is how often by now; 0: it is loaded (or undone); -1: target: it may be loaded yet. */
int manifest_give_up(struct store *store, struct manifest *m, struct err *err);
void manifest_clear(struct manifest *m);

/* ---- tables ---- */

struct table_state {
    char *name;
    bool replaced;        /* there is a _table document: */
    char tag[STORE_TAG];  /* of it */
    bool there;           /* it can be read in the store */
    int64_t seq, last;    /* of the newest replace; of the newest job of `now` */
    char uid[40];         /* of it */
    struct buf now, old;  /* uids, each with a line end behind it */
    int64_t rows;         /* of those in now; of all manifests where there was no replace and one comes */
    bool counted, dirty;
    /* with the jobs of this transaction that are not committed yet */
    int64_t seq_next, last_next, rows_next;
};
struct ledger {
    struct store *store;
    struct table_state *tables;
    int ntables;
};

/* The state of a table, read at its first use since ledger_forget(). whole: with the rows and uids of
 * appends in a table without a replace, for which all manifests are read. Valid until the next call. */
int ledger_table(struct ledger *l, const char *name, bool whole, struct table_state **out, struct err *err);
/* Has a job of that place or behind it replaced the table, or, to a replace, added to it? Not this one. *there: its place. */
bool ledger_is_ahead(const struct table_state *t, int64_t seq, const char *uid, bool replace, int64_t *there);
/* The objects and rows that are the table now. Only reads. */
int ledger_count(struct ledger *l, const char *name, int64_t *objects, int64_t *rows, struct err *err);
void ledger_forget(struct ledger *l);
/* The manifest is in the store: its tables are as it says. Nothing is written yet. */
int ledger_apply(struct ledger *l, const struct manifest *m, struct err *err);
/* Write the tables that changed, then delete the objects that are no longer of them. */
int ledger_write(struct ledger *l, struct err *err);
/* The job's manifest is in the store: is all that follows from it done? Does it, where not. */
int ledger_settle(struct ledger *l, const struct manifest *m, struct err *err);
/* Take an append out again: from its manifest, then its objects; or what is left of that, where it was begun before.
 * -1: state (with the reason), target. */
int ledger_undo(struct ledger *l, struct manifest *m, struct err *err);

#endif
