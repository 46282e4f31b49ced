/*
 * What lies in a source: one small interface, one file an implementation (list_dir.c, …), one line a scheme in the table of
 * list.c. A lister says what is there; it knows nothing of jobs, of what was seen before, or of when a file is whole.
 *
 * A lister walks below one glob of a pattern (io/pattern.h) and gives every object that the glob matches to the sink, one by
 * one, in any order, and in memory that does not grow with their number. What vanishes while it looks is passed over.
 * A listing that fails in the middle has given what it found: objects are told from each other by what they are, so that
 * hearing of one twice does no harm.
 *
 * Resuming: a lister whose place gives pages calls sink->page() behind each one with a cursor, a text of its own from which a
 * later call goes on (list_ask.cursor). One that cannot calls it never, and begins again.
 */
#ifndef QETL_SOURCE_LIST_H
#define QETL_SOURCE_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/config.h"
#include "io/pattern.h"

enum { LIST_DEPTH_MAX = 64 }; /* folders inside of folders, below the literal beginning */

/* One object of a listing; all of it borrowed until the sink returns. */
struct listed {
    const char *uri;  /* as a job names it: UTF-8 without control characters, a path or a URL */
    struct str path;  /* the bytes that the glob matched */
    struct str name;  /* its last part */
    int64_t size;     /* bytes; -1: the place does not say */
    int64_t mtime_ms; /* ms since 1970 UTC by the clock of the place; 0: it does not say */
    int64_t mtime_step_ms; /* the place cuts times to so much (a minute, a day); 0: it tells them as they are */
    const char *etag; /* or whatever else the place has to tell versions apart; "": nothing */
    struct str captures[PATTERN_CAPTURES];
};

/* Connections that are kept between calls, and what was learned of the hosts; for one thread, and one config. */
struct list_links;
int list_links_open(struct list_links **out, struct err *err);
void list_links_close(struct list_links *l); /* NULL is fine */
/* Nothing is asked for a while: connections that count at their place (fetch_rest()) are closed. NULL is fine. */
void list_links_rest(struct list_links *l);

/* Pages (an index, a manifest) that need not be read again while their validators are the same, by whoever keeps those. */
struct fetch_head;
struct list_known {
    /* What the page had when it was read last, into *head: 1; 0 it is not known; -1. Called before each page. */
    int (*get)(void *arg, const char *uri, struct fetch_head *head, struct err *err);
    /* It is still so: nothing of it was given to the sink. */
    void (*same)(void *arg);
    /* It was read to its end, led to no other page, and all that it knows of its objects was given. 0, -1. */
    int (*put)(void *arg, const char *uri, const struct fetch_head *head, struct err *err);
    void *arg;
};

struct list_ask {
    struct list_links *links;    /* NULL is enough for local paths */
    const struct config *config; /* remotes, time limits */
    const char *base;            /* pattern_base() */
    const struct glob *glob;
    bool versions;       /* size, time or ETag of each object is wanted, even where that takes a request for each */
    const struct list_known *known; /* NULL: everything is read */
    int64_t close_after_ms; /* stream: the open segment is closed when its first line is so old */
    const char *cursor;  /* from page() of an earlier call with the same glob; "": from the beginning */
    bool (*go_on)(void *arg); /* asked now and then, at least every few seconds; NULL: always */
    void *go_arg;             /* its argument where there is no sink: exists, and all acts */
    struct str login;         /* acts: a path; what is done is done as its [remote] says, wherever it leads to; {0}: of each path */
};

struct list_sink {
    /* 0: go on; 1: enough; -1: *err is given back as the listing's own. */
    int (*object)(void *arg, const struct listed *o, struct err *err);
    int (*page)(void *arg, const char *cursor, struct err *err); /* the same; NULL: nobody asks */
    /* Folders of this machine that were entered, or (there = false) looked for in vain: for who watches them. NULL: nobody. */
    void (*folder)(void *arg, const char *path, bool there);
    /* An entry is left out, because its name cannot be read, or told the place: `what` says which. NULL: nobody asks. */
    void (*odd)(void *arg, const char *what);
    /* What would match, or lead to what does, if it were a file or a folder: a link, a device; `why` says which. NULL: nobody asks. */
    void (*no_file)(void *arg, const char *uri, const char *why);
    void (*again)(void *arg, int64_t ms); /* something is no object yet, and will be in so many ms; NULL: nobody asks */
    void *arg;
};

