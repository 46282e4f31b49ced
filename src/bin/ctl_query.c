/*
 * The verb query: a question to a target, and its answer as it comes.
 *
 * CSV and JSON need the memory of one row. A table is held back for its widths until HELD_ROWS rows or HELD_BYTES bytes have
 * come; what comes later is printed with those widths.
 */
#include "bin/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "bin/table.h"
#include "target/target.h"

enum { HELD_ROWS = 1000, HELD_BYTES = 4 << 20 };

struct answer {
    int64_t rows;
    struct buf line;      /* csv, json: being made */
    struct buf names;     /* json: "name": of each column, behind each other, each ended by NUL */
    struct buf held;      /* table: cells, each ended by NUL */
    int64_t held_rows;
    bool flowing;         /* table: the widths are fixed */
    int n;
    size_t *width;
    bool *text;           /* a column with anything but numbers: it stands on the left */
};

static void answer_clear(struct answer *a)
{
    buf_clear(&a->line);
    buf_clear(&a->names);
    buf_clear(&a->held);
    free(a->width);
    free(a->text);
}

static int put_line(struct answer *a, struct err *err)
{
    if (a->line.failed)
        return err_nomem(err);
    if (fwrite(a->line.p, 1, a->line.n, stdout) != a->line.n)
        return ctl_unwritten(err);
    buf_reset(&a->line);
    return 0;
}

/* ---- CSV, RFC 4180: null is nothing, the empty text is "" ---- */

void ctl_csv_field(struct buf *line, struct str s)
{
    bool quoted = s.n == 0;
    for (size_t i = 0; i < s.n && !quoted; i++)
        quoted = strchr(",\"\r\n", s.p[i]) != NULL; /* NUL too */
    if (!quoted) {
        buf_add(line, s.p, s.n);
        return;
    }
    buf_addc(line, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_addc(line, '"');
        buf_addc(line, s.p[i]);
    }
    buf_addc(line, '"');
}

static int csv_columns(void *arg, int n, const char *const *names, struct err *err)
{
    struct answer *a = arg;
    for (int i = 0; i < n; i++) {
        if (i)
            buf_addc(&a->line, ',');
        ctl_csv_field(&a->line, str_of(names[i]));
    }
    buf_addc(&a->line, '\n');
    return put_line(a, err);
}

static int csv_row(void *arg, int n, const struct query_value *values, struct err *err)
{
    struct answer *a = arg;
    for (int i = 0; i < n; i++) {
        if (i)
            buf_addc(&a->line, ',');
        if (values[i].text.p)
            ctl_csv_field(&a->line, values[i].text);
    }
    buf_addc(&a->line, '\n');
    return put_line(a, err);
}

/* ---- JSON: {"columns":[...],"rows":[{...}, ...]} ---- */

static int json_columns(void *arg, int n, const char *const *names, struct err *err)
{
    struct answer *a = arg;
    struct json_out o;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(names[i], names[k])) /* readers keep one of them, and say nothing */
                return err_set(err, ERR_USAGE, "two columns are called '%s': name one of them with AS, or ask for --csv", names[i]);
    buf_adds(&a->line, "{\"columns\":");
    json_start(&o, &a->line);
    json_array(&o);
    for (int i = 0; i < n; i++) {
        struct json_out name;
        json_text(&o, str_of(names[i]));
        json_start(&name, &a->names);
        json_text(&name, str_of(names[i]));
        buf_addc(&a->names, '\0');
    }
    json_array_end(&o);
    buf_adds(&a->line, ",\"rows\":[");
    return a->names.failed ? err_nomem(err) : put_line(a, err);
}

static int json_row(void *arg, int n, const struct query_value *values, struct err *err)
{
    struct answer *a = arg;
    const char *name = a->names.p;
    buf_adds(&a->line, a->rows++ ? ",\n{" : "\n{");
    for (int i = 0; i < n; i++, name += strlen(name) + 1) {
        struct json_out o;
        buf_addf(&a->line, "%s%s:", i ? "," : "", name);
        json_start(&o, &a->line);
        if (!values[i].text.p)
            json_null(&o);
        else if (values[i].number)
            json_raw(&o, values[i].text);
        else
            json_text(&o, values[i].text);
    }
    buf_addc(&a->line, '}');
    return put_line(a, err);
}

