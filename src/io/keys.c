/* Keys: the table, how they are found in it, and the printing for the manual. See keys.h; how their values are read: keys_read.c. */
#include "io/keys.h"

#include <assert.h>
#include <string.h>

#include "io/config.h"

const struct section_def section_defs[SECTION_DEFS] = {
    [AT_QETL] = { "qetl", false, "where things are; each key can be given by the environment too" },
    [AT_WORKER] = { "worker", false, "the role that fetches, reads and stages" },
    [AT_LOADER] = { "loader", false, "the role that commits what is staged" },
    [AT_SCANNER] = { "scanner", false, "the role that finds work by itself" },
    [AT_LIMITS] = { "limits", false,
                    "what no file and no server may pass; the job fails with the code limit" },
    [AT_REMOTE] = { "remote", true,
                    "how to talk to every URI that begins with its url; the longest one wins" },
    [AT_TARGET] = { "target", true, "a warehouse" },
    [AT_ENRICH] = { "enrich", true, "columns that an HTTP server fills, see ENRICHMENT" },
    [AT_LOOKUP] = { "lookup", true, "a file that where, compute and transform can read as a table of that name, see SQL" },
    [AT_PIPELINE] = { "pipeline", true, "where from, how to read, where to" },
};

static const char *const path_style_words[] = { "auto", "yes", "no", NULL };
static const char *const object_format_words[] = { "csv", "jsonl", NULL };
static const char *const compress_words[] = { "none", "gz", "zst", NULL };
static const char *const yes_no[] = { "no", "yes", NULL };
static const char *const readers_words[] = { "one", "many", NULL };
static const char *const empty_words[] = { "fail", "ok", NULL };
static const char *const log_words[] = { "text", "json", NULL };
static const char *const level_words[] = { "error", "warn", "info", "debug", NULL };
static const char *const format_words[] = { "auto", "csv", "tsv", "json", "jsonl", "message", NULL };
static const char *const filter_format_words[] = { "jsonl", "csv", NULL };
static const char *const lookup_format_words[] = { "auto", "csv", "tsv", "json", "jsonl", NULL };
const char *const encoding_names[] = { "utf-8", "latin1", "utf-16", "utf-16le", "utf-16be", "utf-8-replace", NULL };
static const char *const ragged_words[] = { "reject", "fill", NULL };
static const char *const grammar_words[] = { "strict", "lax", NULL };
static const char *const infer_words[] = { "member", "sample", NULL };
static const char *const on_new_words[] = { "ignore", "add", "fail", NULL };
static const char *const on_missing_words[] = { "auto", "null", "fail", NULL };
static const char *const mode_words[] = { "append",        "replace", "upsert",
                                          "insert_ignore", "history", NULL };
static const char *const missed_words[] = { "once", "skip", "all", NULL };
static const char *const on_change_words[] = { "ignore", "reload", "fail", NULL };
static const char *const whole_words[] = { "listed", "trailer", NULL };
static const char *const job_per_words[] = { "object", "slot", NULL };
static const char *const dedupe_words[] = { "none", "content", NULL };
static const char *const inbox_words[] = { "keep", "delete", NULL };
static const char *const method_words[] = { "GET", "POST", NULL };
static const char *const else_words[] = { "null", "reject", "fail", NULL };
static const char *const missing_words[] = { "keep", "delete", NULL };

