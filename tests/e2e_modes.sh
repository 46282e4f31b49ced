#!/bin/bash
# Modes of loading on the SQLite target: what becomes of rows and their counts, order, kills, after_load, query, and what check says.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
SLOTS=1 LEASE=5s HEARTBEAT=200ms
counts() { # JOB: inserted updated unchanged deleted removed
    qetlctl --json show "$1" | jq -r '.job | "\(.rows_inserted) \(.rows_updated) \(.rows_unchanged) \(.rows_deleted) \(.rows_removed)"'
}
load() { # PIPELINE ROWS (";" between): runs a job of them and gives its number
    { echo id,name,v,gone && tr ';' '\n' <<<"$2"; } >"$work/rows.csv"
    cp "$work/rows.csv" "$work/rows$((++loads)).csv"
    qetlctl --json run "$1" "$work/rows$loads.csv" | jq .job.id
}
loads=0

# ---- a story of each mode ----
new_site <<INI
[pipeline customers]
columns = id:integer!, name:text, v:timestamp, gone:boolean
table   = warehouse.customers
mode    = upsert
key     = id
version = v
deleted = gone
update_only_if_changed = yes
[pipeline whole]
columns = id:integer!, name:text, v:timestamp, gone:boolean
table   = warehouse.customers
mode    = upsert
key     = id
missing = delete
[pipeline past]
columns = id:integer!, name:text, v:timestamp, gone:boolean
table   = warehouse.past
mode    = history
key     = id
version = v
[pipeline first]
columns = id:integer!, name:text, v:timestamp, gone:boolean
table   = warehouse.first
mode    = insert_ignore
key     = id
INI
qetlctl init >/dev/null
a=2026-01-01T00:00:00Z b=2026-01-02T00:00:00Z c=2026-01-03T00:00:00Z
job=$(load customers "1,Ann,$a,0;2,Bob,$b,0;3,Cy,$a,0")
is 'new rows are inserted' "$(counts "$job")" '3 0 0 0 0'
job=$(load customers "1,Anna,$b,0;2,Rob,$a,0;3,,$b,1;3,Cy,$a,0")
is 'a newer version updates, an older does not, a deleted one marks' "$(counts "$job")" '0 1 2 1 0'
is '... and leaves what else the row has' "$(sql 'SELECT id, name, gone FROM customers' | tr '\n' ' ')" '1|Anna|0 2|Bob|0 3|Cy|1 '
job=$(load customers "3,,$c,1")
is '... a later delete of a deleted row sets the version' "$(counts "$job") $(sql 'SELECT v FROM customers WHERE id = 3')" '0 0 0 1 0 2026-01-03 00:00:00'
job=$(load customers "3,,$c,1")
is '... the same delete changes nothing' "$(counts "$job")" '0 0 1 0 0'
job=$(load customers "3,Old,$b,0")
is '... and an older row does not come back' "$(counts "$job") $(sql 'SELECT name, gone FROM customers WHERE id = 3')" '0 0 1 0 0 Cy|1'
job=$(load whole "1,Anna,$b,0;9,Zoe,$c,0")
is 'a whole delivery removes the rest' "$(counts "$job") $(sql 'SELECT group_concat(id) FROM customers')" '1 1 0 0 2 1,9'
load past "1,Ann,$a,0" >/dev/null
job=$(load past "1,Anna,$c,0;1,Ann,$b,0;2,Bob,$a,0")
is 'history adds versions' "$(counts "$job")" '1 1 1 0 0'
is '... and ends the ones before' "$(sql 'SELECT name, valid_from, valid_to, is_current FROM past WHERE id = 1 ORDER BY valid_from' | tr '\n' ' ')" \
    'Ann|2026-01-01 00:00:00|2026-01-03 00:00:00|0 Anna|2026-01-03 00:00:00||1 '
load first "1,Ann,$a,0" >/dev/null
job=$(load first "1,Eve,$b,0;2,Bob,$b,0")
is 'insert_ignore leaves what is there' "$(counts "$job") $(sql 'SELECT group_concat(name) FROM first')" '1 0 1 0 0 Ann,Bob'

