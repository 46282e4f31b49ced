#!/bin/bash
# What jobs did by pipeline, what the rows of a job are like, and the last words of a drain.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
new_site <<INI
[pipeline orders]
source  = $work/in/orders-*.csv
every   = 10m
settle  = 0
columns = id:integer!, customer, amount:decimal(2), placed:date
table   = warehouse.orders
profile = yes
max_rejects = 10
[pipeline plain]
columns = id:integer!
table   = warehouse.plain
[pipeline two]
[pipeline two.a]
table   = warehouse.two
member  = a*.csv
profile = yes
[pipeline two.b]
columns = x:real
table   = warehouse.two_b
member  = b*.csv
profile = yes
INI
mkdir "$work/in"
{
    echo 'id,customer,amount,placed'
    for i in $(seq 1 1000); do echo "$i,customer $((i % 7 == 0 ? 0 : i % 90)),$((i % 10)).50,2026-11-$(((i % 20) + 10))"; done
    echo 'x,nobody,1,2026-11-21'
} >"$work/in/orders-1.csv"
out=$(qetl drain --scan 2>&1)
like 'a drain says what it did' "$out" 'qetl: orders: 1 job loaded, 0 dead; rows: 1001 read, 1000 loaded, 1 rejected, 0 filtered; .* fetched$'
is '... and nothing when it did nothing' "$(qetl drain 2>&1)" ''

# ---- one job ----
report=$(qetlctl --json report 1)
column() { jq -c ".profile[0].columns[] | select(.column == \"$1\") | $2" <<<"$report"; }
is 'the profile is of the rows that were staged' "$(jq -c '[.job.id, .profile[0].pipeline, .profile[0].rows]' <<<"$report")" '[1,"orders",1000]'
is 'smallest and greatest' "$(column id '[.type, .nulls, .min, .max]') $(column placed '[.min, .max]') $(column amount '[.min, .max]')" \
    '["integer",0,1,1000] ["2026-11-10","2026-11-29"] [0.5,9.5]'
is 'few values are counted exactly' "$(column amount '[.distinct, .error]')" '[10,0]'
is 'many are estimated' "$(column id '.distinct > 950 and .distinct < 1050')" true
is 'the most frequent one' "$(column customer '.top[0].value')" '"customer 0"'
is '... with a count that is not too high' "$(column customer '.top[0].count <= 152 and .top[0].count + .error >= 152')" true
is 'the longest text' "$(column customer '.longest')" 11
people=$(qetlctl report 1)
like 'people see the job' "$people" '^pipeline +orders'
like '... and each column' "$people" '^orders +amount +decimal +0 +10 +0.50 +9.50 +- +'
like '... an estimate with its sign' "$people" '^orders +id +integer +0 +~[0-9]+ +1 +1000'

printf 'id\n1\n' >"$work/p.csv"
qetlctl run plain "$work/p.csv" >"$work/out"
is 'profile = no keeps none' "$(qetlctl --json report 2 | jq -c .profile)" '[]'
like '... and says how to have one' "$(qetlctl report 2)" 'set profile = yes'

mkdir "$work/t" && printf 'id,n\n1,x\n' >"$work/t/a.csv" && printf 'x\n1.5\n-2\n' >"$work/t/b.csv"
tar -C "$work/t" -cf "$work/t.tar" a.csv b.csv
qetlctl run two "$work/t.tar" >"$work/out"
is 'each part has its own, inferred columns too' "$(qetlctl --json report 3 | jq -c '.profile[] | [.pipeline, .rows, [.columns[].column]]')" \
    '["two.a",1,["id","n"]]
["two.b",2,["x"]]'

# ---- by pipeline ----
printf 'wrong\n1\n' >"$work/w.csv"
qetlctl run plain "$work/w.csv" >"$work/out" 2>&1
report=$(qetlctl --json report)
is 'by pipeline: jobs and rows' "$(jq -c '.pipelines[] | [.pipeline, .jobs, .loaded, .dead, .rows_read, .rows_loaded, .rows_rejected, .errors, .drift]' <<<"$report")" \
    '["orders",1,1,0,1001,1000,1,0,0]
["plain",2,1,1,1,1,0,1,2]
["two",1,1,0,3,3,0,0,0]'
is '... bytes and seconds' "$(jq -c '.pipelines[0] | .bytes_in > 20000 and .seconds_mean >= 0 and .seconds_max >= .seconds_mean' <<<"$report")" true
is '... and the findings of drift, the newest first' "$(jq -c '.drift[] | [.job, .kind, .column]' <<<"$report")" '[4,"new","wrong"]
[4,"missing","id"]'
is 'one pipeline' "$(qetlctl --json report --pipeline plain | jq -c '[.pipelines[].pipeline]')" '["plain"]'
like 'people get a table' "$(qetlctl report --pipeline plain)" '^plain +2 +1 +1 +1 +1 +0 +0 '
is 'since an age' "$(qetlctl --json report --since 1h | jq '[.pipelines[].jobs] | add')" 4
is 'since a time' "$(qetlctl --json report --since 2100-01-01T00:00:00Z | jq -c '.')" '{"pipelines":[],"enriched":[],"drift":[]}'
third=$(queue_sql 'SELECT created FROM job WHERE id = 3')
since=$(date -u -d "@$((third / 1000)).$(printf %03d $((third % 1000)))" +%Y-%m-%dT%H:%M:%S.%3NZ)
is 'since the time that a job was made' "$(qetlctl --json report --since "$since" | jq '[.pipelines[].jobs] | add')" 2

# ---- wrong calls ----
like 'a word that is no time' "$(qetlctl report --since soon 2>&1)" 'since wants an age'
like 'a job and a pipeline' "$(qetlctl report 1 --pipeline plain 2>&1)" 'one job, or'
qetlctl report 99 >"$work/out" 2>&1
is 'a job that is none' $? 5
qetlctl report --pipeline plan >"$work/out" 2>&1
is 'a pipeline that is none' $? 5

# ---- it goes with its job ----
qetlctl prune --older 0s >"$work/out"
is 'a profile goes with its job' "$(queue_sql 'SELECT count(*) FROM profile')" 0
done_testing
