/*
 * Drift: how what a member calls its columns differs from columns=, and from what the last job of the pipeline had.
 *
 *   new      a name that no column of the ini takes
 *   missing  a column whose name is not there
 *   moved    CSV: a name that stands elsewhere among those that both headers have (the fewest that explain the order)
 *   retyped  a tenth of the rows, or more, were refused because the column's value is not of its type
 *
 * What on_new_column and on_missing_column say is done is done whenever a member is so. A finding is noted when it is news: when the
 * header of the last job that was staged (or of the member before, in this one) was other, or there was none; and when the job fails
 * of it. A name that an earlier header had, though not the last one, is known, and not new again. Members without names (CSV without a header) have no drift but retyped.
 *
 * A part has one of these; it lives as long as the job's run and keeps nothing on disk.
 */
#ifndef QETL_PIPELINE_DRIFT_H
#define QETL_PIPELINE_DRIFT_H

#include "base/err.h"
#include "base/json.h"
#include "io/config.h"
#include "io/row.h"
#include "read/cast.h"
#include "read/format.h"

struct drift;

/* recipe and columns are borrowed until free. header: what drift_header() gave of the last job, or NULL; what cannot be read counts
 * as none. -1: no-memory. */
int drift_open(struct drift **out, const struct recipe *recipe, const struct columns *columns, const char *header, struct err *err);
void drift_free(struct drift *d); /* NULL is fine */

/* The names of a member; whole: all of them are there. Before, only new names are looked at. -1: header (a column is missing) or
 * drift (there is a new one), where that is to fail; the findings are noted. */
int drift_names(struct drift *d, const struct format_names *names, const char *member, bool whole, struct err *err);
/* The member, of so many rows, is over. refused: those of its rows that were refused because of the column's type. */
int drift_refused(struct drift *d, int column, struct misfits refused, uint64_t rows, const char *member, struct err *err);

/* on_new_column = add: columns that are to be added were found, so that the job has to run once more, with them. */
bool drift_adds(const struct drift *d);
/* ... and some of them have no type yet: text (json for objects and arrays of JSON), where `inferred`, from a sample of the member,
 * has no better one. NULL: there is no sample. */
bool drift_wants_types(const struct drift *d);
int drift_types(struct drift *d, const struct columns *inferred, struct err *err);
void drift_added(const struct drift *d, struct buf *out); /* as columns_extend() reads them */

/* The findings, as elements of an open array: {"kind":…,"pipeline":…,"column":…,"member":…,"detail":…}. column is null in one that
 * says how many more there are than are kept. */
void drift_json(const struct drift *d, struct json_out *o);
/* Is the text an array of such elements, each one's texts of bounded length? It may come from a process that is not trusted. */
bool drift_is_findings(const char *text);
/* What the last member had, for the next job: a JSON text. Empty: there was none with names, or it is too long to keep. */
void drift_header(const struct drift *d, struct buf *out);

#endif
