/*
 * SQL that people wrote, as text: its tokens, places in it, and what SQLite has against it, told by that text alone and never by what
 * was put around it.
 */
#ifndef QETL_IO_SQL_TEXT_H
#define QETL_IO_SQL_TEXT_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* Behind space and comments. */
const char *sql_text_space(const char *p);
/* Behind space, comments and semicolons: where the next statement begins, or the end. */
const char *sql_text_statement(const char *p);
/* Behind the token at p, which is none of them: a word, something in quotes ('' "" `` [], as SQLite has them; $tag$ ... $tag$, as
 * PostgreSQL), or one sign. What is never closed goes to the end. */
const char *sql_text_token(const char *p);
/* Line and column, both from 1, of the byte at `at`; columns are characters. */
void sql_text_place(const char *text, size_t at, int *line, int *column);

/* What a statement could not be prepared for. */
struct sql_fault {
    bool placed; /* it has a place: */
    size_t at;   /* bytes from the begin of the text */
    char what[300];
};
/*
 * Of the last call of db, which prepared `text` behind `front` bytes and before others of ours. Its place is where SQLite says
 * (https://www.sqlite.org/c3ref/errcode.html, sqlite3_error_offset), or else that of the first token which is the name that the message
 * has; of what is missing at the end, that end.
 */
void sql_fault_of(struct sql_fault *out, sqlite3 *db, size_t front, const char *text);

#endif
