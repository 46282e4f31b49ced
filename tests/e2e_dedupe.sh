#!/bin/bash
# dedupe = content: the same bytes are loaded once, under whatever name they come, and never lost because of it.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3

put() { printf 'id\n%s\n' "$2" >"$site/in/$1.part" && mv "$site/in/$1.part" "$site/in/$1"; }
same() { queue_sql 'SELECT group_concat(coalesce(same_as, 0)) FROM (SELECT same_as FROM object ORDER BY job, number)'; }

site_with() {
    new_site <<INI
[pipeline p]
source  = in/*.csv
every   = 1h
settle  = 0
backoff = 100ms
on_change = reload
dedupe  = content
$1
columns = id:integer!
table   = warehouse.p
INI
    mkdir "$site/in"
}

site_with ''
put a.csv 1
drain
put b.csv 1
put c.csv 2
ok 'another name' drain
is 'the same content is loaded once' "$(sql 'SELECT group_concat(id) FROM p')" 1,2
is 'all jobs are loaded' "$(queue_sql 'SELECT group_concat(DISTINCT state) FROM job')" loaded
is 'people see of which job it is' "$(same)" 0,1,0
like 'show tells it' "$(qetlctl show 2)" 'SAME AS JOB'
like '... and has no job where there is none' "$(qetlctl show 1 | grep a.csv)" ' -$'
like '... and that nothing was staged' "$(qetlctl show 2)" '^nothing staged$'
like 'of a loaded job it tells where the staged rows are' "$(qetlctl show 1)" '^what was staged is loaded, and removed from the spool$'
is 'also in JSON' "$(qetlctl --json show 2 | jq -c '[.job.rows_loaded, .objects[0].same_as]')" '[0,1]'
is 'nothing is staged for it' "$(find "$site/spool" -type f -path '*staged*' | wc -l)" 0
touch -d '2001-01-01' "$site/in/a.csv"
drain
is 'nor is the same file with another time' "$(sql 'SELECT count(*) FROM p')|$(same)" '2|0,1,0,1'
mkdir "$site/out"
printf 'id\n1\n' >"$site/out/x.csv"
qetlctl submit p "$site/out/x.csv" >"$work/out"
drain
is 'nor what a person submits' "$(sql 'SELECT count(*) FROM p')" 2

# ---- in groups: only what is new of them ----

site_with 'group_files = 3
group_wait = 0'
put a.csv 1
drain
put b.csv 1
put c.csv 2
put d.csv 2
drain
is 'of a group only what is new is loaded' "$(sql 'SELECT group_concat(id) FROM p')" 1,2
is 'rows are counted once' "$(queue_sql 'SELECT group_concat(rows_loaded) FROM job')" 1,1
is 'the others stand there with their job' "$(queue_sql 'SELECT count(*) FROM object WHERE same_as = 1')|$(queue_sql 'SELECT count(*) FROM object WHERE same_as = 2')" '1|1'

# ---- two at the same time; one that comes to nothing ----

SLOTS=3 site_with ''
for i in $(seq 1 40); do put "$i.csv" $((i % 4)); done
ok 'many at the same time' drain
is 'each content is loaded once' "$(sql 'SELECT count(*), count(DISTINCT id) FROM p')" '4|4'
is 'every job is over' "$(queue_sql "SELECT count(*), sum(state = 'loaded') FROM job")" '40|40'

site_with ''
printf 'id\nx\n' >"$site/in/bad.csv"
cp "$site/in/bad.csv" "$site/in/bad2.csv"
drain
is 'what died is loaded by nobody, and holds nobody back' "$(queue_sql "SELECT group_concat(state), (SELECT count(*) FROM content) FROM job")" 'dead,dead|0'
put a.csv 7
qetlctl scan p >"$work/out"
start_role worker
staged() { [ "$(queue_sql "SELECT count(*) FROM job WHERE state = 'staged'")" = 1 ]; }
ok 'one is staged' wait_for 60 staged
put b.csv 7
qetlctl scan p >"$work/out"
handed_back() { [ "$(queue_sql "SELECT count(*) > 0 FROM attempt WHERE job = 4 AND outcome = 'handed-back'")" = 1 ]; }
ok 'its twin waits for it' wait_for 60 handed_back
stop_roles
qetlctl cancel 3 >"$work/out"
drain
is 'and is loaded when that one comes to nothing' "$(sql 'SELECT count(*) FROM p')|$(queue_sql 'SELECT state FROM job WHERE id = 4')" '1|loaded'

# ---- fetched ----

site_with ''
sed -i 's/^every.*//; s/^source.*//; s/^settle.*//; s/^on_change.*//' "$site/qetl.ini"
python3 -u -m http.server --bind 127.0.0.1 --directory "$site/in" 0 >"$work/http.log" 2>&1 &
roles="$roles $!"
serving() { port=$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$work/http.log") && [ -n "$port" ]; }
ok 'a server serves' wait_for 60 serving
serving
for i in 1 2 3; do { echo id; seq 1 20000; } >"$site/in/big$i.csv"; done
gzip -c "$site/in/big1.csv" >"$site/in/big.csv.gz"
for f in big1.csv big2.csv big.csv.gz big3.csv; do
    qetlctl submit p "http://127.0.0.1:$port/$f" >"$work/out"
    drain
done
is 'over HTTP, too; packed bytes are other bytes' "$(sql 'SELECT count(*) FROM p')|$(same)" '40000|0,1,0,1'
done_testing
