#!/bin/bash
# qetlctl as other programs see it: one JSON document a verb, data on standard output, talk on standard error, help that is true.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq
new_site <<INI
[pipeline p]
columns = id:integer!
table   = warehouse.p
max_rejects = 100000
INI
one_document() { # NAME COMMAND...: its output is one JSON document, nothing is said besides, and it ends with 0
    local name=$1
    shift
    "$@" >"$work/out" 2>"$work/err"
    is "$name: 0, one document, no talk" "$? $(jq -s length "$work/out" 2>&1) $(cat "$work/err")" '0 1 '
}

# ---- the ini ----
faulty() { # NAME URL PIPELINE-LINE REGEX
    printf '[qetl]\ndatabase = %s/f.db\nspool = %s/f\n[target w]\nurl = %s\n[pipeline x]\ncolumns = id:integer\n%s\n' "$work" "$work" "$2" "$3" >"$work/faulty.ini"
    qetlctl -c "$work/faulty.ini" check >"$work/out" 2>"$work/err"
    is "check: $1: exit 3" "$? $(cat "$work/out")" '3 '
    like '... names the pipeline and says why' "$(cat "$work/err")" "$4"
    said=$(cat "$work/err")
    for call in 'qetlctl init' 'qetlctl submit x a.csv' 'qetlctl submit -' 'qetlctl submit x a.csv --dry-run' 'qetlctl run x a.csv' 'qetlctl scan' \
        'qetl worker' 'qetl all' 'qetl drain'; do
        QETL_CONFIG=$work/faulty.ini timeout 60 $call >"$work/out" 2>"$work/err" </dev/null
        is "... $call refuses it, in the same words" "$? $(head -n 1 "$work/err")" "3 ${call%% *}: $said [config]"
    done
}
faulty 'a target of no known kind' oracle://h/db 'table = w.t' "faulty.ini:5: \[target w\] url: 'oracle://h/db' is no target"
faulty 'a table that the target cannot have' sqlite:w.db 'table = w.a.b' 'faulty.ini:[0-9]+: \[pipeline x\] .*a SQLite warehouse has no schemas'

