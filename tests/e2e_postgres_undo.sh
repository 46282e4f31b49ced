#!/bin/bash
# Undo on PostgreSQL in tables that people change: their rows, and columns that come, go and get other names.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/server.sh"
grep -q '^#define HAVE_LIBPQ 1' "$builddir/config.h" || skip_all 'built without PostgreSQL'
# shellcheck disable=SC2034 # of server.sh
service=postgres t=pg
start_service $service
export PGPASSWORD

ask() { pg "$1" | xargs -d '\n'; }
pipeline() { printf '[pipeline %s]\ncolumns = id:integer!, name:text\ntable = pg.%s\nmode = %s\nundo = 1d\n%s\n' "$@"; }
new_site <<INI
$(pg_remote)
$(pipeline put put append '')
$(pipeline parts parts append '')
$(pipeline first first insert_ignore 'key = id')
$(pipeline swap swap replace '')
$(pipeline merge merge upsert $'key = id\non_new_column = add')
$(pipeline change put upsert 'key = id')
$(pipeline two two upsert 'key = id')
$(pipeline unkept two upsert 'key = id' | sed /^undo/d)
$(pipeline ignored two insert_ignore 'key = id')
$(pipeline early meet insert_ignore 'key = id')
$(pipeline late meet insert_ignore $'key = id\nafter_load = INSERT INTO levels SELECT current_setting(\'transaction_isolation\') FROM pg_advisory_xact_lock(1)')
$(pipeline worked worked append 'after_load = UPDATE worked SET name = upper(name) WHERE _job = :job')
INI
qetlctl init >/dev/null
undo() { qetlctl undo "$1" 2>&1; }
rows() { ask "SELECT id, name FROM $1 ORDER BY id"; }
changed="rows that the job wrote were changed since, or written anew"
refused() { # NAME JOB REASON TABLE: and nothing has changed
    local before
    before="$(ask "SELECT * FROM $4 ORDER BY id") $(ask 'SELECT count(*) FROM qetl_undo_row')"
    like "$1" "$(undo "$2")" "$3.*\[state\]"
    is '... and nothing has changed' "$(ask "SELECT * FROM $4 ORDER BY id") $(ask 'SELECT count(*) FROM qetl_undo_row')" "$before"
}

# ---- rows ----
pg 'CREATE TABLE put (id bigint PRIMARY KEY, name text, _job text); CREATE TABLE first (id bigint PRIMARY KEY, name text, _job text);
    CREATE TABLE parts (id bigint, name text, _job text) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (2); CREATE TABLE parts_high PARTITION OF parts DEFAULT' >/dev/null
for table in put first parts swap; do
    csv id,name 1,a 2,b
    load $table
    pg "UPDATE $table SET name = 'of people' WHERE id = 1" >/dev/null
    refused "$table: a row that people changed" "$job" "1 $changed" $table
    pg "DELETE FROM $table; INSERT INTO $table SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v" >/dev/null
    [ $table = swap ] || pg "UPDATE $table SET _job = '$(field "$job" uid)'" >/dev/null
    refused '... or put in again' "$job" "2 $changed" $table
    pg "DELETE FROM $table" >/dev/null
    csv id,name 3,c 4,d
    load $table
    pg "VACUUM (FULL, FREEZE) $table" >/dev/null
    pg "BEGIN; SELECT 1 FROM $table FOR UPDATE; COMMIT; UPDATE qetl_undo SET kept_until = kept_until + interval '1 day'" >/dev/null
    ok '... rows that were moved, frozen and locked are the same' undo "$job"
    is '... and taken out' "$(rows $table)" ''
