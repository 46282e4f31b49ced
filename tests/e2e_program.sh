#!/bin/bash
# command = runs a program as a job: its rows are loaded, its end is the job's, and nothing of it stays. Bad programs are told
# apart, load nothing, and hold up nobody.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
need python3 python3
unset PORT

umask 022
# sleeps that no other test has
long=1$$ longer=2$$ longest=3$$
mkdir "$work/bin"
printf 'pa55word\n' >"$work/secret"
chmod 600 "$work/secret"
new_site <<INI
[pipeline py]
command = scripts/rows.py 'two words' "a\"b" c\ d
command_env = TOKEN = @file:$work/secret
    PLAIN = yes
columns = id:integer!, name:text
table   = warehouse.py
[pipeline csv]
command = sh -c 'echo id,name; echo 1,"\$QETL_PARAM_NAME"; echo "2,\$QETL_PIPELINE \$QETL_ATTEMPT"'
columns = id:integer!, name:text
table   = warehouse.csv
[pipeline act]
command = sh scripts/do.sh
command_env = TOKEN = @file:$work/secret
command_timeout = 60s
command_memory = 300M
columns = id:integer, name:text
table   = warehouse.act
attempts = 1
[pipeline short]
command = sh scripts/do.sh
command_timeout = 200ms
columns = id:integer, name:text
table   = warehouse.act
attempts = 1
[pipeline missing]
command = scripts/nothing.sh
columns = id:integer
table   = warehouse.act
[pipeline locked]
command = scripts/locked.sh
columns = id:integer
table   = warehouse.act
[pipeline lost]
command = scripts/lost.sh
columns = id:integer
table   = warehouse.act
[pipeline say]
command = sh scripts/do.sh
format = message
attempts = 1
[pipeline say.t]
columns = id:integer!, name:text
table   = warehouse.t
[pipeline say.u]
columns = id:integer!
table   = warehouse.u
mode    = upsert
key     = id
[pipeline say.r]
columns = id:integer!
table   = warehouse.r
mode    = replace
[pipeline builtin]
command = cd
columns = id:integer
table   = warehouse.act
INI
mkdir "$site/scripts"
cat >"$site/scripts/rows.py" <<'PY'
#!/usr/bin/env python3
import json, os, sys
params = json.load(sys.stdin)
for i in range(params["n"]):
    print(json.dumps({"id": i, "name": "row %d" % i}))
