/*
 * The source of a scanned pipeline: a path with dates, globs and named parts, such as
 *
 *     sftp://files.example.org/out/{%Y/%m/%d}/orders-{region:[a-z]*}-*.zip
 *
 * {%...} stands for a moment of the scan's window (%Y %y %m %d %j %H %M %%); * ? [a-z] [!x] match within a folder, ** across
 * folders ("**" with a slash behind it also none); {name} is one character or more within a folder, {name:GLOB} what the
 * glob matches, and becomes the job's parameter of that name; {{ is a brace and \x is x. Names are bytes: nothing has to be
 * UTF-8 (a ? takes one character of UTF-8, or one stray byte). Globs take as much as they can, from left to right.
 *
 * A window of time makes a pattern into globs without dates, whose literal beginnings are all that has to be listed. The
 * time of a match is at most length of the glob times length of the name.
 */
#ifndef QETL_IO_PATTERN_H
#define QETL_IO_PATTERN_H

#include "base/err.h"
#include "base/mem.h"

struct zone;

enum { PATTERN_CAPTURES = 16, PATTERN_SIGNS = 4096, PATTERN_STARS = 64, PATTERN_GLOBS = 4096 };

struct pattern;
/*
 * Read a source: an absolute path, a file: URL or scheme://host/path. In URLs %XX is that byte, and taken literally.
 * plain: so many bytes at its beginning are no pattern, but for {{ (the ini's own folder). Errors: config.
 */
int pattern_parse(struct pattern **out, const char *source, size_t plain, struct err *err);
void pattern_free(struct pattern *p); /* NULL is fine */
const char *pattern_base(const struct pattern *p); /* "sftp://host:22", or "" of a local path */
int pattern_captures(const struct pattern *p);
const char *pattern_capture_name(const struct pattern *p, int i);
bool pattern_is_dated(const struct pattern *p);
bool pattern_is_literal(const struct pattern *p); /* but for dates it names one object */

/* What one moment makes of a pattern. */
struct glob {
    const struct glob_sign *signs; /* owned by the globs */
    int n;
    struct str prefix; /* the literal beginning; all of it when `literal` */
    size_t folder;     /* bytes of prefix that are whole folders, with the slash at their end */
    bool literal;
    int deep; /* slashes in front of its first "**", from where on any folder may match; INT_MAX: there is none */
};
struct globs {
    struct glob *v;
    int n;
    struct arena arena;
};
/*
 * Each moment from from_ms to to_ms (both counted; the other way round only to_ms), by what the clock of `zone` (NULL: UTC)
 * shows then, once each and oldest first. *covered_ms: the end of what they stand for: to_ms, or less where the window is too
 * long for PATTERN_GLOBS of them; the rest is for a next call from there.
 */
int pattern_globs(const struct pattern *p, const struct zone *zone, int64_t from_ms, int64_t to_ms, struct globs *out,
                  int64_t *covered_ms, struct err *err);
void globs_clear(struct globs *g); /* {0} afterwards */
/* The same for the same glob only, on any machine of this byte order. */
int64_t glob_id(const struct glob *g);

/* Memory of matching, for any number of calls. {0} is one. */
struct glob_work {
    struct buf tried;
};
void glob_work_clear(struct glob_work *w);
/* Does the glob match the whole path? 1 and captures (slices of path, may be NULL); 0; -1 no memory. */
int glob_match(const struct glob *g, struct glob_work *w, struct str path, struct str captures[PATTERN_CAPTURES]);
/* A name that the glob may match in the last folder of a path, behind out. */
void glob_name(const struct glob *g, struct buf *out);
/* Can the name of something below that folder (it ends in a slash) match? 1, 0, -1 no memory. */
int glob_leads(const struct glob *g, struct glob_work *w, struct str folder);

#endif
