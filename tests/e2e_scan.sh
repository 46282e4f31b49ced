#!/bin/bash
# Sources that are scanned: what lies there becomes rows, once each; by interval, by the clock, at once, and by hand.
. "${srcdir:-.}/tests/lib.sh"
. "$srcdir/tests/qetl.sh"
need sqlite3 sqlite3
need jq jq

# ---- drain --scan ----

new_site <<INI
[pipeline p]
source  = in/{region}-*.csv
every   = 1h
settle  = 100ms
columns = id:integer!
table   = warehouse.p
INI
mkdir "$site/in"
put "$site/in/north-1.csv" 1
put "$site/in/a b'\"-%41.csv" 2
put "$site/in/new
line-1.csv" 3
put "$site/in/$(printf 'caf\351')-1.csv" 4
put "$site/in/other.csv" 5
printf 'id\n6\n' >"$site/in/north-2.csv.part"
printf 'id\n7\n' >"$site/in/.north-3.csv"
mkdir "$site/in/folder-1.csv"
ln -s north-1.csv "$site/in/link-1.csv"
mkfifo "$site/in/fifo-1.csv"

ok 'a dry run finds what is new' test "$(qetlctl --json scan --dry-run | jq '.objects | length')" = 4
like 'with --all it names what is no file' "$(qetlctl scan --dry-run --all)" 'in/link-1.csv +- +- +a symbolic link: none is followed'
like 'of any kind' "$(qetlctl scan --dry-run --all)" 'in/fifo-1.csv +- +- +no file: '
ok 'and leaves it where it is' queue_is 'SELECT count(*) FROM seen' 0
ok 'drain --scan loads what lies there' drain
is 'each object once, whatever its name' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM p ORDER BY id)')" 1,2,3,4
is 'parts of the path are parameters of the job' "$(queue_sql 'SELECT params FROM job_text ORDER BY job' | jq -r .region | sort | tr '\n' '|')" \
    "$(printf 'a b%s\ncaf\357\277\275\nnew\nline\nnorth\n' "'\"" | sort | tr '\n' '|')"
ok 'a second one loads nothing twice' drain
is 'there are the same jobs' "$(queue_sql 'SELECT count(*) FROM job')" 4
put "$site/in/south-1.csv" 8
ok 'what is new is loaded' drain
is 'and only that' "$(sql 'SELECT count(*), max(id) FROM p')" '5|8'
like 'a submit without a URI says that it is scanned' "$(qetlctl submit p 2>&1)" 'is scanned: name at least one URI'
like 'status tells of scans' "$(qetlctl status)" 'SCAN .*LAST .*NEXT'
is 'status has them in JSON' "$(qetlctl --json status | jq -r '.scans[0] | .pipeline, .listed, .code' | tr '\n' ' ')" 'p 5 null '

# ---- killed at every commit of a scan, and in the middle of after= ----

