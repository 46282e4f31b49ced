/* What lines of FTP listings mean, as servers write them. */
#include "source/ftp_line.h"

#include "base/text.h"
#include "test.h"

static int64_t now(void)
{
    return text_rfc3339_ms(STR("2026-11-21T12:00:00Z"));
}

struct want {
    const char *line;
    int rc, kind; /* rc -1: an error */
    int64_t size;
    const char *when; /* NULL: 0 */
    int64_t step;
    const char *name;
};

static void check(const struct want *w, bool mlsd)
{
    struct ftp_entry e;
    struct err err;
    struct str line = str_of(w->line);
    int rc = mlsd ? ftp_mlsd_line(line, &e, &err) : ftp_list_line(line, now(), &e, &err);
    if (rc != w->rc)
        fail_msg("'%s' gives %d: %s", w->line, rc, rc < 0 ? err.msg : "");
    if (rc < 0)
        CHECK_EQ(err.code, ERR_FETCH_REFUSED);
    if (rc != 1)
        return;
    CHECK_EQ(e.kind, w->kind);
    char name[300];
    snprintf(name, sizeof name, "%.*s", (int)e.name.n, e.name.p);
    CHECK_STR(name, w->name);
    if (e.kind == FTP_OTHER)
        return;
    if (e.kind == FTP_FILE)
        CHECK_EQ(e.size, w->size);
    if (e.mtime_ms != (w->when ? text_rfc3339_ms(str_of(w->when)) : 0))
        fail_msg("'%s': %lld", w->line, (long long)e.mtime_ms);
    CHECK_EQ(e.step_ms, w->step);
}

enum { SECOND = 1000, MINUTE = 60000, DAY = 86400000 };

