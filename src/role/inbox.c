/* Messages in a folder. See inbox.h. */
#include "role/inbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include "role/submission.h"

enum {
    BATCH = 500,            /* files of one transaction */
    BATCH_BYTES = 8 << 20,  /* of their messages, about */
    NAME_KEPT = 200,        /* bytes of a name; of a longer one the beginning goes */
    FOLDER_MODE = 0770,     /* who may write there may submit */
    OURS_MODE = 0750,
    ERROR_MODE = 0640,
};

enum folder { HERE, TAKEN, DONE, FAILED, FOLDERS };
static const char *const folder_names[FOLDERS] = { ".", "taken", "done", "failed" };

enum fate { LATER, GOOD, BAD, KNOWN };
struct message {
    char name[256]; /* under taken/ */
    enum fate fate;
    struct buf text;
    struct err why; /* BAD */
};

struct taking {
    const struct inbox *in;
    int fd[FOLDERS];
    struct message *v;
    const char *names[BATCH]; /* of those that are GOOD */
    int n, good[BATCH], ngood;
    int64_t bytes;
    int jobs;
    struct submission message; /* in hand */
};

/* ---- folders ---- */

static int folder_open(struct taking *t, enum folder which, struct err *err)
{
    const char *path = t->in->config->inbox, *name = folder_names[which];
    bool made = which == HERE ? access(path, F_OK) < 0 && errno == ENOENT : mkdirat(t->fd[HERE], name, OURS_MODE) == 0;
    if (which == HERE && made && sys_mkdirs(path, err) < 0)
        return -1;
    /* whatever the umask says */
    if (made && fchmodat(which == HERE ? AT_FDCWD : t->fd[HERE], which == HERE ? path : name, which == HERE ? FOLDER_MODE : OURS_MODE, 0) < 0)
        return err_sys(err, "set the mode of '%s/%s'", path, name);
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    t->fd[which] = which == HERE ? open(path, flags) : openat(t->fd[HERE], name, flags | O_NOFOLLOW);
    return t->fd[which] < 0 ? err_sys(err, "open the folder '%s/%s' of the inbox", path, name) : 0;
}

static int folders_open(struct taking *t, struct err *err)
{
    for (int i = 0; i < FOLDERS; i++)
        t->fd[i] = -1;
    for (int i = 0; i < FOLDERS; i++)
        if (folder_open(t, (enum folder)i, err) < 0)
            return -1;
    return 0;
}

static void batch_end(struct taking *t)
{
    for (int i = 0; i < t->n; i++)
        buf_clear(&t->v[i].text);
    t->n = t->ngood = 0;
    t->bytes = 0;
}

static void taking_clear(struct taking *t)
{
    for (int i = 0; i < FOLDERS; i++)
        if (t->fd[i] >= 0)
            close(t->fd[i]);
    if (t->v)
        batch_end(t);
    free(t->v);
    submission_clear(&t->message);
}

static DIR *folder_read(const struct taking *t, enum folder which, struct err *err)
{
    int fd = openat(t->fd[which], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        err_sys(err, "read the folder '%s/%s'", t->in->config->inbox, folder_names[which]);
        if (fd >= 0)
            close(fd);
    }
    return d;
}

/* ---- what is in a message ---- */

static int text_read(struct taking *t, struct message *m)
{
    char bytes[65536];
    struct stat st;
    struct err *err = &m->why;
    AUTO(fd_closep) int fd = openat(t->fd[TAKEN], m->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ELOOP && errno != ENXIO)
        return err_sys(err, "open the message");
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(err, ERR_NOT_A_FILE, "a message is a regular file, and no link, folder, FIFO or device");
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, "read the message");
        buf_add(&m->text, bytes, (size_t)n);
        if (m->text.n > INBOX_MESSAGE_MAX)
            return err_set(err, ERR_LIMIT, "a message has at most %d bytes; qetlctl submit - takes any number of lines", INBOX_MESSAGE_MAX);
    }
    return m->text.failed ? err_nomem(err) : 0;
}

