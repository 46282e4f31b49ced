#!/bin/bash
# The promises, each by a test that fails when it is broken: durable submit, no zombie, no row lost, hostile files, secrets, many
# processes. (Exactly once: crash_points.sh and crash_kill.sh; bounded memory: e2e_memory.sh.)
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
export QETL_TEST_LOG=info
loaded() { [ "$(state "$1")" = loaded ]; }

# ---- 1: a submit that returned success is on disk ----
new_site <<INI
[pipeline t]
columns = id:integer!, amount:decimal(2)
table   = warehouse.t
INI
qetlctl init >/dev/null
"$srcdir/tests/rows.sh" 10 >"$work/ten.csv"
if command -v strace >/dev/null && strace -o "$work/probe" true 2>/dev/null; then
    for how in one lines; do
        case $how in
            one) ASAN_OPTIONS=detect_leaks=0 strace -f -y -e trace=write,pwrite64,fdatasync,fsync -o "$work/trace" qetlctl submit t "$work/ten.csv" >/dev/null ;;
            lines) echo '{"pipeline":"t","objects":["'"$work"'/ten.csv"]}' | ASAN_OPTIONS=detect_leaks=0 strace -f -y -e trace=write,pwrite64,fdatasync,fsync -o "$work/trace" qetlctl submit - >/dev/null ;;
        esac
        # the last bytes of the log, its sync behind them, then the answer
        is "submit ($how): the log is synced behind its last byte and before the answer" "$(awk '
            /pwrite64\([0-9]+<[^>]*queue\.db-wal>/ { wrote = NR; synced = 0 }
            /(fdatasync|fsync)\([0-9]+<[^>]*queue\.db-wal>/ { synced = NR }
            / write\(1</ && !answered { answered = NR; ok = wrote && synced > wrote }
            END { print ok + 0 }' "$work/trace")" 1
    done
else
    diag 'strace is missing or may not trace (apt-get install strace): submit is not watched'
    skip 'no strace' 2
fi

# ---- 4: nothing is dropped in silence ----
new_site <<INI
[pipeline t]
columns = id:integer!, on:date, amount:decimal(2), note:text?
table   = warehouse.t
max_rejects = 100
INI
qetlctl init >/dev/null
{
    printf 'id,on,amount,note\n1,2026-01-01,1.5,good\nx,2026-01-01,1,no integer\n,2026-01-01,1,null\n2,2026-02-30,1,no date\n3,2026-01-01,1.5.5,no decimal\n'
    printf '4\n5,2026-01-01,1,too,many\n6,2026-01-01,1,\xff\xfe\n7,2026-01-01,1,"a\nb"\n99999999999999999999,2026-01-01,1,too great\n8,2026-01-01,1,last\n9,2026-01-01,1,"open\n'
} >"$work/kinds.csv"
qetlctl --json run t "$work/kinds.csv" >"$work/out" 2>&1
is 'read = staged + rejected + filtered' "$(jq -c '.job | [.state, .rows_read, .rows_loaded, .rows_rejected, .rows_filtered, .rows_read == .rows_staged + .rows_rejected + .rows_filtered]' "$work/out")" \
    '["loaded",12,3,9,0,true]'
is 'the good ones are in the table' "$(sql 'SELECT group_concat(id) FROM t')" '1,7,8'
is 'the bad ones are in the rejects, each with its line' "$(qetlctl rejects export 1 --format jsonl | jq -sc 'map(.line)')" '[3,4,5,6,7,8,9,12,14]'
is '... and its reason' "$(qetlctl rejects export 1 --format jsonl | jq -r 'select((.reason | length) == 0) | .line' | wc -l)" 0
is '... and its bytes' "$(qetlctl rejects export 1 --format jsonl | jq -r 'select(.line == 6).row')" '3,2026-01-01,1.5.5,no decimal'
{ echo id,on,amount; awk 'BEGIN { for (i = 1; i <= 40000; i++) print (i % 400 ? i : "bad" i) ",2026-01-01,1" }'; } >"$work/many.csv"
qetlctl --json run t "$work/many.csv" >"$work/out" 2>&1
is 'a hundred rejects among many' "$(jq -c '.job | [.state, .rows_read, .rows_loaded, .rows_rejected]' "$work/out"), $(qetlctl rejects export 2 --format jsonl | jq -r .value | sort -u | wc -l)" \
    '["loaded",40000,39900,100], 100'

# ---- 7: secrets ----
start_service http
start_service faults
stalls() { echo "$FAULTS/$1?n=102000&cut=40000&how=stall"; } # for ever; or only the first time: "$(stalls x)&times=1"
asked() { [ "$(curl -s "$FAULTS/count?of=${1#"$FAULTS"}")" -ge "$2" ]; } # URI TIMES
(umask 077 && echo 'Geheim-4711-xyzzy' >"$work/secret")
LEASE=5s HEARTBEAT=200ms new_site <<INI
[remote http]
url      = $HTTP/
user     = user
password = @file:$work/secret
header   = X-Key: @file:$work/secret
[remote faults]
url      = $FAULTS/
user     = user
password = @file:$work/secret
[remote https]
url      = $HTTPS/
user     = user
password = @file:$work/secret
[pipeline t]
columns = id:integer!, amount:decimal(2)
table   = warehouse.t
attempts = 1
INI
qetlctl init >/dev/null
cp "$work/ten.csv" "$WWW"
start_role worker
start_role loader
qetlctl submit t "$HTTP/auth/ten.csv" --wait >>"$work/said" 2>&1
qetlctl submit t "$HTTPS/files/ten.csv" --wait >>"$work/said" 2>&1
qetlctl submit t "$HTTP/files/ten.csv" --wait >>"$work/said" 2>&1
slow=$(qetlctl --json submit t "$(stalls secrets)" | jq .id)
wait_for 30 asked "$(stalls secrets)" 1
for proc in /proc/[0-9]*; do tr '\0' ' ' 2>/dev/null <"$proc/cmdline"; done >"$work/processes" 2>/dev/null
like 'processes are looked at while one fetches' "$(cat "$work/processes")" "qetl.* worker"
ok '... and is cancelled' qetlctl cancel "$slow"
for verb in status jobs errors workers 'show 1' 'show 2' 'show 3' 'explain 1' check doctor; do
    qetlctl $verb >>"$work/said" 2>&1
    qetlctl --json $verb >>"$work/said" 2>&1
done
stop_roles
is 'a refused password (401) and a certificate failed' "$(queue_sql "SELECT group_concat(code) FROM (SELECT code FROM error ORDER BY job)")" 'fetch-denied,tls'
for place in processes said; do
    is "the password is not in: $place" "$(grep -c xyzzy "$work/$place")" 0
done
is 'the password is not in any log' "$(cat "$site"/*.log | grep -c xyzzy)" 0
is 'the password is not in the database, the spool, the warehouse' "$(find "$site" -type f ! -name '*.log' -print0 | xargs -0 grep -la xyzzy)" ''
# a token that somebody put into a URI must be kept with the job, to fetch it; it is shown nowhere, and goes no further
qetlctl run t "$HTTP/files/ten.csv?token=Zeichen-0815-plugh" >>"$work/said2" 2>&1
token_job=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
for verb in jobs errors "show $token_job" "explain $token_job"; do
    qetlctl $verb >>"$work/said2" 2>&1
    qetlctl --json $verb >>"$work/said2" 2>&1
done
is 'a token in a URI is not shown' "$(grep plugh "$work/said2" | sort -u)" ''
is '... nor kept anywhere but with the job' "$(grep -la plugh "$site"/*.log "$site"/warehouse.db; queue_sql "SELECT uri FROM object WHERE uri LIKE '%plugh%'")" ''

# ---- 3: no zombie wins ----
LEASE=5s HEARTBEAT=200ms new_site <<INI
[pipeline t]
header  = no
columns = id:integer!, version:text
table   = warehouse.t
backoff = 50ms
INI
qetlctl init >/dev/null
printf '1,x\n2,y\n' >"$work/two.csv"
uri="$(stalls zombie)&times=2"
job=$(qetlctl --json submit t "$uri" | jq .id)
start_role worker-1
ok 'a worker is in the middle of a job' wait_for 30 asked "$uri" 1
zombie=$(kid "$role_pid")
kill -STOP "$role_pid" "$zombie"
is '... and stops' "$(state "$job")" running
start_role worker-2
other=$role_pid
ok 'another takes over when the lease ran out' wait_for 40 asked "$uri" 2
holds() { queue_sql "SELECT token, state, worker, (SELECT count(*) FROM attempt) FROM job WHERE id = $job"; }
before=$(holds)
kill -CONT "$zombie" $roles
ok 'the zombie sees that it lost, though somebody runs the job' wait_for 30 grep -q 'lease' "$site/worker-1.log"
is '... and changes nothing' "$(holds)" "$before"
kill -9 "$(kid "$other")"
start_role loader
ok 'a third attempt succeeds' wait_for 40 loaded "$job"
job2=$(qetlctl --json submit t "$work/two.csv" | jq .id)
ok '... and others go on' wait_for 30 loaded "$job2"
is 'attempts are counted as they were' "$(queue_sql "SELECT group_concat(outcome, ' ') FROM (SELECT outcome FROM attempt WHERE job = $job ORDER BY token)")" 'crashed crashed staged loaded'
is 'the rows are there once' "$(sql 'SELECT count(*), count(DISTINCT id) FROM t')" '3002|3000'
stop_roles

# ---- 6: hostile files; the worker lives on ----
HEARTBEAT=200ms new_site <<INI
[limits]
ratio = 200
unpacked = 50M
crashes = 2
[pipeline t]
columns = id:integer!, amount:decimal(2)
table   = warehouse.t
nested  = 3
backoff = 50ms
INI
qetlctl init >/dev/null
mkdir "$work/h"
{ echo id,amount; head -c 40000000 /dev/zero | tr '\0' 1; } >"$work/h/big.csv"
bsdtar -C "$work/h" -a -cf "$work/h/inner.zip" big.csv
for i in 1 2; do bsdtar -C "$work/h" -cf - inner.zip | gzip >"$work/h/bomb$i.tar.gz"; done
bsdtar -C "$work/h" -a -cf "$work/h/bomb.zip" bomb1.tar.gz bomb2.tar.gz
"$srcdir/tests/rows.sh" 3000 >"$work/h/rows.csv"
bsdtar -C "$work/h" -a -cf "$work/h/sizes.zip" rows.csv
python3 - "$work/h/sizes.zip" <<'PY'
import struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
at = data.find(b"PK\x01\x02")
struct.pack_into("<I", data, at + 24, 5)
struct.pack_into("<I", data, 22, 5)
open(sys.argv[1], "wb").write(data)
PY
head -c 300000 /dev/urandom >"$work/h/noise.gz" && printf '\037\213\010\000' | dd of="$work/h/noise.gz" conv=notrunc 2>/dev/null
start_role worker
start_role loader
worker_pid() { queue_sql "SELECT pid FROM worker WHERE role = 'worker'" | grep .; }
ok 'a worker is there' wait_for 30 worker_pid
worker=$(worker_pid)
for file in bomb.zip sizes.zip noise.gz; do
    qetlctl submit t "$work/h/$file" --wait >"$work/out" 2>&1
    is "hostile $file: the job dies with an error" "$?:$(state "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')")" 1:dead
    like '... that names the file' "$(cat "$work/out")" "$file.*\[(limit|archive|truncated|damaged|encoding|format)\]"
done
ok 'a good file after them' qetlctl submit t "$work/ten.csv" --wait
is 'the same worker did it all' "$(queue_sql "SELECT group_concat(pid) FROM worker WHERE role = 'worker'")" "$worker"
is 'no row of theirs is in the table' "$(sql 'SELECT count(*) FROM t')" 10
# a file that kills its reader
poison=$(qetlctl --json submit t "$(stalls poison)" | jq .id)
for i in 1 2; do
    ok "its reader dies, $i" wait_for 30 asked "$(stalls poison)" $i
    kill -9 "$(kid "$worker")"
done
ok 'a job whose reader dies [limits] crashes times is dead' wait_for 30 bash -c "[ \"\$(qetlctl --json show $poison | jq -r .job.state)\" = dead ]"
is '... with class poison, and the signal' "$(queue_sql "SELECT class FROM error WHERE job = $poison ORDER BY id DESC LIMIT 1") $(queue_sql "SELECT group_concat(outcome || signal) FROM attempt WHERE job = $poison")" 'poison crashed9,crashed9'
ok '... and the worker lives on' qetlctl submit t "$work/ten.csv" --wait
stop_roles

# ---- 8: many processes on one queue ----
SLOTS=16 LEASE=60s new_site <<INI
[pipeline t]
columns = id:integer!, amount:decimal(2)
table   = warehouse.t
INI
qetlctl init >/dev/null
start_role worker-1
start_role worker-2
start_role loader
submitters=()
for s in $(seq 8); do
    for i in $(seq 25); do echo '{"pipeline":"t","objects":["'"$work"'/ten.csv"]}'; done | qetlctl submit - >"$work/submit$s" 2>&1 &
    submitters+=($!)
done
failed=0
for pid in "${submitters[@]}"; do wait "$pid" || failed=$((failed + 1)); done
is '8 submitters among 32 slots' $failed 0
all_loaded() { [ "$(queue_sql "SELECT count(*) FROM job WHERE state = 'loaded'")" = "$1" ]; }
ok 'all jobs are loaded' wait_for 90 all_loaded 200
# another program's row: no bell rings, the poll finds it
sqlite3 "$site/queue.db" ".timeout 20000" "INSERT INTO job (uid, pipeline, target, run_at, created, seq, due) VALUES ('ZZZZZZZZZZZZZZZZZZZZZZZZZZ', 't', 'warehouse', 0, 0, 1, 1);
    INSERT INTO job_text (job, objects, params) SELECT id, '[\"$work/ten.csv\"]', NULL FROM job WHERE uid LIKE 'ZZZ%'" >"$work/out" 2>&1 || diag "$(cat "$work/out")"
ok 'that of another program too' wait_for 90 all_loaded 201
is 'each once' "$(sql 'SELECT count(*) FROM t') $(sql 'SELECT count(*) FROM qetl_load') $(queue_sql "SELECT count(*) FROM attempt WHERE kind = 'work'")" '2010 201 201'
stop_roles
is 'nobody saw a locked database' "$(cat "$site"/*.log "$work"/submit* | grep -ci 'locked\|busy')" 0
is 'the queue is sound' "$(queue_sql 'PRAGMA integrity_check')" ok
done_testing
