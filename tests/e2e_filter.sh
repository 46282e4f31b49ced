#!/bin/bash
# filter = puts a program into the middle of a pipeline: rows in, rows out. Its end is the job's, whatever it does with its pipes;
# bad ones are told apart, load nothing, hold up nobody, and leave nothing behind. distinct = lets the first row of a key pass.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3
need zip zip
unset PORT

# sleeps that no other test has
long=4$$ longer=5$$
printf 'pa55word\n' >"$work/secret"
chmod 600 "$work/secret"
new_site <<INI
[pipeline py]
source = $work/{file}
columns = id:integer!, at:timestamp, amount:decimal(2), name:text
filter  = scripts/split.py 'two words'
command_env = TOKEN = @file:$work/secret
output  = id:integer!, part:text, half:decimal(3), at:timestamp
table   = warehouse.py
max_rejects = 5
[pipeline act]
columns = id:integer!, name:text
filter  = sh scripts/do.sh
command_env = TOKEN = @file:$work/secret
command_timeout = 60s
command_memory = 300M
table   = warehouse.act
attempts = 1
[pipeline short]
columns = id:integer!, name:text
filter  = sh scripts/do.sh
command_timeout = 300ms
table   = warehouse.act
attempts = 1
[pipeline comma]
columns = id:integer!, name:text
filter  = sh scripts/do.sh
filter_format = csv
table   = warehouse.act
attempts = 1
[pipeline missing]
columns = id:integer!, name:text
filter  = scripts/nothing.sh
table   = warehouse.act
[pipeline plain]
columns = id:integer!, name:text
table   = warehouse.act
[pipeline parts]
filter  = scripts/mark.sh
[pipeline parts.a]
member  = a*.csv
columns = id:integer!, name:text
table   = warehouse.pa
[pipeline parts.b]
member  = b*.csv
columns = id:integer!, other:text
table   = warehouse.pb
[pipeline parts.none]
member  = c*.csv
columns = id:integer!
table   = warehouse.pc
[pipeline twice]
command = sh -c 'for i in 1 2 3; do echo "{\\"id\\":\$i}"; done'
columns = id:integer!
filter  = sh -c 'sed p; echo said >&2'
table   = warehouse.twice
[pipeline guess]
filter  = cat
table   = warehouse.guess
[pipeline both]
columns = id:integer!, name:text
where   = id <> 2
filter  = sed s/row/line/
transform = SELECT max(id) AS last, count(*) AS n, max(name) AS name FROM input
output  = last:integer!, n:integer, name:text
table   = warehouse.both
[pipeline once]
columns = id:integer!, name:text
distinct = id
table   = warehouse.once
mode    = upsert
key     = id
INI
mkdir "$site/scripts"
cat >"$site/scripts/split.py" <<'PY'
#!/usr/bin/env python3
import decimal, json, os, sys
assert sys.argv[1] == "two words" and os.environ["TOKEN"] == "pa55word" and os.environ["QETL_PARAM_FILE"]
seen = 0
for line in sys.stdin:
    row = json.loads(line)
    seen += 1
    for part in row["name"].split():
        half = decimal.Decimal(row["amount"]) / 2 if row["amount"] else None
        print(json.dumps({"id": row["id"], "part": part, "half": str(half) if half else None, "at": row["at"], "more": seen}))