static struct str trim(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]) && s.p[s.n - 1])
        s.n--;
    while (s.n && strchr(" \t\r\n", *s.p) && *s.p)
        s = (struct str){ s.p + 1, s.n - 1 };
    return s;
}

/* The job of a message. */
static int understand(struct taking *t, struct str text, struct err *err)
{
    return submission_parse(&t->message, text, err) < 0 ? -1 : submission_resolve(&t->message, t->in->config, err);
}

/* Each message in the text goes to act(). */
static int messages(struct taking *t, struct str text, int (*act)(struct taking *t, struct err *err), struct err *err)
{
    struct json_value doc;
    struct json_fault fault;
    int n = 0, line = 0;
    if (json_check(trim(text), &doc, &fault) && doc.kind == JSON_OBJECT)
        return understand(t, trim(text), err) < 0 ? -1 : act(t, err);
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        struct str rest = end ? (struct str){ end + 1, text.n - (size_t)(end + 1 - text.p) } : (struct str){ 0 };
        struct str one = trim((struct str){ text.p, end ? (size_t)(end - text.p) : text.n });
        line++;
        if (one.n && understand(t, one, err) < 0)
            return err_in(err, "line %d", line);
        if (one.n && act(t, err) < 0)
            return -1;
        n += one.n > 0;
        text = rest;
    }
    return n ? 0 : err_set(err, ERR_USAGE, "there is no message in the file");
}

static int act_none(struct taking *t, struct err *err)
{
    (void)t, (void)err;
    return 0;
}

static int act_submit(struct taking *t, struct err *err)
{
    int64_t id;
    char uid[SYS_UID_LEN + 1];
    bool made;
    if (job_submit(t->in->queue, &t->message.job, &id, uid, &made, err) < 0)
        return -1;
    t->jobs += made;
    return 0;
}

static int submit(void *arg, int i, struct err *err)
{
    struct taking *t = arg;
    return messages(t, buf_str(&t->v[t->good[i]].text), act_submit, err);
}

/* What is to become of it? */
static void judge(struct taking *t, struct message *m)
{
    if (text_read(t, m) == 0 && messages(t, buf_str(&m->text), act_none, &m->why) == 0)
        m->fate = GOOD;
    else
        m->fate = m->why.code == ERR_NO_MEMORY ? LATER : BAD;
}

/* ---- taking ---- */

static bool is_message(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && name[0] != '.' && !strcmp(name + n - 5, ".json");
}

