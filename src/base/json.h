/*
 * JSON (RFC 8259): a writer and a strict scanner. The scanner checks grammar, depth and UTF-8; it
 * never holds a document in memory. It serves messages (submit), stored details, and the JSON
 * reader's rows.
 */
#ifndef QETL_BASE_JSON_H
#define QETL_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

/* ---- writer: appends to a buf; commas are put where needed ---- */
struct json_out {
    struct buf *buf; /* borrowed; check buf->failed once at the end */
    uint64_t first;  /* bit per depth: nothing written at that depth yet */
    int depth;
    bool after_key;
};
void json_start(struct json_out *o, struct buf *buf);
void json_object(struct json_out *o);
void json_object_end(struct json_out *o);
void json_array(struct json_out *o);
void json_array_end(struct json_out *o);
void json_key(struct json_out *o, const char *key);
void json_text(struct json_out *o, struct str s); /* bytes that are not UTF-8 become U+FFFD */
void json_int(struct json_out *o, int64_t v);
void json_real(struct json_out *o, double v); /* not finite: null */
void json_bool(struct json_out *o, bool v);
void json_null(struct json_out *o);
void json_raw(struct json_out *o, struct str s); /* already JSON */
/* key and value in one; a NULL text is null */
void json_put_text(struct json_out *o, const char *key, const char *v);
void json_put_int(struct json_out *o, const char *key, int64_t v);
void json_put_bool(struct json_out *o, const char *key, bool v);
void json_put_time(struct json_out *o, const char *key, int64_t ms); /* RFC 3339; <= 0 is null */

/* ---- scanner ---- */
enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_TEXT,
    JSON_ARRAY,
    JSON_OBJECT
};

/* One value inside a text. `raw` is the value as written (with its quotes or brackets). */
struct json_value {
    enum json_kind kind;
    struct str raw;
};

enum { JSON_DEPTH = 64 };

enum json_fault_kind { JSON_SYNTAX, JSON_TOO_DEEP, JSON_ENCODING };

struct json_fault {
    enum json_fault_kind kind;
    size_t at;        /* offset in the text */
    const char *what; /* "a comma or } was expected here" */
};

/*
 * Check that `s` holds exactly one value, whole and valid (grammar, depth at most JSON_DEPTH,
 * UTF-8, no raw control characters), white space around it allowed. true: *v is it.
 */
bool json_check(struct str s, struct json_value *v, struct json_fault *fault);

/* Walk the members of an object or elements of an array that json_check() passed. *at starts at 0;
 * false at the end. key is raw (with quotes); it is empty for arrays. */
bool json_next(const struct json_value *of, size_t *at, struct str *key, struct json_value *v);
/* The member of that (unescaped) name; 1 found, 0 none, -1 there twice. */
int json_member(const struct json_value *object, const char *name, struct json_value *v);
/*
 * Text of a JSON_TEXT value without quotes and escapes. Without escapes it is a slice of the input,
 * else it lies in the arena. A lone surrogate is refused: returns false, and *out is its escape;
 * false too when there is no memory, and then out->p is NULL.
 */
bool json_unescape(const struct json_value *v, struct arena *arena, struct str *out);
/* Is `raw`, a text as written with its quotes, this name once its escapes are taken away? */
bool json_text_is(struct str raw, struct str name);

/* ---- parts of the scanner, for readers that walk a text themselves ---- */
struct json_scan {
    const char *start, *end; /* the text */
    struct json_fault fault; /* filled when a part returns NULL */
};
/* Fill the fault with `p` as its place; gives NULL. */
const char *json_refuse(struct json_scan *s, enum json_fault_kind kind, const char *p,
                        const char *what);
/* Step over the value at p, which lies inside `depth` open arrays and objects. All of it is checked
 * but its UTF-8. Returns the place behind it, or NULL. */
const char *json_skip(struct json_scan *s, const char *p, int depth);
/* The same for a text: p is at its opening quote. *escaped tells whether it holds a backslash. */
const char *json_skip_text(struct json_scan *s, const char *p, bool *escaped);

static inline const char *json_skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

#endif
