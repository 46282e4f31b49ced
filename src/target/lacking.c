/* Columns that a table does not have; see the header. */
#include "target/lacking.h"

enum {
    NAMES_MAX = 240, /* bytes of names in a message */
    SQL_MAX = 400,   /* of the message with the SQL, so that those who put words in front of it cut none of it off */
};

static void add_name(struct buf *names, const char *name, int *more)
{
    if (*more || names->n > NAMES_MAX)
        ++*more;
    else
        buf_addf(names, "%s'%s'", names->n ? ", " : "", name);
}

static void add_sql(const struct lacking *l, struct buf *sql, const struct column *c)
{
    if (!sql->n || !l->one_alter)
        buf_addf(sql, "%sALTER TABLE %s ADD COLUMN ", sql->n ? "; " : "", l->quoted);
    else
        buf_adds(sql, ", ADD COLUMN ");
    l->declare(sql, c);
}

int lacking_refuse(const struct lacking *l, const struct columns *columns, bool (*lacks)(const void *arg, int column), const void *arg,
                   struct err *err)
{
    AUTO(buf_clear) struct buf names = { 0 }, sql = { 0 }, text = { 0 };
    int n = 0, more = 0;
    for (int i = 0; i < columns->n; i++)
        if (lacks(arg, i)) {
            n++;
            add_name(&names, columns->v[i].name, &more);
            add_sql(l, &sql, &columns->v[i]);
        }
    if (n == 0)
        return 0;
    buf_addf(&text, "table '%s'", l->table);
    if (l->of)
        buf_addf(&text, " of '%s'", l->of);
    buf_addf(&text, " has no column%s %s", n == 1 ? "" : "s", names.failed ? "" : names.p);
    if (more)
        buf_addf(&text, " and %d more", more);
    if (n == 1 || text.n + sql.n < SQL_MAX)
        buf_addf(&text, "; run: %s", sql.failed ? "" : sql.p);
    return text.failed || names.failed || sql.failed ? err_nomem(err) : err_set(err, ERR_TARGET_REFUSED, "%s", text.p);
}
