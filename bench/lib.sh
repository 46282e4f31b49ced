# shellcheck shell=bash
# lib.sh: sourced by bench/run; what the cases are written with.
#
# A case file has its one-line description as first line and a function case_NAME, which makes its data in $data and runs races:
#
#   contender KIND 'who' 'NEEDS' FUNCTION [SHARE]    KIND: qetl, peer, limit; NEEDS: commands and py:MODULE that must be there;
#                                                    SHARE: the part of the work it is given (a slow peer), as $1 of its functions
#   race 'figure' AMOUNT UNIT [BYTES]                all contenders in turn, $repeat times; UNIT ends in /s: AMOUNT by seconds
#
# Around FUNCTION, which is timed in a process of its own: FUNCTION_before, FUNCTION_after (not timed), and FUNCTION_rows, which prints
# how many rows arrived; any number but AMOUNT fails the contender. Those that are missing are left out. A contender whose start is not
# meant writes its own seconds to $data/seconds.
#
#   figure 'figure' KIND 'who' UNIT VALUE [CPU RSS_KIB MB_S]     one sample, measured by a program of its own
#
# Everything is exported, so that a contender sees it in its own process.

export LC_ALL=C
unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY no_proxy NO_PROXY
scale=${SCALE:-0.1} repeat=${REPEAT:-3} limit=${LIMIT:-900} peers=yes
build=${builddir:-$top/build-bench}
root=${BENCH_DIR:-$build/bench-work}
work=$root/run data=$root/data          # data: of one case; run: of this run
site=$data/site
venv=${BENCH_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/qetl-bench/venv}
PATH=$build:$PATH
types='id INTEGER, customer INTEGER, quantity INTEGER, price REAL, weight REAL, placed TEXT, city TEXT, note TEXT, sku TEXT, channel TEXT'
columns='id:integer!, customer:integer, quantity:integer, price:real, weight:real, placed:timestamp, city:text, note:text, sku:text, channel:text'

# ---- the run ----

build_all() {
    [ "${BENCH_BUILD:-}" != no ] || return 0
    if [ ! -x "$build/config.status" ]; then
        mkdir -p "$build"
        [ -x "$top/configure" ] || (cd "$top" && autoreconf -fi >/dev/null 2>&1)
        (cd "$build" && "$top/configure" -q CFLAGS='-O2 -g' >configure.log) || exit 1
    fi
    local goal
    for goal in all bench-programs; do # one after the other: each would make the library
        make -s -C "$build" -j"$(nproc)" "$goal" >"$build/bench-make.log" 2>&1 || { tail "$build/bench-make.log"; exit 1; }
    done
}
begin() {
    mkdir -p "$root" && exec 9>"$root/lock" && flock -n 9 || { echo "bench/run: another run uses $root" >&2; exit 1; }
    rm -rf "$work"
    mkdir -p "$work"
    : >"$work/skipped"
    : >"$work/failed"
    trap 'stop_servers; rm -rf "$data"' EXIT
    trap 'exit 130' INT TERM
}
fresh() { # between cases
    stop_servers
    rm -rf "$data"
    mkdir -p "$data"
    chmod 755 "$data"
    contenders=()
}
source_version() { # the commit; "-dirty" where what is built is not that of the commit
    local commit
    commit=$(git -C "$top" describe --always --tags 2>/dev/null)
    git -C "$top" diff --quiet HEAD -- src bench/\*.c configure.ac Makefile.am 2>/dev/null || commit=$commit-dirty
    echo "$commit"
}
host_facts() {
    local version
    printf '{"time":"%s","git":"%s","cores":%d,"cpu":"%s","kernel":"%s","fs":"%s","scale":%s,"repeat":%d,"versions":{' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(source_version)" "$(nproc)" \
        "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(uname -r)" "$(stat -f -c %T "$data")" "$scale" "$repeat"
    {
        echo "qetl $(qetl --version | grep -o '[0-9][0-9.]*' | head -n 1)"
        for version in sqlite3 curl bsdtar redis-server psql aria2c rclone jq; do
            command -v "$version" >/dev/null && echo "$version $("$version" --version 2>/dev/null | grep -o '[0-9][0-9]*\.[0-9.]*[0-9]' | head -n 1)"
        done
        ! have py:duckdb || echo "duckdb $("$(python_for duckdb)" -c 'import duckdb; print(duckdb.__version__)')"
    } | awk '{ printf "%s\"%s\":\"%s\"", (NR > 1 ? "," : ""), $1, $2 } END { printf "}}" }'
}

# ---- sizes ----

scaled() { awk -v n="$1" -v s="$scale" 'BEGIN { printf "%d", n * s < 1 ? 1 : n * s }'; }
part() { awk -v n="$1" -v s="$2" 'BEGIN { x = int(n * s + 0.5); print x < 1 ? 1 : x }'; }
per() { awk -v a="$1" -v s="$2" 'BEGIN { printf "%.6f", (s > 0 ? a / s : 0) }'; }

