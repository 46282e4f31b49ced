#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "io/spool.h"
#include "test.h"

#define UID_A "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define UID_B "01BX5ZZKBKACTAV9WEVGEMMVRZ"

/* A spool of its own for each test. */
static struct spool fresh(const char **path)
{
    static int n;
    char name[32];
    struct spool s;
    struct err err;
    snprintf(name, sizeof name, "spool%d", n++);
    *path = test_file(name);
    CHECK_OK(spool_open(&s, *path, true, &err), err);
    return s;
}

static bool there(const char *root, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return access(path, F_OK) == 0;
}

static int mode_of(const char *root, const char *name)
{
    char path[1024];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", root, name);
    return stat(path, &st) < 0 ? -1 : (int)(st.st_mode & 07777);
}

static void make_old(const char *root, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    CHECK_EQ(
        utimensat(AT_FDCWD, path, (struct timespec[2]){ { 1000000000, 0 }, { 1000000000, 0 } }, 0),
        0);
}

static void put_text(int fd, const char *text)
{
    CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Run in a child that may change its user or mounts; gives what `run` gives, or 77 where the child
 * may not. */
static int in_child(int (*run)(const char *path), const char *path)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(path));
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- opening ---- */

TEST(spool, it_is_made_with_its_folders_for_owner_and_group_alone)
{
    const char *path;
    mode_t before = umask(0);
    struct spool s = fresh(&path), again;
    struct err err;
    int fd = spool_create(&s, UID_A, 1, 0, &err);
    umask(before);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQ(mode_of(path, ""), 0750);
    CHECK_EQ(mode_of(path, "fetch"), 0750);
    CHECK_EQ(mode_of(path, "staged"), 0750);
    CHECK_EQ(mode_of(path, "rejects"), 0750);
    CHECK_EQ(mode_of(path, "staged/" UID_A ".1"), 0750);
    CHECK_EQ(mode_of(path, "staged/" UID_A ".1/0.part"), 0640);
    CHECK_OK(spool_open(&again, path, false, &err), err);
    CHECK(again.path[0] == '/');
    spool_close(&again);
    spool_close(&s);
    spool_close(&s); /* twice is fine */
}

static void open_fails(const char *path, bool create, enum err_code code, const char *says)
{
    struct spool s;
    struct err err;
    CHECK_EQ(spool_open(&s, path, create, &err), -1);
    CHECK_EQ(err.code, code);
    CHECK_HAS(err.msg, path);
    CHECK_HAS(err.msg, says);
}

TEST(spool, a_missing_or_wrong_folder_is_said_clearly)
{
    char below[600];
    int fd = open(test_file("file"), O_CREAT | O_WRONLY, 0600);
    close(fd);
    snprintf(below, sizeof below, "%s/spool", test_file("file"));
    open_fails(test_file("none"), false, ERR_SPOOL, "does not exist; qetlctl init makes it");
    open_fails(test_file("file"), false, ERR_SPOOL, "is not a folder");
    open_fails(test_file("file"), true, ERR_SPOOL, "is not a folder");
    open_fails(below, true, ERR_SPOOL, "is not a folder");
    const char *path;
    struct spool s = fresh(&path);
    CHECK_EQ(unlinkat(s.dirfd, "staged", AT_REMOVEDIR), 0);
    open_fails(path, false, ERR_SPOOL, "open the folder 'staged'");
    spool_close(&s);
}

static int open_as_nobody(const char *path)
{
    struct spool s;
    struct err err;
    if (geteuid() == 0 && (setegid(65534) < 0 || seteuid(65534) < 0))
        return 77;
    if (spool_open(&s, path, true, &err) == 0)
        return 1;
    return err.code == ERR_SPOOL && strstr(err.msg, path) &&
                   strstr(err.msg, "may not be used by this user")
               ? 0
               : 2;
}

