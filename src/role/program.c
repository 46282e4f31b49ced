/* Programs of the ini. See program.h. */
#include "role/program.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include "role/guard.h"

enum {
    PIPE_BYTES = 1 << 20,
    ENV_MAX = 1000,
    ENV_VALUE_MAX = 64 * 1024,  /* of a parameter: a longer one is only in the JSON; the kernel takes no text above 128 KiB */
    ENV_BYTES_MAX = 512 * 1024, /* of all of them */
    SECRETS_MAX = 64,
    GROUPS_MAX = 256,
    TALK_KEPT = 8 * 1024,
    END_WAIT_MS = 5000,
};

struct program {
    pid_t guard;
    int socket, in, out;
    const char *name; /* argv[0] */
    int64_t timeout_ms;
    char *secrets[SECRETS_MAX]; /* that it knows, and must not be shown */
    int nsecrets;
    bool reported;
    int64_t reported_mono_ms;
    struct err end; /* code NONE: it ended well */
    char *talk;
};

/* ---- what it gets ---- */

struct env {
    struct arena mem;
    char *list[ENV_MAX + 1];
    int n;
    size_t bytes;
    bool failed;
};

static void env_put(struct env *e, const char *name, struct str value)
{
    AUTO(buf_clear) struct buf b = { 0 };
    buf_addf(&b, "%s=", name);
    buf_add(&b, value.p, value.n);
    char *text = b.failed ? NULL : arena_dup(&e->mem, buf_str(&b));
    e->failed |= !text;
    if (!text || e->n == ENV_MAX)
        return;
    for (int i = 0; i < e->n; i++) /* the later one of a name stands */
        if (!strncmp(e->list[i], text, strlen(name) + 1)) {
            e->list[i] = text;
            return;
        }
    e->list[e->n++] = text;
}

/* QETL_PARAM_ and the name in capitals, with _ for what is no letter and no digit. */
static void env_param(struct env *e, struct arena *scratch, struct str quoted, const struct json_value *v)
{
    struct json_value key = { JSON_TEXT, quoted };
    struct str name, value = v->raw;
    char var[200] = "QETL_PARAM_";
    size_t n = strlen(var);
    if (!json_unescape(&key, scratch, &name) || (v->kind == JSON_TEXT && !json_unescape(v, scratch, &value)))
        return;
    bool fits = name.n && n + name.n < sizeof var && value.n <= ENV_VALUE_MAX && e->bytes + value.n <= ENV_BYTES_MAX;
    if (!fits || (value.n && memchr(value.p, 0, value.n)))
        return;
    for (size_t i = 0; i < name.n; i++)
        var[n++] = isalnum((unsigned char)name.p[i]) ? (char)toupper((unsigned char)name.p[i]) : '_';
    e->bytes += value.n;
    env_put(e, var, value);
}

static int env_params(struct env *e, struct str params, struct err *err)
{
    struct arena scratch = { 0 };
    struct json_value doc, v;
    struct json_fault fault;
    struct str key;
    if (!params.n)
        return 0;
    if (!json_check(params, &doc, &fault) || doc.kind != JSON_OBJECT)
        return err_set(err, ERR_INTERNAL, "the job's parameters are not a JSON object");
    for (size_t at = 0; json_next(&doc, &at, &key, &v);)
        env_param(e, &scratch, key, &v);
    arena_clear(&scratch);
    return 0;
}

/* The lines of command_env; what stands behind a reference is a secret that the log shall not show. */
static int env_lines(struct env *e, struct program *p, const char *lines, struct err *err)
{
    while (lines && *lines) {
        size_t n = strcspn(lines, "\n"), name = strcspn(lines, " \t=");
        struct str value = { lines + name, n - name };
        value.p = memchr(value.p, '=', value.n);
        AUTO(buf_clear) struct buf var = { 0 }, text = { 0 };
        buf_add(&var, lines, name);
        if (n && value.p) {
            value = str_trim((struct str){ value.p + 1, (size_t)(lines + n - value.p - 1) });
            buf_add(&text, value.p, value.n);
            buf_addc(&text, '\0');
            buf_addc(&var, '\0');
            char *secret = NULL;
            if (text.failed || var.failed)
                return err_nomem(err);
            if (config_secret(text.p, &secret, err) < 0)
                return err_in(err, "command_env %s", var.p);
            env_put(e, var.p, str_of(secret));
            if (text.p[0] == '@' && p->nsecrets < SECRETS_MAX)
                p->secrets[p->nsecrets++] = secret;
            else
                secret_clear(&secret);
        }
        lines += n + (lines[n] == '\n');
    }
    return 0;
}

