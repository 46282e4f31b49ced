# shellcheck shell=bash
# server.sh: sourced behind lib.sh and qetl.sh by the tests of servers with SQL as warehouses; what is the same on all of them.
#
# The caller sets
#   service           of tests/services
#   t                 name of the target in the ini
#   yes no            what a boolean looks like
#   ask SQL           prints the rows of the test's database on one line: columns by |, rows by a space, null as nothing
#   say SQL           the same as it comes, also errors
#   server_pid        prints the number of the server's process
# and calls
#   server_pipelines  for new_site: pipelines into tables of the target
#   refused_pipelines the same into tables that people made: those that refused_with is about on each server
#   load PIPELINE     rows in $work/in.csv (written by csv LINE…), drained; gives $job, and $end: its state and counts
#   modes_are_right, refused_with PIPELINE|REGEX…, after_load_is_inside, after_load_has_watermarks, appends_are_undone, undo_is_whole, committed_once,
#   loaders_share, loaders_make_tables, denied_are_held, locked_waits_alone, rehearsal_stops
need jq jq

csv() { printf '%s\n' "$@" >"$work/in.csv"; }
counts() { # JOB
    qetlctl --json show "$1" | jq -r '.job | "\(.rows_inserted) \(.rows_updated) \(.rows_unchanged) \(.rows_deleted) \(.rows_removed)"'
}
drained() { timeout 60 qetl drain --max-wait 20s 2>"$work/drain"; }
load() { # PIPELINE
    job=$(qetlctl --json submit "$1" "$work/in.csv" | jq .id)
    drained
    end="$(state "$job") $(counts "$job")"
}
error_of() { qetlctl --json errors | jq -r '.errors[0].message'; }

server_pipelines() {
    cat <<INI
[pipeline types]
columns = id:integer!, name:text, price:decimal(2), weight:real, sold:boolean, day:date, at:timestamp, extra:json
null = "", NA
table = $t.types
max_rejects = 100
[pipeline people]
columns = id:integer!, name:text, born:date
table = $t.people
mode = upsert
key = id
[pipeline changed]
columns = id:integer!, name:text, version:integer, gone:boolean
table = $t.changed
mode = upsert
key = id
update_only_if_changed = yes
version = version
deleted = gone
[pipeline whole]
columns = id:integer!, name:text
table = $t.whole
mode = upsert
key = id
missing = delete
[pipeline first]
columns = id:integer!, name:text
table = $t.first
mode = insert_ignore
key = id
[pipeline now]
columns = id:integer!, name:text
table = $t.now
mode = replace
[pipeline past]
columns = id:integer!, city:text, moved:date
table = $t.past
mode = history
key = id
version = moved
[pipeline snapshot]
columns = id:integer!, city:text
table = $t.snapshot
mode = history
key = id
missing = delete
[pipeline after]
columns = id:integer!, n:integer
table = $t.after
after_load = INSERT INTO sums SELECT :job, sum(n) FROM after
[pipeline events]
columns = id:integer!, at:timestamp
table = $t.events
event_time = at
allowed_lateness = 1h
late = $t.late
after_load = INSERT INTO seen SELECT :job, :pipeline, count(*), :watermark = '2024-01-01 09:00:00.5', :previous_watermark < :watermark
    FROM events WHERE at < :watermark OR :previous_watermark IS NULL
[pipeline once]
columns = id:integer!, n:integer
table = $t.once
INI
}

large_is_loaded() {
    { echo id,name,price,weight,sold,day,at,extra; seq 100000 | sed 's/.*/&,name &,&.25,&.5,true,2020-01-01,2020-01-01 00:00:00,{}/'; } >"$work/in.csv"
    load types
    is 'a large output goes by a file' "$end $(ask "SELECT count(*), sum(price) FROM types WHERE name LIKE 'name %'")" 'loaded 100000 0 0 0 0 100000|5000075000.00'
    is '... which is gone from the spool' "$(find "$site/spool/staged" -type f | wc -l)" 0
}

