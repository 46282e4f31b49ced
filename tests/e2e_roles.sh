#!/bin/bash
# Supervisors and their roles as an operator meets them: stop, reload, kill, drain, order, targets that are away, sd_notify.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3
start_service http

csv() { printf '%s\n' "$@"; }                                    # a file from its lines
ended() { ! kill -0 "$1" 2>/dev/null; }
now_ms() { date +%s%3N; }
children() { pgrep -P "$1"; }
log_has() { grep -q -- "$1" "$site"/*.log; }
drain() { timeout 60 qetl drain --max-wait "${1:-2s}" 2>"$work/drain"; }

slow_server() { # $slow/N gives a file of N rows, one each 50 ms; ends with the roles
    rm -f "$work/slow.port"
    python3 - "$work/slow.port" <<'PY' &
import http.server, sys, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        try:
            self.wfile.write(b"id\n")
            for n in range(int(self.path[1:])):
                self.wfile.write(b"%d\n" % n); self.wfile.flush(); time.sleep(0.05)
        except OSError:
            pass
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
s.daemon_threads = True
open(sys.argv[1] + ".new", "w").write(str(s.server_port))
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
s.serve_forever()
PY
    roles="$roles $!"
    wait_for 60 test -s "$work/slow.port" || bail 'the slow server does not start'
    slow=http://127.0.0.1:$(cat "$work/slow.port")
}
pipelines='
[pipeline p]
columns = id:integer!
table   = warehouse.p
backoff = 300ms
[pipeline slow]
columns = id:integer!
table   = warehouse.slow'
csv id 1 2 3 >"$work/three.csv"

# ---- stop ----
new_site <<<"$pipelines"
shutdown_timeout() { sed -i "s/^shutdown_timeout = .*/shutdown_timeout = $1/" "$site/qetl.ini"; }
shutdown_timeout 60s
qetlctl init >/dev/null
slow_server
start_role worker
short=$(submit slow "$slow/20")
ok 'a job of a second runs' wait_for 60 job_is "$short" running
kill "$role_pid"
ok 'SIGTERM: the worker ends' wait_for 60 ended "$role_pid"
is '... and has finished what can be finished in shutdown_timeout' "$(state "$short")" staged
shutdown_timeout 3s
start_role worker
long=$(submit slow "$slow/100000")
ok 'an endless job runs' wait_for 60 job_is "$long" running
beat() { queue_sql 'SELECT max(beat) FROM worker WHERE ended IS NULL'; }
first=$(beat)
later_beat() { [ "$(beat)" -gt "$first" ]; }
ok 'its worker gives signs of life meanwhile' wait_for 60 later_beat
begin=$(now_ms)
kill "$role_pid"
ok 'SIGTERM: a job that takes longer is handed back' wait_for 60 ended "$role_pid"
took=$(($(now_ms) - begin))
ok "... after shutdown_timeout ($took ms)" test "$took" -ge 2500 -a "$took" -lt 20000
is '... ready for the next, with no try lost' "$(state "$long") $(field "$long" attempts)" 'ready 0'
shutdown_timeout 60s
start_role worker
ok 'it runs again' wait_for 60 job_is "$long" running
begin=$(now_ms)
kill "$role_pid"
sleep 0.3
kill "$role_pid"
ok 'a second SIGTERM ends it' wait_for 60 ended "$role_pid"
ok '... at once' test $(($(now_ms) - begin)) -lt 20000
is '... and the job is handed back too' "$(state "$long")" ready

qetlctl cancel "$long" >/dev/null
short=$(submit slow "$slow/20")
setsid "$bin/qetl" worker 2>>"$site/worker.log" &
role_pid=$!
roles="$roles $role_pid"
ok 'a worker in a terminal has a job' wait_for 60 job_is "$short" running
kill -INT -- "-$role_pid"
ok 'Ctrl-C ends it' wait_for 60 ended "$role_pid"
is '... after the job, as one SIGTERM does, though a terminal tells all its processes' "$(state "$short")" staged

# ---- cancel ----
long=$(submit slow "$slow/100000")
QETL_LOG_LEVEL=info start_role worker
ok 'a job runs' wait_for 60 job_is "$long" running
begin=$(now_ms)
qetlctl cancel "$long" >/dev/null
next=$(submit p "$work/three.csv")
ok 'cancel: the worker is free for the next job' wait_for 60 job_is "$next" staged
ok '... soon' test $(($(now_ms) - begin)) -lt 20000
is '... and nothing of the cancelled job is staged' "$(queue_sql "SELECT count(*) FROM output WHERE job = $long")" 0
is '... and the log says so, once, and of nothing that broke' "$(grep "$(field "$long" uid)" "$site/worker.log" | sed 's/.*\(job cancelled\).*/\1/')" 'job cancelled'

# ---- a killed slot ----
long=$(submit slow "$slow/100000")
ok 'a job runs in a slot with a lease of a minute' wait_for 60 job_is "$long" running
begin=$(now_ms)
slot=$(children "$role_pid")
kill -9 "$slot"
taken_back() { [ "$(queue_sql "SELECT count(*) FROM attempt WHERE job = $long AND outcome = 'crashed'")" = 1 ] && job_is "$long" running; }
ok 'kill -9: the slot is started again and the job runs again' wait_for 60 taken_back
took=$(($(now_ms) - begin))
ok "... long before the lease runs out ($took ms)" test "$took" -lt 20000
is '... in another process' "$(children "$role_pid" | grep -c "^$slot$")" 0
like '... and the log says so' "$(cat "$site/worker.log")" 'a process died; it is started again'
like '... and the job too' "$(qetlctl errors "$long")" "its worker '[^']+' \(process $slot on .*\) died with the job: it was killed"
supervisor=$role_pid
start_role worker-2
begin=$(now_ms)
mapfile -t slots < <(children "$supervisor")
kill -9 "$supervisor" "${slots[@]}"
moved() { [ "$(queue_sql "SELECT name FROM worker JOIN job ON job.worker = worker.id WHERE job.id = $long")" = worker-2 ] && job_is "$long" running; }
ok 'kill -9 of a whole supervisor: another one takes the job' wait_for 60 moved
ok "... soon ($(($(now_ms) - begin)) ms)" test $(($(now_ms) - begin)) -lt 20000
is 'supervisors are told apart by their names' "$(qetlctl --json workers | jq -c '[.workers[] | select(.alive) | .name]')" '["worker-2"]'
qetlctl cancel "$long" >/dev/null
stop_roles

# ---- poison ----
new_site <<<"$pipelines"
qetlctl init >/dev/null
bad=$(submit p "$work/three.csv")
QETL_FAULT=stage-before-rename:kill start_role worker
csv id >"$work/big.csv" && seq 200000 >>"$work/big.csv"
qetlctl cancel "$bad" >/dev/null
bad=$(submit p "$work/big.csv")
ok 'a job that kills its worker each time dies' wait_for 60 job_is "$bad" dead
is '... as poison, after [limits] crashes' "$(field "$bad" error_code) $(queue_sql "SELECT count(*) FROM attempt WHERE job = $bad AND outcome = 'crashed'")" 'crashed 3'
stop_roles

# ---- reload ----
new_site <<<"$pipelines"
qetlctl init >/dev/null
slow_server
start_role all
supervisor=$role_pid
long=$(submit slow "$slow/30")
ok 'a job runs under qetl all' wait_for 60 job_is "$long" running
printf '[pipeline added]\ncolumns = id:integer!\ntable = warehouse.added\n' >>"$site/qetl.ini"
kill -HUP "$supervisor"
sleep 0.1
kill -HUP "$supervisor"
ok 'SIGHUP: the job in hand is finished' wait_for 60 job_is "$long" loaded
is '... in its first try' "$(queue_sql "SELECT group_concat(outcome) FROM attempt WHERE job = $long")" 'staged,loaded'
ok 'a pipeline that was added works' timeout 60 qetlctl submit added "$work/three.csv" --wait
cp "$site/qetl.ini" "$work/good.ini"
echo 'colour = blue' >>"$site/qetl.ini"
kill -HUP "$supervisor"
ok 'a faulty ini is refused' wait_for 60 log_has 'the ini was not taken'
cp "$work/good.ini" "$site/qetl.ini"
printf '[pipeline wrong]\ncolumns = id:integer!\ntable = warehouse.a.b\n' >>"$site/qetl.ini"
kill -HUP "$supervisor"
like 'so is one that only the target finds fault with' "$(qetlctl check 2>&1)" 'a SQLite warehouse has no schemas'
ok '... in the words of check' wait_for 60 log_has 'a SQLite warehouse has no schemas'
cp "$work/good.ini" "$site/qetl.ini"
ok '... and the old one stays' timeout 60 qetlctl submit added "$work/three.csv" --wait
workers() { [ "$(qetlctl --json workers | jq '[.workers[] | select(.alive and .role == "worker")] | length')" = "$1" ]; }
sed -i 's/^slots = 1/slots = 3/' "$site/qetl.ini" && kill -HUP "$supervisor"
ok 'more slots are started' wait_for 60 workers 3
sed -i 's/^slots = 3/slots = 2/' "$site/qetl.ini" && kill -HUP "$supervisor"
ok '... and fewer are kept' wait_for 60 workers 2
# the ini loses a pipeline that has jobs
gone=$(submit added "$work/three.csv" --at 2s)
sed -i '/^.pipeline added/,$d' "$site/qetl.ini" && kill -HUP "$supervisor"
ok 'a job of a pipeline that is gone dies' wait_for 60 job_is "$gone" dead
like '... and says of which' "$(field "$gone" error)" "added"
begin=$(now_ms)
kill "$supervisor"
ok 'SIGTERM ends all' wait_for 60 ended "$supervisor"
ok '... soon when there is nothing to finish' test $(($(now_ms) - begin)) -lt 20000
is '... cleanly' "$(wait "$supervisor"; echo $?)" 0
is '... and nobody is left in the registry' "$(queue_sql 'SELECT count(*) FROM worker WHERE ended IS NULL')" 0
stop_roles

# ---- drain ----
new_site <<INI
$pipelines
[pipeline late]
columns = id:integer!
table   = warehouse.late
backoff = 1h
[pipeline keyed]
columns = id:integer!, v:text
table   = warehouse.keyed
mode    = upsert
key     = id
backoff = 1h
INI
qetlctl init >/dev/null
drain
is 'drain of nothing: 0' $? 0
submit p "$work/three.csv" >/dev/null
drain
is 'drain of a job that is loaded: 0' $? 0
submit p "$work/nowhere.csv" >/dev/null
drain
is 'drain of a job that dies: 1' $? 1
like '... and says how many' "$(cat "$work/drain")" '1 job died, 0 still wait'
drain
is 'what died before it does not count' $? 0
qetlctl submit p "$work/three.csv" --at 3s >/dev/null
drain 60s
is 'a job that is due within --max-wait is waited for: 0' $? 0
far=$(submit p "$work/three.csv" --at 1h)
begin=$(now_ms)
drain
is 'a job that is due later is not: 1' $? 1
ok '... and drain ends at once' test $(($(now_ms) - begin)) -lt 20000
qetlctl cancel "$far" >/dev/null
qetlctl pause p >/dev/null
held=$(submit p "$work/three.csv")
drain
is 'a paused pipeline: 1' $? 1
is '... its job waits' "$(state "$held")" ready
qetlctl resume p >/dev/null
qetlctl cancel "$held" >/dev/null
# a staged job waits in its lane for an older one that will be tried in an hour
csv id,v 1,new >"$work/new.csv"
first=$(submit keyed http://127.0.0.1:9/x.csv)
second=$(submit keyed "$work/new.csv")
begin=$(now_ms)
drain
is 'a staged job that waits for one that will not run: 1' $? 1
ok '... and drain ends all the same' test $(($(now_ms) - begin)) -lt 20000
is '... with both waiting' "$(state "$first") $(state "$second")" 'ready staged'
qetlctl cancel "$first" >/dev/null
drain
is '... and the younger is loaded when the older is given up' "$(state "$second")" loaded
# a loader that waits for its target keeps the drain going: who submits meanwhile is not left alone
printf '[target lake]\nurl = sqlite://%s/drained/lake.db\n[pipeline l]\ncolumns = id:integer!\ntable = lake.l\n' "$work" >>"$site/qetl.ini"
ln -s /nowhere/at/all "$work/drained"
there=$(submit l "$work/three.csv")
drain 50s &
drained=$!
ok 'a drain waits for a target that is away' wait_for 60 away
late=$(submit p "$work/three.csv")
ok '... and works on what is submitted meanwhile, though its workers had nothing left' wait_for 60 job_is "$late" loaded
rm "$work/drained"
mkdir "$work/drained"
wait "$drained"
is '... until all is done: 0' "$? $(state "$there")" '0 loaded'
submit p "$work/three.csv" >/dev/null
qetl drain --max-wait soon 2>"$work/drain"
is 'a wrong --max-wait: 2' $? 2
like '... and says so' "$(cat "$work/drain")" "max-wait.*soon"
drain

# ---- order ----
new_site <<INI
[pipeline keyed]
columns = id:integer!, v:text
table   = warehouse.keyed
mode    = upsert
key     = id
[pipeline whole]
columns = id:integer!, v:text
table   = warehouse.whole
mode    = replace
backoff = 100ms
[pipeline both]
attempts = 1
[pipeline both.a]
member  = a.csv
columns = id:integer!
table   = warehouse.a
mode    = replace
[pipeline both.b]
member  = b.csv
columns = id:integer!
table   = warehouse.b
[pipeline p]
columns = id:integer!
table   = warehouse.p
INI
qetlctl init >/dev/null
for i in $(seq 12); do
    csv id,v "1,$i" "$((i + 1)),own" >"$work/k$i.csv"
    submit keyed "$work/k$i.csv" >/dev/null
    submit whole "$work/k$i.csv" >/dev/null
done
sed -i 's/^slots = 1/slots = 3/' "$site/qetl.ini"
drain
is 'upserts and replaces by three workers: 0' $? 0
is 'upsert: the newest job won' "$(sql 'SELECT v FROM keyed WHERE id = 1') $(sql 'SELECT count(*) FROM keyed')" '12 13'
is 'replace: the newest file is there, whole' "$(sql "SELECT group_concat(id || v, ' ') FROM whole")" '112 13own'
is 'each job is loaded or superseded' "$(qetlctl --json status | jq -c '[.pipelines[] | .loaded + .superseded]')" '[12,12]'
old=$(submit whole "$work/not-yet.csv")
drain 1s
cp "$work/k1.csv" "$work/not-yet.csv"
submit whole "$work/k12.csv" >/dev/null
drain
qetlctl retry "$old" >/dev/null
drain
is 'an older replace that comes late is superseded' "$(state "$old") $(sql 'SELECT count(*) FROM whole WHERE v = 12')" 'superseded 1'
mkdir "$work/two" && csv id 1 >"$work/two/a.csv" && csv id 7 >"$work/two/b.csv"
old=$(submit both "$work/two.tar")
drain
tar -C "$work/two" -cf "$work/two.tar" a.csv b.csv
submit both "$work/two.tar" >/dev/null
drain
qetlctl retry "$old" >/dev/null
drain
is 'one that also appends is not: its rows would be lost in silence' "$(state "$old") $(field "$old" error_code)" 'dead overtaken'
# one worker, one job at a time: the order of claims is the order of priorities
sed -i 's/^slots = 3/slots = 1/; s/^poll = .*/&\nclaim_batch = 1/' "$site/qetl.ini"
low=$(submit p "$work/three.csv" --priority 1)
mid=$(submit p "$work/three.csv" --priority 5)
top=$(submit p "$work/three.csv" --priority 9)
drain
is 'greater priority first' "$(queue_sql "SELECT group_concat(job) FROM (SELECT job FROM attempt WHERE kind = 'work' AND job >= $low ORDER BY started, rowid)" 2>/dev/null ||
    queue_sql "SELECT group_concat(id) FROM (SELECT id FROM job WHERE id >= $low ORDER BY started, priority DESC)")" "$top,$mid,$low"

# ---- the target is away ----
new_site <<<"$pipelines"
qetlctl init >/dev/null
qetlctl run p "$work/three.csv" >/dev/null
start_role all
supervisor=$role_pid
(echo 'BEGIN EXCLUSIVE;'; wait_for 30 test -e "$work/let-go"; echo 'COMMIT;') | sqlite3 "$site/warehouse.db" &
holder=$!
held=$(submit p "$work/three.csv")
ok 'another program holds the warehouse: its job waits' wait_for 60 log_has 'the target is away; its jobs wait'
is '... staged or loading, not dead' "$(state "$held" | grep -Ec 'staged|loading')" 1
like '... and says why' "$(qetlctl --json errors "$held" | jq -r '.errors[0].message')" 'locked|held|busy'
touch "$work/let-go"
wait "$holder"
ok '... and is loaded when it lets go' wait_for 30 job_is "$held" loaded
is '... once' "$(sql 'SELECT count(*) FROM p')" 6
kill "$supervisor" && wait "$supervisor"
mv "$site/warehouse.db" "$site/elsewhere.db" && mkdir "$site/warehouse.db"
start_role all
held=$(submit p "$work/three.csv")
ok 'the warehouse is no file: its job waits' wait_for 60 bash -c "[ \$(qetlctl --json errors $held | jq '.errors | length') -gt 0 ]"
is '... staged or loading' "$(state "$held" | grep -Ec 'staged|loading')" 1
rmdir "$site/warehouse.db" && mv "$site/elsewhere.db" "$site/warehouse.db"
ok '... and is loaded when it is back' wait_for 30 job_is "$held" loaded
is '... once' "$(sql 'SELECT count(*) FROM p')" 9
stop_roles

# ---- a killed loader ----
new_site <<<"$pipelines"
qetlctl init >/dev/null
held=$(submit p "$work/three.csv")
start_role worker
QETL_FAULT=loader-before-record:kill start_role loader
committed() { [ "$(sql 'SELECT count(*) FROM p')" = 3 ]; }
ok 'a loader dies behind its commit' wait_for 60 committed
mapfile -t slots < <(children "$role_pid")
kill -9 "$role_pid" "${slots[@]}"
start_role loader
crashed_once() { [ "$(queue_sql "SELECT count(*) FROM attempt WHERE kind = 'load' AND outcome = 'crashed'")" -ge 1 ]; }
begin=$(now_ms)
ok 'the next one takes over' wait_for 60 job_is "$held" loaded
took=$(($(now_ms) - begin))
ok "... long before the lease runs out ($took ms)" test "$took" -lt 20000
ok '... as a crash that is written down' crashed_once
unlike '... which is no trouble of the loaded job any more' "$(qetlctl show "$held" | head -n 12; qetlctl jobs | grep "^ *$held ")" '^error|crashed$'
is '... and the rows are there once' "$(sql 'SELECT count(*) FROM p') $(field "$held" rows_loaded)" '3 3'
stop_roles

# ---- several targets ----
new_site <<INI
[target lake]
url = sqlite://$work/lake/lake.db
[pipeline p]
columns = id:integer!
table   = warehouse.p
[pipeline l]
columns = id:integer!
table   = lake.l
INI
ln -s /nowhere/at/all "$work/lake"
qetlctl init >/dev/null
start_role all
here=$(submit p "$work/three.csv")
there=$(submit l "$work/three.csv")
ok 'a target that is away holds back only its own jobs' wait_for 60 job_is "$here" loaded
ok '... which wait' wait_for 60 away
is '... staged, with no try lost' "$(state "$there") $(field "$there" attempts)" 'staged 1'
like '... status says which, since when and why' "$(qetlctl status)" '^lake +20.* 1 +target +.*lake'
is '... and how many jobs wait' "$(qetlctl --json status | jq -r '.targets_away[0] | "\(.target) \(.staged)"')" 'lake 1'
like '... explain says so, too' "$(qetlctl explain "$there")" "target 'lake' is away"
is 'each target has a loader process of its own' "$(qetlctl --json workers | jq -r '[.workers[] | select(.role == "loader") | .name] | sort | join(" ")')" \
    'loader.lake loader.warehouse'
rm "$work/lake"
mkdir "$work/lake"
ok 'once it is there, the jobs go on' wait_for 60 job_is "$there" loaded
is '... and status has nothing to say' "$(qetlctl --json status | jq '.targets_away | length')" 0
sed -i '/^\[target lake\]/a loaders = 2' "$site/qetl.ini"
kill -HUP "$role_pid"
loaders() { [ "$(qetlctl --json workers | jq -r '[.workers[] | select(.role == "loader") | .name] | sort | join(" ")')" = "$1" ]; }
ok 'a reload with loaders = 2 starts a second process' wait_for 60 loaders 'loader.lake.1 loader.lake.2 loader.warehouse'
sed -i '/^loaders = 2/d' "$site/qetl.ini"
kill -HUP "$role_pid"
ok '... and one without ends it' wait_for 60 loaders 'loader.lake loader.warehouse'
again=$(submit l "$work/three.csv")
ok '... and jobs are loaded as before' wait_for 60 job_is "$again" loaded
stop_roles

# ---- systemd ----
new_site <<<"$pipelines"
qetlctl init >/dev/null
python3 - "$work/notify" >"$work/notified" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(30)
while True:
    print(s.recv(4096).decode().replace("\n", " "), flush=True)
PY
listener=$!
roles="$roles $listener"
wait_for 60 test -S "$work/notify"
NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=1000000 "$bin/qetl" worker 2>>"$site/worker.log" &
role_pid=$!
roles="$roles $role_pid"
said() { grep -q "$1" "$work/notified"; }
ok 'READY=1 is said' wait_for 60 said '^READY=1'
ok 'WATCHDOG=1 is said again and again' wait_for 60 bash -c "[ \$(grep -c '^WATCHDOG=1' $work/notified) -ge 3 ]"
kill -HUP "$role_pid"
ok 'RELOADING=1 is said' wait_for 60 said '^RELOADING=1'
kill "$role_pid"
ok 'STOPPING=1 is said' wait_for 60 said '^STOPPING=1'
stop_roles
done_testing
