/*
 * The spool: a folder on a local disk.
 *
 *   spool/fetch/<uid>.<n>.part (+ .meta)   a big object while, and after, it is fetched
 *   spool/staged/<uid>.<token>/<n>.part    an output that is being written
 *   spool/staged/<uid>.<token>/<n>.<ext>   a staged output: whole, on disk, its job about to be
 *                                          "staged" in queue.db
 *   spool/rejects/<uid>.jsonl              rejects of a committed job, when too many for queue.db
 *
 * The token is the fencing token of the claim that stages: each owner of a job has a folder of its
 * own, and one that lost its lease can neither rename nor remove a file of the next.
 *
 * If power fails in the middle: a .part is swept when no running job owns it; a folder whose job is
 * not staged or loading is swept too (spool_sweep). queue.db never names a file that is not whole
 * and on disk.
 */
#ifndef QETL_IO_SPOOL_H
#define QETL_IO_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct spool {
    char *path;
    int dirfd, fetch, staged, rejects; /* open folders */
};
/* One that is not open; spool_close() does nothing to it. */
#define SPOOL_CLOSED ((struct spool){ NULL, -1, -1, -1, -1 })

/* Opens, and makes the folders when `create` (then they are writable too). Errors (spool,
 * disk-full, io) name the path and say what is wrong: missing, read-only, not a folder, not ours.
 */
int spool_open(struct spool *s, const char *path, bool create, struct err *err);
void spool_close(struct spool *s);

/* A new, empty staged/<uid>.<token>/<n>.part opened O_RDWR; -1 with *err. An old one of the same
 * name is replaced. */
int spool_create(struct spool *s, const char *uid, int64_t token, int n, struct err *err);
/* A new, empty file without a name opened O_RDWR, which is gone when nobody has it open any more; -1 with *err. */
int spool_scratch(struct spool *s, struct err *err);
/*
 * Publish finished outputs of a claim: the .part files whose numbers and extensions are given exist
 * afterwards as <n>.<ext>, whole, whatever power does: fsync of each file (skipped for those with
 * fd -1: already synced by their writer), rename, fsync of their folder and of staged/. Fault
 * points: stage-before-rename, stage-after-rename.
 */
struct spool_file {
    int number, fd;
    const char *ext;
};
int spool_publish(struct spool *s, const char *uid, int64_t token, const struct spool_file *files,
                  int n, struct err *err);
/* Absolute path of a staged output, into out. */
void spool_staged_path(const struct spool *s, const char *uid, int64_t token, int n,
                       const char *ext, char *out, size_t cap);
/* Remove all that the claims of uid with the tokens first..last staged; missing is fine. Not
 * synced: the sweep does it again after a crash. */
int spool_discard(struct spool *s, const char *uid, int64_t first, int64_t last, struct err *err);
/* Move a rejects file of a committed job to rejects/<uid>.jsonl; done already is fine. */
int spool_keep_rejects(struct spool *s, const char *uid, int64_t token, int n, struct err *err);

/* Open such a file for reading; -1: state (it is gone), io. */
int spool_open_rejects(struct spool *s, const char *uid, struct err *err);

/*
 * Remove what no job owns: `keep` says for each uid, and the folder its files lie in, whether they
 * may stay (1), must go (0); -1 error.
 * Files younger than min_age_ms stay. *removed counts.
 */
enum spool_folder { SPOOL_STAGED, SPOOL_FETCH, SPOOL_REJECTS };
int spool_sweep(struct spool *s, int64_t min_age_ms,
                int (*keep)(void *arg, enum spool_folder folder, const char *uid, struct err *err),
                void *arg, int64_t *removed, struct err *err);
/* Bytes in the spool (allocated), and free bytes of its file system. */
int spool_usage(const struct spool *s, int64_t *used, int64_t *free_bytes, struct err *err);

/* ---- big objects ---- */
struct spool_object {
    int fd;                       /* O_RDWR */
    int64_t have;                 /* bytes there already */
    char etag[256], modified[64]; /* of the version these bytes belong to; "" unknown */
    int64_t size;                 /* whole size, or -1 */
};
/*
 * Open (or make) fetch/<uid>.<n>.part and read its .meta. The bytes count (have > 0) only when the
 * .meta names the same uri and this very file, and was written since the machine was started
 * (nothing here is synced: after a power cut the bytes are not trusted). Else the part is emptied.
 * The part is locked for as long as o->fd or a copy of it is open anywhere: when somebody else
 * still holds it (a worker that lost its lease), o is a new file and the other one writes to
 * nobody's.
 */
int spool_object_open(struct spool *s, const char *uid, int n, const char *uri,
                      struct spool_object *o, struct err *err);
/* Write the .meta (atomic), before the first byte of a version; cuts the part to o->have, which is
 * 0 for a new version. */
int spool_object_meta(struct spool *s, const char *uid, int n, const char *uri,
                      const struct spool_object *o, struct err *err);
int spool_object_discard(struct spool *s, const char *uid,
                         struct err *err); /* all objects of a job */

#endif
