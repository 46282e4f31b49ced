/* Tables of MariaDB and MySQL; see the header. */
#include "target/mysql_table.h"

#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "target/coarse.h"
#include "target/lacking.h"
#include "target/mysql.h"
#include "target/staged.h"
#include "target/undo.h"

#define STAGE "qetl_stage" /* the rows as they came, numbered by qetl_order */
#define KEYS "qetl_keys"   /* history: their keys */
#define MERGE "qetl_merge" /* one of each key, or each version, and what becomes of it */
#define GONE "qetl_gone"   /* undo, missing = delete: keys of rows that go */
#define COUNTER "qetl_row" /* of the last three */

/* What the server says of one column of the table. */
struct found {
    char *name, *type; /* owned by the result */
    int64_t scale, second; /* digits: of a number, of a second */
    bool not_null, has_default, auto_increment, generated, is_text;
};
struct description {
    MYSQL_RES *result; /* owns the texts */
    struct found *v;
    int n;
};

/* While the texts of one table are written. */
struct draft {
    MYSQL *my;
    const struct table_spec *spec;
    struct my_table *t;
    struct description d;
    int *at; /* of each staged column: its place in d.v */
    struct schema_diff *diff; /* of a rehearsal, or NULL */
};

static void step_clear(struct my_step *steps)
{
    for (int i = 0; i < MY_STEPS; i++)
        buf_clear(&steps[i].sql);
}

static void table_clear(void *table)
{
    struct my_table *t = table;
    buf_clear(&t->name);
    buf_clear(&t->load);
    step_clear(t->before);
    step_clear(t->compare);
    step_clear(t->merge);
    buf_clear(&t->counts);
    buf_clear(&t->missing);
    buf_clear(&t->keep);
    buf_clear(&t->keep_missing);
}

void my_tables_forget(struct my_tables *tables) { server_tables_forget(&tables->known); }

/* The table as information_schema knows it: `WHERE` with its names. */
static void where_table(struct buf *sql, MYSQL *my, const char *name)
{
    const char *dot = strchr(name, '.');
    char *schema = dot ? strndup(name, (size_t)(dot - name)) : NULL;
    buf_adds(sql, " WHERE x.table_schema = ");
    if (schema)
        my_literal(sql, my, schema);
    else
        buf_adds(sql, "database()");
    buf_adds(sql, " AND x.table_name = ");
    my_literal(sql, my, dot ? dot + 1 : name);
    sql->failed |= dot && !schema;
    free(schema);
}

/* ---- a table that is not there is made ---- */

/* Keys are to be compared as bytes, spaces at their end and all: PAD SPACE in utf8mb4_bin takes 'a ' for 'a'. */
static int byte_collation(MYSQL *my, char out[40], struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r =
        my_select(my, "SELECT collation_name FROM information_schema.collations WHERE collation_name IN ('utf8mb4_nopad_bin',"
                      " 'utf8mb4_0900_bin', 'utf8mb4_bin') ORDER BY collation_name = 'utf8mb4_nopad_bin' DESC,"
                      " collation_name = 'utf8mb4_0900_bin' DESC LIMIT 1", "look for a collation", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    snprintf(out, 40, "%s", row ? row[0] : "utf8mb4_bin");
    return r ? 0 : -1;
}

static void table_sql(struct buf *sql, const struct table_spec *spec, const char *name, const char *collation)
{
    bool history = spec->mode == MODE_HISTORY;
    buf_addf(sql, "CREATE TABLE IF NOT EXISTS %s (", name);
    for (int i = 0; i < spec->columns->n; i++) {
        buf_adds(sql, i ? ", " : "");
        my_name(sql, spec->columns->v[i].name);
        buf_addc(sql, ' ');
        mysql_type(sql, &spec->columns->v[i], in_key(spec, i));
        buf_adds(sql, column_not_null(spec, i) ? " NOT NULL" : " NULL");
    }
    if (history)
        buf_adds(sql, ", " VALID_FROM " DATETIME(6) NOT NULL, " VALID_TO " DATETIME(6) NULL, " IS_CURRENT " BOOLEAN NOT NULL");
    for (int k = 0; k < spec->nkey; k++) {
        buf_adds(sql, k ? ", " : history ? ", KEY qetl_current (" : ", PRIMARY KEY (");
        my_name(sql, spec->columns->v[spec->key[k]].name);
    }
    if (spec->nkey)
        buf_adds(sql, history ? ", " IS_CURRENT ")" : ")");
    buf_addf(sql, ") ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE %s", collation);
}

int my_make(const struct my_tables *tables, const char *sql, const char *what, struct err *err)
{
    MYSQL *my;
    if (tables->diff)
        return err_set(err, ERR_TARGET, "it would %s, which this server cannot take back", what);
    if (my_connect(&my, tables->config, tables->cfg, false, err) < 0)
        return -1;
    int rc = my_run(my, sql, what, err);
    mysql_close(my);
    return rc;
}

static void type_of(struct buf *out, const struct table_spec *spec, int column)
{
    mysql_type(out, &spec->columns->v[column], in_key(spec, column));
}

/* qetl makes tables, and databases are for people to make, with their rights. */
static int refuse_database(const struct table_spec *spec, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    AUTO(free_charp) char *database = strndup(spec->name, strcspn(spec->name, "."));
    buf_addf(&text, "table '%s': %s; run: CREATE DATABASE ", spec->name, err->msg);
    if (database)
        my_name(&text, database);
    return !database || text.failed ? err_nomem(err) : err_set(err, ERR_TARGET_REFUSED, "%s", text.p);
}

static int make_table(struct my_tables *tables, const struct draft *f, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    char collation[40];
    if (byte_collation(f->my, collation, err) < 0)
        return -1;
    table_sql(&sql, f->spec, f->t->name.p, collation);
    if (!sql.failed)
        schema_diff_make(f->diff, f->spec, sql.p, type_of);
    int rc = sql.failed ? err_nomem(err) : my_make(tables, sql.p, "make the table", err);
    if (rc < 0 && err->sys == ER_BAD_DB_ERROR)
        return refuse_database(f->spec, err);
    if (rc == 0)
        buf_addf(&tables->made, "%s'%s'", tables->made.n ? ", " : "", f->spec->name);
    return rc < 0 ? err_in(err, "table '%s'", f->spec->name) : 0;
}

/* ---- a table that is there is looked at ---- */

/* 1: there, a table that can be rolled back; 0: not there; -1. */
static int find_table(const struct draft *f, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "SELECT x.table_type, x.engine, e.savepoints FROM information_schema.tables x LEFT JOIN information_schema.engines e"
                   " ON e.engine = x.engine");
    where_table(&sql, f->my, f->spec->name);
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) MYSQL_RES *r = my_select(f->my, sql.p, "look for the table", err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    if (!row)
        return r ? 0 : err_in(err, "table '%s'", f->spec->name);
    if (!row[0] || (strcmp(row[0], "BASE TABLE") != 0 && strcmp(row[0], "SYSTEM VERSIONED") != 0))
        return err_set(err, ERR_TARGET_REFUSED, "'%s' is a %s, and rows go into tables", f->spec->name, row[0] ? row[0] : "nothing");
    if (!row[2] || strcmp(row[2], "YES") != 0)
        return err_set(err, ERR_TARGET_REFUSED, "table '%s' cannot be rolled back; run: ALTER TABLE %s ENGINE=InnoDB (it is %s)",
                       f->spec->name, f->t->name.p, row[1] ? row[1] : "damaged");
    return 1;
}

