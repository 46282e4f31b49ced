/*
 * Fields of the file to columns of the batch. What the walk over a row asks (which column has field
 * i?) is one look into an array; all that is thought about names happens here, once a member.
 */
#include "read/csv_map.h"

#include <stdlib.h>
#include <string.h>

int csv_map_positions(struct csv_map *m, int width, const struct columns *columns, struct err *err)
{
    if (width > CSV_FIELDS_MAX)
        return err_set(err, ERR_HEADER, "the first row has %d fields; at most %d are read", width,
                       CSV_FIELDS_MAX);
    m->slot = calloc((size_t)width + 1, sizeof *m->slot);
    if (columns) /* else csv_map_names() knows what the file lacks */
        m->absent = calloc((size_t)width + 1, sizeof *m->absent);
    if (!m->slot || (columns && !m->absent))
        return err_nomem(err);
    m->cols = width;
    for (int i = 0; i < width; i++)
        if (columns && columns->v[i].builtin != BUILTIN_NONE)
            m->absent[m->nabsent++] = i;
        else
            m->slot[m->width++] = i;
    m->width_min = m->width;
    while (columns && m->width_min > 1 && columns->v[m->slot[m->width_min - 1]].optional)
        m->width_min--;
    return 0;
}

int csv_map_keep_names(struct csv_map *m, const struct field *names, struct err *err)
{
    m->names = calloc((size_t)m->width + 1, sizeof *m->names);
    if (!m->names)
        return err_nomem(err);
    for (m->nnames = 0; m->nnames < m->width; m->nnames++) {
        struct str name = { names[m->nnames].p, names[m->nnames].n };
        if (!(name.p = arena_dup(&m->arena, name)))
            return err_nomem(err);
        m->names[m->nnames] = name;
    }
    return 0;
}

static bool same_name(struct str a, struct str b, bool exact)
{
    return exact ? str_eq(a, b) : str_eq_nocase(str_trim(a), str_trim(b));
}

/* How many fields of the header have this name; *at is the first. */
static int count_name(const struct csv_map *m, struct str name, bool exact, int *at)
{
    int n = 0;
    for (int i = 0; i < m->nnames; i++)
        if (same_name(m->names[i], name, exact) && n++ == 0)
            *at = i;
    return n;
}

static const char *source_name(const struct column *c)
{
    return c->from ? c->from : c->name;
}

/* 1 *at is its field of the header, 0 the header lacks it, -1 it has it twice. */
static int find_name(const struct csv_map *m, const struct column *c, int *at, struct err *err)
{
    struct str name = str_of(source_name(c));
    int n = count_name(m, name, true, at);
    if (!n)
        n = count_name(m, name, false, at);
    if (n > 1)
        return err_set(err, ERR_HEADER, "the header has the column '%s' %d times", name.p, n);
    return n;
}

/* Field `at` of the file goes to column `col`. */
static void bind(struct csv_map *m, int at, int col)
{
    if (m->slot[at] < 0)
        m->slot[at] = col;
    else
        m->copies[m->ncopies++] = (struct csv_copy){ m->slot[at], col };
}

static int room(struct csv_map *m, int n, struct err *err)
{
    m->copies = calloc((size_t)n + 1, sizeof *m->copies);
    m->absent = calloc((size_t)n + 1, sizeof *m->absent);
    return m->copies && m->absent ? 0 : err_nomem(err);
}

int csv_map_names(struct csv_map *m, const struct columns *columns, struct err *err)
{
    if (room(m, columns->n, err) < 0)
        return -1;
    m->width_min = m->width;
    m->cols = columns->n;
    for (int i = 0; i < m->nnames; i++)
        m->slot[i] = m->names[i].n ? CSV_UNWANTED : CSV_UNNAMED;
    for (int i = 0, at; i < columns->n; i++) {
        bool builtin = columns->v[i].builtin != BUILTIN_NONE;
        int found = builtin ? 0 : find_name(m, &columns->v[i], &at, err);
        if (found < 0)
            return -1;
        if (found)
            bind(m, at, i);
        else
            m->absent[m->nabsent++] = i;
    }
    return 0;
}

static int report_room(struct csv_map *m, struct err *err)
{
    m->report = arena_alloc(&m->arena, mem_product((size_t)m->nnames, sizeof *m->report));
    m->present = arena_alloc(&m->arena, (size_t)m->cols + 1);
    return m->report && m->present ? 0 : err_nomem(err);
}

int csv_map_report(struct csv_map *m, struct format_names *out, struct err *err)
{
    bool grows = false;
    if (!m->report && report_room(m, err) < 0)
        return -1;
    for (int i = 0; i < m->nnames; i++) {
        m->report[i] = (struct format_name){ .name = m->names[i], .taken = m->slot[i] >= 0, .filled = m->slot[i] == CSV_FILLED };
        grows |= m->slot[i] == CSV_UNNAMED;
    }
    memset(m->present, true, (size_t)m->cols);
    for (int i = 0; i < m->nabsent; i++)
        m->present[m->absent[i]] = false;
    *out = (struct format_names){ m->report, m->nnames, true, grows, m->present };
    return 0;
}

void csv_map_clear(struct csv_map *m)
{
    free(m->slot);
    free(m->copies);
    free(m->absent);
    free(m->names);
    arena_clear(&m->arena);
    *m = (struct csv_map){ 0 };
}
