/*
 * SFTP by libssh2, without blocking: each call is repeated until it is done, and between two tries the socket is waited for,
 * with a look at the clock and at who asked. See sftp.h.
 *
 * Invariant: the key of the host is proven before anything of ours (the name of the user) is sent. libssh2 holds one packet of
 * a folder at a time, so memory does not grow with a folder. If power fails: nothing is kept here.
 */
#define ERR_STATE OPENSSL_ERR_STATE /* a type of theirs, and a code of ours */
#include <openssl/evp.h>
#undef ERR_STATE

#include "io/sftp.h"

#include <curl/curl.h>
#include <libssh2.h>
#include <libssh2_sftp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/text.h"

enum { TICK_MS = 100, PORT = 22, PACKET_MAX = 256 * 1024 };

struct sftp {
    CURL *link; /* owns the socket */
    curl_socket_t fd;
    LIBSSH2_SESSION *session;
    LIBSSH2_SFTP *sftp;
    char *host, *user, *password, *shown; /* shown: sftp://host:port, for messages */
    long port;
    int64_t stall_ms, connect_ms;
    struct sftp_wait wait;
    struct buf home, path, other; /* home: of the login, with a slash; the other two: paths of a call */
    bool broken;
};

static int fail(struct sftp *s, struct err *err, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static int fail(struct sftp *s, struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err_vset_foreign(err, code, s->shown, fmt, ap);
    va_end(ap);
    return -1;
}

/* ---- waiting ---- */

/* What a call that is repeated began with. */
struct spell {
    int64_t begun_ms, limit_ms;
};

static struct spell spell(int64_t limit_ms)
{
    return (struct spell){ sys_mono_ms(), limit_ms };
}

/* libssh2 wants the socket: 0 try again, -1. */
static int wait_socket(struct sftp *s, const struct spell *sp, struct err *err)
{
    int want = libssh2_session_block_directions(s->session);
    struct pollfd fd = { .fd = s->fd,
                         .events = (short)((want & LIBSSH2_SESSION_BLOCK_INBOUND ? POLLIN : 0) |
                                           (want & LIBSSH2_SESSION_BLOCK_OUTBOUND ? POLLOUT : 0)) };
    int ready = poll(&fd, 1, TICK_MS);
    if (s->wait.go_on && !s->wait.go_on(s->wait.arg)) {
        s->broken = true; /* an answer is still to come */
        return fail(s, err, ERR_SHUTDOWN, "stopped while waiting for the server");
    }
    if (ready <= 0 && sp->limit_ms > 0 && sys_mono_ms() - sp->begun_ms > sp->limit_ms) {
        s->broken = true;
        return fail(s, err, ERR_TIMEOUT, "the server did not answer within %lld s", (long long)(sp->limit_ms / 1000));
    }
    return 0;
}

/* Repeat `call`, which gives a number, until it is done; rc is its last. At a failed wait rc is LIBSSH2_ERROR_NONE + 1000. */
enum { GAVE_UP = 1000 };
#define REPEAT(s, sp, rc, call, err)                                          \
    while (((rc) = (call)) == LIBSSH2_ERROR_EAGAIN)                           \
        if (wait_socket(s, sp, err) < 0) {                                    \
            (rc) = GAVE_UP;                                                   \
            break;                                                            \
        }
/* The same of one that gives a pointer: NULL at the end and *gave_up, or NULL and the session's error. */
#define REPEAT_POINTER(s, sp, p, call, gave_up, err)                                                     \
    while (!((p) = (call)) && libssh2_session_last_errno((s)->session) == LIBSSH2_ERROR_EAGAIN)          \
        if (wait_socket(s, sp, err) < 0) {                                                               \
            (gave_up) = true;                                                                            \
            break;                                                                                       \
        }

static const struct status_def {
    unsigned long status;
    enum err_code code;
    const char *says;
} statuses[] = {
    { LIBSSH2_FX_NO_SUCH_FILE, ERR_FETCH_MISSING, "the server has no such file or folder" },
    { LIBSSH2_FX_NO_SUCH_PATH, ERR_FETCH_MISSING, "the server has no such file or folder" },
    { LIBSSH2_FX_NOT_A_DIRECTORY, ERR_FETCH_MISSING, "it is no folder" },
    { LIBSSH2_FX_PERMISSION_DENIED, ERR_FETCH_DENIED, "the server does not let us" },
    { LIBSSH2_FX_WRITE_PROTECT, ERR_FETCH_DENIED, "the server does not let us" },
    { LIBSSH2_FX_FILE_ALREADY_EXISTS, ERR_FETCH_REFUSED, "there is one of that name" },
    { LIBSSH2_FX_OP_UNSUPPORTED, ERR_FETCH_REFUSED, "the server cannot do that" },
};

/* What a call that failed said. path: which it was about. */
static int fault(struct sftp *s, const char *what, struct str path, struct err *err)
{
    char *text = NULL;
    int n = 0, code = libssh2_session_last_error(s->session, &text, &n, 0), shown = (int)(path.n < 120 ? path.n : 120);
    unsigned long status = code == LIBSSH2_ERROR_SFTP_PROTOCOL ? libssh2_sftp_last_error(s->sftp) : 0;
    for (size_t i = 0; status && i < COUNT_OF(statuses); i++)
        if (statuses[i].status == status)
            return fail(s, err, statuses[i].code, "%s '%.*s': %s", what, shown, path.p, statuses[i].says);
    if (status)
        return fail(s, err, ERR_FETCH_REFUSED, "%s '%.*s': the server refuses it (SFTP status %lu)", what, shown, path.p, status);
    s->broken = code != LIBSSH2_ERROR_BUFFER_TOO_SMALL;
    return fail(s, err, ERR_FETCH, "%s '%.*s': %s", what, shown, path.p, n ? text : "the connection broke off");
}

static bool is_missing(const struct sftp *s)
{
    unsigned long status = libssh2_sftp_last_error(s->sftp);
    return libssh2_session_last_errno(s->session) == LIBSSH2_ERROR_SFTP_PROTOCOL &&
           (status == LIBSSH2_FX_NO_SUCH_FILE || status == LIBSSH2_FX_NO_SUCH_PATH);
}

/* ---- the host's key ---- */

static const struct key_def {
    int mask;
    const char *name;
} key_defs[] = {
    { LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519" },
    { LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256" },
    { LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384" },
    { LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521" },
    { LIBSSH2_KNOWNHOST_KEY_SSHRSA, "ssh-rsa" },
};

static int check_known(struct sftp *s, LIBSSH2_KNOWNHOSTS *known, const char *key, size_t n, int mask)
{
    return libssh2_knownhost_checkp(known, s->host, s->port == PORT ? -1 : (int)s->port, key, n, LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | mask,
                                    NULL);
}

/* Ask the server for a key of the types that we know of it; else it would show one that nothing can be said of. */
static int prefer_known(struct sftp *s, LIBSSH2_KNOWNHOSTS *known, struct err *err)
{
    AUTO(buf_clear) struct buf names = { 0 };
    for (size_t i = 0; i < COUNT_OF(key_defs); i++) /* of no key at all it is the type that answers "another one" */
        if (check_known(s, known, "?", 1, key_defs[i].mask) == LIBSSH2_KNOWNHOST_CHECK_MISMATCH)
            buf_addf(&names, "%s%s", names.n ? "," : "", key_defs[i].name);
    if (names.failed)
        return err_nomem(err);
    if (!names.n)
        return fail(s, err, ERR_HOST_KEY, "the host is not in known_hosts");
    return libssh2_session_method_pref(s->session, LIBSSH2_METHOD_HOSTKEY, names.p)
               ? fail(s, err, ERR_HOST_KEY, "libssh2 knows none of the kinds of key in known_hosts: %s", names.p)
               : 0;
}

static int check_pin(struct sftp *s, const char *pin, struct err *err)
{
    char text[64] = "";
    const char *hash = libssh2_hostkey_hash(s->session, LIBSSH2_HOSTKEY_HASH_SHA256);
    if (!strncasecmp(pin, "SHA256:", 7)) /* as ssh-keygen -l writes it */
        pin += 7;
    if (hash)
        EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)hash, 32);
    size_t n = strcspn(text, "=");
    return n && strlen(pin) >= n && !memcmp(text, pin, n) && pin[n + strspn(pin + n, "=")] == '\0'
               ? 0
               : fail(s, err, ERR_HOST_KEY, "the host's key is not the one of host_key_sha256");
}

static int check_key(struct sftp *s, LIBSSH2_KNOWNHOSTS *known, const char *pin, struct err *err)
{
    size_t n;
    int type, mask = 0;
    static const struct {
        int type, mask;
    } types[] = {
        { LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA },          { LIBSSH2_HOSTKEY_TYPE_ECDSA_256, LIBSSH2_KNOWNHOST_KEY_ECDSA_256 },
        { LIBSSH2_HOSTKEY_TYPE_ECDSA_384, LIBSSH2_KNOWNHOST_KEY_ECDSA_384 }, { LIBSSH2_HOSTKEY_TYPE_ECDSA_521, LIBSSH2_KNOWNHOST_KEY_ECDSA_521 },
        { LIBSSH2_HOSTKEY_TYPE_ED25519, LIBSSH2_KNOWNHOST_KEY_ED25519 },
    };
    if (pin)
        return check_pin(s, pin, err);
    const char *key = libssh2_session_hostkey(s->session, &n, &type);
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].type == type)
            mask = types[i].mask;
    return key && mask && check_known(s, known, key, n, mask) == LIBSSH2_KNOWNHOST_CHECK_MATCH
               ? 0
               : fail(s, err, ERR_HOST_KEY, "the host's key is not the one in known_hosts");
}

static int handshake(struct sftp *s, const struct remote *r, struct err *err)
{
    LIBSSH2_KNOWNHOSTS *known = NULL;
    int rc = 0;
    if (!r->host_key_sha256) {
        known = libssh2_knownhost_init(s->session);
        if (!known)
            return err_nomem(err);
        rc = libssh2_knownhost_readfile(known, r->known_hosts, LIBSSH2_KNOWNHOST_FILE_OPENSSH) < 0
                 ? fail(s, err, ERR_HOST_KEY, "known_hosts '%s' cannot be read", r->known_hosts)
                 : prefer_known(s, known, err);
    }
    struct spell sp = spell(s->connect_ms);
    if (rc == 0) {
        REPEAT(s, &sp, rc, libssh2_session_handshake(s->session, s->fd), err)
        /* a server that has no key of the kinds that we know of it shows none */
        bool no_key = rc == LIBSSH2_ERROR_KEX_FAILURE || rc == LIBSSH2_ERROR_HOSTKEY_INIT || rc == LIBSSH2_ERROR_METHOD_NONE;
        rc = rc == 0 ? check_key(s, known, r->host_key_sha256, err)
             : rc == GAVE_UP ? -1
             : no_key        ? fail(s, err, known ? ERR_HOST_KEY : ERR_FETCH, "no key of the host could be agreed on%s",
                                    known ? "; known_hosts has other kinds of key than the server" : "")
                             : fault(s, "speak SSH with", str_of(s->host), err);
    }
    if (known)
        libssh2_knownhost_free(known);
    return rc;
}

/* ---- login ---- */

/* libssh2 frees the texts. */
static void answer(const char *name, int name_n, const char *text, int text_n, int n, const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts,
                   LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses, void **abstract)
{
    const struct sftp *s = *abstract;
    (void)name, (void)name_n, (void)text, (void)text_n, (void)prompts;
    for (int i = 0; i < n; i++) {
        responses[i].text = strdup(s->password ? s->password : "");
        responses[i].length = responses[i].text ? (unsigned)strlen(responses[i].text) : 0;
    }
}

static int login(struct sftp *s, const struct remote *r, struct err *err)
{
    struct spell sp = spell(s->connect_ms);
    unsigned n = (unsigned)strlen(s->user);
    int rc;
    if (r->private_key) {
        REPEAT(s, &sp, rc, libssh2_userauth_publickey_fromfile_ex(s->session, s->user, n, NULL, r->private_key, s->password), err)
    } else {
        REPEAT(s, &sp, rc, libssh2_userauth_password_ex(s->session, s->user, n, s->password, (unsigned)strlen(s->password), NULL), err)
        if (rc < 0 && rc != LIBSSH2_ERROR_SOCKET_DISCONNECT && rc != LIBSSH2_ERROR_SOCKET_RECV)
            REPEAT(s, &sp, rc, libssh2_userauth_keyboard_interactive_ex(s->session, s->user, n, answer), err)
    }
    if (rc == 0 || rc == GAVE_UP)
        return rc == 0 ? 0 : -1;
    char *text = NULL;
    (void)libssh2_session_last_error(s->session, &text, NULL, 0);
    if (rc == LIBSSH2_ERROR_SOCKET_DISCONNECT || rc == LIBSSH2_ERROR_SOCKET_RECV || rc == LIBSSH2_ERROR_SOCKET_SEND)
        return fail(s, err, ERR_FETCH, "the connection broke off at the login");
    return fail(s, err, ERR_FETCH_DENIED, "the server refused the login: %s", text ? text : "");
}

/* The folder of the login, for /~/. */
static int find_home(struct sftp *s, struct err *err)
{
    char home[SFTP_NAME_MAX];
    struct spell sp = spell(s->stall_ms);
    int rc;
    REPEAT(s, &sp, rc, libssh2_sftp_realpath(s->sftp, ".", home, sizeof home - 1), err)
    if (rc == GAVE_UP)
        return -1;
    if (rc <= 0)
        return fault(s, "ask for the folder of the login", STR("."), err);
    buf_add(&s->home, home, (size_t)rc);
    if (home[rc - 1] != '/')
        buf_addc(&s->home, '/');
    return s->home.failed ? err_nomem(err) : 0;
}

/* ---- the connection ---- */

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct sftp *s = arg;
    (void)a, (void)b, (void)c, (void)d;
    return s->wait.go_on && !s->wait.go_on(s->wait.arg);
}

