/* Answers that are errors. See enrich_judge.h. Nothing is kept here. */
#include "pipeline/enrich_judge.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"
#include "io/row.h"
#include "read/json_row.h"

enum { TAIL = 16 }; /* readable bytes that the JSON scanner wants behind a text */

struct enrich_judge {
    const struct enrich_config *config;
    struct column column; /* of the one value that is looked at; names are the config's */
    struct columns columns;
    struct json_row *scan;
    struct arena arena;
    struct buf body;
};

int enrich_judge_open(struct enrich_judge **out, const struct enrich_config *config, struct err *err)
{
    struct enrich_judge *j = calloc(1, sizeof *j);
    struct json_step steps[JSON_STEPS]; /* for the words: the scanner would speak of a column */
    if (!j)
        return err_nomem(err);
    j->config = config;
    j->column = (struct column){ .name = config->error_path, .from = config->error_path, .type = TYPE_JSON };
    j->columns = (struct columns){ &j->column, 1 };
    if (json_path_parse(config->error_path, steps, &j->arena, err) < 0 || json_row_open(&j->scan, &j->columns, GRAMMAR_STRICT, err) < 0) {
        enrich_judge_close(j);
        return err_in(err, "error");
    }
    *out = j;
    return 0;
}

void enrich_judge_close(struct enrich_judge *j)
{
    if (!j)
        return;
    json_row_close(j->scan);
    arena_clear(&j->arena);
    buf_clear(&j->body);
    free(j);
}

/* The value at the path: a text as it reads, all else as it is written. */
static int value_of(struct enrich_judge *j, const struct field *f, struct buf *said, struct err *err)
{
    struct json_value text = { JSON_TEXT, { f->p, f->n } };
    struct str plain = text.raw;
    buf_renew(said);
    if (f->kind == FIELD_TRUE || f->kind == FIELD_FALSE)
        plain = f->kind == FIELD_TRUE ? STR("true") : STR("false");
    else if (f->n && f->p[0] == '"' && !json_unescape(&text, &j->arena, &plain) && !plain.p)
        return err_nomem(err);
    buf_add(said, plain.p, plain.n); /* a lone surrogate: its escape, which is no good value either */
    return said->failed ? err_nomem(err) : 0;
}

/* Without a list: is it as much as null? */
static bool is_nothing(const struct field *f, struct str said)
{
    double number;
    switch (f->kind) {
    case FIELD_FALSE:
        return true;
    case FIELD_NUMBER:
        return text_real(said, &number) && number == 0;
    case FIELD_RAW:
        break;
    default:
        return false;
    }
    if (!said.n || (f->p[0] == '"'))
        return !said.n;
    for (size_t i = 1; i + 1 < said.n; i++)
        if (!isspace((unsigned char)said.p[i]))
            return false;
    return true;
}

static bool is_good(const struct enrich_judge *j, struct str said)
{
    for (int i = 0; i < j->config->ngood; i++)
        if (str_eq(said, str_of(j->config->good[i])))
            return true;
    return false;
}

/* Of two values one may be the error, and JSON does not say which of them counts (RFC 8259, 4). */
static int says_twice(struct buf *said, struct err *err)
{
    buf_renew(said);
    buf_adds(said, "twice in its object");
    return said->failed ? err_nomem(err) : 1;
}

int enrich_judge(struct enrich_judge *j, struct str body, struct buf *said, struct err *err)
{
    struct field field;
    struct json_refusal no;
    buf_renew(&j->body);
    buf_add(&j->body, body.p, body.n);
    arena_reset(&j->arena);
    if (j->body.failed || !buf_reserve(&j->body, TAIL))
        return err_nomem(err);
    int rc = json_row_scan(j->scan, buf_str(&j->body), false, &field, &j->arena, &no);
    if (rc < 0)
        return err_nomem(err);
    if (rc == 0)
        return no.reason == REJECT_DUPLICATE_KEY ? says_twice(said, err) : 0;
    if (field.kind <= FIELD_NULL)
        return 0;
    if (value_of(j, &field, said, err) < 0)
        return -1;
    return j->config->ngood ? !is_good(j, buf_str(said)) : !is_nothing(&field, buf_str(said));
}

void enrich_said(struct str said, char out[ENRICH_SAID + 4])
{
    size_t n = said.n < ENRICH_SAID ? said.n : ENRICH_SAID;
    for (size_t i = 0; i < n; i++)
        out[i] = iscntrl((unsigned char)said.p[i]) ? ' ' : said.p[i];
    n = text_utf8_valid((struct str){ out, n });
    snprintf(out + n, 4, "%s", said.n > n ? "..." : "");
}
