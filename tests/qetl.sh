# shellcheck shell=bash
# qetl.sh: sourced after lib.sh by tests that run the programs.
#
#   new_site                  a fresh $site with qetl.ini (from standard input, behind the usual [qetl], [target warehouse])
#   sql 'select …'            on the warehouse
#   queue_sql 'select …'      on the queue
#   state JOB; field JOB NAME
#   text FILE TEXT            a file in $work, with \n and the like in its text
#   put FILE N                a file with the only row N, whole from its first moment
#   submit …                  prints the number of the job
#   run_files PIPELINE FILE…  files in $work as one job: gives $job; what is said is in $work/out
#   drift                     what of the columns $job reported: kind|column|member|detail
#   drain [MAX-WAIT]          look through the sources and work until nothing is left; what it says is in $work/drain
#   rows_are, queue_is SQL WANT; job_is JOB STATE     for wait_for
#   pg, my 'select …'         on the service postgres, mariadb, also what it complains of
#   my_lines 'select …'       the same as my, columns with |, null as nothing
#   with_postgres, with_mysql CHECKS COMMAND…      runs it with that service; where there is none, or qetl was built without, so many checks are skipped
#   pg_remote, my_remote, s3_remote      lines for new_site: how to talk to that service (s3: [remote store], bucket `bucket`)
#   s3_put KEY VALUE          an object of one column into the bucket of the service s3; the key as it is in a URI
#   start_role worker …       in the background; stopped at the end of the test
#   kid PID, descendants PID  of a role's processes
#   away                      for wait_for: a target is away
#   returns_hold_once TARGET ASK         checks: mode = history, of rows that were missing for a time

sites=0 roles=''
new_site() {
    sites=$((sites + 1)) site=$work/site$sites
    mkdir -p "$site"
    {
        cat <<INI
[qetl]
database = $site/queue.db
spool = $site/spool
log_level = ${QETL_TEST_LOG:-warn}
[worker]
slots = ${SLOTS:-1}
lease = ${LEASE:-60s}
heartbeat = ${HEARTBEAT:-1s}
poll = 200ms
shutdown_timeout = 5s
[target warehouse]
url = sqlite://$site/warehouse.db
INI
        cat
    } >"$site/qetl.ini"
    export QETL_CONFIG=$site/qetl.ini
}
PATH=$bin:$PATH

sql() { sqlite3 -readonly "$site/warehouse.db" "$1"; }
queue_sql() { sqlite3 -readonly "$site/queue.db" "$1"; }
field() { qetlctl --json show "$1" | jq -r ".job.$2"; }
state() { field "$1" state; }
text() { printf '%b' "$2" >"$work/$1"; }
put() { printf 'id\n%s\n' "$2" >"$1.part" && mv "$1.part" "$1"; }
submit() { qetlctl --json submit "$@" | jq .id; }
run_files() { # PIPELINE FILES...: one job
    local p=$1
    shift
    timeout 120 qetlctl run "$p" "${@/#/$work/}" >"$work/out" 2>&1
    job=$(queue_sql 'SELECT max(id) FROM job')
}
drift() { qetlctl --json show "$job" | jq -r '.drift[] | [.kind, .column, .member, .detail] | join("|")'; }
drain() { timeout 300 qetl drain --scan --max-wait "${1:-30s}" 2>"$work/drain"; }
rows_are() { [ "$(sql "$1" 2>/dev/null)" = "$2" ]; }
queue_is() { [ "$(queue_sql "$1" 2>/dev/null)" = "$2" ]; }
job_is() { [ "$(state "$1")" = "$2" ]; }

