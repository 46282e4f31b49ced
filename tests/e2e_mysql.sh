#!/bin/bash
# A MariaDB warehouse: every type, every mode, tables that people made, and exactly once whatever dies on either side.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need jq jq
grep -q '^#define HAVE_LIBMARIADB 1' "$builddir/config.h" || skip_all 'built without MariaDB'
start_service mariadb

my() { MYSQL_PWD=$MYPASSWORD mariadb --no-defaults --default-character-set=utf8mb4 -h "$MYHOST" -P "$MYPORT" -u "$MYUSER" -NBe "$1" "$MYDATABASE" 2>&1; }
flat() { my "$1" | tr '\t' '|' | xargs -d '\n'; }
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
[remote my]
url = mysql://127.0.0.1:$MYPORT/
password = @file:$work/password
[target my]
url = $MYURL
[pipeline types]
columns = id:integer!, name:text, price:decimal(2), weight:real, sold:boolean, day:date, at:timestamp, extra:json
null = "", NA
table = my.types
max_rejects = 100
[pipeline people]
columns = id:integer!, name:text, born:date
table = my.people
mode = upsert
key = id
[pipeline changed]
columns = id:integer!, name:text, version:integer, gone:boolean
table = my.changed
mode = upsert
key = id
update_only_if_changed = yes
version = version
deleted = gone
[pipeline whole]
columns = id:integer!, name:text
table = my.whole
mode = upsert
key = id
missing = delete
[pipeline first]
columns = id:integer!, name:text
table = my.first
mode = insert_ignore
key = id
[pipeline now]
columns = id:integer!, name:text
table = my.now
mode = replace
[pipeline past]
columns = id:integer!, city:text, moved:date
table = my.past
mode = history
key = id
version = moved
[pipeline snapshot]
columns = id:integer!, city:text
table = my.snapshot
mode = history
key = id
missing = delete
[pipeline foreign]
columns = id:integer!, code:text, amount:decimal(2), at:timestamp, "odd ""\`name":text from odd
table = my.shop.Orders
[pipeline texts]
columns = name:text!, n:integer
table = my.texts
mode = upsert
key = name
max_rejects = 10
[pipeline ci]
columns = name:text!, n:integer
table = my.ci
mode = upsert
key = name
[pipeline after]
columns = id:integer!, n:integer
table = my.after
after_load = INSERT INTO sums SELECT :job, sum(n) FROM after
INI
umask 077
printf 'secret\n' >"$work/password"
qetlctl init >/dev/null

# ---- types ----
csv id,name,price,weight,sold,day,at,extra \
    '1,Zoë,12.50,0.1,true,2024-02-29,2024-02-29T12:34:56.789012Z,"{""a"": [1, 2]}"' \
    '2,,-0.05,-1.7976931348623157e308,false,0001-01-01,9999-12-31T23:59:59.999999Z,"""x"""' \
    '3,"two