# ---- jobs that finish out of order are loaded in order ----
new_site <<INI
[pipeline h1]
columns = id:integer!, name:text
table   = warehouse.h
mode    = history
key     = id
[pipeline h2]
columns = id:integer!, name:text
table   = warehouse.h
mode    = history
key     = id
[pipeline i1]
columns = id:integer!, name:text
table   = warehouse.i
mode    = insert_ignore
key     = id
[pipeline i2]
columns = id:integer!, name:text
table   = warehouse.i
mode    = insert_ignore
key     = id
INI
qetlctl init >/dev/null
printf 'id,name\n1,first\n' >"$work/one.csv"
printf 'id,name\n1,second\n' >"$work/two.csv"
for p in h i; do
    qetlctl submit ${p}1 "$work/one.csv" >/dev/null
    qetlctl pause ${p}1 >/dev/null
    qetlctl submit ${p}2 "$work/two.csv" >/dev/null
done
start_role worker
start_role loader
ok 'the newer jobs are staged first' wait_for 60 bash -c '[ "$(qetlctl --json jobs --state staged | jq ".jobs | length")" = 2 ]'
is '... and wait' "$(queue_sql 'SELECT group_concat(state) FROM (SELECT state FROM job ORDER BY id)')" 'ready,staged,ready,staged'
qetlctl resume h1 >/dev/null
qetlctl resume i1 >/dev/null
ok '... for the older ones' wait_for 60 bash -c '[ "$(qetlctl --json jobs --state loaded | jq ".jobs | length")" = 4 ]'
stop_roles
is 'history has the versions in their order' "$(sql 'SELECT group_concat(name || is_current) FROM (SELECT * FROM h ORDER BY is_current)')" 'first0,second1'
is 'insert_ignore has the first' "$(sql 'SELECT group_concat(name) FROM i')" first

# ---- kill -9 around the commit: each mode exactly once ----
for n in 1 2 3; do
    { echo id,name,v && for i in $(seq $((n * 3)) $((n * 3 + 40))); do echo "$i,n$n-$((i % 2 * n)),2026-01-0$n"; done; } >"$work/small$n.csv"
    { echo id,name,v && seq $((n * 1000)) $((n * 1000 + 6000)) | sed "s/.*/&,n$n,2026-01-0$n/"; } >"$work/large$n.csv"
done
modes_site() {
    local mode
    new_site <<<"$(printf '[limits]\ncrashes = 100\n'
        for mode in upsert history insert_ignore replace; do
            printf '[pipeline %s]\ncolumns = id:integer!, name:text, v:timestamp\ntable = warehouse.%s\nmode = %s\nkey = id\nbackoff = 100ms\n' $mode $mode $mode
            case $mode in upsert | history) printf 'version = v\n' ;; esac
            [ $mode != upsert ] || printf 'update_only_if_changed = yes\nmissing = delete\nafter_load = INSERT INTO audit VALUES (:job)\n'
        done)"
    sqlite3 "$site/warehouse.db" 'CREATE TABLE audit (uid TEXT)'
    qetlctl init >/dev/null
    for n in 1 2 3; do
        for mode in upsert history insert_ignore replace; do
            qetlctl submit $mode "$work/small$n.csv" >/dev/null
            qetlctl submit $mode "$work/large$n.csv" >/dev/null
        done
    done
}
tables() { # all rows, and what the ledger says of each job; a replace that was overtaken has none there
    local mode
    for mode in upsert insert_ignore replace; do sql "SELECT * FROM \"$mode\" ORDER BY id"; done
    sql 'SELECT id, name, v, valid_from, valid_to, is_current FROM history ORDER BY id, v'
    sql "SELECT pipeline, rows, inserted, updated, unchanged, deleted, removed FROM qetl_load WHERE pipeline <> 'replace' ORDER BY job"
    sql 'SELECT count(*), count(DISTINCT uid) FROM audit'
}
over() { [ "$(queue_sql "SELECT count(*) FROM job WHERE state NOT IN ('loaded', 'superseded')")" = 0 ]; }
modes_site
qetl drain 2>/dev/null
ok 'without a kill all is loaded' over
tables >"$work/want"
is '... the last replace is what is there' "$(sql 'SELECT count(*), min(id), max(id) FROM replace')" '6001|3000|9000'
for point in target-before-commit target-after-commit loader-before-record loader-after-record; do
    modes_site
    start_role worker
    QETL_FAULT="$point:kill" start_role loader
    ok "$point: the fault was met" wait_for 60 grep -q 'a process died' "$site/loader.log"
    kill -9 "$role_pid"
    start_role loader
    ok "$point: all jobs are over afterwards" wait_for 40 over
    tables >"$work/got"
    ok "$point: each row is there as without it" cmp "$work/want" "$work/got"
    stop_roles
