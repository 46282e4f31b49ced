#!/bin/bash
# A file at a URL becomes rows in a warehouse: what a person does on the first day.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need bsdtar libarchive-tools
start_service http

new_site <<INI
[pipeline orders]
source  = $HTTP/files/{day}.zip
member  = *.csv
columns = id:integer!, placed:timestamp, customer:text, amount:decimal(2), note:text?
null    = "", NA
table   = warehouse.orders
mode    = upsert
key     = id
max_rejects = 2

[pipeline events]
columns = id:integer!, who:text from user.name, first:decimal(2) from items[0].price, tags:json
table   = warehouse.events

[pipeline shop]
[pipeline shop.customers]
member  = customers.csv
columns = id:integer!, name:text!
table   = warehouse.customers
mode    = replace
[pipeline shop.visits]
member  = visits.jsonl
columns = at:timestamp!, customer:integer
table   = warehouse.visits

[pipeline guessed]
table = warehouse.guessed
INI

# ---- first things ----
like 'check says the ini is good' "$(qetlctl check)" 'good; 4 pipelines, 1 target, 0 remotes'
like 'init makes everything' "$(qetlctl init)" '^ready: '
is 'init twice is fine' "$(qetlctl init >/dev/null; echo $?)" 0
is 'status of an empty queue' "$(qetlctl --json status | jq -c .pipelines)" '[]'

# ---- the main job, over HTTP, with a worker and a loader ----
mkdir "$work/in"
printf 'id,placed,customer,amount,note\r\n1,2026-11-20T10:00:00+01:00,"Müller, Ute",12.30,\r\n2,2026-11-20 11:00:00,NA,5,"two\r\nlines"\r\nx,,,,\r\n3,,"say ""hi""",0.05,' >"$work/in/orders.csv"
printf 'read me\n' >"$work/in/readme.txt"
bsdtar -C "$work/in" -a -cf "$WWW/2026-11-20.zip" readme.txt orders.csv
start_role worker
start_role loader
out=$(qetlctl submit orders -p day=2026-11-20 --wait)
is 'submit --wait ends with 0 when the job is loaded' $? 0
like '... and says what came of it' "$out" 'job 1 loaded: 4 rows read, 3 loaded, 1 rejected'
is 'typed rows: UTC, NULL tokens, quotes, embedded newline' "$(sql "SELECT id, placed, customer, amount, replace(note, char(13)||char(10), '|') FROM orders ORDER BY id")" \
    '1|2026-11-20 09:00:00|Müller, Ute|12.3|
2|2026-11-20 11:00:00||5|two|lines
3||say "hi"|0.05|'
is 'NULL is NULL' "$(sql 'SELECT count(*) FROM orders WHERE customer IS NULL AND id = 2 OR placed IS NULL AND id = 3')" 2
is 'the ledger has the job' "$(sql "SELECT count(*) FROM qetl_load WHERE uid = '$(field 1 uid)'")" 1
is 'a reject keeps its reason, place and row' "$(qetlctl --json rejects 1 | jq -c '.rejects[] | [.reason, .column, .value, .member, .line, .row]')" \
    '["not-integer","id","x","orders.csv",5,"x,,,,"]'
is 'the object keeps its ETag' "$(qetlctl --json show 1 | jq -r '.objects[0].etag | length > 3')" true

# ---- again, changed: upsert ----
printf 'id,placed,customer,amount\n3,,new,1\n4,,more,2\n' >"$work/in/orders.csv"
bsdtar -C "$work/in" -a -cf "$WWW/2026-11-21.zip" orders.csv
ok 'a second file with an optional column missing' qetlctl submit orders "$HTTP/files/2026-11-21.zip" --wait
is 'upsert: changed, added, kept' "$(sql "SELECT group_concat(id || customer || amount, ' ') FROM (SELECT id, coalesce(customer,'-') AS customer, amount FROM orders ORDER BY id)")" \
    '1Müller, Ute12.3 2-5 3new1 4more2'

# ---- JSON lines in gz, from a path ----
printf '{"id":1,"user":{"name":"Ute"},"items":[{"price":3.5}],"tags":["a","b"]}\n{"id":2,"user":{},"tags":null}\n' | gzip >"$work/in/events.jsonl.gz"
ok 'JSON lines, nested, from a gz given by path' qetlctl submit events "$work/in/events.jsonl.gz" --wait
is 'nested values became columns' "$(sql 'SELECT id, who, first, tags FROM events')" '1|Ute|3.5|["a","b"]
2|||'

