#!/bin/bash
# Names of the data that qetl has values of its own for, columns without a name, and what on_new_column = add keeps of them.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
new_site <<INI
[pipeline plain]
columns = id:integer!, theirs from "_source", "_job":integer, ours from _source, n:integer from _line
table   = warehouse.plain
[pipeline guess]
table   = warehouse.guess
[pipeline add]
columns = id:integer!
table   = warehouse.added
on_new_column = add
[pipeline ignore]
columns = id:integer!
table   = warehouse.ignore
[pipeline fail]
columns = id:integer!, _source from "_source"
table   = warehouse.fail
on_new_column = fail
[pipeline add2]
columns = id:integer!
table   = warehouse.added2
on_new_column = add
[pipeline dying]
columns = id:integer!
table   = warehouse.dying
on_new_column = add
[pipeline json]
columns = id:integer!
table   = warehouse.json
on_new_column = add
INI

# ---- names that qetl has values of its own for ----
text a.csv 'id,_source,_job\n1,web,7\n2,shop,8\n'
run_files plain a.csv
is 'in quotes a name of the file, without them what qetl knows' "$(sql 'SELECT * FROM plain')" "1|web|7|$work/a.csv|2
2|shop|8|$work/a.csv|3"
is 'infer gives them as names of the file' "$(qetlctl infer "$work/a.csv" | grep '^columns')" \
    'columns = id:integer!, source:text! from "_source", job:integer! from "_job"'
run_files guess a.csv
is '... and a pipeline without columns reads them so' "$(sql 'SELECT id, source, job FROM guess')" '1|web|7
2|shop|8'
run_files add a.csv
is 'they can be added' "$(field "$job" state) $(sql 'SELECT group_concat(source), sum(job) FROM added')" 'loaded web,shop|15'
is '... and drift says as what' "$(drift)" 'new|_source|a.csv|added as source text
new|_job|a.csv|added as job integer'
text b.csv 'id\n3\n'
run_files add b.csv
is '... once' "$(sql "SELECT group_concat(name) FROM pragma_table_info('added')")" 'id,source,job'
text a.jsonl '{"id":1,"_source":"web","_line":77,"_param":{"x":true},"_member":{"a":1}}\n'
run_files json a.jsonl
is 'JSON: the same' "$(sql 'SELECT id, source, line, param_x, _member_a FROM json')" '1|web|77|1|1'

# ---- a field without a name ----
text c.csv 'id,_source,\n1,a,\n2,b,\n'
text d.csv 'id,_source,\n3,a,\n4,b,zz\n'
for p in ignore fail add2; do
    run_files $p c.csv
    is "$p: one without values is none" "$(field "$job" state) $(drift)" "loaded $(drift | grep _source)"
done
run_files ignore d.csv
is 'values without a name are told' "$(field "$job" state) $(drift)" 'loaded new|(field 3)|d.csv|values without a name in the header: ignored'
run_files ignore d.csv
is '... once' "$(field "$job" state) $(drift)" 'loaded '
for p in fail add2; do
    run_files $p d.csv
    is "$p: they fail the job" "$(field "$job" state) $(field "$job" error_code) $(drift)" \
        'dead drift new|(field 3)|d.csv|values without a name in the header: the job fails'
done
like '... which says what to do' "$(qetlctl show "$job")" 'field 3 has no name in the header, and rows have values in it'

# ---- what a job brings that is not loaded ----
text e.csv 'id,u,x,x\n5,1,a,b\n'
text f.csv 'id\n6\n'
run_files dying e.csv
is 'a header that has a new name twice: the job is dead' "$(field "$job" state) $(field "$job" error_code)" 'dead header'
run_files dying f.csv
is '... and leaves no column behind' "$(sql "SELECT group_concat(name) FROM pragma_table_info('dying')") $(qetlctl --json columns dying | jq -c .columns)" 'id []'
text e.csv 'id,u\n5,x\n'
qetlctl submit dying "$work/e.csv" >"$work/out"
staged() { [ "$(queue_sql "SELECT count(*) FROM job WHERE state = 'staged'")" = 1 ]; }
start_role worker
wait_for 60 staged
stop_roles
is 'what is staged is kept for others' "$(qetlctl --json columns dying | jq -r '.columns[].kept')" 'u:text?'
qetlctl cancel "$(queue_sql 'SELECT max(id) FROM job')" >"$work/out"
run_files dying f.csv
is '... until it is cancelled' "$(sql "SELECT group_concat(name) FROM pragma_table_info('dying')") $(qetlctl --json columns dying | jq -c .columns)" 'id []'
qetlctl submit dying "$work/e.csv" >"$work/out"
start_role worker
wait_for 60 staged
stop_roles
first=$(queue_sql 'SELECT max(id) FROM job')
text g.csv 'id,u\n7,y\n'
qetlctl submit dying "$work/g.csv" >"$work/out"
start_role worker
both() { [ "$(queue_sql "SELECT count(*) FROM job WHERE state = 'staged'")" = 2 ]; }
wait_for 60 both
stop_roles
qetlctl cancel "$first" >"$work/out"
timeout 120 qetl drain 2>"$work/log"
is 'of two that have it one is loaded: it stays' "$(sql 'SELECT id, u FROM dying WHERE u IS NOT NULL') $(qetlctl --json columns dying | jq -r '.columns[].kept')" '7|y u:text?'
done_testing