TEST(spool, a_folder_of_somebody_else_is_said_clearly)
{
    const char *path;
    struct spool s = fresh(&path);
    CHECK_EQ(chmod(test_dir(), 0711), 0);
    if (geteuid() != 0)
        CHECK_EQ(fchmod(s.dirfd, 0), 0);
    CHECK_EQ(in_child(open_as_nobody, path), 0);
    CHECK_EQ(fchmod(s.dirfd, 0755), 0); /* one that it may read, but not write */
    CHECK_EQ(fchmod(s.fetch, 0555), 0);
    CHECK_EQ(in_child(open_as_nobody, path), 0);
    spool_close(&s);
}

static int mounted(const char *path, const char *options, unsigned long flags)
{
    return unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
                   mount("tmpfs", path, "tmpfs", flags, options) < 0
               ? -1
               : 0;
}

static int open_read_only(const char *path)
{
    struct spool s;
    struct err err;
    if (mounted(path, "size=64k", 0) < 0)
        return 77;
    if (spool_open(&s, path, true, &err) < 0)
        return 1;
    if (mount("none", path, "none", MS_REMOUNT | MS_RDONLY, "size=64k") < 0)
        return 77;
    if (spool_create(&s, UID_A, 1, 0, &err) >= 0 || err.code != ERR_SPOOL ||
        !strstr(err.msg, "read-only"))
        return 2;
    spool_close(&s);
    if (spool_open(&s, path, true, &err) == 0)
        return 3;
    return err.code == ERR_SPOOL && strstr(err.msg, path) && strstr(err.msg, "read-only") ? 0 : 4;
}

static int fill_disk(const char *path)
{
    AUTO(spool_close) struct spool s = { NULL, -1, -1, -1, -1 };
    struct err err;
    char block[4096] = { 0 };
    struct spool_object o;
    if (mounted(path, "size=64k,nr_inodes=20", 0) < 0)
        return 77;
    if (spool_open(&s, path, true, &err) < 0 || spool_object_open(&s, UID_B, 0, "u", &o, &err) < 0)
        return 1;
    int fd = spool_create(&s, UID_A, 1, 0, &err);
    while (fd >= 0 && write(fd, block, sizeof block) == (ssize_t)sizeof block)
        ;
    if (spool_object_meta(&s, UID_B, 0, "u", &o, &err) == 0 || err.code != ERR_DISK_FULL ||
        !strstr(err.msg, path))
        return 2;
    for (int i = 1; i < 30 && fd >= 0; i++) /* no inode left */
        fd = spool_create(&s, UID_A, 1, i, &err);
    return fd < 0 && err.code == ERR_DISK_FULL && strstr(err.msg, path) ? 0 : 3;
}

static void needs_mount(int (*run)(const char *path), const char *name)
{
    const char *path = test_file(name);
    CHECK_EQ(mkdir(path, 0755), 0);
    int rc = in_child(run, path);
    if (rc == 77) {
        print_message("# skipped: only root may mount a file system\n");
        return;
    }
    CHECK_EQ(rc, 0);
}

TEST(spool, a_read_only_file_system_is_said_clearly)
{
    needs_mount(open_read_only, "ro");
}
TEST(spool, a_full_disk_is_said_clearly)
{
    needs_mount(fill_disk, "full");
}

/* ---- outputs ---- */

TEST(spool, a_scratch_file_has_no_name_and_is_nobody_elses)
{
    const char *path;
    struct err err;
    struct spool s = fresh(&path);
    char folder[300], text[6] = "";
    int one = spool_scratch(&s, &err), two = spool_scratch(&s, &err);
    CHECK(one >= 0 && two >= 0);
    put_text(one, "hello");
    CHECK_EQ(lseek(two, 0, SEEK_END), 0);
    CHECK_EQ(pread(one, text, 5, 0), 5);
    CHECK_STR(text, "hello");
    struct stat st;
    CHECK_EQ(fstat(one, &st), 0);
    CHECK_EQ(st.st_nlink, 0);
    snprintf(folder, sizeof folder, "%s/staged", path);
    CHECK_EQ(rmdir(folder), 0); /* it is empty */
    close(one);
    close(two);
    spool_close(&s);
}