modes_are_right() {
    csv id,name,born 1,Ann,2000-01-01 2,Bob, 3,Cy,1999-09-09
    load people
    is 'upsert: new rows' "$end" 'loaded 3 0 0 0 0'
    csv id,name,born 2,Bobby,2001-01-01 4,Di, 4,Dinah,
    load people
    is '... rows that are there, and one twice in a job' "$end" 'loaded 1 1 1 0 0'
    is '... the last one counts' "$(ask 'SELECT id, name FROM people ORDER BY id')" '1|Ann 2|Bobby 3|Cy 4|Dinah'
    csv id,name,born 2,Bobby,2001-01-01 4,Dinah, 5,Eve, 5,Eve,
    load people
    is '... what was there is written again, the same or not' "$end $(ask 'SELECT id, name FROM people ORDER BY id')" \
        'loaded 1 2 1 0 0 1|Ann 2|Bobby 3|Cy 4|Dinah 5|Eve'
    csv id,name,version,gone 1,a,5, 2,b,5, 3,c,5,
    load changed
    csv id,name,version,gone 1,a,5, 2,old,4, 3,new,6, 4,d,1, 1,,7,true
    load changed
    is 'upsert with version, deleted and only_if_changed' "$end" 'loaded 1 1 2 1 0'
    is '... an older version never wins, a deleted row keeps its columns' "$(ask 'SELECT id, name, version, gone FROM changed ORDER BY id')" \
        "1|a|7|$yes 2|b|5| 3|new|6| 4|d|1|"
    csv id,name,version,gone 2,b,5, 3,NEW,6, 1,,8,true
    load changed
    is '... the same again is no change, other letters are, and so is a later delete of a deleted row' \
        "$end $(ask 'SELECT id, name, version FROM changed ORDER BY id')" 'loaded 0 1 1 1 0 1|a|8 2|b|5 3|NEW|6 4|d|1'
    csv id,name,version,gone 1,,8,true
    load changed
    is '... which the same delete again is not' "$end" 'loaded 0 0 1 0 0'
    csv id,name,version,gone 1,old,7,
    load changed
    is '... and what is older than the last delete does not bring it back' "$end $(ask 'SELECT name, version, gone FROM changed WHERE id = 1')" \
        "loaded 0 0 1 0 0 a|8|$yes"
    csv id,name 1,a 2,b 3,c
    load whole
    csv id,name 2,b 4,d
    load whole
    is 'missing = delete: what the job does not have goes' "$end $(ask 'SELECT id FROM whole ORDER BY id')" 'loaded 1 1 0 0 2 2 4'
    csv id,name 1,a 1,z
    load first
    csv id,name 1,b 2,c
    load first
    is 'insert_ignore: the first one stays' "$end $(ask 'SELECT id, name FROM first ORDER BY id')" 'loaded 1 0 1 0 0 1|a 2|c'
    csv id,name 1,a 2,b
    load now
    csv id,name 3,c
    load now
    is 'replace: what was there goes' "$end $(ask 'SELECT id, name FROM now')" 'loaded 1 0 0 0 2 3|c'
    csv id,city,moved 1,Bonn,2020-01-01 2,Köln,2020-01-01 1,Bern,2021-05-05
    load past
    is 'history: versions in one job' "$end" 'loaded 2 1 0 0 0'
    csv id,city,moved 1,Bern,2022-01-01 1,Rom,2019-01-01 2,Wien,2022-02-02 3,Graz,2022-02-02
    load past
    is '... an unchanged, an older, a changed and a new one' "$end" 'loaded 1 1 2 0 0'
    is '... each with the time from which it holds' "$(ask 'SELECT id, city, date(valid_from), date(valid_to), is_current FROM past ORDER BY id, valid_from')" \
        "1|Bonn|2020-01-01|2021-05-05|$no 1|Bern|2021-05-05||$yes 2|Köln|2020-01-01|2022-02-02|$no 2|Wien|2022-02-02||$yes 3|Graz|2022-02-02||$yes"
    csv id,city 1,Bonn 2,Köln
    load snapshot
    csv id,city 2,Wien 2,Ulm 3,Graz
    load snapshot
    is 'history of snapshots: the last row of a key, and what is missing ends' "$end" 'loaded 1 1 1 0 1'
    is '... and is not current' "$(ask 'SELECT id, city, is_current, valid_to IS NULL FROM snapshot ORDER BY id, valid_from')" \
        "1|Bonn|$no|$no 2|Köln|$no|$no 2|Ulm|$yes|$yes 3|Graz|$yes|$yes"
    returns_hold_once "$t" ask
}

