/*
 * Typed values as SQL sees them, and what SQL gives as typed values.
 *
 *     text, json   TEXT, as they are            integer   INTEGER
 *     boolean      INTEGER, 0 or 1              real      REAL
 *     date         TEXT, YYYY-MM-DD             timestamp TEXT, YYYY-MM-DD HH:MM:SS[.ffffff], UTC
 *     decimal(0)   INTEGER
 *     decimal(N)   REAL while all its digits are at most 15, else TEXT, so that no digit is lost
 *
 * So dates and timestamps are what SQLite's date functions take and give, and they sort as they should.
 *
 * The way back is that of a JSON value (read/cast.h): a number is a number, a TEXT is a string that a column's type
 * reads. A REAL becomes a decimal by its first 15 digits (0.1 + 0.2 is 0.3); when these are too many for the column the
 * row is refused (`scale`): round() says what is meant. What may have lost digits is refused (`range`).
 */
#ifndef QETL_PIPELINE_SQL_VALUE_H
#define QETL_PIPELINE_SQL_VALUE_H

#include <sqlite3.h>

#include "io/row.h"
#include "read/cast.h"

const char *sql_type(const struct column *c); /* for CREATE TABLE: its affinity is right for comparisons */

/* A value as it goes into SQL. kept: SQL may hold it when the row is gone, so that texts are copied. */
void sql_result(sqlite3_context *ctx, const struct column *c, const struct value *v, bool kept);
int sql_bind(sqlite3_stmt *st, int param, const struct column *c, const struct value *v); /* SQLite's code */

/*
 * A value that a statement gave into column `to` of the cast (opened for the columns of the result by sql_cast). Texts
 * are copied into the arena. REJECT_REASONS: it fits; else why not, and *shown is the value as text. *failed: no memory.
 */
enum reject_reason sql_take(const struct cast *cast, const struct column *c, uint32_t to, sqlite3_value *from,
                            struct value *v, struct arena *arena, struct str *shown, bool *failed);
/* A cast by nothing but those columns: no null tokens, no rules, a point, UTC. */
int sql_cast(struct cast **out, const struct columns *columns, struct err *err);

#endif
