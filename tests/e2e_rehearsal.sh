#!/bin/bash
# submit --dry-run: all of a job but its traces. What it says is what the job does then, and nothing is left of it.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
SLOTS=1
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
new_site <<INI
[pipeline orders]
columns = id:integer!, name, amount:decimal(2)
table   = warehouse.orders
mode    = upsert
key     = id
update_only_if_changed = yes
max_rejects = 10
[pipeline whole]
columns = id:integer!, name, amount:decimal(2)
table   = warehouse.orders
mode    = replace
[pipeline past]
columns = id:integer!, name, amount:decimal(2)
table   = warehouse.past
mode    = history
key     = id
[pipeline found]
table   = warehouse.found
[pipeline strict]
columns = id:integer!, name
table   = warehouse.strict
[pipeline after]
columns = id:integer!, name
table   = warehouse.after
after_load = CREATE TABLE IF NOT EXISTS seen (n); INSERT INTO seen SELECT count(*) FROM after
[pipeline grows]
columns = id:integer!, name
table   = warehouse.grows
on_new_column = add
[pipeline guess]
table   = warehouse.guess
on_new_column = add
[pipeline once]
columns = id:integer!, name
table   = warehouse.once
dedupe  = content
[pipeline timed]
columns = id:integer!, at:timestamp!
table   = warehouse.timed
event_time = at
allowed_lateness = 10m
late    = warehouse.late
after_load = INSERT INTO marks SELECT :previous_watermark, :watermark
[pipeline slow]
command = sh -c 'echo id; touch $work/begun; exec sleep 600'
columns = id:integer!
table   = warehouse.slow
[pipeline broken]
command = sh -c 'echo id; echo gone wrong >&2; exit 3'
columns = id:integer!
table   = warehouse.slow
[pipeline tired]
command = sh -c 'exit 75'
columns = id:integer!
table   = warehouse.slow
[target lake]
url = file://$work/lake
format = jsonl
[pipeline swap]
columns = id:integer!
table   = lake.t
mode    = replace
[pipeline lake]
columns = id:integer!
table   = lake.t
INI
said() { jq -c '[.ok, .rows_read, .rows_staged, .rows_rejected, (.would | if . then [.inserted, .updated, .unchanged, .deleted, .removed] else . end)]' "$work/out"; }
rehearse() { qetlctl --json submit "$@" --dry-run >"$work/out" 2>"$work/err"; }
death() { jq -c '[.error_code, .error_class, .stage, .detail]' "$work/out"; }
traces() { # all that a job could leave
    (cd "$work" && find site1 tmp lake -type f ! -size 0 ! -name '*.ini' ! -name '*-lock' ! -name '*-shm' -exec md5sum {} + 2>/dev/null | sort -k 2)
    sqlite3 -readonly "$site/warehouse.db" .dump 2>/dev/null | md5sum
}

# ---- before there is anything ----
printf 'id,name,amount\n1,Ann,5\n2,Bob,x\n3,Cy,7.25\n' >"$work/one.csv"
before=$(traces)
rehearse orders "$work/one.csv"
is 'nothing is there yet: all would be new' "$? $(said)" '0 [true,3,2,1,[2,0,0,0,0]]'
is '... with the rows as they would be' "$(jq -c '.tables | map(del(.schema))' "$work/out")" \
    '[{"table":"warehouse.orders","rows":2,"sample":[{"id":1,"name":"Ann","amount":5},{"id":3,"name":"Cy","amount":7.25}]}]'
is '... and the rejects' "$(jq -c '.rejects[] | [.line, .reason, .column, .value, .row]' "$work/out")" '[3,"not-decimal","amount","x","2,Bob,x"]'
is '... no queue, no warehouse, no file' "$(traces)$(find "$site" "$TMPDIR" -type f | grep -v 'qetl.ini')" "$before"
rehearse found "$work/one.csv"
is 'columns are found out, too' "$(said) $(jq -c '.tables[0].sample[0]' "$work/out")" '[true,3,3,0,[3,0,0,0,0]] {"id":1,"name":"Ann","amount":"5"}'

