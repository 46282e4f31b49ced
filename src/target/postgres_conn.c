/* Connections to PostgreSQL; see the header. */
#include "target/postgres_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* SQLSTATE, https://www.postgresql.org/docs/15/errcodes-appendix.html: what passes by itself, or when somebody mends the server. */
static bool passing(const char *state)
{
    static const char *const begins[] = { "08" /* connection */, "25006" /* read-only: a standby */, "28" /* who are you */,
                                          "40" /* rolled back: deadlock */, "53" /* no space, too many connections */,
                                          "55006", "55P03" /* in use, locked */, "57" /* stopping, cancelled */, "58" /* its disk */,
                                          "3D000" /* no such database */, "XX" };
    for (size_t i = 0; i < COUNT_OF(begins); i++)
        if (!strncmp(state, begins[i], strlen(begins[i])))
            return true;
    return false;
}

static const char *field(const PGresult *r, int code)
{
    const char *s = r ? PQresultErrorField(r, code) : NULL;
    return s ? s : "";
}

/* What the server's own words leave open. */
static const char *reason(const char *state)
{
    return !strcmp(state, "25006") ? "the server is a standby, or set read-only: " : !strcmp(state, "0A000") ? "the server cannot do this: " : "";
}

int pg_error(PGconn *pg, const PGresult *r, const char *what, struct err *err)
{
    const char *state = field(r, PG_DIAG_SQLSTATE), *detail = field(r, PG_DIAG_MESSAGE_DETAIL),
               *context = field(r, PG_DIAG_CONTEXT);
    const char *message = field(r, PG_DIAG_MESSAGE_PRIMARY);
    char own[300];
    if (!*message) { /* the connection's: one line of it */
        snprintf(own, sizeof own, "%.*s", (int)strcspn(PQerrorMessage(pg), "\n"), PQerrorMessage(pg));
        message = own;
    }
    bool pass = !*state || PQstatus(pg) != CONNECTION_OK || passing(state);
    bool locked = !strcmp(state, "55P03");
    enum err_code code = locked ? ERR_TARGET_LOCKED : pass ? ERR_TARGET : !strcmp(state, "42501") ? ERR_TARGET_DENIED : ERR_TARGET_REFUSED;
    err_set(err, code, "%s: %s%s%s%.*s%s%.*s%s", what, reason(state), message, *detail ? ": " : "", 200,
            detail, *context ? "; " : "", (int)strcspn(context, "\n"), context, *state ? "" : " (no answer)");
    err->sys = !strncmp(state, "22", 2) ? PG_OF_VALUE : 0;
    return -1;
}

PGresult *pg_exec(PGconn *pg, const char *sql, const char *what, struct err *err)
{
    PGresult *r = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(r);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN)
        return r;
    (void)pg_error(pg, r, what, err);
    PQclear(r);
    return NULL;
}

int pg_run(PGconn *pg, const char *sql, const char *what, struct err *err)
{
    AUTO(result_clearp) PGresult *r = pg_exec(pg, sql, what, err);
    return r ? 0 : -1;
}

int64_t pg_number(const PGresult *r, int column)
{
    int64_t v = 0;
    if (PQntuples(r) > 0)
        (void)text_int_plain(str_of(PQgetvalue(r, 0, column)), &v);
    return v;
}

int64_t pg_changed(PGresult *r)
{
    int64_t n = 0;
    (void)text_int_plain(str_of(PQcmdTuples(r)), &n);
    return n;
}

void pg_literal(struct buf *out, PGconn *pg, const char *text)
{
    char *quoted = PQescapeLiteral(pg, text, strlen(text));
    if (quoted)
        buf_adds(out, quoted);
    else
        out->failed = true;
    PQfreemem(quoted);
}

static void quiet(void *arg, const char *message) /* notices: libpq would print them */
{
    (void)arg;
    (void)message;
}

/* attgenerated of pg_attribute came with 12. What speaks the protocol says which PostgreSQL it is like. */
static int check_version(PGconn *pg, const char *target, struct err *err)
{
    enum { OLDEST = 120000 };
    const char *version = PQparameterStatus(pg, "server_version");
    return PQserverVersion(pg) >= OLDEST ? 0
                                         : err_set(err, ERR_TARGET, "target '%s': the server is PostgreSQL %s, and qetl needs 12 or later",
                                                   target, version ? version : "of no known version");
}

int pg_connect(PGconn **out, const struct config *config, const struct target_config *cfg, struct err *err)
{
    enum { SETTINGS = 16 };
    const char *keys[SETTINGS] = { 0 }, *values[SETTINGS] = { 0 };
    int n = 0;
    const struct remote *remote = config ? config_remote(config, cfg->url) : NULL;
    char *password = NULL, *user = NULL, timeout[24];
    if (remote && ((remote->password && config_secret(remote->password, &password, err) < 0) ||
                   (remote->user && config_secret(remote->user, &user, err) < 0))) {
        secret_clear(&password);
        return err_in(err, "target '%s'", cfg->name);
    }
    snprintf(timeout, sizeof timeout, "%lld", (long long)(config ? (config->limits.connect_timeout_ms + 999) / 1000 : 20));
#define SET(key, value) (keys[n] = (key), values[n++] = (value))
    if (user)
        SET("user", user);
    if (remote && remote->ca_file)
        SET("sslmode", "verify-full"); /* else libpq goes on in clear text where TLS fails */
    SET("dbname", cfg->url); /* expanded; what it says wins over what stands before it */
    if (password)
        SET("password", password);
    if (remote && remote->ca_file)
        SET("sslrootcert", remote->ca_file);
    SET("connect_timeout", timeout);
    SET("client_encoding", "UTF8");
    SET("fallback_application_name", "qetl");
    SET("keepalives_idle", "30"); /* a peer that is gone is noticed */
    SET("keepalives_interval", "10");
    SET("tcp_user_timeout", "60000");
#undef SET
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    secret_clear(&password);
    secret_clear(&user);
    if (!pg)
        return err_nomem(err);
    if (PQstatus(pg) != CONNECTION_OK) {
        (void)err_set(err, ERR_TARGET, "target '%s': %.*s", cfg->name, (int)strcspn(PQerrorMessage(pg), "\n"), PQerrorMessage(pg));
        PQfinish(pg);
        return -1;
    }
    if (check_version(pg, cfg->name, err) < 0) {
        PQfinish(pg);
        return -1;
    }
    PQsetNoticeProcessor(pg, quiet, NULL);
    *out = pg;
    return 0;
}
