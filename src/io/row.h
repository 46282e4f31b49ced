/*
 * Columns, fields, values and batches: the one data type that formats, casts and targets share.
 *
 * Fields are what a format found (slices, still text); values are typed. Both are row-major and
 * live as long as the batch: until its next batch_reset(). No malloc a row: what must be unescaped
 * lies in the batch's arena, everything else is a slice of the reader's window.
 */
#ifndef QETL_IO_ROW_H
#define QETL_IO_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum type {
    TYPE_TEXT,
    TYPE_INTEGER,
    TYPE_DECIMAL,
    TYPE_REAL,
    TYPE_BOOLEAN,
    TYPE_DATE,
    TYPE_TIMESTAMP,
    TYPE_JSON,
    TYPES
};
const char *type_name(enum type t); /* "text", "decimal", ... */

/* What a column can have that no field of the file has: `from` names it so, without quotes. In quotes it is a field like any other. */
enum builtin {
    BUILTIN_NONE,
    BUILTIN_SOURCE, /* _source: the URI of the object */
    BUILTIN_MEMBER, /* _member: the name in the archive, or of the file */
    BUILTIN_LINE,   /* _line: of the row in its member, from 1 */
    BUILTIN_JOB,    /* _job: the uid of the job */
    BUILTIN_PARAM,  /* _param.NAME: a parameter of the job, also what {NAME} of the source was */
};
enum builtin builtin_of(struct str word);

enum { SECOND_DIGITS = 6 }; /* of a second that a timestamp can have */

struct column {
    char *name; /* in the table */
    char *from; /* header name, or JSON path such as items[0].price */
    enum type type;
    int scale;     /* decimal: digits behind the point, 0 to 18 */
    int unit;      /* timestamp: microseconds that its values are whole numbers of; 0: any */
    char *format;  /* date, timestamp: strptime-like format, or NULL for ISO 8601 */
    bool required; /* "!": a null is a reject; NOT NULL in the table */
    bool optional; /* "?": the file's header may lack it; so it is of a builtin */
    bool added;    /* not of the ini: on_new_column = add; the target makes it in its table */
    enum builtin builtin;
    const char *param; /* BUILTIN_PARAM: its name, in from */
};

struct columns {
    struct column *v;
    int n;
};

/*
 * Read `id:integer!, placed:timestamp(%d.%m.%Y), customer.name:text?, total:decimal(2) from "Net
 * Amount"`. The type is text when left out. Without `from` the source name is the name as written,
 * and the table's name is that with each run of . [ ] turned to one _ ("items[0].price" becomes
 * items_0_price); with `from` both are as written. Names with spaces or one of ,:!?()" stand in
 * double quotes ("" for one quote), and so does a format with brackets; of a parameter, _param."my name". A comma may end the list.
 * Names are unique without regard to ASCII case. At most 2000 columns. -1: ERR_CONFIG that names
 * the column by its number, or ERR_NO_MEMORY; then *out is as it was.
 */
int columns_parse(struct columns *out, const char *text, struct err *err);
/* The same; each fault is told, and those behind it are looked for as long as told() gives true. */
int columns_parse_all(struct columns *out, const char *text,
                      bool (*told)(void *arg, const struct err *fault), void *arg, struct err *err);
void columns_clear(struct columns *c);
/* One more at the end, of the type of `like`, required as that is, with that name here and in `from`. Errors: config (the name
 * is there), no-memory. */
int columns_add_like(struct columns *c, const struct column *like, const char *name, struct err *err);
/* Those of a, then those of b, as above. -1: *out is empty. */
int columns_join(struct columns *out, const struct columns *a, const struct columns *b, struct err *err);
int columns_find(const struct columns *c,
                 struct str name); /* by table name, ASCII case ignored; -1: none */
void columns_print(const struct columns *c,
                   struct buf *out); /* the text that columns_parse reads */
void column_print_type(const struct column *c, struct buf *out); /* of it the type: decimal(2) */
/* Of a timestamp: digits of a second, 0 to 6, that its values can have; and the unit for so many. */
int column_second_digits(const struct column *c);
int column_second_unit(int digits);
/* Put behind *out, which columns_parse() filled, those of the text, as `added` and optional; one whose name is there already is that
 * one. NULL: none. -1: ERR_CONFIG, ERR_NO_MEMORY; then *out is as it was. */
