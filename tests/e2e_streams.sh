#!/bin/bash
# Events: what qetlctl emit appended becomes rows once, in order, whoever is killed; late ones go where the ini says; streams are joined.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

segments() { find "$site/spool/streams/$1" -maxdepth 1 -name '*.jsonl' | wc -l; }
numbers() { seq "$1" "$2" | sed 's/.*/{"id":&,"who":"'"${3:-x}"'"}/'; } # FROM TO [WHO]
site_with() { # LINES OF THE PIPELINE...
    new_site <<INI
[limits]
stream = ${QUOTA:-0}
row = 64K
[pipeline clicks]
source  = stream:clicks
columns = id:integer!, who:text
table   = warehouse.clicks
$(printf '%s\n' "$@")
INI
}

# ---- what emit takes ----

site_with
like 'emit says what it did' "$(numbers 1 3 | qetlctl emit clicks)" '^3 lines appended to stream clicks$'
is '... as JSON, too' "$(printf '{"id":4}\r\n\n  {"id":5}' | qetlctl --json emit clicks)" '{"stream":"clicks","lines":2}'
ok 'events of the command line' qetlctl emit clicks -e '{"id":6,
  "who":"pretty"}' -e '{"id":7}'
ok 'a drain loads them' drain
is 'each is a row' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM clicks ORDER BY id)')" 1,2,3,4,5,6,7
is 'nothing was refused' "$(queue_sql 'SELECT sum(rows_rejected) FROM job')" 0
is 'segments that are loaded are gone' "$(segments clicks)" 0
is '... and not remembered' "$(queue_sql 'SELECT count(*) FROM seen')" 0
ok 'a drain with nothing new' drain
is '... makes no job' "$(queue_sql 'SELECT count(*) FROM job')" 1

out=$(numbers 1 2 | qetlctl emit click 2>&1)
is 'a stream of another name is not made' $? 5
like '... the nearest is named' "$out" "stream:click; did you mean 'clicks'"
out=$(printf '{"id":8}\n{"id":9}\n{"id":}\n{"id":10}\n' | qetlctl emit clicks 2>&1)
is 'a bad line ends it' $? 2
like '... which is named, and what was taken before it' "$out" '2 lines were appended, then: line 3: byte 6'
out=$(qetlctl emit clicks -e '{"id":11}' -e '[]' 2>&1)
is 'events of the command line go together' $? 2
like '... the bad one is named' "$out" 'line 2: a JSON object was expected'
head -c 70000 /dev/zero | tr '\0' 'x' | qetlctl emit clicks >"$work/out" 2>&1
is 'a line without an end is refused' $? 2
like '... by its limit' "$(cat "$work/out")" 'line 1: the line is longer than 64'
qetlctl emit 2>/dev/null
is 'a stream must be named' $? 2
is 'what is no line is empty' "$(printf '\n\n' | qetlctl emit clicks)" '0 lines appended to stream clicks'
drain
is 'the good lines are rows' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM clicks WHERE id > 7 ORDER BY id)')" 8,9

# ---- order ----

site_with 'segment_bytes = 1K' 'mode = upsert' 'key = id'
for n in 1 2 3; do numbers 1 300 "$n" | qetlctl emit clicks >/dev/null; done
ok 'many segments' test "$(segments clicks)" -gt 5
drain
is 'are loaded in the order of their lines' "$(sql 'SELECT count(*), min(who), max(who) FROM clicks')" '300|3|3'

# ---- quota ----

QUOTA=2K site_with
numbers 1 60 | qetlctl emit clicks >/dev/null
out=$(numbers 61 120 | qetlctl emit clicks 2>&1)
is 'a stream that has its quota takes no more' $? 4
like '... and says so' "$out" 'nothing was taken: .*\[limits\] stream.*disk-full'
like '... and what helps' "$out" 'where a key of \[limits\] is named'
drain
is 'what it had is loaded' "$(sql 'SELECT count(*) FROM clicks')" 60
out=$(QETL_FAULT=segment-sync:1:error qetlctl emit clicks -e '{"id":62}' 2>&1)
is 'a sync that fails is a failure' $? 1
like '... which says what is not certain' "$out" '1 line was appended, and may not be on disk: .*\[io\]'
out=$({ numbers 100 130; head -c 3000 /dev/zero | tr '\0' ' '; numbers 131 200; } | qetlctl emit clicks 2>&1)
like 'a quota in the middle: what was before it is told' "$out" '^qetlctl: [0-9]+ lines were appended, then: nothing was taken'
drain
ok 'then there is room' qetlctl emit clicks -e '{"id":61}'

# ---- emitters that are killed, and many at once ----