static int describe(struct draft *f, struct err *err)
{
    struct description *d = &f->d;
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "SELECT x.column_name, x.column_type, x.is_nullable = 'NO', x.column_default IS NOT NULL,"
                   " x.extra LIKE '%auto_increment%', x.extra REGEXP 'VIRTUAL|STORED|PERSISTENT', x.character_set_name IS NOT NULL,"
                   " coalesce(x.numeric_scale, 0), coalesce(x.datetime_precision, 0) FROM information_schema.columns x");
    where_table(&sql, f->my, f->spec->name);
    buf_adds(&sql, " ORDER BY x.ordinal_position");
    if (sql.failed)
        return err_nomem(err);
    if (!(d->result = my_select(f->my, sql.p, "look at the table", err)))
        return -1;
    d->v = calloc((size_t)mysql_num_rows(d->result) + 1, sizeof *d->v);
    if (!d->v)
        return err_nomem(err);
    for (MYSQL_ROW row; (row = mysql_fetch_row(d->result)); d->n++) {
        struct found *c = &d->v[d->n];
        *c = (struct found){ .name = row[0],
                             .type = row[1],
                             .not_null = *row[2] == '1',
                             .has_default = *row[3] == '1',
                             .auto_increment = *row[4] == '1',
                             .generated = *row[5] == '1',
                             .is_text = *row[6] == '1' };
        (void)text_int_plain(str_of(row[7]), &c->scale);
        (void)text_int_plain(str_of(row[8]), &c->second);
    }
    return 0;
}

/* The place of a column in the table; names have no case. */
static int place_of(const struct description *d, const char *name)
{
    for (int i = 0; i < d->n; i++)
        if (!strcasecmp(d->v[i].name, name))
            return i;
    return -1;
}

/* What a column keeps of c. A real that DECIMAL would round the server tells of, row by row. */
static struct kept kept_of(const struct found *found, const struct column *c)
{
    static const struct {
        const char *name;
        enum keeps keeps;
    } kinds[] = { { "tinyint", KEEPS_NUMBERS }, { "smallint", KEEPS_NUMBERS }, { "mediumint", KEEPS_NUMBERS }, { "int", KEEPS_NUMBERS },
                  { "bigint", KEEPS_NUMBERS }, { "year", KEEPS_YEARS }, { "decimal", KEEPS_NUMBERS }, { "float", KEEPS_FLOATS },
                  { "double", KEEPS_DOUBLES }, { "bit", KEEPS_BITS }, { "datetime", KEEPS_TIMESTAMPS }, { "timestamp", KEEPS_TIMESTAMPS },
                  { "date", KEEPS_DATES }, { "time", KEEPS_TIMES }, { "enum", KEEPS_CHOICES }, { "set", KEEPS_CHOICES },
                  /* of a number its digits, as in a text */
                  { "binary", KEEPS_TEXT }, { "varbinary", KEEPS_TEXT }, { "tinyblob", KEEPS_TEXT }, { "blob", KEEPS_TEXT },
                  { "mediumblob", KEEPS_TEXT }, { "longblob", KEEPS_TEXT } };
    size_t n = strcspn(found->type, "( ");
    bool width = found->type[n] == '(';
    struct kept k = { .keeps = found->is_text ? KEEPS_TEXT : KEEPS_ANY };
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strlen(kinds[i].name) == n && !strncasecmp(found->type, kinds[i].name, n))
            k = (struct kept){ kinds[i].keeps, (int)(kinds[i].keeps == KEEPS_TIMESTAMPS ? found->second : found->scale) };
    if (k.keeps == KEEPS_DOUBLES && width) /* DOUBLE(M,D) rounds */
        k.keeps = KEEPS_FLOATS;
    if (c->type == TYPE_REAL && n == 7 && !strncasecmp(found->type, "decimal", n))
        k.keeps = KEEPS_ANY;
    return k;
}

