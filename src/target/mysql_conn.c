/* Connections to MariaDB and MySQL; see the header. */
#include "target/mysql_conn.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "target/mysql.h"

/* https://mariadb.com/kb/en/mariadb-error-code-reference/: what passes by itself, or when somebody mends the server. MySQL's own
 * numbers are named behind them. */
static bool passing(unsigned code)
{
    static const unsigned codes[] = {
        ER_DISK_FULL, ER_CHECKREAD, ER_GET_ERRNO, ER_OUTOFMEMORY, ER_OUT_OF_SORTMEMORY, ER_CON_COUNT_ERROR, ER_OUT_OF_RESOURCES,
        ER_BAD_HOST_ERROR, ER_HANDSHAKE_ERROR, ER_ACCESS_DENIED_ERROR, ER_UNKNOWN_COM_ERROR /* Galera: not ready */,
        ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN, ER_ERROR_ON_WRITE, ER_ERROR_ON_READ, ER_RECORD_FILE_FULL,
        ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED, ER_CANT_CREATE_THREAD, ER_NOT_ALLOWED_COMMAND,
        ER_ABORTING_CONNECTION, ER_NET_READ_ERROR, ER_NET_READ_INTERRUPTED, ER_NET_ERROR_ON_WRITE, ER_NET_WRITE_INTERRUPTED,
        ER_NET_PACKETS_OUT_OF_ORDER, ER_NET_UNCOMPRESS_ERROR, ER_ERROR_DURING_COMMIT, ER_NEW_ABORTING_CONNECTION,
        ER_TOO_MANY_USER_CONNECTIONS, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_TABLE_FULL, ER_READ_ONLY_TRANSACTION, ER_LOCK_DEADLOCK,
        ER_USER_LIMIT_REACHED, ER_OPTION_PREVENTS_STATEMENT, ER_QUERY_INTERRUPTED,
        ER_TABLE_DEF_CHANGED, ER_TOO_MANY_CONCURRENT_TRXS, ER_CONNECTION_KILLED, ER_STATEMENT_TIMEOUT, ER_MUST_CHANGE_PASSWORD_LOGIN,
        1792 /* in a read-only transaction */, 1836 /* MySQL: read-only mode */, 3024 /* MySQL: statement timeout */,
        3948, 4166 /* LOAD DATA LOCAL is switched off */, 4031 /* MySQL: idle for too long */, 4151 /* account is locked */,
    };
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (codes[i] == code)
            return true;
    return code == 0 || (code >= CR_MIN_ERROR && code < 3000) || (code >= 5000 && code < 6000); /* the client's */
}

/* A right is missing, which a GRANT would give. */
static bool denied(unsigned code)
{
    return code == ER_DBACCESS_DENIED_ERROR || code == ER_TABLEACCESS_DENIED_ERROR || code == ER_COLUMNACCESS_DENIED_ERROR ||
           code == ER_PROCACCESS_DENIED_ERROR || code == ER_SPECIFIC_ACCESS_DENIED_ERROR;
}

bool my_lost(MYSQL *my)
{
    unsigned code = mysql_errno(my);
    return code == CR_SERVER_GONE_ERROR || code == CR_SERVER_LOST || code == ER_CONNECTION_KILLED || code == 4031 /* MySQL: idle for too long */;
}

/* Where the server's own words leave open what to do, or are long: ours. NULL: its own. */
static const char *own_words(unsigned code)
{
    switch (code) {
    case 3948: case 4166:
        return "LOAD DATA LOCAL is switched off; " MY_LOCAL_INFILE;
    case 3750:
        return "the server has sql_require_primary_key, and the rows have no key: make the table yourself, with the columns of the rows and"
               " one more, such as nr BIGINT AUTO_INCREMENT PRIMARY KEY";
    default:
        return NULL;
    }
}

const char *my_advice(unsigned code)
{
    return code == ER_NO_PARTITION_FOR_GIVEN_VALUE || code == ER_NO_PARTITION_FOR_GIVEN_VALUE_SILENT
               ? "; make a partition for it: ALTER TABLE ... ADD PARTITION (PARTITION ... VALUES ...)"
           : code == ER_WARN_ALLOWED_PACKET_OVERFLOWED ? "; raise max_allowed_packet of the server" : "";
}

int my_error(MYSQL *my, const char *what, struct err *err)
{
    unsigned code = mysql_errno(my);
    enum err_code kind = code == ER_LOCK_WAIT_TIMEOUT ? ERR_TARGET_LOCKED : passing(code) ? ERR_TARGET : denied(code) ? ERR_TARGET_DENIED : ERR_TARGET_REFUSED;
    const char *words = own_words(code) ? own_words(code) : code ? mysql_error(my) : "no answer";
    err_set(err, kind, "%s: %.*s (%u)%s", what, (int)strcspn(words, "\n"), words, code, my_advice(code));
    err->sys = (int)code;
    return -1;
}

