#!/bin/bash
# Programs submit: JSON lines in batches, the bare message form, bad lines.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
new_site <<INI
[pipeline a]
source  = $work/{name}.csv
columns = n:integer!
table   = warehouse.a
priority = 3
INI
qetlctl init >/dev/null
printf 'n\n1\n2\n' >"$work/x.csv"

out=$(printf '%s\n' '{"pipeline":"a","objects":["'"$work"'/x.csv"],"priority":7}' '' '{"method": "a", "params": {"name": "x"}}' \
    '{"pipeline":"a","params":{"name":"x"},"unique":"k"}' '{"pipeline":"a","params":{"name":"x"},"unique":"k"}' | qetlctl --json submit -)
is 'lines become jobs; a unique key joins an open one' "$out" '{"submitted":3,"existing":1}'
is 'priority: of the line, else of the pipeline' "$(qetlctl --json jobs | jq -c '[.jobs[].priority]')" '[3,3,7]'
qetl drain 2>/dev/null
is 'drain works them all and exits 0' $? 0
is 'both message forms were loaded' "$(sql 'SELECT count(*), sum(n) FROM a')" '6|9'

refused() { # NAME LINE REGEX
    local out
    out=$(printf '%s\n' '{"method":"a","params":{"name":"x"},"at":"1h"}' "$2" | qetlctl submit - 2>&1)
    is "$1: exit 2 or 5" "$(case $? in 2 | 5) echo yes ;; esac)" yes
    like "$1: says the line and why" "$out" "$3"
}
refused 'not JSON' '{"method":' '1 job was submitted, then: line 2: byte'
refused 'no object' '[1]' 'line 2: a JSON object'
refused 'unknown key' '{"pipeline":"a","parms":{}}' 'line 2: unknown key "parms"'
refused 'unknown pipeline' '{"pipeline":"b"}' "line 2: there is no .pipeline b"
refused 'no pipeline' '{}' 'line 2: no "pipeline"'
refused 'params no object' '{"pipeline":"a","params":[]}' 'must be an object'
refused 'objects no array' '{"pipeline":"a","objects":"x"}' 'must be an array'
refused 'a scheme nobody knows' '{"pipeline":"a","objects":["gopher://x/y"]}' 'gopher'
refused 'a password' '{"pipeline":"a","objects":["http://u:p@x/y"]}' 'password'

refused 'a misspelt parameter' '{"pipeline":"a","params":{"nam":"x"}}' "wants the parameter 'name'.*the source has: name"
refused 'a priority that no pipeline may have' '{"pipeline":"a","params":{"name":"x"},"priority":-1001}' 'from -1000 to 1000'
qetlctl submit a -p nam=x >"$work/out" 2>&1
is 'the same on the command line: exit 2' $? 2
qetlctl submit a -p name=x --priority 1001 >"$work/out" 2>&1
is 'and a priority of 1001' $? 2

# what is queued means the same in every folder
cat >>"$site/qetl.ini" <<INI
[pipeline rel]
source  = in/{name}.csv
columns = n:integer!
table   = warehouse.rel
INI
mkdir "$site/in" "$work/caller"
printf 'n\n5\n' >"$site/in/s.csv"
printf 'n\n7\n' >"$work/caller/c.csv"
(cd "$work/caller" && qetlctl submit rel c.csv && echo '{"pipeline":"rel","objects":["./c.csv"]}' | qetlctl submit - &&
    qetlctl submit rel -p name=s) >/dev/null
