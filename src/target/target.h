/*
 * A target in two halves that live in one file each, so that format and loader never drift:
 *   encode  in the reader child: typed rows to the target's own bulk form, guarding types and NOT NULL
 *   load    in the loader: outputs of many jobs plus their ledger rows in one transaction
 *
 * The ledger contract: table qetl_load in the target has a row with the job's uid if and only if all the job's outputs are
 * committed. load_job() checks it first and writes it in the same transaction as the rows. A row with a time in undone_at is of a job
 * that was undone: it is never loaded again (ERR_UNDONE).
 */
#ifndef QETL_TARGET_TARGET_H
#define QETL_TARGET_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "io/rejects.h"
#include "io/row.h"
#include "io/stage.h"

/* What encoder and loader must know of the table. Borrowed all of it. */
struct table_spec {
    const char *table;             /* "target.table" */
    const char *name;              /* table (or schema.table) in the target */
    const struct columns *columns;
    enum load_mode mode;
    int nkey;
    const int *key;                /* indexes into columns */
    bool only_if_changed;          /* these four: see struct recipe */
    int version, deleted;          /* indexes into columns, or -1 */
    enum missing_rows missing;
    int64_t undo_ms;
};

/* Where undo= is set, appended rows (modes append, insert_ignore) have the uid of their job in this column, a text behind the
 * columns of the recipe. */
#define JOB_COLUMN "_job"
bool recipe_marks_rows(const struct recipe *recipe);
/* The columns of such a recipe with JOB_COLUMN. Errors: config (the recipe has one of that name itself). */
int recipe_marked_columns(struct columns *out, const struct recipe *recipe, const struct columns *columns, struct err *err);

struct encoder; /* each target has its own inside */

struct load_output {
    struct table_spec spec;
    const struct output *output; /* inline bytes inside, or: */
    const char *path;            /* of the staged file */
};

struct load_job {
    const char *uid, *pipeline;
    int64_t id, seq;
    const char *objects;         /* JSON array of URIs, redacted, for the ledger */
    const struct load_output *outputs;
    int noutputs;
    const char *after_load;      /* SQL to run after the rows, before the ledger row; or NULL */
    int64_t lock_wait_ms;        /* so long a lock of somebody else on its tables is waited for; 0: as long as the target does by itself */
    const char *watermark, *previous_watermark; /* for it: UTC as "YYYY-MM-DD HH:MM:SS[.ffffff]"; NULL: there is none */
    /* results */
    struct load_counts counts;   /* also of a job that was there */
    int64_t slow_rows;           /* rows staged in files for a table without key that went the slow way */
    bool took_down;              /* its after_load failed, and the connection or the whole transaction is gone */
    bool was_there;              /* the ledger had it already: nothing was done */
};

/* One value of a query's answer, as text; p is NULL for null. */
struct query_value {
    struct str text;
    bool number; /* may stand in JSON without quotes */
};
/* Takes the answer of a query as it comes. -1 with *err ends the query. */
struct query_sink {
    int (*columns)(void *arg, int n, const char *const *names, struct err *err);
    int (*row)(void *arg, int n, const struct query_value *values, struct err *err);
    void *arg;
};

/* What of a table_spec check() looks at. */
enum check_of {
    CHECK_NAME,    /* name */
    CHECK_MODE,    /* mode, and what else says how rows meet: version and deleted only as to whether there are any, and key not at all */
    CHECK_COLUMNS, /* all of it */
    CHECKS
};

struct target_conn; /* each target has its own inside */
struct schema_diff; /* target/schema_diff.h */

struct target {
    const char *scheme; /* "sqlite" */

    /* Is what the [target] says right by itself? -1: ERR_CONFIG, and *key is the one that is not. NULL: nothing is known but its scheme. */
    int (*check_self)(const struct target_config *cfg, const char **key, struct err *err);
    /* The option of a url that check_self() finds right by which a server would be taken whatever the ca_file of its [remote] vouches for, as
     * "sslmode=prefer"; NULL: it has none. Without such an option a ca_file is heeded. NULL: this target knows no ca_file. */
    const char *(*beside_ca)(const struct target_config *cfg);
    /* Can this target do that to such a table? -1: ERR_CONFIG with what it cannot do, and what to do instead. Needs no connection.
     * What check_self() refuses is not looked at again. For all of it, and undo=: target_check(). */
    int (*check)(const struct target_config *cfg, const struct table_spec *spec, enum check_of of, struct err *err);

    /* What is known of SQL of after_load= without a server and its tables. -1: after-load, its message begins with "after_load: ". NULL: nothing. */
    int (*check_after)(const char *sql, struct err *err);

