/* Tables of PostgreSQL; see the header. */
#include "target/postgres_table.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/db.h"
#include "target/coarse.h"
#include "target/lacking.h"
#include "target/postgres.h"
#include "target/staged.h"

/* Types by number, src/include/catalog/pg_type.dat: those that take the binary form which is staged for a column, and others. */
enum oid { OID_BOOL = 16, OID_CHAR = 18, OID_NAME = 19, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_JSON = 114, OID_XML = 142,
           OID_FLOAT4 = 700, OID_FLOAT8 = 701, OID_MONEY = 790, OID_BPCHAR = 1042, OID_VARCHAR = 1043, OID_DATE = 1082, OID_TIME = 1083,
           OID_TIMESTAMP = 1114, OID_TIMESTAMPTZ = 1184, OID_TIMETZ = 1266, OID_BIT = 1560, OID_NUMERIC = 1700, OID_JSONB = 3802 };
static const enum oid same_form[TYPES][4] = {
    [TYPE_TEXT] = { OID_TEXT, OID_VARCHAR, OID_BPCHAR }, [TYPE_INTEGER] = { OID_INT8 },
    [TYPE_DECIMAL] = { OID_NUMERIC },                    [TYPE_REAL] = { OID_FLOAT8 },
    [TYPE_BOOLEAN] = { OID_BOOL },                       [TYPE_DATE] = { OID_DATE },
    [TYPE_TIMESTAMP] = { OID_TIMESTAMPTZ, OID_TIMESTAMP /* UTC, as everywhere in qetl */ },
    [TYPE_JSON] = { OID_JSONB },
};

/* What the server says of one column of the table. */
struct found {
    char *name, *type; /* owned by the result */
    char *cast;        /* the type below all domains without its length: a cast to varchar(4), or to a domain over it, would cut; an
                          assignment refuses */
    char *collate;     /* " COLLATE ...": the column's collation where that is not the type's; or "" */
    int64_t oid;
    int64_t base, typmod; /* the type below all domains */
    char category;        /* of that type: pg_type.typcategory */
    bool not_null, has_default, always_identity, generated;
};
struct description {
    PGresult *result; /* owns the texts */
    struct found *v;
    int n;
    const char *schema, *table; /* as the server has them; known when there is a column */
    bool partitioned;
};

static void description_clear(struct description *d)
{
    PQclear(d->result);
    free(d->v);
}

/* While the texts of one table are written. */
struct draft {
    PGconn *pg;
    const struct table_spec *spec;
    struct pg_table *t;
    struct description *d;
    int *at;         /* of each staged column: its place in d->v */
    char stage[40];  /* name of the temporary table */
    struct schema_diff *diff;
};

static const char *column_name(const struct draft *f, int i) { return f->d->v[f->at[i]].name; }

static void table_clear(void *table)
{
    struct pg_table *t = table;
    buf_clear(&t->name);
    buf_clear(&t->noted);
    buf_clear(&t->rows);
    buf_clear(&t->copy);
    buf_clear(&t->make_stage);
    buf_clear(&t->empty_stage);
    buf_clear(&t->before);
    buf_clear(&t->merge);
    buf_clear(&t->add_unique);
    buf_clear(&t->missing);
    buf_clear(&t->undo_before);
    buf_clear(&t->undo_after);
    for (int k = 0; k < t->nkey; k++)
        free(t->key_names[k]);
    free(t->key_names);
}

void pg_tables_forget(struct pg_tables *tables) { server_tables_forget(&tables->known); }

static void key_list(struct buf *out, const struct table_spec *spec)
{
    for (int k = 0; k < spec->nkey; k++) {
        buf_adds(out, k ? ", " : "");
        db_quote(out, spec->columns->v[spec->key[k]].name);
    }
}

/* ---- a table that is not there is made ---- */

static void type_of(struct buf *out, const struct table_spec *spec, int column) { postgres_type(out, &spec->columns->v[column]); }

static bool is_state(const PGresult *r, const char *state)
{
    const char *is = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    return is && !strcmp(is, state);
}

/* Somebody who does not take our lock made it meanwhile: unique_violation of a catalog, duplicate_table. */
static bool is_there_now(const PGresult *r) { return is_state(r, "23505") || is_state(r, "42P07"); }

/* invalid_schema_name: qetl makes tables, and schemas are for people to make, with their rights. */
static int refuse_schema(const struct table_spec *spec, const PGresult *r, struct err *err)
{
    AUTO(buf_clear) struct buf schema = { 0 };
    AUTO(free_charp) char *name = strndup(spec->name, strcspn(spec->name, "."));
    if (name)
        db_quote(&schema, name);
    if (!name || schema.failed)
        return err_nomem(err);
    return err_set(err, ERR_TARGET_REFUSED, "table '%s': %s; run: CREATE SCHEMA %s", spec->name, PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
                   schema.p);
}

static int make_table(const struct draft *f, struct err *err)
{
    const struct table_spec *spec = f->spec;
    const char *name = f->t->name.p;
    AUTO(buf_clear) struct buf sql = { 0 };
    bool history = spec->mode == MODE_HISTORY;
    buf_addf(&sql, "CREATE TABLE %s (", name);
    for (int i = 0; i < spec->columns->n; i++) {
        buf_adds(&sql, i ? ", " : "");
        db_quote(&sql, spec->columns->v[i].name);
        buf_addc(&sql, ' ');
        postgres_type(&sql, &spec->columns->v[i]);
        buf_adds(&sql, column_not_null(spec, i) ? " NOT NULL" : "");
    }
    if (history)
        buf_adds(&sql, ", " VALID_FROM " timestamp with time zone NOT NULL, " VALID_TO " timestamp with time zone, " IS_CURRENT
                       " boolean NOT NULL");
    if (spec->nkey && !history) {
        buf_adds(&sql, ", PRIMARY KEY (");
        key_list(&sql, spec);
        buf_addc(&sql, ')');
    }
    buf_addc(&sql, ')');
    if (history) {
        buf_addf(&sql, "; CREATE UNIQUE INDEX ON %s (", name);
        key_list(&sql, spec);
        buf_adds(&sql, ") WHERE " IS_CURRENT);
    }
    if (sql.failed)
        return err_nomem(err);
    schema_diff_make(f->diff, spec, sql.p, type_of);
    AUTO(result_clearp) PGresult *r = PQexec(f->pg, sql.p);
    if (PQresultStatus(r) == PGRES_COMMAND_OK)
        return 0;
    (void)pg_error(f->pg, r, "make the table", err);
    if (is_there_now(r))
        err->code = ERR_TARGET; /* the next try finds it */
    return is_state(r, "3F000") ? refuse_schema(spec, r, err) : err_in(err, "table '%s'", spec->name);
}