static int env_fill(struct env *e, struct program *p, const struct program_call *c, const struct passwd *user, struct err *err)
{
    static const char *const passed_on[] = { "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR" };
    char number[24];
    env_put(e, "PATH", STR("/usr/local/bin:/usr/bin:/bin"));
    for (size_t i = 0; i < COUNT_OF(passed_on); i++)
        if (getenv(passed_on[i]))
            env_put(e, passed_on[i], str_of(getenv(passed_on[i])));
    if (user) {
        env_put(e, "HOME", str_of(user->pw_dir));
        env_put(e, "USER", str_of(user->pw_name));
    }
    if (env_params(e, c->params, err) < 0)
        return -1;
    snprintf(number, sizeof number, "%" PRId64, c->attempt);
    env_put(e, "QETL_JOB", str_of(c->job));
    env_put(e, "QETL_PIPELINE", str_of(c->pipeline->name));
    env_put(e, "QETL_ATTEMPT", str_of(number));
    if (env_lines(e, p, c->pipeline->command_limits.env, err) < 0)
        return -1;
    return e->failed ? err_nomem(err) : 0;
}

static int find_user(const char *name, struct guard_launch *l, gid_t groups[GROUPS_MAX], const struct passwd **user, struct err *err)
{
    errno = 0;
    struct passwd *pw = getpwnam(name);
    if (!pw)
        return err_set(err, ERR_CONFIG, "command_user: there is no user '%s'", name);
    *user = pw;
    l->switch_user = pw->pw_uid != geteuid();
    if (l->switch_user && geteuid() != 0)
        return err_set(err, ERR_CONFIG, "command_user = %s: only a worker that is root can change the user", name);
    l->uid = pw->pw_uid;
    l->gid = pw->pw_gid;
    l->ngroups = GROUPS_MAX;
    l->groups = groups;
    if (getgrouplist(name, pw->pw_gid, groups, &l->ngroups) < 0)
        return err_set(err, ERR_CONFIG, "command_user: '%s' is in more than %d groups", name, GROUPS_MAX);
    return 0;
}

/* The parameters, as a file: a program that does not read them holds up nobody. */
static int params_file(struct str params, struct err *err)
{
    AUTO(fd_closep) int fd = memfd_create("parameters", MFD_CLOEXEC);
    struct str text = params.n ? params : STR("{}");
    if (fd < 0)
        return err_sys(err, "make a memory file");
    if (sys_write_all(fd, text.p, text.n, "the parameters", err) < 0 || sys_write_all(fd, "\n", 1, "the parameters", err) < 0)
        return -1;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_sys(err, "rewind the parameters");
    return fd_steal(&fd);
}

/* A pipe, the end at `ours` not blocking. */
static int pipe_open(int ends[2], int ours, struct err *err)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(err, "make a pipe");
    (void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* a smaller one does, too */
    return fcntl(ends[ours], F_SETFL, O_NONBLOCK) < 0 ? err_sys(err, "set up a pipe") : 0;
}

/* ---- start and end ---- */

/* The descriptors of a start; those that are not handed on are closed behind it. */
struct ends {
    int in[2], out[2], talk[2], socket[2];
};

static void ends_clear(struct ends *e)
{
    int *all = (int *)e;
    for (size_t i = 0; i < sizeof *e / sizeof *all; i++)
        fd_closep(&all[i]);
}

static int ends_open(struct ends *e, const struct program_call *c, struct err *err)
{
    if (pipe_open(e->out, 0, err) < 0 || pipe_open(e->talk, 0, err) < 0)
        return -1;
    if (c->streams_in ? pipe_open(e->in, 1, err) < 0 : (e->in[0] = params_file(c->params, err)) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, e->socket) < 0)
        return err_sys(err, "make the socket of a guard");
    return 0;
}

