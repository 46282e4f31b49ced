/*
 * Folders of an FTP server, by MLSD; by LIST where it says that it has no MLSD, which is remembered of the host. The bytes of a
 * listing are cut into lines as they come, so memory does not grow with a folder. See ftp_line.h for what they mean.
 *
 * A listing that breaks off is an error of the transfer; one that ends in the middle of a line is an error here, for half a
 * name is another name. Listings write nothing.
 */
#include <string.h>

#include "base/sys.h"
#include "io/fetch.h"
#include "source/ftp_line.h"
#include "source/list_tree.h"
#include "source/version.h"

enum { LINE_MAX_BYTES = 16384, TICK_ASK_MS = 1000 };

struct look {
    const struct list_ask *ask;
    const struct list_sink *sink; /* NULL: ask->go_arg is for go_on */
    struct list_tree *tree;
    struct buf line; /* the begin of one */
    bool mlsd, enough;
    int64_t understood; /* lines of the folder */
    struct err odd;     /* the first line that was not */
    int64_t now_ms, asked_mono_ms;
};

static int tick(void *arg, struct err *err)
{
    struct look *l = arg;
    int64_t now = sys_mono_ms();
    if (!l->ask->go_on || now - l->asked_mono_ms < TICK_ASK_MS)
        return 0;
    l->asked_mono_ms = now;
    return l->ask->go_on(l->sink ? l->sink->arg : l->ask->go_arg) ? 0 : err_set(err, ERR_SHUTDOWN, "the listing was stopped");
}

static void leave_out(struct look *l, const char *what)
{
    if (l->sink->odd)
        l->sink->odd(l->sink->arg, what);
}

/* No command can have it: a line ends there, and curl sends no other such sign. */
static bool is_tellable(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if ((uint8_t)name.p[i] < 0x20)
            return false;
    return true;
}

/* A name may have the end of a line in it: what it makes of the lines is left out, while others are understood. 0, 1 enough, -1 */
static int take_line(struct look *l, struct str line, struct err *err)
{
    struct ftp_entry f;
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    int rc = list_tree_count(l->tree, err);
    if (rc == 0)
        rc = l->mlsd ? ftp_mlsd_line(line, &f, err) : ftp_list_line(line, l->now_ms, &f, err);
    if (rc < 0 && err->code == ERR_FETCH_REFUSED) {
        if (l->odd.code == ERR_NONE)
            l->odd = *err;
        return 0;
    }
    l->understood += rc >= 0;
    if (rc > 0 && !is_tellable(f.name)) {
        leave_out(l, "a name has control characters, which cannot be told an FTP server");
        return 0;
    }
    if (rc <= 0)
        return rc < 0 ? -1 : 0;
    static const enum list_what what[] = { [FTP_FILE] = LIST_FILE, [FTP_FOLDER] = LIST_FOLDER, [FTP_OTHER] = LIST_OTHER_KIND };
    struct list_entry e = { what[f.kind], f.name, f.size, f.mtime_ms, f.step_ms };
    return list_tree_entry(l->tree, &e, err);
}

static int keep(struct look *l, struct str part, struct err *err)
{
    if (l->line.n + part.n > LINE_MAX_BYTES)
        return err_set(err, ERR_FETCH_REFUSED, "the server's listing has a line of more than %d bytes", LINE_MAX_BYTES);
    buf_add(&l->line, part.p, part.n);
    return l->line.failed ? err_nomem(err) : 0;
}

static ssize_t take(void *arg, const void *p, size_t n, struct err *err)
{
    struct look *l = arg;
    struct str rest = { p, n };
    int rc = 0;
    for (const char *end; rc == 0 && (end = memchr(rest.p, '\n', rest.n));) {
        struct str line = { rest.p, (size_t)(end - rest.p) };
        rest = (struct str){ end + 1, rest.n - line.n - 1 };
        if (l->line.n) {
            rc = keep(l, line, err);
            line = buf_str(&l->line);
        }
        rc = rc == 0 ? take_line(l, line, err) : rc;
        buf_reset(&l->line);
    }
    if (rc == 0)
        rc = keep(l, rest, err);
    l->enough = rc == 1;
    if (l->enough)
        err_set(err, ERR_INTERNAL, "the listing was long enough");
    return rc ? -1 : (ssize_t)n;
}

