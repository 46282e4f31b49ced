/* The cache of enrichments on SQLite. See answers.h, also for what a power cut leaves. */
#include "io/answers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/sys.h"
#include "io/db.h"

enum {
    SCHEMA_VERSION = 1,
    CHECKPOINT_FRAMES = 1000, /* pages in the WAL before it is copied back */
    EVICT_MAX = 1000,         /* rows that one transaction takes out, beside as many as it puts in */
    FORGET_MAX = 1000,        /* rows that one transaction looks at, to forget them */
    AHEAD_MS = 1000,          /* requests with an interval between them are given for so long at once */
    HOLD_FIRST_MS = 1000,     /* a server that fails is left alone for so long, then twice as long each time, up to */
    HOLD_LAST_MS = 600000,
};

/* What a row counts for: its body, and about as much as stands beside it. */
#define BYTES_OF(row) "(coalesce(length(" row ".body), 0) + 100)"
#define IS_MISS(row) "(" row "body IS NULL OR " row "empty)"

static const char schema[] =
    "CREATE TABLE place (\n" /* one a [enrich]: what it has, and what all workers together may ask of it */
    "    name TEXT PRIMARY KEY,\n"
    "    rows INTEGER NOT NULL DEFAULT 0,\n"
    "    misses INTEGER NOT NULL DEFAULT 0,\n" /* of rows */
    "    bytes INTEGER NOT NULL DEFAULT 0,\n"
    "    next_at INTEGER NOT NULL DEFAULT 0,\n"    /* interval=: the next request starts then */
    "    quota_from INTEGER NOT NULL DEFAULT 0,\n" /* the period that quota_used is of */
    "    quota_used INTEGER NOT NULL DEFAULT 0,\n"
    "    held_until INTEGER NOT NULL DEFAULT 0,\n" /* nobody asks before */
    "    held_why TEXT NOT NULL DEFAULT '',\n"
    "    server INTEGER NOT NULL DEFAULT 0,\n"      /* that these are about */
    "    failures INTEGER NOT NULL DEFAULT 0,\n"    /* in a row */
    "    held_at INTEGER NOT NULL DEFAULT 0,\n"     /* when held_until was fixed */
    "    held_busy INTEGER NOT NULL DEFAULT 0,\n"   /* the server asked for it */
    "    probe_until INTEGER NOT NULL DEFAULT 0\n"  /* behind held_until: one request is under way, until then at most */
    ") WITHOUT ROWID;\n"
    "CREATE TABLE answer (\n"
    "    id INTEGER PRIMARY KEY,\n" /* grows: the least is the oldest */
    "    place TEXT NOT NULL,\n"
    "    key TEXT NOT NULL UNIQUE,\n"
    "    expires INTEGER NOT NULL,\n"
    "    empty INTEGER NOT NULL DEFAULT 0,\n" /* nothing was found in it when it came */
    "    body BLOB\n" /* NULL: there is no answer */
    ");\n"
    "CREATE INDEX answer_age ON answer (place, id);\n"
    "CREATE TRIGGER answer_comes AFTER INSERT ON answer BEGIN\n"
    "    UPDATE place SET rows = rows + 1, misses = misses + " IS_MISS("NEW.") ", bytes = bytes + " BYTES_OF("NEW") " WHERE name = NEW.place;\n"
    "END;\n"
    "CREATE TRIGGER answer_goes AFTER DELETE ON answer BEGIN\n"
    "    UPDATE place SET rows = rows - 1, misses = misses - " IS_MISS("OLD.") ", bytes = bytes - " BYTES_OF("OLD") " WHERE name = OLD.place;\n"
    "END;\n"
    "CREATE TRIGGER answer_is_empty AFTER UPDATE OF empty ON answer WHEN NOT " IS_MISS("OLD.") " AND " IS_MISS("NEW.") " BEGIN\n"
    "    UPDATE place SET misses = misses + 1 WHERE name = NEW.place;\n"
    "END;\n";

enum sql { BEGIN, LOOK, COMMIT, ROLLBACK, GET, PLACE_MAKE, FORGET, SHORTEN, PUT, OLDEST, DROP, PLACE_READ, TAKE, GIVE_BACK, FAILED, WELL, RELEASE,
           NEWEST, STEP, FORGET_STEP, PLACE_HAS, PLACES, SQLS };
