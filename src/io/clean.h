/*
 * Cleaning of fields, before they are typed: the rules of `clean =`, a line (or ;) for each column.
 *
 *     clean = name:   trim, squeeze, upper
 *             phone:  replace(/[^0-9+]/, ""), length(5..20)
 *             status: map(A = active, I = inactive, * = unknown)
 *             amount: null("n/a", -), default(0), range(0..1000000)
 *             mail:   lower, match(/^.+@.+$/)
 *             *:      trim
 *
 * Rules run from left to right; `*` stands for all columns that have no line of their own. Rules
 * see fields that are text: CSV fields, JSON strings and numbers; of them no null, of whatever
 * format, but for default(). What is null is decided before the first rule, and again behind each
 * that changed the text. What does not pass a check (length, match, one_of, range) refuses the
 * row. range compares typed values and is therefore looked at last.
 *
 * Regular expressions are those of PCRE2 (pcre2pattern(3)), on UTF-8; what takes too long refuses
 * the row. Texts may stand in double quotes ("" is a quote), expressions between slashes (\/ is
 * one), with an i behind for any case. In the text of replace $1 to $9 are its groups, $$ a dollar.
 */
#ifndef QETL_IO_CLEAN_H
#define QETL_IO_CLEAN_H

#include "base/text.h"
#include "io/row.h"

struct clean;
struct clean_column; /* the rules of one column */

/* Read the rules for those columns (columns.n == 0: not known yet, names are not looked up). zone
 * and point: as the recipe's, for the limits of range. -1: config (column, rule and what was
 * expected), no-memory. */
int clean_parse(struct clean **out, const char *text, const struct columns *columns,
                const struct zone *zone, char point, struct err *err);
void clean_free(struct clean *c);

/* The rules of that column, or NULL. */
struct clean_column *clean_of(const struct clean *c, int column);
/*
 * Clean one field in place; new text lies in the arena. null: the field is a null by the recipe's
 * tokens; rules change that, so that the caller asks again, too. A JSON number whose text a rule changed is a JSON
 * text (FIELD_QUOTED) then. REJECT_REASONS: it passed.
 */
enum reject_reason clean_field(struct clean_column *c, struct field *f,
                               bool (*null)(const void *arg, const struct field *f),
                               const void *arg, struct arena *arena);
/* The field that default() makes of a null, where the column has a line of its own, and no rule behind it changes the text. false: none. */
bool clean_default(const struct clean_column *c, struct field *f);
/* Is the typed value, which is not null, within range? REJECT_REASONS, or REJECT_OUTSIDE. */
enum reject_reason clean_value(const struct clean_column *c, const struct value *v);

#endif