# ---- beside rows ----
qetlctl init >/dev/null
compare() { # NAME PIPELINE FILE: what it says is what the job does then
    local name=$1 was
    was=$(traces)
    rehearse "$2" "$3"
    is "$name: nothing is left of it" "$(traces)" "$was"
    qetlctl --json run "$2" "$3" >"$work/did" 2>/dev/null
    is "$name: it says what the job does" "$(said)" \
        "$(jq -c '.job | [.state == "loaded", .rows_read, .rows_staged, .rows_rejected, (if .state == "loaded" then [.rows_inserted, .rows_updated, .rows_unchanged, .rows_deleted, .rows_removed] else null end)]' "$work/did")"
}
compare 'the first rows' orders "$work/one.csv"
printf 'id,name,amount\n1,Anna,5\n3,Cy,7.25\n4,Dan,1\n5,Eve,\n' >"$work/two.csv"
compare 'an upsert' orders "$work/two.csv"
compare 'the same once more' orders "$work/two.csv"
compare 'a replaced table' whole "$work/one.csv"
compare 'history' past "$work/two.csv"
compare '... and its next version' past "$work/one.csv"
compare 'after_load, with a table of its own' after "$work/two.csv"
printf 'id,name,price\n1,Ann,1.5\n' >"$work/new.csv"
printf 'id,name,Price,colour\n2,Bob,2,red\n' >"$work/newer.csv"
for p in grows guess; do
    compare "$p: a new column" $p "$work/new.csv"
    compare "$p: and another one" $p "$work/newer.csv"
done
is '... each is in the table then' "$(sql 'SELECT name, Price, colour FROM grows ORDER BY id')" 'Ann|1.5|
Bob|2.0|red'
compare 'dedupe: new content' once "$work/new.csv"
compare 'dedupe: the same once more' once "$work/new.csv"
is '... is left out' "$(jq -c '[.rows_read, .objects_left_out]' "$work/out")" '[0,1]'
# after_load takes its watermarks only if they are those of a first job, which is the one that is loaded
sqlite3 "$site/warehouse.db" "CREATE TABLE marks (before CHECK (before IS NULL), now CHECK (now IS '2026-01-01 23:50:00'))"
printf 'id,at\n1,2026-01-01 00:00:00\n2,2026-01-02 00:00:00\n' >"$work/timed.csv"
compare 'watermarks' timed "$work/timed.csv"
is '... are those of the job' "$(jq .ok "$work/out")|$(sql 'SELECT * FROM marks')" 'true||2026-01-01 23:50:00'
compare 'the watermark of a job before' timed "$work/timed.csv"
is '... is known, too' "$(jq -c '[.ok, .error_code]' "$work/out")" '[false,"after-load"]'
"$srcdir/tests/rows.sh" 100000 | sed 's/^\([^,]*\),\([^,]*\).*/\1,\2/; 1s/.*/id,name/' >"$work/large.csv"
compare 'more than fits into memory' strict "$work/large.csv"
is '... those are many' "$(sql 'SELECT count(*) FROM strict')" 100000