lines	and \ a tab",9999999999999999.99,5e-324,no,1999-12-31,1970-01-01 00:00:00+02:00,null' \
    '-9223372036854775808,\N,0,0,yes,2000-01-01,2000-01-01T00:00:00Z,NA' \
    '5,x,10000.00,1,0,2000-01-01,2000-01-01T00:00:00Z,'"$(printf '[%.0s' $(seq 32))$(printf ']%.0s' $(seq 32))" \
    '6,x,10000.01,1,0,2000-01-01,2000-01-01T00:00:00Z,"""\ud800"""' \
    '7,"😀""\",0.10,1,0,2000-01-01,2000-01-01T00:00:00Z,"""\ud83d\ude00\\\t"""' \
    '0,zero,0.10,1,0,2000-01-01,2000-01-01T00:00:00Z,'"$(printf '[%.0s' $(seq 31))$(printf ']%.0s' $(seq 31))"
run_load types
is 'every type is loaded' "$end" 'loaded 6 0 0 0 0'
is '... text, also of two lines, and what looks like a null' "$(my 'SELECT hex(name) FROM types WHERE id IN (1, 3, 7) OR id < 0 ORDER BY id' | xargs)" \
    "$(for t in '\N' 'Zoë' $'two\nlines\tand \\ a tab' "😀\"\\"; do printf %s "$t" | od -An -v -tx1 | tr -d ' \n' | tr a-f A-F; echo; done | xargs)"
is '... decimals to the last digit' "$(flat 'SELECT price FROM types ORDER BY id')" '0.00 0.10 12.50 -0.05 9999999999999999.99 0.10'
is '... reals' "$(flat 'SELECT weight = 0.1e0, weight = -1.7976931348623157e308, weight = 5e-324 FROM types WHERE id IN (1, 2, 3) ORDER BY id')" \
    '1|0|0 0|1|0 0|0|1'
is '... booleans' "$(flat 'SELECT sold FROM types ORDER BY id')" '1 0 1 0 0 0'
is '... dates' "$(flat 'SELECT day FROM types WHERE id IN (1, 2, 3) ORDER BY id')" '2024-02-29 0001-01-01 1999-12-31'
is '... timestamps, in UTC' "$(flat 'SELECT at FROM types WHERE id IN (1, 2, 3) ORDER BY id')" \
    '2024-02-29 12:34:56.789012 9999-12-31 23:59:59.999999 1969-12-31 22:00:00.000000'
is '... json' "$(flat "SELECT json_value(extra, '$.a[1]') FROM types WHERE id = 1") $(my 'SELECT json_valid(extra) FROM types WHERE id = 7')" '2 1'
is '... null, json null apart' "$(flat 'SELECT name IS NULL, extra IS NULL FROM types WHERE id = 2') $(flat "SELECT extra = 'null' FROM types WHERE id = 3")" '1|0 1'
is '... what json_valid() refuses is rejected, not the whole file' "$(field "$job" rows_rejected)" 2
is '... the columns have the types that are promised' "$(my "SELECT group_concat(column_type ORDER BY ordinal_position SEPARATOR ', ')
    FROM information_schema.columns WHERE table_schema = 'test' AND table_name = 'types'")" \
    'bigint(20), longtext, decimal(19,2), double, tinyint(1), date, datetime(6), longtext'
is '... and the ledger has the job' "$(flat "SELECT \`rows\`, inserted, pipeline FROM qetl_load WHERE job = $job")" '6|6|types'
{ echo id,name,price,weight,sold,day,at,extra; seq 100000 | sed 's/.*/&,name &,&.25,&.5,true,2020-01-01,2020-01-01 00:00:00,{}/'; } >"$work/in.csv"
run_load types
is 'a large output goes by a file' "$end $(flat "SELECT count(*), sum(price) FROM types WHERE name LIKE 'name %'")" 'loaded 100000 0 0 0 0 100000|5000075000.00'
is '... which is gone from the spool' "$(find "$site/spool/staged" -type f | wc -l)" 0

# ---- modes ----
csv id,name,born 1,Ann,2000-01-01 2,Bob, 3,Cy,1999-09-09
run_load people
is 'upsert: new rows' "$end" 'loaded 3 0 0 0 0'
csv id,name,born 2,Bobby,2001-01-01 4,Di, 4,Dinah,
run_load people
is '... rows that are there, and one twice in a job' "$end" 'loaded 1 1 1 0 0'
is '... the last one counts' "$(flat 'SELECT id, name FROM people ORDER BY id')" '1|Ann 2|Bobby 3|Cy 4|Dinah'
csv id,name,version,gone 1,a,5, 2,b,5, 3,c,5,
run_load changed
csv id,name,version,gone 1,a,5, 2,old,4, 3,new,6, 4,d,1, 1,,7,true
run_load changed
is 'upsert with version, deleted and only_if_changed' "$end" 'loaded 1 1 2 1 0'
is '... an older version never wins, a deleted row keeps its columns' "$(flat 'SELECT id, name, version, gone FROM changed ORDER BY id')" \
    '1|a|7|1 2|b|5|NULL 3|new|6|NULL 4|d|1|NULL'
csv id,name,version,gone 2,b,5, 3,NEW,6, 1,,8,true
run_load changed
is '... the same again is no change, other letters are' "$end $(flat 'SELECT id, name, version FROM changed ORDER BY id')" \
    'loaded 0 1 2 0 0 1|a|7 2|b|5 3|NEW|6 4|d|1'
csv id,name 1,a 2,b 3,c
run_load whole
csv id,name 2,b 4,d
run_load whole
is 'missing = delete: what the job does not have goes' "$end $(flat 'SELECT id FROM whole ORDER BY id')" 'loaded 1 1 0 0 2 2 4'
csv id,name 1,a 1,z
run_load first
csv id,name 1,b 2,c
run_load first
is 'insert_ignore: the first one stays' "$end $(flat 'SELECT id, name FROM first ORDER BY id')" 'loaded 1 0 1 0 0 1|a 2|c'
csv id,name 1,a 2,b
run_load now
csv id,name 3,c
run_load now
is 'replace: what was there goes' "$end $(flat 'SELECT id, name FROM now')" 'loaded 1 0 0 0 2 3|c'
csv id,city,moved 1,Bonn,2020-01-01 2,Köln,2020-01-01 1,Bern,2021-05-05
run_load past
is 'history: versions in one job' "$end" 'loaded 2 1 0 0 0'
csv id,city,moved 1,Bern,2022-01-01 1,Rom,2019-01-01 2,Wien,2022-02-02 3,Graz,2022-02-02
run_load past
is '... an unchanged, an older, a changed and a new one' "$end" 'loaded 1 1 2 0 0'
is '... each with the time from which it holds' "$(flat 'SELECT id, city, date(valid_from), date(valid_to), is_current FROM past ORDER BY id, valid_from')" \
    '1|Bonn|2020-01-01|2021-05-05|0 1|Bern|2021-05-05|NULL|1 2|Köln|2020-01-01|2022-02-02|0 2|Wien|2022-02-02|NULL|1 3|Graz|2022-02-02|NULL|1'
csv id,city 1,Bonn 2,Köln
run_load snapshot
csv id,city 2,Wien 2,Ulm 3,Graz
run_load snapshot
is 'history of snapshots: the last row of a key, and what is missing ends' "$end" 'loaded 1 1 1 0 1'
is '... and is not current' "$(flat 'SELECT id, city, is_current, valid_to IS NULL FROM snapshot ORDER BY id, valid_from')" \
    '1|Bonn|0|0 2|Köln|0|0 2|Ulm|1|1 3|Graz|1|1'
csv name,n 'a,1' 'A,2' '"a ",3' 'ä,4' "$(printf 'x%.0s' $(seq 256)),5" "$(printf 'ä%.0s' $(seq 255)),6"
run_load texts
is 'a text as the key is compared as bytes, and one that is too long is rejected' \
    "$end $(field "$job" rows_rejected) $(flat "SELECT sum(n), count(*) FROM texts")" 'loaded 5 0 0 0 0 1 16|5'

# ---- tables that people made ----
my 'CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.Orders (nr int AUTO_INCREMENT PRIMARY KEY, id int NOT NULL, code varchar(4),
    amount numeric(10,2), at timestamp NULL, `odd "``name` text, made timestamp DEFAULT now()) ENGINE=InnoDB' >/dev/null
csv id,code,amount,at,odd '1,äb,1.50,2020-01-01 10:00:00,x' '2,abc,,,y'
run_load foreign
is 'a table with other types and characters, a schema, a counter and odd names' "$end" 'loaded 2 0 0 0 0'
is '... has the rows' "$(flat "SET time_zone = '+00:00'; SELECT nr, id, code, amount, at, \`odd \"\`\`name\` FROM shop.Orders ORDER BY id")" \
    '1|1|äb|1.50|2020-01-01 10:00:00|x 2|2|abc|NULL|NULL|y'
csv id,code,amount,at,odd 1,ab,1,,x 1,abcde,1,,x
run_load foreign
like '... what it does not take is refused, and says why and where' "$end $(error_of)" "^dead .*truncated for column 'code' at row 2"
csv id,code,amount,at,odd 99999999999,a,1,,x
run_load foreign
like '... also what does not fit its number' "$end $(error_of)" '^dead .*[Oo]ut of range'
csv id,code,amount,at,odd 5,あ,1,,x
run_load foreign
like '... and what its characters cannot say' "$end $(error_of)" "^dead .*Incorrect string value.*row 1"
is '... with nothing of it in the table' "$(my 'SELECT count(*) FROM shop.Orders') $(my "SELECT count(*) FROM qetl_load WHERE job = $job")" '2 0'
my "CREATE TABLE ci (nr int AUTO_INCREMENT PRIMARY KEY, name varchar(20) CHARACTER SET latin1 COLLATE latin1_general_ci UNIQUE, n int) ENGINE=InnoDB;
    INSERT INTO ci (name, n) VALUES ('ann', 1)" >/dev/null
csv name,n Ann,2 ANN,3 bob,4
run_load ci
is 'a key is compared as its table does' "$end $(flat 'SELECT name, n FROM ci ORDER BY n')" 'loaded 1 1 1 0 0 ann|3 bob|4'
my 'CREATE TABLE refused (id bigint, must text NOT NULL); CREATE VIEW aview AS SELECT 1 AS id; CREATE TABLE nokey (id bigint, name text);
    CREATE TABLE two (id bigint PRIMARY KEY, name varchar(20) UNIQUE); CREATE TABLE plain (id bigint) ENGINE=MyISAM;
    CREATE TABLE made (id bigint AS (1)); CREATE TABLE checked (id bigint CHECK (id < 5), name varchar(9)); CREATE TABLE dup (id bigint PRIMARY KEY)' >/dev/null
cat >>"$site/qetl.ini" <<INI
[pipeline refused]
columns = id:integer!
table = my.refused
[pipeline aview]
columns = id:integer!
table = my.aview
[pipeline more]
columns = id:integer!, extra:date
table = my.refused
[pipeline nokey]
columns = id:integer!, name:text
table = my.nokey
mode = upsert
key = id
[pipeline two]
columns = id:integer!, name:text
table = my.two
mode = upsert
key = id
[pipeline plain]
columns = id:integer!
table = my.plain
[pipeline made]
columns = id:integer!
table = my.made
[pipeline checked]
columns = id:integer!
table = my.checked
[pipeline dup]
columns = id:integer!
table = my.dup
[pipeline noschema]
columns = id:integer!
table = my.nowhere.t
[pipeline ends]
columns = id:integer!, n:integer
table = my.after
after_load = UPDATE sums SET n = 0; TRUNCATE sums
[pipeline hidden]
columns = id:integer!, n:integer
table = my.after
after_load = CALL hidden()
INI
csv id,name,extra 1,a,2020-01-01 9,b,2020-01-01 9,c,2020-01-01
for case in 'refused|NOT NULL without a default.* run: ALTER TABLE' 'aview|is a VIEW' 'more|ALTER TABLE .* ADD COLUMN `extra` DATE' \
    'nokey|run: ALTER TABLE .* ADD UNIQUE' 'two|another unique index' 'plain|run: ALTER TABLE `plain` ENGINE=InnoDB' 'made|is generated' \
    'checked|CONSTRAINT .* failed' 'dup|Duplicate entry' 'noschema|Unknown database'; do
    run_load "${case%%|*}"
    like "${case%%|*} is refused with what to do" "$end $(error_of)" "^dead .*${case#*|}"
done
is '... with nothing in them' "$(my 'SELECT (SELECT count(*) FROM checked) + (SELECT count(*) FROM dup) + (SELECT count(*) FROM plain)')" 0
my 'CREATE TABLE sums (job text, n numeric); CREATE PROCEDURE hidden() COMMIT' >/dev/null
csv id,n 1,10 2,20
run_load after
is 'after_load runs in the commit' "$end $(flat 'SELECT n, length(job) FROM sums')" 'loaded 2 0 0 0 0 30|26'
run_load ends
like '... it cannot end the transaction' "$end $(error_of)" "^dead .*after_load: 'TRUNCATE' would end the transaction"
is '... rows and all' "$(my 'SELECT count(*) FROM after') $(my 'SELECT n FROM sums')" '2 30'
run_load hidden
is '... a COMMIT that hides in a procedure loads no row twice' "${end%% *} $(my 'SELECT count(*) FROM after')" 'loaded 4'
my 'DROP TABLE sums' >/dev/null
run_load after
like '... and takes the job with it when it fails' "$end $(error_of)" '^dead .*after_load.*sums'
is '... rows and all' "$(my 'SELECT count(*) FROM after')" 4

# ---- exactly once ----
cat >>"$site/qetl.ini" <<INI
[pipeline once]
columns = id:integer!, n:integer
table = my.once
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
        is "$how at $fault: each job once" "$(for j in $jobs; do state "$j"; done | xargs) $(my 'SELECT count(*) FROM once')" "loaded loaded loaded $expected"
    done
done
is '... and the ledger agrees' "$(my "SELECT sum(\`rows\`) FROM qetl_load WHERE pipeline = 'once'")" $expected

# the server dies and comes back, again and again, while jobs are committed
start_role all
for _ in $(seq 40); do printf '{"pipeline":"once","objects":["%s"]}\n{"pipeline":"once","objects":["%s"]}\n' "$work/in.csv" "$small"; done | qetlctl submit - >/dev/null
for _ in 1 2 3; do
    sleep 0.4
    kill -9 "$(cat "$work/mariadb/run/pid")"
    stop_service mariadb
    sleep 0.3
    start_service mariadb
done
all_loaded() { [ "$(queue_sql "SELECT count(*) FROM job WHERE pipeline = 'once' AND state <> 'loaded'")" = 0 ]; }
ok 'a server killed three times under load: all jobs are loaded' wait_for 60 all_loaded
expected=$((expected + 40 * 20001))
is '... each once' "$(my 'SELECT count(*) FROM once') $(my "SELECT sum(\`rows\`) FROM qetl_load WHERE pipeline = 'once'")" "$expected $expected"
stop_service mariadb
held=$(qetlctl --json submit once "$small" | jq .id)
ok 'a server that is away: the job waits, staged' wait_for 20 job_is "$held" staged
away() { qetlctl --json status | jq -e '.targets_away[0].target == "my"'; }
ok '... and status says so' wait_for 20 away
start_service mariadb
ok '... until it is back' wait_for 70 job_is "$held" loaded
stop_roles

# two loaders of one target
sed -i '/^\[target my\]/a loaders = 2' "$site/qetl.ini"
before=$(my 'SELECT count(*) FROM once')
for _ in $(seq 30); do printf '{"pipeline":"once","objects":["%s"]}\n' "$work/in.csv"; done | qetlctl submit - >/dev/null
timeout 60 qetl drain 2>"$work/drain"
is 'two loaders: each job once' "$(($(my 'SELECT count(*) FROM once') - before))" 600000
for n in 1 2 3 4 5 6 7 8; do
    printf 'id,name,born\n1,v%s,\n' $n >"$work/v$n.csv"
    echo "{\"pipeline\":\"people\",\"objects\":[\"$work/v$n.csv\"]}"
done | qetlctl submit - >/dev/null
timeout 60 qetl drain 2>"$work/drain"
is '... and a table in order' "$(my 'SELECT name FROM people WHERE id = 1')" v8

# ---- the connection ----
verdict() { qetlctl doctor 2>&1 | grep 'target my'; }
ok 'doctor: the target can be opened' verdict
printf 'wrong\n' >"$work/password"
like 'a wrong password is said, not shown' "$(verdict)" 'Access denied'
unlike '... not shown' "$(verdict)" 'wrong'
printf 'secret\n' >"$work/password"
sed -i "s|^url = mysql://test@.*|url = mysql://test@127.0.0.1:$MYPORT/test?ssl=verify|" "$site/qetl.ini"
like 'TLS: an authority that nobody knows is refused' "$(verdict)" 'certificate|self.signed|TLS|SSL'
sed -i "/^password = /a ca_file = $MYCA" "$site/qetl.ini"
like '... and ca_file makes it known' "$(verdict)" 'can be opened'
sed -i "s|^url = mysql://test@.*|url = mysql://test@127.0.0.2:$MYPORT/test|; s|^url = mysql://127.*/$|url = mysql://127.0.0.2:$MYPORT/|" "$site/qetl.ini"
unlike '... a certificate of another host is refused' "$(verdict)" 'can be opened'
sed -i "s|^url = mysql://test@.*|url = mysql://test@localhost/test?ssl=off\&socket=$MYSOCKET|; s|^url = mysql://127.*/$|url = mysql://localhost/|" "$site/qetl.ini"
like 'a socket' "$(verdict)" 'can be opened'
sed -i "s|^url = mysql://test@.*|url = mysql://test@localhost/|" "$site/qetl.ini"
like 'a url without a database is refused' "$(qetlctl check 2>&1; verdict)" 'names no database'
done_testing
