/*
 * A target in two halves that live in one file each, so that format and loader never drift:
 *   encode  in the reader child: typed rows to the target's own bulk form, guarding types and NOT NULL
 *   load    in the loader: outputs of many jobs plus their ledger rows in one transaction
 *
 * The ledger contract: table qetl_load in the target has a row with the job's uid if and only if all the job's outputs are
 * committed. load_job() checks it first and writes it in the same transaction as the rows.
 */
#ifndef QETL_TARGET_TARGET_H
#define QETL_TARGET_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/config.h"
#include "io/rejects.h"
#include "io/row.h"
#include "io/stage.h"

/* What an encoder must know of the table. */
struct table_spec {
    const char *table;             /* "target.table" */
    const char *name;              /* table (or schema.table) in the target */
    const struct columns *columns; /* borrowed */
    enum load_mode mode;
    int nkey;
    const int *key;                /* indexes into columns */
};

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
    /* results */
    int64_t rows;                /* put into the tables */
    int64_t slow_rows;           /* rows staged in files for a table without key that went the slow way */
    bool was_there;              /* the ledger had it already: nothing was done */
};

struct target_conn; /* each target has its own inside */

struct target {
    const char *scheme; /* "sqlite" */

    /* ---- encode ---- */
    int (*encode_open)(struct encoder **out, const struct table_spec *spec, const struct stage *stage, int output_number,
                       struct err *err);
    /* Rows into the output. A row that the target could not hold exactly goes to rejects (REJECT_TARGET_RANGE). *staged counts. */
    int (*encode_rows)(struct encoder *e, const struct rows *rows, struct rejects *rejects, uint64_t *staged, struct err *err);
    /* All bytes written and, for a file, on disk (fdatasync). *out is filled; its fd was closed. */
    int (*encode_finish)(struct encoder *e, struct output *out, struct err *err);
    void (*encode_close)(struct encoder *e); /* NULL is fine; also after finish */

    /* ---- load ---- */
    /* `create`: make the file or schema when missing. Refuses with a clear error what cannot be a warehouse. */
    int (*open)(struct target_conn **out, const struct target_config *cfg, bool create, struct err *err);
    void (*close)(struct target_conn *c);
    int max_files; /* outputs in files that fit into one transaction */
    int (*begin)(struct target_conn *c, struct err *err);
    /* One job inside the transaction. 0: its rows and ledger row are in. -1 with a permanent error: undone to its savepoint, the
     * group goes on without it. -1 with a transient error: the caller must roll the group back. */
    int (*load_job)(struct target_conn *c, struct load_job *job, struct err *err);
    /* -1: nothing is certain; the caller asks loaded() after reopening. */
    int (*commit)(struct target_conn *c, struct err *err);
    void (*rollback)(struct target_conn *c);
    /* 1: the ledger has uid; 0: it has not; -1 error. */
    int (*loaded)(struct target_conn *c, const char *uid, struct err *err);
};

extern const struct target target_sqlite;

const struct target *target_by_url(const char *url, struct err *err); /* NULL: uri error listing the schemes */

#endif
