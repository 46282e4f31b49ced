# shellcheck shell=bash
# service.sh: sourced by the scripts beside it, each a real server for tests.
#
#   NAME start DIR   start the server, wait until it answers, print its KEY=VALUE lines; files and pid live in DIR
#   NAME stop DIR    end it, by the pid in DIR/pid
#
# A script defines needs (look for packages by want), serve PORT (run the server in the foreground, by exec) and facts PORT
# (print the lines). Servers listen on
# 127.0.0.1 alone. As root those that refuse root run as nobody. Exit 77: a package is missing; the reason is on stderr.
set -eu
PATH=$PATH:/usr/sbin:/sbin
self=$(basename "$0")
here=$(cd "$(dirname "$0")" && pwd)

die() { echo "$self: $*" >&2; exit 1; }
want() { command -v "$1" >/dev/null 2>&1 || { echo "$self: $1 is missing (apt-get install $2)" >&2; exit 77; }; }
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
alive() { [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }
unroot() { if [ "$(id -u)" = 0 ]; then exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; else exec "$@"; fi; }

# certificate NAME CN SANS: DIR/NAME.pem and .key, signed by a CA of its own, DIR/ca.pem
certificate() {
    local ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    [ -e "$dir/ca.pem" ] ||
        openssl req -x509 $ec -days 30 -subj "/CN=a CA for tests" -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
    [ -e "$dir/$1.pem" ] && return
    openssl req $ec -subj "/CN=$2" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
    echo "subjectAltName=$3" >"$dir/$1.san"
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 30 \
        -extfile "$dir/$1.san" -out "$dir/$1.pem" 2>/dev/null
}

start() {
    local try port i
    needs
    if alive; then cat "$dir/facts"; return; fi
    for try in 1 2 3 4 5; do             # somebody else may take the port between the look and the bind
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        [ ! -s "$dir/port" ] || [ "$try" -gt 2 ] || port=$(cat "$dir/port") # started again: where it was
        answers "$port" && continue
        (serve "$port") >>"$dir/log" 2>&1 </dev/null 3>&- &
        echo $! >"$dir/pid"
        for i in $(seq 2400); do # a new machine under load takes its time to make a database
            if alive && answers "$port" && alive; then
                echo "$port" >"$dir/port"
                facts "$port" | tee "$dir/facts"
                return
            fi
            alive || break
            sleep 0.05
        done
        stop
    done
    tail -n 20 "$dir/log" >&2
    die "the server does not start"
}

stop() {
    local pid i
    [ -s "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    kill "$pid" 2>/dev/null || true
    for i in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        [ "$i" != 60 ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$dir/pid"
}

service() {
    case "${1-}" in start | stop) ;; *) die "usage: $self start|stop DIR" ;; esac
    [ -n "${2-}" ] || die "usage: $self $1 DIR"
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    chmod 755 "$dir"
    "$1"
}
