/*
 * What the loader must know about a staged output, written down when it was staged: a later change of the ini does not
 * change how rows that are staged already are loaded.
 */
#ifndef QETL_ROLE_OUTPUTS_H
#define QETL_ROLE_OUTPUTS_H

#include "base/err.h"
#include "io/config.h"
#include "io/stage.h"
#include "target/target.h"

/* Fill out->spec (JSON: columns, mode, key, table, and what else its recipe says of loading) from out->columns, which are forgotten,
 * and the part that staged it. added: those of its columns that the table may lack, and then gets; or NULL. added_of: the part that they are kept
 * for in the queue. */
int output_spec_set(struct output *out, const struct recipe *recipe, const char *added, const char *added_of, struct err *err);

/* Are there columns that the table may lack? */
bool output_adds(const struct output *out);
/* Does after_load of it work by event time, on a window of it? */
bool output_has_window(const struct output *out);

struct output_spec {
    struct table_spec table;
    struct columns columns;
    struct arena arena;
    const char *after_load; /* of the pipeline, or NULL */
    const char *added, *added_of; /* as above */
};
int output_spec_get(struct output_spec *s, const struct output *out, struct err *err);
void output_spec_clear(struct output_spec *s);

#endif
