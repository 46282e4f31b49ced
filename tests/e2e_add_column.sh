#!/bin/bash
# on_new_column = add: the table gets the column with the rows that bring it, for good, whatever the target is, whoever comes at the
# same time, and whatever dies between.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need zip zip
new_site <<INI
[target files]
url = file://$work/files
compress = none
[pipeline p]
columns = id:integer!, name
table   = warehouse.p
on_new_column = add
[pipeline up]
columns = id:integer!, name
table   = warehouse.up
mode    = upsert
key     = id
undo    = 1d
on_new_column = add
[pipeline marked]
columns = id:integer!, name
table   = warehouse.marked
undo    = 1d
on_new_column = add
[pipeline versions]
columns = id:integer!, name
table   = warehouse.versions
mode    = history
key     = id
on_new_column = add
[pipeline guess]
table   = warehouse.guess
on_new_column = add
[pipeline json]
columns = id:integer!
table   = warehouse.json
on_new_column = add
[pipeline many]
columns = id:integer!
table   = warehouse.many
on_new_column = add
[pipeline store]
columns = id:integer!
table   = files.t
on_new_column = add
[pipeline timely]
columns = id:integer!, at:timestamp!
table   = warehouse.timely
event_time = at
late    = warehouse.too_late
on_new_column = add
INI
text a.csv 'id,name\n1,ann\n2,bob\n'
text b.csv 'id,price,name,since,Net Amount\n3,1.50,eve,2026-11-21,7\n4,20.25,kim,2026-11-22,\n'
text c.csv 'name,id\nlee,5\n'
text d.csv 'id,name,price,colour\n6,max,3.10,red\n'
run_files p a.csv
run_files p b.csv
is 'new columns are told with what they became' "$(drift)" 'new|price|b.csv|added as price real
new|since|b.csv|added as since date
new|Net Amount|b.csv|added as Net_Amount integer'
run_files p c.csv
run_files p d.csv
is 'rows before and files without them have null' "$(sql 'SELECT * FROM p ORDER BY id')" '1|ann||||
2|bob||||
3|eve|1.5|2026-11-21|7|
4|kim|20.25|2026-11-22||
5|lee||||
6|max|3.1|||red'
is 'the types are those of the sample' "$(sql "SELECT group_concat(name || ' ' || type, ', ') FROM pragma_table_info('p')")" \
    'id INTEGER, name TEXT, price REAL, since DATE, Net_Amount INTEGER, colour TEXT'
is 'the books are closed' "$(field "$job" rows_read) $(field "$job" rows_loaded)" '1 1'
text e.csv 'id,name,price\n7,x,cheap\n'
run_files p e.csv
is 'a value that does not fit the type it got is a reject' "$(field "$job" error_code)" rejects

# ---- staged before, loaded after ----
qetlctl submit p "$work/a.csv" >"$work/out"
staged() { [ "$(queue_sql "SELECT count(*) FROM job WHERE state = 'staged'")" = 1 ]; }
start_role worker
wait_for 60 staged
stop_roles
text f.csv 'id,name,late\n8,zoe,1\n'
run_files p f.csv
qetl drain 2>"$work/log"
is 'what was staged before a column came is loaded after it' "$(sql 'SELECT count(*), count(late) FROM p')" '9|1'

# ---- members, modes, inferred columns, JSON ----
mkdir "$work/zip" && printf 'id,a\n1,x\n' >"$work/zip/1.csv" && printf 'id,b\n2,5\n' >"$work/zip/2.csv" && printf 'id,a,c\n3,y,z\n' >"$work/zip/3.csv"
(cd "$work/zip" && zip -q ../z.zip 1.csv 2.csv 3.csv)
run_files many z.zip
is 'columns of all members come at once' "$(sql 'SELECT id, a, b, c FROM many ORDER BY id')" '1|x||
2||5|
3|y||z'
is '... in the second run of the same try' "$(field "$job" attempts) $(queue_sql "SELECT count(*) FROM added WHERE recipe = 'many'")" '1 3'
for p in up marked versions; do
    run_files $p a.csv
    run_files $p b.csv
    is "mode of '$p': the same" "$(sql "SELECT id, name, price FROM $p ORDER BY id")" '1|ann|
