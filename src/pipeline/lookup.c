/* A look-up from its file into its table. See lookup.h. */
#include "pipeline/lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "io/db.h"
#include "pipeline/sql_value.h"
#include "read/member.h"
#include "read/unpack.h"
#include "source/source.h"

/* ---- the table ---- */

static void put_key(struct buf *sql, const struct lookup *l)
{
    for (int i = 0; i < l->recipe.nkey; i++) {
        buf_adds(sql, i ? ", " : ", UNIQUE (");
        db_quote(sql, l->recipe.key[i]);
    }
    if (l->recipe.nkey)
        buf_addc(sql, ')');
}

int lookup_table(sqlite3 *db, const struct lookup *l, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "CREATE TABLE ");
    db_quote(&sql, l->name);
    for (int i = 0; i < l->recipe.columns.n; i++) {
        buf_adds(&sql, i ? ", " : " (");
        db_quote(&sql, l->recipe.columns.v[i].name);
        buf_addf(&sql, " %s", sql_type(&l->recipe.columns.v[i]));
    }
    put_key(&sql, l);
    buf_addc(&sql, ')');
    if (sql.failed)
        return err_nomem(err);
    if (sqlite3_exec(db, sql.p, NULL, NULL, NULL) != SQLITE_OK)
        return err_set(err, ERR_SQL, "[lookup %s]: %s", l->name, sqlite3_errmsg(db));
    return 0;
}

/* ---- its rows ---- */

struct loading {
    struct input file;
    int fd;
    const struct lookup *lookup;
    sqlite3 *db;
    sqlite3_stmt *insert;
    struct batch batch;
    struct cast *cast;
    struct rejects rejects; /* none is allowed */
    int64_t row_bytes, memory;
    bool any; /* a member has bytes */
};

static ssize_t file_read(struct input *in, void *buf, size_t cap, struct err *err)
{
    ssize_t n;
    do
        n = read(((struct loading *)in)->fd, buf, cap);
    while (n < 0 && errno == EINTR);
    return n < 0 ? err_sys(err, "read the file") : n;
}

static int file_seek(struct input *in, int64_t offset, struct err *err)
{
    return lseek(((struct loading *)in)->fd, offset, SEEK_SET) < 0 ? err_sys(err, "read the file") : 0;
}

static int prepare(struct loading *l, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_adds(&sql, "INSERT INTO ");
    db_quote(&sql, l->lookup->name);
    for (int i = 0; i < l->lookup->recipe.columns.n; i++)
        buf_addf(&sql, "%s?%d", i ? ", " : " VALUES (", i + 1);
    buf_addc(&sql, ')');
    if (sql.failed)
        return err_nomem(err);
    if (sqlite3_prepare_v2(l->db, sql.p, (int)sql.n, &l->insert, NULL) != SQLITE_OK)
        return err_set(err, ERR_SQL, "%s", sqlite3_errmsg(l->db));
    return 0;
}

static int insert_failed(const struct loading *l, const struct place *place, struct err *err)
{
    char most[32];
    switch (sqlite3_errcode(l->db) & 0xff) {
    case SQLITE_NOMEM:
        return err_nomem(err);
    case SQLITE_FULL:
        text_put_size(most, sizeof most, l->memory / 2);
        return err_set(err, ERR_LIMIT, "look-ups may take %s, half of [limits] memory", most);
    case SQLITE_CONSTRAINT:
        return err_set(err, ERR_LOOKUP, "line %" PRIu64 ": the key is there twice", place->line);
    default:
        return err_set(err, ERR_SQL, "line %" PRIu64 ": %s", place->line, sqlite3_errmsg(l->db));
    }
}

static int insert_rows(struct loading *l, const struct rows *rows, struct err *err)
{
    const struct columns *columns = &l->lookup->recipe.columns;
    for (uint32_t row = 0; row < rows->n; row++) {
        const struct value *v = &rows->values[(size_t)row * rows->cols];
        for (int i = 0; i < columns->n; i++) {
            if (!sql_fits(&columns->v[i], &v[i])) {
                sql_unfit(&columns->v[i], err);
                err->code = ERR_LOOKUP;
                return err_in(err, "line %" PRIu64, rows->places[row]->line);
            }
            if (sql_bind(l->insert, i + 1, &columns->v[i], &v[i]) != SQLITE_OK)
                return insert_failed(l, rows->places[row], err);
        }
        if (sqlite3_step(l->insert) != SQLITE_DONE)
            return insert_failed(l, rows->places[row], err);
        (void)sqlite3_reset(l->insert);
    }
    return 0;
}

