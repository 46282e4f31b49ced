#!/bin/bash
# Undo of replace and upsert on MariaDB and MySQL in tables that people have: values of every type, rows that they change, rows that hang on
# theirs, columns that come, go and get other names, notes of an earlier version.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
. "$srcdir/tests/server.sh"
need bsdtar libarchive-tools
grep -q '^#define HAVE_LIBMARIADB 1' "$builddir/config.h" || skip_all 'built without MariaDB'
# shellcheck disable=SC2034 # of server.sh
service=mariadb t=my
[ -z "${QETL_TEST_MYSQLD:-}" ] || service=mysql
start_service $service

ask() { my_lines "$1" | xargs -d '\n'; }
pipeline() { printf '[pipeline %s]\ncolumns = id:integer!, name:text\ntable = my.%s\nmode = %s\nundo = 1d\n%s\n' "$@"; }
new_site <<INI
$(my_remote)
$(pipeline swap swap replace '')
$(pipeline merge merge upsert 'key = id')
$(pipeline types types upsert $'key = id\nmissing = delete')
$(pipeline typed typed replace '')
$(pipeline parents parents upsert 'key = id')
$(pipeline wide wide upsert 'key = id')
$(pipeline documents documents upsert 'key = id')
$(pipeline daily daily upsert $'key = id\nmissing = delete')
$(pipeline put put append '')
$(pipeline over put upsert 'key = id')
$(pipeline unkept merge upsert 'key = id' | sed /^undo/d)
[pipeline pairs]
columns = day:date!, code:text!, name:text
table = my.pairs
mode = upsert
key = day, code
undo = 1d
[pipeline both]
columns = id:integer!, name:text
undo = 1d
[pipeline both.one]
table = my.both
member = one.csv
mode = replace
[pipeline both.two]
table = my.both
member = two.csv
INI
qetlctl init >/dev/null
undo() { qetlctl undo "$1" 2>&1; }
rows() { ask "SELECT id, name FROM $1 ORDER BY id"; }
refused() { # NAME JOB REASON TABLE: and nothing has changed
    local before
    before="$(ask "SELECT * FROM $4 ORDER BY 1") $(ask 'SELECT count(*) FROM qetl_undo_row')"
    like "$1" "$(undo "$2")" "$3.*\[state\]"
    is '... and nothing has changed' "$(ask "SELECT * FROM $4 ORDER BY 1") $(ask 'SELECT count(*) FROM qetl_undo_row')" "$before"
}

# ---- values ----
own='small tinyint unsigned, big bigint unsigned, exact decimal(65,30), single float, twice double, bits bit(64), raw varbinary(300), fixed binary(4), blobs longblob,
    old varchar(20) CHARACTER SET latin1, wide longtext CHARACTER SET utf8mb4, doc json, choice enum('"'a','it''s'"'), several set('"'x','y','z'"'), y year,
    d date, t time(6), at datetime(6), ts timestamp(6) NULL, place point, `we"i\rd `` '"'"' :row :name` int, made int AS (`small` + 1) STORED, seen int AS (`small` + 2) VIRTUAL'