new_site <<INI
[pipeline p]
source  = in/*.csv
every   = 1h
settle  = 0
after   = delete
columns = id:integer!
table   = warehouse.p
INI
mkdir "$site/in"
for i in $(seq 1 450); do printf 'id\n%s\n' "$i" >"$site/in/$i.csv"; done
killed=0
for point in queue-before-commit queue-after-commit; do
    for n in $(seq 1 12); do
        { (QETL_FAULT=$point:$n:kill qetlctl scan p) >"$work/out" 2>&1; } 2>/dev/null
        [ $? = 137 ] && killed=$((killed + 1))
    done
done
ok 'a scan can be killed at its commits' test "$killed" -gt 6
qetlctl scan p >"$work/out" 2>&1
is 'every object has become one job' "$(queue_sql 'SELECT count(*), count(DISTINCT objects) FROM job_text')" '450|450'
{ (QETL_FAULT=after-renamed:3:kill qetl drain --scan) >"$work/out" 2>&1; } 2>/dev/null
is 'killed while it deletes what is loaded' $? 137
ok 'the next one goes on' drain
is 'nothing is left of the files' "$(find "$site/in" -type f | wc -l)" 0
is 'and all rows are there, once' "$(sql 'SELECT count(*), count(DISTINCT id) FROM p')" '450|450'

# ---- by hand; changed objects; markers; a folder that is missing ----

new_site <<INI
[pipeline marked]
source  = in/*.csv
every   = 1h
settle  = 0
done_marker = *.done
columns = id:integer!
table   = warehouse.marked
[pipeline reload]
source  = re/*.csv
every   = 1h
settle  = 0
on_change = reload
columns = id:integer!
table   = warehouse.reload
[pipeline strict]
source  = strict/*.csv
every   = 1h
settle  = 0
on_change = fail
columns = id:integer!
table   = warehouse.strict
[pipeline missing]
source  = nowhere/*.csv
every   = 1h
columns = id:integer!
table   = warehouse.missing
[pipeline plain]
columns = id:integer!
table   = warehouse.plain
INI
mkdir "$site/in" "$site/re" "$site/strict"
put "$site/in/1.csv" 1
scan() { qetlctl --json scan "$@" | jq -r '.scans[0] | "\(.found) \(.changed) \(.waiting) \(.jobs)"'; }
is 'without its marker an object waits' "$(scan marked)" '1 0 1 0'
touch "$site/in/1.csv.done"
is 'with it, it is taken' "$(scan marked)" '0 0 0 1'
put "$site/re/1.csv" 1
is 'a new object' "$(scan reload)" '1 0 0 1'
qetl drain --max-wait 0s 2>"$work/drain"
put "$site/re/1.csv" 23
is 'another version of it becomes another job' "$(scan reload)" '0 1 0 1'
put "$site/strict/1.csv" 1
is 'a new object' "$(scan strict)" '1 0 0 1'
qetl drain --max-wait 0s 2>"$work/drain"
put "$site/strict/1.csv" 23
message=$(qetlctl scan strict 2>&1)
is 'on_change = fail: the scan has failed' $? 1
like 'and names the object' "$message" 'changed .*strict/1.csv'
like 'status says what a person can do' "$(qetlctl status)" '1 object changed after it was taken \(on_change = fail\): qetlctl scan PIPELINE --reload URI'
like 'and the dry run of which' "$(qetlctl scan strict --dry-run)" "strict/1.csv .*on_change = fail: it changed since job [0-9]+ took it; qetlctl scan with --reload or --accept"
decided() { qetlctl --json scan strict "$@" | jq -c '[.changed[] | [(.uri | split("/")[-1]), .decision]]'; }
said=$(qetlctl scan strict --accept "$site/strict/2.csv" 2>&1)
is 'nothing is decided about what is not meant: 5' $? 5
like '... and what there is to decide about is said' "$said" "strict/2.csv' is none of the objects that changed: '$site/strict/1.csv'"
said=$(qetlctl scan reload --accept '**' 2>&1)
is '... nor in a pipeline whose changes are for nobody: 5' $? 5
like '... with those whose are' "$said" "'reload' does not have on_change = fail: .* 'strict'"
put "$site/strict/1.csv" 456 # behind the back of whoever decides about the one that was listed
is 'a person takes it as known' "$(decided --accept "$site/strict/*.csv")" '[["1.csv","known"]]'
is 'which is so from then on' "$(qetlctl scan strict --accept '**' 2>&1 | head -n 1)" "qetlctl: pipeline 'strict': no object changed that nobody decided about yet [not-found]"
is 'for that version: another one fails the scan' "$(scan strict) $(queue_sql "SELECT code FROM scan WHERE pipeline = 'strict'")" '0 1 0 0 changed'
is 'and that is known, too, named as the ini would' "$(decided --accept "strict/1.csv")" '[["1.csv","known"]]'
is 'then the scan goes well' "$(scan strict) $(queue_sql "SELECT coalesce(code, 'well') FROM scan WHERE pipeline = 'strict'")" '0 0 0 0 well'
like 'the dry run says who decided' "$(qetlctl scan strict --dry-run --all)" 'a person took it as known at 20.*, as it changed since job [0-9]+ took it; it is not loaded'
put "$site/strict/1.csv" 78
put "$site/strict/2.csv" 9
is 'again another version, beside a new object' "$(scan strict)" '1 1 0 1'
is 'a person wants it loaded' "$(decided --reload "$site/strict/?.csv")" '[["1.csv","reload"]]'
is 'so it becomes another job' "$(scan strict)" '1 0 0 1'
is 'and no other object does' "$(scan strict)" '0 0 0 0'
qetl drain --max-wait 0s 2>"$work/drain"
is 'each is loaded as often as it was wanted' "$(sql 'SELECT group_concat(id) FROM (SELECT id FROM strict ORDER BY id)')" 1,9,78
qetlctl scan strict --accept x --reload y 2>"$work/out"
is 'both at once is wrong usage' $? 2
message=$(qetlctl scan missing 2>&1)
is 'a missing folder is a failed scan' $? 1
like 'which says so' "$message" 'fetch-missing .*nowhere'
qetlctl scan plain 2>"$work/out"
is 'a pipeline that nobody scans is wrong usage' $? 2
like 'and says why' "$(cat "$work/out")" 'neither every= nor cron='
qetlctl scan mraked 2>"$work/out"
is 'an unknown one is not found' $? 5

printf '[pipeline far]\nsource = gopher://host/*.csv\nevery = 1h\ntable = warehouse.far\n' >>"$site/qetl.ini"
message=$(qetlctl check 2>&1)
is 'check refuses a source that nobody can list' $? 3
like 'and says what can be' "$message" "pipeline far.*source: 'gopher://' cannot be listed; what can: local paths"

# ---- why an object is not taken ----

new_site <<INI
[pipeline p]
source  = in/**.csv
every   = 1h
settle  = 1h
min_age = 2h
done_marker = *.done
columns = id:integer!
table   = warehouse.p
[pipeline q]
source  = q/*.csv
every   = 1h
settle  = 0
columns = id:integer!
table   = warehouse.q
INI
mkdir "$site/in" "$site/q"
why() { qetlctl --json scan --dry-run "$@" | jq -r '.objects[] | "\(.uri | sub(".*/"; "")): \(.reason)"'; }
put "$site/in/a.csv" 1
like 'a file that is new has to settle' "$(why p)" '^a.csv: settle: it was seen like this for 0.0 of 3600.0 s'
sed -i 's/^settle  = 1h/settle  = 0/' "$site/qetl.ini"
like 'then it is too young' "$(why p)" '^a.csv: min_age: it is [0-9]+ of 7200 s old'
touch -d '-1 day' "$site/in/a.csv"
like 'then it lacks its marker, which is named' "$(why p)" "^a.csv: done_marker: 'a.csv.done' is not there"
scan p >"$work/out"
like 'status says where to ask why' "$(qetlctl status)" '^1 object is not taken yet: qetlctl scan --dry-run says why'
touch "$site/in/a.csv.done"
like 'then it is taken' "$(why p)" '^a.csv: the next scan takes it'
put "$site/q/1.csv" 1
put "$site/q/.2.csv" 2
qetlctl scan q >"$work/out"
like 'explain tells which scan made a job' "$(qetlctl explain 1)" "A scan of $site/q/\\*.csv made it"
is 'what is taken, or ignored, is not shown' "$(why q)" ''
like 'but with --all, with its job' "$(why q --all)" '^1.csv: job 1 has taken it'
like 'and what is ignored' "$(why q --all)" '^.2.csv: ignore: '
put "$site/q/1.csv" 23
like 'one that changed before its job read it is for that job' "$(why q)" '^1.csv: the next scan gives it to job 1, which has not read it yet'
qetlctl cancel 1 >"$work/out"
like 'one that changed is not taken any more' "$(why q)" '^1.csv: on_change = ignore: it changed since job 1 took it'
qetlctl scan --all q 2>"$work/out"
is '--all alone is wrong usage' $? 2
is 'prune says that no object went' "$(qetlctl --json prune | jq -c .)" '{"forgotten":0,"objects":0}'
sqlite3 "$site/queue.db" "UPDATE scan SET era = 9"
is 'and how many went' "$(qetlctl --json prune | jq .objects)" 1

