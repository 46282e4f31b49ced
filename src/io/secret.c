/* Secrets: text, files and systemd credentials, read when they are used and cleared after it. See
 * config.h. */
#include "io/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/text.h"

enum { SECRET_MAX = 64 * 1024 };

void secret_clear(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(*secret);
    *secret = NULL;
}

/* So many of the n bytes at p are the secret, of which any byte may be percent-encoded there (RFC 3986, 2.1), and a space a + as in
 * forms; 0: they are not. */
static size_t coded_length(const char *p, size_t n, const char *secret)
{
    size_t at = 0;
    for (; *secret; secret++) {
        if (at == n)
            return 0;
        int high = p[at] == '%' && n - at > 2 ? text_hex(p[at + 1]) : -1, low = high < 0 ? -1 : text_hex(p[at + 2]);
        char byte = low >= 0 ? (char)(high * 16 + low) : p[at] == '+' && *secret == ' ' ? ' ' : p[at];
        if (byte != *secret)
            return 0;
        at += low >= 0 ? 3 : 1;
    }
    return at;
}

void secret_hide(char *text, size_t *n, const char *secret)
{
    size_t len = strlen(secret);
    for (char *at = text; len >= 3 && at < text + *n;) {
        size_t left = *n - (size_t)(at - text);
        size_t found = left >= len && !memcmp(at, secret, len) ? len : coded_length(at, left, secret);
        if (!found) {
            at++;
            continue;
        }
        memcpy(at, "***", 3);
        memmove(at + 3, at + found, left - found);
        *n -= found - 3;
        at += 3;
    }
}

/* The whole of a small file without the newline at its end. */
static int secret_read(const char *path, bool must_be_private, char **out, struct err *err)
{
    struct stat st;
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_sys(err, "read the secret in '%s'", path);
        err->code = ERR_CONFIG;
        return -1;
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CONFIG, "the secret '%s' is not a file", path);
    if (must_be_private && st.st_mode & S_IROTH)
        return err_set(err, ERR_CONFIG, "the secret '%s' can be read by everyone: chmod o-r '%s'",
                       path, path);
    char *p = calloc(1, SECRET_MAX + 1);
    if (!p)
        return err_nomem(err);
    ssize_t n = 0, got = 1;
    while (got > 0 && n < SECRET_MAX)
        if ((got = read(fd, p + n, (size_t)(SECRET_MAX - n))) > 0)
            n += got;
    int rc = 0;
    if (got < 0)
        rc = err_sys(err, "read the secret in '%s'", path);
    else if (n == SECRET_MAX || memchr(p, 0, (size_t)n))
        rc = err_set(err, ERR_CONFIG,
                     "the secret '%s' is longer than 64 KiB, or has a NUL byte in it", path);
    if (n && p[n - 1] == '\n')
        p[--n] = 0;
    if (n && p[n - 1] == '\r')
        p[--n] = 0;
    if (rc == 0 && n == 0)
        rc = err_set(err, ERR_CONFIG, "the secret '%s' is empty", path);
    if (rc < 0) {
        explicit_bzero(p, SECRET_MAX);
        free(p);
        return -1;
    }
    *out = p;
    return 0;
}

int config_secret(const char *value, char **out, struct err *err)
{
    if (strncmp(value, "@file:", 6) == 0)
        return secret_read(value + 6, true, out, err);
    if (strncmp(value, "@credential:", 12) != 0) {
        char *p = strdup(value);
        if (!p)
            return err_nomem(err);
        *out = p;
        return 0;
    }
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder)
        return err_set(
            err, ERR_CONFIG,
            "%s is only there under systemd, by LoadCredential= in a drop-in of the unit", value);
    struct buf path = { 0 };
    buf_addf(&path, "%s/%s", folder, value + 12);
    int rc = path.failed ? err_nomem(err) : secret_read(path.p, false, out, err);
    buf_clear(&path);
    return rc;
}
