#!/bin/bash
# A MariaDB warehouse: every type, every mode, tables that people made, and exactly once whatever dies on either side.
# With QETL_TEST_MYSQLD, the program of a MySQL server, the same on MySQL: see tests/services/mysql.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/server.sh"
grep -q '^#define HAVE_LIBMARIADB 1' "$builddir/config.h" || skip_all 'built without MariaDB'
# shellcheck disable=SC2034 # of server.sh
service=mariadb t=my yes=1 no=0 types='bigint(20), longtext, decimal(19,2), double, tinyint(1), date, datetime(6), longtext'
[ -z "${QETL_TEST_MYSQLD:-}" ] || service=mysql types='bigint, longtext, decimal(19,2), double, tinyint(1), date, datetime(6), json'
start_service $service

say() { my "$1"; }
ask() { my "$1" | tr '\t' '|' | sed 's/\bNULL\b//g' | xargs -d '\n'; }
server_pid() { cat "$work/$service/run/pid"; }

new_site <<INI
[limits]
crashes = 1000
$(my_remote)
$(server_pipelines)
[pipeline foreign]
columns = id:integer!, code:text, amount:decimal(2), at:timestamp, "odd ""\`name":text from odd
table = my.shop.Orders
[pipeline exact]
columns = id:integer!, amount:text
table = my.exact
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
INI
umask 077
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
load types
is 'every type is loaded' "$end" 'loaded 6 0 0 0 0'
is '... text, also of two lines, and what looks like a null' "$(my 'SELECT hex(name) FROM types WHERE id IN (1, 3, 7) OR id < 0 ORDER BY id' | xargs)" \
    "$(for t in '\N' 'Zoë' $'two\nlines\tand \\ a tab' "😀\"\\"; do printf %s "$t" | od -An -v -tx1 | tr -d ' \n' | tr a-f A-F; echo; done | xargs)"
is '... decimals to the last digit' "$(ask 'SELECT price FROM types ORDER BY id')" '0.00 0.10 12.50 -0.05 9999999999999999.99 0.10'
is '... reals' "$(ask 'SELECT weight = 0.1e0, weight = -1.7976931348623157e308, weight = 5e-324 FROM types WHERE id IN (1, 2, 3) ORDER BY id')" \
    '1|0|0 0|1|0 0|0|1'
is '... booleans' "$(ask 'SELECT sold FROM types ORDER BY id')" '1 0 1 0 0 0'
is '... dates' "$(ask 'SELECT day FROM types WHERE id IN (1, 2, 3) ORDER BY id')" '2024-02-29 0001-01-01 1999-12-31'
is '... timestamps, in UTC' "$(ask 'SELECT at FROM types WHERE id IN (1, 2, 3) ORDER BY id')" \
    '2024-02-29 12:34:56.789012 9999-12-31 23:59:59.999999 1969-12-31 22:00:00.000000'
is '... json' "$(ask "SELECT json_value(extra, '$.a[1]') FROM types WHERE id = 1") $(my 'SELECT json_valid(extra) FROM types WHERE id = 7')" '2 1'
is '... null, json null apart' "$(ask 'SELECT name IS NULL, extra IS NULL FROM types WHERE id = 2') $(ask "SELECT CAST(extra AS char) = 'null' FROM types WHERE id = 3")" '1|0 1'
is '... what json_valid() refuses is rejected, not the whole file' "$(field "$job" rows_rejected)" 2
is '... the columns have the types that are promised' "$(my "SELECT group_concat(column_type ORDER BY ordinal_position SEPARATOR ', ')
    FROM information_schema.columns WHERE table_schema = 'test' AND table_name = 'types'")" \
    "$types"
is '... and the ledger has the job' "$(ask "SELECT \`rows\`, inserted, pipeline FROM qetl_load WHERE job = $job")" '6|6|types'
large_is_loaded

# ---- modes ----
modes_are_right
csv name,n 'a,1' 'A,2' '"a ",3' 'ä,4' "$(printf 'x%.0s' $(seq 256)),5" "$(printf 'ä%.0s' $(seq 255)),6"
load texts
is 'a text as the key is compared as bytes, and one that is too long is rejected' \
    "$end $(field "$job" rows_rejected) $(ask "SELECT sum(n), count(*) FROM texts")" 'loaded 5 0 0 0 0 1 16|5'

# ---- tables that people made ----
my 'CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.Orders (nr int AUTO_INCREMENT PRIMARY KEY, id int NOT NULL, code varchar(4),
    amount numeric(10,2), at timestamp(6) NULL, `odd "``name` text, made timestamp DEFAULT now()) ENGINE=InnoDB' >/dev/null