/* ---- a table ---- */

/* One line a row, whatever the value holds. */
static void hold(struct answer *a, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_addc(&a->held, (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? ' ' : s.p[i]);
    buf_addc(&a->held, '\0');
}

static void print_held(struct answer *a)
{
    bool bold = !a->flowing && isatty(STDOUT_FILENO);
    const char *cell = a->held.p;
    for (int64_t r = 0; r < a->held_rows; r++) {
        if (bold && r == 0)
            fputs("\033[1m", stdout);
        for (int i = 0; i < a->n; i++, cell += strlen(cell) + 1) {
            size_t shown = table_width(cell), room = shown < a->width[i] ? a->width[i] - shown : 0;
            if (i)
                fputs("  ", stdout);
            if (!a->text[i])
                printf("%*s%s", (int)room, "", cell);
            else
                printf("%s%*s", cell, i < a->n - 1 ? (int)room : 0, "");
        }
        puts(bold && r == 0 ? "\033[0m" : "");
    }
    buf_reset(&a->held);
    a->held_rows = 0;
}

static int table_columns(void *arg, int n, const char *const *names, struct err *err)
{
    struct answer *a = arg;
    a->n = n;
    a->width = calloc((size_t)n, sizeof *a->width);
    a->text = calloc((size_t)n, sizeof *a->text);
    if (!a->width || !a->text)
        return err_nomem(err);
    for (int i = 0; i < n; i++) {
        hold(a, str_of(names[i]));
        a->width[i] = table_width(names[i]);
    }
    a->held_rows = 1;
    return 0;
}

static int table_row(void *arg, int n, const struct query_value *values, struct err *err)
{
    struct answer *a = arg;
    for (int i = 0; i < n; i++) {
        size_t at = a->held.n;
        hold(a, values[i].text);
        if (a->held.failed)
            return err_nomem(err);
        size_t shown = table_width(a->held.p + at);
        if (!a->flowing && shown > a->width[i])
            a->width[i] = shown;
        if (!a->flowing)
            a->text[i] |= values[i].text.p && !values[i].number;
    }
    a->rows++;
    a->held_rows++;
    if (a->flowing || a->held_rows > HELD_ROWS || a->held.n > HELD_BYTES) {
        print_held(a);
        a->flowing = true;
    }
    return ferror(stdout) ? ctl_unwritten(err) : 0;
}

/* ---- the verb ---- */

static int query_target(struct ctl *c, const char *name, const char *sql, bool csv)
{
    const struct target_config *tc = config_target(c->config, name);
    if (!tc)
        return err_set(&c->err, ERR_NOT_FOUND, "there is no [target %s]", name);
    const struct target *t = target_by_url(tc->url, &c->err);
    if (!t)
        return -1;
    if (!t->query)
        return err_set(&c->err, ERR_USAGE, "target '%s' (%s:) knows no SQL: ask a program that reads files, such as DuckDB, about the objects"
                       " that its _manifest names", name, t->scheme);
    AUTO(answer_clear) struct answer a = { 0 };
    const struct query_sink table = { table_columns, table_row, &a }, as_csv = { csv_columns, csv_row, &a },
                            as_json = { json_columns, json_row, &a };
    if (t->query(c->config, tc, sql, csv ? &as_csv : c->json ? &as_json : &table, &c->err) < 0) {
        if (c->err.code == ERR_TARGET_REFUSED) /* it is the question that is wrong */
            c->err.code = ERR_USAGE;
        return -1;
    }
    if (c->json)
        puts(a.rows ? "\n]}" : "]}");
    else if (!csv && !a.flowing)
        print_held(&a);
    return 0;
}

int ctl_query(struct ctl *c, int argc, char **argv)
{
    static const struct option longs[] = { { "csv", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 } };
    bool csv = false;
    for (int o; (o = ctl_option(c, argc, argv, "", longs, NULL)) != -1;) {
        if (o != 'v')
            return -1; /* ctl_option() has said it */
        csv = true;
    }
    if (argc - optind != 2)
        return ctl_usage(c, "query wants a target and one SQL statement in quotes; qetlctl help query");
    if (csv && c->json)
        return ctl_usage(c, "--csv or --json, not both");
    return ctl_config(c) < 0 ? -1 : query_target(c, argv[optind], argv[optind + 1], csv);
}