site_with 'segment_bytes = 20K'
for w in 1 2 3 4; do numbers "$((w * 10000))" "$((w * 10000 + 1999))" "$w" | qetlctl emit clicks >/dev/null & emitters[w]=$!; done
wait "${emitters[@]}"
acked=0
for w in 5 6 7; do
    mkfifo "$work/pipe$w"
    qetlctl emit --ack clicks <"$work/pipe$w" >"$work/ack$w" &
    emitter=$!
    exec 7>"$work/pipe$w"
    numbers "$((w * 10000))" "$((w * 10000 + 99))" "$w" >&7
    wait_for 60 grep -qx 100 "$work/ack$w"
    (numbers "$((w * 10000 + 100))" "$((w * 10000 + 9999))" "$w" >&7) 2>/dev/null &
    feeder=$!
    wait_for 60 test "$(tail -n 1 "$work/ack$w")" -ge 100
    kill -9 "$emitter"
    exec 7>&-
    wait "$emitter" "$feeder" 2>/dev/null
    acked=$((acked + $(tail -n 1 "$work/ack$w")))
done
ok 'an emitter after them' qetlctl emit clicks -e '{"id":1,"who":"last"}'
drain
is 'no line is torn or glued' "$(queue_sql 'SELECT sum(rows_rejected) FROM job')" 0
is 'all of those that ended well are there' "$(sql "SELECT count(*), count(DISTINCT id) FROM clicks WHERE who IN ('1', '2', '3', '4', 'last')")" '8001|8001'
ok 'all that was acknowledged is there' test "$(sql "SELECT count(*) FROM clicks WHERE who IN ('5', '6', '7')")" -ge "$acked"
is 'and nothing twice' "$(sql 'SELECT count(*) - count(DISTINCT id) FROM clicks')" 0

site_with 'segment_bytes = 2K'
wanted=0
for point in segment-append:1 segment-wrote:1 segment-sync:1 segment-close:1 segment-closed:1; do
    numbers 1 1 "$point" | qetlctl emit clicks >/dev/null
    wanted=$((wanted + 1))
    { for n in 1 2 3 4; do numbers 1 20 "$point-$n"; done | QETL_FAULT=$point:kill qetlctl emit clicks; } >/dev/null 2>&1
    numbers 2 2 "$point" | qetlctl emit clicks >/dev/null
    wanted=$((wanted + 1))
done
drain
is 'killed at each point: whole lines' "$(queue_sql 'SELECT coalesce(sum(rows_rejected), 0) FROM job')" 0
is '... those before and after are there once' "$(sql "SELECT count(*) FROM clicks WHERE who NOT LIKE '%-_'")" "$wanted"
is '... none of the others twice' "$(sql "SELECT count(*) - count(DISTINCT id || who) FROM clicks")" 0

# ---- the way to the table, killed ----

site_with 'segment_bytes = 1K' 'backoff = 100ms' '[limits]' 'crashes = 1000'
count=0
for point in segment-close segment-closed worker-after-job target-before-commit target-after-commit loader-before-record \
    loader-after-record after-renamed; do
    numbers "$((count + 1))" "$((count + 100))" | qetlctl emit clicks >/dev/null
    count=$((count + 100))
    : >"$site/all.log"
    QETL_FAULT=$point:kill start_role all
    ok "$point: somebody dies there" wait_for 60 grep -q 'a process died' "$site/all.log"
    kill -9 "$role_pid"
done
drain
is 'killed at each point of the way: each line once' "$(sql 'SELECT count(*), count(DISTINCT id), max(id) FROM clicks')" "$count|$count|$count"
is '... and no segment is left' "$(segments clicks)" 0

# ---- two streams joined, killed on the way ----

new_site <<INI
[limits]
crashes = 1000
[pipeline orders]
source = stream:orders
columns = id:integer!, name:text!, amount:decimal(2)!, at:timestamp!
table = warehouse.orders
mode = upsert
key = id
event_time = at
allowed_lateness = 10m
late = warehouse.late_orders
after_load = @file:$srcdir/examples/stream-join/join.sql
segment_bytes = 4K
backoff = 100ms
[pipeline visits]
source = stream:visits
columns = id:text!, name:text!, page:text!, at:timestamp!
table = warehouse.visits
mode = upsert
key = id
event_time = at
allowed_lateness = 10m
after_load = @file:$srcdir/examples/stream-join/join.sql
segment_bytes = 3K
backoff = 100ms
INI
sqlite3 "$site/warehouse.db" <"$srcdir/examples/stream-join/tables.sql"
minutes() { # STREAM FROM TO: an event a minute
    awk -v stream="$1" -v from="$2" -v to="$3" 'BEGIN {
        for (i = from; i <= to; i++) {
            at = sprintf("2024-05-02T%02d:%02d:00Z", int(i / 60), i % 60)
            if (stream == "orders") printf "{\"id\":%d,\"name\":\"u%d\",\"amount\":%d,\"at\":\"%s\"}\n", i, i % 7, i, at
            else printf "{\"id\":\"v%d\",\"name\":\"u%d\",\"page\":\"/%d\",\"at\":\"%s\"}\n", i, i % 5, i, at
        } }'
}
from=0
for point in target-before-commit target-after-commit loader-before-record loader-after-record worker-after-job segment-closed; do
    minutes orders "$from" $((from + 199)) | qetlctl emit orders >/dev/null
    minutes visits "$from" $((from + 199)) | qetlctl emit visits >/dev/null
    from=$((from + 200))
    : >"$site/all.log"
    QETL_FAULT=$point:kill start_role all
    ok "$point: somebody dies there" wait_for 60 grep -q 'a process died' "$site/all.log"
    kill -9 "$role_pid"