TEST(spool, published_outputs_are_whole_under_their_names)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    int a = spool_create(&s, UID_A, 1, 0, &err), b = spool_create(&s, UID_A, 1, 1, &err);
    put_text(a, "rows");
    put_text(b, "rejects");
    struct spool_file files[] = { { 0, a, "db" }, { 1, -1, "jsonl" } };
    CHECK_OK(spool_publish(&s, UID_A, 1, files, 2, &err), err);
    close(a);
    close(b);
    char name[1024], text[16] = "";
    spool_staged_path(&s, UID_A, 1, 0, "db", name, sizeof name);
    CHECK(name[0] == '/');
    int fd = open(name, O_RDONLY);
    CHECK_EQ(read(fd, text, sizeof text), 4);
    CHECK_STR(text, "rows");
    close(fd);
    CHECK(there(path, "staged/" UID_A ".1/1.jsonl"));
    CHECK(!there(path, "staged/" UID_A ".1/0.part"));

    CHECK_OK(spool_keep_rejects(&s, UID_A, 1, 1, &err), err);
    CHECK(there(path, "rejects/" UID_A ".jsonl"));
    CHECK_OK(spool_keep_rejects(&s, UID_A, 1, 1, &err), err); /* after a crash it is asked for again */
    CHECK_OK(spool_discard(&s, UID_A, 1, 1, &err), err);
    CHECK_OK(spool_discard(&s, UID_A, 1, 1, &err), err);
    CHECK(!there(path, "staged/" UID_A ".1"));
    CHECK_OK(spool_keep_rejects(&s, UID_A, 1, 1, &err), err);
    CHECK_EQ(spool_keep_rejects(&s, UID_B, 1, 1, &err), -1);
    CHECK_EQ(err.code, ERR_SPOOL);
    spool_close(&s);
}

TEST(spool, a_late_worker_writes_to_a_file_of_its_own)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    int late = spool_create(&s, UID_A, 1, 0, &err), now = spool_create(&s, UID_A, 1, 0, &err);
    put_text(now, "new");
    put_text(late, "stale bytes");
    CHECK_OK(spool_publish(&s, UID_A, 1, &(struct spool_file){ 0, now, "db" }, 1, &err), err);
    CHECK_EQ(lseek(now, 0, SEEK_END), 3);
    CHECK_EQ(spool_publish(&s, UID_A, 1, &(struct spool_file){ 0, late, "db" }, 1, &err),
             -1); /* cannot replace it */
    CHECK_EQ(err.code, ERR_SPOOL);
    CHECK_EQ(mode_of(path, "staged/" UID_A ".1/0.db"), 0640);
    close(late);
    close(now);
    spool_close(&s);
}

TEST(spool, each_claim_of_a_job_has_a_folder_of_its_own)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    int old = spool_create(&s, UID_A, 1, 0, &err), now = spool_create(&s, UID_A, 2, 0, &err),
        far = spool_create(&s, UID_A, 12, 0, &err);
    put_text(old, "old");
    put_text(now, "of the second");
    struct spool_file files[] = { { 0, now, "jsonl" } };
    CHECK_OK(spool_publish(&s, UID_A, 2, files, 1, &err), err);
    /* the first comes late: it may do all that an owner may, in its own folder */
    files[0].fd = old;
    CHECK_OK(spool_publish(&s, UID_A, 1, files, 1, &err), err);
    CHECK_OK(spool_discard(&s, UID_A, 1, 1, &err), err);
    CHECK(!there(path, "staged/" UID_A ".1"));
    CHECK_OK(spool_keep_rejects(&s, UID_A, 2, 0, &err), err);
    struct stat st;
    CHECK_EQ(fstatat(s.rejects, UID_A ".jsonl", &st, 0), 0);
    CHECK_EQ(st.st_size, 13);
    /* who is done with the job takes the folders of all claims up to the one that staged, and no later one */
    CHECK_EQ(mkdirat(s.staged, UID_A ".1", 0700), 0);
    CHECK_OK(spool_discard(&s, UID_A, 1, 2, &err), err);
    CHECK(!there(path, "staged/" UID_A ".1") && !there(path, "staged/" UID_A ".2"));
    CHECK(there(path, "staged/" UID_A ".12/0.part"));
    close(old);
    close(now);
    close(far);
    spool_close(&s);
}