# HALF: how many tables a file leaves that fails at its second statement
ddl_is_run() { # HALF
    local ddl=$work/ddl
    mkdir "$ddl"
    echo "CREATE TABLE modelled (id bigint PRIMARY KEY, name varchar(9)); INSERT INTO modelled VALUES (1, 'x;')" >"$ddl/01.sql"
    echo 'CREATE VIEW model AS SELECT name FROM modelled;' >"$ddl/02.sql"
    sed -i "/^\[target $t\]/a ddl = $ddl/*.sql" "$site/qetl.ini"
    like 'init runs SQL files, in their order' "$(qetlctl init 2>&1 | xargs) $(ask 'SELECT name FROM model')" "^target $t: 2 files.* x;$"
    ok '... each once' qetlctl init
    echo 'CREATE TABLE half (id integer); CREATE TABLE modelled (id integer)' >"$ddl/03.sql"
    like '... one that fails is named' "$(qetlctl init 2>&1)" "target '$t': '$ddl/03.sql': .*modelled.* already exists"
    printf 'CREATE TABLE IF NOT EXISTS half (id integer);\n\nCREATE TABEL half (id integer)' >"$ddl/03.sql"
    like '... with its statement and line, where SQL is wrong' "$(qetlctl init 2>&1)" "'$ddl/03.sql': SQL: statement 2, line 3: .*TABEL"
    is '... and leaves what the server must leave' "$(ask "SELECT count(*) FROM information_schema.tables WHERE table_name = 'half'")" "$1"
    echo '-- more' >>"$ddl/02.sql"
    like '... one that was run is not to be changed' "$(qetlctl init 2>&1)" "'$ddl/02.sql': was run when it was another one"
    sed -i '/^ddl = /d' "$site/qetl.ini"
}

refused_pipelines() { # into tables that people made
    cat <<INI
[pipeline refused]
columns = id:integer!
table = $t.refused
[pipeline aview]
columns = id:integer!
table = $t.aview
[pipeline more]
columns = id:integer!, extra:date
table = $t.refused
[pipeline nokey]
columns = id:integer!, name:text
table = $t.nokey
mode = upsert
key = id
[pipeline noschema]
columns = id:integer!
table = $t.nowhere.t
INI
}
refused_with() { # PIPELINE|REGEX...
    local case
    for case; do
        load "${case%%|*}"
        like "${case%%|*} is refused with what to do" "$end $(error_of)" "^dead .*${case#*|}"
    done
}

after_load_is_inside() {
    say 'CREATE TABLE sums (job text, n numeric)' >/dev/null
    csv id,n 1,10 2,20
    load after
    is 'after_load runs in the commit' "$end $(ask 'SELECT n, length(job) FROM sums')" 'loaded 2 0 0 0 0 30|26'
}
after_load_has_watermarks() {
    say 'CREATE TABLE seen (job varchar(40), pipeline varchar(40), n integer, reached boolean, went boolean)' >/dev/null
    csv id,at 1,2024-01-01T08:00:00Z 2,2024-01-01T07:00:00Z
    load events
    csv id,at 3,2024-01-01T10:00:00.5Z 4,2024-01-01T06:59:59Z
    load events
    is 'after_load knows the watermarks' "$end $(ask "SELECT pipeline, n, reached, went, length(job) FROM seen ORDER BY went IS NULL, n")" \
        "loaded 2 0 0 0 0 events|2|$yes|$yes|26 events|2|$no||26"
    is '... and late rows have their table' "$(ask 'SELECT id FROM late')" 4
    csv id,n 1,10 2,20
}
after_load_takes_the_job() {
    local before
    before=$(ask 'SELECT count(*) FROM after')
    say 'DROP TABLE sums' >/dev/null
    load after
    like '... and takes the job with it when it fails' "$end $(error_of)" '^dead .*after_load: statement [0-9]+, line [0-9]+: .*sums'
    is '... rows and all' "$(ask 'SELECT count(*) FROM after')" "$before"
}

