/*
 * What a URI names and how to get at it: one table of schemes. A plain path and file:// are local
 * files; the worker opens them and hands the descriptor to the reader, but for those that may hold
 * it up (role/mounted.h). All else goes through io/fetch.
 */
#ifndef QETL_SOURCE_SOURCE_H
#define QETL_SOURCE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum source_kind { SOURCE_LOCAL, SOURCE_FETCHED };

/* 0 and the kind, or -1: ERR_URI with the schemes that are known, and the nearest one. */
int source_kind(const char *uri, enum source_kind *kind, struct err *err);
/* Open a local file for reading. not-a-file for a folder or device; fetch-missing where there is
 * none; fetch-denied where we may not. A FIFO is refused. */
int source_open_local(const char *uri, int *fd, int64_t *size, int64_t *mtime_ms, struct err *err);
/* What the file is by now: its size and time; the errors of source_open_local, but for denied. */
int source_stat_local(const char *uri, int64_t *size, int64_t *mtime_ms, struct err *err);
/* The path of a local file (a plain path, or a file: URL decoded) into out, PATH_MAX bytes. Errors: uri. */
int source_local_path(const char *uri, char *out, struct err *err);
/* Replace {name} in a template by the job's parameters (JSON object), percent-encoded as path
 * segments ("/" kept) for URLs, as they stand for local paths. A name that is not among the
 * parameters is an error, and so is a result that is a relative path: nobody knows the folder that
 * it is taken from. `{` is written `{{`. */
int source_expand(const char *template, struct str params, struct buf *out, struct err *err);
/* The name of the object: last path segment, percent-decoded, without query; "object" when empty.
 */
void source_basename(const char *uri, char *out, size_t cap);
/* Is it a path that does not begin with a slash? */
bool source_is_relative(const char *typed);
/* Make a URI from what a person typed: a relative path becomes absolute; everything else stays.
 * malloc'ed; NULL no memory. */
char *source_absolute(const char *typed);

#endif