# ---- the scanner forgets by itself ----

new_site <<INI
[pipeline p]
source  = in/*.csv
every   = 1s
settle  = 0
forget  = 1s
columns = id:integer!
table   = warehouse.p
INI
mkdir "$site/in"
put "$site/in/1.csv" 1
start_role scanner
ok 'an object is seen' wait_for 60 queue_is 'SELECT count(*) FROM seen' 1
rm "$site/in/1.csv"
ok 'and forgotten when it is long gone, though nobody prunes' wait_for 150 queue_is 'SELECT count(*) FROM seen' 0
stop_roles

# ---- by the clock: each slot once ----

new_site <<INI
[pipeline slot]
source  = in/{%Y-%m-%d}.csv
cron    = @daily
missed  = all
job_per = slot
attempts = 1
columns = id:integer!
table   = warehouse.slot
INI
mkdir "$site/in"
drain
is 'no slot has come yet' "$(queue_sql 'SELECT count(*) FROM slot')" 0
back() { sqlite3 "$site/queue.db" "UPDATE scan SET slot = slot - 3 * 86400000"; }
back
today=$(date -u +%F)
put "$site/in/$today.csv" 1
drain
is 'slots that were missed run, each with a job' "$(queue_sql "SELECT count(*), count(DISTINCT at), count(job) FROM slot WHERE outcome = 'ran'")" '3|3|3'
is 'the dates of the source are those of the slot' "$(queue_sql "SELECT count(DISTINCT objects), max(objects) FROM job_text")" "3|[\"$site/in/$today.csv\"]"
like 'the slot is a parameter' "$(queue_sql 'SELECT max(params) FROM job_text')" "\"slot\":\"${today}T00:00:00.000Z\""
is 'and it is loaded' "$(sql 'SELECT id FROM slot')" 1
like 'explain tells for which time a job was made' "$(qetlctl explain 1)" 'It was made for the time .*T00:00:00.*Z of cron='
back
drain
is 'a clock that was set back runs none of them again' "$(queue_sql 'SELECT count(*) = count(DISTINCT objects) FROM job_text')" 1
like 'they can be listed' "$(qetlctl scan --slots slot)" 'SLOT .*OUTCOME'
for zone in Europe/Berlin Asia/Tokyo; do
    new_site <<INI
[pipeline slot]
source  = in/{%Y-%m-%d-%H}.csv
cron    = @hourly
timezone = $zone
job_per = slot
columns = id:integer!
table   = warehouse.slot
INI
    said="$(qetlctl check 2>&1)"
    is "$zone: an hour that comes twice is warned of where there is one" "$? $(grep -c 'two times of cron have the same hour' <<<"$said")" \
        "0 $([ $zone = Asia/Tokyo ] || echo 1)$([ $zone = Europe/Berlin ] || echo 0)"
done
like 'and not beside a dry run' "$(qetlctl scan --slots --dry-run slot 2>&1)" 'two questions'

# ---- by the clock, with dates: slots that were missed before the first listing ----

today_and() { date -u -d "+$1 day" +%F; }
for missed in all once; do
    new_site <<INI
[pipeline dated]
source  = in/{%Y-%m-%d}/x.csv
cron    = @daily
missed  = $missed
settle  = 0
columns = id:integer!
table   = warehouse.dated
INI
    for day in -1 0 1 2 3; do
        mkdir -p "$site/in/$(today_and $day)"
        put "$site/in/$(today_and $day)/x.csv" "$day"
    done
    start_role scanner
    ok "missed = $missed: a scanner was there" wait_for 60 queue_is 'SELECT count(*) FROM scan' 1
    stop_roles
    is '... and had nothing to do yet' "$(queue_sql 'SELECT number, covered FROM scan')" '0|0'
    QETL_CLOCK_OFFSET_MS=$((3 * 86400000)) start_role scanner
    ok 'three days later the first listing ends' wait_for 60 queue_is 'SELECT number > 0 FROM scan' 1
    stop_roles
    is '... and has all from the first time that was missed on, not only what is of today' \
        "$(queue_sql "SELECT count(*), min(objects) LIKE '%/$(today_and 1)/%' FROM job_text")" '3|1'
done

# ---- by the clock: what became of the listing that a slot asked for ----

new_site <<INI
[pipeline p]
source  = in/*.csv
cron    = @daily
settle  = 0
columns = id:integer!
table   = warehouse.p
INI
noon() { echo $(((43200 - $(date +%s) % 86400 + $1 * 86400) * 1000)); } # of today and so many days: no midnight comes meanwhile
scan_at() { QETL_CLOCK_OFFSET_MS=$(noon "$1") timeout 60 qetlctl scan p >"$work/out" 2>&1; }
slots() { qetlctl --json scan p --slots | jq -r '.slots[] | "\(.slot[:10]) \(.outcome) \(.reason)"'; }
scan_at 0
is 'a place that is not there: the scan fails' $? 1
is '... and no slot did' "$(slots)" ''
scan_at 1
like 'a slot whose listing breaks off has failed, and says why' "$(slots)" "^$(today_and 1) failed late: no scanner was there; its listing failed: .*No such file.* \\[[a-z-]+\\]; the next one makes it good$"
mkdir "$site/in"
put "$site/in/1.csv" 1
# killed at each commit in turn: the row of a slot is due as long as its listing is asked for, and not longer
killed=0 torn=''
for at in before after; do
    for n in $(seq 30); do
        sqlite3 "$site/queue.db" "DELETE FROM slot WHERE at > (SELECT min(at) FROM slot); UPDATE scan SET wanted = 0, slot = (SELECT at FROM slot)"
        (QETL_FAULT=queue-$at-commit:$n:kill scan_at 2) 2>/dev/null
        rc=$?
        torn+=$(queue_sql "SELECT max(outcome = 'due') <> (wanted > 0) FROM slot JOIN scan ON scan.id = slot.scan" | grep -v 0)
        [ $rc = 137 ] || break
        killed=$((killed + 1))
    done
done
ok "killed at each of its commits ($killed)" [ $killed -gt 8 ]
is '... a slot is due as long as its listing is asked for' "$torn" ''
is 'a listing that comes to its end makes it good' "$(slots | sed 's/failed: .* \[/failed: [/')" \
    "$(today_and 2) ran late: no scanner was there
$(today_and 1) ran late: no scanner was there; its listing failed: [fetch-missing]; a later one made it good"
is '... and finds what is there' "$(queue_sql 'SELECT count(*) FROM job')" 1

# ---- a program by the clock: one job a slot, and a row that says so ----

new_site <<INI
[pipeline tick]
command = ./tick
cron    = @daily
missed  = all
columns = slot:text!, job:text!
table   = warehouse.tick
INI
cat >"$site/tick" <<'PROGRAM'
#!/bin/sh
echo slot,job
echo "$QETL_PARAM_SLOT,$QETL_JOB"
PROGRAM
chmod +x "$site/tick"
drain
is 'a command runs at no other time' "$(queue_sql 'SELECT count(*) FROM job')" 0
back
today=$(date -u +%F)
drain
is 'each slot that was missed runs it once, and its row names the job' \
    "$(queue_sql "SELECT count(*), count(DISTINCT slot.job), sum(job.state = 'loaded') FROM slot JOIN job ON job.id = slot.job")" '3|3|3'
is 'it is told which slot it runs for' "$(sql 'SELECT count(DISTINCT slot), count(DISTINCT job), max(slot) FROM tick')" "3|3|${today}T00:00:00.000Z"
back
drain
is 'a clock that was set back runs none of them again' "$(sql 'SELECT count(*) = count(DISTINCT slot) FROM tick')" 1
is 'the slots can be listed, each with its job' "$(qetlctl --json scan --slots tick | jq '[.slots[] | select(.job != null)] | length >= 3')" true
ok 'it can be submitted by hand, too' qetlctl submit tick -p slot=by-hand
drain
is 'and is one more' "$(sql "SELECT count(*) FROM tick WHERE slot = 'by-hand'")" 1

# ---- qetl all: at once, two scanners, one killed, after= ----

new_site <<INI
[pipeline del]
source  = del/**.csv
every   = 1h
settle  = 1s
after   = delete
columns = id:integer!
table   = warehouse.del
[pipeline move]
source  = move/*.csv
every   = 1h
settle  = 1s
after   = move:moved/here
columns = id:integer!
table   = warehouse.move
INI
mkdir "$site/del" "$site/move"
put "$site/del/0.csv" 0
start_role all
ok 'what is there already is loaded' wait_for 60 rows_are 'SELECT id FROM del' 0
ok 'and deleted after its commit' wait_for 60 test ! -e "$site/del/0.csv"
put "$site/move/1.csv" 1
ok 'a file that is renamed into its folder is loaded without waiting for the interval' wait_for 60 rows_are 'SELECT id FROM move' 1
ok 'and moved after its commit' wait_for 60 test -e "$site/moved/here/1.csv"
ok 'it is gone where it was' test ! -e "$site/move/1.csv"
mkdir "$site/del/sub"
printf 'id\n2\n' >"$site/del/sub/2.csv"
ok 'so is one that is written in a new folder' wait_for 60 rows_are 'SELECT max(id) FROM del' 2
put "$site/move/1.csv" 3
ok 'another file of a name that went is new' wait_for 60 rows_are 'SELECT max(id) FROM move' 3
two_moved() { [ "$(find "$site/moved/here" -name '1.csv*' | wc -l)" = 2 ]; }
ok 'and does not overwrite the first' wait_for 60 two_moved
start_role scanner-2
ok 'a second scanner is there, and waits' wait_for 60 queue_is "SELECT count(*) FROM worker WHERE role = 'scanner' AND ended IS NULL" 2
scanner=$(queue_sql "SELECT pid FROM worker WHERE name = 'scanner' AND ended IS NULL")
for i in $(seq 100 199); do put "$site/move/$i.csv" "$i"; [ "$i" = 150 ] && kill -9 "$scanner"; done
ok 'with one killed in the middle all files are loaded' wait_for 120 rows_are 'SELECT count(*) FROM move WHERE id >= 100' 100
is 'each once' "$(sql 'SELECT count(DISTINCT id) FROM move WHERE id >= 100')" 100
message=$(qetlctl scan move 2>&1)
is 'a scan by hand asks the scanner that works' $? 0
like 'and says so' "$message" "the scanner '.*' does it"
stop_roles
# ---- after=move never feeds its own source; names of ours are never taken ----

moves() { # SOURCE FOLDER
    new_site <<INI
[pipeline p]
source  = $1
every   = 1h
settle  = 0
ignore  =
after   = move:$2
columns = id:integer!
table   = warehouse.p
INI
    qetlctl check 2>&1
}
while read -r source folder; do
    message=$(moves "$source" "$folder")
    is "$source moved to $folder: check refuses it" $? 3
    like "$source moved to $folder: and says why" "$message" '\[pipeline p\] after: expected a folder where source= does not find what is moved there'
done <<'CASES'
in/**/*.csv in/done
same/* same
same/* same/
in/{shop}/[0-9]?-*.csv in/old
in/** in/a/b
in/a.csv in
ftp://h/in/**/*.csv ftp://h/in/done
ftp://h/in/%41/*.csv ftp://h/in/A
CASES
while read -r source folder; do
    message=$(moves "$source" "$folder")
    is "$source moved to $folder: is good" "$?" 0
