#!/bin/bash
# kill -9 at every named point of a job's way, worker's and loader's side: afterwards each row is there once.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
SLOTS=1 LEASE=5s HEARTBEAT=200ms
"$srcdir/tests/rows.sh" 20 >"$work/small.csv"
"$srcdir/tests/rows.sh" 30000 >"$work/large.csv"

# point ROLE: dies there at the first job, small (inline) and large (staged file); then everything runs without the fault
at_point() {
    local point=$1 role=$2 other
    [ "$role" = worker ] && other=loader || other=worker
    new_site <<-INI
	[limits]
	crashes = 100
	[pipeline t]
	columns = id:integer!, amount:decimal(2)
	table   = warehouse.t
	backoff = 100ms
	INI
    qetlctl init >/dev/null
    qetlctl submit t "$work/small.csv" >/dev/null
    qetlctl submit t "$work/large.csv" >/dev/null
    start_role $other
    QETL_FAULT="$point:kill" start_role "$role"
    ok "$point: the fault was met" wait_for 60 grep -q 'a process died' "$site/$role.log"
    kill -9 "$role_pid"
    start_role "$role"
    ok "$point: all jobs are loaded afterwards" wait_for 40 bash -c "[ \$(sqlite3 -readonly $site/queue.db \"SELECT count(*) FROM job WHERE state <> 'loaded'\") = 0 ]"
    is "$point: each row is there once" "$(sql 'SELECT count(*), count(DISTINCT id), sum(id) FROM t')" '30020|30000|450015210'
    stop_roles
}
for point in queue-before-commit queue-after-commit stage-before-rename stage-after-rename worker-after-job; do at_point $point worker; done
for point in target-before-commit target-after-commit loader-before-record loader-after-record; do at_point $point loader; done

# Rejects that cannot be kept: the job is not told to be loaded without them.
new_site <<INI
[pipeline t]
columns = id:integer!
table   = warehouse.t
max_rejects = 100000
INI
qetlctl init >/dev/null
{ echo id; seq 10; seq 20000 | sed 's/^/not a number, but some text to make it long: /'; } >"$work/rejects.csv"
id=$(qetlctl --json submit t "$work/rejects.csv" | jq .id)
start_role worker
QETL_FAULT=spool-keep-sync:1:error start_role loader
ok 'rejects cannot be kept: the loader says so' wait_for 60 grep -q 'keep the rejects of job' "$site/loader.log"
is '... and does not record the job as loaded' "$(state "$id")" loading
kill -9 "$role_pid"
start_role loader
ok '... the next one does' wait_for 60 bash -c "[ \$(qetlctl --json show $id | jq -r .job.state) = loaded ]"
is '... with all of them' "$(qetlctl --json rejects "$id" | jq '.rejects | length')" 20000
is '... and the rows once' "$(sql 'SELECT count(*) FROM t')" 10
stop_roles
done_testing
