/* Tables that people make by SQL files; see the header. */
#include "target/ddl.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "io/sha256.h"

enum { FILE_MAX_BYTES = 16 << 20 };

static const char notes_sql[] = "CREATE TABLE IF NOT EXISTS qetl_ddl (name VARCHAR(255) PRIMARY KEY, sha256 CHAR(64) NOT NULL,"
                                " applied_at TIMESTAMP NOT NULL)";

struct file {
    const char *name; /* without folders; needs no escapes in SQL */
    struct buf text;
    char hash[SHA256_HEX + 1];
};

static void file_clear(struct file *f) { buf_clear(&f->text); }

static int read_file(struct file *f, const char *path, struct err *err)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = 1;
    f->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (strspn(f->name, good) != strlen(f->name))
        return err_set(err, ERR_CONFIG, "expected a name of letters, digits, '.', '_' and '-'");
    if (fd < 0)
        return err_sys(err, "open");
    while (got > 0 && f->text.n <= FILE_MAX_BYTES) {
        if (!buf_reserve(&f->text, 65536))
            return err_nomem(err);
        if ((got = read(fd, f->text.p + f->text.n, 65535)) < 0)
            return err_sys(err, "read");
        f->text.n += (size_t)got;
    }
    if (f->text.n > FILE_MAX_BYTES)
        return err_set(err, ERR_CONFIG, "is larger than %d MiB", FILE_MAX_BYTES >> 20);
    f->text.p[f->text.n] = '\0';
    return memchr(f->text.p, '\0', f->text.n) ? err_set(err, ERR_CONFIG, "is no text") : sha256_of(buf_str(&f->text), f->hash, err);
}

static int ask_notes(const struct target *t, struct target_conn *c, const struct file *f, struct buf *hash, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "SELECT sha256 FROM qetl_ddl WHERE name = '%s'", f->name);
    if (sql.failed)
        return err_nomem(err);
    return t->run(c, notes_sql, NULL, err) < 0 || t->run(c, sql.p, hash, err) < 0 ? -1 : 0;
}

static int note(const struct target *t, struct target_conn *c, const struct file *f, struct err *err)
{
    AUTO(buf_clear) struct buf sql = { 0 };
    buf_addf(&sql, "INSERT INTO qetl_ddl (name, sha256, applied_at) VALUES ('%s', '%s', CURRENT_TIMESTAMP)", f->name, f->hash);
    return sql.failed ? err_nomem(err) : t->run(c, sql.p, NULL, err);
}

/* 1: it was run now; 0: before; -1. */
static int run_file(const struct target *t, struct target_conn *c, const struct file *f, struct err *err)
{
    AUTO(buf_clear) struct buf hash = { 0 };
    if (ask_notes(t, c, f, &hash, err) < 0)
        return -1;
    if (hash.n && strcmp(hash.p, f->hash) != 0)
        return err_set(err, ERR_STATE, "was run when it was another one: put what is new into a file of its own, behind it");
    if (hash.n)
        return 0;
    return t->run(c, f->text.p, NULL, err) < 0 || note(t, c, f, err) < 0 ? -1 : 1;
}

static int somebody_else(const char *target, struct err *err)
{
    return err_set(err, ERR_STATE, "target '%s': somebody else is running its ddl =: wait until that is done", target);
}

/* The transaction of a file, alone. */
static int begin_file(const struct target *t, struct target_conn *c, const char *target, struct err *err)
{
    if (t->ddl_alone)
        return 0;
    if (t->begin(c, err) < 0)
        return -1;
    if (!t->ddl_lock || t->run(c, t->ddl_lock, NULL, err) == 0)
        return 0;
    t->rollback(c);
    return err->code == ERR_TARGET_LOCKED ? somebody_else(target, err) : err_in(err, "target '%s': wait for others that run ddl =", target);
}

static int apply(const struct target *t, struct target_conn *c, const char *target, const char *path, struct err *err)
{
    AUTO(file_clear) struct file f = { 0 };
    if (read_file(&f, path, err) < 0)
        return err_in(err, "target '%s': '%s'", target, path);
    if (begin_file(t, c, target, err) < 0)
        return -1;
    int rc = run_file(t, c, &f, err);
    if (rc < 0) {
        t->rollback(c);
        return err_in(err, "target '%s': '%s'", target, path);
    }
    return !t->ddl_alone && t->commit(c, err) < 0 ? err_in(err, "'%s'", path) : rc;
}

/* Of two that have read that a file was not run, where no transaction holds what they do, both would run it. */
static int be_alone(const struct target *t, struct target_conn *c, const char *target, struct err *err)
{
    AUTO(buf_clear) struct buf got = { 0 };
    if (!t->ddl_alone)
        return 0;
    if (t->run(c, t->ddl_alone, &got, err) < 0)
        return err_in(err, "target '%s': wait for others that run ddl =", target);
    return got.n && !strcmp(got.p, "1") ? 0 : somebody_else(target, err);
}

/* In the order of their names; the caller's for globfree() on 0. */
static int find_files(glob_t *found, const struct target_config *cfg, struct err *err)
{
    int rc = glob(cfg->ddl, GLOB_ERR, NULL, found);
    if (rc == 0)
        return 0;
    if (rc == GLOB_NOSPACE)
        return err_nomem(err);
    bool none = rc == GLOB_NOMATCH || errno == ENOENT || errno == ENOTDIR;
    return err_set(err, ERR_CONFIG, "target '%s': ddl = %s: %s", cfg->name, cfg->ddl, none ? "there is no such file" : strerror(errno));
}

int ddl_check(const struct target_config *cfg, struct err *err)
{
    glob_t found;
    if (!cfg->ddl)
        return 0;
    if (find_files(&found, cfg, err) < 0)
        return -1;
    globfree(&found);
    return 0;
}

int ddl_apply(const struct target *t, struct target_conn *c, const struct target_config *cfg, int *run, struct err *err)
{
    glob_t found;
    *run = 0;
    if (find_files(&found, cfg, err) < 0)
        return -1;
    int rc = be_alone(t, c, cfg->name, err);
    for (size_t i = 0; i < found.gl_pathc && rc >= 0; i++) {
        rc = apply(t, c, cfg->name, found.gl_pathv[i], err);
        *run += rc > 0;
    }
    globfree(&found);
    return rc < 0 ? -1 : 0;
}