/* ---- a table that is there is looked at ---- */

static int find_table(PGconn *pg, const struct table_spec *spec, const char *name, bool *found, struct description *d, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "SELECT relkind FROM pg_class WHERE oid = to_regclass(");
    pg_literal(&sql, pg, name);
    buf_adds(&sql, ")");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = pg_exec(pg, sql.p, "look for the table", err);
    if (!r)
        return err_in(err, "table '%s'", spec->name);
    *found = PQntuples(r) > 0;
    if (!*found)
        return 0;
    char kind = PQgetvalue(r, 0, 0)[0];
    if (!strchr("rpf", kind))
        return err_set(err, ERR_TARGET_REFUSED, "'%s' is %s, and rows go into tables", spec->name,
                       kind == 'v' ? "a view" : kind == 'm' ? "a materialized view" : "no table");
    d->partitioned = kind == 'p';
    return 0;
}

/*
 * Of loaders that miss the same table one makes it, and the others wait for its commit: IF NOT EXISTS does not stand two at once. Each
 * table has a lock of its own, by its name without the schema, for that may be told or not. Two loaders that each make what the other
 * one wants next are a deadlock, which the server finds: one of them tries again, and then finds the tables.
 */
static int lock_making(const struct draft *f, struct err *err)
{
    const char *dot = strchr(f->spec->name, '.');
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "SELECT pg_advisory_xact_lock(hashtextextended('qetl makes ' || ");
    pg_literal(&sql, f->pg, dot ? dot + 1 : f->spec->name);
    buf_adds(&sql, ", 0))");
    if (sql.failed)
        return err_nomem(err);
    return pg_run(f->pg, sql.p, "wait for who makes the table", err) < 0 ? err_in(err, "table '%s'", f->spec->name) : 0;
}

static int find_or_make(const struct draft *f, struct err *err)
{
    bool found;
    if (find_table(f->pg, f->spec, f->t->name.p, &found, f->d, err) < 0)
        return -1;
    if (found)
        return 0;
    if (lock_making(f, err) < 0 || find_table(f->pg, f->spec, f->t->name.p, &found, f->d, err) < 0)
        return -1;
    return found ? 0 : make_table(f, err);
}

static int describe(PGconn *pg, const char *name, struct description *d, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "WITH RECURSIVE a AS (SELECT * FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid = to_regclass(");
    pg_literal(&sql, pg, name);
    buf_adds(&sql, ")), base(n, type, typmod) AS (SELECT attnum, atttypid, atttypmod FROM a UNION ALL SELECT n, typbasetype, typtypmod"
                   " FROM base JOIN pg_type t ON t.oid = type AND typtype = 'd') SELECT attname, format_type(atttypid, atttypmod),"
                   " atttypid::bigint, typmod, attnotnull, atthasdef, attidentity = 'a', attgenerated <> '', attidentity <> '',"
                   " format_type(t.oid, -1), t.oid::bigint, typcategory, nspname, relname, (SELECT format(' COLLATE %I.%I', o.nspname, collname)"
                   " FROM pg_collation l JOIN pg_namespace o ON o.oid = collnamespace WHERE l.oid = attcollation AND l.oid <> typcollation)"
                   " FROM a JOIN pg_class c ON c.oid = attrelid"
                   " JOIN pg_namespace s ON s.oid = relnamespace JOIN base ON n = attnum JOIN pg_type t ON t.oid = type"
                   " AND typtype <> 'd' ORDER BY attnum");
    if (sql.failed)
        return err_nomem(err);
    PGresult *r = pg_exec(pg, sql.p, "look at the table", err);
    if (!r)
        return -1;
    d->result = r;
    d->n = PQntuples(r);
    if (!(d->v = calloc((size_t)d->n + 1, sizeof *d->v)))
        return err_nomem(err);
    d->schema = d->n ? PQgetvalue(r, 0, 12) : "";
    d->table = d->n ? PQgetvalue(r, 0, 13) : "";
    for (int i = 0; i < d->n; i++) {
        struct found *f = &d->v[i];
        f->name = PQgetvalue(r, i, 0);
        f->type = PQgetvalue(r, i, 1);
        f->cast = PQgetvalue(r, i, 9);
        f->oid = atoll(PQgetvalue(r, i, 2));
        f->typmod = atoll(PQgetvalue(r, i, 3));
        f->base = atoll(PQgetvalue(r, i, 10));
        f->category = *PQgetvalue(r, i, 11);
        f->collate = PQgetvalue(r, i, 14);
        f->not_null = *PQgetvalue(r, i, 4) == 't';
        f->has_default = *PQgetvalue(r, i, 5) == 't' || *PQgetvalue(r, i, 8) == 't';
        f->always_identity = *PQgetvalue(r, i, 6) == 't';
        f->generated = *PQgetvalue(r, i, 7) == 't';
    }
    return 0;
}

/* The place of a staged column in the table: the same name, else the only one that is the same without regard to case. */
static int place_of(const struct description *d, const char *name)
{
    int found = -1, n = 0;
    for (int i = 0; i < d->n; i++) {
        if (!strcmp(d->v[i].name, name))
            return i;
        if (!strcasecmp(d->v[i].name, name)) {
            found = i;
            n++;
        }
    }
    return n == 1 ? found : -1;
}

