/* inotify. See watch.h. */
#include "role/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>

enum { FOLDERS_MAX = 8192, RENAMED_MAX = 1024, EVENTS = 64 * 1024 };

static const uint32_t wanted = IN_MOVED_TO | IN_CLOSE_WRITE | IN_CREATE | IN_ONLYDIR;

struct watch {
    int fd;
    struct folder {
        int wd, owner;
        bool above; /* of one that is not there yet: only folders that come count */
        char *path; /* with the slash at its end */
    } *folders; /* oldest first */
    int n, cap;
    char *renamed[RENAMED_MAX];
    int nrenamed;
    uint64_t owners;
};

struct watch *watch_new(void)
{
    struct watch *w = calloc(1, sizeof *w);
    if (w && (w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) >= 0)
        return w;
    free(w);
    return NULL;
}

void watch_forget(struct watch *w)
{
    for (int i = 0; w && i < w->nrenamed; i++)
        free(w->renamed[i]);
    if (w)
        w->nrenamed = 0;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    watch_forget(w);
    for (int i = 0; i < w->n; i++)
        free(w->folders[i].path);
    free(w->folders);
    close(w->fd);
    free(w);
}

static void gone(struct watch *w, int wd)
{
    int kept = 0;
    for (int i = 0; i < w->n; i++)
        if (w->folders[i].wd == wd)
            free(w->folders[i].path);
        else
            w->folders[kept++] = w->folders[i];
    w->n = kept;
}

static void remember(struct watch *w, int wd, int owner, bool above, const char *path)
{
    for (int i = 0; i < w->n; i++)
        if (w->folders[i].wd == wd && w->folders[i].owner == owner) {
            w->folders[i].above &= above;
            return;
        }
    if (w->n == FOLDERS_MAX) { /* those of last month's dates make room */
        (void)inotify_rm_watch(w->fd, w->folders[0].wd);
        gone(w, w->folders[0].wd);
    }
    if (w->n == w->cap) {
        int cap = w->cap ? w->cap * 2 : 16;
        struct folder *more = realloc(w->folders, mem_product((size_t)cap, sizeof *more));
        if (!more)
            return;
        w->folders = more;
        w->cap = cap;
    }
    char *copy = strdup(path);
    if (copy)
        w->folders[w->n++] = (struct folder){ wd, owner, above, copy };
}

void watch_folder(struct watch *w, int owner, const char *path, bool there)
{
    AUTO(free_charp) char *folder = w ? strdup(path) : NULL;
    bool above = !there;
    while (folder) {
        int wd = there ? inotify_add_watch(w->fd, folder, wanted) : -1;
        if (wd >= 0)
            remember(w, wd, owner, above, folder);
        size_t n = strlen(folder);
        if (wd >= 0 || n < 2 || (there && errno != ENOENT && errno != ENOTDIR))
            return;
        above = there = true;
        folder[n - 1] = '\0'; /* one folder up */
        char *slash = strrchr(folder, '/');
        if (!slash)
            return;
        slash[1] = '\0';
    }
}

/* A file that was made elsewhere and linked here: nobody closes it here. One that is being written has one name, or was not touched since
 * its last byte; who takes it for another costs a listing. */
static bool is_linked(const char *folder, const char *name)
{
    AUTO(buf_clear) struct buf path = { 0 };
    struct stat st;
    buf_adds(&path, folder);
    buf_adds(&path, name);
    if (path.failed || lstat(path.p, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    bool touched = st.st_ctim.tv_sec != st.st_mtim.tv_sec ? st.st_ctim.tv_sec > st.st_mtim.tv_sec : st.st_ctim.tv_nsec > st.st_mtim.tv_nsec;
    return st.st_nlink > 1 || (st.st_size > 0 && touched); /* the other name may be gone by now */
}

static bool was_linked(const struct watch *w, const struct inotify_event *e)
{
    for (int i = 0; e->len && i < w->n; i++)
        if (w->folders[i].wd == e->wd && !w->folders[i].above)
            return is_linked(w->folders[i].path, e->name);
    return false;
}

static void came(struct watch *w, const struct inotify_event *e)
{
    const char *folder = NULL;
    if (e->mask & IN_Q_OVERFLOW) {
        w->owners = UINT64_MAX;
        return;
    }
    if (e->mask & IN_IGNORED) {
        gone(w, e->wd);
        return;
    }
    if ((e->mask & IN_CREATE) && !(e->mask & IN_ISDIR) && !was_linked(w, e)) /* it is being written: IN_CLOSE_WRITE follows */
        return;
    for (int i = 0; i < w->n; i++)
        if (w->folders[i].wd == e->wd && (!w->folders[i].above || e->mask & IN_ISDIR)) {
            w->owners |= 1ULL << w->folders[i].owner;
            folder = w->folders[i].path;
        }
    if (folder && e->len && (e->mask & IN_MOVED_TO) && w->nrenamed < RENAMED_MAX &&
        asprintf(&w->renamed[w->nrenamed], "%s%s", folder, e->name) >= 0)
        w->nrenamed++;
}

static void read_events(struct watch *w)
{
    static char events[EVENTS] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(w->fd, events, sizeof events)) > 0)
        for (const char *p = events; p < events + n;) {
            const struct inotify_event *e = (const struct inotify_event *)p;
            came(w, e);
            p += sizeof *e + e->len;
        }
}

uint64_t watch_wait(struct watch *w, int also, int64_t timeout_ms)
{
    struct pollfd p[] = { { w ? w->fd : -1, POLLIN, 0 }, { also, POLLIN, 0 } };
    if (timeout_ms > INT32_MAX)
        timeout_ms = INT32_MAX;
    (void)poll(p, COUNT_OF(p), timeout_ms < 0 ? 0 : (int)timeout_ms);
    if (!w)
        return 0;
    read_events(w);
    uint64_t owners = w->owners;
    w->owners = 0;
    return owners;
}

bool watch_renamed(const struct watch *w, struct str path)
{
    for (int i = 0; w && i < w->nrenamed; i++)
        if (str_eq(str_of(w->renamed[i]), path))
            return true;
    return false;
}