cat >"$work/faulty.ini" <<INI
[worker]
slots = none
[target w]
url = sqlite:w.db
[target o]
url = oracle://h/db
[target d]
url = file://$work/d
path = {table}/{day}/{uid}
[target half]
url = file://$work/h
path = {table}
compress = rar
[pipeline keys]
columns = id:integer!
colums = id:integer!
table = w.a.b
[pipeline rows]
columns = id:integr
table = w.a.b
[pipeline path]
columns = id:integer!
table = d.t
[pipeline half]
columns = id:integer!
table = half.t
[pipeline scanned]
source = gopher://h/*.csv
every = 1m
columns = id:integer!
table = w.t
[pipeline often]
source = $work/*.csv
every = sometimes
columns = id:integer!
table = w.a.b
[pipeline round]
[pipeline round.a]
columns = id:integer!
lookup_parts = b
transform = SELECT id FROM input WHERE id NOT IN (SELECT id FROM b)
table = w.a.b
[pipeline round.b]
columns = id:integer!
lookup_parts = a
transform = SELECT id FROM input WHERE id NOT IN (SELECT id FROM a)
table = w.b
INI
qetlctl -c "$work/faulty.ini" check >"$work/out" 2>"$work/err"
is 'check: many faults: exit 3' "$? $(cat "$work/out")" '3 '
told() { grep -cE "$1" "$work/err"; }
is '... of the ini' "$(told '\[worker\] slots') $(told 'colums: unknown') $(told 'integr') $(told 'rar') $(told 'sometimes') $(told 'wait for each other')" \
    '1 1 1 1 1 1'
is '... and in the same run those of targets, of tables in them and of sources' \
    "$(told '\[target o\] url') $(told '\[pipeline path\] columns: .*day') $(told '\[pipeline scanned\] source: .*gopher')" '1 1 1'
is '... also where another key of the pipeline is faulty on which that does not stand' \
    "$(told '\[pipeline keys\] table: .*no schemas') $(told '\[pipeline often\] table: .*no schemas')" '1 1'
is '... and no more: what stands on a faulty key is not looked at' "$(wc -l <"$work/err")" 14

# ---- what a target refuses stands beside what the ini refuses ----
cat >"$work/targets.ini" <<INI
[qetl]
database = $work/no.db
spool = $work/no
[target brace]
url = file://$work/lake
path = {table}/{uid
compress = lz4
[target nouid]
url = file://$work/lake
path = {table}/{part}.{ext}
[target w]
url = sqlite://$work/w.db
[target lake]
url = file://$work/lake
path = {table}/{nope}/{uid}.{ext}
[target ora]
url = oracle://x/y
[pipeline many]
columns = id:integer!, a:text
table = lake.many
mode = upsert
key = id
after_load = SELECT 1
undo = 3d
[pipeline nokey]
columns = id:integer!, a:text
table = lake.nokey
mode = upsert
key = zz
[pipeline steps]
columns = id:integer!
where = idd > 3
table = w.a.b
[pipeline late]
columns = id:integer!, _job:text
table = w.late
undo = 3d
[pipeline found]
table = lake.found
mode = history
key = id
[pipeline unread]
columns = id:integer!
table = lake.unread
mode = upserts
key = id
INI
qetlctl -c "$work/targets.ini" check 2>"$work/err"
is 'check: all that targets refuse, each at its line and key, in one round with the rest' "$(sed "s,^$work/targets.ini:,,; s,^\([0-9]*: \[[^:]*:\).*,\1," "$work/err" | sort -n)" '6: [target brace] path:
7: [target brace] compress:
10: [target nouid] path:
17: [target ora] url:
19: [pipeline many] columns:
21: [pipeline many] mode:
23: [pipeline many] after_load:
24: [pipeline many] undo:
28: [pipeline nokey] mode:
29: [pipeline nokey] key:
32: [pipeline steps] where:
33: [pipeline steps] table:
35: [pipeline late] columns:
40: [pipeline found] mode:
45: [pipeline unread] mode:'

# ---- empty ----
one_document 'check' qetlctl --json check
printf 'id\n7\n' >"$work/first.csv"
one_document 'submit, before there is a queue' qetlctl --json submit p "$work/first.csv"
is '... makes it, with the job' "$(queue_sql 'SELECT count(*) FROM job')" 1
rm -rf "$site"/queue.db*
one_document 'submit -, before there is a queue' qetlctl --json submit - <<<'{"pipeline":"p","objects":["'"$work"'/first.csv"]}'
rm -rf "$site"/queue.db*
one_document 'init' qetlctl --json init
for verb in status jobs errors workers doctor help 'help submit' 'rejects list' 'prune --older 1d' 'retry --dead' 'jobs --state dead' 'errors --code io' 'workers --all'; do
    one_document "$verb, of nothing" qetlctl --json $verb
    one_document "$verb, with --json behind" qetlctl $verb --json
done
is 'lists of nothing are empty lists' "$(for v in jobs errors workers; do qetlctl --json $v | jq -c ".$v"; done | sort -u)" '[]'

# ---- with jobs ----
printf 'id\n1\n2\nx\ny"\n' >"$work/some.csv"
printf 'id\n5\n' >"$work/none.csv"
{ echo id && seq -f 'no%.0f' 3000; } >"$work/many.csv"
one_document 'submit' qetlctl --json submit p "$work/some.csv"
one_document 'submit -' qetlctl --json submit - <<<'{"pipeline":"p","objects":["'"$work"'/none.csv"]}'
one_document 'run' qetlctl --json run p "$work/many.csv"
one_document 'pause' qetlctl --json pause p
held=$(qetlctl --json submit p "$work/some.csv" | jq .id)
one_document 'cancel' qetlctl --json cancel "$held"
one_document 'resume' qetlctl --json resume p
qetl drain 2>/dev/null
qetl drain 2>/dev/null
more_jobs() { [ "$(queue_sql 'SELECT count(*) FROM job')" -gt "$1" ]; }
submit_and_wait() {
    local before
    before=$(queue_sql 'SELECT count(*) FROM job')
    qetlctl --json submit p "$work/none.csv" --wait --priority 3 2>"$work/said" &
    wait_for 60 more_jobs "$before" || return
    qetl drain 2>/dev/null
    wait $!
    local rc=$?
    grep -v 'job .* waits: ' "$work/said" >&2 # that nobody works yet, on a slow machine
    return $rc
}
one_document 'submit --wait' submit_and_wait
for verb in show explain rejects errors status; do one_document "$verb of a job" qetlctl --json $verb 1; done
one_document 'infer' qetlctl --json infer "$work/none.csv"
is 'rejects: a list, the same as the lines of export' "$(qetlctl --json rejects 1 | jq -c '.rejects[]')" "$(qetlctl rejects export 1 --format jsonl | jq -c .)"
is '... of none: an empty list' "$(qetlctl --json rejects 2)" '{"rejects":[]}'
is '... of many: all of them' "$(qetlctl --json rejects 3 | jq '.rejects | length')" 3000

# ---- what --unique and --wait promise ----
again() { qetlctl --json submit p "$1" --unique key --at 1h | jq -c '[.id, .made]'; }
first=$(qetlctl --json submit p "$work/none.csv" --unique key --at 1h | jq .id)
is '--unique: the job that is there, as it is, exit 0' "$(again "$work/some.csv") $?" "[$first,false] 0"
is '... with words for people' "$(qetlctl submit p "$work/none.csv" --unique key | grep -c "^job $first .* was there already$")" 1
qetlctl --json cancel "$first" >/dev/null
second=$(again "$work/none.csv")
is '... a cancelled job gives the key back' "$second" "[$((first + 1)),true]"
qetlctl --json cancel "$((first + 1))" >/dev/null
qetlctl submit p "$work/none.csv" --at 1h --wait >"$work/out" 2>"$work/err" &
waiting=$!
wait_for 60 bash -c "[ \"\$(sqlite3 -readonly $site/queue.db 'SELECT max(id) FROM job')\" = $((first + 2)) ]"
qetlctl --json cancel "$((first + 2))" >/dev/null
wait "$waiting"
is '--wait: 1 when the job is cancelled' "$? $(cut -d: -f1 "$work/out")" "1 job $((first + 2)) cancelled"
dead=$(qetlctl --json submit p "$work/missing.csv" --unique key | jq .id)
qetl drain 2>/dev/null
is '... a dead job holds the key' "$(again "$work/none.csv")" "[$dead,false]"
qetlctl submit p "$work/none.csv" --unique key --wait >/dev/null 2>"$work/err"
is '... and ends --wait at once, with its error' "$? $(grep -c 'fetch-missing' "$work/err")" '1 1'
like 'an attempt of a loader has no peak' "$(qetlctl show 1 | grep ' load ')" ' -$'
is 'one of a thing is said so' "$(qetlctl cancel "$dead")" '1 job cancelled'
like '... in status too' "$(qetlctl status | tail -n 2 | head -n 1)" '^0 workers, 0 loaders$'

# ---- streams ----
quiet() { # NAME COMMAND...: it fails, says so on standard error only
    local name=$1
    shift
    "$@" >"$work/out" 2>"$work/err"
    is "$name: no data" "$(cat "$work/out")" ''
    like "... and one clear line" "$(head -n 1 "$work/err")" '^qetl(ctl)?: .*\[[a-z-]+\]$'
}
quiet 'no such job' qetlctl --json show 999
quiet 'a wrong verb' qetlctl --json shwo
quiet 'no such pipeline' qetlctl submit nix x.csv
quiet 'a word too many' qetlctl status 1 2
quiet 'a wrong option' qetlctl submit p --prioritty 3
like '... with the nearest right one' "$(cat "$work/err")" '^qetlctl: --prioritty is no option of submit; did you mean --priority\? \[usage\]$'
quiet 'an option that wants a value' qetlctl submit p --at
like '... is told so' "$(cat "$work/err")" '^qetlctl: --at wants a value'
quiet 'a wrong letter' qetlctl submit p -x
like '... is told so' "$(cat "$work/err")" '^qetlctl: -x is no option of submit'
quiet 'no such code' qetlctl errors --code nix
for verb in status check init; do
    quiet "$verb, no ini" qetlctl -c "$work/none.ini" $verb
    is '... is told where to name one: exit 3' "$(qetlctl -c "$work/none.ini" $verb 2>&1 >/dev/null | tail -n 1; qetlctl -c "$work/none.ini" $verb 2>/dev/null; echo $?)" \
        'hint: name yours with -c FILE or QETL_CONFIG
3'
done
is 'no line of status ends in blanks' "$(qetlctl status | grep -c ' $')" 0
quiet 'no queue' env QETL_DATABASE="$work/none/queue.db" qetlctl status
like '... and says what to do' "$(cat "$work/err")" 'qetlctl init'
quiet 'no role' qetl wrker

quiet 'a key that infer cannot take' qetlctl infer "$work/none.csv" --delimiter ab
like '... is told as one of the call' "$(cat "$work/err")" '^qetlctl: infer: \[pipeline none\] delimiter: .* \[usage\]$'
quiet 'a role too many' qetl worker loader
quiet 'what is for drain alone' qetl --max-wait 1s worker
quiet 'an option that no verb of none has' qetlctl cancel --all
like '... is told so' "$(cat "$work/err")" '^qetlctl: --all is no option of cancel, which has none \[usage\]$'
quiet 'a limit below none' qetlctl jobs --limit -1
for call in 'qetl --help' 'qetl --version' 'qetl --print-keys' 'qetl --print-errors' 'qetlctl --help' 'qetlctl --version' 'qetlctl jobs' \
    'qetlctl --json status' 'qetlctl rejects export 3' 'qetlctl query warehouse SELECT(1)' 'qetlctl --json query warehouse SELECT(1)'; do
    $call >/dev/full 2>"$work/err"
    is "$call, to a disk that is full: exit 1, and it is said of what" "$? $(grep -c 'standard output: No space' "$work/err") $(grep -c spool "$work/err")" '1 1 0'
done

# what is opened while standard output is closed is not taken for it: the rows are more than a buffer holds
qetlctl rejects export 3 >&- 2>"$work/err"
is 'standard output that is closed: exit 1, it is said' "$? $(grep -c 'standard output: Bad file descriptor' "$work/err")" '1 1'
qetlctl submit p "$work/missing.csv" >"$work/out"
QETL_LOG_LEVEL=debug qetl drain 2>&-
is '... and no file of the queue has what was for it, or for standard error' "$(stat -c %s "$site/queue.db-lock")" 0
echo 'this is a text and no database, and it is longer than the hundred bytes that the header of a database has in the end' >"$work/text.db"
quiet 'a database that is none' env QETL_DATABASE="$work/text.db" qetlctl status
like '... is named' "$(cat "$work/err")" "database '$work/text.db': .*file is not a database"

# ---- init of several targets ----
printf '[qetl]\ndatabase = %s/i.db\nspool = %s/i\n[target one]\nurl = sqlite:///proc/none/one.db\n[target two]\nurl = sqlite:%s/two.db\n[target three]\nurl = file:///proc/none\n' \
    "$work" "$work" "$work" >"$work/several.ini"
qetlctl --json -c "$work/several.ini" init >"$work/out" 2>"$work/err"
is 'init: one target that refuses keeps no other from being made' "$? $(ls "$work/two.db")" "1 $work/two.db"
is '... all that refuse are named' "$(jq -c '[.ok, .failed[].target, .failed[].code]' "$work/out") $(grep -c "^qetlctl: target 'one': \|^qetlctl: target 'three': " "$work/err")" \
    '[false,"one","three","target","target"] 2'
like '... or counted' "$(qetlctl -c "$work/several.ini" init 2>/dev/null)" '^ready: .* 1 of 3 targets$'
is 'a question to files is a wrong call, which says what answers it' "$(qetlctl -c "$work/several.ini" query three 'SELECT 1' 2>&1; echo $?)" \
    "qetlctl: target 'three' (file:) knows no SQL: ask a program that reads files, such as DuckDB, about the objects that its _manifest names [usage]
2"

mkdir "$work/ddl"
printf '[qetl]\ndatabase = %s/i.db\nspool = %s/i\n[target two]\nurl = sqlite:%s/two.db\nddl = ddl/*.sql\n' "$work" "$work" "$work" >"$work/ddl.ini"
like 'ddl = without a file is a fault' "$(qetlctl -c "$work/ddl.ini" init 2>&1)" "target 'two': ddl = $work/ddl/\*.sql: there is no such file \[config\]"
like '... of which check warns' "$(qetlctl -c "$work/ddl.ini" check 2>&1)" "target 'two': ddl = .*: there is no such file"
sed -i 's/^ddl = .*/ddl = nowhere\/*.sql/' "$work/ddl.ini"
like '... and so is a folder that is not there' "$(qetlctl -c "$work/ddl.ini" init 2>&1)" "ddl = $work/nowhere/\*.sql: there is no such file \[config\]"
sed -i 's/^ddl = .*/ddl = ddl\/*.sql/' "$work/ddl.ini"
echo "CREATE TABLE modelled (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO modelled VALUES (1, 'x;');" >"$work/ddl/b.sql"
echo 'CREATE VIEW model AS SELECT name FROM modelled' >"$work/ddl/c.sql"
like 'init runs SQL files, in their order' "$(qetlctl -c "$work/ddl.ini" init 2>&1 | xargs) $(sqlite3 "$work/two.db" 'SELECT name FROM model')" '^target two: 2 files of ddl = run ready: .* x;$'
like '... each once' "$(qetlctl -c "$work/ddl.ini" init 2>&1)" '^ready: '
for bad in 'CREATE TABLE half (id); CREATE TABLE modelled (id)|SQL: statement 2, line 1: .*modelled already exists' \
    $'CREATE TABLE half (id);\n;-- x\nCREATE\n TABEL t (id)|SQL: statement 2, line 4: .*syntax error' $'CREATE TABLE half (id UNIQUE);\nINSERT INTO half VALUES (1), (1)|SQL: statement 2, line 2: .*UNIQUE' 'CREATE TABLE half (id); COMMIT|ended the transaction'; do
    echo "${bad%|*}" >"$work/ddl/d.sql"
    like '... one that fails is named, and why' "$(qetlctl -c "$work/ddl.ini" init 2>&1)" "target 'two': '$work/ddl/d.sql': .*${bad#*|}"
    [ "${bad#*COMMIT}" != "$bad" ] || is '... and nothing of it is there' "$(sqlite3 "$work/two.db" "SELECT count(*) FROM sqlite_schema WHERE name = 'half'")" 0
done
rm "$work/ddl/d.sql"
echo '-- more' >>"$work/ddl/c.sql"
like '... one that was run is not to be changed' "$(qetlctl -c "$work/ddl.ini" init 2>&1)" "'$work/ddl/c.sql': was run when it was another one: .*\[state\]"

# ---- names to choose by ----
for call in 'jobs' 'errors' 'retry --dead'; do
    qetlctl $call --pipeline q >"$work/out" 2>"$work/err"
    is "$call of a pipeline that is nowhere: exit 5, no list" "$? $(cat "$work/out")" '5 '
    like '... and the known one is named' "$(cat "$work/err")" "no \\[pipeline q\\].*'?p'?"
done
for call in 'errors' 'retry --dead'; do
    qetlctl $call --code fecth >"$work/out" 2>"$work/err"
    is "$call by a code that is none: exit 2, no list" "$? $(cat "$work/out")" '2 '
    like '... and the nearest is named' "$(cat "$work/err")" "did you mean 'fetch'"
done
like '... or all of them' "$(qetlctl errors --code zzzzzzzz 2>&1)" 'known: .*fetch'
sed 's/^\[pipeline p\]/[pipeline renamed]/' "$site/qetl.ini" >"$site/renamed.ini"
ok 'a pipeline that only the queue knows can be chosen' qetlctl -c "$site/renamed.ini" jobs --pipeline p

# ---- help ----
ini=$(sed -n 's/^sysconfdir = //p' "$builddir/Makefile" | sed "s|\${prefix}|$(sed -n 's/^prefix = //p' "$builddir/Makefile")|")/qetl/qetl.ini
# whatever the folder that the build was configured for
fits() { [ "$("$@" | wc -l)" -le 40 ] && [ "$("$@" | sed "s|$ini|/etc/qetl/qetl.ini|" | wc -L)" -le 120 ]; }
ok 'qetlctl --help fits a screen' fits qetlctl --help
ok 'qetl --help fits a screen' fits qetl --help
for program in qetl qetlctl; do ok "$program --help names the ini it reads by default" grep -qF "else $ini" <("$program" --help); done
env -u QETL_CONFIG qetlctl status 2>"$work/err" && rm "$work/err"
ok '... and that is what it reads' test "$([ -e "$ini" ] || grep -cF "$ini" "$work/err")" != 0
for verb in $(qetlctl --json help | jq -r '.verbs[].verb'); do
    like "help $verb" "$(qetlctl help "$verb")" "^usage: qetlctl $verb"
    is "... is what $verb --help says, whatever the ini" "$(qetlctl -c "$work/none.ini" "$verb" --help)" "$(qetlctl help "$verb")"
    ok "the manual has $verb" grep -Eq "^\.(It|Pp)? ?(Cm|.*Cm) .*\b$verb\b|^\.It Cm .*$verb" "$srcdir/doc/qetlctl.1"
done

# ---- prune ----
finished() { queue_sql "SELECT count(*) FROM job WHERE state IN ('loaded', 'superseded', 'cancelled')"; }
later() { QETL_CLOCK_OFFSET_MS=$(($1 * 86400000)) "${@:2}"; } # DAYS COMMAND...
bad=$(qetlctl --json submit p "$work/missing.csv" | jq .id)
qetl drain 2>/dev/null
all=$(finished)
is 'a dead job, and finished ones' "$(state "$bad") $((all > 3))" 'dead 1'
is 'prune --dry-run counts' "$(later 31 qetlctl --json prune --dry-run) $(finished)" "{\"to_forget\":$all,\"objects\":0} $all"
is 'prune leaves the young' "$(later 29 qetlctl prune)" '0 jobs forgotten'
is 'prune --keep leaves the newest' "$(qetlctl prune --keep 2) $(finished)" "$((all - 2)) jobs forgotten 2"
later 89 qetl drain 2>/dev/null
is 'a loader keeps jobs for keep_jobs' "$(finished)" 2
rows=$(sql 'SELECT count(*) FROM p')
later 91 qetl drain 2>/dev/null
is '... then it forgets them, but not the dead one, and no row' "$(finished) $(state "$bad") $(sql 'SELECT count(*) FROM p')" "0 dead $rows"
for wrong in '--keep 0' '--keep x' '--older x' '--nix'; do
    qetlctl prune $wrong 2>/dev/null
    is "prune $wrong is no usage" $? 2
done

done_testing
