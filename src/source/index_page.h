/*
 * The page that a web server makes of a folder: nginx autoindex (html and json), Apache mod_autoindex, Caddy, lighttpd, Python's
 * http.server and the like. Bytes are pushed in as they come; links that lie below the page's own folder come out.
 *
 * HTML is read by a scanner of our own, which knows tags, attributes, comments, character references and the text behind a
 * link, and nothing else of HTML. A library's parser repairs and builds whole documents, which no one needs here, in
 * memory that grows with the page, in a process that has the network and the database; this one holds one tag.
 *
 * What is no link to something below the folder is passed over: other hosts, "..", the folder itself, queries, fragments,
 * javascript:, bytes that would lead elsewhere once they are decoded (%2F, zero). Times and sizes are taken where the page gives them
 * exactly (to the second and with a zone; in bytes); what it shows less exactly becomes `version`, by which a changed object
 * is seen without a request for each.
 */
#ifndef QETL_SOURCE_INDEX_PAGE_H
#define QETL_SOURCE_INDEX_PAGE_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

struct index_link {
    struct str path;  /* bytes, from the root; a folder's ends in a slash */
    int64_t size;     /* -1 not shown, or not exactly */
    int64_t mtime_ms; /* 0 not shown, or not exactly */
    const char *version; /* what was shown less exactly, such as "21-Nov-2026 12:01 1.2K"; "" nothing */
};
/* 0: go on; else the page ends with what it gives. */
typedef int index_each(void *arg, const struct index_link *link, struct err *err);

struct index_page;
/* base: "https://host:port"; folder: the page's path, decoded, with a slash at its end. Both borrowed. */
struct index_page *index_page_new(const char *base, struct str folder, index_each *each, void *arg);
void index_page_free(struct index_page *p); /* NULL is fine */
/* 0; what `each` gave; -1: format (no page of a folder), limit. */
int index_page_add(struct index_page *p, struct str bytes, struct err *err);
int index_page_end(struct index_page *p, struct err *err);
int64_t index_page_skipped(const struct index_page *p); /* entries of a page of JSON that are not UTF-8 */

#endif