# ---- what would go wrong ----
sqlite3 "$site/warehouse.db" 'CREATE UNIQUE INDEX only_one ON strict (id)'
was=$(traces)
rehearse strict "$work/large.csv"
is 'what the table refuses: the job would die' "$? $(jq -c '[.ok, .error_code, .would, .rows_staged]' "$work/out")" '1 [false,"target-refused",null,100000]'
is '... at the load' "$(death)" '["target-refused","permanent","load",null]'
is '... and the table is as it was' "$(traces)" "$was"
{ echo id,name && seq -f 'x%.0f,n' 20; } >"$work/bad.csv"
rehearse orders "$work/bad.csv"
is 'another header' "$? $(death) $(jq -r .error "$work/out" | grep -c amount)" '1 ["header","permanent","read",null] 1'
{ echo id,name,amount && seq -f 'x%.0f,n,1' 20; } >"$work/bad.csv"
rehearse orders "$work/bad.csv"
is 'too many rejects: it would die of them' "$? $(jq -c '[.ok, .error_code, .rows_rejected, (.rejects | length)]' "$work/out")" '1 [false,"rejects",11,10]'
rehearse orders "$work/none.csv"
is 'an object that is not there' "$? $(death)" '1 ["fetch-missing","permanent","fetch",null]'
is '... and there is no job to look at' "$(jq -r .hint "$work/out")" 'check the URI'
rehearse orders http://127.0.0.1:9/none.csv
is 'a server that is away: it would be tried again' "$? $(death)" '1 ["fetch","transient","fetch",null]'
rehearse broken
is 'a program that fails' "$? $(death)" '1 ["program","permanent","program","gone wrong"]'
rehearse tired
is '... that asks to be tried again' "$? $(death)" '1 ["program-again","transient","program",null]'
rehearse slow &
ok 'a reader dies ...' wait_for 60 test -e "$work/begun"
dry=$(pgrep -P $! -x qetlctl || echo $!)
kill -9 "$(pgrep -P "$dry" | head -n 1)"
wait $!
is '... and the job would' "$? $(death)" '1 ["reader-crashed","poison","read",null]'
rm "$work/begun"
rehearse slow &
ok 'somebody stops it ...' wait_for 60 test -e "$work/begun"
dry=$(pgrep -P $! -x qetlctl || echo $!)
kill -TERM "$dry"
wait $!
is '... it says so, and speaks of no worker' "$? $(jq -c '[.error_code, .hint]' "$work/out")" '1 ["cancelled",null]'
like '...' "$(jq -r .error "$work/out")" 'the rehearsal was stopped'
is 'each is one document, and nothing else is said' "$(jq -sc length "$work/out")$(cat "$work/err")" 1
rehearse nothing "$work/one.csv"
is 'no such pipeline: no rehearsal' "$? $(death)" '5 ["not-found","permanent",null,null]'
rehearse orders gopher://x/y
is 'no such scheme' "$? $(death)" '2 ["uri","permanent",null,null]'
echo nothing >"$work/bad.ini"
QETL_CONFIG=$work/bad.ini rehearse orders "$work/one.csv"
is 'a wrong ini' "$? $(death)" '3 ["config","permanent",null,null]'
TMPDIR=$work/nowhere rehearse orders "$work/one.csv"
is 'no folder for its files' "$? $(death)$(cat "$work/err")" '1 ["io","transient",null,null]'
rehearse lake "$work/two.csv"
is 'a target without transactions: all but what it would do' "$? $(said) $(jq -r .why_not "$work/out")" \
    '0 [true,4,4,0,null] a target of the kind file:// has no transaction that could be taken back'