/* Before the point a number keeps as many digits as it has. */
static void alter(struct buf *out, const void *arg, const struct column *as)
{
    enum { INTEGER_DIGITS = 19 };
    const struct found *found = arg;
    const char *open = strchr(found->type, '(');
    bool decimal = open && !strncasecmp(found->type, "decimal", 7);
    int digits = decimal ? (int)(strtol(open + 1, NULL, 10) - found->scale) : INTEGER_DIGITS;
    buf_adds(out, "MODIFY ");
    my_name(out, found->name);
    buf_addc(out, ' ');
    if (as->type == TYPE_DECIMAL)
        buf_addf(out, "DECIMAL(%d,%d)", digits + as->scale, as->scale);
    else if (as->type == TYPE_TIMESTAMP && !strncasecmp(found->type, "timestamp", 9))
        buf_adds(out, "TIMESTAMP(6)");
    else
        mysql_type(out, as, false);
    buf_adds(out, found->not_null ? " NOT NULL" : " NULL");
}

/* Are the values kept as they are? Not asked of columns that the table gets first; of valid_from and valid_to, where it has them. */
static int match_values(const struct draft *f, struct err *err)
{
    static const struct column moment = { .type = TYPE_TIMESTAMP };
    static const char *const moments[] = { VALID_FROM, VALID_TO };
    AUTO(coarse_clear) struct coarse t = { .table = f->spec->name, .quoted = f->t->name.p, .alter = alter };
    for (int i = 0; i < f->spec->columns->n; i++) {
        const struct column *c = &f->spec->columns->v[i];
        const struct found *found = f->at[i] < 0 ? NULL : &f->d.v[f->at[i]];
        if (found)
            coarse_look(&t, c, coarse_use_of(f->spec, i), &(struct coarse_column){ found->type, kept_of(found, c), found });
    }
    for (size_t m = 0; f->spec->mode == MODE_HISTORY && m < COUNT_OF(moments); m++) {
        int place = place_of(&f->d, moments[m]);
        const struct found *found = place < 0 ? NULL : &f->d.v[place];
        if (found)
            coarse_look_moment(&t, found->name, &(struct coarse_column){ found->type, kept_of(found, &moment), found });
    }
    return coarse_refuse(&t, err);
}

static void declare(struct buf *out, const struct column *c)
{
    my_name(out, c->name);
    buf_addc(out, ' ');
    mysql_type(out, c, false);
}

/* Of a rehearsal, those that the table would get by then are there. */
static bool lacks(const void *arg, int i)
{
    const struct draft *f = arg;
    return f->at[i] < 0 && !(f->diff && f->spec->columns->v[i].added);
}

/* The place of each column, by its name. */
static int match_names(const struct draft *f, struct err *err)
{
    const struct lacking l = { .table = f->spec->name, .quoted = f->t->name.p, .declare = declare, .one_alter = true };
    for (int i = 0; i < f->spec->columns->n; i++)
        f->at[i] = place_of(&f->d, f->spec->columns->v[i].name);
    return lacking_refuse(&l, f->spec->columns, lacks, f, err);
}

static int match_column(const struct draft *f, int i, struct err *err)
{
    const struct column *c = &f->spec->columns->v[i];
    if (f->at[i] < 0) /* it gets it: match_names() */
        return 0;
    const struct found *found = &f->d.v[f->at[i]];
    if (found->generated)
        return err_set(err, ERR_TARGET_REFUSED, "column '%s' of table '%s' is generated; take it out of columns=", c->name, f->spec->name);
    if (found->not_null && !strncasecmp(found->type, "timestamp", 9) && !column_not_null(f->spec, i))
        return err_set(err, ERR_TARGET_REFUSED,
                       "column '%s' of table '%s' is TIMESTAMP NOT NULL, which makes the time of the load of a null, without a word; declare it with a ! in"
                       " columns=, or run: ALTER TABLE %s MODIFY `%s` %s NULL",
                       c->name, f->spec->name, f->t->name.p, c->name, found->type);
    return 0;
}

static bool is_history_column(const char *name)
{
    return !strcasecmp(name, VALID_FROM) || !strcasecmp(name, VALID_TO) || !strcasecmp(name, IS_CURRENT);
}

static bool is_staged(const struct draft *f, int place)
{
    for (int i = 0; i < f->spec->columns->n; i++)
        if (f->at[i] == place)
            return true;
    return false;
}

static int match_columns(const struct draft *f, struct err *err)
{
    bool history = f->spec->mode == MODE_HISTORY;
    if (match_names(f, err) < 0)
        return -1;
    for (int i = 0; i < f->spec->columns->n; i++)
        if (match_column(f, i, err) < 0)
            return -1;
    if (match_values(f, err) < 0)
        return -1;
    for (int k = 0; k < f->d.n; k++) {
        const struct found *c = &f->d.v[k];
        bool given = c->has_default || c->generated || c->auto_increment || is_staged(f, k) || (history && is_history_column(c->name));
        if (c->not_null && !given)
            return err_set(err, ERR_TARGET_REFUSED,
                           "column '%s' of table '%s' is NOT NULL without a default, and the rows do not have it; run: ALTER TABLE %s"
                           " MODIFY `%s` %s NULL",
                           c->name, f->spec->name, f->t->name.p, c->name, c->type);
    }
    if (history && (place_of(&f->d, VALID_FROM) < 0 || place_of(&f->d, VALID_TO) < 0 || place_of(&f->d, IS_CURRENT) < 0))
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s' has no history; run: ALTER TABLE %s ADD COLUMN " VALID_FROM " DATETIME(6) NOT NULL, ADD COLUMN " VALID_TO
                       " DATETIME(6), ADD COLUMN " IS_CURRENT " BOOLEAN NOT NULL", f->spec->name, f->t->name.p);
    return 0;
}

/* ---- its unique indexes ---- */

static bool is_key_column(const struct draft *f, const char *name)
{
    int place = place_of(&f->d, name);
    for (int k = 0; k < f->spec->nkey; k++)
        if (f->at[f->spec->key[k]] == place)
            return true;
    return false;
}

