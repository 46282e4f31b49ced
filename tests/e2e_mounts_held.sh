#!/bin/bash
# A mount of another machine's folders, or of a program's, that holds whoever asks there in the kernel, where not even SIGKILL reaches him:
# the job that reads there fails and goes back, its worker and its other jobs go on, a drain ends, the inbox holds up no folder, and a stop
# waits for nobody. A FUSE mount that takes requests and does not answer them stands for all of them (tests/slow_mount.py).
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need python3 python3

trap 'stop_roles; kill ${slow-} 2>/dev/null; umount -l "$work/mnt" 2>/dev/null; cleanup' EXIT
mkdir "$work/mnt" "$work/there" "$work/there/in" "$work/there/inbox" "$work/there/store"
mount_slow() {
    python3 "$srcdir/tests/slow_mount.py" "$work/there" "$work/mnt" "$work/hold" &
    slow=$!
    wait_for 30 eval 'test -e "$work/hold.ready" || test -s "$work/hold.why"'
    test -e "$work/hold.ready"
}
hold() { # KIND...: no request of these is answered
    rm -f "$work/hold.held"
    echo "$*" >"$work/hold.new" && mv "$work/hold.new" "$work/hold"
}
let_go() { rm -f "$work/hold"; }
is_held() { [ -s "$work/hold.held" ]; }
error_is() { # JOB REGEX
    queue_sql "SELECT code || ' ' || class || ' ' || message FROM error WHERE job = $1" | grep -Eq -- "$2"
}
killed() { grep -E 'a process (hangs|died)|are killed' "$site/$1.log"; }
limits='[limits]
connect_timeout = 1s
stall_timeout = 3s'

# ---- a worker that reads there ----
SLOTS=2 new_site <<INI
$limits
[target store]
url = file://$work/mnt/store
[pipeline p]
columns  = id:integer!
table    = warehouse.p
backoff  = 1s
backoff_max = 1s
attempts = 1000
[pipeline once]
columns  = id:integer!
table    = warehouse.p
attempts = 1
[pipeline kept]
columns  = id:integer!
table    = warehouse.p
archive  = store/raw
backoff  = 1s
backoff_max = 1s
attempts = 1000
INI
put "$work/here.csv" 1
start_role all
job=$(submit p "$work/here.csv")
ok 'a file of this machine is loaded' wait_for 60 job_is "$job" loaded
mount_slow || { skip "FUSE cannot be mounted here: $(cat "$work/hold.why")" 1; done_testing; exit; }
put "$work/there/in/2.csv" 2
(cd "$work/there/in" && put 3.csv 3 && python3 -c 'import zipfile; zipfile.ZipFile("3.zip", "w", zipfile.ZIP_DEFLATED).write("3.csv")' &&
    seq -f '%.0f' 100000 199999 | sed '1i id' >big.csv)
job=$(submit p "$work/mnt/in/2.csv" "file://$work/mnt/in/3.zip")
ok 'what is read behind a mount that came meanwhile is loaded' wait_for 60 job_is "$job" loaded
is '... as it is' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)')" 1,2,3
is '... its objects are known by size and time' "$(qetlctl --json show "$job" | jq '[.objects[] | select(.size > 0 and .modified)] | length')" 2
job=$(submit kept "$work/mnt/in/big.csv")
ok 'and what is larger than a few chunks, and archived there' wait_for 60 job_is "$job" loaded
is '... all of it' "$(sql 'SELECT count(*), sum(id) FROM p WHERE id >= 100000')" '100000|14999950000'
is '... in both places' "$(cmp "$work"/there/store/raw/*/0-big.csv "$work/there/in/big.csv" && echo same)" same
job=$(submit p "$work/mnt/in/none.csv")
ok 'one that is not there is missed as anywhere' wait_for 60 error_is "$job" "fetch-missing .*there is no file"

for kind in read lookup; do
    put "$work/there/in/$kind.csv" "$((${#kind} * 10))"
    hold "$kind"
    job=$(submit p "$work/mnt/in/$kind.csv")
    ok "$kind is not answered: the job fails for now, and says which mount it is" \
        wait_for 60 error_is "$job" "timeout transient .*/in/$kind.csv': its mount '$work/mnt' does not answer: nothing came for [0-9]+ s"
    ok '... and is tried again' wait_for 60 error_is "$job" 'does not answer: a process that asked before is held there still'
    put "$work/here-$kind.csv" "$((${#kind} * 10 + 1))"
    other=$(submit p "$work/here-$kind.csv")
    ok '... others go on meanwhile' wait_for 60 job_is "$other" loaded
    let_go
    ok '... and when it is answered it is loaded' wait_for 60 job_is "$job" loaded