static const struct key keys[] = {
#define IN(s, f) offsetof(struct s, f)
#define SECONDS  1000
#define MINUTES  (60 * SECONDS)
#define DAYS     (24 * 60 * MINUTES)
#define KIB      1024
#define MIB      (1024 * KIB)
#define TIB      ((int64_t)1024 * 1024 * MIB)
    { AT_QETL, "database", KEY_PATH, IN(config, database), "/var/lib/qetl/queue.db", 0, 0, NULL, 0,
      "the queue's SQLite file, on a local disk" },
    { AT_QETL, "spool", KEY_PATH, IN(config, spool), "/var/lib/qetl/spool", 0, 0, NULL, 0,
      "folder of staged outputs and of objects under way, on a local disk" },
    { AT_QETL, "log", KEY_NAME, IN(config, log_form), "text", 0, 0, log_words, 0,
      "form of the lines on standard error" },
    { AT_QETL, "log_level", KEY_NAME, IN(config, log_level), "info", 0, 0, level_words, 0,
      "the least important kind of line that is written" },
    { AT_QETL, "keep_jobs", KEY_DURATION, IN(config, keep_jobs_ms), "90d", 0, (int64_t)36500 * DAYS, NULL, 0,
      "loaded, superseded and cancelled jobs are forgotten after so long, a few at a time; 0s keeps them for ever" },

    { AT_WORKER, "slots", KEY_NUMBER, IN(config, worker_slots), "2", 1, 256, NULL, 0,
      "jobs at the same time, each in a worker process with a reader process of its own" },
    { AT_WORKER, "lease", KEY_DURATION, IN(config, lease_ms), "60s", 2 * SECONDS, 1 * DAYS, NULL, 0,
      "a job whose worker was not heard of for so long goes to another worker" },
    { AT_WORKER, "heartbeat", KEY_DURATION, IN(config, heartbeat_ms), "10s", 100, 1 * DAYS, NULL, 0,
      "leases are renewed so often; at most half of lease. Where it is not given, a sixth of a lease that is shorter than 60s" },
    { AT_WORKER, "claim_batch", KEY_NUMBER, IN(config, claim_batch), "10", 1, 1000, NULL, 0,
      "jobs taken in one transaction" },
    { AT_WORKER, "poll", KEY_DURATION, IN(config, poll_ms), "1s", 10, 60 * MINUTES, NULL, 0,
      "how often an idle worker or loader looks for jobs that were added without its bell" },
    { AT_WORKER, "shutdown_timeout", KEY_DURATION, IN(config, shutdown_timeout_ms), "25s", 0,
      1 * DAYS, NULL, 0, "after SIGTERM jobs have so long to finish, then they are handed back" },

    { AT_LOADER, "group_jobs", KEY_NUMBER, IN(config, group_jobs), "100", 1, 100000, NULL, 0,
      "jobs in one transaction of a target, at most" },
    { AT_LOADER, "group_bytes", KEY_SIZE, IN(config, group_bytes), "1G", 1, 1024 * TIB, NULL, 0,
      "staged bytes in one transaction of a target; a larger job goes alone" },

    { AT_SCANNER, "inbox", KEY_PATH, IN(config, inbox), NULL, 0, 0, NULL, 0,
      "folder where a message that is renamed in as NAME.json becomes jobs, see INBOX" },
    { AT_SCANNER, "inbox_done", KEY_YES, IN(config, inbox_delete), "keep", 0, 0, inbox_words, 0,
      "messages whose jobs are made: keep them in its folder done, or delete them" },

    { AT_LIMITS, "memory", KEY_SIZE, IN(config, limits.memory), "512M", 64 * MIB, 1024 * TIB, NULL,
      0, "address space that a reader process may take beyond what it has at its start" },
    { AT_LIMITS, "object", KEY_SIZE, IN(config, limits.object_bytes), "100G", 1, 1024 * TIB, NULL,
      0, "size of one fetched object" },
    { AT_LIMITS, "big_object", KEY_SIZE, IN(config, limits.big_object), "64M", 0, 1024 * TIB, NULL,
      0,
      "larger objects are fetched into the spool, where a broken download can be resumed; 0: all" },
    { AT_LIMITS, "spool", KEY_SIZE, IN(config, limits.spool), "0", 0, 1024 * TIB, NULL, 0,
      "bytes of the spool that jobs may have together, by what they took before; when it is full, jobs wait until the "
      "loader has made room; 0: no quota" },
    { AT_LIMITS, "spool_free", KEY_SIZE, IN(config, limits.spool_free), "64M", 0, 1024 * TIB, NULL, 0,
      "bytes that stay free on the spool's file system: with fewer no job is begun" },
    { AT_LIMITS, "stream", KEY_SIZE, IN(config, limits.stream), "10G", 0, 1024 * TIB, NULL, 0,
      "bytes of one stream that wait to be loaded: qetlctl emit takes no more; 0: no quota" },
    { AT_LIMITS, "scratch", KEY_SIZE, IN(config, limits.scratch), "10G", 0, 1024 * TIB, NULL, 0,
      "bytes that each SQL step (where with compute; transform) of each part of a job may sort and keep on the spool's "
      "disk, beyond its memory" },
    { AT_LIMITS, "members", KEY_NUMBER, IN(config, limits.members), "100000", 1, 1000000000, NULL,
      0, "members of one archive, nested ones included" },
    { AT_LIMITS, "unpacked", KEY_SIZE, IN(config, limits.unpacked_bytes), "100G", 1, 1024 * TIB,
      NULL, 0, "bytes that one object may unpack to" },
    { AT_LIMITS, "ratio", KEY_NUMBER, IN(config, limits.ratio), "1000", 1, 1000000000, NULL, 0,
      "unpacked bytes for each packed byte" },
    { AT_LIMITS, "row", KEY_SIZE, IN(config, limits.row_bytes), "16M", 1 * KIB, ROW_BYTES_MOST, NULL, 0,
      "size of one row; a longer one goes to the rejects" },
    { AT_LIMITS, "connect_timeout", KEY_DURATION, IN(config, limits.connect_timeout_ms), "20s", 100,
      60 * MINUTES, NULL, 0, "time to get a connection; of a mount of another machine's folders: see stall_timeout" },
    { AT_LIMITS, "stall_timeout", KEY_DURATION, IN(config, limits.stall_timeout_ms), "60s",
      1 * SECONDS, 1 * DAYS, NULL, 0,
      "a transfer that brings less than 1 KiB in so long is broken off and tried again; until its first bytes connect_timeout is added. So is what is "
      "read, archived or listed behind a mount of another machine's folders (NFS, CIFS, FUSE), when nothing comes" },
    { AT_LIMITS, "crashes", KEY_NUMBER, IN(config, limits.crashes), "3", 1, 1000, NULL, 0,
      "a job that took so many workers or loaders down is dead, with class poison" },

    { AT_REMOTE, "url", KEY_URL, IN(remote, url), NULL, 0, 0, NULL, NEEDED,
      "beginning of the URIs this is about, for listings as for fetches; where several fit, the longest counts. Of several hosts (postgresql://a,b:5433/) it is about urls that name no others" },
    { AT_REMOTE, "user", KEY_SECRET, IN(remote, user), NULL, 0, 0, NULL, 0, "user name" },
    { AT_REMOTE, "password", KEY_SECRET, IN(remote, password), NULL, 0, 0, NULL, 0,
      "password, or passphrase of private_key" },
    { AT_REMOTE, "header", KEY_HEADER, IN(remote, header), NULL, 0, 0, NULL, LINES,
      "HTTP headers to send, one a line, as Name: value; the value can be a reference" },
    { AT_REMOTE, "ca_file", KEY_PATH, IN(remote, ca_file), NULL, 0, 0, NULL, 0,
      "PEM file of the authorities to trust instead of the system's; for a target's url: its server needs a "
      "certificate of theirs for its host, unless the url says otherwise" },
    { AT_REMOTE, "proxy", KEY_TEXT, IN(remote, proxy), NULL, 0, 0, NULL, 0,
      "proxy, such as http://proxy.example.org:3128" },
    { AT_REMOTE, "known_hosts", KEY_PATH, IN(remote, known_hosts), NULL, 0, 0, NULL, 0,
      "SFTP: file of host keys, as ssh has it" },
    { AT_REMOTE, "host_key_sha256", KEY_TEXT, IN(remote, host_key_sha256), NULL, 0, 0, NULL, 0,
      "SFTP: the host key's SHA-256 in base64, as ssh-keygen -l shows it" },
    { AT_REMOTE, "private_key", KEY_PATH, IN(remote, private_key), NULL, 0, 0, NULL, 0,
      "SFTP: file of the private key (ed25519 or ecdsa)" },
    { AT_REMOTE, "endpoint", KEY_TEXT, IN(remote, endpoint), NULL, 0, 0, NULL, 0,
      "S3: the store, such as https://minio.example.org:9000; AWS when not given" },
    { AT_REMOTE, "region", KEY_TEXT, IN(remote, region), "us-east-1", 0, 0, NULL, 0, "S3: the store's region" },
    { AT_REMOTE, "access_key", KEY_SECRET, IN(remote, access_key), NULL, 0, 0, NULL, 0,
      "S3: name of the key; without one requests are not signed" },
    { AT_REMOTE, "secret_key", KEY_SECRET, IN(remote, secret_key), NULL, 0, 0, NULL, 0, "S3: the key" },
    { AT_REMOTE, "session_token", KEY_SECRET, IN(remote, session_token), NULL, 0, 0, NULL, 0,
      "S3: token of a key that is lent for a time" },
    { AT_REMOTE, "path_style", KEY_WORD, IN(remote, path_style), "auto", 0, 0, path_style_words, 0,
      "S3: is the bucket in the path of the URL (yes) or in the host's name (no)? auto: in the path where endpoint is given" },
    { AT_REMOTE, "rate", KEY_SIZE, IN(remote, rate_bytes), "0", 0, TIB, NULL, 0,
      "bytes a second of one transfer; 0: no limit" },
    { AT_REMOTE, "connections", KEY_NUMBER, IN(remote, connections), "0", 0, 100000, NULL, 0,
      "jobs that may use it at the same time, of all workers together; 0: no limit" },
    { AT_REMOTE, "interval", KEY_DURATION, IN(remote, interval_ms), "0", 0, 1 * DAYS, NULL, 0,
      "time from the start of one job to that of the next, of all workers together; a job of "
      "several objects takes as many; 0: none" },

    { AT_TARGET, "url", KEY_URL, IN(target_config, url), NULL, 0, 0, NULL, NEEDED,
      "the warehouse: sqlite:///path, postgresql://user@host:port/database, mysql://user@host:port/database, s3://bucket/prefix or "
      "file:///directory; sqlite:shop.db lies in the folder of the main file" },
    { AT_TARGET, "readers", KEY_YES, IN(target_config, many_readers), "one", 0, 0, readers_words, FOR_SQLITE,
      "SQLite: many keeps the file in WAL mode, so that readers do not wait for the loader; one "
      "makes loads twice as fast" },
    { AT_TARGET, "loaders", KEY_NUMBER, IN(target_config, loaders), "1", 1, 64, NULL, 0,
      "processes that load into it at the same time; more than one pays for servers only" },
    { AT_TARGET, "ddl", KEY_PATH, IN(target_config, ddl), NULL, 0, 0, NULL, FOR_SQL,
      "SQL files that make tables, such as ddl/*.sql (from the folder of the main file): qetlctl init runs each once, in the order of "
      "their names, in a transaction where the server can; table qetl_ddl has those that were run. One that was run is not changed: "
      "what is new goes into another file. Statements end with ';': what only a client knows, such as DELIMITER of mysql, is not in them" },
    { AT_TARGET, "format", KEY_NAME, IN(target_config, format), "csv", 0, 0, object_format_words, FOR_OBJECTS,
      "object stores and directories: form of the objects; csv has a header" },
    { AT_TARGET, "compress", KEY_NAME, IN(target_config, compress), "gz", 0, 0, compress_words, FOR_OBJECTS,
      "object stores and directories: of the objects" },
    { AT_TARGET, "path", KEY_TEXT, IN(target_config, path), "{table}/{uid}-{part}.{ext}", 0, 0, NULL, FOR_OBJECTS,
      "object stores and directories: name of an object; {table}, {uid}, {part}, {ext} and columns, {COLUMN} or "
      "{COLUMN:%Y-%m-%d} of a date, which make partitions" },

    { AT_ENRICH, "url", KEY_TEMPLATE, IN(enrich_config, url_text), NULL, 0, 0, NULL, NEEDED,
      "what is asked, by http or https: {COLUMN} is the row's value, percent-encoded, {@file:/PATH} or {@credential:NAME} a secret; a "
      "brace is written twice" },
    { AT_ENRICH, "method", KEY_NAME, IN(enrich_config, method), NULL, 0, 0, method_words, 0,
      "GET when not given, and POST with a body" },
    { AT_ENRICH, "body", KEY_TEMPLATE, IN(enrich_config, body_text), NULL, 0, 0, NULL, LINES,
      "what a POST carries, in JSON: {COLUMN} in quotes is the value as a part of that text, and without quotes a value of its own" },
    { AT_ENRICH, "header", KEY_HEADER, IN(enrich_config, header), NULL, 0, 0, NULL, LINES,
      "HTTP headers to send, one a line, as Name: value; the value can be a reference. Those of a [remote] of the url are sent, too" },
    { AT_ENRICH, "columns", KEY_COLUMNS, IN(enrich_config, columns_text), NULL, 0, 0, NULL, NEEDED | LINES,
      "names, types and JSON paths of what is taken from the answer, such as address:text from results[0].formatted_address" },
    { AT_ENRICH, "error", KEY_SAYS, IN(enrich_config, error_path), NULL, 0, 0, NULL, LINES,
      "JSON path at which an answer with a good status tells of an error: there is more than null, false, 0, \"\", [] or {}. With not and "
      "values behind it (status not OK, ZERO_RESULTS): anything but those and null is one. An error is the same as a status of 500" },
    { AT_ENRICH, "key", KEY_LIST, IN(enrich_config, key), NULL, 0, 0, NULL, LINES,
      "columns whose values name an answer: rows with the same ones share it; those of url and body when not given" },
    { AT_ENRICH, "round", KEY_NUMBER, IN(enrich_config, round), NULL, 0, 15, NULL, 0,
      "real and decimal values are asked for with so many digits behind the point, so that near places share an answer; all digits "
      "when not given" },
    { AT_ENRICH, "connections", KEY_NUMBER, IN(enrich_config, connections), "8", 1, 1000, NULL, 0,
      "requests of one job under way at the same time" },
    { AT_ENRICH, "interval", KEY_DURATION, IN(enrich_config, interval_ms), "0", 0, 1 * DAYS, NULL, 0,
      "time from the start of one request to that of the next, of all workers together; 0: none" },
    { AT_ENRICH, "quota", KEY_QUOTA, IN(enrich_config, quota), NULL, 0, 0, NULL, 0,
      "requests in each second, minute, hour, day (UTC) or other duration, of all workers together, such as 2500/day; a job that needs more waits for the next one" },
    { AT_ENRICH, "timeout", KEY_DURATION, IN(enrich_config, timeout_ms), "10s", 10, 60 * MINUTES, NULL, 0,
      "a request that takes longer has failed" },
    { AT_ENRICH, "retries", KEY_NUMBER, IN(enrich_config, retries), "2", 0, 100, NULL, 0,
      "a request that failed for a reason that may pass is sent again so many times" },
    { AT_ENRICH, "on_miss", KEY_WORD, IN(enrich_config, on_miss), "null", 0, 0, else_words, 0,
      "a row without an answer: its new columns are null, it goes to the rejects, or the job fails" },
    { AT_ENRICH, "on_error", KEY_WORD, IN(enrich_config, on_error), "fail", 0, 0, else_words, 0,
      "a row whose request failed, or whose answer cannot be read: the same; fail tries the job again later" },
    { AT_ENRICH, "ttl", KEY_DURATION, IN(enrich_config, ttl_ms), "30d", 0, (int64_t)36500 * DAYS, NULL, 0,
      "an answer is kept in the cache for so long" },
    { AT_ENRICH, "negative_ttl", KEY_DURATION, IN(enrich_config, negative_ttl_ms), "1d", 0, (int64_t)36500 * DAYS, NULL, 0,
      "so is it that there was none" },
    { AT_ENRICH, "cache_rows", KEY_NUMBER, IN(enrich_config, cache_rows), "1000000", 0, INT64_C(1000000000), NULL, 0,
      "answers in the cache; the oldest go first" },
    { AT_ENRICH, "cache", KEY_SIZE, IN(enrich_config, cache_bytes), "256M", 0, TIB, NULL, 0,
      "bytes of answers in the cache; the oldest go first" },
    { AT_ENRICH, "answer", KEY_SIZE, IN(enrich_config, answer_bytes), "64K", 1 * KIB, 4 * MIB, NULL, 0,
      "a longer answer is an error; no more requests are under way than answers of this size fit into 32M" },
    { AT_LOOKUP, "file", KEY_PATH, IN(lookup, file), NULL, 0, 0, NULL, NEEDED,
      "the file, which each job reads anew; it may be compressed" },
    { AT_LOOKUP, "columns", KEY_COLUMNS, IN(lookup, recipe.columns_text), NULL, 0, 0, NULL, LINES | NEEDED,
      "names and types, see COLUMNS" },
    { AT_LOOKUP, "key", KEY_LIST, IN(lookup, recipe.key), NULL, 0, 0, NULL, LINES,
      "columns that name a row, with commas between: looking up by them is fast, and none is there twice" },
    { AT_LOOKUP, "format", KEY_NAME, IN(lookup, recipe.format), "auto", 0, 0, lookup_format_words, 0,
      "these and those below: as in a pipeline" },
    { AT_LOOKUP, "delimiter", KEY_CHAR, IN(lookup, recipe.delimiter), NULL, 1, 0, NULL, 0, "between fields" },
    { AT_LOOKUP, "quote", KEY_CHAR, IN(lookup, recipe.quote), "\"", 0, 0, NULL, 0, "around fields" },
    { AT_LOOKUP, "header", KEY_YES, IN(lookup, recipe.header), "yes", 0, 0, yes_no, 0, "the first line has the names of the fields" },
    { AT_LOOKUP, "skip_lines", KEY_NUMBER, IN(lookup, recipe.skip_lines), "0", 0, 1000000000, NULL, 0,
      "lines before the header, or before the data" },
    { AT_LOOKUP, "comment", KEY_CHAR, IN(lookup, recipe.comment), NULL, 0, 0, NULL, 0, "lines that begin with it are passed over" },
    { AT_LOOKUP, "encoding", KEY_WORD, IN(lookup, recipe.encoding), "utf-8", 0, 0, encoding_names, 0, "of the file" },
    { AT_LOOKUP, "records", KEY_TEXT, IN(lookup, recipe.records), NULL, 0, 0, NULL, 0, "JSON: path of the array that holds the rows" },
    { AT_LOOKUP, "null", KEY_LIST, IN(lookup, recipe.nulls), NULL, 0, 0, NULL, LINES | EMPTY,
      "values that mean null, with commas between" },
    { AT_LOOKUP, "zone", KEY_ZONE, IN(lookup, recipe.zone), NULL, 0, 0, NULL, 0, "of timestamps that name none" },
    { AT_LOOKUP, "decimal_point", KEY_CHAR, IN(lookup, recipe.decimal_point), ".", 1, 0, NULL, 0, "of numbers: . or ," },

    { AT_PIPELINE, "source", KEY_SOURCE, IN(pipeline, source), NULL, 0, 0, NULL, 0,
      "URI or path of a job's object when the submit names none; {name} is the job's parameter of "
      "that name, {{ a brace. A path that begins with neither a slash nor a parameter is taken from the folder of the main file. "
      "stream:NAME is what qetlctl emit NAME appended, see STREAMS" },
    { AT_PIPELINE, "command", KEY_COMMAND, IN(pipeline, command), NULL, 0, 0, NULL, LINES,
      "a program and its arguments, run by each job instead of fetching a source: the job's parameters are its standard "
      "input, its standard output is read, see PROGRAMS" },
    { AT_PIPELINE, "command_timeout", KEY_DURATION, IN(pipeline, command_limits.timeout_ms), "1h", 100, 30 * (int64_t)DAYS, NULL, 0,
      "a program of the pipeline that runs longer is killed, and the attempt has failed; a filter runs as long as its rows come" },
    { AT_PIPELINE, "command_memory", KEY_SIZE, IN(pipeline, command_limits.memory), "1G", 0, 1024 * TIB, NULL, 0,
      "memory for data of each process of a program; 0: no limit" },
    { AT_PIPELINE, "command_user", KEY_TEXT, IN(pipeline, command_limits.user), NULL, 0, 0, NULL, 0,
      "user that the pipeline's programs run as; only a worker that is root can change it" },
    { AT_PIPELINE, "command_env", KEY_ENV, IN(pipeline, command_limits.env), NULL, 0, 0, NULL, LINES,
      "environment of the pipeline's programs, one NAME = value a line; the value can be a reference to a secret" },
    { AT_PIPELINE, "nested", KEY_NUMBER, IN(pipeline, nested), "1", 0, 8, NULL, 0,
      "archives are opened inside archives to this depth" },
    { AT_PIPELINE, "priority", KEY_NUMBER, IN(pipeline, priority), "0", -1000, 1000, NULL, 0,
      "of its jobs; the greater goes first" },
    { AT_PIPELINE, "weight", KEY_NUMBER, IN(pipeline, weight), "1", 1, 1000, NULL, 0,
      "its share of the workers while other pipelines of the same priority have jobs, too" },
    { AT_PIPELINE, "attempts", KEY_NUMBER, IN(pipeline, attempts), "8", 1, 1000, NULL, 0,
      "tries before an error that may pass makes the job dead. A wait that a server asks for (Retry-After) is none, until they come to a day in all" },
    { AT_PIPELINE, "backoff", KEY_DURATION, IN(pipeline, backoff_ms), "5s", 0, 30 * (int64_t)DAYS,
      NULL, 0, "pause before the second attempt; doubled for each one after it" },
    { AT_PIPELINE, "backoff_max", KEY_DURATION, IN(pipeline, backoff_max_ms), "1h", 0,
      30 * (int64_t)DAYS, NULL, 0, "the longest such pause" },
    { AT_PIPELINE, "archive", KEY_TEXT, IN(pipeline, archive), NULL, 0, 0, NULL, 0,
      "TARGET or TARGET/FOLDER, an object store or directory: a job's objects are put there as they were fetched, before the job is "
      "staged, as FOLDER/UID/N-NAME; the folder is _archive/PIPELINE when not given" },

    { AT_PIPELINE, "every", KEY_DURATION, IN(pipeline, scan.every_ms), NULL, 1 * SECONDS, 366 * (int64_t)DAYS, NULL, 0,
      "the scanner looks through the source so often, and new objects become jobs; the source is a pattern then, see SCANNING" },
    { AT_PIPELINE, "cron", KEY_CRON, IN(pipeline, scan), NULL, 0, 0, NULL, 0,
      "the same at times by the clock: minute hour day month weekday, or @hourly, @daily, @weekly, @monthly, @yearly" },
    { AT_PIPELINE, "timezone", KEY_ZONE, IN(pipeline, scan.zone), NULL, 0, 0, NULL, 0,
      "of cron and of the dates in the source, such as Europe/Berlin; UTC when not given" },
    { AT_PIPELINE, "missed", KEY_WORD, IN(pipeline, scan.missed), "once", 0, 0, missed_words, 0,
      "cron: times at which no scanner was there are made good by one run, not at all, or each" },
    { AT_PIPELINE, "missed_age", KEY_DURATION, IN(pipeline, scan.missed_age_ms), "0", 0, 3660 * (int64_t)DAYS, NULL, 0,
      "cron: a time that was missed longer ago is not made good; 0: however long ago" },
    { AT_PIPELINE, "job_per", KEY_WORD, IN(pipeline, scan.job_per), "object", 0, 0, job_per_words, 0,
      "a job for each new object, or, by cron, one at each time, whose object is the source with the dates of that time; of a command "
      "one at each time" },
    { AT_PIPELINE, "lookback", KEY_DURATION, IN(pipeline, scan.lookback_ms), "0", 0, 3660 * (int64_t)DAYS, NULL, 0,
      "dates in the source are listed from so long before the last scan on" },
    { AT_PIPELINE, "forget", KEY_DURATION, IN(pipeline, scan.forget_ms), "90d", 0, 3660 * (int64_t)DAYS, NULL, 0,
      "an object that no listing showed for so long is forgotten, by the scanner within a minute more, or by qetlctl prune: one of that "
      "name would be new; 0: never. Dates in the source: it is shown for as long as lookback says" },
    { AT_PIPELINE, "on_change", KEY_WORD, IN(pipeline, scan.on_change), "ignore", 0, 0, on_change_words, 0,
      "an object that is not what it was when it was taken: leave it, make another job of it (an append table keeps the rows of the one "
      "before, until qetlctl undo), or fail the scan until a person decides (qetlctl scan with --reload or --accept)" },
    { AT_PIPELINE, "settle", KEY_DURATION, IN(pipeline, scan.settle_ms), "2s", 0, 30 * (int64_t)DAYS, NULL, 0,
      "an object is taken when size and time are the same at two looks so far apart; 0: at the first look. A file that is "
      "renamed into a watched folder need not wait" },
    { AT_PIPELINE, "min_age", KEY_DURATION, IN(pipeline, scan.min_age_ms), "0", 0, 366 * (int64_t)DAYS, NULL, 0,
      "an object is taken when it was not changed for so long" },
    { AT_PIPELINE, "whole", KEY_WORD, IN(pipeline, scan.whole), "listed", 0, 0, whole_words, 0,
      "trailer: an object that proves to be cut off (the end of a zip, 7z, tar, gz, xz, zst or bz2 is missing, or its closing_line) is waited "
      "for, until it changes; listed: its job is dead" },
    { AT_PIPELINE, "whole_wait", KEY_DURATION, IN(pipeline, scan.whole_wait_ms), "1d", 1 * SECONDS, 366 * (int64_t)DAYS, NULL, 0,
      "whole = trailer: so long after its job was made it is tried for the last time" },
    { AT_PIPELINE, "ignore", KEY_GLOBS, IN(pipeline, scan.ignore), "*.part, *.tmp, .*", 0, 0, NULL, LINES | EMPTY,
      "names that are not taken, as globs with commas between; nothing behind =: all are taken" },
    { AT_PIPELINE, "done_marker", KEY_TEXT, IN(pipeline, scan.done_marker), NULL, 0, 0, NULL, 0,
      "an object is taken when this one lies beside it and is not older: _SUCCESS, or *.done with * for the object's name (after= takes that along)" },
    { AT_PIPELINE, "after", KEY_AFTER, IN(pipeline, scan.after), "keep", 0, 0, NULL, 0,
      "objects whose rows are committed: keep, delete, or move:FOLDER (a URI of the same host, where the source is one), see SCANNING" },

    { AT_PIPELINE, "group_files", KEY_NUMBER, IN(pipeline, scan.group_files), "0", 0, 10000, NULL, 0,
      "so many objects go into one job, see GROUPS; 0: no such limit, and a job for each object where group_bytes is 0, too" },
    { AT_PIPELINE, "group_bytes", KEY_SIZE, IN(pipeline, scan.group_bytes), "0", 0, 1024 * TIB, NULL, 0,
      "objects go into one job until the next one would bring it above so many bytes; a larger one has a job for itself" },
    { AT_PIPELINE, "group_wait", KEY_DURATION, IN(pipeline, scan.group_wait_ms), "1m", 0, 30 * (int64_t)DAYS, NULL, 0,
      "a group that is not full becomes a job when nothing new came to it for so long" },

    { AT_PIPELINE, "segment_bytes", KEY_SIZE, IN(pipeline, scan.segment_bytes), "16M", 1 * KIB, 1024 * MIB, NULL, 0,
      "stream: a segment is closed, and so becomes a job, before it gets longer than this" },
    { AT_PIPELINE, "segment_age", KEY_DURATION, IN(pipeline, scan.segment_age_ms), "1s", 1, 60 * MINUTES, NULL, 0,
      "stream: the same when its first line has waited so long" },

    { AT_PIPELINE, "dedupe", KEY_YES, IN(pipeline, dedupe), "none", 0, 0, dedupe_words, 0,
      "content: an object whose bytes were loaded before by a job of this pipeline, under whatever name, is not loaded again" },

    { AT_RECIPE, "member", KEY_GLOBS, IN(recipe, member), NULL, 0, 0, NULL, LINES,
      "the members to read, such as *.csv, *.txt; each glob is tried on the whole name and on its last part; all when not given" },
    { AT_RECIPE, "from", KEY_TEXT, IN(recipe, from), NULL, 0, 0, NULL, 0,
      "in a [pipeline NAME.PART]: another part, whose rows this one gets as they are read, instead of members of its own, see SQL" },
    { AT_RECIPE, "lookup_parts", KEY_LIST, IN(recipe, lookup_parts), NULL, 0, 0, NULL, LINES,
      "in a [pipeline NAME.PART]: other parts, with commas between, whose rows SQL of this one can read as tables of their names, as it "
      "can a [lookup]; its own rows wait until those are there, see SQL" },
    { AT_RECIPE, "format", KEY_NAME, IN(recipe, format), "auto", 0, 0, format_words, 0,
      "auto looks at the first bytes of a member; message: a JSON array of tables with their rows, see PROGRAMS" },
    { AT_RECIPE, "delimiter", KEY_CHAR, IN(recipe, delimiter), NULL, 1, 0, NULL, 0,
      "between fields; a comma for csv and a tab for tsv when not given" },
    { AT_RECIPE, "quote", KEY_CHAR, IN(recipe, quote), "\"", 0, 0, NULL, 0, "around fields" },
    { AT_RECIPE, "escape", KEY_CHAR, IN(recipe, escape), NULL, 0, 0, NULL, 0,
      "takes away the meaning of the next byte; a doubled quote is always one quote" },
    { AT_RECIPE, "header", KEY_YES, IN(recipe, header), "yes", 0, 0, yes_no, 0,
      "the first line has the names of the fields" },
    { AT_RECIPE, "skip_lines", KEY_NUMBER, IN(recipe, skip_lines), "0", 0, 1000000000, NULL, 0,
      "lines before the header, or before the data" },
    { AT_RECIPE, "comment", KEY_CHAR, IN(recipe, comment), NULL, 0, 0, NULL, 0,
      "lines that begin with it are passed over" },
    { AT_RECIPE, "closing_line", KEY_TEXT, IN(recipe, closing_line), NULL, 0, 0, NULL, 0,
      "glob of the line that ends each file, such as T|*; a file without it is cut off (truncated) and not loaded; the line itself is no row" },
    { AT_RECIPE, "encoding", KEY_WORD, IN(recipe, encoding), "utf-8", 0, 0, encoding_names, 0,
      "of the member; utf-16 looks at its byte order mark, utf-8-replace reads U+FFFD for bytes that "
      "are not UTF-8" },
    { AT_RECIPE, "ragged", KEY_WORD, IN(recipe, ragged), "reject", 0, 0, ragged_words, 0,
      "a row with fewer fields than columns: reject it, or fill it up with nulls" },
    { AT_RECIPE, "trim", KEY_YES, IN(recipe, trim), "no", 0, 0, yes_no, 0,
      "take spaces and tabs away around fields without quotes" },
    { AT_RECIPE, "records", KEY_TEXT, IN(recipe, records), NULL, 0, 0, NULL, 0,
      "JSON: path of the array that holds the rows" },
    { AT_RECIPE, "grammar", KEY_WORD, IN(recipe, grammar), "strict", 0, 0, grammar_words, 0,
      "JSON: values that no column takes are checked as well (strict), or stepped over by their "
      "brackets (lax)" },
    { AT_RECIPE, "columns", KEY_COLUMNS, IN(recipe, columns_text), NULL, 0, 0, NULL, LINES,
      "names and types, see COLUMNS; found out from the data when not given" },
    { AT_RECIPE, "distinct", KEY_LIST, IN(recipe, distinct), NULL, 0, 0, NULL, LINES,
      "columns, with commas between: of the rows of a job that have the same values there, all but the first are filtered out" },
    { AT_RECIPE, "filter", KEY_COMMAND, IN(recipe, filter), NULL, 0, 0, NULL, LINES,
      "a program and its arguments that the rows go through: they are its standard input, and what it writes is loaded, see PROGRAMS" },
    { AT_RECIPE, "filter_format", KEY_WORD, IN(recipe, filter_format), "jsonl", 0, 0, filter_format_words, 0,
      "form of the rows that go to the filter and come back: JSON lines, or CSV with commas and a header, where a null is an empty field "
      "and an empty text is \"\" in quotes" },
    { AT_RECIPE, "output", KEY_COLUMNS, IN(recipe, output_text), NULL, 0, 0, NULL, LINES,
      "names and types of the rows that the table gets, where they are not those of columns: of those that a filter or transform "
      "gives; each value is typed again by them" },
    { AT_RECIPE, "where", KEY_SQL_TEXT, IN(recipe, where), NULL, 0, 0, NULL, LINES | VERBATIM,
      "SQL expression over the columns of a row, or @file:PATH of it: rows for which it is not true are left out, and counted as "
      "filtered, see SQL" },
    { AT_RECIPE, "compute", KEY_SQL_TEXT, IN(recipe, compute), NULL, 0, 0, NULL, LINES | VERBATIM,
      "more columns of the table, a line for each: NAME:TYPE = SQL expression over the columns of a row; where can use them" },
    { AT_RECIPE, "transform", KEY_SQL_TEXT, IN(recipe, transform), NULL, 0, 0, NULL, LINES | VERBATIM,
      "SELECT over the table input, which is all rows of the job, or @file:PATH of it; its result is loaded. Columns have the types of "
      "those of input or a look-up that have the same names, or those of output" },
    { AT_RECIPE, "transform_timeout", KEY_DURATION, IN(recipe, transform_timeout_ms), "1h", 100, 30 * (int64_t)DAYS, NULL, 0,
      "SQL of where, compute or transform that takes and gives no row for so long is broken off" },
    { AT_RECIPE, "infer", KEY_WORD, IN(recipe, infer), "member", 0, 0, infer_words, 0,
      "where columns are found out: the whole first member, or a sample of it" },
    { AT_RECIPE, "on_new_column", KEY_WORD, IN(recipe, on_new), "ignore", 0, 0, on_new_words, 0,
      "a column of the data that columns= has not: pass it by, add it to the table, or fail the job; see DRIFT" },
    { AT_RECIPE, "on_missing_column", KEY_WORD, IN(recipe, on_missing), "auto", 0, 0, on_missing_words, 0,
      "a column of columns= without ? that the data has not: it is null, or the job fails; auto fails where a header lacks it, and "
      "is null in JSON" },
    { AT_RECIPE, "profile", KEY_YES, IN(recipe, profile), "no", 0, 0, yes_no, 0,
      "keep with each job what its rows are like, column by column: nulls, smallest, greatest, distinct, most frequent, longest; "
      "qetlctl report JOB shows it" },
    { AT_RECIPE, "null", KEY_LIST, IN(recipe, nulls), NULL, 0, 0, NULL, LINES | EMPTY,
      "values that mean null, with commas between; \"\" is the empty field. Not given: an empty "
      "field without quotes. Nothing behind =: none" },
    { AT_RECIPE, "quoted_null", KEY_YES, IN(recipe, quoted_null), "no", 0, 0, yes_no, 0,
      "fields in quotes can be null too" },
    { AT_RECIPE, "clean", KEY_TEXT, IN(recipe, clean), NULL, 0, 0, NULL, LINES | VERBATIM,
      "rules for the fields of a column, a line for each, see CLEANING" },
    { AT_RECIPE, "enrich", KEY_LIST, IN(recipe, enrich), NULL, 0, 0, NULL, LINES,
      "[enrich] sections whose columns are added to the rows, one after the other, see ENRICHMENT" },
    { AT_RECIPE, "zone", KEY_ZONE, IN(recipe, zone), NULL, 0, 0, NULL, 0,
      "of timestamps that name none, such as Europe/Berlin or +02:00; UTC when not given" },
    { AT_RECIPE, "decimal_point", KEY_CHAR, IN(recipe, decimal_point), ".", 1, 0, NULL, 0,
      "of numbers: . or ," },
    { AT_RECIPE, "table", KEY_TABLE, IN(recipe, table), NULL, 0, 0, NULL, NEEDED,
      "TARGET.TABLE; the tables of all parts of a pipeline are in one target, for a job is one commit. In all pipelines a table is "
      "written in one way: beside sales.t neither sales.main.t (SQLite), sales.DATABASE.t (MariaDB, of the url) nor sales.public.t "
      "(PostgreSQL, or what search_path the url has)" },
    { AT_RECIPE, "mode", KEY_WORD, IN(recipe, mode), "append", 0, 0, mode_words, 0,
      "add the rows; replace all rows of the table; put each in the place of the row with the same "
      "key; leave the row with the same key as it is; or keep every version of a row, see MODES" },
    { AT_RECIPE, "key", KEY_LIST, IN(recipe, key), NULL, 0, 0, NULL, LINES,
      "columns that name a row, with commas between; upsert, insert_ignore and history need it" },
    { AT_RECIPE, "update_only_if_changed", KEY_YES, IN(recipe, only_if_changed), "no", 0, 0, yes_no,
      0, "upsert: a row that is in the table as it is is not written again" },
    { AT_RECIPE, "version", KEY_TEXT, IN(recipe, version), NULL, 0, 0, NULL, 0,
      "upsert, history: column by which versions of a row are told; an older one never overwrites a "
      "newer one" },
    { AT_RECIPE, "deleted", KEY_TEXT, IN(recipe, deleted), NULL, 0, 0, NULL, 0,
      "upsert, history: boolean column; true marks the row of that key as deleted and leaves its "
      "other columns as they were; in history it begins a version" },
    { AT_RECIPE, "missing", KEY_WORD, IN(recipe, missing), "keep", 0, 0, missing_words, 0,
      "upsert, history: what becomes of rows of the table whose key the job does not have; delete "
      "is for jobs that bring the whole table, with max_rejects = 0. With deleted= they are marked, else removed" },
    { AT_RECIPE, "undo", KEY_DURATION, IN(recipe, undo_ms), "0", 0, 3650 * (int64_t)DAYS, NULL, 0,
      "so long qetlctl undo can take the rows of a job out of the table again, see UNDO; 0: not at "
      "all" },
    { AT_RECIPE, "event_time", KEY_TEXT, IN(recipe, event_time), NULL, 0, 0, NULL, 0,
      "column with the time at which it happened, a date or timestamp: the pipeline has a watermark then, see EVENT TIME" },
    { AT_RECIPE, "allowed_lateness", KEY_DURATION, IN(recipe, allowed_lateness_ms), "0", 0, 3660 * (int64_t)DAYS, NULL, WHOLE,
      "the watermark stays so far behind the greatest event time that was loaded" },
    { AT_RECIPE, "late", KEY_LATE, IN(recipe, late_text), "table", 0, 0, NULL, 0,
      "rows whose event time is before the watermark at which their job began: table as all others, reject, or TARGET.TABLE for "
      "a table of their own" },
    { AT_RECIPE, "after_load", KEY_SQL, IN(recipe, after_load), NULL, 0, 0, NULL, LINES | WHOLE | FOR_SQL | VERBATIM,
      "SQL that the target runs in the commit of each job, after its rows, or @file:PATH of it; :job is the job's uid, "
      ":pipeline its pipeline, :watermark and :previous_watermark are those of event_time after and before it" },
    { AT_RECIPE, "max_rejects", KEY_REJECTS, IN(recipe, max_rejects), "0", 0, 0, NULL, WHOLE,
      "more refused rows than this fail the job: a number, a share such as 1%, or both with a "
      "comma between" },
    { AT_RECIPE, "empty", KEY_YES, IN(recipe, empty_ok), "fail", 0, 0, empty_words, WHOLE,
      "what a job without any row does, and one without a row for a table that it replaces as a whole (mode = replace, missing = delete, a message with \"refresh\": true): "
      "fail, or go on and leave the table empty" },
};