    /* ---- encode ---- */
    int (*encode_open)(struct encoder **out, const struct target_config *cfg, const struct table_spec *spec,
                       const struct stage *stage, int output_number, struct err *err);
    /* Rows into the output. A row that the target could not hold exactly goes to rejects (REJECT_TARGET_RANGE). *staged counts. */
    int (*encode_rows)(struct encoder *e, const struct rows *rows, struct rejects *rejects, uint64_t *staged, struct err *err);
    /* All bytes written and, for a file, on disk (fdatasync). *out is filled; its fd was closed. */
    int (*encode_finish)(struct encoder *e, struct output *out, struct err *err);
    void (*encode_close)(struct encoder *e); /* NULL is fine; also after finish */

    /* ---- load ---- */
    /* `create`: make the file or schema when missing. Refuses with a clear error, which names the target, what cannot be a
     * warehouse. `config` (borrowed as long as the connection) has the [remote] with user, password and ca_file for the target's url. */
    int (*open)(struct target_conn **out, const struct config *config, const struct target_config *cfg, bool create,
                struct err *err);
    void (*close)(struct target_conn *c);
    int max_files; /* outputs in files that fit into one transaction */
    bool one_by_one; /* commit() commits job by job: after a -1 the ledger may have some of the group, and not others; after a load_job()
                      * that failed the group can go on */
    /* Before begin(): give the job's tables columns that they lack and are to get, where that cannot be done inside a transaction.
     * Whatever becomes of the job, such a column does no harm. -1: trouble; what is refused for good load_job() tells. NULL: it can. */
    int (*add_columns)(struct target_conn *c, const struct load_job *job, struct err *err);
    int (*begin)(struct target_conn *c, struct err *err);
    /* One job inside the transaction. 0: its rows and ledger row are in. -1 with a permanent error: undone to its savepoint, the
     * group goes on without it. -1 with a transient error: the caller must roll the group back. */
    int (*load_job)(struct target_conn *c, struct load_job *job, struct err *err);
    /* -1: nothing is certain; the caller asks loaded() after reopening. */
    int (*commit)(struct target_conn *c, struct err *err);
    void (*rollback)(struct target_conn *c);
    /* begin(), on a connection that was opened without `create`, for a transaction that ends in rollback() and then leaves nothing
     * behind, the ledger and tables that load_job() makes in it included; what it makes is noted in *diff (target/schema_diff.h), which
     * lives as long as the connection. NULL: this target has no such transaction. */
    int (*rehearse)(struct target_conn *c, struct schema_diff *diff, struct err *err);
    /* From another thread, while a call on the connection is under way: that is to end, with an error. Said again until it has, because one
     * that comes between two statements is lost. Then rollback() and close() are all that the connection is good for. With rehearse. */
    void (*interrupt)(struct target_conn *c);
    /* Behind it, and before load_job(): what the job would make of its tables, each looked at whatever is wrong with the others. Of a
     * target that has no rehearse: on a connection that was opened without `create`, only reading; or c is NULL, and it tells what it
     * knows without. */
    int (*look)(struct target_conn *c, const struct load_job *job, struct schema_diff *diff, struct err *err);
    /* 1: the ledger has uid, and *counts is what the job did; 0: it has not; -1 error
     * (ERR_UNDONE: it had, but a person undid it). */
    int (*loaded)(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);

    /* Outside of a transaction a failed load_job() can leave something behind: take out what tries of this job did, which the ledger does
     * not have. 0: it is not loaded, and no commit of it that is under way will be done any more. 1: the ledger has it after all, and
     * job->counts is what it did. The caller's lease keeps others from loading it meanwhile. NULL: nothing is ever left. */
    int (*forsake)(struct target_conn *c, struct load_job *job, struct err *err);

    /* Could a job be committed? Writes nothing. -1: the ledger is not there or cannot be written, or whatever else stands in the way of
     * every job; the error names the target. NULL: open() has told. */
    int (*probe)(struct target_conn *c, struct err *err);

    /* ---- by people ---- */
    /* Take out what the job of that uid put in, and mark its ledger row, inside the transaction. 1 done, now or before; 0 the ledger
     * has no such job; -1: refused (ERR_STATE, with the reason: not kept, or a later job builds on it), or trouble. *counts: removed,
     * and inserted for rows that came back. NULL: cannot undo. */
    int (*undo)(struct target_conn *c, const char *uid, struct load_counts *counts, struct err *err);
    unsigned undoes;        /* modes whose jobs it takes out, as 1 << MODE_… */
    const char *undoes_not; /* why not those of others; NULL: there are none */
    /* SQL of an administrator, one statement or several, inside of begin() and commit(), which it must not end; or, where DDL does
     * that (ddl_alone), outside. Behind *first, which may be NULL: the first value of the first row. NULL: no SQL here. */
    int (*run)(struct target_conn *c, const char *sql, struct buf *first, struct err *err);
    /* SQL that gives 1 when this connection, until it is closed, is the only one of its database that had a 1: for files of DDL, which ends
     * transactions here. Something else: another one has had it for a minute. NULL: DDL is inside of a transaction. */
    const char *ddl_alone;
    /* SQL that lets nobody else's ddl= in before the end of the transaction, by waiting for who is in. NULL: begin() does, or ddl_alone has. */
    const char *ddl_lock;
    /* Run one statement that cannot write, on a connection of its own. Its errors name the target. NULL: no SQL here. */
    int (*query)(const struct config *config, const struct target_config *cfg, const char *sql, const struct query_sink *sink,
                 struct err *err);
};