# ---- contenders ----

python_for() { # MODULE: the Python that has it
    local p
    for p in "$venv/bin/python3" /usr/bin/python3 python3; do
        "$p" -c "import $1" 2>/dev/null && { echo "$p"; return; }
    done
    return 1
}
package_of() {
    case $1 in
        py:duckdb) echo 'duckdb, by pip' ;; py:redis | py:rq | py:celery) echo "python3-${1#py:}" ;; py:*) echo python3 ;;
        bsdtar) echo libarchive-tools ;; igzip) echo isal ;; aria2c) echo aria2 ;; nginx) echo nginx-light ;; initdb | pgbench) echo postgresql ;; mariadb*) echo mariadb-server ;;
        *) echo "$1" ;;
    esac
}
have() {
    case $1 in
        py:*) python_for "${1#py:}" >/dev/null ;;
        nginx) [ -x /usr/sbin/nginx ] ;;
        initdb | pgbench) pg_bin "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}
pg_bin() { command -v "$1" || { ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null || exit 1; } | tail -n 1 | grep .; }
usable() { # KIND WHO NEEDS: false, and told of, if something is missing
    local n
    [ "$1" != peer ] || [ "$peers" = yes ] || return 1
    for n in $3; do
        have "$n" || { echo "  $2: $n ($(package_of "$n"))" >>"$work/skipped"; return 1; }
    done
}
failed() { # WHO WHY; shows the end of the log
    echo "  $name: $1: $2" | tee -a "$work/failed" >&2
    tail -n 5 "$work/log" | sed 's/^/      /' >&2
}
contender() { ! usable "$1" "$2" "$3" || contenders+=("$1"$'\t'"$2"$'\t'"$4"$'\t'"${5:-1}"); }
is_function() { declare -F "$1" >/dev/null; }
figure() { printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$1" "$2" "$3" "$4" "$5" "${6:-}" "${7:-}" "${8:-}" >>"$work/samples"; }

quiet() { "$@" >>"$work/log" 2>&1; }
strictly() { (set -eu -o pipefail; "$@"); }
run_one() { # FIGURE AMOUNT UNIT BYTES KIND WHO FUNCTION SHARE
    local amount seconds cpu rss rows rc=0
    amount=$(part "$2" "$8")
    : >"$work/log"
    if is_function "$7_before"; then
        quiet strictly "$7_before" "$8"
        [ $? = 0 ] || { failed "$6" 'its preparation failed'; return 1; }
    fi
    # shellcheck disable=SC2016
    quiet "$build/bench/measure" "$work/took" timeout -k 5 "$limit" bash -c 'set -eu -o pipefail; "$@"' - "$7" "$8" || rc=$?
    if [ $rc != 0 ]; then
        failed "$6" "status $rc"
    elif is_function "$7_rows"; then
        rows=$("$7_rows" 2>>"$work/log")
        [ "$rows" = "$amount" ] || { rc=1; failed "$6" "$rows rows, not $amount"; }
    fi
    ! is_function "$7_after" || quiet strictly "$7_after"
    [ $rc = 0 ] || return 1
    read -r seconds cpu rss <"$work/took"
    [ ! -s "$data/seconds" ] || { seconds=$(cat "$data/seconds"); rm "$data/seconds"; }
    figure "$1" "$5" "$6" "$3" "$(per "$amount" "$seconds")" "$cpu" "$rss" \
        "${4:+$(awk -v b="$4" -v f="$8" -v s="$seconds" 'BEGIN { print b * f / 1e6 / s }')}"
}
race() { # FIGURE AMOUNT UNIT [BYTES]
    local i kind who function share out=' '
    for _ in $(seq "$repeat"); do
        for i in "${!contenders[@]}"; do
            case $out in *" $i "*) continue ;; esac # it failed in an earlier round
            IFS=$'\t' read -r kind who function share <<<"${contenders[i]}"
            run_one "$1" "$2" "$3" "${4:-}" "$kind" "$who" "$function" "$share" || out="$out$i "
        done
    done
    contenders=()
}

# ---- qetl ----