int my_run(MYSQL *my, const char *sql, const char *what, struct err *err)
{
    if (mysql_real_query(my, sql, strlen(sql)) != 0)
        return my_error(my, what, err);
    mysql_free_result(mysql_store_result(my)); /* there may be one */
    return mysql_errno(my) ? my_error(my, what, err) : 0;
}

MYSQL_RES *my_select(MYSQL *my, const char *sql, const char *what, struct err *err)
{
    MYSQL_RES *r = mysql_real_query(my, sql, strlen(sql)) == 0 ? mysql_store_result(my) : NULL;
    if (!r)
        (void)my_error(my, what, err);
    return r;
}

int my_numbers(MYSQL *my, const char *sql, const char *what, int n, int64_t *out, struct err *err)
{
    AUTO(result_clearp) MYSQL_RES *r = my_select(my, sql, what, err);
    MYSQL_ROW row = r ? mysql_fetch_row(r) : NULL;
    for (int i = 0; i < n; i++) {
        out[i] = 0;
        if (row && row[i])
            (void)text_int_plain(str_of(row[i]), &out[i]);
    }
    return !r ? -1 : row != NULL;
}

bool my_in_transaction(MYSQL *my)
{
    unsigned status = 0;
    return mariadb_get_infov(my, MARIADB_CONNECTION_SERVER_STATUS, &status) == 0 && (status & SERVER_STATUS_IN_TRANS);
}

void my_literal(struct buf *out, MYSQL *my, const char *text)
{
    size_t n = strlen(text);
    if (!buf_reserve(out, 2 * n + 4))
        return;
    out->p[out->n++] = '\'';
    out->n += mysql_real_escape_string(my, out->p + out->n, text, n);
    buf_addc(out, '\'');
}

void my_name(struct buf *out, const char *name)
{
    buf_addc(out, '`');
    for (; *name; name++) {
        buf_addc(out, *name);
        if (*name == '`')
            buf_addc(out, '`');
    }
    buf_addc(out, '`');
}

/* ---- what a server may read of ours ---- */

static int serve_init(void **out, const char *name, void *arg)
{
    (void)name; /* whatever it says */
    *out = arg;
    return arg == NULL;
}

static int serve_read(void *arg, char *out, unsigned int room)
{
    struct my_serving *s = arg;
    return s->read(s->arg, out, room);
}

static void serve_end(void *arg) { (void)arg; }

static int serve_error(void *arg, char *out, unsigned int room)
{
    snprintf(out, room, "%s", arg ? "the staged rows cannot be read" : "the server asked for a file");
    return CR_UNKNOWN_ERROR;
}

void my_serve(MYSQL *my, struct my_serving *s)
{
    mysql_set_local_infile_handler(my, serve_init, serve_read, serve_end, serve_error, s);
}

/* ---- connecting ---- */

static void keep_alive(MYSQL *my)
{
    static const struct {
        int option, value;
    } set[] = { { TCP_KEEPIDLE, 30 }, { TCP_KEEPINTVL, 10 }, { TCP_KEEPCNT, 3 }, { TCP_USER_TIMEOUT, 60000 } };
    int fd = mysql_get_socket(my), on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* of no use, and no harm, on a local socket */
    for (size_t i = 0; i < COUNT_OF(set); i++)
        (void)setsockopt(fd, IPPROTO_TCP, set[i].option, &set[i].value, sizeof set[i].value);
}

