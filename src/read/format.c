/* The table of formats, and who reads a member when the recipe does not say. Holds no state. */
#include "read/format.h"

#include <string.h>

static const struct {
    const char *name; /* in the ini */
    const struct format *format;
} formats[] = {
    { "csv", &format_csv },
    { "tsv", &format_csv },
    { "jsonl", &format_jsonl },
    { "json", &format_jsonl },
    { "message", &format_jsonl }, /* the rows of one of its tables: read/message.h */
};

static const struct format *by_name(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(formats); i++)
        if (strcmp(name, formats[i].name) == 0)
            return formats[i].format;
    return NULL;
}

static const struct format *by_bid(struct str head)
{
    const struct format *best = NULL;
    int high = 0;
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        int bid = formats[i].format->bid(head);
        if (bid > high) {
            high = bid;
            best = formats[i].format;
        }
    }
    return best;
}

static int no_format(struct str head, struct err *err)
{
    const char *nul = memchr(head.p, '\0', head.n);
    return nul ? err_set(err, ERR_FORMAT,
                         "byte %td is a NUL, which no text has: in another encoding (encoding = utf-16), or no text at all?",
                         nul - head.p)
               : err_set(err, ERR_FORMAT, "the first bytes look like no format that can be read");
}

const struct format *format_pick(const struct recipe *recipe, struct str head, struct err *err)
{
    if (recipe->format && strcmp(recipe->format, "auto") != 0) {
        const struct format *f = by_name(recipe->format);
        if (!f)
            (void)err_set(err, ERR_FORMAT, "there is no format '%s'", recipe->format);
        return f;
    }
    if (!head.n)
        return &format_csv; /* no bytes, no rows: any format will do */
    const struct format *f = by_bid(head);
    if (!f)
        (void)no_format(head, err);
    return f;
}