static const char *const statements[SQLS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [LOOK] = "BEGIN",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [GET] = "SELECT body IS NULL, body FROM answer WHERE key = :key AND expires > :now",
    [PLACE_MAKE] = "INSERT INTO place (name) VALUES (:place) ON CONFLICT (name) DO NOTHING",
    [FORGET] = "DELETE FROM answer WHERE key = :key",
    [SHORTEN] = "UPDATE answer SET expires = min(expires, :expires), empty = 1 WHERE key = :key AND (expires > :expires OR NOT empty)",
    [PUT] = "INSERT INTO answer (place, key, expires, body) VALUES (:place, :key, :expires, :body)",
    /* the oldest one, if it has to go */
    [OLDEST] = "SELECT a.id FROM answer AS a JOIN place AS p ON p.name = a.place "
               "WHERE a.id = (SELECT min(id) FROM answer WHERE place = :place) "
               "AND (a.expires <= :now OR p.rows > :rows OR p.bytes > :bytes)",
    [DROP] = "DELETE FROM answer WHERE id = :id",
    [PLACE_READ] = "SELECT next_at, quota_from, quota_used, failures, held_at, held_until, held_busy, probe_until, server, held_why "
                   "FROM place WHERE name = :place",
    [TAKE] = "UPDATE place SET next_at = :next_at, quota_from = :from, quota_used = :used, probe_until = :probe WHERE name = :place",
    [GIVE_BACK] = "UPDATE place SET quota_used = max(0, quota_used - :n) WHERE name = :place AND quota_from = :from",
    [FAILED] = "UPDATE place SET server = :server, failures = :failures, held_at = :now, held_until = :until, held_busy = :busy, "
               "held_why = :why, probe_until = 0 WHERE name = :place",
    [WELL] = "UPDATE place SET failures = 0, held_until = 0, probe_until = 0 "
             "WHERE name = :place AND failures > 0 AND (held_until <= :now OR held_at > :now)",
    [RELEASE] = "UPDATE place SET held_until = 0 WHERE name = :place AND held_until > :now",
    [NEWEST] = "SELECT coalesce(max(id), 0) FROM answer WHERE place = :place",
    [STEP] = "SELECT max(id) FROM (SELECT id FROM answer WHERE place = :place AND id > :from ORDER BY id LIMIT :n)",
    [FORGET_STEP] = "DELETE FROM answer WHERE place = :place AND id > :from AND id <= :upto AND (NOT :misses OR " IS_MISS("") ")",
    [PLACE_HAS] = "SELECT rows, misses, bytes FROM place WHERE name = :place",
    [PLACES] = "SELECT name FROM place ORDER BY name",
};

struct answers {
    sqlite3 *db;
    char *path;
    int lock_fd;
    int wal_frames; /* after the last commit */
    sqlite3_stmt *st[SQLS];
};

static sqlite3_stmt *stmt(struct answers *a, enum sql which)
{
    sqlite3_reset(a->st[which]);
    sqlite3_clear_bindings(a->st[which]);
    return a->st[which];
}

/* ---- the lock ---- */

