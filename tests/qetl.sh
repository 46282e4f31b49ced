# shellcheck shell=bash
# qetl.sh: sourced after lib.sh by tests that run the programs.
#
#   new_site                  a fresh $site with qetl.ini (from standard input, behind the usual [qetl], [target warehouse])
#   sql 'select …'            on the warehouse
#   state JOB; field JOB NAME
#   start_role worker …       in the background; stopped at the end of the test

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
trap 'stop_roles; cleanup' EXIT