/* ---- finding keys ---- */

static const struct section_def *section_of(enum scope s)
{
    return &section_defs[s == AT_RECIPE ? AT_PIPELINE : s];
}

const struct key *key_find(const struct section_def *def, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (section_of(keys[i].scope) == def && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

const struct section_def *key_section(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            return section_of(keys[i].scope);
    return NULL;
}

bool key_is_verbatim(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (keys[i].flags & VERBATIM && strcmp(keys[i].name, name) == 0)
            return true;
    return false;
}

const struct key *key_at(const struct section_def *def, int n)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (section_of(keys[i].scope) == def && n-- == 0)
            return &keys[i];
    return NULL;
}

const char *key_name_at(const void *def, int n)
{
    const struct key *k = key_at(def, n);
    return k ? k->name : NULL;
}

void key_defaults(struct key_reader *kr, enum scope scope, void *base)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct key *k = &keys[i];
        if (k->scope == scope && k->def && !key_read(kr, k, k->def, base))
            assert(kr->failed || !"a default that its own key refuses");
    }
    if (scope == AT_RECIPE)
        ((struct recipe *)base)->nnulls = -1;
    if (scope == AT_ENRICH)
        ((struct enrich_config *)base)->round = -1;
    if (scope == AT_LOOKUP)
        ((struct lookup *)base)->recipe.nnulls = -1;
}

bool key_is_private(const struct key *k)
{
    return k->type == KEY_SECRET || k->type == KEY_URL || k->type == KEY_SOURCE ||
           k->type == KEY_HEADER || k->type == KEY_ENV || k->type == KEY_TEMPLATE;
}

/* ---- the manual ---- */

void config_print_keys(struct buf *out)
{
    const struct key *k;
    for (const struct section_def *def = section_defs; def < section_defs + SECTION_DEFS; def++) {
        buf_addf(out, "section\t%s%s\t%s\n", def->name, def->named ? " NAME" : "", def->help);
        for (int i = 0; (k = key_at(def, i)); i++) {
            buf_addf(out, "key\t%s\t%s\t%s\t%s\t", def->name, k->name, key_type_name(k),
                     k->def              ? k->def
                     : k->flags & NEEDED ? "(needed)"
                                         : "");
            key_print_range(k, out);
            buf_addf(out, "\t%s\n", k->help);
        }
    }
}