pg() { psql -qXAt -h "$PGHOST" -p "$PGPORT" -U "$PGUSER" -d "$PGDATABASE" -c "$1" 2>&1; }
my() { MYSQL_PWD=$MYPASSWORD mariadb --no-defaults --default-character-set=utf8mb4 -h "$MYHOST" -P "$MYPORT" -u "$MYUSER" -NBe "$1" "$MYDATABASE" 2>&1; }
my_lines() { my "$1" | tr '\t' '|' | sed 's/\bNULL\b//g'; }
with_server() { # SERVICE HAVE CHECKS COMMAND...
    local service=$1 have=$2 checks=$3
    shift 3
    if ! grep -q "^#define $have 1" "$builddir/config.h"; then
        skip "built without what speaks to $service" "$checks"
    elif try_service "$service"; then
        "$@"
    else
        skip "$why" "$checks"
    fi
}
with_postgres() {
    export PGPASSWORD=secret
    with_server postgres HAVE_LIBPQ "$@"
}
with_mysql() { with_server "$([ -z "${QETL_TEST_MYSQLD:-}" ] && echo mariadb || echo mysql)" HAVE_LIBMARIADB "$@"; }
pg_remote() { server_remote pg "postgresql://127.0.0.1:$PGPORT/" "$PGURL"; }
my_remote() { server_remote my "mysql://127.0.0.1:$MYPORT/" "$MYURL"; }
server_remote() { # NAME URL URL-OF-THE-DATABASE
    (umask 077 && printf 'secret\n' >"$work/password")
    cat <<INI
[remote $1]
url = $2
password = @file:$work/password
[target $1]
url = $3
INI
}

s3_remote() {
    cat <<INI
[remote store]
url = s3://bucket
endpoint = $S3
region = $S3_REGION
access_key = $S3_ACCESS
secret_key = $S3_SECRET
INI
}
s3_put() {
    printf 'id\n%s\n' "$2" >"$work/body"
    curl -sS --fail -T "$work/body" --aws-sigv4 "aws:amz:$S3_REGION:s3" -u "$S3_ACCESS:$S3_SECRET" \
        -H "x-amz-content-sha256: $(sha256sum "$work/body" | cut -d' ' -f1)" "$S3/bucket/$1"
}

start_role() { # gives $role_pid
    "$bin/qetl" "$@" 2>>"$site/$1.log" &
    role_pid=$!
    roles="$roles $role_pid"
}
stop_roles() {
    local pid
    for pid in $roles; do kill "$pid" 2>/dev/null; done
    for pid in $roles; do wait "$pid" 2>/dev/null; done
    roles=''
}
kid() { pgrep -P "$1" | head -n1; }
descendants() { local p; for p in $(pgrep -P "$1"); do echo "$p"; descendants "$p"; done; }
away() { qetlctl --json status | jq -e '.targets_away | length == 1'; }
trap 'stop_roles; cleanup' EXIT

# history, with version and missing = delete: a row that was missing for a time did not hold then, whatever its version says. The pipeline
# `returns` is appended to the ini; ASK: a function that prints what SQL gives, columns with |.
returns_hold_once() { # TARGET ASK
    local rows
    printf '[pipeline returns]\ncolumns = id:integer!, city:text, moved:date\ntable = %s.returns\nmode = history\nkey = id\nversion = moved\nmissing = delete\n' \
        "$1" >>"$site/qetl.ini"
    for rows in '1,Bonn,2020-01-01 2,Rom,2020-01-01' '2,Rom,2020-01-01' '1,Bonn,2020-01-01 2,Rom,2020-01-01' '2,Rom,2020-01-01' \
        '1,Old,2019-01-01 1,Bern,2100-01-01 2,Rom,2020-01-01' '2,Rom,2020-01-01'; do
        printf '%s\n' id,city,moved $rows >"$work/returns.csv" # words
        qetlctl run returns "$work/returns.csv" >/dev/null
    done
    is "$1: a row that comes back holds from then on" "$("$2" 'SELECT city, count(*) FROM returns GROUP BY city ORDER BY city' | xargs)" 'Bern|1 Bonn|2 Old|1 Rom|1'
    is "$1: ... and no two of a key hold at one time" \
        "$("$2" 'SELECT count(*) FROM returns a JOIN returns b ON a.id = b.id AND a.valid_from < b.valid_from AND (a.valid_to IS NULL OR a.valid_to > b.valid_from)')" 0
    is "$1: ... nor does one end before it begins" "$("$2" 'SELECT count(*) FROM returns WHERE valid_to < valid_from')" 0
    is "$1: ... what was always there did" "$("$2" "SELECT count(*) FROM returns WHERE id = 2 AND valid_to IS NULL AND valid_from < '2020-01-02'")" 1
}
