/*
 * What is done with an object when its rows are committed in the target: after = delete, move:FOLDER. Local files, and those of
 * places that rename (struct list_acts).
 *
 * A file that is not the one that was loaded is never touched: it is first renamed to a name of ours beside it (.NAME.qetl-JOB),
 * which nobody else writes to, then compared, and put back where it is another one. If power fails between, the next try
 * finds it there and goes on; unless another version of it was taken meanwhile, whose job then has a name of its own: the old one stays. On another host (FTP) where a rename puts a file over the one that is there, we look before, which leaves
 * the moment between: names of ours, and in the folder that it moves to, are nobody else's.
 *
 * A place that does not rename but copies (S3): what has the same bytes in the folder already is our copy of an earlier try, or as good
 * as one; the object itself goes last, on the condition that it has the ETag that was loaded. Power that fails between leaves both,
 * and the next try goes on; if it was replaced in that moment, a copy of the old or the new one may stay in the folder.
 */
#ifndef QETL_ROLE_AFTER_H
#define QETL_ROLE_AFTER_H

#include "base/err.h"
#include "io/config.h"
#include "source/list.h"

/* Is it of the form of those names of ours? Whoever lists passes over them, whatever the ini ignores. */
bool after_is_ours(struct str name);

/* mtime_ms: 0 where the place tells no times. 1: done, or nothing to do any more (the file is gone, or another one: *kept); -1: not yet, and why. job: number for the name
 * where the folder has one of that name. */
int after_do(const struct after *after, const char *uri, int64_t size, int64_t mtime_ms, int64_t job, bool *kept, struct err *err);

/* After that: with its own done-marker (marker: its path, of this machine) the same is done, unless it is not there. 0, -1. */
int after_marker(const struct after *after, const char *marker, int64_t job, struct err *err);

/* The same on the place of ask->base (links, config, go_on and go_arg are used, too). A no of the place to what is done is
 * fetch-refused, whatever it calls it, so that one object does not stand for the whole place. */
int after_do_far(const struct after *after, const struct lister *lister, const struct list_ask *ask, const char *uri,
                 const struct list_version *version, int64_t job, bool *kept, struct err *err);
/* The same with a marker there. It has no content: one that is in the folder already makes room for it. */
int after_marker_far(const struct after *after, const struct lister *lister, const struct list_ask *ask, struct str marker, struct err *err);

#endif
