/* Connections to PostgreSQL; see the header. */
#include "target/postgres_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* SQLSTATE, https://www.postgresql.org/docs/15/errcodes-appendix.html: what passes by itself, or when somebody mends the server. */
static bool passing(const char *state)
{
    static const char *const begins[] = { "08" /* connection */, "25006" /* read-only: a standby */, "40" /* rolled back: deadlock */,
                                          "53" /* no space, too many connections */, "55006" /* in use */, "57" /* stopping, cancelled */,
                                          "58" /* its disk */, "XX" };
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

/* What to do, where they leave that open. A row that no partition takes violates a constraint without a name. */
static const char *advice(const char *state, const PGresult *r)
{
    bool unnamed = !*field(r, PG_DIAG_CONSTRAINT_NAME) && *field(r, PG_DIAG_TABLE_NAME);
    if (!strcmp(state, "21000") && strstr(field(r, PG_DIAG_MESSAGE_PRIMARY), "ON CONFLICT")) /* cardinality_violation */
        return "; two keys of the job become one in the table, which cuts blanks at their end off: make their column wider";
    return !strcmp(state, "23514") && unnamed ? "; make a partition for it: CREATE TABLE ... PARTITION OF ... FOR VALUES ..., or DEFAULT" : "";
}

static enum err_code code_of_state(const char *state, bool answered)
{
    static const struct {
        const char *begins;
        enum err_code code;
    } known[] = { { "55P03", ERR_TARGET_LOCKED }, { "28", ERR_TARGET_LOGIN }, { "3D000", ERR_TARGET_DATABASE }, { "42501", ERR_TARGET_DENIED } };
    for (size_t i = 0; answered && i < COUNT_OF(known); i++)
        if (!strncmp(state, known[i].begins, strlen(known[i].begins)))
            return known[i].code;
    return !answered || passing(state) ? ERR_TARGET : ERR_TARGET_REFUSED;
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
    err_set(err, code_of_state(state, *state && PQstatus(pg) == CONNECTION_OK), "%s: %s%s%s%.*s%s%.*s%s%s", what, reason(state), message,
            *detail ? ": " : "", 200, detail, *context ? "; " : "", (int)strcspn(context, "\n"), context, *state ? "" : " (no answer)",
            advice(state, r));
    bool of_domain = !strncmp(state, "23", 2) && PQresultErrorField(r, PG_DIAG_DATATYPE_NAME);
    err->sys = !strncmp(state, "22", 2) || of_domain ? PG_OF_VALUE : 0;
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

/* Why: of each host that was tried one line (what libpq advises begins with a tab), each once. */
static void put_causes(struct buf *out, const char *message)
{
    static const char begin[] = "connection to server ";
    for (size_t n; *message; message += n + (message[n] == '\n')) {
        n = strcspn(message, "\n");
        size_t skip = out->n && !strncmp(message, begin, strlen(begin)) ? strlen(begin) : 0;
        struct str line = { message + skip, n - skip };
        if (!n || *message == '\t' || (out->n && memmem(out->p, out->n, line.p, line.n)))
            continue;
        buf_adds(out, out->n ? "; " : "");
        buf_add(out, line.p, line.n);
    }
}

/* libpq keeps the SQLSTATE of a connection that failed to itself: words of libpq and of a server that speaks English. */
static enum err_code code_of_causes(const char *causes)
{
    static const struct {
        const char *words, *and;
        enum err_code code;
    } known[] = {
        { "pg_hba.conf", "", ERR_TARGET_LOGIN }, /* first: it names SSL and the database */
        { "authentication failed", "", ERR_TARGET_LOGIN },
        { "no password supplied", "", ERR_TARGET_LOGIN },
        { "role \"", "does not exist", ERR_TARGET_LOGIN },
        { "certificate", "", ERR_TARGET_TLS },
        { "SSL", "", ERR_TARGET_TLS },
        { "database \"", "does not exist", ERR_TARGET_DATABASE },
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        const char *at = strstr(causes, known[i].words);
        if (at && strstr(at, known[i].and))
            return known[i].code;
    }
    return ERR_TARGET;
}

static int refuse_connection(PGconn *pg, const struct target_config *cfg, struct err *err)
{
    AUTO(buf_clear) struct buf causes = { 0 };
    put_causes(&causes, PQerrorMessage(pg));
    buf_adds(&causes, causes.n ? "" : "it cannot be opened");
    return causes.failed ? err_nomem(err) : err_set(err, code_of_causes(causes.p), "target '%s': %s", cfg->name, causes.p);
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
        (void)refuse_connection(pg, cfg, err);
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