# ---- undo ----

undo() { qetlctl undo "$1" 2>&1; }
appends_are_undone() {
    local one three first
    cat >>"$site/qetl.ini" <<INI
[pipeline added]
columns = id:integer!, name:text
table = $t.added
undo = 1d
[pipeline anew]
columns = id:integer!, name:text
table = $t.added
mode = replace
[pipeline fresh]
columns = id:integer!, name:text
table = $t.fresh
mode = insert_ignore
key = id
undo = 1d
[pipeline changes]
columns = id:integer!, name:text
table = $t.fresh
mode = upsert
key = id
INI
    csv id,name 1,a 2,b
    load added
    one=$job
    csv id,name 3,c
    load added
    ok 'undo of an append takes out its rows' undo "$one"
    is '... and only those' "$(ask 'SELECT id FROM added') $(ask "SELECT undone_at IS NULL FROM qetl_load WHERE job = $one")" "3 $no"
    like '... the queue shows it' "$(field "$one" undone) $(state "$one")" '^20.*Z loaded$'
    like '... again: it is done already' "$(undo "$one")" "^job $one was undone before, at 20.*; nothing has changed"
    three=$job
    say 'ALTER TABLE added RENAME TO away' >/dev/null
    like '... not in a table that has another name by now' "$(undo "$three")" "added.* is gone; if it was renamed, give it its name back .state."
    say 'ALTER TABLE away RENAME TO added; ALTER TABLE added RENAME COLUMN _job TO was' >/dev/null
    like '... nor in one without the column of the jobs' "$(undo "$three")" 'added.* lost columns .*: _job; give them their names back, or add them .state.'
    say 'ALTER TABLE added RENAME COLUMN was TO _job' >/dev/null
    say 'CREATE TABLE fresh (id bigint PRIMARY KEY, name text, _job text)' >/dev/null
    csv id,name 1,a 2,b
    load fresh
    first=$job
    csv id,name 2,x 3,c
    load fresh
    like 'undo of an insert_ignore is refused when a later one left rows out' "$(undo "$first")" 'left rows out'
    ok '... but the last one' undo "$job"
    is '... and nothing else' "$(ask 'SELECT id, name FROM fresh ORDER BY id')" '1|a 2|b'
    csv id,name 2,y
    load changes
    like '... refused behind one that may have changed its rows' "$(undo "$first")" "job $job was loaded into table .*fresh.* later, and may have changed"
    is '... which stay as they are' "$(ask 'SELECT id, name FROM fresh ORDER BY id')" '1|a 2|y'
    say 'DELETE FROM added' >/dev/null
    like '... refused when the rows are not there any more' "$(undo "$three")" '0 of the job.s 1 rows'
    load anew
    like '... or were replaced' "$(undo "$three")" "job $job was loaded into table .*added.* later, and replaced its rows"
}
undo_is_whole() {
    local point uid
    say 'DELETE FROM qetl_undo' >/dev/null
    csv id,name 5,e
    for point in target-before-commit target-after-commit undo-before-record; do
        load added
        uid=$(field "$job" uid)
        QETL_FAULT=$point:kill qetlctl undo "$job" >/dev/null 2>&1
        is "undo killed at $point: all or nothing" "$(ask "SELECT (SELECT count(*) FROM added WHERE _job = '$uid') = (SELECT count(*) FROM qetl_load WHERE uid = '$uid' AND undone_at IS NULL)") $(field "$job" undone)" "$yes null"
        undo "$job" >/dev/null
        is '... and done by calling it again' "$? $(ask "SELECT count(*) FROM added WHERE _job = '$uid'") $(field "$job" undone | cut -c 1-2)" '0 0 20'
    done
    job=$(qetlctl --json submit added "$work/in.csv" | jq .id)
    mkdir -p "$work/queue" && cp "$site"/queue.db* "$work/queue"
    qetl drain 2>/dev/null
    undo "$job" >/dev/null
    rm "$site"/queue.db* && cp "$work/queue"/queue.db* "$site"
    qetl drain 2>/dev/null
    like 'a queue that was put back does not load it again' "$(state "$job") $(error_of)" '^dead .*it was loaded before, and undone at'
    load added
    say "UPDATE qetl_undo SET kept_until = '2020-01-01 00:00:00'" >/dev/null
    like 'undo that comes too late is refused' "$(undo "$job")" 'nothing is kept.*it is longer ago than that'
    is '... and what is too old is not noted' "$(ask 'SELECT count(*) FROM qetl_undo')" 0
    say 'ALTER TABLE qetl_load DROP COLUMN undone_at' >/dev/null
    load now
    like 'a ledger of an earlier version is brought up to date' "$end" '^loaded 1 '
}

