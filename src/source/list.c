/* The table of listers, and what all of them need. See list.h. */
#include "source/list.h"

#include <config.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const struct lister *const listers[] = {
    &list_dir,
    &list_http,
    &list_manifest,
#ifdef HAVE_S3
    &list_s3,
#endif
};

static bool has_scheme(const struct lister *l, struct str scheme)
{
    for (const char *const *s = l->schemes; *s; s++)
        if (str_eq_nocase(str_of(*s), scheme))
            return true;
    return false;
}

const struct lister *list_by_base(const char *base, struct err *err)
{
    const char *end = strstr(base, "://");
    struct str scheme = { base, end ? (size_t)(end - base) : 0 };
    AUTO(buf_clear) struct buf known = { 0 };
    for (size_t i = 0; i < COUNT_OF(listers); i++) {
        if (has_scheme(listers[i], scheme))
            return listers[i];
        for (const char *const *s = listers[i]->schemes; *s; s++)
            buf_addf(&known, "%s%s%s", known.n ? ", " : "", **s ? *s : "local paths", **s ? "://" : "");
    }
    err_set(err, ERR_URI, "'%.*s://' cannot be listed; what can: %s", (int)scheme.n, scheme.p, known.failed ? "local paths" : known.p);
    return NULL;
}

int list_offer(const struct list_ask *ask, const struct list_sink *sink, struct glob_work *work, struct str path, struct listed *o,
               struct err *err)
{
    int rc = glob_match(ask->glob, work, path, o->captures);
    if (rc <= 0)
        return rc < 0 ? err_nomem(err) : 0;
    const char *slash = memrchr(path.p, '/', path.n);
    o->path = path;
    o->name = slash ? (struct str){ slash + 1, path.n - (size_t)(slash + 1 - path.p) } : path;
    return sink->object(sink->arg, o, err);
}

/* Can it stand in a line of text, and in JSON, as it is? */
static bool is_plain(struct str path)
{
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] < ' ' || path.p[i] == 127)
            return false;
    return text_utf8_valid(path) == path.n;
}

void list_uri(const char *base, struct str path, struct buf *out)
{
    if (!*base && is_plain(path)) {
        buf_add(out, path.p, path.n);
        return;
    }
    buf_adds(out, *base ? base : "file://");
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i], low = c | 32;
        if ((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-._~/", c)))
            buf_addc(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}