done

# ---- after_load ----
cat >"$work/after.sql" <<'SQL'
-- :job in a comment, ':job' in a text
INSERT INTO audit SELECT :job, count(*), ':job' FROM t;
UPDATE t SET done = 1;
SQL
new_site <<INI
[pipeline good]
columns = id:integer!
table   = warehouse.t
after_load = @file:../after.sql
[pipeline bad]
columns = id:integer!
table   = warehouse.t
after_load = INSERT INTO audit VALUES (:job, 0, 'bad'); INSERT INTO missing VALUES (1)
INI
qetlctl init >/dev/null
sqlite3 "$site/warehouse.db" 'CREATE TABLE t (id INTEGER, done INTEGER); CREATE TABLE audit (uid TEXT, n INTEGER, t TEXT)'
printf 'id\n1\n2\n' >"$work/ids.csv"
qetlctl run good "$work/ids.csv" >/dev/null
is 'after_load runs behind the rows' "$(sql 'SELECT uid, n, t FROM audit')" "$(field 1 uid)|2|:job"
is '... and may change them' "$(sql 'SELECT sum(done) FROM t')" 2
qetlctl run bad "$work/ids.csv" >/dev/null
is 'when it fails the job is refused' "$? $(state 2) $(sql 'SELECT count(*) FROM audit'), $(sql 'SELECT count(*) FROM t')" '1 dead 1, 2'
like '... with its error' "$(qetlctl errors 2)" 'after-load +after_load: statement 2, line 1, column [0-9]+: no such table: (main\.)?missing'
like '... and what to do' "$(qetlctl show 2)" 'mend after_load= of the pipeline, or the tables that it works on, then qetlctl retry'
cp "$site/qetl.ini" "$work/good.ini"
checked() { # LINES OF after_load; from standard input
    { cat "$work/good.ini" && printf '[pipeline checked]\ncolumns = id:integer!\ntable = warehouse.nowhere\nafter_load = ' && cat; } >"$site/qetl.ini"
    qetlctl check 2>&1 | grep after_load
}
place="^$site/qetl.ini:[0-9]+: \\[pipeline checked\\] after_load:"
like 'check knows that it cannot end the transaction' "$(checked <<<'SELECT 1; COMMIT')" "$place statement 2, line 1, column 11: it may not begin or end transactions"
like '... what is no SQL' "$(checked <<<'SELEC 1')" "$place statement 1, line 1, column 1: near \"SELEC\": syntax error"
like '... and parameters that are none' "$(printf 'UPDATE t SET done = 1;\n  DELETE FROM audit WHERE uid = :jobb\n' | checked)" "$place line 2, column 31: there is no parameter ':jobb'; there are :job, "
is '... tables may come later' "$(checked <<<'INSERT INTO later SELECT nix FROM not_yet WHERE job = :job')" ''
cp "$work/good.ini" "$site/qetl.ini"