given="255, 18446744073709551615, -12345678901234567890123456789012345.123456789012345678901234567891, 0.1, 0.1, b'1111111100000000111111110000000011111111000000001111111100000001',
    x'00ff41275c22', x'41', x'00', 'caf\\\\u00e9', 'a\\\"b\\\\\\\\c\\'d \\n\\t\\0\\Z 😀 null', '{\"a\": [1, null, \"\\\\u0041\"]}', 'it''s', 'x,z', 2024, '2024-02-29', '-838:59:58.999999',
    '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999', ST_GeomFromText('POINT(1.5 -2)', 4326), -7"
names='small, big, exact, single, twice, bits, raw, fixed, blobs, old, wide, doc, choice, several, y, d, t, at, ts, place, `we"i\rd `` '"'"' :row :name`'
all="id, name, small, big, exact, single + 0e0, twice, HEX(bits), HEX(raw), HEX(fixed), HEX(blobs), HEX(old), HEX(wide), doc, choice, several, y, d, t, at, ts, HEX(place), \`we\"i\\rd \`\` ' :row :name\`, made, seen"
for table in types typed; do
    my "CREATE TABLE $table (id bigint$([ $table = types ] && echo ' PRIMARY KEY'), name text, $own)"
    my "INSERT INTO $table (id, name, $names) VALUES (1, 'one', $given), (2, 'two', $given), (4, NULL$(printf ', NULL%.0s' {1..21})), (5, '', $given)"
    my "UPDATE $table SET single = 16777216, twice = 4.9e-324, big = 0, t = '838:59:59', y = 1901, d = '1000-01-01', wide = repeat('ä', 100000), raw = '', several = '' WHERE id = 5"
    before=$(my "SELECT $all FROM $table ORDER BY id")
    is "$table: it has a row of each kind" "$(wc -l <<<"$before")" 4
    csv id,name 1,ONE 2,two 3,three
    load $table
    is "$table: a job over rows of people" "$end" "$([ $table = types ] && echo 'loaded 1 2 0 0 2' || echo 'loaded 3 0 0 0 4')"
    ok '... is taken back' undo "$job"
    is '... values of every type are as they were' "$(my "SELECT $all FROM $table ORDER BY id" | sha256sum)" "$(sha256sum <<<"$before")"
done

my 'CREATE TABLE documents (id bigint PRIMARY KEY, name text, doc json)'
n=0
for doc in null '"null"' '"abc"' '"\\u0041"' 7 '"7"' '[1,2]' '{"a":1,  "b":[1.0]}' "$(printf '[%.0s' {1..31})$(printf ']%.0s' {1..31})"; do
    my "INSERT INTO documents VALUES ($((++n)), 'a', '${doc//\\/\\\\}')"
done
my "INSERT INTO documents VALUES (10, 'a', NULL)"
before=$(my 'SELECT id, name, HEX(doc) FROM documents ORDER BY id')
csv id,name 1,b 2,b 3,b 4,b 5,b 6,b 7,b 8,b 9,b 10,b
load documents
is 'documents of JSON' "$end $(wc -l <<<"$before")" 'loaded 0 10 0 0 0 10'
ok '... are taken back' undo "$job"
is '... as they were written' "$(my 'SELECT id, name, HEX(doc) FROM documents ORDER BY id')" "$before"
my "CREATE TABLE wide (id bigint PRIMARY KEY, name longtext, more longtext)"
my "INSERT INTO wide VALUES (1, repeat('a', 10000000), repeat('b', 10000000))"
csv id,name 1,a
load wide
like 'a row that is too long to be kept is not changed' "$end $(error_of)" 'dead .*keep rows for undo.*max_allowed_packet.*; raise max_allowed_packet of the server'

# ---- rows ----
for table in swap merge; do
    my "CREATE TABLE $table (id bigint PRIMARY KEY, name text)"
    csv id,name 1,a 2,b
    load $table
    my "UPDATE $table SET name = 'of people' WHERE id = 1"
    refused "$table: a row that people changed" "$job" "rows that the job wrote were changed since" $table
    my "UPDATE $table SET name = 'a' WHERE id = 1"
    my "DELETE FROM $table WHERE id = 2"
    refused '... or took out' "$job" 'changed since' $table
    my "INSERT INTO $table VALUES (2, 'b')"
    ok '... until it is as it was' undo "$job"
    is '... then it is taken out' "$(rows $table)" ''
done
csv id,name 1,a
load swap
my "INSERT INTO swap VALUES (7, 'of people')"
refused 'a row that people added to what replaced the table' "$job" 'has not the rows that the job left' swap
my 'CREATE TABLE parents (id bigint PRIMARY KEY, name text) ENGINE=InnoDB'
my "INSERT INTO parents VALUES (1, 'a'), (2, 'b')"
my 'CREATE TABLE children (id bigint PRIMARY KEY, parent bigint, FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE) ENGINE=InnoDB'
my 'INSERT INTO children VALUES (10, 1), (20, 2)'
csv id,name 1,A 2,b
load parents
ok 'rows on which others hang' undo "$job"
is '... get their values back where they are' "$(rows parents) $(ask 'SELECT * FROM children ORDER BY id')" '1|a 2|b 10|1 20|2'
csv day,code,name '2024-01-01,"x''\y",a' 2024-01-02,B,b
load pairs
below=$job
csv day,code,name 2024-01-02,B,c 2024-01-03,E,d
load pairs
refused 'a later job with one of its keys' "$below" "job $job was loaded into table .*pairs.* later, and changed the same rows: undo that one first" pairs
ok '... a key of several columns' undo "$job"
ok '... each' undo "$below"
is '... is found' "$(ask 'SELECT count(*) FROM pairs')" 0
csv id,name 1,a 2,b
load merge
below=$job
load merge
refused 'a later job that found its rows as it wanted them' "$below" "job $job was loaded .*changed the same rows" merge
undo "$job" >/dev/null
csv id,name 2,z
load unkept
refused '... or kept nothing' "$below" "job $job was loaded into table .*merge.* later, and may have changed the same rows" merge
my 'CREATE TABLE put (id bigint PRIMARY KEY, name text, _job varchar(64))'
csv id,name 1,a 2,b
load put
below=$job
csv id,name 2,x
load over
refused 'an append below an upsert that changed its rows' "$below" "job $job was loaded into table .*put.* later, and changed the same rows" put
ok '... which is undone' undo "$job"
ok '... then the append' undo "$below"
is '... and all are gone' "$(rows put)" ''
my 'CREATE TABLE `both` (id bigint, name text, _job varchar(64))'
my "INSERT INTO \`both\` VALUES (9, 'of people', NULL)"
text one.csv 'id,name\n1,a\n'
text two.csv 'id,name\n2,b\n'
bsdtar -C "$work" -a -cf "$work/both.zip" one.csv two.csv
run_files both both.zip
is 'a part replaces, another adds' "$(ask 'SELECT count(*) FROM `both`')" 2
ok '... both are undone' undo "$job"
is '... and what was there is back' "$(rows '`both`')" '9|of people'


# ---- rows that others put in meanwhile ----
my 'CREATE TRIGGER slowly BEFORE INSERT ON qetl_undo_row FOR EACH ROW SET @slept = SLEEP(1)'
my 'DELETE FROM swap; INSERT INTO swap VALUES (5, "e"), (6, "f"); CREATE TABLE daily (id bigint PRIMARY KEY, name text); INSERT INTO daily VALUES (5, "e"), (6, "f")'
sleeps() { [ "$(my "SELECT count(*) FROM information_schema.processlist WHERE state = 'User sleep'")" = 1 ]; }
for table in swap daily; do
    csv id,name 5,E
    job=$(submit $table "$work/in.csv")
    (drained) &
    wait_for 60 sleeps
    my "INSERT INTO $table VALUES (1, 'of people')"
    wait $!
    is "$table: is loaded" "$(state "$job") $(rows $table)" "loaded $([ $table = swap ] || echo '1|of people ')5|E"
    ok '... is undone' undo "$job"
    is '... and the row that came while its rows were kept is there' "$(rows $table)" '1|of people 5|e 6|f'
done
my 'DROP TRIGGER slowly'

# ---- columns ----
for table in swap merge; do
    my "DELETE FROM $table"
    my 'DELETE FROM qetl_undo'
    csv id,name 1,a 2,b
    load $table
    csv id,name 1,A
    load $table
    my "ALTER TABLE $table RENAME COLUMN name TO label"
    refused "$table: a column has another name" "$job" 'lost columns that are needed to undo it: name; give them' $table
    my "ALTER TABLE $table RENAME COLUMN label TO name, RENAME COLUMN id TO number"
    like '... the first, too' "$(undo "$job")" 'lost columns that are needed to undo it: id; give them'
    my "ALTER TABLE $table RENAME COLUMN number TO id, ADD COLUMN more varchar(9) NOT NULL DEFAULT 'new'"
    like '... it has its name again, and there is one more' "$(undo "$job")" "^job $job undone: 1 rows? removed, [12] put back"
    is '... whose default comes with what is put back' "$(ask "SELECT id, name, more FROM $table ORDER BY id")" '1|a|new 2|b|new'
done
csv id,name 3,c
load merge
my 'ALTER TABLE merge RENAME TO away'
like 'a table that has another name' "$(undo "$job")" 'is gone; if it was renamed, give it its name back .state.'
my 'ALTER TABLE away RENAME TO merge'

for table in swap merge; do
    my "DROP TABLE $table; CREATE TABLE $table (id bigint PRIMARY KEY, name text, more blob); INSERT INTO $table VALUES (1, 'a', 'bytes')"
    csv id,name 1,b
    load $table
    my "ALTER TABLE $table MODIFY more text"
    refused "$table: a column that was one of bytes" "$job" 'the types of columns were changed between texts, bytes and bits since: more; change them back' $table
    my "ALTER TABLE $table MODIFY more blob, MODIFY name longtext"
    ok '... and is one again' undo "$job"
    is '... has its bytes' "$(ask "SELECT * FROM $table")" '1|a|bytes'
    csv id,name 1,b
    load $table
    my "CREATE TRIGGER changes_$table BEFORE $([ $table = swap ] && echo INSERT || echo UPDATE) ON $table FOR EACH ROW SET new.name = concat(new.name, '!')"
    refused '... a trigger that changes what is put back' "$job" 'would not have the rows that it had: has it triggers' $table
    my "DROP TRIGGER changes_$table"
    ok '... that is gone' undo "$job"
done

# ---- notes ----
csv id,name 4,d
load merge
is 'a row is kept' "$(ask "SELECT count(*) FROM qetl_undo_row WHERE uid = '$(field "$job" uid)'")" 1
my "UPDATE qetl_undo SET kept_until = now(6) - INTERVAL 1 MINUTE"
like 'too late' "$(undo "$job")" 'too late: it could be undone|longer ago than that'
is '... what was kept goes, too' "$(ask "SELECT count(*) FROM qetl_undo_row WHERE uid = '$(field "$job" uid)'")" 0
csv id,name 5,e
load swap
my 'DROP TABLE qetl_undo_row'
csv id,name 6,e
load merge
is 'a table of its own that is gone is made again' "$end" 'loaded 1 0 0 0 0'
my 'DROP TABLE qetl_undo_row'
my 'ALTER TABLE qetl_undo DROP COLUMN key_columns, DROP COLUMN kept_columns, DROP COLUMN kept_forms, DROP COLUMN digest_after'
csv id,name 6,f
load merge
is 'notes of an earlier version are brought up to date' "$end" 'loaded 0 1 0 0 0'
ok '... and the job can be undone' undo "$job"
done_testing
