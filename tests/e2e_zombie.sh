#!/bin/bash
# No zombie wins, on the spool: a worker that is frozen (SIGSTOP) behind its last look at the lease, with whole files in hand, wakes up
# when the job has another owner. Warehouse, spool and rejects are those of the other; the source changed between the two, to tell.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
export QETL_TEST_LOG=info

# version NAME: large enough for staged files, rows and rejects alike
version() {
    awk -v v="$1" 'BEGIN { print "id,version"
        for (i = 1; i <= 20000; i++) print (i % 10 ? i : "bad" i) "," v }' >"$work/source.csv"
}
stopped() { grep -q '^State:.T' "/proc/$(kid "$1")/status"; }
loaded() { [ "$(state 1)" = loaded ]; }
staged_names() { (cd "$site/spool/staged" && find . -type f) | sort | sed "s/$(field 1 uid)/UID/" | tr '\n' ' '; }

# freeze POINT: a site whose first worker stands at POINT with the job's old version, and whose lease has run out
freeze() {
    LEASE=5s HEARTBEAT=200ms new_site <<-INI
	[pipeline t]
	columns = id:integer!, version:text
	table   = warehouse.t
	max_rejects = ${MAX_REJECTS:-5000}
	backoff = 50ms
	INI
    qetlctl init >/dev/null
    version old
    qetlctl submit t "$work/source.csv" >/dev/null
    QETL_FAULT="$1:1:stop" start_role worker-1
    first=$role_pid
    ok "$1: the first worker stands" wait_for 60 stopped "$first"
    kill -STOP "$first"
    version new
    # the second's leases are long: it may stand too
    sed 's/^lease = .*/lease = 600s/' "$site/qetl.ini" >"$site/second.ini"
}
second() { QETL_CONFIG=$site/second.ini start_role worker-2; }
wake() { kill -CONT "$(kid "$1")" "$1"; }
first_lost() { grep -q 'the lease was lost; the outcome was not recorded' "$site/worker-1.log"; }

all_is_of_the_second() {
    is "$1: the rows are those of the second" "$(sql 'SELECT version, count(*) FROM t GROUP BY version')" 'new|18000'
    is '... and the rejects' "$(qetlctl rejects export 1 --format jsonl | jq -r .row | sed 's/.*,//' | sort | uniq -c | tr -s ' ')" ' 2000 new'
    is '... and the attempts' "$(queue_sql "SELECT group_concat(outcome, ' ') FROM (SELECT outcome FROM attempt WHERE job = 1 ORDER BY token)")" 'crashed staged loaded'
    stop_roles
    is '... and nothing is left in the spool' "$(staged_names)" ''
    is '... but the rejects' "$(find "$site/spool/rejects" -type f | wc -l)" 1
}

# the second has written its files, and not yet published them
freeze stage-before-rename
QETL_FAULT=stage-before-rename:1:stop second
ok 'the second worker stands at the same point' wait_for 60 stopped "$role_pid"
is 'each has files of its own' "$(staged_names)" './UID.1/0.part ./UID.1/1.part ./UID.2/0.part ./UID.2/1.part '
wake "$first"
ok 'the first goes on, and sees that it lost' wait_for 60 first_lost
is 'the files of the second are untouched' "$(staged_names | grep -o './UID.2/[^ ]*' | tr '\n' ' ')" './UID.2/0.part ./UID.2/1.part '
wake "$role_pid"
start_role loader
ok 'the second is loaded' wait_for 60 loaded
all_is_of_the_second 'before the second publishes'

# the second is staged: the first publishes behind it
freeze stage-before-rename
second
ok 'the second stages' wait_for 60 bash -c "[ \"\$(qetlctl --json show 1 | jq -r .job.state)\" = staged ]"
wake "$first"
ok 'the first goes on, and sees that it lost' wait_for 60 first_lost
is 'the staged files are there' "$(staged_names | grep -o './UID.2/[^ ]*' | tr '\n' ' ')" './UID.2/0.db ./UID.2/1.jsonl '
start_role loader
ok 'the second is loaded' wait_for 60 loaded
all_is_of_the_second 'when the second is staged'

# the second is loaded
freeze stage-before-rename
second
start_role loader
ok 'the second is loaded' wait_for 60 loaded
wake "$first"
ok 'the first goes on, and sees that it lost' wait_for 60 first_lost
all_is_of_the_second 'when the second is loaded'

# the first failed, and is about to remove its files
MAX_REJECTS=10 freeze worker-before-discard
sed -i 's/^max_rejects = .*/max_rejects = 5000/' "$site/second.ini"
second
ok 'the second stages' wait_for 60 bash -c "[ \"\$(qetlctl --json show 1 | jq -r .job.state)\" = staged ]"
wake "$first"
ok 'the first goes on, and sees that it lost' wait_for 60 first_lost
start_role loader
ok 'the second is loaded' wait_for 60 loaded
all_is_of_the_second 'when the first removes its files'
done_testing