static int refuse_column(const struct draft *f, const struct column *c, const struct found *found, const char *why, struct err *err)
{
    return err_set(err, ERR_TARGET_REFUSED, "column '%s' of table '%s' (%s) %s", c->name, f->spec->name, found->type, why);
}

/* Of numeric(p,s): https://www.postgresql.org/docs/15/datatype-numeric.html */
static int numeric_scale(int64_t typmod) { return typmod < 4 ? DIGITS_ALL : (int)(((typmod - 4) & 0x7ff) ^ 1024) - 1024; }
static int numeric_precision(int64_t typmod) { return (int)((typmod - 4) >> 16 & 0xffff); }

/* What a column keeps of what is assigned to it. */
static struct kept kept_of(const struct found *found)
{
    enum { MONEY_DIGITS = 2 };
    int digits = found->typmod < 0 ? SECOND_DIGITS : (int)found->typmod;
    switch (found->base) {
    case OID_CHAR: case OID_NAME:
        return (struct kept){ .keeps = KEEPS_STARTS };
    case OID_INT2: case OID_INT4: case OID_INT8:
        return (struct kept){ KEEPS_NUMBERS, 0 };
    case OID_NUMERIC:
        return (struct kept){ KEEPS_NUMBERS, numeric_scale(found->typmod) };
    case OID_MONEY:
        return (struct kept){ KEEPS_NUMBERS, MONEY_DIGITS };
    case OID_BIT: /* of an integer the server takes the last one */
        return (struct kept){ .keeps = KEEPS_BITS };
    case OID_FLOAT4:
        return (struct kept){ .keeps = KEEPS_FLOATS };
    case OID_FLOAT8:
        return (struct kept){ .keeps = KEEPS_DOUBLES };
    case OID_DATE:
        return (struct kept){ .keeps = KEEPS_DATES };
    case OID_TIME: case OID_TIMETZ:
        return (struct kept){ .keeps = KEEPS_TIMES };
    case OID_TIMESTAMP: case OID_TIMESTAMPTZ:
        return (struct kept){ KEEPS_TIMESTAMPS, digits };
    default:
        return (struct kept){ .keeps = found->category == 'S' ? KEEPS_TEXT : KEEPS_ANY };
    }
}

/* Before the point a number keeps as many digits as it has. */
static void alter(struct buf *out, const void *arg, const struct column *as)
{
    enum { INTEGER_DIGITS = 19 };
    const struct found *found = arg;
    int digits = found->base == OID_NUMERIC && found->typmod >= 4 ? numeric_precision(found->typmod) - numeric_scale(found->typmod) : INTEGER_DIGITS;
    buf_adds(out, "ALTER COLUMN ");
    db_quote(out, found->name);
    buf_adds(out, " TYPE ");
    if (as->type == TYPE_DECIMAL)
        buf_addf(out, "numeric(%d,%d)", (digits > 0 ? digits : 0) + as->scale, as->scale);
    else if (as->type == TYPE_TIMESTAMP && found->base == OID_TIMESTAMP)
        buf_adds(out, "timestamp without time zone");
    else
        postgres_type(out, as);
    if (found->category != 'S' && found->base != OID_BIT)
        return;
    buf_adds(out, " USING ");
    db_quote(out, found->name);
    buf_adds(out, "::");
    if (found->base == OID_BIT) /* there is a cast to no other */
        buf_adds(out, "bigint");
    else
        postgres_type(out, as);
}

/* Are the values kept as they are? valid_from and valid_to, too, where the table has them. */
static int match_values(const struct draft *f, struct err *err)
{
    static const char *const moments[] = { VALID_FROM, VALID_TO };
    AUTO(coarse_clear) struct coarse t = { .table = f->spec->name, .quoted = f->t->name.p, .alter = alter };
    for (int i = 0; i < f->spec->columns->n; i++) {
        const struct found *found = &f->d->v[f->at[i]];
        coarse_look(&t, &f->spec->columns->v[i], coarse_use_of(f->spec, i),
                    &(struct coarse_column){ found->type, kept_of(found), found });
    }
    for (size_t m = 0; f->spec->mode == MODE_HISTORY && m < COUNT_OF(moments); m++) {
        int place = place_of(f->d, moments[m]);
        if (place >= 0)
            coarse_look_moment(&t, f->d->v[place].name, &(struct coarse_column){ f->d->v[place].type, kept_of(&f->d->v[place]), &f->d->v[place] });
    }
    return coarse_refuse(&t, err);
}

static void declare(struct buf *out, const struct column *c)
{
    db_quote(out, c->name);
    buf_addc(out, ' ');
    postgres_type(out, c);
}

static bool lacks(const void *arg, int i) { return ((const struct draft *)arg)->at[i] < 0; }

/* The place of each column, by its name. */
static int match_names(const struct draft *f, struct err *err)
{
    const struct lacking l = { .table = f->spec->name, .quoted = f->t->name.p, .declare = declare, .one_alter = true };
    for (int i = 0; i < f->spec->columns->n; i++)
        f->at[i] = place_of(f->d, f->spec->columns->v[i].name);
    return lacking_refuse(&l, f->spec->columns, lacks, f, err);
}

static int match_column(const struct draft *f, int i, struct err *err)
{
    const struct column *c = &f->spec->columns->v[i];
    const struct found *found = &f->d->v[f->at[i]];
    if (found->generated)
        return refuse_column(f, c, found, "is generated; take it out of columns=", err);
    if (found->always_identity)
        return refuse_column(f, c, found, "is GENERATED ALWAYS AS IDENTITY; take it out of columns=", err);
    return 0;
}