/* So long until nothing will have changed on it for a while; 0: now. */
static int64_t settles_in(const struct taking *t, const char *name)
{
    AUTO(buf_clear) struct buf path = { 0 };
    struct stat st;
    buf_addf(&path, "%s/%s", t->in->config->inbox, name);
    if (path.failed || watch_renamed(t->in->watch, buf_str(&path)) || fstatat(t->fd[HERE], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    struct timespec last = st.st_mtim.tv_sec > st.st_ctim.tv_sec ? st.st_mtim : st.st_ctim;
    int64_t now = sys_now_ms(), at = (int64_t)last.tv_sec * 1000 + last.tv_nsec / 1000000;
    /* a time in the future: some clock is wrong, and what it says of then is no reason to wait */
    return at > now || now - at >= INBOX_SETTLE_MS ? 0 : INBOX_SETTLE_MS - (now - at);
}

/* Of the file in taken/; true: it is in the batch. */
static bool batch_take(struct taking *t, const char *name, bool may_be_known, struct err *err)
{
    struct message *m = &t->v[t->n++];
    *m = (struct message){ 0 };
    snprintf(m->name, sizeof m->name, "%s", name);
    int known = may_be_known ? scan_inbox_known(t->in->queue, name, err) : 0;
    if (known < 0)
        return false;
    if (known)
        m->fate = KNOWN;
    else
        judge(t, m);
    t->bytes += (int64_t)m->text.n;
    if (m->fate != GOOD)
        buf_clear(&m->text);
    else
        t->good[t->ngood++] = t->n - 1;
    return true;
}

static bool batch_is_full(const struct taking *t) { return t->n == BATCH || t->bytes >= BATCH_BYTES; }

/* What an earlier scanner, or an earlier try, left under way. */
static int batch_left(struct taking *t, struct err *why, struct err *err)
{
    DIR *d = folder_read(t, TAKEN, why);
    bool good = true;
    if (!d)
        return 0;
    for (struct dirent *e; good && !batch_is_full(t) && (e = readdir(d));)
        if (e->d_name[0] != '.')
            good = batch_take(t, e->d_name, true, err);
    closedir(d);
    return good ? 0 : -1;
}

static int batch_new(struct taking *t, int64_t *again_ms, struct err *why, struct err *err)
{
    DIR *d = folder_read(t, HERE, why);
    bool good = true;
    if (!d)
        return 0;
    for (struct dirent *e; good && !batch_is_full(t) && (e = readdir(d));) {
        char uid[SYS_UID_LEN + 1], name[256];
        if (!is_message(e->d_name))
            continue;
        int64_t wait_ms = settles_in(t, e->d_name);
        if (wait_ms) {
            *again_ms = wait_ms < *again_ms ? wait_ms : *again_ms;
            continue;
        }
        sys_uid(uid);
        size_t n = strlen(e->d_name);
        snprintf(name, sizeof name, "%s-%s", uid, e->d_name + (n > NAME_KEPT ? n - NAME_KEPT : 0));
        if (renameat(t->fd[HERE], e->d_name, t->fd[TAKEN], name) == 0)
            good = batch_take(t, name, false, err);
        else if (errno != ENOENT)
            err_sys(why, "take '%s/%s'", t->in->config->inbox, e->d_name);
    }
    closedir(d);
    (void)sys_fault("inbox-taken");
    return good ? 0 : -1;
}

/* ---- putting away ---- */

static int error_write(const struct taking *t, const struct message *m, const char *name, struct err *err)
{
    AUTO(buf_clear) struct buf text = { 0 };
    char file[300];
    snprintf(file, sizeof file, "%s.error", name);
    buf_addf(&text, "%s [%s]\n", m->why.msg, err_name(m->why.code));
    AUTO(fd_closep) int fd = openat(t->fd[FAILED], file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, ERROR_MODE);
    if (fd < 0 || fchmod(fd, ERROR_MODE) < 0)
        return err_sys(err, "write '%s/failed/%s'", t->in->config->inbox, file);
    return text.failed ? err_nomem(err) : sys_write_all(fd, text.p, text.n, file, err);
}

/* Its own name, or where that one is there already, the one under which it was taken. */
static const char *last_name(const struct taking *t, const struct message *m, enum folder to)
{
    struct stat st;
    const char *own = strlen(m->name) > SYS_UID_LEN && m->name[SYS_UID_LEN] == '-' ? m->name + SYS_UID_LEN + 1 : m->name;
    return fstatat(t->fd[to], own, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT ? own : m->name;
}

static int put_away(const struct taking *t, const struct message *m, struct err *err)
{
    enum folder to = m->fate == BAD ? FAILED : DONE;
    const char *name = last_name(t, m, to);
    if (m->fate != BAD && t->in->config->inbox_delete)
        return unlinkat(t->fd[TAKEN], m->name, 0) < 0 ? err_sys(err, "remove '%s/taken/%s'", t->in->config->inbox, m->name) : 0;
    if (m->fate == BAD && error_write(t, m, name, err) < 0)
        return -1;
    if (renameat(t->fd[TAKEN], m->name, t->fd[to], name) < 0)
        return err_sys(err, "move '%s/taken/%s' to '%s/%s'", t->in->config->inbox, m->name, folder_names[to], name);
    if (m->fate == BAD)
        log_error("a message of the inbox was refused", &m->why, "file", name);
    return 0;
}

static int folders_sync(const struct taking *t, struct err *err)
{
    for (int i = 0; i < FOLDERS; i++)
        if (sys_fsync_dir(t->fd[i], folder_names[i], err) < 0)
            return err_in(err, "inbox '%s'", t->in->config->inbox);
    return 0;
}

/* Put away all whose fate is known; those that stay are in taken/ for the next call. */
static int settle(struct taking *t, struct err *why, struct err *err)
{
    const char *gone[BATCH];
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        const struct message *m = &t->v[i];
        if (m->fate == LATER)
            *why = m->why;
        else if (put_away(t, m, why) == 0 && m->fate != BAD)
            gone[n++] = m->name;
        if (m->fate != LATER)
            (void)sys_fault("inbox-put-away");
    }
    if (!n || folders_sync(t, why) < 0)
        return 0; /* the names stay known until the files are gone from taken/ for good */
    return scan_inbox_forget(t->in->queue, t->in->lease, gone, n, err);
}

static int batch_submit(struct taking *t, struct err *why, struct err *err)
{
    int before = t->jobs;
    for (int i = 0; i < t->ngood; i++)
        t->names[i] = t->v[t->good[i]].name;
    if (!t->ngood)
        return 0;
    if (folders_sync(t, why) < 0) { /* not on disk: not taken yet */
        for (int i = 0; i < t->ngood; i++) {
            t->v[t->good[i]].fate = LATER;
            t->v[t->good[i]].why = *why;
        }
        return 0;
    }
    if (scan_inbox(t->in->queue, t->in->lease, t->names, t->ngood, submit, t, err) < 0)
        return err_in(err, "make jobs of messages");
    queue_ring(t->in->queue, BELL_READY, t->jobs - before > 64 ? 64 : t->jobs - before);
    return 0;
}

/* Nothing is under way: names that are known still are of files that were put away by somebody who died then. */
static int forget_rest(struct taking *t, struct err *why, struct err *err)
{
    int any = scan_inbox_known(t->in->queue, NULL, err);
    if (any <= 0)
        return any;
    return folders_sync(t, why) < 0 ? 0 : scan_inbox_forget(t->in->queue, t->in->lease, NULL, 0, err);
}

static int take_all(struct taking *t, int64_t *again_ms, struct err *why, struct err *err)
{
    do {
        batch_end(t);
        role_alive(t->in->role);
        if (role_grace(t->in->role) >= 0)
            break;
        if (batch_left(t, why, err) < 0 || (!t->n && batch_new(t, again_ms, why, err) < 0) || batch_submit(t, why, err) < 0 ||
            settle(t, why, err) < 0)
            return -1;
    } while (t->n && why->code == ERR_NONE);
    if (!t->n && why->code == ERR_NONE && role_grace(t->in->role) < 0 && forget_rest(t, why, err) < 0)
        return -1;
    return t->jobs;
}

int inbox_take(const struct inbox *in, int64_t *again_ms, struct err *why, struct err *err)
{
    struct taking *t = calloc(1, sizeof *t);
    *why = (struct err){ 0 };
    if (!t)
        return err_nomem(err);
    t->in = in;
    int rc = folders_open(t, why);
    if (rc == 0 && !(t->v = calloc(BATCH, sizeof *t->v)))
        rc = err_nomem(why);
    if (rc == 0) {
        AUTO(buf_clear) struct buf path = { 0 };
        buf_addf(&path, "%s/", in->config->inbox);
        if (!path.failed)
            watch_folder(in->watch, in->owner, path.p, true);
        rc = take_all(t, again_ms, why, err);
    } else {
        rc = 0;
    }
    taking_clear(t);
    free(t);
    return rc;
}