# ---- exactly once ----

loaded_rows() { ask "SELECT sum(l.rows) FROM qetl_load l WHERE pipeline = 'once'"; }
all_loaded() { [ "$(queue_sql "SELECT count(*) FROM job WHERE pipeline = 'once' AND state <> 'loaded'")" = 0 ]; }
away() { qetlctl --json status | jq -e ".targets_away[0].target == \"$t\""; }
committed_once() {
    local fault how jobs j small=$work/small.csv expected=0 held
    { echo id,n; seq 20000 | sed 's/$/,1/'; } >"$work/in.csv"
    printf 'id,n\n1,1\n' >"$small"
    for fault in loader-before-record loader-after-record target-before-commit target-after-commit loader-renew; do
        for how in kill error; do
            jobs=$(for f in "$work/in.csv" "$small" "$small"; do qetlctl --json submit once "$f" | jq .id; done)
            QETL_FAULT=$fault:1:$how timeout 4 qetl drain --max-wait 1s 2>/dev/null
            drained
            expected=$((expected + 20002))
            is "$how at $fault: each job once" "$(for j in $jobs; do state "$j"; done | xargs) $(ask 'SELECT count(*) FROM once')" "loaded loaded loaded $expected"
        done
    done
    is '... and the ledger agrees' "$(loaded_rows)" $expected

    # the server dies and comes back, again and again, while jobs are committed
    start_role all
    for _ in $(seq 40); do printf '{"pipeline":"once","objects":["%s"]}\n{"pipeline":"once","objects":["%s"]}\n' "$work/in.csv" "$small"; done | qetlctl submit - >/dev/null
    for _ in 1 2 3; do
        sleep 0.4
        kill -9 "$(server_pid)"
        stop_service "$service"
        sleep 0.3
        start_service "$service"
    done
    ok 'a server killed three times under load: all jobs are loaded' wait_for 60 all_loaded
    expected=$((expected + 40 * 20001))
    is '... each once' "$(ask 'SELECT count(*) FROM once') $(loaded_rows)" "$expected $expected"
    stop_service "$service"
    held=$(qetlctl --json submit once "$small" | jq .id)
    ok 'a server that is away: the job waits, staged' wait_for 60 job_is "$held" staged
    ok '... and status says so' wait_for 60 away
    start_service "$service"
    ok '... until it is back' wait_for 70 job_is "$held" loaded
    stop_roles
}

# ---- rights ----