static bool is_history_column(const char *name)
{
    return !strcmp(name, VALID_FROM) || !strcmp(name, VALID_TO) || !strcmp(name, IS_CURRENT);
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
    for (int k = 0; k < f->d->n; k++) {
        const struct found *found = &f->d->v[k];
        bool given = found->has_default || found->generated || (history && is_history_column(found->name));
        for (int i = 0; i < f->spec->columns->n && !given; i++)
            given = f->at[i] == k;
        if (found->not_null && !given)
            return err_set(err, ERR_TARGET_REFUSED,
                           "column '%s' of table '%s' is NOT NULL without a default, and the rows do not have it; run: ALTER TABLE %s"
                           " ALTER COLUMN \"%s\" DROP NOT NULL", found->name, f->spec->name, f->t->name.p, found->name);
    }
    if (history && (place_of(f->d, VALID_FROM) < 0 || place_of(f->d, VALID_TO) < 0 || place_of(f->d, IS_CURRENT) < 0))
        return err_set(err, ERR_TARGET_REFUSED,
                       "table '%s' has no history; run: ALTER TABLE %s ADD COLUMN IF NOT EXISTS " VALID_FROM
                       " timestamp with time zone NOT NULL DEFAULT now(), ADD COLUMN IF NOT EXISTS " VALID_TO
                       " timestamp with time zone, ADD COLUMN IF NOT EXISTS " IS_CURRENT " boolean NOT NULL DEFAULT true",
                       f->spec->name, f->t->name.p);
    return 0;
}

static bool takes_staged_form(const struct draft *f)
{
    for (int i = 0; i < f->spec->columns->n; i++) {
        bool same = false;
        for (size_t k = 0; k < COUNT_OF(same_form[0]); k++)
            same |= (int64_t)same_form[f->spec->columns->v[i].type][k] == f->d->v[f->at[i]].oid;
        if (!same)
            return false;
    }
    return true;
}

/* ---- the SQL of a table ---- */

/* All columns with `before` in front of each: the table's names, or the stage's, which are the same. */
static void columns(struct buf *out, const struct draft *f, const char *before)
{
    for (int i = 0; i < f->spec->columns->n; i++) {
        buf_adds(out, i ? ", " : "");
        buf_adds(out, before);
        db_quote(out, column_name(f, i));
    }
}

/* A staged column as the table's type. */
static void cast_of(struct buf *out, const struct draft *f, const char *before, int i)
{
    buf_adds(out, before);
    db_quote(out, column_name(f, i));
    buf_addf(out, "::%s", f->d->v[f->at[i]].cast);
}

/* The same as the table compares it. */
static void collated(struct buf *out, const struct draft *f, const char *before, int i)
{
    cast_of(out, f, before, i);
    buf_adds(out, f->d->v[f->at[i]].collate);
}

static void casts(struct buf *out, const struct draft *f)
{
    for (int i = 0; i < f->spec->columns->n; i++) {
        buf_adds(out, i ? ", " : "");
        collated(out, f, "s.", i);
    }
}

static void key_of(struct buf *out, const struct draft *f, const char *before)
{
    for (int k = 0; k < f->spec->nkey; k++) {
        buf_adds(out, k ? ", " : "");
        buf_adds(out, before);
        db_quote(out, column_name(f, f->spec->key[k]));
    }
}

static void collated_key(struct buf *out, const struct draft *f)
{
    for (int k = 0; k < f->spec->nkey; k++) {
        buf_adds(out, k ? ", " : "");
        collated(out, f, "", f->spec->key[k]);
    }
}

/* The row of t has the key of the row of s. */
static void same_key(struct buf *out, const struct draft *f, const char *t, const char *s)
{
    for (int k = 0; k < f->spec->nkey; k++) {
        buf_addf(out, "%s%s", k ? " AND " : "", t);
        db_quote(out, column_name(f, f->spec->key[k]));
        buf_adds(out, " = ");
        collated(out, f, s, f->spec->key[k]);
    }
}

/* Columns that tell whether a row changed: not the key, nor (history) its version. */
static bool tells_change(const struct draft *f, int i)
{
    return !in_key(f->spec, i) && !(f->spec->mode == MODE_HISTORY && i == f->spec->version);
}

/* (t.a, t.b) as something that can be compared: of texts each change is one, also where the column's type or collation takes both for equal. */
static void comparable(struct buf *out, const struct draft *f, const char *before)
{
    bool any = false;
    buf_adds(out, "ROW(");
    for (int i = 0; i < f->spec->columns->n; i++) {
        if (!tells_change(f, i))
            continue;
        const struct found *found = &f->d->v[f->at[i]];
        buf_adds(out, any ? ", " : "");
        buf_adds(out, before);
        db_quote(out, found->name);
        if (f->spec->columns->v[i].type == TYPE_TEXT || found->base == OID_JSON || found->base == OID_XML)
            buf_adds(out, "::text COLLATE \"C\"");
        any = true;
    }
    buf_addc(out, ')');
}

/* One staged row of each key: the last (by version, then by order), or for insert_ignore the first. Which keys are one, and which version is
 * the later one, is the table's to say. */
static void one_a_key(struct buf *out, const struct draft *f)
{
    buf_adds(out, "(SELECT DISTINCT ON (");
    collated_key(out, f);
    buf_addf(out, ") * FROM %s ORDER BY ", f->stage);
    collated_key(out, f);
    if (f->spec->version >= 0) {
        buf_adds(out, ", ");
        collated(out, f, "", f->spec->version);
        buf_adds(out, " DESC NULLS LAST");
    }
    buf_addf(out, ", " STAGED_ORDER " %s)", f->spec->mode == MODE_INSERT_IGNORE ? "ASC" : "DESC");
}

static void named(struct buf *out, const struct draft *f, const char *before, int column)
{
    buf_adds(out, before);
    db_quote(out, column_name(f, column));
}

