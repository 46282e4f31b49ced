#!/bin/bash
# Rejects with a life: looked at, mended by hand, and read again by the mended ini, exactly once, whoever is killed on the way.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need iconv libc-bin
need bsdtar libarchive-tools
SLOTS=1 LEASE=5s HEARTBEAT=200ms
loaded() { [ "$(state "$1")" = loaded ]; }
fails() { # NAME STATUS REGEX COMMAND...
    local name=$1 status=$2 regex=$3 rc
    shift 3
    "$@" >"$work/out" 2>"$work/err"
    rc=$?
    is "$name: exit $status, nothing on standard output" "$rc $(cat "$work/out")" "$status "
    like '... and says why' "$(cat "$work/err")" "$regex"
}
mend() { sed -i "$1" "$site/qetl.ini"; }
rejects_in() { qetlctl rejects export "$1" --format jsonl; }

# ---- a delivery with amounts that nobody expected ----
new_site <<INI
[pipeline orders]
columns = id:integer!, placed:date, amount:decimal(2), note:text?, source from _source, member from _member, line:integer from _line, job from _job, day from _param.day
table   = warehouse.orders
member  = *.csv
max_rejects = 70%
INI
cat >"$work/north.csv" <<'CSV'
id;placed;amount;note
1;2026-11-20;19.90;
2;2026-11-20;5,50;"two;
lines"
3;2026-11-21;7,25;
4;20.11.2026;1.00;
5;2026-11-21;1.00;
CSV
printf 'note;amount;id;placed\n;2,00;6;2026-11-21\n\344;1.00;7;2026-11-21\n;3.00;8;2026-11-21\n' >"$work/south.csv"
(cd "$work" && bsdtar -a -cf delivery.zip north.csv south.csv)
qetlctl run orders "$work/delivery.zip" -p day=friday >"$work/out" 2>&1
like 'a delivery with faults: what is good is loaded' "$(cat "$work/out")" '8 rows read, 3 loaded, 5 rejected'
is 'list: how many, and why' "$(qetlctl --json rejects list | jq -c '.jobs[] | [.job, .pipeline, .state, .rejects, (.reasons | map("\(.reason) \(.rows)")), .replay]')" \
    '[1,"orders","loaded",5,["encoding 1","not-decimal 3","not-date 1"],0]'
like '... with words for people' "$(qetlctl rejects list)" "1 +orders +loaded .* 5 +encoding 1, not-decimal 3, not-date 1 +member 'north.csv', line 3, .* - +-$"
is '... of another pipeline, or of long ago: none' "$(qetlctl --json rejects list --since 2099-01-01T00:00:00Z)" '{"jobs":[]}'
fails 'a word that is nothing to do' 2 "rejects shw: expected list, show, export or replay; did you mean 'show'" qetlctl rejects shw 1
fails '... two jobs' 2 'rejects show wants one job' qetlctl rejects 1 2
fails '... of no pipeline' 5 "did you mean 'orders'" qetlctl rejects list --pipeline order
is 'show: a table' "$(qetlctl rejects show 1 | awk 'NR > 1 { print $1, $2, $3, $NF }' | sed "s|file://||; s|$work/||" | tr '\n' ' ')" \
    '3 not-decimal amount delivery.zip 5 not-decimal amount delivery.zip 6 not-date placed delivery.zip 2 not-decimal amount delivery.zip 3 encoding - delivery.zip '
is '... cut where it is asked to' "$(qetlctl rejects 1 --limit 2 2>"$work/err" | wc -l) $(cat "$work/err")" \
    '3 qetlctl: the first 2 of 5 refused rows; --limit 0 shows all'
fails 'export: two headers are no file' 2 "north.csv' and 'south.csv' .*--member" qetlctl rejects export 1
is '... one is: as it stood there, with its header' "$(qetlctl rejects export 1 --member north.csv)" "$(sed -n '1p;3,6p' "$work/north.csv")"
ok '... byte for byte' cmp <(qetlctl rejects export 1 --member south.csv) <(sed -n '1,3p' "$work/south.csv")
qetlctl rejects export 1 --format csv --member south.csv >"$work/table.csv"
is '... as CSV, each with its reason' "$(sqlite3 :memory: -cmd ".import --csv $work/table.csv t" 'SELECT "table", reason, "column", value, member, line FROM t')" \
    'warehouse.orders|not-decimal|amount|2,00|south.csv|2
warehouse.orders|encoding||'$'\357\277\275'';1.00;7;2026-11|south.csv|3'

# ---- the rule is mended: only those rows run again ----
mend 's/^max_rejects = .*/max_rejects = 1%, 10\ndecimal_point = ","/'
is 'replay: a new job of the same pipeline' "$(qetlctl --json rejects replay 1 | jq -c '[.id, .rows]')" '[2,5]'
fails '... and only one' 1 'job 2 replays the rejects of job 1 already, and is ready' qetlctl rejects replay 1
qetl drain 2>/dev/null
is '... loads those that the rule was about' "$(qetlctl --json show 2 | jq -c '.job | [.state, .rows_read, .rows_loaded, .rows_rejected]')" \
    '["loaded",5,3,2]'
