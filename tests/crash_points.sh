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
done_testing
