/*
 * What a load would make of the tables of its target, for a rehearsal: noted by the load itself, where it makes and alters them, so
 * that nothing besides it decides what it would do.
 *
 * A target that is rehearsed has a struct schema_diff, another one NULL: whoever makes a table, a column or something of qetl's own
 * notes it just before. It knows nothing of the way in which that is taken back.
 */
#ifndef QETL_TARGET_SCHEMA_DIFF_H
#define QETL_TARGET_SCHEMA_DIFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "target/target.h"

enum schema_state {
    SCHEMA_FITS,    /* the table is there, and takes the rows as they are */
    SCHEMA_NEW,     /* it would be made */
    SCHEMA_ALTERED, /* it would get columns */
    SCHEMA_REFUSED, /* the job would die of it */
    SCHEMA_OBJECTS, /* nothing is declared here: objects would be written */
    SCHEMA_STATES
};
extern const char *const schema_state_names[SCHEMA_STATES];

struct schema_column {
    const char *name, *type; /* the type as the target would declare it */
    bool not_null, key;
};
struct schema_object {
    const char *name; /* with "{uid}" where the uid of the job would be */
    int64_t rows, bytes;
};
struct schema_own {
    const char *name, *sql; /* a table of qetl's own (ledger, undo) that would be made or altered */
};

/* What becomes of the table of one output. */
struct schema_table {
    const char *table; /* "target.table" */
    enum schema_state state;
    struct err refused;
    int ncolumns, nsql, nobjects;
    struct schema_column *columns;  /* of the recipe, that the table would get; what mode history has besides stands in sql */
    const char **sql;               /* that would be run for it */
    struct schema_object *objects;
    int64_t replaced_objects, replaced_rows; /* of the table, whose place they would take */
};

/* {0} is an empty one. */
struct schema_diff {
    struct schema_table *tables; /* one for each output of the job, in that order: of two for one table the second meets what the first made of it */
    int n;
    struct schema_own *own;
    int nown;
    bool failed; /* no memory for a note: what it has is not the whole */
    /* inside */
    struct schema_table *now;
    struct arena arena;
};
void schema_diff_clear(struct schema_diff *d);
/* What the job would die of, by its tables: the first that was refused; NULL: nothing. */
const struct err *schema_diff_refused(const struct schema_diff *d);

/* The type of a column of spec, as the target declares it, behind out. */
typedef void schema_type(struct buf *out, const struct table_spec *spec, int column);

/* Looks at the table of each output of the job by `table`, which makes and alters it as a load would, or notes that it would. What it
 * refuses for good is noted, and so the load may say it again; trouble that is none of what was noted ends it: -1. */
int schema_diff_look(struct schema_diff *d, const struct load_job *job,
                     int (*table)(void *arg, const struct load_output *output, struct err *err), void *arg, struct err *err);

/* What the load of output `at` met and the look did not see, such as a right that is missing: its table is refused, too. d may be NULL. */
void schema_diff_refuse(struct schema_diff *d, int at, const struct err *why);

/* Notes, within `table` of a look; d is NULL, or it is within no look: nothing happens. */
void schema_diff_make(struct schema_diff *d, const struct table_spec *spec, const char *sql, schema_type *type);
void schema_diff_add(struct schema_diff *d, const struct table_spec *spec, int column, const char *sql, schema_type *type);
void schema_diff_objects(struct schema_diff *d, int n);
void schema_diff_object(struct schema_diff *d, const char *name, int64_t rows, int64_t bytes); /* n of them at most */
void schema_diff_replaced(struct schema_diff *d, int64_t objects, int64_t rows);
/* At any time. */
void schema_diff_own(struct schema_diff *d, const char *name, const char *sql);

#endif