# MAKE: SQL that makes user low, who may connect; GRANT: gives it the ledger and table allowed; GRANT2: table denied.
denied_are_held() { # MAKE GRANT GRANT2 URL URL-OF-REMOTE
    local held one other
    say "CREATE TABLE allowed (id bigint); CREATE TABLE denied (id bigint)" >/dev/null
    say "$1" >/dev/null
    new_site <<INI
[remote low]
url = $5
password = @file:$work/password
[target low]
url = $4
[pipeline allowed]
columns = id:integer!
table = low.allowed
[pipeline denied]
columns = id:integer!
table = low.denied
INI
    qetlctl init >/dev/null 2>&1
    like 'doctor: a user without rights to the ledger' "$(qetlctl doctor | grep 'target low')" 'no .*ledger qetl_load'
    csv id 1
    held=$(qetlctl --json submit allowed "$work/in.csv" | jq .id)
    timeout 60 qetl drain --max-wait 1s 2>"$work/drain"
    is 'a user without rights to the ledger: the job waits' "$(state "$held")" staged
    like '... and status says why' "$(qetlctl --json status | jq -r '.targets_away[0] | "\(.target) \(.message)"')" '^low .*[Dd]enied'
    say "$2" >/dev/null
    like '... who is given them' "$(qetlctl doctor | grep 'target low')" 'yes .*its ledger written'
    one=$(qetlctl --json submit denied "$work/in.csv" | jq .id)
    other=$(qetlctl --json submit allowed "$work/in.csv" | jq .id)
    drained
    is 'a GRANT mends it; a table without rights is held against its own jobs only' \
        "$(state "$held") $(state "$one") $(state "$other") $(ask 'SELECT count(*) FROM allowed')" 'loaded dead loaded 2'
    like '... which says so' "$(qetlctl --json errors "$one" | jq -r '.errors[0] | "\(.code) \(.message)"')" '^target-denied .*denied'
    say "$3" >/dev/null
    qetlctl retry "$one" >/dev/null
    drained
    is '... and is loaded when it has been given them' "$(state "$one") $(ask 'SELECT count(*) FROM denied')" 'loaded 1'
}

# A session of somebody else holds the table `locked`.
locked_waits_alone() { # LOCK HELD UNLOCK: SQL that holds it for long, that prints 1 as long as it does, and that prints SQL to end it
    local holder held=$2 one later free
    is_held_now() { [ "$(ask "$held")" = 1 ]; }
    printf '[pipeline %s]\ncolumns = id:integer!\ntable = %s.%s\n' locked "$t" locked free "$t" free >>"$site/qetl.ini"
    say 'CREATE TABLE locked (id bigint)' >/dev/null
    printf 'id\n1\n' >"$work/one.csv"
    say "$1" >/dev/null &
    holder=$!
    ok 'a table is locked' wait_for 60 is_held_now
    one=$(submit locked "$work/one.csv")
    free=$(submit free "$work/one.csv")
    start_role worker
    start_role loader
    ok '... jobs of other tables of the target are loaded' wait_for 60 job_is "$free" loaded
    unlike '... its own wait' "$(state "$one")" loaded
    like '... and say for what' "$(qetlctl --json errors "$one" | jq -r '.errors[0] | .code + " " + .message')" '^target-locked .*locked'
    later=$(submit locked "$work/one.csv")
    free=$(submit free "$work/one.csv")
    ok '... also of the next group' wait_for 60 job_is "$free" loaded
    is '... while it is locked' "$(ask "$held")" 1
    unlike '... and its own wait still' "$(state "$one") $(state "$later")" loaded
    unlike '... and the target is not away' "$(qetlctl status)" 'AWAY'
    say "$(say "$3")" >/dev/null
    wait "$holder"
    ok '... and they are loaded when it is free' wait_for 120 job_is "$later" loaded
    ok '... all of them' wait_for 120 job_is "$one" loaded
    stop_roles
    is '... each once' "$(ask 'SELECT count(*) FROM locked') $(ask 'SELECT count(*) FROM free')" '2 2'
}

