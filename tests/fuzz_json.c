/*
 * Any bytes as JSON. The first byte chooses a mode and a piece size; then the rows must not depend
 * on the pieces, the fast scanner of rows must agree with the plain one, and every slice must lie
 * in the text.
 */
#include <stdlib.h>

#include "cut_input.h"
#include "json_plain.h"
#include "read/format.h"

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 1099511628211u;
    return h;
}

static uint64_t mix_batch(uint64_t h, const struct batch *b)
{
    for (uint32_t i = 0; i < b->rows * b->cols; i++) {
        h = mix(h, &b->fields[i].kind, 1);
        h = mix(h, b->fields[i].p, b->fields[i].n);
    }
    for (uint32_t i = 0; i < b->rows; i++)
        h = mix(mix(h, &b->places[i].line, 8), &b->places[i].offset, 8);
    for (uint32_t i = 0; i < b->nbad; i++)
        h = mix(mix(mix(h, &b->bad[i].place.line, 8), &b->bad[i].reason, sizeof b->bad[i].reason),
                b->bad[i].value.p, b->bad[i].value.n);
    return h;
}

/* A number that stands for all that was read. */
static uint64_t read_all(const struct recipe *recipe, const struct columns *c, struct str text,
                         size_t cut)
{
    struct cut_input in = cut_of(text, cut);
    struct reader *r;
    struct batch b;
    struct err err;
    uint64_t h = 1469598103934665603u;
    int rc;
    if (batch_init(&b, (uint32_t)c->n, &err) < 0 ||
        format_jsonl.open(&r, recipe, c, &in.in, 300, &err) < 0)
        abort();
    while ((rc = format_jsonl.next(r, &b, &err)) == 1)
        h = mix_batch(h, &b);
    if (rc < 0)
        h = mix(h, err.msg, strlen(err.msg));
    format_jsonl.close(r);
    batch_clear(&b);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const formats[] = { "jsonl", "json", "auto", "json" };
    static struct columns c;
    static struct json_row *row;
    struct err err;
    if (!row && (columns_parse(&c, "id, o.p, o.q, o, a[0], a[2].x, s", &err) < 0 ||
                 json_row_open(&row, &c, GRAMMAR_STRICT, &err) < 0))
        abort();
    if (!n)
        return 0;
    struct recipe recipe = { .format = (char *)formats[*data & 3],
                             .records = (*data & 3) == 3 ? (char *)"o.a" : NULL,
                             .grammar = *data & 4 ? GRAMMAR_LAX : GRAMMAR_STRICT };
    struct str text = { (const char *)data + 1, n - 1 };
    if (read_all(&recipe, &c, text, (*data >> 3) + 1) != read_all(&recipe, &c, text, 0))
        abort();
    (void)plain_compare(row, &c, text);
    return 0;
}