static struct fetch_sink sink_of(struct look *l)
{
    return (struct fetch_sink){ .arg = l, .write = take, .tick = tick };
}

/* By one command: 1 it was listed, 0 the server does not know it, -1. */
static int list_by(struct look *l, struct fetch *f, const char *uri, bool mlsd, struct err *err)
{
    struct fetch_sink sink = sink_of(l);
    l->mlsd = mlsd;
    l->now_ms = sys_now_ms();
    buf_reset(&l->line);
    l->understood = 0;
    l->odd = (struct err){ 0 };
    list_under_way(l->ask->links, true);
    int rc = fetch_list(f, uri, config_remote(l->ask->config, uri), mlsd ? "MLSD" : "LIST", &sink, err);
    list_under_way(l->ask->links, false);
    if (rc == 1 && l->line.n)
        return err_set(err, ERR_FETCH, "%s: the listing ends in the middle of a line", l->ask->base);
    if (rc == 1 && l->odd.code != ERR_NONE && !l->understood) {
        *err = l->odd;
        return -1;
    }
    if (l->odd.code != ERR_NONE)
        leave_out(l, l->odd.msg);
    return rc;
}

static int list_folder(struct list_tree *t, void *arg, struct err *err)
{
    struct look *l = arg;
    AUTO(buf_clear) struct buf uri = { 0 };
    struct fetch *f = list_fetch(l->ask->links, l->ask->config, LINK_LIST, err);
    list_uri(l->ask->base, buf_str(&t->path), &uri);
    l->tree = t;
    if (!f || uri.failed)
        return f ? err_nomem(err) : -1;
    int rc = list_is_plain(l->ask->links, l->ask->base) ? 0 : list_by(l, f, uri.p, true, err);
    if (rc == 0) {
        rc = list_by(l, f, uri.p, false, err);
        if (rc == 1 && !list_set_plain(l->ask->links, l->ask->base))
            return err_nomem(err);
    }
    if (rc == 0)
        return err_set(err, ERR_FETCH_REFUSED, "%s: the server knows neither MLSD nor LIST", l->ask->base);
    return l->enough ? 1 : rc < 0 ? -1 : 0;
}

/* By SIZE and MDTM: 1, 0, -1. */
static int look_at(struct look *l, struct str path, enum list_link which, int64_t *size, int64_t *mtime_ms, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    struct fetch *f = list_fetch(l->ask->links, l->ask->config, which, err);
    struct fetch_sink sink = sink_of(l);
    const struct remote *remote;
    list_uri(l->ask->base, path, &uri);
    if (!f || uri.failed)
        return f ? err_nomem(err) : -1;
    return list_remote(l->ask, path, &remote, err) < 0 ? -1 : fetch_stat(f, uri.p, remote, &sink, size, mtime_ms, err);
}

static int list(const struct list_ask *ask, const struct list_sink *sink, struct err *err)
{
    struct look l = { .ask = ask, .sink = sink };
    struct list_tree t = { .ask = ask, .sink = sink };
    int64_t size = -1, mtime_ms = 0;
    int rc = ask->glob->literal ? look_at(&l, ask->glob->prefix, LINK_LIST, &size, &mtime_ms, err) : 0;
    if (rc == 1 && (size >= 0 || mtime_ms))
        rc = list_tree_offer(&t, ask->glob->prefix, size, mtime_ms, 1000, err);
    else if (rc == 1 || !ask->glob->literal) /* a server without SIZE and MDTM cannot be asked for one file */
        rc = list_tree_walk(ask, sink, list_folder, &l, err);
    list_tree_clear(&t);
    buf_clear(&l.line);
    return rc < 0 ? -1 : 0;
}

static int exists(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err)
{
    struct look l = { .ask = ask };
    int64_t size;
    enum list_link which = ask->glob ? LINK_ASK : LINK_LIST; /* no listing is under way whose connection we would break off */
    return look_at(&l, path, which, &size, mtime_ms, err);
}

/* ---- single objects ---- */

static ssize_t skip(void *arg, const void *p, size_t n, struct err *err)
{
    (void)arg, (void)p, (void)err;
    return (ssize_t)n;
}

