/*
 * What targets that stage rows as one run of bytes share: the guard in front of the encoder, the writer, and the reader that
 * trusts nothing before its checksum. (The SQLite target stages whole database files: sqlite_pages.h.)
 *
 * Small outputs stay in memory; the first bytes that do not fit there move them all into a file. If power fails in the middle,
 * the file's name was not published: the job runs again.
 */
#ifndef QETL_TARGET_STAGED_H
#define QETL_TARGET_STAGED_H

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "target/target.h"

/* Why a row cannot go into the table. */
struct row_fault {
    int column;
    enum reject_reason reason;
};
/* The row goes to the rejects with its value as text. */
int row_refuse(const struct columns *columns, const struct row_fault *fault, const struct rows *rows, uint32_t row,
               struct rejects *rejects, struct err *err);
/* May column i be null? Not when it is required or part of the key. */
bool column_not_null(const struct table_spec *spec, int i);

/* ---- values ---- */

/* Is a date or timestamp between the years 1 and 9999, which all of SQL has? True for other types. */
static inline bool value_in_years(const struct column *c, const struct value *v)
{
    static const int64_t day_us = 86400000000, first = -719162, behind = 2932897;
    return c->type == TYPE_DATE        ? v->i >= first && v->i < behind
           : c->type == TYPE_TIMESTAMP ? v->i >= first * day_us && v->i < behind * day_us
                                       : true;
}

/* The end of the escape that begins at p, inside of valid JSON; *code, when it is \u, its number (of the first half of a surrogate
 * pair), else 1. NULL: half of a surrogate pair. */
const char *json_escape_end(const char *p, const char *end, unsigned *code);

/* ---- encoding row by row ---- */

/* One value, not null, as the target's bulk form has it, behind `out`. False: the target cannot hold it exactly. */
typedef bool put_value_fn(struct buf *out, const struct column *c, const struct value *v);

struct row_form {
    const char *ext;                                  /* of the staged file */
    void (*begin_row)(struct buf *out, int columns);  /* NULL: nothing */
    void (*between)(struct buf *out);                 /* before each column but the first; NULL: nothing */
    void (*put_null)(struct buf *out);
    put_value_fn *put;
    void (*end_row)(struct buf *out);                 /* NULL: nothing */
    uint32_t key_chars;                               /* a longer text in the key is refused; 0: any length */
};

/* encode_open, encode_rows, encode_finish and encode_close of struct target, for rows in that form one behind the other. */
int row_encode_open(struct encoder **out, const struct row_form *form, const struct table_spec *spec, const struct stage *stage,
                    int number, struct err *err);
int row_encode_rows(struct encoder *e, const struct rows *rows, struct rejects *rejects, uint64_t *staged, struct err *err);
int row_encode_finish(struct encoder *e, struct output *out, struct err *err);
void row_encode_close(struct encoder *e);

/* ---- writing ---- */

struct staged_writer {
    const struct stage *stage;
    struct output out; /* inlined: all bytes while there is no file, then those not written yet */
    int fd;            /* -1: no file yet */
    struct hash hash;
};
void staged_start(struct staged_writer *w, const struct stage *stage, int number, const char *table, const char *ext);
/* Bytes are appended to this, and staged_flush() is called now and then: after each row. */
static inline struct buf *staged_room(struct staged_writer *w)
{
    return &w->out.inlined;
}
int staged_flush(struct staged_writer *w, struct err *err);
/* Everything written and, for a file, on disk (fdatasync). *out is filled but for rows and spec. */
int staged_finish(struct staged_writer *w, struct output *out, struct err *err);
void staged_clear(struct staged_writer *w);

/* ---- reading ---- */

enum { STAGED_BLOCK = 256 * 1024 };
struct staged_reader {
    const struct load_output *o;
    int fd;
    char *block;
    int64_t left;
    struct hash hash;
};
/* Errors: staged-damaged (the size differs), io. */
int staged_open(struct staged_reader *r, const struct load_output *o, struct err *err);
/* 1: the next bytes, valid until the next call; 0: the end, and the checksum was right; -1: staged-damaged, io. What was read
 * before counts only after the 0: the caller throws it away on -1. */
int staged_next(struct staged_reader *r, struct str *bytes, struct err *err);
void staged_close(struct staged_reader *r);

#endif
