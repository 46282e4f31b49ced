/* Refused rows, one at a time, as bytes for the reader of their format. See replay.h. Nothing is kept: power may fail at any point. */
#include "pipeline/replay.h"

#include <string.h>

static bool is_json(const char *format) { return strncmp(format, "json", 4) == 0 || !strcmp(format, "message"); }

/* Formats that read the same bytes: csv and tsv, or the JSON ones. */
static bool same_kind(const char *now, const char *then)
{
    return !now || !strcmp(now, "auto") || is_json(now) == is_json(then);
}

int replay_may(const struct recipe *recipe, const struct reject_context *c, struct err *err)
{
    bool replaces = recipe->mode == MODE_REPLACE, deletes = recipe->missing == MISSING_DELETE && !replaces;
    if (replaces || deletes)
        return err_set(err, ERR_STATE, "'%s' has %s: a few rows alone would take all others out of the table; submit the object again",
                       recipe->name, replaces ? "mode = replace" : "missing = delete");
    if (c->refresh)
        return err_set(err, ERR_STATE, "the rows of '%s' came with \"refresh\": true, and the table may have been replaced since; run the job again",
                       recipe->name);
    if (!same_kind(recipe->format, c->format))
        return err_set(err, ERR_STATE, "the rows of '%s' were read as %s, and format = %s now; submit the object again", recipe->name,
                       c->format, recipe->format);
    if (!is_json(c->format) && recipe->header && !c->has_header)
        return err_set(err, ERR_STATE, "the rows of '%s' were read without a header, and header = yes now; submit the object again",
                       recipe->name);
    if (!strcmp(c->encoding, encoding_names[ENC_UTF8]) &&
        (recipe->encoding == ENC_UTF16 || recipe->encoding == ENC_UTF16LE || recipe->encoding == ENC_UTF16BE))
        return err_set(err, ERR_STATE, "the rows of '%s' were divided as utf-8, and encoding = %s now; submit the object again",
                       recipe->name, encoding_names[recipe->encoding]);
    return 0;
}

static ssize_t pieces_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    (void)err;
    struct replay *p = (struct replay *)in;
    while (p->at < (int)COUNT_OF(p->piece) && p->off == p->piece[p->at].n) {
        p->at++;
        p->off = 0;
    }
    if (p->at == (int)COUNT_OF(p->piece))
        return 0;
    struct str rest = { p->piece[p->at].p + p->off, p->piece[p->at].n - p->off };
    size_t n = rest.n < cap ? rest.n : cap;
    memcpy(buf, rest.p, n);
    p->off += n;
    return (ssize_t)n;
}

static void csv_member(struct replay *p, const struct reject_context *c)
{
    const char *format = p->recipe.format;
    if (!format || !strcmp(format, "auto"))
        p->recipe.format = (char *)"csv";
    if (!p->recipe.delimiter && strcmp(p->recipe.format, "tsv"))
        p->recipe.delimiter = c->delimiter;
    if (p->recipe.header) {
        buf_add(&p->before, c->header.p, c->header.n);
        buf_addc(&p->before, '\n');
    }
    p->piece[2] = STR("\n");
}

/* A row of a document is an element; that of a file of lines is a line. */
static void json_member_of(struct replay *p, const struct reject_context *c)
{
    bool element = !strcmp(c->format, "json");
    p->recipe.format = (char *)(element ? "json" : "jsonl");
    p->recipe.records = NULL;
    if (element)
        buf_addc(&p->before, '[');
    p->piece[2] = element ? STR("]") : STR("\n");
}

int replay_open(struct replay *p, const struct recipe *recipe, const struct reject_line *l, struct err *err)
{
    const struct reject_context *c = l->context;
    *p = (struct replay){ .input = { pieces_read, NULL, -1 }, .recipe = *recipe };
    if (replay_may(recipe, c, err) < 0)
        return -1;
    p->recipe.skip_lines = 0;
    p->recipe.row_alone = true;
    is_json(c->format) ? json_member_of(p, c) : csv_member(p, c);
    if (p->before.failed) {
        buf_clear(&p->before);
        return err_nomem(err);
    }
    p->piece[0] = buf_str(&p->before);
    p->piece[1] = l->row;
    p->line = 1;
    for (size_t i = 0; i < p->before.n; i++)
        p->line += p->before.p[i] == '\n';
    p->offset = p->before.n;
    p->decode = !strcmp(c->encoding, encoding_names[ENC_UTF8]) && recipe->encoding != ENC_UTF8;
    return 0;
}

static void place_back(const struct replay *p, const struct reject_line *l, struct place *place)
{
    uint64_t line = place->line > p->line ? place->line - p->line : 0;
    uint64_t offset = place->offset > p->offset && !p->decode ? place->offset - p->offset : 0;
    place->line = (uint64_t)l->row_line + line;
    place->offset = (uint64_t)l->row_offset + offset;
}

void replay_places(const struct replay *p, const struct reject_line *l, struct batch *b)
{
    for (uint32_t i = 0; i < b->rows; i++)
        place_back(p, l, &b->places[i]);
    for (uint32_t i = 0; i < b->nbad; i++)
        place_back(p, l, &b->bad[i].place);
}

void replay_close(struct replay *p) { buf_clear(&p->before); }
