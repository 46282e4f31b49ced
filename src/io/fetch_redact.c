/* URIs as people may see them. See fetch.h. */
#include "io/fetch.h"

#include <config.h>
#include <string.h>

#include "base/text.h"

/* Names of query parameters whose values are secrets, as parts of a name in lower case. */
static const char *const secret_words[] = { "token", "secret", "passw", "pwd",     "key",
                                            "sig",   "auth",   "cred",  "session", "code" };

static bool secret_name(struct str name)
{
    char low[64];
    size_t n = name.n < sizeof low - 1 ? name.n : sizeof low - 1;
    for (size_t i = 0; i < n; i++)
        low[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
    low[n] = '\0';
    for (size_t i = 0; i < COUNT_OF(secret_words); i++)
        if (strstr(low, secret_words[i]))
            return true;
    return false;
}

static size_t put_cut(char *out, size_t cap, size_t at, struct str s)
{
    for (size_t i = 0; i < s.n && at + 1 < cap; i++)
        out[at++] = (unsigned char)s.p[i] < ' ' || s.p[i] == 127 ? '?' : s.p[i];
    if (at < cap)
        out[at] = '\0';
    return at;
}

/* Where the host begins behind "://". A password with a bare '/' makes no valid URI, but is hidden
 * all the same. */
static const char *skip_userinfo(const char *rest)
{
    size_t authority = strcspn(rest, "/?#");
    const char *at = memrchr(rest, '@', authority), *colon = memchr(rest, ':', authority);
    if (at)
        return at + 1;
    bool port = !colon || rest[0] == '[' ||
                strspn(colon + 1, "0123456789") == (size_t)(rest + authority - colon - 1);
    const char *late = port ? NULL : strrchr(rest, '@');
    return late ? late + 1 : rest;
}

void fetch_redact(const char *uri, char *out, size_t cap)
{
    const char *rest = strstr(uri, "://");
    size_t n = 0;
    if (cap == 0)
        return;
    if (!rest || strcspn(uri, "/?#") < (size_t)(rest - uri)) {
        put_cut(out, cap, 0, str_of(uri));
        return;
    }
    rest += 3;
    n = put_cut(out, cap, n, (struct str){ uri, (size_t)(rest - uri) });
    rest = skip_userinfo(rest);
    size_t path = strcspn(rest, "?#");
    n = put_cut(out, cap, n, (struct str){ rest, path });
    for (rest += path; *rest;) { /* here stands one of ? # & ; */
        size_t all = 1 + strcspn(rest + 1, "?#&;"), name = 1 + strcspn(rest + 1, "=?#&;");
        bool hide = name < all && secret_name((struct str){ rest + 1, name - 1 });
        n = put_cut(out, cap, n, (struct str){ rest, hide ? name + 1 : all });
        if (hide)
            n = put_cut(out, cap, n, STR("..."));
        rest += all;
    }
}
