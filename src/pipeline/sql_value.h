/*
 * Typed values as SQL sees them, and what SQL gives as typed values.
 *
 *     text, json   TEXT, as they are            integer   INTEGER
 *     boolean      INTEGER, 0 or 1              real      REAL
 *     date         TEXT, YYYY-MM-DD             timestamp TEXT, YYYY-MM-DD HH:MM:SS[.ffffff], UTC
 *     decimal(0)   INTEGER
 *     decimal(N)   REAL: the nearest one, which stands for no other decimal of up to 15 digits (IEEE 754, DBL_DIG), so that
 *                  such values compare, sort and group as decimals do. What has more digits does not go into SQL.
 *
 * So dates and timestamps are what SQLite's date functions take and give, and they sort as they should.
 *
 * The way back is that of a JSON value (read/cast.h): a number is a number, a TEXT is a string that a column's type
 * reads. A REAL becomes a decimal by its first 15 digits (0.1 + 0.2 is 0.3); when these are too many for the column the
 * row is refused (`scale`): round() says what is meant. What may have lost digits is refused (`range`); a column that
 * stands in the result as it is has lost none.
 */
#ifndef QETL_PIPELINE_SQL_VALUE_H
#define QETL_PIPELINE_SQL_VALUE_H

#include <sqlite3.h>

#include "io/row.h"
#include "read/cast.h"

const char *sql_type(const struct column *c); /* for CREATE TABLE: its affinity is right for comparisons */

/* Has SQL a value that is this one and no other? Not of a decimal of more than 15 digits; zeros at its end do not count. */
bool sql_fits(const struct column *c, const struct value *v);
/* That a value of a look-up, or of another part, does not fit, as an error. -1 */
int sql_unfit(const struct column *c, struct err *err);
/* A value that fits, as it goes into SQL. kept: SQL may hold it when the row is gone, so that texts are copied. */
void sql_result(sqlite3_context *ctx, const struct column *c, const struct value *v, bool kept);
/* The same; one that does not fit is NULL. SQLite's code. */
int sql_bind(sqlite3_stmt *st, int param, const struct column *c, const struct value *v);

/*
 * Column `from` of the row that a statement gave, into column `to` of the cast (opened for the columns of the result by sql_cast). Texts
 * are copied into the arena. REJECT_REASONS: it fits; else why not, and *shown is the value as text. *failed: no memory.
 */
enum reject_reason sql_take(const struct cast *cast, const struct column *c, uint32_t to, sqlite3_stmt *st, int from,
                            struct value *v, struct arena *arena, struct str *shown, bool *failed);
/* A cast by nothing but those columns: no null tokens, no rules, a point, UTC. */
int sql_cast(struct cast **out, const struct columns *columns, struct err *err);

#endif
