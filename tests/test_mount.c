/* Which folders lie on other machines. */
#include "base/mount.h"

#include <sys/stat.h>

#include "test.h"

static const char table[] = "22 27 0:20 / /proc rw,nosuid shared:12 - proc proc rw\n"
                            "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
                            "30 27 0:30 / /mnt/nfs rw shared:2 master:3 - nfs4 server:/export rw\n"
                            "31 30 254:0 /disk /mnt/nfs/local rw - ext4 /dev/vda rw\n"
                            "32 27 0:31 / /mnt/a\\040b\\134 rw - cifs //server/share rw\n"
                            "33 27 0:32 / /mnt/sshfs rw - fuse.sshfs me@host: rw\n"
                            "34 27 0:33 / /mnt/layers rw - fuse.fuse-overlayfs none rw\n"
                            "35 27 0:34 / /mnt/ntfs rw - fuseblk /dev/vdb rw\n"
                            "36 27 0:35 / /mnt/auto rw - autofs systemd-1 rw\n"
                            "37 27 0:36 / /mnt/over rw - ext4 /dev/vdc rw\n"
                            "38 37 0:37 / /mnt/over rw - 9p host rw\n"
                            "39 27 0:38 / /mnt/under rw - ceph host rw\n"
                            "40 39 0:39 / /mnt/under rw - tmpfs none rw\n"
                            "a line that nobody understands\n";

static int far(const char *text, const char *path, const char *want)
{
    AUTO(buf_clear) struct buf point = { 0 };
    struct err err;
    int rc = mount_is_far(str_of(text), path, &point, &err);
    CHECK_OK(rc, err);
    buf_adds(&point, "");
    CHECK_STR(point.p, want);
    return rc;
}

TEST(mount, what_lies_elsewhere_is_told_by_the_table_of_mounts)
{
    static const struct {
        const char *path, *point; /* "": of this machine */
    } cases[] = {
        { "/", "" },
        { "/mnt", "" },
        { "/mnt/nf", "" },
        { "/mnt/nfs-too/in", "" },
        { "/mnt/nfs", "/mnt/nfs" },
        { "/mnt/nfs/", "/mnt/nfs" },
        { "/mnt/nfs/in/deep/", "/mnt/nfs" },
        { "//mnt/./nfs//in", "/mnt/nfs" },
        { "/mnt/nfs/local/in", "/mnt/nfs" }, /* on the way to it somebody is to be asked */
        { "/mnt/x/../nfs/in", "/mnt/nfs" },
        { "/mnt/a b\\/in", "/mnt/a\\040b\\134" },
        { "/mnt/a b/in", "" },
        { "/mnt/sshfs/in", "/mnt/sshfs" },
        { "/mnt/layers/in", "" },
        { "/mnt/ntfs/in", "" },
        { "/mnt/auto/in", "/mnt/auto" },
        { "/mnt/over/in", "/mnt/over" },
        { "/mnt/under/in", "" },
        { "/srv/in", "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        CHECK_EQ(far(table, cases[i].path, cases[i].point), *cases[i].point != 0);
    CHECK_EQ(far("", "/mnt/nfs/in", ""), 0);
    CHECK_EQ(far("27 1 254:0 / / rw - nfs4 server:/root rw\n", "/srv/in", "/"), 1); /* all of it */
}

TEST(mount, links_that_lead_there_are_followed_and_round_ones_end)
{
    char path[600];
    CHECK_EQ(mkdir(test_file("in"), 0700), 0);
    CHECK_EQ(symlink("/mnt/nfs/export", test_file("in/far")), 0);
    CHECK_EQ(symlink("in/far", test_file("near")), 0);
    CHECK_EQ(symlink("../in", test_file("in/here")), 0);
    CHECK_EQ(symlink("round", test_file("round")), 0);
    snprintf(path, sizeof path, "%s", test_file("near/today"));
    CHECK_EQ(far(table, path, "/mnt/nfs"), 1);
    snprintf(path, sizeof path, "%s", test_file("in/here/here/far"));
    CHECK_EQ(far(table, path, "/mnt/nfs"), 1);
    snprintf(path, sizeof path, "%s", test_file("in/here/x"));
    CHECK_EQ(far(table, path, ""), 0);
    snprintf(path, sizeof path, "%s", test_file("round/x"));
    CHECK_EQ(far(table, path, ""), 0);
}

TEST(mount, the_table_of_this_process_is_kept)
{
    struct mount_table t = MOUNT_TABLE_UNREAD;
    AUTO(buf_clear) struct buf point = { 0 };
    struct err err;
    CHECK_EQ(mount_table_is_far(&t, test_file("in"), &point, &err), mount_is_far_here(test_file("in"), &point, &err));
    CHECK(t.fd >= 0 && t.text.n > 0);
    int fd = t.fd;
    CHECK_EQ(mount_table_is_far(&t, test_file("in"), &point, &err), mount_is_far_here(test_file("in"), &point, &err));
    CHECK_EQ(t.fd, fd);
    mount_table_clear(&t);
    CHECK_EQ(t.fd, -1);
    CHECK(!t.text.p);
}