static int lock_take(struct answers *a, struct err *err)
{
    while (flock(a->lock_fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_sys(err, "lock '%s-lock'", a->path);
    return 0;
}

static void lock_give(struct answers *a) { (void)flock(a->lock_fd, LOCK_UN); }

static int begin(struct answers *a, struct err *err)
{
    if (lock_take(a, err) < 0)
        return -1;
    if (db_run(stmt(a, BEGIN), err) == 0)
        return 0;
    lock_give(a);
    return -1;
}

/* Commit, or roll back where rc says so; the lock is given up. */
static int end(struct answers *a, int rc, struct err *err)
{
    struct err ignored;
    if (rc == 0)
        rc = db_run(stmt(a, COMMIT), err);
    if (rc < 0 && !sqlite3_get_autocommit(a->db))
        (void)db_run(stmt(a, ROLLBACK), &ignored);
    if (rc == 0 && a->wal_frames >= CHECKPOINT_FRAMES) /* a failure is none of the commit */
        (void)sqlite3_wal_checkpoint_v2(a->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    lock_give(a);
    return rc < 0 ? err_in(err, "the cache '%s'", a->path) : 0;
}

/* ---- open and close ---- */

static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    (void)db, (void)name;
    ((struct answers *)arg)->wal_frames = frames;
    return SQLITE_OK;
}

static int open_locked(struct answers *a, struct err *err)
{
    static const char *const migrations[SCHEMA_VERSION] = { NULL };
    if (db_open(&a->db, a->path, DB_CREATE, err) < 0 ||
        db_exec(a->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY;"
                       "PRAGMA journal_size_limit = 16777216", err) < 0 ||
        db_migrate(a->db, a->path, schema, migrations, SCHEMA_VERSION, err) < 0)
        return -1;
    sqlite3_wal_hook(a->db, on_commit, a);
    for (int i = 0; i < SQLS; i++)
        if (db_prepare(a->db, &a->st[i], statements[i], err) < 0)
            return -1;
    return 0;
}

static int lock_open(struct answers *a, struct err *err)
{
    AUTO(buf_clear) struct buf name = { 0 };
    buf_addf(&name, "%s-lock", a->path);
    if (name.failed)
        return err_nomem(err);
    a->lock_fd = open(name.p, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    return a->lock_fd < 0 ? err_sys(err, "open '%s'", name.p) : 0;
}

int answers_open(struct answers **out, const char *path, struct err *err)
{
    struct answers *a = calloc(1, sizeof *a);
    if (!a || !(a->path = strdup(path))) {
        free(a);
        return err_nomem(err);
    }
    a->lock_fd = -1;
    int rc = lock_open(a, err);
    if (rc == 0 && (rc = lock_take(a, err)) == 0) {
        rc = open_locked(a, err);
        lock_give(a);
    }
    if (rc < 0) {
        answers_close(a);
        return err_in(err, "the cache of enrichments, '%s', which can be removed when no worker runs", path);
    }
    *out = a;
    return 0;
}

void answers_close(struct answers *a)
{
    if (!a)
        return;
    db_close(&a->db);
    fd_closep(&a->lock_fd);
    free(a->path);
    free(a);
}

/* ---- answers ---- */

int answers_look(struct answers *a, struct err *err)
{
    return db_run(stmt(a, LOOK), err) < 0 ? err_in(err, "the cache '%s'", a->path) : 0;
}

void answers_looked(struct answers *a)
{
    struct err ignored; /* nothing was written */
    (void)db_run(stmt(a, COMMIT), &ignored);
}

int answers_get(struct answers *a, const char key[ANSWER_KEY + 1], int64_t now, bool *none, struct buf *body, struct err *err)
{
    sqlite3_stmt *st = stmt(a, GET);
    db_bind(st, ":key", key);
    db_bind(st, ":now", now);
    int rc = db_step(st, err);
    if (rc < 0)
        return err_in(err, "the cache '%s'", a->path);
    buf_renew(body);
    if (rc == 1) {
        *none = sqlite3_column_int(st, 0);
        buf_add(body, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
        sqlite3_reset(st); /* a reader that goes on would keep the WAL from ending */
    }
    return body->failed ? err_nomem(err) : rc;
}

static int shorten(struct answers *a, const struct answer_new *v, struct err *err)
{
    sqlite3_stmt *st = stmt(a, SHORTEN);
    db_bind(st, ":key", (const char *)v->key);
    db_bind(st, ":expires", v->expires);
    return db_run(st, err);
}

static int put_one(struct answers *a, const char *place, const struct answer_new *v, struct err *err)
{
    if (v->what == ANSWER_EMPTY)
        return shorten(a, v, err);
    sqlite3_stmt *st = stmt(a, FORGET);
    db_bind(st, ":key", (const char *)v->key);
    if (db_run(st, err) < 0 || v->what == ANSWER_FORGET)
        return v->what == ANSWER_FORGET ? 0 : -1;
    st = stmt(a, PUT);
    db_bind(st, ":place", place);
    db_bind(st, ":key", (const char *)v->key);
    db_bind(st, ":expires", v->expires);
    if (v->what == ANSWER_IS)
        db_bind_blob(st, ":body", v->body.p, v->body.n);
    return db_run(st, err);
}

/* Take out the oldest one, if it has expired or the place has too much: 1, 0, -1. */
static int evict_one(struct answers *a, const char *place, const struct answer_limits *limits, int64_t now, struct err *err)
{
    sqlite3_stmt *st = stmt(a, OLDEST);
    db_bind(st, ":place", place);
    db_bind(st, ":now", now);
    db_bind(st, ":rows", limits->rows);
    db_bind(st, ":bytes", limits->bytes);
    int rc = db_step(st, err);
    if (rc <= 0)
        return rc;
    int64_t id = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    st = stmt(a, DROP);
    db_bind(st, ":id", id);
    return db_run(st, err) < 0 ? -1 : 1;
}

static int put_all(struct answers *a, const char *place, const struct answer_limits *limits, const struct answer_new *news, int n,
                   int64_t now, struct err *err)
{
    sqlite3_stmt *st = stmt(a, PLACE_MAKE);
    db_bind(st, ":place", place);
    if (db_run(st, err) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (put_one(a, place, &news[i], err) < 0)
            return -1;
    int rc = 1;
    for (int i = 0; i < n + EVICT_MAX && rc == 1; i++)
        rc = evict_one(a, place, limits, now, err);
    return rc < 0 ? -1 : 0;
}

int answers_put(struct answers *a, const char *place, const struct answer_limits *limits, const struct answer_new *news, int n,
                int64_t now, struct err *err)
{
    if (n == 0)
        return 0;
    if (begin(a, err) < 0)
        return -1;
    return end(a, put_all(a, place, limits, news, n, now, err), err);
}

/* The number in the first column of a statement's only row, 0 for NULL; bound by the caller. */
static int one_number(struct answers *a, enum sql which, int64_t *out, struct err *err)
{
    int rc = db_step(a->st[which], err);
    *out = rc == 1 ? sqlite3_column_int64(a->st[which], 0) : 0;
    sqlite3_reset(a->st[which]);
    return rc < 0 ? err_in(err, "the cache '%s'", a->path) : 0;
}

static int forget_step(struct answers *a, const char *place, bool misses, int64_t from, int64_t upto, int64_t *n, struct err *err)
{
    sqlite3_stmt *st = stmt(a, FORGET_STEP);
    db_bind(st, ":place", place);
    db_bind(st, ":from", from);
    db_bind(st, ":upto", upto);
    db_bind(st, ":misses", misses);
    if (begin(a, err) < 0)
        return -1;
    int rc = db_run(st, err);
    if (rc == 0)
        *n += sqlite3_changes(a->db);
    return end(a, rc, err);
}

int answers_forget(struct answers *a, const char *place, bool misses, int64_t *n, struct err *err)
{
    int64_t last, from = 0, upto;
    sqlite3_stmt *st = stmt(a, NEWEST);
    db_bind(st, ":place", place);
    *n = 0;
    if (one_number(a, NEWEST, &last, err) < 0)
        return -1;
    for (; from < last; from = upto) {
        st = stmt(a, STEP);
        db_bind(st, ":place", place);
        db_bind(st, ":from", from);
        db_bind(st, ":n", FORGET_MAX);
        if (one_number(a, STEP, &upto, err) < 0)
            return -1;
        if (!upto) /* others took what was left */
            return 0;
        if (forget_step(a, place, misses, from, upto, n, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- what may be asked ---- */

/* A place's row. */
struct place {
    int64_t next_at, quota_from, quota_used;
    int64_t failures, held_at, held_until, probe_until;
    bool busy;
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t greatest(int64_t a, int64_t b) { return a > b ? a : b; }

/* Of a place that is not known all is open. why: of ASK_WHY bytes, or NULL. */
static int place_read(struct answers *a, const char *place, const struct ask_limits *limits, struct place *p, char *why, struct err *err)
{
    sqlite3_stmt *st = stmt(a, PLACE_READ);
    db_bind(st, ":place", place);
    int rc = db_step(st, err);
    *p = (struct place){ 0 };
    if (rc != 1)
        return rc;
    *p = (struct place){ .next_at = sqlite3_column_int64(st, 0), .quota_from = sqlite3_column_int64(st, 1), .quota_used = sqlite3_column_int64(st, 2) };
    if (sqlite3_column_int64(st, 8) == limits->server) {
        p->failures = sqlite3_column_int64(st, 3);
        p->held_at = sqlite3_column_int64(st, 4);
        p->held_until = sqlite3_column_int64(st, 5);
        p->busy = sqlite3_column_int(st, 6);
        p->probe_until = sqlite3_column_int64(st, 7);
        if (why)
            snprintf(why, ASK_WHY, "%s", db_text(st, 9));
    }
    sqlite3_reset(st);
    return 0;
}

static bool is_held(const struct place *p, int64_t now) { return p->held_until > now && p->held_at <= now; }

/* The hold is over, and it is not known yet whether the server is well. */
static bool is_unsure(const struct place *p, int64_t now) { return p->failures >= ASK_FAILURES && !is_held(p, now); }

/* What the server's failures say: *out. */
static void judge(const struct place *p, const struct ask_limits *limits, int64_t now, struct ask_grant *out)
{
    out->failures = p->failures;
    if (is_held(p, now)) {
        out->gate = p->busy ? ASK_BUSY : ASK_DOWN;
        out->at = p->held_until;
    } else if (is_unsure(p, now) && p->probe_until > now && p->probe_until <= now + limits->wait_ms + limits->probe_ms) {
        out->gate = ASK_PROBED;
        out->at = p->probe_until;
    }
    if (out->gate != ASK_OPEN)
        out->n = 0;
}

static void grant(struct place *p, const struct ask_limits *limits, int64_t want, int64_t now, struct ask_grant *out)
{
    /* next_at was never put farther ahead than this: if it is, the clock was set back */
    int64_t farthest = now + limits->wait_ms + AHEAD_MS + limits->interval_ms;
    out->n = limits->interval_ms ? least(want, AHEAD_MS / limits->interval_ms + 1) : want;
    out->at = now;
    if (limits->quota) {
        int64_t from = now - now % limits->quota_ms;
        p->quota_used = p->quota_from == from ? p->quota_used : 0;
        p->quota_from = from;
        out->n = least(out->n, limits->quota - p->quota_used);
        if (out->n <= 0) {
            out->gate = ASK_QUOTA;
            out->at = from + limits->quota_ms;
            return;
        }
        p->quota_used += out->n;
    }
    if (limits->interval_ms) {
        out->at = p->next_at > farthest ? now : greatest(p->next_at, now);
        if (out->at - now > limits->wait_ms) {
            out->gate = ASK_INTERVAL;
            out->n = 0;
            return;
        }
        p->next_at = out->at + limits->interval_ms * out->n;
    }
}

static int take_locked(struct answers *a, const char *place, const struct ask_limits *limits, int64_t want, int64_t now,
                       struct ask_grant *out, struct err *err)
{
    struct place p;
    sqlite3_stmt *st = stmt(a, PLACE_MAKE);
    db_bind(st, ":place", place);
    if (db_run(st, err) < 0 || place_read(a, place, limits, &p, out->why, err) < 0)
        return -1;
    judge(&p, limits, now, out);
    if (out->gate == ASK_OPEN)
        grant(&p, limits, is_unsure(&p, now) ? 1 : want, now, out);
    if (out->gate != ASK_OPEN)
        return 0;
    st = stmt(a, TAKE);
    db_bind(st, ":place", place);
    db_bind(st, ":next_at", p.next_at);
    db_bind(st, ":from", p.quota_from);
    db_bind(st, ":used", p.quota_used);
    db_bind(st, ":probe", is_unsure(&p, now) ? out->at + limits->probe_ms : 0);
    return db_run(st, err);
}

int answers_take(struct answers *a, const char *place, const struct ask_limits *limits, int64_t want, int64_t now, struct ask_grant *out,
                 struct err *err)
{
    struct place p;
    *out = (struct ask_grant){ .n = want, .at = now };
    if (!limits->interval_ms && !limits->quota) {
        if (place_read(a, place, limits, &p, out->why, err) < 0)
            return err_in(err, "the cache '%s'", a->path);
        judge(&p, limits, now, out);
        if (out->gate != ASK_OPEN || !is_unsure(&p, now))
            return 0;
    }
    if (begin(a, err) < 0)
        return -1;
    return end(a, take_locked(a, place, limits, want, now, out, err), err);
}

int answers_give_back(struct answers *a, const char *place, const struct ask_limits *limits, int64_t n, int64_t now, struct err *err)
{
    if (!limits->quota || n <= 0)
        return 0;
    if (begin(a, err) < 0)
        return -1;
    sqlite3_stmt *st = stmt(a, GIVE_BACK);
    db_bind(st, ":place", place);
    db_bind(st, ":n", n);
    db_bind(st, ":from", now - now % limits->quota_ms);
    return end(a, db_run(st, err), err);
}

/* ---- servers that fail ---- */

/* For how long it is left alone; 0: not yet. */
static int64_t hold_ms(const struct ask_failure *f, int64_t failures)
{
    int64_t ms = failures < ASK_FAILURES ? 0 : HOLD_FIRST_MS;
    for (int64_t i = ASK_FAILURES; i < failures && ms < HOLD_LAST_MS; i++)
        ms *= 2;
    return greatest(least(ms, HOLD_LAST_MS), f->retry_after_ms);
}

/* One of those that were under way when it began to be left alone says nothing new. */
static int failed_locked(struct answers *a, const char *place, const struct ask_limits *limits, const struct ask_failure *f, int64_t now,
                         int64_t *until, struct err *err)
{
    struct place p;
    sqlite3_stmt *st = stmt(a, PLACE_MAKE);
    db_bind(st, ":place", place);
    if (db_run(st, err) < 0 || place_read(a, place, limits, &p, NULL, err) < 0)
        return -1;
    if (is_held(&p, now)) {
        *until = p.held_until;
        return 0;
    }
    int64_t failures = greatest(p.failures + 1, f->busy ? ASK_FAILURES : 0), ms = hold_ms(f, failures);
    *until = ms ? now + ms : 0;
    st = stmt(a, FAILED);
    db_bind(st, ":place", place);
    db_bind(st, ":server", limits->server);
    db_bind(st, ":failures", failures);
    db_bind(st, ":now", now);
    db_bind(st, ":until", *until);
    db_bind(st, ":busy", f->busy);
    db_bind(st, ":why", f->why);
    return db_run(st, err);
}

int answers_failed(struct answers *a, const char *place, const struct ask_limits *limits, const struct ask_failure *f, int64_t now,
                   int64_t *until, struct err *err)
{
    if (begin(a, err) < 0)
        return -1;
    return end(a, failed_locked(a, place, limits, f, now, until, err), err);
}

int answers_well(struct answers *a, const char *place, int64_t now, struct err *err)
{
    if (begin(a, err) < 0)
        return -1;
    sqlite3_stmt *st = stmt(a, WELL);
    db_bind(st, ":place", place);
    db_bind(st, ":now", now);
    return end(a, db_run(st, err), err);
}

/* ---- for people ---- */

int answers_release(struct answers *a, const char *place, int64_t now, struct err *err)
{
    if (begin(a, err) < 0)
        return -1;
    sqlite3_stmt *st = stmt(a, RELEASE);
    db_bind(st, ":place", place);
    db_bind(st, ":now", now);
    int rc = db_run(st, err), held = rc < 0 ? 0 : sqlite3_changes(a->db);
    return end(a, rc, err) < 0 ? -1 : held;
}

int answers_of(struct answers *a, const char *place, const struct ask_limits *limits, int64_t now, struct answers_place *out, struct err *err)
{
    struct place p;
    *out = (struct answers_place){ .gate = { .n = 1, .at = now } };
    if (place_read(a, place, limits, &p, out->gate.why, err) < 0)
        return err_in(err, "the cache '%s'", a->path);
    if (limits->quota && p.quota_from == now - now % limits->quota_ms)
        out->quota_used = p.quota_used;
    judge(&p, limits, now, &out->gate);
    if (out->gate.gate == ASK_OPEN)
        grant(&p, limits, 1, now, &out->gate);
    sqlite3_stmt *st = stmt(a, PLACE_HAS);
    db_bind(st, ":place", place);
    int rc = db_step(st, err);
    if (rc == 1) {
        out->rows = sqlite3_column_int64(st, 0);
        out->misses = sqlite3_column_int64(st, 1);
        out->bytes = sqlite3_column_int64(st, 2);
    }
    sqlite3_reset(st);
    return rc < 0 ? err_in(err, "the cache '%s'", a->path) : 0;
}

int answers_places(struct answers *a, int (*row)(void *arg, const char *place), void *arg, struct err *err)
{
    sqlite3_stmt *st = stmt(a, PLACES);
    int rc, stop = 0;
    while (!stop && (rc = db_step(st, err)) == 1)
        stop = row(arg, db_text(st, 0));
    sqlite3_reset(st);
    return stop ? 0 : rc < 0 ? err_in(err, "the cache '%s'", a->path) : 0;
}