is '... with the place that they came from, and the parameters' \
    "$(sql "SELECT id, amount, replace(replace(note, char(10), '/'), ';', '+'), replace(source, '$work', ''), member, line, job = '$(field 2 uid)', day FROM orders WHERE id IN (2, 3, 6) ORDER BY id")" \
    "2|5.5|two+/lines|/delivery.zip|north.csv|3|1|friday
3|7.25||/delivery.zip|north.csv|5|1|friday
6|2||/delivery.zip|south.csv|2|1|friday"
is '... what it refused is its own, at the old place' "$(rejects_in 2 | jq -c '[.reason, .member, .line, .row]')" \
    '["not-date","north.csv",6,"4;20.11.2026;1.00;"]
["encoding","south.csv",3,"�;1.00;7;2026-11-21"]'
fails '... the first are done' 1 'job 2 replays the rejects of job 1 already, and is loaded' qetlctl rejects replay 1
is 'list tells who reads whose' "$(qetlctl --json rejects list | jq -c '.jobs[] | [.job, .replay, .replay_state, .replay_of]')" '[2,0,null,1]
[1,2,"loaded",0]'
like '... and show' "$(qetlctl show 1; qetlctl show 2)" 'rejects +5 .*replayed by job 2, which is loaded'
mend 's/placed:date/placed:date(%d.%m.%Y)/; s/^decimal_point.*//; s/^member /encoding = latin1\nmember /'
start_role worker
start_role loader
qetlctl rejects replay 2 --wait >"$work/out" 2>&1
stop_roles
is 'what was refused again is read again in its turn' "$(sql 'SELECT id, placed, note FROM orders WHERE id IN (4, 7)')" '4|2026-11-20|'
is '... and what is left has one reason less' "$(rejects_in 3 | jq -c '[.reason, .line]')" '["not-date",3]'
is 'each row is there once' "$(sql 'SELECT count(*), count(DISTINCT id) FROM orders')" '7|7'

# ---- mended by hand ----
qetlctl rejects export 3 | sed 's/2026-11-21$/21.11.2026/' >"$work/mended.csv"
qetlctl run orders "$work/mended.csv" -p day=friday >/dev/null 2>&1
is 'a row that was mended in an editor is loaded from its file' "$(sql 'SELECT id, placed, note FROM orders WHERE id = 7')" '7|2026-11-21|ä'

# ---- what cannot be ----
fails 'a job that is not there' 5 'there is no job' qetlctl rejects show 99
fails 'a job without rejects' 1 'job 4 has no rejects' qetlctl rejects replay 4
qetlctl submit orders "rejects:$(field 1 uid)" >/dev/null
qetl drain 2>/dev/null
is 'a URI of that form, by hand, is a file that nobody has' "$(qetlctl --json jobs --limit 1 | jq -r '.jobs[0].error_code')" fetch-missing
mend 's/^max_rejects.*/mode = replace/'
id=$(qetlctl --json rejects list | jq '.jobs[0].job')
fails 'a table that is replaced as a whole' 1 'mode = replace.*submit the object again' qetlctl rejects replay "$id"
mend 's/^mode = replace/max_rejects = 0/'
printf 'id;placed;amount\nx;1;1\n' >"$work/dead.csv"
dead=$(qetlctl --json submit orders "$work/dead.csv" | jq .id)
qetl drain 2>/dev/null
fails 'a job that died of them' 1 "job $dead is dead.*qetlctl retry $dead" qetlctl rejects replay "$dead"

# ---- encodings and forms: the file that export writes is one that the pipeline reads ----
new_site <<INI
[pipeline wide]
encoding = utf-16
skip_lines = 1
columns = id:integer!, name
table   = warehouse.wide
max_rejects = 9
[pipeline deep]
records = answer.items
columns = id:integer!, name
table   = warehouse.deep
max_rejects = 9
[pipeline lines]
columns = id:integer!, name
table   = warehouse.lines
max_rejects = 9
[pipeline program]
command = ./some.sh
format  = jsonl
columns = id:integer!, name
table   = warehouse.program
max_rejects = 9
INI
{ printf '\xff\xfe' && printf 'Bericht\nid,name\n1,ä\nx,€😀\n' | iconv -t utf-16le; } >"$work/wide.csv"
printf '{"n":2,"answer":{"items":[{"id":1,"name":"a"},\n{"id":"x",\n"name":"b"},{"id":"x3"}]}}' >"$work/deep.json"
printf '{"id":1,"name":"a"}\n{"id":"x","name":"b"}\n' >"$work/lines.jsonl"
printf '#!/bin/sh\necho '\''{"id": 1, "name": "a"}'\''\necho '\''{"id": "x", "name": "b"}'\''\n' >"$site/some.sh"
chmod +x "$site/some.sh"
for case in wide:wide.csv deep:deep.json lines:lines.jsonl; do
    qetlctl run "${case%:*}" "$work/${case#*:}" >/dev/null 2>&1
    job=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
    qetlctl rejects export "$job" >"$work/out-${case#*:}"
    qetlctl run "${case%:*}" "$work/out-${case#*:}" >/dev/null 2>&1
    is "${case%:*}: what was exported gives the same rejects" "$(rejects_in $((job + 1)) | jq -c '[.reason, .value, .row]')" "$(rejects_in "$job" | jq -c '[.reason, .value, .row]')"