(cd / && qetl drain 2>/dev/null)
is 'paths of the caller and of the ini are found by a worker elsewhere' "$(sql 'SELECT count(*), sum(n) FROM rel')" '3|19'
is 'and the queue has them whole' "$(queue_sql "SELECT DISTINCT uri FROM object WHERE uri LIKE '%/_.csv' ORDER BY uri" | grep -v x.csv | sed "s|$work||")" \
    "$(printf '%s\n' /caller/c.csv "${site#"$work"}/in/s.csv")"
# ---- many jobs at once ----
printf 'n\nnot a number\n' >"$work/bad.csv"
printf '{"pipeline":"a","params":{"name":"%s"}}\n' x bad x | qetlctl --json submit - --wait >"$work/out" 2>"$work/said" &
waits=$!
ready_jobs() { [ -n "$(queue_sql "SELECT id FROM job WHERE state = 'ready'")" ]; }
wait_for 60 ready_jobs
qetl drain 2>/dev/null
wait "$waits"
is 'submit - --wait waits for all: exit 1 when one died' "$? $(cat "$work/out")" \
    '1 {"submitted":3,"existing":0,"ready":0,"running":0,"staged":0,"loading":0,"loaded":2,"superseded":0,"dead":1,"cancelled":0,"open":[]}'
like '... and says which' "$(cat "$work/said")" '^qetlctl: job [0-9]+ dead: .*bad.csv'
qetlctl submit - --priority 3 </dev/null 2>"$work/said"
is 'what the lines say is not said on the command line: exit 2' $? 2
dead=$(qetlctl --json jobs --state dead | jq '.jobs[0].id')
loaded=$(qetlctl --json jobs --state loaded | jq '.jobs[0].id')
qetlctl retry 99999 "$loaded" "$dead" >"$work/out" 2>"$work/said"
is 'retry of several: what can be done is done, exit 1' "$? $(cat "$work/out") $(state "$dead")" '1 1 job ready ready'
is '... each of the others is told' "$(grep -Eo "no job '99999'|job $loaded is loaded" "$work/said" | wc -l)" 2
qetlctl cancel 99999 99998 >"$work/out" 2>"$work/said"
is 'cancel of none that is there: exit 5, each told' "$? $(grep -c 'no job' "$work/said")" '5 2'
qetl drain 2>/dev/null

# ---- run works its own job and no other ----
cat >>"$site/qetl.ini" <<INI
[pipeline up]
columns = n:integer!
table   = warehouse.up
mode    = upsert
key     = n
[target gone]
url = sqlite://$site/gone/w.db
[pipeline away]
columns = n:integer!
table   = gone.t
INI
says() { # REGEX: run says so; for as long as it runs
    for _ in $(seq 600); do
        grep -Eq "$1" "$work/said" && return
        kill -0 "$run" 2>/dev/null || return
        sleep 0.1
    done
    return 1
}
id_of() { qetlctl --json submit "$@" | jq .id; }
start_role worker
staged=$(id_of a -p name=x)
for _ in $(seq 600); do [ "$(state "$staged")" = staged ] && break; sleep 0.1; done
stop_roles
ready=$(id_of a -p name=x)
like 'run loads its own job' "$(qetlctl run a "$work/x.csv")" 'loaded: 2 rows read, 2 loaded'
is '... and leaves those of others' "$(state "$staged") $(state "$ready")" 'staged ready'
qetlctl pause a >/dev/null
qetlctl run a "$work/x.csv" >"$work/out" 2>"$work/said" &
run=$!
ok 'run says that its pipeline is paused' says 'job [0-9]+ waits: Its pipeline is paused'
qetlctl resume a >/dev/null
wait "$run"
is '... and goes on' "$? $(state "$ready")" '0 ready'
older=$(id_of up "$work/x.csv")
qetlctl run up "$work/x.csv" >"$work/out" 2>"$work/said" &
run=$!
ok 'run says which older job stands before it' says "waits: The older job $older must be loaded"
qetl drain 2>/dev/null
wait "$run"
is '... and goes on' "$? $(state "$older")" '0 loaded'

# ---- --timeout ----
cat >>"$site/qetl.ini" <<INI
[pipeline stuck]
columns = n:integer!
table   = warehouse.stuck
filter  = sh $work/stuck.sh $work/filtered
INI
printf 'cat >"$1"\nexec sleep 600\n' >"$work/stuck.sh"
timeout 120 qetlctl run away "$work/x.csv" --timeout 10s >"$work/out" 2>"$work/said"
is 'run --timeout: 6 when the target is away all the time' $? 6
like '... with the state, and what explain says' "$(cat "$work/out")" "^job [0-9]+ staged: Its target 'gone' is away.*/gone'"
is '... which was told while it waited, once' "$(grep -c "waits: Its target 'gone' is away" "$work/said")" 1
like '... and what ended it' "$(tail -n 1 "$work/said")" 'the time of --timeout is over, and the job is not: it stays'
away=$(queue_sql 'SELECT max(id) FROM job')
is '... and the job is where it was' "$(state "$away")" staged
timeout 120 qetlctl --json run stuck "$work/x.csv" --timeout 10s >"$work/out" 2>"$work/said"
is 'run --timeout: 6 while a job is being read' $? 6
is '... which is handed back, and counts as no try' "$(jq -c '[.job.state, .job.attempts, .waits != null]' "$work/out") $(grep -c 1 "$work/filtered")" \
    '["ready",0,true] 1'
qetlctl cancel "$(jq .job.id "$work/out")" >/dev/null
is 'one that is over in time: 0' "$(timeout 120 qetlctl run a "$work/x.csv" --timeout 1d12h | cut -d' ' -f3) $?" 'loaded: 0'
timeout 120 qetlctl submit a -p name=x --at 1h --wait --timeout 0s >"$work/out" 2>"$work/said"
is 'submit --wait --timeout: 6, and why it waits' "$? $(grep -Ec '^job [0-9]+ ready: It waits for its time|^job [0-9]+ ready: .*not before' "$work/out")" '6 1'
qetlctl cancel "$(queue_sql 'SELECT max(id) FROM job')" >/dev/null
printf '{"pipeline":"a","params":{"name":"x"},"at":"%s"}\n' 1h 2h | timeout 120 qetlctl --json submit - --wait --timeout 1s >"$work/out" 2>"$work/said"
is 'submit - --wait --timeout: 6, how many are in which state' "$? $(jq -c '[.ready, .loaded, (.open | length), .open[0].state]' "$work/out")" '6 [2,0,2,"ready"]'
is '... and each with what it waits for' "$(jq '[.open[] | select(.waits | test("[a-z]"))] | length' "$work/out")" 2
jq '.open[].id' "$work/out" | xargs qetlctl cancel >/dev/null
qetlctl submit a -p name=x --timeout 1s >"$work/out" 2>"$work/said"
is '--timeout without --wait: exit 2' "$? $(grep -c 'goes with --wait' "$work/said")" '2 1'
qetlctl run a "$work/x.csv" --timeout soon >"$work/out" 2>"$work/said"
is 'a duration that is none: exit 2' "$? $(grep -c "not 'soon'" "$work/said")" '2 1'

qetlctl run away "$work/x.csv" >"$work/out" 2>"$work/said" &
run=$!
ok 'run says that the target is away, and why' says "waits: Its target 'gone' is away.*/gone'"
is '... once, whatever the seconds' "$(grep -c away "$work/said")" 1
mkdir "$site/gone"
wait "$run"
is '... and goes on' $? 0

time_ms() { local a b; a=$(date +%s%3N); "$@"; b=$(date +%s%3N); ms=$((b - a)); }
seq 100000 | sed 's/.*/{"method":"a","params":{"name":"x"},"at":"2h"}/' >"$work/many.jsonl"
time_ms qetlctl submit - <"$work/many.jsonl" >"$work/out"
like 'a hundred thousand jobs' "$(cat "$work/out")" '^100000 jobs submitted'
diag "100000 jobs submitted in $ms ms"
is 'each has its own uid' "$(queue_sql 'SELECT count(DISTINCT uid) FROM job')" "$(queue_sql 'SELECT count(*) FROM job')"
is 'cancel of waiting ones' "$(qetlctl --json cancel $(qetlctl --json jobs --limit 3 | jq '.jobs[].id'))" '{"cancelled":3}'
done_testing