here = {"args": sys.argv[1:], "folder": os.getcwd(), "token": os.environ["TOKEN"], "plain": os.environ["PLAIN"],
        "kind": os.environ["QETL_PARAM_A_KIND"], "left": "LEFT" in os.environ, "uid": os.environ["QETL_JOB"],
        "session": os.getsid(0) == os.getpid(), "fds": len(os.listdir("/proc/self/fd")),
        "privileges": [l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")]}
json.dump(here, open(params["out"], "w"))
PY
printf 'eval "$QETL_PARAM_DO"\n' >"$site/scripts/do.sh"
printf '#!/bin/sh\necho "{\\"id\\": 1}"\n' >"$site/scripts/locked.sh"
printf '#!/no/such/shell\n' >"$site/scripts/lost.sh"
chmod 755 "$site/scripts/rows.py" "$site/scripts/lost.sh"
export LEFT=over

qetlctl init >/dev/null
echo "{\"method\": \"py\", \"params\": {\"n\": 2000, \"a kind\": \"of \\\"thing\\\"\", \"out\": \"$work/here.json\"}}" | qetlctl submit - >/dev/null
ok 'a method of a message runs its program' timeout 120 qetl drain || diag "$(qetlctl errors)"
is '... its rows are loaded' "$(sql 'SELECT count(*), sum(id), max(name) FROM py')" '2000|1999000|row 999'
here() { jq -c ".$1" "$work/here.json"; }
is '... it gets its arguments' "$(here args)" '["two words","a\"b","c d"]'
is '... the folder of the ini' "$(here folder)" "\"$(realpath "$site")\""
is '... parameters and what the ini gives, in the environment' "$(here '|[.kind,.token,.plain]')" '["of \"thing\"","pa55word","yes"]'
is '... nothing else of the worker' "$(here left)" false
is '... the uid of its job' "$(here uid)" "$(field 1 uid | jq -R .)"
is '... a session, no new privileges, three descriptors' "$(here '|[.session,.privileges[0],.fds]')" '[true,"1",4]' # and that of the listing

ok 'CSV from a shell' timeout 60 qetlctl run csv -p name=x
is '... is loaded too' "$(sql 'SELECT id, name FROM csv ORDER BY id')" "1|x
2|csv 1"
like 'a program takes no objects' "$(qetlctl submit csv /etc/hostname 2>&1)" 'give it parameters by -p, and no URIs'

# Programs that fail: what is said, and the code.
fails() { # NAME CODE MESSAGE PIPELINE PROGRAM: nothing is loaded
    local before out
    before=$(sql 'SELECT count(*) FROM act')
    out=$(timeout 120 qetlctl run "$4" -p "do=$5" 2>&1)
    is "$1: ends with 1" $? 1
    like '... says it' "$out" "$3"
    like '... with its code' "$out" "\\[$2\\]"
    is '... loads nothing' "$(sql 'SELECT count(*) FROM act')" "$before"
}
timeout 60 qetlctl run act -p 'do=echo "{\"id\": 0}"' >/dev/null
is 'the table is there' "$(sql 'SELECT count(*) FROM act')" 1
row='echo "{\"id\": 1}"'
fails 'a status' program 'status 3: it is broken' act "$row; echo it is broken >&2; exit 3"
fails 'status 75' program-again 'status 75' act "$row; exit 75"
fails 'a signal' program-again 'signal 9' act "$row; kill -9 \$\$"
fails 'an error object' program 'said so: "the server said no"' act 'echo "{\"error\": \"the server said no\"}"'
fails 'an error object behind rows' program 'line 2: the program said so' act "$row; echo '{\"error\": \"late\"}'"
fails 'half a line' rejects 'line 2.*the line is not valid JSON' act "$row; printf '{\"id\": 2, \"na'"
rows='printf "id,name\\n1,a\\n2,bc"' # the truth is 2,bcd
fails 'CSV that ends in half a row' program-cut 'the CSV ends without a line end' act "$rows"
fails '... one that is long' program-cut 'the CSV ends without a line end' act 'echo id,name; seq 1000000 | sed "s/$/,x/" | head -c -1'
fails '... and a header alone' program-cut 'the CSV ends without a line end' act 'printf id,name'
timeout 60 qetlctl run act -p "do=$rows | gzip" >/dev/null
is '... packed, it says itself where it ends' "$(sql 'SELECT id, name FROM act WHERE id > 0 ORDER BY id')" "1|a
2|bc"
fails 'nothing' empty 'no rows' act ':'
fails 'garbage' '(rejects|format|header|encoding)' . act 'head -c 100000 /dev/urandom; echo'
fails 'text where numbers belong' rejects . act 'echo "{\"id\": \"x\"}"'
fails 'too long' program-timeout 'killed after 200ms' short "$row; sleep $long"
fails 'rows without end' program-timeout 'killed after 200ms' short 'while :; do echo "{\"id\": 1}"; done'
fails 'too much memory' program 'MemoryError' act "$row; python3 -c 'bytearray(1 << 30)'"
fails 'one that is not there' program-start 'nothing.sh: No such file' missing ''
fails 'one that is not executable' program-start 'not executable' locked ''
fails 'one whose interpreter is not there' program-start 'its first line names' lost ''
fails 'a builtin of the shell' program-start "no program 'cd' in PATH" builtin ''
fails 'output held open by what it left behind' program 'still held its standard output' act "$row; sleep $long &"
is '... which is gone' "$(pgrep -fc "^sleep $long\$")" 0

is 'standard error is the detail' "$(qetlctl --json errors --code program | jq -r '[.errors[].detail | select(.)] | last')" 'it is broken'
run() { timeout 120 qetlctl run act -p "do=$1" 2>&1; }
out=$(run "echo token \$TOKEN at http://u:hidden@host/ >&2; exit 1")
like 'secrets are not shown' "$out" 'token \*\*\* at http://u:\*+@host/'
unlike '... nor kept' "$(queue_sql 'SELECT message, detail FROM error')" 'pa55word|hidden@'
out=$(run "head -c 50000000 /dev/zero | tr '\\0' e >&2; $row")
like 'much on standard error holds up nothing' "$out" '1 loaded'
out=$(run "head -c 50000000 /dev/zero | tr '\\0' e >&2; echo >&2; exit 1")
is '... and only its end is kept' "$(queue_sql 'SELECT length(detail) BETWEEN 8000 AND 8192 FROM error ORDER BY id DESC LIMIT 1')" 1
said() { qetlctl --json show "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')" | jq -r '.said'; }
out=$(run "echo first >&2; $row; echo token \$TOKEN at http://u:hidden@host/ >&2" | tr '\n' ' ')
like 'what one says that ends well is printed' "$out" 'standard error of its programs, which ended well: first token \*\*\* at http://u:\*+@host/'
is '... kept without secrets' "$(said)" "$(printf 'first\ntoken *** at http://u:******@host/')"
like '... and shown' "$(qetlctl show "$(qetlctl --json jobs --limit 1 | jq '.jobs[0].id')" | tr '\n' ' ')" 'which ended well: first token \*\*\*'
rehearsed=$(timeout 120 qetlctl --json submit act -p "do=echo rehearsed >&2; $row" --dry-run)
is '... by a rehearsal, too' "$(jq -r .said <<<"$rehearsed")" rehearsed
out=$(run "$row")
is '... of one that says nothing there is nothing' "$(said) $(queue_sql 'SELECT count(*) FROM said')" 'null 2'
unlike '... printed' "$out" 'standard error'
out=$(run "seq 100000 >&2; $row")
is '... of much the end' "$(said | tail -n 1) $(said | head -n 1 | grep -Ec '^[0-9]{5,6}$') $(queue_sql 'SELECT max(length(text)) BETWEEN 2000 AND 2048 FROM said')" '100000 1 1'
sed -i 's/^log_level = .*/log_level = info/' "$site/qetl.ini"
qetlctl submit act -p "do=echo to the log >&2; $row" >/dev/null
timeout 60 qetl drain 2>"$work/log"
like '... it is in the log' "$(cat "$work/log")" 'info.*programs wrote to standard error job=[^ ]+ pipeline=act text="to the log"'
out=$(timeout 60 qetlctl run act -p "do=$row" -p "long=$(head -c 120000 /dev/zero | tr '\0' p)" 2>&1)
like 'parameters that nobody reads hold up nothing' "$out" '1 loaded'
out=$(run "(setsid sh -c 'sleep $longer & sleep $longer' >/dev/null 2>&1 &); $row")
like 'a child that lets go of the output is no error' "$out" '1 loaded'
is '... and does not outlive the job' "$(pgrep -fc "^sleep $longer\$")" 0

# The message with tables.
say() { timeout 120 qetlctl run say -p "do=$1" 2>&1; }
tables() { sql "SELECT (SELECT group_concat(id) FROM (SELECT id FROM t ORDER BY id)), (SELECT group_concat(id) FROM u), (SELECT group_concat(id) FROM r)"; }
like 'a message has rows for several tables' "$(say 'cat <<X
 [ {"table": "t", "refresh": false, "data": [{"id": 1, "name": "a ] \\" }"}, {"id": 2}]},
   {"table": "warehouse.u", "data": [{"id": 7}]}, {"table": "r", "refresh": true, "data": [{"id": 5}]} ]
X')" '4 loaded'
is '... each table has its own' "$(tables)" '1,2|7|5'
is '... whatever is in a text' "$(sql 'SELECT name FROM t WHERE id = 1')" 'a ] " }'
like 'without refresh rows are added, in pieces too' "$(say 'echo "[{\"table\": \"t\", \"data\": [{\"id\": 3}]}, {\"table\": \"t\", \"refresh\": false, \"data\": [{\"id\": 4}]}]"')" '2 loaded'
is '... and tables that it does not name stay as they are' "$(tables)" '1,2,3,4|7|5'
like 'refresh replaces' "$(say 'echo "{\"table\": \"t\", \"refresh\": true, \"data\": [{\"id\": 9}]}"')" '1 loaded'
is '... that table only' "$(tables)" '9|7|5'
like 'a message of many rows streams' "$(say "python3 -c '
print(\"[{\\\"table\\\": \\\"t\\\", \\\"refresh\\\": true, \\\"data\\\": [\" + \",\".join(\"{\\\"id\\\": %d}\" % i for i in range(200000)) + \"]}]\")'")" '200000 loaded'
like 'and back' "$(say 'echo "[{\"table\": \"t\", \"refresh\": true, \"data\": [{\"id\": 9}]}]"')" '1 loaded'
wrong() { # NAME MESSAGE WHAT IS WRITTEN
    like "$1" "$(say "printf '%s' '$3'")" "$2"
    is '... changes no table' "$(tables)" '9|7|5'
}
wrong 'an unknown table' "table 'x', and pipeline 'say' has none of that name; it has t, u, r" '[{"table":"t","data":[{"id":1}]},{"table":"x","data":[]}]'
wrong 'a message that is cut' "ends inside the data of table 't'" '[{"table":"t","refresh":true,"data":[{"id":1}'
wrong '... between tables' 'the message ends at byte 37' '[{"table":"t","data":[{"id":1}]}     '
wrong 'data before the name' '"table" must stand before "data".*\[format\]' '[{"data":[{"id":1}],"table":"t"}]'
wrong 'refresh behind the data' '"data" must be the last key' '[{"table":"t","data":[{"id":1}],"refresh":true}]'
wrong 'refresh behind rows' "refreshes table 't' after it had rows" '[{"table":"t","data":[{"id":1}]},{"table":"t","refresh":true,"data":[]}]'
wrong 'refresh of an upsert' 'mode = upsert, and the message says "refresh": true' '[{"table":"u","refresh":true,"data":[{"id":1}]}]'
wrong 'append to a table that is replaced' 'set mode = append, and refresh decides' '[{"table":"r","refresh":false,"data":[{"id":1}]}]'
wrong 'an error in the message' 'said so: "no luck".*\[program\]' '[{"table":"t","data":[{"id":1}]},{"error":"no luck"}]'
wrong 'an unknown key' 'unknown key "rows"' '[{"table":"t","rows":[]}]'
wrong 'bytes behind it' 'the end of the message was expected' '[{"table":"t","data":[{"id":1}]}] more'
wrong 'a bad row' 'more than 0 rows rejected.*table .t. *|member .t.' '[{"table":"t","data":[{"id":1},{"id":"x"}]}]'
wrong 'no rows at all' '\[empty\]' '[{"table":"t","refresh":true,"data":[]}]'
wrong 'a refresh without rows beside rows' 'warehouse.t \("refresh": true\) would be left without any row.*\[empty\]' '[{"table":"t","refresh":true,"data":[]},{"table":"u","data":[{"id":7}]}]'
wrong '... and of a table that is replaced' 'warehouse.r \(mode = replace\) would be left without any row' '[{"table":"r","data":[]},{"table":"u","data":[{"id":7}]}]'
wrong 'garbage' '\[format\]' 'rows: 1'

# Cancelled, or its worker dead: the program is gone, with the grandchild that has a session of its own.
forks='(setsid sleep '$longest' >/dev/null 2>&1 &); sleep '$longest
there() { [ "$(pgrep -fc "^sleep $longest\$")" = 2 ]; }
gone() { [ "$(pgrep -fc "^sleep $longest\$")" = 0 ]; }
start_role worker
job=$(qetlctl --json submit act -p "do=$forks" | jq .id)
ok 'a program that forks runs' wait_for 60 there
qetlctl submit act -p "do=$row" >/dev/null
qetlctl cancel "$job" >/dev/null
ok '... a cancelled job has none' wait_for 60 gone
staged() { [ "$(state $((job + 1)))" = staged ]; }
ok '... and its worker goes on' wait_for 60 staged
qetlctl submit act -p "do=$forks" >/dev/null
ok 'another one runs' wait_for 60 there
worker=$(qetlctl --json workers | jq '[.workers[] | select(.role == "worker")] | last | .pid')
kill -9 "$worker"
ok '... it dies with its worker' wait_for 60 gone
stop_roles

# The ini.
faulty() { # NAME WHAT LINES
    { echo "[target w]"; echo "url = sqlite:w.db"; echo "[pipeline p]"; echo "table = w.t"; printf '%s\n' "$3"; } >"$work/f.ini"
    like "$1" "$(QETL_CONFIG=$work/f.ini qetlctl check 2>&1)" "$2"
}
faulty 'no shell is meant' 'no shell reads \|' 'columns = a:text
command = cat x | sort'
faulty 'an open quote' 'expected a closing quote' "columns = a:text
command = sh -c 'x"
faulty 'a comment in quotes' 'a ; behind a blank begins a comment' "columns = a:text
command = sh -c 'x ; y'"
faulty 'columns are needed' 'columns: missing' 'command = x'
faulty 'command and source' 'either command or source' 'columns = a:text
source = /x
command = x'
faulty 'columns of a message are needed' 'columns: missing: the columns of the tables of a message' 'source = /x
format = message'
faulty 'a limit without a program' 'command_timeout: expected command' 'columns = a:text
command_timeout = 5s'
faulty 'a line that is no variable' 'expected NAME = value' 'columns = a:text
command = x
command_env = 1x = y'
done_testing