int columns_extend(struct columns *out, const char *added, struct err *err);

enum field_kind {
    FIELD_ABSENT, /* the row or object has no such field */
    FIELD_NULL,   /* JSON null */
    FIELD_BARE,   /* CSV without quotes */
    FIELD_QUOTED, /* CSV in quotes; JSON string (unescaped) */
    FIELD_NUMBER, /* JSON number, as written */
    FIELD_TRUE,
    FIELD_FALSE,
    FIELD_RAW, /* JSON object or array, as written; of a json column also a string, quotes and all */
};

struct field {
    const char *p;
    uint32_t n;
    uint8_t kind;
};

/* Why a row was refused. One table (row.c) has the names, such as "not-integer", and a sentence
 * each. */
enum reject_reason {
    REJECT_CSV_QUOTE,
    REJECT_FIELD_COUNT,
    REJECT_ROW_TOO_LONG,
    REJECT_ENCODING,
    REJECT_JSON_SYNTAX,
    REJECT_JSON_DEPTH,
    REJECT_JSON_NOT_OBJECT,
    REJECT_DUPLICATE_KEY,
    REJECT_NULL,
    REJECT_NOT_INTEGER,
    REJECT_NOT_DECIMAL,
    REJECT_NOT_REAL,
    REJECT_NOT_BOOLEAN,
    REJECT_NOT_DATE,
    REJECT_NOT_TIMESTAMP,
    REJECT_NOT_JSON,
    REJECT_NOT_TEXT,
    REJECT_RANGE,
    REJECT_SCALE,
    REJECT_NUL,
    REJECT_TARGET_RANGE,
    REJECT_OUTSIDE,
    REJECT_LENGTH,
    REJECT_PATTERN,
    REJECT_NOT_ONE_OF,
    REJECT_ENRICH_MISS,
    REJECT_ENRICH_ERROR,
    REJECT_LATE,
    REJECT_SQL_RANGE,
    REJECT_REASONS
};
const char *reject_name(enum reject_reason r);
const char *reject_text(enum reject_reason r);

/* Where a row stands in its member: line from 1, byte offset from 0, and the row's bytes as read.
 */
struct place {
    uint64_t line, offset;
    struct str raw;
};

struct bad_row {
    struct place place;
    enum reject_reason reason;
    int column;       /* index into the columns, or -1 */
    struct str value; /* the offending bytes, may be empty */
    const char *detail;  /* in words what went wrong with this one, for its message; NULL: the reason says it all */
    int found, expected; /* REJECT_FIELD_COUNT: fields in the row, and the nearest number that would
                            have been taken */
};

enum { BATCH_ROWS = 1024 };

struct batch {
    uint32_t rows, cols;
    struct field *fields; /* [row * cols + col]; room for BATCH_ROWS rows */
    struct place *places; /* a row each */
    struct bad_row *bad;  /* rows the format refused; not counted in rows */
    uint32_t nbad;        /* at most BATCH_ROWS */
    struct arena arena;
};

int batch_init(struct batch *b, uint32_t cols, struct err *err);
void batch_reset(struct batch *b);
void batch_clear(struct batch *b);
static inline uint64_t batch_read(const struct batch *b)
{
    return (uint64_t)b->rows + b->nbad;
}

/* A typed value. Integer, decimal (times 10^scale), boolean (0, 1), date (days since 1970) and
 * timestamp (us since 1970 UTC) in i; real in r; text and json in p and n. */
struct value {
    union {
        int64_t i;
        double r;
        const char *p;
    };
    uint32_t n;
    bool null;
};

#define EVENT_NONE INT64_MIN /* a row, or all of them, has no event time (event_time=) */

struct rows {
    uint32_t n, cols;
    struct value *values;        /* [row * cols + col] */
    const struct place **places; /* of each row, into the batch */
};

/* Only the rows of which keep[row] says so, moved together; gives how many went. */
uint32_t rows_keep(struct rows *rows, const bool *keep);

#endif
