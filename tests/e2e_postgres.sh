#!/bin/bash
# A PostgreSQL warehouse: every type, every mode, tables that people made, and exactly once whatever dies on either side.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need jq jq
grep -q '^#define HAVE_LIBPQ 1' "$builddir/config.h" || skip_all 'built without PostgreSQL'
start_service postgres
export PGPASSWORD

pg() { psql -qXAt -h "$PGHOST" -p "$PGPORT" -U "$PGUSER" -d "$PGDATABASE" -c "$1" 2>&1; }
csv() { printf '%s\n' "$@" >"$work/in.csv"; }
job_is() { [ "$(state "$1")" = "$2" ]; }
counts() { # JOB
    qetlctl --json show "$1" | jq -r '.job | "\(.rows_inserted) \(.rows_updated) \(.rows_unchanged) \(.rows_deleted) \(.rows_removed)"'
}
load() { # PIPELINE, rows in $work/in.csv: gives the job and its end
    job=$(qetlctl --json submit "$1" "$work/in.csv" | jq .id)
    timeout 60 qetl drain --max-wait 20s 2>"$work/drain"
    echo "$(state "$job") $(counts "$job")"
}
run_load() { job=''; end=$(load "$1"); job=$(qetlctl --json jobs | jq '.jobs | max_by(.id) | .id'); }
error_of() { qetlctl --json errors | jq -r '.errors[0].message'; }

new_site <<INI
[limits]
crashes = 1000
[remote pg]
url = postgresql://127.0.0.1:$PGPORT/
password = @file:$work/password
[target pg]
url = $PGURL
[pipeline types]
columns = id:integer!, name:text, price:decimal(2), weight:real, sold:boolean, day:date, at:timestamp, extra:json
null = "", NA
table = pg.types
max_rejects = 100
[pipeline people]
columns = id:integer!, name:text, born:date
table = pg.people
mode = upsert
key = id
[pipeline changed]
columns = id:integer!, name:text, version:integer, gone:boolean
table = pg.changed
mode = upsert
key = id
update_only_if_changed = yes
version = version
deleted = gone
[pipeline whole]
columns = id:integer!, name:text
table = pg.whole
mode = upsert
key = id
missing = delete
[pipeline first]
columns = id:integer!, name:text
table = pg.first
mode = insert_ignore
key = id
[pipeline now]
columns = id:integer!, name:text
table = pg.now
mode = replace
[pipeline past]
columns = id:integer!, city:text, moved:date
table = pg.past
mode = history
key = id
version = moved
[pipeline snapshot]
columns = id:integer!, city:text
table = pg.snapshot
mode = history
key = id
missing = delete
[pipeline foreign]
columns = id:integer!, code:text, amount:decimal(2), at:timestamp, "odd ""name":text from odd
table = pg.shop.Orders
[pipeline parts]
columns = id:integer!, day:date!, n:integer
table = pg.parts
mode = upsert
key = id, day
[pipeline after]
columns = id:integer!, n:integer
table = pg.after
after_load = INSERT INTO sums SELECT :job, sum(n) FROM after
INI
umask 077
printf 'secret\n' >"$work/password"
qetlctl init >/dev/null

# ---- types ----
csv id,name,price,weight,sold,day,at,extra \
    '1,Zoë,12.50,0.1,true,2024-02-29,2024-02-29T12:34:56.789012Z,"{""a"": [1, 2]}"' \
    '2,,-0.05,-1e300,false,0001-01-01,9999-12-31T23:59:59Z,"""x"""' \
    '3,"two