done
ok 'utf-16 stays utf-16' cmp "$work/out-wide.csv" <(printf '\xff\xfe' && printf '\nid,name\nx,€😀\n' | iconv -t utf-16le)
qetlctl run program >/dev/null 2>&1
job=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
mend 's/id:integer!/id:text!/'
qetlctl rejects replay "$job" >/dev/null
qetl drain 2>/dev/null
is 'the rows of a program are read again without it' "$(sql 'SELECT id, name FROM program')" '1|a
x|b'

# ---- many of them, in a file, and a worker or loader that is killed ----
{ echo id,n && seq 30000 | awk '{ print $1 % 2 ? $1 : "x" $1; }' | sed 's/$/,some text to make it long enough/'; } >"$work/many.csv"
point() { # POINT ROLE
    new_site <<INI
[limits]
crashes = 100
[pipeline t]
columns = id:integer!, n, line:integer from _line
table   = warehouse.t
max_rejects = 100000
backoff = 100ms
INI
    qetlctl run t "$work/many.csv" >/dev/null 2>&1
    mend 's/id:integer!/id:text!/'
    local replay other=worker
    [ "$2" = worker ] && other=loader
    replay=$(qetlctl --json rejects replay 1 | jq .id)
    start_role $other
    QETL_FAULT="$1:kill" start_role "$2"
    ok "$1: the fault was met" wait_for 60 grep -q 'a process died' "$site/$2.log"
    kill -9 "$role_pid"
    start_role "$2"
    ok "$1: the rejects are loaded afterwards" wait_for 60 loaded "$replay"
    is "$1: each row is there once, with its line" "$(sql "SELECT count(*), count(DISTINCT id), sum(line), sum(replace(id, 'x', '') + 1 = line) FROM t")" '30000|30000|450045000|30000'
    stop_roles
}
for p in stage-before-rename worker-after-job; do point $p worker; done
for p in target-before-commit target-after-commit loader-before-record; do point $p loader; done
is 'nothing to replay is left, whoever asks' "$(qetlctl rejects replay 1 2>&1 | grep -c 'already, and is loaded')" 1

# ---- who submits a replay is killed: it is there as a whole, or not at all ----
for p in queue-before-commit queue-after-commit; do
    new_site <<INI
[pipeline t]
columns = id:integer!
table   = warehouse.t
max_rejects = 10
INI
    printf 'id\n1\nx\n' >"$work/few.csv"
    qetlctl run t "$work/few.csv" >/dev/null 2>&1
    { (QETL_FAULT=$p:kill qetlctl rejects replay 1) >/dev/null 2>&1; } 2>/dev/null
    made=$(queue_sql 'SELECT count(*) FROM job WHERE id = 2')
    is "replay, killed at $p: the job and its mark go together" "$made $(queue_sql 'SELECT count(*) FROM replay')" "$made $made"
done

# ---- undo: rows that a replay loaded are not left behind, to come twice ----
new_site <<INI
[pipeline t]
columns = id:integer!, n:integer
table   = warehouse.t
undo    = 1d
max_rejects = 10
INI
printf 'id,n\n1,1\n2,x\n' >"$work/few.csv"
qetlctl run t "$work/few.csv" >/dev/null 2>&1
mend 's/^columns.*/&\nnull = x/'
qetlctl rejects replay 1 >/dev/null
fails 'undo of a job whose rejects are to be replayed' 1 'job 2, which is ready.*undo or cancel that job first' qetlctl undo 1
ok '... they are' timeout 60 qetl drain
fails '... and of one whose rejects were' 1 'job 2, which is loaded' qetlctl undo 1
qetlctl undo 2 >/dev/null && qetlctl undo 1 >/dev/null
qetlctl run t "$work/few.csv" >/dev/null 2>&1
is '... one behind the other, and what is submitted again is there once' "$(sql 'SELECT id, n FROM t ORDER BY id')" '1|1
2|'

# ---- prune ----
new_site <<INI
[pipeline t]
columns = id:integer!, n
table   = warehouse.t
max_rejects = 100000
INI
qetlctl run t "$work/many.csv" >/dev/null 2>&1
file=$site/spool/rejects/$(field 1 uid).jsonl
ok 'many rejects lie in the spool' test -s "$file"
qetlctl rejects replay 1 >/dev/null
is 'prune leaves them to the job that is to read them' "$(qetlctl --json prune --older 0s | jq .forgotten)" 0
qetlctl cancel 2 >/dev/null
is '... and takes the job with them when it is gone' "$(qetlctl --json prune --older 0s | jq .forgotten) $(queue_sql 'SELECT count(*) FROM replay')" '2 0'
gone() { [ ! -e "$file" ]; }
touch -d '-30 days' "$file"
start_role loader
ok '... the sweep removes the file' wait_for 60 gone
done_testing