# ---- undo ----
new_site <<INI
[pipeline plain]
columns = id:integer!, name:text
table   = warehouse.plain
undo    = 7d
[pipeline inferred]
table   = warehouse.inferred
undo    = 7d
[pipeline never]
columns = id:integer!, name:text
table   = warehouse.plain
[pipeline first]
columns = id:integer!, name:text
table   = warehouse.first
mode    = insert_ignore
key     = id
undo    = 7d
[pipeline all]
columns = id:integer!, name:text
table   = warehouse.all
mode    = replace
undo    = 7d
[pipeline up]
columns = id:integer!, name:text
table   = warehouse.up
mode    = upsert
key     = id
undo    = 7d
[pipeline whole]
columns = id:integer!, name:text
table   = warehouse.up
mode    = upsert
key     = id
missing = delete
undo    = 7d
[pipeline up2]
columns = id:integer!, name:text
table   = warehouse.up
mode    = upsert
key     = id
[pipeline past]
columns = id:integer!, name:text, v:timestamp
table   = warehouse.past
mode    = history
key     = id
version = v
undo    = 1s
INI
qetlctl init >/dev/null
put() { # PIPELINE ROWS: runs a job of them (more than fit inline when BIG is set) and gives its number
    { echo id,name,v && tr ';' '\n' <<<"$2" && [ -z "${BIG:-}" ] || seq -f '%.0f,many,2026-01-01' 100000 110000; } >"$work/put$((++loads)).csv"
    sed -i 's/,v$//; /^[0-9]*,many/!b; s/,2026.*//' "$work/put$loads.csv"
    [ "$1" != past ] || sed -i 's/^id,name$/id,name,v/' "$work/put$loads.csv"
    qetlctl --json run "$1" "$work/put$loads.csv" | jq .job.id
}
undo() { qetlctl undo "$1" 2>&1; }
rows() { sql "SELECT group_concat(id || name, ' ') FROM (SELECT * FROM \"$1\" ORDER BY id) WHERE id < 1000"; }
no_undo() { # NAME JOB REASON TABLE: refused, and nothing has changed
    local before
    before=$(sql "SELECT count(*), group_concat(id) FROM \"$4\"; SELECT count(*), count(undone_at) FROM qetl_load")
    said=$(undo "$2")
    is "$1: refused" $? 1
    like '... saying why' "$said" "$3.*\[state\]"
    is '... and nothing has changed' "$(sql "SELECT count(*), group_concat(id) FROM \"$4\"; SELECT count(*), count(undone_at) FROM qetl_load")" "$before"
}
for BIG in '' yes; do
    a=$(put plain '1,a;2,b') b=$(put plain '3,c')
    is "append${BIG:+, in files}: undone" "$(undo "$a")" "job $a undone: $((2 + ${#BIG} / 3 * 10001)) rows removed, 0 put back"
    is '... the other rows stay' "$(rows plain)" 3c
    is '... and so does their mark' "$(sql 'SELECT count(DISTINCT _job), min(_job) FROM plain')" "1|$(field "$b" uid)"
    like '... the ledger says when' "$(sql "SELECT undone_at FROM qetl_load WHERE uid = '$(field "$a" uid)'")" "^20..-..-.. "
    like '... the queue shows it' "$(field "$a" undone) $(state "$a")" '^20.*Z loaded$'
    like '... jobs too' "$(qetlctl jobs)" "^ *$a +plain +undone "
    like '... jobs does not count its rows' "$(qetlctl jobs)" "^ *$a +plain +undone .* 0 +0 +[0-9.]+ [A-Za-z]+ "
    is '... nor does status' "$(qetlctl --json status | jq '.pipelines[] | select(.pipeline == "plain").rows_loaded')" \
        "$(qetlctl --json jobs --pipeline plain --limit 1000 | jq '[.jobs[] | select(.undone == null).rows_loaded] | add // 0')"
    like '... once more changes nothing, and says since when' "$(undo "$a"), $(rows plain)" "^job $a was undone before, at 20.*Z; nothing has changed, 3c$"
    undo "$b" >/dev/null
    is '... an empty table is left' "$(sql 'SELECT count(*) FROM plain')" 0

    a=$(put all '1,a;2,b') b=$(put all '3,c')
    no_undo 'replace: a later one stands on it' "$a" "job $b was loaded into table 'all' later" all
    undo "$b" >/dev/null
    is '... the later one undone: the rows before are back' "$(rows all)" '1a 2b'
    undo "$a" >/dev/null
    is '... and then none' "$(sql 'SELECT count(*) FROM "all"')" 0

    a=$(put up '1,a;2,b') b=$(put up '2,c;3,d')
    no_undo 'upsert: a later one changed the same rows' "$a" "job $b was loaded into table 'up' later, and changed the same rows" up
    is '... the later one undone' "$(undo "$b" | cut -d ' ' -f 1-3) $(rows up)" "job $b undone: 1a 2b"
    c=$(BIG='' put whole '2,x')
    no_undo '... rows that were missing are changed, too' "$a" "job $c was loaded" up
    undo "$c" >/dev/null
    is '... they come back' "$(rows up)" '1a 2b'
    d=$(BIG='' put up '7,g')
    undo "$a" >/dev/null
    is '... one that touched other rows is no matter' "$(rows up)" 7g
    undo "$d" >/dev/null
