#!/bin/bash
# Columns that are new, missing, moved or retyped: found by name before a row is loaded, done about as the ini says, told on the job.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need zip zip
new_site <<'INI'
[pipeline p]
columns = id:integer!, name, note?
table   = warehouse.p
[pipeline strict]
columns = id:integer!, name
table   = warehouse.strict
on_new_column = fail
[pipeline lenient]
columns = id:integer!, name, city
table   = warehouse.lenient
on_missing_column = null
max_rejects = 100
[pipeline json]
columns = id:integer!, name, at.day:date
table   = warehouse.json
[pipeline json_fail]
columns = id:integer!, name
table   = warehouse.json_fail
on_missing_column = fail
[pipeline bare]
columns = id:integer!, name
table   = warehouse.bare
header  = no
INI
load() { # PIPELINE FILE: gives $job
    QETL_LOG_LEVEL=info qetlctl --json run "$1" "$work/$2" >"$work/out" 2>"$work/log"
    job=$(queue_sql 'SELECT max(id) FROM job')
}

# ---- ignore ----
text a.csv 'id,name,extra\n1,ann,x\n'
load p a.csv
is 'a column that nobody wants is told of' "$(drift)" 'new|extra|a.csv|ignored'
is '... and the rows are loaded without it' "$(sql 'SELECT * FROM p')" '1|ann|'
text b.csv 'id,name,extra\n2,bob,x\n'
load p b.csv
is 'a header like that of the last job is no news' "$(drift)" ''
text c.csv 'name,note,id,other\neve,n,3,x\n'
load p c.csv
is 'columns that moved, and a new one' "$(drift)" 'new|other|c.csv|ignored
moved|name|c.csv|field 1, was 2'
is '... are loaded by their names' "$(sql 'SELECT * FROM p WHERE id = 3')" '3|eve|n'
text d.csv 'name,id,other\nkim,4,x\n'
load p d.csv
is 'an optional column is missing when the last job had it' "$(drift)" 'missing|note|d.csv|null'
like 'people see it' "$(qetlctl show "$job")" '^missing +p +note +d.csv +null'

# ---- fail ----
load strict a.csv
is 'on_new_column = fail: the job is dead' "$(state "$job") $(field "$job" error_code)" 'dead drift'
like '... its error names the column' "$(field "$job" error)" "the header has 'extra', which no column takes"
is '... and so does its drift' "$(drift)" 'new|extra|a.csv|the job fails'
is '... nothing is loaded' "$(sql "SELECT count(*) FROM sqlite_schema WHERE name = 'strict'")" 0
sed -i 's/on_new_column = fail/on_new_column = ignore/' "$site/qetl.ini"
qetlctl retry "$job" >"$work/out"
qetl drain 2>"$work/log"
is '... after the ini is changed it can be retried' "$(state "$job") $(drift)" 'loaded new|extra|a.csv|ignored'

# ---- missing ----
text e.csv 'id,name\n1,ann\n'
load lenient e.csv
is 'on_missing_column = null: null in every row' "$(sql 'SELECT id, name, city IS NULL FROM lenient')" '1|ann|1'
is '... which is told' "$(drift)" 'missing|city|e.csv|null'
text f.csv 'name,city\nann,x\n'
load lenient f.csv
is '... but a column with ! cannot be' "$(state "$job") $(field "$job" error_code)" 'dead header'
like '... the error lists what there is' "$(field "$job" error)" "the header lacks 'id'; it has: 'name', 'city'"
text g.csv 'id,surplus\n1,x\n'
load p g.csv
is 'without it the job fails' "$(state "$job") $(field "$job" error_code) $(drift | head -n 1)" 'dead header new|surplus|g.csv|ignored'
is '... and the column is told of' "$(drift | tail -n 1)" 'missing|name|g.csv|the job fails'

# ---- retyped ----
text h.csv 'id,name,city\n1,a,x\nb,b,x\nc,c,x\n4,d,x\n'
load lenient h.csv
is 'a type that many rows do not fit' "$(drift)" 'retyped|id|h.csv|2 of 4 rows refused as integer: not-integer'
is '... is told beside the rejects' "$(field "$job" rows_loaded) $(field "$job" rows_rejected)" '2 2'

# ---- members ----
mkdir "$work/zip"
printf 'id,name\n5,a\n' >"$work/zip/1.csv"
printf 'name,id,new\nb,6,x\n' >"$work/zip/2.csv"
(cd "$work/zip" && zip -q ../z.zip 1.csv 2.csv)
load p z.zip
is 'each member is compared with the one before' "$(drift)" 'moved|id|1.csv|field 1, was 2
new|new|2.csv|ignored
moved|name|2.csv|field 1, was 2'
text i.csv 'name,note,id,others\neve,n,3,x\n'
qetlctl submit p "$work/i.csv" >"$work/out"
like 'findings are in the log, with the member' "$(qetl drain 2>&1)" 'columns drift.*kind=new column=others member=i.csv'

# ---- JSON ----
text a.jsonl '{"id":1,"name":"ann","at":{"day":"2026-11-21","zone":"UTC"},"fax":1}\n{"id":2,"name":"bob","phone":"x"}\n'
load json a.jsonl
is 'JSON: keys that no column takes, with their paths' "$(drift)" 'new|at.zone|a.jsonl|ignored
new|fax|a.jsonl|ignored
new|phone|a.jsonl|ignored'
text b.jsonl '{"id":3,"fax":1,"Fax":2}\n'
load json b.jsonl
is '... a key that no row has any more' "$(drift)" 'new|Fax|b.jsonl|ignored
missing|name|b.jsonl|null
missing|at.day|b.jsonl|null'
load json_fail b.jsonl
is '... fails where it is said' "$(state "$job") $(field "$job" error_code)" 'dead header'
like '... with the key' "$(field "$job" error)" "no row has the key 'name'"

# ---- no names ----
text i.csv '1,ann\n'
load bare i.csv
is 'a file without a header has no drift' "$(drift)" ''

# ---- it goes with its job ----
qetlctl prune --older 0s >"$work/out"
is 'drift goes with its job; the header stays for the next one' \
    "$(queue_sql "SELECT count(*) FROM drift AS d LEFT JOIN job AS j ON j.id = d.job WHERE j.id IS NULL") $(queue_sql "SELECT count(*) FROM header WHERE recipe = 'p'")" '0 1'
like 'a wrong word is told' "$(sed 's/on_missing_column = null/on_missing_column = nil/' "$site/qetl.ini" >"$work/wrong.ini" && qetlctl -c "$work/wrong.ini" check 2>&1)" \
    "on_missing_column: .*expected auto, null or fail"
done_testing
