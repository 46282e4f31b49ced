/*
 * Templates of requests: a text with places {NAME}, which stand for values, and {@file:PATH} or {@credential:NAME}, which stand for
 * secrets (io/config.h, config_secret).
 *
 * In a URL every brace is one of a place, or is written {{ or }}; values come percent-encoded, all but A-Z a-z 0-9 - . _ ~ (RFC 3986,
 * 2.3), so that none can be more than a part of a path or query; "." and "..", which would be less, are the caller's to refuse
 * (template_astray), for a server takes them for the way up however they are encoded (WHATWG URL, 4.1, "double-dot"). No place may stand before the end of the host. In JSON a brace
 * that is none of a place stands for itself. A place inside of quotes takes the value as a part of that text, escaped; any other place
 * a value of its own: numbers and booleans as they are, texts in quotes. So a value cannot add to the structure of the document.
 */
#ifndef QETL_IO_TEMPLATE_H
#define QETL_IO_TEMPLATE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/mem.h"

enum template_form { TEMPLATE_URL, TEMPLATE_JSON };
enum piece_kind { PIECE_TEXT, PIECE_VALUE, PIECE_SECRET };

struct template_piece {
    enum piece_kind kind;
    struct str text; /* as it stands in the template: text, name of the value, or reference to the secret */
    bool quoted;     /* JSON: inside of a text */
    int input;       /* PIECE_VALUE: which of the values; the caller's to fill */
};
struct template {
    enum template_form form;
    struct template_piece *v;
    int n;
};

/* A value to put in. */
struct template_value {
    struct str text;
    bool bare; /* JSON as it stands: a number, a boolean, an object */
};

/* The pieces are slices of text and lie in the arena. -1: config, with what is wrong; no-memory. */
int template_parse(struct template *out, const char *text, enum template_form form, struct arena *arena, struct err *err);
/* Bytes of the URL in front of its first place, when they name the host whole; else 0. */
size_t template_fixed(const struct template *t);
/* Would a part of the URL's path that has a value in it be "." or ".."? Never of JSON. */
bool template_astray(const struct template *t, const struct template_value *values);
/* The text with the values, and the secrets in the order of their places. secrets NULL: "..." stands for each, for messages. */
void template_put(const struct template *t, const struct template_value *values, char *const *secrets, struct buf *out);

#endif
