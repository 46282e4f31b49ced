#!/bin/bash
# A place whose listing fails is asked less and less often, but by a person at once; and what a server asks for by Retry-After is shown and can be ended.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3

# A page with one file. What stands in the file `answer` is the status of each answer, and behind it a Retry-After. A line a request: ms, path.
cat >"$work/server.py" <<'PY'
import http.server, os, sys, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(int(time.time() * 1000), self.path, flush=True)
        words = open(sys.argv[2]).read().split()
        body = (b"id\n1\n" + b"2\n" * len(words)) if self.path.endswith("csv") else b'<a href="a.csv">a.csv</a>'
        if self.path == "/odd/":
            body = b'<a href="a%20b%2B1.csv">a b+1.csv</a>'
        self.send_response(int(words[0]))
        if len(words) > 1:
            self.send_header("Retry-After", words[1])
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
s.daemon_threads = True
open(sys.argv[1] + ".new", "w").write(str(s.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
s.serve_forever()
PY
answers() { echo "$*" >"$work/answer.new" && mv "$work/answer.new" "$work/answer"; }
answers 429 0
log=$work/log
python3 "$work/server.py" "$work/port" "$work/answer" >"$log" &
server=$!
trap 'stop_roles; kill $server 2>/dev/null; cleanup' EXIT
wait_for 60 test -s "$work/port" || bail 'the server does not start'
url=http://127.0.0.1:$(cat "$work/port")

new_site <<INI
[pipeline p]
source  = $url/in/*.csv
every   = 1s
settle  = 0
columns = id:integer!
table   = warehouse.p
[pipeline z]
source  = in/*.csv
every   = 1h
columns = id:integer!
table   = warehouse.z
INI
mkdir "$site/in"
qetlctl init >/dev/null
asked() { wc -l <"$log"; }
asked_more() { [ "$(asked)" -gt "$1" ]; }
pauses() { qetlctl --json status | jq -e ".scans[0].pause $1" >/dev/null; }

# ---- the pause ----
start_role scanner
ok 'a place that answers 429 without a time is asked again' wait_for 60 asked_more 3
gaps=$(awk 'NR > 1 { printf "%d ", $1 - last } { last = $1 }' "$log")
read -r a b c _ <<<"$gaps"
ok "... less and less often ($gaps)" [ "$a" -ge 950 -a "$b" -ge 1950 -a "$c" -ge 3950 ]
ok '... and status says after how long' wait_for 60 pauses '>= 8'
like '... in words' "$(qetlctl status)" 'fetch-busy +[0-9]+ times since .*Z, tried again after [0-9]+ ?s: '
answers 200
before=$(asked)
is '... a person is not held by it' "$(timeout 60 qetlctl --json scan p | jq -r '.scans[0] | [.code, .pause] | @json')" '[null,null]'
is '... and what was found is a job' "$(queue_sql 'SELECT count(*) FROM job')" 1
ok '... asks at once' asked_more "$before"
answers 500
before=$(asked)
ok 'a failure behind a good one begins with every= again' wait_for 60 pauses '| . != null and . < 8'
ok '... of any kind' wait_for 60 asked_more $((before + 1))

# ---- what a server asks for ----
answers 503 999999999
ok 'a server that asks for a time is left alone' wait_for 60 bash -c "qetlctl --json status | jq -e '.remotes[0].held_until'"
is '... for a day at most' "$(queue_sql "SELECT held_until BETWEEN (unixepoch() + 86000) * 1000 AND (unixepoch() + 86401) * 1000 FROM remote")" 1
answers 200
before=$(asked)
said=$(timeout 60 qetlctl scan p 2>&1)
is '... also by who asks the scanner for a listing: 1' $? 1
like '... which says so' "$said" "scan of 'p': until 20[0-9-]+T.*Z '$url' asked to be left alone: .*503"
is '... and asks nobody' "$(asked)" "$before"
listings=$(queue_sql "SELECT number FROM scan WHERE pipeline = 'z'")
said=$(timeout 60 qetlctl scan 2>&1)
is '... or for one of all: 1' $? 1
like '... which says so' "$said" "scan of 'p': until 20[0-9-]+T.*Z '$url' asked to be left alone: .*503"
ok '... and goes on with the others' queue_is "SELECT number > $listings FROM scan WHERE pipeline = 'z'" 1
said=$(qetlctl scan p --dry-run --all 2>&1)
like 'the dry run asks it, and says that nobody else does' "$said" "scan of 'p': until .* '$url' asked to be left alone: .*resume --remote"
like '... what lies there' "$said" '/in/a.csv'
like 'a hold can be ended' "$(qetlctl resume --remote "$url")" 'is asked again'
ok '... and the scanner goes on at once' wait_for 60 bash -c "qetlctl --json status | jq -e '.scans[0].code == null'"
is '... once' "$(qetlctl resume --remote "$url" 2>&1 >/dev/null; echo $?)" "$(qetlctl resume --remote nobody 2>&1 | sed "s|nobody|$url|"; echo 5)"
qetlctl resume >/dev/null 2>&1
is 'resume wants one of both: 2' $? 2

# ---- a pipeline that the scanner does not know yet ----
printf '[pipeline new]\nsource = in/*.csv\ncron = @yearly\nsettle = 0\ncolumns = id:integer!\ntable = warehouse.z\n' >>"$site/qetl.ini"
timeout 120 qetlctl scan new >"$work/out" 2>"$work/err" &
waits=$!
ok 'who asks for a pipeline that the scanner does not know is told why it waits' wait_for 60 grep -q "pipeline 'new': waiting until the scanner knows it; .*SIGHUP" "$work/err"
kill -HUP "$role_pid"
wait "$waits"
is '... and gets its listing when the ini is read again' $? 0
is '... one' "$(queue_sql "SELECT number FROM scan WHERE pipeline = 'new'")" 1
stop_roles

# ---- without a scanner ----
answers 503 3600
qetlctl scan p >/dev/null
is 'a scan without a scanner: 1' $? 1
answers 200
before=$(asked)
like '... the next one is held' "$(qetlctl scan p 2>&1)" 'asked to be left alone'
is '... and asks nobody' "$(asked)" "$before"
is 'a hold is ended, for programs' "$(qetlctl --json resume --remote "$url" | jq -r .remote)" "$url"
qetlctl scan p >/dev/null
is '... and the next scan is well' $? 0

# ---- objects that changed, by names that stand in a URI otherwise ----
new_site <<INI
[pipeline odd]
source  = $url/odd/*.csv
every   = 1h
settle  = 0
on_change = fail
columns = id:integer!
table   = warehouse.odd
INI
qetlctl init >/dev/null
changed() { # another version of it, which the scan finds
    answers 200 "$@"
    qetlctl scan odd >/dev/null 2>&1
}
changed
drain 0s
like 'an object with such a name is loaded' "$(queue_sql 'SELECT uri FROM seen')" '/odd/a%20b%2B1.csv$'
changed 0
is '... it changed' "$(queue_sql 'SELECT count(*) FROM changed')" 1
is '... it is named as it is in the URI' "$(qetlctl --json scan odd --accept "$url/odd/a%20b%2B1*" | jq -r '.changed[].decision')" known
changed 0 0
is '... as it lies there' "$(qetlctl --json scan odd --accept "$url/odd/a b+1*" | jq -r '.changed[].decision')" known
changed 0 0 0
is '... or by that alone' "$(qetlctl --json scan odd --accept '**/a b+1*' | jq -r '.changed[].decision')" known
qetlctl scan odd --accept 'a b+2*' >/dev/null 2>&1
is '... but no other: 5' $? 5

# ---- dates of a source that is held back at its first look ----
new_site <<INI
[pipeline dated]
source  = $url/{%Y-%m-%d}/*.csv
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.dated
[pipeline clock]
source  = $url/{%Y-%m-%d}/clock/*.csv
cron    = @daily
settle  = 0
columns = id:integer!
table   = warehouse.dated
INI
answers 200
qetlctl init >/dev/null
noon() { echo $(((43200 - $(date +%s) % 86400 + $1 * 86400) * 1000)); } # of today and so many days: no midnight comes meanwhile
scan_at() { QETL_CLOCK_OFFSET_MS=$(noon "$1") timeout 60 qetlctl scan >/dev/null 2>"$work/err"; }
sqlite3 "$site/queue.db" "INSERT INTO remote (name, held_until, held_why) VALUES ('$url', (unixepoch() / 86400 * 86400 + 50000) * 1000, 'busy')"
before=$(asked)
scan_at 0
is 'a place that is held is not asked at the first look: 1' "$? $(($(asked) - before))" '1 0'
scan_at 2
is '... two days later it is' $? 0
dates() { queue_sql "SELECT group_concat(substr(replace(uri, '$url/', ''), 1, 10), ' ') FROM (SELECT uri FROM seen JOIN scan ON scan.id = seen.scan WHERE pipeline = '$1' ORDER BY uri)"; }
all="$(date -u +%F) $(date -u -d '+1 day' +%F) $(date -u -d '+2 days' +%F)"
is '... for all dates since that look' "$(dates dated)" "$all"
is '... which was by hand, for one of cron=' "$(dates clock)" "$all"
done_testing