is '... nothing is there' "$(find "$work/lake" -type f ! -name .qetl-lock 2>/dev/null)" ''
{ cat "$QETL_CONFIG"; printf '[target nowhere]\nurl = file:///proc/lake\n[pipeline nowhere]\ncolumns = id:integer!\ntable = nowhere.t\n'; } >"$work/nowhere.ini"
QETL_CONFIG=$work/nowhere.ini rehearse nowhere "$work/two.csv"
is '... a folder that cannot be made' "$? $(death)" '1 ["target-denied","permanent","load",null]'
like '... check says so, too' "$(QETL_CONFIG=$work/nowhere.ini qetlctl check 2>&1)" "the folder '/proc/lake' is not there, and cannot be made in '/proc'"
rm -rf "$work/lake"
replaced() { jq -c '.tables[0].schema | [.replaced_objects, .replaced_rows]' "$work/out"; }
rehearse swap "$work/two.csv"
is '... a replace into a folder that is not there yet' "$? $(replaced)" '0 [0,0]'
ok '... which it leaves so' [ ! -e "$work/lake" ]
submit lake "$work/two.csv" >/dev/null
submit lake "$work/two.csv" >/dev/null
qetl drain >/dev/null 2>&1
rm -f "$work/lake/.qetl-lock"
before=$(cd "$work/lake" && find . | sort)
rehearse swap "$work/two.csv"
is '... a replace says what it takes the place of' "$? $(replaced)" '0 [2,8]'
is '... and only reads' "$(cd "$work/lake" && find . | sort)" "$before"
like '... with words for people' "$(qetlctl submit swap "$work/two.csv" --dry-run)" 'in place of 2 objects with 8 rows'
rm -rf "$work/lake"
rehearse lake "$work/two.csv" --wait
like 'it is never in the queue' "$? $(cat "$work/err")" '2 qetlctl: --dry-run is about one job, which is never in the queue'
qetlctl submit orders "$work/two.csv" --dry-run >"$work/out"
like 'with words for people' "$(cat "$work/out")" 'rows +read 4, added 0, staged 4, rejected 0'
like '...' "$(cat "$work/out")" 'would be +inserted .*, updated'
qetlctl submit broken --dry-run >"$work/out" 2>"$work/err"
is '... of a failure, too' "$?$(cat "$work/err")" 1
like '... what the program said' "$(cat "$work/out")" '^gone wrong$'

# ---- told to stop at the target ----
cat >>"$site/qetl.ini" <<INI
[pipeline endless]
columns = id:integer!, name
table   = warehouse.endless
after_load = DELETE FROM endless WHERE id = (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c)
INI
at_target() { ! flock -n "$site/warehouse.db-lock" true; }
stopped() { # NAME: the rehearsal of endless
    timeout -s KILL 300 qetlctl --json submit endless "$work/two.csv" --dry-run >"$work/out" &
    ok "$1 ..." wait_for 60 at_target
    kill -TERM "$(pgrep -P $! -x qetlctl)"
    wait $!
    is '... it is told to stop, and does' "$? $(jq -c '[.ok, .error_code]' "$work/out")" '1 [false,"cancelled"]'
}
was=$(traces)
stopped 'a rehearsal whose SQL has no end'
is '... and nothing is left' "$(traces)" "$was"

# ---- killed in the middle ----
was=$(sqlite3 -readonly "$site/warehouse.db" .dump | md5sum)
sed 's/^\([0-9]*\),/1\1,/' "$work/large.csv" >"$work/other.csv"
{ (QETL_FAULT=load-rollback:kill qetlctl submit strict "$work/other.csv" --dry-run) >/dev/null 2>&1; } 2>/dev/null
is 'killed before its rollback: the next one who looks finds the table as it was' "$(sqlite3 "$site/warehouse.db" .dump | md5sum)" "$was"
left() { find "$TMPDIR" -mindepth 1 -maxdepth 1 -name 'qetl-rehearsal-*' | wc -l; }
is '... its folder is left' "$(left)" 1
rm -f "$work/begun"
rehearse slow &
ok '... another one begins' wait_for 60 test -e "$work/begun"
is '... which removes it' "$(left)" 1
theirs=$(find "$TMPDIR" -mindepth 1 -maxdepth 1 -name 'qetl-rehearsal-*')
dry=$(pgrep -P $! -x qetlctl || echo $!)
rehearse orders "$work/two.csv"
is '... and its own is nobody else'"'"'s' "$(said | jq -c '.[0]') $(find "$TMPDIR" -mindepth 1 -maxdepth 1 -name 'qetl-rehearsal-*')" "true $theirs"
kill -INT "$dry"
wait
is '... nothing is left at last' "$(left)" 0
# ---- PostgreSQL: the same, in its transaction ----
if grep -q '^#define HAVE_LIBPQ 1' "$builddir/config.h" && try_service postgres; then
    export PGPASSWORD
    new_site <<INI