/* One unique index after the other: *is_key when it is that of key=; -1 when it could decide in its place. */
static int look_at_index(const struct draft *f, MYSQL_RES *r, MYSQL_ROW *row, bool *is_key, struct err *err)
{
    char *name = (*row)[0];
    bool other = false, counts_itself = false;
    int n = 0;
    for (; *row && !strcmp((*row)[0], name); *row = mysql_fetch_row(r), n++) {
        int place = (*row)[1] ? place_of(&f->d, (*row)[1]) : -1; /* NULL: an expression */
        other |= place < 0 || (*row)[2] != NULL || !is_key_column(f, (*row)[1]);
        counts_itself |= place >= 0 && f->d.v[place].auto_increment && !is_staged(f, place);
    }
    if (!other && n == f->spec->nkey)
        *is_key = true;
    else if (!counts_itself)
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s' has another unique index, '%s', by which ON DUPLICATE KEY UPDATE could take the wrong row;"
                       " make it that of key=, or, if its rule may be given up (the table then takes rows that break it), run:"
                       " ALTER TABLE %s DROP INDEX `%s`", f->spec->name, name, f->t->name.p, name);
    return 0;
}

static int check_indexes(const struct draft *f, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 }, key = { 0 };
    buf_adds(&sql, "SELECT x.index_name, x.column_name, x.sub_part FROM information_schema.statistics x");
    where_table(&sql, f->my, f->spec->name);
    buf_adds(&sql, " AND x.non_unique = 0 ORDER BY x.index_name, x.seq_in_index");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) MYSQL_RES *r = my_select(f->my, sql.p, "look at the indexes", err);
    bool is_key = false;
    if (!r)
        return -1;
    for (MYSQL_ROW row = mysql_fetch_row(r); row;)
        if (look_at_index(f, r, &row, &is_key, err) < 0)
            return -1;
    for (int k = 0; k < f->spec->nkey; k++) {
        buf_adds(&key, k ? ", " : "");
        my_name(&key, f->d.v[f->at[f->spec->key[k]]].name);
    }
    return is_key ? 0
                  : err_set(err, ERR_TARGET_REFUSED, "table '%s' has no unique index on its key; run: ALTER TABLE %s ADD UNIQUE (%s)",
                            f->spec->name, f->t->name.p, key.failed ? "" : key.p);
}

/* ---- the SQL of a table ---- */

static void named(struct buf *out, const struct draft *f, const char *before, int column)
{
    buf_adds(out, before);
    my_name(out, f->d.v[f->at[column]].name);
}

/* All columns with `before` in front of each: the table's names, which are those of the temporary tables. */
static void columns(struct buf *out, const struct draft *f, const char *before)
{
    for (int i = 0; i < f->spec->columns->n; i++) {
        buf_adds(out, i ? ", " : "");
        named(out, f, before, i);
    }
}

static void key_of(struct buf *out, const struct draft *f, const char *before)
{
    for (int k = 0; k < f->spec->nkey; k++) {
        buf_adds(out, k ? ", " : "");
        named(out, f, before, f->spec->key[k]);
    }
}

/* t.a = m.a AND ... */
static void same_key(struct buf *out, const struct draft *f, const char *other)
{
    for (int k = 0; k < f->spec->nkey; k++) {
        named(out, f, k ? " AND t." : "t.", f->spec->key[k]);
        named(out, f, other, f->spec->key[k]);
    }
}

/* A value as something that differs whenever its bytes do: texts may be equal to a collation. */
static void exact(struct buf *out, const struct draft *f, const char *before, int column)
{
    bool text = f->d.v[f->at[column]].is_text;
    buf_adds(out, text ? "CAST(" : "");
    named(out, f, before, column);
    buf_adds(out, text ? " AS BINARY)" : "");
}

/* Columns that tell whether a row changed: not the key, nor (history) its version. */
static bool tells_change(const struct draft *f, int i)
{
    return !in_key(f->spec, i) && !(f->spec->mode == MODE_HISTORY && i == f->spec->version);
}

static void is_gone(struct buf *out, const struct draft *f, const char *before)
{
    if (f->spec->deleted >= 0)
        named(out, f, before, f->spec->deleted);
    buf_adds(out, f->spec->deleted >= 0 ? " IS TRUE" : "FALSE");
}

/* One staged row of each key: the last (by version, then by order), or for insert_ignore the first. */
static void one_a_key(struct buf *out, const struct draft *f)
{
    buf_adds(out, "(SELECT *, row_number() OVER (PARTITION BY ");
    key_of(out, f, "");
    buf_adds(out, " ORDER BY ");
    if (f->spec->version >= 0) {
        named(out, f, "", f->spec->version);
        buf_adds(out, " DESC, "); /* nulls last */
    }
    buf_addf(out, "qetl_order %s) AS qetl_place FROM " STAGE ")", f->spec->mode == MODE_INSERT_IGNORE ? "ASC" : "DESC");
}

/* Its next empty step. */
static struct buf *step(struct my_step *steps, const char *what)
{
    int i = 0;
    while (steps[i].what)
        i++;
    steps[i].what = what;
    return &steps[i].sql;
}

/* CREATE TEMPORARY TABLE name as what a SELECT behind it gives, beside a counter: servers may ask each table for a primary key. */
static void make_temporary(struct buf *out, const struct draft *f, const char *name, const char *counter, bool indexed)
{
    buf_addf(out, "CREATE TEMPORARY TABLE %s (%s BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY", name, counter);
    if (indexed) {
        buf_adds(out, ", KEY qetl_key (");
        key_of(out, f, "");
        buf_addc(out, ')');
    }
    buf_adds(out, ") ENGINE=InnoDB ");
}

