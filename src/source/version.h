/*
 * Is what came the object that was listed? A listing and an answer rarely tell the same things, or as exactly: only what both say is
 * compared, as exactly as the one that says less. Pure functions.
 */
#ifndef QETL_SOURCE_VERSION_H
#define QETL_SOURCE_VERSION_H

#include "base/err.h"
#include "source/list.h"

/*
 * 0: as far as both say, `now` is the version that was listed; -1: changed, with both values.
 *
 * Sizes are compared as they are. ETags (in quotes: RFC 9110, 8.8.3; other words by which a listing tells versions apart are not compared),
 * weak or strong, decide alone where both have one: stores do not agree about times. Times: to the second where one has no fraction, and
 * by version_shown_as() where a listing may have cut them.
 */
int version_check(const struct list_version *listed, const struct list_version *now, struct err *err);

/* Is the one of these times before the other for sure? Both of one place, 0: not known; to the second where one has no fraction. */
bool version_older(int64_t one_ms, int64_t other_ms);

/* Can a listing without seconds (LIST of FTP, say) have shown this moment as that time: cut to the minute or, of an old one, to the day, in the
 * zone of the server? */
bool version_shown_as(int64_t now_ms, int64_t listed_ms);

/*
 * The checksum of the bytes, as a word of the etag of an object that a manifest lists: "sha256:HEX" or "md5:HEX", in lower case.
 * version_sum(): its hex, and its kind; the first kind where there are both; empty where there is none.
 * version_put_sum(): that word of what a list calls a checksum, of the kind that its length says; false: it is none of these, and out is as it was.
 */
enum version_sum { VERSION_SHA256, VERSION_MD5, VERSION_SUMS };
extern const char *const version_sum_names[VERSION_SUMS];
struct str version_sum(const char *etag, enum version_sum *kind);
bool version_put_sum(struct buf *out, struct str hex);

#endif
