/*
 * Names of the objects that rows go to: the template `path` of a [target], below its prefix.
 *
 *   {table} {part} {ext}   of the output: its table, its number in the job, such as csv.gz
 *   {uid}                  of the job; must be there, so that each job has objects of its own
 *   {COLUMN}               the row's value, which makes partitions
 *   {COLUMN:%Y-%m-%d}      of a date or a timestamp (UTC), by %Y %m %d %H %M %j %y %%
 *
 * Values are percent-encoded but for letters, digits, '-', '_' and '.'; a null is __null__, an empty
 * text __empty__, and dots alone (".", "..") are encoded too. So a value never makes a folder or
 * leaves one, and two values never meet in one name.
 */
#ifndef QETL_TARGET_OBJECT_NAME_H
#define QETL_TARGET_OBJECT_NAME_H

#include "target/target.h"

enum { OBJECT_NAME_MAX = 800, OBJECT_NAME_PART_MAX = 200 /* bytes between two '/' */ };

struct object_name;
/* template (borrowed) for the output `part` of this table. Errors: config (what is wrong where). */
int object_name_parse(struct object_name **out, const char *path, const struct table_spec *spec,
                      const char *ext, int part, struct err *err);
void object_name_free(struct object_name *n);
/* Do columns take part? Else all rows have one name. */
bool object_name_has_columns(const struct object_name *n);
/* The name for this row behind out, with "{uid}" where the job's uid is to stand. false: too long;
 * *column is the one with the longest value. */
bool object_name_put(struct buf *out, const struct object_name *n, const struct value *row,
                     int *column);
/* Is it below the store's prefix, and none of qetl's own names? */
bool object_name_safe(struct str name);
/* The same, and is it a name that object_name_put() can have made? The loader trusts no staged one before. */
bool object_name_good(struct str name);
/* Percent-encoding as above, behind out. */
void object_name_encode(struct buf *out, struct str s);

#endif