done
BIG=''
is 'nothing is kept any longer' "$(sql 'SELECT count(*) FROM qetl_undo_up; SELECT count(*) FROM qetl_undo_all')" "$(printf '0\n0')"
for table in plain up; do
    lost=$([ $table = plain ] && echo _job || echo name)
    a=$(put $table '1,a')
    sqlite3 "$site/warehouse.db" "ALTER TABLE $table RENAME TO away"
    like "$table has another name" "$(undo "$a")" "table '$table' is gone; if it was renamed, give it its name back .state."
    sqlite3 "$site/warehouse.db" "ALTER TABLE away RENAME TO $table; ALTER TABLE $table RENAME COLUMN $lost TO was"
    no_undo "$table: a column that undo needs has another name" "$a" "lost columns that are needed to undo it: $lost; give them their names" $table
    sqlite3 "$site/warehouse.db" "ALTER TABLE $table RENAME COLUMN was TO $lost"
    like '... it has its own again' "$(undo "$a")" "^job $a undone: 1 rows? removed, 0 put back"
done
# columns that come keep what was kept; those that go or get another name end it at the next job
for table in all up; do
    a=$(put $table '1,a;2,b')
    [ $table = up ] || b=$(put $table '3,c')
    [ $table = all ] || b=$(put $table '1,A')
    sqlite3 "$site/warehouse.db" "ALTER TABLE \"$table\" ADD COLUMN more VARCHAR(9) NOT NULL DEFAULT 'it''s'; ALTER TABLE \"$table\" ADD COLUMN \"o\"\"dd\" INTEGER DEFAULT 7"
    sqlite3 "$site/warehouse.db" "ALTER TABLE \"$table\" ADD COLUMN bare"
    c=$(put $table '9,z')
    undo "$c" >/dev/null
    like "$table: columns came, and a job behind them" "$(undo "$b")" "^job $b undone: 1 rows? removed, [12] put back"
    is '... whose defaults are those of rows that are put back' "$(sql "SELECT DISTINCT more, \"o\"\"dd\", typeof(\"o\"\"dd\"), bare IS NULL FROM \"$table\"") $(rows $table)" "it's|7|integer|1 1a 2b"
    b=$(put $table '1,A')
    sqlite3 "$site/warehouse.db" "ALTER TABLE \"$table\" RENAME COLUMN bare TO bald"
    c=$(put $table '9,z')
    undo "$c" >/dev/null
    no_undo "$table: a column got another name, and a job came behind" "$b" "the columns of table '$table' were changed since, and a later job" $table
    sqlite3 "$site/warehouse.db" "DELETE FROM \"$table\""