/* May the staged row s take the place of the row t? */
static void may_update(struct buf *out, const struct draft *f)
{
    const struct table_spec *s = f->spec;
    buf_adds(out, "TRUE");
    if (s->version >= 0) {
        named(out, f, " AND (t.", s->version);
        named(out, f, " IS NULL OR s.", s->version);
        named(out, f, " >= t.", s->version);
        buf_addc(out, ')');
    }
    if (!s->only_if_changed)
        return;
    buf_adds(out, " AND ");
    if (s->deleted >= 0) {
        named(out, f, "IF(s.", s->deleted);
        named(out, f, ", t.", s->deleted);
        buf_adds(out, " IS NOT TRUE");
        if (s->version >= 0) { /* a later delete of a deleted row is newer than what came between */
            buf_adds(out, " OR NOT (");
            exact(out, f, "s.", s->version);
            buf_adds(out, " <=> ");
            exact(out, f, "t.", s->version);
            buf_addc(out, ')');
        }
        buf_adds(out, ", ");
    }
    buf_adds(out, "NOT (TRUE");
    for (int i = 0; i < s->columns->n; i++) {
        if (!tells_change(f, i))
            continue;
        buf_adds(out, " AND ");
        exact(out, f, "s.", i);
        buf_adds(out, " <=> ");
        exact(out, f, "t.", i);
    }
    buf_adds(out, s->deleted >= 0 ? "))" : ")");
}

/* ON DUPLICATE KEY UPDATE: a deleted row keeps what it had. */
static void set_list(struct buf *out, const struct draft *f)
{
    const struct table_spec *s = f->spec;
    const char *comma = "";
    for (int i = 0; i < s->columns->n; i++) {
        if (in_key(s, i))
            continue;
        buf_addf(out, "%s%s.", comma, f->t->name.p);
        comma = ", ";
        named(out, f, "", i);
        if (s->deleted >= 0 && i != s->deleted && i != s->version) {
            named(out, f, " = IF(VALUES(", s->deleted);
            buf_addf(out, "), %s.", f->t->name.p);
            named(out, f, "", i);
            named(out, f, ", VALUES(", i);
            buf_adds(out, "))");
        } else {
            named(out, f, " = VALUES(", i);
            buf_addc(out, ')');
        }
    }
}

/* No row looks at the one that is there before it takes its place, none is kept, and none goes missing. */
static bool is_direct(const struct table_spec *s)
{
    return mode_has_key(s->mode) && s->mode != MODE_HISTORY && s->version < 0 && s->deleted < 0 && !s->only_if_changed &&
           s->missing != MISSING_DELETE && !undo_keeps_rows(s);
}

static void on_duplicate(struct buf *out, const struct draft *f, const struct buf *set)
{
    buf_adds(out, " ON DUPLICATE KEY UPDATE ");
    if (set->n) {
        buf_adds(out, set->p);
    } else { /* nothing */
        buf_addf(out, "%s.", f->t->name.p);
        named(out, f, "", f->spec->key[0]);
        buf_addf(out, " = %s.", f->t->name.p);
        named(out, f, "", f->spec->key[0]);
    }
    out->failed |= set->failed;
}

static void direct_sql(const struct draft *f)
{
    AUTO(buf_clear) struct buf set = { 0 };
    struct buf *out = step(f->t->merge, "merge the rows");
    if (f->spec->mode == MODE_UPSERT)
        set_list(&set, f);
    f->t->updates = set.n > 0;
    buf_addf(out, "INSERT INTO %s (", f->t->name.p);
    columns(out, f, "");
    buf_adds(out, ") SELECT ");
    columns(out, f, "s.");
    buf_adds(out, " FROM " STAGE " s ORDER BY ");
    key_of(out, f, "s.");
    buf_adds(out, ", s.qetl_order");
    on_duplicate(out, f, &set);
    buf_adds(&f->t->counts, "SELECT count(*) FROM (SELECT 1 FROM " STAGE " GROUP BY ");
    key_of(&f->t->counts, f, "");
    buf_adds(&f->t->counts, ") k");
}

/* qetl_action: 0 stays, 1 is new, 2 changes, 3 is deleted. */
static void upsert_sql(const struct draft *f)
{
    AUTO(buf_clear) struct buf set = { 0 };
    struct buf *out = step(f->t->compare, "make a temporary table");
    if (f->spec->mode == MODE_UPSERT)
        set_list(&set, f);
    make_temporary(out, f, MERGE, COUNTER, f->spec->missing == MISSING_DELETE);
    buf_adds(out, "SELECT ");
    columns(out, f, "");
    buf_addf(out, ", 0 AS qetl_action FROM %s LIMIT 0", f->t->name.p);
    out = step(f->t->compare, "compare"); /* by itself: MySQL locks nothing for a table that it makes */
    buf_adds(out, "INSERT INTO " MERGE " (");
    columns(out, f, "");
    buf_adds(out, ", qetl_action) SELECT ");
    columns(out, f, "s.");
    named(out, f, ", CASE WHEN t.", f->spec->key[0]);
    buf_adds(out, " IS NULL THEN IF(");
    is_gone(out, f, "s.");
    buf_adds(out, ", 3, 1)");
    if (set.n) {
        buf_adds(out, " WHEN ");
        may_update(out, f);
        buf_adds(out, " THEN IF(");
        is_gone(out, f, "s.");
        buf_adds(out, ", 3, 2)");
    }
    buf_adds(out, " ELSE 0 END AS qetl_action FROM ");
    one_a_key(out, f);
    buf_addf(out, " s LEFT JOIN %s t ON ", f->t->name.p);
    same_key(out, f, " = s.");
    buf_adds(out, " WHERE s.qetl_place = 1 ORDER BY ");
    key_of(out, f, "s.");
    buf_adds(out, " FOR UPDATE"); /* nobody changes them until they are written */
    out = step(f->t->merge, "merge the rows");
    buf_addf(out, "INSERT INTO %s (", f->t->name.p);
    columns(out, f, "");
    buf_adds(out, ") SELECT ");
    columns(out, f, "m.");
    buf_adds(out, " FROM " MERGE " m WHERE m.qetl_action > 0");
    on_duplicate(out, f, &set);
    buf_adds(&f->t->counts, "SELECT sum(qetl_action = 1), sum(qetl_action = 2), sum(qetl_action = 3) FROM " MERGE);
}

