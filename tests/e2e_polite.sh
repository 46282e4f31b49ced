#!/bin/bash
# Limits of a place bind all workers together: connections=, interval=, and what a server asks for by Retry-After.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3

all_loaded() { [ "$(qetlctl --json jobs --state loaded | jq '.jobs | length')" = "$1" ]; }

# /slow answers after 0.3 s; /busy says once that it is (Retry-After: 12); /wall answers 60 at once, and then asks for an hour. A line a request: ms, how many are under way.
cat >"$work/server.py" <<'PY'
import http.server, os, sys, threading, time
lock, under_way, refused, walls = threading.Lock(), 0, set(), 0
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global under_way, walls
        with lock:
            under_way += 1
            print(int(time.time() * 1000), under_way, self.path, flush=True)
            first = self.path.startswith("/busy") and not refused
            if first:
                refused.add(self.path)
            wall = self.path.startswith("/wall")
            walls += wall
            shut = wall and walls > 60
            if shut:
                print(0, 0, "/shut", flush=True)
        if shut:
            self.send_response(429)
            self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif first:
            self.send_response(503)
            self.send_header("Retry-After", "12")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            if not wall:
                time.sleep(0.3)
            body = b"id\n1\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            with lock:
                under_way -= 1
            self.end_headers()
            self.wfile.write(body)
            return
        with lock:
            under_way -= 1
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
s.daemon_threads = True
open(sys.argv[1] + ".new", "w").write(str(s.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
s.serve_forever()
PY
serve() { # gives $url and $log
    log=$work/log.$1
    python3 "$work/server.py" "$work/port.$1" >"$log" &
    servers="${servers-} $!"
    wait_for 60 test -s "$work/port.$1" || bail 'the server does not start'
    url=http://127.0.0.1:$(cat "$work/port.$1")
}
trap 'stop_roles; kill ${servers-} 2>/dev/null; cleanup' EXIT

site_with() { # LINES of [remote place]
    SLOTS=3 new_site <<INI
[remote place]
url = $url/
$1
[pipeline p]
columns = id:integer!
table   = warehouse.p
backoff = 100ms
INI
    qetlctl init >/dev/null
}
most_at_once() { awk '{ if ($2 > most) most = $2 } END { print most }' "$log"; }
least_gap() { queue_sql 'SELECT min(b.started - a.started) FROM job AS a JOIN job AS b WHERE b.started > a.started'; }

# ---- connections ----
serve none
site_with ''
for i in 1 2 3 4 5 6; do submit p "$url/slow$i" >/dev/null; done
start_role all
ok 'without a limit all jobs are loaded' wait_for 60 all_loaded 6
ok '... by several workers at once' test "$(most_at_once)" -gt 1
stop_roles

serve connections
site_with 'connections = 1'
for i in 1 2 3 4 5 6; do submit p "$url/slow$i" >/dev/null; done
printf 'id\n9\n' >"$work/local.csv"
local=$(submit p "$work/local.csv")
start_role worker
start_role worker-2
start_role loader
ok 'a job of this machine does not wait for them' wait_for 60 job_is "$local" loaded
ok 'connections = 1: all jobs are loaded' wait_for 60 all_loaded 7
is '... one after the other, though six slots are free' "$(most_at_once)" 1
is '... status knows the place' "$(qetlctl --json status | jq -c '.remotes[] | [.remote, .connections]')" '["place",1]'
stop_roles

# ---- interval ----
serve interval
site_with 'interval = 700ms'
for i in 1 2 3 4; do submit p "$url/slow$i" >/dev/null; done
start_role all
ok 'interval = 700ms: all jobs are loaded' wait_for 60 all_loaded 4
ok "... no two of them were begun closer to each other ($(least_gap) ms)" test "$(least_gap)" -ge 700
stop_roles

# ---- Retry-After, of jobs that were claimed before it ----

serve wall
site_with ''
for i in $(seq 200); do qetlctl submit p "$url/wall/$i" >/dev/null; done
timeout 300 qetl drain --max-wait 0s 2>"$work/drain"
shut=$(grep -c /shut "$log")
ok "a server that asks to be left alone is asked by each slot once at most, whatever it has claimed ($shut)" [ "$shut" -ge 1 -a "$shut" -le 3 ]
is '... and no job has lost a try, or is left behind' "$(queue_sql "SELECT count(*) FROM job WHERE state = 'ready' AND attempts = 0")" 140

# ---- Retry-After ----
serve busy
site_with ''
sed -i '/^\[remote place\]/,/^url/d' "$site/qetl.ini" # a place without a section is one, too
echo 'attempts = 1' >>"$site/qetl.ini" # no wait is one
jobs=$(for i in 1 2 3 4; do submit p "$url/busy$i"; done)
start_role worker
# shellcheck disable=SC2016
ok 'a server that is busy is left alone' wait_for 60 bash -c 'qetlctl --json status | jq -e ".remotes[0].held_until"'
is '... under its name' "$(qetlctl --json status | jq -r '.remotes[0].remote')" "$url"
like '... and status says why' "$(qetlctl status)" "$url +[0-9] +0 +20[0-9-]+ [0-9:]+Z +.*503"
like '... explain, too' "$(qetlctl explain "$(tail -n 1 <<<"$jobs")")" 'asked to be left alone'
like '... and of the job that was told so' "$(qetlctl explain "$(qetlctl --json errors | jq -r '.errors[0].job')")" 'asked to be left alone'
stop_roles
start_role all
ok 'it is asked again later, also by a worker that was started meanwhile' wait_for 60 all_loaded 4
asked=$(awk '{ print $1 }' "$log" | head -n 5 | paste -sd' ')
gap=$(awk 'NR == 1 { first = $1 } $2 >= 1 && $1 - first > 6000 { print $1 - first; exit }' "$log")
is '... and no wait was counted as a try' "$(queue_sql 'SELECT group_concat(DISTINCT attempts) FROM job')" 1
ok "... after the time that it asked for ($gap ms: $asked)" test "$gap" -ge 11500
stop_roles

# ---- the spool ----
SLOTS=2 new_site <<INI
[limits]
spool = 3M
[pipeline p]
columns = id:integer!, a:text, b:text
table   = warehouse.p
INI
qetlctl init >/dev/null
seq 60000 | awk 'BEGIN { print "id,a,b" } { print $1 ",some text of the row,and more of it" }' >"$work/big.csv"
submit p "$work/big.csv" >/dev/null
start_role worker
ok 'a job of a pipeline that is not known yet is begun' wait_for 60 bash -c "qetlctl --json status | jq -e '.pipelines[0].staged == 1'"
held=$(submit p "$work/big.csv")
# shellcheck disable=SC2016
ok 'the spool has no room for another one: it waits' wait_for 60 bash -c 'qetlctl explain '"$held"' | grep -q "The spool has no room: .* of 3[.0]* MiB"'
is '... ready' "$(state "$held")" ready
status=$(qetlctl status)
like '... status says so, with what is held and what may be' "$status" '^the spool is full: jobs that are not loaded yet hold [0-9.]+ MiB of 3[.0]* MiB \(\[limits\] spool\)'
like '... and what is to be done' "$status" '^it goes on when the loader has loaded some: .* or raise \[limits\] spool'
is '... for programs, too' "$(qetlctl --json status | jq -c '.queue | [.spool_quota_full, .spool_quota_bytes, .spool_held_bytes > 1000000, .spool_full]')" \
    '[true,3145728,true,false]'
start_role loader
ok '... and goes on when the loader has made room' wait_for 60 job_is "$held" loaded
unlike '... and status says no more of it' "$(qetlctl status)" 'spool is full'
is '... for programs, too' "$(qetlctl --json status | jq -c '.queue | [.spool_quota_full, .spool_held_bytes]')" '[false,0]'
stop_roles
if [ "$(id -u)" = 0 ] && mkdir -p "$work/disk" && mount -t tmpfs -o size=80m tmpfs "$work/disk" 2>/dev/null; then
    trap 'stop_roles; kill ${servers-} 2>/dev/null; umount "$work/disk"; cleanup' EXIT
    sed -i "s|^spool = .*|spool = $work/disk/spool|" "$site/qetl.ini"
    sed -i '/^\[limits\]/,/^spool/d' "$site/qetl.ini"
    head -c 30m /dev/zero >"$work/disk/filler"
    held=$(submit p "$work/big.csv")
    timeout 60 qetl drain 2>"$work/said"
    is 'a disk that is nearly full: drain ends, 1' $? 1
    like '... and says so' "$(cat "$work/said")" 'nearly full; no job is begun'
    like '... as explain does' "$(qetlctl explain "$held")" 'MiB free; below 64.0 MiB'
    like '... and status' "$(qetlctl status)" 'MiB free; below 64.0 MiB'
    start_role all
    rm "$work/disk/filler"
    ok 'with room again it goes on by itself' wait_for 60 job_is "$held" loaded
    stop_roles
else
    skip 'a full disk needs root for a tmpfs' 5
fi
done_testing