done
a=$(put up '1,a') b=$(put up2 '1,b')
no_undo 'a later job without undo' "$a" "may have changed the same rows: what it changed was not kept" up
no_undo '... which itself' "$b" 'had no undo=' up
a=$(put never '9,z')
no_undo 'a job whose pipeline has no undo' "$a" 'had no undo=' plain
a=$(put first '1,a;2,b') b=$(put first '2,x;3,c')
no_undo 'insert_ignore: a later one left rows out' "$a" "left rows out because others were there" first
undo "$b" >/dev/null
undo "$a" >/dev/null
is '... after it' "$(sql 'SELECT count(*) FROM first')" 0
a=$(put inferred '1,a')
is 'with columns that were found out' "$(sql 'SELECT _job FROM inferred') $(undo "$a" | cut -d ' ' -f 3) $(sql 'SELECT count(*) FROM inferred')" "$(field "$a" uid) undone: 0"
a=$(put past '1,a,2026-01-01') b=$(put past '1,b,2026-01-02;2,x,2026-01-02')
undo "$b" >/dev/null
is 'history: the row before is current again' "$(sql "SELECT name, is_current, valid_to IS NULL FROM past")" 'a|1|1'
is '... its age counts' "$(QETL_CLOCK_OFFSET_MS=10000 qetlctl undo "$a" 2>&1 | grep -c 'too late: it could be undone.*\[state\]') $(sql 'SELECT count(*) FROM past')" '1 1'
QETL_CLOCK_OFFSET_MS=20000 put past '5,e,2026-01-03' >/dev/null
is '... and what is too old is not kept' "$(sql "SELECT count(*) FROM qetl_undo WHERE uid = '$(field "$a" uid)'; SELECT count(*) FROM qetl_undo_past")" "$(printf '0\n1')"
# what is undone is never loaded again by itself, and anew when it is asked for
printf 'id,name\n4,d\n' >"$work/again.csv"
again() { qetlctl --json submit plain --unique again "$work/again.csv" | jq .id; }
a=$(again)
mkdir -p "$work/queue" && cp "$site"/queue.db* "$work/queue"
qetl drain 2>/dev/null
b=$(again)
is 'a job that is loaded leaves its unique key' "$((b > a)) $(sql 'SELECT count(*) FROM plain WHERE id = 4')" '1 1'
qetlctl cancel "$b" >/dev/null
undo "$a" >/dev/null
like 'retry of an undone job: refused, saying what to do' "$(qetlctl retry "$a" 2>&1)" 'is loaded: only a dead job can be tried again; to load.*submit.*\[state\]'
b=$(again)
qetl drain 2>/dev/null
is '... that loads its rows, as a job of its own' "$((b > a)) $(state "$b") $(sql 'SELECT count(*) FROM plain WHERE id = 4')" '1 loaded 1'
undo "$b" >/dev/null
uid=$(field "$a" uid)
rm "$site"/queue.db* && cp "$work/queue"/queue.db* "$site"
qetl drain 2>/dev/null
is 'a queue that was put back knows the job as waiting: it dies' "$(field "$a" uid) $(state "$a") $(sql 'SELECT count(*) FROM plain WHERE id = 4')" "$uid dead 0"
like '... with its reason' "$(qetlctl errors "$a")" 'undone.*it was loaded before, and undone at 20'
a=$(put plain '5,e')
for point in target-before-commit target-after-commit undo-before-record; do
    QETL_FAULT=$point:kill qetlctl undo "$a" >/dev/null 2>&1
    is "killed at $point: all or nothing" "$(sql "SELECT (SELECT count(*) FROM plain WHERE id = 5) = (SELECT count(*) FROM qetl_load WHERE undone_at IS NULL AND uid = '$(field "$a" uid)')") $(field "$a" undone)" '1 null'
    undo "$a" >/dev/null
    is '... and done by calling it again' "$? $(sql 'SELECT count(*) FROM plain WHERE id = 5') $(field "$a" undone | cut -c 1-2)" '0 0 20'
    a=$(put plain '5,e')
