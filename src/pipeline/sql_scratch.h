/*
 * Where SQLite puts what it sorts and keeps beyond its caches: files without names that the worker opens, since the
 * reader child can open none. As a VFS (sqlite3_vfs_register(3)) it has temporary files and nothing else: no name can be
 * opened, looked at or removed.
 *
 * If power fails, nothing of it was ever in a folder.
 */
#ifndef QETL_PIPELINE_SQL_SCRATCH_H
#define QETL_PIPELINE_SQL_SCRATCH_H

#include <sqlite3.h>
#include <stdint.h>

#include "io/stage.h"

struct scratch {
    sqlite3_vfs vfs;
    char name[40];                            /* of the VFS: one for each, so that its limits are its own */
    const struct stage *stage;                /* opens them; NULL: there are none */
    int64_t bytes, bytes_max;                 /* of all its files together */
    struct err err;                           /* why the last call of SQLite's failed, when its code is not ERR_NONE */
};

/* Register it; s stays where it is until scratch_close. Errors: no-memory. */
int scratch_open(struct scratch *s, const struct stage *stage, int64_t bytes_max, struct err *err);
void scratch_close(struct scratch *s); /* no connection may use it any more */

#endif
