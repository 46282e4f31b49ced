/*
 * What is done with a local file when its rows are committed in the target: after = delete, move:FOLDER.
 *
 * A file that is not the one that was loaded is never touched: it is first renamed to a name of ours beside it (.NAME.qetl-loaded),
 * which nobody else writes to, then compared, and put back where it is another one. If power fails between, the next try
 * finds it there and goes on.
 */
#ifndef QETL_ROLE_AFTER_H
#define QETL_ROLE_AFTER_H

#include "base/err.h"
#include "io/config.h"

/* 1: done, or nothing to do any more (the file is gone, or another one: *kept); -1: not yet, and why. job: number for the name
 * where the folder has one of that name. */
int after_do(const struct after *after, const char *uri, int64_t size, int64_t mtime_ms, int64_t job, bool *kept, struct err *err);

#endif