/* Has the server no MLSD? What it says of a folder is read over. 1, 0, -1 */
static int is_plain_server(struct look *l, struct str path, struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    const char *slash = memrchr(path.p, '/', path.n);
    struct fetch_sink sink = { .arg = l, .write = skip, .tick = tick };
    struct fetch *f = list_fetch(l->ask->links, l->ask->config, LINK_LIST, err);
    if (list_is_plain(l->ask->links, l->ask->base))
        return 1;
    list_uri(l->ask->base, (struct str){ path.p, (size_t)(slash + 1 - path.p) }, &uri);
    if (!f || uri.failed)
        return f ? err_nomem(err) : -1;
    const struct remote *remote;
    if (list_remote(l->ask, path, &remote, err) < 0)
        return -1;
    int rc = fetch_list(f, uri.p, remote, "MLSD", &sink, err);
    if (rc == 0 && !list_set_plain(l->ask->links, l->ask->base))
        return err_nomem(err);
    return rc < 0 ? -1 : rc == 0;
}

static int look(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err)
{
    struct look l = { .ask = ask };
    int64_t now_size = -1, now_ms = 0;
    int rc = look_at(&l, path, LINK_LIST, &now_size, &now_ms, err);
    if (rc <= 0)
        return rc < 0 ? -1 : LIST_NONE;
    if (now_size < 0 || !now_ms || !v->mtime_ms)
        return err_set(err, ERR_FETCH_REFUSED, "%s: the server does not say size and time of a file (SIZE, MDTM)", ask->base);
    if (now_size != v->size || now_ms == v->mtime_ms - v->mtime_ms % 1000)
        return now_size == v->size ? LIST_SAME : LIST_OTHER;
    if (!version_shown_as(now_ms, v->mtime_ms))
        return LIST_OTHER;
    rc = is_plain_server(&l, path, err);
    return rc < 0 ? -1 : rc ? LIST_SAME : LIST_OTHER;
}

/* About the path. */
static int order(const struct list_ask *ask, struct str path, const struct fetch_order orders[2], struct err *err)
{
    AUTO(buf_clear) struct buf uri = { 0 };
    struct look l = { .ask = ask };
    struct fetch_sink sink = sink_of(&l);
    const struct remote *remote;
    struct fetch *f = list_fetch(ask->links, ask->config, LINK_LIST, err);
    buf_addf(&uri, "%s/", ask->base);
    if (!f || uri.failed)
        return f ? err_nomem(err) : -1;
    return list_remote(ask, path, &remote, err) < 0 ? -1 : fetch_order(f, uri.p, remote, orders, &sink, err);
}

/* As in a URL: below the folder of the login; with two slashes at the beginning from the root. */
static struct str relative(struct str path) { return (struct str){ path.p + 1, path.n - 1 }; }

static int make_folder(const struct list_ask *ask, struct str folder, struct err *err)
{
    const struct fetch_order make[2] = { { "*MKD", relative(folder) } };
    return folder.n > 1 ? order(ask, folder, make, err) : 0;
}

/* Which of them it was the server's reply does not say: most often the folder, which MKD could not make either. */
static int rename_to(const struct list_ask *ask, struct str from, struct str to, struct err *err)
{
    const struct fetch_order orders[2] = { { "RNFR", relative(from) }, { "RNTO", relative(to) } };
    if (order(ask, from, orders, err) == 0)
        return 0;
    if (err->code != ERR_FETCH_REFUSED)
        return -1;
    if (list_folders(ask, to, make_folder, err) < 0)
        return -1;
    if (order(ask, from, orders, err) == 0)
        return 0;
    return err->code == ERR_FETCH_REFUSED ? err_in(err, "RNFR, RNTO '%.*s' (and MKD of its folder)", (int)to.n, to.p) : -1;
}

static int remove_one(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err)
{
    const struct fetch_order dele[2] = { { "DELE", relative(path) } };
    (void)v;
    if (order(ask, path, dele, err) == 0)
        return 1;
    return err->code == ERR_FETCH_REFUSED ? err_in(err, "DELE") : -1;
}

static const struct list_acts acts = { .look = look, .rename = rename_to, .remove = remove_one };
static const char *const schemes[] = { "ftp", "ftps", NULL };
const struct lister list_ftp = { schemes, false, list, exists, &acts };
