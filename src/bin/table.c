/* Lists as tables or JSON. */
#include "bin/table.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/text.h"

void table_init(struct table *t, bool json, const struct table_col *cols, int ncols)
{
    *t = (struct table){ .cols = cols, .ncols = ncols, .json = json };
    for (int i = 0; i < ncols; i++)
        t->width[i] = cols[i].head ? strlen(cols[i].head) : 0;
}

size_t table_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void next_cell(struct table *t)
{
    if (++t->at < t->ncols)
        return;
    t->at = 0;
    t->rows++;
    if (t->json)
        buf_addc(&t->doc, '}');
}

static void json_cell_start(struct table *t)
{
    if (t->at == 0)
        buf_adds(&t->doc, t->rows ? ",{" : "{");
    else
        buf_addc(&t->doc, ',');
    buf_addf(&t->doc, "\"%s\":", t->cols[t->at].key);
}

static void shown_cell(struct table *t, const char *text)
{
    if (!t->cols[t->at].head)
        return;
    size_t w = table_width(text);
    if (w > t->width[t->at])
        t->width[t->at] = w;
    for (; *text; text++) /* one line a row, whatever the text holds */
        buf_addc(&t->cells, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
    buf_addc(&t->cells, '\0');
}

void table_text(struct table *t, const char *v)
{
    if (!t->json) {
        shown_cell(t, v ? v : "-");
    } else {
        struct json_out o;
        json_cell_start(t);
        json_start(&o, &t->doc);
        if (!v)
            json_null(&o);
        else if (t->cols[t->at].kind == CELL_JSON)
            json_raw(&o, str_of(v));
        else
            json_text(&o, str_of(v));
    }
    next_cell(t);
}

static void json_int_cell(struct table *t, int64_t v)
{
    struct json_out o;
    json_cell_start(t);
    json_start(&o, &t->doc);
    enum cell kind = t->cols[t->at].kind;
    if (kind == CELL_BOOL) {
        json_bool(&o, v != 0);
    } else if ((kind == CELL_TIME && v <= 0) || (kind == CELL_SIZE && v < 0)) {
        json_null(&o);
    } else if (kind == CELL_TIME) {
        char text[32];
        text_put_rfc3339(text, v);
        json_text(&o, str_of(text));
    } else {
        json_int(&o, v);
    }
}

static void shown_int_cell(struct table *t, int64_t v)
{
    enum cell kind = t->cols[t->at].kind;
    char text[64];
    if (((kind == CELL_TIME || kind == CELL_PEAK || kind == CELL_JOB) && v <= 0) || (kind == CELL_SIZE && v < 0)) {
        snprintf(text, sizeof text, "-");
    } else if (kind == CELL_TIME) { /* "2026-11-21 04:30:00Z" */
        text_put_rfc3339(text, v);
        text[10] = ' ';
        text[19] = 'Z';
        text[20] = '\0';
    } else if (kind == CELL_SIZE || kind == CELL_PEAK) {
        text_put_size(text, sizeof text, v);
    } else if (kind == CELL_BOOL) {
        snprintf(text, sizeof text, "%s", v ? "yes" : "no");
    } else {
        snprintf(text, sizeof text, "%" PRId64, v);
    }
    shown_cell(t, text);
}

void table_int(struct table *t, int64_t v)
{
    if (t->json)
        json_int_cell(t, v);
    else
        shown_int_cell(t, v);
    next_cell(t);
}

static void pad(size_t n)
{
    while (n--)
        putchar(' ');
}

static void print_cell(const struct table *t, int col, const char *text, bool last)
{
    enum cell kind = t->cols[col].kind;
    bool right = kind == CELL_NUMBER || kind == CELL_JOB || kind == CELL_SIZE || kind == CELL_PEAK;
    size_t room = t->width[col] - table_width(text);
    if (right)
        pad(room);
    fputs(text, stdout);
    if (!right && !last)
        pad(room);
    if (!last)
        pad(2);
}

static void print_rows(const struct table *t)
{
    bool bold = isatty(STDOUT_FILENO);
    int last = t->ncols - 1;
    while (last > 0 && (!t->cols[last].head || !t->width[last])) /* a note that no row has */
        last--;
    if (bold)
        fputs("\033[1m", stdout);
    for (int i = 0; i <= last; i++)
        if (t->cols[i].head)
            print_cell(t, i, t->cols[i].head, i == last);
    fputs(bold ? "\033[0m\n" : "\n", stdout);
    const char *at = t->cells.p;
    for (int64_t r = 0; r < t->rows; r++) {
        for (int i = 0; i < t->ncols; i++) {
            if (!t->cols[i].head)
                continue;
            if (i <= last)
                print_cell(t, i, at, i == last);
            at += strlen(at) + 1;
        }
        putchar('\n');
    }
}

void table_json(struct table *t, struct buf *out)
{
    buf_addc(out, '[');
    buf_add(out, t->doc.p, t->doc.n);
    buf_addc(out, ']');
    buf_clear(&t->doc);
    buf_clear(&t->cells);
}

void table_print(struct table *t, const char *name, const char *none)
{
    if (t->json) {
        AUTO(buf_clear) struct buf doc = { 0 };
        table_json(t, &doc);
        printf("{\"%s\":%s}\n", name, doc.p);
        return;
    }
    if (t->rows)
        print_rows(t);
    else
        puts(none);
    buf_clear(&t->cells);
    buf_clear(&t->doc);
}