done
ok 'an order that comes too late' qetlctl emit orders -e '{"id":9000,"name":"u1","amount":1,"at":"2024-05-01T00:00:00Z"}'
drain
is 'killed at each point: all events are there' "$(sql 'SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM visits)')" '1200|1200'
is '... joined once, those whose time is over' "$(sql 'SELECT count(*), count(DISTINCT order_id), min(order_id), max(order_id) FROM user_orders')" \
    '1189|1189|0|1188'
is '... each with the last visit before it' "$(sql "SELECT count(*) FROM user_orders AS u WHERE u.visited IS NOT (SELECT max(at) FROM visits AS v
    WHERE v.name = u.name AND v.at <= u.ordered AND v.at > datetime(u.ordered, '-30 minutes'))")" 0
is '... or with none' "$(sql 'SELECT count(*) > 100, count(page) > 500 FROM user_orders WHERE page IS NULL OR true')" '1|1'
is '... and the late one beside them' "$(sql 'SELECT id FROM late_orders')" 9000
is 'status tells of it' "$(qetlctl --json status | jq -c '[.watermarks[] | [.pipeline, .watermark, .late]]')" \
    '[["orders","2024-05-02T19:49:00.000Z",1],["visits","2024-05-02T19:49:00.000Z",0]]'

# ---- late rows that are read again ----

new_site <<INI
[pipeline timely]
columns = id:integer!, at:timestamp!
table = warehouse.timely
event_time = at
late = reject
max_rejects = 10
INI
late_rows() { qetlctl --json status | jq -c '[.watermarks[] | .late]'; }
newest() { queue_sql 'SELECT max(id) FROM job'; }
printf 'id,at\n1,2024-05-02T00:00:00Z\n' >"$work/timely.csv"
printf 'id,at\n2,2024-05-01T00:00:00Z\n3,2024-05-01T12:00:00Z\nx,2024-05-01T12:00:00Z\n' >"$work/late.csv"
qetlctl run timely "$work/timely.csv" >/dev/null
qetlctl run timely "$work/late.csv" >/dev/null
is 'late rows are counted' "$(late_rows)" '[2]'
qetlctl rejects replay "$(newest)" >/dev/null
drain
is '... and refused again when they are read again' "$(queue_sql 'SELECT rows_read, rows_rejected FROM job ORDER BY id DESC LIMIT 1')" '3|3'
is '... but counted once' "$(late_rows)" '[2]'
sed -i 's/^late = .*/late = table/; s/^columns = .*/columns = id:text!, at:timestamp!/' "$site/qetl.ini"
sqlite3 "$site/warehouse.db" 'DROP TABLE timely'
qetlctl rejects replay "$(newest)" >/dev/null
drain
is '... also when the rule is mended' "$(sql 'SELECT count(*) FROM timely')" 3
is '... and one that was refused for another reason is new to the count' "$(late_rows)" '[3]'

# ---- no row falls between windows ----