$(pg_remote)
[pipeline orders]
columns = id:integer!, name, amount:decimal(2)
table   = pg.orders
mode    = upsert
key     = id
max_rejects = 10
[pipeline ends]
columns = id:integer!, name, amount:decimal(2)
table   = pg.orders
mode    = upsert
key     = id
after_load = DELETE FROM orders; COMMIT; DELETE FROM qetl_load
[pipeline empties]
columns = id:integer!, name, amount:decimal(2)
table   = pg.orders
mode    = upsert
key     = id
after_load = DELETE FROM orders
INI
    tables() { pg "SELECT count(*) FROM pg_class WHERE relname ~ '^(orders|qetl)'"; }
    rehearse orders "$work/one.csv"
    is 'PostgreSQL: before there is anything' "$? $(said)" '0 [true,3,2,1,[2,0,0,0,0]]'
    is '... no table, no ledger' "$(tables)" 0
    qetlctl --json run orders "$work/one.csv" >/dev/null 2>&1
    was=$(tables)
    rehearse orders "$work/two.csv"
    is '... beside rows' "$? $(said)" '0 [true,4,4,0,[2,2,0,0,0]]'
    is '... of which none is touched' "$(tables) $(pg 'SELECT count(*), count(*) FILTER (WHERE name = $$Anna$$) FROM orders')" "$was 2|0"
    rehearse orders "$work/two.csv" # the ledger holds no trace of the first
    is '... as often as one likes' "$(said)" '[true,4,4,0,[2,2,0,0,0]]'
    was=$(pg 'SELECT * FROM orders ORDER BY id; SELECT uid FROM qetl_load')
    rehearse empties "$work/two.csv"
    is '... with after_load' "$(said)" '[true,4,4,0,[2,2,0,0,0]]'
    rehearse ends "$work/two.csv"
    is '... also one that would commit: it would die of it' "$? $(said) $(jq -r .error_code "$work/out")" '1 [false,4,4,0,null] after-load'
    is '... and cannot' "$(pg 'SELECT * FROM orders ORDER BY id; SELECT uid FROM qetl_load')" "$was"

    # a role that lacks rights
    verdicts() { jq -c '[.ok, .why_not, .error_code, (.tables | map(.schema.state)), (.own_tables | length)]' "$work/out"; }
    pg "CREATE ROLE low LOGIN PASSWORD 'secret'; GRANT SELECT ON orders TO low; GRANT SELECT, INSERT, UPDATE ON qetl_load TO low" >/dev/null
    pg 'CREATE DATABASE bare' >/dev/null
    sed -i "s|^url = postgresql://test@\(.*\)|url = postgresql://low@\1|" "$site/qetl.ini"
    printf '[pipeline plain]\ncolumns = id:integer!, name, amount:decimal(2)\ntable = pg.orders\n' >>"$site/qetl.ini"
    for p in plain orders; do
        rehearse $p "$work/two.csv"
        is "... without the right to insert ($p): one verdict" "$? $(verdicts)" '1 [false,null,"target-denied",["refused"],0]'
    done
    sed -i "s|^\(url = postgresql://low@.*/\)test|\1bare|" "$site/qetl.ini"
    rehearse orders "$work/two.csv"
    is '... without the right to make the ledger: it would not be loaded' "$? $(verdicts | jq -c '[.[0, 1, 2, 4]]')" '1 [false,null,"target-denied",0]'
    like '... and says why' "$(jq -r .error "$work/out")" 'make the ledger qetl_load: permission denied'
    is '... the table is looked at all the same' "$(jq -c '.tables | length' "$work/out")" 1
else
    skip "PostgreSQL: ${why:-built without it}" 13
fi

# ---- MariaDB: where nothing has to be made ----
if grep -q '^#define HAVE_LIBMARIADB 1' "$builddir/config.h" && try_service mariadb; then
    new_site <<INI