/* Does the member, read to its end, have all columns that are not optional? */
static int names_check(const struct columns *columns, struct member_rows *m, bool rows, struct err *err)
{
    struct format_names names;
    int rc = m->format->names(m->reader, &names, err);
    for (int i = 0; rc == 1 && (rows || names.ordered) && i < columns->n; i++)
        if (!names.present[i] && !columns->v[i].optional)
            return err_set(err, ERR_HEADER, "there is no '%s' for column '%s'", columns->v[i].from, columns->v[i].name);
    return rc < 0 ? -1 : 0;
}

/* Of a row that is refused: a column that the header lacks is no value anywhere, and told as that. */
static int header_check(const struct loading *l, struct member_rows *m, struct err *err)
{
    struct format_names names;
    return m->format->names(m->reader, &names, err) == 1 && names.ordered ? names_check(&l->lookup->recipe.columns, m, true, err) : 0;
}

static int member(struct loading *l, struct input *in, struct err *err)
{
    struct member_rows m;
    struct rows rows;
    bool any = false;
    int rc = member_open(&m, &l->lookup->recipe, &l->lookup->recipe.columns, in, l->row_bytes, err), more = rc;
    while (more == 1 && (more = rc = member_next(&m, &l->batch, err)) == 1) {
        any = true;
        rc = cast_batch(l->cast, &l->batch, &rows, &l->rejects, err);
        if (rc < 0 && l->rejects.count && header_check(l, &m, err) == 0)
            err_set(err, ERR_LOOKUP, "%s", l->rejects.first);
        if (rc < 0 || (rc = insert_rows(l, &rows, err)) < 0)
            break;
    }
    l->any |= m.format != NULL;
    if (rc == 0 && m.format)
        rc = names_check(&l->lookup->recipe.columns, &m, any, err);
    member_close(&m);
    return rc < 0 ? -1 : 0;
}

static int members(struct loading *l, const struct limits *limits, struct err *err)
{
    struct unpack_limits bounds = { limits->members, limits->unpacked_bytes, limits->ratio, 1 };
    struct unpack *u;
    struct member m;
    char name[512];
    int rc;
    source_basename(l->lookup->file, name, sizeof name);
    if (unpack_open(&u, &l->file, name, &bounds, err) < 0)
        return -1;
    while ((rc = unpack_next(u, &m, err)) == 1)
        if ((rc = member(l, unpack_member(u), err)) < 0)
            break;
    unpack_close(u);
    return rc;
}

static int load(struct loading *l, const struct config *config, const struct stage *stage, struct err *err)
{
    const struct recipe *recipe = &l->lookup->recipe;
    rejects_init(&l->rejects, stage, 0, (struct reject_limit){ 0, -1 });
    if (prepare(l, err) < 0 || batch_init(&l->batch, (uint32_t)recipe->columns.n, err) < 0 ||
        cast_open(&l->cast, recipe, &recipe->columns, err) < 0)
        return -1;
    if (sqlite3_exec(l->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return err_set(err, ERR_SQL, "%s", sqlite3_errmsg(l->db));
    if (members(l, &config->limits, err) < 0)
        return -1; /* the database goes with the job */
    if (!l->any && recipe->header && !(recipe->format && !strcmp(recipe->format, "jsonl"))) /* else no bytes are no rows */
        return err_set(err, ERR_LOOKUP, "the file is empty: it lacks its header, or the list that JSON would be");
    return sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : err_set(err, ERR_SQL, "%s", sqlite3_errmsg(l->db));
}

int lookup_load(sqlite3 *db, const struct config *config, int number, const struct stage *stage, struct err *err)
{
    struct loading l = { .file = { file_read, file_seek, -1 },
                         .db = db,
                         .lookup = &config->lookups[number],
                         .row_bytes = config->limits.row_bytes,
                         .memory = config->limits.memory };
    if ((l.fd = stage->open_file(stage->arg, STAGE_LOOKUP + number, "", err)) < 0)
        return err_in(err, "[lookup %s]", l.lookup->name);
    l.file.size = lseek(l.fd, 0, SEEK_END);
    (void)lseek(l.fd, 0, SEEK_SET);
    int rc = load(&l, config, stage, err);
    sqlite3_finalize(l.insert);
    cast_close(l.cast);
    batch_clear(&l.batch);
    rejects_clear(&l.rejects);
    fd_closep(&l.fd);
    return rc < 0 ? err_in(err, "[lookup %s] '%s'", l.lookup->name, l.lookup->file) : 0;
}
