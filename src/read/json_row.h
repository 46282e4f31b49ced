/*
 * One JSON text to the fields of one row: the recipe's paths form a small tree, and the text is
 * walked once along it.
 *
 * A path is keys and array places: id, customer.name, items[0].price, [2]; a key with . [ ] or
 * quotes in it is written as a JSON text: a."odd.key".b. A path that leads nowhere gives an absent
 * field.
 */
#ifndef QETL_READ_JSON_ROW_H
#define QETL_READ_JSON_ROW_H

#include "base/err.h"
#include "base/json.h"
#include "io/config.h"
#include "io/row.h"
#include "read/format.h"

struct json_step {
    struct str key;
    int64_t index; /* place in an array from 0; -1: the step is a key */
};
enum { JSON_STEPS = JSON_DEPTH - 1 };

/* Steps of a path (at least one), their keys in the arena. Returns their number, or -1: config. */
int json_path_parse(const char *path, struct json_step steps[JSON_STEPS], struct arena *arena,
                    struct err *err);
/* Append a key to a path, with a point between and in quotes where they are needed. */
void json_path_add(struct buf *path, struct str key);

struct json_refusal {
    enum reject_reason reason;
    int column;       /* index into the columns, or -1 */
    struct str value; /* the offending bytes */
};

struct json_row;

/* columns are borrowed until close; none (n == 0) is fine: rows are only checked. -1: config (a
 * path is wrong), no-memory. */
int json_row_open(struct json_row **out, const struct columns *columns, enum json_grammar grammar,
                  struct err *err);
/*
 * Walk `text`, which is to hold one value and white space around it. 1: fields[] are filled, as
 * slices of the text or of the arena; a text is FIELD_QUOTED and unescaped, but for columns of type
 * json it is FIELD_RAW and as written. 0: refused, *no says why. -1: no memory. ascii: the caller
 * has seen that no byte is above 127.
 *
 * Strict checks all of the text; lax takes what is not wanted by its brackets and quotes only, and
 * a value that stands where a path needed an object or array counts as absent. In both a wanted key
 * that is there twice is refused. 16 bytes behind the text must be readable.
 */
int json_row_scan(struct json_row *r, struct str text, bool ascii, struct field *fields,
                  struct arena *arena, struct json_refusal *no);
/*
 * What was seen so far: of each column whether any row had a value or null at its path, and the keys that no column takes, in the
 * order of their coming: those of objects that columns are taken from (the row itself, at least, but where it is an array), at most
 * 256 of one object and 4,096 in all, of at most 256 bytes each. They live until the next scan.
 */
void json_row_names(const struct json_row *r, struct format_names *out);
void json_row_close(struct json_row *r);
/* A row of a program that has none of the columns to give, but an error, such as {"error": "the server said no"}: -1 and *err
 * (program) tells it. Else 0. */
int json_row_said_error(struct str text, const struct field *fields, uint32_t cols, uint64_t line, struct err *err);

/* Finds the end of an object, array or text by its brackets and quotes, over any number of pieces.
 * {0} to begin with; the first byte is its bracket or quote. */
struct json_brackets {
    uint64_t object; /* a bit a level, of the outer 64: object, or array */
    uint32_t depth;
    bool in_text, escaped;
};
/* The place behind the closing one; NULL: it is not in this piece (then *wrong tells whether a
 * bracket is of the wrong kind). */
const char *json_brackets_end(struct json_brackets *b, const char *p, const char *end,
                              const char **wrong);

#endif