2|bob|
3|eve|1.5
4|kim|20.25'
done
text g.csv 'id,name,price\n1,ann,9.99\n'
run_files up g.csv
is 'an upsert fills the column of a row that was there' "$(sql 'SELECT * FROM up WHERE id = 1')" '1|ann|9.99||'
qetlctl undo "$job" >"$work/out" 2>&1
is '... and its undo takes it back' "$(sql 'SELECT * FROM up WHERE id = 1')" '1|ann|||'
run_files guess a.csv
run_files guess b.csv
is 'inferred columns are added to, too' "$(sql "SELECT count(*), count(price) FROM guess")" '4|2'
text a.jsonl '{"id":1,"at":{"day":"2026-11-21"},"n":1.5}\n{"id":2,"at":{"day":"2026-11-22","hour":7},"tags":[1,2]}\n'
run_files json a.jsonl
is 'JSON: keys behind keys, arrays as json' "$(sql 'SELECT id, n, tags, at_day, at_hour FROM json ORDER BY id')" '1|1.5||2026-11-21|
2||[1,2]|2026-11-22|7'
run_files store a.csv
run_files store b.csv
is 'an object store: objects that have the column' "$(find "$work/files" -name '*.csv' -exec head -n 1 {} + | grep -c '^id,name,price,since,Net_Amount$')" 1
for day in 2 1; do
    text t.csv "id,at\\n$day,2026-01-0$day 00:00:00\\n"
    run_files timely t.csv
done
text t.csv 'id,at,n\n3,2026-01-01 00:00:00,7\n4,2026-01-03 00:00:00,8\n'
run_files timely t.csv
is 'the table of late rows gets it, too' "$(sql "SELECT id, '', n FROM timely WHERE n UNION ALL SELECT '', id, n FROM too_late")" '4||8
|1|
|3|7'

# ---- two at the same time ----
text h.csv 'id,x,y\n1,1,a\n'
text i.csv 'id,y,x\n2,b,2\n'
qetlctl submit json "$work/h.csv" >"$work/out"
qetlctl submit json "$work/i.csv" >>"$work/out"
sed -i 's/^slots = .*/slots = 2/' "$site/qetl.ini"
qetl drain 2>"$work/log"
is 'two jobs that bring the same columns' "$(sql 'SELECT id, x, y FROM json WHERE x ORDER BY id')" '1|1|a
2|2|b'

# ---- exactly once ----
before=$(sql 'SELECT count(*) FROM p')
n=0
for point in worker-before-discard worker-after-job target-before-commit target-after-commit loader-before-record; do
    n=$((n + 1))
    text k.csv "id,name,k$n\\n10$n,a,1\\n"
    cp "$work/k.csv" "$work/k$n.csv"
    { (QETL_FAULT=$point:1:kill qetlctl run p "$work/k$n.csv") >"$work/out" 2>&1; } 2>/dev/null
done
ok 'killed anywhere' timeout 120 qetl drain --max-wait 60s
is '... each column and its row are there once' "$(sql 'SELECT count(*), sum(k1), sum(k2), sum(k3), sum(k4), sum(k5) FROM p')" "$((before + 5))|1|1|1|1|1"