/* When its version says that a staged row begins: null, where that is no time. */
static void says(struct buf *out, const struct draft *f)
{
    int v = f->spec->version;
    enum type type = v >= 0 ? f->spec->columns->v[v].type : TYPE_TEXT;
    if (type == TYPE_TIMESTAMP || type == TYPE_DATE) {
        named(out, f, "CAST(IF(qetl_order > 0, ", v);
        buf_adds(out, ", NULL)");
    } else {
        buf_adds(out, "CAST(NULL");
    }
    buf_adds(out, " AS DATETIME(6))");
}

/* The columns, with the version as the newest one. */
static void newest(struct buf *out, const struct draft *f)
{
    for (int i = 0; i < f->spec->columns->n; i++) {
        buf_adds(out, i ? ", " : "");
        if (i == f->spec->version)
            buf_adds(out, HISTORY_NEWEST);
        named(out, f, "", i);
    }
}

/*
 * All staged rows of a key and the row that is current now, in the order of their versions: what stands before the current one
 * came too late; what is equal to the one before it is no change. The rest close each other's time, the first one that of the
 * current row; see history_since(). In place 0 is the current row, where it was seen with a newer version.
 */
static void versions_sql(struct buf *out, const struct draft *f)
{
    AUTO(buf_clear) struct buf key = { 0 }, order = { 0 }, all = { 0 };
    key_of(&key, f, "");
    columns(&all, f, "");
    if (f->spec->version >= 0) {
        named(&order, f, "", f->spec->version); /* nulls first */
        buf_adds(&order, ", ");
    }
    buf_adds(&order, "qetl_order");
    make_temporary(out, f, MERGE, COUNTER, true);
    buf_addf(out, "WITH qetl_rows AS (SELECT %s, qetl_order, CAST(NULL AS DATETIME(6)) AS qetl_began FROM ", all.p);
    if (f->spec->version >= 0) {
        buf_adds(out, STAGE);
    } else { /* without versions all would begin at the same time: the last one counts */
        one_a_key(out, f);
        buf_adds(out, " s WHERE s.qetl_place = 1");
    }
    buf_adds(out, " UNION ALL SELECT ");
    columns(out, f, "t.");
    buf_addf(out, ", 0, t." VALID_FROM " FROM " KEYS " k JOIN %s t ON ", f->t->name.p);
    same_key(out, f, " = k.");
    buf_addf(out, " WHERE t." IS_CURRENT "), qetl_marked AS (SELECT *, max(qetl_order = 0) OVER (PARTITION BY %s) AS qetl_has_current,"
                  " max(qetl_order = 0) OVER (PARTITION BY %s ORDER BY %s ROWS UNBOUNDED PRECEDING) AS qetl_later, max(qetl_began) OVER"
                  " (PARTITION BY %s) AS qetl_last FROM qetl_rows),",
             key.p, key.p, order.p, key.p);
    buf_adds(out, " qetl_kept AS (SELECT *, row_number() OVER w = 1 OR NOT (TRUE");
    for (int i = 0; i < f->spec->columns->n; i++) {
        if (!tells_change(f, i))
            continue;
        buf_adds(out, " AND lag(");
        exact(out, f, "", i);
        buf_adds(out, ") OVER w <=> ");
        exact(out, f, "", i);
    }
    buf_adds(out, ") AS qetl_new");
    if (f->spec->version >= 0) {
        named(out, f, ", lag(", f->spec->version);
        named(out, f, ") OVER w AS qetl_before, last_value(", f->spec->version);
        buf_addf(out, ") OVER (PARTITION BY %s ORDER BY %s ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS qetl_newest", key.p, order.p);
    }
    buf_addf(out, " FROM qetl_marked WHERE qetl_later OR NOT qetl_has_current WINDOW w AS (PARTITION BY %s ORDER BY %s)),"
                  " qetl_begun AS (SELECT *, ", key.p, order.p);
    says(out, f);
    buf_adds(out, " AS qetl_says FROM qetl_kept WHERE (qetl_order > 0 AND qetl_new)");
    if (f->spec->version >= 0) {
        buf_adds(out, " OR (qetl_order = 0 AND NOT (qetl_newest <=> ");
        named(out, f, "", f->spec->version);
        buf_adds(out, "))");
    }
    buf_adds(out, "), ");
    history_since(out, f->spec->missing == MISSING_DELETE ? f->t->name.p : NULL, key.p, "CAST(:now AS DATETIME(6))", "least", "greatest");
    buf_adds(out, " SELECT ");
    newest(out, f);
    buf_addf(out, ", qetl_has_current, qetl_since, lead(qetl_since) OVER w AS qetl_until, CAST(row_number() OVER w AS SIGNED) - max(qetl_order = 0) OVER"
                  " (PARTITION BY %s) AS qetl_place FROM qetl_history WINDOW w AS (PARTITION BY %s ORDER BY ", key.p, key.p);
    if (f->spec->version >= 0) { /* else it would be that of this SELECT */
        named(out, f, "qetl_history.", f->spec->version);
        buf_adds(out, ", ");
    }
    buf_adds(out, "qetl_order)");
    out->failed |= key.failed || order.failed || all.failed;
}