static int keep_with(const char *fault, const char *path)
{
    AUTO(spool_close) struct spool s = SPOOL_CLOSED;
    struct err err;
    if (spool_open(&s, path, true, &err) < 0)
        return 10;
    int fd = spool_create(&s, UID_B, 1, 0, &err);
    if (fd < 0 ||
        spool_publish(&s, UID_B, 1, &(struct spool_file){ 0, fd, "jsonl" }, 1, &err) < 0)
        return 11;
    setenv("QETL_FAULT", fault, 1);
    sys_faults_init();
    if (spool_keep_rejects(&s, UID_B, 1, 0, &err) == 0 || err.code != ERR_IO)
        return 12;
    return spool_keep_rejects(&s, UID_B, 1, 0, &err) == 0 ? 0 : 13; /* asked again, it is done */
}
static int rejects_sync_fails(const char *path)
{
    return keep_with("spool-keep-sync:1:error", path);
}
static int folder_sync_fails(const char *path)
{
    return keep_with("spool-keep-sync:2:error", path);
}

TEST(spool, rejects_are_not_kept_before_both_folders_are_synced)
{
    const char *path;
    struct spool s = fresh(&path);
    CHECK_EQ(in_child(rejects_sync_fails, path), 0);
    CHECK_EQ(in_child(folder_sync_fails, path), 0);
    spool_close(&s);
}

TEST(spool, a_uid_that_is_a_path_is_refused)
{
    const char *path;
    struct spool s = fresh(&path);
    static const char *const bad[] = { "", ".", "..", "../x", "a/b", "a.b", "/etc" };
    struct err err;
    struct spool_object o;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_EQ(spool_create(&s, bad[i], 1, 0, &err), -1);
        CHECK_EQ(spool_publish(&s, bad[i], 1, NULL, 0, &err), -1);
        CHECK_EQ(spool_discard(&s, bad[i], 1, 1, &err), -1);
        CHECK_EQ(spool_keep_rejects(&s, bad[i], 1, 0, &err), -1);
        CHECK_EQ(spool_object_open(&s, bad[i], 0, "u", &o, &err), -1);
        CHECK_EQ(spool_object_discard(&s, bad[i], &err), -1);
        CHECK_EQ(err.code, ERR_INTERNAL);
    }
    spool_close(&s);
}

/* The fault points give the error of the disk, and the name of the output never shows a file that
 * was not synced. */
static int publish_with(const char *fault, const char *path, enum err_code code, bool visible)
{
    AUTO(spool_close) struct spool s = { NULL, -1, -1, -1, -1 };
    struct err err;
    setenv("QETL_FAULT", fault, 1);
    if (spool_open(&s, path, true, &err) < 0)
        return 10;
    int fd = spool_create(&s, UID_B, 1, 0, &err);
    if (fd < 0 || write(fd, "x", 1) != 1)
        return 11;
    sys_faults_init();
    if (spool_publish(&s, UID_B, 1, &(struct spool_file){ 0, fd, "db" }, 1, &err) == 0)
        return 12;
    if (err.code != code)
        return 13;
    return there(path, "staged/" UID_B ".1/0.db") == visible ? 0 : 14;
}
static int fsync_fails(const char *path)
{
    return publish_with("spool-fsync:1:enospc", path, ERR_DISK_FULL, false);
}
static int before_fails(const char *path)
{
    return publish_with("stage-before-rename:1:error", path, ERR_IO, false);
}
static int after_fails(const char *path)
{
    return publish_with("stage-after-rename:1:error", path, ERR_IO, true);
}

TEST(spool, an_output_that_cannot_be_synced_is_not_published)
{
    const char *path;
    int (*const runs[])(const char *) = { fsync_fails, before_fails, after_fails };
    for (size_t i = 0; i < COUNT_OF(runs); i++) {
        struct spool s = fresh(&path);
        CHECK_EQ(in_child(runs[i], path), 0);
        spool_close(&s);
    }
}

/* ---- sweep and usage ---- */