static int launch(struct program *p, const struct program_call *c, struct err *err)
{
    const struct command_limits *limits = &c->pipeline->command_limits;
    AUTO(ends_clear) struct ends e = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
    gid_t groups[GROUPS_MAX];
    const struct passwd *user = NULL;
    struct guard_launch l = { .argv = c->command->argv,
                              .folder = c->config->folder,
                              .timeout_ms = limits->timeout_ms,
                              .memory = limits->memory };
    struct env *env = calloc(1, sizeof *env);
    if (!env)
        return err_nomem(err);
    int rc = limits->user ? find_user(limits->user, &l, groups, &user, err) : 0;
    if (rc == 0 && (rc = env_fill(env, p, c, user, err)) == 0 && (rc = ends_open(&e, c, err)) == 0) {
        l.envp = env->list;
        l.in = e.in[0];
        l.streams_in = c->streams_in;
        l.out = e.out[1];
        l.err = e.talk[1];
        l.talk = e.talk[0];
        if ((p->guard = fork()) == 0)
            guard_run(&l, e.socket[1]);
        if (p->guard < 0)
            rc = err_sys(err, "fork a guard");
    }
    arena_clear(&env->mem);
    free(env);
    if (rc < 0)
        return -1;
    p->socket = fd_steal(&e.socket[0]);
    p->out = fd_steal(&e.out[0]);
    p->in = fd_steal(&e.in[1]);
    return 0;
}

