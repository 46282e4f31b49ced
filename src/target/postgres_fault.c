/* Which value of a job does not fit; see the header. */
#include "target/postgres_fault.h"

#include <inttypes.h>
#include <string.h>

struct search {
    const struct pg_fault *f;
    struct pg_probe probe;
};

/* `first` to `last` of the columns: their names, or their staged values as the table's types. */
static void list(struct buf *out, const struct search *s, int first, int last, bool casts)
{
    for (int i = first; i <= last; i++)
        buf_addf(out, "%s%s", i > first ? ", " : "", casts ? s->probe.column[i].cast : s->probe.column[i].name);
}

/* Do these columns of the rows from..to fit? 1, 0 with what the server says, -1: it has another reason. What went in goes out again. */
static int fits(const struct search *s, int first, int last, int64_t from, int64_t to, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    struct err back;
    buf_adds(&sql, "SAVEPOINT fault; INSERT INTO " PG_PROBE_TYPES " (");
    list(&sql, s, first, last, false);
    buf_adds(&sql, ") SELECT ");
    list(&sql, s, first, last, true);
    buf_addf(&sql, " FROM " PG_PROBE_ROWS " s WHERE s." STAGED_ORDER " BETWEEN %" PRId64 " AND %" PRId64, from, to);
    if (sql.failed)
        return -1;
    bool went = pg_run(s->f->pg, sql.p, "load", err) == 0;
    if (pg_run(s->f->pg, "ROLLBACK TO SAVEPOINT fault; RELEASE SAVEPOINT fault", "load", &back) < 0)
        return -1;
    return went ? 1 : err->sys == PG_OF_VALUE ? 0 : -1;
}

/* The first row that does not fit, 0: there is none; -1. */
static int64_t find_row(const struct search *s, struct err *said)
{
    int64_t low = 1, high = s->f->rows;
    int all = s->f->spec->columns->n - 1, rc = fits(s, 0, all, low, high, said);
    if (rc != 0)
        return rc > 0 ? 0 : -1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if ((rc = fits(s, 0, all, low, middle, said)) < 0)
            return -1;
        if (rc > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first column of it that does not; -1. */
static int find_column(const struct search *s, int64_t row, struct err *said)
{
    for (int i = 0; i < s->f->spec->columns->n; i++) {
        int rc = fits(s, i, i, row, row, said);
        if (rc <= 0)
            return rc < 0 ? -1 : i;
    }
    return -1;
}

static PGresult *values_of(const struct search *s, int64_t row)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    struct err ignored;
    buf_adds(&sql, "SELECT concat_ws(', '");
    for (int i = 0; i < s->f->spec->columns->n && i < PG_PROBE_SHOWN; i++)
        buf_addf(&sql, ", coalesce(left(s.%s::text, 200), 'null')", s->probe.column[i].name);
    buf_addf(&sql, ") FROM " PG_PROBE_ROWS " s WHERE s." STAGED_ORDER " = %" PRId64, row);
    return sql.failed ? NULL : pg_exec(s->f->pg, sql.p, "load", &ignored);
}

static int tell(const struct search *s, int64_t row, struct err *err)
{
    struct err said;
    int column = find_column(s, row, &said);
    if (column < 0)
        return 0;
    AUTO(result_clearp) PGresult *r = values_of(s, row);
    if (!r || PQntuples(r) != 1)
        return 0;
    (void)server_refuse_row(err, said.msg, s->f->spec->columns->v[column].name, row, s->f->rows, str_of(PQgetvalue(r, 0, 0)));
    return 1;
}

int pg_fault_find(const struct pg_fault *f, struct err *err)
{
    struct search s = { .f = f };
    struct err said;
    int64_t row = 0;
    if (pg_probe_write(f->pg, f->spec, &s.probe, &said) == 0 && pg_run(f->pg, s.probe.make.p, "load", &said) == 0 &&
        f->copy(f->arg, s.probe.copy.p, &said) == 0)
        row = find_row(&s, &said);
    int rc = row > 0 ? tell(&s, row, err) : 0;
    pg_probe_clear(&s.probe);
    return rc;
}