struct owned {
    const char *keep, *fail;
    int asked;
};
static int keep_one(void *arg, enum spool_folder folder, const char *uid, struct err *err)
{
    (void)folder;
    struct owned *o = arg;
    o->asked++;
    if (o->fail && !strcmp(uid, o->fail))
        return err_set(err, ERR_DATABASE, "away");
    return o->keep && !strcmp(uid, o->keep);
}

TEST(spool, the_sweep_removes_what_is_old_and_nobodys)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    struct spool_object o;
    const char *uids[] = { UID_A, UID_B, "YOUNG" };
    for (size_t i = 0; i < COUNT_OF(uids); i++) {
        close(spool_create(&s, uids[i], 1, 0, &err));
        CHECK_OK(spool_object_open(&s, uids[i], 0, "u", &o, &err), err);
        CHECK_OK(spool_object_meta(&s, uids[i], 0, "u", &o, &err), err);
        close(o.fd);
    }
    CHECK_EQ(mkdirat(s.staged, "lost+found", 0700), 0);
    close(openat(s.rejects, UID_A ".jsonl", O_CREAT | O_WRONLY, 0600));
    close(openat(s.rejects, UID_B ".jsonl", O_CREAT | O_WRONLY, 0600));
    static const char *const old[] = { "staged/" UID_A ".1",   "staged/" UID_B ".1",
                                       "fetch/" UID_A ".0.part", "fetch/" UID_A ".0.meta",
                                       "fetch/" UID_B ".0.part", "fetch/" UID_B ".0.meta",
                                       "rejects/" UID_A ".jsonl", "rejects/" UID_B ".jsonl",
                                       "staged/lost+found" };
    for (size_t i = 0; i < COUNT_OF(old); i++)
        make_old(path, old[i]);
    struct owned owned = { UID_A, NULL, 0 };
    int64_t removed = -1;
    CHECK_OK(spool_sweep(&s, 60000, keep_one, &owned, &removed, &err), err);
    CHECK_EQ(removed, 4);
    CHECK(there(path, "rejects/" UID_A ".jsonl") && !there(path, "rejects/" UID_B ".jsonl"));
    CHECK(there(path, "staged/" UID_A ".1") && there(path, "fetch/" UID_A ".0.part") &&
          there(path, "fetch/" UID_A ".0.meta"));
    CHECK(there(path, "staged/YOUNG.1") && there(path, "fetch/YOUNG.0.part") &&
          there(path, "staged/lost+found"));
    CHECK(!there(path, "staged/" UID_B ".1") && !there(path, "fetch/" UID_B ".0.part") &&
          !there(path, "fetch/" UID_B ".0.meta"));
    owned = (struct owned){ NULL, UID_A, 0 };
    CHECK_EQ(spool_sweep(&s, 0, keep_one, &owned, &removed, &err), -1);
    CHECK_EQ(err.code, ERR_DATABASE);
    CHECK(there(path, "staged/" UID_A ".1"));
    spool_close(&s);
}

static int list_fails(const char *path)
{
    AUTO(spool_close) struct spool s = SPOOL_CLOSED;
    struct err err;
    struct owned owned = { NULL, NULL, 0 };
    int64_t removed, used, left;
    setenv("QETL_FAULT", "spool-list:2:error", 1);
    if (spool_open(&s, path, true, &err) < 0)
        return 10;
    sys_faults_init();
    if (spool_sweep(&s, 0, keep_one, &owned, &removed, &err) == 0 || err.code != ERR_IO)
        return 11;
    sys_faults_init();
    if (spool_usage(&s, &used, &left, &err) == 0 || err.code != ERR_IO)
        return 12;
    setenv("QETL_FAULT", "spool-list:1:error", 1);
    sys_faults_init();
    return spool_object_discard(&s, UID_A, &err) < 0 && err.code == ERR_IO ? 0 : 13;
}

TEST(spool, a_folder_that_cannot_be_read_to_its_end_is_an_error)
{
    const char *path;
    struct spool s = fresh(&path);
    CHECK_EQ(in_child(list_fails, path), 0);
    spool_close(&s);
}

