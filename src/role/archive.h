/*
 * Keeps the raw objects of jobs in an object store or directory, as they were fetched: archive= of a pipeline.
 *
 * An object is put under FOLDER/UID/N-NAME (UID the job's, N the object's number in it, NAME its last part, percent-encoded) before its
 * job is staged, so that all objects of a loaded job are there. Each name shows a whole object or none, and a second attempt of the job
 * puts the same names. Of a job that dies what was fetched whole stays. If power fails in the middle: the next attempt puts it again.
 */
#ifndef QETL_ROLE_ARCHIVE_H
#define QETL_ROLE_ARCHIVE_H

#include <stdint.h>

#include "base/err.h"
#include "io/config.h"

struct archive; /* keeps its last store open */

struct archive_object {
    const char *uid; /* of the job */
    int number;
    const char *uri;
    int fd; /* of its bytes */
    int64_t bytes;
    int (*tick)(void *arg, struct err *err); /* called all the time while it goes up; -1: give up, with that error */
    void *arg;
};

struct archive *archive_new(const struct config *config); /* borrowed; NULL: no memory */
void archive_free(struct archive *a);                     /* NULL is fine */

/* Put it where `pipeline`, which has archive=, says. Errors: target, disk-full, no-memory, config, changed (the file became shorter),
 * and what tick said. */
int archive_put(struct archive *a, const struct pipeline *pipeline, const struct archive_object *object, struct err *err);

#endif