# ---- what is kept, and how to be rid of it ----
kept() { qetlctl --json columns p | jq -r ".columns[] | select(.column == \"$1\") | [.kept, .in_table] | join(\" \")"; }
is 'what is kept can be listed' "$(kept colour),$(kept price)" 'colour:text? yes,price:real? yes'
run_files p d.csv
is 'a column that only the files between lacked is no news' "$(drift | grep -v '^missing')" ''
sqlite3 "$site/warehouse.db" 'ALTER TABLE p DROP COLUMN colour'
is 'a column that was dropped by hand is seen' "$(kept colour)" 'colour:text? no'
run_files p c.csv
is '... and made again by the next job' "$(kept colour)" 'colour:text? yes'
qetlctl columns p --forget COLOUR >"$work/out"
like 'it can be forgotten' "$(cat "$work/out")" "^'COLOUR' is no column of 'p' any more"
sqlite3 "$site/warehouse.db" 'ALTER TABLE p DROP COLUMN colour'
run_files p c.csv
is '... then no job makes it' "$(sql "SELECT count(*) FROM pragma_table_info('p') WHERE name = 'colour'")" 0
run_files p d.csv
is '... but a file that has it brings it anew, which is said' "$(drift | grep colour)" 'new|colour|d.csv|added as colour text'
qetlctl columns p --forget none >"$work/out" 2>&1
is 'what is not kept cannot be forgotten' $? 5

# ---- bad input ----
text k.csv 'id,"a\nb"\n1,2\n'
run_files many k.csv
is 'a name that is none fails the job' "$(field "$job" error_code)" drift
printf '[pipeline x]\ncolumns = a\noutput = b\ntable = warehouse.x\non_new_column = add\n' >>"$site/qetl.ini"
printf '[pipeline y]\n[pipeline y.a]\ncolumns = a\ntable = warehouse.ya\non_new_column = add\n[pipeline y.b]\nfrom = a\ntable = warehouse.yb\n' >>"$site/qetl.ini"
like 'two parts of the same rows have the columns of the ini' "$(qetlctl check 2>&1)" 'from: expected an on_new_column that is not add'
like 'output= names all columns' "$(qetlctl check 2>&1)" 'on_new_column: expected no output beside it'

printf '[pipeline z]\ncommand = echo a\ncolumns = a\ntable = warehouse.z\non_new_column = add\n' >>"$site/qetl.ini"
like 'no program is run twice for it' "$(qetlctl check 2>&1)" 'on_new_column: expected ignore or fail beside command'

# ---- servers ----
server() { # NAME, SQL of a command
    run_files "$1" a.csv
    run_files "$1" b.csv
    run_files "$1" c.csv
    is "$1: rows before and behind" "$("$2" "SELECT id, name, price, since FROM t_$1 ORDER BY id" | tr '\t' '|' | sed 's/NULL//g')" '1|ann||
2|bob||
3|eve|1.5|2026-11-21
4|kim|20.25|2026-11-22
5|lee||'
    text l.csv 'id,name,price,one\n10,x,1.5,1\n'
    text m.csv 'id,name,one,price\n11,y,2,1.5\n'
    for f in a l m; do qetlctl submit "$1" "$work/$f.csv" >"$work/out"; done
    timeout 120 qetl drain --max-wait 60s 2>"$work/log"
    is "$1: an old form and two new ones in one group" "$("$2" "SELECT count(*), count(one) FROM t_$1" | tr '\t' '|')" '9|2'
    "$2" "ALTER TABLE t_$1 DROP COLUMN one" >"$work/log"
    is "$1: which of them the table has" "$(qetlctl --json columns "$1" | jq -r '[.columns[] | .column + " " + .in_table] | join(", ")')" \
        'price yes, since yes, Net_Amount yes, one no'
}
if ! grep -q '^#define HAVE_LIBPQ 1' "$builddir/config.h"; then
    skip 'built without PostgreSQL' 3
elif ! try_service postgres; then
    skip "$why" 3
else
    export PGPASSWORD
    new_site <<INI
$(pg_remote)
[pipeline postgres]
columns = id:integer!, name
table   = pg.t_postgres
on_new_column = add
INI
    server postgres pg
fi
if ! grep -q '^#define HAVE_LIBMARIADB 1' "$builddir/config.h"; then
    skip 'built without MariaDB' 3
elif ! try_service mariadb; then
    skip "$why" 3
else
    new_site <<INI
$(my_remote)
[pipeline mariadb]
columns = id:integer!, name
table   = my.t_mariadb
on_new_column = add
INI
    server mariadb my
fi
done_testing
