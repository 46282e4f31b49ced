#!/bin/bash
# A place that takes connections and says nothing holds up nothing but itself: not what lies here, nor the inbox, nor the clock, nor another
# host. Its time limits are longer than this test waits.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need python3 python3
start_service http

cat >"$work/mute.py" <<'PY'
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(listener.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
kept = []
while True:
    kept.append(listener.accept())
    with open(sys.argv[1] + ".taken", "a") as f:
        f.write("taken\n")
PY
mute() { # NAME: gives $port
    python3 "$work/mute.py" "$work/$1" &
    mutes="$mutes $!"
    wait_for 30 test -s "$work/$1"
    port=$(cat "$work/$1")
}
mutes=''
trap 'kill $mutes 2>/dev/null; stop_roles; cleanup' EXIT
mute one; one=$port
mute two; two=$port
mute three; three=$port
taken() { [ "$(wc -l <"$work/$1.taken" 2>/dev/null)" -ge 1 ]; }
mkdir -p "$WWW/far"
chmod 755 "$WWW/far"

new_site <<INI
[limits]
connect_timeout = 10m
stall_timeout = 10m
[scanner]
inbox = inbox
[remote mute]
url = sftp://127.0.0.1:$three/
user = nobody
password = none
host_key_sha256 = 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
[pipeline hung]
source  = ftp://127.0.0.1:$one/x/*.csv
every   = 1s
columns = id:integer!
table   = warehouse.p
[pipeline hung-too]
source  = ftp://127.0.0.1:$one/y/*.csv
every   = 1s
columns = id:integer!
table   = warehouse.p
[pipeline hung-http]
source  = http://127.0.0.1:$two/x/*.csv
every   = 1s
columns = id:integer!
table   = warehouse.p
[pipeline hung-sftp]
source  = sftp://127.0.0.1:$three/x/*.csv
every   = 1s
columns = id:integer!
table   = warehouse.p
[pipeline here]
source  = in/*.csv
every   = 1s
settle  = 0
columns = id:integer!
table   = warehouse.here
[pipeline there]
source  = $HTTP/index/far/*.csv
every   = 1s
settle  = 0
columns = id:integer!
table   = warehouse.there
[pipeline asked]
columns = id:integer!
table   = warehouse.asked
[pipeline tick]
command = ./tick
cron    = * * * * *
missed  = skip
columns = id:integer!
table   = warehouse.tick
INI
mkdir "$site/in"
printf '#!/bin/sh\nprintf "id\\n1\\n"\n' >"$site/tick"
chmod +x "$site/tick"
QETL_CLOCK_OFFSET_MS=$((55000 - $(date +%s) % 60 * 1000)) # a minute begins in five seconds
export QETL_CLOCK_OFFSET_MS
start_role worker
start_role loader
start_role scanner
scanner=$role_pid
ok 'the mute FTP server is asked' wait_for 60 taken one
ok 'and the mute web server' wait_for 60 taken two
ok 'and the mute SFTP server' wait_for 60 taken three
put "$site/in/1.csv" 1
ok 'what lies here is loaded meanwhile' wait_for 60 rows_are 'SELECT id FROM here' 1
put "$WWW/far/1.csv" 2
ok 'and what another host has' wait_for 60 rows_are 'SELECT id FROM there' 2
put "$site/asked.csv" 3
printf '{"pipeline":"asked","objects":["%s/asked.csv"]}' "$site" >"$site/inbox/.m" && mv "$site/inbox/.m" "$site/inbox/m.json"
ok 'and a message of the inbox' wait_for 60 rows_are 'SELECT id FROM asked' 3
ok 'and the clock runs' wait_for 60 queue_is "SELECT count(*) >= 1 FROM slot WHERE outcome = 'ran'" 1
is 'and misses nothing' "$(queue_sql "SELECT count(*) FROM slot WHERE outcome <> 'ran' OR reason <> ''")" 0
is 'a place is asked by one at a time' "$(wc -l <"$work/one.taken")" 1

ended() { # PID...
    local p
    for p in "$@"; do grep -qsv '^State:.*[ZX]' <(grep '^State:' "/proc/$p/status" 2>/dev/null) && return 1; done
    return 0
}
role=$(pgrep -P "$scanner")
mapfile -t all < <(echo "$role"; descendants "$role")
ok 'the scanner has processes for them' test ${#all[@]} -ge 5
kill -9 "$role"
ok 'none outlives it' wait_for 60 ended "${all[@]}"
put "$site/in/2.csv" 4
ok 'another one goes on' wait_for 60 rows_are 'SELECT max(id) FROM here' 4
role=$(pgrep -P "$scanner")
mapfile -t all < <(echo "$role"; descendants "$role")
stop_roles
ok 'nor does any outlive a stop' wait_for 60 ended "${all[@]}"
done_testing