/* The socket, through the proxy where there is one. */
static int connect_host(struct sftp *s, const char *proxy, struct err *err)
{
    char url[300], why[CURL_ERROR_SIZE] = "";
    int bad = 0;
    bool six = strchr(s->host, ':') != NULL;
    s->link = curl_easy_init();
    if (!s->link || snprintf(url, sizeof url, six ? "http://[%s]:%ld" : "http://%s:%ld", s->host, s->port) >= (int)sizeof url)
        return fail(s, err, ERR_URI, "the name of the host is too long");
    bad |= curl_easy_setopt(s->link, CURLOPT_URL, url);
    bad |= curl_easy_setopt(s->link, CURLOPT_CONNECT_ONLY, 1L);
    bad |= curl_easy_setopt(s->link, CURLOPT_PROTOCOLS_STR, "http");
    bad |= curl_easy_setopt(s->link, CURLOPT_HTTPPROXYTUNNEL, 1L);
    bad |= curl_easy_setopt(s->link, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(s->link, CURLOPT_TCP_KEEPALIVE, 1L);
    bad |= curl_easy_setopt(s->link, CURLOPT_ERRORBUFFER, why);
    bad |= curl_easy_setopt(s->link, CURLOPT_NOPROGRESS, 0L);
    bad |= curl_easy_setopt(s->link, CURLOPT_XFERINFOFUNCTION, on_progress);
    bad |= curl_easy_setopt(s->link, CURLOPT_XFERINFODATA, s);
    bad |= curl_easy_setopt(s->link, CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_ms);
    if (proxy)
        bad |= curl_easy_setopt(s->link, CURLOPT_PROXY, proxy);
    if (bad)
        return err_nomem(err);
    CURLcode rc = curl_easy_perform(s->link);
    (void)curl_easy_setopt(s->link, CURLOPT_ERRORBUFFER, NULL);
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        return fail(s, err, ERR_SHUTDOWN, "stopped while connecting");
    if (rc != CURLE_OK || curl_easy_getinfo(s->link, CURLINFO_ACTIVESOCKET, &s->fd) != CURLE_OK || s->fd == CURL_SOCKET_BAD)
        return fail(s, err, ERR_FETCH, "%s", *why ? why : curl_easy_strerror(rc));
    return 0;
}

static int check_remote(struct sftp *s, const struct remote *r, struct err *err)
{
    if (!r || (!r->known_hosts && !r->host_key_sha256))
        return fail(s, err, ERR_HOST_KEY, "nothing says which host key is right, so nobody is asked");
    if (!r->private_key && !r->password)
        return fail(s, err, ERR_FETCH_DENIED, "sftp needs a private_key or a password in the [remote] section");
    if (r->private_key && access(r->private_key, R_OK) < 0)
        return fail(s, err, ERR_FETCH_DENIED, "the private key '%s' cannot be read", r->private_key);
    return 0;
}

static void url_cleanup(CURLU **u)
{
    curl_url_cleanup(*u);
}

/* Host, port and user of the URI. */
static int split(struct sftp *s, const char *uri, struct err *err)
{
    AUTO(url_cleanup) CURLU *u = curl_url();
    char *host = NULL, *port = NULL, *user = NULL;
    s->shown = strdup("sftp");
    if (!u || !s->shown)
        return err_nomem(err);
    if (curl_url_set(u, CURLUPART_URL, uri, CURLU_NON_SUPPORT_SCHEME) || curl_url_get(u, CURLUPART_HOST, &host, CURLU_URLDECODE))
        return fail(s, err, ERR_URI, "the URI names no host");
    size_t n = strlen(host);
    bool six = n > 1 && host[0] == '[' && host[n - 1] == ']';
    s->host = six ? strndup(host + 1, n - 2) : strdup(host);
    s->port = curl_url_get(u, CURLUPART_PORT, &port, 0) ? PORT : strtol(port, NULL, 10);
    s->user = curl_url_get(u, CURLUPART_USER, &user, CURLU_URLDECODE) ? strdup("") : strdup(user);
    free(s->shown);
    if (asprintf(&s->shown, "sftp://%s:%ld", host, s->port) < 0)
        s->shown = NULL;
    curl_free(host);
    curl_free(port);
    curl_free(user);
    return s->host && s->user && s->shown ? 0 : err_nomem(err);
}

static int secret(struct sftp *s, const char *what, const char *reference, char **out, struct err *err)
{
    if (!reference)
        return 0;
    secret_clear(out);
    return config_secret(reference, out, err) < 0 ? err_in(err, "%s: %s of the remote", s->shown, what) : 0;
}

static int open_session(struct sftp *s, const struct remote *r, struct err *err)
{
    bool gave_up = false;
    AUTO(secret_clear) char *proxy = NULL;
    if (check_remote(s, r, err) < 0 || secret(s, "user", r->user, &s->user, err) < 0 ||
        secret(s, "password", r->password, &s->password, err) < 0 || secret(s, "proxy", r->proxy, &proxy, err) < 0 ||
        connect_host(s, proxy, err) < 0)
        return -1;
    s->session = libssh2_session_init_ex(NULL, NULL, NULL, s);
    if (!s->session)
        return err_nomem(err);
    libssh2_session_set_blocking(s->session, 0);
    if (handshake(s, r, err) < 0 || login(s, r, err) < 0)
        return -1;
    secret_clear(&s->password);
    struct spell sp = spell(s->connect_ms);
    REPEAT_POINTER(s, &sp, s->sftp, libssh2_sftp_init(s->session), gave_up, err)
    if (!s->sftp)
        return gave_up ? -1 : fail(s, err, ERR_FETCH_REFUSED, "the server speaks SSH, but not SFTP");
    return find_home(s, err);
}

int sftp_open(struct sftp **out, const char *uri, const struct remote *remote, const struct limits *limits, const struct sftp_wait *wait,
              struct err *err)
{
    struct sftp *s = calloc(1, sizeof *s);
    if (!s)
        return err_nomem(err);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || libssh2_init(0)) {
        free(s);
        return err_set(err, ERR_INTERNAL, "libssh2 does not start");
    }
    s->fd = CURL_SOCKET_BAD;
    s->stall_ms = limits->stall_timeout_ms;
    s->connect_ms = limits->connect_timeout_ms;
    s->wait = *wait;
    if (split(s, uri, err) < 0 || open_session(s, remote, err) < 0) {
        sftp_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void sftp_close(struct sftp *s)
{
    if (!s)
        return;
    if (s->session) { /* a good-bye if it can go out at once; then nothing below can wait */
        (void)libssh2_session_disconnect(s->session, "done");
        (void)shutdown(s->fd, SHUT_RDWR);
        libssh2_session_set_blocking(s->session, 1);
        if (s->sftp)
            (void)libssh2_sftp_shutdown(s->sftp);
        (void)libssh2_session_free(s->session);
    }
    curl_easy_cleanup(s->link);
    secret_clear(&s->password);
    free(s->user);
    free(s->host);
    free(s->shown);
    buf_clear(&s->home);
    buf_clear(&s->path);
    buf_clear(&s->other);
    free(s);
    libssh2_exit();
    curl_global_cleanup();
}

bool sftp_is_broken(const struct sftp *s)
{
    return s->broken;
}

void sftp_wait_by(struct sftp *s, const struct sftp_wait *wait)
{
    s->wait = *wait;
}

/* ---- questions ---- */

/* The server's path of ours, in b. */
static int name_path(struct sftp *s, struct str path, struct buf *b, struct err *err)
{
    bool home = path.n >= 3 && !memcmp(path.p, "/~/", 3);
    buf_reset(b);
    if (home)
        buf_add(b, s->home.p, s->home.n);
    buf_add(b, path.p + (home ? 3 : 0), path.n - (home ? 3 : 0));
    buf_addc(b, '\0');
    b->n -= !b->failed;
    if (b->failed)
        return err_nomem(err);
    return memchr(path.p, '\0', path.n) ? fail(s, err, ERR_URI, "a path holds a zero byte") : 0;
}

static struct sftp_entry entry_of(const LIBSSH2_SFTP_ATTRIBUTES *a)
{
    bool typed = a->flags & LIBSSH2_SFTP_ATTR_PERMISSIONS;
    bool sized = (a->flags & LIBSSH2_SFTP_ATTR_SIZE) && a->filesize <= INT64_MAX;
    return (struct sftp_entry){
        .kind = typed && LIBSSH2_SFTP_S_ISREG(a->permissions)   ? SFTP_FILE
                : typed && LIBSSH2_SFTP_S_ISDIR(a->permissions) ? SFTP_FOLDER
                                                                : SFTP_OTHER,
        .size = sized ? (int64_t)a->filesize : -1,
        .mtime_ms = a->flags & LIBSSH2_SFTP_ATTR_ACMODTIME ? (int64_t)(uint32_t)a->mtime * 1000 : 0,
    };
}

static int give_names(struct sftp *s, LIBSSH2_SFTP_HANDLE *folder, int (*name)(void *, struct str, const struct sftp_entry *, struct err *),
                      void *arg, struct err *err)
{
    char text[SFTP_NAME_MAX];
    LIBSSH2_SFTP_ATTRIBUTES a;
    for (int rc;;) {
        struct spell sp = spell(s->stall_ms);
        memset(&a, 0, sizeof a);
        REPEAT(s, &sp, rc, libssh2_sftp_readdir_ex(folder, text, sizeof text, NULL, 0, &a), err)
        struct str n = { text, rc > 0 ? (size_t)rc : 0 };
        if (rc == GAVE_UP)
            return -1;
        if (rc == 0)
            return 0;
        if (rc == LIBSSH2_ERROR_BUFFER_TOO_SMALL)
            return fail(s, err, ERR_FETCH_REFUSED, "a name is longer than %d bytes", SFTP_NAME_MAX);
        if (rc < 0)
            return fault(s, "list", buf_str(&s->path), err);
        if (memchr(n.p, '/', n.n) || memchr(n.p, '\0', n.n))
            return fail(s, err, ERR_FETCH_REFUSED, "the server's listing of '%s' has a name with a slash or a zero byte in it", s->path.p);
        if (str_eq(n, STR(".")) || str_eq(n, STR("..")))
            continue;
        struct sftp_entry e = entry_of(&a);
        int more = name(arg, n, &e, err);
        if (more)
            return more;
    }
}

int sftp_list(struct sftp *s, struct str folder, int (*name)(void *arg, struct str name, const struct sftp_entry *e, struct err *err),
              void *arg, struct err *err)
{
    struct spell sp = spell(s->stall_ms);
    LIBSSH2_SFTP_HANDLE *h;
    bool gave_up = false;
    if (name_path(s, folder, &s->path, err) < 0)
        return -1;
    REPEAT_POINTER(s, &sp, h, libssh2_sftp_open_ex(s->sftp, s->path.p, (unsigned)s->path.n, 0, 0, LIBSSH2_SFTP_OPENDIR), gave_up, err)
    if (!h)
        return gave_up ? -1 : fault(s, "list the folder", buf_str(&s->path), err);
    int rc = give_names(s, h, name, arg, err), closed;
    struct err why;
    struct spell ending = spell(s->stall_ms);
    if (!s->broken)
        REPEAT(s, &ending, closed, libssh2_sftp_close_handle(h), &why)
    return rc;
}

int sftp_look(struct sftp *s, struct str path, struct sftp_entry *out, struct err *err)
{
    struct spell sp = spell(s->stall_ms);
    LIBSSH2_SFTP_ATTRIBUTES a = { 0 };
    int rc;
    if (name_path(s, path, &s->path, err) < 0)
        return -1;
    REPEAT(s, &sp, rc, libssh2_sftp_stat_ex(s->sftp, s->path.p, (unsigned)s->path.n, LIBSSH2_SFTP_LSTAT, &a), err)
    if (rc == GAVE_UP)
        return -1;
    if (rc)
        return is_missing(s) ? 0 : fault(s, "look at", buf_str(&s->path), err);
    *out = entry_of(&a);
    return 1;
}

int sftp_remove(struct sftp *s, struct str path, struct err *err)
{
    struct spell sp = spell(s->stall_ms);
    int rc;
    if (name_path(s, path, &s->path, err) < 0)
        return -1;
    REPEAT(s, &sp, rc, libssh2_sftp_unlink_ex(s->sftp, s->path.p, (unsigned)s->path.n), err)
    if (rc == GAVE_UP)
        return -1;
    return rc == 0 ? 1 : is_missing(s) ? 0 : fault(s, "delete", buf_str(&s->path), err);
}

int sftp_rename(struct sftp *s, struct str from, struct str to, struct err *err)
{
    struct spell sp = spell(s->stall_ms);
    int rc;
    if (name_path(s, from, &s->path, err) < 0 || name_path(s, to, &s->other, err) < 0)
        return -1;
    REPEAT(s, &sp, rc, libssh2_sftp_rename_ex(s->sftp, s->path.p, (unsigned)s->path.n, s->other.p, (unsigned)s->other.n, 0), err)
    return rc == 0 ? 0 : rc == GAVE_UP ? -1 : fault(s, "rename", buf_str(&s->path), err);
}

int sftp_make_folder(struct sftp *s, struct str path, struct err *err)
{
    struct spell sp = spell(s->stall_ms);
    struct sftp_entry e;
    int rc = sftp_look(s, path, &e, err);
    if (rc)
        return rc < 0 ? -1 : 0;
    REPEAT(s, &sp, rc, libssh2_sftp_mkdir_ex(s->sftp, s->path.p, (unsigned)s->path.n, 0777), err)
    return rc == 0 ? 0 : rc == GAVE_UP ? -1 : fault(s, "make the folder", buf_str(&s->path), err);
}