done <<'CASES'
in/*.csv in/done
in/*/x/*.csv in/done
in/**/*.csv done
in/{%Y}/*.csv in/done
ftp://h/in/*.csv ftp://h/in/done
CASES

moves 'in/*' out >"$work/out"
mkdir "$site/in"
for name in .a.csv.qetl-1 ..a.csv.qetl-1.qetl-2; do put "$site/in/$name" 1; done
for name in a.qetl-1 .qetl-1 .b.qetl-; do put "$site/in/$name" 1; done
qetlctl scan p --dry-run --all >"$work/out" 2>&1
is 'of names of the form of ours none is taken, whatever ignore says' "$(qetlctl --json scan p | jq -r '.scans[0].jobs')" 3
like 'and it is said why' "$(cat "$work/out")" 'a.csv.qetl-1 .*what after= is about to finish'

# ---- a drain tells what it could not look through ----

new_site <<INI
[pipeline here]
source = $work/drained/*.csv
every = 1h
settle = 0
columns = id:integer!
table = warehouse.here
[pipeline there]
source = http://127.0.0.1:1/*.csv
every = 1h
columns = id:integer!
table = warehouse.there
INI
mkdir "$work/drained"
put "$work/drained/a.csv" 1
drain 1s
is 'a source that cannot be looked through is a failure of the drain' $? 1
like '... which says so' "$(cat "$work/drain")" 'qetl: 1 source could not be looked through'
is '... and loads the others' "$(sql 'SELECT count(*) FROM here')" 1
done_testing
