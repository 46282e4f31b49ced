/*
 * The profile of a job's rows: of each column rows, nulls, smallest, greatest, distinct, most frequent, longest.
 *
 * Memory is fixed a column (under 8 KiB), whatever the rows are:
 *   distinct       HyperLogLog with 2,048 registers (Flajolet and others, 2007), read by the estimator of Ertl (2017,
 *                  arxiv.org/abs/1702.01284, algorithm 6): off by 2.3 percent on average; exact up to 64 where all rows were counted
 *   most frequent  64 counters (Misra and Gries, 1982) over `counted` rows: the first 1,024 at least, and of those behind them one in
 *                  eleven. Among these a value's count is never too high, and too low by at most `error`, which is at most
 *                  counted / 65, and 0 where no more than 64 values are different
 *   texts          smallest, greatest and frequent ones by their first PROFILE_TEXT bytes
 */
#ifndef QETL_PIPELINE_PROFILE_H
#define QETL_PIPELINE_PROFILE_H

#include "base/err.h"
#include "base/json.h"
#include "io/row.h"

enum { PROFILE_TEXT = 48, PROFILE_TOP = 5, PROFILE_COUNTERS = 64, PROFILE_ALL = 1024 };

struct profile;

/* columns are borrowed until free. -1: no-memory. */
int profile_open(struct profile **out, const struct columns *columns, struct err *err);
void profile_free(struct profile *p); /* NULL is fine */
/* Take in typed rows, of the columns that it was opened for. Never fails. */
void profile_rows(struct profile *p, const struct rows *rows);
/*
 * {"rows":N,"counted":N,"columns":[{"column":…,"type":…,"nulls":…,"distinct":…,"min":…,"max":…,"longest":…,"top":[{"value":…,"count":…}],
 * "error":…}]}. min and max are null where all values are; longest is bytes of texts, null of other types; values are as JSON has
 * them, dates and times as texts; a text that was cut ends in "…". top: at most PROFILE_TOP values that were there twice or more.
 */
void profile_json(const struct profile *p, struct json_out *o);

#endif