done
qetlctl undo 1 >/dev/null 2>&1
sqlite3 "$site/warehouse.db" 'DROP TABLE plain'
like 'a table that is gone' "$(undo "$a")" "table 'plain' is gone; .* \[state\]"
b=$(qetlctl --json submit plain "$work/put1.csv" | jq .id)
like 'a job that is not loaded' "$(undo "$b")" 'it is ready, not loaded \[state\]'

# ---- query ----
rm -f "$site/warehouse.db"
sqlite3 "$site/warehouse.db" "CREATE TABLE q (id INTEGER, name TEXT, x REAL); INSERT INTO q VALUES (1, 'a,b', 0.5), (22, '', NULL), (NULL, 'é', -1e300)"
is 'a table' "$(qetlctl query warehouse 'SELECT id, name, x FROM q WHERE id')" "$(printf 'id  name    x\n 1  a,b   0.5\n22           ')"
is 'csv' "$(qetlctl query warehouse 'SELECT * FROM q' --csv | tr '\n' ' ')" 'id,name,x 1,"a,b",0.5 22,"", ,é,-1.0e+300 '
is 'json' "$(qetlctl --json query warehouse 'SELECT * FROM q' | jq -c '[.columns, .rows[1:]]')" \
    '[["id","name","x"],[{"id":22,"name":"","x":null},{"id":null,"name":"é","x":-1e+300}]]'
is 'reals read back as they are' \
    "$(qetlctl query warehouse 'SELECT 0.1 + 0.2, 9007199254740992.0, 123456789.12345679, 0.1, 1e999, -1e999' --csv | tail -n 1)" \
    '0.30000000000000004,9007199254740992,123456789.12345679,0.1,Inf,-Inf'
is '... of nothing' "$(qetlctl --json query warehouse 'SELECT * FROM q WHERE 0')" '{"columns":["id","name","x"],"rows":[]}'
like '... not of two columns of one name, of which readers would keep one' "$(qetlctl --json query warehouse 'SELECT 1 AS a, 2 AS b, 3 AS a' 2>&1)" "columns are called 'a': .*usage"
many='WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i, i * 1000000 AS more FROM n'
is 'what comes later than the widths is there too' "$(qetlctl query warehouse "$many" | awk '{ s += $1 } END { print NR, s }')" '5001 12502500'
is 'a program that stops reading stops it' "$(qetlctl query warehouse "${many/5000/100000000}" --csv | head -n 2 | tail -n 1)" '1,1000000'
refused() { # STATUS TEXT SQL
    qetlctl query warehouse "$3" >"$work/out" 2>"$work/err"
    is "$3: refused" "$?" "$1"
    like '... saying why' "$(cat "$work/err")" "$2"
}
refused 2 'a query may only read' 'DELETE FROM q'
refused 2 'a query may only read' "ATTACH '$work/new.db' AS n"
refused 2 'a query may only read' 'PRAGMA query_only = 0'
refused 2 'a query may only read' 'PRAGMA journal_mode = wal'
refused 2 'one statement' 'SELECT 1; DELETE FROM q'
refused 2 'no such table: missing' 'SELECT * FROM missing'
is 'nothing was changed' "$(sql 'SELECT count(*) FROM q') $(ls "$work/new.db" 2>/dev/null)" '3 '
qetlctl query nowhere 'SELECT 1' 2>/dev/null
is 'no such target: 5' "$?" 5

# ---- what comes back ----
new_site </dev/null
returns_hold_once warehouse sql

# ---- check ----
new_site <<INI
[pipeline a]
columns = id:integer!, valid_from:date
table   = warehouse.a
key     = id
mode    = history
[pipeline b]
columns = id:integer!
table   = warehouse.raw.b
INI
qetlctl check 2>"$work/err"
is 'check: what a target cannot do is a fault' "$?" 3
is '... with its line and what to do' "$(cat "$work/err")" \
    "$(printf '%s\n' "$site/qetl.ini:14: [pipeline a] columns: column 'valid_from' is what mode = history itself keeps; rename it" \
        "$site/qetl.ini:20: [pipeline b] table: a SQLite warehouse has no schemas; name the table warehouse.b")"
done_testing