csv id,code,amount,at,odd '1,äb,1.50,2020-01-01 10:00:00,x' '2,abc,,,y'
load foreign
is 'a table with other types and characters, a schema, a counter and odd names' "$end" 'loaded 2 0 0 0 0'
is '... has the rows' "$(ask "SET time_zone = '+00:00'; SELECT nr, id, code, amount, at, \`odd \"\`\`name\` FROM shop.Orders ORDER BY id")" \
    '1|1|äb|1.50|2020-01-01 10:00:00.000000|x 2|2|abc|||y'
csv id,code,amount,at,odd 1,ab,1,,x '1,abcde,1,,"x
y"'
load foreign
like '... what it does not take is refused, and says why and where' "$end $(error_of)" "^dead .*truncated for column 'code' at row 2"
like '... and what that row is' "$(error_of)" '; row 2 of the 2 that were staged .*: 1, abcde, 1.00, \\N, x\\ny$'
csv id,code,amount,at,odd 99999999999,a,1,,x
load foreign
like '... also what does not fit its number' "$end $(error_of)" '^dead .*[Oo]ut of range'
csv id,code,amount,at,odd 5,あ,1,,x
load foreign
like '... and what its characters cannot say' "$end $(error_of)" "^dead .*Incorrect string value.*row 1"
my 'CREATE TABLE exact (id bigint, amount decimal(38,10))'
csv id,amount 1,-1234567890123456789012345678.0123456789 2,
load exact
is 'numbers of more digits than those of columns= come in as text, to the last one' "$end $(ask 'SELECT * FROM exact ORDER BY id')" \
    'loaded 2 0 0 0 0 1|-1234567890123456789012345678.0123456789 2|'
csv id,amount 3,12345678901234567890123456789.1
load exact
like '... one that does not fit is refused' "$end $(error_of)" '^dead .*Out of range'
csv id,amount 3,0.12345678901
load exact
like '... and so is one that would be rounded' "$end $(error_of)" '^dead .*truncated'
csv id,amount 3,NaN
load exact
like '... and what is none' "$end $(error_of)" '^dead .*Incorrect'
is '... with nothing of it in the table' "$(my 'SELECT count(*) FROM shop.Orders') $(my "SELECT count(*) FROM qetl_load WHERE job = $job")" '2 0'
my "CREATE TABLE ci (nr int AUTO_INCREMENT PRIMARY KEY, name varchar(20) CHARACTER SET latin1 COLLATE latin1_general_ci UNIQUE, n int) ENGINE=InnoDB;
    INSERT INTO ci (name, n) VALUES ('ann', 1)" >/dev/null
csv name,n Ann,2 ANN,3 bob,4
load ci
is 'a key is compared as its table does' "$end $(ask 'SELECT name, n FROM ci ORDER BY n')" 'loaded 1 1 1 0 0 ann|3 bob|4'
my 'CREATE TABLE refused (id bigint, must text NOT NULL); CREATE VIEW aview AS SELECT 1 AS id; CREATE TABLE nokey (id bigint, name text);
    CREATE TABLE two (id bigint PRIMARY KEY, name varchar(20) UNIQUE); CREATE TABLE plain (id bigint) ENGINE=MyISAM;
    CREATE TABLE made (id bigint AS (1)); CREATE TABLE checked (id bigint CHECK (id < 5), name varchar(9)); CREATE TABLE dup (id bigint PRIMARY KEY);
    CREATE TABLE halfpart (id bigint) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (1));
    CREATE TABLE stamped (id bigint, extra timestamp(3) NOT NULL DEFAULT current_timestamp(3))' >/dev/null
cat >>"$site/qetl.ini" <<INI
$(refused_pipelines)
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
[pipeline halfpart]
columns = id:integer!
table = my.halfpart
[pipeline dup]
columns = id:integer!
table = my.dup
[pipeline hidden]
columns = id:integer!, n:integer
table = my.after
after_load = CALL hidden()
[pipeline stamped]
columns = id:integer!, extra:timestamp
table = my.stamped
[pipeline rolls]
columns = id:integer!
table = my.after
after_load = CALL rolls()
INI
csv id,name,extra 1,a,2020-01-01 9,b,2020-01-01 9,c,2020-01-01
refused_with 'refused|NOT NULL without a default.* run: ALTER TABLE' 'aview|is a VIEW' 'more|ALTER TABLE .* ADD COLUMN `extra` DATE' \
    'nokey|run: ALTER TABLE .* ADD UNIQUE' 'two|another unique index' 'plain|run: ALTER TABLE `plain` ENGINE=InnoDB' 'made|is generated' \
    'checked|(CONSTRAINT|Check constraint) .*(failed|violated)' 'dup|Duplicate entry' 'noschema|Unknown database .nowhere. .1049.; run: CREATE DATABASE .nowhere.$' \
    'stamped|is TIMESTAMP NOT NULL.* with a ! in columns=, or run: ALTER TABLE .stamped. MODIFY .extra. timestamp\(3\) NULL' \
    'halfpart|no partition.*make a partition for it: ALTER TABLE .* ADD PARTITION'
is '... with nothing in them' "$(my 'SELECT (SELECT count(*) FROM checked) + (SELECT count(*) FROM dup) + (SELECT count(*) FROM plain)')" 0
my 'CREATE PROCEDURE hidden() COMMIT' >/dev/null
after_load_is_inside
after_load_has_watermarks
{ cat "$site/qetl.ini" && printf '[pipeline ends]\ncolumns = id:integer!\ntable = my.after\nafter_load = UPDATE sums SET n = 0; TRUNCATE sums\n'; } >"$work/ends.ini"
like '... it cannot end the transaction' "$(QETL_CONFIG=$work/ends.ini qetlctl check 2>&1)" "\[pipeline ends\] after_load: 'TRUNCATE' would end the transaction"
is '... rows and all' "$(my 'SELECT count(*) FROM after') $(my 'SELECT n FROM sums')" '2 30'
load hidden
is '... a COMMIT that hides in a procedure loads no row twice' "${end%% *} $(my 'SELECT count(*) FROM after')" 'loaded 4'
after_load_takes_the_job


# ---- what a job does to its session ----
my 'CREATE DATABASE other; CREATE TABLE other.calm (id bigint, n bigint, at timestamp(6) NULL); CREATE TABLE calm (id bigint, n bigint, at timestamp(6) NULL);
    CREATE TABLE odd (id bigint, n bigint)' >/dev/null
while IFS='|' read -r name sql; do
    printf '[pipeline %s]\ncolumns = id:integer!, n:integer\ntable = my.odd\nafter_load = %s\n' "$name" "$sql"
done >>"$site/qetl.ini" <<'END'
zone|SET time_zone = '+05:00', sql_mode = '', sql_select_limit = 1; SET SESSION TRANSACTION READ ONLY
other|USE other
shadow|CREATE TEMPORARY TABLE qetl_shadow (id bigint)
kills|KILL CONNECTION_ID()
END
cat >>"$site/qetl.ini" <<INI
[pipeline calm]
columns = id:integer!, n:integer, at:timestamp
table = my.calm
INI
sed -i 's/^crashes = 1000/crashes = 3/' "$site/qetl.ini"
csv id,n,at 1,10,2026-01-01T00:00:00Z
together() { # PIPELINE: two in one transaction and one in the next; gives $odd, and $ends: the states of all
    start_role worker
    odd=$(qetlctl --json submit "$1" "$work/in.csv" | jq .id)
    job=$(qetlctl --json submit calm "$work/in.csv" | jq .id)
    wait_for 60 job_is "$odd" staged
    wait_for 60 job_is "$job" staged
    stop_roles
    timeout 100 qetl drain --max-wait 60s 2>"$work/drain"
    load calm
    ends="$(state "$odd") $(state $((job - 1))) $(state "$job")"
}
for p in zone other shadow shadow; do
    together $p
    is "after_load that changes its session, $p: all are loaded" "$ends" 'loaded loaded loaded'
done
is '... each where it belongs, and as it is' "$(ask "SET time_zone = '+00:00'; SELECT count(*), min(at), max(at) FROM calm") $(ask 'SELECT count(*) FROM other.calm')" \
    '8|2026-01-01 00:00:00.000000|2026-01-01 00:00:00.000000 0'
together kills
is 'a job that ends its connection again and again is dead by itself' "$ends" 'dead loaded loaded'
like '... with the reason' "$(qetlctl --json errors "$odd" | jq -r '.errors[0].message')" 'given up: 3 .*connections or transactions ended'
for body in 'ROLLBACK' 'BEGIN ROLLBACK; START TRANSACTION; END' 'ROLLBACK AND CHAIN' 'BEGIN SET autocommit = 0; ROLLBACK; INSERT INTO after VALUES (99, 99); END'; do
    my "DELIMITER //
DROP PROCEDURE IF EXISTS rolls// CREATE PROCEDURE rolls() $body//"
    before=$(my 'SELECT count(*) FROM calm')
    together rolls
    is "... so is one whose procedure does: $body" "$ends $(my 'SELECT count(*) FROM calm')" "dead loaded loaded $((before + 2))"
done
is '... and nothing else is in' "$(my 'SELECT count(*) FROM after WHERE id = 99')" 0
like '... which is told by its name' "$(qetlctl --json errors "$odd" | jq -r '.errors[].message')" "job $(field "$odd" uid): the whole transaction is gone: after_load ended the transaction"
sed -i 's/^crashes = 3/crashes = 1000/' "$site/qetl.ini"
my 'SET GLOBAL sql_select_limit = 1' >/dev/null
load calm
is "the server's sql_select_limit is not that of qetl" "$end" 'loaded 1 0 0 0 0'
my 'SET GLOBAL sql_select_limit = DEFAULT' >/dev/null

ddl_is_run 1

# ---- two inits at once: one is held at the gate in the file, the other waits for it ----
mkdir "$work/seeds"
echo "CREATE TABLE IF NOT EXISTS seeded (id integer); DO GET_LOCK('gate', 60); INSERT INTO seeded VALUES (1)" >"$work/seeds/1.sql"
sed -i "/^\[target $t\]/a ddl = $work/seeds/*.sql" "$site/qetl.ini"
holder_of() { my "SELECT coalesce(IS_USED_LOCK('$1'), '')"; }
is_held() { [ -n "$(holder_of "$1")" ]; }
waiting_are() { [ "$(my "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock'")" = "$1" ]; }
my "SELECT GET_LOCK('gate', 60), SLEEP(600)" >/dev/null &
gate=$!
ok 'the gate is shut' wait_for 60 is_held gate
qetlctl init >"$work/first" 2>&1 &
first=$!
qetlctl init >"$work/second" 2>&1 &
second=$!
ok 'two inits at once: both wait' wait_for 60 waiting_are 2
my "KILL $(holder_of gate)" >/dev/null
wait "$gate"
wait "$first"
ends=$?
wait "$second"
is '... SQL files are run once' "$ends $? $(my 'SELECT count(*) FROM seeded')" '0 0 1'
sed -i '/^ddl = /d' "$site/qetl.ini"

# ---- undo ----
appends_are_undone
cat >>"$site/qetl.ini" <<INI
[pipeline versions]
columns = id:integer!, name:text
table = my.versions
mode = history
key = id
undo = 1d
INI
like 'what ends rows is not undone: check says so' "$(qetlctl check 2>&1)" "versions.*remove undo= of table .versions.: mode = history cannot be undone"
sed -i '/^\[pipeline versions\]/,$d' "$site/qetl.ini"
csv id,city,moved 1,a,2020-01-01
load past
like 'undo of a mode that is never undone says so, why, and what to do' "$(undo "$job")" 'had no undo=.*; mode = history cannot be undone .*end those of jobs before it\. .*submit what puts them right'
undo_is_whole

# ---- exactly once ----
committed_once
sleeper="FROM information_schema.processlist WHERE state = 'User sleep'"
rehearsal_stops '' "SELECT count(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'" \
    'LOCK TABLES sleeps WRITE; SELECT SLEEP(600)' "SELECT count(*) $sleeper" "SELECT CONCAT('KILL ', id) $sleeper"
locked_waits_alone 'LOCK TABLES locked WRITE; SELECT SLEEP(600)' "SELECT count(*) $sleeper" \
    "SELECT concat('KILL ', id) $sleeper"
loaders_share
loaders_make_tables

# ---- the connection ----
verdict() { qetlctl doctor 2>&1 | grep 'target my'; }
ok 'doctor: the target can be opened' verdict
printf 'wrong\n' >"$work/password"
like 'a wrong password is said, not shown' "$(verdict)" 'Access denied'
hint() { qetlctl query "$t" 'SELECT 1' 2>&1 | paste -sd ' '; }
like '... with what to do' "$(hint)" '\[target-login\] hint: check user and password'
sed "s|^url = mysql://test@.*|&_nowhere|" "$site/qetl.ini" >"$work/other.ini"
printf 'secret\n' >"$work/password"
like '... of a database that is not there, too' "$(QETL_CONFIG=$work/other.ini hint)" 'Unknown database .test_nowhere. .*target-database. hint: make the database'
printf 'wrong\n' >"$work/password"
unlike '... not shown' "$(verdict)" 'wrong'
printf 'secret\n' >"$work/password"
sed -i "s|^url = mysql://test@.*|url = mysql://test@127.0.0.1:$MYPORT/test?ssl=verify|" "$site/qetl.ini"
like 'TLS: an authority that nobody knows is refused' "$(verdict)" 'certificate|self.signed|TLS|SSL'
like '... with what to do' "$(hint)" '\[target-tls\] hint: set ca_file'
sed -i "/^password = /a ca_file = $MYCA" "$site/qetl.ini"
like '... and ca_file makes it known' "$(verdict)" 'can be opened'
sed -i "s|^url = mysql://test@.*|url = mysql://test@127.0.0.2:$MYPORT/test|; s|^url = mysql://127.*/$|url = mysql://127.0.0.2:$MYPORT/|" "$site/qetl.ini"
unlike '... a certificate of another host is refused' "$(verdict)" 'can be opened'
sed -i "s|^url = mysql://test@.*|url = mysql://test@localhost/test?ssl=off\&socket=$MYSOCKET|; s|^url = mysql://127.*/$|url = mysql://localhost/|" "$site/qetl.ini"
like 'a socket' "$(verdict)" 'can be opened'
like '... check warns of an ssl= that passes the ca_file by' "$(qetlctl check 2>&1)" 'warning: .target my. url: with ssl=off any server is taken'
sed -i "s|^url = mysql://test@.*|url = mysql://test@localhost/|" "$site/qetl.ini"
like 'a url without a database is refused' "$(qetlctl check 2>&1; verdict)" 'names no database'

# ---- a server that wants a primary key in each table ----
if [ $service = mysql ]; then
    my 'SET GLOBAL sql_require_primary_key = ON; DROP TABLE now, past' >/dev/null
    sed -i "s|^url = mysql://test@.*|url = $MYURL|; s|^url = mysql://localhost/|url = mysql://127.0.0.1:$MYPORT/|; /^ca_file/d" "$site/qetl.ini"
    csv id,name 1,a 2,b
    load now
    like 'rows without a key: refused, with what to do' "$end $(error_of)" '^dead .*sql_require_primary_key.* nr BIGINT AUTO_INCREMENT PRIMARY KEY'
    my 'CREATE TABLE now (id bigint, name text, nr bigint AUTO_INCREMENT PRIMARY KEY)' >/dev/null
    load now
    is '... and loaded when it is done' "$end $(ask 'SELECT name FROM now')" 'loaded 2 0 0 0 0 a b'
    my 'CREATE TABLE past (id bigint, city text, moved date, valid_from datetime(6), valid_to datetime(6), is_current boolean, nr bigint AUTO_INCREMENT PRIMARY KEY)' >/dev/null
    for p in people changed whole first past; do
        csv id,name,city,born,moved,version,gone 1,a,a,,2020-01-01,9, 2,b,b,,2020-01-01,9,
        load $p
        like "... temporary tables have one: $p" "$end" '^loaded'
    done
    my 'SET GLOBAL sql_require_primary_key = OFF' >/dev/null
fi

# ---- a server that takes no LOAD DATA LOCAL ----
verdict() { qetlctl doctor 2>&1 | grep 'target my'; }
sed -i "s|^url = mysql://test@.*|url = $MYURL|; s|^url = mysql://localhost/|url = mysql://127.0.0.1:$MYPORT/|; /^ca_file/d" "$site/qetl.ini"
my 'SET GLOBAL local_infile = 0' >/dev/null
csv id,name 1,a
job=$(qetlctl --json submit now "$work/in.csv" | jq .id)
timeout 60 qetl drain --max-wait 1s 2>"$work/drain"
like 'local_infile is off: the job waits' "$(state "$job") $(qetlctl --json status | jq -r '.targets_away[0].message')" '^staged .*SET GLOBAL local_infile = ON'
like '... doctor says what to do' "$(verdict)" 'no .*local_infile is off.*SET GLOBAL local_infile = ON'
my 'SET GLOBAL local_infile = 1' >/dev/null
drained
is '... and is loaded when it is on' "$(state "$job")" loaded
is 'a question: bytes that are no text are in hex, text and numbers are not' \
    "$(qetlctl query my "SELECT x'00ff41' AS a, CAST('ab' AS BINARY(3)) AS b, b'101' AS c, 'Zoë' AS d, 1.50 AS e, DATE '2024-02-29' AS f, x'' AS g, JSON_OBJECT('a', 1) AS h, CAST(NULL AS BINARY) AS i" --json |
        jq -c '.rows[0]')" \
    '{"a":"0x00ff41","b":"0x616200","c":"0x05","d":"Zoë","e":1.5,"f":"2024-02-29","g":"0x","h":"{\"a\": 1}","i":null}'
cat >>"$site/qetl.ini" <<INI
[pipeline halves]
columns = id:integer!
[pipeline halves.a]
table = my.half_a
[pipeline halves.b]
from = a
table = my.half_b
mode = upsert
key = id
INI
my 'CREATE TABLE half_b (id BIGINT)' >/dev/null
csv id 1
load halves
like 'a job of two tables that dies of the second says that it made the first' "$end $(error_of)" \
    "^dead .*half_b.* no unique index .*; what it made stays, without its rows: table 'half_a'$"
is '... which is empty' "$(ask 'SELECT count(*) FROM half_a')" 0
my 'ALTER TABLE half_b ADD UNIQUE (id)' >/dev/null
qetlctl retry "$job" >/dev/null
drained
is '... and is filled by a retry' "$(state "$job") $(ask 'SELECT count(*) FROM half_a')" 'loaded 1'
my 'DELIMITER //
CREATE FUNCTION writes() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM now; RETURN 1; END//'
like 'a question cannot write, and that is a wrong call' "$({ qetlctl query my 'SELECT writes()'; echo $?; } 2>&1 | paste -sd ' ')" \
    "^qetlctl: target 'my': a query may only read .usage. 2$"
like 'a question that is wrong is a wrong call, and names the target once' "$({ qetlctl query my 'SELECT nix'; echo $?; } 2>&1 | paste -sd ' ')" \
    "^qetlctl: target 'my': query: Unknown column .*usage. 2$"

# ---- rights ----
denied_are_held "CREATE USER low@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON test.people TO low@'%'" \
    "GRANT SELECT, INSERT, UPDATE ON test.qetl_load TO low@'%'; GRANT SELECT, INSERT ON test.allowed TO low@'%'; GRANT SELECT ON test.denied TO low@'%'" \
    "GRANT INSERT ON test.denied TO low@'%'" "mysql://low@127.0.0.1:$MYPORT/test" "mysql://127.0.0.1:$MYPORT/"

# ---- a server without TLS ----
if [ $service = mariadb ]; then
    stop_service $service
    MYNOTLS=1 start_service $service
    new_site <<<"$(my_remote)"
    like 'a server without TLS' "$(verdict)" 'can be opened'
    sed -i 's|/test$|/test?ssl=required|' "$site/qetl.ini"
    like '... is refused where it is asked for' "$(verdict)" 'no .*speaks no TLS'
fi
done_testing