static void history_sql(const struct draft *f)
{
    struct buf *out = step(f->t->merge, "look at the keys");
    make_temporary(out, f, KEYS, COUNTER, true);
    buf_adds(out, "SELECT DISTINCT ");
    key_of(out, f, "");
    buf_adds(out, " FROM " STAGE);
    versions_sql(step(f->t->merge, "compare with the history"), f);
    if (f->spec->version >= 0) {
        out = step(f->t->merge, "note newer versions");
        buf_addf(out, "UPDATE %s t JOIN " MERGE " m ON ", f->t->name.p);
        same_key(out, f, " = m.");
        named(out, f, " SET t.", f->spec->version);
        named(out, f, " = m.", f->spec->version);
        buf_adds(out, " WHERE m.qetl_place = 0 AND t." IS_CURRENT);
    }
    out = step(f->t->merge, "end what changed");
    buf_addf(out, "UPDATE %s t JOIN " MERGE " m ON ", f->t->name.p);
    same_key(out, f, " = m.");
    buf_adds(out, " SET t." VALID_TO " = m.qetl_since, t." IS_CURRENT " = FALSE WHERE m.qetl_place = 1 AND t." IS_CURRENT);
    out = step(f->t->merge, "insert");
    buf_addf(out, "INSERT INTO %s (", f->t->name.p);
    columns(out, f, "");
    buf_adds(out, ", " VALID_FROM ", " VALID_TO ", " IS_CURRENT ") SELECT ");
    columns(out, f, "");
    buf_adds(out, ", qetl_since, qetl_until, qetl_until IS NULL FROM " MERGE " WHERE qetl_place > 0 ORDER BY ");
    key_of(out, f, "");
    buf_adds(out, ", qetl_place");
    out = &f->t->counts;
    buf_adds(out, "SELECT sum(fresh AND NOT gone), sum(NOT fresh AND NOT gone), sum(gone) FROM (SELECT qetl_place = 1 AND NOT"
                  " qetl_has_current AS fresh, ");
    is_gone(out, f, "");
    buf_adds(out, " AS gone FROM " MERGE " WHERE qetl_place > 0) c");
}

/* The rows as they are, and of an upsert their keys, also of those that it leaves as they are: they are its own by then. */
static void keep_sql(const struct draft *f)
{
    static const char into[] = "INSERT INTO qetl_undo_row (uid, table_name, ";
    const struct table_spec *s = f->spec;
    struct buf *out = &f->t->keep;
    if (s->mode == MODE_REPLACE) {
        buf_addf(out, "%srow_before) SELECT :job, :name, :row FROM %s t FOR UPDATE", into, f->t->name.p);
        return;
    }
    buf_addf(out, "%srow_key, row_before) SELECT :job, :name, IF(t.", into);
    named(out, f, "", s->key[0]);
    named(out, f, " IS NULL, :staged_key, :key), IF(t.", s->key[0]);
    buf_addf(out, " IS NULL, NULL, :row) FROM " MERGE " m LEFT JOIN %s t ON ", f->t->name.p);
    same_key(out, f, " = m.");
    buf_adds(out, " FOR UPDATE");
    if (s->missing != MISSING_DELETE)
        return;
    out = &f->t->keep_missing;
    buf_addf(out, "%srow_key, row_before) SELECT :job, :name, :key, :row FROM " GONE " m JOIN %s t ON ", into, f->t->name.p);
    same_key(out, f, " = m.");
}

/* The keys of rows that go: those that others put in meanwhile are not kept, and stay. */
static void gone_sql(const struct draft *f)
{
    const struct table_spec *s = f->spec;
    struct buf *out = step(f->t->compare, "make a temporary table");
    make_temporary(out, f, GONE, COUNTER, false);
    buf_adds(out, "SELECT ");
    key_of(out, f, "");
    buf_addf(out, " FROM %s LIMIT 0", f->t->name.p);
    out = step(f->t->compare, "look for what is missing");
    buf_adds(out, "INSERT INTO " GONE " (");
    key_of(out, f, "");
    buf_adds(out, ") SELECT ");
    key_of(out, f, "t.");
    buf_addf(out, " FROM %s t LEFT JOIN " MERGE " m ON ", f->t->name.p);
    same_key(out, f, " = m.");
    named(out, f, " WHERE m.", s->key[0]);
    buf_adds(out, " IS NULL");
    if (s->deleted >= 0) { /* what is marked already stays as it is */
        named(out, f, " AND t.", s->deleted);
        buf_adds(out, " IS NOT TRUE");
    }
    buf_adds(out, " FOR UPDATE");
}

static void missing_sql(const struct draft *f)
{
    struct buf *out = &f->t->missing;
    const struct table_spec *s = f->spec;
    bool history = s->mode == MODE_HISTORY, marks = history || s->deleted >= 0, known = undo_keeps_rows(s);
    buf_addf(out, "%s%s t %sJOIN %s m ON ", marks ? "UPDATE " : "DELETE t FROM ", f->t->name.p, known ? "" : "LEFT ",
             known ? GONE : history ? KEYS : MERGE);
    same_key(out, f, " = m.");
    if (history) {
        buf_adds(out, " SET t." VALID_TO " = greatest(CAST(:now AS DATETIME(6)), t." VALID_FROM "), t." IS_CURRENT " = FALSE WHERE t." IS_CURRENT " AND");
    } else if (marks) {
        named(out, f, " SET t.", s->deleted);
        named(out, f, " = TRUE WHERE t.", s->deleted);
        buf_adds(out, " IS NOT TRUE AND");
    } else {
        buf_adds(out, " WHERE");
    }
    named(out, f, " m.", s->key[0]);
    buf_adds(out, known ? " IS NOT NULL" : " IS NULL");
}

static void stage_sql(const struct draft *f)
{
    struct buf *out = step(f->t->before, "drop the temporary tables");
    buf_adds(out, "DROP TEMPORARY TABLE IF EXISTS " STAGE ", " KEYS ", " MERGE ", " GONE);
    out = step(f->t->before, "make a temporary table");
    make_temporary(out, f, STAGE, "qetl_order", false);
    buf_adds(out, "SELECT ");
    columns(out, f, "");
    buf_addf(out, " FROM %s LIMIT 0", f->t->name.p);
}

