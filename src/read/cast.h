/*
 * Fields to typed values by the recipe's columns; what does not fit goes to the rejects with its
 * reason and place.
 *
 * Nulls (the truth table is tests/test_cast.c and doc/csv.md): JSON null and absent fields are
 * null. A bare field is null when it is among the null tokens; when null= is not given, the empty
 * field is the only token. A quoted field is null only with quoted_null = yes and when it is among
 * the tokens. The token "" stands for the empty field. For types other than text an empty (bare or
 * quoted) field that is not null is a reject.
 *
 * What a type takes, of a CSV field or JSON string (trim= takes blanks off bare fields first, also
 * before nulls): text       all without NUL bytes · boolean  true t yes y 1, false f no n 0, in any
 * case integer    digits and a sign, int64 · decimal, real  with decimal_point=; at most 18 digits
 * · json  valid JSON, kept as written date, timestamp  ISO 8601, or the column's format; a
 * timestamp without an offset is of zone= and of other JSON values: numbers are text as written; an
 * integer or decimal may be written 1.0 or 1e3 when that is exact; true and false are booleans, or
 * text; objects and arrays are json only. A json column keeps a JSON string with its quotes, if the
 * format hands it over so (FIELD_RAW).
 */
#ifndef QETL_READ_CAST_H
#define QETL_READ_CAST_H

#include "base/err.h"
#include "io/config.h"
#include "io/rejects.h"
#include "io/row.h"

struct cast;
int cast_open(struct cast **out, const struct recipe *recipe, const struct columns *columns,
              struct err *err);
/* Each row of `in` ends in out or in rejects; bad rows of the batch go to rejects too. out's values
 * live until the next call, and its slices as long as in's. -1: the rejects' limit is passed, or
 * disk trouble. */
int cast_batch(struct cast *c, struct batch *in, struct rows *out, struct rejects *rejects,
               struct err *err);
/* One row that stands in no member: the first of `in`, whose places are not looked at. true: its values are in `values`; false: refused,
 * *why and *column tell. */
bool cast_row(struct cast *c, struct batch *in, struct value *values, enum reject_reason *why, int *column);
/* One value of that column, not null, by itself: no null tokens, no trim=, no rules of clean=. REJECT_REASONS: it fits. */
enum reject_reason cast_value(const struct cast *c, uint32_t column, const struct field *f, struct value *v);
/* Rows that were refused because their value of this column is not of its type, and a bit for each reason (1 << enum reject_reason). */
struct misfits { uint64_t rows, reasons; };
/* Those since it was asked last. */
struct misfits cast_misfits(struct cast *c, int column);
void cast_close(struct cast *c);

#endif
