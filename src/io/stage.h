/*
 * How an encoder gets rid of its bytes: small outputs stay in memory and travel inside the queue, larger ones go to a
 * file in the spool that the worker opens for us (the reader child cannot open files).
 */
#ifndef QETL_IO_STAGE_H
#define QETL_IO_STAGE_H

#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

enum { STAGE_INLINE_MAX = 64 * 1024 };

enum output_kind { OUTPUT_ROWS, OUTPUT_REJECTS };

/* The staged rows of one job for one table (or its rejects). */
struct output {
    enum output_kind kind;
    int number;          /* from 0, inside the job */
    int64_t token;       /* of the claim that staged it: the queue fills it */
    char table[256];     /* "target.table" as in the ini; "" for rejects */
    char ext[8];         /* of the file: "db", "jsonl" */
    int64_t rows, bytes; /* bytes: of the file, or of the inline bytes */
    bool in_file;
    bool refresh;        /* takes the place of the table's rows, though the mode is append */
    uint64_t checksum;   /* of the file, base/hash.h; 0 when not taken */
    struct buf inlined;  /* when !in_file; owned */
    char *columns;       /* of the staged rows, as columns_parse reads them; malloc'ed, NULL for rejects, and once there is a spec */
    char *sample;        /* the first rows as a JSON array, where they were asked for; malloc'ed, or NULL */
    char *spec;          /* what the loader must know (role/outputs.h), kept by the queue as it is; of rejects their summary (io/rejects.h); malloc'ed, or NULL */
};

static inline void output_clear(struct output *o)
{
    buf_clear(&o->inlined);
    free(o->columns);
    free(o->spec);
    free(o->sample);
    o->columns = o->spec = o->sample = NULL;
}

/*
 * What the rows of a job did to their tables. inserted + updated + unchanged + deleted by a `deleted` column = rows staged:
 * a row that brought nothing new, was older than what is there, or was overtaken by a later row of the same job is unchanged.
 * Rows that went because the table was replaced or by `missing = delete` are in `removed`.
 */
struct load_counts {
    int64_t inserted, updated, unchanged, deleted, removed;
};

/* Other files than of outputs: one without a name that is gone when it is closed, and, plus its number, a look-up of the
 * configuration, for reading. */
enum { STAGE_SCRATCH = 1000, STAGE_LOOKUP = 2000 };

struct stage {
    /* A new, empty, writable, seekable file for output `number`, or one of those above; -1 with *err. The caller owns the fd. */
    int (*open_file)(void *arg, int number, const char *ext, struct err *err);
    void *arg;
    size_t inline_max; /* STAGE_INLINE_MAX; 0 in tests that want files */
};

#endif
