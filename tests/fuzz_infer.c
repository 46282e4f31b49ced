/*
 * Any bytes: columns are found or refused with a reason; what was found can be parsed, and loading the same bytes with it
 * refuses no row that the format takes. The first byte chooses the recipe.
 */
#include <assert.h>
#include <stdlib.h>

#include "cut_input.h"
#include "read/cast.h"
#include "read/decode.h"
#include "read/format.h"
#include "read/infer.h"

static void load(const struct recipe *recipe, const struct inferred *found, struct str text)
{
    struct cut_input in = cut_of(text, 0);
    struct columns columns;
    struct batch batch;
    struct cast *cast;
    struct reader *r;
    struct rows typed;
    struct rejects rejects;
    struct stage stage = { .inline_max = SIZE_MAX };
    struct err err;
    if (columns_parse(&columns, found->columns, &err) < 0 ||
        batch_init(&batch, (uint32_t)columns.n, &err) < 0 ||
        cast_open(&cast, recipe, &columns, &err) < 0)
        abort();
    rejects_init(&rejects, &stage, 0, (struct reject_limit){ -1, -1 });
    const struct format *format = format_pick(recipe, text, &err);
    struct input *decoded = decode_open(&in.in, recipe->encoding, &err);
    if (!decoded || format->open(&r, recipe, &columns, decoded, 0, &err) < 0)
        abort();
    while (format->next(r, &batch, &err) == 1) {
        batch.nbad = 0;
        if (cast_batch(cast, &batch, &typed, &rejects, &err) < 0)
            abort();
    }
    assert(rejects.count == 0);
    format->close(r);
    decode_close(decoded);
    rejects_clear(&rejects);
    cast_close(cast);
    batch_clear(&batch);
    columns_clear(&columns);
}

static bool has_nul(struct str s)
{
    return memchr(s.p, '\0', s.n) || memmem(s.p, s.n, "\\u0000", 6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const formats[] = { "csv", "tsv", "jsonl", "json" };
    struct inferred found;
    struct err err;
    if (!n)
        return 0;
    struct recipe recipe = { .format = (char *)formats[*data & 3],
                             .delimiter = *data & 1 ? '\t' : ',',
                             .quote = '"',
                             .header = !(*data & 4),
                             .trim = *data & 8,
                             .quoted_null = *data & 16,
                             .ragged = *data & 32 ? RAGGED_FILL : RAGGED_REJECT,
                             .decimal_point = *data & 64 ? ',' : '.',
                             .nnulls = -1 };
    struct str text = { (const char *)data + 1, n - 1 };
    struct cut_input in = cut_of(text, 0);
    if (infer_member(&found, &recipe, &in.in, *data & 128 ? 64 : 0, &err) < 0)
        return 0;
    if (found.whole && !has_nul(text))
        load(&recipe, &found, text);
    inferred_clear(&found);
    return 0;
}