/* SET a = EXCLUDED.a, ...; false: there is no column but the key. */
static bool set_list(struct buf *out, const struct draft *f)
{
    const struct table_spec *s = f->spec;
    bool any = false;
    for (int i = 0; i < s->columns->n; i++) {
        if (in_key(s, i))
            continue;
        buf_adds(out, any ? ", " : "");
        named(out, f, "", i);
        if (s->deleted >= 0 && i != s->deleted && i != s->version) {
            named(out, f, " = CASE WHEN EXCLUDED.", s->deleted);
            named(out, f, " THEN t.", i);
            named(out, f, " ELSE EXCLUDED.", i);
            buf_adds(out, " END");
        } else {
            named(out, f, " = EXCLUDED.", i);
        }
        any = true;
    }
    return any;
}

static void update_condition(struct buf *out, const struct draft *f)
{
    const struct table_spec *s = f->spec;
    const char *word = " WHERE ";
    if (s->version >= 0) {
        named(out, f, " WHERE (t.", s->version);
        named(out, f, " IS NULL OR EXCLUDED.", s->version);
        named(out, f, " >= t.", s->version);
        buf_addc(out, ')');
        word = " AND ";
    }
    if (!s->only_if_changed)
        return;
    buf_adds(out, word);
    if (s->deleted >= 0) {
        named(out, f, "CASE WHEN EXCLUDED.", s->deleted);
        named(out, f, " THEN t.", s->deleted);
        buf_adds(out, " IS NOT TRUE");
        if (s->version >= 0) { /* a later delete of a deleted row is newer than what came between */
            named(out, f, " OR t.", s->version);
            named(out, f, " IS DISTINCT FROM EXCLUDED.", s->version);
        }
        buf_adds(out, " ELSE ");
    }
    comparable(out, f, "t.");
    buf_adds(out, " IS DISTINCT FROM ");
    comparable(out, f, "EXCLUDED.");
    buf_adds(out, s->deleted >= 0 ? " END" : "");
}

static void upsert_sql(const struct draft *f)
{
    struct buf *out = &f->t->merge;
    bool gone = f->spec->deleted >= 0, ignore = f->spec->mode == MODE_INSERT_IGNORE;
    AUTO(buf_clear) struct buf set = { 0 };
    bool any = set_list(&set, f) && !ignore;
    buf_addf(out, "WITH merged AS (INSERT INTO %s AS t (", f->t->name.p);
    columns(out, f, "");
    buf_adds(out, ") SELECT ");
    casts(out, f);
    buf_adds(out, " FROM ");
    one_a_key(out, f);
    buf_adds(out, " s ON CONFLICT (");
    key_of(out, f, "");
    buf_addf(out, ") DO %s%s", any ? "UPDATE SET " : "NOTHING", any ? set.p : "");
    if (any)
        update_condition(out, f);
    /* xmax is 0 in a row that is new, and the lock of this transaction in one that was there */
    buf_addf(out, " RETURNING %s AS fresh, ", !any ? "true" : f->d->partitioned ? "false" : "t.xmax = 0");
    if (gone)
        named(out, f, "t.", f->spec->deleted);
    buf_addf(out, "%s AS gone) SELECT count(*) FILTER (WHERE fresh AND NOT gone), count(*) FILTER (WHERE NOT fresh AND NOT gone),"
                  " count(*) FILTER (WHERE gone) FROM merged", gone ? " IS TRUE" : "false");
    out->failed |= set.failed;
    if (!f->d->partitioned || !any)
        return;
    /* a partitioned table does not show xmax: its new keys are counted before */
    out = &f->t->before;
    buf_adds(out, "SELECT count(*) FILTER (WHERE NOT gone) FROM (SELECT ");
    if (gone)
        named(out, f, "s.", f->spec->deleted);
    buf_adds(out, gone ? " IS TRUE AS gone FROM " : "false AS gone FROM ");
    one_a_key(out, f);
    buf_addf(out, " s WHERE NOT EXISTS (SELECT 1 FROM %s t WHERE ", f->t->rows.p);
    same_key(out, f, "t.", "s.");
    buf_adds(out, ")) fresh");
}

static void append_sql(const struct draft *f)
{
    struct buf *out = &f->t->merge;
    buf_addf(out, "WITH merged AS (INSERT INTO %s (", f->t->name.p);
    columns(out, f, "");
    buf_adds(out, ") SELECT ");
    casts(out, f);
    buf_addf(out, " FROM %s s ORDER BY " STAGED_ORDER " RETURNING 1) SELECT count(*), 0, 0 FROM merged", f->stage);
}