# ---- several tables, all or none ----
printf 'id,name\n7,Ann\n' >"$work/in/customers.csv"
printf '{"at":"2026-01-02T03:04:05Z","customer":7}\n' >"$work/in/visits.jsonl"
bsdtar -C "$work/in" -cf - customers.csv visits.jsonl | xz >"$work/in/shop.tar.xz"
ok 'one archive, two tables' qetlctl submit shop "file://$work/in/shop.tar.xz" --wait
is 'both tables have their rows' "$(sql 'SELECT name, at FROM customers JOIN visits ON visits.customer = customers.id')" 'Ann|2026-01-02 03:04:05'
printf '{"at":"never","customer":7}\n' >"$work/in/visits.jsonl"
printf 'id,name\n8,Bob\n' >"$work/in/customers.csv"
bsdtar -C "$work/in" -a -cf "$work/in/bad.tar.gz" customers.csv visits.jsonl
qetlctl submit shop "$work/in/bad.tar.gz" --wait >/dev/null 2>"$work/err"
is 'a reject too many: exit 1' $? 1
like '... the message has file, member, line, reason' "$(cat "$work/err")" 'bad.tar.gz.*visits.jsonl.*line 1.*never'
is '... and neither table has changed' "$(sql 'SELECT (SELECT group_concat(name) FROM customers), (SELECT count(*) FROM visits)')" 'Ann|1'

# ---- columns found out ----
printf 'code;price;on\n007;1,5;2026-01-01\n008;2,25;2026-01-02\n' >"$work/in/guess.csv"
like 'infer prints a section' "$(qetlctl infer "$work/in/events.jsonl.gz" ev)" '^\[pipeline ev\]'
printf '1;a\n2;b\n' >"$work/in/bare.csv"
qetlctl infer "$work/in/bare.csv" bare --header no --delimiter ';' >"$work/bare.ini"
like 'infer is told that there is no header' "$(cat "$work/bare.ini")" 'columns = [^:]*:integer!, '
like '... and the section says so' "$(cat "$work/bare.ini")" 'header  = no'
like '... and has the delimiter as an ini takes it' "$(cat "$work/bare.ini")" 'delimiter = semicolon'
qetlctl infer "$work/in/bare.csv" bare --header perhaps >/dev/null 2>"$work/err"
is 'a bad value for infer is a wrong call' $? 2
like '... which names the key' "$(cat "$work/err")" 'header'
printf '{"page":1,"data":{"orders":[{"id":1,"who":"a"},{"id":2,"who":null}]}}' >"$work/in/page.json"
{ cat "$QETL_CONFIG" && qetlctl infer "$work/in/page.json" page; } >"$work/page.ini"
like 'infer of one object around the records: proposes records =' "$(grep '^records' "$work/page.ini")" '^records = data.orders$'
like '... and says what it would be as one row' "$(cat "$work/page.ini")" '^# .*columns = page:integer!, data.*orders:json!$'
is '... for programs, too' "$(qetlctl --json infer "$work/in/page.json" | jq -c '[.records, .columns]')" '["data.orders","id:integer!, who:text"]'
QETL_DATABASE=$work/page.db QETL_SPOOL=$work/page-spool qetlctl -c "$work/page.ini" run page >"$work/out" 2>&1
like '... and the section loads them' "$(cat "$work/out")" 'loaded: 2 rows read, 2 loaded'
printf 'id;name;price;on\n1;M\374ller;1,50;24.12.2025\n2;Ann;2,25;31.12.2025\n' >"$work/in/german.csv"
qetlctl infer "$work/in/german.csv" >"$work/german.ini"
like 'infer says that rows could not be read' "$(cat "$work/german.ini")" '^# 1 row could not be read; the first: line 2: bytes that are not UTF-8.*--encoding latin1'
like '... and what would make a number or a date of a text' "$(cat "$work/german.ini")" "^# column 'price' is text; all its values fit decimal_point = ,"
like '... of each column' "$(cat "$work/german.ini")" "^# column 'on' is text; all its values fit date.%d.%m.%Y.$"
qetlctl infer "$work/in/german.csv" --encoding latin1 --decimal-point , >"$work/german.ini"
is '... and is told of both' "$(grep -c 'could not be read\|decimal_point = ,$' "$work/german.ini") $(grep '^columns' "$work/german.ini")" \
    '1 columns = id:integer!, name:text!, price:decimal(2)!, on:text!'
{ cat "$QETL_CONFIG" && sed 's/on:text!/on:date(%d.%m.%Y)!/' "$work/german.ini"; } >"$work/both.ini"
QETL_DATABASE=$work/page.db QETL_SPOOL=$work/page-spool qetlctl -c "$work/both.ini" run german >"$work/out" 2>&1
like '... the section loads the rows' "$(cat "$work/out")" 'loaded: 2 rows read, 2 loaded'
ok 'columns are inferred when none are given' qetlctl submit guessed "$work/in/guess.csv" --wait
is '... with types' "$(sql "SELECT code, \"on\" FROM guessed WHERE code = '007'")" '007|2026-01-01'