extern const struct target target_sqlite, target_postgres, target_mysql;
extern const struct target target_directory, target_s3; /* target/object.c */

const struct target *target_by_url(const char *url, struct err *err); /* NULL: uri error listing the schemes */

/* Can it do that to such a table, in each respect? Asked before anything is encoded. -1: config. */
int target_check(const struct target *t, const struct target_config *cfg, const struct table_spec *spec, struct err *err);
/* Can jobs of such a table be undone, if that is asked for? -1: config. */
int target_check_undo(const struct target *t, const struct target_config *cfg, const struct table_spec *spec, struct err *err);
/* Can undo() take out jobs of that mode? -1: config, with the mode and why it cannot. */
int target_may_undo(const struct target *t, enum load_mode mode, struct err *err);

/* What a table in mode history has beside the columns. */
#define VALID_FROM "valid_from"
#define VALID_TO "valid_to"
#define IS_CURRENT "is_current"
/*
 * When the rows of mode = history hold, [valid_from, valid_to): of each key no two at one time, none ends before it begins, at most one is
 * current. So the new rows of a key, in the order of their versions (none first), begin
 *   - where their version says. One that says nothing, or (missing = delete) not more than the time at which the key's last row ended,
 *     came now: it begins with the load, or where the first row with a time of its own does, if that is earlier;
 *   - but no earlier than the current row of the key did, or, where it has none (missing = delete), than its last one ended.
 * The times that gives are in the order of the rows: each row ends where the next begins, the current one where the first does. What goes
 * missing ends with the load, and no earlier than it began.
 *
 * history_since() is SQL of it, between WITH ... qetl_begun (the new rows, each with qetl_says: when its version says, or null; and
 * qetl_last: when the current row of its key began, or null) and a SELECT of qetl_history (the same with qetl_since: when it begins).
 * ended: the table, whose rows that ended are looked at, or NULL; key: its columns; both quoted. now: an expression; least, greatest: names
 * of functions.
 */
void history_since(struct buf *out, const char *ended, const char *key, const char *now, const char *least, const char *greatest);
/* SQL of a column, behind it: the newest version for which a row was seen, with qetl_newest, the last version of its key, and qetl_before, that
 * of the row before it; what comes later of a version between is late. */
#define HISTORY_NEWEST "CASE WHEN lead(1) OVER w IS NULL THEN qetl_newest ELSE lead(qetl_before) OVER w END AS "

/* Is column i one of the key? */
bool in_key(const struct table_spec *spec, int i);
/* What outputs for one table are known by, but for their columns: name, mode, options and key; behind out, with a line end. */
void table_spec_id(struct buf *out, const struct table_spec *spec);
/* The spec of a recipe's table; key: room for recipe->nkey. Errors: config (a key, version or deleted column is not among them), and
 * *wrong, unless it is NULL, names the key of the ini that is at fault. */
int table_spec_of(struct table_spec *spec, const struct recipe *recipe, const struct columns *columns, int *key, const char **wrong,
                  struct err *err);

/* SQL with each `word` (such as ":job") that stands outside of quotes and comments replaced, behind out. "::" is no word's begin. */
void sql_fill(struct buf *out, const char *sql, const char *word, const char *with);

/* The parameters of after_load, by the names that stand in it; each target hands their values to its database as values. */
enum { LOAD_PARAM_JOB, LOAD_PARAM_PIPELINE, LOAD_PARAM_WATERMARK, LOAD_PARAM_PREVIOUS_WATERMARK, LOAD_PARAMS };
extern const char *const load_params[LOAD_PARAMS]; /* ":job", … */
const char *load_param(const struct load_job *job, int param); /* its value; NULL is null */
/* -1: ERR_AFTER_LOAD, that there is no parameter of that name, and which there are. */
int load_params_refuse(const char *name, struct err *err);
/* Is each :word of after_load that stands outside of quotes and comments one of them? Where the SQL has a # or escapes in quotes, in which
 * databases differ, nobody looks. -1: after-load. */
int load_params_check(const char *sql, struct err *err);
/* after_load with what stands for its parameters in the database's own way, behind out. */
void load_params_fill(struct buf *out, const char *sql, const char *const with[LOAD_PARAMS]);

/* How many rows the outputs of a job have. */
int64_t load_rows(const struct load_job *job);
/* Is output `at` the first of the job for its table? `same`: strcmp or strcasecmp, as the target compares names. */
bool load_begins_table(const struct load_job *job, int at, int (*same)(const char *a, const char *b));

#endif
