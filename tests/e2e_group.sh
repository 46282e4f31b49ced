#!/bin/bash
# Small files become one job, each in one and none forgotten, whoever dies.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

fill() { for i in $(seq "$1" "$2"); do put "$site/in/$i.csv" "$i" && touch -d "@$((1700000000 + i))" "$site/in/$i.csv"; done; }

site_with() {
    new_site <<INI
[pipeline p]
source  = in/*.csv
every   = 1h
settle  = 0
$1
columns = id:integer!
table   = warehouse.p
INI
    mkdir "$site/in"
}

# ---- full, open, over ----

site_with 'group_files = 10
group_wait = 1h'
fill 1 25
ok 'a drain takes what is full' drain 0s
is 'ten objects a job' "$(queue_sql "SELECT group_concat(json_array_length(objects)) FROM job_text")" 10,10
is 'the oldest first' "$(queue_sql "SELECT json_extract(objects, '\$[0]') FROM job_text ORDER BY job LIMIT 1")" "$site/in/1.csv"
is 'their rows are there' "$(sql 'SELECT count(*), max(id) FROM p')" '20|20'
is 'the others are one open group, for people' "$(queue_sql "SELECT status, json_array_length(files), total_size_in_bytes, latest_file_modified_time, id IS NULL FROM scanner WHERE status = 'NONE'")" \
    "NONE|5|30|$(date -u -d @1700000025 +%FT%TZ)|1"
is 'a job is told of with its files' "$(queue_sql "SELECT DISTINCT status, json_array_length(files), failure_msg IS NULL FROM scanner WHERE id IS NOT NULL")" 'LOADED|10|1'
rm "$site/in/21.csv"
fill 26 31
ok 'a file that goes while its group is open is not waited for' drain 0s
is 'what came later fills the group' "$(sql 'SELECT count(*), max(id) FROM p')" '30|31'
is 'and nothing is left open' "$(queue_sql "SELECT count(*) FROM scanner WHERE status = 'NONE'")" 0

# ---- by size, and by quiet ----

site_with 'group_bytes = 50
group_wait = 200ms'
fill 10 33
ok 'a drain waits for what is to be quiet' drain
is 'all is loaded' "$(sql 'SELECT count(*), count(DISTINCT id) FROM p')" '24|24'
is 'no job is larger than it may be' "$(queue_sql "SELECT max(total_size_in_bytes), count(*) FROM scanner")" '48|3'
fill 34 34
ok 'one that comes alone is not forgotten' drain
is 'and is a job, too' "$(sql 'SELECT max(id) FROM p')" 34
is 'they are listed as taken' "$(qetlctl --json scan p | jq -c '.scans[0] | [.found, .jobs, .waiting]')" '[0,0,0]'

# ---- killed at each commit: no object in two jobs, none in none ----

site_with 'group_files = 3
group_wait = 0'
fill 1 1000
killed=0
for point in queue-before-commit queue-after-commit; do
    for n in 1 2 3 4 5 6 7; do
        { (QETL_FAULT=$point:$n:kill qetlctl scan p) >"$work/out" 2>&1; } 2>/dev/null
        [ $? = 137 ] && killed=$((killed + 1))
    done
done
ok 'a scan can be killed at its commits' test "$killed" -gt 6
qetlctl scan p >"$work/out" 2>&1
is 'each object is in one job' "$(queue_sql 'SELECT count(*), count(DISTINCT value) FROM job_text, json_each(objects)')" '1000|1000'

# ---- the scanner that goes on when another one was killed keeps the open group ----

site_with 'group_files = 100
group_wait = 2s'
start_role all
ok 'a scanner is there' wait_for 60 queue_is "SELECT count(*) FROM worker WHERE role = 'scanner' AND ended IS NULL" 1
scanner=$(queue_sql "SELECT pid FROM worker WHERE role = 'scanner' AND ended IS NULL")
fill 1 5
ok 'what came is an open group' wait_for 60 queue_is "SELECT json_array_length(files) FROM scanner WHERE status = 'NONE'" 5
kill -9 "$scanner"
fill 6 9
ok 'with its scanner killed, all is loaded when nothing comes any more' wait_for 120 rows_are 'SELECT count(*), count(DISTINCT id) FROM p' '9|9'
stop_roles
done_testing