lines",9999999999999999.99,3,no,1999-12-31,1970-01-01 00:00:00+02:00,null' \
    '-9223372036854775808,\N,0,0,yes,2000-01-01,2000-01-01T00:00:00Z,NA' \
    '5,x,10000.00,1,0,2000-01-01,2000-01-01T00:00:00Z,"{""bad"": ""\u0000""}"' \
    '6,x,10000.01,1,0,2000-01-01,2000-01-01T00:00:00Z,"""\ud800"""' \
    '7,x,0.10,1,0,2000-01-01,2000-01-01T00:00:00Z,"""\ud83d\ude00"""'
run_load types
is 'every type is loaded' "$end" 'loaded 5 0 0 0 0'
is '... text, also of two lines' "$(pg "SELECT name FROM types WHERE id IN (1, 3) ORDER BY id")" "$(printf 'Zoë\ntwo\nlines')"
is '... decimals to the last digit' "$(pg 'SELECT price FROM types ORDER BY id' | xargs)" '0.00 12.50 -0.05 9999999999999999.99 0.10'
is '... reals' "$(pg 'SELECT weight FROM types WHERE id IN (1, 2) ORDER BY id' | xargs)" '0.1 -1e+300'
is '... booleans' "$(pg 'SELECT sold FROM types ORDER BY id' | xargs)" 't t f f f'
is '... dates' "$(pg 'SELECT day FROM types ORDER BY id' | xargs)" '2000-01-01 2024-02-29 0001-01-01 1999-12-31 2000-01-01'
is '... timestamps, in UTC' "$(pg "SELECT at AT TIME ZONE 'UTC' FROM types WHERE id IN (1, 2, 3) ORDER BY id" | xargs)" \
    '2024-02-29 12:34:56.789012 9999-12-31 23:59:59 1969-12-31 22:00:00'
is '... json as jsonb' "$(pg "SELECT extra->'a'->1 FROM types WHERE id = 1") $(pg 'SELECT extra FROM types WHERE id = 7')" '2 "😀"'
is '... null, json null apart' "$(pg 'SELECT name IS NULL, extra IS NULL FROM types WHERE id = 2') $(pg "SELECT extra = 'null' FROM types WHERE id = 3")" 't|f t'
is '... what jsonb cannot hold is rejected, not the whole file' "$(field "$job" rows_rejected)" 2
is '... the columns have the types that are promised' "$(pg "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = 'types'::regclass AND attnum > 0")" \
    'bigint, text, numeric(18,2), double precision, boolean, date, timestamp with time zone, jsonb'
is '... and the ledger has the job' "$(pg "SELECT rows, inserted, pipeline FROM qetl_load WHERE job = $job")" '5|5|types'
{ echo id,name,price,weight,sold,day,at,extra; seq 100000 | sed 's/.*/&,name &,&.25,&.5,true,2020-01-01,2020-01-01 00:00:00,{}/'; } >"$work/in.csv"
run_load types
is 'a large output goes by a file' "$end $(pg "SELECT count(*), sum(price) FROM types WHERE name LIKE 'name %'")" 'loaded 100000 0 0 0 0 100000|5000075000.00'
is '... which is gone from the spool' "$(find "$site/spool/staged" -type f | wc -l)" 0

# ---- modes ----
csv id,name,born 1,Ann,2000-01-01 2,Bob, 3,Cy,1999-09-09
run_load people
is 'upsert: new rows' "$end" 'loaded 3 0 0 0 0'
csv id,name,born 2,Bobby,2001-01-01 4,Di, 4,Dinah,
run_load people
is '... rows that are there, and one twice in a job' "$end" 'loaded 1 1 1 0 0'
is '... the last one counts' "$(pg 'SELECT id, name FROM people ORDER BY id' | xargs)" '1|Ann 2|Bobby 3|Cy 4|Dinah'
csv id,name,version,gone 1,a,5, 2,b,5, 3,c,5,
run_load changed
csv id,name,version,gone 1,a,5, 2,old,4, 3,new,6, 4,d,1, 1,,7,true
run_load changed
is 'upsert with version, deleted and only_if_changed' "$end" 'loaded 1 1 2 1 0'
is '... an older version never wins, a deleted row keeps its columns' "$(pg 'SELECT id, name, version, gone FROM changed ORDER BY id' | xargs)" \
    '1|a|7|t 2|b|5| 3|new|6| 4|d|1|'
csv id,name 1,a 2,b 3,c
run_load whole
csv id,name 2,b 4,d
run_load whole
is 'missing = delete: what the job does not have goes' "$end $(pg 'SELECT id FROM whole ORDER BY id' | xargs)" 'loaded 1 1 0 0 2 2 4'
csv id,name 1,a 1,z
run_load first
csv id,name 1,b 2,c
run_load first
is 'insert_ignore: the first one stays' "$end $(pg 'SELECT id, name FROM first ORDER BY id' | xargs)" 'loaded 1 0 1 0 0 1|a 2|c'
csv id,name 1,a 2,b
run_load now
csv id,name 3,c
run_load now
is 'replace: what was there goes' "$end $(pg 'SELECT id, name FROM now' | xargs)" 'loaded 1 0 0 0 2 3|c'
csv id,city,moved 1,Bonn,2020-01-01 2,Köln,2020-01-01 1,Bern,2021-05-05
run_load past
is 'history: versions in one job' "$end" 'loaded 2 1 0 0 0'
csv id,city,moved 1,Bern,2022-01-01 1,Rom,2019-01-01 2,Wien,2022-02-02 3,Graz,2022-02-02
run_load past
is '... an unchanged, an older, a changed and a new one' "$end" 'loaded 1 1 2 0 0'
is '... each with the time from which it holds' "$(pg 'SELECT id, city, valid_from::date, valid_to::date, is_current FROM past ORDER BY id, valid_from' | xargs)" \
    '1|Bonn|2020-01-01|2021-05-05|f 1|Bern|2021-05-05||t 2|Köln|2020-01-01|2022-02-02|f 2|Wien|2022-02-02||t 3|Graz|2022-02-02||t'
csv id,city 1,Bonn 2,Köln
run_load snapshot
csv id,city 2,Wien 2,Ulm 3,Graz
run_load snapshot
is 'history of snapshots: the last row of a key, and what is missing ends' "$end" 'loaded 1 1 1 0 1'
is '... and is not current' "$(pg 'SELECT id, city, is_current, valid_to IS NULL FROM snapshot ORDER BY id, valid_from' | xargs)" \
    '1|Bonn|f|f 2|Köln|f|f 2|Ulm|t|t 3|Graz|t|t'
# ---- tables that people made ----
pg 'CREATE SCHEMA shop; CREATE TABLE shop."Orders" (nr int GENERATED BY DEFAULT AS IDENTITY, id int NOT NULL, code varchar(4), amount numeric(10,2),
    at timestamp, "odd ""name" text, made timestamptz DEFAULT now())' >/dev/null
csv id,code,amount,at,odd '1,ab,1.50,2020-01-01 10:00:00,x' '2,abc,,,y'
run_load foreign
is 'a table with other types, a schema, an identity and odd names' "$end" 'loaded 2 0 0 0 0'
is '... has the rows' "$(pg "SELECT nr, id, code, amount, at, \"odd \"\"name\" FROM shop.\"Orders\" ORDER BY id" | xargs)" '1|1|ab|1.50|2020-01-01 10:00:00|x 2|2|abc|||y'
csv id,code,amount,at,odd 1,abcde,1,,x
run_load foreign
like '... what it does not take is refused, and says why' "$end $(error_of)" '^dead .*too long'
csv id,code,amount,at,odd 99999999999,a,1,,x
run_load foreign
like '... also what does not fit its number' "$end $(error_of)" '^dead .*out of range'
is '... with nothing of it in the table' "$(pg 'SELECT count(*) FROM shop."Orders"') $(pg "SELECT count(*) FROM qetl_load WHERE job = $job")" '2 0'
pg 'CREATE TABLE parts (id bigint, day date, n bigint, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (DATE $$2020-01-01$$);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (DATE $$2020-01-01$$) TO (MAXVALUE)' >/dev/null
csv id,day,n 1,2019-01-01,1 1,2020-01-01,2
run_load parts
csv id,day,n 1,2019-01-01,5 2,2020-01-01,6
run_load parts
is 'a partitioned table, with its counts' "$end $(pg 'SELECT id, day, n FROM parts ORDER BY n' | xargs)" 'loaded 1 1 0 0 0 1|2020-01-01|2 1|2019-01-01|5 2|2020-01-01|6'
pg 'CREATE TABLE refused (id bigint, must text NOT NULL); CREATE VIEW aview AS SELECT 1 AS id; CREATE TABLE nokey (id bigint, name text)' >/dev/null
cat >>"$site/qetl.ini" <<INI
[pipeline refused]
columns = id:integer!
table = pg.refused
[pipeline aview]
columns = id:integer!
table = pg.aview
[pipeline more]
columns = id:integer!, extra:date
table = pg.refused
[pipeline nokey]
columns = id:integer!, name:text
table = pg.nokey
mode = upsert
key = id
[pipeline noschema]
columns = id:integer!
table = pg.nowhere.t
INI
csv id,name,extra 1,a,2020-01-01
for case in 'refused|NOT NULL without a default' 'aview|is a view' 'more|ALTER TABLE .* ADD COLUMN "extra" date' 'nokey|no unique or exclusion constraint' \
    'noschema|schema "nowhere" does not exist'; do
    run_load "${case%%|*}"
    like "${case%%|*} is refused with what to do" "$end $(error_of)" "^dead .*${case#*|}"
done
pg 'CREATE TABLE sums (job text, n numeric)' >/dev/null
csv id,n 1,10 2,20
run_load after
is 'after_load runs in the commit' "$end $(pg 'SELECT n, length(job) FROM sums')" 'loaded 2 0 0 0 0 30|26'
pg 'DROP TABLE sums' >/dev/null
run_load after
like '... and takes the job with it when it fails' "$end $(error_of)" '^dead .*after_load.*sums'
is '... rows and all' "$(pg 'SELECT count(*) FROM after')" 2

# ---- undo ----
cat >>"$site/qetl.ini" <<INI
[pipeline added]
columns = id:integer!, name:text
table = pg.added
undo = 1d
[pipeline fresh]
columns = id:integer!, name:text
table = pg.fresh
mode = insert_ignore
key = id
undo = 1d
[pipeline swapped]
columns = id:integer!, name:text
table = pg.swapped
mode = replace
undo = 1d
[pipeline swapped2]
columns = id:integer!, name:text
table = pg.swapped
[pipeline past2]
columns = id:integer!, name:text, at:timestamp
table = pg.past2
mode = history
key = id
version = at
undo = 1d
[pipeline merged]
columns = id:integer!, day:date!, name:text, price:decimal(2), at:timestamp, weight:real, extra:json
table = pg.merged
mode = upsert
key = id, day
undo = 1d
INI
undo() { qetlctl undo "$1" 2>&1; }
csv id,name 1,a 2,b
run_load added
one=$job
csv id,name 3,c
run_load added
ok 'undo of an append takes out its rows' undo "$one"
is '... and only those' "$(pg 'SELECT id FROM added' | xargs) $(pg "SELECT undone_at IS NULL FROM qetl_load WHERE job = $one")" '3 f'
like '... the queue shows it' "$(field "$one" undone) $(state "$one")" '^20.*Z loaded$'
like '... again: it is done already' "$(undo "$one")" "^job $one was undone before, at 20.*; nothing has changed"
pg 'CREATE TABLE fresh (id bigint PRIMARY KEY, name text, _job text)' >/dev/null
three=$job
csv id,name 1,a 2,b
run_load fresh
first=$job
csv id,name 2,x 3,c
run_load fresh
like 'undo of an insert_ignore is refused when a later one left rows out' "$(undo "$first")" 'left rows out'
ok '... but the last one' undo "$job"
is '... and nothing else' "$(pg 'SELECT id, name FROM fresh ORDER BY id' | xargs)" '1|a 2|b'
job=$three
pg 'DELETE FROM added' >/dev/null
like '... refused when the rows are not there any more' "$(undo "$job")" '0 of the job.s 1 rows'
csv id,name 1,old 2,old
run_load swapped
first=$job
csv id,name 9,new
run_load swapped
like 'undo of a replace is refused while a later one stands on it' "$(undo "$first")" "job $job was loaded into table '.*swapped.*' later, and builds on it"
csv id,name 5,more
run_load swapped2
like '... also on one of a pipeline without undo' "$(undo "$((job - 1))")" "job $job was loaded into table '.*swapped.*' later"
like '... which kept nothing' "$(undo "$job")" 'nothing is kept.*had no undo='
pg 'TRUNCATE swapped' >/dev/null
pg "DELETE FROM qetl_undo WHERE state = 'none'" >/dev/null
job=$((job - 1))
like '... nor is a table undone that people changed' "$(undo "$job")" 'has not the rows that the job left'
pg "INSERT INTO swapped VALUES (9, 'new')" >/dev/null
ok '... but the last one' undo "$job"
is '... brings back what was there' "$(pg 'SELECT id, name FROM swapped ORDER BY id' | xargs)" '1|old 2|old'
ok '... and then the one before' undo "$first"
is '... which found nothing' "$(pg 'SELECT count(*) FROM swapped')" 0
csv id,day,name,price,at,weight,extra 1,2020-01-01,a,1.50,2020-01-01T00:00:00.000001Z,0.1,'"{""k"":1}"' 2,2020-01-01,b,,,,
run_load merged
was=$(pg 'SELECT md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM merged t')
csv id,day,name,price,at,weight,extra 1,2020-01-01,A,9.99,,7, 3,2020-01-01,c,,,, 2,2020-01-01,b,,,,
run_load merged
second=$job
csv id,day,name,price,at,weight,extra 3,2020-01-01,C,,,,
run_load merged
like 'undo of an upsert is refused when its rows were changed since' "$(undo "$second")" '1 rows that the job wrote were changed'
ok '... but the last one' undo "$job"
is '... and then that one' "$(undo "$second")" "job $second undone: 2 rows removed, 1 put back"
is '... and every value is what it was' "$(pg 'SELECT md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM merged t')" "$was"
is '... nothing is kept of what was undone' "$(pg "SELECT count(*) FROM qetl_undo_row r JOIN qetl_load l USING (uid) WHERE undone_at IS NOT NULL")" 0
csv id,name 1,a
run_load now
like 'undo of what was not kept says so' "$(undo "$job")" 'had no undo='
csv id,name,at 1,a,2020-01-01T00:00:00Z
like 'a history is not undone: check says so' "$(qetlctl check 2>&1)" 'past2.*a history is not undone on PostgreSQL'
csv id,name 8,old
run_load swapped
pg "UPDATE qetl_undo SET kept_until = now() - interval '1 minute'" >/dev/null
like 'undo that comes too late is refused' "$(undo "$job")" 'nothing is kept.*it is longer ago than that'
run_load now
is '... and what is too old is not kept' "$(pg 'SELECT count(*) FROM qetl_undo') $(pg 'SELECT count(*) FROM qetl_undo_row')" '0 0'
# one transaction of four jobs: the first to keep something fails, and the tables that it made go with it
pg 'DROP TABLE qetl_undo, qetl_undo_row; ALTER TABLE added ADD CONSTRAINT few CHECK (id < 100)' >/dev/null
start_role worker
for one in added,100 added,6 swapped,7 swapped2,8; do
    csv id,name "${one#*,},x" && cp "$work/in.csv" "$work/group${one#*,}.csv"
    job=$(qetlctl --json submit "${one%,*}" "$work/group${one#*,}.csv" | jq .id)
done
for i in 0 1 2 3; do wait_for 60 job_is $((job - i)) staged; done
stop_roles
qetl drain 2>/dev/null
is 'of a group, one that fails first' "$(state $((job - 3))) $(state $((job - 2))) $(state $((job - 1))) $(state "$job")" 'dead loaded loaded loaded'
like '... and one without undo is known to those before it' "$(undo $((job - 1)))" "job $job was loaded into table '.*swapped.*' later"
ok '... others are undone' undo $((job - 2))
csv id,name 5,e
for point in target-before-commit target-after-commit undo-before-record; do
    run_load added
    uid=$(field "$job" uid)
    QETL_FAULT=$point:kill qetlctl undo "$job" >/dev/null 2>&1
    is "undo killed at $point: all or nothing" "$(pg "SELECT (SELECT count(*) FROM added WHERE _job = '$uid') = (SELECT count(*) FROM qetl_load WHERE uid = '$uid' AND undone_at IS NULL)") $(field "$job" undone)" 't null'
    undo "$job" >/dev/null
    is '... and done by calling it again' "$? $(pg "SELECT count(*) FROM added WHERE _job = '$uid'") $(field "$job" undone | cut -c 1-2)" '0 0 20'
done
job=$(qetlctl --json submit added "$work/in.csv" | jq .id)
mkdir -p "$work/queue" && cp "$site"/queue.db* "$work/queue"
qetl drain 2>/dev/null
undo "$job" >/dev/null
rm "$site"/queue.db* && cp "$work/queue"/queue.db* "$site"
qetl drain 2>/dev/null
like 'a queue that was put back does not load it again' "$(state "$job") $(error_of)" '^dead .*it was loaded before, and undone at'
pg 'ALTER TABLE qetl_load DROP COLUMN undone_at' >/dev/null
run_load now
like 'a ledger of an earlier version is brought up to date' "$end" '^loaded 1 '

# ---- exactly once ----
cat >>"$site/qetl.ini" <<INI
[pipeline once]
columns = id:integer!, n:integer
table = pg.once
INI
expected=0
for fault in loader-before-record loader-after-record target-before-commit target-after-commit loader-renew; do
    for how in kill error; do
        { echo id,n; seq 20000 | sed 's/$/,1/'; } >"$work/in.csv"
        small=$work/small.csv
        printf 'id,n\n1,1\n' >"$small"
        jobs=$(for f in "$work/in.csv" "$small" "$small"; do qetlctl --json submit once "$f" | jq .id; done)
        QETL_FAULT=$fault:1:$how timeout 4 qetl drain --max-wait 1s 2>/dev/null
        timeout 60 qetl drain --max-wait 20s 2>"$work/drain"
        expected=$((expected + 20002))
        is "$how at $fault: each job once" "$(for j in $jobs; do state "$j"; done | xargs) $(pg 'SELECT count(*) FROM once')" "loaded loaded loaded $expected"
    done
done
is '... and the ledger agrees' "$(pg "SELECT sum(rows) FROM qetl_load WHERE pipeline = 'once'")" $expected

# the server dies and comes back, again and again, while jobs are committed
start_role all
for _ in $(seq 40); do printf '{"pipeline":"once","objects":["%s"]}\n{"pipeline":"once","objects":["%s"]}\n' "$work/in.csv" "$small"; done | qetlctl submit - >/dev/null
for _ in 1 2 3; do
    sleep 0.4
    kill -9 "$(head -1 "$work/postgres/data/postmaster.pid")"
    stop_service postgres
    sleep 0.3
    start_service postgres
done
all_loaded() { [ "$(queue_sql "SELECT count(*) FROM job WHERE pipeline = 'once' AND state <> 'loaded'")" = 0 ]; }
ok 'a server killed three times under load: all jobs are loaded' wait_for 60 all_loaded
expected=$((expected + 40 * 20001))
is '... each once' "$(pg 'SELECT count(*) FROM once') $(pg "SELECT sum(rows) FROM qetl_load WHERE pipeline = 'once'")" "$expected $expected"
stop_service postgres
held=$(qetlctl --json submit once "$small" | jq .id)
ok 'a server that is away: the job waits, staged' wait_for 60 job_is "$held" staged
away() { qetlctl --json status | jq -e '.targets_away[0].target == "pg"'; }
ok '... and status says so' wait_for 60 away
start_service postgres
ok '... until it is back' wait_for 70 job_is "$held" loaded
stop_roles

# two loaders of one target
sed -i '/^\[target pg\]/a loaders = 2' "$site/qetl.ini"
before=$(pg 'SELECT count(*) FROM once')
for _ in $(seq 30); do printf '{"pipeline":"once","objects":["%s"]}\n' "$work/in.csv"; done | qetlctl submit - >/dev/null
timeout 60 qetl drain 2>"$work/drain"
is 'two loaders: each job once' "$(($(pg 'SELECT count(*) FROM once') - before))" 600000
for n in 1 2 3 4 5 6 7 8; do
    printf 'id,name,born\n1,v%s,\n' $n >"$work/v$n.csv"
    echo "{\"pipeline\":\"people\",\"objects\":[\"$work/v$n.csv\"]}"
done | qetlctl submit - >/dev/null
timeout 60 qetl drain 2>"$work/drain"
is '... and a table in order' "$(pg 'SELECT name FROM people WHERE id = 1')" v8

# ---- the connection ----
verdict() { qetlctl doctor 2>&1 | grep 'target pg'; }
ok 'doctor: the target can be opened' verdict
printf '[here]\nhost=127.0.0.1\nport=%s\nuser=%s\npassword=%s\ndbname=%s\n' "$PGPORT" "$PGUSER" "$PGPASSWORD" "$PGDATABASE" >"$work/services"
printf '[qetl]\ndatabase = %s/q2.db\nspool = %s/spool2\n[target s]\nurl = postgresql:///?service=here\n' "$work" "$work" >"$work/service.ini"
is 'PGSERVICE: the url names a service' \
    "$(PGSERVICEFILE=$work/services PGPASSWORD='' qetlctl -c "$work/service.ini" query s 'SELECT count(*) FROM people' --csv)" "$(printf 'count\n4')"
like 'a query cannot write, and that is a wrong call' "$({ qetlctl query pg 'DELETE FROM people'; echo $?; } 2>&1 | paste -sd ' ')" "^qetlctl: target 'pg': a query may only read .usage. 2$"
like '... nor by a second statement' "$(qetlctl query pg 'COMMIT; DELETE FROM people' 2>&1)" 'multiple commands'
is '... and the rows are there' "$(pg 'SELECT count(*) FROM people')" 4
printf 'wrong\n' >"$work/password"
like 'a wrong password is said, not shown' "$(verdict)" 'authentication failed'
unlike '... not shown' "$(verdict)" 'wrong'
printf 'secret\n' >"$work/password"
sed -i "s|^url = postgresql://127.*|url = postgresql://localhost:$PGPORT/|; s|^url = postgresql://test@.*|url = postgresql://test@localhost:$PGPORT/test?sslmode=verify-full|" "$site/qetl.ini"
like 'TLS: an authority that nobody knows is refused' "$(verdict)" 'certificate|root'
sed -i "/^password = /a ca_file = $PGCA" "$site/qetl.ini"
like '... and ca_file makes it known' "$(verdict)" 'can be opened'
done_testing