# Jobs are begun before others are loaded: each row is late, or in one window, whatever came first.
hours() { # INI...
    SLOTS=3 new_site <<INI
[pipeline pay]
source = stream:pay
columns = id:integer!, at:timestamp!
table = warehouse.pay
event_time = at
allowed_lateness = 10m
late = warehouse.late
segment_bytes = 1K
backoff = 100ms
after_load = INSERT INTO windows VALUES (:previous_watermark, :watermark);
    INSERT INTO seen SELECT id FROM pay WHERE at >= coalesce(:previous_watermark, '0001') AND at < :watermark
$(printf '%s\n' "$@")
INI
    sqlite3 "$site/warehouse.db" 'CREATE TABLE seen (id INTEGER)' 'CREATE TABLE windows (since, upto)' 'CREATE TABLE pay (id INTEGER, at TEXT)' \
        'CREATE TABLE late (id INTEGER, at TEXT)'
}
books() { # rows in no window though its time is over, in two, late and in one; windows that do not begin where one ended
    sql "SELECT (SELECT count(*) FROM pay WHERE at < (SELECT max(upto) FROM windows) AND id NOT IN (SELECT id FROM seen)),
        (SELECT count(*) - count(DISTINCT id) FROM seen), (SELECT count(*) FROM seen JOIN late USING (id)),
        (SELECT count(*) FROM (SELECT since, lag(upto) OVER (ORDER BY rowid) AS before FROM windows) WHERE since IS NOT before)"
}
hours
qetlctl emit --flush pay -e '{"id":1,"at":"2024-05-02T12:00:00Z"}' >/dev/null
qetlctl emit --flush pay -e '{"id":2,"at":"2024-05-02T11:00:00Z"}' -e '{"id":3,"at":"2024-05-02T15:00:00Z"}' >/dev/null
qetlctl scan pay >/dev/null
start_role worker
ok "two jobs are staged" wait_for 60 queue_is "SELECT count(*) FROM job WHERE state = 'staged'" 2
kill "$role_pid" && wait "$role_pid"
drain
is 'a job that was begun before another was loaded has its rows in a window' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM seen ORDER BY id)')" 1,2
qetlctl emit --flush pay -e '{"id":4,"at":"2024-05-02T13:00:00Z"}' >/dev/null
qetlctl emit --flush pay -e '{"id":5,"at":"2024-05-02T19:00:00Z"}' >/dev/null
drain
is 'one that is begun later has them late' "$(sql 'SELECT id FROM late')" 4
is 'no window leaves a row out, or has one twice' "$(books)" '0|0|0|0'

hours '[limits]' 'crashes = 1000'
awk 'BEGIN { srand(7); for (i = 1; i <= 3000; i++) { t = i + int(rand() * 60) - 30; if (t < 0) t = 0
    printf "{\"id\":%d,\"at\":\"2024-05-%02dT%02d:%02d:00Z\"}\n", i, 2 + int(t / 1440), int(t % 1440 / 60), t % 60 } }' >"$work/pay.jsonl"
from=1
for point in target-before-commit target-after-commit loader-before-record worker-after-job; do
    : >"$site/all.log"
    QETL_FAULT=$point:3:kill start_role all
    for _ in $(seq 15); do
        sed -n "$from,$((from + 49))p" "$work/pay.jsonl" | qetlctl emit --flush pay >/dev/null
        from=$((from + 50))
    done
    ok "$point, windows: somebody dies there" wait_for 60 grep -q 'a process died' "$site/all.log"
    kill -9 "$role_pid"
done
drain
is 'three workers, out of order, killed: no window leaves a row out, or has one twice' "$(books)" '0|0|0|0'
is '... all rows are there' "$(sql 'SELECT (SELECT count(*) FROM pay) + (SELECT count(*) FROM late)')" 3000
ok '... and some were late' test "$(sql 'SELECT count(*) FROM late')" -gt 0
is '... the last window ends at the watermark' "$(sql "SELECT max(upto) FROM windows")" \
    "$(sql "SELECT datetime(max(at), '-10 minutes') FROM (SELECT at FROM pay UNION ALL SELECT at FROM late)")"

# ---- a scanner that waits ----

site_with 'segment_age = 2s'
start_role scanner
start_role worker
start_role loader
wait_for 60 queue_sql 'SELECT 1 FROM scan'
ok 'an event' qetlctl emit clicks --flush -e '{"id":1}'
ok '... whose segment is flushed is loaded' wait_for 60 rows_are 'SELECT count(*) FROM clicks' 1
ok 'another' qetlctl emit clicks -e '{"id":2}'
ok '... is loaded when its segment is old' wait_for 60 rows_are 'SELECT count(*) FROM clicks' 2
stop_roles

# ---- the ini ----

site_with 'segment_age = 1s' '[pipeline again]' 'source = stream:clicks' 'columns = id:integer' 'table = warehouse.a'
out=$(qetlctl check 2>&1)
is 'a stream has one pipeline' $? 3
like '... which is named' "$out" "stream 'clicks' is taken by pipeline 'clicks'"
site_with '[pipeline again]' 'source = stream:no/folder' 'segment_age = 1s' 'columns = id:integer' 'table = warehouse.a'
like 'a stream has a plain name' "$(qetlctl check 2>&1)" 'expected stream:NAME, with a NAME of letters'
site_with '[pipeline again]' 'source = in/*.csv' 'segment_age = 1s' 'columns = id:integer' 'table = warehouse.a'
like 'only streams have segments' "$(qetlctl check 2>&1)" 'segment_age: expected source = stream:NAME beside it'
done_testing