int program_start(struct program **out, const struct program_call *call, struct err *err)
{
    struct program *p = calloc(1, sizeof *p);
    if (!p)
        return err_nomem(err);
    p->socket = p->in = p->out = -1;
    p->name = call->command->argv[0];
    p->timeout_ms = call->pipeline->command_limits.timeout_ms;
    if (launch(p, call, err) < 0) {
        program_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

/* SIGKILL cannot be put off, so this is short; only a process that the kernel itself does not let go of takes longer. */
static void guard_end(struct program *p)
{
    pid_t rc = 0;
    for (int waited = 0; waited < END_WAIT_MS && (rc = waitpid(p->guard, NULL, WNOHANG)) == 0; waited++)
        (void)poll(NULL, 0, 1);
    if (rc == 0)
        log_event(LOG_WARN, "a process of a program does not end; its guard goes on without us", "program", p->name, NULL);
}

void program_free(struct program *p)
{
    if (!p)
        return;
    fd_closep(&p->socket); /* the guard kills all */
    fd_closep(&p->in);
    fd_closep(&p->out);
    if (p->guard > 0)
        guard_end(p);
    for (int i = 0; i < p->nsecrets; i++)
        secret_clear(&p->secrets[i]);
    free(p->talk);
    free(p);
}

int program_out(const struct program *p) { return p->out; }
int program_in(const struct program *p) { return p->in; }
int program_fd(const struct program *p) { return p->reported ? -1 : p->socket; }

void program_close_in(struct program *p) { fd_closep(&p->in); }

bool program_hung_up(const struct program *p)
{
    struct pollfd out = { p->out, 0, 0 };
    return poll(&out, 1, 0) == 1 && (out.revents & POLLHUP);
}

/* ---- what it said ---- */

/* The passwords of URLs: what stands between the colon and the @ in front of a host. */
static void redact_urls(char *text, size_t n)
{
    for (char *at = text, *end = text + n; (at = memmem(at, (size_t)(end - at), "://", 3)); ) {
        char *colon = NULL;
        for (at += 3; at < end && !strchr(" \t\n/\"'<>", *at) && *at != '@'; at++)
            if (*at == ':' && !colon)
                colon = at;
        if (at < end && *at == '@' && colon)
            memset(colon + 1, '*', (size_t)(at - colon - 1));
    }
}

/* What can be shown: UTF-8, and no control signs but newlines and tabs. */
static void show_plain(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = text_utf8_one((const unsigned char *)text + i, n - i);
        bool plain = len > 1 || (len == 1 && (text[i] == '\n' || text[i] == '\t' || !iscntrl((unsigned char)text[i])));
        if (!plain)
            text[i] = '?';
        i += len && plain ? len : 1;
    }
}

static char *talk_of(const struct program *p, struct guard_report *r)
{
    size_t longest = 0, n = r->ntalk < sizeof r->talk ? r->ntalk : sizeof r->talk;
    char *at = r->talk;
    for (int i = 0; i < p->nsecrets; i++) {
        secret_hide(r->talk, &n, p->secrets[i]);
        longest = strlen(p->secrets[i]) > longest ? strlen(p->secrets[i]) : longest;
    }
    redact_urls(at, n);
    show_plain(at, n);
    size_t drop = n > TALK_KEPT ? n - TALK_KEPT : 0;
    if (r->talk_cut && drop < longest) /* the end of a secret whose beginning is gone */
        drop = longest < n ? longest : n;
    at += drop;
    n -= drop;
    char *line = r->talk_cut || drop ? memchr(at, '\n', n) : NULL; /* from the beginning of a line, where there is one */
    if (line && line + 1 < at + n) {
        n -= (size_t)(line + 1 - at);
        at = line + 1;
    }
    while (n && isspace((unsigned char)at[n - 1]))
        n--;
    return n ? strndup(at, n) : NULL;
}

/* The last line, which is where most programs say it. */
static const char *last_line(const char *talk)
{
    const char *nl = talk ? strrchr(talk, '\n') : NULL;
    return nl ? nl + 1 : talk ? talk : "";
}

char *program_talk(struct program *p)
{
    char *talk = p->talk;
    p->talk = NULL;
    return talk;
}

const char *program_said(const char *talk)
{
    size_t n = strlen(talk);
    const char *from = n > PROGRAM_SAID ? talk + (n - PROGRAM_SAID) : talk, *line = from > talk ? strchr(from - 1, '\n') : NULL;
    if (line)
        return line + 1;
    while (from > talk && (*from & 0xc0) == 0x80) /* in a character */
        from++;
    return from;
}

/* ---- how it ended ---- */

static void end_not_started(struct program *p, const struct guard_report *r)
{
    bool file = strchr(p->name, '/') != NULL, there = file && access(p->name, F_OK) == 0;
    if (strcmp(r->step, "exec"))
        err_set(&p->end, ERR_PROGRAM_START, "%s: %.20s: %s", p->name, r->step, strerror(r->value));
    else if (r->value == ENOENT && !file)
        err_set(&p->end, ERR_PROGRAM_START, "there is no program '%s' in PATH (a command of the shell is no program)", p->name);
    else if (r->value == ENOENT && there)
        err_set(&p->end, ERR_PROGRAM_START, "%s: the program that its first line names is not there", p->name);
    else if (r->value == EACCES && there)
        err_set(&p->end, ERR_PROGRAM_START, "%s: it is not executable, or its folder is closed: %s", p->name, strerror(r->value));
    else
        err_set(&p->end, ERR_PROGRAM_START, "%s: %s", p->name, strerror(r->value));
}

static void end_of(struct program *p, const struct guard_report *r)
{
    char limit[32];
    const char *line = last_line(p->talk), *between = *line ? ": " : "";
    text_put_duration(limit, sizeof limit, p->timeout_ms);
    switch (r->end) {
    case GUARD_EXITED:
        if (r->value == 0 && !r->unread)
            return;
        if (r->value == 0) {
            err_set(&p->end, ERR_PROGRAM, "%s ended before it had read all of its rows%s%.200s", p->name, between, line);
            return;
        }
        err_set(&p->end, r->value == EX_TEMPFAIL ? ERR_PROGRAM_AGAIN : ERR_PROGRAM, "%s ended with status %d%s%.200s", p->name,
                r->value, between, line);
        return;
    case GUARD_SIGNALED:
        err_set(&p->end, ERR_PROGRAM_AGAIN, "%s was ended by signal %d (%s)%s%.200s", p->name, r->value, strsignal(r->value),
                between, line);
        return;
    case GUARD_TIMEOUT:
        err_set(&p->end, ERR_PROGRAM_TIMEOUT, "%s was killed after %s%s%.200s", p->name, limit, between, line);
        return;
    case GUARD_NOT_STARTED:
        end_not_started(p, r);
    }
}

static void take_report(struct program *p)
{
    struct guard_report r;
    ssize_t n;
    do
        n = recv(p->socket, &r, sizeof r, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return;
    p->reported = true;
    p->reported_mono_ms = sys_mono_ms();
    if (n != (ssize_t)sizeof r) {
        err_set(&p->end, ERR_PROGRAM_AGAIN, "%s: its guard is gone", p->name);
        return;
    }
    p->talk = talk_of(p, &r);
    end_of(p, &r);
}

int program_over(struct program *p, struct err *err)
{
    if (!p->reported)
        take_report(p);
    if (!p->reported)
        return 0;
    if (p->end.code == ERR_NONE)
        return 1;
    *err = p->end;
    return -1;
}

int64_t program_lingers(const struct program *p) { return p->reported ? sys_mono_ms() - p->reported_mono_ms : 0; }

int program_left_open(const struct program *p, struct err *err)
{
    return err_set(err, ERR_PROGRAM, "%s ended, but a process that it left behind still held its standard output %d s later", p->name,
                   PROGRAM_LINGER_MAX_MS / 1000);
}