TEST(spool, usage_counts_every_file_once)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    int64_t before, after, left;
    char block[65536] = { 1 };
    CHECK_OK(spool_usage(&s, &before, &left, &err), err);
    int fd = spool_create(&s, UID_A, 1, 0, &err);
    CHECK_EQ(write(fd, block, sizeof block), (ssize_t)sizeof block);
    CHECK_EQ(fsync(fd), 0);
    close(fd);
    CHECK_OK(spool_usage(&s, &after, &left, &err), err);
    CHECK(after - before >= 65536 && after - before <= 65536 + 16384); /* and its folder */
    CHECK(left > 0);
    spool_close(&s);
}

/* ---- big objects ---- */

static const char uri[] = "https://h/x?a=1%20b\nc";

static struct spool_object begun(struct spool *s, const char *bytes)
{
    struct spool_object o;
    struct err err;
    CHECK_OK(spool_object_open(s, UID_A, 3, uri, &o, &err), err);
    CHECK_EQ(o.have, 0);
    snprintf(o.etag, sizeof o.etag, "\"a%%1\"");
    snprintf(o.modified, sizeof o.modified, "Sat, 21 Nov 2026 05:00:00 GMT");
    o.size = 10;
    CHECK_OK(spool_object_meta(s, UID_A, 3, uri, &o, &err), err);
    CHECK_EQ(pwrite(o.fd, bytes, strlen(bytes), 0), (ssize_t)strlen(bytes));
    return o;
}

static int64_t have(struct spool *s, const char *of)
{
    struct spool_object o;
    struct err err;
    CHECK_OK(spool_object_open(s, UID_A, 3, of, &o, &err), err);
    CHECK_EQ(lseek(o.fd, 0, SEEK_END), o.have);
    if (o.have) {
        CHECK_STR(o.etag, "\"a%1\"");
        CHECK_STR(o.modified, "Sat, 21 Nov 2026 05:00:00 GMT");
        CHECK_EQ(o.size, 10);
    } else {
        CHECK_STR(o.etag, "");
        CHECK_EQ(o.size, -1);
    }
    close(o.fd);
    return o.have;
}

TEST(spool, a_part_goes_on_where_it_was_with_its_version)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    close(begun(&s, "12345").fd);
    CHECK_EQ(have(&s, uri), 5);
    CHECK_EQ(mode_of(path, "fetch/" UID_A ".3.meta"), 0640);
    CHECK_EQ(mode_of(path, "fetch/" UID_A ".3.part"), 0640);
    CHECK_OK(spool_object_discard(&s, UID_A, &err), err);
    CHECK(!there(path, "fetch/" UID_A ".3.part") && !there(path, "fetch/" UID_A ".3.meta"));
    CHECK_EQ(have(&s, uri), 0);
    spool_close(&s);
}

TEST(spool, bytes_of_another_uri_do_not_count)
{
    const char *path;
    struct spool s = fresh(&path);
    close(begun(&s, "12345").fd);
    CHECK_EQ(have(&s, "https://h/y"), 0);
    CHECK_EQ(have(&s, uri), 0); /* gone for good */
    spool_close(&s);
}

TEST(spool, a_new_version_cuts_the_part)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    struct spool_object o = begun(&s, "12345");
    o.have = 0;
    CHECK_OK(spool_object_meta(&s, UID_A, 3, uri, &o, &err), err);
    CHECK_EQ(lseek(o.fd, 0, SEEK_END), 0);
    close(o.fd);
    spool_close(&s);
}

static void edit_meta(const char *path, const char *from, const char *to)
{
    char name[1024], text[4096] = "";
    snprintf(name, sizeof name, "%s/fetch/" UID_A ".3.meta", path);
    FILE *f = fopen(name, "r");
    CHECK(f && fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    char *at = strstr(text, from);
    CHECK(at != NULL);
    f = fopen(name, "w");
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    fclose(f);
}

TEST(spool, bytes_whose_meta_is_damaged_or_of_another_boot_do_not_count)
{
    static const struct {
        const char *from, *to;
    } edits[] = { { "boot ", "boot 0" },     { "part ", "part 1" },
                  { "etag ", "e " },         { "%25", "%2" },
                  { "size 10", "size 4" },   { "size 10\n", "size 10" },
                  { "size 10", "size ten" }, { "qetl-object 1", "qetl-object 2" },
                  { "modified ", "" } };
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        const char *path;
        struct spool s = fresh(&path);
        close(begun(&s, "12345").fd);
        edit_meta(path, edits[i].from, edits[i].to);
        CHECK_EQ(have(&s, uri), 0);
        spool_close(&s);
    }
}

