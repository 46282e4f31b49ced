/*
 * The inbox: a folder where another program triggers jobs without linking or calling anything. A message (role/submission.h; one
 * object, or JSON lines) that is renamed in as NAME.json becomes its jobs, all or none, exactly once:
 *
 *   NAME.json ─rename─▶ taken/UID-NAME.json ─jobs and name in one commit─▶ done/NAME.json, or nothing
 *                               └─ not a message ─▶ failed/NAME.json with failed/NAME.json.error
 *
 * What makes it once is the name under taken/, which is drawn anew for each file: the same name or the same content again is another
 * message, a number of an inode that comes again is nobody's. The renames are on disk before the commit, the name stands in table
 * inbox from the commit until the file is put away on disk. So whatever dies, at whatever instant: a file in taken/ whose name is
 * known is put away, one whose name is not is a message still.
 *
 * Names that do not end in .json are left alone, hidden ones too. A file that was written under its name, and not renamed, or that
 * came while nobody watched, is taken when nothing changed on it for INBOX_SETTLE_MS. Links, FIFOs and folders are refused: they fail.
 */
#ifndef QETL_ROLE_INBOX_H
#define QETL_ROLE_INBOX_H

#include "io/config.h"
#include "queue/scan.h"
#include "role/role.h"
#include "role/watch.h"

enum {
    INBOX_MESSAGE_MAX = 4 << 20, /* bytes of one file: its jobs are made in one transaction */
    INBOX_SETTLE_MS = 2000,
};

struct inbox {
    const struct role *role;
    const struct config *config;
    struct queue *queue;
    const struct scan_lease *lease;
    struct watch *watch; /* NULL: nothing is watched */
    int owner;
};

/* Take what lies there. Gives the number of jobs; *why tells what is wrong with the folder, if anything is (then some or all stays for
 * the next call). *again_ms: lowered where something waits to settle. -1: the queue cannot be used; nothing is lost. */
int inbox_take(const struct inbox *in, int64_t *again_ms, struct err *why, struct err *err);

#endif