PY
cat >"$site/scripts/mark.sh" <<'SH'
#!/bin/sh
echo $$ >>"$TMPDIR/marks"
exec cat
SH
printf 'eval "$QETL_PARAM_DO"\n' >"$site/scripts/do.sh"
chmod 755 "$site"/scripts/*
export TMPDIR=$work

cat >"$work/a.csv" <<'CSV'
id,at,amount,name
1,2026-11-21T09:00:00+01:00,19.90,a b
2,,123456789012.78,c
3,2026-11-21,,""
x,,,d
CSV
ok 'rows go through a program' timeout 120 qetlctl run py -p file=a.csv || diag "$(qetlctl errors)"
is '... and what it gives is typed and loaded' "$(sql 'SELECT id, part, half, at FROM py ORDER BY rowid')" '1|a|9.95|2026-11-21 08:00:00
1|b|9.95|2026-11-21 08:00:00
2|c|61728394506.39|'
counts() { qetlctl --json show "$1" | jq -c '.job | [.rows_read, .rows_added, .rows_staged, .rows_rejected, .rows_filtered]'; }
is '... the books have all rows' "$(counts 1)" '[4,0,3,1,0]'

# Whatever is done between the pipes: a file of many rows, and do.sh.
seq 50000 | awk 'BEGIN { print "id,name" } { print $1 ",row " $1 }' >"$work/many.csv"
printf 'id,name\n1,a\n2,b\n3,c\n' >"$work/few.csv"
run() { timeout 120 qetlctl run act "$work/$1.csv" -p "do=$2" 2>&1; }
loaded() { # NAME PROGRAM ROWS FILE
    out=$(run "${4:-many}" "$2")
    is "$1" $? 0
    like '... loads its rows' "$out" " $3 loaded"
}
loaded 'one that streams' 'cat' 50000
loaded 'one that reads all first' 'tac' 50000
loaded 'one that writes first' 'yes "{\"id\":1}" | head -n 200000; cat >/dev/null' 200000
loaded 'one that leaves rows out' 'grep -v 7' "$(seq 50000 | grep -vc 7)"
is '... which are counted' "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].rows_filtered')" "$(seq 50000 | grep -c 7)"
loaded 'one that sends rows one by one' 'while read -r row; do echo "$row"; done' 3 few
loaded 'one that says much on standard error' 'head -c 30000000 /dev/zero | tr "\0" e >&2; cat' 50000
loaded 'one that closes its standard error' 'exec 2>&-; cat' 3 few
loaded 'one that leaves a process behind, which lets go of the pipes' '(setsid sleep '$longer' >/dev/null 2>&1 </dev/null &); cat' 3 few
is '... and does not outlive the job' "$(pgrep -fc "^sleep $longer\$")" 0
loaded 'one that is slow to end' 'cat; exec >&-; python3 -c "import time; time.sleep(0.3)"' 3 few

ok 'each part has its own, once' sh -c "cd '$work' && printf 'id,other\n7,x\n' >b1.csv && cp few.csv a1.csv && cp few.csv a2.csv && zip -q p.zip a1.csv b1.csv a2.csv && timeout 60 qetlctl run parts '$work/p.zip'"
is '... of those that have rows' "$(wc -l <"$work/marks")" 2
is '... and each table its rows' "$(sql 'SELECT (SELECT count(*) FROM pa), (SELECT count(*) FROM pb)')" '6|1'
printf '#!/bin/sh\necho "marks $QETL_PIPELINE" >&2\ncat\n' >"$site/scripts/mark.sh"
timeout 60 qetlctl run parts "$work/p.zip" >"$work/out" 2>&1
is '... what they say is kept by part' "$(qetlctl --json show "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')" | jq -c .said)" '"parts.a:\nmarks parts\nparts.b:\nmarks parts"'
ok 'behind a command' timeout 60 qetlctl run twice
is '... rows are added' "$(sql 'SELECT group_concat(id) FROM twice')" '1,1,2,2,3,3'
is '... and counted' "$(counts "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')")" '[3,3,6,0,0]'
ok 'columns that were inferred come back as they are' timeout 60 qetlctl run guess "$work/few.csv"
is '... in the table' "$(sql 'SELECT group_concat(name) FROM guess')" 'a,b,c'

ok 'between where and a transform' timeout 60 qetlctl run both "$work/many.csv"
is '... output is of the transform' "$(sql 'SELECT * FROM both')" '50000|49999|line 9999'

# Those that fail: what is said, and the code; nothing is loaded.
fails() { # NAME CODE MESSAGE PROGRAM [FILE [PIPELINE]]
    local before out
    before=$(sql 'SELECT count(*) FROM act')
    out=$(timeout 120 qetlctl run "${6:-act}" "$work/${5:-few}.csv" -p "do=$4" 2>&1)
    is "$1: ends with 1" $? 1
    like '... says it' "$out" "$3"
    like '... with its code' "$out" "\\[$2\\]"
    is '... loads nothing' "$(sql 'SELECT count(*) FROM act')" "$before"
}
for file in few many; do
    fails "a status ($file)" program 'status 3: it is broken' 'cat; echo it is broken >&2; exit 3' $file
    fails "a status before it read ($file)" program 'status 3' 'exit 3' $file
    fails "status 75 ($file)" program-again 'status 75' 'read -r x; exit 75' $file
    fails "a signal ($file)" program-again 'signal 9' 'read -r x; kill -9 $$' $file
    fails "one that does not read to the end ($file)" program 'before it had read all of its rows' 'read -r x; read -r x; echo "$x"' $file
    fails "one that reads nothing ($file)" program 'before it had read all of its rows' 'echo "{\"id\":1}"' $file
    fails "an error object ($file)" program 'said so: "no luck"' 'echo "{\"error\": \"no luck\"}"; cat >/dev/null' $file
    fails "an error object, and a status ($file)" program 'said so: "no luck"' 'cat; echo "{\"error\": \"no luck\"}"; exit 1' $file
    fails "one that closes its output ($file)" program 'before it had read|ended with status' 'exec >&-; cat' $file
    fails "silence for ever ($file)" program-timeout 'killed after 300ms' "sleep $long" $file short
    fails "rows, but no end ($file)" program-timeout 'killed after 300ms' "cat; sleep $long" $file short
    fails "rows without end ($file)" program-timeout 'killed after 300ms' 'yes "{\"id\":1}"' $file short
    fails "half a line ($file)" rejects 'filter:.*the line is not valid JSON' 'cat; printf "{\"id\": 2, \"na"' $file
    fails "garbage ($file)" rejects 'filter:sh, line 1' 'cat >/dev/null; head -c 100000 /dev/urandom | tr "\n" x; echo' $file
done
fails 'a row that does not fit' rejects 'filter:sh, line 2, byte [0-9]+, column .id., value "x": not an integer' "sed '2s/2/\"x\"/'"
for file in few many; do
    fails "CSV that ends in half a row ($file)" program-cut 'the filter sh gave: the CSV ends without a line end' 'cat; printf 7,ab' $file comma
    fails "... and a status, which says more ($file)" program 'status 3' 'cat; printf 7,ab; exit 3' $file comma
done
like '... the hint says what to write' "$(timeout 60 qetlctl run comma "$work/few.csv" -p 'do=cat; printf 7,ab' 2>&1)" 'end its last line with a newline'
fails 'too much memory' program 'MemoryError' 'python3 -c "bytearray(1 << 30)"; exit $?'
fails 'output held open by what it left behind' program 'still held its standard output' "cat; (sleep $long </dev/null &)"
fails 'one that is not there' program-start 'nothing.sh: No such file' '' few missing
is 'nothing of them stays' "$(pgrep -fc "^sleep $long\$")" 0
out=$(run few 'echo token $TOKEN >&2; exit 1')
like 'secrets are not shown' "$out" 'token \*\*\*'
is 'standard error is the detail' "$(queue_sql 'SELECT detail FROM error ORDER BY id DESC LIMIT 1')" 'token ***'

# Rejects of a filter stand for themselves.
sed -i 's/^\[pipeline act\]/&\nmax_rejects = 5/' "$site/qetl.ini"
out=$(run few "sed '2s/2/\"x\"/'")
like 'a few of them are allowed' "$out" '2 loaded'
job=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
is '... and show the row that the filter gave' "$(qetlctl --json rejects "$job" | jq -c '.rejects[] | [.object, .member, .line, .reason, .row]')" \
    '["filter:sh",null,2,"not-integer","{\"id\":\"x\",\"name\":\"b\"}"]'

# Cancelled, or its worker dead: it is gone, with what it started; other jobs go on.
there() { [ "$(pgrep -fc "^sleep $long\$")" = 2 ]; }
gone() { [ "$(pgrep -fc "^sleep $long\$")" = 0 ]; }
forks="(setsid sleep $long >/dev/null 2>&1 &); sleep $long"
start_role worker
job=$(qetlctl --json submit act "$work/few.csv" -p "do=$forks" | jq .id)
ok 'a filter that hangs runs' wait_for 60 there
next=$(qetlctl --json submit plain "$work/few.csv" | jq .id)
qetlctl cancel "$job" >/dev/null
ok '... a cancelled job has none' wait_for 60 gone
staged() { [ "$(state "$next")" = staged ]; }
ok '... and its worker goes on' wait_for 60 staged
qetlctl submit act "$work/few.csv" -p "do=$forks" >/dev/null
ok 'another one runs' wait_for 60 there
worker=$(qetlctl --json workers | jq '[.workers[] | select(.role == "worker")] | last | .pid')
kill -9 "$worker"
ok '... it dies with its worker' wait_for 60 gone
stop_roles

# distinct
printf 'id,name\n1,a\n2,b\n1,c\n,d\n2,e\n' >"$work/d1.csv"
printf 'id,name\n2,f\n3,g\n' >"$work/d2.csv"
sed -i 's/^\[pipeline once\]/&\nmax_rejects = 1/' "$site/qetl.ini"
timeout 60 qetlctl run once "$work/d1.csv" "$work/d2.csv" >"$work/out" 2>&1
is 'the first row of a key passes, over all objects of the job' "$(sql 'SELECT id, name FROM once ORDER BY id')" '1|a
2|b
3|g'
job=$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')
is '... the others are counted' "$(counts "$job")" '[7,0,3,1,3]'
timeout 60 qetlctl run once "$work/d2.csv" >"$work/out" 2>&1
is '... and another job begins anew' "$(sql 'SELECT name FROM once WHERE id = 2')" f

# The ini.
out=$(qetlctl check 2>&1)
is 'check warns of a program that is not there' "$(grep -c 'warning: .pipeline missing. filter: .*nothing.sh. cannot be run: No such file' <<<"$out")" 1
is '... and of no other' "$(grep -c 'filter:' <<<"$out")" 1
faulty() { # NAME WHAT LINES
    { echo "[target w]"; echo "url = sqlite:w.db"; echo "[pipeline p]"; echo "table = w.t"; echo "columns = a:text"; printf '%s\n' "$3"; } >"$work/f.ini"
    like "$1" "$(QETL_CONFIG=$work/f.ini qetlctl check 2>&1)" "$2"
}
faulty 'no shell is meant' 'no shell reads \|' 'filter = cat | sort'
faulty 'output without a filter' 'output: expected filter or transform beside it' 'output = b:text'
faulty 'a key must be in the output' "key: 'a' is not among the columns" 'filter = cat
output = b:text
mode = upsert
key = a'
faulty 'distinct is of the columns that are read' "distinct: 'b' is not among the columns" 'filter = cat
output = b:text
distinct = b'
done_testing