TEST(ftp_line, mlsd_says_it_exactly)
{
    static const struct want table[] = {
        /* pyftpdlib */
        { "modify=20261120101112;perm=r;size=1234;type=file;unique=fe00g1; a.csv", 1, FTP_FILE, 1234, "2026-11-20T10:11:12Z", SECOND, "a.csv" },
        /* ProFTPD */
        { "modify=20250101000000;perm=flcdmpe;type=dir;unique=FD01U2;UNIX.group=0;UNIX.mode=0755;UNIX.owner=0; in", 1, FTP_FOLDER, -1,
          "2025-01-01T00:00:00Z", SECOND, "in" },
        { "modify=20250101000000;type=cdir;unique=FD01U1; .", 0, 0, 0, NULL, 0, "" },
        { "type=pdir;modify=20250101000000; ..", 0, 0, 0, NULL, 0, "" },
        { "type=cdir; /home/x", 0, 0, 0, NULL, 0, "" },
        /* Pure-FTPd */
        { "type=file;size=0;modify=20261121115959;UNIX.mode=0644;UNIX.uid=0;UNIX.gid=0;unique=10g1;  two blanks ", 1, FTP_FILE, 0,
          "2026-11-21T11:59:59Z", SECOND, " two blanks " },
        /* FileZilla, Microsoft: upper case, no unique */
        { "Type=file;Size=99;Modify=20261121115959.123; b c.csv", 1, FTP_FILE, 99, "2026-11-21T11:59:59Z", SECOND, "b c.csv" },
        { "type=OS.unix=slink:/etc;size=5;modify=20261121115959; link", 1, FTP_OTHER, 0, NULL, 0, "link" },
        { "type=file; nothing else", 1, FTP_FILE, -1, NULL, SECOND, "nothing else" },
        { "type=file;size=x;modify=2026; odd", 1, FTP_FILE, -1, NULL, SECOND, "odd" },
        { "type=file;size=-5;modify=20260231000000; odd", 1, FTP_FILE, -1, NULL, SECOND, "odd" },
        { "", 0, 0, 0, NULL, 0, "" },
        { "type=file;size=1; ", -1, 0, 0, NULL, 0, "" },
        { "type=file;size=1; ../up", -1, 0, 0, NULL, 0, "" },
        { "type=file;size=1; /etc/passwd", -1, 0, 0, NULL, 0, "" },
        { "type=dir; ..", 0, 0, 0, NULL, 0, "" },
        { "size=1; a.csv", -1, 0, 0, NULL, 0, "" },
        { "-rw-r--r--   1 0  0  5 Nov 21 05:00 a.csv", -1, 0, 0, NULL, 0, "" },
        { "garbage", -1, 0, 0, NULL, 0, "" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        check(&table[i], true);
}

TEST(ftp_line, list_of_unix_servers)
{
    static const struct want table[] = {
        /* vsftpd */
        { "-rw-r--r--    1 0        0            1234 Nov 21 05:00 a.csv", 1, FTP_FILE, 1234, "2026-11-21T05:00:00Z", MINUTE, "a.csv" },
        { "-rw-------    1 ftp      ftp             0 Nov 22 11:00 ahead", 1, FTP_FILE, 0, "2026-11-22T11:00:00Z", MINUTE, "ahead" },
        { "-rw-r--r--    1 0        0               5 Nov 23 05:00 last year's", 1, FTP_FILE, 5, "2025-11-23T05:00:00Z", MINUTE, "last year's" },
        { "drwxr-xr-x    2 0        0            4096 Jan 02  2025 old dir", 1, FTP_FOLDER, 0, "2025-01-02T00:00:00Z", DAY, "old dir" },
        { "-rw-r--r--    1 0        0      5000000000 Feb 29  2024   blanks", 1, FTP_FILE, 5000000000, "2024-02-29T00:00:00Z", DAY, "  blanks" },
        { "-rw-r--r--    1 0        0               5 Feb 29 10:00 leap", 1, FTP_FILE, 5, "2024-02-29T10:00:00Z", MINUTE, "leap" },
        { "lrwxrwxrwx    1 0        0               5 Nov 21 05:00 link -> a.csv", 1, FTP_OTHER, 0, NULL, 0, "link" },
        { "lrwxrwxrwx    1 0        0               5 Nov 21 05:00 link", 1, FTP_OTHER, 0, NULL, 0, "link" },
        { "lrwxrwxrwx    1 0        0               5 Nov 21 05:00 link -> /etc/a/b", 1, FTP_OTHER, 0, NULL, 0, "link" },
        { "lrwxrwxrwx    1 0        0               5 Nov 21 05:00  -> a.csv", -1, 0, 0, NULL, 0, "" },
        { "-rw-r--r--    1 0        0               5 Nov 21 05:00 a -> b", 1, FTP_FILE, 5, "2026-11-21T05:00:00Z", MINUTE, "a -> b" },
        /* ProFTPD, Pure-FTPd */
        { "-rw-r--r--   1 www-data www-data       12 Nov  1 23:59 x.csv", 1, FTP_FILE, 12, "2026-11-01T23:59:00Z", MINUTE, "x.csv" },
        { "-rw-r--r--    1 1000       1000             1234 Nov 21 05:00 \xe9\xff.csv", 1, FTP_FILE, 1234, "2026-11-21T05:00:00Z", MINUTE,
          "\xe9\xff.csv" },
        /* BusyBox */
        { "total 8", 0, 0, 0, NULL, 0, "" },
        { "-rw-r--r--    1 root     root             7 Nov 20 10:11 7 Nov 20 10:11 b", 1, FTP_FILE, 7, "2026-11-20T10:11:00Z", MINUTE,
          "7 Nov 20 10:11 b" },
        /* an owner with blanks, no group, ACLs, other orders */
        { "-rw-r--r--+   1 DOM\\joe users of it  12 Nov  1 23:59 x.csv", 1, FTP_FILE, 12, "2026-11-01T23:59:00Z", MINUTE, "x.csv" },
        { "-rwxrwxrwx   1 owner      99 Nov 01  2026 x.csv", 1, FTP_FILE, 99, "2026-11-01T00:00:00Z", DAY, "x.csv" },
        { "-rw-r--r--   1 u g 12 21 Nov 05:00 x.csv", 1, FTP_FILE, 12, "2026-11-21T05:00:00Z", MINUTE, "x.csv" },
        { "-rw-r--r--   1 u g 12 2026-11-21 05:00 x.csv", 1, FTP_FILE, 12, "2026-11-21T05:00:00Z", MINUTE, "x.csv" },
        { "drwxr-xr-x   1 u g 12 Nov 21 05:00 ..", 0, 0, 0, NULL, 0, "" },
        { "brw-rw----   1 root disk 8,   0 Nov 21 05:00 sda", 1, FTP_OTHER, 0, NULL, 0, "sda" },
        { "d [R----F--] supervisor            512       Jan 16 18:53    login", 1, FTP_FOLDER, 512, "2026-01-16T18:53:00Z", MINUTE, "   login" },
        /* what is none */
        { "-rw-r--r--    1 0        0            1234 Nov 21 05:00 a/b.csv", -1, 0, 0, NULL, 0, "" },
        { "-rw-r--r--    1 0        0            1234 Nov 21 05:00 ", -1, 0, 0, NULL, 0, "" },
        { "-rw-r--r--    1 0        0            1234 Nov 21 05:00", -1, 0, 0, NULL, 0, "" },
        { "-rw-r--r--    1 0        0            1234 Nov 31 05:00 a", 1, FTP_FILE, 1234, NULL, MINUTE, "a" },
        { "-rw-r--r--    1 0        0            1234 Nov 21 25:00 a", -1, 0, 0, NULL, 0, "" },
        { "-rw-r--r--    1 0        0   99999999999999999999 Nov 21 05:00 a", -1, 0, 0, NULL, 0, "" },
        { "ls: cannot open directory", -1, 0, 0, NULL, 0, "" },
        { "   ", 0, 0, 0, NULL, 0, "" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        check(&table[i], false);
}

TEST(ftp_line, list_of_windows_servers)
{
    static const struct want table[] = {
        { "11-21-26  05:00AM                 1234 a.csv", 1, FTP_FILE, 1234, "2026-11-21T05:00:00Z", MINUTE, "a.csv" },
        { "11-21-26  12:30AM                 1234  leading", 1, FTP_FILE, 1234, "2026-11-21T00:30:00Z", MINUTE, " leading" },
        { "11-21-2026  12:30PM            1,234,567 a b.csv", 1, FTP_FILE, 1234567, "2026-11-21T12:30:00Z", MINUTE, "a b.csv" },
        { "11-21-26  05:00PM       <DIR>          in", 1, FTP_FOLDER, -1, "2026-11-21T17:00:00Z", MINUTE, "in" },
        { "11-21-26  05:00PM       <DIR>           in", 1, FTP_FOLDER, -1, "2026-11-21T17:00:00Z", MINUTE, " in" },
        { "11/21/2026  17:05       5 b", 1, FTP_FILE, 5, "2026-11-21T17:05:00Z", MINUTE, "b" },
        { "11/21/2026  05:05 PM       5 b", 1, FTP_FILE, 5, "2026-11-21T17:05:00Z", MINUTE, "b" },
        { "12-31-99  11:59PM   1 old", 1, FTP_FILE, 1, "1999-12-31T23:59:00Z", MINUTE, "old" },
        { "11-21-26  05:00PM       <JUNCTION>     link", 1, FTP_OTHER, 0, NULL, 0, "link" },
        { "11-21-26  05:00PM       1 ..\\x", 1, FTP_FILE, 1, "2026-11-21T17:00:00Z", MINUTE, "..\\x" },
        { "11-21-26  05:00PM       <DIR>          ..", 0, 0, 0, NULL, 0, "" },
        { "11-21-26  13:00PM   1 x", -1, 0, 0, NULL, 0, "" },
        { "13-41-26  05:00PM   1 x", -1, 0, 0, NULL, 0, "" },
        { "11-21-26  05:00PM   x", -1, 0, 0, NULL, 0, "" },
        { "11-21-26  05:00PM   1", -1, 0, 0, NULL, 0, "" },
        { "11-21-26", -1, 0, 0, NULL, 0, "" },
        { "4", -1, 0, 0, NULL, 0, "" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        check(&table[i], false);
}

TEST(ftp_line, a_zero_byte_in_a_name_is_refused)
{
    struct ftp_entry e;
    struct err err;
    CHECK_EQ(ftp_mlsd_line(STR("type=file; a\0b"), &e, &err), -1);
    CHECK_EQ(ftp_list_line(STR("-rw-r--r-- 1 0 0 5 Nov 21 05:00 a\0b"), now(), &e, &err), -1);
}
