#!/bin/bash
# Exactly once, whatever is killed: workers, loaders, readers and supervisors die by kill -9 at random moments while jobs of all
# kinds run; at the end the tables are compared with the sources row by row.   KILLS=N (default 60), SEED=N
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
start_service http
SLOTS=2 LEASE=5s HEARTBEAT=200ms
RANDOM=${SEED:-$$}
diag "SEED=${SEED:-$$}"
new_site <<INI
[limits]
crashes = 1000
big_object = 1M
[pipeline small]
columns = id:integer!, amount:decimal(2)
table   = warehouse.small
backoff = 100ms
attempts = 1000
[pipeline large]
columns = id:integer!, amount:decimal(2)
table   = warehouse.large
backoff = 100ms
attempts = 1000
[pipeline keyed]
columns = id:integer!, amount:decimal(2)
table   = warehouse.keyed
mode    = upsert
key     = id
backoff = 100ms
attempts = 1000
INI
qetlctl init >/dev/null

# 60 small jobs (inline outputs), 40 large ones (staged files, fetched over HTTP, gz), 10 upserts that overlap in order
for i in $(seq 60); do
    "$srcdir/tests/rows.sh" 50 $((i * 1000)) >"$work/small$i.csv"
    echo "{\"pipeline\":\"small\",\"objects\":[\"$work/small$i.csv\"]}"
done >"$work/jobs"
for i in $(seq 40); do
    "$srcdir/tests/rows.sh" 100000 $((i * 1000000)) | gzip -1 >"$WWW/large$i.csv.gz"
    echo "{\"pipeline\":\"large\",\"objects\":[\"$HTTP/files/large$i.csv.gz\"]}"
done >>"$work/jobs"
for i in $(seq 10); do
    { echo id,amount; seq $((i * 10)) $((i * 10 + 2000)) | sed "s/\$/,$i/"; } >"$work/keyed$i.csv"
    echo "{\"pipeline\":\"keyed\",\"objects\":[\"$work/keyed$i.csv\"]}"
done >>"$work/jobs"
qetlctl submit - <"$work/jobs" >/dev/null

supervisors=()
start_both() {
    start_role worker && supervisors[0]=$role_pid
    start_role loader && supervisors[1]=$role_pid
}
start_both
open_jobs() { queue_sql "SELECT count(*) FROM job WHERE state IN ('ready', 'running', 'staged', 'loading')"; }
kills=0
for _ in $(seq "${KILLS:-60}"); do
    sleep "0.0$((RANDOM % 90 + 10))"
    which=$((RANDOM % 2))
    if [ $((RANDOM % 12)) = 0 ]; then
        kill -9 "${supervisors[which]}" 2>/dev/null
        [ $which = 0 ] && start_role worker || start_role loader
        supervisors[which]=$role_pid
    else
        mapfile -t pids < <(descendants "${supervisors[which]}")
        [ ${#pids[@]} -gt 0 ] && kill -9 "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null
    fi
    kills=$((kills + 1))
    [ "$(open_jobs)" != 0 ] || break
done
diag "$kills kills; $(open_jobs) jobs still open"
ok 'after the killing all jobs are loaded' wait_for 120 bash -c "[ \$(sqlite3 -readonly $site/queue.db \"SELECT count(*) FROM job WHERE state <> 'loaded'\") = 0 ]"
stop_roles
diag "outcomes of attempts: $(queue_sql "SELECT group_concat(n, ', ') FROM (SELECT kind || ' ' || outcome || ' ' || count(*) AS n FROM attempt GROUP BY kind, outcome)")"

for i in $(seq 60); do tail -n +2 "$work/small$i.csv"; done | sed 's/\.\([0-9]\)0$/.\1/; s/\.0$//; s/\.00$//' | sort >"$work/want"
sql 'SELECT id || "," || amount FROM small' | sed 's/\.0$//' | sort >"$work/got"
ok 'small jobs: every row once, none else' cmp "$work/want" "$work/got"
for i in $(seq 40); do zcat "$WWW/large$i.csv.gz" | tail -n +2; done | sed 's/\.\([0-9]\)0$/.\1/; s/\.0$//; s/\.00$//' | sort >"$work/want"
sql 'SELECT id || "," || amount FROM large' | sed 's/\.0$//' | sort >"$work/got"
ok 'large jobs: every row once, none else' cmp "$work/want" "$work/got"
is 'upserts: the newest job of each key won' \
    "$(sql 'SELECT count(*) FROM keyed WHERE amount <> min(10, id / 10) AND id <= 2010')" 0
is 'the ledger has each job once' "$(sql 'SELECT count(*) FROM qetl_load')" 110
is 'the databases are sound' "$(queue_sql 'PRAGMA integrity_check') $(sql 'PRAGMA integrity_check')" 'ok ok'
is 'nobody saw a locked database' "$(grep -ci locked "$site"/*.log | grep -vc ':0$')" 0
# a loader that died behind its commit left files, which the sweep takes when they are old enough
QETL_CLOCK_OFFSET_MS=86400000 "$bin/qetl" drain 2>>"$site/drain.log"
is 'no staged file is left behind by a loaded job' "$(find "$site/spool/staged" -name '*.db' | wc -l)" 0
done_testing