static bool step_failed(const struct my_step *steps)
{
    for (int i = 0; i < MY_STEPS; i++)
        if (steps[i].sql.failed)
            return true;
    return false;
}

static int write_texts(const struct draft *f, struct err *err)
{
    struct my_table *t = f->t;
    buf_addf(&t->load, "LOAD DATA LOCAL INFILE 'qetl' INTO TABLE %s CHARACTER SET utf8mb4 (", t->staged ? STAGE : t->name.p);
    columns(&t->load, f, "");
    buf_addc(&t->load, ')');
    if (t->staged)
        stage_sql(f);
    t->direct = is_direct(f->spec);
    if (t->mode == MODE_HISTORY)
        history_sql(f);
    else if (t->direct)
        direct_sql(f);
    else if (t->staged)
        upsert_sql(f);
    if (f->spec->missing == MISSING_DELETE)
        missing_sql(f);
    if (undo_keeps_rows(f->spec))
        keep_sql(f);
    if (t->keep_missing.n)
        gone_sql(f);
    return t->load.failed || step_failed(t->before) || step_failed(t->compare) || step_failed(t->merge) || t->counts.failed ||
                   t->missing.failed || t->keep.failed || t->keep_missing.failed
               ? err_nomem(err)
               : 0;
}

/* ---- columns that are to be added ---- */

static void added_type_of(struct buf *out, const struct table_spec *spec, int column) { mysql_type(out, &spec->columns->v[column], false); }

static int add_column(const struct draft *f, int i, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "ALTER TABLE %s ADD COLUMN ", f->t->name.p);
    my_name(&sql, f->spec->columns->v[i].name);
    buf_addc(&sql, ' ');
    added_type_of(&sql, f->spec, i);
    buf_adds(&sql, " NULL");
    if (sql.failed)
        return err_nomem(err);
    schema_diff_add(f->diff, f->spec, i, sql.p, added_type_of);
    if (f->diff || my_run(f->my, sql.p, "add a column", err) == 0 || err_class(err->code) != ERR_TRANSIENT)
        return 0; /* also when another loader was first */
    return err_in(err, "table '%s'", f->spec->name);
}

/* To a table that is described. */
static int add_columns(const struct draft *f, struct err *err)
{
    for (int i = 0; i < f->spec->columns->n; i++)
        if (f->spec->columns->v[i].added && place_of(&f->d, f->spec->columns->v[i].name) < 0 && add_column(f, i, err) < 0)
            return -1;
    return 0;
}

/* A column without a place, in a rehearsal. */
static int refuse_unplaced(const struct draft *f, struct err *err)
{
    for (int i = 0; i < f->spec->columns->n; i++)
        if (f->at[i] < 0)
            return err_set(err, ERR_TARGET, "table '%s' would get the column '%s', which this server cannot take back", f->spec->name,
                           f->spec->columns->v[i].name);
    return 0;
}

static bool key_is_placed(const struct draft *f)
{
    for (int k = 0; k < f->spec->nkey; k++)
        if (f->at[f->spec->key[k]] < 0)
            return false;
    return true;
}

static int draft_table(struct my_tables *tables, struct draft *f, struct err *err)
{
    struct my_table *t = f->t;
    server_table_name(&t->name, f->spec->name, my_name);
    if (t->name.failed)
        return err_nomem(err);
    t->mode = f->spec->mode;
    t->staged = mode_has_key(t->mode);
    int found = find_table(f, err);
    if (found < 0 || (found == 0 && make_table(tables, f, err) < 0) || describe(f, err) < 0 ||
        (f->diff && add_columns(f, err) < 0) || match_columns(f, err) < 0 ||
        (t->staged && t->mode != MODE_HISTORY && key_is_placed(f) && check_indexes(f, err) < 0) || refuse_unplaced(f, err) < 0)
        return -1;
    return write_texts(f, err);
}

static bool wants_columns(const struct table_spec *spec)
{
    for (int i = 0; i < spec->columns->n; i++)
        if (spec->columns->v[i].added)
            return true;
    return false;
}

int my_table_add_columns(MYSQL *my, const struct table_spec *spec, struct err *err)
{
    struct my_table t = { 0 };
    struct draft f = { .my = my, .spec = spec, .t = &t };
    if (!wants_columns(spec))
        return 0;
    server_table_name(&t.name, spec->name, my_name);
    int rc = t.name.failed ? err_nomem(err) : describe(&f, err);
    if (rc == 0 && f.d.n)
        rc = add_columns(&f, err);
    free(f.d.v);
    mysql_free_result(f.d.result);
    buf_clear(&t.name);
    return rc;
}

/* ---- tables by what outputs say ---- */

struct looking {
    MYSQL *my;
    struct my_tables *tables;
};

static int look(void *arg, void *table, const struct table_spec *spec, struct err *err)
{
    struct looking *l = arg;
    struct draft f = { .my = l->my, .spec = spec, .t = table, .at = calloc((size_t)spec->columns->n, sizeof(int)),
                       .diff = l->tables->diff };
    int rc = !f.at ? err_nomem(err) : mysql_names_fit(spec, err) < 0 ? -1 : draft_table(l->tables, &f, err);
    free(f.at);
    free(f.d.v);
    mysql_free_result(f.d.result);
    return rc;
}

struct my_table *my_table_get(struct my_tables *tables, MYSQL *my, const struct table_spec *spec, struct err *err)
{
    struct looking l = { my, tables };
    tables->known.bytes = sizeof(struct my_table);
    tables->known.clear = table_clear;
    return server_table(&tables->known, spec, look, &l, err);
}