rehearsal_stops() { # AFTER WAITS [LOCK HELD UNLOCK]: after_load that sleeps for long or nothing, SQL that prints 1 as long as the rehearsal waits, what it waits for
    local dry waits=$2 held=${4-} holder
    is_held_now() { [ "$(ask "$held")" = 1 ]; }
    is_asleep() { [ "$(ask "$waits")" = "$1" ]; }
    printf '[pipeline sleeps]\ncolumns = id:integer!\ntable = %s.sleeps\n%s\n' "$t" "${1:+after_load = $1}" >>"$site/qetl.ini"
    say 'CREATE TABLE sleeps (id bigint)' >/dev/null
    printf 'id\n1\n' >"$work/one.csv"
    mkdir -p "$work/tmp"
    if [ -n "$held" ]; then
        say "$3" >/dev/null &
        holder=$!
        ok 'a table is locked' wait_for 60 is_held_now
    fi
    TMPDIR=$work/tmp timeout -s KILL 300 qetlctl --json submit sleeps "$work/one.csv" --dry-run >"$work/out" &
    ok 'a rehearsal is at the target' wait_for 60 is_asleep 1
    dry=$(pgrep -P $! -x qetlctl)
    kill -TERM "$dry"
    wait $!
    is '... told to stop, it ends, and says so' "$? $(jq -c '[.ok, .error_code]' "$work/out")" '1 [false,"cancelled"]'
    ok '... the server does not go on' wait_for 60 is_asleep 0
    if [ -n "$held" ]; then
        say "$(say "$5")" >/dev/null
        wait "$holder"
    fi
    is '... nothing is left of it' "$(find "$work/tmp" -mindepth 1) $(ask 'SELECT count(*) FROM sleeps')" ' 0'
    sed -i '/^\[pipeline sleeps\]/,$d' "$site/qetl.ini"
}

loaders_share() {
    local before n
    sed -i "/^\[target $t\]/a loaders = 2" "$site/qetl.ini"
    before=$(ask 'SELECT count(*) FROM once')
    for _ in $(seq 30); do printf '{"pipeline":"once","objects":["%s"]}\n' "$work/in.csv"; done | qetlctl submit - >/dev/null
    drained
    is 'two loaders: each job once' "$(($(ask 'SELECT count(*) FROM once') - before))" 600000
    for n in 1 2 3 4 5 6 7 8; do
        printf 'id,name,born\n1,v%s,\n' $n >"$work/v$n.csv"
        echo "{\"pipeline\":\"people\",\"objects\":[\"$work/v$n.csv\"]}"
    done | qetlctl submit - >/dev/null
    drained
    is '... and a table in order' "$(ask 'SELECT name FROM people WHERE id = 1')" v8
}

# Of tables that are not there, and of which several loaders have jobs at once, each is made by one of them.
loaders_make_tables() {
    local n small=$work/small.csv
    printf 'id,n\n1,1\n' >"$small"
    cp "$site/qetl.ini" "$work/before.ini"
    sed -i '/^loaders = /d' "$site/qetl.ini"
    sed -i "/^\[target $t\]/a loaders = 4" "$site/qetl.ini"
    printf '[loader]\ngroup_jobs = 2\n' >>"$site/qetl.ini"
    for n in $(seq 30); do printf '[pipeline new%s]\ncolumns = id:integer!, n:integer\ntable = %s.new%s\n' "$n" "$t" "$n"; done >>"$site/qetl.ini"
    for n in $(seq 120); do printf '{"pipeline":"new%s","objects":["%s"]}\n' $((n / 4 % 30 + 1)) "$small"; done | qetlctl submit - >/dev/null
    timeout 100 qetl drain --max-wait 90s 2>"$work/drain"
    is 'four loaders, and tables that are not there: no job dies of one that was made meanwhile' \
        "$(queue_sql "SELECT group_concat(state || ' ' || n) FROM (SELECT state, count(*) n FROM job WHERE pipeline LIKE 'new%' GROUP BY state)")" 'loaded 120'
    is '... and each is loaded once' "$(for n in $(seq 30); do ask "SELECT count(*) FROM new$n"; done | sort -u)" 4
    cp "$work/before.ini" "$site/qetl.ini"
}