done
csv id,name 1,a 2,b
load put
below=$job
csv id,name 1,x 2,y
load change
ok 'an upsert over them is undone' undo "$job"
is '... they are back' "$(rows put)" '1|a 2|b'
ok '... and are still of their job' undo "$below"
is '... which takes them out' "$(rows put)" ''
printf '[pipeline tags]\ncolumns = id:integer!, tags:json\ntable = pg.tags\nmode = upsert\nkey = id\nundo = 1d\n' >>"$site/qetl.ini"
csv id,tags '1,"[1,2]"'
load tags
pg "UPDATE tags SET tags = '[1,2,3]'" >/dev/null
refused 'what people added inside of a value is a change' "$job" "1 $changed" tags
csv id,name 1,a
load swap
below=$job
load swap
undo "$job" >/dev/null
ok 'so are those that a replace brings back' undo "$below"
csv id,name 1,a
load worked
like 'after_load may change what the job wrote' "$(rows worked) $(undo "$job")" "^1.A job $job undone: 1 rows? removed, 0 put back"
csv id,name 1,a
load put
pg 'ALTER TABLE put RENAME _job TO was' >/dev/null
like 'without the column of the jobs undo says so' "$(undo "$job")" 'lost columns that are needed to undo it: _job; give them their names back, or add them \[state\]'
pg 'ALTER TABLE put RENAME was TO _job; ALTER TABLE put ADD COLUMN more int DEFAULT 1' >/dev/null
ok '... a column more is no matter' undo "$job"

printf '[pipeline arrays]\ncolumns = tags:text!, at:timestamp!, name:text\ntable = pg.arrays\nmode = upsert\nkey = tags, at\nundo = 1d\n' >>"$site/qetl.ini"
pg 'CREATE TABLE arrays (tags int[], at timestamptz, name text, PRIMARY KEY (tags, at))' >/dev/null
csv tags,at,name '"{1,2}",2024-01-01T00:00:00Z,a' '{3},2024-01-01T00:00:00.5Z,b'
load arrays
below=$job
csv tags,at,name '{3},2024-01-01T00:00:00.5Z,c'
load arrays
refused 'keys of arrays and times: a later job that met one' "$below" "job $job was loaded into table .*arrays.* later, and changed the same rows" arrays
ok '... is undone' undo "$job"
ok '... and then the first' undo "$below"
is '... which takes its rows out' "$(pg 'SELECT * FROM arrays')" ''

# ---- a table that got its schema in the ini, and the other way round ----
pg 'CREATE TABLE two (id bigint PRIMARY KEY, name text, _job text)' >/dev/null
named() { sed -i "s/^table = pg\..*two\$/table = pg.$1/" "$site/qetl.ini"; }
csv id,name 1,a 2,b
named two
load two
below=$job
csv id,name 1,a
named public.two
load two
refused 'undo knows a later job that names the schema' "$below" "job $job was loaded into table .*two.* later, and changed the same rows" two
ok '... whose own is done' undo "$job"
csv id,name 3,c
load two
named two
load two
refused '... and the other way round' $((job - 1)) "job $job was loaded into table .*two.* later, and changed the same rows" two
named public.two
csv id,name 1,x
load unkept
refused '... also one without undo' "$below" "job $job was loaded into table .*two.* later, and may have changed the same rows" two
csv id,name 9,i
load ignored
below=$job
csv id,name 9,z
named two
load two
refused '... and one behind an insert_ignore' "$below" "job $job was loaded into table .*two.* later, and changed" two
pg 'CREATE SCHEMA own; ALTER TABLE two RENAME TO away; CREATE TABLE own.two (LIKE away)' >/dev/null
like '... a table of that name in another schema is another one' "$(undo "$job")" "table '\"public\".\"two\"' is gone; if it was renamed"

# ---- columns ----
for table in swap merge; do
    csv id,name 1,a 2,b
    load $table
    csv id,name 1,A
    load $table
    pg "ALTER TABLE $table RENAME name TO label" >/dev/null
    refused "$table: a column has another name" "$job" 'lost columns that are needed to undo it: name; give them' $table
    pg "ALTER TABLE $table RENAME label TO name; ALTER TABLE $table RENAME id TO number" >/dev/null
    like '... the first, too' "$(undo "$job")" 'lost columns that are needed to undo it: id; give them'
    pg "ALTER TABLE $table RENAME number TO id; ALTER TABLE $table ADD COLUMN more text NOT NULL DEFAULT 'new'" >/dev/null
    like '... it has its name again, and there is one more' "$(undo "$job")" "^job $job undone: 1 rows? removed, [12] put back"
    is '... whose default comes with what is put back' "$(ask "SELECT id, name, more FROM $table ORDER BY id")" '1|a|new 2|b|new'