int my_set_session(MYSQL *my, struct err *err)
{
    /* a loader that hangs must not hold its locks for ever */
    static const char both[] =
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,"
        "NO_ZERO_DATE,NO_ZERO_IN_DATE', time_zone = '+00:00', innodb_lock_wait_timeout = 30, lock_wait_timeout = 30, autocommit = 1,"
        " sql_notes = 1, sql_safe_updates = 0, foreign_key_checks = 1, unique_checks = 1, sql_select_limit = 18446744073709551615,"
        " sql_big_selects = 1, sql_auto_is_null = 0, timestamp = DEFAULT, wait_timeout = 28800";
    if (my_run(my, both, "set up the session", err) < 0 ||
        my_run(my, "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci", "set up the session", err) < 0 ||
        my_run(my, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE", "set up the session", err) < 0)
        return -1;
    return my_run(my,
                  strstr(mysql_get_server_info(my), "MariaDB")
                      ? "SET SESSION idle_transaction_timeout = 600, max_statement_time = 0, check_constraint_checks = 1, max_error_count = 64"
                      : "SET SESSION wait_timeout = 600", /* MySQL has it for the whole session: then it is opened anew */
                  "set up the session", err);
}

static void set_tls(MYSQL *my, enum mysql_ssl ssl, const char *ca_file)
{
    my_bool on = 1, verify = ssl == SSL_VERIFY;
    if (ssl == SSL_OFF) { /* nobody gets the password in plain text */
        mysql_optionsv(my, MARIADB_OPT_RESTRICTED_AUTH, "mysql_native_password,client_ed25519,caching_sha2_password");
        return;
    }
    mysql_optionsv(my, MYSQL_OPT_SSL_ENFORCE, &on);
    mysql_optionsv(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    if (ca_file)
        mysql_optionsv(my, MYSQL_OPT_SSL_CA, ca_file);
}

/* Why a connection was not made. */
static enum err_code code_of_refusal(unsigned code)
{
    switch (code) {
    case ER_ACCESS_DENIED_ERROR: case ER_ACCESS_DENIED_NO_PASSWORD_ERROR: case ER_HOST_NOT_PRIVILEGED:
        return ERR_TARGET_LOGIN;
    case ER_BAD_DB_ERROR:
        return ERR_TARGET_DATABASE;
    case CR_SSL_CONNECTION_ERROR: case 3159 /* the server wants TLS */:
        return ERR_TARGET_TLS;
    default:
        return ERR_TARGET;
    }
}

static int dial(MYSQL *my, const struct mysql_url *url, const char *user, const char *password, const struct target_config *cfg,
                struct err *err)
{
    unsigned protocol = url->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    mysql_optionsv(my, MYSQL_OPT_PROTOCOL, &protocol);
    if (mysql_real_connect(my, *url->host ? url->host : "localhost", user, password, url->database, url->port, url->socket, 0))
        return 0;
    return err_set(err, code_of_refusal(mysql_errno(my)), "target '%s': %.*s (%u)", cfg->name, (int)strcspn(mysql_error(my), "\n"),
                   mysql_error(my), mysql_errno(my));
}

static int connect_to(MYSQL *my, const struct mysql_url *url, const struct config *config, const struct target_config *cfg,
                      bool loads, struct err *err)
{
    const struct remote *remote = config ? config_remote(config, cfg->url) : NULL;
    unsigned timeout = (unsigned)(config ? (config->limits.connect_timeout_ms + 999) / 1000 : 20), local = loads;
    const char *ca_file = remote ? remote->ca_file : NULL;
    enum mysql_ssl ssl = url->ssl != SSL_BY_CA ? url->ssl : ca_file ? SSL_VERIFY : SSL_OFF;
    my_bool off = 0;
    char *password = NULL, *user = NULL;
    mysql_optionsv(my, MYSQL_OPT_CONNECT_TIMEOUT, &timeout);
    mysql_optionsv(my, MYSQL_OPT_RECONNECT, &off);
    mysql_optionsv(my, MYSQL_OPT_LOCAL_INFILE, &local);
    mysql_optionsv(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    mysql_optionsv(my, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "qetl");
    set_tls(my, ssl, ca_file);
    int rc = 0;
    if (remote && ((remote->password && config_secret(remote->password, &password, err) < 0) ||
                   (!url->user && remote->user && config_secret(remote->user, &user, err) < 0)))
        rc = err_in(err, "target '%s'", cfg->name);
    if (rc == 0)
        rc = dial(my, url, url->user ? url->user : user, password, cfg, err);
    secret_clear(&password);
    secret_clear(&user);
    if (rc < 0)
        return -1;
    if (ssl != SSL_OFF && !mysql_get_ssl_cipher(my)) /* the library goes on without it */
        return err_set(err, ERR_TARGET_TLS, "target '%s': the server speaks no TLS, and its url or ca_file asks for it", cfg->name);
    my_serve(my, NULL);
    keep_alive(my);
    return my_set_session(my, err) < 0 ? err_in(err, "target '%s'", cfg->name) : 0;
}

int my_connect(MYSQL **out, const struct config *config, const struct target_config *cfg, bool loads, struct err *err)
{
    struct mysql_url url;
    if (mysql_url_parse(&url, cfg, err) < 0)
        return -1;
    MYSQL *my = mysql_init(NULL);
    int rc = my ? connect_to(my, &url, config, cfg, loads, err) : err_nomem(err);
    mysql_url_clear(&url);
    if (rc < 0) {
        if (my)
            mysql_close(my);
        return -1;
    }
    *out = my;
    return 0;
}
