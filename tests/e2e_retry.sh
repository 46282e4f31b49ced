#!/bin/bash
# A dead job that is tried again loads nothing that a later job has loaded, and settles no change that is for a person to decide.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

site() { # LINES
    rm -rf "$work/in" && mkdir "$work/in"
    new_site <<INI
[pipeline p]
source  = $work/in/*.csv
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.p
$1
INI
}
file() { # NAME ROWS...
    local name=$1
    shift
    printf '%s\n' id "$@" >"$work/in/$name"
}
ids() { sql "SELECT group_concat(id, ' ') FROM (SELECT id FROM p ORDER BY id)"; }
retry() { qetlctl retry "$@" >"$work/out" 2>&1; }

site 'on_change = reload'
file bad.csv 1 x
file worse.csv y
drain
is 'two jobs are dead' "$(state 1) $(state 2)" 'dead dead'
file bad.csv 1 2
drain
is 'the mended file is loaded by another one' "$(ids) $(state 3)" '1 2 loaded'
retry 1
is 'the dead one is not tried again' "$? $(state 1)" '1 dead'
like '... and it is said why, and what to do' "$(cat "$work/out")" 'job 1: job 3 has taken .*bad.csv since.*qetlctl cancel 1'
file worse.csv 7
retry --dead
is 'of all dead ones it is passed over' "$? $(state 1) $(state 2)" '1 dead ready'
like '... which is told beside the others' "$(cat "$work/out")" 'job 3 has taken .*'
like '... and their number' "$(tail -n1 "$work/out")" '1 job ready'
drain
is 'each row is there once' "$(ids)" '1 2 7'

site 'on_change = reload
group_files = 2'
file a.csv 1
file b.csv x
drain
is 'a group is dead' "$(state 1)" dead
file b.csv 2
file c.csv 3
drain
is 'what was mended of it is loaded' "$(ids)" '2 3'
retry 1
drain
is 'then the rest, by the group' "$(ids) $(state 1)" '1 2 3 loaded'
is 'which names the job that has the other one' "$(qetlctl --json show 1 | jq -c '[.objects[] | [(.uri | sub(".*/"; "")), .same_as]]')" '[["a.csv",0],["b.csv",2]]'

site 'on_change = fail
mode = upsert
key = id'
file bad.csv x
drain
file good.csv 5
drain
file bad.csv 1
drain
retry 1
is 'on_change = fail: a person decides first' "$? $(state 1)" '1 dead'
like '... by the scan' "$(cat "$work/out")" 'bad.csv changed since it was taken.*qetlctl scan p --reload'
qetlctl scan p --reload '**' >"$work/out"
drain
is '... then it is loaded' "$(ids)" '1 5'

site 'on_change = fail'
file bad.csv x
drain
file bad.csv 1
retry 1
qetl drain --max-wait 30s 2>"$work/drain"
is 'what the job finds out itself is not settled by it' "$(state 1) $(queue_sql 'SELECT code FROM error ORDER BY id DESC LIMIT 1')" 'dead changed'
drain
like '... but told by the scan' "$(qetlctl --json status | jq -c .scans)" 'changed'
qetlctl scan p --reload '**' >"$work/out"
drain
is '... and loaded, when a person says so' "$(ids)" 1

site 'on_change = fail'
file late.csv x
drain
file late.csv x 1
drain
qetlctl scan p --accept '**' >"$work/out"
ok 'what was taken as known can be tried again' qetlctl retry 1
done_testing