done
csv id,name 1,B
load merge
pg 'ALTER TABLE merge ADD COLUMN own text' >/dev/null
pg "UPDATE merge SET own = 'mine' WHERE id = 2" >/dev/null
ok 'people put values into a column more of other rows' undo "$job"
load merge
pg 'ALTER TABLE merge ADD COLUMN own2 text' >/dev/null
pg "UPDATE merge SET own2 = 'mine' WHERE id = 1" >/dev/null
refused '... and of its own, which were not kept' "$job" "1 $changed" merge
csv id,name 5,e
load merge
below=$job
csv id,name,place 6,f,x
load merge
like 'a column that qetl added for a later job' "$(undo "$below")" "^job $below undone: 1 rows? removed, 0 put back"
like '... that one' "$(undo "$job")" "^job $job undone: 1 rows? removed, 0 put back"
pg 'TRUNCATE swap' >/dev/null
csv id,name 1,a
load swap
pg 'ALTER TABLE swap ALTER COLUMN id TYPE numeric' >/dev/null
refused 'a table that was written anew by ALTER TABLE' "$job" "1 $changed" swap

# ---- parts ----
csv id,name 1,a
load swap
pg "INSERT INTO qetl_undo_row (uid, table_name, key) SELECT uid, table_name, '[9]' FROM qetl_undo WHERE uid = '$(field "$job" uid)'" >/dev/null
refused 'a job of an ini of before, one of whose parts merged into what another had replaced' "$job" 'several parts of the job loaded table' swap
csv id,name 2,b
load put
pg "INSERT INTO qetl_undo_row (uid, table_name, key) SELECT uid, table_name, '[9]' FROM qetl_undo WHERE uid = '$(field "$job" uid)'" >/dev/null
refused '... or added to' "$job" 'several parts of the job loaded table' put

# ---- transactions ----
pg "ALTER ROLE $PGUSER SET default_transaction_isolation = 'repeatable read'; CREATE TABLE levels (name text)" >/dev/null
csv id,name 1,a 2,b
load early
below=$job
coproc psql -qXAt -h "$PGHOST" -p "$PGPORT" -U "$PGUSER" -d "$PGDATABASE" 2>&1
# shellcheck disable=SC2153 # of coproc
psql_pid=$COPROC_PID psql_in=${COPROC[1]}
waits() { [ "$(pg "SELECT count(*) FROM pg_locks WHERE locktype = '$1' AND NOT granted")" = 1 ]; }
echo 'SELECT pg_advisory_lock(1);' >&"$psql_in"
wait_for 60 eval '[ "$(pg "SELECT count(*) FROM pg_locks WHERE locktype = '\''advisory'\'' AND granted")" = 1 ]'
job=$(submit late "$work/in.csv")
(drained) &
drains=$!
wait_for 60 waits advisory # its rows are in, and not committed
undo "$below" >"$work/undone" &
undoes=$!
wait_for 60 waits relation
echo 'SELECT pg_advisory_unlock_all();' >&"$psql_in"
wait "$drains" "$undoes"
like 'default_transaction_isolation: an undo that waited for a load sees what it did' "$(cat "$work/undone")" \
    "job $job was loaded into table '.*meet.*' later, and left rows out because others were there"
is '... and the rows are there' "$(state "$job") $(rows meet)" 'loaded 1|a 2|b'
ok '... the later one is undone' undo "$job"
ok '... then the one below' undo "$below"
is '... which takes them out' "$(rows meet)" ''
is '... loads are at read committed' "$(ask 'SELECT name FROM levels')" 'read committed'
echo '\q' >&"$psql_in"
wait "$psql_pid" 2>/dev/null
done_testing
