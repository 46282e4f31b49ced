/*
 * SQL functions beside those of SQLite.
 *
 *     regexp(PATTERN, TEXT), also TEXT REGEXP PATTERN: does the text hold what the expression of PCRE2 says?
 *     sum(X), also OVER a window: as SQLite's, but a sum of decimals of up to 15 digits is exact, however many they are and
 *     whatever went in and out of the window; of other REALs the errors of adding are made good (as SQLite does since 3.43)
 */
#ifndef QETL_PIPELINE_SQL_FUNCTIONS_H
#define QETL_PIPELINE_SQL_FUNCTIONS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/* Without PCRE2 regexp is there, and using it is an error that says so. SQLite's code. */
int sql_functions_declare(sqlite3 *db);
/* Is a constant expression of a regexp in the SQL, which was prepared, at fault? true: *at is the byte where it begins, why says what is
 * wrong. So that it is known before a row is there. */
bool sql_regexp_fault(const char *sql, size_t *at, char *why, size_t cap);

#endif
