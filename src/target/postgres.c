/*
 * The PostgreSQL target: its types, and its encoder, which runs in the reader child and needs no library.
 *
 * Binary forms are those of the server's own *_recv functions (src/backend/utils/adt of PostgreSQL 15): numbers in network byte
 * order, days and microseconds since 2000-01-01, numeric in digits to the base 10000, jsonb as text behind a version byte.
 */
#include "target/postgres.h"

#include <ctype.h>
#include <endian.h>
#include <libpq-fe.h>
#include <string.h>
#include <strings.h>

#include "target/postgres_conn.h"
#include "target/server.h"
#include "target/staged.h"

enum { EPOCH_DAYS = 10957 };
static const int64_t DAY_US = 86400000000;

void postgres_type(struct buf *out, const struct column *c)
{
    static const char *const types[TYPES] = {
        [TYPE_TEXT] = "text",       [TYPE_INTEGER] = "bigint", [TYPE_DECIMAL] = "numeric",
        [TYPE_REAL] = "double precision", [TYPE_BOOLEAN] = "boolean", [TYPE_DATE] = "date",
        [TYPE_TIMESTAMP] = "timestamp with time zone", [TYPE_JSON] = "jsonb",
    };
    buf_adds(out, types[c->type]);
    if (c->type == TYPE_DECIMAL)
        buf_addf(out, "(18,%d)", c->scale);
}

/* ---- binary forms ---- */

static void put16(struct buf *out, int v) { buf_add(out, &(uint16_t){ htobe16((uint16_t)v) }, 2); }
static void put32(struct buf *out, int64_t v) { buf_add(out, &(uint32_t){ htobe32((uint32_t)v) }, 4); }

static void put64(struct buf *out, uint64_t v)
{
    put32(out, 8);
    buf_add(out, &(uint64_t){ htobe64(v) }, 8);
}

static void put_text(struct buf *out, const struct value *v)
{
    put32(out, v->n);
    buf_add(out, v->p, v->n);
}

/* The text is valid JSON. jsonb takes neither \u0000 nor half of a surrogate pair. */
static bool jsonb_takes(const char *p, uint32_t n)
{
    unsigned code = 1;
    for (const char *end = p + n; p && code && (p = memchr(p, '\\', (size_t)(end - p)));) {
        p = json_escape_end(p, end, &code);
        if (!p)
            return false;
    }
    return code != 0;
}

static bool put_json(struct buf *out, const struct value *v)
{
    if (!jsonb_takes(v->p, v->n))
        return false;
    put32(out, (int64_t)v->n + 1);
    buf_addc(out, 1); /* version */
    buf_add(out, v->p, v->n);
    return true;
}

/* numeric: ndigits, weight of the first digit, sign, digits behind the point; then the digits, to the base 10000. */
static void put_decimal(struct buf *out, int64_t value, int scale)
{
    enum { BASE = 10000, GROUPS = 12 };
    int digit[GROUPS], n = 0, behind = (scale + 3) / 4, last = 0;
    unsigned __int128 v = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    for (int pad = behind * 4 - scale; pad; pad--)
        v *= 10;
    for (; v; v /= BASE)
        digit[n++] = (int)(v % BASE); /* the least one first */
    while (last < n && digit[last] == 0)
        last++;
    int weight = n ? n - 1 - behind : 0;
    put32(out, 8 + 2 * (n - last));
    put16(out, n - last);
    put16(out, weight);
    put16(out, value < 0 ? 0x4000 : 0);
    put16(out, scale);
    for (int i = n - 1; i >= last; i--)
        put16(out, digit[i]);
}

static bool put_value(struct buf *out, const struct column *c, const struct value *v)
{
    uint64_t bits;
    switch (c->type) {
    case TYPE_TEXT:
        put_text(out, v);
        return true;
    case TYPE_JSON:
        return put_json(out, v);
    case TYPE_INTEGER:
        put64(out, (uint64_t)v->i);
        return true;
    case TYPE_DECIMAL:
        put_decimal(out, v->i, c->scale);
        return true;
    case TYPE_REAL:
        memcpy(&bits, &v->r, sizeof bits);
        put64(out, bits);
        return true;
    case TYPE_BOOLEAN:
        put32(out, 1);
        buf_addc(out, v->i != 0);
        return true;
    case TYPE_DATE:
        put32(out, 4);
        put32(out, v->i - EPOCH_DAYS);
        return value_in_years(c, v);
    case TYPE_TIMESTAMP:
        put64(out, (uint64_t)(v->i - EPOCH_DAYS * DAY_US));
        return value_in_years(c, v);
    case TYPES:
        break;
    }
    return false;
}

static void begin_row(struct buf *out, int columns) { put16(out, columns); }
static void put_null(struct buf *out) { put32(out, -1); }

static const struct row_form tuples = { .ext = "pgc", .begin_row = begin_row, .put_null = put_null, .put = put_value };

enum { COLUMNS_MAX = 1600 }; /* MaxHeapAttributeNumber */

