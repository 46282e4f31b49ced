/* Listed against fetched. See version.h. */
#include "source/version.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"

const char *const version_sum_names[VERSION_SUMS] = { [VERSION_SHA256] = "sha256", [VERSION_MD5] = "md5" };
static const size_t sum_lengths[VERSION_SUMS] = { [VERSION_SHA256] = 64, [VERSION_MD5] = 32 };

bool version_shown_as(int64_t now_ms, int64_t listed_ms)
{
    enum { MINUTE = 60000, QUARTER = 15 * MINUTE };
    const int64_t day = 24 * 4 * (int64_t)QUARTER, zone = 14 * 4 * (int64_t)QUARTER;
    int64_t off = now_ms - now_ms % MINUTE - listed_ms;
    if (listed_ms % MINUTE == 0 && off % QUARTER == 0 && off >= -zone && off <= zone)
        return true;
    return listed_ms % day == 0 && off >= -zone && off < day + zone;
}

static bool in_seconds(int64_t a_ms, int64_t b_ms) { return a_ms % 1000 == 0 || b_ms % 1000 == 0; }

bool version_older(int64_t one_ms, int64_t other_ms)
{
    if (!one_ms || !other_ms)
        return false;
    return in_seconds(one_ms, other_ms) ? one_ms / 1000 < other_ms / 1000 : one_ms < other_ms;
}

static bool same_time(int64_t listed_ms, int64_t now_ms)
{
    if (in_seconds(listed_ms, now_ms) ? listed_ms / 1000 == now_ms / 1000 : listed_ms == now_ms)
        return true;
    return version_shown_as(now_ms, listed_ms);
}

/* The part of it that is the same for a weak tag and a strong one; empty where it is none. */
static struct str opaque(const char *etag)
{
    const char *p = strncmp(etag, "W/", 2) ? etag : etag + 2;
    return str_of(*p == '"' ? p : "");
}

int version_check(const struct list_version *listed, const struct list_version *now, struct err *err)
{
    struct str tag = opaque(listed->etag), now_tag = opaque(now->etag);
    if (listed->size >= 0 && now->size >= 0 && listed->size != now->size)
        return err_set(err, ERR_CHANGED, "the object is not the one that was listed: it was to have %" PRId64 " bytes, and has %" PRId64, listed->size,
                       now->size);
    if (tag.n && now_tag.n)
        return str_eq(tag, now_tag) ? 0 : err_set(err, ERR_CHANGED, "the object is not the one that was listed: its ETag was %.100s, and is %.100s",
                                                  listed->etag, now->etag);
    if (!listed->mtime_ms || !now->mtime_ms || same_time(listed->mtime_ms, now->mtime_ms))
        return 0;
    char was[32], is[32];
    text_put_rfc3339(was, listed->mtime_ms);
    text_put_rfc3339(is, now->mtime_ms);
    return err_set(err, ERR_CHANGED, "the object is not the one that was listed: its time was %s, and is %s", was, is);
}

struct str version_sum(const char *etag, enum version_sum *kind)
{
    for (int i = 0; i < VERSION_SUMS; i++)
        for (const char *at = etag, *name = version_sum_names[i]; (at = strstr(at, name)); at++) {
            const char *hex = at + strlen(name) + 1;
            if ((at > etag && at[-1] != ' ') || hex[-1] != ':' || strspn(hex, "0123456789abcdef") != sum_lengths[i])
                continue;
            *kind = (enum version_sum)i;
            return (struct str){ hex, sum_lengths[i] };
        }
    return (struct str){ "", 0 };
}

bool version_put_sum(struct buf *out, struct str hex)
{
    for (int i = 0; i < VERSION_SUMS; i++) {
        size_t n = 0;
        while (n < hex.n && isxdigit((unsigned char)hex.p[n]))
            n++;
        if (n != hex.n || n != sum_lengths[i])
            continue;
        buf_addf(out, "%s:", version_sum_names[i]);
        for (n = 0; n < hex.n; n++)
            buf_addc(out, (char)tolower((unsigned char)hex.p[n]));
        return true;
    }
    return false;
}