new_site() { # SLOTS [LINE OF THE PIPELINE...]: a fresh database, spool and warehouse in $site; pipeline orders, columns of bench/gen
    local slots=$1
    shift
    rm -rf "$site"
    mkdir -p "$site"
    {
        printf '%s\n' '[qetl]' "database = $site/queue.db" "spool = $site/spool" 'log_level = warn' '[worker]' "slots = $slots" \
            '[target warehouse]' "url = sqlite://$site/warehouse.db" '[pipeline orders]' 'table = warehouse.orders'
        case " $*" in *' columns = '*) ;; *) echo "columns = $columns" ;; esac
        [ $# = 0 ] || printf '%s\n' "$@"
    } >"$site/qetl.ini"
    qetlctl init
}
export QETL_CONFIG=$site/qetl.ini
submit_numbered() { # COUNT PATTERN: PATTERN's # is 1 to COUNT
    seq "$1" | awk -v p="$2" '{ u = p; sub(/#/, $1, u); print "{\"pipeline\":\"orders\",\"objects\":[\"" u "\"]}" }' | qetlctl submit -
}
server_site() { # TARGET URL SLOTS LOADERS [LINE OF THE PIPELINE...]: a fresh site whose warehouse is a server
    local target=$1 url=$2 slots=$3 loaders=$4
    shift 4
    rm -rf "$site"
    mkdir -p "$site"
    printf '%s\n' '[qetl]' "database = $site/queue.db" "spool = $site/spool" 'log_level = warn' '[worker]' "slots = $slots" \
        "[target $target]" "url = $url" "loaders = $loaders" '[pipeline orders]' "table = $target.orders" "columns = $columns" "$@" \
        >"$site/qetl.ini"
    qetlctl init
}
staged_all() { [ "$(qetlctl --json status | grep -o '"staged":[0-9]*' | head -n 1)" = "\"staged\":$1" ]; }
stage() { # COUNT: what was submitted waits for its loader
    local pid
    qetl worker 2>>"$work/log" &
    pid=$!
    until staged_all "$1"; do sleep 0.1; done
    kill "$pid"
    wait "$pid" || :
}
tiny_files() { # COUNT: $data/tiny/1.csv and so on, of 10 rows each
    mkdir -p "$data/tiny"
    "$build/bench/gen" $(($1 * 10)) | awk -v dir="$data/tiny/" 'NR == 1 { head = $0; next }
        (NR - 2) % 10 == 0 { if (f) close(f); f = dir (++n) ".csv"; print head >f } { print >f }'
}
rows_in() { sqlite3 -readonly "$1" 'SELECT count(*) FROM orders'; }
site_rows() { rows_in "$site/warehouse.db"; }
drain() { qetl drain; }
drain_rows() { site_rows; }

# The limit of a load: its result copied and synced.
copy_result() { cp --reflink=never "$site/warehouse.db" "$data/copy.db" && sync "$data/copy.db"; }
copy_result_before() { rm -f "$data/copy.db"; }
copy_result_after() { rm -f "$data/copy.db"; }

# ---- peers that several cases share; each makes $data/peer.db or $data/duck.db ----

drop_peer() { rm -rf "$data/peer.db" "$data/peer.db-journal" "$data/duck.db" "$data/duck.db.wal" "$data/fifo" "$data/peer"; }
peer_table() { sqlite3 "$data/peer.db" "CREATE TABLE orders($types)"; }
peer_rows() { rows_in "$data/peer.db"; }
import() { sqlite3 "$data/peer.db" ".import --csv $2 $1 orders"; } # FILE [--skip N]
import_pipe() { # COMMAND...: its output, CSV without header
    mkfifo "$data/fifo"
    "$@" >"$data/fifo" &
    import "$data/fifo" ''
    wait $!
}
duck() { # THREADS SQL: in $data/duck.db
    "$(python_for duckdb)" -c 'import sys, duckdb
c = duckdb.connect(sys.argv[1], config={"threads": int(sys.argv[2])})
for r in c.execute(sys.argv[3]).fetchall(): print(*r)' "$data/duck.db" "$@"
}
duck_types="columns={'id':'BIGINT','customer':'BIGINT','quantity':'BIGINT','price':'DOUBLE','weight':'DOUBLE','placed':'TIMESTAMP','city':'VARCHAR','note':'VARCHAR','sku':'VARCHAR','channel':'VARCHAR'}, header=true, auto_detect=false, delim=',', quote='\"', escape='\"'"
duck_table() { duck 2 "CREATE TABLE orders AS SELECT * FROM read_csv('$1', $duck_types)"; }
duck_rows() { duck 2 'SELECT count(*) FROM orders'; }
run_python() { # MODULE SCRIPT ARGUMENTS...: a program of bench/peers
    local p
    p=$(python_for "$1")
    shift
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$top/bench/peers "$p" "$top/bench/peers/$1" "${@:2}"
}

# ---- servers, on loopback, stopped by their own process id ----