TEST(spool, a_part_that_somebody_still_writes_is_left_to_him)
{
    const char *path;
    struct spool s = fresh(&path);
    struct err err;
    struct spool_object late = begun(&s, "12345"), now;
    CHECK_OK(spool_object_open(&s, UID_A, 3, uri, &now, &err), err);
    CHECK_EQ(now.have, 0);
    snprintf(now.etag, sizeof now.etag, "\"new\"");
    now.size = 10;
    CHECK_OK(spool_object_meta(&s, UID_A, 3, uri, &now, &err), err);
    CHECK_EQ(pwrite(now.fd, "new", 3, 0), 3);
    CHECK_EQ(pwrite(late.fd, "stale bytes", 11, 0), 11);
    CHECK_EQ(lseek(now.fd, 0, SEEK_END), 3);
    /* and the late one's .meta does not vouch for the other's bytes */
    CHECK_OK(spool_object_meta(&s, UID_A, 3, uri, &late, &err), err);
    close(now.fd);
    close(late.fd);
    CHECK_EQ(have(&s, uri), 0);
    spool_close(&s);
}

/* Opens the part, stopped between the open and the lock. */
static int open_slowly(const char *path)
{
    AUTO(spool_close) struct spool s = SPOOL_CLOSED;
    struct err err;
    struct spool_object o;
    struct stat ours, named;
    setenv("QETL_FAULT", "spool-before-lock:1:stop", 1);
    sys_faults_init();
    if (spool_open(&s, path, true, &err) < 0 ||
        spool_object_open(&s, UID_A, 3, uri, &o, &err) < 0)
        return 10;
    bool same = fstat(o.fd, &ours) == 0 &&
                fstatat(s.fetch, UID_A ".3.part", &named, 0) == 0 && ours.st_ino == named.st_ino;
    close(o.fd);
    return same ? 0 : 11;
}

TEST(spool, a_part_that_is_replaced_before_it_is_locked_is_opened_again)
{
    const char *path;
    struct spool s = fresh(&path);
    close(begun(&s, "12345").fd);
    pid_t pid = fork();
    if (pid == 0)
        _exit(open_slowly(path));
    int status;
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK_EQ(renameat(s.fetch, UID_A ".3.part", s.fetch, "kept"), 0); /* its inode is not used again */
    close(begun(&s, "new").fd);
    CHECK_EQ(kill(pid, SIGCONT), 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    spool_close(&s);
}

static int meta_fails(const char *path)
{
    AUTO(spool_close) struct spool s = { NULL, -1, -1, -1, -1 };
    struct err err;
    struct spool_object o;
    setenv("QETL_FAULT", "spool-meta:1:error", 1);
    sys_faults_init();
    if (spool_open(&s, path, true, &err) < 0 ||
        spool_object_open(&s, UID_A, 3, uri, &o, &err) < 0 || o.have != 5)
        return 1;
    snprintf(o.etag, sizeof o.etag, "\"other\"");
    o.have = 0;
    return spool_object_meta(&s, UID_A, 3, uri, &o, &err) < 0 && err.code == ERR_IO ? 0 : 2;
}

TEST(spool, a_meta_that_cannot_be_written_leaves_no_bytes_of_the_wrong_version)
{
    const char *path;
    struct spool s = fresh(&path);
    close(begun(&s, "12345").fd);
    CHECK_EQ(in_child(meta_fails, path), 0);
    struct spool_object o;
    struct err err;
    CHECK_OK(spool_object_open(&s, UID_A, 3, uri, &o, &err), err);
    CHECK_EQ(o.have, 0); /* the part was cut first */
    close(o.fd);
    spool_close(&s);
}