$(my_remote)
[pipeline orders]
columns = id:integer!, name, amount:decimal(2)
table   = my.orders
mode    = upsert
key     = id
max_rejects = 10
on_new_column = add
[pipeline whole]
columns = id:integer!, name, amount:decimal(2)
table   = my.orders
mode    = replace
[pipeline kept]
columns = id:integer!, name
table   = my.kept
undo    = 1d
[pipeline past]
columns = id:integer!, name, amount:decimal(2)
table   = my.past
mode    = history
key     = id
[pipeline after]
columns = id:integer!, name, amount:decimal(2)
table   = my.orders
after_load = UPDATE orders SET name = ''
INI
    traces() { # of all tables
        for table in $(my 'SHOW TABLES'); do my "SELECT * FROM $table ORDER BY 1, 2"; done
        my "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = database() ORDER BY 1, 2"
        find "$site" "$TMPDIR" -type f ! -size 0 ! -name '*-lock' ! -name '*-shm' -exec md5sum {} + | sort -k 2
    }
    unasked() { # NAME PIPELINE FILE WHY
        local was
        was=$(traces)
        rehearse "$2" "$3"
        like "MariaDB: $1" "$? $(said) $(jq -r .why_not "$work/out")" "^0 \\[true,[0-9],[0-9],[0-9],null\\] .*$4.* cannot take back"
        is '... nothing is made' "$(traces)" "$was"
    }
    unasked 'no ledger' orders "$work/one.csv" 'make the ledger'
    qetlctl init >/dev/null
    unasked 'no table' orders "$work/one.csv" 'make the table'
    qetlctl --json run orders "$work/one.csv" >/dev/null 2>&1
    unasked 'no table for undo' kept "$work/new.csv" 'make the tables for undo'
    printf 'id,name,amount,more\n1,Ann,5,x\n' >"$work/more.csv"
    unasked 'a new column' orders "$work/more.csv" "get the column 'more'"
    compare 'MariaDB: an upsert' orders "$work/two.csv"
    compare 'MariaDB: a replaced table' whole "$work/one.csv"
    qetlctl --json run past "$work/two.csv" >/dev/null 2>&1
    compare 'MariaDB: history' past "$work/one.csv"
    was=$(traces)
    rehearse after "$work/two.csv"
    like 'MariaDB: after_load' "$? $(said) $(jq -r .why_not "$work/out")" '^0 \[true,4,4,0,null\] .*what after_load does'
    is '... is not run' "$(traces)" "$was"
    long=$(printf 'x%.0s' $(seq 65))
    cat >>"$site/qetl.ini" <<INI
[pipeline first]
columns = id:integer!, name
table   = my.nokey
undo    = 1d
[pipeline many]
[pipeline many.a]
columns = id:integer!, name
table   = my.many
[pipeline many.b]
from    = a
table   = my.nokey
mode    = upsert
key     = id
INI
    my 'CREATE TABLE nokey (id BIGINT, name TEXT)' >/dev/null
    for p in first many; do
        rehearse $p "$work/one.csv"
        is "MariaDB: a table that is refused is a job that dies, whatever else would be made ($p)" \
            "$? $(jq -c '[.ok, .why_not, .error_code, ([.tables[].schema.state] | index("refused") != null)]' "$work/out")" '1 [false,null,"target-refused",true]'
    done
    sed -i '/^\[pipeline first\]/,$d' "$site/qetl.ini"
    printf 'id,%s\n1,x\n' "$long" >"$work/long.csv"
    printf '[pipeline long]\ntable = my.made\n' >>"$site/qetl.ini"
    rehearse long "$work/long.csv"
    like 'MariaDB: ... nor can a name be longer than the server takes' "$? $(jq -r .error "$work/out")" "^1 .*the name of column '$long' has 65 characters, and the server takes at most 64"
else
    skip "MariaDB: ${why:-built without it}" 19
fi
done_testing