done
hold all
job=$(submit kept "$work/here.csv")
ok 'a file of this machine that is to be archived there: the same' \
    wait_for 60 error_is "$job" "timeout transient .*archive: 'store/raw': its mount '$work/mnt' does not answer"
let_go
ok '... to its end' wait_for 60 job_is "$job" loaded
is 'no lease was lost for it' "$(queue_sql "SELECT count(*) FROM error WHERE code NOT IN ('timeout', 'fetch-missing')")" 0
hold read
job=$(submit p "$work/mnt/in/read.csv")
ok 'somebody is held there' wait_for 60 is_held
stop_roles
is 'a stop does not wait for that, and nobody had to be killed' "$(killed all)" ''
timeout 60 qetlctl run once "$work/mnt/in/read.csv" >"$work/out" 2>&1
is 'nor does run wait for ever' "$?" 1
like '... which names the mount' "$(cat "$work/out")" "its mount '$work/mnt' does not answer"
let_go

# ---- a drain ----
new_site <<INI
$limits
[pipeline there]
source  = $work/mnt/in/*.csv
every   = 1h
settle  = 0
after   = delete
columns = id:integer!
table   = warehouse.there
[pipeline here]
source  = in/*.csv
every   = 1h
settle  = 0
after   = delete
columns = id:integer!
table   = warehouse.here
INI
rm "$work"/there/in/*
put "$work/there/in/1.csv" 1
mkdir "$site/in"
put "$site/in/2.csv" 2
hold all
said=$(timeout 60 qetl drain --scan --max-wait 30s 2>&1)
is 'a drain ends though a folder does not answer: 1' $? 1
like '... which it says' "$said" '1 source could not be looked through'
is '... and what lies elsewhere is loaded, and gone' "$(sql 'SELECT id FROM here'),$(ls "$site/in")" 2,
is '... and the scan has failed by that' "$(queue_sql "SELECT code FROM scan WHERE pipeline = 'there'")" timeout
like '... with words' "$(qetlctl status)" "there .*timeout .*its mount does not answer"
hold rename rename2 unlink
said=$(timeout 60 qetl drain --scan --max-wait 30s 2>&1)
is 'a drain ends though after= hangs: 1' $? 1
like '... which it says' "$said" 'what after= says is still to be done at 1 source'
is '... behind the load' "$(sql 'SELECT id FROM there'),$(ls "$work/there/in" | wc -l)" 1,1
let_go
ok 'when somebody answers it is done' wait_for 60 eval 'timeout 60 qetl drain --scan --max-wait 30s 2>"$work/drain" && [ -z "$(ls "$work/there/in")" ]'
is '... and all is well' "$(queue_sql 'SELECT count(*) FROM scan WHERE code IS NOT NULL OR after_failures')" 0

# ---- the inbox ----
new_site <<INI
$limits
[scanner]
inbox = $work/mnt/inbox
[pipeline here]
source  = in/*.csv
every   = 1s
settle  = 0
columns = id:integer!
table   = warehouse.here
[pipeline asked]
columns = id:integer!
table   = warehouse.asked
INI
mkdir "$site/in"
put "$site/in/1.csv" 1
put "$site/asked.csv" 2
hold all
said=$(timeout 60 qetlctl scan 2>&1)
is 'a scan of all leaves out an inbox that does not answer: 1' $? 1
like '... names it' "$said" "the inbox: '$work/mnt/inbox': its mount does not answer"
is '... and goes on' "$(queue_sql "SELECT taken FROM scan WHERE pipeline = 'here'")" 1
start_role all
ok 'the scanner asks it' wait_for 60 is_held
put "$site/in/3.csv" 3
ok '... and looks through folders meanwhile' wait_for 60 rows_are 'SELECT max(id) FROM here' 3
told() { grep -q "the inbox cannot be used.*its mount does not answer" "$site/all.log"; }
ok '... and says what is wrong' wait_for 60 told
let_go
printf '{"pipeline":"asked","objects":["%s/asked.csv"]}' "$site" >"$work/there/inbox/.m" && mv "$work/there/inbox/.m" "$work/there/inbox/m.json"
ok 'a message is taken when it answers' wait_for 60 rows_are 'SELECT id FROM asked' 2
ok '... and put away' wait_for 60 test -e "$work/there/inbox/done/m.json"
hold all
rm -f "$work/hold.held"
ok 'it hangs once more' wait_for 60 is_held
stop_roles
is 'and a stop does not wait for it' "$(killed all)" ''
done_testing