/* When its version says that a staged row begins: null, where that is no time. */
static void says(struct buf *out, const struct draft *f)
{
    int v = f->spec->version;
    enum type type = v >= 0 ? f->spec->columns->v[v].type : TYPE_TEXT;
    if (type == TYPE_TIMESTAMP || type == TYPE_DATE) {
        named(out, f, "(CASE WHEN " STAGED_ORDER " > 0 THEN ", v);
        buf_adds(out, " END)");
    } else {
        buf_adds(out, "NULL");
    }
    buf_adds(out, "::timestamp with time zone");
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
static void history_sql(const struct draft *f)
{
    struct buf *out = &f->t->merge;
    AUTO(buf_clear) struct buf key = { 0 }, order = { 0 }, all = { 0 };
    key_of(&key, f, "");
    columns(&all, f, "");
    if (f->spec->version >= 0) {
        named(&order, f, "", f->spec->version);
        buf_adds(&order, " NULLS FIRST, ");
    }
    buf_adds(&order, STAGED_ORDER);
    buf_addf(out, "DROP TABLE IF EXISTS %s_changed; CREATE TEMP TABLE %s_changed ON COMMIT DROP AS WITH qetl_rows AS (SELECT ", f->stage, f->stage);
    casts(out, f);
    buf_adds(out, ", " STAGED_ORDER ", NULL::timestamp with time zone AS qetl_began FROM ");
    if (f->spec->version >= 0)
        buf_adds(out, f->stage);
    else /* without versions all would begin at the same time: the last one counts */
        one_a_key(out, f);
    buf_adds(out, " s UNION ALL SELECT ");
    columns(out, f, "t.");
    buf_addf(out, ", 0, t." VALID_FROM " FROM %s t WHERE " IS_CURRENT " AND EXISTS (SELECT 1 FROM %s s WHERE ", f->t->rows.p, f->stage);
    same_key(out, f, "t.", "s.");
    buf_addf(out, ")), qetl_marked AS (SELECT *, bool_or(" STAGED_ORDER " = 0) OVER (PARTITION BY %s) AS qetl_has_current,"
                  " bool_or(" STAGED_ORDER " = 0) OVER (PARTITION BY %s ORDER BY %s ROWS UNBOUNDED PRECEDING) AS qetl_is_later,"
                  " max(qetl_began) OVER (PARTITION BY %s) AS qetl_last FROM qetl_rows),",
             key.p, key.p, order.p, key.p);
    buf_adds(out, " qetl_kept AS (SELECT *, lag(");
    comparable(out, f, "");
    buf_adds(out, ") OVER w AS qetl_was, row_number() OVER w AS qetl_nr");
    if (f->spec->version >= 0) {
        named(out, f, ", lag(", f->spec->version);
        named(out, f, ") OVER w AS qetl_before, last_value(", f->spec->version);
        buf_addf(out, ") OVER (PARTITION BY %s ORDER BY %s ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS qetl_newest", key.p, order.p);
    }
    buf_addf(out, " FROM qetl_marked WHERE qetl_is_later OR NOT qetl_has_current WINDOW w AS (PARTITION BY %s ORDER BY %s)), qetl_begun AS (SELECT *, ",
             key.p, order.p);
    says(out, f);
    buf_adds(out, " AS qetl_says FROM qetl_kept WHERE (" STAGED_ORDER " > 0 AND (qetl_nr = 1 OR ");
    comparable(out, f, "");
    buf_adds(out, " IS DISTINCT FROM qetl_was))");
    if (f->spec->version >= 0) {
        named(out, f, " OR (" STAGED_ORDER " = 0 AND qetl_newest IS DISTINCT FROM ", f->spec->version);
        buf_addc(out, ')');
    }
    buf_adds(out, "), ");
    history_since(out, f->spec->missing == MISSING_DELETE ? f->t->rows.p : NULL, key.p, ":now", "least", "greatest");
    buf_adds(out, " SELECT ");
    newest(out, f);
    buf_addf(out, ", qetl_since, lead(qetl_since) OVER w AS qetl_until, row_number() OVER w - (bool_or(" STAGED_ORDER " = 0) OVER"
                  " (PARTITION BY %s))::int AS qetl_place, qetl_has_current FROM qetl_history WINDOW w AS (PARTITION BY %s ORDER BY %s);",
             key.p, key.p, order.p);
    if (f->spec->version >= 0) {
        buf_addf(out, "UPDATE %s t SET ", f->t->rows.p);
        named(out, f, "", f->spec->version);
        named(out, f, " = s.", f->spec->version);
        buf_addf(out, " FROM %s_changed s WHERE s.qetl_place = 0 AND t." IS_CURRENT, f->stage);
        named(out, f, " AND t.", f->spec->version);
        named(out, f, " IS DISTINCT FROM s.", f->spec->version);
        buf_adds(out, " AND ");
        same_key(out, f, "t.", "s.");
        buf_addc(out, ';');
    }
    buf_addf(out, "UPDATE %s t SET " VALID_TO " = s.qetl_since, " IS_CURRENT " = false FROM %s_changed s WHERE s.qetl_place = 1"
                  " AND t." IS_CURRENT " AND ", f->t->rows.p, f->stage);
    same_key(out, f, "t.", "s.");
    buf_addf(out, ";INSERT INTO %s (%s, " VALID_FROM ", " VALID_TO ", " IS_CURRENT ") SELECT %s, qetl_since, qetl_until, qetl_until"
                  " IS NULL FROM %s_changed WHERE qetl_place > 0;",
             f->t->name.p, all.p, all.p, f->stage);
    buf_adds(out, "WITH counted AS (SELECT qetl_place = 1 AND NOT qetl_has_current AS fresh, ");
    if (f->spec->deleted >= 0)
        named(out, f, "", f->spec->deleted);
    buf_addf(out, "%s AS gone FROM %s_changed WHERE qetl_place > 0) SELECT count(*) FILTER (WHERE fresh AND NOT gone),"
                  " count(*) FILTER (WHERE NOT fresh AND NOT gone), count(*) FILTER (WHERE gone) FROM counted",
             f->spec->deleted >= 0 ? " IS TRUE" : "false", f->stage);
    out->failed |= key.failed || order.failed || all.failed;
}

static void missing_sql(const struct draft *f)
{
    struct buf *out = &f->t->missing;
    const struct table_spec *s = f->spec;
    if (s->mode == MODE_HISTORY)
        buf_addf(out, "UPDATE %s t SET " VALID_TO " = greatest(:now, " VALID_FROM "), " IS_CURRENT " = false WHERE " IS_CURRENT, f->t->rows.p);
    else if (s->deleted >= 0) {
        buf_addf(out, "UPDATE %s t SET ", f->t->rows.p);
        named(out, f, "", s->deleted);
        named(out, f, " = true WHERE t.", s->deleted);
        buf_adds(out, " IS NOT TRUE");
    } else {
        buf_addf(out, "DELETE FROM %s t WHERE true", f->t->rows.p);
    }
    buf_addf(out, " AND NOT EXISTS (SELECT 1 FROM %s s WHERE ", f->stage);
    same_key(out, f, "t.", "s.");
    buf_addc(out, ')');
}

/* jsonb_build_array(s.key::type::text, ...): texts, which every type reads back */
static void key_json(struct buf *out, const struct draft *f, const char *before)
{
    buf_adds(out, "jsonb_build_array(");
    for (int k = 0; k < f->spec->nkey; k++) {
        buf_adds(out, k ? ", " : "");
        cast_of(out, f, before, f->spec->key[k]);
        buf_adds(out, "::text");
    }
    buf_addc(out, ')');
}

/* The rows of the job's keys are kept before, with the key; after it, what it left, also where that is the same: a job whose row is there
 * already stands on it. A second output of the job for the same table adds only keys that are not kept yet. */
static void undo_upsert_sql(const struct draft *f)
{
    static const char into[] = "INSERT INTO qetl_undo_row (uid, table_name, key, before) SELECT :job, :name, ";
    struct buf *out = &f->t->undo_before;
    buf_adds(out, into);
    key_json(out, f, "s.");
    buf_adds(out, ", CASE WHEN t.tableoid IS NOT NULL THEN :image END FROM ");
    one_a_key(out, f);
    buf_addf(out, " s LEFT JOIN %s t ON ", f->t->rows.p);
    same_key(out, f, "t.", "s.");
    buf_adds(out, " ON CONFLICT DO NOTHING;");
    if (f->spec->missing == MISSING_DELETE) {
        buf_adds(out, into);
        key_json(out, f, "t.");
        buf_addf(out, ", :image FROM %s t WHERE NOT EXISTS (SELECT 1 FROM %s s WHERE ", f->t->rows.p, f->stage);
        same_key(out, f, "t.", "s.");
        buf_addc(out, ')');
        if (f->spec->deleted >= 0) { /* what is marked already stays as it is */
            named(out, f, " AND t.", f->spec->deleted);
            buf_adds(out, " IS NOT TRUE");
        }
        buf_adds(out, " ON CONFLICT DO NOTHING");
    }
    out = &f->t->undo_after;
    buf_addf(out, "UPDATE qetl_undo_row u SET after = :image FROM %s t WHERE u.uid = :job AND u.table_name = :name", f->t->rows.p);
    for (int k = 0; k < f->spec->nkey; k++) {
        int column = f->spec->key[k];
        named(out, f, " AND t.", column);
        buf_addf(out, " = (u.key->>%d)::%s%s", k, f->d->v[f->at[column]].cast, f->d->v[f->at[column]].collate);
    }
}

static void undo_sql(const struct draft *f)
{
    if (f->spec->mode == MODE_UPSERT)
        undo_upsert_sql(f);
    else if (f->spec->mode == MODE_REPLACE)
        buf_addf(&f->t->undo_before, "INSERT INTO qetl_undo_row (uid, table_name, before) SELECT :job, :name, :image FROM %s t",
                 f->t->rows.p);
}

static int name_keys(const struct draft *f, struct err *err)
{
    if (!(f->t->key_names = calloc((size_t)f->spec->nkey + 1, sizeof *f->t->key_names)))
        return err_nomem(err);
    for (int k = 0; k < f->spec->nkey; k++, f->t->nkey++)
        if (!(f->t->key_names[k] = strdup(column_name(f, f->spec->key[k]))))
            return err_nomem(err);
    return 0;
}

static void stage_sql(const struct draft *f)
{
    struct buf *out = &f->t->make_stage;
    buf_addf(out, "CREATE TEMP TABLE %s (", f->stage);
    for (int i = 0; i < f->spec->columns->n; i++) {
        db_quote(out, column_name(f, i));
        buf_addc(out, ' ');
        postgres_type(out, &f->spec->columns->v[i]);
        buf_adds(out, ", ");
    }
    /* else a row costs a look at the sequence */
    buf_adds(out, STAGED_ORDER " bigint GENERATED ALWAYS AS IDENTITY (CACHE 10000)) ON COMMIT DROP");
    buf_addf(&f->t->empty_stage, "TRUNCATE %s", f->stage);
}

static void copy_sql(struct buf *out, const struct draft *f, const char *into)
{
    buf_addf(out, "COPY %s (", into);
    columns(out, f, "");
    buf_adds(out, ") FROM STDIN (FORMAT binary)");
}

static void write_texts(const struct draft *f)
{
    struct pg_table *t = f->t;
    copy_sql(&t->copy, f, t->staged ? f->stage : t->name.p);
    if (!t->staged)
        return;
    stage_sql(f);
    buf_addf(&t->add_unique, "ALTER TABLE %s ADD UNIQUE (", t->name.p);
    key_of(&t->add_unique, f, "");
    buf_addc(&t->add_unique, ')');
    if (t->mode == MODE_HISTORY)
        history_sql(f);
    else if (t->mode == MODE_UPSERT || t->mode == MODE_INSERT_IGNORE)
        upsert_sql(f);
    else
        append_sql(f);
    if (f->spec->missing == MISSING_DELETE)
        missing_sql(f);
}

/* on_new_column = add: columns that the table lacks, and is to get. Who else loads into it waits for our commit. */
static int add_columns(struct draft *f, struct err *err)
{
    bool any = false;
    for (int i = 0; i < f->spec->columns->n; i++) {
        const struct column *c = &f->spec->columns->v[i];
        AUTO(buf_clear) struct buf sql = { 0 };
        if (!c->added || place_of(f->d, c->name) >= 0)
            continue;
        buf_addf(&sql, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS ", f->t->name.p);
        db_quote(&sql, c->name);
        buf_addc(&sql, ' ');
        postgres_type(&sql, c);
        if (sql.failed)
            return err_nomem(err);
        schema_diff_add(f->diff, f->spec, i, sql.p, type_of);
        if (pg_run(f->pg, sql.p, "add a column", err) < 0)
            return err_in(err, "table '%s'", f->spec->name);
        any = true;
    }
    if (!any)
        return 0;
    bool partitioned = f->d->partitioned;
    description_clear(f->d);
    *f->d = (struct description){ .partitioned = partitioned };
    return describe(f->pg, f->t->name.p, f->d, err);
}

static int draft_table(struct draft *f, struct err *err)
{
    struct pg_table *t = f->t;
    server_table_name(&t->name, f->spec->name, db_quote);
    if (t->name.failed)
        return err_nomem(err);
    if (find_or_make(f, err) < 0 || describe(f->pg, t->name.p, f->d, err) < 0 || add_columns(f, err) < 0 || match_columns(f, err) < 0)
        return -1;
    buf_addf(&t->rows, "%s%s", f->d->partitioned ? "" : "ONLY ", t->name.p);
    db_quote(&t->noted, f->d->schema);
    buf_addc(&t->noted, '.');
    db_quote(&t->noted, f->d->table);
    t->mode = f->spec->mode;
    t->staged = mode_has_key(t->mode) || !takes_staged_form(f);
    if (name_keys(f, err) < 0)
        return -1;
    write_texts(f);
    if (f->spec->undo_ms)
        undo_sql(f);
    return t->rows.failed || t->noted.failed || t->undo_before.failed || t->undo_after.failed || t->copy.failed || t->make_stage.failed || t->empty_stage.failed ||
                   t->before.failed || t->merge.failed || t->add_unique.failed || t->missing.failed
               ? err_nomem(err)
               : 0;
}

int pg_table_check_key(PGconn *pg, const struct pg_table *t, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    if (t->mode != MODE_UPSERT && t->mode != MODE_INSERT_IGNORE)
        return 0;
    buf_adds(&sql, "SELECT quote_ident(conname) FROM pg_constraint WHERE contype IN ('p', 'u') AND condeferrable AND conrelid = to_regclass(");
    pg_literal(&sql, pg, t->name.p);
    buf_adds(&sql, ") AND ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey) ORDER BY 1)"
                   " = ARRAY(SELECT unnest(ARRAY[");
    for (int k = 0; k < t->nkey; k++) {
        buf_adds(&sql, k ? ", " : "");
        pg_literal(&sql, pg, t->key_names[k]);
    }
    buf_adds(&sql, "]::name[]) ORDER BY 1)");
    if (sql.failed)
        return err_nomem(err);
    AUTO(result_clearp) PGresult *r = pg_exec(pg, sql.p, "look at the key", err);
    if (!r)
        return -1;
    return PQntuples(r) == 0 ? 0
                             : err_set(err, ERR_TARGET_REFUSED, "the unique constraint %s on the key is deferrable, which ON CONFLICT does not take;"
                                                                " run: %s, DROP CONSTRAINT %s",
                                       PQgetvalue(r, 0, 0), t->add_unique.p, PQgetvalue(r, 0, 0));
}

/* ---- the rows a second time ---- */

static int probe_columns(const struct draft *f, struct pg_probe *p, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    if (!(p->column = arena_alloc(&p->arena, ((size_t)f->spec->columns->n + 1) * sizeof *p->column)))
        return err_nomem(err);
    for (int i = 0; i < f->spec->columns->n; i++) {
        buf_reset(&text);
        db_quote(&text, column_name(f, i));
        p->column[i].name = arena_dup(&p->arena, buf_str(&text));
        buf_reset(&text);
        cast_of(&text, f, "s.", i);
        p->column[i].cast = arena_dup(&p->arena, buf_str(&text));
        if (text.failed || !p->column[i].name || !p->column[i].cast)
            return err_nomem(err);
    }
    return 0;
}

static int probe_texts(const struct draft *f, struct pg_probe *p, struct err *err)
{
    if (probe_columns(f, p, err) < 0)
        return -1;
    stage_sql(f);
    buf_addf(&p->make, "%s; CREATE TEMP TABLE " PG_PROBE_TYPES " (", f->t->make_stage.p);
    for (int i = 0; i < f->spec->columns->n; i++)
        buf_addf(&p->make, "%s%s %s", i ? ", " : "", p->column[i].name, f->d->v[f->at[i]].type);
    buf_adds(&p->make, ") ON COMMIT DROP");
    copy_sql(&p->copy, f, PG_PROBE_ROWS);
    return f->t->make_stage.failed || p->make.failed || p->copy.failed ? err_nomem(err) : 0;
}

int pg_probe_write(PGconn *pg, const struct table_spec *spec, struct pg_probe *p, struct err *err)
{
    struct description d = { 0 };
    struct pg_table t = { 0 };
    struct draft f = { .pg = pg, .spec = spec, .t = &t, .d = &d, .stage = PG_PROBE_ROWS };
    int rc = -1;
    server_table_name(&t.name, spec->name, db_quote);
    if (!(f.at = calloc((size_t)spec->columns->n + 1, sizeof *f.at)) || t.name.failed)
        (void)err_nomem(err);
    else if (describe(pg, t.name.p, &d, err) == 0 && match_names(&f, err) == 0)
        rc = probe_texts(&f, p, err);
    free(f.at);
    table_clear(&t);
    description_clear(&d);
    return rc;
}

void pg_probe_clear(struct pg_probe *p)
{
    buf_clear(&p->make);
    buf_clear(&p->copy);
    arena_clear(&p->arena);
}

/* ---- tables by what outputs say ---- */

struct looking {
    PGconn *pg;
    struct pg_tables *tables;
};

static int look(void *arg, void *table, const struct table_spec *spec, struct err *err)
{
    struct looking *l = arg;
    struct description d = { 0 };
    struct draft f = { .pg = l->pg, .spec = spec, .t = table, .d = &d, .at = calloc((size_t)spec->columns->n, sizeof(int)),
                       .diff = l->tables->diff };
    snprintf(f.stage, sizeof f.stage, "pg_temp.qetl_stage_%d", ++l->tables->made);
    int rc = !f.at ? err_nomem(err) : postgres_names_fit(spec, err) < 0 ? -1 : draft_table(&f, err);
    free(f.at);
    description_clear(&d);
    return rc;
}

struct pg_table *pg_table_get(struct pg_tables *tables, PGconn *pg, const struct table_spec *spec, struct err *err)
{
    struct looking l = { pg, tables };
    tables->known.bytes = sizeof(struct pg_table);
    tables->known.clear = table_clear;
    return server_table(&tables->known, spec, look, &l, err);
}