# ---- looking ----
is 'status counts' "$(qetlctl --json status | jq -c '.pipelines[] | select(.pipeline == "orders") | [.loaded, .dead, .rows_loaded]')" '[2,0,5]'
is 'jobs lists newest first' "$(qetlctl --json jobs --limit 1 | jq -r '.jobs[0].pipeline')" guessed
is 'errors has the failed one' "$(qetlctl --json errors | jq -r '.errors[0].code')" rejects
died=$(qetlctl --json jobs --state dead --pipeline shop | jq '.jobs[0].id')
is 'its rejects can be looked at' "$(qetlctl rejects export "$died" --format jsonl | jq -r .reason | wc -l) $(qetlctl --json rejects "$died" | jq '.rejects | length')" '1 1'
is '... show counts them, and that nothing was staged' "$(qetlctl --json show "$died" | jq -c '[.job.rows_rejected, .job.rows_staged, .outputs[0].kind, .outputs[0].rows]')" '[1,0,"rejects",1]'
is 'workers are registered' "$(qetlctl --json workers | jq -c '[.workers[] | select(.alive) | .role] | sort')" '["loader","worker"]'
is '... with what they did' "$(qetlctl --json workers | jq '[.workers[] | select(.role == "worker") | .processed] | add')" 6
like '... who works on nothing has no job' "$(qetlctl workers | grep ' loader ')" ' -$'
like 'a table for people' "$(qetlctl jobs)" 'JOB +PIPELINE +STATE'
like 'doctor is content' "$(qetlctl doctor)" 'quick|database +yes'
like 'explain says that it is over' "$(qetlctl explain 1)" 'loaded'
uid=$(field 1 uid)
is 'a job by the first letters of its uid' "$(qetlctl --json show "${uid:0:24}" | jq -r .job.id)" 1

# ---- steering ----
is 'pause, also when nothing is held' "$(qetlctl pause events)" 'paused; 0 jobs held'
id=$(qetlctl --json submit events "$work/in/events.jsonl.gz" | jq .id)
sleep 0.5 # long enough for an idle worker to have taken it
is 'a paused pipeline starts nothing' "$(state "$id")" ready
like '... and explain says why' "$(qetlctl explain "$id")" 'pause'
ok 'resume' qetlctl resume events
ok '... and the job runs' wait_for 60 bash -c "qetlctl --json show $id | jq -e '.job.state == \"loaded\"'"
id=$(qetlctl --json submit events "$work/in/events.jsonl.gz" --at 1h | jq .id)
is 'a job for later waits' "$(qetlctl --json status | jq '.pipelines[] | select(.pipeline == "events") | .waiting')" 1
ok 'cancel' qetlctl cancel "$id"
is '... is final' "$(state "$id")" cancelled
like 'a cancelled job cannot be retried' "$(qetlctl retry "$id" 2>&1)" 'cancelled'
mv "$work/in/guess.csv" "$work/in/away.csv"
qetlctl submit guessed "$work/in/guess.csv" --wait >/dev/null 2>&1
is 'a missing file: exit 1' $? 1
mv "$work/in/away.csv" "$work/in/guess.csv"
id=$(qetlctl --json jobs --state dead --pipeline guessed | jq '.jobs[0].id')
ok 'retry' qetlctl retry "$id"
ok '... and it is loaded' wait_for 60 bash -c "qetlctl --json show $id | jq -e '.job.state == \"loaded\"'"
is 'unique: the second is the first' "$(qetlctl --json submit orders -p day=x --at 1h --unique k | jq .id)" "$(qetlctl --json submit orders -p day=x --at 1h --unique k | jq .id)"
stop_roles

# ---- all in one process ----
out=$(qetlctl --json run events "$work/in/events.jsonl.gz")
is 'run works and prints the result' "$(jq -c '[.job.state, .job.rows_loaded]' <<<"$out")" '["loaded",2]'

# ---- exit codes ----
code() { "$@" >/dev/null 2>&1; echo $?; }
is '2: a wrong call' "$(code qetlctl sumbit)" 2
like '... with the nearest right word' "$(qetlctl sumbit 2>&1)" "did you mean 'submit'"
is '3: no ini' "$(code qetlctl -c /nonexistent/qetl.ini status)" 3
is '5: no such pipeline' "$(code qetlctl submit ordres x.csv)" 5
like '... with the nearest one' "$(qetlctl submit ordres x.csv 2>&1)" "orders"
is '5: no such job' "$(code qetlctl show 999)" 5
is '2: a password in a URI' "$(code qetlctl submit orders http://me:secret@h/x.zip)" 2
is '... which is not kept anywhere' "$(grep -c secret "$site"/queue.db* | grep -vc ':0')" 0
done_testing