/* What is done with single objects of a place; each call needs links, config, base, go_on and go_arg of ask. A path ends in a NUL. */
enum list_there { LIST_NONE, LIST_SAME, LIST_OTHER };
struct list_version { /* as a listing told it */
    int64_t size, mtime_ms;
    const char *etag;
};
struct list_acts {
    /* enum list_there: what is under `path`, the object of that version? -1: nobody can say. */
    int (*look)(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err);
    /* NULL: the place cannot, but copies. Folders of `to` are made. Some places put it over what is there: look before. 0, -1 (it may
     * be done all the same). */
    int (*rename)(const struct list_ask *ask, struct str from, struct str to, struct err *err);
    /* NULL: it can rename. 1: `to` has the bytes of `from`, which stays (*made: by this call); 0: it has others; -1. */
    int (*copy)(const struct list_ask *ask, struct str from, struct str to, bool *made, struct err *err);
    /* 1 it is gone; 0 it is not that version any more (only of places that copy; v NULL: of any version); -1. */
    int (*remove)(const struct list_ask *ask, struct str path, const struct list_version *v, struct err *err);
};

struct lister {
    const char *const *schemes; /* NULL at the end; "" is a local path */
    bool local;                 /* inotify can watch it, and after= works on it by itself */
    /* 0: all was given, or the sink had enough; -1. Errors: fetch-missing (the folder is not there, where the place tells that
     * from an empty one), fetch-denied, limit, shutdown (go_on said no), and what the network gives. */
    int (*list)(const struct list_ask *ask, const struct list_sink *sink, struct err *err);
    /* Is there an object (a done-marker) of that path, and of what time (0: nobody says)? 1, 0, -1. */
    int (*exists)(const struct list_ask *ask, struct str path, int64_t *mtime_ms, struct err *err);
    const struct list_acts *acts; /* NULL: none, or it is local */
};

/* The closed segments of a stream (io/segment.h), oldest first; closes the open one when it is old enough. Its paths are local ones, so
 * that list_by_base() does not find it: a pipeline says itself that its source is a stream. */
extern const struct lister list_stream;
extern const struct lister list_dir, list_ftp, list_http, list_manifest, list_s3, list_sftp;

/* The lister of a pattern_base(); NULL and ERR_URI: nobody can list that scheme. */
const struct lister *list_by_base(const char *base, struct err *err);

/* ---- for listers ---- */

struct fetch;
struct sftp;
/* A connection for listings (LINK_LIST), or for what is asked beside one (LINK_ASK), which is the same while none is under way. NULL
 * and *err. */
enum list_link { LINK_LIST, LINK_ASK, LINKS };
struct fetch *list_fetch(struct list_links *l, const struct config *config, enum list_link which, struct err *err);
void list_under_way(struct list_links *l, bool yes); /* a transfer of LINK_LIST is */
/* The session with the server of `base`, logged in as the [remote] of that path says; one that broke is made anew. LINK_ASK gives the
 * one of the listing where that is logged in so, and leaves alone what it waits by. arg: of ask->go_on. NULL and *err. */
struct sftp *list_sftp_session(const struct list_ask *ask, struct str path, enum list_link which, void *arg, struct err *err);
/* The [remote] of a path, or of ask->login; NULL: none. 0, -1. */
int list_remote(const struct list_ask *ask, struct str path, const struct remote **out, struct err *err);
/* The store of a path, kept until another one is asked for, or until list_s3_drop(), which is for one that does not let us in any
 * more: secrets change. */
struct s3;
struct s3 *list_s3_store(const struct list_ask *ask, struct str path, struct err *err);
void list_s3_drop(struct list_links *l);
/* `one` makes a folder, or is glad of one that is there: for each folder of the path, from the outermost. */
int list_folders(const struct list_ask *ask, struct str path, int (*one)(const struct list_ask *ask, struct str folder, struct err *err),
                 struct err *err);
/* Is it known that the server of `base` has no MLSD? And: it is so. */
bool list_is_plain(const struct list_links *l, const char *base);
bool list_set_plain(struct list_links *l, const char *base);

/* Give the object to the sink if the glob matches its path. captures, name and path are filled here. As sink->object. */
int list_offer(const struct list_ask *ask, const struct list_sink *sink, struct glob_work *work, struct str path, struct listed *o,
               struct err *err);
/* Tell sink->no_file() of something that is neither file nor folder, if the glob asks for it. path is written to, and as it was again; uri is
 * for the call. 0, -1. */
int list_no_file(const struct list_ask *ask, const struct list_sink *sink, struct glob_work *work, struct buf *path, struct buf *uri,
                 const char *why, struct err *err);
/* The path as a URI: `base` and the path percent-encoded (RFC 3986, 2.3: unreserved characters and the slash stay). A local
 * path (base "") stays as it is where it is UTF-8 without control characters, else it becomes a file: URL. */
void list_uri(const char *base, struct str path, struct buf *out);
void list_path(struct str path, struct buf *out); /* the path of such a URI, decoded */

#endif
