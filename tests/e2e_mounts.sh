#!/bin/bash
# A folder that another machine or a program has (NFS, CIFS, FUSE) is listed as other places are: when nobody answers there, that holds up
# nothing but itself. A FUSE mount whose program says nothing stands for all of them.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need python3 python3

cat >"$work/mute.py" <<'PY'
import ctypes, os, signal, sys
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"mute", sys.argv[1].encode(), b"fuse", 6, b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fd):
    sys.exit(os.strerror(ctypes.get_errno()))
open(sys.argv[2], "w").close()
signal.pause()
PY
mkdir "$work/mute"
trap 'stop_roles; kill ${mute-} 2>/dev/null; umount -l "$work/mute" 2>/dev/null; cleanup' EXIT
mute() {
    python3 "$work/mute.py" "$work/mute" "$work/mounted" 2>"$work/why" &
    mute=$!
    wait_for 30 eval 'test -e "$work/mounted" || test -s "$work/why"'
    test -e "$work/mounted"
}
mute || { skip "FUSE cannot be mounted here: $(cat "$work/why")" 1; done_testing; exit; }

new_site <<INI
[scanner]
inbox = inbox
[pipeline hung]
source  = $work/link/*.csv
every   = 1s
settle  = 0
after   = delete
columns = id:integer!
table   = warehouse.hung
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
ln -s mute "$work/link"
sed -i '1i [limits]\nconnect_timeout = 1s' "$site/qetl.ini"
said=$(timeout 60 qetlctl doctor 2>&1)
is 'doctor says of a mount that does not answer that it is so, and ends: 1' $? 1
like '... which' "$said" "source of hung .*$work/link/\*\.csv'?: its mount does not answer: nothing came for 1 s .*\[timeout\]"
mkdir "$site/in"
said=$(timeout 60 qetlctl scan hung 2>&1)
is '... nor does scan wait for it: 1' $? 1
like '... which says what hangs' "$said" "scan of 'hung': .*its mount does not answer"
timeout 60 qetlctl scan hung --dry-run >/dev/null 2>&1
is '... nor its dry run: 1' $? 1
timeout 60 qetlctl scan here >/dev/null 2>&1
is '... while others are scanned' $? 0
put "$site/in/0.csv" 0
said=$(timeout 60 qetlctl scan --dry-run 2>"$work/complaints")
is 'a dry run of all goes on behind one that hangs: 1' $? 1
like '... finds what lies elsewhere' "$said" 'here .*/in/0\.csv'
like '... and names it' "$(cat "$work/complaints")" "scan of 'hung': .*its mount does not answer"
scanned() { queue_sql "SELECT group_concat(pipeline || ' ' || taken) FROM scan WHERE finished > 0"; }
said=$(timeout 60 qetlctl scan 2>&1)
is 'so does a scan of all: 1' $? 1
is '... takes what lies elsewhere' "$(scanned)" 'here 1'
like '... and names it at the end' "$(tail -n 2 <<<"$said")" "scan of 'hung': .*its mount does not answer"
start_role worker
start_role loader
start_role scanner
scanner=$role_pid
tree() { # PID: it, and what it began
    local p
    echo "$1"
    for p in $(pgrep -P "$1"); do tree "$p"; done
}
is_asked() { [ "$(tree "$(pgrep -P "$scanner")" | wc -l)" = 3 ]; } # the role, its starter, and who asks
ok 'a folder whose program says nothing is asked, by a process of its own' wait_for 60 is_asked
ok 'what lies here is loaded meanwhile' wait_for 60 rows_are 'SELECT id FROM here' 0
put "$site/in/1.csv" 1
timeout 60 qetlctl scan >/dev/null 2>&1
is 'a scanner that works is asked for all the others: 1' $? 1
ok '... and what came to them is loaded' wait_for 60 rows_are 'SELECT max(id) FROM here' 1
put "$site/asked.csv" 2
printf '{"pipeline":"asked","objects":["%s/asked.csv"]}' "$site" >"$site/inbox/.m" && mv "$site/inbox/.m" "$site/inbox/m.json"
ok 'and a message of the inbox' wait_for 60 rows_are 'SELECT id FROM asked' 2
mapfile -t all < <(tree "$(pgrep -P "$scanner")")
ended() { # PID...
    local p
    for p in "$@"; do grep -qsv '^State:.*[ZX]' <(grep '^State:' "/proc/$p/status" 2>/dev/null) && return 1; done
    return 0
}
stop_roles
ok 'a stop does not wait for it' wait_for 60 ended "${all[@]}"

start_role worker
start_role loader
start_role scanner
scanner=$role_pid
ok 'it is asked again' wait_for 60 is_asked
kill "$mute"
ok 'when its program dies the scan fails, and says so' wait_for 60 queue_is "SELECT code FROM scan WHERE pipeline = 'hung'" io
umount -l "$work/mute"
put "$work/mute/1.csv" 3
ok 'when it is a folder of this machine again, that is scanned' wait_for 60 rows_are 'SELECT id FROM hung' 3
gone() { [ ! -e "$work/mute/1.csv" ]; }
ok 'and what after= says is done' wait_for 60 gone
stop_roles

# ---- a manifest there ----

rm "$work/mounted" "$work/mute"/*
mute || bail 'it cannot be mounted again'
new_site <<INI
[pipeline listed]
source  = manifest+file://$work/link/list.txt
every   = 1s
settle  = 0
columns = id:integer!
table   = warehouse.listed
INI
sed -i '1i [limits]\nconnect_timeout = 1s\nstall_timeout = 1s' "$site/qetl.ini"
like 'a manifest on such a mount: doctor says so' "$(timeout 60 qetlctl doctor 2>&1)" "source of listed .*its mount does not answer"
said=$(timeout 60 qetlctl scan 2>&1)
is '... scan ends: 1' $? 1
like '... and names it' "$said" "scan of 'listed': .*its mount does not answer"
timeout 60 qetl drain --scan --max-wait 1s >/dev/null 2>&1
is '... a drain, too: 1' $? 1
qetlctl init >/dev/null
start_role scanner
ok '... and a scanner writes down that it broke off' wait_for 60 queue_is "SELECT code FROM scan WHERE pipeline = 'listed'" timeout
stop_roles
done_testing