servers=()
free_port() {
    local p
    for p in $(seq $((20000 + RANDOM % 10000)) 32000); do
        (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$p"; return; }
    done
}
started() { # PID COMMAND...: wait until COMMAND succeeds; false if the server ended
    local pid=$1 i
    shift
    servers+=("$pid")
    for i in $(seq 200); do
        kill -0 "$pid" 2>/dev/null || return 1
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    return 1
}
stop_servers() {
    local pid
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${servers[@]}"; do wait "$pid" 2>/dev/null; done
    servers=()
}
serve() { # FOLDER: by nginx; sets $www, its URL
    local dir=$data/nginx port user=''
    port=$(free_port)
    www=http://127.0.0.1:$port
    [ "$(id -u)" != 0 ] || user='user root;'
    mkdir -p "$dir"
    cat >"$dir/nginx.conf" <<CONF
$user daemon off; pid $dir/pid; error_log $dir/error.log; worker_processes 1;
events {}
http { access_log off; sendfile on; client_body_temp_path $dir/1; proxy_temp_path $dir/2;
    fastcgi_temp_path $dir/3; uwsgi_temp_path $dir/4; scgi_temp_path $dir/5;
    server { listen 127.0.0.1:$port backlog=512; root $1; autoindex on; keepalive_requests 1000000; } }
CONF
    have nginx || { echo "  nginx (nginx-light): $name over HTTP" >>"$work/skipped"; return 1; }
    /usr/sbin/nginx -p "$dir/" -e "$dir/error.log" -c "$dir/nginx.conf" 9>&- &
    started $! curl -s -o /dev/null "$www/" || { : >"$work/log"; failed nginx 'does not start'; return 1; }
}
serve_redis() { # APPENDFSYNC: sets $redis_port
    local dir=$data/redis-$1
    redis_port=$(free_port)
    mkdir -p "$dir"
    redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$dir" --appendonly yes --appendfsync "$1" --save '' >"$dir/log" 2>&1 9>&- &
    started $! redis-cli -p "$redis_port" ping || { cp "$dir/log" "$work/log"; failed redis 'does not start'; return 1; }
}
serve_beanstalkd() { # -fMS: sets $beanstalkd_port
    local dir=$data/beanstalkd$1
    beanstalkd_port=$(free_port)
    mkdir -p "$dir"
    beanstalkd -l 127.0.0.1 -p "$beanstalkd_port" -b "$dir" "$1" >"$dir/log" 2>&1 9>&- &
    # shellcheck disable=SC2016
    started $! bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"' - "$beanstalkd_port" || { failed beanstalkd 'does not start'; return 1; }
}
serve_mariadb() { # sets $my_socket; my runs SQL
    local dir=$data/my user=''
    export my_socket=$dir/sock
    mkdir -p "$dir"
    if [ "$(id -u)" = 0 ]; then
        user=--user=mysql
        chown mysql "$dir"
        chmod 711 "$root" "$data"
    fi
    mariadb-install-db --no-defaults $user --datadir="$dir/db" --auth-root-authentication-method=normal --skip-test-db >"$work/log" 2>&1 ||
        { failed mariadb 'mariadb-install-db'; return 1; }
    "$(command -v mariadbd || echo /usr/sbin/mariadbd)" --no-defaults $user --datadir="$dir/db" --socket="$my_socket" --skip-networking \
        --local-infile=1 --innodb-buffer-pool-size=1G --innodb-log-file-size=512M --pid-file="$dir/pid" >"$dir.log" 2>&1 9>&- &
    started $! my_as_root 'SELECT 1' || { cp "$dir.log" "$work/log"; failed mariadb 'does not start'; return 1; }
    my_as_root "CREATE DATABASE bench; CREATE USER bench@localhost IDENTIFIED BY 'bench'; GRANT ALL ON *.* TO bench@localhost"
}
my_as_root() { mariadb --no-defaults -S "$my_socket" -u root -NBe "$1"; }
my() { MYSQL_PWD=bench mariadb --no-defaults --local-infile=1 -S "$my_socket" -u bench -NB bench "$@"; }
serve_postgres() { # sets $pg_run, the words before a client's command
    local dir=$data/pg port
    pg_run='' port=$(free_port)
    rm -rf "$dir" # of the round before
    mkdir -p "$dir"
    if [ "$(id -u)" = 0 ]; then
        pg_run='setpriv --reuid=postgres --regid=postgres --clear-groups env'
        chown postgres "$dir"
        chmod 711 "$root" "$data"
    fi
    $pg_run "$(pg_bin initdb)" -D "$dir/db" -A trust -U bench >"$work/log" 2>&1 || { failed postgres 'initdb'; return 1; }
    $pg_run "$(pg_bin postgres)" -D "$dir/db" -p "$port" -c listen_addresses= -c "unix_socket_directories=$dir" >"$dir.log" 2>&1 9>&- &
    export PGHOST=$dir PGPORT=$port PGUSER=bench PGDATABASE=postgres
    started $! psql -c 'SELECT 1' || { cp "$dir.log" "$work/log"; failed postgres 'does not start'; return 1; }
}