/* Names longer than that the server cuts, in silence: two tables would become one. NAMEDATALEN - 1, as servers are built. */
static int name_fits(const char *what, const char *name, size_t n, struct err *err)
{
    enum { NAME_MAX_BYTES = 63 };
    return n <= NAME_MAX_BYTES ? 0
                               : err_set(err, ERR_CONFIG, "the name of %s '%.*s' has %zu bytes, and PostgreSQL would cut it behind %d", what,
                                         (int)n, name, n, NAME_MAX_BYTES);
}

int postgres_names_fit(const struct table_spec *spec, struct err *err)
{
    return server_table_fits(spec, "schema", name_fits, err) < 0 || server_columns_fit(spec, name_fits, err) < 0 ? -1 : 0;
}

static int check_self(const struct target_config *cfg, const char **key, struct err *err)
{
    char *why = NULL;
    PQconninfoOption *parts = PQconninfoParse(cfg->url, &why);
    *key = "url";
    int rc = parts ? 0 : why ? err_set(err, ERR_CONFIG, "target '%s': %.*s", cfg->name, (int)strcspn(why, "\n"), why) : err_nomem(err);
    PQconninfoFree(parts);
    PQfreemem(why);
    return rc;
}

/* https://www.postgresql.org/docs/15/libpq-ssl.html, table 34.1; require verifies by a file of authorities, where there is one. */
static const char *beside_ca(const struct target_config *cfg)
{
    static const char *const weak[] = { "sslmode=disable", "sslmode=allow", "sslmode=prefer" };
    PQconninfoOption *parts = PQconninfoParse(cfg->url, NULL);
    const char *found = NULL;
    for (const PQconninfoOption *o = parts; o && o->keyword; o++)
        for (size_t i = 0; i < COUNT_OF(weak); i++)
            if (!strcmp(o->keyword, "sslmode") && o->val && !strcmp(o->val, strchr(weak[i], '=') + 1))
                found = weak[i];
    PQconninfoFree(parts);
    return found;
}

static int check(const struct target_config *cfg, const struct table_spec *spec, enum check_of of, struct err *err)
{
    if (of == CHECK_NAME)
        return server_table_fits(spec, "schema", name_fits, err) < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
    if (of != CHECK_COLUMNS)
        return 0;
    if (spec->columns->n > COLUMNS_MAX - 3)
        return err_set(err, ERR_CONFIG, "target '%s': table '%s' has %d columns, and PostgreSQL takes at most %d", cfg->name,
                       spec->name, spec->columns->n, COLUMNS_MAX - 3);
    return server_columns_fit(spec, name_fits, err) < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
}

/* ---- SQL of people ---- */

/* Behind white space and comments, which nest (https://www.postgresql.org/docs/15/sql-syntax-lexical.html, 4.1.5). */
static const char *skip_comments(const char *p)
{
    for (;;) {
        p += strspn(p, " \t\r\n\f\v");
        if (p[0] == '-' && p[1] == '-') {
            p += strcspn(p, "\r\n");
            continue;
        }
        if (p[0] != '/' || p[1] != '*')
            return p;
        int depth = 0;
        do {
            bool opens = p[0] == '/' && p[1] == '*', closes = p[0] == '*' && p[1] == '/';
            depth += opens - closes;
            p += opens || closes ? 2 : 1;
        } while (*p && depth);
    }
}

int postgres_only_reads(const char *sql, struct err *err)
{
    static const char *const words[] = { "select", "with", "show", "explain", "values", "table" };
    const char *p = skip_comments(sql);
    size_t n = 0;
    while (isalpha((unsigned char)p[n]) || p[n] == '_')
        n++;
    if (!*p)
        return err_set(err, ERR_USAGE, "there is no statement");
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (*p == '(' || (strlen(words[i]) == n && !strncasecmp(p, words[i], n)))
            return 0;
    return err_set(err, ERR_USAGE, "'%.*s' is no query: it may write", (int)(n ? n : 1), p);
}

static int encode_open(struct encoder **out, const struct target_config *cfg, const struct table_spec *spec,
                       const struct stage *stage, int number, struct err *err)
{
    (void)cfg; /* the staged form is the same for every server */
    return row_encode_open(out, &tuples, spec, stage, number, err);
}

const struct target target_postgres = {
    .scheme = "postgresql",
    .check_self = check_self,
    .beside_ca = beside_ca,
    .check = check,
    .encode_open = encode_open,
    .encode_rows = row_encode_rows,
    .encode_finish = row_encode_finish,
    .encode_close = row_encode_close,
    .open = postgres_open,
    .close = postgres_close,
    .max_files = 1000,
    .begin = postgres_begin,
    .rehearse = postgres_rehearse,
    .interrupt = postgres_interrupt,
    .look = postgres_look,
    .load_job = postgres_load_job,
    .commit = postgres_commit,
    .rollback = postgres_rollback,
    .loaded = postgres_loaded,
    .probe = postgres_probe,
    .undo = postgres_undo,
    .undoes = 1 << MODE_APPEND | 1 << MODE_REPLACE | 1 << MODE_UPSERT | 1 << MODE_INSERT_IGNORE,
    .undoes_not = "versions that a job begins end those of jobs before it",
    .run = postgres_run,
    .ddl_lock = "SET LOCAL lock_timeout = '60s'; " PG_ALONE("qetl_ddl"),
    .query = postgres_query,
};
